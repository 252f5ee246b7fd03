//! The image: all metadata at one offset of the metadata log, immutable and shared by all shards.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use net::Uuid;

use super::features::Feature;
use super::names;
use super::placement::shard_of;
use super::record::{NewPartition, Record, Unreadable};
use super::shared_map::SharedMap;
use crate::config::{Overrides, Settings, TopicConfig};
use crate::quota::Quotas;

/// All metadata at one offset. A clone shares nearly everything with its original, and a look-up allocates nothing.
#[derive(Debug, Clone)]
pub struct Image {
    node_id: i32,
    shards: u16,
    /// Those of the start, with what was set since.
    settings: Arc<Settings>,
    /// Of every topic on which nothing is set.
    default_config: Arc<TopicConfig>,
    cluster_id: Option<Uuid>,
    broker_epoch: i64,
    next_offset: i64,
    next_log_id: u64,
    next_producer_id: i64,
    partition_count: usize,
    /// How many partitions each data directory has.
    directory_loads: BTreeMap<Uuid, usize>,
    broker_configs: BTreeMap<Option<i32>, Overrides>,
    group_configs: SharedMap<Arc<str>, Arc<Overrides>>,
    client_metrics: SharedMap<Arc<str>, Arc<Overrides>>,
    /// Levels that were set.
    feature_levels: BTreeMap<String, i16>,
    quotas: Arc<Quotas>,
    by_name: SharedMap<Arc<str>, Arc<Topic>>,
    by_id: SharedMap<Uuid, Arc<Topic>>,
    /// Names by the form in which they collide, for those that can.
    by_collision_form: SharedMap<String, Arc<str>>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id, never zero, never reused.
    pub id: Uuid,
    /// What was set on it.
    pub overrides: Overrides,
    /// What follows for storage and requests.
    pub config: Arc<TopicConfig>,
    /// When it was created, by the wall clock.
    pub created_ms: i64,
    /// Whether it is one of Kafka's own.
    pub internal: bool,
    /// Its partitions, by index; at least one.
    pub partitions: Vec<Partition>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The name of its log in storage.
    pub log_id: u64,
    /// The shard of this node that owns its log.
    pub shard: u16,
    /// The data directory of this node that has its log; zero is the one that has the metadata.
    pub directory: Uuid,
    /// The node that leads it.
    pub leader: i32,
    /// Raised whenever the leader changes or starts again.
    pub leader_epoch: i32,
    /// The nodes that hold it, the preferred leader first.
    pub replicas: Arc<[i32]>,
    /// Those of them that have all that is acknowledged.
    pub isr: Arc<[i32]>,
}

/// A record that does not fit what the records before it said: the metadata log is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inconsistent {
    /// The record itself cannot be read.
    Unreadable(Unreadable),
    /// It speaks of a topic that is not there.
    UnknownTopic(Uuid),
    /// It creates a topic whose name or id is taken.
    TopicExists(String),
    /// It gives a log id that was given before, or 0.
    LogIdReused(u64),
    /// It gives producer ids that were given before.
    ProducerIdsReused(i64),
    /// It sets the cluster id again.
    ClusterExists(Uuid),
    /// It creates a topic without partitions.
    NoPartitions(String),
    /// It speaks of a partition that is not there.
    UnknownPartition(Uuid, i32),
}

impl fmt::Display for Inconsistent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Inconsistent::Unreadable(unreadable) => unreadable.fmt(f),
            Inconsistent::UnknownTopic(id) => {
                write!(f, "a metadata record speaks of topic id {id}, which is not there")
            }
            Inconsistent::TopicExists(name) => write!(f, "a metadata record creates topic {name} a second time"),
            Inconsistent::LogIdReused(id) => write!(f, "a metadata record uses log id {id} a second time"),
            Inconsistent::ProducerIdsReused(next) => {
                write!(f, "a metadata record gives producer ids before {next} a second time")
            }
            Inconsistent::ClusterExists(id) => write!(f, "a metadata record creates cluster {id} over another one"),
            Inconsistent::NoPartitions(name) => write!(f, "a metadata record creates topic {name} without partitions"),
            Inconsistent::UnknownPartition(id, partition) => {
                write!(f, "a metadata record speaks of partition {partition} of topic id {id}, which is not there")
            }
        }
    }
}

impl std::error::Error for Inconsistent {}

impl From<Unreadable> for Inconsistent {
    fn from(unreadable: Unreadable) -> Self {
        Inconsistent::Unreadable(unreadable)
    }
}

