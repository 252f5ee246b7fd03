//! Every version of every group request, end to end in bytes: a valid request is served, and its response decodes
//! without a byte left over, here and with the oracle.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages as oracle;
use kafka_protocol::protocol::Decodable;
use net::api::{
    delete_groups, describe_groups, heartbeat, join_group, leave_group, list_groups, offset_commit, offset_fetch,
    sync_group,
};
use net::{ApiKey, Message, Uuid};

use super::*;
use crate::config::{Overrides, Settings};
use crate::group::{Config, Coordinator, Effects, Now, Token, partition_for};
use crate::metadata::names::CONSUMER_OFFSETS;
use crate::metadata::record::{NewPartition, Record};

const TOPIC_ID: Uuid = Uuid([7; 16]);
const PARTITIONS: i32 = 4;
const NOW: Now = Now { now_ms: 1_000, wall_ms: 1_700_000_000_000 };

/// A node with one topic `t` of two partitions, and four coordinators that append at once.
struct Node {
    image: Image,
    coordinators: BTreeMap<i32, Coordinator>,
    tokens: u64,
}

impl Node {
    fn new() -> Node {
        let mut image = Image::empty(1, 1, Arc::new(Settings::default()));
        let mut create = |name: &str, topic_id: Uuid, first_log_id: u64, count: u64| {
            let partition =
                |index| NewPartition { log_id: first_log_id + index, leader: 1, leader_epoch: 0, replicas: vec![1] };
            let partitions = (0..count).map(partition).collect();
            let name = name.to_owned();
            let record = Record::TopicCreated { name, topic_id, configs: Overrides::new(), created_ms: 0, partitions };
            image.apply(&record).expect("a good record");
        };
        create("t", TOPIC_ID, 1, 2);
        create(CONSUMER_OFFSETS, Uuid([9; 16]), 3, PARTITIONS as u64);
        let mut coordinators = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let mut coordinator = Coordinator::new(Config::default(), partition as u64);
            coordinator.loaded(NOW, &mut Effects::default());
            coordinators.insert(partition, coordinator);
        }
        Node { image, coordinators, tokens: 0 }
    }

    /// Serves a body as a shard does.
    fn serve(&mut self, key: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
        let hosted: Vec<i32> = self.coordinators.keys().copied().collect();
        let context = Context { client_id: "client", client_host: "127.0.0.1", image: &self.image, hosted: &hosted };
        let (plan, parts) = split(key, version, body, &context).expect("a good request");
        let mut replies: BTreeMap<Token, Reply> = BTreeMap::new();
        let first = self.tokens;
        for (partition, request) in parts {
            let token = Token(self.tokens);
            self.tokens += 1;
            let coordinator = self.coordinators.get_mut(&partition).expect("hosted");
            let mut effects = Effects::default();
            coordinator.handle(token, request, NOW, &mut effects);
            coordinator.tick(NOW, &mut effects);
            while !effects.appends.is_empty() {
                let append = effects.appends.remove(0);
                coordinator.appended(append.id, NOW, &mut effects);
            }
            replies.extend(effects.replies);
        }
        assert!(replies.keys().eq(&(first..self.tokens).map(Token).collect::<Vec<_>>()), "each part has its reply");
        merge(plan, replies.into_values().collect())
    }

    fn ask<'a, R: net::Request<'a>>(&mut self, version: i16, request: &R) -> Vec<u8> {
        let mut body = Vec::new();
        request.encode(&mut body, version);
        self.serve(R::KEY, version, &body)
    }
}

/// Decodes with the oracle, to the last byte.
fn oracle<M: Decodable>(body: &[u8], version: i16) -> M {
    let mut bytes = body;
    let message = M::decode(&mut bytes, version).expect("the oracle reads it");
    assert!(bytes.is_empty(), "version {version} has {} bytes left over", bytes.len());
    message
}

fn subscription() -> Vec<u8> {
    b"\0\x01\0\0\0\x01\0\x01t\0\0\0\0\0\0\0\0".to_vec()
}

fn join_request<'a>(group: &'a str, member: &'a str) -> join_group::Request<'a> {
    join_group::Request {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![join_group::RequestProtocols { name: "range".into(), metadata: subscription().into() }],
        ..Default::default()
    }
}

