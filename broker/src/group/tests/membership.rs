//! Joining, syncing, living, leaving; static members; restarts.

use super::world::*;
use crate::group::*;

#[test]
fn a_member_without_an_id_is_given_one_to_come_back_with() {
    let mut world = World::new();
    let id = world.new_id();
    let (name, uuid) = id.split_once('-').expect("a name and a uuid");
    assert_eq!((name, uuid.len(), &uuid[14..15]), ("client", 36, "4"));
    assert_eq!(world.describe().state, "Empty", "nobody has joined yet");
    let token = world.join(join_request(&id));
    world.pass(0);
    let reply = world.joined(token);
    assert_eq!((reply.outcome, reply.generation, &reply.member, &reply.leader), (Outcome::Done, 1, &id, &id));
    assert_eq!(reply.members.len(), 1);
}

#[test]
fn an_old_client_joins_at_once_without_an_id() {
    let mut world = World::new();
    let token = world.join(JoinRequest { needs_known_member: false, ..join_request("") });
    world.pass(0);
    assert_eq!(world.joined(token).outcome, Outcome::Done);
}

#[test]
fn joins_that_cannot_be_are_refused_before_a_group_is_made() {
    let mut world = World::new();
    let too_long = "x".repeat(32_767);
    let broken = vec![Protocol { name: "range".into(), metadata: b"garbage".as_slice().into() }];
    let cases = [
        (JoinRequest { group: "".into(), ..join_request("") }, Outcome::InvalidGroupId),
        (JoinRequest { session_timeout_ms: 5_999, ..join_request("") }, Outcome::InvalidSessionTimeout),
        (JoinRequest { session_timeout_ms: 1_800_001, ..join_request("") }, Outcome::InvalidSessionTimeout),
        (JoinRequest { protocol_type: "".into(), ..join_request("") }, Outcome::InconsistentProtocol),
        (JoinRequest { protocols: vec![], ..join_request("") }, Outcome::InconsistentProtocol),
        (JoinRequest { client_id: too_long.as_str().into(), ..join_request("") }, Outcome::InvalidRequest),
        (JoinRequest { protocols: broken, ..join_request("") }, Outcome::InvalidRequest),
        (join_request("somebody"), Outcome::UnknownMember),
    ];
    for (request, outcome) in cases {
        let token = world.join(request);
        assert_eq!(world.joined(token).outcome, outcome);
    }
    assert!(world.log.is_empty());
    assert_eq!(world.describe().outcome, Outcome::GroupNotFound);
}

#[test]
fn the_first_record_of_a_group_says_only_that_it_is_there() {
    let mut world = World::new();
    world.new_id();
    let [record] = world.log.as_slice() else { panic!("one record") };
    let value = record.value.as_deref().expect("no tombstone");
    let value = records::GroupValue::decode(value).expect("its own record");
    assert_eq!((value.protocol_type, value.generation, value.members.len()), ("", 0, 0));
}

#[test]
fn a_pending_member_that_does_not_come_back_is_forgotten() {
    let mut world = World::new();
    let id = world.new_id();
    world.pass(SESSION_MS as u64);
    let token = world.join(join_request(&id));
    assert_eq!(world.joined(token).outcome, Outcome::UnknownMember);
    assert_eq!(world.coordinator.next_deadline(), None);
}

#[test]
fn the_leader_alone_gets_everybodys_metadata_and_its_assignment_reaches_all() {
    let mut world = World::new();
    let (ids, generation) = world.stable(3);
    assert_eq!(generation, 1);
    let described = world.describe();
    assert_eq!((&*described.protocol_type, &*described.protocol_name), ("consumer", "range"));
    assert_eq!(described.members.len(), 3);
    for member in &described.members {
        assert_eq!(member.assignment, member.member.as_bytes());
        assert_eq!(member.metadata, protocols(&["range"])[0].metadata);
    }
    let joins: Vec<Token> = ids.iter().map(|id| world.join(join_request(id))).collect();
    let replies: Vec<JoinReply> = joins.into_iter().map(|token| world.joined(token)).collect();
    assert_eq!(replies.iter().map(|reply| reply.members.len()).collect::<Vec<_>>(), [3, 0, 0]);
}

