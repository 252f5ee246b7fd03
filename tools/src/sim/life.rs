//! One seed from its first start to its last audit.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use storage::simulated::{Disk, Faults, Latency, Random};

use super::client::{Admin, Auditor, Client, Committer, Consumer, Env, Keeper, Limiter, Member, Producer};
use super::machine::Machine;
use super::model::Model;
use super::reduction::Reduction;
use super::scenario::{End, Fault, Producing, Scenario};
use super::totals::Totals;
use super::trace::Trace;

/// A client that has nothing to do is looked at again after this time, in nanoseconds.
const POLL_NS: u64 = 20_000;
/// Longest time that a machine stays without a node, in nanoseconds.
const DOWN_NS_MAX: u64 = 200_000_000;
/// Virtual time within which clients have to come to rest when they begin nothing new, in nanoseconds.
const REST_NS_MAX: u64 = 600_000_000_000;
/// Time after a failed operation before another may fail, in nanoseconds: it can be tried again meanwhile, however slow the
/// disk is.
const ERROR_APART_NS: u64 = 300_000_000;
/// Longest time for which the disk is full, in nanoseconds.
const FULL_NS_MAX: u64 = 500_000_000;
/// Longest time for which the disk is slow, in nanoseconds.
const SLOW_NS_MAX: u64 = 2_000_000_000;
/// What a sync takes at least on a slow disk, in nanoseconds.
const SLOW_SYNC_NS: u64 = 100_000_000;
/// Longest time for which connections are split, in nanoseconds.
pub(super) const SPLIT_NS_MAX: u64 = 1_000_000_000;
/// The wall clock is wrong by at most this much, in milliseconds: less than half of what a record's timestamp may be
/// ahead of the broker's time, so that a batch sent again after any jumps is still acceptable.
const WRONG_MS_MAX: i64 = 25 * 60 * 1000;

/// What a life came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Counts of what happened.
    pub totals: Totals,
    /// The fingerprint of all that happened.
    pub trace: u64,
}

struct Participant {
    client: Box<dyn Client>,
    /// Not looked at before this time.
    not_before_ns: u64,
}

/// See the module's head.
pub(super) struct Life {
    machine: Machine,
    participants: Vec<Participant>,
    model: Model,
    scenario: Scenario,
    random: Random,
    totals: Totals,
    trace: Trace,
    /// What is still to go wrong.
    ahead: VecDeque<(u64, Fault)>,
    /// When the disk has room again, while it is full.
    full_until_ns: Option<u64>,
    /// When the disk is as quick as before, while it is slow.
    slow_until_ns: Option<u64>,
    /// Operations that have failed, and when the last did.
    errors: u64,
    error_at_ns: u64,
    /// How wrong the wall clock is.
    wrong_ms: i64,
    is_draining: bool,
    /// No disk stays away any more.
    are_disks_to_return: bool,
}

/// Lives the life of a seed.
///
/// # Panics
/// If the node breaks a promise.
pub(super) fn live(scenario: Scenario, reduction: &Reduction, random: Random) -> Report {
    Life::new(scenario, reduction, random).run()
}

impl Life {
    fn new(mut scenario: Scenario, reduction: &Reduction, mut random: Random) -> Self {
        let stop_at = reduction.stop_at.unwrap_or(u64::MAX).min(scenario.operations);
        scenario.operations = stop_at;
        let numbered = std::mem::take(&mut scenario.faults).into_iter().enumerate();
        let is_kept =
            |(number, (at, _)): &(usize, (u64, Fault))| *at <= stop_at && !reduction.without_faults.contains(number);
        scenario.faults = numbered.filter(is_kept).map(|(_, fault)| fault).collect();
        let machine = Machine::new(scenario.clone(), random.fork());
        let clients = clients(&scenario, &mut random);
        let is_there = |(number, _): &(usize, Box<dyn Client>)| !reduction.without_clients.contains(number);
        let clients = clients.into_iter().enumerate().filter(is_there);
        let participants = clients.map(|(_, client)| Participant { client, not_before_ns: 0 }).collect();
        Self {
            machine,
            participants,
            model: Model::default(),
            scenario,
            random,
            totals: Totals::default(),
            trace: Trace::default(),
            ahead: VecDeque::new(),
            full_until_ns: None,
            slow_until_ns: None,
            errors: 0,
            error_at_ns: 0,
            wrong_ms: 0,
            is_draining: false,
            are_disks_to_return: false,
        }
    }

