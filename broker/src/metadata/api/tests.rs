//! Tests of the answers. Where a comment does not say otherwise, codes and flags are what a live Kafka 4.3.1 answered
//! to the same request.

mod altered;
mod features;
mod partitions;
mod unwritten;

use std::sync::Arc;

use net::api::{
    api_versions as versions, create_topics as create, delete_topics as delete, describe_cluster as cluster,
    describe_configs as configs, describe_topic_partitions, elect_leaders, find_coordinator as coordinator,
    init_producer_id as producer, metadata as meta,
};
use net::{ApiKey, Message, Uuid};

use super::*;
use crate::config::Source;
use crate::directory::Opened;
use crate::metadata::controller::Controller;
use crate::metadata::tests::{node_config, started};
use crate::metadata::{NewTopic, ProducerIds, names};

const NOW_MS: i64 = 1_700_000_000_000;

/// A node with topics `plain` (2 partitions), `compacted` and the one of committed offsets.
struct Node {
    controller: Controller,
    config: NodeConfig,
    directories: Vec<Opened>,
}

fn directory(id: Uuid, path: &str) -> Opened {
    Opened { id, path: path.into(), offline: None }
}

impl Node {
    fn new(sets: &[&str]) -> Node {
        let mut controller = started(sets);
        let plain = NewTopic {
            partitions: 2,
            configs: vec![("retention.ms", Some("1000"))],
            ..NewTopic::with_defaults("plain")
        };
        let compacted =
            NewTopic { configs: vec![("cleanup.policy", Some("compact"))], ..NewTopic::with_defaults("compacted") };
        let outcome = controller.create_topics(&[plain, compacted], false, NOW_MS);
        assert!(outcome.results.iter().all(|(_, result)| result.is_ok()));
        controller.auto_create(&[names::CONSUMER_OFFSETS], NOW_MS);
        Node { controller, config: node_config(sets), directories: vec![directory(Uuid::ZERO, "/data")] }
    }

    fn context(&self, version: i16) -> Context<'_> {
        Context {
            image: self.controller.newest(),
            directories: &self.directories,
            config: &self.config,
            host: "broker.example",
            port: 19092,
            version,
        }
    }

    fn id(&self, name: &str) -> Uuid {
        self.controller.newest().topic(name).expect("there").id
    }
}

/// Encodes a response and reads it back: nothing may be left over.
fn survives<'a, M: Message<'a>>(message: &M, version: i16, buffer: &'a mut Vec<u8>) {
    message.encode(buffer, version);
    M::from_bytes(buffer, version).expect("what was encoded is decoded");
}

fn all_versions(key: ApiKey) -> std::ops::RangeInclusive<i16> {
    *key.advertised_versions().start().max(key.valid_versions().start())..=*key.advertised_versions().end()
}

fn by_name<'a>(names: &[&'a str]) -> meta::Request<'a> {
    let topic = |&name: &&'a str| meta::RequestTopics { name: Some(name.into()), ..Default::default() };
    meta::Request {
        topics: Some(names.iter().map(topic).collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    }
}

fn by_id(ids: &[Uuid]) -> meta::Request<'static> {
    let topic = |&topic_id: &Uuid| meta::RequestTopics { topic_id, name: None };
    meta::Request { topics: Some(ids.iter().map(topic).collect()), ..by_name(&[]) }
}

fn codes(answer: &MetadataAnswer<'_>) -> Vec<(Option<String>, i16)> {
    answer.response.topics.iter().map(|t| (t.name.as_deref().map(str::to_owned), t.error_code)).collect()
}

fn named(name: &str, code: i16) -> (Option<String>, i16) {
    (Some(name.to_owned()), code)
}

