//! Large appends: whole blocks straight from the tail to the segment, so that they are written once.
//!
//! ```text
//! segment   0 ........ durable │ journaled │ held: a batch over the threshold, and whatever came after it │ end
//!                              └────────── one synced write ──────────┬───────┘
//!                                                                     └ image: in the Reference
//!
//! waiting ─► (Directory ─► DirectoryName) ─► Blocks ─► (Name) ─► Reference to the journal ─► Event::Durable
//!                                              │
//!                                              └ fails: its batches go to the journal as Appends
//! ```
//!
//! - A log has one such write at a time. What is appended to it meanwhile is held, so that its entries reach the
//!   journal in order, and goes with the next write, or to the journal if it is little.
//! - A write begins at the tail's durable end and so takes along what was journaled before: the durable part stays a
//!   prefix.
//! - The Reference is journaled after the blocks, the file's length and its names are durable.
//! - Wherever something is in the way (a round that writes to the segment, a reader of its last block, an image of that
//!   block that is not durable yet), the batches go through the journal as any other.

use std::collections::{BTreeMap, VecDeque};

use super::files::FileOp;
use super::journaling::end_of;
use super::purpose::Purpose;
use super::{EntryBody, Store, shared};
use crate::batch::Batch;
use crate::buffer::Slice;
use crate::io::{BLOCK_BYTES, Durability as Sync, Failure, Op, OpenMode};
use crate::journal::format::{self, Body, Place};
use crate::journal::writer::Bytes;
use crate::log::state::Held;
use crate::log::{Durability, LogId, Slot};
use crate::mutation::{self, Mutation};
use crate::segment::{LOGS_DIRECTORY, log_directory};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Writes of all logs in flight at once.
const IN_FLIGHT_MAX: usize = 4;
/// Bytes of batches in one write, unless its first batch alone has more.
const WRITE_BYTES_MAX: usize = 4 << 20;
/// Batches in one write: a Reference has the headers of all of them.
const BATCHES_MAX: usize = 256;

/// What is in flight for a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Directory,
    DirectoryName,
    Blocks,
    Name,
}

/// Batches on their way to a segment.
#[derive(Debug)]
struct Write {
    slot: Slot,
    id: LogId,
    segment: i64,
    step: Step,
    /// Where the blocks go; and they, until they are submitted.
    position: u64,
    blocks: Vec<Slice>,
    /// Up to where the file is durable when all is done.
    durable: u64,
    image: Slice,
    /// The entries that the journal gets if the write fails.
    appends: Vec<EntryBody>,
    /// Since when the first of them has waited.
    since_ns: u64,
    /// The journal has the batches by now, or the Reference: nothing follows from this write.
    is_superseded: bool,
}

/// All writes of a store.
#[derive(Debug)]
pub(super) struct Large {
    writes: BTreeMap<u64, Write>,
    next: u64,
    /// Logs that hold entries and have no write in flight, in their order.
    waiting: VecDeque<(Slot, LogId)>,
    counted: Counted,
}

/// Writes of large appends since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Those after which the journal got a reference.
    pub writes: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
    /// Those that failed, so that the journal got the batches.
    pub failed: u64,
}

impl Counted {
    /// Adds those of another store.
    pub(super) fn add(&mut self, other: Self) {
        self.writes += other.writes;
        self.bytes += other.bytes;
        self.failed += other.failed;
    }
}

/// The held Appends that one write could take.
#[derive(Debug, Clone, Copy)]
struct Run {
    count: usize,
    bytes: usize,
    place: Place,
    end: u64,
}

impl Large {
    pub(super) fn new() -> Self {
        Self { writes: BTreeMap::new(), next: 0, waiting: VecDeque::new(), counted: Counted::default() }
    }

    pub(super) fn counted(&self) -> Counted {
        self.counted
    }

    /// Whether nothing waits or is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.writes.is_empty() && self.waiting.is_empty()
    }

    /// Whether a log's directory may be in the making.
    pub(super) fn is_naming(&self) -> bool {
        self.writes.values().any(|write| write.step != Step::Blocks)
    }

    /// The segment that a write goes to.
    pub(super) fn segment_of(&self, number: u64) -> Option<i64> {
        self.writes.get(&number).map(|write| write.segment)
    }

    pub(super) fn is_in_flight(&self, number: u64) -> bool {
        self.writes.contains_key(&number)
    }

    /// Nothing is to follow from a write in flight.
    pub(super) fn supersede(&mut self, number: u64) {
        if let Some(write) = self.writes.get_mut(&number) {
            write.is_superseded = true;
        }
    }
}

impl Store {
    /// Whether an entry of the log must wait, for it is a large append or comes after one.
    pub(super) fn is_to_be_held(&self, slot: Slot, body: &EntryBody) -> bool {
        let log = self.log(slot);
        let follows = !log.held.is_empty() || log.large.is_some_and(|number| !self.large.writes[&number].is_superseded);
        let is_large =
            || matches!(body, Body::Append { batch, .. } if batch.as_ref().len() >= self.options.large_bytes_min);
        follows || (log.config.durability == Durability::Durable && is_large())
    }

