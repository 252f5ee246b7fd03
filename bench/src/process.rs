//! What the kernel counts of a process.

use std::fs;
use std::time::Duration;

use crate::error::Error;

/// Ticks a second in `/proc`: the same on all architectures that Linux still runs on.
const TICKS_PER_SECOND: u64 = 100;

/// What a process used, since it began or in some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on a CPU, in steps of 10 ms.
    pub cpu: Duration,
    /// How often one of its threads was given up for another, of its own will or not.
    pub context_switches: u64,
    /// Bytes that it has caused to be written to a device.
    pub written_bytes: u64,
    /// Bytes that it has caused to be read from a device.
    pub read_bytes: u64,
}

impl Usage {
    /// What a process has used so far.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn of(pid: u32) -> Result<Self, Error> {
        Ok(Self {
            cpu: cpu_time(pid)?,
            context_switches: context_switches(pid)?,
            written_bytes: written_bytes(pid)?,
            read_bytes: read_bytes(pid)?,
        })
    }

    /// What it has used since `earlier`. The switches of threads that have ended meanwhile are lost.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            context_switches: self.context_switches.saturating_sub(earlier.context_switches),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            read_bytes: self.read_bytes.saturating_sub(earlier.read_bytes),
        }
    }
}

/// How often the threads that the process has now were given up for others.
fn context_switches(pid: u32) -> Result<u64, Error> {
    let path = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&path).map_err(Error::system(format!("read {path}")))?;
    // A thread may end while the list is read.
    let statuses = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    Ok(statuses
        .map(|status| {
            number_after(&status, "\nvoluntary_ctxt_switches:") + number_after(&status, "nonvoluntary_ctxt_switches:")
        })
        .sum())
}

/// Time on a CPU, in user and system mode, of all threads that the process has and had; in steps of 10 ms.
///
/// # Errors
/// If there is no such process.
pub fn cpu_time(pid: u32) -> Result<Duration, Error> {
    let stat = read(pid, "stat")?;
    // The name of the program may contain blanks and parentheses. utime and stime are fields 14 and 15.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Whether the process runs, or could: not if it has ended and only waits to be asked for its status.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let state = read(pid, "stat").ok().and_then(|stat| stat.rsplit_once(") ")?.1.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// Resident memory, in bytes.
///
/// # Errors
/// If there is no such process.
pub fn resident_bytes(pid: u32) -> Result<u64, Error> {
    Ok(number_after(&read(pid, "status")?, "VmRSS:") * 1024)
}

/// Bytes that it has caused to be written to a device. The file system's own are not among them.
///
/// # Errors
/// If there is no such process.
pub fn written_bytes(pid: u32) -> Result<u64, Error> {
    Ok(number_after(&read(pid, "io")?, "\nwrite_bytes:"))
}

/// Bytes that it has caused to be read from a device.
///
/// # Errors
/// If there is no such process.
pub fn read_bytes(pid: u32) -> Result<u64, Error> {
    Ok(number_after(&read(pid, "io")?, "\nread_bytes:"))
}

fn read(pid: u32, file: &str) -> Result<String, Error> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).map_err(Error::system(format!("read {path}")))
}

fn number_after(text: &str, label: &str) -> u64 {
    let rest = text.split_once(label).map_or("", |(_, rest)| rest);
    rest.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_this_process() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).expect("itself") > 100_000);
        assert!(is_alive(pid) && !is_alive(u32::MAX));
        let before = cpu_time(pid).expect("itself");
        while cpu_time(pid).expect("itself") == before {
            std::hint::spin_loop();
        }
        assert_eq!(number_after("rchar: 1\nwrite_bytes: 22\nx: 3", "\nwrite_bytes:"), 22);
        assert!(cpu_time(u32::MAX).is_err());
    }
}
