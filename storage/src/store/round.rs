//! A round: moves appended records from memory to their segments, then makes a checkpoint, then frees the
//! journal's extents behind it. At most one is under way; everything in it is off the acknowledgement's path.
//!
//! ```text
//! Directories ► DirectoryNames ► Writes ► Lengths ► Syncs ► settle ► Journals ► JournalSyncs ► Records ► Names ► done
//!                                                             │
//!     tails' durable parts grow; partial blocks are copied forward in the journal; records are taken
//! ```
//!
//! A record may say only what is durable, so it is written when the journal has everything that was appended when
//! the record was taken. A partial block is copied forward in the journal once; the second time it is written to
//! its segment, padded, so that a quiet log holds neither journal nor memory.

mod plan;
mod settle;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use super::Store;
use super::files::{FileKey, FileOp};
use super::journaling::RETRY_NS;
use super::purpose::Purpose;
use super::read::LENT_PART;
use super::records::Writer;
use crate::Error;
use crate::io::{BLOCK_BYTES, Failure, Op, OpenMode};
use crate::journal::format::{FRAME_BYTES, IMAGE_HEAD_BYTES};
use crate::journal::writer::CARRIED_BYTES_MAX;
use crate::log::state::Log;
use crate::log::{LogId, Slot};
use crate::mutation::{self, Mutation};
use crate::segment::LOGS_DIRECTORY;

/// Operations of a round in flight at once.
const IN_FLIGHT_MAX: usize = 16;
/// A round begins when this part of the memory for tails was appended since the last one began.
const UNDRAINED_PART: usize = 4;
/// This part of it is kept at most of what is durable in segments, for reads of recent records.
const KEPT_PART: usize = 2;
const _: () = assert!(
    KEPT_PART * UNDRAINED_PART >= UNDRAINED_PART + 2 * KEPT_PART,
    "what is kept, what a round takes, and as much again that comes meanwhile, fit in the memory for tails"
);
const _: () = assert!(
    LENT_PART * UNDRAINED_PART >= 2 * LENT_PART + UNDRAINED_PART,
    "the same where nothing is kept, and readers hold all that they may"
);
/// Rounds that may fail in a row before the shard gives up.
const FAILURES_MAX: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Directories,
    DirectoryNames,
    Writes,
    Lengths,
    Syncs,
    Journals,
    JournalSyncs,
    Records,
    Names,
}

#[derive(Debug)]
enum RoundOp {
    Name(Op),
    File { key: FileKey, path: PathBuf, mode: OpenMode, op: FileOp },
}

/// A piece of a log that the round brings to disk.
#[derive(Debug)]
struct Drained {
    slot: Slot,
    id: LogId,
    base_offset: i64,
    /// Up to where the segment is durable when the syncs are done.
    durable: u64,
    /// Index entries and bytes on disk then.
    index: Option<(u32, u64)>,
    /// Entries that the index of aborted transactions has on disk then.
    transactions: Option<u32>,
    /// The file gets its exact length.
    is_closed: bool,
}

/// A deleted log that a start would find again if no record said so.
#[derive(Debug, Clone)]
struct Deleted {
    directory: Arc<str>,
    /// The start's base checkpoint has the log.
    is_in_base: bool,
}

#[derive(Debug)]
struct Round {
    phase: Phase,
    queue: VecDeque<RoundOp>,
    in_flight: usize,
    failure: Option<Failure>,
    logs: Vec<(Slot, LogId)>,
    deleted: BTreeMap<LogId, Deleted>,
    /// Logs whose directory this round makes.
    made: BTreeSet<Slot>,
    drained: Vec<Drained>,
    touched: Vec<(FileKey, PathBuf)>,
    /// Writes of large appends that do a part of the round's work.
    awaited: Vec<u64>,
    /// Logs whose records tell of appends that no journal has yet, and their end offsets.
    promised: Vec<(Slot, LogId, i64)>,
    named: BTreeSet<PathBuf>,
    /// The newest extent that each journal may free.
    retire: [Option<u64>; 2],
    /// Sequences that the journals must have made durable before the records count.
    targets: [u64; 2],
    is_memory_spent: bool,
    /// Its logs' last blocks are more than the journal takes.
    is_carried_to_segments: bool,
    /// Of its logs, those whose last blocks go to their segments because nobody appends to them.
    quiet: BTreeSet<LogId>,
    /// No record may rely on extents of the cached journal that could not be synced: everything goes to segments.
    is_cache_distrusted: bool,
    is_final: bool,
}

