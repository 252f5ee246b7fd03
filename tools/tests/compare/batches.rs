//! The record batches that requests carry: what they hold, and what is wrong with them.

use storage::batch::{self, CRC_FROM, HEADER_BYTES, Producer};
use storage::builder::{BatchBuilder, NewHeader, NewRecord, Options};
use storage::compression::Codec;

use crate::side::{Own, Side};

/// Where fields of a batch's header stand.
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const BASE_TIMESTAMP: usize = 27;
const MAX_TIMESTAMP: usize = 35;
const RECORD_COUNT: usize = 57;

/// One batch, before a broker is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Batch {
    pub(crate) codec: Codec,
    /// Keys of the records; none writes a record without a key.
    pub(crate) keys: Vec<Option<String>>,
    /// Bytes of each value.
    pub(crate) value_bytes: usize,
    /// Timestamp of the first record; the others follow a millisecond apart.
    pub(crate) timestamp: i64,
    pub(crate) producer: Option<Sequence>,
    pub(crate) fault: Option<Fault>,
}

/// The place of a batch among those of an idempotent producer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sequence {
    pub(crate) producer: Own,
    /// Added to the epoch that the broker gave.
    pub(crate) epoch_more: i16,
    pub(crate) first: i32,
}

/// What is wrong with a batch. All but [`Self::Crc`] have a CRC that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Crc,
    BaseOffset,
    LengthMore,
    LengthLess,
    Magic(i8),
    Count,
    LastOffsetDelta,
    CodecUnknown,
    CodecOther,
    Cut,
    Trailing,
    Control,
    Transactional,
    TimestampType,
    MaxTimestamp,
    BaseTimestamp,
    Body,
    Empty,
}

/// All of them.
pub(crate) const FAULTS: &[Fault] = &[
    Fault::Crc,
    Fault::BaseOffset,
    Fault::LengthMore,
    Fault::LengthLess,
    Fault::Magic(0),
    Fault::Magic(1),
    Fault::Magic(3),
    Fault::Magic(-1),
    Fault::Count,
    Fault::LastOffsetDelta,
    Fault::CodecUnknown,
    Fault::CodecOther,
    Fault::Cut,
    Fault::Trailing,
    Fault::Control,
    Fault::Transactional,
    Fault::TimestampType,
    Fault::MaxTimestamp,
    Fault::BaseTimestamp,
    Fault::Body,
    Fault::Empty,
];

impl Batch {
    /// A batch of `count` keyed records.
    pub(crate) fn plain(count: usize, timestamp: i64) -> Self {
        let keys = (0..count).map(|number| Some(format!("key-{}", number % 3))).collect();
        Self { codec: Codec::None, keys, value_bytes: 20, timestamp, producer: None, fault: None }
    }

    /// Its bytes, for one of the brokers.
    pub(crate) fn bytes(&self, side: &Side) -> Vec<u8> {
        let producer = self.producer.as_ref().map(|sequence| {
            let (id, epoch) = side.producer(&sequence.producer);
            Producer { id, epoch: epoch.wrapping_add(sequence.epoch_more), base_sequence: sequence.first }
        });
        let is = |fault| self.fault == Some(fault);
        let options = Options {
            codec: self.codec,
            producer,
            is_control: is(Fault::Control),
            is_transactional: is(Fault::Transactional),
            ..Options::default()
        };
        let mut builder = BatchBuilder::new(options);
        let value = "v".repeat(self.value_bytes);
        let headers = [NewHeader { key: "h", value: Some(b"1") }];
        for (timestamp, key) in (self.timestamp..).zip(&self.keys) {
            let record = NewRecord {
                timestamp,
                key: key.as_ref().map(String::as_bytes),
                value: Some(value.as_bytes()),
                headers: if key.is_some() { &headers } else { &[] },
            };
            builder.append(&record).expect("a generated batch is small");
        }
        let bytes = builder.finish();
        match self.fault {
            Some(fault) => damaged(bytes, fault),
            None => bytes,
        }
    }
}

fn damaged(mut bytes: Vec<u8>, fault: Fault) -> Vec<u8> {
    let length = (bytes.len() - batch::LENGTH_PREFIX_BYTES) as i32;
    match fault {
        Fault::Crc => bytes[CRC] ^= 1,
        Fault::BaseOffset => bytes[7] = 5,
        Fault::LengthMore => bytes[LENGTH..MAGIC - 4].copy_from_slice(&(length + 7).to_be_bytes()),
        Fault::LengthLess => bytes[LENGTH..MAGIC - 4].copy_from_slice(&(length - 1).to_be_bytes()),
        Fault::Magic(magic) => bytes[MAGIC] = magic as u8,
        Fault::Cut => bytes.truncate(bytes.len() - 3),
        Fault::Trailing => bytes.extend([1, 2, 3]),
        // Set when the batch was built.
        Fault::Control | Fault::Transactional => {}
        Fault::Count => patch(&mut bytes, RECORD_COUNT + 3, |byte| byte.wrapping_add(1)),
        Fault::LastOffsetDelta => patch(&mut bytes, LAST_OFFSET_DELTA + 3, |byte| byte.wrapping_add(1)),
        Fault::CodecUnknown => patch(&mut bytes, ATTRIBUTES + 1, |byte| byte | 7),
        Fault::CodecOther => patch(&mut bytes, ATTRIBUTES + 1, |byte| byte & !7 | 1),
        Fault::TimestampType => patch(&mut bytes, ATTRIBUTES + 1, |byte| byte | 8),
        Fault::MaxTimestamp => patch(&mut bytes, MAX_TIMESTAMP + 5, |byte| byte.wrapping_add(9)),
        // Far in the future.
        Fault::BaseTimestamp => patch(&mut bytes, BASE_TIMESTAMP + 1, |byte| byte.wrapping_add(1)),
        Fault::Body => patch(&mut bytes, HEADER_BYTES, |byte| byte.wrapping_add(2)),
        Fault::Empty => {
            bytes.truncate(HEADER_BYTES);
            let length = (HEADER_BYTES - batch::LENGTH_PREFIX_BYTES) as i32;
            bytes[LENGTH..MAGIC - 4].copy_from_slice(&length.to_be_bytes());
            patch(&mut bytes, RECORD_COUNT + 3, |_| 0);
        }
    }
    bytes
}

/// Changes a byte under the CRC, and the CRC with it.
fn patch(bytes: &mut [u8], at: usize, change: impl Fn(u8) -> u8) {
    assert!(at >= CRC_FROM);
    bytes[at] = change(bytes[at]);
    let crc = batch::Batch::first(bytes).expect("its frame is whole").computed_crc();
    bytes[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
}
