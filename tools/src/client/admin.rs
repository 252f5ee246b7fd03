//! What brokers can be asked and told besides records: topics, configurations, offsets, groups.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use net::api::{
    consumer_group_describe, create_topics, delete_topics, describe_cluster, describe_configs, describe_groups,
    list_groups, list_offsets, offset_fetch,
};
use net::{ApiKey, Uuid};

use super::cluster::{Cluster, Node};
use super::code::Code;
use super::consumer_protocol::{self, PROTOCOL_TYPE};
use super::error::{Error, Result};
use super::settings::Isolation;

/// [`list_offsets`]: the offset of the first record.
pub const EARLIEST: i64 = -2;
/// [`list_offsets`]: the offset after the last record.
pub const LATEST: i64 = -1;

/// DescribeConfigs' number for topics.
const RESOURCE_TOPIC: i8 = 2;
/// DescribeConfigs' number for a value that the topic itself has.
const SOURCE_TOPIC: i8 = 1;
/// DescribeConfigs' number for a value that nothing set.
const SOURCE_DEFAULT: i8 = 5;

/// A partition by its topic's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition's number.
    pub index: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

/// A topic to be made.
#[derive(Debug, Clone)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Its number of partitions, -1 for the broker's default.
    pub partitions: i32,
    /// Its number of replicas, -1 for the broker's default.
    pub replicas: i16,
    /// Its properties.
    pub configs: Vec<(String, String)>,
}

/// A topic that was made.
#[derive(Debug, Clone)]
pub struct CreatedTopic {
    /// Its id; [`Uuid::ZERO`] from brokers that know none.
    pub id: Uuid,
    /// Its number of partitions, if the broker says it.
    pub partitions: Option<i32>,
    /// Its number of replicas, if the broker says it.
    pub replicas: Option<i16>,
}

/// Makes a topic.
///
/// # Errors
/// If the broker refuses.
pub fn create_topic(cluster: &mut Cluster, new: &NewTopic) -> Result<CreatedTopic> {
    let timeout_ms = cluster.settings().request_timeout.as_millis() as i32;
    // Brokers before 2.4 have no defaults to offer (KIP-464).
    let has_defaults = cluster.version(Node::Controller, ApiKey::CreateTopics)?.is_none_or(|version| version >= 4);
    let given = |count: i32| if count == -1 && !has_defaults { 1 } else { count };
    let config = |(name, value): &(String, String)| create_topics::RequestTopicsConfigs {
        name: name.clone().into(),
        value: Some(value.clone().into()),
    };
    let request = create_topics::Request {
        topics: vec![create_topics::RequestTopics {
            name: new.name.as_str().into(),
            num_partitions: given(new.partitions),
            replication_factor: given(new.replicas.into()) as i16,
            assignments: Vec::new(),
            configs: new.configs.iter().map(config).collect(),
        }],
        timeout_ms,
        validate_only: false,
    };
    cluster.retry(|cluster| {
        let answer = cluster.call(Node::Controller, &request)?;
        let response: create_topics::Response<'_> = answer.read()?;
        let topic = response.topics.into_iter().next().unwrap_or_default();
        refused(topic.error_code, topic.error_message, || format!("create topic {:?}", new.name))?;
        Ok(CreatedTopic {
            id: topic.topic_id,
            partitions: Some(topic.num_partitions).filter(|&count| count > 0),
            replicas: Some(topic.replication_factor).filter(|&count| count > 0),
        })
    })
}

/// Deletes a topic.
///
/// # Errors
/// If the broker refuses.
pub fn delete_topic(cluster: &mut Cluster, name: &str) -> Result<()> {
    let request = delete_topics::Request {
        topics: vec![delete_topics::RequestTopics { name: Some(name.into()), topic_id: Uuid::ZERO }],
        topic_names: vec![name.into()],
        timeout_ms: cluster.settings().request_timeout.as_millis() as i32,
    };
    let answer = cluster.call(Node::Controller, &request)?;
    let response: delete_topics::Response<'_> = answer.read()?;
    let topic = response.responses.into_iter().next().unwrap_or_default();
    refused(topic.error_code, topic.error_message, || format!("delete topic {name:?}"))
}

