//! Large appends go straight to their segment, once, and are there after whatever happens next.

use std::fs;

use storage::store::{Append, Options};
use storage::{Error, LogConfig, batch};

use crate::node::{Node, START_MS, batch, options};

const SEGMENT: &str = "logs/topic-0.1/00000000000000000000.log";

fn large_from(large_bytes_min: usize) -> Options {
    Options { large_bytes_min, ..options() }
}

/// Appends batches of these sizes, each made durable before the next.
fn append_all(node: &mut Node, log: (usize, storage::Slot), sizes: &[usize]) {
    for &size in sizes {
        assert!(matches!(node.append(log, &batch(1, size, START_MS)), Append::Appended { .. }));
        node.settle();
    }
    let store = &node.stores[log.0];
    assert_eq!(store.durable_end(log.1), store.end_offset(log.1));
}

/// The sizes of the values of all records, which are one to a batch.
fn sizes_read(node: &mut Node, log: (usize, storage::Slot)) -> Vec<usize> {
    let bytes = node.read_all(log, 0);
    let batches = batch::batches(&bytes).map(|batch| batch.expect("whole"));
    let intact = batches.inspect(|batch| assert_eq!(batch.crc(), batch.computed_crc()));
    let records = intact.map(|batch| storage::record::records(batch.body()).next().expect("one").expect("sound"));
    records.map(|record| record.value.expect("it has one").len()).collect()
}

#[test]
fn batches_of_all_sizes_come_back_in_order() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sizes = [100, 50_000, 200, 9_000, 30_000, 70_000, 4_096, 300, 20_000];
    let options = large_from(10_000);
    let mut node = Node::try_start(directory.path(), 1, &options).expect("sound");
    let log = node.attach(1, LogConfig::default());
    append_all(&mut node, log, &sizes);
    assert_eq!(node.stores[0].metrics(0).large.writes, 4);
    assert_eq!(sizes_read(&mut node, log), sizes);
    // Killed, and started without large writes, and with them again.
    for start in [large_from(usize::MAX), options] {
        drop(node);
        node = Node::try_start(directory.path(), 2, &start).expect("sound");
        let log = node.attach(1, LogConfig::default());
        assert_eq!(sizes_read(&mut node, log), sizes);
    }
}

#[test]
fn a_large_append_is_written_to_its_segment_and_not_to_the_journal() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::try_start(directory.path(), 1, &large_from(10_000)).expect("sound");
    let log = node.attach(1, LogConfig::default());
    append_all(&mut node, log, &[200_000; 10]);
    let metrics = node.stores[0].metrics(0);
    let written = fs::metadata(directory.path().join(SEGMENT)).expect("there").len();
    assert_eq!((metrics.large.writes, metrics.large.bytes), (10, written), "each block once");
    assert!(written > 10 * 200_000 - 4096, "all but the last block");
    assert!(metrics.durable_journal.bytes < 10 * 8192, "{} bytes", metrics.durable_journal.bytes);
}

#[test]
fn what_gathers_behind_a_large_append_goes_with_the_next() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::try_start(directory.path(), 1, &large_from(10_000)).expect("sound");
    let log = node.attach(1, LogConfig::default());
    append_all(&mut node, log, &[20_000]);
    let sizes: Vec<usize> = [20_000, 500].into_iter().chain([6_000; 4]).collect();
    for &size in &sizes {
        node.append(log, &batch(1, size, START_MS));
    }
    node.settle();
    assert_eq!(node.stores[0].metrics(0).large.writes, 2, "nothing is in flight yet, so all of them go together");
    assert_eq!(node.stores[0].durable_end(log.1), 7);
    assert_eq!(sizes_read(&mut node, log)[1..], sizes);
}

#[test]
fn batches_whose_large_write_fails_go_to_the_journal() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = large_from(10_000);
    let mut node = Node::try_start(directory.path(), 1, &options).expect("sound");
    let log = node.attach(1, LogConfig::default());
    append_all(&mut node, log, &[50_000]);
    node.fail_synced_writes(0, 1);
    append_all(&mut node, log, &[40_000, 300, 60_000]);
    let large = node.stores[0].metrics(0).large;
    assert_eq!((large.writes, large.failed), (2, 1));
    drop(node);
    let mut node = Node::try_start(directory.path(), 1, &options).expect("sound");
    let log = node.attach(1, LogConfig::default());
    assert_eq!(sizes_read(&mut node, log), [50_000, 40_000, 300, 60_000]);
}

#[test]
fn a_segment_that_lost_what_a_reference_says_refuses_the_start() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = large_from(10_000);
    let mut node = Node::try_start(directory.path(), 1, &options).expect("sound");
    let log = node.attach(1, LogConfig::default());
    append_all(&mut node, log, &[50_000, 50_000]);
    drop(node);
    let path = directory.path().join(SEGMENT);
    let mut bytes = fs::read(&path).expect("there");
    bytes[60_000] ^= 1;
    fs::write(&path, bytes).expect("writable");
    let error = Node::try_start(directory.path(), 1, &options).err().expect("refused");
    assert!(matches!(&error, Error::Corrupt { file, .. } if file.ends_with(SEGMENT)), "{error}");
}

/// A round's record tells of a large append that is in flight, and counts on its Reference. Once the log is deleted there
/// will be none, so the record must not be durable before the deletion is.
#[test]
fn a_record_that_counts_on_a_large_append_waits_for_the_deletion_of_its_log() {
    for is_deletion_durable in [false, true] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = large_from(10_000);
        let mut node = Node::try_start(directory.path(), 1, &options).expect("sound");
        let log = node.attach(1, LogConfig { segment_bytes: 6_000, ..LogConfig::default() });
        append_all(&mut node, log, &[4_000]);
        // The second batch closes the first segment, so that a round writes it. Before that is done, a large append to
        // another segment begins.
        node.hold_writes(0, &["logs"]);
        node.append(log, &batch(1, 4_000, START_MS));
        node.settle();
        node.append(log, &batch(1, 20_000, START_MS));
        node.settle();
        node.hold_writes(0, &["logs/topic-0.1/00000000000000000002.log"]);
        node.settle();
        let checkpoints = |node: &Node| node.stores[0].metrics(0).checkpoints;
        let before = checkpoints(&node);
        node.hold_writes(0, &["logs/topic-0.1/00000000000000000002.log", "journal"]);
        node.stores[0].delete(log.1, node.now);
        node.settle();
        assert_eq!(checkpoints(&node), before, "the record is not made durable yet");
        if is_deletion_durable {
            node.hold_writes(0, &["logs/topic-0.1/00000000000000000002.log"]);
            node.settle();
            assert!(checkpoints(&node) > before, "nothing is waited for any more");
        }
        drop(node);

        let mut node = Node::try_start(directory.path(), 1, &options).expect("what was not acknowledged is not missed");
        let log = node.attach(1, LogConfig::default());
        let there: &[usize] = if is_deletion_durable { &[] } else { &[4_000, 4_000] };
        assert_eq!(sizes_read(&mut node, log), there);
    }
}
