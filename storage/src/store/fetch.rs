//! Reads and lookups that need the disk.
//!
//! ```text
//! (index not in memory) load index ─► position ─► read blocks ─► check CRCs ─► answer
//!                                        ▲             │ (bytes not durable yet come from the tail)
//!                                        └─ need more ─┤
//!                                                      └► lookup: search the batch, in slices ─► answer
//! ```
//!
//! What a read took from disk beyond its answer is kept for its reader's next read.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::files::{FileKey, FileOp};
use super::outcome::{Event, Lookup, LookupToken, Read, ReadToken, ReaderId};
use super::purpose::Purpose;
use super::{DECOMPRESSED_BYTES_MAX, Store};
use crate::batch::{self, Batch, Malformed};
use crate::buffer::{Buffer, Slice};
use crate::index::Index;
use crate::io::{BLOCK_BYTES, Done, Failure, OpenMode};
use crate::log::{LogId, Slot};
use crate::scan::{self, Progress, Search};
use crate::segment::{index_path, segment_path};
use crate::tail::{Run, Wanted, take_batches};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Reads and lookups under way at once.
const FETCHES_MAX: usize = 512;
/// Bytes of one read from disk, unless a batch is larger.
const READ_BYTES_MIN: usize = 64 << 10;
const READ_BYTES_MAX: usize = 1 << 20;
/// The largest region there is: no batch is larger.
const BATCH_READ_BYTES_MAX: usize = 16 << 20;
/// Readers whose place is remembered.
const READERS_MAX: usize = 1024;
/// Indexes of closed segments in memory.
const INDEXES_MAX: usize = 16;
/// Reads in a row that bring a fetch no further before it is given up.
const STALLS_MAX: u32 = 3;

/// What a lookup looks for: the first record at or after a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    pub(super) timestamp: i64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Read { wanted: Wanted, reader: ReaderId },
    Lookup(Goal),
}

/// One read or lookup under way.
struct Task {
    slot: Slot,
    id: LogId,
    kind: Kind,
    /// The segment.
    base_offset: i64,
    /// A batch starts here; none before the index was asked.
    position: Option<u64>,
    /// Where the read in flight starts, and up to where the file was durable when it was issued.
    from: u64,
    durable: u64,
    /// Bytes that the first batch is known to have.
    needed: usize,
    /// Whether the read in flight covers a block that may be written again later.
    covers_partial: bool,
    stalls: u32,
    search: Option<(Search<Slice>, i32, u64)>,
}

/// What is left of a reader's last read.
#[derive(Debug)]
struct Ahead {
    slot: Slot,
    id: LogId,
    base_offset: i64,
    /// The next offset, and where its batch starts.
    offset: i64,
    position: u64,
    rest: Option<Slice>,
}

/// All reads and lookups under way.
pub(super) struct Fetches {
    tasks: FxHashMap<u64, Task>,
    next: u64,
    readers: FxHashMap<ReaderId, Ahead>,
    /// Readers by their first appearance: the oldest makes room.
    reader_order: VecDeque<ReaderId>,
    searching: VecDeque<u64>,
    indexes: VecDeque<(Slot, LogId, i64)>,
}

impl std::fmt::Debug for Fetches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetches").field("tasks", &self.tasks.len()).field("readers", &self.readers.len()).finish()
    }
}

impl Fetches {
    /// Numbers reads from `first` on.
    pub(super) fn new(first: u64) -> Self {
        Self {
            tasks: FxHashMap::default(),
            next: first,
            readers: FxHashMap::default(),
            reader_order: VecDeque::new(),
            searching: VecDeque::new(),
            indexes: VecDeque::new(),
        }
    }

    fn remember(&mut self, reader: ReaderId, ahead: Ahead) {
        if self.readers.insert(reader, ahead).is_none() {
            self.reader_order.push_back(reader);
            if self.reader_order.len() > READERS_MAX
                && let Some(oldest) = self.reader_order.pop_front()
            {
                self.readers.remove(&oldest);
            }
        }
    }
}

/// How a piece of a fetch ended.
enum Step {
    /// More bytes are needed, or another segment.
    More,
    Read(Read, Option<Slice>),
    Lookup(Lookup),
    Searching,
}

