//! What concerns a whole process: signals, and a panic in one shard. Each case runs in a child process.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use broker::driver::ring::signals::Signals;
use broker::driver::{Completion, Ops};
use broker::pump::{self, Config};
use broker::turn::{Next, Now, Turn};

const INSIDE: &str = "SKEIN_TEST_PROCESS";

/// A shard that waits to be stopped, and may not obey.
struct Waits {
    stopping: bool,
    stops: bool,
    panics: bool,
}

impl Turn for Waits {
    type Mail = ();

    fn begin(&mut self, _now: Now) {}

    fn complete(&mut self, _completion: Completion<'_>) {}

    fn mail(&mut self, _from: usize, _mail: ()) {}

    fn stop(&mut self) {
        println!("asked to stop");
        self.stopping = true;
    }

    fn turn(&mut self, _now: Now, _ops: &mut Ops, _outbox: &mut Vec<(usize, ())>) -> Next {
        assert!(!self.panics, "this shard breaks");
        if self.stopping && self.stops { Next::Stop } else { Next::Idle { deadline_ns: None } }
    }
}

/// What the child does. `case`: `stops`, `hangs` or `panics`.
fn run(case: &str) {
    let signals = Signals::block().expect("a signalfd");
    let make = |panics: bool, stops: bool| move || Waits { stopping: false, stops, panics };
    let shards = vec![make(case == "panics", case != "hangs"), make(false, true)];
    let config = Config { directories: vec![Some(std::env::temp_dir())], listeners: Vec::new(), cores: Vec::new() };
    let node = pump::start(config, shards).expect("rings");
    let stopper = node.stopper();
    signals.watch(move || stopper.stop()).expect("a thread");
    println!("running");
    node.join();
}

/// The test `name` again in a child, and what it prints from `running` on. The signals are held back from its very
/// first thread, which is the test harness's, as `skein start` does by calling [`Signals::block`] in its own.
fn child(name: &str, case: &str) -> (Child, impl BufRead) {
    let mut child = Command::new("env")
        .arg("--block-signal=TERM,INT")
        .arg(std::env::current_exe().expect("the test's own file"))
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, case)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    wait_for(&mut output, "running");
    (child, output)
}

fn wait_for(output: &mut impl BufRead, wanted: &str) {
    let mut line = String::new();
    while !line.contains(wanted) {
        line.clear();
        assert_ne!(output.read_line(&mut line).expect("text"), 0, "the child ended without {wanted:?}");
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(sent.expect("kill exists").success());
}

#[test]
fn a_signal_stops_every_shard() {
    if let Some(case) = std::env::var_os(INSIDE) {
        return run(&case.to_string_lossy());
    }
    for name in ["TERM", "INT"] {
        let (mut child, _output) = child("a_signal_stops_every_shard", "stops");
        signal(&child, name);
        assert!(child.wait().expect("a child").success());
    }
}

#[test]
fn a_second_interrupt_ends_a_process_that_does_not_stop() {
    if let Some(case) = std::env::var_os(INSIDE) {
        return run(&case.to_string_lossy());
    }
    let (mut child, mut output) = child("a_second_interrupt_ends_a_process_that_does_not_stop", "hangs");
    signal(&child, "INT");
    wait_for(&mut output, "asked to stop");
    signal(&child, "INT");
    assert_eq!(child.wait().expect("a child").code(), Some(130));
}

#[test]
fn a_panic_in_one_shard_ends_the_process_with_a_message() {
    if let Some(case) = std::env::var_os(INSIDE) {
        return run(&case.to_string_lossy());
    }
    let mut child = Command::new(std::env::current_exe().expect("the test's own file"))
        .args(["a_panic_in_one_shard_ends_the_process_with_a_message", "--exact", "--nocapture"])
        .env(INSIDE, "panics")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut errors = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut errors).expect("text");
    assert!(!child.wait().expect("a child").success());
    assert!(errors.contains("this shard breaks") && errors.contains("shard-0 has met a state"), "{errors}");
}
