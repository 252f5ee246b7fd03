//! Readers of what only the disk has: one after another, many at once, and some that do not take their bytes.

use std::path::Path;

use storage::buffer::Slice;
use storage::store::{Event, Options, Read, ReadRequest, ReadToken, ReaderId};
use storage::{LogConfig, LogId};

use crate::node::{Node, START_MS, batch, options};

const LOGS: u64 = 50;
const BATCHES: i64 = 30;

/// Many logs of 30 batches of 100 KB in closed segments of a few batches, and nothing of them in memory.
fn stored(root: &Path, logs: u64, buffer_bytes: usize) -> Node {
    let config = || LogConfig { segment_bytes: 1 << 20, retention_ms: None, ..LogConfig::default() };
    let mut node = Node::start(root, 1);
    for id in 1..=logs {
        let log = node.attach(id, config());
        for at in 0..BATCHES {
            node.append(log, &batch(1, 100_000, START_MS + at));
        }
        node.settle();
    }
    node.stop();
    let mut node = Node::try_start(root, 1, &Options { buffer_bytes, ..options() }).expect("sound");
    for id in 1..=logs {
        node.attach(id, config());
    }
    node
}

fn request(node: &Node, id: u64, offset: i64, reader: u64) -> (storage::Slot, ReadRequest) {
    let slot = node.stores[0].slot_of(LogId(id)).expect("attached");
    let reader = ReaderId(reader);
    (slot, ReadRequest { offset, max_bytes: 1 << 20, at_least_one: true, limit_offset: BATCHES, reader })
}

fn finished(node: &mut Node) -> Vec<(ReadToken, Read, Vec<Slice>)> {
    let events = std::mem::take(&mut node.events).into_iter();
    events
        .filter_map(|(_, event)| match event {
            Event::ReadFinished { token, outcome, slices, .. } => Some((token, outcome, slices)),
            _ => None,
        })
        .collect()
}

#[test]
fn what_a_reader_wants_next_is_there_before_it_asks() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = stored(directory.path(), 1, 16 << 20);
    let (mut offset, mut waited, mut at_once) = (0, 0, 0);
    let mut bytes = 0;
    while offset < BATCHES {
        let (slot, mut wanted) = request(&node, 1, offset, 7);
        wanted.max_bytes = 250_000;
        let mut slices = Vec::new();
        let outcome = node.stores[0].read(slot, wanted, &mut slices);
        let Read::Ready { next_offset, bytes: found } = (match outcome {
            Read::Pending(_) => {
                waited += 1;
                node.settle();
                finished(&mut node).pop().expect("it finishes").1
            }
            ready => {
                at_once += 1;
                ready
            }
        }) else {
            panic!("offset {offset} can be read")
        };
        (offset, bytes) = (next_offset, bytes + found);
        // Time in which the answer is sent.
        node.settle();
    }
    assert!(bytes > 3_000_000);
    // A segment's first read waits; within it the reader does not.
    assert!(at_once > 2 * waited, "{waited} reads waited, {at_once} did not");
}

#[test]
fn many_readers_at_once_get_their_bytes_in_turn_from_little_memory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = stored(directory.path(), LOGS, 10 << 20);
    // Six readers of each log, of three different segments.
    let mut reading = std::collections::BTreeMap::new();
    for (number, offset) in [0, 12, 25].into_iter().cycle().take(6).enumerate() {
        for id in 1..=LOGS {
            let (slot, wanted) = request(&node, id, offset, id * 100 + number as u64);
            match node.stores[0].read(slot, wanted, &mut Vec::new()) {
                Read::Pending(token) => drop(reading.insert(token, offset)),
                other => panic!("it has to wait: {other:?}"),
            }
        }
    }
    let mut order = Vec::new();
    for _ in 0..10_000 {
        node.settle();
        for (token, outcome, slices) in finished(&mut node) {
            let offset = reading.remove(&token).expect("each ends once");
            assert!(matches!(outcome, Read::Ready { next_offset, .. } if next_offset > offset), "{outcome:?}");
            assert!(!slices.is_empty());
            order.push((token, offset));
        }
        let memory = node.stores[0].metrics(0).buffers;
        assert!(memory.used_bytes <= memory.budget_bytes, "{memory:?}");
        if reading.is_empty() {
            break;
        }
        node.pass(2);
    }
    assert!(reading.is_empty(), "{} reads never ended", reading.len());
    // Segments differ in how many reads one takes: some need their index first.
    for segment in [0, 12, 25] {
        let of_segment = order.iter().filter(|(_, offset)| *offset == segment).map(|(token, _)| *token);
        assert!(of_segment.is_sorted(), "who came first is served first: {order:?}");
    }
}

#[test]
fn readers_who_do_not_take_their_bytes_stop_neither_writes_nor_others_for_ever() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = stored(directory.path(), LOGS, 12 << 20);
    let mut held = Vec::new();
    for id in 1..=LOGS {
        let (slot, wanted) = request(&node, id, 0, id);
        let _ = node.stores[0].read(slot, wanted, &mut Vec::new());
        node.settle();
        held.extend(finished(&mut node));
    }
    let waiting = node.stores[0].metrics(0).reads_waiting;
    assert!(held.len() >= 5 && waiting > 20, "{} reads ended, {waiting} wait", held.len());
    // Appends go on, and reach their segments.
    let log = node.attach(1000, LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() });
    for _ in 0..200 {
        node.append(log, &batch(1, 100_000, START_MS));
        node.settle();
    }
    assert_eq!(node.stores[0].durable_end(log.1), 200);
    // Whoever waits is told after a while, or served when somebody lets go.
    held.truncate(3);
    node.pass(2);
    node.settle();
    let served = finished(&mut node);
    assert!(!served.is_empty() && served.iter().all(|(_, outcome, _)| matches!(outcome, Read::Ready { .. })));
    node.pass(6_000);
    node.settle();
    let told = finished(&mut node);
    assert!(told.iter().any(|(_, outcome, _)| *outcome == Read::Busy), "{} were told", told.len());
    assert_eq!(node.stores[0].metrics(0).reads_waiting, 0);
}
