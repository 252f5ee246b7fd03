//! DescribeCluster (key 60), FindCoordinator (key 10) and InitProducerId (key 22).

use std::borrow::Cow;
use std::sync::Arc;

use net::api::find_coordinator::{self, ResponseCoordinators};
use net::api::{describe_cluster as cluster, init_producer_id as producer};

use super::{Context, operations};
use crate::error_code::ErrorCode;
use crate::group::partition_for;
use crate::metadata::{ProducerIds, Topic, names};

/// Endpoint types of DescribeCluster (KIP-919).
mod endpoint {
    pub(super) const BROKERS: i8 = 1;
    pub(super) const CONTROLLERS: i8 = 2;
}

/// Answers a DescribeCluster request, versions 0 to 2.
pub fn describe_cluster<'a>(request: &cluster::Request, context: &Context<'a>) -> cluster::Response<'a> {
    let refused = |code: ErrorCode, message: String| cluster::Response {
        error_code: code.code(),
        error_message: Some(message.into()),
        endpoint_type: endpoint::BROKERS,
        controller_id: -1,
        cluster_authorized_operations: operations::NOT_ASKED,
        ..cluster::Response::default()
    };
    match request.endpoint_type {
        endpoint::BROKERS => {}
        endpoint::CONTROLLERS => {
            let message = "This is a broker's listener, and the request asks for controllers; ask for brokers.";
            return refused(ErrorCode::MismatchedEndpointType, message.to_owned());
        }
        other => {
            let message = format!("Endpoint type {other} does not exist; 1 is brokers.");
            return refused(ErrorCode::UnsupportedEndpointType, message);
        }
    }
    cluster::Response {
        endpoint_type: endpoint::BROKERS,
        cluster_id: context.image.cluster_id().map(|id| id.to_string()).unwrap_or_default().into(),
        controller_id: context.image.node_id(),
        brokers: vec![cluster::ResponseBrokers {
            broker_id: context.image.node_id(),
            host: context.host.into(),
            port: context.port.into(),
            rack: context.config.rack.as_deref().map(Into::into),
            is_fenced: false,
        }],
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => operations::CLUSTER,
            false => operations::NOT_ASKED,
        },
        ..cluster::Response::default()
    }
}

/// The answer to a FindCoordinator request.
#[derive(Debug, Clone, PartialEq)]
pub struct FindCoordinatorAnswer<'a> {
    /// The response, complete.
    pub response: find_coordinator::Response<'a>,
    /// Whether the topic of committed offsets has to be created first; until then the answer is 15, which clients
    /// repeat the request on.
    pub create_offsets_topic: bool,
}

/// The key type of groups.
const KEY_GROUP: i8 = 0;

/// The first version that asks for many keys (KIP-699).
const BATCHED_SINCE: i16 = 4;

/// Answers a FindCoordinator request, versions 0 to 6: groups only. Other types get 42, which clients give up on at
/// once; a retriable code would let them wait for something that is not there.
pub fn find_coordinator<'a>(
    request: find_coordinator::Request<'a>,
    context: &Context<'a>,
) -> FindCoordinatorAnswer<'a> {
    let offsets = context.image.topic(names::CONSUMER_OFFSETS);
    let verdict = match request.key_type {
        KEY_GROUP if offsets.is_some() => Ok(()),
        KEY_GROUP => Err((
            ErrorCode::CoordinatorNotAvailable,
            "The topic of committed offsets is being created; try again.".to_owned(),
        )),
        other => Err((ErrorCode::InvalidRequest, not_served(other))),
    };
    let create_offsets_topic = matches!(verdict, Err((ErrorCode::CoordinatorNotAvailable, _)));
    let answered = |key: Cow<'a, str>| match verdict.clone().and_then(|()| has_coordinator(offsets, context, &key)) {
        Ok(()) => ResponseCoordinators {
            key,
            node_id: context.image.node_id(),
            host: context.host.into(),
            port: context.port.into(),
            error_code: ErrorCode::None.code(),
            error_message: Some("".into()),
        },
        Err((code, message)) => ResponseCoordinators {
            key,
            node_id: -1,
            host: "".into(),
            port: -1,
            error_code: code.code(),
            error_message: Some(message.into()),
        },
    };
    let mut response = find_coordinator::Response::default();
    if context.version >= BATCHED_SINCE {
        response.coordinators = request.coordinator_keys.into_iter().map(answered).collect();
    } else {
        let one = answered(request.key);
        response.error_code = one.error_code;
        // Kafka names success in these versions.
        response.error_message =
            if one.error_code == ErrorCode::None.code() { Some("NONE".into()) } else { one.error_message };
        (response.node_id, response.host, response.port) = (one.node_id, one.host, one.port);
    }
    FindCoordinatorAnswer { response, create_offsets_topic }
}

/// A group has no coordinator while the data directory is offline in which its offsets lie.
fn has_coordinator(
    offsets: Option<&Arc<Topic>>,
    context: &Context<'_>,
    group: &str,
) -> Result<(), (ErrorCode, String)> {
    let Some(offsets) = offsets else { return Ok(()) };
    let count = i32::try_from(offsets.partitions.len()).expect("partitions are counted in 31 bits");
    let partition = offsets.partition(partition_for(group, count)).expect("below their number");
    if context.leadership(partition).error == ErrorCode::None {
        return Ok(());
    }
    let message = "The data directory with the group's offsets is offline: bring it back, and restart the broker.";
    Err((ErrorCode::CoordinatorNotAvailable, message.to_owned()))
}

fn not_served(key_type: i8) -> String {
    match key_type {
        1 => "Transactions are not served yet: use a producer without transactional.id.".to_owned(),
        2 => "Share groups are not served yet: use a consumer group.".to_owned(),
        other => format!("Coordinator type {other} does not exist; 0 is groups."),
    }
}

/// Answers an InitProducerId request, versions 0 to 5, for idempotent producers. `None` when `ids` is used up: take a
/// new block and ask again.
///
/// As in Kafka, a producer without transactional id gets a new id whatever it had before. A transactional id gets
/// 42, which is fatal at once; the response has no room for a message.
pub fn init_producer_id(request: &producer::Request<'_>, ids: &mut ProducerIds) -> Option<producer::Response> {
    let refused = producer::Response {
        error_code: ErrorCode::InvalidRequest.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..producer::Response::default()
    };
    // A producer has an id and an epoch, or neither.
    let is_whole = (request.producer_id == -1) == (request.producer_epoch == -1);
    if request.transactional_id.is_some() || !is_whole {
        return Some(refused);
    }
    let producer_id = ids.take()?;
    Some(producer::Response { error_code: ErrorCode::None.code(), producer_id, producer_epoch: 0, ..refused })
}
