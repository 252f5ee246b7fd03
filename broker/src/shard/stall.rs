//! Back-pressure: producers wait where the store has no room for more records, instead of being refused.
//!
//! ```text
//! a producer's next request ─► room here and on the other shards? ─► handled
//!                                 │ no
//!                                 ▼
//!            stalled: its bytes stay in its buffer, nothing more is received
//!                                 │ room again, or STALL_NS_MAX later
//!                                 ▼
//!                              handled; without room it is refused with a retriable error
//! ```
//!
//! Room comes as writes complete and readers let go. That some comes cannot be promised (a slow reader may hold what
//! is missing), so the time is bounded: every stall ends. Only Produce waits, and what its client sent behind it.

use net::ops::ConnectionId;
use net::{ApiKey, FrameError};

use super::Shard;
use super::mail::Notice;
use super::timers::Timer;

/// Longest time that one request waits for room, in nanoseconds.
const STALL_NS_MAX: u64 = 1_000_000_000;

/// The stalled connections of one shard, and who lacks room.
#[derive(Debug)]
pub(crate) struct Stalls {
    waiting: Vec<ConnectionId>,
    is_timer_armed: bool,
    /// Appends may have taken the last room in this turn.
    is_to_be_checked: bool,
    /// The others were told that this shard has no room.
    is_full: bool,
    /// Which other shards have told that they have none.
    full_peers: Vec<bool>,
}

impl Stalls {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            waiting: Vec::new(),
            is_timer_armed: false,
            is_to_be_checked: false,
            is_full: false,
            full_peers: vec![false; shards],
        }
    }
}

impl Shard {
    /// Whether there is room for produced records, on every shard: nobody knows yet for which a request is.
    fn has_room(&mut self) -> bool {
        self.stores.has_room() && !self.stalls.full_peers.contains(&true)
    }

    /// Whether a connection's next request has to wait. What was `received` is kept then, to see which one it is.
    ///
    /// # Errors
    /// As [`net::Connection::keep`].
    pub(super) fn must_stall(&mut self, id: ConnectionId, received: &mut &[u8]) -> Result<bool, FrameError> {
        if self.has_room() {
            return Ok(false);
        }
        let now_ns = self.now.monotonic_ns;
        let Some(open) = self.connections.open(id).filter(|open| !open.has_waited) else { return Ok(false) };
        open.connection.keep(std::mem::take(received))?;
        if !open.connection.has_request_of(ApiKey::Produce, now_ns) {
            return Ok(false);
        }
        if !std::mem::replace(&mut open.is_stalled, true) {
            self.stalls.waiting.push(id);
        }
        if !std::mem::replace(&mut self.stalls.is_timer_armed, true) {
            self.timers.arm(now_ns + STALL_NS_MAX, Timer::Stall);
        }
        Ok(true)
    }

    /// Lets stalled connections go on if there is room again.
    pub(super) fn resume_stalled(&mut self) {
        if !self.stalls.waiting.is_empty() && self.has_room() {
            self.end_stalls(false);
        }
    }

    /// Time is up: one request of each goes on, whatever comes of it.
    pub(super) fn stall_due(&mut self) {
        self.stalls.is_timer_armed = false;
        self.end_stalls(true);
    }

    fn end_stalls(&mut self, has_waited: bool) {
        for id in std::mem::take(&mut self.stalls.waiting) {
            // Its number may be another connection's by now, which has not stalled.
            let Some(open) = self.connections.open(id).filter(|open| open.is_stalled) else { continue };
            open.is_stalled = false;
            open.has_waited = has_waited;
            self.connections.queue_resume(id, self.now.monotonic_ns);
            self.follow_budget(id);
        }
    }

    /// Another shard has appended here.
    pub(super) fn check_room(&mut self) {
        self.stalls.is_to_be_checked = true;
    }

    /// Tells the others when room has ended or come back here.
    pub(super) fn tell_room(&mut self) {
        if !std::mem::take(&mut self.stalls.is_to_be_checked) && !self.stalls.is_full {
            return;
        }
        let is_full = !self.stores.has_room();
        if std::mem::replace(&mut self.stalls.is_full, is_full) != is_full {
            self.notify_peers(|| Notice::Room(!is_full));
        }
    }

    /// Another shard has told whether it has room.
    pub(super) fn peer_room(&mut self, shard: usize, has_room: bool) {
        self.stalls.full_peers[shard] = !has_room;
        self.resume_stalled();
    }
}
