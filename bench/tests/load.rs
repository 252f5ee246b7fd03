//! Loads against a node, each checked to the last record.

mod support;

use std::net::SocketAddr;
use std::sync::OnceLock;

use bench::Error;
use bench::generator::{self, Outcome, Target};
use bench::rates;
use bench::workload::Workload;

fn address() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(support::node)
}

/// The node as the target of a load on the first CPU.
fn target(address: SocketAddr) -> Target {
    Target {
        address,
        pid: Some(std::process::id()),
        cores: vec![0],
        spins: false,
        is_echo: false,
        wall_ms: 1_700_000_000_000,
    }
}

fn run(text: &str) -> Result<Outcome, Error> {
    let workload = Workload::parse(text).expect("a workload");
    generator::run(&workload, &target(address()))
}

const SHORT: &str = "[time]\nwarm_up_s = 0.05\nseconds = 0.4\n";

#[test]
fn a_closed_loop_counts_each_answer_once() {
    let outcome = run(&format!("topic = 'closed'\n[produce]\nproducers = 2\n{SHORT}")).expect("a load");
    assert!(outcome.requests > 0 && outcome.requests == outcome.records);
    assert!(outcome.all_payload_bytes >= outcome.payload_bytes && outcome.payload_bytes > 100 * outcome.requests);
    assert!(outcome.elapsed.as_secs_f64() >= 0.4);
    assert_eq!(outcome.checked, None);
}

#[test]
fn an_open_loop_is_never_ahead_of_its_rate() {
    let outcome = run(&format!("topic = 'open'\n[rate]\nrecords_per_second = 200.0\n{SHORT}")).expect("a load");
    // How far a busy machine falls behind it says nothing of the generator.
    let scheduled = (outcome.elapsed.as_secs_f64() + 0.1) * 200.0 + 64.0;
    assert!(outcome.requests > 0 && (outcome.requests as f64) < scheduled, "{} of {scheduled}", outcome.requests);
}

#[test]
fn every_record_is_read_back_once_in_order_by_every_copy() {
    let text = "topic = 'checked'\ncheck = true\npartitions = 3\n[records]\nbytes = { min = 24, max = 900 }\n\
                [produce]\nproducers = 3\nbatch_bytes = 4096\nidempotent = true\n\
                [consume]\nkind = 'tail'\nmembers = 2\ncopies = 2\n";
    let outcome = run(&format!("{text}{SHORT}")).expect("a load");
    let checked = outcome.checked.expect("it was checked");
    assert!(checked >= outcome.records && outcome.records > outcome.requests);
    assert_eq!(outcome.reads.end_to_end.len(), 2 * checked);
}

#[test]
fn a_group_shares_the_partitions_and_each_record_is_read_by_one_member() {
    let text = "topic = 'grouped'\ncheck = true\npartitions = 4\n[produce]\nproducers = 2\n[consume]\nkind = 'group'\n\
                members = 3\ncopies = 2\n[rate]\nrecords_per_second = 1000.0\n";
    let outcome = run(&format!("{text}{SHORT}")).expect("a load");
    assert_eq!(outcome.reads.end_to_end.len(), 2 * outcome.checked.expect("it was checked"));
}

#[test]
fn records_with_keys_linger_and_are_compressed() {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let text = format!(
            "topic = 'keyed-{codec}'\ncheck = true\n[records]\nkeys = 'zipf'\nkey_count = 100\n\
             [produce]\nproducers = 2\nbatch_bytes = 16384\nlinger_ms = 5.0\ncodec = '{codec}'\n\
             [consume]\nkind = 'tail'\n[rate]\nrecords_per_second = 3000.0\n{SHORT}"
        );
        let outcome = run(&text).expect(codec);
        assert!(outcome.checked.is_some_and(|records| records > 0), "{codec}");
        assert!(outcome.records >= outcome.requests, "{codec}");
    }
}

#[test]
fn consumers_catch_up_and_read_again_what_was_there() {
    let cold = "topic = 'cold'\n[produce]\nproducers = 1\nbatch_bytes = 16384\n[rate]\nrecords_per_second = 500.0\n\
                [consume]\nkind = 'cold'\npreload_bytes = 2000000\n";
    let outcome = run(&format!("{cold}{SHORT}")).expect("a load");
    assert!(outcome.reads.caught_up.is_some() && outcome.reads.bytes >= 2_000_000);
    let again = "topic = 'again'\n[produce]\nproducers = 0\nbatch_bytes = 16384\n\
                 [consume]\nkind = 'replay'\npreload_bytes = 1000000\n";
    let outcome = run(&format!("{again}{SHORT}")).expect("a load");
    assert!(outcome.reads.bytes > 2_000_000 && outcome.requests == 0, "{} bytes", outcome.reads.bytes);
}

#[test]
fn requests_without_acknowledgement_are_over_when_they_are_sent() {
    let outcome = run(&format!("topic = 'unheard'\n[produce]\nproducers = 2\nacks = 'none'\n{SHORT}")).expect("a load");
    assert!(outcome.requests > 0);
}

#[test]
fn what_the_broker_refuses_ends_the_load() {
    let text = "topic = 'small'\ntopic_configs = [['max.message.bytes', '1000']]\n[records]\nbytes = 2000\n";
    let error = run(&format!("{text}{SHORT}")).expect_err("the batches are too large");
    assert!(matches!(error, Error::Refused { code: 10, .. }), "{error}");
}

#[test]
fn steps_are_carried_out_in_order_and_a_rate_that_nobody_carries_is_no_failure() {
    let text = format!("topic = 'steps'\n[rate]\nsteps = [100.0, 300.0]\n{SHORT}");
    let workload = Workload::parse(&text).expect("a workload");
    let mut said = Vec::new();
    let runs = rates::run(&workload, &target(address()), &mut |run| said.push(run.rate)).expect("loads");
    assert_eq!(said, [Some(100.0), Some(300.0)]);
    assert!(runs.found.is_none() && runs.best().is_some_and(|outcome| outcome.requests > 0));
}
