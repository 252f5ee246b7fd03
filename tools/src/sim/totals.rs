//! What one or many seeds came to.

use std::fmt;

macro_rules! totals {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Counts of a run.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct Totals {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Totals {
            /// Adds the counts of another run.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

totals! {
    /// Seeds run.
    seeds,
    /// Requests that clients sent.
    operations,
    /// Records acknowledged.
    acknowledged_records,
    /// Batches acknowledged.
    acknowledged_batches,
    /// Batches that a producer sent again after they had been appended.
    duplicates,
    /// Records that consumers read.
    read_records,
    /// Topics created.
    topics_created,
    /// Topics deleted.
    topics_deleted,
    /// Times records before an offset were deleted.
    records_deleted,
    /// Times a topic changed its durability.
    durabilities_changed,
    /// Offsets committed.
    commits,
    /// Assignments that members of groups got.
    assignments,
    /// Rebalances that members were told of by an answer.
    rebalances,
    /// Members that fell silent.
    silences,
    /// Producer ids given.
    producer_ids,
    /// Quotas set or taken back.
    quotas_set,
    /// Answers that told a client to wait.
    throttled,
    /// Records acknowledged in compacted topics.
    kept_records,
    /// Times a compacted topic was read whole.
    kept_readings,
    /// Records that were missing then because later ones have their keys.
    kept_records_gone,
    /// Tombstones that were missing then.
    kept_tombstones_gone,
    /// Times a compacted topic changed its `cleanup.policy`.
    kept_policies,
    /// Ends of a node that left a compacted segment beside those that it replaces.
    swaps_ended,
    /// Power cuts.
    power_cuts,
    /// Killed processes.
    kills,
    /// Clean stops.
    stops,
    /// Recoveries that were themselves cut short.
    recoveries_cut,
    /// Times a node was started.
    starts,
    /// Starts with another number of shards than before.
    other_counts,
    /// Lives on a file system without `O_DIRECT`.
    buffered_lives,
    /// Lives on a file system without `syncfs`.
    lives_without_sync_all,
    /// Lives in which sockets do what is unusual.
    rough_lives,
    /// Connections that clients saw cut by the network.
    cuts,
    /// Answers with a retriable error.
    retriable_errors,
    /// Disks lost while a node ran.
    disks_lost,
    /// Nodes that halted because they lost the disk with their metadata.
    halts,
    /// Starts of nodes without one of their disks.
    starts_without_disk,
    /// Jumps of the wall clock.
    clock_jumps,
    /// Reads failed with `EIO`.
    read_errors,
    /// Writes failed with `EIO`.
    write_errors,
    /// Syncs failed with `EIO`.
    sync_errors,
    /// Disk operations refused with `ENOSPC`.
    disk_refusals,
    /// Times the disk was slow.
    slow_disks,
    /// Bits of index files that flipped.
    index_decays,
    /// Times some connections were split.
    splits,
    /// Files and directories with unsynced changes at a power cut.
    exposed,
    /// Unsynced blocks that a power cut took back.
    lost_blocks,
    /// Unsynced blocks that were on the device at a power cut.
    kept_blocks,
    /// Unsynced blocks of which a power cut left a mixture of versions.
    torn_blocks,
    /// Lengths of files that a power cut took back.
    lost_lengths,
    /// Changes of names that a power cut took back.
    lost_names,
    /// Operations in flight at the end of a node.
    interrupted,
    /// Turns of shards.
    turns,
    /// Mail between shards.
    mail,
    /// Virtual time, in nanoseconds.
    virtual_ns,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds, {} operations, {:.0} s of virtual time, {} turns, {} mails between shards",
            self.seeds,
            self.operations,
            self.virtual_ns as f64 / 1e9,
            self.turns,
            self.mail
        )?;
        writeln!(
            f,
            "{} records acknowledged in {} batches, {} duplicates recognised, {} records read",
            self.acknowledged_records, self.acknowledged_batches, self.duplicates, self.read_records
        )?;
        writeln!(
            f,
            "{} topics created, {} deleted, {} changed their durability, {} times records deleted, {} offsets committed, \
             {} producer ids",
            self.topics_created,
            self.topics_deleted,
            self.durabilities_changed,
            self.records_deleted,
            self.commits,
            self.producer_ids
        )?;
        writeln!(
            f,
            "{} assignments to members of groups, {} rebalances noticed, {} members fallen silent",
            self.assignments, self.rebalances, self.silences
        )?;
        writeln!(f, "{} quotas set or taken back, {} answers throttled", self.quotas_set, self.throttled)?;
        writeln!(
            f,
            "{} records acknowledged in compacted topics, which were read whole {} times, {} records and {} tombstones \
             gone; {} changes of their policy",
            self.kept_records,
            self.kept_readings,
            self.kept_records_gone,
            self.kept_tombstones_gone,
            self.kept_policies
        )?;
        writeln!(
            f,
            "{} power cuts, {} kills, {} clean stops, {} recoveries cut short, {} starts, {} with another number of shards",
            self.power_cuts, self.kills, self.stops, self.recoveries_cut, self.starts, self.other_counts
        )?;
        writeln!(
            f,
            "at power cuts {} files exposed, {} operations in flight; unsynced blocks: {} lost, {} kept, {} torn; \
             {} lengths and {} names lost",
            self.exposed,
            self.interrupted,
            self.lost_blocks,
            self.kept_blocks,
            self.torn_blocks,
            self.lost_lengths,
            self.lost_names
        )?;
        writeln!(
            f,
            "{} reads, {} writes and {} syncs failed, {} operations refused by a full disk, {} times a slow disk",
            self.read_errors, self.write_errors, self.sync_errors, self.disk_refusals, self.slow_disks
        )?;
        writeln!(
            f,
            "{} disks lost, {} starts without one, {} halts for want of metadata",
            self.disks_lost, self.starts_without_disk, self.halts
        )?;
        write!(
            f,
            "{} connections cut, {} splits of the network, {} clock jumps, {} retriable answers",
            self.cuts, self.splits, self.clock_jumps, self.retriable_errors
        )
    }
}
