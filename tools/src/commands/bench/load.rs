//! `skein bench load`: one workload, by a file and by flags.

use std::fs;
use std::path::PathBuf;

use bench::generator::{Latency, Outcome, Target};
use bench::rates::{self, Run, Runs};
use bench::workload::{Acks, Consumers, Keys, Search, Size, Workload};
use serde_json::{Value, json};
use storage::compression::Codec;

use super::super::failure::{Failure, Outcome as CommandOutcome};
use super::super::output::{Output, OutputArgs, grouped, print, print_json};
use super::{failed, resolve, wall_ms};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  skein bench load --seconds 10                                     one 100 B record a request, 64 connections
  skein bench load --record-bytes 1024 --batch-bytes 16384 --pid $(pidof skein)
  skein bench load --rate 500 --producers 1                         open loop: latency from when a record was due
  skein bench load --rate 10000 --consume tail --check              end to end, each record read back once, in order
  skein bench load --steps 1000,10000,100000                        latency at each rate
  skein bench load --within 5000 --from 1000 --to 1000000           the highest rate with a p99 of 5 ms
  skein bench load --workload orders.toml --print                   the file with these flags, as a file

Flags change what the file says. Rates are records a second over all producers.")]
pub(in super::super) struct LoadArgs {
    /// The broker
    #[arg(long, short = 'b', env = "SKEIN_BOOTSTRAP", value_name = "HOST:PORT", default_value = "localhost:9092")]
    bootstrap: String,

    /// A TOML file that describes the workload
    #[arg(long, short = 'w', value_name = "FILE")]
    workload: Option<PathBuf>,

    /// Print the workload as a file, and do nothing
    #[arg(long)]
    print: bool,

    #[command(flatten)]
    change: ChangeArgs,

    /// CPUs of the load: a thread on each
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1")]
    cores: Vec<usize>,

    /// Look for something to do without sleeping; needs CPUs that nothing else needs, the kernel included
    #[arg(long)]
    spin: bool,

    /// The broker's process, to say what it uses
    #[arg(long)]
    pid: Option<u32>,

    /// File for the latencies, in HdrHistogram's log format
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,

    #[command(flatten)]
    output: OutputArgs,
}

/// What flags change in a workload.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Workload")]
struct ChangeArgs {
    /// Topic, made if it is not there
    #[arg(long)]
    topic: Option<String>,

    /// Partitions of the topic
    #[arg(long)]
    partitions: Option<i32>,

    /// Configuration that the topic is made with
    #[arg(long, value_name = "NAME=VALUE")]
    topic_config: Vec<String>,

    /// What sizes and keys are drawn from
    #[arg(long)]
    seed: Option<u64>,

    /// Stamp every record, read it back, and compare with what was acknowledged
    #[arg(long)]
    check: bool,

    /// Bytes of a record's value: a number, or MIN-MAX
    #[arg(long, value_name = "BYTES", value_parser = size)]
    record_bytes: Option<Size>,

    /// Take values from the lines of a file
    #[arg(long, value_name = "FILE", conflicts_with = "record_bytes")]
    record_lines: Option<PathBuf>,

    /// How keys are drawn
    #[arg(long, value_name = "none|uniform|zipf", value_parser = keys)]
    keys: Option<Keys>,

    /// Different keys
    #[arg(long)]
    key_count: Option<u32>,

    /// Connections that write
    #[arg(long, visible_alias = "connections")]
    producers: Option<u32>,

    /// Requests in flight on each
    #[arg(long)]
    in_flight: Option<u32>,

    /// Bytes of a request's batch at most; one record at least
    #[arg(long)]
    batch_bytes: Option<usize>,

    /// How long a record waits for others, in ms [default: batches are full]
    #[arg(long)]
    linger_ms: Option<f64>,

    /// Codec of the batches
    #[arg(long, value_name = "none|gzip|snappy|lz4|zstd", value_parser = codec)]
    codec: Option<Codec>,

    /// Who has to have a record
    #[arg(long, value_name = "0|1|all", value_parser = acks)]
    acks: Option<Acks>,

