mod alter;
mod delete_records;

use std::collections::BTreeMap;

use clap::Subcommand;
use serde_json::json;

use super::connect::Connect;
use super::failure::{Failure, Outcome};
use super::output::{Done, Output, OutputArgs, count, list, print, print_json, table};
use super::text::name_value;
use crate::client::admin::{self, Config, NewTopic, TopicPartition};
use crate::client::{Cluster, Code, Error, Isolation, Topic};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make topics
    #[command(after_help = "\
Examples:
  skein topic create orders
  skein topic create orders --partitions 6 --replication-factor 3
  skein topic create users --config cleanup.policy=compact --config retention.ms=-1
  skein topic create orders --if-not-exists
  skein topic create orders --output json | jq -r '.[0].id'")]
    Create(CreateArgs),
    /// List topics
    #[command(after_help = "\
Examples:
  skein topic list
  skein topic list --internal --output json
  skein topic list --names | xargs -n1 skein topic describe")]
    List(ListArgs),
    /// Show partitions, leaders, offsets, and the configuration that differs from the defaults
    #[command(after_help = "\
Examples:
  skein topic describe orders
  skein topic describe orders --all-configs
  skein topic describe orders --output json | jq '.[0].partitions'")]
    Describe(DescribeArgs),
    /// Give topics more partitions
    #[command(after_help = "\
Examples:
  skein topic alter orders --partitions 12
  skein topic alter orders payments --partitions 12 --dry-run")]
    Alter(alter::Args),
    /// Delete the records before an offset
    #[command(after_help = "\
Examples:
  skein topic delete-records orders --partition 0 --before 1200
  skein topic delete-records orders --all-partitions --before end
  skein topic delete-records --from-file offsets.json