/// What brings rounds about, and the one under way.
#[derive(Debug)]
pub(super) struct Rounds {
    active: Option<Round>,
    writer: Writer,
    rolled: BTreeSet<Slot>,
    /// Deleted, and not in the checkpoint as such.
    deleted: BTreeMap<LogId, Deleted>,
    /// Deleted, and in the checkpoint as such: a file that is written anew must say it again as long as the base or
    /// an extent names the log.
    tombstones: BTreeMap<LogId, Deleted>,
    is_memory_spent: bool,
    failures: u32,
    /// The last round was refused for want of room.
    is_refused: bool,
    not_before_ns: u64,
    is_final_done: bool,
    /// Rounds that were finished, and that were given up, since the start.
    counted: (u64, u64),
}

impl Rounds {
    pub(super) fn new(checkpoint_bytes_min: u64) -> Self {
        Self {
            active: None,
            writer: Writer::new(checkpoint_bytes_min),
            rolled: BTreeSet::new(),
            deleted: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            is_memory_spent: false,
            failures: 0,
            is_refused: false,
            not_before_ns: 0,
            is_final_done: false,
            counted: (0, 0),
        }
    }

    /// Rounds that were finished, and that were given up, since the start.
    pub(super) fn counted(&self) -> (u64, u64) {
        self.counted
    }

    pub(super) fn is_active(&self) -> bool {
        self.active.is_some()
    }

    pub(super) fn is_final_done(&self) -> bool {
        self.is_final_done
    }

    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// A segment was closed.
    pub(super) fn note_rolled(&mut self, slot: Slot) {
        self.rolled.insert(slot);
    }

    /// A log was deleted: its record must say so.
    pub(super) fn note_deleted(&mut self, log: &Log) {
        let deleted = Deleted { directory: Arc::clone(&log.directory), is_in_base: log.is_in_base };
        self.deleted.insert(log.id, deleted);
    }

    /// An append found no memory.
    pub(super) fn note_memory_spent(&mut self) {
        self.is_memory_spent = true;
    }
}

impl Store {
    /// Starts a round if one is due, or goes on with the one under way.
    pub(super) fn step_round(&mut self) {
        if self.is_failed {
            return;
        }
        if self.rounds.active.is_none() {
            if !self.is_round_due() {
                return;
            }
            self.start_round();
        }
        while let Some(round) = &mut self.rounds.active {
            while round.in_flight < IN_FLIGHT_MAX && round.failure.is_none() {
                let Some(op) = round.queue.pop_front() else { break };
                round.in_flight += 1;
                match op {
                    RoundOp::Name(op) => self.files.request_name(op, Purpose::Round),
                    RoundOp::File { key, path, mode, op } => self.files.request(key, || path, mode, op, Purpose::Round),
                }
            }
            if round.in_flight > 0 || (round.failure.is_none() && !round.queue.is_empty()) {
                return;
            }
            if let Some(failure) = round.failure {
                self.abort_round(failure);
                return;
            }
            if !self.next_phase() {
                return;
            }
        }
    }

    fn is_round_due(&self) -> bool {
        self.now.monotonic_ns >= self.rounds.not_before_ns && self.wants_round() && !self.has_cut_due()
    }

    /// When a round that was given up is tried again, if that is still to come.
    pub(super) fn round_retry_at(&self) -> Option<u64> {
        let at = self.rounds.not_before_ns;
        let is_waited_for = at > self.now.monotonic_ns && !self.is_failed && self.rounds.active.is_none();
        (is_waited_for && self.wants_round()).then_some(at)
    }

    fn wants_round(&self) -> bool {
        let rounds = &self.rounds;
        self.durable_journal.used_extents() + self.cached_journal.used_extents() > 0
            || self.appended_bytes >= self.options.tail_bytes / UNDRAINED_PART
            || !rounds.rolled.is_empty()
            || self.quiet.wants_round()
            || rounds.is_memory_spent
            || rounds.is_refused
            || self.cached_journal.has_distrusted()
            || (self.is_stopping && !rounds.is_final_done)
    }

