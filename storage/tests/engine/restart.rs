//! What was durable is there after a restart, whatever the number of shards.

use storage::batch::batches;
use storage::compression::Codec;
use storage::store::{Append, Event, Full, Options, Origin};
use storage::{Durability, LogConfig, LogId};

use crate::node::{Node, START_MS, batch, compressed, options, produced};

fn offsets(outcome: &Append) -> (i64, i64) {
    match *outcome {
        Append::Appended { base_offset, last_offset, .. } | Append::Duplicate { base_offset, last_offset, .. } => {
            (base_offset, last_offset)
        }
        ref other => panic!("not appended: {other:?}"),
    }
}

#[test]
fn an_append_is_durable_when_the_event_says_so_and_not_before() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig::default());
    assert_eq!(offsets(&node.append(log, &batch(3, 100, START_MS))), (0, 2));
    assert_eq!((node.stores[0].end_offset(log.1), node.stores[0].durable_end(log.1)), (3, 0));
    node.settle();
    assert_eq!(node.stores[0].durable_end(log.1), 3);
    assert!(node.events.iter().any(|(_, event)| matches!(event, Event::Durable { end_offset: 3, .. })));
}

#[test]
fn logs_survive_from_four_shards_to_one_to_three() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut expected = vec![Vec::new(); 10];
    for shards in [4, 1, 3] {
        let mut node = Node::start(directory.path(), shards);
        for id in 0..10 {
            let durability = if id % 3 == 0 { Durability::Cached } else { Durability::Durable };
            let log = node.attach(id, LogConfig { durability, segment_bytes: 1 << 20, ..LogConfig::default() });
            assert_eq!(node.read_all(log, 0), expected[id as usize], "log {id} on {shards} shards");
            for round in 0..30 * id as usize {
                let outcome = node.append(log, &batch(5, 100 + round * 17, START_MS));
                assert!(matches!(outcome, Append::Appended { .. }), "{outcome:?}");
                node.settle();
            }
            expected[id as usize] = node.read_all(log, 0);
            let end = batches(&expected[id as usize]).last().map_or(0, |last| last.expect("whole").next_offset());
            assert_eq!(end, node.stores[log.0].durable_end(log.1));
        }
        // No clean stop: the next start finds what the journals have.
    }
}

#[test]
fn a_clean_stop_loses_nothing_either() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 2);
    let log = node.attach(5, LogConfig::default());
    for _ in 0..100 {
        node.append(log, &batch(2, 1000, START_MS));
    }
    node.settle();
    let expected = node.read_all(log, 0);
    node.stop();
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(5, LogConfig::default());
    assert_eq!(node.read_all(log, 0), expected);
    assert_eq!(node.read_all(log, 150), expected[expected.len() / 100 * 75..]);
}

#[test]
fn the_last_five_batches_of_a_producer_are_recognised_after_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig::default());
    for sequence in 0..8 {
        node.append(log, &produced(77, sequence));
    }
    node.settle();
    drop(node);
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig::default());
    for sequence in 3..8 {
        let outcome = node.append(log, &produced(77, sequence));
        assert!(matches!(outcome, Append::Duplicate { .. }), "{outcome:?}");
        assert_eq!(offsets(&outcome), (i64::from(sequence), i64::from(sequence)));
    }
    assert!(matches!(node.append(log, &produced(77, 9)), Append::OutOfOrder { expected: 8, found: 9 }));
    assert_eq!(offsets(&node.append(log, &produced(77, 8))), (8, 8));
}

#[test]
fn appends_behind_a_batch_that_is_decompressed_keep_their_order() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig::default());
    let large = compressed(Codec::Gzip, 100, 10_000, START_MS);
    let store = &mut node.stores[0];
    let first = store.append(log.1, &large, storage::store::Origin::Client, 0, node.now);
    let second = store.append(log.1, &batch(1, 10, START_MS), storage::store::Origin::Client, 0, node.now);
    assert!(matches!((first, second), (Append::Validating(_), Append::Validating(_))));
    node.settle();
    let ends: Vec<_> = node
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::AppendFinished { outcome, .. } => Some(offsets(outcome)),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [(0, 99), (100, 100)]);
    assert_eq!(node.stores[0].durable_end(log.1), 101);
}

