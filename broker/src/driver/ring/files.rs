//! The file operations of a ring: opening, reading, writing and syncing on io_uring, the rest by the helper thread.
//!
//! An operation holds its slot from submission to completion; one that the kernel carried out in part (a short
//! read or write, a refused `O_DIRECT`) is submitted again from the same slot. Small writes into the page cache are made
//! at once ([`inline`]).

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use io_uring::{opcode, squeue, types};
use slab::Slab;
use storage::buffer::{Buffer, Slice};
use storage::io::{
    BLOCK_BYTES, Completion as Finished, DataDirectory, Done, Durability, Failure, FileId, Op, OpenMode, Request, Token,
};

use super::helper::{Helper, JOBS_MAX, Job};
use super::inline::Inline;
use super::queue::{Arrival, GENERATION_MASK, Key, Kind, Queue};
use super::wake::Waker;
use super::{Each, Ready};
use crate::driver::Completion;

/// Files that one shard has open, at the most: what bounds the table that their numbers index.
const FILES_MAX: usize = 1 << 20;
/// Slices of one kernel write; a longer one takes several.
const VECTORS_MAX: usize = 1024;
/// How often an operation is tried again that the kernel interrupted or put off, before it fails.
const RETRIES_MAX: u8 = 16;

/// What the kernel or the helper is doing for a request, with all memory that the kernel may touch meanwhile.
enum Work {
    Open { file: FileId, path: CString, mode: OpenMode, direct: bool },
    Read { file: Open, position: u64, buffer: Buffer, done: usize },
    Write { file: Open, position: u64, data: Vec<Slice>, done: usize, rw_flags: i32, vectors: Vec<libc::iovec> },
    Sync { file: Open },
    Helper,
}

struct Operation {
    directory: DataDirectory,
    token: Token,
    /// The key's: tells this user of the slot from others.
    generation: u32,
    retries: u8,
    work: Work,
}

/// How an operation goes on after the kernel has answered.
enum Step {
    Again(Work),
    Ended(Result<Done, Failure>),
}

/// An open file; the descriptor is closed when the last holder drops it.
#[derive(Clone)]
struct Open {
    file: Arc<File>,
    /// Whether it bypasses the page cache.
    direct: bool,
}

/// A data directory. Its helper is its own, so that a directory whose device hangs holds no other up.
struct Root {
    path: PathBuf,
    root: Arc<File>,
    open: Vec<Option<Open>>,
    helper: Helper,
    helper_jobs: usize,
    /// Jobs beyond what the helper may hold. Bounded by the requests that storage has in flight.
    waiting: VecDeque<(u32, Job)>,
}

/// All files of a ring.
pub(super) struct Files {
    /// By the directory's number.
    roots: Vec<Option<Root>>,
    operations: Slab<Operation>,
    generation: u32,
    /// Made at once where there is one directory only: a device that hangs must not hold up those of the others.
    inline: Option<Inline>,
}

impl Root {
    fn open(path: PathBuf, waker: &Waker) -> std::io::Result<Self> {
        let root = Arc::new(File::open(&path)?);
        let helper = Helper::spawn(Arc::clone(&root), waker.clone())?;
        Ok(Self { path, root, open: Vec::new(), helper, helper_jobs: 0, waiting: VecDeque::new() })
    }

    fn opened(&self, file: FileId) -> Open {
        let slot = self.open.get(file.0 as usize).and_then(Option::as_ref);
        slot.expect("a file is used between the completion of its Open and its Close").clone()
    }

    fn feed_helper(&mut self) {
        while self.helper_jobs < JOBS_MAX {
            let Some((slot, job)) = self.waiting.pop_front() else { return };
            self.helper_jobs += 1;
            self.helper.start(slot, job);
        }
    }

    /// Makes a fresh descriptor the open file `id`; says how long the file is.
    fn register(&mut self, id: FileId, descriptor: i32, direct: bool) -> std::io::Result<u64> {
        // SAFETY: the descriptor comes from an open that has just completed; nobody else owns it.
        let file = Arc::new(unsafe { File::from_raw_fd(descriptor) });
        let length = file.metadata()?.len();
        let index = id.0 as usize;
        assert!(index < FILES_MAX, "file numbers are dense from 0");
        if self.open.len() <= index {
            self.open.resize(index + 1, None);
        }
        let former = self.open[index].replace(Open { file, direct });
        assert!(former.is_none(), "a number is reused after its Close has completed");
        Ok(length)
    }
}

