//! What two pages say together: rates, quantiles of the time between them, and what is at the moment.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::page::{Page, Sample};

/// What there is to see.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct View {
    pub(super) version: String,
    pub(super) is_ready: bool,
    pub(super) uptime_s: f64,
    /// CPUs in use by the process.
    pub(super) cpus: f64,
    pub(super) resident_bytes: f64,
    pub(super) shards: Vec<Shard>,
    /// The busiest first.
    pub(super) topics: Vec<Topic>,
    /// The one furthest behind first.
    pub(super) groups: Vec<Group>,
    /// The slowest first.
    pub(super) requests: Vec<Requests>,
}

/// One shard.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shard {
    pub(super) number: String,
    pub(super) is_up: bool,
    pub(super) connections: f64,
    pub(super) requests_per_s: f64,
    pub(super) errors_per_s: f64,
    pub(super) received_per_s: f64,
    pub(super) sent_per_s: f64,
    /// Of journal groups, in seconds; none without any.
    pub(super) durable_p99_s: Option<f64>,
    pub(super) is_disk_full: bool,
}

/// One topic.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) produced_per_s: f64,
    pub(super) produced_bytes_per_s: f64,
    pub(super) fetched_per_s: f64,
    pub(super) fetched_bytes_per_s: f64,
    pub(super) log_bytes: f64,
}

/// How far behind a group is in a topic.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) topic: String,
    pub(super) records: f64,
    pub(super) seconds: f64,
}

/// One API on one shard.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Requests {
    pub(super) shard: String,
    pub(super) api: String,
    pub(super) per_s: f64,
    pub(super) p50_s: f64,
    pub(super) p99_s: f64,
    pub(super) mean_s: f64,
}

impl View {
    /// What happened between two pages, `seconds` apart, and how things are at the second.
    pub(super) fn between(before: &Page, after: &Page, seconds: f64) -> Self {
        let span = Span { before, after, seconds };
        let mut topics: Vec<Topic> = after.all("skein_topic_partitions").iter().map(|it| span.topic(it)).collect();
        topics.sort_by(|a, b| b.bytes_per_s().total_cmp(&a.bytes_per_s()).then_with(|| a.name.cmp(&b.name)));
        let mut groups: Vec<Group> = after.all("skein_group_lag_records").iter().map(|it| span.group(it)).collect();
        groups.sort_by(|a, b| (b.seconds.total_cmp(&a.seconds)).then(b.records.total_cmp(&a.records)));
        let durations = after.all("skein_request_duration_seconds_count").iter();
        let mut requests: Vec<Requests> = durations.filter_map(|it| span.requests(it)).collect();
        requests.sort_by(|a, b| (b.p99_s.total_cmp(&a.p99_s)).then(b.mean_s.total_cmp(&a.mean_s)));
        View {
            version: after.all("skein_build_info").first().map(|it| it.label("version").to_owned()).unwrap_or_default(),
            is_ready: after.value("skein_ready") == Some(1.0),
            uptime_s: after.value("skein_uptime_seconds").unwrap_or(0.0),
            cpus: span.rate("skein_process_cpu_seconds_total", &[]),
            resident_bytes: after.value("skein_process_resident_bytes").unwrap_or(0.0),
            shards: after.all("skein_shard_up").iter().map(|it| span.shard(it)).collect(),
            topics,
            groups,
            requests,
        }
    }

    /// The view as a document.
    pub(super) fn to_json(&self) -> Value {
        let shard = |it: &Shard| {
            json!({
                "shard": it.number, "up": it.is_up, "connections": it.connections, "requests_per_second": it.requests_per_s,
                "errors_per_second": it.errors_per_s, "received_bytes_per_second": it.received_per_s,
                "sent_bytes_per_second": it.sent_per_s, "durable_p99_seconds": it.durable_p99_s,
                "disk_full": it.is_disk_full,
            })
        };
        let topic = |it: &Topic| {
            json!({
                "topic": it.name, "produced_records_per_second": it.produced_per_s,
                "produced_bytes_per_second": it.produced_bytes_per_s, "fetched_records_per_second": it.fetched_per_s,
                "fetched_bytes_per_second": it.fetched_bytes_per_s, "log_bytes": it.log_bytes,
            })
        };
        let group = |it: &Group| json!({"group": it.name, "topic": it.topic, "lag_records": it.records, "lag_seconds": it.seconds});
        let requests = |it: &Requests| {
            json!({
                "shard": it.shard, "api": it.api, "per_second": it.per_s, "p50_seconds": it.p50_s,
                "p99_seconds": it.p99_s, "mean_seconds": it.mean_s,
            })
        };
        json!({
            "version": self.version, "ready": self.is_ready, "uptime_seconds": self.uptime_s, "cpus": self.cpus,
            "resident_bytes": self.resident_bytes,
            "shards": self.shards.iter().map(shard).collect::<Vec<_>>(),
            "topics": self.topics.iter().map(topic).collect::<Vec<_>>(),
            "groups": self.groups.iter().map(group).collect::<Vec<_>>(),
            "requests": self.requests.iter().map(requests).collect::<Vec<_>>(),
        })
    }
}

