//! Medians, and how sure they are.

use rand_core::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Draws that an interval of confidence is made of.
const DRAWS: usize = 2_000;

/// What is left out at each end of the draws: the rest is an interval of 95 %.
const TAIL: f64 = 0.025;

/// A value over several runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The least.
    pub min: f64,
    /// The median; of an even number of values the mean of the two in the middle.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

/// None without values.
#[must_use]
pub fn summary(values: &[f64]) -> Option<Summary> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    Some(Summary { min, median: median_of_sorted(&sorted), max })
}

/// The median, if there are values.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    summary(values).map(|summary| summary.median)
}

fn median_of_sorted(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// How two sets of runs compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// The median of the one over the median of the other.
    pub ratio: f64,
    /// With 95 % confidence, not below.
    pub low: f64,
    /// With 95 % confidence, not above.
    pub high: f64,
}

/// The ratio of the medians of `ours` to `theirs`, with its interval from drawing both again and again (bootstrap).
/// None without values or with a median of 0.
#[must_use]
pub fn ratio(ours: &[f64], theirs: &[f64]) -> Option<Ratio> {
    let point = median(ours)? / median(theirs).filter(|&median| median != 0.0)?;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut again = |values: &[f64]| {
        let mut drawn: Vec<f64> =
            values.iter().map(|_| values[(random.next_u64() % values.len() as u64) as usize]).collect();
        drawn.sort_by(f64::total_cmp);
        median_of_sorted(&drawn)
    };
    let mut ratios: Vec<f64> = (0..DRAWS).map(|_| again(ours) / again(theirs)).filter(|r| r.is_finite()).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| ratios.get((share * ratios.len() as f64) as usize).copied();
    Some(Ratio { ratio: point, low: at(TAIL).unwrap_or(point), high: at(1.0 - TAIL).unwrap_or(point) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(summary(&[]), None);
        assert_eq!(summary(&[3.0, 1.0]), Some(Summary { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(median(&[3.0, 1.0, 1.5]), Some(1.5));
    }

    #[test]
    fn a_difference_is_told_from_noise() {
        let slow = [10.0, 11.0, 9.0, 10.5, 9.5];
        let fast = [5.0, 5.5, 4.5, 5.2, 4.8];
        let difference = ratio(&fast, &slow).expect("values");
        assert!((difference.ratio - 0.5).abs() < 1e-9 && difference.high < 1.0, "{difference:?}");
        let noise = ratio(&slow, &[9.0, 10.8, 10.0, 9.9, 10.2]).expect("values");
        assert!(noise.low < 1.0 && noise.high > 1.0, "{noise:?}");
        assert_eq!(ratio(&slow, &[0.0]), None);
    }
}
