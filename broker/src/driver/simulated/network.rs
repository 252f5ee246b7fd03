//! The network between simulated clients and a node: sockets with two ends, in memory.
//!
//! ```text
//! client ── write ──► [segment at t1][segment at t2] … end? ──► receive ── node
//!        ◄── read ─── … [segment at t2][segment at t1] ◄─────── send ─────
//! ```
//!
//! Bytes arrive in order, in segments cut and delayed by the seed. An end is either orderly, after everything written
//! before it, or a reset, which takes what is still under way with it.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

use net::ops::{ListenerId, Socket};
use storage::simulated::Random;

/// Longest time a segment is under way, in nanoseconds.
const DELAY_NS_MAX: u64 = 300_000;
/// Bytes towards a client that it has not read, at the most: the window of the connection.
const WINDOW_BYTES: usize = 256 << 10;
/// The port of the first listener.
const PORT: u16 = 9092;

/// How one direction of a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Orderly,
    Reset,
}

/// One direction.
#[derive(Debug, Default)]
struct Stream {
    /// Bytes with the time they arrive at, never decreasing.
    segments: VecDeque<(u64, Vec<u8>)>,
    /// Bytes of the first segment already read.
    consumed: usize,
    queued_bytes: usize,
    last_at: u64,
    end: Option<(u64, End)>,
}

impl Stream {
    fn write(&mut self, now: u64, mut bytes: &[u8], random: &mut Random) {
        while !bytes.is_empty() && self.end.is_none() {
            let whole = random.index(4) != 0;
            let length = if whole { bytes.len() } else { 1 + random.index(bytes.len()) };
            let (segment, rest) = bytes.split_at(length);
            let at = self.arrival(now, random);
            self.segments.push_back((at, segment.to_vec()));
            self.queued_bytes += length;
            bytes = rest;
        }
    }

    fn arrival(&mut self, now: u64, random: &mut Random) -> u64 {
        self.last_at = self.last_at.max(now + random.below(DELAY_NS_MAX));
        self.last_at
    }

    fn finish(&mut self, now: u64, random: &mut Random) {
        if self.end.is_none() {
            self.end = Some((self.arrival(now, random), End::Orderly));
        }
    }

    /// Ends it at once; any number of the last segments never arrive.
    fn reset(&mut self, now: u64, random: &mut Random) {
        let arriving = random.index(self.segments.len() + 1);
        self.segments.truncate(arriving);
        if self.segments.is_empty() {
            self.consumed = 0;
        }
        self.queued_bytes = self.segments.iter().map(|(_, segment)| segment.len()).sum::<usize>() - self.consumed;
        self.last_at = self.last_at.min(self.segments.back().map_or(now, |(at, _)| *at)).max(now);
        self.end = Some((self.arrival(now, random), End::Reset));
    }

    /// Nothing that is still under way arrives before `until`, and nothing written later.
    fn stall(&mut self, now: u64, until: u64) {
        for (at, _) in self.segments.iter_mut().filter(|(at, _)| *at > now) {
            *at = until.max(*at);
        }
        if let Some((at, _)) = &mut self.end {
            *at = until.max(*at);
        }
        self.last_at = until.max(self.last_at);
    }

    fn next_at(&self) -> Option<u64> {
        self.segments.front().map(|(at, _)| *at).or(self.end.map(|(at, _)| at))
    }

    /// Appends up to `bytes_max` arrived bytes to `out`; says how many.
    fn read(&mut self, now: u64, bytes_max: usize, out: &mut Vec<u8>) -> usize {
        let mut read = 0;
        while read < bytes_max {
            let Some((at, segment)) = self.segments.front() else { break };
            if *at > now {
                break;
            }
            let part = &segment[self.consumed..];
            let taken = part.len().min(bytes_max - read);
            out.extend_from_slice(&part[..taken]);
            read += taken;
            self.consumed += taken;
            if self.consumed == segment.len() {
                self.segments.pop_front();
                self.consumed = 0;
            }
        }
        self.queued_bytes -= read;
        read
    }

