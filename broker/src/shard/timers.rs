//! What a shard does at a later time.
//!
//! Deadlines are monotonic, in nanoseconds, and fire in order of time, then of arming. A timer is not taken back: what
//! it names is looked up when it fires, and is gone or renewed by then. So arming costs one insertion, and nothing
//! happens periodically.

use std::collections::BTreeSet;

use net::ops::{ConnectionId, ListenerId};

use super::pending::Key;

/// What fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A parked fetch has waited long enough.
    Fetch(Key),
    /// A fetch found the store too busy to read for it.
    FetchAgain(Key),
    /// A request to the owners of partitions has waited long enough.
    PartitionRequest(Key),
    /// Look whether this connection is idle.
    Idle {
        /// The connection.
        connection: ConnectionId,
        /// Which of the connections that had this number.
        generation: u32,
    },
    /// Look for produce requests whose time is over.
    ProduceTimeouts,
    /// Look for offsets that have expired.
    OffsetExpiry,
    /// Try to accept again.
    Accept(ListenerId),
    /// Producers have waited for room long enough.
    Stall,
    /// A connection was muted until now.
    Unmute {
        /// The connection.
        connection: ConnectionId,
        /// Which of the connections that had this number.
        generation: u32,
    },
    /// Tell the other shards what clients with quotas have used.
    QuotaReport,
    /// Connections or readers wait for memory.
    Memory,
    /// A connection was kept out long enough to be closed.
    KeptOut,
}

/// Timers by deadline.
#[derive(Debug, Default)]
pub struct Timers {
    due: BTreeSet<(u64, u64, Timer)>,
    armed: u64,
}

impl Timers {
    /// Fires `timer` at `deadline_ns`.
    pub fn arm(&mut self, deadline_ns: u64, timer: Timer) {
        self.armed += 1;
        self.due.insert((deadline_ns, self.armed, timer));
    }

    /// The next timer that is due at `now_ns`.
    pub fn pop_due(&mut self, now_ns: u64) -> Option<Timer> {
        let &(deadline_ns, ..) = self.due.first()?;
        if deadline_ns > now_ns {
            return None;
        }
        self.due.pop_first().map(|(.., timer)| timer)
    }

    /// When the next one is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.due.first().map(|&(deadline_ns, ..)| deadline_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_of_time_then_of_arming() {
        let mut timers = Timers::default();
        timers.arm(20, Timer::Stall);
        timers.arm(10, Timer::ProduceTimeouts);
        timers.arm(10, Timer::Accept(ListenerId(0)));
        assert_eq!(timers.pop_due(9), None);
        assert_eq!(timers.pop_due(10), Some(Timer::ProduceTimeouts));
        assert_eq!(timers.pop_due(10), Some(Timer::Accept(ListenerId(0))));
        assert_eq!(timers.pop_due(10), None);
        assert_eq!(timers.next_deadline(), Some(20));
    }
}
