mod groups;
mod members;

use std::io::stderr;
use std::io::{IsTerminal as _, Write as _};
use std::process::{Command as Process, Stdio};

use super::failure::{Failure, Outcome};
use super::output::print;
use super::start::start_logging;
use crate::sim::{self, Options, Reduction, Totals};

/// Seeds between two reports of a simulation that does not end.
const FOREVER_STEP_SEEDS: u64 = 1000;

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
  skein dev sim --seed 4711         one of them again, step by step the same
  skein dev sim --forever           until it is stopped or a seed fails")]
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

    /// End the life after so many requests, whatever the seed says
    #[arg(long, requires = "seed")]
    stop_at: Option<u64>,

    /// Leave out these faults of the seed
    #[arg(long, requires = "seed", value_delimiter = ',')]
    without_faults: Vec<usize>,

    /// Leave out these clients of the seed
    #[arg(long, requires = "seed", value_delimiter = ',')]
    without_clients: Vec<usize>,

    /// Do not look for the shortest life that fails, when a seed has failed
    #[arg(long)]
    no_shrink: bool,

    /// What to tell of the seed on standard error: info has faults and starts, debug all answers, trace every event
    #[arg(long, requires = "seed", value_name = "FILTER")]
    log: Option<String>,

    /// Run until stopped, a thousand seeds after the other
    #[arg(long, conflicts_with_all = ["seed", "seeds"])]
    forever: bool,

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
        reduction: Reduction {
            stop_at: args.stop_at,
            without_faults: args.without_faults.iter().copied().collect(),
            without_clients: args.without_clients.iter().copied().collect(),
        },
        ..Options::default()
    };
    let (is_shrunk, lies) = (!args.no_shrink && options.reduction == Reduction::default(), args.lies);
    sim::runner::announce_failures(move |failure| {
        if is_shrunk {
            shrink(failure, lies);
        }
    });
    if args.seed.is_some() {
        if let Some(filter) = &args.log {
            start_logging(Some(filter))?;
        }
        let report = sim::run_seed(options.first_seed, &options);
        return print(&format!("{}\ntrace {:016x}", report.totals, report.trace));
    }
    if args.forever {
        return simulate_forever(options);
    }
    let totals = simulate_seeds(&options)?;
    print(&format!("{totals}\n{}", sim::coverage::report(&totals).trim_end()))?;
    let unreached = sim::coverage::unreached(&totals);
    if options.seeds >= sim::coverage::COMPLETE_FROM_SEEDS && !unreached.is_empty() {
        eprintln!("never reached: {}", unreached.join(", "));
        return Err(Failure::Told);
    }
    Ok(())
}

/// Runs the seeds of the options, and tells what failed.
fn simulate_seeds(options: &Options) -> Result<Totals, Failure> {
    let is_watched = stderr().is_terminal();
    let outcome = sim::run(options, |done| {
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
    if outcome.failures.is_empty() { Ok(outcome.totals) } else { Err(Failure::Told) }
}

/// A thousand seeds after the other, with the totals of all after each thousand.
fn simulate_forever(mut options: Options) -> Outcome {
    let mut totals = Totals::default();
    options.seeds = FOREVER_STEP_SEEDS;
    loop {
        totals.add(&simulate_seeds(&options)?);
        options.first_seed += options.seeds;
        print(&format!("seeds up to {}\n{totals}\n{}", options.first_seed, sim::coverage::report(&totals)))?;
    }
}

/// Says what the shortest life of a failed seed is that still fails. Each is tried by a process of its own, which ends
/// when it fails.
fn shrink(failure: &sim::Failure, lies: bool) {
    let Ok(program) = std::env::current_exe() else { return };
    eprintln!("looking for the shortest life of seed {} that fails", failure.seed);
    let run = format!("dev sim --no-shrink --seed {} --operations {}", failure.seed, failure.operations);
    let run = if lies { run + " --lies" } else { run };
    let reduction = sim::runner::shorten(failure, &mut |reduction| {
        let command = format!("{run}{reduction}");
        let ended =
            Process::new(&program).args(command.split(' ')).stdout(Stdio::null()).stderr(Stdio::null()).status();
        ended.is_ok_and(|status| !status.success())
    });
    eprintln!("the shortest found: {}", sim::runner::describe(failure.seed, failure.operations, &reduction));
    eprintln!("  replay it: skein {run}{reduction}");
}
