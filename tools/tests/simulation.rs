//! The simulation: many seeds, each a node's life with crashes; that a seed decides everything; that a lie is noticed.

use tools::sim::runner::OPERATIONS;
use tools::sim::{Options, Outcome, Reduction, coverage, run, run_seed};

/// Ten thousand lives take minutes in a release build, and hours in another.
const SEEDS: u64 = if cfg!(debug_assertions) { 16 } else { 10_000 };

fn check(options: &Options) -> Outcome {
    let outcome = run(options, |_| ());
    for line in outcome.totals.to_string().lines() {
        eprintln!("simulation: {line}");
    }
    for failure in &outcome.failures {
        eprintln!("simulation: {failure}");
    }
    outcome
}

#[test]
fn every_promise_holds_whatever_happens_to_the_node() {
    let options = Options { seeds: SEEDS, ..Options::default() };
    let outcome = check(&options);
    assert!(outcome.failures.is_empty(), "{} seeds failed", outcome.failures.len());
    let totals = outcome.totals;
    assert_eq!(totals.seeds, SEEDS);
    assert!(totals.operations >= SEEDS * options.operations);
    assert!(totals.power_cuts >= SEEDS, "the power goes in every life");
    for line in coverage::report(&totals).lines() {
        eprintln!("simulation: {line}");
    }
    if SEEDS >= coverage::COMPLETE_FROM_SEEDS {
        assert_eq!(coverage::unreached(&totals), Vec::<&str>::new(), "every fault and branch is reached");
    }
    for (count, what) in [
        (totals.acknowledged_records, "records are acknowledged"),
        (totals.duplicates, "batches are sent again"),
        (totals.topics_deleted, "topics are deleted"),
        (totals.commits, "offsets are committed"),
        (totals.assignments, "members of groups are assigned partitions"),
        (totals.rebalances, "members are told of a rebalance"),
        (totals.mail, "shards talk to each other"),
    ] {
        assert!(count > 0, "in some life {what}");
    }
}

#[test]
fn a_seed_decides_everything() {
    let options = Options::default();
    assert_eq!(run_seed(11, &options), run_seed(11, &options));
    assert_ne!(run_seed(11, &options).trace, run_seed(12, &options).trace);
}

#[test]
fn a_reduced_life_is_a_life_and_its_beginning_is_the_same() {
    let whole = Options::default();
    let reduced = |stop_at| Options { reduction: Reduction { stop_at, ..Reduction::default() }, ..whole.clone() };
    assert_eq!(run_seed(11, &reduced(Some(OPERATIONS))), run_seed(11, &whole));
    assert!(run_seed(11, &reduced(Some(100))).totals.operations < run_seed(11, &whole).totals.operations);
    let alone = Reduction { without_clients: (1..50).collect(), without_faults: (0..50).collect(), stop_at: Some(20) };
    assert_eq!(run_seed(11, &Options { reduction: alone, ..whole }).totals.acknowledged_batches, 0);
}

#[test]
fn a_disk_that_lies_is_noticed() {
    let outcome = check(&Options { seeds: 10, lies: true, ..Options::default() });
    assert!(!outcome.failures.is_empty(), "what was acknowledged is lost, and somebody has to see it");
}
