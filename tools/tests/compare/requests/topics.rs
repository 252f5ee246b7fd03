//! Requests about topics, their partitions and where these lie.

use net::Uuid;

use super::Asker;
use crate::side::Own;
use crate::value::{Value, fields};
use crate::world::NODE;

impl Asker<'_> {
    /// A topic that exists, or may.
    fn any_topic(&mut self) -> String {
        match self.random.chance(3) {
            true => self.world.new_topic(self.random),
            false => self.world.topic(self.random),
        }
    }

    pub(super) fn metadata(&mut self) -> Value {
        let topics = match self.random.below(8) {
            0 => Value::Null,
            1 => Value::List(Vec::new()),
            2 => {
                let id = Own::TopicId(self.any_topic());
                vec![fields! { topic_id: id, name: Value::Null }].into()
            }
            3 => vec![fields! { topic_id: Uuid::ZERO, name: self.world.bad_topic("Metadata", self.random) }].into(),
            _ => vec![fields! { topic_id: Uuid::ZERO, name: self.any_topic() }].into(),
        };
        fields! {
            topics: topics,
            allow_auto_topic_creation: self.random.chance(3),
            include_cluster_authorized_operations: self.random.chance(4),
            include_topic_authorized_operations: self.random.chance(4),
        }
    }

    pub(super) fn create_topics(&mut self) -> Value {
        let count = if self.random.chance(5) { 2 } else { 1 };
        let topics: Vec<Value> = (0..count)
            .map(|_| {
                let (partitions, factor, assignments) = match self.random.below(6) {
                    0 => (-1, -1, vec![self.assignment(0), self.assignment(1)]),
                    1 => (-1, -1, vec![self.assignment(0), self.assignment(0)]),
                    2 => (-1, -1, Vec::new()),
                    _ => (self.random.pick(&[1, 2, 3]), 1, Vec::new()),
                };
                let name = match self.random.chance(5) {
                    true => self.world.bad_topic("CreateTopics", self.random),
                    false => self.any_new_topic(),
                };
                fields! {
                    name: name,
                    num_partitions: partitions,
                    replication_factor: factor,
                    assignments: assignments,
                    configs: self.topic_configs(),
                }
            })
            .collect();
        fields! { topics: topics, timeout_ms: 10_000, validate_only: self.random.chance(3) }
    }

    fn any_new_topic(&mut self) -> Value {
        self.world.new_topic(self.random).into()
    }

    fn assignment(&mut self, partition: i32) -> Value {
        let brokers: Vec<i64> = match self.random.below(4) {
            0 => vec![NODE, NODE],
            1 => vec![99],
            _ => vec![NODE],
        };
        fields! { partition_index: partition, broker_ids: brokers }
    }

    pub(super) fn topic_configs(&mut self) -> Vec<Value> {
        let count = self.random.below(3);
        (0..count).map(|_| self.topic_config()).map(|(name, value)| fields! { name: name, value: value }).collect()
    }

    pub(super) fn delete_topics(&mut self) -> Value {
        let name = self.world.new_topic(self.random);
        let by_id = self.random.chance(2);
        let topic = match by_id {
            true => fields! { name: Value::Null, topic_id: Own::TopicId(name.clone()) },
            false => fields! { name: &name },
        };
        fields! { topics: vec![topic], topic_names: vec![name], timeout_ms: 10_000 }
    }

    pub(super) fn create_partitions(&mut self) -> Value {
        let assignments = match self.random.below(4) {
            0 => vec![fields! { broker_ids: vec![NODE] }].into(),
            1 => vec![fields! { broker_ids: vec![99] }].into(),
            _ => Value::Null,
        };
        let topic = fields! {
            name: self.world.new_topic(self.random),
            count: self.random.pick(&[2, 3, 4, 5, 1, 0, -1]),
            assignments: assignments,
        };
        fields! { topics: vec![topic], timeout_ms: 10_000, validate_only: self.random.chance(3) }
    }

    pub(super) fn describe_topic_partitions(&mut self) -> Value {
        let topics: Vec<Value> = (0..1 + self.random.below(3)).map(|_| fields! { name: self.any_topic() }).collect();
        let cursor = match self.random.chance(4) {
            true => fields! { topic_name: self.any_topic(), partition_index: self.random.pick(&[0, 1, 2]) },
            false => Value::Null,
        };
        fields! { topics: topics, response_partition_limit: self.random.pick(&[2000, 2, 1]), cursor: cursor }
    }

    pub(super) fn elect_leaders(&mut self) -> Value {
        let topic = self.any_topic();
        let partitions = match self.random.chance(6) {
            true => Value::Null,
            false => {
                let partitions = self.world.partitions(&topic, self.random);
                vec![fields! { topic: topic, partitions: partitions }].into()
            }
        };
        fields! { election_type: self.random.pick(&[0, 1]), topic_partitions: partitions, timeout_ms: 5000 }
    }

    pub(super) fn alter_partition_reassignments(&mut self) -> Value {
        let replicas = match self.random.below(6) {
            0 => Value::Null,
            1 => vec![99].into(),
            2 => Value::List(Vec::new()),
            3 => vec![NODE, NODE].into(),
            _ => vec![NODE].into(),
        };
        let topic = self.world.new_topic(self.random);
        let partition = self.world.partition(&topic, self.random);
        let partitions = vec![fields! { partition_index: partition, replicas: replicas }];
        fields! {
            timeout_ms: 5000,
            allow_replication_factor_change: self.random.chance(2),
            topics: vec![fields! { name: topic, partitions: partitions }],
        }
    }

    pub(super) fn list_partition_reassignments(&mut self) -> Value {
        let topic = self.any_topic();
        let partitions = self.world.partitions(&topic, self.random);
        let topics = match self.random.chance(3) {
            true => Value::Null,
            false => vec![fields! { name: topic, partition_indexes: partitions }].into(),
        };
        fields! { timeout_ms: 5000, topics: topics }
    }

    pub(super) fn alter_replica_log_dirs(&mut self) -> Value {
        let topic = self.any_topic();
        let partitions = self.world.partitions(&topic, self.random);
        let topics = vec![fields! { name: topic, partitions: partitions }];
        fields! { dirs: vec![fields! { path: self.random.pick(&["/nowhere", "relative", ""]), topics: topics }] }
    }

    pub(super) fn describe_log_dirs(&mut self) -> Value {
        let topic = self.any_topic();
        let partitions = self.world.partitions(&topic, self.random);
        let topics = match self.random.chance(4) {
            true => Value::Null,
            false => vec![fields! { topic: topic, partitions: partitions }].into(),
        };
        fields! { topics: topics }
    }
}
