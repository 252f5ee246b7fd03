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

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use super::files::{FileKey, FileOp};
use super::journaling::RETRY_NS;
use super::purpose::Purpose;
use super::records::Writer;
use super::{Store, shared};
use crate::Error;
use crate::buffer::Slice;
use crate::checkpoint::record::JournalV1;
use crate::io::{BLOCK_BYTES, Durability, Failure, Op, OpenMode};
use crate::journal::Journal;
use crate::journal::format::{Body, Place};
use crate::log::state::{Log, tombstone};
use crate::log::{LogId, Slot};
use crate::segment::{LOGS_DIRECTORY, index_path, log_directory, segment_path};
use crate::tail::Placed;

/// Operations of a round in flight at once.
const IN_FLIGHT_MAX: usize = 16;
/// Bytes of one write to a segment.
const WRITE_BYTES_MAX: usize = 4 << 20;
/// From so many files on, one sync of the whole file system is cheaper, where it can be had.
const SYNC_ALL_FILES: usize = 32;
/// Entries that an active segment's index may lack on disk before it gets a chunk of them.
const INDEX_ENTRIES_UNWRITTEN_MAX: usize = 128;
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
    /// The file gets its exact length.
    is_closed: bool,
}

#[derive(Debug)]
struct Round {
    phase: Phase,
    queue: VecDeque<RoundOp>,
    in_flight: usize,
    failure: Option<Failure>,
    logs: Vec<(Slot, LogId)>,
    deleted: Vec<(LogId, Arc<str>)>,
    /// Logs whose directory this round makes.
    made: BTreeSet<Slot>,
    drained: Vec<Drained>,
    touched: Vec<(FileKey, PathBuf)>,
    named: BTreeSet<PathBuf>,
    /// The newest extent that each journal may free.
    retire: [Option<u64>; 2],
    /// Sequences that the journals must have made durable before the records count.
    targets: [u64; 2],
    is_memory_spent: bool,
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
    deleted: Vec<(LogId, Arc<str>)>,
    is_memory_spent: bool,
    failures: u32,
    /// The last round was refused for want of room.
    is_refused: bool,
    not_before_ns: u64,
    is_final_done: bool,
}

