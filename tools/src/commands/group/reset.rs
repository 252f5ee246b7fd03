//! `group reset`: sets the offsets that a group without members starts from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::partitions::PartitionArgs;
use crate::client::admin::{self, TopicPartition};
use crate::client::{Cluster, Isolation, group_admin};
use crate::commands::connect::Connect;
use crate::commands::failure::{Failure, Outcome, note, warn};
use crate::commands::output::{count, print, print_json, table};
use crate::commands::time;

#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Args {
    /// The group
    #[arg(value_name = "GROUP")]
    group: String,

    #[command(flatten)]
    target: TargetArgs,

    #[command(flatten)]
    partitions: PartitionArgs,

    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    connect: Connect,

    /// Form of the result; csv is what --from-file reads
    #[arg(long, short = 'o', value_enum, default_value = "text")]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For --from-file.
    Csv,
}

/// Where to: exactly one of these.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// To the first record
    #[arg(long)]
    to_earliest: bool,

    /// To the end: only what comes from now on is read
    #[arg(long)]
    to_latest: bool,

    /// To where it is; to the end where nothing is committed
    #[arg(long)]
    to_current: bool,

    /// To this offset
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,

    /// Forward so many records, or back with a minus
    #[arg(long, value_name = "RECORDS", allow_negative_numbers = true)]
    shift_by: Option<i64>,

    /// To the first record that is as new: 2026-11-21T13:00:00Z, ms since 1970, or a time ago like 15m or 7d
    #[arg(long, value_name = "TIME")]
    to_datetime: Option<String>,

    /// Back by a time: 90s, 15m, 2h, 7d, or as ISO 8601 has it: PT2H30M
    #[arg(long, value_name = "DURATION")]
    by_duration: Option<String>,

    /// To the offsets in a file, with lines TOPIC,PARTITION,OFFSET
    #[arg(long, value_name = "FILE", conflicts_with_all = ["topic", "all_topics"])]
    from_file: Option<PathBuf>,
}

/// Where to, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Earliest,
    Latest,
    Current,
    Offset(i64),
    ShiftBy(i64),
    /// In ms since 1970.
    Time(i64),
    File(BTreeMap<TopicPartition, i64>),
}

impl TargetArgs {
    fn read(&self, now_ms: i64) -> Outcome<Target> {
        let usage = |option: &str, why: String| Failure::Usage(format!("{option}: {why}"));
        if let Some(text) = &self.to_datetime {
            return Ok(Target::Time(time::parse(text, now_ms).map_err(|why| usage("--to-datetime", why))?));
        }
        if let Some(text) = &self.by_duration {
            let ms = time::duration(text).map_err(|why| usage("--by-duration", why))?;
            return Ok(Target::Time((now_ms - ms).max(0)));
        }
        if let Some(path) = &self.from_file {
            return Ok(Target::File(read_file(path)?));
        }
        if let Some(offset) = self.to_offset {
            return Ok(Target::Offset(offset));
        }
        if let Some(records) = self.shift_by {
            return Ok(Target::ShiftBy(records));
        }
        Ok(match (self.to_earliest, self.to_latest) {
            (true, _) => Target::Earliest,
            (_, true) => Target::Latest,
            (false, false) => Target::Current,
        })
    }
}

fn read_file(path: &Path) -> Outcome<BTreeMap<TopicPartition, i64>> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| Failure::failed(format!("cannot read {shown}: {error}")))?;
    parse_lines(&text).map_err(|(line, why)| {
        Failure::with_remedy(
            format!("line {line} of {shown}: {why}"),
            "each line is TOPIC,PARTITION,OFFSET: orders,0,4711",
        )
    })
}

/// Offsets by partition, from lines `topic,partition,offset`. Kafka's tool puts topics in quotes.
fn parse_lines(text: &str) -> Result<BTreeMap<TopicPartition, i64>, (usize, String)> {
    let mut offsets = BTreeMap::new();
    for (at, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = line.split(',').map(|field| field.trim().trim_matches('"')).collect();
        let &[topic, partition, offset] = fields.as_slice() else {
            return Err((at, format!("it has {}, not 3", count(fields.len(), "field"))));
        };
        let number = |text: &str, what| match text.parse::<i64>() {
            Ok(number) if number >= 0 => Ok(number),
            _ => Err((at, format!("{text:?} is no {what}"))),
        };
        let index = number(partition, "partition")?;
        let index = i32::try_from(index).map_err(|_| (at, format!("{partition:?} is no partition")))?;
        let of = TopicPartition { topic: topic.into(), index };
        if offsets.insert(of.clone(), number(offset, "offset")?).is_some() {
            return Err((at, format!("{of} stands here a second time")));
        }
    }
    Ok(offsets)
}

/// One partition's part of a reset.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    of: TopicPartition,
    before: Option<i64>,
    after: i64,
}

pub(super) fn run(args: &Args) -> Outcome {
    let group = &args.group;
    let target = args.target.read(time::now())?;
    let mut cluster = args.connect.cluster()?;
    if matches!(target, Target::File(_)) && !args.partitions.is_empty() {
        return Err(Failure::Usage("--from-file names the partitions itself".to_owned()));
    }
    require_inactive(&mut cluster, group)?;
    let committed = admin::committed_offsets(&mut cluster, group)?;
    let chosen = match &target {
        Target::File(offsets) => existing(&mut cluster, offsets.keys().cloned().collect())?,
        _ => {
            let chosen = args.partitions.resolve(&mut cluster, committed.keys().cloned())?;
            existing(&mut cluster, chosen)?
        }
    };
    let changes = changes(&mut cluster, &target, &chosen, &committed)?;
    if changes.is_empty() {
        return Err(Failure::with_remedy(
            format!("group {group:?} has committed no offsets, so there is nothing to reset"),
            "name the partitions with --topic TOPIC[:P,...]",
        ));
    }
    if !args.dry_run {
        let offsets = changes.iter().map(|change| (change.of.clone(), change.after)).collect();
        group_admin::commit_offsets(&mut cluster, group, &offsets)?;
    }
    show(args, &changes)
}

