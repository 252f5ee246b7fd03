//! Subscriptions to the metrics of clients (KIP-714): their properties, and which clients they mean.

use regex::{Regex, RegexBuilder};

use super::definition::{
    Check::Any,
    Definition,
    Importance::Medium,
    Kind::{Int, List},
    list,
};
use super::table;
use super::topic::{Overrides, Refused};

/// The properties of a subscription, sorted by name.
pub(super) static CLIENT_METRICS: &[Definition] = &[
    Definition::new("interval.ms", Int, Some("300000"), Any, Medium)
        .doc("How often clients push their metrics, between 100 ms and an hour."),
    Definition::new("match", List, Some(""), Any, Medium).doc(
        "Which clients are meant: selector=regular expression, separated by commas, all of which must match; empty \
         means every client. Selectors are client_instance_id, client_id, client_software_name, \
         client_software_version, client_source_address and client_source_port.",
    ),
    Definition::new("metrics", List, Some(""), Any, Medium)
        .doc("Which metrics are wanted, by the beginning of their names; * is all of them, and empty is none."),
];

/// What may be pushed how often: between 100 ms and an hour.
const INTERVAL_MS: std::ops::RangeInclusive<i64> = 100..=3_600_000;

/// The most bytes that a compiled expression may take.
const REGEX_BYTES_MAX: usize = 256 << 10;

/// What a client says of itself, and what the connection says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// The id that the client got with its first subscription.
    InstanceId,
    /// The client id of its requests.
    ClientId,
    /// The library's name.
    SoftwareName,
    /// The library's version.
    SoftwareVersion,
    /// Its address.
    SourceAddress,
    /// Its port.
    SourcePort,
}

impl Selector {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "client_instance_id" => Selector::InstanceId,
            "client_id" => Selector::ClientId,
            "client_software_name" => Selector::SoftwareName,
            "client_software_version" => Selector::SoftwareVersion,
            "client_source_address" => Selector::SourceAddress,
            "client_source_port" => Selector::SourcePort,
            _ => return None,
        })
    }
}

/// A subscription as its properties give it.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// How often to push.
    pub interval_ms: u32,
    /// The beginnings of the wanted metrics' names; `*` is all.
    pub metrics: Vec<String>,
    /// What must match, all of it.
    patterns: Vec<(Selector, Regex)>,
}

impl Subscription {
    /// The subscription of stored properties; of what this version cannot read, the default is taken.
    pub fn of(overrides: &Overrides) -> Subscription {
        let value = |name: &str| {
            let definition = table::client_metrics(name).expect("it is in the table");
            overrides.get(name).map(String::as_str).or(definition.default).unwrap_or_default()
        };
        let interval = value("interval.ms").parse().ok().filter(|ms| INTERVAL_MS.contains(ms)).unwrap_or(300_000);
        Subscription {
            interval_ms: u32::try_from(interval).expect("an hour at the most"),
            metrics: list(value("metrics")).map(str::to_owned).collect(),
            patterns: list(value("match")).filter_map(pattern).collect(),
        }
    }

    /// Whether a client is meant, of which `said` says what a selector is about.
    pub fn matches<'a>(&self, said: impl Fn(Selector) -> &'a str) -> bool {
        self.patterns.iter().all(|(selector, regex)| regex.is_match(said(*selector)))
    }
}

/// Checks what is to be set on a subscription and returns it as it is stored.
pub fn check_client_metrics(given: &Overrides) -> Result<Overrides, Refused> {
    let mut overrides = Overrides::new();
    for (name, value) in given {
        let definition =
            table::client_metrics(name).ok_or_else(|| Refused::UnknownClientMetrics { name: name.clone() })?;
        overrides.insert(name.clone(), definition.check(value).map_err(Refused::Invalid)?);
    }
    if let Some(interval) =
        overrides.get("interval.ms").filter(|ms| !ms.parse().is_ok_and(|ms| INTERVAL_MS.contains(&ms)))
    {
        return Err(Refused::Interval { value: interval.clone() });
    }
    let patterns = overrides.get("match").map(String::as_str).unwrap_or_default();
    if let Some(wrong) = list(patterns).find(|text| pattern(text).is_none()) {
        return Err(Refused::Pattern { text: wrong.to_owned() });
    }
    Ok(overrides)
}

/// `selector=expression`; an expression must match the whole of what the client says, as in Kafka.
fn pattern(text: &str) -> Option<(Selector, Regex)> {
    let (selector, expression) = text.split_once('=')?;
    let whole = format!("^(?:{})$", expression.trim());
    let regex = RegexBuilder::new(&whole).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build().ok()?;
    Some((Selector::parse(selector.trim())?, regex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_subscription_means_the_clients_that_all_of_its_expressions_match() {
        let given = overrides(&[("match", "client_id=app-.*, client_source_port=90+2"), ("interval.ms", "100")]);
        let subscription = Subscription::of(&check_client_metrics(&given).expect("a possible subscription"));
        let client = |id: &'static str, port: &'static str| {
            subscription.matches(|selector| if selector == Selector::ClientId { id } else { port })
        };
        assert!(client("app-1", "9002") && client("app-", "902"));
        assert!(!client("my-app-1", "9002"), "the whole of it must match");
        assert!(!client("app-1", "9003"));
        assert_eq!((subscription.interval_ms, subscription.metrics.len()), (100, 0));
        assert!(Subscription::of(&Overrides::new()).matches(|_| ""), "without expressions every client is meant");
    }

    #[test]
    fn impossible_subscriptions_are_refused() {
        let refused = |name, value| check_client_metrics(&overrides(&[(name, value)])).expect_err(value).to_string();
        assert!(refused("interval.ms", "99").contains("between 100 and 3600000"));
        assert!(refused("interval.ms", "x").starts_with("Invalid value \"x\" for interval.ms"));
        assert!(refused("match", "client_id").contains("Illegal client matching pattern"));
        assert!(refused("match", "shoe_size=4").contains("shoe_size=4"));
        assert!(refused("match", "client_id=[").contains("client_id=["));
        assert!(refused("match", "client_id=(((a{99}){99}){99}){99}").contains("Illegal"), "too large when compiled");
        assert!(refused("no.such", "1").starts_with("Unknown client metrics configuration: no.such"));
    }
}
