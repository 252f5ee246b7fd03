//! One client's connection as plain data: requests come out of received bytes, answers go into sends in the order of
//! the requests, and both stay within budgets.
//!
//! ```text
//!  received bytes ──► frames ──► reserve() ──► … the request is carried out, in any order … ──► fulfil()
//!                       │                                                                        │
//!                 wants_receive()                 next_send() ◄── in the order of the requests ◄─┘
//! ```
//! A connection belongs to one shard. When to receive is decided by [`Connection::wants_receive`] alone: a client that
//! does not take its answers, or sends requests faster than they are carried out, is not read from.

mod buffers;
mod outbox;

use std::net::SocketAddr;

use bytes::BytesMut;

use crate::frame::{Assembler, DIRECT_BYTES_MIN_DEFAULT, FRAME_BYTES_MAX_DEFAULT};
use crate::ops::{ConnectionId, ListenerId, Op, Send};
use crate::{Answer, ApiKey, Frame, FrameError};

pub use buffers::Buffers;
use outbox::Outbox;
pub use outbox::{COPIED_BYTES_MAX, SEND_BYTES_MAX};

/// Bytes that may still come in after a receive was cancelled.
pub const RECEIVE_OVERSHOOT_MAX: usize = 512 * 1024;

/// The answer to one request of a connection, in the order of the requests. Ids are not used again on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnswerId(pub u64);

/// The budgets of a connection. Each may be exceeded by what one request brings: a request is taken as long as there
/// is something left of every budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest request, `socket.request.max.bytes`.
    pub frame_bytes_max: usize,
    /// A request of which at least so many bytes are missing is received straight into its buffer.
    pub direct_bytes_min: usize,
    /// Answers reserved and not yet leaving.
    pub requests_max: usize,
    /// Bytes of requests that are being carried out.
    pub request_bytes_max: usize,
    /// Bytes of answers not yet sent.
    pub unsent_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: FRAME_BYTES_MAX_DEFAULT,
            direct_bytes_min: DIRECT_BYTES_MIN_DEFAULT,
            requests_max: 1024,
            request_bytes_max: 8 << 20,
            unsent_bytes_max: 8 << 20,
        }
    }
}

/// Where a connection came in, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The listener that accepted it.
    pub listener: ListenerId,
    /// The client's address.
    pub peer: SocketAddr,
    /// Our address that the client connected to.
    pub local: SocketAddr,
}

/// What a client says of itself, for logs and metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// The client id of its last request.
    pub id: String,
    /// Its software's name (KIP-511).
    pub software_name: String,
    /// Its software's version (KIP-511).
    pub software_version: String,
}

/// One client's connection. `P` is a slice of record bytes that somebody else owns.
#[derive(Debug)]
pub struct Connection<P> {
    id: ConnectionId,
    origin: Origin,
    limits: Limits,
    client: Client,
    assembler: Assembler,
    outbox: Outbox<P>,
    request_bytes: usize,
    is_closing: bool,
    muted_until_ns: u64,
    last_activity_ns: u64,
}

impl<P: AsRef<[u8]>> Connection<P> {
    /// A connection that was just accepted. Its answers are numbered from `first_answer` on; where connection numbers
    /// are used again, the shard continues with [`Self::next_answer`] of the old one, so that a late answer to that
    /// one never reaches the new client.
    pub fn new(id: ConnectionId, origin: Origin, limits: Limits, first_answer: AnswerId, now_ns: u64) -> Self {
        Self {
            id,
            origin,
            limits,
            client: Client::default(),
            assembler: Assembler::new(limits.frame_bytes_max, limits.direct_bytes_min),
            outbox: Outbox::new(first_answer),
            request_bytes: 0,
            is_closing: false,
            muted_until_ns: 0,
            last_activity_ns: now_ns,
        }
    }

    /// Its number.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Where it came in.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// What the client says of itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Notes the client id of a request.
    pub fn set_client_id(&mut self, id: &str) {
        if self.client.id != id {
            id.clone_into(&mut self.client.id);
        }
    }

