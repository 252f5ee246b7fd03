//! Limits of connections.

use storage::store::Options;

use super::world::{Client, World};

/// Whether the node answers on a connection.
fn is_served(world: &mut World, client: &mut Client) -> bool {
    client.send_fetch(world, "nothing", 0, 0, 0);
    world.pass_ms(50);
    client.fetched(world).is_some()
}

#[test]
fn an_address_gets_as_many_connections_as_it_may() {
    let mut world = World::start(2, &["max.connections.per.ip=3"], Options::default());
    let mut clients: Vec<Client> = (0..3).map(|_| world.connect()).collect();
    world.pass_ms(10);
    for client in &mut clients {
        assert!(is_served(&mut world, client));
    }
    let mut one_more = world.connect();
    world.pass_ms(10);
    assert!(one_more.is_closed(&mut world), "closed at once");
    assert_eq!(world.report(0).connections.refused, 1);
    // The end of one makes room for another, whichever shard has it.
    for _ in 0..4 {
        clients.remove(0).close(&mut world);
        world.pass_ms(10);
        let mut next = world.connect();
        world.pass_ms(10);
        assert!(is_served(&mut world, &mut next));
        clients.push(next);
    }
    // All addresses of these clients are the same one, and it may have more.
    clients[0].configure(&mut world, "max.connections.per.ip.overrides", "10.0.0.1:1,127.0.0.1:4");
    let mut fourth = world.connect();
    world.pass_ms(10);
    assert!(is_served(&mut world, &mut fourth));
    let mut fifth = world.connect();
    world.pass_ms(10);
    assert!(fifth.is_closed(&mut world));
}

#[test]
fn connections_beyond_those_of_the_node_wait_until_others_end() {
    let mut world = World::start(2, &["max.connections=2"], Options::default());
    let mut first = world.connect();
    let mut second = world.connect();
    world.pass_ms(10);
    assert!(is_served(&mut world, &mut first) && is_served(&mut world, &mut second));
    let mut waiting: Vec<Client> = (0..5).map(|_| world.connect()).collect();
    world.pass_ms(10);
    for client in &mut waiting {
        assert!(!is_served(&mut world, client) && !client.is_closed(&mut world), "it waits");
    }
    second.close(&mut world);
    world.pass_ms(50);
    let served: Vec<bool> = waiting.iter_mut().map(|client| client.fetched(&mut world).is_some()).collect();
    assert_eq!(served, [true, false, false, false, false], "in the order they came");
    // More are allowed while the node runs.
    first.configure(&mut world, "max.connections", "10");
    world.pass_ms(50);
    assert!(waiting[1..].iter_mut().all(|client| client.fetched(&mut world).is_some()));
    let mut another = world.connect();
    world.pass_ms(10);
    assert!(is_served(&mut world, &mut another));
    assert_eq!((0..2).map(|shard| world.report(shard).connections.open).sum::<usize>(), 7);
}
