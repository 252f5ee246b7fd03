//! Requests about the cluster that any shard answers from the image it serves.

use net::api::{
    alter_partition_reassignments, alter_replica_log_dirs, describe_client_quotas, describe_cluster, describe_configs,
    describe_quorum, describe_topic_partitions, elect_leaders, list_config_resources, list_partition_reassignments,
    unregister_broker,
};
use net::{ApiKey, DecodeError, Message as _};

use super::Shard;
use super::connections::Responder;
use crate::metadata::api;

impl Shard {
    /// Answers a request about the cluster.
    pub(super) fn cluster_request(
        &mut self,
        responder: Responder,
        key: ApiKey,
        version: i16,
        body: &[u8],
    ) -> Result<(), DecodeError> {
        let view = self.view(responder);
        let context = view.context(version);
        match key {
            ApiKey::DescribeCluster => {
                let request = describe_cluster::Request::from_prefix(body, version)?;
                self.respond_message(responder, version, &api::describe_cluster(&request, &context));
            }
            ApiKey::DescribeConfigs => {
                let request = describe_configs::Request::from_prefix(body, version)?;
                self.respond_message(responder, version, &api::describe_configs(request, &context));
            }
            ApiKey::ListConfigResources => {
                let request = list_config_resources::Request::from_prefix(body, version)?;
                self.respond_message(responder, version, &api::list_config_resources(&request, &context));
            }
            ApiKey::DescribeClientQuotas => {
                let request = describe_client_quotas::Request::from_prefix(body, version)?;
                self.respond_message(responder, version, &api::describe_client_quotas(&request, self.image.quotas()));
            }
            ApiKey::DescribeTopicPartitions => {
                let request = describe_topic_partitions::Request::from_prefix(body, version)?;
                let response = api::describe_topic_partitions(&request, &context);
                self.respond_message(responder, version, &response);
            }
            ApiKey::AlterReplicaLogDirs => {
                let request = alter_replica_log_dirs::Request::from_prefix(body, version)?;
                self.respond_message(responder, version, &api::alter_replica_log_dirs(&request, &context));
            }
            ApiKey::ElectLeaders => {
                let request = elect_leaders::Request::from_prefix(body, version)?;
                self.respond_message(responder, version, &api::elect_leaders(&request, &context));
            }
            ApiKey::AlterPartitionReassignments => {
                let request = alter_partition_reassignments::Request::from_prefix(body, version)?;
                let response = api::alter_partition_reassignments(&request, &context);
                self.respond_message(responder, version, &response);
            }
            ApiKey::ListPartitionReassignments => {
                let request = list_partition_reassignments::Request::from_prefix(body, version)?;
                self.respond_message(responder, version, &api::list_partition_reassignments(&request));
            }
            ApiKey::DescribeQuorum => {
                let request = describe_quorum::Request::from_prefix(body, version)?;
                let now_ms = self.now.wall_ms;
                let listener = self.listener_name(responder.connection);
                let response = api::describe_quorum(&request, &context, listener, now_ms);
                self.respond_message(responder, version, &response);
            }
            ApiKey::UnregisterBroker => {
                let request = unregister_broker::Request::from_prefix(body, version)?;
                self.respond_message(responder, version, &api::unregister_broker(&request, &context));
            }
            other => unreachable!("{other} is not about the cluster"),
        }
        Ok(())
    }
}