    fn start_round(&mut self) {
        let mut slots = std::mem::take(&mut self.rounds.rolled);
        let quiet = self.quiet.take();
        slots.extend(quiet.iter().filter_map(|id| self.by_id.get(id)));
        let mut retire = [None; 2];
        let is_final = self.is_stopping;
        for (at, journal) in [&self.durable_journal, &self.cached_journal].into_iter().enumerate() {
            if let Some((ordinal, logs)) = journal.retiring() {
                retire[at] = Some(ordinal);
                slots.extend(logs.iter().filter_map(|id| self.by_id.get(id)));
            }
            if is_final {
                slots.extend(journal.touched().iter().filter_map(|id| self.by_id.get(id)));
            }
        }
        let is_cache_distrusted = self.cached_journal.has_distrusted();
        if is_cache_distrusted {
            slots.extend(self.cached_journal.touched().iter().filter_map(|id| self.by_id.get(id)));
        }
        let is_memory_spent = std::mem::take(&mut self.rounds.is_memory_spent);
        if is_memory_spent || self.appended_bytes >= self.options.tail_bytes / UNDRAINED_PART {
            let has_much = |log: &Log| {
                log.is_referred
                    || log
                        .tails
                        .iter()
                        .any(|it| it.tail.whole_blocks() > 0 || (is_memory_spent && !it.tail.is_durable()))
            };
            slots.extend(self.by_id.values().filter(|slot| self.logs[slot.index()].as_deref().is_some_and(has_much)));
        }
        self.appended_bytes = 0;
        let is_carried_to_segments = retire.iter().any(Option::is_some) && self.carries_too_much(slots.iter().copied());
        let logs = slots.into_iter().filter_map(|slot| Some((slot, self.logs[slot.index()].as_ref()?.id))).collect();
        self.rounds.active = Some(Round {
            phase: Phase::Directories,
            queue: VecDeque::new(),
            in_flight: 0,
            failure: None,
            logs,
            deleted: std::mem::take(&mut self.rounds.deleted),
            made: BTreeSet::new(),
            drained: Vec::new(),
            touched: Vec::new(),
            awaited: Vec::new(),
            promised: Vec::new(),
            named: BTreeSet::new(),
            retire,
            targets: [0; 2],
            is_memory_spent,
            is_carried_to_segments,
            quiet,
            is_cache_distrusted,
            is_final,
        });
        self.plan_directories();
    }

    /// Whether the blocks that logs would have copied forward are more than a round may give the journal.
    fn carries_too_much(&self, slots: impl Iterator<Item = Slot>) -> bool {
        let logs = slots.filter_map(|slot| self.logs[slot.index()].as_deref());
        let tails: usize = logs.map(|log| log.tails.iter().filter(|it| !it.tail.is_durable()).count()).sum();
        tails * (IMAGE_HEAD_BYTES + FRAME_BYTES + BLOCK_BYTES) > CARRIED_BYTES_MAX
    }

    /// Does what stands between two phases; whether the round goes on now.
    fn next_phase(&mut self) -> bool {
        let round = self.rounds.active.as_mut().expect("only called with a round under way");
        match round.phase {
            Phase::Directories => {
                round.phase = Phase::DirectoryNames;
                if !round.made.is_empty() {
                    self.queue(RoundOp::Name(Op::SyncDirectory { path: LOGS_DIRECTORY.into() }));
                }
            }
            Phase::DirectoryNames => {
                round.phase = Phase::Writes;
                self.plan_writes();
            }
            Phase::Writes => {
                round.phase = Phase::Lengths;
                self.plan_lengths();
            }
            Phase::Lengths => {
                round.phase = Phase::Syncs;
                self.plan_syncs();
            }
            Phase::Syncs => {
                if round.awaited.iter().any(|&number| self.large.is_in_flight(number)) {
                    return false;
                }
                round.phase = Phase::Journals;
                self.settle();
            }
            Phase::Journals => {
                // What a log promised that was deleted since never comes: that it is gone must be durable instead.
                let is_there = |&(slot, id, _): &(Slot, LogId, i64)| {
                    self.logs[slot.index()].as_deref().is_some_and(|log| log.id == id)
                };
                if !round.promised.iter().all(is_there) {
                    round.promised.retain(is_there);
                    round.targets = [self.durable_journal.pushed(), self.cached_journal.pushed()];
                }
                let [durable, cached] = round.targets;
                let is_behind =
                    self.durable_journal.durable_before() < durable || self.cached_journal.durable_before() < cached;
                if is_behind && !mutation::is(Mutation::RecordBeforeJournal) {
                    return false;
                }
                let is_owed = |&(slot, id, end): &(Slot, LogId, i64)| {
                    let log = self.logs[slot.index()].as_deref().filter(|log| log.id == id);
                    log.is_some_and(|log| log.durable_end < end)
                };
                if round.promised.iter().any(is_owed) && !mutation::is(Mutation::ForgetPromises) {
                    return false;
                }
                round.phase = Phase::JournalSyncs;
                round.in_flight += self.cached_journal.sync(&mut self.files);
            }
            Phase::JournalSyncs | Phase::Records => {
                if round.phase == Phase::JournalSyncs {
                    self.cached_journal.synced();
                }
                round.phase = Phase::Records;
                let (writer, files) = (&mut self.rounds.writer, &mut self.files);
                match writer.write_next(self.identity, self.options.direct, files) {
                    Some(requests) => round.in_flight += requests,
                    None => {
                        round.phase = Phase::Names;
                        round.in_flight += writer.sync_name(files);
                    }
                }
            }
            Phase::Names => self.finish_round(),
        }
        true
    }

