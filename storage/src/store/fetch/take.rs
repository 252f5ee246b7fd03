//! From bytes of a segment to an answer.
//!
//! ```text
//! quick:    skip by headers alone ─► CRCs of what is answered ─► answer
//!             │ anything odd
//!             ▼
//! careful:  from the index on, every batch is checked ─► intact: answer; the offset lies in damage: an error
//! ```
//!
//! Damage costs what is damaged: what lies before it is answered, and what lies behind it is found.

use super::Kind;
use super::ahead::Ahead;
use crate::batch::{self, Batch, Malformed};
use crate::buffer::Slice;
use crate::log::Slot;
use crate::scan::{self, Progress, Search};
use crate::store::damage::Place;
use crate::store::outcome::{Lookup, Read, ReaderId};
use crate::store::{BATCH_BYTES_MAX, DECOMPRESSED_BYTES_MAX, Store};
use crate::tail::{Run, Wanted, take_batches};
use crate::verify::{Bounds, Piece, Walk};

/// How a piece of a fetch ended.
pub(super) enum Step {
    /// More bytes are needed, or another segment.
    More,
    Read(Read, Option<Slice>),
    Searching,
}

/// Where a careful walk has come to.
enum Met {
    /// An intact batch that is wanted starts here; a careful walk ended there.
    Wanted { at: usize },
    /// What is wanted lies within damage.
    Damage,
    /// The segment ended.
    End,
    /// More bytes are needed.
    Cut,
}

impl Store {
    pub(super) fn bytes_fetched(&mut self, number: u64, bytes: Slice, skip: u64) {
        let bytes = bytes.slice(skip as usize..bytes.len());
        let task = &self.fetches.tasks[&number];
        let position = task.position.expect("bytes are fetched for a position");
        if let Kind::Ahead { .. } = task.kind {
            return self.ahead_fetched(number, bytes);
        }
        let step = match task.kind {
            Kind::Read { wanted, reader } if task.is_careful => {
                self.take_carefully(number, position, &bytes, wanted, reader)
            }
            Kind::Read { wanted, reader } => self.take_read(number, position, &bytes, wanted, reader),
            Kind::Lookup(goal) => self.take_lookup(number, position, &bytes, goal.timestamp),
            Kind::Ahead { .. } => unreachable!("handled above"),
        };
        match step {
            Step::More => {}
            Step::Read(read, slice) => self.finish_read(number, read, slice),
            Step::Searching => self.fetches.searching.push_back(number),
        }
    }

    fn take_read(&mut self, number: u64, position: u64, bytes: &Slice, wanted: Wanted, reader: ReaderId) -> Step {
        let task = &self.fetches.tasks[&number];
        let (slot, base_offset, offset_min) = (task.slot, task.base_offset, task.offset_min);
        let file = task.file();
        let run = take_batches(bytes, wanted);
        if run.end > run.start {
            let Some(run) = self.intact(slot, base_offset, position, offset_min, bytes, run) else {
                return self.take_care(number);
            };
            let ahead = Ahead { file, offset: run.next_offset, position };
            self.keep_rest(reader, ahead, bytes, run);
            let ready = Read::Ready { bytes: run.end - run.start, next_offset: run.next_offset };
            return Step::Read(ready, Some(bytes.slice(run.start..run.end)));
        }
        let at = position + run.end as u64;
        let Bounds { offset_end, bytes_left, .. } = self.bounds(slot, base_offset, at, offset_min);
        if run.is_cut {
            // Beyond the limit, or beyond what the segment can have?
            let is_possible = Batch::head(&bytes[run.end..]).is_ok_and(|head| head.last_offset() < offset_end);
            return if is_possible { Step::Read(Read::Empty, None) } else { self.take_care(number) };
        }
        match needed_bytes(&bytes[run.end..]) {
            _ if bytes_left == 0 => self.need_more(number, at, 0),
            Some(needed) if needed as u64 <= bytes_left && needed <= BATCH_BYTES_MAX => {
                self.need_more(number, at, needed);
            }
            Some(_) | None => return self.take_care(number),
        }
        Step::More
    }

