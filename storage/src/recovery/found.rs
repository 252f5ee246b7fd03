//! One log while it is put together: what the checkpoint says, then what the journal adds.
//!
//! ```text
//! segment file   0 ............ durable │
//! bytes                         start ──┴──────────── end
//!                               └ from the journal ─┘
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::batch::{self, Batch};
use crate::checkpoint::record::{GenerationV1, Recorded, SegmentV1};
use crate::disk::Disk;
use crate::epochs::Epochs;
use crate::index::{Index, MaxTimestamp, Placed};
use crate::io::BLOCK_BYTES;
use crate::journal::format::{self, Body, Place};
use crate::log::LogId;
use crate::mutation::{self, Mutation};
use crate::producers::{Offsets, Producers};
use crate::recovery::Branch;
use crate::scan::{Goal, search};
use crate::segment::{SEGMENT_BYTES_MAX, Segment};
use crate::store::DECOMPRESSED_BYTES_MAX;
use crate::transactions::{self, Open, Transactions, TransactionsV1};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Bytes of a segment that may be missing until an image brings them: all of them were in extents.
const HOLE_BYTES_MAX: u64 = 256 << 20;
/// Bytes read at a time when an index is made anew.
const SCAN_BYTES: usize = 16 << 20;
/// `index.interval.bytes` of an index that recovery begins; the configuration is not known yet.
const INDEX_INTERVAL_BYTES: u32 = 4096;

/// One segment of a log being put together.
#[derive(Debug)]
pub(super) struct FoundSegment {
    pub(super) segment: Segment,
    /// Where `bytes` start: what lies before is durable in the file.
    pub(super) start: u64,
    pub(super) bytes: Vec<u8>,
    /// The first batch known to start in `bytes`.
    pub(super) batches_from: Option<u64>,
    /// Of the block that `start` lies in, journaled anew after the end was cut there: its bytes from its beginning on, as far
    /// as they have come.
    first_block: Vec<u8>,
    /// Bytes still missing between others: their extent was freed, so an image of them comes later in the journal.
    hole: Option<(u64, u64)>,
    /// Batches that a Reference says are in the file, and no checkpoint: position and size.
    referred: Vec<(u64, u64)>,
    /// Where its end was cut, at the lowest: its index, as far as it was at hand, is of use up to there.
    cut: Option<(u64, Option<Box<Index>>)>,
}

