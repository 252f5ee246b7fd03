//! What a server needs to start, to come back after kill -9, and to do nothing.

use std::time::{Duration, Instant};

use super::contestant::ServerKind;
use super::results::Footprint;
use super::runner::Settings;
use crate::admin::Admin;
use crate::error::Error;
use crate::node::{Scratch, Server};
use crate::process;

/// Topics that partitions are spread over.
const TOPICS: u32 = 10;

/// Partitions at which memory is looked at, besides the first one; quick runs leave the last out.
const PARTITIONS: [u32; 3] = [100, 1_000, 10_000];

/// How long a server is left alone after partitions were made.
const SETTLE: Duration = Duration::from_secs(2);

const TOPIC: &str = "footprint";

/// Measures one server.
pub(super) fn measure(settings: &Settings, kind: &ServerKind, footprint: &mut Footprint) -> Result<(), Error> {
    let scratch = Scratch::new(&settings.directory, "skein-bench-footprint")?;
    settings.prepare(kind, scratch.path())?;
    if *kind == ServerKind::Skein {
        let bytes = std::fs::metadata(&settings.program).map_err(Error::system("look at this program"))?.len();
        footprint.metrics.insert("binary_mb".to_owned(), vec![bytes as f64 / 1e6]);
    }
    let mut add = |name: &str, value: f64| footprint.metrics.entry(name.to_owned()).or_default().push(value);
    let server = settings.start(kind, scratch.path(), false)?;
    let mut admin = Admin::connect(server.address)?;
    admin.create_topic(TOPIC, 1, &[])?;
    admin.produce(TOPIC, 0, settings.wall_ms)?;
    add("first_ack_empty_ms", ms(&server));
    server.stop()?;
    let server = started_again(settings, kind, scratch.path())?;
    add("first_ack_ms", ms(&server));
    std::thread::sleep(SETTLE);
    add("idle_mib", mib(&server)?);
    add("idle_cpu_percent", idle_percent(settings, &server)?);
    let steps = &PARTITIONS[..PARTITIONS.len() - usize::from(settings.is_quick)];
    let mut memory = vec![(1, mib(&server)?)];
    let mut made = 1;
    for &partitions in steps {
        let start = Instant::now();
        let mut admin = Admin::connect(server.address)?;
        let each = (partitions - made).div_ceil(TOPICS);
        for topic in 0..TOPICS {
            let name = format!("many-{partitions}-{topic}");
            admin.create_topic(&name, each as i32, &[])?;
            admin.end_offsets(&name, each as i32)?;
        }
        made += each * TOPICS;
        add(&format!("create_{partitions}_s"), start.elapsed().as_secs_f64());
        std::thread::sleep(SETTLE);
        memory.push((made, mib(&server)?));
    }
    footprint.memory = memory;
    let mut add = |name: &str, value: f64| footprint.metrics.entry(name.to_owned()).or_default().push(value);
    add("many_idle_cpu_percent", idle_percent(settings, &server)?);
    server.kill()?;
    let server = started_again(settings, kind, scratch.path())?;
    add("recovery_ms", ms(&server));
    server.kill()
}

/// Starts on data that is there, and has a record acknowledged.
fn started_again(settings: &Settings, kind: &ServerKind, data: &std::path::Path) -> Result<Server, Error> {
    let server = settings.start(kind, data, false)?;
    Admin::connect(server.address)?.produce(TOPIC, 0, settings.wall_ms)?;
    Ok(server)
}

fn ms(server: &Server) -> f64 {
    server.started.elapsed().as_secs_f64() * 1e3
}

fn mib(server: &Server) -> Result<f64, Error> {
    Ok(process::resident_bytes(server.pid())? as f64 / f64::from(1 << 20))
}

/// CPU that a server uses while it is left alone, in percent of a processor.
fn idle_percent(settings: &Settings, server: &Server) -> Result<f64, Error> {
    let (before, start) = (process::cpu_time(server.pid())?, Instant::now());
    std::thread::sleep(settings.idle);
    let used = process::cpu_time(server.pid())? - before;
    Ok(100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64())
}