    pub(super) fn hold(&mut self, slot: Slot, body: EntryBody) {
        let since_ns = self.now.monotonic_ns;
        let log = self.log_mut(slot);
        log.held.push_back(Held { body, since_ns });
        if log.held.len() == 1 && log.large.is_none() {
            let id = log.id;
            self.large.waiting.push_back((slot, id));
        }
    }

    /// Begins writes for what is held, or gives it to the journal. At the end of each turn.
    pub(super) fn submit_large(&mut self) {
        for _ in 0..self.large.waiting.len() {
            let Some((slot, id)) = self.large.waiting.pop_front() else { break };
            if self.log_if(slot, id).is_none() {
                continue;
            }
            self.let_go(slot);
            let log = self.log(slot);
            if log.large.is_none() && !log.held.is_empty() {
                self.large.waiting.push_back((slot, id));
            }
        }
    }

    /// Takes from a log's held entries until a write is in flight, or must wait for another log's.
    fn let_go(&mut self, slot: Slot) {
        while self.log(slot).large.is_none() {
            let Some(run) = self.first_run(slot) else {
                let Some(Held { body, since_ns }) = self.log_mut(slot).held.pop_front() else { return };
                self.push_entry_of(slot, body, since_ns);
                continue;
            };
            if run.bytes < self.options.large_bytes_min || !self.may_write(slot, &run) {
                for _ in 0..run.count {
                    let Held { body, since_ns } = self.log_mut(slot).held.pop_front().expect("counted just now");
                    self.push_entry_of(slot, body, since_ns);
                }
            } else if self.large.writes.len() < IN_FLIGHT_MAX {
                self.begin_write(slot, &run);
            } else {
                return;
            }
        }
    }

    /// The Appends to one segment that a log holds before anything else; none if something else comes first.
    fn first_run(&self, slot: Slot) -> Option<Run> {
        let mut run: Option<Run> = None;
        for held in &self.log(slot).held {
            let Body::Append { place, batch, .. } = &held.body else { break };
            let bytes = batch.as_ref().len();
            if is_control(batch.as_ref()) {
                // A Reference would not say what it means.
                break;
            }
            let end = place.position + bytes as u64;
            run = Some(match run {
                None => Run { count: 1, bytes, place: *place, end },
                Some(run) if run.place.segment != place.segment => break,
                Some(run) if run.bytes + bytes > WRITE_BYTES_MAX || run.count == BATCHES_MAX => break,
                Some(run) => Run { count: run.count + 1, bytes: run.bytes + bytes, end, ..run },
            });
        }
        run
    }

    /// Whether nothing is in the way of a write, and it would write anything.
    fn may_write(&self, slot: Slot, run: &Run) -> bool {
        let log = self.log(slot);
        let segment = run.place.segment;
        let Some(tail) = log.tail_of(segment) else { return false };
        let has_blocks = run.end / BLOCK * BLOCK > tail.durable();
        let is_in_the_way = log.partial_reads > 0 || self.is_written_by_round(slot, segment);
        let is_durable = log.config.durability == Durability::Durable;
        let is_imaged = self.durable_journal.on_device_before() >= log.image_before;
        has_blocks && !is_in_the_way && is_durable && is_imaged
    }

    fn begin_write(&mut self, slot: Slot, run: &Run) {
        let log = self.log_mut(slot);
        let since_ns = log.held[0].since_ns;
        let appends: Vec<EntryBody> = log.held.drain(..run.count).map(|it| it.body).collect();
        let segment = run.place.segment;
        let tail = log.tail_of(segment).expect("a write may begin for a segment with a tail");
        let position = tail.durable();
        assert!(position.is_multiple_of(BLOCK), "a block that was written padded is reopened before an append");
        let durable = run.end / BLOCK * BLOCK;
        let blocks = tail.undurable_blocks_to(durable).into_iter().map(|(_, block)| block).collect();
        let image = tail.slice(durable, run.end);
        let id = log.id;
        let is_made = log.is_directory_made;
        let number = self.large.next;
        self.large.next += 1;
        self.log_mut(slot).large = Some(number);
        let step = if is_made { Step::Blocks } else { Step::Directory };
        let is_superseded = false;
        let write =
            Write { slot, id, segment, step, position, blocks, durable, image, appends, since_ns, is_superseded };
        self.large.writes.insert(number, write);
        self.submit_step(number);
        if mutation::is(Mutation::ReferBeforeCompletion) {
            let write = self.large.writes.get_mut(&number).expect("inserted above");
            write.is_superseded = true;
            let entry = reference(&write.appends, write.durable, write.image.clone());
            self.push_entry(slot, entry);
        }
    }

