//! One producer: records become due, gather in batches, and are in flight until they are acknowledged.
//!
//! ```text
//! schedule ─ record due ─► open batch (of each partition, if records have keys)
//!                             │ full, or lingered long enough
//!                             ▼
//!                          ready ─ fewer in flight than allowed ─► flights ─ answer ─► tally
//! ```

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use rand_core::SeedableRng as _;
use rand_xoshiro::Xoshiro256PlusPlus;
use storage::batch::Producer as Identity;

use super::arrivals::KeySet;
use super::ledger::Ledger;
use super::socket::Socket;
use super::tally::{Acknowledgement, Tally};
use crate::contents::{Contents, Cut, Stamp, Stamps};
use crate::error::Error;
use crate::request::{Acknowledged, ProduceFrames};
use crate::workload::{Acks, Workload};

/// Batches of one producer that may wait for an answer or for their turn: more of them is a rate that nobody carries.
const WAITING_MAX: usize = 100_000;

/// What all producers of a load have in common.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) workload: Workload,
    pub(super) contents: Contents,
    pub(super) frames: ProduceFrames,
    pub(super) keys: Option<KeySet>,
    /// Whether an echo server answers: its answers are only counted.
    pub(super) is_echo: bool,
}

/// When records of one producer are due.
#[derive(Debug, Clone, Copy)]
pub(super) enum Schedule {
    /// Whenever a request may be sent.
    AtOnce,
    /// The nth at `first_ns + n * interval_ns`.
    Every { first_ns: f64, interval_ns: f64 },
}

/// A batch that gathers records.
#[derive(Debug)]
struct Open {
    partition: i32,
    template: usize,
    records: usize,
    keys: Vec<u32>,
    first_due_ns: u64,
    last_due_ns: u64,
    /// Which of all batches it is, so that a deadline is not taken for that of a later one.
    number: u64,
}

#[derive(Debug, Clone, Copy)]
struct Lingering {
    deadline_ns: u64,
    slot: usize,
    number: u64,
}

#[derive(Debug)]
struct Flight {
    correlation_id: i32,
    partition: i32,
    sequences: Range<u64>,
    bytes: u64,
    due_ns: u64,
}

pub(super) struct Producer {
    id: u32,
    plan: Arc<Plan>,
    schedule: Schedule,
    /// Records so far.
    arrived: u64,
    /// By partition if records have keys, else one.
    open: Vec<Option<Open>>,
    opened: u64,
    /// Deadlines of open batches, in order.
    lingering: VecDeque<Lingering>,
    ready: VecDeque<Open>,
    flights: VecDeque<Flight>,
    next_correlation_id: i32,
    next_partition: i32,
    next_template: usize,
    /// Records sent to each partition.
    written: Vec<u64>,
    identity: Option<(i64, i16)>,
    random: Xoshiro256PlusPlus,
    batch: Vec<u8>,
    pub(super) acknowledged: Ledger,
}

impl Producer {
    pub(super) fn new(id: u32, plan: Arc<Plan>, schedule: Schedule, identity: Option<(i64, i16)>) -> Self {
        let partitions = plan.workload.partitions as usize;
        let slots = if plan.keys.is_some() { partitions } else { 1 };
        Self {
            id,
            schedule,
            arrived: 0,
            open: (0..slots).map(|_| None).collect(),
            opened: 0,
            lingering: VecDeque::new(),
            ready: VecDeque::new(),
            flights: VecDeque::new(),
            next_correlation_id: 0,
            // Producers do not walk in step.
            next_partition: (id.wrapping_add(plan.workload.produce.own_partition.unwrap_or(0))
                % plan.workload.partitions as u32) as i32,
            next_template: id as usize % plan.contents.templates(),
            written: vec![0; partitions],
            identity,
            random: Xoshiro256PlusPlus::seed_from_u64(plan.workload.seed ^ u64::from(id) << 32),
            batch: Vec::new(),
            acknowledged: Ledger::default(),
            plan,
        }
    }

