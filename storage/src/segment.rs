//! One segment of a log: a file of whole batches, named by the offset of its first record.

use std::path::PathBuf;

use crate::batch::NO_TIMESTAMP;
use crate::checkpoint::record::{GenerationV1, SegmentV1};
use crate::index::{self, Index, MaxTimestamp};
use crate::log::LogId;
use crate::store::files::FileKey;

/// The directory of all logs' directories.
pub(crate) const LOGS_DIRECTORY: &str = "logs";
/// A segment never grows beyond this, as Kafka's never do.
pub(crate) const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// The directory of a log.
#[must_use]
pub fn log_directory(name: &str) -> PathBuf {
    [LOGS_DIRECTORY, name].iter().collect()
}

/// The file of a segment: Kafka's name for it.
#[must_use]
pub fn segment_path(directory: &str, base_offset: i64) -> PathBuf {
    log_directory(directory).join(format!("{base_offset:020}.log"))
}

/// The index of a segment, which is not Kafka's.
#[must_use]
pub fn index_path(directory: &str, base_offset: i64) -> PathBuf {
    log_directory(directory).join(format!("{base_offset:020}.skein-index"))
}

/// The file of a segment that compaction wrote: `generation` counts how often the records from that offset on were
/// compacted. A file keeps its name for good, so that the checkpoint alone says which generation counts. For 0 it is
/// [`segment_path`].
#[must_use]
pub fn compacted_path(directory: &str, base_offset: i64, generation: u32) -> PathBuf {
    match generation {
        0 => segment_path(directory, base_offset),
        _ => log_directory(directory).join(format!("{base_offset:020}.{generation}.log")),
    }
}

/// The index of a segment that compaction wrote.
#[must_use]
pub fn compacted_index_path(directory: &str, base_offset: i64, generation: u32) -> PathBuf {
    match generation {
        0 => index_path(directory, base_offset),
        _ => log_directory(directory).join(format!("{base_offset:020}.{generation}.skein-index")),
    }
}

/// The index of a segment's aborted transactions: Kafka's name for it, but for a generation.
#[must_use]
pub fn transaction_index_path(directory: &str, base_offset: i64, generation: u32) -> PathBuf {
    log_directory(directory).join(match generation {
        0 => format!("{base_offset:020}.txnindex"),
        _ => format!("{base_offset:020}.{generation}.txnindex"),
    })
}

/// What is known of one segment without reading it. Owned by the shard that owns the log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: i64,
    /// How often compaction wrote it: a part of its files' names. 0 as appended.
    pub(crate) generation: u32,
    /// Size of its batches.
    pub(crate) bytes: u64,
    /// Largest timestamp of the first batch, [`NO_TIMESTAMP`] if it has none.
    pub(crate) first_timestamp: i64,
    /// Wall time of the first append.
    pub(crate) created_ms: i64,
    pub(crate) max: MaxTimestamp,
    /// In memory for the active segment, and for closed ones while they are read.
    pub(crate) index: Option<Box<Index>>,
    /// Durable bytes of the index file, and the entries in them.
    pub(crate) index_bytes: u64,
    pub(crate) index_entries: u32,
    /// Whether the file has its final, exact length.
    pub(crate) is_closed: bool,
    /// Whether the files' names are durable.
    pub(crate) is_named: bool,
    pub(crate) is_index_named: bool,
}

impl Segment {
    pub(crate) fn new(base_offset: i64, interval_bytes: u32, created_ms: i64) -> Self {
        Self {
            base_offset,
            generation: 0,
            bytes: 0,
            first_timestamp: NO_TIMESTAMP,
            created_ms,
            max: MaxTimestamp { timestamp: NO_TIMESTAMP, offset: base_offset },
            index: Some(Box::new(Index::new(base_offset, interval_bytes))),
            index_bytes: 0,
            index_entries: 0,
            is_closed: false,
            is_named: false,
            is_index_named: false,
        }
    }

    /// The segment's file.
    pub(crate) fn path(&self, directory: &str) -> PathBuf {
        compacted_path(directory, self.base_offset, self.generation)
    }

    /// Its index's file.
    pub(crate) fn index_path(&self, directory: &str) -> PathBuf {
        compacted_index_path(directory, self.base_offset, self.generation)
    }

