//! The partitions placed on a shard: appends, reads and look-ups against the shard's store, and who waits for a commit.
//!
//! ```text
//! append ─► store (appended) ─► journal ─► Event::Durable ─► replica (committed) ─► waiters, watchers
//! ```

use replication::replica::Replica;
use rustc_hash::{FxHashMap, FxHashSet};
use storage::LogId;
use storage::Slot;
use storage::buffer::Slice;
use storage::io::DataDirectory;
use storage::store::{
    Append, AppendToken, EpochEnd, Event, Lookup, LookupToken, Origin, Read, ReadRequest, ReadToken, ReaderId,
};

use super::Shard;
use super::mail::{AppendAnswer, Query, QueryAnswer, QueryItem, ReadAnswer, ReadItem};
use super::metrics::Moved;
use super::pending::Key;
use crate::error_code::ErrorCode;
use crate::outcome;

/// One partition of this shard.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) log: LogId,
    pub(crate) slot: Slot,
    pub(crate) replica: Replica<CommitWaiter, Watcher>,
    /// What producers appended since the start.
    pub(crate) produced: Moved,
}

impl Partition {
    /// One that nothing was appended to since the start.
    pub(crate) fn new(log: LogId, slot: Slot, replica: Replica<CommitWaiter, Watcher>) -> Self {
        Self { log, slot, replica, produced: Moved::default() }
    }
}

/// Who is told when records are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitWaiter {
    /// A part of a produce request of this shard's table.
    Produce(PartOf),
    /// The controller: the metadata log is durable up to this offset.
    Controller(i64),
    /// The group coordinator of this partition of `__consumer_offsets`.
    Coordinator {
        /// The partition.
        partition: i32,
        /// What the coordinator called the append.
        token: u64,
    },
}

/// A part of a waiting request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartOf {
    pub(crate) request: Key,
    pub(crate) index: u32,
}

/// Who is told when the high watermark moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watcher {
    /// A parked fetch of this shard.
    Fetch(Key),
    /// A parked fetch of another shard.
    Peer {
        /// The other shard.
        shard: usize,
        /// Its request.
        request: Key,
    },
}

/// An append whose batch is still being validated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Validating {
    log: LogId,
    waiter: CommitWaiter,
    part: u32,
    acks: i16,
    /// Size of the batch as it came.
    bytes: usize,
}

/// A read that waits for the disk.
#[derive(Debug)]
struct Reading {
    part_of: PartOf,
    item: ReadItem,
    answer: ReadAnswer,
}

/// What an append came to for now.
#[derive(Debug)]
pub(crate) enum Appending {
    /// It has ended.
    Done(AppendAnswer),
    /// It ends with this answer once the waiter is released.
    Waits(AppendAnswer),
}

/// The partitions of a shard and what is under way in its store on their behalf.
#[derive(Debug)]
pub(crate) struct Partitions {
    slots: FxHashMap<LogId, Slot>,
    /// Those whose data directory is offline.
    offline: FxHashSet<LogId>,
    /// How many data directories there are.
    directories: usize,
    /// By place: the slots of all directories in turn.
    entries: Vec<Option<Partition>>,
    validating: FxHashMap<AppendToken, Validating>,
    reading: FxHashMap<ReadToken, Reading>,
    /// With the high watermark at the time, or the last stable offset: what lies beyond is not told.
    looking_up: FxHashMap<LookupToken, (PartOf, u32, i64)>,
}

impl Partitions {
    pub(crate) fn new(directories: usize) -> Self {
        Self {
            slots: FxHashMap::default(),
            offline: FxHashSet::default(),
            directories,
            entries: Vec::new(),
            validating: FxHashMap::default(),
            reading: FxHashMap::default(),
            looking_up: FxHashMap::default(),
        }
    }

    fn place(&self, slot: Slot) -> usize {
        slot.index() * self.directories + slot.directory().index()
    }