    /// Begins the fetch again from what the index says, and takes nothing on trust any more.
    fn take_care(&mut self, number: u64) -> Step {
        let task = self.fetches.tasks.get_mut(&number).expect("the fetch is under way");
        task.is_careful = true;
        (task.position, task.needed, task.stalls) = (None, 0, 0);
        self.advance_fetch(number);
        Step::More
    }

    fn take_carefully(&mut self, number: u64, position: u64, bytes: &Slice, wanted: Wanted, reader: ReaderId) -> Step {
        let is_wanted = |batch: &Batch<'_>| batch.next_offset() > wanted.offset;
        let is_missed = |batch: &Batch<'_>| batch.base_offset() > wanted.offset;
        match self.walk(number, position, bytes, is_wanted, is_missed) {
            Met::Cut => Step::More,
            Met::Damage => {
                self.refuse_read(number);
                Step::More
            }
            Met::End => {
                self.end_of_segment(number);
                Step::More
            }
            Met::Wanted { at } => {
                let task = &self.fetches.tasks[&number];
                let (slot, base_offset, file) = (task.slot, task.base_offset, task.file());
                let run = take_batches(&bytes[at..], wanted);
                if run.end == run.start {
                    return Step::Read(Read::Empty, None);
                }
                let run = Run { start: at + run.start, end: at + run.end, ..run };
                let intact = self.intact(slot, base_offset, position, i64::MIN, bytes, run);
                let run = intact.expect("its first batch was found to be intact");
                let ahead = Ahead { file, offset: run.next_offset, position };
                self.keep_rest(reader, ahead, bytes, run);
                let ready = Read::Ready { bytes: run.end - run.start, next_offset: run.next_offset };
                Step::Read(ready, Some(bytes.slice(run.start..run.end)))
            }
        }
    }

    fn take_lookup(&mut self, number: u64, position: u64, bytes: &Slice, timestamp: i64) -> Step {
        let slot = self.fetches.tasks[&number].slot;
        let start_offset = self.log(slot).start_offset;
        let is_wanted = |batch: &Batch<'_>| batch.max_timestamp() >= timestamp && batch.last_offset() >= start_offset;
        // Records that cannot be read are not found: the first one behind them is.
        match self.walk(number, position, bytes, is_wanted, |_| false) {
            Met::Cut => Step::More,
            Met::Damage | Met::End => {
                self.end_of_segment(number);
                Step::More
            }
            Met::Wanted { at } => {
                let batch = Batch::first(&bytes[at..]).expect("it was found to be intact");
                let (size, leader_epoch) = (batch.size_in_bytes(), batch.leader_epoch());
                // Where the log's start lies inside the batch, nothing before it is there any more.
                let goal = scan::Goal::AtOrAfter { timestamp, offset_min: start_offset };
                let search = Search::new(bytes.slice(at..at + size), goal, DECOMPRESSED_BYTES_MAX);
                let next_offset = batch.next_offset();
                let task = self.fetches.tasks.get_mut(&number).expect("the fetch is under way");
                (task.offset_min, task.is_behind_damage) = (next_offset, false);
                task.search = Some((search, leader_epoch, position + (at + size) as u64));
                Step::Searching
            }
        }
    }

