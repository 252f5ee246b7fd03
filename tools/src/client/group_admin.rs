//! What is told to groups from outside: lags, offsets to start from, deletion.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use net::api::{delete_groups, fetch, offset_commit, offset_delete, offset_fetch};

use super::admin::{self, TopicPartition, refused};
use super::cluster::{Cluster, Node};
use super::code::Code;
use super::consumer::Fetched;
use super::error::{Error, Result};
use super::settings::Isolation;

/// The most bytes of the answer to a fetch of one record; brokers send the whole batch that holds it all the same.
const RECORD_BYTES: i32 = 1;

/// What a group has committed of a partition, and what is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The next offset to read.
    pub committed: i64,
    /// The offset after the last record; none if the partition is not there any more.
    pub end: Option<i64>,
    /// The age of the oldest record not yet consumed, in ms; 0 if there is none.
    pub age_ms: Option<i64>,
}

impl Progress {
    /// Records not yet consumed.
    pub fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed).max(0))
    }
}

/// How far a group is in every partition that it has committed an offset of. A skein broker says all of it at once; of
/// others the ends and the oldest records are asked for.
///
/// # Errors
/// If a broker does not answer, or refuses.
pub fn progress(cluster: &mut Cluster, group: &str, now_ms: i64) -> Result<BTreeMap<TopicPartition, Progress>> {
    let coordinator = cluster.coordinator(group)?;
    let request = offset_fetch::Request {
        group_id: group.into(),
        topics: None,
        groups: vec![offset_fetch::RequestGroups { group_id: group.into(), topics: None, ..Default::default() }],
        skein_lags: true,
        ..Default::default()
    };
    let mut found = cluster.retry(|cluster| {
        let answer = cluster.call(Node::Id(coordinator), &request)?;
        read_progress(&answer.read()?, group)
    })?;
    let topics: std::collections::BTreeSet<String> = found.keys().map(|of| of.topic.to_string()).collect();
    cluster.refresh_topics(&topics.into_iter().collect::<Vec<_>>())?;
    let exists = |cluster: &Cluster, of: &TopicPartition| cluster.leader(&of.topic, of.index).is_some();
    let unknown: Vec<TopicPartition> = found
        .iter()
        .filter(|(of, progress)| progress.end.is_none() && exists(cluster, of))
        .map(|(of, _)| of.clone())
        .collect();
    let ends = admin::list_offsets(cluster, &unknown, admin::LATEST, Isolation::ReadUncommitted)?;
    for (of, end) in ends {
        let Some(progress) = found.get_mut(&of) else { continue };
        progress.end = Some(end);
        progress.age_ms = match progress.lag() {
            Some(0) => Some(0),
            _ => record_time(cluster, &of, progress.committed)?.map(|made_ms| (now_ms - made_ms).max(0)),
        };
    }
    Ok(found)
}

fn read_progress(response: &offset_fetch::Response<'_>, group: &str) -> Result<BTreeMap<TopicPartition, Progress>> {
    let what = || format!("read the committed offsets of group {group:?}");
    refused(response.error_code, None, what)?;
    let mut found = BTreeMap::new();
    let mut put = |topic: &str, index, code, committed, end: i64, age_ms: i64| {
        refused(code, None, what)?;
        if committed >= 0 {
            let known = |number: i64| (number >= 0).then_some(number);
            let progress = Progress { committed, end: known(end), age_ms: known(age_ms) };
            found.insert(TopicPartition { topic: topic.into(), index }, progress);
        }
        Ok(())
    };
    for topic in &response.topics {
        for of in &topic.partitions {
            put(&topic.name, of.partition_index, of.error_code, of.committed_offset, -1, -1)?;
        }
    }
    for group in &response.groups {
        refused(group.error_code, None, what)?;
        for topic in &group.topics {
            for of in &topic.partitions {
                let (end, age_ms) = (of.skein_end_offset, of.skein_lag_ms);
                put(&topic.name, of.partition_index, of.error_code, of.committed_offset, end, age_ms)?;
            }
        }
    }
    Ok(found)
}

