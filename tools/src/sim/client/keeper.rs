//! The keeper of a compacted topic: it alone writes there, keys that come again and again and tombstones, so that it knows
//! every record by its offset. It reads the topic from start to end, while compaction steps, and after every end of the node.
//!
//! ```text
//! records  0 1 2 3 4 5 6 …  as they were sent; offsets stay, whatever compaction removes
//!          · · a · b a ·    what a reading finds: of each key at least the last record
//!                           a tombstone may be gone after delete.retention.ms, but not before what it deletes
//! ```

use std::collections::{BTreeMap, BTreeSet};

use broker::driver::simulated::Network;
use broker::error_code::ErrorCode;
use net::ApiKey;
use net::api::{create_topics, fetch, incremental_alter_configs, init_producer_id, produce};
use storage::batch::{self, Batch};
use storage::builder::{BatchBuilder, NewRecord, Options};
use storage::compression::{Codec, decompress_all};
use storage::record;
use storage::simulated::Random;

use super::link::{Arrival, Link, any_version, decode};
use super::producer::is_retriable;
use super::{Client, Env};

/// Longest pause between two requests, in nanoseconds.
const PAUSE_NS_MAX: u64 = 5_000_000;
/// Pause after an error, in nanoseconds.
const RETRY_NS: u64 = 20_000_000;
/// Different keys.
const KEYS: usize = 12;
/// Records of a batch, at the most.
const RECORDS_MAX: u64 = 8;
/// More than any batch decompresses to.
const BODY_BYTES_MAX: u64 = 1 << 22;
/// Tombstones stay for longer than all jumps of the wall clock take together.
const LONG_RETENTION_MS: u64 = 1 << 40;
/// The resource type of topics in requests about configurations.
const TOPIC_RESOURCE: i8 = 2;
/// The first version of Produce that carries zstd (KIP-110), and the last that names topics by their names.
const PRODUCE_VERSIONS: (i16, i16) = (7, 12);
/// Versions of Fetch that need no session and name topics by their names.
const FETCH_VERSIONS: (i16, i16) = (4, 12);

/// What was asked.
enum Asked {
    Topic,
    ProducerId,
    Batch,
    Policy,
    Fetch,
}

/// A record as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    timestamp: i64,
}

/// One reading of the topic, from its start to its end.
#[derive(Debug)]
struct Reading {
    began_at_ns: u64,
    /// The wall clock is ahead of the simulation's time by this much, as long as nobody sets it.
    wall_ahead_ms: i64,
    is_clock_steady: bool,
    /// Where the reading ends at the earliest.
    to: i64,
    next: i64,
    seen: BTreeSet<i64>,
}

/// See the module's head. It does one thing at a time.
pub(in crate::sim) struct Keeper {
    link: Link<Asked>,
    random: Random,
    topic: String,
    delete_retention_ms: u64,
    exists: bool,
    producer: Option<(i64, i16)>,
    /// By offset; the last ones are those of the batch that is not acknowledged.
    records: Vec<Sent>,
    /// First and last offset of each batch.
    batches: BTreeMap<i64, i64>,
    acknowledged_end: i64,
    unacknowledged: Option<Vec<u8>>,
    reading: Option<Reading>,
    /// Everything was read since the node last came and nothing was written after.
    is_audited: bool,
    high_watermark: i64,
    next_at_ns: u64,
}

impl Keeper {
    pub(in crate::sim) fn new(cuts_per_million: u32, mut random: Random) -> Self {
        let short_ms = [random.between(1, 50), random.between(100, 1_000)][random.index(2)];
        let delete_retention_ms = if random.index(2) == 0 { LONG_RETENTION_MS } else { short_ms };
        Self {
            link: Link::new("keeper".to_owned(), cuts_per_million, random.fork()),
            random,
            topic: "kept".to_owned(),
            delete_retention_ms,
            exists: false,
            producer: None,
            records: Vec::new(),
            batches: BTreeMap::new(),
            acknowledged_end: 0,
            unacknowledged: None,
            reading: None,
            is_audited: true,
            high_watermark: 0,
            next_at_ns: 0,
        }
    }

