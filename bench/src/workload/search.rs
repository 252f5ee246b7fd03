//! The highest rate within a latency, by bisection.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What to look for, and where.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// The percentile that counts, 0 to 100.
    #[serde(default = "default_percentile")]
    pub percentile: f64,
    /// What it may be at most, in µs.
    pub latency_us: f64,
    /// The lowest rate tried, in records a second.
    pub from: f64,
    /// The highest rate tried.
    pub to: f64,
    /// Trials between them.
    #[serde(default = "default_trials")]
    pub trials: u32,
}

fn default_percentile() -> f64 {
    99.0
}

fn default_trials() -> u32 {
    8
}

/// What became of one trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// Records a second that were asked for.
    pub rate: f64,
    /// Whether they were carried within the latency.
    pub is_within: bool,
}

impl Search {
    pub(super) fn validate(&self) -> Result<(), Error> {
        let is_possible = self.from > 0.0 && self.from < self.to && self.to.is_finite() && self.latency_us > 0.0;
        if is_possible && (0.0..=100.0).contains(&self.percentile) && self.trials > 0 {
            return Ok(());
        }
        let what = "a search goes from a rate above 0 to a higher one, for a latency above 0".to_owned();
        Err(Error::Workload { what })
    }

    /// The rate to try next: the geometric middle between the highest rate that was carried and the lowest that was
    /// not, the ends first. None when it is found, or there is nothing to find.
    #[must_use]
    pub fn next(&self, trials: &[Trial]) -> Option<f64> {
        let carried = self.highest(trials);
        let failed = trials.iter().filter(|trial| !trial.is_within).map(|trial| trial.rate).reduce(f64::min);
        match (carried, failed) {
            _ if trials.len() >= self.trials as usize => None,
            (None, None) => Some(self.from),
            (None, Some(_)) => None,
            (Some(carried), None) if carried >= self.to => None,
            (Some(_), None) => Some(self.to),
            (Some(carried), Some(failed)) => Some((carried * failed).sqrt()),
        }
    }

    /// The highest rate that was carried.
    #[must_use]
    pub fn highest(&self, trials: &[Trial]) -> Option<f64> {
        trials.iter().filter(|trial| trial.is_within).map(|trial| trial.rate).reduce(f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(limit: f64) -> Option<f64> {
        let search = Search { percentile: 99.0, latency_us: 1.0, from: 100.0, to: 10_000.0, trials: 12 };
        let mut trials = Vec::new();
        while let Some(rate) = search.next(&trials) {
            trials.push(Trial { rate, is_within: rate <= limit });
        }
        assert!(trials.len() <= 12);
        search.highest(&trials)
    }

    #[test]
    fn the_limit_is_found_within_a_percent() {
        let rate = found(3_000.0).expect("it is between the ends");
        assert!((2_950.0..=3_000.0).contains(&rate), "{rate}");
    }

    #[test]
    fn a_limit_beyond_the_ends_ends_the_search_at_once() {
        assert_eq!(found(50.0), None);
        assert_eq!(found(20_000.0), Some(10_000.0));
    }
}
