//! What a comparison found: written as JSON, read again to be compared with a later one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::contestant::Contestant;
use crate::error::Error;
use crate::generator::{Latency, Outcome};
use crate::stats;

/// Written into the file, so that a later program can tell what it reads.
const FORMAT: u32 = 1;

/// Steps of a latency curve for each factor of ten in what lies beyond the percentile.
const STEPS_PER_DECADE: u32 = 8;

/// Values by name, one from each run.
pub type Metrics = BTreeMap<String, Vec<f64>>;

/// Everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The version of this file's format.
    pub format: u32,
    /// How it was made, as a sentence.
    pub made: String,
    /// Facts that figures depend on: the machine, the versions of the programs.
    pub facts: Vec<(String, String)>,
    /// Ids and titles of the contestants, in order; the floor is the echo server.
    pub contestants: Vec<(String, String)>,
    /// Rounds.
    pub pairs: usize,
    /// Runs that were thrown away, because processors were taken away during them.
    pub thrown_away: usize,
    /// What failed, as sentences.
    pub failures: Vec<String>,
    /// The loads.
    pub scenarios: Vec<ScenarioResults>,
    /// The loads at rising rates.
    pub sweeps: Vec<SweepResults>,
    /// Starting, recovering, doing nothing.
    pub footprints: Vec<Footprint>,
    /// What the disk does by itself.
    pub disk: Metrics,
    /// A compaction of many keys.
    #[serde(default)]
    pub compaction: Metrics,
    /// How long all of it took, in seconds.
    #[serde(default)]
    pub took_s: f64,
}

/// One scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScenarioResults {
    /// Its name.
    pub name: String,
    /// For people.
    pub title: String,
    /// What it shows.
    pub what: String,
    /// The workload, as a file for `skein bench load`.
    pub workload: String,
    /// Of each contestant.
    pub series: Vec<Series>,
}

/// One contestant in one scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The contestant's id, or that of a load of its own.
    pub id: String,
    /// For people.
    #[serde(default)]
    pub title: String,
    /// Every run's values.
    pub metrics: Metrics,
    /// Latency over all runs: quantile and µs.
    pub curve: Vec<(f64, f64)>,
    /// The seconds of the first run.
    pub timeline: Vec<Point>,
}

/// A second of a load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Requests acknowledged.
    pub requests: u64,
    /// MiB read.
    pub read_mib: f64,
    /// The 99th percentile of the latency, in µs.
    pub p99_us: f64,
}

/// A scenario at rising rates.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepResults {
    /// For people.
    pub title: String,
    /// What it shows.
    pub what: String,
    /// Of each contestant.
    pub sweeps: Vec<Sweep>,
}

/// One contestant at rising rates.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// The contestant's id.
    pub id: String,
    /// Every rate that was carried.
    pub steps: Vec<Step>,
}

/// One rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Records a second that were acknowledged.
    pub per_second: f64,
    /// Latency, in µs.
    pub p50_us: f64,
    /// Latency, in µs.
    pub p99_us: f64,
    /// The broker's CPU for a request, in µs.
    pub cpu_us: f64,
}

/// What a server needs to start and to do nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Footprint {
    /// The server's title.
    pub title: String,
    /// Its name in the figures.
    pub id: String,
    /// Resident MiB with so many partitions.
    pub memory: Vec<(u32, f64)>,
    /// Every other value.
    pub metrics: Metrics,
}

impl Results {
    /// Results of nothing yet.
    #[must_use]
    pub fn new(made: String, facts: Vec<(String, String)>, contestants: &[Contestant], pairs: usize) -> Self {
        let contestants =
            contestants.iter().map(|contestant| (contestant.id.clone(), contestant.title.clone())).collect();
        Self { format: FORMAT, made, facts, contestants, pairs, ..Self::default() }
    }

