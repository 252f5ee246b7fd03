//! Metadata, automatic creation, creating, deleting and describing topics.

use net::Uuid;
use net::api::{create_topics, delete_topics, describe_configs, metadata};

use crate::support::batch;
use crate::support::broker::{
    Broker, CREATE_TOPICS, METADATA, TIMEOUT_MS, create_request, metadata_request, only, unique,
};
use crate::support::wait::eventually;

const UNKNOWN_TOPIC: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const EXISTS: i16 = 36;
const INVALID_PARTITIONS: i16 = 37;
const INVALID_REPLICATION: i16 = 38;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const POLICY: i16 = 44;
const UNKNOWN_ID: i16 = 100;

const DELETE: i16 = 6;

#[test]
fn null_asks_for_all_topics_and_an_empty_list_for_none() {
    let Some(broker) = Broker::get("metadata lists") else { return };
    let topic = broker.topic("listed").name;
    let mut client = broker.client();
    let lists_it = |response: &metadata::Response<'_>| {
        response.topics.iter().any(|listed| listed.name.as_deref() == Some(topic.as_str()))
    };
    let all = metadata::Request { topics: None, ..Default::default() };
    let none = metadata::Request { topics: Some(vec![]), ..Default::default() };
    for version in 1..=METADATA {
        assert!(lists_it(&client.call(version, &all)), "v{version}");
        let response = client.call(version, &none);
        assert!(response.topics.is_empty() && !response.brokers.is_empty(), "v{version}");
    }
    assert!(lists_it(&client.call(0, &none)), "version 0 has no null");
}

#[test]
fn a_topic_is_created_when_it_is_first_asked_for_and_allowed() {
    let Some(broker) = Broker::get("automatic creation") else { return };
    let name = unique("auto");
    let mut client = broker.client();
    assert_eq!(client.metadata(&name).error_code, UNKNOWN_TOPIC, "not without the flag");
    assert_eq!(client.metadata(&name).error_code, UNKNOWN_TOPIC, "and it was not created");
    let first = only(client.call(METADATA, &metadata_request(&[&name], true)).topics);
    assert_eq!(first.error_code, UNKNOWN_TOPIC, "the first answer is one to repeat");
    let made = eventually("the topic is there", || {
        let topic = client.metadata(&name);
        (topic.error_code == 0).then_some(topic)
    });
    assert!(broker.is_kafka() || made.partitions.len() == 1, "num.partitions is 1 by default");
    eventually("the topic can be written", || {
        (client.produce(&name, 0, &batch::batch(&["a"])).error_code == 0).then_some(())
    });
}

#[test]
fn illegal_names_are_told_even_without_creation() {
    let Some(broker) = Broker::get("illegal names") else { return };
    let mut client = broker.client();
    let long = "x".repeat(250);
    for name in ["a b", "a/b", ".", "..", "ä", &long] {
        for create in [true, false] {
            let answer = only(client.call(METADATA, &metadata_request(&[name], create)).topics);
            assert_eq!(answer.error_code, INVALID_TOPIC, "{name:?}, create {create}");
        }
        let created = only(client.call(CREATE_TOPICS, &create_request(name, 1, &[])).topics);
        assert_eq!(created.error_code, INVALID_TOPIC, "{name:?}");
        assert!(created.error_message.is_some_and(|message| !message.is_empty()), "{name:?}");
    }
}

#[test]
fn topics_that_cannot_be_created_say_why() {
    let Some(broker) = Broker::get("refused topics") else { return };
    let existing = broker.topic("with.dot").name;
    let colliding = existing.replace("with.dot", "with_dot");
    let mut client = broker.client();
    let mut refusal = |request: create_topics::Request<'_>| {
        let answer = client.call(CREATE_TOPICS, &request);
        let topic = &answer.topics[0];
        let message = topic.error_message.as_deref().unwrap_or_default().to_owned();
        assert!(topic.error_code == 0 || !message.is_empty(), "{} without a message", topic.error_code);
        topic.error_code
    };
    assert_eq!(refusal(create_request(&existing, 1, &[])), EXISTS);
    assert_eq!(refusal(create_request(&colliding, 1, &[])), INVALID_TOPIC);
    assert_eq!(refusal(create_request(&unique("none"), 0, &[])), INVALID_PARTITIONS);
    assert_eq!(refusal(create_request(&unique("less"), -5, &[])), INVALID_PARTITIONS);
    for factor in [3, 0, -2] {
        let name = unique("replicas");
        let mut request = create_request(&name, 1, &[]);
        request.topics[0].replication_factor = factor;
        assert_eq!(refusal(request), INVALID_REPLICATION, "{factor}");
    }
    assert_eq!(refusal(create_request(&unique("config"), 1, &[("no.such.config", "1")])), INVALID_CONFIG);
    assert_eq!(refusal(create_request(&unique("config"), 1, &[("retention.ms", "soon")])), INVALID_CONFIG);
    assert_eq!(refusal(create_request(&unique("config"), 1, &[("segment.bytes", "1")])), INVALID_CONFIG);
    assert_eq!(refusal(create_request(&unique("many"), 100_001, &[])), POLICY);
    let name = unique("twice");
    let mut twice = create_request(&name, 1, &[]);
    twice.topics.push(twice.topics[0].clone());
    assert_eq!(refusal(twice), INVALID_REQUEST);
    assert_eq!(client.metadata(&name).error_code, UNKNOWN_TOPIC);
    // Defaults, and a try without consequences.
    let name = unique("defaults");
    let mut request = create_request(&name, -1, &[]);
    request.topics[0].replication_factor = -1;
    request.validate_only = true;
    assert_eq!(client.call(CREATE_TOPICS, &request).topics[0].error_code, 0);
    assert_eq!(client.metadata(&name).error_code, UNKNOWN_TOPIC, "it was only validated");
    request.validate_only = false;
    let created = only(client.call(CREATE_TOPICS, &request).topics);
    assert_eq!((created.error_code, created.replication_factor), (0, 1));
    assert!(broker.is_kafka() || created.num_partitions == 1, "num.partitions is 1 by default");
}

