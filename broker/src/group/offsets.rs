//! The committed offsets of one group. Only what is durable is in here.
//!
//! A node may hold a million of them, so an offset takes 32 bytes and no allocation of its own:
//!
//! ```text
//! topic's name ─► Topic: id, entries by partition ─► Entry │ partition │ epoch │ offset │ committed at │ rest? │
//!                                                            4           4       8        8              8 ─► Rest
//! ```
//! [`Rest`] is what few commits bring: metadata, a time of their own to expire, another topic id than the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Outcome;
use super::TopicId;
use super::message::{FetchTopic, FetchedPartition, FetchedTopic};
use super::records::{self, OffsetValue, Record};

/// One committed offset, on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) metadata: Box<str>,
    pub(super) commit_timestamp_ms: i64,
    pub(super) expire_timestamp_ms: Option<i64>,
    pub(super) topic_id: TopicId,
}

impl Committed {
    pub(super) fn from_record(value: &OffsetValue<'_>) -> Committed {
        Committed {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: Box::from(value.metadata),
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
}

/// One committed offset, kept.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) partition: i32,
    leader_epoch: i32,
    pub(super) offset: i64,
    pub(super) commit_timestamp_ms: i64,
    rest: Option<Box<Rest>>,
}

const _: () = assert!(size_of::<Entry>() == 32, "a million offsets are meant to take 32 MB");

/// What few commits bring.
#[derive(Debug)]
struct Rest {
    metadata: Box<str>,
    expire_timestamp_ms: Option<i64>,
    /// Where it is not the topic's: an offset of an earlier topic of the same name, or one committed before records
    /// had ids.
    topic_id: Option<TopicId>,
}

impl Entry {
    fn new(partition: i32, committed: Committed, topic_id: TopicId) -> Entry {
        let topic_id = (committed.topic_id != topic_id).then_some(committed.topic_id);
        let is_plain = committed.metadata.is_empty() && committed.expire_timestamp_ms.is_none() && topic_id.is_none();
        let rest = (!is_plain).then(|| {
            let Committed { metadata, expire_timestamp_ms, .. } = committed;
            Box::new(Rest { metadata, expire_timestamp_ms, topic_id })
        });
        Entry {
            partition,
            leader_epoch: committed.leader_epoch,
            offset: committed.offset,
            commit_timestamp_ms: committed.commit_timestamp_ms,
            rest,
        }
    }

    fn metadata(&self) -> &str {
        self.rest.as_deref().map_or("", |rest| &rest.metadata)
    }

    /// Whether it is too old, counted from `since_ms` unless the commit brought its own time (KIP-211).
    pub(super) fn is_expired(&self, since_ms: i64, retention_ms: i64, wall_ms: i64) -> bool {
        match self.rest.as_deref().and_then(|rest| rest.expire_timestamp_ms) {
            Some(expires_ms) => wall_ms >= expires_ms,
            None => wall_ms.saturating_sub(since_ms) >= retention_ms,
        }
    }

    fn fetched(&self) -> FetchedPartition {
        FetchedPartition {
            partition: self.partition,
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: Box::from(self.metadata()),
            outcome: Outcome::Done,
            lag: None,
        }
    }
}

/// The offsets of one topic.
#[derive(Debug)]
struct Topic {
    /// The id that most of them were committed under; all zero if it was not known.
    id: TopicId,
    /// By partition.
    entries: Vec<Entry>,
}

impl Topic {
    fn find(&self, partition: i32) -> Result<usize, usize> {
        match self.entries.last() {
            // Loading and committing go from partition to partition.
            Some(last) if last.partition < partition => Err(self.entries.len()),
            _ => self.entries.binary_search_by_key(&partition, |entry| entry.partition),
        }
    }

    fn get(&self, partition: i32) -> Option<&Entry> {
        self.find(partition).ok().map(|at| &self.entries[at])
    }

    fn id_of(&self, entry: &Entry) -> TopicId {
        entry.rest.as_deref().and_then(|rest| rest.topic_id).unwrap_or(self.id)
    }
}

/// Offsets by topic and partition.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    topics: BTreeMap<Arc<str>, Topic>,
}

impl Offsets {
    pub(super) fn put(&mut self, topic: &Arc<str>, partition: i32, committed: Committed) {
        let Some(known) = self.topics.get_mut(topic) else {
            let id = committed.topic_id;
            let topic_of_one = Topic { id, entries: vec![Entry::new(partition, committed, id)] };
            self.topics.insert(topic.clone(), topic_of_one);
            return;
        };
        let at = known.find(partition);
        if known.entries.len() == 1 && at.is_ok() {
            known.id = committed.topic_id;
        }
        let entry = Entry::new(partition, committed, known.id);
        match at {
            Ok(at) => known.entries[at] = entry,
            Err(at) => known.entries.insert(at, entry),
        }
    }

