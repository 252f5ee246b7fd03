//! What was acknowledged and is damaged is reported, never dropped; what nobody relied on may go.

use std::fs;
use std::path::{Path, PathBuf};

use storage::store::{Append, Lookup, Read, ReadRequest, ReaderId};
use storage::{Error, LogConfig, LogId};

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

pub(crate) fn flip(path: &Path, position: usize) {
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

/// A log of `count` batches of one record of `bytes` bytes each, in segments of at least 1 MiB, all of it on disk.
pub(crate) fn stored(root: &Path, count: usize, bytes: usize) -> Node {
    let mut node = Node::start(root, 1);
    let log = node.attach(1, config());
    for at in 0..count {
        node.append(log, &batch(1, bytes, START_MS + at as i64));
        node.settle();
    }
    node.stop();
    let mut node = Node::start(root, 1);
    node.attach(1, config());
    node
}

fn config() -> LogConfig {
    LogConfig { segment_bytes: 1 << 20, index_interval_bytes: 64 << 10, retention_ms: None, ..LogConfig::default() }
}

fn read_at(node: &mut Node, offset: i64, max_bytes: usize) -> Read {
    let slot = node.stores[0].slot_of(LogId(1)).expect("attached");
    let limit_offset = node.stores[0].end_offset(slot);
    let request = ReadRequest { offset, max_bytes, at_least_one: true, limit_offset, reader: ReaderId(1) };
    node.read((0, slot), request).0
}

/// Reads on from the first offset as a consumer does that seeks over each error by one: the offsets that it cannot have.
pub(crate) fn offsets_lost(node: &mut Node, count: i64, max_bytes: usize) -> Vec<i64> {
    let (mut offset, mut lost) = (0, Vec::new());
    while offset < count {
        match read_at(node, offset, max_bytes) {
            Read::Ready { next_offset, .. } => {
                assert!(next_offset > offset, "it goes on");
                offset = next_offset;
            }
            Read::Damaged | Read::Failed => {
                lost.push(offset);
                offset += 1;
            }
            other => panic!("offset {offset} gives {other:?}"),
        }
    }
    lost
}

pub(crate) fn first_segment(root: &Path) -> PathBuf {
    root.join("logs/topic-0.1/00000000000000000000.log")
}

#[test]
fn a_damaged_batch_costs_its_own_offset_and_no_other() {
    for max_bytes in [10, 3_000, 100_000] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let size = batch(1, 1000, START_MS).len();
        let mut node = stored(directory.path(), 200, 1000);
        for (at, byte) in [(7, 300), (50, 16), (51, 20), (120, 9), (199, 61)] {
            flip(&first_segment(directory.path()), at * size + byte);
        }
        assert_eq!(offsets_lost(&mut node, 200, max_bytes), [7, 50, 51, 120, 199], "{max_bytes} bytes at a time");
        let damage = node.stores[0].metrics(0).damage;
        assert_eq!(damage.places as u64, damage.found, "each place is told once: {damage:?}");
        assert!((4..=5).contains(&damage.places) && damage.refused_reads >= 5, "{damage:?}");
        // Told and counted once, however often it is met.
        offsets_lost(&mut node, 200, max_bytes);
        assert_eq!(node.stores[0].metrics(0).damage.found, damage.found);
    }
}

#[test]
fn what_lies_behind_a_lost_piece_of_a_file_is_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = stored(directory.path(), 200, 1000);
    let path = first_segment(directory.path());
    let mut bytes = fs::read(&path).expect("readable");
    let size = batch(1, 1000, START_MS).len();
    // Fifty batches and parts of two, as if the device had lost them.
    bytes[size * 60 - 100..size * 110 + 100].fill(0);
    fs::write(&path, bytes).expect("writable");
    let lost: Vec<i64> = (59..=110).collect();
    assert_eq!(offsets_lost(&mut node, 200, 20_000), lost);
}

#[test]
fn a_segment_that_is_gone_costs_its_own_records_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = stored(directory.path(), 40, 100_000);
    let mut segments: Vec<_> = fs::read_dir(directory.path().join("logs/topic-0.1"))
        .expect("there")
        .map(|it| it.expect("an entry").path())
        .collect();
    segments.retain(|path| path.extension().is_some_and(|it| it == "log"));
    segments.sort();
    let base =
        |path: &Path| path.file_stem().and_then(|it| it.to_str()).and_then(|it| it.parse().ok()).expect("a number");
    let (from, to): (i64, i64) = (base(&segments[1]), base(&segments[2]));
    fs::write(&segments[1], []).expect("writable");
    let lost: Vec<i64> = (from..to).collect();
    assert_eq!(offsets_lost(&mut node, 40, 50_000), lost);
}

