//! What a checkpoint says about one log.

use rkyv::rancor;
use rkyv::{Archive, Deserialize, Serialize};

use super::format::{self, RecordKind};
use crate::transactions::TransactionsV1;
use crate::{epochs, producers};

/// One log, version 1. The frame around it says the version.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct LogV1 {
    /// The log.
    pub id: u64,
    /// Journal entries of this order and before are known to the record: of them only bytes count.
    pub order: u64,
    /// Journal entries before this order are superseded.
    pub since: u64,
    /// The log was deleted; only its directory remains to be removed.
    pub is_deleted: bool,
    /// The name of its directory below `logs/`.
    pub directory: String,
    /// First offset.
    pub start_offset: i64,
    /// Offset the next record gets.
    pub end_offset: i64,
    /// Ascending; the last is active. None for an empty log.
    pub segments: Vec<SegmentV1>,
    /// Its leader epochs.
    pub epochs: epochs::SnapshotV1,
    /// Its idempotent producers.
    pub producers: producers::SnapshotV1,
}

/// One segment, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SegmentV1 {
    /// Offset of its first record, and its name.
    pub base_offset: i64,
    /// Size of its batches in bytes.
    pub bytes: u64,
    /// Up to where its file is durable; the rest is in the journal.
    pub durable: u64,
    /// Whether it was closed, its file cut to the exact length.
    pub is_closed: bool,
    /// Largest timestamp of its first batch, -1 if that has none: what `segment.ms` counts from.
    pub first_timestamp: i64,
    /// Wall time of its first append, in ms.
    pub created_ms: i64,
    /// Its largest timestamp.
    pub max_timestamp: i64,
    /// Offset of the first record that has it.
    pub max_timestamp_offset: i64,
    /// Durable bytes of its index file.
    pub index_bytes: u64,
    /// Entries in those.
    pub index_entries: u32,
    /// The chunk of the index that its file lacks, with the index's header if it has no bytes. Empty if it lacks none.
    pub index_rest: Vec<u8>,
}

/// What compaction did to a log, version 1. It follows the log's record in the same group, so that the two count
/// together; a log that was never compacted has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct CompactionV1 {
    /// Records before this offset have been compared with one another.
    pub clean_offset: i64,
    /// Segments that compaction wrote, and their generations.
    pub generations: Vec<GenerationV1>,
    /// Files of segments that were replaced, and are to be removed if they are there still.
    pub obsolete: Vec<GenerationV1>,
}

/// One generation of a segment, version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct GenerationV1 {
    /// The segment's base offset.
    pub base_offset: i64,
    /// How often compaction wrote it.
    pub generation: u32,
}

/// Everything a checkpoint says about one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The log.
    pub log: LogV1,
    /// What compaction did to it, if it did anything.
    pub compaction: Option<CompactionV1>,
    /// Its transactions, if it ever had any.
    pub transactions: Option<TransactionsV1>,
}

impl Recorded {
    /// Appends the records with their heads to a group's records; says how many they are.
    pub(crate) fn push(&self, records: &mut Vec<u8>) -> u32 {
        format::push_record(records, RecordKind::Log, |out| encode(&self.log, out));
        if let Some(compaction) = &self.compaction {
            format::push_record(records, RecordKind::Compaction, |out| encode_compaction(compaction, out));
        }
        if let Some(transactions) = &self.transactions {
            format::push_record(records, RecordKind::Transactions, |out| encode_transactions(transactions, out));
        }
        1 + u32::from(self.compaction.is_some()) + u32::from(self.transactions.is_some())
    }
}

fn encode_transactions(transactions: &TransactionsV1, out: &mut Vec<u8>) {
    let bytes = rkyv::to_bytes::<rancor::Error>(transactions).expect("plain data in memory can be laid out");
    out.extend_from_slice(&bytes);
}

/// Reads the record's bytes, validated.
pub(crate) fn decode_transactions(bytes: &[u8]) -> Result<TransactionsV1, String> {
    rkyv::from_bytes::<TransactionsV1, rancor::Error>(bytes).map_err(|error| error.to_string())
}

fn encode_compaction(compaction: &CompactionV1, out: &mut Vec<u8>) {
    let bytes = rkyv::to_bytes::<rancor::Error>(compaction).expect("plain data in memory can be laid out");
    out.extend_from_slice(&bytes);
}

/// Reads the record's bytes, validated.
pub(crate) fn decode_compaction(bytes: &[u8]) -> Result<CompactionV1, String> {
    rkyv::from_bytes::<CompactionV1, rancor::Error>(bytes).map_err(|error| error.to_string())
}

/// The record's bytes.
pub(crate) fn encode(log: &LogV1, out: &mut Vec<u8>) {
    let bytes = rkyv::to_bytes::<rancor::Error>(log).expect("plain data in memory can be laid out");
    out.extend_from_slice(&bytes);
}

/// Reads a record's bytes, validated.
pub(crate) fn decode(bytes: &[u8]) -> Result<LogV1, String> {
    rkyv::from_bytes::<LogV1, rancor::Error>(bytes).map_err(|error| error.to_string())
}

/// One journal of a shard, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct JournalV1 {
    /// The shard.
    pub shard: u32,
    /// Whether it is the cached one.
    pub is_cached: bool,
    /// Extents before this ordinal are free.
    pub first_ordinal: u64,
    /// Sequence of the first entry in the others.
    pub first_sequence: u64,
}

/// The record's bytes.
pub(crate) fn encode_journal(journal: &JournalV1, out: &mut Vec<u8>) {
    let bytes = rkyv::to_bytes::<rancor::Error>(journal).expect("plain data in memory can be laid out");
    out.extend_from_slice(&bytes);
}

/// Reads the record's bytes, validated.
pub(crate) fn decode_journal(bytes: &[u8]) -> Result<JournalV1, String> {
    rkyv::from_bytes::<JournalV1, rancor::Error>(bytes).map_err(|error| error.to_string())
}
