//! What a store tells of itself to whoever watches the node. Asking costs a walk over a few histograms and nothing else.

use super::Store;
use crate::journal::writer;
use crate::latency::Distribution;

pub use super::compaction::Counted;
pub use super::damage::Counted as Damage;
pub use super::large::Counted as Large;
pub use super::scrub::Counted as Scrub;

/// A store's counters since its start, and what it holds now.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The journal that a group is written to the device for.
    pub durable_journal: Journal,
    /// The journal that is written to the page cache.
    pub cached_journal: Journal,
    /// Large appends that went straight to their segments.
    pub large: Large,
    /// Compaction of its logs.
    pub compaction: Compaction,
    /// Rounds from tails to segments that ended with a checkpoint.
    pub checkpoints: u64,
    /// Rounds that were given up and begun anew.
    pub checkpoints_failed: u64,
    /// Memory for appended records.
    pub tails: Memory,
    /// What readers hold of it.
    pub lent: Memory,
    /// Memory for reads from disk.
    pub buffers: Memory,
    /// Whether appends are refused for want of room on the disk.
    pub is_disk_full: bool,
    /// Damage found in segments.
    pub damage: Damage,
    /// What was read again to find damage.
    pub scrub: Scrub,
    /// Reads that wait for their turn, or for memory.
    pub reads_waiting: usize,
}

/// One journal's counters since the start.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    /// Groups written.
    pub groups: u64,
    /// Entries in them.
    pub entries: u64,
    /// Their bytes, without the padding to whole blocks.
    pub bytes: u64,
    /// From handing a group to the disk until it was written.
    pub group_write: Distribution,
    /// From the append of a batch until it was durable (in the page cache, for a cached journal).
    pub append_to_durable: Distribution,
    /// How long the oldest entry that is not written yet has waited, in nanoseconds; 0 if none waits.
    pub oldest_waiting_ns: u64,
    /// Extents that are full and wait for a checkpoint.
    pub used_extents: usize,
}

/// Compaction since the start, and what waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compaction {
    /// What was done.
    pub counted: Counted,
    /// The largest share of a log that waits to be compacted, in millionths of its bytes that may be.
    pub dirtiest_millionths: u32,
    /// Logs left alone because a damaged batch was met in them.
    pub uncleanable: u64,
    /// Memory in use.
    pub memory_bytes: usize,
}

impl Compaction {
    fn add(&mut self, other: Self) {
        let (all, more) = (&mut self.counted, other.counted);
        all.passes += more.passes;
        all.failed += more.failed;
        all.read_bytes += more.read_bytes;
        all.written_bytes += more.written_bytes;
        all.replaced_bytes += more.replaced_bytes;
        all.records += more.records;
        all.dropped_records += more.dropped_records;
        self.dirtiest_millionths = self.dirtiest_millionths.max(other.dirtiest_millionths);
        self.uncleanable += other.uncleanable;
        self.memory_bytes += other.memory_bytes;
    }
}

/// A bounded memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Bytes in use.
    pub used_bytes: usize,
    /// The most that may be in use.
    pub budget_bytes: usize,
}

impl Memory {
    fn of(used_bytes: usize, budget_bytes: usize) -> Self {
        Self { used_bytes, budget_bytes }
    }
}

impl Snapshot {
    /// Adds what another store of the shard has done and holds.
    pub fn add(&mut self, other: &Self) {
        self.durable_journal.add(&other.durable_journal);
        self.cached_journal.add(&other.cached_journal);
        self.large.add(other.large);
        self.checkpoints += other.checkpoints;
        self.checkpoints_failed += other.checkpoints_failed;
        for (memory, more) in
            [(&mut self.tails, other.tails), (&mut self.lent, other.lent), (&mut self.buffers, other.buffers)]
        {
            memory.used_bytes += more.used_bytes;
            memory.budget_bytes += more.budget_bytes;
        }
        self.is_disk_full |= other.is_disk_full;
        self.compaction.add(other.compaction);
        self.damage.add(other.damage);
        self.scrub.add(other.scrub);
        self.reads_waiting += other.reads_waiting;
    }
}

impl Journal {
    fn add(&mut self, other: &Self) {
        self.groups += other.groups;
        self.entries += other.entries;
        self.bytes += other.bytes;
        self.group_write.add(&other.group_write);
        self.append_to_durable.add(&other.append_to_durable);
        self.oldest_waiting_ns = self.oldest_waiting_ns.max(other.oldest_waiting_ns);
        self.used_extents += other.used_extents;
    }
}

impl Store {
    /// What the store has done and holds, at monotonic time `now_ns`.
    #[must_use]
    pub fn metrics(&self, now_ns: u64) -> Snapshot {
        let memory =
            |pool: &crate::buffer::Pool| Memory { used_bytes: pool.used_bytes(), budget_bytes: pool.budget_bytes() };
        let (checkpoints, checkpoints_failed) = self.rounds.counted();
        Snapshot {
            durable_journal: self.durable_journal.metrics(now_ns),
            cached_journal: self.cached_journal.metrics(now_ns),
            large: self.large.counted(),
            compaction: Compaction {
                counted: self.compaction.counted(),
                dirtiest_millionths: self.compaction.dirtiest_millionths(),
                uncleanable: self.compaction.uncleanable(),
                memory_bytes: self.compaction.memory_bytes(),
            },
            checkpoints,
            checkpoints_failed,
            tails: memory(&self.tails),
            lent: Memory { used_bytes: self.tails.lent_bytes(), budget_bytes: self.lent_bytes_max() },
            buffers: memory(&self.buffers),
            is_disk_full: self.is_disk_full,
            damage: self.damages.counted(),
            scrub: self.scrub.counted(),
            reads_waiting: self.fetches.waiting(),
        }
    }

    /// Everything that may become large, by name, with its bound. For checks: asking costs a walk over all logs.
    #[must_use]
    pub fn memories(&self) -> [(&'static str, Memory); 8] {
        let pool = |pool: &crate::buffer::Pool| Memory::of(pool.used_bytes(), pool.budget_bytes());
        let tails = self.logs.iter().flatten().flat_map(|log| &log.tails);
        let undurable: u64 = tails.map(|it| it.tail.end() - it.tail.durable()).sum();
        [
            ("tails", pool(&self.tails)),
            ("lent tails", Memory::of(self.tails.lent_bytes(), self.lent_bytes_max())),
            ("reads", pool(&self.buffers)),
            ("compaction", Memory::of(self.compaction.memory_bytes(), self.compaction.memory_bytes_max())),
            ("deferred appends", Memory::of(self.deferred_bytes, super::DEFERRED_BYTES_MAX)),
            ("groups of the durable journal", pool(self.durable_journal.staging())),
            ("groups of the cached journal", pool(self.cached_journal.staging())),
            // What segments lack lies in tails, and nowhere else.
            ("records on their way to segments", Memory::of(undurable as usize, self.tails.used_bytes())),
        ]
    }

    /// Whether appends are refused for want of room on the disk.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.is_disk_full
    }
}

impl writer::Journal {
    fn metrics(&self, now_ns: u64) -> Journal {
        let counted = self.counted();
        Journal {
            groups: counted.groups,
            entries: counted.entries,
            bytes: counted.bytes,
            group_write: counted.group_write.distribution(),
            append_to_durable: counted.append_to_durable.distribution(),
            oldest_waiting_ns: self.oldest_waiting().map_or(0, |pushed_ns| now_ns.saturating_sub(pushed_ns)),
            used_extents: self.used_extents(),
        }
    }
}
