//! A topic's configuration as storage and broker use it: resolved, typed, small.

use std::collections::BTreeMap;
use std::fmt;

use super::definition::{Invalid, list};
use super::settings::Settings;
use super::table;

/// What was set on a topic itself, by property name, checked and trimmed.
pub type Overrides = BTreeMap<String, String>;

/// When a produce is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Once the records are on the device.
    Durable,
    /// Once the records are in the page cache: they survive a killed process, not a power cut.
    Cached,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Durability::Durable => "durable",
            Durability::Cached => "cached",
        })
    }
}

/// Whose clock a record's timestamp shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

/// The codec batches are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As the producer sent them.
    Producer,
    /// Not compressed.
    Uncompressed,
    /// gzip, with a level from 1 to 9 or the codec's own (-1).
    Gzip(i32),
    /// snappy in Xerial framing.
    Snappy,
    /// lz4 frames, with a level from 1 to 17.
    Lz4(i32),
    /// zstd, with its level.
    Zstd(i32),
}

/// The cleanup policies of a topic; with neither, everything is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanup {
    /// Whole segments go by age and size.
    pub delete: bool,
    /// The last record of each key stays.
    pub compact: bool,
}

/// A topic's configuration, resolved from its overrides and the broker's defaults. Shared by all its partitions.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// What happens to old data.
    pub cleanup: Cleanup,
    /// The codec batches are stored in.
    pub compression: Compression,
    /// When a produce is acknowledged.
    pub durability: Durability,
    /// How long compaction keeps tombstones.
    pub delete_retention_ms: u64,
    /// How long the files of removed segments stay.
    pub file_delete_delay_ms: u64,
    /// Bytes of log between two index entries.
    pub index_interval_bytes: u32,
    /// Largest record batch.
    pub message_bytes_max: u32,
    /// How far a timestamp may lie after the broker's clock.
    pub timestamp_after_ms_max: u64,
    /// How far a timestamp may lie before the broker's clock.
    pub timestamp_before_ms_max: u64,
    /// Whose clock timestamps show.
    pub timestamp_type: TimestampType,
    /// Shortest time a record stays uncompacted.
    pub compaction_lag_ms_min: u64,
    /// Longest time a record stays uncompacted.
    pub compaction_lag_ms_max: u64,
    /// Share of a log that must be uncompacted before compaction takes it up.
    pub cleanable_dirty_ratio_min: f64,
    /// Size above which the oldest segments go; `None` is no limit.
    pub retention_bytes: Option<u64>,
    /// Age above which segments go; `None` is no limit.
    pub retention_ms: Option<u64>,
    /// Size at which a segment is closed, at least 1 MiB.
    pub segment_bytes: u32,
    /// Largest offset index of a segment.
    pub segment_index_bytes: u32,
    /// Largest random time taken off `segment_ms`.
    pub segment_jitter_ms: u64,
    /// Age at which a segment is closed.
    pub segment_ms: u64,
}

/// Why what is to be set on a topic, a group or a subscription is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no such property.
    Unknown {
        /// The name as given.
        name: String,
        /// The name that was perhaps meant.
        nearest: Option<&'static str>,
    },
    /// A property was given without a value.
    Null {
        /// The property.
        name: String,
    },
    /// A value is impossible.
    Invalid(Invalid),
    /// Two values do not go together.
    Conflict(&'static str),
    /// Groups have no such property.
    UnknownGroup {
        /// The name as given.
        name: String,
        /// The name that was perhaps meant.
        nearest: Option<&'static str>,
    },
    /// A group's value lies outside of what the broker allows.
    Bound {
        /// The property.
        name: String,
        /// What it must be, as the beginning of the rule.
        rule: &'static str,
        /// The broker property with the bound.
        broker: &'static str,
    },
    /// Members of such a group would send heartbeats too seldom.
    Heartbeat {
        /// The type of group.
        kind: &'static str,
    },
    /// Subscriptions to clients' metrics have no such property.
    UnknownClientMetrics {
        /// The name as given.
        name: String,
    },
    /// Metrics cannot be pushed that often.
    Interval {
        /// The value as given.
        value: String,
    },
    /// An expression that clients are to match is none.
    Pattern {
        /// The expression with its selector.
        text: String,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Unknown { name, nearest: None } => write!(f, "Unknown topic config name: {name}"),
            Refused::Unknown { name, nearest: Some(nearest) } => {
                write!(f, "Unknown topic config name: {name}; did you mean {nearest}?")
            }
            Refused::Null { name } => write!(f, "Null value not supported for topic configs: {name}"),
            Refused::Invalid(invalid) => invalid.fmt(f),
            Refused::Conflict(why) => f.write_str(why),
            Refused::UnknownGroup { name, nearest: None } => write!(f, "Unknown group config name: {name}"),
            Refused::UnknownGroup { name, nearest: Some(nearest) } => {
                write!(f, "Unknown group config name: {name}; did you mean {nearest}?")
            }
            Refused::Bound { name, rule, broker } => write!(f, "{name} must be {rule} {broker} of the broker"),
            Refused::Heartbeat { kind } => {
                write!(f, "{kind}.session.timeout.ms must be larger than {kind}.heartbeat.interval.ms")
            }
            Refused::UnknownClientMetrics { name } => {
                write!(f, "Unknown client metrics configuration: {name}; there are interval.ms, match and metrics")
            }
            Refused::Interval { value } => {
                write!(f, "Invalid value \"{value}\" for interval.ms: it must be between 100 and 3600000 (an hour)")
            }
            Refused::Pattern { text } => write!(
                f,
                "Illegal client matching pattern \"{text}\": it must be selector=regular expression, where the \
                 selector is client_instance_id, client_id, client_software_name, client_software_version, \
                 client_source_address or client_source_port"
            ),
        }
    }
}

