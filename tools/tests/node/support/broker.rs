//! The broker under test, a node of the test's own or one that the environment names, and the requests that most tests
//! need on the way.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use net::Uuid;
use net::api::{create_topics, describe_configs, fetch, find_coordinator, list_offsets, metadata, produce};

use super::batch::{self, Record};
use super::client::Client;
use super::node::{Launch, Node, binary, skip};
use super::wait::eventually;

/// Versions in which topics go by name.
pub(crate) const PRODUCE: i16 = 12;
pub(crate) const FETCH: i16 = 12;
pub(crate) const LIST_OFFSETS: i16 = 11;
pub(crate) const METADATA: i16 = 12;
pub(crate) const CREATE_TOPICS: i16 = 7;
const DESCRIBE_CONFIGS: i16 = 4;
const FIND_COORDINATOR: i16 = 4;

/// The type of a topic in requests about configurations.
pub(crate) const TOPIC_RESOURCE: i8 = 2;

pub(crate) const ACKS_ALL: i16 = -1;
pub(crate) const LATEST: i64 = -1;
pub(crate) const EARLIEST: i64 = -2;

/// How long a request may wait in the broker where that does not matter.
pub(crate) const TIMEOUT_MS: i32 = 30_000;

/// What a broker answers while it is about to be able to: 3, 5, 6, 14, 15, 16.
const NOT_YET: [i16; 6] = [3, 5, 6, 14, 15, 16];

/// A broker to talk to.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    node: Option<Node>,
}

/// A topic of this run.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
}

impl Broker {
    /// A fresh node; or, if `SKEIN_TEST_BROKER=HOST:PORT` is set, that broker, so that the tests can be tried against
    /// Apache Kafka. None, with a word about it, if there is no binary.
    pub(crate) fn get(test: &str) -> Option<Self> {
        Self::get_with(test, |launch| launch)
    }

    /// As [`Self::get`], the node started differently.
    pub(crate) fn get_with(test: &str, configure: impl FnOnce(Launch) -> Launch) -> Option<Self> {
        if let Ok(address) = std::env::var("SKEIN_TEST_BROKER") {
            let address = address.parse().expect("SKEIN_TEST_BROKER is IP:PORT");
            return Some(Self { address, node: None });
        }
        if binary().is_none() {
            skip(test, "no release binary; run it by cargo test --release, or name one in SKEIN_BIN");
            return None;
        }
        let node = configure(Launch::new()).start();
        Some(Self { address: node.address, node: Some(node) })
    }

    /// A node that was started already.
    pub(crate) fn of(node: Node) -> Self {
        Self { address: node.address, node: Some(node) }
    }

    pub(crate) fn into_node(self) -> Node {
        self.node.expect("it is a node of the test's own")
    }

