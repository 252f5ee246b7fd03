//! Fetch without allocations: a view of the request, and a writer of the response that never copies records.

use crate::api::fetch::{
    RequestReplicaState, RequestTopicsPartitions, ResponseNodeEndpoints, ResponseResponsesPartitions,
};
use crate::produce::Count;
use crate::wire::{Element, List, put};
use crate::{Answer, ApiKey, DecodeError, Reader, Reason, Topic};

/// The first version that names topics by id.
const FIRST_BY_ID: i16 = 13;

fn is_flexible(version: i16) -> bool {
    ApiKey::Fetch.is_flexible(version)
}

/// A Fetch request that stays in its frame.
#[derive(Debug, Clone)]
pub struct RequestView<'a> {
    /// The cluster that a follower takes us for, from version 12 on.
    pub cluster_id: Option<&'a str>,
    /// The follower that asks and its epoch, -1 for a consumer.
    pub replica: RequestReplicaState,
    /// How long to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// The answer may wait until there are that many bytes.
    pub min_bytes: i32,
    /// The most bytes of records to answer with, if the first batch is not larger (KIP-74).
    pub max_bytes: i32,
    /// 0 read uncommitted, 1 read committed.
    pub isolation_level: i8,
    /// The fetch session (KIP-227), 0 for none; 0 below version 7.
    pub session_id: i32,
    /// The epoch in the session; -1 below version 7.
    pub session_epoch: i32,
    /// What to fetch; in a session, what changed.
    pub topics: List<'a, TopicView<'a>>,
    /// What to drop from the session.
    pub forgotten: List<'a, ForgottenTopicView<'a>>,
    /// The rack of the consumer; empty below version 11.
    pub rack_id: &'a str,
}

/// A topic in a [`RequestView`].
#[derive(Debug, Clone)]
pub struct TopicView<'a> {
    /// By name below version 13, by id from it on.
    pub topic: Topic<'a>,
    /// The partitions.
    pub partitions: List<'a, RequestTopicsPartitions>,
}

/// A topic whose partitions leave the session.
#[derive(Debug, Clone)]
pub struct ForgottenTopicView<'a> {
    /// By name below version 13, by id from it on.
    pub topic: Topic<'a>,
    /// The partitions.
    pub partitions: List<'a, i32>,
}

impl<'a> RequestView<'a> {
    /// Decodes a request body of this version, validating all of it.
    ///
    /// # Errors
    /// If the version is unknown, or the bytes are no such request.
    pub fn decode(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        if !ApiKey::Fetch.valid_versions().contains(&version) {
            return Err(reader.error(Reason::UnsupportedVersion(version)));
        }
        let flexible = is_flexible(version);
        let mut replica = RequestReplicaState::default();
        if version <= 14 {
            replica.replica_id = reader.i32()?;
        }
        let (max_wait_ms, min_bytes, max_bytes) = (reader.i32()?, reader.i32()?, reader.i32()?);
        let isolation_level = reader.i8()?;
        let (session_id, session_epoch) = if version >= 7 { (reader.i32()?, reader.i32()?) } else { (0, -1) };
        let topics = List::decode(reader, flexible, version)?;
        let forgotten = if version >= 7 { List::decode(reader, flexible, version)? } else { List::empty() };
        let rack_id = if version >= 11 { reader.string(flexible)? } else { "" };
        let mut cluster_id = None;
        if flexible {
            reader.tagged_fields(|tag, reader| {
                match tag {
                    0 => cluster_id = reader.nullable_string(true)?,
                    1 if version >= 15 => replica = RequestReplicaState::decode(reader, version)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
        }
        Ok(Self {
            cluster_id,
            replica,
            max_wait_ms,
            min_bytes,
            max_bytes,
            isolation_level,
            session_id,
            session_epoch,
            topics,
            forgotten,
            rack_id,
        })
    }
}

impl<'a> Element<'a> for TopicView<'a> {
    fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        let (topic, partitions) = read_topic(reader, version)?;
        Ok(Self { topic, partitions })
    }
}

impl<'a> Element<'a> for ForgottenTopicView<'a> {
    fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        let (topic, partitions) = read_topic(reader, version)?;
        Ok(Self { topic, partitions })
    }
}

fn read_topic<'a, T: Element<'a>>(
    reader: &mut Reader<'a>,
    version: i16,
) -> Result<(Topic<'a>, List<'a, T>), DecodeError> {
    let flexible = is_flexible(version);
    let topic = Topic::decode(reader, flexible, version >= FIRST_BY_ID)?;
    let partitions = List::decode(reader, flexible, version)?;
    if flexible {
        reader.skip_tagged_fields()?;
    }
    Ok((topic, partitions))
}

impl<'a> Element<'a> for RequestTopicsPartitions {
    fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        Self::decode(reader, version)
    }
}

/// What a Fetch response says of the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// How long the client was throttled.
    pub throttle_time_ms: i32,
    /// The error of the whole, from version 7 on.
    pub error_code: i16,
    /// The fetch session, from version 7 on; 0 for none.
    pub session_id: i32,
}

