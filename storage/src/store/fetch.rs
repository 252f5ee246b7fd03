//! Reads and lookups that need the disk.
//!
//! ```text
//! (index not in memory) load index ─► position ─► read blocks ─► check CRCs ─► answer
//!                                        ▲             │ (bytes not durable yet come from the tail)
//!                                        └─ need more ─┤
//!                                                      └► lookup: search the batch, in slices ─► answer
//! ```
//!
//! What a read took from disk beyond its answer is kept for its reader's next read ([`ahead`]). What the disk gives is
//! never trusted ([`take`]); where it gives nothing, the read is tried again block by block.

mod ahead;
mod pace;
mod queue;
mod take;

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::Store;
use super::damage::Place;
use super::files::FileOp;
use super::outcome::{Event, Lookup, LookupToken, Read, ReadToken, ReaderId};
use super::purpose::Purpose;
use crate::buffer::{Buffer, REGION_BYTES, Slice};
use crate::index::{Index, Position};
use crate::io::{BLOCK_BYTES, Done, Failure, OpenMode};
use crate::log::{LogId, Slot};
use crate::scan::Search;
use crate::tail::Wanted;
use crate::verify::Damage;

use ahead::{File, Readers};
use queue::Queue;

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Reads and lookups under way at once, those that wait among them.
const FETCHES_MAX: usize = 8192;
/// Bytes of one read from disk, unless a batch is larger.
const READ_BYTES_MIN: usize = 64 << 10;
const READ_BYTES_MAX: usize = 1 << 20;
/// A region for the largest batch and a block before it.
const REGION_FOR_BATCH_BYTES: usize = 9 << 20;
/// Indexes of closed segments in memory.
const INDEXES_MAX: usize = 16;
/// Reads in a row that bring a fetch no further before it is given up.
const STALLS_MAX: u32 = 3;
/// Places that the device cannot read which one fetch passes over.
const UNREADABLE_MAX: u32 = 16;

/// What a lookup looks for: the first record at or after a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    pub(super) timestamp: i64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Read {
        wanted: Wanted,
        reader: ReaderId,
    },
    Lookup(Goal),
    /// What a reader will want next.
    Ahead {
        reader: ReaderId,
    },
}

/// One read or lookup under way.
struct Task {
    slot: Slot,
    id: LogId,
    kind: Kind,
    /// The segment, and which of its generations `position` belongs to.
    base_offset: i64,
    generation: u32,
    /// A batch starts here (or is looked for from here on, behind damage); none before the index was asked.
    position: Option<u64>,
    /// No offset from there on is smaller.
    offset_min: i64,
    /// Where the read in flight starts, how many bytes it has, and up to where the file was durable when it was issued.
    from: u64,
    asked: usize,
    durable: u64,
    /// Bytes that the first batch is known to have.
    needed: usize,
    /// Whether the read in flight covers a block that may be written again later.
    covers_partial: bool,
    stalls: u32,
    search: Option<(Search<Slice>, i32, u64)>,
    /// Whether every batch is checked, those that are passed over, too.
    is_careful: bool,
    /// Whether damage lies right before `position`.
    is_behind_damage: bool,
    /// Whether as little as possible is read at once: a larger read has failed.
    is_narrow: bool,
    /// Places that the device could not read.
    unreadable: u32,
}

impl Task {
    fn file(&self) -> File {
        File { slot: self.slot, id: self.id, base_offset: self.base_offset, generation: self.generation }
    }
}

/// All reads and lookups under way.
pub(super) struct Fetches {
    tasks: FxHashMap<u64, Task>,
    next: u64,
    readers: Readers,
    queue: Queue,
    searching: VecDeque<u64>,
    indexes: VecDeque<(Slot, LogId, i64)>,
    /// The last read that wanted memory found none.
    is_short: bool,
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
            readers: Readers::default(),
            queue: Queue::default(),
            searching: VecDeque::new(),
            indexes: VecDeque::new(),
            is_short: false,
        }
    }

    /// Notes a fetch; `place` is where its first batch starts, and the least offset there, if that is known.
    fn insert(&mut self, file: File, kind: Kind, place: Option<(u64, i64)>) -> u64 {
        let number = self.next;
        self.next += 1;
        let File { slot, id, base_offset, generation } = file;
        let task = Task {
            slot,
            id,
            kind,
            base_offset,
            generation,
            position: place.map(|(position, _)| position),
            offset_min: place.map_or(base_offset, |(_, offset)| offset),
            from: 0,
            asked: 0,
            durable: 0,
            needed: 0,
            covers_partial: false,
            stalls: 0,
            search: None,
            is_careful: false,
            is_behind_damage: false,
            is_narrow: false,
            unreadable: 0,
        };
        self.tasks.insert(number, task);
        number
    }

    fn has_room_ahead(&self, now_ns: u64) -> bool {
        self.tasks.len() < FETCHES_MAX && self.queue.has_room_ahead(now_ns)
    }

    /// A write of the durable journal ended: reads are to be as many as it can bear.
    pub(super) fn journal_written(&mut self, duration_ns: u64, now_ns: u64) {
        self.queue.journal_written(duration_ns, now_ns);
    }

    /// When a read that waits goes on, or gives up.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.queue.next_at()
    }

    /// Reads and lookups that wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.queue.waiting()
    }
}

