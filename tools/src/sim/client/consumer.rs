//! Consumers: they follow partitions, with and without fetch sessions (KIP-227), and check all they are given.

use std::collections::BTreeMap;

use broker::driver::simulated::Network;
use broker::error_code::ErrorCode;
use net::ApiKey;
use net::api::{fetch, list_offsets};
use storage::batch;
use storage::simulated::Random;

use super::link::{Arrival, Link, any_version, decode};
use super::producer::is_retriable;
use super::{Client, Env};
use crate::sim::model::{Place, TopicNumber};

/// Longest pause between two requests, in nanoseconds.
const PAUSE_NS_MAX: u64 = 5_000_000;
/// Requests for offsets instead of records, per million.
const LOOK_UPS_PER_MILLION: u32 = 150_000;
/// Returns to an earlier offset, per million fetches of a partition.
const REWINDS_PER_MILLION: u32 = 30_000;
/// The first version with sessions, and the first that names topics by id.
const SESSIONS_SINCE: i16 = 7;
const IDS_SINCE: i16 = 13;

/// What was asked, with what had been promised by then.
enum Asked {
    Fetch(Fetched),
    Latest(Vec<(Place, i64)>),
    Earliest(Vec<(Place, i64)>),
}

struct Fetched {
    /// For every partition of the request or session: the offset asked for and the end promised before.
    wanted: BTreeMap<Place, (i64, i64)>,
    has_session: bool,
}

/// A fetch session as the client sees it.
#[derive(Default)]
struct Session {
    id: i32,
    epoch: i32,
    /// What the broker was told.
    told: BTreeMap<Place, i64>,
}

pub(in crate::sim) struct Consumer {
    link: Link<Asked>,
    random: Random,
    positions: BTreeMap<Place, i64>,
    version: i16,
    session: Option<Session>,
    next_at_ns: u64,
    /// It begins nothing any more.
    is_done: bool,
}

impl Consumer {
    pub(in crate::sim) fn new(number: u32, cuts_per_million: u32, mut random: Random) -> Self {
        let version = any_version(ApiKey::Fetch, 4, 18, &mut random);
        let session = (version >= SESSIONS_SINCE && random.index(3) > 0).then(Session::default);
        Self {
            link: Link::new(format!("consumer-{number}"), cuts_per_million, random.fork()),
            random,
            positions: BTreeMap::new(),
            version,
            session,
            next_at_ns: 0,
            is_done: false,
        }
    }

    fn fetch(&mut self, env: &mut Env<'_>) {
        for place in env.model.places() {
            let position = self.positions.entry(place).or_insert(0);
            if self.random.chance(REWINDS_PER_MILLION) {
                *position = self.random.below(*position as u64 + 1) as i64;
            }
        }
        self.positions.retain(|place, _| env.model.exists(*place));
        if self.positions.is_empty() {
            return;
        }
        let wanted = self.positions.iter().map(|(place, &offset)| (*place, (offset, env.model.promised_end(*place))));
        let context = Fetched { wanted: wanted.collect(), has_session: self.session.is_some() };
        let (asked, forgotten) = self.changes();
        let (session_id, session_epoch) = match &self.session {
            Some(session) => (session.id, session.epoch),
            None => (0, -1),
        };
        let names = Names::of(env, asked.keys().chain(&forgotten).map(|place| place.topic));
        let mut topics: Vec<fetch::RequestTopics<'_>> = Vec::new();
        for (place, &offset) in &asked {
            let (name, id) = names.get(place.topic);
            if topics.last().is_none_or(|topic| topic.topic != name) {
                topics.push(fetch::RequestTopics { topic: name.into(), topic_id: id, partitions: Vec::new() });
            }
            let partition = fetch::RequestTopicsPartitions {
                partition: place.index,
                current_leader_epoch: -1,
                fetch_offset: offset,
                partition_max_bytes: 1 + self.random.index(1 << 18) as i32,
                ..Default::default()
            };
            topics.last_mut().expect("pushed above").partitions.push(partition);
        }
        let forgotten_topics_data = forgotten.iter().map(|place| {
            let (name, id) = names.get(place.topic);
            fetch::RequestForgottenTopicsData { topic: name.into(), topic_id: id, partitions: vec![place.index] }
        });
        let request = fetch::Request {
            max_wait_ms: self.random.index(30) as i32,
            min_bytes: self.random.index(3) as i32,
            max_bytes: 1 + self.random.index(1 << 20) as i32,
            session_id,
            session_epoch,
            topics,
            forgotten_topics_data: forgotten_topics_data.collect(),
            ..Default::default()
        };
        self.link.send(env, self.version, &request, Some(Asked::Fetch(context)));
    }

