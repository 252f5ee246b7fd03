//! Configurations: changed, refused, kept, and effective at once.

use net::api::{alter_configs, describe_configs, incremental_alter_configs, list_config_resources};

use crate::support::batch;
use crate::support::broker::{Broker, TOPIC_RESOURCE, only, unique};
use crate::support::client::Client;

const ALTER: i16 = 2;
const INCREMENTAL: i16 = 1;
const DESCRIBE: i16 = 4;

pub(crate) const SET: i8 = 0;
pub(crate) const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

const UNKNOWN_TOPIC: i16 = 3;
const TOO_LARGE: i16 = 10;
const GROUP: i8 = 32;
pub(crate) const METRICS: i8 = 16;
const BROKER: i8 = 4;
const INVALID_REQUEST: i16 = 42;
const INVALID_CONFIG: i16 = 40;

/// What is set by whom, with Kafka's numbers.
const TOPIC_SOURCE: i8 = 1;
const BROKER_DEFAULT_SOURCE: i8 = 3;
const DEFAULT_SOURCE: i8 = 5;

/// A resource, and what is to become of its properties.
type Wish<'a> = (i8, &'a str, &'a [(&'a str, i8, &'a str)]);

fn incremental<'a>(wishes: &[Wish<'a>], validate_only: bool) -> incremental_alter_configs::Request<'a> {
    let resource = |&(resource_type, name, edits): &Wish<'a>| incremental_alter_configs::RequestResources {
        resource_type,
        resource_name: name.into(),
        configs: edits
            .iter()
            .map(|&(name, config_operation, value)| incremental_alter_configs::RequestResourcesConfigs {
                name: name.into(),
                config_operation,
                value: (config_operation != DELETE).then_some(value.into()),
            })
            .collect(),
    };
    incremental_alter_configs::Request { resources: wishes.iter().map(resource).collect(), validate_only }
}

/// The error codes of a wish, one for each resource; each error has a message.
#[track_caller]
fn change(client: &mut Client, wishes: &[Wish<'_>]) -> Vec<i16> {
    let response = client.call(INCREMENTAL, &incremental(wishes, false));
    let told = |row: incremental_alter_configs::ResponseResponses<'_>| {
        assert!(row.error_code == 0 || row.error_message.is_some_and(|message| !message.is_empty()));
        row.error_code
    };
    response.responses.into_iter().map(told).collect()
}

#[track_caller]
pub(crate) fn must_change(client: &mut Client, resource_type: i8, name: &str, edits: &[(&str, i8, &str)]) {
    let response = client.call(INCREMENTAL, &incremental(&[(resource_type, name, edits)], false));
    let row = only(response.responses);
    assert_eq!(row.error_code, 0, "{name}: {:?}", row.error_message);
}

/// The value and the source of one property.
#[track_caller]
fn shown(client: &mut Client, resource_type: i8, name: &str, property: &str) -> Option<(String, i8)> {
    let resource = describe_configs::RequestResources {
        resource_type,
        resource_name: name.into(),
        configuration_keys: Some(vec![property.into()]),
    };
    let request = describe_configs::Request { resources: vec![resource], ..Default::default() };
    let result = only(client.call(DESCRIBE, &request).results);
    assert_eq!(result.error_code, 0, "{name}: {:?}", result.error_message);
    let config = result.configs.into_iter().next()?;
    Some((config.value.unwrap_or_default().into_owned(), config.config_source))
}

/// Changes a topic in that version of IncrementalAlterConfigs.
pub(crate) fn incremental_alter(broker: &Broker, version: i16) {
    let topic = broker.topic("incremental").name;
    let request = incremental(&[(TOPIC_RESOURCE, &topic, &[("retention.ms", SET, "86400000")])], false);
    let row = only(broker.client().call(version, &request).responses);
    assert_eq!((row.error_code, row.resource_name.as_ref()), (0, topic.as_str()), "v{version}");
    assert_eq!(broker.client().topic_config(&topic, "retention.ms"), "86400000", "v{version}");
}