#[test]
fn an_assignment_is_given_out_only_when_it_is_durable() {
    let mut world = World::new();
    world.is_disk_quick = false;
    let id = world.new_id();
    world.durable();
    let token = world.join(join_request(&id));
    world.pass(0);
    world.joined(token);
    let token = world.sync(&id, 1, &[(&id, "a")]);
    assert!(world.is_parked(token));
    assert_eq!(world.describe().state, "CompletingRebalance");
    world.durable();
    assert_eq!(world.synced(token).assignment, "a");
    assert_eq!(world.describe().state, "Stable");
}

#[test]
fn an_assignment_that_cannot_be_stored_is_given_to_nobody_and_the_group_joins_again() {
    let mut world = World::new();
    let id = world.new_id();
    let token = world.join(join_request(&id));
    world.pass(0);
    world.joined(token);
    world.is_disk_quick = false;
    let token = world.sync(&id, 1, &[(&id, "a")]);
    world.fail(AppendFailure::Unavailable);
    assert_eq!(world.synced(token).outcome, Outcome::NotAvailable);
    assert_eq!(world.describe().state, "PreparingRebalance");
    assert_eq!(world.heartbeat(&id, 1), Outcome::RebalanceInProgress);
}

#[test]
fn a_group_that_could_not_be_stored_is_not_there() {
    let mut world = World::new();
    world.is_disk_quick = false;
    let token = world.join(JoinRequest { needs_known_member: false, ..join_request("") });
    assert!(world.is_parked(token));
    world.fail(AppendFailure::NotLeader);
    assert_eq!(world.joined(token).outcome, Outcome::NotCoordinator);
    assert_eq!(world.describe().outcome, Outcome::GroupNotFound);
    assert_eq!(world.coordinator.next_deadline(), None);
}

#[test]
fn a_sync_is_refused_by_member_generation_and_protocol() {
    let mut world = World::new();
    let (ids, generation) = world.stable(1);
    let good = sync_request(&ids[0], generation, &[]);
    let cases = [
        (SyncRequest { group: "".into(), ..good.clone() }, Outcome::InvalidGroupId),
        (SyncRequest { group: "other".into(), ..good.clone() }, Outcome::UnknownMember),
        (SyncRequest { member: "other".into(), ..good.clone() }, Outcome::UnknownMember),
        (SyncRequest { generation: generation + 1, ..good.clone() }, Outcome::IllegalGeneration),
        (SyncRequest { protocol_name: Some("other".into()), ..good.clone() }, Outcome::InconsistentProtocol),
        (SyncRequest { protocol_type: Some("other".into()), ..good.clone() }, Outcome::InconsistentProtocol),
        (SyncRequest { protocol_name: None, ..good.clone() }, Outcome::InconsistentProtocol),
        (SyncRequest { protocol_name: None, requires_protocol: false, ..good.clone() }, Outcome::Done),
        (good, Outcome::Done),
    ];
    for (request, outcome) in cases {
        let token = world.ask(Request::Sync(request));
        assert_eq!(world.synced(token).outcome, outcome);
    }
}

#[test]
fn a_new_member_makes_the_others_join_again() {
    let mut world = World::new();
    let (ids, generation) = world.stable(1);
    let id = world.new_id();
    let newcomer = world.join(join_request(&id));
    assert!(world.is_parked(newcomer));
    assert_eq!(world.heartbeat(&ids[0], generation), Outcome::RebalanceInProgress);
    let token = world.sync(&ids[0], generation, &[]);
    assert_eq!(world.synced(token).outcome, Outcome::RebalanceInProgress);
    let rejoin = world.join(join_request(&ids[0]));
    let (old, new) = (world.joined(rejoin), world.joined(newcomer));
    assert_eq!((old.generation, new.generation), (2, 2));
    assert_eq!((old.members.len(), new.members.len()), (2, 0), "the leader stays");
    assert_eq!(world.heartbeat(&id, 2), Outcome::Done);
    assert_eq!(world.heartbeat(&id, 1), Outcome::IllegalGeneration);
}

#[test]
fn who_does_not_join_in_time_is_out_and_another_leads() {
    let mut world = World::new();
    let (ids, generation) = world.stable(2);
    let token = world.join(JoinRequest { protocols: protocols(&["range", "new"]), ..join_request(&ids[1]) });
    for _ in 0..3 {
        // It lives, but does not join.
        world.pass(SESSION_MS as u64 - 1);
        assert_eq!(world.heartbeat(&ids[0], generation), Outcome::RebalanceInProgress);
    }
    world.pass(3);
    let reply = world.joined(token);
    assert_eq!((reply.generation, &reply.leader, reply.members.len()), (2, &ids[1], 1));
    assert_eq!(world.heartbeat(&ids[0], generation), Outcome::UnknownMember);
}

