//! What a property is: its name, type, default, the values it takes, and how far it has an effect here.

use std::fmt;

use super::connections::parse_overrides;

/// One property of a topic or of the broker, as the tables list it.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// The property's name: Kafka's where the meaning is Kafka's, else beginning with `skein.`.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// The value where none is given; `None` is Kafka's `null`.
    pub default: Option<&'static str>,
    /// Which values of the type are possible.
    pub check: Check,
    /// How much a person tuning a node should care.
    pub importance: Importance,
    /// Whether setting it does anything.
    pub class: Class,
    /// Kafka allows it to be changed while the broker runs.
    pub dynamic: bool,
    /// For a topic's property: the broker's properties that give its default, the strongest first.
    pub synonyms: &'static [Synonym],
    /// One or two sentences for people.
    pub documentation: &'static str,
}

/// A broker property that stands in for a topic property, in a unit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synonym {
    /// The broker property's name.
    pub name: &'static str,
    /// How many of the topic property's units one of its units is (an hour is 3,600,000 ms).
    pub factor: i64,
}

/// The type of a property's value, as DescribeConfigs names it (KIP-569).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Free text.
    String,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 16 bits.
    Short,
    /// A whole number of 64 bits.
    Long,
    /// A number with a fraction.
    Double,
    /// Values separated by commas.
    List,
    /// The name of a Java class.
    Class,
    /// A secret: never shown.
    Password,
}

impl Kind {
    /// The number DescribeConfigs v3 and later carry for the type.
    pub fn wire(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::String => 2,
            Kind::Int => 3,
            Kind::Short => 4,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
            Kind::Class => 8,
            Kind::Password => 9,
        }
    }

    /// The type's name in documentation.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "boolean",
            Kind::String => "string",
            Kind::Int => "int",
            Kind::Short => "short",
            Kind::Long => "long",
            Kind::Double => "double",
            Kind::List => "list",
            Kind::Class => "class",
            Kind::Password => "password",
        }
    }
}

/// Which values of its type a property takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Check {
    /// All of them.
    Any,
    /// Numbers from this one up.
    AtLeast(i64),
    /// Numbers between these two, both included.
    Between(i64, i64),
    /// Numbers between the first two, or the third.
    BetweenOr(i64, i64, i64),
    /// Fractions between these two, both included.
    Fraction(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// Any number of these words, separated by commas.
    Subset(&'static [&'static str]),
    /// At least one value.
    NotEmpty,
    /// `partition:broker` pairs, or `*`.
    ReplicaPairs,
    /// `address:count` pairs, of addresses as numbers.
    AddressCounts,
    /// `earliest`, `latest`, or `by_duration:` and a duration of ISO 8601 (KIP-1106).
    OffsetReset,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Check::Any => Ok(()),
            Check::AtLeast(min) => write!(f, "at least {min}"),
            Check::Between(min, max) => write!(f, "between {min} and {max}"),
            Check::BetweenOr(min, max, or) => write!(f, "between {min} and {max}, or {or}"),
            Check::Fraction(min, max) => write!(f, "between {min} and {max}"),
            Check::OneOf(words) | Check::OneOfAnyCase(words) => {
                write!(f, "one of {}", words.join(", "))
            }
            Check::Subset(words) => write!(f, "any of {}", words.join(", ")),
            Check::NotEmpty => f.write_str("not empty"),
            Check::AddressCounts => f.write_str("pairs of address:count, with addresses as numbers"),
            Check::ReplicaPairs => f.write_str("pairs of partition:broker, or *"),
            Check::OffsetReset => f.write_str("earliest, latest or by_duration:PnDTnHnMn.nS"),
        }
    }
}

/// How much a property matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// Look at it before going to production.
    High,
    /// Look at it when tuning.
    Medium,
    /// Seldom touched.
    Low,
}

impl Importance {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Importance::High => "high",
            Importance::Medium => "medium",
            Importance::Low => "low",
        }
    }
}

/// Whether setting a property does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It has its effect.
    Supported,
    /// Kafka knows it; here it is accepted, checked and reported, and nothing follows from it.
    WithoutMeaning(Reason),
}

