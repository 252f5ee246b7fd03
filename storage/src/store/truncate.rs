//! Cuts a log's end: a follower gives up what its leader does not have (KIP-101).
//!
//! ```text
//! Draining ─► Locating ─► Rebuilding ─► Ready ─► Journaled ─► Removing ─► Event::TruncationEnded
//!    │            │            │          │          │            └ files of segments that were cut off
//!    │            │            │          │          └ a Truncate, in the durable journal
//!    │            │            │          └ until no round is under way: then the log is cut, in memory
//!    │            │            └ producers of which everything known is cut: what the rest of the log has of them
//!    │            └ the batch that holds the offset, from the index on
//!    └ until everything appended is durable, and nothing else of the log is in flight; then the index is read
//! ```
//!
//! - Appends wait from the beginning to the end, so that offsets are used again only when the cut is durable, and names
//!   of files only when the old files are gone.
//! - The Truncate is in the durable journal for a log of either durability, before everything that follows in the other.
//! - What is left of the log and not durable in its segments is journaled again behind the Truncate (`since`), so that
//!   a record taken afterwards needs nothing from before, where the same places had other bytes.
//! - The file of the segment that is cut keeps its bytes behind the cut. Its last block is one that was written padded:
//!   the next append journals an image of it before it is written again.

mod locate;
mod rebuild;

use std::collections::VecDeque;

use super::files::FileOp;
use super::journaling::RETRY_NS;
use super::outcome::{Event, Truncate, Truncated};
use super::purpose::Purpose;
use super::{Store, writer};
use crate::checkpoint::record::GenerationV1;
use crate::index::Index;
use crate::io::{BLOCK_BYTES, Done, Failure, Op, OpenMode};
use crate::journal::format::{Body, Place};
use crate::log::{LogId, Now, Slot};
use crate::producers::Producers;
use crate::transactions::Open;
use locate::Locating;
use rebuild::Rebuilding;

const BLOCK: u64 = BLOCK_BYTES as u64;
/// The largest region there is: no batch is larger.
const READ_BYTES_MAX: usize = 16 << 20;
/// Logs for which something begins in one step.
const BEGUN_PER_STEP_MAX: usize = 64;
/// Files being removed at once, for one log.
const REMOVALS_MAX: usize = 9;

/// A log's truncation under way.
#[derive(Debug)]
pub(crate) struct Truncation {
    /// Where the log is to end at most.
    offset: i64,
    stage: Stage,
    /// The read in flight, if there is one.
    reading: Option<Reading>,
}

#[derive(Debug)]
enum Stage {
    Draining,
    Locating(Locating),
    Rebuilding(Box<Rebuilding>),
    Ready(Cut, Producers),
    Journaled { removed: Vec<GenerationV1> },
    Removing { removed: Vec<GenerationV1>, in_flight: usize },
}

/// A read in flight.
#[derive(Debug, Clone, Copy)]
enum Reading {
    /// Of a segment's index.
    Index { segment: i64 },
    /// Of a segment.
    Part {
        segment: i64,
        from: u64,
        /// Up to where the file was durable when it was issued.
        durable: u64,
        /// Whether it covers a block that a round may write again.
        covers_partial: bool,
    },
}

/// What is to be cut.
#[derive(Debug)]
enum Cut {
    /// The log starts anew at its start offset.
    Everything,
    /// What lies behind the index's end.
    Behind(Behind),
}

#[derive(Debug)]
struct Behind {
    segment: i64,
    index: Box<Index>,
    is_index_kept: bool,
    end_offset: i64,
    /// The transactions that are open there.
    open: Open,
}

/// The logs that are being truncated.
#[derive(Debug)]
pub(super) struct Truncations {
    slots: VecDeque<(Slot, LogId)>,
    /// The last step left some for the next.
    has_more: bool,
    /// The last step met one that waits for reads under way before it is cut.
    waits_for_reads: bool,
}

impl Truncations {
    pub(super) fn new() -> Self {
        Self { slots: VecDeque::new(), has_more: false, waits_for_reads: false }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.slots.is_empty()
    }
}

impl Truncation {
    /// Whether the log is to be cut as soon as nothing is in the way: no read begins before.
    pub(crate) fn is_due(&self) -> bool {
        matches!(self.stage, Stage::Ready(..))
    }

    /// Whether the log is cut in memory.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.stage, Stage::Journaled { .. } | Stage::Removing { .. })
    }
}

