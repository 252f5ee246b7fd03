use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{RecvTimeoutError, select};

use super::connect::Connect;
use super::failure::{Failure, Outcome, Warner, note};
use super::format::{self, Format, Part};
use super::output::{Output, count};
use super::{signal, time};
use crate::client::admin::{self, TopicPartition};
use crate::client::{Cluster, Commit, Consumer, Error, Fetched, Interrupt, Member, Reset, Start, resolve};

/// Bytes of output that are gathered before they are written.
const OUTPUT_BYTES: usize = 64 << 10;

#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Without --count and --until-end it follows the topic until Ctrl-C.

Template fields of --format: {}.

Examples:
  skein consume orders                                    what comes from now on
  skein consume orders --from beginning --until-end       everything there is
  skein consume orders --from -10 --count 10              the last ten of each partition, at most ten
  skein consume orders --from 4711 --partition 2          partition 2 from offset 4711 on
  skein consume orders --since 15m                        the last quarter of an hour, then follow
  skein consume orders --group billing                    as a member of a group, which remembers where it was
  skein consume orders --show key,offset                  key and offset before each value
  skein consume orders --output json | jq .value
  skein consume orders --format '%p/%o %k=%s\\n'", format::FIELDS))]
pub(super) struct Args {
    /// The topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    /// Where to start: beginning, end, an offset, or -N for the last N records of each partition. With --group only
    /// where the group has no committed offset [default: end, or beginning with --until-end]
    #[arg(long, short = 'f', value_name = "WHERE", allow_hyphen_values = true, value_parser = parse_start)]
    from: Option<Start>,

    /// The same as --from beginning
    #[arg(long, conflicts_with_all = ["from", "since"])]
    from_beginning: bool,

    /// Start at the first record of this time: 2026-11-21T13:00Z, ms since 1970, or ago: 90s, 15m, 2h, 7d
    #[arg(long, value_name = "TIME", conflicts_with = "from", value_parser = parse_since)]
    since: Option<Start>,

    /// Join this consumer group, share the partitions with its members, and commit what was printed
    #[arg(long, short = 'g', value_name = "GROUP", conflicts_with = "partition")]
    group: Option<String>,

    /// Only these partitions
    #[arg(long, short = 'p', value_name = "N,...", value_delimiter = ',')]
    partition: Vec<i32>,

    /// Stop after so many records
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,

    /// Stop at the end of each partition as it is now
    #[arg(long, short = 'e')]
    until_end: bool,

    /// Form of the records: text is the value and a line end; json is an object a line
    #[arg(long, short = 'o', value_enum, default_value = "text")]
    output: Output,

    /// Print these before the value, separated by tabs
    #[arg(long, value_enum, value_name = "PART,...", value_delimiter = ',', conflicts_with = "output")]
    show: Vec<Part>,

    /// Print records by a template, see below
    #[arg(long, value_name = "TEMPLATE", conflicts_with_all = ["output", "show"], value_parser = Format::template)]
    format: Option<Format>,

    #[command(flatten)]
    connect: Connect,
}

fn parse_start(text: &str) -> Result<Start, String> {
    match text {
        "beginning" | "earliest" => Ok(Start::Beginning),
        "end" | "latest" => Ok(Start::End),
        _ => match text.parse::<i64>() {
            Ok(number) if text.starts_with('-') => Ok(Start::Last(-number)),
            Ok(number) => Ok(Start::Offset(number)),
            Err(_) => Err("expected beginning, end, an offset, or -N for the last N records".to_owned()),
        },
    }
}

fn parse_since(text: &str) -> Result<Start, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    time::parse(text, now).map(Start::Timestamp)
}

pub(super) fn run(args: Args) -> Outcome {
    let mut settings = args.connect.settings()?;
    settings.consumer.group = args.group.clone().or(settings.consumer.group).filter(|_| args.partition.is_empty());
    let start = start(&args, settings.consumer.reset);
    let interrupt = signal::interrupt();
    let mut cluster = Cluster::connect(settings)?;
    cluster.require_topics(&args.topics)?;
    let reader = Reader::open(&mut cluster, &args, start, interrupt)?;
    reader.run(&mut cluster)
}

fn start(args: &Args, reset: Option<Reset>) -> Start {
    let by_default = match reset {
        Some(Reset::Earliest) => Start::Beginning,
        None if args.until_end => Start::Beginning,
        Some(Reset::Latest | Reset::Fail) | None => Start::End,
    };
    let from_beginning = args.from_beginning.then_some(Start::Beginning);
    args.from.or(args.since).or(from_beginning).unwrap_or(by_default)
}

/// The loop from fetched batches to printed records.
struct Reader<'a> {
    args: &'a Args,
    format: Format,
    out: BufWriter<io::StdoutLock<'static>>,
    consumer: Consumer,
    member: Option<Member>,
    start: Start,
    check_crcs: bool,
    interrupt: Interrupt,
    /// Where to stop, with --until-end.
    ends: BTreeMap<TopicPartition, i64>,
    /// Records that may still be printed, with --count.
    left: Option<u64>,
    committed: BTreeMap<TopicPartition, i64>,
    committed_at: Instant,
    warner: Warner,
}

