//! Requests about groups and their offsets.

use super::Asker;
use crate::side::Own;
use crate::value::{Value, fields};

/// Long enough for an episode, so that no member is lost by the passing of time.
const SESSION_MS: i32 = 30_000;

/// How long a member waits for those that never come.
const REBALANCE_MS: i32 = 700;

impl Asker<'_> {
    fn any_group(&mut self) -> Value {
        match self.random.chance(8) {
            true => self.world.bad_group("", self.random),
            false => self.world.group(self.random).into(),
        }
    }

    pub(super) fn find_coordinator(&mut self) -> Value {
        let key = self.any_group();
        let keys: Vec<Value> = (0..self.random.below(3)).map(|_| self.any_group()).collect();
        fields! { key: key, key_type: self.random.pick(&[0, 0, 0, 0, 5, -1]), coordinator_keys: keys }
    }

    fn instance(&mut self) -> Value {
        match self.random.chance(8) {
            true => "static".into(),
            false => Value::Null,
        }
    }

    pub(super) fn join_group(&mut self) -> Value {
        let group = self.world.name("walk");
        let member = self.world.member(&group, self.random);
        let protocols: Vec<Value> = match self.random.below(8) {
            0 => Vec::new(),
            1 => vec![fields! { name: "other", metadata: Value::Bytes(subscription()) }],
            2 => vec![
                fields! { name: "roundrobin", metadata: Value::Bytes(subscription()) },
                fields! { name: "range", metadata: Value::Bytes(subscription()) },
            ],
            _ => vec![fields! { name: "range", metadata: Value::Bytes(subscription()) }],
        };
        fields! {
            group_id: group,
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: member,
            group_instance_id: self.instance(),
            protocol_type: self.random.pick(&["consumer", "consumer", "consumer", "connect", ""]),
            protocols: protocols,
            reason: self.random.pick(&[None, Some("why")]),
        }
    }

    fn generation(&mut self, group: &str) -> Value {
        match self.random.chance(4) {
            true => (self.random.pick(&[-1, 0, 99])).into(),
            false => Own::Generation(group.to_owned()).into(),
        }
    }

    /// The group that members join and leave, mostly.
    fn walk(&mut self) -> String {
        match self.random.chance(4) {
            true => self.world.group(self.random),
            false => self.world.name("walk"),
        }
    }

    pub(super) fn sync_group(&mut self) -> Value {
        let group = self.walk();
        let member = self.world.member(&group, self.random);
        let assignment = fields! { member_id: Own::Member(group.clone()), assignment: Value::Bytes(b"mine".to_vec()) };
        fields! {
            generation_id: self.generation(&group),
            member_id: member,
            group_instance_id: self.instance(),
            protocol_type: self.random.pick(&[Some("consumer"), Some("consumer"), None, Some("connect")]),
            protocol_name: self.random.pick(&[Some("range"), Some("range"), None, Some("other")]),
            assignments: if self.random.chance(3) { Vec::new() } else { vec![assignment] },
            group_id: group,
        }
    }

    pub(super) fn heartbeat(&mut self) -> Value {
        let group = self.walk();
        let member = self.world.member(&group, self.random);
        let instance = self.instance();
        fields! { generation_id: self.generation(&group), group_id: group, member_id: member, group_instance_id: instance }
    }

    pub(super) fn leave_group(&mut self) -> Value {
        let group = self.walk();
        let member = self.world.member(&group, self.random);
        let count = self.random.pick(&[1, 1, 1, 0, 2]);
        let members: Vec<Value> = (0..count)
            .map(|_| {
                fields! {
                    member_id: self.world.member(&group, self.random),
                    group_instance_id: self.instance(),
                    reason: self.random.pick(&[None, Some("done")]),
                }
            })
            .collect();
        fields! { group_id: group, member_id: member, members: members }
    }

    pub(super) fn offset_commit(&mut self) -> Value {
        let group = match self.random.chance(2) {
            true => self.world.name("reader"),
            false => self.walk(),
        };
        let (generation, member) = match self.random.chance(2) {
            true => (Value::from(-1), Value::from("")),
            false => (self.generation(&group), self.world.member(&group, self.random)),
        };
        let topic = self.world.topic(self.random);
        let partition = fields! {
            partition_index: self.world.partition(&topic, self.random),
            committed_offset: self.random.pick(&[0, 1, 5, 1_000_000, -1]),
            committed_leader_epoch: self.random.pick(&[-1, 0, 3]),
            committed_metadata: self.random.pick(&[None, Some(""), Some("note")]),
        };
        let topic = fields! { name: &topic, topic_id: Own::TopicId(topic.clone()), partitions: vec![partition] };
        fields! {
            group_id: group,
            generation_id_or_member_epoch: generation,
            member_id: member,
            group_instance_id: self.instance(),
            retention_time_ms: self.random.pick(&[-1, -1, 60_000]),
            topics: vec![topic],
        }
    }

    pub(super) fn offset_fetch(&mut self) -> Value {
        let mut asked = || {
            let topic = self.world.topic(self.random);
            let partitions = self.world.partitions(&topic, self.random);
            (topic, partitions)
        };
        let ((old_topic, old), (topic, partitions)) = (asked(), asked());
        let topics = match self.random.chance(4) {
            true => Value::Null,
            false => {
                let id = Own::TopicId(topic.clone());
                vec![fields! { name: topic, topic_id: id, partition_indexes: partitions }].into()
            }
        };
        let old_topics = match self.random.chance(4) {
            true => Value::Null,
            false => vec![fields! { name: old_topic, partition_indexes: old }].into(),
        };
        let group = self.any_group();
        let (member, epoch) = match self.random.chance(4) {
            true => (self.world.member(&self.world.name("walk"), self.random), self.random.pick(&[0, 1, 99])),
            false => (Value::Null, -1),
        };
        let asked = fields! { group_id: group, member_id: member, member_epoch: epoch, topics: topics };
        fields! {
            group_id: self.any_group(),
            // All topics are asked for by null, from version 2 on; in version 1 by nothing.
            topics: old_topics,
            groups: vec![asked],
            require_stable: self.random.chance(2),
        }
    }

    pub(super) fn offset_delete(&mut self) -> Value {
        let topic = self.world.topic(self.random);
        let partition = fields! { partition_index: self.world.partition(&topic, self.random) };
        let group = self.any_group();
        fields! { group_id: group, topics: vec![fields! { name: topic, partitions: vec![partition] }] }
    }

    pub(super) fn describe_groups(&mut self) -> Value {
        let groups: Vec<Value> = (0..1 + self.random.below(2)).map(|_| self.any_group()).collect();
        fields! { groups: groups, include_authorized_operations: self.random.chance(3) }
    }

    pub(super) fn list_groups(&mut self) -> Value {
        let states: Vec<&str> = match self.random.below(5) {
            0 => vec!["Stable"],
            1 => vec!["empty", "Dead"],
            2 => vec!["Nonsense"],
            _ => Vec::new(),
        };
        let types: Vec<&str> = match self.random.below(5) {
            0 => vec!["classic"],
            1 => vec!["Consumer"],
            2 => vec!["nonsense"],
            _ => Vec::new(),
        };
        fields! { states_filter: states, types_filter: types }
    }

    pub(super) fn delete_groups(&mut self) -> Value {
        let groups: Vec<Value> = (0..1 + self.random.below(2)).map(|_| self.any_group()).collect();
        fields! { groups_names: groups }
    }
}

/// What a consumer says when it joins: version 0, one topic, no user data.
pub(crate) fn subscription() -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, 5];
    bytes.extend(b"plain");
    bytes.extend((-1i32).to_be_bytes());
    bytes
}