/// One property of a topic.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// Its value; secrets have none.
    pub value: Option<String>,
    /// Where the value comes from, in Kafka's numbers.
    source: i8,
    /// Whether it is what nothing set would be.
    is_default: bool,
    /// What the broker says about the property.
    pub documentation: Option<String>,
}

impl Config {
    /// A property that the topic itself has.
    pub fn new(name: &str, value: Option<&str>, documentation: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            source: SOURCE_TOPIC,
            is_default: false,
            documentation: documentation.map(str::to_owned),
        }
    }

    /// Whether nothing set it, or the broker to what it is anyway.
    pub fn is_default(&self) -> bool {
        self.is_default
    }

    /// Whether the topic itself has the value, not its broker.
    pub fn is_of_topic(&self) -> bool {
        self.source == SOURCE_TOPIC
    }
}

/// The properties of a topic, by name.
///
/// # Errors
/// If the broker refuses.
pub fn topic_configs(cluster: &mut Cluster, topic: &str) -> Result<Vec<Config>> {
    let request = describe_configs::Request {
        resources: vec![describe_configs::RequestResources {
            resource_type: RESOURCE_TOPIC,
            resource_name: topic.into(),
            configuration_keys: None,
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    let answer = cluster.call(Node::Any, &request)?;
    let response: describe_configs::Response<'_> = answer.read()?;
    let result = response.results.into_iter().next().unwrap_or_default();
    refused(result.error_code, result.error_message, || format!("describe the configuration of topic {topic:?}"))?;
    let mut configs: Vec<Config> = result
        .configs
        .into_iter()
        .map(|config| Config {
            is_default: is_default(&config),
            name: config.name.into_owned(),
            value: config.value.map(Cow::into_owned),
            source: config.config_source,
            documentation: config.documentation.map(Cow::into_owned).filter(|text| !text.is_empty()),
        })
        .collect();
    configs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(configs)
}

fn is_default(config: &describe_configs::ResponseResultsConfigs<'_>) -> bool {
    let default = config.synonyms.iter().find(|synonym| synonym.source == SOURCE_DEFAULT);
    let is_same = default.is_some_and(|default| default.value == config.value);
    config.config_source == SOURCE_DEFAULT || (config.config_source != SOURCE_TOPIC && is_same)
}

/// Asks the partitions' leaders for offsets: the first one whose record has at least the timestamp (-1 if none has),
/// or [`EARLIEST`] or [`LATEST`].
///
/// # Errors
/// If a partition has no leader for too long, or a leader refuses.
pub fn list_offsets(
    cluster: &mut Cluster,
    partitions: &[TopicPartition],
    timestamp: i64,
    isolation: Isolation,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let mut offsets = BTreeMap::new();
    cluster.retry(|cluster| {
        let missing: Vec<&TopicPartition> = partitions.iter().filter(|p| !offsets.contains_key(*p)).collect();
        let mut by_leader: BTreeMap<i32, Vec<&TopicPartition>> = BTreeMap::new();
        let mut failure = None;
        for partition in missing {
            match cluster.leader(&partition.topic, partition.index) {
                Some((leader, _)) => by_leader.entry(leader).or_default().push(partition),
                None => failure = Some((partition, Code::LEADER_NOT_AVAILABLE)),
            }
        }
        for (leader, partitions) in by_leader {
            let answer = cluster.call(Node::Id(leader), &list_offsets_request(&partitions, timestamp, isolation))?;
            let response: list_offsets::Response<'_> = answer.read()?;
            for topic in response.topics {
                for found in topic.partitions {
                    let named = |p: &&&TopicPartition| *p.topic == *topic.name && p.index == found.partition_index;
                    let Some(&partition) = partitions.iter().find(named) else { continue };
                    match Code(found.error_code).ok() {
                        Ok(()) => drop(offsets.insert(partition.clone(), found.offset)),
                        Err(code) => failure = Some((partition, code)),
                    }
                }
            }
        }
        let Some((partition, code)) = failure else { return Ok(()) };
        cluster.refresh_topics(&[partition.topic.to_string()])?;
        Err(Error::Refused { what: format!("find offsets of {partition}"), code, message: None })
    })?;
    Ok(offsets)
}

fn list_offsets_request<'a>(
    partitions: &[&'a TopicPartition],
    timestamp: i64,
    isolation: Isolation,
) -> list_offsets::Request<'a> {
    let mut topics: BTreeMap<&'a str, Vec<list_offsets::RequestTopicsPartitions>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(list_offsets::RequestTopicsPartitions {
            partition_index: partition.index,
            timestamp,
            ..Default::default()
        });
    }
    let topic = |(name, partitions): (&'a str, _)| list_offsets::RequestTopics { name: name.into(), partitions };
    list_offsets::Request {
        replica_id: -1,
        isolation_level: isolation.wire(),
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    }
}

