//! The load: connections that keep requests in flight, on one thread that never sleeps.
//!
//! Closed loop: each connection has always the same number of requests in flight. Open loop: requests are due at a
//! fixed rate whatever becomes of the former ones, and latency counts from when they were due, so that a server that
//! pauses is charged for all that should have been sent meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use glommio::{LocalExecutorBuilder, Placement};
use hdrhistogram::Histogram;

use crate::connection::Connection;
use crate::error::Error;
use crate::process;
use crate::request::Requests;

/// How long no answer may come.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Requests of an open loop that may wait for an answer.
const AWAITED_MAX: usize = 100_000;

/// The longest latency that the histogram tells from longer ones, in ns.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Bytes of I/O memory for the executor that places the thread: the least it accepts.
const EXECUTOR_MEMORY_BYTES: usize = 64 << 10;

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// As many in flight on each connection, always.
    InFlight(usize),
    /// As many a second over all connections, whatever is in flight.
    PerSecond(f64),
}

/// How to load a server.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Connections.
    pub connections: usize,
    /// When requests are sent.
    pub pace: Pace,
    /// What is not measured at the start.
    pub warm_up: Duration,
    /// What is measured then.
    pub measured: Duration,
    /// Ends the measurement early, when so many bytes of record batches were sent in it.
    pub bytes_max: u64,
    /// The CPU of the load.
    pub core: usize,
    /// The server's process, to count its CPU time.
    pub server: Option<u32>,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Requests answered without an error.
    pub requests: u64,
    /// Requests refused for want of room, which a client sends again; they are in no other figure.
    pub refused: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of record batches in them.
    pub payload_bytes: u64,
    /// Bytes of the answers.
    pub answer_bytes: u64,
    /// How long that took.
    pub elapsed: Duration,
    /// CPU time of the server meanwhile.
    pub server_cpu: Duration,
    /// Time to the answer, in ns.
    pub latency: Histogram<u64>,
}

impl Outcome {
    /// Requests a second.
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// The server's CPU time for a request, in µs.
    #[must_use]
    pub fn cpu_us_per_request(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.requests as f64
    }

    /// The server's CPU time for so many bytes, in seconds per GiB.
    #[must_use]
    pub fn cpu_s_per_gib(&self, bytes: u64) -> f64 {
        self.server_cpu.as_secs_f64() / (bytes as f64 / f64::from(1 << 30))
    }

    /// A quantile of the latency, in µs.
    #[must_use]
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }
}

/// Loads the server on a thread of its own and waits for the end. All requests are answered then.
///
/// # Errors
/// If a single request is not answered as it must be.
pub fn run(address: SocketAddr, requests: Requests, load: Load) -> Result<Outcome, Error> {
    let cannot = |error: glommio::GlommioError<()>| Error::System {
        what: format!("run the load on CPU {}", load.core),
        cause: std::io::Error::other(error.to_string()),
    };
    LocalExecutorBuilder::new(Placement::Fixed(load.core))
        .name("load")
        .io_memory(EXECUTOR_MEMORY_BYTES)
        .spawn(move || async move { Generator::new(address, requests, load)?.run() })
        .map_err(cannot)?
        .join()
        .map_err(cannot)?
}

/// What is counted between two moments.
struct Tally {
    since: Instant,
    server_cpu: Duration,
    requests: u64,
    refused: u64,
    answer_bytes: u64,
    latency: Histogram<u64>,
}

impl Tally {
    fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("possible bounds");
        Self { since: Instant::now(), server_cpu: Duration::ZERO, requests: 0, refused: 0, answer_bytes: 0, latency }
    }
}

struct Generator {
    load: Load,
    requests: Arc<Requests>,
    connections: Vec<Connection>,
    tally: Tally,
    last_answer: Instant,
    /// Requests of an open loop so far.
    asked: u64,
}

