//! The deterministic simulation: a whole node of production shards, single-threaded, on a simulated machine.
//!
//! A seed decides everything: which clients there are and what they do, how long disk and network take and in which
//! order they answer, when the power goes and what it takes along, with how many shards the node comes back. So a seed
//! that fails, fails again, step by step.
//!
//! | file | what it is about |
//! |---|---|
//! | [`runner`] | many seeds, their totals, and how to replay one |
//! | [`scenario`] | what a seed draws: clients, ends, faults |
//! | `life` | one seed, from the first start to the audit |
//! | `machine` | clock, disk and network, and the shards of the node that runs on them |
//! | `client` | producers, consumers, committers, an administrator, a keeper of a compacted topic, an auditor; they speak the real protocol |
//! | `model` | what has been promised: every answer is held against it |
//! | [`reduction`] | the shortest life that still fails |
//! | [`coverage`] | which faults and branches of recovery were reached |
//! | [`trace`], [`totals`] | what happened, as a fingerprint and in numbers |
//!
//! What is checked: acknowledged records are there after any end, with their bytes, once, in the order of their producer,
//! at dense offsets; so are topics, configurations, committed offsets; producer ids are given once; a batch sent again is
//! recognised across restarts; the high watermark goes back for nobody; what was read once is never lost. Of a compacted topic
//! the last record of each key is there, at its offset, and a tombstone for as long as what it deletes may be seen.

mod client;
pub mod coverage;
mod life;
mod machine;
mod model;
pub mod reduction;
pub mod runner;
pub mod scenario;
pub mod totals;
pub mod trace;

pub use life::Report;
pub use reduction::Reduction;
pub use runner::{Failure, Options, Outcome, run, run_seed};
pub use totals::Totals;