impl Rounds {
    pub(super) fn new(checkpoint_bytes_min: u64) -> Self {
        Self {
            active: None,
            writer: Writer::new(checkpoint_bytes_min),
            rolled: BTreeSet::new(),
            deleted: Vec::new(),
            is_memory_spent: false,
            failures: 0,
            is_refused: false,
            not_before_ns: 0,
            is_final_done: false,
        }
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
    pub(super) fn note_deleted(&mut self, id: LogId, directory: &Arc<str>) {
        self.deleted.push((id, Arc::clone(directory)));
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
        let rounds = &self.rounds;
        if self.now.monotonic_ns < rounds.not_before_ns {
            return false;
        }
        self.durable_journal.used_extents() + self.cached_journal.used_extents() > 0
            || self.appended_bytes >= self.options.tail_bytes / 4
            || !rounds.rolled.is_empty()
            || rounds.is_memory_spent
            || self.cached_journal.has_distrusted()
            || (self.is_stopping && !rounds.is_final_done)
    }

    fn start_round(&mut self) {
        let mut slots = std::mem::take(&mut self.rounds.rolled);
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
        if is_memory_spent || self.appended_bytes >= self.options.tail_bytes / 4 {
            let has_much = |log: &Log| {
                log.tails.iter().any(|it| it.tail.whole_blocks() > 0 || (is_memory_spent && !it.tail.is_durable()))
            };
            slots.extend(self.by_id.values().filter(|slot| self.logs[slot.index()].as_deref().is_some_and(has_much)));
        }
        self.appended_bytes = 0;
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
            named: BTreeSet::new(),
            retire,
            targets: [0; 2],
            is_memory_spent,
            is_cache_distrusted,
            is_final,
        });
        self.plan_directories();
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
                round.phase = Phase::Journals;
                self.settle();
            }
            Phase::Journals => {
                let [durable, cached] = round.targets;
                if self.durable_journal.durable_before() < durable || self.cached_journal.durable_before() < cached {
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

    /// The round's logs that are still there.
    fn round_slots(&self) -> Vec<Slot> {
        let round = self.rounds.active.as_ref().expect("a round is under way");
        let is_there = |&&(slot, id): &&(Slot, LogId)| self.logs[slot.index()].as_ref().is_some_and(|log| log.id == id);
        round.logs.iter().filter(is_there).map(|&(slot, _)| slot).collect()
    }

    fn plan_directories(&mut self) {
        for slot in self.round_slots() {
            let log = self.log(slot);
            let has_writes = log.tails.iter().any(|it| self.drain_to(log, it.base_offset) > it.tail.durable());
            if !log.is_directory_made && has_writes {
                let path = log_directory(&log.directory);
                self.queue(RoundOp::Name(Op::CreateDirectory { path }));
                self.rounds.active.as_mut().expect("a round is under way").made.insert(slot);
            }
        }
    }

    /// Up to where this round writes a segment: whole blocks, or everything of a closed one, of one that was
    /// copied forward before, or when memory is spent.
    fn drain_to(&self, log: &Log, base_offset: i64) -> u64 {
        let round = self.rounds.active.as_ref().expect("a round is under way");
        let tail = log.tail_of(base_offset).expect("asked for a tail there is");
        let is_closed = log.segments.back().is_some_and(|active| active.base_offset != base_offset);
        let is_retiring = round.retire.iter().any(Option::is_some);
        if is_closed || (log.is_carried && is_retiring) || round.is_memory_spent || round.is_cache_distrusted {
            tail.end()
        } else {
            tail.durable() + tail.whole_blocks()
        }
    }

    fn plan_writes(&mut self) {
        for slot in self.round_slots() {
            let log = self.log(slot);
            let round = self.rounds.active.as_ref().expect("a round is under way");
            if !log.is_directory_made && !round.made.contains(&slot) {
                // It had nothing to write when the directories were made. The next round takes it.
                continue;
            }
            let bases: Vec<i64> = log.tails.iter().map(|it| it.base_offset).collect();
            for base_offset in bases {
                self.plan_segment(slot, base_offset);
            }
        }
    }

    fn plan_segment(&mut self, slot: Slot, base_offset: i64) {
        let log = self.log(slot);
        let is_active = log.segments.back().is_some_and(|active| active.base_offset == base_offset);
        let Some(at) = log.segment_index(base_offset) else { return };
        let tail = log.tail_of(base_offset).expect("asked for a tail there is");
        if log.partial_reads > 0 && self.drain_to(log, base_offset) > tail.durable() {
            // A read of the block that would be written is in flight: another round frees the extents.
            self.rounds.rolled.insert(slot);
            self.leave_extents();
            return;
        }
        let mut durable = self.drain_to(log, base_offset);
        let mut is_left = false;
        let mut writes: Vec<Placed> = tail.undurable_blocks();
        if !durable.is_multiple_of(BLOCK_BYTES as u64) && durable > tail.durable() {
            match self.padded_block(tail.partial_block()) {
                Some(padded) => writes.push(padded),
                None => {
                    durable = tail.durable() + tail.whole_blocks();
                    is_left = true;
                }
            }
        }
        let is_closed = !is_active && durable == tail.end();
        let (id, directory) = (log.id, Arc::clone(&log.directory));
        let segment = &log.segments[at];
        let has_writes = !writes.is_empty();
        if !has_writes && !is_closed && !is_left {
            return;
        }
        let is_named = segment.is_named;
        let wants_index = is_closed && !segment.is_index_written()
            || segment.index_entries_unwritten() >= INDEX_ENTRIES_UNWRITTEN_MAX;
        let index = wants_index.then(|| {
            (
                segment.index_rest(),
                segment.index_bytes,
                segment.index.as_ref().map_or(0, |it| it.len() as u32),
                segment.is_index_named,
            )
        });
        if is_left {
            self.leave_extents();
        }
        let path = segment_path(&directory, base_offset);
        let key = FileKey::Segment(id, base_offset);
        let mode = OpenMode { create: true, write: true, direct: self.options.direct };
        for (position, data) in contiguous_writes(writes) {
            let op = FileOp::Write { position, data, durability: Durability::Buffered };
            self.queue(RoundOp::File { key, path: path.clone(), mode, op });
        }
        let index = index.and_then(|(rest, position, entries, is_index_named)| {
            let bytes = rest.len() as u64;
            let path = index_path(&directory, base_offset);
            self.plan_index(FileKey::Index(id, base_offset), &path, position, &rest)?;
            let round = self.rounds.active.as_mut().expect("a round is under way");
            round.touched.push((FileKey::Index(id, base_offset), path));
            if !is_index_named {
                round.named.insert(log_directory(&directory));
            }
            Some((entries, position + bytes))
        });
        let round = self.rounds.active.as_mut().expect("a round is under way");
        round.touched.push((key, path));
        if !is_named {
            round.named.insert(log_directory(&directory));
        }
        round.drained.push(Drained { slot, id, base_offset, durable, index, is_closed });
    }

    /// Something could not be written now: this round frees nothing.
    fn leave_extents(&mut self) {
        let round = self.rounds.active.as_mut().expect("a round is under way");
        round.retire = [None; 2];
        if round.is_cache_distrusted {
            // Its records would rely on what could not be synced.
            round.failure.get_or_insert(Failure { errno: libc::EAGAIN });
        }
    }

    /// Queues the write of a chunk of an index; nothing if there is no memory for it now.
    fn plan_index(&mut self, key: FileKey, path: &std::path::Path, position: u64, chunk: &[u8]) -> Option<()> {
        let mut data = Vec::new();
        for piece in chunk.chunks(1 << 20) {
            let mut buffer = self.buffers.allocate(piece.len())?;
            buffer[..piece.len()].copy_from_slice(piece);
            data.push(buffer.freeze(piece.len()));
        }
        // Chunks are not of whole blocks, so they go through the page cache.
        let mode = OpenMode { create: true, write: true, direct: false };
        let op = FileOp::Write { position, data, durability: Durability::Buffered };
        self.queue(RoundOp::File { key, path: path.to_path_buf(), mode, op });
        Some(())
    }

    /// A partial block with zeros to its end; nothing if there is no memory for it now.
    fn padded_block(&self, partial: Option<Placed>) -> Option<Placed> {
        let (position, bytes) = partial?;
        let mut buffer = self.buffers.allocate(BLOCK_BYTES)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        buffer[bytes.len()..BLOCK_BYTES].fill(0);
        Some((position, buffer.freeze(BLOCK_BYTES)))
    }

    /// Cuts closed segments to their exact length: what is padding for us would be damage to Kafka's tools.
    fn plan_lengths(&mut self) {
        let round = self.rounds.active.as_ref().expect("a round is under way");
        let closed: Vec<_> = round
            .drained
            .iter()
            .filter(|it| it.is_closed)
            .map(|it| (it.slot, it.id, it.base_offset, it.durable))
            .collect();
        let mode = OpenMode { create: true, write: true, direct: self.options.direct };
        for (slot, id, base_offset, length) in closed {
            let Some(log) = self.log_if(slot, id) else { continue };
            let path = segment_path(&log.directory, base_offset);
            self.queue(RoundOp::File {
                key: FileKey::Segment(id, base_offset),
                path,
                mode,
                op: FileOp::SetLength(length),
            });
        }
    }

    fn plan_syncs(&mut self) {
        let round = self.rounds.active.as_mut().expect("a round is under way");
        let touched = std::mem::take(&mut round.touched);
        let named = std::mem::take(&mut round.named);
        if self.options.sync_all && touched.len() >= SYNC_ALL_FILES {
            self.queue(RoundOp::Name(Op::SyncAll));
            return;
        }
        for (key, path) in touched {
            let direct = self.options.direct && matches!(key, FileKey::Segment(..));
            let mode = OpenMode { create: true, write: true, direct };
            self.queue(RoundOp::File { key, path, mode, op: FileOp::Sync });
        }
        for path in named {
            self.queue(RoundOp::Name(Op::SyncDirectory { path }));
        }
    }

    /// Takes note of what is durable now, copies partial blocks forward, and takes the records.
    fn settle(&mut self) {
        let round = self.rounds.active.as_mut().expect("a round is under way");
        let drained = std::mem::take(&mut round.drained);
        let is_retiring = round.retire.iter().any(Option::is_some) || round.is_cache_distrusted;
        for piece in drained {
            self.settle_segment(&piece);
        }
        let slots = self.round_slots();
        if is_retiring {
            for &slot in &slots {
                self.carry_forward(slot);
            }
        }
        let order = self.order;
        self.order += 1;
        self.expire_producers(&slots);
        let mut records: Vec<_> = slots.iter().map(|&slot| self.log(slot).record(order)).collect();
        // Also those deleted since the round began: nothing else tells of them when the extents are freed.
        let round = self.rounds.active.as_mut().expect("a round is under way");
        round.deleted.append(&mut self.rounds.deleted);
        records.extend(round.deleted.iter().map(|(id, directory)| tombstone(*id, directory, order)));
        let shard = self.identity.shard;
        let record = |is_cached, retire: Option<u64>, journal: &Journal| {
            let first_ordinal = retire.map_or(journal.oldest(), |last| last + 1);
            let first_sequence = journal.first_sequence_from(first_ordinal);
            JournalV1 { shard, is_cached, first_ordinal, first_sequence }
        };
        let journals = [
            record(false, round.retire[0], &self.durable_journal),
            record(true, round.retire[1], &self.cached_journal),
        ];
        if self.rounds.writer.wants_full_copy() {
            let all = self.logs.iter().flatten().map(|log| log.record(order));
            let deleted = records.into_iter().filter(|record| record.is_deleted);
            let records: Vec<_> = all.chain(deleted).collect();
            self.rounds.writer.begin_full_copy(&records, &journals);
        } else {
            self.rounds.writer.begin(&records, &journals);
        }
        for slot in slots {
            let log = self.log_mut(slot);
            log.is_directory_journaled = true;
            if log.tails.len() > 1 {
                self.rounds.rolled.insert(slot);
            }
        }
        let targets = [self.durable_journal.pushed(), self.cached_journal.pushed()];
        self.rounds.active.as_mut().expect("a round is under way").targets = targets;
    }

    /// Forgets idle producers of logs whose records are about to be taken.
    fn expire_producers(&mut self, slots: &[Slot]) {
        let now_ms = self.now.wall_ms;
        for &slot in slots {
            let log = self.log_mut(slot);
            let expiration_ms = i64::try_from(log.config.producer_id_expiration_ms).unwrap_or(i64::MAX);
            log.producers.expire(now_ms, expiration_ms);
        }
    }

    fn settle_segment(&mut self, piece: &Drained) {
        let Some(log) = self.log_if(piece.slot, piece.id) else { return };
        log.is_directory_made = true;
        let Some(at) = log.segment_index(piece.base_offset) else { return };
        let segment = &mut log.segments[at];
        segment.is_named = true;
        if let Some((entries, bytes)) = piece.index {
            segment.index_entries = entries;
            segment.index_bytes = bytes;
            segment.is_index_named = true;
        }
        let is_index_written = segment.is_index_written();
        segment.is_closed = piece.is_closed;
        let tail = log.tail_of_mut(piece.base_offset).expect("a round's segment keeps its tail");
        // What was written padded and has grown since is written again, from the block's start.
        let is_whole = piece.durable == tail.end();
        let durable = if is_whole { piece.durable } else { piece.durable / BLOCK_BYTES as u64 * BLOCK_BYTES as u64 };
        if durable > tail.durable() {
            tail.set_durable(durable);
        }
        if piece.is_closed && is_index_written {
            log.tails.retain(|it| it.base_offset != piece.base_offset);
            log.segments[at].index = None;
        } else if !std::mem::replace(&mut log.is_cached, true) {
            self.cached_tails.push_back((piece.slot, piece.id));
        }
    }

    /// Journals the first block that is not durable anew, so that the extents before are not needed for it. What
    /// lies behind that block was appended after the round began.
    fn carry_forward(&mut self, slot: Slot) {
        let log = self.log_mut(slot);
        let end_offset = log.end_offset;
        let mut images = Vec::new();
        for it in &log.tails {
            if let Some((position, image)) = it.tail.first_undurable_block() {
                log.is_carried = position + image.len() as u64 == it.tail.end();
                images.push((Place { segment: it.base_offset, position }, image));
            }
        }
        for (place, image) in images {
            self.journal(slot, Body::TailImage { place, end_offset, bytes: shared(image) });
        }
    }

    pub(super) fn round_op_ended(&mut self, result: Result<(), Failure>) {
        let round = self.rounds.active.as_mut().expect("the round waits for its operations");
        round.in_flight -= 1;
        if let Err(failure) = result {
            round.failure.get_or_insert(failure);
        }
        self.step_round();
    }

    fn finish_round(&mut self) {
        let round = self.rounds.active.take().expect("a round is under way");
        let [durable, cached] = round.retire;
        if let Some(ordinal) = durable {
            self.durable_journal.free_until(ordinal, &mut self.files);
        }
        if let Some(ordinal) = cached {
            self.cached_journal.free_until(ordinal, &mut self.files);
        }
        self.rounds.writer.finished(self.identity, &mut self.files);
        self.rounds.failures = 0;
        self.rounds.is_refused = false;
        self.rounds.is_final_done = round.is_final;
        self.release_memory();
        self.after_progress();
    }

    /// Gives the round up: nothing of it counts, all of it is done again later.
    fn abort_round(&mut self, failure: Failure) {
        let round = self.rounds.active.take().expect("a round is under way");
        if round.phase == Phase::JournalSyncs {
            self.cached_journal.distrust();
        }
        self.rounds.rolled.extend(round.logs.iter().map(|&(slot, _)| slot));
        self.rounds.deleted.extend(round.deleted);
        self.rounds.not_before_ns = self.now.monotonic_ns + RETRY_NS;
        self.retry_at.get_or_insert(self.now.monotonic_ns + RETRY_NS);
        self.rounds.writer.aborted();
        if failure.errno == libc::ENOSPC {
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
        self.release_memory_to(self.options.tail_bytes / 2);
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

/// Joins blocks that follow one another into writes of bounded size.
fn contiguous_writes(blocks: Vec<Placed>) -> Vec<(u64, Vec<Slice>)> {
    let mut writes: Vec<(u64, Vec<Slice>)> = Vec::new();
    let mut bytes = 0;
    for (position, block) in blocks {
        let length = block.len();
        match writes.last_mut() {
            Some((start, data)) if *start + bytes as u64 == position && bytes + length <= WRITE_BYTES_MAX => {
                data.push(block);
                bytes += length;
            }
            _ => {
                writes.push((position, vec![block]));
                bytes = length;
            }
        }
    }
    writes
}
