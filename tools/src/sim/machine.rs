//! The machine a simulated node runs on: it survives the node's ends, with its disk and its clocks.
//!
//! ```text
//!        ┌───────────────── node ─────────────────┐
//!        │ shard 0 ◄── mail, in order per pair ──► shard 1 …     production code, unmodified
//!        └───┬──────────────────────────────┬─────┘
//!         Simulated                     Simulated                drivers
//!        ┌───┴──────────────────────────────┴─────┐
//!        │ clock          disk          network   │              World
//!        └────────────────────────────────────────┘
//! ```

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use broker::assemble::{Found, Plan, assemble};
use broker::config::{Endpoint, Flags, NodeConfig};
use broker::driver::simulated::{Clock, Network, Simulated, World};
use broker::driver::{Completion, Driver as _, Ops};
use broker::shard::Shard;
use broker::shard::connections::ListenerInfo;
use broker::shard::mail::Mail;
use broker::turn::{Next, Now, Turn as _};
use net::ops::ListenerId;
use storage::disk::Disk as _;
use storage::simulated::{Blocking, Counts, Disk, Faults, Latency, Random};
use storage::store;

use super::scenario::{End, Scenario};
use super::totals::Totals;
use super::trace::{Event, Trace};

/// Longest time that mail is under way, in nanoseconds.
const MAIL_NS_MAX: u64 = 50_000;
/// Longest time that a turn takes, where that counts, in nanoseconds.
const TURN_NS_MAX: u64 = 100_000;
/// Longest time between two turns of a busy shard, in nanoseconds.
const BUSY_NS_MAX: u64 = 10_000;
/// Shards of a node, at the most.
const SHARDS_MAX: u64 = 4;
/// Turns after which a node that was told to stop should have stopped.
const STOP_TURNS_MAX: u64 = 1_000_000;
/// Changing calls after which a recovery that is cut short ends, at the most.
const RECOVERY_CALLS_MAX: u64 = 60;

/// Where a data directory has its logs.
const LOGS: &str = "logs";

/// Memory of a shard's connections: a few of the largest requests fill it.
const CONNECTION_BYTES: usize = 2 << 20;

/// Logs are quiet after this time without an append, in nanoseconds: many are, again and again.
const QUIET_NS: u64 = 200_000_000;

/// Requests of more than this are received straight into their buffers.
const DIRECT_BYTES_MIN: usize = 2 << 10;

/// What a node of the simulation is configured with: little of everything, so that limits are met.
const SETTINGS: [&str; 7] = [
    "offsets.topic.num.partitions=4",
    "auto.create.topics.enable=false",
    "group.min.session.timeout.ms=100",
    "quota.window.num=2",
    // Committed offsets are compacted all the time: segments are closed at this age.
    "log.cleaner.max.compaction.lag.ms=200",
    "log.cleaner.min.cleanable.ratio=0",
    "log.cleaner.dedupe.buffer.size=2097152",
];

struct Running {
    shard: Shard,
    driver: Simulated,
    /// When it wants its next turn without being told anything.
    wake_at_ns: Option<u64>,
    has_stopped: bool,
}

struct Node {
    shards: Vec<Running>,
    /// Mail under way, by sender, then receiver, with the time of its arrival.
    mail: Vec<Vec<VecDeque<(u64, Mail)>>>,
}

/// See the module's head.
pub(super) struct Machine {
    pub(super) world: World,
    config: Arc<NodeConfig>,
    scenario: Scenario,
    random: Random,
    node: Option<Node>,
    /// Which disks are gone.
    lost: Vec<bool>,
    /// The node has ended by itself.
    has_halted: bool,
    /// Shards of the node that ran last.
    shards_before: Option<usize>,
    /// The machine's monotonic clock is this much ahead of the simulation's: it starts anew with the machine.
    boot_ns: u64,
}

impl Machine {
    pub(super) fn new(scenario: Scenario, mut random: Random) -> Self {
        let settings = SETTINGS.map(str::to_owned);
        let (mut config, _) = NodeConfig::load(&Flags::default(), None, &settings).expect("valid settings");
        config.network.direct_bytes_min = DIRECT_BYTES_MIN;
        config.network.memory_bytes = CONNECTION_BYTES;
        let world = World {
            clock: Rc::new(Clock::default()),
            disks: (0..scenario.directories)
                .map(|_| Rc::new(RefCell::new(Disk::new(random.fork(), scenario.no_faults()))))
                .collect(),
            network: Rc::new(RefCell::new(Network::new(random.fork()))),
        };
        let lost = vec![false; scenario.directories];
        Self {
            world,
            config: Arc::new(config),
            scenario,
            random,
            node: None,
            lost,
            has_halted: false,
            shards_before: None,
            boot_ns: 0,
        }
    }

