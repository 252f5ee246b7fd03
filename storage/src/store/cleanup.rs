//! Retention, deletion, and the removal of files.
//!
//! Logs stand in an order of due times: one that is idle costs nothing until its oldest segment expires.

use std::path::PathBuf;
use std::sync::Arc;

use super::files::FileKey;
use super::purpose::Purpose;
use super::{Event, Store};
use crate::checkpoint::record::GenerationV1;
use crate::io::Op;
use crate::journal::format::Body;
use crate::log::state::Log;
use crate::log::{LogId, Now, Slot};
use crate::mutation::{self, Mutation};
use crate::segment::log_directory;

/// Removals started in one step.
const REMOVALS_PER_STEP_MAX: usize = 8;
/// Logs that retention looks at in one step.
const LOGS_PER_STEP_MAX: usize = 64;
/// Segments that retention removes in one step.
const SEGMENTS_PER_STEP_MAX: usize = 64;
/// Logs whose deadlines are reckoned anew in one step, after the wall clock jumped.
const RESCHEDULED_PER_STEP_MAX: usize = 1024;
/// By how much the wall clock and the monotonic one may part before deadlines are reckoned anew, in ms.
const JUMP_MS_MIN: u64 = 5_000;
/// How long something that could not be done yet rests.
const REST_NS: u64 = 1_000_000_000;

/// Files to remove when their time has come.
#[derive(Debug)]
pub(super) struct Removal {
    log: LogId,
    what: What,
}

#[derive(Debug)]
enum What {
    Segment {
        base_offset: i64,
        generation: u32,
        directory: Arc<str>,
    },
    /// A deleted log; goes only after its end is durable in the durable journal, whatever the log's durability: a power
    /// cut that took the entry and not the removal would leave a log without its files.
    Log {
        directory: PathBuf,
        after: u64,
    },
}

impl Store {
    /// Forgets the log; its files are removed in the background, also after a crash. The slot may be used again.
    pub fn delete(&mut self, slot: Slot, now: Now) {
        self.now = now;
        self.fail_deferred(slot);
        self.fail_fetches_of(slot);
        self.log_mut(slot).held.clear();
        self.unschedule_compaction(slot);
        self.unschedule_expiry(slot);
        self.push_durably(slot, Body::Delete);
        let log = self.logs[slot.index()].take().expect("a slot is used between attach and delete");
        self.by_id.remove(&log.id);
        self.free.push(slot);
        if let Some(due) = log.due_ns {
            self.due.remove(&(due, slot));
        }
        let after = self.durable_journal.pushed();
        let directory = log_directory(&log.directory);
        let due_ns = now.monotonic_ns + log.config.file_delete_delay_ms.saturating_mul(1_000_000);
        self.remove_later(due_ns, Removal { log: log.id, what: What::Log { directory, after } });
        self.rounds.note_deleted(&log);
        self.damages.forget_segments(log.id, |_| true);
    }

    /// Notes when retention must look at a log next.
    pub(super) fn schedule_retention(&mut self, slot: Slot) {
        self.schedule_retention_after(slot, 0);
    }