/// Joins a group with one member in this version: its id and generation.
fn join(node: &mut Node, version: i16, group: &str) -> (String, i32) {
    let body = node.ask(version, &join_request(group, ""));
    oracle::<oracle::JoinGroupResponse>(&body, version);
    let reply = join_group::Response::from_bytes(&body, version).expect("its own response");
    if version < 4 {
        assert_eq!((reply.error_code, reply.members.len()), (0, 1));
        return (reply.member_id.to_string(), reply.generation_id);
    }
    assert_eq!(reply.error_code, 79);
    assert_eq!(reply.protocol_name.as_deref(), if version < 7 { Some("") } else { None });
    let member = reply.member_id.to_string();
    let body = node.ask(version, &join_request(group, &member));
    let reply = join_group::Response::from_bytes(&body, version).expect("its own response");
    assert_eq!((reply.error_code, &*reply.leader, reply.protocol_name.as_deref()), (0, &*member, Some("range")));
    (member, reply.generation_id)
}

fn sync(node: &mut Node, version: i16, group: &str, member: &str, generation: i32) -> sync_group::Response<'static> {
    let request = sync_group::Request {
        group_id: group.into(),
        generation_id: generation,
        member_id: member.into(),
        protocol_type: (version >= 5).then_some("consumer".into()),
        protocol_name: (version >= 5).then_some("range".into()),
        assignments: vec![sync_group::RequestAssignments { member_id: member.into(), assignment: b"all"[..].into() }],
        ..Default::default()
    };
    let body = node.ask(version, &request);
    oracle::<oracle::SyncGroupResponse>(&body, version);
    sync_group::Response::from_bytes(&body, version).expect("its own response").into_owned()
}

#[test]
fn every_version_of_the_membership_requests_is_served() {
    let mut node = Node::new();
    for version in ApiKey::JoinGroup.valid_versions() {
        let group = format!("join-{version}");
        let (member, generation) = join(&mut node, version, &group);
        let synced = sync(&mut node, version.min(5), &group, &member, generation);
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"all"[..]));
        assert_eq!(synced.protocol_name.is_some(), version >= 5);

        let request = heartbeat::Request {
            group_id: group.as_str().into(),
            generation_id: generation,
            member_id: member.as_str().into(),
            ..Default::default()
        };
        let body = node.ask(version.min(4), &request);
        assert_eq!(oracle::<oracle::HeartbeatResponse>(&body, version.min(4)).error_code, 0);

        let leaving = |member: String| leave_group::RequestMembers { member_id: member.into(), ..Default::default() };
        let request = leave_group::Request {
            group_id: group.as_str().into(),
            member_id: member.as_str().into(),
            members: vec![leaving(member.clone()), leaving("nobody".to_owned())],
        };
        let body = node.ask(version.min(5), &request);
        let reply = oracle::<oracle::LeaveGroupResponse>(&body, version.min(5));
        assert_eq!(reply.error_code, 0);
        let codes: Vec<i16> = reply.members.iter().map(|member| member.error_code).collect();
        assert_eq!(codes, if version < 3 { vec![] } else { vec![0, 25] });
        let body = node.ask(version.min(5), &request);
        let reply = leave_group::Response::from_bytes(&body, version.min(5)).expect("its own response");
        assert_eq!(reply.error_code, if version < 3 { 25 } else { 0 }, "there is one member to speak of below 3");
    }
}

#[test]
fn version_0_of_join_group_has_one_timeout_for_both() {
    let node = Node::new();
    let mut body = Vec::new();
    join_request("g", "").encode(&mut body, 0);
    let context = Context { client_id: "client", client_host: "::1", image: &node.image, hosted: &[] };
    let (_, parts) = split(ApiKey::JoinGroup, 0, &body, &context).expect("a good request");
    let [(partition, Request::Join(request))] = parts.as_slice() else { panic!("one join: {parts:?}") };
    assert_eq!(*partition, partition_for("g", PARTITIONS));
    assert_eq!((request.rebalance_timeout_ms, &*request.client_host), (10_000, "/::1"));
}

fn commit_request(version: i16, group: &str) -> offset_commit::Request<'_> {
    let partition = |index| offset_commit::RequestTopicsPartitions {
        partition_index: index,
        committed_offset: 42,
        committed_leader_epoch: 3,
        committed_metadata: Some("note".into()),
    };
    let topic = |name: &'static str, id| offset_commit::RequestTopics {
        name: if version < 10 { name.into() } else { "".into() },
        topic_id: if version < 10 { Uuid::ZERO } else { id },
        partitions: vec![partition(1), partition(2)],
    };
    offset_commit::Request {
        group_id: group.into(),
        topics: vec![topic("nowhere", Uuid([1; 16])), topic("t", TOPIC_ID)],
        ..Default::default()
    }
}

