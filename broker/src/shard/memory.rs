//! The memory of a shard's connections: who gets some, who waits for it, and who is ended because others wait.
//!
//! What counts: buffers of requests that come in, requests being carried out until they are answered, and answers until they
//! are sent. Record bytes in answers are the stores' memory, and counted there.
//!
//! ```text
//!  0                    3/4                     7/8                              limit
//!  │ large requests ...  │ small requests ...    │ what still comes in meanwhile ... │
//!                                                ▲ from here on no request begins: every receive is cancelled
//!
//!  a request has begun ─► room for all of it? ──yes──► reserved until it is taken up
//!                              │ no
//!                              ▼
//!          nothing is received; one queue for small requests, one for large ones, in the order they came
//! ```
//!
//! Room is reserved for the whole request, so that what has begun can end, and two half requests never wait for one another.
//! Nothing is allocated by that: buffers grow with the bytes that come. A client that reserves, or has answers, and then
//! neither sends nor takes a byte while others wait is ended: it is cut off after [`IDLE_NS_MAX`], so that every wait ends.

use std::collections::VecDeque;

use net::ops::ConnectionId;

use super::Shard;
use super::connections::{ConnectionKey, Open};
use super::mail::Notice;
use super::timers::Timer;

/// A request up to this size is small, or up to a part of the limit where that is less.
const SMALL_BYTES_MAX: usize = 64 << 10;
const SMALL_PART: usize = 16;
/// Bounds, in sixteenths of the limit: what large requests fill, unless there is one alone; where no request may begin any
/// more; and where requests may begin again.
const LARGE_MAX: usize = 12;
const BEGIN_MAX: usize = 14;
const BEGIN_AGAIN_MAX: usize = 13;
/// For so long who holds memory that others wait for may do nothing, in nanoseconds. A send has a megabyte or so.
const IDLE_NS_MAX: u64 = 10_000_000_000;
/// While somebody waits, it is looked so often for who holds memory and does nothing, in nanoseconds.
const LOOK_NS: u64 = 1_000_000_000;

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// A small request, or to begin one.
    Small,
    Large,
}

/// What is counted for a connection.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// Bytes counted.
    counted: usize,
    /// Of these, what is reserved for the request that comes in; 0 for none.
    reserved: usize,
    waits: Option<Lane>,
    /// Since when a send has been in flight, if one is.
    pub(super) sending_since_ns: Option<u64>,
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    used: usize,
    small: VecDeque<ConnectionKey>,
    large: VecDeque<ConnectionKey>,
    /// The first of a queue, while it is asked whether it still waits.
    turn: Option<(ConnectionKey, Lane)>,
    /// Memory came back since the queues were looked at.
    has_come_back: bool,
    /// Requests for which all memory is reserved.
    reservations: usize,
    /// Nobody may begin a request.
    is_paused: bool,
    is_look_armed: bool,
    /// Connections that were ended because others waited.
    ended: u64,
}

/// Whether a connection may receive.
enum Verdict {
    Yes,
    No,
    /// Its request is larger than what there is for all.
    Never,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        let (small, large) = Default::default();
        Self {
            limit,
            used: 0,
            small,
            large,
            turn: None,
            has_come_back: false,
            reservations: 0,
            is_paused: false,
            is_look_armed: false,
            ended: 0,
        }
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Connections that wait.
    pub(super) fn waiting(&self) -> usize {
        self.small.len() + self.large.len()
    }

    /// Connections that were ended because others waited.
    pub(super) fn ended(&self) -> u64 {
        self.ended
    }

    /// Whether somebody who waits may go on.
    pub(super) fn has_work(&self) -> bool {
        self.has_come_back && self.waiting() > 0
    }

    /// So many sixteenths of the limit.
    fn part(&self, sixteenths: usize) -> usize {
        self.limit / 16 * sixteenths
    }

    fn queue(&mut self, lane: Lane) -> &mut VecDeque<ConnectionKey> {
        match lane {
            Lane::Small => &mut self.small,
            Lane::Large => &mut self.large,
        }
    }

    /// Counts anew what a connection holds. Whether that is within the limit.
    pub(super) fn count(&mut self, open: &mut Open) -> bool {
        let share = &mut open.share;
        if open.connection.unfinished().is_none_or(|bytes| bytes != share.reserved) {
            self.reservations -= usize::from(share.reserved > 0);
            share.reserved = 0;
        }
        let bytes = open.connection.received_memory().max(share.reserved) + open.connection.carried_memory();
        let before = std::mem::replace(&mut share.counted, bytes);
        self.has_come_back |= bytes < before;
        self.used = self.used - before + bytes;
        bytes <= before || self.used <= self.limit
    }

    /// Whether the connection may receive now; it waits if not.
    fn admit(&mut self, key: ConnectionKey, open: &mut Open) -> Verdict {
        let (lane, missing, max) = match open.connection.unfinished() {
            Some(_) if open.share.reserved > 0 => return Verdict::Yes,
            None if !self.is_paused && open.share.waits.is_none() => return Verdict::Yes,
            None => (Lane::Small, 0, self.part(BEGIN_AGAIN_MAX)),
            Some(bytes) if bytes > self.part(BEGIN_MAX) => return Verdict::Never,
            Some(bytes) => {
                let is_small = bytes <= SMALL_BYTES_MAX.min(self.limit / SMALL_PART);
                let missing = bytes.saturating_sub(open.connection.received_memory());
                let large_max = if self.reservations == 0 { BEGIN_MAX } else { LARGE_MAX };
                if is_small { (Lane::Small, missing, self.limit) } else { (Lane::Large, missing, self.part(large_max)) }
            }
        };
        if open.share.waits.is_some() {
            return Verdict::No;
        }
        let is_turn = self.turn == Some((key, lane));
        let is_next = is_turn || self.queue(lane).is_empty();
        if is_next && self.used + missing <= max {
            open.share.reserved = open.connection.unfinished().unwrap_or(0);
            self.reservations += usize::from(open.share.reserved > 0);
            self.count(open);
            return Verdict::Yes;
        }
        open.share.waits = Some(lane);
        if is_turn {
            self.queue(lane).push_front(key);
        } else {
            self.queue(lane).push_back(key);
        }
        Verdict::No
    }
}

