//! What a member of a consumer group says to its coordinator.

use std::time::Instant;

use net::ApiKey;
use net::api::{find_coordinator, heartbeat, join_group, leave_group, offset_commit, sync_group};
use net::wire::put;
use net::{DecodeError, Reader};

use super::{Admin, READY_WAIT, RETRY_PAUSE, decode};
use crate::error::Error;

const FIND_COORDINATOR_VERSION: i16 = 3;
const JOIN_GROUP_VERSION: i16 = 7;
const SYNC_GROUP_VERSION: i16 = 5;
const HEARTBEAT_VERSION: i16 = 4;
const LEAVE_GROUP_VERSION: i16 = 4;
const OFFSET_COMMIT_VERSION: i16 = 8;

const SESSION_TIMEOUT_MS: i32 = 45_000;

const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "range";

// Kafka's errors that a member answers by joining again.
const MEMBER_ID_REQUIRED: i16 = 79;
const REBALANCE_IN_PROGRESS: i16 = 27;
const ILLEGAL_GENERATION: i16 = 22;

/// A member's place in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) member_id: String,
    pub(crate) generation: i32,
    pub(crate) partitions: Vec<i32>,
}

fn refused<T>(api: ApiKey, code: i16) -> Result<T, Error> {
    Err(Error::Refused { api, code })
}

impl Admin {
    /// Waits until the group has a coordinator. It is taken to be the broker that was asked: a node measured alone.
    pub(crate) fn find_coordinator(&mut self, group: &str) -> Result<(), Error> {
        let request = find_coordinator::Request { key: group.to_owned().into(), ..Default::default() };
        let deadline = Instant::now() + READY_WAIT;
        loop {
            let frame = self.call(&request, FIND_COORDINATOR_VERSION)?;
            let response: find_coordinator::Response<'_> = decode(&frame, FIND_COORDINATOR_VERSION)?;
            match response.error_code {
                0 => return Ok(()),
                code if Instant::now() > deadline => return refused(ApiKey::FindCoordinator, code),
                _ => std::thread::sleep(RETRY_PAUSE),
            }
        }
    }

    /// Joins the group, and takes part in sharing the topic's partitions: the leader gives each member every nth.
    pub(crate) fn join_group(
        &mut self,
        group: &str,
        member_id: &str,
        topic: &str,
        partitions: i32,
    ) -> Result<Membership, Error> {
        let mut member_id = member_id.to_owned();
        let deadline = Instant::now() + READY_WAIT;
        while Instant::now() < deadline {
            let frame = self.call(&join_request(group, &member_id, topic), JOIN_GROUP_VERSION)?;
            let response: join_group::Response<'_> = decode(&frame, JOIN_GROUP_VERSION)?;
            match response.error_code {
                0 => {}
                MEMBER_ID_REQUIRED => {
                    member_id = response.member_id.into_owned();
                    continue;
                }
                REBALANCE_IN_PROGRESS => continue,
                code => return refused(ApiKey::JoinGroup, code),
            }
            member_id = response.member_id.clone().into_owned();
            let generation = response.generation_id;
            let count = response.members.len() as i32;
            let assignments = response.members.iter().enumerate().map(|(number, member)| {
                let share: Vec<i32> = (0..partitions).filter(|partition| partition % count == number as i32).collect();
                sync_group::RequestAssignments {
                    member_id: member.member_id.clone().into_owned().into(),
                    assignment: encode_assignment(topic, &share).into(),
                }
            });
            let request = sync_group::Request {
                group_id: group.to_owned().into(),
                generation_id: generation,
                member_id: member_id.clone().into(),
                group_instance_id: None,
                protocol_type: Some(PROTOCOL_TYPE.into()),
                protocol_name: Some(PROTOCOL.into()),
                assignments: assignments.collect(),
            };
            let frame = self.call(&request, SYNC_GROUP_VERSION)?;
            let response: sync_group::Response<'_> = decode(&frame, SYNC_GROUP_VERSION)?;
            match response.error_code {
                0 => {
                    let partitions =
                        decode_assignment(&response.assignment).map_err(Error::undecodable(ApiKey::SyncGroup))?;
                    return Ok(Membership { member_id, generation, partitions });
                }
                REBALANCE_IN_PROGRESS | ILLEGAL_GENERATION => {}
                code => return refused(ApiKey::SyncGroup, code),
            }
        }
        Err(Error::Server { what: format!("does not let anybody into group {group}") })
    }

