//! What every driver must do, as tests that each driver runs in its own [`World`] by [`contract_suite`].

use std::cell::RefCell;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use net::ops::{ConnectionId, Event, ListenerId, Op, Part, ReceiveEnd, Send, Socket};
use storage::buffer::{Pool, Slice};
use storage::io::{BLOCK_BYTES, DataDirectory, Done, Durability, Failure, FileId, OpenMode, Request, Token};

use super::{Completion, Driver, Ops};

/// A client of the world, dense from 0 in the order of [`World::connect`].
pub(crate) type Client = usize;

/// A driver under test and what surrounds it: an empty data directory and one listener, number 0.
pub(crate) trait World {
    /// The driver under test.
    fn driver(&mut self) -> &mut dyn Driver;

    /// Lets time pass, so that what is in flight gets on.
    fn advance(&mut self);

    /// Connects a client to the listener. The connection may wait in the listener's backlog.
    fn connect(&mut self) -> Client;

    /// Sends from the client's end as much of `bytes` as the connection takes now; says how much that was.
    fn write(&mut self, client: Client, bytes: &[u8]) -> usize;

    /// Appends to `into` what has arrived at the client's end; false once the other side has ended the connection.
    fn read(&mut self, client: Client, into: &mut Vec<u8>) -> bool;

    /// Ends the client's side of the connection.
    fn hang_up(&mut self, client: Client);
}

/// Rounds of submit, advance and complete after which a test gives up waiting.
const ROUNDS_MAX: usize = 20_000;
const LISTENER: ListenerId = ListenerId(0);

/// A completion, kept.
#[derive(Debug)]
enum Seen {
    Accepted(Socket),
    AcceptEnded(i32),
    Received(ConnectionId, Vec<u8>),
    ReceiveEnded(ConnectionId, ReceiveEnd),
    Filled(ConnectionId, BytesMut, ReceiveEnd),
    Sent(Send<Slice>, Result<usize, i32>),
    Closed(ConnectionId),
    Disk(Token, Result<Done, Failure>),
}

/// A world, the operations for it, and all it has said that no test has taken yet.
struct Trial<W> {
    world: W,
    ops: Ops,
    seen: Vec<Seen>,
    pool: Pool,
    tokens: u64,
}

impl<W: World> Trial<W> {
    fn new(world: W) -> Self {
        Self { world, ops: Ops::default(), seen: Vec::new(), pool: Pool::new(64 << 20), tokens: 0 }
    }

    fn round(&mut self) {
        self.world.driver().submit(&mut self.ops);
        assert!(self.ops.is_empty(), "a driver takes every operation");
        self.world.advance();
        let seen = RefCell::new(&mut self.seen);
        self.world.driver().complete(&mut |completion| seen.borrow_mut().push(keep(completion)));
    }

    /// Goes on until a completion fits, takes it out and returns what was made of it.
    fn wait<T>(&mut self, mut fits: impl FnMut(&mut Seen) -> Option<T>) -> T {
        for _ in 0..ROUNDS_MAX {
            for index in 0..self.seen.len() {
                if let Some(found) = fits(&mut self.seen[index]) {
                    self.seen.remove(index);
                    return found;
                }
            }
            self.round();
        }
        panic!("nothing that fits among {:?}", self.seen);
    }

