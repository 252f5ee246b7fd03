use std::collections::{BTreeMap, BTreeSet};

use clap::Subcommand;
use serde_json::json;

use super::connect::Connect;
use super::failure::{Failure, Outcome};
use super::output::{Output, OutputArgs, count, print, print_json, table};
use crate::client::admin::{self, Group, GroupMember, TopicPartition};
use crate::client::{Cluster, Isolation, nearest};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List all groups
    #[command(after_help = "Examples:\n  skein group list\n  skein group list --output json")]
    List(ListArgs),
    /// Show members, partitions, committed offsets, ends and lags of groups
    #[command(after_help = "Examples:\n  skein group describe billing\n  skein group describe billing --output json")]
    Describe(DescribeArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct DescribeArgs {
    /// The groups
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(command: Command) -> Outcome {
    match command {
        Command::List(args) => list(&args),
        Command::Describe(args) => describe(&args),
    }
}

fn list(args: &ListArgs) -> Outcome {
    let mut cluster = args.connect.cluster()?;
    let groups = admin::groups(&mut cluster)?;
    if args.output.output == Output::Json {
        let groups: Vec<_> = groups
            .iter()
            .map(|g| json!({"group": g.id, "state": g.state, "protocol_type": g.protocol_type, "type": g.kind}))
            .collect();
        return print_json(&json!(groups));
    }
    let or_dash = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
    let rows = groups
        .into_iter()
        .map(|group| vec![group.id, or_dash(group.state), or_dash(group.kind), or_dash(Some(group.protocol_type))])
        .collect();
    print(&table(&["GROUP", "STATE", "TYPE", "PROTOCOL"], rows))
}

/// One partition of a group: who reads it, and how far.
struct Row<'a> {
    partition: TopicPartition,
    committed: Option<i64>,
    end: Option<i64>,
    member: Option<&'a GroupMember>,
}

impl Row<'_> {
    fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed?).max(0))
    }
}

fn describe(args: &DescribeArgs) -> Outcome {
    let mut cluster = args.connect.cluster()?;
    let mut documents = Vec::new();
    for name in &args.groups {
        let Some(group) = admin::group(&mut cluster, name)? else { return Err(no_group(&mut cluster, name)) };
        let committed = admin::committed_offsets(&mut cluster, name)?;
        let rows = rows(&mut cluster, &group, &committed)?;
        match args.output.output {
            Output::Json => documents.push(to_json(name, &group, &rows)),
            Output::Text => print(&to_text(name, &group, &rows))?,
        }
    }
    match args.output.output {
        Output::Json => print_json(&json!(documents)),
        Output::Text => Ok(()),
    }
}

fn no_group(cluster: &mut Cluster, name: &str) -> Failure {
    let existing = admin::groups(cluster).unwrap_or_default();
    let similar = nearest::names(name, existing.iter().map(|group| group.id.as_str()));
    let remedy = match similar.as_slice() {
        [] => "`skein group list` shows what there is".to_owned(),
        similar => format!("did you mean {}?", similar.join(", ")),
    };
    Failure::with_remedy(format!("there is no group {name:?}"), remedy)
}

/// Everything that is committed or assigned, in order.
fn rows<'a>(
    cluster: &mut Cluster,
    group: &'a Group,
    committed: &BTreeMap<TopicPartition, i64>,
) -> Outcome<Vec<Row<'a>>> {
    let mut owners: BTreeMap<TopicPartition, &GroupMember> = BTreeMap::new();
    for member in &group.members {
        for (topic, partitions) in &member.assignment {
            let topic = topic.as_str().into();
            let named = |&index: &i32| TopicPartition { topic: std::sync::Arc::clone(&topic), index };
            owners.extend(partitions.iter().map(|index| (named(index), member)));
        }
    }
    let all: BTreeSet<TopicPartition> = owners.keys().chain(committed.keys()).cloned().collect();
    let topics: BTreeSet<String> = all.iter().map(|partition| partition.topic.to_string()).collect();
    cluster.refresh_topics(&topics.into_iter().collect::<Vec<_>>())?;
    // A topic that was deleted has no end any more, but the group may still have its offsets.
    let existing: Vec<TopicPartition> =
        all.iter().filter(|p| cluster.leader(&p.topic, p.index).is_some()).cloned().collect();
    let ends = admin::list_offsets(cluster, &existing, admin::LATEST, Isolation::ReadUncommitted)?;
    let row = |partition: TopicPartition| Row {
        committed: committed.get(&partition).copied(),
        end: ends.get(&partition).copied(),
        member: owners.get(&partition).copied(),
        partition,
    };
    Ok(all.into_iter().map(row).collect())
}

fn to_json(name: &str, group: &Group, rows: &[Row<'_>]) -> serde_json::Value {
    let partitions: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "topic": &*row.partition.topic, "partition": row.partition.index, "committed": row.committed,
                "end": row.end, "lag": row.lag(), "member": row.member.map(|member| &member.id),
            })
        })
        .collect();
    let members: Vec<_> = group
        .members
        .iter()
        .map(|member| {
            json!({
                "id": member.id, "instance_id": member.instance_id, "client_id": member.client_id,
                "host": member.host, "assignment": member.assignment,
            })
        })
        .collect();
    json!({
        "group": name, "state": group.state, "assignor": group.assignor, "members": members, "partitions": partitions,
    })
}

fn to_text(name: &str, group: &Group, rows: &[Row<'_>]) -> String {
    let members = count(group.members.len(), "member");
    let assignor = if group.assignor.is_empty() { String::new() } else { format!(", assignor {}", group.assignor) };
    let lag: i64 = rows.iter().filter_map(Row::lag).sum();
    let mut text = format!("group {name}: {}, {members}{assignor}, lag {lag}\n", group.state);
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let cells = rows
        .iter()
        .map(|row| {
            vec![
                row.partition.topic.to_string(),
                row.partition.index.to_string(),
                number(row.committed),
                number(row.end),
                number(row.lag()),
                row.member.map_or_else(|| "-".to_owned(), |member| member.id.clone()),
                row.member.map_or_else(|| "-".to_owned(), |member| member.host.clone()),
                row.member.map_or_else(|| "-".to_owned(), |member| member.client_id.clone()),
            ]
        })
        .collect();
    let headings = ["TOPIC", ">PARTITION", ">COMMITTED", ">END", ">LAG", "MEMBER", "HOST", "CLIENT"];
    text += &table(&headings, cells);
    for member in group.members.iter().filter(|member| member.assignment.is_empty()) {
        text += &format!("\n{} of {} has no partition", member.id, member.host);
    }
    text + "\n"
}
