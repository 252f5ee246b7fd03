//! What the engine does when the disk does not do its part.

use storage::LogConfig;
use storage::store::{Append, Event, Full};

use crate::node::{Node, START_MS, batch};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EDQUOT: i32 = 122;

/// Virtual time within which a store has noticed what is wrong, in milliseconds.
const NOTICED_MS: u64 = 20_000;

/// Lets time pass until there is an event that `wanted` picks; whether there was one.
fn wait_for(node: &mut Node, wanted: impl Fn(&Event) -> bool) -> bool {
    for _ in 0..NOTICED_MS / 100 {
        node.settle();
        if node.events.iter().any(|(_, event)| wanted(event)) {
            return true;
        }
        node.pass(100);
    }
    false
}

/// A disk that is gone, or a file system that was made read-only, at any point of an extent's life.
#[test]
fn a_disk_that_takes_nothing_any_more_stops_the_store_and_nothing_is_acknowledged() {
    for errno in [EIO, EROFS] {
        for groups_before in [0, 1, 3, 40] {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let mut node = Node::start(directory.path(), 1);
            let log = node.attach(1, LogConfig::default());
            for _ in 0..groups_before {
                node.append(log, &batch(1, 50_000, START_MS));
                node.settle();
            }
            node.refuse_changes(0, Some(errno));
            node.append(log, &batch(1, 100, START_MS));
            assert!(wait_for(&mut node, |event| matches!(event, Event::Fatal(_))), "{errno} after {groups_before}");
            assert_eq!(node.stores[0].durable_end(log.1), groups_before);
            assert_eq!(node.append(log, &batch(1, 100, START_MS)), Append::Failed);
            assert_eq!(node.read_all(log, 0).is_empty(), groups_before == 0, "reads go on");
            drop(node);
            let mut node = Node::start(directory.path(), 1);
            let log = node.attach(1, LogConfig::default());
            let end = node.stores[0].durable_end(log.1);
            assert!((groups_before..=groups_before + 1).contains(&end), "{end}: what was acknowledged is there");
        }
    }
}

/// Blocks, inodes, quota: it is all want of room.
#[test]
fn what_is_refused_for_want_of_room_is_taken_once_there_is_some() {
    for errno in [ENOSPC, EDQUOT] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut node = Node::start(directory.path(), 1);
        let log = node.attach(1, LogConfig::default());
        node.append(log, &batch(1, 100, START_MS));
        node.settle();
        node.refuse_changes(0, Some(errno));
        for _ in 0..3 {
            node.append(log, &batch(1, 100_000, START_MS));
        }
        assert!(wait_for(&mut node, |event| matches!(event, Event::DiskFull)), "{errno}");
        assert_eq!(node.append(log, &batch(1, 100, START_MS)), Append::Full(Full::Disk));
        assert_eq!(node.stores[0].durable_end(log.1), 1, "nothing is acknowledged");
        node.pass(NOTICED_MS);
        node.settle();
        assert!(!node.events.iter().any(|(_, event)| matches!(event, Event::Fatal(_))), "it waits as long as it takes");
        node.refuse_changes(0, None);
        assert!(wait_for(&mut node, |event| matches!(event, Event::Writable)), "{errno}");
        node.settle();
        assert_eq!(node.stores[0].durable_end(log.1), 4, "what had been appended keeps its offsets");
        assert!(matches!(node.append(log, &batch(1, 100, START_MS)), Append::Appended { base_offset: 4, .. }));
    }
}

#[test]
fn a_store_that_was_given_up_leaves_its_directory_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig::default());
    node.append(log, &batch(1, 100, START_MS));
    let store = &mut node.stores[0];
    store.give_up();
    let mut requests = Vec::new();
    for _ in 0..10 {
        store.step(node.now, 1 << 20);
        store.requests(&mut requests);
    }
    assert!(requests.is_empty(), "{requests:?}");
    assert!(store.has_failed() && !store.has_work() && store.next_deadline().is_none());
    store.begin_stop();
    assert!(store.is_stopped(), "a stop does not wait for it");
}
