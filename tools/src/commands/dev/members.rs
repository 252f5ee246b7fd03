//! Members of groups, many in one thread: each has a connection, at most one request under way, and is looked at in turn.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use net::api::{heartbeat, join_group, sync_group};
use net::frame::{LENGTH_BYTES, put_request};
use net::{Message, Request};

use crate::commands::failure::{Failure, Outcome};
use crate::commands::output::grouped;

/// Of these versions a member needs no second join for its id.
const JOIN: i16 = 3;
const SYNC: i16 = 3;
const HEARTBEAT: i16 = 3;

const SESSION_MS: i32 = 45_000;
const REBALANCE_MS: i32 = 60_000;
/// How often each member says that it lives, as Kafka's clients do by default.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// How long nobody has anything to say before all are looked at again.
const PAUSE: Duration = Duration::from_micros(100);

const REBALANCE_IN_PROGRESS: i16 = 27;

/// A connection that never blocks.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    inbox: Vec<u8>,
    correlation_id: i32,
    flexible_header: bool,
}

impl Line {
    pub(super) fn connect(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, inbox: Vec::new(), correlation_id: 0, flexible_header: false })
    }

    pub(super) fn send<'q, R: Request<'q>>(&mut self, version: i16, request: &R) -> Outcome {
        self.correlation_id += 1;
        self.flexible_header = R::KEY.is_flexible(version);
        let mut frame = Vec::new();
        put_request(&mut frame, version, self.correlation_id, Some("trial"), request);
        let mut rest = &frame[..];
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The answer, if it is there: its body.
    fn receive(&mut self) -> Outcome<Option<Vec<u8>>> {
        let mut bytes = [0; 16 << 10];
        loop {
            if let Some((length, rest)) = self.inbox.split_first_chunk::<LENGTH_BYTES>()
                && let Some(frame) = rest.get(..u32::from_be_bytes(*length) as usize)
            {
                // The correlation id, and in flexible versions the tagged fields, of which there are none.
                let body = frame[if self.flexible_header { 5 } else { 4 }..].to_vec();
                self.inbox.drain(..LENGTH_BYTES + frame.len());
                return Ok(Some(body));
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(Failure::failed("the node closed a connection")),
                Ok(read) => self.inbox.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(super) fn wait(&mut self, patience: Duration) -> Outcome<Vec<u8>> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            match self.receive()? {
                Some(body) => return Ok(body),
                None => std::thread::sleep(PAUSE),
            }
        }
        Err(Failure::failed("the node does not answer"))
    }

    pub(super) fn call<'q, R: Request<'q>>(
        &mut self,
        version: i16,
        request: &R,
        patience: Duration,
    ) -> Outcome<Vec<u8>> {
        self.send(version, request)?;
        self.wait(patience)
    }

    pub(super) fn read<'a, M: Message<'a>>(body: &'a [u8], version: i16) -> Outcome<M> {
        M::from_bytes(body, version).map_err(|error| Failure::failed(format!("the answer to {}: {error}", M::KEY)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Out,
    Joining,
    Syncing,
    /// Whether a heartbeat is under way.
    Stable {
        beating: bool,
    },
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) line: Line,
    pub(super) group: String,
    pub(super) id: String,
    pub(super) generation: i32,
    state: State,
    /// Everybody, if it leads.
    members: Vec<String>,
}

impl Member {
    pub(super) fn connect(port: u16, group: &str) -> Outcome<Self> {
        let (line, group) = (Line::connect(port)?, group.to_owned());
        Ok(Self { line, group, id: String::new(), generation: -1, state: State::Out, members: Vec::new() })
    }

    /// Its connection is gone; it is still a member.
    pub(super) fn disconnect(&mut self) {
        // The node may have gone before.
        let _ = self.line.stream.shutdown(std::net::Shutdown::Both);
    }

    pub(super) fn reconnect(&mut self, port: u16) -> Outcome {
        self.line = Line::connect(port)?;
        Ok(())
    }

    fn join(&mut self) -> Outcome {
        self.state = State::Joining;
        let metadata = b"\0\0\0\0\0\x01\0\x07topic-0\xff\xff\xff\xff";
        let request = join_group::Request {
            group_id: self.group.as_str().into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: self.id.as_str().into(),
            protocol_type: "consumer".into(),
            protocols: vec![join_group::RequestProtocols { name: "range".into(), metadata: metadata[..].into() }],
            ..Default::default()
        };
        self.line.send(JOIN, &request)
    }

    fn sync(&mut self) -> Outcome {
        self.state = State::Syncing;
        let assignments = self.members.iter().map(|member| sync_group::RequestAssignments {
            member_id: member.as_str().into(),
            assignment: vec![0; 100].into(),
        });
        let request = sync_group::Request {
            group_id: self.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            assignments: assignments.collect(),
            ..Default::default()
        };
        self.line.send(SYNC, &request)
    }

    fn beat(&mut self) -> Outcome {
        self.state = State::Stable { beating: true };
        let request = heartbeat::Request {
            group_id: self.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            ..Default::default()
        };
        self.line.send(HEARTBEAT, &request)
    }

    /// Takes an answer, if there is one, and goes on; says whether there was.
    fn step(&mut self) -> Outcome<bool> {
        let Some(body) = self.line.receive()? else { return Ok(false) };
        match self.state {
            State::Out => return Err(Failure::failed("an answer that nobody asked for")),
            State::Joining => {
                let response: join_group::Response<'_> = Line::read(&body, JOIN)?;
                self.expect_success("join", response.error_code, &[REBALANCE_IN_PROGRESS])?;
                if response.error_code != 0 {
                    return self.join().map(|()| true);
                }
                self.id = response.member_id.into_owned();
                self.generation = response.generation_id;
                self.members = response.members.into_iter().map(|member| member.member_id.into_owned()).collect();
                self.sync()?;
            }
            State::Syncing => {
                let response: sync_group::Response<'_> = Line::read(&body, SYNC)?;
                self.expect_success("sync", response.error_code, &[REBALANCE_IN_PROGRESS])?;
                match response.error_code {
                    0 => self.state = State::Stable { beating: false },
                    _ => self.join()?,
                }
            }
            State::Stable { .. } => {
                let response: heartbeat::Response = Line::read(&body, HEARTBEAT)?;
                self.expect_success("heartbeat", response.error_code, &[REBALANCE_IN_PROGRESS])?;
                match response.error_code {
                    0 => self.state = State::Stable { beating: false },
                    _ => self.join()?,
                }
            }
        }
        Ok(true)
    }

    fn expect_success(&self, what: &str, code: i16, passing: &[i16]) -> Outcome {
        match code == 0 || passing.contains(&code) {
            true => Ok(()),
            false => Err(Failure::failed(format!("{what} of {} in {}: error {code}", self.id, self.group))),
        }
    }
}

/// Lets all members join until each group is stable, with all of its members in one generation. How long that took.
pub(super) fn drive(members: &mut [Member], patience: Duration) -> Outcome<Duration> {
    let before = Instant::now();
    for member in members.iter_mut().filter(|member| member.state == State::Out) {
        member.join()?;
    }
    while before.elapsed() < patience {
        let mut moved = false;
        for member in members.iter_mut() {
            moved |= member.step()?;
        }
        if moved {
            continue;
        }
        let mut newest: BTreeMap<&str, i32> = BTreeMap::new();
        for member in members.iter() {
            let generation = newest.entry(&member.group).or_insert(member.generation);
            *generation = member.generation.max(*generation);
        }
        let is_in = |member: &Member| {
            member.state == State::Stable { beating: false } && newest.get(&*member.group) == Some(&member.generation)
        };
        if members.iter().all(is_in) {
            return Ok(before.elapsed());
        }
        // Who is in looks whether the others have begun anew.
        for member in members.iter_mut().filter(|member| member.state == State::Stable { beating: false }) {
            member.beat()?;
        }
        std::thread::sleep(PAUSE);
    }
    Err(Failure::failed("the groups do not become stable"))
}

/// What came of many heartbeats.
#[derive(Debug)]
pub(super) struct Heartbeats {
    count: u64,
    median: Duration,
    p99: Duration,
    longest: Duration,
}

impl fmt::Display for Heartbeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, median, p99, longest } = self;
        let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
        let count = grouped(*count);
        write!(
            f,
            "{count} heartbeats, none refused; answered after {:.2} ms (median), {:.2} (p99), {:.1} (longest)",
            ms(median),
            ms(p99),
            ms(longest)
        )
    }
}