impl Topic {
    fn bytes_per_s(&self) -> f64 {
        self.produced_bytes_per_s + self.fetched_bytes_per_s
    }
}

/// Two pages and the time between them.
struct Span<'a> {
    before: &'a Page,
    after: &'a Page,
    seconds: f64,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

fn has(sample: &Sample, labels: Labels<'_>) -> bool {
    labels.iter().all(|(name, value)| sample.label(name) == *value)
}

impl Span<'_> {
    /// How much a counter rose a second, over all samples with these labels. A node that was started again counts from 0.
    fn rate(&self, name: &str, labels: Labels<'_>) -> f64 {
        let sum = |page: &Page| -> f64 { page.all(name).iter().filter(|it| has(it, labels)).map(|it| it.value).sum() };
        let (before, after) = (sum(self.before), sum(self.after));
        let rise = if after >= before { after - before } else { after };
        rise / self.seconds.max(f64::MIN_POSITIVE)
    }

    fn now(&self, name: &str, labels: Labels<'_>) -> f64 {
        self.after.all(name).iter().filter(|it| has(it, labels)).map(|it| it.value).sum()
    }

    fn shard(&self, up: &Sample) -> Shard {
        let number = up.label("shard");
        let labels: Labels<'_> = &[("shard", number)];
        Shard {
            number: number.to_owned(),
            is_up: up.value > 0.0,
            connections: self.now("skein_connections", labels),
            requests_per_s: self.rate("skein_requests_total", labels),
            errors_per_s: self.rate("skein_errors_total", labels),
            received_per_s: self.rate("skein_received_bytes_total", labels),
            sent_per_s: self.rate("skein_sent_bytes_total", labels),
            durable_p99_s: self.quantile("skein_append_durable_duration_seconds_bucket", labels, 0.99),
            is_disk_full: self.now("skein_disk_full", labels) > 0.0,
        }
    }

    fn topic(&self, sample: &Sample) -> Topic {
        let name = sample.label("topic");
        let labels: Labels<'_> = &[("topic", name)];
        Topic {
            name: name.to_owned(),
            produced_per_s: self.rate("skein_topic_produced_records_total", labels),
            produced_bytes_per_s: self.rate("skein_topic_produced_bytes_total", labels),
            fetched_per_s: self.rate("skein_topic_fetched_records_total", labels),
            fetched_bytes_per_s: self.rate("skein_topic_fetched_bytes_total", labels),
            log_bytes: self.now("skein_topic_log_bytes", labels),
        }
    }

    fn group(&self, sample: &Sample) -> Group {
        let (name, topic) = (sample.label("group"), sample.label("topic"));
        let seconds = self.now("skein_group_lag_seconds", &[("group", name), ("topic", topic)]);
        Group { name: name.to_owned(), topic: topic.to_owned(), records: sample.value, seconds }
    }

    /// An API on a shard, if any of its requests were answered in between.
    fn requests(&self, count: &Sample) -> Option<Requests> {
        let (shard, api) = (count.label("shard"), count.label("api"));
        let labels: Labels<'_> = &[("shard", shard), ("api", api)];
        let per_s = self.rate("skein_request_duration_seconds_count", labels);
        let quantile = |quantile| self.quantile("skein_request_duration_seconds_bucket", labels, quantile);
        let (p50_s, p99_s) = (quantile(0.5)?, quantile(0.99)?);
        let mean_s = self.rate("skein_request_duration_seconds_sum", labels) / per_s;
        Some(Requests { shard: shard.to_owned(), api: api.to_owned(), per_s, p50_s, p99_s, mean_s })
    }

    /// A quantile of what was recorded in between, placed evenly within its class; none if nothing was. What is above
    /// all bounds counts as the largest bound.
    fn quantile(&self, buckets: &str, labels: Labels<'_>, quantile: f64) -> Option<f64> {
        let (before, after) = (classes(self.before, buckets, labels), classes(self.after, buckets, labels));
        let was_restarted = after.iter().any(|(bound, count)| before.get(bound).is_some_and(|was| was > count));
        let rise =
            |bound: &u64, count: f64| if was_restarted { count } else { count - before.get(bound).unwrap_or(&0.0) };
        let rises: Vec<(f64, f64)> =
            after.iter().map(|(bound, &count)| (f64::from_bits(*bound), rise(bound, count))).collect();
        let total = rises.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
        let wanted = quantile * total;
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in rises {
            if count >= wanted {
                let share = if count > below { (wanted - below) / (count - below) } else { 0.0 };
                return Some(if bound.is_finite() { low + (bound - low) * share } else { low });
            }
            (low, below) = (bound, count);
        }
        Some(low)
    }
}

