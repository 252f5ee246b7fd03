//! What is measured, as data.

use crate::workload::{Consume, Consumers, Produce, Rate, Records, Size, Time, Workload};

/// Record batches written in one run at most, so that fast machines need no large disk.
const BYTES_MAX: u64 = 2 << 30;

/// Partitions of the scenario with many.
const MANY: i32 = 10_000;

/// One load for all contestants.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// In the names of figures.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// What it shows.
    pub what: &'static str,
    /// The load.
    pub workload: Workload,
    /// Whether the echo server can be loaded with it as well: its floor.
    pub has_floor: bool,
}

/// How long everything lasts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    pub(super) warm_up_s: f64,
    pub(super) seconds: f64,
    /// Whether the parts that take minutes are left out.
    pub(super) is_quick: bool,
}

/// A record of so many bytes in requests of so many.
fn produce(record_bytes: usize, batch_bytes: usize, producers: u32) -> Workload {
    Workload {
        records: Records { bytes: Size::Fixed(record_bytes), ..Records::default() },
        produce: Produce { producers, batch_bytes, ..Produce::default() },
        time: Time { bytes_max: BYTES_MAX, ..Time::default() },
        ..Workload::default()
    }
}

/// The same at a rate.
fn at(records_per_second: f64, workload: Workload) -> Workload {
    let produce = Produce { in_flight: 100, ..workload.produce };
    let rate = Rate { records_per_second: Some(records_per_second), ..Rate::default() };
    Workload { produce, rate, ..workload }
}

fn reading(consume: Consume, workload: Workload) -> Workload {
    Workload { consume, ..workload }
}

fn scenario(name: &'static str, title: &'static str, what: &'static str, workload: Workload) -> Scenario {
    let has_floor = workload.consume.kind == Consumers::None;
    Scenario { name, title, what, workload, has_floor }
}

/// Every scenario, in the order of the report.
#[must_use]
pub fn scenarios(warm_up_s: f64, seconds: f64, is_quick: bool) -> Vec<Scenario> {
    let lengths = Lengths { warm_up_s, seconds, is_quick };
    let mut all = vec![
        scenario(
            "single-64x5",
            "One 100 B record a request, 64 connections × 5",
            "What a request costs when many clients send small ones.",
            produce(100, 0, 64),
        ),
        scenario(
            "single-1x5",
            "One 100 B record a request, 1 connection × 5",
            "The same from a single client: nothing is shared.",
            produce(100, 0, 1),
        ),
        scenario(
            "batch-16k",
            "1 KiB records in 16 KiB batches, 16 × 5",
            "The batch size that Kafka's producer has by default.",
            produce(1024, 16 << 10, 16),
        ),
        scenario(
            "batch-1m",
            "1 KiB records in 1 MiB batches, 4 × 5",
            "Bandwidth: bytes through the broker.",
            produce(1024, 1 << 20, 4),
        ),
        scenario(
            "ack",
            "Acknowledgement of one 100 B record at 500 a second",
            "Open loop at a low rate: each record finds the broker at rest.",
            at(500.0, Workload { partitions: 1, ..produce(100, 0, 1) }),
        ),
        scenario(
            "end-to-end",
            "End to end, 10,000 records of 100 B a second",
            "From when a record was due until a consumer had it; every record is checked to be read once, in order.",
            Workload {
                check: true,
                ..reading(
                    Consume { kind: Consumers::Tail, members: 2, ..Consume::default() },
                    at(10_000.0, produce(100, 0, 16)),
                )
            },
        ),
        scenario(
            "tail-read",
            "Reading what was written last, 1 MiB at a time",
            "What serving consumers costs while memory or the page cache has the records.",
            reading(
                Consume { kind: Consumers::Replay, members: 4, preload_bytes: 32 << 20, ..Consume::default() },
                produce(1024, 16 << 10, 0),
            ),
        ),
        scenario(
            "catch-up",
            "A cold consumer catches up while 2,000 records of 1 KiB a second are written",
            "Whether old reads disturb new writes.",
            reading(
                Consume { kind: Consumers::Cold, members: 1, preload_bytes: 1 << 30, ..Consume::default() },
                at(2_000.0, produce(1024, 0, 16)),
            ),
        ),
    ];
    if !is_quick {
        all.push(scenario(
            "many-partitions",
            "One 100 B record a request over 10,000 partitions, 64 × 5",
            "Whether cost grows with the number of partitions.",
            Workload { partitions: MANY, ..produce(100, 0, 64) },
        ));
    }
    for scenario in &mut all {
        lengths.apply(&mut scenario.workload);
        scenario.workload.topic = scenario.name.to_owned();
    }
    all
}

impl Lengths {
    fn apply(self, workload: &mut Workload) {
        workload.time.warm_up_s = self.warm_up_s;
        workload.time.seconds = self.seconds;
        if self.is_quick {
            workload.consume.preload_bytes /= 4;
        }
    }

    /// The loads at rising rates: latency against throughput.
    pub(super) fn sweep(self) -> Scenario {
        let steps: &[f64] =
            if self.is_quick { &[1e3, 1e4, 1e5] } else { &[1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1.5e5, 2e5, 3e5, 4e5] };
        let mut workload = at(1.0, produce(100, 0, 16));
        workload.topic = "sweep".to_owned();
        workload.rate = Rate { steps: steps.to_vec(), ..Rate::default() };
        self.apply(&mut workload);
        let what = "Open loop: each point is a rate that was asked for, until one is not carried.";
        scenario("sweep", "Latency against throughput, one 100 B record a request", what, workload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_can_be_carried_out_and_has_a_name_of_its_own() {
        let mut names = std::collections::BTreeSet::new();
        for is_quick in [false, true] {
            names.clear();
            for scenario in scenarios(1.0, 2.0, is_quick) {
                scenario.workload.validate().expect(scenario.name);
                assert!(names.insert(scenario.name), "{} is there twice", scenario.name);
            }
            Lengths { warm_up_s: 1.0, seconds: 1.0, is_quick }.sweep().workload.validate().expect("a sweep");
        }
    }
}
