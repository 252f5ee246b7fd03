//! A data directory with everything in it: two shards, durable and cached logs, closed and active segments, indexes, a
//! checkpoint that was added to, journals with entries of all kinds, and the leftovers of an earlier start.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use storage::batch::Producer;
use storage::builder::{BatchBuilder, NewRecord, Options as BatchOptions};
use storage::disk::Disk as _;
use storage::recovery::{Identity, recover};
use storage::simulated::{Blocking, Disk, Faults, Latency, Owner, Queue, Random};
use storage::store::{Options, Origin, Store};
use storage::{Durability, LogConfig, LogId, Now, Slot};

/// The files of a data directory, by their paths.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

const LATENCY: Latency =
    Latency { ns_min: 1_000, ns_max: 50_000, slow_per_million: 0, slow_ns_max: 50_000, sync_ns_min: 0 };
const SHARDS: usize = 2;
const LOGS: u64 = 6;

pub(crate) fn options() -> Options {
    Options {
        tail_bytes: 4 << 20,
        buffer_bytes: 4 << 20,
        checkpoint_bytes_min: 16 << 10,
        journal_extent_bytes: 1 << 20,
        large_bytes_min: 24 << 10,
        ..Options::default()
    }
}

pub(crate) fn identity() -> Identity {
    Identity { directory_id: [7; 16], node: [7; 16], cluster_id: b"fuzzed".to_vec() }
}

pub(crate) fn shard_of(id: LogId) -> usize {
    id.0 as usize % SHARDS
}

struct Node {
    stores: Vec<Store>,
    queues: Vec<Queue>,
    slots: BTreeMap<u64, Slot>,
    now_ns: u64,
}

impl Node {
    fn start(disk: &Rc<RefCell<Disk>>, random: &mut Random) -> Self {
        let blocking = Blocking::new(Rc::clone(disk));
        let recovered = recover(&blocking, &identity()).expect("sound");
        let stores = recovered.into_stores(SHARDS, shard_of, &options()).expect("sound");
        let queues = (0..SHARDS).map(|shard| Queue::new(Owner(shard as u32), LATENCY, random.fork())).collect();
        let mut node = Self { stores, queues, slots: BTreeMap::new(), now_ns: 0 };
        for id in 1..=LOGS {
            let durability = if id % 3 == 0 { Durability::Cached } else { Durability::Durable };
            let config = LogConfig { durability, segment_bytes: 256 << 10, retention_ms: None, ..LogConfig::default() };
            let now = node.now();
            let slot = node.stores[shard_of(LogId(id))].attach(LogId(id), &format!("topic-{id}"), config, now);
            node.slots.insert(id, slot);
        }
        node
    }

    fn now(&self) -> Now {
        Now { monotonic_ns: self.now_ns, wall_ms: 1_704_067_200_000 }
    }

    fn append(&mut self, id: u64, batch: &[u8]) {
        let now = self.now();
        // Where the producer's sequence is not the next one any more, nothing is appended.
        let _ = self.stores[shard_of(LogId(id))].append(self.slots[&id], batch, Origin::Client, 1, now);
    }

    fn run(&mut self, disk: &Rc<RefCell<Disk>>, rounds: usize) {
        for _ in 0..rounds {
            let now = self.now();
            for (store, queue) in self.stores.iter_mut().zip(&mut self.queues) {
                store.step(now, 1 << 16);
                while store.next_event().is_some() {}
                let mut requests = Vec::new();
                store.requests(&mut requests);
                requests.into_iter().for_each(|request| queue.submit(now.monotonic_ns, request));
            }
            let next = self.queues.iter().filter_map(Queue::next_at_ns).min();
            self.now_ns = next.unwrap_or(self.now_ns + 1_000_000).max(self.now_ns);
            let now = self.now();
            for (store, queue) in self.stores.iter_mut().zip(&mut self.queues) {
                while let Some(completion) = queue.complete(now.monotonic_ns, &mut disk.borrow_mut()) {
                    store.complete(completion, now);
                }
            }
        }
    }
}

fn batch(random: &mut Random, sequence: i32) -> Vec<u8> {
    let producer = (random.index(2) == 0).then_some(Producer { id: 5, epoch: 0, base_sequence: sequence });
    let mut builder = BatchBuilder::new(BatchOptions { producer, ..BatchOptions::default() });
    let bytes = if random.index(6) == 0 { 30_000 } else { 900 };
    let value = vec![random.bits() as u8; random.index(bytes)];
    for timestamp in 0..1 + random.below(3) as i64 {
        let timestamp = 1_704_067_200_000 + timestamp;
        let record = NewRecord { timestamp, key: None, value: Some(&value), headers: &[] };
        builder.append(&record).expect("small records");
    }
    builder.finish()
}

/// What two lives of a node leave, of which the second ends in the middle of something.
pub(crate) fn directory(seed: u64) -> Files {
    let mut random = Random::new(seed);
    let disk = Rc::new(RefCell::new(Disk::new(random.fork(), Faults::NONE)));
    for life in 0..2 {
        let mut node = Node::start(&disk, &mut random);
        for action in 0..500 {
            let id = 1 + random.below(LOGS);
            let bytes = batch(&mut random, action);
            node.append(id, &bytes);
            let rounds = random.index(6);
            node.run(&disk, rounds);
            let (now, slot) = (node.now(), node.slots[&id]);
            let store = &mut node.stores[shard_of(LogId(id))];
            match random.index(200) {
                0 => store.set_start(slot, store.durable_end(slot), now),
                1 if id == LOGS && life == 1 && action > 400 => store.begin_stop(),
                _ => {}
            }
        }
        for mut queue in node.queues {
            queue.abandon(&mut disk.borrow_mut());
        }
        disk.borrow_mut().close_all();
    }
    files(&Blocking::new(disk))
}

/// All files that a disk has.
fn files(disk: &Blocking) -> Files {
    let mut files = Files::new();
    let mut ahead = vec![PathBuf::new()];
    while let Some(directory) = ahead.pop() {
        for entry in disk.list(&directory).expect("there") {
            let path = directory.join(&entry.name);
            if entry.is_directory {
                ahead.push(path);
                continue;
            }
            let mut bytes = vec![0; disk.length(&path).expect("there").unwrap_or(0) as usize];
            disk.read_at(&path, 0, &mut bytes).expect("there");
            files.insert(path, bytes);
        }
    }
    files
}

/// A disk with these files, and nothing in need of a sync.
pub(crate) fn disk_with(files: &Files) -> Blocking {
    let disk = Blocking::new(Rc::new(RefCell::new(Disk::new(Random::new(1), Faults::NONE))));
    for (path, bytes) in files {
        disk.create_directory(path.parent().unwrap_or(Path::new(""))).expect("made");
        disk.write_at(path, 0, bytes).expect("written");
    }
    disk
}
