//! What is measured, as data: loads, and who gets them.

use super::contestant::{Contestant, ServerKind};
use super::results::ECHO;
use crate::workload::{Consume, Consumers, Produce, Rate, Records, Size, Time, Workload};

/// Record batches written in one run at most, so that fast machines need no large disk.
const BYTES_MAX: u64 = 2 << 30;

/// Partitions of the scenario with many.
const MANY: i32 = 10_000;

/// Records a second where the number of connections is what changes.
const CONNECTED_RATE: f64 = 20_000.0;

/// How much longer thousands of connections are warmed up, in seconds.
const CONNECTED_S: f64 = 1.5;

/// Records a second of a load that something else disturbs.
const DISTURBED_RATE: f64 = 2_000.0;

/// The scenario of which others take a tenth.
pub(super) const FULL_LOAD: &str = "single-64x5";

/// Records a second if that scenario is left out.
pub(super) const TENTH_UNKNOWN: f64 = 500.0;

/// One comparison: loads that take turns.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// In the names of figures.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// What it shows.
    pub what: &'static str,
    /// What takes turns.
    pub entries: Vec<Entry>,
    /// Whether topics are removed after each run, because they are large.
    pub is_fresh: bool,
    /// Whether the calls of the kernel are counted, in a run of their own.
    pub is_counted: bool,
    /// Whether the disk is measured by itself in each round.
    pub probes_disk: bool,
}

/// One load of one server.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// In the names of figures.
    pub id: String,
    /// For people.
    pub title: String,
    /// Who gets it.
    pub who: Who,
    /// The load.
    pub workload: Workload,
    /// What else happens at the same time.
    pub beside: Option<Workload>,
    /// Whether the page cache forgets the server's files before.
    pub is_cold: bool,
    /// Whether its rate is a tenth of what this server carried in the scenario of full load.
    pub is_tenth: bool,
}

/// Who gets a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The contestant of this place.
    Contestant(usize),
    /// An echo server; with `digests`, one that copies and checksums what comes in.
    Echo {
        /// Whether it does.
        digests: bool,
    },
}

/// How long everything lasts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    pub(super) warm_up_s: f64,
    pub(super) seconds: f64,
    /// Whether the parts that take minutes are left out.
    pub(super) is_quick: bool,
}

/// Makes entries for those contestants that are there.
struct Field<'a> {
    contestants: &'a [Contestant],
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

fn over(partitions: i32, workload: Workload) -> Workload {
    Workload { partitions, ..workload }
}

fn entry(id: &str, title: &str, who: Who, workload: Workload) -> Entry {
    let (id, title) = (id.to_owned(), title.to_owned());
    Entry { id, title, who, workload, beside: None, is_cold: false, is_tenth: false }
}

fn echo(workload: &Workload) -> Entry {
    let workload = Workload { consume: Consume::default(), check: false, ..workload.clone() };
    entry(ECHO, "echo (floor)", Who::Echo { digests: false }, workload)
}

fn scenario(name: &'static str, title: &'static str, what: &'static str, entries: Vec<Entry>) -> Scenario {
    Scenario { name, title, what, entries, is_fresh: false, is_counted: false, probes_disk: false }
}

