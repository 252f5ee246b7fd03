//! Fetch: sessions, limits, waiting, offsets inside batches, leader epochs.

use std::time::{Duration, Instant};

use net::Uuid;
use net::api::fetch;
use storage::compression::Codec;

use crate::support::batch;
use crate::support::broker::{Broker, FETCH, fetch_request, only};
use crate::support::client::Client;

const OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC: i16 = 3;
const SESSION_NOT_FOUND: i16 = 70;
const WRONG_SESSION_EPOCH: i16 = 71;
const FENCED_LEADER_EPOCH: i16 = 74;
const UNKNOWN_LEADER_EPOCH: i16 = 75;
const UNKNOWN_TOPIC_ID: i16 = 100;
const MIXED_SESSION: i16 = 106;

/// Fetches name topics by id from here on.
const BY_ID: i16 = 13;

/// Long enough that a test would notice if a fetch waited for it.
const LONG_WAIT_MS: i32 = 50_000;
const LONG_WAIT: Duration = Duration::from_secs(50);

fn wanted(partition: i32, fetch_offset: i64) -> fetch::RequestTopicsPartitions {
    fetch::RequestTopicsPartitions { partition, fetch_offset, partition_max_bytes: 1 << 20, ..Default::default() }
}

#[test]
fn an_offset_inside_a_batch_returns_the_whole_batch() {
    let Some(broker) = Broker::get("mid batch") else { return };
    let topic = broker.topic("mid-batch").name;
    let mut client = broker.client();
    for codec in [Codec::None, Codec::Zstd] {
        let base = client.must_produce(&topic, 0, &batch::compressed(codec, &[(1, b"a"), (2, b"b"), (3, b"c")]));
        let answer = client.fetch(&topic, 0, base + 2);
        let records = batch::records(answer.records.as_deref().expect("records"));
        assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [base, base + 1, base + 2]);
    }
}

#[test]
fn offsets_outside_the_log_are_told_and_its_end_is_not_outside() {
    let Some(broker) = Broker::get("out of range") else { return };
    let topic = broker.topic("range").name;
    let mut client = broker.client();
    client.must_produce(&topic, 0, &batch::batch(&["a", "b"]));
    for offset in [-1, 3, i64::MAX] {
        let answer = client.fetch(&topic, 0, offset);
        assert_eq!(answer.error_code, OUT_OF_RANGE, "{offset}");
        assert_eq!(answer.high_watermark, -1, "{offset}");
    }
    let end = client.fetch(&topic, 0, 2);
    assert_eq!((end.error_code, end.high_watermark, end.log_start_offset), (0, 2, 0));
    assert_eq!(end.records.as_deref().unwrap_or_default(), b"");
    assert_eq!(client.fetch(&topic, 9, 0).error_code, UNKNOWN_TOPIC);
    assert_eq!(client.fetch("e2e-nowhere", 0, 0).error_code, UNKNOWN_TOPIC);
}

#[test]
fn the_first_batch_is_whole_whatever_the_limits() {
    let Some(broker) = Broker::get("limits of a fetch") else { return };
    let topic = broker.topic_with("limits", 2, &[]).name;
    let mut client = broker.client();
    let large = "x".repeat(300_000);
    for partition in 0..2 {
        for _ in 0..3 {
            client.must_produce(&topic, partition, &batch::batch(&[&large]));
        }
    }
    let mut request = fetch_request(&topic, 0, 0);
    request.max_bytes = 1;
    request.topics[0].partitions = vec![wanted(0, 0), wanted(1, 0)];
    request.topics[0].partitions[0].partition_max_bytes = 1;
    let response = client.call(FETCH, &request);
    let counts: Vec<usize> = only(response.responses)
        .partitions
        .iter()
        .map(|partition| batch::records(partition.records.as_deref().unwrap_or_default()).len())
        .collect();
    assert_eq!(counts.iter().sum::<usize>(), 1, "one batch in all: {counts:?}");
    // Room for two batches of one partition.
    request.max_bytes = 700_000;
    request.topics[0].partitions = vec![wanted(1, 0)];
    let answer = only(only(client.call(FETCH, &request).responses).partitions);
    assert_eq!(batch::records(answer.records.as_deref().expect("records")).len(), 2);
}

