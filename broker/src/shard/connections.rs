//! The connections of a shard: frames in, answers out, back-pressure, idle time.
//!
//! ```text
//! listener ─► shard 0 accepts ─► round-robin by mailbox ─► adopt ─► receive ⇄ send ─► close ─► Closed: number free
//! ```

use bytes::BytesMut;
use net::api::api_versions;
use net::connection::{AnswerId, Buffers, Limits, Origin};
use net::ops::{ConnectionId, Event, ListenerId, Op, ReceiveEnd, SEND_PARTS_MAX, Send};
use net::{Answer, ApiKey, Connection, Message};
use smallvec::SmallVec;
use storage::buffer::Slice;

use super::Shard;
use super::mail::{Client, NewConnection};
use super::memory::Share;
use super::pending::Key;
use super::timers::Timer;
use crate::config::Endpoint;

/// After a failed accept (no descriptors left), the next try comes after this time.
const ACCEPT_PAUSE_NS: u64 = 100_000_000;

/// Requests that wait in a connection's buffer are taken up in portions of this many, so that others get their turn.
const RESUMED_REQUESTS_MAX: usize = 64;

/// The longest name of a client's software, and of its version, that is noted.
const SOFTWARE_BYTES_MAX: usize = 256;

/// What clients are told about a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerInfo {
    /// Its name.
    pub name: String,
    /// The address clients shall use; without one, the address their connection came in on.
    pub advertised: Option<Endpoint>,
}

/// One of the connections that have had a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionKey {
    id: ConnectionId,
    generation: u32,
}

impl ConnectionKey {
    /// Its number.
    pub(super) fn id(self) -> ConnectionId {
        self.id
    }

    /// The key as one number.
    pub(crate) fn as_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.id.0)
    }
}

/// Where the answer to a request goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Responder {
    pub(crate) connection: ConnectionKey,
    /// None where no answer is owed.
    answer: Option<AnswerId>,
    pub(crate) key: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    /// Bytes of the request, charged to the connection until it is answered.
    charged: usize,
    /// When it began to be carried out: it came, or what it waited for did.
    pub(crate) began_ns: u64,
    /// For how long its client is to wait before the next request; 0 within its quotas.
    pub(crate) throttle_ms: i32,
}

/// A request that another shard handles.
#[derive(Debug)]
pub(crate) struct Forwarding {
    pub(crate) responder: Responder,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    next_answer: AnswerId,
    open: Option<Open>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) connection: Connection<Slice>,
    /// Its share of the memory of all.
    pub(super) share: Share,
    receive: Receive,
    /// Whether the socket is being closed: nothing is done any more.
    pub(super) ended: bool,
    /// Whether it is in the queue of those with something to send.
    queued: bool,
    /// Whether it is in the queue of those with requests to take up.
    resumable: bool,
    /// Whether it waits until the store has room.
    pub(super) is_stalled: bool,
    /// Whether it has waited long enough: its next request goes on.
    pub(super) has_waited: bool,
    /// Its fetches that wait for records: they end with it.
    parked: SmallVec<[Key; 1]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receive {
    Idle,
    /// Until it is cancelled.
    Armed,
    /// Until bytes come in.
    Once,
    Cancelling,
}

impl Open {
    /// Whether bytes are received if the client sends some.
    pub(super) fn is_receiving(&self) -> bool {
        matches!(self.receive, Receive::Armed | Receive::Once)
    }
}

/// The connections of one shard.
#[derive(Debug)]
pub(crate) struct Connections {
    places: Vec<Place>,
    free: Vec<ConnectionId>,
    /// Connections that may have something to send.
    sending: Vec<ConnectionId>,
    /// Connections with requests in their buffers that wait for their turn.
    resumable: Vec<ConnectionId>,
    /// For the next answers.
    buffers: Buffers,
    /// The shard that gets the next connection.
    next_shard: usize,
    shards: usize,
}

