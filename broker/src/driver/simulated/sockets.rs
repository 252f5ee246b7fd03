//! The socket operations of one simulated shard.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::BytesMut;
use net::ops::{ConnectionId, Event, ListenerId, Op, ReceiveEnd, SEND_PARTS_MAX, Send, Socket};
use storage::buffer::Slice;
use storage::simulated::Random;

use super::network::{End, Network};

/// Longest time from an operation to its effect, and from there to its completion, in nanoseconds.
const OPERATION_NS_MAX: u64 = 30_000;
/// Bytes of one receive at the most: a provided buffer of the ring.
const RECEIVE_BYTES_MAX: usize = 16 << 10;

/// How often sockets do what is unusual, per million completions of the kind.
#[derive(Debug, Clone)]
pub struct Weather {
    /// A receive hands over fewer bytes than have arrived.
    pub split_per_million: u32,
    /// A receive ends with [`ReceiveEnd::Rearm`] after or instead of bytes.
    pub rearm_per_million: u32,
    /// A send is short.
    pub short_send_per_million: u32,
    /// An accept fails with `EMFILE`.
    pub accept_failure_per_million: u32,
    /// An accept ends although nothing is wrong.
    pub accept_end_per_million: u32,
}

impl Weather {
    /// Nothing unusual.
    pub const CALM: Self = Self {
        split_per_million: 0,
        rearm_per_million: 0,
        short_send_per_million: 0,
        accept_failure_per_million: 0,
        accept_end_per_million: 0,
    };

