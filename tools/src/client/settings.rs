//! What a client can be told, with Kafka's defaults, and how Kafka's client properties name it.

use std::path::Path;
use std::time::Duration;

use super::address::Address;
use super::error::{Error, Result};
use super::records::{Codec, codec_named};

/// Everything about connections to a cluster.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to ask for the cluster first, in this order. `bootstrap.servers`.
    pub bootstrap: Vec<Address>,
    /// What the client calls itself to brokers. `client.id`.
    pub client_id: String,
    /// How long one answer may take. `request.timeout.ms`.
    pub request_timeout: Duration,
    /// How long making a connection may take. `socket.connection.setup.timeout.ms`.
    pub connect_timeout: Duration,
    /// How long one operation may take with all its retries. `default.api.timeout.ms`.
    pub api_timeout: Duration,
    /// The pause before something is tried again. `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// After how long the view of topics and leaders is renewed without need. `metadata.max.age.ms`.
    pub metadata_age_max: Duration,
    /// See [`ProducerSettings`].
    pub producer: ProducerSettings,
    /// See [`ConsumerSettings`].
    pub consumer: ConsumerSettings,
}

/// How records are sent.
#[derive(Debug, Clone)]
pub struct ProducerSettings {
    /// Who has to have a record before it counts as acknowledged. `acks`.
    pub acks: Acks,
    /// Whether retries are recognised by the broker; by default they are if `acks` allows it. `enable.idempotence`.
    pub idempotent: Option<bool>,
    /// How batches are compressed. `compression.type`.
    pub codec: Codec,
    /// Bytes of records after which a batch is full. `batch.size`.
    pub batch_bytes: usize,
    /// How long a batch waits to become full. `linger.ms`.
    pub linger: Duration,
    /// How long a record may take from being given to being acknowledged. `delivery.timeout.ms`.
    pub delivery_timeout: Duration,
    /// The most bytes of records in one request. `max.request.size`.
    pub request_bytes_max: usize,
    /// The most requests on their way to one broker. `max.in.flight.requests.per.connection`.
    pub in_flight_max: usize,
    /// The most bytes of records that wait for their acknowledgement. `buffer.memory`.
    pub buffer_bytes_max: usize,
}

/// Who has to have a record before it counts as acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Nobody: the broker does not even answer.
    None,
    /// The leader.
    Leader,
    /// Every replica in sync.
    All,
}

/// How records are read.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    /// Whether records of open and aborted transactions are left out. `isolation.level`.
    pub isolation: Isolation,
    /// The broker answers when it has so many bytes. `fetch.min.bytes`.
    pub fetch_bytes_min: i32,
    /// The most bytes of one answer. `fetch.max.bytes`.
    pub fetch_bytes_max: i32,
    /// The most bytes of one partition in an answer. `max.partition.fetch.bytes`.
    pub partition_bytes_max: i32,
    /// How long the broker waits for `fetch_bytes_min`. `fetch.max.wait.ms`.
    pub fetch_wait_max: Duration,
    /// Whether batches' checksums are compared. `check.crcs`.
    pub check_crcs: bool,
    /// The group. `group.id`.
    pub group: Option<String>,
    /// A name that survives restarts of this member. `group.instance.id`.
    pub group_instance: Option<String>,
    /// Without a sign of life for so long a member is out. `session.timeout.ms`.
    pub session_timeout: Duration,
    /// The pause between two signs of life. `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// How long a member may take for the records it was given. `max.poll.interval.ms`.
    pub poll_interval_max: Duration,
    /// Whether positions are committed. `enable.auto.commit`.
    pub auto_commit: bool,
    /// The pause between two commits. `auto.commit.interval.ms`.
    pub auto_commit_interval: Duration,
    /// Where to start without a position, and go on if it is gone. `auto.offset.reset`; `None` if not set.
    pub reset: Option<Reset>,
}

/// Which records a consumer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// All of them.
    ReadUncommitted,
    /// Those of committed transactions, and those without one.
    ReadCommitted,
}