impl Connections {
    pub(crate) fn new(shards: usize) -> Self {
        let (places, free, sending, resumable, buffers) = Default::default();
        Self { places, free, sending, resumable, buffers, next_shard: 0, shards }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.len() == self.free.len()
    }

    /// How many connections are open.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.resumable.is_empty()
    }

    pub(super) fn open(&mut self, id: ConnectionId) -> Option<&mut Open> {
        self.places.get_mut(id.0 as usize)?.open.as_mut()
    }

    /// Whether the connection has not ended.
    pub(crate) fn is_open(&mut self, key: ConnectionKey) -> bool {
        self.by_key(key).is_some_and(|open| !open.ended)
    }

    /// All numbers there are.
    pub(super) fn ids(&self) -> impl Iterator<Item = ConnectionId> + use<> {
        (0..self.places.len()).map(|index| ConnectionId(index as u32))
    }

    pub(super) fn by_key(&mut self, key: ConnectionKey) -> Option<&mut Open> {
        let place = self.places.get_mut(key.id.0 as usize)?;
        if place.generation == key.generation { place.open.as_mut() } else { None }
    }

    pub(super) fn key(&self, id: ConnectionId) -> ConnectionKey {
        ConnectionKey { id, generation: self.places[id.0 as usize].generation }
    }

    fn add(&mut self, new: NewConnection, limits: Limits, now_ns: u64) -> ConnectionKey {
        let id = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, next_answer: AnswerId(0), open: None });
            ConnectionId(self.places.len() as u32 - 1)
        });
        let place = &mut self.places[id.0 as usize];
        let origin = Origin { listener: new.listener, peer: new.peer, local: new.local };
        let connection = Connection::new(id, origin, limits, place.next_answer, now_ns);
        place.open = Some(Open {
            connection,
            share: Share::default(),
            receive: Receive::Armed,
            ended: false,
            queued: false,
            resumable: false,
            is_stalled: false,
            has_waited: false,
            parked: SmallVec::new(),
        });
        self.key(id)
    }

    /// Frees the number of a connection that is closed.
    fn remove(&mut self, id: ConnectionId) -> Open {
        let place = &mut self.places[id.0 as usize];
        let open = place.open.take().expect("a connection is closed once");
        place.next_answer = open.connection.next_answer();
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id);
        open
    }

    /// The shard that gets the next connection.
    pub(crate) fn next_shard(&mut self) -> usize {
        let shard = self.next_shard;
        self.next_shard = (shard + 1) % self.shards;
        shard
    }

    /// Notes that a fetch of the connection waits for records.
    pub(crate) fn note_parked(&mut self, key: ConnectionKey, fetch: Key) {
        let open = self.by_key(key).filter(|open| !open.ended);
        open.expect("a fetch is parked for a connection that is open").parked.push(fetch);
    }

    /// It does no longer.
    pub(crate) fn forget_parked(&mut self, key: ConnectionKey, fetch: Key) {
        if let Some(open) = self.by_key(key) {
            open.parked.retain(|parked| *parked != fetch);
        }
    }

    /// Notes the client id of a request.
    pub(crate) fn name_client(&mut self, key: ConnectionKey, client_id: &str) {
        if let Some(open) = self.by_key(key) {
            open.connection.set_client_id(client_id);
        }
    }

    /// The client id of a connection's last request; none if the connection has ended.
    pub(crate) fn client_id(&self, key: ConnectionKey) -> &str {
        let place = self.places.get(key.id.0 as usize).filter(|place| place.generation == key.generation);
        place.and_then(|place| place.open.as_ref()).map_or("", |open| open.connection.client().id.as_str())
    }

    /// Takes no request of a connection before that time; the timer for its end, unless the connection has ended.
    pub(crate) fn mute(&mut self, key: ConnectionKey, until_ns: u64) -> Option<Timer> {
        self.by_key(key)?.connection.mute_until(until_ns);
        Some(Timer::Unmute { connection: key.id, generation: key.generation })
    }

    fn queue_send(&mut self, id: ConnectionId) {
        let Some(open) = self.open(id) else { return };
        if !open.queued {
            open.queued = true;
            self.sending.push(id);
        }
    }

    pub(super) fn queue_resume(&mut self, id: ConnectionId, now_ns: u64) {
        let Some(open) = self.open(id) else { return };
        if !open.resumable && !open.is_stalled && open.connection.has_request(now_ns) {
            open.resumable = true;
            self.resumable.push(id);
        }
    }
}

