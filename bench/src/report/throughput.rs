//! CPU for each request and byte, beside an echo server that gets the same bytes.

use std::net::SocketAddr;

use super::{Figures, Lane, Settings, TOPIC};
use crate::admin::Admin;
use crate::error::Error;
use crate::generator::{self, Outcome};
use crate::node::Server;
use crate::workload::{Consume, Consumers, Produce, Records, Size, Time, Workload};

/// Partitions that the load goes to.
const PARTITIONS: i32 = 4;

/// Requests that each connection has in flight: what Kafka's clients have at most by default.
const IN_FLIGHT: u32 = 5;

/// Before a measurement.
const WARM_UP_S: f64 = 1.0;

/// Record batches sent in one measurement at most, so that fast machines need no large disk.
const BYTES_MAX: u64 = 4 << 30;

/// Bytes of record batches that are fetched again and again.
const FETCHED_BYTES: u64 = 32 << 20;

/// One load.
pub(super) struct Case {
    /// In the names of its figures.
    pub(super) name: &'static str,
    /// For people.
    pub(super) title: &'static str,
    pub(super) connections: u32,
    pub(super) shape: Shape,
    /// The most CPU-s/GiB that were aimed at.
    pub(super) aim_s_per_gib: Option<f64>,
}

/// What a request's batch is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    record_bytes: usize,
    batch_bytes: usize,
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
                None => echo(settings, &case.workload(settings))?,
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
        ("busy_cores", outcome.server.cpu.as_secs_f64() / outcome.elapsed.as_secs_f64()),
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

impl Case {
    fn workload(&self, settings: &Settings) -> Workload {
        Workload {
            topic: TOPIC.to_owned(),
            partitions: PARTITIONS,
            records: Records { bytes: Size::Fixed(self.shape.record_bytes), ..Records::default() },
            produce: Produce {
                producers: self.connections,
                in_flight: IN_FLIGHT,
                batch_bytes: self.shape.batch_bytes,
                ..Produce::default()
            },
            time: Time { warm_up_s: WARM_UP_S, seconds: settings.measured.as_secs_f64(), bytes_max: BYTES_MAX },
            ..Workload::default()
        }
    }
}

/// The workload on an echo server.
pub(super) fn echo(settings: &Settings, workload: &Workload) -> Result<Outcome, Error> {
    let sizes = generator::echo_sizes(workload, settings.wall_ms)?;
    let server = Server::echo(&settings.program, settings.cores[0], sizes)?;
    generator::run(workload, &generator::Target { is_echo: true, ..settings.target(&server) })
}

fn broker(settings: &Settings, case: &Case, lane: Lane) -> Result<Outcome, Error> {
    let (_scratch, server) = settings.node(lane)?;
    let outcome = generator::run(&case.workload(settings), &settings.target(&server))?;
    server.stop()?;
    Ok(outcome)
}

/// Makes the topic and waits until all of it can be written.
pub(super) fn make_topic(address: SocketAddr, partitions: i32, wall_ms: i64) -> Result<(), Error> {
    let mut admin = Admin::connect(address)?;
    admin.create_topic(TOPIC, partitions, &[])?;
    (0..partitions).try_for_each(|partition| admin.produce(TOPIC, partition, wall_ms))
}

/// Fetches what was just written, 1 MiB at a time, on as many connections as there are partitions.
fn fetch(settings: &Settings, figures: &mut Figures, say: &dyn Fn(&str)) -> Result<(), Error> {
    let (_scratch, server) = settings.node(Lane::Durable)?;
    let small = Case { name: "fetch", title: "fetch", connections: 4, shape: SMALL, aim_s_per_gib: None };
    let mut workload = small.workload(settings);
    let consume = Consume {
        kind: Consumers::Replay,
        members: PARTITIONS as u32,
        preload_bytes: FETCHED_BYTES,
        ..Consume::default()
    };
    workload.consume = consume;
    let outcome = generator::run(&reading(workload), &settings.target(&server))?;
    let cpu_s_per_gib = outcome.cpu_s_per_gib(outcome.reads.bytes);
    let gib_per_second = outcome.read_mib_per_second() / 1024.0;
    figures.record("fetch/cpu_s_per_gib", cpu_s_per_gib);
    figures.record("fetch/gib_per_second", gib_per_second);
    figures.record("fetch/from_disk_share", outcome.server.read_bytes as f64 / outcome.reads.bytes as f64);
    say(&format!("fetch, 1 MiB at a time: {cpu_s_per_gib:.3} CPU-s/GiB, {gib_per_second:.2} GiB/s"));
    server.stop()
}

/// The same without producers.
fn reading(workload: Workload) -> Workload {
    let produce = Produce { producers: 0, ..workload.produce };
    Workload { produce, ..workload }
}