#[test]
fn who_does_not_sync_in_time_is_out() {
    let mut world = World::new();
    let ids = [world.new_id(), world.new_id()];
    let joins: Vec<Token> = ids.iter().map(|id| world.join(join_request(id))).collect();
    world.pass(0);
    joins.into_iter().for_each(|token| assert_eq!(world.joined(token).outcome, Outcome::Done));
    let token = world.sync(&ids[1], 1, &[]);
    for _ in 0..3 {
        world.pass(SESSION_MS as u64 - 1);
        assert_eq!(world.heartbeat(&ids[0], 1), Outcome::Done);
    }
    world.pass(3);
    assert_eq!(world.synced(token).outcome, Outcome::RebalanceInProgress);
    assert_eq!(world.heartbeat(&ids[0], 1), Outcome::UnknownMember);
    assert_eq!(world.heartbeat(&ids[1], 1), Outcome::RebalanceInProgress);
}

#[test]
fn a_rebalance_timeout_of_zero_loses_the_member() {
    let mut world = World::new();
    let id = world.new_id();
    let token = world.join(JoinRequest { rebalance_timeout_ms: 0, ..join_request(&id) });
    world.pass(0);
    assert_eq!(world.joined(token).outcome, Outcome::Done);
    world.pass(1);
    let token = world.sync(&id, 1, &[(&id, "a")]);
    assert_eq!(world.synced(token).outcome, Outcome::UnknownMember);
}

#[test]
fn a_silent_member_is_out_and_a_living_one_is_not() {
    let mut world = World::new();
    let (ids, generation) = world.stable(2);
    for _ in 0..5 {
        world.pass(SESSION_MS as u64 / 2);
        assert_ne!(world.heartbeat(&ids[0], generation), Outcome::UnknownMember);
    }
    assert_eq!(world.heartbeat(&ids[1], generation), Outcome::UnknownMember);
    let token = world.join(join_request(&ids[0]));
    assert_eq!(world.joined(token).members.len(), 1);
}

#[test]
fn a_group_whose_members_fall_silent_is_empty_in_the_next_generation() {
    let mut world = World::new();
    world.stable(2);
    world.pass(1_000_000);
    let described = world.describe();
    assert_eq!((described.state, &*described.protocol_type, described.members.len()), ("Empty", "consumer", 0));
    assert_eq!(world.coordinator.next_deadline(), None, "an empty group costs nothing");
    let value = world.log.last().and_then(|record| record.value.clone()).expect("a record of the empty group");
    let value = records::GroupValue::decode(&value).expect("its own record");
    assert_eq!((value.protocol_type, value.protocol, value.leader), ("consumer", None, None));
    assert!(value.generation > 1);
}

#[test]
fn a_new_member_whose_join_is_parked_for_too_long_is_out() {
    let mut world = World::with(Config { initial_rebalance_delay_ms: 0, ..Config::default() });
    let (ids, generation) = world.stable(1);
    let id = world.new_id();
    let long = i32::try_from(NEW_MEMBER_JOIN_TIMEOUT_MS * 2).expect("minutes");
    let token = world.join(JoinRequest { rebalance_timeout_ms: long, ..join_request(&id) });
    let mut waited = 0;
    while world.is_parked(token) {
        world.heartbeat(&ids[0], generation);
        world.pass(5_000);
        waited += 5_000;
        assert!(waited <= NEW_MEMBER_JOIN_TIMEOUT_MS, "it waits no longer");
    }
    let reply = world.joined(token);
    assert_eq!((reply.outcome, &*reply.member), (Outcome::UnknownMember, ""));
}

#[test]
fn a_follower_that_joins_again_unchanged_disturbs_nobody_and_a_leader_does() {
    let mut world = World::new();
    let (ids, generation) = world.stable(2);
    let token = world.join(join_request(&ids[1]));
    let reply = world.joined(token);
    assert_eq!((reply.outcome, reply.generation, reply.members.len()), (Outcome::Done, generation, 0));
    assert_eq!(world.describe().state, "Stable");
    let token = world.join(join_request(&ids[0]));
    assert!(world.is_parked(token));
    assert_eq!(world.describe().state, "PreparingRebalance");
}

