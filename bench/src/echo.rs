//! An echo server on the broker's own ring: the least CPU that any broker on it can need.
//!
//! It answers each `request_bytes` that come in on a connection with `response_bytes`, does nothing else, and
//! answers all that came in one turn with one send, as a broker does.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use broker::driver::ring::{self, Ring, Waker};
use broker::driver::{Completion, Driver, Ops};
use broker::turn::{Next, Now, Turn};
use broker::{listen, pump};
use bytes::Bytes;
use net::ops::{ConnectionId, Event, ListenerId, Op, Part, ReceiveEnd, Send};
use storage::batch::{HEADER_BYTES, copy_with_crc};
use storage::buffer::Slice;

/// Bytes that are copied to in turn: more than the caches have, as a broker's memory.
const COPY_BYTES: usize = 64 << 20;

/// The most answers that one send carries.
const ANSWERS_PER_SEND: usize = 1024;

const LISTENER: ListenerId = ListenerId(0);

/// Sizes of what is exchanged, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Of a request; at least 1.
    pub request: usize,
    /// Of its answer; at least 1.
    pub response: usize,
    /// Whether all that comes in is copied and checksummed in one pass, as a broker has to.
    pub digests: bool,
}

/// Serves on 127.0.0.1 with the pump that carries a broker's shard, until the process ends.
///
/// # Errors
/// If the port or the ring is not to be had.
pub fn serve(port: u16, core: usize, sizes: Sizes) -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = listen::bind(address).map_err(io::Error::other)?;
    let config =
        pump::Config { directories: vec![Some(PathBuf::from("."))], listeners: vec![listener], cores: vec![core] };
    pump::start(config, vec![move || Echo::new(sizes)]).map_err(io::Error::other)?.join();
    Ok(())
}

/// Serves on 127.0.0.1 with the ring alone, without pump and executor, until the process ends: what the pump costs
/// is the difference. The caller has chosen the CPU.
///
/// # Errors
/// If the port or the ring is not to be had.
pub fn serve_without_pump(port: u16, sizes: Sizes) -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = listen::bind(address).map_err(io::Error::other)?;
    let config =
        ring::Config { directories: vec![Some(PathBuf::from("."))], listeners: vec![listener], waker: Waker::new()? };
    let mut ring = Ring::new(config)?;
    let mut echo = Echo::new(sizes);
    let mut ops = Ops::default();
    let now = Now { monotonic_ns: 0, wall_ms: 0 };
    loop {
        ring.complete(&mut |completion| echo.complete(completion));
        echo.turn(now, &mut ops, &mut Vec::new());
        ring.submit(&mut ops);
        ring.wait(None);
    }
}

#[derive(Default)]
struct Connection {
    /// Bytes of a request that has not come in whole.
    partial_bytes: usize,
    /// Requests that wait for their answer.
    owed: usize,
    /// Whether a send is in flight.
    sending: bool,
    /// Whether it was told to close: it answers nothing any more.
    closing: bool,
    /// The vector of the former send, for the next one.
    parts: Vec<Part<Slice>>,
}

/// The server as a shard's state machine.
pub struct Echo {
    sizes: Sizes,
    /// As many answers as one send may carry.
    answers: Bytes,
    /// Where what comes in is copied to, and how much of it is taken.
    copy: Vec<u8>,
    copied: usize,
    connections: Vec<Option<Connection>>,
    /// Connections that have come to owe an answer in this turn, and may send.
    due: Vec<ConnectionId>,
    ops: Ops,
    started: bool,
    stopping: bool,
}

