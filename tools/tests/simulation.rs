//! The simulation: many seeds, each a node's life with crashes; that a seed decides everything; that a lie is noticed.

use tools::sim::{Options, Outcome, run, run_seed};

/// A thousand lives take seconds in a release build, and minutes in another.
const SEEDS: u64 = if cfg!(debug_assertions) { 16 } else { 1000 };

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
    for (count, what) in [
        (totals.acknowledged_records, "records are acknowledged"),
        (totals.duplicates, "batches are sent again"),
        (totals.topics_deleted, "topics are deleted"),
        (totals.commits, "offsets are committed"),
        (totals.assignments, "members of groups are assigned partitions"),
        (totals.rebalances, "members are told of a rebalance"),
        (totals.silences, "members fall silent"),
        (totals.kills, "processes are killed"),
        (totals.stops, "nodes are stopped"),
        (totals.recoveries_cut, "recoveries are cut short"),
        (totals.exposed, "a power cut finds something unsynced"),
        (totals.cuts, "connections are cut"),
        (totals.disk_errors, "disk operations fail"),
        (totals.disk_refusals, "the disk is full"),
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
fn a_disk_that_lies_is_noticed() {
    let outcome = check(&Options { seeds: 10, lies: true, ..Options::default() });
    assert!(!outcome.failures.is_empty(), "what was acknowledged is lost, and somebody has to see it");
}