#[test]
fn a_follower_with_other_metadata_begins_a_rebalance() {
    let mut world = World::new();
    let (ids, _) = world.stable(2);
    let token = world.join(JoinRequest { protocols: protocols(&["range", "other"]), ..join_request(&ids[1]) });
    assert!(world.is_parked(token));
    assert_eq!(world.describe().state, "PreparingRebalance");
}

#[test]
fn a_join_whose_answer_was_lost_is_answered_again_while_the_assignment_is_awaited() {
    let mut world = World::new();
    let id = world.new_id();
    let token = world.join(join_request(&id));
    world.pass(0);
    let first = world.joined(token);
    let token = world.join(join_request(&id));
    assert_eq!(world.joined(token), first);
}

#[test]
fn a_second_join_or_sync_of_a_member_answers_the_first() {
    let mut world = World::new();
    let (ids, generation) = world.stable(2);
    let first = world.join(join_request(&ids[0]));
    let second = world.join(join_request(&ids[0]));
    assert_eq!(world.joined(first).outcome, Outcome::RebalanceInProgress);
    assert!(world.is_parked(second));
    let other = world.join(join_request(&ids[1]));
    assert_eq!((world.joined(second).generation, world.joined(other).generation), (generation + 1, generation + 1));
    let first = world.sync(&ids[1], generation + 1, &[]);
    let second = world.sync(&ids[1], generation + 1, &[]);
    assert_eq!(world.synced(first).outcome, Outcome::RebalanceInProgress);
    world.sync(&ids[0], generation + 1, &[(&ids[1], "b")]);
    assert_eq!(world.synced(second).assignment, "b");
}

#[test]
fn the_protocol_is_the_one_most_members_prefer_among_those_all_offer() {
    let mut world = World::new();
    let offers = [&["only-mine", "b", "a"][..], &["a", "b"], &["a", "b"]];
    let ids: Vec<_> = offers.iter().map(|_| world.new_id()).collect();
    let joins: Vec<Token> = ids
        .iter()
        .zip(offers)
        .map(|(id, offer)| world.join(JoinRequest { protocols: protocols(offer), ..join_request(id) }))
        .collect();
    world.pass(0);
    for token in joins {
        assert_eq!(world.joined(token).protocol_name.as_deref(), Some("a"));
    }
    let token = world.join(JoinRequest { protocols: protocols(&["only-mine"]), ..join_request("") });
    assert_eq!(world.joined(token).outcome, Outcome::InconsistentProtocol);
    let other_type = JoinRequest { protocol_type: "connect".into(), protocols: protocols(&["a"]), ..join_request("") };
    let token = world.join(other_type);
    assert_eq!(world.joined(token).outcome, Outcome::InconsistentProtocol);
}

#[test]
fn the_first_rebalance_waits_for_more_members_up_to_the_rebalance_timeout() {
    let mut world = World::with(Config { initial_rebalance_delay_ms: 3_000, ..Config::default() });
    let join = |world: &mut World| {
        let id = world.new_id();
        world.join(JoinRequest { rebalance_timeout_ms: 7_000, ..join_request(&id) })
    };
    let mut joins = vec![join(&mut world)];
    for _ in 0..2 {
        world.pass(2_999);
        joins.push(join(&mut world));
        assert!(joins.iter().all(|token| world.is_parked(*token)));
    }
    world.pass(1_002);
    let generations: Vec<i32> = joins.into_iter().map(|token| world.joined(token).generation).collect();
    assert_eq!(generations, [1, 1, 1]);
}

#[test]
fn a_full_group_takes_no_more() {
    let mut world = World::with(Config { group_size_max: 2, ..Config::default() });
    let (ids, _) = world.stable(2);
    let token = world.join(join_request(""));
    assert_eq!(world.joined(token).outcome, Outcome::GroupFull);
    let token = world.join(join_request(&ids[1]));
    assert_eq!(world.joined(token).outcome, Outcome::Done, "who is in stays in");
}

