//! The store's open files and the requests in flight on them.
//!
//! ```text
//!             request            opened                 idle, over the limit
//!  (no handle) ─────► opening ──────────► open ─────────────────────────────► closing ─► (no handle)
//!                     requests wait       requests go out                     requests wait, then open again
//! ```
//!
//! A cold segment holds no file handle: handles are opened when a request needs them, and those idle longest are
//! closed when there are too many.

use std::collections::VecDeque;
use std::path::PathBuf;

use rustc_hash::FxHashMap;

use crate::buffer::{Buffer, Slice};
use crate::checkpoint::record::GenerationV1;
use crate::io::{Completion, DataDirectory, Done, Durability, Failure, FileId, Op, OpenMode, Request, Token};
use crate::log::LogId;
use crate::segment::{compacted_index_path, compacted_path, transaction_index_path};

/// What a file is, as the store names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FileKey {
    /// A segment of a log, by its base offset.
    Segment(LogId, i64),
    /// The index of a segment.
    Index(LogId, i64),
    /// A segment that compaction wrote, by its base offset and generation.
    Compacted(LogId, i64, u32),
    /// The index of such a segment.
    CompactedIndex(LogId, i64, u32),
    /// The aborted transactions of a segment of any generation.
    Transactions(LogId, i64, u32),
    /// A journal extent, by the store's own number.
    Extent(u64),
    /// A checkpoint file, by its generation.
    Checkpoint(u32),
}

impl FileKey {
    /// A segment of any generation.
    pub(crate) fn segment(log: LogId, base_offset: i64, generation: u32) -> Self {
        if generation == 0 { Self::Segment(log, base_offset) } else { Self::Compacted(log, base_offset, generation) }
    }

    /// The index of a segment of any generation.
    pub(crate) fn index(log: LogId, base_offset: i64, generation: u32) -> Self {
        if generation == 0 { Self::Index(log, base_offset) } else { Self::CompactedIndex(log, base_offset, generation) }
    }

    /// The log, base offset and generation of a segment or its index.
    pub(crate) fn segment_of(self) -> Option<(LogId, i64, u32)> {
        match self {
            Self::Segment(log, base_offset) | Self::Index(log, base_offset) => Some((log, base_offset, 0)),
            Self::Compacted(log, base_offset, generation)
            | Self::CompactedIndex(log, base_offset, generation)
            | Self::Transactions(log, base_offset, generation) => Some((log, base_offset, generation)),
            Self::Extent(_) | Self::Checkpoint(_) => None,
        }
    }

    /// The log that it belongs to, if it belongs to one.
    pub(crate) fn log(self) -> Option<LogId> {
        match self {
            Self::Segment(log, _)
            | Self::Index(log, _)
            | Self::Compacted(log, ..)
            | Self::CompactedIndex(log, ..)
            | Self::Transactions(log, ..) => Some(log),
            Self::Extent(_) | Self::Checkpoint(_) => None,
        }
    }
}

impl GenerationV1 {
    /// The files of a segment among the store's open ones.
    pub(crate) fn keys(self, log: LogId) -> [FileKey; 3] {
        let Self { base_offset, generation } = self;
        [
            FileKey::segment(log, base_offset, generation),
            FileKey::index(log, base_offset, generation),
            FileKey::Transactions(log, base_offset, generation),
        ]
    }

    /// Their paths.
    pub(crate) fn paths(self, directory: &str) -> [PathBuf; 3] {
        let Self { base_offset, generation } = self;
        [
            compacted_path(directory, base_offset, generation),
            compacted_index_path(directory, base_offset, generation),
            transaction_index_path(directory, base_offset, generation),
        ]
    }
}

/// An operation on an open file.
#[derive(Debug)]
pub(crate) enum FileOp {
    Write { position: u64, data: Vec<Slice>, durability: Durability },
    Read { position: u64, buffer: Buffer },
    Sync,
    SetLength(u64),
}

