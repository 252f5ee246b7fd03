//! Idle producers are forgotten, also where nothing else happens to their log.

use storage::store::Append;
use storage::{LogConfig, Slot};

use crate::node::{Node, produced};

const EXPIRATION_MS: u64 = 1_000_000;

fn config() -> LogConfig {
    LogConfig { producer_id_expiration_ms: EXPIRATION_MS, retention_ms: None, ..LogConfig::default() }
}

fn known(node: &Node, log: (usize, Slot)) -> Vec<i64> {
    node.stores[log.0].active_producers(log.1).map(|active| active.id).collect()
}

/// Lets time pass to the next deadline, if there is one; whether there was.
fn pass_to_deadline(node: &mut Node) -> bool {
    let Some(at) = node.stores[0].next_deadline() else { return false };
    let wait_ms = at.saturating_sub(node.now.monotonic_ns).div_ceil(1_000_000);
    node.pass(wait_ms);
    node.settle();
    true
}

#[test]
fn producers_of_an_idle_log_expire_each_at_its_time_and_then_nothing_is_left_to_do() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config());
    node.settle();
    assert_eq!(node.stores[0].next_deadline(), None, "a log without producers has nothing to wait for");
    for id in 0..3 {
        assert!(matches!(node.append(log, &produced(id, 0)), Append::Appended { .. }));
        node.settle();
        node.pass(EXPIRATION_MS / 10);
    }
    let mut looks = 0;
    for left in [vec![1, 2], vec![2], vec![]] {
        looks += usize::from(pass_to_deadline(&mut node));
        assert_eq!(known(&node, log), left);
    }
    assert_eq!(looks, 3);
    assert_eq!(node.stores[0].next_deadline(), None);
}

#[test]
fn a_producer_that_expired_while_nobody_looked_is_forgotten_after_the_next_start() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config());
    node.append(log, &produced(7, 0));
    node.settle();
    let mut now = node.now;
    node.stop();
    let mut node = Node::start(directory.path(), 1);
    now.wall_ms += EXPIRATION_MS as i64 - 1;
    node.now = now;
    let log = node.attach(1, config());
    node.settle();
    assert_eq!(known(&node, log), [7]);
    assert!(pass_to_deadline(&mut node));
    assert_eq!(known(&node, log), [0_i64; 0]);
}
