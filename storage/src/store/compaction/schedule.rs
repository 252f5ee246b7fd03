//! When a log is compacted, by Kafka's rules.
//!
//! A log is looked at when a segment of it was closed, when its configuration changes, and at deadlines: when records
//! get old enough (`min.compaction.lag.ms`) or too old (`max.compaction.lag.ms`). One with nothing to compact has no
//! deadline and costs nothing.

use super::Store;
use crate::log::Slot;
use crate::log::state::Log;
use crate::segment::Segment;

/// How long a log rests of which something is not durable yet.
const REST_NS: u64 = 1_000_000_000;

/// Logs looked at in one step, most of which may need no more than a look.
const LOGS_PER_STEP_MAX: usize = 64;

/// What there is to do for a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// Segments from the first on, up to where the log may be compacted.
    pub(super) segments: usize,
    /// What is not compacted begins here.
    pub(super) dirty_from: i64,
    /// The share of bytes not compacted, in millionths, of those that may be.
    pub(super) dirty_millionths: u32,
    pub(super) when: When,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Nothing is to be done before something happens to the log.
    Never,
    /// Wall time, in ms.
    At(i64),
    Now,
    /// The active segment has records that are too old: it is to be closed.
    Roll,
}

impl Store {
    /// Notes when compaction must look at a log next.
    pub(in crate::store) fn schedule_compaction(&mut self, slot: Slot) {
        self.schedule_compaction_after(slot, 0);
    }

    pub(super) fn schedule_compaction_after(&mut self, slot: Slot, rest_ns: u64) {
        let now = self.now;
        let plan = plan(self.log(slot), now.wall_ms);
        let due = match plan.when {
            When::Never => None,
            When::Now | When::Roll => Some(now.monotonic_ns),
            When::At(at_ms) => {
                let wait_ms = u64::try_from(at_ms.saturating_sub(now.wall_ms)).unwrap_or(0);
                Some(now.monotonic_ns.saturating_add(wait_ms.saturating_mul(1_000_000)))
            }
        };
        let due = due.map(|at| at.max(now.monotonic_ns.saturating_add(rest_ns)));
        self.note_compaction(slot, due, plan.dirty_millionths);
    }

    /// The log is not to be looked at any more.
    pub(in crate::store) fn unschedule_compaction(&mut self, slot: Slot) {
        self.note_compaction(slot, None, 0);
    }

    fn note_compaction(&mut self, slot: Slot, due: Option<u64>, dirty_millionths: u32) {
        let log = self.logs[slot.index()].as_deref_mut().expect("the slot is in use");
        let before = std::mem::replace(&mut log.compacted.due_ns, due);
        if before != due {
            before.map(|at| self.compaction.due.remove(&(at, slot)));
            due.map(|at| self.compaction.due.insert((at, slot)));
        }
        let before = std::mem::replace(&mut log.compacted.dirty_millionths, dirty_millionths);
        if before != dirty_millionths {
            self.compaction.dirty.remove(&(before, slot));
            if dirty_millionths > 0 {
                self.compaction.dirty.insert((dirty_millionths, slot));
            }
        }
    }

    /// Whether a job could begin now.
    pub(super) fn has_due_job(&self) -> bool {
        self.may_compact() && self.compaction.due.first().is_some_and(|&(at, _)| at <= self.now.monotonic_ns)
    }

    /// Begins with the dirtiest of the logs that are due.
    pub(super) fn begin_due_job(&mut self) {
        let now_ns = self.now.monotonic_ns;
        for _ in 0..LOGS_PER_STEP_MAX {
            if !self.has_due_job() {
                return;
            }
            let is_due = |slot: &Slot| self.log(*slot).compacted.due_ns.is_some_and(|at| at <= now_ns);
            let dirtiest = self.compaction.dirty.iter().rev().map(|&(_, slot)| slot).find(is_due);
            let first = self.compaction.due.first().map(|&(_, slot)| slot);
            let slot = dirtiest.or(first).expect("one is due");
            let plan = plan(self.log(slot), self.now.wall_ms);
            match plan.when {
                When::Now => {
                    self.note_compaction(slot, None, plan.dirty_millionths);
                    self.begin_job(slot, plan);
                    return;
                }
                When::Roll => {
                    self.roll(slot);
                    self.schedule_compaction_after(slot, REST_NS);
                }
                // The wall clock was set back, or something is not durable yet.
                When::Never | When::At(_) => self.schedule_compaction_after(slot, REST_NS),
            }
        }
    }
}