impl Field<'_> {
    /// One entry for each of these contestants; for all, if none is named.
    fn each(&self, ids: &[&str], workload: &Workload) -> Vec<Entry> {
        let wanted = |contestant: &Contestant| ids.is_empty() || ids.contains(&contestant.id.as_str());
        let known = self.contestants.iter().enumerate().filter(|(_, contestant)| wanted(contestant));
        known
            .map(|(index, contestant)| {
                entry(&contestant.id, &contestant.title, Who::Contestant(index), workload.clone())
            })
            .collect()
    }

    /// All contestants, and the floor.
    fn all(&self, workload: &Workload) -> Vec<Entry> {
        let mut entries = self.each(&[], workload);
        entries.push(echo(workload));
        entries
    }

    /// One contestant with a load that has a name of its own.
    fn variant(&self, contestant: &str, id: &str, title: &str, workload: Workload) -> Option<Entry> {
        let index = self.contestants.iter().position(|known| known.id == contestant)?;
        Some(entry(id, title, Who::Contestant(index), workload))
    }

    fn small(&self) -> Vec<Scenario> {
        let hundred = produce(100, 0, 100);
        vec![
            Scenario {
                is_counted: true,
                ..scenario(
                    FULL_LOAD,
                    "One 100 B record a request, 64 connections × 5",
                    "What a request costs when many clients send small ones.",
                    self.all(&produce(100, 0, 64)),
                )
            },
            Scenario {
                is_counted: true,
                ..scenario(
                    "single-1x5",
                    "One 100 B record a request, 1 connection × 5",
                    "The same from a single client: nothing is shared.",
                    self.all(&produce(100, 0, 1)),
                )
            },
            scenario(
                "producers-100",
                "One 100 B record a request, 100 producers × 5, durable",
                "Throughput of many small writers whose records are on the disk before they are acknowledged.",
                self.each(&["skein-durable", "kafka-durable"], &hundred),
            ),
        ]
    }

    fn batches(&self) -> Vec<Scenario> {
        let large = produce(1024, 1 << 20, 4);
        let mut entries = self.all(&large);
        entries.push(entry("ceiling", "receive, CRC, copy (ceiling)", Who::Echo { digests: true }, large));
        vec![
            Scenario {
                is_fresh: true,
                is_counted: true,
                ..scenario(
                    "batch-16k",
                    "1 KiB records in 16 KiB batches, 16 × 5",
                    "The batch size that Kafka's producer has by default.",
                    self.all(&produce(1024, 16 << 10, 16)),
                )
            },
            Scenario {
                is_fresh: true,
                is_counted: true,
                probes_disk: true,
                ..scenario(
                    "batch-1m",
                    "1 KiB records in 1 MiB batches, 4 × 5",
                    "Bandwidth: bytes through the broker. The ceiling is a server that receives, checksums and copies \
                     on one CPU, and does nothing else.",
                    entries,
                )
            },
        ]
    }

    fn latency(&self) -> Vec<Scenario> {
        let slow = at(500.0, over(1, produce(100, 0, 1)));
        let tenth = |entry: Entry| Entry { is_tenth: true, ..entry };
        let spread = at(500.0, produce(100, 0, 16));
        let checked = Workload {
            check: true,
            ..reading(
                Consume { kind: Consumers::Tail, members: 2, ..Consume::default() },
                at(10_000.0, produce(100, 0, 16)),
            )
        };
        vec![
            Scenario {
                is_counted: true,
                probes_disk: true,
                ..scenario(
                    "ack",
                    "Acknowledgement of one 100 B record at 500 a second",
                    "Open loop at a low rate: each record finds the broker at rest.",
                    self.all(&slow),
                )
            },
            scenario(
                "ack-tenth",
                "Acknowledgement of one 100 B record at 10 % load",
                "Open loop from 16 connections, each broker at a tenth of what it carried with 64 × 5 in this run: the \
                 faster one has the harder task. The echo server has skein's durable rate.",
                self.all(&spread).into_iter().map(tenth).collect(),
            ),
            scenario(
                "end-to-end",
                "End to end, 10,000 records of 100 B a second",
                "From when a record was due until a consumer had it; every record is checked to be read once, in order. \
                 Of the echo server: the round trip at the same rate. Kafka's durable lane does not carry it.",
                self.all(&checked).into_iter().filter(|entry| entry.id != "kafka-durable").collect(),
            ),
        ]
    }

    fn reads(&self) -> Vec<Scenario> {
        let replay = |preload_bytes, members, producers| {
            reading(
                Consume { kind: Consumers::Replay, members, preload_bytes, ..Consume::default() },
                produce(1024, 16 << 10, producers),
            )
        };
        let cold = reading(
            Consume { kind: Consumers::Cold, members: 1, preload_bytes: 1 << 30, ..Consume::default() },
            over(1, produce(1024, 256 << 10, 0)),
        );
        let some = ["skein-durable", "skein-cached", "kafka-default"];
        let forgotten = |entry: Entry| Entry { is_cold: true, ..entry };
        vec![
            scenario(
                "tail-read",
                "Reading what was written last, 1 MiB at a time",
                "What serving consumers costs while memory or the page cache has the records.",
                self.each(&some, &replay(32 << 20, 4, 0)),
            ),
            Scenario {
                probes_disk: true,
                ..scenario(
                    "cold-read",
                    "One consumer reads 1 GiB that is on the disk only",
                    "From the first record to the last, 1 MiB at a time; the page cache was told to forget the files \
                     before.",
                    self.each(&some, &cold).into_iter().map(forgotten).collect(),
                )
            },
        ]
    }

    /// Writes, alone and while a consumer reads old records: for each contestant.
    fn catch_up(&self) -> Scenario {
        let alone = at(DISTURBED_RATE, produce(1024, 0, 16));
        let reader = Consume { kind: Consumers::Replay, members: 1, preload_bytes: 1 << 30, ..Consume::default() };
        let disturbed = reading(reader, alone.clone());
        let mut entries = Vec::new();
        for quiet in self.each(&[], &alone) {
            let (id, title) = (format!("{}.disturbed", quiet.id), format!("{}, a reader beside", quiet.title));
            entries.push(Entry { title: format!("{}, alone", quiet.title), ..quiet.clone() });
            entries.push(Entry { id, title, workload: disturbed.clone(), is_cold: true, ..quiet });
        }
        scenario(
            "catch-up",
            "A consumer reads 1 GiB of old records while 2,000 records of 1 KiB a second are written",
            "Whether old reads disturb new writes. The page cache forgets the files before; the reader begins again \
             where it ends, so what a broker has cached meanwhile it may use.",
            entries,
        )
    }

    /// Writes beside what a broker does in the background: of skein alone.
    fn background(&self) -> Option<Scenario> {
        let foreground = at(DISTURBED_RATE, produce(1024, 0, 16));
        let side = |topic: &str, configs: &[(&str, &str)]| Workload {
            topic: topic.to_owned(),
            topic_configs: configs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            records: Records { bytes: Size::Fixed(1024), keys: crate::workload::Keys::Uniform, key_count: 20_000 },
            ..at(8_000.0, produce(1024, 16 << 10, 4))
        };
        let segments = ("segment.bytes", "16777216");
        let kinds = [
            ("written", "other writes beside", side("side.written", &[segments])),
            (
                "compacted",
                "the same, compacted",
                side(
                    "side.compacted",
                    &[segments, ("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.1")],
                ),
            ),
            (
                "retained",
                "the same, with retention",
                side("side.retained", &[segments, ("retention.bytes", "16777216")]),
            ),
        ];
        let cold = Workload {
            consume: Consume { kind: Consumers::Replay, members: 4, preload_bytes: 512 << 20, ..Consume::default() },
            ..Workload { topic: "side.read".to_owned(), ..produce(1024, 256 << 10, 0) }
        };
        let mut entries = vec![self.variant("skein-durable", "skein-durable", "alone", foreground.clone())?];
        for (id, title, beside) in kinds {
            let quiet = self.variant("skein-durable", id, title, foreground.clone())?;
            entries.push(Entry { beside: Some(beside), ..quiet });
        }
        let readers = self.variant("skein-durable", "read", "4 readers of old records beside", foreground)?;
        entries.push(Entry { beside: Some(cold), is_cold: true, ..readers });
        Some(scenario(
            "background",
            "2,000 records of 1 KiB a second beside compaction, retention and readers of old records",
            "skein alone, durable. Beside: 8,000 keyed records of 1 KiB a second to a topic with segments of 16 MiB, as \
             they are, compacted all the time, or removed by retention; and readers.",
            entries,
        ))
    }

    /// Cost as numbers grow: of skein alone.
    fn growth(&self, is_quick: bool) -> Vec<Scenario> {
        let by_partitions = [(1, "1 partition"), (100, "100 partitions"), (MANY, "10,000 partitions")];
        let by_connections = [(64, "64 connections"), (1_000, "1,000 connections"), (10_000, "10,000 connections")];
        let durable = |id: String, title: &str, workload| self.variant("skein-durable", &id, title, workload);
        let partitions = by_partitions.into_iter().filter_map(|(count, title)| {
            durable(format!("partitions-{count}"), title, over(count, produce(100, 0, 64)))
        });
        let connected = |count| at(CONNECTED_RATE, produce(100, 0, count));
        let mut connections = Vec::new();
        for (count, title) in by_connections {
            connections.extend(durable(format!("connections-{count}"), title, connected(count)));
            let floor =
                Entry { id: format!("echo-{count}"), title: format!("echo, {title}"), ..echo(&connected(count)) };
            connections.extend((!is_quick || count != 1_000).then_some(floor));
        }
        vec![
            scenario(
                "growth-partitions",
                "Cost against partitions: one 100 B record a request, 64 × 5, durable",
                "skein alone: each request goes to the next partition.",
                partitions.collect(),
            ),
            scenario(
                "growth-connections",
                "Cost against connections: 20,000 records of 100 B a second, durable",
                "skein alone, and the echo server: the same rate over more and more connections, so as much is in \
                 flight.",
                connections,
            ),
        ]
    }

    fn many(&self) -> Scenario {
        let workload = over(MANY, produce(100, 0, 64));
        scenario(
            "many-partitions",
            "One 100 B record a request over 10,000 partitions, 64 × 5, durable",
            "Whether a log for each partition means a write for each.",
            self.each(&["skein-durable", "kafka-durable"], &workload),
        )
    }
}