impl Store {
    /// Answers a read from what its reader's last one left.
    pub(super) fn read_ahead(
        &mut self,
        slot: Slot,
        reader: ReaderId,
        wanted: Wanted,
        out: &mut Vec<Slice>,
    ) -> Option<Read> {
        let id = self.log(slot).id;
        let ahead = self.fetches.readers.get_mut(&reader)?;
        if (ahead.slot, ahead.id, ahead.offset) != (slot, id, wanted.offset) {
            return None;
        }
        let rest = ahead.rest.take()?;
        let run = take_batches(&rest, wanted);
        if run.end == run.start {
            return run.is_cut.then_some(Read::Empty);
        }
        let (base_offset, position) = (ahead.base_offset, ahead.position);
        if !self.are_intact(id, base_offset, position, &rest, run) {
            return Some(Read::Failed);
        }
        out.push(rest.slice(run.start..run.end));
        self.keep_rest(
            reader,
            Ahead { slot, id, base_offset, offset: run.next_offset, position, rest: None },
            &rest,
            run,
        );
        Some(Read::Ready { bytes: run.end - run.start, next_offset: run.next_offset })
    }

    fn keep_rest(&mut self, reader: ReaderId, ahead: Ahead, bytes: &Slice, run: Run) {
        let rest = bytes.slice(run.end..bytes.len());
        let has_batch = Batch::first(&rest).is_ok();
        let position = ahead.position + run.end as u64;
        self.fetches.remember(reader, Ahead { position, rest: has_batch.then_some(rest), ..ahead });
    }

    /// Begins a read or lookup in a segment; none if too many are under way.
    pub(super) fn start_fetch(&mut self, slot: Slot, base_offset: i64, kind: Kind) -> Option<u64> {
        if self.fetches.tasks.len() >= FETCHES_MAX {
            return None;
        }
        let id = self.log(slot).id;
        let mut position = None;
        if let Kind::Read { wanted, reader } = kind
            && let Some(ahead) = self.fetches.readers.get(&reader)
            && (ahead.slot, ahead.id, ahead.base_offset, ahead.offset) == (slot, id, base_offset, wanted.offset)
        {
            position = Some(ahead.position);
        }
        let number = self.fetches.next;
        self.fetches.next += 1;
        let task = Task {
            slot,
            id,
            kind,
            base_offset,
            position,
            from: 0,
            durable: 0,
            needed: 0,
            covers_partial: false,
            stalls: 0,
            search: None,
        };
        self.fetches.tasks.insert(number, task);
        self.advance_fetch(number);
        Some(number)
    }

    /// Issues whatever the fetch needs next.
    fn advance_fetch(&mut self, number: u64) {
        let Some(task) = self.fetches.tasks.get(&number) else { return };
        let (slot, base_offset, kind, position) = (task.slot, task.base_offset, task.kind, task.position);
        let log = self.log(slot);
        let Some(at) = log.segment_index(base_offset) else {
            // Retention took the segment meanwhile.
            let (start_offset, end_offset) = (log.start_offset, log.end_offset);
            match kind {
                Kind::Read { .. } => self.finish_read(number, Read::OutOfRange { start_offset, end_offset }, None),
                Kind::Lookup(goal) => self.next_segment(number, goal, base_offset),
            }
            return;
        };
        let segment = &log.segments[at];
        let position = match (position, &segment.index) {
            (Some(position), _) => position,
            (None, Some(index)) => place_of(index, kind),
            (None, None) if segment.index_bytes == 0 => 0,
            (None, None) => return self.load_index(number),
        };
        if position >= segment.bytes {
            return self.end_of_segment(number);
        }
        self.fetches.tasks.get_mut(&number).expect("looked at above").position = Some(position);
        self.fetch_bytes(number, position);
    }

    fn end_of_segment(&mut self, number: u64) {
        let task = &self.fetches.tasks[&number];
        let (slot, base_offset, kind) = (task.slot, task.base_offset, task.kind);
        match kind {
            Kind::Lookup(goal) => self.next_segment(number, goal, base_offset + 1),
            Kind::Read { wanted, .. } => {
                let log = self.log(slot);
                let next =
                    log.segments.iter().find(|it| it.base_offset > base_offset && it.base_offset < wanted.limit_offset);
                match next.map(|segment| segment.base_offset) {
                    Some(base_offset) => self.go_to_segment(number, base_offset),
                    None => self.finish_read(number, Read::Empty, None),
                }
            }
        }
    }

    fn next_segment(&mut self, number: u64, goal: Goal, base_offset_min: i64) {
        let slot = self.fetches.tasks[&number].slot;
        match self.segment_for(slot, goal, base_offset_min) {
            Some(base_offset) => self.go_to_segment(number, base_offset),
            None => self.finish_lookup(number, Lookup::NotFound),
        }
    }

