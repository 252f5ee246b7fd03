//! `dev groups`: many groups, members and offsets on one node, and how the node bears them.
//!
//! The node is a process of its own, killed and started again in between; one thread plays all members, each with a
//! connection of its own, as members have.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use net::api::{create_topics, find_coordinator, list_groups, offset_commit, offset_fetch};

use super::members::{Line, Member, drive, heartbeats};
use crate::commands::failure::{Failure, Outcome};
use crate::commands::output::{grouped, print};

const TOPICS: usize = 10;
/// OffsetCommits under way at once.
const COMMITS_IN_FLIGHT: usize = 16;
/// How long anything may take before the trial is given up.
const PATIENCE: Duration = Duration::from_secs(120);

const COMMIT: i16 = 8;
const OFFSETS: i16 = 8;
const LIST: i16 = 4;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  skein dev groups --data /tmp/groups
  skein dev groups --data /tmp/groups --groups 100 --members 5 --offsets 200 --rebalance 50

Open files have to suffice for all members: `ulimit -n`.")]
pub(in crate::commands) struct Args {
    /// Where the node keeps its data; must not exist yet
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// How many groups
    #[arg(long, default_value_t = 1000)]
    groups: usize,

    /// Members of each
    #[arg(long, default_value_t = 10)]
    members: usize,

    /// Offsets that each group commits
    #[arg(long, default_value_t = 1000)]
    offsets: usize,

    /// Members of the group that is rebalanced
    #[arg(long, default_value_t = 500)]
    rebalance: usize,

