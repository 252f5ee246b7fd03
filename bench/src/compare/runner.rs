//! Carries the comparison out.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::contestant::{Contestant, ServerKind};
use super::results::{Footprint, Results, ScenarioResults, Series, Step, Sweep, SweepResults, curve};
use super::scenario::{Entry, FULL_LOAD, Lengths, Scenario, TENTH_UNKNOWN, Who, is_slow_to_warm, scenarios};
use super::servers::Servers;
use super::{compaction, crossing, drained, floors, footprint};
use crate::error::Error;
use crate::generator::{self, Latency, Outcome, Target, latency};
use crate::hlog::Log;
use crate::node::Server;
use crate::workload::{Consume, Consumers, Produce, Rate, Records, Size, Time, Workload};
use crate::{admin::Admin, disk, machine, process, trace};

/// The share of stolen processor time from which on a run is thrown away.
const STOLEN_MAX: f64 = 0.01;

/// How often a run is repeated because of it before it is kept.
const STOLEN_REPEATS_MAX: usize = 3;

/// After how many failed runs a load is left out of the rest of its scenario.
const FAILURES_MAX: usize = 2;

/// How long a server that goes on is left alone before it is loaded.
const SETTLE: Duration = Duration::from_millis(300);

/// How long calls of the kernel are counted.
const COUNTED: Duration = Duration::from_secs(1);

/// What each key of a compaction takes, in seconds.
const COMPACTED_KEY_S: f64 = 5e-6;

/// What a round of footprints takes with a JVM and without, in seconds, and what the parts after it take.
const FOOTPRINT_S: (f64, f64) = (170.0, 45.0);

/// Rounds of requests that cross shards.
const CROSSING_ROUNDS: usize = 3;

/// Rounds of what takes long and varies little.
const FOOTPRINT_ROUNDS: usize = 2;

/// Another broker.
#[derive(Debug, Clone)]
pub struct Other {
    /// What to call it.
    pub name: String,
    /// How to start it: a command of the shell, which finds its port in `PORT` and its directory in `DATA`.
    pub command: String,
}

/// What to compare, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The `skein` program.
    pub program: PathBuf,
    /// How to start Apache Kafka, as [`Other::command`]; with `prepare` before it, how to make its directory.
    pub kafka: Option<PathBuf>,
    /// Further brokers.
    pub others: Vec<Other>,
    /// Where data directories are made: the disk that is measured.
    pub directory: PathBuf,
    /// Rounds: half of them begin with the first contestant, half with the last.
    pub pairs: usize,
    /// What is not measured of each run, in seconds.
    pub warm_up_s: f64,
    /// What is measured of it, in seconds.
    pub seconds: f64,
    /// How long a JVM is loaded before anything is measured.
    pub jvm_warm_up: Duration,
    /// How long servers are left alone to see what they use then.
    pub idle: Duration,
    /// CPUs of the servers.
    pub server_cores: Vec<usize>,
    /// CPUs of the load.
    pub load_cores: Vec<usize>,
    /// Whether the load looks on instead of sleeping.
    pub spins: bool,
    /// Whether the parts that take minutes are left out.
    pub is_quick: bool,
    /// When the whole has to be over: later scenarios get fewer rounds, one at least.
    pub limit: Option<Duration>,
    /// Distinct keys of a compaction, to be measured by itself; none if 0.
    pub compaction_keys: u64,
    /// Only scenarios whose names have one of these in them; all, if there are none.
    pub only: Vec<String>,
    /// Now, in ms since 1970.
    pub wall_ms: i64,
    /// Facts that the caller knows.
    pub facts: Vec<(String, String)>,
    /// How this is made, as a sentence.
    pub made: String,
}

impl Settings {
    pub(super) fn target(&self, server: &Server) -> Target {
        Target {
            address: server.address,
            pid: Some(server.pid()),
            cores: self.load_cores.clone(),
            spins: self.spins,
            is_echo: false,
            wall_ms: self.wall_ms,
        }
    }

