//! What one log knows of its idempotent producers (KIP-98), so that a batch sent twice is stored once.
//!
//! ```text
//! producer id ─► epoch, the last 5 batches of that epoch:   oldest … newest   next sequence
//!                                                           └ duplicates ┘    └ accepted
//! ```
//!
//! Invariants of one producer's entry:
//! - there is at least one kept batch, and each starts with the sequence after its predecessor's last;
//! - `next_sequence` follows the newest kept batch;
//! - offsets ascend.
//!
//! Sequences count from 0 to [`i32::MAX`] and start over at 0. An entry is added when its batch is
//! *appended*; whether that batch is durable is its log's business, which makes a duplicate wait for it.

use std::collections::BTreeMap;
use std::fmt;

use rkyv::{Archive, Deserialize, Serialize};

use crate::batch::Producer;

/// Batches of a producer that are recognised when they come again (clients have at most 5 in flight).
pub const BATCHES_PER_PRODUCER: usize = 5;
/// Most producers one log knows. One more, and those that were idle longest are forgotten.
pub const PRODUCERS_PER_LOG_MAX: usize = 16 * 1024;
/// How many are forgotten at once, so that the search for them is paid by as many new ones.
const FORGOTTEN_AT_ONCE: usize = PRODUCERS_PER_LOG_MAX / 8;

/// A batch of a producer, as its log remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SeenBatch {
    /// Sequence of its first record.
    pub first_sequence: i32,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Its maximum timestamp, in ms.
    pub timestamp: i64,
}

/// What is to be done with a producer's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is the next one.
    Accept,
    /// It was appended before, as this; the client gets the same answer again.
    Duplicate(SeenBatch),
    /// It was appended so long ago that nobody knows where.
    DuplicateTooOld {
        /// The sequence that comes next.
        expected: i32,
        /// The sequence of its first record.
        got: i32,
    },
    /// Batches before it are missing.
    OutOfOrder {
        /// The sequence that comes next.
        expected: i32,
        /// The sequence of its first record.
        got: i32,
    },
    /// A newer instance of the producer took over.
    FencedEpoch {
        /// The newest epoch seen.
        current: i16,
        /// The epoch of the batch.
        got: i16,
    },
}

/// The sequence that is `count` after `sequence`.
pub fn sequence_after(sequence: i32, count: u32) -> i32 {
    // 2^31 sequences, 0 to i32::MAX.
    ((sequence as u32).wrapping_add(count) & i32::MAX as u32) as i32
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    epoch: i16,
    next_sequence: i32,
    last_active_ms: i64,
    /// Oldest first; only the first `len` count.
    batches: [SeenBatch; BATCHES_PER_PRODUCER],
    len: u8,
}

impl Entry {
    /// Without a batch yet, which must follow.
    fn new(epoch: i16) -> Self {
        let unused = SeenBatch { first_sequence: 0, last_sequence: 0, base_offset: 0, last_offset: 0, timestamp: 0 };
        Self { epoch, next_sequence: 0, last_active_ms: 0, batches: [unused; BATCHES_PER_PRODUCER], len: 0 }
    }

    fn batches(&self) -> &[SeenBatch] {
        &self.batches[..usize::from(self.len)]
    }

    fn push(&mut self, batch: SeenBatch) {
        if usize::from(self.len) == BATCHES_PER_PRODUCER {
            self.batches.rotate_left(1);
        } else {
            self.len += 1;
        }
        self.batches[usize::from(self.len) - 1] = batch;
        self.next_sequence = sequence_after(batch.last_sequence, 1);
    }
}

/// The idempotent producers of one log. Owned by the shard that owns the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Producers {
    entries: BTreeMap<i64, Entry>,
}

impl Producers {
    /// Of a log that has seen none.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many producers are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is to be done with a batch of `record_count` records. Changes nothing.
    pub fn check(&self, producer: Producer, record_count: u32) -> Outcome {
        // KIP-360: what an unknown producer sent before may have been removed by retention.
        let Some(entry) = self.entries.get(&producer.id) else { return Outcome::Accept };
        let (epoch, got) = (producer.epoch, producer.base_sequence);
        if epoch < entry.epoch {
            return Outcome::FencedEpoch { current: entry.epoch, got: epoch };
        }
        if epoch > entry.epoch {
            return if got == 0 { Outcome::Accept } else { Outcome::OutOfOrder { expected: 0, got } };
        }
        let last = sequence_after(got, record_count - 1);
        let again = entry.batches().iter().find(|seen| seen.first_sequence == got && seen.last_sequence == last);
        if let Some(&seen) = again {
            return Outcome::Duplicate(seen);
        }
        let expected = entry.next_sequence;
        if got == expected {
            return Outcome::Accept;
        }
        // Sequences are a circle: what lies in the half behind the expected one was there before.
        let behind = (expected as u32).wrapping_sub(got as u32) & i32::MAX as u32;
        if behind <= i32::MAX as u32 / 2 {
            Outcome::DuplicateTooOld { expected, got }
        } else {
            Outcome::OutOfOrder { expected, got }
        }
    }

