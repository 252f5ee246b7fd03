use std::fmt;

/// Why bytes are not a valid message, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// Position in the input, in bytes from its start, where reading stopped.
    pub offset: usize,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong with the bytes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The input ends within a value.
    Truncated {
        /// Bytes that the value needs.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// The input goes on after the message.
    TrailingBytes {
        /// Bytes that are left.
        left: usize,
    },
    /// A length or count is negative where null is not allowed.
    NegativeLength(i32),
    /// A null where the protocol allows none.
    UnexpectedNull,
    /// A string is longer than [`super::STRING_BYTES_MAX`].
    StringTooLong(usize),
    /// A string is not UTF-8.
    NotUtf8,
    /// A varint has more than five bytes, or a value of more than 32 bits.
    VarintTooLong,
    /// An array claims more elements than [`super::ARRAY_COUNT_MAX`], or than the bytes left can hold.
    ArrayTooLong {
        /// The claimed number of elements.
        count: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A struct claims more tagged fields than [`super::TAGGED_FIELDS_MAX`], or than the bytes left can hold.
    TooManyTaggedFields {
        /// The claimed number of fields.
        count: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// Tags have to ascend, each at most once.
    TagOutOfOrder {
        /// The tag read.
        tag: u32,
    },
    /// A tagged field's value is shorter than its size says.
    TaggedFieldSize {
        /// The tag.
        tag: u32,
        /// Bytes of the field that its value left unread.
        unread: usize,
    },
    /// The decoded message would take more memory than an input of this size may
    /// ([`super::DECODED_BYTES_BASE`], [`super::DECODED_BYTES_PER_INPUT_BYTE`]).
    TooMuchMemory,
    /// No API has this key.
    UnknownApiKey(i16),
    /// The API's schema has no such version.
    UnsupportedVersion(i16),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for DecodeError {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed, left } => write!(f, "the value needs {needed} bytes but {left} are left"),
            Self::TrailingBytes { left } => write!(f, "{left} bytes are left after the end of the message"),
            Self::NegativeLength(length) => write!(f, "the length {length} is negative"),
            Self::UnexpectedNull => f.write_str("null where the protocol allows none"),
            Self::StringTooLong(length) => {
                write!(f, "a string of {length} bytes is over the limit of {}", super::STRING_BYTES_MAX)
            }
            Self::NotUtf8 => f.write_str("a string is not UTF-8"),
            Self::VarintTooLong => f.write_str("a varint has more than 32 bits"),
            Self::ArrayTooLong { count, left } => write!(
                f,
                "an array claims {count} elements, but {left} bytes are left and the limit is {}",
                super::ARRAY_COUNT_MAX
            ),
            Self::TooManyTaggedFields { count, left } => write!(
                f,
                "a struct claims {count} tagged fields, but {left} bytes are left and the limit is {}",
                super::TAGGED_FIELDS_MAX
            ),
            Self::TagOutOfOrder { tag } => write!(f, "the tag {tag} is repeated or not in ascending order"),
            Self::TaggedFieldSize { tag, unread } => {
                write!(f, "the value of the tagged field {tag} ends {unread} bytes before its size says")
            }
            Self::TooMuchMemory => f.write_str("the message takes far more memory than its size justifies"),
            Self::UnknownApiKey(key) => write!(f, "the API key {key} is unknown"),
            Self::UnsupportedVersion(version) => write!(f, "the version {version} of this API is unknown"),
        }
    }
}
