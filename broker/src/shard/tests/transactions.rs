//! What consumers of committed records are told, where a partition has transactions. No client can write one yet: the
//! batches are put into the partition's log.

use net::Message as _;
use net::api::{describe_producers, fetch, list_offsets};
use storage::batch::{Producer, batches};
use storage::builder::{BatchBuilder, EndTransaction, NewRecord, Options as BatchOptions};
use storage::store::Options;

use super::world::{Client, World};

const FETCH: i16 = 11;
const LIST_OFFSETS: i16 = 5;
const LATEST: i64 = -1;

fn batch(producer: i64, mark: Option<bool>) -> Vec<u8> {
    let base_sequence = if mark.is_some() { -1 } else { 0 };
    let options = BatchOptions {
        producer: Some(Producer { id: producer, epoch: 0, base_sequence }),
        is_transactional: true,
        is_control: mark.is_some(),
        ..BatchOptions::default()
    };
    let mark = mark.map(|is_commit| EndTransaction { is_commit, coordinator_epoch: 0 });
    let (key, value) = mark.map_or((b"key".to_vec(), b"value".to_vec()), |it| (it.key().into(), it.value().into()));
    let mut builder = BatchBuilder::new(options);
    let record = NewRecord { timestamp: 1_700_000_000_000, key: Some(&key), value: Some(&value), headers: &[] };
    builder.append(&record).expect("small");
    builder.finish()
}

/// The high watermark, the last stable offset, the base offsets of batches, and producer and first offset of aborted
/// transactions.
type Fetched = (i64, i64, Vec<i64>, Option<Vec<(i64, i64)>>);

fn fetched(client: &mut Client, world: &mut World, partition: i32, offset: i64, isolation_level: i8) -> Fetched {
    let wanted = fetch::RequestTopicsPartitions {
        partition,
        current_leader_epoch: -1,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = fetch::RequestTopics { topic: "topic".into(), partitions: vec![wanted], ..Default::default() };
    let request = fetch::Request {
        max_bytes: 1 << 20,
        isolation_level,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let body = client.call::<_, fetch::Response<'_>>(world, FETCH, &request);
    let response = fetch::Response::from_bytes(&body, FETCH).expect("an answer");
    let answer = &response.responses[0].partitions[0];
    assert_eq!(answer.error_code, 0);
    let records = answer.records.as_deref().unwrap_or_default();
    let offsets = batches(records).map(|batch| batch.expect("whole").base_offset()).collect();
    let aborted = answer.aborted_transactions.as_ref();
    let aborted = aborted.map(|all| all.iter().map(|it| (it.producer_id, it.first_offset)).collect());
    (answer.high_watermark, answer.last_stable_offset, offsets, aborted)
}

fn latest(client: &mut Client, world: &mut World, partition_index: i32, isolation_level: i8, timestamp: i64) -> i64 {
    let partition = list_offsets::RequestTopicsPartitions { partition_index, current_leader_epoch: -1, timestamp };
    let topic = list_offsets::RequestTopics { name: "topic".into(), partitions: vec![partition] };
    let request = list_offsets::Request { replica_id: -1, isolation_level, topics: vec![topic], ..Default::default() };
    let body = client.call::<_, list_offsets::Response<'_>>(world, LIST_OFFSETS, &request);
    let response = list_offsets::Response::from_bytes(&body, LIST_OFFSETS).expect("an answer");
    let answer = &response.topics[0].partitions[0];
    assert_eq!(answer.error_code, 0);
    answer.offset
}

#[test]
fn consumers_of_committed_records_stop_at_the_last_stable_offset_and_are_told_of_aborted_ones() {
    let options = || Options { tail_bytes: 6 << 20, buffer_bytes: 24 << 20, ..Options::default() };
    let mut world = World::start(2, &[], options());
    let mut client = world.connect();
    client.create_topic(&mut world, "topic", 2, &[]);
    // One partition is on the connection's shard, and one is not.
    for partition in 0..2 {
        let all = [batch(5, None), batch(6, None), batch(5, Some(false)), batch(7, None), batch(6, Some(true))];
        for bytes in &all {
            world.append("topic", partition, bytes);
        }
    }
    for is_restarted in [false, true] {
        if is_restarted {
            world = world.restart(2, &[], options());
            client = world.connect();
        }
        for partition in 0..2 {
            let client = &mut client;
            let read = |client: &mut Client, world: &mut World, offset, isolation| {
                fetched(client, world, partition, offset, isolation)
            };
            assert_eq!(read(client, &mut world, 0, 0), (5, 3, vec![0, 1, 2, 3, 4], None));
            assert_eq!(read(client, &mut world, 0, 1), (5, 3, vec![0, 1, 2], Some(vec![(5, 0)])));
            assert_eq!(read(client, &mut world, 1, 1), (5, 3, vec![1, 2], Some(vec![(5, 0)])));
            assert_eq!(read(client, &mut world, 3, 1), (5, 3, vec![], Some(vec![])));
            assert_eq!(latest(client, &mut world, partition, 0, LATEST), 5);
            assert_eq!(latest(client, &mut world, partition, 1, LATEST), 3);
        }
    }
    let topic = describe_producers::RequestTopics { name: "topic".into(), partition_indexes: vec![0] };
    let request = describe_producers::Request { topics: vec![topic] };
    let body = client.call::<_, describe_producers::Response<'_>>(&mut world, 0, &request);
    let response = describe_producers::Response::from_bytes(&body, 0).expect("an answer");
    let producers = response.topics[0].partitions[0].active_producers.iter();
    let starts: Vec<(i64, i64)> = producers.map(|it| (it.producer_id, it.current_txn_start_offset)).collect();
    assert_eq!(starts, [(5, -1), (6, -1), (7, 3)]);

    world.append("topic", 0, &batch(7, Some(true)));
    let all = fetched(&mut client, &mut world, 0, 3, 1);
    assert_eq!(all, (6, 6, vec![3, 4, 5], Some(vec![])));
}