/// The newest timestamp of a segment's records, by which its age counts.
fn newest_ms(segment: &Segment) -> i64 {
    if segment.max.timestamp >= 0 { segment.max.timestamp } else { segment.created_ms }
}

/// Whether the segment at `at` is closed, whole on disk, and never written again.
fn is_final(log: &Log, at: usize) -> bool {
    let segment = &log.segments[at];
    let Some(next) = log.segments.get(at + 1) else { return false };
    segment.is_closed && next.base_offset <= log.durable_end && log.tail_of(segment.base_offset).is_none()
}

fn plan(log: &Log, now_ms: i64) -> Plan {
    let dirty_from = log.compacted.clean_offset.max(log.start_offset);
    let idle = Plan { segments: 0, dirty_from, dirty_millionths: 0, when: When::Never };
    let may_compact = !log.compacted.is_uncleanable && log.is_attached && log.truncation.is_none();
    let Some(config) = log.config.compaction.filter(|_| may_compact) else {
        return idle;
    };
    let Some(from) = log.segment_at(dirty_from).or_else(|| (!log.segments.is_empty()).then_some(0)) else {
        return idle;
    };
    let lag_ms = i64::try_from(config.lag_ms_min).unwrap_or(i64::MAX);
    let (mut segments, mut dirty_bytes, mut ripens_at) = (from, 0, None);
    // A transaction that is open may still be aborted.
    let stable_end = log.last_stable_offset(log.durable_end);
    let is_stable = |at: usize| log.segments.get(at + 1).is_some_and(|next| next.base_offset <= stable_end);
    while is_final(log, segments) && is_stable(segments) {
        let segment = &log.segments[segments];
        if config.lag_ms_min > 0 && newest_ms(segment) > now_ms.saturating_sub(lag_ms) {
            ripens_at = Some(newest_ms(segment).saturating_add(lag_ms));
            break;
        }
        dirty_bytes += segment.bytes;
        segments += 1;
    }
    let clean_bytes: u64 = log.segments.iter().take(from).map(|segment| segment.bytes).sum();
    let share = u128::from(dirty_bytes) * 1_000_000 / u128::from((clean_bytes + dirty_bytes).max(1));
    let dirty_millionths = share as u32;
    // Where the ratio is 1, nothing could be larger.
    let is_worth_it = dirty_bytes > 0 && dirty_millionths > config.dirty_millionths_min.min(999_999);
    let too_old_at = config.lag_ms_max.and_then(|lag_ms| {
        let oldest = log.segments.iter().skip(from).find(|segment| segment.bytes > 0)?;
        let oldest = if oldest.first_timestamp >= 0 { oldest.first_timestamp } else { oldest.created_ms };
        Some(oldest.saturating_add(i64::try_from(lag_ms).unwrap_or(i64::MAX)))
    });
    let is_too_old = too_old_at.is_some_and(|at| at <= now_ms);
    let is_active_dirty = from + 1 == log.segments.len();
    let when = if is_worth_it || (is_too_old && dirty_bytes > 0) {
        When::Now
    } else if is_too_old && is_active_dirty && log.durable_end == log.end_offset {
        When::Roll
    } else if is_too_old && is_active_dirty {
        When::At(now_ms)
    } else {
        let too_old_at = too_old_at.filter(|_| !is_too_old);
        [too_old_at, ripens_at].into_iter().flatten().min().map_or(When::Never, When::At)
    };
    Plan { segments, dirty_from, dirty_millionths, when }
}