    /// Goes on for some rounds, in which nothing unexpected may come.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.round();
        }
    }

    fn net(&mut self, op: Op<Slice>) {
        self.ops.net.push(op);
    }

    fn accept(&mut self) -> Socket {
        self.wait(|seen| match seen {
            Seen::Accepted(socket) => Some(*socket),
            _ => None,
        })
    }

    /// A client and its connection, with nothing armed.
    fn connection(&mut self, number: u32) -> (Client, ConnectionId) {
        let connection = ConnectionId(number);
        if number == 0 {
            self.net(Op::Accept { listener: LISTENER });
        }
        let client = self.world.connect();
        let socket = self.accept();
        self.net(Op::Adopt { connection, socket });
        (client, connection)
    }

    fn write_all(&mut self, client: Client, mut bytes: &[u8]) {
        for _ in 0..ROUNDS_MAX {
            if bytes.is_empty() {
                return;
            }
            bytes = &bytes[self.world.write(client, bytes)..];
            self.round();
        }
        panic!("the connection takes no more bytes");
    }

    /// What arrives on a connection, armed again whenever the driver asks for it, until there are `length` bytes.
    fn received(&mut self, connection: ConnectionId, length: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < length {
            let ended = self.wait(|seen| match seen {
                Seen::Received(of, data) if *of == connection => {
                    all.append(data);
                    Some(None)
                }
                Seen::ReceiveEnded(of, end) if *of == connection => Some(Some(*end)),
                _ => None,
            });
            match ended {
                None => {}
                Some(ReceiveEnd::Rearm) => self.net(Op::Receive { connection }),
                Some(end) => panic!("the receive ended: {end:?}"),
            }
        }
        all
    }

    /// Sends until all is sent, as a connection does: a short send goes on behind what was taken.
    fn send_all(&mut self, connection: ConnectionId, parts: Vec<Part<Slice>>, mut read: impl FnMut(&mut W)) {
        let total: usize = parts.iter().map(|part| part.as_ref().len()).sum();
        self.net(Op::Send(Send { connection, parts, skip: 0 }));
        for _ in 0..ROUNDS_MAX {
            read(&mut self.world);
            self.round();
            let Some(index) = self.seen.iter().position(|seen| matches!(seen, Seen::Sent(..))) else { continue };
            let Seen::Sent(mut send, result) = self.seen.remove(index) else { unreachable!("just matched") };
            let sent = result.expect("the peer is there");
            assert!(sent > 0 && send.skip + sent <= total, "{sent} bytes of {total}, {} before", send.skip);
            send.skip += sent;
            if send.skip == total {
                return;
            }
            self.net(Op::Send(send));
        }
        panic!("the send does not end");
    }

    /// What the end of a receive into a buffer gives back.
    fn filled(&mut self, connection: ConnectionId) -> (BytesMut, ReceiveEnd) {
        self.wait(|seen| match seen {
            Seen::Filled(of, buffer, end) if *of == connection => Some((std::mem::take(buffer), *end)),
            _ => None,
        })
    }

    fn request(&mut self, op: storage::io::Op) -> Token {
        let token = Token(self.tokens);
        self.tokens += 1;
        self.ops.disk.push(Request { directory: DataDirectory::FIRST, token, op });
        token
    }

    fn disk(&mut self, op: storage::io::Op) -> Result<Done, Failure> {
        let wanted = self.request(op);
        self.answer(wanted)
    }

    fn answer(&mut self, wanted: Token) -> Result<Done, Failure> {
        let mut answer = None;
        self.wait(|seen| match seen {
            Seen::Disk(token, result) if *token == wanted => {
                answer = Some(std::mem::replace(result, Ok(Done::Finished)));
                Some(())
            }
            _ => None,
        });
        answer.expect("found")
    }

    fn open(&mut self, number: u32, path: &str) -> (FileId, u64) {
        let file = FileId(number);
        let mode = OpenMode { create: true, write: true, direct: true };
        match self.disk(storage::io::Op::Open { file, path: path.into(), mode }) {
            Ok(Done::Opened { length, .. }) => (file, length),
            other => panic!("opening {path}: {other:?}"),
        }
    }

    fn blocks(&self, count: usize, seed: u8) -> Slice {
        let mut buffer = self.pool.allocate(count * BLOCK_BYTES).expect("the pool is large");
        for (position, byte) in buffer.iter_mut().enumerate() {
            *byte = (position / 7) as u8 ^ seed;
        }
        buffer.freeze(count * BLOCK_BYTES)
    }

    fn write(&mut self, file: FileId, position: u64, data: Vec<Slice>, durability: Durability) {
        match self.disk(storage::io::Op::Write { file, position, data: data.clone(), durability }) {
            Ok(Done::Written { data: back }) => {
                assert_eq!(concat(&back), concat(&data), "the slices come back");
            }
            other => panic!("writing: {other:?}"),
        }
    }

    fn read(&mut self, file: FileId, position: u64, capacity: usize) -> Vec<u8> {
        let buffer = self.pool.allocate(capacity).expect("the pool is large");
        match self.disk(storage::io::Op::Read { file, position, buffer }) {
            Ok(Done::Read { buffer, length }) => buffer[..length].to_vec(),
            other => panic!("reading: {other:?}"),
        }
    }
}