impl Files {
    pub(super) fn new(directories: Vec<Option<PathBuf>>, waker: &Waker) -> std::io::Result<Self> {
        let inline = (directories.len() == 1).then(Inline::default);
        let open = |path: Option<PathBuf>| path.map(|path| Root::open(path, waker)).transpose();
        let roots = directories.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { roots, operations: Slab::new(), generation: 0, inline })
    }

    fn root(&mut self, directory: DataDirectory) -> &mut Root {
        self.roots[directory.index()].as_mut().expect("nothing is asked of a directory that is not open")
    }

    pub(super) fn submit(&mut self, request: Request, queue: &mut Queue, ready: &mut Ready) {
        let Request { directory, token, op } = request;
        let root = self.roots[directory.index()].as_mut().expect("nothing is asked of a directory that is not open");
        let work = match op {
            Op::Open { file, path, mode } => match CString::new(path.as_os_str().as_bytes()) {
                Ok(path) => Work::Open { file, path, mode, direct: mode.direct },
                Err(_) => {
                    let result = Err(Failure { errno: libc::EINVAL });
                    return ready.disk.push_back(Finished { directory, token, result });
                }
            },
            Op::Read { file, position, buffer } => Work::Read { file: root.opened(file), position, buffer, done: 0 },
            Op::Write { file, position, data, durability } => {
                let file = root.opened(file);
                let rw_flags = match durability {
                    Durability::Buffered => {
                        let inline = self.inline.as_mut().filter(|_| !file.direct);
                        if inline.is_some_and(|inline| inline.write(&file.file, position, &data)) {
                            let result = Ok(Done::Written { data });
                            return ready.disk.push_back(Finished { directory, token, result });
                        }
                        0
                    }
                    Durability::Synced => libc::RWF_DSYNC,
                };
                Work::Write { file, position, data, done: 0, rw_flags, vectors: Vec::new() }
            }
            Op::Sync { file } => Work::Sync { file: root.opened(file) },
            Op::Close { file } => {
                let open = root.open[file.0 as usize].take().expect("an open file is closed once");
                return self.help(directory, token, Job::Close(open.file));
            }
            Op::SyncAll => return self.help(directory, token, Job::SyncAll),
            Op::SyncDirectory { path } => {
                let job = Job::SyncDirectory(root.path.join(path));
                return self.help(directory, token, job);
            }
            Op::SetLength { file, length } => {
                let job = Job::SetLength(root.opened(file).file, length);
                return self.help(directory, token, job);
            }
            Op::CreateDirectory { path } => {
                let job = Job::CreateDirectory(root.path.join(path));
                return self.help(directory, token, job);
            }
            Op::RemoveFile { path } => {
                let job = Job::RemoveFile(root.path.join(path));
                return self.help(directory, token, job);
            }
            Op::RemoveDirectory { path } => {
                let job = Job::RemoveDirectory(root.path.join(path));
                return self.help(directory, token, job);
            }
            Op::Rename { from, to } => {
                let job = Job::Rename(root.path.join(from), root.path.join(to));
                return self.help(directory, token, job);
            }
            Op::MeasureVolume => return self.help(directory, token, Job::MeasureVolume),
        };
        let slot = self.insert(directory, token, work);
        self.start(slot, queue);
    }

    fn insert(&mut self, directory: DataDirectory, token: Token, work: Work) -> usize {
        self.generation = (self.generation + 1) & GENERATION_MASK;
        self.operations.insert(Operation { directory, token, generation: self.generation, retries: 0, work })
    }

    /// Gives the kernel the operation in `slot`, or what is left of it.
    fn start(&mut self, slot: usize, queue: &mut Queue) {
        let operation = &mut self.operations[slot];
        let key = Key::new(Kind::File, operation.generation, slot as u32);
        let entry = match &mut operation.work {
            Work::Open { path, mode, direct, .. } => {
                let root = self.roots[operation.directory.index()].as_ref().expect("looked up when it was submitted");
                opcode::OpenAt::new(types::Fd(root.root.as_raw_fd()), path.as_ptr())
                    .flags(open_flags(*mode, *direct))
                    .mode(0o644)
                    .build()
            }
            Work::Read { file, position, buffer, done } => {
                let rest = &mut buffer[*done..];
                opcode::Read::new(types::Fd(file.file.as_raw_fd()), rest.as_mut_ptr(), rest.len() as u32)
                    .offset(*position + *done as u64)
                    .build()
            }
            Work::Write { file, position, data, done, rw_flags, vectors } => {
                write_entry(file, *position, data, *done, *rw_flags, vectors)
            }
            Work::Sync { file } => {
                opcode::Fsync::new(types::Fd(file.file.as_raw_fd())).flags(types::FsyncFlags::DATASYNC).build()
            }
            Work::Helper => unreachable!("the helper's jobs do not go to the kernel"),
        };
        // SAFETY: path, buffer, slices and vectors live in the slab's operation until its completion is taken; they
        // are heap memory that does not move when the slab grows. The descriptors are held by it as well.
        unsafe { queue.push(entry, key) }
    }

    fn help(&mut self, directory: DataDirectory, token: Token, job: Job) {
        let slot = self.insert(directory, token, Work::Helper) as u32;
        let root = self.root(directory);
        root.waiting.push_back((slot, job));
        root.feed_helper();
    }

    /// Hands over what the helpers have finished.
    pub(super) fn helped(&mut self, each: Each<'_>) {
        let Self { roots, operations, .. } = self;
        for root in roots.iter_mut().flatten() {
            while let Some((slot, result)) = root.helper.finished() {
                root.helper_jobs -= 1;
                let Operation { directory, token, .. } = operations.remove(slot as usize);
                let result = result.map(|measured| measured.map_or(Done::Finished, Done::Measured));
                let result = result.map_err(|errno| Failure { errno });
                each(Completion::Disk(Finished { directory, token, result }));
            }
            root.feed_helper();
        }
    }

    pub(super) fn finished(&mut self, arrival: Arrival, queue: &mut Queue, each: Each<'_>) {
        let mut operation = self.operations.remove(arrival.key.index as usize);
        assert_eq!(operation.generation, arrival.key.generation, "a slot is reused after its last completion");
        let put_off = matches!(-arrival.result, libc::EINTR | libc::EAGAIN) && operation.retries < RETRIES_MAX;
        operation.retries += u8::from(put_off);
        let step = if put_off {
            Step::Again(operation.work)
        } else {
            step(self.root(operation.directory), operation.work, arrival.result)
        };
        match step {
            Step::Again(work) => {
                let slot = self.operations.insert(Operation { work, ..operation });
                self.start(slot, queue);
            }
            Step::Ended(result) => {
                let Operation { directory, token, .. } = operation;
                each(Completion::Disk(Finished { directory, token, result }));
            }
        }
    }
}

