//! What to do to a broker, as data: a small TOML file or the same by flags.
//!
//! ```toml
//! partitions = 16
//! check = true                       # every acknowledged record read back once, in order
//! [records]
//! bytes = { min = 100, max = 2000 }  # or 1024, or [{ bytes = 100, weight = 9 }, …], or { lines = "FILE" }
//! keys = "zipf"                      # or "none", "uniform"
//! [produce]
//! producers = 64
//! in_flight = 5
//! batch_bytes = 16384
//! linger_ms = 5
//! codec = "lz4"
//! [consume]
//! kind = "tail"                      # or "cold", "replay", "group"
//! [rate]
//! records_per_second = 50000         # or steps = [1000, 2000], or search = { p99_us = 5000, … }
//! [time]
//! seconds = 30
//! ```

mod search;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use storage::compression::Codec;

pub use self::search::{Search, Trial};
use crate::error::Error;

/// Keys that a workload may tell apart: what bounds the table that they are drawn from.
pub const KEYS_MAX: u32 = 1 << 20;

/// Connections of one kind, at the most.
pub const CONNECTIONS_MAX: u32 = 100_000;

/// Bytes of a request's batch, at the most: Kafka's `max.message.bytes` allows no more of a default topic anyway.
pub const BATCH_BYTES_MAX: usize = 64 << 20;

/// Bytes of a record's value that a check needs for its stamp.
pub const STAMP_BYTES: usize = 24;

/// Everything that describes a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// Topic, made if it is not there.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// Configurations the topic is made with.
    pub topic_configs: Vec<(String, String)>,
    /// What sizes, keys and contents are drawn from.
    pub seed: u64,
    /// Whether every record carries a stamp, is read back, and is compared with what was acknowledged.
    pub check: bool,
    /// The records.
    pub records: Records,
    /// Who writes them; nobody, if there are no producers.
    pub produce: Produce,
    /// Who reads them.
    pub consume: Consume,
    /// When they are written.
    pub rate: Rate,
    /// How long.
    pub time: Time,
}

/// What the records are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Records {
    /// Bytes of a record's value, or where values come from.
    pub bytes: Size,
    /// Whether they have keys, and how those are drawn. A record with a key goes to the key's partition.
    pub keys: Keys,
    /// Different keys.
    pub key_count: u32,
}

/// Sizes of values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Size {
    /// All of one size.
    Fixed(usize),
    /// Evenly between two sizes, both included.
    Uniform {
        /// The least.
        min: usize,
        /// The greatest.
        max: usize,
    },
    /// Drawn from several sizes.
    Weighted(Vec<Weighted>),
    /// Lines of a file, in order, again and again; its first 64 MiB.
    Lines {
        /// The file.
        lines: PathBuf,
    },
}

/// One of several sizes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weighted {
    /// Bytes of the value.
    pub bytes: usize,
    /// How often, relative to the others.
    pub weight: u32,
}

/// How keys are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keys {
    /// Records have no key: batches go to the partitions in turn.
    #[default]
    None,
    /// Each key as often as any other.
    Uniform,
    /// The nth key with a probability in proportion to 1/n.
    Zipf,
}

/// Who writes, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Produce {
    /// Connections.
    pub producers: u32,
    /// Requests that each has in flight at most.
    pub in_flight: u32,
    /// Bytes of a request's batch at most, before compression; a batch has one record at least.
    pub batch_bytes: usize,
    /// How long a record waits for others to share its batch, in ms. Without it all batches are full.
    pub linger_ms: Option<f64>,
    /// How batches are compressed.
    #[serde(with = "codec_name")]
    pub codec: Codec,
    /// Who has to have a record before it is acknowledged.
    pub acks: Acks,
    /// Whether batches carry a producer id and sequences.
    pub idempotent: bool,
    /// Has each producer write to one partition only: its own number and this, counted around. Without it each goes
    /// to all partitions in turn.
    pub own_partition: Option<u32>,
}

/// Who has to have a record before it is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acks {
    /// Nobody: there is no answer, and a request is over when it is sent.
    None,
    /// The leader.
    Leader,
    /// The whole in-sync set.
    #[default]
    All,
}

impl Acks {
    /// As the protocol has it.
    #[must_use]
    pub fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// Who reads, and what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Consume {
    /// What they do.
    pub kind: Consumers,
    /// Connections that share the partitions of a copy.
    pub members: u32,
    /// How often everything is read: the mix of reads to writes.
    pub copies: u32,
    /// Bytes that a fetch asks for at most.
    pub fetch_bytes: i32,
    /// How long the broker may wait for records, in ms.
    pub fetch_wait_ms: i32,
    /// Bytes of record batches that are there before anything is measured.
    pub preload_bytes: u64,
}

