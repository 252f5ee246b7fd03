//! The command line against a broker, any that speaks Kafka's protocol: `SKEIN_TEST_BOOTSTRAP=HOST:PORT` names it.
//! Without it every test is reported as ignored, which the usual harness cannot do while it runs; hence this one.

mod cluster;
mod groups;
mod records;
mod support;
mod topics;

use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use crate::support::BOOTSTRAP;

fn main() -> ExitCode {
    let wanted: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let all = [topics::TESTS, records::TESTS, groups::TESTS, cluster::TESTS];
    let tests: Vec<_> = all.into_iter().flatten().filter(|(name, _)| chosen(name)).collect();
    println!("\nrunning {} tests", tests.len());
    let is_there = env::var_os(BOOTSTRAP).is_some();
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for (name, test) in tests {
        let outcome = match is_there {
            false => {
                ignored += 1;
                "ignored, SKEIN_TEST_BOOTSTRAP=HOST:PORT names no broker"
            }
            true if panic::catch_unwind(AssertUnwindSafe(test)).is_ok() => {
                passed += 1;
                "ok"
            }
            true => {
                failed += 1;
                "FAILED"
            }
        };
        println!("test {name} ... {outcome}");
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out\n"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
