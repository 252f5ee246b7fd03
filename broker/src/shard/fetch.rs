//! Fetch: read what there is, or park until there is enough.
//!
//! ```text
//! request ─► parts ─► read (own store; other shards by Ask) ─► enough? ──yes──► answer
//!                        ▲                                        │ no
//!                        └──── woken by a watermark, or due ◄── parked
//! ```
//!
//! A parked fetch costs nothing until a partition it names commits something, or its deadline comes ([`parking`]). How
//! the answer looks is told in [`answer`].

mod answer;
mod parking;

use std::sync::Arc;

use net::fetch::{RequestView, ResponseHead, ResponseWriter};
use net::{Reader, Topic};
use smallvec::SmallVec;
use storage::LogId;

use super::by_shard::ByShard;
use super::connections::{ConnectionKey, Responder};
use super::mail::{Answer, Ask, ReadAnswer, ReadItem};
use super::offsets::READ_COMMITTED;
use super::partitions::PartOf;
use super::pending::Key;
use super::session::{Answered, Asked, Decision, TopicKey, Wanted};
use super::{Request, Shard};
use crate::error_code::ErrorCode;
use crate::metadata::Image;
use crate::quota::Key as Quota;

/// A client's fetch under way.
#[derive(Debug)]
pub(crate) struct Fetch {
    responder: Responder,
    version: i16,
    session: Session,
    read_committed: bool,
    max_bytes: usize,
    min_bytes: usize,
    deadline_ns: u64,
    /// Whether the deadline's timer is armed.
    armed: bool,
    /// Whether the answer goes out after this round, whatever it holds.
    last_round: bool,
    stage: Stage,
    topics: Vec<TopicKey>,
    parts: Vec<Part>,
}

/// The session an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Session {
    /// 0: none.
    id: i32,
    /// Whether only what changed is told.
    increment: bool,
}

#[derive(Debug)]
enum Stage {
    /// Parts that have not been read yet.
    Reading { waiting: u32 },
    /// Nothing under way; watching the own partitions and these shards' ones.
    Parked { watches: SmallVec<[(usize, Key); 2]> },
}

#[derive(Debug)]
struct Part {
    topic: u32,
    wanted: Wanted,
    place: Result<Place, ErrorCode>,
    answer: ReadAnswer,
    /// Whether the answer mentions it: an increment leaves out what has not changed.
    told: bool,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    shard: usize,
    log: LogId,
}

/// Reads under way for another shard's fetch.
#[derive(Debug)]
pub(crate) struct PeerRead {
    shard: usize,
    request: Key,
    waiting: u32,
    answers: Vec<ReadAnswer>,
}

/// Another shard's parked fetch that watches partitions of this one; or, on the watching shard, the watch that it holds
/// at a peer on behalf of its fetch.
#[derive(Debug)]
pub(crate) struct PeerWatch {
    pub(crate) fetch: Key,
}

impl Shard {
    /// Handles a Fetch request. A decoding error closes the connection.
    pub(super) fn fetch(&mut self, responder: Responder, version: i16, body: &[u8]) -> Result<(), net::DecodeError> {
        let request = RequestView::decode(&mut Reader::new(body), version)?;
        let asked = Asked {
            id: request.session_id,
            epoch: request.session_epoch,
            by_ids: version >= 13,
            connection: responder.connection.as_u64(),
            now_ns: self.now.monotonic_ns,
        };
        let fresh_id = self.random_positive();
        let decision = self.sessions.begin(asked, fresh_id);
        let session = match decision {
            Decision::Sessionless => Session { id: 0, increment: false },
            Decision::Opened(id) => Session { id, increment: false },
            Decision::Increment(id) => Session { id, increment: true },
            Decision::NotFound => return self.refuse_fetch(responder, version, ErrorCode::FetchSessionIdNotFound),
            Decision::WrongEpoch => return self.refuse_fetch(responder, version, ErrorCode::InvalidFetchSessionEpoch),
            Decision::TopicIdMix => return self.refuse_fetch(responder, version, ErrorCode::FetchSessionTopicIdError),
        };
        let wait_ns = u64::try_from(request.max_wait_ms).unwrap_or(0) * 1_000_000;
        let mut fetch = self.spare_fetch.pop().unwrap_or_else(|| Fetch::empty(responder));
        fetch.responder = responder;
        fetch.version = version;
        fetch.session = session;
        fetch.read_committed = request.isolation_level == READ_COMMITTED;
        fetch.max_bytes =
            usize::try_from(request.max_bytes).unwrap_or(0).min(self.config.network.fetch_bytes_max as usize);
        if self.throttling.meter.limits(Quota::Consumer) {
            fetch.max_bytes = fetch.max_bytes.min(self.fetch_burst(responder));
        }
        fetch.min_bytes = usize::try_from(request.min_bytes).unwrap_or(0).min(fetch.max_bytes);
        fetch.deadline_ns = self.now.monotonic_ns.saturating_add(wait_ns);
        fetch.last_round = wait_ns == 0;
        self.collect_parts(&request, &mut fetch);
        let key = self.requests.insert(Request::Fetch(fetch));
        self.read_round(key);
        Ok(())
    }

