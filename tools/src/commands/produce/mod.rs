mod input;
mod report;

use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, never, select};
use storage::builder::NewHeader;

use self::input::{Chunk, Input, Source};
use self::report::Report;
use super::connect::Connect;
use super::failure::{Failure, Outcome, Warner, note};
use super::output::grouped;
use super::progress::Progress;
use super::text::{name_value, unescape};
use super::{output, signal};
use crate::client::records::{Codec, codec_named};
use crate::client::{Acks, Cluster, Event, Failure as DeliveryFailure, Interrupt, Producer, Record};

/// How long what is on its way may still take after Ctrl-C.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A line ends at \\n only: \\r stays in the record, and a last line without \\n is a record too. A record is sent again
until it is acknowledged or delivery.timeout.ms (120 s) is over; the broker recognises what it has. Whatever was not
acknowledged is reported with its line numbers, and the exit code is 1.

Examples:
  skein produce orders < lines.txt
  skein produce orders a.log b.log --compression zstd
  tail -f app.log | skein produce logs
  skein produce users --key-separator : --header source=import < users.txt
  echo '{\"ok\":true}' | skein produce events --key sensor-1 --partition 2
  skein produce logs --acks 1 < lines.txt")]
pub(super) struct Args {
    /// The topic; the broker may create it if it does not exist
    topic: String,

    /// Files whose lines are sent, `-` for standard input [default: -]
    files: Vec<PathBuf>,

    /// Key of every record; records of one key go to one partition
    #[arg(long, short = 'k', conflicts_with = "key_separator")]
    key: Option<String>,

    /// What separates key and value in a line; every line needs it
    #[arg(long, short = 'K', value_name = "TEXT", value_parser = separator)]
    key_separator: Option<Separator>,

    /// A header of every record; repeat for several
    #[arg(long, short = 'H', value_name = "NAME=VALUE", value_parser = name_value)]
    header: Vec<(String, String)>,

    /// Send values that equal this as null, which deletes the key in a compacted topic
    #[arg(long, value_name = "TEXT")]
    null_value: Option<String>,

    /// Partition of every record [default: by key, else spread]
    #[arg(long, short = 'p', value_name = "N")]
    partition: Option<i32>,

    /// Compression: none, gzip, snappy, lz4, zstd [default: none]
    #[arg(long, short = 'z', value_name = "CODEC", value_parser = codec)]
    compression: Option<Codec>,

    /// Who must have a record before it counts: 0 nobody, 1 the leader, all replicas in sync [default: all]
    #[arg(long, short = 'a', value_name = "0|1|all", value_parser = str::parse::<Acks>)]
    acks: Option<Acks>,

