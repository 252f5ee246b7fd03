use std::fs;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bench::admin::Admin;
use bench::echo::{self, Sizes};
use bench::load::{self, Load, Outcome, Pace};
use bench::report::{Report, Settings};
use bench::request::{Requests, Shape};
use serde_json::json;

use super::failure::{Failure, Outcome as CommandOutcome};
use super::output::{Output, OutputArgs, grouped, print, print_json};
use super::time;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Load a broker with produce requests, and say what it does
    Load(LoadArgs),
    /// Serve as the floor: answer so many bytes with so many, on the broker's ring
    Echo(EchoArgs),
    /// Measure everything that docs/performance.md says, and write it
    Report(ReportArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  skein bench load --seconds 10                                    one 100 B record a request, 64 connections
  skein bench load --batch-bytes 16384 --record-bytes 1024 --pid $(pidof skein)
  skein bench load --rate 500 --connections 1                      open loop: latency from the intended time")]
pub(super) struct LoadArgs {
    /// The broker
    #[arg(long, short = 'b', env = "SKEIN_BOOTSTRAP", value_name = "HOST:PORT", default_value = "localhost:9092")]
    bootstrap: String,

    /// Topic, made if it is not there
    #[arg(long, default_value = "bench")]
    topic: String,

    /// Partitions of the topic to write to
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,

    /// Bytes of each record's value
    #[arg(long, default_value_t = 100)]
    record_bytes: usize,

    /// Bytes of each request's batch at most [default: one record]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    batch_bytes: usize,

    /// Connections
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,

    /// Requests in flight on each connection
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,

    /// Requests a second over all connections, whatever is in flight
    #[arg(long, conflicts_with = "in_flight")]
    rate: Option<f64>,

    /// How long to measure, after a second of warm-up
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,

    /// CPU of the load, which it keeps busy
    #[arg(long, default_value_t = 1)]
    core: usize,

    /// The broker's process, to say what CPU it needs
    #[arg(long)]
    pid: Option<u32>,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct EchoArgs {
    /// Port on 127.0.0.1
    #[arg(long)]
    port: u16,

    /// CPU of the server
    #[arg(long, default_value_t = 0)]
    core: usize,

    /// Bytes of a request
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    request_bytes: u32,

    /// Bytes of its answer
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    response_bytes: u32,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  skein bench report --out docs/performance.md
  skein bench report --rounds 1 --seconds 2 --idle-seconds 5      a quick look, on standard output

It needs two CPUs, about 10 GB of disk, and a machine that does nothing else.")]
pub(super) struct ReportArgs {
    /// File for the page [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// File for all single figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Where to make the data directories: the disk that is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,

    /// How often everything is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// How long each load lasts
    #[arg(long, default_value_t = 5)]
    seconds: u64,

    /// How long nodes are left alone to see what they need then
    #[arg(long, default_value_t = 60)]
    idle_seconds: u64,
}

pub(super) fn run(command: Command) -> CommandOutcome {
    match command {
        Command::Load(args) => run_load(&args),
        Command::Echo(args) => run_echo(&args),
        Command::Report(args) => run_report(args),
    }
}

fn run_load(args: &LoadArgs) -> CommandOutcome {
    if args.rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
        return Err(Failure::Usage("--rate must be above 0".to_owned()));
    }
    let address = resolve(&args.bootstrap)?;
    let shape = Shape { record_bytes: args.record_bytes, batch_bytes: args.batch_bytes };
    let mut admin = Admin::connect(address).map_err(failed)?;
    admin.create_topic(&args.topic, args.partitions, &[]).map_err(failed)?;
    for partition in 0..args.partitions {
        admin.produce(&args.topic, partition, shape, wall_ms()).map_err(failed)?;
    }
    let load = Load {
        connections: args.connections.into(),
        pace: args.rate.map_or(Pace::InFlight(args.in_flight.into()), Pace::PerSecond),
        warm_up: Duration::from_secs(1),
        measured: Duration::try_from_secs_f64(args.seconds)
            .map_err(|_| Failure::Usage("--seconds must be a length of time".to_owned()))?,
        bytes_max: u64::MAX,
        core: args.core,
        server: args.pid,
    };
    let requests = Requests::produce(&args.topic, args.partitions, shape, wall_ms());
    let outcome = load::run(address, requests, load).map_err(failed)?;
    match args.output.output {
        Output::Json => print_json(&figures(&outcome, args.pid.is_some())),
        Output::Text => print(&sentences(&outcome, args.pid.is_some())),
    }
}

fn figures(outcome: &Outcome, with_cpu: bool) -> serde_json::Value {
    let us = |quantile| outcome.latency_us(quantile);
    let cpu = |value: f64| with_cpu.then_some(value);
    json!({
        "seconds": outcome.elapsed.as_secs_f64(), "requests": outcome.requests, "records": outcome.records,
        "refused": outcome.refused,
        "payload_bytes": outcome.payload_bytes, "requests_per_second": outcome.requests_per_second(),
        "latency_us": { "p50": us(0.5), "p95": us(0.95), "p99": us(0.99), "p999": us(0.999), "max": us(1.0) },
        "server_cpu_us_per_request": cpu(outcome.cpu_us_per_request()),
        "server_cpu_s_per_gib": cpu(outcome.cpu_s_per_gib(outcome.payload_bytes)),
    })
}

fn sentences(outcome: &Outcome, with_cpu: bool) -> String {
    let us = |quantile| outcome.latency_us(quantile);
    let mib_per_second = outcome.payload_bytes as f64 / f64::from(1 << 20) / outcome.elapsed.as_secs_f64();
    let records_per_second = outcome.records as f64 / outcome.elapsed.as_secs_f64();
    let mut text = format!(
        "{} requests/s, {} records/s, {mib_per_second:.1} MiB/s\nlatency p50 {:.0} µs, p95 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}",
        grouped(outcome.requests_per_second() as u64),
        grouped(records_per_second as u64),
        us(0.5),
        us(0.95),
        us(0.99),
        us(0.999),
        us(1.0)
    );
    if outcome.refused > 0 {
        let refused = grouped(outcome.refused);
        text += &format!("\n{refused} requests refused for want of room, which are in no other figure");
    }
    if with_cpu {
        text += &format!(
            "\nbroker CPU {:.2} µs a request, {:.3} s/GiB",
            outcome.cpu_us_per_request(),
            outcome.cpu_s_per_gib(outcome.payload_bytes)
        );
    }
    text
}

fn run_echo(args: &EchoArgs) -> CommandOutcome {
    let sizes = Sizes { request: args.request_bytes as usize, response: args.response_bytes as usize };
    echo::serve(args.port, args.core, sizes).map_err(|error| Failure::failed(error.to_string()))
}

fn run_report(args: ReportArgs) -> CommandOutcome {
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("cannot find this program to start nodes with: {error}")))?;
    let settings = Settings {
        program,
        directory: args.directory,
        rounds: args.rounds.into(),
        measured: Duration::from_secs(args.seconds),
        idle: Duration::from_secs(args.idle_seconds),
        cores: [0, 1],
        wall_ms: wall_ms(),
    };
    let report = Report::measure(&settings, &|line| eprintln!("{line}")).map_err(failed)?;
    let now = time::format(settings.wall_ms);
    let made = format!(
        "Made by `skein bench report --rounds {} --seconds {} --idle-seconds {}` of skein {} ({}) on {}.",
        args.rounds,
        args.seconds,
        args.idle_seconds,
        env!("CARGO_PKG_VERSION"),
        if cfg!(debug_assertions) { "a debug build: figures of no worth" } else { "release build" },
        now.split('T').next().unwrap_or_default()
    );
    if let Some(path) = args.json {
        write(&path, &format!("{:#}\n", report.json()))?;
    }
    match args.out {
        Some(path) => write(&path, &report.markdown(&made)),
        None => print(&report.markdown(&made)),
    }
}

fn write(path: &PathBuf, text: &str) -> CommandOutcome {
    fs::write(path, text).map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
}

fn resolve(bootstrap: &str) -> Result<SocketAddr, Failure> {
    let unknown = |why: String| Failure::Usage(format!("--bootstrap {bootstrap}: {why}"));
    let mut addresses = bootstrap.to_socket_addrs().map_err(|error| unknown(error.to_string()))?;
    addresses.next().ok_or_else(|| unknown("the host has no address".to_owned()))
}

fn failed(error: bench::Error) -> Failure {
    Failure::failed(error.to_string())
}

fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}