/// What the generator can do by itself: many requests in flight, the cheapest answers.
fn generator() -> Scenario {
    let deep = Workload { produce: Produce { in_flight: 64, ..produce(100, 0, 64).produce }, ..produce(100, 0, 64) };
    scenario(
        "generator",
        "The load by itself: one 100 B record a request to the echo server, 64 × 64",
        "How many requests a CPU of the load can make.",
        vec![echo(&deep)],
    )
}

/// Every scenario, in the order of the report.
#[must_use]
pub fn scenarios(contestants: &[Contestant], warm_up_s: f64, seconds: f64, is_quick: bool) -> Vec<Scenario> {
    let (lengths, field) = (Lengths { warm_up_s, seconds, is_quick }, Field { contestants });
    let mut all = field.small();
    all.extend(field.batches());
    all.extend(field.latency());
    all.extend(field.reads());
    all.push(field.catch_up());
    all.extend((!is_quick).then(|| field.many()));
    all.extend(field.growth(is_quick));
    all.extend(field.background());
    all.push(generator());
    for scenario in &mut all {
        for entry in &mut scenario.entries {
            entry.workload.topic = format!("{}.{}", scenario.name, entry.id);
            if let Who::Contestant(index) = entry.who {
                entry.workload.topic_configs.clone_from(&contestants[index].topic_configs);
            }
            lengths.apply(&mut entry.workload);
            if entry.workload.produce.producers > 1_000 {
                entry.workload.time.warm_up_s += CONNECTED_S;
            }
            // It begins before and ends after.
            let whole_s = warm_up_s + seconds + 1.0;
            entry.beside.iter_mut().for_each(|beside| {
                lengths.apply(beside);
                (beside.time.warm_up_s, beside.time.seconds) = (0.0, whole_s);
            });
        }
    }
    all
}