    fn now_ns(&self) -> u64 {
        self.world.clock.monotonic_ns()
    }

    // Starting and ending.

    /// Recovers what the disk holds and starts a node with another number of shards.
    ///
    /// # Panics
    /// If recovery refuses the disk.
    pub(super) fn start(&mut self, trace: &mut Trace, totals: &mut Totals) {
        let tail_bytes = [2 << 20, 4 << 20][self.random.index(2)];
        let count = self.random.between(if totals.starts == 0 { 2 } else { 1 }, SHARDS_MAX) as usize;
        let shards = loop {
            let cut = (self.random.index(5) == 0).then(|| self.random.between(1, RECOVERY_CALLS_MAX));
            let disk = Rc::clone(&self.world.disks[0]);
            let access = match cut {
                Some(calls) => Blocking::ending_after(disk, calls),
                None => Blocking::new(disk),
            };
            let disks: Vec<Blocking> = self.world.disks.iter().map(|disk| access.beside(Rc::clone(disk))).collect();
            let found = disks.iter().enumerate().map(|(number, disk)| Found {
                path: format!("/disk{number}").into(),
                disk: Ok(disk),
                options: self.options(tail_bytes),
            });
            match assemble(found.collect(), self.plan(count)) {
                Ok(assembled) if !access.has_ended() => break assembled.shards,
                Err(error) if !access.has_ended() => panic!("the node does not start again: {error}"),
                Ok(_) | Err(_) => {
                    totals.recoveries_cut += 1;
                    self.lose_power();
                }
            }
        };
        self.clear_faults();
        self.world.network.borrow_mut().listen(ListenerId(0));
        tracing::info!(at = self.now_ns(), shards = count, "the node starts");
        trace.add(Event::Start, &[self.now_ns(), count as u64]);
        totals.starts += 1;
        totals.starts_without_disk += u64::from(self.has_lost_disks());
        totals.other_counts += u64::from(self.shards_before.is_some_and(|before| before != count));
        self.shards_before = Some(count);
        let running = shards.into_iter().enumerate().map(|(index, shard)| Running {
            shard,
            driver: self.driver(index),
            wake_at_ns: Some(self.now_ns()),
            has_stopped: false,
        });
        let shards = running.collect();
        let mail = (0..count).map(|_| (0..count).map(|_| VecDeque::new()).collect()).collect();
        self.node = Some(Node { shards, mail });
    }

    fn options(&self, tail_bytes: usize) -> store::Options {
        store::Options {
            tail_bytes,
            buffer_bytes: 16 << 20,
            open_files_max: 16,
            checkpoint_bytes_min: 8 << 10,
            journal_extent_bytes: 1 << 20,
            large_bytes_min: 8 << 10,
            quiet_ns: QUIET_NS,
            sync_all: self.scenario.sync_all,
            ..Default::default()
        }
    }

    fn plan(&mut self, shards: usize) -> Plan {
        let advertised = Some(Endpoint { host: "localhost".to_owned(), port: 9092 });
        Plan {
            config: Arc::clone(&self.config),
            shards,
            listeners: Arc::new(vec![ListenerInfo { name: "PLAINTEXT".to_owned(), advertised }]),
            seed: self.random.bits(),
            ready: None,
        }
    }

    fn driver(&self, index: usize) -> Simulated {
        let mut random = self.random.clone();
        for _ in 0..=index {
            random = random.fork();
        }
        let Scenario { latency, weather, .. } = &self.scenario;
        Simulated::new(self.world.clone(), index as u32, latency.clone(), weather.clone(), random)
    }

    /// Changes how long the disk takes, until the node starts again.
    pub(super) fn set_latency(&mut self, latency: Latency) {
        for running in self.node.iter_mut().flat_map(|node| &mut node.shards) {
            running.driver.set_latency(&latency);
        }
    }

    /// Flips a bit of an index file; whether there is one.
    pub(super) fn decay_index(&mut self) -> bool {
        let disk = Rc::clone(&self.world.disks[self.random.index(self.world.disks.len())]);
        let blocking = Blocking::new(Rc::clone(&disk));
        let mut indexes = files_of_logs(&blocking);
        indexes.retain(|path| path.extension().is_some_and(|extension| extension == "skein-index"));
        let Some(path) = indexes.get(self.random.index(indexes.len().max(1))) else { return false };
        let length = blocking.length(path).ok().flatten().unwrap_or(0);
        length > 0 && disk.borrow_mut().corrupt(path, self.random.below(length)).is_ok()
    }