impl FoundSegment {
    fn new(segment: Segment, start: u64) -> Self {
        Self {
            segment,
            start,
            bytes: Vec::new(),
            batches_from: None,
            first_block: Vec::new(),
            hole: None,
            referred: Vec::new(),
            cut: None,
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Lays bytes over what is there. False if they would leave a second hole.
    fn lay(&mut self, position: u64, data: &[u8]) -> bool {
        if self.segment.is_closed {
            // All of it is in its file; if it was compacted since, the batches lie elsewhere now.
            return true;
        }
        self.lay_in_first_block(position, data);
        let skip = self.start.saturating_sub(position) as usize;
        let skip = skip + usize::from(skip > 0 && mutation::is(Mutation::CutOverlapLong));
        let Some(data) = data.get(skip..).filter(|data| !data.is_empty()) else {
            Branch::DurableBytes.reach();
            return true;
        };
        let position = position + skip as u64;
        if position > self.end() {
            if self.hole.is_some() || position - self.end() > HOLE_BYTES_MAX {
                return false;
            }
            Branch::Hole.reach();
            self.hole = Some((self.end(), position));
            self.bytes.resize((position - self.start) as usize, 0);
        }
        let at = (position - self.start) as usize;
        let overlap = data.len().min(self.bytes.len() - at);
        self.bytes[at..at + overlap].copy_from_slice(&data[..overlap]);
        self.bytes.extend_from_slice(&data[overlap..]);
        self.shrink_hole(position, position + data.len() as u64);
        true
    }

    /// Takes bytes before `start`, if they go on in its block: a cut left a part of the block, which is written again with
    /// what was appended behind, and may be torn in the file. Once all of them are there they count, and not the file's.
    fn lay_in_first_block(&mut self, position: u64, data: &[u8]) {
        let block = self.start / BLOCK * BLOCK;
        let next = block + self.first_block.len() as u64;
        let goes_on = position == next || (position < next && self.first_block.is_empty());
        if self.cut.is_none() || block == self.start || !goes_on {
            return;
        }
        let to = (self.start.min(position + data.len() as u64)).saturating_sub(position) as usize;
        self.first_block.extend_from_slice(data.get((next - position) as usize..to).unwrap_or_default());
        if block + self.first_block.len() as u64 == self.start {
            self.first_block.append(&mut self.bytes);
            (self.start, self.bytes) = (block, std::mem::take(&mut self.first_block));
        }
    }

    /// The file is durable up to `durable`: what is known of the bytes before is not needed.
    fn reach(&mut self, durable: u64) {
        if durable <= self.start {
            return;
        }
        self.first_block.clear();
        let surplus = (durable - self.start).min(self.bytes.len() as u64);
        self.bytes.drain(..surplus as usize);
        self.start = durable;
        self.hole = self.hole.map(|(from, to)| (from.max(durable), to)).filter(|(from, to)| from < to);
        self.batches_from = self.batches_from.filter(|&from| from >= durable);
        self.segment.is_named = true;
    }

    /// The segment ends at `position`.
    fn truncate(&mut self, position: u64) {
        self.first_block.clear();
        self.start = self.start.min(position);
        self.bytes.truncate((position - self.start) as usize);
        self.hole = self.hole.map(|(from, to)| (from, to.min(position))).filter(|(from, to)| from < to);
        self.batches_from = self.batches_from.filter(|&from| from < position);
        self.referred.retain(|(at, size)| at + size <= position);
        self.segment.bytes = position;
        self.segment.is_closed = false;
        let (at, mut index) = self.cut.take().unwrap_or_else(|| (position, self.segment.index.take()));
        if let Some(index) = &mut index {
            index.truncate(u32::try_from(position).expect("a segment is smaller than 2 GiB"));
        }
        self.cut = Some((at.min(position), index));
    }

    fn shrink_hole(&mut self, from: u64, to: u64) {
        let Some((start, end)) = self.hole else { return };
        let left = (start, end.min(from.max(start)));
        let right = (start.max(to.min(end)), end);
        self.hole = [left, right].into_iter().find(|(start, end)| start < end);
        Branch::HoleFilled.reach_if(self.hole.is_none());
    }
}

/// One log being put together.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: LogId,
    pub(super) directory: String,
    pub(super) is_deleted: bool,
    pub(super) start_offset: i64,
    pub(super) end_offset: i64,
    pub(super) segments: BTreeMap<i64, FoundSegment>,
    pub(super) epochs: Epochs,
    pub(super) producers: Producers,
    pub(super) transactions: Option<Box<Transactions>>,
    /// Records before this offset were compacted.
    pub(super) clean_offset: i64,
    /// Files that compaction replaced.
    pub(super) obsolete: Vec<GenerationV1>,
    order: u64,
    since: u64,
}

/// Where an entry stands, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) path: &'a Path,
    pub(super) position: u64,
    pub(super) order: u64,
}

impl Found {
    /// A log of which only the journal tells.
    pub(super) fn new(id: LogId) -> Self {
        Self {
            id,
            directory: String::new(),
            is_deleted: false,
            start_offset: 0,
            end_offset: 0,
            segments: BTreeMap::new(),
            epochs: Epochs::new(),
            producers: Producers::new(),
            transactions: None,
            clean_offset: 0,
            obsolete: Vec::new(),
            order: 0,
            since: 0,
        }
    }

