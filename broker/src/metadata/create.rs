//! What clients ask of new topics, and every way it can be refused.

use std::fmt;
use std::sync::Arc;

use super::image::Topic;
use super::names::{Illegal, NAME_BYTES_MAX};
use crate::config;

/// The most partitions one request may create, as in Kafka's controller.
pub const REQUEST_PARTITIONS_MAX: usize = 10_000;

/// A topic as a client asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many partitions; -1 is the default.
    pub partitions: i32,
    /// How many replicas of each; -1 is the default.
    pub replication_factor: i16,
    /// The replicas of each partition, where the client chooses them itself; the two numbers above are then -1.
    pub assignments: Vec<Assignment<'a>>,
    /// What is set on it, in the client's order; of a name given twice the last counts.
    pub configs: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> NewTopic<'a> {
    /// A topic with everything at its default.
    pub fn with_defaults(name: &'a str) -> Self {
        NewTopic { name, partitions: -1, replication_factor: -1, assignments: Vec::new(), configs: Vec::new() }
    }
}

/// The replicas a client chose for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The partition.
    pub partition: i32,
    /// Its replicas, the preferred leader first.
    pub replicas: &'a [i32],
}

/// A topic that was created, or would be.
#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    /// The topic as it will be in the image.
    pub topic: Arc<Topic>,
    /// Whether it is really created.
    pub stored: bool,
}

/// Why a topic is not created. The text is for the client's user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The name is impossible.
    IllegalName {
        /// The name, cut where it is too long.
        name: String,
        /// What is wrong with it.
        why: Illegal,
    },
    /// The name differs from an existing one in `.` and `_` only.
    CollidesWith {
        /// The name.
        name: String,
        /// The existing one.
        existing: Arc<str>,
    },
    /// The name belongs to the metadata log.
    Reserved {
        /// The name.
        name: String,
    },
    /// A topic of that name exists.
    Exists {
        /// The name.
        name: String,
    },
    /// The request names the topic more than once.
    Duplicate {
        /// The name.
        name: String,
    },
    /// Zero partitions, or fewer.
    Partitions {
        /// How many were asked for.
        asked: i32,
    },
    /// The request asks for more than [`REQUEST_PARTITIONS_MAX`] partitions.
    TooManyPartitions {
        /// How many were asked for.
        asked: u64,
    },
    /// No replicas, or more than there are brokers.
    ReplicationFactor {
        /// How many were asked for.
        asked: i32,
        /// How many brokers there are.
        brokers: usize,
    },
    /// Replicas were chosen and counted.
    AssignmentAndCount,
    /// The chosen replicas are impossible.
    Assignment(String),
    /// What is to be set on it is refused.
    Config(config::Refused),
}

impl Refusal {
    pub(super) fn illegal(name: &str, why: Illegal) -> Self {
        let shown = match name.len() {
            ..=NAME_BYTES_MAX => name.to_owned(),
            _ => format!("{}...", &name[..name.floor_char_boundary(NAME_BYTES_MAX)]),
        };
        Refusal::IllegalName { name: shown, why }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::IllegalName { name, why } => write!(f, "Topic name \"{name}\" is invalid: {why}."),
            Refusal::CollidesWith { name, existing } => {
                write!(f, "Topic \"{name}\" collides with existing topic \"{existing}\": names must not differ in '.' and '_' only.")
            }
            Refusal::Reserved { name } => write!(f, "Topic \"{name}\" is reserved for the metadata log."),
            Refusal::Exists { name } => write!(f, "Topic \"{name}\" already exists."),
            Refusal::Duplicate { name } => write!(f, "Topic \"{name}\" is in the request more than once."),
            Refusal::Partitions { asked } => {
                write!(f, "A topic has at least 1 partition, not {asked}; -1 means the broker's default.")
            }
            Refusal::TooManyPartitions { asked } => write!(
                f,
                "The request asks for {asked} partitions; one request creates at most {REQUEST_PARTITIONS_MAX}. Split it."
            ),
            Refusal::ReplicationFactor { asked, .. } if *asked <= 0 => {
                write!(f, "A topic has at least 1 replica, not {asked}; -1 means the broker's default.")
            }
            Refusal::ReplicationFactor { asked, brokers: 1 } => {
                write!(f, "Replication factor {asked} is impossible: there is only 1 broker; use 1 or -1.")
            }
            Refusal::ReplicationFactor { asked, brokers } => write!(
                f,
                "Replication factor {asked} is impossible: there are only {brokers} brokers; use at most {brokers}, or -1."
            ),
            Refusal::AssignmentAndCount => f.write_str(
                "The request assigns replicas itself, so the number of partitions and the replication factor must be -1.",
            ),
            Refusal::Assignment(why) => f.write_str(why),
            Refusal::Config(refused) => refused.fmt(f),
        }
    }
}