fn keep(completion: Completion<'_>) -> Seen {
    match completion {
        Completion::Net(Event::Accepted { listener, socket, peer, local }) => {
            assert_eq!(listener, LISTENER);
            assert_ne!(peer, local, "both ends have an address of their own");
            Seen::Accepted(socket)
        }
        Completion::Net(Event::AcceptEnded { errno, .. }) => Seen::AcceptEnded(errno),
        Completion::Net(Event::Received { connection, data }) => {
            assert!(!data.is_empty(), "an empty receive says nothing");
            Seen::Received(connection, data.to_vec())
        }
        Completion::Net(Event::ReceiveEnded { connection, end }) => Seen::ReceiveEnded(connection, end),
        Completion::Net(Event::Filled { connection, buffer, end }) => Seen::Filled(connection, buffer, end),
        Completion::Net(Event::Sent { send, result }) => Seen::Sent(send, result),
        Completion::Net(Event::Closed { connection }) => Seen::Closed(connection),
        Completion::Disk(completion) => Seen::Disk(completion.token, completion.result),
    }
}

fn concat(slices: &[Slice]) -> Vec<u8> {
    slices.iter().flat_map(|slice| slice.iter().copied()).collect()
}

fn header(bytes: &'static [u8]) -> Part<Slice> {
    Part::Header(Bytes::from_static(bytes))
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|position| (position * 31 / 7) as u8).collect()
}

pub(crate) fn bytes_arrive_in_order_in_any_split(world: impl World) {
    let mut trial = Trial::new(world);
    let (client, connection) = trial.connection(0);
    trial.net(Op::Receive { connection });
    let sent = pattern(700_000);
    let mut all = Vec::new();
    for piece in sent.chunks(70_000) {
        trial.write_all(client, piece);
        all.extend(trial.received(connection, piece.len()));
    }
    assert!(all == sent, "the bytes are the client's");
}

pub(crate) fn a_receive_into_a_buffer_fills_it_behind_what_it_holds(world: impl World) {
    let mut trial = Trial::new(world);
    let (client, connection) = trial.connection(0);
    let sent = pattern(300_000);
    let mut buffer = BytesMut::with_capacity(4 + sent.len() - 1000);
    buffer.extend_from_slice(b"head");
    let capacity = buffer.capacity();
    let address = buffer.as_ptr();
    let mut unsent = &sent[..];
    while buffer.len() < capacity {
        trial.net(Op::ReceiveInto { connection, buffer });
        let taken = trial.world.write(client, unsent);
        unsent = &unsent[taken..];
        let end;
        (buffer, end) = trial.filled(connection);
        assert!(matches!(end, ReceiveEnd::Rearm), "{end:?}");
    }
    assert_eq!((buffer.capacity(), buffer.as_ptr()), (capacity, address), "it was neither moved nor made larger");
    trial.net(Op::Receive { connection });
    trial.write_all(client, unsent);
    let received = capacity - 4;
    let rest = trial.received(connection, sent.len() - received);
    assert!(buffer[..4] == *b"head" && buffer[4..] == sent[..received] && rest == sent[received..]);
}

pub(crate) fn a_receive_into_a_buffer_gives_it_back_when_cancelled_or_at_the_end(world: impl World) {
    let mut trial = Trial::new(world);
    let (client, connection) = trial.connection(0);
    let mut buffer = BytesMut::with_capacity(100);
    buffer.extend_from_slice(b"head");
    trial.net(Op::ReceiveInto { connection, buffer });
    trial.settle();
    trial.net(Op::CancelReceive { connection });
    let (buffer, end) = trial.filled(connection);
    assert!(buffer[..] == *b"head" && matches!(end, ReceiveEnd::Cancelled | ReceiveEnd::Rearm));
    trial.write_all(client, b"tail");
    trial.world.hang_up(client);
    let (mut buffer, mut end) = (buffer, ReceiveEnd::Rearm);
    while end == ReceiveEnd::Rearm {
        trial.net(Op::ReceiveInto { connection, buffer });
        (buffer, end) = trial.filled(connection);
    }
    assert!(buffer[..] == *b"headtail" && end == ReceiveEnd::PeerClosed, "{buffer:?} {end:?}");
}

