//! A node's stores on real files, driven by a small blocking executor of their requests.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use storage::batch::Producer;
use storage::buffer::Slice;
use storage::builder::{BatchBuilder, NewRecord, Options as BatchOptions};
use storage::compression::Codec;
use storage::disk::Directory;
use storage::io::{Completion, Done, Durability, Failure, FileId, Op, Request};
use storage::recovery::{Identity, recover};
use storage::store::{Append, Event, Lookup, Options, Origin, Read, ReadRequest, ReaderId, Store};
use storage::{Error, LogConfig, LogId, Now, Slot};

/// Where time starts in these tests.
pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// No space left on device.
const ENOSPC: i32 = 28;

#[derive(Default)]
struct Files {
    open: BTreeMap<FileId, File>,
    /// Synced writes that will fail, after a part of their effect.
    failures: u32,
    /// No write finds room.
    is_full: bool,
    /// The error of everything that would change the file system.
    refusal: Option<i32>,
    /// Writes to files whose path begins with one of these wait.
    holds: Vec<String>,
    paths: BTreeMap<FileId, PathBuf>,
    held: Vec<Request>,
    /// Bytes of every file that cannot be read.
    unreadable: Range<u64>,
}

impl Files {
    fn is_held(&self, op: &Op) -> bool {
        let Op::Write { file, .. } = op else { return false };
        let Some(path) = self.paths.get(file).and_then(|path| path.to_str()) else { return false };
        self.holds.iter().any(|prefix| path.starts_with(prefix.as_str()))
    }

    fn execute(&mut self, root: &Path, op: Op) -> std::io::Result<Done> {
        let changes = match &op {
            Op::Open { path, mode, .. } => mode.create && !root.join(path).exists(),
            Op::Close { .. } | Op::Read { .. } | Op::MeasureVolume => false,
            _ => true,
        };
        if let Some(errno) = self.refusal.filter(|_| changes) {
            return Err(std::io::Error::from_raw_os_error(errno));
        }
        match op {
            Op::Open { file, path, mode } => {
                self.paths.insert(file, path.clone());
                let opened = OpenOptions::new()
                    .read(true)
                    .write(mode.write)
                    .create(mode.create)
                    .truncate(false)
                    .open(root.join(path))?;
                let length = opened.metadata()?.len();
                assert!(self.open.insert(file, opened).is_none(), "a number names one file");
                return Ok(Done::Opened { length, direct: false });
            }
            Op::Close { file } => drop(self.open.remove(&file).expect("open")),
            Op::Write { .. } if self.is_full => return Err(std::io::Error::from_raw_os_error(ENOSPC)),
            Op::Write { file, position, data, durability: Durability::Synced } if self.failures > 0 => {
                self.failures -= 1;
                self.open[&file].write_all_at(&data[0][..100], position + 20)?;
                return Err(std::io::Error::from_raw_os_error(5));
            }
            Op::Write { file, mut position, data, .. } => {
                for slice in &data {
                    self.open[&file].write_all_at(slice, position)?;
                    position += slice.len() as u64;
                }
                return Ok(Done::Written { data });
            }
            Op::Read { position, ref buffer, .. }
                if position < self.unreadable.end && position + buffer.len() as u64 > self.unreadable.start =>
            {
                return Err(std::io::Error::from_raw_os_error(5));
            }
            Op::Read { file, position, mut buffer } => {
                let mut length = 0;
                while length < buffer.len() {
                    match self.open[&file].read_at(&mut buffer[length..], position + length as u64)? {
                        0 => break,
                        read => length += read,
                    }
                }
                return Ok(Done::Read { buffer, length });
            }
            // The process is not killed in these tests, so the page cache is as good as the device.
            Op::Sync { .. } | Op::SyncAll | Op::SyncDirectory { .. } => {}
            Op::SetLength { file, length } => self.open[&file].set_len(length)?,
            Op::CreateDirectory { path } => fs::create_dir_all(root.join(path))?,
            Op::RemoveFile { path } => drop(fs::remove_file(root.join(path))),
            Op::RemoveDirectory { path } => drop(fs::remove_dir_all(root.join(path))),
            Op::Rename { from, to } => fs::rename(root.join(from), root.join(to))?,
            Op::MeasureVolume => {
                return Ok(Done::Measured(storage::io::Volume { total_bytes: 1 << 40, usable_bytes: 1 << 39 }));
            }
        }
        Ok(Done::Finished)
    }
}

