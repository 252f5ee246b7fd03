//! Logs to which nothing is appended for a while hold no memory.

use storage::store::{Append, Options};
use storage::{LogConfig, Slot};

use crate::node::{Node, START_MS, batch, options};

const QUIET_MS: u64 = 60_000;

fn start(root: &std::path::Path) -> Node {
    Node::try_start(root, 1, &Options { quiet_ns: QUIET_MS * 1_000_000, ..options() }).expect("sound")
}

fn append(node: &mut Node, log: (usize, Slot)) {
    assert!(matches!(node.append(log, &batch(1, 100, START_MS)), Append::Appended { .. }));
}

fn tails(node: &Node) -> usize {
    node.stores[0].metrics(0).tails.used_bytes
}

/// Lets time pass as a shard does: from deadline to deadline.
fn pass(node: &mut Node, ms: u64) {
    let until_ns = node.now.monotonic_ns + ms * 1_000_000;
    let mut turns = 0;
    while let Some(at) = node.stores[0].next_deadline().filter(|&at| at <= until_ns) {
        node.now.monotonic_ns = node.now.monotonic_ns.max(at);
        node.settle();
        turns += 1;
        assert!(turns < 1000, "work that does not end: the next at {at}, now {}", node.now.monotonic_ns);
    }
    node.now.monotonic_ns = until_ns;
}

#[test]
fn tails_of_quiet_logs_leave_memory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = start(directory.path());
    let logs: Vec<_> = (0..600).map(|id| node.attach(id, LogConfig::default())).collect();
    for &log in &logs {
        append(&mut node, log);
    }
    node.settle();
    let before = tails(&node);
    assert!(before >= 600 * 4096, "a block each: {before}");
    pass(&mut node, 4 * QUIET_MS);
    assert_eq!(tails(&node), 0);
    let next = node.stores[0].next_deadline();
    assert!(next.is_none_or(|at| at > 1000 * node.now.monotonic_ns), "nothing is done for them any more: {next:?}");
    // They go on where they were, and are quiet again.
    for _ in 0..3 {
        for &log in &logs[..20] {
            append(&mut node, log);
        }
        assert!(tails(&node) > 0);
        pass(&mut node, 4 * QUIET_MS);
        assert_eq!(tails(&node), 0);
    }
    for &log in &logs[..30] {
        let end = node.stores[0].end_offset(log.1);
        let bytes = node.read_all(log, 0);
        assert_eq!(storage::batch::batches(&bytes).count() as i64, end);
    }
    // Killed: everything is there, and what the start brought to memory leaves it, too.
    drop(node);
    let mut node = start(directory.path());
    let logs: Vec<_> = (0..600).map(|id| node.attach(id, LogConfig::default())).collect();
    for (at, &log) in logs.iter().enumerate() {
        assert_eq!(node.stores[0].durable_end(log.1), if at < 20 { 4 } else { 1 });
    }
    pass(&mut node, 4 * QUIET_MS);
    assert_eq!(tails(&node), 0);
}

#[test]
fn who_appends_now_and_then_is_left_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = start(directory.path());
    let log = node.attach(1, LogConfig::default());
    append(&mut node, log);
    node.settle();
    let rounds = node.stores[0].metrics(0).checkpoints;
    for _ in 0..20 {
        node.pass(QUIET_MS - 1000);
        node.settle();
        append(&mut node, log);
        node.settle();
    }
    assert_eq!(node.stores[0].metrics(0).checkpoints, rounds, "its block stays in memory, and is not written");
    assert!(tails(&node) > 0);
}