    fn submit_step(&mut self, number: u64) {
        let direct = self.options.direct;
        let write = self.large.writes.get_mut(&number).expect("a write under way");
        let (slot, id, segment) = (write.slot, write.id, write.segment);
        let purpose = Purpose::Large(number);
        let log = self.logs[slot.index()].as_deref().filter(|log| log.id == id).expect("looked at before");
        let op = match write.step {
            Step::Directory => Op::CreateDirectory { path: log_directory(&log.directory) },
            Step::DirectoryName => Op::SyncDirectory { path: LOGS_DIRECTORY.into() },
            Step::Name => Op::SyncDirectory { path: log_directory(&log.directory) },
            Step::Blocks => {
                let durability = if mutation::is(Mutation::SkipSync) { Sync::Buffered } else { Sync::Synced };
                let data = std::mem::take(&mut write.blocks);
                let op = FileOp::Write { position: write.position, data, durability };
                let mode = OpenMode { create: true, write: true, direct };
                let at = log.segment_index(segment).expect("a segment with a tail is there");
                let segment = &log.segments[at];
                let (key, path) = (segment.key(id), segment.path(&log.directory));
                return self.files.request(key, || path, mode, op, purpose);
            }
        };
        self.files.request_name(op, purpose);
    }

    /// A step of a write ended.
    pub(super) fn large_ended(&mut self, number: u64, result: Result<(), Failure>) {
        let write = self.large.writes.get_mut(&number).expect("a write ends once");
        let (slot, id, segment, step) = (write.slot, write.id, write.segment, write.step);
        let Some(log) = self.logs.get_mut(slot.index()).and_then(Option::as_deref_mut).filter(|log| log.id == id)
        else {
            // The log was deleted meanwhile.
            self.large.writes.remove(&number);
            return self.step_round();
        };
        if let Err(failure) = result {
            tracing::warn!(log = %id, segment, %failure, "a large write failed; its batches go to the journal instead");
            self.end_write(number, false);
            return self.step_round();
        }
        let at = log.segment_index(segment);
        let next = match step {
            Step::Directory => Some(Step::DirectoryName),
            Step::DirectoryName => {
                log.is_directory_made = true;
                Some(Step::Blocks)
            }
            Step::Blocks if mutation::is(Mutation::SkipDirectorySync) => None,
            Step::Blocks => at.is_some_and(|at| !log.segments[at].is_named).then_some(Step::Name),
            Step::Name => {
                if let Some(at) = at {
                    log.segments[at].is_named = true;
                }
                None
            }
        };
        match next {
            Some(next) => {
                write.step = next;
                self.submit_step(number);
            }
            None => {
                self.end_write(number, true);
                self.step_round();
                self.after_progress();
            }
        }
    }

    /// Journals what a write was for: that it is in its segment, or the batches themselves.
    fn end_write(&mut self, number: u64, is_written: bool) {
        let write = self.large.writes.remove(&number).expect("a write ends once");
        let Write { slot, id, segment, position, durable, image, appends, since_ns, is_superseded, .. } = write;
        let log = self.log_mut(slot);
        log.large = None;
        if !log.held.is_empty() {
            self.large.waiting.push_back((slot, id));
        }
        if is_written {
            self.is_durable_up_to(slot, segment, durable);
        } else {
            self.large_write_failed(number);
        }
        if is_superseded {
            return;
        }
        if is_written {
            self.large.counted.writes += 1;
            self.large.counted.bytes += durable - position;
            self.push_entry_of(slot, reference(&appends, durable, image), since_ns);
            self.log_mut(slot).is_referred = true;
        } else {
            self.large.counted.failed += 1;
            appends.into_iter().for_each(|body| self.push_entry_of(slot, body, since_ns));
        }
    }

    fn is_durable_up_to(&mut self, slot: Slot, segment: i64, durable: u64) {
        let log = self.log_mut(slot);
        let id = log.id;
        let Some(tail) = log.tail_of_mut(segment) else { return };
        if durable > tail.durable() {
            tail.set_durable(durable);
        }
        if !std::mem::replace(&mut log.is_cached, true) {
            self.cached_tails.push_back((slot, id));
        }
    }
}

fn is_control(batch: &[u8]) -> bool {
    Batch::first(batch).is_ok_and(|batch| batch.attributes().is_control())
}

/// The entry that says that batches are in their segment.
fn reference(appends: &[EntryBody], durable: u64, image: Slice) -> EntryBody {
    let mut batches = Vec::with_capacity(appends.len() * format::REFERRED_BYTES);
    for body in appends {
        let Body::Append { max_timestamp_delta, batch, .. } = body else { unreachable!("a write is made of Appends") };
        format::push_referred(&mut batches, batch.as_ref(), *max_timestamp_delta);
    }
    let Some(Body::Append { place, .. }) = appends.first() else { unreachable!("a write has a batch") };
    let entry = Body::Reference { place: *place, durable, batches: Bytes::Made(batches), image: shared(image) };
    assert_eq!(end_of(&entry), appends.last().and_then(end_of), "the Reference ends where its batches do");
    entry
}