    fn go_to_segment(&mut self, number: u64, base_offset: i64) {
        let task = self.fetches.tasks.get_mut(&number).expect("the fetch is under way");
        (task.base_offset, task.position, task.needed, task.stalls) = (base_offset, None, 0, 0);
        self.advance_fetch(number);
    }

    fn allocate(&mut self, bytes: usize) -> Option<Buffer> {
        if let Some(buffer) = self.buffers.allocate(bytes) {
            return Some(buffer);
        }
        // What readers may want next counts less than what one wants now.
        self.fetches.readers.values_mut().for_each(|ahead| ahead.rest = None);
        self.buffers.allocate(bytes)
    }

    fn load_index(&mut self, number: u64) {
        let task = &self.fetches.tasks[&number];
        let (slot, id, base_offset) = (task.slot, task.id, task.base_offset);
        let log = self.log(slot);
        let at = log.segment_index(base_offset).expect("just looked at");
        let bytes = log.segments[at].index_bytes as usize;
        let directory = Arc::clone(&log.directory);
        let buffer = if bytes <= BATCH_READ_BYTES_MAX { self.allocate(bytes) } else { None };
        let Some(buffer) = buffer else { return self.finish_busy(number) };
        self.files.request(
            FileKey::Index(id, base_offset),
            || index_path(&directory, base_offset),
            OpenMode { create: true, write: true, direct: false },
            FileOp::Read { position: 0, buffer },
            Purpose::Fetch(number),
        );
    }

    fn index_read(&mut self, number: u64, buffer: &Buffer, length: usize) {
        let task = &self.fetches.tasks[&number];
        let (slot, id, base_offset) = (task.slot, task.id, task.base_offset);
        let log = self.log_mut(slot);
        let Some(at) = log.segment_index(base_offset) else { return self.advance_fetch(number) };
        let bytes = (log.segments[at].index_bytes as usize).min(length);
        match Index::parse(&buffer[..bytes], base_offset) {
            Ok(index) => {
                if log.segments[at].index.is_none() {
                    log.segments[at].index = Some(Box::new(index));
                    self.fetches.indexes.push_back((slot, id, base_offset));
                }
                self.drop_old_index();
            }
            Err(error) => {
                tracing::warn!(log = %id, segment = base_offset, %error, "reading the segment from its start instead");
                self.fetches.tasks.get_mut(&number).expect("looked at above").position = Some(0);
            }
        }
        self.advance_fetch(number);
    }

    fn drop_old_index(&mut self) {
        if self.fetches.indexes.len() <= INDEXES_MAX {
            return;
        }
        let Some((slot, id, base_offset)) = self.fetches.indexes.pop_front() else { return };
        if let Some(log) = self.log_if(slot, id)
            && let Some(at) = log.segment_index(base_offset)
        {
            log.segments[at].index = None;
        }
    }

    fn fetch_bytes(&mut self, number: u64, position: u64) {
        let task = &self.fetches.tasks[&number];
        let (slot, id, base_offset) = (task.slot, task.id, task.base_offset);
        let wanted = match task.kind {
            Kind::Read { wanted, .. } => wanted.max_bytes.clamp(READ_BYTES_MIN, READ_BYTES_MAX),
            Kind::Lookup(_) => READ_BYTES_MIN,
        };
        let from = position / BLOCK * BLOCK;
        let bytes = wanted.max(task.needed) + (position - from) as usize;
        if bytes > BATCH_READ_BYTES_MAX {
            return self.finish_failed(number);
        }
        let Some(mut buffer) = self.allocate(bytes) else { return self.finish_busy(number) };
        let log = self.log(slot);
        let at = log.segment_index(base_offset).expect("just looked at");
        let durable = log.durable_bytes(&log.segments[at]);
        let directory = Arc::clone(&log.directory);
        if from >= durable {
            let tail = log.tail_of(base_offset).expect("what is not durable is in memory");
            let copied = tail.copy(from, &mut buffer);
            return self.bytes_fetched(number, buffer.freeze(copied), position - from);
        }
        // What is not durable may be in the middle of being written, and comes from memory.
        let readable = (durable.next_multiple_of(BLOCK) - from) as usize;
        buffer.shorten(readable.min(buffer.len()));
        let covers_partial = from + buffer.len() as u64 > durable;
        let task = self.fetches.tasks.get_mut(&number).expect("looked at above");
        (task.from, task.durable, task.covers_partial) = (from, durable, covers_partial);
        self.log_mut(slot).partial_reads += u32::from(covers_partial);
        self.files.request(
            FileKey::Segment(id, base_offset),
            || segment_path(&directory, base_offset),
            OpenMode { create: true, write: true, direct: self.options.direct },
            FileOp::Read { position: from, buffer },
            Purpose::Fetch(number),
        );
    }

