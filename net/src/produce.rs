//! Produce without allocations: a view of the request, and a writer of the response.

use crate::api::produce::{RequestTopicDataPartitionData, ResponseNodeEndpoints, ResponseResponsesPartitionResponses};
use crate::wire::{Element, List, put};
use crate::{Answer, ApiKey, DecodeError, Reader, Reason, Topic};

/// The first version that names topics by id.
const FIRST_BY_ID: i16 = 13;

fn is_flexible(version: i16) -> bool {
    ApiKey::Produce.is_flexible(version)
}

/// A Produce request that stays in its frame.
#[derive(Debug, Clone)]
pub struct RequestView<'a> {
    /// The transactional id, if the producer has one.
    pub transactional_id: Option<&'a str>,
    /// Who has to have the records before the answer: 0 nobody (and there is no answer), 1 the leader, -1 the in-sync
    /// set. Not checked here.
    pub acks: i16,
    /// How long the client wants to wait for that.
    pub timeout_ms: i32,
    /// The topics.
    pub topics: List<'a, TopicView<'a>>,
}

/// A topic in a [`RequestView`].
#[derive(Debug, Clone)]
pub struct TopicView<'a> {
    /// By name below version 13, by id from it on.
    pub topic: Topic<'a>,
    /// The partitions. Their records are borrowed from the frame.
    pub partitions: List<'a, RequestTopicDataPartitionData<'a>>,
}

impl<'a> RequestView<'a> {
    /// Decodes a request body of this version, validating all of it.
    ///
    /// # Errors
    /// If the version is unknown, or the bytes are no such request.
    pub fn decode(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        if !ApiKey::Produce.valid_versions().contains(&version) {
            return Err(reader.error(Reason::UnsupportedVersion(version)));
        }
        let flexible = is_flexible(version);
        let transactional_id = reader.nullable_string(flexible)?;
        let acks = reader.i16()?;
        let timeout_ms = reader.i32()?;
        let topics = List::decode(reader, flexible, version)?;
        if flexible {
            reader.skip_tagged_fields()?;
        }
        Ok(Self { transactional_id, acks, timeout_ms, topics })
    }
}

impl<'a> Element<'a> for TopicView<'a> {
    fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        let flexible = is_flexible(version);
        let topic = Topic::decode(reader, flexible, version >= FIRST_BY_ID)?;
        let partitions = List::decode(reader, flexible, version)?;
        if flexible {
            reader.skip_tagged_fields()?;
        }
        Ok(Self { topic, partitions })
    }
}

impl<'a> Element<'a> for RequestTopicDataPartitionData<'a> {
    fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        Self::decode(reader, version)
    }
}

/// Writes a Produce response partition by partition. The counts are written when they are known.
///
/// Order of calls: `topic`, its partitions, the next `topic`, …, `finish`.
#[derive(Debug)]
pub struct ResponseWriter<P> {
    answer: Answer<P>,
    version: i16,
    topics: Count,
    partitions: Option<Count>,
}

/// A count that becomes known later, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) position: usize,
    pub(crate) count: usize,
}

impl<P: AsRef<[u8]>> ResponseWriter<P> {
    /// Starts the response to a request of this version; `buffer` is cleared and becomes part of the answer.
    pub fn new(buffer: Vec<u8>, version: i16, correlation_id: i32) -> Self {
        let mut answer = Answer::begin(buffer, ApiKey::Produce, version, correlation_id);
        let topics = Count { position: answer.count_later(is_flexible(version)), count: 0 };
        Self { answer, version, topics, partitions: None }
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

    /// Appends a partition of the current topic.
    ///
    /// # Panics
    /// If there is no topic yet.
    pub fn partition(&mut self, partition: &ResponseResponsesPartitionResponses<'_>) {
        let partitions = self.partitions.as_mut().expect("a topic comes before its partitions");
        partitions.count += 1;
        partition.encode(self.answer.bytes(), self.version);
    }

    /// Ends the response. `endpoints` are the addresses of leaders named in partitions, from version 10 on.
    pub fn finish(mut self, throttle_time_ms: i32, endpoints: &[ResponseNodeEndpoints<'_>]) -> Answer<P> {
        self.end_topic();
        let flexible = is_flexible(self.version);
        self.answer.patch_count(self.topics.position, self.topics.count, flexible);
        let (version, out) = (self.version, self.answer.bytes());
        put::i32(out, throttle_time_ms);
        if flexible {
            let has_endpoints = version >= 10 && !endpoints.is_empty();
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
