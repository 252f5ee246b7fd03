//! What clients push of themselves (KIP-714), as a page of its own: `/metrics/clients`.
//!
//! ```text
//! push ─► unpacked, read whole ─► this client's series, in place of those of its last push ─► page
//! ```
//!
//! Names and labels are the clients', so every number of them has a bound, and nothing of a document that cannot be read
//! to its end is shown. A name without a dot, or one that begins as the node's own do, is left out: no client speaks for
//! the node.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use net::Uuid;
use tokio::time::Instant;

use super::exposition::{Kind, Page, escape};
use super::families::{CLIENT_INSTANCES, CLIENT_LEFT_OUT, CLIENT_PUSHES};
use crate::telemetry::otlp::{self, Point};
use crate::telemetry::{Broken, Push};

/// Clients shown; the one that was silent for longest makes room.
const INSTANCES_MAX: usize = 1000;

/// Series of one client.
const SERIES_MAX: usize = 2000;

/// Bytes of names and labels of all clients.
const BYTES_MAX: usize = 16 << 20;

/// Characters of a name, and of a label's value.
const TEXT_MAX: usize = 200;

/// A client is no longer shown after so many of its intervals without a push, and not before [`SHOWN_MIN`].
const SILENT_INTERVALS: u32 = 3;

/// Longer than the usual time between two scrapes, so that the last push of a client that has ended is seen.
const SHOWN_MIN: Duration = Duration::from_secs(60);

/// Names begin so that are the node's own.
const OWN: &str = "skein";

/// What all clients show.
#[derive(Debug, Default)]
pub(super) struct Clients {
    instances: BTreeMap<Uuid, Instance>,
    bytes: usize,
    taken: u64,
    broken: u64,
    left_out: u64,
}

/// One client's series, of its last push.
#[derive(Debug)]
struct Instance {
    client_id: String,
    heard: Instant,
    shown_until: Instant,
    series: Series,
    bytes: usize,
}

/// One line of the page.
struct Sample<'a> {
    id: &'a Uuid,
    instance: &'a Instance,
    labels: &'a str,
    kind: Kind,
    value: f64,
}

/// By name and labels, both as they are written.
type Series = BTreeMap<(String, String), (Kind, f64)>;

impl Clients {
    /// Shows what was pushed; whether it could be read.
    pub(super) fn take(&mut self, push: &Push, now: Instant) -> bool {
        let Some((series, left_out)) = read(push) else {
            self.broken += 1;
            return false;
        };
        self.taken += 1;
        self.left_out += left_out;
        self.forget(&push.instance_id);
        self.forget_silent(now);
        let bytes = series.keys().map(|(name, labels)| name.len() + labels.len()).sum();
        while self.instances.len() >= INSTANCES_MAX || (self.bytes + bytes > BYTES_MAX && !self.instances.is_empty()) {
            let longest = self.instances.iter().min_by_key(|(_, instance)| instance.heard);
            let id = *longest.expect("there is one").0;
            self.forget(&id);
        }
        self.bytes += bytes;
        let interval = Duration::from_millis(push.interval_ms.into());
        let instance = Instance {
            client_id: shortened(&push.client_id).to_owned(),
            heard: now,
            shown_until: now + (interval * SILENT_INTERVALS).max(SHOWN_MIN),
            series,
            bytes,
        };
        self.instances.insert(push.instance_id, instance);
        true
    }

    fn forget(&mut self, id: &Uuid) {
        if let Some(instance) = self.instances.remove(id) {
            self.bytes -= instance.bytes;
        }
    }

    fn forget_silent(&mut self, now: Instant) {
        let bytes = &mut self.bytes;
        self.instances.retain(|_, instance| {
            let is_shown = now < instance.shown_until;
            *bytes -= if is_shown { 0 } else { instance.bytes };
            is_shown
        });
    }

    /// The page.
    pub(super) fn page(&mut self, now: Instant) -> String {
        self.forget_silent(now);
        let mut page = Page::default();
        page.single(&CLIENT_INSTANCES, self.instances.len());
        let mut pushes = page.family(&CLIENT_PUSHES);
        pushes.sample(&["taken"], self.taken);
        pushes.sample(&["broken"], self.broken);
        page.single(&CLIENT_LEFT_OUT, self.left_out);
        let mut text = page.into_text();
        let mut families: BTreeMap<&str, Vec<Sample<'_>>> = BTreeMap::new();
        for (id, instance) in &self.instances {
            for ((name, labels), &(kind, value)) in &instance.series {
                families.entry(name).or_default().push(Sample { id, instance, labels, kind, value });
            }
        }
        for (name, samples) in families {
            // Clients may take a name for different things; a family has one kind.
            let kind = samples[0].kind;
            writeln!(text, "# HELP {name} Told by clients.\n# TYPE {name} {}", kind.name()).expect(GROWS);
            for Sample { id, instance, labels, value, .. } in samples.iter().filter(|sample| sample.kind == kind) {
                text.push_str(name);
                text.push_str("{client_id=\"");
                escape(&instance.client_id, &mut text);
                writeln!(text, "\",client_instance_id=\"{id}\"{labels}}} {}", number(*value)).expect(GROWS);
            }
        }
        text
    }
}

