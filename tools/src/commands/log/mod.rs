mod repair;
mod scan;

use std::fs;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use storage::batch::{Batch, TimestampType};
use storage::builder::EndTransaction;
use storage::record;
use storage::recovery::IDENTITY_FILE;

use self::scan::{Damage, Found, Scan, check};
use super::failure::{Failure, Outcome, note};
use super::format::{Format, Part};
use super::output::{Output, OutputArgs, count, grouped, print_json};
use super::progress::Progress;
use super::time;
use crate::client::Fetched;
use crate::client::admin::TopicPartition;

/// Bytes of output that are gathered before they are written.
const OUTPUT_BYTES: usize = 64 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the batches of segment files, and their records
    #[command(after_help = "\
Each line is a batch: byte position, offsets, records, codec, size, leader epoch, producer, time, whether the CRC holds.
Any Kafka log segment of message format v2 will do, also one of Apache Kafka.

Examples:
  skein log dump 00000000000000000000.log
  skein log dump --records 00000000000000000000.log
  skein log dump --output json 00000000000000000000.log | jq .records")]
    Dump(DumpArgs),
    /// Check every byte of segment files
    #[command(after_help = "\
Checked are lengths, CRCs, offsets, compression and record counts. Directories are searched for *.log files. In a skein
data directory the newest segment of a partition may end inside a batch, whose end is still in the journal.
Exit code 1, and file, position and reason of every damage: what lies behind one is looked for and checked, too.

Examples:
  skein log verify 00000000000000000000.log
  skein log verify /var/lib/kafka/orders-0
  skein log verify --output json /var/lib/kafka | jq '.[] | select(.ok | not)'")]
    Verify(VerifyArgs),
    /// Repair damaged segments of a stopped node
    #[command(after_help = "\
Looks at every segment of a data directory, with what the node's checkpoint and journal say of it, and tells of each damaged
place what can be done. With --yes a marker takes the place of damaged batches: positions, offsets and indexes stay as they
are, and consumers go on behind it. The damaged bytes are kept in DIR/damaged. A file restored from a copy is better: it
loses nothing. Indexes that are missing or damaged are made anew from their segments. Refused while a node runs on the
directory. Exit code 1 if damage is left.