impl Generator {
    fn new(address: SocketAddr, requests: Requests, load: Load) -> Result<Self, Error> {
        let requests = Arc::new(requests);
        let connections = (0..load.connections).map(|index| Connection::open(address, Arc::clone(&requests), index));
        let connections = connections.collect::<Result<_, _>>()?;
        Ok(Self { load, requests, connections, tally: Tally::new(), last_answer: Instant::now(), asked: 0 })
    }

    fn run(mut self) -> Result<Outcome, Error> {
        let start = Instant::now();
        self.last_answer = start;
        while start.elapsed() < self.load.warm_up {
            self.pass(start, true)?;
        }
        self.tally = Tally::new();
        self.tally.server_cpu = self.server_cpu()?;
        let requests_max = self.load.bytes_max / self.requests.payload_bytes.max(1);
        while self.tally.since.elapsed() < self.load.measured && self.tally.requests < requests_max {
            self.pass(start, true)?;
        }
        let (elapsed, cpu) = (self.tally.since.elapsed(), self.server_cpu()?);
        let Self { mut tally, requests, .. } = self.drain(start)?;
        tally.server_cpu = cpu - tally.server_cpu;
        Ok(Outcome {
            requests: tally.requests,
            refused: tally.refused,
            records: tally.requests * requests.records,
            payload_bytes: tally.requests * requests.payload_bytes,
            answer_bytes: tally.answer_bytes,
            elapsed,
            server_cpu: tally.server_cpu,
            latency: tally.latency,
        })
    }

    fn server_cpu(&self) -> Result<Duration, Error> {
        self.load.server.map_or(Ok(Duration::ZERO), process::cpu_time)
    }

    /// Waits for what is in flight, not counting it.
    fn drain(mut self, start: Instant) -> Result<Self, Error> {
        let counted = std::mem::replace(&mut self.tally, Tally::new());
        while self.connections.iter().any(|connection| connection.in_flight() > 0) {
            self.pass(start, false)?;
        }
        self.tally = counted;
        Ok(self)
    }

    /// Looks once at each connection.
    fn pass(&mut self, start: Instant, asks: bool) -> Result<(), Error> {
        if let (true, Pace::PerSecond(rate)) = (asks, self.load.pace) {
            self.ask_what_is_due(start, rate);
        }
        for connection in &mut self.connections {
            let (tally, last_answer) = (&mut self.tally, &mut self.last_answer);
            let mut now = None;
            connection.read(|answered| {
                let now = *now.get_or_insert_with(Instant::now);
                *last_answer = now;
                if answered.is_refused {
                    tally.refused += 1;
                    return;
                }
                tally.requests += 1;
                tally.answer_bytes += answered.bytes;
                tally.latency.saturating_record(now.duration_since(answered.since).as_nanos() as u64);
            })?;
            if let (true, Pace::InFlight(count)) = (asks, self.load.pace)
                && connection.in_flight() < count
            {
                let now = now.unwrap_or_else(Instant::now);
                (connection.in_flight()..count).for_each(|_| connection.ask(now));
            }
            connection.write()?;
        }
        self.check_progress()
    }

    /// Asks for all that is due by now, on the connections in turn.
    fn ask_what_is_due(&mut self, start: Instant, rate: f64) {
        loop {
            let due = start + Duration::from_secs_f64(self.asked as f64 / rate);
            if due > Instant::now() {
                return;
            }
            let connection = self.asked as usize % self.connections.len();
            self.connections[connection].ask(due);
            self.asked += 1;
        }
    }

    fn check_progress(&self) -> Result<(), Error> {
        let awaited = || self.connections.iter().map(Connection::in_flight).sum();
        let silent = self.last_answer.elapsed();
        match self.load.pace {
            _ if silent > SILENCE_MAX && awaited() > 0 => Err(Error::Stalled { silent, awaited: awaited() }),
            Pace::PerSecond(_) if awaited() > AWAITED_MAX => Err(Error::Overload { awaited: awaited() }),
            _ => Ok(()),
        }
    }
}
