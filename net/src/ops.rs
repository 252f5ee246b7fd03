//! What connections want done to sockets, as plain data.
//!
//! `net` performs no I/O: the shard fills a list of [`Op`]s and is told of [`Event`]s, in any order over
//! connections and in order within one. A driver (the ring, or the simulated network) turns one into the other.
//!
//! Rules every driver keeps:
//! - [`Op::Receive`] stays armed (multishot) until an [`Event::ReceiveEnded`] says otherwise; bytes may come in any
//!   split. [`Op::ReceiveOnce`] is the same until the first bytes, and [`Op::ReceiveInto`] until the one
//!   [`Event::Filled`]. At most one receive, of whichever kind, is armed per connection.
//! - At most one [`Send`] is in flight per connection; each gives exactly one [`Event::Sent`], possibly short.
//! - After [`Op::Close`] the driver ends what is in flight, gives back every outstanding send, and says
//!   [`Event::Closed`] last; the number may be reused after that.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

/// A connection of one shard, dense from 0; chosen by the shard, reused after [`Event::Closed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

/// A connected socket before a shard has adopted it: a descriptor for the ring, a number for the simulated
/// network. Plain data, so that it can travel by mailbox; whoever holds it adopts or closes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Socket(pub i32);

/// Index of a listener in the node's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u16);

/// The most parts one send may have: the kernel's limit of an I/O vector.
pub const SEND_PARTS_MAX: usize = 1024;

/// One piece of what is sent.
#[derive(Debug, Clone)]
pub enum Part<P> {
    /// Bytes that several sends may share.
    Header(Bytes),
    /// Answers that the connection encoded, less the records in them.
    Answers(Vec<u8>),
    /// Record bytes that somebody else owns, sent without a copy.
    Payload(P),
}

impl<P: AsRef<[u8]>> AsRef<[u8]> for Part<P> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Part::Header(bytes) => bytes,
            Part::Answers(bytes) => bytes,
            Part::Payload(payload) => payload.as_ref(),
        }
    }
}

/// One vectored send: the parts in order, the first `skip` bytes of them already sent.
#[derive(Debug)]
pub struct Send<P> {
    /// The connection.
    pub connection: ConnectionId,
    /// At least one part, at most [`SEND_PARTS_MAX`].
    pub parts: Vec<Part<P>>,
    /// Bytes at the front that an earlier, short send has already taken.
    pub skip: usize,
}

/// One operation on sockets.
#[derive(Debug)]
pub enum Op<P> {
    /// Accept connections of this listener until [`Op::PauseAccept`] or a failure.
    Accept {
        /// The listener.
        listener: ListenerId,
    },
    /// Stop accepting; connections wait in the kernel's backlog.
    PauseAccept {
        /// The listener.
        listener: ListenerId,
    },
    /// Make a socket the connection `connection` of this shard.
    Adopt {
        /// The number it gets.
        connection: ConnectionId,
        /// The socket.
        socket: Socket,
    },
    /// Receive until told otherwise.
    Receive {
        /// The connection.
        connection: ConnectionId,
    },
    /// Receive some bytes, once: [`Event::ReceiveEnded`] follows them.
    ReceiveOnce {
        /// The connection.
        connection: ConnectionId,
    },
    /// Receive once, straight into a buffer: behind what it holds, up to its capacity, which is larger.
    /// [`Event::Filled`] gives it back.
    ReceiveInto {
        /// The connection.
        connection: ConnectionId,
        /// The buffer.
        buffer: BytesMut,
    },
    /// Stop receiving; [`Event::ReceiveEnded`] or [`Event::Filled`] follows, and bytes may still come before it.
    CancelReceive {
        /// The connection.
        connection: ConnectionId,
    },
    /// Send the parts.
    Send(Send<P>),
    /// End the connection.
    Close {
        /// The connection.
        connection: ConnectionId,
    },
    /// Close a socket that nobody adopted.
    Discard {
        /// The socket.
        socket: Socket,
    },
}

/// Why a receive is no longer armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiveEnd {
    /// The peer sends no more.
    PeerClosed,
    /// The driver ran out of buffers, or the kernel ended the multishot: arm again.
    Rearm,
    /// It was cancelled.
    Cancelled,
    /// It failed with this error number.
    Failed(i32),
}

/// What happened to a socket. Received bytes are borrowed: they do not outlive the turn.
#[derive(Debug)]
pub enum Event<'a, P> {
    /// A connection was accepted; the shard adopts it, hands it on, or discards it.
    Accepted {
        /// Where it came in.
        listener: ListenerId,
        /// The socket.
        socket: Socket,
        /// The other end.
        peer: SocketAddr,
        /// This end: what a listener without an advertised name answers with.
        local: SocketAddr,
    },
    /// Accepting stopped with this error number (`EMFILE`, …); it has to be armed again.
    AcceptEnded {
        /// The listener.
        listener: ListenerId,
        /// The error number; 0 if it was paused or ended without an error.
        errno: i32,
    },
    /// Bytes came in.
    Received {
        /// The connection.
        connection: ConnectionId,
        /// The bytes, valid during this call only.
        data: &'a [u8],
    },
    /// The receive is no longer armed.
    ReceiveEnded {
        /// The connection.
        connection: ConnectionId,
        /// Why.
        end: ReceiveEnd,
    },
    /// A receive into a buffer has ended.
    Filled {
        /// The connection.
        connection: ConnectionId,
        /// The buffer with what came in, which may be nothing.
        buffer: BytesMut,
        /// Why it ended; [`ReceiveEnd::Rearm`] where bytes came in.
        end: ReceiveEnd,
    },
    /// A send ended; its parts are given back.
    Sent {
        /// What was sent, parts and `skip` as submitted.
        send: Send<P>,
        /// Bytes taken beyond `skip`, or the error number.
        result: Result<usize, i32>,
    },
    /// Nothing is in flight any more; the number is free.
    Closed {
        /// The connection.
        connection: ConnectionId,
    },
}
