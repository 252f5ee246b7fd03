//! `skein bench compare` and `skein bench diff`: brokers side by side, and one comparison beside an earlier one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bench::compare::{self, Observer, Other, Results, Settings};
use bench::hlog::Log;
use bench::{diff, page};

use super::super::failure::{Failure, Outcome as CommandOutcome};
use super::super::output::print;
use super::super::time;
use super::{failed, wall_ms};

#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:
  skein bench compare --out bench-report                 skein and Kafka, five pairs: about 45 minutes
  skein bench compare --quick --out bench-report         one short pair of everything: a trial
  skein bench compare --only single,ack --no-kafka       some scenarios, skein alone
  skein bench compare --other 'x=my-broker --port $PORT --dir $DATA'

It writes report.html, report.md, results.json and latency.hlog, again after each scenario, so that a run that breaks off
loses nothing. What fails is told in the report, and does not end the run. It needs two CPUs, 20 GB of disk, Java 17 or newer with
Maven, and a machine that does nothing else.")]
pub(in super::super) struct CompareArgs {
    /// Directory for the report
    #[arg(long, value_name = "DIR", default_value = "bench-report")]
    out: PathBuf,

    /// How often everything is measured, forwards and backwards in turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pairs: u16,

    /// One pair, short runs, no 10,000 partitions
    #[arg(long, conflicts_with = "pairs")]
    quick: bool,

    /// Have all of it done after so many minutes: later scenarios get fewer pairs
    #[arg(long)]
    minutes: Option<f64>,

    /// Compact so many distinct keys as well
    #[arg(long, value_name = "KEYS", default_value_t = 0)]
    compaction_keys: u64,

    /// How long each run is measured, in seconds [default: 2.5, quick: 1]
    #[arg(long)]
    seconds: Option<f64>,

    /// How long a JVM is loaded before anything is measured, in seconds [default: 60, quick: 10]
    #[arg(long)]
    warm_up: Option<f64>,

    /// Only scenarios with one of these in their names; `sweep`, `disk`, `crossing`, `footprint` and `drained` are names
    /// too
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,

    /// The script that starts Kafka [default: tools/kafka of the source tree]
    #[arg(long, value_name = "FILE")]
    kafka: Option<PathBuf>,

    /// Leave Kafka out
    #[arg(long, conflicts_with = "kafka")]
    no_kafka: bool,

    /// Another broker: a name, and the shell's command that starts it on $PORT with its data in $DATA
    #[arg(long, value_name = "NAME=COMMAND")]
    other: Vec<String>,

    /// Where to make the data directories: the disk that is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,

    /// CPUs of the brokers [default: the first half]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    server_cores: Vec<usize>,

    /// CPUs of the load [default: the others]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    load_cores: Vec<usize>,

    /// The load looks for answers without sleeping
    #[arg(long)]
    spin: bool,

    /// A sentence for the head of the report
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  skein bench compaction --keys 1000000                                   a trial: a minute
  skein bench compaction --keys 50000000 --into bench-report/results.json  8 GB of disk; `skein bench page` shows it")]
pub(in super::super) struct CompactionArgs {
    /// Distinct keys; every tenth of them is written twice
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,

    /// Where to make the data directory
    #[arg(long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,

    /// Add the figures to a results.json
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  skein bench diff before/results.json after/results.json

A figure counts as changed if its interval of 95 % confidence lies on one side of 1; one run of each tells nothing.")]
pub(in super::super) struct DiffArgs {
    /// The earlier results.json
    before: PathBuf,
    /// The later one
    after: PathBuf,