#[test]
fn a_fetch_waits_for_enough_bytes_and_is_woken_by_a_produce() {
    let Some(broker) = Broker::get("waiting") else { return };
    let topic = broker.topic_with("waiting", 4, &[]).name;
    let mut producer = broker.client();
    let mut request = fetch_request(&topic, 0, 0);
    request.max_wait_ms = LONG_WAIT_MS;
    request.topics[0].partitions = (0..4).map(|partition| wanted(partition, 0)).collect();
    for round in 0..4 {
        let mut consumer = broker.client();
        let started = Instant::now();
        consumer.send(FETCH, &request);
        // Answered in order behind the fetch, so that it proves nothing was answered before the produce.
        consumer.send(0, &net::api::api_versions::Request::default());
        producer.must_produce(&topic, round, &batch::batch(&["wake up"]));
        let (_, response) = consumer.receive::<fetch::Request<'_>>(FETCH);
        assert!(started.elapsed() < LONG_WAIT, "woken by the produce, not by the deadline");
        let found: Vec<i32> = only(response.responses)
            .partitions
            .iter()
            .filter(|partition| !batch::records(partition.records.as_deref().unwrap_or_default()).is_empty())
            .map(|partition| partition.partition_index)
            .collect();
        assert_eq!(found, [round]);
        request.topics[0].partitions[round as usize].fetch_offset = 1;
    }
}

#[test]
fn min_bytes_counts_over_all_partitions_and_the_deadline_ends_the_wait() {
    let Some(broker) = Broker::get("min_bytes") else { return };
    let topic = broker.topic_with("min-bytes", 2, &[]).name;
    let mut producer = broker.client();
    let half = "x".repeat(1000);
    let mut request = fetch_request(&topic, 0, 0);
    request.min_bytes = 2000;
    request.topics[0].partitions = vec![wanted(0, 0), wanted(1, 0)];
    producer.must_produce(&topic, 0, &batch::batch(&[&half]));
    // Too little: the deadline answers, with what there is.
    request.max_wait_ms = 200;
    let started = Instant::now();
    let response = broker.client().call(FETCH, &request);
    assert!(started.elapsed() >= Duration::from_millis(190), "{:?}", started.elapsed());
    assert_eq!(only(response.responses).partitions.len(), 2);
    // The second half wakes it.
    request.max_wait_ms = LONG_WAIT_MS;
    let mut consumer = broker.client();
    let started = Instant::now();
    consumer.send(FETCH, &request);
    producer.must_produce(&topic, 1, &batch::batch(&[&half]));
    let (_, response) = consumer.receive::<fetch::Request<'_>>(FETCH);
    assert!(started.elapsed() < LONG_WAIT);
    let bytes: usize =
        only(response.responses).partitions.iter().map(|p| p.records.as_deref().unwrap_or_default().len()).sum();
    assert!(bytes >= 2000, "{bytes}");
}

#[test]
fn an_error_or_a_closed_topic_does_not_wait() {
    let Some(broker) = Broker::get("errors do not wait") else { return };
    let topic = broker.topic("errors").name;
    let mut request = fetch_request(&topic, 0, 99);
    request.max_wait_ms = LONG_WAIT_MS;
    let started = Instant::now();
    let response = broker.client().call(FETCH, &request);
    assert_eq!(only(only(response.responses).partitions).error_code, OUT_OF_RANGE);
    assert!(started.elapsed() < LONG_WAIT);
}

#[test]
fn leader_epochs_are_checked() {
    let Some(broker) = Broker::get("leader epochs") else { return };
    let topic = broker.topic("epochs").name;
    let mut client = broker.client();
    client.must_produce(&topic, 0, &batch::batch(&["a"]));
    let epoch = client.metadata(&topic).partitions[0].leader_epoch;
    let mut at = |current_leader_epoch| {
        let mut request = fetch_request(&topic, 0, 0);
        request.topics[0].partitions[0].current_leader_epoch = current_leader_epoch;
        only(only(client.call(FETCH, &request).responses).partitions).error_code
    };
    assert_eq!(at(-1), 0);
    assert_eq!(at(epoch), 0);
    assert_eq!(at(epoch + 1), UNKNOWN_LEADER_EPOCH);
    if epoch > 0 {
        assert_eq!(at(epoch - 1), FENCED_LEADER_EPOCH);
    }
}

/// One step of a fetch session over partitions of one topic.
struct Session<'a> {
    client: Client,
    topic: &'a str,
    id: i32,
    epoch: i32,
}