impl Shard {
    /// Handles what happened to a socket.
    pub(super) fn net_event(&mut self, event: Event<'_, Slice>) {
        match event {
            Event::Accepted { listener, socket, peer, local } => {
                self.accepted(NewConnection { socket, listener, peer, local });
            }
            Event::AcceptEnded { listener, errno } => self.accept_ended(listener, errno),
            Event::Received { connection, data } => self.received(connection, data),
            Event::ReceiveEnded { connection, end } => self.receive_ended(connection, end),
            Event::Filled { connection, buffer, end } => self.filled(connection, buffer, end),
            Event::Sent { send, result } => self.sent(send, result),
            Event::Closed { connection } => {
                let mut open = self.connections.remove(connection);
                self.forget_share(&mut open);
                let ip = open.connection.origin().peer.ip().to_canonical();
                self.connection_ended(ip);
            }
        }
    }

    fn accept_ended(&mut self, listener: ListenerId, errno: i32) {
        self.accept_has_ended(listener);
        if !self.is_running() {
            return;
        }
        if errno == 0 {
            self.accept(listener);
            return;
        }
        let error = std::io::Error::from_raw_os_error(errno);
        let listener_name = &self.listeners[usize::from(listener.0)].name;
        tracing::warn!(
            listener = %listener_name,
            %error,
            "no connection could be accepted; new ones wait until another one ends (raise the limit of open files: ulimit -n)"
        );
        self.timers.arm(self.now.monotonic_ns + ACCEPT_PAUSE_NS, Timer::Accept(listener));
    }

    /// Serves a connection from now on.
    pub(super) fn adopt(&mut self, new: NewConnection) {
        if !self.is_running() {
            self.ops.net.push(Op::Discard { socket: new.socket });
            return self.connection_ended(new.peer.ip().to_canonical());
        }
        let network = &self.config.network;
        let (frame_bytes_max, direct_bytes_min) = (network.request_bytes_max as usize, network.direct_bytes_min);
        let limits = Limits { frame_bytes_max, direct_bytes_min, ..Limits::default() };
        let key = self.connections.add(new, limits, self.now.monotonic_ns);
        self.metrics.connections_opened += 1;
        self.ops.net.push(Op::Adopt { connection: key.id, socket: new.socket });
        self.ops.net.push(Op::Receive { connection: key.id });
        if let Some(idle_ms) = self.config.network.idle_ms_max {
            let deadline_ns = self.now.monotonic_ns.saturating_add(idle_ms * 1_000_000);
            self.timers.arm(deadline_ns, Timer::Idle { connection: key.id, generation: key.generation });
        }
    }

    /// Closes the connection if it has been idle for long, or looks again when it may have been.
    pub(super) fn check_idle(&mut self, id: ConnectionId, generation: u32) {
        let Some(idle_ms) = self.config.network.idle_ms_max else { return };
        let (now_ns, idle_ns) = (self.now.monotonic_ns, idle_ms * 1_000_000);
        let Some(open) = self.connections.by_key(ConnectionKey { id, generation }) else { return };
        if open.connection.is_idle(now_ns, idle_ns) {
            self.close(id);
        } else {
            let deadline_ns = (open.connection.last_activity_ns() + idle_ns).max(now_ns + idle_ns / 10);
            self.timers.arm(deadline_ns, Timer::Idle { connection: id, generation });
        }
    }

    /// A connection may be listened to again.
    pub(super) fn unmute(&mut self, id: ConnectionId, generation: u32) {
        if self.connections.by_key(ConnectionKey { id, generation }).is_some() {
            self.connections.queue_resume(id, self.now.monotonic_ns);
            self.follow_budget(id);
        }
    }

