//! A log's end is cut at a batch's boundary, durably, and the log goes on from there.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use storage::batch::batches;
use storage::io::BLOCK_BYTES;
use storage::journal::format::ExtentHeader;
use storage::store::{Append, Event, Lookup, Origin, Truncate, Truncated};
use storage::{Durability, LogConfig, Slot};

use crate::node::{Node, START_MS, batch, produced};

type Place = (usize, Slot);

fn config() -> LogConfig {
    LogConfig { segment_bytes: 1 << 20, retention_ms: None, ..LogConfig::default() }
}

/// Batches of one record of 100 KB, each a second later than the one before.
fn fill(node: &mut Node, log: Place, count: i64) {
    for _ in 0..count {
        let timestamp = START_MS + node.stores[log.0].end_offset(log.1) * 1000;
        assert!(matches!(node.append(log, &batch(1, 100_000, timestamp)), Append::Appended { .. }));
        node.settle();
    }
}

/// Cuts the log and says where it ends then.
fn truncate(node: &mut Node, log: Place, offset: i64) -> i64 {
    assert_eq!(node.stores[log.0].truncate(log.1, offset, node.now), Truncate::Pending);
    node.settle();
    let ended = node.events.iter().rev().find_map(|(_, event)| match event {
        Event::TruncationEnded { outcome, .. } => Some(*outcome),
        _ => None,
    });
    let Some(Truncated::Done { end_offset }) = ended else { panic!("{ended:?}") };
    let store = &node.stores[log.0];
    assert_eq!((store.end_offset(log.1), store.durable_end(log.1)), (end_offset, end_offset));
    end_offset
}

fn offsets(node: &mut Node, log: Place) -> Vec<i64> {
    let start = node.stores[log.0].start_offset(log.1);
    let bytes = node.read_all(log, start);
    batches(&bytes).map(|batch| batch.expect("whole").base_offset()).collect()
}

fn segments(root: &Path) -> Vec<String> {
    let files = fs::read_dir(root.join("logs/topic-0.1")).expect("there").map(|entry| entry.expect("readable"));
    let mut names: Vec<String> = files.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect();
    names.retain(|name| name.ends_with(".log"));
    names.sort();
    names
}

/// Removes what a power cut takes of a journal in the page cache.
fn lose_cached_journal(root: &Path) {
    for entry in fs::read_dir(root.join("journal")).expect("there") {
        let path = entry.expect("readable").path();
        let header = ExtentHeader::decode(&fs::read(&path).expect("readable")).ok().flatten();
        if header.is_some_and(|header| header.durability == Durability::Cached) {
            fs::remove_file(path).expect("there");
        }
    }
}

/// What was appended behind the cut is written with the block that the cut is in, and journaled with the batches that reach
/// into it when the log changes its journal. The block may be torn then, and the journal has all of it.
#[test]
fn a_log_that_was_cut_changes_its_journal_and_its_last_block_may_be_torn() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let config = || LogConfig { segment_bytes: 64 << 20, ..config() };
    let log = node.attach(1, LogConfig { durability: Durability::Cached, ..config() });
    // Enough for a round to make the first of them durable in the segment; memory keeps them for reads.
    fill(&mut node, log, 60);
    truncate(&mut node, log, 25);
    fill(&mut node, log, 1);
    node.stores[0].reconfigure(log.1, config(), node.now);
    node.settle();
    drop(node);
    lose_cached_journal(directory.path());
    let path = directory.path().join(format!("logs/topic-0.1/{:020}.log", 0));
    let cut = 25 * batch(1, 100_000, START_MS).len() as u64;
    assert!(fs::metadata(&path).expect("there").len() > cut);
    let torn = fs::OpenOptions::new().write(true).open(path).expect("there");
    torn.write_all_at(&[0xff; 64], cut / BLOCK_BYTES as u64 * BLOCK_BYTES as u64).expect("written");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config());
    assert_eq!(offsets(&mut node, log), (0..26).collect::<Vec<_>>());
}