impl Session<'_> {
    fn fetch(&mut self, partitions: Vec<fetch::RequestTopicsPartitions>, forgotten: Vec<i32>) -> Step {
        let mut request = fetch_request(self.topic, 0, 0);
        request.session_id = self.id;
        request.session_epoch = self.epoch;
        request.topics[0].partitions = partitions;
        request.topics.retain(|topic| !topic.partitions.is_empty());
        if !forgotten.is_empty() {
            request.forgotten_topics_data = vec![fetch::RequestForgottenTopicsData {
                topic: self.topic.into(),
                partitions: forgotten,
                ..Default::default()
            }];
        }
        let response = self.client.call(FETCH, &request);
        let told = response.responses.iter().flat_map(|topic| topic.partitions.iter().map(|p| p.partition_index));
        let step = Step { error: response.error_code, id: response.session_id, told: told.collect() };
        if step.error == 0 {
            self.id = step.id;
            self.epoch += 1;
        }
        step
    }
}

/// What a step told.
#[derive(Debug, PartialEq)]
struct Step {
    error: i16,
    id: i32,
    /// The partitions in the answer.
    told: Vec<i32>,
}

#[test]
fn a_session_tells_only_what_has_changed() {
    let Some(broker) = Broker::get("fetch sessions") else { return };
    let topic = broker.topic_with("session", 3, &[]).name;
    let mut producer = broker.client();
    producer.must_produce(&topic, 1, &batch::batch(&["a"]));
    let mut session = Session { client: broker.client(), topic: &topic, id: 0, epoch: 0 };
    let opened = session.fetch((0..3).map(|partition| wanted(partition, 0)).collect(), vec![]);
    assert_ne!(opened.id, 0);
    assert_eq!((opened.error, opened.told), (0, vec![0, 1, 2]), "the first answer is full");
    // Partition 1 has been read; it moves on, and nothing is new.
    assert!(session.fetch(vec![wanted(1, 1)], vec![]).told.is_empty());
    producer.must_produce(&topic, 2, &batch::batch(&["b"]));
    assert_eq!(session.fetch(vec![], vec![]).told, [2]);
    assert!(session.fetch(vec![wanted(2, 1)], vec![]).told.is_empty());
    // What was forgotten is not told any more.
    assert!(session.fetch(vec![], vec![0]).told.is_empty());
    producer.must_produce(&topic, 0, &batch::batch(&["c"]));
    producer.must_produce(&topic, 1, &batch::batch(&["d"]));
    assert_eq!(session.fetch(vec![], vec![]).told, [1]);
}

#[test]
fn wrong_sessions_and_epochs_are_told_apart() {
    let Some(broker) = Broker::get("wrong sessions") else { return };
    let topic = broker.topic("wrong-session");
    let mut session = Session { client: broker.client(), topic: &topic.name, id: 0, epoch: 0 };
    let id = session.fetch(vec![wanted(0, 0)], vec![]).id;
    session.id = id.wrapping_add(12345) & i32::MAX;
    assert_eq!(session.fetch(vec![], vec![]).error, SESSION_NOT_FOUND);
    session.id = id;
    session.epoch = 7;
    assert_eq!(session.fetch(vec![], vec![]).error, WRONG_SESSION_EPOCH);
    // An increment that names topics otherwise than the session does.
    let by_id = fetch::Request {
        session_id: id,
        session_epoch: 1,
        topics: vec![fetch::RequestTopics { topic_id: topic.id, partitions: vec![wanted(0, 0)], ..Default::default() }],
        ..fetch_request(&topic.name, 0, 0)
    };
    // A session belongs to a shard in skein, and so to its connection; Kafka finds it from any.
    assert_eq!(session.client.call(BY_ID, &by_id).error_code, MIXED_SESSION);
    // Epoch -1 ends the session.
    session.id = id;
    session.epoch = -1;
    assert_eq!(session.fetch(vec![wanted(0, 0)], vec![]).id, 0);
    session.id = id;
    session.epoch = 1;
    assert_eq!(session.fetch(vec![], vec![]).error, SESSION_NOT_FOUND);
}

#[test]
fn an_unknown_topic_id_is_told() {
    let Some(broker) = Broker::get("unknown id") else { return };
    let mut request = fetch_request("", 0, 0);
    request.topics[0].topic_id = Uuid([7; 16]);
    let response = broker.client().call(BY_ID, &request);
    assert_eq!(only(only(response.responses).partitions).error_code, UNKNOWN_TOPIC_ID);
}