/// The cluster's brokers that are fenced, if the cluster says so (KIP-1073); they are not in its metadata.
///
/// # Errors
/// If no broker answers.
pub fn fenced_brokers(cluster: &mut Cluster) -> Result<Vec<i32>> {
    if cluster.version(Node::Any, ApiKey::DescribeCluster)?.is_none_or(|version| version < 2) {
        return Ok(Vec::new());
    }
    let request = describe_cluster::Request { include_fenced_brokers: true, ..Default::default() };
    let answer = cluster.call(Node::Any, &request)?;
    let response: describe_cluster::Response<'_> = answer.read()?;
    Ok(response.brokers.iter().filter(|broker| broker.is_fenced).map(|broker| broker.broker_id).collect())
}

/// A group as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedGroup {
    /// Its id.
    pub id: String,
    /// Its state, if the broker says it.
    pub state: Option<String>,
    /// The members' protocol, `consumer` for consumers; empty for groups that only commit.
    pub protocol_type: String,
    /// How the broker runs it: `classic`, `consumer`, `share`; if it says so.
    pub kind: Option<String>,
}

/// All groups of all brokers, by id.
///
/// # Errors
/// If a broker does not answer, or refuses.
pub fn groups(cluster: &mut Cluster) -> Result<Vec<ListedGroup>> {
    let brokers: Vec<i32> = cluster.brokers().map(|broker| broker.id).collect();
    let mut groups = Vec::new();
    for broker in brokers {
        cluster.retry(|cluster| {
            let answer = cluster.call(Node::Id(broker), &list_groups::Request::default())?;
            let response: list_groups::Response<'_> = answer.read()?;
            refused(response.error_code, None, || format!("list the groups of broker {broker}"))?;
            let said = |text: Cow<'_, str>| Some(text.into_owned()).filter(|text| !text.is_empty());
            groups.extend(response.groups.into_iter().map(|group| ListedGroup {
                id: group.group_id.into_owned(),
                state: said(group.group_state),
                protocol_type: group.protocol_type.into_owned(),
                kind: said(group.group_type),
            }));
            Ok(())
        })?;
    }
    groups.sort();
    groups.dedup();
    Ok(groups)
}

/// A group with its members.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its state: `Stable`, `Empty`, …
    pub state: String,
    /// The assignor that all members have in common; empty without members.
    pub assignor: String,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// One member of a group.
#[derive(Debug, Clone)]
pub struct GroupMember {
    /// Its id.
    pub id: String,
    /// Its static name.
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// Its partitions by topic.
    pub assignment: BTreeMap<String, Vec<i32>>,
}

/// A group with its members; `None` if there is none of that name.
///
/// # Errors
/// If its coordinator does not answer, or refuses.
pub fn group(cluster: &mut Cluster, name: &str) -> Result<Option<Group>> {
    let coordinator = cluster.coordinator(name)?;
    let request = describe_groups::Request { groups: vec![name.into()], ..Default::default() };
    let classic = cluster.retry(|cluster| {
        let answer = cluster.call(Node::Id(coordinator), &request)?;
        let response: describe_groups::Response<'_> = answer.read()?;
        let group = response.groups.into_iter().next().unwrap_or_default();
        if Code(group.error_code) == Code::GROUP_ID_NOT_FOUND {
            return Ok(None);
        }
        refused(group.error_code, group.error_message, || format!("describe group {name:?}"))?;
        let is_consumer = group.protocol_type == PROTOCOL_TYPE;
        let member = |member: describe_groups::ResponseGroupsMembers<'_>| GroupMember {
            id: member.member_id.into_owned(),
            instance_id: member.group_instance_id.map(Cow::into_owned),
            client_id: member.client_id.into_owned(),
            host: member.client_host.trim_start_matches('/').to_owned(),
            assignment: match is_consumer {
                // What another client wrote into its assignment is its own affair.
                true => consumer_protocol::decode_assignment(&member.member_assignment).unwrap_or_default(),
                false => BTreeMap::new(),
            },
        };
        Ok(Some(Group {
            state: group.group_state.into_owned(),
            assignor: group.protocol_data.into_owned(),
            members: group.members.into_iter().map(member).collect(),
        }))
    })?;
    match classic.filter(|group| group.state != "Dead") {
        Some(group) => Ok(Some(group)),
        None => consumer_group(cluster, name, coordinator),
    }
}

