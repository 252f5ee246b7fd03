//! Who may connect: the limits of connections, for the node and for each address.
//!
//! ```text
//! accepted ─► its address has too many? ──yes──► closed at once
//!                │ no
//!                ▼
//!             the node has too many? ──yes──► waits, and accepting pauses: further ones wait in the kernel's backlog
//!                │ no                             │ a connection ends
//!                ▼                                ▼
//!             served by some shard ◄──────────────┘
//! ```
//!
//! The shard that accepts counts the connections of all; the others tell it of each that ends.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use net::ops::{ListenerId, Op};

use super::Shard;
use super::mail::{Mail, NewConnection, Notice};
use crate::config::ConnectionLimits;
use crate::quota;

/// The shard that accepts.
const ACCEPTOR: usize = 0;

/// Accepted connections that wait because the node has too many; further ones are closed at once. Accepting pauses with
/// the first of them, so that there are only those that were on their way.
const WAITING_MAX: usize = 1024;

/// No two lines in the log about refused connections are closer, in nanoseconds.
const LINES_NS: u64 = 60_000_000_000;

/// Whether a listener accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepting {
    No,
    Yes,
    /// It was told to pause, and has not ended yet.
    Pausing,
}

/// The connections of the node. On the shard that accepts.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: ConnectionLimits,
    /// Those that shards serve.
    total: usize,
    /// By address, those that wait, too.
    by_ip: BTreeMap<IpAddr, usize>,
    waiting: VecDeque<NewConnection>,
    /// Whether the node serves.
    is_open: bool,
    /// By the listener's number.
    accepting: Vec<Accepting>,
    /// Connections that were closed at once.
    refused: u64,
    told_at_ns: Option<u64>,
}

impl Admission {
    pub(crate) fn new(limits: ConnectionLimits, listeners: usize) -> Self {
        Self {
            limits,
            total: 0,
            by_ip: BTreeMap::new(),
            waiting: VecDeque::new(),
            is_open: false,
            accepting: vec![Accepting::No; listeners],
            refused: 0,
            told_at_ns: None,
        }
    }

    /// Connections that wait, and that were refused since the start.
    pub(crate) fn counted(&self) -> (usize, u64) {
        (self.waiting.len(), self.refused)
    }

    fn has_room(&self) -> bool {
        self.total < self.limits.total_max
    }

    fn release_ip(&mut self, ip: IpAddr) {
        let count = self.by_ip.get_mut(&ip).expect("a connection is counted until it ends");
        *count -= 1;
        if *count == 0 {
            self.by_ip.remove(&ip);
        }
    }
}

fn ip_of(new: &NewConnection) -> IpAddr {
    new.peer.ip().to_canonical()
}

impl Shard {
    /// Begins to accept on every listener: the node serves.
    pub(super) fn start_accepting(&mut self) {
        self.admission.is_open = true;
        self.accept_on_all();
    }

    fn accept_on_all(&mut self) {
        for listener in 0..self.listeners.len() {
            self.accept(ListenerId(listener as u16));
        }
    }

    /// Accepts on a listener, unless it does or there is no room.
    pub(super) fn accept(&mut self, listener: ListenerId) {
        let is_wanted = self.is_running() && self.admission.has_room();
        let accepting = &mut self.admission.accepting[usize::from(listener.0)];
        if is_wanted && *accepting == Accepting::No {
            *accepting = Accepting::Yes;
            self.ops.net.push(Op::Accept { listener });
        }
    }

    /// A listener does not accept any more.
    pub(super) fn accept_has_ended(&mut self, listener: ListenerId) {
        self.admission.accepting[usize::from(listener.0)] = Accepting::No;
    }

    /// Pauses accepting on every listener.
    pub(super) fn pause_accepting(&mut self) {
        for (listener, accepting) in self.admission.accepting.iter_mut().enumerate() {
            if *accepting == Accepting::Yes {
                *accepting = Accepting::Pausing;
                self.ops.net.push(Op::PauseAccept { listener: ListenerId(listener as u16) });
            }
        }
    }

    /// A client has connected.
    pub(super) fn accepted(&mut self, new: NewConnection) {
        if self.throttling.meter.limits(quota::Key::Connection) && self.keep_out(&new) {
            return;
        }
        let ip = ip_of(&new);
        let from_there = self.admission.by_ip.get(&ip).copied().unwrap_or(0);
        if from_there >= self.admission.limits.of_ip(ip) {
            return self.refuse_connection(new, "its address has as many as it may (max.connections.per.ip)");
        }
        let has_room = self.admission.has_room();
        if !has_room && (!self.is_running() || self.admission.waiting.len() >= WAITING_MAX) {
            return self.refuse_connection(new, "the node has as many as it may (max.connections)");
        }
        self.admission.by_ip.insert(ip, from_there + 1);
        if has_room {
            self.admit(new);
        } else {
            self.admission.waiting.push_back(new);
        }
        if !self.admission.has_room() {
            self.pause_accepting();
        }
    }

    fn admit(&mut self, new: NewConnection) {
        self.admission.total += 1;
        let shard = self.connections.next_shard();
        if shard == self.id {
            self.adopt(new);
        } else {
            self.send(shard, Mail::Notice(Notice::Connection(new)));
        }
    }

    fn refuse_connection(&mut self, new: NewConnection, why: &str) {
        self.ops.net.push(Op::Discard { socket: new.socket });
        self.admission.refused += 1;
        let now_ns = self.now.monotonic_ns;
        if self.admission.told_at_ns.is_none_or(|at| at + LINES_NS <= now_ns) {
            self.admission.told_at_ns = Some(now_ns);
            tracing::warn!(peer = %new.peer, "a connection was closed at once: {why}; said once a minute at the most");
        }
    }

    /// Tells the shard that accepts that a connection of this one has ended.
    pub(super) fn connection_ended(&mut self, ip: IpAddr) {
        if self.id == ACCEPTOR {
            self.connection_released(ip);
        } else {
            self.send(ACCEPTOR, Mail::Notice(Notice::ConnectionEnded(ip)));
        }
    }

    /// A connection of some shard has ended.
    pub(super) fn connection_released(&mut self, ip: IpAddr) {
        self.admission.release_ip(ip);
        self.admission.total -= 1;
        self.admit_waiting();
    }

    fn admit_waiting(&mut self) {
        while self.admission.has_room()
            && let Some(new) = self.admission.waiting.pop_front()
        {
            self.admit(new);
        }
        if self.admission.is_open {
            self.accept_on_all();
        }
    }

    /// Other limits are in force. Connections that are open stay.
    pub(super) fn limit_connections(&mut self) {
        self.admission.limits = self.config.network.connections.clone();
        if self.id == ACCEPTOR {
            self.admit_waiting();
            if !self.admission.has_room() {
                self.pause_accepting();
            }
        }
    }

    /// Closes the connections that wait.
    pub(super) fn dismiss_waiting(&mut self) {
        for new in std::mem::take(&mut self.admission.waiting) {
            self.admission.release_ip(ip_of(&new));
            self.ops.net.push(Op::Discard { socket: new.socket });
        }
    }
}
