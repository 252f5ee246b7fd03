//! A client's connection: requests out, answers in their order, and what becomes of both when it breaks.

use std::collections::VecDeque;

use broker::driver::simulated::{ClientRead, Network};
use net::frame::put_request;
use net::ops::{ListenerId, Socket};
use net::{ApiKey, Message, Reader, ResponseHeader};
use storage::simulated::Random;

use super::Env;
use crate::sim::trace::Event;

/// Virtual time after which a request counts as forgotten by the node, in nanoseconds.
const ANSWER_NS_MAX: u64 = 120_000_000_000;
/// Longest pause before a new connection, in nanoseconds.
const BACKOFF_NS_MAX: u64 = 20_000_000;
/// Bytes of a response's length.
const LENGTH_BYTES: usize = 4;

/// A request that is to be answered.
struct Waiting<C> {
    correlation_id: i32,
    key: ApiKey,
    version: i16,
    sent_at_ns: u64,
    context: C,
}

/// What came back.
pub(super) enum Arrival<C> {
    /// An answer: the version and body, and what the client gave with the request.
    Answer { version: i16, body: Vec<u8>, context: C },
    /// The connection is gone, and nobody knows what became of the requests in flight.
    Lost,
}

/// A connection with requests in flight, each with a context `C`.
pub(super) struct Link<C> {
    name: String,
    random: Random,
    /// How often the connection is cut before a request, per million.
    cuts_per_million: u32,
    socket: Option<Socket>,
    retry_at_ns: u64,
    correlation_id: i32,
    waiting: VecDeque<Waiting<C>>,
    /// When the first of the requests was sent that were answered last.
    answered_sent_at_ns: u64,
    /// Requests behind this one are answered no earlier than that: the node was to let the client wait.
    muted: Option<(i32, u64)>,
    inbox: Vec<u8>,
}

