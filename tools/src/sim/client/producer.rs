//! Producers: idempotent ones, which lose and repeat nothing, and plain ones, which send each batch once.

use std::collections::BTreeMap;

use broker::driver::simulated::Network;
use broker::error_code::ErrorCode;
use net::ApiKey;
use net::api::{init_producer_id, produce};
use storage::batch;
use storage::builder::{BatchBuilder, NewRecord, Options};
use storage::compression::Codec;
use storage::simulated::Random;

use super::lane::{Lane, Refusal};
use super::link::{Arrival, Link, any_version, decode};
use super::{Client, Env};
use crate::sim::model::{BatchNumber, Place};

/// Requests in flight, at the most.
const IN_FLIGHT_MAX: usize = 5;
/// Longest pause between two requests, in nanoseconds.
const PAUSE_NS_MAX: u64 = 3_000_000;
/// Pause after an error, in nanoseconds.
const RETRY_NS: u64 = 20_000_000;
/// Partitions of one request, at the most.
const PARTITIONS_MAX: usize = 4;
/// The first version that carries zstd (KIP-110).
const ZSTD_SINCE: i16 = 7;
/// Batches sent again although they were acknowledged, per million requests.
const REPEATS_PER_MILLION: u32 = 60_000;

/// How a producer produces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Style {
    /// With a producer id; unacknowledged batches are sent again.
    Idempotent { acks: i16 },
    /// Without one; each batch is sent once.
    Plain { acks: i16 },
}

/// What was asked.
enum Asked {
    ProducerId,
    Produce(Vec<Item>),
}

/// One partition of a produce request.
struct Item {
    place: Place,
    order: u64,
    /// It was acknowledged before, with this offset.
    repeats: Option<(BatchNumber, i64)>,
}

pub(in crate::sim) struct Producer {
    link: Link<Asked>,
    random: Random,
    style: Style,
    /// Tells this producer from others; a plain one is another one after each connection, for nothing orders what it
    /// sends over two.
    number: u32,
    numbers_step: u32,
    id: Option<(i64, i16)>,
    lanes: BTreeMap<Place, Lane>,
    next_at_ns: u64,
}

impl Producer {
    /// Producer number `number` of `count`.
    pub(in crate::sim) fn new(
        number: u32,
        count: u32,
        style: Style,
        cuts_per_million: u32,
        mut random: Random,
    ) -> Self {
        Self {
            link: Link::new(format!("producer-{number}"), cuts_per_million, random.fork()),
            random,
            style,
            number,
            numbers_step: count,
            id: None,
            lanes: BTreeMap::new(),
            next_at_ns: 0,
        }
    }

    fn acks(&self) -> i16 {
        match self.style {
            Style::Idempotent { acks } | Style::Plain { acks } => acks,
        }
    }

    fn is_idempotent(&self) -> bool {
        matches!(self.style, Style::Idempotent { .. })
    }