    fn queue(&mut self, op: RoundOp) {
        self.rounds.active.as_mut().expect("a round is under way").queue.push_back(op);
    }

    /// A large append's write failed: what the round left to it is still in the journal alone.
    pub(super) fn large_write_failed(&mut self, number: u64) {
        if self.rounds.active.as_ref().is_some_and(|round| round.awaited.contains(&number)) {
            self.leave_extents();
        }
    }

    /// Whether the round has planned to write to a segment and is not through with it.
    pub(super) fn is_written_by_round(&self, slot: Slot, base_offset: i64) -> bool {
        let drained = self.rounds.active.iter().flat_map(|round| &round.drained);
        drained.into_iter().any(|it| (it.slot, it.base_offset) == (slot, base_offset))
    }

    /// The round's logs that are still there.
    fn round_slots(&self) -> Vec<Slot> {
        let round = self.rounds.active.as_ref().expect("a round is under way");
        let is_there = |&&(slot, id): &&(Slot, LogId)| self.logs[slot.index()].as_ref().is_some_and(|log| log.id == id);
        round.logs.iter().filter(is_there).map(|&(slot, _)| slot).collect()
    }

    pub(super) fn round_op_ended(&mut self, result: Result<(), Failure>) {
        let round = self.rounds.active.as_mut().expect("the round waits for its operations");
        round.in_flight -= 1;
        if let Err(failure) = result
            && !mutation::is(Mutation::IgnoreFailure)
        {
            round.failure.get_or_insert(failure);
        }
        self.step_round();
    }

    fn finish_round(&mut self) {
        self.free_extents();
        let round = self.rounds.active.take().expect("a round is under way");
        self.rounds.writer.finished(self.identity, &mut self.files);
        for &(slot, id) in &round.logs {
            // Not when the records are taken: entries that follow may be durable before them.
            if let Some(log) = self.log_if(slot, id) {
                log.is_directory_journaled = true;
                log.is_unrecorded = false;
                self.obsolete_recorded(slot, id, true);
                self.schedule_compaction(slot);
            }
        }
        self.rounds.counted.0 += 1;
        self.rounds.tombstones.extend(round.deleted);
        self.rounds.failures = 0;
        self.rounds.is_refused = false;
        self.rounds.is_final_done = round.is_final;
        self.release_quiet(round.quiet);
        self.release_memory();
        self.after_progress();
    }

    /// Frees the extents that the round makes unnecessary.
    fn free_extents(&mut self) {
        let [durable, cached] = self.rounds.active.as_ref().expect("a round is under way").retire;
        if let Some(ordinal) = durable {
            self.durable_journal.free_until(ordinal, &mut self.files);
        }
        if let Some(ordinal) = cached {
            self.cached_journal.free_until(ordinal, &mut self.files);
        }
    }

    /// Gives the round up: nothing of it counts, all of it is done again later.
    fn abort_round(&mut self, failure: Failure) {
        let round = self.rounds.active.take().expect("a round is under way");
        if round.phase == Phase::JournalSyncs {
            self.cached_journal.distrust();
        }
        self.rounds.rolled.extend(round.logs.iter().map(|&(slot, _)| slot));
        round.logs.iter().for_each(|&(slot, id)| self.obsolete_recorded(slot, id, false));
        self.rounds.deleted.extend(round.deleted);
        self.quiet.put_back(round.quiet);
        self.rounds.is_memory_spent |= round.is_memory_spent;
        self.rounds.not_before_ns = self.now.monotonic_ns + RETRY_NS;
        self.rounds.writer.aborted();
        self.rounds.counted.1 += 1;
        if failure.is_full() {
            self.rounds.is_refused = true;
            self.set_disk_full();
            return;
        }
        self.rounds.failures += 1;
        tracing::error!(%failure, "writing segments or the checkpoint failed; trying again in a second");
        if self.rounds.failures >= FAILURES_MAX {
            self.fail(Error::failed(LOGS_DIRECTORY, "write", failure));
        }
    }

    /// Gives up durable memory beyond what reads of recent records may keep.
    pub(super) fn release_memory(&mut self) {
        self.release_memory_to(self.options.tail_bytes / KEPT_PART);
    }

    /// Makes room for an append.
    pub(super) fn release_memory_for(&mut self, bytes: usize) {
        self.release_memory_to(self.options.tail_bytes.saturating_sub(2 * bytes + (2 << 20)));
    }

    fn release_memory_to(&mut self, bytes: usize) {
        while self.tails.used_bytes() > bytes {
            let Some((slot, id)) = self.cached_tails.pop_front() else { break };
            let Some(log) = self.log_if(slot, id) else { continue };
            log.is_cached = false;
            log.tails.iter_mut().for_each(|it| it.tail.release());
        }
    }
}
