//! A segment that a job writes.
//!
//! ```text
//! Filling ─► last block ─► Length ─► Sync ─► Index ─► SyncIndex ─► (Aborted ─► CutAborted ─► SyncAborted) ─► Names ─► whole,
//! and durable
//! ```

use std::path::PathBuf;

use crate::batch::NO_TIMESTAMP;
use crate::buffer::{Buffer, Pool, Slice};
use crate::checkpoint::record::GenerationV1;
use crate::index::{Index, MaxTimestamp, Placed};
use crate::io::{BLOCK_BYTES, Durability, Op, OpenMode};
use crate::log::{LogConfig, LogId};
use crate::segment::{Segment, compacted_index_path, compacted_path, log_directory, transaction_index_path};
use crate::store::files::{FileKey, FileOp};
use crate::transactions::{self, Aborted, ENTRY_BYTES};

use super::reader::Input;

/// Bytes of one piece of an index.
const INDEX_PIECE_BYTES: usize = 1 << 20;

/// The least distance of two entries of an index: so the index of the largest segment can be loaded.
const INDEX_INTERVAL_BYTES_MIN: u32 = 4096;

/// What is to be done to files next.
#[derive(Debug)]
pub(super) enum Request {
    File { key: FileKey, path: PathBuf, mode: OpenMode, op: FileOp },
    Name(Op),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Filling,
    Length,
    Sync,
    Index,
    SyncIndex,
    Aborted,
    CutAborted,
    SyncAborted,
    Names,
    Done,
}

/// What comes next for a segment that gets no more batches.
#[derive(Debug)]
pub(super) enum Finish {
    Request(Request),
    /// There is no memory for it now.
    Busy,
    Done,
}

#[derive(Debug)]
pub(super) struct Output {
    log: LogId,
    directory: String,
    pub(super) base_offset: i64,
    pub(super) generation: u32,
    pub(super) bytes: u64,
    index: Box<Index>,
    index_bytes: u64,
    /// What the index of aborted transactions gets.
    pub(super) aborted: Vec<Aborted>,
    first_timestamp: i64,
    created_ms: i64,
    /// What is not handed to the disk yet, and where it goes.
    buffer: Option<Buffer>,
    filled: usize,
    position: u64,
    stage: Stage,
    direct: bool,
}

/// A batch on its way into the file.
#[derive(Debug)]
pub(super) struct Emitted {
    pub(super) bytes: Bytes,
    pub(super) at: usize,
}

/// A batch as it was, or as it is now.
#[derive(Debug)]
pub(super) enum Bytes {
    Stored(Slice),
    Rewritten(Vec<u8>),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Stored(bytes) => bytes,
            Self::Rewritten(bytes) => bytes,
        }
    }
}

impl Output {
    /// A file that takes the place of `inputs`, and of what [joins](Self::join) them.
    pub(super) fn new(log: LogId, directory: &str, inputs: &[Input], config: &LogConfig, direct: bool) -> Self {
        let input = inputs.first().expect("a file is made from something");
        Self {
            log,
            directory: directory.to_owned(),
            base_offset: input.base_offset,
            generation: input.generation + 1,
            bytes: 0,
            index: Box::new(Index::new(input.base_offset, config.index_interval_bytes.max(INDEX_INTERVAL_BYTES_MIN))),
            index_bytes: 0,
            aborted: Vec::new(),
            first_timestamp: NO_TIMESTAMP,
            created_ms: inputs.iter().map(|input| input.created_ms).max().unwrap_or(input.created_ms),
            buffer: None,
            filled: 0,
            position: 0,
            stage: Stage::Filling,
            direct,
        }
    }

    /// Whether the next input's remains certainly fit, by Kafka's rules: size, index size, width of relative offsets.
    pub(super) fn fits(&self, next: &Input, config: &LogConfig, segment_bytes_max: u64) -> bool {
        let entries = self.index.len() + next.index_entries as usize;
        self.bytes + next.bytes <= config.segment_bytes.min(segment_bytes_max)
            && entries * crate::index::ENTRY_BYTES <= config.index_bytes_max as usize
            && next.next_offset - self.base_offset <= i64::from(i32::MAX)
    }

    /// The remains of another input come.
    pub(super) fn join(&mut self, input: &Input) {
        self.created_ms = self.created_ms.max(input.created_ms);
    }

    /// Takes note of the next batch, whose bytes come by [`Self::push`].
    pub(super) fn begin_batch(&mut self, bytes: usize, base_offset: i64, last_offset: i64, max: MaxTimestamp) {
        assert_eq!(self.stage, Stage::Filling, "a finished file gets no more");
        if self.bytes == 0 {
            self.first_timestamp = max.timestamp;
        }
        self.index.append(Placed {
            position: u32::try_from(self.bytes).expect("a segment is smaller than 2 GiB"),
            size_in_bytes: u32::try_from(bytes).expect("a batch is smaller than 2 GiB"),
            base_offset,
            last_offset,
            max,
        });
        self.bytes += bytes as u64;
    }

