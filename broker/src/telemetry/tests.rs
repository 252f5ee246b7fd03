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
    now_ns: u64,
}

impl World {
    fn new() -> World {
        let image = Image::empty(1, 1, Arc::new(Settings::default()));
        World { receiver: Receiver::default(), image, random: Xoshiro256PlusPlus::seed_from_u64(1), now_ns: 1 }
    }

    fn subscribe(&mut self, name: &str, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.image.apply(&Record::ClientMetricsChanged { name: name.to_owned(), configs }).expect("it fits");
    }

    fn wait(&mut self, ms: u64) {
        self.now_ns += ms * 1_000_000;
    }

    fn ask(&mut self, id: Uuid) -> get::Response<'static> {
        let request = get::Request { client_instance_id: id };
        self.receiver.subscriptions(&request, &ABOUT, &self.image, MAX, self.now_ns, &mut self.random)
    }

    fn push(&mut self, id: Uuid, subscription_id: i32, codec: i8, metrics: &[u8], terminating: bool) -> Verdict {
        let request = push::Request {
            client_instance_id: id,
            subscription_id,
            terminating,
            compression_type: codec,
            metrics: metrics.into(),
        };
        self.receiver.push(&request, &ABOUT, &self.image, MAX, self.now_ns)
    }

    /// The code of a push that goes no further; 0 for one that does.
    fn code(&mut self, id: Uuid, subscription_id: i32, codec: i8, metrics: &[u8], terminating: bool) -> i16 {
        match self.push(id, subscription_id, codec, metrics, terminating) {
            Verdict::Told(code) => code.code(),
            Verdict::Taken(_) => 0,
        }
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
fn a_push_is_taken_once_an_interval() {
    let mut world = World::new();
    world.subscribe("a", &[("interval.ms", "5000"), ("metrics", "*")]);
    let told = world.ask(Uuid::ZERO);
    let (id, subscription) = (told.client_instance_id, told.subscription_id);
    assert_eq!(world.ask(id).error_code, 89, "it asks again at once");
    assert_eq!(world.code(id, subscription, 0, b"one", false), 0, "at once after it asked");
    assert_eq!(world.code(id, subscription, 0, b"two", false), 89);
    world.wait(5000);
    let mut packed = Vec::new();
    compression::compress(Codec::Zstd, b"two", &mut packed);
    let Verdict::Taken(push) = world.push(id, subscription, 4, &packed, false) else { panic!("it is in time") };
    assert_eq!((push.instance_id, push.client_id.as_str(), push.interval_ms), (id, "app-1", 5000));
    assert_eq!(push.unpacked().expect("zstd"), b"two");
    world.wait(5000);
    assert_eq!(world.push(id, subscription, 0, b"", false), Verdict::Told(ErrorCode::None), "nothing to read");
}

#[test]
fn what_nobody_wants_is_refused() {
    let mut world = World::new();
    world.subscribe("a", &[("interval.ms", "5000"), ("metrics", "*")]);
    let told = world.ask(Uuid::ZERO);
    let (id, subscription) = (told.client_instance_id, told.subscription_id);
    assert_eq!(world.code(Uuid::ZERO, subscription, 0, b"x", false), 42);
    assert_eq!(world.code(id, subscription ^ 1, 0, b"x", false), 117);
    assert_eq!(world.ask(id).error_code, 0, "who is told so asks again at once");
    assert_eq!(world.code(id, subscription, 9, b"x", false), 76);
    assert_eq!(world.ask(id).error_code, 0);
    assert_eq!(world.code(id, subscription, 0, &[0; MAX as usize + 1], false), 118);
    world.subscribe("a", &[("interval.ms", "6000"), ("metrics", "*")]);
    assert_eq!(world.code(id, subscription, 0, b"x", false), 117, "the subscription is another one now");
}

#[test]
fn the_last_push_comes_at_any_time_and_nothing_after_it() {
    let mut world = World::new();
    world.subscribe("a", &[("interval.ms", "5000"), ("metrics", "*")]);
    let told = world.ask(Uuid::ZERO);
    let (id, subscription) = (told.client_instance_id, told.subscription_id);
    assert_eq!(world.code(id, subscription, 0, b"x", false), 0);
    assert_eq!(world.code(id, subscription, 0, b"y", true), 0);
    world.wait(5000);
    assert_eq!(world.code(id, subscription, 0, b"z", true), 42);
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
