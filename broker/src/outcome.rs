//! From outcomes of storage to error codes of the protocol: the one place, by exhaustive matches.

use storage::batch::{self, TimestampType};
use storage::compression::{Codec, Setting};
use storage::store::{Append, Full, Lookup, Read, compaction};
use storage::validate::{RecordErrors, Rejection};
use storage::{Compaction, Durability, LogConfig};

use crate::config;
use crate::error_code::ErrorCode;
use crate::metadata::Topic;
use crate::shard::mail::{AppendAnswer, Detail, QueryAnswer};

/// What an append came to, and the end offset whose commit is waited for if it took place (now or before).
pub(crate) fn append(part: u32, outcome: Append) -> (AppendAnswer, Option<i64>) {
    let refused = |error, message: String| (AppendAnswer::refused(part, error, message), None);
    match outcome {
        Append::Appended { base_offset, last_offset, log_append_time_ms } => {
            let log_append_time_ms = log_append_time_ms.unwrap_or(batch::NO_TIMESTAMP);
            let answer = AppendAnswer { base_offset, log_append_time_ms, ..AppendAnswer::pending(part) };
            (answer, Some(last_offset + 1))
        }
        // The batch is there already: the producer gets the offset it got, or should have got, the first time.
        Append::Duplicate { base_offset, last_offset, .. } => {
            (AppendAnswer { base_offset, ..AppendAnswer::pending(part) }, Some(last_offset + 1))
        }
        Append::OutOfOrder { expected, found } => refused(
            ErrorCode::OutOfOrderSequenceNumber,
            format!("The batch starts with sequence {found}, but the producer's next one is {expected}."),
        ),
        Append::Fenced { current, found } => refused(
            ErrorCode::InvalidProducerEpoch,
            format!("The producer's epoch {found} is older than {current}: a newer producer uses this id."),
        ),
        Append::Rejected(rejection) => (rejected(part, &rejection), None),
        Append::Validating(_) => unreachable!("a validation under way is no outcome"),
        Append::Full(full) => refused(
            ErrorCode::KafkaStorageError,
            match full {
                Full::Disk => {
                    "The broker's disk is full; nothing was appended. Free some space or shorten the \
                               retention of topics, then the producer's retries succeed."
                }
                Full::Memory => "The broker's memory for records that wait for the disk is spent; retry.",
                Full::Journal => "Too much waits for the broker's journal; retry.",
            }
            .to_owned(),
        ),
        Append::Failed => refused(
            ErrorCode::KafkaStorageError,
            "The broker's storage has failed or is stopping; the broker's log says why.".to_owned(),
        ),
    }
}

fn rejected(part: u32, rejection: &Rejection) -> AppendAnswer {
    let mut answer = AppendAnswer::refused(part, rejection_code(rejection), sentence(&rejection.to_string()));
    if let (Rejection::Records(RecordErrors { errors, .. }), Some(detail)) = (rejection, answer.detail.as_mut()) {
        let blame = |error: &storage::validate::RecordError| (error.index as i32, sentence(&error.rule.to_string()));
        let Detail { records, .. } = detail.as_mut();
        records.extend(errors.iter().map(blame));
    }
    answer
}

/// The code that Apache Kafka 4.3.1 gives for the same batch.
fn rejection_code(rejection: &Rejection) -> ErrorCode {
    match rejection {
        Rejection::CrcMismatch { .. } => ErrorCode::CorruptMessage,
        Rejection::TooLarge { .. } | Rejection::RecompressedTooLarge { .. } => ErrorCode::MessageTooLarge,
        Rejection::Malformed(malformed) => malformed_code(malformed),
        Rejection::Records(errors) if errors.has_timestamp() => ErrorCode::InvalidTimestamp,
        Rejection::Records(_)
        | Rejection::Empty
        | Rejection::NotOneBatch { .. }
        | Rejection::BaseOffset { .. }
        | Rejection::NoRecords { .. }
        | Rejection::OffsetRange { .. }
        | Rejection::ProducerStamp(_)
        | Rejection::TransactionWithoutProducer
        | Rejection::ControlBatch
        | Rejection::RecordCount { .. }
        | Rejection::OffsetDelta { .. }
        | Rejection::Record { .. } => ErrorCode::InvalidRecord,
        Rejection::LogAppendTime => ErrorCode::InvalidTimestamp,
        // Kafka answers -1 here, which says nothing; clients treat this one alike, and it is specific.
        Rejection::UnknownCodec { .. } | Rejection::Compression(_) => ErrorCode::CorruptMessage,
    }
}

fn malformed_code(malformed: &batch::Malformed) -> ErrorCode {
    match malformed {
        batch::Malformed::UnknownMagic { .. } => ErrorCode::CorruptMessage,
        batch::Malformed::HeaderCut { .. }
        | batch::Malformed::BatchCut { .. }
        | batch::Malformed::LengthTooSmall { .. }
        | batch::Malformed::OldMagic { .. } => ErrorCode::InvalidRecord,
    }
}