    /// Ends the node.
    pub(super) fn end(&mut self, end: End, trace: &mut Trace, totals: &mut Totals) {
        trace.add(Event::End, &[self.now_ns(), end as u64]);
        if end == End::Stop {
            self.stop(trace, totals);
        }
        totals.swaps_ended += u64::from(self.has_swap_under_way());
        self.has_halted = false;
        let node = self.node.take().expect("a node runs");
        for running in node.shards {
            running.driver.abandon();
        }
        self.world.network.borrow_mut().sever(self.now_ns());
        match end {
            End::PowerCut => {
                totals.power_cuts += 1;
                self.lose_power();
            }
            End::Kill => {
                totals.kills += 1;
                self.world.disks.iter().for_each(|disk| disk.borrow_mut().close_all());
            }
            End::Stop => {
                totals.stops += 1;
                self.world.disks.iter().for_each(|disk| disk.borrow_mut().close_all());
            }
        }
    }

    /// Whether a compacted segment and one that it replaces are on a disk.
    fn has_swap_under_way(&self) -> bool {
        self.world.disks.iter().any(|disk| {
            // The number of a segment's file behind its offset, if it has one, counts how often it was compacted.
            let files = files_of_logs(&Blocking::new(Rc::clone(disk)));
            let is_segment = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "log");
            let offset = |path: &Path| Some(path.file_name()?.to_str()?.split('.').next()?.to_owned());
            let mut segments = BTreeSet::new();
            files.iter().filter(is_segment).any(|path| !segments.insert((path.parent(), offset(path))))
        })
    }

    /// What all disks have seen together.
    pub(super) fn disk_counts(&self) -> Counts {
        let mut all = Counts::default();
        self.world.disks.iter().for_each(|disk| all.add(&disk.borrow().counts()));
        all
    }

    /// Lets every disk work again.
    pub(super) fn clear_faults(&mut self) {
        for (disk, &is_gone) in self.world.disks.iter().zip(&self.lost) {
            disk.borrow_mut().set_faults(Faults { is_gone, ..self.scenario.no_faults() });
        }
    }

    /// A disk is gone from now on. The first one has the node's metadata.
    pub(super) fn lose_disk(&mut self, number: usize) {
        self.lost[number] = true;
        self.clear_faults();
    }

    /// Whether a disk is gone.
    pub(super) fn has_lost_disks(&self) -> bool {
        self.lost.contains(&true)
    }

    /// Whether the node has ended by itself.
    pub(super) fn has_halted(&self) -> bool {
        self.has_halted
    }

    /// Brings disks back while no node runs: all of them, or only the one with the metadata. What they had not synced when
    /// they went is kept, lost or torn.
    pub(super) fn bring_disks_back(&mut self, all: bool) {
        assert!(self.node.is_none(), "disks come back before a start");
        let count = if all { self.lost.len() } else { 1 };
        for number in 0..count {
            if std::mem::take(&mut self.lost[number]) {
                self.world.disks[number].borrow_mut().crash();
            }
        }
        self.clear_faults();
    }

    fn lose_power(&mut self) {
        self.world.disks.iter().for_each(|disk| disk.borrow_mut().crash());
        self.boot_ns = self.random.below(1 << 42);
    }

    /// Tells every shard to stop and gives them turns until they have.
    fn stop(&mut self, trace: &mut Trace, totals: &mut Totals) {
        for running in &mut self.node.as_mut().expect("a node runs").shards {
            running.shard.stop();
            running.wake_at_ns = Some(0);
        }
        for _ in 0..STOP_TURNS_MAX {
            let node = self.node.as_ref().expect("a node runs");
            if self.has_halted || node.shards.iter().all(|running| running.has_stopped) {
                return;
            }
            let next = self.next_at_ns().expect("a node that stops has something to do");
            self.world.clock.advance_to(next.max(self.now_ns()));
            self.turns(trace, totals);
        }
        panic!("the node does not stop");
    }

    // Turns.

    /// When a shard has something to do next.
    pub(super) fn next_at_ns(&self) -> Option<u64> {
        let node = self.node.as_ref().filter(|_| !self.has_halted)?;
        (0..node.shards.len()).filter_map(|shard| node.next_at_ns(shard)).min()
    }

    /// Gives a turn to every shard that has something to do, in any order.
    pub(super) fn turns(&mut self, trace: &mut Trace, totals: &mut Totals) {
        let now_ns = self.now_ns();
        let Some(node) = &self.node else { return };
        let is_due = |&shard: &usize| node.next_at_ns(shard).is_some_and(|at| at <= now_ns);
        let mut due: Vec<usize> = (0..node.shards.len()).filter(is_due).collect();
        self.random.shuffle(&mut due);
        for shard in due {
            if !self.has_halted {
                self.turn(shard, trace, totals);
            }
        }
    }

    fn turn(&mut self, index: usize, trace: &mut Trace, totals: &mut Totals) {
        let now_ns = self.now_ns();
        let now = Now { monotonic_ns: now_ns + self.boot_ns, wall_ms: self.world.clock.wall_ms() };
        let node = self.node.as_mut().expect("a node runs");
        let running = &mut node.shards[index];
        running.shard.begin(now);
        let Running { shard, driver, .. } = running;
        driver.complete(&mut |completion| {
            trace.add(Event::Completion, &[index as u64, what(&completion)]);
            shard.complete(completion);
        });
        for from in 0..node.mail.len() {
            while let Some((_, mail)) = node.mail[from][index].pop_front_if(|(at, _)| *at <= now_ns) {
                trace.add(Event::Mail, &[from as u64, index as u64]);
                totals.mail += 1;
                node.shards[index].shard.mail(from, mail);
            }
        }
        let (mut ops, mut outbox) = (Ops::default(), Vec::new());
        let running = &mut node.shards[index];
        let next = running.shard.turn(now, &mut ops, &mut outbox);
        trace.add(Event::Turn, &[now_ns, index as u64, ops.net.len() as u64, ops.disk.len() as u64]);
        totals.turns += 1;
        for (name, used, bound) in running.shard.memories() {
            assert!(used <= bound, "the memory for {name} is {used} bytes, and at most {bound} are allowed");
        }
        running.driver.submit(&mut ops);
        if running.shard.wants_time_spent() {
            running.shard.spent(self.random.below(TURN_NS_MAX));
        }
        running.wake_at_ns = match next {
            Next::Busy => Some(now_ns + 1 + self.random.below(BUSY_NS_MAX)),
            Next::Idle { deadline_ns } => {
                deadline_ns.map(|deadline| deadline.saturating_sub(self.boot_ns).max(now_ns + BUSY_NS_MAX))
            }
            Next::Halt => {
                assert!(self.lost[0], "the node halts, and its metadata are there");
                self.has_halted = true;
                totals.halts += 1;
                return;
            }
            Next::Stop => None,
        };
        running.has_stopped |= next == Next::Stop;
        for (to, mail) in outbox {
            let queue = &mut node.mail[index][to];
            let at = now_ns + self.random.below(MAIL_NS_MAX);
            let at = queue.back().map_or(at, |(last, _)| at.max(*last));
            queue.push_back((at, mail));
        }
    }
}