pub(crate) fn a_receive_for_once_ends_with_the_first_bytes(world: impl World) {
    let mut trial = Trial::new(world);
    let (client, connection) = trial.connection(0);
    let mut all = Vec::new();
    for piece in [&b"first"[..], b"second"] {
        trial.write_all(client, piece);
        let wanted = all.len() + piece.len();
        while all.len() < wanted {
            trial.net(Op::ReceiveOnce { connection });
            let end = trial.wait(|seen| match seen {
                Seen::ReceiveEnded(_, end) => Some(*end),
                _ => None,
            });
            assert_eq!(end, ReceiveEnd::Rearm);
            trial.seen.retain_mut(|seen| match seen {
                Seen::Received(_, data) => {
                    all.append(data);
                    false
                }
                _ => true,
            });
        }
    }
    assert_eq!(all, b"firstsecond");
}

pub(crate) fn a_send_takes_its_parts_in_order_and_leaves_out_what_is_skipped(world: impl World) {
    let mut trial = Trial::new(world);
    let (client, connection) = trial.connection(0);
    let payload = trial.blocks(3, 9);
    let parts = vec![header(b"size"), header(b""), Part::Payload(payload.clone()), header(b"end")];
    trial.net(Op::Send(Send { connection, parts, skip: 6 }));
    let (send, result) = trial.wait(|seen| match seen {
        Seen::Sent(send, result) => {
            let parts = std::mem::take(&mut send.parts);
            Some((Send { connection: send.connection, parts, skip: send.skip }, *result))
        }
        _ => None,
    });
    assert_eq!((send.connection, send.parts.len(), send.skip), (connection, 4, 6), "given back as it was");
    let sent = result.expect("the client is there");
    let expected = [&payload[2..], b"end"].concat();
    let mut arrived = Vec::new();
    for _ in 0..ROUNDS_MAX {
        if arrived.len() >= sent {
            break;
        }
        assert!(trial.world.read(client, &mut arrived));
        trial.round();
    }
    assert!(sent > 0 && arrived == expected[..sent], "{sent} bytes behind the skipped ones");
}

pub(crate) fn a_slow_reader_gets_everything_in_the_end(world: impl World) {
    let mut trial = Trial::new(world);
    let (client, connection) = trial.connection(0);
    let bulk: Vec<Slice> = (0..12).map(|seed| trial.blocks(64, seed)).collect();
    let parts = bulk.iter().map(|slice| Part::Payload(slice.clone())).collect();
    let mut arrived = Vec::new();
    let mut rounds = 0;
    trial.send_all(connection, parts, |world| {
        rounds += 1;
        if rounds > 50 {
            world.read(client, &mut arrived);
        }
    });
    for _ in 0..ROUNDS_MAX {
        if arrived.len() == 12 * 64 * BLOCK_BYTES {
            break;
        }
        trial.world.read(client, &mut arrived);
        trial.round();
    }
    assert!(arrived == concat(&bulk));
}

pub(crate) fn the_end_of_the_peer_is_told_after_its_last_byte(world: impl World) {
    let mut trial = Trial::new(world);
    let (client, connection) = trial.connection(0);
    trial.net(Op::Receive { connection });
    trial.write_all(client, b"last words");
    trial.world.hang_up(client);
    assert_eq!(trial.received(connection, 10), b"last words");
    let end = trial.wait(|seen| match seen {
        Seen::ReceiveEnded(_, end) => Some(*end),
        _ => None,
    });
    // A driver may end the multishot first; the next one says that the peer has gone.
    if end == ReceiveEnd::Rearm {
        trial.net(Op::Receive { connection });
    } else {
        assert_eq!(end, ReceiveEnd::PeerClosed);
    }
}

pub(crate) fn a_cancelled_receive_loses_nothing(world: impl World) {
    let mut trial = Trial::new(world);
    let (client, connection) = trial.connection(0);
    let sent = pattern(40_000);
    let mut all = Vec::new();
    for piece in sent.chunks(4_000) {
        trial.net(Op::Receive { connection });
        // The cancellation races with the bytes: each may come first.
        let taken = trial.world.write(client, piece);
        assert_eq!(taken, piece.len(), "a small piece fits the connection");
        trial.round();
        trial.net(Op::CancelReceive { connection });
        loop {
            let ended = trial.wait(|seen| match seen {
                Seen::Received(_, data) => {
                    all.append(data);
                    Some(None)
                }
                Seen::ReceiveEnded(_, end) => Some(Some(*end)),
                _ => None,
            });
            match ended {
                None => {}
                Some(ReceiveEnd::Cancelled | ReceiveEnd::Rearm) => break,
                Some(end) => panic!("{end:?}"),
            }
        }
    }
    trial.settle();
    assert!(trial.seen.is_empty(), "nothing comes while no receive is armed: {:?}", trial.seen);
    let left = sent.len() - all.len();
    if left > 0 {
        trial.net(Op::Receive { connection });
        all.extend(trial.received(connection, left));
    }
    assert!(all == sent);
}

