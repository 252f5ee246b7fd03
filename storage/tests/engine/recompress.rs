//! Batches stored in the codec of their topic: the records, their times and stamps stay what they were.

use proptest::prelude::*;
use storage::LogConfig;
use storage::batch::{Batch, Producer, TimestampType};
use storage::builder::{BatchBuilder, NewHeader, NewRecord, Options};
use storage::compression::{Codec, Setting, decompress_all};
use storage::store::Append;
use storage::validate::Rejection;

use crate::node::{Node, START_MS, batch, compressed};

const BODY_BYTES_MAX: u64 = 64 << 20;

fn config(codec: Codec, level: i32) -> LogConfig {
    LogConfig { compression: Some(Setting { codec, level }), batch_bytes_max: 4 << 20, ..LogConfig::default() }
}

/// Everything of a batch that a consumer can see, but for its codec.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    base_offset: i64,
    last_offset: i64,
    timestamps: (i64, i64),
    timestamp_type: TimestampType,
    producer: Option<Producer>,
    body: Vec<u8>,
}

fn seen(batch: &Batch<'_>) -> Seen {
    assert_eq!(batch.crc(), batch.computed_crc());
    let codec = batch.attributes().codec().expect("a codec");
    Seen {
        base_offset: batch.base_offset(),
        last_offset: batch.last_offset(),
        timestamps: (batch.base_timestamp(), batch.max_timestamp()),
        timestamp_type: batch.attributes().timestamp_type(),
        producer: batch.producer(),
        body: decompress_all(codec, batch.body(), BODY_BYTES_MAX).expect("what was stored can be read"),
    }
}

fn first_offset(outcome: &Append) -> i64 {
    match outcome {
        Append::Appended { base_offset, .. } => *base_offset,
        other => panic!("not appended: {other:?}"),
    }
}

#[test]
fn every_codec_becomes_every_other_one_at_its_lowest_and_highest_level() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let levels = |codec| match codec {
        Codec::None | Codec::Snappy => vec![0],
        Codec::Gzip => vec![-1, 1, 9],
        Codec::Lz4 => vec![1, 17],
        Codec::Zstd => vec![-131_072, 3, 22],
    };
    let mut id = 0;
    for target in Codec::ALL {
        for level in levels(target) {
            for source in Codec::ALL {
                id += 1;
                let log = node.attach(id, config(target, level));
                let sent = compressed(source, 4, 50_000, START_MS);
                assert_eq!(first_offset(&node.append(log, &sent)), 0);
                node.settle();
                let stored = node.read_all(log, 0);
                let stored = Batch::first(&stored).expect("a whole batch");
                assert_eq!(stored.attributes().codec(), Some(target), "from {source}");
                let sent = Batch::first(&sent).expect("a whole batch");
                assert_eq!(seen(&stored), seen(&sent), "from {source} to {target} at level {level}");
                if source == target {
                    assert_eq!(stored.body(), sent.body(), "what has the codec already stays as it came");
                }
            }
        }
    }
}

#[test]
fn a_repeated_batch_is_recognised_after_its_recompression_and_after_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config(Codec::Zstd, 3));
    let sent: Vec<_> = (0..3).map(produced).collect();
    for (number, batch) in sent.iter().enumerate() {
        assert_eq!(first_offset(&node.append(log, batch)), number as i64);
    }
    for (number, batch) in sent.iter().enumerate() {
        let again = node.append(log, batch);
        assert!(matches!(again, Append::Duplicate { base_offset, .. } if base_offset == number as i64), "{again:?}");
    }
    assert!(matches!(node.append(log, &produced(9)), Append::OutOfOrder { expected: 3, found: 9 }));
    node.settle();
    drop(node);
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config(Codec::Zstd, 3));
    assert!(matches!(node.append(log, &sent[2]), Append::Duplicate { base_offset: 2, .. }));
    assert_eq!(first_offset(&node.append(log, &produced(3))), 3);
}

fn produced(base_sequence: i32) -> Vec<u8> {
    let producer = Some(Producer { id: 7, epoch: 1, base_sequence });
    let mut builder = BatchBuilder::new(Options { producer, ..Options::default() });
    let value = vec![b'v'; 100_000];
    builder.append(&NewRecord { timestamp: START_MS, key: None, value: Some(&value), headers: &[] }).expect("it fits");
    builder.finish()
}

