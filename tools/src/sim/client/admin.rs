//! The administrator: topics come and go, and what is there is looked at.

use broker::driver::simulated::Network;
use broker::error_code::ErrorCode;
use net::ApiKey;
use net::api::{create_topics, delete_records, delete_topics, describe_configs, incremental_alter_configs, metadata};
use storage::simulated::Random;

use super::link::{Arrival, Link, any_version, decode};
use super::producer::is_retriable;
use super::{Client, Env};
use crate::sim::model::{Existence, Place, Settings, TopicNumber};

/// Longest pause between two requests, in nanoseconds.
const PAUSE_NS_MAX: u64 = 30_000_000;
/// Topics at a time.
const TOPICS_MAX: usize = 6;
/// The first version of CreateTopics that tells the topic's id.
const TOPIC_IDS_SINCE: i16 = 7;
/// The resource type of topics in requests about configurations.
const TOPIC_RESOURCE: i8 = 2;
/// Topics of the broker itself start with this.
const INTERNAL_PREFIX: &str = "__";

/// What was asked.
enum Asked {
    Create(TopicNumber),
    Delete(TopicNumber),
    Configs(TopicNumber),
    Alter,
    /// To delete records before an offset.
    DeleteRecords(Place, i64),
    /// With what was certain when it was asked.
    Everything {
        there: Vec<TopicNumber>,
        gone: Vec<TopicNumber>,
    },
}

/// Does one thing at a time, until it is certain how it ended.
pub(in crate::sim) struct Admin {
    link: Link<Asked>,
    random: Random,
    next_at_ns: u64,
}

impl Admin {
    pub(in crate::sim) fn new(cuts_per_million: u32, mut random: Random) -> Self {
        Self { link: Link::new("admin".to_owned(), cuts_per_million, random.fork()), random, next_at_ns: 0 }
    }

    fn act(&mut self, env: &mut Env<'_>) {
        let of = |model: &crate::sim::model::Model, existence| -> Vec<TopicNumber> {
            model.topics().filter(|(_, topic)| topic.existence == existence).map(|(number, _)| number).collect()
        };
        if let [topic, ..] = of(env.model, Existence::Asked)[..] {
            return self.create(env, topic);
        }
        if let [topic, ..] = of(env.model, Existence::Doomed)[..] {
            return self.delete(env, topic);
        }
        let there = of(env.model, Existence::Exists);
        let any = there.get(self.random.index(there.len().max(1))).copied();
        match (self.random.index(10), any) {
            _ if env.is_draining => {}
            (_, None) => self.ask_for_another(env),
            (0..4, _) if there.len() < TOPICS_MAX => self.ask_for_another(env),
            (4, Some(topic)) if there.len() > 2 => {
                env.model.topic_mut(topic).existence = Existence::Doomed;
                self.delete(env, topic);
            }
            (5, Some(topic)) => self.describe(env, topic),
            (6, Some(topic)) => self.delete_records(env, topic),
            (7, Some(topic)) if env.model.topic(topic).settings.is_cached => self.change_durability(env, topic),
            _ => self.list(env),
        }
    }

    fn ask_for_another(&mut self, env: &mut Env<'_>) {
        let name = format!("topic-{}", env.model.topics().count());
        let partitions = 1 + self.random.index(4);
        let segment_ms = if self.random.index(2) == 0 { self.random.between(10, 400) } else { 1 << 40 };
        let settings = Settings {
            retention_ms: self.random.between(1 << 40, 1 << 50) as i64,
            segment_ms: segment_ms as i64,
            is_cached: self.random.index(5) == 0,
        };
        let topic = env.model.ask_topic(name, partitions, settings);
        self.create(env, topic);
    }

