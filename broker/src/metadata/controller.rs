//! The controller: decides about changes of the metadata. It lives on shard 0.
//!
//! ```text
//!   published image        in flight: appended, not yet durable        newest image
//!   ────────●──────────────────●────────────●────────────●──────────────────►
//!           │                change       change       change
//!      what clients see                                     what is checked against
//! ```
//!
//! Each accepted wish gives a [`Change`]: the records to append to the metadata log, and the image to publish once
//! they are durable. Many may be in flight; they are appended and published in the order they were made, so nothing
//! that is visible can be taken back. Should an append fail for good, [`Controller::roll_back`] forgets all that is
//! not published.

mod alter;
mod directories;
mod features;
mod grow;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use net::Uuid;
use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::create::{Created, NewTopic, REQUEST_PARTITIONS_MAX, Refusal};
use super::identity::random_uuid;
use super::image::Image;
use super::names;
use super::producer_ids::{PRODUCER_ID_BLOCK, ProducerIds};
use super::record::{NewPartition, Record};
use crate::config::{self, NodeConfig, Overrides};

pub use alter::{AlterConfigs, Alteration, NotAltered, Resource, Unclear};
pub use directories::Candidate;
pub use grow::{CreatePartitions, NewPartitions, NotGrown};

/// What the controller takes from the node's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// `num.partitions`.
    pub partitions_default: u32,
    /// `default.replication.factor`.
    pub replication_factor_default: u32,
    /// `delete.topic.enable`.
    pub delete: bool,
    /// `offsets.topic.num.partitions`.
    pub offsets_partitions: u32,
    /// `offsets.topic.segment.bytes`.
    pub offsets_segment_bytes: u32,
}

impl Rules {
    /// Those of a node.
    pub fn of(config: &NodeConfig) -> Self {
        Rules {
            partitions_default: config.topics.partitions_default,
            replication_factor_default: config.topics.replication_factor_default,
            delete: config.topics.delete,
            offsets_partitions: config.groups.offsets_partitions,
            offsets_segment_bytes: config.groups.offsets_segment_bytes,
        }
    }
}

/// An accepted change. Its records go to the metadata log in one append, at [`Change::base_offset`]; once that is
/// durable its image replaces the published one.
#[derive(Debug, Clone)]
pub struct Change {
    /// The records, at least one.
    pub records: Vec<Record>,
    /// The metadata with them.
    pub image: Arc<Image>,
}

impl Change {
    /// The values of the records.
    pub fn encode(&self) -> Vec<Vec<u8>> {
        self.records.iter().map(Record::encode).collect()
    }

    /// The offset in the metadata log that the first record must get.
    pub fn base_offset(&self) -> i64 {
        let count = i64::try_from(self.records.len()).expect("a change is bounded by its request");
        self.image.next_offset() - count
    }
}

/// What became of a wish to create topics: one result for each name, in the order of the request.
#[derive(Debug, Clone)]
pub struct CreateTopics {
    /// A result for each name; a name that came twice has one.
    pub results: Vec<(String, Result<Created, Refusal>)>,
    /// What to append, if anything was created.
    pub change: Option<Change>,
}

/// A topic to delete, as a client names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target<'a> {
    /// By name.
    Name(&'a str),
    /// By id (KIP-516).
    Id(Uuid),
    /// By both, which is refused.
    Both(&'a str, Uuid),
    /// Not at all, which is refused too.
    Neither,
}

/// A topic that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: Uuid,
    /// Its logs, with their shards.
    pub logs: Vec<(u64, u16)>,
}

/// Why a topic is not deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDeleted {
    /// `delete.topic.enable` is off.
    Disabled,
    /// There is no topic of that name.
    UnknownName,
    /// There is no topic of that id.
    UnknownId,
    /// The request names it more than once.
    Duplicate,
    /// The request names neither a name nor an id, or both.
    Unclear,
}

impl fmt::Display for NotDeleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotDeleted::Disabled => "Topics cannot be deleted: delete.topic.enable is false on this broker.",
            NotDeleted::UnknownName => "There is no topic of that name.",
            NotDeleted::UnknownId => "There is no topic of that id.",
            NotDeleted::Duplicate => "The topic is in the request more than once.",
            NotDeleted::Unclear => "A topic is named by its name or by its id, one of the two.",
        })
    }
}