    /// The partitions to name in the next fetch, and those to drop from the session.
    fn changes(&mut self) -> (BTreeMap<Place, i64>, Vec<Place>) {
        let Some(session) = &mut self.session else { return (self.positions.clone(), Vec::new()) };
        if session.epoch == 0 {
            session.told = self.positions.clone();
            return (self.positions.clone(), Vec::new());
        }
        let changed = self.positions.iter().filter(|(place, offset)| session.told.get(place) != Some(offset));
        let changed: BTreeMap<Place, i64> = changed.map(|(place, offset)| (*place, *offset)).collect();
        let forgotten = session.told.keys().filter(|place| !self.positions.contains_key(place)).copied().collect();
        session.told = self.positions.clone();
        (changed, forgotten)
    }

    fn take_fetch(&mut self, env: &mut Env<'_>, version: i16, body: &[u8], context: &Fetched) {
        let response = decode::<fetch::Response<'_>>(body, version);
        self.link.throttled(env, response.throttle_time_ms);
        if response.error_code != 0 {
            let code = response.error_code;
            let session_error = [
                ErrorCode::FetchSessionIdNotFound,
                ErrorCode::InvalidFetchSessionEpoch,
                ErrorCode::FetchSessionTopicIdError,
            ];
            let is_of_session = context.has_session && session_error.iter().any(|error| error.code() == code);
            assert!(is_of_session || is_retriable(code), "a fetch: error {code}");
            env.totals.retriable_errors += 1;
            self.session = self.session.take().map(|_| Session::default());
            return;
        }
        if let Some(session) = &mut self.session {
            session.id = response.session_id;
            session.epoch = if session.id == 0 { 0 } else { session.epoch % i32::MAX + 1 };
        }
        for topic in &response.responses {
            let number =
                if version >= IDS_SINCE { env.model.find_id(topic.topic_id) } else { env.model.find(&topic.topic) };
            let number = number.expect("a topic that was asked for");
            for partition in &topic.partitions {
                let place = Place { topic: number, index: partition.partition_index };
                let Some(&(offset, promised)) = context.wanted.get(&place) else {
                    // The topic was deleted while the connection was down, so the session was not told.
                    assert!(context.has_session, "{} was not asked for", env.model.describe(place));
                    continue;
                };
                if env.model.exists(place) {
                    self.take_partition(env, place, offset, promised, partition);
                }
            }
        }
    }

    fn take_partition(
        &mut self,
        env: &mut Env<'_>,
        place: Place,
        offset: i64,
        promised: i64,
        partition: &fetch::ResponseResponsesPartitions<'_>,
    ) {
        let first = env.model.perhaps_deleted_before(place);
        if partition.error_code == ErrorCode::OffsetOutOfRange.code() && offset < first {
            self.positions.insert(place, first);
            return;
        }
        if partition.error_code != 0 {
            let name = env.model.describe(place);
            assert!(is_retriable(partition.error_code), "fetching {name} at {offset}: error {}", partition.error_code);
            env.totals.retriable_errors += 1;
            if let Some(session) = &mut self.session {
                session.told.remove(&place);
            }
            return;
        }
        let next = check_partition(env, place, offset, promised, partition);
        self.positions.insert(place, next);
    }

    fn look_up(&mut self, env: &mut Env<'_>) {
        let places = env.model.places();
        let Some(topic) = places.get(self.random.index(places.len().max(1))).map(|place| place.topic) else { return };
        let of_topic = places.iter().filter(|place| place.topic == topic);
        let is_latest = self.random.index(2) == 0;
        let known = |place| if is_latest { env.model.promised_end(place) } else { env.model.deleted_before(place) };
        let asked: Vec<(Place, i64)> = of_topic.map(|place| (*place, known(*place))).collect();
        let names = Names::of(env, std::iter::once(topic));
        let partitions = asked.iter().map(|(place, _)| list_offsets::RequestTopicsPartitions {
            partition_index: place.index,
            current_leader_epoch: -1,
            timestamp: if is_latest { -1 } else { -2 },
        });
        let topic = list_offsets::RequestTopics { name: names.get(topic).0.into(), partitions: partitions.collect() };
        let request = list_offsets::Request { replica_id: -1, topics: vec![topic], ..Default::default() };
        let version = any_version(ApiKey::ListOffsets, 1, 11, &mut self.random);
        let context = if is_latest { Asked::Latest(asked) } else { Asked::Earliest(asked) };
        self.link.send(env, version, &request, Some(context));
    }

