//! One seed: the stores of a node, their disk, time, and the crashes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use storage::buffer::Slice;
use storage::builder::{BatchBuilder, EndTransaction, NewRecord, Options as BatchOptions};
use storage::compression::Codec;
use storage::disk::Disk as _;
use storage::io::BLOCK_BYTES;
use storage::journal::format::{ExtentHeader, GROUP_HEADER_BYTES, GroupHeader};
use storage::recovery::Identity;
use storage::simulated::{Blocking, Disk, Faults, Latency, Owner, Queue, Random};
use storage::store::compaction::Settings;
use storage::store::metrics::Damage;
use storage::store::{
    Append, AppendToken, Event, Options, Origin, Read, ReadRequest, ReadToken, ReaderId, Store, Truncate, Truncated,
};
use storage::{Compaction, Durability, LogConfig, LogId, Now, Slot, batch};

use crate::model::{Compacted, Crash, Log, Sequence};

/// What a life consists of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) actions: u64,
    pub(crate) crash_per_million: u32,
    pub(crate) error_per_million: u32,
    pub(crate) capacity_bytes: u64,
    /// How many of 20 batches fill blocks of the journal.
    pub(crate) large_of_20: usize,
    /// Whether logs are compacted.
    pub(crate) compacts: bool,
    /// From how many bytes on batches go straight to their segment.
    pub(crate) large_bytes_min: usize,
    /// A journal's group that was called durable decays before some starts.
    pub(crate) decays: bool,
    /// Producers write in transactions.
    pub(crate) transactions: bool,
}

impl Plan {
    pub(crate) const CALM: Self = Self {
        actions: 600,
        crash_per_million: 15_000,
        error_per_million: 0,
        capacity_bytes: u64::MAX,
        large_of_20: 1,
        compacts: false,
        large_bytes_min: 64 << 10,
        decays: false,
        transactions: false,
    };
    /// Enough for the journal's extents to be used again, with few crashes in between.
    pub(crate) const RECYCLING: Self =
        Self { large_of_20: 12, large_bytes_min: usize::MAX, crash_per_million: 6_000, ..Self::CALM };
    /// Appends of all sizes on their way to segments, in the journal and between the two.
    pub(crate) const LARGE: Self =
        Self { large_of_20: 7, large_bytes_min: 8 << 10, crash_per_million: 25_000, ..Self::CALM };
    /// Often enough for a large write to be among what fails.
    pub(crate) const LARGE_FAULTS: Self = Self { error_per_million: 20_000, ..Self::LARGE };
    pub(crate) const FAULTS: Self = Self { error_per_million: 3_000, ..Self::CALM };
    /// Small segments, compacted all the time.
    pub(crate) const COMPACTED: Self = Self { compacts: true, crash_per_million: 25_000, ..Self::CALM };
    pub(crate) const COMPACTED_FAULTS: Self = Self { error_per_million: 5_000, ..Self::COMPACTED };
    /// Transactions in segments that are closed often.
    pub(crate) const TRANSACTIONS: Self =
        Self { transactions: true, large_of_20: 4, crash_per_million: 25_000, ..Self::CALM };
    /// What was synced and is damaged at a start has to be noticed.
    pub(crate) const DECAY: Self = Self { decays: true, large_of_20: 0, ..Self::CALM };
    pub(crate) const FULL: Self = Self { capacity_bytes: 24 << 20, ..Self::CALM };
}

/// What came about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) appended: u64,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
    pub(crate) reads: u64,
    pub(crate) power_cuts: u64,
    pub(crate) kills: u64,
    pub(crate) recoveries_cut: u64,
    pub(crate) refusals: u64,
    pub(crate) stops: u64,
    pub(crate) fatal: u64,
    pub(crate) large: u64,
    pub(crate) large_failed: u64,
    pub(crate) compactions: u64,
    pub(crate) compactions_failed: u64,
    pub(crate) dropped_records: u64,
    pub(crate) truncations: u64,
    pub(crate) aborted: u64,
    pub(crate) writes: u64,
    pub(crate) time_ns: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        self.appended += other.appended;
        self.duplicates += other.duplicates;
        self.refused += other.refused;
        self.reads += other.reads;
        self.power_cuts += other.power_cuts;
        self.kills += other.kills;
        self.recoveries_cut += other.recoveries_cut;
        self.refusals += other.refusals;
        self.stops += other.stops;
        self.fatal += other.fatal;
        self.large += other.large;
        self.large_failed += other.large_failed;
        self.compactions += other.compactions;
        self.compactions_failed += other.compactions_failed;
        self.dropped_records += other.dropped_records;
        self.truncations += other.truncations;
        self.aborted += other.aborted;
        self.writes += other.writes;
        self.time_ns += other.time_ns;
    }
}

