//! Latencies in HdrHistogram's log format, which its tools on all platforms read.
//!
//! Each line has a tag, when it began and how long it lasted in seconds, the greatest value in ms, and the whole
//! histogram in its compressed form, in ns.

use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::generator::{Latency, Outcome};

/// The greatest value is written in ms.
const MAX_VALUE_DIVISOR: f64 = 1e6;

/// A log that is being written.
#[derive(Debug, Default)]
pub struct Log {
    lines: Vec<(String, Duration, Latency)>,
}

impl Log {
    /// A log without histograms.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what was measured, each kind of latency with a tag that begins with `name`.
    pub fn outcome(&mut self, name: &str, outcome: &Outcome) {
        // A tag ends at a comma, and a line at a blank.
        let name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
        for (kind, latency) in [("produce", &outcome.latency), ("end-to-end", &outcome.reads.end_to_end)] {
            if !latency.is_empty() {
                self.lines.push((format!("{name}.{kind}"), outcome.elapsed, latency.clone()));
            }
        }
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut bytes = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let mut builder = IntervalLogWriterBuilder::new();
        builder.with_max_value_divisor(MAX_VALUE_DIVISOR).with_base_time(SystemTime::UNIX_EPOCH);
        let mut log = builder.begin_log_with(&mut bytes, &mut serializer).expect("a vector takes all");
        let mut start = Duration::ZERO;
        for (tag, length, latency) in &self.lines {
            let tag = Tag::new(tag).expect("the name was cleaned");
            log.write_histogram(latency, start, *length, Some(tag)).expect("a vector takes all");
            start += *length;
        }
        String::from_utf8(bytes).expect("a log is text")
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::generator;

    #[test]
    fn a_log_is_read_back_with_all_its_values() {
        let mut log = Log::new();
        let mut latency = generator::latency();
        (1..=1000).for_each(|us| latency.saturating_record(us * 1000));
        log.lines.push(("durable.produce".to_owned(), Duration::from_secs(5), latency));
        let text = log.text();
        let found = IntervalLogIterator::new(text.as_bytes()).find_map(|entry| match entry {
            Ok(LogEntry::Interval(interval)) => Some(interval),
            _ => None,
        });
        let interval = found.expect("an interval");
        assert_eq!(interval.tag().map(|tag| tag.as_str()), Some("durable.produce"));
        let base64 = interval.encoded_histogram().to_owned();
        let bytes = base64_decode(&base64);
        let read: Latency = Deserializer::new().deserialize(&mut &bytes[..]).expect("a histogram");
        assert_eq!(read.len(), 1000);
        assert_eq!(read.value_at_quantile(0.5) / 1000, 500);
    }

    fn base64_decode(text: &str) -> Vec<u8> {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
    }
}
