//! One thread per shard and data directory for the file operations that io_uring has no op for, or would give to a thread as well.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{self, Receiver, Sender};
use replication::wake::Wake;
use storage::io::Volume;

use super::wake::Waker;

/// Jobs handed to the thread and not yet taken back; more wait in the driver. Bounds both channels, so that
/// neither side ever waits for room.
pub(super) const JOBS_MAX: usize = 64;

/// Enough for walking directories a few levels deep.
const STACK_BYTES: usize = 256 << 10;

/// What the thread is to do. Paths are complete.
#[derive(Debug)]
pub(super) enum Job {
    SyncAll,
    SyncDirectory(PathBuf),
    SetLength(Arc<File>, u64),
    CreateDirectory(PathBuf),
    RemoveFile(PathBuf),
    RemoveDirectory(PathBuf),
    Rename(PathBuf, PathBuf),
    MeasureVolume,
    /// The last close of a removed file frees its blocks, which can take long.
    Close(Arc<File>),
}

impl Job {
    /// Says the size of the file system where that was the job.
    fn carry_out(self, root: &File) -> io::Result<Option<Volume>> {
        let missing_is_fine = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        match self {
            Job::SyncAll => sync_file_system(root)?,
            Job::SyncDirectory(path) => File::open(path)?.sync_all()?,
            Job::SetLength(file, length) => file.set_len(length)?,
            Job::CreateDirectory(path) => fs::create_dir_all(path)?,
            Job::RemoveFile(path) => missing_is_fine(fs::remove_file(path))?,
            Job::RemoveDirectory(path) => missing_is_fine(fs::remove_dir_all(path))?,
            Job::Rename(from, to) => fs::rename(from, to)?,
            Job::MeasureVolume => return measure_volume(root).map(Some),
            Job::Close(file) => drop(file),
        }
        Ok(None)
    }
}

fn measure_volume(root: &File) -> io::Result<Volume> {
    let mut told = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the descriptor is open, and the pointer is to memory of the size that the call fills.
    if unsafe { libc::fstatvfs(root.as_raw_fd(), told.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a call that succeeded has filled all of it.
    let told = unsafe { told.assume_init() };
    let bytes = |blocks: libc::fsblkcnt_t| blocks.saturating_mul(told.f_frsize);
    Ok(Volume { total_bytes: bytes(told.f_blocks), usable_bytes: bytes(told.f_bavail) })
}

fn sync_file_system(root: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open, and no pointers are passed.
    if unsafe { libc::syncfs(root.as_raw_fd()) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A finished job: the slot of its operation, what it measured, and its error number if it failed.
pub(super) type Finished = (u32, Result<Option<Volume>, i32>);

/// The thread; ends when this is dropped.
pub(super) struct Helper {
    jobs: Option<Sender<(u32, Job)>>,
    finished: Receiver<Finished>,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    pub(super) fn spawn(root: Arc<File>, waker: Waker) -> io::Result<Self> {
        let (jobs, todo) = channel::bounded::<(u32, Job)>(JOBS_MAX);
        let (done, finished) = channel::bounded::<Finished>(JOBS_MAX);
        let work = move || {
            for (slot, job) in todo {
                let result = job.carry_out(&root).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO));
                if done.send((slot, result)).is_err() {
                    return;
                }
                waker.wake();
            }
        };
        let thread = std::thread::Builder::new().name("files".to_owned()).stack_size(STACK_BYTES).spawn(work)?;
        Ok(Self { jobs: Some(jobs), finished, thread: Some(thread) })
    }

    /// Hands over a job. The caller keeps at most [`JOBS_MAX`] in flight.
    pub(super) fn start(&self, slot: u32, job: Job) {
        let jobs = self.jobs.as_ref().expect("taken only by drop");
        jobs.try_send((slot, job)).expect("the channel has room for as many jobs as may be in flight");
    }

    /// The next finished job.
    pub(super) fn finished(&self) -> Option<Finished> {
        self.finished.try_recv().ok()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It panics on a bug only, which has been reported by then.
            let _ = thread.join();
        }
    }
}
