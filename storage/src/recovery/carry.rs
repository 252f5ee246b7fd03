//! Deals recovered logs out to fresh stores, carrying what is not in segments over into their journals.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use super::found::{Found, FoundSegment};
use super::{Branch, Recovered, identity};
use crate::Error;
use crate::buffer::REGION_BYTES;
use crate::checkpoint::format::{self as checkpoint_format, FLAG_FULL, FLAG_FULL_END, FileHeader, GroupPlace};
use crate::checkpoint::{self};
use crate::disk::Disk;
use crate::io::{BLOCK_BYTES, DataDirectory};
use crate::journal::format::{Body, ExtentHeader, GROUP_HEADER_BYTES, GroupHeader, Place, first_seed};
use crate::journal::replay::ExtentFile;
use crate::journal::writer::Start;
use crate::journal::{self, FIRST_EXTENT_BYTES, extent_path};
use crate::log::state::{Log, SegmentTail};
use crate::log::{Durability, LogId};
use crate::mutation::{self, Mutation};
use crate::segment::Segment;
use crate::segment::{LOGS_DIRECTORY, log_directory};
use crate::store::{self, Identity, Store};
use crate::tail::Tail;
use crate::transactions::Transactions;

const BLOCK: u64 = BLOCK_BYTES as u64;
/// A tail up to this size is carried over in the journal; of a larger one the whole blocks go to the segment.
const CARRIED_BYTES_MAX: usize = 1 << 20;
/// Bytes of a carried group.
const GROUP_BYTES: usize = 1 << 20;
/// The order of carried entries: known to the base checkpoint.
const CARRIED_ORDER: u64 = 0;

pub(super) fn into_stores(
    recovered: Recovered<'_>,
    directory: DataDirectory,
    shards: usize,
    place: &dyn Fn(LogId) -> usize,
    options: &store::Options,
) -> Result<Vec<Store>, Error> {
    let Recovered { disk, identity, incarnation, mut logs, extents, checkpoints } = recovered;
    let incarnation = incarnation + u64::from(incarnation == 0 || !mutation::is(Mutation::ForgetIncarnation));
    identity::write(disk, &identity, incarnation)?;
    for directory in [journal::DIRECTORY, checkpoint::DIRECTORY, LOGS_DIRECTORY] {
        disk.create_directory(Path::new(directory)).map_err(Error::io(Path::new(directory), "create"))?;
    }
    disk.sync_directory(Path::new("")).map_err(Error::io(Path::new(""), "sync"))?;
    sync_found(disk, &extents, &checkpoints)?;
    remove_deleted(disk, &mut logs)?;
    for found in logs.values_mut() {
        finish_closed_segments(disk, found)?;
    }
    fit_memory(disk, &mut logs, shards, place, options)?;

    let mut stores = Vec::new();
    for shard in 0..shards {
        let identity = Identity { directory, shard: shard as u32, incarnation, directory_id: identity.directory_id };
        let mut store = Store::new(options, identity);
        let own = logs.values().filter(|found| place(found.id) == shard);
        store.resume_journal(write_journal(disk, identity, own)?);
        stores.push(store);
    }
    disk.sync_directory(Path::new(journal::DIRECTORY)).map_err(Error::io(Path::new(journal::DIRECTORY), "sync"))?;

    let mut dealt: Vec<(usize, Log)> = Vec::new();
    for (id, found) in logs {
        let shard = place(id);
        dealt.push((shard, to_log(found, stores[shard].tail_pool())));
    }
    if mutation::is(Mutation::RemoveBeforeBase) {
        remove(disk, &checkpoints)?;
    }
    write_base(disk, incarnation, identity.directory_id, dealt.iter().map(|(_, log)| log))?;
    for (shard, log) in dealt {
        stores[shard].adopt(log);
    }

    // From here on the old files are only files.
    remove(disk, &checkpoints)?;
    for (at, extent) in extents.into_iter().enumerate() {
        let store = &mut stores[at % shards];
        let is_recycled = extent.length == options.journal_extent_bytes && store.recycle_extent(&extent.path);
        if Branch::ExtentRecycled.reach_if(is_recycled) {
            continue;
        }
        Branch::ExtentRemoved.reach();
        disk.remove_file(&extent.path).map_err(Error::io(&extent.path, "remove"))?;
    }
    Ok(stores)
}

/// Makes durable what may have been read from the page cache alone, as the last group of a process that was killed: files
/// are about to be removed because of it, and without it another start would look for them.
fn sync_found(disk: &dyn Disk, extents: &[ExtentFile], checkpoints: &[PathBuf]) -> Result<(), Error> {
    let extents = extents.iter().filter(|extent| extent.header.is_some()).map(|extent| &extent.path);
    for path in extents.chain(checkpoints) {
        sync(disk, path)?;
    }
    for directory in [journal::DIRECTORY, checkpoint::DIRECTORY] {
        disk.sync_directory(Path::new(directory)).map_err(Error::io(Path::new(directory), "sync"))?;
    }
    Ok(())
}

