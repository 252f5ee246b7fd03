//! Committing, reading and losing offsets.

use super::world::*;
use crate::group::*;

const HOUR_MS: u64 = 60 * 60 * 1000;

#[test]
fn a_consumer_outside_any_group_commits_and_reads_back() {
    let mut world = World::new();
    assert_eq!(world.offset(), -1);
    assert_eq!(world.commit(World::commit_request(5)), Outcome::Done);
    let token = world.ask(Request::Fetch(fetch_request()));
    let Reply::Fetch(reply) = world.reply(token) else { panic!("offsets") };
    let found = &reply.topics[0].partitions[0];
    assert_eq!((found.offset, found.leader_epoch, &*found.metadata, found.outcome), (5, 3, "m", Outcome::Done));
    let described = world.describe();
    assert_eq!((described.state, &*described.protocol_type), ("Empty", ""));
}

#[test]
fn an_offset_is_committed_when_it_is_durable_and_not_before() {
    let mut world = World::new();
    world.commit(World::commit_request(5));
    world.is_disk_quick = false;
    let token = world.ask(Request::Commit(World::commit_request(6)));
    assert!(world.is_parked(token));
    assert_eq!(world.offset(), 5);
    world.durable();
    assert_eq!((world.committed(token), world.offset()), (Outcome::Done, 6));
}

#[test]
fn an_offset_that_cannot_be_stored_is_not_committed() {
    for (failure, outcome) in [
        (AppendFailure::Unavailable, Outcome::NotAvailable),
        (AppendFailure::NotLeader, Outcome::NotCoordinator),
        (AppendFailure::TooLarge, Outcome::TooLarge),
    ] {
        let mut world = World::new();
        world.is_disk_quick = false;
        let token = world.ask(Request::Commit(World::commit_request(6)));
        world.fail(failure);
        assert_eq!((world.committed(token), world.offset()), (outcome, -1));
        assert_eq!(world.describe().outcome, Outcome::GroupNotFound);
    }
}

#[test]
fn a_stable_read_waits_for_what_is_under_way() {
    let mut world = World::new();
    world.is_disk_quick = false;
    let commits = [5, 6].map(|offset| world.ask(Request::Commit(World::commit_request(offset))));
    let read = world.ask(Request::Fetch(FetchRequest { require_stable: true, ..fetch_request() }));
    world.durable();
    assert!(world.is_parked(read));
    world.fail(AppendFailure::Unavailable);
    assert_eq!(world.fetched(read), 5);
    assert_eq!(commits.map(|token| world.committed(token)), [Outcome::Done, Outcome::NotAvailable]);
    let read = world.ask(Request::Fetch(FetchRequest { require_stable: true, ..fetch_request() }));
    assert_eq!(world.fetched(read), 5);
}

#[test]
fn a_commit_is_checked_against_the_group() {
    let mut world = World::new();
    let as_member =
        |member: &str, generation| CommitRequest { member: member.into(), generation, ..World::commit_request(1) };
    assert_eq!(world.commit(as_member("x", 1)), Outcome::GroupNotFound);
    let old = CommitRequest { knows_group_not_found: false, ..as_member("x", 1) };
    assert_eq!(world.commit(old), Outcome::IllegalGeneration);
    let (ids, generation) = world.stable(1);
    assert_eq!(world.commit(World::commit_request(1)), Outcome::UnknownMember, "the group has members");
    assert_eq!(world.commit(as_member("x", generation)), Outcome::UnknownMember);
    assert_eq!(world.commit(as_member(&ids[0], generation - 1)), Outcome::IllegalGeneration);
    assert_eq!(world.commit(as_member(&ids[0], generation)), Outcome::Done);
    let fenced = CommitRequest { instance: Some("i".into()), ..as_member(&ids[0], generation) };
    assert_eq!(world.commit(fenced), Outcome::UnknownMember);

    let newcomer = world.new_id();
    let joining = world.join(join_request(&newcomer));
    assert_eq!(world.commit(as_member(&ids[0], generation)), Outcome::Done, "before it joins again");
    let rejoin = world.join(join_request(&ids[0]));
    assert_eq!((world.joined(joining).outcome, world.joined(rejoin).outcome), (Outcome::Done, Outcome::Done));
    let awaiting = as_member(&ids[0], generation + 1);
    assert_eq!(world.commit(awaiting), Outcome::RebalanceInProgress, "between its join and its sync");
    world.leave(&[(&ids[0], None), (&newcomer, None)]);
    assert_eq!(world.commit(World::commit_request(9)), Outcome::Done, "the group is empty again");
}

