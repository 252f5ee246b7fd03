//! What one seed consists of: who takes part, and what goes wrong.

use broker::driver::simulated::Weather;
use storage::simulated::{Faults, Latency, Random};

use super::client::Style;

/// Disturbances of a life besides its ends, at the most.
const DISTURBANCES_MAX: u64 = 8;

/// How a life is lived. Drawn from the seed, within what the runner asks for.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Requests of clients after which the life comes to its end.
    pub operations: u64,
    /// What goes wrong, each at a count of requests, in their order.
    pub faults: Vec<(u64, Fault)>,
    /// Idempotent and plain producers.
    pub producers: Vec<Producing>,
    /// Consumers.
    pub consumers: u32,
    /// Groups that commit offsets.
    pub committers: u32,
    /// Members of each consumer group.
    pub members: Vec<u32>,
    /// Quotas of clients come and go.
    pub has_quotas: bool,
    /// Somebody has a compacted topic.
    pub has_keeper: bool,
    /// Connections cut, per million requests.
    pub cuts_per_million: u32,
    /// How sockets behave.
    pub weather: Weather,
    /// Whether sockets do what is unusual.
    pub is_rough: bool,
    /// How long the disk takes.
    pub latency: Latency,
    /// The file system has no `O_DIRECT`.
    pub refuses_direct: bool,
    /// The file system honours `syncfs`.
    pub sync_all: bool,
    /// Syncs make nothing durable.
    pub lies: bool,
    /// Data directories, each on a disk of its own.
    pub directories: usize,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The node ends, and starts again some time later.
    End(End),
    /// Somebody sets the wall clock.
    ClockJump,
    /// The next read of a file fails with `EIO`.
    ReadError,
    /// The next write fails with `EIO`, after any part of its effect.
    WriteError,
    /// The next sync fails with `EIO`.
    SyncError,
    /// The disk is full, for a while.
    FullDisk,
    /// Every sync takes a tenth of a second, for a while.
    SlowDisk,
    /// Nothing gets through on some of the connections, for a while.
    Split,
    /// A disk is gone, if the node has several: a start later it may be back.
    LostDisk,
    /// A bit of an index file flips, behind the node's back: it can be made anew.
    IndexDecay,
}

/// How a node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The power goes: what was not synced may be lost.
    PowerCut,
    /// The process dies: the page cache survives.
    Kill,
    /// It is told to stop.
    Stop,
}

impl Fault {
    /// Those that come in a life where much goes wrong, besides ends.
    const DISTURBANCES: [Self; 9] = [
        Self::ClockJump,
        Self::ReadError,
        Self::WriteError,
        Self::SyncError,
        Self::FullDisk,
        Self::SlowDisk,
        Self::Split,
        Self::LostDisk,
        Self::IndexDecay,
    ];
}

/// How a producer produces.
#[derive(Debug, Clone, Copy)]
pub struct Producing(pub(super) Style);

impl Scenario {
    /// The disk without anything going wrong.
    pub(super) fn no_faults(&self) -> Faults {
        Faults { lies: self.lies, refuses_direct: self.refuses_direct, ..Faults::NONE }
    }

    /// How many clients take part.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.client_names().len()
    }

    /// What the clients are, by their numbers.
    #[must_use]
    pub fn client_names(&self) -> Vec<String> {
        let mut names = vec!["administrator".to_owned()];
        names.extend(self.producers.iter().map(|Producing(style)| format!("producer, {style:?}")));
        names.extend((0..self.consumers).map(|_| "consumer".to_owned()));
        names.extend((0..self.committers).map(|_| "committer of offsets".to_owned()));
        let members = self.members.iter().enumerate();
        names.extend(members.flat_map(|(group, &count)| (0..count).map(move |_| format!("member of group {group}"))));
        names.extend(self.has_quotas.then(|| "setter of quotas".to_owned()));
        names.extend(self.has_keeper.then(|| "keeper of a compacted topic".to_owned()));
        names
    }

    /// The scenario of a seed, with that many requests.
    #[must_use]
    pub fn draw(random: &mut Random, operations: u64) -> Self {
        let rough = random.index(3) > 0;
        Self {
            operations,
            faults: faults(random, operations, rough),
            producers: (0..random.between(2, 3)).map(|_| Producing(style(random))).collect(),
            consumers: random.between(1, 2) as u32,
            committers: random.between(1, 2) as u32,
            members: (0..random.between(1, 2)).map(|_| random.between(1, 3) as u32).collect(),
            has_quotas: random.index(3) == 0,
            has_keeper: random.index(2) == 0,
            cuts_per_million: if rough { 10_000 } else { 0 },
            is_rough: rough,
            weather: if rough { Weather::ROUGH } else { Weather::CALM },
            latency: latency(random),
            refuses_direct: random.index(4) == 0,
            sync_all: random.index(2) == 0,
            lies: false,
            directories: [1, 1, 2, 3][random.index(4)],
        }
    }
}

/// One to four ends, the first of them a power cut, and what else goes wrong.
fn faults(random: &mut Random, operations: u64, rough: bool) -> Vec<(u64, Fault)> {
    let mut faults = vec![(random.between(operations / 10, operations - 1), Fault::End(End::PowerCut))];
    for _ in 0..random.below(4) {
        let end = [End::PowerCut, End::PowerCut, End::Kill, End::Stop][random.index(4)];
        faults.push((random.between(1, operations - 1), Fault::End(end)));
    }
    let disturbances = if rough { random.between(2, DISTURBANCES_MAX) } else { 0 };
    for _ in 0..disturbances {
        let fault = Fault::DISTURBANCES[random.index(Fault::DISTURBANCES.len())];
        faults.push((random.between(1, operations - 1), fault));
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}

fn style(random: &mut Random) -> Style {
    match random.index(6) {
        0 => Style::Plain { acks: 0 },
        1 => Style::Plain { acks: 1 },
        2 => Style::Plain { acks: -1 },
        3 => Style::Idempotent { acks: 1 },
        _ => Style::Idempotent { acks: -1 },
    }
}

fn latency(random: &mut Random) -> Latency {
    let slow_per_million = [0, 10_000, 100_000][random.index(3)];
    let ns_max = [100_000, 2_000_000][random.index(2)];
    Latency { ns_min: 10_000, ns_max, slow_per_million, slow_ns_max: 100_000_000, sync_ns_min: 0 }
}
