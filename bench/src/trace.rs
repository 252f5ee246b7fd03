//! How often a process asks the kernel for something, as `perf` counts it.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::Error;

/// Calls of the kernel.
const CALLS: &str = "raw_syscalls:sys_enter";

/// Requests that were handed to a ring.
const SUBMISSIONS: &str = "io_uring:io_uring_submit_req";

/// What a process asked for in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counted {
    /// Calls of the kernel.
    pub calls_per_second: f64,
    /// Requests that it handed to rings; none if the kernel does not tell.
    pub submissions_per_second: Option<f64>,
}

/// Counts for so long what all threads of a process do. It slows the process down a little.
///
/// # Errors
/// If there is no `perf`, or it is not allowed: without root, `kernel.perf_event_paranoid` has to be -1.
pub fn count(pid: u32, duration: Duration) -> Result<Counted, Error> {
    let seconds = duration.as_secs_f64().to_string();
    let with_rings = perf(pid, &[CALLS, SUBMISSIONS], &seconds)?;
    let text = if number(&with_rings, CALLS).is_some() { with_rings } else { perf(pid, &[CALLS], &seconds)? };
    let per_second = |event| number(&text, event).map(|count| count / duration.as_secs_f64());
    let calls_per_second = per_second(CALLS).ok_or_else(|| Error::System {
        what: "count system calls with perf".to_owned(),
        cause: std::io::Error::other(text.lines().next().unwrap_or_default().to_owned()),
    })?;
    Ok(Counted { calls_per_second, submissions_per_second: per_second(SUBMISSIONS) })
}

/// What `perf stat` says.
fn perf(pid: u32, events: &[&str], seconds: &str) -> Result<String, Error> {
    let mut command = Command::new("perf");
    command.args(["stat", "-x", ",", "-e", &events.join(","), "-p", &pid.to_string(), "--", "sleep", seconds]);
    let output = command.stdin(Stdio::null()).output().map_err(Error::system("run perf"))?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The count in a line `count,unit,event,…`.
fn number(text: &str, event: &str) -> Option<f64> {
    let mut fields =
        text.lines().map(|line| line.split(',')).find(|fields| fields.clone().any(|field| field == event))?;
    fields.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_by_their_events() {
        let text = "109,,raw_syscalls:sys_enter,1343086,100.00,,\n<not supported>,,io_uring:io_uring_submit_req,0,,\n";
        assert_eq!(number(text, CALLS), Some(109.0));
        assert_eq!(number(text, SUBMISSIONS), None);
        assert_eq!(number("", CALLS), None);
    }
}