pub(crate) fn closing_gives_back_what_is_in_flight_and_says_closed_last(world: impl World) {
    let mut trial = Trial::new(world);
    let (client, connection) = trial.connection(0);
    trial.net(Op::Receive { connection });
    // More than a connection holds, and nobody reads it.
    let slice = trial.blocks(4096, 1);
    let parts = vec![Part::Payload(slice.clone()), Part::Payload(slice)];
    trial.net(Op::Send(Send { connection, parts, skip: 0 }));
    trial.write_all(client, b"unread");
    trial.settle();
    trial.net(Op::Close { connection });
    let mut given_back = trial.seen.iter().filter(|seen| matches!(seen, Seen::Sent(..))).count();
    trial.wait(|seen| match seen {
        Seen::Sent(send, _) => {
            assert_eq!(send.parts.len(), 2);
            given_back += 1;
            *seen = Seen::AcceptEnded(0);
            None
        }
        Seen::Closed(closed) => (*closed == connection).then_some(()),
        _ => None,
    });
    assert_eq!(given_back, 1, "the send is given back once, before Closed");
    trial.seen.clear();
    trial.settle();
    assert!(trial.seen.is_empty(), "Closed is the last word: {:?}", trial.seen);
    let mut arrived = Vec::new();
    for _ in 0..ROUNDS_MAX {
        if !trial.world.read(client, &mut arrived) {
            return;
        }
        trial.round();
    }
    panic!("the client never learns that the connection has ended");
}

pub(crate) fn what_is_asked_and_closed_in_one_turn_is_given_back(world: impl World) {
    let mut trial = Trial::new(world);
    let (_, connection) = trial.connection(0);
    trial.net(Op::Receive { connection });
    trial.net(Op::Send(Send { connection, parts: vec![header(b"too late?")], skip: 0 }));
    trial.net(Op::CancelReceive { connection });
    trial.net(Op::Close { connection });
    let mut given_back = 0;
    trial.wait(|seen| {
        if let Seen::Sent(send, _) = seen {
            given_back += std::mem::take(&mut send.parts).len();
        }
        matches!(seen, Seen::Closed(_)).then_some(())
    });
    assert_eq!(given_back, 1);
}

pub(crate) fn an_idle_connection_closes_and_its_number_is_free(world: impl World) {
    let mut trial = Trial::new(world);
    let (_, connection) = trial.connection(0);
    for _ in 0..3 {
        trial.net(Op::Close { connection });
        trial.wait(|seen| matches!(seen, Seen::Closed(closed) if *closed == connection).then_some(()));
        let client = trial.world.connect();
        let socket = trial.accept();
        trial.net(Op::Adopt { connection, socket });
        trial.net(Op::Receive { connection });
        trial.write_all(client, b"again");
        assert_eq!(trial.received(connection, 5), b"again");
    }
}

pub(crate) fn a_paused_listener_leaves_clients_waiting(world: impl World) {
    let mut trial = Trial::new(world);
    trial.connection(0);
    trial.net(Op::PauseAccept { listener: LISTENER });
    let errno = trial.wait(|seen| match seen {
        Seen::AcceptEnded(errno) => Some(*errno),
        _ => None,
    });
    assert_eq!(errno, 0);
    trial.world.connect();
    trial.settle();
    assert!(trial.seen.is_empty(), "nobody is accepted during the pause: {:?}", trial.seen);
    trial.net(Op::Accept { listener: LISTENER });
    trial.accept();
}

pub(crate) fn a_discarded_socket_is_closed(world: impl World) {
    let mut trial = Trial::new(world);
    trial.net(Op::Accept { listener: LISTENER });
    let client = trial.world.connect();
    let socket = trial.accept();
    trial.net(Op::Discard { socket });
    for _ in 0..ROUNDS_MAX {
        trial.round();
        if !trial.world.read(client, &mut Vec::new()) {
            return;
        }
    }
    panic!("the client never learns of it");
}