#[test]
fn metadata_names_this_broker_and_its_topics() {
    let node = Node::new(&["broker.rack=r1"]);
    let answer = metadata(by_name(&["plain"]), &node.context(13));
    let response = &answer.response;
    assert_eq!(response.brokers.len(), 1);
    let broker = &response.brokers[0];
    assert_eq!((broker.node_id, &*broker.host, broker.port), (1, "broker.example", 19092));
    assert_eq!(broker.rack.as_deref(), Some("r1"));
    assert_eq!(response.controller_id, 1);
    assert_eq!(response.cluster_id.as_deref().map(str::len), Some(22));
    assert_eq!(response.error_code, 0);
    let topic = &response.topics[0];
    assert_eq!((topic.error_code, topic.topic_id, topic.is_internal), (0, node.id("plain"), false));
    let expected = |partition_index| meta::ResponseTopicsPartitions {
        error_code: 0,
        partition_index,
        leader_id: 1,
        leader_epoch: 0,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        offline_replicas: vec![],
    };
    assert_eq!(topic.partitions, [expected(0), expected(1)]);
}

#[test]
fn null_topics_are_all_and_no_topics_are_none_but_in_version_0() {
    let node = Node::new(&[]);
    let all = || meta::Request { topics: None, ..by_name(&[]) };
    let everything = [named("__consumer_offsets", 0), named("compacted", 0), named("plain", 0)];
    assert_eq!(codes(&metadata(all(), &node.context(1))), everything);
    assert_eq!(codes(&metadata(by_name(&[]), &node.context(1))), []);
    assert_eq!(codes(&metadata(by_name(&[]), &node.context(0))), everything);
    let internal: Vec<_> =
        metadata(all(), &node.context(13)).response.topics.iter().map(|topic| topic.is_internal).collect();
    assert_eq!(internal, [true, false, false]);
}

#[test]
fn unknown_and_illegal_names_are_told_apart() {
    let node = Node::new(&[]);
    let answer = metadata(by_name(&["none", "bad name", "", "none", "plain"]), &node.context(9));
    assert_eq!(codes(&answer), [named("none", 3), named("bad name", 17), named("", 17), named("plain", 0)]);
    assert!(answer.create.is_empty());
}

#[test]
fn creation_is_wished_for_only_where_client_and_broker_allow_it() {
    let wish = |allow, sets: &[&str]| {
        let node = Node::new(sets);
        let names = ["new", "plain", "bad name", "__transaction_state", "__cluster_metadata", "new"];
        let request = meta::Request { allow_auto_topic_creation: allow, ..by_name(&names) };
        let answer = metadata(request, &node.context(4));
        assert_eq!(codes(&answer)[0], named("new", 3), "the first answer is retriable");
        answer.create
    };
    assert_eq!(wish(true, &[]), ["new"]);
    assert!(wish(false, &[]).is_empty());
    assert!(wish(true, &["auto.create.topics.enable=false"]).is_empty());
}

#[test]
fn topics_are_found_by_id_from_version_12_on() {
    let node = Node::new(&[]);
    let unknown = Uuid([9; 16]);
    let answer = metadata(by_id(&[node.id("plain"), unknown]), &node.context(12));
    assert_eq!(codes(&answer), [named("plain", 0), (None, 100)]);
    assert_eq!(answer.response.topics[1].topic_id, unknown);
    assert_eq!(codes(&metadata(by_id(&[unknown]), &node.context(11))), [named("", 42)]);
    // A live Kafka answers -1 here; 42 says more.
    assert_eq!(codes(&metadata(by_id(&[Uuid::ZERO]), &node.context(12))), [named("", 42)]);
}

#[test]
fn operations_are_answered_where_they_are_asked_for() {
    let node = Node::new(&[]);
    let mut request = by_name(&["plain", "none"]);
    let quiet = metadata(request.clone(), &node.context(9)).response;
    assert_eq!(
        (quiet.cluster_authorized_operations, quiet.topics[0].topic_authorized_operations),
        (i32::MIN, i32::MIN)
    );
    (request.include_cluster_authorized_operations, request.include_topic_authorized_operations) = (true, true);
    let asked = metadata(request, &node.context(9)).response;
    assert_eq!(asked.cluster_authorized_operations, 8096);
    assert_eq!(asked.topics.iter().map(|t| t.topic_authorized_operations).collect::<Vec<_>>(), [3576, 3576]);
}

fn creation<'a>(name: &'a str, partitions: i32, factor: i16, set: &[(&'a str, &'a str)]) -> create::RequestTopics<'a> {
    create::RequestTopics {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: factor,
        assignments: Vec::new(),
        configs: set
            .iter()
            .map(|&(name, value)| create::RequestTopicsConfigs { name: name.into(), value: Some(value.into()) })
            .collect(),
    }
}

