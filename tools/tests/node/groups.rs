//! Classic groups, spoken raw: joining, synchronising, fencing, committing, leaving.

use net::api::{
    find_coordinator, heartbeat, init_producer_id, join_group, leave_group, offset_commit, offset_fetch, sync_group,
};

use crate::support::broker::{Broker, is_passing, only};
use crate::support::client::Client;
use crate::support::wait::eventually;

const METADATA_TOO_LARGE: i16 = 12;
const ILLEGAL_GENERATION: i16 = 22;
const INCONSISTENT_PROTOCOL: i16 = 23;
const INVALID_GROUP: i16 = 24;
const UNKNOWN_MEMBER: i16 = 25;
const INVALID_SESSION_TIMEOUT: i16 = 26;
const REBALANCING: i16 = 27;
const INVALID_REQUEST: i16 = 42;
const MEMBER_ID_REQUIRED: i16 = 79;
const FENCED_INSTANCE: i16 = 82;

const SESSION_TIMEOUT_MS: i32 = 30_000;

pub(crate) const JOIN: i16 = 9;
pub(crate) const SYNC: i16 = 5;
const HEARTBEAT: i16 = 4;
pub(crate) const COMMIT: i16 = 9;
const OFFSETS: i16 = 9;
pub(crate) const LEAVE: i16 = 5;

pub(crate) type Joined = join_group::Response<'static>;

pub(crate) fn join_request<'a>(group: &'a str, member: &'a str, instance: Option<&'a str>) -> join_group::Request<'a> {
    join_group::Request {
        group_id: group.into(),
        session_timeout_ms: SESSION_TIMEOUT_MS,
        rebalance_timeout_ms: SESSION_TIMEOUT_MS,
        member_id: member.into(),
        group_instance_id: instance.map(Into::into),
        protocol_type: "consumer".into(),
        protocols: vec![join_group::RequestProtocols { name: "range".into(), metadata: b"meta"[..].into() }],
        ..Default::default()
    }
}

/// Joins as soon as there is a coordinator. A member without an id gets one and joins again.
pub(crate) fn join(client: &mut Client, group: &str, member: &str, instance: Option<&str>) -> Joined {
    eventually("a coordinator", || {
        let answer = client.call(JOIN, &join_request(group, member, instance));
        if answer.error_code == MEMBER_ID_REQUIRED {
            return Some(client.call(JOIN, &join_request(group, &answer.member_id, instance)));
        }
        (!is_passing(answer.error_code)).then_some(answer)
    })
}

pub(crate) fn sync_request<'a>(
    group: &'a str,
    joined: &'a Joined,
    assign: &[(&'a str, &'a str)],
) -> sync_group::Request<'a> {
    let assignments = assign.iter().map(|&(member, share)| sync_group::RequestAssignments {
        member_id: member.into(),
        assignment: share.as_bytes().into(),
    });
    sync_group::Request {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.as_ref().into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assignments.collect(),
        ..Default::default()
    }
}

pub(crate) fn beat(client: &mut Client, group: &str, member: &str, generation_id: i32, instance: Option<&str>) -> i16 {
    let request = heartbeat::Request {
        group_id: group.into(),
        generation_id,
        member_id: member.into(),
        group_instance_id: instance.map(Into::into),
    };
    client.call(HEARTBEAT, &request).error_code
}

