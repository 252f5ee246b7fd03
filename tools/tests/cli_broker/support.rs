//! Running the command, and topics of a test's own.

use std::env;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SKEIN: &str = env!("CARGO_BIN_EXE_skein");

/// Names the broker.
pub(crate) const BOOTSTRAP: &str = "SKEIN_TEST_BOOTSTRAP";

/// How long a test waits for something that has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The tests of a file, by name.
pub(crate) type Tests = &'static [(&'static str, fn())];

pub(crate) fn skein(arguments: &[&str]) -> Command {
    let mut command = Command::new(SKEIN);
    let bootstrap = env::var_os(BOOTSTRAP).expect("only called where there is a broker");
    command.args(arguments).env("SKEIN_BOOTSTRAP", bootstrap).stdin(Stdio::null());
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    skein(arguments).output().expect("the command runs")
}

/// Runs a command that has to succeed, and gives back what it printed.
pub(crate) fn done(arguments: &[&str]) -> Vec<u8> {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

pub(crate) fn text(arguments: &[&str]) -> String {
    String::from_utf8(done(arguments)).expect("the output is text")
}

/// Runs a command that has to fail, and gives back its messages.
pub(crate) fn failing(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).expect("the messages are text")
}

pub(crate) fn json(arguments: &[&str]) -> serde_json::Value {
    serde_json::from_slice(&done(arguments)).expect("the output is JSON")
}

pub(crate) fn produce(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = skein(&[&["produce"], arguments].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command runs");
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    stdin.write_all(input).expect("it reads its input");
    drop(stdin);
    child.wait_with_output().expect("the command ends")
}

pub(crate) fn produced(arguments: &[&str], input: &[u8]) {
    let output = produce(arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A name that no other test, and no other run, uses.
pub(crate) fn unique(what: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos();
    format!("cli-{what}-{}-{now}", std::process::id())
}

/// A topic that is deleted when the test is over.
pub(crate) struct Topic(pub(crate) String);

impl Topic {
    pub(crate) fn new(what: &str, partitions: u32) -> Self {
        let name = unique(what);
        done(&["topic", "create", &name, "--partitions", &partitions.to_string()]);
        Self(name)
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        run(&["topic", "delete", "--if-exists", &self.0]);
    }
}

/// Waits for what brokers tell each other in their own time.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::yield_now();
    }
}

pub(crate) fn numbers(range: std::ops::Range<u32>) -> Vec<u8> {
    range.map(|number| format!("{number}\n")).collect::<String>().into_bytes()
}