impl Store {
    /// Cuts the log so that it ends at `offset`, or where the batch begins that holds it; never below its start offset.
    /// Reads under way end with [`super::Read::Busy`].
    pub fn truncate(&mut self, slot: Slot, offset: i64, now: Now) -> Truncate {
        self.now = now;
        if self.is_failed || self.is_stopping {
            return Truncate::Failed;
        }
        let log = self.log_mut(slot);
        if log.truncation.is_some() {
            return Truncate::Busy;
        }
        if offset.max(log.start_offset) >= log.end_offset {
            return Truncate::Unchanged;
        }
        let id = log.id;
        log.truncation = Some(Box::new(Truncation { offset, stage: Stage::Draining, reading: None }));
        self.truncations.slots.push_back((slot, id));
        self.truncations.has_more = true;
        Truncate::Pending
    }

    /// Whether [`Self::step_truncations`] could go on at once.
    pub(super) fn has_truncation_work(&self) -> bool {
        let may_cut = || !self.rounds.is_active() && !self.truncations.waits_for_reads && self.has_cut_due();
        self.truncations.has_more || may_cut()
    }

    /// Whether a log waits to be cut: no round begins before.
    pub(super) fn has_cut_due(&self) -> bool {
        let is_due = |&(slot, id): &(Slot, LogId)| {
            let log = self.logs[slot.index()].as_deref().filter(|log| log.id == id);
            log.and_then(|log| log.truncation.as_deref()).is_some_and(Truncation::is_due)
        };
        self.truncations.slots.iter().any(is_due)
    }

    /// Goes on with truncations that wait for something other than a completion.
    pub(super) fn step_truncations(&mut self) {
        let mut begun = 0;
        self.truncations.waits_for_reads = false;
        for _ in 0..self.truncations.slots.len() {
            let Some((slot, id)) = self.truncations.slots.pop_front() else { break };
            if self.log_if(slot, id).is_none_or(|log| log.truncation.is_none()) {
                continue;
            }
            self.truncations.slots.push_back((slot, id));
            if begun < BEGUN_PER_STEP_MAX {
                begun += usize::from(self.step_truncation(slot));
            }
        }
        self.truncations.has_more = begun == BEGUN_PER_STEP_MAX;
    }

    /// Whether something was begun.
    fn step_truncation(&mut self, slot: Slot) -> bool {
        let is_round_active = self.rounds.is_active();
        let is_compacted = self.compaction.is_busy_with(slot);
        let log = self.log_mut(slot);
        let is_quiet = log.is_quiet() && !is_compacted;
        let truncation = log.truncation.as_mut().expect("stepped for a log that is being truncated");
        let is_reading = truncation.reading.is_some();
        match &truncation.stage {
            Stage::Draining if is_quiet && !is_reading => self.begin_locating(slot),
            Stage::Locating(_) if !is_reading => self.look(slot),
            Stage::Rebuilding(_) if !is_reading => self.look_back(slot),
            Stage::Ready(..) if !is_round_active => return self.cut_when_unread(slot),
            Stage::Removing { .. } => return self.remove_files(slot),
            Stage::Draining
            | Stage::Locating(_)
            | Stage::Rebuilding(_)
            | Stage::Ready(..)
            | Stage::Journaled { .. } => return false,
        }
        true
    }

    fn set_stage(&mut self, slot: Slot, stage: Stage) {
        let truncation = self.log_mut(slot).truncation.as_mut();
        truncation.expect("a stage follows another").stage = stage;
    }

    /// There is no memory to read into.
    fn rest(&mut self) {
        self.retry_at.get_or_insert(self.now.monotonic_ns + RETRY_NS);
    }

    fn truncation_failed(&mut self, slot: Slot) {
        self.log_mut(slot).truncation = None;
        self.push(Event::TruncationEnded { slot, outcome: Truncated::Failed });
        self.schedule_compaction(slot);
    }

    fn set_reading(&mut self, slot: Slot, reading: Reading) {
        let truncation = self.log_mut(slot).truncation.as_mut();
        let before = truncation.expect("stepped for a log that is being truncated").reading.replace(reading);
        assert!(before.is_none(), "one read at a time");
    }

    /// The log's start was moved behind the segment that was being looked at.
    fn segment_gone(&mut self, slot: Slot) {
        match &self.log(slot).truncation.as_ref().expect("a segment is looked at").stage {
            Stage::Rebuilding(_) => self.end_rebuild(slot),
            _ => self.set_stage(slot, Stage::Draining),
        }
    }

    /// Reads the index of a segment, or rests.
    fn read_index_for_truncation(&mut self, slot: Slot, segment: i64) {
        let log = self.log(slot);
        let Some(at) = log.segment_index(segment) else { return self.segment_gone(slot) };
        let bytes = log.segments[at].index_bytes as usize;
        let (id, key, path) = (log.id, log.segments[at].index_key(log.id), log.segments[at].index_path(&log.directory));
        let Some(buffer) = self.buffers.allocate(bytes) else { return self.rest() };
        self.set_reading(slot, Reading::Index { segment });
        self.files.request(
            key,
            || path,
            OpenMode { create: true, write: true, direct: false },
            FileOp::Read { position: 0, buffer },
            Purpose::Truncation(slot, id),
        );
    }

