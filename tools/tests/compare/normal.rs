//! Answers made comparable: what each broker chooses for itself gets a name that both share, what neither fixes is
//! blotted out, lists without an order get one.

use std::net::SocketAddr;

use storage::batch::batches;
use storage::compression::decompress_all;
use storage::record;

use crate::side::Side;
use crate::spoil::OURS;
use crate::value::{Fields, Value};

/// More than any generated batch decompresses to.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// Times that lie this close to the start of the run, in ms, are taken for the present.
const PRESENT_MS: i64 = 3_600_000;

/// Lists that hold everything there is, if that was asked for.
const LISTS_OF_ALL: [&str; 5] =
    ["topics[]", "groups[]", "results[].topics[]", "config_resources[]", "replica_election_results[]"];

/// What an answer is seen against.
pub(crate) struct Context<'a> {
    pub(crate) api: &'a str,
    pub(crate) side: &'a mut Side,
    pub(crate) address: SocketAddr,
    /// What names of the episode begin with.
    pub(crate) prefix: &'a str,
    /// When the run started.
    pub(crate) now: i64,
    /// The texts of the request.
    pub(crate) mentioned: &'a [String],
    /// Whether what is looked at belongs to the topic with the broker's timestamps.
    pub(crate) is_stamped: bool,
}

impl Context<'_> {
    /// The answer as it can be compared.
    pub(crate) fn normal(&mut self, response: Value) -> Value {
        self.value("", response)
    }

    fn value(&mut self, path: &str, value: Value) -> Value {
        match value {
            Value::Struct(fields) => Value::Struct(self.fields(path, fields)),
            Value::List(elements) => {
                let path = format!("{path}[]");
                let mut elements: Vec<Value> = elements.into_iter().map(|element| self.value(&path, element)).collect();
                if LISTS_OF_ALL.contains(&path.as_str()) {
                    elements.retain(|element| !self.is_foreign(element));
                }
                // A stable sort: what came twice stays in the order it came.
                elements.sort_by_key(identity);
                Value::List(elements)
            }
            leaf => self.leaf(path, leaf),
        }
    }

    fn fields(&mut self, path: &str, fields: Fields) -> Fields {
        let mut normal = Fields::new();
        let is_quorum = self.api == "DescribeQuorum";
        let error = fields.get("error_code").cloned();
        let dot = if path.is_empty() { "" } else { "." };
        // Of a topic that the broker stamps, each has its own times.
        let is_stamped = fields.get("name").is_some_and(|name| *name == Value::Text(format!("{}stamped", self.prefix)));
        let times_before = self.is_stamped;
        self.is_stamped |= is_stamped;
        for (name, value) in fields {
            let value = match (name, &value) {
                ("throttle_time_ms", _) => continue,
                (name, _) if name.starts_with(OURS) => continue,
                // Two libraries compress differently well.
                ("topics", Value::List(topics)) if self.api == "DescribeLogDirs" => {
                    let zipped = Value::Text(format!("{}zipped", self.prefix));
                    let kept = topics.iter().filter(|topic| topic.get("name") != Some(&zipped)).cloned().collect();
                    self.value(&format!("{path}{dot}{name}"), Value::List(kept))
                }
                ("batch_index_error_message", Value::Text(_)) => "words".into(),
                ("documentation", Value::Text(_)) => "words".into(),
                // What the metadata log holds is each broker's own affair.
                ("log_end_offset" | "high_watermark" | "leader_epoch", Value::Int(0..)) if is_quorum => "some".into(),
                // Every broker speaks in its own words; that there are words is checked elsewhere.
                ("error_message", Value::Text(_)) if error != Some(Value::Int(0)) => "words".into(),
                ("error_message", Value::Null) if error.is_some() && error != Some(Value::Int(0)) => "words".into(),
                ("records", Value::Bytes(bytes)) => records(bytes, self),
                _ => self.value(&format!("{path}{dot}{name}"), value),
            };
            normal.insert(name, value);
        }
        self.is_stamped = times_before;
        normal
    }

    fn leaf(&mut self, path: &str, value: Value) -> Value {
        let name = path.trim_end_matches("[]").rsplit('.').next().unwrap_or(path);
        match (name, value) {
            ("port", Value::Int(port)) if port == i64::from(self.address.port()) => "the port".into(),
            ("host", Value::Text(host)) if host == self.address.ip().to_string() => "the host".into(),
            ("cluster_id", Value::Text(id)) => format!("{} characters", id.len()).into(),
            ("topic_id" | "client_instance_id", Value::Uuid(id)) if !id.is_zero() => self.side.name_of(id),
            ("member_id", Value::Text(id)) if !id.is_empty() => self.member(&id),
            ("leader", Value::Text(id)) if self.api == "JoinGroup" && !id.is_empty() => self.member(&id),
            ("producer_id", Value::Int(id)) if id >= 0 => self.side.made_up("producer", &id.to_string()),
            ("session_id", Value::Int(id)) if id != 0 => self.side.made_up("session", &id.to_string()),
            ("log_dir", Value::Text(_)) => "a directory".into(),
            ("total_bytes" | "usable_bytes", Value::Int(bytes)) if bytes > 0 => "some".into(),
            (_, Value::Int(time))
                if (time - self.now).abs() < PRESENT_MS && (self.is_stamped || !is_of_records(path)) =>
            {
                "now".into()
            }
            (_, value) => value,
        }
    }

    /// A member id that the client did not make up itself.
    fn member(&mut self, id: &str) -> Value {
        match id {
            "nobody" | "static" => id.into(),
            _ => self.side.made_up("member", id),
        }
    }

    /// Whether an element is a topic, a group or the like of someone else, in an answer to a question for all.
    fn is_foreign(&self, element: &Value) -> bool {
        ["name", "topic", "group_id", "resource_name"]
            .iter()
            .find_map(|name| element.text(name))
            .is_some_and(|name| !name.starts_with(self.prefix) && !self.mentioned.iter().any(|text| text == name))
    }
}

