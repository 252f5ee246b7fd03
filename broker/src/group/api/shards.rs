//! Requests of several groups, divided among the shards of their coordinators, and the responses put together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use net::api::{delete_groups, describe_groups, list_groups, offset_fetch};
use net::{ApiKey, DecodeError, Message, Reader};

use super::decode::FETCH_GROUPS_VERSION;

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
    match key {
        ApiKey::ListGroups => Ok((0..shards).map(|shard| (shard, body.to_vec())).collect()),
        ApiKey::DescribeGroups => {
            let request = describe_groups::Request::from_prefix(body, version)?;
            let parts = divide(&request.groups, |group| shard_of(group));
            Ok(encode(parts, |groups| describe_groups::Request { groups, ..request.clone() }, version))
        }
        ApiKey::DeleteGroups => {
            let request = delete_groups::Request::from_prefix(body, version)?;
            let parts = divide(&request.groups_names, |group| shard_of(group));
            Ok(encode(parts, |groups_names| delete_groups::Request { groups_names }, version))
        }
        ApiKey::OffsetFetch if version >= FETCH_GROUPS_VERSION => {
            let request = offset_fetch::Request::from_prefix(body, version)?;
            let parts = divide(&request.groups, |group| shard_of(&group.group_id));
            let rest = offset_fetch::Request { groups: Vec::new(), ..request.clone() };
            Ok(encode(parts, |groups| offset_fetch::Request { groups, ..rest.clone() }, version))
        }
        _ => {
            let group = first_string(key, version, body)?;
            Ok(vec![(shard_of(group), body.to_vec())])
        }
    }
}

/// The group id, which stands first in every request of one group.
fn first_string(key: ApiKey, version: i16, body: &[u8]) -> Result<&str, DecodeError> {
    Reader::new(body).string(key.is_flexible(version))
}

/// Elements by shard, in their order; one empty part on the first shard if there are none.
fn divide<T: Clone>(elements: &[T], shard_of: impl Fn(&T) -> usize) -> BTreeMap<usize, Vec<T>> {
    let mut parts: BTreeMap<usize, Vec<T>> = BTreeMap::new();
    for element in elements {
        parts.entry(shard_of(element)).or_default().push(element.clone());
    }
    if parts.is_empty() {
        parts.insert(0, Vec::new());
    }
    parts
}

fn encode<'a, T, M: Message<'a>>(
    parts: BTreeMap<usize, Vec<T>>,
    request: impl Fn(Vec<T>) -> M,
    version: i16,
) -> Vec<(usize, Vec<u8>)> {
    let encode = |(shard, elements)| {
        let mut out = Vec::new();
        request(elements).encode(&mut out, version);
        (shard, out)
    };
    parts.into_iter().map(encode).collect()
}

/// One response body out of those of [`by_shard`]'s parts, in any order: groups in the order of the request (`body`).
///
/// # Errors
/// If a part's body is not a response of the key and version (an empty one stands for a part that failed).
pub fn gather(key: ApiKey, version: i16, body: &[u8], parts: &[Vec<u8>]) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    match key {
        ApiKey::ListGroups => {
            let mut all = list_groups::Response::default();
            for part in parts {
                let response = list_groups::Response::from_bytes(part, version)?;
                if response.error_code != 0 {
                    all.error_code = response.error_code;
                }
                all.groups.extend(response.groups);
            }
            if all.error_code != 0 {
                // Groups would be missing, and nobody could tell which.
                all.groups.clear();
            }
            all.encode(&mut out, version);
        }
        ApiKey::DescribeGroups => {
            let request = describe_groups::Request::from_prefix(body, version)?;
            let mut described = Vec::new();
            for part in parts {
                described.extend(describe_groups::Response::from_bytes(part, version)?.groups);
            }
            let names = request.groups.iter().map(|group| &**group);
            let groups = in_order(names, described, |group| group.group_id.to_string());
            describe_groups::Response { groups, ..Default::default() }.encode(&mut out, version);
        }
        ApiKey::DeleteGroups => {
            let request = delete_groups::Request::from_prefix(body, version)?;
            let mut deleted = Vec::new();
            for part in parts {
                deleted.extend(delete_groups::Response::from_bytes(part, version)?.results);
            }
            let mut seen = BTreeSet::new();
            let names = request.groups_names.iter().map(|group| &**group).filter(|group| seen.insert(*group));
            let results = in_order(names, deleted, |group| group.group_id.to_string());
            delete_groups::Response { results, ..Default::default() }.encode(&mut out, version);
        }
        ApiKey::OffsetFetch if version >= FETCH_GROUPS_VERSION => {
            let request = offset_fetch::Request::from_prefix(body, version)?;
            let mut fetched = Vec::new();
            for part in parts {
                fetched.extend(offset_fetch::Response::from_bytes(part, version)?.groups);
            }
            let names = request.groups.iter().map(|group| &*group.group_id);
            let groups = in_order(names, fetched, |group| group.group_id.to_string());
            offset_fetch::Response { groups, ..Default::default() }.encode(&mut out, version);
        }
        // One group, one part.
        _ => out = parts.concat(),
    }
    Ok(out)
}

/// Answers in the order in which they were asked for. Several of one name keep their own order.
fn in_order<'a, T>(names: impl Iterator<Item = &'a str>, answers: Vec<T>, name: impl Fn(&T) -> String) -> Vec<T> {
    let mut by_name: BTreeMap<String, VecDeque<T>> = BTreeMap::new();
    for answer in answers {
        by_name.entry(name(&answer)).or_default().push_back(answer);
    }
    names.filter_map(|name| by_name.get_mut(name)?.pop_front()).collect()
}