    /// Seconds of heartbeats
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

pub(super) fn run(args: &Args) -> Outcome {
    if args.data.exists() {
        return Err(Failure::failed(format!("{} exists already", args.data.display())));
    }
    let mut node = Node::start(&args.data)?;
    let idle_kib = node.resident_kib();
    make_topics(&node, args.offsets.div_ceil(TOPICS))?;
    print(&format!("node ready after {:.2} s, {} resident", node.ready_after.as_secs_f64(), mib(idle_kib)))?;

    rebalance(&node, args.rebalance)?;

    let before = Instant::now();
    let mut members = Vec::new();
    for first in (0..args.groups).step_by(50) {
        let mut chunk = Vec::new();
        for group in first..(first + 50).min(args.groups) {
            for _ in 0..args.members {
                chunk.push(Member::connect(node.port, &group_name(group))?);
            }
        }
        drive(&mut chunk, PATIENCE)?;
        members.extend(chunk);
    }
    let (count, took) = (grouped(members.len() as u64), before.elapsed());
    print(&format!("{count} members of {} groups joined in {:.1} s", args.groups, took.as_secs_f64()))?;
    let with_members_kib = node.resident_kib();

    let before = Instant::now();
    commit(&mut members, args)?;
    let total = grouped((args.groups * args.offsets) as u64);
    print(&format!("{total} offsets committed in {:.1} s", before.elapsed().as_secs_f64()))?;
    print(&format!(
        "resident: {} idle, {} with the members, {} with the offsets",
        mib(idle_kib),
        mib(with_members_kib),
        mib(node.resident_kib())
    ))?;
    print(&heartbeats(&mut members, Duration::from_secs(args.seconds), PATIENCE)?.to_string())?;

    members.iter_mut().for_each(Member::disconnect);
    node.kill();
    let mut node = Node::start(&args.data)?;
    let (loaded_after, groups) = await_loaded(&node)?;
    print(&format!(
        "killed and started again: ready after {:.2} s, all of {} groups loaded {:.2} s after that, {} resident",
        node.ready_after.as_secs_f64(),
        grouped(groups as u64),
        loaded_after.as_secs_f64(),
        mib(node.resident_kib())
    ))?;
    check_offsets(&node, args)?;
    for member in &mut members {
        member.reconnect(node.port)?;
    }
    print(&format!("after that: {}", heartbeats(&mut members, Duration::from_secs(args.seconds), PATIENCE)?))?;
    print(&format!("resident in the end: {}", mib(node.resident_kib())))?;
    node.kill();
    Ok(())
}

fn group_name(number: usize) -> String {
    format!("group-{number}")
}

fn topic_name(number: usize) -> String {
    format!("topic-{number}")
}

fn mib(kib: u64) -> String {
    format!("{} MiB", kib / 1024)
}

/// A node in a process of its own.
struct Node {
    process: Child,
    port: u16,
    ready_after: Duration,
}

impl Node {
    fn start(data: &std::path::Path) -> Outcome<Self> {
        let before = Instant::now();
        let mut process = Command::new(std::env::current_exe()?)
            .args(["start", "--listen", "127.0.0.1:0", "--log", "error", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()?;
        let Some(out) = process.stdout.take() else { return Err(Failure::failed("the node has no output")) };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        // `skein ready on HOST:PORT (…)`
        let address = line.split_whitespace().nth(3);
        let port = address.and_then(|address| address.rsplit(':').next()?.parse().ok());
        let Some(port) = port else { return Err(Failure::failed(format!("the node is not ready: {line}"))) };
        Ok(Self { process, port, ready_after: before.elapsed() })
    }

    /// What the kernel says it holds in memory.
    fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn make_topics(node: &Node, partitions: usize) -> Outcome {
    let mut line = Line::connect(node.port)?;
    let topics = (0..TOPICS).map(|number| create_topics::RequestTopics {
        name: topic_name(number).into(),
        num_partitions: partitions as i32,
        replication_factor: 1,
        ..Default::default()
    });
    let request = create_topics::Request { topics: topics.collect(), timeout_ms: 30_000, ..Default::default() };
    let body = line.call(5, &request, PATIENCE)?;
    let response: create_topics::Response<'_> = Line::read(&body, 5)?;
    if let Some(failed) = response.topics.iter().find(|topic| topic.error_code != 0) {
        return Err(Failure::failed(format!("topic {} is not made: error {}", failed.name, failed.error_code)));
    }
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let body = line.call(3, &find_coordinator::Request { key: "x".into(), ..Default::default() }, PATIENCE)?;
        if Line::read::<find_coordinator::Response<'_>>(&body, 3)?.error_code == 0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(Failure::failed("there is no coordinator"))
}

/// A large group forms, then another member comes, and everybody joins again.
fn rebalance(node: &Node, size: usize) -> Outcome {
    let mut members = Vec::new();
    for _ in 0..size {
        members.push(Member::connect(node.port, "large")?);
    }
    let formed = drive(&mut members, PATIENCE)?;
    let mut times = Vec::new();
    for _ in 0..5 {
        members.push(Member::connect(node.port, "large")?);
        let took = drive(&mut members, PATIENCE)?;
        times.push(format!("{:.0}", took.as_secs_f64() * 1000.0));
    }
    let times = times.join(", ");
    print(&format!(
        "a group of {size} members formed in {:.0} ms; rebalances, each with one more member: {times} ms",
        formed.as_secs_f64() * 1000.0
    ))
}

/// The first member of each group commits an offset of every partition.
fn commit(members: &mut [Member], args: &Args) -> Outcome {
    let partitions = args.offsets.div_ceil(TOPICS);
    for chunk in members.chunks_mut(args.members * COMMITS_IN_FLIGHT) {
        for member in chunk.iter_mut().step_by(args.members) {
            let topics = (0..TOPICS).map(|topic| offset_commit::RequestTopics {
                name: topic_name(topic).into(),
                partitions: (0..partitions.min(args.offsets.saturating_sub(topic * partitions)))
                    .map(|index| offset_commit::RequestTopicsPartitions {
                        partition_index: index as i32,
                        committed_offset: 1_000_000 + index as i64,
                        committed_leader_epoch: -1,
                        committed_metadata: Some("".into()),
                    })
                    .collect(),
                ..Default::default()
            });
            let request = offset_commit::Request {
                group_id: member.group.clone().into(),
                generation_id_or_member_epoch: member.generation,
                member_id: member.id.clone().into(),
                topics: topics.filter(|topic| !topic.partitions.is_empty()).collect(),
                ..Default::default()
            };
            member.line.send(COMMIT, &request)?;
        }
        for member in chunk.iter_mut().step_by(args.members) {
            let body = member.line.wait(PATIENCE)?;
            let response: offset_commit::Response<'_> = Line::read(&body, COMMIT)?;
            let mut codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|of| of.error_code);
            if let Some(code) = codes.find(|&code| code != 0) {
                return Err(Failure::failed(format!("{} cannot commit: error {code}", member.group)));
            }
        }
    }
    Ok(())
}

/// Until no coordinator answers that it is loading. How long that takes, and how many groups there are.
fn await_loaded(node: &Node) -> Outcome<(Duration, usize)> {
    let before = Instant::now();
    let mut line = Line::connect(node.port)?;
    while before.elapsed() < PATIENCE {
        let body = line.call(LIST, &list_groups::Request::default(), PATIENCE)?;
        let response: list_groups::Response<'_> = Line::read(&body, LIST)?;
        if response.error_code == 0 {
            return Ok((before.elapsed(), response.groups.len()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Failure::failed("the groups are not loaded"))
}

/// Every offset is still there.
fn check_offsets(node: &Node, args: &Args) -> Outcome {
    let mut line = Line::connect(node.port)?;
    let mut wrong = BTreeMap::new();
    for number in 0..args.groups {
        let name = group_name(number);
        let asked = offset_fetch::RequestGroups { group_id: name.clone().into(), topics: None, ..Default::default() };
        let body =
            line.call(OFFSETS, &offset_fetch::Request { groups: vec![asked], ..Default::default() }, PATIENCE)?;
        let response: offset_fetch::Response<'_> = Line::read(&body, OFFSETS)?;
        let partitions = response.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| &topic.partitions);
        let right = partitions.filter(|of| of.committed_offset == 1_000_000 + i64::from(of.partition_index)).count();
        if right != args.offsets {
            wrong.insert(name, right);
        }
    }
    match wrong.first_key_value() {
        None => print("every offset is there"),
        Some((group, count)) => Err(Failure::failed(format!("{group} has {count} of {} offsets", args.offsets))),
    }
}
