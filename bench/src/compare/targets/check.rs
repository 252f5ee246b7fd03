//! Compares medians with what they were to be.

use super::super::contestant::{LANES, Lane};
use super::super::results::Results;
use crate::diff::number;
use crate::stats;

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What it is about; the first of several rows has it.
    pub group: &'static str,
    /// The figure.
    pub what: String,
    /// What it was to be; nothing for what is only told.
    pub aim: String,
    /// What it is.
    pub measured: String,
    /// The figures that it is made of.
    pub detail: String,
    /// Whether it is as it was to be; none if it was not measured, or is only told.
    pub is_met: Option<bool>,
}

/// What is measured of a contestant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    pub(super) scenario: &'static str,
    pub(super) metric: &'static str,
    pub(super) unit: &'static str,
    pub(super) is_more_better: bool,
}

impl Figure {
    /// One of which less is better.
    pub(super) const fn less(scenario: &'static str, metric: &'static str, unit: &'static str) -> Self {
        Self { scenario, metric, unit, is_more_better: false }
    }

    /// One of which more is better.
    pub(super) const fn more(scenario: &'static str, metric: &'static str, unit: &'static str) -> Self {
        Self { scenario, metric, unit, is_more_better: true }
    }
}

/// The table while it is made.
pub(super) struct Check<'a> {
    results: &'a Results,
    group: &'static str,
    rows: Vec<Target>,
}

impl<'a> Check<'a> {
    pub(super) fn new(results: &'a Results) -> Self {
        Self { results, group: "", rows: Vec::new() }
    }

    pub(super) fn done(self) -> Vec<Target> {
        self.rows
    }

    /// Begins a group of rows.
    pub(super) fn group(&mut self, group: &'static str) {
        self.group = group;
    }

    /// The median of a metric in a scenario.
    pub(super) fn of(&self, scenario: &str, id: &str, metric: &str) -> Option<f64> {
        self.results.scenario(scenario)?.series(id)?.median(metric)
    }

    /// The median of a server's footprint.
    pub(super) fn footprint(&self, id: &str, metric: &str) -> Option<f64> {
        stats::median(self.results.footprint(id)?.metrics.get(metric)?)
    }

    /// Resident MiB of a server with at least so many partitions, and how many those were.
    pub(super) fn memory(&self, id: &str, partitions: u32) -> Option<(u32, f64)> {
        self.results.footprint(id)?.memory.iter().copied().find(|&(made, _)| made >= partitions)
    }

    /// The median of what the disk does by itself.
    pub(super) fn disk(&self, metric: &str) -> Option<f64> {
        stats::median(self.results.disk.get(metric)?)
    }

    /// A figure of the compaction.
    pub(super) fn compaction(&self, metric: &str) -> Option<f64> {
        stats::median(self.results.compaction.get(metric)?)
    }

    fn row(&mut self, what: &str, aim: String, found: Option<(String, String, Option<bool>)>) {
        let (measured, detail, is_met) = found.unwrap_or_else(|| ("not measured".to_owned(), String::new(), None));
        self.rows.push(Target { group: self.group, what: what.to_owned(), aim, measured, detail, is_met });
    }

    /// How many times better skein is in these lanes, which is to be so many times at least.
    pub(super) fn lanes(&mut self, what: &str, figure: Figure, lanes: &[&str], least: f64) {
        for lane in LANES.iter().filter(|lane| lanes.contains(&lane.id)) {
            self.lane(what, figure, lane, least);
        }
    }

    fn lane(&mut self, what: &str, figure: Figure, lane: &Lane, least: f64) {
        let of = |id| self.of(figure.scenario, id, figure.metric);
        let pair = of(lane.ours).zip(of(lane.theirs));
        let title = lane.title.trim_start_matches("headline: skein ");
        self.times(&format!("{what}, {title}"), pair, figure.unit, figure.is_more_better, least);
    }

    /// How many times better ours is than theirs, which is to be so many times at least.
    pub(super) fn times(&mut self, what: &str, pair: Option<(f64, f64)>, unit: &str, is_more_better: bool, least: f64) {
        let found = pair.map(|(ours, theirs)| {
            let ratio = if is_more_better { ours / theirs } else { theirs / ours };
            let detail = format!("{} against {} {unit}", number(ours), number(theirs));
            // Ours is nothing: it is better however much theirs is.
            let is_met = ratio >= least || (!is_more_better && ours == 0.0);
            let measured = if ratio.is_finite() { format!("{} ×", number(ratio)) } else { "∞ ×".to_owned() };
            (measured, detail, Some(is_met))
        });
        self.row(what, format!("≥ {} ×", plain(least)), found);
    }

    /// A value that is to be no more than this.
    pub(super) fn at_most(&mut self, what: &str, value: Option<f64>, most: f64, unit: &str, detail: String) {
        let found = value.map(|value| (joined(&number(value), unit), detail, Some(value <= most)));
        self.row(what, format!("≤ {}", joined(&plain(most), unit)), found);
    }

    /// A value that is to be no less than this.
    pub(super) fn at_least(&mut self, what: &str, value: Option<f64>, least: f64, unit: &str, detail: String) {
        let found = value.map(|value| (joined(&number(value), unit), detail, Some(value >= least)));
        self.row(what, format!("≥ {}", joined(&plain(least), unit)), found);
    }

    /// A value that is only told.
    pub(super) fn told(&mut self, what: &str, value: Option<f64>, unit: &str, detail: String) {
        let found = value.map(|value| (joined(&number(value), unit), detail, None));
        self.row(what, String::new(), found);
    }
}

fn joined(number: &str, unit: &str) -> String {
    if unit.is_empty() { number.to_owned() } else { format!("{number} {unit}") }
}

/// A limit as people write it.
fn plain(value: f64) -> String {
    if value.fract() == 0.0 && value < 10_000.0 {
        format!("{value:.0}")
    } else if value >= 10_000.0 {
        number(value)
    } else {
        format!("{value}")
    }
}