#[test]
fn leaving_lets_the_others_go_on() {
    let mut world = World::new();
    let (ids, generation) = world.stable(3);
    let reply = world.leave(&[(&ids[0], None), ("nobody", None)]);
    assert_eq!(reply.outcome, Outcome::Done);
    let outcomes: Vec<Outcome> = reply.members.iter().map(|(_, outcome)| *outcome).collect();
    assert_eq!(outcomes, [Outcome::Done, Outcome::UnknownMember]);
    assert_eq!(world.heartbeat(&ids[1], generation), Outcome::RebalanceInProgress);
    let first = world.join(join_request(&ids[1]));
    assert!(world.is_parked(first));
    world.leave(&[(&ids[2], None)]);
    assert_eq!(world.joined(first).members.len(), 1, "the last one missing has left");
    let reply = world.leave(&[(&ids[1], None)]);
    assert_eq!(reply.members[0].1, Outcome::Done);
    assert_eq!(world.describe().state, "Empty");
}

#[test]
fn leaving_of_a_group_that_is_not_there_is_said_of_each_member() {
    let mut world = World::new();
    let reply = world.leave(&[("a", None), ("", Some("i"))]);
    assert_eq!(reply.outcome, Outcome::Done);
    assert!(reply.members.iter().all(|(_, outcome)| *outcome == Outcome::UnknownMember));
}

#[test]
fn who_leaves_while_its_request_is_parked_is_answered() {
    let mut world = World::new();
    let (ids, generation) = world.stable(2);
    let joining = world.join(join_request(&ids[0]));
    world.leave(&[(&ids[0], None)]);
    assert_eq!(world.joined(joining).outcome, Outcome::UnknownMember);
    let other = world.join(join_request(&ids[1]));
    assert_eq!(world.joined(other).generation, generation + 1);
    let syncing = {
        let id = world.new_id();
        let token = world.join(join_request(&id));
        let rejoin = world.join(join_request(&ids[1]));
        assert_eq!((world.joined(token).generation, world.joined(rejoin).generation), (3, 3));
        (world.sync(&id, 3, &[]), id)
    };
    world.leave(&[(&syncing.1, None)]);
    assert_eq!(world.synced(syncing.0).outcome, Outcome::UnknownMember);
}

#[test]
fn a_pending_member_can_leave() {
    let mut world = World::new();
    let id = world.new_id();
    assert_eq!(world.leave(&[(&id, None)]).members[0].1, Outcome::Done);
    let token = world.join(join_request(&id));
    assert_eq!(world.joined(token).outcome, Outcome::UnknownMember);
}

/// A stable group of one static member that leads and one that follows: their ids in that order.
fn static_pair(world: &mut World) -> [std::sync::Arc<str>; 2] {
    let joins = [world.join(static_join("one")), world.join(static_join("two"))];
    world.pass(0);
    let replies = joins.map(|token| world.joined(token));
    let ids = replies.each_ref().map(|reply| reply.member.clone());
    assert_eq!((&replies[0].leader, replies[0].generation), (&ids[0], 1));
    assert!(ids[0].starts_with("one-"));
    let syncs = [world.sync(&ids[0], 1, &[(&ids[0], "a"), (&ids[1], "b")]), world.sync(&ids[1], 1, &[])];
    assert_eq!(syncs.map(|token| world.synced(token).assignment), ["a", "b"]);
    ids
}

#[test]
fn a_static_member_that_starts_anew_takes_its_place_without_a_rebalance() {
    let mut world = World::new();
    let ids = static_pair(&mut world);
    let token = world.join(static_join("two"));
    let reply = world.joined(token);
    assert_eq!((reply.outcome, reply.generation, reply.members.len()), (Outcome::Done, 1, 0));
    assert_ne!(reply.member, ids[1]);
    assert_eq!(world.describe().state, "Stable");
    let token = world.sync(&reply.member, 1, &[]);
    assert_eq!(world.synced(token).assignment, "b", "it has what it had");
    assert_eq!(world.heartbeat_as(&ids[1], 1, Some("two")), Outcome::FencedInstance);
    assert_eq!(world.heartbeat_as(&ids[1], 1, None), Outcome::UnknownMember);
    assert_eq!(world.heartbeat_as(&reply.member, 1, Some("two")), Outcome::Done);
    world.crash();
    assert_eq!(world.heartbeat_as(&reply.member, 1, Some("two")), Outcome::Done, "the new id is durable");
}

