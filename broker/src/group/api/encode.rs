//! From replies to the bodies of responses.

use std::borrow::Cow;
use std::sync::Arc;

use net::api::{
    delete_groups, describe_groups, heartbeat, join_group, leave_group, list_groups, offset_commit, offset_delete,
    offset_fetch, sync_group,
};
use net::{ApiKey, Uuid};

use super::Plan;
use super::decode::FETCH_GROUPS_VERSION;
use crate::group::message::{
    CommitReply, DeleteOffsetsReply, DescribedGroup, FetchReply, FetchedPartition, FetchedTopic, JoinReply, LeaveReply,
    ListReply, SyncReply,
};
use crate::group::{Outcome, Reply, TopicId};

/// From this version on the chosen protocol can be null.
const JOIN_NULL_PROTOCOL_VERSION: i16 = 7;
/// From this version on each member that leaves is answered for itself.
const LEAVE_BATCH_VERSION: i16 = 3;
/// From this version on a group's error stands for itself, and not with each partition.
const FETCH_GROUP_ERROR_VERSION: i16 = 2;
/// From this version on topics go by ids.
const FETCH_TOPIC_ID_VERSION: i16 = 10;
/// From this version on a group that is not there is an error, and not a dead group.
const DESCRIBE_NOT_FOUND_VERSION: i16 = 6;
/// What anybody may do with a group while there are no access rules: READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and
/// ALTER_CONFIGS, a bit each.
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
/// Stands for what was not asked for.
const NO_OPERATIONS: i32 = i32::MIN;

/// Appends the body of the response.
pub(super) fn response(plan: &Plan, replies: &[Reply], out: &mut Vec<u8>) {
    let version = plan.version;
    match (plan.key, replies) {
        (ApiKey::JoinGroup, [Reply::Join(reply)]) => join(reply, version).encode(out, version),
        (ApiKey::SyncGroup, [Reply::Sync(reply)]) => sync(reply).encode(out, version),
        (ApiKey::Heartbeat, [Reply::Heartbeat(outcome)]) => {
            heartbeat::Response { error_code: code(*outcome), ..Default::default() }.encode(out, version);
        }
        (ApiKey::LeaveGroup, [Reply::Leave(reply)]) => leave(reply, version).encode(out, version),
        (ApiKey::OffsetCommit, [Reply::Commit(reply)]) => commit(reply).encode(out, version),
        (ApiKey::OffsetFetch, replies) => fetch(replies, version).encode(out, version),
        (ApiKey::DescribeGroups, replies) => describe(plan, replies).encode(out, version),
        (ApiKey::ListGroups, replies) => list(replies).encode(out, version),
        (ApiKey::DeleteGroups, replies) => delete(plan, replies).encode(out, version),
        (ApiKey::OffsetDelete, [Reply::DeleteOffsets(reply)]) => delete_offsets(reply).encode(out, version),
        (key, replies) => unreachable!("{key} is not answered by {} such replies", replies.len()),
    }
}

fn code(outcome: Outcome) -> i16 {
    outcome.error_code() as i16
}

fn text(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

fn optional(text: Option<&Arc<str>>) -> Option<Cow<'_, str>> {
    text.map(|text| Cow::Borrowed(&**text))
}

fn join(reply: &JoinReply, version: i16) -> join_group::Response<'_> {
    let can_be_null = version >= JOIN_NULL_PROTOCOL_VERSION;
    let members = reply.members.iter().map(|member| join_group::ResponseMembers {
        member_id: text(&member.member),
        group_instance_id: optional(member.instance.as_ref()),
        metadata: Cow::Borrowed(&member.metadata),
    });
    join_group::Response {
        throttle_time_ms: 0,
        error_code: code(reply.outcome),
        generation_id: reply.generation,
        protocol_type: optional(reply.protocol_type.as_ref()),
        protocol_name: optional(reply.protocol_name.as_ref()).or((!can_be_null).then_some(Cow::Borrowed(""))),
        leader: text(&reply.leader),
        skip_assignment: reply.skip_assignment,
        member_id: text(&reply.member),
        members: members.collect(),
    }
}

