//! Compaction against a model: the last record of each key, and tombstones until their horizon.

use std::collections::BTreeMap;

use proptest::prelude::*;
use storage::builder::{BatchBuilder, NewRecord, Options as BatchOptions};
use storage::compression::{Codec, decompress_all};
use storage::store::compaction::Settings;
use storage::store::{Append, Options};
use storage::{Compaction, LogConfig, LogId, Slot, batch, record};
use tempfile::TempDir;

use crate::node::{Node, options, place};

const DELETE_RETENTION_MS: u64 = 10_000;

fn config(segment_bytes: u64) -> LogConfig {
    LogConfig {
        segment_bytes,
        delete_expired: false,
        keys_required: true,
        file_delete_delay_ms: 0,
        compaction: Some(Compaction {
            dirty_millionths_min: 0,
            delete_retention_ms: DELETE_RETENTION_MS,
            ..Compaction::default()
        }),
        ..LogConfig::default()
    }
}

/// A record as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    timestamp: i64,
}

fn records_of(bytes: &[u8]) -> BTreeMap<i64, Seen> {
    let mut seen = BTreeMap::new();
    let mut end = 0;
    for batch in batch::batches(bytes) {
        let batch = batch.expect("whole batches");
        assert_eq!(batch.crc(), batch.computed_crc());
        assert!(batch.base_offset() >= end, "batches ascend");
        end = batch.next_offset();
        let codec = batch.attributes().codec().expect("known");
        let body = if batch.record_count() == 0 {
            assert!(batch.body().is_empty() && codec == Codec::None);
            Vec::new()
        } else {
            decompress_all(codec, batch.body(), 1 << 24).expect("sound")
        };
        let mut count = 0;
        let mut newest = -1;
        for record in record::records(&body) {
            let record = record.expect("sound");
            let located = batch.origin().locate(record.head);
            assert!((batch.base_offset()..=batch.last_offset()).contains(&located.offset));
            let value = record.value.map(<[u8]>::to_vec);
            let key = record.key.expect("keyed").to_vec();
            let before = seen.insert(located.offset, Seen { key, value, timestamp: located.timestamp });
            assert!(before.is_none());
            newest = newest.max(located.timestamp);
            count += 1;
        }
        assert_eq!(count, batch.record_count());
        if count > 0 {
            assert_eq!(newest, batch.max_timestamp());
        }
    }
    seen
}

#[derive(Debug, Clone)]
enum Action {
    Append { codec: usize, records: Vec<(u8, Option<u16>)> },
    Produce { producer: u8 },
    Pass(u64),
    Restart(usize),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let record = (0_u8..20, proptest::option::weighted(0.85, 0_u16..400));
    let append = (0_usize..5, proptest::collection::vec(record, 1..12));
    proptest::collection::vec(
        prop_oneof![
            12 => append.prop_map(|(codec, records)| Action::Append { codec, records }),
            2 => (0_u8..3).prop_map(|producer| Action::Produce { producer }),
            2 => (1_u64..8_000).prop_map(Action::Pass),
            1 => (1_usize..4).prop_map(Action::Restart),
        ],
        1..60,
    )
}

struct World {
    directory: TempDir,
    options: Options,
    node: Option<Node>,
    at: (usize, Slot),
    config: LogConfig,
    /// Everything that was appended, and when.
    appended: BTreeMap<i64, (Seen, i64)>,
    sequences: BTreeMap<u8, (i32, i64)>,
}

impl World {
    fn new(config: LogConfig, settings: Settings) -> Self {
        let directory = TempDir::new().expect("a directory");
        let options = Options { compaction: settings, ..options() };
        let mut node = Node::try_start(directory.path(), 1, &options).expect("sound");
        let at = node.attach(5, config.clone());
        let (appended, sequences) = (BTreeMap::new(), BTreeMap::new());
        Self { directory, options, node: Some(node), at, config, appended, sequences }
    }

    fn node(&mut self) -> &mut Node {
        self.node.as_mut().expect("it runs")
    }

