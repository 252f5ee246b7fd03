//! Measured values by name.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::stats::{self, Summary};

/// The values of each figure, one from each round.
#[derive(Debug, Default)]
pub struct Figures {
    values: BTreeMap<String, Vec<f64>>,
}

impl Figures {
    /// Adds the value of a round.
    pub fn record(&mut self, name: impl Into<String>, value: f64) {
        self.values.entry(name.into()).or_default().push(value);
    }

    /// The value of the current round.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<f64> {
        self.values.get(name)?.last().copied()
    }

    /// A figure over all rounds, if it was measured.
    #[must_use]
    pub fn summary(&self, name: &str) -> Option<Summary> {
        stats::summary(self.values.get(name)?)
    }

    /// All values.
    #[must_use]
    pub fn json(&self) -> Value {
        let entry = |(name, values): (&String, &Vec<f64>)| {
            let median = self.summary(name).map(|summary| summary.median);
            (name.clone(), json!({ "median": median, "values": values }))
        };
        Value::Object(self.values.iter().map(entry).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_summed_up_over_all_rounds() {
        let mut figures = Figures::default();
        assert_eq!(figures.summary("a"), None);
        [3.0, 1.0, 1.5].iter().for_each(|&value| figures.record("a", value));
        assert_eq!(figures.summary("a"), Some(Summary { min: 1.0, median: 1.5, max: 3.0 }));
        assert_eq!(figures.last("a"), Some(1.5));
    }
}
