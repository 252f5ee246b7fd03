//! Transactions against a model: the last stable offset, and which were aborted, whatever happens to the log.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use storage::batch::Producer;
use storage::builder::{BatchBuilder, EndTransaction, NewRecord, Options as BatchOptions};
use storage::store::{Append, Event, Options, Origin, Truncate, Truncated};
use storage::transactions::Aborted;
use storage::{Compaction, LogConfig, LogId, Slot, batch};
use tempfile::TempDir;

use crate::node::{Node, START_MS, options, place};

const LOG: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Plain,
    Data(i64),
    Mark(i64, bool),
}

#[derive(Debug, Clone)]
enum Action {
    Append(What, usize),
    Truncate(prop::sample::Index),
    Start(prop::sample::Index),
    Restart { shards: usize, is_clean: bool, damage: Option<bool> },
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let producer = 0_i64..5;
    let bytes = prop_oneof![3 => 10_usize..500, 1 => 8_000_usize..30_000];
    let what = prop_oneof![
        1 => Just(What::Plain),
        4 => producer.clone().prop_map(What::Data),
        3 => (producer, any::<bool>()).prop_map(|(producer, is_commit)| What::Mark(producer, is_commit)),
    ];
    let restart = (1_usize..4, any::<bool>(), proptest::option::weighted(0.5, any::<bool>()));
    let action = prop_oneof![
        40 => (what, bytes).prop_map(|(what, bytes)| Action::Append(what, bytes)),
        2 => any::<prop::sample::Index>().prop_map(Action::Truncate),
        1 => any::<prop::sample::Index>().prop_map(Action::Start),
        2 => restart.prop_map(|(shards, is_clean, damage)| Action::Restart { shards, is_clean, damage }),
    ];
    prop::collection::vec(action, 1..150)
}

/// What the log is made of: base offset, last offset, and what it is.
#[derive(Debug, Default)]
struct Model(Vec<(i64, i64, What)>);

impl Model {
    fn end(&self) -> i64 {
        self.0.last().map_or(0, |(_, last, _)| last + 1)
    }

    /// Open transactions by producer, and those that were aborted.
    fn transactions(&self) -> (BTreeMap<i64, i64>, Vec<Aborted>) {
        let (mut open, mut aborted) = (BTreeMap::new(), Vec::new());
        for &(base, last, what) in &self.0 {
            match what {
                What::Plain => {}
                What::Data(producer) => drop(open.entry(producer).or_insert(base)),
                What::Mark(producer_id, is_commit) => {
                    let Some(first_offset) = open.remove(&producer_id) else { continue };
                    let last_stable_offset = open.values().copied().min().unwrap_or(last + 1);
                    if !is_commit {
                        aborted.push(Aborted { producer_id, first_offset, last_offset: base, last_stable_offset });
                    }
                }
            }
        }
        (open, aborted)
    }
}

fn transactional(what: What, bytes: usize, epoch: i16) -> Vec<u8> {
    let producer = |id, base_sequence| Some(Producer { id, epoch, base_sequence });
    let options = match what {
        What::Plain => BatchOptions::default(),
        What::Data(id) => BatchOptions { producer: producer(id, 0), is_transactional: true, ..BatchOptions::default() },
        What::Mark(id, _) => BatchOptions {
            producer: producer(id, -1),
            is_transactional: true,
            is_control: true,
            ..BatchOptions::default()
        },
    };
    let mut builder = BatchBuilder::new(options);
    let mut add = |key: &[u8], value: &[u8]| {
        let record = NewRecord { timestamp: START_MS, key: Some(key), value: Some(value), headers: &[] };
        builder.append(&record).expect("small");
    };
    match what {
        What::Mark(_, is_commit) => {
            let mark = EndTransaction { is_commit, coordinator_epoch: 0 };
            add(&mark.key(), &mark.value());
        }
        What::Plain | What::Data(_) => {
            let key = format!("key-{}", bytes % 7);
            add(key.as_bytes(), &vec![bytes as u8; bytes]);
            add(b"another", b"value");
        }
    }
    builder.finish()
}

struct World {
    directory: TempDir,
    options: Options,
    config: LogConfig,
    node: Option<Node>,
    at: (usize, Slot),
    model: Model,
    epoch: i16,
}

impl World {
    fn new(config: LogConfig) -> Self {
        let directory = TempDir::new().expect("a directory");
        let options = Options { large_bytes_min: 12 << 10, ..options() };
        let mut node = Node::try_start(directory.path(), 1, &options).expect("sound");
        let at = node.attach(LOG, config.clone());
        Self { directory, options, config, node: Some(node), at, model: Model::default(), epoch: 0 }
    }

    fn node(&mut self) -> &mut Node {
        self.node.as_mut().expect("it runs")
    }

