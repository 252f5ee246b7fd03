//! Brokers side by side: the same load on each in turn, on the same CPUs, so that what else happens meets all alike.
//!
//! ```text
//! contestant = server × topic configurations      skein durable, skein cached, Kafka flushed, Kafka default
//! round 0:  A B C D    round 1:  D C B A    round 2:  A B C D    …
//! ```
//! A server that is not measured is stopped by a signal: it neither helps nor disturbs. Lanes are never mixed: a row of
//! a table compares what promises the same, and the headline says that it does not.
//!
//! - [`Scenario`]: what is measured, as data; [`Contestant`], [`Lane`]: between whom
//! - [`run`]: measures; [`Results`]: what came of it, which `page` shows and `diff` compares
//! - [`targets`]: what it was to be, and whether it is

mod compaction;
mod contestant;
mod crossing;
mod drained;
mod floors;
mod footprint;
mod results;
mod runner;
mod scenario;
mod servers;
mod targets;

pub use self::compaction::measure as compaction;
pub use self::contestant::{Contestant, LANES, Lane, ServerKind};
pub use self::results::{ECHO, Footprint, Metrics, Point, Results, ScenarioResults, Series, Step, Sweep, SweepResults};
pub use self::runner::{Observer, Other, Settings, run};
pub use self::scenario::{Entry, Scenario, Who, scenarios};
pub use self::targets::{Target, targets};