#[test]
fn a_log_that_changes_its_durability_keeps_every_record() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let config = |durability| LogConfig { durability, ..LogConfig::default() };
    let log = node.attach(1, config(Durability::Cached));
    for round in 0..20 {
        let durability = if round % 2 == 0 { Durability::Durable } else { Durability::Cached };
        node.append(log, &batch(2, 300, START_MS));
        node.stores[0].reconfigure(log.1, config(durability), node.now);
        node.append(log, &batch(1, 3000, START_MS));
        if round % 3 == 0 {
            node.settle();
        }
    }
    node.settle();
    let expected = node.read_all(log, 0);
    drop(node);
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config(Durability::Durable));
    assert_eq!(node.stores[0].durable_end(log.1), 60);
    assert_eq!(node.read_all(log, 0), expected);
}

#[test]
fn a_deleted_log_is_gone_with_its_files_and_its_id_finds_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() });
    for _ in 0..30 {
        node.append(log, &batch(1, 100_000, START_MS));
        node.settle();
    }
    assert!(directory.path().join("logs/topic-0.1").exists());
    node.stores[0].delete(log.1, node.now);
    node.settle();
    drop(node);
    let node = Node::start(directory.path(), 1);
    assert!(!directory.path().join("logs/topic-0.1").exists());
    assert_eq!(node.stores[0].unattached(), Vec::<LogId>::new());
}

#[test]
fn ten_thousand_logs_with_a_small_batch_each_fit_and_come_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options { tail_bytes: 96 << 20, ..options() };
    let mut node = Node::try_start(directory.path(), 1, &options).expect("sound");
    for id in 0..10_000 {
        let log = node.attach(id, LogConfig::default());
        let outcome = node.append(log, &batch(1, 100, START_MS));
        assert_ne!(outcome, Append::Full(Full::Memory));
    }
    node.settle();
    assert!(!directory.path().join("logs/topic-0.1").exists(), "no files for a few records");
    drop(node);
    let mut node = Node::try_start(directory.path(), 2, &options).expect("sound");
    for id in 0..10_000 {
        let log = node.attach(id, LogConfig::default());
        assert_eq!(node.stores[log.0].durable_end(log.1), 1, "log {id}");
    }
}

#[test]
fn a_first_batch_that_is_larger_than_the_first_extent_becomes_durable() {
    for durability in [Durability::Durable, Durability::Cached] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut node = Node::start(directory.path(), 1);
        let log = node.attach(1, LogConfig { durability, batch_bytes_max: 2 << 20, ..LogConfig::default() });
        node.append(log, &batch(1, 1_100_000, START_MS));
        node.settle();
        assert_eq!(node.stores[0].durable_end(log.1), 1, "{durability:?}");
        node.stop();
    }
}

/// Its producer would be told that nothing was appended, and yet the batches behind it be taken.
#[test]
fn a_full_disk_does_not_hide_that_a_batch_was_appended_before() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig::default());
    let first = offsets(&node.append(log, &produced(7, 0)));
    node.settle();
    node.fill_disk(0);
    assert!(matches!(node.append(log, &produced(7, 1)), Append::Appended { .. }));
    node.settle();
    assert!(node.events.iter().any(|(_, event)| matches!(event, Event::DiskFull)));
    let repeated = node.append(log, &produced(7, 0));
    assert!(matches!(repeated, Append::Duplicate { .. }), "{repeated:?}");
    assert_eq!(offsets(&repeated), first);
    assert_eq!(node.append(log, &produced(7, 2)), Append::Full(Full::Disk));
}

