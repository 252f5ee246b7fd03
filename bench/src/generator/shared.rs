//! What the threads of a load share: the clock's origin, the window that is measured, and how far everything is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// What the threads are to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Write and read.
    Load,
    /// Write nothing new; wait for the answers and read on.
    Drain,
    /// End.
    Stop,
}

/// What one thread has done since it began.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Records acknowledged.
    pub(super) acknowledged: AtomicU64,
    /// Bytes of record batches acknowledged.
    pub(super) bytes: AtomicU64,
    /// Records read.
    pub(super) read: AtomicU64,
    /// Answers of any kind.
    pub(super) answers: AtomicU64,
    /// Produce requests without an answer.
    pub(super) awaited: AtomicU64,
    /// Whether it knows that nothing new is to be written: only then `awaited` can say that all is answered.
    pub(super) is_draining: AtomicBool,
}

/// Owned by the run, seen by every thread.
#[derive(Debug)]
pub(super) struct Shared {
    origin: Instant,
    /// When the measured window is to be opened, in ns since the origin.
    pub(super) planned_ns: u64,
    /// The measured window; it is empty until it is opened, and open until it is closed.
    start_ns: AtomicU64,
    end_ns: AtomicU64,
    draining: AtomicBool,
    stopping: AtomicBool,
    /// Of each thread.
    pub(super) progress: Vec<Progress>,
}

impl Shared {
    pub(super) fn new(origin: Instant, planned_ns: u64, threads: usize) -> Self {
        Self {
            origin,
            planned_ns,
            start_ns: AtomicU64::new(u64::MAX),
            end_ns: AtomicU64::new(u64::MAX),
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            progress: (0..threads).map(|_| Progress::default()).collect(),
        }
    }

    /// Now, in ns since the origin; 0 before it.
    pub(super) fn now_ns(&self) -> u64 {
        Instant::now().saturating_duration_since(self.origin).as_nanos() as u64
    }

    /// The measured window.
    pub(super) fn window(&self) -> std::ops::Range<u64> {
        self.start_ns.load(Ordering::Relaxed)..self.end_ns.load(Ordering::Relaxed)
    }

    /// Opens the window: when what was used until now has just been looked at.
    pub(super) fn open(&self, now_ns: u64) {
        self.start_ns.store(now_ns, Ordering::Relaxed);
    }

    /// Closes the window.
    pub(super) fn close(&self, now_ns: u64) {
        self.end_ns.store(now_ns, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        if self.stopping.load(Ordering::Acquire) {
            Phase::Stop
        } else if self.draining.load(Ordering::Acquire) {
            Phase::Drain
        } else {
            Phase::Load
        }
    }

    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether every thread knows that it is to drain.
    pub(super) fn all_drain(&self) -> bool {
        self.progress.iter().all(|progress| progress.is_draining.load(Ordering::Acquire))
    }

    /// The sum over all threads.
    pub(super) fn sum(&self, counter: impl Fn(&Progress) -> &AtomicU64) -> u64 {
        self.progress.iter().map(|progress| counter(progress).load(Ordering::Acquire)).sum()
    }
}