#[test]
fn creating_a_topic_answers_its_id_and_every_config() {
    let mut node = Node::new(&[]);
    let topics = vec![creation("new", 2, -1, &[("retention.ms", "5")])];
    let request = create::Request { topics, timeout_ms: 1, validate_only: false };
    let (response, change) = create_topics(&request, 7, &mut node.controller, NOW_MS);
    assert_eq!(change.expect("it is created").records.len(), 1);
    let topic = &response.topics[0];
    assert_eq!((topic.error_code, topic.num_partitions, topic.replication_factor), (0, 2, 1));
    assert_eq!((topic.topic_id, topic.error_message.as_deref()), (node.id("new"), None));
    let configs = topic.configs.as_ref().expect("from version 5 on");
    assert_eq!(configs.len(), crate::config::topic_definitions().count());
    let retention = configs.iter().find(|c| c.name == "retention.ms").expect("every config");
    assert_eq!((retention.value.as_deref(), retention.config_source, retention.read_only), (Some("5"), 1, false));

    let request = create::Request { topics: vec![creation("v4", -1, -1, &[])], timeout_ms: 1, validate_only: true };
    let (response, change) = create_topics(&request, 4, &mut node.controller, NOW_MS);
    assert!(change.is_none());
    assert_eq!((response.topics[0].error_code, &response.topics[0].configs), (0, &None));
}

#[test]
fn refused_topics_get_kafkas_codes_and_a_message() {
    let mut node = Node::new(&[]);
    let assigned = |partition_index, broker_ids| create::RequestTopics {
        assignments: vec![create::RequestTopicsAssignments { partition_index, broker_ids }],
        ..creation("assigned", -1, -1, &[])
    };
    for (topic, code) in [
        (creation("a", 0, 1, &[]), 37),
        (creation("a", -2, -1, &[]), 37),
        (creation("a", 1, 3, &[]), 38),
        (creation("a", 1, 0, &[]), 38),
        (creation("plain", 1, 1, &[]), 36),
        (creation("..", 1, 1, &[]), 17),
        (creation("", 1, 1, &[]), 17),
        (creation("__consumer.offsets", 1, 1, &[]), 17),
        (creation("a", 10_001, 1, &[]), 44),
        (creation("__cluster_metadata", 1, 1, &[]), 42),
        (creation("a", 1, 1, &[("nope", "1")]), 40),
        (creation("a", 1, 1, &[("retention.ms", "abc")]), 40),
        (creation("a", 1, 1, &[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]), 40),
        (creation("a", 1, 1, &[("segment.bytes", "1000")]), 40),
        (creation("a", 1, 1, &[("remote.storage.enable", "true")]), 40),
        (assigned(1, vec![1]), 39),
        (assigned(0, vec![9]), 39),
        (assigned(0, vec![]), 39),
        (assigned(0, vec![1, 1]), 39),
        (create::RequestTopics { num_partitions: 2, ..assigned(0, vec![1]) }, 42),
        (create::RequestTopics { replication_factor: 1, ..assigned(0, vec![1]) }, 42),
    ] {
        let request = create::Request { topics: vec![topic.clone()], ..Default::default() };
        let (response, change) = create_topics(&request, 7, &mut node.controller, NOW_MS);
        let row = &response.topics[0];
        assert_eq!((row.error_code, change.is_none()), (code, true), "{topic:?}");
        assert!(row.error_message.as_deref().is_some_and(|message| !message.is_empty()));
        assert_eq!((row.num_partitions, row.replication_factor, row.topic_id), (-1, -1, Uuid::ZERO));
    }
}