#[test]
fn a_static_leader_that_starts_anew_is_told_not_to_assign_or_not_to_lead() {
    let mut world = World::new();
    let ids = static_pair(&mut world);
    let token = world.join(static_join("one"));
    let reply = world.joined(token);
    assert_eq!((reply.skip_assignment, &reply.leader, reply.members.len()), (true, &reply.member, 2));
    let token = world.join(JoinRequest { may_skip_assignment: false, ..static_join("one") });
    let old = world.joined(token);
    assert_eq!((old.skip_assignment, &old.leader, old.members.len()), (false, &reply.member, 0));
    assert_ne!(old.member, reply.member);
    assert_eq!(world.heartbeat_as(&ids[1], 1, Some("two")), Outcome::Done);
}

#[test]
fn a_static_member_whose_new_id_cannot_be_stored_keeps_the_old_one() {
    let mut world = World::new();
    let ids = static_pair(&mut world);
    world.is_disk_quick = false;
    let token = world.join(static_join("two"));
    assert!(world.is_parked(token));
    world.fail(AppendFailure::Unavailable);
    assert_eq!(world.joined(token).outcome, Outcome::NotAvailable);
    assert_eq!(world.heartbeat_as(&ids[1], 1, Some("two")), Outcome::Done);
    world.pass(SESSION_MS as u64 - 1);
    assert_eq!(world.heartbeat_as(&ids[0], 1, Some("one")), Outcome::Done);
}

#[test]
fn a_static_member_with_another_protocol_begins_a_rebalance() {
    let mut world = World::new();
    let both = |instance: &str| JoinRequest { protocols: protocols(&["range", "other"]), ..static_join(instance) };
    let token = world.join(both("one"));
    world.pass(0);
    let id = world.joined(token).member;
    let token = world.sync(&id, 1, &[(&id, "a")]);
    world.synced(token);
    let token = world.join(JoinRequest { protocols: protocols(&["other"]), ..static_join("one") });
    let reply = world.joined(token);
    assert_eq!((reply.generation, reply.protocol_name.as_deref()), (2, Some("other")));
}

#[test]
fn a_second_process_with_the_same_instance_id_fences_the_first_while_it_waits() {
    let mut world = World::new();
    let first = world.join(static_join("one"));
    let second = world.join(static_join("one"));
    assert_eq!(world.joined(first).outcome, Outcome::FencedInstance);
    world.pass(0);
    assert_eq!(world.joined(second).outcome, Outcome::Done);
    let third = world.join(static_join("one"));
    world.pass(0);
    let third = world.joined(third);
    assert_eq!(third.generation, 2, "the old id may be in the assignment already");
}

