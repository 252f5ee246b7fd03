//! Where readers are, and what is left of the bytes that their last reads took from disk.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::batch::Batch;
use crate::buffer::Slice;
use crate::log::{LogId, Slot};
use crate::store::Store;
use crate::store::outcome::{Read, ReaderId};
use crate::tail::{Run, Wanted, take_batches};

/// Readers whose place is remembered.
const READERS_MAX: usize = 1024;

/// A segment's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct File {
    pub(super) slot: Slot,
    pub(super) id: LogId,
    pub(super) base_offset: i64,
    pub(super) generation: u32,
}

/// What is left of a reader's last read.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) file: File,
    /// The next offset, and where its batch starts.
    pub(super) offset: i64,
    pub(super) position: u64,
    pub(super) rest: Option<Slice>,
}

/// All readers.
#[derive(Debug, Default)]
pub(super) struct Readers {
    by_id: FxHashMap<ReaderId, Ahead>,
    /// By their first appearance: the oldest makes room.
    order: VecDeque<ReaderId>,
}

impl Readers {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    fn remember(&mut self, reader: ReaderId, ahead: Ahead) {
        if self.by_id.insert(reader, ahead).is_none() {
            self.order.push_back(reader);
            if self.order.len() > READERS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_id.remove(&oldest);
            }
        }
    }

    /// Where in a segment the reader's next batch starts, if it goes on at `offset`.
    pub(super) fn place(&self, reader: ReaderId, file: File, offset: i64) -> Option<u64> {
        let ahead = self.by_id.get(&reader)?;
        ((ahead.file, ahead.offset) == (file, offset)).then_some(ahead.position)
    }

    /// Gives up the memory of what readers may want next; their places stay known.
    pub(super) fn release(&mut self) {
        self.by_id.values_mut().for_each(|ahead| ahead.rest = None);
    }
}

impl Store {
    /// Answers a read from what its reader's last one left; nothing where the disk must be asked (again).
    pub(in crate::store) fn read_ahead(
        &mut self,
        slot: Slot,
        reader: ReaderId,
        wanted: Wanted,
        out: &mut Vec<Slice>,
    ) -> Option<Read> {
        let log = self.logs[slot.index()].as_deref().expect("the slot is in use");
        let ahead = self.fetches.readers.by_id.get_mut(&reader)?;
        if (ahead.file.slot, ahead.file.id, ahead.offset) != (slot, log.id, wanted.offset) {
            return None;
        }
        let rest = ahead.rest.take()?;
        let File { base_offset, generation, .. } = ahead.file;
        if log.segment_index(base_offset).is_none_or(|at| log.segments[at].generation != generation) {
            // Compaction may have taken out what it begins with.
            return None;
        }
        let run = take_batches(&rest, wanted);
        if run.end == run.start {
            return run.is_cut.then_some(Read::Empty);
        }
        let (file, position) = (ahead.file, ahead.position);
        let run = self.intact(slot, base_offset, position, wanted.offset, &rest, run)?;
        out.push(rest.slice(run.start..run.end));
        let ahead = Ahead { file, offset: run.next_offset, position, rest: None };
        self.keep_rest(reader, ahead, &rest, run);
        Some(Read::Ready { bytes: run.end - run.start, next_offset: run.next_offset })
    }

    /// Remembers where a reader goes on, and the bytes there.
    pub(super) fn keep_rest(&mut self, reader: ReaderId, ahead: Ahead, bytes: &Slice, run: Run) {
        let rest = bytes.slice(run.end..bytes.len());
        let has_batch = Batch::first(&rest).is_ok();
        let position = ahead.position + run.end as u64;
        self.fetches.readers.remember(reader, Ahead { position, rest: has_batch.then_some(rest), ..ahead });
    }
}
