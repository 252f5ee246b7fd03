//! Configuration: one table of all properties, and what is read from it.
//!
//! ```text
//!   server.properties ─┐                        ┌─ NodeConfig    typed, for the start and the shards
//!   --set NAME=VALUE  ─┼─ checked by the table ─┼─ TopicConfig   typed, one per topic, for the hot path
//!   options           ─┤   (Settings)           ├─ Row           what DescribeConfigs says
//!   topic overrides   ─┘                        └─ docs/configuration.md
//! ```
//!
//! The tables ([`topic_definitions`], [`broker_definitions`]) are the only place where a property's name, type,
//! default, range, text and class stand.
#![forbid(unsafe_code)]

mod broker_table;
mod client_metrics;
mod connections;
mod definition;
mod describe;
mod dynamic;
mod edit;
mod error;
mod group;
mod group_table;
mod known_table;
mod listeners;
mod markdown;
mod node;
mod properties;
mod settings;
mod table;
mod topic;
mod topic_table;

#[cfg(test)]
mod tests;

pub use broker_table::SHARDS_MAX;
pub use client_metrics::{Selector, Subscription, check_client_metrics};
pub use connections::ConnectionLimits;
pub use definition::{Check, Class, Definition, Importance, Invalid, Kind, Reason, Synonym};
pub use describe::{Row, Source, SynonymRow, broker_default_row, broker_row, client_metrics_row, group_row, topic_row};
pub use dynamic::{NotDynamic, check_cluster_wide, check_dynamic};
pub use edit::{Edit, NoList, edit};
pub use error::{ConfigError, Origin, Warning};
pub use group::check_group;
pub use listeners::{Bind, Endpoint, LISTENERS_MAX, Listener};
pub use markdown::configuration_markdown;
pub use node::{Cleaner, Flags, Groups, Network, NodeConfig, PropertiesFile, Topics};
pub use properties::{BadEscape, Entry, parse as parse_properties};
pub use settings::Settings;
pub use table::{
    broker as broker_definition, broker_definitions, client_metrics_definitions, group as group_definition,
    group_definitions, nearest_broker, nearest_topic, topic as topic_definition, topic_definitions,
    unlisted_broker_definitions,
};
pub use topic::{Cleanup, Compression, Durability, Overrides, Refused, TimestampType, TopicConfig, check_overrides};
pub use topic_table::SEGMENT_BYTES_MIN;
