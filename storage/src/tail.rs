//! The end of one segment in memory: what is not durable in the segment's file, and what still serves reads.
//!
//! ```text
//! file position   0        start                  durable             end
//!                 │ on disk │ in memory and on disk │ in memory, journal │
//!                           ├──── chunk ────┬──── chunk ────┬─── chunk ──┤
//! ```
//!
//! - A chunk starts at a block's start, so that memory and file are aligned alike and whole blocks are written
//!   from where they lie.
//! - A batch lies within one chunk. Where the next batch does not fit, the next chunk begins with a copy of the
//!   block that the last one left partial.
//! - `durable` is a block's start, or the end: then the last block was written padded.

use std::collections::VecDeque;

use crate::batch::Batch;
use crate::buffer::{Chunk, Pool, Slice};
use crate::io::BLOCK_BYTES;

const BLOCK: u64 = BLOCK_BYTES as u64;
/// The smallest region a tail takes: what an almost idle log costs.
const CHUNK_BYTES_MIN: usize = BLOCK_BYTES;
/// The largest region a tail takes on its own account; a larger batch gets what it needs.
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Bytes between two marks: a read looks at the headers of no more than these.
const MARK_BYTES: u64 = 1024;

/// Where a batch starts.
#[derive(Debug, Clone, Copy)]
struct Mark {
    offset: i64,
    position: u64,
}

/// Bytes of a segment, after the position they have in its file.
pub(crate) type Placed = (u64, Slice);

#[derive(Debug)]
struct Part {
    /// File position of the chunk's first byte, a block's start.
    start: u64,
    /// File position of the first batch that starts in this chunk.
    batches_from: u64,
    chunk: Chunk,
    /// Where the segment was cut within this chunk. What lies behind may still be read elsewhere, so nothing more is
    /// written to the chunk.
    cut: Option<u64>,
}

impl Part {
    fn end(&self) -> u64 {
        self.cut.unwrap_or(self.start + self.chunk.filled() as u64)
    }

    fn spare(&self) -> usize {
        if self.cut.is_some() { 0 } else { self.chunk.spare() }
    }

    fn slice(&self, from: u64, to: u64) -> Slice {
        self.chunk.slice((from - self.start) as usize..(to - self.start) as usize)
    }
}

/// One segment's end in memory. Owned by the shard that owns the log.
#[derive(Debug)]
pub(crate) struct Tail {
    parts: VecDeque<Part>,
    marks: VecDeque<Mark>,
    durable: u64,
    end: u64,
    chunk_bytes: usize,
}

/// What a read wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) offset: i64,
    pub(crate) limit_offset: i64,
    pub(crate) max_bytes: usize,
    pub(crate) at_least_one: bool,
}

/// The batches that a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) bytes: usize,
    pub(crate) next_offset: i64,
    /// Where the batch after them starts.
    pub(crate) next_position: u64,
}

impl Tail {
    /// Of a segment that has `end` bytes, all of them durable in its file.
    pub(crate) fn new(end: u64) -> Self {
        Self { parts: VecDeque::new(), marks: VecDeque::new(), durable: end, end, chunk_bytes: CHUNK_BYTES_MIN }
    }

    /// Of a segment that is durable in its file up to `durable`, a block's start, with the bytes after that. The
    /// first batch known to start in them starts at `batches_from`. None if the pool has no room for them.
    pub(crate) fn with_image(durable: u64, image: &[u8], batches_from: u64, pool: &Pool) -> Option<Self> {
        assert_eq!(durable % BLOCK, 0, "an image starts at a block's start");
        let mut tail = Self::new(durable);
        if !image.is_empty() {
            let mut chunk = pool.allocate(image.len())?.into_chunk();
            chunk.append(image);
            tail.parts.push_back(Part { start: durable, batches_from, chunk, cut: None });
            tail.end = durable + image.len() as u64;
        }
        Some(tail)
    }

    /// Size of the segment.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Up to where the segment's file is durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// First byte of the segment that is in memory; the end if none is.
    pub(crate) fn start(&self) -> u64 {
        self.parts.front().map_or(self.end, |part| part.start)
    }

    /// Whether everything is durable in the segment's file.
    pub(crate) fn is_durable(&self) -> bool {
        self.durable == self.end
    }

    /// Bytes of whole blocks that could be written.
    pub(crate) fn whole_blocks(&self) -> u64 {
        (self.end / BLOCK * BLOCK).saturating_sub(self.durable)
    }

    /// Whether an append must wait for the last block: it is partial, and only on disk.
    pub(crate) fn needs_last_block(&self) -> bool {
        self.parts.is_empty() && !self.end.is_multiple_of(BLOCK)
    }

    /// Puts the last block's bytes, read from disk, back into memory. Whether the pool had room.
    pub(crate) fn load_last_block(&mut self, bytes: &[u8], pool: &Pool) -> bool {
        assert!(self.needs_last_block(), "nobody else loads it");
        let start = self.end / BLOCK * BLOCK;
        assert_eq!(bytes.len() as u64, self.end - start, "the block's part before the end");
        let Some(region) = pool.allocate(bytes.len()) else { return false };
        let mut chunk = region.into_chunk();
        chunk.append(bytes);
        self.parts.push_back(Part { start, batches_from: self.end, chunk, cut: None });
        true
    }

