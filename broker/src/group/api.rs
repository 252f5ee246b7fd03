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

use super::{Outcome, Reply, Request};
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
    let mut plan = Plan { key, version, include_authorized_operations: false, groups: Vec::new() };
    let requests = match key {
        ApiKey::JoinGroup => vec![decode::join(version, body, context)?],
        ApiKey::SyncGroup => vec![decode::sync(version, body)?],
        ApiKey::Heartbeat => vec![decode::heartbeat(version, body)?],
        ApiKey::LeaveGroup => vec![decode::leave(version, body)?],
        ApiKey::OffsetCommit => vec![decode::commit(version, body, context)?],
        ApiKey::OffsetFetch => decode::fetch(version, body, context)?,
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

/// The reply that refuses a request as a whole.
#[must_use]
pub fn refuse(request: &Request, outcome: Outcome) -> Reply {
    request.refused(outcome)
}

#[cfg(test)]
mod tests;
