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
    /// The level of a broker's logger.
    BrokerLogger = 6,
    /// Set on a subscription to clients' metrics.
    ClientMetrics = 7,
    /// Set on the group.
    Group = 8,
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
    over_broker(definition, overrides, Source::DynamicTopic, settings)
}

/// A group property on a group with these overrides (KIP-848).
pub fn group_row(definition: &'static Definition, overrides: &Overrides, settings: &Settings) -> Row {
    let mut row = over_broker(definition, overrides, Source::Group, settings);
    // What no broker property stands behind has its own default there.
    if definition.synonyms.is_empty() {
        let value = definition.default.map(str::to_owned);
        row.synonyms.push(SynonymRow { name: definition.name, value, source: Source::Default });
    }
    row
}

/// A property of a subscription to clients' metrics (KIP-714).
pub fn client_metrics_row(definition: &'static Definition, overrides: &Overrides) -> Row {
    let own = own(definition, overrides, Source::ClientMetrics);
    let value = own.as_ref().and_then(|row| row.value.clone()).or_else(|| definition.default.map(str::to_owned));
    row(definition, value, own.into_iter().collect(), false)
}

/// A broker property.
pub fn broker_row(definition: &'static Definition, settings: &Settings) -> Row {
    let value = settings.effective(definition.name).map(str::to_owned);
    row(definition, value, behind(&broker_chain(definition), settings), !definition.dynamic)
}

/// A broker property as it is set for all brokers while they run, if it is.
pub fn broker_default_row(definition: &'static Definition, settings: &Settings) -> Option<Row> {
    let source = Source::DynamicDefaultBroker;
    let value = settings.at(source, definition)?.to_owned();
    let set = SynonymRow { name: definition.name, value: Some(value.clone()), source };
    Some(row(definition, Some(value), vec![set], !definition.dynamic))
}

/// A property of something that has the broker's properties behind its own.
fn over_broker(definition: &'static Definition, overrides: &Overrides, source: Source, settings: &Settings) -> Row {
    let own = own(definition, overrides, source);
    let value = own.as_ref().and_then(|row| row.value.clone()).or_else(|| settings.default_of(definition));
    let chain: Vec<_> = definition.synonyms.iter().filter_map(|s| super::table::broker(s.name)).collect();
    row(definition, value, own.into_iter().chain(behind(&chain, settings)).collect(), false)
}

fn own(definition: &'static Definition, overrides: &Overrides, source: Source) -> Option<SynonymRow> {
    let value = overrides.get(definition.name)?.clone();
    Some(SynonymRow { name: definition.name, value: Some(value), source })
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

/// The broker property and the weaker ones that say the same in another unit.
fn broker_chain(definition: &'static Definition) -> Vec<&'static Definition> {
    super::table::topic_definitions()
        .find(|topic| topic.synonyms.len() > 1 && topic.synonyms[0].name == definition.name)
        .map_or_else(
            || vec![definition],
            |topic| topic.synonyms.iter().filter_map(|s| super::table::broker(s.name)).collect(),
        )
}

/// The sources of broker properties, the strongest first.
const BROKER_SOURCES: [Source; 4] =
    [Source::DynamicBroker, Source::DynamicDefaultBroker, Source::StaticBroker, Source::Default];

/// The values of a chain of broker properties, source by source. As in Kafka they begin where the first of the chain has
/// a value: `log.roll.hours` shows behind `segment.ms` only once `log.roll.ms` is set.
fn behind(chain: &[&'static Definition], settings: &Settings) -> Vec<SynonymRow> {
    let Some(first) = chain.first() else { return Vec::new() };
    let value_at = |source| {
        chain.iter().filter_map(move |&definition| {
            let value = settings.at(source, definition)?.to_owned();
            Some(SynonymRow { name: definition.name, value: Some(value), source })
        })
    };
    BROKER_SOURCES.into_iter().flat_map(value_at).skip_while(|row| row.name != first.name).collect()
}

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
