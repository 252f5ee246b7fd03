//! Group requests as they stand on the wire: split by coordinator, merged into one response.
//!
//! The signatures below are what the shard calls (`shard/groups.rs`, `shard/scatter.rs`).

use net::{ApiKey, DecodeError};

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
#[derive(Debug)]
pub struct Plan;

/// Decodes a request and splits it by coordinator: parts as (partition of `__consumer_offsets`, request).
///
/// # Errors
/// If the body is not that of the key and version.
pub fn split(
    key: ApiKey,
    version: i16,
    body: &[u8],
    context: &Context<'_>,
) -> Result<(Plan, Vec<(i32, Request)>), DecodeError> {
    let _ = (key, version, body, context);
    Ok((Plan, Vec::new()))
}

/// The response's body out of the replies, one for each part in order.
pub fn merge(plan: Plan, replies: Vec<Reply>) -> Vec<u8> {
    let _ = (plan, replies);
    Vec::new()
}

/// The reply that refuses a request as a whole.
pub fn refuse(request: &Request, outcome: Outcome) -> Reply {
    let _ = request;
    Reply::Heartbeat(outcome)
}

/// Splits a request by the shards of its groups' coordinators (`shard_of`), as bodies of the same key and version:
/// several groups (DescribeGroups, OffsetFetch from 8 on, DeleteGroups) or all of them (ListGroups: every one of
/// `shards`). At least one part; a request of one group is one part with its body as it is.
///
/// # Errors
/// If the body is not that of the key and version.
pub fn by_shard(
    key: ApiKey,
    version: i16,
    body: &[u8],
    shards: usize,
    shard_of: impl Fn(&str) -> usize,
) -> Result<Vec<(usize, Vec<u8>)>, DecodeError> {
    let _ = (key, version, shards, shard_of);
    Ok(vec![(0, body.to_vec())])
}

/// One response body out of those of [`by_shard`]'s parts, in any order: groups in the order of the request (`body`).
///
/// # Errors
/// If a part's body is not a response of the key and version (an empty one stands for a part that failed).
pub fn gather(key: ApiKey, version: i16, body: &[u8], parts: &[Vec<u8>]) -> Result<Vec<u8>, DecodeError> {
    let _ = (key, version, body);
    Ok(parts.concat())
}