    /// Send producer ids and sequences
    #[arg(long)]
    idempotent: bool,

    /// Who reads
    #[arg(long, value_name = "none|tail|cold|replay|group", value_parser = consumers)]
    consume: Option<Consumers>,

    /// Connections that share the partitions
    #[arg(long)]
    members: Option<u32>,

    /// How often everything is read
    #[arg(long)]
    copies: Option<u32>,

    /// Bytes that a fetch asks for
    #[arg(long)]
    fetch_bytes: Option<i32>,

    /// Bytes of record batches that are written before anything is measured
    #[arg(long)]
    preload_bytes: Option<u64>,

    /// Records a second, whatever is in flight [default: as many as requests in flight allow]
    #[arg(long, group = "pace")]
    rate: Option<f64>,

    /// One rate after another
    #[arg(long, value_delimiter = ',', group = "pace")]
    steps: Vec<f64>,

    /// Search for the highest rate with a p99 of at most so many µs
    #[arg(long, value_name = "MICROSECONDS", group = "pace")]
    within: Option<f64>,

    /// The lowest rate of the search
    #[arg(long, requires = "within", default_value_t = 1_000.0)]
    from: f64,

    /// The highest rate of the search
    #[arg(long, requires = "within", default_value_t = 1_000_000.0)]
    to: f64,

    /// How long nothing is measured at the start
    #[arg(long, value_name = "SECONDS")]
    warm_up: Option<f64>,

    /// How long is measured then
    #[arg(long)]
    seconds: Option<f64>,
}

fn size(text: &str) -> Result<Size, String> {
    let number = |text: &str| text.parse::<usize>().map_err(|error| format!("{text}: {error}"));
    match text.split_once('-') {
        Some((min, max)) => Ok(Size::Uniform { min: number(min)?, max: number(max)? }),
        None => number(text).map(Size::Fixed),
    }
}

fn named<T: Copy>(text: &str, all: &[(&str, T)]) -> Result<T, String> {
    let found = all.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        format!("it is one of {}", names.join(", "))
    })
}

fn keys(text: &str) -> Result<Keys, String> {
    named(text, &[("none", Keys::None), ("uniform", Keys::Uniform), ("zipf", Keys::Zipf)])
}

fn codec(text: &str) -> Result<Codec, String> {
    named(text, &Codec::ALL.map(|codec| (codec.name(), codec)))
}

fn acks(text: &str) -> Result<Acks, String> {
    named(text, &[("0", Acks::None), ("1", Acks::Leader), ("all", Acks::All), ("-1", Acks::All)])
}

fn consumers(text: &str) -> Result<Consumers, String> {
    let all = [
        ("none", Consumers::None),
        ("tail", Consumers::Tail),
        ("cold", Consumers::Cold),
        ("replay", Consumers::Replay),
        ("group", Consumers::Group),
    ];
    named(text, &all)
}

/// Puts what was given in the place of what was there.
fn set<T>(place: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *place = value;
    }
}

