//! Compaction of a shard's logs: one log at a time, in small pieces between the shard's other work.
//!
//! ```text
//! segment closed, or deadline ─► due ─► job: build ─► filter ─► swap, per file written ─► clean offset
//!
//! files   00…0.log, 00…57.log ──filter──► 00…0.1.log, synced with its index and their names
//!           │                              │ swap: the log has the new segment from now on
//!           │                              ▼ the next round's record says so, durably
//!           └──────────────────────────► removed, after `file.delete.delay.ms`, when no read uses them
//! ```
//!
//! - What a job reads is closed and durable, and nobody changes it. The active segment is never compacted.
//! - A file keeps its name for good: which generation of a segment counts is what the checkpoint's record says. So any
//!   crash finds either the old files or the new one, whole. What it leaves of an unfinished job has the names that the
//!   next job will use, and is written over.
//! - The record lists the files it does not need any more, so that a start removes what a crash left of them.

mod filter;
mod job;
mod output;
mod reader;
mod schedule;
mod swap;

use std::collections::BTreeSet;

use super::Store;
use crate::buffer::Pool;
use crate::log::Slot;

pub(crate) use job::Piece;

use job::Job;

/// Memory for what is read and written, apart from the map of keys: a read, two writes, and the index of a file.
const BUFFER_BYTES_MAX: usize = 48 << 20;
/// Bytes of records that one turn works on at most: what comes for the shard meanwhile waits for so much.
const BYTES_PER_STEP_MAX: usize = 64 << 10;

/// What compaction may use. Names follow Kafka's `log.cleaner.…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `enable`.
    pub is_enabled: bool,
    /// `dedupe.buffer.size`: memory for the map of keys, taken only while there is work for it.
    pub dedupe_bytes: usize,
    /// `io.buffer.load.factor`, in thousandths: how full the map gets.
    pub load_permille: u32,
    /// `io.buffer.size`: bytes read or written at once.
    pub io_bytes: usize,
    /// `io.max.bytes.per.second`, of reads and writes together; none sets no bound.
    pub io_bytes_per_second: Option<u64>,
    /// `backoff.ms`: how long a log rests after a try that came to nothing.
    pub backoff_ms: u64,
}

impl Default for Settings {
    /// Apache Kafka's defaults.
    fn default() -> Self {
        Self {
            is_enabled: true,
            dedupe_bytes: 128 << 20,
            load_permille: 900,
            io_bytes: 512 << 10,
            io_bytes_per_second: None,
            backoff_ms: 15_000,
        }
    }
}

/// What compaction did since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Passes over a log that ended.
    pub passes: u64,
    /// Passes that were given up.
    pub failed: u64,
    /// Bytes of segments that were read.
    pub read_bytes: u64,
    /// Bytes of segments that were written.
    pub written_bytes: u64,
    /// Bytes of segments that were replaced by those written.
    pub replaced_bytes: u64,
    /// Records that were looked at by passes, and those of them that were dropped.
    pub records: u64,
    /// See `records`.
    pub dropped_records: u64,
}

/// All of a store's compaction.
#[derive(Debug)]
pub(super) struct Compaction {
    settings: Settings,
    buffers: Pool,
    /// What keys are hashed with.
    secret: [u64; 2],
    job: Option<Box<Job>>,
    /// Logs by the time compaction must look at them.
    due: BTreeSet<(u64, Slot)>,
    /// Logs with something to compact, by the share of it, in millionths.
    dirty: BTreeSet<(u32, Slot)>,
    /// Logs in which a damaged batch was met.
    uncleanable: u64,
    /// Until when the rate limit lets nothing be read or written.
    throttled_until_ns: u64,
    /// Whether the job could go on at once.
    is_ready: bool,
    counted: Counted,
}

impl Compaction {
    pub(super) fn new(settings: Settings, directory_id: [u8; 16], incarnation: u64) -> Self {
        let half = |at: usize| u64::from_le_bytes(*directory_id[at..].first_chunk().expect("16 bytes have two halves"));
        Self {
            settings,
            buffers: Pool::new(BUFFER_BYTES_MAX),
            secret: [half(0) ^ incarnation, half(8)],
            job: None,
            due: BTreeSet::new(),
            dirty: BTreeSet::new(),
            uncleanable: 0,
            throttled_until_ns: 0,
            is_ready: false,
            counted: Counted::default(),
        }
    }

    pub(super) fn counted(&self) -> Counted {
        self.counted
    }

    /// Memory of the map and of the buffers in use.
    pub(super) fn memory_bytes(&self) -> usize {
        self.buffers.used_bytes() + self.job.as_ref().map_or(0, |job| job.map_bytes())
    }

    /// The most of it.
    pub(super) fn memory_bytes_max(&self) -> usize {
        BUFFER_BYTES_MAX + self.settings.dedupe_bytes
    }

    /// The largest share of a log that waits to be compacted, in millionths.
    pub(super) fn dirtiest_millionths(&self) -> u32 {
        self.dirty.last().map_or(0, |&(share, _)| share)
    }

    /// Logs that compaction leaves alone because of damage.
    pub(super) fn uncleanable(&self) -> u64 {
        self.uncleanable
    }

    /// Whether no pass is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.job.is_none()
    }

    /// Whether a pass over the log is under way.
    pub(super) fn is_busy_with(&self, slot: Slot) -> bool {
        self.job.as_ref().is_some_and(|job| job.slot == slot)
    }

    /// Whether there is something to do that waits neither for the disk nor for the clock.
    pub(super) fn has_work(&self) -> bool {
        self.is_ready
    }

    /// Bytes were read or written: until when nothing more may be.
    fn throttle(&mut self, now_ns: u64, bytes: u64) {
        if let Some(rate) = self.settings.io_bytes_per_second {
            let cost_ns = u64::try_from(u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1)));
            self.throttled_until_ns = self.throttled_until_ns.max(now_ns).saturating_add(cost_ns.unwrap_or(u64::MAX));
        }
    }
}

impl Store {
    /// Changes what compaction may use; a pass under way goes on with the map it has.
    pub fn configure_compaction(&mut self, settings: Settings) {
        self.compaction.settings = settings;
    }

    /// When compaction has something to do by the clock.
    pub(super) fn compaction_deadline(&self) -> Option<u64> {
        let compaction = &self.compaction;
        if compaction.job.is_some() {
            let until = compaction.throttled_until_ns;
            return (until > self.now.monotonic_ns).then_some(until);
        }
        if !self.may_compact() {
            return None;
        }
        compaction.due.first().map(|&(at, _)| at)
    }

    /// Whether a job may begin at all.
    fn may_compact(&self) -> bool {
        self.compaction.settings.is_enabled && !self.is_stopping && !self.is_failed && !self.is_disk_full
    }

    /// One piece of compaction.
    pub(super) fn step_compaction(&mut self, budget: usize) {
        if self.compaction.job.is_none() {
            self.begin_due_job();
        }
        self.compaction.is_ready = false;
        let Some(mut job) = self.compaction.job.take() else { return };
        let mut left = budget.min(BYTES_PER_STEP_MAX);
        loop {
            match self.advance_job(&mut job, &mut left) {
                job::Turn::On if left > 0 => {}
                job::Turn::On => {
                    self.compaction.is_ready = true;
                    break;
                }
                job::Turn::Wait => break,
                job::Turn::End => {
                    self.end_job(*job);
                    // There may be another one.
                    self.compaction.is_ready = self.has_due_job();
                    return;
                }
            }
        }
        self.compaction.job = Some(job);
    }
}