/// Changes a topic in that version of AlterConfigs, which unsets what it does not name.
pub(crate) fn alter(broker: &Broker, version: i16) {
    let topic = broker.topic_with("alter", 1, &[("segment.ms", "7200000")]).name;
    let config = alter_configs::RequestResourcesConfigs { name: "retention.ms".into(), value: Some("86400000".into()) };
    let resource = alter_configs::RequestResources {
        resource_type: TOPIC_RESOURCE,
        resource_name: topic.as_str().into(),
        configs: vec![config],
    };
    let request = alter_configs::Request { resources: vec![resource], validate_only: false };
    let row = only(broker.client().call(version, &request).responses);
    assert_eq!((row.error_code, row.resource_name.as_ref()), (0, topic.as_str()), "v{version}");
    let mut client = broker.client();
    assert_eq!(client.topic_config(&topic, "retention.ms"), "86400000", "v{version}");
    assert_eq!(client.topic_config(&topic, "segment.ms"), "604800000", "v{version}");
    assert_eq!(only(client.call(ALTER, &request).responses).error_code, 0, "the same once more");
}

/// Lists what has a configuration in that version of ListConfigResources.
pub(crate) fn list(broker: &Broker, version: i16) {
    let name = unique("listed-metrics");
    let mut client = broker.client();
    must_change(&mut client, METRICS, &name, &[("interval.ms", SET, "60000"), ("match", SET, "client_id=nobody")]);
    let request = list_config_resources::Request { resource_types: Vec::new() };
    let response = client.call(version, &request);
    assert_eq!(response.error_code, 0, "v{version}");
    let types: Vec<i8> = response.config_resources.iter().map(|resource| resource.resource_type).collect();
    assert!(response.config_resources.iter().any(|resource| resource.resource_name == name), "v{version}");
    assert_eq!(types.contains(&BROKER), version > 0, "v{version} {types:?}");
    must_change(&mut client, METRICS, &name, &[("interval.ms", DELETE, ""), ("match", DELETE, "")]);
}

#[test]
fn a_topic_is_changed_property_by_property() {
    let Some(broker) = Broker::get("topic configs") else { return };
    let topic = broker.topic("changed").name;
    let mut client = broker.client();
    let mut edit = |edits: &[(&str, i8, &str)]| must_change(&mut client, TOPIC_RESOURCE, &topic, edits);
    edit(&[("cleanup.policy", APPEND, "compact"), ("retention.ms", SET, " 1000 ")]);
    edit(&[("cleanup.policy", SUBTRACT, "delete")]);
    edit(&[("no.such.thing", DELETE, "")]);
    edit(&[]);
    assert_eq!(shown(&mut client, TOPIC_RESOURCE, &topic, "cleanup.policy"), Some(("compact".into(), TOPIC_SOURCE)));
    assert_eq!(shown(&mut client, TOPIC_RESOURCE, &topic, "retention.ms"), Some(("1000".into(), TOPIC_SOURCE)));
    must_change(&mut client, TOPIC_RESOURCE, &topic, &[("retention.ms", DELETE, "")]);
    let back = shown(&mut client, TOPIC_RESOURCE, &topic, "retention.ms");
    assert_eq!(back, Some(("604800000".into(), DEFAULT_SOURCE)));
}

#[test]
fn what_cannot_work_is_refused_and_changes_nothing() {
    let Some(broker) = Broker::get("refused configs") else { return };
    let topic = broker.topic("refused").name;
    let missing = unique("missing");
    let mut client = broker.client();
    let one = |client: &mut Client, edits: &[(&str, i8, &str)]| change(client, &[(TOPIC_RESOURCE, &topic, edits)])[0];
    for (edits, code) in [
        (&[("retention.ms", SET, "many")][..], INVALID_CONFIG),
        (&[("retention.ms", APPEND, "1")], INVALID_CONFIG),
        (&[("no.such.thing", SET, "1")], INVALID_CONFIG),
        (&[("cleanup.policy", APPEND, "shred")], INVALID_CONFIG),
        (&[("min.compaction.lag.ms", SET, "10"), ("max.compaction.lag.ms", SET, "5")], INVALID_CONFIG),
        (&[("retention.ms", SET, "1"), ("retention.ms", SET, "2")], INVALID_REQUEST),
        (&[("segment.ms", SET, "60000"), ("no.such.thing", SET, "1")], INVALID_CONFIG),
    ] {
        assert_eq!(one(&mut client, edits), code, "{edits:?}");
    }
    let wish: Wish<'_> = (TOPIC_RESOURCE, &topic, &[("retention.ms", SET, "60000")]);
    assert_eq!(change(&mut client, &[wish, wish]), [INVALID_REQUEST, INVALID_REQUEST], "a resource twice");
    assert_eq!(change(&mut client, &[(TOPIC_RESOURCE, &missing, wish.2)]), [UNKNOWN_TOPIC]);
    assert_eq!(change(&mut client, &[(99, "x", wish.2)]), [INVALID_REQUEST]);
    let response = client.call(INCREMENTAL, &incremental(&[wish], true));
    assert_eq!(only(response.responses).error_code, 0, "it would work");
    for name in ["retention.ms", "segment.ms"] {
        let (_, source) = shown(&mut client, TOPIC_RESOURCE, &topic, name).expect("topics have it");
        assert_eq!(source, DEFAULT_SOURCE, "{name}");
    }
}

