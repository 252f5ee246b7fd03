//! Validation of what a client wants to append to a partition.
//!
//! ```text
//! validate_header ─┬─ uncompressed ─► walk_records ───────────┬─► Valid ─► append
//!                  └─ compressed ──► CompressedValidation ────┘
//!                  check_crc, or batch::copy_with_crc on the way into the log, before it is published
//! ```
//!
//! The steps are apart so that the engine can join the CRC with the copy it makes anyway, and run the
//! decompression in bounded slices. A step that finds something wrong looks at the CRC before it says so:
//! damage on the way is reported as such, and only what a client wrote on purpose as a broken rule.
//!
//! The rules are those of Apache Kafka's log validation: exactly one batch, of format v2, base offset 0;
//! count, last offset delta and records agree; no control records from clients; timestamps in bounds; keys
//! where the topic is compacted. A wrong maximum timestamp is corrected, not refused.

use std::fmt;
use std::ops::ControlFlow;

use crate::batch::{self, Attributes, Batch, NO_TIMESTAMP, Producer, TimestampType, Timestamps};
use crate::compression::{self, Codec};
use crate::record::{self, Head, Origin};
use crate::scan::{Fault, Progress, Scan};

/// Most record errors kept for the answer; all are counted.
pub const RECORD_ERRORS_MAX: usize = 256;

/// Who wants to append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// A client, which may not write control records.
    Client,
    /// One of this cluster's coordinators.
    Coordinator,
}

/// What topic and moment demand of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Who wants to append.
    pub writer: Writer,
    /// `max.message.bytes`: most bytes of the whole batch as it comes.
    pub batch_bytes_max: usize,
    /// Most bytes the records may decompress to.
    pub decompressed_bytes_max: u64,
    /// Whether every record needs a key (`cleanup.policy` has `compact`).
    pub is_compacted: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how old a record may be.
    pub timestamp_before_ms_max: i64,
    /// `message.timestamp.after.max.ms`: how far in the future a record may lie.
    pub timestamp_after_ms_max: i64,
    /// Wall time, in ms since 1970.
    pub now_ms: i64,
}

/// What the log needs to know of a batch that may be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Valid {
    /// Size of the batch.
    pub size_in_bytes: usize,
    /// Number of its records, at least 1; the last offset delta is one less.
    pub record_count: u32,
    /// How the records are compressed.
    pub codec: Codec,
    /// Timestamp of the first record.
    pub first_timestamp: i64,
    /// Largest timestamp of a record, or the time of the append.
    pub max_timestamp: i64,
    /// Offset of the first record with that timestamp, less the base offset.
    pub max_timestamp_offset_delta: u32,
    /// The idempotent producer's stamp.
    pub producer: Option<Producer>,
    /// Whether the batch belongs to a transaction.
    pub is_transactional: bool,
    /// Whether it holds control records.
    pub is_control: bool,
    /// What must be written into the header ([`batch::rewrite_timestamps`]) before it is stored, if anything.
    pub rewrite: Option<Timestamps>,
}

