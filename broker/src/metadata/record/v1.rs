//! Version 1 of every kind. These types are the format: they do not change any more.

use net::Uuid;
use rkyv::rancor::Error;
use rkyv::{Archive, Deserialize, Serialize};

use super::{NewPartition, Record};
use crate::config::Overrides;
use crate::quota::{Entity, Key, Kind, Limits, Name};

pub(super) const VERSION: u8 = 1;
pub(super) const KIND_MAX: u8 = kind::DIRECTORIES_ASSIGNED;

mod kind {
    pub(super) const CLUSTER_CREATED: u8 = 1;
    pub(super) const BROKER_REGISTERED: u8 = 2;
    pub(super) const TOPIC_CREATED: u8 = 3;
    pub(super) const TOPIC_DELETED: u8 = 4;
    pub(super) const TOPIC_CONFIG_CHANGED: u8 = 5;
    pub(super) const PARTITIONS_ADDED: u8 = 6;
    pub(super) const BROKER_CONFIG_CHANGED: u8 = 7;
    pub(super) const PRODUCER_IDS_ALLOCATED: u8 = 8;
    pub(super) const CLIENT_QUOTA_CHANGED: u8 = 9;
    pub(super) const GROUP_CONFIG_CHANGED: u8 = 10;
    pub(super) const CLIENT_METRICS_CHANGED: u8 = 11;
    pub(super) const FEATURE_LEVEL_CHANGED: u8 = 12;
    pub(super) const DIRECTORIES_ASSIGNED: u8 = 13;
}

#[derive(Archive, Serialize, Deserialize)]
struct ClusterCreated {
    cluster_id: [u8; 16],
    created_ms: i64,
}

#[derive(Archive, Serialize, Deserialize)]
struct BrokerRegistered {
    node_id: i32,
    broker_epoch: i64,
}

#[derive(Archive, Serialize, Deserialize)]
struct TopicCreated {
    name: String,
    topic_id: [u8; 16],
    configs: Vec<Config>,
    created_ms: i64,
    partitions: Vec<Partition>,
}

#[derive(Archive, Serialize, Deserialize)]
struct TopicDeleted {
    topic_id: [u8; 16],
}

#[derive(Archive, Serialize, Deserialize)]
struct TopicConfigChanged {
    topic_id: [u8; 16],
    configs: Vec<Config>,
}

#[derive(Archive, Serialize, Deserialize)]
struct PartitionsAdded {
    topic_id: [u8; 16],
    partitions: Vec<Partition>,
}

#[derive(Archive, Serialize, Deserialize)]
struct BrokerConfigChanged {
    node_id: Option<i32>,
    configs: Vec<Config>,
}

/// Of a group, and of a subscription to clients' metrics.
#[derive(Archive, Serialize, Deserialize)]
struct NamedConfigChanged {
    name: String,
    configs: Vec<Config>,
}

#[derive(Archive, Serialize, Deserialize)]
struct FeatureLevelChanged {
    name: String,
    level: i16,
}

#[derive(Archive, Serialize, Deserialize)]
struct DirectoriesAssigned {
    topic_id: [u8; 16],
    directories: Vec<Directory>,
}

#[derive(Archive, Serialize, Deserialize)]
struct Directory {
    partition: i32,
    id: [u8; 16],
}

#[derive(Archive, Serialize, Deserialize)]
struct ProducerIdsAllocated {
    next: i64,
}

/// Entity types and keys by their names in the protocol.
#[derive(Archive, Serialize, Deserialize)]
struct ClientQuotaChanged {
    entity: Vec<EntityPart>,
    limits: Vec<Limit>,
}

#[derive(Archive, Serialize, Deserialize)]
struct EntityPart {
    kind: String,
    name: Option<String>,
}

#[derive(Archive, Serialize, Deserialize)]
struct Limit {
    key: String,
    value: f64,
}

#[derive(Archive, Serialize, Deserialize)]
struct Config {
    name: String,
    value: String,
}

#[derive(Archive, Serialize, Deserialize)]
struct Partition {
    log_id: u64,
    leader: i32,
    leader_epoch: i32,
    replicas: Vec<i32>,
}

/// Serializing into memory fails only where memory does.
macro_rules! payload {
    ($record:expr) => {
        rkyv::to_bytes::<Error>(&$record).expect("memory is there").into_vec()
    };
}