    fn act(&mut self, env: &mut Env<'_>) {
        if !self.exists {
            return self.create(env);
        }
        if self.producer.is_none() {
            return self.ask_producer_id(env);
        }
        if let Some(bytes) = self.unacknowledged.clone() {
            return self.produce(env, &bytes);
        }
        if self.reading.is_some() {
            return self.fetch(env);
        }
        match self.random.index(12) {
            _ if env.is_draining => self.begin_reading(env),
            0 => self.begin_reading(env),
            1 => self.change_policy(env),
            _ => {
                let bytes = self.make_batch(env.wall_ms);
                self.produce(env, &bytes);
                self.unacknowledged = Some(bytes);
            }
        }
    }

    // The topic.

    fn create(&mut self, env: &mut Env<'_>) {
        env.model.note_kept(&self.topic);
        let configs = [
            ("cleanup.policy", "compact".to_owned()),
            ("segment.ms", self.random.between(10, 200).to_string()),
            ("segment.bytes", "1048576".to_owned()),
            ("delete.retention.ms", self.delete_retention_ms.to_string()),
            ("index.interval.bytes", [64, 4096][self.random.index(2)].to_string()),
            ("file.delete.delay.ms", (self.random.below(2) * 60_000).to_string()),
        ];
        let configs = configs
            .map(|(name, value)| create_topics::RequestTopicsConfigs { name: name.into(), value: Some(value.into()) });
        let topic = create_topics::RequestTopics {
            name: self.topic.clone().into(),
            num_partitions: 1,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: configs.to_vec(),
        };
        let request = create_topics::Request { topics: vec![topic], timeout_ms: 30_000, validate_only: false };
        let version = any_version(ApiKey::CreateTopics, 5, 7, &mut self.random);
        self.link.send(env, version, &request, Some(Asked::Topic));
    }

    /// Deletion finds nothing to delete, so that the policy changes only whether the topic is compacted.
    fn change_policy(&mut self, env: &mut Env<'_>) {
        let policy = ["compact", "compact", "delete", "compact,delete"][self.random.index(4)];
        let config = incremental_alter_configs::RequestResourcesConfigs {
            name: "cleanup.policy".into(),
            config_operation: 0,
            value: Some(policy.into()),
        };
        let resource = incremental_alter_configs::RequestResources {
            resource_type: TOPIC_RESOURCE,
            resource_name: self.topic.clone().into(),
            configs: vec![config],
        };
        let request = incremental_alter_configs::Request { resources: vec![resource], validate_only: false };
        let version = any_version(ApiKey::IncrementalAlterConfigs, 0, 1, &mut self.random);
        self.link.send(env, version, &request, Some(Asked::Policy));
    }

    // Writing.

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

    fn make_batch(&mut self, wall_ms: i64) -> Vec<u8> {
        let (id, epoch) = self.producer.expect("asked for before");
        let base = self.records.len() as i64;
        let producer = Some(batch::Producer { id, epoch, base_sequence: base as i32 });
        let codec = Codec::ALL[self.random.index(Codec::ALL.len())];
        let mut builder = BatchBuilder::new(Options { codec, producer, ..Options::default() });
        let count = self.random.between(1, RECORDS_MAX);
        let bytes_max = [100, 100, 100, 2_000, 20_000][self.random.index(5)];
        for _ in 0..count {
            let key = format!("key-{}", self.random.index(KEYS)).into_bytes();
            let is_tombstone = self.random.index(5) == 0;
            let value = (!is_tombstone).then(|| {
                let mut value = vec![self.random.bits() as u8; self.random.index(bytes_max)];
                value.extend_from_slice(&self.random.bits().to_be_bytes());
                value
            });
            let timestamp = wall_ms - self.random.below(100) as i64;
            let record = NewRecord { timestamp, key: Some(&key), value: value.as_deref(), headers: &[] };
            builder.append(&record).expect("small records");
            self.records.push(Sent { key, value, timestamp });
        }
        self.batches.insert(base, self.records.len() as i64 - 1);
        self.is_audited = false;
        builder.finish()
    }

    fn produce(&mut self, env: &mut Env<'_>, bytes: &[u8]) {
        let data = produce::RequestTopicDataPartitionData { index: 0, records: Some(bytes.into()) };
        let topic = produce::RequestTopicData {
            name: self.topic.clone().into(),
            partition_data: vec![data],
            ..Default::default()
        };
        let request =
            produce::Request { transactional_id: None, acks: -1, timeout_ms: 30_000, topic_data: vec![topic] };
        let (first, last) = PRODUCE_VERSIONS;
        let version = any_version(ApiKey::Produce, first, last, &mut self.random);
        self.link.send(env, version, &request, Some(Asked::Batch));
    }