/// What consumers do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consumers {
    /// There are none.
    #[default]
    None,
    /// They read what is written while it is written.
    Tail,
    /// They begin with the oldest record when the measurement begins.
    Cold,
    /// They read what was there before the measurement again and again.
    Replay,
    /// As `tail`, with partitions that the broker's coordinator shares among them, and offsets committed every second;
    /// each copy is a group.
    Group,
}

/// When records are written. At most one of these; without any, as fast as requests in flight allow.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    /// As many, over all producers, whatever is in flight.
    pub records_per_second: Option<f64>,
    /// One rate after another, each for the whole time.
    pub steps: Vec<f64>,
    /// The highest rate within a latency.
    pub search: Option<Search>,
}

/// How long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Time {
    /// What is not measured at the start, in seconds.
    pub warm_up_s: f64,
    /// What is measured then, in seconds.
    pub seconds: f64,
    /// Ends the measurement early, when so many bytes of record batches were acknowledged in it.
    pub bytes_max: u64,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            topic: "bench".to_owned(),
            partitions: 4,
            topic_configs: Vec::new(),
            seed: 1,
            check: false,
            records: Records::default(),
            produce: Produce::default(),
            consume: Consume::default(),
            rate: Rate::default(),
            time: Time::default(),
        }
    }
}

impl Default for Size {
    fn default() -> Self {
        Self::Fixed(100)
    }
}

impl Default for Produce {
    fn default() -> Self {
        Self {
            producers: 64,
            in_flight: 5,
            batch_bytes: 0,
            linger_ms: None,
            codec: Codec::None,
            acks: Acks::All,
            idempotent: false,
            own_partition: None,
        }
    }
}

impl Default for Consume {
    fn default() -> Self {
        Self {
            kind: Consumers::None,
            members: 1,
            copies: 1,
            fetch_bytes: 1 << 20,
            fetch_wait_ms: 500,
            preload_bytes: 0,
        }
    }
}

impl Default for Time {
    fn default() -> Self {
        Self { warm_up_s: 1.0, seconds: 5.0, bytes_max: u64::MAX >> 1 }
    }
}

impl Records {
    /// Different keys; a number that was not given is 100,000.
    #[must_use]
    pub fn key_count(&self) -> u32 {
        if self.key_count == 0 { 100_000 } else { self.key_count }
    }
}

impl Time {
    /// What is not measured at the start.
    #[must_use]
    pub fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.warm_up_s)
    }

    /// What is measured.
    #[must_use]
    pub fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

impl Workload {
    /// Reads a file's text.
    ///
    /// # Errors
    /// If it is no workload; with the line.
    pub fn parse(text: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| Error::Workload { what: error.to_string() })
    }

    /// The workload as a file's text.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a workload has nothing that TOML lacks")
    }

    /// Finds what cannot be done.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |what: &str| Err(Error::Workload { what: what.to_owned() });
        let (produce, consume) = (&self.produce, &self.consume);
        let is_positive = |number: f64| number.is_finite() && number > 0.0;
        if self.partitions < 1 || self.topic.is_empty() || self.topic.len() > crate::request::TOPIC_BYTES_MAX {
            return wrong("a topic has a name of 1 to 126 bytes and one partition at least");
        }
        if produce.producers > CONNECTIONS_MAX || consume.members > CONNECTIONS_MAX || consume.copies > CONNECTIONS_MAX
        {
            return wrong("at most 100,000 connections of a kind");
        }
        if produce.in_flight < 1 || produce.batch_bytes > BATCH_BYTES_MAX {
            return wrong("one request in flight at least, and batches of 64 MiB at most");
        }
        if produce.producers == 0 && consume.kind == Consumers::None {
            return wrong("nobody writes and nobody reads");
        }
        if consume.kind != Consumers::None && (consume.members < 1 || consume.copies < 1 || consume.fetch_bytes < 1) {
            return wrong("consumers have one member, one copy and one byte a fetch at least");
        }
        if !(is_positive(self.time.seconds) && self.time.warm_up_s.is_finite() && self.time.warm_up_s >= 0.0) {
            return wrong("a measurement lasts longer than 0 s, and its warm-up no less than 0 s");
        }
        if produce.own_partition.is_some() && self.records.keys != Keys::None {
            return wrong("a record with a key goes to the key's partition, not to the producer's own");
        }
        if produce.linger_ms.is_some_and(|linger| !(linger.is_finite() && linger >= 0.0)) {
            return wrong("records linger 0 ms or longer");
        }
        if self.rate.records_per_second.iter().chain(&self.rate.steps).any(|&rate| !is_positive(rate)) {
            return wrong("a rate is above 0 records/s");
        }
        let rates = usize::from(self.rate.records_per_second.is_some())
            + usize::from(!self.rate.steps.is_empty())
            + usize::from(self.rate.search.is_some());
        if rates > 1 {
            return wrong("one of records_per_second, steps and search");
        }
        if self.records.keys != Keys::None && self.records.key_count() > KEYS_MAX {
            return wrong("at most 1,048,576 keys");
        }
        self.records.bytes.validate(self.check)?;
        if self.check && (consume.kind == Consumers::None || produce.producers == 0 || produce.acks == Acks::None) {
            return wrong("a check needs producers that wait for acknowledgements, and consumers");
        }
        if self.check && (consume.preload_bytes > 0 || consume.kind == Consumers::Replay) {
            return wrong("a check reads only what it has written, and only once");
        }
        self.rate.search.as_ref().map_or(Ok(()), Search::validate)
    }
}

