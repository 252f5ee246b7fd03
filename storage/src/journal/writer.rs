//! One journal of one shard: gathers entries, writes them in groups, and keeps extents ready.
//!
//! ```text
//! sequence   0 ............ durable ............ next ............ pushed
//!            │ on the device   │ group in flight   │ gathering        │
//!
//! extents    used (oldest first) … used │ active │ ready … │ being filled with zeros
//!            freed by a checkpoint ──────────────────► ready
//! ```
//!
//! One group is in flight at a time. A group goes into one extent. Blocks once written are not written again
//! before their extent is freed.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::format::{self, Body, ExtentHeader, GROUP_HEADER_BYTES, GroupHeader};
use super::{DIRECTORY, EXTENT_BYTES, FIRST_EXTENT_BYTES, extent_path};
use crate::buffer::{Pool, Slice};
use crate::io::{self, BLOCK_BYTES, Done, Failure, Op, OpenMode};
use crate::latency::Latencies;
use crate::log::{Durability, LogId, Slot};
use crate::mutation::{self, Mutation};
use crate::store::BATCH_BYTES_MAX;
use crate::store::files::{FileKey, FileOp, Files};
use crate::store::purpose::Purpose;

/// A group is closed at this size, unless its first entry alone is larger.
const GROUP_BYTES_MAX: usize = 3 << 20;
/// Entries may wait for the journal up to this many bytes.
pub(crate) const GATHERED_BYTES_MAX: usize = 32 << 20;
/// Memory for encoding a group.
const STAGING_BYTES_MAX: usize = 32 << 20;
/// Extents one journal may use for what is appended: a checkpoint that lags stops appends before the journal eats the
/// disk.
const EXTENTS_MAX: usize = 16;
/// Extents it may use beyond, so that a round can always be finished: for what was taken before appends were stopped, and
/// for the blocks that the round copies forward.
const RESERVED_EXTENTS: usize = 11;
/// Bytes of blocks that one round copies forward at most; those of further logs go to their segments, padded.
pub(crate) const CARRIED_BYTES_MAX: usize = 32 << 20;
/// Freed extents that are kept for use.
const READY_MAX: usize = 4;
/// A cached journal takes batches from so many bytes on from where they lie, instead of copying them.
const TAKEN_BYTES_MIN: usize = 8 << 10;
/// Bytes of zeros in one write, and in the buffer behind it.
const FILL_BYTES: u64 = 1 << 20;
const ZERO_BYTES: usize = 64 << 10;

const _: () = assert!(16 << 20 <= STAGING_BYTES_MAX - ZERO_BYTES, "the largest region and the zeros fit");

/// Bytes of an extent that are used at least, in whatever sizes groups come: the next one has no batch larger than that.
const USED_BYTES_MIN: usize = EXTENT_BYTES as usize - BATCH_BYTES_MAX - (1 << 20);
const _: () = assert!(
    RESERVED_EXTENTS * USED_BYTES_MIN >= GATHERED_BYTES_MAX + BATCH_BYTES_MAX + CARRIED_BYTES_MAX,
    "a round finds room for everything that it waits for"
);

/// Writes of one group that may fail before the store gives up.
const FAILURES_MAX: u32 = 2;
/// Extents that may fail to be prepared, one after another and each a second after the one before, before the store
/// gives up. Without a fresh extent a group cannot be written again.
const FILL_FAILURES_MAX: u32 = 3;

/// A name or bytes that an entry in waiting holds.
#[derive(Debug, Clone)]
pub(crate) enum Bytes {
    Shared(Slice),
    Name(Arc<str>),
    Made(Vec<u8>),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Shared(slice) => slice,
            Self::Name(name) => name.as_bytes(),
            Self::Made(bytes) => bytes,
        }
    }
}

/// An entry that waits to be written.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) slot: Slot,
    pub(crate) log: LogId,
    pub(crate) body: Body<Bytes>,
    /// Rises with every snapshot a checkpoint takes.
    pub(crate) order: u64,
    /// When it came, by the monotonic clock.
    pub(crate) pushed_ns: u64,
}