    fn schedule_retention_after(&mut self, slot: Slot, rest_ns: u64) {
        let now = self.now;
        let log = self.log(slot);
        let due = expiry_ms(log).map(|at_ms| {
            let wait_ms = u64::try_from(at_ms.saturating_sub(now.wall_ms)).unwrap_or(0);
            let at_ns = now.monotonic_ns.saturating_add(wait_ms.saturating_mul(1_000_000));
            at_ns.checked_next_multiple_of(self.options.expiry_interval_ns).unwrap_or(u64::MAX)
        });
        let due = if is_too_large(log) { Some(now.monotonic_ns) } else { due };
        let due = due.map(|at| at.max(now.monotonic_ns + rest_ns));
        let before = std::mem::replace(&mut self.log_mut(slot).due_ns, due);
        if before == due {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, slot));
        }
        if let Some(due) = due {
            self.due.insert((due, slot));
        }
    }

    pub(super) fn run_due_retention(&mut self) {
        let mut segments_left = SEGMENTS_PER_STEP_MAX;
        for _ in 0..LOGS_PER_STEP_MAX {
            let Some(&(at, slot)) = self.due.first() else { break };
            if at > self.now.monotonic_ns || self.is_failed || segments_left == 0 {
                break;
            }
            self.due.pop_first();
            self.log_mut(slot).due_ns = None;
            if self.apply_retention(slot, &mut segments_left) {
                let now_ns = self.now.monotonic_ns;
                self.log_mut(slot).due_ns = Some(now_ns);
                self.due.insert((now_ns, slot));
            } else {
                // What is expired and not durable yet is still due.
                self.schedule_retention_after(slot, REST_NS);
            }
        }
    }

    /// Records expire by the wall clock, and deadlines are by the monotonic one: where the two part, the deadlines are
    /// reckoned anew, some in each step.
    pub(super) fn follow_wall_clock(&mut self) {
        let apart_ms = self.now.wall_ms.saturating_sub_unsigned(self.now.monotonic_ns / 1_000_000);
        if self.clocks_apart_ms.is_none_or(|before| before.abs_diff(apart_ms) >= JUMP_MS_MIN) {
            // Nothing was scheduled before the first step but by the same time.
            self.reschedule_next = self.clocks_apart_ms.map(|_| 0);
            self.clocks_apart_ms = Some(apart_ms);
        }
        let Some(first) = self.reschedule_next else { return };
        let end = self.logs.len().min(first + RESCHEDULED_PER_STEP_MAX);
        for at in first..end {
            let slot = Slot::new(self.identity.directory, at);
            if self.logs[at].as_ref().is_some_and(|log| log.is_attached) {
                self.schedule_retention(slot);
                self.schedule_expiry(slot);
                self.schedule_compaction(slot);
            }
        }
        self.reschedule_next = (end < self.logs.len()).then_some(end);
    }

    /// Whether deadlines remain to be reckoned anew.
    pub(super) fn is_rescheduling(&self) -> bool {
        self.reschedule_next.is_some()
    }

    /// Removes whole segments by time and size. Only what is durable goes; the active segment is closed first
    /// if all of it is expired, as Kafka does. At most `segments_left` go; whether more may follow at once.
    fn apply_retention(&mut self, slot: Slot, segments_left: &mut usize) -> bool {
        let now_ms = self.now.wall_ms;
        let log = self.log(slot);
        if log.truncation.is_some() {
            return false;
        }
        let mut start = log.start_offset;
        let mut size = log.size_bytes();
        let count = log.segments.len();
        for at in 0..count.min(*segments_left) {
            let segment = &log.segments[at];
            let next = log.segments.get(at + 1).map_or(log.end_offset, |next| next.base_offset);
            let is_expired = segment_expiry_ms(log, at).is_some_and(|expiry| expiry <= now_ms);
            // By size the active segment stays.
            let is_surplus =
                at + 1 < count && log.config.retention_bytes.is_some_and(|max| size - segment.bytes >= max);
            if !(log.config.delete_expired && (is_expired || is_surplus))
                || next > log.durable_end
                || segment.bytes == 0
            {
                break;
            }
            size -= segment.bytes;
            start = start.max(next);
            *segments_left -= 1;
        }
        if start > log.start_offset {
            let takes_active = start == log.end_offset;
            if takes_active {
                self.roll(slot);
            }
            let log = self.log_mut(slot);
            log.start_offset = start;
            log.epochs.truncate_from_start(start);
            self.journal(slot, Body::LogStart { start_offset: start });
            self.push(Event::StartMoved { slot, start_offset: start });
            self.drop_segments_below_start(slot);
        }
        *segments_left == 0
    }

    /// Forgets closed segments that end at or before the log's start. Their files are removed once a checkpoint's record
    /// does without them: until then a start would look for them.
    pub(super) fn drop_segments_below_start(&mut self, slot: Slot) {
        let log = self.logs[slot.index()].as_deref_mut().expect("the slot is in use");
        while log.segments.len() > 1 && log.segments[1].base_offset <= log.start_offset {
            let segment = log.segments.pop_front().expect("there are two");
            let (base_offset, generation) = (segment.base_offset, segment.generation);
            log.tails.retain(|it| it.base_offset != base_offset);
            if let Some(transactions) = &mut log.transactions {
                transactions.remove(base_offset);
            }
            self.damages.forget_segments(log.id, |its| its == base_offset);
            log.compacted.leave(GenerationV1 { base_offset, generation });
            if log.config.compaction.is_some() {
                // What a crash left of a pass that was to replace it.
                log.compacted.leave(GenerationV1 { base_offset, generation: generation + 1 });
            }
            self.rounds.note_rolled(slot);
        }
    }

    /// Has a log's files from a base offset on removed by nobody: a truncation does it now.
    pub(super) fn take_over_removals(&mut self, log: LogId, base_min: i64) {
        self.removals.retain(|_, removal| match removal.what {
            What::Segment { base_offset, .. } => removal.log != log || base_offset < base_min,
            What::Log { .. } => true,
        });
    }

    fn remove_later(&mut self, due_ns: u64, removal: Removal) {
        self.next_removal += 1;
        self.removals.insert((due_ns, self.next_removal), removal);
    }

    /// Removes the files of a segment that compaction replaced, when their time has come.
    pub(super) fn remove_replaced(&mut self, slot: Slot, files: GenerationV1) {
        let log = self.log(slot);
        let due_ns = self.now.monotonic_ns + log.config.file_delete_delay_ms.saturating_mul(1_000_000);
        let GenerationV1 { base_offset, generation } = files;
        let directory = Arc::clone(&log.directory);
        let what = What::Segment { base_offset, generation, directory };
        self.remove_later(due_ns, Removal { log: self.log(slot).id, what });
    }

    /// Removes files whose time has come and that nothing uses.
    pub(super) fn run_removals(&mut self) {
        if !self.may_remove() || self.removals.is_empty() {
            return;
        }
        for _ in 0..REMOVALS_PER_STEP_MAX {
            let Some(first) = self.removals.first_entry().filter(|it| it.key().0 <= self.now.monotonic_ns) else {
                break;
            };
            let removal = first.remove();
            if !self.start_removal(&removal) {
                self.remove_later(self.now.monotonic_ns + REST_NS, removal);
            }
        }
    }

    /// Whether files may be removed: a round may be writing to them, or a directory be in the making.
    pub(super) fn may_remove(&self) -> bool {
        !self.rounds.is_active() && !self.large.is_naming()
    }

    fn start_removal(&mut self, removal: &Removal) -> bool {
        let id = removal.log;
        match &removal.what {
            What::Segment { base_offset, generation, directory } => {
                let (base_offset, generation) = (*base_offset, *generation);
                let files = GenerationV1 { base_offset, generation };
                let keys = files.keys(id);
                if self.files.is_busy(|key| keys.contains(&key)) {
                    return false;
                }
                self.files.close_all(|key| keys.contains(&key));
                for path in files.paths(directory) {
                    self.files.request_name(Op::RemoveFile { path }, Purpose::Removal);
                }
                self.forget_obsolete(id, files);
            }
            What::Log { directory, after } => {
                let is_of_log = |key: FileKey| key.log() == Some(id);
                let is_said =
                    self.durable_journal.durable_before() >= *after || mutation::is(Mutation::RemoveBeforeDelete);
                if !is_said || self.files.is_busy(is_of_log) {
                    return false;
                }
                self.files.close_all(is_of_log);
                self.files.request_name(Op::RemoveDirectory { path: directory.clone() }, Purpose::Removal);
            }
        }
        true
    }

    pub(super) fn removed(&mut self) {
        // There is room again: whatever was refused is tried at once.
        if self.is_disk_full {
            self.retry_at = Some(self.now.monotonic_ns);
        }
    }
}

/// When the log's oldest segment expires, in wall time.
fn expiry_ms(log: &Log) -> Option<i64> {
    segment_expiry_ms(log, 0)
}

fn segment_expiry_ms(log: &Log, at: usize) -> Option<i64> {
    let segment = log.segments.get(at).filter(|segment| segment.bytes > 0 && log.config.delete_expired)?;
    let newest = if segment.max.timestamp >= 0 { segment.max.timestamp } else { segment.created_ms };
    Some(newest.saturating_add(i64::try_from(log.config.retention_ms?).unwrap_or(i64::MAX)).saturating_add(1))
}

fn is_too_large(log: &Log) -> bool {
    let Some(max) = log.config.retention_bytes.filter(|_| log.config.delete_expired && log.segments.len() > 1) else {
        return false;
    };
    log.size_bytes() - log.segments[0].bytes >= max && log.segments[1].base_offset <= log.durable_end
}
