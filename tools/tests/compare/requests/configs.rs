//! Requests about configurations and quotas.

use super::Asker;
use crate::value::{Value, fields};
use crate::world::NODE;

const TOPIC: i32 = 2;
const BROKER: i32 = 4;
const BROKER_LOGGER: i32 = 8;
const CLIENT_METRICS: i32 = 16;
const GROUP: i32 = 32;

const TOPIC_CONFIGS: [(&str, &[&str]); 14] = [
    ("retention.ms", &["3600000", "-1", "-2", "abc", "", "9223372036854775808"]),
    ("retention.bytes", &["-1", "1000000", "1.5"]),
    ("cleanup.policy", &["delete", "compact", "compact,delete", "", "nonsense", "delete,delete", " compact , delete "]),
    ("compression.type", &["gzip", "producer", "uncompressed", "none", "GZIP"]),
    ("max.message.bytes", &["2000", "0", "-1", " 3000 "]),
    ("min.insync.replicas", &["1", "0", "2"]),
    ("segment.bytes", &["1048576", "100", "2147483648"]),
    ("message.timestamp.type", &["CreateTime", "LogAppendTime", "createtime"]),
    ("min.cleanable.dirty.ratio", &["0.1", "1.1", "x"]),
    ("preallocate", &["true", "FALSE", "yes"]),
    ("unclean.leader.election.enable", &["true", "false"]),
    ("remote.storage.enable", &["false", "true"]),
    ("segment.ms", &["1000", "0"]),
    ("no.such.config", &["1"]),
];

const BROKER_CONFIGS: [(&str, &[&str]); 7] = [
    ("log.cleaner.delete.retention.ms", &["86000000", "-1"]),
    ("num.io.threads", &["4", "0"]),
    ("node.id", &["2"]),
    ("message.max.bytes", &["1048588", "abc"]),
    ("log.retention.ms", &["600000000", "-1"]),
    ("background.threads", &["7"]),
    ("no.such.config", &["1"]),
];

const GROUP_CONFIGS: [(&str, &[&str]); 4] = [
    ("consumer.session.timeout.ms", &["50000", "1", "abc"]),
    ("consumer.heartbeat.interval.ms", &["6000", "-1"]),
    ("share.auto.offset.reset", &["earliest", "nonsense"]),
    ("no.such.config", &["1"]),
];

const METRICS_CONFIGS: [(&str, &[&str]); 4] = [
    ("interval.ms", &["60000", "1", "abc"]),
    ("metrics", &["org.apache.kafka.producer.", "*", ""]),
    ("match", &["client_id=none", "nonsense", "client_id=["]),
    ("no.such.config", &["1"]),
];

const QUOTAS: [&str; 6] = [
    "producer_byte_rate",
    "consumer_byte_rate",
    "request_percentage",
    "controller_mutation_rate",
    "connection_creation_rate",
    "no_such_quota",
];

