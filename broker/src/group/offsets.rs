//! The committed offsets of one group. Only what is durable is in here.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Outcome;
use super::TopicId;
use super::message::{FetchTopic, FetchedPartition, FetchedTopic};
use super::records::{self, OffsetValue, Record};

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) metadata: Arc<str>,
    pub(super) commit_timestamp_ms: i64,
    pub(super) expire_timestamp_ms: Option<i64>,
    pub(super) topic_id: TopicId,
}

impl Committed {
    pub(super) fn from_record(value: &OffsetValue<'_>) -> Committed {
        Committed {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: Arc::from(value.metadata),
            commit_timestamp_ms: value.commit_timestamp_ms,
            expire_timestamp_ms: value.expire_timestamp_ms,
            topic_id: value.topic_id,
        }
    }

    pub(super) fn record(&self, group: &str, topic: &str, partition: i32) -> Record {
        let value = OffsetValue {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: &self.metadata,
            commit_timestamp_ms: self.commit_timestamp_ms,
            expire_timestamp_ms: self.expire_timestamp_ms,
            topic_id: self.topic_id,
        };
        Record { key: records::offset_key(group, topic, partition), value: Some(records::offset_value(&value)) }
    }

    /// Whether it is too old, counted from `since_ms` unless the commit brought its own time (KIP-211).
    pub(super) fn is_expired(&self, since_ms: i64, retention_ms: i64, wall_ms: i64) -> bool {
        match self.expire_timestamp_ms {
            Some(expires_ms) => wall_ms >= expires_ms,
            None => wall_ms.saturating_sub(since_ms) >= retention_ms,
        }
    }
}

/// Offsets by topic and partition.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, Committed>>,
}

impl Offsets {
    pub(super) fn put(&mut self, topic: &Arc<str>, partition: i32, committed: Committed) {
        match self.topics.get_mut(topic) {
            Some(partitions) => {
                partitions.insert(partition, committed);
            }
            None => {
                self.topics.insert(topic.clone(), BTreeMap::from([(partition, committed)]));
            }
        }
    }

    pub(super) fn remove(&mut self, topic: &str, partition: i32) {
        let Some(partitions) = self.topics.get_mut(topic) else {
            return;
        };
        partitions.remove(&partition);
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
    }

    pub(super) fn contains(&self, topic: &str, partition: i32) -> bool {
        self.topics.get(topic).is_some_and(|partitions| partitions.contains_key(&partition))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Every offset, by topic and partition.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &Committed)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, committed)| (topic, *partition, committed))
        })
    }

    /// The partitions of a topic that have one.
    pub(super) fn partitions(&self, topic: &str) -> impl Iterator<Item = i32> {
        self.topics.get(topic).into_iter().flat_map(|partitions| partitions.keys().copied())
    }

    /// What was asked for.
    pub(super) fn fetch(&self, topics: &[FetchTopic]) -> Vec<FetchedTopic> {
        topics.iter().map(|topic| self.fetch_topic(topic)).collect()
    }

    fn fetch_topic(&self, topic: &FetchTopic) -> FetchedTopic {
        let committed = self.topics.get(&topic.name);
        let partitions = topic.partitions.iter().map(|&partition| {
            let found = committed.and_then(|partitions| partitions.get(&partition));
            // An offset of an earlier topic of the same name says nothing about this one.
            let found = found.filter(|found| is_same_topic(found.topic_id, topic.id));
            match (topic.known, found) {
                (Outcome::Done, Some(found)) => fetched(partition, found),
                (outcome, _) => FetchedPartition::nothing(partition, outcome),
            }
        });
        FetchedTopic { name: topic.name.clone(), id: topic.id, partitions: partitions.collect() }
    }

    /// Every offset, as an answer.
    pub(super) fn fetch_all(&self) -> Vec<FetchedTopic> {
        let describe = |(topic, partitions): (&Arc<str>, &BTreeMap<i32, Committed>)| FetchedTopic {
            name: topic.clone(),
            id: partitions.values().map(|committed| committed.topic_id).max().unwrap_or_default(),
            partitions: partitions.iter().map(|(partition, committed)| fetched(*partition, committed)).collect(),
        };
        self.topics.iter().map(describe).collect()
    }
}

/// Ids are all zero where they are not known, and then say nothing.
fn is_same_topic(one: TopicId, other: TopicId) -> bool {
    one == other || one == TopicId::default() || other == TopicId::default()
}

fn fetched(partition: i32, committed: &Committed) -> FetchedPartition {
    FetchedPartition {
        partition,
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata.clone(),
        outcome: Outcome::Done,
    }
}
