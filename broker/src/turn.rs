//! One shard seen from its pump: a state machine that is told what happened and says what it wants.
//!
//! ```text
//! begin(now) ─► complete(…)* ─► mail(…)* ─► turn(now, ops, outbox) ─► Next
//! ```
//!
//! The pump drives a shard and the echo server of the benchmarks alike, and the simulator calls the same methods.

use crate::driver::{Completion, Ops};

/// The time of one turn: read once, before anything is handed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds on a clock that never goes back; its zero means nothing. The same clock for all shards.
    pub monotonic_ns: u64,
    /// Milliseconds since 1970 on the wall clock, which may jump either way.
    pub wall_ms: i64,
}

impl Now {
    /// The same time, as storage is told it.
    #[must_use]
    pub fn storage(self) -> storage::Now {
        storage::Now { monotonic_ns: self.monotonic_ns, wall_ms: self.wall_ms }
    }
}

/// What a shard wants after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another turn at once: there is work left that a turn's budget cut off.
    Busy,
    /// A turn when something has come in, or at the deadline.
    Idle {
        /// The earliest monotonic time at which there is something to do.
        deadline_ns: Option<u64>,
    },
    /// The end of the process, at once: the node cannot go on, for a reason that was logged.
    Halt,
    /// Nothing any more: what was in flight has ended. It is still given turns until every shard has said so, and
    /// may be sent mail; it repeats this answer.
    Stop,
}

/// A state machine that runs to completion once per turn and does no I/O.
pub trait Turn {
    /// What shards send each other.
    type Mail: Send + 'static;

    /// A turn begins at `now`.
    fn begin(&mut self, now: Now);

    /// An operation ended or something came in. Borrowed bytes do not outlive the call.
    fn complete(&mut self, completion: Completion<'_>);

    /// Mail from the shard number `from`.
    fn mail(&mut self, from: usize, mail: Self::Mail);

    /// Whether [`Self::spent`] is to be called after each turn.
    fn wants_time_spent(&self) -> bool {
        false
    }

    /// The turn that has just ended took this long, its operations and mail included.
    fn spent(&mut self, busy_ns: u64) {
        let _ = busy_ns;
    }

    /// The node is to stop: called once. What is in flight is brought to its end, then turns answer [`Next::Stop`].
    fn stop(&mut self);

    /// Does what there is to do. Operations go to `ops`, mail with its receiver's number to `outbox`; both arrive
    /// empty.
    fn turn(&mut self, now: Now, ops: &mut Ops, outbox: &mut Vec<(usize, Self::Mail)>) -> Next;
}
