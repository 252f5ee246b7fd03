//! What DescribeConfigs and CreateTopics v5 and later say about a configuration (KIP-133, KIP-226, KIP-569).

use super::definition::{Class, Definition, Kind};
use super::settings::Settings;
use super::topic::Overrides;

/// Where a value comes from, with Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// Set on the topic.
    DynamicTopic = 1,
    /// Set on this broker while it runs.
    DynamicBroker = 2,
    /// Set for all brokers while they run.
    DynamicDefaultBroker = 3,
    /// Set when the broker started.
    StaticBroker = 4,
    /// Set nowhere.
    Default = 5,
}

impl Source {
    /// The number on the wire.
    pub fn wire(self) -> i8 {
        self as i8
    }
}

/// One property with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The property.
    pub name: &'static str,
    /// Its value; `None` is Kafka's null, which secrets always are.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
    /// Whether clients cannot change it.
    pub read_only: bool,
    /// Whether it is a secret.
    pub sensitive: bool,
    /// The values that apply, the strongest first.
    pub synonyms: Vec<SynonymRow>,
    /// The type of the value.
    pub kind: Kind,
    /// What it does.
    pub documentation: String,
}

impl Row {
    /// Whether nothing set it.
    pub fn is_default(&self) -> bool {
        self.source == Source::Default
    }
}

/// One value that applies to a property, under the name it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynonymRow {
    /// The name: the property itself or a broker property behind it.
    pub name: &'static str,
    /// The value, in the unit of that name.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
}

/// A topic property on a topic with these overrides.
pub fn topic_row(definition: &'static Definition, overrides: &Overrides, settings: &Settings) -> Row {
    let own = overrides.get(definition.name).map(|value| SynonymRow {
        name: definition.name,
        value: Some(value.clone()),
        source: Source::DynamicTopic,
    });
    let value = own.as_ref().and_then(|row| row.value.clone()).or_else(|| settings.topic_default(definition));
    let synonyms: Vec<SynonymRow> = own.into_iter().chain(behind_topic(definition, settings)).collect();
    row(definition, value, synonyms, false)
}

/// A broker property.
pub fn broker_row(definition: &'static Definition, settings: &Settings) -> Row {
    let value = settings.effective(definition.name).map(str::to_owned);
    let synonyms = behind_broker(&broker_chain(definition), settings);
    row(definition, value, synonyms, !definition.dynamic)
}

fn row(definition: &'static Definition, value: Option<String>, synonyms: Vec<SynonymRow>, read_only: bool) -> Row {
    let sensitive = definition.is_sensitive();
    let hide = |row: SynonymRow| SynonymRow { value: row.value.filter(|_| !sensitive), ..row };
    Row {
        name: definition.name,
        value: value.filter(|_| !sensitive),
        source: synonyms.first().map_or(Source::Default, |first| first.source),
        read_only,
        sensitive,
        synonyms: synonyms.into_iter().map(hide).collect(),
        kind: definition.kind,
        documentation: documentation(definition),
    }
}

/// The broker values behind a topic property. As in Kafka they are listed only where the first of its synonyms has a
/// value: `log.roll.hours` shows behind `segment.ms` only once `log.roll.ms` is set.
fn behind_topic(definition: &'static Definition, settings: &Settings) -> Vec<SynonymRow> {
    let Some(first) = definition.synonyms.first().and_then(|s| super::table::broker(s.name)) else { return Vec::new() };
    if settings.effective(first.name).is_none() {
        return Vec::new();
    }
    let chain: Vec<_> = definition.synonyms.iter().filter_map(|s| super::table::broker(s.name)).collect();
    behind_broker(&chain, settings)
}

/// The broker property and the weaker ones that say the same in another unit.
fn broker_chain(definition: &'static Definition) -> Vec<&'static Definition> {
    super::table::topic_definitions()
        .find(|topic| topic.synonyms.len() > 1 && topic.synonyms[0].name == definition.name)
        .map_or_else(
            || vec![definition],
            |topic| topic.synonyms.iter().filter_map(|s| super::table::broker(s.name)).collect(),
        )
}

/// The values of a chain of broker properties: first what was set, then the defaults.
fn behind_broker(chain: &[&'static Definition], settings: &Settings) -> Vec<SynonymRow> {
    let Some(first) = chain.first() else { return Vec::new() };
    let Some(value) = settings.effective(first.name) else { return Vec::new() };
    let mut rows = Vec::with_capacity(chain.len() + 2);
    if first.name == CLUSTER_WIDE {
        rows.push(SynonymRow { name: first.name, value: Some(value.to_owned()), source: Source::DynamicDefaultBroker });
    }
    let each = |value: fn(&Settings, &'static Definition) -> Option<String>, source| {
        chain.iter().filter_map(move |d| Some(SynonymRow { name: d.name, value: Some(value(settings, d)?), source }))
    };
    rows.extend(each(|s, d| s.explicit(d.name).map(str::to_owned), Source::StaticBroker));
    rows.extend(each(|_, d| d.default.map(str::to_owned), Source::Default));
    rows
}

/// Kafka 4 keeps this one for the whole cluster from the first start on (KIP-966), and clients see it as such.
const CLUSTER_WIDE: &str = "min.insync.replicas";

fn documentation(definition: &Definition) -> String {
    match definition.class {
        Class::Supported => definition.documentation.to_owned(),
        Class::WithoutMeaning(reason) if definition.documentation.is_empty() => {
            format!("Accepted without effect: {reason}.")
        }
        Class::WithoutMeaning(reason) => {
            format!("{} Accepted without effect: {reason}.", definition.documentation)
        }
    }
}
