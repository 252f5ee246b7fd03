//! More partitions, deleting records, sizes and producers: over several shards, and over a power button.

use net::api::{create_partitions, delete_records, describe_log_dirs, describe_producers};
use storage::batch::Producer;

use crate::support::batch;
use crate::support::broker::{Broker, EARLIEST, LATEST, TIMEOUT_MS, Topic, only};
use crate::support::client::Client;
use crate::support::node::Launch;
use crate::support::wait::eventually;

const OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const INVALID_PARTITIONS: i16 = 37;
const POLICY: i16 = 44;

/// The largest versions.
const DELETE_RECORDS: i16 = 2;
const CREATE_PARTITIONS: i16 = 3;
const LOG_DIRS: i16 = 4;

const PARTITIONS: i32 = 5;

fn three_shards(launch: Launch) -> Launch {
    launch.shards(3)
}

/// A topic of [`PARTITIONS`] partitions on several shards, with records `0` to `9` in each.
fn filled(broker: &Broker) -> Topic {
    let topic = broker.topic_with("filled", PARTITIONS, &[]);
    let values: Vec<String> = (0..10).map(|value| value.to_string()).collect();
    let mut client = broker.client();
    for partition in 0..PARTITIONS {
        for value in &values {
            client.must_produce(&topic.name, partition, &batch::batch(&[value]));
        }
    }
    topic
}

/// Deletes the records before offsets; low watermark and error of each partition, in the order of partitions.
fn delete(client: &mut Client, topic: &str, before: &[(i32, i64)]) -> Vec<(i32, i64, i16)> {
    let partition =
        |&(partition_index, offset): &(i32, i64)| delete_records::RequestTopicsPartitions { partition_index, offset };
    let partitions = before.iter().map(partition).collect();
    let topics = vec![delete_records::RequestTopics { name: topic.to_owned().into(), partitions }];
    let response = client.call(DELETE_RECORDS, &delete_records::Request { topics, timeout_ms: TIMEOUT_MS });
    let answers = only(response.topics).partitions.into_iter();
    let mut answers: Vec<_> = answers.map(|it| (it.partition_index, it.low_watermark, it.error_code)).collect();
    answers.sort_unstable();
    answers
}

fn grow(client: &mut Client, topic: &str, count: i32) -> i16 {
    let topics = vec![create_partitions::RequestTopics { name: topic.to_owned().into(), count, assignments: None }];
    let request = create_partitions::Request { topics, timeout_ms: TIMEOUT_MS, validate_only: false };
    let result = only(client.call(CREATE_PARTITIONS, &request).results);
    assert_eq!(result.error_message.is_some(), result.error_code != 0);
    result.error_code
}

#[test]
fn records_are_deleted_on_all_shards_with_one_request() {
    let Some(broker) = Broker::get_with("deleting records", three_shards) else { return };
    let topic = filled(&broker).name;
    let mut client = broker.client();
    let asked = [(0, 3), (1, -1), (2, 0), (3, 10), (4, 11)];
    let told = [(0, 3, 0), (1, 10, 0), (2, 0, 0), (3, 10, 0), (4, -1, OUT_OF_RANGE)];
    assert_eq!(delete(&mut client, &topic, &asked), told);
    for (partition, start) in [(0, 3), (1, 10), (2, 0), (3, 10), (4, 0)] {
        assert_eq!(client.try_offset(&topic, partition, EARLIEST).1, start, "partition {partition}");
        assert_eq!(client.try_offset(&topic, partition, LATEST).1, 10, "partition {partition}");
    }
    assert_eq!(client.fetch(&topic, 0, 2).error_code, OUT_OF_RANGE);
    assert_eq!(client.fetch(&topic, 0, 3).log_start_offset, 3);
    let values: Vec<_> = client.records(&topic, 0, 3).into_iter().map(|record| record.value).collect();
    assert_eq!(values, (3..10).map(|value| value.to_string().into_bytes()).collect::<Vec<_>>());
    // A lower offset changes nothing, and the log goes on where it was.
    assert_eq!(delete(&mut client, &topic, &[(0, 1)]), [(0, 3, 0)]);
    assert_eq!(client.must_produce(&topic, 1, &batch::batch(&["next"])), 10);
    assert_eq!(client.records(&topic, 1, 10)[0].value, b"next");
}

#[test]
fn records_that_must_stay_are_not_deleted() {
    let Some(broker) = Broker::get("records that stay") else { return };
    let mut client = broker.client();
    broker.group("someone");
    let with_policy = |policy| broker.topic_with("policy", 1, &[("cleanup.policy", policy)]).name;
    let (compacted, both) = (with_policy("compact"), with_policy("compact,delete"));
    for topic in [&compacted, &both] {
        client.must_produce(topic, 0, &batch::keyed("key", "value"));
    }
    assert_eq!(delete(&mut client, &compacted, &[(0, 1)]), [(0, -1, POLICY)]);
    assert_eq!(delete(&mut client, &both, &[(0, 1)]), [(0, 1, 0)]);
    assert_eq!(delete(&mut client, "__consumer_offsets", &[(0, 0)]), [(0, -1, INVALID_TOPIC)]);
    assert_eq!(delete(&mut client, &both, &[(7, 0)]), [(7, -1, UNKNOWN_TOPIC)]);
    assert_eq!(delete(&mut client, "e2e-nowhere", &[(0, 0)]), [(0, -1, UNKNOWN_TOPIC)]);
}

