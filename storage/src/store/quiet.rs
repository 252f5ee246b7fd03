//! Tails that nobody appends to leave memory, without work for those that are empty already.
//!
//! ```text
//! append ─► watched ─► nothing appended for [`Options::quiet_ns`]: durable? ──yes──► released
//!              ▲                                                     │ no
//!              └── appended to meanwhile ◄── a round writes it whole, padded ──► released
//! ```
//!
//! A log is watched once, however often it is appended to, and looked at once in each quiet time. Looks are gathered, so
//! that few rounds serve many logs. A store that is quiet as a whole also gives the system the memory that its pools keep
//! for reuse.
//!
//! [`Options::quiet_ns`]: super::Options::quiet_ns

use std::collections::{BTreeSet, VecDeque};

use super::Store;
use crate::log::state::Log;
use crate::log::{LogId, Slot};

/// Logs looked at in one step.
const LOOKS_PER_STEP: usize = 256;
/// Quiet logs that one round takes: their directories, files and syncs are many for what they hold.
const LOGS_PER_ROUND: usize = 1024;
/// Looks wait for others for this part of the quiet time.
const GATHERING_PART: u64 = 2;
/// Regions given to the system in one step.
const TRIMMED_PER_STEP: usize = 256;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Quiet {
    interval_ns: u64,
    /// Logs whose tails have memory, and the times at which they may be quiet, ascending.
    watched: VecDeque<(u64, LogId)>,
    is_looking: bool,
    /// Quiet logs that a round is to take.
    waiting: BTreeSet<LogId>,
    /// When something was appended last.
    appended_ns: u64,
    is_trimming: bool,
}

impl Quiet {
    pub(super) fn new(interval_ns: u64) -> Self {
        let (watched, waiting) = Default::default();
        Self { interval_ns, watched, is_looking: false, waiting, appended_ns: 0, is_trimming: false }
    }

    /// Notes an append.
    pub(super) fn note(&mut self, log: &mut Log, now_ns: u64) {
        log.appended_ns = now_ns;
        self.appended_ns = now_ns;
        if !log.is_watched {
            self.watch(log, now_ns);
        }
    }

    /// Watches a log whose tails have memory.
    pub(super) fn watch(&mut self, log: &mut Log, now_ns: u64) {
        log.is_watched = true;
        self.watched.push_back((now_ns.saturating_add(self.interval_ns), log.id));
    }

    fn is_quiet(&self, log: &Log, now_ns: u64) -> bool {
        now_ns >= log.appended_ns.saturating_add(self.interval_ns)
    }

    /// Whether a round is to take quiet logs.
    pub(super) fn wants_round(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The quiet logs for a round that begins.
    pub(super) fn take(&mut self) -> BTreeSet<LogId> {
        let mut taken = std::mem::take(&mut self.waiting);
        if let Some(&rest) = taken.iter().nth(LOGS_PER_ROUND) {
            self.waiting = taken.split_off(&rest);
        }
        taken
    }

    /// The round that took them was given up.
    pub(super) fn put_back(&mut self, taken: BTreeSet<LogId>) {
        self.waiting.extend(taken);
    }

    /// When there is something to do by the clock.
    pub(super) fn next_at(&self) -> Option<u64> {
        if self.is_looking || self.is_trimming {
            return Some(0);
        }
        let &(at, _) = self.watched.front()?;
        Some(at.saturating_add(self.interval_ns / GATHERING_PART)).filter(|&at| at < u64::MAX)
    }
}

impl Store {
    /// Looks at watched logs, some in each step.
    pub(super) fn step_quiet(&mut self) {
        let now_ns = self.now.monotonic_ns;
        if self.quiet.next_at().is_none_or(|at| at > now_ns) {
            return;
        }
        if self.quiet.is_trimming {
            return self.trim_pools();
        }
        self.quiet.is_looking = true;
        for _ in 0..LOOKS_PER_STEP {
            let Some((_, id)) = self.quiet.watched.pop_front_if(|&mut (at, _)| at <= now_ns) else {
                self.quiet.is_looking = false;
                self.quiet.is_trimming = now_ns >= self.quiet.appended_ns.saturating_add(self.quiet.interval_ns);
                return;
            };
            if let Some(&slot) = self.by_id.get(&id) {
                self.look_at_log(slot);
            }
        }
    }

    fn look_at_log(&mut self, slot: Slot) {
        let (quiet, now_ns) = (&mut self.quiet, self.now.monotonic_ns);
        let log = self.logs[slot.index()].as_deref_mut().expect("a log with a slot is there");
        if log.config.is_kept_ready {
            log.is_watched = false;
        } else if !quiet.is_quiet(log, now_ns) {
            quiet.watch(log, now_ns);
        } else if log.tails.iter().all(|it| it.tail.is_durable()) {
            log.release_tails();
        } else {
            quiet.waiting.insert(log.id);
        }
    }

    /// A round has brought quiet logs to their segments.
    pub(super) fn release_quiet(&mut self, taken: BTreeSet<LogId>) {
        for id in taken {
            if let Some(&slot) = self.by_id.get(&id) {
                let (quiet, now_ns) = (&mut self.quiet, self.now.monotonic_ns);
                let log = self.logs[slot.index()].as_deref_mut().expect("a log with a slot is there");
                if quiet.is_quiet(log, now_ns) && log.tails.iter().all(|it| it.tail.is_durable()) {
                    log.release_tails();
                } else {
                    quiet.watch(log, now_ns);
                }
            }
        }
        self.quiet.is_trimming = self.now.monotonic_ns >= self.quiet.appended_ns.saturating_add(self.quiet.interval_ns);
    }

    /// Gives the system memory that the pools keep for reuse.
    fn trim_pools(&mut self) {
        let mut left = TRIMMED_PER_STEP;
        let staging = [&self.durable_journal, &self.cached_journal].map(|journal| journal.staging());
        for pool in [&self.tails, &self.buffers].into_iter().chain(staging) {
            left -= pool.trim(left);
        }
        self.quiet.is_trimming = left == 0;
    }
}
