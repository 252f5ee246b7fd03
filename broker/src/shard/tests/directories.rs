//! Several data directories: what the loss of one takes along, and what not.

use net::Message as _;
use net::Uuid;
use net::api::{describe_log_dirs, list_offsets, metadata};
use storage::simulated::Faults;
use storage::store::Options;

use super::world::{Client, World};

const GONE: Faults = Faults { is_gone: true, ..Faults::NONE };
const READ_ONLY: Faults = Faults { is_read_only: true, ..Faults::NONE };
const STORAGE_ERROR: i16 = 56;
const LEADER_NOT_AVAILABLE: i16 = 5;

fn options() -> Options {
    Options { tail_bytes: 4 << 20, buffer_bytes: 16 << 20, ..Options::default() }
}

/// A node of two shards and directories, and a topic of eight partitions with a record in each.
fn node() -> (World, Client) {
    let mut world = World::start_with(&[Faults::NONE, Faults::NONE], 2, &[], options());
    let mut client = world.connect();
    client.create_topic(&mut world, "spread", 8, &[]);
    for partition in 0..8 {
        assert_eq!(client.produce(&mut world, "spread", partition, 100), (0, 0));
    }
    (world, client)
}

/// The partitions of `spread` in the first directory and in the other one.
fn places(world: &mut World) -> (Vec<i32>, Vec<i32>) {
    let image = world.report(0).image;
    let partitions = (0..).zip(&image.topic("spread").expect("there").partitions);
    let (first, other): (Vec<_>, Vec<_>) = partitions.partition(|(_, partition)| partition.directory == Uuid::ZERO);
    let index = |all: Vec<(i32, _)>| all.into_iter().map(|(index, _)| index).collect();
    (index(first), index(other))
}

/// Produces until the answer is no time-out: a directory is given up after some attempts.
fn produce(client: &mut Client, world: &mut World, partition: i32) -> (i16, i64) {
    const TIMED_OUT: i16 = 7;
    loop {
        let answer = client.produce(world, "spread", partition, 100);
        if answer.0 != TIMED_OUT {
            return answer;
        }
    }
}

fn leaders(client: &mut Client, world: &mut World) -> Vec<(i16, i32, Vec<i32>)> {
    let topic = metadata::RequestTopics { name: Some("spread".into()), ..Default::default() };
    let request = metadata::Request { topics: Some(vec![topic]), ..Default::default() };
    let body = client.call::<_, metadata::Response<'_>>(world, 9, &request);
    let response = metadata::Response::from_bytes(&body, 9).expect("an answer");
    let partitions = response.topics.into_iter().next().expect("it was asked for").partitions;
    partitions.into_iter().map(|it| (it.error_code, it.leader_id, it.offline_replicas)).collect()
}

/// The error of each directory, its number of partitions, and whether its size is told.
fn log_dirs(client: &mut Client, world: &mut World) -> Vec<(String, i16, usize, bool)> {
    let request = describe_log_dirs::Request { topics: None };
    let body = client.call::<_, describe_log_dirs::Response<'_>>(world, 4, &request);
    let response = describe_log_dirs::Response::from_bytes(&body, 4).expect("an answer");
    let row = |it: describe_log_dirs::ResponseResults<'_>| {
        let partitions = it.topics.iter().map(|topic| topic.partitions.len()).sum();
        (it.log_dir.to_string(), it.error_code, partitions, it.total_bytes >= 0)
    };
    response.results.into_iter().map(row).collect()
}

fn end_offset(client: &mut Client, world: &mut World, partition_index: i32) -> (i16, i64) {
    let partition = list_offsets::RequestTopicsPartitions { partition_index, current_leader_epoch: -1, timestamp: -1 };
    let topic = list_offsets::RequestTopics { name: "spread".into(), partitions: vec![partition] };
    let request = list_offsets::Request { replica_id: -1, topics: vec![topic], ..Default::default() };
    let body = client.call::<_, list_offsets::Response<'_>>(world, 5, &request);
    let response = list_offsets::Response::from_bytes(&body, 5).expect("an answer");
    let answer = &response.topics[0].partitions[0];
    (answer.error_code, answer.offset)
}

#[test]
fn partitions_are_spread_and_told_of_by_directory() {
    let (mut world, mut client) = node();
    let (first, other) = places(&mut world);
    assert_eq!((first.len(), other.len()), (4, 4));
    let rows = log_dirs(&mut client, &mut world);
    assert_eq!(rows, [("/disk0".to_owned(), 0, 4, true), ("/disk1".to_owned(), 0, 4, true)]);
}