    fn create(&mut self, env: &mut Env<'_>, number: TopicNumber) {
        let topic = env.model.topic(number);
        let (name, partitions) = (topic.name.clone(), topic.partitions.len() as i32);
        let Settings { retention_ms, segment_ms, is_cached } = topic.settings;
        let configs = [
            ("retention.ms", retention_ms.to_string()),
            ("segment.bytes", "1048576".to_owned()),
            ("segment.ms", segment_ms.to_string()),
            ("skein.durability", if is_cached { "cached" } else { "durable" }.to_owned()),
            // Small ones write parts of an active segment's index.
            ("index.interval.bytes", [64, 4096][number.0 % 2].to_string()),
            // Files of half of the topics go at once, as far as that is allowed.
            ("file.delete.delay.ms", (number.0 % 2 * 60_000).to_string()),
        ];
        let configs = configs
            .map(|(name, value)| create_topics::RequestTopicsConfigs { name: name.into(), value: Some(value.into()) });
        let configs = configs.to_vec();
        let topic = create_topics::RequestTopics {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            assignments: Vec::new(),
            configs,
        };
        let request = create_topics::Request { topics: vec![topic], timeout_ms: 30_000, validate_only: false };
        self.link.send(env, TOPIC_IDS_SINCE, &request, Some(Asked::Create(number)));
    }

    fn take_created(env: &mut Env<'_>, version: i16, body: &[u8], number: TopicNumber) {
        let response = decode::<create_topics::Response<'_>>(body, version);
        let [topic] = &response.topics[..] else { panic!("one topic is answered") };
        if topic.error_code == 0 {
            let model = env.model.topic_mut(number);
            assert_eq!(topic.num_partitions, model.partitions.len() as i32);
            model.id = topic.topic_id;
            model.existence = Existence::Exists;
            env.totals.topics_created += 1;
        } else if topic.error_code == ErrorCode::TopicAlreadyExists.code() {
            // An earlier request did it; the id comes with the next look at everything.
        } else {
            assert!(is_retriable(topic.error_code), "CreateTopics: {} {:?}", topic.error_code, topic.error_message);
            env.totals.retriable_errors += 1;
        }
    }

    fn delete(&mut self, env: &mut Env<'_>, number: TopicNumber) {
        let topic = env.model.topic(number);
        let (name, id) = (topic.name.clone(), topic.id);
        let version = any_version(ApiKey::DeleteTopics, 1, 6, &mut self.random);
        let mut request = delete_topics::Request { timeout_ms: 30_000, ..Default::default() };
        if version < 6 {
            request.topic_names.push(name.into());
        } else if self.random.index(2) == 0 {
            request.topics.push(delete_topics::RequestTopics { name: Some(name.into()), ..Default::default() });
        } else {
            request.topics.push(delete_topics::RequestTopics { name: None, topic_id: id });
        }
        self.link.send(env, version, &request, Some(Asked::Delete(number)));
    }

    fn take_deleted(env: &mut Env<'_>, version: i16, body: &[u8], number: TopicNumber) {
        let response = decode::<delete_topics::Response<'_>>(body, version);
        let [topic] = &response.responses[..] else { panic!("one topic is answered") };
        let missing = [ErrorCode::UnknownTopicOrPartition, ErrorCode::UnknownTopicId];
        // A request before this one may have done it.
        if topic.error_code == 0 || missing.iter().any(|error| error.code() == topic.error_code) {
            env.model.topic_mut(number).existence = Existence::Gone;
            env.totals.topics_deleted += 1;
        } else {
            assert!(is_retriable(topic.error_code), "DeleteTopics: {} {:?}", topic.error_code, topic.error_message);
            env.totals.retriable_errors += 1;
        }
    }

    fn describe(&mut self, env: &mut Env<'_>, number: TopicNumber) {
        let resource = describe_configs::RequestResources {
            resource_type: TOPIC_RESOURCE,
            resource_name: env.model.topic(number).name.clone().into(),
            configuration_keys: None,
        };
        let request = describe_configs::Request { resources: vec![resource], ..Default::default() };
        let version = any_version(ApiKey::DescribeConfigs, 1, 4, &mut self.random);
        self.link.send(env, version, &request, Some(Asked::Configs(number)));
    }

