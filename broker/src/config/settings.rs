//! The broker properties that were set, and what follows from them for the rest.
//!
//! ```text
//!   on this broker, while it runs ─► on all brokers, while they run ─► file and command line ─► default
//!   strongest                                                                                  weakest
//! ```

use std::collections::BTreeMap;

use super::definition::{Definition, Invalid, Kind, Synonym};
use super::describe::Source;
use super::table;
use super::topic::Overrides;

/// Kafka 4 keeps this one for the whole cluster from the first start on (KIP-966), and clients see it as such.
pub(super) const CLUSTER_WIDE: &str = "min.insync.replicas";

/// The broker's own settings: everything that a file or the command line set, and what was set since, while it runs; all
/// of it checked. The rest is at its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    fixed: BTreeMap<&'static str, String>,
    everywhere: BTreeMap<&'static str, String>,
    here: BTreeMap<&'static str, String>,
}

impl Settings {
    /// Sets a known property for as long as the process runs.
    pub(super) fn set(&mut self, definition: &'static Definition, value: &str) -> Result<(), Invalid> {
        self.fixed.insert(definition.name, definition.check(value)?);
        Ok(())
    }

    /// The same with other properties set while the broker runs: `everywhere` on all brokers, `here` on this one.
    ///
    /// Of what another version stored and this one does not know, nothing is taken.
    #[must_use]
    pub fn with_dynamic(&self, everywhere: &Overrides, here: &Overrides) -> Settings {
        Settings { fixed: self.fixed.clone(), everywhere: possible(everywhere), here: possible(here) }
    }

    /// The value that was set, by whomever; the strongest.
    pub fn explicit(&self, name: &str) -> Option<&str> {
        self.here.get(name).or_else(|| self.everywhere.get(name)).or_else(|| self.fixed.get(name)).map(String::as_str)
    }

    /// The value in force: the one set, else the default. The property must be in the table.
    pub fn effective(&self, name: &str) -> Option<&str> {
        self.explicit(name).or_else(|| known(name).default)
    }

    /// The value that a source of broker properties has for one of them.
    pub(super) fn at(&self, source: Source, definition: &'static Definition) -> Option<&str> {
        let fixed = || self.fixed.get(definition.name).map(String::as_str);
        match source {
            Source::DynamicBroker => self.here.get(definition.name).map(String::as_str),
            Source::DynamicDefaultBroker => match self.everywhere.get(definition.name) {
                None if definition.name == CLUSTER_WIDE => fixed().or(definition.default),
                set => set.map(String::as_str),
            },
            Source::StaticBroker => fixed(),
            Source::Default => definition.default,
            Source::DynamicTopic | Source::BrokerLogger | Source::ClientMetrics | Source::Group => None,
        }
    }

    /// A whole number in force. The property must be a number with a default.
    pub(super) fn whole(&self, name: &str) -> i64 {
        assert!(matches!(known(name).kind, Kind::Int | Kind::Short | Kind::Long), "{name} is no number");
        let value = self.effective(name).unwrap_or_else(|| panic!("{name} has a default"));
        value.parse().unwrap_or_else(|_| panic!("{name} was checked when it was set"))
    }

    /// A number in force that its check keeps from being negative, saturated to what fits.
    pub(super) fn count(&self, name: &str) -> u64 {
        u64::try_from(self.whole(name)).unwrap_or(0)
    }

    /// As [`Settings::count`], for properties of the types int and short.
    pub(super) fn count32(&self, name: &str) -> u32 {
        u32::try_from(self.whole(name)).unwrap_or(0)
    }

    /// A truth value in force.
    pub(super) fn flag(&self, name: &str) -> bool {
        assert!(known(name).kind == Kind::Boolean, "{name} is no truth value");
        self.effective(name) == Some("true")
    }

    /// What a topic's or group's property is where nothing is set on it: the strongest synonym that was set, else the
    /// default.
    pub fn default_of(&self, definition: &'static Definition) -> Option<String> {
        let set = definition.synonyms.iter().find_map(|s| Some((s, self.explicit(s.name)?)));
        match set {
            Some((synonym, value)) => Some(in_topic_units(*synonym, value)),
            None => definition.default.map(str::to_owned),
        }
    }
}

