//! The shard: one pinned thread's share of the broker, as a state machine.
//!
//! A turn takes what has completed and what other shards said, works it off to the end, and leaves operations and mail:
//!
//! ```text
//!  completions ─┐                                        ┌─► socket operations
//!  mail ────────┼─► begin · complete* · mail* · turn ────┼─► file operations
//!  time ────────┘                                        └─► mail, the next deadline
//! ```
//!
//! Nothing here performs I/O, reads a clock or draws random numbers but from the generator seeded at construction, so the
//! simulator runs it unmodified. What has to wait is an entry in a table with what it waits for.
//!
//! | file | what it is about |
//! |---|---|
//! | [`admission`] | who may connect |
//! | [`connections`] | sockets: frames in, answers out, back-pressure, idle time |
//! | [`memory`] | the memory of connections, and who waits for it |
//! | [`dispatch`] | from a frame to the handler of its API |
//! | [`produce`], [`fetch`], [`offsets`] | the data path |
//! | [`partitions`] | the partitions placed here: store, replica, waiters |
//! | [`directories`] | the data directories, and what follows when one fails |
//! | [`discovery`], [`cluster`] | what each shard answers about the cluster from its image |
//! | [`partition_admin`], [`partition_requests`] | what owners of partitions are asked: sizes, producers, deleting records |
//! | [`control`] | metadata: the controller (on shard 0), images, topics coming and going |
//! | [`groups`], [`scatter`] | the coordinators of the `__consumer_offsets` partitions placed here; requests to several of them |
//! | [`lags`] | how far behind committed offsets are |
//! | [`quotas`], [`mutations`] | what connections may use, and who has to wait |
//! | [`peers`], [`mail`] | other shards |
//! | [`metrics`], [`report`] | what is counted, and told to the admin thread |
//! | [`telemetry`] | the metrics of clients |
//! | [`pending`], [`timers`], [`deadlines`], [`session`] | what waits, until when, and what consumers are remembered for |

mod admission;
mod by_shard;
mod cluster;
pub mod connections;
pub mod control;
mod deadlines;
pub mod directories;
mod discovery;
pub mod dispatch;
pub mod fetch;
pub mod groups;
pub mod lags;
pub mod mail;
mod memory;
pub mod metrics;
mod mutations;
pub mod offsets;
pub mod partition_admin;
mod partition_requests;
pub mod partitions;
pub mod peers;
pub mod pending;
pub mod produce;
mod quotas;
pub mod report;
pub mod scatter;
pub mod session;
mod stall;
mod telemetry;
#[cfg(test)]
mod tests;
pub mod timers;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rand_core::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use storage::io::DataDirectory;
use storage::store::Event;
use storage::{LogId, Stores};

use crate::config::NodeConfig;
use crate::directory::Opened;
use crate::driver::{Completion, Ops};
use crate::metadata::Image;
use crate::quota;
use crate::telemetry::Receiver;
use crate::turn::{Next, Now, Turn};

use admission::Admission;
use connections::{Connections, Forwarding};
use control::Control;
use directories::Directories;
use fetch::{Fetch, PeerRead, PeerWatch};
use groups::Groups;
use lags::{Lags, Work};
use mail::{Mail, Notice};
use memory::Memory;
use metrics::Metrics;
use offsets::Queries;
use partition_admin::{PartitionRequest, Unsettled};
use partitions::{Partitions, Watcher};
use peers::Peer;
use pending::{Key, Table};
use produce::Produce;
use quotas::Throttling;
use report::Reporting;
use scatter::Scatter;
use session::Sessions;
use stall::Stalls;
use telemetry::Pushed;
use timers::{Timer, Timers};

/// Bytes of background work that one turn does at the most.
const BACKGROUND_BYTES_PER_TURN: usize = 256 << 10;

/// Timers that fire in one turn at the most.
const TIMERS_PER_TURN: usize = 1024;

/// What a shard is made of.
#[derive(Debug)]
pub struct Setup {
    /// Its number, from 0.
    pub id: usize,
    /// How many there are.
    pub count: usize,
    /// The node's configuration.
    pub config: Arc<NodeConfig>,
    /// Advertised addresses and the like, known once the listeners are bound.
    pub listeners: Arc<Vec<connections::ListenerInfo>>,
    /// Its storage, recovered: a store for each data directory.
    pub stores: Stores,
    /// The data directories, as they were opened.
    pub directories: Vec<Opened>,
    /// The metadata before its first record: what is served until the node has registered.
    pub image: Arc<Image>,
    /// On shard 0: the controller.
    pub controller: Option<crate::metadata::Controller>,
    /// Seed of its random numbers.
    pub seed: u64,
    /// On shard 0: told when the node begins to serve.
    pub ready: Option<Ready>,
}

