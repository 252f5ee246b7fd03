//! Whom a quota is for, and what it limits.

use std::fmt;
use std::net::IpAddr;

/// The user of a connection that has not authenticated itself.
pub const ANONYMOUS: &str = "ANONYMOUS";

/// The part of an [`Entity`] that one entity type names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Everybody of the type who is not named elsewhere.
    Default,
    /// This one.
    Named(String),
}

impl Name {
    /// As the protocol has it: `None` is the default.
    pub fn as_deref(&self) -> Option<&str> {
        match self {
            Name::Default => None,
            Name::Named(name) => Some(name),
        }
    }
}

impl From<Option<String>> for Name {
    fn from(name: Option<String>) -> Self {
        name.map_or(Name::Default, Name::Named)
    }
}

/// Whom a quota is for (KIP-546): the combinations that Kafka allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// All that a user does.
    User(Name),
    /// What a user does with a client id.
    UserClient(Name, Name),
    /// All that is done with a client id, by any user without a quota of its own.
    Client(Name),
    /// What comes from an address.
    Ip(Name),
}

/// The types of which entities are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A client id.
    ClientId,
    /// A user.
    User,
    /// An address.
    Ip,
}

impl Kind {
    /// The type of that name.
    pub fn parse(name: &str) -> Option<Kind> {
        [Kind::ClientId, Kind::User, Kind::Ip].into_iter().find(|kind| kind.name() == name)
    }

    /// As the protocol spells it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::ClientId => "client-id",
            Kind::User => "user",
            Kind::Ip => "ip",
        }
    }
}

impl Entity {
    /// The entity of these parts, if they go together.
    pub fn of(user: Option<Name>, client_id: Option<Name>, ip: Option<Name>) -> Option<Entity> {
        match (user, client_id, ip) {
            (Some(user), None, None) => Some(Entity::User(user)),
            (Some(user), Some(client_id), None) => Some(Entity::UserClient(user, client_id)),
            (None, Some(client_id), None) => Some(Entity::Client(client_id)),
            (None, None, Some(ip)) => Some(Entity::Ip(ip)),
            (None, None, None) | (_, _, Some(_)) => None,
        }
    }

    /// The types and names it is made of, in the order in which Kafka answers them.
    pub fn parts(&self) -> impl Iterator<Item = (Kind, &Name)> {
        let (first, second) = match self {
            Entity::User(user) => ((Kind::User, user), None),
            Entity::UserClient(user, client) => ((Kind::ClientId, client), Some((Kind::User, user))),
            Entity::Client(client) => ((Kind::ClientId, client), None),
            Entity::Ip(ip) => ((Kind::Ip, ip), None),
        };
        std::iter::once(first).chain(second)
    }

    /// What can be limited for it, in the order in which Kafka answers it.
    pub fn keys(&self) -> &'static [Key] {
        match self {
            Entity::User(_) | Entity::UserClient(..) | Entity::Client(_) => {
                &[Key::Producer, Key::Consumer, Key::Mutation, Key::Request]
            }
            Entity::Ip(_) => &[Key::Connection],
        }
    }
}

/// What a quota limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `producer_byte_rate`: bytes per second of produce requests.
    Producer,
    /// `consumer_byte_rate`: bytes per second of fetch answers.
    Consumer,
    /// `controller_mutation_rate`: partitions created and deleted per second (KIP-599).
    Mutation,
    /// `request_percentage`: time of one shard spent on requests, in percent (KIP-124).
    Request,
    /// `connection_creation_rate`: connections accepted per second (KIP-612).
    Connection,
}

/// A quota that is refused, with the name of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadValue {
    /// It is 0 or less.
    NotPositive(&'static str),
    /// It is no number.
    NotANumber(&'static str),
    /// It has a fraction where only whole numbers are taken.
    Fraction(&'static str),
    /// It is larger than the protocol's type for it, which is named.
    TooLarge(&'static str, &'static str),
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadValue::NotPositive(key) => write!(f, "Quota {key} must be greater than 0"),
            BadValue::NotANumber(key) => write!(f, "Quota {key} must be a number"),
            BadValue::Fraction(key) => write!(f, "{key} cannot be a fractional value."),
            BadValue::TooLarge(key, of) => write!(f, "Proposed value for {key} is too large for {of}."),
        }
    }
}