/// Why a batch may not be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// There are no bytes at all.
    Empty,
    /// The bytes do not start with a batch of format v2.
    Malformed(batch::Malformed),
    /// Something follows the first batch.
    NotOneBatch {
        /// Size of the first batch.
        first_bytes: usize,
        /// Size of all.
        bytes: usize,
    },
    /// The batch exceeds `max.message.bytes`.
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The bytes were damaged on their way.
    CrcMismatch {
        /// CRC-32C that the header claims.
        claimed: u32,
        /// CRC-32C that the bytes have.
        computed: u32,
    },
    /// The base offset is not 0.
    BaseOffset {
        /// What it is.
        base_offset: i64,
    },
    /// The attributes name a codec that does not exist.
    UnknownCodec {
        /// Its number.
        id: u8,
    },
    /// The header claims no, or less than no, record.
    NoRecords {
        /// The count it claims.
        record_count: i32,
    },
    /// Count and last offset delta of the header contradict one another.
    OffsetRange {
        /// The count.
        record_count: i32,
        /// The last offset delta.
        last_offset_delta: i32,
    },
    /// A producer id comes with a negative epoch or sequence.
    ProducerStamp(Producer),
    /// A transaction needs a producer id.
    TransactionWithoutProducer,
    /// Only coordinators write control records.
    ControlBatch,
    /// Only brokers set the time of the append.
    LogAppendTime,
    /// The records are more or fewer than the header claims.
    RecordCount {
        /// The count of the header.
        claimed: u32,
        /// Records there are; for too many, one more than claimed.
        found: u32,
    },
    /// The offset deltas do not count 0, 1, 2…
    OffsetDelta {
        /// Which record.
        index: u32,
        /// Its offset delta.
        offset_delta: i32,
    },
    /// A record cannot be read.
    Record {
        /// Which record.
        index: u32,
        /// What is wrong with it.
        malformed: record::Malformed,
    },
    /// The records cannot be decompressed.
    Compression(compression::Error),
    /// Records break rules of the topic.
    Records(RecordErrors),
    /// In the codec of its topic the batch exceeds `max.message.bytes`.
    RecompressedTooLarge {
        /// The codec.
        codec: Codec,
        /// The limit.
        bytes_max: usize,
    },
}

/// Which records break which rules of their topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordErrors {
    /// The first [`RECORD_ERRORS_MAX`] of them, in order.
    pub errors: Vec<RecordError>,
    /// How many there are.
    pub count: u32,
}

/// One record that breaks a rule of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordError {
    /// Which record of the batch.
    pub index: u32,
    /// The rule.
    pub rule: BrokenRule,
}

/// A rule of a topic that a record can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenRule {
    /// The topic is compacted, and the record has no key.
    NoKey,
    /// The timestamp lies outside the bounds.
    Timestamp {
        /// The record's timestamp.
        timestamp: i64,
        /// The earliest allowed.
        earliest: i64,
        /// The latest allowed.
        latest: i64,
    },
}

impl RecordErrors {
    /// Whether one of the kept errors is about a timestamp, which counts more than a missing key.
    pub fn has_timestamp(&self) -> bool {
        self.errors.iter().any(|error| matches!(error.rule, BrokenRule::Timestamp { .. }))
    }
}

impl fmt::Display for BrokenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("the record has no key, which a compacted topic requires"),
            Self::Timestamp { timestamp, earliest, latest } => write!(
                f,
                "the record's timestamp {timestamp} is not between {earliest} and {latest}, which \
                 message.timestamp.before.max.ms and message.timestamp.after.max.ms allow"
            ),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no record batch"),
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::NotOneBatch { first_bytes, bytes } => write!(
                f,
                "a partition takes exactly one record batch per request: the first has {first_bytes} of {bytes} bytes"
            ),
            Self::TooLarge { bytes, bytes_max } => {
                write!(f, "the record batch has {bytes} bytes, more than the topic's max.message.bytes of {bytes_max}")
            }
            Self::CrcMismatch { claimed, computed } => write!(
                f,
                "the record batch was damaged on its way: its CRC is {computed:#010x}, its header says {claimed:#010x}"
            ),
            Self::BaseOffset { base_offset } => {
                write!(f, "the record batch has base offset {base_offset}; a producer's must be 0")
            }
            Self::UnknownCodec { id } => {
                write!(f, "the record batch names compression codec {id}, which does not exist")
            }
            Self::NoRecords { record_count } => write!(f, "the record batch claims to have {record_count} records"),
            Self::OffsetRange { record_count, last_offset_delta } => write!(
                f,
                "the record batch claims {record_count} records and last offset delta {last_offset_delta}, \
                 which must be one less"
            ),
            Self::ProducerStamp(Producer { id, epoch, base_sequence }) => write!(
                f,
                "producer id {id} comes with epoch {epoch} and sequence {base_sequence}; neither may be negative"
            ),
            Self::TransactionWithoutProducer => f.write_str("a transactional record batch needs a producer id"),
            Self::ControlBatch => f.write_str("clients may not write control records"),
            Self::LogAppendTime => {
                f.write_str("a producer may not set the timestamp type to LogAppendTime; the topic decides that")
            }
            Self::RecordCount { claimed, found } if found > claimed => {
                write!(f, "the record batch claims {claimed} records and has more")
            }
            Self::RecordCount { claimed, found } => {
                write!(f, "the record batch claims {claimed} records and has {found}")
            }
            Self::OffsetDelta { index, offset_delta } => {
                write!(f, "record {index} of the batch has offset delta {offset_delta} instead of {index}")
            }
            Self::Record { index, malformed } => write!(f, "record {index} of the batch: {malformed}"),
            Self::Compression(error) => error.fmt(f),
            Self::RecompressedTooLarge { codec, bytes_max } => write!(
                f,
                "stored with the topic's compression.type ({codec}), the record batch has more than the topic's \
                 max.message.bytes of {bytes_max}"
            ),
            Self::Records(RecordErrors { errors, count }) => {
                if let Some(first) = errors.first() {
                    write!(f, "record {} of the batch: {}", first.index, first.rule)?;
                }
                if *count > 1 { write!(f, " (and {} more)", count - 1) } else { Ok(()) }
            }
        }
    }
}