    fn take_offsets(env: &mut Env<'_>, version: i16, body: &[u8], asked: &[(Place, i64)], is_latest: bool) {
        let response = decode::<list_offsets::Response<'_>>(body, version);
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        for partition in partitions {
            let found = asked.iter().find(|(place, _)| place.index == partition.partition_index);
            let &(place, known) = found.expect("a partition that was asked for");
            if !env.model.exists(place) {
                continue;
            }
            let name = env.model.describe(place);
            if partition.error_code != 0 {
                assert!(is_retriable(partition.error_code), "offsets of {name}: error {}", partition.error_code);
                env.totals.retriable_errors += 1;
            } else if is_latest {
                let end = partition.offset;
                assert!(end >= known, "the end of {name} is {end}, and {known} was committed before");
                env.model.promise(place, end);
            } else {
                env.model.check_first(place, known, partition.offset);
            }
        }
    }
}

impl Client for Consumer {
    fn poll(&mut self, env: &mut Env<'_>) {
        for arrival in self.link.receive(env) {
            match arrival {
                Arrival::Answer { version, body, context: Asked::Fetch(context) } => {
                    self.take_fetch(env, version, &body, &context);
                }
                Arrival::Answer { version, body, context: Asked::Latest(asked) } => {
                    Self::take_offsets(env, version, &body, &asked, true);
                }
                Arrival::Answer { version, body, context: Asked::Earliest(asked) } => {
                    Self::take_offsets(env, version, &body, &asked, false);
                }
                Arrival::Lost => {
                    // Some clients go on with the session they had, and may be told that it has gone on or is gone.
                    if self.random.index(2) == 0 {
                        self.session = self.session.take().map(|_| Session::default());
                    } else if let Some(session) = &mut self.session {
                        session.told.clear();
                    }
                }
            }
        }
        self.is_done = env.is_draining;
        if self.is_done || self.link.in_flight() > 0 || env.now_ns < self.next_at_ns || !self.link.is_up(env) {
            return;
        }
        self.next_at_ns = env.now_ns + 1 + self.random.below(PAUSE_NS_MAX);
        if self.random.chance(LOOK_UPS_PER_MILLION) {
            self.look_up(env);
        } else {
            self.fetch(env);
        }
    }

    fn next_at_ns(&self, network: &Network) -> Option<u64> {
        let own = (self.link.in_flight() == 0 && !self.is_done).then_some(self.next_at_ns);
        self.link.next_at_ns(network, own)
    }

    fn is_idle(&self) -> bool {
        self.link.in_flight() == 0
    }
}

/// Checks what was fetched of a partition from `offset` on; gives the offset to go on at.
pub(super) fn check_partition(
    env: &mut Env<'_>,
    place: Place,
    offset: i64,
    promised: i64,
    partition: &fetch::ResponseResponsesPartitions<'_>,
) -> i64 {
    let name = env.model.describe(place);
    let end = partition.high_watermark;
    assert!(end >= promised, "the high watermark of {name} is {end}, and {promised} was committed before");
    assert!(partition.last_stable_offset <= end);
    env.model.promise(place, end);
    let mut next = offset;
    for batch in batch::batches(partition.records.as_deref().unwrap_or_default()) {
        let batch = batch.unwrap_or_else(|error| panic!("what is read of {name} at {next}: {error}"));
        let base = batch.base_offset();
        let is_first = next == offset;
        assert!(
            base == next || (is_first && base < next && batch.last_offset() >= next),
            "{name}: {base} follows {next}"
        );
        assert!(batch.last_offset() < end, "{name}: offset {} is beyond the high watermark {end}", batch.last_offset());
        env.totals.read_records += env.model.read(place, &batch) as u64;
        next = batch.next_offset();
    }
    next
}

/// Names and ids of some topics.
struct Names {
    topics: BTreeMap<TopicNumber, (String, net::Uuid)>,
}

impl Names {
    fn of(env: &Env<'_>, topics: impl Iterator<Item = TopicNumber>) -> Self {
        let topic = |number| {
            let topic = env.model.topic(number);
            (number, (topic.name.clone(), topic.id))
        };
        Self { topics: topics.map(topic).collect() }
    }

    fn get(&self, topic: TopicNumber) -> (&str, net::Uuid) {
        let (name, id) = &self.topics[&topic];
        (name, *id)
    }
}
