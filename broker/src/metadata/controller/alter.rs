//! Changing what is set on topics, brokers, groups and subscriptions to clients' metrics (KIP-133, KIP-339).

use std::collections::BTreeMap;
use std::fmt;

use super::{Change, Controller, apply};
use crate::config::{self, Edit, NoList, NotDynamic, Overrides};
use crate::metadata::create::Refusal;
use crate::metadata::image::Image;
use crate::metadata::names;
use crate::metadata::record::Record;

/// The most bytes of names and values that may be set on one resource: it is one record of the metadata log.
const RESOURCE_BYTES_MAX: usize = 1 << 20;

/// The most bytes of names and values that one request may leave on its resources: they are one append to the
/// metadata log.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// The most groups on which something is set: it is in memory on every shard.
const GROUPS_MAX: usize = 100_000;

/// The most subscriptions to clients' metrics: each client is compared with all of them.
const SUBSCRIPTIONS_MAX: usize = 1_000;

/// What things are set on, as a client names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource<'a> {
    /// A topic, by name.
    Topic(&'a str),
    /// A broker by its id, or all of them by the empty name.
    Broker(&'a str),
    /// A broker's loggers, by its id.
    BrokerLogger(&'a str),
    /// A subscription to clients' metrics, by name.
    ClientMetrics(&'a str),
    /// A group, by id.
    Group(&'a str),
    /// A type that has no configuration, by its number.
    Other(i8, &'a str),
}

/// What a client wants to be set on one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alteration<'a> {
    /// The resource.
    pub resource: Resource<'a>,
    /// Whether everything that is not named here is to be unset first.
    pub replace: bool,
    /// What is to become of each property, in the client's order; what is wrong in itself says so.
    pub edits: Vec<(&'a str, Result<Edit<'a>, Unclear>)>,
}

/// Why an edit says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unclear {
    /// It needs a value and has none.
    NoValue,
    /// There is no operation of that number.
    Operation(i8),
}

/// Why nothing is changed on a resource. The text is for the client's user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAltered {
    /// The request names the resource more than once.
    Duplicate,
    /// The request names a property of the resource more than once.
    DuplicateNames {
        /// The property.
        name: String,
    },
    /// An edit says nothing.
    Unclear {
        /// The property.
        name: String,
        /// Why.
        why: Unclear,
    },
    /// The type of resource has no configuration.
    ResourceType(i8),
    /// The resource has no name.
    NoName {
        /// What is one of them called.
        what: &'static str,
    },
    /// The topic's name is impossible.
    IllegalName(Box<Refusal>),
    /// There is no topic of that name.
    UnknownTopic {
        /// The name.
        name: String,
    },
    /// Items were to join or leave what is no list.
    NoList(NoList),
    /// A name or value is impossible.
    Refused(config::Refused),
    /// A broker's property does not change while it runs.
    NotDynamic(NotDynamic),
    /// That is no broker's id.
    NoBrokerId {
        /// The name as given.
        name: String,
    },
    /// That broker is another one.
    OtherBroker {
        /// This broker.
        this: i32,
        /// The one that was asked for.
        asked: i32,
    },
    /// Levels of loggers are chosen at the start.
    Loggers,
    /// There are as many as there can be.
    TooMany {
        /// What they are called.
        what: &'static str,
        /// How many there can be.
        count_max: usize,
    },
    /// More is set than fits.
    TooLarge {
        /// How many bytes.
        bytes: usize,
        /// How many fit.
        bytes_max: usize,
    },
}

impl fmt::Display for NotAltered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAltered::Duplicate => f.write_str("Each resource must appear at most once in a request."),
            NotAltered::DuplicateNames { name } => write!(f, "{name} is in the request more than once."),
            NotAltered::Unclear { name, why: Unclear::NoValue } => write!(f, "Null value not supported for {name}"),
            NotAltered::Unclear { name, why: Unclear::Operation(number) } => write!(
                f,
                "Operation {number} on {name} does not exist; 0 sets, 1 deletes, 2 appends to a list, 3 subtracts \
                 from it."
            ),
            NotAltered::ResourceType(number) => write!(
                f,
                "Resource type {number} has no configuration; 2 is topics, 4 brokers, 8 a broker's loggers, 16 client \
                 metrics, 32 groups."
            ),
            NotAltered::NoName { what } => write!(f, "The name of the {what} is empty, and there is no default one."),
            NotAltered::IllegalName(refusal) => refusal.fmt(f),
            NotAltered::UnknownTopic { name } => write!(f, "There is no topic \"{name}\"."),
            NotAltered::NoList(NoList { name, operation }) => write!(f, "Can't {operation} to {name}: it is no list."),
            NotAltered::Refused(refused) => refused.fmt(f),
            NotAltered::NotDynamic(refused) => refused.fmt(f),
            NotAltered::NoBrokerId { name } => write!(f, "Node id must be an integer, but it is: {name}"),
            NotAltered::OtherBroker { this, asked } => {
                write!(f, "Unexpected broker id, expected {this}, but received {asked}")
            }
            NotAltered::Loggers => f.write_str(
                "Levels of loggers are chosen when the node starts, by --log; they do not change while it runs.",
            ),
            NotAltered::TooMany { what, count_max } => {
                write!(
                    f,
                    "There are {count_max} {what} with a configuration, and that is the limit: remove another one first."
                )
            }
            NotAltered::TooLarge { bytes, bytes_max } => write!(
                f,
                "{bytes} bytes of names and values would be set, and no more than {bytes_max} fit; set less, or split \
                 the request."
            ),
        }
    }
}

