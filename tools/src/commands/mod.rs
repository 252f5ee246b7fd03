//! The command line: what a person types, and what they see.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong use. Results go to standard output, everything else to standard error. A
//! reader that closes the pipe early (`| head`) is not a failure.

mod bench;
mod cluster;
mod completion;
mod config;
mod connect;
mod consume;
mod dev;
mod failure;
mod features;
mod format;
mod group;
mod log;
mod output;
mod produce;
mod progress;
mod quota;
mod signal;
mod start;
mod text;
mod time;
mod top;
mod topic;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::failure::{Failure, Outcome};

/// A Kafka-protocol event-streaming broker in one binary, and the commands to work with any Kafka-protocol cluster.
#[derive(Debug, Parser)]
#[command(name = "skein", version, propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  skein start                                 run a node on localhost:9092, data in ./skein-data
  skein topic create orders --partitions 3    make a topic
  skein produce orders < lines.txt            send each line as a record
  skein consume orders --from beginning       print all records and follow
  skein group describe billing                who reads what, and how far behind

Commands that talk to a cluster take --bootstrap HOST:PORT or SKEIN_BOOTSTRAP (default localhost:9092).
`skein COMMAND --help` has examples of each.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node
    Start(start::Args),
    /// Make, list, describe, grow and delete topics
    #[command(subcommand)]
    Topic(topic::Command),
    /// Send lines of text as records
    Produce(produce::Args),
    /// Print records
    Consume(consume::Args),
    /// List, describe, reset and delete consumer groups
    #[command(subcommand)]
    Group(group::Command),
    /// Show, set and unset configurations of topics, brokers, groups and client metrics
    #[command(subcommand)]
    Config(config::Command),
    /// List, set and remove what clients may use
    #[command(subcommand)]
    Quota(quota::Command),
    /// Show the cluster and its brokers
    Cluster(cluster::Args),
    /// Watch a node: throughput, lags, slow requests
    Top(top::Args),
    /// List and set what the nodes of the cluster agree on
    #[command(subcommand)]
    Features(features::Command),
    /// Look into log segment files, without a broker
    #[command(subcommand)]
    Log(log::Command),
    /// Measure: a load, an echo server as the floor, the figures of docs/performance.md
    #[command(subcommand)]
    Bench(bench::Command),
    /// Write a completion script for a shell
    Completion(completion::Args),
    /// For those who work on skein: simulate it
    #[command(subcommand)]
    Dev(dev::Command),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Start(args) => start::run(args),
        Command::Topic(command) => topic::run(command),
        Command::Produce(args) => produce::run(args),
        Command::Consume(args) => consume::run(args),
        Command::Group(command) => group::run(command),
        Command::Config(command) => config::run(command),
        Command::Quota(command) => quota::run(command),
        Command::Cluster(args) => cluster::run(args),
        Command::Top(args) => top::run(&args),
        Command::Features(command) => features::run(command),
        Command::Log(command) => log::run(command),
        Command::Bench(command) => bench::run(command),
        Command::Completion(args) => completion::run(args),
        Command::Dev(command) => dev::run(command),
    };
    outcome.map_or_else(Failure::report, |()| ExitCode::SUCCESS)
}