    /// Shows that the member is there; says whether it has to join again.
    pub(crate) fn heartbeat(&mut self, group: &str, membership: &Membership) -> Result<bool, Error> {
        let request = heartbeat::Request {
            group_id: group.to_owned().into(),
            generation_id: membership.generation,
            member_id: membership.member_id.clone().into(),
            group_instance_id: None,
        };
        let frame = self.call(&request, HEARTBEAT_VERSION)?;
        let response: heartbeat::Response = decode(&frame, HEARTBEAT_VERSION)?;
        match response.error_code {
            0 => Ok(false),
            REBALANCE_IN_PROGRESS | ILLEGAL_GENERATION => Ok(true),
            code => refused(ApiKey::Heartbeat, code),
        }
    }

    /// Stores how far the member has read.
    pub(crate) fn commit_offsets(
        &mut self,
        group: &str,
        membership: &Membership,
        topic: &str,
        offsets: &[(i32, i64)],
    ) -> Result<(), Error> {
        let partition = |&(partition_index, committed_offset): &(i32, i64)| offset_commit::RequestTopicsPartitions {
            partition_index,
            committed_offset,
            committed_leader_epoch: -1,
            committed_metadata: None,
        };
        let request = offset_commit::Request {
            group_id: group.to_owned().into(),
            generation_id_or_member_epoch: membership.generation,
            member_id: membership.member_id.clone().into(),
            topics: vec![offset_commit::RequestTopics {
                name: topic.to_owned().into(),
                partitions: offsets.iter().map(partition).collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let frame = self.call(&request, OFFSET_COMMIT_VERSION)?;
        let response: offset_commit::Response<'_> = decode(&frame, OFFSET_COMMIT_VERSION)?;
        let codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
        match codes.into_iter().find(|&code| code != 0) {
            None | Some(REBALANCE_IN_PROGRESS | ILLEGAL_GENERATION) => Ok(()),
            Some(code) => refused(ApiKey::OffsetCommit, code),
        }
    }

    /// Leaves the group.
    pub(crate) fn leave_group(&mut self, group: &str, membership: &Membership) -> Result<(), Error> {
        let member =
            leave_group::RequestMembers { member_id: membership.member_id.clone().into(), ..Default::default() };
        let request =
            leave_group::Request { group_id: group.to_owned().into(), members: vec![member], ..Default::default() };
        let frame = self.call(&request, LEAVE_GROUP_VERSION)?;
        let response: leave_group::Response<'_> = decode(&frame, LEAVE_GROUP_VERSION)?;
        if response.error_code == 0 { Ok(()) } else { refused(ApiKey::LeaveGroup, response.error_code) }
    }
}

fn join_request(group: &str, member_id: &str, topic: &str) -> join_group::Request<'static> {
    let mut metadata = Vec::new();
    put::i16(&mut metadata, 0);
    put::count(&mut metadata, 1, false);
    put::string(&mut metadata, topic, false);
    put::nullable_bytes(&mut metadata, None, false);
    join_group::Request {
        group_id: group.to_owned().into(),
        session_timeout_ms: SESSION_TIMEOUT_MS,
        rebalance_timeout_ms: SESSION_TIMEOUT_MS,
        member_id: member_id.to_owned().into(),
        group_instance_id: None,
        protocol_type: PROTOCOL_TYPE.into(),
        protocols: vec![join_group::RequestProtocols { name: PROTOCOL.into(), metadata: metadata.into() }],
        reason: None,
    }
}

/// Kafka's ConsumerProtocolAssignment: version, topics with their partitions, no user data.
fn encode_assignment(topic: &str, partitions: &[i32]) -> Vec<u8> {
    let mut out = Vec::new();
    put::i16(&mut out, 0);
    put::count(&mut out, 1, false);
    put::string(&mut out, topic, false);
    put::count(&mut out, partitions.len(), false);
    partitions.iter().for_each(|&partition| put::i32(&mut out, partition));
    put::nullable_bytes(&mut out, None, false);
    out
}

fn decode_assignment(bytes: &[u8]) -> Result<Vec<i32>, DecodeError> {
    const TOPIC_BYTES_MIN: usize = 6;
    let mut reader = Reader::new(bytes);
    reader.i16()?;
    let mut partitions = Vec::new();
    for _ in 0..reader.count(false, TOPIC_BYTES_MIN)? {
        reader.string(false)?;
        for _ in 0..reader.count(false, 4)? {
            partitions.push(reader.i32()?);
        }
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_back() {
        assert_eq!(decode_assignment(&encode_assignment("t", &[1, 5])).expect("an assignment"), [1, 5]);
    }
}
