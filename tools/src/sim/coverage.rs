//! Which faults came about, what was seen of compaction and which of recovery's branches were taken, over all lives of the process: a simulation that
//! never comes somewhere proves nothing about it.

use std::fmt::Write as _;

use storage::recovery::Branch;

use super::totals::Totals;

/// Seeds from which on everything has to be reached.
pub const COMPLETE_FROM_SEEDS: u64 = 1000;

/// Branches that may stay out: these lives are too short for an active segment to have a part of its index on disk. The
/// tests of the engine and the crash model come there.
const RARE: [Branch; 3] = [Branch::SoundIndex, Branch::IndexMadeAnew, Branch::IndexCompleted];

/// Every kind of fault with how often it came about.
fn faults(totals: &Totals) -> [(&'static str, u64); 27] {
    [
        ("power cut", totals.power_cuts),
        ("power cut during recovery", totals.recoveries_cut),
        ("killed process", totals.kills),
        ("clean stop", totals.stops),
        ("start with another number of shards", totals.other_counts),
        ("operation in flight at the end", totals.interrupted),
        ("unsynced block lost", totals.lost_blocks),
        ("unsynced block kept", totals.kept_blocks),
        ("unsynced block torn", totals.torn_blocks),
        ("length lost", totals.lost_lengths),
        ("name lost", totals.lost_names),
        ("EIO on a read", totals.read_errors),
        ("EIO on a write", totals.write_errors),
        ("EIO on a sync", totals.sync_errors),
        ("ENOSPC", totals.disk_refusals),
        ("syncs of 100 ms", totals.slow_disks),
        ("flipped bit of an index file", totals.index_decays),
        ("lost disk of several", totals.disks_lost),
        ("start without one of several disks", totals.starts_without_disk),
        ("file system without O_DIRECT", totals.buffered_lives),
        ("file system without syncfs", totals.lives_without_sync_all),
        ("wall clock set", totals.clock_jumps),
        ("connection cut", totals.cuts),
        ("network split", totals.splits),
        ("short sends, split and failed receives, failed accepts", totals.rough_lives),
        ("client fallen silent", totals.silences),
        ("compacted segment beside what it replaces at the end", totals.swaps_ended),
    ]
}

/// What readers of compacted topics saw of compaction.
fn compaction(totals: &Totals) -> [(&'static str, u64); 4] {
    [
        ("compacted topic read whole", totals.kept_readings),
        ("record gone for a later one of its key", totals.kept_records_gone),
        ("tombstone gone", totals.kept_tombstones_gone),
        ("cleanup.policy changed", totals.kept_policies),
    ]
}

/// The counts of all that, a line each.
#[must_use]
pub fn report(totals: &Totals) -> String {
    let mut report = String::from("faults that came about:\n");
    for (fault, count) in faults(totals) {
        writeln!(report, "  {count:>10}  {fault}").expect("a string takes everything");
    }
    report.push_str("what was seen of compaction:\n");
    for (sight, count) in compaction(totals) {
        writeln!(report, "  {count:>10}  {sight}").expect("a string takes everything");
    }
    report.push_str("branches that recovery took:\n");
    for branch in Branch::ALL {
        writeln!(report, "  {:>10}  {}", branch.reached(), branch.what()).expect("a string takes everything");
    }
    report
}

/// What was never reached.
#[must_use]
pub fn unreached(totals: &Totals) -> Vec<&'static str> {
    let all = faults(totals).into_iter().chain(compaction(totals));
    let faults = all.filter(|(_, count)| *count == 0).map(|(fault, _)| fault);
    let is_missed = |branch: &&Branch| branch.reached() == 0 && !RARE.contains(branch);
    let branches = Branch::ALL.iter().filter(is_missed).map(|branch| branch.what());
    faults.chain(branches).collect()
}
