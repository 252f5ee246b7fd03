//! The deadlines of one coordinator, in order: what is not due costs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What happens at a deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    /// A member, joined or pending, may have been silent for too long.
    Member {
        /// Its group.
        group: Arc<str>,
        /// Its id.
        member: Arc<str>,
    },
    /// The members of this group had the time they may take to join.
    Join(Arc<str>),
    /// The members of this group had the time they may take to ask for their assignment.
    Sync(Arc<str>),
}

/// An entry of [`Timers`]: its deadline and a number that tells equal deadlines apart, in the order they were set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimerId {
    deadline_ms: u64,
    number: u64,
}

impl TimerId {
    /// When it is due, in monotonic milliseconds.
    pub(super) fn deadline_ms(self) -> u64 {
        self.deadline_ms
    }
}

/// Deadlines in order.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeMap<TimerId, Due>,
    set_count: u64,
}

impl Timers {
    pub(super) fn set(&mut self, deadline_ms: u64, due: Due) -> TimerId {
        let id = TimerId { deadline_ms, number: self.set_count };
        self.set_count += 1;
        let earlier = self.queue.insert(id, due);
        assert!(earlier.is_none(), "timer numbers are unique");
        id
    }

    /// Takes the entry out; it must not have fired.
    pub(super) fn cancel(&mut self, id: TimerId) {
        let due = self.queue.remove(&id);
        assert!(due.is_some(), "a timer is cancelled by its owner, once, before it fires");
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.queue.first_key_value().map(|(id, _)| id.deadline_ms)
    }

    /// The first entry whose deadline has come.
    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<(TimerId, Due)> {
        let first = self.queue.first_entry()?;
        if first.key().deadline_ms > now_ms {
            return None;
        }
        Some(first.remove_entry())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(group: &str) -> Due {
        Due::Join(Arc::from(group))
    }

    #[test]
    fn fires_in_order_of_deadline_then_of_setting() {
        let mut timers = Timers::default();
        timers.set(20, join("late"));
        timers.set(10, join("first"));
        timers.set(10, join("second"));
        assert_eq!(timers.next_deadline(), Some(10));
        assert_eq!(timers.pop_due(9), None);
        let fired: Vec<Due> = std::iter::from_fn(|| timers.pop_due(20).map(|(_, due)| due)).collect();
        assert_eq!(fired, [join("first"), join("second"), join("late")]);
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn cancelled_does_not_fire() {
        let mut timers = Timers::default();
        let id = timers.set(10, join("a"));
        timers.cancel(id);
        assert_eq!(timers.pop_due(100), None);
    }
}