    fn take_configs(env: &mut Env<'_>, version: i16, body: &[u8], number: TopicNumber) {
        let response = decode::<describe_configs::Response<'_>>(body, version);
        let [resource] = &response.results[..] else { panic!("one resource is answered") };
        if resource.error_code != 0 {
            assert!(is_retriable(resource.error_code), "DescribeConfigs: error {}", resource.error_code);
            env.totals.retriable_errors += 1;
            return;
        }
        let topic = env.model.topic(number);
        let value = resource.configs.iter().find(|config| config.name == "retention.ms");
        let value = value.and_then(|config| config.value.as_deref());
        assert_eq!(value, Some(topic.settings.retention_ms.to_string().as_str()), "retention.ms of {}", topic.name);
    }

    fn delete_records(&mut self, env: &mut Env<'_>, number: TopicNumber) {
        let partitions = env.model.topic(number).partitions.len();
        let place = Place { topic: number, index: self.random.index(partitions) as i32 };
        let (first, end) = (env.model.deleted_before(place), env.model.promised_end(place));
        let offset = first + self.random.below((end - first) as u64 + 1) as i64;
        env.model.ask_deletion(place, offset);
        let partition = delete_records::RequestTopicsPartitions { partition_index: place.index, offset };
        let name = env.model.topic(number).name.clone().into();
        let topic = delete_records::RequestTopics { name, partitions: vec![partition] };
        let request = delete_records::Request { topics: vec![topic], timeout_ms: 30_000 };
        let version = any_version(ApiKey::DeleteRecords, 0, 2, &mut self.random);
        self.link.send(env, version, &request, Some(Asked::DeleteRecords(place, offset)));
    }

    fn take_deleted_records(env: &mut Env<'_>, version: i16, body: &[u8], place: Place, offset: i64) {
        let response = decode::<delete_records::Response<'_>>(body, version);
        let [topic] = &response.topics[..] else { panic!("one topic is answered") };
        let [partition] = &topic.partitions[..] else { panic!("one partition is answered") };
        if !env.model.exists(place) {
            return;
        }
        if partition.error_code == 0 {
            env.model.deleted(place, offset, partition.low_watermark);
            env.totals.records_deleted += 1;
        } else {
            assert!(is_retriable(partition.error_code), "DeleteRecords: error {}", partition.error_code);
            env.totals.retriable_errors += 1;
        }
    }

    /// A topic that is cached, or was, promises no more when it is durable.
    fn change_durability(&mut self, env: &mut Env<'_>, number: TopicNumber) {
        let value = ["cached", "durable"][self.random.index(2)];
        let config = incremental_alter_configs::RequestResourcesConfigs {
            name: "skein.durability".into(),
            config_operation: 0,
            value: Some(value.into()),
        };
        let resource = incremental_alter_configs::RequestResources {
            resource_type: TOPIC_RESOURCE,
            resource_name: env.model.topic(number).name.clone().into(),
            configs: vec![config],
        };
        let request = incremental_alter_configs::Request { resources: vec![resource], validate_only: false };
        let version = any_version(ApiKey::IncrementalAlterConfigs, 0, 1, &mut self.random);
        self.link.send(env, version, &request, Some(Asked::Alter));
    }

    fn take_altered(env: &mut Env<'_>, version: i16, body: &[u8]) {
        let response = decode::<incremental_alter_configs::Response<'_>>(body, version);
        let [resource] = &response.responses[..] else { panic!("one resource is answered") };
        if resource.error_code == 0 {
            env.totals.durabilities_changed += 1;
        } else {
            assert!(is_retriable(resource.error_code), "IncrementalAlterConfigs: error {}", resource.error_code);
            env.totals.retriable_errors += 1;
        }
    }

