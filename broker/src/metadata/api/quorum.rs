//! DescribeQuorum (key 55) and UnregisterBroker (key 64): the nodes that keep the metadata.

use net::Uuid;
use net::api::describe_quorum::{
    Request, RequestTopics, Response, ResponseNodes, ResponseNodesListeners, ResponseTopics, ResponseTopicsPartitions,
    ResponseTopicsPartitionsCurrentVoters,
};
use net::api::unregister_broker as unregister;

use super::Context;
use crate::error_code::ErrorCode;
use crate::metadata::names;

/// Answers a DescribeQuorum request, versions 0 to 2 (KIP-595): this node is the quorum of the metadata log. `listener`
/// is the name of the one that the request came in on; `now_ms` is the wall time.
///
/// As Kafka does, it knows the metadata log's only partition, asked for alone, and nothing else.
pub fn describe_quorum(request: &Request<'_>, context: &Context<'_>, listener: &str, now_ms: i64) -> Response<'static> {
    let is_metadata_log = |topic: &RequestTopics<'_>| {
        topic.topic_name == names::CLUSTER_METADATA
            && matches!(topic.partitions.as_slice(), [partition] if partition.partition_index == 0)
    };
    let [topic] = request.topics.as_slice() else { return unknown(request) };
    if !is_metadata_log(topic) {
        return unknown(request);
    }
    let (node_id, end_offset) = (context.image.node_id(), context.image.next_offset());
    let voter = ResponseTopicsPartitionsCurrentVoters {
        replica_id: node_id,
        replica_directory_id: Uuid::ZERO,
        log_end_offset: end_offset,
        last_fetch_timestamp: now_ms,
        last_caught_up_timestamp: now_ms,
    };
    let partition = ResponseTopicsPartitions {
        error_code: ErrorCode::None.code(),
        error_message: Some("".into()),
        leader_id: node_id,
        leader_epoch: i32::try_from(context.image.broker_epoch()).unwrap_or(i32::MAX),
        high_watermark: end_offset,
        current_voters: vec![voter],
        ..ResponseTopicsPartitions::default()
    };
    let address = ResponseNodesListeners {
        name: listener.to_owned().into(),
        host: context.host.to_owned().into(),
        port: context.port,
    };
    Response {
        error_message: Some("".into()),
        topics: vec![ResponseTopics { topic_name: names::CLUSTER_METADATA.into(), partitions: vec![partition] }],
        nodes: vec![ResponseNodes { node_id, listeners: vec![address] }],
        ..Response::default()
    }
}

fn unknown(request: &Request<'_>) -> Response<'static> {
    let message = format!("The only partition with a quorum is {}-0, to be asked for alone.", names::CLUSTER_METADATA);
    let topics = request.topics.iter().map(|topic| ResponseTopics {
        topic_name: topic.topic_name.clone().into_owned().into(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| ResponseTopicsPartitions {
                partition_index: partition.partition_index,
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
                error_message: Some(message.clone().into()),
                ..ResponseTopicsPartitions::default()
            })
            .collect(),
    });
    Response { error_message: Some("".into()), topics: topics.collect(), ..Response::default() }
}

/// Answers an UnregisterBroker request, version 0 (KIP-631): the only broker stays.
pub fn unregister_broker(request: &unregister::Request, context: &Context<'_>) -> unregister::Response<'static> {
    let (error, message) = if request.broker_id == context.image.node_id() {
        let message =
            format!("Broker {} is this one, and the only one: the cluster cannot do without it.", request.broker_id);
        (ErrorCode::InvalidRequest, message)
    } else {
        (ErrorCode::BrokerIdNotRegistered, format!("There is no broker {}.", request.broker_id))
    };
    unregister::Response {
        error_code: error.code(),
        error_message: Some(message.into()),
        ..unregister::Response::default()
    }
}
