//! The simulated disk keeps what was synced, and takes anything it may of the rest.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use storage::buffer::{Pool, Slice};
use storage::disk::Disk as _;
use storage::io::{BLOCK_BYTES, DataDirectory, Done, Durability, Failure, FileId, Op, OpenMode, Request, Token};
use storage::simulated::{Blocking, Disk, Faults, Latency, Owner, Queue, Random};

const SHARD: Owner = Owner(0);
const FILE: FileId = FileId(1);
/// What a device writes at once.
const SECTOR_BYTES: usize = 512;
const LATENCY: Latency =
    Latency { ns_min: 10, ns_max: 1000, slow_per_million: 100_000, slow_ns_max: 100_000, sync_ns_min: 0 };

fn disk(seed: u64) -> Disk {
    Disk::new(Random::new(seed), Faults::NONE)
}

fn block(byte: u8) -> Slice {
    let mut buffer = Pool::new(1 << 20).allocate(BLOCK_BYTES).expect("within the budget");
    buffer.fill(byte);
    buffer.freeze(BLOCK_BYTES)
}

fn open(disk: &mut Disk, path: &str) {
    let mode = OpenMode { create: true, write: true, direct: true };
    disk.execute(SHARD, Op::Open { file: FILE, path: path.into(), mode }).expect("opened");
}

fn write(position: u64, byte: u8, durability: Durability) -> Op {
    Op::Write { file: FILE, position, data: vec![block(byte)], durability }
}

/// A file with a durable name, open.
fn durable_file(disk: &mut Disk, path: &str) {
    open(disk, path);
    disk.execute(SHARD, Op::SyncDirectory { path: "".into() }).expect("synced");
}

fn contents(disk: Disk, path: &str) -> Option<Vec<u8>> {
    let disk = Blocking::new(Rc::new(RefCell::new(disk)));
    let length = disk.length(Path::new(path)).expect("no fault")?;
    let mut bytes = vec![0; length as usize];
    assert_eq!(disk.read_at(Path::new(path), 0, &mut bytes).expect("no fault"), bytes.len());
    Some(bytes)
}

/// What comes back of `path` after a power cut, over many seeds.
fn outcomes(act: impl Fn(&mut Disk), path: &str) -> BTreeSet<Option<Vec<u8>>> {
    let outcome = |seed| {
        let mut disk = disk(seed);
        act(&mut disk);
        disk.crash();
        contents(disk, path)
    };
    (0..200).map(outcome).collect()
}

#[test]
fn a_synced_write_survives_every_power_cut() {
    let act = |disk: &mut Disk| {
        durable_file(disk, "f");
        disk.execute(SHARD, write(0, 7, Durability::Synced)).expect("written");
    };
    assert_eq!(outcomes(act, "f"), BTreeSet::from([Some(vec![7; BLOCK_BYTES])]));
}

#[test]
fn a_sync_covers_what_was_written_before_it() {
    let act = |disk: &mut Disk| {
        durable_file(disk, "f");
        disk.execute(SHARD, write(0, 1, Durability::Buffered)).expect("written");
        disk.execute(SHARD, Op::Sync { file: FILE }).expect("synced");
    };
    assert_eq!(outcomes(act, "f"), BTreeSet::from([Some(vec![1; BLOCK_BYTES])]));
}

#[test]
fn an_unsynced_write_is_kept_lost_or_torn_over_the_old_bytes_and_seldom_garbage() {
    let act = |disk: &mut Disk| {
        durable_file(disk, "f");
        disk.execute(SHARD, write(0, 1, Durability::Synced)).expect("written");
        disk.execute(SHARD, write(0, 2, Durability::Buffered)).expect("written");
    };
    let outcomes = outcomes(act, "f");
    assert!(outcomes.contains(&Some(vec![1; BLOCK_BYTES])), "the write is lost for some seed");
    assert!(outcomes.contains(&Some(vec![2; BLOCK_BYTES])), "the write is kept for some seed");
    assert!(outcomes.len() > 10, "and torn in many ways");
    let sectors: Vec<_> = outcomes.iter().flatten().flat_map(|bytes| bytes.chunks(SECTOR_BYTES)).collect();
    let garbage = sectors.iter().filter(|sector| sector.iter().any(|byte| ![1, 2].contains(byte))).count();
    assert!((1..sectors.len() / 20).contains(&garbage), "{garbage} of {} sectors were never written", sectors.len());
}