/// What became of a wish to delete topics, in the order of the request.
#[derive(Debug, Clone)]
pub struct DeleteTopics<'a> {
    /// A result for each target; one that came twice has one.
    pub results: Vec<(Target<'a>, Result<Deleted, NotDeleted>)>,
    /// What to append, if anything was deleted.
    pub change: Option<Change>,
}

/// See the module's head.
#[derive(Debug)]
pub struct Controller {
    newest: Arc<Image>,
    rules: Rules,
    /// Where new partitions may be placed.
    directories: Vec<Candidate>,
    random: Xoshiro256PlusPlus,
}

impl Controller {
    /// A controller that goes on from a replayed image. The seed gives topic ids; it must not be used twice.
    pub fn new(replayed: Arc<Image>, rules: Rules, seed: u64) -> Self {
        Controller { newest: replayed, rules, directories: Vec::new(), random: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    /// The newest image, which may be ahead of what is durable.
    pub fn newest(&self) -> &Arc<Image> {
        &self.newest
    }

    /// The change that every start begins with: the node registers, so that leader epochs grow, and the very first
    /// start makes the cluster's id. Nothing else may be appended before it.
    pub fn start(&mut self, now_ms: i64) -> Change {
        let mut records = Vec::with_capacity(2);
        if self.newest.cluster_id().is_none() {
            let cluster_id = random_uuid(&mut self.random);
            records.push(Record::ClusterCreated { cluster_id, created_ms: now_ms });
        }
        let (node_id, broker_epoch) = (self.newest.node_id(), self.newest.broker_epoch() + 1);
        records.push(Record::BrokerRegistered { node_id, broker_epoch });
        let mut image = Image::clone(&self.newest);
        for record in &records {
            apply(&mut image, record);
        }
        self.accept(records, image)
    }

    /// Creates topics, each on its own: one that is refused does not keep the others from being created.
    pub fn create_topics(&mut self, wanted: &[NewTopic<'_>], validate_only: bool, now_ms: i64) -> CreateTopics {
        let mut times: BTreeMap<&str, u32> = BTreeMap::new();
        for topic in wanted {
            *times.entry(topic.name).or_default() += 1;
        }
        let asked: u64 = wanted.iter().map(|topic| self.partitions_asked(topic)).sum();
        let too_many = asked > REQUEST_PARTITIONS_MAX as u64;

        let mut image = Image::clone(&self.newest);
        let (mut records, mut results) = (Vec::new(), Vec::with_capacity(times.len()));
        for topic in wanted {
            let result = match times.insert(topic.name, 0) {
                Some(0) => continue,
                Some(1) if too_many => Err(Refusal::TooManyPartitions { asked }),
                Some(1) => self.create(&mut image, topic, validate_only, now_ms).map(|(made, created)| {
                    records.extend(made);
                    created
                }),
                _ => Err(Refusal::Duplicate { name: topic.name.to_owned() }),
            };
            results.push((topic.name.to_owned(), result));
        }
        let stored = !validate_only && !records.is_empty();
        CreateTopics { results, change: stored.then(|| self.accept(records, image)) }
    }

    /// Creates topics that a client asked about and that are not there (`auto.create.topics.enable`), and the
    /// internal ones that a coordinator needs. Names that exist by now are answered with [`Refusal::Exists`].
    pub fn auto_create(&mut self, names: &[impl AsRef<str>], now_ms: i64) -> CreateTopics {
        let segment_bytes = self.rules.offsets_segment_bytes.to_string();
        let offsets = NewTopic {
            partitions: i32::try_from(self.rules.offsets_partitions).expect("checked to be an int"),
            // The nodes present limit the replicas of internal topics, and there is one.
            replication_factor: 1,
            configs: vec![
                ("cleanup.policy", Some("compact")),
                ("compression.type", Some("producer")),
                ("segment.bytes", Some(&segment_bytes)),
            ],
            ..NewTopic::with_defaults(names::CONSUMER_OFFSETS)
        };
        let mut wanted = Vec::with_capacity(names.len());
        for name in names {
            let name = name.as_ref();
            let internal = name == names::CONSUMER_OFFSETS;
            wanted.push(if internal { offsets.clone() } else { NewTopic::with_defaults(name) });
        }
        self.create_topics(&wanted, false, now_ms)
    }

    /// Deletes topics, each on its own.
    pub fn delete_topics<'a>(&mut self, targets: &[Target<'a>]) -> DeleteTopics<'a> {
        let mut times: BTreeMap<Target<'_>, u32> = BTreeMap::new();
        for target in targets {
            *times.entry(*target).or_default() += 1;
        }
        let mut image = Image::clone(&self.newest);
        let (mut records, mut results) = (Vec::new(), Vec::with_capacity(targets.len()));
        for target in targets {
            let result = match (target, times.insert(*target, 0)) {
                (_, Some(0)) => continue,
                (Target::Both(..) | Target::Neither, _) => Err(NotDeleted::Unclear),
                (_, Some(2..)) => Err(NotDeleted::Duplicate),
                _ if !self.rules.delete => Err(NotDeleted::Disabled),
                _ => delete(&mut image, *target),
            };
            if let Ok(deleted) = &result {
                records.push(Record::TopicDeleted { topic_id: deleted.id });
            }
            results.push((*target, result));
        }
        let change = (!records.is_empty()).then(|| self.accept(records, image));
        DeleteTopics { results, change }
    }

