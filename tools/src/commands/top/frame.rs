//! A view as lines of text, as many as there is room for.

use indicatif::{HumanBytes, HumanDuration};

use super::super::output::{grouped, table};
use super::view::View;

/// Lines of one table without regard to the height: more would hide the next table.
const ROWS_MAX: usize = 20;

/// Lines that are no rows: the head, and for each of four tables its headings and the line before.
const FIXED_LINES: usize = 1 + 4 * 2;

/// The room for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) lines: usize,
}

impl Size {
    /// As much as is needed.
    pub(super) const ANY: Self = Self { columns: usize::MAX, lines: usize::MAX };

    /// Rows for each table after the shards', which are always there.
    fn rows(self, shards: usize) -> usize {
        (self.lines.saturating_sub(FIXED_LINES + shards) / 3).clamp(1, ROWS_MAX)
    }
}

/// The frame, cut to its size.
pub(super) fn lines(endpoint: &str, view: &View, size: Size) -> Vec<String> {
    let rows = size.rows(view.shards.len());
    let tables = [shards(view), topics(view, rows), groups(view, rows), requests(view, rows)];
    let body = tables.iter().flat_map(|table| std::iter::once("").chain(table.lines()));
    let all = std::iter::once(head(endpoint, view)).chain(body.map(str::to_owned));
    all.take(size.lines).map(|line| line.chars().take(size.columns).collect()).collect()
}

fn head(endpoint: &str, view: &View) -> String {
    let state = if view.is_ready { "ready" } else { "NOT READY" };
    let up = HumanDuration(std::time::Duration::from_secs_f64(view.uptime_s.max(0.0)));
    format!(
        "skein {} at {endpoint}: {state}, up {up}, {:.2} CPUs, {} resident",
        view.version,
        view.cpus,
        bytes(view.resident_bytes)
    )
}

fn shards(view: &View) -> String {
    let rows = view.shards.iter().map(|shard| {
        let state = match (shard.is_up, shard.is_disk_full) {
            (false, _) => "SILENT",
            (true, true) => "DISK FULL",
            (true, false) => "ok",
        };
        vec![
            shard.number.clone(),
            number(shard.connections),
            number(shard.requests_per_s),
            number(shard.errors_per_s),
            bytes(shard.received_per_s),
            bytes(shard.sent_per_s),
            shard.durable_p99_s.map_or_else(|| "-".to_owned(), duration),
            state.to_owned(),
        ]
    });
    let headings = [">SHARD", ">CONNECTIONS", ">REQUESTS/S", ">ERRORS/S", ">IN/S", ">OUT/S", ">DURABLE P99", "STATE"];
    table(&headings, rows.collect())
}

fn topics(view: &View, rows: usize) -> String {
    let rows = view.topics.iter().take(rows).map(|topic| {
        vec![
            topic.name.clone(),
            number(topic.produced_per_s),
            bytes(topic.produced_bytes_per_s),
            number(topic.fetched_per_s),
            bytes(topic.fetched_bytes_per_s),
            bytes(topic.log_bytes),
        ]
    });
    table(&["TOPIC", ">PRODUCED/S", ">BYTES/S", ">FETCHED/S", ">BYTES/S", ">SIZE"], rows.collect())
}

fn groups(view: &View, rows: usize) -> String {
    let rows = view
        .groups
        .iter()
        .take(rows)
        .map(|group| vec![group.name.clone(), group.topic.clone(), number(group.records), duration(group.seconds)]);
    table(&["GROUP", "TOPIC", ">LAG", ">BEHIND"], rows.collect())
}

fn requests(view: &View, rows: usize) -> String {
    let rows = view.requests.iter().take(rows).map(|requests| {
        vec![
            requests.api.clone(),
            requests.shard.clone(),
            number(requests.per_s),
            duration(requests.p50_s),
            duration(requests.p99_s),
            duration(requests.mean_s),
        ]
    });
    table(&["SLOWEST", ">SHARD", ">ANSWERED/S", ">P50", ">P99", ">MEAN"], rows.collect())
}

fn bytes(bytes: f64) -> String {
    HumanBytes(bytes as u64).to_string()
}

/// Small numbers with a fraction, large ones grouped.
fn number(number: f64) -> String {
    if number > 0.0 && number < 10.0 && number.fract() != 0.0 {
        format!("{number:.1}")
    } else {
        grouped(number.round() as u64)
    }
}

/// `350 µs`, `12.3 ms`, `4.5 s`, `12 m`, `30 h`.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s <= 0.0 => "0".to_owned(),
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s if s < 600.0 => format!("{s:.1} s"),
        s if s < 36_000.0 => format!("{:.0} m", s / 60.0),
        s => format!("{:.0} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::{Group, Requests, Shard, Topic};
    use super::*;

    fn view() -> View {
        let topic = |number| Topic { name: format!("topic-{number}"), produced_per_s: 1234.0, ..Topic::default() };
        View {
            version: "1.2.3".to_owned(),
            is_ready: true,
            shards: vec![
                Shard { number: "0".to_owned(), is_up: true, durable_p99_s: Some(0.0021), ..Shard::default() },
                Shard { number: "1".to_owned(), ..Shard::default() },
            ],
            topics: (0..50).map(topic).collect(),
            groups: vec![Group { name: "g".to_owned(), topic: "t".to_owned(), records: 7.0, seconds: 90.0 }],
            requests: vec![Requests { api: "Produce".to_owned(), p99_s: 0.5, ..Requests::default() }],
            ..View::default()
        }
    }

    #[test]
    fn a_frame_says_what_matters() {
        let text = lines("http://x:1", &view(), Size::ANY).join("\n");
        for said in ["skein 1.2.3 at http://x:1: ready", "SILENT", "2.1 ms", "topic-0", "1,234", "90.0 s", "500.0 ms"] {
            assert!(text.contains(said), "{said}:\n{text}");
        }
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn a_frame_fits_its_terminal() {
        for (columns, height) in [(80, 24), (40, 12), (10, 3), (1, 1)] {
            let lines = lines("http://x:1", &view(), Size { columns, lines: height });
            assert!(lines.len() <= height && lines.iter().all(|line| line.chars().count() <= columns));
        }
        let text = lines("http://x:1", &view(), Size { columns: 80, lines: 24 }).join("\n");
        assert!(text.contains("SLOWEST") && text.contains("Produce"), "no table is pushed out:\n{text}");
    }

    #[test]
    fn durations_have_the_unit_that_suits_them() {
        for (seconds, text) in
            [(0.0, "0"), (0.00035, "350 µs"), (0.0123, "12.3 ms"), (4.5, "4.5 s"), (720.0, "12 m"), (108_000.0, "30 h")]
        {
            assert_eq!(duration(seconds), text);
        }
    }
}