#[test]
fn a_write_in_flight_at_the_power_cut_may_do_anything_in_part() {
    let outcomes: BTreeSet<_> = (0..200)
        .map(|seed| {
            let mut disk = disk(seed);
            durable_file(&mut disk, "f");
            disk.execute(SHARD, write(0, 1, Durability::Synced)).expect("written");
            let mut queue = Queue::new(SHARD, LATENCY, Random::new(seed));
            queue.submit(
                0,
                Request { directory: DataDirectory::FIRST, token: Token(1), op: write(0, 2, Durability::Synced) },
            );
            queue.abandon(&mut disk);
            disk.crash();
            contents(disk, "f").map(|bytes| (bytes.contains(&1), bytes.contains(&2)))
        })
        .collect();
    assert_eq!(outcomes, BTreeSet::from([Some((true, false)), Some((false, true)), Some((true, true))]));
}

#[test]
fn a_name_needs_a_sync_of_its_directory() {
    let act = |disk: &mut Disk| {
        open(disk, "f");
        disk.execute(SHARD, Op::Sync { file: FILE }).expect("synced");
    };
    assert_eq!(outcomes(act, "f"), BTreeSet::from([None, Some(vec![])]));
}

#[test]
fn a_rename_is_whole_and_leaves_the_old_file_or_the_new_one() {
    let act = |disk: &mut Disk| {
        durable_file(disk, "old");
        disk.execute(SHARD, write(0, 1, Durability::Synced)).expect("written");
        disk.execute(SHARD, Op::Close { file: FILE }).expect("closed");
        open(disk, "new");
        disk.execute(SHARD, write(0, 2, Durability::Synced)).expect("written");
        disk.execute(SHARD, Op::SyncDirectory { path: "".into() }).expect("synced");
        disk.execute(SHARD, Op::Rename { from: "new".into(), to: "old".into() }).expect("renamed");
    };
    let expected = BTreeSet::from([Some(vec![1; BLOCK_BYTES]), Some(vec![2; BLOCK_BYTES])]);
    assert_eq!(outcomes(act, "old"), expected);
}

#[test]
fn a_removal_that_was_not_synced_may_be_undone_with_all_bytes() {
    let act = |disk: &mut Disk| {
        disk.execute(SHARD, Op::CreateDirectory { path: "d".into() }).expect("created");
        open(disk, "d/f");
        disk.execute(SHARD, write(0, 3, Durability::Synced)).expect("written");
        disk.execute(SHARD, Op::SyncAll).expect("synced");
        disk.execute(SHARD, Op::Close { file: FILE }).expect("closed");
        disk.execute(SHARD, Op::RemoveDirectory { path: "d".into() }).expect("removed");
    };
    assert_eq!(outcomes(act, "d/f"), BTreeSet::from([None, Some(vec![3; BLOCK_BYTES])]));
}

#[test]
fn a_cut_that_was_not_synced_may_be_undone() {
    let act = |disk: &mut Disk| {
        durable_file(disk, "f");
        disk.execute(SHARD, write(0, 3, Durability::Synced)).expect("written");
        disk.execute(SHARD, Op::SetLength { file: FILE, length: 0 }).expect("cut");
    };
    let outcomes = outcomes(act, "f");
    assert!(outcomes.contains(&Some(vec![])));
    assert!(outcomes.contains(&Some(vec![3; BLOCK_BYTES])));
}

#[test]
fn a_lying_disk_loses_what_it_said_was_synced() {
    let act = |disk: &mut Disk| {
        durable_file(disk, "f");
        disk.set_faults(Faults { lies: true, ..Faults::NONE });
        disk.execute(SHARD, write(0, 1, Durability::Synced)).expect("so it says");
        disk.execute(SHARD, Op::Sync { file: FILE }).expect("so it says");
    };
    assert!(outcomes(act, "f").contains(&Some(vec![])));
}