/// What became of a wish to change what is set.
#[derive(Debug, Clone)]
pub struct AlterConfigs {
    /// A result for each resource, in the order of the request.
    pub results: Vec<Result<(), NotAltered>>,
    /// What to append, if anything changes.
    pub change: Option<Change>,
}

impl Controller {
    /// Changes what is set on resources, each on its own: one that is refused does not keep the others from being
    /// changed.
    pub fn alter_configs(&mut self, wanted: &[Alteration<'_>], validate_only: bool) -> AlterConfigs {
        let mut times: BTreeMap<Resource<'_>, u32> = BTreeMap::new();
        for alteration in wanted {
            *times.entry(alteration.resource).or_default() += 1;
        }
        let mut image = Image::clone(&self.newest);
        let (mut records, mut results, mut bytes) = (Vec::new(), Vec::with_capacity(wanted.len()), 0);
        for alteration in wanted {
            let record = match times[&alteration.resource] {
                1 => alter(&image, alteration),
                _ => Err(NotAltered::Duplicate),
            };
            let result = record.and_then(|record| {
                let Some((record, size)) = record else { return Ok(()) };
                bytes += size;
                fits(bytes, REQUEST_BYTES_MAX)?;
                apply(&mut image, &record);
                records.push(record);
                Ok(())
            });
            results.push(result);
        }
        let stored = !validate_only && !records.is_empty();
        AlterConfigs { results, change: stored.then(|| self.accept(records, image)) }
    }
}

/// What is to become of each property.
type Edits<'a> = BTreeMap<&'a str, Edit<'a>>;

/// The record that makes a change and the bytes it holds; nothing where everything is as wanted.
type Decided = Result<Option<(Record, usize)>, NotAltered>;

fn alter(image: &Image, alteration: &Alteration<'_>) -> Decided {
    let edits = clear(alteration)?;
    match alteration.resource {
        Resource::Topic(name) => alter_topic(image, name, alteration.replace, &edits),
        Resource::Broker(name) => alter_broker(image, name, alteration.replace, &edits),
        Resource::BrokerLogger(name) => {
            this_broker(image, name)?;
            Err(NotAltered::Loggers)
        }
        Resource::ClientMetrics(name) => alter_client_metrics(image, name, alteration.replace, &edits),
        Resource::Group(group) => alter_group(image, group, alteration.replace, &edits),
        Resource::Other(number, _) => Err(NotAltered::ResourceType(number)),
    }
}

/// The edits, each property at most once.
fn clear<'a>(alteration: &Alteration<'a>) -> Result<Edits<'a>, NotAltered> {
    let mut edits = BTreeMap::new();
    for &(name, edit) in &alteration.edits {
        let edit = edit.map_err(|why| NotAltered::Unclear { name: name.to_owned(), why })?;
        if edits.insert(name, edit).is_some() {
            return Err(NotAltered::DuplicateNames { name: name.to_owned() });
        }
    }
    Ok(edits)
}

