//! One thread of a load: its ring, its connections, its loop.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker::driver::ring::{self, Ring, Waker};
use broker::driver::{Completion, Driver as _, Ops};
use net::ops::{ConnectionId, Event, Op, ReceiveEnd};
use storage::buffer::Slice;

use super::consumer::Consumer;
use super::ledger::Ledger;
use super::producer::Producer;
use super::shared::{Phase, Shared};
use super::socket::{Framing, Socket};
use super::tally::Tally;
use crate::error::Error;

/// The longest sleep: how late the end of a phase may be seen, in ns.
const SLEEP_NS_MAX: u64 = 20_000_000;

/// How often a consumer that begins with the measurement looks whether it has begun, in ns.
const OPEN_LOOK_NS: u64 = 1_000_000;

/// A wait shorter than this is spent looking, in ns: waking up takes about as long.
const LOOK_NS: u64 = 5_000;

/// Who uses a connection.
pub(super) enum Role {
    Producer(Box<Producer>),
    Consumer(Consumer),
}

struct Link {
    socket: Socket,
    role: Role,
    /// Whether it is in `active`.
    is_active: bool,
}

/// What a thread gives back.
pub(super) struct Done {
    pub(super) tally: Tally,
    pub(super) acknowledged: Ledger,
    /// By copy.
    pub(super) read: Vec<(u32, Ledger)>,
}

pub(super) struct Thread {
    index: usize,
    ring: Ring,
    links: Links,
    shared: Arc<Shared>,
    spins: bool,
}

/// Everything but the ring, so that completions can be handed to it while the ring is looked through.
struct Links {
    links: Vec<Link>,
    /// Links that something came in for, or that have become due.
    active: Vec<usize>,
    /// When links have something to do again.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    ops: Ops,
    tally: Tally,
    /// Answers of any kind.
    answers: u64,
    /// Records read.
    read: u64,
    /// Produce requests without an answer.
    awaited: usize,
}

impl Thread {
    pub(super) fn new(
        index: usize,
        address: SocketAddr,
        framing: Framing,
        roles: Vec<Role>,
        shared: Arc<Shared>,
        spins: bool,
    ) -> Result<Self, Error> {
        let ring = || {
            let waker = Waker::new()?;
            Ring::new(ring::Config { directories: Vec::new(), listeners: Vec::new(), waker })
        };
        let ring = ring().map_err(Error::system("set up a ring for the load"))?;
        let mut links = Links {
            links: Vec::new(),
            active: Vec::new(),
            due: BinaryHeap::new(),
            ops: Ops::default(),
            tally: Tally::new(),
            answers: 0,
            read: 0,
            awaited: 0,
        };
        for (number, role) in roles.into_iter().enumerate() {
            let socket = Socket::open(address, ConnectionId(number as u32), framing, &mut links.ops)?;
            links.links.push(Link { socket, role, is_active: false });
            links.due.push(Reverse((0, number)));
        }
        Ok(Self { index, ring, links, shared, spins })
    }

    /// Does everything until it is told to stop. An error ends the load of all threads.
    pub(super) fn run(mut self) -> Result<Done, Error> {
        let result = self.turns();
        if result.is_err() {
            self.shared.stop();
        }
        result.map(|()| self.links.done())
    }

    fn turns(&mut self) -> Result<(), Error> {
        loop {
            let window = self.shared.window();
            let (shared, links) = (&self.shared, &mut self.links);
            let mut result = Ok(());
            self.ring.complete(&mut |completion| {
                if result.is_ok() {
                    result = links.complete(completion, shared.now_ns(), &window);
                }
            });
            result?;
            let phase = self.shared.phase();
            if phase == Phase::Stop {
                return Ok(());
            }
            let now_ns = self.shared.now_ns();
            self.links.turn(now_ns, phase, now_ns >= self.shared.window().start)?;
            self.ring.submit(&mut self.links.ops);
            self.publish(phase);
            self.rest(now_ns);
        }
    }

    fn publish(&self, phase: Phase) {
        let progress = &self.shared.progress[self.index];
        progress.acknowledged.store(self.links.tally.all_records, Ordering::Release);
        progress.bytes.store(self.links.tally.bytes, Ordering::Release);
        progress.read.store(self.links.read, Ordering::Release);
        progress.answers.store(self.links.answers, Ordering::Release);
        progress.awaited.store(self.links.awaited as u64, Ordering::Release);
        // Last: who sees it sees what was awaited then.
        progress.is_draining.store(phase == Phase::Drain, Ordering::Release);
    }

