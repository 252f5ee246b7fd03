//! Configurations: what is set on topics, brokers, groups and subscriptions to clients' metrics.

use std::borrow::Cow;
use std::fmt;

use net::ApiKey;
use net::api::{describe_configs, incremental_alter_configs, list_config_resources};

use super::admin::refused;
use super::cluster::{Cluster, Node};
use super::error::{Error, Result};

/// Resources that one request describes.
const DESCRIBED_MAX: usize = 100;

/// The first version of ListConfigResources that knows other types than clients' metrics.
const TYPES_SINCE: i16 = 1;

/// A type of what has a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A topic.
    Topic,
    /// A broker, by its id.
    Broker,
    /// All brokers together.
    BrokerDefault,
    /// A group.
    Group,
    /// A subscription to clients' metrics (KIP-714).
    ClientMetrics,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::Topic, Kind::Broker, Kind::BrokerDefault, Kind::Group, Kind::ClientMetrics];

    fn wire(self) -> i8 {
        match self {
            Kind::Topic => 2,
            Kind::Broker | Kind::BrokerDefault => 4,
            Kind::ClientMetrics => 16,
            Kind::Group => 32,
        }
    }

    /// The source of values that are set on such a resource itself.
    fn own_source(self) -> i8 {
        match self {
            Kind::Topic => 1,
            Kind::Broker => 2,
            Kind::BrokerDefault => 3,
            Kind::ClientMetrics => 7,
            Kind::Group => 8,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Topic => "topic",
            Kind::Broker => "broker",
            Kind::BrokerDefault => "broker-default",
            Kind::Group => "group",
            Kind::ClientMetrics => "client-metrics",
        })
    }
}

/// What has a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// Its type.
    pub kind: Kind,
    /// Its name; empty for all brokers together.
    pub name: String,
}

impl Resource {
    /// The broker that knows: itself, for a broker.
    fn node(&self) -> Node {
        match (self.kind, self.name.parse()) {
            (Kind::Broker, Ok(id)) => Node::Id(id),
            _ => Node::Any,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::BrokerDefault => f.write_str("the default of all brokers"),
            Kind::ClientMetrics => write!(f, "client metrics subscription {:?}", self.name),
            kind => write!(f, "{kind} {:?}", self.name),
        }
    }
}

/// A property with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Its value; secrets have none.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: &'static str,
    /// Whether the resource itself has the value.
    pub is_own: bool,
    /// Whether it changes only with a start of the broker.
    pub is_read_only: bool,
    /// Whether it is a secret.
    pub is_secret: bool,
    /// What the broker says about it.
    pub documentation: Option<String>,
}

/// What is to become of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It gets this value.
    Set(String),
    /// It is no longer set.
    Unset,
    /// These items join those of a list.
    Append(String),
    /// These items leave a list.
    Subtract(String),
}

/// All properties of resources that one broker knows, in their order, each by name.
///
/// # Errors
/// If the broker refuses one of them.
pub fn describe(cluster: &mut Cluster, resources: &[Resource]) -> Result<Vec<Vec<Property>>> {
    let mut described = Vec::with_capacity(resources.len());
    for some in resources.chunks(DESCRIBED_MAX) {
        let Some(first) = some.first() else { continue };
        let request = describe_configs::Request {
            resources: some.iter().map(described_resource).collect(),
            include_synonyms: false,
            include_documentation: true,
        };
        let answer = cluster.call(first.node(), &request)?;
        let response: describe_configs::Response<'_> = answer.read()?;
        for (resource, result) in some.iter().zip(response.results) {
            refused(result.error_code, result.error_message, || format!("read the configuration of {resource}"))?;
            let mut properties: Vec<Property> =
                result.configs.into_iter().map(|config| property(resource.kind, config)).collect();
            properties.sort_by(|a, b| a.name.cmp(&b.name));
            described.push(properties);
        }
    }
    Ok(described)
}

fn described_resource(resource: &Resource) -> describe_configs::RequestResources<'_> {
    describe_configs::RequestResources {
        resource_type: resource.kind.wire(),
        resource_name: resource.name.as_str().into(),
        configuration_keys: None,
    }
}