#[test]
fn every_version_of_offset_commit_says_what_is_not_known_in_its_place() {
    let mut node = Node::new();
    for version in ApiKey::OffsetCommit.valid_versions() {
        let body = node.ask(version, &commit_request(version, "g"));
        let reply = oracle::<oracle::OffsetCommitResponse>(&body, version);
        let codes: Vec<Vec<(i32, i16)>> = reply
            .topics
            .iter()
            .map(|topic| topic.partitions.iter().map(|of| (of.partition_index, of.error_code)).collect())
            .collect();
        let unknown = if version < 10 { 3 } else { 100 };
        assert_eq!(codes, [[(1, unknown), (2, unknown)], [(1, 0), (2, 3)]]);
    }
}

#[test]
fn every_version_of_offset_fetch_finds_what_was_committed() {
    let mut node = Node::new();
    node.ask(9, &commit_request(9, "g"));
    for version in ApiKey::OffsetFetch.valid_versions() {
        if version < 8 {
            let topics =
                |name: &'static str| offset_fetch::RequestTopics { name: name.into(), partition_indexes: vec![1, 0] };
            let named = Some(vec![topics("t"), topics("nowhere")]);
            let request = offset_fetch::Request { group_id: "g".into(), topics: named, ..Default::default() };
            let body = node.ask(version, &request);
            oracle::<oracle::OffsetFetchResponse>(&body, version);
            let reply = offset_fetch::Response::from_bytes(&body, version).expect("its own response");
            let found = |of: &offset_fetch::ResponseTopicsPartitions<'_>| {
                (of.partition_index, of.committed_offset, of.error_code, of.metadata.as_deref().map(str::to_owned))
            };
            let found: Vec<_> = reply.topics.iter().flat_map(|topic| topic.partitions.iter().map(found)).collect();
            let note = |text: &str| Some(text.to_owned());
            assert_eq!(
                found,
                [(1, 42, 0, note("note")), (0, -1, 0, note("")), (1, -1, 0, note("")), (0, -1, 0, note(""))]
            );
            if version >= 2 {
                let body = node.ask(version, &offset_fetch::Request { topics: None, ..request });
                let reply = offset_fetch::Response::from_bytes(&body, version).expect("its own response");
                assert_eq!((reply.topics.len(), reply.topics[0].partitions.len(), reply.error_code), (1, 1, 0));
            }
            continue;
        }
        let named = |name: &'static str, id| offset_fetch::RequestGroupsTopics {
            name: if version < 10 { name.into() } else { "".into() },
            topic_id: if version < 10 { Uuid::ZERO } else { id },
            partition_indexes: vec![1],
        };
        let some = Some(vec![named("t", TOPIC_ID), named("nowhere", Uuid([1; 16]))]);
        let group = |group_id: &'static str, topics| offset_fetch::RequestGroups {
            group_id: group_id.into(),
            topics,
            ..Default::default()
        };
        let groups = vec![group("other", None), group("g", some), group("g", None)];
        let body = node.ask(version, &offset_fetch::Request { groups, require_stable: true, ..Default::default() });
        oracle::<oracle::OffsetFetchResponse>(&body, version);
        let reply = offset_fetch::Response::from_bytes(&body, version).expect("its own response");
        let ids: Vec<&str> = reply.groups.iter().map(|group| &*group.group_id).collect();
        assert_eq!(ids, ["other", "g", "g"]);
        assert_eq!((reply.groups[0].topics.len(), reply.groups[0].error_code), (0, 0));
        let found = |group: &offset_fetch::ResponseGroups<'_>| {
            let of = group.topics.iter().flat_map(|topic| &topic.partitions);
            of.map(|of| (of.committed_offset, of.committed_leader_epoch, of.error_code)).collect::<Vec<_>>()
        };
        let unknown = if version < 10 { 0 } else { 100 };
        assert_eq!(found(&reply.groups[1]), [(42, 3, 0), (-1, -1, unknown)]);
        assert_eq!(found(&reply.groups[2]), [(42, 3, 0)]);
        assert_eq!(reply.groups[2].topics[0].topic_id, if version < 10 { Uuid::ZERO } else { TOPIC_ID });
    }
}