impl Image {
    /// The image before the first record of the metadata log.
    pub fn empty(node_id: i32, shards: u16, settings: Arc<Settings>) -> Image {
        assert!(shards > 0, "a node has at least one shard");
        Image {
            node_id,
            shards,
            default_config: Arc::new(TopicConfig::resolve(&Overrides::new(), &settings)),
            settings,
            cluster_id: None,
            broker_epoch: 0,
            next_offset: 0,
            next_log_id: 1,
            next_producer_id: 0,
            partition_count: 0,
            directory_loads: BTreeMap::new(),
            broker_configs: BTreeMap::new(),
            group_configs: SharedMap::default(),
            client_metrics: SharedMap::default(),
            feature_levels: BTreeMap::new(),
            quotas: Arc::default(),
            by_name: SharedMap::default(),
            by_id: SharedMap::default(),
            by_collision_form: SharedMap::default(),
        }
    }

    /// Applies the value of the next record of the metadata log.
    pub fn replay(&mut self, value: &[u8]) -> Result<(), Inconsistent> {
        self.apply(&Record::decode(value)?)
    }

    /// Applies the next record. After an error the image is not to be used.
    pub fn apply(&mut self, record: &Record) -> Result<(), Inconsistent> {
        match record {
            Record::ClusterCreated { cluster_id, .. } => {
                if self.cluster_id.is_some() {
                    return Err(Inconsistent::ClusterExists(*cluster_id));
                }
                self.cluster_id = Some(*cluster_id);
            }
            Record::BrokerRegistered { node_id, broker_epoch } => self.register(*node_id, *broker_epoch),
            Record::TopicCreated { name, topic_id, configs, created_ms, partitions } => {
                self.create(name, *topic_id, configs, *created_ms, partitions)?;
            }
            Record::TopicDeleted { topic_id } => self.delete(*topic_id)?,
            Record::TopicConfigChanged { topic_id, configs } => {
                let mut topic = self.known(*topic_id)?;
                topic.config = self.resolve(configs);
                topic.overrides = configs.clone();
                self.put(topic);
            }
            Record::PartitionsAdded { topic_id, partitions } => {
                let mut topic = self.known(*topic_id)?;
                self.add_partitions(&mut topic.partitions, partitions)?;
                self.put(topic);
            }
            Record::DirectoriesAssigned { topic_id, directories } => {
                let mut topic = self.known(*topic_id)?;
                for &(index, directory) in directories {
                    let partition = usize::try_from(index).ok().and_then(|index| topic.partitions.get_mut(index));
                    let partition = partition.ok_or(Inconsistent::UnknownPartition(*topic_id, index))?;
                    let before = std::mem::replace(&mut partition.directory, directory);
                    self.unload(before);
                    self.load(directory);
                }
                self.put(topic);
            }
            Record::BrokerConfigChanged { node_id, configs } => {
                self.broker_configs.insert(*node_id, configs.clone());
                self.follow_broker_configs();
            }
            Record::GroupConfigChanged { group, configs } => set(&mut self.group_configs, group, configs),
            Record::ClientMetricsChanged { name, configs } => set(&mut self.client_metrics, name, configs),
            Record::FeatureLevelChanged { name, level } => {
                self.feature_levels.insert(name.clone(), *level);
            }
            Record::ProducerIdsAllocated { next } => {
                if *next < self.next_producer_id {
                    return Err(Inconsistent::ProducerIdsReused(*next));
                }
                self.next_producer_id = *next;
            }
            Record::ClientQuotaChanged { entity, limits } => Arc::make_mut(&mut self.quotas).set(entity, *limits),
        }
        self.next_offset += 1;
        Ok(())
    }

    /// A node that starts again may have lost what was not durable: its leadership begins anew.
    fn register(&mut self, node_id: i32, broker_epoch: i64) {
        self.broker_epoch = self.broker_epoch.max(broker_epoch);
        let led: Vec<_> = self.topics().filter(|t| t.partitions.iter().any(|p| p.leader == node_id)).cloned().collect();
        for topic in led {
            let mut topic = Topic::clone(&topic);
            for partition in topic.partitions.iter_mut().filter(|p| p.leader == node_id) {
                partition.leader_epoch += 1;
            }
            self.put(topic);
        }
    }