#[test]
fn what_a_failed_sync_left_is_not_covered_by_the_next_one() {
    let act = |disk: &mut Disk| {
        durable_file(disk, "f");
        disk.execute(SHARD, write(0, 1, Durability::Synced)).expect("written");
        disk.execute(SHARD, write(0, 2, Durability::Buffered)).expect("written");
        disk.set_faults(Faults { sync_errors_per_million: 1_000_000, ..Faults::NONE });
        disk.execute(SHARD, Op::Sync { file: FILE }).expect_err("planned");
        disk.set_faults(Faults::NONE);
        disk.execute(SHARD, Op::Sync { file: FILE }).expect("synced");
    };
    assert!(outcomes(act, "f").contains(&Some(vec![1; BLOCK_BYTES])));
}

#[test]
fn a_full_disk_refuses_new_blocks_and_takes_old_ones() {
    let mut disk = disk(1);
    durable_file(&mut disk, "f");
    disk.execute(SHARD, write(0, 1, Durability::Synced)).expect("written");
    disk.set_faults(Faults { capacity_bytes: 2 * BLOCK_BYTES as u64, ..Faults::NONE });
    let refused = disk.execute(SHARD, write(BLOCK_BYTES as u64, 1, Durability::Synced));
    assert_eq!(refused.expect_err("full"), Failure { errno: libc::ENOSPC });
    disk.execute(SHARD, write(0, 2, Durability::Synced)).expect("has its block already");
    disk.execute(SHARD, Op::SetLength { file: FILE, length: 0 }).expect("cut");
    disk.execute(SHARD, write(BLOCK_BYTES as u64, 1, Durability::Synced)).expect("there is room again");
}

#[test]
fn a_killed_process_loses_only_its_open_files() {
    let mut disk = disk(1);
    open(&mut disk, "f");
    disk.execute(SHARD, write(0, 1, Durability::Buffered)).expect("written");
    disk.close_all();
    assert_eq!(contents(disk, "f"), Some(vec![1; BLOCK_BYTES]));
}

#[test]
fn the_end_of_a_file_is_read_short() {
    let mut disk = disk(1);
    durable_file(&mut disk, "f");
    disk.execute(SHARD, write(0, 1, Durability::Synced)).expect("written");
    let buffer = Pool::new(1 << 20).allocate(16 << 10).expect("within the budget");
    let done = disk.execute(SHARD, Op::Read { file: FILE, position: 0, buffer }).expect("read");
    assert!(matches!(done, Done::Read { length: BLOCK_BYTES, .. }));
}

#[test]
fn requests_complete_once_in_an_order_that_follows_from_the_seed() {
    let order = |seed| {
        let mut disk = disk(seed);
        durable_file(&mut disk, "f");
        let mut queue = Queue::new(SHARD, LATENCY, Random::new(seed));
        for number in 0..20 {
            let op = write(number * BLOCK_BYTES as u64, 1, Durability::Synced);
            queue.submit(0, Request { directory: DataDirectory::FIRST, token: Token(number), op });
        }
        let mut order = Vec::new();
        while let Some(at) = queue.next_at_ns() {
            order.push(queue.complete(at, &mut disk).expect("due").token.0);
        }
        order
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    assert_eq!(BTreeSet::from_iter(order(3)), BTreeSet::from_iter(0..20));
}

#[test]
#[should_panic(expected = "the order matters")]
fn two_overlapping_writes_in_flight_break_the_rules() {
    let mut queue = Queue::new(SHARD, LATENCY, Random::new(1));
    queue
        .submit(0, Request { directory: DataDirectory::FIRST, token: Token(1), op: write(0, 1, Durability::Buffered) });
    queue
        .submit(0, Request { directory: DataDirectory::FIRST, token: Token(2), op: write(0, 2, Durability::Buffered) });
}

#[test]
fn blocking_access_ends_where_the_power_goes() {
    let disk = Rc::new(RefCell::new(disk(1)));
    let access = Blocking::ending_after(Rc::clone(&disk), 2);
    access.write_at(Path::new("f"), 0, b"first").expect("one call of two");
    access.sync(Path::new("f")).expect_err("the power goes during the second");
    access.length(Path::new("f")).expect_err("and does not come back");
    assert!(access.has_ended());
    disk.borrow_mut().crash();
    Blocking::new(disk).length(Path::new("f")).expect("the next start");
}
