//! ElectLeaders (key 43), AlterPartitionReassignments (key 45) and ListPartitionReassignments (key 46).
//!
//! Every partition is led by its preferred replica, the only one there is. So no election is ever needed, a
//! reassignment is complete when it is asked for, and none is ever under way.

use net::api::{
    alter_partition_reassignments as reassign, elect_leaders as elect, list_partition_reassignments as list,
};

use super::Context;
use crate::error_code::ErrorCode;
use crate::metadata::{Image, Partition};

/// Election types of ElectLeaders (KIP-460): the preferred replica, and any replica where none is in sync.
const ELECTION_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

/// Answers an ElectLeaders request, versions 0 to 2. Null partitions are all of them, of which only those are told
/// that an election changed: none.
pub fn elect_leaders(request: &elect::Request<'_>, context: &Context<'_>) -> elect::Response<'static> {
    // The type is looked at where there is something to elect.
    let nothing_asked = request.topic_partitions.as_ref().is_some_and(Vec::is_empty);
    let known = nothing_asked || ELECTION_TYPES.contains(&request.election_type);
    let unknown_type = || {
        let message = format!(
            "Election type {} does not exist; 0 elects the preferred replica, 1 any replica where none is in sync.",
            request.election_type
        );
        (ErrorCode::InvalidRequest, message)
    };
    let replica_election_results = match &request.topic_partitions {
        None if known => context.image.topics().map(|topic| election(&topic.name, Vec::new())).collect(),
        None => Vec::new(),
        Some(topics) => topics
            .iter()
            .map(|topic| {
                let elect = |&partition_id: &i32| {
                    let result = if known { no_election(context, &topic.topic, partition_id) } else { unknown_type() };
                    elect::ResponseReplicaElectionResultsPartitionResult {
                        partition_id,
                        error_code: result.0.code(),
                        error_message: Some(result.1.into()),
                    }
                };
                election(&topic.topic, topic.partitions.iter().map(elect).collect())
            })
            .collect(),
    };
    let error_code = if known { ErrorCode::None } else { ErrorCode::InvalidRequest }.code();
    elect::Response { error_code, replica_election_results, ..elect::Response::default() }
}

fn election(
    topic: &str,
    partition_result: Vec<elect::ResponseReplicaElectionResultsPartitionResult<'static>>,
) -> elect::ResponseReplicaElectionResults<'static> {
    elect::ResponseReplicaElectionResults { topic: topic.to_owned().into(), partition_result }
}

fn no_election(context: &Context<'_>, topic: &str, partition: i32) -> (ErrorCode, String) {
    match look_up(context.image, topic, partition) {
        Ok(found) if context.leadership(found).error != ErrorCode::None => {
            let message = "The data directory of the only replica is offline: bring it back, and restart the broker.";
            (ErrorCode::EligibleLeadersNotAvailable, message.to_owned())
        }
        Ok(found) => {
            assert_eq!(found.replicas.first(), Some(&found.leader), "the preferred replica leads");
            let message = format!("Broker {} leads already, as the preferred replica.", found.leader);
            (ErrorCode::ElectionNotNeeded, message)
        }
        Err(message) => (ErrorCode::UnknownTopicOrPartition, message),
    }
}

fn look_up<'a>(image: &'a Image, topic: &str, partition: i32) -> Result<&'a Partition, String> {
    let found = image.topic(topic).ok_or_else(|| format!("There is no topic \"{topic}\"."))?;
    let count = found.partitions.len();
    found
        .partition(partition)
        .ok_or_else(|| format!("Topic \"{topic}\" has {count} partitions, and none is {partition}."))
}

/// Answers an AlterPartitionReassignments request, versions 0 and 1 (KIP-455). The replicas that a partition has are
/// the only ones it can get.
pub fn alter_partition_reassignments(
    request: &reassign::Request<'_>,
    context: &Context<'_>,
) -> reassign::Response<'static> {
    // Kafka's answer to nothing is the default one, whatever else the request says.
    if request.topics.is_empty() {
        return reassign::Response::default();
    }
    let responses = request.topics.iter().map(|topic| reassign::ResponseResponses {
        name: topic.name.clone().into_owned().into(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| {
                let result = check(context.image, &topic.name, partition);
                reassign::ResponseResponsesPartitions {
                    partition_index: partition.partition_index,
                    error_code: result.as_ref().map_or_else(|(code, _)| *code, |()| ErrorCode::None).code(),
                    error_message: result.err().map(|(_, message)| message.into()),
                }
            })
            .collect(),
    });
    reassign::Response {
        allow_replication_factor_change: request.allow_replication_factor_change,
        error_message: None,
        responses: responses.collect(),
        ..reassign::Response::default()
    }
}

fn check(image: &Image, topic: &str, wanted: &reassign::RequestTopicsPartitions) -> Result<(), (ErrorCode, String)> {
    let index = wanted.partition_index;
    let found = look_up(image, topic, index).map_err(|message| (ErrorCode::UnknownTopicOrPartition, message))?;
    match &wanted.replicas {
        Some(replicas) => image
            .check_replicas(index, replicas, found.replicas.len())
            .map_err(|message| (ErrorCode::InvalidReplicaAssignment, message)),
        // Null takes a reassignment back.
        None => {
            let message = format!("No reassignment of \"{topic}\"-{index} is under way.");
            Err((ErrorCode::NoReassignmentInProgress, message))
        }
    }
}

/// Answers a ListPartitionReassignments request, version 0: none is under way.
pub fn list_partition_reassignments(_request: &list::Request<'_>) -> list::Response<'static> {
    list::Response { error_message: None, ..list::Response::default() }
}
