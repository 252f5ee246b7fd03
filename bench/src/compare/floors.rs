//! What no broker can be better than: an echo server with the same bytes, and the disk by itself.

use std::time::Duration;

use super::results::Metrics;
use super::runner::Settings;
use super::scenario::Scenario;
use crate::error::Error;
use crate::generator::{self, Outcome, Target};
use crate::machine::SyncProbe;
use crate::node::{Scratch, Server};

/// Syncs a second: each finds the disk at rest.
const SYNCS_PER_SECOND: f64 = 500.0;

/// The scenario on an echo server, on the brokers' CPU.
pub(super) fn echo(settings: &Settings, scenario: &Scenario) -> Result<Outcome, Error> {
    let sizes = generator::echo_sizes(&scenario.workload, settings.wall_ms)?;
    let server = Server::echo(&settings.program, settings.server_cores[0], sizes)?;
    let target = Target { is_echo: true, ..settings.target(&server) };
    generator::run(&scenario.workload, &target)
}

/// The disk's sync and bandwidth.
pub(super) fn disk(settings: &Settings, metrics: &mut Metrics) -> Result<(), Error> {
    let scratch = Scratch::new(&settings.directory, "skein-bench-probe")?;
    let probe = SyncProbe::new(scratch.path())?;
    let length = Duration::from_secs_f64(settings.seconds.min(3.0));
    let syncs = probe.measure(SYNCS_PER_SECOND, length)?;
    let us = |quantile| syncs.value_at_quantile(quantile) as f64 / 1e3;
    let values = [
        ("sync_p50_us", us(0.5)),
        ("sync_p99_us", us(0.99)),
        ("sync_max_us", us(1.0)),
        ("mib_per_second", probe.bandwidth(length)?),
    ];
    for (name, value) in values {
        metrics.entry(name.to_owned()).or_default().push(value);
    }
    Ok(())
}