/// Where to go on when there is no valid position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// At the first record there is.
    Earliest,
    /// At the end.
    Latest,
    /// Nowhere: fail.
    Fail,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            client_id: "skein".to_owned(),
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            api_timeout: Duration::from_secs(60),
            retry_backoff: Duration::from_millis(100),
            metadata_age_max: Duration::from_secs(300),
            producer: ProducerSettings {
                acks: Acks::All,
                idempotent: None,
                codec: Codec::None,
                // Kafka's 16 KiB is for many producers; one command sends faster with larger batches.
                batch_bytes: 256 << 10,
                linger: Duration::from_millis(5),
                delivery_timeout: Duration::from_secs(120),
                request_bytes_max: 1 << 20,
                in_flight_max: IN_FLIGHT_MAX,
                buffer_bytes_max: 32 << 20,
            },
            consumer: ConsumerSettings {
                isolation: Isolation::ReadUncommitted,
                fetch_bytes_min: 1,
                fetch_bytes_max: 50 << 20,
                partition_bytes_max: 1 << 20,
                fetch_wait_max: Duration::from_millis(500),
                check_crcs: true,
                group: None,
                group_instance: None,
                session_timeout: Duration::from_secs(45),
                heartbeat_interval: Duration::from_secs(3),
                poll_interval_max: Duration::from_secs(300),
                auto_commit: true,
                auto_commit_interval: Duration::from_secs(5),
                reset: None,
            },
        }
    }
}

/// The most requests in flight for which a broker recognises retries: it remembers five batches of a producer.
pub const IN_FLIGHT_MAX: usize = 5;

/// Names of Kafka's clients that are accepted and have no effect here, because there is nothing to choose or nothing
/// that would use it.
const WITHOUT_EFFECT: &[&str] = &[
    "allow.auto.create.topics",
    "auto.include.jmx.reporter",
    "bootstrap.controllers",
    "client.dns.lookup",
    "client.rack",
    "connections.max.idle.ms",
    "default.deserialization.exception.handler",
    "enable.metrics.push",
    "exclude.internal.topics",
    "group.protocol",
    "interceptor.classes",
    "key.deserializer",
    "key.serializer",
    "max.block.ms",
    "max.poll.records",
    "metadata.max.idle.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "partition.assignment.strategy",
    "partitioner.adaptive.partitioning.enable",
    "partitioner.availability.timeout.ms",
    "partitioner.class",
    "partitioner.ignore.keys",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retries",
    "retry.backoff.max.ms",
    "send.buffer.bytes",
    "socket.connection.setup.timeout.max.ms",
    "value.deserializer",
    "value.serializer",
];

impl Settings {
    /// Takes over the properties of a file, which has the syntax of Kafka's. Gives back what a person should be warned
    /// of.
    ///
    /// # Errors
    /// If the file cannot be read, or a value is impossible.
    pub fn read_file(&mut self, path: &Path) -> Result<Vec<String>> {
        let fail = |message| Error::Setting { message };
        let text =
            std::fs::read_to_string(path).map_err(|error| fail(format!("cannot read {}: {error}", path.display())))?;
        let entries = broker::config::parse_properties(&text).map_err(|bad| {
            fail(format!("{} line {}: \\u must be followed by four hexadecimal digits", path.display(), bad.line))
        })?;
        let mut warnings = Vec::new();
        for entry in entries {
            let outcome = self
                .set(&entry.name, &entry.value)
                .map_err(|reason| fail(format!("{} line {}: {}: {reason}", path.display(), entry.line, entry.name)))?;
            match outcome {
                Set::Done => {}
                Set::WithoutEffect => warnings.push(format!("{} has no effect in this client", entry.name)),
                Set::Unknown => {
                    warnings.push(format!(
                        "{} line {}: {} is unknown and ignored",
                        path.display(),
                        entry.line,
                        entry.name
                    ));
                }
            }
        }
        Ok(warnings)
    }