#[test]
fn deleted_records_and_new_partitions_survive_a_kill() {
    let Some(broker) = Broker::get_with("kill after deletion", three_shards) else { return };
    if broker.is_kafka() {
        return;
    }
    let topic = filled(&broker).name;
    let mut client = broker.client();
    let asked: Vec<(i32, i64)> = (0..PARTITIONS).map(|partition| (partition, 4 + i64::from(partition))).collect();
    let told: Vec<(i32, i64, i16)> = asked.iter().map(|&(partition, offset)| (partition, offset, 0)).collect();
    assert_eq!(delete(&mut client, &topic, &asked), told);
    assert_eq!(grow(&mut client, &topic, 8), 0);
    assert_eq!(client.must_produce(&topic, 7, &batch::batch(&["new"])), 0);
    // With another number of shards, too.
    let node = broker.into_node().kill().shards(2).start();
    let mut client = Client::connect(node.address);
    for &(partition, start) in &asked {
        assert_eq!(client.try_offset(&topic, partition, EARLIEST).1, start, "partition {partition}");
        assert_eq!(client.records(&topic, partition, start).len() as i64, 10 - start);
        assert_eq!(client.fetch(&topic, partition, start - 1).error_code, OUT_OF_RANGE);
    }
    assert_eq!(client.metadata(&topic).partitions.len(), 8);
    assert_eq!(client.values(&topic, 7), ["new"]);
    let node = node.kill().start();
    let mut client = Client::connect(node.address);
    assert_eq!(client.try_offset(&topic, 1, EARLIEST).1, 5);
    assert_eq!(grow(&mut client, &topic, 8), INVALID_PARTITIONS);
}

#[test]
fn a_grown_topic_is_seen_by_every_connection_at_once() {
    let Some(broker) = Broker::get_with("growing", three_shards) else { return };
    let topic = broker.topic("growing").name;
    // Connections are handed to the shards in turn.
    let mut clients: Vec<Client> = (0..6).map(|_| broker.client()).collect();
    for count in 2..=5 {
        assert_eq!(grow(&mut clients[0], &topic, count), 0);
        for client in &mut clients {
            if broker.is_kafka() {
                eventually("Kafka's brokers follow their controller", || {
                    (client.metadata(&topic).partitions.len() as i32 == count).then_some(())
                });
            }
            assert_eq!(client.metadata(&topic).partitions.len() as i32, count);
            let last = count - 1;
            eventually("the partition is served", || (client.try_offset(&topic, last, LATEST).0 == 0).then_some(()));
        }
        clients[1].must_produce(&topic, count - 1, &batch::batch(&["a"]));
    }
    assert_eq!(grow(&mut clients[0], &topic, 5), INVALID_PARTITIONS);
    assert_eq!(grow(&mut clients[0], &topic, 4), INVALID_PARTITIONS);
}

#[test]
fn sizes_and_producers_are_told_of_all_shards() {
    let Some(broker) = Broker::get_with("sizes", three_shards) else { return };
    let topic = broker.topic_with("sizes", PARTITIONS, &[]).name;
    let mut client = broker.client();
    let mut expected = Vec::new();
    for partition in 0..PARTITIONS {
        let producer = Producer { id: 100 + i64::from(partition), epoch: 0, base_sequence: 0 };
        let records = batch::idempotent(producer, &vec!["x"; partition as usize + 1]);
        client.must_produce(&topic, partition, &records);
        expected.push((partition, records.len() as i64));
    }
    let asked =
        describe_log_dirs::RequestTopics { topic: topic.as_str().into(), partitions: vec![3, 1, 0, 4, 2, 3, 9] };
    for topics in [Some(vec![asked]), None] {
        let response = client.call(LOG_DIRS, &describe_log_dirs::Request { topics });
        let directory = only(response.results);
        let of_topic = directory.topics.into_iter().find(|listed| listed.name == topic).expect("it is listed");
        let partitions = of_topic.partitions.into_iter();
        let mut sizes: Vec<_> = partitions.map(|it| (it.partition_index, it.partition_size)).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, expected);
    }
    let all = (0..PARTITIONS).collect();
    let topics = vec![describe_producers::RequestTopics { name: topic.as_str().into(), partition_indexes: all }];
    let response = client.call(0, &describe_producers::Request { topics });
    for partition in only(response.topics).partitions {
        let active = only(partition.active_producers);
        let index = partition.partition_index;
        assert_eq!((active.producer_id, active.last_sequence), (100 + i64::from(index), index));
    }
}