    fn create(
        &mut self,
        name: &str,
        id: Uuid,
        configs: &Overrides,
        created_ms: i64,
        partitions: &[NewPartition],
    ) -> Result<(), Inconsistent> {
        if self.topic(name).is_some() || self.topic_by_id(id).is_some() {
            return Err(Inconsistent::TopicExists(name.to_owned()));
        }
        if partitions.is_empty() {
            return Err(Inconsistent::NoPartitions(name.to_owned()));
        }
        let mut topic = Topic {
            name: name.into(),
            id,
            overrides: configs.clone(),
            config: self.resolve(configs),
            created_ms,
            internal: names::is_internal(name),
            partitions: Vec::with_capacity(partitions.len()),
        };
        self.add_partitions(&mut topic.partitions, partitions)?;
        if let Some(form) = names::collision_form(name) {
            self.by_collision_form.insert(form, Arc::clone(&topic.name));
        }
        self.put(topic);
        Ok(())
    }

    fn add_partitions(&mut self, to: &mut Vec<Partition>, new: &[NewPartition]) -> Result<(), Inconsistent> {
        for partition in new {
            if partition.log_id < self.next_log_id {
                return Err(Inconsistent::LogIdReused(partition.log_id));
            }
            self.next_log_id = partition.log_id + 1;
            let replicas = match to.last() {
                Some(last) if *last.replicas == *partition.replicas => Arc::clone(&last.replicas),
                _ => partition.replicas.as_slice().into(),
            };
            to.push(Partition {
                log_id: partition.log_id,
                shard: shard_of(partition.log_id, self.shards),
                directory: Uuid::ZERO,
                leader: partition.leader,
                leader_epoch: partition.leader_epoch,
                isr: Arc::clone(&replicas),
                replicas,
            });
            self.load(Uuid::ZERO);
        }
        self.partition_count += new.len();
        Ok(())
    }

    fn load(&mut self, directory: Uuid) {
        *self.directory_loads.entry(directory).or_default() += 1;
    }

    fn unload(&mut self, directory: Uuid) {
        let load = self.directory_loads.get_mut(&directory).expect("what has a partition is counted");
        *load -= 1;
        if *load == 0 {
            self.directory_loads.remove(&directory);
        }
    }

    fn delete(&mut self, id: Uuid) -> Result<(), Inconsistent> {
        let topic = self.by_id.remove(&id).ok_or(Inconsistent::UnknownTopic(id))?;
        self.by_name.remove(&*topic.name);
        if let Some(form) = names::collision_form(&topic.name) {
            self.by_collision_form.remove(&form);
        }
        self.partition_count -= topic.partitions.len();
        topic.partitions.iter().for_each(|partition| self.unload(partition.directory));
        Ok(())
    }

    /// What is set on brokers gives the defaults of topics: those that change are resolved anew.
    fn follow_broker_configs(&mut self) {
        let set_on = |node_id| self.broker_configs.get(&node_id).cloned().unwrap_or_default();
        self.settings = Arc::new(self.settings.with_dynamic(&set_on(None), &set_on(Some(self.node_id))));
        let default_config = TopicConfig::resolve(&Overrides::new(), &self.settings);
        if default_config != *self.default_config {
            self.default_config = Arc::new(default_config);
        }
        let resolved = |topic: &Arc<Topic>| (Arc::clone(topic), self.resolve(&topic.overrides));
        let changed: Vec<_> = self.topics().map(resolved).filter(|(topic, config)| topic.config != *config).collect();
        for (topic, config) in changed {
            self.put(Topic { config, ..Topic::clone(&topic) });
        }
    }

    fn resolve(&self, configs: &Overrides) -> Arc<TopicConfig> {
        if configs.is_empty() {
            return Arc::clone(&self.default_config);
        }
        Arc::new(TopicConfig::resolve(configs, &self.settings))
    }

    fn known(&self, id: Uuid) -> Result<Topic, Inconsistent> {
        self.topic_by_id(id).map(|topic| Topic::clone(topic)).ok_or(Inconsistent::UnknownTopic(id))
    }

