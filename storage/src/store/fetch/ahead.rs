//! Where readers are, what is left of the bytes that their last reads took from disk, and what is read ahead for them.
//!
//! ```text
//!  segment   …│ answered │ rest │ next: being read, or here │ …
//!                        ▲ the reader's offset
//! ```
//!
//! Who reads on where the last read ended gets the next piece read while the answer is on its way. What is kept for
//! readers is the first to go where memory is short, the longest unused first.

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashMap;

use super::Kind;
use crate::batch::Batch;
use crate::buffer::{Buffer, Slice};
use crate::log::{LogId, Slot};
use crate::store::Store;
use crate::store::outcome::{Read, ReaderId};
use crate::tail::{Run, Wanted, take_batches};

/// Readers whose place is remembered.
const READERS_MAX: usize = 4096;
/// Bytes read ahead at once for a reader that has gone on for a while, where memory is plenty.
const AHEAD_BYTES_MAX: usize = 4 << 20;
/// Reads one after another that make a reader one that goes on for a while.
const STREAK_MIN: u32 = 4;

/// A segment's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct File {
    pub(super) slot: Slot,
    pub(super) id: LogId,
    pub(super) base_offset: i64,
    pub(super) generation: u32,
}

/// Where a reader is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    pub(super) file: File,
    /// The next offset, and where its batch starts.
    pub(super) offset: i64,
    pub(super) position: u64,
}

#[derive(Debug)]
struct Reader {
    at: Ahead,
    /// Bytes from there on: whole batches, and perhaps a part of one more.
    rest: Option<Slice>,
    next: Next,
    /// Reads one after another that went on where the one before had ended.
    streak: u32,
    /// The largest batch of the last read, which the next one is expected to have as well.
    batch_bytes: usize,
    /// When it was used last, as the readers count.
    used_at: u64,
}

/// What is read ahead.
#[derive(Debug)]
enum Next {
    None,
    /// It is being read, from a position on; a read may wait for it.
    Coming {
        task: u64,
        position: u64,
        waiter: Option<u64>,
    },
    /// It is here.
    Here {
        position: u64,
        bytes: Slice,
    },
}

/// All readers.
#[derive(Debug, Default)]
pub(super) struct Readers {
    by_id: FxHashMap<ReaderId, Reader>,
    /// By their first appearance: the oldest makes room.
    order: VecDeque<ReaderId>,
    /// By when they were used last.
    by_use: BTreeMap<u64, ReaderId>,
    uses: u64,
}

impl Readers {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Where in a segment the reader's next batch starts, if it goes on at `offset`.
    pub(super) fn place(&self, reader: ReaderId, file: File, offset: i64) -> Option<u64> {
        let at = &self.by_id.get(&reader)?.at;
        ((at.file, at.offset) == (file, offset)).then_some(at.position)
    }

    /// How much the reader's next batch is expected to have, and whether it reads one piece after another.
    pub(super) fn expectation(&self, reader: ReaderId) -> (usize, bool) {
        self.by_id.get(&reader).map_or((0, false), |reader| (reader.batch_bytes, reader.streak > 0))
    }

    /// Lets a read wait for what is being read ahead at its position, if it is.
    pub(super) fn wait(&mut self, reader: ReaderId, wanted: u64, number: u64) -> bool {
        match self.by_id.get_mut(&reader).map(|reader| &mut reader.next) {
            Some(Next::Coming { position, waiter, .. }) if *position == wanted && waiter.is_none() => {
                *waiter = Some(number);
                true
            }
            _ => false,
        }
    }