/// The error of a read that has ended.
pub(crate) fn read(outcome: &Read) -> ErrorCode {
    match outcome {
        Read::Ready { .. } | Read::Empty => ErrorCode::None,
        Read::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        // No records and no error: the consumer asks again.
        Read::Busy => ErrorCode::None,
        // Clients stop there with an error instead of asking for ever; the application may seek behind it.
        Read::Damaged => ErrorCode::CorruptMessage,
        Read::Failed => ErrorCode::KafkaStorageError,
        Read::Pending(_) => unreachable!("a read under way is no outcome"),
    }
}

/// The answer of a look-up that has ended; what lies at or beyond `limit_offset` is not there yet for clients.
pub(crate) fn lookup(part: u32, outcome: Lookup, limit_offset: i64) -> QueryAnswer {
    match outcome {
        Lookup::Found { offset, timestamp, leader_epoch } if offset < limit_offset => {
            QueryAnswer { part, error: ErrorCode::None, offset, timestamp_ms: timestamp, leader_epoch }
        }
        Lookup::Found { .. } | Lookup::NotFound => QueryAnswer::none(part, ErrorCode::None),
        // Retriable, and true: the offset is not available at the moment.
        Lookup::Busy => QueryAnswer::none(part, ErrorCode::OffsetNotAvailable),
        Lookup::Failed => QueryAnswer::none(part, ErrorCode::KafkaStorageError),
        Lookup::Pending(_) => unreachable!("a look-up under way is no outcome"),
    }
}

/// What a topic's configuration means to its logs.
pub(crate) fn log_config(topic: &Topic, producer_id_expiration_ms: u64) -> LogConfig {
    let config = &topic.config;
    LogConfig {
        is_kept_ready: false,
        durability: match config.durability {
            config::Durability::Durable => Durability::Durable,
            config::Durability::Cached => Durability::Cached,
        },
        segment_bytes: config.segment_bytes.into(),
        segment_ms: config.segment_ms,
        segment_jitter_ms: config.segment_jitter_ms,
        index_interval_bytes: config.index_interval_bytes,
        index_bytes_max: config.segment_index_bytes,
        delete_expired: config.cleanup.delete,
        retention_ms: config.retention_ms,
        retention_bytes: config.retention_bytes,
        batch_bytes_max: config.message_bytes_max as usize,
        compression: compression(config.compression),
        timestamp_type: match config.timestamp_type {
            config::TimestampType::CreateTime => TimestampType::CreateTime,
            config::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: i64::try_from(config.timestamp_before_ms_max).unwrap_or(i64::MAX),
        timestamp_after_max_ms: i64::try_from(config.timestamp_after_ms_max).unwrap_or(i64::MAX),
        keys_required: config.cleanup.compact,
        compaction: config.cleanup.compact.then(|| Compaction {
            lag_ms_min: config.compaction_lag_ms_min,
            lag_ms_max: Some(config.compaction_lag_ms_max).filter(|&lag_ms| lag_ms < i64::MAX as u64),
            dirty_millionths_min: (config.cleanable_dirty_ratio_min * 1_000_000.0) as u32,
            delete_retention_ms: config.delete_retention_ms,
        }),
        file_delete_delay_ms: config.file_delete_delay_ms,
        producer_id_expiration_ms,
    }
}

/// Least memory for keys of one shard's compaction.
const DEDUPE_BYTES_MIN: u64 = 1 << 20;

/// What compaction may use on one of `shards` shards.
pub(crate) fn compaction_settings(cleaner: &config::Cleaner, shards: usize) -> compaction::Settings {
    let shards = shards.max(1);
    let rate = cleaner.io_bytes_per_second / shards as f64;
    compaction::Settings {
        is_enabled: cleaner.enabled,
        dedupe_bytes: usize::try_from((cleaner.dedupe_bytes / shards as u64).max(DEDUPE_BYTES_MIN))
            .unwrap_or(usize::MAX),
        load_permille: (cleaner.load_factor.clamp(0.01, 0.99) * 1000.0) as u32,
        io_bytes: cleaner.io_bytes as usize / 2,
        io_bytes_per_second: (rate < u64::MAX as f64).then_some(rate.max(1.0) as u64),
        backoff_ms: cleaner.backoff_ms,
    }
}

/// How a topic's batches are stored, if not as they come.
fn compression(wanted: config::Compression) -> Option<Setting> {
    let setting = |codec, level| Some(Setting { codec, level });
    match wanted {
        config::Compression::Producer => None,
        config::Compression::Uncompressed => setting(Codec::None, 0),
        config::Compression::Gzip(level) => setting(Codec::Gzip, level),
        config::Compression::Snappy => setting(Codec::Snappy, 0),
        config::Compression::Lz4(level) => setting(Codec::Lz4, level),
        config::Compression::Zstd(level) => setting(Codec::Zstd, level),
    }
}

/// The configuration of the metadata log: nothing of it is ever removed, and it is always durable.
pub(crate) fn metadata_log_config() -> LogConfig {
    LogConfig {
        is_kept_ready: true,
        durability: Durability::Durable,
        delete_expired: false,
        retention_ms: None,
        retention_bytes: None,
        ..LogConfig::default()
    }
}

/// A message with a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}