/// Called with the published metadata when every shard serves it.
pub struct Ready(pub Box<dyn FnOnce(&Image) + Send>);

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ready")
    }
}

/// A request that waits.
#[derive(Debug)]
pub(crate) enum Request {
    Produce(Box<Produce>),
    Fetch(Box<Fetch>),
    PeerRead(Box<PeerRead>),
    PeerWatch(PeerWatch),
    Queries(Box<Queries>),
    Partitions(Box<PartitionRequest>),
    Forwarding(Box<Forwarding>),
    /// A coordinator of this partition of `__consumer_offsets` is being loaded.
    Loading(i32),
    Scatter(Box<Scatter>),
    /// Lags that are being found, of this shard's own question.
    Lags(Box<Lags>),
    /// This shard's share of a question about lags.
    LagWork(Box<Work>),
    Push(Box<Pushed>),
}

/// One shard.
#[derive(Debug)]
pub struct Shard {
    id: usize,
    config: Arc<NodeConfig>,
    listeners: Arc<Vec<connections::ListenerInfo>>,
    now: Now,
    random: Xoshiro256PlusPlus,
    stores: Stores,
    directories: Directories,
    partitions: Partitions,
    unsettled: Unsettled,
    image: Arc<Image>,
    control: Option<Control>,
    groups: Groups,
    /// On the controller's shard: who pushes metrics.
    telemetry: Receiver,
    /// Pushes that the admin thread has and has not told of.
    pushes: usize,
    connections: Connections,
    memory: Memory,
    /// On the controller's shard, which accepts: the connections of all.
    admission: Admission,
    throttling: Throttling,
    requests: Table<Request>,
    sessions: Sessions,
    timers: Timers,
    stalls: Stalls,
    peers: Vec<Peer>,
    /// Watches that other shards hold here, with the logs they watch.
    peer_watches: BTreeMap<(usize, Key), Vec<(LogId, i64)>>,
    ops: Ops,
    outbox: Vec<(usize, Mail)>,
    stopping: Stopping,
    /// Told once, when the node begins to serve.
    ready: Option<Ready>,
    /// Whether an image has been applied.
    served: bool,
    produce_timeouts_armed: bool,
    #[expect(clippy::vec_box, reason = "a request's box goes back to the table as it is")]
    spare_produce: Vec<Box<Produce>>,
    #[expect(clippy::vec_box, reason = "as above")]
    spare_fetch: Vec<Box<Fetch>>,
    /// Scratch space for watchers being woken.
    woken: Vec<Watcher>,
    metrics: Metrics,
    /// What the admin thread has asked for and is being gathered.
    reporting: Option<Reporting>,
}

/// How far a clean stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    Running,
    /// No new requests; the store makes everything durable.
    Draining,
    /// The node cannot go on, and ends at once.
    Halted,
}