/// Every member says that it lives, evenly spread over the interval, for so long. None may be refused.
pub(super) fn heartbeats(members: &mut [Member], length: Duration, patience: Duration) -> Outcome<Heartbeats> {
    let before = Instant::now();
    let interval_ns = HEARTBEAT_INTERVAL.as_nanos() as u64 / members.len().max(1) as u64;
    let mut under_way: VecDeque<(usize, Instant)> = VecDeque::new();
    let mut times = Vec::new();
    let mut sent = 0_u64;
    loop {
        let is_over = before.elapsed() >= length;
        let due = before.elapsed().as_nanos() as u64 / interval_ns.max(1);
        while !is_over && sent < due {
            let at = (sent % members.len() as u64) as usize;
            if members[at].state != (State::Stable { beating: false }) {
                return Err(Failure::failed("a heartbeat is not answered before the next is due"));
            }
            members[at].beat()?;
            under_way.push_back((at, Instant::now()));
            sent += 1;
        }
        let mut moved = false;
        for _ in 0..under_way.len() {
            let Some((at, since)) = under_way.pop_front() else { break };
            if !members[at].step()? {
                under_way.push_back((at, since));
                continue;
            }
            moved = true;
            times.push(since.elapsed());
            if members[at].state != (State::Stable { beating: false }) {
                return Err(Failure::failed(format!(
                    "{} is rebalanced although all its members live",
                    members[at].group
                )));
            }
        }
        if is_over && under_way.is_empty() {
            break;
        }
        if before.elapsed() > length + patience {
            return Err(Failure::failed("heartbeats are not answered"));
        }
        if !moved {
            std::thread::sleep(PAUSE);
        }
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 1000).copied().unwrap_or_default();
    Ok(Heartbeats { count: sent, median: at(500), p99: at(990), longest: times.last().copied().unwrap_or_default() })
}