    fn put(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        self.by_name.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        self.by_id.insert(topic.id, topic);
    }

    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    /// The topic of that id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// All topics by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.iter().map(|(_, topic)| topic)
    }

    /// The topic whose name a new one would collide with.
    pub(super) fn colliding(&self, name: &str) -> Option<&Arc<str>> {
        self.by_collision_form.get(&names::collision_form(name)?)
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.by_name.len()
    }

    /// How many partitions there are.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// How many partitions a data directory has.
    pub fn directory_load(&self, directory: Uuid) -> usize {
        self.directory_loads.get(&directory).copied().unwrap_or(0)
    }

    /// The data directories that have partitions, with how many.
    pub fn directory_loads(&self) -> impl Iterator<Item = (Uuid, usize)> {
        self.directory_loads.iter().map(|(&directory, &load)| (directory, load))
    }

    /// This node.
    pub fn node_id(&self) -> i32 {
        self.node_id
    }

    /// The nodes present.
    pub fn broker_ids(&self) -> [i32; 1] {
        [self.node_id]
    }

    /// Checks the replicas that a client chose for a partition, of which there are to be `size`; else says what is
    /// wrong with them.
    pub(super) fn check_replicas(&self, partition: i32, replicas: &[i32], size: usize) -> Result<(), String> {
        if replicas.is_empty() {
            return Err(format!("Partition {partition} is assigned no replica."));
        }
        if replicas.len() != size {
            return Err(format!("Partition {partition} is assigned {} replicas, others {size}.", replicas.len()));
        }
        for (at, broker) in replicas.iter().enumerate() {
            if replicas[..at].contains(broker) {
                return Err(format!("Partition {partition} is assigned to broker {broker} more than once."));
            }
            if !self.broker_ids().contains(broker) {
                return Err(format!("Partition {partition} is assigned to broker {broker}, which does not exist."));
            }
        }
        Ok(())
    }

    /// How many shards partitions are placed on.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// What is set on a group, if anything is.
    pub fn group_overrides(&self, group: &str) -> Option<&Overrides> {
        self.group_configs.get(group).map(|configs| &**configs)
    }

    /// The groups on which something is set, by name.
    pub fn configured_groups(&self) -> impl Iterator<Item = &str> {
        self.group_configs.iter().map(|(group, _)| &**group)
    }

    /// What is set on a subscription to clients' metrics, if there is one of that name.
    pub fn client_metrics_overrides(&self, name: &str) -> Option<&Overrides> {
        self.client_metrics.get(name).map(|configs| &**configs)
    }

    /// The subscriptions to clients' metrics by name, with what is set on them.
    pub fn client_metrics(&self) -> impl Iterator<Item = (&str, &Arc<Overrides>)> {
        self.client_metrics.iter().map(|(name, configs)| (&**name, configs))
    }

    /// How many groups something is set on.
    pub(super) fn configured_group_count(&self) -> usize {
        self.group_configs.len()
    }

    /// How many subscriptions to clients' metrics there are.
    pub fn client_metrics_count(&self) -> usize {
        self.client_metrics.len()
    }

    /// The broker's own settings, the defaults of topics; with what was set on this broker or all while they run.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// What is set on a node (`Some`) or on all nodes (`None`) while they run.
    pub fn broker_overrides(&self, node_id: Option<i32>) -> Option<&Overrides> {
        self.broker_configs.get(&node_id)
    }

    /// What clients may use of each node.
    pub fn quotas(&self) -> &Arc<Quotas> {
        &self.quotas
    }

    /// The cluster's id; its text is what clients see. `None` before the first start is durable.
    pub fn cluster_id(&self) -> Option<Uuid> {
        self.cluster_id
    }

    /// The level of a feature that is in force; 0 is off.
    pub fn feature_level(&self, feature: &Feature) -> i16 {
        self.feature_levels.get(feature.name).copied().unwrap_or(feature.level_initial)
    }

    /// Raised at each start of a node; 0 before the first.
    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch
    }

    /// The offset in the metadata log behind the last record in here: the image's version.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// The next log id to be given.
    pub fn next_log_id(&self) -> u64 {
        self.next_log_id
    }

    /// The next producer id to be given.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }
}

/// Sets everything that is set on a named resource; with nothing, it is forgotten.
fn set(all: &mut SharedMap<Arc<str>, Arc<Overrides>>, name: &str, configs: &Overrides) {
    if configs.is_empty() {
        all.remove(name);
    } else {
        all.insert(name.into(), Arc::new(configs.clone()));
    }
}

impl Topic {
    /// A partition by the number a client gave.
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

impl PartialEq for Image {
    fn eq(&self, other: &Image) -> bool {
        self.node_id == other.node_id
            && self.shards == other.shards
            && self.cluster_id == other.cluster_id
            && self.broker_epoch == other.broker_epoch
            && self.next_offset == other.next_offset
            && self.next_log_id == other.next_log_id
            && self.next_producer_id == other.next_producer_id
            && self.partition_count == other.partition_count
            && self.directory_loads == other.directory_loads
            && self.broker_configs == other.broker_configs
            && self.group_configs.iter().eq(other.group_configs.iter())
            && self.client_metrics.iter().eq(other.client_metrics.iter())
            && self.feature_levels == other.feature_levels
            && self.quotas == other.quotas
            && self.settings == other.settings
            && self.by_name.iter().eq(other.by_name.iter())
            && self.by_id.iter().eq(other.by_id.iter())
            && self.by_collision_form.iter().eq(other.by_collision_form.iter())
    }
}