    /// Do not let the broker recognise retries; a retry may then duplicate records
    #[arg(long)]
    no_idempotence: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Bytes between key and value, at least one.
#[derive(Debug, Clone)]
struct Separator(Vec<u8>);

fn separator(text: &str) -> Result<Separator, String> {
    let bytes = unescape(text)?;
    if bytes.is_empty() { Err("it must not be empty".to_owned()) } else { Ok(Separator(bytes)) }
}

fn codec(text: &str) -> Result<Codec, String> {
    codec_named(text).ok_or_else(|| "expected none, gzip, snappy, lz4 or zstd".to_owned())
}

pub(super) fn run(args: Args) -> Outcome {
    let mut settings = args.connect.settings()?;
    let producer = &mut settings.producer;
    producer.acks = args.acks.unwrap_or(producer.acks);
    producer.codec = args.compression.unwrap_or(producer.codec);
    if args.no_idempotence {
        producer.idempotent = Some(false);
    }
    producer.is_idempotent().map_err(|error| Failure::Usage(error.to_string()))?;
    let line_bytes_max = producer.request_bytes_max;
    let sources = Source::all(&args.files);

    let interrupt = signal::interrupt();
    let mut cluster = Cluster::connect(settings)?;
    if cluster.require_or_create_topic(&args.topic)? {
        note(format!("topic {} did not exist: the broker created it", args.topic));
    }
    check_partition(&cluster, &args)?;
    let typed = io::stdin().is_terminal() && sources.contains(&Source::Standard);
    if typed && io::stderr().is_terminal() {
        note("each line you type is a record; Ctrl-D ends");
    }
    let total = sources.iter().map(Source::size).sum();
    let progress = if typed { Progress::hidden() } else { Progress::new(total) };
    let producer = Producer::new(cluster, &args.topic, RandomState::new().hash_one(0))?;
    let input = input::read(sources.clone(), line_bytes_max);
    Session::new(&args, producer, sources, progress).run(&input, &interrupt)
}

fn check_partition(cluster: &Cluster, args: &Args) -> Outcome {
    let (Some(partition), Some(topic)) = (args.partition, cluster.topic(&args.topic)) else { return Ok(()) };
    match topic.partition(partition) {
        Some(_) => Ok(()),
        None => {
            let (topic, partitions) = (args.topic.clone(), topic.partitions.len());
            Err(crate::client::Error::NoPartition { topic, partition, partitions }.into())
        }
    }
}

/// From the first line to the last acknowledgement.
struct Session<'a> {
    args: &'a Args,
    headers: Vec<NewHeader<'a>>,
    producer: Producer,
    report: Report,
    warner: Warner,
    progress: Progress,
    /// Bytes of the lines that were given to the producer, line ends included.
    given_bytes: u64,
    started: Instant,
    /// There will be no more lines.
    ended: bool,
    /// Why the input ended before its end.
    broken_off: Option<String>,
}

impl<'a> Session<'a> {
    fn new(args: &'a Args, producer: Producer, sources: Vec<Source>, progress: Progress) -> Self {
        let header = |(name, value): &'a (String, String)| NewHeader { key: name, value: Some(value.as_bytes()) };
        Self {
            args,
            headers: args.header.iter().map(header).collect(),
            producer,
            report: Report::new(sources),
            warner: Warner::default(),
            progress,
            given_bytes: 0,
            started: Instant::now(),
            ended: false,
            broken_off: None,
        }
    }

    fn run(mut self, input: &Receiver<Input>, interrupt: &Interrupt) -> Outcome {
        let no_input = never();
        let mut deadline = None;
        loop {
            let now = Instant::now();
            self.producer.drive(now, self.ended);
            self.account();
            if self.ended && self.producer.is_idle() {
                break;
            }
            if deadline.is_none() && interrupt.is_set() {
                self.stop_early();
                deadline = Some(now + GRACE);
            }
            if deadline.is_some_and(|deadline| now >= deadline) {
                self.producer.abandon("stopped by Ctrl-C before the acknowledgement came");
                continue;
            }
            let wants_input = !self.ended && self.producer.has_room();
            let timeout = self.producer.next_wakeup(now).saturating_duration_since(Instant::now());
            let input = if wants_input { input } else { &no_input };
            match next(self.producer.events(), input, timeout) {
                Next::Event(event) => self.producer.handle(event, Instant::now()),
                Next::Input(Input::Lines(chunk)) => self.send(&chunk),
                Next::Input(Input::Failed { source, error }) => self.input_failed(source, &error),
                Next::EndOfInput => self.ended = true,
                Next::Nothing => {}
            }
        }
        self.finish()
    }

    fn account(&mut self) {
        for delivery in self.producer.take_deliveries() {
            self.report.deliver(&delivery);
        }
        if let Some(trouble) = self.producer.take_trouble() {
            self.warner.warn(&format!("{trouble} (trying again)"));
        }
        let what = format!("{} acknowledged", output::count(self.report.acknowledged as usize, "line"));
        self.progress.update(self.given_bytes, &what);
    }