#[test]
fn the_time_of_the_append_is_kept_in_what_is_recompressed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let topic = LogConfig { timestamp_type: TimestampType::LogAppendTime, ..config(Codec::Gzip, 9) };
    let log = node.attach(1, topic);
    node.pass(5000);
    let outcome = node.append(log, &batch(10, 5000, START_MS - 100_000));
    let Append::Appended { log_append_time_ms, .. } = outcome else { panic!("not appended: {outcome:?}") };
    assert_eq!(log_append_time_ms, Some(START_MS + 5000));
    node.settle();
    let stored = node.read_all(log, 0);
    let stored = seen(&Batch::first(&stored).expect("a whole batch"));
    assert_eq!(stored.timestamp_type, TimestampType::LogAppendTime);
    assert_eq!(stored.timestamps.1, START_MS + 5000);
}

#[test]
fn the_limit_of_a_batch_holds_before_and_after() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let small = |codec| LogConfig { batch_bytes_max: 100_000, ..config(codec, 3) };
    let unpacked = node.attach(1, small(Codec::None));
    // Some kilobytes on the wire, more than the limit once they are not compressed.
    let sent = compressed(Codec::Zstd, 1, 3_000_000, START_MS);
    assert!(sent.len() < 100_000);
    let outcome = node.append(unpacked, &sent);
    let too_large = Rejection::RecompressedTooLarge { codec: Codec::None, bytes_max: 100_000 };
    assert_eq!(outcome, Append::Rejected(too_large));
    let packed = node.attach(2, small(Codec::Zstd));
    let outcome = node.append(packed, &batch(1, 200_000, START_MS));
    assert!(matches!(outcome, Append::Rejected(Rejection::TooLarge { .. })), "{outcome:?}");
    assert_eq!(first_offset(&node.append(unpacked, &batch(1, 50_000, START_MS))), 0, "the log goes on");
}

#[test]
fn damage_on_the_way_is_found_before_recompression_hides_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::start(directory.path(), 1);
    let log = node.attach(1, config(Codec::Gzip, 6));
    let mut sent = batch(1, 5000, START_MS);
    let at = sent.len() - 100;
    sent[at] ^= 1;
    let outcome = node.append(log, &sent);
    assert!(matches!(outcome, Append::Rejected(Rejection::CrcMismatch { .. })), "{outcome:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Many appends to some logs at once, told in any codec, checked against what was sent.
    #[test]
    fn logs_read_back_what_was_sent_in_the_order_it_was_sent(
        sends in prop::collection::vec((1_u64..4, 0_usize..5, 1_usize..20, 1_usize..150_000), 1..12),
        targets in prop::array::uniform3(0_usize..5),
        values in any::<u64>(),
    ) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut node = Node::start(directory.path(), 1);
        let logs: Vec<_> =
            (1..4).map(|id| node.attach(id, config(Codec::ALL[targets[id as usize - 1]], 1))).collect();
        let mut model: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 3];
        for (number, &(id, codec, records, bytes)) in sends.iter().enumerate() {
            let sent = noise(Codec::ALL[codec], records, bytes, values.wrapping_add(number as u64));
            let (shard, slot) = logs[id as usize - 1];
            // Not waited for: what comes after it waits behind it.
            let outcome =
                node.stores[shard].append(slot, &sent, storage::store::Origin::Client, 0, node.now);
            prop_assert!(matches!(outcome, Append::Appended { .. } | Append::Validating(_)), "{:?}", outcome);
            let sent = Batch::first(&sent).expect("a whole batch");
            model[id as usize - 1].push(seen(&sent).body);
        }
        node.settle();
        for (log, sent) in logs.iter().zip(&model) {
            let bytes = node.read_all(*log, 0);
            let stored: Vec<_> =
                storage::batch::batches(&bytes).map(|batch| seen(&batch.expect("a whole batch"))).collect();
            let bodies: Vec<_> = stored.iter().map(|batch| &batch.body).collect();
            prop_assert_eq!(bodies, sent.iter().collect::<Vec<_>>());
            let mut next = 0;
            for batch in stored {
                prop_assert_eq!(batch.base_offset, next);
                next = batch.last_offset + 1;
            }
        }
    }
}

/// A batch of records with keys and headers that compress a little.
fn noise(codec: Codec, records: usize, bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8 & 0x3f
    };
    let mut builder = BatchBuilder::new(Options { codec, ..Options::default() });
    for record in 0..records {
        let value: Vec<u8> = (0..bytes / records).map(|_| next()).collect();
        let header = NewHeader { key: "h", value: Some(&value[..value.len().min(3)]) };
        let record = NewRecord {
            timestamp: START_MS + record as i64,
            key: (record % 2 == 0).then_some(b"key"),
            value: Some(&value),
            headers: &[header],
        };
        builder.append(&record).expect("it fits");
    }
    builder.finish()
}