    /// A log as a checkpoint recorded it.
    pub(super) fn from_record(record: Recorded, disk: &dyn Disk) -> Result<Self, Error> {
        let Recorded { log: record, compaction, transactions } = record;
        let compaction = compaction.unwrap_or_default();
        let id = LogId(record.id);
        let damaged = |what: String| Error::corrupt(crate::checkpoint::DIRECTORY, 0, format!("log {id}: {what}"));
        let epochs =
            archived(&record.epochs, |it| Epochs::from_snapshot(it).map_err(|e| e.to_string())).map_err(damaged)?;
        let producers = archived_producers(&record.producers).map_err(damaged)?;
        let mut found = Self {
            directory: record.directory,
            is_deleted: record.is_deleted,
            start_offset: record.start_offset,
            end_offset: record.end_offset,
            epochs,
            producers,
            clean_offset: compaction.clean_offset,
            obsolete: compaction.obsolete,
            order: record.order,
            since: record.since,
            ..Self::new(id)
        };
        let last = record.segments.last().map(|segment| segment.base_offset);
        let generations: BTreeMap<i64, u32> =
            compaction.generations.iter().map(|it| (it.base_offset, it.generation)).collect();
        if let Some(base) = generations.keys().find(|&&base| record.segments.iter().all(|it| it.base_offset != base)) {
            return Err(damaged(format!("it has no segment {base}")));
        }
        for recorded in &record.segments {
            if recorded.durable > recorded.bytes || recorded.bytes > SEGMENT_BYTES_MAX {
                return Err(damaged(format!("segment {} has impossible sizes", recorded.base_offset)));
            }
            let mut segment = Segment::from_record(recorded);
            segment.generation = generations.get(&recorded.base_offset).copied().unwrap_or(0);
            if Some(recorded.base_offset) == last || !recorded.index_rest.is_empty() {
                segment.index = read_index(disk, segment.index_path(&found.directory), recorded)?.map(Box::new);
            }
            found.segments.insert(recorded.base_offset, FoundSegment::new(segment, recorded.durable));
        }
        if let Some(transactions) = transactions {
            let loaded = found.load_transactions(transactions, disk)?;
            found.transactions = Some(Box::new(loaded.map_err(damaged)?));
        }
        Ok(found)
    }

    /// The transactions as the checkpoint recorded them, with what their files have.
    fn load_transactions(
        &self,
        record: TransactionsV1,
        disk: &dyn Disk,
    ) -> Result<Result<Transactions, String>, Error> {
        let (mut transactions, on_disk) = match Transactions::from_record(record) {
            Ok(read) => read,
            Err(what) => return Ok(Err(what)),
        };
        for (base, crc) in on_disk {
            let Some(found) = self.segments.get(&base) else { return Ok(Err(format!("it has no segment {base}"))) };
            let path = found.segment.transactions_path(&self.directory);
            let of = transactions.of_mut(base).expect("just read");
            let wanted = of.written as usize * transactions::ENTRY_BYTES;
            let length = disk.length(&path).map_err(Error::io(&path, "examine"))?.unwrap_or(0);
            let mut bytes = vec![0; if length >= wanted as u64 { wanted } else { 0 }];
            if !bytes.is_empty() {
                disk.read_at(&path, 0, &mut bytes).map_err(Error::io(&path, "read"))?;
            }
            of.load(&bytes, crc);
        }
        Ok(Ok(transactions))
    }

