//! CPU for each request and byte, beside an echo server that gets the same bytes.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Figures, Lane, Settings, TOPIC};
use crate::admin::Admin;
use crate::error::Error;
use crate::load::{self, Load, Outcome, Pace};
use crate::node::Server;
use crate::process;
use crate::request::{Requests, Shape};

/// Partitions that the load goes to.
const PARTITIONS: i32 = 4;

/// Requests that each connection has in flight: what Kafka's clients have at most by default.
const IN_FLIGHT: usize = 5;

/// Before a measurement.
const WARM_UP: Duration = Duration::from_secs(1);

/// Record batches sent in one measurement at most, so that fast machines need no large disk.
const BYTES_MAX: u64 = 4 << 30;

/// Bytes of each partition that are fetched again and again.
const FETCHED_BYTES: u64 = 8 << 20;

/// Bytes that one fetch asks for.
const FETCH_BYTES: u64 = 1 << 20;

/// One load.
pub(super) struct Case {
    /// In the names of its figures.
    pub(super) name: &'static str,
    /// For people.
    pub(super) title: &'static str,
    pub(super) connections: usize,
    pub(super) shape: Shape,
    /// The most CPU-s/GiB that were aimed at.
    pub(super) aim_s_per_gib: Option<f64>,
}

const SINGLE: Shape = Shape { record_bytes: 100, batch_bytes: 0 };
const SMALL: Shape = Shape { record_bytes: 1024, batch_bytes: 16 << 10 };
const LARGE: Shape = Shape { record_bytes: 1024, batch_bytes: 1 << 20 };

pub(super) const CASES: [Case; 6] = [
    Case { name: "100b-64x5", title: "one 100 B record, 64 × 5", connections: 64, shape: SINGLE, aim_s_per_gib: None },
    Case { name: "100b-1x5", title: "one 100 B record, 1 × 5", connections: 1, shape: SINGLE, aim_s_per_gib: None },
    Case { name: "16k-64x5", title: "16 KiB batch, 64 × 5", connections: 64, shape: SMALL, aim_s_per_gib: Some(0.8) },
    Case { name: "16k-1x5", title: "16 KiB batch, 1 × 5", connections: 1, shape: SMALL, aim_s_per_gib: Some(0.8) },
    Case { name: "1m-64x5", title: "1 MiB batch, 64 × 5", connections: 64, shape: LARGE, aim_s_per_gib: Some(0.5) },
    Case { name: "1m-1x5", title: "1 MiB batch, 1 × 5", connections: 1, shape: LARGE, aim_s_per_gib: Some(0.5) },
];

/// Measures every case with the echo server and in each lane; in odd rounds in the opposite order.
pub(super) fn measure(
    settings: &Settings,
    round: usize,
    figures: &mut Figures,
    say: &dyn Fn(&str),
) -> Result<(), Error> {
    for case in &CASES {
        let mut lanes = [None, Some(Lane::Durable), Some(Lane::Cached)];
        if round % 2 == 1 {
            lanes.reverse();
        }
        for lane in lanes {
            let outcome = match lane {
                None => echo(settings, case)?,
                Some(lane) => broker(settings, case, lane)?,
            };
            let server = lane.map_or("echo", Lane::name);
            record(figures, case, server, &outcome);
            say(&format!("{}, {server}: {}", case.title, line(&outcome)));
        }
        for lane in Lane::ALL {
            let cpu = |server| figures.last(&format!("{}/{server}/cpu_us_per_request", case.name));
            if let (Some(broker), Some(echo)) = (cpu(lane.name()), cpu("echo")) {
                figures.record(format!("{}/{}/times_echo", case.name, lane.name()), broker / echo);
            }
        }
    }
    fetch(settings, figures, say)
}

fn record(figures: &mut Figures, case: &Case, server: &str, outcome: &Outcome) {
    let values = [
        ("cpu_us_per_request", outcome.cpu_us_per_request()),
        ("cpu_s_per_gib", outcome.cpu_s_per_gib(outcome.payload_bytes)),
        ("refused_percent", 100.0 * outcome.refused as f64 / (outcome.refused + outcome.requests) as f64),
        ("requests_per_second", outcome.requests_per_second()),
        ("p50_us", outcome.latency_us(0.5)),
        ("p99_us", outcome.latency_us(0.99)),
        ("busy_cores", outcome.server_cpu.as_secs_f64() / outcome.elapsed.as_secs_f64()),
    ];
    for (name, value) in values {
        figures.record(format!("{}/{server}/{name}", case.name), value);
    }
}