/// How far a value may lie from a whole number and still be taken for one.
const FRACTION_MAX: f64 = 1e-6;

impl Key {
    /// Every key.
    pub const ALL: [Key; 5] = [Key::Producer, Key::Consumer, Key::Mutation, Key::Request, Key::Connection];

    /// The key of that name.
    pub fn parse(name: &str) -> Option<Key> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// As the protocol spells it.
    pub fn name(self) -> &'static str {
        match self {
            Key::Producer => "producer_byte_rate",
            Key::Consumer => "consumer_byte_rate",
            Key::Mutation => "controller_mutation_rate",
            Key::Request => "request_percentage",
            Key::Connection => "connection_creation_rate",
        }
    }

    /// Checks a value, as Kafka does.
    ///
    /// # Errors
    /// If it cannot be a quota of this key.
    pub fn check(self, value: f64) -> Result<(), BadValue> {
        let key = self.name();
        if value.is_nan() {
            return Err(BadValue::NotANumber(key));
        }
        if value <= 0.0 {
            return Err(BadValue::NotPositive(key));
        }
        let (max, of) = match self {
            Key::Mutation | Key::Request => return Ok(()),
            Key::Producer | Key::Consumer => (i64::MAX as f64, "a LONG"),
            Key::Connection => (f64::from(i32::MAX), "an INT"),
        };
        if value > max {
            return Err(BadValue::TooLarge(key, of));
        }
        if (value - value.round()).abs() > FRACTION_MAX { Err(BadValue::Fraction(key)) } else { Ok(()) }
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// What is limited for one entity.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits([Option<f64>; Key::ALL.len()]);

/// No value is NaN: [`Key::check`] refuses it, and damaged records are not read.
impl Eq for Limits {}

impl Limits {
    /// The limit of a key.
    #[inline]
    pub fn get(&self, key: Key) -> Option<f64> {
        self.0[key.index()]
    }

    /// Sets or removes a limit.
    ///
    /// # Panics
    /// If the value was not checked.
    pub fn set(&mut self, key: Key, value: Option<f64>) {
        assert!(value.is_none_or(|value| value > 0.0), "a limit is a positive number");
        self.0[key.index()] = value;
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

/// The address that an `ip` entity names, if it is one. Names are not resolved, but for the one that every machine
/// agrees about.
pub fn address(name: &str) -> Option<IpAddr> {
    if name == "localhost" {
        return Some(std::net::Ipv4Addr::LOCALHOST.into());
    }
    name.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_and_connection_rates_are_whole_positive_numbers_within_their_type() {
        assert_eq!(Key::Producer.check(1_000.000_000_5), Ok(()));
        assert_eq!(
            Key::Producer.check(1000.5).expect_err("a fraction").to_string(),
            "producer_byte_rate cannot be a fractional value."
        );
        assert_eq!(
            Key::Consumer.check(0.0).expect_err("zero").to_string(),
            "Quota consumer_byte_rate must be greater than 0"
        );
        assert_eq!(
            Key::Consumer.check(1e19).expect_err("huge").to_string(),
            "Proposed value for consumer_byte_rate is too large for a LONG."
        );
        assert_eq!(
            Key::Connection.check(3e9).expect_err("huge").to_string(),
            "Proposed value for connection_creation_rate is too large for an INT."
        );
        assert_eq!(Key::Request.check(0.5), Ok(()));
        assert_eq!(Key::Mutation.check(f64::INFINITY), Ok(()));
        for key in Key::ALL {
            assert!(matches!(key.check(f64::NAN), Err(BadValue::NotANumber(_))));
            assert!(matches!(key.check(-1.0), Err(BadValue::NotPositive(_))));
        }
    }

    #[test]
    fn an_ip_entity_is_an_address_in_any_spelling() {
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        assert_eq!(address("0:0:0:0:0:0:0:1"), address("::1"));
        assert_eq!(address("localhost"), address("127.0.0.1"));
        assert_eq!(address("not an ip"), None);
    }
}