    fn list(&mut self, env: &mut Env<'_>) {
        let context = everything(env);
        let version = any_version(ApiKey::Metadata, 10, 13, &mut self.random);
        let request = metadata::Request { topics: None, allow_auto_topic_creation: false, ..Default::default() };
        self.link.send(env, version, &request, Some(context));
    }
}

/// What is certain now.
fn everything(env: &Env<'_>) -> Asked {
    let of = |existence| {
        let topics = env.model.topics().filter(move |(_, topic)| topic.existence == existence);
        topics.map(|(number, _)| number).collect()
    };
    Asked::Everything { there: of(Existence::Exists), gone: of(Existence::Gone) }
}

/// Holds a list of all topics against what was certain when it was asked for.
fn check_everything(env: &mut Env<'_>, version: i16, body: &[u8], there: &[TopicNumber], gone: &[TopicNumber]) {
    let response = decode::<metadata::Response<'_>>(body, version);
    if let Some(id) = response.cluster_id.as_deref() {
        env.model.check_cluster_id(id);
    }
    let listed = |name: &str| response.topics.iter().find(|topic| topic.name.as_deref() == Some(name));
    for &number in there {
        let topic = env.model.topic(number);
        if topic.existence != Existence::Exists {
            continue;
        }
        let found = listed(&topic.name).unwrap_or_else(|| panic!("{} was created and is not there", topic.name));
        assert_eq!(found.error_code, 0, "{}", topic.name);
        assert_eq!(found.partitions.len(), topic.partitions.len(), "{}", topic.name);
        assert_eq!(found.topic_id, topic.id, "{} keeps its id", topic.name);
    }
    for &number in gone {
        let name = &env.model.topic(number).name;
        assert!(listed(name).is_none(), "{name} was deleted and is there");
    }
    for topic in &response.topics {
        let name = topic.name.as_deref().expect("a listed topic has a name");
        let is_known = env.model.find(name).is_some() || env.model.is_kept(name);
        assert!(is_known || name.starts_with(INTERNAL_PREFIX), "nobody asked for {name}");
    }
    learn_ids(env, &response);
}

/// Topics whose creation was never answered are there once they are seen.
fn learn_ids(env: &mut Env<'_>, response: &metadata::Response<'_>) {
    for topic in &response.topics {
        let Some(number) = topic.name.as_deref().and_then(|name| env.model.find(name)) else { continue };
        let model = env.model.topic_mut(number);
        if model.existence == Existence::Asked {
            model.existence = Existence::Exists;
            model.id = topic.topic_id;
            env.totals.topics_created += 1;
        }
    }
}

impl Client for Admin {
    fn poll(&mut self, env: &mut Env<'_>) {
        for arrival in self.link.receive(env) {
            let Arrival::Answer { version, body, context } = arrival else { continue };
            match context {
                Asked::Create(topic) => {
                    Self::take_created(env, version, &body, topic);
                    if env.model.topic(topic).existence == Existence::Asked {
                        // Whether it is there will be seen.
                        self.list(env);
                    }
                }
                Asked::Delete(topic) => Self::take_deleted(env, version, &body, topic),
                Asked::Configs(topic) => Self::take_configs(env, version, &body, topic),
                Asked::Alter => Self::take_altered(env, version, &body),
                Asked::DeleteRecords(place, offset) => {
                    Self::take_deleted_records(env, version, &body, place, offset);
                }
                Asked::Everything { there, gone } => check_everything(env, version, &body, &there, &gone),
            }
        }
        if self.link.in_flight() > 0 || env.now_ns < self.next_at_ns || !self.link.is_up(env) {
            return;
        }
        self.next_at_ns = env.now_ns + 1 + self.random.below(PAUSE_NS_MAX);
        self.act(env);
    }

    fn next_at_ns(&self, network: &Network) -> Option<u64> {
        let own = (self.link.in_flight() == 0).then_some(self.next_at_ns);
        self.link.next_at_ns(network, own)
    }

    fn is_idle(&self) -> bool {
        self.link.in_flight() == 0
    }
}
