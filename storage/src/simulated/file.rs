//! One file: its contents as the page cache shows them, and what a power cut may leave of them.

use std::collections::BTreeMap;
use std::iter;

use super::{Counts, Random};
use crate::io::{BLOCK_BYTES, Durability};

/// What a device writes whole or not at all, nearly always.
const SECTOR_BYTES: usize = 512;
/// How often a sector is torn inside, per million.
const TEAR_PER_MILLION: u32 = 20_000;
/// How often a sector that was being written holds anything, per million.
const GARBAGE_PER_MILLION: u32 = 5_000;
/// Versions of one block kept between two syncs; the oldest is the durable one, the others are samples.
const VERSIONS_MAX: usize = 8;

type Block = [u8; BLOCK_BYTES];

static ZEROS: Block = [0; BLOCK_BYTES];

/// The contents of one block. Zeros cost nothing, so that zero-filled files stay cheap.
#[derive(Debug, Clone)]
enum Cell {
    /// Never written: reads as zeros and takes no room on the device.
    Hole,
    /// Written with zeros.
    Zeros,
    Bytes(Box<Block>),
}

impl Cell {
    fn copy_to(&self, start: usize, out: &mut [u8]) {
        match self {
            Self::Hole | Self::Zeros => out.fill(0),
            Self::Bytes(block) => out.copy_from_slice(&block[start..start + out.len()]),
        }
    }

    fn overlay(&mut self, start: usize, bytes: &[u8]) {
        match self {
            Self::Bytes(block) => block[start..start + bytes.len()].copy_from_slice(bytes),
            Self::Hole | Self::Zeros if *bytes == ZEROS[..bytes.len()] => *self = Self::Zeros,
            Self::Hole | Self::Zeros => {
                let mut block = Box::new([0; BLOCK_BYTES]);
                block[start..start + bytes.len()].copy_from_slice(bytes);
                *self = Self::Bytes(block);
            }
        }
    }

    fn to_block(&self) -> Block {
        let mut block = [0; BLOCK_BYTES];
        self.copy_to(0, &mut block);
        block
    }
}

/// The past of a block that was written and not synced since.
#[derive(Debug)]
struct Unsynced {
    /// What it held: first the durable version, then each later one except the current.
    versions: Vec<Cell>,
    /// A sync of it failed: later syncs take it for clean and do not cover it.
    abandoned: bool,
}

/// How much of what was not synced a power cut takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Nothing: it all happened to be on the device.
    Nothing,
    /// All of it.
    Everything,
    /// Each piece is decided on its own.
    Pieces,
}

impl Loss {
    pub(super) fn draw(random: &mut Random) -> Self {
        [Self::Nothing, Self::Everything, Self::Pieces, Self::Pieces][random.index(4)]
    }
}

#[derive(Debug, Default)]
pub(super) struct File {
    cells: Vec<Cell>,
    length: u64,
    unsynced: BTreeMap<usize, Unsynced>,
    /// The lengths it had since the last sync, the durable one first; empty while the current one is durable.
    past_lengths: Vec<u64>,
    allocated: u64,
}

impl File {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Blocks of the device it takes.
    pub(super) fn allocated_blocks(&self) -> u64 {
        self.allocated
    }

    /// Whether anything would be lost by a power cut.
    pub(super) fn is_dirty(&self) -> bool {
        !self.unsynced.is_empty() || !self.past_lengths.is_empty()
    }

    /// How many blocks a write would take beyond those the file has.
    pub(super) fn blocks_needed(&self, position: u64, bytes: usize) -> u64 {
        blocks(position, bytes).filter(|&(index, _)| matches!(self.cells.get(index), None | Some(Cell::Hole))).count()
            as u64
    }

    pub(super) fn read(&self, position: u64, out: &mut [u8]) -> usize {
        let available = usize::try_from(self.length.saturating_sub(position)).unwrap_or(usize::MAX);
        let bytes = out.len().min(available);
        let mut done = 0;
        for (index, range) in blocks(position, bytes) {
            let part = &mut out[done..done + range.len()];
            self.cells.get(index).unwrap_or(&Cell::Hole).copy_to(range.start, part);
            done += range.len();
        }
        bytes
    }

    pub(super) fn write(&mut self, position: u64, bytes: &[u8], durability: Durability) {
        let mut rest = bytes;
        for (index, range) in blocks(position, bytes.len()) {
            let (part, tail) = rest.split_at(range.len());
            rest = tail;
            if self.cells.len() <= index {
                self.cells.resize(index + 1, Cell::Hole);
            }
            match durability {
                Durability::Buffered => self.keep_version(index),
                Durability::Synced => self.settle(index, range.start, part),
            }
            if matches!(self.cells[index], Cell::Hole) {
                self.allocated += 1;
            }
            self.cells[index].overlay(range.start, part);
        }
        let end = position + bytes.len() as u64;
        if end > self.length {
            self.change_length(end);
        }
        if durability == Durability::Synced {
            self.settle_length(end);
        }
    }

    /// Records the block as it is now, before an unsynced change.
    fn keep_version(&mut self, index: usize) {
        let version = self.cells[index].clone();
        let unsynced = self.unsynced.entry(index).or_insert(Unsynced { versions: Vec::new(), abandoned: false });
        unsynced.abandoned = false;
        if unsynced.versions.len() == VERSIONS_MAX {
            unsynced.versions.remove(1);
        }
        unsynced.versions.push(version);
    }

