//! What one seed consists of: who takes part, and what goes wrong.

use broker::driver::simulated::Weather;
use storage::simulated::{Faults, Latency, Random};

use super::client::Style;

/// How a life is lived. Drawn from the seed, within what the runner asks for.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Requests of clients after which the life comes to its end.
    pub operations: u64,
    /// Counts of requests at which the node ends and starts again.
    pub ends: Vec<(u64, End)>,
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
    /// Connections cut, per million requests.
    pub cuts_per_million: u32,
    /// How sockets behave.
    pub weather: Weather,
    /// How long the disk takes.
    pub latency: Latency,
    /// Disturbances, per million steps of the simulation.
    pub disturbances_per_million: u32,
    /// The file system has no `O_DIRECT`.
    pub refuses_direct: bool,
    /// The file system honours `syncfs`.
    pub sync_all: bool,
    /// Syncs make nothing durable.
    pub lies: bool,
    /// Data directories, each on a disk of its own.
    pub directories: usize,
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

/// How a producer produces.
#[derive(Debug, Clone, Copy)]
pub struct Producing(pub(super) Style);

impl Scenario {
    /// The disk without anything going wrong.
    pub(super) fn no_faults(&self) -> Faults {
        Faults { lies: self.lies, refuses_direct: self.refuses_direct, ..Faults::NONE }
    }

    /// The scenario of a seed, with that many requests.
    #[must_use]
    pub fn draw(random: &mut Random, operations: u64) -> Self {
        let rough = random.index(3) > 0;
        Self {
            operations,
            ends: ends(random, operations),
            producers: (0..random.between(2, 3)).map(|_| Producing(style(random))).collect(),
            consumers: random.between(1, 2) as u32,
            committers: random.between(1, 2) as u32,
            members: (0..random.between(1, 2)).map(|_| random.between(1, 3) as u32).collect(),
            has_quotas: random.index(3) == 0,
            cuts_per_million: if rough { 10_000 } else { 0 },
            weather: if rough { Weather::ROUGH } else { Weather::CALM },
            latency: latency(random),
            disturbances_per_million: if rough { 300 } else { 0 },
            refuses_direct: random.index(4) == 0,
            sync_all: random.index(2) == 0,
            lies: false,
            directories: [1, 1, 2, 3][random.index(4)],
        }
    }
}

/// One to four ends, the first of them a power cut.
fn ends(random: &mut Random, operations: u64) -> Vec<(u64, End)> {
    let mut ends = vec![(random.between(operations / 10, operations - 1), End::PowerCut)];
    for _ in 0..random.below(4) {
        let end = [End::PowerCut, End::PowerCut, End::Kill, End::Stop][random.index(4)];
        ends.push((random.between(1, operations - 1), end));
    }
    ends.sort_by_key(|(at, _)| *at);
    ends
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
    Latency { ns_min: 10_000, ns_max, slow_per_million, slow_ns_max: 100_000_000 }
}