    pub(super) fn remove(&mut self, topic: &str, partition: i32) {
        let Some(known) = self.topics.get_mut(topic) else {
            return;
        };
        if let Ok(at) = known.find(partition) {
            known.entries.remove(at);
        }
        if known.entries.is_empty() {
            self.topics.remove(topic);
        }
    }

    pub(super) fn contains(&self, topic: &str, partition: i32) -> bool {
        self.topics.get(topic).is_some_and(|topic| topic.find(partition).is_ok())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.topics.values().map(|topic| topic.entries.len()).sum()
    }

    /// Every offset, by topic and partition.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
        self.topics.iter().flat_map(|(name, topic)| topic.entries.iter().map(move |entry| (name, entry)))
    }

    /// The partitions of a topic that have one.
    pub(super) fn partitions(&self, topic: &str) -> impl Iterator<Item = i32> {
        self.topics.get(topic).into_iter().flat_map(|topic| topic.entries.iter().map(|entry| entry.partition))
    }

    /// What was asked for.
    pub(super) fn fetch(&self, topics: &[FetchTopic]) -> Vec<FetchedTopic> {
        topics.iter().map(|topic| self.fetch_topic(topic)).collect()
    }

    fn fetch_topic(&self, asked: &FetchTopic) -> FetchedTopic {
        let topic = self.topics.get(&asked.name);
        let partitions = asked.partitions.iter().map(|&partition| {
            // An offset of an earlier topic of the same name says nothing about this one.
            let found = topic
                .and_then(|topic| topic.get(partition).filter(|entry| is_same_topic(topic.id_of(entry), asked.id)));
            match (asked.known, found) {
                (Outcome::Done, Some(found)) => found.fetched(),
                (outcome, _) => FetchedPartition::nothing(partition, outcome),
            }
        });
        FetchedTopic { name: asked.name.clone(), id: asked.id, partitions: partitions.collect() }
    }

    /// Every offset, as an answer.
    pub(super) fn fetch_all(&self) -> Vec<FetchedTopic> {
        let describe = |(name, topic): (&Arc<str>, &Topic)| FetchedTopic {
            name: name.clone(),
            id: topic.entries.iter().map(|entry| topic.id_of(entry)).max().unwrap_or_default(),
            partitions: topic.entries.iter().map(Entry::fetched).collect(),
        };
        self.topics.iter().map(describe).collect()
    }
}

/// Ids are all zero where they are not known, and then say nothing.
fn is_same_topic(one: TopicId, other: TopicId) -> bool {
    one == other || one == TopicId::default() || other == TopicId::default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn committed(offset: i64, id: u8, metadata: &str) -> Committed {
        Committed {
            offset,
            leader_epoch: 3,
            metadata: metadata.into(),
            commit_timestamp_ms: 5,
            expire_timestamp_ms: None,
            topic_id: [id; 16],
        }
    }

    /// A topic and a partition, and what is put there: offset, topic id, metadata; or nothing, for a removal.
    type Step = ((u8, i32), Option<(i64, u8, String)>);

    fn step() -> impl Strategy<Value = Step> {
        let value = (0..100i64, 0..3u8, "[xy]{0,1}");
        ((0..3u8, 0..6i32), proptest::option::weighted(0.7, value))
    }

    proptest! {
        #[test]
        fn are_what_was_put_and_not_removed(steps in proptest::collection::vec(step(), 0..60)) {
            let mut offsets = Offsets::default();
            let mut model = BTreeMap::new();
            for ((topic, partition), value) in steps {
                let name: Arc<str> = topic.to_string().into();
                match value {
                    Some((offset, id, metadata)) => {
                        offsets.put(&name, partition, committed(offset, id, &metadata));
                        model.insert((name, partition), (offset, id, metadata));
                    }
                    None => {
                        offsets.remove(&name, partition);
                        model.remove(&(name, partition));
                    }
                }
            }
            let found: Vec<(Arc<str>, i32, i64)> =
                offsets.iter().map(|(name, entry)| (name.clone(), entry.partition, entry.offset)).collect();
            let expected: Vec<(Arc<str>, i32, i64)> =
                model.iter().map(|((name, partition), value)| (name.clone(), *partition, value.0)).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!((offsets.len(), offsets.is_empty()), (model.len(), model.is_empty()));
            for ((name, partition), (offset, id, metadata)) in &model {
                prop_assert!(offsets.contains(name, *partition));
                let ask = |id| FetchTopic { name: name.clone(), id, known: Outcome::Done, partitions: vec![*partition] };
                let found = offsets.fetch(&[ask([*id; 16])]).remove(0).partitions.remove(0);
                prop_assert_eq!((found.offset, &*found.metadata), (*offset, metadata.as_str()));
                let other = offsets.fetch(&[ask([9; 16])]).remove(0).partitions.remove(0);
                prop_assert_eq!(other.offset, if *id == 0 { *offset } else { -1 });
            }
        }
    }
}