impl Echo {
    /// A server without connections.
    #[must_use]
    pub fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            answers: Bytes::from(vec![7; sizes.response * ANSWERS_PER_SEND]),
            copy: if sizes.digests { vec![0; COPY_BYTES] } else { Vec::new() },
            copied: 0,
            connections: Vec::new(),
            due: Vec::new(),
            ops: Ops::default(),
            started: false,
            stopping: false,
        }
    }

    fn connection(&mut self, id: ConnectionId) -> &mut Connection {
        self.connections[id.0 as usize].as_mut().expect("events are of open connections")
    }

    fn adopt(&mut self) -> ConnectionId {
        let free = self.connections.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.connections[index] = Some(Connection::default());
        ConnectionId(index as u32)
    }

    fn received(&mut self, id: ConnectionId, bytes: usize) {
        let request = self.sizes.request;
        let connection = self.connection(id);
        let all = connection.partial_bytes + bytes;
        connection.partial_bytes = all % request;
        let was_due = connection.owed > 0 || connection.sending;
        connection.owed += all / request;
        if !was_due && connection.owed > 0 {
            self.due.push(id);
        }
    }

    /// Copies and checksums in one pass.
    fn digest(&mut self, data: &[u8]) {
        if data.len() < HEADER_BYTES || data.len() > COPY_BYTES {
            return;
        }
        if self.copied + data.len() > COPY_BYTES {
            self.copied = 0;
        }
        let target = &mut self.copy[self.copied..self.copied + data.len()];
        std::hint::black_box(copy_with_crc(target, data));
        self.copied += data.len();
    }

    fn sent(&mut self, mut send: Send<Slice>, result: Result<usize, i32>) {
        let id = send.connection;
        let total: usize = send.parts.iter().map(|part| part.as_ref().len()).sum();
        let connection = self.connection(id);
        connection.sending = false;
        if connection.closing {
            return;
        }
        match result {
            Ok(sent) if send.skip + sent < total => {
                connection.sending = true;
                send.skip += sent;
                self.ops.net.push(Op::Send(send));
            }
            Ok(_) => {
                send.parts.clear();
                connection.parts = send.parts;
                if connection.owed > 0 {
                    self.due.push(id);
                }
            }
            // The receive ends as well, and closes the connection.
            Err(_) => {}
        }
    }

    fn net(&mut self, event: Event<'_, Slice>) {
        match event {
            Event::Accepted { socket, .. } => {
                let connection = self.adopt();
                self.ops.net.extend([Op::Adopt { connection, socket }, Op::Receive { connection }]);
            }
            Event::AcceptEnded { listener, .. } => self.ops.net.push(Op::Accept { listener }),
            Event::Received { connection, data } => {
                if self.sizes.digests {
                    self.digest(data);
                }
                self.received(connection, data.len());
            }
            Event::ReceiveEnded { connection, end: ReceiveEnd::Rearm } => {
                self.ops.net.push(Op::Receive { connection });
            }
            Event::ReceiveEnded { connection, .. } => {
                self.due.retain(|&due| due != connection);
                self.connection(connection).closing = true;
                self.ops.net.push(Op::Close { connection });
            }
            Event::Filled { .. } => unreachable!("nothing is received into a buffer here"),
            Event::Sent { send, result } => self.sent(send, result),
            Event::Closed { connection } => self.connections[connection.0 as usize] = None,
        }
    }

    fn answer(&mut self, id: ConnectionId) {
        let response = self.sizes.response;
        let answers = self.answers.clone();
        let connection = self.connection(id);
        let count = connection.owed.min(ANSWERS_PER_SEND);
        connection.owed -= count;
        connection.sending = true;
        let mut parts = std::mem::take(&mut connection.parts);
        parts.push(Part::Header(answers.slice(..count * response)));
        self.ops.net.push(Op::Send(Send { connection: id, parts, skip: 0 }));
    }
}

impl Turn for Echo {
    type Mail = ();

    fn begin(&mut self, _now: Now) {}

    fn complete(&mut self, completion: Completion<'_>) {
        match completion {
            Completion::Net(event) => self.net(event),
            Completion::Disk(_) => unreachable!("no file is used"),
        }
    }

    fn mail(&mut self, _from: usize, _mail: ()) {}

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn turn(&mut self, _now: Now, ops: &mut Ops, _outbox: &mut Vec<(usize, ())>) -> Next {
        if !self.started {
            self.started = true;
            ops.net.push(Op::Accept { listener: LISTENER });
        }
        while let Some(id) = self.due.pop() {
            self.answer(id);
        }
        ops.net.append(&mut self.ops.net);
        if self.stopping { Next::Stop } else { Next::Idle { deadline_ns: None } }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn every_request_is_answered_however_it_is_cut() {
        let listener = listen::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let config =
            pump::Config { directories: vec![Some(PathBuf::from("."))], listeners: vec![listener], cores: Vec::new() };
        let sizes = Sizes { request: 10, response: 3, digests: true };
        let node = pump::start(config, vec![move || Echo::new(sizes)]).expect("a ring");
        let mut client = TcpStream::connect(address).expect("served");
        let mut answers = [0; 3 * 2000];
        client.write_all(&[1; 7]).expect("connected");
        client.write_all(&[1; 10 * 2000 - 7]).expect("connected");
        client.read_exact(&mut answers).expect("2,000 answers");
        assert_eq!(answers, [7; 3 * 2000]);
        drop(client);
        node.stopper().stop();
        node.join();
    }
}
