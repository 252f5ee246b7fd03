//! The APIs about partitions, replicas and the cluster.

use net::api::{
    alter_partition_reassignments, alter_replica_log_dirs, create_partitions, delete_records, describe_log_dirs,
    describe_producers, describe_quorum, describe_topic_partitions, elect_leaders, list_partition_reassignments,
    unregister_broker, update_features,
};
use storage::batch::Producer;

use super::World;
use crate::support::batch;
use crate::support::broker::{METADATA, TIMEOUT_MS, metadata_request, only};
use crate::support::wait::eventually;

const ELECTION_NOT_NEEDED: i16 = 84;
const NOT_REGISTERED: i16 = 102;

impl World<'_> {
    fn node_id(&self) -> i32 {
        self.broker.client().call(METADATA, &metadata_request(&[], false)).brokers[0].node_id
    }

    pub(super) fn create_partitions(&self, version: i16) {
        let topic = self.broker.topic("grown").name;
        let request = create_partitions::Request {
            topics: vec![create_partitions::RequestTopics { name: topic.as_str().into(), count: 3, assignments: None }],
            timeout_ms: TIMEOUT_MS,
            validate_only: false,
        };
        let response = self.call(version, &request, |response| response.results[0].error_code);
        assert_eq!(only(response.results).name, topic, "v{version}");
        // Kafka's answer may be ahead of its own metadata.
        eventually("the partitions are there", || {
            (self.broker.client().metadata(&topic).partitions.len() == 3).then_some(())
        });
    }

    pub(super) fn elect_leaders(&self, version: i16) {
        let partitions =
            elect_leaders::RequestTopicPartitions { topic: self.topic.name.as_str().into(), partitions: vec![0] };
        let request = elect_leaders::Request {
            election_type: 0,
            topic_partitions: Some(vec![partitions]),
            timeout_ms: TIMEOUT_MS,
        };
        let response = self.call(version, &request, |response| response.error_code);
        let result = only(only(response.replica_election_results).partition_result);
        assert_eq!((result.partition_id, result.error_code), (0, ELECTION_NOT_NEEDED), "v{version}");
        assert!(result.error_message.is_some(), "v{version}");
    }

    pub(super) fn alter_partition_reassignments(&self, version: i16) {
        let partition = alter_partition_reassignments::RequestTopicsPartitions {
            partition_index: 0,
            replicas: Some(vec![self.node_id()]),
        };
        let request = alter_partition_reassignments::Request {
            timeout_ms: TIMEOUT_MS,
            topics: vec![alter_partition_reassignments::RequestTopics {
                name: self.topic.name.as_str().into(),
                partitions: vec![partition],
            }],
            ..Default::default()
        };
        let response = self.call(version, &request, |response| response.error_code);
        assert_eq!(only(only(response.responses).partitions).error_code, 0, "v{version}");
    }

    pub(super) fn list_partition_reassignments(&self, version: i16) {
        let request = list_partition_reassignments::Request { timeout_ms: TIMEOUT_MS, topics: None };
        let response = self.call(version, &request, |response| response.error_code);
        assert!(response.topics.is_empty(), "v{version}: nothing moves");
    }

    pub(super) fn describe_quorum(&self, version: i16) {
        let request = describe_quorum::Request {
            topics: vec![describe_quorum::RequestTopics {
                topic_name: "__cluster_metadata".into(),
                partitions: vec![describe_quorum::RequestTopicsPartitions { partition_index: 0 }],
            }],
        };
        let response = self.call(version, &request, |response| response.error_code);
        let partition = only(only(response.topics).partitions);
        let id = self.node_id();
        assert_eq!((partition.error_code, partition.leader_id), (0, id), "v{version}");
        assert!(partition.high_watermark > 0, "v{version}");
        assert_eq!(only(partition.current_voters).replica_id, id, "v{version}");
        assert_eq!(response.nodes.len(), usize::from(version >= 2), "v{version}");
    }

    pub(super) fn unregister_broker(&self, version: i16) {
        let request = unregister_broker::Request { broker_id: 4711 };
        let response = self.broker.client().call(version, &request);
        assert_eq!(response.error_code, NOT_REGISTERED, "v{version}");
        assert!(response.error_message.is_some_and(|message| message.contains("4711")), "v{version}");
    }

    pub(super) fn update_features(&self, version: i16) {
        let metadata = update_features::RequestFeatureUpdates {
            feature: "metadata.version".into(),
            max_version_level: 30,
            allow_downgrade: false,
            upgrade_type: 1,
        };
        let request = update_features::Request {
            timeout_ms: TIMEOUT_MS,
            feature_updates: vec![metadata],
            validate_only: version >= 1,
        };
        let response = self.call(version, &request, |response| response.error_code);
        assert_eq!(response.results.len(), usize::from(version < 2), "v{version}");
    }

    pub(super) fn describe_topic_partitions(&self, version: i16) {
        let request = describe_topic_partitions::Request {
            topics: vec![describe_topic_partitions::RequestTopics { name: self.topic.name.as_str().into() }],
            response_partition_limit: 10,
            cursor: None,
        };
        let response = self.call(version, &request, |response| response.topics[0].error_code);
        let topic = only(response.topics);
        assert_eq!((topic.name.as_deref(), topic.topic_id), (Some(self.topic.name.as_str()), self.topic.id));
        assert_eq!(only(topic.partitions).leader_id, self.node_id(), "v{version}");
        assert!(response.next_cursor.is_none(), "v{version}");
    }

    pub(super) fn delete_records(&self, version: i16) {
        let topic = self.broker.topic("deleted").name;
        self.broker.client().must_produce(&topic, 0, &batch::batch(&["one", "two", "three"]));
        let partition = delete_records::RequestTopicsPartitions { partition_index: 0, offset: 2 };
        let request = delete_records::Request {
            topics: vec![delete_records::RequestTopics { name: topic.as_str().into(), partitions: vec![partition] }],
            timeout_ms: TIMEOUT_MS,
        };
        let response = self.call(version, &request, |response| response.topics[0].partitions[0].error_code);
        assert_eq!(only(only(response.topics).partitions).low_watermark, 2, "v{version}");
    }

    fn log_dir(&self, version: i16) -> describe_log_dirs::ResponseResults<'static> {
        let topic = describe_log_dirs::RequestTopics { topic: self.topic.name.as_str().into(), partitions: vec![0, 9] };
        let request = describe_log_dirs::Request { topics: Some(vec![topic]) };
        only(self.call(version, &request, |response| response.error_code).results)
    }

    pub(super) fn describe_log_dirs(&self, version: i16) {
        let described = self.log_dir(version);
        assert_eq!(described.error_code, 0, "v{version}");
        assert!(described.log_dir.starts_with('/'), "v{version}: {}", described.log_dir);
        let partition = only(only(described.topics).partitions);
        assert!(partition.partition_size >= self.records.len() as i64, "v{version}");
        if version >= 4 {
            assert!(described.usable_bytes > 0 && described.total_bytes > described.usable_bytes, "v{version}");
        }
    }

    pub(super) fn alter_replica_log_dirs(&self, version: i16) {
        let topic =
            alter_replica_log_dirs::RequestDirsTopics { name: self.topic.name.as_str().into(), partitions: vec![0] };
        let path = self.log_dir(4).log_dir;
        let request = alter_replica_log_dirs::Request {
            dirs: vec![alter_replica_log_dirs::RequestDirs { path, topics: vec![topic] }],
        };
        self.call(version, &request, |response| response.results[0].partitions[0].error_code);
    }

    pub(super) fn describe_producers(&self, version: i16) {
        let topic = self.broker.topic("producers").name;
        let producer = Producer { id: 4711, epoch: 3, base_sequence: 0 };
        self.broker.client().must_produce(&topic, 0, &batch::idempotent(producer, &["one", "two"]));
        let request = describe_producers::Request {
            topics: vec![describe_producers::RequestTopics { name: topic.as_str().into(), partition_indexes: vec![0] }],
        };
        let response = self.call(version, &request, |response| response.topics[0].partitions[0].error_code);
        let active = only(only(only(response.topics).partitions).active_producers);
        let told = (active.producer_id, active.producer_epoch, active.last_sequence, active.last_timestamp);
        assert_eq!(told, (4711, 3, 1, batch::first_timestamp() + 1), "v{version}");
        assert_eq!((active.coordinator_epoch, active.current_txn_start_offset), (-1, -1), "v{version}");
    }
}
