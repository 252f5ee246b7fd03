//! A load from its beginning to its end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

use super::arrivals::KeySet;
use super::consumer::{Consumer, Cursor};
use super::group::{Group, Positions};
use super::ledger::Ledger;
use super::producer::{Plan, Producer, Schedule};
use super::shared::Shared;
use super::socket::Framing;
use super::tally::{Outcome, Reads, Tally};
use super::thread::{Done, Role, Thread};
use crate::admin::Admin;
use crate::contents::Contents;
use crate::error::Error;
use crate::machine::Processors;
use crate::process::Usage;
use crate::request::ProduceFrames;
use crate::workload::{Consumers, Workload};

/// How long no answer may come while one is awaited.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// How often the load is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Bytes of the batches that are written before a load whose own have single records: those would take too long.
const PRELOAD_BATCH_BYTES: usize = 256 << 10;

/// From the start of the threads to the load's origin: all of them have their connections then.
const HEAD_START: Duration = Duration::from_millis(50);

/// What each connection adds to it.
const CONNECT_TIME: Duration = Duration::from_micros(300);

/// Bytes of I/O memory for the executor that places a thread: the least it accepts.
const EXECUTOR_MEMORY_BYTES: usize = 64 << 10;

/// What is loaded, and from where.
#[derive(Debug, Clone)]
pub struct Target {
    /// The server.
    pub address: SocketAddr,
    /// Its process, to count what it uses.
    pub pid: Option<u32>,
    /// The CPUs of the load: one thread on each.
    pub cores: Vec<usize>,
    /// Whether threads with nothing to do look on instead of sleeping.
    pub spins: bool,
    /// Whether it is an echo server that answers produce requests with as many bytes as a broker.
    pub is_echo: bool,
    /// Now, in ms since 1970: the time of all records.
    pub wall_ms: i64,
}

/// Carries out a workload of one rate: makes the topic, loads, and waits until everything is answered and read.
///
/// # Errors
/// If the workload is impossible, a single request is not answered as it must be, or what is read is not what was
/// acknowledged.
///
/// # Panics
/// If there are no CPUs for the load.
pub fn run(workload: &Workload, target: &Target) -> Result<Outcome, Error> {
    assert!(!target.cores.is_empty(), "a load has a CPU");
    workload.validate()?;
    let offsets = if target.is_echo { Vec::new() } else { prepare(workload, target)? };
    let plan = Arc::new(Plan {
        contents: Contents::new(workload, target.wall_ms)?,
        frames: ProduceFrames::new(&workload.topic, workload.produce.acks),
        keys: KeySet::new(&workload.records, workload.partitions),
        is_echo: target.is_echo,
        workload: workload.clone(),
    });
    let readers = readers(workload, target, &offsets)?;
    let roles = roles(&plan, target, &offsets, &readers)?;
    let connections: usize = roles.iter().map(Vec::len).sum();
    let origin = Instant::now() + HEAD_START + CONNECT_TIME * connections as u32;
    let planned_ns = workload.time.warm_up().as_nanos() as u64;
    let shared = Arc::new(Shared::new(origin, planned_ns, roles.len()));
    let framing = if target.is_echo { Framing::Fixed(plan.frames.answer_bytes()) } else { Framing::Length };
    let threads = roles.into_iter().enumerate().map(|(index, roles)| {
        let (address, spins, shared) = (target.address, target.spins, Arc::clone(&shared));
        spawn(target.cores[index], move || Thread::new(index, address, framing, roles, shared, spins)?.run())
    });
    let threads = threads.collect::<Result<Vec<_>, _>>()?;
    let to_read = records_to_read(workload, &offsets);
    let watched = watch(workload, target, &shared, to_read);
    shared.stop();
    let mut done = Vec::new();
    for thread in threads {
        done.push(thread.join().map_err(|error| cannot_run(&error))??);
    }
    readers.into_iter().filter_map(|readers| readers.group).try_for_each(|(group, _)| group.leave())?;
    watched?.outcome(workload, done)
}

/// The request and the answer that a workload of one size exchanges with an echo server.
///
/// # Errors
/// If the workload is impossible.
pub fn echo_sizes(workload: &Workload, wall_ms: i64) -> Result<crate::echo::Sizes, Error> {
    let contents = Contents::new(workload, wall_ms)?;
    let frames = ProduceFrames::new(&workload.topic, workload.produce.acks);
    let request = frames.request_bytes(contents.sealed_bytes());
    Ok(crate::echo::Sizes { request, response: frames.answer_bytes(), digests: false })
}

