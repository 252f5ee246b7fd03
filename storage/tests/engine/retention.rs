//! Retention removes whole segments, by time and by size, and closed segments are Kafka's, byte for byte.

use std::fs;

use storage::LogConfig;
use storage::batch::batches;
use storage::store::{Append, Event, Options};

use crate::node::{Node, START_MS, batch, options};

const HOUR_MS: u64 = 3_600_000;

fn config() -> LogConfig {
    LogConfig { segment_bytes: 1 << 20, file_delete_delay_ms: 1000, ..LogConfig::default() }
}

fn fill(node: &mut Node, log: (usize, storage::Slot), batches: usize) {
    for _ in 0..batches {
        let timestamp = node.now.wall_ms;
        assert!(matches!(node.append(log, &batch(1, 100_000, timestamp)), Append::Appended { .. }));
        node.settle();
    }
}

#[test]
fn a_closed_segment_is_its_batches_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config());
    fill(&mut node, log, 25);
    let whole = node.read_all(log, 0);
    let first = fs::read(directory.path().join("logs/topic-0.1/00000000000000000000.log")).expect("written");
    assert_eq!(first, whole[..first.len()]);
    assert_eq!(batches(&first).filter(Result::is_ok).count(), 10);
    let second = fs::read(directory.path().join("logs/topic-0.1/00000000000000000010.log")).expect("written");
    assert_eq!(second, whole[first.len()..first.len() + second.len()]);
}

#[test]
fn segments_go_when_their_newest_record_is_expired_even_the_active_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig { retention_ms: Some(HOUR_MS), ..config() });
    fill(&mut node, log, 15);
    node.pass(HOUR_MS / 2);
    fill(&mut node, log, 10);
    let due = node.stores[0].next_deadline().expect("a segment will expire");
    assert_eq!(due, HOUR_MS * 1_000_000 + 1_000_000, "the first one");
    node.pass(HOUR_MS / 2 + 1);
    node.settle();
    assert_eq!(node.stores[0].start_offset(log.1), 10, "the second segment has newer records too");
    assert!(node.events.iter().any(|(_, event)| matches!(event, Event::StartMoved { start_offset: 10, .. })));
    node.pass(HOUR_MS);
    node.settle();
    assert_eq!(node.stores[0].start_offset(log.1), 25);
    assert_eq!(node.stores[0].size_bytes(log.1), 0);
    node.pass(2000);
    node.settle();
    assert!(!directory.path().join("logs/topic-0.1/00000000000000000000.log").exists());
    fill(&mut node, log, 1);
    assert_eq!(node.stores[0].durable_end(log.1), 26);
}

#[test]
fn segments_beyond_the_size_go_and_stay_gone_after_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig { retention_bytes: Some(2 << 20), ..config() });
    fill(&mut node, log, 60);
    node.pass(2000);
    node.settle();
    let start = node.stores[0].start_offset(log.1);
    assert!(start >= 30, "{start}");
    drop(node);
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config());
    assert_eq!(node.stores[0].start_offset(log.1), start);
    assert!(!directory.path().join("logs/topic-0.1/00000000000000000000.log").exists());
    assert_eq!(batches(&node.read_all(log, start)).count() as i64, 60 - start);
}

#[test]
fn a_start_that_is_set_survives() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config());
    fill(&mut node, log, 5);
    node.stores[0].set_start(log.1, 3, node.now);
    node.settle();
    assert!(node.events.iter().any(|(_, event)| matches!(event, Event::StartDurable { start_offset: 3, .. })));
    drop(node);
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config());
    assert_eq!((node.stores[0].start_offset(log.1), node.stores[0].end_offset(log.1)), (3, 5));
    assert_eq!(batches(&node.read_all(log, 3)).count(), 2);
    assert_eq!(START_MS, node.now.wall_ms);
}

#[test]
fn records_that_are_old_when_they_are_written_can_be_read_until_the_next_look() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options { expiry_interval_ns: 300_000_000_000, ..options() };
    let mut node = Node::try_start(directory.path(), 1, &options).expect("a sound directory");
    let log = node.attach(1, LogConfig { retention_ms: Some(HOUR_MS), ..config() });
    node.pass(1);
    assert!(matches!(node.append(log, &batch(3, 100, 1337)), Append::Appended { .. }));
    node.settle();
    node.pass(60_000);
    node.settle();
    assert_eq!(node.stores[0].start_offset(log.1), 0);
    assert_eq!(node.stores[0].next_deadline(), Some(300_000_000_000));
    node.pass(240_000);
    node.settle();
    assert_eq!(node.stores[0].start_offset(log.1), 3);
}

#[test]
fn a_wall_clock_that_jumps_moves_what_expires_with_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig { retention_ms: Some(HOUR_MS), ..config() });
    fill(&mut node, log, 25);
    // Set back, and an hour passes by the monotonic clock.
    node.now.wall_ms -= 2 * HOUR_MS as i64;
    node.settle();
    node.pass(HOUR_MS + 2);
    node.settle();
    assert_eq!(node.stores[0].start_offset(log.1), 0, "by the wall clock nothing has expired");
    let due = node.stores[0].next_deadline().expect("something will");
    assert!(due > node.now.monotonic_ns + HOUR_MS * 1_000_000, "nothing to do for another two hours");
    // Set right again, and more.
    node.now.wall_ms += 3 * HOUR_MS as i64;
    node.settle();
    assert_eq!(node.stores[0].start_offset(log.1), 25);
}

#[test]
fn many_segments_go_a_few_in_each_step() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let config = LogConfig { segment_bytes: 1000, retention_ms: Some(HOUR_MS), ..config() };
    let log = node.attach(1, config);
    for _ in 0..200 {
        assert!(matches!(node.append(log, &batch(1, 900, START_MS)), Append::Appended { .. }));
    }
    node.settle();
    node.pass(2 * HOUR_MS);
    let mut starts = vec![0];
    for _ in 0..4 {
        node.stores[0].step(node.now, 1);
        starts.push(node.stores[0].start_offset(log.1));
    }
    assert_eq!(starts, [0, 64, 128, 192, 200]);
    node.settle();
    node.pass(2000);
    node.settle();
    let left = fs::read_dir(directory.path().join("logs/topic-0.1")).map_or(0, Iterator::count);
    assert!(left <= 2, "{left} files of the active segment");
}