    fn run(mut self) -> Report {
        self.machine.start(&mut self.trace, &mut self.totals);
        self.ahead = std::mem::take(&mut self.scenario.faults).into();
        let (mut asked, mut asked_ns) = (0, 0);
        // Clients that are left over by a reduction may have nothing to ask.
        while self.totals.operations < self.scenario.operations && self.now_ns() < asked_ns + REST_NS_MAX {
            self.step();
            if self.machine.has_halted() {
                self.end_and_start(End::Kill);
            }
            self.disturb();
            if asked != self.totals.operations {
                (asked, asked_ns) = (self.totals.operations, self.now_ns());
            }
        }
        // What came too close behind another fault to be done then: only the ends are still of interest.
        while let Some((_, fault)) = self.ahead.pop_front() {
            if let Fault::End(end) = fault {
                self.end_and_start(end);
            }
        }
        if self.machine.has_lost_disks() {
            self.are_disks_to_return = true;
            self.end_and_start(End::Kill);
        }
        self.clear_faults();
        self.is_draining = true;
        self.rest("the clients do not come to rest");
        self.end_and_start(End::PowerCut);
        let auditor = Box::new(Auditor::new(self.random.fork()));
        self.participants.push(Participant { client: auditor, not_before_ns: 0 });
        self.rest("the audit does not come to its end");
        self.report()
    }

    fn report(mut self) -> Report {
        let disk = self.machine.disk_counts();
        self.totals.seeds = 1;
        self.totals.buffered_lives = u64::from(self.scenario.refuses_direct);
        self.totals.lives_without_sync_all = u64::from(!self.scenario.sync_all);
        self.totals.rough_lives = u64::from(self.scenario.is_rough);
        self.totals.read_errors = disk.read_errors;
        self.totals.write_errors = disk.write_errors;
        self.totals.sync_errors = disk.sync_errors;
        self.totals.disk_refusals = disk.refusals;
        self.totals.exposed = disk.exposed;
        self.totals.lost_blocks = disk.lost_blocks;
        self.totals.kept_blocks = disk.kept_blocks;
        self.totals.torn_blocks = disk.torn_blocks;
        self.totals.lost_lengths = disk.lost_lengths;
        self.totals.lost_names = disk.lost_names;
        self.totals.interrupted = disk.interrupted;
        self.totals.virtual_ns = self.now_ns();
        Report { totals: self.totals, trace: self.trace.hash() }
    }

    fn now_ns(&self) -> u64 {
        self.machine.world.clock.monotonic_ns()
    }

    /// Lets time go on to the next thing that happens, and everybody do what is due.
    fn step(&mut self) {
        let next = {
            let network = self.machine.world.network.borrow();
            let clients = self.participants.iter().filter_map(|participant| {
                participant.client.next_at_ns(&network).map(|at| at.max(participant.not_before_ns))
            });
            clients.chain(self.machine.next_at_ns()).min()
        };
        // Without clients there may be nothing ahead.
        let now_ns = next.unwrap_or(self.now_ns() + POLL_NS).max(self.now_ns());
        self.machine.world.clock.advance_to(now_ns);
        self.machine.turns(&mut self.trace, &mut self.totals);
        self.poll_clients(now_ns);
    }