/// A group of the newer protocol (KIP-848), which DescribeGroups does not know.
fn consumer_group(cluster: &mut Cluster, name: &str, coordinator: i32) -> Result<Option<Group>> {
    let node = Node::Id(coordinator);
    if cluster.version(node, ApiKey::ConsumerGroupDescribe)?.is_none() {
        return Ok(None);
    }
    let request = consumer_group_describe::Request { group_ids: vec![name.into()], ..Default::default() };
    let answer = cluster.call(node, &request)?;
    let response: consumer_group_describe::Response<'_> = answer.read()?;
    let group = response.groups.into_iter().next().unwrap_or_default();
    if Code(group.error_code) == Code::GROUP_ID_NOT_FOUND {
        return Ok(None);
    }
    refused(group.error_code, group.error_message, || format!("describe group {name:?}"))?;
    let member = |member: consumer_group_describe::ResponseGroupsMembers<'_>| GroupMember {
        id: member.member_id.into_owned(),
        instance_id: member.instance_id.map(Cow::into_owned),
        client_id: member.client_id.into_owned(),
        host: member.client_host.trim_start_matches('/').to_owned(),
        assignment: member
            .assignment
            .topic_partitions
            .into_iter()
            .map(|topic| (topic.topic_name.into_owned(), topic.partitions))
            .collect(),
    };
    Ok(Some(Group {
        state: group.group_state.into_owned(),
        assignor: group.assignor_name.into_owned(),
        members: group.members.into_iter().map(member).collect(),
    }))
}

/// The offsets that a group has committed, of all its partitions.
///
/// # Errors
/// If its coordinator does not answer, or refuses.
pub fn committed_offsets(cluster: &mut Cluster, group: &str) -> Result<BTreeMap<TopicPartition, i64>> {
    let coordinator = cluster.coordinator(group)?;
    let request = offset_fetch::Request {
        group_id: group.into(),
        topics: None,
        groups: vec![offset_fetch::RequestGroups { group_id: group.into(), topics: None, ..Default::default() }],
        ..Default::default()
    };
    cluster.retry(|cluster| {
        let answer = cluster.call(Node::Id(coordinator), &request)?;
        let response: offset_fetch::Response<'_> = answer.read()?;
        let what = || format!("read the committed offsets of group {group:?}");
        refused(response.error_code, None, what)?;
        let mut offsets = BTreeMap::new();
        for topic in response.topics {
            for partition in topic.partitions {
                refused(partition.error_code, None, what)?;
                insert_committed(&mut offsets, &topic.name, partition.partition_index, partition.committed_offset);
            }
        }
        for group in response.groups {
            refused(group.error_code, None, what)?;
            for topic in group.topics {
                for partition in topic.partitions {
                    refused(partition.error_code, None, what)?;
                    insert_committed(&mut offsets, &topic.name, partition.partition_index, partition.committed_offset);
                }
            }
        }
        Ok(offsets)
    })
}

fn insert_committed(offsets: &mut BTreeMap<TopicPartition, i64>, topic: &str, index: i32, offset: i64) {
    if offset >= 0 {
        offsets.insert(TopicPartition { topic: topic.into(), index }, offset);
    }
}

/// Success, or the refusal that an answer carries.
pub(super) fn refused(code: i16, message: Option<Cow<'_, str>>, what: impl FnOnce() -> String) -> Result<()> {
    Code(code).ok().map_err(|code| Error::Refused { what: what(), code, message: message.map(Cow::into_owned) })
}