    /// Makes what a server needs in its empty directory before it can start.
    pub(super) fn prepare(&self, kind: &ServerKind, data: &Path) -> Result<(), Error> {
        let (ServerKind::Kafka, Some(kafka)) = (kind, &self.kafka) else { return Ok(()) };
        let output = std::process::Command::new(kafka).arg("prepare").env("DATA", data).output();
        let output = output.map_err(Error::system(format!("run {}", kafka.display())))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Server { what: format!("cannot be prepared: {}", String::from_utf8_lossy(&output.stderr)) })
    }

    /// Starts a server; one that `may_pause` bears being stopped by a signal for a while, and no `kill -9`: Kafka's sessions
    /// with itself would expire otherwise, and then must.
    pub(super) fn start(&self, kind: &ServerKind, data: &Path, may_pause: bool) -> Result<Server, Error> {
        let argument = if may_pause { " pausable" } else { "" };
        let command = match kind {
            ServerKind::Skein => return Server::node(&self.program, data, &self.server_cores, &[]),
            ServerKind::Kafka => match &self.kafka {
                Some(path) => format!("{}{argument}", path.display()),
                None => String::new(),
            },
            ServerKind::Other(name) => {
                let found = self.others.iter().find(|other| other.name == *name);
                found.map(|other| other.command.clone()).unwrap_or_default()
            }
        };
        Server::command(&command, data, &self.server_cores)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }

    fn lengths(&self) -> Lengths {
        Lengths { warm_up_s: self.warm_up_s, seconds: self.seconds, is_quick: self.is_quick }
    }
}

/// What a comparison tells while it is made.
pub trait Observer {
    /// Takes a line for people.
    fn say(&self, line: &str);
    /// Takes what is known so far: nothing is lost if the rest fails.
    fn save(&self, results: &Results, log: &Log);
}

struct Comparison<'a> {
    settings: &'a Settings,
    contestants: Vec<Contestant>,
    servers: Servers<'a>,
    results: Results,
    log: Log,
    observer: &'a dyn Observer,
    started: Instant,
}

/// Compares.
///
/// # Errors
/// If no node of skein starts. That anything else fails is a result.
pub fn run(settings: &Settings, observer: &dyn Observer) -> Result<(), Error> {
    let others: Vec<String> = settings.others.iter().map(|other| other.name.clone()).collect();
    let contestants = Contestant::all(settings.kafka.is_some(), &others);
    let mut facts: Vec<_> =
        machine::facts(&settings.directory).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    facts.extend(settings.facts.iter().cloned());
    let results = Results::new(settings.made.clone(), facts, &contestants, settings.pairs);
    let mut comparison = Comparison {
        settings,
        contestants,
        servers: Servers::new(settings),
        results,
        log: Log::new(),
        observer,
        started: Instant::now(),
    };
    comparison.all()
}

