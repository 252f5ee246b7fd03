//! Requests about records and offsets.

use storage::compression::Codec;

use super::Asker;
use crate::batches::{Batch, FAULTS, Fault, Sequence};
use crate::side::Own;
use crate::value::{Value, fields};
use crate::world::TIMES_RECORDS;

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// In both requests' cases long enough for a broker, and short enough for a run.
const WAIT_MS: [i32; 4] = [0, 1, 50, 120];

impl Asker<'_> {
    fn batch(&mut self) -> Batch {
        let random = &mut *self.random;
        let back = [0, 1000, 3_600_000][random.below(3)];
        let mut batch = Batch::plain(1 + random.below(4), self.world.now - back);
        batch.codec = random.pick(&CODECS);
        if random.chance(4) {
            batch.keys[0] = None;
        }
        if random.chance(6) {
            batch.value_bytes = [0, 1200, 40_000][random.below(3)];
        }
        if random.chance(4) {
            let producer = Own::Producer(random.below(2));
            let first = random.below(6) as i32;
            let epoch_more = [0, 0, 0, 1, -1][random.below(5)];
            batch.producer = Some(Sequence { producer, epoch_more, first });
        }
        if random.chance(4) {
            batch.fault = Some(random.pick(FAULTS));
        }
        // Without a producer such a batch never comes from a client.
        if matches!(batch.fault, Some(Fault::Transactional | Fault::Control)) && batch.producer.is_none() {
            batch.producer = Some(Sequence { producer: Own::Producer(0), epoch_more: 0, first: 0 });
        }
        batch
    }

    fn records(&mut self) -> Value {
        match self.random.below(20) {
            0 => Value::Null,
            1 => Value::Bytes(Vec::new()),
            2 => Value::Bytes(b"no batch at all".to_vec()),
            3 => Value::Batches(vec![self.batch(), self.batch()]),
            _ => Value::Batches(vec![self.batch()]),
        }
    }

    pub(super) fn produce(&mut self) -> Value {
        let mut topics = vec![self.world.topic(self.random)];
        if self.random.chance(4) {
            topics.push(self.world.topic(self.random));
            topics.dedup();
        }
        let topics: Vec<Value> = topics
            .into_iter()
            .map(|topic| {
                let partitions = self.world.partitions(&topic, self.random);
                let partitions: Vec<Value> =
                    partitions.into_iter().map(|index| fields! { index: index, records: self.records() }).collect();
                fields! { name: &topic, topic_id: Own::TopicId(topic.clone()), partition_data: partitions }
            })
            .collect();
        let acks = self.random.pick(&[-1, -1, -1, 1, 1, 0]);
        fields! { transactional_id: Value::Null, acks: acks, timeout_ms: 5000, topic_data: topics }
    }

    fn offset(&mut self) -> i64 {
        self.random.pick(&[0, 0, 0, 1, 2, 5, 10, 13, TIMES_RECORDS, 99, -1])
    }

    fn epoch(&mut self) -> i32 {
        self.random.pick(&[-1, -1, 0, 0, 1, 5])
    }

    pub(super) fn fetch(&mut self) -> Value {
        let topic = self.world.topic(self.random);
        let partitions = self.world.partitions(&topic, self.random);
        let partitions: Vec<Value> = partitions
            .into_iter()
            .map(|partition| {
                fields! {
                    partition: partition,
                    current_leader_epoch: self.epoch(),
                    fetch_offset: self.offset(),
                    last_fetched_epoch: self.random.pick(&[-1, -1, -1, -1, 0, 1]),
                    partition_max_bytes: self.random.pick(&[1_048_576, 1_048_576, 100, 1, 0]),
                }
            })
            .collect();
        let topics = match self.random.chance(8) {
            true => Vec::new(),
            false => vec![fields! { topic: &topic, topic_id: Own::TopicId(topic.clone()), partitions: partitions }],
        };
        let forgotten = match self.random.chance(8) {
            true => vec![fields! {
                topic: &topic, topic_id: Own::TopicId(topic.clone()), partitions: self.world.partitions(&topic, self.random),
            }],
            false => Vec::new(),
        };
        let (session, epoch) = match self.random.below(8) {
            0 | 1 => (Value::from(0), 0),
            2 => (Own::Session.into(), 1),
            3 => (Own::Session.into(), 2),
            4 => (Own::Session.into(), self.random.pick(&[-1, 5, 0])),
            _ => (Value::from(0), -1),
        };
        fields! {
            max_wait_ms: self.random.pick(&WAIT_MS),
            min_bytes: self.random.pick(&[0, 1, 1, 100_000]),
            max_bytes: self.random.pick(&[i32::MAX, i32::MAX, 200, 0]),
            isolation_level: self.random.pick(&[0, 1]),
            session_id: session,
            session_epoch: epoch,
            topics: topics,
            forgotten_topics_data: forgotten,
        }
    }

    pub(super) fn list_offsets(&mut self) -> Value {
        let topic = self.world.topic(self.random);
        let now = self.world.now;
        let partitions = self.world.partitions(&topic, self.random);
        let partitions: Vec<Value> = partitions
            .into_iter()
            .map(|partition| {
                fields! {
                    partition_index: partition,
                    current_leader_epoch: self.epoch(),
                    timestamp: self.random.pick(&[-1, -2, -3, -4, -5, -6, -7, 0, now, now + 3, now - 1000, now - 3_600_000, now + 10_000_000]),
                }
            })
            .collect();
        fields! {
            replica_id: -1,
            isolation_level: self.random.pick(&[0, 1]),
            topics: vec![fields! { name: topic, partitions: partitions }],
            timeout_ms: 1000,
        }
    }

    pub(super) fn offset_for_leader_epoch(&mut self) -> Value {
        let topic = self.world.topic(self.random);
        let partition = fields! {
            partition: self.world.partition(&topic, self.random),
            current_leader_epoch: self.epoch(),
            leader_epoch: self.epoch(),
        };
        fields! { replica_id: -1, topics: vec![fields! { topic: topic, partitions: vec![partition] }] }
    }

    pub(super) fn init_producer_id(&mut self) -> Value {
        let (id, epoch) = match self.random.below(4) {
            0 => (Own::Producer(0).into(), Own::ProducerEpoch(0).into()),
            1 => (Value::from(-1), Value::from(self.random.pick(&[-1, 0, 3]))),
            _ => (Value::from(-1), Value::from(-1)),
        };
        fields! { transactional_id: Value::Null, transaction_timeout_ms: 60_000, producer_id: id, producer_epoch: epoch }
    }

    pub(super) fn describe_producers(&mut self) -> Value {
        let topic = self.world.topic(self.random);
        let partitions = self.world.partitions(&topic, self.random);
        fields! { topics: vec![fields! { name: topic, partition_indexes: partitions }] }
    }

    pub(super) fn delete_records(&mut self) -> Value {
        let topic = self.world.topic(self.random);
        let partition = fields! {
            partition_index: self.world.partition(&topic, self.random),
            offset: self.random.pick(&[0, 1, 1, 2, -1, 1000]),
        };
        fields! { topics: vec![fields! { name: topic, partitions: vec![partition] }], timeout_ms: 5000 }
    }
}
