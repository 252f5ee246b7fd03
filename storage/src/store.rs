//! One shard's logs in one data directory, and the journals that make them durable: a state machine without I/O and
//! without a clock.
//!
//! ```text
//! append ─► validate ─► tail (memory) ─► journal group ─► Event::Durable
//!                          │                  (acknowledged from here on)
//!                          └─► round: whole blocks to segments ─► sync ─► checkpoint ─► extents free again
//!
//! read ─► tail, or segment file through the index
//! ```
//!
//! A turn: [`Store::complete`] what ended, calls by the shard, [`Store::step`], [`Store::next_event`] until none,
//! [`Store::requests`].

mod append;
mod cleanup;
pub mod compaction;
pub(crate) mod damage;
pub(crate) mod deferred;
mod expiry;
mod fetch;
pub(crate) mod files;
mod journaling;
mod large;
pub mod metrics;
pub mod outcome;
pub(crate) mod purpose;
mod quiet;
mod read;
mod recompress;
mod records;
mod round;
pub(crate) mod scrub;
mod transactions;
pub(crate) mod truncate;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::FxHashMap;

use crate::buffer::{Pool, Slice};
use crate::io::{Completion, DataDirectory, Done, Failure, Op, Request};
use crate::journal::{EXTENT_BYTES, Journal, format::Body, writer};
use crate::log::state::Log;
use crate::log::{Durability, LogConfig, LogId, Now, Slot};

pub use crate::epochs::EpochEnd;
pub use outcome::{
    Append, AppendToken, Event, Full, Lookup, LookupToken, Origin, Read, ReadRequest, ReadToken, ReaderId, Truncate,
    Truncated,
};

use cleanup::Removal;
use compaction::Compaction;
use damage::Damages;
use fetch::Fetches;
use files::Files;
use large::Large;
use purpose::Purpose;
use quiet::Quiet;
use round::Rounds;
use scrub::Scrub;
use truncate::Truncations;

/// The largest batch a log takes, whatever its configuration says: a batch fits a journal extent.
pub const BATCH_BYTES_MAX: usize = 8 << 20;
/// Most bytes a compressed batch may decompress to.
pub const DECOMPRESSED_BYTES_MAX: u64 = 128 << 20;
/// Bytes of appends that may wait for decompression or the disk.
const DEFERRED_BYTES_MAX: usize = 32 << 20;

/// When a log is quiet, in nanoseconds. Who appends more often than once a minute is never disturbed; who appends more rarely
/// pays a read of the last block, an image of it in the journal, and a write of it, four kilobytes each.
const QUIET_NS: u64 = 60_000_000_000;

/// What a shard's store may use.
#[derive(Debug, Clone)]
pub struct Options {
    /// Memory for appended records, in bytes: those not durable in their segments yet, and recent ones for reads.
    pub tail_bytes: usize,
    /// Memory for reads from disk, in bytes.
    pub buffer_bytes: usize,
    /// Files open at once, at about the most.
    pub open_files_max: usize,
    /// A checkpoint file of at least so many bytes is written anew when most of it is outdated.
    pub checkpoint_bytes_min: u64,
    /// Closed segments are read again at this rate, to find damage; with 0 they are not.
    pub scrub_bytes_per_second: u64,
    /// Bytes of a journal extent: whole mebibytes. The largest batch fits, or it cannot be journaled.
    pub journal_extent_bytes: u64,
    /// A batch of at least so many bytes goes straight to its segment; with `usize::MAX` none does.
    pub large_bytes_min: usize,
    /// Records that expire go at the next multiple of this time, so that old ones can still be read for a moment after
    /// they were written; with 1 they go at once. What is too much goes at once in any case.
    pub expiry_interval_ns: u64,
    /// A log to which nothing was appended for so long gives up its tail's memory; its last block goes to the segment,
    /// padded.
    pub quiet_ns: u64,
    /// What compaction may use.
    pub compaction: compaction::Settings,
    /// Whether files bypass the page cache (`O_DIRECT`).
    pub direct: bool,
    /// Whether the file system honours [`crate::io::Op::SyncAll`] (FUSE does not): one instead of many syncs.
    pub sync_all: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tail_bytes: 128 << 20,
            buffer_bytes: 64 << 20,
            open_files_max: 256,
            checkpoint_bytes_min: 4 << 20,
            scrub_bytes_per_second: 4 << 20,
            journal_extent_bytes: EXTENT_BYTES,
            large_bytes_min: 192 << 10,
            expiry_interval_ns: 1,
            quiet_ns: QUIET_NS,
            compaction: compaction::Settings::default(),
            direct: true,
            sync_all: false,
        }
    }
}

