//! Each API that the node advertises, in each version: a valid request, and an answer that both codecs read to its end.

mod cluster;

use net::api::{
    api_versions, create_topics, delete_groups, delete_topics, describe_cluster, describe_configs, describe_groups,
    fetch, find_coordinator, heartbeat, init_producer_id, join_group, leave_group, list_groups, list_offsets, metadata,
    offset_commit, offset_delete, offset_fetch, offset_for_leader_epoch, produce, sync_group,
};
use net::{ApiKey, Request};

use crate::configs;
use crate::quotas;
use crate::support::batch;
use crate::support::broker::{Broker, TIMEOUT_MS, Topic, is_passing, only, unique};
use crate::support::client::Client;
use crate::support::wait::eventually;

/// The first version of Produce that has a schema; older ones are advertised for the sake of old clients' checks.
const PRODUCE_FIRST: i16 = 3;

/// From these versions on topics go by id.
const PRODUCE_BY_ID: i16 = 13;
const FETCH_BY_ID: i16 = 13;
const OFFSETS_BY_ID: i16 = 10;

const TOPIC_RESOURCE: i8 = 2;
const SESSION_TIMEOUT_MS: i32 = 30_000;

#[test]
fn every_api_is_answered_in_every_version_it_is_advertised_in() {
    let Some(broker) = Broker::get("every_version") else { return };
    let world = World::new(&broker);
    let served = broker.client().call(0, &api_versions::Request::default());
    let mut tried = 0;
    for range in &served.api_keys {
        let Some(key) = ApiKey::from_i16(range.api_key) else {
            assert!(broker.is_kafka(), "the key {} is advertised and unknown", range.api_key);
            continue;
        };
        if broker.is_kafka() && !world.knows(key) {
            continue;
        }
        for version in range.min_version..=range.max_version {
            if key == ApiKey::Produce && version < PRODUCE_FIRST {
                let mut client = broker.client();
                client.write(&produce_header(version));
                client.assert_closed();
            } else {
                world.ask(key, version);
            }
            tried += 1;
        }
    }
    assert!(tried > 100, "only {tried} versions are advertised");
    println!("every version: {tried} tried");
}

/// A request of a version without a schema: only its header, which has the same shape in all of them.
fn produce_header(version: i16) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 10, 0, 0];
    bytes.extend(version.to_be_bytes());
    bytes.extend([0, 0, 0, 1, 0xff, 0xff]);
    bytes
}

/// A topic with records and a group with a member.
struct World<'b> {
    broker: &'b Broker,
    topic: Topic,
    records: Vec<u8>,
}

impl<'b> World<'b> {
    fn new(broker: &'b Broker) -> Self {
        let topic = broker.topic("every");
        let records = batch::batch(&["one", "two", "three"]);
        assert_eq!(broker.client().must_produce(&topic.name, 0, &records), 0);
        Self { broker, topic, records }
    }

    /// Asks until the answer is not a passing refusal, and it has to be no error then.
    fn call<'q, R: Request<'q>>(
        &self,
        version: i16,
        request: &R,
        error: impl Fn(&R::Response<'static>) -> i16,
    ) -> R::Response<'static> {
        let response = eventually(&format!("{} v{version}", R::KEY), || {
            let response = self.broker.client().call(version, request);
            (!is_passing(error(&response))).then_some(response)
        });
        assert_eq!(error(&response), 0, "{} v{version}", R::KEY);
        response
    }

    fn knows(&self, key: ApiKey) -> bool {
        !matches!(self.request_of(key), Asked::Nothing)
    }

    fn ask(&self, key: ApiKey, version: i16) {
        match self.request_of(key) {
            Asked::By(ask) => ask(self, version),
            Asked::Nothing => panic!("{key} is advertised, and this test has no request for it"),
        }
    }