    /// As a file.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts")
    }

    /// From a file.
    ///
    /// # Errors
    /// If it is no such file, or one of another format.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let results: Self = serde_json::from_str(text).map_err(|error| Error::Results { what: error.to_string() })?;
        if results.format != FORMAT {
            let what = format!("it has format {}, and this program reads {FORMAT}", results.format);
            return Err(Error::Results { what });
        }
        Ok(results)
    }

    /// A contestant's title.
    #[must_use]
    pub fn title<'a>(&'a self, id: &'a str) -> &'a str {
        let found = self.contestants.iter().find(|(known, _)| known == id);
        found.map_or(if id == ECHO { "echo (floor)" } else { id }, |(_, title)| title)
    }

    /// A scenario by its name.
    #[must_use]
    pub fn scenario(&self, name: &str) -> Option<&ScenarioResults> {
        self.scenarios.iter().find(|scenario| scenario.name == name)
    }

    /// What the machine did beside servers and load, as the median over all runs, in percent of a CPU.
    #[must_use]
    pub fn other_work_percent(&self) -> Option<f64> {
        let runs = self.scenarios.iter().flat_map(|scenario| &scenario.series);
        let values: Vec<f64> =
            runs.filter_map(|series| series.metrics.get("other_work_percent")).flatten().copied().collect();
        stats::median(&values)
    }

    /// A server's footprint by its id.
    #[must_use]
    pub fn footprint(&self, id: &str) -> Option<&Footprint> {
        self.footprints.iter().find(|footprint| footprint.id == id)
    }
}

/// What the whole machine did for a request, the load included.
const MACHINE_US: &str = "machine_all_us_per_request";

/// The id of the floor's series.
pub const ECHO: &str = "echo";

impl ScenarioResults {
    /// A contestant's series.
    #[must_use]
    pub fn series(&self, id: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.id == id)
    }

    /// Adds to each series what the machine did for a request beyond what it did for one against the echo server, the
    /// echo server's own work left out: with a sink that costs nothing in its place, only the load would be left.
    pub(super) fn compare_with_floor(&mut self) {
        let sink_us = self.series(ECHO).and_then(|echo| {
            let pairs = echo.metrics.get(MACHINE_US)?.iter().zip(echo.metrics.get("cpu_us_per_request")?);
            stats::median(&pairs.map(|(machine, server)| machine - server).collect::<Vec<_>>())
        });
        let Some(sink_us) = sink_us else { return };
        for series in &mut self.series {
            let Some(machine) = series.metrics.get(MACHINE_US) else { continue };
            let above = machine.iter().map(|machine| machine - sink_us).collect();
            series.metrics.insert("machine_above_sink_us".to_owned(), above);
        }
    }
}

impl Series {
    /// For people: its own title, or that of its contestant.
    #[must_use]
    pub fn title<'a>(&'a self, results: &'a Results) -> &'a str {
        if self.title.is_empty() { results.title(&self.id) } else { &self.title }
    }

    /// Adds the values of one run; those of the first also as a timeline.
    pub(super) fn record(&mut self, outcome: &Outcome) {
        let mut add = |name: &str, value: f64| {
            if value.is_finite() {
                self.metrics.entry(name.to_owned()).or_default().push(value);
            }
        };
        let written = outcome.requests > 0;
        let reads = outcome.reads.bytes > 0;
        if written {
            add("requests_per_second", outcome.requests_per_second());
            add("records_per_second", outcome.records_per_second());
            add("mib_per_second", outcome.mib_per_second());
            add("cpu_us_per_request", outcome.cpu_us_per_request());
            add("cpu_s_per_gib", outcome.cpu_s_per_gib(outcome.payload_bytes));
            add("machine_us_per_request", machine_us(outcome));
            add(MACHINE_US, outcome.machine_busy.as_secs_f64() * 1e6 / outcome.requests as f64);
            add("load_us_per_request", outcome.load.cpu.as_secs_f64() * 1e6 / outcome.requests as f64);
            for (name, quantile) in QUANTILES {
                add(name, outcome.latency_us(quantile));
            }
        }
        if reads {
            add("read_mib_per_second", outcome.read_mib_per_second());
            if !written {
                add("read_cpu_s_per_gib", outcome.cpu_s_per_gib(outcome.reads.bytes));
            }
            if outcome.is_cold && !written {
                // Who has not come to the end has read all the time.
                let length = outcome.reads.caught_up.unwrap_or(outcome.elapsed);
                let mib = outcome.reads.bytes as f64 / f64::from(1 << 20);
                add("cold_mib_per_second", mib / length.as_secs_f64());
            }
        }
        if outcome.checked.is_some() {
            for (name, quantile) in QUANTILES {
                let us = outcome.reads.end_to_end.value_at_quantile(quantile) as f64 / 1e3;
                add(&format!("end_to_end_{name}"), us);
            }
        }
        let requests = if written { outcome.requests } else { outcome.reads.fetches };
        add("context_switches_per_request", outcome.server.context_switches as f64 / requests as f64);
        add("stolen_percent", 100.0 * outcome.stolen);
        add("other_work_percent", 100.0 * other_work(outcome));
        if self.timeline.is_empty() {
            // The last second may not be a whole one.
            let whole = outcome.elapsed.as_secs() as usize;
            self.timeline = outcome.intervals.iter().take(whole).map(point).collect();
        }
    }