#[test]
fn a_commit_keeps_its_member_alive() {
    let mut world = World::new();
    let (ids, generation) = world.stable(1);
    for offset in 0..5 {
        world.pass(SESSION_MS as u64 - 1);
        let commit = CommitRequest { member: ids[0].clone(), generation, ..World::commit_request(offset) };
        assert_eq!(world.commit(commit), Outcome::Done);
    }
}

#[test]
fn each_partition_is_answered_for_itself() {
    let mut world = World::new();
    let mut request = World::commit_request(1);
    let partition = request.topics[0].partitions[0].clone();
    let with_metadata = |metadata: String| CommitPartition { metadata: Some(metadata.into()), ..partition.clone() };
    request.topics[0].partitions = vec![
        with_metadata("é".repeat(4096)),
        CommitPartition { partition: 1, ..with_metadata("e".repeat(4097)) },
        CommitPartition { partition: 2, known: Outcome::UnknownTopic, ..partition.clone() },
        CommitPartition { partition: 3, metadata: None, ..partition.clone() },
    ];
    let token = world.ask(Request::Commit(request));
    let Reply::Commit(reply) = world.reply(token) else { panic!("a commit") };
    let expected = [Outcome::Done, Outcome::MetadataTooLarge, Outcome::UnknownTopic, Outcome::Done];
    let expected: Vec<(i32, Outcome)> = (0..).zip(expected).collect();
    assert_eq!(reply.topics[0].partitions, expected);
    assert_eq!(world.log.len(), 2);
    world.crash();
    let token = world.ask(Request::Fetch(FetchRequest { topics: None, ..fetch_request() }));
    let Reply::Fetch(reply) = world.reply(token) else { panic!("offsets") };
    assert_eq!((&*reply.topics[0].name, reply.topics[0].id), ("t", TOPIC_ID));
    let found: Vec<(i32, usize)> =
        reply.topics[0].partitions.iter().map(|found| (found.partition, found.metadata.len())).collect();
    assert_eq!(found, [(0, 8192), (3, 0)]);
}

#[test]
fn an_offset_of_an_earlier_topic_of_the_same_name_is_not_shown() {
    let mut world = World::new();
    world.commit(World::commit_request(5));
    let mut request = fetch_request();
    request.topics.iter_mut().flatten().for_each(|topic| topic.id = [8; 16]);
    let token = world.ask(Request::Fetch(request));
    assert_eq!(world.fetched(token), -1);
}

#[test]
fn offsets_survive_a_restart() {
    let mut world = World::new();
    let (ids, generation) = world.stable(1);
    world.commit(CommitRequest { member: ids[0].clone(), generation, ..World::commit_request(5) });
    world.crash();
    assert_eq!(world.offset(), 5);
    assert_eq!(world.describe().state, "Stable");
}

#[test]
fn a_group_is_deleted_with_its_offsets_when_nobody_is_in_it() {
    let mut world = World::new();
    assert_eq!(world.delete(), Outcome::GroupNotFound);
    let (ids, generation) = world.stable(1);
    world.commit(CommitRequest { member: ids[0].clone(), generation, ..World::commit_request(5) });
    assert_eq!(world.delete(), Outcome::GroupNotEmpty);
    world.leave(&[(&ids[0], None)]);
    assert_eq!(world.delete(), Outcome::Done);
    assert_eq!((world.offset(), world.describe().outcome), (-1, Outcome::GroupNotFound));
    world.crash();
    assert_eq!((world.offset(), world.describe().outcome), (-1, Outcome::GroupNotFound));
}

#[test]
fn while_a_group_is_being_deleted_nobody_gets_in() {
    let mut world = World::new();
    world.commit(World::commit_request(5));
    world.is_disk_quick = false;
    let commit = world.ask(Request::Commit(World::commit_request(6)));
    assert_eq!(world.delete(), Outcome::LoadInProgress, "a commit is under way");
    world.durable();
    assert_eq!(world.committed(commit), Outcome::Done);
    let deleting = world.ask(Request::Delete(GROUP.into()));
    let join = world.join(join_request(""));
    assert_eq!(world.joined(join).outcome, Outcome::NotAvailable);
    assert_eq!(world.commit(World::commit_request(7)), Outcome::NotAvailable);
    assert_eq!((world.offset(), world.describe().state), (6, "Dead"));
    world.fail(AppendFailure::Unavailable);
    assert_eq!(world.reply(deleting), Reply::Delete(Outcome::NotAvailable));
    assert_eq!((world.offset(), world.describe().state), (6, "Empty"), "it is as it was");
}