    fn request_of(&self, key: ApiKey) -> Asked<'b> {
        Asked::By(match key {
            ApiKey::Produce => Self::produce,
            ApiKey::Fetch => Self::fetch,
            ApiKey::ListOffsets => Self::list_offsets,
            ApiKey::Metadata => Self::metadata,
            ApiKey::OffsetCommit => Self::offset_commit,
            ApiKey::OffsetFetch => Self::offset_fetch,
            ApiKey::FindCoordinator => Self::find_coordinator,
            ApiKey::JoinGroup => Self::join_group,
            ApiKey::Heartbeat => Self::heartbeat,
            ApiKey::LeaveGroup => Self::leave_group,
            ApiKey::SyncGroup => Self::sync_group,
            ApiKey::DescribeGroups => Self::describe_groups,
            ApiKey::ListGroups => Self::list_groups,
            ApiKey::DeleteGroups => Self::delete_groups,
            ApiKey::OffsetDelete => Self::offset_delete,
            ApiKey::ApiVersions => Self::api_versions,
            ApiKey::CreateTopics => Self::create_topics,
            ApiKey::DeleteTopics => Self::delete_topics,
            ApiKey::InitProducerId => Self::init_producer_id,
            ApiKey::OffsetForLeaderEpoch => Self::offset_for_leader_epoch,
            ApiKey::DescribeConfigs => Self::describe_configs,
            ApiKey::ListConfigResources => |world, version| configs::list(world.broker, version),
            ApiKey::AlterConfigs => |world, version| configs::alter(world.broker, version),
            ApiKey::IncrementalAlterConfigs => |world, version| configs::incremental_alter(world.broker, version),
            ApiKey::DescribeCluster => Self::describe_cluster,
            ApiKey::UpdateFeatures => Self::update_features,
            ApiKey::CreatePartitions => Self::create_partitions,
            ApiKey::ElectLeaders => Self::elect_leaders,
            ApiKey::AlterPartitionReassignments => Self::alter_partition_reassignments,
            ApiKey::ListPartitionReassignments => Self::list_partition_reassignments,
            ApiKey::DescribeQuorum => Self::describe_quorum,
            ApiKey::UnregisterBroker => Self::unregister_broker,
            ApiKey::DescribeTopicPartitions => Self::describe_topic_partitions,
            ApiKey::DescribeClientQuotas => |world, version| quotas::describe(world.broker, version),
            ApiKey::AlterClientQuotas => |world, version| quotas::alter(world.broker, version),
            ApiKey::DeleteRecords => Self::delete_records,
            ApiKey::DescribeLogDirs => Self::describe_log_dirs,
            ApiKey::AlterReplicaLogDirs => Self::alter_replica_log_dirs,
            ApiKey::DescribeProducers => Self::describe_producers,
            _ => return Asked::Nothing,
        })
    }

    fn api_versions(&self, version: i16) {
        let request =
            api_versions::Request { client_software_name: "skein-test".into(), client_software_version: "1.0".into() };
        let response = self.call(version, &request, |response| response.error_code);
        assert!(response.api_keys.iter().any(|api| api.api_key == ApiKey::ApiVersions as i16));
        if version < 4 {
            let from_zero = response.supported_features.iter().find(|feature| feature.min_version == 0);
            assert!(from_zero.is_none(), "old clients fail on {from_zero:?}");
        }
    }

    fn produce(&self, version: i16) {
        let topic = produce::RequestTopicData {
            name: if version < PRODUCE_BY_ID { self.topic.name.as_str().into() } else { "".into() },
            topic_id: self.topic.id,
            partition_data: vec![produce::RequestTopicDataPartitionData {
                index: 0,
                records: Some(self.records.as_slice().into()),
            }],
        };
        let request =
            produce::Request { acks: -1, timeout_ms: TIMEOUT_MS, topic_data: vec![topic], ..Default::default() };
        let before = self.broker.client().end(&self.topic.name, 0);
        let response = self.call(version, &request, |response| response.responses[0].partition_responses[0].error_code);
        let answer = &response.responses[0];
        match version < PRODUCE_BY_ID {
            true => assert_eq!(answer.name, self.topic.name),
            false => assert_eq!(answer.topic_id, self.topic.id),
        }
        assert_eq!(answer.partition_responses[0].base_offset, before, "v{version}");
        assert_eq!(answer.partition_responses[0].log_append_time_ms, -1, "v{version}");
        let start = if version < 5 { -1 } else { 0 };
        assert_eq!(answer.partition_responses[0].log_start_offset, start, "v{version}");
    }

    fn fetch(&self, version: i16) {
        let topic = fetch::RequestTopics {
            topic: if version < FETCH_BY_ID { self.topic.name.as_str().into() } else { "".into() },
            topic_id: self.topic.id,
            partitions: vec![fetch::RequestTopicsPartitions {
                fetch_offset: 0,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
        };
        let request = fetch::Request {
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let response = self.call(version, &request, |response| response.error_code);
        let partition = &only(only(response.responses).partitions);
        assert_eq!(partition.error_code, 0, "v{version}");
        let records = batch::records(partition.records.as_deref().unwrap_or_default());
        assert_eq!(records[1].value, b"two", "v{version}");
        assert!(partition.high_watermark >= 3, "v{version}");
    }

    fn list_offsets(&self, version: i16) {
        let topic = list_offsets::RequestTopics {
            name: self.topic.name.as_str().into(),
            partitions: vec![list_offsets::RequestTopicsPartitions {
                timestamp: batch::first_timestamp() + 1,
                ..Default::default()
            }],
        };
        let request =
            list_offsets::Request { replica_id: -1, topics: vec![topic], timeout_ms: 1000, ..Default::default() };
        let response = self.call(version, &request, |response| response.topics[0].partitions[0].error_code);
        let answer = &response.topics[0].partitions[0];
        assert_eq!((answer.offset, answer.timestamp), (1, batch::first_timestamp() + 1), "v{version}");
    }

    fn metadata(&self, version: i16) {
        let asked = metadata::RequestTopics { name: Some(self.topic.name.as_str().into()), ..Default::default() };
        let request =
            metadata::Request { topics: Some(vec![asked]), allow_auto_topic_creation: true, ..Default::default() };
        let response = self.call(version, &request, |response| response.topics[0].error_code);
        assert_eq!(response.brokers[0].port, i32::from(self.broker.address.port()), "v{version}");
        assert_eq!(response.topics[0].name.as_deref(), Some(self.topic.name.as_str()));
        assert_eq!(response.topics[0].partitions[0].leader_id, response.brokers[0].node_id);
        if version >= 2 {
            assert_eq!(response.cluster_id.as_deref().map(str::len), Some(22), "v{version}");
        }
        if version >= 10 {
            assert_eq!(response.topics[0].topic_id, self.topic.id, "v{version}");
        }
    }

    fn commit(&self, version: i16, group: &str) {
        let topic = offset_commit::RequestTopics {
            name: if version < OFFSETS_BY_ID { self.topic.name.as_str().into() } else { "".into() },
            topic_id: self.topic.id,
            partitions: vec![offset_commit::RequestTopicsPartitions {
                committed_offset: 2,
                committed_metadata: Some("note".into()),
                ..Default::default()
            }],
        };
        let request = offset_commit::Request {
            group_id: group.into(),
            generation_id_or_member_epoch: -1,
            retention_time_ms: -1,
            topics: vec![topic],
            ..Default::default()
        };
        self.call(version, &request, |response| response.topics[0].partitions[0].error_code);
    }

    fn offset_commit(&self, version: i16) {
        self.commit(version, &self.broker.group("commit"));
    }

    fn offset_fetch(&self, version: i16) {
        let group = self.broker.group("offsets");
        self.commit(8, &group);
        let old = offset_fetch::Request {
            group_id: group.as_str().into(),
            topics: Some(vec![offset_fetch::RequestTopics {
                name: self.topic.name.as_str().into(),
                partition_indexes: vec![0],
            }]),
            ..Default::default()
        };
        let asked = offset_fetch::RequestGroupsTopics {
            name: if version < OFFSETS_BY_ID { self.topic.name.as_str().into() } else { "".into() },
            topic_id: self.topic.id,
            partition_indexes: vec![0],
        };
        let asked = offset_fetch::RequestGroups {
            group_id: group.as_str().into(),
            member_epoch: -1,
            topics: Some(vec![asked]),
            ..Default::default()
        };
        let request =
            if version < 8 { old } else { offset_fetch::Request { groups: vec![asked], ..Default::default() } };
        let error = |response: &offset_fetch::Response<'_>| match version {
            ..8 => response.error_code,
            _ => response.groups[0].error_code,
        };
        let response = self.call(version, &request, error);
        let found = match version {
            ..8 => {
                let partition = &response.topics[0].partitions[0];
                (partition.error_code, partition.committed_offset, partition.metadata.clone())
            }
            _ => {
                let partition = &response.groups[0].topics[0].partitions[0];
                (partition.error_code, partition.committed_offset, partition.metadata.clone())
            }
        };
        assert_eq!(found, (0, 2, Some("note".into())), "v{version}");
    }

    fn find_coordinator(&self, version: i16) {
        let request = find_coordinator::Request {
            key: "group".into(),
            key_type: 0,
            coordinator_keys: vec!["group".into(), "other".into()],
        };
        let error = |response: &find_coordinator::Response<'_>| match version {
            ..4 => response.error_code,
            _ => response.coordinators[0].error_code,
        };
        let response = self.call(version, &request, error);
        let port = if version < 4 { response.port } else { response.coordinators[0].port };
        assert_eq!(port, i32::from(self.broker.address.port()), "v{version}");
        assert_eq!(response.coordinators.len(), if version < 4 { 0 } else { 2 });
    }

    fn join_request<'a>(&self, group: &'a str, member: &'a str) -> join_group::Request<'a> {
        join_group::Request {
            group_id: group.into(),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: SESSION_TIMEOUT_MS,
            member_id: member.into(),
            protocol_type: "consumer".into(),
            protocols: vec![join_group::RequestProtocols { name: "range".into(), metadata: vec![].into() }],
            ..Default::default()
        }
    }

    /// Joins a new group in a version of JoinGroup. From version 4 on that takes two requests.
    fn join(&self, version: i16, group: &str) -> (String, i32) {
        let first = self.join_request(group, "");
        let first = eventually("a coordinator", || {
            let response = self.broker.client().call(version, &first);
            (!is_passing(response.error_code)).then_some(response)
        });
        let joined = if version < 4 {
            first
        } else {
            assert_eq!(first.error_code, 79, "v{version}: the member id is required");
            self.call(version, &self.join_request(group, &first.member_id), |response| response.error_code)
        };
        assert_eq!((joined.error_code, joined.generation_id), (0, 1), "v{version}");
        assert_eq!(joined.leader, joined.member_id);
        assert_eq!(joined.members.len(), 1);
        (joined.member_id.into_owned(), joined.generation_id)
    }

    fn sync(&self, version: i16, group: &str, member: &str, generation: i32) {
        let assignment = sync_group::RequestAssignments { member_id: member.into(), assignment: b"mine"[..].into() };
        let request = sync_group::Request {
            group_id: group.into(),
            generation_id: generation,
            member_id: member.into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: vec![assignment],
            ..Default::default()
        };
        let response = self.call(version, &request, |response| response.error_code);
        assert_eq!(*response.assignment, *b"mine");
    }

    /// A stable group of one member.
    fn member(&self) -> (String, String, i32) {
        let group = self.broker.group("group");
        let (member, generation) = self.join(4, &group);
        self.sync(3, &group, &member, generation);
        (group, member, generation)
    }

    fn join_group(&self, version: i16) {
        self.join(version, &self.broker.group("join"));
    }

    fn sync_group(&self, version: i16) {
        let group = self.broker.group("sync");
        let (member, generation) = self.join(4, &group);
        self.sync(version, &group, &member, generation);
    }

    fn heartbeat(&self, version: i16) {
        let (group, member, generation_id) = self.member();
        let request = heartbeat::Request {
            group_id: group.into(),
            generation_id,
            member_id: member.into(),
            ..Default::default()
        };
        self.call(version, &request, |response| response.error_code);
    }

    fn leave_group(&self, version: i16) {
        let (group, member, _) = self.member();
        let request = leave_group::Request {
            group_id: group.into(),
            member_id: member.as_str().into(),
            members: vec![leave_group::RequestMembers { member_id: member.as_str().into(), ..Default::default() }],
        };
        let response = self.call(version, &request, |response| response.error_code);
        if version >= 3 {
            assert_eq!(only(response.members).error_code, 0, "v{version}");
        }
    }

    fn describe_groups(&self, version: i16) {
        let (group, member, _) = self.member();
        let request = describe_groups::Request { groups: vec![group.into()], ..Default::default() };
        let response = self.call(version, &request, |response| response.groups[0].error_code);
        let described = &response.groups[0];
        assert_eq!((&*described.group_state, &*described.protocol_data), ("Stable", "range"), "v{version}");
        assert_eq!(described.members[0].member_id, member);
        assert_eq!(*described.members[0].member_assignment, *b"mine");
    }

    fn list_groups(&self, version: i16) {
        let (group, ..) = self.member();
        let request = list_groups::Request {
            states_filter: if version < 4 { vec![] } else { vec!["Stable".into()] },
            types_filter: if version < 5 { vec![] } else { vec!["classic".into()] },
        };
        let response = self.call(version, &request, |response| response.error_code);
        assert!(response.groups.iter().any(|listed| listed.group_id == group), "v{version}");
    }

    fn delete_groups(&self, version: i16) {
        let group = self.broker.group("deleted");
        self.commit(8, &group);
        let request = delete_groups::Request { groups_names: vec![group.as_str().into()] };
        let response = self.call(version, &request, |response| response.results[0].error_code);
        assert_eq!(only(response.results).group_id, group, "v{version}");
    }

    fn offset_delete(&self, version: i16) {
        let group = self.broker.group("offset-delete");
        self.commit(8, &group);
        let topic = offset_delete::RequestTopics {
            name: self.topic.name.as_str().into(),
            partitions: vec![offset_delete::RequestTopicsPartitions { partition_index: 0 }],
        };
        let request = offset_delete::Request { group_id: group.as_str().into(), topics: vec![topic] };
        let response = self.call(version, &request, |response| response.error_code);
        let partition = only(only(response.topics).partitions);
        assert_eq!((partition.partition_index, partition.error_code), (0, 0), "v{version}");
    }

    fn create_request<'a>(&self, name: &'a str) -> create_topics::Request<'a> {
        let topic = create_topics::RequestTopics {
            name: name.into(),
            num_partitions: 2,
            replication_factor: 1,
            configs: vec![create_topics::RequestTopicsConfigs {
                name: "retention.ms".into(),
                value: Some("123456".into()),
            }],
            ..Default::default()
        };
        create_topics::Request { topics: vec![topic], timeout_ms: TIMEOUT_MS, validate_only: false }
    }

    fn create_topics(&self, version: i16) {
        let name = unique("created");
        let response = self.call(version, &self.create_request(&name), |response| response.topics[0].error_code);
        let created = &response.topics[0];
        assert_eq!(created.name, name);
        if version >= 5 {
            assert_eq!((created.num_partitions, created.replication_factor), (2, 1), "v{version}");
            let configs = created.configs.as_ref().expect("from version 5 on");
            let set = configs.iter().find(|config| config.name == "retention.ms").expect("it was set");
            assert_eq!((set.value.as_deref(), set.config_source), (Some("123456"), 1), "v{version}");
            assert!(configs.len() > 20, "v{version}: only {} configs", configs.len());
        }
        assert_eq!(created.topic_id.is_zero(), version < 7, "v{version}");
    }

    fn delete_topics(&self, version: i16) {
        let name = unique("deleted");
        self.call(7, &self.create_request(&name), |response| response.topics[0].error_code);
        let request = delete_topics::Request {
            topics: vec![delete_topics::RequestTopics { name: Some(name.as_str().into()), ..Default::default() }],
            topic_names: vec![name.as_str().into()],
            timeout_ms: TIMEOUT_MS,
        };
        let response = self.call(version, &request, |response| response.responses[0].error_code);
        assert_eq!(response.responses[0].name.as_deref(), Some(name.as_str()));
        // Kafka's answer may be ahead of its own metadata.
        eventually("the topic is gone", || (self.broker.client().metadata(&name).error_code == 3).then_some(()));
    }

    fn init_producer_id(&self, version: i16) {
        let request = init_producer_id::Request {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let response = self.call(version, &request, |response| response.error_code);
        assert!(response.producer_id >= 0);
        assert_eq!(response.producer_epoch, 0, "v{version}");
    }

    fn offset_for_leader_epoch(&self, version: i16) {
        let epoch = self.broker.client().metadata(&self.topic.name).partitions[0].leader_epoch;
        let topic = offset_for_leader_epoch::RequestTopics {
            topic: self.topic.name.as_str().into(),
            partitions: vec![offset_for_leader_epoch::RequestTopicsPartitions {
                partition: 0,
                current_leader_epoch: epoch,
                leader_epoch: epoch,
            }],
        };
        let request = offset_for_leader_epoch::Request { replica_id: -2, topics: vec![topic] };
        let response = self.call(version, &request, |response| response.topics[0].partitions[0].error_code);
        let answer = &response.topics[0].partitions[0];
        assert_eq!((answer.leader_epoch, answer.end_offset), (epoch, self.broker.client().end(&self.topic.name, 0)));
    }

    fn describe_configs(&self, version: i16) {
        let resource = describe_configs::RequestResources {
            resource_type: TOPIC_RESOURCE,
            resource_name: self.topic.name.as_str().into(),
            configuration_keys: None,
        };
        let request = describe_configs::Request {
            resources: vec![resource],
            include_synonyms: true,
            include_documentation: true,
        };
        let response = self.call(version, &request, |response| response.results[0].error_code);
        let configs = &response.results[0].configs;
        let policy = configs.iter().find(|config| config.name == "cleanup.policy").expect("topics have a policy");
        assert_eq!(policy.value.as_deref(), Some("delete"), "v{version}");
        assert!(!policy.synonyms.is_empty(), "v{version}");
        if version >= 3 {
            assert!(policy.documentation.is_some() && policy.config_type != 0, "v{version}");
        }
    }

    fn describe_cluster(&self, version: i16) {
        let request = describe_cluster::Request { endpoint_type: 1, ..Default::default() };
        let response = self.call(version, &request, |response| response.error_code);
        assert_eq!(response.cluster_id.len(), 22, "v{version}");
        assert_eq!(only(response.brokers).port, i32::from(self.broker.address.port()), "v{version}");
    }
}

