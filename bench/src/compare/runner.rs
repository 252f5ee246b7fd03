//! Carries the comparison out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::contestant::{Contestant, ServerKind};
use super::results::{ECHO, Footprint, Results, ScenarioResults, Series, Step, Sweep, SweepResults, curve};
use super::scenario::{Lengths, Scenario, scenarios};
use super::{floors, footprint};
use crate::admin::Admin;
use crate::error::Error;
use crate::generator::{self, Latency, Outcome, Target, latency};
use crate::hlog::Log;
use crate::node::{Scratch, Server};
use crate::workload::{Consume, Consumers, Produce, Rate, Records, Size, Time, Workload};
use crate::{machine, process};

/// The share of stolen processor time from which on a run is thrown away.
const STOLEN_MAX: f64 = 0.01;

/// How often a run is repeated because of it, or because it failed, before it is kept or given up.
const REPEATS_MAX: usize = 3;

/// How long a server that goes on is left alone before it is loaded.
const SETTLE: Duration = Duration::from_millis(500);

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

    pub(super) fn start(&self, kind: &ServerKind, data: &Path) -> Result<Server, Error> {
        let command = match kind {
            ServerKind::Skein => return Server::node(&self.program, data, &self.server_cores, &[]),
            ServerKind::Kafka => self.kafka.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
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

/// A server that runs, or waits where it was stopped.
struct Running {
    kind: ServerKind,
    server: Server,
    scratch: Scratch,
}

struct Comparison<'a> {
    settings: &'a Settings,
    contestants: Vec<Contestant>,
    servers: Vec<Running>,
    results: Results,
    log: Log,
    say: &'a dyn Fn(&str),
}

/// Compares. `say` is told what happens.
///
/// # Errors
/// If a server does not start or stop. That a contestant fails in a scenario is a result.
pub fn run(settings: &Settings, say: &dyn Fn(&str)) -> Result<(Results, Log), Error> {
    let others: Vec<String> = settings.others.iter().map(|other| other.name.clone()).collect();
    let contestants = Contestant::all(settings.kafka.is_some(), &others);
    let mut facts: Vec<_> =
        machine::facts(&settings.directory).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    facts.extend(settings.facts.iter().cloned());
    let results = Results::new(settings.made.clone(), facts, &contestants, settings.pairs);
    let mut comparison = Comparison { settings, contestants, servers: Vec::new(), results, log: Log::new(), say };
    comparison.all()?;
    Ok((comparison.results, comparison.log))
}

impl Comparison<'_> {
    fn all(&mut self) -> Result<(), Error> {
        self.start()?;
        let Settings { warm_up_s, seconds, is_quick, .. } = *self.settings;
        for scenario in scenarios(warm_up_s, seconds, is_quick).iter().filter(|s| self.settings.wants(s.name)) {
            self.scenario(scenario)?;
        }
        if self.settings.wants("sweep") {
            self.sweep()?;
        }
        for running in std::mem::take(&mut self.servers) {
            running.server.resume()?;
            running.server.stop()?;
        }
        for round in 0..self.settings.pairs {
            (self.say)(&format!("disk, {} of {}", round + 1, self.settings.pairs));
            floors::disk(self.settings, &mut self.results.disk)?;
        }
        if self.settings.wants("footprint") { self.footprints() } else { Ok(()) }
    }

    /// Starts all servers, warms up those that need it, and stops them where they are.
    fn start(&mut self) -> Result<(), Error> {
        for contestant in self.contestants.clone() {
            if self.servers.iter().any(|running| running.kind == contestant.server) {
                continue;
            }
            let name = format!("skein-bench-{}", contestant.id);
            let scratch = Scratch::new(&self.settings.directory, &name)?;
            self.settings.prepare(&contestant.server, scratch.path())?;
            let server = self.settings.start(&contestant.server, scratch.path())?;
            (self.say)(&format!("{} runs on {}", title_of(&contestant.server), server.address));
            let length = match contestant.server {
                ServerKind::Skein => self.settings.jvm_warm_up.min(Duration::from_secs(3)),
                ServerKind::Kafka | ServerKind::Other(_) => self.settings.jvm_warm_up,
            };
            warm_up(&self.settings.target(&server), length)?;
            server.pause()?;
            self.servers.push(Running { kind: contestant.server, server, scratch });
        }
        Ok(())
    }

    fn running(&self, contestant: &Contestant) -> &Running {
        let found = self.servers.iter().find(|running| running.kind == contestant.server);
        found.expect("the servers of all contestants were started")
    }

    fn scenario(&mut self, scenario: &Scenario) -> Result<(), Error> {
        let mut found = ScenarioResults {
            name: scenario.name.to_owned(),
            title: scenario.title.to_owned(),
            what: scenario.what.to_owned(),
            workload: scenario.workload.to_toml(),
            series: Vec::new(),
        };
        let mut latencies: Vec<Latency> = Vec::new();
        let mut ids: Vec<String> = self.contestants.iter().map(|contestant| contestant.id.clone()).collect();
        ids.extend(scenario.has_floor.then(|| ECHO.to_owned()));
        for id in &ids {
            found.series.push(Series { id: id.clone(), ..Series::default() });
            latencies.push(latency());
        }
        for round in 0..self.settings.pairs {
            let mut order: Vec<usize> = (0..ids.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let contestant = self.contestants.get(index).cloned();
                let label = format!("{}, {} of {}, {}", scenario.name, round + 1, self.settings.pairs, ids[index]);
                let Some(outcome) = self.measure(scenario, contestant.as_ref(), &mut found.series[index], &label)?
                else {
                    continue;
                };
                self.log.outcome(&format!("{}.{}.{round}", scenario.name, ids[index]), &outcome);
                latencies[index] +=
                    if outcome.checked.is_some() { &outcome.reads.end_to_end } else { &outcome.latency };
                found.series[index].record(&outcome);
            }
        }
        for (series, latency) in found.series.iter_mut().zip(&latencies) {
            series.curve = curve(latency);
        }
        self.results.scenarios.push(found);
        self.forget(scenario)
    }

    /// One run, repeated if processors were taken away or it failed; none if it goes on failing.
    fn measure(
        &mut self,
        scenario: &Scenario,
        contestant: Option<&Contestant>,
        series: &mut Series,
        label: &str,
    ) -> Result<Option<Outcome>, Error> {
        for last in (0..=REPEATS_MAX).map(|repeat| repeat == REPEATS_MAX) {
            let outcome = match contestant {
                None => floors::echo(self.settings, scenario),
                Some(contestant) => self.broker(scenario, contestant, series),
            };
            match outcome {
                Ok(outcome) if outcome.stolen > STOLEN_MAX && !last => {
                    self.results.thrown_away += 1;
                    (self.say)(&format!("{label}: {:.1} % of the CPUs stolen, again", 100.0 * outcome.stolen));
                }
                Ok(outcome) => {
                    (self.say)(&format!("{label}: {}", line(&outcome)));
                    return Ok(Some(outcome));
                }
                Err(error) => {
                    (self.say)(&format!("{label}: {error}"));
                    if last {
                        self.results.failures.push(format!("{label}: {error}"));
                    }
                }
            }
        }
        Ok(None)
    }

    fn broker(&self, scenario: &Scenario, contestant: &Contestant, series: &mut Series) -> Result<Outcome, Error> {
        let Running { server, scratch, .. } = self.running(contestant);
        server.resume()?;
        std::thread::sleep(SETTLE);
        machine::drain(scratch.path())?;
        let device_before = machine::device_written_bytes(scratch.path())?;
        let outcome = generator::run(&workload_of(scenario, contestant), &self.settings.target(server));
        machine::drain(scratch.path())?;
        let device = machine::device_written_bytes(scratch.path())? - device_before;
        let resident = process::resident_bytes(server.pid())?;
        server.pause()?;
        let outcome = outcome?;
        if outcome.stolen <= STOLEN_MAX {
            let mut add = |name: &str, value: f64| series.metrics.entry(name.to_owned()).or_default().push(value);
            add("resident_mib", resident as f64 / f64::from(1 << 20));
            if outcome.all_payload_bytes > 0 {
                add("device_bytes_per_byte", device as f64 / outcome.all_payload_bytes as f64);
            }
        }
        Ok(outcome)
    }

    /// Removes the scenario's topics.
    fn forget(&self, scenario: &Scenario) -> Result<(), Error> {
        for contestant in &self.contestants {
            let server = &self.running(contestant).server;
            server.resume()?;
            Admin::connect(server.address)?.delete_topic(&workload_of(scenario, contestant).topic)?;
            server.pause()?;
        }
        Ok(())
    }

    fn sweep(&mut self) -> Result<(), Error> {
        let scenario = self.settings.lengths().sweep();
        let mut found =
            SweepResults { title: scenario.title.to_owned(), what: scenario.what.to_owned(), sweeps: Vec::new() };
        for contestant in self.contestants.clone() {
            let mut sweep = Sweep { id: contestant.id.clone(), steps: Vec::new() };
            for &rate in &scenario.workload.rate.steps {
                let mut step = scenario.clone();
                step.workload.rate = Rate { records_per_second: Some(rate), ..Rate::default() };
                let label = format!("sweep, {}, {rate} records/s", contestant.id);
                match self.broker(&step, &contestant, &mut Series::default()) {
                    Ok(outcome) if outcome.records_per_second() > 0.95 * rate => {
                        (self.say)(&format!("{label}: {}", line(&outcome)));
                        sweep.steps.push(point(&outcome));
                    }
                    Ok(_) | Err(_) => {
                        (self.say)(&format!("{label}: not carried"));
                        break;
                    }
                }
            }
            found.sweeps.push(sweep);
        }
        self.results.sweeps.push(found);
        self.forget(&scenario)
    }

    fn footprints(&mut self) -> Result<(), Error> {
        let mut kinds: Vec<ServerKind> = Vec::new();
        for contestant in &self.contestants {
            if !kinds.contains(&contestant.server) {
                kinds.push(contestant.server.clone());
            }
        }
        let (id, title) = (id_of, title_of);
        let mut found: Vec<Footprint> =
            kinds.iter().map(|kind| Footprint { id: id(kind), title: title(kind), ..Footprint::default() }).collect();
        let rounds = if self.settings.is_quick { 1 } else { FOOTPRINT_ROUNDS.min(self.settings.pairs) };
        for round in 0..rounds {
            let mut order: Vec<usize> = (0..kinds.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                (self.say)(&format!("footprint, {} of {rounds}, {}", round + 1, found[index].title));
                if let Err(error) = footprint::measure(self.settings, &kinds[index], &mut found[index]) {
                    self.results.failures.push(format!("footprint of {}: {error}", found[index].title));
                }
            }
        }
        self.results.footprints = found;
        Ok(())
    }
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

/// The load on a topic of the contestant's own.
fn workload_of(scenario: &Scenario, contestant: &Contestant) -> Workload {
    Workload {
        topic: format!("{}.{}", scenario.workload.topic, contestant.id),
        topic_configs: contestant.topic_configs.clone(),
        ..scenario.workload.clone()
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