#[test]
fn topics_are_deleted_by_name_and_from_version_6_on_by_id() {
    let mut node = Node::new(&[]);
    let (plain, compacted) = (node.id("plain"), node.id("compacted"));
    let names = vec!["plain".into(), "none".into()];
    let answer = delete_topics(&delete::Request { topic_names: names, ..Default::default() }, 5, &mut node.controller);
    let rows: Vec<_> = answer.response.responses.iter().map(|r| (r.name.as_deref(), r.error_code)).collect();
    assert_eq!(rows, [(Some("plain"), 0), (Some("none"), 3)]);
    assert_eq!(answer.deleted.iter().map(|d| (d.id, d.logs.len())).collect::<Vec<_>>(), [(plain, 2)]);
    assert_eq!(answer.change.expect("one is deleted").records.len(), 1);

    let topic = |name: Option<&'static str>, topic_id| delete::RequestTopics { name: name.map(Into::into), topic_id };
    let topics = vec![topic(None, compacted), topic(None, plain), topic(Some("x"), plain), topic(None, Uuid::ZERO)];
    let answer = delete_topics(&delete::Request { topics, ..Default::default() }, 6, &mut node.controller);
    let rows: Vec<_> = answer.response.responses.iter().map(|r| (r.name.as_deref(), r.error_code)).collect();
    assert_eq!(rows, [(Some("compacted"), 0), (None, 100), (Some("x"), 42), (None, 42)]);
    assert!(answer.response.responses[1..].iter().all(|row| row.error_message.is_some()));
}

#[test]
fn the_cluster_is_described_to_those_who_ask_for_brokers() {
    let node = Node::new(&[]);
    let request = |endpoint_type| cluster::Request {
        include_cluster_authorized_operations: true,
        endpoint_type,
        include_fenced_brokers: true,
    };
    let response = describe_cluster(&request(1), &node.context(2));
    assert_eq!((response.error_code, response.controller_id, response.cluster_authorized_operations), (0, 1, 8096));
    assert_eq!(Some(response.cluster_id.into_owned()), node.controller.newest().cluster_id().map(|id| id.to_string()));
    assert_eq!((response.brokers[0].port, response.brokers[0].is_fenced), (19092, false));
    for (endpoint_type, code) in [(2, 114), (7, 115)] {
        let response = describe_cluster(&request(endpoint_type), &node.context(2));
        assert_eq!((response.error_code, response.controller_id, response.brokers.len()), (code, -1, 0));
        assert!(response.error_message.is_some());
    }
}

fn find<'a>(key_type: i8, keys: &[&'a str]) -> coordinator::Request<'a> {
    coordinator::Request {
        key: keys.first().copied().unwrap_or_default().into(),
        key_type,
        coordinator_keys: keys.iter().map(|&key| key.into()).collect(),
    }
}

/// As in Kafka: error 5, no leader, and the node among the offline replicas.
#[test]
fn a_partition_whose_directory_is_offline_has_no_leader() {
    let mut node = Node::new(&[]);
    node.directories[0].offline = Some("gone".into());
    let request = meta::Request { topics: None, ..meta::Request::default() };
    let response = metadata(request, &node.context(12)).response;
    let partitions: Vec<_> = response.topics.iter().flat_map(|topic| &topic.partitions).collect();
    assert!(!partitions.is_empty());
    for partition in partitions {
        assert_eq!((partition.error_code, partition.leader_id, &partition.offline_replicas[..]), (5, -1, &[1][..]));
        assert_eq!((&partition.replica_nodes[..], &partition.isr_nodes[..]), (&[1][..], &[1][..]));
    }
    let request = describe_topic_partitions::Request { response_partition_limit: 9, ..Default::default() };
    let response = crate::metadata::api::describe_topic_partitions(&request, &node.context(0));
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    assert!(partitions.clone().count() > 0);
    assert!(partitions.clone().all(|it| (it.error_code, it.leader_id, it.offline_replicas.len()) == (5, -1, 1)));
    let answer = find_coordinator(find(0, &["g"]), &node.context(3));
    assert!(!answer.create_offsets_topic, "the topic is there");
    assert_eq!((answer.response.error_code, answer.response.node_id), (15, -1));
    let partition = elect_leaders::RequestTopicPartitions { topic: "plain".into(), partitions: vec![0] };
    let request =
        elect_leaders::Request { topic_partitions: Some(vec![partition]), ..elect_leaders::Request::default() };
    let response = crate::metadata::api::elect_leaders(&request, &node.context(2));
    assert_eq!(response.replica_election_results[0].partition_result[0].error_code, 83);
}

