//! The socket operations of a ring.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use bytes::BytesMut;
use io_uring::{opcode, squeue, types};
use net::ops::{ConnectionId, Event, ListenerId, Op, ReceiveEnd, SEND_PARTS_MAX, Send, Socket};
use socket2::{SockAddr, SockRef};
use storage::buffer::Slice;

use super::buffers::{self, Buffers};
use super::queue::{Arrival, GENERATION_MASK, Key, Kind, Queue};
use super::{Each, Ready};
use crate::driver::Completion;

/// Connections of one shard, at the most: what bounds the table that their numbers index.
const CONNECTIONS_MAX: usize = 1 << 20;
/// Memory for vectored sends that is kept for the next ones.
const SPARE_SENDS_MAX: usize = 64;

struct Listener {
    socket: TcpListener,
    armed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiving {
    Idle,
    Armed,
    Cancelled,
}

/// A send in flight, and the memory that the kernel reads it from.
struct Outgoing {
    send: Option<Send<Slice>>,
    vectors: Vec<libc::iovec>,
    message: libc::msghdr,
}

impl Outgoing {
    fn new() -> Box<Self> {
        // SAFETY: a msghdr of zeros is valid: null pointers with zero lengths.
        let message = unsafe { std::mem::zeroed() };
        Box::new(Self { send: None, vectors: Vec::new(), message })
    }

    /// Fills the vectors with what of `send` lies behind its `skip`.
    fn prepare(&mut self, send: Send<Slice>) {
        assert!((1..=SEND_PARTS_MAX).contains(&send.parts.len()), "a send has 1 to {SEND_PARTS_MAX} parts");
        self.vectors.clear();
        let mut skip = send.skip;
        for part in &send.parts {
            let bytes: &[u8] = part.as_ref();
            let skipped = skip.min(bytes.len());
            skip -= skipped;
            if skipped < bytes.len() {
                let rest = &bytes[skipped..];
                self.vectors.push(libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() });
            }
        }
        assert!(!self.vectors.is_empty(), "a send has bytes left");
        self.message.msg_iov = self.vectors.as_mut_ptr();
        self.message.msg_iovlen = self.vectors.len();
        self.send = Some(send);
    }
}

struct Connection {
    socket: OwnedFd,
    receiving: Receiving,
    /// What the kernel receives into, where that is no provided buffer.
    filling: Option<BytesMut>,
    sending: Option<Box<Outgoing>>,
    closing: bool,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    connection: Option<Connection>,
}

/// All sockets of a ring.
pub(super) struct Sockets {
    listeners: Vec<Listener>,
    connections: Vec<Slot>,
    buffers: Buffers,
    /// For the next sends, so that a connection without one holds no such memory. Boxed: the kernel knows the
    /// address of the message header.
    #[expect(clippy::vec_box, reason = "an Outgoing in flight must not move")]
    spare: Vec<Box<Outgoing>>,
}

impl Sockets {
    pub(super) fn new(listeners: Vec<TcpListener>, buffers: Buffers) -> Self {
        let listeners = listeners.into_iter().map(|socket| Listener { socket, armed: false }).collect();
        Self { listeners, connections: Vec::new(), buffers, spare: Vec::new() }
    }

    pub(super) fn submit(&mut self, op: Op<Slice>, queue: &mut Queue, ready: &mut Ready) {
        match op {
            Op::Accept { listener } => self.accept(listener, queue),
            Op::PauseAccept { listener } => {
                if self.listeners[usize::from(listener.0)].armed {
                    queue.cancel(accept_key(listener));
                }
            }
            Op::Adopt { connection, socket } => self.adopt(connection, socket),
            Op::Receive { connection } => self.receive(connection, queue),
            Op::ReceiveOnce { connection } => self.receive_once(connection, queue),
            Op::ReceiveInto { connection, buffer } => self.receive_into(connection, buffer, queue),
            Op::CancelReceive { connection } => self.cancel_receive(connection, queue),
            Op::Send(send) => self.send(send, queue),
            Op::Close { connection } => self.close(connection, queue, ready),
            Op::Discard { socket } => drop(own(socket)),
        }
    }

    fn connection(&mut self, id: ConnectionId) -> (&mut Connection, u32) {
        let slot = self.connections.get_mut(id.0 as usize).expect("a connection is adopted before it is used");
        let connection = slot.connection.as_mut().expect("a connection is not used after it was closed");
        (connection, slot.generation)
    }

    fn accept(&mut self, id: ListenerId, queue: &mut Queue) {
        let listener = &mut self.listeners[usize::from(id.0)];
        assert!(!listener.armed, "a listener accepts once at a time");
        listener.armed = true;
        let entry = opcode::AcceptMulti::new(types::Fd(listener.socket.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: the entry names no memory, and the listener is held until nothing is in flight.
        unsafe { queue.push(entry, accept_key(id)) }
    }

    fn adopt(&mut self, id: ConnectionId, socket: Socket) {
        let index = id.0 as usize;
        assert!(index < CONNECTIONS_MAX, "connection numbers are dense from 0");
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, Slot::default);
        }
        let slot = &mut self.connections[index];
        assert!(slot.connection.is_none(), "a number is reused after Closed only");
        slot.connection = Some(Connection {
            socket: own(socket),
            receiving: Receiving::Idle,
            filling: None,
            sending: None,
            closing: false,
        });
    }

