use serde_json::json;

use super::connect::Connect;
use super::failure::Outcome;
use super::output::{Output, OutputArgs, count, print, print_json, table};
use crate::client::{Topic, admin};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  skein cluster
  skein cluster --bootstrap broker1:9092,broker2:9092
  skein cluster --output json | jq .brokers")]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

/// What is wrong with some partitions.
struct Health {
    partitions: usize,
    leaderless: usize,
    under_replicated: usize,
}

impl Health {
    fn of(topics: &[Topic]) -> Self {
        let partitions = || topics.iter().flat_map(|topic| &topic.partitions);
        Self {
            partitions: partitions().count(),
            leaderless: partitions().filter(|partition| partition.leader.is_none()).count(),
            under_replicated: partitions()
                .filter(|partition| partition.in_sync.len() < partition.replicas.len())
                .count(),
        }
    }
}

pub(super) fn run(args: Args) -> Outcome {
    let mut cluster = args.connect.cluster()?;
    let topics = cluster.all_topics()?;
    let fenced = admin::fenced_brokers(&mut cluster)?;
    let health = Health::of(&topics);
    let leads = |broker: i32| {
        topics.iter().flat_map(|topic| &topic.partitions).filter(|partition| partition.leader == Some(broker)).count()
    };
    let controller = cluster.controller();
    if args.output.output == Output::Json {
        let brokers: Vec<_> = cluster
            .brokers()
            .map(|broker| {
                json!({
                    "id": broker.id, "host": broker.address.host, "port": broker.address.port, "rack": broker.rack,
                    "controller": controller == Some(broker.id), "leads": leads(broker.id),
                })
            })
            .collect();
        return print_json(&json!({
            "cluster_id": cluster.id(), "controller": controller, "brokers": brokers, "fenced_brokers": fenced,
            "topics": topics.len(), "partitions": health.partitions, "leaderless_partitions": health.leaderless,
            "under_replicated_partitions": health.under_replicated,
        }));
    }
    let rows = cluster
        .brokers()
        .map(|broker| {
            let rack = broker.rack.clone().unwrap_or_else(|| "-".to_owned());
            let role = if controller == Some(broker.id) { "controller" } else { "" };
            vec![broker.id.to_string(), broker.address.to_string(), rack, leads(broker.id).to_string(), role.to_owned()]
        })
        .collect();
    let (topics, partitions) = (count(topics.len(), "topic"), count(health.partitions, "partition"));
    let mut text = format!("cluster {}: {topics}, {partitions}", cluster.id().unwrap_or("without an id"));
    if health.leaderless > 0 {
        text += &format!(", {} without a leader", health.leaderless);
    }
    if health.under_replicated > 0 {
        text += &format!(", {} with fewer in-sync replicas than replicas", health.under_replicated);
    }
    text += &format!("\n\n{}", table(&[">ID", "ADDRESS", "RACK", ">LEADS", "ROLE"], rows));
    for broker in fenced {
        text += &format!("\nbroker {broker} is fenced: it is registered but not in service");
    }
    print(&text)
}
