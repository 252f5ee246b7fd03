//! Produce: batches to their partitions, an answer once all of them are committed.
//!
//! One entry of the request table gathers the parts, on the shard of the connection and likewise on every other shard
//! that owns some of the partitions:
//!
//! ```text
//! connection's shard                     owner's shard
//! Produce { parts: [a, b, c] } ──Ask──►  Produce { parts: [b, c] }
//!        ▲ a: own store                        │ store, commit
//!        └────────────── Answer ───────────────┘
//! ```

use bytes::Bytes;
use net::api::produce::{ResponseResponsesPartitionResponses, ResponseResponsesPartitionResponsesRecordErrors};
use net::produce::{RequestView, ResponseWriter};
use net::{Answer as Frame, Reader, Topic, Uuid};
use smallvec::SmallVec;
use storage::LogId;
use storage::batch::{Attributes, Batch};
use storage::buffer::Slice;
use storage::compression::Codec;

use super::by_shard::ByShard;
use super::connections::Responder;
use super::mail::{Answer, AppendAnswer, AppendItem, Ask};
use super::partitions::{Appending, CommitWaiter, PartOf};
use super::pending::Key;
use super::timers::Timer;
use super::{Request, Shard};
use crate::error_code::ErrorCode;
use crate::metadata::Image;

/// How often requests that wait for a commit are checked against their timeout, in nanoseconds: a commit takes
/// microseconds, so a timeout is an accident and needs no precision.
const TIMEOUT_CHECK_NS: u64 = 1_000_000_000;

/// The version of Produce that brought zstd (KIP-110): older clients could not read such records back.
const ZSTD_FROM: i16 = 7;

/// Request objects kept for reuse.
pub(super) const SPARE_MAX: usize = 256;

/// A produce request under way: the client's own, or the share of it that another shard asked for.
#[derive(Debug)]
pub(crate) struct Produce {
    origin: Origin,
    acks: i16,
    deadline_ns: u64,
    /// Parts that have no final answer.
    waiting: u32,
    topics: Vec<TopicOf>,
    /// The topics' names, one after another.
    names: String,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Origin {
    Connection { responder: Responder, version: i16 },
    Shard { shard: usize, request: Key },
}

#[derive(Debug)]
struct TopicOf {
    name_end: usize,
    /// Set where the request names topics by id.
    id: Option<Uuid>,
    parts_end: usize,
}

#[derive(Debug)]
struct Part {
    partition: i32,
    answer: AppendAnswer,
}

/// Where a partition's batch goes.
enum Target {
    Partition { shard: usize, log: LogId },
    Refused(ErrorCode, String),
}

impl Shard {
    /// Handles a Produce request. A decoding error closes the connection.
    pub(super) fn produce(&mut self, responder: Responder, version: i16, body: &[u8]) -> Result<(), net::DecodeError> {
        let request = RequestView::decode(&mut Reader::new(body), version)?;
        let acks = request.acks;
        let timeout_ns = u64::try_from(request.timeout_ms).unwrap_or(0) * 1_000_000;
        let mut produce = self.spare_produce.pop().unwrap_or_else(Produce::empty);
        produce.origin = Origin::Connection { responder, version };
        produce.acks = acks;
        produce.deadline_ns = self.now.monotonic_ns.saturating_add(timeout_ns);
        let mut remote = ByShard::default();
        let key = self.requests.insert(Request::Produce(produce));
        let mut part = 0;
        for topic in request.topics.iter() {
            for partition in topic.partitions.iter() {
                // What cannot be read is refused later, with its cause.
                let attributes = partition.records.as_deref().and_then(attributes);
                let target = if !(-1..=1).contains(&acks) {
                    Target::Refused(
                        ErrorCode::InvalidRequiredAcks,
                        format!("acks is {acks}; it must be 0, 1 or -1 (all)."),
                    )
                } else if attributes.is_some_and(|it| it.is_transactional()) {
                    // The request's own transactional id says nothing: Kafka too goes by the batches.
                    let code = if version < 11 { ErrorCode::InvalidTxnState } else { ErrorCode::TransactionAbortable };
                    Target::Refused(code, "Transactions are not served by this node yet.".to_owned())
                } else if version < ZSTD_FROM && attributes.is_some_and(|it| it.codec() == Some(Codec::Zstd)) {
                    let message = format!("zstd needs version {ZSTD_FROM} of Produce (KIP-110), not {version}.");
                    Target::Refused(ErrorCode::UnsupportedCompressionType, message)
                } else {
                    target(&self.image, topic.topic, partition.index)
                };
                let answer = match (target, partition.records.as_deref()) {
                    (Target::Refused(error, message), _) => Some(AppendAnswer::refused(part, error, message)),
                    // Kafka answers an absent batch with no error, and stores nothing.
                    (Target::Partition { .. }, None) => Some(AppendAnswer::pending(part)),
                    (Target::Partition { shard, log }, Some(records)) if shard == self.id => {
                        let waiter = CommitWaiter::Produce(PartOf { request: key, index: part });
                        match self.append(log, records, part, waiter, acks) {
                            Appending::Done(answer) => Some(answer),
                            Appending::Waits(answer) => {
                                self.add_part(key, partition.index, answer, true);
                                part += 1;
                                continue;
                            }
                        }
                    }
                    (Target::Partition { shard, log }, Some(records)) => {
                        let item = AppendItem { part, log, records: Bytes::copy_from_slice(records) };
                        remote.push(shard, item);
                        None
                    }
                };
                let waits = answer.is_none();
                self.add_part(key, partition.index, answer.unwrap_or_else(|| AppendAnswer::pending(part)), waits);
                part += 1;
            }
            self.end_topic(key, topic.topic);
        }
        for (shard, items) in remote {
            self.ask(shard, key, Ask::Append { items, acks });
        }
        self.arm_produce_timeouts();
        self.finish_produce_if_complete(key);
        Ok(())
    }

