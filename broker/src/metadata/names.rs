//! Topic names: which are possible, which are Kafka's own.

use std::fmt;

/// The longest topic name, in bytes, as in Kafka.
pub const NAME_BYTES_MAX: usize = 249;

/// The topic of committed offsets.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";

/// The topic of transactions.
pub const TRANSACTION_STATE: &str = "__transaction_state";

/// The topic of share groups.
pub const SHARE_GROUP_STATE: &str = "__share_group_state";

/// Kafka's name for the metadata log, which no topic may have.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Whether clients are told that the topic is an internal one.
pub fn is_internal(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE)
}

/// Why a topic cannot have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Illegal {
    /// It is empty.
    Empty,
    /// It is `.` or `..`.
    Dots,
    /// It is longer than [`NAME_BYTES_MAX`].
    TooLong,
    /// It has a character other than ASCII letters, digits, `.`, `_` and `-`.
    Character,
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Illegal::Empty => f.write_str("a topic name must not be empty"),
            Illegal::Dots => f.write_str("a topic must not be named \".\" or \"..\""),
            Illegal::TooLong => write!(f, "a topic name has at most {NAME_BYTES_MAX} characters"),
            Illegal::Character => f.write_str("a topic name has only ASCII letters, digits, '.', '_' and '-'"),
        }
    }
}

/// Checks a topic name by Kafka's rules.
pub fn check(name: &str) -> Result<(), Illegal> {
    if name.is_empty() {
        return Err(Illegal::Empty);
    }
    if name == "." || name == ".." {
        return Err(Illegal::Dots);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Illegal::TooLong);
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.bytes().all(legal) { Ok(()) } else { Err(Illegal::Character) }
}

/// The form in which names collide: metrics of Kafka write `.` as `_`, so `a.b` and `a_b` must not both exist.
/// `None` for names that collide with nothing but themselves.
pub(super) fn collision_form(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_and_illegal_names_are_told_apart() {
        for name in ["a", "A-z_0.9", "...", "__consumer_offsets", &"x".repeat(249)] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        assert_eq!(check(""), Err(Illegal::Empty));
        assert_eq!(check("."), Err(Illegal::Dots));
        assert_eq!(check(".."), Err(Illegal::Dots));
        assert_eq!(check(&"x".repeat(250)), Err(Illegal::TooLong));
        for name in ["a b", "a/b", "ä", "a:b", "a\0", "a,b"] {
            assert_eq!(check(name), Err(Illegal::Character), "{name}");
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert_eq!(collision_form("a.b_c").as_deref(), Some("a_b_c"));
        assert_eq!(collision_form("a-b"), None);
    }
}
