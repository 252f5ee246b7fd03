//! CreatePartitions (key 37) and DescribeTopicPartitions (key 75).

use std::collections::BTreeSet;

use net::api::create_partitions as create;
use net::api::describe_topic_partitions::{
    Request, RequestCursor, RequestTopics, Response, ResponseNextCursor, ResponseTopics, ResponseTopicsPartitions,
};

use super::{Context, Leadership, operations};
use crate::error_code::ErrorCode;
use crate::metadata::controller::{Change, Controller, NewPartitions};
use crate::metadata::{Topic, names};

/// The most partitions of one DescribeTopicPartitions response, as Kafka's `max.request.partition.size.limit`.
pub const DESCRIBED_PARTITIONS_MAX: usize = 2000;

/// Answers a CreatePartitions request, versions 0 to 3. The response is sent once the change, if there is one, is
/// durable.
pub fn create_partitions(
    request: &create::Request<'_>,
    controller: &mut Controller,
) -> (create::Response<'static>, Option<Change>) {
    let wanted: Vec<_> = request.topics.iter().map(wanted).collect();
    let outcome = controller.create_partitions(&wanted, request.validate_only);
    let results = outcome.results.into_iter().map(|(name, result)| create::ResponseResults {
        name: name.into(),
        error_code: result.as_ref().map_or_else(ErrorCode::from, |()| ErrorCode::None).code(),
        error_message: result.err().map(|refusal| refusal.to_string().into()),
    });
    (create::Response { results: results.collect(), ..create::Response::default() }, outcome.change)
}

fn wanted<'a>(topic: &'a create::RequestTopics<'_>) -> NewPartitions<'a> {
    let assignments = topic.assignments.as_ref();
    NewPartitions {
        topic: &topic.name,
        count: topic.count,
        assignments: assignments.map(|chosen| chosen.iter().map(|partition| &*partition.broker_ids).collect()),
    }
}

/// Answers a DescribeTopicPartitions request, version 0 (KIP-966): a page of topics and partitions in the order of
/// names, from the cursor on, and the cursor of the next page. No topics are all topics.
pub fn describe_topic_partitions(request: &Request<'_>, context: &Context<'_>) -> Response<'static> {
    let all = request.topics.is_empty();
    let cursor = request.cursor.as_ref();
    let named: BTreeSet<&str> = request.topics.iter().map(|topic| &*topic.name).collect();
    if cursor.is_some_and(|cursor| !is_possible(cursor, &named, all)) {
        return refused(request);
    }
    let from = cursor.map_or("", |cursor| &*cursor.topic_name);
    let mut page = Page::new(context, request.response_partition_limit, cursor);
    if all {
        context.image.topics().filter(|topic| *topic.name >= *from).all(|topic| page.add(&topic.name, Some(topic)));
    } else {
        named.range(from..).all(|name| page.add(name, context.image.topic(name).map(|topic| &**topic)));
    }
    page.response
}

/// A page goes on at a topic that is asked for.
fn is_possible(cursor: &RequestCursor<'_>, named: &BTreeSet<&str>, all: bool) -> bool {
    cursor.partition_index >= 0 && (all || named.contains(&*cursor.topic_name))
}

/// The response has no error of its own: each topic has it, as often as it was named.
fn refused(request: &Request<'_>) -> Response<'static> {
    let topic = |topic: &RequestTopics<'_>| ResponseTopics {
        topic_authorized_operations: operations::NOT_ASKED,
        ..unknown(&topic.name, ErrorCode::InvalidRequest)
    };
    Response { topics: request.topics.iter().map(topic).collect(), ..Response::default() }
}

/// A response as it fills.
struct Page<'a> {
    context: &'a Context<'a>,
    response: Response<'static>,
    /// How many partitions there is still room for.
    room: usize,
    /// Where the first topic goes on.
    start: Option<(String, usize)>,
}

impl<'a> Page<'a> {
    fn new(context: &'a Context<'a>, limit: i32, cursor: Option<&RequestCursor<'_>>) -> Self {
        let start = |cursor: &RequestCursor<'_>| {
            Some((cursor.topic_name.clone().into_owned(), usize::try_from(cursor.partition_index).ok()?))
        };
        Page {
            context,
            response: Response::default(),
            room: usize::try_from(limit).unwrap_or(0).clamp(1, DESCRIBED_PARTITIONS_MAX),
            start: cursor.and_then(start),
        }
    }

    /// Adds a topic, or what there is room for; whether the page goes on.
    fn add(&mut self, name: &str, topic: Option<&Topic>) -> bool {
        if self.room == 0 {
            self.end(name, 0);
            return false;
        }
        let Some(topic) = topic else {
            let code = match names::check(name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(_) => ErrorCode::InvalidTopicException,
            };
            self.response.topics.push(unknown(name, code));
            return true;
        };
        let start = self.start.take().filter(|(at, _)| at == name).map_or(0, |(_, index)| index);
        let start = start.min(topic.partitions.len());
        let end = topic.partitions.len().min(start + self.room);
        self.response.topics.push(described(topic, start..end, self.context));
        self.room -= end - start;
        if end < topic.partitions.len() {
            self.end(name, end);
            return false;
        }
        true
    }

    fn end(&mut self, name: &str, partition: usize) {
        let partition_index = i32::try_from(partition).expect("partitions are counted in 31 bits");
        self.response.next_cursor = Some(ResponseNextCursor { topic_name: name.to_owned().into(), partition_index });
    }
}

fn unknown(name: &str, code: ErrorCode) -> ResponseTopics<'static> {
    ResponseTopics {
        error_code: code.code(),
        name: Some(name.to_owned().into()),
        topic_authorized_operations: operations::TOPIC,
        ..ResponseTopics::default()
    }
}

fn described(topic: &Topic, range: std::ops::Range<usize>, context: &Context<'_>) -> ResponseTopics<'static> {
    let partitions = (0..).zip(&topic.partitions).skip(range.start).take(range.len());
    let partitions = partitions.map(|(partition_index, partition)| {
        let Leadership { error, leader, offline } = context.leadership(partition);
        ResponseTopicsPartitions {
            error_code: error.code(),
            partition_index,
            leader_id: leader,
            leader_epoch: partition.leader_epoch,
            replica_nodes: partition.replicas.to_vec(),
            isr_nodes: partition.isr.to_vec(),
            // Nobody is eligible beyond the in-sync set, which is everybody.
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            offline_replicas: offline,
        }
    });
    ResponseTopics {
        error_code: ErrorCode::None.code(),
        name: Some(topic.name.to_string().into()),
        topic_id: topic.id,
        is_internal: topic.internal,
        partitions: partitions.collect(),
        topic_authorized_operations: operations::TOPIC,
    }
}