    fn add_part(&mut self, key: Key, partition: i32, answer: AppendAnswer, waits: bool) {
        let produce = self.produce_mut(key).expect("the request is being handled");
        produce.parts.push(Part { partition, answer });
        produce.waiting += u32::from(waits);
    }

    fn end_topic(&mut self, key: Key, topic: Topic<'_>) {
        let produce = self.produce_mut(key).expect("the request is being handled");
        let id = match topic {
            Topic::Name(name) => {
                produce.names.push_str(name);
                None
            }
            Topic::Id(id) => Some(id),
        };
        let topic = TopicOf { name_end: produce.names.len(), id, parts_end: produce.parts.len() };
        produce.topics.push(topic);
    }

    /// Appends what another shard's client sent for partitions of this one.
    pub(super) fn append_for_peer(&mut self, shard: usize, request: Key, items: Vec<AppendItem>, acks: i16) {
        let mut produce = self.spare_produce.pop().unwrap_or_else(Produce::empty);
        produce.origin = Origin::Shard { shard, request };
        produce.acks = acks;
        produce.deadline_ns = u64::MAX;
        let key = self.requests.insert(Request::Produce(produce));
        for (index, item) in items.into_iter().enumerate() {
            let waiter = CommitWaiter::Produce(PartOf { request: key, index: index as u32 });
            match self.append(item.log, &item.records, item.part, waiter, acks) {
                Appending::Done(answer) => self.add_part(key, -1, answer, false),
                Appending::Waits(answer) => self.add_part(key, -1, answer, true),
            }
        }
        self.check_room();
        self.finish_produce_if_complete(key);
    }

    /// Another shard has answered for its partitions.
    pub(super) fn peer_appended(&mut self, key: Key, answers: Vec<AppendAnswer>) {
        let Some(produce) = self.produce_mut(key) else { return };
        for answer in answers {
            produce.waiting -= 1;
            let part = answer.part as usize;
            produce.parts[part].answer = answer;
        }
        self.finish_produce_if_complete(key);
    }

    /// A part's batch was appended after its validation, and now waits for its commit.
    pub(super) fn produce_appended(&mut self, part_of: PartOf, answer: AppendAnswer) {
        if let Some(produce) = self.produce_mut(part_of.request) {
            produce.parts[part_of.index as usize].answer = answer;
        }
    }

    /// A part has its final answer.
    pub(super) fn produce_answered(&mut self, part_of: PartOf, answer: AppendAnswer) {
        self.produce_appended(part_of, answer);
        self.produce_committed(part_of);
    }

    /// A part's records are committed.
    pub(super) fn produce_committed(&mut self, part_of: PartOf) {
        let Some(produce) = self.produce_mut(part_of.request) else { return };
        produce.waiting -= 1;
        self.finish_produce_if_complete(part_of.request);
    }

    /// A part's partition was deleted before its records were committed.
    pub(super) fn produce_abandoned(&mut self, part_of: PartOf, mut refused: AppendAnswer) {
        if let Some(produce) = self.produce_mut(part_of.request) {
            refused.part = produce.parts[part_of.index as usize].answer.part;
        }
        self.produce_answered(part_of, refused);
    }

    fn produce_mut(&mut self, key: Key) -> Option<&mut Produce> {
        match self.requests.get_mut(key)? {
            Request::Produce(produce) => Some(produce),
            _ => None,
        }
    }

    fn finish_produce_if_complete(&mut self, key: Key) {
        if self.produce_mut(key).is_some_and(|produce| produce.waiting == 0) {
            self.finish_produce(key);
        }
    }

    fn finish_produce(&mut self, key: Key) {
        let Some(Request::Produce(mut produce)) = self.requests.remove(key) else { return };
        if let Origin::Connection { responder, .. } = produce.origin {
            produce.parts.iter().for_each(|part| self.metrics.told(responder.key, part.answer.error));
        }
        match produce.origin {
            Origin::Shard { shard, request } => {
                let answers = produce.parts.drain(..).map(|part| part.answer).collect();
                self.answer_peer(shard, request, Answer::Append(answers));
            }
            Origin::Connection { responder, .. } if produce.acks == 0 => {
                self.metrics.answered(responder.key, self.now.monotonic_ns.saturating_sub(responder.began_ns));
                // Nothing is owed; a client that gets no answers learns of a failure by losing its connection.
                if let Some(failed) = produce.parts.iter().find(|part| part.answer.error != ErrorCode::None) {
                    let why =
                        failed.answer.detail.as_ref().map_or(failed.answer.error.message(), |detail| &detail.message);
                    self.close_for(responder, &format!("a produce with acks=0 failed: {why}"));
                }
            }
            Origin::Connection { responder, version } => {
                let buffer = self.answer_buffer();
                self.respond(responder, produce.encode(buffer, version, responder));
            }
        }
        if self.spare_produce.len() < SPARE_MAX {
            produce.clear();
            self.spare_produce.push(produce);
        }
    }