    /// Reads at least `bytes` of a segment, as far as it has them, from memory or from disk, or rests. They come to
    /// [`Self::part_read`] with the position they begin at, a block's start.
    fn read_part(&mut self, slot: Slot, segment: i64, position: u64, bytes: usize) {
        let from = position / BLOCK * BLOCK;
        let Some(mut buffer) = self.buffers.allocate(bytes + BLOCK_BYTES) else { return self.rest() };
        let log = self.log(slot);
        let Some(at) = log.segment_index(segment) else { return self.segment_gone(slot) };
        let durable = log.durable_bytes(&log.segments[at]);
        if let Some(tail) = log.tail_of(segment).filter(|tail| tail.start() <= from) {
            let copied = tail.copy(from, &mut buffer);
            return self.part_read(slot, from, &buffer[..copied]);
        }
        let readable = (durable.next_multiple_of(BLOCK) - from) as usize;
        buffer.shorten(readable.min(buffer.len()));
        let covers_partial = from + buffer.len() as u64 > durable;
        let (id, key, path) = (log.id, log.segments[at].key(log.id), log.segments[at].path(&log.directory));
        self.log_mut(slot).partial_reads += u32::from(covers_partial);
        self.set_reading(slot, Reading::Part { segment, from, durable, covers_partial });
        self.files.request(
            key,
            || path,
            OpenMode { create: true, write: true, direct: self.options.direct },
            FileOp::Read { position: from, buffer },
            Purpose::Truncation(slot, id),
        );
    }

    /// A read, or the removal of a file, ended.
    pub(super) fn truncation_op_ended(&mut self, slot: Slot, id: LogId, result: Result<Done, Failure>) {
        let Some(log) = self.log_if(slot, id) else { return };
        let truncation = log.truncation.as_mut().expect("it waits for its operations");
        let Some(reading) = truncation.reading.take() else {
            let Stage::Removing { in_flight, .. } = &mut truncation.stage else { unreachable!("nothing is in flight") };
            *in_flight -= 1;
            if let Err(failure) = result {
                tracing::warn!(log = %id, %failure, "cannot remove the file of a segment that was cut off");
            }
            self.remove_files(slot);
            return;
        };
        if let Reading::Part { covers_partial, .. } = reading {
            log.partial_reads -= u32::from(covers_partial);
        }
        let (mut buffer, length) = match result {
            Ok(Done::Read { buffer, length }) => (buffer, length),
            Ok(_) => unreachable!("a read completes as one"),
            Err(failure) => {
                tracing::error!(log = %id, ?reading, %failure, "cannot read what a log is to be cut by");
                return self.truncation_failed(slot);
            }
        };
        match reading {
            Reading::Index { segment } => {
                let Some(at) = log.segment_index(segment) else { return self.segment_gone(slot) };
                let length = length.min(log.segments[at].index_bytes as usize);
                let index = match Index::parse(&buffer[..length], segment) {
                    Ok(index) => Some(Box::new(index)),
                    Err(error) => {
                        tracing::warn!(log = %id, segment, %error, "an index cannot be used");
                        None
                    }
                };
                self.index_read_for_truncation(slot, segment, index);
            }
            Reading::Part { segment, from, durable, .. } => {
                // Bytes behind the durable part may have been in the middle of being written.
                let mut valid = length.min((durable - from) as usize);
                if let Some(tail) = log.tail_of(segment).filter(|tail| tail.start() <= durable)
                    && valid as u64 == durable - from
                {
                    buffer.show_all();
                    valid += tail.copy(durable, &mut buffer[valid..]);
                }
                self.part_read(slot, from, &buffer[..valid]);
            }
        }
    }

    /// An index was read; none if it cannot be used.
    fn index_read_for_truncation(&mut self, slot: Slot, segment: i64, index: Option<Box<Index>>) {
        match &self.log(slot).truncation.as_ref().expect("it waits for the index").stage {
            Stage::Draining => self.locate(slot, segment, index),
            Stage::Rebuilding(_) => self.go_back_to(slot, index),
            _ => unreachable!("no index is read in other stages"),
        }
    }

    /// Bytes of a segment were read; they lie at `from`.
    fn part_read(&mut self, slot: Slot, from: u64, bytes: &[u8]) {
        match &self.log(slot).truncation.as_ref().expect("it waits for the bytes").stage {
            Stage::Locating(_) => self.look_at(slot, from, bytes),
            Stage::Rebuilding(_) => self.look_back_at(slot, from, bytes),
            _ => unreachable!("nothing is read in other stages"),
        }
    }

