//! What an episode prepares on both brokers, and the names that its requests choose from.
//!
//! | topic | what |
//! |---|---|
//! | `plain` | three partitions: batches of several codecs, none, those of an idempotent producer |
//! | `times` | ten records, a millisecond apart, in one batch each, and ten in a compressed one |
//! | `stamped` | timestamps by the broker |
//! | `compacted` | wants keys |
//! | `small` | batches of at most 1,000 bytes |
//! | `zipped` | stored with gzip |
//!
//! Group `reader` has committed offsets and never had a member, `member` has one, `left` had one.

use crate::random::Random;
use crate::side::Own;
use crate::value::Value;

pub(crate) const TOPICS: [(&str, i32); 6] =
    [("plain", 3), ("times", 1), ("stamped", 1), ("compacted", 1), ("small", 1), ("zipped", 1)];

/// Records in partition 0 of `times`.
pub(crate) const TIMES_RECORDS: i64 = 20;

/// Names of topics that requests create and delete.
const NEW_TOPICS: [&str; 4] = ["new-a", "new-b", "new-c", "new-d"];

/// APIs that may be asked about the topic of offsets.
const HARMLESS: [&str; 6] =
    ["Metadata", "CreateTopics", "Produce", "DescribeTopicPartitions", "OffsetCommit", "DescribeConfigs"];

/// The node's id, which both brokers are started with.
pub(crate) const NODE: i64 = 1;

/// Names that all episodes' requests see.
#[derive(Debug)]
pub(crate) struct World {
    /// What the names of the episode's topics and groups begin with.
    pub(crate) prefix: String,
    /// The time at which the run started, in ms.
    pub(crate) now: i64,
}

impl World {
    pub(crate) fn name(&self, short: &str) -> String {
        format!("{}{short}", self.prefix)
    }

    /// One of the prepared topics, mostly `plain`.
    pub(crate) fn topic(&self, random: &mut Random) -> String {
        match random.chance(2) {
            true => self.name("plain"),
            false => self.name(random.pick(&TOPICS).0),
        }
    }

    /// A topic that may or may not exist.
    pub(crate) fn new_topic(&self, random: &mut Random) -> String {
        self.name(random.pick(&NEW_TOPICS))
    }

    pub(crate) fn partition(&self, topic: &str, random: &mut Random) -> i64 {
        let of = TOPICS.iter().find(|(short, _)| self.name(short) == topic);
        random.below(of.map_or(1, |&(_, count)| count as usize)) as i64
    }

    /// One partition of the topic, or two different ones.
    pub(crate) fn partitions(&self, topic: &str, random: &mut Random) -> Vec<i64> {
        let mut partitions = vec![self.partition(topic, random)];
        if random.chance(3) {
            partitions.push(self.partition(topic, random));
        }
        partitions.dedup();
        partitions
    }

    /// A group that has something in it.
    pub(crate) fn group(&self, random: &mut Random) -> String {
        self.name(random.pick(&["reader", "member", "left", "walk"]))
    }

    /// A member of the group, mostly the one that there is.
    pub(crate) fn member(&self, group: &str, random: &mut Random) -> Value {
        match random.below(6) {
            0 => "".into(),
            1 => "nobody".into(),
            _ => Own::Member(group.to_owned()).into(),
        }
    }

    /// A name of a topic that is wrong in one way or another; or that of the topic of offsets, which is only for
    /// requests that leave it as it is, and do not ask what it holds.
    pub(crate) fn bad_topic(&self, api: &str, random: &mut Random) -> Value {
        match random.below(10) {
            0 => "".into(),
            1 => ".".into(),
            2 => "..".into(),
            3 => format!("{}with space", self.prefix).into(),
            4 => self.long(249).into(),
            5 => self.long(250).into(),
            6 => format!("{}ünï", self.prefix).into(),
            7 if HARMLESS.contains(&api) => "__consumer_offsets".into(),
            // Collides with the prepared topic where '.' and '_' are taken for each other.
            8 => format!("{}dot.ted", self.prefix).into(),
            _ => self.name("unknown").into(),
        }
    }

    fn long(&self, length: usize) -> String {
        format!("{}{}", self.prefix, "x".repeat(length - self.prefix.len()))
    }

    /// A name of a group that is none, or an odd one; without a name only for those that leave no group behind.
    pub(crate) fn bad_group(&self, api: &str, random: &mut Random) -> Value {
        match random.below(4) {
            0 if api != "OffsetCommit" => "".into(),
            1 => self.long(300).into(),
            2 => self.name("grüße").into(),
            _ => self.name("no-group").into(),
        }
    }
}
