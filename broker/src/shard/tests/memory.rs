//! The memory of connections and readers: bounded, shared fairly, and never kept by those who do nothing with it.

use storage::store::Options;

use super::world::{Client, World};

/// Memory of a shard's connections in these tests.
const LIMIT: usize = 8 << 20;
/// What a client writes at once: the network has it all at one moment, and a cancelled receive takes effect after it.
const PIECE: usize = 32 << 10;

fn start(options: Options) -> World {
    World::start_within(LIMIT, 1, &[], options)
}

#[test]
fn large_requests_wait_for_one_another_and_small_ones_do_not_wait_for_them() {
    let mut world = start(Options::default());
    let mut clients: Vec<Client> = (0..12).map(|_| world.connect()).collect();
    let mut small = world.connect();
    small.create_topic(&mut world, "t", 1, &[("max.message.bytes", "8388608")]);
    // Each has a third of the memory, and comes in pieces.
    let mut frames: Vec<Vec<u8>> = clients.iter_mut().map(|it| it.produce_frame("t", 0, LIMIT / 3)).collect();
    let mut left: Vec<usize> = (0..clients.len()).collect();
    let (mut has_waited, mut small_produced) = (false, 0);
    let until_ns = world.now_ns() + 60_000_000_000;
    while !left.is_empty() {
        assert!(world.now_ns() < until_ns, "{} requests are never answered", left.len());
        for (client, frame) in clients.iter_mut().zip(&mut frames) {
            let piece: Vec<u8> = frame.drain(..frame.len().min(PIECE)).collect();
            client.write(&mut world, &piece);
        }
        world.pass_ms(1);
        let before_ns = world.now_ns();
        assert_eq!(small.produce(&mut world, "t", 0, 100).0, 0);
        assert!(world.now_ns() - before_ns < 100_000_000, "a small request is answered soon");
        small_produced += 1;
        left.retain(|&at| clients[at].produced(&mut world).inspect(|&(error, _)| assert_eq!(error, 0)).is_none());
        let connections = world.report(0).connections;
        has_waited |= connections.memory_waiting > 0;
        assert!(connections.memory.used_bytes <= LIMIT, "{}", connections.memory.used_bytes);
    }
    world.pass_ms(10);
    let connections = world.report(0).connections;
    assert!(has_waited && small_produced > 0);
    assert_eq!((connections.memory_waiting, connections.memory_ended, connections.memory.used_bytes), (0, 0, 0));
}

#[test]
fn who_begins_large_requests_and_does_not_go_on_is_ended_when_others_wait() {
    let mut world = start(Options::default());
    let mut producer = world.connect();
    producer.create_topic(&mut world, "t", 1, &[("max.message.bytes", "8388608")]);
    let mut idle: Vec<Client> = (0..10).map(|_| world.connect()).collect();
    for client in &mut idle {
        client.write(&mut world, &[(LIMIT as i32 / 2).to_be_bytes().to_vec(), vec![0; 100]].concat());
    }
    world.pass_ms(10);
    // Those that wait are not received from, so it is not they who do nothing.
    let before_ns = world.now_ns();
    let frame = producer.produce_frame("t", 0, LIMIT / 3);
    for piece in frame.chunks(PIECE) {
        producer.write(&mut world, piece);
        world.pass_ms(1);
    }
    let answer = world.wait_for(|world| producer.produced(world));
    assert_eq!(answer.0, 0);
    assert!(world.now_ns() - before_ns < 120_000_000_000);
    assert!(world.report(0).connections.memory_ended > 0);
    assert!(world.report(0).connections.memory.used_bytes <= LIMIT);
}

#[test]
fn a_request_that_can_never_fit_ends_its_connection() {
    let mut world = start(Options::default());
    let mut client = world.connect();
    client.write(&mut world, &[(LIMIT as i32).to_be_bytes().to_vec(), vec![0; 100]].concat());
    world.pass_ms(100);
    assert!(client.is_closed(&mut world));
    assert_eq!(world.report(0).connections.memory_ended, 1);
}

#[test]
fn consumers_that_never_read_do_not_stop_producers_or_other_consumers() {
    let options = Options { tail_bytes: 8 << 20, buffer_bytes: 12 << 20, ..Options::default() };
    let mut world = World::start_within(LIMIT, 2, &[], options);
    let mut producer = world.connect();
    producer.create_topic(&mut world, "t", 4, &[]);
    for number in 0..40 {
        assert_eq!(producer.produce(&mut world, "t", number % 4, 100_000).0, 0);
    }
    // They ask for all there is, again and again, and take nothing.
    let mut deaf: Vec<Client> = (0..60).map(|_| world.connect()).collect();
    for (number, client) in deaf.iter_mut().enumerate() {
        (0..4).for_each(|at| client.send_fetch(&mut world, "t", (number as i32 + at) % 4, at.into(), 100));
    }
    let mut consumer = world.connect();
    let (mut slowest_ns, mut offset) = (0, 0);
    for number in 0..200 {
        let before_ns = world.now_ns();
        assert_eq!(producer.produce(&mut world, "t", number % 4, 50_000).0, 0, "producers are not refused");
        slowest_ns = slowest_ns.max(world.now_ns() - before_ns);
        if number % 10 == 0 {
            deaf.iter_mut()
                .for_each(|client| client.send_fetch(&mut world, "t", number % 4, i64::from(number / 4), 100));
        }
        for shard in 0..2 {
            let store = world.report(shard).store;
            assert!(store.lent.used_bytes <= store.lent.budget_bytes, "{:?}", store.lent);
        }
        consumer.send_fetch(&mut world, "t", 0, offset, 500);
        let (error, bytes) = world.wait_for(|world| consumer.fetched(world));
        assert_eq!(error, 0);
        offset += storage::batch::batches(&bytes).count() as i64;
    }
    assert!(slowest_ns < 1_000_000_000, "the slowest append took {slowest_ns} ns");
    let until_ns = world.now_ns() + 120_000_000_000;
    while offset < 60 {
        assert!(world.now_ns() < until_ns, "a consumer that reads is stuck at {offset}");
        consumer.send_fetch(&mut world, "t", 0, offset, 500);
        let (_, bytes) = world.wait_for(|world| consumer.fetched(world));
        offset += storage::batch::batches(&bytes).count() as i64;
    }
}