    /// Checks batch by batch until one is wanted. `is_missed` says of one that what is wanted lies before it.
    fn walk(
        &mut self,
        number: u64,
        position: u64,
        bytes: &[u8],
        is_wanted: impl Fn(&Batch<'_>) -> bool,
        is_missed: impl Fn(&Batch<'_>) -> bool,
    ) -> Met {
        let task = &self.fetches.tasks[&number];
        let (slot, log, base_offset, mut is_behind) = (task.slot, task.id, task.base_offset, task.is_behind_damage);
        let bounds = self.bounds(slot, base_offset, position, task.offset_min);
        let bytes = &bytes[..bytes.len().min(usize::try_from(bounds.bytes_left).unwrap_or(usize::MAX))];
        let mut walk = if is_behind { Walk::behind_damage(bytes, bounds) } else { Walk::new(bytes, bounds) };
        loop {
            let at = walk.position();
            let offset_min = walk.offset_min();
            match walk.next_piece() {
                Piece::Intact(batch) if is_behind && is_missed(&batch) => return Met::Damage,
                Piece::Intact(batch) if is_wanted(&batch) => return Met::Wanted { at },
                Piece::Intact(_) => is_behind = false,
                Piece::Damaged { bytes, damage } => {
                    is_behind = true;
                    let place = Place { log, base_offset, position: position + at as u64 };
                    self.report_damage(slot, place, bytes as u64, offset_min, damage);
                }
                Piece::Skipped { .. } => {}
                Piece::End if is_behind => return Met::Damage,
                Piece::End => return Met::End,
                Piece::Cut { needed } => {
                    let task = self.fetches.tasks.get_mut(&number).expect("the fetch is under way");
                    (task.offset_min, task.is_behind_damage) = (offset_min, is_behind);
                    self.need_more(number, position + at as u64, needed);
                    return Met::Cut;
                }
            }
        }
    }

    /// What is known of a segment's bytes from `position` on.
    fn bounds(&self, slot: Slot, base_offset: i64, position: u64, offset_min: i64) -> Bounds {
        let log = self.log(slot);
        let at = log.segment_index(base_offset).expect("a segment that is read is there");
        let offset_end = log.segments.get(at + 1).map_or(log.end_offset, |next| next.base_offset);
        let bytes_left = log.segments[at].bytes.saturating_sub(position);
        Bounds { offset_min: offset_min.max(base_offset), offset_end, bytes_left }
    }

    /// The part of a run, from its first batch on, whose batches are all intact; none if not even the first is.
    pub(super) fn intact(
        &self,
        slot: Slot,
        base_offset: i64,
        position: u64,
        offset_min: i64,
        bytes: &[u8],
        run: Run,
    ) -> Option<Run> {
        let bounds = self.bounds(slot, base_offset, position + run.start as u64, offset_min);
        let bytes = &bytes[run.start..run.end];
        if bytes.len() as u64 > bounds.bytes_left {
            return None;
        }
        let mut walk = Walk::new(bytes, bounds);
        let mut next_offset = None;
        while walk.position() < bytes.len() {
            let Piece::Intact(batch) = walk.next_piece() else { break };
            next_offset = Some((batch.next_offset(), walk.position()));
        }
        let (next_offset, length) = next_offset?;
        Some(Run { end: run.start + length, next_offset, ..run })
    }

    /// Searches within batches, in slices; whether there is more to do.
    pub(in crate::store) fn step_searches(&mut self, budget: usize) {
        if let Some(number) = self.fetches.searching.pop_front()
            && let Some(task) = self.fetches.tasks.get_mut(&number)
            && let Some((search, leader_epoch, next)) = &mut task.search
        {
            let (leader_epoch, next) = (*leader_epoch, *next);
            match search.step(budget) {
                Ok(Progress::More) => self.fetches.searching.push_back(number),
                Ok(Progress::Done(Some(located))) => {
                    let (offset, timestamp) = (located.offset, located.timestamp);
                    self.finish_lookup(number, Lookup::Found { offset, timestamp, leader_epoch });
                }
                Ok(Progress::Done(None)) => {
                    task.search = None;
                    self.need_more(number, next, 0);
                }
                Err(fault) => {
                    tracing::error!(%fault, "cannot search a stored batch");
                    self.finish_lookup(number, Lookup::Failed);
                }
            }
        }
    }

    /// Whether a search could go on.
    pub(in crate::store) fn has_searches(&self) -> bool {
        !self.fetches.searching.is_empty()
    }
}

/// How many bytes a cut batch needs to be whole; none if the bytes are no batch.
fn needed_bytes(bytes: &[u8]) -> Option<usize> {
    match Batch::first(bytes) {
        Err(Malformed::BatchCut { announced, .. }) => Some(announced),
        Err(Malformed::HeaderCut { .. }) | Ok(_) => Some(batch::HEADER_BYTES),
        Err(_) => None,
    }
}