const LATENCY: Latency =
    Latency { ns_min: 20_000, ns_max: 200_000, slow_per_million: 20_000, slow_ns_max: 50_000_000, sync_ns_min: 0 };
const WALL_START_MS: i64 = 1_704_067_200_000;
const PRODUCERS: u64 = 4;
/// Turns that a store may ask for at once, one after another, by deadlines in the past.
const TURNS_AT_ONCE_MAX: usize = 20;

/// An append that is being validated.
struct Validating {
    log: LogId,
    bytes: Vec<u8>,
    sequence: Option<Sequence>,
    /// It was appended before, with this first and last offset.
    repeats: Option<(i64, i64)>,
    /// The sequence that is due, which it does not have.
    due: Option<i32>,
}

/// A read that waits for the disk.
struct Reading {
    log: LogId,
    offset: i64,
    limit: i64,
}

/// A running node.
struct Node {
    stores: Vec<Store>,
    queues: Vec<Queue>,
    slots: BTreeMap<LogId, (usize, Slot)>,
    validating: BTreeMap<(usize, AppendToken), Validating>,
    reading: BTreeMap<(usize, ReadToken), Reading>,
    /// Somebody said that it cannot go on.
    is_dead: bool,
}

pub(crate) struct Trial {
    plan: Plan,
    random: Random,
    disk: Rc<RefCell<Disk>>,
    now_ns: u64,
    /// What the clocks of the machine are off the simulation's.
    monotonic_offset_ns: u64,
    wall_offset_ms: i64,
    node: Node,
    logs: BTreeMap<LogId, Log>,
    next_log: u64,
    actions: u64,
    totals: Totals,
    /// Whether a read that waited for the disk has to be made again.
    was_in_vain: bool,
}