    /// The file of its aborted transactions.
    pub(crate) fn transactions_path(&self, directory: &str) -> PathBuf {
        transaction_index_path(directory, self.base_offset, self.generation)
    }

    /// What its files are called by.
    pub(crate) fn files(&self) -> GenerationV1 {
        GenerationV1 { base_offset: self.base_offset, generation: self.generation }
    }

    /// Its file among the store's open ones.
    pub(crate) fn key(&self, log: LogId) -> FileKey {
        FileKey::segment(log, self.base_offset, self.generation)
    }

    /// Its index's file among the store's open ones.
    pub(crate) fn index_key(&self, log: LogId) -> FileKey {
        FileKey::index(log, self.base_offset, self.generation)
    }

    /// The file of its aborted transactions among the store's open ones.
    pub(crate) fn transactions_key(&self, log: LogId) -> FileKey {
        FileKey::Transactions(log, self.base_offset, self.generation)
    }

    /// The bytes that the index file lacks, to be written at its durable end; none if it lacks nothing.
    pub(crate) fn index_rest(&self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Some(index) = &self.index {
            if self.index_bytes == 0 {
                index.encode_header(&mut rest);
            }
            index.encode_chunk(self.index_entries as usize, &mut rest);
        }
        rest
    }

    /// Entries that the index file lacks.
    pub(crate) fn index_entries_unwritten(&self) -> usize {
        self.index.as_ref().map_or(0, |index| index.len() - self.index_entries as usize)
    }

    /// Whether the index file has everything.
    pub(crate) fn is_index_written(&self) -> bool {
        self.index.is_none() || (self.index_bytes > 0 && self.index_entries_unwritten() == 0)
    }

    pub(crate) fn record(&self, durable: u64, is_active: bool) -> SegmentV1 {
        let lacks = self.index.is_some() && (is_active || !self.is_index_written());
        SegmentV1 {
            base_offset: self.base_offset,
            bytes: self.bytes,
            durable,
            is_closed: self.is_closed,
            first_timestamp: self.first_timestamp,
            created_ms: self.created_ms,
            max_timestamp: self.max.timestamp,
            max_timestamp_offset: self.max.offset,
            index_bytes: self.index_bytes,
            index_entries: self.index_entries,
            index_rest: if lacks { self.index_rest() } else { Vec::new() },
        }
    }

    /// The segment that a checkpoint recorded, without its index.
    pub(crate) fn from_record(record: &SegmentV1) -> Self {
        Self {
            base_offset: record.base_offset,
            generation: 0,
            bytes: record.bytes,
            first_timestamp: record.first_timestamp,
            created_ms: record.created_ms,
            max: MaxTimestamp { timestamp: record.max_timestamp, offset: record.max_timestamp_offset },
            index: None,
            index_bytes: record.index_bytes,
            index_entries: record.index_entries,
            is_closed: record.is_closed,
            is_named: record.durable > 0,
            is_index_named: record.index_bytes > 0,
        }
    }

    /// The segment ends where `index` does, and is active from now on. `index` is what is left of its own if
    /// `is_index_kept`, else one made anew.
    pub(crate) fn truncate(&mut self, index: Box<Index>, is_index_kept: bool) {
        self.bytes = u64::from(index.end().position);
        self.max = index.max();
        if self.bytes == 0 {
            self.first_timestamp = NO_TIMESTAMP;
        }
        self.is_closed = false;
        // The file has entries behind the cut: the next chunk replaces them, and there has to be one.
        self.index_entries = self.index_entries.min((index.len() as u32).saturating_sub(1));
        if !is_index_kept || self.index_entries == 0 {
            (self.index_bytes, self.index_entries) = (0, 0);
        }
        self.index = Some(index);
    }

    /// Adds a batch to what is known, and to the index if that is in memory.
    pub(crate) fn append(&mut self, batch: index::Placed) {
        if batch.position == 0 {
            self.first_timestamp = batch.max.timestamp;
        }
        if batch.max.timestamp > self.max.timestamp {
            self.max = batch.max;
        }
        self.bytes = u64::from(batch.position) + u64::from(batch.size_in_bytes);
        if let Some(index) = &mut self.index {
            index.append(batch);
        }
    }
}