/// Writes a Fetch response partition by partition. The counts are written when they are known, records stay where they
/// are.
///
/// Order of calls: `topic`, its partitions, the next `topic`, …, `finish`.
#[derive(Debug)]
pub struct ResponseWriter<P> {
    answer: Answer<P>,
    version: i16,
    topics: Count,
    partitions: Option<Count>,
}

impl<P: AsRef<[u8]>> ResponseWriter<P> {
    /// Starts the response to a request of this version; `buffer` is cleared and becomes part of the answer.
    pub fn new(buffer: Vec<u8>, version: i16, correlation_id: i32, head: ResponseHead) -> Self {
        let mut answer = Answer::begin(buffer, ApiKey::Fetch, version, correlation_id);
        let out = answer.bytes();
        put::i32(out, head.throttle_time_ms);
        if version >= 7 {
            put::i16(out, head.error_code);
            put::i32(out, head.session_id);
        }
        let topics = Count { position: answer.count_later(is_flexible(version)), count: 0 };
        Self { answer, version, topics, partitions: None }
    }

    /// Bytes of records so far.
    pub fn record_bytes(&self) -> usize {
        self.answer.payload_bytes()
    }

    /// Starts a topic.
    ///
    /// # Panics
    /// If the topic is not named the way the version wants.
    pub fn topic(&mut self, topic: Topic<'_>) {
        self.end_topic();
        let flexible = is_flexible(self.version);
        self.topics.count += 1;
        topic.encode(self.answer.bytes(), flexible, self.version >= FIRST_BY_ID);
        self.partitions = Some(Count { position: self.answer.count_later(flexible), count: 0 });
    }

    /// Appends a partition of the current topic with its records, in slices. Without slices the records are empty,
    /// not null: some clients cannot read null.
    ///
    /// # Panics
    /// If there is no topic yet, or `partition` has records of its own.
    pub fn partition(&mut self, partition: &ResponseResponsesPartitions<'_>, records: impl IntoIterator<Item = P>) {
        assert!(partition.records.is_none(), "the records of a partition are given as slices");
        let partitions = self.partitions.as_mut().expect("a topic comes before its partitions");
        partitions.count += 1;
        let flexible = is_flexible(self.version);
        self.partition_head(partition);
        self.answer.put_records(records, flexible);
        if flexible {
            self.partition_tagged_fields(partition);
        }
    }

    fn partition_head(&mut self, partition: &ResponseResponsesPartitions<'_>) {
        let (version, flexible, out) = (self.version, is_flexible(self.version), self.answer.bytes());
        put::i32(out, partition.partition_index);
        put::i16(out, partition.error_code);
        put::i64(out, partition.high_watermark);
        put::i64(out, partition.last_stable_offset);
        if version >= 5 {
            put::i64(out, partition.log_start_offset);
        }
        match &partition.aborted_transactions {
            Some(aborted) => {
                put::count(out, aborted.len(), flexible);
                aborted.iter().for_each(|transaction| transaction.encode(out, version));
            }
            None => put::null_count(out, flexible),
        }
        if version >= 11 {
            put::i32(out, partition.preferred_read_replica);
        }
    }

    fn partition_tagged_fields(&mut self, partition: &ResponseResponsesPartitions<'_>) {
        let (version, out) = (self.version, self.answer.bytes());
        let has_diverging_epoch = partition.diverging_epoch != Default::default();
        let has_current_leader = partition.current_leader != Default::default();
        let has_snapshot_id = partition.snapshot_id != Default::default();
        let count = u32::from(has_diverging_epoch) + u32::from(has_current_leader) + u32::from(has_snapshot_id);
        put::unsigned_varint(out, count);
        if has_diverging_epoch {
            put::tagged_field(out, 0, |out| partition.diverging_epoch.encode(out, version));
        }
        if has_current_leader {
            put::tagged_field(out, 1, |out| partition.current_leader.encode(out, version));
        }
        if has_snapshot_id {
            put::tagged_field(out, 2, |out| partition.snapshot_id.encode(out, version));
        }
    }

    /// Ends the response. `endpoints` are the addresses of leaders named in partitions, from version 16 on.
    pub fn finish(mut self, endpoints: &[ResponseNodeEndpoints<'_>]) -> Answer<P> {
        self.end_topic();
        let flexible = is_flexible(self.version);
        self.answer.patch_count(self.topics.position, self.topics.count, flexible);
        if flexible {
            let (version, out) = (self.version, self.answer.bytes());
            let has_endpoints = version >= 16 && !endpoints.is_empty();
            put::unsigned_varint(out, has_endpoints.into());
            if has_endpoints {
                put::tagged_field(out, 0, |out| {
                    put::count(out, endpoints.len(), true);
                    endpoints.iter().for_each(|endpoint| endpoint.encode(out, version));
                });
            }
        }
        self.answer.finish();
        self.answer
    }

    fn end_topic(&mut self) {
        let Some(partitions) = self.partitions.take() else { return };
        let flexible = is_flexible(self.version);
        self.answer.patch_count(partitions.position, partitions.count, flexible);
        if flexible {
            put::unsigned_varint(self.answer.bytes(), 0);
        }
    }
}
