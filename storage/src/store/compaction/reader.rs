//! Reads closed segments from their files, batch by batch.

use crate::batch::{Batch, HEADER_BYTES, Malformed};
use crate::buffer::Slice;
use crate::io::BLOCK_BYTES;
use crate::verify::Damage;

const BLOCK: u64 = BLOCK_BYTES as u64;
/// The largest region there is: no batch is larger.
const READ_BYTES_MAX: u64 = 16 << 20;

/// A segment that a job reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input {
    pub(super) base_offset: i64,
    pub(super) generation: u32,
    pub(super) bytes: u64,
    /// Where the segment behind it begins.
    pub(super) next_offset: i64,
    pub(super) index_entries: u32,
    pub(super) created_ms: i64,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// A batch, of which nothing but length and magic was checked.
    Batch(Slice),
    /// These bytes of the segment are to be read first.
    Read { from: u64, length: usize },
    /// The segment has no more.
    InputEnd,
    /// No batch starts there.
    Damaged(u64, Damage),
}

/// Where a pass is in its inputs.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) input: usize,
    pub(super) position: u64,
    /// No offset from here on is smaller.
    pub(super) offset_min: i64,
    chunk: Option<(u64, Slice)>,
    /// Bytes that the next batch is known to have.
    needed: u64,
    io_bytes: u64,
}

impl Reader {
    pub(super) fn new(input: usize, io_bytes: usize) -> Self {
        let io_bytes = (io_bytes as u64).next_multiple_of(BLOCK).clamp(64 << 10, 4 << 20);
        Self { input, position: 0, offset_min: i64::MIN, chunk: None, needed: 0, io_bytes }
    }

    pub(super) fn next_input(&mut self) {
        (self.input, self.position, self.chunk, self.needed) = (self.input + 1, 0, None, 0);
    }

    pub(super) fn next(&mut self, input: &Input) -> Next {
        if self.position >= input.bytes {
            return Next::InputEnd;
        }
        if let Some((start, chunk)) = &self.chunk {
            let at = (self.position - start) as usize;
            match Batch::first(&chunk[at..]) {
                Ok(batch) => {
                    let bytes = chunk.slice(at..at + batch.size_in_bytes());
                    self.position += bytes.len() as u64;
                    self.needed = 0;
                    return Next::Batch(bytes);
                }
                Err(Malformed::BatchCut { announced, .. }) => self.needed = announced as u64,
                Err(Malformed::HeaderCut { .. }) => self.needed = HEADER_BYTES as u64,
                Err(malformed) => return Next::Damaged(self.position, Damage::Header(malformed)),
            }
            // The file has the whole batch, and so had the chunk if it reaches to the file's end.
            if self.position + self.needed > input.bytes || start + chunk.len() as u64 >= input.bytes {
                return Next::Damaged(self.position, Damage::Length { announced: self.needed as usize });
            }
        }
        let from = self.position / BLOCK * BLOCK;
        let wanted = self.io_bytes.max(self.needed + self.position - from).next_multiple_of(BLOCK);
        let length = wanted.min((input.bytes - from).next_multiple_of(BLOCK));
        if length > READ_BYTES_MAX {
            return Next::Damaged(self.position, Damage::Length { announced: self.needed as usize });
        }
        Next::Read { from, length: length as usize }
    }

    /// The bytes from `from` on were read. False if the file has fewer than it had.
    pub(super) fn fill(&mut self, input: &Input, from: u64, bytes: Slice, wanted: usize) -> bool {
        let expected = (input.bytes - from).min(wanted as u64) as usize;
        if bytes.len() < expected {
            return false;
        }
        self.chunk = Some((from, bytes.slice(0..expected)));
        true
    }

    /// The memory of what was read is not needed for now.
    pub(super) fn release(&mut self) {
        self.chunk = None;
    }
}
