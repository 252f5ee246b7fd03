//! Tests of the receiver of clients' metrics.

use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::config::Settings;
use crate::metadata::Record;

const MAX: u32 = 1000;
const ABOUT: About<'_> =
    About { client_id: "app-1", software_name: "skein", software_version: "1", address: "127.0.0.1", port: 9 };

struct World {
    receiver: Receiver,
    image: Image,
    random: Xoshiro256PlusPlus,
    now: Now,
}

impl World {
    fn new() -> World {
        let image = Image::empty(1, 1, Arc::new(Settings::default()));
        let now = Now { monotonic_ns: 1, wall_ms: 1 };
        World { receiver: Receiver::default(), image, random: Xoshiro256PlusPlus::seed_from_u64(1), now }
    }

    fn subscribe(&mut self, name: &str, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.image.apply(&Record::ClientMetricsChanged { name: name.to_owned(), configs }).expect("it fits");
    }

    fn wait(&mut self, ms: u64) {
        self.now.monotonic_ns += ms * 1_000_000;
    }

    fn ask(&mut self, id: Uuid) -> get::Response<'static> {
        let request = get::Request { client_instance_id: id };
        self.receiver.subscriptions(&request, &ABOUT, &self.image, MAX, self.now, &mut self.random)
    }

    fn push(&mut self, id: Uuid, subscription_id: i32, codec: i8, metrics: &[u8], terminating: bool) -> i16 {
        let request = push::Request {
            client_instance_id: id,
            subscription_id,
            terminating,
            compression_type: codec,
            metrics: metrics.into(),
        };
        self.receiver.push(&request, &ABOUT, &self.image, MAX, self.now).error_code
    }
}

#[test]
fn a_client_is_told_what_all_subscriptions_that_mean_it_want() {
    let mut world = World::new();
    let nothing = world.ask(Uuid::ZERO);
    assert_eq!((nothing.error_code, nothing.push_interval_ms, nothing.requested_metrics.len()), (0, 300_000, 0));
    world.subscribe("a", &[("interval.ms", "5000"), ("metrics", "b,a"), ("match", "client_id=app-.*")]);
    world.subscribe("b", &[("interval.ms", "9000"), ("metrics", "c")]);
    world.subscribe("c", &[("interval.ms", "100"), ("metrics", "d"), ("match", "client_id=other")]);
    let told = world.ask(Uuid::ZERO);
    assert!(!told.client_instance_id.is_zero() && told.client_instance_id != nothing.client_instance_id);
    assert_eq!(told.requested_metrics, ["a", "b", "c"]);
    assert_eq!((told.push_interval_ms, told.telemetry_max_bytes), (5000, 1000));
    assert_eq!(told.accepted_compression_types, [4, 3, 1, 2]);
    world.subscribe("b", &[("metrics", "c,*")]);
    assert_eq!(world.ask(told.client_instance_id).requested_metrics, ["*"], "a change is told at once");
}

#[test]
fn a_push_is_kept_once_an_interval() {
    let mut world = World::new();
    world.subscribe("a", &[("interval.ms", "5000"), ("metrics", "*")]);
    let told = world.ask(Uuid::ZERO);
    let (id, subscription) = (told.client_instance_id, told.subscription_id);
    assert_eq!(world.ask(id).error_code, 89, "it asks again at once");
    assert_eq!(world.push(id, subscription, 0, b"one", false), 0, "at once after it asked");
    assert_eq!(world.push(id, subscription, 0, b"two", false), 89);
    world.wait(5000);
    let mut packed = Vec::new();
    compression::compress(Codec::Zstd, b"two", &mut packed);
    assert_eq!(world.push(id, subscription, 4, &packed, false), 0);
    let client = world.receiver.clients().next().expect("one client");
    assert_eq!((client.instance_id, &*client.client_id, client.pushes), (id, "app-1", 2));
    assert_eq!(client.latest.expect("it is kept").unpacked().expect("zstd"), b"two");
}

#[test]
fn what_nobody_wants_is_refused() {
    let mut world = World::new();
    world.subscribe("a", &[("interval.ms", "5000"), ("metrics", "*")]);
    let told = world.ask(Uuid::ZERO);
    let (id, subscription) = (told.client_instance_id, told.subscription_id);
    assert_eq!(world.push(Uuid::ZERO, subscription, 0, b"x", false), 42);
    assert_eq!(world.push(id, subscription ^ 1, 0, b"x", false), 117);
    assert_eq!(world.ask(id).error_code, 0, "who is told so asks again at once");
    assert_eq!(world.push(id, subscription, 9, b"x", false), 76);
    assert_eq!(world.ask(id).error_code, 0);
    assert_eq!(world.push(id, subscription, 0, &[0; MAX as usize + 1], false), 118);
    world.subscribe("a", &[("interval.ms", "6000"), ("metrics", "*")]);
    assert_eq!(world.push(id, subscription, 0, b"x", false), 117, "the subscription is another one now");
}

#[test]
fn the_last_push_comes_at_any_time_and_nothing_after_it() {
    let mut world = World::new();
    world.subscribe("a", &[("interval.ms", "5000"), ("metrics", "*")]);
    let told = world.ask(Uuid::ZERO);
    let (id, subscription) = (told.client_instance_id, told.subscription_id);
    assert_eq!(world.push(id, subscription, 0, b"x", false), 0);
    assert_eq!(world.push(id, subscription, 0, b"y", true), 0);
    world.wait(5000);
    assert_eq!(world.push(id, subscription, 0, b"z", true), 42);
}

#[test]
fn silent_clients_are_forgotten_and_memory_is_bounded() {
    let mut world = World::new();
    world.subscribe("a", &[("interval.ms", "100"), ("metrics", "*")]);
    for _ in 0..INSTANCES_MAX + 10 {
        world.wait(1);
        assert_eq!(world.ask(Uuid::ZERO).error_code, 0);
    }
    assert_eq!(world.receiver.instances.len(), INSTANCES_MAX);
    assert_eq!(world.receiver.by_silence.len(), INSTANCES_MAX);
    world.wait(u64::from(INTERVAL_MS_DEFAULT));
    world.ask(Uuid::ZERO);
    assert_eq!(world.receiver.instances.len(), 1);
}

#[test]
fn the_oldest_pushes_make_room_for_new_ones() {
    let mut world = World::new();
    world.subscribe("a", &[("interval.ms", "100"), ("metrics", "*")]);
    let document = vec![0; 8 << 20];
    for _ in 0..3 {
        world.wait(1);
        let told = world.ask(Uuid::ZERO);
        let request = push::Request {
            client_instance_id: told.client_instance_id,
            subscription_id: told.subscription_id,
            metrics: document.as_slice().into(),
            ..push::Request::default()
        };
        assert_eq!(world.receiver.push(&request, &ABOUT, &world.image, u32::MAX, world.now).error_code, 0);
    }
    let kept = world.receiver.clients().filter(|client| client.latest.is_some()).count();
    assert_eq!((world.receiver.instances.len(), kept, world.receiver.kept_bytes), (3, 2, KEPT_BYTES_MAX));
}