    /// Adds one value; what could not be computed is left out.
    pub(super) fn add(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.metrics.entry(name.to_owned()).or_default().push(value);
        }
    }

    /// The middle of a metric.
    #[must_use]
    pub fn median(&self, metric: &str) -> Option<f64> {
        stats::median(self.metrics.get(metric)?)
    }
}

/// Names of latencies and their quantiles.
pub(crate) const QUANTILES: [(&str, f64); 6] =
    [("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99), ("p999_us", 0.999), ("p9999_us", 0.9999), ("max_us", 1.0)];

/// What the whole machine did for a request beside the load's own process, in µs: the kernel's threads are in it.
fn machine_us(outcome: &Outcome) -> f64 {
    outcome.machine_busy.saturating_sub(outcome.load.cpu).as_secs_f64() * 1e6 / outcome.requests as f64
}

/// The share of a processor that neither the server nor the load had.
fn other_work(outcome: &Outcome) -> f64 {
    let known = outcome.load.cpu + outcome.server.cpu;
    outcome.machine_busy.saturating_sub(known).as_secs_f64() / outcome.elapsed.as_secs_f64()
}

fn point(interval: &crate::generator::Interval) -> Point {
    Point {
        requests: interval.requests,
        read_mib: interval.read_bytes as f64 / f64::from(1 << 20),
        p99_us: interval.latency.value_at_quantile(0.99) as f64 / 1e3,
    }
}

/// A histogram as a curve, as far as it has values beyond each quantile.
pub(super) fn curve(latency: &Latency) -> Vec<(f64, f64)> {
    let beyond = |step: u32| 10_f64.powf(-f64::from(step) / f64::from(STEPS_PER_DECADE));
    let known = (0..).map(beyond).take_while(|beyond| beyond * latency.len() as f64 >= 1.0);
    known.map(|beyond| (1.0 - beyond, latency.value_at_quantile(1.0 - beyond) as f64 / 1e3)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator;

    #[test]
    fn a_file_is_read_back_and_one_of_another_format_is_refused() {
        let contestants = Contestant::all(true, &["redpanda".to_owned()]);
        let mut results = Results::new("Made by a test.".into(), vec![("CPU".into(), "2".into())], &contestants, 5);
        let mut series = Series { id: "skein-durable".into(), ..Series::default() };
        series.metrics.insert("p50_us".into(), vec![1.0, 3.0, 2.0]);
        assert_eq!(series.median("p50_us"), Some(2.0));
        results.scenarios.push(ScenarioResults {
            name: "x".into(),
            series: vec![series],
            ..ScenarioResults::default()
        });
        assert_eq!(Results::from_json(&results.to_json()).expect("its own file"), results);
        assert_eq!(results.title("kafka-default"), "Kafka, default");
        results.format = 9;
        assert!(Results::from_json(&results.to_json()).is_err());
    }

    #[test]
    fn a_curve_ends_where_its_values_do() {
        let mut latency = generator::latency();
        (1..=1000).for_each(|us| latency.saturating_record(us * 1000));
        let curve = curve(&latency);
        let (last, us) = curve[curve.len() - 1];
        assert!(last <= 0.999 + 1e-9 && last > 0.998 && us > 990.0, "{last} {us}");
        assert!(curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
    }
}