#[test]
fn groups_are_coordinated_here_once_their_topic_is_there() {
    let node = Node::new(&[]);
    let answer = find_coordinator(find(0, &["g", ""]), &node.context(4));
    assert!(!answer.create_offsets_topic);
    let rows: Vec<_> =
        answer.response.coordinators.iter().map(|c| (&*c.key, c.node_id, c.port, c.error_code)).collect();
    assert_eq!(rows, [("g", 1, 19092, 0), ("", 1, 19092, 0)]);
    let single = find_coordinator(find(0, &["g"]), &node.context(3)).response;
    assert_eq!((single.node_id, single.error_code, single.error_message.as_deref()), (1, 0, Some("NONE")));

    let bare =
        Node { controller: started(&[]), config: node_config(&[]), directories: vec![directory(Uuid::ZERO, "/data")] };
    let answer = find_coordinator(find(0, &["g"]), &bare.context(3));
    assert_eq!((answer.response.error_code, answer.response.node_id), (15, -1));
    assert!(answer.create_offsets_topic);
}

/// Kafka serves types 1 and 2; here they are refused for good, so that clients do not wait for them.
#[test]
fn other_coordinators_are_refused_with_a_reason() {
    let node = Node::new(&[]);
    for (key_type, part) in
        [(1, "Transactions are not served yet"), (2, "Share groups are not served yet"), (9, "type 9")]
    {
        let answer = find_coordinator(find(key_type, &["x"]), &node.context(6));
        let row = &answer.response.coordinators[0];
        assert_eq!((row.error_code, row.node_id, answer.create_offsets_topic), (42, -1, false));
        assert!(row.error_message.as_deref().is_some_and(|message| message.contains(part)));
    }
}

#[test]
fn idempotent_producers_get_ids_and_transactional_ones_are_refused() {
    let mut ids = ProducerIds::default();
    let request = |transactional_id: Option<&'static str>| producer::Request {
        transactional_id: transactional_id.map(Into::into),
        producer_id: 5,
        producer_epoch: 3,
        ..Default::default()
    };
    assert_eq!(init_producer_id(&request(None), &mut ids), None, "a new block is due");
    (ids, _) = started(&[]).allocate_producer_ids();
    let first = init_producer_id(&request(None), &mut ids).expect("a fresh block");
    assert_eq!((first.error_code, first.producer_id, first.producer_epoch), (0, 0, 0));
    let second = init_producer_id(&request(None), &mut ids).expect("a fresh block");
    assert_eq!(second.producer_id, 1);
    for id in ["", "t"] {
        let refused = init_producer_id(&request(Some(id)), &mut ids).expect("refused at once");
        assert_eq!((refused.error_code, refused.producer_id, refused.producer_epoch), (42, -1, -1));
    }
}

fn resource(
    resource_type: i8,
    name: &'static str,
    keys: Option<&[&'static str]>,
) -> configs::RequestResources<'static> {
    configs::RequestResources {
        resource_type,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|&key| key.into()).collect()),
    }
}

