//! Topics changed from outside: more partitions, fewer records.

use std::collections::BTreeMap;

use net::api::{create_partitions, delete_records};

use super::admin::TopicPartition;
use super::cluster::{Cluster, Node};
use super::code::Code;
use super::error::{Error, Result};

/// In [`delete_records_before`]: the offset after the last record, which deletes all of them.
pub const END: i64 = -1;

/// Gives a topic more partitions, so that it has `count`; or only looks whether it could have them.
///
/// # Errors
/// If the broker refuses.
pub fn create_partitions(cluster: &mut Cluster, topic: &str, count: i32, validate_only: bool) -> Result<()> {
    let request = create_partitions::Request {
        topics: vec![create_partitions::RequestTopics { name: topic.into(), count, assignments: None }],
        timeout_ms: cluster.settings().request_timeout.as_millis() as i32,
        validate_only,
    };
    cluster.retry(|cluster| {
        let answer = cluster.call(Node::Controller, &request)?;
        let response: create_partitions::Response<'_> = answer.read()?;
        let result = response.results.into_iter().next().unwrap_or_default();
        Code(result.error_code).ok().map_err(|code| Error::Refused {
            what: format!("give topic {topic:?} {count} partitions"),
            code,
            message: result.error_message.map(|message| message.into_owned()),
        })
    })
}

/// What became of a deletion in one partition: the offset of its first record now, or why nothing was deleted.
pub type Deletion = std::result::Result<i64, Code>;

/// Deletes the records before an offset, or before [`END`], of each partition.
///
/// # Errors
/// If a partition has no leader for too long. What a leader refuses is the result of its partition.
pub fn delete_records_before(
    cluster: &mut Cluster,
    offsets: &BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, Deletion>> {
    let mut deletions = BTreeMap::new();
    cluster.retry(|cluster| {
        let mut by_leader: BTreeMap<i32, Vec<(&TopicPartition, i64)>> = BTreeMap::new();
        let mut failure = None;
        for (partition, &offset) in offsets.iter().filter(|(partition, _)| !deletions.contains_key(*partition)) {
            match cluster.leader(&partition.topic, partition.index) {
                Some((leader, _)) => by_leader.entry(leader).or_default().push((partition, offset)),
                None => failure = Some((partition, Code::LEADER_NOT_AVAILABLE)),
            }
        }
        for (leader, wanted) in by_leader {
            let request = deletion_request(&wanted, cluster.settings().request_timeout.as_millis() as i32);
            let answer = cluster.call(Node::Id(leader), &request)?;
            let response: delete_records::Response<'_> = answer.read()?;
            for topic in response.topics {
                for result in topic.partitions {
                    let is_meant =
                        |(p, _): &&(&TopicPartition, i64)| *p.topic == *topic.name && p.index == result.partition_index;
                    let Some(&(partition, _)) = wanted.iter().find(is_meant) else { continue };
                    match Code(result.error_code).ok() {
                        Err(code) if code.is_retryable() => failure = Some((partition, code)),
                        outcome => drop(deletions.insert(partition.clone(), outcome.map(|()| result.low_watermark))),
                    }
                }
            }
        }
        let Some((partition, code)) = failure else { return Ok(()) };
        cluster.refresh_topics(&[partition.topic.to_string()])?;
        Err(Error::Refused { what: format!("delete records of {partition}"), code, message: None })
    })?;
    Ok(deletions)
}

fn deletion_request<'a>(wanted: &[(&'a TopicPartition, i64)], timeout_ms: i32) -> delete_records::Request<'a> {
    let mut topics: BTreeMap<&'a str, Vec<delete_records::RequestTopicsPartitions>> = BTreeMap::new();
    for &(partition, offset) in wanted {
        let wish = delete_records::RequestTopicsPartitions { partition_index: partition.index, offset };
        topics.entry(&partition.topic).or_default().push(wish);
    }
    let topic = |(name, partitions): (&'a str, Vec<_>)| delete_records::RequestTopics { name: name.into(), partitions };
    delete_records::Request { topics: topics.into_iter().map(topic).collect(), timeout_ms }
}
