//! The time to a durable acknowledgement at a low rate, beside that of the disk and that of the wire.

use std::time::Duration;

use super::{Figures, Lane, Settings, TOPIC, throughput};
use crate::error::Error;
use crate::load::{self, Load, Outcome, Pace};
use crate::machine::SyncProbe;
use crate::node::{Scratch, Server};
use crate::request::{Requests, Shape};

/// Requests a second: each finds the disk at rest.
const PER_SECOND: f64 = 500.0;

const SHAPE: Shape = Shape { record_bytes: 100, batch_bytes: 0 };

pub(super) fn measure(settings: &Settings, figures: &mut Figures, say: &dyn Fn(&str)) -> Result<(), Error> {
    let scratch = Scratch::new(&settings.directory, "skein-bench-probe")?;
    let disk = SyncProbe::new(scratch.path())?.measure(PER_SECOND, settings.measured)?;
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        figures.record(format!("latency/disk/{name}_us"), disk.value_at_quantile(quantile) as f64 / 1e3);
    }
    record(figures, "echo", &echo(settings)?);
    for lane in Lane::ALL {
        let (_scratch, server) = settings.node(lane)?;
        throughput::make_topic(server.address, 1, settings.wall_ms)?;
        let requests = Requests::produce(TOPIC, 1, SHAPE, settings.wall_ms);
        record(figures, lane.name(), &load::run(server.address, requests, load(settings, &server))?);
        server.stop()?;
    }
    let p50 = |name: &str| figures.last(&format!("latency/{name}/p50_us")).unwrap_or(f64::NAN);
    say(&format!(
        "latency p50 at {PER_SECOND} requests/s: durable {:.0} µs, the disk's sync {:.0} µs, cached {:.0} µs, echo {:.0} µs",
        p50("durable"),
        p50("disk"),
        p50("cached"),
        p50("echo")
    ));
    Ok(())
}

fn echo(settings: &Settings) -> Result<Outcome, Error> {
    let requests = Requests::produce(TOPIC, 1, SHAPE, settings.wall_ms).for_echo();
    let server = Server::echo(&settings.program, settings.cores[0], requests.wire_bytes())?;
    load::run(server.address, requests, load(settings, &server))
}

fn load(settings: &Settings, server: &Server) -> Load {
    Load {
        connections: 1,
        pace: Pace::PerSecond(PER_SECOND),
        warm_up: Duration::from_millis(500),
        measured: settings.measured,
        bytes_max: u64::MAX,
        core: settings.cores[1],
        server: Some(server.pid()),
    }
}

fn record(figures: &mut Figures, server: &str, outcome: &Outcome) {
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
        figures.record(format!("latency/{server}/{name}_us"), outcome.latency_us(quantile));
    }
    figures.record(format!("latency/{server}/cpu_us_per_request"), outcome.cpu_us_per_request());
}