fn sync(reply: &SyncReply) -> sync_group::Response<'_> {
    sync_group::Response {
        throttle_time_ms: 0,
        error_code: code(reply.outcome),
        protocol_type: optional(reply.protocol_type.as_ref()),
        protocol_name: optional(reply.protocol_name.as_ref()),
        assignment: Cow::Borrowed(&reply.assignment),
    }
}

fn leave(reply: &LeaveReply, version: i16) -> leave_group::Response<'_> {
    let of_one = reply.members.first().map_or(Outcome::Done, |(_, outcome)| *outcome);
    let outcome = match reply.outcome {
        Outcome::Done if version < LEAVE_BATCH_VERSION => of_one,
        outcome => outcome,
    };
    let members = reply.members.iter().map(|(member, outcome)| leave_group::ResponseMembers {
        member_id: text(&member.member),
        group_instance_id: optional(member.instance.as_ref()),
        error_code: code(*outcome),
    });
    leave_group::Response { throttle_time_ms: 0, error_code: code(outcome), members: members.collect() }
}

fn commit(reply: &CommitReply) -> offset_commit::Response<'_> {
    let topics = reply.topics.iter().map(|topic| offset_commit::ResponseTopics {
        name: text(&topic.name),
        topic_id: Uuid(topic.id),
        partitions: topic
            .partitions
            .iter()
            .map(|(partition, outcome)| offset_commit::ResponseTopicsPartitions {
                partition_index: *partition,
                error_code: code(*outcome),
            })
            .collect(),
    });
    offset_commit::Response { throttle_time_ms: 0, topics: topics.collect() }
}

fn fetch(replies: &[Reply], version: i16) -> offset_fetch::Response<'_> {
    let mut groups = replies.iter().map(|reply| match reply {
        Reply::Fetch(reply) => reply,
        other => unreachable!("OffsetFetch is not answered by {other:?}"),
    });
    if version >= FETCH_GROUPS_VERSION {
        let groups = groups.map(|reply| fetch_group(reply, version)).collect();
        return offset_fetch::Response { groups, ..Default::default() };
    }
    let reply = groups.next().expect("a request of these versions names one group");
    let shows_topics = reply.outcome == Outcome::Done || version < FETCH_GROUP_ERROR_VERSION;
    offset_fetch::Response {
        topics: if shows_topics { reply.topics.iter().map(fetch_topic).collect() } else { Vec::new() },
        error_code: code(reply.outcome),
        ..Default::default()
    }
}

fn fetch_topic(topic: &FetchedTopic) -> offset_fetch::ResponseTopics<'_> {
    let describe = |partition: &FetchedPartition| offset_fetch::ResponseTopicsPartitions {
        partition_index: partition.partition,
        committed_offset: partition.offset,
        committed_leader_epoch: partition.leader_epoch,
        metadata: Some(Cow::Owned(partition.metadata.to_string())),
        error_code: code(partition.outcome),
    };
    offset_fetch::ResponseTopics {
        name: text(&topic.name),
        partitions: topic.partitions.iter().map(describe).collect(),
    }
}

fn fetch_group(reply: &FetchReply, version: i16) -> offset_fetch::ResponseGroups<'_> {
    // Offsets that were committed before records had ids cannot be told where topics go by ids. Who asks for the id that
    // stands for none is told that it is unknown.
    let is_refused = |topic: &FetchedTopic| topic.partitions.iter().any(|it| it.outcome == Outcome::UnknownTopicId);
    let can_be_named =
        |topic: &&FetchedTopic| version < FETCH_TOPIC_ID_VERSION || topic.id != TopicId::default() || is_refused(topic);
    let describe = |partition: &FetchedPartition| offset_fetch::ResponseGroupsTopicsPartitions {
        partition_index: partition.partition,
        committed_offset: partition.offset,
        committed_leader_epoch: partition.leader_epoch,
        metadata: Some(Cow::Owned(partition.metadata.to_string())),
        error_code: code(partition.outcome),
        skein_end_offset: partition.lag.map_or(-1, |lag| lag.end_offset),
        skein_lag_ms: partition.lag.and_then(|lag| lag.age_ms).unwrap_or(-1),
    };
    let topics = reply.topics.iter().filter(can_be_named).map(|topic| offset_fetch::ResponseGroupsTopics {
        name: text(&topic.name),
        topic_id: Uuid(topic.id),
        partitions: topic.partitions.iter().map(describe).collect(),
    });
    offset_fetch::ResponseGroups {
        group_id: text(&reply.group),
        topics: if reply.outcome == Outcome::Done { topics.collect() } else { Vec::new() },
        error_code: code(reply.outcome),
    }
}

