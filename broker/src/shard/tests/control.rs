//! The controller: what it says is true, also after the node has ended in any way.

use storage::simulated::Faults;
use storage::store::Options;

use super::world::World;

const TOPIC_ALREADY_EXISTS: i16 = 36;

/// A topic whose creation is not durable does not exist for anybody: not for who wants to create it, too.
#[test]
fn a_refusal_that_rests_on_a_change_waits_until_the_change_is_durable() {
    let mut world = World::start(2, &[], Options::default());
    let (mut first, mut second) = (world.connect(), world.connect());
    first.create_topic(&mut world, "before", 1, &[]);
    world.machine.disks[0].borrow_mut().set_faults(Faults { is_gone: true, ..Faults::NONE });
    first.send_create_topic(&mut world, "lost", 1, &[]);
    world.pass_ms(5);
    second.send_create_topic(&mut world, "lost", 1, &[]);
    world.pass_ms(20_000);
    assert!(world.has_halted, "it cannot go on without its metadata");
    assert_eq!(first.created_topic(&mut world), None);
    assert_eq!(second.created_topic(&mut world), None, "nobody was told of what is lost");

    world.machine.disks[0].borrow_mut().crash();
    world.machine.disks[0].borrow_mut().set_faults(Faults::NONE);
    let mut world = world.restart(2, &[], Options::default());
    let mut client = world.connect();
    client.send_create_topic(&mut world, "before", 1, &[]);
    let (error, _) = world.wait_for(|world| client.created_topic(world));
    assert_eq!(error, TOPIC_ALREADY_EXISTS);
    client.create_topic(&mut world, "lost", 1, &[]);
}

/// Who waits for somebody else's change gets an answer once that is there.
#[test]
fn of_two_who_create_a_topic_at_once_one_has_it_and_the_other_is_refused() {
    let mut world = World::start(2, &[], Options::default());
    let mut clients = [world.connect(), world.connect()];
    clients.iter_mut().for_each(|client| client.send_create_topic(&mut world, "wanted", 1, &[]));
    let mut errors = clients.map(|mut client| world.wait_for(|world| client.created_topic(world)).0);
    errors.sort_unstable();
    assert_eq!(errors, [0, TOPIC_ALREADY_EXISTS]);
}

#[test]
fn a_node_that_is_stopped_before_its_first_turn_stops_and_starts_again() {
    for shards in [1, 3] {
        let mut world = World::start(shards, &[], Options::default());
        world.stop();
        let mut world = world.restart(shards, &[], Options::default());
        let mut client = world.connect();
        client.create_topic(&mut world, "topic", 2, &[]);
        assert_eq!(client.produce(&mut world, "topic", 1, 100), (0, 0));
        let mut world = world.restart(shards, &[], Options::default());
        world.stop();
        let mut world = world.restart(2, &[], Options::default());
        let mut client = world.connect();
        assert_eq!(client.produce(&mut world, "topic", 1, 100), (0, 1), "what was acknowledged is there");
    }
}