    /// Applies an entry of the journal.
    pub(super) fn apply(&mut self, at: At<'_>, body: &Body<&[u8]>) -> Result<(), Error> {
        if Branch::EntryBeforeChange.reach_if(at.order < self.since) {
            return Ok(());
        }
        let is_known = at.order <= self.order;
        let contradicts = |what: String| Error::corrupt(at.path, at.position, what);
        match *body {
            Body::Append { place, max_timestamp_delta, batch } => {
                let batch = Batch::first(batch).expect("replay checked the batch");
                Branch::KnownBatch.reach_if(is_known);
                Branch::BatchTwice.reach_if(!is_known && batch.base_offset() < self.end_offset);
                if !is_known && batch.base_offset() >= self.end_offset {
                    Branch::NewBatch.reach();
                    self.append(place, &batch, max_timestamp_delta).map_err(contradicts)?;
                } else if !is_known && !self.agrees(place, batch.bytes()) {
                    let what = format!("log {} has other records at offset {} already", self.id, batch.base_offset());
                    return Err(contradicts(what));
                }
                self.lay(place, batch.bytes(), true).map_err(contradicts)?;
            }
            Body::Reference { place, durable, batches, image } => {
                self.refer(place, batches, is_known).map_err(contradicts)?;
                self.reach(place, durable, batches, image).map_err(contradicts)?;
            }
            Body::TailImage { place, bytes, .. } => {
                self.lay_image(place, bytes).map_err(contradicts)?;
            }
            // A record that knows of it tells of what was left, and what is journaled after it is all that counts.
            Body::Truncate { .. } if is_known => {}
            Body::Truncate { place, start_offset, end_offset, open, producers } => {
                self.truncate(place, start_offset, end_offset, Open::decode(open), producers).map_err(contradicts)?;
            }
            Body::LogStart { start_offset } => {
                if Branch::NewLogStart.reach_if(start_offset > self.start_offset) {
                    self.start_offset = start_offset;
                    self.epochs.truncate_from_start(start_offset);
                }
            }
            Body::Delete => {
                Branch::Deleted.reach();
                self.is_deleted = true;
            }
            Body::Noop => {}
            Body::Directory { name } => {
                self.directory =
                    String::from_utf8(name.to_vec()).map_err(|_| contradicts("a directory's name".into()))?;
            }
        }
        Ok(())
    }

    /// Takes note of a batch that the checkpoint does not know.
    fn append(&mut self, place: Place, batch: &Batch<'_>, max_timestamp_delta: u32) -> Result<(), String> {
        let (base_offset, last_offset) = (batch.base_offset(), batch.last_offset());
        if base_offset != self.end_offset {
            return Err(format!("log {} goes on at offset {base_offset} instead of {}", self.id, self.end_offset));
        }
        let max =
            MaxTimestamp { timestamp: batch.max_timestamp(), offset: base_offset + i64::from(max_timestamp_delta) };
        if place.position == 0 && !self.segments.contains_key(&place.segment) {
            Branch::NewSegment.reach();
            let created_ms = batch.max_timestamp();
            let segment = Segment::new(place.segment, INDEX_INTERVAL_BYTES, created_ms);
            self.segments.insert(place.segment, FoundSegment::new(segment, 0));
            if let Some(transactions) = &mut self.transactions {
                transactions.begin_segment(place.segment);
            }
        }
        let id = self.id;
        let found = self.segments.get_mut(&place.segment);
        let found = found.ok_or_else(|| format!("log {id} has no segment {}", place.segment))?;
        let position = found.segment.bytes;
        if place.position != position {
            return Err(format!("log {id} goes on at byte {} of its segment instead of {position}", place.position));
        }
        let placed = Placed {
            position: u32::try_from(place.position).map_err(|_| "a segment is too large")?,
            size_in_bytes: batch.announced_bytes() as u32,
            base_offset,
            last_offset,
            max,
        };
        found.segment.append(placed);
        self.epochs.append(batch.leader_epoch(), base_offset);
        if let Some(producer) = batch.producer().filter(|_| !batch.attributes().is_control()) {
            let offsets = Offsets { base: base_offset, last: last_offset };
            self.producers.append(producer, offsets, batch.max_timestamp(), batch.max_timestamp());
        }
        if batch.attributes().is_transactional() {
            let transactions = self.transactions.get_or_insert_default();
            transactions.append(batch, place.segment, base_offset, base_offset);
        }
        self.end_offset = last_offset + 1;
        Ok(())
    }

    /// Takes note of the batches of a Reference that the checkpoint does not know.
    fn refer(&mut self, place: Place, batches: &[u8], is_known: bool) -> Result<(), String> {
        if is_known {
            Branch::KnownReference.reach()
        } else {
            Branch::NewReference.reach()
        }
        let mut position = place.position;
        for (batch, max_timestamp_delta) in format::referred(batches) {
            let size = batch.announced_bytes() as u64;
            if !is_known && batch.base_offset() >= self.end_offset {
                self.append(Place { position, ..place }, &batch, max_timestamp_delta)?;
                let found = self.segments.get_mut(&place.segment).expect("something was appended to it");
                found.referred.push((position, size));
            }
            position += size;
        }
        Ok(())
    }

