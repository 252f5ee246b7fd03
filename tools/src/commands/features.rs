//! `features`: what the nodes of the cluster agree on.

use clap::Subcommand;
use serde_json::json;

use super::connect::Connect;
use super::failure::Outcome;
use super::output::{Done, Output, OutputArgs, print, print_json, table};
use crate::client::features::{self, Direction};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List features, the levels the broker can work at, and the level in force
    #[command(after_help = "\
Examples:
  skein features list
  skein features list --output json | jq '.[] | select(.level > 0) | .name'")]
    List(ListArgs),
    /// Set the levels of features, all of them or none
    #[command(after_help = "\
Examples:
  skein features set metadata.version=30
  skein features set eligible.leader.replicas.version=0 --downgrade
  skein features set metadata.version=30 --dry-run")]
    Set(SetArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct SetArgs {
    /// Features and their new levels; 0 switches a feature off
    #[arg(required = true, value_name = "NAME=LEVEL", value_parser = name_level)]
    levels: Vec<(String, i16)>,

    /// Allow a lower level than the one in force, if nothing is lost
    #[arg(long)]
    downgrade: bool,

    /// Allow a lower level than the one in force, even if something is lost
    #[arg(long, conflicts_with = "downgrade")]
    unsafe_downgrade: bool,

    /// Ask whether it could be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

fn name_level(text: &str) -> Result<(String, i16), String> {
    let parsed = text.split_once('=').and_then(|(name, level)| Some((name.to_owned(), level.parse().ok()?)));
    parsed.filter(|(name, level)| !name.is_empty() && *level >= 0).ok_or_else(|| "expected NAME=LEVEL".to_owned())
}

pub(super) fn run(command: Command) -> Outcome {
    match command {
        Command::List(args) => list(&args),
        Command::Set(args) => set(&args),
    }
}

fn list(args: &ListArgs) -> Outcome {
    let mut cluster = args.connect.cluster()?;
    let features = features::features(&mut cluster)?;
    if args.output.output == Output::Json {
        let documents: Vec<_> = features
            .iter()
            .map(|(name, feature)| {
                let (min, max) = feature.supported.unzip();
                json!({"name": name, "level_min": min, "level_max": max, "level": feature.level})
            })
            .collect();
        return print_json(&json!(documents));
    }
    if features.is_empty() {
        return print("the broker has no features that it tells of");
    }
    let rows = features.iter().map(|(name, feature)| {
        let supported = feature.supported.map_or_else(|| "-".to_owned(), |(min, max)| format!("{min} to {max}"));
        let level = if feature.level == 0 { "off".to_owned() } else { feature.level.to_string() };
        vec![name.clone(), supported, level]
    });
    print(&table(&["FEATURE", "SUPPORTED LEVELS", ">LEVEL"], rows.collect()))
}

fn set(args: &SetArgs) -> Outcome {
    let direction = match (args.downgrade, args.unsafe_downgrade) {
        (false, false) => Direction::Upgrade,
        (true, _) => Direction::Downgrade,
        (_, true) => Direction::UnsafeDowngrade,
    };
    let mut cluster = args.connect.cluster()?;
    features::update_features(&mut cluster, &args.levels, direction, args.dry_run)?;
    let mut done = Done::new(args.output);
    for (name, level) in &args.levels {
        let verb = if args.dry_run { "could be" } else { "is" };
        let document = json!({"name": name, "level": level, "dry_run": args.dry_run});
        done.tell(&format!("feature {name} {verb} at level {level}"), document)?;
    }
    done.finish(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_split_from_its_level() {
        assert_eq!(name_level("group.version=1"), Ok(("group.version".to_owned(), 1)));
        for wrong in ["group.version", "=1", "a=", "a=b", "a=-1", "a=70000"] {
            assert!(name_level(wrong).is_err(), "{wrong}");
        }
    }
}