impl ChangeArgs {
    fn apply(self, workload: &mut Workload) -> Result<(), Failure> {
        set(&mut workload.topic, self.topic);
        set(&mut workload.partitions, self.partitions);
        for config in self.topic_config {
            let (name, value) = config
                .split_once('=')
                .ok_or_else(|| Failure::Usage(format!("--topic-config {config}: it is NAME=VALUE")))?;
            workload.topic_configs.push((name.to_owned(), value.to_owned()));
        }
        set(&mut workload.seed, self.seed);
        workload.check |= self.check;
        set(&mut workload.records.bytes, self.record_bytes);
        set(&mut workload.records.bytes, self.record_lines.map(|lines| Size::Lines { lines }));
        set(&mut workload.records.keys, self.keys);
        set(&mut workload.records.key_count, self.key_count);
        let produce = &mut workload.produce;
        set(&mut produce.producers, self.producers);
        set(&mut produce.in_flight, self.in_flight);
        set(&mut produce.batch_bytes, self.batch_bytes);
        produce.linger_ms = self.linger_ms.or(produce.linger_ms);
        set(&mut produce.codec, self.codec);
        set(&mut produce.acks, self.acks);
        produce.idempotent |= self.idempotent;
        let consume = &mut workload.consume;
        set(&mut consume.kind, self.consume);
        set(&mut consume.members, self.members);
        set(&mut consume.copies, self.copies);
        set(&mut consume.fetch_bytes, self.fetch_bytes);
        set(&mut consume.preload_bytes, self.preload_bytes);
        set(&mut workload.time.warm_up_s, self.warm_up);
        set(&mut workload.time.seconds, self.seconds);
        let search = |latency_us| Search { percentile: 99.0, latency_us, from: self.from, to: self.to, trials: 10 };
        if self.rate.is_some() || !self.steps.is_empty() || self.within.is_some() {
            workload.rate = bench::workload::Rate {
                records_per_second: self.rate,
                steps: self.steps,
                search: self.within.map(search),
            };
        }
        Ok(())
    }
}

pub(super) fn run(args: LoadArgs) -> CommandOutcome {
    let mut workload = match &args.workload {
        None => Workload::default(),
        Some(path) => {
            let text = fs::read_to_string(path)
                .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
            Workload::parse(&text).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?
        }
    };
    args.change.apply(&mut workload)?;
    workload.validate().map_err(|error| Failure::Usage(error.to_string()))?;
    if args.print {
        return print(&workload.to_toml());
    }
    let target = Target {
        address: resolve(&args.bootstrap)?,
        pid: args.pid,
        cores: args.cores,
        spins: args.spin,
        is_echo: false,
        wall_ms: wall_ms(),
    };
    let with_server = args.pid.is_some();
    let is_text = args.output.output == Output::Text;
    let has_several = workload.rate.search.is_some() || !workload.rate.steps.is_empty();
    let mut say = |run: &Run| {
        if is_text && has_several {
            eprintln!("{}", line(run));
        }
    };
    let runs = rates::run(&workload, &target, &mut say).map_err(failed)?;
    if let Some(path) = &args.hlog {
        write_hlog(path, &runs)?;
    }
    match args.output.output {
        Output::Json => print_json(&figures(&runs, with_server)),
        Output::Text => print(&sentences(&runs, with_server)),
    }
}

fn write_hlog(path: &PathBuf, runs: &Runs) -> CommandOutcome {
    let mut log = bench::hlog::Log::new();
    for (number, run) in runs.runs.iter().enumerate() {
        if let Some(outcome) = &run.outcome {
            log.outcome(&format!("run{number}"), outcome);
        }
    }
    fs::write(path, log.text()).map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
}

fn line(run: &Run) -> String {
    let rate = grouped(run.rate.unwrap_or(0.0) as u64);
    match &run.outcome {
        None => format!("{rate} records/s: not carried"),
        Some(outcome) => format!(
            "{rate} records/s: {} were acknowledged, p50 {:.0} µs, p99 {:.0}, p99.9 {:.0}",
            grouped(outcome.records_per_second() as u64),
            outcome.latency_us(0.5),
            outcome.latency_us(0.99),
            outcome.latency_us(0.999)
        ),
    }
}

fn percentiles(latency: &Latency) -> Value {
    let us = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    json!({
        "p50": us(0.5), "p90": us(0.9), "p95": us(0.95), "p99": us(0.99), "p999": us(0.999), "p9999": us(0.9999),
        "max": us(1.0)
    })
}

fn figures(runs: &Runs, with_server: bool) -> Value {
    let run = |run: &Run| {
        let mut value = run.outcome.as_ref().map_or_else(|| json!({ "carried": false }), |o| outcome(o, with_server));
        value["rate"] = json!(run.rate);
        value
    };
    match &runs.runs[..] {
        [only] => run(only),
        all => json!({ "found_records_per_second": runs.found, "runs": all.iter().map(run).collect::<Vec<_>>() }),
    }
}