    fn refuse_fetch(&mut self, responder: Responder, version: i16, error: ErrorCode) -> Result<(), net::DecodeError> {
        self.metrics.told(responder.key, error);
        let head = ResponseHead { error_code: error.code(), ..ResponseHead::default() };
        let buffer = self.answer_buffer();
        self.respond(responder, ResponseWriter::new(buffer, version, responder.correlation_id, head).finish(&[]));
        Ok(())
    }

    /// Fills in what is to be read: the request's partitions, or the session's after the request changed them.
    fn collect_parts(&mut self, request: &RequestView<'_>, fetch: &mut Fetch) {
        let id = fetch.session.id;
        for topic in request.topics.iter() {
            let key = self.topic_key(topic.topic);
            let number = fetch.topics.len() as u32;
            for partition in topic.partitions.iter() {
                let wanted = Wanted {
                    partition: partition.partition,
                    // Every negative epoch is none, as in Kafka.
                    current_leader_epoch: partition.current_leader_epoch.max(-1),
                    fetch_offset: partition.fetch_offset,
                    last_fetched_epoch: partition.last_fetched_epoch,
                    max_bytes: partition.partition_max_bytes,
                };
                if id != 0 {
                    self.sessions.want(id, key.clone(), wanted);
                }
                if !fetch.session.increment {
                    fetch.parts.push(Part::new(number, wanted));
                }
            }
            fetch.topics.push(key);
        }
        for topic in request.forgotten.iter() {
            let key = self.topic_key(topic.topic);
            for partition in topic.partitions.iter() {
                self.sessions.forget(id, key.clone(), partition);
            }
        }
        if fetch.session.increment {
            fetch.topics.clear();
            for partition in self.sessions.partitions(id) {
                if fetch.topics.last() != Some(&partition.topic) {
                    fetch.topics.push(partition.topic.clone());
                }
                fetch.parts.push(Part::new(fetch.topics.len() as u32 - 1, partition.wanted));
            }
        }
        for part in &mut fetch.parts {
            part.place = place(&self.image, &fetch.topics[part.topic as usize], part.wanted.partition);
        }
    }

    /// A key that shares the image's name where the topic is known.
    fn topic_key(&self, topic: Topic<'_>) -> TopicKey {
        match topic {
            Topic::Name(name) => TopicKey::Name(match self.image.topic(name) {
                Some(known) => Arc::clone(&known.name),
                None => name.into(),
            }),
            Topic::Id(id) => TopicKey::Id(id),
        }
    }