    fn take_produced(&mut self, env: &mut Env<'_>, version: i16, body: &[u8]) {
        let response = decode::<produce::Response<'_>>(body, version);
        self.link.throttled(env, response.throttle_time_ms);
        let answer = &response.responses[0].partition_responses[0];
        if answer.error_code != 0 {
            return self.take_error(env, "Produce", answer.error_code);
        }
        assert_eq!(answer.base_offset, self.acknowledged_end, "{} has one writer", self.topic);
        self.acknowledged_end = self.records.len() as i64;
        self.unacknowledged = None;
        env.totals.kept_records += (self.acknowledged_end - answer.base_offset) as u64;
    }

    // Reading.

    fn begin_reading(&mut self, env: &mut Env<'_>) {
        self.reading = Some(Reading {
            began_at_ns: env.now_ns,
            wall_ahead_ms: wall_ahead_ms(env),
            is_clock_steady: true,
            to: self.acknowledged_end,
            next: 0,
            seen: BTreeSet::new(),
        });
        self.fetch(env);
    }

    fn fetch(&mut self, env: &mut Env<'_>) {
        let reading = self.reading.as_ref().expect("only asked for with one under way");
        let partition = fetch::RequestTopicsPartitions {
            partition: 0,
            current_leader_epoch: -1,
            fetch_offset: reading.next,
            partition_max_bytes: 1 + self.random.index(1 << 16) as i32,
            ..Default::default()
        };
        let topic = fetch::RequestTopics {
            topic: self.topic.clone().into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = fetch::Request {
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let (first, last) = FETCH_VERSIONS;
        let version = any_version(ApiKey::Fetch, first, last, &mut self.random);
        self.link.send(env, version, &request, Some(Asked::Fetch));
    }

    fn take_fetched(&mut self, env: &mut Env<'_>, version: i16, body: &[u8]) {
        let response = decode::<fetch::Response<'_>>(body, version);
        self.link.throttled(env, response.throttle_time_ms);
        let Some(partition) = response.responses.first().map(|topic| &topic.partitions[0]) else {
            return self.take_error(env, "Fetch", response.error_code);
        };
        if partition.error_code != 0 {
            return self.take_error(env, "Fetch", partition.error_code);
        }
        let end = partition.high_watermark;
        assert!(
            end >= self.high_watermark.max(self.acknowledged_end),
            "the high watermark of {} fell to {end}",
            self.topic
        );
        self.high_watermark = end;
        let Some(mut reading) = self.reading.take() else { return };
        reading.is_clock_steady &= wall_ahead_ms(env) == reading.wall_ahead_ms;
        for batch in batch::batches(partition.records.as_deref().unwrap_or_default()) {
            let batch = batch.unwrap_or_else(|error| panic!("{} at {}: {error}", self.topic, reading.next));
            self.read(&mut reading, &batch, end);
        }
        if reading.next >= end && reading.next >= reading.to {
            self.conclude(env, &reading);
        } else {
            self.reading = Some(reading);
        }
    }

    /// What a batch has left is what was sent at its offsets.
    fn read(&self, reading: &mut Reading, batch: &Batch<'_>, end: i64) {
        let (base, last) = (batch.base_offset(), batch.last_offset());
        let name = &self.topic;
        assert_eq!(batch.crc(), batch.computed_crc(), "{name} at {base}");
        assert_eq!(self.batches.get(&base), Some(&last), "{name}: a batch {base}..={last} was not sent");
        assert!(last >= reading.next && last < end, "{name}: batch {base}..={last} where {} is next", reading.next);
        let codec = batch.attributes().codec().expect("a codec that was sent");
        let body = match batch.record_count() {
            0 => Vec::new(),
            _ => decompress_all(codec, batch.body(), BODY_BYTES_MAX).expect("a body that was sent"),
        };
        for record in record::records(&body) {
            let record = record.expect("a record that was sent");
            let located = batch.origin().locate(record.head);
            assert!((base..=last).contains(&located.offset), "{name}: {} in {base}..={last}", located.offset);
            let found = Sent {
                key: record.key.expect("all have keys").to_vec(),
                value: record.value.map(<[u8]>::to_vec),
                timestamp: located.timestamp,
            };
            let sent = &self.records[located.offset as usize];
            assert!(found == *sent, "{name} at {}: {found:?} where {sent:?} was sent", located.offset);
            assert!(reading.seen.insert(located.offset), "{name}: {} comes twice", located.offset);
        }
        reading.next = batch.next_offset();
    }

    /// The last record of each key was found, unless it deletes.
    fn conclude(&mut self, env: &mut Env<'_>, reading: &Reading) {
        let mut last: BTreeMap<&[u8], i64> = BTreeMap::new();
        let mut first_seen: BTreeMap<&[u8], i64> = BTreeMap::new();
        for (offset, sent) in (0..).zip(&self.records) {
            last.insert(&sent.key, offset);
            if reading.seen.contains(&offset) {
                first_seen.entry(&sent.key).or_insert(offset);
            }
        }
        let took_ms = (env.now_ns - reading.began_at_ns).div_ceil(1_000_000);
        let is_in_time = reading.is_clock_steady && took_ms < self.delete_retention_ms;
        // Behind the reading's end, and of what is not acknowledged, nothing need have been there.
        let is_due = |offset: i64| offset < reading.next.min(self.acknowledged_end);
        for (key, offset) in last.into_iter().filter(|(_, offset)| is_due(*offset)) {
            if reading.seen.contains(&offset) {
                continue;
            }
            let key_text = String::from_utf8_lossy(key);
            let is_tombstone = self.records[offset as usize].value.is_none();
            let may_go = is_tombstone && self.delete_retention_ms < LONG_RETENTION_MS;
            assert!(may_go, "{}: the last record of {key_text}, at {offset}, is gone", self.topic);
            let earlier = first_seen.get(key).filter(|_| is_in_time);
            assert_eq!(earlier, None, "{}: what the tombstone of {key_text} at {offset} deleted is there", self.topic);
            env.totals.kept_tombstones_gone += 1;
        }
        env.totals.kept_readings += 1;
        let read_to = reading.next.min(self.records.len() as i64);
        env.totals.kept_records_gone += read_to as u64 - reading.seen.range(..read_to).count() as u64;
        self.is_audited = reading.next >= self.records.len() as i64;
    }

    fn take_error(&mut self, env: &mut Env<'_>, what: &str, code: i16) {
        assert!(is_retriable(code), "{what} of {}: error {code}", self.topic);
        env.totals.retriable_errors += 1;
        self.next_at_ns = self.next_at_ns.max(env.now_ns + RETRY_NS);
    }

    fn take(&mut self, env: &mut Env<'_>, version: i16, body: &[u8], asked: &Asked) {
        match asked {
            Asked::Topic => {
                let error = decode::<create_topics::Response<'_>>(body, version).topics[0].error_code;
                self.exists = error == 0 || error == ErrorCode::TopicAlreadyExists.code();
                if !self.exists {
                    self.take_error(env, "CreateTopics", error);
                }
            }
            Asked::ProducerId => {
                let response = decode::<init_producer_id::Response>(body, version);
                match response.error_code {
                    0 => self.producer = Some((response.producer_id, response.producer_epoch)),
                    error => self.take_error(env, "InitProducerId", error),
                }
            }
            Asked::Batch => self.take_produced(env, version, body),
            Asked::Policy => {
                match decode::<incremental_alter_configs::Response<'_>>(body, version).responses[0].error_code {
                    0 => env.totals.kept_policies += 1,
                    error => self.take_error(env, "IncrementalAlterConfigs", error),
                }
            }
            Asked::Fetch => self.take_fetched(env, version, body),
        }
    }
}

impl Client for Keeper {
    fn poll(&mut self, env: &mut Env<'_>) {
        for arrival in self.link.receive(env) {
            match arrival {
                Arrival::Answer { version, body, context } => self.take(env, version, &body, &context),
                // Whatever became of the node, everything is to be there again.
                Arrival::Lost => self.is_audited = self.records.is_empty(),
            }
        }
        let is_done = env.is_draining && self.is_idle();
        if is_done || self.link.in_flight() > 0 || env.now_ns < self.next_at_ns || !self.link.is_up(env) {
            return;
        }
        self.next_at_ns = env.now_ns + 1 + self.random.below(PAUSE_NS_MAX);
        self.act(env);
    }

    fn next_at_ns(&self, network: &Network) -> Option<u64> {
        let own = (self.link.in_flight() == 0).then_some(self.next_at_ns);
        self.link.next_at_ns(network, own)
    }

    fn is_idle(&self) -> bool {
        self.link.in_flight() == 0 && self.is_audited
    }
}

/// How far the wall clock is ahead of the simulation's time.
fn wall_ahead_ms(env: &Env<'_>) -> i64 {
    env.wall_ms - (env.now_ns / 1_000_000) as i64
}