fn line(outcome: &Outcome) -> String {
    format!(
        "{:.2} µs CPU a request, {:.3} CPU-s/GiB, {:.0} requests/s, p50 {:.0} µs",
        outcome.cpu_us_per_request(),
        outcome.cpu_s_per_gib(outcome.payload_bytes),
        outcome.requests_per_second(),
        outcome.latency_us(0.5)
    )
}

fn load(settings: &Settings, connections: usize, in_flight: usize, server: &Server) -> Load {
    Load {
        connections,
        pace: Pace::InFlight(in_flight),
        warm_up: WARM_UP,
        measured: settings.measured,
        bytes_max: BYTES_MAX,
        core: settings.cores[1],
        server: Some(server.pid()),
    }
}

fn echo(settings: &Settings, case: &Case) -> Result<Outcome, Error> {
    let requests = Requests::produce(TOPIC, PARTITIONS, case.shape, settings.wall_ms).for_echo();
    let server = Server::echo(&settings.program, settings.cores[0], requests.wire_bytes())?;
    load::run(server.address, requests, load(settings, case.connections, IN_FLIGHT, &server))
}

fn broker(settings: &Settings, case: &Case, lane: Lane) -> Result<Outcome, Error> {
    let (_scratch, server) = settings.node(lane)?;
    make_topic(server.address, PARTITIONS, settings.wall_ms)?;
    let requests = Requests::produce(TOPIC, PARTITIONS, case.shape, settings.wall_ms);
    let outcome = load::run(server.address, requests, load(settings, case.connections, IN_FLIGHT, &server))?;
    server.stop()?;
    Ok(outcome)
}

/// Makes the topic and waits until all of it can be written.
pub(super) fn make_topic(address: SocketAddr, partitions: i32, wall_ms: i64) -> Result<(), Error> {
    let mut admin = Admin::connect(address)?;
    admin.create_topic(TOPIC, partitions, &[])?;
    (0..partitions).try_for_each(|partition| admin.produce(TOPIC, partition, SINGLE, wall_ms).map(drop))
}

/// Fetches what was just written, 1 MiB at a time, on as many connections as there are partitions.
fn fetch(settings: &Settings, figures: &mut Figures, say: &dyn Fn(&str)) -> Result<(), Error> {
    let (_scratch, server) = settings.node(Lane::Durable)?;
    make_topic(server.address, PARTITIONS, settings.wall_ms)?;
    let requests = Requests::fetch(TOPIC, &preload(settings, &server)?, FETCH_BYTES as i32);
    let read_before = process::read_bytes(server.pid())?;
    let outcome = load::run(server.address, requests, load(settings, PARTITIONS as usize, 1, &server))?;
    let from_disk = process::read_bytes(server.pid())? - read_before;
    let cpu_s_per_gib = outcome.cpu_s_per_gib(outcome.answer_bytes);
    let gib_per_second = outcome.answer_bytes as f64 / f64::from(1 << 30) / outcome.elapsed.as_secs_f64();
    figures.record("fetch/cpu_s_per_gib", cpu_s_per_gib);
    figures.record("fetch/gib_per_second", gib_per_second);
    figures.record("fetch/from_disk_share", from_disk as f64 / outcome.answer_bytes as f64);
    say(&format!("fetch, 1 MiB at a time: {cpu_s_per_gib:.3} CPU-s/GiB, {gib_per_second:.2} GiB/s"));
    server.stop()
}

/// Writes small batches to each partition. Gives back from where whole fetches can be made.
fn preload(settings: &Settings, server: &Server) -> Result<Vec<(i32, i64)>, Error> {
    let mut admin = Admin::connect(server.address)?;
    let batch_bytes = SMALL.batch(settings.wall_ms).0.len() as u64;
    let per_fetch = FETCH_BYTES.div_ceil(batch_bytes);
    let mut from = Vec::new();
    for number in 0..FETCHED_BYTES / FETCH_BYTES * per_fetch {
        for partition in 0..PARTITIONS {
            let offset = admin.produce(TOPIC, partition, SMALL, settings.wall_ms)?;
            if number % per_fetch == 0 {
                from.push((partition, offset));
            }
        }
    }
    Ok(from)
}
