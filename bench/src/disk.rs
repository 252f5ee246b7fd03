//! The disk by itself: how long a sync takes, and how fast it takes and gives bytes. What no broker can be better than.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::error::Error;

/// What a direct write is a multiple of.
const BLOCK_BYTES: usize = 4096;

/// Bytes of a read or a write that shows bandwidth.
const LARGE_BYTES: usize = 1 << 20;

/// Bytes of the probe's file: more than what a device keeps at hand.
const FILE_BYTES: u64 = 256 << 20;

/// Bytes of files that are small enough to stay in the page cache.
const CACHED_BYTES_MIN: u64 = 1 << 20;

const _: () = assert!(FILE_BYTES.is_multiple_of(LARGE_BYTES as u64) && LARGE_BYTES.is_multiple_of(BLOCK_BYTES));

#[repr(align(4096))]
struct Large([u8; LARGE_BYTES]);

/// Bytes that begin at a block's boundary.
fn aligned() -> Box<Large> {
    Box::new(Large([0xA5; LARGE_BYTES]))
}

/// What large requests do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Overwrite blocks that were written before; each write is on the device when it returns.
    Write,
    /// Read them, past the page cache.
    Read,
}

/// A file whose blocks were all written: what is written there again needs nothing of the file system.
#[derive(Debug)]
pub struct Probe {
    path: PathBuf,
    file: File,
}

impl Probe {
    /// Makes the file in the directory.
    ///
    /// # Errors
    /// If the file system refuses direct writes.
    pub fn new(directory: &Path) -> Result<Self, Error> {
        let path = directory.join("probe");
        let make = || {
            let large = aligned();
            let mut fill = OpenOptions::new();
            fill.write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT);
            let file = fill.open(&path)?;
            for position in (0..FILE_BYTES).step_by(LARGE_BYTES) {
                file.write_all_at(&large.0, position)?;
            }
            file.sync_all()?;
            // A direct write to a file opened with O_DSYNC is what the journal's write with RWF_DSYNC is.
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT | libc::O_DSYNC).open(&path)
        };
        let file = make().map_err(Error::system("write a file directly to the disk"))?;
        Ok(Self { path, file })
    }

    /// Reads or overwrites the file from its start to its end, again and again for so long, 1 MiB at a time, so many
    /// at once; gives back MiB a second.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn bandwidth(&self, direction: Direction, at_once: usize, duration: Duration) -> Result<f64, Error> {
        let (next, start) = (AtomicU64::new(0), Instant::now());
        let work = || {
            let mut large = aligned();
            while start.elapsed() < duration {
                let position = next.fetch_add(LARGE_BYTES as u64, Ordering::Relaxed) % FILE_BYTES;
                match direction {
                    Direction::Write => self.file.write_all_at(&large.0, position)?,
                    Direction::Read => self.file.read_exact_at(&mut large.0, position)?,
                }
            }
            Ok(())
        };
        let done: std::io::Result<()> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("it only reads or writes"))
        });
        done.map_err(Error::system("use the disk"))?;
        Ok(next.into_inner() as f64 / f64::from(1 << 20) / start.elapsed().as_secs_f64())
    }

    /// Overwrites 4 KiB at a time for so long, at this rate; gives back how long each took, in ns.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sync(&self, per_second: f64, duration: Duration) -> Result<Histogram<u64>, Error> {
        let large = aligned();
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("possible bounds");
        let start = Instant::now();
        for number in 0..(duration.as_secs_f64() * per_second) as u64 {
            let due = start + Duration::from_secs_f64(number as f64 / per_second);
            // Spinning would keep the kernel's own threads, which carry the write, from a CPU.
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let before = Instant::now();
            let position = number * BLOCK_BYTES as u64 % FILE_BYTES;
            self.file.write_all_at(&large.0[..BLOCK_BYTES], position).map_err(Error::system("write to the disk"))?;
            histogram.saturating_record(before.elapsed().as_nanos() as u64);
        }
        Ok(histogram)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // What is left is in a directory that its owner removes.
        let _ = fs::remove_file(&self.path);
    }
}

/// Has the kernel forget what it keeps in memory of the files below a directory. What is not written yet stays.
///
/// # Errors
/// If the program `dd` is not there.
pub fn drop_cached(directory: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(directory).map_err(Error::system(format!("read {}", directory.display())))?;
    // A file may be removed meanwhile.
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            drop_cached(&entry.path())?;
        } else if metadata.len() >= CACHED_BYTES_MIN {
            let mut of = std::ffi::OsString::from("if=");
            of.push(entry.path());
            let dd = Command::new("dd").arg(of).args(["iflag=nocache", "count=0", "status=none"]).status();
            dd.map_err(Error::system("run dd"))?;
        }
    }
    Ok(())
}