    /// Copies as much of the batch as there is room for. False if there is no memory now.
    pub(super) fn push(&mut self, emitted: &mut Emitted, io_bytes: usize, pool: &Pool) -> bool {
        let bytes = &emitted.bytes.as_ref()[emitted.at..];
        if self.buffer.is_none() && !bytes.is_empty() {
            let io_bytes = io_bytes.next_multiple_of(BLOCK_BYTES).clamp(64 << 10, 4 << 20);
            let Some(mut buffer) = pool.allocate(io_bytes) else { return false };
            buffer.shorten(io_bytes.min(buffer.len()));
            (self.buffer, self.filled) = (Some(buffer), 0);
        }
        if let Some(buffer) = &mut self.buffer {
            let taken = bytes.len().min(buffer.len() - self.filled);
            buffer[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            emitted.at += taken;
        }
        true
    }

    /// Whether the buffer is full, so that it must be written before more is pushed.
    pub(super) fn is_buffer_full(&self) -> bool {
        self.buffer.as_ref().is_some_and(|buffer| self.filled == buffer.len())
    }

    /// The write of what is in the buffer, with zeros to the end of the last block.
    pub(super) fn write(&mut self) -> Option<Request> {
        let mut buffer = self.buffer.take()?;
        let whole = self.filled.next_multiple_of(BLOCK_BYTES);
        buffer[self.filled..whole].fill(0);
        let op = FileOp::Write {
            position: self.position,
            data: vec![buffer.freeze(whole)],
            durability: Durability::Buffered,
        };
        self.position += self.filled as u64;
        self.filled = 0;
        Some(self.on_segment(op))
    }

    fn on_segment(&self, op: FileOp) -> Request {
        Request::File {
            key: FileKey::segment(self.log, self.base_offset, self.generation),
            path: compacted_path(&self.directory, self.base_offset, self.generation),
            mode: OpenMode { create: true, write: true, direct: self.direct },
            op,
        }
    }

    fn on_index(&self, op: FileOp) -> Request {
        Request::File {
            key: FileKey::index(self.log, self.base_offset, self.generation),
            path: compacted_index_path(&self.directory, self.base_offset, self.generation),
            mode: OpenMode { create: true, write: true, direct: false },
            op,
        }
    }

    /// The next step towards a whole and durable file; each is taken when the one before is done.
    pub(super) fn finish(&mut self, pool: &Pool) -> Finish {
        let (stage, request) = match self.stage {
            Stage::Filling => match self.write() {
                Some(request) => (Stage::Length, request),
                None => (Stage::Sync, self.on_segment(FileOp::SetLength(self.bytes))),
            },
            Stage::Length => (Stage::Sync, self.on_segment(FileOp::SetLength(self.bytes))),
            Stage::Sync => (Stage::Index, self.on_segment(FileOp::Sync)),
            Stage::Index => match self.write_index(pool) {
                Some(request) => (Stage::SyncIndex, request),
                None => return Finish::Busy,
            },
            Stage::SyncIndex if self.aborted.is_empty() => (Stage::Names, self.on_index(FileOp::Sync)),
            Stage::SyncIndex => (Stage::Aborted, self.on_index(FileOp::Sync)),
            Stage::Aborted => match self.write_aborted(pool) {
                Some(request) => (Stage::CutAborted, request),
                None => return Finish::Busy,
            },
            // What a crash left of an earlier pass may have been longer.
            Stage::CutAborted => {
                let bytes = (self.aborted.len() * ENTRY_BYTES) as u64;
                (Stage::SyncAborted, self.on_aborted(FileOp::SetLength(bytes)))
            }
            Stage::SyncAborted => (Stage::Names, self.on_aborted(FileOp::Sync)),
            Stage::Names => (Stage::Done, Request::Name(Op::SyncDirectory { path: log_directory(&self.directory) })),
            Stage::Done => return Finish::Done,
        };
        self.stage = stage;
        Finish::Request(request)
    }

    fn write_index(&mut self, pool: &Pool) -> Option<Request> {
        let mut bytes = Vec::new();
        self.index.encode_header(&mut bytes);
        self.index.encode_chunk(0, &mut bytes);
        let data = pieces(&bytes, pool)?;
        self.index_bytes = bytes.len() as u64;
        Some(self.on_index(FileOp::Write { position: 0, data, durability: Durability::Buffered }))
    }

    fn write_aborted(&self, pool: &Pool) -> Option<Request> {
        let data = pieces(&transactions::encode(&self.aborted), pool)?;
        Some(self.on_aborted(FileOp::Write { position: 0, data, durability: Durability::Buffered }))
    }

    fn on_aborted(&self, op: FileOp) -> Request {
        Request::File {
            key: FileKey::Transactions(self.log, self.base_offset, self.generation),
            path: transaction_index_path(&self.directory, self.base_offset, self.generation),
            mode: OpenMode { create: true, write: true, direct: false },
            op,
        }
    }

    /// The files that it writes.
    pub(super) fn files(&self) -> [(FileKey, PathBuf); 3] {
        let files = GenerationV1 { base_offset: self.base_offset, generation: self.generation };
        let (keys, mut paths) = (files.keys(self.log), files.paths(&self.directory));
        std::array::from_fn(|at| (keys[at], std::mem::take(&mut paths[at])))
    }

    /// The segment, once it is finished.
    pub(super) fn into_segment(self) -> Segment {
        assert_eq!(self.stage, Stage::Done, "only what is durable counts");
        Segment {
            base_offset: self.base_offset,
            generation: self.generation,
            bytes: self.bytes,
            first_timestamp: self.first_timestamp,
            created_ms: self.created_ms,
            max: self.index.max(),
            index_bytes: self.index_bytes,
            index_entries: self.index.len() as u32,
            index: None,
            is_closed: true,
            is_named: true,
            is_index_named: true,
        }
    }
}

/// Bytes in buffers; none if there is no memory for them now.
fn pieces(bytes: &[u8], pool: &Pool) -> Option<Vec<Slice>> {
    let piece = |piece: &[u8]| {
        let mut buffer = pool.allocate(piece.len())?;
        buffer[..piece.len()].copy_from_slice(piece);
        Some(buffer.freeze(piece.len()))
    };
    bytes.chunks(INDEX_PIECE_BYTES).map(piece).collect()
}