/// How an API is asked.
enum Asked<'b> {
    By(fn(&World<'b>, i16)),
    Nothing,
}

#[test]
fn an_unknown_version_of_api_versions_gets_the_known_ones_in_version_0() {
    let Some(broker) = Broker::get("unknown version") else { return };
    for version in [-1_i16, 99] {
        let mut client = broker.client();
        // Key, version, correlation id, no client id; from version 3 on a byte of tagged fields.
        let mut frame = vec![0, 18];
        frame.extend(version.to_be_bytes());
        frame.extend([0, 0, 0, 7, 0xff, 0xff]);
        if version >= 3 {
            frame.push(0);
        }
        client.write(&crate::support::client::framed(&frame));
        let (id, response) = client.receive::<api_versions::Request<'_>>(0);
        assert_eq!((id, response.error_code), (7, 35), "version {version}");
        let own = only(response.api_keys);
        assert_eq!((own.api_key, own.min_version, own.max_version), (18, 0, 4), "version {version}");
        // The connection goes on.
        client.call(0, &api_versions::Request::default());
    }
}

#[test]
fn an_unknown_version_of_api_versions_without_its_tag_byte_closes() {
    let Some(broker) = Broker::get("unknown version, cut") else { return };
    let mut client = broker.client();
    client.write(&crate::support::client::framed(&[0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff]));
    client.assert_closed();
}

#[test]
fn a_malformed_client_name_gets_invalid_request() {
    let Some(broker) = Broker::get("client name") else { return };
    for (name, version) in [("", "1"), ("a b", "1"), ("a", ""), ("-a", "1"), ("a", "1-")] {
        let request =
            api_versions::Request { client_software_name: name.into(), client_software_version: version.into() };
        let response = broker.client().call(3, &request);
        assert_eq!(response.error_code, 42, "{name:?} {version:?}");
    }
}

#[test]
fn what_is_no_known_request_closes_its_own_connection_only() {
    let Some(broker) = Broker::get("unknown requests") else { return };
    let mut other = broker.client();
    let header = |key: i16, version: i16| {
        let mut frame = [key.to_be_bytes(), version.to_be_bytes()].concat();
        frame.extend([0, 0, 0, 1, 0xff, 0xff]);
        frame
    };
    let mut cut = header(3, 1);
    cut.extend([0, 0, 0, 9]);
    let mut longer = header(18, 0);
    longer.extend([1, 2, 3]);
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("an unknown key", header(999, 0), "999"),
        ("an unknown version", [header(3, 99), vec![0]].concat(), "version 99 of Metadata"),
        ("a negative version", header(3, -1), "version -1 of Metadata"),
        ("a body that is cut", cut, "Metadata"),
        ("an empty frame", vec![], "request cannot be decoded"),
        ("half a header", vec![0, 3, 0], "request cannot be decoded"),
    ];
    for (what, frame, logged) in cases {
        let mut client: Client = broker.client();
        client.write(&crate::support::client::framed(&frame));
        client.assert_closed();
        other.call(0, &api_versions::Request::default());
        if let Some(node) = broker.node() {
            eventually(what, || node.log().contains(logged).then_some(()));
        }
    }
}