    fn ask_producer_id(&mut self, env: &mut Env<'_>) {
        let request = init_producer_id::Request {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let version = any_version(ApiKey::InitProducerId, 0, 5, &mut self.random);
        self.link.send(env, version, &request, Some(Asked::ProducerId));
    }

    fn produce(&mut self, env: &mut Env<'_>) {
        let mut places = env.model.places();
        self.random.shuffle(&mut places);
        places.truncate(1 + self.random.index(PARTITIONS_MAX));
        if self.is_idempotent() {
            // What has to be sent again goes first, wherever it belongs.
            let waiting = self.lanes.iter().filter(|(_, lane)| !lane.is_idle()).map(|(place, _)| *place);
            places.extend(waiting.collect::<Vec<_>>());
        }
        places.sort_unstable();
        places.dedup();
        let mut items = Vec::new();
        let mut batches = Vec::new();
        for place in places {
            if let Some((item, bytes)) = self.next_batch(env, place) {
                items.push(item);
                batches.push((place, bytes));
            }
        }
        if !items.is_empty() {
            self.send(env, items, &batches);
        }
    }

    /// What this request carries for a partition.
    fn next_batch(&mut self, env: &mut Env<'_>, place: Place) -> Option<(Item, Vec<u8>)> {
        let is_idempotent = self.is_idempotent();
        let lane = self.lanes.entry(place).or_default();
        if is_idempotent {
            if let Some(batch) = lane.resend() {
                env.totals.duplicates += 1;
                return Some((Item { place, order: batch.order, repeats: None }, batch.bytes.clone()));
            }
            if self.random.chance(REPEATS_PER_MILLION) {
                let repeatable = lane.repeatable(|count| self.random.index(count));
                // What was deleted need not be recognised.
                let repeatable = repeatable.filter(|(_, base)| *base >= env.model.perhaps_deleted_before(place));
                if let Some((batch, base_offset)) = repeatable {
                    env.totals.duplicates += 1;
                    let repeats = Some((batch.number, *base_offset));
                    return Some((Item { place, order: batch.order, repeats }, batch.bytes.clone()));
                }
            }
        }
        if env.is_draining || !lane.has_room() || !env.model.exists(place) {
            return None;
        }
        let (sequence, order) = (lane.next_sequence, lane.next_order);
        let producer = self.id.map(|(id, epoch)| batch::Producer { id, epoch, base_sequence: sequence });
        let (bytes, records) = build(env.wall_ms, producer, &mut self.random);
        let number = env.model.sent(place, self.number, order, &bytes);
        let is_answered = self.acks() != 0;
        let lane = self.lanes.get_mut(&place).expect("made above");
        if !is_answered {
            lane.next_order += 1;
        } else {
            lane.push(number, bytes.clone(), records);
        }
        Some((Item { place, order, repeats: None }, bytes))
    }

    fn send(&mut self, env: &mut Env<'_>, items: Vec<Item>, batches: &[(Place, Vec<u8>)]) {
        let version = any_version(ApiKey::Produce, ZSTD_SINCE, 13, &mut self.random);
        let names: Vec<(String, net::Uuid)> = batches
            .iter()
            .map(|(place, _)| env.model.topic(place.topic))
            .map(|topic| (topic.name.clone(), topic.id))
            .collect();
        let mut topic_data: Vec<produce::RequestTopicData<'_>> = Vec::new();
        for ((place, bytes), (name, topic_id)) in batches.iter().zip(&names) {
            if topic_data.last().is_none_or(|topic| topic.name != *name) {
                topic_data.push(produce::RequestTopicData {
                    name: name.as_str().into(),
                    topic_id: *topic_id,
                    partition_data: Vec::new(),
                });
            }
            let partition =
                produce::RequestTopicDataPartitionData { index: place.index, records: Some(bytes.as_slice().into()) };
            topic_data.last_mut().expect("pushed above").partition_data.push(partition);
        }
        let request = produce::Request { transactional_id: None, acks: self.acks(), timeout_ms: 30_000, topic_data };
        let context = (self.acks() != 0).then_some(Asked::Produce(items));
        self.link.send(env, version, &request, context);
    }

    fn take(&mut self, env: &mut Env<'_>, arrival: Arrival<Asked>) {
        match arrival {
            Arrival::Answer { version, body, context: Asked::ProducerId } => {
                self.take_producer_id(env, &decode::<init_producer_id::Response>(&body, version));
            }
            Arrival::Answer { version, body, context: Asked::Produce(items) } => {
                let response = decode::<produce::Response<'_>>(&body, version);
                self.link.throttled(env, response.throttle_time_ms);
                let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
                let answers: Vec<_> = partitions.collect();
                assert_eq!(answers.len(), items.len(), "every partition is answered");
                for (item, answer) in items.iter().zip(answers) {
                    assert_eq!(answer.index, item.place.index, "answers come in the order of the request");
                    self.take_produced(env, item, answer);
                }
            }
            Arrival::Lost => {
                for lane in self.lanes.values_mut() {
                    lane.lost();
                }
                if !self.is_idempotent() {
                    self.number += self.numbers_step;
                    self.lanes.clear();
                }
            }
        }
    }

    fn take_producer_id(&mut self, env: &mut Env<'_>, response: &init_producer_id::Response) {
        if response.error_code == 0 {
            assert_eq!(response.producer_epoch, 0);
            env.model.producer_id(response.producer_id, self.number);
            env.totals.producer_ids += 1;
            self.id = Some((response.producer_id, response.producer_epoch));
        } else {
            assert!(is_retriable(response.error_code), "InitProducerId: error {}", response.error_code);
            env.totals.retriable_errors += 1;
        }
    }

    fn take_produced(
        &mut self,
        env: &mut Env<'_>,
        item: &Item,
        answer: &produce::ResponseResponsesPartitionResponses<'_>,
    ) {
        if !env.model.exists(item.place) {
            self.lanes.remove(&item.place);
            return;
        }
        let description = env.model.describe(item.place);
        let is_idempotent = self.is_idempotent();
        let Some(lane) = self.lanes.get_mut(&item.place) else { return };
        let error = answer.error_code;
        if error != 0 {
            env.totals.retriable_errors += 1;
            self.next_at_ns = self.next_at_ns.max(env.now_ns + RETRY_NS);
            let refusal = match item.repeats {
                Some(_) => Refusal::Wrong,
                None if is_idempotent => lane.refuse(item.order),
                None => {
                    lane.forget(item.order);
                    Refusal::Wrong
                }
            };
            let follows_error = refusal == Refusal::Consequence && error == ErrorCode::OutOfOrderSequenceNumber.code();
            let message = answer.error_message.as_deref().unwrap_or_default();
            assert!(
                is_retriable(error) || follows_error,
                "batch {} of {description}: error {error} ({message})",
                item.order
            );
            return;
        }
        if let Some((number, base_offset)) = item.repeats {
            assert_eq!(
                answer.base_offset, base_offset,
                "a repeated batch of {description} has the offset it got first"
            );
            env.model.acknowledged(number, base_offset);
            return;
        }
        let number = match is_idempotent {
            true => lane.acknowledge(item.order, answer.base_offset),
            false => lane.forget(item.order),
        };
        env.model.acknowledged(number, answer.base_offset);
        env.totals.acknowledged_batches += 1;
        env.totals.acknowledged_records += env.model.records(number) as u64;
    }
}

impl Client for Producer {
    fn poll(&mut self, env: &mut Env<'_>) {
        for arrival in self.link.receive(env) {
            self.take(env, arrival);
        }
        self.lanes.retain(|place, _| env.model.exists(*place));
        if env.now_ns < self.next_at_ns || !self.link.is_up(env) || self.link.in_flight() >= IN_FLIGHT_MAX {
            return;
        }
        self.next_at_ns = env.now_ns + 1 + self.random.below(PAUSE_NS_MAX);
        if self.is_idempotent() && self.id.is_none() {
            if self.link.in_flight() == 0 {
                self.ask_producer_id(env);
            }
        } else {
            self.produce(env);
        }
    }