    /// Notes the client's software, from ApiVersions v3 on.
    pub fn set_client_software(&mut self, name: &str, version: &str) {
        name.clone_into(&mut self.client.software_name);
        version.clone_into(&mut self.client.software_version);
    }

    /// The next request off what was kept earlier and `received`, which follows it. With none, all of `received` is
    /// taken: it is kept for later calls. That is so as well while the connection is closing, muted or over a budget.
    ///
    /// ```text
    /// on Received(data):                      rest = data;  while let Some(frame) = next_frame(&mut rest) { … }
    /// after fulfil, sent, or a mute's end:    rest = [];    the same, if has_request()
    /// ```
    ///
    /// # Errors
    /// If the bytes cannot be cut into frames; the connection has to be closed then.
    pub fn next_frame<'a>(&mut self, received: &mut &'a [u8], now_ns: u64) -> Result<Option<Frame<'a>>, FrameError> {
        if !received.is_empty() {
            self.last_activity_ns = now_ns;
        }
        if self.is_closing {
            *received = &[];
            return Ok(None);
        }
        if self.takes_requests(now_ns) {
            return self.assembler.next(received);
        }
        self.keep(std::mem::take(received))?;
        Ok(None)
    }

    /// Keeps received bytes for later calls of [`Self::next_frame`], when the turn has no time for them now.
    ///
    /// # Errors
    /// If more bytes wait than a frame and a cancelled receive account for.
    pub fn keep(&mut self, received: &[u8]) -> Result<(), FrameError> {
        self.assembler.keep(received);
        let (waiting, max) = (self.assembler.kept(), self.limits.frame_bytes_max + RECEIVE_OVERSHOOT_MAX);
        if waiting > max { Err(FrameError::Overrun { waiting, max }) } else { Ok(()) }
    }

    /// Whether [`Self::next_frame`] has a request, or an error, without further bytes.
    pub fn has_request(&self, now_ns: u64) -> bool {
        self.takes_requests(now_ns) && self.assembler.has_frame()
    }

    /// Whether the next request that is kept is a whole one of this API.
    pub fn has_request_of(&self, key: ApiKey, now_ns: u64) -> bool {
        self.has_request(now_ns) && self.assembler.next_key() == Some(key as i16)
    }

    /// Whether bytes shall be received: a receive is armed where this is true, and cancelled where it is false.
    pub fn wants_receive(&self, now_ns: u64) -> bool {
        self.takes_requests(now_ns) && !self.assembler.has_frame()
    }

    /// The receive to be armed where none is: into the buffer of a large request that has begun, up to the first bytes where
    /// a large request is likely to come, else for good.
    pub fn next_receive(&mut self) -> Op<P> {
        let connection = self.id;
        match self.assembler.lend() {
            Some(buffer) => Op::ReceiveInto { connection, buffer },
            None if self.assembler.was_large() => Op::ReceiveOnce { connection },
            None => Op::Receive { connection },
        }
    }

    /// Whether a receive that was armed for good had better be [`Self::next_receive`] by now.
    pub fn wants_other_receive(&self) -> bool {
        self.assembler.was_large()
    }

    /// Takes back the buffer of a receive into it; how many bytes came in.
    pub fn filled(&mut self, buffer: BytesMut, now_ns: u64) -> usize {
        if self.is_closing {
            return 0;
        }
        let received = self.assembler.take_back(buffer);
        if received > 0 {
            self.last_activity_ns = now_ns;
        }
        received
    }

    fn takes_requests(&self, now_ns: u64) -> bool {
        !self.is_closing
            && now_ns >= self.muted_until_ns
            && self.outbox.waiting() < self.limits.requests_max
            && self.request_bytes < self.limits.request_bytes_max
            && self.outbox.unsent_bytes() < self.limits.unsent_bytes_max
    }

    /// Reserves the place of the answer to a request. A request that gets none (Produce with acks=0) reserves none.
    pub fn reserve(&mut self) -> AnswerId {
        self.outbox.reserve()
    }

    /// The id that the next reservation gets.
    pub fn next_answer(&self) -> AnswerId {
        self.outbox.next_answer()
    }

    /// Hands in an answer, in any order; it leaves once those before it have left.
    ///
    /// # Errors
    /// Gives the answer back if nothing is reserved under this id: it is late, the connection is another one by now.
    ///
    /// # Panics
    /// If it was handed in before.
    pub fn fulfil(&mut self, id: AnswerId, answer: Answer<P>) -> Result<(), Answer<P>> {
        self.outbox.fulfil(id, answer)
    }

    /// Answers reserved and not handed in.
    pub fn owed(&self) -> usize {
        self.outbox.owed()
    }

    /// Counts the bytes of a request against the budget while it is carried out.
    pub fn charge(&mut self, bytes: usize) {
        self.request_bytes += bytes;
    }

    /// Gives back what [`Self::charge`] took.
    ///
    /// # Panics
    /// If it did not take that many.
    pub fn release(&mut self, bytes: usize) {
        assert!(bytes <= self.request_bytes, "{bytes} bytes released of {} charged", self.request_bytes);
        self.request_bytes -= bytes;
    }

    /// The next send, of at most `parts_max` parts (not below 2, not over [`crate::ops::SEND_PARTS_MAX`]): what a
    /// short send left, or as many ready answers as fit. There is none while one is in flight. What held answers that
    /// were copied together goes to `buffers`.
    pub fn next_send(&mut self, parts_max: usize, buffers: &mut Buffers) -> Option<Send<P>> {
        self.outbox.next_send(self.id, parts_max, buffers)
    }

    /// Takes back a send of which `taken` bytes beyond its skip were sent; what held them goes to `buffers`.
    ///
    /// # Panics
    /// If no send is in flight, or it did not have that many bytes.
    pub fn sent(&mut self, send: Send<P>, taken: usize, now_ns: u64, buffers: &mut Buffers) {
        self.outbox.sent(send, taken, buffers);
        self.last_activity_ns = now_ns;
    }

    /// Takes no further request; the connection [`is_finished`](Self::is_finished) once all answers owed are sent.
    pub fn close_after_answers(&mut self) {
        self.is_closing = true;
        self.assembler = Assembler::new(self.limits.frame_bytes_max, self.limits.direct_bytes_min);
    }

    /// Whether no further request is taken.
    pub fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Whether it is closing and everything owed is sent: the socket can be closed.
    pub fn is_finished(&self) -> bool {
        self.is_closing && self.outbox.is_empty()
    }

    /// Takes no request before that time, nor before an earlier call's (KIP-219: the answer leaves at once, the client is
    /// throttled by silence).
    pub fn mute_until(&mut self, until_ns: u64) {
        self.muted_until_ns = self.muted_until_ns.max(until_ns);
    }

    /// When bytes last came in or went out.
    pub fn last_activity_ns(&self) -> u64 {
        self.last_activity_ns
    }

    /// Whether no answer is owed and no byte has come in or gone out for `idle_ns_max` (`connections.max.idle.ms`). A
    /// client that has stopped taking its answers counts as idle.
    pub fn is_idle(&self, now_ns: u64, idle_ns_max: u64) -> bool {
        self.outbox.owed() == 0 && now_ns.saturating_sub(self.last_activity_ns) >= idle_ns_max
    }

    /// Whether it has answers that are not sent.
    pub fn has_unsent(&self) -> bool {
        self.outbox.unsent_bytes() > 0
    }

    /// What the request that has begun to come in will have in all, if so much is known of it.
    pub fn unfinished(&self) -> Option<usize> {
        self.assembler.unfinished()
    }

    /// Memory for received bytes: of requests that wait or have not come in whole.
    pub fn received_memory(&self) -> usize {
        self.assembler.memory()
    }

    /// Bytes of the requests that are carried out, and of the answers not yet sent. Record bytes in these are somebody
    /// else's.
    pub fn carried_memory(&self) -> usize {
        self.request_bytes + self.outbox.own_bytes()
    }

    /// Frees what it holds: the connection ends, and nothing follows but the send in flight.
    pub fn discard(&mut self) {
        self.close_after_answers();
        self.outbox.discard();
    }
}