/// Timestamps of records that clients gave are compared to the millisecond.
fn is_of_records(path: &str) -> bool {
    path.ends_with("partitions[].timestamp")
}

/// What tells elements of a list apart, in the order of their weight.
const IDENTITY: [&str; 24] = [
    "batch",
    "at",
    "api_key",
    "name",
    "topic",
    "topic_name",
    "topic_id",
    "group_id",
    "key",
    "partition",
    "partition_index",
    "index",
    "partition_id",
    "member_id",
    "resource_type",
    "resource_name",
    "node_id",
    "broker_id",
    "entity_type",
    "entity",
    "entity_name",
    "producer_id",
    "feature",
    "source",
];

/// What tells an element of a list from the others, as a text that sorts.
pub(crate) fn identity(element: &Value) -> String {
    match element {
        Value::Struct(fields) => {
            let parts = IDENTITY.iter().filter_map(|name| Some(format!("{name}={}", padded(fields.get(name)?))));
            parts.collect::<Vec<_>>().join(" ")
        }
        leaf => padded(leaf),
    }
}

/// Numbers sort as such.
fn padded(value: &Value) -> String {
    match value {
        Value::Int(number) => format!("{:020}", i128::from(*number) + i128::from(i64::MAX)),
        other => other.to_string(),
    }
}

/// What whole batches hold; how they are cut and compressed is the broker's affair as long as they read the same.
fn records(bytes: &[u8], context: &mut Context<'_>) -> Value {
    let all = batches(bytes).map_while(Result::ok).map(|batch| {
        let attributes = batch.attributes();
        let is_stamped = attributes.timestamp_type() == storage::batch::TimestampType::LogAppendTime;
        let body = attributes.codec().and_then(|codec| decompress_all(codec, batch.body(), BODY_BYTES_MAX).ok());
        let records: Vec<Value> = match &body {
            Some(body) => record::records(body)
                .map_while(Result::ok)
                .map(|record| {
                    let located = batch.origin().locate(record.head);
                    let time = if is_stamped { "stamped".into() } else { Value::from(located.timestamp) };
                    let key = record.key.map(|key| String::from_utf8_lossy(key).into_owned());
                    crate::value::fields! {
                        at: located.offset,
                        timestamp: time,
                        key: key,
                        value: record.value.map(|value| value.len() as i64),
                    }
                })
                .collect(),
            None => vec!["unreadable".into()],
        };
        let producer = match batch.producer_id() {
            -1 => Value::Null,
            id => context.side.made_up("producer", &id.to_string()),
        };
        crate::value::fields! {
            batch: batch.base_offset(),
            leader_epoch: batch.leader_epoch(),
            attributes: attributes.0,
            crc_fits: batch.crc() == batch.computed_crc(),
            last_offset: batch.last_offset(),
            producer: producer,
            producer_epoch: batch.producer_epoch(),
            base_sequence: batch.base_sequence(),
            records: records,
        }
    });
    Value::List(all.collect())
}
