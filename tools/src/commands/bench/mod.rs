//! `skein bench`: load, floors, and reports.

mod compare;
mod load;

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bench::echo::{self, Sizes};
use bench::report::{Report, Settings};

use super::failure::{Failure, Outcome as CommandOutcome};
use super::output::print;
use super::time;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Load a broker with a workload, and say what it does
    Load(Box<load::LoadArgs>),
    /// Measure skein and Apache Kafka side by side, and write a report
    Compare(compare::CompareArgs),
    /// Say what has changed from one comparison to a later one
    Diff(compare::DiffArgs),
    /// Write the pages of a comparison again
    Page(compare::PageArgs),
    /// Serve as the floor: answer so many bytes with so many, on the broker's ring
    Echo(EchoArgs),
    /// Measure everything that docs/performance.md says, and write it
    Report(ReportArgs),
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
        Command::Load(args) => load::run(*args),
        Command::Compare(args) => compare::run(args),
        Command::Diff(args) => compare::run_diff(&args),
        Command::Page(args) => compare::run_page(&args),
        Command::Echo(args) => run_echo(&args),
        Command::Report(args) => run_report(args),
    }
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