/// Makes the topic and fills it as far as the workload says, unless it is there already; every load begins with it. Gives
/// back the end of each partition.
///
/// # Errors
/// If the broker refuses, or the topic has too few partitions.
pub fn prepare(workload: &Workload, target: &Target) -> Result<Vec<i64>, Error> {
    let mut admin = Admin::connect(target.address)?;
    let configs: Vec<_> = workload.topic_configs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if !admin.create_topic(&workload.topic, workload.partitions, &configs)? {
        let there = admin.partitions(&workload.topic)?;
        if there < workload.partitions {
            let what = format!("topic {} is there with {there} partitions", workload.topic);
            return Err(Error::Workload { what });
        }
    }
    let offsets = admin.end_offsets(&workload.topic, workload.partitions)?;
    let wanted = workload.consume.preload_bytes;
    if wanted == 0 || workload.consume.kind == Consumers::None || offsets.iter().any(|&offset| offset > 0) {
        return Ok(offsets);
    }
    preload(workload, target)?;
    admin.end_offsets(&workload.topic, workload.partitions)
}

/// Writes what consumers are to find.
fn preload(workload: &Workload, target: &Target) -> Result<(), Error> {
    let mut writing = workload.clone();
    let day_s = 86_400.0;
    writing.consume.kind = Consumers::None;
    writing.rate = crate::workload::Rate::default();
    writing.produce.producers = writing.produce.producers.max(4);
    if writing.produce.batch_bytes == 0 {
        writing.produce.batch_bytes = PRELOAD_BATCH_BYTES;
    }
    writing.check = false;
    writing.time = crate::workload::Time { warm_up_s: 0.0, seconds: day_s, bytes_max: workload.consume.preload_bytes };
    run(&writing, target).map(drop)
}

/// The connections of each thread.
fn roles(plan: &Arc<Plan>, target: &Target, offsets: &[i64], readers: &[Readers]) -> Result<Vec<Vec<Role>>, Error> {
    let (produce, consume) = (&plan.workload.produce, &plan.workload.consume);
    let mut roles: Vec<Vec<Role>> = target.cores.iter().map(|_| Vec::new()).collect();
    let mut next = (0..target.cores.len()).cycle();
    let mut add = |role| roles[next.next().expect("a load has a CPU")].push(role);
    let mut admin = if produce.idempotent { Some(Admin::connect(target.address)?) } else { None };
    for id in 0..produce.producers {
        let schedule = plan.workload.rate.records_per_second.map_or(Schedule::AtOnce, |rate| {
            let interval_ns = 1e9 * f64::from(produce.producers) / rate;
            Schedule::Every { first_ns: interval_ns * f64::from(id) / f64::from(produce.producers), interval_ns }
        });
        let identity = admin.as_mut().map(Admin::producer_id).transpose()?;
        let producer = Producer::new(id, Arc::clone(plan), schedule, identity);
        add(Role::Producer(Box::new(producer)));
    }
    for (copy, readers) in readers.iter().enumerate() {
        for share in &readers.shares {
            let cursors = share.iter().map(|&partition| cursor(consume.kind, partition, offsets[partition as usize]));
            let positions = readers.group.as_ref().map(|(_, positions)| Arc::clone(positions));
            add(Role::Consumer(Consumer::new(copy as u32, Arc::clone(plan), cursors.collect(), positions)));
        }
    }
    Ok(roles)
}

/// Who reads everything once.
struct Readers {
    /// The partitions of each.
    shares: Vec<Vec<i32>>,
    /// Their group, if the broker's coordinator has shared them, and how far they have read.
    group: Option<(Group, Positions)>,
}

/// The readers of each copy.
fn readers(workload: &Workload, target: &Target, offsets: &[i64]) -> Result<Vec<Readers>, Error> {
    let (consume, partitions) = (&workload.consume, workload.partitions);
    let copies = if consume.kind == Consumers::None { 0 } else { consume.copies };
    let reader = |copy| {
        if consume.kind != Consumers::Group {
            let share =
                |member| (0..partitions).filter(|partition| *partition as u32 % consume.members == member).collect();
            return Ok(Readers { shares: (0..consume.members).map(share).collect(), group: None });
        }
        let positions: Positions = Arc::new(offsets.iter().map(|&offset| offset.into()).collect());
        let name = format!("{}.{copy}", workload.topic);
        let group = Group::join(target.address, name, &workload.topic, consume.members, &positions)?;
        Ok(Readers { shares: group.shares.clone(), group: Some((group, positions)) })
    };
    (0..copies).map(reader).collect()
}

fn cursor(kind: Consumers, partition: i32, end: i64) -> Cursor {
    let start = match kind {
        Consumers::Cold | Consumers::Replay => 0,
        Consumers::Tail | Consumers::Group | Consumers::None => end,
    };
    Cursor { partition, start, next: start, end }
}

fn spawn<T: Send + 'static>(
    core: usize,
    run: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<ExecutorJoinHandle<Result<T, Error>>, Error> {
    LocalExecutorBuilder::new(Placement::Fixed(core))
        .name("load")
        .io_memory(EXECUTOR_MEMORY_BYTES)
        .spawn(move || async move { run() })
        .map_err(|error| cannot_run(&error))
}

fn cannot_run(error: &glommio::GlommioError<()>) -> Error {
    Error::System { what: "run the load's threads".into(), cause: std::io::Error::other(error.to_string()) }
}

