//! Whose turn it is to read: as many reads as the device should have at once, in the order they came. Who finds no memory
//! waits, too.
//!
//! ```text
//! a read ─► others wait? a place free? memory? ──yes──► in flight ─► done: the next one's turn
//!                │ no
//!                ▼
//!             waits, for [`WAIT_NS_MAX`] at the most
//! ```
//!
//! That memory comes back cannot be promised: clients that do not take their answers hold it. So every wait ends.

use std::collections::VecDeque;

use crate::buffer::Buffer;
use crate::store::Store;

/// Reads of segments in flight at once: enough to keep a device busy, few enough that a journal's write behind them does
/// not wait long.
const IN_FLIGHT_MAX: usize = 8;
/// Reads ahead leave so many of these to those that somebody waits for.
const IN_FLIGHT_RESERVED: usize = 2;
/// The longest wait, in nanoseconds.
const WAIT_NS_MAX: u64 = 5_000_000_000;
/// How soon memory is asked for again, in nanoseconds: other shards give it back without telling.
const RETRY_NS: u64 = 2_000_000;

/// Reads that wait, and those in flight.
#[derive(Debug, Default)]
pub(super) struct Queue {
    in_flight: usize,
    /// With the time at which they give up.
    waiting: VecDeque<(u64, u64)>,
    /// The read whose turn it is.
    turn: Option<u64>,
    retry_at: u64,
}

impl Queue {
    pub(super) fn begin(&mut self) {
        self.in_flight += 1;
    }

    pub(super) fn end(&mut self) {
        self.in_flight -= 1;
    }

    /// Whether a read ahead would keep nobody waiting.
    pub(super) fn has_room_ahead(&self) -> bool {
        self.waiting.is_empty() && self.in_flight + IN_FLIGHT_RESERVED < IN_FLIGHT_MAX
    }

    /// When the next one may go on, or gives up.
    pub(super) fn next_at(&self) -> Option<u64> {
        // While reads are in flight up to the limit, the end of one is waited for, and not a time.
        let retry_at = if self.in_flight < IN_FLIGHT_MAX { self.retry_at } else { u64::MAX };
        self.waiting.front().map(|&(_, until)| until.min(retry_at))
    }

    /// Reads that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

impl Store {
    /// Memory for a read of `bytes` whose turn it is; else the read waits, and is advanced again when it is.
    pub(super) fn take_turn(&mut self, number: u64, bytes: usize) -> Option<Buffer> {
        let queue = &mut self.fetches.queue;
        let is_first = queue.turn == Some(number);
        if is_first || (queue.waiting.is_empty() && queue.in_flight < IN_FLIGHT_MAX) {
            if let Some(buffer) = self.allocate(bytes) {
                self.fetches.queue.turn = None;
                return Some(buffer);
            }
            self.fetches.queue.retry_at = self.now.monotonic_ns + RETRY_NS;
        }
        let queue = &mut self.fetches.queue;
        if !is_first {
            queue.waiting.push_back((number, self.now.monotonic_ns + WAIT_NS_MAX));
        }
        None
    }

    /// Lets reads go on whose turn has come, and ends those that have waited too long.
    pub(in crate::store) fn resume_fetches(&mut self) {
        while let Some(&(number, until)) = self.fetches.queue.waiting.front() {
            if !self.fetches.tasks.contains_key(&number) {
                self.fetches.queue.waiting.pop_front();
            } else if until <= self.now.monotonic_ns {
                self.fetches.queue.waiting.pop_front();
                self.finish_busy(number);
            } else if self.fetches.queue.in_flight >= IN_FLIGHT_MAX {
                return;
            } else {
                self.fetches.queue.turn = Some(number);
                self.advance_fetch(number);
                if self.fetches.queue.turn.take().is_some() && self.fetches.tasks.contains_key(&number) {
                    // There is no memory yet.
                    return;
                }
                self.fetches.queue.waiting.pop_front();
            }
        }
    }
}
