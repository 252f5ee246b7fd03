//! The broker properties that were set, and what follows from them for the rest.

use std::collections::BTreeMap;

use super::definition::{Definition, Invalid, Kind, Synonym};
use super::table;

/// The broker's own settings: everything that a file or the command line set, checked; the rest is at its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    explicit: BTreeMap<&'static str, String>,
}

impl Settings {
    /// Sets a known property.
    pub(super) fn set(&mut self, definition: &'static Definition, value: &str) -> Result<(), Invalid> {
        self.explicit.insert(definition.name, definition.check(value)?);
        Ok(())
    }

    /// The value that was set.
    pub fn explicit(&self, name: &str) -> Option<&str> {
        self.explicit.get(name).map(String::as_str)
    }

    /// The value in force: the one set, else the default. The property must be in the table.
    pub fn effective(&self, name: &str) -> Option<&str> {
        self.explicit(name).or_else(|| known(name).default)
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

    /// What a topic property is where the topic says nothing: the strongest synonym that was set, else the default.
    pub fn topic_default(&self, topic: &'static Definition) -> Option<String> {
        let set = topic.synonyms.iter().find_map(|s| Some((s, self.explicit(s.name)?)));
        match set {
            Some((synonym, value)) => Some(in_topic_units(*synonym, value)),
            None => topic.default.map(str::to_owned),
        }
    }
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
        settings(pairs).topic_default(table::topic(topic).expect("a topic property"))
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
    fn values_are_checked_and_numbers_are_read() {
        let definition = known("num.partitions");
        let refused = Settings::default().set(definition, "0").expect_err("no partitions");
        assert_eq!(refused.to_string(), "Invalid value \"0\" for num.partitions: it must be at least 1");
        assert_eq!(settings(&[("num.partitions", " 7 ")]).whole("num.partitions"), 7);
        assert!(!settings(&[("delete.topic.enable", "FALSE")]).flag("delete.topic.enable"));
    }
}