impl Node {
    fn next_at_ns(&self, shard: usize) -> Option<u64> {
        let running = &self.shards[shard];
        let mail = self.mail.iter().filter_map(|to| to[shard].front().map(|(at, _)| *at)).min();
        [running.driver.next_at_ns(), running.wake_at_ns, mail].into_iter().flatten().min()
    }
}

/// The paths of all files of logs on a disk.
fn files_of_logs(disk: &Blocking) -> Vec<PathBuf> {
    let list = |path: &Path| disk.list(path).unwrap_or_default();
    let mut files = Vec::new();
    for log in list(Path::new(LOGS)) {
        let directory = Path::new(LOGS).join(&log.name);
        files.extend(list(&directory).into_iter().map(|file| directory.join(file.name)));
    }
    files
}

/// A number that tells completions apart.
fn what(completion: &Completion<'_>) -> u64 {
    use net::ops::Event as Net;
    match completion {
        Completion::Disk(completion) => completion.token.0,
        Completion::Net(Net::Accepted { socket, .. }) => 1 << 32 | socket.0 as u64,
        Completion::Net(Net::AcceptEnded { errno, .. }) => 2 << 32 | *errno as u64,
        Completion::Net(Net::Received { connection, data }) => {
            3 << 32 | u64::from(connection.0) << 40 | data.len() as u64
        }
        Completion::Net(Net::ReceiveEnded { connection, .. }) => 4 << 32 | u64::from(connection.0),
        Completion::Net(Net::Sent { send, result }) => {
            5 << 32 | u64::from(send.connection.0) << 40 | result.unwrap_or(0) as u64
        }
        Completion::Net(Net::Closed { connection }) => 6 << 32 | u64::from(connection.0),
        Completion::Net(Net::Filled { connection, .. }) => 8 << 32 | u64::from(connection.0),
    }
}