#[test]
fn blocks_that_the_device_cannot_read_cost_the_batches_in_them() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = stored(directory.path(), 200, 1000);
    let size = batch(1, 1000, START_MS).len() as u64;
    node.make_unreadable(0, 40_960..45_056);
    let lost: Vec<i64> =
        (0..200).filter(|at| at * size as i64 + size as i64 > 40_960 && at * (size as i64) < 45_056).collect();
    assert_eq!(offsets_lost(&mut node, 200, 30_000), lost);
    node.make_unreadable(0, 0..0);
    assert_eq!(offsets_lost(&mut node, 200, 30_000), [0; 0], "it was the device, and not the bytes");
}

#[test]
fn a_lookup_by_time_passes_over_damage() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = stored(directory.path(), 200, 1000);
    let size = batch(1, 1000, START_MS).len();
    flip(&first_segment(directory.path()), 77 * size + 300);
    let slot = node.stores[0].slot_of(LogId(1)).expect("attached");
    for (wanted, found) in [(76, 76), (77, 78), (78, 78)] {
        let lookup = node.stores[0].find_timestamp(slot, START_MS + wanted);
        let lookup = node.finished(lookup);
        assert!(matches!(lookup, Lookup::Found { offset, .. } if offset == found), "{wanted}: {lookup:?}");
    }
}

/// Lets time pass until the scrubber has ended its pass; for how long, in milliseconds.
fn scrub(node: &mut Node) -> u64 {
    let passes = node.stores[0].metrics(0).scrub.passes;
    for second in 0..100_000 {
        node.settle();
        if node.stores[0].metrics(0).scrub.passes > passes {
            return second * 10;
        }
        node.pass(10);
    }
    panic!("the scrubber does not end: {:?}", node.stores[0].metrics(0).scrub);
}

#[test]
fn the_scrubber_finds_what_nobody_reads() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = stored(directory.path(), 40, 100_000);
    let size = batch(1, 100_000, START_MS).len();
    flip(&first_segment(directory.path()), 3 * size + 500);
    flip(&first_segment(directory.path()), 5 * size + 16);
    node.stores[0].set_scrub_rate(1 << 20);
    let took_ms = scrub(&mut node);
    let snapshot = node.stores[0].metrics(0);
    assert_eq!((snapshot.damage.places, snapshot.damage.refused_reads), (2, 0));
    // Closed segments of 10 batches each; the last one is active.
    assert!(snapshot.scrub.bytes > 3 * 10 * size as u64, "{:?}", snapshot.scrub);
    let least_ms = (snapshot.scrub.bytes - (256 << 10)) * 1000 / (1 << 20);
    assert!((least_ms..least_ms * 3 / 2).contains(&took_ms), "{took_ms} ms for {} bytes", snapshot.scrub.bytes);
    assert_eq!(offsets_lost(&mut node, 40, 1 << 20), [3, 5]);
    assert_eq!(node.stores[0].metrics(0).damage.found, 2, "a place is told once, whoever finds it");
}

#[test]
fn the_scrubber_rests_between_passes_and_has_nothing_to_do_without_closed_segments() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = stored(directory.path(), 5, 1000);
    node.stores[0].set_scrub_rate(1 << 20);
    node.settle();
    assert_eq!(node.stores[0].next_deadline(), None, "nothing is closed");
    drop(node);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = stored(directory.path(), 40, 100_000);
    let began_ns = node.now.monotonic_ns;
    node.stores[0].set_scrub_rate(100 << 20);
    scrub(&mut node);
    let at_ns = node.stores[0].next_deadline().expect("another pass");
    assert_eq!(at_ns - began_ns, 86_400_000_000_000, "a day after the first one began");
    node.stores[0].set_scrub_rate(0);
    assert_eq!(node.stores[0].next_deadline(), None, "switched off");
}

#[test]
fn the_scrubber_passes_over_what_the_device_cannot_read_and_over_files_that_end_early() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = stored(directory.path(), 40, 100_000);
    node.stores[0].set_scrub_rate(100 << 20);
    node.make_unreadable(0, 300_000..300_001);
    scrub(&mut node);
    let found = node.stores[0].metrics(0).damage.found;
    assert_eq!(found, 3, "one in each closed segment");
    node.make_unreadable(0, 0..0);
    let path = first_segment(directory.path());
    let whole = fs::read(&path).expect("readable");
    fs::write(&path, &whole[..whole.len() / 2]).expect("writable");
    node.pass(86_400_000);
    scrub(&mut node);
    assert_eq!(node.stores[0].metrics(0).damage.found, found + 1);
}