pub(super) fn encode(record: &Record) -> (u8, Vec<u8>) {
    match record {
        Record::ClusterCreated { cluster_id, created_ms } => {
            (kind::CLUSTER_CREATED, payload!(ClusterCreated { cluster_id: cluster_id.0, created_ms: *created_ms }))
        }
        Record::BrokerRegistered { node_id, broker_epoch } => {
            (kind::BROKER_REGISTERED, payload!(BrokerRegistered { node_id: *node_id, broker_epoch: *broker_epoch }))
        }
        Record::TopicCreated { name, topic_id, configs, created_ms, partitions } => (
            kind::TOPIC_CREATED,
            payload!(TopicCreated {
                name: name.clone(),
                topic_id: topic_id.0,
                configs: from_overrides(configs),
                created_ms: *created_ms,
                partitions: from_partitions(partitions),
            }),
        ),
        Record::TopicDeleted { topic_id } => (kind::TOPIC_DELETED, payload!(TopicDeleted { topic_id: topic_id.0 })),
        Record::TopicConfigChanged { topic_id, configs } => (
            kind::TOPIC_CONFIG_CHANGED,
            payload!(TopicConfigChanged { topic_id: topic_id.0, configs: from_overrides(configs) }),
        ),
        Record::PartitionsAdded { topic_id, partitions } => (
            kind::PARTITIONS_ADDED,
            payload!(PartitionsAdded { topic_id: topic_id.0, partitions: from_partitions(partitions) }),
        ),
        Record::BrokerConfigChanged { node_id, configs } => (
            kind::BROKER_CONFIG_CHANGED,
            payload!(BrokerConfigChanged { node_id: *node_id, configs: from_overrides(configs) }),
        ),
        Record::GroupConfigChanged { group, configs } => (
            kind::GROUP_CONFIG_CHANGED,
            payload!(NamedConfigChanged { name: group.clone(), configs: from_overrides(configs) }),
        ),
        Record::ClientMetricsChanged { name, configs } => (
            kind::CLIENT_METRICS_CHANGED,
            payload!(NamedConfigChanged { name: name.clone(), configs: from_overrides(configs) }),
        ),
        Record::FeatureLevelChanged { name, level } => {
            (kind::FEATURE_LEVEL_CHANGED, payload!(FeatureLevelChanged { name: name.clone(), level: *level }))
        }
        Record::DirectoriesAssigned { topic_id, directories } => {
            let directory = |&(partition, id): &(i32, Uuid)| Directory { partition, id: id.0 };
            let directories = directories.iter().map(directory).collect();
            (kind::DIRECTORIES_ASSIGNED, payload!(DirectoriesAssigned { topic_id: topic_id.0, directories }))
        }
        Record::ProducerIdsAllocated { next } => {
            (kind::PRODUCER_IDS_ALLOCATED, payload!(ProducerIdsAllocated { next: *next }))
        }
        Record::ClientQuotaChanged { entity, limits } => (
            kind::CLIENT_QUOTA_CHANGED,
            payload!(ClientQuotaChanged { entity: from_entity(entity), limits: from_limits(limits) }),
        ),
    }
}