    fn append(&mut self, codec: usize, records: &[(u8, Option<u16>)], producer: Option<batch::Producer>) -> i64 {
        let now_ms = self.node().now.wall_ms;
        let mut builder =
            BatchBuilder::new(BatchOptions { codec: Codec::ALL[codec], producer, ..BatchOptions::default() });
        let mut seen = Vec::new();
        for (at, (key, value)) in records.iter().enumerate() {
            let key = format!("key-{key}").into_bytes();
            let value = value.map(|value| format!("{value:_<width$}", width = usize::from(value)).into_bytes());
            let timestamp = now_ms - (at as i64 * 37) % 5;
            let record = NewRecord { timestamp, key: Some(&key), value: value.as_deref(), headers: &[] };
            builder.append(&record).expect("small");
            seen.push(Seen { key, value, timestamp });
        }
        let bytes = builder.finish();
        let at = self.at;
        match self.node().append(at, &bytes) {
            Append::Appended { base_offset, .. } => {
                for (delta, seen) in seen.into_iter().enumerate() {
                    self.appended.insert(base_offset + delta as i64, (seen, now_ms));
                }
                base_offset
            }
            other => panic!("{other:?}"),
        }
    }

    fn produce(&mut self, producer: u8) {
        let (base_sequence, _) = self.sequences.get(&producer).copied().unwrap_or_default();
        let stamp = batch::Producer { id: i64::from(producer), epoch: 0, base_sequence };
        let offset = self.append(0, &[(producer, Some(3))], Some(stamp));
        self.sequences.insert(producer, (base_sequence + 1, offset));
    }