    /// The segment's file is durable up to `durable`, and goes on with the image.
    fn reach(&mut self, place: Place, durable: u64, batches: &[u8], image: &[u8]) -> Result<(), String> {
        // Segments that the checkpoint does not have any more were removed by retention.
        let Some(found) = self.segments.get_mut(&place.segment).filter(|found| !found.segment.is_closed) else {
            return Ok(());
        };
        found.reach(durable);
        self.lay(Place { position: durable, ..place }, image, false)?;
        let mut position = durable + image.len() as u64;
        for (batch, _) in format::referred(batches).rev() {
            position -= batch.announced_bytes() as u64;
            self.starts_batch(Place { position, ..place });
        }
        Ok(())
    }

    /// Whether a batch that the log had when the checkpoint was written, or that was journaled before, is the one
    /// there, as far as its bytes are at hand. A log that changes its journal has batches twice; one that waited for the
    /// write of another can be known to the checkpoint before it is journaled.
    fn agrees(&self, place: Place, data: &[u8]) -> bool {
        let Some(found) = self.segments.get(&place.segment) else { return true };
        let end = place.position + data.len() as u64;
        // What is in whole blocks of the file is journaled no more: it comes from an earlier use of the extent.
        if end > found.segment.bytes || end <= found.start / BLOCK * BLOCK {
            return false;
        }
        let (from, to) = (place.position.max(found.start), end.min(found.end()));
        let is_in_hole = found.hole.is_some_and(|(start, end)| start < to && from < end);
        if from >= to || is_in_hole {
            return true;
        }
        found.bytes[(from - found.start) as usize..(to - found.start) as usize]
            == data[(from - place.position) as usize..(to - place.position) as usize]
    }

    fn lay(&mut self, place: Place, data: &[u8], starts_batch: bool) -> Result<(), String> {
        // Segments that the checkpoint does not have any more were removed by retention.
        let Some(found) = self.segments.get_mut(&place.segment) else {
            Branch::EntryOfRemovedSegment.reach();
            return Ok(());
        };
        if !found.lay(place.position, data) {
            return Err(format!("log {} lacks bytes {} to {} of its segment", self.id, found.end(), place.position));
        }
        if starts_batch {
            self.starts_batch(place);
        }
        Ok(())
    }

    /// A batch starts there.
    fn starts_batch(&mut self, place: Place) {
        let Some(found) = self.segments.get_mut(&place.segment) else { return };
        if place.position >= found.start {
            found.batches_from = Some(found.batches_from.map_or(place.position, |from| from.min(place.position)));
        }
    }

    fn lay_image(&mut self, place: Place, image: &[u8]) -> Result<(), String> {
        if let Some(found) = self.segments.get_mut(&place.segment) {
            let reaches = place.position + image.len() as u64;
            // Of a closed segment nothing is written again.
            let is_padded_block = !found.segment.is_closed
                && !found.start.is_multiple_of(BLOCK)
                && place.position == found.start / BLOCK * BLOCK;
            if is_padded_block && reaches >= found.start {
                Branch::ImageOfPaddedBlock.reach();
                // The block on disk may be torn by the write that came after this image.
                let mut bytes = image[..(found.start - place.position) as usize].to_vec();
                bytes.append(&mut found.bytes);
                (found.start, found.bytes) = (place.position, bytes);
            }
        }
        self.lay(place, image, false)
    }

