//! Writes record batches: for internal topics, clients, the load generator and tests.

use std::fmt;

use crate::batch::{self, Attributes, HEADER_BYTES, NO_TIMESTAMP, Producer, TimestampType};
use crate::compression::{self, Codec};
use crate::varint::{put_varint, put_varlong, varint_len, varlong_len};

/// Most bytes of records in one batch, before and after compression: far above what any broker accepts.
pub const BODY_BYTES_MAX: usize = 1 << 30;

/// What is the same for all records of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Offset of the first record; 0 from a client.
    pub base_offset: i64,
    /// Epoch of the leader; -1 from a client.
    pub leader_epoch: i32,
    /// How to compress.
    pub codec: Codec,
    /// What the timestamps mean; from a client always the time of creation.
    pub timestamp_type: TimestampType,
    /// The idempotent producer, if there is one.
    pub producer: Option<Producer>,
    /// Whether the batch belongs to a transaction.
    pub is_transactional: bool,
    /// Whether the records are control records.
    pub is_control: bool,
}

impl Default for Options {
    /// What a client without idempotence sends.
    fn default() -> Self {
        Self {
            base_offset: 0,
            leader_epoch: -1,
            codec: Codec::None,
            timestamp_type: TimestampType::CreateTime,
            producer: None,
            is_transactional: false,
            is_control: false,
        }
    }
}

/// A record to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// In ms since 1970, [`NO_TIMESTAMP`] for none.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [NewHeader<'a>],
}

/// A header to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewHeader<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// A record was not added: it does not fit the batch, which stands as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoesNotFit;

impl fmt::Display for DoesNotFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the record does not fit a record batch of at most {BODY_BYTES_MAX} bytes")
    }
}

impl std::error::Error for DoesNotFit {}

/// Gathers records into one batch.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    options: Options,
    /// Room for the header, then the records uncompressed.
    bytes: Vec<u8>,
    base_timestamp: i64,
    max_timestamp: i64,
    record_count: i32,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            bytes: vec![0; HEADER_BYTES],
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            record_count: 0,
        }
    }

    /// Adds a record; the offsets follow one another.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn append(&mut self, record: &NewRecord<'_>) -> Result<(), DoesNotFit> {
        let base_timestamp = if self.record_count == 0 { record.timestamp } else { self.base_timestamp };
        let timestamp_delta = record.timestamp.wrapping_sub(base_timestamp);
        let len = record_len(record, timestamp_delta, self.record_count).ok_or(DoesNotFit)?;
        if self.bytes.len() + varint_len(len) + len as usize > BODY_BYTES_MAX || self.record_count == i32::MAX {
            return Err(DoesNotFit);
        }
        let out = &mut self.bytes;
        put_varint(out, len);
        let start = out.len();
        out.push(0);
        put_varlong(out, timestamp_delta);
        put_varint(out, self.record_count);
        put_nullable(out, record.key);
        put_nullable(out, record.value);
        put_varint(out, record.headers.len() as i32);
        for header in record.headers {
            put_nullable(out, Some(header.key.as_bytes()));
            put_nullable(out, header.value);
        }
        assert_eq!(out.len() - start, len as usize, "a record's length is computed as it is written");
        self.base_timestamp = base_timestamp;
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        self.record_count += 1;
        Ok(())
    }

    /// Records so far.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Size of the batch so far if it were not compressed.
    pub fn size_in_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The finished batch.
    ///
    /// # Panics
    /// If there is no record: a batch without records exists only as a remnant of compaction.
    pub fn finish(self) -> Vec<u8> {
        assert!(self.record_count > 0, "a batch has at least one record");
        let mut bytes = self.bytes;
        if self.options.codec != Codec::None {
            let mut compressed = vec![0; HEADER_BYTES];
            compression::compress(self.options.codec, &bytes[HEADER_BYTES..], &mut compressed);
            bytes = compressed;
        }
        let Options { base_offset, leader_epoch, codec, timestamp_type, producer, is_transactional, is_control } =
            self.options;
        batch::write_header(
            &mut bytes,
            &batch::Header {
                base_offset,
                leader_epoch,
                attributes: Attributes::new(codec, timestamp_type, is_transactional, is_control),
                last_offset_delta: self.record_count - 1,
                base_timestamp: self.base_timestamp,
                max_timestamp: self.max_timestamp,
                producer,
                record_count: self.record_count,
            },
        );
        bytes
    }
}

/// The length field of a record, if it can have one.
fn record_len(record: &NewRecord<'_>, timestamp_delta: i64, offset_delta: i32) -> Option<i32> {
    let headers = i32::try_from(record.headers.len()).ok()?;
    let mut len = 1 + varlong_len(timestamp_delta) + varint_len(offset_delta) + varint_len(headers);
    len += nullable_len(record.key)? + nullable_len(record.value)?;
    for header in record.headers {
        len += nullable_len(Some(header.key.as_bytes()))? + nullable_len(header.value)?;
    }
    i32::try_from(len).ok()
}

fn nullable_len(bytes: Option<&[u8]>) -> Option<usize> {
    let Some(bytes) = bytes else { return Some(varint_len(-1)) };
    Some(varint_len(i32::try_from(bytes.len()).ok()?) + bytes.len())
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
    }
}

/// A control record: the mark that ends a transaction in one partition (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTransaction {
    /// Whether the transaction's records count.
    pub is_commit: bool,
    /// Epoch of the coordinator that wrote the mark.
    pub coordinator_epoch: i32,
}

impl EndTransaction {
    const VERSION: i16 = 0;

    /// The control record's key: version and kind.
    pub fn key(&self) -> [u8; 4] {
        let mut key = [0; 4];
        key[..2].copy_from_slice(&Self::VERSION.to_be_bytes());
        key[2..].copy_from_slice(&i16::from(self.is_commit).to_be_bytes());
        key
    }

    /// The control record's value: version and coordinator epoch.
    pub fn value(&self) -> [u8; 6] {
        let mut value = [0; 6];
        value[..2].copy_from_slice(&Self::VERSION.to_be_bytes());
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        value
    }

    /// The mark in a control record, `None` if it is of another kind.
    pub fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let kind = i16::from_be_bytes(*key.get(2..)?.first_chunk()?);
        let is_commit = match kind {
            0 => false,
            1 => true,
            _ => return None,
        };
        let coordinator_epoch = i32::from_be_bytes(*value.get(2..)?.first_chunk()?);
        Some(Self { is_commit, coordinator_epoch })
    }
}