#[test]
fn a_topic_is_deleted_by_its_id_and_comes_back_as_another() {
    let Some(broker) = Broker::get("delete by id") else { return };
    let topic = broker.topic("mortal");
    let mut client = broker.client();
    client.must_produce(&topic.name, 0, &batch::batch(&["old"]));
    let delete = |id| delete_topics::Request {
        topics: vec![delete_topics::RequestTopics { name: None, topic_id: id }],
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    assert_eq!(only(client.call(DELETE, &delete(Uuid([9; 16]))).responses).error_code, UNKNOWN_ID);
    let deleted = only(client.call(DELETE, &delete(topic.id)).responses);
    assert_eq!((deleted.error_code, deleted.name.as_deref()), (0, Some(topic.name.as_str())));
    // Kafka's answer may be ahead of its own metadata.
    eventually("the topic is gone", || (client.metadata(&topic.name).error_code == UNKNOWN_TOPIC).then_some(()));
    assert_eq!(only(client.call(DELETE, &delete(topic.id)).responses).error_code, UNKNOWN_ID);
    let by_name = delete_topics::Request {
        topics: vec![delete_topics::RequestTopics { name: Some("e2e-nowhere".into()), ..Default::default() }],
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    assert_eq!(only(client.call(DELETE, &by_name).responses).error_code, UNKNOWN_TOPIC);
    let again = only(client.call(CREATE_TOPICS, &create_request(&topic.name, 1, &[])).topics);
    assert_eq!(again.error_code, 0);
    assert_ne!(again.topic_id, topic.id);
    eventually("the new topic is served, and empty", || {
        (client.try_offset(&topic.name, 0, -1) == (0, 0, -1)).then_some(())
    });
}

#[test]
fn configurations_are_listed_with_their_sources() {
    let Some(broker) = Broker::get("configurations") else { return };
    let topic = broker.topic_with("configured", 1, &[("retention.ms", "60000")]).name;
    let mut client = broker.client();
    let mut describe = |resource_type, resource_name: &str, keys: Option<Vec<&'static str>>| {
        let resource = describe_configs::RequestResources {
            resource_type,
            resource_name: resource_name.to_owned().into(),
            configuration_keys: keys.map(|keys| keys.into_iter().map(Into::into).collect()),
        };
        let request =
            describe_configs::Request { resources: vec![resource], include_synonyms: true, ..Default::default() };
        only(client.call(4, &request).results)
    };
    const TOPIC: i8 = 2;
    const BROKER: i8 = 4;
    let all = describe(TOPIC, &topic, None);
    assert!(all.configs.len() >= 28, "{}", all.configs.len());
    assert_eq!(describe(TOPIC, &topic, Some(vec![])).configs.len(), all.configs.len(), "an empty list means all");
    let some = describe(TOPIC, &topic, Some(vec!["retention.ms", "segment.bytes"]));
    let told: Vec<_> = some.configs.iter().map(|c| (&*c.name, c.value.as_deref(), c.config_source)).collect();
    assert!(told.contains(&("retention.ms", Some("60000"), 1)), "{told:?}");
    assert!(told.contains(&("segment.bytes", Some("1073741824"), 5)), "{told:?}");
    let first = &some.configs.iter().find(|config| config.name == "retention.ms").expect("it was asked for").synonyms;
    assert_eq!((&*first[0].name, first[0].source), ("retention.ms", 1));
    assert_eq!(describe(TOPIC, "e2e-nowhere", None).error_code, UNKNOWN_TOPIC);
    let id = broker.client().call(METADATA, &metadata_request(&[], false)).brokers[0].node_id.to_string();
    assert!(describe(BROKER, &id, None).configs.len() > 50);
    assert_eq!(describe(BROKER, "4711", None).error_code, INVALID_REQUEST);
}