    /// Takes the log's end back to `place`, or starts it anew there.
    fn truncate(
        &mut self,
        place: Place,
        start_offset: i64,
        end_offset: i64,
        open: Open,
        producers: &[u8],
    ) -> Result<(), String> {
        let lost = Producers::decode(producers).map_err(|what| format!("log {}: {what}", self.id))?;
        let is_emptied = start_offset == end_offset;
        if end_offset > self.end_offset && !is_emptied {
            // Entries before it were in the other journal, which a power cut took.
            return Ok(());
        }
        let is_cut = |base: i64| base > place.segment || is_emptied;
        let cut = self.segments.values().map(|found| found.segment.files()).filter(|files| is_cut(files.base_offset));
        self.obsolete.extend(cut);
        self.segments.retain(|&base, _| !is_cut(base));
        self.clean_offset = self.clean_offset.min(end_offset);
        if let Some(found) = self.segments.get_mut(&place.segment) {
            found.truncate(place.position);
        }
        if let Some(transactions) = &mut self.transactions {
            if is_emptied { transactions.clear() } else { transactions.truncate(place.segment, end_offset, open) }
        }
        self.start_offset = self.start_offset.max(start_offset);
        self.end_offset = end_offset;
        self.epochs.truncate_from_end(end_offset);
        self.producers.truncate(end_offset);
        self.producers.restore(lost);
        Ok(())
    }

    /// Checks that nothing is missing, and completes the indexes.
    pub(super) fn complete(&mut self, disk: &dyn Disk) -> Result<(), Error> {
        let last = self.segments.last_key_value().map(|(&base, _)| base);
        let directory = self.directory.clone();
        let start_offset = self.start_offset;
        let bases = self.segments.keys().copied();
        let mut next_bases: BTreeMap<i64, i64> = bases.clone().zip(bases.skip(1)).collect();
        for (&base, found) in &mut self.segments {
            let path = found.segment.path(&directory);
            if found.end() < found.segment.bytes {
                let what =
                    format!("bytes up to {} were durable, and neither file nor journal has them", found.segment.bytes);
                return Err(Error::corrupt(path, found.end(), what));
            }
            if let Some((from, to)) = found.hole {
                return Err(Error::corrupt(path, from, format!("neither file nor journal has the bytes up to {to}")));
            }
            // A batch torn from the journal's end may have left bytes that belong to nothing.
            found.bytes.truncate((found.segment.bytes - found.start) as usize);
            if Some(base) == last || found.segment.index.is_some() || found.cut.is_some() {
                complete_index(disk, &directory, found)?;
            }
            // What lies below the start may be removed already.
            if next_bases.remove(&base).is_none_or(|next| next > start_offset) {
                check_referred(disk, &path, found)?;
            }
        }
        self.complete_transactions(disk)
    }

    /// Makes the indexes of aborted transactions anew whose files are missing or damaged.
    fn complete_transactions(&mut self, disk: &dyn Disk) -> Result<(), Error> {
        let Some(mut transactions) = self.transactions.take() else { return Ok(()) };
        let end_offset = self.end_offset;
        for (base, of) in transactions.segments_mut().filter(|(_, of)| of.is_damaged) {
            let next = self.segments.range(base + 1..).next().map_or(end_offset, |(&next, _)| next);
            let Some(found) = self.segments.get(&base) else { continue };
            let path = found.segment.path(&self.directory);
            tracing::warn!(segment = %path.display(), "making the index of aborted transactions anew from its segment");
            let mut rebuild = transactions::Rebuild::new(&of.open, found.segment.generation > 0);
            // What lies below the start may be removed already, and nobody asks for it.
            if next > self.start_offset {
                walk(disk, &path, found, |batch| rebuild.take(batch))?;
            }
            (of.aborted, of.written, of.is_damaged) = (rebuild.aborted, 0, false);
        }
        self.transactions = Some(transactions);
        Ok(())
    }

    /// Why the index file of a closed segment cannot be used, if it cannot.
    pub(super) fn index_fault(&self, disk: &dyn Disk, base: i64) -> Option<String> {
        let segment = &self.segments[&base].segment;
        if !segment.is_closed || segment.index.is_some() || segment.index_bytes == 0 {
            return None;
        }
        let mut bytes = vec![0; segment.index_bytes as usize];
        match disk.read_at(&segment.index_path(&self.directory), 0, &mut bytes) {
            Ok(length) => Index::parse(&bytes[..length], base).err().map(|error| error.to_string()),
            Err(error) => Some(format!("the index cannot be read: {error}")),
        }
    }