    /// What a connection's reads are known by, on this shard and others. Two that are taken for one only read ahead in vain.
    fn reader_of(&self, connection: ConnectionKey) -> u64 {
        (connection.as_u64() ^ (self.id as u64) << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Reads every part again, from this shard's store and through the other owners.
    fn read_round(&mut self, key: Key) {
        let Some(Request::Fetch(mut fetch)) = self.requests.take(key) else { return };
        let reader = self.reader_of(fetch.responder.connection);
        let mut remote = ByShard::default();
        let mut left = fetch.max_bytes;
        let mut found = false;
        let mut waiting = 0;
        for (index, part) in fetch.parts.iter_mut().enumerate() {
            let index = index as u32;
            let Place { shard, log } = match part.place {
                Ok(place) => place,
                Err(error) => {
                    part.answer = ReadAnswer::refused(index, error);
                    continue;
                }
            };
            let read_committed = fetch.read_committed;
            let item = ReadItem { reader: reader ^ log.0, read_committed, ..part.item(index, log, left, !found) };
            if shard == self.id {
                match self.read(PartOf { request: key, index }, item) {
                    Some(answer) => {
                        let bytes = answer.bytes();
                        found |= bytes > 0;
                        left = left.saturating_sub(bytes);
                        part.answer = answer;
                    }
                    None => {
                        // What the disk will give counts as if it were the whole wish.
                        found = true;
                        left = left.saturating_sub(item.max_bytes);
                        waiting += 1;
                    }
                }
            } else {
                waiting += 1;
                remote.push(shard, item);
            }
        }
        fetch.stage = Stage::Reading { waiting };
        self.requests.put_back(key, Request::Fetch(fetch));
        for (shard, items) in remote {
            self.ask(shard, key, Ask::Read(items));
        }
        if waiting == 0 {
            self.fetch_read(key);
        }
    }

    /// A part of a fetch, or of another shard's reads, has come from the disk.
    pub(super) fn read_answered(&mut self, part_of: PartOf, answer: ReadAnswer) {
        match self.requests.get_mut(part_of.request) {
            Some(Request::Fetch(_)) => self.fetch_part_read(part_of.request, answer),
            Some(&mut Request::Loading(partition)) => {
                self.requests.remove(part_of.request);
                self.group_records_read(partition, answer);
            }
            Some(Request::LagWork(_)) => self.lag_record_read(part_of, &answer),
            Some(Request::PeerRead(peer)) => {
                peer.answers.push(answer);
                peer.waiting -= 1;
                if peer.waiting == 0 {
                    self.finish_peer_read(part_of.request);
                }
            }
            _ => {}
        }
    }

    fn fetch_part_read(&mut self, key: Key, answer: ReadAnswer) {
        let Some(Request::Fetch(fetch)) = self.requests.get_mut(key) else { return };
        let Stage::Reading { waiting } = &mut fetch.stage else { return };
        let part = answer.part as usize;
        fetch.parts[part].answer = answer;
        *waiting -= 1;
        if *waiting == 0 {
            self.fetch_read(key);
        }
    }

    /// Another shard has read its partitions.
    pub(super) fn peer_read(&mut self, key: Key, answers: Vec<ReadAnswer>) {
        for answer in answers {
            self.fetch_part_read(key, answer);
        }
    }

    /// Reads for another shard's fetch.
    pub(super) fn read_for_peer(&mut self, shard: usize, request: Key, items: Vec<ReadItem>) {
        let peer = PeerRead { shard, request, waiting: 0, answers: Vec::with_capacity(items.len()) };
        let key = self.requests.insert(Request::PeerRead(Box::new(peer)));
        let (mut waiting, mut answers) = (0, Vec::with_capacity(items.len()));
        for (index, item) in items.into_iter().enumerate() {
            match self.read(PartOf { request: key, index: index as u32 }, item) {
                Some(answer) => answers.push(answer),
                None => waiting += 1,
            }
        }
        if let Some(Request::PeerRead(peer)) = self.requests.get_mut(key) {
            peer.waiting = waiting;
            peer.answers.append(&mut answers);
        }
        if waiting == 0 {
            self.finish_peer_read(key);
        }
    }

    fn finish_peer_read(&mut self, key: Key) {
        if let Some(Request::PeerRead(peer)) = self.requests.remove(key) {
            self.answer_peer(peer.shard, peer.request, Answer::Read(peer.answers));
        }
    }

    /// Every part was read: answer, or park.
    fn fetch_read(&mut self, key: Key) {
        let Some(Request::Fetch(fetch)) = self.requests.get_mut(key) else { return };
        let is_over = fetch.last_round || fetch.is_enough() || self.now.monotonic_ns >= fetch.deadline_ns;
        if is_over || !self.connections.is_open(fetch.responder.connection) {
            self.finish_fetch(key);
        } else {
            self.park(key);
        }
    }

    fn finish_fetch(&mut self, key: Key) {
        let Some(Request::Fetch(mut fetch)) = self.requests.remove(key) else { return };
        fetch.cut_to_budget();
        let mut throttle_ms = 0;
        if self.throttling.meter.is_active() {
            let bytes = fetch.parts.iter().map(|part| part.answer.bytes()).sum();
            match self.throttle_fetch(fetch.responder, bytes) {
                Ok(wait_ms) => throttle_ms = wait_ms,
                Err(wait_ms) => return self.hold_fetch_back(fetch, wait_ms),
            }
        }
        let Session { id, increment } = fetch.session;
        if id != 0 {
            for part in &mut fetch.parts {
                let answered = Answered {
                    high_watermark: part.answer.high_watermark,
                    log_start_offset: part.answer.log_start_offset,
                    has_records: !part.answer.records.is_empty(),
                    failed: part.answer.error != ErrorCode::None || part.answer.diverging.is_some(),
                };
                let topic = &fetch.topics[part.topic as usize];
                let news = self.sessions.answered(id, topic, part.wanted.partition, answered);
                part.told = news || !increment;
            }
        }
        self.count_fetched(&fetch);
        let Fetch { responder, version, .. } = *fetch;
        let buffer = self.answer_buffer();
        self.respond(responder, fetch.encode(buffer, version, responder.correlation_id, throttle_ms));
        self.spare(fetch);
    }

    /// Answers a fetch that is over its quota with nothing but the time to wait. To a session it is as if nothing were new;
    /// one that was just opened is taken back, and the consumer opens another.
    fn hold_fetch_back(&mut self, fetch: Box<Fetch>, throttle_time_ms: i32) {
        let session_id = if fetch.session.increment { fetch.session.id } else { 0 };
        let head = ResponseHead { throttle_time_ms, session_id, ..ResponseHead::default() };
        let Fetch { responder, version, .. } = *fetch;
        let buffer = self.answer_buffer();
        self.respond(responder, ResponseWriter::new(buffer, version, responder.correlation_id, head).finish(&[]));
        self.spare(fetch);
    }

    fn spare(&mut self, mut fetch: Box<Fetch>) {
        if self.spare_fetch.len() < super::produce::SPARE_MAX {
            fetch.clear();
            self.spare_fetch.push(fetch);
        }
    }
}

impl Fetch {
    fn empty(responder: Responder) -> Box<Self> {
        Box::new(Self {
            responder,
            version: 0,
            session: Session { id: 0, increment: false },
            read_committed: false,
            max_bytes: 0,
            min_bytes: 0,
            deadline_ns: 0,
            armed: false,
            last_round: false,
            stage: Stage::Reading { waiting: 0 },
            topics: Vec::new(),
            parts: Vec::new(),
        })
    }

    fn clear(&mut self) {
        self.armed = false;
        self.stage = Stage::Reading { waiting: 0 };
        self.topics.clear();
        self.parts.clear();
    }
}

impl Part {
    fn new(topic: u32, wanted: Wanted) -> Self {
        let unread = ReadAnswer::refused(0, ErrorCode::None);
        Self { topic, wanted, place: Err(ErrorCode::UnknownTopicOrPartition), answer: unread, told: true }
    }

    fn item(&self, part: u32, log: LogId, left: usize, at_least_one: bool) -> ReadItem {
        ReadItem {
            part,
            log,
            offset: self.wanted.fetch_offset,
            max_bytes: usize::try_from(self.wanted.max_bytes).unwrap_or(0).min(left),
            at_least_one,
            current_leader_epoch: self.wanted.current_leader_epoch,
            last_fetched_epoch: self.wanted.last_fetched_epoch,
            read_committed: false,
            reader: 0,
        }
    }
}

fn place(image: &Image, topic: &TopicKey, partition: i32) -> Result<Place, ErrorCode> {
    let topic = match topic {
        TopicKey::Name(name) => image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)?,
        TopicKey::Id(id) => image.topic_by_id(*id).ok_or(ErrorCode::UnknownTopicId)?,
    };
    let found = topic.partition(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    Ok(Place { shard: found.shard.into(), log: LogId(found.log_id) })
}