impl<C> Link<C> {
    pub(super) fn new(name: String, cuts_per_million: u32, random: Random) -> Self {
        Self {
            name,
            random,
            cuts_per_million,
            socket: None,
            retry_at_ns: 0,
            correlation_id: 0,
            waiting: VecDeque::new(),
            answered_sent_at_ns: 0,
            muted: None,
            inbox: Vec::new(),
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    /// When the client that does something itself at `own_ns` has something to do: not without a connection, which it
    /// makes for that alone.
    pub(super) fn next_at_ns(&self, network: &Network, own_ns: Option<u64>) -> Option<u64> {
        match self.socket {
            Some(socket) => [own_ns, network.client_next_at_ns(socket)].into_iter().flatten().min(),
            None => own_ns.map(|own_ns| own_ns.max(self.retry_at_ns)),
        }
    }

    /// Whether there is a connection; makes one if it is time to.
    pub(super) fn is_up(&mut self, env: &mut Env<'_>) -> bool {
        if self.socket.is_none() && self.retry_at_ns <= env.now_ns {
            self.socket = env.network.connect(env.now_ns, ListenerId(0));
            self.retry_at_ns = env.now_ns + 1 + self.random.below(BACKOFF_NS_MAX);
        }
        self.socket.is_some()
    }

    /// Sends a request. Without a context no answer is expected.
    pub(super) fn send<'m, M: Message<'m>>(
        &mut self,
        env: &mut Env<'_>,
        version: i16,
        message: &M,
        context: Option<C>,
    ) {
        let socket = self.socket.expect("asked for before");
        self.correlation_id += 1;
        let mut frame = Vec::new();
        put_request(&mut frame, version, self.correlation_id, Some(&self.name), message);
        env.network.client_write(env.now_ns, socket, &frame);
        env.totals.operations += 1;
        if let Some(context) = context {
            let (correlation_id, sent_at_ns) = (self.correlation_id, env.now_ns);
            self.waiting.push_back(Waiting { correlation_id, key: M::KEY, version, sent_at_ns, context });
        }
        if self.random.chance(self.cuts_per_million) {
            env.totals.cuts += 1;
            env.network.cut(env.now_ns, socket);
        }
    }

    /// One of the answers that came last tells the client to wait (KIP-219): the node takes none of its requests until then,
    /// counted from when it took the request up, and so not before the first of those was sent.
    pub(super) fn throttled(&mut self, env: &mut Env<'_>, throttle_time_ms: i32) {
        if let Ok(wait_ms @ 1..) = u64::try_from(throttle_time_ms) {
            env.totals.throttled += 1;
            // Waits are told in whole milliseconds, rounded up.
            self.muted = Some((self.correlation_id, self.answered_sent_at_ns + (wait_ms - 1) * 1_000_000));
        }
    }

    /// Takes what has arrived.
    pub(super) fn receive(&mut self, env: &mut Env<'_>) -> Vec<Arrival<C>> {
        let mut arrivals = Vec::new();
        self.answered_sent_at_ns = u64::MAX;
        let Some(socket) = self.socket else { return arrivals };
        let bytes_max = if self.random.index(4) == 0 { 1 + self.random.index(100) } else { 1 << 20 };
        let state = env.network.client_read(env.now_ns, socket, bytes_max, &mut self.inbox);
        while let Some(answer) = self.next_answer(env) {
            arrivals.push(answer);
        }
        if let Some(oldest) = self.waiting.front() {
            let age = env.now_ns - oldest.sent_at_ns;
            assert!(age < ANSWER_NS_MAX, "{} v{} of {} is never answered", oldest.key, oldest.version, self.name);
        }
        if state == ClientRead::Ended {
            env.network.client_close(env.now_ns, socket);
            self.socket = None;
            self.inbox.clear();
            self.retry_at_ns = env.now_ns + self.random.below(BACKOFF_NS_MAX);
            env.trace.add(Event::Lost, &[env.now_ns, self.waiting.len() as u64]);
            self.waiting.clear();
            self.muted = None;
            arrivals.push(Arrival::Lost);
        }
        arrivals
    }

    fn next_answer(&mut self, env: &mut Env<'_>) -> Option<Arrival<C>> {
        let (length, rest) = self.inbox.split_first_chunk::<LENGTH_BYTES>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).expect("a response has a length");
        let frame = rest.get(..length)?;
        let waiting =
            self.waiting.pop_front().unwrap_or_else(|| panic!("{} is answered without a question", self.name));
        let mut reader = Reader::new(frame);
        let header = ResponseHeader::decode(&mut reader, waiting.key, waiting.version).expect("a response header");
        assert_eq!(header.correlation_id, waiting.correlation_id, "answers to {} come in order", self.name);
        self.answered_sent_at_ns = self.answered_sent_at_ns.min(waiting.sent_at_ns);
        if let Some((after, until_ns)) = self.muted.filter(|(after, _)| waiting.correlation_id > *after) {
            assert!(env.now_ns >= until_ns, "{} was to wait after request {after}", self.name);
        }
        let body = frame[reader.position()..].to_vec();
        tracing::debug!(at = env.now_ns, client = self.name, key = ?waiting.key, sent = waiting.sent_at_ns, ?body, "answered");
        env.trace.add(Event::Response, &[env.now_ns, waiting.key as u64, u64::from(crc32(&body))]);
        self.inbox.drain(..LENGTH_BYTES + length);
        Some(Arrival::Answer { version: waiting.version, body, context: waiting.context })
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |state: u32, &byte| state.rotate_left(5) ^ u32::from(byte).wrapping_mul(0x9e37_79b9))
}

/// Decodes a body that fills its frame exactly.
pub(super) fn decode<'a, M: Message<'a>>(body: &'a [u8], version: i16) -> M {
    M::from_bytes(body, version).unwrap_or_else(|error| panic!("the response to {} v{version}: {error:?}", M::KEY))
}

/// A version of the API that this node advertises, from `at_least` to `at_most`.
pub(super) fn any_version(key: ApiKey, at_least: i16, at_most: i16, random: &mut Random) -> i16 {
    let advertised = key.advertised_versions();
    let (low, high) = (at_least.max(*advertised.start()), at_most.min(*advertised.end()));
    low + random.index((high - low) as usize + 1) as i16
}
