//! `skein bench`: load, floors, and comparisons.

mod compare;
mod load;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{SystemTime, UNIX_EPOCH};

use bench::echo::{self, Sizes};

use super::failure::{Failure, Outcome as CommandOutcome};

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
    /// Compact more distinct keys than fit in memory at once, and say what that took
    Compaction(compare::CompactionArgs),
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

    /// Copy and checksum all that comes in, as a broker has to
    #[arg(long)]
    digest: bool,
}

pub(super) fn run(command: Command) -> CommandOutcome {
    match command {
        Command::Load(args) => load::run(*args),
        Command::Compare(args) => compare::run(args),
        Command::Diff(args) => compare::run_diff(&args),
        Command::Page(args) => compare::run_page(&args),
        Command::Echo(args) => run_echo(&args),
        Command::Compaction(args) => compare::run_compaction(&args),
    }
}

fn run_echo(args: &EchoArgs) -> CommandOutcome {
    let sizes =
        Sizes { request: args.request_bytes as usize, response: args.response_bytes as usize, digests: args.digest };
    echo::serve(args.port, args.core, sizes).map_err(|error| Failure::failed(error.to_string()))
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