impl Pending {
    /// The batch, if it has at least `bytes` and so is written from where it lies.
    fn taken(&self, bytes: usize) -> Option<&Slice> {
        match &self.body {
            Body::Append { batch: Bytes::Shared(batch), .. } if batch.len() >= bytes => Some(batch),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Extent {
    key: FileKey,
    path: PathBuf,
    capacity: u64,
}

#[derive(Debug)]
struct Used {
    extent: Extent,
    ordinal: u64,
    first_sequence: u64,
    /// Where the next group goes.
    position: u64,
    /// The logs with entries in it.
    touched: FxHashSet<LogId>,
}

#[derive(Debug)]
struct Group {
    entries: Vec<Pending>,
    bytes: usize,
    first_sequence: u64,
    seed: u32,
    failures: u32,
    is_written: bool,
    /// When its write was handed over.
    written_ns: u64,
}

/// What a journal has counted since its start.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) groups: u64,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// From handing a group's write over until it ended well.
    pub(crate) group_write: Latencies,
    /// From the push of an appended batch until then.
    pub(crate) append_to_durable: Latencies,
}

impl Counted {
    fn count(&mut self, group: &Group, now_ns: u64) {
        self.groups += 1;
        self.entries += group.entries.len() as u64;
        self.bytes += group.bytes as u64;
        self.group_write.record(now_ns.saturating_sub(group.written_ns));
        // Those of one turn came at one time.
        for turn in group.entries.chunk_by(|one, next| one.pushed_ns == next.pushed_ns) {
            let appends = turn.iter().filter(|entry| matches!(entry.body, Body::Append { .. })).count();
            if appends > 0 {
                self.append_to_durable.record_many(now_ns.saturating_sub(turn[0].pushed_ns), appends as u64);
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FillStep {
    Zeros,
    Sync,
    Name,
}

#[derive(Debug)]
struct Fill {
    extent: Extent,
    position: u64,
    step: FillStep,
}

/// Where a journal starts from: what recovery carried over into its first extent.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) path: PathBuf,
    pub(crate) capacity: u64,
    /// Where the next group goes.
    pub(crate) position: u64,
    pub(crate) next_sequence: u64,
    pub(crate) seed: u32,
    pub(crate) touched: Vec<LogId>,
}

/// Who a journal is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) durability: Durability,
    pub(crate) shard: u32,
    pub(crate) incarnation: u64,
    pub(crate) directory_id: [u8; 16],
    pub(crate) direct: bool,
    /// Bytes of every extent but the first.
    pub(crate) extent_bytes: u64,
}

/// How the write of a group ended.
#[derive(Debug)]
pub(crate) enum Written {
    /// Its entries are durable, after so many nanoseconds.
    Durable(Vec<Pending>, u64),
    /// It goes to another extent.
    Again,
    /// It failed too often.
    Lost(Failure),
}

/// One journal. Owned by the shard that owns the store.
#[derive(Debug)]
pub(crate) struct Journal {
    identity: Identity,
    staging: Pool,
    gathering: VecDeque<Pending>,
    gathered_bytes: usize,
    group: Option<Group>,
    /// An emptied vector of entries, for the next group.
    spare: Vec<Pending>,
    /// An emptied vector of what is written, for the next group.
    spare_pieces: Vec<Slice>,
    next_sequence: u64,
    durable_before: u64,
    /// Of a cached journal: every entry before this was synced for a checkpoint.
    synced_before: u64,
    syncing_before: u64,
    /// Of a cached journal: extents before this ordinal could not be synced.
    trusted_from: u64,
    seed: u32,
    active: Option<Used>,
    next_ordinal: u64,
    used: VecDeque<Used>,
    ready: Vec<Extent>,
    fill: Option<Fill>,
    /// Set while zero-filling fails.
    is_fill_refused: bool,
    /// Extents that could not be prepared, one after another, for another reason than want of room.
    fill_failures: u32,
    next_number: u64,
    counted: Counted,
}

impl Journal {
    pub(crate) fn new(identity: Identity) -> Self {
        let extent_bytes = identity.extent_bytes;
        assert!(extent_bytes >= FIRST_EXTENT_BYTES && extent_bytes.is_multiple_of(FILL_BYTES), "{extent_bytes}");
        Self {
            identity,
            staging: Pool::new(STAGING_BYTES_MAX),
            gathering: VecDeque::new(),
            gathered_bytes: 0,
            group: None,
            spare: Vec::new(),
            spare_pieces: Vec::new(),
            next_sequence: 0,
            durable_before: 0,
            synced_before: 0,
            syncing_before: 0,
            trusted_from: 0,
            seed: format::first_seed(identity.incarnation, identity.shard, identity.durability),
            active: None,
            next_ordinal: 0,
            used: VecDeque::new(),
            ready: Vec::new(),
            fill: None,
            is_fill_refused: false,
            fill_failures: 0,
            // Even numbers for one journal of the shard, odd ones for the other; 0 is recovery's.
            next_number: if identity.durability == Durability::Durable { 2 } else { 1 },
            counted: Counted::default(),
        }
    }

    /// Goes on in the extent that recovery wrote.
    pub(crate) fn resume(&mut self, start: Start) {
        let extent = Extent { key: self.key(0), path: start.path, capacity: start.capacity };
        let touched = start.touched.into_iter().collect();
        self.active = Some(Used { extent, ordinal: 0, first_sequence: 0, position: start.position, touched });
        self.next_ordinal = 1;
        self.next_sequence = start.next_sequence;
        self.durable_before = start.next_sequence;
        self.seed = start.seed;
    }

    /// Takes an extent of an earlier start into use; whether it is wanted.
    pub(crate) fn recycle(&mut self, path: PathBuf) -> bool {
        if self.ready.len() == READY_MAX {
            return false;
        }
        let key = self.next_key();
        self.ready.push(Extent { key, path, capacity: self.identity.extent_bytes });
        true
    }

    fn key(&self, number: u64) -> FileKey {
        FileKey::Extent(number * 2 + u64::from(self.identity.durability == Durability::Cached))
    }

    fn next_key(&mut self) -> FileKey {
        self.next_number += 2;
        self.key(self.next_number)
    }

    fn mode(&self) -> OpenMode {
        OpenMode { create: true, write: true, direct: self.identity.direct && self.is_durable() }
    }

    fn is_durable(&self) -> bool {
        self.identity.durability == Durability::Durable
    }

    /// Memory for encoding groups.
    pub(crate) fn staging(&self) -> &Pool {
        &self.staging
    }

    /// Adds an entry to the group that gathers.
    pub(crate) fn push(&mut self, entry: Pending) {
        self.gathered_bytes += entry.body.entry_bytes();
        self.gathering.push_back(entry);
    }

    /// The sequence after everything that was pushed.
    pub(crate) fn pushed(&self) -> u64 {
        self.next_sequence + self.gathering.len() as u64
    }

    /// Every entry before this sequence is durable.
    pub(crate) fn durable_before(&self) -> u64 {
        self.durable_before
    }

    /// Every entry before this sequence is on the device.
    pub(crate) fn on_device_before(&self) -> u64 {
        if self.is_durable() { self.durable_before } else { self.synced_before }
    }

    /// Whether entries wait and there is no extent, nor one in the making, for them.
    pub(crate) fn is_starved(&self) -> bool {
        self.is_fill_refused && self.ready.is_empty()
    }

    /// Whether so much waits, or so many extents are in use, that appends must wait for a write or a checkpoint.
    pub(crate) fn is_full(&self) -> bool {
        self.gathered_bytes >= GATHERED_BYTES_MAX || self.extents() >= EXTENTS_MAX
    }

    /// Extents that are full and wait for a checkpoint.
    pub(crate) fn used_extents(&self) -> usize {
        self.used.len()
    }

    /// The ordinal of the newest full extent, and all logs with entries in the full ones.
    pub(crate) fn retiring(&self) -> Option<(u64, Vec<LogId>)> {
        let last = self.used.back()?.ordinal;
        let mut logs: Vec<LogId> = self.used.iter().flat_map(|used| used.touched.iter().copied()).collect();
        logs.sort_unstable();
        logs.dedup();
        Some((last, logs))
    }

    /// The ordinal of the oldest extent in use, or of the next one.
    pub(crate) fn oldest(&self) -> u64 {
        self.used.front().or(self.active.as_ref()).map_or(self.next_ordinal, |used| used.ordinal)
    }

    /// Sequence of the first entry in the extents from `ordinal` on.
    pub(crate) fn first_sequence_from(&self, ordinal: u64) -> u64 {
        let next = self.group.as_ref().map_or(self.next_sequence, |group| group.first_sequence);
        let mut extents = self.used.iter().chain(&self.active);
        extents.find(|used| used.ordinal >= ordinal).map_or(next, |used| used.first_sequence)
    }

    /// All logs with entries in any extent.
    pub(crate) fn touched(&self) -> Vec<LogId> {
        let all = self.used.iter().chain(&self.active);
        let mut logs: Vec<LogId> = all.flat_map(|used| used.touched.iter().copied()).collect();
        logs.sort_unstable();
        logs.dedup();
        logs
    }

    /// A checkpoint made everything in the extents up to `ordinal` unnecessary.
    pub(crate) fn free_until(&mut self, ordinal: u64, files: &mut Files<Purpose>) {
        let ordinal = ordinal + u64::from(mutation::is(Mutation::FreeExtentEarly));
        while self.used.front().is_some_and(|used| used.ordinal <= ordinal) {
            let extent = self.used.pop_front().expect("looked at just now").extent;
            if extent.capacity == self.identity.extent_bytes && self.ready.len() < READY_MAX {
                self.ready.push(extent);
            } else {
                files.close(extent.key);
                files.request_name(Op::RemoveFile { path: extent.path }, Purpose::Forgotten);
            }
        }
    }

    /// Syncs what a cached journal wrote, so that a checkpoint may rely on it. Says how many syncs that takes.
    pub(crate) fn sync(&mut self, files: &mut Files<Purpose>) -> usize {
        if self.is_durable() || self.synced_before == self.durable_before {
            return 0;
        }
        self.syncing_before = self.durable_before;
        let mode = self.mode();
        let mut syncs = 0;
        for used in self.used.iter().chain(&self.active).filter(|used| used.ordinal >= self.trusted_from) {
            files.request(used.extent.key, || used.extent.path.clone(), mode, FileOp::Sync, Purpose::Round);
            syncs += 1;
        }
        syncs
    }

    /// The syncs of [`Self::sync`] ended well.
    pub(crate) fn synced(&mut self) {
        self.synced_before = self.synced_before.max(self.syncing_before);
    }

    /// A sync failed: no later one covers what it did not, so no checkpoint may rely on anything written so far.
    /// What follows goes to another extent.
    pub(crate) fn distrust(&mut self) {
        if mutation::is(Mutation::TrustFailedSync) {
            return self.synced();
        }
        if self.group.is_none() {
            self.used.extend(self.active.take());
        }
        self.trusted_from = self.next_ordinal;
    }

    /// Whether extents are in use on which no checkpoint may rely.
    pub(crate) fn has_distrusted(&self) -> bool {
        self.oldest() < self.trusted_from
    }

    /// Starts writing the gathered group if none is in flight, and preparing the next extent.
    pub(crate) fn submit(&mut self, files: &mut Files<Purpose>, now_ns: u64) {
        if self.group.is_none() {
            self.form_group();
        }
        self.start_fill(files);
        let Some(group) = self.group.as_ref().filter(|group| !group.is_written) else { return };
        let group_bytes = group.bytes.next_multiple_of(BLOCK_BYTES);
        if !self.make_room(group_bytes) {
            return;
        }
        self.write_group(files, now_ns);
    }

    fn form_group(&mut self) {
        let Some(first) = self.gathering.front() else { return };
        let order = first.order;
        // Half an extent, so that a group never finds one too small.
        let bytes_max = GROUP_BYTES_MAX.min(self.identity.extent_bytes as usize / 2);
        let mut entries = std::mem::take(&mut self.spare);
        let mut bytes = GROUP_HEADER_BYTES;
        while let Some(next) = self.gathering.front() {
            let entry_bytes = next.body.entry_bytes();
            if next.order != order || (!entries.is_empty() && bytes + entry_bytes > bytes_max) {
                break;
            }
            bytes += entry_bytes;
            entries.push(self.gathering.pop_front().expect("looked at just now"));
        }
        self.gathered_bytes -= bytes - GROUP_HEADER_BYTES;
        let first_sequence = self.next_sequence;
        self.next_sequence += entries.len() as u64;
        let seed = self.seed;
        self.group =
            Some(Group { entries, bytes, first_sequence, seed, failures: 0, is_written: false, written_ns: 0 });
    }

    /// Makes the active extent one with room for a group; whether there is one.
    fn make_room(&mut self, group_bytes: usize) -> bool {
        let trusted_from = self.trusted_from;
        let has_room = |active: &Used| {
            active.ordinal >= trusted_from && active.position + group_bytes as u64 <= active.extent.capacity
        };
        if self.active.as_ref().is_some_and(has_room) {
            return true;
        }
        let needed = extent_bytes_for(group_bytes);
        let Some(at) = self.ready.iter().position(|extent| extent.capacity >= needed) else { return false };
        let extent = self.ready.swap_remove(at);
        self.used.extend(self.active.take());
        let group = self.group.as_mut().expect("room is made for a group");
        if mutation::is(Mutation::BreakChain) {
            group.seed = 0;
        }
        self.active = Some(Used {
            extent,
            ordinal: self.next_ordinal,
            first_sequence: group.first_sequence,
            position: 0,
            touched: FxHashSet::default(),
        });
        self.next_ordinal += 1;
        true
    }

    fn write_group(&mut self, files: &mut Files<Purpose>, now_ns: u64) {
        let mode = self.mode();
        let group = self.group.as_mut().expect("formed before");
        let active = self.active.as_mut().expect("made room before");
        let header_bytes = if active.position == 0 { BLOCK_BYTES } else { 0 };
        let group_bytes = group.bytes.next_multiple_of(BLOCK_BYTES);
        // Through the page cache nothing has to be aligned.
        let taken_from = if mode.direct { usize::MAX } else { TAKEN_BYTES_MIN };
        let taken: usize = group.entries.iter().filter_map(|it| it.taken(taken_from)).map(|batch| batch.len()).sum();
        let staged_bytes = header_bytes + group_bytes - taken;
        let Some(mut buffer) = self.staging.allocate(staged_bytes) else { return };
        let durable_before =
            if self.identity.durability == Durability::Durable { self.durable_before } else { self.synced_before };
        if header_bytes > 0 {
            let header = ExtentHeader {
                durability: self.identity.durability,
                shard: self.identity.shard,
                incarnation: self.identity.incarnation,
                ordinal: active.ordinal,
                first_sequence: group.first_sequence,
                durable_before,
                capacity: active.extent.capacity,
                directory_id: self.identity.directory_id,
                seed: group.seed,
            };
            header.encode(&mut buffer[..BLOCK_BYTES]);
        }
        let header = GroupHeader {
            incarnation: self.identity.incarnation,
            ordinal: active.ordinal,
            first_sequence: group.first_sequence,
            durable_before,
            order: group.entries[0].order,
            entries: u32::try_from(group.entries.len()).expect("a group is small"),
            bytes: u32::try_from(group.bytes).expect("a group is small"),
            seed: group.seed,
        };
        let mut cuts = Vec::new();
        let out = &mut buffer[header_bytes..staged_bytes];
        self.seed = encode_group(out, &header, &group.entries, taken_from, &mut cuts);
        for entry in &group.entries {
            active.touched.insert(entry.log);
        }
        let data = interleave(&buffer.freeze(staged_bytes), header_bytes, cuts, std::mem::take(&mut self.spare_pieces));
        let durability = match self.identity.durability {
            Durability::Durable if mutation::is(Mutation::SkipSync) => io::Durability::Buffered,
            Durability::Durable => io::Durability::Synced,
            Durability::Cached => io::Durability::Buffered,
        };
        let write = FileOp::Write { position: active.position, data, durability };
        let (key, path) = (active.extent.key, &active.extent.path);
        files.request(key, || path.clone(), mode, write, Purpose::Journal(self.identity.durability));
        active.position += (header_bytes + group_bytes) as u64;
        group.is_written = true;
        group.written_ns = now_ns;
    }

    /// The entries of the group in flight.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = &Pending> {
        self.group.iter().filter(|group| group.is_written).flat_map(|group| &group.entries)
    }

    /// The write of the group in flight ended.
    pub(crate) fn written(&mut self, result: Result<(), Failure>, now_ns: u64) -> Written {
        let group = self.group.as_mut().expect("one group is in flight");
        match result {
            Ok(()) => {
                let group = self.group.take().expect("just seen");
                self.counted.count(&group, now_ns);
                self.durable_before = self.next_sequence;
                if self.active.as_ref().is_some_and(|active| active.ordinal < self.trusted_from) {
                    self.used.extend(self.active.take());
                }
                let duration_ns = now_ns.saturating_sub(group.written_ns);
                Written::Durable(group.entries, duration_ns)
            }
            Err(failure) => {
                group.failures += u32::from(!failure.is_full());
                group.is_written = false;
                // What reached the extent is unknown, so nothing more is written to it.
                self.seed = group.seed;
                self.used.extend(self.active.take());
                if group.failures >= FAILURES_MAX { Written::Lost(failure) } else { Written::Again }
            }
        }
    }

    /// What it has counted so far.
    pub(crate) fn counted(&self) -> &Counted {
        &self.counted
    }

    /// When the oldest entry came that is not written yet, if there is one.
    pub(crate) fn oldest_waiting(&self) -> Option<u64> {
        let in_flight = self.group.as_ref().and_then(|group| group.entries.first());
        in_flight.or(self.gathering.front()).map(|entry| entry.pushed_ns)
    }

    /// Gives back what held the pieces of a group that was written.
    pub(crate) fn reuse_pieces(&mut self, done: Done) {
        if let Done::Written { mut data } = done {
            data.clear();
            self.spare_pieces = data;
        }
    }

    /// Gives back the memory of a group's entries.
    pub(crate) fn reuse(&mut self, mut entries: Vec<Pending>) {
        entries.clear();
        self.spare = entries;
    }

    /// Whether nothing waits or is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.gathering.is_empty() && self.group.is_none()
    }

    /// Whether an extent should be prepared, or is being prepared.
    pub(crate) fn wants_fill(&self) -> bool {
        let needed = self.needed_bytes();
        let is_ready = self.ready.iter().any(|extent| extent.capacity >= needed);
        let is_used = self.active.as_ref().is_some_and(|active| active.position > 2 * BLOCK_BYTES as u64)
            || !self.gathering.is_empty()
            || self.group.is_some();
        !is_ready && is_used && self.extents() < EXTENTS_MAX + RESERVED_EXTENTS
    }

    /// What an extent must have for the group that waits. The first one is small: a large group must not wait for room
    /// in it for ever.
    fn needed_bytes(&self) -> u64 {
        self.group.as_ref().map_or(0, |group| extent_bytes_for(group.bytes.next_multiple_of(BLOCK_BYTES)))
    }

    fn extents(&self) -> usize {
        self.used.len() + usize::from(self.active.is_some())
    }

    fn start_fill(&mut self, files: &mut Files<Purpose>) {
        if !self.wants_fill() || self.fill.is_some() || self.is_fill_refused {
            return;
        }
        let (extents, needed) = (self.extents(), self.needed_bytes());
        let is_first = extents == 0 && needed <= FIRST_EXTENT_BYTES;
        let capacity = if is_first { FIRST_EXTENT_BYTES } else { self.identity.extent_bytes };
        let key = self.next_key();
        let path = extent_path(self.identity.incarnation, self.identity.shard, self.next_number);
        self.fill = Some(Fill { extent: Extent { key, path, capacity }, position: 0, step: FillStep::Zeros });
        self.continue_fill(files);
    }

    fn continue_fill(&mut self, files: &mut Files<Purpose>) {
        let mode = self.mode();
        let Some(fill) = &mut self.fill else { return };
        let purpose = Purpose::Fill(self.identity.durability);
        let op = match fill.step {
            FillStep::Zeros => {
                let mut zeros = self.staging.allocate(ZERO_BYTES).expect("staging holds one group and this");
                zeros.fill(0);
                let zeros = zeros.freeze(ZERO_BYTES);
                let data = vec![zeros; FILL_BYTES as usize / ZERO_BYTES];
                FileOp::Write { position: fill.position, data, durability: io::Durability::Buffered }
            }
            FillStep::Sync => FileOp::Sync,
            FillStep::Name => {
                files.request_name(Op::SyncDirectory { path: DIRECTORY.into() }, purpose);
                return;
            }
        };
        files.request(fill.extent.key, || fill.extent.path.clone(), mode, op, purpose);
    }

    /// A step of zero-filling ended.
    ///
    /// # Errors
    /// Hands back a failure, which is met by [`Self::retry_fill`] later, unless [`Self::cannot_be_filled`].
    pub(crate) fn filled(&mut self, result: Result<(), Failure>, files: &mut Files<Purpose>) -> Result<(), Failure> {
        let fill = self.fill.as_mut().expect("one extent is being filled");
        if let Err(failure) = result {
            let extent = self.fill.take().expect("just seen").extent;
            self.is_fill_refused = true;
            self.fill_failures += u32::from(!failure.is_full());
            files.close(extent.key);
            files.request_name(Op::RemoveFile { path: extent.path }, Purpose::Forgotten);
            return Err(failure);
        }
        match fill.step {
            FillStep::Zeros => {
                fill.position += FILL_BYTES;
                if fill.position >= fill.extent.capacity {
                    fill.step = FillStep::Sync;
                }
            }
            FillStep::Sync if !mutation::is(Mutation::SkipExtentName) => fill.step = FillStep::Name,
            FillStep::Sync | FillStep::Name => {
                let fill = self.fill.take().expect("just seen");
                self.ready.push(fill.extent);
                self.fill_failures = 0;
                return Ok(());
            }
        }
        self.continue_fill(files);
        Ok(())
    }

    /// Whether extents could not be prepared so often that there is no point in trying again.
    pub(crate) fn cannot_be_filled(&self) -> bool {
        self.fill_failures >= FILL_FAILURES_MAX
    }

    /// Tries again to prepare an extent after a refusal.
    pub(crate) fn retry_fill(&mut self) {
        self.is_fill_refused = false;
    }
}

/// What an extent must have for a group of whole blocks: its header too.
fn extent_bytes_for(group_bytes: usize) -> u64 {
    (group_bytes + BLOCK_BYTES) as u64
}

/// Writes a whole group, zeros to its end; returns the CRC of its last entry. Batches of at least `taken_from` bytes are
/// left out: `cuts` gets them with the place in `out` where they belong.
fn encode_group(
    out: &mut [u8],
    header: &GroupHeader,
    entries: &[Pending],
    taken_from: usize,
    cuts: &mut Vec<(usize, Slice)>,
) -> u32 {
    header.encode(out);
    let mut at = GROUP_HEADER_BYTES;
    let mut taken = 0;
    let mut seed = header.seed;
    for (sequence, entry) in (header.first_sequence..).zip(entries) {
        let bytes = entry.body.entry_bytes();
        if let Some(batch) = entry.taken(taken_from) {
            seed = entry.body.encode_apart(&mut out[at..], entry.log, sequence, seed);
            at += bytes - batch.len();
            taken += batch.len();
            cuts.push((at, batch.clone()));
        } else {
            seed = entry.body.encode(&mut out[at..], entry.log, sequence, seed);
            at += bytes;
        }
    }
    assert_eq!(at + taken, header.bytes as usize, "a group has the size that was gathered");
    out[at..].fill(0);
    seed
}

/// The pieces of a write: what was staged, with the batches that were left out in their places, which are counted
/// from `start` on. They are put into `data`, which is empty.
fn interleave(staged: &Slice, start: usize, cuts: Vec<(usize, Slice)>, mut data: Vec<Slice>) -> Vec<Slice> {
    data.reserve(2 * cuts.len() + 1);
    let mut from = 0;
    for (at, batch) in cuts {
        data.push(staged.slice(from..start + at));
        data.push(batch);
        from = start + at;
    }
    if from < staged.len() {
        data.push(staged.slice(from..staged.len()));
    }
    data
}