    fn received(&mut self, id: ConnectionId, data: &[u8]) {
        self.metrics.received_bytes += data.len() as u64;
        self.take_requests(id, data, usize::MAX);
        self.follow_budget(id);
    }

    /// Takes requests out of `data` and what was kept before, `max` at the most.
    fn take_requests(&mut self, id: ConnectionId, data: &[u8], max: usize) {
        let mut rest = data;
        for _ in 0..max {
            let now_ns = self.now.monotonic_ns;
            match self.must_stall(id, &mut rest) {
                Ok(false) => {}
                Ok(true) => return,
                Err(error) => return self.close_malformed(id, &error),
            }
            let Some(open) = self.connections.open(id).filter(|open| !open.ended) else { return };
            match open.connection.next_frame(&mut rest, now_ns) {
                Ok(Some(frame)) => {
                    let key = self.connections.key(id);
                    if let Err(malformed) = self.request(key, &frame) {
                        return self.close_malformed(id, &malformed);
                    }
                }
                Ok(None) => return,
                Err(error) => return self.close_malformed(id, &error),
            }
        }
    }

    fn close_malformed(&mut self, id: ConnectionId, why: &dyn std::fmt::Display) {
        if let Some(open) = self.connections.open(id) {
            let (peer, client) = (open.connection.origin().peer, &open.connection.client().id);
            tracing::warn!(%peer, %client, "connection closed: {why}");
        }
        self.metrics.connections_malformed += 1;
        self.close(id);
    }

    /// Takes up requests that had to wait for a budget.
    pub(super) fn resume_connections(&mut self) {
        self.resume_stalled();
        self.resume_waiting();
        let resumable = std::mem::take(&mut self.connections.resumable);
        for id in resumable {
            let Some(open) = self.connections.open(id) else { continue };
            open.resumable = false;
            self.take_requests(id, &[], RESUMED_REQUESTS_MAX);
            self.connections.queue_resume(id, self.now.monotonic_ns);
            self.follow_budget(id);
        }
    }

    /// Counts what the connection holds, and arms or cancels the receive, as its budgets and the memory of all want it.
    pub(super) fn follow_budget(&mut self, id: ConnectionId) {
        let now_ns = self.now.monotonic_ns;
        let Some(open) = self.connections.open(id).filter(|open| !open.ended) else { return };
        let is_wanted = !open.is_stalled && open.connection.wants_receive(now_ns);
        let is_wanted = self.has_memory(id, is_wanted);
        let Some(open) = self.connections.open(id).filter(|open| !open.ended) else { return };
        match (open.receive, is_wanted) {
            (Receive::Idle, true) => {
                let op = open.connection.next_receive();
                open.receive = if matches!(op, Op::Receive { .. }) { Receive::Armed } else { Receive::Once };
                self.ops.net.push(op);
            }
            (Receive::Armed, wanted) if wanted && !open.connection.wants_other_receive() => {}
            (Receive::Armed, _) | (Receive::Once, false) => {
                open.receive = Receive::Cancelling;
                self.ops.net.push(Op::CancelReceive { connection: id });
            }
            _ => {}
        }
    }

    /// A large request's buffer comes back with more of it.
    fn filled(&mut self, id: ConnectionId, buffer: BytesMut, end: ReceiveEnd) {
        let now_ns = self.now.monotonic_ns;
        let Some(open) = self.connections.open(id).filter(|open| !open.ended) else { return };
        self.metrics.received_bytes += open.connection.filled(buffer, now_ns) as u64;
        self.take_requests(id, &[], usize::MAX);
        self.receive_ended(id, end);
    }

