//! Hostile and broken clients, against a node with little memory: whatever one of them does, the others get on.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use net::ApiKey;
use net::api::{api_versions, fetch};

use crate::dispatch::Side;
use crate::sample::{Filling, Form, Length, Random, apis, sample, varint};
use crate::support::batch;
use crate::support::broker::{Broker, FETCH, PRODUCE, fetch_request, produce_request};
use crate::support::client::{Client, framed, request_bytes};
use crate::support::node::{Launch, Node, skip};
use crate::support::wait::eventually;

/// What the node may use: 256 MiB of data (heap, stacks and private mappings; the address space is more, because of
/// rings and guard pages that hold nothing).
const DATA_LIMIT: &str = "--data=268435456";

/// The memory that is configured within that, in bytes.
const MEMORY: &str = "skein.memory=67108864";

const TOO_LARGE: i16 = 10;

const MIB: u64 = 1 << 20;

/// A node under the limit.
fn limited(test: &str) -> Option<Broker> {
    own(test, |launch| launch.under(&["prlimit", DATA_LIMIT]).set(MEMORY))
}

/// A node of the test's own: nobody else's broker is treated like this.
fn own(test: &str, configure: impl FnOnce(Launch) -> Launch) -> Option<Broker> {
    if std::env::var_os("SKEIN_TEST_BROKER").is_some() {
        skip(test, "SKEIN_TEST_BROKER names a broker that is not the test's own");
        return None;
    }
    Broker::get_with(test, configure)
}

/// A client that behaves gets its answers.
fn assert_serves(broker: &Broker, topic: &str) {
    let mut client = broker.client();
    let base = client.must_produce(topic, 0, &batch::batch(&["still here"]));
    assert_eq!(client.records(topic, 0, base)[0].value, b"still here");
}

/// A request of the version with a client id, and `body` as it is.
fn request(key: i16, version: i16, flexible: bool, body: &[u8]) -> Vec<u8> {
    let mut frame = [key.to_be_bytes(), version.to_be_bytes()].concat();
    frame.extend([0, 0, 0, 1, 0, 1, b'x']);
    if flexible {
        frame.push(0);
    }
    frame.extend(body);
    framed(&frame)
}

/// The bytes with one length replaced: 2³¹ − 1, or as much as its form has room for, and a negative one.
fn hostile(bytes: &[u8], length: Length) -> [Vec<u8>; 2] {
    let lies = match length.form {
        Form::Int16 => [i16::MAX, -2].map(|lie| lie.to_be_bytes().to_vec()),
        Form::Int32 => [i32::MAX, -2].map(|lie| lie.to_be_bytes().to_vec()),
        Form::Varint => [i32::MAX as u32, u32::MAX].map(varint),
    };
    lies.map(|lie| {
        let mut bytes = bytes.to_vec();
        bytes.splice(length.offset..length.offset + length.bytes, lie);
        bytes
    })
}

#[test]
fn every_length_of_every_request_may_lie() {
    let Some(broker) = limited("hostile lengths") else { return };
    let topic = broker.topic("hostile").name;
    let served = broker.client().call(0, &api_versions::Request::default());
    let mut tried = 0;
    for api in apis() {
        let Some(range) = served.api_keys.iter().find(|range| range.api_key == api.key) else { continue };
        for version in api.min.max(range.min_version)..=api.max.min(range.max_version) {
            let original = sample(api, Side::Request, version, 11, Filling::Full);
            for &length in &original.lengths {
                for body in hostile(&original.bytes, length) {
                    let mut client = broker.client();
                    client.write(&request(api.key, version, api.is_flexible(version), &body));
                    client.assert_closed();
                    tried += 1;
                }
            }
        }
        assert_serves(&broker, &topic);
    }
    assert!(tried > 1000, "only {tried} lengths were tried");
    if let Some(node) = broker.node() {
        println!("hostile lengths: {tried} tried, {} MiB resident", node.resident_bytes() / MIB);
        assert!(node.resident_bytes() < 256 * MIB);
    }
}