impl FileOp {
    fn on(self, file: FileId) -> Op {
        match self {
            Self::Write { position, data, durability } => Op::Write { file, position, data, durability },
            Self::Read { position, buffer } => Op::Read { file, position, buffer },
            Self::Sync => Op::Sync { file },
            Self::SetLength(length) => Op::SetLength { file, length },
        }
    }
}

/// How an operation ended.
#[derive(Debug)]
pub(crate) struct Ended<P> {
    pub(crate) purpose: P,
    pub(crate) result: Result<Done, Failure>,
}

#[derive(Debug)]
enum Target<P> {
    Open(FileKey),
    Close(FileKey),
    File(FileKey, P),
    Name(P),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Opening,
    Open,
    Closing,
}

#[derive(Debug)]
struct Handle<P> {
    file: FileId,
    state: State,
    path: PathBuf,
    mode: OpenMode,
    in_flight: u32,
    /// A change of length waits or is in flight: nothing else happens to the file until it is done.
    is_fenced: bool,
    waiting: VecDeque<(P, FileOp)>,
    used_at: u64,
}

/// Open files and requests of one store; `P` says what a request is for.
#[derive(Debug)]
pub(crate) struct Files<P> {
    directory: DataDirectory,
    handles: FxHashMap<FileKey, Handle<P>>,
    targets: FxHashMap<u64, Target<P>>,
    outgoing: Vec<Request>,
    ended: VecDeque<Ended<P>>,
    free: Vec<FileId>,
    next_file: u32,
    next_token: u64,
    clock: u64,
    open_max: usize,
}

impl<P> Files<P> {
    /// Files of a data directory. At most about `open_max` stay open.
    pub(crate) fn new(directory: DataDirectory, open_max: usize) -> Self {
        Self {
            directory,
            handles: FxHashMap::default(),
            targets: FxHashMap::default(),
            outgoing: Vec::new(),
            ended: VecDeque::new(),
            free: Vec::new(),
            next_file: 0,
            next_token: 0,
            clock: 0,
            open_max,
        }
    }

    /// Does `op` on a file, opening it first if need be.
    pub(crate) fn request(
        &mut self,
        key: FileKey,
        path: impl FnOnce() -> PathBuf,
        mode: OpenMode,
        op: FileOp,
        purpose: P,
    ) {
        self.clock += 1;
        if !self.handles.contains_key(&key) {
            self.close_idlest();
            let file = self.free.pop().unwrap_or_else(|| {
                self.next_file += 1;
                FileId(self.next_file - 1)
            });
            let handle = Handle {
                file,
                state: State::Opening,
                path: path(),
                mode,
                in_flight: 0,
                is_fenced: false,
                waiting: VecDeque::new(),
                used_at: self.clock,
            };
            let open = Op::Open { file, path: handle.path.clone(), mode };
            self.handles.insert(key, handle);
            self.submit(open, Target::Open(key));
        }
        let handle = self.handles.get_mut(&key).expect("made just now if it was missing");
        handle.used_at = self.clock;
        handle.waiting.push_back((purpose, op));
        if handle.state == State::Open {
            self.submit_waiting(key);
        }
    }

    /// Submits what waits for an open file, in order; a change of length goes alone.
    fn submit_waiting(&mut self, key: FileKey) {
        loop {
            let handle = self.handles.get_mut(&key).expect("an open file has a handle");
            let Some((_, op)) = handle.waiting.front() else { return };
            let is_length = matches!(op, FileOp::SetLength(_));
            if handle.is_fenced || (is_length && handle.in_flight > 0) {
                return;
            }
            handle.is_fenced = is_length;
            handle.in_flight += 1;
            let (purpose, op) = handle.waiting.pop_front().expect("looked at just now");
            let op = op.on(handle.file);
            self.submit(op, Target::File(key, purpose));
        }
    }

    /// Does an operation on names.
    pub(crate) fn request_name(&mut self, op: Op, purpose: P) {
        self.submit(op, Target::Name(purpose));
    }

    /// Whether operations on the files that `which` picks are in flight or waiting.
    pub(crate) fn is_busy(&self, which: impl Fn(FileKey) -> bool) -> bool {
        self.handles.iter().any(|(&key, handle)| {
            which(key) && (handle.in_flight > 0 || handle.state != State::Open || !handle.waiting.is_empty())
        })
    }

