//! Lookups by timestamp are exact per record, in memory and on disk, compressed or not.

use storage::LogConfig;
use storage::compression::Codec;
use storage::store::Lookup;

use crate::node::{Node, START_MS, batch, compressed};

#[test]
fn the_first_record_at_or_after_a_time_is_found_wherever_it_lies() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let config = LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() };
    let log = node.attach(1, config.clone());
    for number in 0..60 {
        let timestamp = START_MS + number * 1000;
        let bytes =
            if number % 2 == 0 { batch(10, 5000, timestamp) } else { compressed(Codec::Zstd, 10, 50_000, timestamp) };
        node.append(log, &bytes);
        node.settle();
    }
    for is_restarted in [false, true] {
        let log = if is_restarted {
            drop(node);
            node = Node::start(directory.path(), 1);
            node.attach(1, config.clone())
        } else {
            log
        };
        for (timestamp, offset, found) in [
            (0, 0, START_MS),
            (START_MS + 3, 3, START_MS + 3),
            (START_MS + 10, 10, START_MS + 1000),
            (START_MS + 1005, 15, START_MS + 1005),
            (START_MS + 59_009, 599, START_MS + 59_009),
        ] {
            let lookup = node.stores[0].find_timestamp(log.1, timestamp);
            let expected = Lookup::Found { offset, timestamp: found, leader_epoch: 0 };
            assert_eq!(node.finished(lookup), expected, "{timestamp}, restarted: {is_restarted}");
        }
        let lookup = node.stores[0].find_timestamp(log.1, START_MS + 59_010);
        assert_eq!(node.finished(lookup), Lookup::NotFound);
        let lookup = node.stores[0].max_timestamp(log.1);
        assert!(matches!(node.finished(lookup), Lookup::Found { offset: 599, .. }));
    }
}

#[test]
fn an_empty_log_has_no_record_at_any_time() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, LogConfig::default());
    assert_eq!(node.stores[0].find_timestamp(log.1, 0), Lookup::NotFound);
    assert_eq!(node.stores[0].max_timestamp(log.1), Lookup::NotFound);
}
