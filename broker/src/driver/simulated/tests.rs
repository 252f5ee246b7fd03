//! The contract suite on the simulated driver, in calm and in rough weather.

use std::cell::RefCell;
use std::rc::Rc;

use net::ops::{ListenerId, Socket};
use storage::simulated::{Disk, Faults, Latency, Random};

use super::{ClientRead, Clock, Network, Simulated, Weather, World};
use crate::driver::{Driver, contract};

/// How far time goes in one round of a test, in nanoseconds.
const ROUND_NS: u64 = 100_000;
const LISTENER: ListenerId = ListenerId(0);

struct Trial {
    world: World,
    driver: Simulated,
    clients: Vec<Socket>,
}

impl Trial {
    fn new(seed: u64, weather: Weather) -> Self {
        let mut random = Random::new(seed);
        let world = World {
            clock: Rc::new(Clock::default()),
            disks: vec![Rc::new(RefCell::new(Disk::new(random.fork(), Faults::NONE)))],
            network: Rc::new(RefCell::new(Network::new(random.fork()))),
        };
        world.network.borrow_mut().listen(LISTENER);
        let latency = Latency {
            ns_min: 1_000,
            ns_max: 200_000,
            slow_per_million: 50_000,
            slow_ns_max: 1_000_000,
            sync_ns_min: 0,
        };
        let driver = Simulated::new(world.clone(), 0, latency, weather, random);
        Self { world, driver, clients: Vec::new() }
    }

    fn now(&self) -> u64 {
        self.world.clock.monotonic_ns()
    }
}

impl contract::World for Trial {
    fn driver(&mut self) -> &mut dyn Driver {
        &mut self.driver
    }

    fn advance(&mut self) {
        self.world.clock.advance_to(self.now() + ROUND_NS);
    }

    fn connect(&mut self) -> contract::Client {
        let socket = self.world.network.borrow_mut().connect(self.now(), LISTENER).expect("the node listens");
        self.clients.push(socket);
        self.clients.len() - 1
    }

    fn write(&mut self, client: contract::Client, bytes: &[u8]) -> usize {
        self.world.network.borrow_mut().client_write(self.now(), self.clients[client], bytes);
        bytes.len()
    }

    fn read(&mut self, client: contract::Client, into: &mut Vec<u8>) -> bool {
        let socket = self.clients[client];
        self.world.network.borrow_mut().client_read(self.now(), socket, usize::MAX, into) == ClientRead::Open
    }

    fn hang_up(&mut self, client: contract::Client) {
        self.world.network.borrow_mut().client_finish(self.now(), self.clients[client]);
    }
}

mod calm {
    use super::*;
    contract::contract_suite!(Trial::new(1, Weather::CALM));
}

mod rough {
    use super::*;
    // Accepting goes on until it is paused, as the suite expects; the simulation has it fail.
    const WEATHER: Weather = Weather { accept_failure_per_million: 0, accept_end_per_million: 0, ..Weather::ROUGH };
    contract::contract_suite!(Trial::new(2, WEATHER));
}