impl Shard {
    /// A shard about to run its first turn.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup { id, count, config, listeners, stores, directories, image, controller, seed, ready } = setup;
        assert!(id < count, "shards are numbered from 0");
        assert_eq!(controller.is_some(), id == 0, "the controller lives on shard 0");
        let is_watched = !config.admin.is_empty();
        let slots = (config.network.fetch_sessions_max as usize / count).max(1);
        let mut shard = Self {
            id,
            groups: Groups::new(&config),
            telemetry: Receiver::default(),
            pushes: 0,
            connections: Connections::new(count),
            memory: Memory::new(config.network.memory_bytes),
            admission: Admission::new(config.network.connections.clone(), listeners.len()),
            throttling: Throttling::new(quota::Settings::of(&config), count),
            config,
            listeners,
            now: Now::default(),
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            partitions: Partitions::new(stores.directories()),
            directories: Directories::new(directories),
            stores,
            unsettled: Unsettled::default(),
            image,
            control: controller.map(|controller| Control::new(controller, count)),
            requests: Table::default(),
            sessions: Sessions::new(slots),
            timers: Timers::default(),
            stalls: Stalls::new(count),
            peers: (0..count).map(|_| Peer::new()).collect(),
            peer_watches: BTreeMap::new(),
            ops: Ops::default(),
            outbox: Vec::new(),
            stopping: Stopping::Running,
            ready,
            served: false,
            produce_timeouts_armed: false,
            spare_produce: Vec::new(),
            spare_fetch: Vec::new(),
            woken: Vec::new(),
            metrics: Metrics::new(is_watched),
            reporting: None,
        };
        shard.configure_compaction();
        shard.open_metadata_log();
        shard
    }

    /// Starts a clean stop: connections end, and the store makes everything durable.
    pub(crate) fn begin_stop(&mut self) {
        if self.stopping == Stopping::Running {
            self.stopping = Stopping::Draining;
            self.close_all();
            self.stores.begin_stop();
        }
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Fetch(key) => self.fetch_due(key),
            Timer::FetchAgain(key) => self.wake(Watcher::Fetch(key)),
            Timer::PartitionRequest(key) => self.partition_request_due(key),
            Timer::Idle { connection, generation } => self.check_idle(connection, generation),
            Timer::ProduceTimeouts => self.check_produce_timeouts(),
            Timer::OffsetExpiry => self.offsets_expire(),
            Timer::Accept(listener) => self.accept(listener),
            Timer::Stall => self.stall_due(),
            Timer::Unmute { connection, generation } => self.unmute(connection, generation),
            Timer::QuotaReport => self.report_quotas(),
            Timer::Memory => self.memory_due(),
            Timer::KeptOut => self.close_kept_out(),
        }
    }

    /// Whether no stop has begun.
    pub(crate) fn is_running(&self) -> bool {
        self.stopping == Stopping::Running
    }

    /// A seed for a state machine of this shard.
    fn random_seed(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// A random positive number.
    fn random_positive(&mut self) -> i32 {
        (self.random.next_u32() >> 1).max(1) as i32
    }

    /// A condition of the store that concerns nobody's request in particular.
    fn store_condition(&mut self, directory: DataDirectory, event: Event) {
        match event {
            Event::Fatal(error) => self.directory_failed(directory, &error.to_string()),
            Event::DiskFull => {
                tracing::error!(
                    shard = self.id,
                    directory = directory.index(),
                    "the disk is full: produce requests are refused until there is room again; free some space, \
                     or shorten the retention of topics"
                );
            }
            Event::Writable => tracing::info!(
                shard = self.id,
                directory = directory.index(),
                "there is room on the disk again: writing goes on"
            ),
            other => tracing::debug!(shard = self.id, ?other, "storage"),
        }
    }
}

impl Turn for Shard {
    type Mail = Mail;

    fn begin(&mut self, now: Now) {
        self.now = now;
    }

    fn complete(&mut self, completion: Completion<'_>) {
        match completion {
            Completion::Net(event) => self.net_event(event),
            Completion::Disk(completion) => self.stores.complete(completion, self.now.storage()),
        }
    }

    fn mail(&mut self, from: usize, mail: Mail) {
        self.receive_mail(from, mail);
    }

    fn turn(&mut self, now: Now, ops: &mut Ops, outbox: &mut Vec<(usize, Mail)>) -> Next {
        self.now = now;
        self.drain_store();
        for _ in 0..TIMERS_PER_TURN {
            let Some(timer) = self.timers.pop_due(now.monotonic_ns) else { break };
            self.fire(timer);
        }
        self.groups_due();
        self.resume_connections();
        self.step_groups();
        self.stores.step(now.storage(), BACKGROUND_BYTES_PER_TURN);
        self.check_readers();
        self.drain_store();
        self.run_control();
        self.step_report();
        self.tell_room();
        self.pause_receiving();
        self.send_answers();
        self.stores.requests(&mut self.ops.disk);
        std::mem::swap(ops, &mut self.ops);
        outbox.append(&mut self.outbox);
        if self.stopping == Stopping::Halted {
            return Next::Halt;
        }
        if self.stopping == Stopping::Draining && self.stores.is_stopped() && self.connections.is_empty() {
            return Next::Stop;
        }
        let has_work = self.stores.has_work() || self.connections.has_work() || self.memory.has_work();
        if has_work || self.groups.has_work() || self.reporting.is_some() {
            return Next::Busy;
        }
        let deadlines = [self.timers.next_deadline(), self.groups.next_deadline(), self.stores.next_deadline()];
        Next::Idle { deadline_ns: deadlines.into_iter().flatten().min() }
    }

    fn wants_time_spent(&self) -> bool {
        self.throttling.meter.limits(quota::Key::Request)
    }

    fn spent(&mut self, busy_ns: u64) {
        self.share_time(busy_ns);
    }

    fn stop(&mut self) {
        self.notify_peers(|| Notice::Stop);
        self.begin_stop();
    }
}