    fn arm_produce_timeouts(&mut self) {
        if !self.produce_timeouts_armed {
            self.produce_timeouts_armed = true;
            self.timers.arm(self.now.monotonic_ns + TIMEOUT_CHECK_NS, Timer::ProduceTimeouts);
        }
    }

    /// Answers the requests whose time is over; their records stay appended, as the code says.
    pub(super) fn check_produce_timeouts(&mut self) {
        let now_ns = self.now.monotonic_ns;
        let mut any = false;
        let expired = |request: &Request| matches!(request, Request::Produce(produce) if produce.deadline_ns <= now_ns);
        let keys: SmallVec<[Key; 8]> = self.requests.keys_where(expired).collect();
        for key in keys {
            if let Some(produce) = self.produce_mut(key) {
                for part in &mut produce.parts {
                    if part.answer.error == ErrorCode::None {
                        part.answer.error = ErrorCode::RequestTimedOut;
                    }
                }
            }
            self.finish_produce(key);
        }
        any |= self.requests.keys_where(|request| matches!(request, Request::Produce(_))).next().is_some();
        self.produce_timeouts_armed = false;
        if any {
            self.arm_produce_timeouts();
        }
    }
}

impl Produce {
    fn empty() -> Box<Self> {
        Box::new(Self {
            origin: Origin::Shard { shard: 0, request: Key::from_token(u64::MAX) },
            acks: 0,
            deadline_ns: u64::MAX,
            waiting: 0,
            topics: Vec::new(),
            names: String::new(),
            parts: Vec::new(),
        })
    }

    fn clear(&mut self) {
        self.waiting = 0;
        self.topics.clear();
        self.names.clear();
        self.parts.clear();
    }

    fn encode(&self, buffer: Vec<u8>, version: i16, responder: Responder) -> Frame<Slice> {
        let mut response = ResponseWriter::new(buffer, version, responder.correlation_id);
        let (mut name_start, mut parts_start) = (0, 0);
        for topic in &self.topics {
            response.topic(match topic.id {
                Some(id) => Topic::Id(id),
                None => Topic::Name(&self.names[name_start..topic.name_end]),
            });
            for part in &self.parts[parts_start..topic.parts_end] {
                response.partition(&part.wire());
            }
            (name_start, parts_start) = (topic.name_end, topic.parts_end);
        }
        response.finish(responder.throttle_ms, &[])
    }
}

impl Part {
    fn wire(&self) -> ResponseResponsesPartitionResponses<'_> {
        let answer = &self.answer;
        let detail = answer.detail.as_deref();
        let blamed = detail.map_or(&[][..], |detail| &detail.records);
        ResponseResponsesPartitionResponses {
            index: self.partition,
            error_code: answer.error.code(),
            base_offset: answer.base_offset,
            log_append_time_ms: answer.log_append_time_ms,
            log_start_offset: answer.log_start_offset,
            record_errors: blamed
                .iter()
                .map(|(index, why)| ResponseResponsesPartitionResponsesRecordErrors {
                    batch_index: *index,
                    batch_index_error_message: Some(why.as_str().into()),
                })
                .collect(),
            error_message: detail.map(|detail| detail.message.as_str().into()),
            ..Default::default()
        }
    }
}

/// What the batch says of itself, if it can be read.
fn attributes(records: &[u8]) -> Option<Attributes> {
    Batch::first(records).ok().map(|batch| batch.attributes())
}

fn target(image: &Image, topic: Topic<'_>, partition: i32) -> Target {
    let found = match topic {
        Topic::Name(name) => image.topic(name),
        Topic::Id(id) => image.topic_by_id(id),
    };
    let Some(found) = found else {
        return match topic {
            Topic::Name(name) => {
                Target::Refused(ErrorCode::UnknownTopicOrPartition, format!("There is no topic '{name}'."))
            }
            Topic::Id(id) => Target::Refused(ErrorCode::UnknownTopicId, format!("There is no topic with the id {id}.")),
        };
    };
    if found.internal {
        let message = format!("The topic '{}' is internal: only the broker writes to it.", found.name);
        return Target::Refused(ErrorCode::InvalidTopicException, message);
    }
    match found.partition(partition) {
        Some(placed) => Target::Partition { shard: placed.shard.into(), log: LogId(placed.log_id) },
        None => Target::Refused(
            ErrorCode::UnknownTopicOrPartition,
            format!("The topic '{}' has no partition {partition}.", found.name),
        ),
    }
}
