//! The time to a durable acknowledgement at a low rate, beside that of the disk and that of the wire.

use super::{Figures, Lane, Settings, throughput};
use crate::error::Error;
use crate::generator::{self, Outcome};
use crate::machine::SyncProbe;
use crate::node::Scratch;
use crate::workload::{Produce, Rate, Time, Workload};

/// Requests a second: each finds the disk at rest.
const PER_SECOND: f64 = 500.0;

pub(super) fn measure(settings: &Settings, figures: &mut Figures, say: &dyn Fn(&str)) -> Result<(), Error> {
    let scratch = Scratch::new(&settings.directory, "skein-bench-probe")?;
    let disk = SyncProbe::new(scratch.path())?.measure(PER_SECOND, settings.measured)?;
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        figures.record(format!("latency/disk/{name}_us"), disk.value_at_quantile(quantile) as f64 / 1e3);
    }
    record(figures, "echo", &echo(settings)?);
    for lane in Lane::ALL {
        let (_scratch, server) = settings.node(lane)?;
        record(figures, lane.name(), &generator::run(&workload(settings), &settings.target(&server))?);
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
    throughput::echo(settings, &workload(settings))
}

/// One connection that has one 100 B record acknowledged at a time.
fn workload(settings: &Settings) -> Workload {
    Workload {
        partitions: 1,
        produce: Produce { producers: 1, in_flight: 100, ..Produce::default() },
        rate: Rate { records_per_second: Some(PER_SECOND), ..Rate::default() },
        time: Time { warm_up_s: 0.5, seconds: settings.measured.as_secs_f64(), ..Time::default() },
        ..Workload::default()
    }
}

fn record(figures: &mut Figures, server: &str, outcome: &Outcome) {
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
        figures.record(format!("latency/{server}/{name}_us"), outcome.latency_us(quantile));
    }
    figures.record(format!("latency/{server}/cpu_us_per_request"), outcome.cpu_us_per_request());
}