impl std::error::Error for Rejection {}

/// Checks everything that the header alone decides: that `bytes` are exactly one batch which may be
/// appended as far as its header goes. Neither the CRC nor the records are looked at.
///
/// # Errors
/// What is wrong; a wrong CRC if that explains a field it covers.
pub fn validate_header<'a>(bytes: &'a [u8], rules: &Rules) -> Result<Batch<'a>, Rejection> {
    if bytes.is_empty() {
        return Err(Rejection::Empty);
    }
    let batch = Batch::first(bytes).map_err(Rejection::Malformed)?;
    let size = batch.size_in_bytes();
    if size != bytes.len() {
        return Err(Rejection::NotOneBatch { first_bytes: size, bytes: bytes.len() });
    }
    if size > rules.batch_bytes_max {
        return Err(Rejection::TooLarge { bytes: size, bytes_max: rules.batch_bytes_max });
    }
    if batch.base_offset() != 0 {
        return Err(Rejection::BaseOffset { base_offset: batch.base_offset() });
    }
    match covered_fields(&batch, rules) {
        Ok(()) => Ok(batch),
        Err(rejection) => Err(damage_or(&batch, rejection)),
    }
}

fn covered_fields(batch: &Batch<'_>, rules: &Rules) -> Result<(), Rejection> {
    let attributes = batch.attributes();
    if attributes.codec().is_none() {
        return Err(Rejection::UnknownCodec { id: attributes.codec_id() });
    }
    let (record_count, last_offset_delta) = (batch.record_count(), batch.last_offset_delta());
    if record_count <= 0 {
        return Err(Rejection::NoRecords { record_count });
    }
    if last_offset_delta != record_count - 1 {
        return Err(Rejection::OffsetRange { record_count, last_offset_delta });
    }
    if attributes.is_control() && rules.writer == Writer::Client {
        return Err(Rejection::ControlBatch);
    }
    match batch.producer() {
        // A control batch ends a transaction and has no sequence.
        Some(stamp) if stamp.epoch < 0 || (stamp.base_sequence < 0 && !attributes.is_control()) => {
            return Err(Rejection::ProducerStamp(stamp));
        }
        None if attributes.is_transactional() => return Err(Rejection::TransactionWithoutProducer),
        _ => {}
    }
    if attributes.timestamp_type() == TimestampType::LogAppendTime {
        return Err(Rejection::LogAppendTime);
    }
    Ok(())
}

/// Checks the CRC.
///
/// # Errors
/// [`Rejection::CrcMismatch`].
pub fn check_crc(batch: &Batch<'_>) -> Result<(), Rejection> {
    compare_crc(batch, batch.computed_crc())
}

/// Checks a CRC that was computed while the batch was copied ([`batch::copy_with_crc`]).
///
/// # Errors
/// [`Rejection::CrcMismatch`].
pub fn compare_crc(batch: &Batch<'_>, computed: u32) -> Result<(), Rejection> {
    let claimed = batch.crc();
    if computed == claimed { Ok(()) } else { Err(Rejection::CrcMismatch { claimed, computed }) }
}