pub(crate) fn many_connections_do_not_mix(world: impl World) {
    let mut trial = Trial::new(world);
    let pairs: Vec<_> = (0..40).map(|number| trial.connection(number)).collect();
    for &(client, connection) in &pairs {
        trial.net(Op::Receive { connection });
        let piece = [connection.0 as u8; 5_000];
        let taken = trial.world.write(client, &piece);
        assert_eq!(taken, piece.len(), "a small piece fits the connection");
    }
    for &(_, connection) in &pairs {
        assert!(trial.received(connection, 5_000) == [connection.0 as u8; 5_000]);
    }
}

pub(crate) fn what_was_written_is_read(world: impl World) {
    let mut trial = Trial::new(world);
    let (file, length) = trial.open(0, "file");
    assert_eq!(length, 0);
    let data: Vec<Slice> = (0..5).map(|seed| trial.blocks(3, seed)).collect();
    trial.write(file, 8 * BLOCK_BYTES as u64, data.clone(), Durability::Synced);
    let head = trial.blocks(8, 77);
    trial.write(file, 0, vec![head.clone()], Durability::Buffered);
    assert!(matches!(trial.disk(storage::io::Op::Sync { file }), Ok(Done::Finished)));
    let all = trial.read(file, 0, 64 << 10);
    assert!(all[..8 * BLOCK_BYTES] == head[..]);
    assert!(all[8 * BLOCK_BYTES..] == concat(&data)[..8 * BLOCK_BYTES]);
    assert!(matches!(trial.disk(storage::io::Op::Close { file }), Ok(Done::Finished)));
    assert_eq!(trial.open(0, "file").1, 23 * BLOCK_BYTES as u64, "the number is free, the length is kept");
}

pub(crate) fn a_write_of_very_many_slices_is_whole(world: impl World) {
    let mut trial = Trial::new(world);
    let (file, _) = trial.open(0, "file");
    let block = trial.blocks(1, 3);
    trial.write(file, 0, vec![block.clone(); 1500], Durability::Synced);
    let end = trial.read(file, 1499 * BLOCK_BYTES as u64, 16 << 10);
    assert!(end == block[..], "the last block, and nothing behind it");
}

pub(crate) fn a_read_ends_short_at_the_end_of_the_file(world: impl World) {
    let mut trial = Trial::new(world);
    let (file, _) = trial.open(0, "file");
    let block = trial.blocks(2, 3);
    trial.write(file, 0, vec![block.clone()], Durability::Synced);
    assert!(trial.read(file, BLOCK_BYTES as u64, 16 << 10) == block[BLOCK_BYTES..]);
    assert!(trial.read(file, 1 << 20, 4 << 10).is_empty(), "behind the end there is nothing");
    assert!(matches!(trial.disk(storage::io::Op::SetLength { file, length: 904 }), Ok(Done::Finished)));
    assert!(trial.read(file, 0, 16 << 10) == block[..904], "a file may end inside a block");
}

pub(crate) fn what_is_missing_cannot_be_opened_but_can_be_removed(world: impl World) {
    let mut trial = Trial::new(world);
    let file = FileId(0);
    let mode = OpenMode { create: false, write: false, direct: true };
    let path = PathBuf::from("missing");
    let opened = trial.disk(storage::io::Op::Open { file, path: path.clone(), mode });
    assert!(matches!(opened, Err(Failure { errno: libc::ENOENT })), "{opened:?}");
    assert!(matches!(trial.disk(storage::io::Op::RemoveFile { path: path.clone() }), Ok(Done::Finished)));
    assert!(matches!(trial.disk(storage::io::Op::RemoveDirectory { path }), Ok(Done::Finished)));
    assert_eq!(trial.open(0, "there").1, 0, "the number of a failed open is free");
}