    /// Sets one property by its Kafka name.
    ///
    /// # Errors
    /// Why the value is impossible.
    pub fn set(&mut self, name: &str, value: &str) -> Result<Set, String> {
        let value = value.trim();
        match name {
            "bootstrap.servers" => self.bootstrap = Address::parse_list(value).map_err(|e| e.to_string())?,
            "client.id" => self.client_id = value.to_owned(),
            "request.timeout.ms" => self.request_timeout = milliseconds(value)?,
            "socket.connection.setup.timeout.ms" => self.connect_timeout = milliseconds(value)?,
            "default.api.timeout.ms" => self.api_timeout = milliseconds(value)?,
            "retry.backoff.ms" => self.retry_backoff = milliseconds(value)?,
            "metadata.max.age.ms" => self.metadata_age_max = milliseconds(value)?,
            "security.protocol" if value.eq_ignore_ascii_case("plaintext") => {}
            "security.protocol" => return Err(format!("{value:?} is not supported yet, only PLAINTEXT is")),
            _ => {
                let set = self.producer.set(name, value)?;
                return match set {
                    Set::Unknown => self.consumer.set(name, value),
                    set => Ok(set),
                };
            }
        }
        Ok(Set::Done)
    }
}

/// What became of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// It is set.
    Done,
    /// Kafka's clients know it, this one has no use for it.
    WithoutEffect,
    /// Nobody knows it.
    Unknown,
}

impl ProducerSettings {
    /// Whether retries shall be recognised by the broker.
    ///
    /// # Errors
    /// If it was asked for together with settings that rule it out.
    pub fn is_idempotent(&self) -> Result<bool> {
        let possible = self.acks == Acks::All && self.in_flight_max <= IN_FLIGHT_MAX;
        match self.idempotent {
            Some(true) if !possible => Err(Error::Setting {
                message: format!("enable.idempotence needs acks=all and at most {IN_FLIGHT_MAX} requests in flight"),
            }),
            Some(wanted) => Ok(wanted),
            None => Ok(possible),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<Set, String> {
        match name {
            "acks" => self.acks = value.parse()?,
            "enable.idempotence" => self.idempotent = Some(boolean(value)?),
            "compression.type" => {
                self.codec = codec_named(value).ok_or("it must be none, gzip, snappy, lz4 or zstd")?;
            }
            "batch.size" => self.batch_bytes = size(value, 0)?,
            "linger.ms" => self.linger = milliseconds(value)?,
            "delivery.timeout.ms" => self.delivery_timeout = milliseconds(value)?,
            "max.request.size" => self.request_bytes_max = size(value, 1)?,
            "max.in.flight.requests.per.connection" => self.in_flight_max = size(value, 1)?,
            "buffer.memory" => self.buffer_bytes_max = size(value, 1)?,
            "transactional.id" => return Err("transactions are not supported by this client yet".to_owned()),
            _ => return Ok(if WITHOUT_EFFECT.contains(&name) { Set::WithoutEffect } else { Set::Unknown }),
        }
        Ok(Set::Done)
    }
}

impl ConsumerSettings {
    fn set(&mut self, name: &str, value: &str) -> Result<Set, String> {
        match name {
            "isolation.level" => {
                self.isolation = match value {
                    "read_uncommitted" => Isolation::ReadUncommitted,
                    "read_committed" => Isolation::ReadCommitted,
                    _ => return Err("it must be read_uncommitted or read_committed".to_owned()),
                }
            }
            "fetch.min.bytes" => self.fetch_bytes_min = number(value, 0)?,
            "fetch.max.bytes" => self.fetch_bytes_max = number(value, 0)?,
            "max.partition.fetch.bytes" => self.partition_bytes_max = number(value, 0)?,
            "fetch.max.wait.ms" => self.fetch_wait_max = milliseconds(value)?,
            "check.crcs" => self.check_crcs = boolean(value)?,
            "group.id" => self.group = Some(value.to_owned()).filter(|group| !group.is_empty()),
            "group.instance.id" => self.group_instance = Some(value.to_owned()).filter(|id| !id.is_empty()),
            "session.timeout.ms" => self.session_timeout = milliseconds(value)?,
            "heartbeat.interval.ms" => self.heartbeat_interval = milliseconds(value)?,
            "max.poll.interval.ms" => self.poll_interval_max = milliseconds(value)?,
            "enable.auto.commit" => self.auto_commit = boolean(value)?,
            "auto.commit.interval.ms" => self.auto_commit_interval = milliseconds(value)?,
            "auto.offset.reset" => {
                self.reset = Some(match value {
                    "earliest" => Reset::Earliest,
                    "latest" => Reset::Latest,
                    "none" => Reset::Fail,
                    _ => return Err("it must be earliest, latest or none".to_owned()),
                });
            }
            _ => return Ok(Set::Unknown),
        }
        Ok(Set::Done)
    }
}

impl Acks {
    /// The number on the wire.
    pub fn wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

impl std::str::FromStr for Acks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "0" => Ok(Self::None),
            "1" => Ok(Self::Leader),
            "all" | "-1" => Ok(Self::All),
            _ => Err("it must be 0, 1 or all".to_owned()),
        }
    }
}