/// Stores on a data directory.
pub(crate) struct Node {
    root: PathBuf,
    _directory: Directory,
    pub(crate) stores: Vec<Store>,
    files: Vec<Files>,
    pub(crate) now: Now,
    pub(crate) events: Vec<(usize, Event)>,
}

pub(crate) fn identity() -> Identity {
    Identity { directory_id: [1; 16], node: [1; 16], cluster_id: b"test".to_vec() }
}

pub(crate) fn options() -> Options {
    Options {
        tail_bytes: 16 << 20,
        buffer_bytes: 16 << 20,
        open_files_max: 16,
        direct: false,
        // Deadlines are those of what a test is about.
        scrub_bytes_per_second: 0,
        quiet_ns: u64::MAX,
        ..Options::default()
    }
}

pub(crate) fn place(id: LogId, shards: usize) -> usize {
    id.0 as usize % shards
}

impl Node {
    pub(crate) fn start(root: &Path, shards: usize) -> Self {
        Self::try_start(root, shards, &options()).expect("a sound directory")
    }

    pub(crate) fn try_start(root: &Path, shards: usize, options: &Options) -> Result<Self, Error> {
        let directory = Directory::open(root)?;
        let recovered = recover(&directory, &identity())?;
        let stores = recovered.into_stores(shards, |id| place(id, shards), options)?;
        Ok(Self {
            root: root.to_path_buf(),
            _directory: directory,
            files: stores.iter().map(|_| Files::default()).collect(),
            stores,
            now: Now { monotonic_ns: 0, wall_ms: START_MS },
            events: Vec::new(),
        })
    }

    /// The logs that a start would find now.
    pub(crate) fn logs_on_disk(root: &Path) -> Result<Vec<LogId>, Error> {
        let directory = Directory::inspect(root)?;
        Ok(recover(&directory, &identity())?.logs())
    }

    pub(crate) fn attach(&mut self, id: u64, config: LogConfig) -> (usize, Slot) {
        let shard = place(LogId(id), self.stores.len());
        let slot = self.stores[shard].attach(LogId(id), &format!("topic-0.{id}"), config, self.now);
        (shard, slot)
    }

    /// Lets the shard's next synced writes fail.
    pub(crate) fn fail_synced_writes(&mut self, shard: usize, count: u32) {
        self.files[shard].failures = count;
    }

    /// Lets everything that would change the shard's file system fail with `errno`, until it is told otherwise.
    pub(crate) fn refuse_changes(&mut self, shard: usize, errno: Option<i32>) {
        self.files[shard].refusal = errno;
    }

    /// Has the shard's writes wait that go to files whose paths begin with one of these; others go on.
    pub(crate) fn hold_writes(&mut self, shard: usize, prefixes: &[&str]) {
        self.files[shard].holds = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
    }

    /// Fills the shard's disk.
    pub(crate) fn fill_disk(&mut self, shard: usize) {
        self.files[shard].is_full = true;
    }

    /// Makes room on it again.
    pub(crate) fn empty_disk(&mut self, shard: usize) {
        self.files[shard].is_full = false;
    }

    /// Lets the shard's disk fail to read these bytes of every file.
    pub(crate) fn make_unreadable(&mut self, shard: usize, bytes: Range<u64>) {
        self.files[shard].unreadable = bytes;
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.monotonic_ns += ms * 1_000_000;
        self.now.wall_ms += ms as i64;
    }