    /// The node, unless the environment named another broker.
    pub(crate) fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// Whether it is the broker that the tests are compared with. Where skein means to differ, a test says so by this.
    pub(crate) fn is_kafka(&self) -> bool {
        self.node.is_none()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// The id of a new group, whose coordinator serves. Asking for it makes the topic of offsets, as clients do.
    #[track_caller]
    pub(crate) fn group(&self, name: &str) -> String {
        let group = unique(name);
        let request = find_coordinator::Request { coordinator_keys: vec![group.as_str().into()], ..Default::default() };
        eventually("a coordinator", || {
            let answer = only(self.client().call(FIND_COORDINATOR, &request).coordinators);
            let passing = is_passing(answer.error_code);
            assert!(passing || answer.error_code == 0, "{:?}", answer.error_message);
            (!passing).then_some(())
        });
        group
    }

    /// A new topic of one partition.
    pub(crate) fn topic(&self, name: &str) -> Topic {
        self.topic_with(name, 1, &[])
    }

    /// A new topic; the name gets an ending that makes it unique.
    #[track_caller]
    pub(crate) fn topic_with(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Topic {
        let name = unique(name);
        let request = create_request(&name, partitions, configs);
        let response = self.client().call(CREATE_TOPICS, &request);
        let created = &response.topics[0];
        assert_eq!(created.error_code, 0, "{name}: {:?}", created.error_message);
        let topic = Topic { name, id: created.topic_id };
        // Kafka creates first, and elects and opens later.
        for partition in 0..partitions {
            eventually("the partition is served", || {
                (self.client().try_offset(&topic.name, partition, LATEST).0 == 0).then_some(())
            });
        }
        topic
    }
}

/// A name that nobody else uses.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is past 1970");
    format!("e2e-{name}-{:x}-{}", since.as_micros(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn create_request<'a>(
    name: &'a str,
    partitions: i32,
    configs: &[(&'a str, &'a str)],
) -> create_topics::Request<'a> {
    let configs = configs
        .iter()
        .map(|&(name, value)| create_topics::RequestTopicsConfigs { name: name.into(), value: Some(value.into()) });
    let topic = create_topics::RequestTopics {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.collect(),
        ..Default::default()
    };
    create_topics::Request { topics: vec![topic], timeout_ms: TIMEOUT_MS, ..Default::default() }
}

pub(crate) fn produce_request<'a>(topic: &'a str, partition: i32, records: &'a [u8]) -> produce::Request<'a> {
    produce::Request {
        acks: ACKS_ALL,
        timeout_ms: TIMEOUT_MS,
        topic_data: vec![produce::RequestTopicData {
            name: topic.into(),
            partition_data: vec![produce::RequestTopicDataPartitionData {
                index: partition,
                records: Some(records.into()),
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Outside of any session, without waiting for records.
pub(crate) fn fetch_request(topic: &str, partition: i32, offset: i64) -> fetch::Request<'_> {
    fetch::Request {
        session_epoch: -1,
        min_bytes: 1,
        max_bytes: i32::MAX,
        topics: vec![fetch::RequestTopics {
            topic: topic.into(),
            partitions: vec![fetch::RequestTopicsPartitions {
                partition,
                fetch_offset: offset,
                partition_max_bytes: i32::MAX,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub(crate) fn list_request(topic: &str, partition: i32, timestamp: i64) -> list_offsets::Request<'_> {
    list_offsets::Request {
        replica_id: -1,
        topics: vec![list_offsets::RequestTopics {
            name: topic.into(),
            partitions: vec![list_offsets::RequestTopicsPartitions {
                partition_index: partition,
                timestamp,
                ..Default::default()
            }],
        }],
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    }
}

/// The answer for the only partition of a produce request.
pub(crate) type Produced = produce::ResponseResponsesPartitionResponses<'static>;

impl Client {
    /// Produces to one partition with acks=all.
    #[track_caller]
    pub(crate) fn produce(&mut self, topic: &str, partition: i32, records: &[u8]) -> Produced {
        let response = self.call(PRODUCE, &produce_request(topic, partition, records));
        only(only(response.responses).partition_responses)
    }

    /// As [`Self::produce`], and it has to succeed. Gives back the base offset.
    #[track_caller]
    pub(crate) fn must_produce(&mut self, topic: &str, partition: i32, records: &[u8]) -> i64 {
        let answer = self.produce(topic, partition, records);
        assert_eq!(answer.error_code, 0, "{topic}-{partition}: {:?}", answer.error_message);
        answer.base_offset
    }

    /// Fetches one partition, without waiting.
    #[track_caller]
    pub(crate) fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> fetch::ResponseResponsesPartitions<'static> {
        let response = self.call(FETCH, &fetch_request(topic, partition, offset));
        assert_eq!(response.error_code, 0);
        only(only(response.responses).partitions)
    }

    /// All records of a partition from an offset on.
    #[track_caller]
    pub(crate) fn records(&mut self, topic: &str, partition: i32, from: i64) -> Vec<Record> {
        let mut all: Vec<Record> = Vec::new();
        loop {
            let next = all.last().map_or(from, |record| record.offset + 1);
            let answer = self.fetch(topic, partition, next);
            assert_eq!(answer.error_code, 0, "{topic}-{partition} at {next}");
            let more = batch::records(answer.records.as_deref().unwrap_or_default());
            let before = all.len();
            all.extend(more.into_iter().filter(|record| record.offset >= next));
            if all.len() == before {
                return all;
            }
        }
    }

    /// All records of a partition, if the broker knows it.
    pub(crate) fn try_records(&mut self, topic: &str, partition: i32) -> Option<Vec<Record>> {
        (self.try_offset(topic, partition, LATEST).0 == 0).then(|| self.records(topic, partition, 0))
    }

    /// The values of a partition.
    #[track_caller]
    pub(crate) fn values(&mut self, topic: &str, partition: i32) -> Vec<String> {
        let text = |record: Record| String::from_utf8(record.value).expect("tests produce text");
        self.records(topic, partition, 0).into_iter().map(text).collect()
    }

    /// Error, offset and timestamp of a place in a partition.
    #[track_caller]
    pub(crate) fn try_offset(&mut self, topic: &str, partition: i32, timestamp: i64) -> (i16, i64, i64) {
        let response = self.call(LIST_OFFSETS, &list_request(topic, partition, timestamp));
        let answer = only(only(response.topics).partitions);
        (answer.error_code, answer.offset, answer.timestamp)
    }

    /// Where a partition ends.
    #[track_caller]
    pub(crate) fn end(&mut self, topic: &str, partition: i32) -> i64 {
        let (error, offset, _) = self.try_offset(topic, partition, LATEST);
        assert_eq!(error, 0, "{topic}-{partition}");
        offset
    }

    /// The value of one of a topic's configurations.
    #[track_caller]
    pub(crate) fn topic_config(&mut self, topic: &str, name: &str) -> String {
        let resource = describe_configs::RequestResources {
            resource_type: TOPIC_RESOURCE,
            resource_name: topic.into(),
            configuration_keys: Some(vec![name.into()]),
        };
        let request = describe_configs::Request { resources: vec![resource], ..Default::default() };
        let config = only(only(self.call(DESCRIBE_CONFIGS, &request).results).configs);
        config.value.unwrap_or_default().into_owned()
    }

    /// The metadata of one topic, without creating it.
    #[track_caller]
    pub(crate) fn metadata(&mut self, topic: &str) -> metadata::ResponseTopics<'static> {
        let response = self.call(METADATA, &metadata_request(&[topic], false));
        only(response.topics)
    }
}

pub(crate) fn metadata_request<'a>(topics: &[&'a str], create: bool) -> metadata::Request<'a> {
    let topics =
        topics.iter().map(|&name| metadata::RequestTopics { name: Some(name.into()), ..Default::default() }).collect();
    metadata::Request { topics: Some(topics), allow_auto_topic_creation: create, ..Default::default() }
}

/// Whether a broker may answer otherwise in a moment.
pub(crate) fn is_passing(error_code: i16) -> bool {
    NOT_YET.contains(&error_code)
}

/// The only element.
#[track_caller]
pub(crate) fn only<T>(elements: Vec<T>) -> T {
    assert_eq!(elements.len(), 1, "one element was asked for");
    elements.into_iter().next().expect("it was counted")
}