    /// Remembers a batch that was appended: its producer, the offsets of its first and last record, its
    /// maximum timestamp, and the wall time of the append, in ms.
    ///
    /// # Panics
    /// If the batch is older than what is known; [`Self::check`] comes first. Followers and recovery, which take
    /// what the leader appended, may skip sequences but not go back in the log.
    pub fn append(&mut self, producer: Producer, offsets: Offsets, timestamp: i64, now_ms: i64) {
        let Offsets { base, last } = offsets;
        assert!(base >= 0 && last >= base, "a batch has at least one offset");
        if self.entries.len() >= PRODUCERS_PER_LOG_MAX && !self.entries.contains_key(&producer.id) {
            self.forget_idlest();
        }
        let entry = self.entries.entry(producer.id).or_insert_with(|| Entry::new(producer.epoch));
        assert!(entry.batches().last().is_none_or(|seen| seen.last_offset < base), "offsets ascend in a log");
        if entry.epoch != producer.epoch || entry.next_sequence != producer.base_sequence {
            *entry = Entry { last_active_ms: entry.last_active_ms, ..Entry::new(producer.epoch) };
        }
        let count = u32::try_from(last - base).expect("offsets of a batch lie within 32 bits");
        entry.push(SeenBatch {
            first_sequence: producer.base_sequence,
            last_sequence: sequence_after(producer.base_sequence, count),
            base_offset: base,
            last_offset: last,
            timestamp,
        });
        entry.last_active_ms = entry.last_active_ms.max(now_ms);
    }

    /// Forgets what was appended at or above `offset`: the log was truncated there.
    ///
    /// A producer of whose kept batches none is left is forgotten, since older ones may have been cut too: what
    /// it sends next is accepted like an unknown producer's.
    pub fn truncate(&mut self, offset: i64) {
        self.entries.retain(|_, entry| {
            let kept = entry.batches().partition_point(|seen| seen.last_offset < offset);
            if let Some(cut) = entry.batches().get(kept).copied() {
                entry.len = kept as u8;
                entry.next_sequence = cut.first_sequence;
            }
            kept > 0
        });
    }

    /// The producers with no batch below `offset` among those kept: truncation there forgets them.
    pub(crate) fn lost_at(&self, offset: i64) -> impl Iterator<Item = i64> {
        self.entries.iter().filter(move |(_, entry)| entry.batches()[0].last_offset >= offset).map(|(&id, _)| id)
    }

    /// Takes over what is known of some producers from elsewhere.
    pub(crate) fn restore(&mut self, found: Self) {
        self.entries.extend(found.entries);
    }

    /// Forgets everything: the log starts anew.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Forgets producers idle for `expiration_ms` (`producer.id.expiration.ms`), unless `is_kept` says otherwise; how many.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64, is_kept: impl Fn(i64) -> bool) -> usize {
        let before = self.entries.len();
        // A clock set back makes a producer seem active in the future, and keeps it.
        self.entries.retain(|&id, entry| now_ms.saturating_sub(entry.last_active_ms) < expiration_ms || is_kept(id));
        before - self.entries.len()
    }

    /// When the producer that is idle longest appended last, by the wall clock, in ms.
    pub(crate) fn idlest_ms(&self) -> Option<i64> {
        self.entries.values().map(|entry| entry.last_active_ms).min()
    }

    fn forget_idlest(&mut self) {
        let mut idlest: Vec<(i64, i64)> = self.entries.iter().map(|(&id, entry)| (entry.last_active_ms, id)).collect();
        idlest.select_nth_unstable(FORGOTTEN_AT_ONCE);
        for &(_, id) in &idlest[..FORGOTTEN_AT_ONCE] {
            self.entries.remove(&id);
        }
    }

    /// All of them, by ascending id.
    pub fn active(&self) -> impl Iterator<Item = Active> {
        self.entries.iter().map(|(&id, entry)| {
            let newest = entry.batches().last().expect("a producer has at least one batch");
            Active {
                id,
                epoch: entry.epoch,
                last_sequence: newest.last_sequence,
                last_timestamp: newest.timestamp,
                transaction_start_offset: None,
            }
        })
    }

    /// Offset of the last record that a producer appended, if it is known.
    pub fn last_offset_of(&self, id: i64) -> Option<i64> {
        self.entries.get(&id)?.batches().last().map(|seen| seen.last_offset)
    }

    /// The state as it is kept on disk.
    pub fn snapshot(&self) -> SnapshotV1 {
        let producers = self.entries.iter().map(|(&id, entry)| ProducerV1 {
            id,
            epoch: entry.epoch,
            last_active_ms: entry.last_active_ms,
            batches: entry.batches().to_vec(),
        });
        SnapshotV1 { producers: producers.collect() }
    }

    /// The state as it is laid out on disk; nothing if there is no producer.
    pub(crate) fn encode(&self) -> Vec<u8> {
        if self.is_empty() {
            return Vec::new();
        }
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&self.snapshot());
        bytes.expect("plain data in memory can be laid out").to_vec()
    }

    /// Of a snapshot made here.
    pub(crate) fn of_snapshot(snapshot: &SnapshotV1) -> Self {
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(snapshot).expect("plain data in memory can be laid out");
        Self::decode(&bytes).expect("batches of one epoch that follow one another")
    }

    /// Reads what [`Self::encode`] laid out.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Ok(Self::new());
        }
        let archived = rkyv::access::<ArchivedSnapshotV1, rkyv::rancor::Error>(bytes);
        Self::from_snapshot(archived.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
    }

    /// The state that was kept on disk.
    ///
    /// # Errors
    /// If it breaks an invariant.
    pub fn from_snapshot(snapshot: &ArchivedSnapshotV1) -> Result<Self, InvalidSnapshot> {
        if snapshot.producers.len() > PRODUCERS_PER_LOG_MAX {
            return Err(InvalidSnapshot { producer_id: None, what: "it has too many producers" });
        }
        let mut entries = BTreeMap::new();
        for archived in snapshot.producers.iter() {
            let id = archived.id.to_native();
            let entry = entry_of(archived).map_err(|what| InvalidSnapshot { producer_id: Some(id), what })?;
            if entries.insert(id, entry).is_some() {
                return Err(InvalidSnapshot { producer_id: Some(id), what: "the producer is there twice" });
            }
        }
        Ok(Self { entries })
    }
}