    /// A connection whose receive is armed now.
    fn armed(&mut self, id: ConnectionId) -> (&mut Connection, u32) {
        let (connection, generation) = self.connection(id);
        assert!(connection.receiving == Receiving::Idle && !connection.closing, "one receive is armed at a time");
        connection.receiving = Receiving::Armed;
        (connection, generation)
    }

    fn receive(&mut self, id: ConnectionId, queue: &mut Queue) {
        let (connection, generation) = self.armed(id);
        let entry = opcode::RecvMulti::new(types::Fd(connection.socket.as_raw_fd()), buffers::GROUP).build();
        // SAFETY: the buffers of the group are registered, and they and the socket are held until nothing is in
        // flight.
        unsafe { queue.push(entry, Key::new(Kind::Receive, generation, id.0)) }
    }

    fn receive_once(&mut self, id: ConnectionId, queue: &mut Queue) {
        let (connection, generation) = self.armed(id);
        let socket = types::Fd(connection.socket.as_raw_fd());
        let entry = opcode::Recv::new(socket, std::ptr::null_mut(), 0).buf_group(buffers::GROUP).build();
        let entry = entry.flags(squeue::Flags::BUFFER_SELECT);
        // SAFETY: as for a receive that stays armed.
        unsafe { queue.push(entry, Key::new(Kind::Receive, generation, id.0)) }
    }

    fn receive_into(&mut self, id: ConnectionId, mut buffer: BytesMut, queue: &mut Queue) {
        let (connection, generation) = self.armed(id);
        let room = buffer.spare_capacity_mut();
        assert!(!room.is_empty(), "a buffer to receive into has room");
        let length = u32::try_from(room.len()).unwrap_or(u32::MAX);
        let socket = types::Fd(connection.socket.as_raw_fd());
        let entry = opcode::Recv::new(socket, room.as_mut_ptr().cast(), length).build();
        connection.filling = Some(buffer);
        // SAFETY: the buffer's memory does not move with it, and it and the socket stay in the connection until the
        // completion is taken; nobody else touches the buffer meanwhile.
        unsafe { queue.push(entry, Key::new(Kind::Receive, generation, id.0)) }
    }

    fn cancel_receive(&mut self, id: ConnectionId, queue: &mut Queue) {
        let (connection, generation) = self.connection(id);
        if connection.receiving == Receiving::Armed {
            connection.receiving = Receiving::Cancelled;
            queue.cancel(Key::new(Kind::Receive, generation, id.0));
        }
    }

    fn send(&mut self, send: Send<Slice>, queue: &mut Queue) {
        let mut outgoing = self.spare.pop().unwrap_or_else(Outgoing::new);
        let id = send.connection;
        let (connection, generation) = self.connection(id);
        assert!(connection.sending.is_none() && !connection.closing, "one send is in flight at a time");
        outgoing.prepare(send);
        let socket = types::Fd(connection.socket.as_raw_fd());
        // With WAITALL the kernel goes on by itself when the socket has room again.
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let entry = match outgoing.vectors[..] {
            [only] => opcode::Send::new(socket, only.iov_base.cast(), only.iov_len as u32).flags(flags).build(),
            _ => opcode::SendMsg::new(socket, &raw const outgoing.message).flags(flags as u32).build(),
        };
        connection.sending = Some(outgoing);
        // SAFETY: header, vectors and parts belong to the boxed Outgoing, which stays in the connection, as does the
        // socket, until the completion is taken. Parts do not move with it: they are counted references.
        unsafe { queue.push(entry, Key::new(Kind::Send, generation, id.0)) }
    }

    fn close(&mut self, id: ConnectionId, queue: &mut Queue, ready: &mut Ready) {
        let (connection, generation) = self.connection(id);
        assert!(!connection.closing, "a connection is closed once");
        connection.closing = true;
        let receiving = connection.receiving != Receiving::Idle;
        let sending = connection.sending.is_some();
        if receiving || sending {
            // A cancel can miss an operation that is just running; on a socket that is shut down it ends by itself.
            let _ = SockRef::from(&connection.socket).shutdown(Shutdown::Both);
        }
        if receiving {
            queue.cancel(Key::new(Kind::Receive, generation, id.0));
        }
        if sending {
            queue.cancel(Key::new(Kind::Send, generation, id.0));
        }
        if self.finish_close(id) {
            ready.net.push_back(Event::Closed { connection: id });
        }
    }