    /// Everything unusual, often.
    pub const ROUGH: Self = Self {
        split_per_million: 300_000,
        rearm_per_million: 50_000,
        short_send_per_million: 100_000,
        accept_failure_per_million: 50_000,
        accept_end_per_million: 50_000,
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiving {
    Idle,
    Armed,
    /// Until bytes have come in.
    Once,
    /// A cancel has been asked for and takes effect at this time; until then the receive goes on, or ends by itself.
    Cancelled {
        at: u64,
    },
}

/// A send in flight. It goes on until the network has taken all of it, as far as nothing unusual happens.
#[derive(Debug)]
struct Outgoing {
    send: Send<Slice>,
    /// Bytes behind `skip` that the network has taken.
    taken: usize,
    /// When the network takes more, or with `result` when that is told.
    at: u64,
    result: Option<Result<usize, i32>>,
}

#[derive(Debug)]
struct Connection {
    socket: Socket,
    receiving: Receiving,
    /// What is received into, by a receive that asked for it.
    filling: Option<BytesMut>,
    sending: Option<Outgoing>,
    /// The close takes effect at this time.
    closing_at: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepting {
    Armed,
    Paused { at: u64 },
}

/// All sockets of a simulated shard.
#[derive(Debug)]
pub(super) struct Sockets {
    connections: BTreeMap<ConnectionId, Connection>,
    /// Listeners that are armed here.
    accepting: BTreeMap<ListenerId, Accepting>,
    weather: Weather,
    random: Random,
    received: Vec<u8>,
}

type Each<'a> = &'a mut dyn FnMut(Event<'_, Slice>);

impl Sockets {
    pub(super) fn new(weather: Weather, random: Random) -> Self {
        Self { connections: BTreeMap::new(), accepting: BTreeMap::new(), weather, random, received: Vec::new() }
    }

    pub(super) fn submit(&mut self, now: u64, network: &mut Network, op: Op<Slice>) {
        match op {
            Op::Accept { listener } => {
                let previous = self.accepting.insert(listener, Accepting::Armed);
                assert!(previous.is_none(), "a listener accepts once at a time");
            }
            Op::PauseAccept { listener } => {
                let at = self.soon(now);
                if let Some(accepting) = self.accepting.get_mut(&listener) {
                    *accepting = Accepting::Paused { at };
                }
            }
            Op::Adopt { connection, socket } => {
                let receiving = Receiving::Idle;
                let adopted = Connection { socket, receiving, filling: None, sending: None, closing_at: None };
                let previous = self.connections.insert(connection, adopted);
                assert!(previous.is_none(), "a number is reused after Closed only");
            }
            Op::Receive { connection } => self.arm(connection, Receiving::Armed, None),
            Op::ReceiveOnce { connection } => self.arm(connection, Receiving::Once, None),
            Op::ReceiveInto { connection, buffer } => {
                assert!(buffer.capacity() > buffer.len(), "a buffer to receive into has room");
                self.arm(connection, Receiving::Once, Some(buffer));
            }
            Op::CancelReceive { connection } => {
                let at = self.soon(now);
                let connection = self.open(connection);
                if matches!(connection.receiving, Receiving::Armed | Receiving::Once) {
                    connection.receiving = Receiving::Cancelled { at };
                }
            }
            Op::Send(send) => self.send(now, send),
            Op::Close { connection } => {
                let at = self.soon(now);
                self.open(connection).closing_at = Some(at);
            }
            Op::Discard { socket } => network.node_close(now, socket),
        }
    }

    fn arm(&mut self, id: ConnectionId, receiving: Receiving, filling: Option<BytesMut>) {
        let connection = self.open(id);
        assert_eq!(connection.receiving, Receiving::Idle, "one receive is armed at a time");
        connection.receiving = receiving;
        connection.filling = filling;
    }

    fn soon(&mut self, now: u64) -> u64 {
        now + self.random.below(OPERATION_NS_MAX)
    }

    /// A connection that was adopted and not closed since.
    fn open(&mut self, id: ConnectionId) -> &mut Connection {
        let connection = self.connections.get_mut(&id).expect("a connection is adopted before it is used");
        assert!(connection.closing_at.is_none(), "a connection is not used after it was closed");
        connection
    }

    fn send(&mut self, now: u64, send: Send<Slice>) {
        assert!((1..=SEND_PARTS_MAX).contains(&send.parts.len()), "a send has 1 to {SEND_PARTS_MAX} parts");
        let bytes: usize = send.parts.iter().map(|part| part.as_ref().len()).sum();
        assert!(send.skip < bytes, "a send has bytes left");
        let at = self.soon(now);
        let connection = self.open(send.connection);
        assert!(connection.sending.is_none(), "one send is in flight at a time");
        connection.sending = Some(Outgoing { send, taken: 0, at, result: None });
    }

    pub(super) fn next_at_ns(&self, network: &Network) -> Option<u64> {
        let accepts = self.accepting.iter().filter_map(|(listener, accepting)| match accepting {
            Accepting::Armed => network.next_accept_at(*listener),
            Accepting::Paused { at } => Some(*at),
        });
        let connections = self.connections.values().filter_map(|connection| connection.next_at(network));
        accepts.chain(connections).min()
    }

    /// Hands over what is due. What becomes due by it is left for the next call.
    pub(super) fn complete(&mut self, now: u64, network: &RefCell<Network>, each: Each<'_>) {
        let listeners: Vec<ListenerId> = self.accepting.keys().copied().collect();
        for listener in listeners {
            self.complete_accept(now, network, listener, each);
        }
        let mut due: Vec<ConnectionId> = {
            let network = network.borrow();
            let is_due = |connection: &Connection| connection.next_at(&network).is_some_and(|at| at <= now);
            self.connections.iter().filter(|(_, connection)| is_due(connection)).map(|(id, _)| *id).collect()
        };
        self.random.shuffle(&mut due);
        for id in due {
            self.complete_send(now, network, id, each);
            self.complete_receive(now, network, id, each);
            self.complete_close(now, network, id, each);
        }
    }

    fn complete_accept(&mut self, now: u64, network: &RefCell<Network>, listener: ListenerId, each: Each<'_>) {
        let accepting = self.accepting[&listener];
        let errno = if accepting == Accepting::Armed && network.borrow().next_accept_at(listener) > Some(now) {
            None
        } else if self.random.chance(self.weather.accept_failure_per_million) {
            network.borrow().next_accept_at(listener).map(|_| libc::EMFILE)
        } else {
            let accepted = network.borrow_mut().accept(now, listener);
            if let Some((socket, peer, local)) = accepted {
                each(Event::Accepted { listener, socket, peer, local });
            }
            (accepted.is_some() && self.random.chance(self.weather.accept_end_per_million)).then_some(0)
        };
        let paused = matches!(accepting, Accepting::Paused { at } if at <= now).then_some(0);
        if let Some(errno) = errno.or(paused) {
            self.accepting.remove(&listener);
            each(Event::AcceptEnded { listener, errno });
        }
    }

    fn complete_send(&mut self, now: u64, network: &RefCell<Network>, id: ConnectionId, each: Each<'_>) {
        let connection = self.connections.get_mut(&id).expect("due");
        let Some(outgoing) = connection.sending.as_mut().filter(|_| connection.closing_at.is_none()) else { return };
        if outgoing.at > now {
            return;
        }
        if outgoing.result.is_none() {
            let mut network = network.borrow_mut();
            let window = network.node_window(connection.socket);
            if window == 0 {
                return;
            }
            let short = self.random.chance(self.weather.short_send_per_million);
            outgoing.advance(now, &mut network, connection.socket, window, short.then_some(&mut self.random));
            outgoing.at = now + self.random.below(OPERATION_NS_MAX);
            return;
        }
        let Outgoing { send, result, .. } = connection.sending.take().expect("looked at above");
        each(Event::Sent { send, result: result.expect("set above") });
    }

    fn complete_receive(&mut self, now: u64, network: &RefCell<Network>, id: ConnectionId, each: Each<'_>) {
        let connection = self.connections.get_mut(&id).expect("due");
        if connection.receiving == Receiving::Idle || connection.closing_at.is_some() {
            return;
        }
        let socket = connection.socket;
        let has_bytes = network.borrow().node_next_at(socket).is_some_and(|at| at <= now);
        let mut end = None;
        if has_bytes {
            let rearm = self.random.chance(self.weather.rearm_per_million);
            if rearm && self.random.index(2) == 0 {
                end = Some(ReceiveEnd::Rearm);
            } else {
                let split = self.random.chance(self.weather.split_per_million);
                let bytes_max = if split { 1 + self.random.index(RECEIVE_BYTES_MAX) } else { RECEIVE_BYTES_MAX };
                let bytes_max = if split && self.random.index(2) == 0 { 1 + bytes_max % 7 } else { bytes_max };
                let room = connection.filling.as_ref().map(|buffer| buffer.capacity() - buffer.len());
                self.received.clear();
                let bytes_max = bytes_max.min(room.unwrap_or(usize::MAX));
                network.borrow_mut().node_read(now, socket, bytes_max, &mut self.received);
                if !self.received.is_empty() {
                    match &mut connection.filling {
                        Some(buffer) => buffer.extend_from_slice(&self.received),
                        None => each(Event::Received { connection: id, data: &self.received }),
                    }
                    let is_over = rearm || connection.receiving == Receiving::Once || room.is_some();
                    end = is_over.then_some(ReceiveEnd::Rearm);
                }
            }
        }
        let cancelled = matches!(connection.receiving, Receiving::Cancelled { at } if at <= now);
        let end = end
            .or_else(|| {
                network.borrow().node_ended(now, socket).map(|end| match end {
                    End::Orderly => ReceiveEnd::PeerClosed,
                    End::Reset => ReceiveEnd::Failed(libc::ECONNRESET),
                })
            })
            .or(cancelled.then_some(ReceiveEnd::Cancelled));
        if let Some(end) = end {
            connection.receiving = Receiving::Idle;
            each(match connection.filling.take() {
                Some(buffer) => Event::Filled { connection: id, buffer, end },
                None => Event::ReceiveEnded { connection: id, end },
            });
        }
    }

    fn complete_close(&mut self, now: u64, network: &RefCell<Network>, id: ConnectionId, each: Each<'_>) {
        let connection = &self.connections[&id];
        if connection.closing_at.is_none_or(|at| at > now) {
            return;
        }
        let mut connection = self.connections.remove(&id).expect("looked at above");
        if let Some(Outgoing { send, taken, result, .. }) = connection.sending.take() {
            let interrupted = if taken > 0 { Ok(taken) } else { Err(libc::ECANCELED) };
            each(Event::Sent { send, result: result.unwrap_or(interrupted) });
        }
        network.borrow_mut().node_close(now, connection.socket);
        each(Event::Closed { connection: id });
    }
}

impl Connection {
    /// When something is due; never for a receive without bytes or a send without window.
    fn next_at(&self, network: &Network) -> Option<u64> {
        let receive = match self.receiving {
            _ if self.closing_at.is_some() => None,
            Receiving::Idle => None,
            Receiving::Armed | Receiving::Once => network.node_next_at(self.socket),
            Receiving::Cancelled { at } => Some(network.node_next_at(self.socket).map_or(at, |data| data.min(at))),
        };
        let send = self.sending.as_ref().filter(|_| self.closing_at.is_none()).and_then(|outgoing| {
            let can = outgoing.result.is_some() || network.node_window(self.socket) > 0;
            can.then_some(outgoing.at)
        });
        [receive, send, self.closing_at].into_iter().flatten().min()
    }
}

impl Outgoing {
    /// The network takes as many more bytes as the window has room for, or any smaller number, and then reports, if the
    /// send is to be short.
    fn advance(&mut self, now: u64, network: &mut Network, socket: Socket, window: usize, short: Option<&mut Random>) {
        let total: usize = self.send.parts.iter().map(|part| part.as_ref().len()).sum();
        let left = total - self.send.skip - self.taken;
        let room = window.min(left);
        let is_short = short.is_some();
        let wanted = short.map_or(room, |random| 1 + random.index(room));
        let bytes = gather(&self.send, self.send.skip + self.taken, wanted);
        match network.node_write(now, socket, &bytes) {
            Err(errno) if self.taken == 0 => self.result = Some(Err(errno)),
            Err(_) => self.result = Some(Ok(self.taken)),
            Ok(()) => {
                self.taken += wanted;
                if is_short || wanted == left {
                    self.result = Some(Ok(self.taken));
                }
            }
        }
    }
}

/// `wanted` bytes of the parts, from byte `skip` on.
fn gather(send: &Send<Slice>, mut skip: usize, wanted: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(wanted);
    for part in &send.parts {
        let part: &[u8] = part.as_ref();
        let skipped = skip.min(part.len());
        skip -= skipped;
        let rest = &part[skipped..];
        bytes.extend_from_slice(&rest[..rest.len().min(wanted - bytes.len())]);
    }
    bytes
}
