//! Whose turn it is to read: as many reads and bytes as the device should have at once ([`super::pace`]), in the order they
//! came. Who finds no memory waits, too.
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

use super::pace::{PIECE_BYTES_MIN, Pace};
use crate::buffer::Buffer;
use crate::store::Store;

/// Reads of segments in flight at once: enough to keep a device busy.
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
    /// With their bytes; few.
    in_flight: Vec<(u64, usize)>,
    in_flight_bytes: usize,
    pub(super) pace: Pace,
    /// Whether reads have been in flight since the journal's last write ended.
    was_reading: bool,
    /// With the time at which they give up.
    waiting: VecDeque<(u64, u64)>,
    /// The read whose turn it is.
    turn: Option<u64>,
    /// When the one that waits longest asks for memory again; never while it waits for the end of others.
    retry_at: u64,
}

impl Queue {
    pub(super) fn begin(&mut self, number: u64, bytes: usize) {
        self.in_flight.push((number, bytes));
        self.in_flight_bytes += bytes;
        self.was_reading = true;
    }

    pub(super) fn end(&mut self, number: u64) {
        let at = self.in_flight.iter().position(|&(its, _)| its == number).expect("a read ends once");
        self.in_flight_bytes -= self.in_flight.swap_remove(at).1;
    }

    /// A write of the durable journal ended.
    pub(super) fn journal_written(&mut self, duration_ns: u64, now_ns: u64) {
        let is_shared = std::mem::replace(&mut self.was_reading, !self.in_flight.is_empty());
        self.pace.written(duration_ns, is_shared, now_ns);
    }

    /// Whether the device should have a read of `bytes` as well. One is always let through.
    fn has_place(&self, bytes: usize, now_ns: u64) -> bool {
        self.in_flight.is_empty()
            || (self.in_flight.len() < IN_FLIGHT_MAX && self.in_flight_bytes + bytes <= self.pace.bytes_max(now_ns))
    }

    /// Whether a read ahead would keep nobody waiting.
    pub(super) fn has_room_ahead(&self, now_ns: u64) -> bool {
        self.waiting.is_empty()
            && self.in_flight.len() + IN_FLIGHT_RESERVED < IN_FLIGHT_MAX
            && self.has_place(self.pace.piece_bytes(now_ns), now_ns)
    }

    /// When the next one may go on, or gives up.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.waiting.front().map(|&(_, until)| until.min(self.retry_at))
    }

    /// Reads that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

impl Store {
    /// Memory for a read of `bytes` whose turn it is; else the read waits, and is advanced again when it is.
    pub(super) fn take_turn(&mut self, number: u64, bytes: usize) -> Option<Buffer> {
        let now_ns = self.now.monotonic_ns;
        let queue = &mut self.fetches.queue;
        let is_first = queue.turn == Some(number);
        if is_first || queue.waiting.is_empty() {
            queue.retry_at = u64::MAX;
            if queue.has_place(bytes, now_ns) {
                if let Some(buffer) = self.allocate_for_read(bytes) {
                    self.fetches.queue.turn = None;
                    return Some(buffer);
                }
                self.fetches.queue.retry_at = now_ns + RETRY_NS;
            }
        }
        if !is_first {
            self.fetches.queue.waiting.push_back((number, now_ns + WAIT_NS_MAX));
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
            } else if !self.fetches.queue.has_place(PIECE_BYTES_MIN, self.now.monotonic_ns) {
                self.fetches.queue.retry_at = u64::MAX;
                return;
            } else {
                self.fetches.queue.turn = Some(number);
                self.advance_fetch(number);
                if self.fetches.queue.turn.take().is_some() && self.fetches.tasks.contains_key(&number) {
                    // There is no memory, or no place for so many bytes, yet.
                    return;
                }
                self.fetches.queue.waiting.pop_front();
            }
        }
    }
}
