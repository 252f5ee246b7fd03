//! Group requests as they stand on the wire: split by coordinator, merged into one response.
//!
//! ```text
//! body ─► by_shard ─┬─► body ─► split ─┬─► request ─► coordinator ─► reply ─┬─► merge ─► body ─┬─► gather ─► body
//!                   └─► …              └─► …                                └               … ─┘
//! ```
//! A request of one group is one part at each step. Those of several groups are divided by the groups' ids, first among
//! shards and then among the coordinators of a shard; responses keep the order of the request.

mod decode;
mod encode;
mod shards;

use std::sync::Arc;

use net::{ApiKey, DecodeError};

pub use shards::{by_shard, gather};

use super::{GroupOffset, Lag, Outcome, Reply, Request};
use crate::metadata::Image;

/// What a request is decoded against.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The client id of the request's header.
    pub client_id: &'a str,
    /// The host at the other end.
    pub client_host: &'a str,
    /// The metadata: which topics and partitions there are, by name and id.
    pub image: &'a Image,
    /// The partitions of `__consumer_offsets` whose coordinators are on this shard (ListGroups asks all of them).
    pub hosted: &'a [i32],
}

/// What [`merge`] needs to know of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    key: ApiKey,
    version: i16,
    /// DescribeGroups: the request wants to know what it may do.
    include_authorized_operations: bool,
    /// OffsetFetch: the request wants to know how far behind the offsets are.
    wants_lags: bool,
    /// DeleteGroups: the groups in the order of the parts, for their replies do not name them.
    groups: Vec<Arc<str>>,
}

/// Decodes a request and splits it by coordinator: parts as (partition of `__consumer_offsets`, request).
///
/// # Errors
/// If the body is not that of the key and version.
///
/// # Panics
/// If the key is not that of a group request: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, OffsetCommit, OffsetFetch,
/// DescribeGroups, ListGroups, DeleteGroups or OffsetDelete.
pub fn split(
    key: ApiKey,
    version: i16,
    body: &[u8],
    context: &Context<'_>,
) -> Result<(Plan, Vec<(i32, Request)>), DecodeError> {
    let mut plan = Plan { key, version, include_authorized_operations: false, wants_lags: false, groups: Vec::new() };
    let requests = match key {
        ApiKey::JoinGroup => vec![decode::join(version, body, context)?],
        ApiKey::SyncGroup => vec![decode::sync(version, body)?],
        ApiKey::Heartbeat => vec![decode::heartbeat(version, body)?],
        ApiKey::LeaveGroup => vec![decode::leave(version, body)?],
        ApiKey::OffsetCommit => vec![decode::commit(version, body, context)?],
        ApiKey::OffsetFetch => {
            let (groups, wants_lags) = decode::fetch(version, body, context)?;
            plan.wants_lags = wants_lags;
            groups
        }
        ApiKey::DescribeGroups => {
            let (groups, include_authorized_operations) = decode::describe(version, body)?;
            plan.include_authorized_operations = include_authorized_operations;
            groups
        }
        ApiKey::ListGroups => {
            let request = decode::list(version, body)?;
            let parts = context.hosted.iter().map(|&partition| (partition, request.clone()));
            return Ok((plan, parts.collect()));
        }
        ApiKey::DeleteGroups => decode::delete(version, body)?,
        ApiKey::OffsetDelete => vec![decode::delete_offsets(version, body, context)?],
        _ => unreachable!("{key} is no group request"),
    };
    if key == ApiKey::DeleteGroups {
        plan.groups = requests.iter().map(|request| request.group()).collect();
    }
    let partitions = decode::partition_count(context.image);
    let parts = requests.into_iter().map(|request| (super::partition_for(&request.group(), partitions), request));
    Ok((plan, parts.collect()))
}

/// The response's body out of the replies, one for each part in order.
///
/// # Panics
/// If the replies are not those to the parts that the plan came with.
#[must_use]
pub fn merge(plan: Plan, replies: Vec<Reply>) -> Vec<u8> {
    let mut out = Vec::new();
    encode::response(&plan, &replies, &mut out);
    out
}

/// The offsets whose lag has to be found before [`merge`], in the order in which [`set_lags`] takes what was found; none
/// if the request does not want to know.
#[must_use]
pub fn wanted_lags(plan: &Plan, replies: &[Reply]) -> Vec<GroupOffset> {
    let mut wanted = Vec::new();
    for reply in replies.iter().filter(|_| plan.wants_lags) {
        let Reply::Fetch(reply) = reply else { continue };
        for topic in &reply.topics {
            let committed = topic.partitions.iter().filter(|partition| partition.offset >= 0);
            wanted.extend(committed.map(|partition| GroupOffset {
                group: reply.group.clone(),
                topic: topic.name.clone(),
                partition: partition.partition,
                offset: partition.offset,
            }));
        }
    }
    wanted
}

/// Adds the lags of [`wanted_lags`] to the replies.
///
/// # Panics
/// If there are fewer than were wanted.
pub fn set_lags(replies: &mut [Reply], lags: impl IntoIterator<Item = Option<Lag>>) {
    let mut lags = lags.into_iter();
    for reply in replies {
        let Reply::Fetch(reply) = reply else { continue };
        let partitions = reply.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        for partition in partitions.filter(|partition| partition.offset >= 0) {
            partition.lag = lags.next().expect("a lag for each offset that was named");
        }
    }
}

/// The reply that refuses a request as a whole.
#[must_use]
pub fn refuse(request: &Request, outcome: Outcome) -> Reply {
    request.refused(outcome)
}

#[cfg(test)]
mod tests;