    /// The end, if everything before it was read and it has arrived.
    fn ended(&self, now: u64) -> Option<End> {
        let (at, end) = self.end?;
        (self.segments.is_empty() && at <= now).then_some(end)
    }
}

/// A socket: both directions.
#[derive(Debug, Default)]
struct Link {
    to_node: Stream,
    to_client: Stream,
    client_is_gone: bool,
    node_is_gone: bool,
}

/// What a client finds at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientRead {
    /// The connection lives.
    Open,
    /// The node has closed it, or it was cut; nothing more comes.
    Ended,
}

#[derive(Debug, Default)]
struct Listener {
    /// Connections nobody has accepted, with the time they arrive at.
    backlog: VecDeque<(u64, Socket)>,
    last_at: u64,
}

/// All sockets of the simulated world. Clients call it directly; shards by way of their drivers.
#[derive(Debug)]
pub struct Network {
    links: BTreeMap<i32, Link>,
    listeners: BTreeMap<ListenerId, Listener>,
    next_socket: i32,
    random: Random,
}

impl Network {
    /// A network without sockets.
    #[must_use]
    pub fn new(random: Random) -> Self {
        Self { links: BTreeMap::new(), listeners: BTreeMap::new(), next_socket: 3, random }
    }

    /// The node begins to listen.
    pub fn listen(&mut self, listener: ListenerId) {
        self.listeners.insert(listener, Listener::default());
    }

    /// A client connects; nothing if nobody listens.
    pub fn connect(&mut self, now_ns: u64, listener: ListenerId) -> Option<Socket> {
        let listener = self.listeners.get_mut(&listener)?;
        let socket = Socket(self.next_socket);
        self.next_socket += 1;
        listener.last_at = listener.last_at.max(now_ns + self.random.below(DELAY_NS_MAX));
        listener.backlog.push_back((listener.last_at, socket));
        self.links.insert(socket.0, Link::default());
        Some(socket)
    }

    /// A client writes.
    pub fn client_write(&mut self, now_ns: u64, socket: Socket, bytes: &[u8]) {
        if let Some(link) = self.links.get_mut(&socket.0) {
            link.to_node.write(now_ns, bytes, &mut self.random);
        }
    }

    /// A client reads up to `bytes_max` bytes into `out`.
    pub fn client_read(&mut self, now_ns: u64, socket: Socket, bytes_max: usize, out: &mut Vec<u8>) -> ClientRead {
        let Some(link) = self.links.get_mut(&socket.0) else { return ClientRead::Ended };
        let read = link.to_client.read(now_ns, bytes_max, out);
        match link.to_client.ended(now_ns) {
            Some(_) if read == 0 => ClientRead::Ended,
            Some(_) | None => ClientRead::Open,
        }
    }

    /// When the client can read something next, be it the end.
    #[must_use]
    pub fn client_next_at_ns(&self, socket: Socket) -> Option<u64> {
        self.links.get(&socket.0).map_or(Some(0), |link| link.to_client.next_at())
    }

    /// A client sends no more, and reads what still comes.
    pub fn client_finish(&mut self, now_ns: u64, socket: Socket) {
        if let Some(link) = self.links.get_mut(&socket.0) {
            link.to_node.finish(now_ns, &mut self.random);
        }
    }

    /// The connection is cut, in both directions.
    pub fn cut(&mut self, now_ns: u64, socket: Socket) {
        if let Some(link) = self.links.get_mut(&socket.0) {
            link.to_node.reset(now_ns, &mut self.random);
            link.to_client.reset(now_ns, &mut self.random);
        }
    }

    /// Nothing gets through on about half of the connections until `until_ns`, in neither direction; then all of it
    /// does. Says how many are concerned.
    pub fn split(&mut self, now_ns: u64, until_ns: u64) -> usize {
        let mut split = 0;
        for link in self.links.values_mut() {
            if self.random.index(2) == 0 {
                link.to_node.stall(now_ns, until_ns);
                link.to_client.stall(now_ns, until_ns);
                split += 1;
            }
        }
        split
    }