    /// If the last block was written padded: where it starts, and its bytes. From now on it counts as not
    /// durable, because its next write may tear it; the caller journals this image first.
    pub(crate) fn reopen_last_block(&mut self) -> Option<Placed> {
        if self.durable.is_multiple_of(BLOCK) {
            return None;
        }
        assert!(self.is_durable(), "only the last block is ever written padded");
        self.durable = self.end / BLOCK * BLOCK;
        Some(self.partial_block().expect("it is partial"))
    }

    /// The last block if it is partial: where it starts, and its bytes.
    pub(crate) fn partial_block(&self) -> Option<Placed> {
        let start = self.end / BLOCK * BLOCK;
        let part = self.parts.back().filter(|_| start < self.end)?;
        Some((start, part.slice(start, self.end)))
    }

    /// Room for a batch of `bytes` at the end, in one piece. None if the pool is spent.
    pub(crate) fn reserve(&mut self, bytes: usize, pool: &Pool) -> Option<&mut [u8]> {
        if self.parts.back().is_none_or(|part| part.spare() < bytes) {
            self.grow(bytes, pool)?;
        }
        let part = self.parts.back_mut().expect("just made sure of");
        Some(&mut part.chunk.spare_mut()[..bytes])
    }

    fn grow(&mut self, bytes: usize, pool: &Pool) -> Option<()> {
        assert!(!self.needs_last_block(), "the last block is loaded before an append");
        let carried = self.partial_block();
        let carried_bytes = carried.as_ref().map_or(0, |(_, bytes)| bytes.len());
        let needed = carried_bytes + bytes;
        let region = pool.allocate(needed.max(self.chunk_bytes)).or_else(|| pool.allocate(needed))?;
        let mut chunk = region.into_chunk();
        if let Some((_, bytes)) = carried {
            chunk.append(&bytes);
        }
        self.chunk_bytes = (self.chunk_bytes * 4).min(CHUNK_BYTES_MAX);
        let start = self.end - carried_bytes as u64;
        self.parts.push_back(Part { start, batches_from: self.end, chunk, cut: None });
        Some(())
    }

    /// Makes the batch that was written to the reserved room part of the segment.
    pub(crate) fn publish(&mut self, base_offset: i64, bytes: usize) -> Slice {
        let position = self.end;
        let part = self.parts.back_mut().expect("reserved before");
        part.chunk.publish(bytes);
        self.end += bytes as u64;
        assert_eq!(part.end(), self.end, "the last chunk ends where the segment does");
        let batch = part.slice(position, self.end);
        self.mark(base_offset, position);
        batch
    }

    /// Notes that a batch starts at `position`.
    pub(crate) fn mark(&mut self, offset: i64, position: u64) {
        if self.marks.back().is_none_or(|mark| position >= mark.position + MARK_BYTES) {
            self.marks.push_back(Mark { offset, position });
        }
    }

    /// The last place known, in memory, where a batch starts that is not after `offset`.
    pub(crate) fn locate(&self, offset: i64) -> Option<u64> {
        let after = self.marks.partition_point(|mark| mark.offset <= offset);
        after.checked_sub(1).map(|at| self.marks[at].position)
    }

    /// Whether a batch that starts at `position` lies in memory whole.
    pub(crate) fn has_batch_at(&self, position: u64) -> bool {
        self.parts.front().is_some_and(|part| part.batches_from <= position)
    }

    /// What is not durable in the file, to be journaled anew: the rest of a batch that starts on disk, then whole
    /// batches; each with its position.
    pub(crate) fn undurable(&self) -> (Option<Placed>, Vec<Placed>) {
        let mut batches = Vec::new();
        for part in self.parts.iter().filter(|part| part.end() > self.durable) {
            let mut position = part.batches_from;
            while position < part.end() {
                let rest = part.slice(position, part.end());
                let size = Batch::first(&rest).expect("a tail holds whole batches").size_in_bytes();
                if position + size as u64 > self.durable {
                    batches.push((position, rest.slice(0..size)));
                }
                position += size as u64;
            }
        }
        let first = self.parts.front().filter(|part| part.batches_from > self.durable);
        (first.map(|part| (part.start, part.slice(part.start, part.batches_from))), batches)
    }

    /// The first block that is not durable, as far as it is filled: where it starts, and its bytes.
    pub(crate) fn first_undurable_block(&self) -> Option<Placed> {
        let start = self.durable / BLOCK * BLOCK;
        if self.is_durable() {
            return None;
        }
        let after = self.parts.partition_point(|part| part.start <= start);
        let part = &self.parts[after - 1];
        Some((start, part.slice(start, part.end().min(start + BLOCK))))
    }