    fn receive_ended(&mut self, id: ConnectionId, end: ReceiveEnd) {
        let Some(open) = self.connections.open(id) else { return };
        open.receive = Receive::Idle;
        match end {
            ReceiveEnd::Rearm | ReceiveEnd::Cancelled => {
                self.connections.queue_resume(id, self.now.monotonic_ns);
                self.follow_budget(id);
            }
            ReceiveEnd::PeerClosed | ReceiveEnd::Failed(_) => self.close(id),
        }
    }

    fn sent(&mut self, send: Send<Slice>, result: Result<usize, i32>) {
        let id = send.connection;
        let now_ns = self.now.monotonic_ns;
        let Connections { places, buffers, .. } = &mut self.connections;
        let Some(open) = places.get_mut(id.0 as usize).and_then(|place| place.open.as_mut()) else { return };
        match result {
            Ok(taken) => {
                open.share.sending_since_ns = None;
                open.connection.sent(send, taken, now_ns, buffers);
                self.metrics.sent_bytes += taken as u64;
                if open.connection.is_finished() {
                    return self.close(id);
                }
                self.connections.queue_send(id);
                self.connections.queue_resume(id, now_ns);
                self.follow_budget(id);
            }
            Err(_) => self.close(id),
        }
    }

    /// Ends a connection; its number is free once the driver says so.
    pub(super) fn close(&mut self, id: ConnectionId) {
        let Some(open) = self.connections.open(id) else { return };
        if std::mem::replace(&mut open.ended, true) {
            return;
        }
        let parked = std::mem::take(&mut open.parked);
        // Nothing is sent any more, and nothing taken up.
        open.connection.discard();
        self.memory.count(open);
        self.ops.net.push(Op::Close { connection: id });
        parked.into_iter().for_each(|fetch| self.abandon_fetch(fetch));
    }

    /// Ends the connection of a request, and says why in the log.
    pub(super) fn close_for(&mut self, responder: Responder, why: &str) {
        if let Some(open) = self.connections.by_key(responder.connection) {
            let (peer, client) = (open.connection.origin().peer, &open.connection.client().id);
            tracing::warn!(%peer, %client, key = %responder.key, "connection closed: {why}");
            self.close(responder.connection.id);
        }
    }

    /// Ends every connection, and accepts none any more.
    pub(super) fn close_all(&mut self) {
        self.pause_accepting();
        self.dismiss_waiting();
        for id in (0..self.connections.places.len()).map(|index| ConnectionId(index as u32)) {
            self.close(id);
        }
    }

    /// Hands what is ready to the driver, at the end of a turn.
    pub(super) fn send_answers(&mut self) {
        let now_ns = self.now.monotonic_ns;
        let mut sending = std::mem::take(&mut self.connections.sending);
        for id in sending.drain(..) {
            let Connections { places, buffers, .. } = &mut self.connections;
            let Some(open) = places.get_mut(id.0 as usize).and_then(|place| place.open.as_mut()) else { continue };
            open.queued = false;
            if open.ended {
                continue;
            }
            if let Some(send) = open.connection.next_send(SEND_PARTS_MAX, buffers) {
                open.share.sending_since_ns = Some(now_ns);
                self.ops.net.push(Op::Send(send));
            }
        }
        self.connections.sending = sending;
    }

    /// Reserves the place of an answer.
    pub(super) fn reserve(
        &mut self,
        connection: ConnectionKey,
        key: ApiKey,
        version: i16,
        correlation_id: i32,
        bytes: usize,
    ) -> Responder {
        let open = self.connections.by_key(connection).expect("it just sent a request");
        open.connection.charge(bytes);
        open.has_waited = false;
        let answer = Some(open.connection.reserve());
        self.metrics.requested(key);
        let began_ns = self.now.monotonic_ns;
        Responder { connection, answer, key, version, correlation_id, charged: bytes, began_ns, throttle_ms: 0 }
    }

    /// For a request that is owed no answer.
    pub(super) fn without_answer(
        &mut self,
        connection: ConnectionKey,
        key: ApiKey,
        version: i16,
        correlation_id: i32,
    ) -> Responder {
        self.connections.by_key(connection).expect("it just sent a request").has_waited = false;
        self.metrics.requested(key);
        let began_ns = self.now.monotonic_ns;
        Responder { connection, answer: None, key, version, correlation_id, charged: 0, began_ns, throttle_ms: 0 }
    }

