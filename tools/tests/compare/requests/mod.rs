//! A request for every API that makes sense in the world, to be sent as it is or spoilt.

mod cluster;
mod configs;
mod groups;
mod records;
mod topics;

pub(crate) use self::groups::subscription;

use crate::random::Random;
use crate::schema::Api;
use crate::value::Value;
use crate::world::World;

/// What a request is made from.
#[derive(Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) world: &'a World,
    pub(crate) random: &'a mut Random,
}

/// A request, or none for an API that has no maker here.
pub(crate) fn request(api: &Api, asker: &mut Asker<'_>) -> Option<Value> {
    Some(match api.name.as_str() {
        "Produce" => asker.produce(),
        "Fetch" => asker.fetch(),
        "ListOffsets" => asker.list_offsets(),
        "OffsetForLeaderEpoch" => asker.offset_for_leader_epoch(),
        "InitProducerId" => asker.init_producer_id(),
        "DescribeProducers" => asker.describe_producers(),
        "DeleteRecords" => asker.delete_records(),
        "Metadata" => asker.metadata(),
        "CreateTopics" => asker.create_topics(),
        "DeleteTopics" => asker.delete_topics(),
        "CreatePartitions" => asker.create_partitions(),
        "DescribeTopicPartitions" => asker.describe_topic_partitions(),
        "ElectLeaders" => asker.elect_leaders(),
        "AlterPartitionReassignments" => asker.alter_partition_reassignments(),
        "ListPartitionReassignments" => asker.list_partition_reassignments(),
        "AlterReplicaLogDirs" => asker.alter_replica_log_dirs(),
        "DescribeLogDirs" => asker.describe_log_dirs(),
        "FindCoordinator" => asker.find_coordinator(),
        "JoinGroup" => asker.join_group(),
        "SyncGroup" => asker.sync_group(),
        "Heartbeat" => asker.heartbeat(),
        "LeaveGroup" => asker.leave_group(),
        "OffsetCommit" => asker.offset_commit(),
        "OffsetFetch" => asker.offset_fetch(),
        "OffsetDelete" => asker.offset_delete(),
        "DescribeGroups" => asker.describe_groups(),
        "ListGroups" => asker.list_groups(),
        "DeleteGroups" => asker.delete_groups(),
        "DescribeConfigs" => asker.describe_configs(),
        "AlterConfigs" => asker.alter_configs(),
        "IncrementalAlterConfigs" => asker.incremental_alter_configs(),
        "ListConfigResources" => asker.list_config_resources(),
        "DescribeClientQuotas" => asker.describe_client_quotas(),
        "AlterClientQuotas" => asker.alter_client_quotas(),
        "ApiVersions" => asker.api_versions(),
        "DescribeCluster" => asker.describe_cluster(),
        "DescribeQuorum" => asker.describe_quorum(),
        "UpdateFeatures" => asker.update_features(),
        "GetTelemetrySubscriptions" => asker.get_telemetry_subscriptions(),
        "PushTelemetry" => asker.push_telemetry(),
        _ => return None,
    })
}
