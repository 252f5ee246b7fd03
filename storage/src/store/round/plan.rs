//! What a round writes: the directories it makes, the blocks of tails it brings to segments, lengths and syncs.

use std::sync::Arc;

use super::{Drained, RoundOp};
use crate::buffer::Slice;
use crate::io::{BLOCK_BYTES, Durability, Failure, Op, OpenMode};
use crate::log::Slot;
use crate::log::state::Log;
use crate::mutation::{self, Mutation};
use crate::segment::log_directory;
use crate::store::Store;
use crate::store::files::{FileKey, FileOp};
use crate::tail::Placed;
use crate::transactions::ENTRY_BYTES;

/// Bytes of one write to a segment.
const WRITE_BYTES_MAX: usize = 4 << 20;
/// From so many files on, one sync of the whole file system is cheaper, where it can be had.
const SYNC_ALL_FILES: usize = 32;
/// Entries that an active segment's index may lack on disk before it gets a chunk of them.
const INDEX_ENTRIES_UNWRITTEN_MAX: usize = 128;

impl Store {
    pub(super) fn plan_directories(&mut self) {
        for slot in self.round_slots() {
            let log = self.log(slot);
            let has_writes = log.tails.iter().any(|it| self.drain_to(log, it.base_offset) > it.tail.durable());
            if !log.is_directory_made && has_writes {
                let path = log_directory(&log.directory);
                self.queue(RoundOp::Name(Op::CreateDirectory { path }));
                self.rounds.active.as_mut().expect("a round is under way").made.insert(slot);
            }
        }
    }

    /// Up to where this round writes a segment: whole blocks, or everything of a closed one, of one that was
    /// copied forward before, or when memory is spent.
    fn drain_to(&self, log: &Log, base_offset: i64) -> u64 {
        let round = self.rounds.active.as_ref().expect("a round is under way");
        let tail = log.tail_of(base_offset).expect("asked for a tail there is");
        let is_closed = log.segments.back().is_some_and(|active| active.base_offset != base_offset);
        let is_retiring = round.retire.iter().any(Option::is_some);
        if let Some(position) = log.first_held(base_offset) {
            // What the log holds is left to a large write: the journal is to tell of it before the file does.
            return (position / BLOCK_BYTES as u64 * BLOCK_BYTES as u64).max(tail.durable());
        }
        let is_written_whole = round.is_memory_spent
            || round.is_carried_to_segments
            || round.is_cache_distrusted
            || round.quiet.contains(&log.id);
        if is_closed || (log.is_carried && is_retiring) || is_written_whole {
            tail.end()
        } else {
            tail.durable() + tail.whole_blocks()
        }
    }

    pub(super) fn plan_writes(&mut self) {
        for slot in self.round_slots() {
            let log = self.log(slot);
            let round = self.rounds.active.as_ref().expect("a round is under way");
            if !log.is_directory_made && !round.made.contains(&slot) {
                // It had nothing to write when the directories were made. The next round takes it.
                continue;
            }
            let bases: Vec<i64> = log.tails.iter().map(|it| it.base_offset).collect();
            for base_offset in bases {
                self.plan_segment(slot, base_offset);
            }
        }
    }