Examples:
  skein log repair /var/lib/skein
  skein log repair --yes /var/lib/skein
  skein log repair --output json /var/lib/skein | jq '.[].file'")]
    Repair(repair::RepairArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct DumpArgs {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Print the records too
    #[arg(long, short = 'r')]
    records: bool,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// Files, or directories to search for *.log
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(command: Command) -> Outcome {
    match command {
        Command::Dump(args) => dump(&args),
        Command::Verify(args) => verify(&args),
        Command::Repair(args) => repair::repair(&args),
    }
}

fn cannot_read(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::failed(format!("cannot read {}: {error}", path.display()))
}

fn dump(args: &DumpArgs) -> Outcome {
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock());
    let mut damaged = false;
    for path in &args.files {
        if args.files.len() > 1 && args.output.output == Output::Text {
            writeln!(out, "{}:", path.display())?;
        }
        damaged |= dump_file(path, args, &mut out)?;
    }
    out.flush()?;
    if damaged { Err(Failure::Told) } else { Ok(()) }
}

/// Says whether the file is damaged.
fn dump_file(path: &Path, args: &DumpArgs, out: &mut impl Write) -> Outcome<bool> {
    let mut scan = Scan::open(path).map_err(cannot_read(path))?;
    let mut damaged = false;
    loop {
        match scan.next().map_err(cannot_read(path))? {
            Ok(Found::Batch { position, batch }) => {
                damaged |= batch.crc() != batch.computed_crc();
                match args.output.output {
                    Output::Text => dump_text(position, &batch, args.records, out)?,
                    Output::Json => dump_json(position, &batch, args.records, out)?,
                }
            }
            Ok(Found::Unused { position, bytes }) => {
                if args.output.output == Output::Text {
                    writeln!(out, "position {position}  {} bytes of unused space", grouped(bytes))?;
                }
            }
            Ok(Found::End) => return Ok(damaged),
            Err(damage) if goes_on_in_journal(path, &damage) => {
                out.flush()?;
                note(format!("{}: position {}: {IN_JOURNAL}", path.display(), damage.position));
                return Ok(damaged);
            }
            Err(damage) => {
                out.flush()?;
                eprintln!("{}: position {}: {}", path.display(), damage.position, damage.reason);
                return Ok(true);
            }
        }
    }
}

fn codec_name(batch: &Batch<'_>) -> String {
    batch.attributes().codec().map_or_else(|| format!("unknown ({})", batch.attributes().codec_id()), |c| c.to_string())
}

fn dump_text(position: u64, batch: &Batch<'_>, records: bool, out: &mut impl Write) -> Outcome {
    let attributes = batch.attributes();
    let (base, last) = (batch.base_offset(), batch.last_offset());
    write!(out, "position {position}  offsets {base}..{last}  records {}", batch.record_count())?;
    write!(out, "  codec {}  bytes {}  epoch {}", codec_name(batch), batch.size_in_bytes(), batch.leader_epoch())?;
    if let Some(producer) = batch.producer() {
        write!(out, "  producer {} epoch {} sequence {}", producer.id, producer.epoch, producer.base_sequence)?;
    }
    if attributes.is_transactional() {
        out.write_all(b"  transactional")?;
    }
    if attributes.is_control() {
        out.write_all(b"  control")?;
    }
    let kind = match attributes.timestamp_type() {
        TimestampType::CreateTime => "created",
        TimestampType::LogAppendTime => "appended",
    };
    write!(out, "  {kind} until {}", time::format(batch.max_timestamp()))?;
    match batch.computed_crc() {
        crc if crc == batch.crc() => writeln!(out, "  crc {crc:#010x} ok")?,
        crc => writeln!(out, "  crc {:#010x} WRONG, the bytes have {crc:#010x}", batch.crc())?,
    }
    if records {
        dump_records(batch, &Format::Text(vec![Part::Timestamp, Part::Offset, Part::Key, Part::Headers]), out)
    } else {
        Ok(())
    }
}

fn dump_records(batch: &Batch<'_>, format: &Format, out: &mut impl Write) -> Outcome {
    if batch.attributes().is_control() {
        return dump_mark(batch, out);
    }
    let partition = TopicPartition { topic: "".into(), index: 0 };
    let mut written = Ok(());
    let shown = Fetched::of(partition, batch.bytes().to_vec()).visit(false, |message| {
        written = out.write_all(b"  ").and_then(|()| format.write(out, &message));
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    written?;
    // The rest of the file can still be looked at.
    if let Err(error) = shown {
        writeln!(out, "  {error}")?;
    }
    Ok(())
}

/// The mark that ends a transaction.
fn dump_mark(batch: &Batch<'_>, out: &mut impl Write) -> Outcome {
    for mark in record::records(batch.body()).map_while(Result::ok) {
        match EndTransaction::parse(mark.key.unwrap_or_default(), mark.value.unwrap_or_default()) {
            Some(EndTransaction { is_commit, coordinator_epoch }) => {
                let kind = if is_commit { "commit" } else { "abort" };
                writeln!(out, "  end of transaction: {kind}, coordinator epoch {coordinator_epoch}")?;
            }
            None => writeln!(out, "  a control record of another kind")?,
        }
    }
    Ok(())
}

fn dump_json(position: u64, batch: &Batch<'_>, records: bool, out: &mut impl Write) -> Outcome {
    let attributes = batch.attributes();
    let producer = batch
        .producer()
        .map(|producer| json!({"id": producer.id, "epoch": producer.epoch, "base_sequence": producer.base_sequence}));
    let mut document = json!({
        "position": position, "bytes": batch.size_in_bytes(), "base_offset": batch.base_offset(),
        "last_offset": batch.last_offset(), "count": batch.record_count(), "codec": codec_name(batch),
        "leader_epoch": batch.leader_epoch(), "producer": producer, "transactional": attributes.is_transactional(),
        "control": attributes.is_control(), "max_timestamp": batch.max_timestamp(),
        "crc": batch.crc(), "crc_ok": batch.crc() == batch.computed_crc(),
    });
    if records && !attributes.is_control() {
        let mut lines = Vec::new();
        let partition = TopicPartition { topic: "".into(), index: 0 };
        let shown = Fetched::of(partition, batch.bytes().to_vec()).visit(false, |message| {
            match Format::Json.write(&mut lines, &message) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        if let Err(error) = shown {
            document["damage"] = json!(error.to_string());
        }
        document["records"] = Value::Array(
            serde_json::Deserializer::from_slice(&lines)
                .into_iter()
                .filter_map(|record| record.ok().map(without_place))
                .collect(),
        );
    }
    writeln!(out, "{document}")?;
    Ok(())
}

/// A file does not know its topic and partition.
fn without_place(mut record: Value) -> Value {
    if let Some(fields) = record.as_object_mut() {
        fields.remove("topic");
        fields.remove("partition");
    }
    record
}

const IN_JOURNAL: &str = "the newest batches are still in the node's journal";

/// A skein node moves whole blocks from its journal to the newest segment of a partition, wherever batches end. So that
/// one, and no other file, may end inside a batch.
fn goes_on_in_journal(path: &Path, damage: &Damage) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let Some(directory) = path.parent().filter(|_| damage.is_cut) else { return false };
    let is_ours = directory.ancestors().skip(1).take(2).any(|above| above.join(IDENTITY_FILE).is_file());
    let mut siblings = Vec::new();
    let is_listed = collect(directory, &mut siblings).is_ok();
    // The names are the base offsets, all of one length.
    is_ours && is_listed && siblings.iter().all(|sibling| sibling.file_name() <= path.file_name())
}

/// What a file holds that is sound.
#[derive(Debug, Default)]
struct Summary {
    batches: usize,
    records: u64,
    offsets: Option<(i64, i64)>,
    bytes: u64,
    unused: u64,
    /// Position of the batch whose end is not in the file yet.
    in_journal_from: Option<u64>,
}

fn verify(args: &VerifyArgs) -> Outcome {
    let files = segment_files(&args.paths)?;
    let total = files.iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum();
    let progress = Progress::new(Some(total));
    let mut done = 0;
    let mut damaged = 0;
    let mut documents = Vec::new();
    let is_text = args.output.output == Output::Text;
    for path in &files {
        let name = path.file_name().unwrap_or_default().display().to_string();
        let verified = verify_file(path, |bytes| progress.update(done + bytes, &name))?;
        done += path.metadata().map_or(0, |metadata| metadata.len());
        let (summary, damages) = verified;
        damaged += usize::from(!damages.is_empty());
        for Damage { position, reason, .. } in &damages {
            progress.aside(|| eprintln!("{}: position {position}: {reason}", path.display()));
        }
        if !is_text {
            documents.push(summary.to_json(path, &damages));
        } else if damages.is_empty() {
            progress.aside(|| writeln!(io::stdout(), "{}: {}", path.display(), summary.text()))?;
        }
    }
    progress.finish();
    if !is_text {
        print_json(&Value::Array(documents))?;
    }
    if damaged == 0 {
        return Ok(());
    }
    Err(Failure::with_remedy(
        format!("{} of {} damaged", damaged, count(files.len(), "file")),
        "restore the files from a copy; skein log repair tells what else can be done",
    ))
}

/// The files, and the *.log files in the directories, in the order of their names.
fn segment_files(paths: &[PathBuf]) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            collect(path, &mut files)?;
            if files.len() == before {
                return Err(Failure::failed(format!("there is no *.log file in {}", path.display())));
            }
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Outcome {
    let entries: Result<Vec<_>, _> = fs::read_dir(directory).and_then(Iterator::collect);
    let mut paths: Vec<PathBuf> = entries.map_err(cannot_read(directory))?.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        // A link may lead back up.
        if path.is_dir() && !path.is_symlink() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "log") {
            files.push(path);
        }
    }
    Ok(())
}

/// What of a file is sound, and every damage in it: behind one it goes on at the next intact batch.
fn verify_file(path: &Path, mut progress: impl FnMut(u64)) -> Outcome<(Summary, Vec<Damage>)> {
    let mut scan = Scan::open(path).map_err(cannot_read(path))?;
    let mut summary = Summary { bytes: scan.length(), ..Summary::default() };
    let mut damages = Vec::new();
    let mut next_offset = None;
    loop {
        let damage = match scan.next().map_err(cannot_read(path))? {
            Ok(Found::Batch { position, batch }) => {
                progress(position);
                match check(&batch, next_offset) {
                    Ok(_) => {
                        next_offset = Some(batch.next_offset());
                        summary.add(&batch);
                        continue;
                    }
                    // Its bytes are those that were written, whatever they say.
                    Err(reason) if batch.crc() == batch.computed_crc() => {
                        damages.push(Damage { position, reason, is_cut: false });
                        continue;
                    }
                    Err(reason) => Damage { position, reason, is_cut: false },
                }
            }
            Ok(Found::Unused { bytes, .. }) => {
                summary.unused = bytes;
                continue;
            }
            Ok(Found::End) => return Ok((summary, damages)),
            Err(damage) => damage,
        };
        let goes_on = scan.pass_over(&damage, next_offset.unwrap_or(0)).map_err(cannot_read(path))?;
        if !goes_on && goes_on_in_journal(path, &damage) {
            summary.in_journal_from = Some(damage.position);
        } else {
            damages.push(damage);
        }
        if !goes_on {
            return Ok((summary, damages));
        }
    }
}

impl Summary {
    fn add(&mut self, batch: &Batch<'_>) {
        let first = self.offsets.map_or(batch.base_offset(), |(first, _)| first);
        self.offsets = Some((first, batch.last_offset()));
        self.batches += 1;
        self.records += u64::try_from(batch.record_count()).unwrap_or(0);
    }

    fn to_json(&self, path: &Path, damages: &[Damage]) -> Value {
        let mut document = self.sound_json(path);
        document["ok"] = json!(damages.is_empty());
        if let Some(first) = damages.first() {
            let damage = |it: &Damage| json!({"position": it.position, "reason": it.reason});
            document["position"] = json!(first.position);
            document["reason"] = json!(first.reason);
            document["damages"] = damages.iter().map(damage).collect();
        }
        document
    }

    fn sound_json(&self, path: &Path) -> Value {
        json!({
            "file": path.display().to_string(), "batches": self.batches, "records": self.records,
            "first_offset": self.offsets.map(|(first, _)| first), "last_offset": self.offsets.map(|(_, last)| last),
            "bytes": self.bytes, "unused_bytes": self.unused, "in_journal_from": self.in_journal_from,
        })
    }

    fn text(&self) -> String {
        let offsets = self.offsets.map(|(first, last)| format!(", offsets {first}..{last}")).unwrap_or_default();
        let unused = if self.unused > 0 { format!(", {} of them unused", grouped(self.unused)) } else { String::new() };
        let journal =
            self.in_journal_from.map(|at| format!("; from position {at} on {IN_JOURNAL}")).unwrap_or_default();
        let batches = if self.batches == 1 { "batch" } else { "batches" };
        let records = count(self.records as usize, "record");
        format!(
            "ok, {} {batches}, {records}{offsets}, {} bytes{unused}{journal}",
            grouped(self.batches as u64),
            grouped(self.bytes)
        )
    }
}
