//! `group delete` and `group delete-offsets`.

use serde_json::json;

use super::no_group;
use super::partitions::PartitionArgs;
use crate::client::admin::{self, TopicPartition};
use crate::client::{Cluster, Code, Error, group_admin};
use crate::commands::connect::Connect;
use crate::commands::failure::{Failure, Outcome};
use crate::commands::output::{Done, Output, OutputArgs, print, print_json, table};

#[derive(Debug, clap::Args)]
pub(in crate::commands) struct DeleteArgs {
    /// The groups
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,

    /// Do nothing, successfully, if a group does not exist
    #[arg(long)]
    if_exists: bool,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(in crate::commands) struct DeleteOffsetsArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    group: String,

    #[command(flatten)]
    partitions: PartitionArgs,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn delete(args: &DeleteArgs) -> Outcome {
    let mut done = Done::new(args.output);
    let outcome = delete_each(args, &mut done);
    done.finish(outcome)
}

fn delete_each(args: &DeleteArgs, done: &mut Done) -> Outcome {
    let mut cluster = args.connect.cluster()?;
    for name in &args.groups {
        match group_admin::delete_group(&mut cluster, name) {
            Ok(()) => done.tell(&format!("deleted group {name}"), json!({"group": name, "deleted": true}))?,
            Err(Error::Refused { code: Code::GROUP_ID_NOT_FOUND, .. }) if args.if_exists => {
                done.tell(&format!("there is no group {name}"), json!({"group": name, "deleted": false}))?;
            }
            Err(error) => return Err(explained(&mut cluster, name, error)),
        }
    }
    Ok(())
}

/// The failure, in words that help.
fn explained(cluster: &mut Cluster, group: &str, error: Error) -> Failure {
    match error {
        Error::Refused { code: Code::GROUP_ID_NOT_FOUND, .. } => no_group(cluster, group),
        Error::Refused { code: Code::NON_EMPTY_GROUP, .. } => Failure::with_remedy(
            format!("group {group:?} has members"),
            format!("stop them first; `skein group describe {group}` shows who and where they are"),
        ),
        error => error.into(),
    }
}

pub(super) fn delete_offsets(args: &DeleteOffsetsArgs) -> Outcome {
    let group = &args.group;
    let mut cluster = args.connect.cluster()?;
    if args.partitions.is_empty() {
        return args.partitions.resolve(&mut cluster, std::iter::empty()).map(drop);
    }
    if admin::group(&mut cluster, group)?.is_none() {
        return Err(no_group(&mut cluster, group));
    }
    let committed = admin::committed_offsets(&mut cluster, group)?;
    let chosen = args.partitions.resolve(&mut cluster, committed.into_keys())?;
    let chosen: Vec<TopicPartition> = chosen.into_iter().collect();
    let outcomes = match group_admin::delete_offsets(&mut cluster, group, &chosen) {
        Ok(outcomes) => outcomes,
        Err(error) => return Err(explained(&mut cluster, group, error)),
    };
    let result = |code: Code| match code {
        Code::NONE => "deleted".to_owned(),
        Code::GROUP_SUBSCRIBED_TO_TOPIC => "kept: a member reads the topic".to_owned(),
        code => format!("failed: {code}"),
    };
    match args.output.output {
        Output::Json => {
            let partitions: Vec<_> = outcomes
                .iter()
                .map(|(of, code)| {
                    json!({"topic": &*of.topic, "partition": of.index, "deleted": code.is_none(), "error_code": code.0})
                })
                .collect();
            print_json(&json!({"group": group, "partitions": partitions}))?;
        }
        Output::Text => {
            let row =
                |(of, code): (&TopicPartition, &Code)| vec![of.topic.to_string(), of.index.to_string(), result(*code)];
            print(&table(&["TOPIC", ">PARTITION", "RESULT"], outcomes.iter().map(row).collect()))?;
        }
    }
    let kept = outcomes.values().filter(|code| !code.is_none()).count();
    match kept {
        0 => Ok(()),
        _ => Err(Failure::with_remedy(
            format!("{kept} of {} offsets could not be deleted", outcomes.len()),
            "members that read a topic need its offsets; stop them, or let them unsubscribe",
        )),
    }
}