    fn poll_clients(&mut self, now_ns: u64) {
        let mut network = self.machine.world.network.borrow_mut();
        let wall_ms = self.machine.world.clock.wall_ms();
        for participant in &mut self.participants {
            let at = participant.client.next_at_ns(&network);
            if at.is_none_or(|at| at.max(participant.not_before_ns) > now_ns) {
                continue;
            }
            participant.not_before_ns = now_ns + POLL_NS;
            participant.client.poll(&mut Env {
                now_ns,
                wall_ms,
                network: &mut network,
                model: &mut self.model,
                totals: &mut self.totals,
                trace: &mut self.trace,
                is_draining: self.is_draining,
            });
        }
    }

    /// Goes on until no client has anything under way.
    fn rest(&mut self, otherwise: &str) {
        let deadline = self.now_ns() + REST_NS_MAX;
        while !self.participants.iter().all(|participant| participant.client.is_idle()) {
            self.step();
            assert!(self.now_ns() < deadline, "{otherwise}");
        }
    }

    fn end_and_start(&mut self, end: End) {
        if end == End::Stop {
            // A stop moves everything to its segments, which takes room.
            self.clear_faults();
        }
        self.machine.end(end, &mut self.trace, &mut self.totals);
        let all = self.are_disks_to_return || self.random.index(2) == 0;
        self.machine.bring_disks_back(all);
        if end == End::PowerCut {
            self.model.forget_cached();
        }
        self.full_until_ns = None;
        self.slow_until_ns = None;
        self.clear_faults();
        let up_at_ns = self.now_ns() + self.random.below(DOWN_NS_MAX);
        while self.now_ns() < up_at_ns {
            self.step();
        }
        let cut = self.totals.recoveries_cut;
        self.machine.start(&mut self.trace, &mut self.totals);
        if self.totals.recoveries_cut > cut {
            self.model.forget_cached();
        }
    }

    // What goes wrong.

    /// Lets what is over be over, and what is due go wrong.
    fn disturb(&mut self) {
        let now_ns = self.now_ns();
        let errors = self.machine.disk_counts().errors();
        if errors != self.errors {
            (self.errors, self.error_at_ns) = (errors, now_ns);
        }
        if self.full_until_ns.is_some_and(|until| until <= now_ns) {
            self.full_until_ns = None;
            self.clear_faults();
        }
        if self.slow_until_ns.is_some_and(|until| until <= now_ns) {
            self.slow_until_ns = None;
            self.machine.set_latency(self.scenario.latency.clone());
        }
        while let Some(&(at, fault)) = self.ahead.front()
            && at <= self.totals.operations
            && self.may_come(fault)
        {
            self.ahead.pop_front();
            tracing::info!(at = now_ns, ?fault);
            self.come(fault);
        }
    }

    /// Whether a fault would not meet another that changes what it does.
    fn may_come(&self, fault: Fault) -> bool {
        match fault {
            Fault::ReadError | Fault::WriteError | Fault::SyncError => {
                let is_apart = self.errors == 0 || self.now_ns() >= self.error_at_ns + ERROR_APART_NS;
                // A slow disk takes longer to try again.
                is_apart && self.full_until_ns.is_none() && self.slow_until_ns.is_none()
            }
            Fault::FullDisk => self.full_until_ns.is_none(),
            Fault::End(_) | Fault::ClockJump | Fault::SlowDisk | Fault::Split | Fault::LostDisk | Fault::IndexDecay => {
                true
            }
        }
    }

    fn come(&mut self, fault: Fault) {
        match fault {
            Fault::End(end) => self.end_and_start(end),
            Fault::ClockJump => self.jump_clock(),
            Fault::ReadError | Fault::WriteError | Fault::SyncError => self.fail_one_operation(fault),
            Fault::FullDisk => self.fill_disk(),
            Fault::SlowDisk => self.slow_down(),
            Fault::Split => self.split(),
            Fault::LostDisk if self.scenario.directories > 1 && !self.machine.has_lost_disks() => self.lose_disk(),
            // One disk has to be left.
            Fault::LostDisk => {}
            Fault::IndexDecay => self.totals.index_decays += u64::from(self.machine.decay_index()),
        }
    }