const GROWS: &str = "text takes everything";

/// The series of a push and how many values were left out; nothing if the push is broken.
fn read(push: &Push) -> Option<(Series, u64)> {
    let told = |why: &dyn std::fmt::Display| {
        tracing::debug!(client = push.client_id, instance = %push.instance_id, "metrics that cannot be read: {why}");
    };
    let document = push.unpacked().inspect_err(|error| told(error)).ok()?;
    let mut series = Series::new();
    let mut too_many = 0;
    let left_out = otlp::read(&document, |point| match written(point) {
        Some(key) if series.len() < SERIES_MAX || series.contains_key(&key) => {
            series.insert(key, (kind(point.kind), point.value));
        }
        _ => too_many += 1,
    });
    let left_out = left_out.inspect_err(|broken: &Broken| told(broken)).ok()?;
    Some((series, left_out + too_many))
}

fn kind(kind: otlp::Kind) -> Kind {
    match kind {
        otlp::Kind::Gauge => Kind::Gauge,
        otlp::Kind::Counter | otlp::Kind::Count | otlp::Kind::Sum => Kind::Counter,
    }
}

/// The name and the labels of a point as the format has them, by OpenTelemetry's rules for Prometheus.
fn written(point: &Point<'_>) -> Option<(String, String)> {
    let is_foreign = point.name.contains('.') && !point.name.starts_with(OWN);
    if !is_foreign || point.name.len() > TEXT_MAX {
        return None;
    }
    let mut name = spelled(point.name);
    let suffix = match point.kind {
        otlp::Kind::Gauge => "",
        otlp::Kind::Counter => "_total",
        otlp::Kind::Count => "_count",
        otlp::Kind::Sum => "_sum",
    };
    if !name.ends_with(suffix) {
        name.push_str(suffix);
    }
    let mut labels = BTreeMap::new();
    for (key, value) in point.attributes.iter().filter(|(key, _)| !key.is_empty()) {
        labels.insert(spelled(shortened(key)), shortened(value));
    }
    // The node says these itself.
    labels.retain(|name, _| !matches!(name.as_str(), "client_id" | "client_instance_id"));
    let mut text = String::new();
    for (key, value) in labels {
        write!(text, ",{key}=\"").expect(GROWS);
        escape(value, &mut text);
        text.push('"');
    }
    Some((name, text))
}

/// Letters, digits and underscores; anything else becomes an underscore, and a digit does not come first.
fn spelled(text: &str) -> String {
    let first = text.starts_with(|letter: char| letter.is_ascii_digit()).then_some('_');
    let letters = text.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' });
    first.into_iter().chain(letters).collect()
}

/// The first [`TEXT_MAX`] characters.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(TEXT_MAX).map_or(text, |(end, _)| &text[..end])
}