impl Isolation {
    /// The number on the wire.
    pub fn wire(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

fn boolean(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("it must be true or false".to_owned()),
    }
}

fn number(value: &str, min: i32) -> Result<i32, String> {
    let number: i32 = value.parse().map_err(|_| format!("{value:?} is no whole number of 32 bits"))?;
    if number < min { Err(format!("it must be at least {min}")) } else { Ok(number) }
}

fn size(value: &str, min: usize) -> Result<usize, String> {
    let number: usize = value.parse().map_err(|_| format!("{value:?} is no whole number"))?;
    if number < min { Err(format!("it must be at least {min}")) } else { Ok(number) }
}

fn milliseconds(value: &str) -> Result<Duration, String> {
    number(value, 0).map(|number| Duration::from_millis(number as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_of_all_kinds_are_taken_over() {
        let mut settings = Settings::default();
        for (name, value) in [
            ("bootstrap.servers", "a:1,b:2"),
            ("client.id", "me"),
            ("acks", "1"),
            ("compression.type", "zstd"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "earliest"),
            ("session.timeout.ms", " 6000 "),
            ("security.protocol", "PLAINTEXT"),
        ] {
            assert_eq!(settings.set(name, value), Ok(Set::Done), "{name}");
        }
        assert_eq!(settings.bootstrap.len(), 2);
        assert_eq!(settings.client_id, "me");
        assert_eq!(settings.producer.acks, Acks::Leader);
        assert_eq!(settings.producer.codec, Codec::Zstd);
        assert_eq!(settings.consumer.isolation, Isolation::ReadCommitted);
        assert_eq!(settings.consumer.reset, Some(Reset::Earliest));
        assert_eq!(settings.consumer.session_timeout, Duration::from_secs(6));
    }

    #[test]
    fn impossible_values_are_refused_and_strange_names_told_apart() {
        let mut settings = Settings::default();
        for (name, value) in [
            ("bootstrap.servers", ""),
            ("acks", "2"),
            ("compression.type", "rar"),
            ("session.timeout.ms", "-1"),
            ("linger.ms", "soon"),
            ("security.protocol", "SASL_SSL"),
            ("enable.idempotence", "yes"),
            ("transactional.id", "t"),
        ] {
            assert!(settings.set(name, value).is_err(), "{name}={value}");
        }
        assert_eq!(settings.set("retries", "3"), Ok(Set::WithoutEffect));
        assert_eq!(settings.set("retrys", "3"), Ok(Set::Unknown));
    }

    #[test]
    fn idempotence_is_on_unless_acks_or_the_person_rule_it_out() {
        let mut producer = Settings::default().producer;
        assert!(producer.is_idempotent().unwrap());
        producer.acks = Acks::Leader;
        assert!(!producer.is_idempotent().unwrap());
        producer.idempotent = Some(true);
        assert!(producer.is_idempotent().is_err());
        producer.acks = Acks::All;
        assert!(producer.is_idempotent().unwrap());
        producer.idempotent = Some(false);
        assert!(!producer.is_idempotent().unwrap());
    }
}