    /// Turns until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut is_quiet = true;
            for shard in 0..self.stores.len() {
                is_quiet &= !self.turn(shard);
            }
            if is_quiet {
                return;
            }
        }
    }

    /// One turn of a shard; whether there was something to do.
    pub(crate) fn turn(&mut self, shard: usize) -> bool {
        let store = &mut self.stores[shard];
        store.step(self.now, 64 << 10);
        let mut any = store.has_work();
        let mut requests = Vec::new();
        store.requests(&mut requests);
        let files = &mut self.files[shard];
        requests.append(&mut files.held);
        let (held, requests) = requests.into_iter().partition(|request| files.is_held(&request.op));
        files.held = held;
        for Request { directory, token, op } in requests {
            any = true;
            let result = self.files[shard]
                .execute(&self.root, op)
                .map_err(|error| Failure { errno: error.raw_os_error().unwrap_or(5) });
            store.complete(Completion { directory, token, result }, self.now);
        }
        while let Some(event) = store.next_event() {
            self.events.push((shard, event));
        }
        any
    }

    pub(crate) fn append(&mut self, (shard, slot): (usize, Slot), batch: &[u8]) -> Append {
        let outcome = self.stores[shard].append(slot, batch, Origin::Client, 0, self.now);
        let Append::Validating(token) = outcome else { return outcome };
        self.settle();
        let finished = self.events.iter().find_map(|(_, event)| match event {
            Event::AppendFinished { token: its, outcome, .. } if *its == token => Some(outcome.clone()),
            _ => None,
        });
        finished.expect("every append finishes")
    }

    /// All bytes from `offset` to the durable end.
    pub(crate) fn read_all(&mut self, (shard, slot): (usize, Slot), mut offset: i64) -> Vec<u8> {
        let limit_offset = self.stores[shard].durable_end(slot);
        let mut bytes = Vec::new();
        while offset < limit_offset {
            let request =
                ReadRequest { offset, max_bytes: 100_000, at_least_one: true, limit_offset, reader: ReaderId(1) };
            let (outcome, slices) = self.read((shard, slot), request);
            let Read::Ready { next_offset, .. } = outcome else { panic!("offset {offset} gives {outcome:?}") };
            offset = next_offset;
            slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
        }
        bytes
    }

    pub(crate) fn read(&mut self, (shard, slot): (usize, Slot), request: ReadRequest) -> (Read, Vec<Slice>) {
        let mut slices = Vec::new();
        let outcome = self.stores[shard].read(slot, request, &mut slices);
        let Read::Pending(token) = outcome else { return (outcome, slices) };
        self.settle();
        let at = self
            .events
            .iter()
            .position(|(_, event)| matches!(event, Event::ReadFinished { token: its, .. } if *its == token));
        let Event::ReadFinished { outcome, slices, .. } = self.events.remove(at.expect("every read finishes")).1 else {
            unreachable!("it was picked as one")
        };
        (outcome, slices)
    }

    pub(crate) fn finished(&mut self, lookup: Lookup) -> Lookup {
        let Lookup::Pending(token) = lookup else { return lookup };
        self.settle();
        let finished = self.events.iter().find_map(|(_, event)| match event {
            Event::LookupFinished { token: its, outcome, .. } if *its == token => Some(*outcome),
            _ => None,
        });
        finished.expect("every lookup finishes")
    }

    pub(crate) fn stop(mut self) {
        self.stores.iter_mut().for_each(Store::begin_stop);
        self.settle();
        assert!(self.stores.iter().all(Store::is_stopped));
    }
}

/// A batch of `records` records of `bytes` each, the first at `timestamp`, each one ms later than the last.
pub(crate) fn batch(records: usize, bytes: usize, timestamp: i64) -> Vec<u8> {
    built(BatchOptions::default(), records, bytes, timestamp)
}

/// A batch of one record with a key and a value of `bytes`.
pub(crate) fn keyed(bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value = vec![7; bytes];
    let record = NewRecord { timestamp: START_MS, key: Some(b"key"), value: Some(&value), headers: &[] };
    builder.append(&record).expect("small");
    builder.finish()
}

pub(crate) fn compressed(codec: Codec, records: usize, bytes: usize, timestamp: i64) -> Vec<u8> {
    built(BatchOptions { codec, ..BatchOptions::default() }, records, bytes, timestamp)
}

pub(crate) fn produced(producer: i64, base_sequence: i32) -> Vec<u8> {
    let producer = Some(Producer { id: producer, epoch: 0, base_sequence });
    built(BatchOptions { producer, ..BatchOptions::default() }, 1, 100, START_MS)
}

fn built(options: BatchOptions, records: usize, bytes: usize, timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for at in 0..records {
        let value: Vec<u8> = (0..bytes).map(|byte| (byte * 31 + at * 7 + timestamp as usize) as u8).collect();
        let record = NewRecord { timestamp: timestamp + at as i64, key: None, value: Some(&value), headers: &[] };
        builder.append(&record).expect("small");
    }
    builder.finish()
}