    /// The client forgets the socket.
    pub fn client_close(&mut self, now_ns: u64, socket: Socket) {
        self.client_finish(now_ns, socket);
        if let Some(link) = self.links.get_mut(&socket.0) {
            link.client_is_gone = true;
        }
        self.forget_if_over(socket);
    }

    /// The node is gone: nobody listens, every connection is cut.
    pub fn sever(&mut self, now_ns: u64) {
        self.listeners.clear();
        let sockets: Vec<i32> = self.links.keys().copied().collect();
        for socket in sockets {
            self.cut(now_ns, Socket(socket));
            self.node_close(now_ns, Socket(socket));
        }
    }

    /// Sockets that one end still holds.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.links.len()
    }

    // The node's ends.

    pub(super) fn next_accept_at(&self, listener: ListenerId) -> Option<u64> {
        self.listeners.get(&listener)?.backlog.front().map(|(at, _)| *at)
    }

    pub(super) fn accept(&mut self, now_ns: u64, listener: ListenerId) -> Option<(Socket, SocketAddr, SocketAddr)> {
        let backlog = &mut self.listeners.get_mut(&listener)?.backlog;
        let (_, socket) = backlog.pop_front_if(|(at, _)| *at <= now_ns)?;
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 10_000 + (socket.0 % 50_000) as u16));
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT + listener.0));
        Some((socket, peer, local))
    }

    pub(super) fn node_next_at(&self, socket: Socket) -> Option<u64> {
        self.links[&socket.0].to_node.next_at()
    }

    pub(super) fn node_read(&mut self, now_ns: u64, socket: Socket, bytes_max: usize, out: &mut Vec<u8>) -> usize {
        self.link(socket).to_node.read(now_ns, bytes_max, out)
    }

    pub(super) fn node_ended(&self, now_ns: u64, socket: Socket) -> Option<End> {
        self.links[&socket.0].to_node.ended(now_ns)
    }

    /// Bytes the node can send at once; none while the client does not read. A broken connection takes everything,
    /// in order to fail.
    pub(super) fn node_window(&self, socket: Socket) -> usize {
        let link = &self.links[&socket.0];
        if link.client_is_gone || link.to_client.end.is_some() {
            return usize::MAX;
        }
        WINDOW_BYTES.saturating_sub(link.to_client.queued_bytes)
    }

    pub(super) fn node_write(&mut self, now_ns: u64, socket: Socket, bytes: &[u8]) -> Result<(), i32> {
        let link = self.links.get_mut(&socket.0).expect("a connection's socket exists");
        if link.to_client.end.is_some() {
            return Err(libc::ECONNRESET);
        }
        if link.client_is_gone {
            // The first send after the peer has gone succeeds; the reset comes in answer to it.
            link.to_client.end = Some((now_ns, End::Reset));
            return Ok(());
        }
        link.to_client.write(now_ns, bytes, &mut self.random);
        Ok(())
    }

    pub(super) fn node_close(&mut self, now_ns: u64, socket: Socket) {
        let Some(link) = self.links.get_mut(&socket.0) else { return };
        let unread = link.to_node.queued_bytes > 0;
        if unread && self.random.index(2) == 0 {
            // Closing with bytes unread resets the connection, and the last answers may be lost.
            link.to_client.reset(now_ns, &mut self.random);
        } else {
            link.to_client.finish(now_ns, &mut self.random);
        }
        link.node_is_gone = true;
        self.forget_if_over(socket);
    }

    fn link(&mut self, socket: Socket) -> &mut Link {
        self.links.get_mut(&socket.0).expect("a connection's socket exists")
    }

    fn forget_if_over(&mut self, socket: Socket) {
        if self.links.get(&socket.0).is_some_and(|link| link.client_is_gone && link.node_is_gone) {
            self.links.remove(&socket.0);
        }
    }
}