    /// Requests without an answer, and those that wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.flights.len() + self.ready.len()
    }

    /// Takes in what is due by now. Gives back when there is more to do, if nothing is answered before.
    pub(super) fn advance(&mut self, now_ns: u64) -> Result<Option<u64>, Error> {
        let Schedule::Every { first_ns, interval_ns } = self.schedule else { return Ok(None) };
        let due = |number: u64| (first_ns + number as f64 * interval_ns) as u64;
        while due(self.arrived) <= now_ns {
            let due_ns = due(self.arrived);
            self.close_lingering(due_ns);
            self.arrive(due_ns);
            if self.ready.len() > WAITING_MAX {
                return Err(Error::Overload { awaited: self.waiting() });
            }
        }
        self.close_lingering(now_ns);
        let missing = match (&self.plan.keys, &self.open[0]) {
            (None, Some(open)) => self.plan.contents.records(open.template) - open.records,
            (None, None) => self.plan.contents.records(self.next_template),
            (Some(_), _) => 1,
        };
        let lingers = self.plan.workload.produce.linger_ms.is_some();
        let missing = if lingers && self.open[0].is_none() { 1 } else { missing };
        let next_ns = due(self.arrived + missing as u64 - 1);
        Ok(Some(self.lingering.front().map_or(next_ns, |first| first.deadline_ns.min(next_ns))))
    }

    /// Without a schedule, makes full batches ready: as many as may be in flight.
    pub(super) fn refill(&mut self, now_ns: u64) {
        if let Schedule::Every { .. } = self.schedule {
            return;
        }
        let in_flight = self.plan.workload.produce.in_flight as usize;
        while self.waiting() < in_flight {
            if self.plan.keys.is_none() {
                let mut open = self.open(now_ns, None);
                open.records = self.plan.contents.records(open.template);
                self.ready.push_back(open);
            } else {
                self.arrive(now_ns);
            }
        }
    }

    /// Adds one record.
    fn arrive(&mut self, due_ns: u64) {
        self.arrived += 1;
        let plan = Arc::clone(&self.plan);
        let key = plan.keys.as_ref().map(|keys| keys.draw(&mut self.random));
        let partition = key.zip(plan.keys.as_ref()).map(|(key, keys)| keys.partition(key));
        let slot = partition.unwrap_or(0) as usize;
        let linger_ms = match self.schedule {
            Schedule::AtOnce => None,
            Schedule::Every { .. } => plan.workload.produce.linger_ms,
        };
        if self.open[slot].is_none() {
            let open = self.open(due_ns, partition);
            if let Some(linger_ms) = linger_ms.filter(|&linger| linger > 0.0) {
                let deadline_ns = due_ns + (linger_ms * 1e6) as u64;
                self.lingering.push_back(Lingering { deadline_ns, slot, number: open.number });
            }
            self.open[slot] = Some(open);
        }
        let open = self.open[slot].as_mut().expect("opened above");
        open.records += 1;
        open.keys.extend(key);
        open.last_due_ns = due_ns;
        if plan.contents.is_full(open.template, open.records) || linger_ms == Some(0.0) {
            self.close(slot, linger_ms.is_some());
        }
    }

    fn open(&mut self, due_ns: u64, partition: Option<i32>) -> Open {
        let template = self.next_template;
        self.next_template = (template + 1) % self.plan.contents.templates();
        let partition = partition.unwrap_or_else(|| {
            let partition = self.next_partition;
            if self.plan.workload.produce.own_partition.is_none() {
                self.next_partition = (partition + 1) % self.plan.workload.partitions;
            }
            partition
        });
        self.opened += 1;
        let number = self.opened;
        Open { partition, template, records: 0, keys: Vec::new(), first_due_ns: due_ns, last_due_ns: due_ns, number }
    }

    /// A batch that lingered is late from its first record on; one that had to be full, from its last.
    fn close(&mut self, slot: usize, lingered: bool) {
        let mut open = self.open[slot].take().expect("a batch is closed once");
        if !lingered {
            open.first_due_ns = open.last_due_ns;
        }
        self.ready.push_back(open);
    }

    fn close_lingering(&mut self, now_ns: u64) {
        while let Some(first) = self.lingering.front().copied().filter(|first| first.deadline_ns <= now_ns) {
            self.lingering.pop_front();
            if self.open[first.slot].as_ref().is_some_and(|open| open.number == first.number) {
                self.close(first.slot, true);
            }
        }
    }

    /// Writes ready requests to the socket, as many as may be in flight.
    pub(super) fn send(&mut self, socket: &mut Socket) {
        let in_flight = self.plan.workload.produce.in_flight as usize;
        while self.flights.len() < in_flight && socket.has_room() {
            let Some(batch) = self.ready.pop_front() else { return };
            let flight = self.put(&batch, socket);
            self.flights.push_back(flight);
        }
    }

    fn put(&mut self, open: &Open, socket: &mut Socket) -> Flight {
        let plan = Arc::clone(&self.plan);
        let sequence = self.written[open.partition as usize];
        let sequences = sequence..sequence + open.records as u64;
        self.written[open.partition as usize] = sequences.end;
        let gap_ns = (open.last_due_ns - open.first_due_ns) as f64 / (open.records.max(2) - 1) as f64;
        let first = Stamp { producer: self.id, sequence, due_ns: open.first_due_ns };
        let cut = Cut {
            template: open.template,
            records: open.records,
            keys: &open.keys,
            stamps: plan.workload.check.then_some(Stamps { first, interval_ns: gap_ns }),
            // Sequences go on at 0 after the greatest.
            producer: self.identity.map(|(id, epoch)| Identity {
                id,
                epoch,
                base_sequence: (sequence & 0x7FFF_FFFF) as i32,
            }),
        };
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = correlation_id.wrapping_add(1);
        let bytes = if let Some(sealed) = plan.contents.sealed(&cut) {
            plan.frames.put_start(socket.out(), correlation_id, open.partition, sealed.len());
            socket.put_shared(sealed);
            sealed.len()
        } else {
            self.batch.clear();
            plan.contents.cut(&cut, &mut self.batch);
            plan.frames.put_start(socket.out(), correlation_id, open.partition, self.batch.len());
            socket.out().extend_from_slice(&self.batch);
            self.batch.len()
        };
        plan.frames.put_end(socket.out());
        Flight { correlation_id, partition: open.partition, sequences, bytes: bytes as u64, due_ns: open.first_due_ns }
    }

    /// Takes the answer to the oldest flight.
    pub(super) fn answered(
        &mut self,
        answer: &[u8],
        now_ns: u64,
        window: &Range<u64>,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let unasked = || Error::WrongAnswer { api: net::ApiKey::Produce, what: "nobody asked for it".into() };
        let flight = self.flights.pop_front().ok_or_else(unasked)?;
        let outcome = if self.plan.is_echo {
            Acknowledged::Stored
        } else {
            self.plan.frames.check(answer, flight.correlation_id, flight.partition)?
        };
        match outcome {
            Acknowledged::Refused => tally.refused += 1,
            Acknowledged::Stored => self.acknowledge(flight, now_ns, window, tally),
        }
        Ok(())
    }

    /// A send has ended: without acknowledgements its requests are over.
    pub(super) fn sent(&mut self, now_ns: u64, window: &Range<u64>, tally: &mut Tally) {
        if self.plan.workload.produce.acks == Acks::None {
            while let Some(flight) = self.flights.pop_front() {
                self.acknowledge(flight, now_ns, window, tally);
            }
        }
    }

    fn acknowledge(&mut self, flight: Flight, now_ns: u64, window: &Range<u64>, tally: &mut Tally) {
        let records = flight.sequences.end - flight.sequences.start;
        tally.acknowledged(window, Acknowledgement { due_ns: flight.due_ns, now_ns, records, bytes: flight.bytes });
        if self.plan.workload.check {
            self.acknowledged.acknowledge((self.id, flight.partition), flight.sequences);
        }
    }
}
