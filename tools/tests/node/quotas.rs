//! Client quotas: stored, described, kept, and enforced.

use std::time::{Duration, Instant};

use net::api::{alter_client_quotas, create_partitions, delete_topics, describe_client_quotas, metadata};

use crate::support::batch;
use crate::support::broker::{
    Broker, CREATE_TOPICS, FETCH, METADATA, PRODUCE, create_request, fetch_request, metadata_request, only,
    produce_request, unique,
};
use crate::support::client::Client;
use crate::support::wait::eventually;

const DESCRIBE: i16 = 1;
const ALTER: i16 = 1;

const MATCH_EXACT: i8 = 0;

const PRODUCER: &str = "producer_byte_rate";
const CONSUMER: &str = "consumer_byte_rate";
const MUTATION: &str = "controller_mutation_rate";
const REQUEST: &str = "request_percentage";
const CONNECTION: &str = "connection_creation_rate";

/// The client id that tests have.
const TEST: [(&str, Option<&str>); 1] = [("client-id", Some("test"))];

/// A batch of this size takes as long at a rate of as many bytes per second.
const BATCH_BYTES: usize = 20_000;
const RATE: f64 = 20_000.0;

const THROTTLING_QUOTA_EXCEEDED: i16 = 89;

/// A wish for one entity: its types with their names, and keys with values or none to remove them.
fn alter_request<'a>(
    entity: &[(&'a str, Option<&'a str>)],
    ops: &[(&'a str, Option<f64>)],
) -> alter_client_quotas::Request<'a> {
    let part = |&(kind, name): &(&'a str, Option<&'a str>)| alter_client_quotas::RequestEntriesEntity {
        entity_type: kind.into(),
        entity_name: name.map(Into::into),
    };
    let op = |&(key, value): &(&'a str, Option<f64>)| alter_client_quotas::RequestEntriesOps {
        key: key.into(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    };
    let entry = alter_client_quotas::RequestEntries {
        entity: entity.iter().map(part).collect(),
        ops: ops.iter().map(op).collect(),
    };
    alter_client_quotas::Request { entries: vec![entry], validate_only: false }
}

fn describe_request<'a>(kind: &'a str, name: &'a str) -> describe_client_quotas::Request<'a> {
    let component = describe_client_quotas::RequestComponents {
        entity_type: kind.into(),
        match_type: MATCH_EXACT,
        r#match: Some(name.into()),
    };
    describe_client_quotas::Request { components: vec![component], strict: true }
}

/// Sets or removes what is limited for an entity.
#[track_caller]
fn set(broker: &Broker, entity: &[(&str, Option<&str>)], ops: &[(&str, Option<f64>)]) {
    let response = broker.client().call(ALTER, &alter_request(entity, ops));
    let row = only(response.entries);
    assert_eq!(row.error_code, 0, "{:?}", row.error_message);
}

/// What is limited for a client id.
fn limits(broker: &Broker, client_id: &str) -> Vec<(String, f64)> {
    let response = broker.client().call(DESCRIBE, &describe_request("client-id", client_id));
    assert_eq!(response.error_code, 0, "{:?}", response.error_message);
    let values = response.entries.unwrap_or_default().into_iter().flat_map(|entry| entry.values);
    values.map(|value| (value.key.into_owned(), value.value)).collect()
}

/// Asks for quotas in that version.
pub(crate) fn describe(broker: &Broker, version: i16) {
    let response = broker.client().call(version, &describe_request("user", "nobody"));
    assert_eq!((response.error_code, response.entries.map(|entries| entries.len())), (0, Some(0)), "v{version}");
}

/// Changes quotas in that version.
pub(crate) fn alter(broker: &Broker, version: i16) {
    let name = unique("quota");
    let request = alter_request(&[("client-id", Some(&name))], &[(PRODUCER, Some(1e9))]);
    let row = only(broker.client().call(version, &request).entries);
    assert_eq!((row.error_code, only(row.entity).entity_name.as_deref()), (0, Some(name.as_str())), "v{version}");
    set(broker, &[("client-id", Some(&name))], &[(PRODUCER, None)]);
}

#[test]
fn quotas_outlive_a_kill_and_are_gone_when_removed() {
    let Some(broker) = Broker::get("quotas_outlive_a_kill") else { return };
    if broker.is_kafka() {
        return;
    }
    let entity = [("client-id", Some("kept"))];
    set(&broker, &entity, &[(PRODUCER, Some(1e9)), (CONSUMER, Some(2e9))]);
    let both = [(PRODUCER.to_owned(), 1e9), (CONSUMER.to_owned(), 2e9)];
    assert_eq!(limits(&broker, "kept"), both);

    let broker = Broker::of(broker.into_node().kill().start());
    assert_eq!(limits(&broker, "kept"), both);
    set(&broker, &entity, &[(PRODUCER, None)]);
    assert_eq!(limits(&broker, "kept"), both[1..]);

    let broker = Broker::of(broker.into_node().kill().start());
    set(&broker, &entity, &[(CONSUMER, None)]);
    assert_eq!(limits(&broker, "kept"), []);
}

/// A node that measures over three windows of a second, so that a burst is two seconds' worth.
fn limited(test: &str) -> Option<Broker> {
    let settings = ["quota.window.num=3", "controller.quota.window.num=3"];
    let broker = Broker::get_with(test, |launch| settings.into_iter().fold(launch, |launch, set| launch.set(set)))?;
    // Another broker is others' as well: they would feel the quotas.
    (!broker.is_kafka()).then_some(broker)
}

fn large_batch() -> Vec<u8> {
    batch::batch(&[&"x".repeat(BATCH_BYTES)])
}

/// Produces a batch and gives back for how long the client is asked to wait.
fn produce(client: &mut Client, topic: &str, records: &[u8]) -> Duration {
    let response = client.call(PRODUCE, &produce_request(topic, 0, records));
    let wait_ms = response.throttle_time_ms;
    assert_eq!(only(only(response.responses).partition_responses).error_code, 0);
    Duration::from_millis(wait_ms.unsigned_abs().into())
}

#[test]
fn a_producer_over_its_quota_is_answered_at_once_and_then_not_listened_to() {
    let Some(broker) = limited("a_producer_over_its_quota") else { return };
    let topic = broker.topic("throttled");
    let records = large_batch();
    set(&broker, &TEST, &[(PRODUCER, Some(RATE))]);
    let mut client = broker.client();
    let mut throttled = 0;
    for _ in 0..5 {
        let asked = Instant::now();
        let wait = produce(&mut client, &topic.name, &records);
        let answered = Instant::now();
        // Shorter waits are lost in how long anything takes on a busy machine.
        if wait < Duration::from_millis(500) {
            continue;
        }
        throttled += 1;
        assert!(answered - asked < wait, "{wait:?}: the answer leaves at once");
        client.end(&topic.name, 0);
        assert!(answered.elapsed() > wait - Duration::from_millis(50), "{wait:?}: the next request waits");
    }
    assert!(throttled >= 1, "five seconds' worth, and a burst of two");
    set(&broker, &TEST, &[(PRODUCER, None)]);
    assert_eq!(produce(&mut broker.client(), &topic.name, &records), Duration::ZERO);
    assert_eq!(broker.client().end(&topic.name, 0), 6, "nothing is lost");
}

#[test]
fn what_one_shard_counts_weighs_on_the_other() {
    let Some(broker) = limited("what_one_shard_counts") else { return };
    let topic = broker.topic("summed");
    let small = batch::batch(&["small"]);
    set(&broker, &TEST, &[(PRODUCER, Some(RATE))]);
    // Connections go to the shards in turn.
    let (mut one, mut other) = (broker.client(), broker.client());
    assert_eq!(produce(&mut other, &topic.name, &small), Duration::ZERO);
    assert!(produce(&mut one, &topic.name, &batch::batch(&[&"x".repeat(10 * BATCH_BYTES)])) > Duration::from_secs(1));
    eventually("the other shard throttles, too", || {
        (!produce(&mut other, &topic.name, &small).is_zero()).then_some(())
    });
}

#[test]
fn a_consumer_over_its_quota_gets_nothing_for_a_while_and_then_all() {
    let Some(broker) = limited("a_consumer_over_its_quota") else { return };
    let topic = broker.topic("fetched");
    let mut client = broker.client();
    let records = large_batch();
    for _ in 0..5 {
        client.must_produce(&topic.name, 0, &records);
    }
    set(&broker, &TEST, &[(CONSUMER, Some(RATE))]);
    let (mut next, mut held_back) = (0, 0);
    while next < 5 {
        let response = client.call(FETCH, &fetch_request(&topic.name, 0, next));
        assert_eq!(response.error_code, 0);
        if response.throttle_time_ms > 0 && response.responses.is_empty() {
            held_back += 1;
            continue;
        }
        let partition = only(only(response.responses).partitions);
        for record in batch::records(partition.records.as_deref().unwrap_or_default()) {
            assert_eq!((record.offset, record.value.len()), (next, BATCH_BYTES));
            next += 1;
        }
    }
    assert!(held_back > 0, "five seconds' worth, and a burst of two");
}

#[test]
fn too_many_partitions_are_refused_where_the_client_understands_and_else_paid_for_later() {
    let Some(broker) = limited("too_many_partitions") else { return };
    set(&broker, &TEST, &[(MUTATION, Some(2.0))]);
    let mut client = broker.client();
    let create = |client: &mut Client, version: i16, name: &str, partitions: i32| {
        let response = client.call(version, &create_request(name, partitions, &[]));
        (only(response.topics).error_code, response.throttle_time_ms)
    };
    let (first, second, third) = (unique("first"), unique("second"), unique("third"));
    // A burst of six, and four more are owed.
    assert_eq!(create(&mut client, CREATE_TOPICS, &first, 10), (0, 0));
    let (error, wait_ms) = create(&mut client, CREATE_TOPICS, &second, 1);
    assert_eq!(error, THROTTLING_QUOTA_EXCEEDED);
    assert!((1000..=2000).contains(&wait_ms), "{wait_ms}");
    let (error, wait_ms) = create(&mut client, 4, &second, 4);
    assert!(error == 0 && wait_ms > 0, "an older client gets what it wants, and waits: {error}, {wait_ms}");

    // Whatever owns partitions is told the same; another connection is not muted.
    let mut client = broker.client();
    let grow = create_partitions::RequestTopics { name: first.as_str().into(), count: 12, ..Default::default() };
    let grow = create_partitions::Request { topics: vec![grow], timeout_ms: 1000, validate_only: false };
    let response = client.call(3, &grow);
    assert_eq!(only(response.results).error_code, THROTTLING_QUOTA_EXCEEDED);
    let mut client = broker.client();
    let delete = delete_topics::RequestTopics { name: Some(first.as_str().into()), ..Default::default() };
    let delete = delete_topics::Request { topics: vec![delete], topic_names: Vec::new(), timeout_ms: 1000 };
    let row = only(client.call(6, &delete).responses);
    assert_eq!((row.error_code, row.name.as_deref()), (THROTTLING_QUOTA_EXCEEDED, Some(first.as_str())));
    assert!(row.error_message.is_some());

    set(&broker, &TEST, &[(MUTATION, None)]);
    assert_eq!(create(&mut broker.client(), CREATE_TOPICS, &third, 50), (0, 0));
}

#[test]
fn topics_that_come_of_being_asked_about_count_for_the_client_that_asked() {
    let Some(broker) = limited("topics_that_come_of_being_asked_about") else { return };
    set(&broker, &TEST, &[(MUTATION, Some(2.0))]);
    let exists = |name: &str| {
        let response = broker.client().call(METADATA, &metadata_request(&[name], false));
        only(response.topics).error_code == 0
    };
    let (first, second) = (unique("asked"), unique("asked"));
    let response = broker.client().call(CREATE_TOPICS, &create_request(&first, 20, &[]));
    assert_eq!(only(response.topics).error_code, 0, "a burst of six, and fourteen are owed");
    let owed_until = Instant::now() + Duration::from_secs(5);
    // On one connection, so that the controller sees one after the other.
    let mut client = broker.client();
    client.call(METADATA, &metadata_request(&[&second], true));
    let refused = client.call(CREATE_TOPICS, &create_request(&unique("refused"), 1, &[]));
    assert_eq!(only(refused.topics).error_code, THROTTLING_QUOTA_EXCEEDED);
    assert!(!exists(&second) || Instant::now() > owed_until, "it is not created while tokens are owed");
    eventually("the topic", || {
        broker.client().call(METADATA, &metadata_request(&[&second], true));
        exists(&second).then_some(())
    });
    assert!(Instant::now() > owed_until);
}

#[test]
fn connections_beyond_the_rate_of_an_address_are_closed() {
    let Some(broker) = limited("connections_beyond_the_rate") else { return };
    let mut steady = broker.client();
    set(&broker, &[("ip", Some("127.0.0.1"))], &[(CONNECTION, Some(5.0))]);
    let asks = |client: &mut Client| {
        client.send(METADATA, &metadata_request(&[], false));
        client.try_frame().is_some()
    };
    let mut clients: Vec<Client> = (0..20).map(|_| broker.client()).collect();
    let served = clients.iter_mut().filter_map(|client| asks(client).then_some(())).count();
    assert!((5..20).contains(&served), "a burst of ten, and a few more: {served}");
    assert!(asks(&mut steady), "a connection that is there stays");
    let request = alter_request(&[("ip", Some("127.0.0.1"))], &[(CONNECTION, None)]);
    assert_eq!(only(steady.call(ALTER, &request).entries).error_code, 0);
    assert!(asks(&mut broker.client()));
}

#[test]
fn a_client_that_takes_too_much_time_waits_for_at_most_a_window() {
    let Some(broker) = limited("a_client_that_takes_too_much_time") else { return };
    set(&broker, &TEST, &[(REQUEST, Some(0.001))]);
    let mut client = broker.client();
    let all = metadata::Request { topics: None, ..Default::default() };
    let wait_ms = eventually("the client is throttled", || {
        let wait_ms = client.call(METADATA, &all).throttle_time_ms;
        (wait_ms > 0).then_some(wait_ms)
    });
    assert!(wait_ms <= 1000, "{wait_ms}");
    let answered = Instant::now();
    client.call(METADATA, &all);
    assert!(answered.elapsed() > Duration::from_millis(wait_ms.unsigned_abs().into()) - Duration::from_millis(50));
}
