//! What the figures were to be, and whether they are: every ratio is one of medians of the same run.

mod check;
mod list;

use self::check::Check;
pub use self::check::Target;
use super::results::Results;

/// Every target, in the order of the report; those that were not measured too.
#[must_use]
pub fn targets(results: &Results) -> Vec<Target> {
    let mut check = Check::new(results);
    list::small_requests(&mut check);
    list::bytes(&mut check);
    list::latency(&mut check);
    list::reads(&mut check);
    list::partitions(&mut check);
    list::starting(&mut check);
    list::growth(&mut check);
    list::background(&mut check);
    list::instrument(&mut check);
    check.done()
}

#[cfg(test)]
mod tests {
    use super::super::results::{Footprint, ScenarioResults, Series};
    use super::*;

    fn series(id: &str, metrics: &[(&str, f64)]) -> Series {
        let metrics = metrics.iter().map(|&(name, value)| (name.to_owned(), vec![value])).collect();
        Series { id: id.to_owned(), metrics, ..Series::default() }
    }

    #[test]
    fn a_target_is_met_missed_or_not_measured() {
        let mut results = Results::default();
        assert!(targets(&results).iter().all(|target| target.is_met.is_none()));
        let cpu = |us| [("cpu_us_per_request", us)];
        results.scenarios.push(ScenarioResults {
            name: "single-64x5".into(),
            series: vec![
                series("skein-durable", &cpu(3.0)),
                series("kafka-durable", &cpu(300.0)),
                series("kafka-default", &cpu(30.0)),
                series("echo", &cpu(1.0)),
            ],
            ..ScenarioResults::default()
        });
        let mut footprint = Footprint { id: "skein".into(), ..Footprint::default() };
        footprint.metrics.insert("idle_mib".into(), vec![11.0, 12.0, 40.0]);
        results.footprints.push(footprint);
        let targets = targets(&results);
        let of = |what: &str| {
            let found = targets.iter().find(|target| target.what.contains(what));
            let found = found.unwrap_or_else(|| panic!("{what} is among {targets:#?}"));
            (found.is_met, found.measured.as_str())
        };
        assert_eq!(of("64 × 5: CPU a request, durable against durable"), (Some(true), "100 ×"));
        assert_eq!(of("64 × 5: CPU a request, durable against Kafka's default"), (Some(false), "10.0 ×"));
        assert_eq!(of("64 × 5: CPU a request, skein durable"), (Some(false), "3.00 × echo"));
        assert_eq!(of("resident, idle").0, Some(true));
        assert_eq!(of("1 × 5: CPU a request, durable against durable").0, None);
    }
}