/// A group's members would go on from where they are, and commit that.
fn require_inactive(cluster: &mut Cluster, group: &str) -> Outcome {
    match admin::group(cluster, group)? {
        Some(described) if !matches!(described.state.as_str(), "Empty" | "Dead") => Err(Failure::with_remedy(
            format!(
                "group {group:?} is active: it is {} and has {}",
                described.state,
                count(described.members.len(), "member")
            ),
            format!("stop its members first; `skein group describe {group}` shows who and where they are"),
        )),
        Some(_) | None => Ok(()),
    }
}

/// Those of the partitions that exist, with a word about the others.
fn existing(cluster: &mut Cluster, mut partitions: BTreeSet<TopicPartition>) -> Outcome<BTreeSet<TopicPartition>> {
    let topics: BTreeSet<String> = partitions.iter().map(|of| of.topic.to_string()).collect();
    cluster.refresh_topics(&topics.into_iter().collect::<Vec<_>>())?;
    partitions.retain(|of| {
        let exists = cluster.topic(&of.topic).is_some_and(|topic| topic.partition(of.index).is_some());
        if !exists {
            warn(format!("{of} does not exist and is left out"));
        }
        exists
    });
    Ok(partitions)
}

fn changes(
    cluster: &mut Cluster,
    target: &Target,
    chosen: &BTreeSet<TopicPartition>,
    committed: &BTreeMap<TopicPartition, i64>,
) -> Outcome<Vec<Change>> {
    let partitions: Vec<TopicPartition> = chosen.iter().cloned().collect();
    let mut offsets = |at| admin::list_offsets(cluster, &partitions, at, Isolation::ReadUncommitted);
    let (first, end) = (offsets(admin::EARLIEST)?, offsets(admin::LATEST)?);
    let at_time = match *target {
        Target::Time(ms) => offsets(ms)?,
        _ => BTreeMap::new(),
    };
    let mut changes = Vec::with_capacity(partitions.len());
    for of in partitions {
        let (Some(&first), Some(&end)) = (first.get(&of), end.get(&of)) else { continue };
        let before = committed.get(&of).copied();
        let wanted = match target {
            Target::Earliest => first,
            Target::Latest => end,
            Target::Current => before.unwrap_or(end),
            Target::Offset(offset) => *offset,
            Target::ShiftBy(records) => match before {
                Some(before) => before.saturating_add(*records),
                None => {
                    return Err(Failure::with_remedy(
                        format!("{of} cannot be shifted: the group has committed no offset of it"),
                        "leave it out, or choose another option, such as --to-earliest",
                    ));
                }
            },
            // Nothing is as new: only what comes from now on.
            Target::Time(_) => at_time.get(&of).copied().filter(|&offset| offset >= 0).unwrap_or(end),
            Target::File(offsets) => offsets.get(&of).copied().unwrap_or(end),
        };
        let after = wanted.clamp(first, end.max(first));
        if after != wanted {
            warn(format!("{of} has no offset {wanted}: it begins at {first} and ends at {end}, so {after} is taken"));
        }
        changes.push(Change { of, before, after });
    }
    Ok(changes)
}

fn show(args: &Args, changes: &[Change]) -> Outcome {
    match args.output {
        Form::Json => {
            let partitions: Vec<_> = changes
                .iter()
                .map(|change| {
                    let Change { of, before, after } = change;
                    json!({"topic": &*of.topic, "partition": of.index, "before": before, "after": after})
                })
                .collect();
            print_json(&json!({"group": args.group, "dry_run": args.dry_run, "partitions": partitions}))
        }
        Form::Csv => {
            let line = |change: &Change| format!("{},{},{}", change.of.topic, change.of.index, change.after);
            print(&changes.iter().map(line).collect::<Vec<_>>().join("\n"))
        }
        Form::Text => {
            let row = |change: &Change| {
                let Change { of, before, after } = change;
                let before = before.map_or_else(|| "-".to_owned(), |before| before.to_string());
                vec![of.topic.to_string(), of.index.to_string(), before, after.to_string()]
            };
            let rows = changes.iter().map(row).collect();
            print(&table(&["TOPIC", ">PARTITION", ">BEFORE", ">AFTER"], rows))?;
            if args.dry_run {
                note("nothing was changed; without --dry-run it is");
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_an_offset_for_each_partition() {
        let offsets = parse_lines("orders,0,17\n\n# by hand\n\"pay ments\", 3 ,0\r\n").expect("a good file");
        let found: Vec<(String, i64)> = offsets.iter().map(|(of, offset)| (of.to_string(), *offset)).collect();
        assert_eq!(found, [("orders-0".to_owned(), 17), ("pay ments-3".to_owned(), 0)]);
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told_with_its_line() {
        for (text, line, why) in [
            ("orders,0,1\norders,0", 2, "2 fields"),
            ("orders,x,1", 1, "\"x\" is no partition"),
            ("orders,-1,1", 1, "no partition"),
            ("orders,9999999999,1", 1, "no partition"),
            ("\norders,0,-2", 2, "\"-2\" is no offset"),
            ("orders,0,1\norders,0,2", 2, "orders-0 stands here a second time"),
        ] {
            let (at, found) = parse_lines(text).expect_err("a wrong file");
            assert_eq!(at, line, "{text:?}");
            assert!(found.contains(why), "{text:?}: {found}");
        }
    }
}
