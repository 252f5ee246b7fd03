//! What a durable broker has written once everything is where it stays, and what it keeps in memory then.
//!
//! Each load has a fresh server: what is counted until it has stopped in order, and all caches are written, is its own.

use std::time::Duration;

use super::contestant::{Contestant, ServerKind};
use super::results::Metrics;
use super::runner::Settings;
use crate::admin::Admin;
use crate::error::Error;
use crate::generator;
use crate::metrics::Page;
use crate::node::{Scratch, Server};
use crate::workload::{Produce, Records, Size, Time, Workload};
use crate::{machine, process};

/// Partitions that small records are spread over.
const PARTITIONS: i32 = 10_000;

/// How long a broker is left alone after the load before it is stopped; quick runs wait for a part of it.
const REST: Duration = Duration::from_secs(75);

/// Bytes of small records that are written, and for how long at most: a node has to write enough that what it writes once
/// does not count; Kafka's durable lane would not have done so in an hour.
const SPREAD_BYTES: u64 = 384 << 20;
const SPREAD_S: (f64, f64) = (20.0, 6.0);

/// How long something is written before, at most.
const WARM_UP_S: f64 = 4.0;

/// Bytes of large batches.
const LARGE_BYTES: u64 = 2 << 30;

/// Measures a contestant.
pub(super) fn measure(settings: &Settings, contestant: &Contestant, metrics: &mut Metrics) -> Result<(), Error> {
    let topic_configs = contestant.topic_configs.clone();
    let scale = if settings.is_quick { 0.2 } else { 1.0 };
    let seconds = if contestant.server == ServerKind::Skein { SPREAD_S.0 } else { SPREAD_S.1 };
    let spread = Workload {
        topic: "spread".to_owned(),
        partitions: if settings.is_quick { PARTITIONS / 10 } else { PARTITIONS },
        topic_configs: topic_configs.clone(),
        time: Time { warm_up_s: 0.0, seconds: seconds * scale, bytes_max: SPREAD_BYTES },
        ..Workload::default()
    };
    let large = Workload {
        topic: "large".to_owned(),
        topic_configs,
        records: Records { bytes: Size::Fixed(1024), ..Records::default() },
        produce: Produce { producers: 4, batch_bytes: 1 << 20, ..Produce::default() },
        time: Time { warm_up_s: 0.0, seconds: 600.0, bytes_max: (LARGE_BYTES as f64 * scale) as u64 },
        ..Workload::default()
    };
    for (name, workload) in [("spread", spread), ("large", large)] {
        let scratch = Scratch::new(&settings.directory, "skein-bench-drained")?;
        settings.prepare(&contestant.server, scratch.path())?;
        let (server, endpoint) = match contestant.server {
            ServerKind::Skein => {
                let (server, endpoint) =
                    Server::node_with_metrics(&settings.program, scratch.path(), &settings.server_cores)?;
                (server, Some(endpoint))
            }
            _ => (settings.start(&contestant.server, scratch.path(), false)?, None),
        };
        let mut add = |metric: &str, value: f64| metrics.entry(format!("{name}_{metric}")).or_default().push(value);
        let mut admin = Admin::connect(server.address)?;
        let configs: Vec<_> = workload.topic_configs.iter().map(|(name, value)| (&**name, &**value)).collect();
        admin.create_topic(&workload.topic, workload.partitions, &configs)?;
        admin.end_offsets(&workload.topic, workload.partitions)?;
        if name == "spread" {
            let warm_up = warm_up(&workload, scale);
            generator::run(&warm_up, &settings.target(&server))?;
            admin.delete_topic(&warm_up.topic)?;
        }
        std::thread::sleep(Duration::from_secs(1));
        machine::drain(scratch.path())?;
        let (resident, device) = (resident(&server)?, machine::device_written_bytes(scratch.path())?);
        add("partitions", f64::from(workload.partitions));
        add("resident_before_mib", resident);
        let outcome = generator::run(&workload, &settings.target(&server))?;
        add("requests_per_second", outcome.requests_per_second());
        if let Some(endpoint) = endpoint {
            let page = Page::read(endpoint)?;
            let sum = |metric| page.sum(metric, "journal=\"durable\"");
            let groups = sum("skein_journal_groups_total");
            add("appends_per_group", sum("skein_journal_entries_total") / groups.max(1.0));
        }
        if name == "spread" {
            rest(settings, &contestant.server);
            add("resident_after_mib", self::resident(&server)?);
        }
        server.stop()?;
        machine::drain(scratch.path())?;
        let written = machine::device_written_bytes(scratch.path())? - device;
        add("device_bytes_per_byte", written as f64 / outcome.all_payload_bytes as f64);
    }
    Ok(())
}

/// What is written before anything is counted, so that a journal's files are there: they are used again and again.
fn warm_up(workload: &Workload, scale: f64) -> Workload {
    Workload {
        topic: "warm-up".to_owned(),
        partitions: 1,
        records: Records { bytes: Size::Fixed(1024), ..Records::default() },
        produce: Produce { producers: 16, batch_bytes: 16 << 10, ..Produce::default() },
        time: Time { warm_up_s: 0.0, seconds: WARM_UP_S * scale, bytes_max: 1 << 30 },
        ..workload.clone()
    }
}

/// Lets a node move to segments what is quiet. A JVM has nothing to gain from waiting.
fn rest(settings: &Settings, kind: &ServerKind) {
    let is_patient = !settings.is_quick && *kind == ServerKind::Skein;
    std::thread::sleep(if is_patient { REST } else { Duration::from_secs(2) });
}

fn resident(server: &Server) -> Result<f64, Error> {
    Ok(process::resident_bytes(server.pid())? as f64 / f64::from(1 << 20))
}
