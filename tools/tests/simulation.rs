//! The simulation: many seeds, each a node's life with crashes, and that a seed decides everything.

use tools::sim::{Options, Outcome, run, run_seed};

fn check(options: &Options) -> Outcome {
    let outcome = run(options, |_| ());
    eprintln!("{}", outcome.totals);
    for failure in &outcome.failures {
        eprintln!("{failure}");
    }
    assert!(outcome.failures.is_empty(), "{} seeds failed", outcome.failures.len());
    outcome
}

#[test]
fn every_promise_holds_whatever_happens_to_the_node() {
    let options = Options { seeds: 20, ..Options::default() };
    let totals = check(&options).totals;
    assert!(totals.operations >= options.seeds * options.operations);
    assert!(totals.power_cuts >= options.seeds, "the power goes in every life");
}

#[test]
fn a_seed_decides_everything() {
    let options = Options::default();
    assert_eq!(run_seed(11, &options), run_seed(11, &options));
    assert_ne!(run_seed(11, &options).trace, run_seed(12, &options).trace);
}