    fn plan_segment(&mut self, slot: Slot, base_offset: i64) {
        let log = self.log(slot);
        let is_active = log.segments.back().is_some_and(|active| active.base_offset == base_offset);
        let Some(at) = log.segment_index(base_offset) else { return };
        let tail = log.tail_of(base_offset).expect("asked for a tail there is");
        if log.partial_reads > 0 && self.drain_to(log, base_offset) > tail.durable() {
            // A read of the block that would be written is in flight: another round frees the extents.
            self.rounds.rolled.insert(slot);
            self.leave_extents();
            return;
        }
        if let Some(number) = log.large.filter(|&number| self.large.segment_of(number) == Some(base_offset)) {
            // What the journal has of the segment's whole blocks is in that write. A closed segment is finished by
            // another round.
            let round = self.rounds.active.as_mut().expect("a round is under way");
            round.awaited.push(number);
            if round.is_cache_distrusted {
                self.leave_extents();
            }
            return;
        }
        let image_before = log.image_before;
        let is_imaged = self.journal_of(self.log(slot).config.durability).on_device_before() >= image_before;
        if !is_imaged {
            // The image of the block that would be written again could still be lost.
            self.rounds.rolled.insert(slot);
            self.leave_extents();
            return;
        }
        let log = self.log(slot);
        let tail = log.tail_of(base_offset).expect("looked at above");
        let mut durable = self.drain_to(log, base_offset);
        let mut is_left = false;
        let mut writes = tail.undurable_blocks_to(durable / BLOCK_BYTES as u64 * BLOCK_BYTES as u64);
        if !durable.is_multiple_of(BLOCK_BYTES as u64) && durable > tail.durable() {
            match self.padded_block(tail.partial_block()) {
                Some(padded) => writes.push(padded),
                None => {
                    durable = tail.durable() + tail.whole_blocks();
                    is_left = true;
                }
            }
        }
        let is_closed = !is_active && durable == tail.end();
        let (id, directory) = (log.id, Arc::clone(&log.directory));
        let segment = &log.segments[at];
        let has_writes = !writes.is_empty();
        let is_named = segment.is_named;
        let wants_index = is_closed && !segment.is_index_written()
            || segment.index_entries_unwritten() >= INDEX_ENTRIES_UNWRITTEN_MAX;
        let of = log.transactions.as_ref().and_then(|it| it.of(base_offset));
        let unwritten = of.map_or(0, |of| of.unwritten());
        let wants_transactions = (is_closed && unwritten > 0) || unwritten >= INDEX_ENTRIES_UNWRITTEN_MAX;
        let transactions = of.filter(|_| wants_transactions).map(|of| (of.rest(), of.aborted.len() as u32));
        let has_only_index = !has_writes && !is_closed && is_named && (wants_index || wants_transactions);
        if !has_writes && !is_closed && !is_left && !has_only_index {
            return;
        }
        let index = wants_index.then(|| {
            (
                segment.index_rest(),
                segment.index_bytes,
                segment.index.as_ref().map_or(0, |it| it.len() as u32),
                segment.is_index_named,
            )
        });
        let (key, path) = (segment.key(id), segment.path(&directory));
        let (index_key, index_path) = (segment.index_key(id), segment.index_path(&directory));
        let (transactions_key, transactions_path) =
            (segment.transactions_key(id), segment.transactions_path(&directory));
        if is_left {
            self.leave_extents();
        }
        let mode = OpenMode { create: true, write: true, direct: self.options.direct };
        for (position, data) in contiguous_writes(writes) {
            let op = FileOp::Write { position, data, durability: Durability::Buffered };
            self.queue(RoundOp::File { key, path: path.clone(), mode, op });
        }
        let index = index.and_then(|(rest, position, entries, is_index_named)| {
            let bytes = rest.len() as u64;
            self.plan_index(index_key, &index_path, position, &rest)?;
            let round = self.rounds.active.as_mut().expect("a round is under way");
            round.touched.push((index_key, index_path));
            if !is_index_named {
                round.named.insert(log_directory(&directory));
            }
            Some((entries, position + bytes))
        });
        let transactions = transactions.and_then(|((position, rest), entries)| {
            self.plan_index(transactions_key, &transactions_path, position, &rest)?;
            let round = self.rounds.active.as_mut().expect("a round is under way");
            round.touched.push((transactions_key, transactions_path));
            // Perhaps it is there already: such a file is rare enough.
            round.named.insert(log_directory(&directory));
            Some(entries)
        });
        let round = self.rounds.active.as_mut().expect("a round is under way");
        if !has_only_index {
            round.touched.push((key, path));
        }
        if !is_named {
            round.named.insert(log_directory(&directory));
        }
        round.drained.push(Drained { slot, id, base_offset, durable, index, transactions, is_closed });
    }

    /// Something could not be written now: this round frees nothing.
    pub(in crate::store) fn leave_extents(&mut self) {
        let round = self.rounds.active.as_mut().expect("a round is under way");
        round.retire = [None; 2];
        if round.is_cache_distrusted {
            // Its records would rely on what could not be synced.
            round.failure.get_or_insert(Failure { errno: libc::EAGAIN });
        }
    }