impl Store {
    /// Begins a read or lookup in a segment; none if too many are under way.
    pub(super) fn start_fetch(&mut self, slot: Slot, base_offset: i64, kind: Kind) -> Option<u64> {
        let log = self.log(slot);
        let is_to_be_cut = log.truncation.as_ref().is_some_and(|it| it.is_due());
        if self.fetches.tasks.len() >= FETCHES_MAX || is_to_be_cut {
            return None;
        }
        let generation = log.segment_index(base_offset).map_or(0, |at| log.segments[at].generation);
        let file = File { slot, id: log.id, base_offset, generation };
        let Kind::Read { wanted, reader } = kind else {
            let number = self.fetches.insert(file, kind, None);
            self.advance_fetch(number);
            return Some(number);
        };
        let readers = &self.fetches.readers;
        let position = readers.place(reader, file, wanted.offset);
        let (batch_bytes, _) = readers.expectation(reader);
        let number = self.fetches.insert(file, kind, position.map(|at| (at, wanted.offset)));
        if let Some(position) = position {
            if self.fetches.readers.wait(reader, position, number) {
                return Some(number);
            }
            self.fetches.tasks.get_mut(&number).expect("inserted just now").needed = batch_bytes;
        }
        self.advance_fetch(number);
        Some(number)
    }

    /// Issues whatever the fetch needs next.
    fn advance_fetch(&mut self, number: u64) {
        let Some(task) = self.fetches.tasks.get(&number) else { return };
        let (slot, base_offset, kind) = (task.slot, task.base_offset, task.kind);
        let Some(at) = self.log(slot).segment_index(base_offset) else {
            return self.segment_is_gone(number, slot, base_offset, kind);
        };
        let log = self.logs[slot.index()].as_deref().expect("a fetch ends with its log");
        let segment = &log.segments[at];
        let task = self.fetches.tasks.get_mut(&number).expect("looked at above");
        if task.generation != segment.generation && matches!(kind, Kind::Ahead { .. }) {
            return self.drop_ahead(number);
        }
        if task.generation != segment.generation {
            // Compaction wrote it anew, and its batches lie elsewhere.
            (task.generation, task.position, task.needed, task.stalls) = (segment.generation, None, 0, 0);
            (task.is_behind_damage, task.is_narrow) = (false, false);
        }
        let position = task.position;
        let start = Position { position: 0, offset: base_offset };
        let found = match (position, &segment.index) {
            (Some(_), _) => None,
            (None, Some(index)) => Some(place_of(index, kind).unwrap_or(start)),
            (None, None) if segment.index_bytes == 0 => Some(start),
            (None, None) => return self.load_index(number),
        };
        let bytes = segment.bytes;
        let task = self.fetches.tasks.get_mut(&number).expect("looked at above");
        if let Some(found) = found {
            (task.position, task.offset_min) = (Some(found.position.into()), found.offset);
        }
        let position = task.position.expect("known, or found just now");
        if position >= bytes {
            let is_damage = task.is_behind_damage && matches!(kind, Kind::Read { .. });
            return if is_damage { self.refuse_read(number) } else { self.end_of_segment(number) };
        }
        self.fetch_bytes(number, position);
    }

    /// The segment was removed, by retention, or because compaction joined it with the one before.
    fn segment_is_gone(&mut self, number: u64, slot: Slot, base_offset: i64, kind: Kind) {
        let log = self.log(slot);
        let (start_offset, end_offset) = (log.start_offset, log.end_offset);
        let segment_of = |offset| log.segment_at(offset).map(|at| log.segments[at].base_offset);
        match kind {
            Kind::Read { wanted, .. } => match segment_of(wanted.offset).filter(|_| wanted.offset >= start_offset) {
                Some(joined) => self.go_to_segment(number, joined),
                None => self.finish_read(number, Read::OutOfRange { start_offset, end_offset }, None),
            },
            Kind::Lookup(goal) => {
                let from = segment_of(base_offset).unwrap_or(base_offset);
                self.next_segment(number, goal, from);
            }
            Kind::Ahead { .. } => self.drop_ahead(number),
        }
    }

