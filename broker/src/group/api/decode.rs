//! From decoded bodies to requests of one group each. Names of topics are checked against the metadata here, where it
//! is at hand; what is not known goes along, for the answer has to say so in its place.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use net::api::{
    delete_groups, describe_groups, heartbeat, join_group, leave_group, list_groups, offset_commit, offset_delete,
    offset_fetch, sync_group,
};
use net::{DecodeError, Message, Uuid};

use super::Context;
use crate::group::message::{
    Assignment, CommitPartition, CommitRequest, CommitTopic, DeleteOffsetsRequest, FetchRequest, FetchTopic,
    HeartbeatRequest, JoinRequest, LeaveRequest, LeavingMember, ListRequest, Protocol, SyncRequest,
};
use crate::group::{Outcome, Request};
use crate::metadata::names::CONSUMER_OFFSETS;
use crate::metadata::{Image, Topic};

/// From this version on a member without an id has to come back with the one it is given (KIP-394).
const JOIN_KNOWN_MEMBER_VERSION: i16 = 4;
/// From this version on the leader can be told not to assign (KIP-814).
const JOIN_SKIP_ASSIGNMENT_VERSION: i16 = 9;
/// From this version on a member has to say which protocol it means (KIP-559).
const SYNC_PROTOCOL_VERSION: i16 = 5;
/// From this version on members leave in batches (KIP-345).
const LEAVE_BATCH_VERSION: i16 = 3;
/// From this version on a group that is not there is said to be so.
const COMMIT_GROUP_NOT_FOUND_VERSION: i16 = 9;
/// From this version on topics go by ids.
const COMMIT_TOPIC_ID_VERSION: i16 = 10;
/// From this version on a request names several groups.
pub(super) const FETCH_GROUPS_VERSION: i16 = 8;
/// From this version on topics go by ids.
const FETCH_TOPIC_ID_VERSION: i16 = 10;

/// The number of partitions of `__consumer_offsets`; 1 while it is not there yet, for then every group is refused alike.
pub(super) fn partition_count(image: &Image) -> i32 {
    let topic = image.topic(CONSUMER_OFFSETS);
    let count = topic.map_or(1, |topic| topic.partitions.len().max(1));
    i32::try_from(count).expect("a topic's partitions are numbered by 32 bits")
}

fn text(text: &str) -> Arc<str> {
    Arc::from(text)
}

fn optional(text: Option<&Cow<'_, str>>) -> Option<Arc<str>> {
    text.map(|text| Arc::from(&**text))
}

pub(super) fn join(version: i16, body: &[u8], context: &Context<'_>) -> Result<Request, DecodeError> {
    let request = join_group::Request::from_prefix(body, version)?;
    let protocols = request
        .protocols
        .iter()
        .map(|protocol| Protocol { name: text(&protocol.name), metadata: Bytes::copy_from_slice(&protocol.metadata) });
    Ok(Request::Join(JoinRequest {
        group: text(&request.group_id),
        member: text(&request.member_id),
        instance: optional(request.group_instance_id.as_ref()),
        client_id: text(context.client_id),
        // Kafka shows addresses as Java writes them, with the name that was not looked up before the slash.
        client_host: Arc::from(format!("/{}", context.client_host)),
        session_timeout_ms: request.session_timeout_ms,
        // Version 0 has one timeout for both.
        rebalance_timeout_ms: if version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms },
        protocol_type: text(&request.protocol_type),
        protocols: protocols.collect(),
        needs_known_member: version >= JOIN_KNOWN_MEMBER_VERSION,
        may_skip_assignment: version >= JOIN_SKIP_ASSIGNMENT_VERSION,
    }))
}

pub(super) fn sync(version: i16, body: &[u8]) -> Result<Request, DecodeError> {
    let request = sync_group::Request::from_prefix(body, version)?;
    let assignments = request.assignments.iter().map(|assignment| Assignment {
        member: text(&assignment.member_id),
        assignment: Bytes::copy_from_slice(&assignment.assignment),
    });
    Ok(Request::Sync(SyncRequest {
        group: text(&request.group_id),
        generation: request.generation_id,
        member: text(&request.member_id),
        instance: optional(request.group_instance_id.as_ref()),
        protocol_type: optional(request.protocol_type.as_ref()),
        protocol_name: optional(request.protocol_name.as_ref()),
        requires_protocol: version >= SYNC_PROTOCOL_VERSION,
        assignments: assignments.collect(),
    }))
}

pub(super) fn heartbeat(version: i16, body: &[u8]) -> Result<Request, DecodeError> {
    let request = heartbeat::Request::from_prefix(body, version)?;
    Ok(Request::Heartbeat(HeartbeatRequest {
        group: text(&request.group_id),
        generation: request.generation_id,
        member: text(&request.member_id),
        instance: optional(request.group_instance_id.as_ref()),
    }))
}

pub(super) fn leave(version: i16, body: &[u8]) -> Result<Request, DecodeError> {
    let request = leave_group::Request::from_prefix(body, version)?;
    let members = if version < LEAVE_BATCH_VERSION {
        vec![LeavingMember { member: text(&request.member_id), instance: None }]
    } else {
        let members = request.members.iter().map(|member| LeavingMember {
            member: text(&member.member_id),
            instance: optional(member.group_instance_id.as_ref()),
        });
        members.collect()
    };
    Ok(Request::Leave(LeaveRequest { group: text(&request.group_id), members }))
}

/// A topic that a request names by its name, or from `id_version` on by its id; `None` if there is none.
fn topic<'a>(version: i16, id_version: i16, name: &str, id: Uuid, image: &'a Image) -> Option<&'a Topic> {
    let topic = if version < id_version { image.topic(name) } else { image.topic_by_id(id) };
    topic.map(|topic| &**topic)
}