impl Asker<'_> {
    fn config(&mut self, of: &[(&'static str, &[&'static str])]) -> (&'static str, Value) {
        let (name, values) = self.random.pick(of);
        let value = match self.random.chance(10) {
            true => Value::Null,
            false => (self.random.pick(values)).into(),
        };
        (name, value)
    }

    pub(super) fn topic_config(&mut self) -> (&'static str, Value) {
        self.config(&TOPIC_CONFIGS)
    }

    /// Something that has configurations: its type, its name, and a configuration of it.
    fn resource(&mut self) -> (i32, Value, (&'static str, Value)) {
        match self.random.below(12) {
            0 => (BROKER, "".into(), self.config(&BROKER_CONFIGS)),
            1 => (BROKER, NODE.to_string().into(), self.config(&BROKER_CONFIGS)),
            2 => (BROKER, (self.random.pick(&["99", "x", "-1"])).into(), self.config(&BROKER_CONFIGS)),
            3 => (GROUP, self.world.name("reader").into(), self.config(&GROUP_CONFIGS)),
            4 => (CLIENT_METRICS, self.world.name("metrics").into(), self.config(&METRICS_CONFIGS)),
            5 => (self.random.pick(&[0, 1, 3, 99, -1]), "x".into(), self.topic_config()),
            6 => (TOPIC, self.world.bad_topic("", self.random), self.topic_config()),
            7 => (GROUP, "".into(), self.config(&GROUP_CONFIGS)),
            _ => (TOPIC, self.world.new_topic(self.random).into(), self.topic_config()),
        }
    }

    pub(super) fn describe_configs(&mut self) -> Value {
        let (kind, name, (config, _)) = match self.random.chance(3) {
            true => (TOPIC, self.world.topic(self.random).into(), self.topic_config()),
            false if self.random.chance(10) => (BROKER_LOGGER, NODE.to_string().into(), ("root", Value::Null)),
            false => self.resource(),
        };
        let keys = match self.random.below(4) {
            0 => Value::Null,
            1 => vec![config, "no.such.config"].into(),
            _ => vec![config].into(),
        };
        fields! {
            resources: vec![fields! { resource_type: kind, resource_name: name, configuration_keys: keys }],
            include_synonyms: self.random.chance(2),
            include_documentation: false,
        }
    }

    pub(super) fn alter_configs(&mut self) -> Value {
        let (kind, name, (config, value)) = self.resource();
        let configs = match self.random.chance(6) {
            true => Vec::new(),
            false => vec![fields! { name: config, value: value }],
        };
        fields! {
            resources: vec![fields! { resource_type: kind, resource_name: name, configs: configs }],
            validate_only: self.random.chance(3),
        }
    }

    pub(super) fn incremental_alter_configs(&mut self) -> Value {
        let (kind, name, (config, value)) = self.resource();
        let operation = self.random.pick(&[0, 0, 0, 0, 1, 2, 3, 4, -1]);
        let mut configs = vec![fields! { name: config, config_operation: operation, value: value }];
        if self.random.chance(8) {
            configs.extend(configs.clone());
        }
        fields! {
            resources: vec![fields! { resource_type: kind, resource_name: name, configs: configs }],
            validate_only: self.random.chance(3),
        }
    }

    pub(super) fn list_config_resources(&mut self) -> Value {
        let types: Vec<i32> = match self.random.below(4) {
            0 => Vec::new(),
            1 => vec![99],
            2 => vec![BROKER, BROKER_LOGGER],
            _ => vec![self.random.pick(&[TOPIC, BROKER, CLIENT_METRICS, GROUP])],
        };
        fields! { resource_types: types }
    }

    fn quota_entity(&mut self) -> Vec<Value> {
        let name = self.world.name("quota");
        let named = |entity: &str, name: Value| fields! { entity_type: entity, entity_name: name };
        match self.random.below(8) {
            0 => vec![named("user", name.into())],
            1 => vec![named("user", name.into()), named("client-id", Value::Null)],
            2 => vec![named("ip", (self.random.pick(&["127.0.0.9", "not an address", "10.0.0.0/8"])).into())],
            3 => vec![named("nonsense", name.into())],
            4 => vec![named("user", name.clone().into()), named("ip", name.into())],
            5 => Vec::new(),
            _ => vec![named("client-id", name.into())],
        }
    }

    pub(super) fn alter_client_quotas(&mut self) -> Value {
        let operation = fields! {
            key: self.random.pick(&QUOTAS),
            value: self.random.pick(&[1_048_576.0, 150.0, 0.0, -1.0, 0.5]),
            remove: self.random.chance(4),
        };
        let entry = fields! { entity: self.quota_entity(), ops: vec![operation] };
        fields! { entries: vec![entry], validate_only: self.random.chance(3) }
    }

    pub(super) fn describe_client_quotas(&mut self) -> Value {
        let name = self.world.name("quota");
        let component = fields! {
            entity_type: self.random.pick(&["user", "client-id", "ip", "nonsense"]),
            match_type: self.random.pick(&[0, 0, 1, 2, 3]),
            r#match: if self.random.chance(2) { Value::Null } else { name.into() },
        };
        let components = if self.random.chance(6) { Vec::new() } else { vec![component] };
        fields! { components: components, strict: self.random.chance(2) }
    }
}
