//! The planted faults do what they say, and a store without them does not: what the simulator's tests rest on.

use storage::io::{Durability, Op, Request};
use storage::recovery::{recover, recover_planted};
use storage::store::{Append, Event, Options, Origin, PlantedFault};
use storage::{LogConfig, LogId};

use crate::node::{Node, START_MS, batch, identity, options};

/// The requests of the first group, and whether its append was reported durable before they were carried out.
fn first_group(planted: Option<PlantedFault>) -> (Vec<Request>, bool) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options { planted, ..options() };
    let mut node = Node::try_start(directory.path(), 1, &options).expect("sound");
    let log = node.attach(1, LogConfig::default());
    node.append(log, &batch(1, 10, START_MS));
    node.settle();
    node.events.clear();
    let now = node.now;
    let store = &mut node.stores[0];
    store.append(log.1, &batch(1, 10, START_MS), Origin::Client, 0, now);
    let mut requests = Vec::new();
    store.requests(&mut requests);
    let is_early = std::iter::from_fn(|| store.next_event()).any(|event| matches!(event, Event::Durable { .. }));
    (requests, is_early)
}

fn is_synced(requests: &[Request]) -> bool {
    requests.iter().any(|request| matches!(request.op, Op::Write { durability: Durability::Synced, .. }))
}

#[test]
fn acknowledging_early_is_a_planted_fault() {
    assert!(!first_group(None).1);
    assert!(first_group(Some(PlantedFault::AcknowledgeBeforeCompletion)).1);
}

#[test]
fn skipping_the_sync_is_a_planted_fault() {
    assert!(is_synced(&first_group(None).0));
    assert!(!is_synced(&first_group(Some(PlantedFault::SkipSync)).0));
}

#[test]
fn taking_an_earlier_starts_groups_for_good_is_a_planted_fault() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Enough small groups for several extents, so that the next start has old ones to use again.
    for _ in 0..2 {
        let mut node = Node::start(directory.path(), 1);
        let log = node.attach(1, LogConfig::default());
        for _ in 0..400 {
            assert!(matches!(node.append(log, &batch(1, 40_000, START_MS)), Append::Appended { .. }));
            node.settle();
        }
    }
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig::default());
    for _ in 0..40 {
        node.append(log, &batch(1, 40_000, START_MS));
        node.settle();
    }
    drop(node);
    let disk = storage::disk::Directory::open(directory.path()).expect("free");
    let sound = recover(&disk, &identity()).expect("sound");
    assert_eq!(sound.offsets_of(LogId(1)), Some((0, 840)));
    let planted = recover_planted(&disk, &identity(), Some(PlantedFault::AcceptOldIncarnation));
    let is_wrong = planted.is_err() || planted.is_ok_and(|found| found.offsets_of(LogId(1)) != Some((0, 840)));
    assert!(is_wrong, "old groups behind the new ones count as new");
}