    fn remember(&mut self, id: ReaderId, at: Ahead) -> &mut Reader {
        if !self.by_id.contains_key(&id) {
            self.order.push_back(id);
            if self.order.len() > READERS_MAX
                && let Some(oldest) = self.order.pop_front().and_then(|oldest| self.by_id.remove(&oldest))
            {
                self.by_use.remove(&oldest.used_at);
            }
        }
        self.uses += 1;
        let used_at = self.uses;
        self.by_use.insert(used_at, id);
        let reader = self.by_id.entry(id).or_insert_with(|| Reader {
            at,
            rest: None,
            next: Next::None,
            streak: 0,
            batch_bytes: 0,
            used_at,
        });
        if reader.used_at != used_at {
            self.by_use.remove(&std::mem::replace(&mut reader.used_at, used_at));
        }
        reader.at = at;
        reader
    }

    /// Gives up what is kept for the reader that was used longest ago; its place stays known. Whether there was one.
    pub(super) fn release_one(&mut self) -> bool {
        while let Some((_, id)) = self.by_use.pop_first() {
            let reader = self.by_id.get_mut(&id).expect("only known readers are used");
            let is_kept = reader.rest.take().is_some();
            if matches!(reader.next, Next::Here { .. }) {
                reader.next = Next::None;
                return true;
            }
            if is_kept {
                return true;
            }
        }
        false
    }

    /// Takes the read that waits for a task, which is over.
    fn arrived(&mut self, reader: ReaderId, task: u64) -> Option<Option<u64>> {
        let reader = self.by_id.get_mut(&reader)?;
        match reader.next {
            Next::Coming { task: its, waiter, .. } if its == task => {
                reader.next = Next::None;
                Some(waiter)
            }
            _ => None,
        }
    }

    /// Segments of a log are others now: its readers' places are searched anew, and what is kept for them goes.
    pub(super) fn forget_places_in(&mut self, slot: Slot) {
        for reader in self.by_id.values_mut().filter(|reader| reader.at.file.slot == slot) {
            (reader.at.offset, reader.rest, reader.streak) = (-1, None, 0);
            if matches!(reader.next, Next::Here { .. }) {
                reader.next = Next::None;
            }
        }
    }
}

impl Store {
    /// Answers a read from what is kept for its reader; nothing where the disk must be asked (again).
    pub(in crate::store) fn read_ahead(
        &mut self,
        slot: Slot,
        id: ReaderId,
        wanted: Wanted,
        out: &mut Vec<Slice>,
    ) -> Option<Read> {
        let log = self.logs[slot.index()].as_deref().expect("the slot is in use");
        let reader = self.fetches.readers.by_id.get_mut(&id)?;
        let Ahead { file, offset, position } = reader.at;
        let generation = log.segment_index(file.base_offset).map(|at| log.segments[at].generation);
        // Compaction may have taken out what is kept.
        let is_same_file = (file.slot, file.id, Some(file.generation)) == (slot, log.id, generation);
        if !is_same_file || offset != wanted.offset {
            (reader.streak, reader.rest) = (0, None);
            if matches!(reader.next, Next::Here { .. }) {
                reader.next = Next::None;
            }
            return None;
        }
        reader.streak = reader.streak.saturating_add(1);
        let has_batch = |bytes: &Slice| Batch::first(bytes).is_ok();
        let rest = match reader.rest.take().filter(has_batch) {
            Some(rest) => rest,
            None => match std::mem::replace(&mut reader.next, Next::None) {
                Next::Here { position: its, bytes } if its == position => bytes,
                next => {
                    reader.next = next;
                    return None;
                }
            },
        };
        let run = take_batches(&rest, wanted);
        if run.end == run.start {
            if run.is_cut {
                reader.rest = Some(rest);
                return Some(Read::Empty);
            }
            return None;
        }
        let run = self.intact(slot, file.base_offset, position, wanted.offset, &rest, run)?;
        out.push(rest.slice(run.start..run.end));
        self.keep_rest(id, Ahead { file, offset: run.next_offset, position }, &rest, run);
        Some(Read::Ready { bytes: run.end - run.start, next_offset: run.next_offset })
    }

