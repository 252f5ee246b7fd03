//! How much memory a node uses unless it is told (`skein.memory`), and what for.
//!
//! ```text
//! a shard's share:  tails 2/5 │ reads 1/5 │ connections 2/5       tails and reads in equal parts for each data directory
//! ```

/// Of a shard, in bytes: enough for full speed.
const SHARD_BYTES: u64 = 320 << 20;
/// The part of the machine's memory that a node uses at the most.
const MACHINE_SHARE: u64 = 4;
/// What a node needs at the least, in bytes.
const BYTES_MIN: u64 = 64 << 20;
/// The part for reads is one in so many,
const READ_PART: u64 = 5;
/// but where it can be, enough in each data directory for the largest batch beside what is left to writes.
const READ_BYTES_MIN: u64 = 12 << 20;

/// What a shard's memory is for, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    /// Records that are not in segments yet, or were appended last; of each data directory.
    pub(super) tails: u64,
    /// Reads from disk; of each data directory.
    pub(super) reads: u64,
    /// Requests and answers.
    pub(super) connections: u64,
}

impl Parts {
    /// Of a shard with so much memory.
    pub(super) fn of(bytes: u64, directories: u64) -> Self {
        let reads = (bytes / READ_PART).max((READ_BYTES_MIN * directories).min(bytes / 8 * 3));
        let connections = (bytes - reads) / 2;
        let tails = bytes - reads - connections;
        Self { tails: tails / directories, reads: reads / directories, connections }
    }
}

/// The memory of a node with so many shards, on this machine or in this container.
pub(super) fn default_bytes(shards: u64) -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let of_machine = machine_bytes(&read("/proc/meminfo"));
    // The control group that the process sees as its own, of either version.
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let of_group = limits.into_iter().filter_map(|path| read(path).trim().parse().ok()).min();
    choose(shards, of_machine, of_group)
}

fn choose(shards: u64, of_machine: Option<u64>, of_group: Option<u64>) -> u64 {
    let wanted = shards.saturating_mul(SHARD_BYTES);
    let there_is = [of_machine, of_group].into_iter().flatten().min();
    there_is.map_or(wanted, |bytes| wanted.min(bytes / MACHINE_SHARE)).max(BYTES_MIN)
}

/// The machine's memory, as Linux tells it.
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_takes_what_its_shards_need_and_not_too_much_of_the_machine() {
        const GIB: u64 = 1 << 30;
        assert_eq!(choose(2, Some(64 * GIB), None), 2 * SHARD_BYTES);
        assert_eq!(choose(16, Some(64 * GIB), None), 5 * GIB);
        assert_eq!(choose(16, Some(8 * GIB), None), 2 * GIB, "a quarter of the machine");
        assert_eq!(choose(2, Some(64 * GIB), Some(GIB)), GIB / 4, "a quarter of the container");
        assert_eq!(choose(2, Some(64 * GIB), Some(GIB / 16)), BYTES_MIN);
        assert_eq!(choose(1, None, None), SHARD_BYTES);
    }

    #[test]
    fn the_parts_are_the_whole() {
        const MIB: u64 = 1 << 20;
        let parts = Parts { tails: 128 * MIB, reads: 64 * MIB, connections: 128 * MIB };
        assert_eq!(Parts::of(SHARD_BYTES, 1), parts, "the largest request by default, 100 MiB, fits");
        assert_eq!(Parts::of(32 * MIB, 1).reads, READ_BYTES_MIN);
        for (bytes, directories) in [(4 * MIB, 1), (32 * MIB, 2), (SHARD_BYTES, 3), (12_345_678, 7)] {
            let Parts { tails, reads, connections } = Parts::of(bytes, directories);
            let all = (tails + reads) * directories + connections;
            assert!(all <= bytes && all + 2 * directories > bytes, "{all} of {bytes}");
            assert!(tails * directories >= bytes / 4 && connections >= bytes / 4);
        }
    }

    #[test]
    fn the_machine_tells_how_much_it_has() {
        assert_eq!(machine_bytes("MemTotal:       24683000 kB\nMemFree:  672000 kB\n"), Some(24_683_000 * 1024));
        assert_eq!(machine_bytes("nothing"), None);
        assert!(default_bytes(1) >= BYTES_MIN);
    }
}
