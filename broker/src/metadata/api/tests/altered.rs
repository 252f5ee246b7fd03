//! Tests of changing, describing and listing configurations. Where a comment does not say otherwise, codes and flags are
//! what a live Kafka 4.3.1 answered to the same request.

use net::api::{alter_configs as alter, incremental_alter_configs as incremental, list_config_resources as list};

use super::*;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;
const METRICS: i8 = 16;
const GROUP: i8 = 32;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

type Edits<'a> = &'a [(&'a str, i8, &'a str)];

/// The codes of an incremental change; checks that only what succeeds is stored, and that every error has a message.
fn change(node: &mut Node, wishes: &[(i8, &str, Edits<'_>)]) -> Vec<i16> {
    let resource = |&(resource_type, name, edits): &(i8, &str, Edits<'_>)| incremental::RequestResources {
        resource_type,
        resource_name: name.to_owned().into(),
        configs: edits
            .iter()
            .map(|&(name, config_operation, value)| incremental::RequestResourcesConfigs {
                name: name.to_owned().into(),
                config_operation,
                value: (config_operation != DELETE).then(|| value.to_owned().into()),
            })
            .collect(),
    };
    let request = incremental::Request { resources: wishes.iter().map(resource).collect(), validate_only: false };
    let before = Arc::clone(node.controller.newest());
    let (response, change) = incremental_alter_configs(request, &mut node.controller);
    for version in all_versions(ApiKey::IncrementalAlterConfigs) {
        survives(&response, version, &mut Vec::new());
    }
    match change {
        Some(change) => {
            assert_eq!(replayed(&before, &change), **node.controller.newest(), "what is stored is the change")
        }
        None => assert_eq!(before, *node.controller.newest()),
    }
    let told = |row: &incremental::ResponseResponses<'_>| {
        assert_eq!(row.error_message.is_some(), row.error_code != 0, "{}", row.resource_name);
        row.error_code
    };
    response.responses.iter().map(told).collect()
}

/// The image that the records of a change make of the one before.
fn replayed(before: &Image, change: &crate::metadata::Change) -> Image {
    let mut image = before.clone();
    change.encode().iter().for_each(|value| image.replay(value).expect("it was just written"));
    image
}

/// The value and source of a property, as DescribeConfigs says.
fn shown(node: &Node, resource_type: i8, name: &str, property: &str) -> Option<(String, i8)> {
    let resource = configs::RequestResources {
        resource_type,
        resource_name: name.to_owned().into(),
        configuration_keys: Some(vec![property.to_owned().into()]),
    };
    let request = configs::Request { resources: vec![resource], include_synonyms: true, include_documentation: true };
    let response = describe_configs(request, &node.context(4));
    let config = response.results[0].configs.first()?;
    if let Some(strongest) = config.synonyms.first() {
        assert_eq!(strongest.source, config.config_source, "the value is that of the strongest synonym");
    }
    Some((config.value.as_deref().unwrap_or_default().to_owned(), config.config_source))
}

#[test]
fn what_is_set_on_a_broker_is_the_default_of_topics_at_once() {
    let mut node = Node::new(&["log.retention.hours=1"]);
    let retention = |node: &Node| node.controller.newest().topic("compacted").expect("there").config.retention_ms;
    assert_eq!(retention(&node), Some(3_600_000));
    assert_eq!(change(&mut node, &[(BROKER, "", &[("log.retention.ms", SET, "5000")])]), [0]);
    assert_eq!(retention(&node), Some(5000));
    assert_eq!(shown(&node, TOPIC, "compacted", "retention.ms"), Some(("5000".to_owned(), 3)));
    assert_eq!(change(&mut node, &[(BROKER, "1", &[("log.retention.ms", SET, "6000")])]), [0]);
    assert_eq!(retention(&node), Some(6000));
    assert_eq!(shown(&node, TOPIC, "compacted", "retention.ms"), Some(("6000".to_owned(), 2)));
    assert_eq!(shown(&node, BROKER, "", "log.retention.ms"), Some(("5000".to_owned(), 3)));
    assert_eq!(shown(&node, TOPIC, "plain", "retention.ms"), Some(("1000".to_owned(), 1)), "its own is stronger");
    let unset: Edits<'_> = &[("log.retention.ms", DELETE, "")];
    assert_eq!(change(&mut node, &[(BROKER, "", unset), (BROKER, "1", unset)]), [0, 0]);
    assert_eq!(retention(&node), Some(3_600_000));
    assert_eq!(shown(&node, BROKER, "", "log.retention.ms"), None);
}

#[test]
fn a_change_of_a_broker_default_leaves_topics_alone_that_it_does_not_concern() {
    let mut node = Node::new(&[]);
    let before = Arc::clone(node.controller.newest());
    assert_eq!(change(&mut node, &[(BROKER, "", &[("log.retention.ms", SET, "5000")])]), [0]);
    let after = node.controller.newest();
    let same = |name| Arc::ptr_eq(before.topic(name).expect("there"), after.topic(name).expect("there"));
    assert!(same("plain"), "it sets its own retention, and nothing else changed");
    assert!(!same("compacted"));
}

#[test]
fn brokers_refuse_what_does_not_change_while_they_run() {
    let mut node = Node::new(&[]);
    for (name, property, value, code) in [
        ("1", "node.id", "2", 42),
        ("", "num.partitions", "2", 42),
        ("", "listeners", "PLAINTEXT://:1", 42),
        ("1", "log.retention.ms", "abc", 42),
        ("1", "log.retention.ms", "0", 42),
        ("2", "log.retention.ms", "1", 42),
        ("x", "log.retention.ms", "1", 42),
        ("1", "min.insync.replicas", "2", 40),
        // Kafka stores names that it does not know, for plug-ins; here they are mistakes.
        ("1", "no.such.thing", "2", 40),
    ] {
        assert_eq!(change(&mut node, &[(BROKER, name, &[(property, SET, value)])]), [code], "{property} on {name:?}");
    }
    let kept: Edits<'_> = &[("min.insync.replicas", DELETE, "")];
    assert_eq!(change(&mut node, &[(BROKER, "", kept)]), [40], "it always has a value");
    assert_eq!(change(&mut node, &[(BROKER, "", &[("min.insync.replicas", SET, "2")])]), [0]);
    assert_eq!(shown(&node, BROKER, "", "min.insync.replicas"), Some(("2".to_owned(), 3)));
    assert_eq!(change(&mut node, &[(BROKER, "1", &[("node.id", DELETE, ""), ("no.such.thing", DELETE, "")])]), [0]);
    assert_eq!(change(&mut node, &[(BROKER, "", &[("log.cleanup.policy", APPEND, "compact")])]), [0]);
    assert_eq!(shown(&node, TOPIC, "plain", "cleanup.policy"), Some(("delete,compact".to_owned(), 3)));
}

#[test]
fn groups_are_configured_within_the_brokers_bounds() {
    let mut node = Node::new(&[]);
    let session = "consumer.session.timeout.ms";
    assert_eq!(shown(&node, GROUP, "g", session), Some(("45000".to_owned(), 5)));
    assert_eq!(change(&mut node, &[(GROUP, "g", &[(session, SET, "50000")])]), [0]);
    assert_eq!(shown(&node, GROUP, "g", session), Some(("50000".to_owned(), 8)));
    for (property, value) in [
        (session, "10"),
        (session, "100000000"),
        (session, "x"),
        ("consumer.heartbeat.interval.ms", "1"),
        ("share.auto.offset.reset", "EARLIEST"),
        ("share.auto.offset.reset", "by_duration:-PT1H"),
        ("share.auto.offset.reset", "by_duration:P"),
        ("share.isolation.level", "READ_COMMITTED"),
        ("share.delivery.count.limit", "1"),
        ("share.delivery.count.limit", "11"),
        ("streams.num.standby.replicas", "10"),
        ("no.such.thing", "1"),
    ] {
        assert_eq!(change(&mut node, &[(GROUP, "g", &[(property, SET, value)])]), [40], "{property}={value}");
    }
    for (property, value) in [
        ("share.auto.offset.reset", "by_duration:PT1H"),
        ("share.auto.offset.reset", "by_duration:P1DT2H3M4.5S"),
        ("share.isolation.level", "read_committed"),
        ("streams.initial.rebalance.delay.ms", "1000000"),
    ] {
        assert_eq!(change(&mut node, &[(GROUP, "g", &[(property, SET, value)])]), [0], "{property}={value}");
    }
    assert_eq!(change(&mut node, &[(GROUP, "", &[(session, SET, "50000")])]), [42]);
    assert_eq!(change(&mut node, &[(GROUP, "g", &[(session, APPEND, "50000")])]), [40]);
}

#[test]
fn subscriptions_to_client_metrics_come_and_go() {
    let mut node = Node::new(&[]);
    let edits: Edits<'_> = &[("interval.ms", SET, "1000"), ("match", SET, "client_id=none"), ("metrics", SET, "a.b,c")];
    assert_eq!(change(&mut node, &[(METRICS, "m", edits)]), [0]);
    assert_eq!(shown(&node, METRICS, "m", "interval.ms"), Some(("1000".to_owned(), 7)));
    assert_eq!(shown(&node, METRICS, "other", "interval.ms"), Some(("300000".to_owned(), 5)));
    for (property, operation, value, code) in [
        ("interval.ms", SET, "99", 42),
        ("interval.ms", SET, "x", 40),
        ("match", SET, "foo=bar", 40),
        ("match", SET, "client_id=[", 40),
        ("metrics", APPEND, "d", 40),
        ("no.such.thing", SET, "1", 42),
    ] {
        assert_eq!(change(&mut node, &[(METRICS, "m", &[(property, operation, value)])]), [code], "{property}={value}");
    }
    assert_eq!(change(&mut node, &[(METRICS, "", edits)]), [42]);
    assert_eq!(listed(&node, 0, &[]), Ok(vec![(METRICS, "m".to_owned())]));
    let unset: Edits<'_> = &[("interval.ms", DELETE, ""), ("match", DELETE, ""), ("metrics", DELETE, "")];
    assert_eq!(change(&mut node, &[(METRICS, "m", unset)]), [0]);
    assert_eq!(listed(&node, 0, &[]), Ok(vec![]));
}

fn listed(node: &Node, version: i16, types: &[i8]) -> Result<Vec<(i8, String)>, i16> {
    let response = list_config_resources(&list::Request { resource_types: types.to_vec() }, &node.context(version));
    survives(&response, version, &mut Vec::new());
    match response.error_code {
        0 => Ok(response.config_resources.into_iter().map(|r| (r.resource_type, r.resource_name.into())).collect()),
        code => Err(code),
    }
}

#[test]
fn what_can_be_configured_is_listed_by_type() {
    let mut node = Node::new(&[]);
    assert_eq!(change(&mut node, &[(GROUP, "g", &[("consumer.session.timeout.ms", SET, "50000")])]), [0]);
    let one = |kind, name: &str| (kind, name.to_owned());
    assert_eq!(listed(&node, 1, &[GROUP]), Ok(vec![one(GROUP, "g")]));
    assert_eq!(listed(&node, 1, &[BROKER, LOGGER]), Ok(vec![one(BROKER, "1"), one(LOGGER, "1")]));
    let all = listed(&node, 1, &[]).expect("all types");
    assert!(all.contains(&one(TOPIC, "plain")) && all.contains(&one(GROUP, "g")) && all.contains(&one(BROKER, "1")));
    assert_eq!(listed(&node, 1, &[77]), Err(35));
    assert_eq!(listed(&node, 1, &[0]), Err(35));
    assert_eq!(listed(&node, 1, &[GROUP, 77]), Err(35));
}

#[test]
fn levels_of_loggers_are_told_and_do_not_change() {
    let mut node = Node::new(&[]);
    let (level, source) = shown(&node, LOGGER, "1", "root").expect("there is one");
    assert!(["OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level.as_str()) && source == 6);
    assert_eq!(shown(&node, LOGGER, "1", "nobody"), None);
    // Kafka changes them.
    assert_eq!(change(&mut node, &[(LOGGER, "1", &[("root", SET, "INFO")])]), [42]);
    assert_eq!(change(&mut node, &[(LOGGER, "9", &[("root", SET, "INFO")])]), [42]);
}

#[test]
fn the_older_request_unsets_what_it_does_not_name() {
    let mut node = Node::new(&[]);
    let ask = |node: &mut Node, resource_type, name: &str, configs: &[(&str, Option<&str>)]| {
        let configs = configs.iter().map(|&(name, value)| alter::RequestResourcesConfigs {
            name: name.to_owned().into(),
            value: value.map(|value| value.to_owned().into()),
        });
        let resource_name = name.to_owned().into();
        let resource = alter::RequestResources { resource_type, resource_name, configs: configs.collect() };
        let request = alter::Request { resources: vec![resource], validate_only: false };
        alter_configs(request, &mut node.controller).0.responses[0].error_code
    };
    assert_eq!(ask(&mut node, TOPIC, "plain", &[("segment.ms", Some("70000"))]), 0);
    assert_eq!(shown(&node, TOPIC, "plain", "segment.ms"), Some(("70000".to_owned(), 1)));
    assert_eq!(shown(&node, TOPIC, "plain", "retention.ms"), Some(("604800000".to_owned(), 5)));
    assert_eq!(ask(&mut node, TOPIC, "plain", &[("segment.ms", None)]), 42);
    assert_eq!(ask(&mut node, TOPIC, "plain", &[]), 0);
    assert_eq!(shown(&node, TOPIC, "plain", "segment.ms"), Some(("604800000".to_owned(), 5)));
    assert_eq!(ask(&mut node, TOPIC, "nowhere", &[]), 3);
    assert_eq!(ask(&mut node, BROKER, "1", &[]), 0);
    assert_eq!(ask(&mut node, BROKER, "", &[]), 40, "min.insync.replicas would lose its value");
    assert_eq!(ask(&mut node, GROUP, "g", &[("consumer.session.timeout.ms", Some("50000"))]), 0);
    assert_eq!(ask(&mut node, GROUP, "g", &[]), 0);
    assert_eq!(listed(&node, 1, &[GROUP]), Ok(vec![]));
}

#[test]
fn what_is_set_is_bounded() {
    let mut node = Node::new(&[]);
    let pairs = |count: usize| (0..count).map(|n| format!("{n}:1")).collect::<Vec<_>>().join(",");
    let property = "leader.replication.throttled.replicas";
    assert_eq!(change(&mut node, &[(TOPIC, "plain", &[(property, SET, &pairs(1000))])]), [0]);
    assert_eq!(change(&mut node, &[(TOPIC, "plain", &[(property, SET, &pairs(150_000))])]), [42]);
}
