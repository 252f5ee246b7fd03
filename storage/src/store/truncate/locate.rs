//! Finds the batch that holds the offset where a log is to be cut.

use super::rebuild::Rebuild;
use super::{Behind, Cut, READ_BYTES_MAX, Stage, Truncation};
use crate::batch::{Batch, HEADER_BYTES, Malformed};
use crate::index::{Index, MaxTimestamp, Placed};
use crate::io::BLOCK_BYTES;
use crate::log::Slot;
use crate::producers::Producers;
use crate::store::Store;
use crate::transactions::Open;

/// Bytes looked through at once, unless a batch is larger.
const READ_BYTES: usize = 256 << 10;
/// Looks in a row that bring the search no further before it is given up.
const STALLS_MAX: u32 = 3;

/// How far the search is.
#[derive(Debug)]
pub(super) struct Locating {
    segment: i64,
    /// Of everything before the place that is looked at next.
    index: Box<Index>,
    /// The transactions that are open there, for a log that has any.
    open: Option<Open>,
    /// Whether the index's file is of use.
    is_index_kept: bool,
    /// Bytes that the next batch is known to have.
    needed: usize,
    /// Looks in a row that brought the search no further: bytes may have left memory for the file meanwhile.
    stalls: u32,
}

/// What a look at some bytes brought.
enum Look {
    /// The log is to end there.
    Found(i64),
    /// The next batch has at least so many bytes.
    Needs(usize),
    Damaged,
}

impl Store {
    pub(super) fn begin_locating(&mut self, slot: Slot) {
        let log = self.log(slot);
        let offset = log.truncation.as_ref().expect("stepped for a log that is being truncated").offset;
        if offset <= log.start_offset {
            return self.set_stage(slot, Stage::Ready(Cut::Everything, Producers::new()));
        }
        let at = log.segment_at(offset).expect("an offset above the start is in a segment");
        let segment = &log.segments[at];
        let base_offset = segment.base_offset;
        if log.transactions.is_some() {
            // Which transactions are open at the cut is known from what lies before it in the segment.
            return self.locate(slot, base_offset, None);
        }
        match &segment.index {
            Some(index) => self.locate(slot, base_offset, Some(index.clone())),
            None if (1..=READ_BYTES_MAX as u64).contains(&segment.index_bytes) => {
                self.read_index_for_truncation(slot, base_offset);
            }
            None => self.locate(slot, base_offset, None),
        }
    }

    /// Looks for the offset from the last place on that the segment's index has before it; from the segment's start if
    /// there is no index that can be used.
    pub(super) fn locate(&mut self, slot: Slot, segment: i64, index: Option<Box<Index>>) {
        let log = self.log(slot);
        let (interval, offset) = (log.config.index_interval_bytes, log.truncation.as_ref().map_or(0, |it| it.offset));
        let is_index_kept = index.is_some();
        let mut index = index.unwrap_or_else(|| Box::new(Index::new(segment, interval)));
        index.truncate_to_offset(offset);
        let transactions = self.log(slot).transactions.as_ref();
        let open = transactions.map(|it| Open::new(it.of(segment).map_or(&[], |of| &of.open)));
        let locating = Locating { segment, index, open, is_index_kept, needed: HEADER_BYTES, stalls: 0 };
        self.set_stage(slot, Stage::Locating(locating));
        self.look(slot);
    }

    /// Looks at the batches that come next.
    pub(super) fn look(&mut self, slot: Slot) {
        let log = self.log(slot);
        let Some(Truncation { stage: Stage::Locating(locating), .. }) = log.truncation.as_deref() else {
            unreachable!("only called while a batch is looked for")
        };
        let (segment, needed) = (locating.segment, locating.needed);
        let offset = log.truncation.as_ref().expect("just seen").offset;
        let position = u64::from(locating.index.end().position);
        let Some(at) = log.segment_index(segment) else { return self.segment_gone(slot) };
        if position >= log.segments[at].bytes {
            self.located(slot, offset);
        } else if needed > READ_BYTES_MAX - 2 * BLOCK_BYTES {
            self.report_cut_damage(slot);
        } else {
            self.read_part(slot, segment, position, READ_BYTES.max(needed));
        }
    }