impl Comparison<'_> {
    fn all(&mut self) -> Result<(), Error> {
        let Settings { warm_up_s, seconds, is_quick, .. } = *self.settings;
        let mut all = scenarios(&self.contestants, warm_up_s, seconds, is_quick);
        all.retain(|scenario| self.settings.wants(scenario.name));
        if !all.is_empty() || self.settings.wants("sweep") {
            self.start()?;
        }
        for (index, scenario) in all.iter().enumerate() {
            let share = self.share(&all[index..]);
            self.scenario(scenario, share);
            self.save();
        }
        if self.settings.wants("sweep") {
            self.sweep();
            self.save();
        }
        let stopped = self.servers.stop_all();
        self.note("servers", stopped);
        if self.settings.wants("disk") && self.results.disk.is_empty() {
            let measured = floors::disk(self.settings, &mut self.results.disk);
            self.note("disk", measured);
        }
        if self.settings.wants("crossing") {
            self.crossing();
            self.save();
        }
        if self.settings.wants("footprint") {
            self.footprints();
            self.save();
        }
        if self.settings.wants("drained") {
            self.drained();
            self.save();
        }
        if self.settings.compaction_keys > 0 {
            self.say("compaction");
            let measured = compaction::measure(self.settings, &|line| self.observer.say(line));
            self.results.compaction = self.note("compaction", measured).unwrap_or_default();
        }
        self.results.took_s = self.started.elapsed().as_secs_f64();
        self.save();
        Ok(())
    }

    fn say(&self, line: &str) {
        self.observer.say(line);
    }

    fn save(&mut self) {
        self.results.took_s = self.started.elapsed().as_secs_f64();
        self.observer.save(&self.results, &self.log);
    }

    /// Notes a failure, and gives back what did not fail.
    fn note<T>(&mut self, label: &str, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let failure = format!("{label}: {error}");
                self.say(&failure);
                self.results.failures.push(failure);
                None
            }
        }
    }

    /// Starts all servers, warms up those that need it, and stops them where they are.
    fn start(&mut self) -> Result<(), Error> {
        let mut kinds = self.kinds();
        kinds.sort_by_key(|kind| *kind != ServerKind::Skein);
        for kind in kinds {
            let started = self.servers.start(&kind).and_then(|server| {
                let length = self.settings.jvm_warm_up;
                let length = if is_slow_to_warm(&kind) { length } else { length.min(Duration::from_secs(3)) };
                warm_up(&self.settings.target(server), length)?;
                server.pause()
            });
            match started {
                Err(error) if kind == ServerKind::Skein => return Err(error),
                started => {
                    self.say(&format!("{} started", title_of(&kind)));
                    self.note(&title_of(&kind), started);
                }
            }
        }
        Ok(())
    }

    fn kinds(&self) -> Vec<ServerKind> {
        let mut kinds: Vec<ServerKind> = Vec::new();
        for contestant in &self.contestants {
            if !kinds.contains(&contestant.server) {
                kinds.push(contestant.server.clone());
            }
        }
        kinds
    }

    /// How long the first of these scenarios may take, if there is a limit: its share of what is left.
    fn share(&self, scenarios: &[Scenario]) -> Option<Duration> {
        let weight = |scenario: &Scenario| {
            let each: f64 = if scenario.name == "many-partitions" { 3.0 } else { 1.0 };
            each * scenario.entries.len() as f64
        };
        let all: f64 = scenarios.iter().map(weight).sum();
        let (slow, quick) = FOOTPRINT_S;
        let wanted = |name, seconds| if self.settings.wants(name) { seconds } else { 0.0 };
        let scale = if self.settings.is_quick { 0.3 } else { 1.0 };
        let later_s = wanted("footprint", scale * if self.settings.kafka.is_some() { slow } else { quick })
            + wanted("drained", scale * 150.0)
            + wanted("crossing", 30.0)
            + COMPACTED_KEY_S * self.settings.compaction_keys as f64
            + wanted("sweep", self.contestants.len() as f64 * 8.0 * (self.settings.seconds + 1.5));
        let left = self.settings.limit?.saturating_sub(self.started.elapsed()).as_secs_f64() - later_s;
        Some(Duration::from_secs_f64(left.max(0.0) * weight(&scenarios[0]) / all))
    }

    fn scenario(&mut self, scenario: &Scenario, share: Option<Duration>) {
        let mut found = ScenarioResults {
            name: scenario.name.to_owned(),
            title: scenario.title.to_owned(),
            what: scenario.what.to_owned(),
            workload: scenario.entries[0].workload.to_toml(),
            series: Vec::new(),
        };
        let mut latencies: Vec<Latency> = Vec::new();
        for Entry { id, title, .. } in &scenario.entries {
            found.series.push(Series { id: id.clone(), title: title.clone(), ..Series::default() });
            latencies.push(latency());
        }
        let (start, mut failed) = (Instant::now(), vec![0; scenario.entries.len()]);
        for round in 0..self.settings.pairs {
            let next = start.elapsed().mul_f64((round + 1) as f64 / round.max(1) as f64);
            if round > 0 && share.is_some_and(|share| next > share) {
                self.say(&format!("{}: no time for more rounds", scenario.name));
                break;
            }
            if scenario.probes_disk {
                let measured = floors::disk(self.settings, &mut self.results.disk);
                self.note("disk", measured);
            }
            let mut order: Vec<usize> = (0..scenario.entries.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order.into_iter().filter(|&index| failed[index] < FAILURES_MAX).collect::<Vec<_>>() {
                let entry = self.paced(&scenario.entries[index]);
                let label = format!("{}, {} of {}, {}", scenario.name, round + 1, self.settings.pairs, entry.id);
                let measured = self.measure(scenario, &entry, &mut found.series[index], &label);
                let Some(outcome) = self.note(&label, measured) else {
                    failed[index] += 1;
                    let revived = self.revive(&entry);
                    self.note(&label, revived);
                    continue;
                };
                self.log.outcome(&format!("{}.{}.{round}", scenario.name, entry.id), &outcome);
                latencies[index] +=
                    if outcome.checked.is_some() { &outcome.reads.end_to_end } else { &outcome.latency };
                found.series[index].record(&outcome);
            }
        }
        if scenario.is_counted {
            for (entry, series) in scenario.entries.iter().zip(&mut found.series) {
                let label = format!("{}, calls of the kernel, {}", scenario.name, entry.id);
                let counted = self.count(entry, series);
                self.note(&label, counted);
            }
        }
        for (series, latency) in found.series.iter_mut().zip(&latencies) {
            series.curve = curve(latency);
        }
        found.compare_with_floor();
        self.results.scenarios.push(found);
        for entry in &scenario.entries {
            let forgotten = self.forget(entry);
            self.note(scenario.name, forgotten);
        }
    }

    /// The load at the rate that this server is to get.
    fn paced(&self, entry: &Entry) -> Entry {
        let mut entry = entry.clone();
        if entry.is_tenth {
            let full = self.results.scenarios.iter().find(|scenario| scenario.name == FULL_LOAD);
            let who = if let Who::Echo { .. } = entry.who { "skein-durable" } else { entry.id.as_str() };
            let carried = full.and_then(|full| full.series(who)?.median("requests_per_second"));
            let rate = carried.map_or(TENTH_UNKNOWN, |rate| (rate / 10.0).round());
            entry.workload.rate = Rate { records_per_second: Some(rate), ..Rate::default() };
        }
        entry
    }

    /// One run, repeated if processors were taken away.
    fn measure(
        &mut self,
        scenario: &Scenario,
        entry: &Entry,
        series: &mut Series,
        label: &str,
    ) -> Result<Outcome, Error> {
        for repeat in 0.. {
            let outcome = match entry.who {
                Who::Echo { digests } => floors::echo(self.settings, &entry.workload, digests)?,
                Who::Contestant(index) => self.broker(index, entry, series)?,
            };
            if scenario.is_fresh {
                self.forget(entry)?;
            }
            if outcome.requests == 0 && outcome.reads.bytes == 0 {
                return Err(Error::Server { what: "answered nothing while it was measured".to_owned() });
            }
            if outcome.stolen <= STOLEN_MAX || repeat == STOLEN_REPEATS_MAX {
                self.say(&format!("{label}: {}", line(&outcome)));
                return Ok(outcome);
            }
            self.results.thrown_away += 1;
            self.say(&format!("{label}: {:.1} % of the CPUs stolen, again", 100.0 * outcome.stolen));
        }
        unreachable!("the last repetition is kept")
    }

    fn broker(&self, index: usize, entry: &Entry, series: &mut Series) -> Result<Outcome, Error> {
        let (server, data) = self.servers.of(&self.contestants[index].server)?;
        server.resume()?;
        std::thread::sleep(SETTLE);
        let target = self.settings.target(server);
        if entry.is_cold {
            for workload in [Some(&entry.workload), entry.beside.as_ref()].into_iter().flatten() {
                generator::prepare(workload, &target)?;
            }
        }
        machine::drain(data)?;
        if entry.is_cold {
            disk::drop_cached(data)?;
        }
        let device_before = machine::device_written_bytes(data)?;
        let outcome = with_beside(entry, &target)?;
        machine::drain(data)?;
        let device = machine::device_written_bytes(data)? - device_before;
        let resident = process::resident_bytes(server.pid())?;
        server.pause()?;
        if outcome.stolen <= STOLEN_MAX {
            series.add("resident_mib", resident as f64 / f64::from(1 << 20));
            if entry.beside.is_none() {
                series.add("device_bytes_per_byte", device as f64 / outcome.all_payload_bytes as f64);
            }
        }
        Ok(outcome)
    }

    /// Counts what the server asks the kernel for, in a run that is in no other figure.
    fn count(&self, entry: &Entry, series: &mut Series) -> Result<(), Error> {
        let mut workload = entry.workload.clone();
        workload.time.seconds = COUNTED.as_secs_f64() + 0.5;
        let counted = |server: &Server, target: &Target| {
            let (pid, head_start) = (server.pid(), workload.time.warm_up() + Duration::from_millis(100));
            std::thread::scope(|scope| {
                let counting = scope.spawn(move || {
                    std::thread::sleep(head_start);
                    trace::count(pid, COUNTED)
                });
                let outcome = generator::run(&workload, target)?;
                Ok::<_, Error>((counting.join().expect("it only waits")?, outcome))
            })
        };
        let (counted, outcome) = match entry.who {
            Who::Echo { digests } => {
                let (server, target) = floors::echo_server(self.settings, &workload, digests)?;
                counted(&server, &target)?
            }
            Who::Contestant(index) => {
                let (server, _) = self.servers.of(&self.contestants[index].server)?;
                server.resume()?;
                let counted = counted(server, &self.settings.target(server));
                server.pause()?;
                counted?
            }
        };
        let rate = outcome.requests_per_second();
        series.add("calls_per_request", counted.calls_per_second / rate);
        series.add("submissions_per_request", counted.submissions_per_second.map_or(f64::NAN, |each| each / rate));
        Ok(())
    }

    /// Makes sure that the server of a load that failed is there again.
    fn revive(&mut self, entry: &Entry) -> Result<(), Error> {
        let Who::Contestant(index) = entry.who else { return Ok(()) };
        let kind = self.contestants[index].server.clone();
        match self.servers.of(&kind) {
            Ok((server, _)) => server.pause(),
            Err(_) => {
                self.say(&format!("{} has ended, and is started again", title_of(&kind)));
                let server = self.servers.start(&kind)?;
                warm_up(&self.settings.target(server), self.settings.jvm_warm_up.min(Duration::from_secs(10)))?;
                server.pause()
            }
        }
    }

    /// Removes the topics of a load.
    fn forget(&self, entry: &Entry) -> Result<(), Error> {
        let Who::Contestant(index) = entry.who else { return Ok(()) };
        let (server, _) = self.servers.of(&self.contestants[index].server)?;
        server.resume()?;
        let mut admin = Admin::connect(server.address)?;
        for workload in [Some(&entry.workload), entry.beside.as_ref()].into_iter().flatten() {
            admin.delete_topic(&workload.topic)?;
        }
        server.pause()
    }

    fn sweep(&mut self) {
        let (scenario, rates) = self.settings.lengths().sweep(&self.contestants);
        let mut found =
            SweepResults { title: scenario.title.to_owned(), what: scenario.what.to_owned(), sweeps: Vec::new() };
        for entry in &scenario.entries {
            let Who::Contestant(index) = entry.who else { continue };
            let mut sweep = Sweep { id: entry.id.clone(), steps: Vec::new() };
            for &rate in &rates {
                let mut step = entry.clone();
                step.workload.rate = Rate { records_per_second: Some(rate), ..Rate::default() };
                let label = format!("sweep, {}, {rate} records/s", entry.id);
                match self.broker(index, &step, &mut Series::default()) {
                    Ok(outcome) if outcome.records_per_second() > 0.95 * rate => {
                        self.say(&format!("{label}: {}", line(&outcome)));
                        sweep.steps.push(point(&outcome));
                    }
                    Ok(_) | Err(_) => {
                        self.say(&format!("{label}: not carried"));
                        break;
                    }
                }
            }
            found.sweeps.push(sweep);
            let (revived, forgotten) = (self.revive(entry), self.forget(entry));
            self.note("sweep", revived.and(forgotten));
        }
        self.results.sweeps.push(found);
    }

    fn crossing(&mut self) {
        let mut found = crossing::results(self.settings);
        for round in 0..self.settings.pairs.min(CROSSING_ROUNDS) {
            self.say(&format!("crossing, round {}", round + 1));
            let measured = crossing::measure(self.settings, round, &mut found);
            self.note("crossing", measured);
        }
        self.results.scenarios.push(found);
    }

    fn footprints(&mut self) {
        let kinds = self.kinds();
        let of = |kind: &ServerKind| Footprint { id: id_of(kind), title: title_of(kind), ..Footprint::default() };
        let mut found: Vec<Footprint> = kinds.iter().map(of).collect();
        let rounds = if self.settings.is_quick { 1 } else { FOOTPRINT_ROUNDS.min(self.settings.pairs) };
        let mut longest = Duration::ZERO;
        for round in 0..rounds {
            let left = self.settings.limit.map(|limit| limit.saturating_sub(self.started.elapsed()));
            if round > 0 && left.is_some_and(|left| left < longest) {
                break;
            }
            let start = Instant::now();
            let mut order: Vec<usize> = (0..kinds.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let label = format!("footprint, {} of {rounds}, {}", round + 1, found[index].title);
                self.say(&label);
                let measured = footprint::measure(self.settings, &kinds[index], &mut found[index]);
                self.note(&label, measured);
            }
            longest = longest.max(start.elapsed());
        }
        self.results.footprints = found;
    }

    /// What durable contestants have written once everything is where it stays.
    fn drained(&mut self) {
        for contestant in self.contestants.clone().iter().filter(|contestant| contestant.is_durable()) {
            let id = id_of(&contestant.server);
            let mut metrics = super::Metrics::new();
            self.say(&format!("drained, {}", contestant.id));
            let measured = drained::measure(self.settings, contestant, &mut metrics);
            self.note(&format!("drained, {}", contestant.id), measured);
            match self.results.footprints.iter_mut().find(|footprint| footprint.id == id) {
                Some(footprint) => footprint.metrics.append(&mut metrics),
                None => {
                    let title = title_of(&contestant.server);
                    self.results.footprints.push(Footprint { id, title, metrics, ..Footprint::default() });
                }
            }
        }
    }
}