    /// Cuts the log unless segments are being read whose blocks may be written again after that. Reads under way are
    /// told to begin anew, and none begins meanwhile.
    fn cut_when_unread(&mut self, slot: Slot) -> bool {
        let log = self.log(slot);
        let id = log.id;
        let Some(Truncation { stage: Stage::Ready(cut, _), .. }) = log.truncation.as_deref() else {
            unreachable!("only called when it is known what to cut")
        };
        let from = if let Cut::Behind(behind) = cut { behind.segment } else { i64::MIN };
        if self.files.is_busy(|key| key.segment_of().is_some_and(|(of, base, _)| of == id && base >= from)) {
            self.truncations.waits_for_reads = true;
            self.interrupt_fetches_of(slot, from);
            return false;
        }
        self.cut(slot);
        true
    }

    /// Cuts the log in memory, and journals that.
    fn cut(&mut self, slot: Slot) {
        self.order += 1;
        let (order, now_ms) = (self.order, self.now.wall_ms);
        let log = self.log_mut(slot);
        let truncation = log.truncation.as_mut().expect("a stage follows another");
        let stage = std::mem::replace(&mut truncation.stage, Stage::Draining);
        let Stage::Ready(cut, found) = stage else { unreachable!("only called when it is known what to cut") };
        let known_anew = found.encode();
        let mut open = Vec::new();
        let (place, removed) = match cut {
            Cut::Behind(Behind { segment, index, is_index_kept, end_offset, open: left })
                if end_offset > log.start_offset =>
            {
                let position = u64::from(index.end().position);
                open = left.encode();
                (Place { segment, position }, log.truncate(segment, index, is_index_kept, end_offset, left))
            }
            // The start may have moved since.
            Cut::Everything | Cut::Behind(_) => (Place { segment: log.start_offset, position: 0 }, log.clear(now_ms)),
        };
        log.producers.restore(found);
        log.since = order;
        let (start_offset, end_offset) = (log.start_offset, log.end_offset);
        let id = log.id;
        self.interrupt_fetches_of(slot, place.segment);
        self.damages.forget_segments(id, |base_offset| base_offset >= place.segment);
        let is_emptied = start_offset == end_offset;
        // Nothing is left that tells of the others, too, where a power cut takes the entries of a cached journal.
        let producers = if is_emptied { self.log(slot).producers.encode() } else { known_anew };
        self.take_over_removals(id, if is_emptied { i64::MIN } else { place.segment + 1 });
        let (open, producers) = (writer::Bytes::Made(open), writer::Bytes::Made(producers));
        self.push_durably(slot, Body::Truncate { place, start_offset, end_offset, open, producers });
        self.journal_again(slot);
        self.keep_cut_tail(slot);
        self.set_stage(slot, Stage::Journaled { removed });
        self.schedule_retention(slot);
    }

    /// What is durable of the tail now is kept for reads as long as memory suffices.
    fn keep_cut_tail(&mut self, slot: Slot) {
        let log = self.log_mut(slot);
        let id = log.id;
        if !std::mem::replace(&mut log.is_cached, true) {
            self.cached_tails.push_back((slot, id));
        }
    }

    /// A Truncate is durable.
    pub(super) fn truncation_journaled(&mut self, slot: Slot, id: LogId) {
        let Some(log) = self.log_if(slot, id) else { return };
        let truncation = log.truncation.as_mut().expect("it waits for its entry");
        let Stage::Journaled { removed } = &mut truncation.stage else { unreachable!("it waits for its entry") };
        truncation.stage = Stage::Removing { removed: std::mem::take(removed), in_flight: 0 };
        self.remove_files(slot);
    }

    /// Removes files of segments that were cut off, a few at a time; ends the truncation after the last. Whether any
    /// removal was begun.
    fn remove_files(&mut self, slot: Slot) -> bool {
        let mut any = false;
        loop {
            let log = self.logs[slot.index()].as_deref_mut().expect("the slot is in use");
            let (id, end_offset) = (log.id, log.end_offset);
            let Some(Truncation { stage: Stage::Removing { removed, in_flight }, .. }) = log.truncation.as_deref_mut()
            else {
                unreachable!("only called while files are removed")
            };
            let Some(&files) = removed.last() else {
                if *in_flight == 0 {
                    log.truncation = None;
                    self.push(Event::TruncationEnded { slot, outcome: Truncated::Done { end_offset } });
                    self.schedule_compaction(slot);
                }
                return any;
            };
            let keys = files.keys(id);
            // What is read there still ends with a completion, and this goes on in a later step.
            if *in_flight + keys.len() > REMOVALS_MAX || self.files.is_busy(|key| keys.contains(&key)) {
                return any;
            }
            any = true;
            removed.pop();
            *in_flight += keys.len();
            self.files.close_all(|key| keys.contains(&key));
            for path in files.paths(&log.directory) {
                self.files.request_name(Op::RemoveFile { path }, Purpose::Truncation(slot, id));
            }
            self.forget_obsolete(id, files);
        }
    }
}