/// A log that is empty knows its producers from the cut alone, where a power cut takes the batches that told of them.
#[test]
fn a_cached_log_that_was_cut_to_nothing_knows_its_producers_after_a_power_cut() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let cached = LogConfig { durability: Durability::Cached, ..config() };
    let log = node.attach(1, cached.clone());
    assert!(matches!(node.append(log, &produced(1, 0)), Append::Appended { .. }));
    node.settle();
    node.stop();
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, cached.clone());
    for (producer, sequence) in [(1, 1), (2, 0)] {
        assert!(matches!(node.append(log, &produced(producer, sequence)), Append::Appended { .. }));
        node.settle();
    }
    node.stores[0].set_start(log.1, 2, node.now);
    assert_eq!(truncate(&mut node, log, 2), 2);
    drop(node);
    lose_cached_journal(directory.path());
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, cached);
    assert_eq!((node.stores[0].start_offset(log.1), node.stores[0].end_offset(log.1)), (2, 2));
    assert!(matches!(node.append(log, &produced(1, 2)), Append::Appended { base_offset: 2, .. }));
}

/// The removal of a log's files may reach the disk before what is in the page cache does.
#[test]
fn a_cached_log_that_was_deleted_does_not_come_back_after_a_power_cut() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let cached = LogConfig { durability: Durability::Cached, ..config() };
    let log = node.attach(1, cached.clone());
    fill(&mut node, log, 3);
    node.stop();
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, cached);
    node.stores[log.0].delete(log.1, node.now);
    node.settle();
    node.pass(120_000);
    node.settle();
    assert!(!directory.path().join("logs/topic-0.1").exists());
    drop(node);
    lose_cached_journal(directory.path());
    let node = Node::start(directory.path(), 1);
    assert_eq!(node.stores[0].unattached(), Vec::new());
}

#[test]
fn a_cut_inside_a_closed_segment_leaves_what_lies_before_and_the_log_goes_on_there() {
    for durability in [Durability::Durable, Durability::Cached] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut node = Node::start(directory.path(), 1);
        let config = LogConfig { durability, ..config() };
        let mut log = node.attach(1, config.clone());
        fill(&mut node, log, 35);
        for (cut, appended) in [(25, 12), (25, 3), (20, 0), (11, 30), (3, 1)] {
            assert_eq!(truncate(&mut node, log, cut), cut);
            assert!(segments(directory.path()).iter().all(|name| name[..20].parse::<i64>().expect("digits") <= cut));
            fill(&mut node, log, appended);
            drop(node);
            node = Node::start(directory.path(), 1);
            log = node.attach(1, config.clone());
            let end = cut + appended;
            assert_eq!(offsets(&mut node, log), (0..end).collect::<Vec<_>>());
            for offset in 0..end {
                let timestamp = START_MS + offset * 1000;
                let lookup = node.stores[0].find_timestamp(log.1, timestamp);
                let found = node.finished(lookup);
                assert_eq!(found, Lookup::Found { offset, timestamp, leader_epoch: 0 }, "{durability:?}");
            }
            let lookup = node.stores[0].find_timestamp(log.1, START_MS + end * 1000);
            assert_eq!(node.finished(lookup), Lookup::NotFound, "the index has nothing of what was cut");
        }
        node.stop();
        let mut node = Node::start(directory.path(), 1);
        let log = node.attach(1, config);
        assert_eq!(offsets(&mut node, log), [0, 1, 2, 3]);
    }
}

#[test]
fn a_batch_goes_whole_and_the_end_never_falls_below_the_start() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config());
    for _ in 0..4 {
        node.append(log, &batch(10, 100, START_MS));
    }
    node.settle();
    assert_eq!(node.stores[0].truncate(log.1, 40, node.now), Truncate::Unchanged);
    assert_eq!(truncate(&mut node, log, 37), 30);
    node.stores[0].set_start(log.1, 14, node.now);
    assert_eq!(truncate(&mut node, log, 16), 14, "the batch of offset 16 begins below the start");
    assert_eq!(node.stores[0].start_offset(log.1), 14);
    node.append(log, &batch(1, 100, START_MS));
    node.settle();
    drop(node);
    let mut node = Node::start(directory.path(), 2);
    let log = node.attach(1, config());
    let store = &node.stores[log.0];
    assert_eq!((store.start_offset(log.1), store.end_offset(log.1)), (14, 15));
    assert_eq!(offsets(&mut node, log), [14]);
}

