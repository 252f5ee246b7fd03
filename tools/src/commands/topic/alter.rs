//! `topic alter`: more partitions.

use serde_json::json;

use crate::client::topic_admin;
use crate::commands::connect::Connect;
use crate::commands::failure::{Failure, Outcome, note};
use crate::commands::output::{Output, OutputArgs, count, print, print_json};

#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Args {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    /// Number of partitions they are to have, those they have included; it can only grow
    #[arg(long, short = 'p', value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,

    /// Ask whether it could be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut cluster = args.connect.cluster()?;
    cluster.require_topics(&args.topics)?;
    let mut documents = Vec::new();
    for name in &args.topics {
        let before = cluster.topic(name).map(|topic| topic.partitions.len());
        let before = before.ok_or_else(|| Failure::failed(format!("topic {name:?} is gone")))?;
        topic_admin::create_partitions(&mut cluster, name, args.partitions, args.dry_run)?;
        documents.push(json!({
            "topic": name, "partitions_before": before, "partitions": args.partitions, "dry_run": args.dry_run,
        }));
        if args.output.output == Output::Text {
            let verb = if args.dry_run { "could have" } else { "has" };
            let after = count(args.partitions as usize, "partition");
            print(&format!("topic {name} {verb} {after}; it had {before}"))?;
        }
    }
    if args.output.output == Output::Json {
        return print_json(&json!(documents));
    }
    if !args.dry_run {
        note("new records with a key may go to another partition than the older ones with that key");
    }
    Ok(())
}