fn remove_deleted(disk: &dyn Disk, logs: &mut BTreeMap<LogId, Found>) -> Result<(), Error> {
    for found in logs.values().filter(|found| found.is_deleted && !found.directory.is_empty()) {
        Branch::DirectoryRemoved.reach();
        let directory = log_directory(&found.directory);
        disk.remove_directory(&directory).map_err(Error::io(&directory, "remove"))?;
    }
    logs.retain(|_, found| !found.is_deleted);
    for found in logs.values_mut() {
        remove_below_start(disk, found)?;
        remove_obsolete(disk, found)?;
    }
    Ok(())
}

/// Removes files that compaction replaced, that a truncation cut off, or that lay below the start.
fn remove_obsolete(disk: &dyn Disk, found: &mut Found) -> Result<(), Error> {
    for files in found.obsolete.drain(..) {
        let (base_offset, generation) = (files.base_offset, files.generation);
        if found.segments.get(&base_offset).is_some_and(|it| it.segment.generation == generation) {
            // The record is from before the file was made anew.
            continue;
        }
        for path in files.paths(&found.directory) {
            disk.remove_file(&path).map_err(Error::io(&path, "remove"))?;
        }
    }
    Ok(())
}

fn remove_below_start(disk: &dyn Disk, found: &mut Found) -> Result<(), Error> {
    let bases: Vec<i64> = found.segments.keys().copied().collect();
    for pair in bases.windows(2).filter(|pair| pair[1] <= found.start_offset) {
        let Some(FoundSegment { segment, .. }) = found.segments.remove(&pair[0]) else { continue };
        Branch::SegmentRemoved.reach();
        if let Some(transactions) = &mut found.transactions {
            transactions.remove(pair[0]);
        }
        for path in segment.files().paths(&found.directory) {
            disk.remove_file(&path).map_err(Error::io(&path, "remove"))?;
        }
    }
    Ok(())
}

/// Brings everything but the active segment to its final form on disk.
fn finish_closed_segments(disk: &dyn Disk, found: &mut Found) -> Result<(), Error> {
    let Some((&active, _)) = found.segments.last_key_value() else { return Ok(()) };
    let directory = found.directory.clone();
    let mut any = false;
    for (_, segment) in found.segments.range_mut(..active) {
        if Branch::SegmentFinished.reach_if(!segment.segment.is_closed) {
            let path = segment.segment.path(&directory);
            write_segment(disk, &directory, segment, segment.segment.bytes)?;
            disk.set_length(&path, segment.segment.bytes).map_err(Error::io(&path, "cut"))?;
            sync(disk, &path)?;
            segment.segment.is_closed = true;
            any = true;
        }
        if Branch::IndexFinished.reach_if(segment.segment.index.is_some()) {
            let path = segment.segment.index_path(&directory);
            let rest = segment.segment.index_rest();
            let position = segment.segment.index_bytes;
            disk.write_at(&path, position, &rest).map_err(Error::io(&path, "write"))?;
            sync(disk, &path)?;
            segment.segment.index_bytes = position + rest.len() as u64;
            segment.segment.index_entries = segment.segment.index.as_ref().map_or(0, |index| index.len() as u32);
            segment.segment.is_index_named = true;
            segment.segment.index = None;
            any = true;
        }
        any |= write_transactions(disk, &directory, &segment.segment, found.transactions.as_deref_mut())?;
    }
    if any { sync_names(disk, &directory) } else { Ok(()) }
}

/// Brings the index of a closed segment's aborted transactions to its final form on disk; whether it was not.
fn write_transactions(
    disk: &dyn Disk,
    directory: &str,
    segment: &Segment,
    transactions: Option<&mut Transactions>,
) -> Result<bool, Error> {
    let Some(of) = transactions.and_then(|it| it.of_mut(segment.base_offset)).filter(|of| of.unwritten() > 0) else {
        return Ok(false);
    };
    let path = segment.transactions_path(directory);
    let (position, rest) = of.rest();
    disk.write_at(&path, position, &rest).map_err(Error::io(&path, "write"))?;
    disk.set_length(&path, position + rest.len() as u64).map_err(Error::io(&path, "cut"))?;
    sync(disk, &path)?;
    (of.written, of.has_file) = (of.aborted.len() as u32, true);
    Ok(true)
}