    fn append(&mut self, what: What, bytes: usize) {
        self.epoch += 1;
        let batch = transactional(what, bytes, self.epoch);
        let (shard, slot) = self.at;
        let now = self.node().now;
        let origin = if let What::Mark(..) = what { Origin::Internal } else { Origin::Client };
        let mut outcome = self.node().stores[shard].append(slot, &batch, origin, 0, now);
        if let Append::Validating(token) = outcome {
            self.node().settle();
            let finished = self.node().events.iter().find_map(|(_, event)| match event {
                Event::AppendFinished { token: its, outcome, .. } if *its == token => Some(outcome.clone()),
                _ => None,
            });
            outcome = finished.expect("every append finishes");
        }
        let Append::Appended { base_offset, last_offset, .. } = outcome else { panic!("{outcome:?}") };
        self.model.0.push((base_offset, last_offset, what));
    }

    fn truncate(&mut self, offset: i64) {
        self.node().settle();
        let (shard, slot) = self.at;
        let now = self.node().now;
        if self.node().stores[shard].truncate(slot, offset, now) == Truncate::Unchanged {
            return;
        }
        self.node().settle();
        let ended = self.node().events.iter().rev().find_map(|(_, event)| match event {
            Event::TruncationEnded { outcome, .. } => Some(*outcome),
            _ => None,
        });
        let Some(Truncated::Done { end_offset }) = ended else { panic!("{ended:?}") };
        self.model.0.retain(|&(_, last, _)| last < end_offset);
        if end_offset == self.node().stores[shard].start_offset(slot) {
            // Nothing is left, and nothing is known of what was before.
            self.model.0.clear();
            self.model.0.extend((end_offset > 0).then_some((end_offset - 1, end_offset - 1, What::Plain)));
        }
    }

    fn restart(&mut self, shards: usize, is_clean: bool, damage: Option<bool>) {
        let mut node = self.node.take().expect("it runs");
        node.settle();
        let now = node.now;
        if is_clean {
            node.stop()
        } else {
            drop(node)
        }
        for file in indexes(self.directory.path()) {
            match damage {
                Some(true) => fs::remove_file(file).expect("there"),
                Some(false) => {
                    let mut bytes = fs::read(&file).expect("there");
                    if let Some(byte) = bytes.last_mut() {
                        *byte ^= 1;
                    }
                    fs::write(file, bytes).expect("writable");
                }
                None => {}
            }
        }
        let mut node = Node::try_start(self.directory.path(), shards, &self.options).expect("sound");
        node.now = now;
        self.at = node.attach(LOG, self.config.clone());
        assert_eq!(self.at.0, place(LogId(LOG), shards));
        self.node = Some(node);
    }

    /// Compares everything that the store tells of transactions with the model.
    fn check(&mut self) {
        self.node().settle();
        let (shard, slot) = self.at;
        let store = &self.node.as_ref().expect("it runs").stores[shard];
        let (start, end) = (store.start_offset(slot), store.end_offset(slot));
        assert_eq!(end, self.model.end());
        let (open, aborted) = self.model.transactions();
        let stable = open.values().copied().min().map_or(end, |first| first.max(start));
        assert_eq!(store.last_stable_offset(slot, store.durable_end(slot)), stable);
        for active in store.active_producers(slot) {
            assert_eq!(active.transaction_start_offset, open.get(&active.id).copied());
        }
        let step = ((end - start) as usize / 12).max(1);
        for from in (start..end).step_by(step) {
            for to in (from + 1..=end).step_by(step) {
                let is_there = |it: &&Aborted| it.last_offset >= from && it.first_offset < to;
                let expected: Vec<Aborted> = aborted.iter().filter(is_there).copied().collect();
                assert_eq!(store.aborted_transactions(slot, from, to), expected, "{from}..{to}");
            }
        }
    }
}

/// The log's indexes of aborted transactions.
fn indexes(root: &Path) -> Vec<PathBuf> {
    let Ok(files) = fs::read_dir(root.join(format!("logs/topic-0.{LOG}"))) else { return Vec::new() };
    let paths = files.map(|entry| entry.expect("readable").path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|it| it == "txnindex")).collect();
    paths.sort();
    paths
}

