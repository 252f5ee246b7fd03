//! Fetches that wait for records, and connections that end meanwhile.

use storage::store::Options;

use super::world::World;

#[test]
fn a_parked_fetch_ends_with_its_connection() {
    let mut world = World::start(2, &[], Options::default());
    let mut admin = world.connect();
    admin.create_topic(&mut world, "waited", 4, &[]);
    let before: Vec<usize> = (0..2).map(|shard| world.waiting(shard)).collect();
    for round in 0..20 {
        let mut consumer = world.connect();
        // On this shard and on the other.
        for partition in 0..4 {
            consumer.send_fetch(&mut world, "waited", partition, 0, 3_000_000);
        }
        world.pass_ms(5);
        assert!((0..2).any(|shard| world.waiting(shard) > before[shard]), "round {round}: parked");
        consumer.close(&mut world);
        world.pass_ms(5);
        let after: Vec<usize> = (0..2).map(|shard| world.waiting(shard)).collect();
        assert_eq!(after, before, "round {round}: nothing waits for somebody who is gone");
        assert!((0..2).all(|shard| world.watches(shard) == 0), "round {round}");
    }
    // Who waits is still told.
    let mut consumer = world.connect();
    consumer.send_fetch(&mut world, "waited", 1, 0, 3_000_000);
    world.pass_ms(5);
    assert_eq!(admin.produce(&mut world, "waited", 1, 100), (0, 0));
    let (error, records) = world.wait_for(|world| consumer.fetched(world));
    assert!(error == 0 && !records.is_empty());
}