    /// Show what did not change as well
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct PageArgs {
    /// A results.json
    results: PathBuf,
    /// Directory for report.html and report.md
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

pub(super) fn run(args: CompareArgs) -> CommandOutcome {
    let (settings, out) = settings(args)?;
    let files = Files { out };
    compare::run(&settings, &files).map_err(failed)?;
    print(&format!("{}", files.out.join("report.html").display()))
}

/// Writes everything again whenever there is more of it.
struct Files {
    out: PathBuf,
}

impl Observer for Files {
    fn say(&self, line: &str) {
        eprintln!("{line}");
    }

    fn save(&self, results: &Results, log: &Log) {
        let written = write(&self.out.join("results.json"), &results.to_json())
            .and_then(|()| write(&self.out.join("latency.hlog"), &log.text()))
            .and_then(|()| write_pages(results, &self.out));
        if let Err(failure) = written {
            eprintln!("{}", failure.text());
        }
    }
}

/// Compacts, prints what came of it, and adds it to the results of a comparison.
pub(super) fn run_compaction(args: &CompactionArgs) -> CommandOutcome {
    let (settings, _) = settings(CompareArgs {
        compaction_keys: args.keys,
        directory: args.directory.clone(),
        out: args.directory.clone(),
        no_kafka: true,
        ..CompareArgs::default()
    })?;
    let metrics = compare::compaction(&settings, &|line| eprintln!("{line}")).map_err(failed)?;
    for (name, values) in &metrics {
        print(&format!("{name:<22}{:>16.1}", values[0]))?;
    }
    let Some(path) = &args.into else { return Ok(()) };
    let mut results = read(path)?;
    results.compaction = metrics;
    write(path, &results.to_json())
}

fn settings(args: CompareArgs) -> Result<(Settings, PathBuf), Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("cannot find this program to start nodes with: {error}")))?;
    let make = |path: &Path| {
        fs::create_dir_all(path)
            .and_then(|()| path.canonicalize())
            .map_err(|error| Failure::failed(format!("cannot make {}: {error}", path.display())))
    };
    let (directory, out) = (make(&args.directory)?, make(&args.out)?);
    let kafka = if args.no_kafka { None } else { Some(kafka_script(args.kafka)?) };
    let others = args.other.iter().map(|text| match text.split_once('=') {
        Some((name, command)) => Ok(Other { name: name.to_owned(), command: command.to_owned() }),
        None => Err(Failure::Usage(format!("--other {text}: it is NAME=COMMAND"))),
    });
    let (server_cores, load_cores) = cores(args.server_cores, args.load_cores)?;
    let pick = |given: Option<f64>, full: f64, quick: f64| given.unwrap_or(if args.quick { quick } else { full });
    let now = time::format(wall_ms());
    let made = format!(
        "Made by skein {} ({}) on {}{}",
        env!("CARGO_PKG_VERSION"),
        if cfg!(debug_assertions) { "a debug build: figures of no worth" } else { "release build" },
        now.split('T').next().unwrap_or_default(),
        args.note.map_or_else(|| ".".to_owned(), |note| format!(". {note}"))
    );
    let length = |seconds: f64| {
        Duration::try_from_secs_f64(seconds).map_err(|_| Failure::Usage("a length of time is 0 s or longer".to_owned()))
    };
    let settings = Settings {
        facts: facts(kafka.is_some(), &server_cores, &load_cores),
        program,
        kafka,
        others: others.collect::<Result<_, _>>()?,
        directory,
        pairs: if args.quick { 1 } else { args.pairs.into() },
        warm_up_s: pick(None, 0.5, 0.3),
        seconds: pick(args.seconds, 2.5, 1.0),
        jvm_warm_up: length(pick(args.warm_up, 60.0, 10.0))?,
        idle: length(pick(None, 12.0, 2.0))?,
        limit: args.minutes.map(|minutes| length(60.0 * minutes)).transpose()?,
        compaction_keys: args.compaction_keys,
        server_cores,
        load_cores,
        spins: args.spin,
        is_quick: args.quick,
        only: args.only,
        wall_ms: wall_ms(),
        made,
    };
    Ok((settings, out))
}

/// The script of the source tree that this program was built in, or that it is run in.
fn kafka_script(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let here = Path::new("tools/kafka");
    let found = given.or_else(|| here.is_file().then(|| here.to_owned()));
    let found = found.ok_or_else(|| {
        Failure::Usage("run this in skein's source tree, or say --kafka FILE or --no-kafka".to_owned())
    })?;
    found.canonicalize().map_err(|error| Failure::Usage(format!("--kafka {}: {error}", found.display())))
}

/// The CPUs of brokers and load: halves of what is there, unless they were given.
fn cores(server: Vec<usize>, load: Vec<usize>) -> Result<(Vec<usize>, Vec<usize>), Failure> {
    let all: Vec<usize> = (0..std::thread::available_parallelism().map_or(1, usize::from)).collect();
    let half = all.len() / 2;
    let server = if server.is_empty() { all[..half].to_vec() } else { server };
    let load = if load.is_empty() { all.into_iter().filter(|core| !server.contains(core)).collect() } else { load };
    if server.is_empty() || load.is_empty() || server.iter().any(|core| load.contains(core)) {
        return Err(Failure::Usage("brokers and load need CPUs of their own: two at least".to_owned()));
    }
    Ok((server, load))
}

fn facts(with_kafka: bool, server_cores: &[usize], load_cores: &[usize]) -> Vec<(String, String)> {
    let list = |cores: &[usize]| cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let mut facts = vec![
        ("skein".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("CPUs of the brokers".to_owned(), list(server_cores)),
        ("CPUs of the load".to_owned(), list(load_cores)),
    ];
    if with_kafka {
        let java = std::process::Command::new("java").arg("-version").output();
        let version = java.ok().and_then(|output| {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            text.lines().nth(1).map(str::to_owned)
        });
        facts.push(("Apache Kafka".to_owned(), "4.3.1, heap 1 GiB, G1".to_owned()));
        facts.extend(version.map(|version| ("Java".to_owned(), version)));
    }
    facts
}

pub(super) fn run_diff(args: &DiffArgs) -> CommandOutcome {
    let (before, after) = (read(&args.before)?, read(&args.after)?);
    print(&diff::text(&before, &after, args.all))
}

pub(super) fn run_page(args: &PageArgs) -> CommandOutcome {
    write_pages(&read(&args.results)?, &args.out)
}

fn write_pages(results: &Results, out: &Path) -> CommandOutcome {
    fs::create_dir_all(out).map_err(|error| Failure::failed(format!("cannot make {}: {error}", out.display())))?;
    write(&out.join("report.html"), &page::html(results))?;
    write(&out.join("report.md"), &page::markdown(results))
}

fn read(path: &Path) -> Result<Results, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
    Results::from_json(&text).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

fn write(path: &Path, text: &str) -> CommandOutcome {
    fs::write(path, text).map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
}
