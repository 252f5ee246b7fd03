//! The machine: what it is, and what its processors and its disk count.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::error::Error;

/// Unit of the block layer's counters.
const SECTOR_BYTES: u64 = 512;

/// Facts that figures depend on, each with its name.
#[must_use]
pub fn facts(directory: &Path) -> Vec<(&'static str, String)> {
    let first_line = |path: &str| fs::read_to_string(path).ok().and_then(|text| text.lines().next().map(str::to_owned));
    let value = |path: &str, label: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(label))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let model = value("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".to_owned());
    let mut facts = vec![("CPU", format!("{cpus} × {model}"))];
    let known = [
        ("memory", value("/proc/meminfo", "MemTotal").map(gib)),
        ("kernel", first_line("/proc/sys/kernel/osrelease").map(|release| format!("Linux {release}"))),
        ("file system", mounted(directory)),
        ("load average at the start", first_line("/proc/loadavg").map(|line| fields(&line, 3))),
    ];
    facts.extend(known.into_iter().filter_map(|(name, value)| Some((name, value?))));
    facts
}

fn fields(line: &str, count: usize) -> String {
    line.split_whitespace().take(count).collect::<Vec<_>>().join(" ")
}

fn gib(kilobytes: String) -> String {
    let number: f64 = kilobytes.trim_end_matches(" kB").parse().unwrap_or(0.0);
    format!("{:.1} GiB", number / f64::from(1 << 20))
}

/// The type of the file system that holds the directory, with its device.
fn mounted(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let holding = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (device, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        directory.starts_with(point).then(|| (point.len(), format!("{kind} on {device}")))
    });
    holding.max_by_key(|(length, _)| *length).map(|(_, text)| text)
}

/// Bytes that the device below the directory has been told to write since the machine started, by everybody.
///
/// # Errors
/// If the file system has no such device.
pub fn device_written_bytes(directory: &Path) -> Result<u64, Error> {
    let device = fs::metadata(directory).map_err(Error::system("look at the data directory"))?.dev();
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00);
    let path = format!("/sys/dev/block/{major}:{minor}/stat");
    let stat = fs::read_to_string(&path).map_err(Error::system(format!("read {path}")))?;
    let sectors = stat.split_whitespace().nth(6).and_then(|field| field.parse::<u64>().ok());
    Ok(sectors.unwrap_or(0) * SECTOR_BYTES)
}

/// Has everything that is only in memory written to the device.
///
/// # Errors
/// If the program `sync` fails.
pub fn drain(directory: &Path) -> Result<(), Error> {
    let status =
        Command::new("sync").arg("--file-system").arg(directory).status().map_err(Error::system("run sync"))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::System {
        what: "write what is in memory to the disk".into(),
        cause: std::io::Error::other("sync failed"),
    })
}

/// Waits until nobody has written to the device for `calm`, at most `wait`. Says whether it became calm.
///
/// # Errors
/// As [`device_written_bytes`].
pub fn wait_for_calm_device(directory: &Path, calm: Duration, wait: Duration) -> Result<bool, Error> {
    let deadline = Instant::now() + wait;
    let mut before = device_written_bytes(directory)?;
    while Instant::now() < deadline {
        std::thread::sleep(calm);
        let now = device_written_bytes(directory)?;
        if now == before {
            return Ok(true);
        }
        before = now;
    }
    Ok(false)
}

/// What the processors of the machine have done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Processors {
    /// Ticks of work, in processes and in the kernel.
    busy: u64,
    /// Ticks that were taken away for other machines.
    stolen: u64,
    /// All ticks.
    all: u64,
}

impl Processors {
    /// Until now.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn now() -> Result<Self, Error> {
        fs::read_to_string("/proc/stat").map(|text| Self::parse(&text)).map_err(Error::system("read /proc/stat"))
    }

    fn parse(text: &str) -> Self {
        let line = text.lines().next().unwrap_or_default();
        // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user already.
        let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
        let field = |index: usize| ticks.get(index).copied().unwrap_or(0);
        let busy = field(0) + field(1) + field(2) + field(5) + field(6);
        Self { busy, stolen: field(7), all: ticks.iter().sum() }
    }

    /// How long processors have worked since `earlier`, all together.
    #[must_use]
    pub fn busy_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.busy.saturating_sub(earlier.busy) * 10)
    }

    /// The share of all time since `earlier` that was taken away.
    #[must_use]
    pub fn stolen_since(self, earlier: Self) -> f64 {
        let all = self.all.saturating_sub(earlier.all).max(1);
        self.stolen.saturating_sub(earlier.stolen) as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_and_stolen_time_are_told_apart() {
        let before = Processors::parse("cpu  100 10 50 1000 5 1 2 3 0 0\ncpu0 1 1 1\n");
        let after = Processors::parse("cpu  150 10 60 1030 5 1 2 13 0 0\n");
        assert_eq!(after.busy_since(before), Duration::from_millis(600));
        assert!((after.stolen_since(before) - 0.1).abs() < 1e-9);
    }
}
