//! `topic delete-records`: the records before an offset.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::client::admin::TopicPartition;
use crate::client::topic_admin::{self, Deletion, END};
use crate::client::{Cluster, Code};
use crate::commands::connect::Connect;
use crate::commands::failure::{Failure, Outcome, warn};
use crate::commands::output::{Output, OutputArgs, count, print, print_json, table};

/// The version of Kafka's file of offsets.
const FILE_VERSION: i64 = 1;

#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Args {
    /// The topic
    #[arg(value_name = "TOPIC", required_unless_present = "from_file", conflicts_with = "from_file")]
    topic: Option<String>,

    /// A partition; repeat for several
    #[arg(
        long,
        short = 'p',
        value_name = "N",
        value_parser = clap::value_parser!(i32).range(0..),
        required_unless_present_any = ["all_partitions", "from_file"],
    )]
    partition: Vec<i32>,

    /// All partitions of the topic
    #[arg(long, conflicts_with_all = ["partition", "from_file"])]
    all_partitions: bool,

    /// The first offset to keep; `end` deletes all records there are
    #[arg(
        long,
        value_name = "OFFSET|end",
        value_parser = first_kept,
        allow_negative_numbers = true,
        required_unless_present = "from_file",
        conflicts_with = "from_file",
    )]
    before: Option<i64>,

    /// File with partitions and offsets, as kafka-delete-records.sh reads it; the offset -1 is the end
    #[arg(long, value_name = "FILE", visible_alias = "offset-json-file")]
    from_file: Option<PathBuf>,

    /// Show what would be asked for, and delete nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