    fn end_of_segment(&mut self, number: u64) {
        let task = &self.fetches.tasks[&number];
        let (slot, base_offset, kind) = (task.slot, task.base_offset, task.kind);
        match kind {
            Kind::Lookup(goal) => self.next_segment(number, goal, base_offset + 1),
            Kind::Ahead { .. } => self.drop_ahead(number),
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
        (task.is_behind_damage, task.is_narrow) = (false, false);
        self.advance_fetch(number);
    }

    /// Memory for a read that somebody waits for: what readers may want next counts less.
    pub(super) fn allocate_for_read(&mut self, bytes: usize) -> Option<Buffer> {
        loop {
            if let Some(buffer) = self.buffers.allocate_within(bytes, self.read_bytes_max()) {
                self.fetches.is_short = false;
                return Some(buffer);
            }
            if !self.fetches.readers.release_one() {
                self.fetches.is_short = true;
                return None;
            }
        }
    }

    /// Whether the last read found no memory, since this was asked: readers hold all that they may.
    pub fn take_shortage(&mut self) -> bool {
        std::mem::take(&mut self.fetches.is_short)
    }

    /// The part of the memory for reads that readers may hold: the rest is for writes that free memory and journal.
    pub(super) fn read_bytes_max(&self) -> usize {
        let budget = self.buffers.budget_bytes();
        budget - (budget / 4).min(budget.saturating_sub(REGION_FOR_BATCH_BYTES))
    }

    /// The largest read that there can be memory for.
    fn largest_read(&self) -> usize {
        let bytes_max = self.read_bytes_max();
        REGION_BYTES.into_iter().rev().find(|&bytes| bytes <= bytes_max).unwrap_or(0)
    }

    fn load_index(&mut self, number: u64) {
        let task = &self.fetches.tasks[&number];
        let (slot, id, base_offset) = (task.slot, task.id, task.base_offset);
        let log = self.log(slot);
        let at = log.segment_index(base_offset).expect("just looked at");
        let segment = &log.segments[at];
        let bytes = segment.index_bytes as usize;
        let (key, path) = (segment.index_key(id), segment.index_path(&log.directory));
        if bytes > self.largest_read() {
            self.go_without_index(number);
            return self.advance_fetch(number);
        }
        let Some(buffer) = self.take_turn(number, bytes) else { return };
        self.fetches.queue.begin(number, bytes);
        self.files.request(
            key,
            || path,
            OpenMode { create: false, write: true, direct: false },
            FileOp::Read { position: 0, buffer },
            Purpose::Fetch(number),
        );
    }

    fn index_read(&mut self, number: u64, buffer: &Buffer, length: usize) {
        let task = &self.fetches.tasks[&number];
        let (slot, id, base_offset, generation) = (task.slot, task.id, task.base_offset, task.generation);
        let log = self.log_mut(slot);
        let at = log.segment_index(base_offset).filter(|&at| log.segments[at].generation == generation);
        let Some(at) = at else { return self.advance_fetch(number) };
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
                self.go_without_index(number);
            }
        }
        self.advance_fetch(number);
    }

    fn go_without_index(&mut self, number: u64) {
        let task = self.fetches.tasks.get_mut(&number).expect("the fetch is under way");
        (task.position, task.offset_min) = (Some(0), task.base_offset);
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
        let is_narrow = task.is_narrow;
        let piece_bytes = self.fetches.queue.pace.piece_bytes(self.now.monotonic_ns);
        let bytes_max = READ_BYTES_MAX.min(piece_bytes);
        let wanted = match task.kind {
            _ if is_narrow => 1,
            Kind::Read { reader, .. } if self.fetches.readers.expectation(reader).1 => bytes_max,
            Kind::Read { wanted, .. } => wanted.max_bytes.clamp(READ_BYTES_MIN, bytes_max),
            Kind::Lookup(_) => READ_BYTES_MIN,
            Kind::Ahead { .. } => bytes_max,
        };
        let from = position / BLOCK * BLOCK;
        let before = (position - from) as usize;
        // A region is filled, and not begun for the few bytes before the batch.
        let bytes = (wanted + before).min(bytes_max).max(task.needed + before);
        if bytes > self.largest_read() {
            tracing::error!(log = %id, segment = base_offset, bytes, "a batch is larger than the memory for reads: raise skein.memory");
            return self.finish_failed(number);
        }
        let buffer = match task.kind {
            Kind::Ahead { reader } => self.allocate_ahead(reader, bytes, piece_bytes),
            Kind::Read { .. } | Kind::Lookup(_) => self.take_turn(number, bytes),
        };
        let Some(mut buffer) = buffer else { return self.give_up_ahead(number) };
        let log = self.log(slot);
        let at = log.segment_index(base_offset).expect("just looked at");
        let durable = log.durable_bytes(&log.segments[at]);
        let segment = &log.segments[at];
        let (key, path) = (segment.key(id), segment.path(&log.directory));
        if from >= durable {
            let tail = log.tail_of(base_offset).expect("what is not durable is in memory");
            let copied = tail.copy(from, &mut buffer);
            return self.bytes_fetched(number, buffer.freeze(copied), position - from);
        }
        // What is not durable may be in the middle of being written, and comes from memory.
        let readable = (durable.next_multiple_of(BLOCK) - from) as usize;
        let asked = if is_narrow { bytes.next_multiple_of(BLOCK_BYTES) } else { buffer.len() };
        buffer.shorten(readable.min(asked));
        let covers_partial = from + buffer.len() as u64 > durable;
        let task = self.fetches.tasks.get_mut(&number).expect("looked at above");
        (task.from, task.asked, task.durable) = (from, buffer.len(), durable);
        task.covers_partial = covers_partial;
        self.log_mut(slot).partial_reads += u32::from(covers_partial);
        self.fetches.queue.begin(number, buffer.len());
        self.files.request(
            key,
            || path,
            OpenMode { create: false, write: true, direct: self.options.direct },
            FileOp::Read { position: from, buffer },
            Purpose::Fetch(number),
        );
    }

    /// A read that found no memory waits, but not for what nobody has asked for yet.
    fn give_up_ahead(&mut self, number: u64) {
        if self.fetches.tasks.get(&number).is_some_and(|task| matches!(task.kind, Kind::Ahead { .. })) {
            self.drop_ahead(number);
        }
    }

    /// A read of a file ended.
    pub(super) fn fetched(&mut self, number: u64, result: Result<Done, Failure>) {
        self.fetches.queue.end(number);
        self.fetch_ended(number, result);
        self.resume_fetches();
    }

    fn fetch_ended(&mut self, number: u64, result: Result<Done, Failure>) {
        let Some(task) = self.fetches.tasks.get_mut(&number) else { return };
        let (slot, base_offset, position) = (task.slot, task.base_offset, task.position);
        let (from, durable, generation) = (task.from, task.durable, task.generation);
        let covers_partial = std::mem::take(&mut task.covers_partial);
        let log = self.logs[slot.index()].as_deref_mut().expect("a fetch ends with its log");
        log.partial_reads -= u32::from(covers_partial);
        let (mut buffer, length) = match result {
            Ok(Done::Read { buffer, length }) => (buffer, length),
            Ok(_) => unreachable!("a read completes as one"),
            Err(failure) => return self.read_failed(number, failure),
        };
        let Some(position) = position else { return self.index_read(number, &buffer, length) };
        if log.segment_index(base_offset).is_none_or(|at| log.segments[at].generation != generation) {
            return self.advance_fetch(number);
        }
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

    /// The device has given an error. What it cannot read is found out with small reads, so that the rest is served.
    fn read_failed(&mut self, number: u64, failure: Failure) {
        let task = self.fetches.tasks.get_mut(&number).expect("looked at above");
        if let Kind::Ahead { .. } = task.kind {
            return self.drop_ahead(number);
        }
        if task.position.is_none() {
            let (id, base_offset) = (task.id, task.base_offset);
            tracing::warn!(log = %id, segment = base_offset, %failure, "cannot read an index: reading the segment from its start instead");
            self.go_without_index(number);
            return self.advance_fetch(number);
        }
        if !std::mem::replace(&mut task.is_narrow, true) && task.asked > BLOCK_BYTES {
            return self.advance_fetch(number);
        }
        let is_read = matches!(task.kind, Kind::Read { .. });
        let is_given_up = task.unreadable >= UNREADABLE_MAX;
        self.skip_unreadable(number, failure.errno);
        // The error may be gone the next time: a lookup that passed over records would have found another one then.
        if is_given_up || !is_read {
            return self.finish_failed(number);
        }
        self.advance_fetch(number);
    }

    /// Passes over what the device cannot read: what lies behind is looked for.
    fn skip_unreadable(&mut self, number: u64, errno: i32) {
        let task = self.fetches.tasks.get_mut(&number).expect("the fetch is under way");
        let (from, behind) = (task.from, task.from + task.asked as u64);
        let position = task.position.expect("bytes are read for a position");
        // Of a batch in several blocks the last may hold the next batch's start.
        let next = if task.needed > BLOCK_BYTES { (position + task.needed as u64).min(behind) } else { behind };
        task.unreadable += 1;
        (task.is_careful, task.is_behind_damage, task.needed) = (true, true, 0);
        task.position = Some(next);
        let (slot, offset_min) = (task.slot, task.offset_min);
        let place = Place { log: task.id, base_offset: task.base_offset, position: from };
        self.report_damage(slot, place, behind - from, offset_min, Damage::Unreadable { errno });
    }

    /// Goes on with a fetch at `position`, where the next batch has at least `needed` bytes.
    fn need_more(&mut self, number: u64, position: u64, needed: usize) {
        let task = self.fetches.tasks.get_mut(&number).expect("the fetch is under way");
        let has_moved = task.position != Some(position) || task.needed < needed;
        task.stalls = if has_moved { 0 } else { task.stalls + 1 };
        (task.position, task.needed) = (Some(position), needed);
        if task.stalls > STALLS_MAX {
            let place = Place { log: task.id, base_offset: task.base_offset, position };
            let (slot, offset_min) = (task.slot, task.offset_min);
            self.report_damage(slot, place, 0, offset_min, Damage::Missing);
            return self.refuse_fetch(number);
        }
        self.advance_fetch(number);
    }

    /// Ends a fetch that met nothing but damage.
    fn refuse_fetch(&mut self, number: u64) {
        match self.fetches.tasks[&number].kind {
            Kind::Read { .. } => self.refuse_read(number),
            Kind::Lookup(_) | Kind::Ahead { .. } => self.finish_failed(number),
        }
    }

    /// Ends a read whose offset lies within damage.
    fn refuse_read(&mut self, number: u64) {
        self.damages.refused();
        let is_unreadable = self.fetches.tasks[&number].unreadable > 0;
        self.finish_read(number, if is_unreadable { Read::Failed } else { Read::Damaged }, None);
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
            Kind::Ahead { .. } => self.drop_ahead(number),
        }
    }

    fn finish_failed(&mut self, number: u64) {
        match self.fetches.tasks[&number].kind {
            Kind::Read { .. } => self.finish_read(number, Read::Failed, None),
            Kind::Lookup(_) => self.finish_lookup(number, Lookup::Failed),
            Kind::Ahead { .. } => self.drop_ahead(number),
        }
    }

    /// Has all reads and lookups of a log that is cut begin anew: what they have seen may be there no more.
    /// Segments from `base_offset` on are others now.
    pub(super) fn interrupt_fetches_of(&mut self, slot: Slot, base_offset: i64) {
        let of_log = self.fetches.tasks.iter_mut().filter(|(_, task)| task.slot == slot);
        let (mut numbers, mut ahead, mut partial) = (Vec::new(), Vec::new(), 0);
        for (&number, task) in of_log {
            partial += u32::from(std::mem::take(&mut task.covers_partial));
            if let Kind::Ahead { .. } = task.kind { ahead.push(number) } else { numbers.push(number) }
        }
        numbers.sort_unstable();
        ahead.sort_unstable();
        // Those that wait for what is read ahead end first, and do not begin anew.
        numbers.into_iter().chain(ahead).for_each(|number| self.finish_busy(number));
        self.log_mut(slot).partial_reads -= partial;
        self.fetches.readers.forget_places_in(slot);
        self.fetches.indexes.retain(|&(of, _, base)| of != slot || base < base_offset);
    }

    /// Ends all reads and lookups of a log that is being deleted.
    pub(super) fn fail_fetches_of(&mut self, slot: Slot) {
        let mut numbers: Vec<u64> =
            self.fetches.tasks.iter().filter(|(_, task)| task.slot == slot).map(|(&number, _)| number).collect();
        numbers.sort_unstable();
        for number in numbers {
            // The end of one that was read ahead may have ended another.
            if self.fetches.tasks.contains_key(&number) {
                self.finish_failed(number);
            }
        }
    }
}

fn place_of(index: &Index, kind: Kind) -> Option<Position> {
    match kind {
        Kind::Read { wanted, .. } => Some(index.lookup_offset(wanted.offset)),
        Kind::Lookup(goal) => index.lookup_timestamp(goal.timestamp),
        Kind::Ahead { .. } => unreachable!("what is read ahead has a position"),
    }
}

const _: () = assert!(super::BATCH_BYTES_MAX + BLOCK_BYTES <= REGION_FOR_BATCH_BYTES);