    fn send(&mut self, chunk: &Chunk) {
        let now = Instant::now();
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        for (number, line) in (chunk.first_line..).zip(chunk.lines()) {
            let tag = self.report.tag(chunk.source);
            if let Err(failure) = self.send_line(line, tag, timestamp, now) {
                self.report.fail(tag, &failure);
                if self.args.key_separator.is_some() && failure.reason == NO_SEPARATOR {
                    self.broken_off = Some(format!("line {number} has no key separator"));
                    self.ended = true;
                    return;
                }
            }
        }
    }

    fn send_line(
        &mut self,
        line: Result<&[u8], usize>,
        tag: u64,
        timestamp: i64,
        now: Instant,
    ) -> Result<(), DeliveryFailure> {
        let refuse = |reason: String, remedy: &str| DeliveryFailure {
            reason,
            remedy: Some(remedy.to_owned()),
            may_be_stored: false,
        };
        let line =
            line.map_err(|length| refuse(format!("the line has {} bytes", grouped(length as u64)), RAISE_LIMIT))?;
        let (key, value) = match &self.args.key_separator {
            None => (self.args.key.as_deref().map(str::as_bytes), line),
            Some(Separator(separator)) => {
                let at = line.windows(separator.len()).position(|window| window == separator);
                let at = at.ok_or_else(|| refuse(NO_SEPARATOR.to_owned(), "give every line a key, or use --key"))?;
                (Some(&line[..at]), &line[at + separator.len()..])
            }
        };
        let is_null = self.args.null_value.as_deref().is_some_and(|null| null.as_bytes() == value);
        let record = Record {
            partition: self.args.partition,
            key,
            value: (!is_null).then_some(value),
            headers: &self.headers,
            timestamp,
            tag,
        };
        self.producer.send(&record, now).map_err(|error| refuse(error.to_string(), RAISE_LIMIT))
    }

    fn input_failed(&mut self, source: usize, error: &io::Error) {
        let name = self.report.source_name(source);
        self.broken_off = Some(format!("cannot read {name}: {error}"));
        self.ended = true;
    }

    /// Ctrl-C: nothing more is read, what was read is still sent.
    fn stop_early(&mut self) {
        if !self.ended && !self.args.files.is_empty() {
            self.broken_off = Some(format!("stopped by Ctrl-C after {} lines", grouped(self.report.given)));
        }
        self.ended = true;
    }

    fn finish(self) -> Outcome {
        self.progress.finish();
        let complaint = self.report.complaint();
        if io::stderr().is_terminal() && complaint.is_none() {
            let lines = output::count(self.report.acknowledged as usize, "line");
            let how = if self.args.acks == Some(Acks::None) { "sent" } else { "acknowledged" };
            note(format!("{lines} {how} in {:.1} s", self.started.elapsed().as_secs_f64()));
        }
        match (complaint, self.broken_off) {
            (None, None) => Ok(()),
            (None, Some(reason)) => Err(Failure::with_remedy(reason, "every line before was acknowledged")),
            (Some((message, remedy)), reason) => {
                let message = reason.map_or(message.clone(), |reason| format!("{reason}\n{message}"));
                Err(Failure::Failed { message, remedy })
            }
        }
    }
}

const NO_SEPARATOR: &str = "the line has no key separator";
const RAISE_LIMIT: &str = "raise max.request.size (--command-config), and the topic's max.message.bytes with it";

enum Next {
    Event(Event),
    Input(Input),
    EndOfInput,
    Nothing,
}

fn next(events: &Receiver<Event>, input: &Receiver<Input>, timeout: Duration) -> Next {
    // Answers go first: they make room.
    if let Ok(event) = events.try_recv() {
        return Next::Event(event);
    }
    select! {
        recv(events) -> event => event.map_or(Next::Nothing, Next::Event),
        recv(input) -> input => input.map_or(Next::EndOfInput, Next::Input),
        default(timeout) => Next::Nothing,
    }
}