fn describe<'a>(plan: &Plan, replies: &'a [Reply]) -> describe_groups::Response<'a> {
    let groups = replies.iter().map(|reply| match reply {
        Reply::Describe(group) => describe_group(plan, group),
        other => unreachable!("DescribeGroups is not answered by {other:?}"),
    });
    describe_groups::Response { throttle_time_ms: 0, groups: groups.collect() }
}

fn describe_group<'a>(plan: &Plan, group: &'a DescribedGroup) -> describe_groups::ResponseGroups<'a> {
    let is_missing = group.outcome == Outcome::GroupNotFound;
    let outcome = if is_missing && plan.version < DESCRIBE_NOT_FOUND_VERSION { Outcome::Done } else { group.outcome };
    let shows_operations = plan.include_authorized_operations && outcome == Outcome::Done;
    let members = group.members.iter().map(|member| describe_groups::ResponseGroupsMembers {
        member_id: text(&member.member),
        group_instance_id: optional(member.instance.as_ref()),
        client_id: text(&member.client_id),
        client_host: text(&member.client_host),
        member_metadata: Cow::Borrowed(&member.metadata),
        member_assignment: Cow::Borrowed(&member.assignment),
    });
    describe_groups::ResponseGroups {
        error_code: code(outcome),
        error_message: is_missing.then(|| Cow::Owned(format!("Group {} not found.", group.group))),
        group_id: text(&group.group),
        group_state: Cow::Borrowed(group.state),
        protocol_type: text(&group.protocol_type),
        protocol_data: text(&group.protocol_name),
        members: members.collect(),
        authorized_operations: if shows_operations { GROUP_OPERATIONS } else { NO_OPERATIONS },
    }
}

/// All groups of all coordinators. One that went elsewhere has none here; another that fails makes the answer fail,
/// for groups would be missing in it.
fn list(replies: &[Reply]) -> list_groups::Response<'_> {
    let mut response = list_groups::Response::default();
    for reply in replies {
        let Reply::List(ListReply { outcome, groups }) = reply else {
            unreachable!("ListGroups is not answered by {reply:?}");
        };
        match outcome {
            Outcome::Done | Outcome::NotCoordinator => {}
            failed => response.error_code = code(*failed),
        }
        response.groups.extend(groups.iter().map(|group| list_groups::ResponseGroups {
            group_id: text(&group.group),
            protocol_type: text(&group.protocol_type),
            group_state: Cow::Borrowed(group.state),
            group_type: Cow::Borrowed(group.group_type),
        }));
    }
    if response.error_code != 0 {
        response.groups.clear();
    }
    response
}

fn delete<'a>(plan: &'a Plan, replies: &[Reply]) -> delete_groups::Response<'a> {
    let results = plan.groups.iter().zip(replies).map(|(group, reply)| match reply {
        Reply::Delete(outcome) => delete_groups::ResponseResults { group_id: text(group), error_code: code(*outcome) },
        other => unreachable!("DeleteGroups is not answered by {other:?}"),
    });
    delete_groups::Response { throttle_time_ms: 0, results: results.collect() }
}

fn delete_offsets(reply: &DeleteOffsetsReply) -> offset_delete::Response<'_> {
    let topics = reply.topics.iter().map(|(name, partitions)| offset_delete::ResponseTopics {
        name: text(name),
        partitions: partitions
            .iter()
            .map(|(partition, outcome)| offset_delete::ResponseTopicsPartitions {
                partition_index: *partition,
                error_code: code(*outcome),
            })
            .collect(),
    });
    offset_delete::Response { error_code: code(reply.outcome), topics: topics.collect(), ..Default::default() }
}
