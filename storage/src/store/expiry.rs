//! Idle producers are forgotten (`producer.id.expiration.ms`).
//!
//! Logs stand in an order of due times, as for retention: one has a due time only while it knows producers, and it is
//! that of the producer that was idle longest when the time before was due. So an idle log is looked at once for each
//! time that its producers expire, and then no more.

use super::Store;
use crate::log::Slot;
use crate::log::state::Log;

/// Logs looked at in one step.
const LOGS_PER_STEP_MAX: usize = 64;
/// How long a log rests at least between two looks.
const REST_NS: u64 = 60_000_000_000;

fn expiration_ms(log: &Log) -> i64 {
    i64::try_from(log.config.producer_id_expiration_ms).unwrap_or(i64::MAX)
}

impl Store {
    /// Forgets the log's idle producers, but for those with an open transaction.
    pub(super) fn expire_producers(&mut self, slot: Slot) {
        let now_ms = self.now.wall_ms;
        let log = self.log_mut(slot);
        let transactions = log.transactions.as_deref();
        let is_open = |id| transactions.is_some_and(|it| it.open_of(id).is_some());
        let expiration_ms = expiration_ms(log);
        log.producers.expire(now_ms, expiration_ms, is_open);
    }

    /// Notes when the first of the log's producers expires.
    pub(super) fn schedule_expiry(&mut self, slot: Slot) {
        self.schedule_expiry_after(slot, 0);
    }

    fn schedule_expiry_after(&mut self, slot: Slot, rest_ns: u64) {
        let now = self.now;
        let log = self.log(slot);
        let due = log.producers.idlest_ms().map(|last_ms| {
            let at_ms = last_ms.saturating_add(expiration_ms(log));
            let wait_ms = u64::try_from(at_ms.saturating_sub(now.wall_ms)).unwrap_or(0);
            let at_ns = now.monotonic_ns.saturating_add(wait_ms.saturating_mul(1_000_000));
            let at_ns = at_ns.checked_next_multiple_of(self.options.expiry_interval_ns).unwrap_or(u64::MAX);
            at_ns.max(now.monotonic_ns.saturating_add(rest_ns))
        });
        self.note_expiry(slot, due);
    }

    /// The log is not to be looked at any more.
    pub(super) fn unschedule_expiry(&mut self, slot: Slot) {
        self.note_expiry(slot, None);
    }

    fn note_expiry(&mut self, slot: Slot, due: Option<u64>) {
        let before = std::mem::replace(&mut self.log_mut(slot).expiry_due_ns, due);
        if before != due {
            before.map(|at| self.expiries.remove(&(at, slot)));
            due.map(|at| self.expiries.insert((at, slot)));
        }
    }

    pub(super) fn run_due_expiries(&mut self) {
        for _ in 0..LOGS_PER_STEP_MAX {
            let first = self.expiries.first().filter(|(at, _)| *at <= self.now.monotonic_ns);
            let Some(&(_, slot)) = first else { break };
            self.expire_producers(slot);
            // Those with open transactions stay, and a clock that was set back keeps others.
            self.schedule_expiry_after(slot, REST_NS);
        }
    }
}
