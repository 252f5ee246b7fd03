//! One comparison beside an earlier one: what has become better or worse, and how sure that is.

use crate::compare::{Metrics, Results};
use crate::stats::{self, Ratio};

/// Metrics of which more is better; of all others, less is.
const MORE_IS_BETTER: [&str; 4] =
    ["requests_per_second", "records_per_second", "mib_per_second", "read_mib_per_second"];

/// Metrics that say something about the measurement itself.
const ABOUT_THE_RUN: [&str; 2] = ["stolen_percent", "other_work_percent"];

/// What became of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Surely better.
    Better,
    /// Surely worse.
    Worse,
    /// Not told from noise.
    Same,
}

/// One figure in both.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Scenario, contestant and metric.
    pub name: String,
    /// Medians.
    pub before: f64,
    /// Medians.
    pub after: f64,
    /// After to before.
    pub ratio: Ratio,
    /// What that means.
    pub verdict: Verdict,
}

/// Every figure that both have.
#[must_use]
pub fn changes(before: &Results, after: &Results) -> Vec<Change> {
    let (before, after) = (all(before), all(after));
    let change = |(name, after): (String, Vec<f64>)| {
        let (_, before) = before.iter().find(|(known, _)| *known == name)?;
        let ratio = stats::ratio(&after, before)?;
        let verdict = verdict(&name, ratio, before.len().min(after.len()));
        Some(Change { before: stats::median(before)?, after: stats::median(&after)?, ratio, verdict, name })
    };
    after.into_iter().filter_map(change).collect()
}

fn all(results: &Results) -> Vec<(String, Vec<f64>)> {
    let mut all = Vec::new();
    let mut add = |start: String, metrics: &Metrics| {
        let told = metrics.iter().filter(|(name, _)| !ABOUT_THE_RUN.contains(&name.as_str()));
        all.extend(told.map(|(name, values)| (format!("{start} {name}"), values.clone())));
    };
    for scenario in &results.scenarios {
        for series in &scenario.series {
            add(format!("{} {}", scenario.name, series.id), &series.metrics);
        }
    }
    for footprint in &results.footprints {
        add(format!("footprint {}", footprint.id), &footprint.metrics);
    }
    add("disk".to_owned(), &results.disk);
    all
}

fn verdict(name: &str, ratio: Ratio, runs: usize) -> Verdict {
    let is_more_better = MORE_IS_BETTER.iter().any(|metric| name.ends_with(metric));
    if runs < 2 || (ratio.low <= 1.0 && ratio.high >= 1.0) {
        Verdict::Same
    } else if (ratio.low > 1.0) == is_more_better {
        Verdict::Better
    } else {
        Verdict::Worse
    }
}

/// The changes as a table; with what did not change, if `with_same`.
#[must_use]
pub fn text(before: &Results, after: &Results, with_same: bool) -> String {
    let changes = changes(before, after);
    let count = |verdict| changes.iter().filter(|change| change.verdict == verdict).count();
    let mut text = format!(
        "{} figures: {} better, {} worse, {} not told from noise\n",
        changes.len(),
        count(Verdict::Better),
        count(Verdict::Worse),
        count(Verdict::Same)
    );
    for (verdict, title) in [(Verdict::Worse, "worse"), (Verdict::Better, "better"), (Verdict::Same, "same")] {
        if verdict == Verdict::Same && !with_same {
            continue;
        }
        for change in changes.iter().filter(|change| change.verdict == verdict) {
            let Ratio { ratio, low, high } = change.ratio;
            let (before, after) = (number(change.before), number(change.after));
            text +=
                &format!("{title:<7}{:<62}{before:>12} → {after:<12}× {ratio:.3} ({low:.3}–{high:.3})\n", change.name);
        }
    }
    text.trim_end().to_owned()
}

/// A figure with as many digits as one wants to see.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 10_000.0 => grouped(value),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{ScenarioResults, Series};

    fn results(requests_per_second: &[f64], cpu: &[f64]) -> Results {
        let mut series = Series { id: "skein-durable".into(), ..Series::default() };
        series.metrics.insert("requests_per_second".into(), requests_per_second.to_vec());
        series.metrics.insert("cpu_us_per_request".into(), cpu.to_vec());
        series.metrics.insert("stolen_percent".into(), vec![0.0]);
        let scenario = ScenarioResults { name: "single".into(), series: vec![series], ..ScenarioResults::default() };
        Results { scenarios: vec![scenario], ..Results::default() }
    }

    #[test]
    fn more_requests_are_better_and_more_cpu_is_worse() {
        let before = results(&[100.0, 101.0, 99.0], &[2.0, 2.1, 1.9]);
        let after = results(&[120.0, 121.0, 119.0], &[3.0, 3.1, 2.9]);
        let changes = changes(&before, &after);
        let verdicts: Vec<_> = changes.iter().map(|change| (change.name.as_str(), change.verdict)).collect();
        assert_eq!(
            verdicts,
            [
                ("single skein-durable cpu_us_per_request", Verdict::Worse),
                ("single skein-durable requests_per_second", Verdict::Better)
            ]
        );
        assert!(text(&before, &after, false).starts_with("2 figures: 1 better, 1 worse, 0 not told"));
    }

    #[test]
    fn one_run_of_each_tells_nothing() {
        let changes = changes(&results(&[100.0], &[1.0]), &results(&[200.0], &[9.0]));
        assert!(changes.iter().all(|change| change.verdict == Verdict::Same));
    }

    #[test]
    fn numbers_have_the_digits_that_matter() {
        let texts = [1234567.0, 432.1, 12.34, 1.234, 0.01234, 0.0].map(number);
        assert_eq!(texts, ["1,234,567", "432", "12.3", "1.23", "0.0123", "0.00"]);
    }
}