/// Nobody appends while the disk counts as full, so nothing else would ever find out.
#[test]
fn a_disk_that_has_room_again_is_found_out_without_an_append() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig::default());
    let large = batch(1, 900_000, START_MS);
    while node.stores[0].has_room() {
        assert!(matches!(node.append(log, &large), Append::Appended { .. }));
    }
    node.fill_disk(0);
    node.settle();
    assert!(node.events.iter().any(|(_, event)| matches!(event, Event::DiskFull)));
    node.empty_disk(0);
    for _ in 0..5 {
        let deadline_ns = node.stores[0].next_deadline().expect("it is tried again");
        node.pass(deadline_ns.saturating_sub(node.now.monotonic_ns) / 1_000_000 + 1);
        node.settle();
        if node.events.iter().any(|(_, event)| matches!(event, Event::Writable)) {
            return assert!(matches!(node.append(log, &large), Append::Appended { .. }));
        }
    }
    panic!("the disk counts as full for ever");
}

/// A shard that went to sleep after the turn of such an append would never wake up for it.
#[test]
fn an_append_that_waits_is_work_in_the_same_turn() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let (shard, slot) = node.attach(1, LogConfig::default());
    node.settle();
    let store = &mut node.stores[shard];
    assert!(!store.has_work());
    let large = compressed(Codec::Gzip, 1, 300_000, START_MS);
    let outcome = store.append(slot, &large, Origin::Client, 0, node.now);
    assert!(matches!(outcome, Append::Validating(_)), "{outcome:?}");
    assert!(store.has_work());
    node.settle();
    assert_eq!(node.stores[shard].durable_end(slot), 1);
    assert!(!node.stores[shard].has_work());
}

#[test]
fn nothing_is_refused_where_room_is_waited_for() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options { tail_bytes: 256 << 20, large_bytes_min: usize::MAX, ..options() };
    let mut node = Node::try_start(directory.path(), 1, &options).expect("sound");
    let log = node.attach(1, LogConfig::default());
    let large = batch(1, 900_000, START_MS);
    let mut waited = 0;
    for _ in 0..150 {
        if !node.stores[0].has_room() {
            waited += 1;
            node.settle();
            assert!(node.stores[0].has_room(), "settling made room");
        }
        assert!(matches!(node.append(log, &large), Append::Appended { .. }));
    }
    assert!(waited > 0);
}

#[test]
fn a_spent_memory_refuses_appends_until_rounds_make_room() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig::default());
    let large = batch(1, 900_000, START_MS);
    let mut refused = 0;
    for _ in 0..100 {
        if let Append::Full(_) = node.append(log, &large) {
            refused += 1;
            node.settle();
            assert!(matches!(node.append(log, &large), Append::Appended { .. }), "settling made room");
        }
    }
    assert!(refused > 0);
    node.settle();
    assert_eq!(node.stores[0].durable_end(log.1), 100);
    assert!(node.stores[0].memory_bytes() <= 32 << 20);
    assert_eq!(batches(&node.read_all(log, 0)).count(), 100);
}

#[test]
fn a_checkpoint_that_is_written_anew_says_the_same() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options { checkpoint_bytes_min: 64 << 10, tail_bytes: 4 << 20, ..options() };
    let config = LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() };
    let mut node = Node::try_start(directory.path(), 1, &options).expect("sound");
    let logs: Vec<_> = (0..20).map(|id| node.attach(id, config.clone())).collect();
    for round in 0..60 {
        for &log in &logs {
            node.append(log, &batch(1, 20_000 + round * 100, START_MS));
            node.append(log, &produced(round as i64, 0));
        }
        node.settle();
    }
    let files = std::fs::read_dir(directory.path().join("checkpoint")).expect("there");
    let names: Vec<String> = files.map(|it| it.expect("readable").file_name().into_string().expect("ours")).collect();
    assert!(names.len() == 2 && names.iter().all(|name| !name.ends_with("-000000")), "{names:?}");
    let expected: Vec<_> = logs.iter().map(|&log| node.read_all(log, 0)).collect();
    drop(node);
    let mut node = Node::try_start(directory.path(), 3, &options).expect("sound");
    for id in 0..20 {
        let log = node.attach(id, config.clone());
        assert_eq!(node.read_all(log, 0), expected[id as usize], "log {id}");
        assert!(matches!(node.append(log, &produced(59, 0)), Append::Duplicate { .. }));
    }
}

