//! Requests about metadata: from a decoded request and an image to the response.
//!
//! Every function here is pure. Those that change something return the change with the response, which is held back
//! until the change is durable.

mod alter_configs;
mod cluster;
mod codes;
mod configs;
mod features;
mod log_dirs;
mod partitions;
mod quorum;
mod quotas;
mod replicas;
mod topics;
mod unwritten;
mod versions;
mod view;

#[cfg(test)]
mod tests;

pub use alter_configs::{alter_configs, incremental_alter_configs};
pub use cluster::{FindCoordinatorAnswer, describe_cluster, find_coordinator, init_producer_id};
pub use configs::{describe_configs, list_config_resources};
pub use features::update_features;
pub use log_dirs::alter_replica_log_dirs;
pub use partitions::{DESCRIBED_PARTITIONS_MAX, create_partitions, describe_topic_partitions};
pub use quorum::{describe_quorum, unregister_broker};
pub use quotas::{alter_client_quotas, describe_client_quotas};
pub use replicas::{alter_partition_reassignments, elect_leaders, list_partition_reassignments};
pub use topics::{DeleteTopicsAnswer, create_topics, delete_topics};
pub use unwritten::{no_producer_ids, unwritten};
pub use versions::{SERVED, TELEMETRY, api_versions, api_versions_unsupported, wants_telemetry};
pub use view::{MetadataAnswer, metadata};

use super::{Image, Partition};
use crate::config::NodeConfig;
use crate::directory::Opened;
use crate::error_code::ErrorCode;

/// What a request about metadata is answered from.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The published image.
    pub image: &'a Image,
    /// The data directories of this node.
    pub directories: &'a [Opened],
    /// The node's configuration.
    pub config: &'a NodeConfig,
    /// The address of this node on the listener the request came in on, as clients are to use it: the advertised one,
    /// or the local address of the connection.
    pub host: &'a str,
    /// The port that goes with it.
    pub port: u16,
    /// The version of the request.
    pub version: i16,
}

/// Who leads a partition, as clients are told: nobody while the data directory of its only replica is offline.
struct Leadership {
    error: ErrorCode,
    leader: i32,
    offline: Vec<i32>,
}

impl Context<'_> {
    fn leadership(&self, partition: &Partition) -> Leadership {
        if self.directories.iter().any(|it| it.id == partition.directory && it.is_online()) {
            return Leadership { error: ErrorCode::None, leader: partition.leader, offline: Vec::new() };
        }
        Leadership { error: ErrorCode::LeaderNotAvailable, leader: -1, offline: partition.replicas.to_vec() }
    }
}

/// Bits of what a client may do (KIP-430), as Kafka without an authorizer answers them.
mod operations {
    /// On a topic: read, write, create, delete, alter, describe, describe and alter its configuration.
    pub(super) const TOPIC: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
    /// On the cluster: create, alter, describe, act for it, describe and alter its configuration, write idempotently.
    pub(super) const CLUSTER: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);
    /// Nobody asked.
    pub(super) const NOT_ASKED: i32 = i32::MIN;

    const fn bits(codes: &[u8]) -> i32 {
        let (mut bits, mut index) = (0, 0);
        while index < codes.len() {
            bits |= 1 << codes[index];
            index += 1;
        }
        bits
    }

    // What a live Kafka 4.3.1 answers.
    const _: () = assert!(TOPIC == 3576 && CLUSTER == 8096);
}