/// Why a property of Kafka has no meaning here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Listeners with TLS are not served yet.
    Tls,
    /// SASL is not there yet.
    Sasl,
    /// There are no access rules yet.
    Access,
    /// The node keeps its metadata itself.
    Controller,
    /// One thread a core does everything.
    Threads,
    /// Acknowledged already means durable.
    Durability,
    /// Older segments stay on local disks.
    Tiered,
    /// Connections are limited by quotas of addresses.
    Quotas,
    /// No transactions yet.
    Transactions,
    /// No share groups yet.
    ShareGroups,
    /// No streams groups yet.
    StreamsGroups,
    /// No groups of the newer consumer protocol yet.
    ConsumerGroups,
    /// One node, one replica.
    Replication,
    /// Measurements leave the broker in another way.
    Metrics,
    /// Java classes cannot be loaded.
    Plugins,
    /// Memory and waiting are bounded in another way.
    Bounds,
    /// The system sizes socket buffers and queues.
    Sockets,
    /// The file system or the protocol leaves nothing to choose.
    Nothing,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Tls => "listeners with TLS are not served yet",
            Reason::Sasl => "SASL is not served yet",
            Reason::Access => "there are no access rules yet: every client may do everything",
            Reason::Controller => "the node keeps its metadata itself, without a controller quorum",
            Reason::Threads => "one thread a core does network and disk work",
            Reason::Durability => "what is acknowledged is already on disk",
            Reason::Tiered => "there is no tiered storage",
            Reason::Quotas => "connections are limited by address, with quotas",
            Reason::Transactions => "transactions are not served yet",
            Reason::ShareGroups => "share groups are not served yet",
            Reason::StreamsGroups => "streams groups are not served yet",
            Reason::ConsumerGroups => "groups use the classic protocol so far",
            Reason::Replication => "there is one node and one replica of each partition",
            Reason::Metrics => "metrics leave the broker in another way",
            Reason::Plugins => "Java classes cannot be loaded",
            Reason::Bounds => "memory and waiting requests are bounded in another way",
            Reason::Sockets => "the system sizes socket buffers and queues by itself",
            Reason::Nothing => "there is nothing to choose here",
        })
    }
}

impl Definition {
    /// A supported property; the methods below add what differs.
    pub(super) const fn new(
        name: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        check: Check,
        importance: Importance,
    ) -> Self {
        Definition {
            name,
            kind,
            default,
            check,
            importance,
            class: Class::Supported,
            dynamic: false,
            synonyms: &[],
            documentation: "",
        }
    }

    /// Says for people what it does.
    pub(super) const fn doc(mut self, documentation: &'static str) -> Self {
        self.documentation = documentation;
        self
    }

    /// Names the broker's properties that give a topic property's default.
    pub(super) const fn from(mut self, synonyms: &'static [Synonym]) -> Self {
        self.synonyms = synonyms;
        self
    }

    /// Marks what Kafka allows to be changed while the broker runs.
    pub(super) const fn dynamic(mut self) -> Self {
        self.dynamic = true;
        self
    }

    /// Marks what is accepted and does nothing.
    pub(super) const fn without_meaning(mut self, reason: Reason) -> Self {
        self.class = Class::WithoutMeaning(reason);
        self
    }

    /// Whether the value is a secret that is never shown.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// Checks a value as a person or client gave it and returns it as it is stored and shown: trimmed, and numbers, words
    /// and lists as they are understood.
    pub fn check(&self, value: &str) -> Result<String, Invalid> {
        let value = value.trim();
        let wrong = |rule: String| Invalid {
            name: self.name.to_owned(),
            value: if self.is_sensitive() { "[hidden]" } else { value }.to_owned(),
            rule,
        };
        match self.kind {
            Kind::Boolean => {
                if !value.eq_ignore_ascii_case("true") && !value.eq_ignore_ascii_case("false") {
                    return Err(wrong("it must be true or false".to_owned()));
                }
                return Ok(value.to_ascii_lowercase());
            }
            Kind::Short => self.check_whole(value, i16::MIN.into(), i16::MAX.into()),
            Kind::Int => self.check_whole(value, i32::MIN.into(), i32::MAX.into()),
            Kind::Long => self.check_whole(value, i64::MIN, i64::MAX),
            Kind::Double => self.check_fraction(value),
            Kind::String | Kind::Class | Kind::Password => self.check_text(value),
            Kind::List => self.check_list(value),
        }
        .map_err(wrong)?;
        Ok(self.understood(value))
    }

    /// A checked value in the form that Kafka shows it in.
    fn understood(&self, value: &str) -> String {
        match self.kind {
            Kind::Int | Kind::Short | Kind::Long => value.parse::<i64>().map(|number| number.to_string()).ok(),
            Kind::Double => value.parse::<f64>().map(|number| format!("{number:?}").replace('e', "E")).ok(),
            Kind::List => {
                let mut items: Vec<&str> = Vec::new();
                for item in list(value) {
                    // A set of words has each of them once.
                    if !(matches!(self.check, Check::Subset(_)) && items.contains(&item)) {
                        items.push(item);
                    }
                }
                Some(items.join(","))
            }
            Kind::Boolean | Kind::String | Kind::Class | Kind::Password => None,
        }
        .unwrap_or_else(|| value.to_owned())
    }