#[test]
fn every_version_of_describe_groups_knows_the_living_and_the_dead() {
    let mut node = Node::new();
    let (member, generation) = join(&mut node, 9, "g");
    sync(&mut node, 5, "g", &member, generation);
    for version in ApiKey::DescribeGroups.valid_versions() {
        let request = describe_groups::Request {
            groups: vec!["nobody".into(), "g".into()],
            include_authorized_operations: version >= 3,
        };
        let body = node.ask(version, &request);
        oracle::<oracle::DescribeGroupsResponse>(&body, version);
        let reply = describe_groups::Response::from_bytes(&body, version).expect("its own response");
        let [dead, living] = reply.groups.as_slice() else { panic!("two groups") };
        assert_eq!((&*dead.group_id, &*dead.group_state), ("nobody", "Dead"));
        assert_eq!(dead.error_code, if version < 6 { 0 } else { 69 });
        assert_eq!(dead.error_message.as_deref(), (version >= 6).then_some("Group nobody not found."));
        assert_eq!(dead.authorized_operations, if (3..6).contains(&version) { 3400 } else { i32::MIN });
        assert_eq!((&*living.group_state, &*living.protocol_data, living.members.len()), ("Stable", "range", 1));
        assert_eq!(living.authorized_operations, if version < 3 { i32::MIN } else { 3400 });
        assert_eq!(living.members[0].member_metadata, subscription());
        assert_eq!((&*living.members[0].client_id, &*living.members[0].client_host), ("client", "/127.0.0.1"));
    }
}

#[test]
fn every_version_of_list_groups_asks_all_coordinators() {
    let mut node = Node::new();
    let mut groups: Vec<String> = (0..20).map(|index| format!("g{index:02}")).collect();
    for group in &groups {
        node.ask(9, &commit_request(9, group));
    }
    groups.sort();
    for version in ApiKey::ListGroups.valid_versions() {
        let body = node.ask(version, &list_groups::Request::default());
        oracle::<oracle::ListGroupsResponse>(&body, version);
        let reply = list_groups::Response::from_bytes(&body, version).expect("its own response");
        let mut listed: Vec<String> = reply.groups.iter().map(|group| group.group_id.to_string()).collect();
        listed.sort();
        assert_eq!((listed, reply.error_code), (groups.clone(), 0));
    }
    let request = list_groups::Request { states_filter: vec!["stable".into()], ..Default::default() };
    let body = node.ask(5, &request);
    assert_eq!(list_groups::Response::from_bytes(&body, 5).expect("its own response").groups, []);
}

#[test]
fn every_version_of_delete_groups_answers_each_group_once() {
    for version in ApiKey::DeleteGroups.valid_versions() {
        let mut node = Node::new();
        node.ask(9, &commit_request(9, "g"));
        let request = delete_groups::Request { groups_names: vec!["g".into(), "nobody".into(), "g".into()] };
        let body = node.ask(version, &request);
        oracle::<oracle::DeleteGroupsResponse>(&body, version);
        let reply = delete_groups::Response::from_bytes(&body, version).expect("its own response");
        let results: Vec<(&str, i16)> = reply.results.iter().map(|of| (&*of.group_id, of.error_code)).collect();
        assert_eq!(results, [("g", 0), ("nobody", 69)]);
    }
}

/// Some shard for each group.
fn shard_of(group: &str) -> usize {
    group.len() % 3
}

#[test]
fn what_is_split_among_shards_comes_back_in_the_order_of_the_request() {
    let names = ["aaaa", "b", "cc", "ddd", "b"];
    let mut node = Node::new();
    for name in names {
        node.ask(9, &commit_request(9, name));
    }
    let describe = describe_groups::Request {
        groups: names.iter().map(|name| (*name).into()).collect(),
        include_authorized_operations: true,
    };
    let group = |name: &&'static str| offset_fetch::RequestGroups { group_id: (*name).into(), ..Default::default() };
    let fetch = offset_fetch::Request { groups: names.iter().map(group).collect(), ..Default::default() };
    let mut bodies = Vec::new();
    for version in [0, 6] {
        let mut body = Vec::new();
        describe.encode(&mut body, version);
        bodies.push((ApiKey::DescribeGroups, version, body));
    }
    for version in [8, 10] {
        let mut body = Vec::new();
        fetch.encode(&mut body, version);
        bodies.push((ApiKey::OffsetFetch, version, body));
    }
    for (key, version, body) in bodies {
        let parts = by_shard(key, version, &body, 3, shard_of).expect("a good request");
        assert_eq!(parts.iter().map(|(shard, _)| *shard).collect::<Vec<_>>(), [0, 1, 2]);
        let mut responses: Vec<Vec<u8>> = parts.iter().map(|(_, part)| node.serve(key, version, part)).collect();
        responses.reverse();
        let gathered = gather(key, version, &body, &responses).expect("good responses");
        assert_eq!(gathered, node.serve(key, version, &body), "{key} {version} as if there were one shard");
    }
}