    /// Queues the write of a chunk of an index; nothing if there is no memory for it now.
    fn plan_index(&mut self, key: FileKey, path: &std::path::Path, position: u64, chunk: &[u8]) -> Option<()> {
        let mut data = Vec::new();
        for piece in chunk.chunks(1 << 20) {
            let mut buffer = self.buffers.allocate(piece.len())?;
            buffer[..piece.len()].copy_from_slice(piece);
            data.push(buffer.freeze(piece.len()));
        }
        // Chunks are not of whole blocks, so they go through the page cache.
        let mode = OpenMode { create: true, write: true, direct: false };
        let op = FileOp::Write { position, data, durability: Durability::Buffered };
        self.queue(RoundOp::File { key, path: path.to_path_buf(), mode, op });
        Some(())
    }

    /// A partial block with zeros to its end; nothing if there is no memory for it now.
    fn padded_block(&self, partial: Option<Placed>) -> Option<Placed> {
        let (position, bytes) = partial?;
        let mut buffer = self.buffers.allocate(BLOCK_BYTES)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        buffer[bytes.len()..BLOCK_BYTES].fill(0);
        Some((position, buffer.freeze(BLOCK_BYTES)))
    }

    /// Cuts closed segments to their exact length: what is padding for us would be damage to Kafka's tools.
    pub(super) fn plan_lengths(&mut self) {
        let round = self.rounds.active.as_ref().expect("a round is under way");
        let closed: Vec<_> = round
            .drained
            .iter()
            .filter(|it| it.is_closed)
            .map(|it| (it.slot, it.id, it.base_offset, it.durable))
            .collect();
        let mode = OpenMode { create: true, write: true, direct: self.options.direct };
        for (slot, id, base_offset, length) in closed {
            let Some(log) = self.logs[slot.index()].as_deref().filter(|log| log.id == id) else { continue };
            let Some(at) = log.segment_index(base_offset) else { continue };
            let segment = &log.segments[at];
            let (key, path) = (segment.key(id), segment.path(&log.directory));
            // Behind its entries a file may have some that a truncation cut off.
            let of = log.transactions.as_ref().and_then(|it| it.of(base_offset));
            let indexed = of.filter(|of| of.has_file || of.unwritten() > 0).map(|of| {
                let bytes = (of.aborted.len() * ENTRY_BYTES) as u64;
                (segment.transactions_key(id), segment.transactions_path(&log.directory), bytes)
            });
            self.queue(RoundOp::File { key, path, mode, op: FileOp::SetLength(length) });
            if let Some((key, path, bytes)) = indexed {
                let mode = OpenMode { direct: false, ..mode };
                self.queue(RoundOp::File { key, path: path.clone(), mode, op: FileOp::SetLength(bytes) });
                self.rounds.active.as_mut().expect("a round is under way").touched.push((key, path));
            }
        }
    }

    pub(super) fn plan_syncs(&mut self) {
        let round = self.rounds.active.as_mut().expect("a round is under way");
        let mut touched = std::mem::take(&mut round.touched);
        let mut named = std::mem::take(&mut round.named);
        if mutation::is(Mutation::SkipSegmentSync) {
            touched.clear();
        }
        if mutation::is(Mutation::SkipDirectorySync) {
            named.clear();
        }
        if self.options.sync_all && touched.len() >= SYNC_ALL_FILES {
            self.queue(RoundOp::Name(Op::SyncAll));
            return;
        }
        for (key, path) in touched {
            let direct = self.options.direct && matches!(key, FileKey::Segment(..) | FileKey::Compacted(..));
            let mode = OpenMode { create: true, write: true, direct };
            self.queue(RoundOp::File { key, path, mode, op: FileOp::Sync });
        }
        for path in named {
            self.queue(RoundOp::Name(Op::SyncDirectory { path }));
        }
    }
}

/// Joins blocks that follow one another into writes of bounded size.
fn contiguous_writes(blocks: Vec<Placed>) -> Vec<(u64, Vec<Slice>)> {
    let mut writes: Vec<(u64, Vec<Slice>)> = Vec::new();
    let mut bytes = 0;
    for (position, block) in blocks {
        let length = block.len();
        match writes.last_mut() {
            Some((start, data)) if *start + bytes as u64 == position && bytes + length <= WRITE_BYTES_MAX => {
                data.push(block);
                bytes += length;
            }
            _ => {
                writes.push((position, vec![block]));
                bytes = length;
            }
        }
    }
    writes
}
