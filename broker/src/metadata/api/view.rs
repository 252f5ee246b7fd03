//! Metadata (key 3): which topics there are and who leads their partitions.

use std::collections::BTreeSet;

use net::Uuid;
use net::api::metadata::{Request, RequestTopics, Response, ResponseBrokers, ResponseTopics, ResponseTopicsPartitions};

use super::{Context, Leadership, operations};
use crate::error_code::ErrorCode;
use crate::metadata::{Partition, Topic, names};

/// The answer to a Metadata request.
#[derive(Debug, Clone, PartialEq)]
pub struct MetadataAnswer<'a> {
    /// The response, complete.
    pub response: Response<'a>,
    /// Topics that are not there and that the client and this node want to be created. Their first answer is 3, which
    /// clients repeat the request on.
    pub create: Vec<String>,
}

/// The first version in which topics may be named by id. Below it an id is an error.
const BY_ID_SINCE: i16 = 12;

/// Answers a Metadata request, versions 0 to 13.
///
/// Null topics are all topics; so is an empty list in version 0, where nothing can be null. Topics asked for twice are
/// answered once.
pub fn metadata<'a>(request: Request<'a>, context: &Context<'a>) -> MetadataAnswer<'a> {
    let operations = match request.include_topic_authorized_operations {
        true => operations::TOPIC,
        false => operations::NOT_ASKED,
    };
    let mut answer = MetadataAnswer { response: frame(&request, context), create: Vec::new() };
    let topics = match request.topics {
        Some(topics) if !(topics.is_empty() && context.version == 0) => topics,
        _ => {
            answer.response.topics = context.image.topics().map(|topic| known(topic, context, operations)).collect();
            return answer;
        }
    };
    // Once one topic is named by id, those named otherwise are left out, as Kafka does.
    let by_id = topics.iter().any(|topic| !topic.topic_id.is_zero());
    let may_create = request.allow_auto_topic_creation && context.config.topics.auto_create;
    let mut seen = BTreeSet::new();
    for topic in topics {
        if by_id {
            if !topic.topic_id.is_zero() && seen.insert((topic.topic_id, String::new())) {
                answer.response.topics.push(look_up_id(topic, context, operations));
            }
        } else if seen.insert((Uuid::ZERO, topic.name.as_deref().unwrap_or_default().to_owned())) {
            let found = look_up_name(topic, context, operations);
            if may_create && found.error_code == ErrorCode::UnknownTopicOrPartition.code() {
                answer.create.extend(found.name.as_deref().filter(|name| creatable(name)).map(str::to_owned));
            }
            answer.response.topics.push(found);
        }
    }
    answer
}

/// Kafka's own topics come into being when their coordinator is there; of those only the one of groups is.
fn creatable(name: &str) -> bool {
    name != names::CLUSTER_METADATA && (name == names::CONSUMER_OFFSETS || !names::is_internal(name))
}

fn frame<'a>(request: &Request<'_>, context: &Context<'a>) -> Response<'a> {
    Response {
        brokers: vec![ResponseBrokers {
            node_id: context.image.node_id(),
            host: context.host.into(),
            port: context.port.into(),
            rack: context.config.rack.as_deref().map(Into::into),
        }],
        cluster_id: context.image.cluster_id().map(|id| id.to_string().into()),
        controller_id: context.image.node_id(),
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => operations::CLUSTER,
            false => operations::NOT_ASKED,
        },
        ..Response::default()
    }
}

fn look_up_name<'a>(topic: RequestTopics<'a>, context: &Context<'a>, operations: i32) -> ResponseTopics<'a> {
    let refused = |topic: RequestTopics<'a>, code: ErrorCode| ResponseTopics {
        error_code: code.code(),
        name: Some(topic.name.unwrap_or_default()),
        topic_authorized_operations: operations,
        ..ResponseTopics::default()
    };
    let Some(name) = topic.name.as_deref() else { return refused(topic, ErrorCode::InvalidRequest) };
    match context.image.topic(name) {
        Some(found) => known(found, context, operations),
        None if names::check(name).is_err() => refused(topic, ErrorCode::InvalidTopicException),
        None => ResponseTopics {
            is_internal: names::is_internal(name),
            ..refused(topic, ErrorCode::UnknownTopicOrPartition)
        },
    }
}

fn look_up_id<'a>(topic: RequestTopics<'a>, context: &Context<'a>, operations: i32) -> ResponseTopics<'a> {
    let refused = |code: ErrorCode| ResponseTopics {
        error_code: code.code(),
        name: (context.version < BY_ID_SINCE).then(|| topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        topic_authorized_operations: operations::NOT_ASKED,
        ..ResponseTopics::default()
    };
    if context.version < BY_ID_SINCE {
        return refused(ErrorCode::InvalidRequest);
    }
    match context.image.topic_by_id(topic.topic_id) {
        Some(found) => known(found, context, operations),
        None => refused(ErrorCode::UnknownTopicId),
    }
}

fn known<'a>(topic: &'a Topic, context: &Context<'_>, operations: i32) -> ResponseTopics<'a> {
    let partitions = topic.partitions.iter().zip(0..);
    ResponseTopics {
        error_code: ErrorCode::None.code(),
        name: Some((&*topic.name).into()),
        topic_id: topic.id,
        is_internal: topic.internal,
        partitions: partitions.map(|(partition, index)| partition_view(partition, context, index)).collect(),
        topic_authorized_operations: operations,
    }
}

fn partition_view(partition: &Partition, context: &Context<'_>, index: i32) -> ResponseTopicsPartitions {
    let Leadership { error, leader, offline } = context.leadership(partition);
    ResponseTopicsPartitions {
        error_code: error.code(),
        partition_index: index,
        leader_id: leader,
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.to_vec(),
        isr_nodes: partition.isr.to_vec(),
        offline_replicas: offline,
    }
}
