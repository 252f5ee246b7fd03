//! A producer of one topic: batches by partition, requests in flight, retries that the broker recognises.
//!
//! It never blocks on an answer: [`Producer::drive`] sends what can be sent, [`Producer::handle`] takes an answer that
//! came over [`Producer::events`]. Batches of one partition are acknowledged in their order (KIP-98): up to five are in
//! flight with idempotence, one without.
//!
//! When a batch fails for good, the broker would refuse all later ones of its partition, since their sequences leave a
//! gap. The producer then waits until the fate of everything that was sent is known, and goes on under a new producer id.

mod lane;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};
use net::ApiKey;
use net::api::{init_producer_id, produce};
use storage::builder::{NewHeader, NewRecord};

use self::lane::{Batch, Identity, Lane, New, Sending};
use super::cluster::{Cluster, Node};
use super::code::Code;
use super::connection::Answer;
use super::error::{Error, Result};
use super::link::{Event, Link, LinkId};
use super::partitioner::{Sticky, partition_of_key};
use super::records::{self, Codec};
use super::settings::{Acks, ProducerSettings};

/// The longest time between two looks at deadlines.
const TICK: Duration = Duration::from_millis(100);

/// The pause before a broker that could not be reached is tried again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);

/// What the protocol adds to a record's key, value and headers at most.
const RECORD_OVERHEAD_BYTES: usize = 100;

const SEND_AGAIN: &str = "send these lines again when the broker is back; `skein cluster` shows whether it is";

/// A record to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The partition; `None` to let key or balance decide.
    pub partition: Option<i32>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [NewHeader<'a>],
    /// Its time of creation, in ms since 1970.
    pub timestamp: i64,
    /// The caller's name of it, which comes back with its delivery.
    pub tag: u64,
}

/// What became of some records of one partition.
#[derive(Debug)]
pub struct Delivery {
    /// The partition.
    pub partition: i32,
    /// The records' tags.
    pub tags: Vec<u64>,
    /// Why they are not acknowledged, if they are not.
    pub failure: Option<Failure>,
}

/// Why records are not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, as a sentence.
    pub reason: String,
    /// What a person can do about it.
    pub remedy: Option<String>,
    /// Whether they may be stored nevertheless.
    pub may_be_stored: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Producer {
    cluster: Cluster,
    topic: String,
    settings: ProducerSettings,
    /// `None`: retries may duplicate.
    identity: Option<Identity>,
    /// A new identity is wanted, see the module.
    renewing: bool,
    renew_at: Instant,
    sticky: Sticky,
    lanes: Vec<Lane>,
    links: BTreeMap<i32, Flight>,
    reconnect_at: BTreeMap<i32, Instant>,
    next_link: LinkId,
    /// At most one event for each request in flight and each link.
    events: (Sender<Event>, Receiver<Event>),
    deliveries: Vec<Delivery>,
    waiting_bytes: usize,
    refresh_at: Option<Instant>,
    /// The last failure that was met by trying again.
    trouble: Option<String>,
    /// The one before, which the caller has heard of.
    told: Option<String>,
}

/// A link to a broker and what is on its way to it.
#[derive(Debug)]
struct Flight {
    link: Link,
    requests: VecDeque<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    sent_at: Instant,
    batches: Vec<(usize, Batch)>,
}

impl Producer {
    /// A producer to a topic that exists. `seed` chooses where records without a key begin.
    ///
    /// # Errors
    /// If the settings contradict each other, or no producer id can be had.
    pub fn new(mut cluster: Cluster, topic: &str, seed: u64) -> Result<Self> {
        let settings = cluster.settings().producer.clone();
        let identity = match settings.is_idempotent()? {
            false => None,
            true => match cluster.retry(new_identity) {
                // Brokers before 0.11 and some others know no producer ids. Who insists on them gets the error.
                Err(Error::NoCommonVersion { .. }) if settings.idempotent.is_none() => None,
                outcome => Some(outcome?),
            },
        };
        let now = Instant::now();
        let mut producer = Self {
            cluster,
            topic: topic.to_owned(),
            settings,
            identity,
            renewing: false,
            renew_at: now,
            sticky: Sticky::new(seed),
            lanes: Vec::new(),
            links: BTreeMap::new(),
            reconnect_at: BTreeMap::new(),
            next_link: 0,
            events: unbounded(),
            deliveries: Vec::new(),
            waiting_bytes: 0,
            refresh_at: None,
            trouble: None,
            told: None,
        };
        producer.grow_lanes();
        Ok(producer)
    }