fn alter_topic(image: &Image, name: &str, replace: bool, edits: &Edits<'_>) -> Decided {
    if name.is_empty() {
        return Err(NotAltered::NoName { what: "topic" });
    }
    let topic = image.topic(name);
    let before = topic.map(|topic| topic.overrides.clone()).unwrap_or_default();
    let wanted = edited(start(replace, &before), edits, config::topic_definition)?;
    names::check(name).map_err(|why| NotAltered::IllegalName(Box::new(Refusal::illegal(name, why))))?;
    let given = wanted.iter().map(|(name, value)| (name.as_str(), Some(value.as_str())));
    let configs = config::check_overrides(given, image.settings()).map_err(NotAltered::Refused)?;
    let topic = topic.ok_or_else(|| NotAltered::UnknownTopic { name: name.to_owned() })?;
    record(&before, configs, |configs| Record::TopicConfigChanged { topic_id: topic.id, configs })
}

fn alter_broker(image: &Image, name: &str, replace: bool, edits: &Edits<'_>) -> Decided {
    let node_id = match name {
        "" => None,
        name => Some(this_broker(image, name)?),
    };
    config::check_cluster_wide(node_id.is_none(), replace, edits).map_err(NotAltered::NotDynamic)?;
    let before = image.broker_overrides(node_id).cloned().unwrap_or_default();
    let wanted = edited(start(replace, &before), edits, config::broker_definition)?;
    let configs = config::check_dynamic(&wanted, image.settings()).map_err(NotAltered::NotDynamic)?;
    record(&before, configs, |configs| Record::BrokerConfigChanged { node_id, configs })
}

fn this_broker(image: &Image, name: &str) -> Result<i32, NotAltered> {
    let asked = name.parse().map_err(|_| NotAltered::NoBrokerId { name: name.to_owned() })?;
    match image.node_id() {
        this if this == asked => Ok(this),
        this => Err(NotAltered::OtherBroker { this, asked }),
    }
}

fn alter_group(image: &Image, group: &str, replace: bool, edits: &Edits<'_>) -> Decided {
    if group.is_empty() {
        return Err(NotAltered::NoName { what: "group" });
    }
    let before = image.group_overrides(group).cloned().unwrap_or_default();
    let wanted = edited(start(replace, &before), edits, config::group_definition)?;
    let configs = config::check_group(&wanted, image.settings()).map_err(NotAltered::Refused)?;
    if before.is_empty() && !configs.is_empty() && image.configured_group_count() >= GROUPS_MAX {
        return Err(NotAltered::TooMany { what: "groups", count_max: GROUPS_MAX });
    }
    record(&before, configs, |configs| Record::GroupConfigChanged { group: group.to_owned(), configs })
}

/// As in Kafka no items join or leave here, though two of the properties are lists.
fn alter_client_metrics(image: &Image, name: &str, replace: bool, edits: &Edits<'_>) -> Decided {
    if name.is_empty() {
        return Err(NotAltered::NoName { what: "subscription" });
    }
    let before = image.client_metrics_overrides(name).cloned().unwrap_or_default();
    let wanted = edited(start(replace, &before), edits, |_| None)?;
    let configs = config::check_client_metrics(&wanted).map_err(NotAltered::Refused)?;
    if before.is_empty() && !configs.is_empty() && image.client_metrics_count() >= SUBSCRIPTIONS_MAX {
        return Err(NotAltered::TooMany { what: "subscriptions", count_max: SUBSCRIPTIONS_MAX });
    }
    record(&before, configs, |configs| Record::ClientMetricsChanged { name: name.to_owned(), configs })
}

/// What the edits begin with.
fn start(replace: bool, before: &Overrides) -> Overrides {
    if replace { Overrides::new() } else { before.clone() }
}

/// What is set once the edits are done, not yet checked.
fn edited(
    mut overrides: Overrides,
    edits: &Edits<'_>,
    definition: fn(&str) -> Option<&'static config::Definition>,
) -> Result<Overrides, NotAltered> {
    for (&name, &edit) in edits {
        config::edit(&mut overrides, name, definition(name), edit).map_err(NotAltered::NoList)?;
    }
    Ok(overrides)
}

/// The record for what is set from now on, where that is a change.
fn record(before: &Overrides, after: Overrides, change: impl FnOnce(Overrides) -> Record) -> Decided {
    let bytes = after.iter().map(|(name, value)| name.len() + value.len()).sum();
    fits(bytes, RESOURCE_BYTES_MAX)?;
    Ok((*before != after).then(|| (change(after), bytes)))
}

fn fits(bytes: usize, bytes_max: usize) -> Result<(), NotAltered> {
    if bytes <= bytes_max { Ok(()) } else { Err(NotAltered::TooLarge { bytes, bytes_max }) }
}