    /// Takes a block of producer ids. It may be used once the change is durable.
    pub fn allocate_producer_ids(&mut self) -> (ProducerIds, Change) {
        let first = self.newest.next_producer_id();
        let record = Record::ProducerIdsAllocated { next: first + PRODUCER_ID_BLOCK };
        let mut image = Image::clone(&self.newest);
        apply(&mut image, &record);
        (ProducerIds::block(first), self.accept(vec![record], image))
    }

    /// Forgets every change behind the published image: their records could not be made durable and will not be.
    pub fn roll_back(&mut self, published: Arc<Image>) {
        assert!(published.next_offset() <= self.newest.next_offset(), "what is published was accepted before");
        self.newest = published;
    }

    pub(super) fn accept(&mut self, records: Vec<Record>, image: Image) -> Change {
        assert!(!records.is_empty(), "a change changes something");
        self.newest = Arc::new(image);
        Change { records, image: Arc::clone(&self.newest) }
    }

    /// How many partitions a wish would create, if it were accepted.
    fn partitions_asked(&self, topic: &NewTopic<'_>) -> u64 {
        match (topic.assignments.len(), topic.partitions) {
            (0, -1) => self.rules.partitions_default.into(),
            (0, asked) => u64::try_from(asked).unwrap_or(0),
            (assigned, _) => assigned as u64,
        }
    }

    /// Checks a wish and applies it to the image, in the order in which Kafka checks.
    fn create(
        &mut self,
        image: &mut Image,
        topic: &NewTopic<'_>,
        validate_only: bool,
        now_ms: i64,
    ) -> Result<(Vec<Record>, Created), Refusal> {
        check_name(image, topic.name)?;
        let configs = check_configs(image, topic)?;
        let replicas = match topic.assignments.is_empty() {
            true => self.place(image, topic)?,
            false => check_assignments(image, topic)?,
        };
        let topic_id = random_uuid(&mut self.random);
        let record = Record::TopicCreated {
            name: topic.name.to_owned(),
            topic_id,
            configs,
            created_ms: now_ms,
            partitions: new_partitions(image.next_log_id(), replicas),
        };
        let mut trial;
        let target = if validate_only {
            trial = image.clone();
            &mut trial
        } else {
            image
        };
        apply(target, &record);
        let placed = self.place_in_directories(target, topic_id, 0);
        let topic = Arc::clone(target.topic(topic.name).expect("it was just created"));
        let records = std::iter::once(record).chain(placed).collect();
        Ok((records, Created { topic, stored: !validate_only }))
    }