impl Shard {
    /// Everything of the shard that may become large: whose it is, how much is in use, and may be. For checks: asking costs
    /// a walk over all logs.
    pub fn memories(&self) -> impl Iterator<Item = (String, usize, usize)> {
        let stores = self.stores.memories().map(|(directory, name, memory)| {
            (format!("{name} of directory {directory}"), memory.used_bytes, memory.budget_bytes)
        });
        stores.chain([("connections".to_owned(), self.memory.used, self.memory.limit)])
    }

    /// Counts anew what a connection holds, and ends it if that is too much. Whether it may receive if it wants to.
    pub(super) fn has_memory(&mut self, id: ConnectionId, wants: bool) -> bool {
        let key = self.connections.key(id);
        let Some(open) = self.connections.open(id).filter(|open| !open.ended) else { return false };
        if !self.memory.count(open) {
            let limit = self.memory.limit;
            self.end_for_memory(id, &format!("it would have brought the memory of connections over {limit} bytes"));
            return false;
        }
        if !wants {
            return false;
        }
        match self.memory.admit(key, open) {
            Verdict::Yes => true,
            Verdict::No => {
                self.arm_look();
                false
            }
            Verdict::Never => {
                let bytes = open.connection.unfinished().unwrap_or(0);
                let max = self.memory.part(BEGIN_MAX);
                self.end_for_memory(
                    id,
                    &format!("a request of {bytes} bytes is more than there is memory for ({max}): raise skein.memory"),
                );
                false
            }
        }
    }

    /// What a connection held is free: it has ended.
    pub(super) fn forget_share(&mut self, open: &mut Open) {
        let share = std::mem::take(&mut open.share);
        self.memory.used -= share.counted;
        self.memory.reservations -= usize::from(share.reserved > 0);
        self.memory.has_come_back |= share.counted > 0 || share.waits.is_some();
    }

    /// Lets nobody begin a request while nearly all memory is in use: what comes in before every receive is cancelled finds
    /// the rest.
    pub(super) fn pause_receiving(&mut self) {
        if self.memory.used < self.memory.part(BEGIN_AGAIN_MAX) {
            self.memory.is_paused = false;
        } else if self.memory.used >= self.memory.part(BEGIN_MAX)
            && !std::mem::replace(&mut self.memory.is_paused, true)
        {
            self.connections.ids().for_each(|id| self.follow_budget(id));
        }
    }

    /// Lets connections go on that wait for memory, if some came back.
    pub(super) fn resume_waiting(&mut self) {
        if !self.memory.has_work() {
            return;
        }
        self.memory.has_come_back = false;
        for lane in [Lane::Small, Lane::Large] {
            while let Some(key) = self.memory.queue(lane).pop_front() {
                // Its number may be another connection's by now, which does not wait.
                let Some(open) = self.connections.by_key(key).filter(|open| open.share.waits == Some(lane)) else {
                    continue;
                };
                open.share.waits = None;
                self.memory.turn = Some((key, lane));
                self.follow_budget(key.id());
                self.memory.turn = None;
                if self.connections.by_key(key).is_some_and(|open| open.share.waits == Some(lane)) {
                    break;
                }
            }
        }
    }

    /// Somebody waits for memory: who holds it and does nothing is looked for in a while.
    fn arm_look(&mut self) {
        if !std::mem::replace(&mut self.memory.is_look_armed, true) {
            self.timers.arm(self.now.monotonic_ns + LOOK_NS, Timer::Memory);
        }
    }

    /// The stores' readers may wait for memory, too, that answers hold, of this shard's connections and of others'.
    pub(super) fn check_readers(&mut self) {
        if self.stores.take_shortage() {
            self.arm_look();
        }
    }

    /// Somebody has waited for memory for a while.
    pub(super) fn memory_due(&mut self) {
        self.memory.is_look_armed = false;
        self.end_idle_holders();
        self.notify_peers(|| Notice::MemoryWanted);
        if self.memory.waiting() > 0 {
            self.arm_look();
        }
    }

    /// Ends connections that hold memory and do nothing: here or on another shard somebody waits for it.
    pub(super) fn end_idle_holders(&mut self) {
        let now_ns = self.now.monotonic_ns;
        for id in self.connections.ids() {
            let Some(open) = self.connections.open(id).filter(|open| !open.ended) else { continue };
            let is_idle = |since_ns: u64| now_ns.saturating_sub(since_ns) >= IDLE_NS_MAX;
            if open.share.sending_since_ns.is_some_and(is_idle) {
                self.end_for_memory(id, "it does not take its answers, and others wait for the memory");
            } else if open.share.reserved > 0 && open.is_receiving() && is_idle(open.connection.last_activity_ns()) {
                self.end_for_memory(id, "it does not go on with its request, and others wait for the memory");
            }
        }
    }

    fn end_for_memory(&mut self, id: ConnectionId, why: &str) {
        let Some(open) = self.connections.open(id) else { return };
        let (peer, client) = (open.connection.origin().peer, &open.connection.client().id);
        tracing::warn!(%peer, %client, "connection closed: {why}");
        self.memory.ended += 1;
        self.close(id);
    }
}