fn describe(node: &Node, resource: configs::RequestResources<'static>) -> configs::ResponseResults<'static> {
    let request = configs::Request { resources: vec![resource], include_synonyms: true, include_documentation: true };
    describe_configs(request, &node.context(4)).results.remove(0)
}

#[test]
fn topic_configs_are_described_all_or_those_asked_for() {
    let node = Node::new(&[]);
    for keys in [None, Some(&[][..])] {
        let all = describe(&node, resource(2, "plain", keys));
        assert_eq!((all.error_code, all.error_message.as_deref()), (0, Some("")));
        assert_eq!(all.configs.len(), crate::config::topic_definitions().count());
    }
    let some = describe(&node, resource(2, "plain", Some(&["retention.ms", "nope", "retention.ms"])));
    let [row] = &some.configs[..] else { panic!("one row: {some:?}") };
    assert_eq!(
        (&*row.name, row.value.as_deref(), row.config_source, row.config_type),
        ("retention.ms", Some("1000"), 1, 5)
    );
    assert_eq!(row.synonyms.iter().map(|s| (&*s.name, s.source)).collect::<Vec<_>>(), [("retention.ms", 1)]);
    assert!(row.documentation.as_deref().is_some_and(|text| text.contains("-1 sets no limit")));

    let request = configs::Request { resources: vec![resource(2, "plain", None)], ..Default::default() };
    let bare = describe_configs(request, &node.context(4)).results.remove(0);
    assert!(bare.configs.iter().all(|row| row.synonyms.is_empty() && row.documentation.is_none()));
}

#[test]
fn broker_configs_are_described_by_the_broker_itself() {
    let node = Node::new(&["num.partitions=4"]);
    let all = describe(&node, resource(4, "1", None));
    assert_eq!(all.configs.len(), crate::config::broker_definitions().count());
    let one = describe(&node, resource(4, "1", Some(&["num.partitions"])));
    assert_eq!((one.configs[0].value.as_deref(), one.configs[0].config_source), (Some("4"), 4));
    assert!(one.configs[0].read_only);
    let cluster_wide = describe(&node, resource(4, "", None));
    assert_eq!(cluster_wide.configs.iter().map(|row| &*row.name).collect::<Vec<_>>(), ["min.insync.replicas"]);
    assert_eq!(cluster_wide.configs[0].config_source, Source::DynamicDefaultBroker.wire());
}

#[test]
fn other_resources_are_refused_with_kafkas_codes() {
    let node = Node::new(&[]);
    for (kind, name, code) in [
        (2, "none", 3),
        (2, "bad name", 17),
        (2, "", 17),
        (4, "7", 42),
        (4, "x", 42),
        (8, "7", 42),
        (8, "", 42),
        (16, "", 42),
        (32, "", 42),
        (3, "g", 42),
    ] {
        let refused = describe(&node, resource(kind, name, None));
        assert_eq!((refused.error_code, refused.configs.len()), (code, 0), "{kind} {name}");
        assert!(refused.error_message.is_some_and(|message| !message.is_empty()));
    }
}

/// Key, first and last version of everything that a live Kafka 4.3.1 advertises, with a receiver of client metrics.
#[rustfmt::skip]
const ADVERTISED_BY_KAFKA: &[(i16, i16, i16)] = &[
    (0, 0, 13), (1, 4, 18), (2, 1, 11), (3, 0, 13), (8, 2, 10), (9, 1, 10), (10, 0, 6), (11, 0, 9), (12, 0, 4),
    (13, 0, 5), (14, 0, 5), (15, 0, 6), (16, 0, 5), (17, 0, 1), (18, 0, 4), (19, 2, 7), (20, 1, 6), (21, 0, 2),
    (22, 0, 5), (23, 2, 4), (24, 0, 5), (25, 0, 4), (26, 0, 5), (27, 1, 2), (28, 0, 5), (29, 1, 3), (30, 1, 3),
    (31, 1, 3), (32, 1, 4), (33, 0, 2), (34, 1, 2), (35, 1, 5), (36, 0, 2), (37, 0, 3), (38, 1, 3), (39, 1, 2),
    (40, 1, 2), (41, 1, 3), (42, 0, 2), (43, 0, 2), (44, 0, 1), (45, 0, 1), (46, 0, 0), (47, 0, 0), (48, 0, 1),
    (49, 0, 1), (50, 0, 0), (51, 0, 0), (55, 0, 2), (57, 0, 2), (60, 0, 2), (61, 0, 0), (64, 0, 0), (65, 0, 0),
    (66, 0, 2), (68, 0, 1), (69, 0, 1), (71, 0, 0), (72, 0, 0), (74, 0, 1), (75, 0, 0), (76, 1, 1), (77, 1, 1),
    (78, 1, 2), (79, 1, 2), (80, 0, 1), (81, 0, 0), (83, 0, 0), (84, 0, 0), (85, 0, 1), (86, 0, 0), (87, 0, 1),
    (88, 0, 0), (89, 0, 0), (90, 0, 1), (91, 0, 0), (92, 0, 0),
];

#[test]
fn versions_are_those_a_live_kafka_advertises_of_what_is_served() {
    let request = versions::Request { client_software_name: "ok".into(), client_software_version: "1.0-rc.1".into() };
    let node = Node::new(&[]);
    let response = api_versions(&request, 4, node.context(4).image, false);
    for served in &response.api_keys {
        let row = (served.api_key, served.min_version, served.max_version);
        assert!(ADVERTISED_BY_KAFKA.contains(&row), "{row:?}");
    }
    let keys: std::collections::BTreeSet<_> = response.api_keys.iter().map(|served| served.api_key).collect();
    assert_eq!(keys.len(), response.api_keys.len(), "each once");
    assert_eq!(response.error_code, 0);
}

#[test]
fn malformed_software_names_are_refused_from_version_3_on() {
    let node = Node::new(&[]);
    let with = |name: &'static str, version: &'static str| versions::Request {
        client_software_name: name.into(),
        client_software_version: version.into(),
    };
    for (request, code) in [
        (with("a b", "1"), 42),
        (with("", "1"), 42),
        (with("ok", ""), 42),
        (with("-a", "1"), 42),
        (with("a.", "1"), 42),
        (with("a", "1"), 0),
    ] {
        let response = api_versions(&request, 3, node.context(3).image, false);
        assert_eq!((response.error_code, response.api_keys.is_empty()), (code, code != 0), "{request:?}");
    }
    assert_eq!(api_versions(&with("", ""), 2, node.context(2).image, false).error_code, 0);
    let unsupported = api_versions_unsupported();
    assert_eq!(unsupported.error_code, 35);
    assert_eq!(unsupported.api_keys, [versions::ResponseApiKeys { api_key: 18, min_version: 0, max_version: 4 }]);
}

#[test]
fn every_answer_can_be_read_back_in_every_version() {
    let mut node = Node::new(&[]);
    for version in all_versions(ApiKey::Metadata) {
        let request = meta::Request { topics: None, ..by_name(&[]) };
        survives(&metadata(request, &node.context(version)).response, version, &mut Vec::new());
        let request = by_name(&["none", "plain", "bad name"]);
        survives(&metadata(request, &node.context(version)).response, version, &mut Vec::new());
    }
    for version in all_versions(ApiKey::CreateTopics) {
        let topics = vec![creation("x", 1, 1, &[]), creation("plain", 1, 1, &[])];
        let request = create::Request { topics, timeout_ms: 1, validate_only: true };
        let (response, _) = create_topics(&request, version, &mut node.controller, NOW_MS);
        survives(&response, version, &mut Vec::new());
    }
    for version in all_versions(ApiKey::DeleteTopics) {
        let request = delete::Request { topic_names: vec!["none".into()], ..Default::default() };
        let answer = delete_topics(&request, version, &mut node.controller);
        survives(&answer.response, version, &mut Vec::new());
    }
    for version in all_versions(ApiKey::DescribeCluster) {
        let request = cluster::Request { endpoint_type: 1, ..Default::default() };
        survives(&describe_cluster(&request, &node.context(version)), version, &mut Vec::new());
    }
    for version in all_versions(ApiKey::FindCoordinator) {
        for key_type in [0, 1] {
            let answer = find_coordinator(find(key_type, &["g"]), &node.context(version));
            survives(&answer.response, version, &mut Vec::new());
        }
    }
    for version in all_versions(ApiKey::DescribeConfigs) {
        let resources = vec![resource(2, "plain", None), resource(4, "1", None), resource(2, "none", None)];
        let request = configs::Request { resources, include_synonyms: true, include_documentation: true };
        survives(&describe_configs(request, &node.context(version)), version, &mut Vec::new());
    }
    for version in all_versions(ApiKey::InitProducerId) {
        let (mut ids, _) = node.controller.allocate_producer_ids();
        let response = init_producer_id(&producer::Request::default(), &mut ids);
        survives(&response.unwrap_or_default(), version, &mut Vec::new());
    }
    for version in all_versions(ApiKey::ApiVersions) {
        survives(
            &api_versions(&versions::Request::default(), version, node.controller.newest(), false),
            version,
            &mut Vec::new(),
        );
    }
    survives(&api_versions_unsupported(), 0, &mut Vec::new());
    assert_eq!(Arc::strong_count(node.controller.newest()), 1, "no answer keeps an image");
}