/// Writes a segment's bytes up to `to`, with zeros to the end of the last block.
fn write_segment(disk: &dyn Disk, directory: &str, segment: &mut FoundSegment, to: u64) -> Result<(), Error> {
    let path = segment.segment.path(directory);
    let directory = log_directory(directory);
    disk.create_directory(&directory).map_err(Error::io(&directory, "create"))?;
    let length = (to - segment.start) as usize;
    let rest = segment.bytes.split_off(length);
    segment.bytes.resize((to.next_multiple_of(BLOCK) - segment.start) as usize, 0);
    disk.write_at(&path, segment.start, &segment.bytes).map_err(Error::io(&path, "write"))?;
    sync(disk, &path)?;
    segment.start = to;
    segment.bytes = rest;
    segment.batches_from = segment.batches_from.filter(|&from| from >= to);
    segment.segment.is_named = true;
    Ok(())
}

fn sync(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    if mutation::is(Mutation::SkipRecoverySync) {
        return Ok(());
    }
    disk.sync(path).map_err(Error::io(path, "sync"))
}

fn remove(disk: &dyn Disk, files: &[PathBuf]) -> Result<(), Error> {
    files.iter().try_for_each(|path| disk.remove_file(path).map_err(Error::io(path, "remove")))
}

fn sync_names(disk: &dyn Disk, directory: &str) -> Result<(), Error> {
    let logs = Path::new(LOGS_DIRECTORY);
    let directory = log_directory(directory);
    disk.sync_directory(&directory).map_err(Error::io(&directory, "sync"))?;
    disk.sync_directory(logs).map_err(Error::io(logs, "sync"))
}

/// Memory that bytes take in a pool.
fn region_bytes(bytes: usize) -> usize {
    REGION_BYTES.into_iter().find(|&region| region >= bytes).unwrap_or(usize::MAX)
}

/// Writes tails to their segments until what remains fits half of each shard's memory: the largest first, then
/// whole, if there are that many.
fn fit_memory(
    disk: &dyn Disk,
    logs: &mut BTreeMap<LogId, Found>,
    shards: usize,
    place: &dyn Fn(LogId) -> usize,
    options: &store::Options,
) -> Result<(), Error> {
    let mut used = vec![0_usize; shards];
    for found in logs.values_mut() {
        let budget = options.tail_bytes / 2;
        let shard = place(found.id);
        assert!(shard < shards, "a log is placed on a shard that there is");
        let directory = found.directory.clone();
        let Some(mut active) = found.segments.last_entry() else { continue };
        let segment = active.get_mut();
        // What was written padded and journaled since is a tail again.
        let share = (budget - used[shard].min(budget)).min(CARRIED_BYTES_MAX);
        if !segment.bytes.is_empty() && region_bytes(segment.bytes.len()) > share {
            let whole = segment.end() / BLOCK * BLOCK;
            let partial = (segment.end() - whole) as usize;
            let to = if region_bytes(partial) <= share { whole } else { segment.end() };
            if Branch::TailWritten.reach_if(to > segment.start) {
                write_segment(disk, &directory, segment, to)?;
                sync_names(disk, &directory)?;
            }
        }
        if !segment.bytes.is_empty() {
            used[shard] += region_bytes(segment.bytes.len());
        }
    }
    Ok(())
}

/// Writes a shard's first extent with the tails of its logs.
fn write_journal<'a>(
    disk: &dyn Disk,
    identity: Identity,
    logs: impl Iterator<Item = &'a Found>,
) -> Result<Start, Error> {
    let durability = Durability::Durable;
    let path = extent_path(identity.incarnation, identity.shard, 0);
    let seed = first_seed(identity.incarnation, identity.shard, durability);
    let mut chain = Chain { identity, seed, next_sequence: 0, bytes: vec![0; BLOCK_BYTES] };
    let mut touched = Vec::new();
    let mut waiting = VecDeque::new();
    let mut waiting_bytes = 0;
    for found in logs {
        let Some((&base, segment)) = found.segments.last_key_value() else { continue };
        if segment.bytes.is_empty() {
            continue;
        }
        Branch::TailCarried.reach();
        touched.push(found.id);
        let place = Place { segment: base, position: segment.start };
        let body = Body::TailImage { place, end_offset: found.end_offset, bytes: segment.bytes.as_slice() };
        waiting_bytes += body.entry_bytes();
        waiting.push_back((found.id, body));
        if waiting_bytes >= GROUP_BYTES {
            chain.add_group(&mut waiting);
            waiting_bytes = 0;
        }
    }
    chain.add_group(&mut waiting);
    let position = if chain.next_sequence == 0 { 0 } else { chain.bytes.len() as u64 };
    let capacity = FIRST_EXTENT_BYTES.max((chain.bytes.len() as u64 + FIRST_EXTENT_BYTES / 2).next_multiple_of(BLOCK));
    let header = ExtentHeader {
        durability,
        shard: identity.shard,
        incarnation: identity.incarnation,
        ordinal: 0,
        first_sequence: 0,
        durable_before: 0,
        capacity,
        directory_id: identity.directory_id,
        seed,
    };
    if position > 0 {
        header.encode(&mut chain.bytes[..BLOCK_BYTES]);
    }
    chain.bytes.resize(capacity as usize, 0);
    disk.write_at(&path, 0, &chain.bytes).map_err(Error::io(&path, "write"))?;
    sync(disk, &path)?;
    Ok(Start { path, capacity, position, next_sequence: chain.next_sequence, seed: chain.seed, touched })
}

