//! What a node needs to start and to do nothing.

use std::time::Instant;

use super::{Figures, Lane, Settings, TOPIC, throughput};
use crate::admin::Admin;
use crate::error::Error;
use crate::node::{Scratch, Server};
use crate::process;

/// Topics and the partitions of each that make up many partitions.
const TOPICS: usize = 10;
const PARTITIONS_PER_TOPIC: i32 = 1_000;

pub(super) fn measure(settings: &Settings, figures: &mut Figures, say: &dyn Fn(&str)) -> Result<(), Error> {
    let scratch = Scratch::new(&settings.directory, "skein-bench-footprint")?;
    let server = start(settings, &scratch, figures, "start/fresh")?;
    server.stop()?;
    let server = start(settings, &scratch, figures, "start/again")?;
    idle(settings, &server, figures, "idle")?;
    make_partitions(&server, figures)?;
    idle(settings, &server, figures, "many")?;
    server.kill()?;
    start(settings, &scratch, figures, "start/many-killed")?.stop()?;
    let ms = |name: &str| figures.last(name).unwrap_or(f64::NAN);
    say(&format!(
        "start: {:.0} ms to the first acknowledgement (fresh {:.0}, 10,000 partitions after kill -9 {:.0})",
        ms("start/again/first_ack_ms"),
        ms("start/fresh/first_ack_ms"),
        ms("start/many-killed/first_ack_ms")
    ));
    for (name, what) in [("idle", "idle"), ("many", "10,000 partitions")] {
        say(&format!(
            "{what}: {:.1} MiB resident, {:.3} % of a core",
            ms(&format!("{name}/resident_mib")),
            ms(&format!("{name}/cpu_percent"))
        ));
    }
    Ok(())
}

/// Starts a node, and has a record acknowledged; the topic is made if it is not there.
fn start(settings: &Settings, scratch: &Scratch, figures: &mut Figures, name: &str) -> Result<Server, Error> {
    let server = settings.node_in(Lane::Durable, scratch.path())?;
    figures.record(format!("{name}/ready_ms"), server.started.elapsed().as_secs_f64() * 1e3);
    if name == "start/fresh" {
        throughput::make_topic(server.address, 1, settings.wall_ms)?;
    } else {
        Admin::connect(server.address)?.produce(TOPIC, 0, settings.wall_ms)?;
    }
    figures.record(format!("{name}/first_ack_ms"), server.started.elapsed().as_secs_f64() * 1e3);
    Ok(server)
}

/// Leaves the node alone.
fn idle(settings: &Settings, server: &Server, figures: &mut Figures, name: &str) -> Result<(), Error> {
    let (before, start) = (process::cpu_time(server.pid())?, Instant::now());
    std::thread::sleep(settings.idle);
    let used = process::cpu_time(server.pid())? - before;
    let share = used.as_secs_f64() / start.elapsed().as_secs_f64();
    figures.record(format!("{name}/cpu_percent"), share * 100.0);
    let resident = process::resident_bytes(server.pid())? as f64 / f64::from(1 << 20);
    figures.record(format!("{name}/resident_mib"), resident);
    Ok(())
}

fn make_partitions(server: &Server, figures: &mut Figures) -> Result<(), Error> {
    let mut admin = Admin::connect(server.address)?;
    let start = Instant::now();
    for number in 0..TOPICS {
        admin.create_topic(&format!("many-{number}"), PARTITIONS_PER_TOPIC, &[])?;
    }
    figures.record("many/create_s", start.elapsed().as_secs_f64());
    Ok(())
}