    /// Answers a request. If its connection has ended, the answer is dropped.
    pub(super) fn respond(&mut self, responder: Responder, answer: Answer<Slice>) {
        self.metrics.answered(responder.key, self.now.monotonic_ns.saturating_sub(responder.began_ns));
        let Some(open) = self.connections.by_key(responder.connection) else { return };
        open.connection.release(responder.charged);
        let Some(id) = responder.answer else { return };
        if open.connection.fulfil(id, answer).is_ok() {
            self.connections.queue_send(responder.connection.id);
        }
        self.connections.queue_resume(responder.connection.id, self.now.monotonic_ns);
        self.follow_budget(responder.connection.id);
    }

    /// Answers a request with a message.
    pub(super) fn respond_message<'a, M: Message<'a>>(&mut self, responder: Responder, version: i16, message: &M) {
        if self.may_throttle(responder) {
            let mut body = Vec::new();
            message.encode(&mut body, version);
            return self.respond_body(responder, &body);
        }
        self.metrics.told_by(message);
        let answer = Answer::of(self.answer_buffer(), version, responder.correlation_id, message);
        self.respond(responder, answer);
    }

    /// Answers a request with a body that another state machine, or shard, has encoded.
    pub(super) fn respond_body(&mut self, responder: Responder, body: &[u8]) {
        let Responder { key, version, correlation_id, .. } = responder;
        self.metrics.told_in(key, version, body);
        let answer = if self.may_throttle(responder) {
            let mut body = body.to_vec();
            self.throttle_answer(responder, &mut body);
            Answer::of_body(self.answer_buffer(), key, version, correlation_id, &body)
        } else {
            Answer::of_body(self.answer_buffer(), key, version, correlation_id, body)
        };
        self.respond(responder, answer);
    }

    /// An empty buffer for an answer.
    pub(super) fn answer_buffer(&mut self) -> Vec<u8> {
        self.connections.buffers.take()
    }

    /// The address that a client is told of this node: the advertised one of its listener, or where it connected to.
    pub(super) fn endpoint(&mut self, connection: ConnectionKey) -> Endpoint {
        let open = self.connections.by_key(connection).expect("it just sent a request");
        let Origin { listener, local, .. } = open.connection.origin();
        let advertised = self.listeners[usize::from(listener.0)].advertised.clone();
        advertised.unwrap_or_else(|| Endpoint { host: local.ip().to_canonical().to_string(), port: local.port() })
    }

    /// The name of the listener that a connection came in on.
    pub(super) fn listener_name(&mut self, connection: ConnectionKey) -> &str {
        let open = self.connections.by_key(connection).expect("it just sent a request");
        &self.listeners[usize::from(open.connection.origin().listener.0)].name
    }

    /// Notes what software a client says it is.
    pub(super) fn note_software(&mut self, connection: ConnectionKey, request: &api_versions::Request<'_>) {
        let (name, version) = (&request.client_software_name, &request.client_software_version);
        if name.len().max(version.len()) > SOFTWARE_BYTES_MAX {
            return;
        }
        if let Some(open) = self.connections.by_key(connection) {
            open.connection.set_client_software(name, version);
        }
    }

    /// Who sends on a connection.
    pub(super) fn client(&mut self, connection: ConnectionKey, client_id: Option<&str>) -> Client {
        let open = self.connections.by_key(connection).expect("it just sent a request");
        open.connection.set_client_id(client_id.unwrap_or_default());
        let peer = open.connection.origin().peer;
        let said = open.connection.client();
        Client {
            id: client_id.unwrap_or_default().to_owned(),
            host: peer.ip().to_canonical().to_string(),
            port: peer.port(),
            software_name: said.software_name.clone(),
            software_version: said.software_version.clone(),
        }
    }
}
