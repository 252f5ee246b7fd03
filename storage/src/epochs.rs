//! Where each leader epoch of one log began (KIP-101, KIP-279), so that replicas and consumers find where
//! their history departs from the leader's.
//!
//! ```text
//! epochs:   3            5       6
//! offsets:  0 ────────── 120 ─── 200 ────── log end
//!           └ epoch 3 ends at 120 (and so does 4, which wrote nothing)
//! ```
//!
//! Invariant: epochs and start offsets both ascend strictly.

use std::fmt;

use rkyv::{Archive, Deserialize, Serialize};

/// The epoch of a log, or of an answer, that has none.
pub const NO_EPOCH: i32 = -1;
/// The offset of an answer that has none.
pub const NO_OFFSET: i64 = -1;
/// Most epochs one log knows; the oldest are forgotten beyond, as if retention had removed them.
pub const EPOCHS_PER_LOG_MAX: usize = 16 * 1024;

/// A leader epoch and the offset it began at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: i32,
    /// Offset of its first record.
    pub start_offset: i64,
}

/// Where an epoch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch known that is not above the one asked for, [`NO_EPOCH`] if unknown.
    pub epoch: i32,
    /// The offset after its last record, [`NO_OFFSET`] if unknown.
    pub end_offset: i64,
}

impl EpochEnd {
    /// The answer to what is not known.
    pub const UNKNOWN: Self = Self { epoch: NO_EPOCH, end_offset: NO_OFFSET };
}

/// The leader epochs of one log. Owned by the shard that owns the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Epochs {
    starts: Vec<EpochStart>,
}

impl Epochs {
    /// Of an empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// All of them, ascending.
    pub fn starts(&self) -> &[EpochStart] {
        &self.starts
    }

    /// The newest.
    pub fn latest(&self) -> Option<EpochStart> {
        self.starts.last().copied()
    }

    /// A batch of `epoch` was appended at `offset`. Whether that began the epoch, and changed anything.
    ///
    /// # Panics
    /// If epoch or offset goes back: truncation comes before.
    pub fn append(&mut self, epoch: i32, offset: i64) -> bool {
        assert!(epoch >= 0 && offset >= 0, "a batch is stamped before it is appended");
        if let Some(latest) = self.latest() {
            assert!(epoch >= latest.epoch, "leader epochs never go back");
            assert!(offset >= latest.start_offset, "a log grows at its end");
            if epoch == latest.epoch {
                return false;
            }
            if offset == latest.start_offset {
                // Truncation at the beginning may leave an epoch without records.
                self.starts.pop();
            }
        }
        if self.starts.len() == EPOCHS_PER_LOG_MAX {
            self.starts.remove(0);
        }
        self.starts.push(EpochStart { epoch, start_offset: offset });
        true
    }

    /// Where `requested` ended in a log that ends at `log_end_offset`, as OffsetForLeaderEpoch answers it.
    pub fn end_offset_for(&self, requested: i32, log_end_offset: i64) -> EpochEnd {
        let above = self.starts.partition_point(|start| start.epoch <= requested);
        let floor = above.checked_sub(1).map(|at| self.starts[at]);
        match (floor, self.starts.get(above)) {
            _ if requested < 0 => EpochEnd::UNKNOWN,
            (Some(floor), Some(next)) => EpochEnd { epoch: floor.epoch, end_offset: next.start_offset },
            (Some(floor), None) if floor.epoch == requested => {
                EpochEnd { epoch: requested, end_offset: log_end_offset }
            }
            // Newer than anything here: the one who asks knows more.
            (Some(_), None) | (None, None) => EpochEnd::UNKNOWN,
            // Older than anything kept: whatever it wrote lies before the first epoch known.
            (None, Some(next)) => EpochEnd { epoch: requested, end_offset: next.start_offset },
        }
    }

    /// The epoch of the record at `offset`, `None` below the first known.
    pub fn epoch_of(&self, offset: i64) -> Option<i32> {
        let above = self.starts.partition_point(|start| start.start_offset <= offset);
        above.checked_sub(1).map(|at| self.starts[at].epoch)
    }

    /// The log was truncated, so that it now ends at `end_offset`.
    pub fn truncate_from_end(&mut self, end_offset: i64) {
        let kept = self.starts.partition_point(|start| start.start_offset < end_offset);
        self.starts.truncate(kept);
    }

    /// The log now starts at `start_offset`: the epoch of that offset starts there too.
    pub fn truncate_from_start(&mut self, start_offset: i64) {
        let above = self.starts.partition_point(|start| start.start_offset <= start_offset);
        if above > 0 {
            self.starts.drain(..above - 1);
            self.starts[0].start_offset = start_offset;
        }
    }

    /// The log was emptied.
    pub fn clear(&mut self) {
        self.starts.clear();
    }

    /// The state as it is kept on disk.
    pub fn snapshot(&self) -> SnapshotV1 {
        SnapshotV1 { starts: self.starts.clone() }
    }

    /// The state that was kept on disk.
    ///
    /// # Errors
    /// If it breaks an invariant.
    pub fn from_snapshot(snapshot: &ArchivedSnapshotV1) -> Result<Self, InvalidSnapshot> {
        if snapshot.starts.len() > EPOCHS_PER_LOG_MAX {
            return Err(InvalidSnapshot { index: EPOCHS_PER_LOG_MAX });
        }
        let mut starts: Vec<EpochStart> = Vec::with_capacity(snapshot.starts.len());
        for (index, archived) in snapshot.starts.iter().enumerate() {
            let start =
                EpochStart { epoch: archived.epoch.to_native(), start_offset: archived.start_offset.to_native() };
            let (epoch_min, offset_min) = match starts.last() {
                Some(previous) => (previous.epoch.saturating_add(1), previous.start_offset.saturating_add(1)),
                None => (0, 0),
            };
            if start.epoch < epoch_min || start.start_offset < offset_min {
                return Err(InvalidSnapshot { index });
            }
            starts.push(start);
        }
        Ok(Self { starts })
    }
}

/// [`Epochs`] on disk, version 1. The frame around it says the version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SnapshotV1 {
    /// Ascending.
    pub starts: Vec<EpochStart>,
}

/// A snapshot from disk whose epochs do not ascend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidSnapshot {
    /// Which entry is the first bad one.
    pub index: usize,
}

impl fmt::Display for InvalidSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the leader epochs are damaged: entry {} does not follow the one before it", self.index)
    }
}

impl std::error::Error for InvalidSnapshot {}

#[cfg(test)]
mod tests;