fn entry_of(archived: &ArchivedProducerV1) -> Result<Entry, &'static str> {
    let mut entry = Entry::new(archived.epoch.to_native());
    if archived.id.to_native() < 0 || entry.epoch < 0 {
        return Err("a number is negative");
    }
    if archived.batches.is_empty() || archived.batches.len() > BATCHES_PER_PRODUCER {
        return Err("it has no batches, or too many");
    }
    for batch in archived.batches.iter() {
        let batch = SeenBatch {
            first_sequence: batch.first_sequence.to_native(),
            last_sequence: batch.last_sequence.to_native(),
            base_offset: batch.base_offset.to_native(),
            last_offset: batch.last_offset.to_native(),
            timestamp: batch.timestamp.to_native(),
        };
        if batch.first_sequence < 0 || batch.base_offset < 0 || batch.last_offset < batch.base_offset {
            return Err("a batch's numbers are impossible");
        }
        let count = u32::try_from(batch.last_offset - batch.base_offset).map_err(|_| "a batch is too long")?;
        if batch.last_sequence != sequence_after(batch.first_sequence, count) {
            return Err("a batch's sequences do not fit its offsets");
        }
        if let Some(previous) = entry.batches().last()
            && (previous.last_offset >= batch.base_offset || entry.next_sequence != batch.first_sequence)
        {
            return Err("its batches do not follow one another");
        }
        entry.push(batch);
    }
    entry.last_active_ms = archived.last_active_ms.to_native();
    Ok(entry)
}

/// A producer as DescribeProducers shows it (KIP-664).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    /// Producer id.
    pub id: i64,
    /// Its newest epoch.
    pub epoch: i16,
    /// Sequence of the last record it appended.
    pub last_sequence: i32,
    /// Maximum timestamp of the last batch it appended, in ms.
    pub last_timestamp: i64,
    /// Where its open transaction begins, if it is known to have one.
    pub transaction_start_offset: Option<i64>,
}

/// First and last offset of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    /// Of its first record.
    pub base: i64,
    /// Of its last record.
    pub last: i64,
}

/// [`Producers`] on disk, version 1. The frame around it says the version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SnapshotV1 {
    /// By ascending id.
    pub producers: Vec<ProducerV1>,
}

/// One producer on disk, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ProducerV1 {
    /// Producer id.
    pub id: i64,
    /// Its newest epoch.
    pub epoch: i16,
    /// Wall time of its last append, in ms since 1970.
    pub last_active_ms: i64,
    /// Its last batches, oldest first.
    pub batches: Vec<SeenBatch>,
}

/// A snapshot from disk that breaks an invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidSnapshot {
    /// The producer it breaks for.
    pub producer_id: Option<i64>,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for InvalidSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.producer_id {
            Some(id) => write!(f, "the producer state is damaged at producer id {id}: {}", self.what),
            None => write!(f, "the producer state is damaged: {}", self.what),
        }
    }
}

impl std::error::Error for InvalidSnapshot {}

#[cfg(test)]
mod tests;
