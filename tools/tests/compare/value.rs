//! A message of any API as a tree of values, as the schema describes it.

use std::collections::BTreeMap;
use std::fmt;

use net::Uuid;

use crate::batches::Batch;
use crate::side::Own;

/// The fields of a struct. One that is absent has the schema's default.
pub(crate) type Fields = BTreeMap<&'static str, Value>;

/// A value of a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Bytes(Vec<u8>),
    Uuid(Uuid),
    List(Vec<Value>),
    Struct(Fields),
    /// What each broker has chosen for itself, such as a topic's id.
    Own(Own),
    /// Record batches; those of an idempotent producer hold an id that the broker has chosen.
    Batches(Vec<Batch>),
}

impl Value {
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Struct(fields) => fields.get(name),
            _ => None,
        }
    }

    /// The elements of a list; none of anything else.
    pub(crate) fn list(&self, name: &str) -> &[Self] {
        match self.get(name) {
            Some(Self::List(elements)) => elements,
            _ => &[],
        }
    }

    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Self::Int(value)) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Self::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// The most characters of a text that are printed.
const PRINTED_MAX: usize = 120;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Text(text) if text.chars().count() > PRINTED_MAX => {
                let start: String = text.chars().take(PRINTED_MAX).collect();
                write!(f, "{start:?}… ({} characters)", text.chars().count())
            }
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => {
                write!(f, "{} bytes {}", bytes.len(), bytes[..bytes.len().min(PRINTED_MAX)].escape_ascii())
            }
            Self::Uuid(id) => write!(f, "{id}"),
            Self::List(elements) => {
                f.write_str("[")?;
                for (position, element) in elements.iter().enumerate() {
                    write!(f, "{}{element}", if position > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Struct(fields) => {
                f.write_str("{")?;
                for (position, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}: {value}", if position > 0 { ", " } else { "" })?;
                }
                f.write_str("}")
            }
            Self::Own(own) => write!(f, "<{own:?}>"),
            Self::Batches(batches) => write!(f, "{batches:?}"),
        }
    }
}

macro_rules! from_int {
    ($($int:ty)*) => { $(impl From<$int> for Value {
        fn from(value: $int) -> Self {
            Self::Int(value.into())
        }
    })* };
}

from_int!(i8 i16 i32 i64);

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Uuid> for Value {
    fn from(value: Uuid) -> Self {
        Self::Uuid(value)
    }
}

impl From<Own> for Value {
    fn from(value: Own) -> Self {
        Self::Own(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

/// A struct of the fields named; the others have their defaults.
macro_rules! fields {
    ($($name:ident: $value:expr),* $(,)?) => {
        $crate::value::Value::Struct(std::collections::BTreeMap::from([
            $((stringify!($name).trim_start_matches("r#"), $crate::value::Value::from($value))),*
        ]))
    };
}

pub(crate) use fields;
