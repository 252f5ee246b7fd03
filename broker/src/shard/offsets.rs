//! ListOffsets and OffsetForLeaderEpoch: questions about offsets, asked of the partitions' owners.

use std::collections::BTreeMap;

use net::Message as _;
use net::api::{list_offsets, offset_for_leader_epoch};
use storage::LogId;

use super::by_shard::ByShard;
use super::connections::Responder;
use super::mail::{Answer, Ask, Query, QueryAnswer, QueryItem};
use super::partitions::PartOf;
use super::pending::Key;
use super::{Request, Shard};
use crate::error_code::ErrorCode;

/// `isolation_level` of a consumer that wants committed records only (KIP-98).
pub(super) const READ_COMMITTED: i8 = 1;

/// Questions under way: a client's own, or the share of them that another shard asked.
#[derive(Debug)]
pub(crate) struct Queries {
    origin: Origin,
    waiting: usize,
    answers: Vec<QueryAnswer>,
}

#[derive(Debug)]
enum Origin {
    ListOffsets { responder: Responder, version: i16, response: Box<list_offsets::Response<'static>> },
    EpochEnds { responder: Responder, version: i16, response: Box<offset_for_leader_epoch::Response<'static>> },
    Shard { shard: usize, request: Key },
}

/// A question of the client, before its owner is known.
struct Question<'a> {
    topic: &'a str,
    partition: i32,
    current_leader_epoch: i32,
    read_committed: bool,
    query: Result<Query, Wrong>,
}

/// Why a question has no answer, whatever the partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// A special timestamp that the request's version does not know.
    Unsupported,
    /// The request names the partition more than once.
    Repeated,
}