    /// A read of a file ended.
    pub(super) fn fetched(&mut self, number: u64, result: Result<Done, Failure>) {
        let Some(task) = self.fetches.tasks.get_mut(&number) else { return };
        let (slot, id, base_offset, position) = (task.slot, task.id, task.base_offset, task.position);
        let (from, durable) = (task.from, task.durable);
        let covers_partial = std::mem::take(&mut task.covers_partial);
        let log = self.logs[slot.index()].as_deref_mut().expect("a fetch ends with its log");
        log.partial_reads -= u32::from(covers_partial);
        let (mut buffer, length) = match result {
            Ok(Done::Read { buffer, length }) => (buffer, length),
            Ok(_) => unreachable!("a read completes as one"),
            Err(failure) => {
                tracing::error!(log = %id, segment = base_offset, %failure, "cannot read a segment");
                return self.finish_failed(number);
            }
        };
        let Some(position) = position else { return self.index_read(number, &buffer, length) };
        // Bytes behind the durable part may have been in the middle of being written.
        let mut valid = length.min((durable - from) as usize);
        let log = self.log(slot);
        if let Some(tail) = log.tail_of(base_offset)
            && valid as u64 == durable - from
            && tail.start() <= durable
        {
            buffer.show_all();
            valid += tail.copy(durable, &mut buffer[valid..]);
        }
        if (valid as u64) < position - from {
            return self.need_more(number, position, 0);
        }
        self.bytes_fetched(number, buffer.freeze(valid), position - from);
    }

    fn bytes_fetched(&mut self, number: u64, bytes: Slice, skip: u64) {
        let bytes = bytes.slice(skip as usize..bytes.len());
        let task = &self.fetches.tasks[&number];
        let position = task.position.expect("bytes are fetched for a position");
        let step = match task.kind {
            Kind::Read { wanted, reader } => self.take_read(number, position, &bytes, wanted, reader),
            Kind::Lookup(goal) => self.take_lookup(number, position, &bytes, goal),
        };
        match step {
            Step::More => {}
            Step::Read(read, slice) => self.finish_read(number, read, slice),
            Step::Lookup(lookup) => self.finish_lookup(number, lookup),
            Step::Searching => self.fetches.searching.push_back(number),
        }
    }

    fn take_read(&mut self, number: u64, position: u64, bytes: &Slice, wanted: Wanted, reader: ReaderId) -> Step {
        let task = &self.fetches.tasks[&number];
        let (slot, id, base_offset) = (task.slot, task.id, task.base_offset);
        let run = take_batches(bytes, wanted);
        if run.end > run.start {
            if !self.are_intact(id, base_offset, position, bytes, run) {
                return Step::Read(Read::Failed, None);
            }
            let ahead = Ahead { slot, id, base_offset, offset: run.next_offset, position, rest: None };
            self.keep_rest(reader, ahead, bytes, run);
            let ready = Read::Ready { bytes: run.end - run.start, next_offset: run.next_offset };
            return Step::Read(ready, Some(bytes.slice(run.start..run.end)));
        }
        if run.is_cut {
            return Step::Read(Read::Empty, None);
        }
        match needed_bytes(&bytes[run.end..]) {
            Some(needed) => {
                self.need_more(number, position + run.end as u64, needed);
                Step::More
            }
            None => {
                self.report_damage(id, base_offset, position + run.end as u64);
                Step::Read(Read::Failed, None)
            }
        }
    }

    fn take_lookup(&mut self, number: u64, position: u64, bytes: &Slice, goal: Goal) -> Step {
        let task = &self.fetches.tasks[&number];
        let (slot, id, base_offset) = (task.slot, task.id, task.base_offset);
        let start_offset = self.log(slot).start_offset;
        let mut at = 0;
        while let Ok(batch) = Batch::first(&bytes[at..]) {
            let size = batch.size_in_bytes();
            if batch.max_timestamp() >= goal.timestamp && batch.last_offset() >= start_offset {
                if batch.crc() != batch.computed_crc() {
                    self.report_damage(id, base_offset, position + at as u64);
                    return Step::Lookup(Lookup::Failed);
                }
                let leader_epoch = batch.leader_epoch();
                // Where the log's start lies inside the batch, nothing before it is there any more.
                let goal = scan::Goal::AtOrAfter { timestamp: goal.timestamp, offset_min: start_offset };
                let search = Search::new(bytes.slice(at..at + size), goal, DECOMPRESSED_BYTES_MAX);
                let next = position + (at + size) as u64;
                self.fetches.tasks.get_mut(&number).expect("looked at above").search =
                    Some((search, leader_epoch, next));
                return Step::Searching;
            }
            at += size;
        }
        match needed_bytes(&bytes[at..]) {
            Some(needed) => {
                self.need_more(number, position + at as u64, needed);
                Step::More
            }
            None => {
                self.report_damage(id, base_offset, position + at as u64);
                Step::Lookup(Lookup::Failed)
            }
        }
    }