    /// A synced write of part of a block: no earlier version of that part can come back.
    fn settle(&mut self, index: usize, start: usize, part: &[u8]) {
        if part.len() == BLOCK_BYTES {
            self.unsynced.remove(&index);
        } else if let Some(unsynced) = self.unsynced.get_mut(&index) {
            for version in &mut unsynced.versions {
                version.overlay(start, part);
            }
        }
    }

    pub(super) fn set_length(&mut self, length: u64) {
        if length < self.length {
            let first = (length / BLOCK_BYTES as u64) as usize;
            for index in first..self.cells.len() {
                if matches!(self.cells[index], Cell::Hole) {
                    continue;
                }
                self.keep_version(index);
                let cut = if index == first { (length % BLOCK_BYTES as u64) as usize } else { 0 };
                self.cut_cell(index, cut);
            }
        }
        self.change_length(length);
    }

    fn cut_cell(&mut self, index: usize, cut: usize) {
        if cut > 0 {
            if let Cell::Bytes(block) = &mut self.cells[index] {
                block[cut..].fill(0);
            }
        } else {
            self.cells[index] = Cell::Hole;
            self.allocated -= 1;
        }
    }

    fn change_length(&mut self, length: u64) {
        if length != self.length {
            self.past_lengths.push(self.length);
            self.length = length;
        }
    }

    /// Makes every length that could come back at least `end`.
    fn settle_length(&mut self, end: u64) {
        self.past_lengths.retain(|&length| length >= end);
        if self.past_lengths.is_empty() && self.length > end {
            // The write itself needs only its own end to be durable; a longer file may still come back shorter.
            self.past_lengths.push(end);
        }
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.retain(|_, unsynced| unsynced.abandoned);
        self.past_lengths.clear();
    }

    /// A sync failed: what it should have covered is taken for clean from now on, and is not.
    pub(super) fn fail_sync(&mut self) {
        for unsynced in self.unsynced.values_mut() {
            unsynced.abandoned = true;
        }
    }

    /// Flips one bit of the stored byte at `position`.
    pub(super) fn corrupt(&mut self, position: u64) {
        let mut byte = [0];
        if self.read(position, &mut byte) == 1 {
            byte[0] ^= 1 << (position % 8);
            let start = (position % BLOCK_BYTES as u64) as usize;
            self.cells[(position / BLOCK_BYTES as u64) as usize].overlay(start, &byte);
        }
    }

    pub(super) fn crash(&mut self, random: &mut Random, counts: &mut Counts) {
        let loss = Loss::draw(random);
        for (index, unsynced) in std::mem::take(&mut self.unsynced) {
            let current = std::mem::replace(&mut self.cells[index], Cell::Hole);
            self.cells[index] = match loss {
                Loss::Nothing => {
                    counts.kept_blocks += 1;
                    current
                }
                Loss::Everything => {
                    counts.lost_blocks += 1;
                    unsynced.versions.into_iter().next().expect("the durable version is kept")
                }
                Loss::Pieces => {
                    counts.torn_blocks += 1;
                    survive(&unsynced.versions, &current, random)
                }
            };
        }
        let past = std::mem::take(&mut self.past_lengths);
        if !past.is_empty() {
            let length = match loss {
                Loss::Nothing => self.length,
                Loss::Everything => past[0],
                Loss::Pieces => past.get(random.index(past.len() + 1)).copied().unwrap_or(self.length),
            };
            counts.lost_lengths += u64::from(length != self.length);
            self.length = length;
        }
        self.drop_beyond_length();
    }

    fn drop_beyond_length(&mut self) {
        let full = (self.length / BLOCK_BYTES as u64) as usize;
        let cut = (self.length % BLOCK_BYTES as u64) as usize;
        self.cells.truncate(if cut > 0 { full + 1 } else { full });
        self.allocated = self.cells.iter().filter(|cell| !matches!(cell, Cell::Hole)).count() as u64;
        if cut > 0 && full < self.cells.len() {
            // Bytes after the end would reappear if the file grew again.
            self.cut_cell(full, cut);
        }
    }
}

/// The block a power cut leaves, each sector on its own: a version it had, a mixture of two, or anything.
fn survive(versions: &[Cell], current: &Cell, random: &mut Random) -> Cell {
    let candidates: Vec<Block> = versions.iter().chain(iter::once(current)).map(Cell::to_block).collect();
    let mut block = [0; BLOCK_BYTES];
    for sector in (0..BLOCK_BYTES).step_by(SECTOR_BYTES) {
        let end = sector + SECTOR_BYTES;
        let chosen = random.index(candidates.len());
        block[sector..end].copy_from_slice(&candidates[chosen][sector..end]);
        if random.chance(TEAR_PER_MILLION) {
            let cut = sector + random.index(SECTOR_BYTES);
            let other = random.index(candidates.len());
            block[cut..end].copy_from_slice(&candidates[other][cut..end]);
        }
        if random.chance(GARBAGE_PER_MILLION) {
            block[sector..end].iter_mut().for_each(|byte| *byte = random.bits() as u8);
        }
    }
    Cell::Bytes(Box::new(block))
}

/// The blocks a range of the file touches, each with the range inside it.
fn blocks(position: u64, bytes: usize) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
    let end = position + bytes as u64;
    let mut at = position;
    iter::from_fn(move || {
        if at == end {
            return None;
        }
        let index = at / BLOCK_BYTES as u64;
        let start = (at % BLOCK_BYTES as u64) as usize;
        let length = (BLOCK_BYTES - start).min((end - at) as usize);
        at += length as u64;
        Some((index as usize, start..start + length))
    })
}
