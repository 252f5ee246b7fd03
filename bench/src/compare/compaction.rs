//! A compaction of more distinct keys than fit its memory at once: how long it takes, in how many passes, and what the
//! node needs meanwhile.
//!
//! ```text
//! keys 0 … n-1 once, then n/10 of them again ─► cleanup.policy=compact ─► until nothing is left to compact
//! ```

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use storage::builder::{BatchBuilder, NewRecord, Options};

use super::results::Metrics;
use super::runner::Settings;
use crate::admin::Admin;
use crate::error::Error;
use crate::metrics::Page;
use crate::node::{Scratch, Server};
use crate::process;
use crate::request::{Acknowledged, ProduceFrames};
use crate::workload::Acks;

const TOPIC: &str = "keys";

/// Records of a batch.
const BATCH_RECORDS: u64 = 2_000;

/// Requests without an answer, at most.
const IN_FLIGHT: usize = 8;

/// Bytes of a value.
const VALUE: [u8; 40] = [b'v'; 40];

/// How often the node is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long nothing may be compacted before it counts as done.
const QUIET: Duration = Duration::from_secs(5);

/// How long a compaction may take.
const WAIT: Duration = Duration::from_secs(3_600);

/// Makes the topic, fills it, has it compacted, and says what that took.
///
/// # Errors
/// If the node fails, or is not done within an hour.
pub fn measure(settings: &Settings, say: &dyn Fn(&str)) -> Result<Metrics, Error> {
    let keys = settings.compaction_keys;
    let scratch = Scratch::new(&settings.directory, "skein-bench-compaction")?;
    let (server, metrics) = Server::node_with_metrics(&settings.program, scratch.path(), &settings.server_cores)?;
    let mut admin = Admin::connect(server.address)?;
    admin.create_topic(TOPIC, 1, &[("segment.bytes", "268435456"), ("min.cleanable.dirty.ratio", "0.01")])?;
    admin.end_offsets(TOPIC, 1)?;
    let again = keys / 10;
    let start = Instant::now();
    write(&server, settings.wall_ms, (0..keys).chain((0..again).map(|number| number * 10)), say)?;
    let written_s = start.elapsed().as_secs_f64();
    let resident_before = process::resident_bytes(server.pid())?;
    say(&format!("{} records written in {written_s:.0} s", keys + again));
    let start = Instant::now();
    admin.alter_topic(TOPIC, &[("cleanup.policy", "compact")])?;
    let mut peak = Peak::default();
    let done = wait(&server, metrics, start, &mut peak, say)?;
    server.stop()?;
    let sum = |name: &str| done.sum(name, "");
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let figures = [
        ("keys", keys as f64),
        ("records", (keys + again) as f64),
        ("written_s", written_s),
        ("compacted_s", peak.changed_s),
        ("passes", sum("skein_compactions_total")),
        ("failed_passes", sum("skein_compactions_failed_total")),
        ("dropped_records", sum("skein_compaction_dropped_records_total")),
        ("read_gib", mib(sum("skein_compaction_read_bytes_total")) / 1024.0),
        ("written_gib", mib(sum("skein_compaction_written_bytes_total")) / 1024.0),
        ("map_peak_mib", mib(peak.map_bytes)),
        ("resident_before_mib", mib(resident_before as f64)),
        ("resident_peak_mib", mib(peak.resident_bytes as f64)),
    ];
    Ok(figures.into_iter().map(|(name, value)| (name.to_owned(), vec![value])).collect())
}

/// The most of everything, and when something was compacted last.
#[derive(Default)]
struct Peak {
    map_bytes: f64,
    resident_bytes: u64,
    changed_s: f64,
}

/// Looks on until nothing is compacted any more.
fn wait(
    server: &Server,
    metrics: std::net::SocketAddr,
    start: Instant,
    peak: &mut Peak,
    say: &dyn Fn(&str),
) -> Result<Page, Error> {
    let (mut before, mut told) = (-1.0, Instant::now());
    while start.elapsed() < WAIT {
        std::thread::sleep(LOOK_EVERY);
        let page = Page::read(metrics)?;
        let map_bytes = page.sum("skein_memory_used_bytes", "memory=\"compaction\"");
        let moved = page.sum("skein_compaction_read_bytes_total", "") + page.sum("skein_compactions_total", "");
        peak.map_bytes = peak.map_bytes.max(map_bytes);
        peak.resident_bytes = peak.resident_bytes.max(process::resident_bytes(server.pid())?);
        if moved != before || map_bytes > 0.0 {
            (before, peak.changed_s) = (moved, start.elapsed().as_secs_f64());
        } else if start.elapsed().as_secs_f64() - peak.changed_s > QUIET.as_secs_f64()
            && page.sum("skein_compactions_total", "") > 0.0
        {
            return Ok(page);
        }
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            let passes = page.sum("skein_compactions_total", "");
            let gib = page.sum("skein_compaction_read_bytes_total", "") / f64::from(1 << 30);
            say(&format!("{:.0} s: {passes} passes, {gib:.1} GiB read", start.elapsed().as_secs_f64()));
        }
    }
    Err(Error::Server { what: format!("has not compacted everything within {} s", WAIT.as_secs()) })
}

/// Writes a record for each key, several requests in flight.
fn write(server: &Server, wall_ms: i64, mut keys: impl Iterator<Item = u64>, say: &dyn Fn(&str)) -> Result<(), Error> {
    let address = server.address;
    let broken = |cause| Error::Connection { address, cause };
    let mut stream = TcpStream::connect(address).map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    let frames = ProduceFrames::new(TOPIC, Acks::All);
    let (mut sent, mut answered, mut frame, mut answer) = (0_i32, 0_i32, Vec::new(), Vec::new());
    loop {
        let batch = batch(&mut keys, wall_ms);
        let is_over = batch.is_none();
        if let Some(batch) = batch {
            frame.clear();
            frames.put_start(&mut frame, sent, 0, batch.len());
            frame.extend_from_slice(&batch);
            frames.put_end(&mut frame);
            stream.write_all(&frame).map_err(broken)?;
            sent += 1;
            if sent % 5_000 == 0 {
                say(&format!("{} records sent", sent as u64 * BATCH_RECORDS));
            }
        }
        while answered < sent && (is_over || (sent - answered) as usize >= IN_FLIGHT) {
            let mut length = [0; 4];
            stream.read_exact(&mut length).map_err(broken)?;
            answer.resize(u32::from_be_bytes(length) as usize, 0);
            stream.read_exact(&mut answer).map_err(broken)?;
            if frames.check(&answer, answered, 0)? == Acknowledged::Refused {
                return Err(Error::Refused { api: net::ApiKey::Produce, code: 56 });
            }
            answered += 1;
        }
        if is_over {
            return Ok(());
        }
    }
}

/// The next batch, unless there are no more keys.
fn batch(keys: &mut impl Iterator<Item = u64>, wall_ms: i64) -> Option<Vec<u8>> {
    let mut batch = BatchBuilder::new(Options::default());
    for key in keys.take(BATCH_RECORDS as usize) {
        let key = key.to_be_bytes();
        let record = NewRecord { timestamp: wall_ms, key: Some(&key), value: Some(&VALUE), headers: &[] };
        batch.append(&record).expect("small records");
    }
    if batch.is_empty() { None } else { Some(batch.finish()) }
}