impl Trial {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let mut random = Random::new(seed);
        let disk = Rc::new(RefCell::new(Disk::new(random.fork(), Faults::NONE)));
        let node = Node {
            stores: Vec::new(),
            queues: Vec::new(),
            slots: BTreeMap::new(),
            validating: BTreeMap::new(),
            reading: BTreeMap::new(),
            is_dead: false,
        };
        Self {
            plan,
            random,
            disk,
            now_ns: 0,
            monotonic_offset_ns: 0,
            wall_offset_ms: 0,
            node,
            logs: BTreeMap::new(),
            next_log: 1,
            actions: 0,
            totals: Totals::default(),
            was_in_vain: false,
        }
    }

    /// Things that it has done so far.
    #[cfg(feature = "mutations")]
    pub(crate) fn actions(&self) -> u64 {
        self.actions
    }

    pub(crate) fn live(&mut self) -> Totals {
        self.start(Crash::Kill);
        for _ in 0..self.plan.actions {
            self.actions += 1;
            self.act();
            let steps = self.random.below(6);
            self.run(steps);
            if self.node.is_dead || self.random.chance(self.plan.crash_per_million) {
                self.totals.fatal += u64::from(self.node.is_dead);
                self.crash();
            }
        }
        self.disk.borrow_mut().set_faults(Faults::NONE);
        self.crash();
        self.read_everything();
        self.totals.time_ns = self.now_ns;
        self.totals.writes = self.disk.borrow().counts().writes;
        std::mem::take(&mut self.totals)
    }

    fn now(&self) -> Now {
        Now {
            monotonic_ns: self.now_ns + self.monotonic_offset_ns,
            wall_ms: WALL_START_MS + (self.now_ns / 1_000_000) as i64 + self.wall_offset_ms,
        }
    }

    // Crashes and starts.

    fn crash(&mut self) {
        let crash = if self.random.index(3) == 0 { Crash::Kill } else { Crash::PowerCut };
        for store in &self.node.stores {
            let counted = store.metrics(self.now_ns).large;
            self.totals.large += counted.writes;
            self.totals.large_failed += counted.failed;
            let compaction = store.metrics(self.now_ns).compaction.counted;
            self.totals.compactions += compaction.passes;
            self.totals.compactions_failed += compaction.failed;
            self.totals.dropped_records += compaction.dropped_records;
        }
        for queue in &mut self.node.queues {
            queue.abandon(&mut self.disk.borrow_mut());
        }
        self.fall(crash);
        self.start(crash);
    }

    fn fall(&mut self, crash: Crash) {
        match crash {
            Crash::PowerCut => {
                self.totals.power_cuts += 1;
                self.disk.borrow_mut().crash();
                self.monotonic_offset_ns = self.random.below(1 << 40);
            }
            Crash::Kill => {
                self.totals.kills += 1;
                self.disk.borrow_mut().close_all();
            }
        }
    }

    fn start(&mut self, mut crash: Crash) {
        self.disk.borrow_mut().set_faults(Faults::NONE);
        let shards = 1 + self.random.index(4);
        let decayed = if self.plan.decays { self.decay_journal() } else { None };
        let stores = loop {
            let calls = (decayed.is_none() && self.random.index(3) == 0).then(|| 1 + self.random.below(60));
            let disk = Rc::clone(&self.disk);
            let blocking =
                calls.map_or_else(|| Blocking::new(disk.clone()), |calls| Blocking::ending_after(disk.clone(), calls));
            match recovered_stores(&blocking, shards, self.plan) {
                Ok(stores) if !blocking.has_ended() => break stores,
                Err(storage::Error::Corrupt { file, .. } | storage::Error::NewerVersion { file, .. })
                    if decayed.as_ref().is_some_and(|(path, _)| file == *path) =>
                {
                    // It is noticed. The same bit flipped again heals it.
                    self.totals.refusals += 1;
                    let (path, position) = decayed.as_ref().expect("just seen");
                    self.disk.borrow_mut().corrupt(path, *position).expect("it was there before");
                }
                Err(error) if !blocking.has_ended() => panic!("recovery refuses: {error}"),
                Ok(_) | Err(_) => {
                    self.totals.recoveries_cut += 1;
                    crash = Crash::PowerCut;
                    self.fall(crash);
                }
            }
        };
        self.node = Node {
            queues: (0..shards).map(|shard| Queue::new(Owner(shard as u32), LATENCY, self.random.fork())).collect(),
            stores,
            slots: BTreeMap::new(),
            validating: BTreeMap::new(),
            reading: BTreeMap::new(),
            is_dead: false,
        };
        let logs: Vec<LogId> = self.logs.keys().copied().collect();
        for id in logs {
            let (shard, slot) = self.attach(id);
            let store = &self.node.stores[shard];
            let (start, end) = (store.start_offset(slot), store.end_offset(slot));
            assert_eq!(store.durable_end(slot), end, "what is recovered is durable");
            let log = self.logs.get_mut(&id).expect("iterated");
            log.recovered(crash, start, end);
            if self.plan.transactions {
                log.check_transactions(store, slot);
                self.totals.aborted += store.aborted_transactions(slot, start, end).len() as u64;
            }
        }
        if self.random.index(3) == 0 {
            self.read_everything();
        }
        let error = self.plan.error_per_million;
        self.disk.borrow_mut().set_faults(Faults {
            write_errors_per_million: error,
            read_errors_per_million: error,
            sync_errors_per_million: error,
            capacity_bytes: self.plan.capacity_bytes,
            ..Faults::NONE
        });
    }

    /// Damages a group of a durable journal that a later group calls durable; says where. It may belong to an extent
    /// that is not needed any more.
    fn decay_journal(&mut self) -> Option<(PathBuf, u64)> {
        let disk = Blocking::new(Rc::clone(&self.disk));
        let directory = Path::new("journal");
        let mut candidates = Vec::new();
        for entry in disk.list(directory).expect("a directory can be listed") {
            let path = directory.join(&entry.name);
            let length = disk.length(&path).expect("a file has a length").unwrap_or(0);
            let mut bytes = vec![0; length as usize];
            disk.read_at(&path, 0, &mut bytes).expect("a file can be read");
            let Ok(Some(extent)) = ExtentHeader::decode(&bytes) else { continue };
            let is_own = |it: &GroupHeader| (it.incarnation, it.ordinal) == (extent.incarnation, extent.ordinal);
            let blocks = bytes.chunks(BLOCK_BYTES).zip(0_u64..).skip(1);
            let groups = blocks.filter_map(|(block, at)| Some((GroupHeader::decode(block).ok()??, at)));
            let mut positions: Vec<u64> =
                groups.filter(|(header, _)| is_own(header)).map(|(_, at)| at * BLOCK_BYTES as u64).collect();
            // The last one could be what was in flight at the crash.
            positions.pop();
            let is_durable = extent.durability == Durability::Durable;
            candidates.extend(positions.into_iter().filter(|_| is_durable).map(|position| (path.clone(), position)));
        }
        if candidates.is_empty() {
            return None;
        }
        let (path, position) = candidates.swap_remove(self.random.index(candidates.len()));
        let position = position + self.random.below(GROUP_HEADER_BYTES as u64 + 60);
        self.disk.borrow_mut().corrupt(&path, position).expect("just read");
        Some((path, position))
    }

    fn attach(&mut self, id: LogId) -> (usize, Slot) {
        let shard = place(id, self.node.stores.len());
        let now = self.now();
        let slot = self.node.stores[shard].attach(id, &format!("topic-{}", id.0), config(id, self.plan), now);
        self.node.slots.insert(id, (shard, slot));
        (shard, slot)
    }

    // What happens in a life.

    fn act(&mut self) {
        match self.random.index(100) {
            _ if self.logs.is_empty() => self.create(),
            0..3 if self.logs.len() < 8 => self.create(),
            3 => self.delete(),
            4 => self.move_start(),
            5 => self.wall_offset_ms += self.random.below(7_200_000) as i64 - 3_600_000,
            6 => self.stop_and_start(),
            7..25 => self.read(),
            25..35 => self.repeat(),
            35..40 => self.skip_sequence(),
            40..43 => self.change_durability(),
            43..46 => self.truncate(),
            _ => self.append_new(),
        }
    }

    fn any_log(&mut self) -> LogId {
        let index = self.random.index(self.logs.len());
        *self.logs.keys().nth(index).expect("below the length")
    }

    fn create(&mut self) {
        let id = LogId(self.next_log);
        self.next_log += 1;
        self.logs.insert(
            id,
            Log { is_cached: is_cached(id), compacted: self.plan.compacts.then(Compacted::default), ..Log::default() },
        );
        self.attach(id);
    }

    fn delete(&mut self) {
        let id = self.any_log();
        let (shard, slot) = self.node.slots.remove(&id).expect("attached");
        let now = self.now();
        self.node.stores[shard].delete(slot, now);
        self.node.validating.retain(|_, append| append.log != id);
        self.node.reading.retain(|_, read| read.log != id);
        self.logs.remove(&id);
    }

    fn move_start(&mut self) {
        let id = self.any_log();
        let (shard, slot) = self.node.slots[&id];
        let now = self.now();
        let durable = self.node.stores[shard].durable_end(slot);
        let log = self.logs.get_mut(&id).expect("picked");
        if durable > log.start {
            log.start += self.random.below((durable - log.start) as u64 + 1) as i64;
            self.node.stores[shard].set_start(slot, log.start, now);
        }
    }

    /// Moves a log that promises little to the other journal. It promises no more there, for what it has may be on
    /// its way still.
    fn change_durability(&mut self) {
        let id = self.any_log();
        if !is_cached(id) {
            return;
        }
        let (shard, slot) = self.node.slots[&id];
        let durability = [Durability::Durable, Durability::Cached][self.random.index(2)];
        let now = self.now();
        self.node.stores[shard].reconfigure(slot, LogConfig { durability, ..config(id, self.plan) }, now);
    }

    /// Cuts a log's end somewhere, mostly near it.
    fn truncate(&mut self) {
        let id = self.any_log();
        // What is left of a compacted log where it is cut, the model does not know.
        let is_compacted = self.logs[&id].compacted.is_some();
        if is_compacted || self.node.validating.values().any(|append| append.log == id) {
            return;
        }
        let (shard, slot) = self.node.slots[&id];
        let now = self.now();
        let log = self.logs.get_mut(&id).expect("picked");
        let (end, is_cutting) = (log.end(), log.cut.is_some());
        let back = if self.random.index(4) == 0 { end } else { 30.min(end) };
        let offset = end - self.random.below(back as u64 + 1) as i64;
        match self.node.stores[shard].truncate(slot, offset, now) {
            Truncate::Pending => {
                assert!(!is_cutting && offset < end);
                log.cut = Some(offset);
                self.totals.truncations += 1;
            }
            Truncate::Unchanged => assert!(offset >= end || log.start >= end),
            Truncate::Busy => assert!(is_cutting),
            Truncate::Failed => {}
        }
    }

    fn append_new(&mut self) {
        let id = self.any_log();
        let producer = (self.random.index(3) > 0).then(|| self.random.below(PRODUCERS) as i64);
        let is_waiting = self.is_waiting(id);
        // Without an answer to the last batch its producer's next sequence is not known here.
        let producer = producer.filter(|_| !is_waiting);
        if self.plan.transactions && self.random.index(3) == 0 {
            return self.append_mark(id);
        }
        let sequence = producer.map(|producer| Sequence { producer, base: self.logs[&id].next_sequence(producer) });
        let bytes = self.build(sequence);
        self.append(Validating { log: id, bytes, sequence, repeats: None, due: None });
    }

    /// Ends a producer's transaction, if it has one.
    fn append_mark(&mut self, id: LogId) {
        let mark = EndTransaction { is_commit: self.random.index(3) == 0, coordinator_epoch: 0 };
        let producer = batch::Producer { id: self.random.below(PRODUCERS) as i64, epoch: 0, base_sequence: -1 };
        let options = BatchOptions {
            producer: Some(producer),
            is_transactional: true,
            is_control: true,
            ..BatchOptions::default()
        };
        let mut builder = BatchBuilder::new(options);
        let timestamp = self.now().wall_ms;
        let record = NewRecord { timestamp, key: Some(&mark.key()), value: Some(&mark.value()), headers: &[] };
        builder.append(&record).expect("small");
        self.append(Validating { log: id, bytes: builder.finish(), sequence: None, repeats: None, due: None });
    }

    /// Whether it is not known what the log's next append will find.
    fn is_waiting(&self, id: LogId) -> bool {
        self.node.validating.values().any(|append| append.log == id) || self.logs[&id].cut.is_some()
    }

    /// Appends one of a producer's last batches again.
    fn repeat(&mut self) {
        let id = self.any_log();
        if self.is_waiting(id) {
            return;
        }
        let batches: Vec<_> = self.logs[&id].remembered().into_values().flatten().cloned().collect();
        if batches.is_empty() {
            return;
        }
        let entry = batches[self.random.index(batches.len())].clone();
        let repeats = Some((entry.base, entry.last));
        self.append(Validating { log: id, bytes: entry.bytes, sequence: entry.sequence, repeats, due: None });
    }

    fn skip_sequence(&mut self) {
        let id = self.any_log();
        let producers: Vec<i64> = self.logs[&id].remembered().into_keys().collect();
        if producers.is_empty() || self.is_waiting(id) {
            return;
        }
        let producer = producers[self.random.index(producers.len())];
        let due = self.logs[&id].next_sequence(producer);
        let base = due + 1 + self.random.below(5) as i32;
        let sequence = Some(Sequence { producer, base });
        let bytes = self.build(sequence);
        self.append(Validating { log: id, bytes, sequence, repeats: None, due: Some(due) });
    }

    fn build(&mut self, sequence: Option<Sequence>) -> Vec<u8> {
        let codec = [Codec::None, Codec::None, Codec::None, Codec::Gzip, Codec::Lz4, Codec::Zstd][self.random.index(6)];
        let producer =
            sequence.map(|sequence| batch::Producer { id: sequence.producer, epoch: 0, base_sequence: sequence.base });
        let is_transactional = self.plan.transactions && producer.is_some();
        let options = BatchOptions { codec, producer, is_transactional, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        let (records, bytes) = match self.random.index(20) {
            size if size < self.plan.large_of_20 => (1 + self.random.index(4), 200_000),
            ..4 => (1 + self.random.index(40), 2_000),
            _ => (1 + self.random.index(8), 300),
        };
        for _ in 0..records {
            let value = vec![self.random.bits() as u8; self.random.index(bytes)];
            let timestamp = self.now().wall_ms - self.random.below(1000) as i64;
            let record =
                NewRecord { timestamp, key: Some(&value[..value.len().min(8)]), value: Some(&value), headers: &[] };
            builder.append(&record).expect("small records");
        }
        builder.finish()
    }

    fn append(&mut self, append: Validating) {
        let now = self.now();
        let (shard, slot) = self.node.slots[&append.log];
        let is_mark = batch::Batch::first(&append.bytes).is_ok_and(|batch| batch.attributes().is_control());
        let origin = if is_mark { Origin::Internal } else { Origin::Client };
        let outcome = self.node.stores[shard].append(slot, &append.bytes, origin, 0, now);
        self.appended(shard, append, outcome);
    }

    fn appended(&mut self, shard: usize, append: Validating, outcome: Append) {
        match outcome {
            Append::Appended { base_offset, last_offset, .. } => {
                let Validating { log, bytes, sequence, repeats, due } = append;
                assert_eq!(repeats, None, "{sequence:?} was in log {log} already");
                assert_eq!(due, None, "{sequence:?} of log {log} leaves a gap");
                self.logs.get_mut(&log).expect("not deleted").appended(base_offset, last_offset, bytes, sequence);
                self.totals.appended += 1;
            }
            Append::Duplicate { base_offset, last_offset, .. } => {
                assert_eq!(append.repeats, Some((base_offset, last_offset)), "the offsets it got then");
                self.totals.duplicates += 1;
            }
            Append::Validating(token) => {
                let previous = self.node.validating.insert((shard, token), append);
                assert!(previous.is_none(), "a token is used once at a time");
            }
            Append::OutOfOrder { expected, .. } if append.due.is_some() => assert_eq!(append.due, Some(expected)),
            Append::Full(_) => self.totals.refused += 1,
            Append::Failed => {}
            other => panic!("a valid batch for log {} was answered with {other:?}", append.log),
        }
    }

    // Reading back.

    fn read(&mut self) {
        let id = self.any_log();
        let (shard, slot) = self.node.slots[&id];
        let store = &mut self.node.stores[shard];
        let (start, limit) = (store.start_offset(slot), store.durable_end(slot));
        if limit <= start {
            return;
        }
        let offset = start + self.random.below((limit - start) as u64) as i64;
        let request = ReadRequest {
            offset,
            max_bytes: 1 + self.random.index(100_000),
            at_least_one: true,
            limit_offset: limit,
            reader: ReaderId(self.random.below(3)),
        };
        let mut slices = Vec::new();
        let outcome = store.read(slot, request, &mut slices);
        self.have_read(shard, Reading { log: id, offset, limit }, outcome, &slices);
    }

    fn have_read(&mut self, shard: usize, read: Reading, outcome: Read, slices: &[Slice]) {
        match outcome {
            Read::Ready { bytes, next_offset } => {
                let slices: Vec<&[u8]> = slices.iter().map(AsRef::as_ref).collect();
                let data = slices.concat();
                assert_eq!(data.len(), bytes);
                assert!(bytes > 0, "there is something at offset {} of log {}", read.offset, read.log);
                self.logs.get_mut(&read.log).expect("attached").check_read(read.offset, read.limit, &data, next_offset);
                self.totals.reads += 1;
            }
            Read::Pending(token) => {
                self.node.reading.insert((shard, token), read);
            }
            Read::Busy => self.was_in_vain = true,
            Read::Failed => {
                assert!(self.plan.error_per_million > 0, "offset {} of log {} cannot be read", read.offset, read.log);
                self.was_in_vain = true;
            }
            Read::OutOfRange { start_offset, .. } => {
                assert!(start_offset > read.offset, "the start has moved meanwhile, or the offset is in the log");
            }
            Read::Damaged => panic!("offset {} of log {} is damaged", read.offset, read.log),
            Read::Empty => panic!("offset {} of log {} is below the limit {}", read.offset, read.log, read.limit),
        }
    }

    /// Reads every log from its start to its durable end.
    fn read_everything(&mut self) {
        let logs: Vec<LogId> = self.logs.keys().copied().collect();
        for id in logs {
            let (shard, slot) = self.node.slots[&id];
            let limit = self.node.stores[shard].durable_end(slot);
            let start = self.node.stores[shard].start_offset(slot);
            self.compacted(id).map(Compacted::begin_reading);
            let mut offset = start;
            while offset < limit {
                let request = ReadRequest {
                    offset,
                    max_bytes: 1 << 20,
                    at_least_one: true,
                    limit_offset: limit,
                    reader: ReaderId(9),
                };
                offset = self.read_to_the_end(id, shard, slot, request);
            }
            if let Some(compacted) = self.compacted(id) {
                compacted.check_complete(start, limit);
            }
        }
        // Neither reads nor the scrubber took anything for damaged.
        if self.plan.error_per_million == 0 {
            for store in &self.node.stores {
                assert_eq!(store.metrics(0).damage, Damage::default());
            }
        }
    }

    fn compacted(&mut self, id: LogId) -> Option<&mut Compacted> {
        self.logs.get_mut(&id)?.compacted.as_mut()
    }

    fn read_to_the_end(&mut self, id: LogId, shard: usize, slot: Slot, request: ReadRequest) -> i64 {
        let (offset, limit) = (request.offset, request.limit_offset);
        let mut slices = Vec::new();
        let mut outcome = self.node.stores[shard].read(slot, request, &mut slices);
        for _ in 0..1000 {
            match outcome {
                Read::Ready { next_offset, .. } => {
                    self.have_read(shard, Reading { log: id, offset, limit }, outcome, &slices);
                    return next_offset;
                }
                Read::Pending(token) => {
                    self.was_in_vain = false;
                    self.node.reading.insert((shard, token), Reading { log: id, offset, limit });
                    while self.node.reading.contains_key(&(shard, token)) {
                        assert!(!self.node.is_dead, "nothing fails here");
                        self.run(1);
                    }
                    slices.clear();
                    if !std::mem::take(&mut self.was_in_vain) {
                        // It was checked when it came; the offset after it tells where to go on.
                        let last = self.logs[&id].entries.iter().find(|entry| entry.end() > offset);
                        return last.expect("below the limit").end();
                    }
                }
                Read::Busy => self.run(1),
                other => panic!("offset {offset} of log {id} below {limit}: {other:?}"),
            }
            outcome = self.node.stores[shard].read(slot, request, &mut slices);
        }
        panic!("log {id} stays busy at offset {offset}")
    }

    // The pump.

    /// Lets every store take `rounds` turns, with time going on to the next completion in between.
    fn run(&mut self, rounds: u64) {
        for _ in 0..rounds {
            for shard in 0..self.node.stores.len() {
                self.turn(shard);
            }
            let due = self.node.queues.iter().filter_map(Queue::next_at_ns).min();
            self.now_ns = self.now_ns.max(due.unwrap_or(self.now_ns + 1_000_000));
            for shard in 0..self.node.stores.len() {
                self.complete(shard);
            }
        }
    }

    fn turn(&mut self, shard: usize) {
        let now = self.now();
        let budget = 1 << self.random.between(12, 18);
        self.node.stores[shard].step(now, budget);
        self.check_deadline(shard, now);
        self.events(shard);
        let mut requests = Vec::new();
        self.node.stores[shard].requests(&mut requests);
        for request in requests {
            self.node.queues[shard].submit(self.now_ns, request);
        }
    }

    /// A deadline in the past has the shard turn at once: there must be something to do then, and an end to it.
    fn check_deadline(&mut self, shard: usize, now: Now) {
        let store = &mut self.node.stores[shard];
        for _ in 0..TURNS_AT_ONCE_MAX {
            if store.next_deadline().is_none_or(|at| at > now.monotonic_ns) {
                return;
            }
            store.step(now, 1 << 12);
        }
        panic!("a deadline stays in the past");
    }

    fn complete(&mut self, shard: usize) {
        let now = self.now();
        loop {
            let completion = self.node.queues[shard].complete(self.now_ns, &mut self.disk.borrow_mut());
            let Some(completion) = completion else { break };
            self.node.stores[shard].complete(completion, now);
            self.events(shard);
        }
    }

    fn events(&mut self, shard: usize) {
        while let Some(event) = self.node.stores[shard].next_event() {
            match event {
                Event::Durable { slot, end_offset } => {
                    if let Some(id) = self.log_at(shard, slot) {
                        self.logs.get_mut(&id).expect("attached").durable(end_offset);
                    }
                }
                Event::AppendFinished { token, outcome, .. } => {
                    if let Some(append) = self.node.validating.remove(&(shard, token)) {
                        self.appended(shard, append, outcome);
                    }
                }
                Event::ReadFinished { token, outcome, slices, .. } => {
                    if let Some(read) = self.node.reading.remove(&(shard, token)) {
                        self.have_read(shard, read, outcome, &slices);
                    }
                }
                Event::StartDurable { slot, start_offset } => {
                    if let Some(id) = self.log_at(shard, slot) {
                        let log = self.logs.get_mut(&id).expect("attached");
                        log.promised_start = log.promised_start.max(start_offset);
                    }
                }
                Event::TruncationEnded { slot, outcome } => {
                    if let Some(id) = self.log_at(shard, slot) {
                        let log = self.logs.get_mut(&id).expect("attached");
                        match outcome {
                            Truncated::Done { end_offset } => log.truncated(end_offset),
                            Truncated::Failed => {
                                assert!(self.plan.error_per_million > 0, "nothing fails here");
                                log.cut = None;
                            }
                        }
                    }
                }
                Event::StartMoved { .. } => panic!("retention is off"),
                Event::Fatal(error) => {
                    assert!(self.plan.error_per_million > 0, "{error}");
                    self.node.is_dead = true;
                }
                Event::LookupFinished { .. } | Event::DiskFull | Event::Writable | Event::VolumeMeasured(_) => {}
            }
        }
    }

    fn log_at(&self, shard: usize, slot: Slot) -> Option<LogId> {
        self.node.slots.iter().find(|(_, place)| **place == (shard, slot)).map(|(id, _)| *id)
    }

    fn stop_and_start(&mut self) {
        // A stop moves everything to its segments, which takes room.
        self.disk.borrow_mut().set_faults(Faults::NONE);
        for store in &mut self.node.stores {
            store.begin_stop();
        }
        for _ in 0..10_000 {
            if self.node.is_dead || self.node.stores.iter().all(Store::is_stopped) {
                self.totals.stops += 1;
                self.crash();
                return;
            }
            self.run(1);
        }
        panic!("the stores do not stop");
    }
}