    fn check_whole(&self, value: &str, min: i64, max: i64) -> Result<(), String> {
        let number: i128 = value.parse().map_err(|_| format!("it must be a whole number ({})", self.kind.name()))?;
        let number = i64::try_from(number)
            .ok()
            .filter(|n| (min..=max).contains(n))
            .ok_or_else(|| format!("numbers of type {} lie between {min} and {max}", self.kind.name()))?;
        let fits = match self.check {
            Check::AtLeast(least) => number >= least,
            Check::Between(least, most) => (least..=most).contains(&number),
            Check::BetweenOr(least, most, or) => (least..=most).contains(&number) || number == or,
            _ => true,
        };
        if fits { Ok(()) } else { Err(format!("it must be {}", self.check)) }
    }

    fn check_fraction(&self, value: &str) -> Result<(), String> {
        let number: f64 = value.parse().map_err(|_| "it must be a number".to_owned())?;
        let fits = match self.check {
            Check::Fraction(least, most) => (least..=most).contains(&number),
            _ => !number.is_nan(),
        };
        if fits { Ok(()) } else { Err(format!("it must be {}", self.check)) }
    }

    fn check_text(&self, value: &str) -> Result<(), String> {
        let fits = match self.check {
            Check::OneOf(words) => words.contains(&value),
            Check::OneOfAnyCase(words) => words.iter().any(|w| w.eq_ignore_ascii_case(value)),
            Check::NotEmpty => !value.is_empty(),
            Check::AddressCounts => parse_overrides(value).is_some(),
            Check::OffsetReset => {
                matches!(value, "earliest" | "latest") || value.strip_prefix("by_duration:").is_some_and(is_duration)
            }
            _ => true,
        };
        if fits { Ok(()) } else { Err(format!("it must be {}", self.check)) }
    }

    fn check_list(&self, value: &str) -> Result<(), String> {
        let fits = match self.check {
            Check::Subset(words) => value.is_empty() || value.split(',').all(|item| words.contains(&item.trim())),
            Check::NotEmpty => list(value).next().is_some(),
            Check::ReplicaPairs => value == "*" || list(value).all(is_replica_pair),
            _ => true,
        };
        if fits { Ok(()) } else { Err(format!("it must be {}", self.check)) }
    }
}

/// The items of a list value, trimmed; an empty value has none.
pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Whether this is a duration of ISO 8601 in days, hours, minutes and seconds, in this order, and not negative.
fn is_duration(text: &str) -> bool {
    let Some(text) = text.strip_prefix('P') else { return false };
    let (days, time) = match text.split_once('T') {
        Some((days, time)) => (days, Some(time)),
        None => (text, None),
    };
    let is_day_part = days.is_empty() && time.is_some() || days.strip_suffix('D').is_some_and(is_count);
    is_day_part && time.is_none_or(is_time)
}

/// `nHnMn.nS`, at least one of them.
fn is_time(text: &str) -> bool {
    let mut rest = text;
    for unit in ['H', 'M'] {
        if let Some((count, after)) = rest.split_once(unit) {
            if !is_count(count) {
                return false;
            }
            rest = after;
        }
    }
    let is_seconds = |seconds: &str| match seconds.split_once('.') {
        Some((whole, fraction)) => is_count(whole) && fraction.len() <= 9 && is_count(fraction),
        None => is_count(seconds),
    };
    !text.is_empty() && (rest.is_empty() || rest.strip_suffix('S').is_some_and(is_seconds))
}

fn is_count(text: &str) -> bool {
    !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_replica_pair(item: &str) -> bool {
    item.split_once(':')
        .is_some_and(|(partition, broker)| partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok())
}

/// A value that its property cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The property.
    pub name: String,
    /// The value as given; hidden where it is a secret.
    pub value: String,
    /// What values must be, as the end of a sentence.
    pub rule: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invalid value \"{}\" for {}: {}", self.value, self.name, self.rule)
    }
}

impl std::error::Error for Invalid {}

#[cfg(test)]
mod tests {
    use crate::config::topic_definition;

    #[test]
    fn values_are_shown_as_they_are_understood() {
        for (name, given, shown) in [
            ("retention.ms", " +0500 ", Some("500")),
            ("min.cleanable.dirty.ratio", "1", Some("1.0")),
            ("min.cleanable.dirty.ratio", "0.50", Some("0.5")),
            ("cleanup.policy", " compact , delete ", Some("compact,delete")),
            ("cleanup.policy", "compact,compact", Some("compact")),
            ("cleanup.policy", "", Some("")),
            ("cleanup.policy", "compact,", None),
            ("cleanup.policy", ",", None),
            ("preallocate", "TRUE", Some("true")),
        ] {
            let definition = topic_definition(name).expect("a topic property");
            assert_eq!(definition.check(given).ok().as_deref(), shown, "{name}={given:?}");
        }
    }
}