The file is the one of kafka-delete-records.sh:
  {\"version\": 1, \"partitions\": [{\"topic\": \"orders\", \"partition\": 0, \"offset\": 1200}]}")]
    DeleteRecords(delete_records::Args),
    /// Delete topics with all their records
    #[command(after_help = "Examples:\n  skein topic delete orders\n  skein topic delete orders --if-exists")]
    Delete(DeleteArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    /// Number of partitions [default: the broker's num.partitions]
    #[arg(long, short = 'p', value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,

    /// Number of replicas of each partition [default: the broker's default.replication.factor]
    #[arg(long, short = 'r', value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,

    /// A property of the topic; repeat for several
    #[arg(long, short = 'c', value_name = "NAME=VALUE", value_parser = name_value)]
    config: Vec<(String, String)>,

    /// Do nothing, successfully, if the topic exists
    #[arg(long)]
    if_not_exists: bool,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Also those that the cluster uses for itself
    #[arg(long)]
    internal: bool,

    /// Names only, one a line
    #[arg(long, conflicts_with = "output")]
    names: bool,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct DescribeArgs {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    /// Show all of the configuration
    #[arg(long)]
    all_configs: bool,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct DeleteArgs {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    /// Do nothing, successfully, if the topic does not exist
    #[arg(long)]
    if_exists: bool,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(command: Command) -> Outcome {
    match command {
        Command::Create(args) => create(&args),
        Command::List(args) => list_topics(&args),
        Command::Describe(args) => describe(&args),
        Command::Alter(args) => alter::run(&args),
        Command::DeleteRecords(args) => delete_records::run(&args),
        Command::Delete(args) => delete(&args),
    }
}

fn create(args: &CreateArgs) -> Outcome {
    let mut done = Done::new(args.output);
    let outcome = create_each(args, &mut done);
    done.finish(outcome)
}

fn create_each(args: &CreateArgs, done: &mut Done) -> Outcome {
    let mut cluster = args.connect.cluster()?;
    for name in &args.topics {
        let new = NewTopic {
            name: name.clone(),
            partitions: args.partitions.unwrap_or(-1),
            replicas: args.replication_factor.unwrap_or(-1),
            configs: args.config.clone(),
        };
        match admin::create_topic(&mut cluster, &new) {
            Ok(_) => {}
            Err(Error::Refused { code: Code::TOPIC_ALREADY_EXISTS, .. }) if args.if_not_exists => {
                done.tell(&format!("topic {name} exists already"), json!({"name": name, "created": false}))?;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        cluster.await_topic(name)?;
        let topic = cluster.topic(name);
        let size = topic.map(size).unwrap_or_default();
        let document = json!({
            "name": name, "created": true, "id": topic.and_then(id), "partitions": topic.map(|topic| topic.partitions.len()),
            "replicas": topic.map(replicas),
        });
        done.tell(&format!("created topic {name}{size}"), document)?;
    }
    Ok(())
}

/// `: 3 partitions, 1 replica`.
fn size(topic: &Topic) -> String {
    format!(": {}, {}", count(topic.partitions.len(), "partition"), count(replicas(topic), "replica"))
}

/// Replicas of each of its partitions.
fn replicas(topic: &Topic) -> usize {
    topic.partitions.first().map_or(0, |partition| partition.replicas.len())
}

fn list_topics(args: &ListArgs) -> Outcome {
    let mut cluster = args.connect.cluster()?;
    let mut topics = cluster.all_topics()?;
    topics.retain(|topic| args.internal || !topic.is_internal);
    if args.output.output == Output::Json {
        let topics: Vec<_> = topics
            .iter()
            .map(|topic| {
                json!({
                    "name": topic.name, "id": id(topic), "partitions": topic.partitions.len(),
                    "replicas": replicas(topic), "internal": topic.is_internal,
                })
            })
            .collect();
        return print_json(&json!(topics));
    }
    if args.names {
        return topics.iter().try_for_each(|topic| print(&topic.name));
    }
    let rows = topics
        .iter()
        .map(|topic| vec![topic.name.clone(), topic.partitions.len().to_string(), replicas(topic).to_string()])
        .collect();
    print(&table(&["TOPIC", ">PARTITIONS", ">REPLICAS"], rows))
}

fn id(topic: &Topic) -> Option<String> {
    (!topic.id.is_zero()).then(|| topic.id.to_string())
}

/// A topic with what only its leaders and its configuration tell.
struct Described {
    topic: Topic,
    beginnings: BTreeMap<TopicPartition, i64>,
    ends: BTreeMap<TopicPartition, i64>,
    configs: Vec<Config>,
}

fn describe(args: &DescribeArgs) -> Outcome {
    let mut cluster = args.connect.cluster()?;
    cluster.require_topics(&args.topics)?;
    let mut documents = Vec::new();
    for name in &args.topics {
        let described = look_at(&mut cluster, name)?;
        match args.output.output {
            Output::Json => documents.push(to_json(&described)),
            Output::Text => print(&to_text(&described, args.all_configs))?,
        }
    }
    match args.output.output {
        Output::Json => print_json(&json!(documents)),
        Output::Text => Ok(()),
    }
}

fn look_at(cluster: &mut Cluster, name: &str) -> Outcome<Described> {
    let topic = cluster.topic(name).cloned().ok_or_else(|| Failure::failed(format!("topic {name:?} is gone")))?;
    let partitions: Vec<TopicPartition> = topic
        .partitions
        .iter()
        .filter(|partition| partition.leader.is_some())
        .map(|partition| TopicPartition { topic: name.into(), index: partition.index })
        .collect();
    let mut offsets = |at| admin::list_offsets(cluster, &partitions, at, Isolation::ReadUncommitted);
    let (beginnings, ends) = (offsets(admin::EARLIEST)?, offsets(admin::LATEST)?);
    Ok(Described { configs: admin::topic_configs(cluster, name)?, topic, beginnings, ends })
}

fn to_json(described: &Described) -> serde_json::Value {
    let Described { topic, beginnings, ends, configs } = described;
    let partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|partition| {
            let name = TopicPartition { topic: topic.name.as_str().into(), index: partition.index };
            json!({
                "partition": partition.index, "leader": partition.leader, "leader_epoch": partition.leader_epoch,
                "replicas": partition.replicas, "in_sync": partition.in_sync, "offline": partition.offline,
                "beginning": beginnings.get(&name), "end": ends.get(&name),
            })
        })
        .collect();
    let configs: Vec<_> = configs
        .iter()
        .map(|config| json!({"name": config.name, "value": config.value, "default": config.is_default()}))
        .collect();
    json!({
        "name": topic.name, "id": id(topic), "internal": topic.is_internal, "partitions": partitions, "configs": configs,
    })
}

fn to_text(described: &Described, all_configs: bool) -> String {
    let Described { topic, beginnings, ends, configs } = described;
    let mut text = format!("topic {}{}", topic.name, size(topic));
    if let Some(id) = id(topic) {
        text += &format!(", id {id}");
    }
    let number = |number: Option<&i64>| number.map_or_else(|| "-".to_owned(), i64::to_string);
    let rows = topic
        .partitions
        .iter()
        .map(|partition| {
            let name = TopicPartition { topic: topic.name.as_str().into(), index: partition.index };
            vec![
                partition.index.to_string(),
                partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
                list(&partition.replicas),
                list(&partition.in_sync),
                list(&partition.offline),
                number(beginnings.get(&name)),
                number(ends.get(&name)),
            ]
        })
        .collect();
    let headings = [">PARTITION", ">LEADER", "REPLICAS", "IN SYNC", "OFFLINE", ">BEGINNING", ">END"];
    text += &format!("\n\n{}\n", table(&headings, rows));
    let shown: Vec<&Config> = configs.iter().filter(|config| all_configs || !config.is_default()).collect();
    if !shown.is_empty() {
        text += if all_configs { "\nconfiguration\n" } else { "\nconfiguration that differs from the defaults\n" };
    }
    for config in shown {
        let origin = if config.is_default() || config.is_of_topic() { "" } else { "  (from the broker)" };
        text += &format!("  {}={}{origin}\n", config.name, config.value.as_deref().unwrap_or("[hidden]"));
    }
    text
}

fn delete(args: &DeleteArgs) -> Outcome {
    let mut done = Done::new(args.output);
    let outcome = delete_each(args, &mut done);
    done.finish(outcome)
}

fn delete_each(args: &DeleteArgs, done: &mut Done) -> Outcome {
    let mut cluster = args.connect.cluster()?;
    for name in &args.topics {
        match cluster.require_topics(std::slice::from_ref(name)) {
            Err(Error::NoTopic { .. }) if args.if_exists => {
                done.tell(&format!("there is no topic {name}"), json!({"name": name, "deleted": false}))?;
                continue;
            }
            checked => checked?,
        }
        admin::delete_topic(&mut cluster, name)?;
        done.tell(&format!("deleted topic {name}"), json!({"name": name, "deleted": true}))?;
    }
    Ok(())
}