/// `None` where the payload is damaged.
pub(super) fn decode(kind: u8, payload: &[u8]) -> Option<Record> {
    macro_rules! read {
        ($type:ty) => {
            rkyv::from_bytes::<$type, Error>(payload).ok()?
        };
    }
    Some(match kind {
        kind::CLUSTER_CREATED => {
            let r = read!(ClusterCreated);
            Record::ClusterCreated { cluster_id: Uuid(r.cluster_id), created_ms: r.created_ms }
        }
        kind::BROKER_REGISTERED => {
            let r = read!(BrokerRegistered);
            Record::BrokerRegistered { node_id: r.node_id, broker_epoch: r.broker_epoch }
        }
        kind::TOPIC_CREATED => {
            let r = read!(TopicCreated);
            Record::TopicCreated {
                name: r.name,
                topic_id: Uuid(r.topic_id),
                configs: to_overrides(r.configs),
                created_ms: r.created_ms,
                partitions: to_partitions(r.partitions),
            }
        }
        kind::TOPIC_DELETED => Record::TopicDeleted { topic_id: Uuid(read!(TopicDeleted).topic_id) },
        kind::TOPIC_CONFIG_CHANGED => {
            let r = read!(TopicConfigChanged);
            Record::TopicConfigChanged { topic_id: Uuid(r.topic_id), configs: to_overrides(r.configs) }
        }
        kind::PARTITIONS_ADDED => {
            let r = read!(PartitionsAdded);
            Record::PartitionsAdded { topic_id: Uuid(r.topic_id), partitions: to_partitions(r.partitions) }
        }
        kind::BROKER_CONFIG_CHANGED => {
            let r = read!(BrokerConfigChanged);
            Record::BrokerConfigChanged { node_id: r.node_id, configs: to_overrides(r.configs) }
        }
        kind::GROUP_CONFIG_CHANGED => {
            let r = read!(NamedConfigChanged);
            Record::GroupConfigChanged { group: r.name, configs: to_overrides(r.configs) }
        }
        kind::CLIENT_METRICS_CHANGED => {
            let r = read!(NamedConfigChanged);
            Record::ClientMetricsChanged { name: r.name, configs: to_overrides(r.configs) }
        }
        kind::FEATURE_LEVEL_CHANGED => {
            let r = read!(FeatureLevelChanged);
            Record::FeatureLevelChanged { name: r.name, level: r.level }
        }
        kind::DIRECTORIES_ASSIGNED => {
            let r = read!(DirectoriesAssigned);
            let directory = |it: Directory| (it.partition, Uuid(it.id));
            let directories = r.directories.into_iter().map(directory).collect();
            Record::DirectoriesAssigned { topic_id: Uuid(r.topic_id), directories }
        }
        kind::PRODUCER_IDS_ALLOCATED => Record::ProducerIdsAllocated { next: read!(ProducerIdsAllocated).next },
        kind::CLIENT_QUOTA_CHANGED => {
            let r = read!(ClientQuotaChanged);
            Record::ClientQuotaChanged { entity: to_entity(r.entity)?, limits: to_limits(r.limits)? }
        }
        _ => return None,
    })
}

fn from_overrides(configs: &Overrides) -> Vec<Config> {
    configs.iter().map(|(name, value)| Config { name: name.clone(), value: value.clone() }).collect()
}

fn to_overrides(configs: Vec<Config>) -> Overrides {
    configs.into_iter().map(|c| (c.name, c.value)).collect()
}

fn from_partitions(partitions: &[NewPartition]) -> Vec<Partition> {
    let one = |p: &NewPartition| Partition {
        log_id: p.log_id,
        leader: p.leader,
        leader_epoch: p.leader_epoch,
        replicas: p.replicas.clone(),
    };
    partitions.iter().map(one).collect()
}

fn to_partitions(partitions: Vec<Partition>) -> Vec<NewPartition> {
    let one = |p: Partition| NewPartition {
        log_id: p.log_id,
        leader: p.leader,
        leader_epoch: p.leader_epoch,
        replicas: p.replicas,
    };
    partitions.into_iter().map(one).collect()
}

fn from_entity(entity: &Entity) -> Vec<EntityPart> {
    let part = |(kind, name): (Kind, &Name)| EntityPart {
        kind: kind.name().to_owned(),
        name: name.as_deref().map(str::to_owned),
    };
    entity.parts().map(part).collect()
}

fn to_entity(parts: Vec<EntityPart>) -> Option<Entity> {
    let (mut user, mut client_id, mut ip) = (None, None, None);
    for part in parts {
        let place = match Kind::parse(&part.kind)? {
            Kind::User => &mut user,
            Kind::ClientId => &mut client_id,
            Kind::Ip => &mut ip,
        };
        *place = Some(Name::from(part.name));
    }
    Entity::of(user, client_id, ip)
}

fn from_limits(limits: &Limits) -> Vec<Limit> {
    let limit = |key: Key| Some(Limit { key: key.name().to_owned(), value: limits.get(key)? });
    Key::ALL.into_iter().filter_map(limit).collect()
}

fn to_limits(all: Vec<Limit>) -> Option<Limits> {
    let mut limits = Limits::default();
    for Limit { key, value } in all {
        let key = Key::parse(&key)?;
        key.check(value).ok()?;
        limits.set(key, Some(value));
    }
    Some(limits)
}