    /// Whether the broker recognises retries.
    pub fn is_idempotent(&self) -> bool {
        self.identity.is_some()
    }

    /// Whether one more record may be given.
    pub fn has_room(&self) -> bool {
        self.waiting_bytes < self.settings.buffer_bytes_max
    }

    /// Whether everything that was given is settled.
    pub fn is_idle(&self) -> bool {
        self.lanes.iter().all(Lane::is_empty)
    }

    /// Where answers arrive; hand them to [`Self::handle`].
    pub fn events(&self) -> &Receiver<Event> {
        &self.events.1
    }

    /// What became of records since it was last asked.
    pub fn take_deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }

    /// The last trouble that is being met by trying again, since it was last asked.
    pub fn take_trouble(&mut self) -> Option<String> {
        let trouble = self.trouble.take();
        self.told = trouble.clone().or(self.told.take());
        trouble
    }

    /// Takes a record over.
    ///
    /// # Errors
    /// If it is too large, or its partition does not exist; the others are not affected.
    pub fn send(&mut self, record: &Record<'_>, now: Instant) -> Result<()> {
        let bytes = record_bytes(record);
        if bytes > self.settings.request_bytes_max {
            return Err(Error::Setting {
                message: format!(
                    "the record has {bytes} bytes, max.request.size allows {}",
                    self.settings.request_bytes_max
                ),
            });
        }
        let lane = self.choose_lane(record)?;
        let &Record { key, value, headers, timestamp, tag, .. } = record;
        let new = New { record: NewRecord { timestamp, key, value, headers }, tag, charge: bytes };
        let closed = self.lanes[lane]
            .append(&new, self.settings.codec, self.settings.batch_bytes, now)
            .map_err(|error| Error::Setting { message: error.to_string() })?;
        self.waiting_bytes += bytes;
        if closed && record.key.is_none() {
            self.sticky.batch_done(lane);
        }
        Ok(())
    }

    fn choose_lane(&self, record: &Record<'_>) -> Result<usize> {
        let partitions = self.lanes.len();
        match (record.partition, record.key) {
            (Some(partition), _) => usize::try_from(partition)
                .ok()
                .filter(|&p| p < partitions)
                .ok_or_else(|| Error::NoPartition { topic: self.topic.clone(), partition, partitions }),
            (None, Some(key)) => Ok(partition_of_key(key, partitions)),
            (None, None) => Ok(self.sticky.partition(partitions, |p| self.leader(p).is_some())),
        }
    }

    fn leader(&self, lane: usize) -> Option<i32> {
        self.cluster.leader(&self.topic, lane as i32).map(|(leader, _)| leader)
    }

    fn grow_lanes(&mut self) {
        let partitions = self.cluster.topic(&self.topic).map_or(0, |topic| topic.partitions.len());
        // A topic made anew with fewer partitions leaves lanes that expire.
        if self.lanes.len() < partitions {
            self.lanes.resize_with(partitions, Lane::default);
        }
    }

    /// When [`Self::drive`] has something to do again without an event.
    pub fn next_wakeup(&self, now: Instant) -> Instant {
        let lingering = self.lanes.iter().filter_map(|lane| lane.due(self.settings.linger));
        let retrying = self.lanes.iter().filter_map(Lane::retry_at);
        lingering.chain(retrying).chain([now + TICK]).min().unwrap_or(now + TICK)
    }

    /// Does what time asks for and sends what can be sent. With `flush` no batch waits to become full.
    pub fn drive(&mut self, now: Instant, flush: bool) {
        self.close_due(now, flush);
        self.time_out(now);
        self.renew_identity(now);
        self.refresh(now);
        let sending = Sending {
            now,
            identity: self.identity,
            in_flight_max: if self.identity.is_some() { self.settings.in_flight_max } else { 1 },
            only_uncertain: self.renewing,
        };
        while let Some(broker) = self.broker_to_serve(&sending) {
            self.send_request(broker, &sending);
        }
    }

    fn close_due(&mut self, now: Instant, flush: bool) {
        for lane in 0..self.lanes.len() {
            let due = self.lanes[lane].due(self.settings.linger).is_some_and(|due| flush || due <= now);
            if due && self.lanes[lane].close() {
                self.sticky.batch_done(lane);
            }
        }
    }

    /// Gives up on links that do not answer, and on batches that are too old.
    fn time_out(&mut self, now: Instant) {
        let timeout = self.cluster.settings().request_timeout;
        let silent = |flight: &Flight| flight.requests.front().is_some_and(|first| first.sent_at + timeout <= now);
        let silent: Vec<i32> = self.links.iter().filter(|(_, f)| silent(f)).map(|(&broker, _)| broker).collect();
        for broker in silent {
            self.drop_link(broker, now, format!("broker {broker} did not answer within {} s", timeout.as_secs()));
        }
        let Some(created_before) = now.checked_sub(self.settings.delivery_timeout) else { return };
        for lane in 0..self.lanes.len() {
            for batch in self.lanes[lane].expire(created_before) {
                let seconds = self.settings.delivery_timeout.as_secs();
                let last = self.trouble.as_deref().or(self.told.as_deref());
                let trouble = last.map(|last| format!("; last: {last}")).unwrap_or_default();
                let reason = format!("no acknowledgement within delivery.timeout.ms ({seconds} s){trouble}");
                self.fail(lane, batch, reason, Some(SEND_AGAIN));
            }
        }
    }

    fn renew_identity(&mut self, now: Instant) {
        if !self.renewing || now < self.renew_at || self.lanes.iter().any(Lane::is_uncertain) {
            return;
        }
        match new_identity(&mut self.cluster) {
            Ok(identity) => {
                self.lanes.iter_mut().for_each(Lane::renumber);
                self.identity = Some(identity);
                self.renewing = false;
            }
            Err(error) => {
                self.trouble = Some(error.to_string());
                self.renew_at = now + RECONNECT_PAUSE;
            }
        }
    }

    fn refresh(&mut self, now: Instant) {
        if self.refresh_at.is_none() && self.cluster.is_stale() {
            self.refresh_at = Some(now);
        }
        if self.refresh_at.is_none_or(|at| now < at) {
            return;
        }
        self.refresh_at = match self.cluster.refresh_topics(std::slice::from_ref(&self.topic)) {
            Ok(())
                if self.cluster.topic(&self.topic).is_some_and(|t| t.partitions.iter().all(|p| p.leader.is_some())) =>
            {
                None
            }
            Ok(()) => {
                self.trouble = Some(format!("topic {:?} or the leader of a partition is missing", self.topic));
                Some(now + RECONNECT_PAUSE)
            }
            Err(error) => {
                self.trouble = Some(error.to_string());
                Some(now + RECONNECT_PAUSE)
            }
        };
        self.grow_lanes();
    }

    /// A broker that leads a lane with something to send, and can take it.
    fn broker_to_serve(&mut self, sending: &Sending) -> Option<i32> {
        let mut leaderless = false;
        let mut found = None;
        for (index, lane) in self.lanes.iter().enumerate() {
            if lane.sendable(sending).is_none() {
                continue;
            }
            let Some(broker) = self.leader(index) else {
                leaderless = true;
                continue;
            };
            let full =
                self.links.get(&broker).is_some_and(|flight| flight.requests.len() >= self.settings.in_flight_max);
            let waits = self.reconnect_at.get(&broker).is_some_and(|&at| sending.now < at);
            if !full && !waits {
                found = Some(broker);
                break;
            }
        }
        if leaderless {
            self.want_metadata(sending.now);
        }
        found
    }

    fn want_metadata(&mut self, now: Instant) {
        self.refresh_at.get_or_insert(now + self.cluster.settings().retry_backoff);
    }

    fn send_request(&mut self, broker: i32, sending: &Sending) {
        if let Err(error) = self.ensure_link(broker) {
            self.trouble = Some(error.to_string());
            self.reconnect_at.insert(broker, sending.now + RECONNECT_PAUSE);
            self.want_metadata(sending.now);
            return;
        }
        let batches = self.gather(broker, sending);
        let Some(flight) = self.links.get_mut(&broker) else { return };
        let request = produce_request(&self.topic, &self.settings, &batches);
        if self.settings.acks == Acks::None {
            let sent = flight.link.send_unanswered(&request);
            self.settle_unanswered(broker, batches, sent, sending.now);
            return;
        }
        let sent = flight.link.send(&request);
        flight.requests.push_back(InFlight { sent_at: sending.now, batches });
        if let Err(error) = sent {
            self.drop_link(broker, sending.now, error.to_string());
        }
    }

    /// One batch of each lane that the broker leads, as far as they fit a request.
    fn gather(&mut self, broker: i32, sending: &Sending) -> Vec<(usize, Batch)> {
        let mut batches: Vec<(usize, Batch)> = Vec::new();
        let mut bytes = 0;
        for index in 0..self.lanes.len() {
            if self.leader(index) != Some(broker) {
                continue;
            }
            let Some(size) = self.lanes[index].sendable(sending) else { continue };
            if !batches.is_empty() && bytes + size > self.settings.request_bytes_max {
                continue;
            }
            bytes += size;
            batches.extend(self.lanes[index].next(sending).map(|batch| (index, batch)));
        }
        batches
    }

    fn ensure_link(&mut self, broker: i32) -> Result<()> {
        if self.links.contains_key(&broker) {
            return Ok(());
        }
        let link = Link::open(&self.cluster, broker, self.next_link, self.events.0.clone())?;
        self.next_link += 1;
        if self.settings.codec == Codec::Zstd && link.version(ApiKey::Produce)? < 7 {
            return Err(Error::Setting { message: format!("broker {broker} is too old for zstd: use lz4") });
        }
        self.reconnect_at.remove(&broker);
        self.links.insert(broker, Flight { link, requests: VecDeque::new() });
        Ok(())
    }

    fn settle_unanswered(&mut self, broker: i32, batches: Vec<(usize, Batch)>, sent: Result<()>, now: Instant) {
        match sent {
            Ok(()) => batches.into_iter().for_each(|(lane, batch)| self.acknowledge(lane, batch)),
            Err(error) => {
                self.drop_link(broker, now, error.to_string());
                let retry_at = now + RECONNECT_PAUSE;
                batches.into_iter().for_each(|(lane, batch)| self.lanes[lane].put_back(batch, retry_at));
            }
        }
    }

    /// Everything on its way over the link has to be sent again; whether it was stored is unknown.
    fn drop_link(&mut self, broker: i32, now: Instant, reason: String) {
        let Some(flight) = self.links.remove(&broker) else { return };
        self.trouble = Some(reason);
        self.reconnect_at.insert(broker, now + self.cluster.settings().retry_backoff);
        self.want_metadata(now);
        let retry_at = now + self.cluster.settings().retry_backoff;
        for (lane, batch) in flight.requests.into_iter().flat_map(|request| request.batches) {
            self.lanes[lane].put_back(batch, retry_at);
        }
    }

    /// Takes an event of [`Self::events`].
    pub fn handle(&mut self, event: Event, now: Instant) {
        let found = self.links.iter().find(|(_, flight)| flight.link.id() == event.link);
        // A link that was given up has a last word that does not matter any more.
        let Some(broker) = found.map(|(&broker, _)| broker) else { return };
        let outcomes = event.answer.and_then(|answer| read_outcomes(&answer));
        match outcomes {
            Err(error) => self.drop_link(broker, now, error.to_string()),
            Ok(outcomes) => {
                let request = self.links.get_mut(&broker).and_then(|flight| flight.requests.pop_front());
                for (lane, batch) in request.into_iter().flat_map(|request| request.batches) {
                    let outcome = outcomes.get(&(lane as i32)).cloned().unwrap_or_default();
                    self.settle(lane, batch, outcome, now);
                }
            }
        }
    }

    fn settle(&mut self, lane: usize, mut batch: Batch, outcome: Outcome, now: Instant) {
        let code = outcome.code;
        if code.is_none() || code == Code::DUPLICATE_SEQUENCE_NUMBER {
            return self.acknowledge(lane, batch);
        }
        batch.may_be_stored = leaves_doubt(code);
        if code.wants_metadata() {
            self.want_metadata(now);
        }
        let retry_at = now + self.cluster.settings().retry_backoff;
        let says = outcome.sentence();
        let lost_sequence = matches!(code, Code::UNKNOWN_PRODUCER_ID | Code::INVALID_PRODUCER_EPOCH)
            || code == Code::OUT_OF_ORDER_SEQUENCE_NUMBER;
        if lost_sequence && self.identity.is_some() {
            // Behind an unanswered batch that is expected. At the front the broker has lost our sequences: a new
            // identity starts new ones, and this batch is certainly not stored.
            self.renewing |= self.lanes[lane].is_first(&batch);
            self.trouble = Some(says);
            self.lanes[lane].put_back(batch, retry_at);
        } else if code.is_retryable() {
            self.trouble = Some(says);
            self.lanes[lane].put_back(batch, retry_at);
        } else if code == Code::MESSAGE_TOO_LARGE && batch.tags.len() > 1 {
            match records::halves(&batch.bytes) {
                Ok(halves) => self.lanes[lane].put_back_halves(&batch, halves, self.identity, now),
                Err(reason) => self.fail(lane, batch, reason, None),
            }
        } else {
            self.fail(lane, batch, says, code.remedy());
        }
    }

    fn acknowledge(&mut self, lane: usize, batch: Batch) {
        self.lanes[lane].settle(&batch);
        self.deliver(lane, batch, None);
    }

    fn fail(&mut self, lane: usize, batch: Batch, reason: String, remedy: Option<&str>) {
        self.lanes[lane].settle(&batch);
        self.renewing |= batch.has_sequence();
        let failure = Failure { reason, remedy: remedy.map(str::to_owned), may_be_stored: batch.may_be_stored };
        self.deliver(lane, batch, Some(failure));
    }

    fn deliver(&mut self, lane: usize, batch: Batch, failure: Option<Failure>) {
        // Halving a batch may round its charge down.
        self.waiting_bytes = if self.is_idle() { 0 } else { self.waiting_bytes.saturating_sub(batch.charge) };
        self.deliveries.push(Delivery { partition: lane as i32, tags: batch.tags, failure });
    }

    /// Gives up on everything that is not acknowledged yet.
    pub fn abandon(&mut self, reason: &str) {
        let links = std::mem::take(&mut self.links);
        let in_flight = links.into_values().flat_map(|flight| flight.requests).flat_map(|request| request.batches);
        for (lane, batch) in in_flight.collect::<Vec<_>>() {
            self.fail(lane, batch, reason.to_owned(), None);
        }
        for lane in 0..self.lanes.len() {
            for batch in self.lanes[lane].abandon() {
                self.fail(lane, batch, reason.to_owned(), None);
            }
        }
    }
}