fn property(kind: Kind, config: describe_configs::ResponseResultsConfigs<'_>) -> Property {
    Property {
        name: config.name.into_owned(),
        value: config.value.map(Cow::into_owned),
        source: match config.config_source {
            1 => "topic",
            2 => "broker",
            3 => "broker-default",
            4 => "start",
            5 => "default",
            7 => "client-metrics",
            8 => "group",
            _ => "unknown",
        },
        is_own: config.config_source == kind.own_source(),
        is_read_only: config.read_only,
        is_secret: config.is_sensitive,
        documentation: config.documentation.map(Cow::into_owned).filter(|text| !text.is_empty()),
    }
}

/// Changes properties of a resource; with `dry_run` it is only checked that they could be.
///
/// # Errors
/// If the broker refuses; nothing is changed then.
pub fn alter(cluster: &mut Cluster, resource: &Resource, changes: &[(String, Change)], dry_run: bool) -> Result<()> {
    let config = |(name, change): &(String, Change)| {
        let (config_operation, value) = match change {
            Change::Set(value) => (0, Some(value.clone().into())),
            Change::Unset => (1, None),
            Change::Append(items) => (2, Some(items.clone().into())),
            Change::Subtract(items) => (3, Some(items.clone().into())),
        };
        incremental_alter_configs::RequestResourcesConfigs { name: name.clone().into(), config_operation, value }
    };
    let request = incremental_alter_configs::Request {
        resources: vec![incremental_alter_configs::RequestResources {
            resource_type: resource.kind.wire(),
            resource_name: resource.name.as_str().into(),
            configs: changes.iter().map(config).collect(),
        }],
        validate_only: dry_run,
    };
    let node = match resource.node() {
        Node::Any => Node::Controller,
        node => node,
    };
    cluster.retry(|cluster| {
        let answer = cluster.call(node, &request)?;
        let response: incremental_alter_configs::Response<'_> = answer.read()?;
        let row = response.responses.into_iter().next().unwrap_or_default();
        refused(row.error_code, row.error_message, || format!("change the configuration of {resource}"))
    })
}

/// The resources of these types that have or could have a configuration, by type and name. Brokers that cannot list
/// groups or subscriptions have none of them.
///
/// # Errors
/// If a broker refuses.
pub fn resources(cluster: &mut Cluster, kinds: &[Kind]) -> Result<Vec<Resource>> {
    let mut resources = Vec::new();
    let version = cluster.version(Node::Any, ApiKey::ListConfigResources)?;
    for &kind in kinds {
        match kind {
            Kind::Topic => {
                let topics = cluster.all_topics()?;
                resources.extend(topics.into_iter().map(|topic| Resource { kind, name: topic.name.to_string() }));
            }
            Kind::Broker => {
                resources.extend(cluster.brokers().map(|broker| Resource { kind, name: broker.id.to_string() }));
            }
            Kind::BrokerDefault => resources.push(Resource { kind, name: String::new() }),
            Kind::Group if version.is_none_or(|version| version < TYPES_SINCE) => {}
            Kind::ClientMetrics if version.is_none() => {}
            Kind::Group | Kind::ClientMetrics => resources.extend(listed(cluster, kind)?),
        }
    }
    resources.sort();
    Ok(resources)
}

fn listed(cluster: &mut Cluster, kind: Kind) -> Result<Vec<Resource>> {
    let request = list_config_resources::Request { resource_types: vec![kind.wire()] };
    let answer = cluster.call(Node::Any, &request)?;
    let response: list_config_resources::Response<'_> = answer.read()?;
    refused(response.error_code, None, || format!("list what is set on {kind}s"))?;
    let of_kind = response.config_resources.into_iter().filter(|listed| listed.resource_type == kind.wire());
    Ok(of_kind.map(|listed| Resource { kind, name: listed.resource_name.into_owned() }).collect())
}

/// Whether a failure says that there is no such topic.
pub fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::Refused { code, .. } if *code == super::Code(3))
}