    /// Makes the index of a closed segment anew from its segment.
    pub(super) fn rebuild_index(&mut self, disk: &dyn Disk, base: i64) -> Result<(), Error> {
        let found = self.segments.get_mut(&base).expect("the log has the segment");
        let before = (found.segment.index_bytes, found.segment.index_entries);
        (found.segment.index_bytes, found.segment.index_entries) = (0, 0);
        let rebuilt = complete_index(disk, &self.directory, found);
        if rebuilt.is_err() {
            (found.segment.index_bytes, found.segment.index_entries) = before;
        }
        rebuilt
    }

    /// Bytes `from..to` of a segment, from file and journal.
    pub(super) fn read(&self, disk: &dyn Disk, base: i64, from: u64, to: u64) -> Result<Vec<u8>, Error> {
        let found = &self.segments[&base];
        read_range(disk, &found.segment.path(&self.directory), found, from, to)
    }
}

fn read_range(disk: &dyn Disk, path: &Path, found: &FoundSegment, from: u64, to: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; (to - from) as usize];
    let on_disk = found.start.clamp(from, to);
    let wanted = (on_disk - from) as usize;
    if wanted > 0 {
        let read = disk.read_at(path, from, &mut bytes[..wanted]).map_err(Error::io(path, "read"))?;
        if read < wanted {
            return Err(Error::corrupt(path, from + read as u64, "the file ends before its durable length"));
        }
    }
    if on_disk < to {
        let in_memory = (on_disk - found.start) as usize;
        bytes[wanted..].copy_from_slice(&found.bytes[in_memory..in_memory + (to - on_disk) as usize]);
    }
    Ok(bytes)
}