#[test]
fn a_deletion_of_many_offsets_is_split_into_bounded_appends() {
    let mut world = World::new();
    let mut request = World::commit_request(1);
    let partition = request.topics[0].partitions[0].clone();
    let partitions = (0..2_500).map(|index| CommitPartition { partition: index, ..partition.clone() });
    request.topics[0].partitions = partitions.collect();
    world.commit(request);
    world.is_disk_quick = false;
    let deleting = world.ask(Request::Delete(GROUP.into()));
    let sizes: Vec<usize> = world.under_way.iter().map(|append| append.records.len()).collect();
    assert_eq!(sizes, [1_000, 1_000, 501]);
    world.durable();
    world.durable();
    assert!(world.is_parked(deleting));
    world.durable();
    assert_eq!(world.reply(deleting), Reply::Delete(Outcome::Done));
}

fn expire(world: &mut World) {
    while world.call(|coordinator, now, effects| coordinator.expire(2, now, effects)) {}
}

#[test]
fn offsets_are_kept_as_long_as_configured_after_the_group_emptied() {
    let config = Config { offsets_retention_ms: HOUR_MS as i64, ..Config::default() };
    let mut world = World::with(config);
    let (ids, generation) = world.stable(1);
    world.commit(CommitRequest { member: ids[0].clone(), generation, ..World::commit_request(5) });
    for _ in 0..720 {
        world.pass(5_000);
        world.heartbeat(&ids[0], generation);
    }
    world.pass(5_000);
    expire(&mut world);
    assert_eq!(world.offset(), 5, "the group is in use");
    world.leave(&[(&ids[0], None)]);
    world.pass(HOUR_MS - 1);
    expire(&mut world);
    assert_eq!(world.offset(), 5);
    world.crash();
    world.pass(1);
    expire(&mut world);
    assert_eq!((world.offset(), world.describe().outcome), (-1, Outcome::GroupNotFound));
    world.crash();
    assert_eq!((world.offset(), world.describe().outcome), (-1, Outcome::GroupNotFound));
}

#[test]
fn offsets_of_topics_that_nobody_reads_any_more_expire_in_a_living_group() {
    let config = Config { offsets_retention_ms: HOUR_MS as i64, ..Config::default() };
    let mut world = World::with(config);
    let (ids, generation) = world.stable(1);
    let mut commit = CommitRequest { member: ids[0].clone(), generation, ..World::commit_request(5) };
    commit.topics.push(CommitTopic { name: "other".into(), ..commit.topics[0].clone() });
    world.commit(commit);
    for _ in 0..720 {
        world.pass(5_000);
        world.heartbeat(&ids[0], generation);
    }
    expire(&mut world);
    let token = world.ask(Request::Fetch(FetchRequest { topics: None, ..fetch_request() }));
    let Reply::Fetch(reply) = world.reply(token) else { panic!("offsets") };
    let topics: Vec<&str> = reply.topics.iter().map(|topic| &*topic.name).collect();
    assert_eq!(topics, ["t"]);
}

#[test]
fn offsets_of_a_group_without_members_expire_after_their_own_commit_or_at_their_own_time() {
    let config = Config { offsets_retention_ms: HOUR_MS as i64, ..Config::default() };
    let mut world = World::with(config);
    world.commit(World::commit_request(5));
    world.commit(CommitRequest { group: "own".into(), retention_ms: 1_000, ..World::commit_request(6) });
    world.commit(CommitRequest { group: "young".into(), ..World::commit_request(6) });
    let count = |world: &mut World| {
        let token = world.ask(Request::List(ListRequest::default()));
        let Reply::List(reply) = world.reply(token) else { panic!("a list") };
        reply.groups.len()
    };
    world.pass(1_000);
    expire(&mut world);
    assert_eq!(count(&mut world), 2);
    world.pass(HOUR_MS - 2_000);
    world.commit(CommitRequest { group: "young".into(), ..World::commit_request(7) });
    world.pass(1_000);
    expire(&mut world);
    assert_eq!(count(&mut world), 1);
    world.crash();
    assert_eq!(count(&mut world), 1);
}

#[test]
fn expiry_goes_through_all_groups_in_bounded_steps() {
    let mut world = World::new();
    for index in 0..5 {
        world.commit(CommitRequest { group: format!("g{index}").into(), ..World::commit_request(5) });
    }
    let mut steps = 1;
    while world.call(|coordinator, now, effects| coordinator.expire(2, now, effects)) {
        steps += 1;
    }
    assert_eq!(steps, 3);
}