impl Size {
    fn validate(&self, is_checked: bool) -> Result<(), Error> {
        let least = match self {
            Self::Fixed(bytes) => Some(*bytes),
            Self::Uniform { min, max } if min <= max => Some(*min),
            Self::Uniform { .. } => None,
            Self::Weighted(sizes) if sizes.iter().all(|size| size.weight == 0) => None,
            Self::Weighted(sizes) => sizes.iter().map(|size| size.bytes).min(),
            Self::Lines { .. } => Some(STAMP_BYTES),
        };
        match least {
            None => Err(Error::Workload { what: "sizes are a number, a minimum and a maximum, or weighted".into() }),
            Some(least) if is_checked && least < STAMP_BYTES => {
                let what = format!("a check needs values of {STAMP_BYTES} bytes at least, for their stamps");
                Err(Error::Workload { what })
            }
            Some(_) => Ok(()),
        }
    }
}

/// Codecs by the names that Kafka's `compression.type` has.
mod codec_name {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use storage::compression::Codec;

    pub(super) fn serialize<S: Serializer>(codec: &Codec, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(codec.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Codec, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = Codec::ALL.into_iter().find(|codec| codec.name() == name);
        found.ok_or_else(|| serde::de::Error::custom(format!("{name} is none of none, gzip, snappy, lz4, zstd")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_all_that_flags_can_say() {
        let text = r#"
            topic = "orders"
            partitions = 16
            check = true
            [records]
            bytes = { min = 100, max = 2000 }
            keys = "zipf"
            key_count = 5000
            [produce]
            producers = 8
            linger_ms = 5.0
            batch_bytes = 16384
            codec = "lz4"
            acks = "leader"
            idempotent = true
            [consume]
            kind = "cold"
            members = 3
            [rate]
            records_per_second = 1000.0
            [time]
            seconds = 2.5
        "#;
        let workload = Workload::parse(text).expect("a workload");
        workload.validate().expect("a possible one");
        assert_eq!(workload.records.bytes, Size::Uniform { min: 100, max: 2000 });
        assert_eq!((workload.produce.codec, workload.produce.acks.code()), (Codec::Lz4, 1));
        assert_eq!(workload.consume.kind, Consumers::Cold);
        assert_eq!(Workload::parse(&workload.to_toml()).expect("its own words"), workload);
        assert_eq!(Workload::parse("").expect("all by default"), Workload::default());
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_a_reason() {
        let refused = |text: &str| {
            let parsed = Workload::parse(text).and_then(|workload| workload.validate().map(|()| workload));
            parsed.expect_err(text).to_string()
        };
        assert!(refused("chekc = true").contains("chekc"));
        assert!(refused("check = true").contains("consumers"));
        assert!(refused("check = true\n[records]\nbytes = 10\n[consume]\nkind = 'tail'").contains("24 bytes"));
        assert!(refused("[records]\nbytes = { min = 2, max = 1 }").contains("sizes"));
        assert!(refused("[rate]\nsteps = [1.0]\nrecords_per_second = 1.0").contains("one of"));
        assert!(refused("[produce]\nproducers = 0").contains("nobody"));
        assert!(refused("[produce]\ncodec = 'rar'").contains("rar"));
        assert!(refused("[time]\nseconds = 0.0").contains("longer than 0"));
    }
}