/// Who a store is within its data directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) directory: DataDirectory,
    pub(crate) shard: u32,
    pub(crate) incarnation: u64,
    pub(crate) directory_id: [u8; 16],
}

/// What is to be told, before it is.
#[derive(Debug)]
enum Queued {
    /// The log's durable end moved; told once with its newest value.
    Durable(Slot, LogId),
    Event(Event),
}

/// One shard's durable logs in one data directory.
#[derive(Debug)]
pub struct Store {
    options: Options,
    identity: Identity,
    tails: Pool,
    buffers: Pool,
    logs: Vec<Option<Box<Log>>>,
    free: Vec<Slot>,
    by_id: FxHashMap<LogId, Slot>,
    durable_journal: Journal,
    cached_journal: Journal,
    /// Rises with every snapshot a checkpoint takes; entries carry it.
    order: u64,
    files: Files<Purpose>,
    rounds: Rounds,
    large: Large,
    compaction: Compaction,
    fetches: Fetches,
    damages: Damages,
    scrub: Scrub,
    events: VecDeque<Queued>,
    /// Logs with appends that wait.
    deferred: VecDeque<Slot>,
    deferred_bytes: usize,
    next_append: u64,
    truncations: Truncations,
    /// Logs that are to go to their other journal.
    moving: Vec<(Slot, LogId)>,
    /// Logs by the time retention must look at them.
    due: BTreeSet<(u64, Slot)>,
    /// Logs by the time producers of theirs expire.
    expiries: BTreeSet<(u64, Slot)>,
    /// By how much the wall clock was ahead of the monotonic one when deadlines were last reckoned by both, in ms.
    clocks_apart_ms: Option<i64>,
    /// The next log whose deadlines are to be reckoned anew.
    reschedule_next: Option<usize>,
    /// By the time they are due.
    removals: BTreeMap<(u64, u64), Removal>,
    next_removal: u64,
    /// Bytes appended since the last round began.
    appended_bytes: usize,
    /// Tails that are durable in their files and kept for reads, oldest first.
    cached_tails: VecDeque<(Slot, LogId)>,
    quiet: Quiet,
    is_disk_full: bool,
    retry_at: Option<u64>,
    is_failed: bool,
    is_stopping: bool,
    now: Now,
}

impl Store {
    pub(crate) fn new(options: &Options, identity: Identity) -> Self {
        let journal = |durability| {
            let Identity { shard, incarnation, directory_id, .. } = identity;
            let (direct, extent_bytes) = (options.direct, options.journal_extent_bytes);
            Journal::new(writer::Identity { durability, shard, incarnation, directory_id, direct, extent_bytes })
        };
        Self {
            options: options.clone(),
            identity,
            tails: Pool::new(options.tail_bytes),
            buffers: Pool::new(options.buffer_bytes),
            logs: Vec::new(),
            free: Vec::new(),
            by_id: FxHashMap::default(),
            durable_journal: journal(Durability::Durable),
            cached_journal: journal(Durability::Cached),
            order: 1,
            files: Files::new(identity.directory, options.open_files_max),
            rounds: Rounds::new(options.checkpoint_bytes_min),
            large: Large::new(),
            compaction: Compaction::new(options.compaction, identity.directory_id, identity.incarnation),
            fetches: Fetches::new(identity.directory.first_token()),
            damages: Damages::default(),
            scrub: Scrub::new(options.scrub_bytes_per_second),
            events: VecDeque::new(),
            deferred: VecDeque::new(),
            deferred_bytes: 0,
            next_append: identity.directory.first_token(),
            truncations: Truncations::new(),
            moving: Vec::new(),
            due: BTreeSet::new(),
            expiries: BTreeSet::new(),
            clocks_apart_ms: None,
            reschedule_next: None,
            removals: BTreeMap::new(),
            next_removal: 0,
            appended_bytes: 0,
            cached_tails: VecDeque::new(),
            quiet: Quiet::new(options.quiet_ns),
            is_disk_full: false,
            retry_at: None,
            is_failed: false,
            is_stopping: false,
            now: Now { monotonic_ns: 0, wall_ms: 0 },
        }
    }