#[test]
fn appends_wait_and_get_their_offsets_when_the_cut_is_durable() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config());
    fill(&mut node, log, 5);
    let now = node.now;
    assert_eq!(node.stores[0].truncate(log.1, 2, now), Truncate::Pending);
    assert_eq!(node.stores[0].truncate(log.1, 1, now), Truncate::Busy);
    let appended = node.stores[0].append(log.1, &batch(1, 100, START_MS), Origin::Client, 7, now);
    assert!(matches!(appended, Append::Validating(_)), "{appended:?}");
    node.settle();
    let order: Vec<_> = node
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::TruncationEnded { outcome: Truncated::Done { end_offset }, .. } => Some(("cut", *end_offset)),
            Event::AppendFinished { outcome: Append::Appended { base_offset, .. }, .. } => {
                Some(("appended", *base_offset))
            }
            _ => None,
        })
        .collect();
    assert_eq!(order, [("cut", 2), ("appended", 2)]);
    assert_eq!(node.stores[0].end_offset_for_epoch(log.1, 0).end_offset, 2);
}

#[test]
fn a_truncation_that_was_not_journaled_never_happened() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config());
    fill(&mut node, log, 25);
    assert_eq!(node.stores[0].truncate(log.1, 12, node.now), Truncate::Pending);
    node.stores[0].step(node.now, 64 << 10);
    assert_eq!(node.stores[0].end_offset(log.1), 25, "it is looked for");
    node.stores[0].step(node.now, 64 << 10);
    drop(node);
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config());
    assert_eq!(offsets(&mut node, log).len(), 25);
}

#[test]
fn producers_and_epochs_go_back_with_the_log() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config());
    for sequence in 0..6 {
        let epoch = sequence / 3;
        let outcome = node.stores[0].append(log.1, &produced(9, sequence), Origin::Client, epoch, node.now);
        assert!(matches!(outcome, Append::Appended { .. }), "{outcome:?}");
    }
    node.settle();
    for is_restarted in [false, true] {
        let log = if is_restarted {
            drop(node);
            node = Node::start(directory.path(), 1);
            node.attach(1, config())
        } else {
            assert_eq!(truncate(&mut node, log, 2), 2);
            log
        };
        assert_eq!(node.stores[0].last_epoch(log.1), Some(0));
        assert!(matches!(node.append(log, &produced(9, 1)), Append::Duplicate { base_offset: 1, .. }));
        assert!(matches!(node.append(log, &produced(9, 3)), Append::OutOfOrder { expected: 2, found: 3 }));
    }
    let log = (0, node.stores[0].slot_of(storage::LogId(1)).expect("attached"));
    assert!(matches!(node.append(log, &produced(9, 2)), Append::Appended { base_offset: 2, .. }));
}

#[test]
fn a_producer_of_which_everything_known_is_cut_is_known_by_what_is_left() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let mut log = node.attach(1, config());
    for sequence in 0..7 {
        node.append(log, &produced(9, sequence));
    }
    // Two segments of others lie behind its first batches.
    fill(&mut node, log, 25);
    for sequence in 7..20 {
        node.append(log, &produced(9, sequence));
    }
    node.settle();
    assert_eq!(truncate(&mut node, log, 30), 30);
    for is_restarted in [false, true] {
        if is_restarted {
            drop(node);
            node = Node::start(directory.path(), 1);
            log = node.attach(1, config());
        }
        assert!(matches!(node.append(log, &produced(9, 8)), Append::OutOfOrder { expected: 7, found: 8 }));
        for sequence in 2..7 {
            let outcome = node.append(log, &produced(9, sequence));
            assert!(matches!(outcome, Append::Duplicate { base_offset, .. } if base_offset == i64::from(sequence)));
        }
    }
    assert!(matches!(node.append(log, &produced(9, 7)), Append::Appended { base_offset: 30, .. }));
}

#[test]
fn a_damaged_index_of_the_segment_that_is_cut_is_made_anew() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config());
    fill(&mut node, log, 25);
    node.stop();
    let index = directory.path().join("logs/topic-0.1/00000000000000000000.skein-index");
    let mut bytes = fs::read(&index).expect("there");
    bytes[40] ^= 1;
    fs::write(&index, bytes).expect("writable");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config());
    assert_eq!(truncate(&mut node, log, 7), 7);
    fill(&mut node, log, 10);
    node.stop();
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config());
    assert_eq!(offsets(&mut node, log), (0..17).collect::<Vec<_>>());
}