impl std::error::Error for Refused {}

/// Checks overrides as a client gives them, each property at most once, and returns them as they are stored.
pub fn check_overrides<'a>(
    given: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    settings: &Settings,
) -> Result<Overrides, Refused> {
    let mut overrides = Overrides::new();
    for (name, value) in given {
        let definition = table::topic(name)
            .ok_or_else(|| Refused::Unknown { name: name.to_owned(), nearest: table::nearest_topic(name) })?;
        let value = value.ok_or_else(|| Refused::Null { name: name.to_owned() })?;
        overrides.insert(name.to_owned(), definition.check(value).map_err(Refused::Invalid)?);
    }
    check_together(&Values { overrides: &overrides, settings })?;
    Ok(overrides)
}

fn check_together(values: &Values<'_>) -> Result<(), Refused> {
    if values.text("remote.storage.enable") == "true" {
        return Err(Refused::Conflict("remote.storage.enable cannot be true: this node has no tiered storage"));
    }
    if values.whole("min.compaction.lag.ms") > values.whole("max.compaction.lag.ms") {
        return Err(Refused::Conflict("min.compaction.lag.ms must not be larger than max.compaction.lag.ms"));
    }
    Ok(())
}

impl TopicConfig {
    /// Resolves stored overrides against the broker's defaults.
    ///
    /// Overrides come from [`check_overrides`]; of ones that an older or newer version stored and this one does not
    /// know, nothing is taken.
    pub fn resolve(overrides: &Overrides, settings: &Settings) -> TopicConfig {
        let values = Values { overrides, settings };
        let policies = values.text("cleanup.policy");
        let has = |policy| list(&policies).any(|p| p == policy);
        TopicConfig {
            cleanup: Cleanup { delete: has("delete"), compact: has("compact") },
            compression: values.compression(),
            durability: match values.text("skein.durability").as_str() {
                "cached" => Durability::Cached,
                _ => Durability::Durable,
            },
            delete_retention_ms: values.count("delete.retention.ms"),
            file_delete_delay_ms: values.count("file.delete.delay.ms"),
            index_interval_bytes: values.count32("index.interval.bytes"),
            message_bytes_max: values.count32("max.message.bytes"),
            timestamp_after_ms_max: values.count("message.timestamp.after.max.ms"),
            timestamp_before_ms_max: values.count("message.timestamp.before.max.ms"),
            timestamp_type: match values.text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            compaction_lag_ms_min: values.count("min.compaction.lag.ms"),
            compaction_lag_ms_max: values.count("max.compaction.lag.ms"),
            cleanable_dirty_ratio_min: values.text("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
            retention_bytes: u64::try_from(values.whole("retention.bytes")).ok(),
            retention_ms: u64::try_from(values.whole("retention.ms")).ok(),
            segment_bytes: values.count32("segment.bytes"),
            segment_index_bytes: values.count32("segment.index.bytes"),
            segment_jitter_ms: values.count("segment.jitter.ms"),
            segment_ms: values.count("segment.ms"),
        }
    }
}

/// The values of a topic: its overrides over the broker's defaults.
struct Values<'a> {
    overrides: &'a Overrides,
    settings: &'a Settings,
}

impl Values<'_> {
    fn text(&self, name: &str) -> String {
        let definition = table::topic(name).unwrap_or_else(|| panic!("{name} is in the table of topic properties"));
        self.overrides
            .get(name)
            .and_then(|value| definition.check(value).ok())
            .or_else(|| self.settings.default_of(definition))
            .unwrap_or_default()
    }

    fn whole(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_else(|_| panic!("{name} is a whole number with a default"))
    }

    fn count(&self, name: &str) -> u64 {
        u64::try_from(self.whole(name)).unwrap_or(0)
    }

    fn count32(&self, name: &str) -> u32 {
        u32::try_from(self.whole(name)).unwrap_or(0)
    }

    fn level(&self, name: &str) -> i32 {
        i32::try_from(self.whole(name)).unwrap_or_default()
    }

    fn compression(&self) -> Compression {
        match self.text("compression.type").as_str() {
            "uncompressed" => Compression::Uncompressed,
            "gzip" => Compression::Gzip(self.level("compression.gzip.level")),
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4(self.level("compression.lz4.level")),
            "zstd" => Compression::Zstd(self.level("compression.zstd.level")),
            _ => Compression::Producer,
        }
    }
}
