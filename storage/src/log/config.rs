//! What a topic's configuration means to its logs.

use crate::batch::TimestampType;
use crate::compression::Setting;

/// What an append waits for before it counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The device has it: it survives a power cut.
    #[default]
    Durable,
    /// The operating system has it (`skein.durability=cached`): it survives the end of the process, not a power cut.
    Cached,
}

/// When and how a log is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// `min.compaction.lag.ms`: no record younger than this is compacted.
    pub lag_ms_min: u64,
    /// `max.compaction.lag.ms`: a record older than this is compacted as soon as possible; none sets no bound.
    pub lag_ms_max: Option<u64>,
    /// `min.cleanable.dirty.ratio`, in millionths: the share of bytes not compacted yet that makes it worth the work.
    pub dirty_millionths_min: u32,
    /// `delete.retention.ms`: how long tombstones and the marks of transactions stay once they have been compacted.
    pub delete_retention_ms: u64,
}

impl Default for Compaction {
    /// Apache Kafka's defaults.
    fn default() -> Self {
        Self {
            lag_ms_min: 0,
            lag_ms_max: None,
            dirty_millionths_min: 500_000,
            delete_retention_ms: 24 * 60 * 60 * 1000,
        }
    }
}

/// The configuration of one log. Names follow Kafka's topic properties; extremes and units come last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `skein.durability`.
    pub durability: Durability,
    /// `segment.bytes`: a segment is closed before it grows beyond this.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment is closed when its first record is this old at the next append.
    pub segment_ms: u64,
    /// `segment.jitter.ms`: the most by which `segment_ms` is shortened, different for every segment.
    pub segment_jitter_ms: u64,
    /// `index.interval.bytes`: bytes between two index entries.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`: a segment is closed when its index reaches this.
    pub index_bytes_max: u32,
    /// Whether whole expired segments are removed: `cleanup.policy` contains `delete`.
    pub delete_expired: bool,
    /// `retention.ms`; none keeps records forever.
    pub retention_ms: Option<u64>,
    /// `retention.bytes`; none sets no bound.
    pub retention_bytes: Option<u64>,
    /// `max.message.bytes`: the largest batch a client may append; at most [`crate::store::BATCH_BYTES_MAX`] counts.
    pub batch_bytes_max: usize,
    /// `compression.type`: how clients' batches are stored; none as they come. A batch that has the codec already stays as
    /// it is, whatever its level.
    pub compression: Option<Setting>,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// Whether every record needs a key: `cleanup.policy` contains `compact`.
    pub keys_required: bool,
    /// How the log is compacted; none if `cleanup.policy` does not contain `compact`.
    pub compaction: Option<Compaction>,
    /// `file.delete.delay.ms`: how long the files of removed segments stay.
    pub file_delete_delay_ms: u64,
    /// `producer.id.expiration.ms`: how long an idle producer is remembered.
    pub producer_id_expiration_ms: u64,
    /// Whether its last block stays in memory when nothing is appended: an append never waits for the disk then, nor fails
    /// because the disk cannot be read.
    pub is_kept_ready: bool,
}

impl LogConfig {
    /// When a segment is closed for its age: `segment.ms`, or earlier where its records are to be compacted earlier.
    #[must_use]
    pub fn roll_ms(&self) -> u64 {
        let lag_ms_max = self.compaction.and_then(|compaction| compaction.lag_ms_max);
        lag_ms_max.map_or(self.segment_ms, |lag_ms| lag_ms.min(self.segment_ms))
    }
}

impl Default for LogConfig {
    /// Apache Kafka's defaults, durable.
    fn default() -> Self {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        Self {
            durability: Durability::Durable,
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            index_bytes_max: 10 << 20,
            delete_expired: true,
            retention_ms: Some(7 * DAY_MS),
            retention_bytes: None,
            batch_bytes_max: 1_048_588,
            compression: None,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 60 * 60 * 1000,
            keys_required: false,
            compaction: None,
            file_delete_delay_ms: 60_000,
            producer_id_expiration_ms: DAY_MS,
            is_kept_ready: false,
        }
    }
}