#[test]
fn random_bytes_do_no_harm() {
    let Some(broker) = limited("random bytes") else { return };
    let topic = broker.topic("random").name;
    let mut random = Random::new(7);
    for round in 0..300 {
        let mut client = broker.client();
        let length = random.below(2000);
        let mut bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        match round % 3 {
            // A frame of a plausible length, and then one that looks like a request of an API that there is.
            0 => bytes = framed(&bytes),
            1 => {
                let key = ApiKey::Metadata as i16;
                bytes = request(key, random.below(13) as i16, round % 2 == 0, &bytes);
            }
            _ => {}
        }
        client.write(&bytes);
        client.finish();
        // Closed, with or without answers before.
        while client.frame().is_some() {}
    }
    assert_serves(&broker, &topic);
}

#[test]
fn other_protocols_and_impossible_lengths_are_named_in_the_log() {
    let Some(broker) = own("other protocols", |launch| launch) else { return };
    let topic = broker.topic("protocols").name;
    let cases: [(&[u8], &str); 5] = [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP"),
        (&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], "TLS"),
        (&[0xff, 0xff, 0xff, 0xff], "-1 bytes"),
        (&[0x80, 0, 0, 0], "-2147483648 bytes"),
        (&[0x06, 0x40, 0, 1], "104857601 bytes"),
    ];
    for (bytes, named) in cases {
        let mut client = broker.client();
        client.write(bytes);
        client.assert_closed();
        if let Some(node) = broker.node() {
            node.logged(named);
        }
    }
    assert_serves(&broker, &topic);
}

#[test]
fn a_large_frame_that_trickles_in_holds_up_nobody() {
    let Some(broker) = limited("a trickling frame") else { return };
    let topic = broker.topic("trickle").name;
    let large = "x".repeat(8 << 20);
    let request = produce_request(&topic, 0, large.as_bytes());
    let frame = framed(&request_bytes(PRODUCE, 1, &request));
    let (slowly, rest) = frame.split_at(2000);
    let mut slow = broker.client();
    let before = broker.node().map(Node::resident_bytes);
    for (sent, byte) in slowly.iter().enumerate() {
        slow.write(&[*byte]);
        if sent % 100 == 0 {
            assert_serves(&broker, &topic);
        }
    }
    if let (Some(node), Some(before)) = (broker.node(), before) {
        assert!(node.resident_bytes() < before + 4 * MIB, "memory follows what came, not what was announced");
    }
    slow.write(rest);
    let (_, response) = slow.receive::<net::api::produce::Request<'_>>(PRODUCE);
    assert_ne!(response.responses[0].partition_responses[0].error_code, 0);
    assert!([TOO_LARGE, 87, 2].contains(&response.responses[0].partition_responses[0].error_code));
    assert_serves(&broker, &topic);
}

#[test]
fn a_request_for_which_there_can_never_be_memory_ends_its_connection_at_once() {
    let Some(broker) = limited("a request beyond the memory") else { return };
    let topic = broker.topic("beyond").name;
    let large = "x".repeat(90 << 20);
    let request = produce_request(&topic, 0, large.as_bytes());
    let frame = framed(&request_bytes(PRODUCE, 1, &request));
    let mut client = broker.client();
    client.write(&frame[..2000]);
    client.assert_closed();
    assert_serves(&broker, &topic);
}