/// Whatever a checkpoint that is written anew leaves out, the logs of the start's base and the entries of extents
/// still in use must not bring a deleted log back.
#[test]
fn a_deleted_log_stays_deleted_when_the_checkpoint_is_written_anew() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options { checkpoint_bytes_min: 16 << 10, tail_bytes: 4 << 20, ..options() };
    let mut node = Node::try_start(directory.path(), 1, &options).expect("sound");
    let old: Vec<_> = (0..20).map(|id| node.attach(id, LogConfig::default())).collect();
    for &log in &old {
        node.append(log, &batch(1, 6_000, START_MS));
    }
    node.settle();
    drop(node);

    let mut node = Node::try_start(directory.path(), 1, &options).expect("sound");
    let kept = node.attach(0, LogConfig::default());
    let mut logs: Vec<_> = (1..20).map(|id| node.attach(id, LogConfig::default())).collect();
    logs.extend((20..40).map(|id| node.attach(id, LogConfig::default())));
    while let Some((shard, slot)) = logs.pop() {
        for &log in &logs {
            node.append(log, &batch(1, 6_000, START_MS));
        }
        let now = node.now;
        node.stores[shard].delete(slot, now);
        for _ in 0..6 {
            node.append(kept, &batch(1, 200_000, START_MS));
            node.settle();
        }
        let recovered = Node::logs_on_disk(directory.path()).expect("a sound directory");
        assert_eq!(recovered.len(), logs.len() + 1, "{recovered:?}");
    }
    assert!(!directory.path().join("checkpoint/00000002-000-000000").exists(), "it was written anew");
}

#[test]
fn a_group_whose_write_failed_is_written_again_with_its_offsets() {
    for groups_before in [0, 3] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut node = Node::start(directory.path(), 1);
        let log = node.attach(1, LogConfig::default());
        for _ in 0..groups_before {
            node.append(log, &batch(1, 100, START_MS));
            node.settle();
        }
        node.fail_synced_writes(0, 1);
        node.append(log, &batch(2, 100, START_MS));
        node.settle();
        node.pass(1000);
        node.settle();
        node.append(log, &batch(3, 100, START_MS));
        node.settle();
        assert_eq!(node.stores[0].durable_end(log.1), groups_before + 5);
        let expected = node.read_all(log, 0);
        drop(node);
        let mut node = Node::start(directory.path(), 1);
        let log = node.attach(1, LogConfig::default());
        assert_eq!(node.read_all(log, 0), expected);
    }
}

#[test]
fn a_group_that_cannot_be_written_twice_stops_the_shard() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig::default());
    node.fail_synced_writes(0, 2);
    node.append(log, &batch(1, 100, START_MS));
    node.settle();
    assert!(node.events.iter().any(|(_, event)| matches!(event, Event::Fatal(_))));
    assert_eq!(node.stores[0].durable_end(log.1), 0);
    assert_eq!(node.append(log, &batch(1, 100, START_MS)), Append::Failed);
}

#[test]
fn a_journal_that_is_full_before_segments_are_written_takes_appends_again_when_they_are() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options { tail_bytes: 512 << 20, large_bytes_min: usize::MAX, ..options() };
    let mut node = Node::try_start(directory.path(), 1, &options).expect("sound");
    let log = node.attach(1, LogConfig { batch_bytes_max: 2 << 20, ..LogConfig::default() });
    node.hold_writes(0, &["logs"]);
    let large = batch(1, 1 << 20, START_MS);
    let refused = (0..1000).find_map(|_| match node.append(log, &large) {
        Append::Appended { .. } => {
            node.settle();
            None
        }
        refused => Some(refused),
    });
    assert_eq!(refused, Some(Append::Full(Full::Journal)));
    node.hold_writes(0, &[]);
    node.settle();
    assert!(matches!(node.append(log, &large), Append::Appended { .. }));
    node.settle();
    assert_eq!(node.stores[0].durable_end(log.1), node.stores[0].end_offset(log.1));
}