pub(super) fn commit(version: i16, body: &[u8], context: &Context<'_>) -> Result<Request, DecodeError> {
    let request = offset_commit::Request::from_prefix(body, version)?;
    let topics = request.topics.iter().map(|named| commit_topic(version, named, context.image));
    Ok(Request::Commit(CommitRequest {
        group: text(&request.group_id),
        generation: request.generation_id_or_member_epoch,
        member: text(&request.member_id),
        instance: optional(request.group_instance_id.as_ref()),
        retention_ms: request.retention_time_ms,
        knows_group_not_found: version >= COMMIT_GROUP_NOT_FOUND_VERSION,
        topics: topics.collect(),
    }))
}

fn commit_topic(version: i16, named: &offset_commit::RequestTopics<'_>, image: &Image) -> CommitTopic {
    let topic = topic(version, COMMIT_TOPIC_ID_VERSION, &named.name, named.topic_id, image);
    let is_by_id = version >= COMMIT_TOPIC_ID_VERSION;
    let known = |partition: i32| match topic {
        None if is_by_id => Outcome::UnknownTopicId,
        Some(topic) if topic.partition(partition).is_some() => Outcome::Done,
        None | Some(_) => Outcome::UnknownTopic,
    };
    let partitions = named.partitions.iter().map(|partition| CommitPartition {
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: optional(partition.committed_metadata.as_ref()),
        known: known(partition.partition_index),
    });
    CommitTopic {
        name: topic.map_or_else(|| text(&named.name), |topic| topic.name.clone()),
        id: topic.map_or(named.topic_id.0, |topic| topic.id.0),
        partitions: partitions.collect(),
    }
}

/// The groups, and whether the answer is to say how far behind their offsets are.
pub(super) fn fetch(version: i16, body: &[u8], context: &Context<'_>) -> Result<(Vec<Request>, bool), DecodeError> {
    let request = offset_fetch::Request::from_prefix(body, version)?;
    let require_stable = request.require_stable;
    if version < FETCH_GROUPS_VERSION {
        let named = |named: &offset_fetch::RequestTopics<'_>| {
            fetch_topic(version, &named.name, Uuid::ZERO, &named.partition_indexes, context.image)
        };
        let topics = request.topics.as_ref().map(|topics| topics.iter().map(named).collect());
        let group = text(&request.group_id);
        return Ok((vec![Request::Fetch(FetchRequest { group, topics, require_stable })], false));
    }
    let groups = request.groups.iter().map(|group| {
        let named = |named: &offset_fetch::RequestGroupsTopics<'_>| {
            fetch_topic(version, &named.name, named.topic_id, &named.partition_indexes, context.image)
        };
        let topics = group.topics.as_ref().map(|topics| topics.iter().map(named).collect());
        Request::Fetch(FetchRequest { group: text(&group.group_id), topics, require_stable })
    });
    Ok((groups.collect(), request.skein_lags))
}

fn fetch_topic(version: i16, name: &str, id: Uuid, partitions: &[i32], image: &Image) -> FetchTopic {
    let topic = topic(version, FETCH_TOPIC_ID_VERSION, name, id, image);
    let is_id_unknown = topic.is_none() && version >= FETCH_TOPIC_ID_VERSION;
    FetchTopic {
        name: topic.map_or_else(|| text(name), |topic| topic.name.clone()),
        id: topic.map_or(id.0, |topic| topic.id.0),
        known: if is_id_unknown { Outcome::UnknownTopicId } else { Outcome::Done },
        partitions: partitions.to_vec(),
    }
}

/// The groups, and whether the answer is to say what may be done with them.
pub(super) fn describe(version: i16, body: &[u8]) -> Result<(Vec<Request>, bool), DecodeError> {
    let request = describe_groups::Request::from_prefix(body, version)?;
    let groups = request.groups.iter().map(|group| Request::Describe(text(group)));
    Ok((groups.collect(), request.include_authorized_operations))
}

pub(super) fn list(version: i16, body: &[u8]) -> Result<Request, DecodeError> {
    let request = list_groups::Request::from_prefix(body, version)?;
    let texts = |filter: &[Cow<'_, str>]| filter.iter().map(|name| text(name)).collect();
    Ok(Request::List(ListRequest { states: texts(&request.states_filter), types: texts(&request.types_filter) }))
}

/// A group that is named twice is deleted, and answered, once.
pub(super) fn delete(version: i16, body: &[u8]) -> Result<Vec<Request>, DecodeError> {
    let request = delete_groups::Request::from_prefix(body, version)?;
    let mut seen = std::collections::BTreeSet::new();
    let groups = request.groups_names.iter().filter(|group| seen.insert(&***group));
    Ok(groups.map(|group| Request::Delete(text(group))).collect())
}

pub(super) fn delete_offsets(version: i16, body: &[u8], context: &Context<'_>) -> Result<Request, DecodeError> {
    let request = offset_delete::Request::from_prefix(body, version)?;
    let topics = request.topics.iter().map(|named| {
        let topic = context.image.topic(&named.name);
        let known = |index| match topic.and_then(|topic| topic.partition(index)) {
            Some(_) => Outcome::Done,
            None => Outcome::UnknownTopic,
        };
        let partitions = named.partitions.iter().map(|partition| partition.partition_index);
        let name = topic.map_or_else(|| text(&named.name), |topic| topic.name.clone());
        (name, partitions.map(|index| (index, known(index))).collect())
    });
    Ok(Request::DeleteOffsets(DeleteOffsetsRequest { group: text(&request.group_id), topics: topics.collect() }))
}
