//! A workload at one rate after another: as fast as it goes, fixed, in steps, or searched for.

use crate::error::Error;
use crate::generator::{self, Outcome, Target};
use crate::workload::{Rate, Search, Trial, Workload};

/// One run of a workload.
#[derive(Debug, Clone)]
pub struct Run {
    /// Records a second that were asked for; none if as many as requests in flight allow.
    pub rate: Option<f64>,
    /// What became of it; none if the server did not carry the rate.
    pub outcome: Option<Outcome>,
}

/// All runs of a workload, in order.
#[derive(Debug, Clone)]
pub struct Runs {
    /// Each with its rate.
    pub runs: Vec<Run>,
    /// The highest rate within the latency that was searched for, in records a second.
    pub found: Option<f64>,
}

impl Runs {
    /// What was measured at last, or at the rate that was found.
    #[must_use]
    pub fn best(&self) -> Option<&Outcome> {
        let wanted = self.found;
        let found = self.runs.iter().rev().find(|run| wanted.is_none_or(|rate| run.rate == Some(rate)));
        found.and_then(|run| run.outcome.as_ref())
    }
}

/// Carries out a workload; `say` is told of each run.
///
/// # Errors
/// As [`generator::run`]. That a rate among several is not carried is no error.
pub fn run(workload: &Workload, target: &Target, say: &mut dyn FnMut(&Run)) -> Result<Runs, Error> {
    let mut runs = Vec::new();
    let mut at = |rate: Option<f64>, may_fail: bool| {
        let outcome = match generator::run(&at_rate(workload, rate), target) {
            Ok(outcome) => Some(outcome),
            Err(Error::Overload { .. } | Error::Stalled { .. }) if may_fail => None,
            Err(error) => return Err(error),
        };
        runs.push(Run { rate, outcome });
        let run = &runs[runs.len() - 1];
        say(run);
        Ok(run.outcome.clone())
    };
    let mut found = None;
    match &workload.rate {
        Rate { search: Some(search), .. } => found = find(search, |rate| at(Some(rate), true))?,
        Rate { steps, .. } if !steps.is_empty() => {
            for &rate in steps {
                at(Some(rate), true)?;
            }
        }
        Rate { records_per_second, .. } => drop(at(*records_per_second, false)?),
    }
    Ok(Runs { runs, found })
}

fn at_rate(workload: &Workload, rate: Option<f64>) -> Workload {
    Workload { rate: Rate { records_per_second: rate, ..Rate::default() }, ..workload.clone() }
}

/// A rate counts as carried if nearly all of it was answered in time, and its latency is within the limit.
fn find(search: &Search, mut at: impl FnMut(f64) -> Result<Option<Outcome>, Error>) -> Result<Option<f64>, Error> {
    const CARRIED: f64 = 0.98;
    let mut trials = Vec::new();
    while let Some(rate) = search.next(&trials) {
        let is_within = at(rate)?.is_some_and(|outcome| {
            outcome.records_per_second() >= CARRIED * rate
                && outcome.latency_us(search.percentile / 100.0) <= search.latency_us
        });
        trials.push(Trial { rate, is_within });
    }
    Ok(search.highest(&trials))
}