    /// Frees the number of a connection that is to close and has nothing in flight.
    fn finish_close(&mut self, id: ConnectionId) -> bool {
        let slot = &mut self.connections[id.0 as usize];
        let over = slot.connection.as_ref().is_some_and(|connection| {
            connection.closing && connection.receiving == Receiving::Idle && connection.sending.is_none()
        });
        if over {
            slot.connection = None;
            slot.generation = (slot.generation + 1) & GENERATION_MASK;
        }
        over
    }

    pub(super) fn accepted(&mut self, arrival: Arrival, each: Each<'_>) {
        let id = ListenerId(arrival.key.index as u16);
        if arrival.result >= 0 {
            let socket = Socket(arrival.result);
            match addresses(socket) {
                Ok((peer, local)) => each(Completion::Net(Event::Accepted { listener: id, socket, peer, local })),
                // The peer has gone already.
                Err(_) => drop(own(socket)),
            }
        }
        if !arrival.more() {
            self.listeners[usize::from(id.0)].armed = false;
            let errno = match -arrival.result {
                libc::ECANCELED => 0,
                errno => errno.max(0),
            };
            each(Completion::Net(Event::AcceptEnded { listener: id, errno }));
        }
    }

    pub(super) fn received(&mut self, arrival: Arrival, each: Each<'_>) {
        let id = ConnectionId(arrival.key.index);
        let connection = self.current(arrival);
        let closing = connection.closing;
        let filled = connection.filling.take().map(|mut buffer| {
            let length = buffer.len() + usize::try_from(arrival.result).unwrap_or(0);
            // SAFETY: the kernel says that it has written so many bytes behind those there were, within the capacity that it
            // was told.
            unsafe { buffer.set_len(length) };
            buffer
        });
        if let Some(buffer) = arrival.buffer() {
            if arrival.result > 0 && !closing {
                let data = self.buffers.received(buffer, arrival.result as usize);
                each(Completion::Net(Event::Received { connection: id, data }));
            }
            self.buffers.give_back(buffer);
        }
        if arrival.more() {
            return;
        }
        let connection = self.current(arrival);
        let end = match -arrival.result {
            0 => ReceiveEnd::PeerClosed,
            libc::ECANCELED => ReceiveEnd::Cancelled,
            errno if errno < 0 || matches!(errno, libc::ENOBUFS | libc::EINTR | libc::EAGAIN) => {
                if connection.receiving == Receiving::Cancelled { ReceiveEnd::Cancelled } else { ReceiveEnd::Rearm }
            }
            errno => ReceiveEnd::Failed(errno),
        };
        connection.receiving = Receiving::Idle;
        if closing {
            if self.finish_close(id) {
                each(Completion::Net(Event::Closed { connection: id }));
            }
            return;
        }
        each(Completion::Net(match filled {
            Some(buffer) => Event::Filled { connection: id, buffer, end },
            None => Event::ReceiveEnded { connection: id, end },
        }));
    }

    pub(super) fn sent(&mut self, arrival: Arrival, each: Each<'_>) {
        let id = ConnectionId(arrival.key.index);
        let mut outgoing = self.current(arrival).sending.take().expect("a send completes once");
        let send = outgoing.send.take().expect("set when it was submitted");
        if self.spare.len() < SPARE_SENDS_MAX {
            self.spare.push(outgoing);
        }
        let result = usize::try_from(arrival.result).map_err(|_| -arrival.result);
        each(Completion::Net(Event::Sent { send, result }));
        if self.finish_close(id) {
            each(Completion::Net(Event::Closed { connection: id }));
        }
    }

    /// The connection that a completion belongs to: its number is not free before its last one was taken.
    fn current(&mut self, arrival: Arrival) -> &mut Connection {
        let (connection, generation) = self.connection(ConnectionId(arrival.key.index));
        assert_eq!(generation, arrival.key.generation, "a number is reused after its last completion");
        connection
    }
}

fn accept_key(listener: ListenerId) -> Key {
    Key::new(Kind::Accept, 0, u32::from(listener.0))
}

/// Takes over a socket that travels as a number.
fn own(socket: Socket) -> OwnedFd {
    // SAFETY: the number came with Event::Accepted, and the shards pass it on by value until one adopts or discards
    // it: nobody else owns the descriptor.
    unsafe { OwnedFd::from_raw_fd(socket.0) }
}

/// Both ends of a fresh connection, which is also told to send small answers at once.
fn addresses(socket: Socket) -> io::Result<(SocketAddr, SocketAddr)> {
    // SAFETY: the descriptor is open during this call.
    let socket = unsafe { BorrowedFd::borrow_raw(socket.0) };
    let socket = SockRef::from(&socket);
    socket.set_tcp_nodelay(true)?;
    let internet = |address: SockAddr| address.as_socket().ok_or(io::Error::from(io::ErrorKind::Unsupported));
    Ok((internet(socket.peer_addr()?)?, internet(socket.local_addr()?)?))
}