    /// Goes on in the extent that recovery wrote.
    pub(crate) fn resume_journal(&mut self, start: writer::Start) {
        self.durable_journal.resume(start);
    }

    /// Takes an extent of an earlier start into use; whether it is wanted.
    pub(crate) fn recycle_extent(&mut self, path: &std::path::Path) -> bool {
        self.durable_journal.recycle(path.to_path_buf())
    }

    /// Memory for appended records.
    pub(crate) fn tail_pool(&self) -> &Pool {
        &self.tails
    }

    /// Gives a log that recovery found a slot; it can be used once it is attached.
    pub(crate) fn adopt(&mut self, mut log: Log) -> Slot {
        let id = log.id;
        if log.tails.iter().any(|it| it.tail.start() < it.tail.end()) {
            self.quiet.watch(&mut log, self.now.monotonic_ns);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.logs.push(None);
            Slot::new(self.identity.directory, self.logs.len() - 1)
        });
        if log.segments.iter().any(|segment| segment.is_closed) {
            self.scrub.note_closed();
        }
        self.logs[slot.index()] = Some(Box::new(log));
        let before = self.by_id.insert(id, slot);
        assert!(before.is_none(), "a log has one slot");
        slot
    }

    /// Opens the log `id` with what recovery found of it, else empty. Its files lie in `logs/<directory>`, made
    /// at the first block written; `directory` is a file name, and counts only for a new log.
    pub fn attach(&mut self, id: LogId, directory: &str, config: LogConfig, now: Now) -> Slot {
        self.now = now;
        let slot = self.by_id.get(&id).copied().unwrap_or_else(|| self.adopt(Log::new(id, directory)));
        let log = self.log_mut(slot);
        assert!(!log.is_attached, "a log is attached once");
        log.is_attached = true;
        log.appended_ns = now.monotonic_ns;
        log.wanted_durability = config.durability;
        log.config = config;
        self.schedule_retention(slot);
        self.schedule_expiry(slot);
        self.schedule_compaction(slot);
        slot
    }

    /// The slot of an attached log.
    #[must_use]
    pub fn slot_of(&self, id: LogId) -> Option<Slot> {
        self.by_id.get(&id).copied().filter(|&slot| self.log(slot).is_attached)
    }

    /// Logs that recovery found and nobody attached: what remains of deleted ones, to be given to
    /// [`Store::discard`].
    #[must_use]
    pub fn unattached(&self) -> Vec<LogId> {
        self.logs.iter().flatten().filter(|log| !log.is_attached).map(|log| log.id).collect()
    }

    /// Deletes a log that was found and not attached.
    pub fn discard(&mut self, id: LogId, now: Now) {
        if let Some(&slot) = self.by_id.get(&id)
            && !self.log(slot).is_attached
        {
            self.delete(slot, now);
        }
    }

    /// Replaces the log's configuration.
    pub fn reconfigure(&mut self, slot: Slot, config: LogConfig, now: Now) {
        self.now = now;
        let log = self.log_mut(slot);
        let (id, before, wanted) = (log.id, log.config.durability, config.durability);
        log.config = LogConfig { durability: before, ..config };
        log.wanted_durability = wanted;
        if before != wanted {
            self.moving.push((slot, id));
            self.move_to_wanted_journals();
        }
        self.schedule_retention(slot);
        self.schedule_expiry(slot);
        self.schedule_compaction(slot);
    }

    fn log(&self, slot: Slot) -> &Log {
        self.logs[slot.index()].as_deref().expect("a slot is used between attach and delete")
    }

    fn log_mut(&mut self, slot: Slot) -> &mut Log {
        self.logs[slot.index()].as_deref_mut().expect("a slot is used between attach and delete")
    }

    /// The log if the slot is still its own.
    fn log_if(&mut self, slot: Slot, id: LogId) -> Option<&mut Log> {
        self.logs.get_mut(slot.index())?.as_deref_mut().filter(|log| log.id == id)
    }

    /// First offset of the log.
    #[must_use]
    pub fn start_offset(&self, slot: Slot) -> i64 {
        self.log(slot).start_offset
    }

    /// Offset the next record will get: the end of what is appended.
    #[must_use]
    pub fn end_offset(&self, slot: Slot) -> i64 {
        self.log(slot).end_offset
    }

    /// The offset after the last durable record.
    #[must_use]
    pub fn durable_end(&self, slot: Slot) -> i64 {
        self.log(slot).durable_end
    }

    /// Bytes of the log's batches.
    #[must_use]
    pub fn size_bytes(&self, slot: Slot) -> u64 {
        self.log(slot).size_bytes()
    }

    /// The leader epoch of the last batch; none if the log never had one.
    #[must_use]
    pub fn last_epoch(&self, slot: Slot) -> Option<i32> {
        self.log(slot).epochs.latest().map(|latest| latest.epoch)
    }

    /// Where `epoch` ended, as OffsetForLeaderEpoch answers (KIP-101, KIP-279).
    #[must_use]
    pub fn end_offset_for_epoch(&self, slot: Slot, epoch: i32) -> EpochEnd {
        let log = self.log(slot);
        log.epochs.end_offset_for(epoch, log.end_offset)
    }

    /// The epoch of the record at `offset`, if the log knows.
    #[must_use]
    pub fn epoch_of(&self, slot: Slot, offset: i64) -> Option<i32> {
        self.log(slot).epochs.epoch_of(offset)
    }

    /// The log's idempotent producers.
    #[must_use]
    pub fn producers(&self, slot: Slot) -> &crate::producers::Producers {
        &self.log(slot).producers
    }

    /// Asks how large and how full the file system is; [`Event::VolumeMeasured`] follows.
    pub fn measure_volume(&mut self) {
        self.files.request_name(Op::MeasureVolume, Purpose::Volume);
    }

    /// One bounded piece of background work, of about `budget` bytes.
    pub fn step(&mut self, now: Now, budget: usize) {
        self.now = now;
        if self.is_failed {
            return;
        }
        if self.retry_at.is_some_and(|at| at <= now.monotonic_ns) {
            self.retry_at = None;
            self.durable_journal.retry_fill();
            self.cached_journal.retry_fill();
            if !self.durable_journal.wants_fill() && !self.cached_journal.wants_fill() {
                // Nothing puts the disk to the test by itself: the next append does.
                self.after_progress();
            }
        }
        self.step_deferred(budget);
        self.step_searches(budget);
        self.resume_fetches();
        self.follow_wall_clock();
        self.run_due_retention();
        self.run_due_expiries();
        self.run_removals();
        self.move_to_wanted_journals();
        self.step_truncations();
        self.step_compaction(budget);
        self.step_quiet();
        self.step_round();
        self.step_scrub();
        self.release_memory();
    }

    /// Whether [`Store::step`] could go on at once. To be asked at the end of a turn: an append of that same turn may
    /// have left work.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let has_background_work = self.has_truncation_work() || self.compaction.has_work() || self.is_rescheduling();
        !self.is_failed && (self.has_deferred_work() || self.has_searches() || has_background_work)
    }

    /// What is to be done to files now: call at the end of each turn.
    pub fn requests(&mut self, out: &mut Vec<Request>) {
        if !self.is_failed {
            self.submit_large();
            self.submit_journals();
        }
        self.files.drain_into(out);
    }

    /// Takes the end of a request.
    pub fn complete(&mut self, completion: Completion, now: Now) {
        self.now = now;
        self.files.complete(completion);
        while let Some(ended) = self.files.next_ended() {
            if !self.is_failed {
                self.ended(ended.purpose, ended.result);
            }
        }
    }

    fn ended(&mut self, purpose: Purpose, result: Result<Done, Failure>) {
        match purpose {
            Purpose::Journal(durability) => {
                let result = result.map(|done| self.journal_of(durability).reuse_pieces(done));
                self.group_written(durability, result);
            }
            Purpose::Fill(durability) => self.extent_filled(durability, result.map(drop)),
            Purpose::Round => self.round_op_ended(result.map(drop)),
            Purpose::Compaction(piece) => self.compaction_ended(piece, result),
            Purpose::Large(number) => self.large_ended(number, result.map(drop)),
            Purpose::Fetch(task) => self.fetched(task, result),
            Purpose::Scrub => self.scrubbed(result),
            Purpose::LastBlock(slot, id) => self.last_block_read(slot, id, result),
            Purpose::Removal => self.removed(),
            Purpose::Truncation(slot, id) => self.truncation_op_ended(slot, id, result),
            Purpose::Volume => self.push(Event::VolumeMeasured(match result {
                Ok(Done::Measured(volume)) => Some(volume),
                Ok(_) | Err(_) => None,
            })),
            Purpose::Forgotten => {}
        }
    }

    /// The next thing that happened.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            match self.events.pop_front()? {
                Queued::Event(event) => return Some(event),
                Queued::Durable(slot, id) => {
                    if let Some(log) = self.log_if(slot, id) {
                        log.has_durable_event = false;
                        if log.truncation.as_ref().is_some_and(|it| it.is_cut()) {
                            // It went back; the truncation's own event tells.
                            continue;
                        }
                        return Some(Event::Durable { slot, end_offset: log.durable_end });
                    }
                }
            }
        }
    }

    /// When [`Store::step`] has something to do by the clock, in monotonic nanoseconds.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        if self.is_failed {
            return None;
        }
        let retention = self.due.first().map(|&(at, _)| at);
        let expiry = self.expiries.first().map(|&(at, _)| at);
        // While they rest, what they wait for ends with a completion.
        let removal = self.removals.first_key_value().map(|(&(at, _), _)| at).filter(|_| self.may_remove());
        let background = [self.round_retry_at(), self.scrub_at(), self.compaction_deadline(), self.fetches.next_at()];
        let by_clock = [retention, expiry, removal, self.retry_at, self.quiet.next_at()];
        by_clock.into_iter().chain(background).flatten().min()
    }

    /// Stops taking appends and makes everything durable, so that the next start is quick.
    pub fn begin_stop(&mut self) {
        self.is_stopping = true;
    }

    /// Whether the stop is complete and nothing is in flight. On a full disk what was not durable yet stays so.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let is_journaled = self.durable_journal.is_idle() && self.cached_journal.is_idle() && self.large.is_idle();
        let is_written = is_journaled && self.truncations.is_idle() && self.rounds.is_final_done();
        // A store that has given up steps no compaction any more, so that none ends.
        if !self.compaction.is_idle() && !self.is_failed {
            return false;
        }
        let cannot_go_on = self.is_failed || self.is_disk_full;
        self.is_stopping && self.files.is_idle() && (cannot_go_on || (is_written && !self.rounds.is_active()))
    }

    /// Memory in use for appended records and for reads, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.tails.used_bytes() + self.buffers.used_bytes()
    }

    fn push(&mut self, event: Event) {
        self.events.push_back(Queued::Event(event));
    }

    /// Stops for good: nothing that was appended and is not durable will be. Appends and reads under way end as failed;
    /// what is in flight is waited for, and the directory is not touched any more.
    pub fn give_up(&mut self) {
        self.is_failed = true;
        self.files.give_up();
        let mut slots: Vec<Slot> = self.by_id.values().copied().collect();
        slots.sort_unstable();
        for slot in slots {
            self.fail_deferred(slot);
            self.fail_fetches_of(slot);
        }
    }

    /// Whether the store has stopped for good.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.is_failed
    }

    fn fail(&mut self, error: crate::Error) {
        if !self.is_failed {
            self.is_failed = true;
            self.push(Event::Fatal(error));
        }
    }

    fn journal_of(&mut self, durability: Durability) -> &mut Journal {
        match durability {
            Durability::Durable => &mut self.durable_journal,
            Durability::Cached => &mut self.cached_journal,
        }
    }
}

/// Bytes that an entry in the journal holds.
fn shared(slice: Slice) -> writer::Bytes {
    writer::Bytes::Shared(slice)
}

type EntryBody = Body<writer::Bytes>;

/// Recovery makes the stores on one thread, and each goes to its shard's.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Store>();
};