    /// Goes on with a fetch at `position`, where the next batch has at least `needed` bytes.
    fn need_more(&mut self, number: u64, position: u64, needed: usize) {
        let task = self.fetches.tasks.get_mut(&number).expect("the fetch is under way");
        let has_moved = task.position != Some(position) || task.needed < needed;
        task.stalls = if has_moved { 0 } else { task.stalls + 1 };
        (task.position, task.needed) = (Some(position), needed);
        if task.stalls > STALLS_MAX {
            let (id, base_offset) = (task.id, task.base_offset);
            self.report_damage(id, base_offset, position);
            return self.finish_failed(number);
        }
        self.advance_fetch(number);
    }

    /// Searches within batches, in slices; whether there is more to do.
    pub(super) fn step_searches(&mut self, budget: usize) {
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
    pub(super) fn has_searches(&self) -> bool {
        !self.fetches.searching.is_empty()
    }

    /// Checks the CRC of every batch of a run.
    fn are_intact(&self, id: LogId, base_offset: i64, position: u64, bytes: &[u8], run: Run) -> bool {
        let mut batches = batch::batches(&bytes[run.start..run.end]);
        loop {
            let at = batches.position();
            match batches.next() {
                None => return true,
                Some(Ok(batch)) if batch.crc() == batch.computed_crc() => {}
                Some(_) => {
                    self.report_damage(id, base_offset, position + (run.start + at) as u64);
                    return false;
                }
            }
        }
    }

    fn report_damage(&self, id: LogId, base_offset: i64, position: u64) {
        tracing::error!(
            log = %id,
            segment = base_offset,
            position,
            "a stored batch is damaged and is not served; restore the segment from a copy or a replica"
        );
    }

    fn finish_read(&mut self, number: u64, outcome: Read, slice: Option<Slice>) {
        let task = self.fetches.tasks.remove(&number).expect("the fetch is under way");
        let slices = slice.into_iter().collect();
        self.push(Event::ReadFinished { token: ReadToken(number), slot: task.slot, outcome, slices });
    }

    fn finish_lookup(&mut self, number: u64, outcome: Lookup) {
        let task = self.fetches.tasks.remove(&number).expect("the fetch is under way");
        self.push(Event::LookupFinished { token: LookupToken(number), slot: task.slot, outcome });
    }

    fn finish_busy(&mut self, number: u64) {
        match self.fetches.tasks[&number].kind {
            Kind::Read { .. } => self.finish_read(number, Read::Busy, None),
            Kind::Lookup(_) => self.finish_lookup(number, Lookup::Busy),
        }
    }

    fn finish_failed(&mut self, number: u64) {
        match self.fetches.tasks[&number].kind {
            Kind::Read { .. } => self.finish_read(number, Read::Failed, None),
            Kind::Lookup(_) => self.finish_lookup(number, Lookup::Failed),
        }
    }

    /// Ends all reads and lookups of a log that is being deleted.
    pub(super) fn fail_fetches_of(&mut self, slot: Slot) {
        let mut numbers: Vec<u64> =
            self.fetches.tasks.iter().filter(|(_, task)| task.slot == slot).map(|(&number, _)| number).collect();
        numbers.sort_unstable();
        numbers.into_iter().for_each(|number| self.finish_failed(number));
    }
}

fn place_of(index: &Index, kind: Kind) -> u64 {
    let place = match kind {
        Kind::Read { wanted, .. } => Some(index.lookup_offset(wanted.offset)),
        Kind::Lookup(goal) => index.lookup_timestamp(goal.timestamp),
    };
    place.map_or(0, |place| u64::from(place.position))
}

/// How many bytes a cut batch needs to be whole; none if the bytes are no batch.
fn needed_bytes(bytes: &[u8]) -> Option<usize> {
    match Batch::first(bytes) {
        Err(Malformed::BatchCut { announced, .. }) => Some(announced),
        Err(Malformed::HeaderCut { .. }) => Some(batch::HEADER_BYTES),
        Ok(_) => Some(batch::HEADER_BYTES),
        Err(_) => None,
    }
}