    fn restart(&mut self, shards: usize) {
        let now = self.node().now;
        self.node.take().expect("it runs").stop();
        let mut node = Node::try_start(self.directory.path(), shards, &self.options).expect("sound");
        node.now = now;
        self.at = node.attach(5, self.config.clone());
        assert_eq!(self.at.0, place(LogId(5), shards));
        self.node = Some(node);
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Append { codec, records } => drop(self.append(*codec, records, None)),
            Action::Produce { producer } => self.produce(*producer),
            Action::Pass(ms) => self.node().pass(*ms),
            Action::Restart(shards) => self.restart(*shards),
        }
        self.node().settle();
    }

    fn read(&mut self) -> (Vec<u8>, BTreeMap<i64, Seen>) {
        let at = self.at;
        let bytes = self.node().read_all(at, 0);
        let records = records_of(&bytes);
        (bytes, records)
    }

    /// The first offset of the active segment: what lies before is compacted when nothing is left to do.
    fn compacted_to(&self) -> i64 {
        let logs = self.directory.path().join("logs").join("topic-0.5");
        let names = std::fs::read_dir(logs).into_iter().flatten().map(|entry| entry.expect("listed").file_name());
        let bases = names.filter_map(|name| {
            let name = name.to_str()?.to_owned();
            name.ends_with(".log").then(|| name.split('.').next()?.parse::<i64>().ok())?
        });
        bases.max().unwrap_or(0)
    }

    fn check(&mut self, is_all_done: bool) {
        let (bytes, read) = self.read();
        let now_ms = self.node().now.wall_ms;
        for (offset, seen) in &read {
            assert_eq!(self.appended.get(offset).map(|(appended, _)| appended), Some(seen), "offset {offset}");
        }
        let mut last: BTreeMap<&[u8], (i64, &Seen, i64)> = BTreeMap::new();
        for (offset, (seen, at_ms)) in &self.appended {
            last.insert(&seen.key, (*offset, seen, *at_ms));
        }
        for (key, (offset, seen, at_ms)) in last {
            let may_be_gone = seen.value.is_none() && at_ms + DELETE_RETENTION_MS as i64 <= now_ms;
            assert!(read.contains_key(&offset) || may_be_gone, "{} at {offset}", String::from_utf8_lossy(key));
        }
        if is_all_done {
            let end = self.compacted_to();
            let mut keys = BTreeMap::new();
            for (offset, seen) in read.range(..end) {
                assert_eq!(keys.insert(seen.key.clone(), offset), None, "each key once below {end}");
            }
            // A value that a tombstone deleted does not come back with it.
            for (offset, (seen, _)) in self.appended.range(..end) {
                let newest = self.appended.range(offset + 1..end).any(|(_, (other, _))| other.key == seen.key);
                assert!(!(newest && read.contains_key(offset)), "offset {offset} is superseded");
            }
        }
        for (&producer, &(_, offset)) in &self.sequences {
            let of_producer = |it: &batch::Batch<'_>| it.producer_id() == i64::from(producer);
            let mut kept = batch::batches(&bytes).map(|batch| batch.expect("sound")).filter(of_producer);
            assert!(kept.any(|batch| batch.last_offset() == offset), "the last batch of producer {producer}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 40 } else { 400 }, ..ProptestConfig::default() })]

    #[test]
    fn the_last_record_of_each_key_stays(
        actions in actions(),
        segment_bytes in prop_oneof![Just(600_u64), Just(2_000), Just(10_000)],
        dedupe_bytes in prop_oneof![3 => Just(1_usize << 20), 1 => Just(32), 1 => Just(100)],
    ) {
        let settings = Settings { dedupe_bytes, ..Settings::default() };
        let mut world = World::new(config(segment_bytes), settings);
        for action in &actions {
            world.act(action);
            world.check(true);
        }
        world.restart(2);
        world.check(false);
    }
}

#[test]
fn a_compacted_log_is_smaller_and_survives_restarts() {
    let mut world = World::new(config(4_000), Settings::default());
    for round in 0..200_u16 {
        world.act(&Action::Append { codec: usize::from(round % 5), records: vec![((round % 7) as u8, Some(300))] });
    }
    let (shard, slot) = world.at;
    let node = world.node();
    let compaction = node.stores[shard].metrics(0).compaction;
    assert!(compaction.counted.passes > 5 && compaction.counted.dropped_records > 100, "{compaction:?}");
    assert!(node.stores[shard].size_bytes(slot) < 12_000);
    world.check(true);
    for shards in [2, 1, 3] {
        world.restart(shards);
        world.check(false);
    }
    let logs = world.directory.path().join("logs").join("topic-0.5");
    let files = std::fs::read_dir(logs).expect("there").count();
    assert!(files < 20, "{files} files are left");
}

#[test]
fn a_log_with_more_keys_than_memory_takes_several_passes() {
    const KEYS: u32 = 20_000;
    let directory = TempDir::new().expect("a directory");
    // 4,096 slots, of which nine tenths are used.
    let settings = Settings { dedupe_bytes: 64 << 10, ..Settings::default() };
    let options = Options { compaction: settings, ..options() };
    let mut node = Node::try_start(directory.path(), 1, &options).expect("sound");
    let at = node.attach(5, config(256 << 10));
    for round in 0..2_u32 {
        for first in (0..KEYS).step_by(500) {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            for key in first..first + 500 {
                let (key, value) = (key.to_be_bytes(), round.to_be_bytes());
                let timestamp = node.now.wall_ms;
                let record = NewRecord { timestamp, key: Some(&key), value: Some(&value), headers: &[] };
                builder.append(&record).expect("small");
            }
            assert!(matches!(node.append(at, &builder.finish()), Append::Appended { .. }));
        }
    }
    // What follows closes the segment.
    assert!(matches!(node.append(at, &crate::node::keyed(300_000)), Append::Appended { .. }));
    node.settle();
    let compaction = node.stores[0].metrics(0).compaction;
    assert!(compaction.counted.passes >= u64::from(2 * KEYS / 3_686), "{compaction:?}");
    assert_eq!((compaction.memory_bytes, compaction.dirtiest_millionths), (0, 0), "nothing is left to do");
    let mut last = BTreeMap::new();
    for (offset, seen) in records_of(&node.read_all(at, 0)) {
        assert!(last.insert(seen.key, (offset, seen.value)).is_none(), "offset {offset} has a key that was there");
    }
    assert_eq!(last.len(), KEYS as usize + 1);
    assert!((0..KEYS).all(|key| last[&key.to_be_bytes()[..]].1.as_deref() == Some(&1_u32.to_be_bytes()[..])));
}

/// Wherever its compaction is when a store gives up, no step ends it any more, and a clean stop does not wait for it.
#[test]
fn a_store_that_gives_up_while_it_compacts_can_be_stopped() {
    /// More than the turns that the compaction takes.
    const TURNS_MAX: usize = 500;
    let mut met = 0;
    for turns in 0..TURNS_MAX {
        let mut world = World::new(config(4_000), Settings::default());
        let (shard, slot) = world.at;
        let node = world.node();
        node.stores[shard].reconfigure(slot, LogConfig { compaction: None, ..config(4_000) }, node.now);
        for key in 0..20 {
            world.act(&Action::Append { codec: 0, records: vec![(key % 3, Some(900))] });
        }
        let node = world.node();
        node.stores[shard].reconfigure(slot, config(4_000), node.now);
        let is_over = (0..turns).any(|_| !node.turn(shard));
        if is_over {
            let passes = node.stores[shard].metrics(0).compaction.counted.passes;
            assert!(met > 0 && passes > 0, "{met} of the turns before were inside of a pass");
            return;
        }
        let store = &mut node.stores[shard];
        met += usize::from(store.metrics(0).compaction.memory_bytes > 0);
        store.give_up();
        store.begin_stop();
        node.settle();
        assert!(node.stores[shard].is_stopped(), "after {turns} turns");
    }
    panic!("the compaction does not end");
}