    fn next_at_ns(&self, network: &Network) -> Option<u64> {
        let own = (self.link.in_flight() < IN_FLIGHT_MAX).then_some(self.next_at_ns);
        self.link.next_at_ns(network, own)
    }

    fn is_idle(&self) -> bool {
        self.link.in_flight() == 0 && self.lanes.values().all(Lane::is_idle)
    }
}

/// A batch of random records.
fn build(wall_ms: i64, producer: Option<batch::Producer>, random: &mut Random) -> (Vec<u8>, i32) {
    let codecs = [Codec::None, Codec::None, Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    let codec = codecs[random.index(codecs.len())];
    let mut builder = BatchBuilder::new(Options { codec, producer, ..Options::default() });
    let (records, bytes_max) = match random.index(40) {
        0 => (1 + random.index(3), 150_000),
        1..5 => (1 + random.index(20), 2_000),
        _ => (1 + random.index(5), 200),
    };
    let mut timestamp = wall_ms - random.below(1_000) as i64;
    for _ in 0..records {
        let mut value = vec![random.bits() as u8; random.index(bytes_max)];
        value.extend_from_slice(&random.bits().to_be_bytes());
        let record = NewRecord { timestamp, key: Some(&value[..1]), value: Some(&value), headers: &[] };
        builder.append(&record).expect("small records");
        timestamp += random.below(3) as i64;
    }
    (builder.finish(), records as i32)
}

/// Whether a client that gets this error asks again.
pub(super) fn is_retriable(code: i16) -> bool {
    [
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::LeaderNotAvailable,
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::RequestTimedOut,
        ErrorCode::KafkaStorageError,
        ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotCoordinator,
        ErrorCode::UnknownTopicId,
        ErrorCode::OffsetNotAvailable,
    ]
    .iter()
    .any(|error| error.code() == code)
}