fn commit_request<'a>(
    group: &'a str,
    (member, generation): (&'a str, i32),
    topic: &'a str,
    metadata: &'a str,
) -> offset_commit::Request<'a> {
    offset_commit::Request {
        group_id: group.into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        topics: vec![offset_commit::RequestTopics {
            name: topic.into(),
            partitions: vec![offset_commit::RequestTopicsPartitions {
                committed_offset: 5,
                committed_metadata: Some(metadata.into()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub(crate) fn commit(client: &mut Client, group: &str, member: (&str, i32), topic: &str) -> i16 {
    let response = client.call(COMMIT, &commit_request(group, member, topic, "note"));
    only(only(response.topics).partitions).error_code
}

/// Commits without being a member; gives back the group.
pub(crate) fn commit_as_plain_consumer(broker: &Broker, topic: &str) -> String {
    let group = broker.group("plain");
    let mut client = broker.client();
    let code = eventually("a coordinator", || {
        let code = commit(&mut client, &group, ("", -1), topic);
        (!is_passing(code)).then_some(code)
    });
    assert_eq!(code, 0);
    group
}

/// Offset, metadata and error of partition 0.
pub(crate) fn committed(client: &mut Client, group: &str, topic: &str) -> (i64, String, i16) {
    let asked = offset_fetch::RequestGroups {
        group_id: group.into(),
        member_epoch: -1,
        topics: Some(vec![offset_fetch::RequestGroupsTopics {
            name: topic.into(),
            partition_indexes: vec![0],
            ..Default::default()
        }]),
        ..Default::default()
    };
    let request = offset_fetch::Request { groups: vec![asked], require_stable: true, ..Default::default() };
    let found = eventually("a coordinator", || {
        let found = only(client.call(OFFSETS, &request).groups);
        (!is_passing(found.error_code)).then_some(found)
    });
    assert_eq!(found.error_code, 0);
    let partition = only(only(found.topics).partitions);
    (partition.committed_offset, partition.metadata.unwrap_or_default().into_owned(), partition.error_code)
}

#[test]
fn two_members_share_and_one_takes_over() {
    let Some(broker) = Broker::get("group flow") else { return };
    let group = broker.group("flow");
    let (mut a, mut b) = (broker.client(), broker.client());
    let first = join(&mut a, &group, "", None);
    assert_eq!((first.error_code, first.generation_id, &first.leader), (0, 1, &first.member_id));
    assert_eq!(first.protocol_name.as_deref(), Some("range"));
    let synced = a.call(SYNC, &sync_request(&group, &first, &[(&first.member_id, "all")]));
    assert_eq!((synced.error_code, &*synced.assignment), (0, &b"all"[..]));
    assert_eq!(beat(&mut a, &group, &first.member_id, 1, None), 0);

    // The second member's join waits until the first has joined again.
    let required = b.call(JOIN, &join_request(&group, "", None));
    assert_eq!(required.error_code, MEMBER_ID_REQUIRED);
    b.send(JOIN, &join_request(&group, &required.member_id, None));
    eventually("the rebalance begins", || {
        (beat(&mut a, &group, &first.member_id, 1, None) == REBALANCING).then_some(())
    });
    let again = a.call(JOIN, &join_request(&group, &first.member_id, None));
    let (_, second) = b.receive::<join_group::Request<'_>>(JOIN);
    assert_eq!((again.generation_id, second.generation_id), (2, 2));
    assert_eq!((again.members.len(), second.members.len()), (2, 0), "the leader gets the members");
    assert_eq!((&again.leader, &second.leader), (&first.member_id, &first.member_id));
    assert_eq!(&*again.members[0].metadata, b"meta");

    // Between join and sync no offsets are taken.
    let topic = broker.topic("flow").name;
    assert_eq!(commit(&mut a, &group, (&first.member_id, 2), &topic), REBALANCING);
    b.send(SYNC, &sync_request(&group, &second, &[]));
    let shares = [(&*first.member_id, "left"), (&*second.member_id, "right")];
    assert_eq!(&*a.call(SYNC, &sync_request(&group, &again, &shares)).assignment, b"left");
    assert_eq!(&*b.receive::<sync_group::Request<'_>>(SYNC).1.assignment, b"right");

    assert_eq!(commit(&mut b, &group, (&second.member_id, 2), &topic), 0);
    assert_eq!(commit(&mut b, &group, (&second.member_id, 1), &topic), ILLEGAL_GENERATION);
    assert_eq!(commit(&mut b, &group, ("nobody", 2), &topic), UNKNOWN_MEMBER);
    assert_eq!(beat(&mut b, &group, &second.member_id, 1, None), ILLEGAL_GENERATION);
    assert_eq!(beat(&mut b, &group, "nobody", 2, None), UNKNOWN_MEMBER);
    assert_eq!(committed(&mut a, &group, &topic), (5, "note".to_owned(), 0));

    // One leaves; the other notices and stays alone.
    let request = leave_group::Request {
        group_id: group.as_str().into(),
        members: vec![
            leave_group::RequestMembers { member_id: second.member_id.clone(), ..Default::default() },
            leave_group::RequestMembers { member_id: "nobody".into(), ..Default::default() },
        ],
        ..Default::default()
    };
    let left = b.call(LEAVE, &request);
    let codes: Vec<i16> = left.members.iter().map(|member| member.error_code).collect();
    assert_eq!((left.error_code, codes), (0, vec![0, UNKNOWN_MEMBER]));
    eventually("the rebalance begins", || {
        (beat(&mut a, &group, &first.member_id, 2, None) == REBALANCING).then_some(())
    });
    let alone = a.call(JOIN, &join_request(&group, &first.member_id, None));
    assert_eq!((alone.generation_id, alone.members.len()), (3, 1));
}

#[test]
fn a_static_member_keeps_its_place_and_fences_its_double() {
    let Some(broker) = Broker::get("static members") else { return };
    let group = broker.group("static");
    let mut client = broker.client();
    let first = join(&mut client, &group, "", Some("instance"));
    assert_eq!(first.error_code, 0, "a static member needs no second join");
    let mut request = sync_request(&group, &first, &[(&first.member_id, "share")]);
    request.group_instance_id = Some("instance".into());
    assert_eq!(client.call(SYNC, &request).error_code, 0);
    // It comes back without its member id, gets another one, and the generation stays.
    let back = join(&mut client, &group, "", Some("instance"));
    assert_eq!((back.error_code, back.generation_id), (0, first.generation_id));
    assert_ne!(back.member_id, first.member_id);
    assert_eq!(
        beat(&mut client, &group, &first.member_id, first.generation_id, Some("instance")),
        FENCED_INSTANCE,
        "the old one is fenced"
    );
    assert_eq!(beat(&mut client, &group, &back.member_id, back.generation_id, Some("instance")), 0);
}

#[test]
fn impossible_joins_are_refused() {
    let Some(broker) = Broker::get("impossible joins") else { return };
    let group = broker.group("impossible");
    let mut client = broker.client();
    let member = join(&mut client, &group, "", None).member_id;
    let with = |change: &dyn Fn(&mut join_group::Request<'_>)| {
        let mut request = join_request(&group, "", Some("other"));
        change(&mut request);
        broker.client().call(JOIN, &request).error_code
    };
    assert_eq!(with(&|request| request.group_id = "".into()), INVALID_GROUP);
    assert_eq!(with(&|request| request.session_timeout_ms = 1), INVALID_SESSION_TIMEOUT);
    assert_eq!(with(&|request| request.session_timeout_ms = i32::MAX), INVALID_SESSION_TIMEOUT);
    assert_eq!(with(&|request| request.protocol_type = "connect".into()), INCONSISTENT_PROTOCOL);
    assert_eq!(with(&|request| request.protocols[0].name = "sticky".into()), INCONSISTENT_PROTOCOL);
    assert_eq!(with(&|request| request.protocols.clear()), INCONSISTENT_PROTOCOL);
    assert_eq!(with(&|request| request.member_id = "nobody".into()), UNKNOWN_MEMBER);
    assert_eq!(beat(&mut client, &broker.group("none"), &member, 1, None), UNKNOWN_MEMBER);
}

#[test]
fn commits_without_a_member_work_and_are_checked() {
    let Some(broker) = Broker::get("plain commits") else { return };
    let topic = broker.topic("commits").name;
    let group = commit_as_plain_consumer(&broker, &topic);
    let mut client = broker.client();
    assert_eq!(committed(&mut client, &group, &topic), (5, "note".to_owned(), 0));
    let long = "m".repeat(4097);
    let response = client.call(COMMIT, &commit_request(&group, ("", -1), &topic, &long));
    assert_eq!(only(only(response.topics).partitions).error_code, METADATA_TOO_LARGE);
    assert_eq!(commit(&mut client, &group, ("", -1), "e2e-nowhere"), 3);
    assert_eq!(commit(&mut client, &group, ("nobody", 3), &topic), UNKNOWN_MEMBER);
    let other = broker.topic("uncommitted").name;
    assert_eq!(committed(&mut client, &group, &other), (-1, String::new(), 0));
    assert_eq!(committed(&mut client, &broker.group("nothing"), &topic), (-1, String::new(), 0));
}

#[test]
fn transactions_and_other_coordinators_are_refused_for_good() {
    let Some(broker) = Broker::get("no transactions") else { return };
    if broker.is_kafka() {
        return;
    }
    for key_type in [1, 2, 7] {
        let request = find_coordinator::Request { key_type, coordinator_keys: vec!["x".into()], ..Default::default() };
        let answer = only(broker.client().call(4, &request).coordinators);
        assert_eq!(answer.error_code, INVALID_REQUEST, "type {key_type}");
        assert!(answer.error_message.is_some_and(|message| message.len() > 10), "type {key_type}");
    }
    let request = init_producer_id::Request {
        transactional_id: Some("tx".into()),
        transaction_timeout_ms: 1000,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    assert_eq!(broker.client().call(4, &request).error_code, INVALID_REQUEST);
}

#[test]
fn members_that_wait_for_another_hold_nobody_else_up() {
    const WAITING: usize = 400;
    /// The last version in which a member joins without an id of its own.
    const JOIN_AT_ONCE: i16 = 3;
    let Some(broker) = Broker::get("many members") else { return };
    let (group, topic) = (broker.group("crowd"), broker.topic_with("crowd", 4, &[]).name);
    let mut client = broker.client();
    let first = join(&mut client, &group, "", None);
    assert_eq!(client.call(SYNC, &sync_request(&group, &first, &[])).error_code, 0);
    let mut waiting: Vec<Client> = (0..WAITING).map(|_| broker.client()).collect();
    for member in &mut waiting {
        member.send(JOIN_AT_ONCE, &join_request(&group, "", None));
    }
    // Their connections are spread over the shards, and so are these.
    for partition in [0, 1, 2, 3, 0, 1, 2, 3] {
        let mut other = broker.client();
        eventually("the rebalance begins", || {
            (beat(&mut other, &group, &first.member_id, first.generation_id, None) == REBALANCING).then_some(())
        });
        other.must_produce(&topic, partition, &crate::support::batch::batch(&["one"]));
    }
    let again = client.call(JOIN, &join_request(&group, &first.member_id, None));
    assert_eq!(again.error_code, 0);
    for member in &mut waiting {
        let (_, joined) = member.receive::<join_group::Request<'_>>(JOIN_AT_ONCE);
        assert_eq!(joined.error_code, 0);
    }
}