/// Sends the same request again and again, and reads no answer.
fn flood(mut stream: TcpStream, frame: &[u8], stop: &AtomicBool) -> u64 {
    stream.set_write_timeout(Some(Duration::from_millis(50))).expect("a connected socket");
    let mut written = 0;
    let mut rest = frame;
    while !stop.load(Ordering::Relaxed) {
        match stream.write(rest) {
            Ok(count) => {
                written += count as u64;
                rest = if count == rest.len() { frame } else { &rest[count..] };
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return written,
        }
    }
    written
}

#[test]
fn a_client_that_floods_and_never_reads_starves_nobody() {
    let Some(broker) = limited("a flood") else { return };
    let topic = broker.topic("flood").name;
    let mut client = broker.client();
    let large = "x".repeat(900_000);
    for _ in 0..4 {
        client.must_produce(&topic, 0, &batch::batch(&[&large]));
    }
    let fetches = framed(&request_bytes(FETCH, 1, &fetch_request(&topic, 0, 0)));
    let questions = framed(&request_bytes(0, 1, &api_versions::Request::default())).repeat(100);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for frame in [&fetches, &fetches, &questions, &questions] {
            let stream = TcpStream::connect(broker.address).expect("a connection");
            scope.spawn(|| flood(stream, frame, &stop));
        }
        let started = Instant::now();
        let mut slowest = Duration::ZERO;
        let mut asked = 0;
        while started.elapsed() < Duration::from_secs(3) {
            let one = Instant::now();
            client.must_produce(&topic, 0, &batch::batch(&["through"]));
            slowest = slowest.max(one.elapsed());
            asked += 1;
        }
        stop.store(true, Ordering::Relaxed);
        println!("a flood: {asked} produces beside it, the slowest took {slowest:?}");
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    });
    if let Some(node) = broker.node() {
        println!("a flood: {} MiB resident", node.resident_bytes() / MIB);
        assert!(node.resident_bytes() < 256 * MIB);
    }
    assert_serves(&broker, &topic);
}

#[test]
fn five_hundred_connections_are_served() {
    let Some(broker) = own("500 connections", |launch| launch) else { return };
    let mut clients: Vec<Client> = (0..500).map(|_| broker.client()).collect();
    for client in &mut clients {
        client.send(0, &api_versions::Request::default());
    }
    for client in &mut clients {
        client.receive::<api_versions::Request<'_>>(0);
    }
    // All of them wait for records at once, and are woken together.
    let topic = broker.topic("many").name;
    let mut wait = fetch_request(&topic, 0, 0);
    wait.max_wait_ms = 50_000;
    for client in &mut clients {
        client.send(FETCH, &wait);
    }
    broker.client().must_produce(&topic, 0, &batch::batch(&["for all"]));
    for client in &mut clients {
        let (_, response) = client.receive::<fetch::Request<'_>>(FETCH);
        let partition = &response.responses[0].partitions[0];
        assert_eq!(batch::records(partition.records.as_deref().expect("records")).len(), 1);
    }
}

/// Over how long the CPU time of a node without files is measured.
const QUIET: Duration = Duration::from_secs(1);

#[test]
fn without_free_files_accepting_pauses_without_spinning_and_goes_on() {
    let Some(broker) = own("no free files", |launch: Launch| launch.under(&["prlimit", "--nofile=64:64"])) else {
        return;
    };
    let Some(node) = broker.node() else { return };
    let mut clients: Vec<Client> = (0..120).map(|_| broker.client()).collect();
    for client in &mut clients {
        client.send(0, &api_versions::Request::default());
    }
    // The kernel has accepted all of them; the node has files for some.
    clients[0].receive::<api_versions::Request<'_>>(0);
    let open_files = || std::fs::read_dir(format!("/proc/{}/fd", node.pid())).map_or(0, Iterator::count);
    eventually("all files are in use", || (open_files() >= 60).then_some(()));
    let before = node.cpu();
    thread::sleep(QUIET);
    let used = node.cpu() - before;
    assert!(used < QUIET / 5, "{used:?} of CPU in {QUIET:?}");
    // As connections close, the waiting ones are taken.
    while !clients.is_empty() {
        let mut client = clients.remove(0);
        if clients.len() < 119 {
            client.receive::<api_versions::Request<'_>>(0);
        }
    }
}
