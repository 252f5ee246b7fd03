//! Looking properties up: by name, by prefix, and the name a person may have meant.

use super::broker_table::SUPPORTED;
use super::client_metrics::CLIENT_METRICS;
use super::definition::{Definition, Reason};
use super::group_table::GROUP;
use super::known_table::{KNOWN, KNOWN_PREFIXES, UNLISTED};
use super::topic_table::TOPIC;

/// The topic property of that name.
pub fn topic(name: &str) -> Option<&'static Definition> {
    find(TOPIC, name)
}

/// The broker property of that name, with an effect or without.
pub fn broker(name: &str) -> Option<&'static Definition> {
    find(SUPPORTED, name).or_else(|| find(KNOWN, name)).or_else(|| find(UNLISTED, name))
}

/// The group property of that name.
pub fn group(name: &str) -> Option<&'static Definition> {
    find(GROUP, name)
}

/// The property of that name of a subscription to clients' metrics.
pub(super) fn client_metrics(name: &str) -> Option<&'static Definition> {
    find(CLIENT_METRICS, name)
}

/// Why a name that only a plug-in of Kafka would read is accepted all the same.
pub(super) fn known_prefix(name: &str) -> Option<Reason> {
    KNOWN_PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|&(_, reason)| reason)
}

/// All topic properties, by name.
pub fn topic_definitions() -> impl Iterator<Item = &'static Definition> {
    TOPIC.iter()
}

/// All group properties, by name.
pub fn group_definitions() -> impl Iterator<Item = &'static Definition> {
    GROUP.iter()
}

/// All properties of a subscription to clients' metrics, by name.
pub fn client_metrics_definitions() -> impl Iterator<Item = &'static Definition> {
    CLIENT_METRICS.iter()
}

/// The broker properties that show only where they are set, by name.
pub fn unlisted_broker_definitions() -> impl Iterator<Item = &'static Definition> {
    UNLISTED.iter()
}

/// All broker properties that always show, by name.
pub fn broker_definitions() -> impl Iterator<Item = &'static Definition> {
    let (mut left, mut right) = (SUPPORTED.iter().peekable(), KNOWN.iter().peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some(a), Some(b)) if a.name < b.name => left.next(),
        (_, Some(_)) => right.next(),
        (_, None) => left.next(),
    })
}

/// The broker property whose name is nearest to a wrong one, if any is near.
pub fn nearest_broker(name: &str) -> Option<&'static str> {
    nearest(name, broker_definitions().map(|d| d.name))
}

/// The topic property whose name is nearest to a wrong one, if any is near.
pub fn nearest_topic(name: &str) -> Option<&'static str> {
    nearest(name, topic_definitions().map(|d| d.name))
}

/// The group property whose name is nearest to a wrong one, if any is near.
pub(super) fn nearest_group(name: &str) -> Option<&'static str> {
    nearest(name, GROUP.iter().map(|d| d.name))
}

fn find(table: &'static [Definition], name: &str) -> Option<&'static Definition> {
    let index = table.binary_search_by(|d| d.name.cmp(name)).ok()?;
    Some(&table[index])
}

/// Longest name for which a nearest one is looked for: the work grows with its square.
const NAME_BYTES_MAX: usize = 128;

fn nearest(name: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let tolerated = (name.len() / 3).max(2);
    names
        .map(|candidate| (edit_distance(name.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|&(distance, _)| distance <= tolerated)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements that turn `from` into `to`.
fn edit_distance(from: &[u8], to: &[u8]) -> usize {
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, &a) in from.iter().enumerate() {
        let mut diagonal = above[0];
        above[0] = row + 1;
        for (column, &b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = above[column + 1];
            above[column + 1] = replaced.min(diagonal + 1).min(above[column] + 1);
        }
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::definition::Class;

    #[test]
    fn tables_are_sorted_by_name_without_a_name_twice() {
        for table in [TOPIC, SUPPORTED, KNOWN, UNLISTED, GROUP, CLIENT_METRICS] {
            assert!(table.windows(2).all(|pair| pair[0].name < pair[1].name));
        }
        let all: Vec<_> = broker_definitions().map(|d| d.name).collect();
        assert_eq!(all.len(), SUPPORTED.len() + KNOWN.len());
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn every_default_passes_its_own_check() {
        for definition in topic_definitions().chain(broker_definitions()).chain(group_definitions()) {
            if let Some(default) = definition.default.filter(|d| !d.is_empty()) {
                assert_eq!(definition.check(default).as_deref(), Ok(default), "{}", definition.name);
            }
        }
    }

    #[test]
    fn every_synonym_is_a_broker_property_of_a_unit_that_divides() {
        for topic in topic_definitions().chain(group_definitions()) {
            for synonym in topic.synonyms {
                assert!(broker(synonym.name).is_some(), "{}", synonym.name);
                assert!(synonym.factor >= 1);
            }
        }
    }

    #[test]
    fn every_property_with_an_effect_is_documented() {
        let others = [GROUP, CLIENT_METRICS, UNLISTED].into_iter().flatten();
        for definition in topic_definitions().chain(SUPPORTED.iter()).chain(others) {
            assert!(definition.documentation.ends_with('.'), "{}", definition.name);
        }
        assert!(KNOWN.iter().all(|d| matches!(d.class, Class::WithoutMeaning(_))));
    }

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest_broker("log.retension.hours"), Some("log.retention.hours"));
        assert_eq!(nearest_topic("retention.msec"), Some("retention.ms"));
        assert_eq!(nearest_broker("zzzz"), None);
        assert_eq!(edit_distance(b"kitten", b"sitting"), 3);
    }
}