    pub(crate) fn insert(&mut self, log: LogId, partition: Partition) {
        let index = self.place(partition.slot);
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, || None);
        }
        assert!(self.entries[index].is_none(), "a slot belongs to one partition");
        self.slots.insert(log, partition.slot);
        self.entries[index] = Some(partition);
    }

    /// Takes note of a partition that belongs here and whose data directory is offline.
    pub(crate) fn insert_offline(&mut self, log: LogId) {
        self.offline.insert(log);
    }

    /// Gives up a partition whose data directory is offline.
    pub(crate) fn take_offline(&mut self, log: LogId) -> Option<Partition> {
        let partition = self.remove(log)?;
        self.offline.insert(log);
        Some(partition)
    }

    /// How many partitions are offline.
    pub(crate) fn offline_count(&self) -> usize {
        self.offline.len()
    }

    /// The logs in a data directory.
    pub(crate) fn logs_in(&self, directory: DataDirectory) -> Vec<LogId> {
        let inside = self.entries.iter().flatten().filter(|partition| partition.slot.directory() == directory);
        inside.map(|partition| partition.log).collect()
    }

    /// Why a partition is not here that somebody asks for.
    pub(crate) fn absence(&self, log: LogId) -> ErrorCode {
        if self.offline.contains(&log) { ErrorCode::KafkaStorageError } else { ErrorCode::UnknownTopicOrPartition }
    }

    fn refused(&self, log: LogId, part: u32) -> AppendAnswer {
        match self.absence(log) {
            error @ ErrorCode::KafkaStorageError => AppendAnswer::refused(
                part,
                error,
                "The partition's data directory is offline; the broker's log says why.",
            ),
            error => AppendAnswer::refused(part, error, "The partition was deleted while the request was under way."),
        }
    }

    pub(crate) fn remove(&mut self, log: LogId) -> Option<Partition> {
        self.offline.remove(&log);
        let slot = self.slots.remove(&log)?;
        let index = self.place(slot);
        self.entries[index].take()
    }

    pub(crate) fn get_mut(&mut self, log: LogId) -> Option<&mut Partition> {
        let index = self.place(*self.slots.get(&log)?);
        self.entries[index].as_mut()
    }

    fn slot(&self, log: LogId) -> Option<Slot> {
        self.slots.get(&log).copied()
    }

    /// Places of partitions, taken or not.
    pub(crate) fn places(&self) -> usize {
        self.entries.len()
    }

    /// The partition at a place, if there is one.
    pub(crate) fn by_place(&self, index: usize) -> Option<&Partition> {
        self.entries.get(index)?.as_ref()
    }

    pub(crate) fn at(&mut self, slot: Slot) -> Option<&mut Partition> {
        let index = self.place(slot);
        self.entries.get_mut(index)?.as_mut()
    }
}

impl Shard {
    /// Appends one batch. `part` is echoed in the answer; `waiter` is released once the batch is committed, unless the
    /// answer is there at once.
    pub(super) fn append(
        &mut self,
        log: LogId,
        records: &[u8],
        part: u32,
        waiter: CommitWaiter,
        acks: i16,
    ) -> Appending {
        let origin = match waiter {
            CommitWaiter::Produce(_) => Origin::Client,
            CommitWaiter::Controller(_) | CommitWaiter::Coordinator { .. } => Origin::Internal,
        };
        let Some(partition) = self.partitions.get_mut(log) else {
            return Appending::Done(self.partitions.refused(log, part));
        };
        let epoch = partition.replica.leader_epoch();
        let outcome = self.stores[partition.slot].append(partition.slot, records, origin, epoch, self.now.storage());
        if let Append::Validating(token) = outcome {
            let bytes = records.len();
            self.partitions.validating.insert(token, Validating { log, waiter, part, acks, bytes });
            return Appending::Waits(AppendAnswer::pending(part));
        }
        let slot = partition.slot;
        self.appended(slot, outcome, Validating { log, waiter, part, acks, bytes: records.len() })
    }

    fn appended(&mut self, slot: Slot, outcome: Append, append: Validating) -> Appending {
        let Validating { log, waiter, part, acks, bytes } = append;
        let Some(partition) = self.partitions.at(slot).filter(|partition| partition.log == log) else {
            return Appending::Done(self.partitions.refused(log, part));
        };
        if let (Append::Appended { base_offset, last_offset, .. }, CommitWaiter::Produce(_)) = (&outcome, waiter) {
            partition.produced.count(last_offset - base_offset + 1, bytes);
        }
        let (mut answer, end_offset) = outcome::append(part, outcome);
        if answer.error != ErrorCode::None {
            return Appending::Done(answer);
        }
        answer.log_start_offset = self.stores[slot].start_offset(slot);
        match end_offset {
            // acks=0 is owed nothing.
            Some(end_offset) if acks != 0 => match partition.replica.await_commit(end_offset, waiter) {
                Ok(()) => Appending::Waits(answer),
                Err(_) => Appending::Done(answer),
            },
            _ => Appending::Done(answer),
        }
    }