impl<'a> Reader<'a> {
    fn open(cluster: &mut Cluster, args: &'a Args, start: Start, interrupt: Interrupt) -> Outcome<Self> {
        let settings = cluster.settings().consumer.clone();
        let mut parts = args.show.clone();
        parts.sort_unstable();
        parts.dedup();
        let format = match (&args.format, args.output) {
            (Some(format), _) => format.clone(),
            (None, Output::Json) => Format::Json,
            (None, Output::Text) => Format::Text(parts),
        };
        let mut reader = Self {
            args,
            format,
            out: BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock()),
            consumer: Consumer::new(settings.clone()),
            member: None,
            start,
            check_crcs: settings.check_crcs,
            interrupt,
            ends: BTreeMap::new(),
            left: args.count,
            committed: BTreeMap::new(),
            committed_at: Instant::now(),
            warner: Warner::default(),
        };
        match &settings.group {
            Some(group) => {
                reader.member = Some(Member::join(cluster, group, &args.topics, reader.interrupt.clone())?);
                reader.assign_as_member(cluster)?;
            }
            None => {
                let partitions = reader.chosen_partitions(cluster)?;
                reader.assign(cluster, &partitions, BTreeMap::new())?;
            }
        }
        Ok(reader)
    }

    fn chosen_partitions(&self, cluster: &Cluster) -> Outcome<Vec<TopicPartition>> {
        let mut chosen = Vec::new();
        for name in &self.args.topics {
            let Some(topic) = cluster.topic(name) else { continue };
            for &wanted in &self.args.partition {
                if topic.partition(wanted).is_none() {
                    let partitions = topic.partitions.len();
                    return Err(Error::NoPartition { topic: name.clone(), partition: wanted, partitions }.into());
                }
            }
            let is_chosen = |index| self.args.partition.is_empty() || self.args.partition.contains(&index);
            let indexes = topic.partitions.iter().map(|partition| partition.index).filter(|&index| is_chosen(index));
            chosen.extend(indexes.map(|index| TopicPartition { topic: name.as_str().into(), index }));
        }
        Ok(chosen)
    }

    fn assign_as_member(&mut self, cluster: &mut Cluster) -> Outcome {
        let Some(member) = &self.member else { return Ok(()) };
        let partitions = member.assignment().to_vec();
        let (printed, last_committed) = (self.consumer.consumed(), std::mem::take(&mut self.committed));
        let mut committed = match cluster.settings().consumer.group.clone() {
            Some(group) => admin::committed_offsets(cluster, &group)?,
            None => BTreeMap::new(),
        };
        committed.retain(|partition, _| partitions.contains(partition));
        self.committed = committed.clone();
        // Where nobody committed since this member did, it goes on behind what it printed, even if it could not commit
        // that before the group forgot it.
        for (partition, offset) in printed {
            if partitions.contains(&partition) && committed.get(&partition) == last_committed.get(&partition) {
                committed.insert(partition, offset);
            }
        }
        self.assign(cluster, &partitions, committed)
    }

    /// Starts to read partitions, those with a known position there.
    fn assign(
        &mut self,
        cluster: &mut Cluster,
        partitions: &[TopicPartition],
        mut offsets: BTreeMap<TopicPartition, i64>,
    ) -> Outcome {
        let isolation = cluster.settings().consumer.isolation;
        let new: Vec<TopicPartition> = partitions.iter().filter(|p| !offsets.contains_key(*p)).cloned().collect();
        offsets.extend(resolve(cluster, &new, self.start, isolation)?);
        if self.args.until_end {
            self.ends = admin::list_offsets(cluster, partitions, admin::LATEST, isolation)?;
        }
        self.consumer.assign(offsets);
        self.tell_a_person(partitions.len());
        Ok(())
    }

    fn tell_a_person(&self, partitions: usize) {
        let interactive = io::stderr().is_terminal() && io::stdout().is_terminal();
        if interactive && !self.args.until_end && self.args.count.is_none() {
            let topics = self.args.topics.join(", ");
            let hint = match (self.start, &self.member) {
                (Start::End, None) => " from the end (--from beginning shows what is there)",
                _ => "",
            };
            note(format!("following {topics}, {}{hint}; Ctrl-C stops", count(partitions, "partition")));
        }
    }

    /// Reads until there is a reason to stop, and leaves in order whatever the reason is.
    fn run(mut self, cluster: &mut Cluster) -> Outcome {
        let mut outcome = self.read(cluster);
        if outcome.is_ok() {
            outcome = self.out.flush().map_err(Failure::from);
        }
        let left = self.leave(cluster);
        outcome.and(left)
    }

    fn read(&mut self, cluster: &mut Cluster) -> Outcome {
        while !self.interrupt.is_set() && !self.is_done() {
            self.rejoin_if_asked(cluster)?;
            let now = Instant::now();
            self.consumer.drive(cluster, now)?;
            while let Some(fetched) = self.consumer.next_fetched() {
                self.print(&fetched)?;
                if self.is_done() || self.interrupt.is_set() {
                    return Ok(());
                }
                while let Ok(event) = self.consumer.events().try_recv() {
                    self.consumer.handle(event, Instant::now())?;
                }
                self.consumer.drive(cluster, Instant::now())?;
            }
            self.out.flush()?;
            self.commit_if_due(cluster)?;
            self.report_trouble(cluster)?;
            self.wait(now)?;
        }
        Ok(())
    }

    fn wait(&mut self, now: Instant) -> Outcome {
        let timeout = self.consumer.next_wakeup(now).saturating_duration_since(Instant::now());
        let event = select! {
            recv(self.consumer.events()) -> event => event.map_err(|_| RecvTimeoutError::Disconnected),
            recv(self.interrupt.channel()) -> _ => Err(RecvTimeoutError::Timeout),
            default(timeout) => Err(RecvTimeoutError::Timeout),
        };
        match event {
            Ok(event) => Ok(self.consumer.handle(event, Instant::now())?),
            Err(_) => Ok(()),
        }
    }

    fn is_done(&self) -> bool {
        let at_end = self.args.until_end && {
            let consumed = self.consumer.consumed();
            self.ends.iter().all(|(partition, &end)| consumed.get(partition).is_none_or(|&offset| offset >= end))
        };
        at_end || self.left == Some(0)
    }

    fn print(&mut self, fetched: &Fetched) -> Outcome {
        let Self { format, out, left, ends, .. } = self;
        let end = ends.get(&fetched.partition).copied().unwrap_or(i64::MAX);
        let mut written = Ok(());
        let mut consumed = fetched.next_offset;
        let shown = fetched.visit(self.check_crcs, |message| {
            if *left == Some(0) || message.offset >= end {
                consumed = message.offset;
                return ControlFlow::Break(());
            }
            written = format.write(out, &message);
            if written.is_err() {
                consumed = message.offset;
                return ControlFlow::Break(());
            }
            *left = left.map(|left| left - 1);
            ControlFlow::Continue(())
        });
        written?;
        let _ = shown?;
        self.consumer.advance(&fetched.partition, consumed);
        Ok(())
    }

    fn rejoin_if_asked(&mut self, cluster: &mut Cluster) -> Outcome {
        let Some(member) = &mut self.member else { return Ok(()) };
        if !member.must_rejoin(cluster)? {
            return Ok(());
        }
        self.commit(cluster)?;
        let Some(member) = &mut self.member else { return Ok(()) };
        match member.rejoin(cluster) {
            Ok(()) => self.assign_as_member(cluster),
            Err(Error::Interrupted) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn commit_if_due(&mut self, cluster: &mut Cluster) -> Outcome {
        if self.committed_at.elapsed() < cluster.settings().consumer.auto_commit_interval {
            return Ok(());
        }
        self.commit(cluster)
    }

    /// Commits what was printed since the last time. Everything printed has to be flushed before.
    fn commit(&mut self, cluster: &mut Cluster) -> Outcome {
        self.committed_at = Instant::now();
        let Some(member) = &mut self.member else { return Ok(()) };
        if !cluster.settings().consumer.auto_commit {
            return Ok(());
        }
        self.out.flush()?;
        let mut offsets = self.consumer.consumed();
        offsets.retain(|partition, offset| self.committed.get(partition) != Some(offset));
        match member.commit(cluster, &offsets) {
            Ok(Commit::Done) => self.committed.extend(offsets),
            // The heartbeat will hear of it too; the next owners read again what is not committed.
            Ok(Commit::Rejoin) => {}
            Err(error) if error.is_retryable() => self.warner.warn(&format!("{error} (trying again)")),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// A person hears of trouble at once; who wants a certain amount of records does not wait for ever.
    fn report_trouble(&mut self, cluster: &Cluster) -> Outcome {
        let Some(trouble) = self.consumer.take_trouble() else { return Ok(()) };
        let timeout = cluster.settings().api_timeout;
        let bounded = self.args.until_end || self.args.count.is_some();
        if bounded && self.consumer.troubled_since().is_some_and(|since| since.elapsed() > timeout) {
            return Err(Failure::failed(format!("nothing could be read for {} s: {trouble}", timeout.as_secs())));
        }
        self.warner.warn(&format!("{trouble} (trying again)"));
        Ok(())
    }

    fn leave(mut self, cluster: &mut Cluster) -> Outcome {
        let committed = self.commit(cluster);
        if let Some(member) = self.member.take() {
            member.leave(cluster)?;
        }
        committed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_words_offsets_or_the_last_records() {
        assert_eq!(parse_start("beginning"), Ok(Start::Beginning));
        assert_eq!(parse_start("end"), Ok(Start::End));
        assert_eq!(parse_start("12"), Ok(Start::Offset(12)));
        assert_eq!(parse_start("-3"), Ok(Start::Last(3)));
        assert!(parse_start("middle").is_err());
    }
}