/// What the processes and the machine had used at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at_ns: u64,
    server: Usage,
    load: Usage,
    machine: Processors,
}

impl Sample {
    fn take(target: &Target, shared: &Shared) -> Result<Self, Error> {
        Ok(Self {
            server: target.pid.map_or(Ok(Usage::default()), Usage::of)?,
            load: Usage::of(std::process::id())?,
            machine: Processors::now()?,
            at_ns: shared.now_ns(),
        })
    }
}

/// The two ends of the window.
struct Watched {
    before: Sample,
    after: Sample,
}

/// Waits for the ends of the window, and then until everything is answered.
fn watch(workload: &Workload, target: &Target, shared: &Shared, to_read: u64) -> Result<Watched, Error> {
    let mut silence = Silence::default();
    let mut wait_until = |shared: &Shared, is_over: &dyn Fn(&Shared) -> bool| {
        while !is_over(shared) && !is_stopped(shared) {
            silence.look(shared)?;
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    };
    wait_until(shared, &|shared| shared.now_ns() >= shared.planned_ns)?;
    let before = Sample::take(target, shared)?;
    shared.open(before.at_ns);
    let end_ns = before.at_ns + workload.time.measured().as_nanos() as u64;
    let bytes_max = workload.time.bytes_max;
    wait_until(shared, &|shared| {
        shared.now_ns() >= end_ns
            || shared.sum(|progress| &progress.bytes) >= bytes_max
            || shared.sum(|progress| &progress.read) >= to_read
    })?;
    shared.close(shared.now_ns());
    let after = Sample::take(target, shared)?;
    shared.drain();
    let copies = u64::from(workload.consume.copies);
    wait_until(shared, &|shared| {
        let is_answered = shared.all_drain() && shared.sum(|progress| &progress.awaited) == 0;
        let (written, read) = (shared.sum(|progress| &progress.acknowledged), shared.sum(|progress| &progress.read));
        is_answered && (!workload.check || read >= written * copies)
    })?;
    Ok(Watched { before, after })
}

/// After how many records a load has nothing left to do: cold readers that nobody writes for have read all.
fn records_to_read(workload: &Workload, ends: &[i64]) -> u64 {
    if workload.consume.kind != Consumers::Cold || workload.produce.producers > 0 {
        return u64::MAX;
    }
    ends.iter().sum::<i64>() as u64 * u64::from(workload.consume.copies)
}

fn is_stopped(shared: &Shared) -> bool {
    shared.phase() == super::shared::Phase::Stop
}

/// Whether nothing has come for too long.
#[derive(Default)]
struct Silence {
    answers: u64,
    since: Option<Instant>,
}

impl Silence {
    fn look(&mut self, shared: &Shared) -> Result<(), Error> {
        let (answers, awaited) = (shared.sum(|p| &p.answers), shared.sum(|p| &p.awaited));
        let since = *self.since.get_or_insert_with(Instant::now);
        if answers != self.answers || awaited == 0 {
            *self = Self { answers, since: None };
        } else if since.elapsed() > SILENCE_MAX {
            return Err(Error::Stalled { silent: since.elapsed(), awaited: awaited as usize });
        }
        Ok(())
    }
}

impl Watched {
    fn outcome(self, workload: &Workload, done: Vec<Done>) -> Result<Outcome, Error> {
        let (mut tally, mut acknowledged) = (Tally::new(), Ledger::default());
        let mut read: BTreeMap<u32, Ledger> = BTreeMap::new();
        for thread in done {
            tally.merge(thread.tally);
            acknowledged.merge(thread.acknowledged);
            for (copy, ledger) in thread.read {
                read.entry(copy).or_default().merge(ledger);
            }
        }
        if workload.check {
            for ledger in read.values() {
                acknowledged.compare(ledger).map_err(|fault| Error::Integrity { what: fault.to_string() })?;
            }
        }
        let Self { before, after } = self;
        Ok(Outcome {
            requests: tally.requests,
            refused: tally.refused,
            records: tally.records,
            payload_bytes: tally.bytes,
            all_payload_bytes: tally.all_bytes,
            elapsed: Duration::from_nanos(after.at_ns - before.at_ns),
            reads: Reads {
                fetches: tally.fetches,
                records: tally.read_records,
                bytes: tally.read_bytes,
                caught_up: tally.caught_up_ns.map(|at_ns| Duration::from_nanos(at_ns.saturating_sub(before.at_ns))),
                end_to_end: tally.end_to_end.clone(),
            },
            intervals: tally.take_intervals(),
            server: after.server.since(before.server),
            load: after.load.since(before.load),
            machine_busy: after.machine.busy_since(before.machine),
            stolen: after.machine.stolen_since(before.machine),
            is_cold: workload.consume.kind == Consumers::Cold,
            checked: workload.check.then_some(tally.all_records),
            latency: tally.latency,
        })
    }
}
