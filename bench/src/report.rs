//! All figures of `docs/performance.md`, in one run.
//!
//! Each round measures everything once, the servers in turn and every other round in the opposite order, so that what
//! else the machine does meets all of them alike. Figures are medians over the rounds, with the least and the
//! greatest.

mod figures;
mod footprint;
mod latency;
mod markdown;
mod storage;
mod throughput;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

pub use self::figures::Figures;
use crate::error::Error;
use crate::generator::Target;
use crate::machine;
use crate::node::{Scratch, Server};

/// What to measure, and where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The `skein` program.
    pub program: PathBuf,
    /// Where the data directories are made.
    pub directory: PathBuf,
    /// How often everything is measured.
    pub rounds: usize,
    /// How long each throughput and latency is measured.
    pub measured: Duration,
    /// How long a node is left alone to see what it uses then.
    pub idle: Duration,
    /// The CPU of the server and that of the load.
    pub cores: [usize; 2],
    /// Now, in ms since 1970.
    pub wall_ms: i64,
}

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// It is on the device.
    Durable,
    /// It is in memory.
    Cached,
}

impl Lane {
    pub(crate) const ALL: [Self; 2] = [Self::Durable, Self::Cached];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Cached => "cached",
        }
    }
}

/// The topic of every measurement.
pub(crate) const TOPIC: &str = "load";

/// What was measured, on which machine.
#[derive(Debug)]
pub struct Report {
    facts: Vec<(&'static str, String)>,
    rounds: usize,
    figures: Figures,
}

impl Report {
    /// Measures. `say` is told what happens.
    ///
    /// # Errors
    /// If a server fails or a single request is not answered as it must be.
    pub fn measure(settings: &Settings, say: &dyn Fn(&str)) -> Result<Self, Error> {
        let facts = machine::facts(&settings.directory);
        let mut figures = Figures::default();
        for round in 0..settings.rounds {
            say(&format!("round {} of {}", round + 1, settings.rounds));
            throughput::measure(settings, round, &mut figures, say)?;
            latency::measure(settings, &mut figures, say)?;
            storage::measure(settings, &mut figures, say)?;
            footprint::measure(settings, &mut figures, say)?;
        }
        Ok(Self { facts, rounds: settings.rounds, figures })
    }

    /// The report as a page. `made` says how and when.
    #[must_use]
    pub fn markdown(&self, made: &str) -> String {
        markdown::page(self, made)
    }

    /// The report with every single figure.
    #[must_use]
    pub fn json(&self) -> Value {
        let facts: serde_json::Map<_, _> =
            self.facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({ "machine": facts, "rounds": self.rounds, "figures": self.figures.json() })
    }
}

impl Settings {
    /// A fresh node of this lane. The directory lives as long as it is kept.
    pub(crate) fn node(&self, lane: Lane) -> Result<(Scratch, Server), Error> {
        let scratch = Scratch::new(&self.directory, "skein-bench-data")?;
        let server = self.node_in(lane, scratch.path())?;
        Ok((scratch, server))
    }

    /// A server as the target of a load.
    pub(crate) fn target(&self, server: &Server) -> Target {
        Target {
            address: server.address,
            pid: Some(server.pid()),
            cores: vec![self.cores[1]],
            spins: false,
            is_echo: false,
            wall_ms: self.wall_ms,
        }
    }

    /// A node of this lane on data that may be there.
    pub(crate) fn node_in(&self, lane: Lane, data: &Path) -> Result<Server, Error> {
        Server::node(&self.program, data, &self.cores[..1], &[format!("skein.durability={}", lane.name())])
    }
}