impl Shard {
    /// Handles ListOffsets. A decoding error closes the connection.
    pub(super) fn list_offsets(
        &mut self,
        responder: Responder,
        version: i16,
        body: &[u8],
    ) -> Result<(), net::DecodeError> {
        let request = list_offsets::Request::from_prefix(body, version)?;
        let mut times_named: BTreeMap<(&str, i32), u32> = BTreeMap::new();
        for topic in &request.topics {
            for partition in &topic.partitions {
                *times_named.entry((&topic.name, partition.partition_index)).or_default() += 1;
            }
        }
        let questions = request.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| Question {
                topic: &topic.name,
                partition: partition.partition_index,
                current_leader_epoch: partition.current_leader_epoch,
                read_committed: request.isolation_level == READ_COMMITTED,
                query: match times_named[&(&*topic.name, partition.partition_index)] {
                    1 => timestamp_query(partition.timestamp, version),
                    _ => Err(Wrong::Repeated),
                },
            })
        });
        let questions: Vec<Question<'_>> = questions.collect();
        let response = list_offsets::Response {
            topics: request
                .topics
                .iter()
                .map(|topic| list_offsets::ResponseTopics {
                    name: topic.name.clone().into_owned().into(),
                    partitions: topic
                        .partitions
                        .iter()
                        .map(|partition| list_offsets::ResponseTopicsPartitions {
                            partition_index: partition.partition_index,
                            ..Default::default()
                        })
                        .collect(),
                })
                .collect(),
            ..Default::default()
        };
        self.ask_owners(Origin::ListOffsets { responder, version, response: Box::new(response) }, &questions);
        Ok(())
    }

    /// Handles OffsetForLeaderEpoch. A decoding error closes the connection.
    pub(super) fn epoch_ends(
        &mut self,
        responder: Responder,
        version: i16,
        body: &[u8],
    ) -> Result<(), net::DecodeError> {
        let request = offset_for_leader_epoch::Request::from_prefix(body, version)?;
        let questions = request.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| Question {
                topic: &topic.topic,
                partition: partition.partition,
                current_leader_epoch: partition.current_leader_epoch,
                read_committed: false,
                query: Ok(Query::EpochEnd(partition.leader_epoch)),
            })
        });
        let questions: Vec<Question<'_>> = questions.collect();
        let response = offset_for_leader_epoch::Response {
            topics: request
                .topics
                .iter()
                .map(|topic| offset_for_leader_epoch::ResponseTopics {
                    topic: topic.topic.clone().into_owned().into(),
                    partitions: topic
                        .partitions
                        .iter()
                        .map(|partition| offset_for_leader_epoch::ResponseTopicsPartitions {
                            partition: partition.partition,
                            ..Default::default()
                        })
                        .collect(),
                })
                .collect(),
            ..Default::default()
        };
        self.ask_owners(Origin::EpochEnds { responder, version, response: Box::new(response) }, &questions);
        Ok(())
    }

    fn ask_owners(&mut self, origin: Origin, questions: &[Question<'_>]) {
        let answers = (0..questions.len()).map(|part| QueryAnswer::none(part as u32, ErrorCode::None)).collect();
        let key = self.requests.insert(Request::Queries(Box::new(Queries { origin, waiting: 1, answers })));
        let mut remote = ByShard::default();
        for (part, question) in questions.iter().enumerate() {
            let part = part as u32;
            let found = self.image.topic(question.topic).and_then(|topic| topic.partition(question.partition));
            let refused = |error| QueryAnswer::none(part, error);
            let answer = match (found, question.query) {
                (_, Err(Wrong::Repeated)) => Some(refused(ErrorCode::InvalidRequest)),
                (_, Err(Wrong::Unsupported)) => Some(refused(ErrorCode::UnsupportedVersion)),
                (None, _) => Some(refused(ErrorCode::UnknownTopicOrPartition)),
                (Some(place), Ok(query)) => {
                    let current_leader_epoch = question.current_leader_epoch;
                    let read_committed = question.read_committed;
                    let log = LogId(place.log_id);
                    let item = QueryItem { part, log, current_leader_epoch, read_committed, query };
                    let owner = usize::from(place.shard);
                    if owner == self.id {
                        self.query(PartOf { request: key, index: part }, item)
                    } else {
                        remote.push(owner, item);
                        None
                    }
                }
            };
            let queries = self.queries_mut(key).expect("one part is held back below");
            match answer {
                Some(answer) => queries.answers[part as usize] = answer,
                None => queries.waiting += 1,
            }
        }
        for (shard, items) in remote {
            self.ask(shard, key, Ask::Query(items));
        }
        self.query_settled(key);
    }

    /// Answers another shard's questions about partitions of this one.
    pub(super) fn query_for_peer(&mut self, shard: usize, request: Key, items: Vec<QueryItem>) {
        let origin = Origin::Shard { shard, request };
        let answers = items.iter().map(|item| QueryAnswer::none(item.part, ErrorCode::None)).collect();
        let key = self.requests.insert(Request::Queries(Box::new(Queries { origin, waiting: 1, answers })));
        for (index, item) in items.into_iter().enumerate() {
            let answer = self.query(PartOf { request: key, index: index as u32 }, item);
            let queries = self.queries_mut(key).expect("one part is held back below");
            match answer {
                Some(answer) => queries.answers[index] = answer,
                None => queries.waiting += 1,
            }
        }
        self.query_settled(key);
    }

    /// A part was looked up on the disk.
    pub(super) fn query_answered(&mut self, part_of: PartOf, answer: QueryAnswer) {
        if let Some(queries) = self.queries_mut(part_of.request) {
            queries.answers[part_of.index as usize] = answer;
            self.query_settled(part_of.request);
        }
    }

    /// Another shard has answered for its partitions.
    pub(super) fn peer_queried(&mut self, key: Key, answers: Vec<QueryAnswer>) {
        for answer in answers {
            self.query_answered(PartOf { request: key, index: answer.part }, answer);
        }
    }

    fn queries_mut(&mut self, key: Key) -> Option<&mut Queries> {
        match self.requests.get_mut(key)? {
            Request::Queries(queries) => Some(queries),
            _ => None,
        }
    }

    fn query_settled(&mut self, key: Key) {
        let Some(queries) = self.queries_mut(key) else { return };
        queries.waiting -= 1;
        if queries.waiting > 0 {
            return;
        }
        let Some(Request::Queries(queries)) = self.requests.remove(key) else { return };
        let Queries { origin, answers, .. } = *queries;
        let mut answers = answers.into_iter();
        let mut next = || answers.next().expect("one answer per question");
        match origin {
            Origin::Shard { shard, request } => self.answer_peer(shard, request, Answer::Query(answers.collect())),
            Origin::ListOffsets { responder, version, mut response } => {
                for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    let answer = next();
                    partition.error_code = answer.error.code();
                    partition.offset = answer.offset;
                    partition.timestamp = answer.timestamp_ms;
                    partition.leader_epoch = answer.leader_epoch;
                }
                self.respond_message(responder, version, response.as_ref());
            }
            Origin::EpochEnds { responder, version, mut response } => {
                for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    let answer = next();
                    partition.error_code = answer.error.code();
                    partition.end_offset = answer.offset;
                    partition.leader_epoch = answer.leader_epoch;
                }
                self.respond_message(responder, version, response.as_ref());
            }
        }
    }
}

/// What a timestamp of ListOffsets asks for, by version: -3 since 7, -4 since 8, -5 since 9, -6 since 11.
fn timestamp_query(timestamp: i64, version: i16) -> Result<Query, Wrong> {
    match timestamp {
        -1 => Ok(Query::Latest),
        -2 => Ok(Query::Earliest),
        -3 if version >= 7 => Ok(Query::MaxTimestamp),
        // Nothing is tiered: all of the log is local, nothing is remote, nothing waits for its upload.
        -4 if version >= 8 => Ok(Query::Earliest),
        -5 if version >= 9 => Ok(Query::Nothing),
        -6 if version >= 11 => Ok(Query::Nothing),
        // No version gives any other negative value a meaning.
        ..0 => Err(Wrong::Unsupported),
        target => Ok(Query::Timestamp(target)),
    }
}
