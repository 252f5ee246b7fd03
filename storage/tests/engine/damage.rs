//! What was acknowledged and is damaged is reported, never dropped; what nobody relied on may go.

use std::fs;
use std::path::{Path, PathBuf};

use storage::store::Append;
use storage::{Error, LogConfig};

use crate::node::{Node, START_MS, batch, options};

/// A directory whose journal has several groups, and the extent that has them.
fn written(root: &Path) -> PathBuf {
    let mut node = Node::start(root, 1);
    let log = node.attach(1, LogConfig::default());
    for _ in 0..5 {
        assert!(matches!(node.append(log, &batch(1, 100, START_MS)), Append::Appended { .. }));
        node.settle();
    }
    let extents = fs::read_dir(root.join("journal")).expect("there");
    extents.map(|entry| entry.expect("readable").path()).min().expect("one at least")
}

fn flip(path: &Path, position: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[position] ^= 1;
    fs::write(path, bytes).expect("writable");
}

#[test]
fn a_damaged_group_that_was_durable_refuses_the_start() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let extent = written(directory.path());
    // The second group: three more say that it was durable.
    flip(&extent, 2 * 4096 + 100);
    let error = Node::try_start(directory.path(), 1, &options()).err().expect("refused");
    assert!(matches!(error, Error::Corrupt { position: 8192, .. }), "{error}");
}

#[test]
fn a_torn_last_group_is_the_end_of_the_journal() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let extent = written(directory.path());
    flip(&extent, 5 * 4096 + 100);
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig::default());
    assert_eq!(node.stores[0].end_offset(log.1), 4, "the group in flight at a crash may be torn");
}

#[test]
fn a_damaged_batch_in_a_segment_is_not_served() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() });
    for _ in 0..40 {
        node.append(log, &batch(1, 100_000, START_MS));
        node.settle();
    }
    node.stop();
    flip(&directory.path().join("logs/topic-0.1/00000000000000000000.log"), 150_000);
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig::default());
    let request = |offset| storage::store::ReadRequest {
        offset,
        max_bytes: 10,
        at_least_one: true,
        limit_offset: 40,
        reader: storage::store::ReaderId(1),
    };
    assert!(matches!(node.read(log, request(1)).0, storage::store::Read::Failed));
    assert!(matches!(node.read(log, request(2)).0, storage::store::Read::Ready { next_offset: 3, .. }));
}