    /// Reads batches, starting the search at `position`, where a batch starts that lies in memory. Nothing if
    /// no batch is below the limit and within the size.
    pub(crate) fn read(&self, mut position: u64, wanted: Wanted, out: &mut Vec<Slice>) -> Option<Found> {
        let mut found: Option<Found> = None;
        while position < self.end {
            let after = self.parts.partition_point(|part| part.batches_from <= position);
            let part = &self.parts[after - 1];
            let bytes = part.slice(position, part.end());
            let run = match found {
                None => take_batches(&bytes, wanted),
                Some(so_far) => {
                    let max_bytes = wanted.max_bytes.saturating_sub(so_far.bytes);
                    take_batches(&bytes, Wanted { max_bytes, at_least_one: false, ..wanted })
                }
            };
            if run.end > run.start {
                out.push(bytes.slice(run.start..run.end));
                found = Some(Found {
                    bytes: found.map_or(0, |so_far| so_far.bytes) + run.end - run.start,
                    next_offset: run.next_offset,
                    next_position: position + run.end as u64,
                });
            }
            if run.is_cut {
                break;
            }
            position = part.end();
        }
        found
    }

    /// Copies the bytes from `from` on, all of them in memory, to `out`; says how many there were.
    pub(crate) fn copy(&self, from: u64, out: &mut [u8]) -> usize {
        let mut copied = 0;
        while copied < out.len() && from + (copied as u64) < self.end {
            let position = from + copied as u64;
            let after = self.parts.partition_point(|part| part.start <= position);
            let part = &self.parts[after - 1];
            let bytes = part.slice(position, part.end());
            let taken = bytes.len().min(out.len() - copied);
            out[copied..copied + taken].copy_from_slice(&bytes[..taken]);
            copied += taken;
        }
        copied
    }

    /// The blocks before `last`, a block's start, that are not durable yet: position and memory, ascending.
    pub(crate) fn undurable_blocks_to(&self, last: u64) -> Vec<Placed> {
        let mut blocks = Vec::new();
        let mut position = self.durable;
        while position < last {
            let after = self.parts.partition_point(|part| part.start <= position);
            let part = &self.parts[after - 1];
            let to = (part.end() / BLOCK * BLOCK).min(last);
            blocks.push((position, part.slice(position, to)));
            position = to;
        }
        blocks
    }

    /// Bytes of one block, from its start on.
    pub(crate) fn slice(&self, from: u64, to: u64) -> Slice {
        let after = self.parts.partition_point(|part| part.start <= from);
        self.parts[after - 1].slice(from, to)
    }

    /// The file is durable up to `position`.
    pub(crate) fn set_durable(&mut self, position: u64) {
        assert!(self.durable <= position && position <= self.end, "the durable part grows within the segment");
        self.durable = position;
    }

    /// The segment ends at `position` from now on, where a batch ended before. Chunks that others read are left as they
    /// are. If the file is durable beyond, its last block counts as one that was written padded.
    pub(crate) fn truncate(&mut self, position: u64) {
        assert!(position <= self.end, "a segment is cut within its bytes");
        if position == self.end {
            return;
        }
        self.end = position;
        self.durable = self.durable.min(position);
        // A block that a chunk begins with may lie in the chunk before as well.
        while let Some(back) = self.parts.len().checked_sub(1) {
            let is_before = back.checked_sub(1).is_some_and(|before| self.parts[before].end() >= position);
            if !is_before && self.parts[back].start < position {
                break;
            }
            self.parts.pop_back();
        }
        if let Some(part) = self.parts.back_mut() {
            part.cut = Some(position);
            part.batches_from = part.batches_from.min(position);
        }
        while self.marks.back().is_some_and(|mark| mark.position >= position) {
            self.marks.pop_back();
        }
    }

    /// Gives up the memory of what is durable in the file.
    pub(crate) fn release(&mut self) {
        while self.parts.front().is_some_and(|part| part.end() <= self.durable) {
            self.parts.pop_front();
        }
        let start = self.parts.front().map_or(self.end, |part| part.batches_from);
        while self.marks.front().is_some_and(|mark| mark.position < start) {
            self.marks.pop_front();
        }
        if self.parts.is_empty() {
            self.marks = VecDeque::new();
            self.chunk_bytes = CHUNK_BYTES_MIN;
        }
    }
}

/// A run of whole batches within some bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) next_offset: i64,
    /// Whether limit or size ended it, rather than the bytes.
    pub(crate) is_cut: bool,
}

/// Finds the run of batches that answers `wanted` in bytes that start with a batch. The last one may be cut.
pub(crate) fn take_batches(bytes: &[u8], wanted: Wanted) -> Run {
    let mut run = Run { start: 0, end: 0, next_offset: wanted.offset, is_cut: false };
    while let Ok(batch) = Batch::first(&bytes[run.end..]) {
        let size = batch.size_in_bytes();
        if batch.next_offset() <= wanted.offset {
            run = Run { start: run.end + size, end: run.end + size, ..run };
            continue;
        }
        let is_first = run.start == run.end;
        let fits = run.end + size - run.start <= wanted.max_bytes || (is_first && wanted.at_least_one);
        if batch.last_offset() >= wanted.limit_offset || !fits {
            run.is_cut = true;
            break;
        }
        run.end += size;
        run.next_offset = batch.next_offset();
    }
    run
}