pub(crate) fn names_can_be_made_changed_and_removed(world: impl World) {
    use storage::io::Op as Disk;
    let mut trial = Trial::new(world);
    let directory = PathBuf::from("a/b/c");
    for _ in 0..2 {
        let made = trial.disk(Disk::CreateDirectory { path: directory.clone() });
        assert!(matches!(made, Ok(Done::Finished)), "{made:?}");
    }
    let (first, _) = trial.open(0, "a/b/c/first");
    let (second, _) = trial.open(1, "a/b/c/second");
    let data = trial.blocks(1, 5);
    trial.write(first, 0, vec![data], Durability::Synced);
    for file in [first, second] {
        assert!(matches!(trial.disk(Disk::Close { file }), Ok(Done::Finished)));
    }
    let renamed = trial.disk(Disk::Rename { from: "a/b/c/first".into(), to: "a/b/c/second".into() });
    assert!(matches!(renamed, Ok(Done::Finished)), "{renamed:?}");
    assert!(matches!(trial.disk(Disk::SyncDirectory { path: directory }), Ok(Done::Finished)));
    assert!(matches!(trial.disk(Disk::SyncAll), Ok(Done::Finished)));
    assert_eq!(trial.open(0, "a/b/c/second").1, BLOCK_BYTES as u64, "the renamed file took the place");
    assert!(matches!(trial.disk(Disk::Close { file: FileId(0) }), Ok(Done::Finished)));
    assert!(matches!(trial.disk(Disk::RemoveFile { path: "a/b/c/second".into() }), Ok(Done::Finished)));
    assert!(matches!(trial.disk(Disk::RemoveDirectory { path: "a".into() }), Ok(Done::Finished)));
    let mode = OpenMode { create: true, write: true, direct: false };
    let opened = trial.disk(Disk::Open { file: FileId(0), path: "a/b/x".into(), mode });
    assert!(matches!(opened, Err(Failure { errno: libc::ENOENT })), "its directory is gone: {opened:?}");
}

pub(crate) fn the_file_system_is_measured(world: impl World) {
    let mut trial = Trial::new(world);
    let measured = trial.disk(storage::io::Op::MeasureVolume);
    let Ok(Done::Measured(volume)) = measured else { panic!("{measured:?}") };
    assert!(volume.total_bytes > 0 && volume.usable_bytes <= volume.total_bytes, "{volume:?}");
}

pub(crate) fn every_request_completes_exactly_once(world: impl World) {
    const REQUESTS: u64 = 1_500;
    let mut trial = Trial::new(world);
    let (file, _) = trial.open(0, "file");
    let block = trial.blocks(1, 1);
    let first = trial.tokens;
    for number in 0..REQUESTS {
        let position = number * BLOCK_BYTES as u64;
        let op = match number % 8 {
            0 => storage::io::Op::RemoveFile { path: "nothing".into() },
            1 => storage::io::Op::Read { file, position, buffer: trial.pool.allocate(1).expect("large pool") },
            _ => {
                let data = vec![block.clone()];
                storage::io::Op::Write { file, position, data, durability: Durability::Buffered }
            }
        };
        trial.request(op);
    }
    for number in first..first + REQUESTS {
        let answer = trial.answer(Token(number));
        assert!(answer.is_ok(), "{answer:?}");
    }
    trial.settle();
    assert!(trial.seen.is_empty(), "no request completes twice: {:?}", trial.seen);
}

/// Makes one test of each behaviour; `$world` gives a fresh world.
macro_rules! contract_suite {
    ($world:expr) => {
        $crate::driver::contract::contract_suite!(@tests $world;
            bytes_arrive_in_order_in_any_split
            a_receive_into_a_buffer_fills_it_behind_what_it_holds
            a_receive_into_a_buffer_gives_it_back_when_cancelled_or_at_the_end
            a_receive_for_once_ends_with_the_first_bytes
            a_send_takes_its_parts_in_order_and_leaves_out_what_is_skipped
            a_slow_reader_gets_everything_in_the_end
            the_end_of_the_peer_is_told_after_its_last_byte
            a_cancelled_receive_loses_nothing
            closing_gives_back_what_is_in_flight_and_says_closed_last
            what_is_asked_and_closed_in_one_turn_is_given_back
            an_idle_connection_closes_and_its_number_is_free
            a_paused_listener_leaves_clients_waiting
            a_discarded_socket_is_closed
            many_connections_do_not_mix
            what_was_written_is_read
            a_write_of_very_many_slices_is_whole
            a_read_ends_short_at_the_end_of_the_file
            what_is_missing_cannot_be_opened_but_can_be_removed
            names_can_be_made_changed_and_removed
            the_file_system_is_measured
            every_request_completes_exactly_once
        );
    };
    (@tests $world:expr; $($behaviour:ident)*) => {
        $(
            #[test]
            fn $behaviour() {
                $crate::driver::contract::$behaviour($world);
            }
        )*
    };
}
pub(crate) use contract_suite;