/// The CRC's verdict if it is wrong, else `rejection`.
fn damage_or(batch: &Batch<'_>, rejection: Rejection) -> Rejection {
    check_crc(batch).err().unwrap_or(rejection)
}

/// Walks the records of an uncompressed batch whose header is valid. Allocates nothing unless a record
/// breaks a rule.
///
/// # Errors
/// What is wrong; a wrong CRC if the bytes were damaged.
///
/// # Panics
/// If the batch is compressed: that takes a [`CompressedValidation`].
pub fn walk_records(batch: &Batch<'_>, rules: &Rules) -> Result<Valid, Rejection> {
    assert_eq!(batch.attributes().codec(), Some(Codec::None), "compressed records cannot be walked in place");
    let mut tally = Tally::new(batch, rules);
    let mut rest = batch.body();
    let result = loop {
        if rest.is_empty() {
            break tally.finish();
        }
        let checked = match record::read_head(rest) {
            Ok((head, len)) => {
                rest = &rest[len..];
                tally.record(head)
            }
            Err(malformed) => Err(Rejection::Record { index: tally.found, malformed }),
        };
        if let Err(rejection) = checked {
            break Err(rejection);
        }
    };
    result.map_err(|rejection| damage_or(batch, rejection))
}

/// Validates the records of a compressed batch in slices. It holds the compressed batch `B` and the codec's
/// window, never the whole output.
pub struct CompressedValidation<B: AsRef<[u8]>> {
    scan: Scan<B>,
    tally: Tally,
    /// Looked at again only if something is wrong.
    bytes: B,
}

impl<B: AsRef<[u8]> + Clone> CompressedValidation<B> {
    /// Starts on `bytes`, whose header is checked again (`B` is meant to be cheap to clone).
    ///
    /// # Errors
    /// As [`validate_header`].
    pub fn new(bytes: B, rules: &Rules) -> Result<Self, Rejection> {
        let tally = Tally::new(&validate_header(bytes.as_ref(), rules)?, rules);
        let scan = Scan::new(bytes.clone(), rules.decompressed_bytes_max);
        Ok(Self { scan, tally, bytes })
    }

    /// Goes on until at least `budget_bytes` of records were decompressed, or there is a verdict. One step
    /// goes beyond the budget by less than [`compression::STEP_BYTES`].
    pub fn step(&mut self, budget_bytes: usize) -> Progress<Result<Valid, Rejection>> {
        let tally = &mut self.tally;
        let walked = self.scan.step(budget_bytes, |head| match tally.record(head) {
            Ok(()) => ControlFlow::Continue(()),
            Err(rejection) => ControlFlow::Break(rejection),
        });
        let verdict = match walked {
            Ok(Progress::More) => return Progress::More,
            Ok(Progress::Done(None)) => self.tally.finish(),
            Ok(Progress::Done(Some(rejection))) => Err(rejection),
            Err(Fault::Compression(error)) => Err(Rejection::Compression(error)),
            Err(Fault::Record { index, malformed }) => Err(Rejection::Record { index, malformed }),
        };
        Progress::Done(verdict.map_err(|rejection| {
            let batch = Batch::first(self.bytes.as_ref()).expect("its header was validated");
            damage_or(&batch, rejection)
        }))
    }
}

/// Validates a whole batch, CRC included, in one call.
///
/// # Errors
/// What is wrong.
pub fn validate(bytes: &[u8], rules: &Rules) -> Result<Valid, Rejection> {
    let batch = validate_header(bytes, rules)?;
    check_crc(&batch)?;
    if batch.attributes().codec() == Some(Codec::None) {
        return walk_records(&batch, rules);
    }
    let mut validation = CompressedValidation::new(bytes, rules)?;
    loop {
        if let Progress::Done(verdict) = validation.step(usize::MAX) {
            return verdict;
        }
    }
}

