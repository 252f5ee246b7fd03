//! Requests about the cluster and what it can do.

use net::Uuid;

use super::Asker;
use crate::value::{Value, fields};

impl Asker<'_> {
    pub(super) fn api_versions(&mut self) -> Value {
        fields! {
            client_software_name: self.random.pick(&["compare", "a-b.c1", "", "no spaces", "-x", "x-"]),
            client_software_version: self.random.pick(&["1.0", "1", "", "1 0", "v_1"]),
        }
    }

    pub(super) fn describe_cluster(&mut self) -> Value {
        fields! {
            include_cluster_authorized_operations: self.random.chance(2),
            endpoint_type: self.random.pick(&[1, 1, 1, 2, 0, 9]),
            include_fenced_brokers: self.random.chance(2),
        }
    }

    pub(super) fn describe_quorum(&mut self) -> Value {
        let partition = fields! { partition_index: self.random.pick(&[0, 0, 1]) };
        let topic = self.random.pick(&["__cluster_metadata", "__cluster_metadata", "other"]);
        fields! { topics: vec![fields! { topic_name: topic, partitions: vec![partition] }] }
    }

    /// Nothing that would change a feature: what both have would differ from then on.
    pub(super) fn update_features(&mut self) -> Value {
        let update = fields! {
            feature: self.random.pick(&["nonsense", "", "metadata.version", "group.version"]),
            max_version_level: self.random.pick(&[99, -1, 500]),
            allow_downgrade: self.random.chance(2),
            upgrade_type: self.random.pick(&[1, 2, 3, 0, 9]),
        };
        fields! { timeout_ms: 5000, feature_updates: vec![update], validate_only: true }
    }

    pub(super) fn get_telemetry_subscriptions(&mut self) -> Value {
        fields! { client_instance_id: self.random.pick(&[Uuid::ZERO, Uuid([7; 16])]) }
    }

    pub(super) fn push_telemetry(&mut self) -> Value {
        fields! {
            client_instance_id: self.random.pick(&[Uuid::ZERO, Uuid([7; 16])]),
            subscription_id: self.random.pick(&[0, 1]),
            terminating: self.random.chance(3),
            compression_type: self.random.pick(&[0, 1, 9]),
            metrics: Value::Bytes(Vec::new()),
        }
    }
}