    /// Reads for one part of a request; nothing comes back while the disk is read.
    pub(super) fn read(&mut self, part_of: PartOf, item: ReadItem) -> Option<ReadAnswer> {
        let Some(partition) = self.partitions.get_mut(item.log) else {
            return Some(ReadAnswer::refused(item.part, self.partitions.absence(item.log)));
        };
        let leader_epoch = partition.replica.leader_epoch();
        let epoch_error = check_leader_epoch(item.current_leader_epoch, leader_epoch);
        if epoch_error != ErrorCode::None {
            return Some(ReadAnswer { leader_epoch, ..ReadAnswer::refused(item.part, epoch_error) });
        }
        let slot = partition.slot;
        let high_watermark = partition.replica.high_watermark();
        let mut answer = ReadAnswer {
            high_watermark,
            last_stable_offset: self.stores[slot].last_stable_offset(slot, high_watermark),
            log_start_offset: self.stores[slot].start_offset(slot),
            leader_epoch,
            ..ReadAnswer::refused(item.part, ErrorCode::None)
        };
        match self.divergence(slot, item, leader_epoch) {
            Divergence::None => {}
            Divergence::At(epoch, end_offset) => {
                answer.diverging = Some((epoch, end_offset));
                return Some(answer);
            }
            Divergence::Unknown => return Some(ReadAnswer::refused(item.part, ErrorCode::OffsetOutOfRange)),
        }
        let request = ReadRequest {
            offset: item.offset,
            max_bytes: item.max_bytes,
            at_least_one: item.at_least_one,
            limit_offset: if item.read_committed { answer.last_stable_offset } else { high_watermark },
            reader: ReaderId(item.reader),
        };
        match self.stores[slot].read(slot, request, &mut answer.records) {
            Read::Pending(token) => {
                self.partitions.reading.insert(token, Reading { part_of, item, answer });
                None
            }
            done => Some(self.finished(slot, item, answer, &done)),
        }
    }

    /// Whether the consumer's log and this one part (KIP-595).
    fn divergence(&self, slot: Slot, item: ReadItem, leader_epoch: i32) -> Divergence {
        if item.last_fetched_epoch < 0 {
            return Divergence::None;
        }
        match self.end_of_epoch(slot, item.last_fetched_epoch, leader_epoch) {
            None => Divergence::Unknown,
            Some(EpochEnd { epoch, end_offset }) if epoch < item.last_fetched_epoch || end_offset < item.offset => {
                Divergence::At(epoch, end_offset)
            }
            Some(_) => Divergence::None,
        }
    }

    /// Where an epoch ended, the current one where the log does; none for one that never was.
    fn end_of_epoch(&self, slot: Slot, epoch: i32, leader_epoch: i32) -> Option<EpochEnd> {
        if epoch == leader_epoch {
            return Some(EpochEnd { epoch, end_offset: self.stores[slot].end_offset(slot) });
        }
        let found = self.stores[slot].end_offset_for_epoch(slot, epoch);
        (epoch < leader_epoch && found.epoch >= 0).then_some(found)
    }

    /// Looks an offset up for one part of a request; nothing comes back while the disk is read.
    pub(super) fn query(&mut self, part_of: PartOf, item: QueryItem) -> Option<QueryAnswer> {
        let Some(partition) = self.partitions.get_mut(item.log) else {
            return Some(QueryAnswer::none(item.part, self.partitions.absence(item.log)));
        };
        let leader_epoch = partition.replica.leader_epoch();
        let epoch_error = check_leader_epoch(item.current_leader_epoch, leader_epoch);
        if epoch_error != ErrorCode::None {
            return Some(QueryAnswer::none(item.part, epoch_error));
        }
        let slot = partition.slot;
        let high_watermark = partition.replica.high_watermark();
        let store = &self.stores[slot];
        let limit_offset =
            if item.read_committed { store.last_stable_offset(slot, high_watermark) } else { high_watermark };
        let known = |offset, leader_epoch| QueryAnswer {
            offset,
            leader_epoch,
            ..QueryAnswer::none(item.part, ErrorCode::None)
        };
        let lookup = match item.query {
            Query::Latest => return Some(known(limit_offset, leader_epoch)),
            Query::Earliest => {
                let start = self.stores[slot].start_offset(slot);
                return Some(known(start, leader_epoch));
            }
            Query::EpochEnd(epoch) => return Some(self.epoch_end(slot, item.part, epoch, leader_epoch)),
            Query::Nothing => return Some(QueryAnswer::none(item.part, ErrorCode::None)),
            Query::MaxTimestamp => self.stores[slot].max_timestamp(slot),
            Query::Timestamp(target_ms) => self.stores[slot].find_timestamp(slot, target_ms),
        };
        match lookup {
            Lookup::Pending(token) => {
                self.partitions.looking_up.insert(token, (part_of, item.part, limit_offset));
                None
            }
            done => Some(outcome::lookup(item.part, done, limit_offset)),
        }
    }

    fn epoch_end(&self, slot: Slot, part: u32, epoch: i32, leader_epoch: i32) -> QueryAnswer {
        let none = QueryAnswer::none(part, ErrorCode::None);
        match self.end_of_epoch(slot, epoch, leader_epoch) {
            Some(EpochEnd { epoch, end_offset }) => QueryAnswer { offset: end_offset, leader_epoch: epoch, ..none },
            None => none,
        }
    }

