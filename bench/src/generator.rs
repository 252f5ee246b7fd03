//! The load itself: threads that do everything themselves, each on a CPU and a ring of its own.
//!
//! ```text
//! Workload ─► Plan ─► Thread (ring) ─ Socket ─ Producer │ Consumer     × connections
//!                        │    ▲
//!                        ▼    │  origin, window, phase
//!                      Tally  Shared ◄── run(): starts, samples, ends, merges
//! ```
//!
//! Open loop: records are due at times that follow from the rate alone, whatever became of the former ones, and latency
//! counts from then; a server that pauses is charged for all that should have been sent meanwhile.
//!
//! A thread with nothing to do sleeps in its ring until something comes or the next record is due. A thread that spins
//! instead keeps the kernel's own threads, which carry block I/O, from the CPU for a timer tick: on two CPUs durable
//! latency is then the tick and not the disk.

mod arrivals;
mod consumer;
mod group;
mod ledger;
mod producer;
mod run;
mod shared;
mod socket;
mod tally;
mod thread;

pub use self::run::{Target, echo_sizes, prepare, run};
pub(crate) use self::tally::latency;
pub use self::tally::{Interval, Latency, Outcome, Reads};