#[test]
fn one_refused_resource_does_not_keep_the_others_from_changing() {
    let Some(broker) = Broker::get("mixed configs") else { return };
    let (good, bad) = (broker.topic("good").name, broker.topic("bad").name);
    let mut client = broker.client();
    let wishes: [Wish<'_>; 2] =
        [(TOPIC_RESOURCE, &bad, &[("retention.ms", SET, "x")]), (TOPIC_RESOURCE, &good, &[("retention.ms", SET, "7")])];
    assert_eq!(change(&mut client, &wishes), [INVALID_CONFIG, 0]);
    assert_eq!(client.topic_config(&good, "retention.ms"), "7");
}

#[test]
fn a_changed_limit_holds_for_the_next_batch_and_outlives_a_kill() {
    let Some(broker) = Broker::get("effective configs") else { return };
    let topic = broker.topic("limited").name;
    let mut client = broker.client();
    let large = batch::batch(&[&"x".repeat(2000)]);
    client.must_produce(&topic, 0, &large);
    must_change(&mut client, TOPIC_RESOURCE, &topic, &[("max.message.bytes", SET, "1000")]);
    if broker.is_kafka() {
        return;
    }
    assert_eq!(client.produce(&topic, 0, &large).error_code, TOO_LARGE);

    let broker = Broker::of(broker.into_node().kill().start());
    let mut client = broker.client();
    assert_eq!(client.produce(&topic, 0, &large).error_code, TOO_LARGE);
    must_change(&mut client, TOPIC_RESOURCE, &topic, &[("max.message.bytes", DELETE, "")]);
    client.must_produce(&topic, 0, &large);
}

#[test]
fn a_broker_default_holds_for_topics_at_once_and_outlives_a_kill() {
    let Some(broker) = Broker::get("broker defaults") else { return };
    if broker.is_kafka() {
        return;
    }
    let (plain, own) = (broker.topic("plain").name, broker.topic_with("own", 1, &[("max.message.bytes", "5000")]).name);
    let large = batch::batch(&[&"x".repeat(2000)]);
    let limit = |client: &mut Client, edits: &[(&str, i8, &str)]| must_change(client, BROKER, "", edits);
    let mut client = broker.client();
    limit(&mut client, &[("message.max.bytes", SET, "1000")]);
    must_change(&mut client, GROUP, "kept", &[("consumer.session.timeout.ms", SET, "50000")]);
    must_change(&mut client, METRICS, "kept", &[("interval.ms", SET, "60000")]);
    assert_eq!(change(&mut client, &[(BROKER, "1", &[("node.id", SET, "2")])]), [INVALID_REQUEST]);
    let holds = |client: &mut Client| {
        assert_eq!(client.produce(&plain, 0, &large).error_code, TOO_LARGE);
        client.must_produce(&own, 0, &large);
        assert_eq!(shown(client, BROKER, "", "message.max.bytes"), Some(("1000".into(), BROKER_DEFAULT_SOURCE)));
        assert_eq!(
            shown(client, TOPIC_RESOURCE, &plain, "max.message.bytes"),
            Some(("1000".into(), BROKER_DEFAULT_SOURCE))
        );
        assert_eq!(shown(client, GROUP, "kept", "consumer.session.timeout.ms"), Some(("50000".into(), 8)));
        assert_eq!(shown(client, METRICS, "kept", "interval.ms"), Some(("60000".into(), 7)));
    };
    holds(&mut client);

    let broker = Broker::of(broker.into_node().kill().start());
    let mut client = broker.client();
    holds(&mut client);
    limit(&mut client, &[("message.max.bytes", DELETE, "")]);
    client.must_produce(&plain, 0, &large);

    let broker = Broker::of(broker.into_node().kill().start());
    broker.client().must_produce(&plain, 0, &large);
}