/// How an operation goes on in its directory after the kernel has answered.
fn step(root: &mut Root, work: Work, result: i32) -> Step {
    let failed = |errno| Step::Ended(Err(Failure { errno }));
    match work {
        // The file system knows no direct I/O.
        Work::Open { file, path, mode, direct: true } if result == -libc::EINVAL => {
            Step::Again(Work::Open { file, path, mode, direct: false })
        }
        _ if result < 0 => failed(-result),
        Work::Open { file, direct, .. } => match root.register(file, result, direct) {
            Ok(length) => Step::Ended(Ok(Done::Opened { length, direct })),
            Err(error) => failed(error.raw_os_error().unwrap_or(libc::EIO)),
        },
        Work::Read { file, position, buffer, done } => read_on(file, position, buffer, done, result as usize),
        Work::Write { file, position, data, done: before, rw_flags, vectors } => {
            let total: usize = data.iter().map(|slice| slice.len()).sum();
            let taken = before + result as usize;
            if taken == total {
                return Step::Ended(Ok(Done::Written { data }));
            }
            // A direct write can go on at a block only.
            let done = if file.direct { taken - taken % BLOCK_BYTES } else { taken };
            if done == before {
                return failed(libc::EIO);
            }
            Step::Again(Work::Write { file, position, data, done, rw_flags, vectors })
        }
        Work::Sync { .. } => Step::Ended(Ok(Done::Finished)),
        Work::Helper => unreachable!("the helper's jobs do not go to the kernel"),
    }
}

fn open_flags(mode: OpenMode, direct: bool) -> i32 {
    let access = if mode.write { libc::O_RDWR } else { libc::O_RDONLY };
    let create = if mode.create { libc::O_CREAT } else { 0 };
    let direct = if direct { libc::O_DIRECT } else { 0 };
    access | create | direct | libc::O_CLOEXEC
}

fn read_on(file: Open, position: u64, buffer: Buffer, done: usize, result: usize) -> Step {
    let length = done + result;
    // A direct read ends inside a block at the end of the file only, and could not go on from there.
    let at_end = result == 0 || (file.direct && !length.is_multiple_of(BLOCK_BYTES));
    if at_end || length == buffer.len() {
        return Step::Ended(Ok(Done::Read { buffer, length }));
    }
    Step::Again(Work::Read { file, position, buffer, done: length })
}

fn write_entry(
    file: &Open,
    position: u64,
    data: &[Slice],
    done: usize,
    rw_flags: i32,
    vectors: &mut Vec<libc::iovec>,
) -> squeue::Entry {
    let file = types::Fd(file.file.as_raw_fd());
    let position = position + done as u64;
    if let [only] = data {
        let rest = &only[done..];
        return opcode::Write::new(file, rest.as_ptr(), rest.len() as u32).offset(position).rw_flags(rw_flags).build();
    }
    vectors.clear();
    let mut skip = done;
    for slice in data {
        let skipped = skip.min(slice.len());
        skip -= skipped;
        if skipped < slice.len() && vectors.len() < VECTORS_MAX {
            let rest = &slice[skipped..];
            vectors.push(libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() });
        }
    }
    opcode::Writev::new(file, vectors.as_ptr(), vectors.len() as u32).offset(position).rw_flags(rw_flags).build()
}