/// What of stored properties this version knows and takes.
fn possible(stored: &Overrides) -> BTreeMap<&'static str, String> {
    let one = |(name, value): (&String, &String)| {
        let definition = table::broker(name)?;
        Some((definition.name, definition.check(value).ok()?))
    };
    stored.iter().filter_map(one).collect()
}

/// Hours and minutes become milliseconds; a negative number stays "no limit".
fn in_topic_units(synonym: Synonym, value: &str) -> String {
    if synonym.factor == 1 {
        return value.to_owned();
    }
    let number: i64 = value.parse().unwrap_or_else(|_| panic!("{} was checked when it was set", synonym.name));
    let scaled = if number < 0 { -1 } else { number.saturating_mul(synonym.factor) };
    scaled.to_string()
}

fn known(name: &str) -> &'static Definition {
    table::broker(name).unwrap_or_else(|| panic!("{name} is in the table of broker properties"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::default();
        for (name, value) in pairs {
            settings.set(known(name), value).expect("a possible value");
        }
        settings
    }

    fn default_of(topic: &str, pairs: &[(&str, &str)]) -> Option<String> {
        settings(pairs).default_of(table::topic(topic).expect("a topic property"))
    }

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn the_strongest_synonym_gives_the_topic_default() {
        assert_eq!(default_of("retention.ms", &[]).as_deref(), Some("604800000"));
        assert_eq!(default_of("retention.ms", &[("log.retention.hours", "2")]).as_deref(), Some("7200000"));
        let three = [("log.retention.hours", "2"), ("log.retention.minutes", "3"), ("log.retention.ms", "4")];
        assert_eq!(default_of("retention.ms", &three[..2]).as_deref(), Some("180000"));
        assert_eq!(default_of("retention.ms", &three).as_deref(), Some("4"));
        assert_eq!(default_of("retention.ms", &[("log.retention.hours", "-1")]).as_deref(), Some("-1"));
        assert_eq!(default_of("segment.ms", &[("log.roll.hours", "1")]).as_deref(), Some("3600000"));
        assert_eq!(default_of("flush.ms", &[("log.flush.scheduler.interval.ms", "7000")]).as_deref(), Some("7000"));
    }

    #[test]
    fn what_is_set_while_the_broker_runs_is_stronger_and_nearer_is_stronger_still() {
        let fixed = settings(&[("log.retention.ms", "1"), ("message.max.bytes", "2000")]);
        let all = fixed.with_dynamic(&overrides(&[("log.retention.ms", "2")]), &Overrides::new());
        let one =
            fixed.with_dynamic(&overrides(&[("log.retention.ms", "2")]), &overrides(&[("log.retention.ms", "3")]));
        let retention = table::topic("retention.ms").expect("a topic property");
        assert_eq!(fixed.default_of(retention).as_deref(), Some("1"));
        assert_eq!(all.default_of(retention).as_deref(), Some("2"));
        assert_eq!(one.default_of(retention).as_deref(), Some("3"));
        assert_eq!(one.effective("message.max.bytes"), Some("2000"));
        assert_eq!(one.with_dynamic(&Overrides::new(), &Overrides::new()), fixed);
    }

    #[test]
    fn of_what_another_version_stored_only_the_possible_is_taken() {
        let stored = overrides(&[("message.max.bytes", "many"), ("no.such.thing", "1"), ("log.roll.ms", "5")]);
        let taken = Settings::default().with_dynamic(&stored, &stored);
        assert_eq!(taken.whole("message.max.bytes"), 1_048_588);
        assert_eq!(taken.effective("log.roll.ms"), Some("5"));
    }

    #[test]
    fn values_are_checked_and_numbers_are_read() {
        let definition = known("num.partitions");
        let refused = Settings::default().set(definition, "0").expect_err("no partitions");
        assert_eq!(refused.to_string(), "Invalid value \"0\" for num.partitions: it must be at least 1");
        assert_eq!(settings(&[("num.partitions", " 7 ")]).whole("num.partitions"), 7);
        assert!(!settings(&[("delete.topic.enable", "FALSE")]).flag("delete.topic.enable"));
    }
}
