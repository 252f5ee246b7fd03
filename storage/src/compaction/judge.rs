//! What of a batch stays.

use super::map::OffsetMap;
use super::walk::Walk;
use crate::batch::{Batch, NO_TIMESTAMP, Remains, TimestampType};
use crate::buffer::Slice;
use crate::index::MaxTimestamp;
use crate::record::{Origin, Record};
use crate::scan::{Fault, Progress};

/// What holds for all batches of a filter pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// Wall time at which the pass began.
    pub(crate) now_ms: i64,
    /// `delete.retention.ms`.
    pub(crate) delete_retention_ms: i64,
}

impl Terms {
    /// From when on what is seen for the first time now may be removed.
    pub(crate) fn new_horizon(&self) -> i64 {
        self.now_ms.saturating_add(self.delete_retention_ms)
    }

    /// Whether the batch has a delete horizon, and it has passed.
    pub(crate) fn is_past_horizon(&self, batch: &Batch<'_>) -> bool {
        batch.delete_horizon().is_some_and(|horizon| horizon <= self.now_ms)
    }
}

/// Whether one record of a batch stays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    base_offset: i64,
    keeps_tombstones: bool,
}

impl Rule {
    pub(crate) fn of(batch: &Batch<'_>, terms: &Terms) -> Self {
        Self { base_offset: batch.base_offset(), keeps_tombstones: !terms.is_past_horizon(batch) }
    }

    pub(crate) fn keeps(&self, map: &OffsetMap, record: &Record<'_>) -> bool {
        let offset = self.base_offset + i64::from(record.head.offset_delta);
        if map.latest().is_none_or(|latest| offset > latest) {
            return true;
        }
        // A record without a key has no last one: it does not belong in a compacted log.
        let Some(key) = record.key else { return false };
        map.get(key).is_none_or(|last| offset >= last) && (record.value.is_some() || self.keeps_tombstones)
    }
}

/// What stays of a batch's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Records the batch has.
    pub(crate) records: u32,
    /// Records that stay.
    pub(crate) kept: u32,
    /// Whether a tombstone stays.
    pub(crate) has_tombstone: bool,
    /// The largest timestamp of what stays.
    pub(crate) max: MaxTimestamp,
}

impl Tally {
    /// What the header will say; `delete_horizon` if the batch gets one.
    pub(crate) fn remains(&self, batch: &Batch<'_>, delete_horizon: Option<i64>) -> Remains {
        let max_timestamp = match batch.attributes().timestamp_type() {
            TimestampType::CreateTime => self.max.timestamp,
            TimestampType::LogAppendTime => batch.max_timestamp(),
        };
        Remains { record_count: self.kept as i32, max_timestamp, delete_horizon }
    }
}

/// Judges the records of one batch, in slices.
pub(crate) struct Judge {
    walk: Walk,
    rule: Rule,
    origin: Origin,
    tally: Tally,
}

impl Judge {
    /// Starts on exactly one batch as it is stored.
    pub(crate) fn new(bytes: &Slice, terms: &Terms) -> Self {
        let batch = Batch::first(bytes).expect("only a stored batch is judged");
        let max = MaxTimestamp { timestamp: NO_TIMESTAMP, offset: batch.base_offset() };
        Self {
            walk: Walk::new(bytes.clone()),
            rule: Rule::of(&batch, terms),
            origin: batch.origin(),
            tally: Tally { records: 0, kept: 0, has_tombstone: false, max },
        }
    }

    pub(crate) fn step(&mut self, budget_bytes: usize, map: &OffsetMap) -> Result<Progress<Tally>, Fault> {
        let Self { walk, rule, origin, tally } = self;
        let progress = walk.step(budget_bytes, |record, _| {
            tally.records += 1;
            if rule.keeps(map, record) {
                tally.kept += 1;
                tally.has_tombstone |= record.value.is_none();
                let located = origin.locate(record.head);
                if located.timestamp > tally.max.timestamp {
                    tally.max = MaxTimestamp { timestamp: located.timestamp, offset: located.offset };
                }
            }
        })?;
        Ok(match progress {
            Progress::More => Progress::More,
            Progress::Done(()) => Progress::Done(self.tally),
        })
    }
}