/// Carries a load out, and what is to happen beside it.
fn with_beside(entry: &Entry, target: &Target) -> Result<Outcome, Error> {
    let Some(beside) = &entry.beside else { return generator::run(&entry.workload, target) };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| generator::run(beside, target));
        let outcome = generator::run(&entry.workload, target);
        let other = other.join().expect("a load does not panic");
        other.and(outcome)
    })
}

fn id_of(kind: &ServerKind) -> String {
    match kind {
        ServerKind::Skein => "skein".to_owned(),
        ServerKind::Kafka => "kafka".to_owned(),
        ServerKind::Other(name) => name.clone(),
    }
}

fn title_of(kind: &ServerKind) -> String {
    match kind {
        ServerKind::Skein => "skein".to_owned(),
        ServerKind::Kafka => "Apache Kafka".to_owned(),
        ServerKind::Other(name) => name.clone(),
    }
}

/// Loads a server with a little of everything, so that a JVM has compiled what it will run.
fn warm_up(target: &Target, length: Duration) -> Result<(), Error> {
    let third_s = length.as_secs_f64() / 3.0;
    if third_s == 0.0 {
        return Ok(());
    }
    let time = Time { warm_up_s: 0.0, seconds: third_s, bytes_max: 4 << 30 };
    let single = Workload { topic: "warm-up".to_owned(), time, ..Workload::default() };
    let batches = Workload {
        records: Records { bytes: Size::Fixed(1024), ..Records::default() },
        produce: Produce { producers: 16, batch_bytes: 16 << 10, ..Produce::default() },
        ..single.clone()
    };
    let reading = Workload {
        produce: Produce { producers: 0, ..batches.produce.clone() },
        consume: Consume { kind: Consumers::Replay, members: 4, ..Consume::default() },
        ..batches.clone()
    };
    for workload in [single, batches, reading] {
        generator::run(&workload, target)?;
    }
    Admin::connect(target.address)?.delete_topic("warm-up")
}

fn point(outcome: &Outcome) -> Step {
    Step {
        per_second: outcome.records_per_second(),
        p50_us: outcome.latency_us(0.5),
        p99_us: outcome.latency_us(0.99),
        cpu_us: outcome.cpu_us_per_request(),
    }
}

fn line(outcome: &Outcome) -> String {
    if outcome.requests == 0 {
        let cpu = outcome.cpu_s_per_gib(outcome.reads.bytes);
        return format!("{:.0} MiB/s read, {cpu:.3} CPU-s/GiB", outcome.read_mib_per_second());
    }
    format!(
        "{:.0} requests/s, {:.1} MiB/s, p50 {:.0} µs, p99.9 {:.0} µs, {:.2} µs CPU a request",
        outcome.requests_per_second(),
        outcome.mib_per_second(),
        outcome.latency_us(0.5),
        outcome.latency_us(0.999),
        outcome.cpu_us_per_request()
    )
}