fn recovered_stores(disk: &Blocking, shards: usize, plan: Plan) -> Result<Vec<Store>, storage::Error> {
    let fresh = Identity { directory_id: [7; 16], node: [7; 16], cluster_id: b"simulated".to_vec() };
    let options = Options {
        tail_bytes: 8 << 20,
        buffer_bytes: 16 << 20,
        open_files_max: 16,
        checkpoint_bytes_min: 64 << 10,
        journal_extent_bytes: 1 << 20,
        large_bytes_min: plan.large_bytes_min,
        scrub_bytes_per_second: 64 << 20,
        // A map of some hundred keys, so that it is full now and then.
        compaction: Settings { dedupe_bytes: 4 << 10, backoff_ms: 50, ..Settings::default() },
        sync_all: shards.is_multiple_of(2),
        ..Options::default()
    };
    let recovered = storage::recovery::recover(disk, &fresh)?;
    recovered.into_stores(shards, |id| place(id, shards), &options)
}

fn place(id: LogId, shards: usize) -> usize {
    id.0 as usize % shards
}

fn is_cached(id: LogId) -> bool {
    id.0.is_multiple_of(5)
}

/// Small segments that are never removed, so that the model stays a list.
fn config(id: LogId, plan: Plan) -> LogConfig {
    LogConfig {
        durability: if is_cached(id) { Durability::Cached } else { Durability::Durable },
        segment_bytes: if plan.compacts { 8 << 10 } else { 1 << 20 },
        compaction: plan.compacts.then(|| Compaction { dirty_millionths_min: 100_000, ..Compaction::default() }),
        delete_expired: !plan.compacts,
        retention_ms: None,
        timestamp_after_max_ms: i64::MAX,
        // Of half of the logs files go at once, as far as that is allowed.
        file_delete_delay_ms: if plan.compacts { 0 } else { id.0 % 2 * 60_000 },
        ..LogConfig::default()
    }
}