fn first_kept(text: &str) -> Result<i64, String> {
    match text {
        "end" => Ok(END),
        digits => {
            digits.parse().ok().filter(|&offset| offset >= 0).ok_or_else(|| "expected an offset, or end".to_owned())
        }
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let of_file = args.from_file.as_deref().map(read_file).transpose()?;
    let mut cluster = args.connect.cluster()?;
    let offsets = match of_file {
        Some(offsets) => offsets,
        None => of_options(args, &mut cluster)?,
    };
    check(&mut cluster, &offsets)?;
    if args.dry_run {
        return show_plan(args.output.output, &offsets);
    }
    let deletions = topic_admin::delete_records_before(&mut cluster, &offsets)?;
    show(args.output.output, &deletions)
}

fn of_options(args: &Args, cluster: &mut Cluster) -> Outcome<BTreeMap<TopicPartition, i64>> {
    let topic = args.topic.as_deref().expect("required without a file");
    let before = args.before.expect("required without a file");
    cluster.require_topics(&[topic.to_owned()])?;
    let all = || cluster.topic(topic).map(|it| it.partitions.iter().map(|partition| partition.index).collect());
    let indexes = if args.all_partitions { all().unwrap_or_default() } else { args.partition.clone() };
    Ok(indexes.into_iter().map(|index| (TopicPartition { topic: topic.into(), index }, before)).collect())
}

/// All topics and partitions have to be there before the first record goes.
fn check(cluster: &mut Cluster, offsets: &BTreeMap<TopicPartition, i64>) -> Outcome {
    let mut topics: Vec<String> = offsets.keys().map(|partition| partition.topic.to_string()).collect();
    topics.dedup();
    cluster.require_topics(&topics)?;
    for TopicPartition { topic, index } in offsets.keys() {
        let found = cluster.topic(topic).ok_or_else(|| Failure::failed(format!("topic {topic:?} is gone")))?;
        if found.partition(*index).is_none() {
            let (topic, partitions) = (topic.to_string(), found.partitions.len());
            return Err(crate::client::Error::NoPartition { topic, partition: *index, partitions }.into());
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> Outcome<BTreeMap<TopicPartition, i64>> {
    let wrong = |why: String| {
        Failure::with_remedy(
            format!("{}: {why}", path.display()),
            r#"the file looks like {"version":1,"partitions":[{"topic":"orders","partition":0,"offset":1200}]}"#,
        )
    };
    let text = fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    parse(&text).map_err(wrong)
}

fn parse(text: &str) -> Result<BTreeMap<TopicPartition, i64>, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    match document.get("version").map(Value::as_i64) {
        None | Some(Some(FILE_VERSION)) => {}
        Some(_) => return Err("its version is unknown; 1 is the only one".to_owned()),
    }
    let partitions = document.get("partitions").and_then(Value::as_array).ok_or("it has no list \"partitions\"")?;
    let mut offsets = BTreeMap::new();
    for (number, entry) in (1..).zip(partitions) {
        let missing = |what: &str| format!("entry {number} of \"partitions\" has no {what}");
        let topic = entry.get("topic").and_then(Value::as_str).ok_or_else(|| missing("\"topic\""))?;
        let whole = |name: &str| entry.get(name).and_then(Value::as_i64);
        let index = whole("partition").and_then(|index| i32::try_from(index).ok()).filter(|&index| index >= 0);
        let index = index.ok_or_else(|| missing("\"partition\" that is a number from 0 on"))?;
        let offset = whole("offset").filter(|&offset| offset >= END);
        let offset = offset.ok_or_else(|| missing("\"offset\" that is a number from 0 on, or -1 for the end"))?;
        let partition = TopicPartition { topic: topic.into(), index };
        if offsets.insert(partition.clone(), offset).is_some() {
            return Err(format!("{partition} is in it twice"));
        }
    }
    if offsets.is_empty() { Err("its list \"partitions\" is empty".to_owned()) } else { Ok(offsets) }
}

fn show_plan(output: Output, offsets: &BTreeMap<TopicPartition, i64>) -> Outcome {
    let before = |offset: i64| if offset == END { "end".to_owned() } else { offset.to_string() };
    if output == Output::Json {
        let entry = |(of, &offset): (&TopicPartition, &i64)| json!({"topic": &*of.topic, "partition": of.index, "before": before(offset), "dry_run": true});
        return print_json(&json!(offsets.iter().map(entry).collect::<Vec<_>>()));
    }
    let row = |(of, &offset): (&TopicPartition, &i64)| vec![of.topic.to_string(), of.index.to_string(), before(offset)];
    print(&table(&["TOPIC", ">PARTITION", ">WOULD DELETE BEFORE"], offsets.iter().map(row).collect()))
}

fn show(output: Output, deletions: &BTreeMap<TopicPartition, Deletion>) -> Outcome {
    if output == Output::Json {
        let entry = |(of, deletion): (&TopicPartition, &Deletion)| {
            let code = deletion.err().unwrap_or(Code::NONE);
            json!({
                "topic": &*of.topic, "partition": of.index, "beginning": deletion.ok(), "error_code": code.0,
            })
        };
        print_json(&json!(deletions.iter().map(entry).collect::<Vec<_>>()))?;
    } else {
        let done = deletions.iter().filter_map(|(of, deletion)| {
            Some(vec![of.topic.to_string(), of.index.to_string(), deletion.ok()?.to_string()])
        });
        let done: Vec<_> = done.collect();
        if !done.is_empty() {
            print(&table(&["TOPIC", ">PARTITION", ">BEGINNING"], done))?;
        }
    }
    let refused: Vec<_> = deletions.iter().filter_map(|(of, deletion)| Some((of, deletion.err()?))).collect();
    for (partition, code) in &refused {
        warn(format!("nothing was deleted of {partition}: {}", why(*code)));
    }
    match refused.len() {
        0 => Ok(()),
        number => Err(Failure::failed(format!("records of {} are still there", count(number, "partition")))),
    }
}

fn why(code: Code) -> String {
    let said = match code {
        Code::OFFSET_OUT_OF_RANGE => "the offset lies behind the last record; `--before end` deletes all",
        Code::POLICY_VIOLATION => "the topic is compacted only (cleanup.policy), which decides what goes",
        Code::INVALID_TOPIC => "the cluster uses the topic for itself",
        _ => return format!("the broker says {code}"),
    };
    format!("{said} [{code}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_file_of_offsets_is_read() {
        let text = r#"{"version":1,"partitions":[{"topic":"a","partition":1,"offset":-1},{"topic":"a","partition":0,"offset":7}]}"#;
        let offsets: Vec<_> = parse(text).expect("it is well formed").into_iter().collect();
        let of = |index| TopicPartition { topic: "a".into(), index };
        assert_eq!(offsets, [(of(0), 7), (of(1), END)]);
    }

    #[test]
    fn a_file_that_is_wrong_says_where() {
        for (text, said) in [
            ("{", "no JSON"),
            (r#"{"version":2,"partitions":[]}"#, "version"),
            (r#"{"partitions":[]}"#, "empty"),
            (r#"{"version":1}"#, "\"partitions\""),
            (r#"{"partitions":[{"topic":"a","partition":0,"offset":1},{"partition":0,"offset":1}]}"#, "entry 2"),
            (r#"{"partitions":[{"topic":"a","partition":-1,"offset":1}]}"#, "\"partition\""),
            (r#"{"partitions":[{"topic":"a","partition":0,"offset":-2}]}"#, "\"offset\""),
            (
                r#"{"partitions":[{"topic":"a","partition":0,"offset":1},{"topic":"a","partition":0,"offset":2}]}"#,
                "a-0 is in it twice",
            ),
        ] {
            let why = parse(text).expect_err(text);
            assert!(why.contains(said), "{text}: {why}");
        }
    }
}