/// A number as the format spells it.
fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::metrics::v1::{Metric, number_data_point::Value};
    use prost::Message as _;
    use storage::compression::{self, Codec};

    use super::*;
    use crate::telemetry::otlp::tests::{attribute, document, gauge, point, sum};

    fn push(instance: u128, codec: Codec, document: Vec<u8>) -> Push {
        Push {
            instance_id: Uuid(instance.to_be_bytes()),
            client_id: "app \"1\"".to_owned(),
            interval_ms: 1000,
            codec,
            document: document.into(),
        }
    }

    fn of(metrics: Vec<Metric>) -> Vec<u8> {
        document(vec![attribute("group_id", "g\\1")], metrics).encode_to_vec()
    }

    #[test]
    fn a_push_is_shown_with_the_names_and_labels_that_prometheus_allows() {
        let mut clients = Clients::default();
        let node = vec![attribute("node.id", "1"), attribute("client_id", "forged")];
        let metrics = vec![
            gauge("org.apache.kafka.consumer.lag-max", vec![point(Value::AsInt(7), node)]),
            sum("org.apache.kafka.sent.total", true, 2, vec![point(Value::AsDouble(1.5), Vec::new())]),
        ];
        let mut packed = Vec::new();
        compression::compress(Codec::Zstd, &of(metrics), &mut packed);
        let now = Instant::now();
        assert!(clients.take(&push(1, Codec::Zstd, packed), now));
        let page = clients.page(now);
        let id = Uuid(1_u128.to_be_bytes());
        let who = format!("client_id=\"app \\\"1\\\"\",client_instance_id=\"{id}\",group_id=\"g\\\\1\"");
        for line in [
            "skein_client_metrics_instances 1".to_owned(),
            "skein_client_metrics_pushes_total{result=\"taken\"} 1".to_owned(),
            "# TYPE org_apache_kafka_consumer_lag_max gauge".to_owned(),
            format!("org_apache_kafka_consumer_lag_max{{{who},node_id=\"1\"}} 7"),
            "# TYPE org_apache_kafka_sent_total counter".to_owned(),
            format!("org_apache_kafka_sent_total{{{who}}} 1.5"),
        ] {
            assert!(page.lines().any(|other| other == line), "{line}\n{page}");
        }
    }

    #[test]
    fn a_push_replaces_the_last_one_and_a_broken_one_does_not() {
        let mut clients = Clients::default();
        let now = Instant::now();
        let metrics = |name: &str| of(vec![gauge(name, vec![point(Value::AsInt(1), Vec::new())])]);
        assert!(clients.take(&push(1, Codec::None, metrics("a.first")), now));
        assert!(clients.take(&push(1, Codec::None, metrics("a.second")), now));
        let cut = metrics("a.third");
        assert!(!clients.take(&push(1, Codec::None, cut[..cut.len() - 1].to_vec()), now));
        assert!(!clients.take(&push(1, Codec::Gzip, metrics("a.fourth")), now));
        let page = clients.page(now);
        assert!(page.contains("\na_second{") && page.contains("{result=\"broken\"} 2"), "{page}");
        assert_eq!(page.lines().filter(|line| line.starts_with("a_")).count(), 1, "{page}");
    }

    #[test]
    fn clients_that_are_silent_or_too_many_are_no_longer_shown() {
        let mut clients = Clients::default();
        let start = Instant::now();
        let metrics = of(vec![gauge("a.b", vec![point(Value::AsInt(1), Vec::new())])]);
        for id in 0..INSTANCES_MAX as u32 + 5 {
            let now = start + Duration::from_millis(id.into());
            assert!(clients.take(&push(id.into(), Codec::None, metrics.clone()), now));
        }
        assert_eq!(clients.instances.len(), INSTANCES_MAX);
        assert!(!clients.instances.contains_key(&Uuid(4_u128.to_be_bytes())));
        assert!(clients.instances.contains_key(&Uuid(5_u128.to_be_bytes())));
        assert!(clients.page(start + 2 * SHOWN_MIN).contains("skein_client_metrics_instances 0\n"));
        assert_eq!((clients.instances.len(), clients.bytes), (0, 0));
    }

    #[test]
    fn no_client_takes_more_than_its_share() {
        let mut clients = Clients::default();
        let now = Instant::now();
        let points = (0..SERIES_MAX + 100).map(|n| point(Value::AsInt(1), vec![attribute("n", &n.to_string())]));
        let long = "x".repeat(1000);
        let metrics = vec![
            gauge("a.many", points.collect()),
            gauge(&format!("a.{long}"), vec![point(Value::AsInt(1), Vec::new())]),
        ];
        assert!(clients.take(&push(1, Codec::None, of(metrics)), now));
        assert_eq!(clients.instances[&Uuid(1_u128.to_be_bytes())].series.len(), SERIES_MAX);
        assert_eq!(clients.left_out, 101);
        let labels = || ["k", "l", "m", "n"].map(|key| attribute(key, &long[..TEXT_MAX])).to_vec();
        for id in 2..20 {
            let points = (0..SERIES_MAX).map(|n| point(Value::AsInt(n as i64), labels()));
            let metrics: Vec<Metric> =
                points.enumerate().map(|(n, point)| gauge(&format!("a{n}.{}", &long[..150]), vec![point])).collect();
            assert!(clients.take(&push(id, Codec::None, of(metrics)), now));
            assert!(clients.bytes <= BYTES_MAX);
        }
        assert!(clients.instances.len() < 18, "the oldest made room");
    }

    #[test]
    fn no_client_speaks_for_the_node() {
        let mut clients = Clients::default();
        let now = Instant::now();
        let forged = ["skein.disk.full", "skein_disk_full.", "up"];
        let metrics = forged.map(|name| gauge(name, vec![point(Value::AsInt(1), Vec::new())])).to_vec();
        assert!(clients.take(&push(1, Codec::None, of(metrics)), now));
        assert_eq!(clients.left_out, 3);
        let page = clients.page(now);
        assert!(!page.contains("disk_full") && !page.contains("\nup"), "{page}");
    }
}