    /// Remembers where a reader goes on, and the bytes there; begins to read what comes behind them. `at` says where
    /// `bytes` lie.
    pub(super) fn keep_rest(&mut self, id: ReaderId, at: Ahead, bytes: &Slice, run: Run) {
        let position = at.position + run.end as u64;
        let mut largest = 0;
        let mut end = run.start;
        while let Ok(batch) = Batch::first(&bytes[end..]) {
            largest = largest.max(batch.size_in_bytes());
            end += batch.size_in_bytes();
        }
        let behind = at.position + end as u64;
        let file = at.file;
        let reader = self.fetches.readers.remember(id, Ahead { position, ..at });
        reader.batch_bytes = largest;
        reader.rest = (end > run.end).then(|| bytes.slice(run.end..end));
        let is_over = match reader.next {
            Next::None => true,
            Next::Coming { position, waiter, .. } => position != behind && waiter.is_none(),
            Next::Here { position, .. } => position != behind,
        };
        if is_over {
            reader.next = Next::None;
            if reader.streak > 0 {
                self.start_ahead(id, file, behind);
            }
        }
    }

    /// Begins to read ahead if that is worth it now.
    fn start_ahead(&mut self, reader: ReaderId, file: File, position: u64) {
        let log = self.log(file.slot);
        let Some(at) = log.segment_index(file.base_offset) else { return };
        let is_to_be_cut = log.truncation.as_ref().is_some_and(|it| it.is_due());
        // What is not on disk yet is in memory.
        if is_to_be_cut
            || position >= log.durable_bytes(&log.segments[at])
            || !self.fetches.has_room_ahead(self.now.monotonic_ns)
        {
            return;
        }
        let number = self.fetches.insert(file, Kind::Ahead { reader }, Some((position, file.base_offset)));
        let known = self.fetches.readers.by_id.get_mut(&reader).expect("it was remembered just now");
        known.next = Next::Coming { task: number, position, waiter: None };
        self.fetches.tasks.get_mut(&number).expect("inserted just now").needed = known.batch_bytes;
        self.advance_fetch(number);
    }

    /// Memory to read ahead into, for a piece as the device should get or what is needed; none where memory is needed for
    /// what is wanted now.
    pub(super) fn allocate_ahead(&mut self, reader: ReaderId, bytes: usize, piece_bytes: usize) -> Option<Buffer> {
        let is_steady = self.fetches.readers.by_id.get(&reader).is_some_and(|reader| reader.streak >= STREAK_MIN);
        let bytes_max = self.read_bytes_max();
        if is_steady && self.buffers.used_bytes() <= bytes_max / 4 {
            return self.buffers.allocate_within(bytes.max(AHEAD_BYTES_MAX.min(piece_bytes)), bytes_max);
        }
        self.buffers.allocate_within(bytes, bytes_max / 2)
    }

    /// What was read ahead is here.
    pub(super) fn ahead_fetched(&mut self, number: u64, bytes: Slice) {
        let task = self.fetches.tasks.remove(&number).expect("the fetch is under way");
        let Kind::Ahead { reader } = task.kind else { unreachable!("asked for reads ahead alone") };
        let position = task.position.expect("what is read ahead has a position");
        match self.fetches.readers.arrived(reader, number) {
            Some(Some(waiter)) if self.fetches.tasks.contains_key(&waiter) => self.bytes_fetched(waiter, bytes, 0),
            Some(_) => {
                if let Some(reader) = self.fetches.readers.by_id.get_mut(&reader) {
                    reader.next = Next::Here { position, bytes };
                }
            }
            None => {}
        }
    }

    /// Nothing comes of reading ahead: who waits for it reads by itself.
    pub(super) fn drop_ahead(&mut self, number: u64) {
        let task = self.fetches.tasks.remove(&number).expect("the fetch is under way");
        let Kind::Ahead { reader } = task.kind else { unreachable!("asked for reads ahead alone") };
        if let Some(Some(waiter)) = self.fetches.readers.arrived(reader, number) {
            self.advance_fetch(waiter);
        }
    }
}
