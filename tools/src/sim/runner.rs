//! Many seeds at once, and one again.

use std::any::Any;
use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use storage::simulated::Random;

use super::life::{self, Report};
use super::reduction::{Parts, Reduction, shrink};
use super::scenario::Scenario;
use super::totals::Totals;

/// Requests of clients in one life.
pub const OPERATIONS: u64 = 300;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The first seed.
    pub first_seed: u64,
    /// How many, one after another.
    pub seeds: u64,
    /// Threads over seeds; each life has one.
    pub threads: usize,
    /// Requests of clients in each life, at least.
    pub operations: u64,
    /// The disk lies: syncs complete and make nothing durable.
    pub lies: bool,
    /// What is left out of each life.
    pub reduction: Reduction,
    /// Begin no further seed after this many have failed.
    pub failures_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            first_seed: 0,
            seeds: 1000,
            threads: 2,
            operations: OPERATIONS,
            lies: false,
            reduction: Reduction::default(),
            failures_max: 1,
        }
    }
}

/// A seed that broke a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// Requests of clients it was run with.
    pub operations: u64,
    /// What was broken.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, operations, message } = self;
        write!(f, "seed {seed} failed: {message}\n  replay it: skein dev sim --seed {seed} --operations {operations}")
    }
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Counts over all seeds that held.
    pub totals: Totals,
    /// Seeds that did not, in order.
    pub failures: Vec<Failure>,
}

thread_local! {
    /// The seed and number of requests of the life that this thread simulates.
    static CURRENT: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// Has a panic say which seed it belongs to, and do `more` with it. A release build ends with the first panic, so that
/// a failed seed can be told in no other way.
pub fn announce_failures(more: impl Fn(&Failure) + Send + Sync + 'static) {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        report(panic);
        if let Some((seed, operations)) = CURRENT.get() {
            let failure = Failure { seed, operations, message: message(panic.payload()) };
            eprintln!("{failure}");
            more(&failure);
        }
    }));
}

/// The shortest life of a failed seed that still fails, as far as `fails` says so.
pub fn shorten(failure: &Failure, fails: &mut dyn FnMut(&Reduction) -> bool) -> Reduction {
    let scenario = Scenario::draw(&mut Random::new(failure.seed), failure.operations);
    let (faults, clients) = (scenario.faults.len(), scenario.clients());
    shrink(Parts { operations: failure.operations, faults, clients }, fails)
}

/// What a seed's life consists of when something is left out: its faults and clients, a line each.
#[must_use]
pub fn describe(seed: u64, operations: u64, reduction: &Reduction) -> String {
    let scenario = Scenario::draw(&mut Random::new(seed), operations);
    let stop_at = reduction.stop_at.unwrap_or(operations);
    let mut text = format!("{stop_at} requests");
    for (number, (at, fault)) in scenario.faults.iter().enumerate() {
        if *at <= stop_at && !reduction.without_faults.contains(&number) {
            write!(text, "\n  fault {number}: {fault:?} at request {at}").expect("a string takes everything");
        }
    }
    for (number, client) in scenario.client_names().iter().enumerate() {
        if !reduction.without_clients.contains(&number) {
            write!(text, "\n  client {number}: {client}").expect("a string takes everything");
        }
    }
    text
}

/// Runs one seed.
///
/// # Panics
/// If the node breaks a promise.
#[must_use]
pub fn run_seed(seed: u64, options: &Options) -> Report {
    CURRENT.set(Some((seed, options.operations)));
    let mut random = Random::new(seed);
    let scenario = Scenario::draw(&mut random, options.operations);
    life::live(Scenario { lies: options.lies, ..scenario }, &options.reduction, random)
}

/// Runs all seeds of `options`, on several threads. `progress` is called after each, with how many are done.
pub fn run(options: &Options, progress: impl Fn(u64) + Sync) -> Outcome {
    let next = AtomicU64::new(0);
    let outcome = Mutex::new(Outcome::default());
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= options.seeds || !try_seed(options.first_seed + index, options, &outcome) {
                        return;
                    }
                    progress(index + 1);
                }
            });
        }
    });
    let mut outcome = outcome.into_inner().expect("no thread panics while it holds the lock");
    outcome.failures.sort_by_key(|failure| failure.seed);
    outcome
}

/// Runs a seed and notes what came of it; whether to go on.
fn try_seed(seed: u64, options: &Options, outcome: &Mutex<Outcome>) -> bool {
    let result = catch_unwind(AssertUnwindSafe(|| run_seed(seed, options)));
    let mut outcome = outcome.lock().expect("no thread panics while it holds the lock");
    match result {
        Ok(report) => outcome.totals.add(&report.totals),
        Err(panic) => {
            let message = message(panic.as_ref());
            outcome.failures.push(Failure { seed, operations: options.operations, message });
        }
    }
    outcome.failures.len() < options.failures_max
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}