#[test]
fn a_static_member_stays_in_the_group_while_it_is_away() {
    let mut world = World::new();
    let ids = static_pair(&mut world);
    let id = world.new_id();
    let newcomer = world.join(join_request(&id));
    let rejoin = world.join(JoinRequest { instance: Some("one".into()), ..join_request(&ids[0]) });
    // Its session is longer than the rebalance.
    world.pass(SESSION_MS as u64 - 1);
    assert_eq!(world.heartbeat_as(&ids[1], 1, Some("two")), Outcome::RebalanceInProgress);
    world.pass(SESSION_MS as u64 - 1);
    assert_eq!(world.heartbeat_as(&ids[1], 1, Some("two")), Outcome::RebalanceInProgress);
    world.pass(SESSION_MS as u64 - 1);
    assert_eq!(world.heartbeat_as(&ids[1], 1, Some("two")), Outcome::RebalanceInProgress);
    world.pass(3);
    assert_eq!(world.joined(rejoin).members.len(), 3, "two is still assigned to");
    assert_eq!(world.joined(newcomer).outcome, Outcome::Done);
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance_id() {
    let mut world = World::new();
    let ids = static_pair(&mut world);
    let reply = world.leave(&[("", Some("two")), ("", Some("nobody")), (&ids[1], Some("one"))]);
    let outcomes: Vec<Outcome> = reply.members.iter().map(|(_, outcome)| *outcome).collect();
    assert_eq!(outcomes, [Outcome::Done, Outcome::UnknownMember, Outcome::FencedInstance]);
    assert_eq!(world.describe().state, "PreparingRebalance");
}

#[test]
fn a_completed_rebalance_survives_a_restart_and_sessions_begin_anew() {
    let mut world = World::new();
    let (ids, generation) = world.stable(2);
    world.pass(SESSION_MS as u64 - 1);
    let before = world.describe();
    world.crash();
    assert_eq!(world.describe(), before);
    world.pass(SESSION_MS as u64 - 1);
    assert_eq!(world.heartbeat(&ids[0], generation), Outcome::Done);
    world.pass(1);
    assert_eq!(world.heartbeat(&ids[1], generation), Outcome::UnknownMember);
    assert_eq!(world.heartbeat(&ids[0], generation), Outcome::RebalanceInProgress);
}

#[test]
fn a_group_larger_than_a_limit_that_was_lowered_is_rebalanced_at_the_restart() {
    let mut world = World::new();
    let (ids, _) = world.stable(3);
    world.config.group_size_max = 2;
    world.crash();
    assert_eq!(world.describe().state, "PreparingRebalance");
    let joins: Vec<Token> = ids.iter().map(|id| world.join(join_request(id))).collect();
    assert_eq!(world.joined(joins[2]).outcome, Outcome::GroupFull);
}

#[test]
fn while_it_loads_requests_are_put_off_and_members_are_not_lost() {
    let mut world = World::new();
    let (ids, generation) = world.stable(1);
    world.coordinator = Coordinator::new(Config::default(), 9);
    assert_eq!(world.heartbeat(&ids[0], generation), Outcome::Done);
    let token = world.join(join_request(&ids[0]));
    assert_eq!(world.joined(token).outcome, Outcome::LoadInProgress);
    assert_eq!(world.commit(World::commit_request(1)), Outcome::LoadInProgress);
}

#[test]
fn resigning_answers_everything_that_waits() {
    let mut world = World::new();
    let (ids, _) = world.stable(2);
    let token = world.join(join_request(&ids[0]));
    world.is_disk_quick = false;
    let commit = world.ask(Request::Commit(CommitRequest { group: "other".into(), ..World::commit_request(1) }));
    let stable = FetchRequest { group: "other".into(), require_stable: true, ..fetch_request() };
    let read = world.ask(Request::Fetch(stable));
    world.call(|coordinator, now, effects| coordinator.resign(now, effects));
    assert_eq!(world.joined(token).outcome, Outcome::NotCoordinator);
    assert_eq!(world.committed(commit), Outcome::NotCoordinator);
    assert!(matches!(world.reply(read), Reply::Fetch(reply) if reply.outcome == Outcome::NotCoordinator));
    world.durable();
    assert_eq!(world.coordinator.next_deadline(), None);
    assert_eq!(world.heartbeat(&ids[1], 1), Outcome::NotCoordinator);
}

#[test]
fn too_many_appends_under_way_put_requests_off() {
    let mut world = World::new();
    let (ids, generation) = world.stable(1);
    world.is_disk_quick = false;
    let commit = || CommitRequest { generation, member: ids[0].clone(), ..World::commit_request(1) };
    for _ in 0..APPENDS_MAX {
        world.ask(Request::Commit(commit()));
    }
    assert_eq!(world.commit(commit()), Outcome::LoadInProgress);
    assert_eq!(world.heartbeat(&ids[0], generation), Outcome::Done);
    world.durable();
    let token = world.ask(Request::Commit(commit()));
    assert!(world.is_parked(token));
}

#[test]
fn groups_are_listed_by_state_and_type_without_regard_to_case() {
    let mut world = World::new();
    world.stable(1);
    world.commit(CommitRequest { group: "simple".into(), ..World::commit_request(1) });
    let mut list = |states: &[&str], types: &[&str]| {
        let texts = |names: &[&str]| names.iter().map(|name| std::sync::Arc::from(*name)).collect();
        let token = world.ask(Request::List(ListRequest { states: texts(states), types: texts(types) }));
        match world.reply(token) {
            Reply::List(reply) => reply.groups.iter().map(|group| group.group.to_string()).collect::<Vec<_>>(),
            other => panic!("no list: {other:?}"),
        }
    };
    assert_eq!(list(&[], &[]), ["g", "simple"]);
    assert_eq!(list(&["stable"], &[]), ["g"]);
    assert_eq!(list(&["Empty", "Stable"], &["CLASSIC"]), ["g", "simple"]);
    assert_eq!(list(&["bogus"], &[]), [""; 0]);
    assert_eq!(list(&[], &["consumer"]), [""; 0]);
}
