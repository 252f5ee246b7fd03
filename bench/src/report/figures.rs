//! Measured values by name.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The values of each figure, one from each round.
#[derive(Debug, Default)]
pub struct Figures {
    values: BTreeMap<String, Vec<f64>>,
}

/// A figure over all rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The least value.
    pub min: f64,
    /// The median; of an even number of values the mean of the two in the middle.
    pub median: f64,
    /// The greatest value.
    pub max: f64,
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
        let mut sorted = self.values.get(name)?.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Summary { min, median, max })
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
    fn the_median_is_the_middle() {
        let mut figures = Figures::default();
        assert_eq!(figures.summary("a"), None);
        [3.0, 1.0].iter().for_each(|&value| figures.record("a", value));
        assert_eq!(figures.summary("a"), Some(Summary { min: 1.0, median: 2.0, max: 3.0 }));
        figures.record("a", 1.5);
        assert_eq!(figures.summary("a"), Some(Summary { min: 1.0, median: 1.5, max: 3.0 }));
        assert_eq!(figures.last("a"), Some(1.5));
    }
}