struct Chain {
    identity: Identity,
    seed: u32,
    next_sequence: u64,
    bytes: Vec<u8>,
}

impl Chain {
    fn add_group(&mut self, entries: &mut VecDeque<(LogId, Body<&[u8]>)>) {
        if entries.is_empty() {
            return;
        }
        let bytes = GROUP_HEADER_BYTES + entries.iter().map(|(_, body)| body.entry_bytes()).sum::<usize>();
        let start = self.bytes.len();
        self.bytes.resize(start + bytes.next_multiple_of(BLOCK_BYTES), 0);
        let header = GroupHeader {
            incarnation: self.identity.incarnation,
            ordinal: 0,
            first_sequence: self.next_sequence,
            // The base checkpoint that makes them count comes after they are durable.
            durable_before: self.next_sequence,
            order: CARRIED_ORDER,
            entries: entries.len() as u32,
            bytes: bytes as u32,
            seed: self.seed,
        };
        header.encode(&mut self.bytes[start..]);
        let mut at = start + GROUP_HEADER_BYTES;
        for (log, body) in entries.drain(..) {
            self.seed = body.encode(&mut self.bytes[at..], log, self.next_sequence, self.seed);
            self.next_sequence += 1;
            at += body.entry_bytes();
        }
    }
}

/// Writes the checkpoint whose rename makes this start count.
fn write_base<'a>(
    disk: &dyn Disk,
    incarnation: u64,
    directory_id: [u8; 16],
    logs: impl Iterator<Item = &'a Log>,
) -> Result<(), Error> {
    let mut bytes = vec![0; BLOCK_BYTES];
    let header = FileHeader { shard: u32::MAX, incarnation, generation: 0, directory_id };
    header.encode(&mut bytes);
    let mut number = 0;
    let mut add = |records: &[u8], count: u32, flags: u16| {
        let start = bytes.len();
        bytes.resize(start + checkpoint_format::group_bytes(records.len()), 0);
        let place = GroupPlace { incarnation, generation: 0, number };
        checkpoint_format::encode_group(&mut bytes[start..], place, flags, count, records);
        number += 1;
    };
    let (mut records, mut count) = (Vec::new(), 0);
    for log in logs {
        let record = log.record(CARRIED_ORDER);
        count += record.push(&mut records);
        if records.len() >= checkpoint_format::GROUP_BYTES_MAX {
            add(&records, count, FLAG_FULL);
            (records, count) = (Vec::new(), 0);
        }
    }
    add(&records, count, FLAG_FULL | FLAG_FULL_END);
    let path = checkpoint::base_path(incarnation);
    identity::replace(disk, &path.with_extension("new"), &path, &bytes)
}

/// The log as its store keeps it.
fn to_log(found: Found, pool: &crate::buffer::Pool) -> Log {
    let mut log = Log::new(found.id, &found.directory);
    log.is_in_base = true;
    log.start_offset = found.start_offset;
    log.end_offset = found.end_offset;
    log.durable_end = found.end_offset;
    log.epochs = found.epochs;
    log.producers = found.producers;
    log.transactions = found.transactions;
    log.compacted.clean_offset = found.clean_offset;
    log.is_directory_journaled = true;
    log.is_directory_made = found.segments.values().any(|segment| segment.segment.is_named);
    for (base_offset, segment) in found.segments {
        if segment.bytes.is_empty() && segment.segment.is_closed {
            log.segments.push_back(segment.segment);
            continue;
        }
        let tail = if segment.bytes.is_empty() {
            Tail::new(segment.start)
        } else {
            let starts_with_batch = segment.start == 0;
            let batches_from = if starts_with_batch { 0 } else { segment.batches_from.unwrap_or(segment.end()) };
            let tail = Tail::with_image(segment.start, &segment.bytes, batches_from, pool);
            tail.expect("what is carried was made to fit half the memory")
        };
        log.tails.push_back(SegmentTail { base_offset, tail });
        log.segments.push_back(segment.segment);
    }
    log
}