    /// Whether anything is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.targets.is_empty() && self.outgoing.is_empty() && self.ended.is_empty()
    }

    /// Closes an open file on which nothing is in flight; others are left to the limit.
    pub(crate) fn close(&mut self, key: FileKey) {
        let Some(handle) = self.handles.get_mut(&key) else { return };
        if handle.state == State::Open && handle.in_flight == 0 && handle.waiting.is_empty() {
            handle.state = State::Closing;
            let file = handle.file;
            self.submit(Op::Close { file }, Target::Close(key));
        }
    }

    /// Closes all files that `which` picks, as [`Self::close`].
    pub(crate) fn close_all(&mut self, which: impl Fn(FileKey) -> bool) {
        let mut keys: Vec<FileKey> = self.handles.keys().copied().filter(|&key| which(key)).collect();
        keys.sort_unstable();
        keys.into_iter().for_each(|key| self.close(key));
    }

    fn close_idlest(&mut self) {
        if self.handles.len() < self.open_max {
            return;
        }
        let idle = self.handles.iter().filter(|(_, handle)| handle.state == State::Open && handle.in_flight == 0);
        if let Some(key) = idle.min_by_key(|(_, handle)| handle.used_at).map(|(&key, _)| key) {
            self.close(key);
        }
    }

    fn submit(&mut self, op: Op, target: Target<P>) {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.targets.insert(token.0, target);
        self.outgoing.push(Request { directory: self.directory, token, op });
    }

    /// Forgets what waits or was not handed over yet; what is in flight ends by itself.
    pub(crate) fn give_up(&mut self) {
        for request in std::mem::take(&mut self.outgoing) {
            let target = self.targets.remove(&request.token.0);
            if let Some(Target::File(key, _)) = target {
                self.handles.get_mut(&key).expect("a file in use stays open").in_flight -= 1;
            }
        }
        self.handles.values_mut().for_each(|handle| handle.waiting.clear());
        self.ended.clear();
    }

    /// Hands over what is to be submitted.
    pub(crate) fn drain_into(&mut self, out: &mut Vec<Request>) {
        out.append(&mut self.outgoing);
    }

    /// Takes the end of a request; what it means to the store comes from [`Self::next_ended`].
    pub(crate) fn complete(&mut self, completion: Completion) {
        let target = self.targets.remove(&completion.token.0).expect("every request completes once");
        match target {
            Target::Name(purpose) => self.ended.push_back(Ended { purpose, result: completion.result }),
            Target::File(key, purpose) => {
                let handle = self.handles.get_mut(&key).expect("a file in use stays open");
                handle.in_flight -= 1;
                handle.is_fenced &= handle.in_flight > 0;
                self.submit_waiting(key);
                self.ended.push_back(Ended { purpose, result: completion.result });
            }
            Target::Open(key) => self.opened(key, completion.result),
            Target::Close(key) => self.closed(key),
        }
    }

    fn opened(&mut self, key: FileKey, result: Result<Done, Failure>) {
        let handle = self.handles.get_mut(&key).expect("an opening file has a handle");
        match result {
            Ok(_) => {
                handle.state = State::Open;
                self.submit_waiting(key);
            }
            Err(failure) => {
                let handle = self.handles.remove(&key).expect("just seen");
                self.free.push(handle.file);
                let waiting = handle.waiting.into_iter();
                self.ended.extend(waiting.map(|(purpose, _)| Ended { purpose, result: Err(failure) }));
            }
        }
    }

    fn closed(&mut self, key: FileKey) {
        let handle = self.handles.remove(&key).expect("a closing file has a handle");
        self.free.push(handle.file);
        for (purpose, op) in handle.waiting {
            let path = handle.path.clone();
            self.request(key, || path, handle.mode, op, purpose);
        }
    }

    /// The next operation that ended.
    pub(crate) fn next_ended(&mut self) -> Option<Ended<P>> {
        self.ended.pop_front()
    }
}
