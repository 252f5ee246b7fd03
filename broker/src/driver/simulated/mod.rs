//! The simulated driver: a node's disk, network and clock in memory, all of it following from a seed.
//!
//! ```text
//!                    ┌────────── World of a node ──────────┐
//!  shard 0 ─ Simulated ─┐   clock    virtual; the wall jumps
//!  shard 1 ─ Simulated ─┼─► disks    storage::simulated::Disk
//!  shard … ─ Simulated ─┘   network  sockets with two ends ◄── simulated clients
//! ```
//!
//! Time moves only when the harness moves it: [`Simulated::next_at_ns`] says when something is due next. Completions
//! that a ring can produce come about here too: any split of what is received, a receive that ends early or finds no
//! buffers, a short send, a cancel that loses its race, a close with operations in flight, an accept that fails.

mod clock;
mod network;
mod sockets;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;

use storage::simulated::{Disk, Latency, Owner, Queue, Random};

pub use clock::Clock;
pub use network::{ClientRead, Network};
pub use sockets::Weather;

use self::sockets::Sockets;
use super::{Completion, Driver, Ops};

/// What all shards of a simulated node share.
#[derive(Debug, Clone)]
pub struct World {
    /// Virtual time.
    pub clock: Rc<Clock>,
    /// A disk for each data directory, by its number. They survive the node.
    pub disks: Vec<Rc<RefCell<Disk>>>,
    /// The one network.
    pub network: Rc<RefCell<Network>>,
}

/// The driver of one simulated shard.
#[derive(Debug)]
pub struct Simulated {
    world: World,
    /// By the data directory.
    files: Vec<Queue>,
    sockets: Sockets,
    random: Random,
}

impl Simulated {
    /// The driver of shard number `shard`.
    #[must_use]
    pub fn new(world: World, shard: u32, latency: Latency, weather: Weather, mut random: Random) -> Self {
        let queue = |_: &_| Queue::new(Owner(shard), latency.clone(), random.fork());
        let files = world.disks.iter().map(queue).collect();
        let sockets = Sockets::new(weather, random.fork());
        Self { world, files, sockets, random }
    }

    /// When something is due next; earlier than the present if it is overdue.
    #[must_use]
    pub fn next_at_ns(&self) -> Option<u64> {
        let sockets = self.sockets.next_at_ns(&self.world.network.borrow());
        self.files.iter().filter_map(Queue::next_at_ns).chain(sockets).min()
    }

    /// Changes how long operations on files take from now on.
    pub fn set_latency(&mut self, latency: &Latency) {
        self.files.iter_mut().for_each(|queue| queue.set_latency(latency.clone()));
    }

    /// File operations that have not completed.
    #[must_use]
    pub fn files_in_flight(&self) -> usize {
        self.files.iter().map(Queue::in_flight).sum()
    }

    /// The process dies or the power goes: what is in flight on the disk has any part of its effect. The owner of the
    /// world then tells the disk which of the two it was, and [`Network::sever`]s the node.
    pub fn abandon(mut self) {
        for (queue, disk) in self.files.iter_mut().zip(&self.world.disks) {
            queue.abandon(&mut disk.borrow_mut());
        }
    }

    fn complete_files(&mut self, each: &mut dyn FnMut(Completion<'_>)) {
        let now = self.world.clock.monotonic_ns();
        for (queue, disk) in self.files.iter_mut().zip(&self.world.disks) {
            loop {
                // The disk is not borrowed while the shard looks at the completion.
                let completion = queue.complete(now, &mut disk.borrow_mut());
                let Some(completion) = completion else { break };
                each(Completion::Disk(completion));
            }
        }
    }

    fn complete_sockets(&mut self, each: &mut dyn FnMut(Completion<'_>)) {
        let now = self.world.clock.monotonic_ns();
        self.sockets.complete(now, &self.world.network, &mut |event| each(Completion::Net(event)));
    }
}

impl Driver for Simulated {
    fn submit(&mut self, ops: &mut Ops) {
        let now = self.world.clock.monotonic_ns();
        for request in ops.disk.drain(..) {
            self.files[request.directory.index()].submit(now, request);
        }
        for op in ops.net.drain(..) {
            self.sockets.submit(now, &mut self.world.network.borrow_mut(), op);
        }
    }

    fn complete(&mut self, each: &mut dyn FnMut(Completion<'_>)) {
        if self.random.index(2) == 0 {
            self.complete_files(each);
            self.complete_sockets(each);
        } else {
            self.complete_sockets(each);
            self.complete_files(each);
        }
    }
}
