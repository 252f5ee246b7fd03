//! The records inside a batch, once they are decompressed.
//!
//! ```text
//! record:  length varint │ attributes i8 │ timestamp delta varlong │ offset delta varint
//!          │ key length varint, key │ value length varint, value │ header count varint, headers
//! header:  key length varint, key │ value length varint, value
//! ```
//!
//! A length of -1 stands for null, which a header's key may not be. *Length* counts what follows it.

use std::fmt;

use crate::batch::{Batch, TimestampType};
use crate::varint::{self, get_varint, get_varlong};

/// Why bytes are not records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end inside a record.
    Cut,
    /// A variable-length integer does not fit its width.
    IntegerTooLong,
    /// A length or count is negative where that means nothing.
    NegativeLength,
    /// The fields of a record do not fill the length it announces.
    LengthMismatch,
    /// A header of a record has no key.
    NullHeaderKey,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "the records end inside a record",
            Self::IntegerTooLong => "an integer of a record is too long",
            Self::NegativeLength => "a length or count of a record is negative",
            Self::LengthMismatch => "a record's fields do not fill the length it announces",
            Self::NullHeaderKey => "a header of a record has no key",
        })
    }
}

impl std::error::Error for Malformed {}

impl From<varint::Fault> for Malformed {
    fn from(fault: varint::Fault) -> Self {
        match fault {
            varint::Fault::Cut => Self::Cut,
            varint::Fault::TooLong => Self::IntegerTooLong,
        }
    }
}

/// What of a record decides about its batch's validity, and where it lies in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Distance from the batch's base offset.
    pub offset_delta: i32,
    /// Distance from the batch's base timestamp, in ms.
    pub timestamp_delta: i64,
    /// Whether the key is there (it may be empty).
    pub has_key: bool,
}

/// What the deltas of a batch's records count from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    base_offset: i64,
    base_timestamp: i64,
    /// Set where the time of the append counts for every record.
    append_time: Option<i64>,
}

impl Origin {
    /// Offset and timestamp of a record of that batch.
    pub fn locate(&self, head: Head) -> Located {
        Located {
            offset: self.base_offset.wrapping_add(i64::from(head.offset_delta)),
            timestamp: match self.append_time {
                Some(timestamp) => timestamp,
                None => self.base_timestamp.wrapping_add(head.timestamp_delta),
            },
        }
    }
}

impl Batch<'_> {
    /// What the deltas of the batch's records count from.
    pub fn origin(&self) -> Origin {
        Origin {
            base_offset: self.base_offset(),
            base_timestamp: self.base_timestamp(),
            append_time: match self.attributes().timestamp_type() {
                TimestampType::CreateTime => None,
                TimestampType::LogAppendTime => Some(self.max_timestamp()),
            },
        }
    }
}

/// A record's place in its log and in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, in ms.
    pub timestamp: i64,
}

/// One record, borrowed from its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset and timestamp deltas.
    pub head: Head,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

/// The headers of one record; their structure was checked when the record was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    left: usize,
}

/// One header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its key; UTF-8, if the producer kept the rules.
    pub key: &'a [u8],
    /// Its value.
    pub value: Option<&'a [u8]>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        if self.left == 0 {
            return None;
        }
        let mut fields = Fields(self.bytes);
        let header = fields.header().expect("headers are walked when their record is read");
        self.bytes = fields.0;
        self.left -= 1;
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// The records in a batch's decompressed body. Ends at the end of the bytes, or after the first error.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

/// Iterates over the records that `body` consists of.
pub fn records(body: &[u8]) -> Records<'_> {
    Records { rest: body }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = read_record(self.rest);
        self.rest = match &record {
            Ok((_, len)) => &self.rest[*len..],
            Err(_) => &[],
        };
        Some(record.map(|(record, _)| record))
    }
}

/// Reads the record at the start of `bytes`: the record, and how many bytes it takes.
pub fn read_record(bytes: &[u8]) -> Result<(Record<'_>, usize), Malformed> {
    let mut fields = Fields(bytes);
    let announced = fields.length()?;
    let len = bytes.len() - fields.0.len() + announced;
    fields.0 = fields.0.get(..announced).ok_or(Malformed::Cut)?;
    let record = fields.record().map_err(|malformed| match malformed {
        // The bytes go on after the record; it is the record that is too short for its fields.
        Malformed::Cut => Malformed::LengthMismatch,
        other => other,
    })?;
    Ok((record, len))
}

/// What is left of a record's fields.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    #[inline]
    fn record(&mut self) -> Result<Record<'a>, Malformed> {
        // The attributes of a record are unused.
        self.take(1)?;
        let timestamp_delta = self.varlong()?;
        let offset_delta = self.varint()?;
        let key = self.nullable()?;
        let value = self.nullable()?;
        let left = self.length()?;
        let bytes = self.0;
        for _ in 0..left {
            self.header()?;
        }
        if !self.0.is_empty() {
            return Err(Malformed::LengthMismatch);
        }
        let head = Head { offset_delta, timestamp_delta, has_key: key.is_some() };
        Ok(Record { head, key, value, headers: Headers { bytes, left } })
    }

    fn header(&mut self) -> Result<Header<'a>, Malformed> {
        let key = self.nullable()?.ok_or(Malformed::NullHeaderKey)?;
        Ok(Header { key, value: self.nullable()? })
    }

    #[inline]
    fn nullable(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.varint()? {
            -1 => Ok(None),
            len => {
                let len = usize::try_from(len).map_err(|_| Malformed::NegativeLength)?;
                self.take(len).map(Some)
            }
        }
    }

    #[inline]
    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.varint()?).map_err(|_| Malformed::NegativeLength)
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    fn varint(&mut self) -> Result<i32, Malformed> {
        let (value, len) = get_varint(self.0)?;
        self.0 = &self.0[len..];
        Ok(value)
    }

    #[inline]
    fn varlong(&mut self) -> Result<i64, Malformed> {
        let (value, len) = get_varlong(self.0)?;
        self.0 = &self.0[len..];
        Ok(value)
    }
}
