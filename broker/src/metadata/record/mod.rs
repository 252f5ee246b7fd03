//! Metadata records: the values of the records in the metadata log.
//!
//! ```text
//!   0      1         2          4          8
//!   ┌──────┬─────────┬──────────┬──────────┬─────────────────────┐
//!   │ kind │ version │ reserved │  length  │ payload (rkyv)      │
//!   │ u8   │ u8      │ u16 = 0  │ u32 LE   │ `length` bytes      │
//!   └──────┴─────────┴──────────┴──────────┴─────────────────────┘
//! ```
//!
//! The record batch around it carries the CRC. [`Record`] is what this version works with; each version of the
//! format has its own types in a module of its own ([`v1`]), which stay as they are once released.

mod v1;

#[cfg(test)]
mod tests;

use std::fmt;

use net::Uuid;

use crate::config::Overrides;
use crate::quota::{Entity, Limits};

const HEADER_BYTES: usize = 8;

/// One change of the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The first record of all: the cluster has got its identity.
    ClusterCreated {
        /// The cluster's id.
        cluster_id: Uuid,
        /// When, by the wall clock.
        created_ms: i64,
    },
    /// A node has started. It leads what it led before, with leader epochs raised by one.
    BrokerRegistered {
        /// The node.
        node_id: i32,
        /// Raised at each start of any node.
        broker_epoch: i64,
    },
    /// There is a new topic.
    TopicCreated {
        /// Its name.
        name: String,
        /// Its id, never used before.
        topic_id: Uuid,
        /// What was set on it.
        configs: Overrides,
        /// When, by the wall clock.
        created_ms: i64,
        /// Its partitions, by index.
        partitions: Vec<NewPartition>,
    },
    /// A topic is gone.
    TopicDeleted {
        /// The topic.
        topic_id: Uuid,
    },
    /// What is set on a topic, all of it.
    TopicConfigChanged {
        /// The topic.
        topic_id: Uuid,
        /// Everything set on it from now on.
        configs: Overrides,
    },
    /// A topic has more partitions, behind those it had.
    PartitionsAdded {
        /// The topic.
        topic_id: Uuid,
        /// The new ones, by index.
        partitions: Vec<NewPartition>,
    },
    /// The data directories of partitions. Those that no record names are in the directory that has the metadata.
    DirectoriesAssigned {
        /// The topic.
        topic_id: Uuid,
        /// Partitions by index, with the id of the data directory (KIP-858); zero is the one that has the metadata.
        directories: Vec<(i32, Uuid)>,
    },
    /// What is set on a broker, or on all of them, while they run; all of it.
    BrokerConfigChanged {
        /// The node; `None` is every node.
        node_id: Option<i32>,
        /// Everything set from now on.
        configs: Overrides,
    },
    /// What is set on a group, all of it; nothing where it is as if it had never been set.
    GroupConfigChanged {
        /// The group.
        group: String,
        /// Everything set from now on.
        configs: Overrides,
    },
    /// What is set on a subscription to clients' metrics, all of it; without anything the subscription is gone.
    ClientMetricsChanged {
        /// The subscription's name.
        name: String,
        /// Everything set from now on.
        configs: Overrides,
    },
    /// A feature works at another level.
    FeatureLevelChanged {
        /// Its name.
        name: String,
        /// The level; 0 is off.
        level: i16,
    },
    /// Producer ids below this one are taken.
    ProducerIdsAllocated {
        /// The first free one.
        next: i64,
    },
    /// What an entity may use of each node.
    ClientQuotaChanged {
        /// The entity.
        entity: Entity,
        /// Everything that is limited for it from now on.
        limits: Limits,
    },
}

/// A partition as it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPartition {
    /// The name of its log in storage: dense, never reused, never 0.
    pub log_id: u64,
    /// The first leader.
    pub leader: i32,
    /// Its epoch.
    pub leader_epoch: i32,
    /// The replicas, the preferred leader first. All are in sync.
    pub replicas: Vec<i32>,
}

/// Why the value of a record in the metadata log cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// A newer version wrote it.
    Newer {
        /// The kind's number.
        kind: u8,
        /// The kind's version.
        version: u8,
    },
    /// The bytes are not what any version writes.
    Damaged {
        /// The kind's number, 0 where there is none.
        kind: u8,
    },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Newer { kind, version } => write!(
                f,
                "a metadata record (kind {kind}, version {version}) was written by a newer version of skein; \
                 start that version, or a newer one"
            ),
            Unreadable::Damaged { kind } => write!(f, "a metadata record (kind {kind}) is damaged"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl Record {
    /// The bytes that go into the metadata log.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, payload) = v1::encode(self);
        let length = u32::try_from(payload.len()).expect("records are bounded by what one request can ask for");
        let mut value = Vec::with_capacity(HEADER_BYTES + payload.len());
        value.extend_from_slice(&[kind, v1::VERSION, 0, 0]);
        value.extend_from_slice(&length.to_le_bytes());
        value.extend_from_slice(&payload);
        value
    }

    /// Reads what [`Record::encode`] of this or an older version wrote.
    pub fn decode(value: &[u8]) -> Result<Record, Unreadable> {
        let Some((&[kind, version, reserved @ .., a, b, c, d], payload)) = value.split_first_chunk::<HEADER_BYTES>()
        else {
            return Err(Unreadable::Damaged { kind: value.first().copied().unwrap_or(0) });
        };
        if version > v1::VERSION || kind > v1::KIND_MAX {
            return Err(Unreadable::Newer { kind, version });
        }
        let damaged = Unreadable::Damaged { kind };
        if version == 0 || reserved != [0, 0] || u32::from_le_bytes([a, b, c, d]) as usize != payload.len() {
            return Err(damaged);
        }
        v1::decode(kind, payload).ok_or(damaged)
    }
}