    /// Hands on everything the store has to say.
    pub(super) fn drain_store(&mut self) {
        while let Some((directory, event)) = self.stores.next_event() {
            match event {
                Event::Durable { slot, end_offset } => self.durable(slot, end_offset),
                Event::AppendFinished { token, outcome, .. } => self.validated(token, outcome),
                Event::ReadFinished { token, slot, outcome, slices } => {
                    self.read_finished(token, slot, &outcome, slices);
                }
                Event::LookupFinished { token, outcome, .. } => {
                    if let Some((part_of, part, limit_offset)) = self.partitions.looking_up.remove(&token) {
                        self.query_answered(part_of, outcome::lookup(part, outcome, limit_offset));
                    }
                }
                Event::StartMoved { slot, .. } => self.start_moved(slot),
                Event::StartDurable { slot, start_offset } => self.start_durable(slot, start_offset),
                Event::VolumeMeasured(volume) => self.volume_measured(directory, volume),
                other => self.store_condition(directory, other),
            }
        }
    }

    fn durable(&mut self, slot: Slot, end_offset: i64) {
        let node = self.config.node_id;
        let Some(partition) = self.partitions.at(slot) else { return };
        if !partition.replica.member_durable(node, end_offset) {
            return;
        }
        let mut woken = std::mem::take(&mut self.woken);
        partition.replica.take_watchers(&mut woken);
        while let Some(waiter) = self.partitions.at(slot).and_then(|partition| partition.replica.next_committed()) {
            self.committed(waiter);
        }
        for watcher in woken.drain(..) {
            self.wake(watcher);
        }
        self.woken = woken;
    }

    fn committed(&mut self, waiter: CommitWaiter) {
        match waiter {
            CommitWaiter::Produce(part_of) => self.produce_committed(part_of),
            CommitWaiter::Controller(change) => self.metadata_committed(change),
            CommitWaiter::Coordinator { partition, token } => self.offsets_committed(partition, token),
        }
    }

    fn validated(&mut self, token: AppendToken, outcome: Append) {
        let Some(append) = self.partitions.validating.remove(&token) else { return };
        let appending = match self.partitions.slot(append.log) {
            Some(slot) => self.appended(slot, outcome, append),
            None => Appending::Done(self.partitions.refused(append.log, append.part)),
        };
        match (append.waiter, appending) {
            (CommitWaiter::Produce(part_of), Appending::Done(answer)) => self.produce_answered(part_of, answer),
            (CommitWaiter::Produce(part_of), Appending::Waits(answer)) => self.produce_appended(part_of, answer),
            (waiter, Appending::Done(answer)) if answer.error == ErrorCode::None => self.committed(waiter),
            (waiter, Appending::Done(answer)) => self.internal_append_failed(waiter, &answer),
            (_, Appending::Waits(_)) => {}
        }
    }

    fn read_finished(&mut self, token: ReadToken, slot: Slot, outcome: &Read, slices: Vec<Slice>) {
        let Some(Reading { part_of, item, mut answer }) = self.partitions.reading.remove(&token) else { return };
        answer.records = slices;
        let answer = self.finished(slot, item, answer, outcome);
        self.read_answered(part_of, answer);
    }

    /// The answer of a read that has ended; a failed one tells no offsets, as Kafka's does not.
    fn finished(&self, slot: Slot, item: ReadItem, answer: ReadAnswer, outcome: &Read) -> ReadAnswer {
        match (outcome::read(outcome), outcome) {
            (ErrorCode::None, &Read::Ready { next_offset, .. }) if item.read_committed => {
                let aborted = self.stores[slot].aborted_transactions(slot, item.offset, next_offset);
                ReadAnswer { next_offset, aborted, ..answer }
            }
            (ErrorCode::None, &Read::Ready { next_offset, .. }) => ReadAnswer { next_offset, ..answer },
            (ErrorCode::None, Read::Busy) => ReadAnswer { is_busy: true, ..answer },
            (ErrorCode::None, _) => answer,
            (error, _) => ReadAnswer::refused(answer.part, error),
        }
    }
}

/// What a consumer's last epoch says about its log and this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Divergence {
    None,
    /// They part where this epoch ended.
    At(i32, i64),
    /// The consumer has an epoch that never was here.
    Unknown,
}

/// Compares the epoch a client believes in with the leader's (KIP-320); -1 skips the check.
fn check_leader_epoch(believed: i32, leader_epoch: i32) -> ErrorCode {
    match believed {
        -1 => ErrorCode::None,
        older if older < leader_epoch => ErrorCode::FencedLeaderEpoch,
        newer if newer > leader_epoch => ErrorCode::UnknownLeaderEpoch,
        _ => ErrorCode::None,
    }
}