    /// Looks at bytes of the segment that lie at `from`.
    pub(super) fn look_at(&mut self, slot: Slot, from: u64, bytes: &[u8]) {
        let log = self.log_mut(slot);
        let Some(Truncation { offset, stage: Stage::Locating(locating), .. }) = log.truncation.as_deref_mut() else {
            unreachable!("only called while a batch is looked for")
        };
        let before = locating.index.end().position;
        let skip = (u64::from(before) - from) as usize;
        match locating.look(*offset, bytes.get(skip..).unwrap_or_default()) {
            Look::Found(end_offset) => self.located(slot, end_offset),
            Look::Needs(needed) => {
                let has_moved = locating.index.end().position > before || needed > locating.needed;
                locating.needed = needed;
                locating.stalls = if has_moved { 0 } else { locating.stalls + 1 };
                if locating.stalls <= STALLS_MAX { self.look(slot) } else { self.report_cut_damage(slot) }
            }
            Look::Damaged => self.report_cut_damage(slot),
        }
    }

    fn report_cut_damage(&mut self, slot: Slot) {
        let log = self.log(slot);
        if let Some(Truncation { stage: Stage::Locating(locating), .. }) = log.truncation.as_deref() {
            let position = locating.index.end().position;
            tracing::error!(log = %log.id, segment = locating.segment, position, "no record batch starts there");
        }
        self.truncation_failed(slot);
    }

    /// The index ends where the log is to end.
    fn located(&mut self, slot: Slot, end_offset: i64) {
        let log = self.log_mut(slot);
        let start_offset = log.start_offset;
        let truncation = log.truncation.as_mut().expect("a stage follows another");
        let Stage::Locating(locating) = std::mem::replace(&mut truncation.stage, Stage::Draining) else {
            unreachable!("only called while a batch is looked for")
        };
        let Locating { segment, index, open, is_index_kept, .. } = locating;
        let open = open.unwrap_or_default();
        if end_offset <= start_offset {
            return self.set_stage(slot, Stage::Ready(Cut::Everything, Producers::new()));
        }
        let cut = Behind { segment, index, is_index_kept, end_offset, open };
        match Rebuild::new(log, end_offset) {
            Some(rebuild) => self.begin_rebuild(slot, cut, rebuild),
            None => self.set_stage(slot, Stage::Ready(Cut::Behind(cut), Producers::new())),
        }
    }
}

impl Locating {
    /// Indexes the batches that end at or before `offset`, in bytes that start where the index ends.
    fn look(&mut self, offset: i64, bytes: &[u8]) -> Look {
        let mut at = 0;
        loop {
            match Batch::first(&bytes[at..]) {
                // Where compaction left a gap, the log ends in it.
                Ok(batch) if batch.next_offset() > offset => return Look::Found(offset.min(batch.base_offset())),
                Ok(batch) => {
                    let end = self.index.end();
                    if batch.base_offset() < end.offset || !self.index.can_hold(batch.last_offset()) {
                        return Look::Damaged;
                    }
                    self.index.append(Placed {
                        position: end.position,
                        size_in_bytes: batch.size_in_bytes() as u32,
                        base_offset: batch.base_offset(),
                        last_offset: batch.last_offset(),
                        // Which record has it is not known without decompressing; the first is near enough.
                        max: MaxTimestamp { timestamp: batch.max_timestamp(), offset: batch.base_offset() },
                    });
                    if let Some(open) = &mut self.open {
                        open.take(&batch, batch.base_offset());
                    }
                    at += batch.size_in_bytes();
                }
                Err(Malformed::BatchCut { announced, .. }) => return Look::Needs(announced),
                Err(Malformed::HeaderCut { .. }) => return Look::Needs(HEADER_BYTES),
                Err(_) => return Look::Damaged,
            }
        }
    }
}