/// What was found in the records so far.
struct Tally {
    size_in_bytes: usize,
    claimed: u32,
    attributes: Attributes,
    codec: Codec,
    producer: Option<Producer>,
    origin: Origin,
    header_timestamps: Timestamps,
    timestamp_type: TimestampType,
    now_ms: i64,
    earliest: i64,
    latest: i64,
    is_compacted: bool,
    found: u32,
    first_timestamp: i64,
    max_timestamp: i64,
    max_timestamp_offset_delta: u32,
    errors: Vec<RecordError>,
    error_count: u32,
}

impl Tally {
    fn new(batch: &Batch<'_>, rules: &Rules) -> Self {
        let attributes = batch.attributes();
        // Under LogAppendTime the producer's timestamps do not count.
        let is_bounded = rules.timestamp_type == TimestampType::CreateTime;
        Self {
            size_in_bytes: batch.size_in_bytes(),
            claimed: u32::try_from(batch.record_count()).expect("the header was validated"),
            attributes,
            codec: attributes.codec().expect("the header was validated"),
            producer: batch.producer(),
            origin: batch.origin(),
            header_timestamps: Timestamps {
                timestamp_type: attributes.timestamp_type(),
                max_timestamp: batch.max_timestamp(),
            },
            timestamp_type: rules.timestamp_type,
            now_ms: rules.now_ms,
            earliest: if is_bounded { rules.now_ms.saturating_sub(rules.timestamp_before_ms_max) } else { i64::MIN },
            latest: if is_bounded { rules.now_ms.saturating_add(rules.timestamp_after_ms_max) } else { i64::MAX },
            is_compacted: rules.is_compacted && !attributes.is_control(),
            found: 0,
            first_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            max_timestamp_offset_delta: 0,
            errors: Vec::new(),
            error_count: 0,
        }
    }

    #[inline]
    fn record(&mut self, head: Head) -> Result<(), Rejection> {
        let index = self.found;
        if index == self.claimed {
            return Err(Rejection::RecordCount { claimed: self.claimed, found: index + 1 });
        }
        if head.offset_delta != index as i32 {
            return Err(Rejection::OffsetDelta { index, offset_delta: head.offset_delta });
        }
        let timestamp = self.origin.locate(head).timestamp;
        if self.is_compacted && !head.has_key {
            self.broken(index, BrokenRule::NoKey);
        } else if (timestamp < self.earliest || timestamp > self.latest) && timestamp != NO_TIMESTAMP {
            let (earliest, latest) = (self.earliest, self.latest);
            self.broken(index, BrokenRule::Timestamp { timestamp, earliest, latest });
        }
        if index == 0 {
            self.first_timestamp = timestamp;
        }
        if timestamp > self.max_timestamp {
            self.max_timestamp = timestamp;
            self.max_timestamp_offset_delta = index;
        }
        self.found += 1;
        Ok(())
    }

    #[cold]
    fn broken(&mut self, index: u32, rule: BrokenRule) {
        self.error_count += 1;
        if self.errors.len() < RECORD_ERRORS_MAX {
            self.errors.push(RecordError { index, rule });
        }
    }

    fn finish(&mut self) -> Result<Valid, Rejection> {
        if self.found != self.claimed {
            return Err(Rejection::RecordCount { claimed: self.claimed, found: self.found });
        }
        if self.error_count > 0 {
            let errors = std::mem::take(&mut self.errors);
            return Err(Rejection::Records(RecordErrors { errors, count: self.error_count }));
        }
        let (first_timestamp, max_timestamp, max_timestamp_offset_delta) = match self.timestamp_type {
            TimestampType::CreateTime => (self.first_timestamp, self.max_timestamp, self.max_timestamp_offset_delta),
            TimestampType::LogAppendTime => (self.now_ms, self.now_ms, 0),
        };
        let timestamps = Timestamps { timestamp_type: self.timestamp_type, max_timestamp };
        Ok(Valid {
            size_in_bytes: self.size_in_bytes,
            record_count: self.found,
            codec: self.codec,
            first_timestamp,
            max_timestamp,
            max_timestamp_offset_delta,
            producer: self.producer,
            is_transactional: self.attributes.is_transactional(),
            is_control: self.attributes.is_control(),
            rewrite: (timestamps != self.header_timestamps).then_some(timestamps),
        })
    }
}