/// What a broker says to one batch.
#[derive(Debug, Clone)]
struct Outcome {
    code: Code,
    message: Option<String>,
}

impl Default for Outcome {
    /// A batch that the answer does not mention.
    fn default() -> Self {
        Self { code: Code::REQUEST_TIMED_OUT, message: None }
    }
}

impl Outcome {
    fn sentence(&self) -> String {
        match self.message.as_deref().filter(|message| !message.is_empty()) {
            Some(message) => format!("{message} [{}]", self.code),
            None => format!("the broker says {}", self.code),
        }
    }
}

/// Whether a batch that was answered with this code may be stored nevertheless.
fn leaves_doubt(code: Code) -> bool {
    matches!(code.0, -1 | 7 | 13 | 20 | 56)
}

fn read_outcomes(answer: &Answer) -> Result<BTreeMap<i32, Outcome>> {
    let response: produce::Response<'_> = answer.read()?;
    let partitions = response.responses.into_iter().flat_map(|topic| topic.partition_responses);
    let outcome = |partition: produce::ResponseResponsesPartitionResponses<'_>| {
        let message = partition.error_message.map(Cow::into_owned);
        (partition.index, Outcome { code: Code(partition.error_code), message })
    };
    Ok(partitions.map(outcome).collect())
}

fn produce_request<'a>(
    topic: &'a str,
    settings: &ProducerSettings,
    batches: &'a [(usize, Batch)],
) -> produce::Request<'a> {
    let partition = |(lane, batch): &'a (usize, Batch)| produce::RequestTopicDataPartitionData {
        index: *lane as i32,
        records: Some(Cow::Borrowed(&batch.bytes)),
    };
    produce::Request {
        transactional_id: None,
        acks: settings.acks.wire(),
        timeout_ms: PRODUCE_WAIT_MS,
        topic_data: vec![produce::RequestTopicData {
            name: topic.into(),
            partition_data: batches.iter().map(partition).collect(),
            ..Default::default()
        }],
    }
}

/// How long the leader waits for its followers.
const PRODUCE_WAIT_MS: i32 = 30_000;

fn new_identity(cluster: &mut Cluster) -> Result<Identity> {
    let request =
        init_producer_id::Request { transactional_id: None, transaction_timeout_ms: i32::MAX, ..Default::default() };
    let answer = cluster.call(Node::Any, &request)?;
    let response: init_producer_id::Response = answer.read()?;
    let what = "get a producer id".to_owned();
    Code(response.error_code).ok().map_err(|code| Error::Refused { what, code, message: None })?;
    Ok(Identity { id: response.producer_id, epoch: response.producer_epoch })
}

/// What a record may take in a batch.
fn record_bytes(record: &Record<'_>) -> usize {
    let headers: usize = record.headers.iter().map(|h| h.key.len() + h.value.map_or(0, <[u8]>::len) + 10).sum();
    record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + headers + RECORD_OVERHEAD_BYTES
}
