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
use crate::varint::{self, get_short, get_varint, get_varlong, zigzag_32, zigzag_64};

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
#[inline]
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

/// Reads what decides about the record at the start of `bytes`, and how many bytes it takes: as strict as
/// [`read_record`], and quicker, since it only steps over keys, values and headers.
#[inline(always)]
pub fn read_head(bytes: &[u8]) -> Result<(Head, usize), Malformed> {
    if let Some(read) = read_plain_head(bytes) {
        return Ok(read);
    }
    read_record(bytes).map(|(record, len)| (record.head, len))
}

/// [`read_head`] of a record without headers whose fields are all there; `None` for any other.
#[inline(always)]
fn read_plain_head(bytes: &[u8]) -> Option<(Head, usize)> {
    let (length, start) = get_short(bytes)?;
    let length = usize::try_from(zigzag_32(length)).ok()?;
    let fields = bytes.get(start..start + length)?;
    let (timestamp_delta, len) = get_short(fields.get(1..)?)?;
    let mut at = 1 + len;
    let (offset_delta, len) = get_short(fields.get(at..)?)?;
    at += len;
    let (key, len) = get_short(fields.get(at..)?)?;
    let key = zigzag_32(key);
    at += len + usize::try_from(key.max(0)).ok()?;
    let (value, len) = get_short(fields.get(at..)?)?;
    let value = zigzag_32(value);
    at += len + usize::try_from(value.max(0)).ok()?;
    // The header count is the record's last byte, and zero.
    if key < -1 || value < -1 || at + 1 != length || fields[at] != 0 {
        return None;
    }
    let timestamp_delta = zigzag_64(u64::from(timestamp_delta));
    Some((Head { offset_delta: zigzag_32(offset_delta), timestamp_delta, has_key: key >= 0 }, start + length))
}

/// What is left of a record's fields.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    #[inline(always)]
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

    #[inline]
    fn header(&mut self) -> Result<Header<'a>, Malformed> {
        let key = self.nullable()?.ok_or(Malformed::NullHeaderKey)?;
        Ok(Header { key, value: self.nullable()? })
    }

    #[inline(always)]
    fn nullable(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.varint()? {
            -1 => Ok(None),
            len => {
                let len = usize::try_from(len).map_err(|_| Malformed::NegativeLength)?;
                self.take(len).map(Some)
            }
        }
    }

    #[inline(always)]
    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.varint()?).map_err(|_| Malformed::NegativeLength)
    }

    #[inline(always)]
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<i32, Malformed> {
        let (value, len) = get_varint(self.0)?;
        self.0 = &self.0[len..];
        Ok(value)
    }

    #[inline(always)]
    fn varlong(&mut self) -> Result<i64, Malformed> {
        let (value, len) = get_varlong(self.0)?;
        self.0 = &self.0[len..];
        Ok(value)
    }
}