    /// Sleeps until something comes or a record is due.
    fn rest(&mut self, now_ns: u64) {
        let due_ns = self.links.due.peek().map_or(u64::MAX, |Reverse((due_ns, _))| *due_ns);
        let wait_ns = due_ns.saturating_sub(now_ns).min(SLEEP_NS_MAX);
        if self.spins || wait_ns < LOOK_NS {
            self.ring.flush();
        } else {
            self.ring.wait(Some(Duration::from_nanos(wait_ns)));
        }
    }
}

impl Links {
    fn complete(&mut self, completion: Completion<'_>, now_ns: u64, window: &Range<u64>) -> Result<(), Error> {
        let Completion::Net(event) = completion else { unreachable!("no file is used") };
        match event {
            Event::Received { connection, data } => self.received(connection, data, now_ns, window),
            Event::Sent { send, result } => self.sent(send, result, now_ns, window),
            Event::ReceiveEnded { connection, end: ReceiveEnd::Rearm } => {
                self.ops.net.push(Op::Receive { connection });
                Ok(())
            }
            Event::ReceiveEnded { connection, end } => {
                let cause = match end {
                    ReceiveEnd::Failed(errno) => std::io::Error::from_raw_os_error(errno),
                    _ => std::io::ErrorKind::UnexpectedEof.into(),
                };
                Err(self.links[connection.0 as usize].socket.broken(cause))
            }
            Event::Closed { .. } | Event::Accepted { .. } | Event::AcceptEnded { .. } | Event::Filled { .. } => {
                unreachable!("the load neither listens nor closes, and receives into no buffers of its own")
            }
        }
    }

    fn received(&mut self, id: ConnectionId, data: &[u8], now_ns: u64, window: &Range<u64>) -> Result<(), Error> {
        let number = id.0 as usize;
        let Self { links, tally, answers, read, awaited, .. } = self;
        let Link { socket, role, .. } = &mut links[number];
        socket.received(data, &mut |answer| {
            *answers += 1;
            match role {
                Role::Producer(producer) => {
                    let before = producer.waiting();
                    producer.answered(answer, now_ns, window, tally)?;
                    *awaited -= before - producer.waiting();
                }
                Role::Consumer(consumer) => *read += consumer.answered(answer, now_ns, window, tally)?,
            }
            Ok(())
        })?;
        self.activate(number);
        Ok(())
    }

    fn sent(
        &mut self,
        send: net::ops::Send<Slice>,
        result: Result<usize, i32>,
        now_ns: u64,
        window: &Range<u64>,
    ) -> Result<(), Error> {
        let number = send.connection.0 as usize;
        let link = &mut self.links[number];
        if !link.socket.sent(send, result, &mut self.ops)? {
            return Ok(());
        }
        if let Role::Producer(producer) = &mut link.role {
            let before = producer.waiting();
            producer.sent(now_ns, window, &mut self.tally);
            self.awaited -= before - producer.waiting();
        }
        self.activate(number);
        Ok(())
    }

    fn activate(&mut self, number: usize) {
        if !std::mem::replace(&mut self.links[number].is_active, true) {
            self.active.push(number);
        }
    }

    /// Lets every connection do what it can.
    fn turn(&mut self, now_ns: u64, phase: Phase, is_open: bool) -> Result<(), Error> {
        while let Some(&Reverse((due_ns, number))) = self.due.peek()
            && due_ns <= now_ns
        {
            self.due.pop();
            match &mut self.links[number].role {
                Role::Producer(producer) if phase == Phase::Load => {
                    let before = producer.waiting();
                    let next_ns = producer.advance(now_ns)?;
                    self.awaited += producer.waiting() - before;
                    self.due.extend(next_ns.map(|next_ns| Reverse((next_ns.max(now_ns + 1), number))));
                }
                Role::Consumer(consumer) if !is_open && consumer.waits_for_window() => {
                    self.due.push(Reverse((now_ns + OPEN_LOOK_NS, number)));
                    continue;
                }
                Role::Producer(_) | Role::Consumer(_) => {}
            }
            self.activate(number);
        }
        while let Some(number) = self.active.pop() {
            let Link { socket, role, is_active } = &mut self.links[number];
            *is_active = false;
            match role {
                Role::Producer(producer) => {
                    let before = producer.waiting();
                    if phase == Phase::Load {
                        producer.refill(now_ns);
                    }
                    self.awaited += producer.waiting() - before;
                    producer.send(socket);
                }
                Role::Consumer(consumer) => consumer.ask(socket),
            }
            socket.flush(&mut self.ops);
        }
        Ok(())
    }

    fn done(self) -> Done {
        let (mut acknowledged, mut read) = (Ledger::default(), Vec::new());
        for link in self.links {
            match link.role {
                Role::Producer(producer) => acknowledged.merge(producer.acknowledged),
                Role::Consumer(consumer) => read.push((consumer.copy, consumer.read)),
            }
        }
        Done { tally: self.tally, acknowledged, read }
    }
}
