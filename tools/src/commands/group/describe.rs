//! `group describe`: who reads what, and how far behind.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::no_group;
use crate::client::admin::{self, Group, GroupMember, TopicPartition};
use crate::client::group_admin::{self, Progress};
use crate::client::{Cluster, Isolation};
use crate::commands::connect::Connect;
use crate::commands::failure::Outcome;
use crate::commands::output::{Output, OutputArgs, count, grouped, print, print_json, table};
use crate::commands::time;

#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Args {
    /// The groups
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

/// One partition of a group: who reads it, and how far.
struct Row<'a> {
    partition: TopicPartition,
    committed: Option<i64>,
    end: Option<i64>,
    /// The age of the oldest record not yet consumed.
    age_ms: Option<i64>,
    member: Option<&'a GroupMember>,
}

impl Row<'_> {
    fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed?).max(0))
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut cluster = args.connect.cluster()?;
    let mut documents = Vec::new();
    for name in &args.groups {
        let Some(group) = admin::group(&mut cluster, name)? else { return Err(no_group(&mut cluster, name)) };
        let progress = group_admin::progress(&mut cluster, name, time::now())?;
        let rows = rows(&mut cluster, &group, &progress)?;
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

/// Everything that is committed or assigned, in order.
fn rows<'a>(
    cluster: &mut Cluster,
    group: &'a Group,
    progress: &BTreeMap<TopicPartition, Progress>,
) -> Outcome<Vec<Row<'a>>> {
    let mut owners: BTreeMap<TopicPartition, &GroupMember> = BTreeMap::new();
    for member in &group.members {
        for (topic, partitions) in &member.assignment {
            let topic = topic.as_str().into();
            let named = |&index: &i32| TopicPartition { topic: std::sync::Arc::clone(&topic), index };
            owners.extend(partitions.iter().map(|index| (named(index), member)));
        }
    }
    let uncommitted: Vec<TopicPartition> = owners.keys().filter(|of| !progress.contains_key(of)).cloned().collect();
    let topics: BTreeSet<String> = uncommitted.iter().map(|partition| partition.topic.to_string()).collect();
    cluster.refresh_topics(&topics.into_iter().collect::<Vec<_>>())?;
    let existing: Vec<TopicPartition> =
        uncommitted.iter().filter(|p| cluster.leader(&p.topic, p.index).is_some()).cloned().collect();
    let ends = admin::list_offsets(cluster, &existing, admin::LATEST, Isolation::ReadUncommitted)?;
    let all: BTreeSet<TopicPartition> = owners.keys().chain(progress.keys()).cloned().collect();
    let row = |partition: TopicPartition| {
        let known = progress.get(&partition);
        Row {
            committed: known.map(|progress| progress.committed),
            end: known.map_or_else(|| ends.get(&partition).copied(), |progress| progress.end),
            age_ms: known.and_then(|progress| progress.age_ms),
            member: owners.get(&partition).copied(),
            partition,
        }
    };
    Ok(all.into_iter().map(row).collect())
}

/// The sum of the lags in records, and the largest in time.
fn total(rows: &[Row<'_>]) -> (i64, Option<i64>) {
    (rows.iter().filter_map(Row::lag).sum(), rows.iter().filter_map(|row| row.age_ms).max())
}

fn to_json(name: &str, group: &Group, rows: &[Row<'_>]) -> serde_json::Value {
    let partitions: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "topic": &*row.partition.topic, "partition": row.partition.index, "committed": row.committed,
                "end": row.end, "lag": row.lag(), "lag_ms": row.age_ms, "member": row.member.map(|member| &member.id),
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
    let (lag, lag_ms) = total(rows);
    json!({
        "group": name, "state": group.state, "assignor": group.assignor, "lag": lag, "lag_ms": lag_ms,
        "members": members, "partitions": partitions,
    })
}

fn to_text(name: &str, group: &Group, rows: &[Row<'_>]) -> String {
    let members = count(group.members.len(), "member");
    let assignor = if group.assignor.is_empty() { String::new() } else { format!(", assignor {}", group.assignor) };
    let (lag, age_ms) = total(rows);
    let lag = grouped(u64::try_from(lag).unwrap_or(0));
    let behind = age_ms.filter(|&age_ms| age_ms > 0).map(|age_ms| format!(", {} behind", time::span(age_ms)));
    let behind = behind.unwrap_or_default();
    let mut text = format!("group {name}: {}, {members}{assignor}, lag {lag}{behind}\n", group.state);
    let dash = || "-".to_owned();
    let number = |number: Option<i64>| number.map_or_else(dash, |number| number.to_string());
    let cells = rows
        .iter()
        .map(|row| {
            vec![
                row.partition.topic.to_string(),
                row.partition.index.to_string(),
                number(row.committed),
                number(row.end),
                number(row.lag()),
                row.age_ms.map_or_else(dash, time::span),
                row.member.map_or_else(dash, |member| member.id.clone()),
                row.member.map_or_else(dash, |member| member.host.clone()),
                row.member.map_or_else(dash, |member| member.client_id.clone()),
            ]
        })
        .collect();
    let headings = ["TOPIC", ">PARTITION", ">COMMITTED", ">END", ">LAG", ">BEHIND", "MEMBER", "HOST", "CLIENT"];
    text += &table(&headings, cells);
    for member in group.members.iter().filter(|member| member.assignment.is_empty()) {
        text += &format!("\n{} of {} has no partition", member.id, member.host);
    }
    text + "\n"
}