    /// The replicas of each partition, where the client leaves them to the controller.
    fn place(&self, image: &Image, topic: &NewTopic<'_>) -> Result<Vec<Vec<i32>>, Refusal> {
        let brokers = image.broker_ids();
        let factor = match topic.replication_factor {
            -1 => i32::try_from(self.rules.replication_factor_default).unwrap_or(i32::MAX),
            asked => asked.into(),
        };
        if factor <= 0 || usize::try_from(factor).is_ok_and(|f| f > brokers.len()) {
            return Err(Refusal::ReplicationFactor { asked: factor, brokers: brokers.len() });
        }
        if topic.partitions < -1 || topic.partitions == 0 {
            return Err(Refusal::Partitions { asked: topic.partitions });
        }
        let count = usize::try_from(self.partitions_asked(topic)).expect("bounded by one request");
        Ok(vec![brokers.to_vec(); count])
    }
}

fn check_name(image: &Image, name: &str) -> Result<(), Refusal> {
    names::check(name).map_err(|why| Refusal::illegal(name, why))?;
    if name == names::CLUSTER_METADATA {
        return Err(Refusal::Reserved { name: name.to_owned() });
    }
    if image.topic(name).is_some() {
        return Err(Refusal::Exists { name: name.to_owned() });
    }
    match image.colliding(name) {
        Some(existing) => Err(Refusal::CollidesWith { name: name.to_owned(), existing: Arc::clone(existing) }),
        None => Ok(()),
    }
}

fn check_configs(image: &Image, topic: &NewTopic<'_>) -> Result<Overrides, Refusal> {
    config::check_overrides(topic.configs.iter().copied(), image.settings()).map_err(Refusal::Config)
}

/// The replicas of each partition, where the client chose them.
fn check_assignments(image: &Image, topic: &NewTopic<'_>) -> Result<Vec<Vec<i32>>, Refusal> {
    if topic.partitions != -1 || topic.replication_factor != -1 {
        return Err(Refusal::AssignmentAndCount);
    }
    let wrong = |why: String| Err(Refusal::Assignment(why));
    let mut chosen: BTreeMap<i32, &[i32]> = BTreeMap::new();
    for assignment in &topic.assignments {
        if chosen.insert(assignment.partition, assignment.replicas).is_some() {
            return wrong(format!("Partition {} is assigned more than once.", assignment.partition));
        }
    }
    let size = chosen.first_key_value().map_or(0, |(_, replicas)| replicas.len());
    for (expected, (&partition, replicas)) in chosen.iter().enumerate() {
        if usize::try_from(partition) != Ok(expected) {
            return wrong("The assigned partitions must be numbered from 0 without gaps.".to_owned());
        }
        image.check_replicas(partition, replicas, size).map_err(Refusal::Assignment)?;
    }
    Ok(chosen.into_values().map(<[i32]>::to_vec).collect())
}

fn new_partitions(first_log_id: u64, replicas: Vec<Vec<i32>>) -> Vec<NewPartition> {
    let one =
        |(log_id, replicas): (u64, Vec<i32>)| NewPartition { log_id, leader: replicas[0], leader_epoch: 0, replicas };
    (first_log_id..).zip(replicas).map(one).collect()
}

fn delete(image: &mut Image, target: Target<'_>) -> Result<Deleted, NotDeleted> {
    let topic = match target {
        Target::Name(name) => image.topic(name).ok_or(NotDeleted::UnknownName)?,
        Target::Id(id) => image.topic_by_id(id).ok_or(NotDeleted::UnknownId)?,
        Target::Both(..) | Target::Neither => return Err(NotDeleted::Unclear),
    };
    let logs = topic.partitions.iter().map(|p| (p.log_id, p.shard)).collect();
    let deleted = Deleted { name: Arc::clone(&topic.name), id: topic.id, logs };
    apply(image, &Record::TopicDeleted { topic_id: deleted.id });
    Ok(deleted)
}

/// Applies a record that was checked against this very image.
pub(super) fn apply(image: &mut Image, record: &Record) {
    image.apply(record).expect("the record was made for this image");
}