/// When the record at an offset, or the next one that is there, was made: ms since 1970. Nothing if it does not say, or
/// is not there any more.
fn record_time(cluster: &mut Cluster, of: &TopicPartition, offset: i64) -> Result<Option<i64>> {
    let Some((leader, _)) = cluster.leader(&of.topic, of.index) else { return Ok(None) };
    let partition = fetch::RequestTopicsPartitions {
        partition: of.index,
        fetch_offset: offset,
        partition_max_bytes: RECORD_BYTES,
        ..Default::default()
    };
    let request = fetch::Request {
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: RECORD_BYTES,
        session_epoch: -1,
        topics: vec![fetch::RequestTopics {
            topic: of.topic.as_ref().into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = cluster.call(Node::Id(leader), &request)?;
    let response: fetch::Response<'_> = answer.read()?;
    let partition = response.responses.into_iter().flat_map(|topic| topic.partitions).next().unwrap_or_default();
    let bytes = partition.records.filter(|_| partition.error_code == 0).unwrap_or_default().into_owned();
    let mut made_ms = None;
    // A cut or damaged batch has no time.
    let _ = Fetched::of(of.clone(), bytes).visit(false, |message| {
        if message.offset < offset {
            return ControlFlow::Continue(());
        }
        made_ms = Some(message.timestamp).filter(|&timestamp| timestamp >= 0);
        ControlFlow::Break(())
    });
    Ok(made_ms)
}

/// Commits offsets of a group without members.
///
/// # Errors
/// If the coordinator refuses one of them; others may be committed.
pub fn commit_offsets(cluster: &mut Cluster, group: &str, offsets: &BTreeMap<TopicPartition, i64>) -> Result<()> {
    let mut topics: BTreeMap<&str, Vec<offset_commit::RequestTopicsPartitions<'_>>> = BTreeMap::new();
    for (of, &committed_offset) in offsets {
        topics.entry(&of.topic).or_default().push(offset_commit::RequestTopicsPartitions {
            partition_index: of.index,
            committed_offset,
            committed_leader_epoch: -1,
            committed_metadata: Some("".into()),
        });
    }
    let topic = |(name, partitions): (&str, _)| offset_commit::RequestTopics {
        name: name.to_owned().into(),
        partitions,
        ..Default::default()
    };
    let request = offset_commit::Request {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        retention_time_ms: -1,
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    };
    cluster.retry(|cluster| {
        let coordinator = cluster.coordinator(group)?;
        let answer = cluster.call(Node::Id(coordinator), &request)?;
        let response: offset_commit::Response<'_> = answer.read()?;
        for topic in &response.topics {
            for of in &topic.partitions {
                let what = || format!("commit an offset of {}-{} for group {group:?}", topic.name, of.partition_index);
                refused(of.error_code, None, what)?;
            }
        }
        Ok(())
    })
}

/// Deletes a group that has no members, with its offsets.
///
/// # Errors
/// If the coordinator refuses.
pub fn delete_group(cluster: &mut Cluster, group: &str) -> Result<()> {
    let request = delete_groups::Request { groups_names: vec![group.into()] };
    cluster.retry(|cluster| {
        let coordinator = cluster.coordinator(group)?;
        let answer = cluster.call(Node::Id(coordinator), &request)?;
        let response: delete_groups::Response<'_> = answer.read()?;
        let result = response.results.into_iter().next().unwrap_or_default();
        refused(result.error_code, None, || format!("delete group {group:?}"))
    })
}

/// Deletes committed offsets. Each partition has an outcome of its own.
///
/// # Errors
/// If the coordinator refuses as a whole.
pub fn delete_offsets(
    cluster: &mut Cluster,
    group: &str,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, Code>> {
    let mut topics: BTreeMap<&str, Vec<offset_delete::RequestTopicsPartitions>> = BTreeMap::new();
    for of in partitions {
        let partition = offset_delete::RequestTopicsPartitions { partition_index: of.index };
        topics.entry(&of.topic).or_default().push(partition);
    }
    let topic = |(name, partitions)| offset_delete::RequestTopics { name: Cow::Borrowed(name), partitions };
    let request = offset_delete::Request { group_id: group.into(), topics: topics.into_iter().map(topic).collect() };
    cluster.retry(|cluster| {
        let coordinator = cluster.coordinator(group)?;
        let answer = cluster.call(Node::Id(coordinator), &request)?;
        let response: offset_delete::Response<'_> = answer.read()?;
        refused(response.error_code, None, || format!("delete offsets of group {group:?}"))?;
        let mut outcomes = BTreeMap::new();
        for topic in &response.topics {
            for of in &topic.partitions {
                let name = TopicPartition { topic: topic.name.as_ref().into(), index: of.partition_index };
                outcomes.insert(name, Code(of.error_code));
            }
        }
        match outcomes.len() == partitions.len() {
            true => Ok(outcomes),
            false => Err(Error::Refused {
                what: format!("delete offsets of group {group:?}"),
                code: Code::UNKNOWN_SERVER_ERROR,
                message: Some("the broker did not answer for every partition".to_owned()),
            }),
        }
    })
}