#[test]
fn a_deleted_topic_takes_its_offsets_along_even_those_under_way() {
    let mut world = World::new();
    world.commit(World::commit_request(5));
    world.is_disk_quick = false;
    let late = world.ask(Request::Commit(CommitRequest { group: "late".into(), ..World::commit_request(6) }));
    world.call(|coordinator, _, effects| coordinator.forget_topic("t", effects));
    world.durable();
    assert_eq!(world.committed(late), Outcome::Done);
    world.durable();
    assert_eq!(world.offset(), -1);
    let token = world.ask(Request::Fetch(FetchRequest { group: "late".into(), ..fetch_request() }));
    assert_eq!(world.fetched(token), -1);
    world.crash();
    assert_eq!(world.offset(), -1);
}

#[test]
fn offsets_are_removed_once_their_tombstones_are_durable() {
    let mut world = World::new();
    world.commit(World::commit_request(5));
    world.is_disk_quick = false;
    let topics = vec![("t".into(), vec![(0, Outcome::Done), (1, Outcome::Done), (2, Outcome::UnknownTopic)])];
    let request = DeleteOffsetsRequest { group: GROUP.into(), topics: topics.clone() };
    let deleting = world.ask(Request::DeleteOffsets(request.clone()));
    assert!(world.is_parked(deleting));
    assert_eq!(world.offset(), 5);
    world.fail(AppendFailure::Unavailable);
    let Reply::DeleteOffsets(reply) = world.reply(deleting) else { panic!("a removal") };
    assert_eq!((reply.outcome, reply.topics.len(), world.offset()), (Outcome::NotAvailable, 0, 5));
    let deleting = world.ask(Request::DeleteOffsets(request.clone()));
    world.durable();
    assert_eq!(world.reply(deleting), Reply::DeleteOffsets(DeleteOffsetsReply { outcome: Outcome::Done, topics }));
    assert_eq!((world.offset(), world.describe().state), (-1, "Empty"), "the group stays");
    let again = world.ask(Request::DeleteOffsets(request));
    assert!(!world.is_parked(again), "there is nothing to write");
    world.crash();
    assert_eq!(world.offset(), -1);
}

#[test]
fn a_removal_of_offsets_covers_the_commit_under_way() {
    let mut world = World::new();
    world.commit(World::commit_request(5));
    world.is_disk_quick = false;
    let commit = world.ask(Request::Commit(World::commit_request(6)));
    let topics = vec![("t".into(), vec![(0, Outcome::Done)])];
    let request = DeleteOffsetsRequest { group: GROUP.into(), topics };
    let deleting = world.ask(Request::DeleteOffsets(request));
    world.durable();
    assert_eq!(world.committed(commit), Outcome::Done);
    world.durable();
    let Reply::DeleteOffsets(reply) = world.reply(deleting) else { panic!("a removal") };
    assert_eq!((reply.outcome, world.offset()), (Outcome::Done, -1));
}

#[test]
fn offsets_of_topics_that_a_member_reads_are_not_removed() {
    let mut world = World::new();
    let (ids, generation) = world.stable(1);
    let mut commit = CommitRequest { member: ids[0].clone(), generation, ..World::commit_request(5) };
    commit.topics.push(CommitTopic { name: "other".into(), ..commit.topics[0].clone() });
    world.commit(commit);
    let both = ["t", "other"].map(|topic| (topic.into(), vec![(0, Outcome::Done)]));
    let request = DeleteOffsetsRequest { group: GROUP.into(), topics: both.to_vec() };
    let token = world.ask(Request::DeleteOffsets(request.clone()));
    let Reply::DeleteOffsets(reply) = world.reply(token) else { panic!("a removal") };
    let outcomes: Vec<Outcome> = reply.topics.iter().map(|(_, partitions)| partitions[0].1).collect();
    assert_eq!(outcomes, [Outcome::Subscribed, Outcome::Done]);
    world.leave(&[(&ids[0], None)]);
    let token = world.ask(Request::DeleteOffsets(request));
    let Reply::DeleteOffsets(reply) = world.reply(token) else { panic!("a removal") };
    assert!(reply.topics.iter().all(|(_, partitions)| partitions[0].1 == Outcome::Done), "nobody reads any more");
}

#[test]
fn offsets_are_gone_through_group_by_group() {
    let mut world = World::new();
    for index in 0..5 {
        world.commit(CommitRequest { group: format!("g{index}").into(), ..World::commit_request(index) });
    }
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let (offsets, next) = world.coordinator.committed_after(after.as_deref(), 2);
        found.extend(offsets.iter().map(|of| (of.group.to_string(), of.offset)));
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let expected: Vec<(String, i64)> = (0..5).map(|index| (format!("g{index}"), index)).collect();
    assert_eq!(found, expected);
}