fn outcome(outcome: &Outcome, with_server: bool) -> Value {
    let server = |value: f64| with_server.then_some(value);
    let reads = (outcome.reads.bytes > 0).then(|| {
        json!({
            "records": outcome.reads.records, "bytes": outcome.reads.bytes,
            "mib_per_second": outcome.read_mib_per_second(), "fetches": outcome.reads.fetches,
            "caught_up_s": outcome.reads.caught_up.map(|time| time.as_secs_f64()),
            "end_to_end_us": outcome.checked.map(|_| percentiles(&outcome.reads.end_to_end)),
        })
    });
    json!({
        "seconds": outcome.elapsed.as_secs_f64(), "requests": outcome.requests, "records": outcome.records,
        "refused": outcome.refused, "checked_records": outcome.checked,
        "payload_bytes": outcome.payload_bytes, "requests_per_second": outcome.requests_per_second(),
        "latency_us": percentiles(&outcome.latency),
        "reads": reads, "stolen_share": outcome.stolen, "load_cpu_seconds": outcome.load.cpu.as_secs_f64(),
        "server_cpu_us_per_request": server(outcome.cpu_us_per_request()),
        "server_cpu_s_per_gib": server(outcome.cpu_s_per_gib(outcome.payload_bytes)),
        "server_context_switches": with_server.then_some(outcome.server.context_switches),
    })
}

fn sentences(runs: &Runs, with_server: bool) -> String {
    let Some(outcome) = runs.best() else {
        return "not one of the rates was carried within the latency".to_owned();
    };
    let mut text = String::new();
    if let Some(rate) = runs.found {
        text += &format!("the highest rate within the latency: {} records/s\n", grouped(rate as u64));
    }
    if outcome.requests > 0 {
        text += &format!(
            "{} requests/s, {} records/s, {:.1} MiB/s\nlatency {}",
            grouped(outcome.requests_per_second() as u64),
            grouped(outcome.records_per_second() as u64),
            outcome.mib_per_second(),
            spread(&outcome.latency)
        );
    }
    if outcome.refused > 0 {
        let refused = grouped(outcome.refused);
        text += &format!("\n{refused} requests refused for want of room, which are in no other figure");
    }
    if outcome.reads.bytes > 0 {
        text += &format!("\nread {:.1} MiB/s", outcome.read_mib_per_second());
    }
    if let Some(time) = outcome.reads.caught_up.filter(|time| !time.is_zero()) {
        text += &format!(", all that was there after {:.1} s", time.as_secs_f64());
    }
    if let Some(records) = outcome.checked {
        text += &format!("\nend to end {}", spread(&outcome.reads.end_to_end));
        text += &format!("\n{} records acknowledged, each read back once, in order", grouped(records));
    }
    if with_server {
        let switches = outcome.server.context_switches as f64 / outcome.requests.max(outcome.reads.fetches) as f64;
        text += "\nbroker CPU ";
        if outcome.requests > 0 {
            let (request, gib) = (outcome.cpu_us_per_request(), outcome.cpu_s_per_gib(outcome.payload_bytes));
            text += &format!("{request:.2} µs a request, {gib:.3} s/GiB written, ");
        }
        if outcome.reads.bytes > 0 {
            text += &format!("{:.3} s/GiB read, ", outcome.cpu_s_per_gib(outcome.reads.bytes));
        }
        text += &format!("{switches:.2} context switches a request");
    }
    let busy = 100.0 * outcome.load.cpu.as_secs_f64() / outcome.elapsed.as_secs_f64();
    text += &format!("\nthe load itself had {busy:.0} % of a CPU");
    text.trim_start_matches('\n').to_owned()
}

fn spread(latency: &Latency) -> String {
    let us = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    format!(
        "p50 {:.0} µs, p95 {:.0}, p99 {:.0}, p99.9 {:.0}, p99.99 {:.0}, max {:.0}",
        us(0.5),
        us(0.95),
        us(0.99),
        us(0.999),
        us(0.9999),
        us(1.0)
    )
}
