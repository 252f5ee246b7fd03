mod groups;
mod members;

use std::io::stderr;
use std::io::{IsTerminal as _, Write as _};

use super::failure::{Failure, Outcome};
use super::output::print;
use crate::sim::{self, Options};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Simulate nodes that crash, and check what they promise
    Sim(SimArgs),
    /// Burden a node with many groups, members and offsets, and measure how it bears them
    Groups(groups::Args),
    /// Print docs/configuration.md, as the tables of the code have it
    Docs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  skein dev sim                     a thousand lives of a node
  skein dev sim --seed 4711         one of them again, step by step the same")]
pub(super) struct SimArgs {
    /// Run this seed only, and say what came of it
    #[arg(long, conflicts_with_all = ["seeds", "first_seed"])]
    seed: Option<u64>,

    /// How many seeds
    #[arg(long, default_value_t = 1000)]
    seeds: u64,

    /// The first of them
    #[arg(long, default_value_t = 0)]
    first_seed: u64,

    /// Requests of clients in each life, at least
    #[arg(long, default_value_t = sim::runner::OPERATIONS, value_parser = clap::value_parser!(u64).range(100..))]
    operations: u64,

    /// Threads, each with a life of its own
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,

    /// The disk lies: it says that something is durable when it is not; shows that this is noticed
    #[arg(long)]
    lies: bool,
}

pub(super) fn run(command: Command) -> Outcome {
    match command {
        Command::Sim(args) => simulate(&args),
        Command::Groups(args) => groups::run(&args),
        Command::Docs => print(broker::config::configuration_markdown().trim_end()),
    }
}

fn simulate(args: &SimArgs) -> Outcome {
    let options = Options {
        first_seed: args.seed.unwrap_or(args.first_seed),
        seeds: if args.seed.is_some() { 1 } else { args.seeds },
        threads: usize::from(args.threads),
        operations: args.operations,
        lies: args.lies,
        ..Options::default()
    };
    sim::runner::announce_failures();
    if args.seed.is_some() {
        let report = sim::run_seed(options.first_seed, &options);
        return print(&format!("{}\ntrace {:016x}", report.totals, report.trace));
    }
    let is_watched = stderr().is_terminal();
    let outcome = sim::run(&options, |done| {
        if is_watched {
            // Nothing depends on the line being seen.
            let _ = write!(stderr(), "\r{done} of {} seeds", options.seeds);
        }
    });
    if is_watched {
        eprintln!();
    }
    for failure in &outcome.failures {
        eprintln!("{failure}");
    }
    print(&outcome.totals.to_string())?;
    if outcome.failures.is_empty() { Ok(()) } else { Err(Failure::Told) }
}