/// Whether a contestant runs in a JVM that has to be warmed.
pub(super) fn is_slow_to_warm(kind: &ServerKind) -> bool {
    *kind != ServerKind::Skein
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
    pub(super) fn sweep(self, contestants: &[Contestant]) -> (Scenario, Vec<f64>) {
        let steps: &[f64] =
            if self.is_quick { &[1e3, 1e4, 1e5] } else { &[1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1.5e5, 2e5, 3e5, 4e5] };
        let mut workload = at(1.0, produce(100, 0, 16));
        self.apply(&mut workload);
        let mut entries = Field { contestants }.each(&[], &workload);
        for entry in &mut entries {
            entry.workload.topic = format!("sweep.{}", entry.id);
            if let Who::Contestant(index) = entry.who {
                entry.workload.topic_configs.clone_from(&contestants[index].topic_configs);
            }
        }
        let what = "Open loop: each point is a rate that was asked for, until one is not carried.";
        (scenario("sweep", "Latency against throughput, one 100 B record a request", what, entries), steps.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_can_be_carried_out_and_has_a_name_of_its_own() {
        let contestants = Contestant::all(true, &["other".to_owned()]);
        let mut names = std::collections::BTreeSet::new();
        for is_quick in [false, true] {
            names.clear();
            for scenario in scenarios(&contestants, 1.0, 2.0, is_quick) {
                assert!(names.insert(scenario.name), "{} is there twice", scenario.name);
                let mut ids = std::collections::BTreeSet::new();
                for entry in &scenario.entries {
                    entry.workload.validate().expect(scenario.name);
                    entry.beside.iter().for_each(|beside| beside.validate().expect(scenario.name));
                    assert!(ids.insert(&entry.id), "{} is in {} twice", entry.id, scenario.name);
                }
            }
            Lengths { warm_up_s: 1.0, seconds: 1.0, is_quick }.sweep(&contestants).0.entries[0]
                .workload
                .validate()
                .expect("a sweep");
        }
    }

    #[test]
    fn without_kafka_skein_is_measured_alone() {
        let contestants = Contestant::all(false, &[]);
        let all = scenarios(&contestants, 1.0, 2.0, false);
        assert!(all.iter().all(|scenario| !scenario.entries.is_empty()));
    }
}