    fn lose_disk(&mut self) {
        self.totals.disks_lost += 1;
        let number = self.random.index(self.scenario.directories);
        self.machine.lose_disk(number);
        // It comes back as after a power cut.
        self.model.forget_cached();
    }

    fn jump_clock(&mut self) {
        self.totals.clock_jumps += 1;
        let wrong_ms = self.random.below(2 * WRONG_MS_MAX as u64) as i64 - WRONG_MS_MAX;
        self.machine.world.clock.jump_wall(wrong_ms - self.wrong_ms);
        self.wrong_ms = wrong_ms;
    }

    /// One operation fails, the next succeed: what fails twice may rightly end the node.
    fn fail_one_operation(&mut self, fault: Fault) {
        let disk = self.pick_disk();
        let mut faults = disk.borrow().faults().clone();
        faults.errors_max = 1;
        match fault {
            Fault::ReadError => faults.read_errors_per_million = 1_000_000,
            Fault::WriteError => faults.write_errors_per_million = 1_000_000,
            _ => faults.sync_errors_per_million = 1_000_000,
        }
        disk.borrow_mut().set_faults(faults);
    }

    fn pick_disk(&mut self) -> Rc<RefCell<Disk>> {
        let disks = &self.machine.world.disks;
        Rc::clone(&disks[self.random.index(disks.len())])
    }

    fn slow_down(&mut self) {
        self.totals.slow_disks += 1;
        self.machine.set_latency(Latency { sync_ns_min: SLOW_SYNC_NS, ..self.scenario.latency.clone() });
        self.slow_until_ns = Some(self.now_ns() + self.random.below(SLOW_NS_MAX));
    }

    fn split(&mut self) {
        let now_ns = self.now_ns();
        let until_ns = now_ns + self.random.below(SPLIT_NS_MAX);
        let split = self.machine.world.network.borrow_mut().split(now_ns, until_ns);
        self.totals.splits += u64::from(split > 0);
    }

    fn fill_disk(&mut self) {
        let room = self.random.below(1 << 20);
        let disk = self.pick_disk();
        let mut disk = disk.borrow_mut();
        let capacity_bytes = disk.used_bytes() + room;
        let faults = Faults { capacity_bytes, ..disk.faults().clone() };
        disk.set_faults(faults);
        drop(disk);
        self.full_until_ns = Some(self.now_ns() + self.random.below(FULL_NS_MAX));
    }

    fn clear_faults(&mut self) {
        self.machine.clear_faults();
    }
}

fn clients(scenario: &Scenario, random: &mut Random) -> Vec<Box<dyn Client>> {
    let cuts = scenario.cuts_per_million;
    let count = scenario.producers.len() as u32;
    let mut clients: Vec<Box<dyn Client>> = vec![Box::new(Admin::new(cuts, random.fork()))];
    for (number, Producing(style)) in scenario.producers.iter().enumerate() {
        clients.push(Box::new(Producer::new(number as u32, count, *style, cuts, random.fork())));
    }
    for number in 0..scenario.consumers {
        clients.push(Box::new(Consumer::new(number, cuts, random.fork())));
    }
    for number in 0..scenario.committers {
        clients.push(Box::new(Committer::new(number, cuts, random.fork())));
    }
    for (group, &members) in scenario.members.iter().enumerate() {
        for number in 0..members {
            clients.push(Box::new(Member::new(group as u32, number, cuts, random.fork())));
        }
    }
    if scenario.has_quotas {
        clients.push(Box::new(Limiter::new(cuts, random.fork())));
    }
    if scenario.has_keeper {
        clients.push(Box::new(Keeper::new(cuts, random.fork())));
    }
    clients
}