fn config() -> LogConfig {
    LogConfig { segment_bytes: 64 << 10, retention_ms: None, file_delete_delay_ms: 0, ..LogConfig::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn what_is_stable_and_what_was_aborted_is_known_whatever_happens(actions in actions()) {
        let mut world = World::new(config());
        for action in actions {
            match action {
                Action::Append(what, bytes) => {
                    world.append(what, bytes);
                    continue;
                }
                Action::Truncate(at) => {
                    let offset = at.index(world.model.end() as usize + 1) as i64;
                    world.truncate(offset);
                }
                Action::Start(at) => {
                    world.node().settle();
                    let (shard, slot) = world.at;
                    let node = world.node();
                    let durable = node.stores[shard].durable_end(slot);
                    // Small steps, so that something stays.
                    let offset = at.index(durable as usize / 4 + 1) as i64;
                    node.stores[shard].set_start(slot, offset, node.now);
                }
                Action::Restart { shards, is_clean, damage } => world.restart(shards, is_clean, damage),
            }
            world.check();
        }
        world.check();
        world.restart(1, true, None);
        world.check();
    }
}

#[test]
fn nothing_above_the_high_watermark_decides_what_is_stable() {
    let mut world = World::new(config());
    world.append(What::Plain, 10);
    world.append(What::Data(1), 10);
    world.append(What::Data(2), 10);
    world.append(What::Mark(1, false), 0);
    let (_, slot) = world.at;
    let stable = |world: &World, high_watermark| {
        world.node.as_ref().expect("it runs").stores[0].last_stable_offset(slot, high_watermark)
    };
    assert_eq!([0, 1, 2, 3, 6, 7].map(|watermark| stable(&world, watermark)), [0, 1, 2, 2, 2, 4]);
    world.append(What::Mark(2, true), 0);
    assert_eq!(stable(&world, 7), 4, "the mark at offset 7 is not committed");
    assert_eq!(stable(&world, 8), 8);
}

#[test]
fn an_index_is_kafkas_and_is_made_anew_as_it_was_when_it_is_gone() {
    let mut world = World::new(config());
    for round in 0..200 {
        let producer = round % 3;
        world.append(What::Data(producer), 900);
        if round % 2 == 0 {
            world.append(What::Mark(producer, round % 4 == 0), 0);
        }
        world.node().settle();
    }
    world.restart(1, true, None);
    let root = world.directory.path().to_path_buf();
    let contents = |root: &Path| -> Vec<(PathBuf, Vec<u8>)> {
        indexes(root).into_iter().map(|file| (file.clone(), fs::read(file).expect("there"))).collect()
    };
    let before = contents(&root);
    assert!(before.len() >= 2 && before.iter().all(|(_, bytes)| bytes.len().is_multiple_of(34)));
    let (_, aborted) = world.model.transactions();
    let first = &before[0].1;
    let number = |at: usize| i64::from_be_bytes(*first[at..].first_chunk().expect("an entry"));
    assert_eq!(first[..2], [0, 0]);
    assert_eq!(
        [number(2), number(10), number(18), number(26)],
        [aborted[0].producer_id, aborted[0].first_offset, aborted[0].last_offset, aborted[0].last_stable_offset]
    );
    for damage in [true, false] {
        world.restart(1, true, Some(damage));
        world.check();
        assert_eq!(contents(&root), before);
    }
}

#[test]
fn compaction_goes_by_the_index_however_many_were_aborted() {
    let config = LogConfig {
        keys_required: true,
        delete_expired: false,
        compaction: Some(Compaction { dirty_millionths_min: 0, delete_retention_ms: 10_000, ..Compaction::default() }),
        ..config()
    };
    let mut world = World::new(config);
    for round in 0..500 {
        world.append(What::Data(round % 4), 700);
        world.append(What::Mark(round % 4, round % 5 == 0), 0);
        world.node().settle();
    }
    world.append(What::Data(9), 100);
    let open_from = world.model.0.last().expect("just appended").0;
    for _ in 0..100 {
        world.append(What::Plain, 900);
        world.node().settle();
    }
    let (_, aborted) = world.model.transactions();
    for damage in [None, Some(true)] {
        if damage.is_some() {
            world.restart(1, true, damage);
        }
        for _ in 0..20 {
            world.node().pass(20_000);
            world.node().settle();
        }
        let at = world.at;
        let bytes = world.node().read_all(at, 0);
        let is_of_aborted = |batch: &batch::Batch<'_>| {
            let is_in = |it: &Aborted| {
                let offsets = it.first_offset..it.last_offset;
                it.producer_id == batch.producer_id() && offsets.contains(&batch.base_offset())
            };
            !batch.attributes().is_control() && batch.record_count() > 0 && aborted.iter().any(is_in)
        };
        let batches = batch::batches(&bytes).map(|batch| batch.expect("whole"));
        let kept: Vec<i64> = batches.filter(is_of_aborted).map(|batch| batch.base_offset()).collect();
        // The segment in which a transaction is open is not compacted.
        assert!(kept.iter().all(|&offset| offset > open_from - 300), "{damage:?}: {kept:?}");
        let store = &world.node().stores[0];
        assert_eq!(store.last_stable_offset(at.1, store.durable_end(at.1)), open_from);
        for offset in kept {
            let told = store.aborted_transactions(at.1, offset, offset + 1);
            assert!(told.iter().any(|it| (it.first_offset..it.last_offset).contains(&offset)), "{offset}: {told:?}");
        }
    }
}