#[test]
fn the_loss_of_a_directory_takes_down_its_partitions_alone_until_it_is_back() {
    for faults in [GONE, READ_ONLY] {
        let (mut world, mut client) = node();
        let (first, other) = places(&mut world);
        world.machine.disks[1].borrow_mut().set_faults(faults);
        assert_eq!(produce(&mut client, &mut world, other[0]).0, STORAGE_ERROR);
        for &partition in &first {
            assert_eq!(client.produce(&mut world, "spread", partition, 100), (0, 1), "the others go on");
        }
        world.pass_ms(10);
        for &partition in &other {
            assert_eq!(client.produce(&mut world, "spread", partition, 100).0, STORAGE_ERROR, "on every shard");
            assert_eq!(end_offset(&mut client, &mut world, partition).0, STORAGE_ERROR);
            client.send_fetch(&mut world, "spread", partition, 0, 1000);
            assert_eq!(world.wait_for(|world| client.fetched(world)).0, STORAGE_ERROR);
        }
        for (partition, leader) in (0..).zip(leaders(&mut client, &mut world)) {
            let expected =
                if first.contains(&partition) { (0, 1, vec![]) } else { (LEADER_NOT_AVAILABLE, -1, vec![1]) };
            assert_eq!(leader, expected);
        }
        let rows = log_dirs(&mut client, &mut world);
        assert_eq!(rows, [("/disk0".to_owned(), 0, 4, true), ("/disk1".to_owned(), STORAGE_ERROR, 0, false)]);
        let offline: usize = (0..2).map(|shard| world.report(shard).offline_partitions).sum();
        assert_eq!(offline, other.len());
        assert!((0..2).all(|shard| world.report(shard).directories[1].offline.is_some()));
        // New partitions go where there is a disk.
        client.create_topic(&mut world, "later", 2, &[]);
        assert_eq!(client.produce(&mut world, "later", 1, 100), (0, 0));

        // Still away, and the other number of shards.
        let mut world = world.restart(3, &[], options());
        let mut client = world.connect();
        // A read-only file system can be read, and not be used: that is an error of its own at the start.
        assert_eq!(produce(&mut client, &mut world, other[0]).0, STORAGE_ERROR);
        assert_eq!(client.produce(&mut world, "spread", first[0], 100), (0, 2));

        world.machine.disks[1].borrow_mut().set_faults(Faults::NONE);
        let mut world = world.restart(1, &[], options());
        let mut client = world.connect();
        for &partition in &other {
            let (error, end) = end_offset(&mut client, &mut world, partition);
            assert_eq!((error, end >= 1), (0, true), "what was acknowledged is there");
            client.send_fetch(&mut world, "spread", partition, 0, 1000);
            let (error, bytes) = world.wait_for(|world| client.fetched(world));
            assert_eq!((error, bytes.is_empty()), (0, false));
            assert_eq!(client.produce(&mut world, "spread", partition, 100), (0, end));
        }
        assert!(leaders(&mut client, &mut world).iter().all(|leader| leader.1 == 1));
    }
}

#[test]
fn a_node_halts_without_its_metadata() {
    let (mut world, mut client) = node();
    let (first, _) = places(&mut world);
    world.machine.disks[0].borrow_mut().set_faults(GONE);
    client.send_produce(&mut world, "spread", first[0], 100);
    world.pass_ms(20_000);
    assert!(world.has_halted);
    world.machine.disks[0].borrow_mut().set_faults(Faults::NONE);
    let mut world = world.restart(2, &[], options());
    let mut client = world.connect();
    for partition in 0..8 {
        let (error, end) = end_offset(&mut client, &mut world, partition);
        assert_eq!((error, end >= 1), (0, true), "what was acknowledged is there");
    }
}

#[test]
fn a_full_directory_refuses_its_appends_until_there_is_room_and_the_others_go_on() {
    let (mut world, mut client) = node();
    let (first, other) = places(&mut world);
    let used_bytes = world.machine.disks[1].borrow().used_bytes();
    let full = Faults { capacity_bytes: used_bytes, ..Faults::NONE };
    world.machine.disks[1].borrow_mut().set_faults(full);
    while client.produce(&mut world, "spread", other[0], 200_000).0 == 0 {}
    assert_eq!(client.produce(&mut world, "spread", first[0], 100).0, 0);
    assert!(leaders(&mut client, &mut world).iter().all(|leader| leader.1 == 1), "nothing is offline");
    client.send_fetch(&mut world, "spread", other[0], 0, 1000);
    assert_eq!(world.wait_for(|world| client.fetched(world)).0, 0, "reads go on");
    world.machine.disks[1].borrow_mut().set_faults(Faults::NONE);
    world.pass_ms(3000);
    assert_eq!(client.produce(&mut world, "spread", other[0], 100).0, 0);

    // A start needs some room.
    let used_bytes = world.machine.disks[1].borrow().used_bytes();
    world.machine.disks[1].borrow_mut().set_faults(Faults { capacity_bytes: used_bytes, ..Faults::NONE });
    let mut world = world.restart(1, &[], options());
    let mut client = world.connect();
    assert_eq!(client.produce(&mut world, "spread", other[0], 100).0, STORAGE_ERROR);
    assert_eq!(client.produce(&mut world, "spread", first[0], 100).0, 0);
}

#[test]
fn directories_that_do_not_belong_together_are_refused() {
    let disks = |world: &World| world.machine.disks.clone();
    let mut another = World::start_with(&[Faults::NONE, Faults::NONE, Faults::NONE], 1, &[], options());
    another.pass_ms(1000);
    let (one, other) = (disks(&node().0), disks(&another));
    one.iter().chain(&other).for_each(|disk| disk.borrow_mut().close_all());
    let refusal = World::refusal(&[&one[0], &other[1]]);
    assert!(refusal.contains("/disk0 and /disk1 belong to different nodes"), "{refusal}");
    let refusal = World::refusal(&[&one[0], &other[0]]);
    assert!(refusal.contains("belong to different nodes"), "{refusal}");
    let refusal = World::refusal(&[&one[1]]);
    assert!(refusal.contains("/disk0 belongs to a node whose metadata lies in another directory"), "{refusal}");
    let refusal = World::refusal(&[&one[1], &one[0], &one[1]]);
    assert!(refusal.contains("are one directory"), "{refusal}");
    one[0].borrow_mut().set_faults(GONE);
    let refusal = World::refusal(&[&one[0], &one[1]]);
    assert!(refusal.contains("name that one, too") && refusal.contains("/disk0 cannot be read"), "{refusal}");
}