/// How many were at or below each bound, over all samples with these labels. Positive numbers sort as their bits.
fn classes(page: &Page, buckets: &str, labels: Labels<'_>) -> BTreeMap<u64, f64> {
    let mut classes = BTreeMap::new();
    for sample in page.all(buckets).iter().filter(|it| has(it, labels)) {
        let bound = match sample.label("le") {
            "+Inf" => f64::INFINITY,
            bound => bound.parse().unwrap_or(f64::INFINITY),
        };
        *classes.entry(bound.to_bits()).or_default() += sample.value;
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(requests: u64, fast: u64, slow: u64, bytes: u64) -> Page {
        let all = fast + slow;
        let text = format!(
            "skein_build_info{{version=\"1.2.3\"}} 1\nskein_ready 1\nskein_shard_up{{shard=\"0\"}} 1\n\
             skein_requests_total{{shard=\"0\",api=\"Produce\"}} {requests}\n\
             skein_request_duration_seconds_bucket{{shard=\"0\",api=\"Produce\",le=\"0.001\"}} {fast}\n\
             skein_request_duration_seconds_bucket{{shard=\"0\",api=\"Produce\",le=\"0.002\"}} {all}\n\
             skein_request_duration_seconds_bucket{{shard=\"0\",api=\"Produce\",le=\"+Inf\"}} {all}\n\
             skein_request_duration_seconds_sum{{shard=\"0\",api=\"Produce\"}} {all}\n\
             skein_request_duration_seconds_count{{shard=\"0\",api=\"Produce\"}} {all}\n\
             skein_topic_partitions{{topic=\"a\"}} 1\nskein_topic_partitions{{topic=\"b\"}} 1\n\
             skein_topic_produced_bytes_total{{topic=\"b\"}} {bytes}\n\
             skein_group_lag_records{{group=\"g\",topic=\"a\"}} 5\nskein_group_lag_seconds{{group=\"g\",topic=\"a\"}} 1\n\
             skein_group_lag_records{{group=\"h\",topic=\"a\"}} 1\nskein_group_lag_seconds{{group=\"h\",topic=\"a\"}} 7\n"
        );
        Page::parse(&text).expect("a page")
    }

    #[test]
    fn rates_and_quantiles_are_of_the_time_between_the_pages() {
        let view = View::between(&page(100, 1000, 0, 50), &page(300, 1050, 50, 250), 2.0);
        assert_eq!((view.version.as_str(), view.is_ready), ("1.2.3", true));
        assert_eq!(view.shards[0].requests_per_s, 100.0);
        let requests = &view.requests[0];
        assert_eq!((requests.per_s, requests.mean_s), (50.0, 1.0));
        assert!((requests.p50_s - 0.001).abs() < 1e-9 && (requests.p99_s - 0.00198).abs() < 1e-9, "{requests:?}");
        assert_eq!(view.topics[0].name, "b", "the busiest comes first");
        assert_eq!(view.topics[0].produced_bytes_per_s, 100.0);
        assert_eq!(view.groups[0].name, "h", "the one furthest behind comes first");
    }

    #[test]
    fn what_nobody_asked_for_has_no_duration() {
        let same = page(100, 10, 10, 0);
        assert!(View::between(&same, &same, 1.0).requests.is_empty());
    }

    #[test]
    fn a_node_that_was_started_again_counts_from_0() {
        let view = View::between(&page(1000, 1000, 0, 999), &page(10, 10, 0, 20), 1.0);
        assert_eq!(view.shards[0].requests_per_s, 10.0);
        assert_eq!(view.requests[0].per_s, 10.0);
        assert!(view.requests[0].p99_s > 0.0);
        assert_eq!(view.topics[0].produced_bytes_per_s, 20.0);
    }
}