#[test]
fn a_deletion_that_is_split_answers_each_group_once() {
    let mut node = Node::new();
    let request = delete_groups::Request { groups_names: vec!["cc".into(), "b".into(), "cc".into()] };
    let mut body = Vec::new();
    request.encode(&mut body, 2);
    let parts = by_shard(ApiKey::DeleteGroups, 2, &body, 3, shard_of).expect("a good request");
    let responses: Vec<Vec<u8>> = parts.iter().map(|(_, part)| node.serve(ApiKey::DeleteGroups, 2, part)).collect();
    let gathered = gather(ApiKey::DeleteGroups, 2, &body, &responses).expect("good responses");
    let reply = delete_groups::Response::from_bytes(&gathered, 2).expect("a response");
    assert_eq!(reply.results.iter().map(|of| &*of.group_id).collect::<Vec<_>>(), ["cc", "b"]);
}

#[test]
fn a_request_of_one_group_goes_to_its_shard_as_it_is() {
    let mut node = Node::new();
    for version in [0, 9] {
        let mut body = Vec::new();
        join_request("four", "").encode(&mut body, version);
        let parts = by_shard(ApiKey::JoinGroup, version, &body, 3, shard_of).expect("a good request");
        assert_eq!(parts, [(1, body.clone())]);
        let response = node.serve(ApiKey::JoinGroup, version, &body);
        assert_eq!(
            gather(ApiKey::JoinGroup, version, &body, std::slice::from_ref(&response)).expect("one part"),
            response
        );
    }
}

#[test]
fn a_list_with_a_part_that_failed_fails_as_a_whole() {
    let parts = by_shard(ApiKey::ListGroups, 5, &[1, 1, 0], 3, shard_of).expect("a good request");
    assert_eq!(parts.len(), 3);
    let mut good = Vec::new();
    let group = list_groups::ResponseGroups { group_id: "g".into(), ..Default::default() };
    list_groups::Response { groups: vec![group], ..Default::default() }.encode(&mut good, 5);
    let mut loading = Vec::new();
    list_groups::Response { error_code: 14, ..Default::default() }.encode(&mut loading, 5);
    let body = gather(ApiKey::ListGroups, 5, &[], &[good.clone(), loading]).expect("good responses");
    let reply = list_groups::Response::from_bytes(&body, 5).expect("a response");
    assert_eq!((reply.error_code, reply.groups.len()), (14, 0));
    assert!(gather(ApiKey::ListGroups, 5, &[], &[good, Vec::new()]).is_err(), "a part that has no answer");
}

#[test]
fn bodies_that_are_cut_off_are_errors() {
    let node = Node::new();
    let context = Context { client_id: "client", client_host: "127.0.0.1", image: &node.image, hosted: &[0] };
    let mut body = Vec::new();
    commit_request(8, "g").encode(&mut body, 8);
    for length in 0..body.len() {
        assert!(split(ApiKey::OffsetCommit, 8, &body[..length], &context).is_err(), "{length}");
    }
    assert!(by_shard(ApiKey::Heartbeat, 4, &[], 1, shard_of).is_err());
}

#[test]
fn a_group_whose_coordinator_is_not_here_is_refused_in_the_form_of_its_request() {
    let node = Node::new();
    let context = Context { client_id: "client", client_host: "127.0.0.1", image: &node.image, hosted: &[] };
    let mut body = Vec::new();
    commit_request(9, "g").encode(&mut body, 9);
    let (plan, parts) = split(ApiKey::OffsetCommit, 9, &body, &context).expect("a good request");
    let replies = parts.iter().map(|(_, request)| refuse(request, Outcome::NotCoordinator)).collect();
    let reply = oracle::<oracle::OffsetCommitResponse>(&merge(plan, replies), 9);
    let codes: Vec<i16> =
        reply.topics.iter().flat_map(|topic| topic.partitions.iter().map(|of| of.error_code)).collect();
    assert_eq!(codes, [3, 3, 16, 3], "what is not known is not known anywhere");
    for version in [1, 2, 7] {
        let topics = vec![offset_fetch::RequestTopics { name: "t".into(), partition_indexes: vec![0] }];
        let request = offset_fetch::Request { group_id: "g".into(), topics: Some(topics), ..Default::default() };
        let mut body = Vec::new();
        request.encode(&mut body, version);
        let (plan, parts) = split(ApiKey::OffsetFetch, version, &body, &context).expect("a good request");
        let body = merge(plan, parts.iter().map(|(_, request)| refuse(request, Outcome::LoadInProgress)).collect());
        let reply = offset_fetch::Response::from_bytes(&body, version).expect("its own response");
        let shown = reply.topics.iter().flat_map(|topic| topic.partitions.iter().map(|of| of.error_code));
        let expected = if version < 2 { (vec![14], 0) } else { (vec![], 14) };
        assert_eq!((shown.collect::<Vec<_>>(), reply.error_code), expected);
    }
}