/// Shows each batch of a segment, from file and journal.
fn walk(disk: &dyn Disk, path: &Path, found: &FoundSegment, mut show: impl FnMut(&Batch<'_>)) -> Result<(), Error> {
    let mut from = 0;
    while from < found.segment.bytes {
        let to = found.segment.bytes.min(from + SCAN_BYTES as u64);
        let bytes = read_range(disk, path, found, from, to)?;
        let mut batches = batch::batches(&bytes);
        let mut position = 0;
        while let Some(Ok(batch)) = batches.next() {
            show(&batch);
            position = batches.position();
        }
        if position == 0 {
            return Err(Error::corrupt(path, from, "no record batch starts there"));
        }
        from += position as u64;
    }
    Ok(())
}

/// Reads back what only a Reference says is in the file: a disk that lost it must not go unnoticed.
fn check_referred(disk: &dyn Disk, path: &Path, found: &mut FoundSegment) -> Result<(), Error> {
    for (position, size) in std::mem::take(&mut found.referred) {
        Branch::ReferenceChecked.reach();
        let bytes = read_range(disk, path, found, position, position + size)?;
        if !Batch::first(&bytes)
            .is_ok_and(|batch| batch.bytes().len() == bytes.len() && batch.crc() == batch.computed_crc())
        {
            return Err(Error::corrupt(path, position, "a batch that was durable there is damaged"));
        }
    }
    Ok(())
}

/// Indexes whatever the index lacks, from the segment itself; all of it if the index file was damaged.
fn complete_index(disk: &dyn Disk, directory: &str, found: &mut FoundSegment) -> Result<(), Error> {
    let base = found.segment.base_offset;
    let path = found.segment.path(directory);
    let is_cut = found.cut.is_some();
    let kept = match found.cut.take() {
        None => found.segment.index.take(),
        Some((_, Some(index))) => Some(index),
        Some((position, None)) => read_cut_index(disk, directory, &found.segment, position)?,
    };
    let is_kept = kept.is_some();
    let mut index = kept.unwrap_or_else(|| Box::new(Index::new(base, INDEX_INTERVAL_BYTES)));
    let kept_entries = index.len() as u32;
    while u64::from(index.end().position) < found.segment.bytes {
        Branch::IndexCompleted.reach();
        let from = u64::from(index.end().position);
        let to = found.segment.bytes.min(from + SCAN_BYTES as u64);
        let bytes = read_range(disk, &path, found, from, to)?;
        let mut batches = batch::batches(&bytes);
        let mut position = 0;
        while let Some(Ok(batch)) = batches.next() {
            index.append(placed(&batch, from + position as u64));
            position = batches.position();
        }
        if u64::from(index.end().position) == from {
            return Err(Error::corrupt(path, from, "no record batch starts there"));
        }
    }
    if is_cut {
        found.segment.index_entries = found.segment.index_entries.min(kept_entries);
        found.segment.truncate(index, is_kept);
    } else {
        if !is_kept {
            // Nothing of the file is of use.
            (found.segment.index_bytes, found.segment.index_entries) = (0, 0);
        }
        found.segment.index = Some(index);
    }
    Ok(())
}

fn placed(batch: &Batch<'_>, position: u64) -> Placed {
    let located = search(batch, Goal::Maximum, DECOMPRESSED_BYTES_MAX).ok().flatten();
    let offset = located.map_or(batch.base_offset(), |located| located.offset);
    Placed {
        position: position as u32,
        size_in_bytes: batch.size_in_bytes() as u32,
        base_offset: batch.base_offset(),
        last_offset: batch.last_offset(),
        max: MaxTimestamp { timestamp: batch.max_timestamp(), offset },
    }
}

/// Reads the index of a closed segment that was cut at `position`; none if it must be made anew.
fn read_cut_index(
    disk: &dyn Disk,
    directory: &str,
    segment: &Segment,
    position: u64,
) -> Result<Option<Box<Index>>, Error> {
    let record = segment.record(segment.bytes, false);
    let mut index = read_index(disk, segment.index_path(directory), &record)?;
    if let Some(index) = &mut index {
        index.truncate(u32::try_from(position).expect("a segment is smaller than 2 GiB"));
    }
    Ok(index.map(Box::new))
}

/// Reads a segment's index as the checkpoint recorded it; none if it must be made anew.
fn read_index(disk: &dyn Disk, path: PathBuf, recorded: &SegmentV1) -> Result<Option<Index>, Error> {
    let mut bytes = Vec::new();
    if recorded.index_bytes > 0 {
        let length = disk.length(&path).map_err(Error::io(&path, "examine"))?.unwrap_or(0);
        if length < recorded.index_bytes {
            Branch::IndexMadeAnew.reach();
            return Ok(None);
        }
        bytes.resize(recorded.index_bytes as usize, 0);
        disk.read_at(&path, 0, &mut bytes).map_err(Error::io(&path, "read"))?;
    }
    bytes.extend_from_slice(&recorded.index_rest);
    match Index::parse(&bytes, recorded.base_offset) {
        Ok(index) => {
            Branch::SoundIndex.reach_if(recorded.index_bytes > 0);
            Ok(Some(index))
        }
        Err(error) => {
            Branch::IndexMadeAnew.reach();
            tracing::warn!(file = %path.display(), %error, "making the index anew from its segment");
            Ok(None)
        }
    }
}

fn archived<T>(
    snapshot: &crate::epochs::SnapshotV1,
    read: impl FnOnce(&crate::epochs::ArchivedSnapshotV1) -> Result<T, String>,
) -> Result<T, String> {
    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(snapshot).map_err(|error| error.to_string())?;
    let archived = rkyv::access::<crate::epochs::ArchivedSnapshotV1, rkyv::rancor::Error>(&bytes);
    read(archived.map_err(|error| error.to_string())?)
}

fn archived_producers(snapshot: &crate::producers::SnapshotV1) -> Result<Producers, String> {
    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(snapshot).map_err(|error| error.to_string())?;
    let archived = rkyv::access::<crate::producers::ArchivedSnapshotV1, rkyv::rancor::Error>(&bytes);
    Producers::from_snapshot(archived.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
}
