//! What no broker can be better than: an echo server with the same bytes, and the disk by itself.

use std::time::Duration;

use super::results::Metrics;
use super::runner::Settings;
use crate::disk::{Direction, Probe};
use crate::echo::Sizes;
use crate::error::Error;
use crate::generator::{self, Outcome, Target};
use crate::node::{Scratch, Server};
use crate::workload::Workload;

/// Syncs a second: each finds the disk at rest.
const SYNCS_PER_SECOND: f64 = 500.0;

/// How long each thing that the disk does is measured in a round, at most.
const PROBE_MAX: Duration = Duration::from_secs(1);

/// Large requests that the disk has at once: more of them make it no faster.
const AT_ONCE: usize = 4;

/// The load on an echo server, on the brokers' CPU.
pub(super) fn echo(settings: &Settings, workload: &Workload, digests: bool) -> Result<Outcome, Error> {
    let (_server, target) = echo_server(settings, workload, digests)?;
    generator::run(workload, &target)
}

/// An echo server for the load.
pub(super) fn echo_server(settings: &Settings, workload: &Workload, digests: bool) -> Result<(Server, Target), Error> {
    let sizes = Sizes { digests, ..generator::echo_sizes(workload, settings.wall_ms)? };
    let server = Server::echo(&settings.program, settings.server_cores[0], sizes)?;
    let target = Target { is_echo: true, ..settings.target(&server) };
    Ok((server, target))
}

/// The disk's sync and bandwidth.
pub(super) fn disk(settings: &Settings, metrics: &mut Metrics) -> Result<(), Error> {
    let scratch = Scratch::new(&settings.directory, "skein-bench-probe")?;
    let probe = Probe::new(scratch.path())?;
    let length = Duration::from_secs_f64(settings.seconds).min(PROBE_MAX);
    let syncs = probe.sync(SYNCS_PER_SECOND, length)?;
    let us = |quantile| syncs.value_at_quantile(quantile) as f64 / 1e3;
    let values = [
        ("sync_p50_us", us(0.5)),
        ("sync_p99_us", us(0.99)),
        ("sync_max_us", us(1.0)),
        ("mib_per_second", probe.bandwidth(Direction::Write, 1, length / 2)?),
        ("mib_per_second_4", probe.bandwidth(Direction::Write, AT_ONCE, length / 2)?),
        ("read_mib_per_second", probe.bandwidth(Direction::Read, 1, length / 2)?),
        ("read_mib_per_second_4", probe.bandwidth(Direction::Read, AT_ONCE, length / 2)?),
    ];
    for (name, value) in values {
        metrics.entry(name.to_owned()).or_default().push(value);
    }
    Ok(())
}
