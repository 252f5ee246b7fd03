//! What may be set on a broker, or on all of them, while they run (KIP-226).

use std::collections::BTreeMap;
use std::fmt;

use super::definition::{Class, Invalid, Kind, Reason};
use super::edit::Edit;
use super::settings::{CLUSTER_WIDE, Settings};
use super::table;
use super::topic::Overrides;

/// What Kafka changes while it runs, and this node reads when it starts.
pub(super) const READ_AT_START: [&str; 2] = ["listener.security.protocol.map", "listeners"];

/// Why a broker's property is not changed while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDynamic {
    /// There is no such property.
    Unknown {
        /// The name as given.
        name: String,
        /// The name that was perhaps meant.
        nearest: Option<&'static str>,
    },
    /// It is read when the node starts.
    ReadOnly {
        /// The property.
        name: &'static str,
    },
    /// It would have no effect, and is a secret or the name of a class.
    Unserved {
        /// The property.
        name: String,
        /// Why it has no effect.
        reason: Reason,
    },
    /// The value is impossible.
    Invalid(Invalid),
    /// It is kept for the whole cluster, and always has a value there.
    ClusterWide {
        /// The property.
        name: &'static str,
        /// Whether it was to be changed on a single broker.
        on_broker: bool,
    },
}

impl fmt::Display for NotDynamic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotDynamic::Unknown { name, nearest: None } => write!(f, "Unknown broker config name: {name}"),
            NotDynamic::Unknown { name, nearest: Some(nearest) } => {
                write!(f, "Unknown broker config name: {name}; did you mean {nearest}?")
            }
            NotDynamic::ReadOnly { name } => write!(
                f,
                "Cannot update {name} dynamically: it is read when the node starts. Set it in the configuration file \
                 or with --set, and start the node again."
            ),
            NotDynamic::Unserved { name, reason } => write!(f, "Cannot update {name} dynamically: {reason}."),
            NotDynamic::Invalid(invalid) => invalid.fmt(f),
            NotDynamic::ClusterWide { name, on_broker: true } => {
                write!(f, "{name} is kept for all brokers together: set it on the broker default, not on one of them.")
            }
            NotDynamic::ClusterWide { name, on_broker: false } => {
                write!(f, "{name} of all brokers always has a value: set another one instead of removing it.")
            }
        }
    }
}

/// Checks that the property that is kept for all brokers together is not edited on one of them, and keeps a value on all
/// of them; `replace` unsets what is not named.
pub fn check_cluster_wide(everywhere: bool, replace: bool, edits: &BTreeMap<&str, Edit<'_>>) -> Result<(), NotDynamic> {
    let removes = match edits.get(CLUSTER_WIDE) {
        Some(Edit::Delete) => true,
        None => replace,
        Some(_) => false,
    };
    let refused = if everywhere { removes } else { edits.contains_key(CLUSTER_WIDE) };
    if refused { Err(NotDynamic::ClusterWide { name: CLUSTER_WIDE, on_broker: !everywhere }) } else { Ok(()) }
}

/// Checks what is to be set on a broker or on all of them, and returns it as it is stored.
pub fn check_dynamic(given: &Overrides, settings: &Settings) -> Result<Overrides, NotDynamic> {
    let mut overrides = Overrides::new();
    for (name, value) in given {
        overrides.insert(name.clone(), check(name, value, settings)?);
    }
    Ok(overrides)
}

fn check(name: &str, value: &str, settings: &Settings) -> Result<String, NotDynamic> {
    let Some(definition) = table::broker(name) else {
        return Err(match table::known_prefix(name) {
            Some(reason) => NotDynamic::Unserved { name: name.to_owned(), reason },
            None => NotDynamic::Unknown { name: name.to_owned(), nearest: table::nearest_broker(name) },
        });
    };
    let checked = definition.check(value).map_err(NotDynamic::Invalid)?;
    if !definition.dynamic {
        return Err(NotDynamic::ReadOnly { name: definition.name });
    }
    // Tools write back what they have read.
    if settings.effective(name) == Some(checked.as_str()) {
        return Ok(checked);
    }
    if READ_AT_START.contains(&name) {
        return Err(NotDynamic::ReadOnly { name: definition.name });
    }
    match definition.class {
        Class::WithoutMeaning(reason)
            if matches!(definition.kind, Kind::Password | Kind::Class)
                || (reason == Reason::Metrics && !checked.is_empty()) =>
        {
            Err(NotDynamic::Unserved { name: name.to_owned(), reason })
        }
        _ if name == "log.retention.ms" && checked == "0" => Err(NotDynamic::Invalid(Invalid {
            name: name.to_owned(),
            value: checked,
            rule: "it must be at least 1, or -1 for no limit".to_owned(),
        })),
        _ => Ok(checked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str) -> String {
        let given = [(name.to_owned(), value.to_owned())].into();
        check_dynamic(&given, &Settings::default()).expect_err(name).to_string()
    }

    #[test]
    fn what_kafka_changes_while_it_runs_is_taken_and_trimmed() {
        let given: Overrides = [
            ("log.retention.ms", " -1 "),
            ("message.max.bytes", "7"),
            ("num.io.threads", "9"),
            ("leader.replication.throttled.rate", "1000"),
            ("listeners", "PLAINTEXT://localhost:9092"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let mut settings = Settings::default();
        settings.set(table::broker("listeners").expect("known"), "PLAINTEXT://localhost:9092").expect("possible");
        let stored = check_dynamic(&given, &settings).expect("dynamic properties");
        assert_eq!(stored["log.retention.ms"], "-1");
        assert_eq!(stored.len(), 5);
    }

    #[test]
    fn the_rest_is_refused_with_a_sentence() {
        assert!(refused("node.id", "2").contains("read when the node starts"));
        assert!(refused("listeners", "PLAINTEXT://:1").contains("read when the node starts"));
        assert!(refused("log.retension.ms", "2").contains("did you mean log.retention.ms?"));
        assert!(refused("log.retention.ms", "0").contains("at least 1"));
        assert!(refused("log.segment.bytes", "10").contains("at least 1048576"));
        assert!(refused("ssl.keystore.password", "x").contains("TLS"));
        assert!(refused("listener.name.plaintext.ssl.keystore.password", "x").contains("TLS"));
        assert!(!refused("ssl.keystore.password", "hunter2").contains("hunter2"));
        assert!(refused("metric.reporters", "org.example.Reporter").contains("metrics"));
    }

    #[test]
    fn the_cluster_wide_property_stays_on_all_brokers() {
        let edits = |edit| BTreeMap::from([(CLUSTER_WIDE, edit)]);
        assert!(check_cluster_wide(false, false, &edits(Edit::Set("2"))).is_err());
        assert!(check_cluster_wide(false, true, &BTreeMap::new()).is_ok());
        assert!(check_cluster_wide(true, false, &edits(Edit::Delete)).is_err());
        assert!(check_cluster_wide(true, true, &BTreeMap::new()).is_err());
        assert!(check_cluster_wide(true, true, &edits(Edit::Set("2"))).is_ok());
        assert!(check_cluster_wide(true, false, &BTreeMap::new()).is_ok());
    }
}
