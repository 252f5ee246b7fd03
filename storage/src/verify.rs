//! Walks stored bytes that may be damaged: which batches are intact, where damage lies, and where intact batches go on.
//!
//! ```text
//! │ batch │ batch │ ~damaged~~~~ │ batch │ batch (cut)
//!   Intact  Intact    Damaged      Intact   Cut: it goes on behind the bytes at hand
//! ```
//!
//! A batch's CRC does not cover its base offset and its length. So both are held to what is known besides: offsets ascend
//! within the segment's bounds, and batches lie one after another. (Its leader epoch is not covered either, and cannot be
//! checked.) Behind damage, intact batches are looked for byte by byte.

use std::fmt;

use crate::batch::{Batch, HEADER_BYTES, Malformed};
use crate::store::BATCH_BYTES_MAX;

/// What is known of bytes before they are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// No offset in them is smaller.
    pub offset_min: i64,
    /// No offset in them is as large.
    pub offset_end: i64,
    /// From the first of them to the segment's end, in bytes: at least as many as are at hand.
    pub bytes_left: u64,
}

/// What is wrong with a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The bytes are not those that the CRC was made of.
    Crc {
        /// What the header says.
        stated: u32,
        /// What the bytes have.
        computed: u32,
    },
    /// There is no batch header.
    Header(Malformed),
    /// The batch ends behind the segment, or is larger than any.
    Length {
        /// Its size, by its header.
        announced: usize,
    },
    /// Its offsets contradict those of its neighbours.
    Offsets {
        /// The base offset that it states.
        base_offset: i64,
        /// The last offset.
        last_offset: i64,
    },
    /// The file ends before it.
    Missing,
    /// The device gave an error instead of the bytes.
    Unreadable {
        /// The operating system's error number.
        errno: i32,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crc { stated, computed } => {
                write!(f, "the CRC is {computed:#010x}, the header says {stated:#010x}")
            }
            Self::Header(malformed) => malformed.fmt(f),
            Self::Length { announced } => write!(f, "the batch announces {announced} bytes, more than there can be"),
            Self::Offsets { base_offset, last_offset } => {
                write!(f, "the offsets {base_offset} to {last_offset} contradict those of the batches around it")
            }
            Self::Missing => f.write_str("the file ends before it"),
            Self::Unreadable { errno } => {
                write!(f, "the device cannot read it: {}", std::io::Error::from_raw_os_error(*errno))
            }
        }
    }
}

/// What comes next in the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A batch whose CRC holds and whose offsets are possible.
    Intact(Batch<'a>),
    /// So many bytes that are no intact batch. Behind them one may follow.
    Damaged {
        /// How many.
        bytes: usize,
        /// What is wrong.
        damage: Damage,
    },
    /// So many bytes more that belong to the damage before.
    Skipped {
        /// How many.
        bytes: usize,
    },
    /// A batch that goes on behind the bytes at hand; so many are needed from its start on to judge it.
    Cut {
        /// How many.
        needed: usize,
    },
    /// The segment's end.
    End,
}

/// Walks over the bytes of a segment from a batch's start on.
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    bounds: Bounds,
    /// Whether damage lies before, and the next batch must be looked for.
    is_searching: bool,
}

/// What a place holds.
enum Verdict<'a> {
    Intact(Batch<'a>),
    Cut(usize),
    Bad(Damage),
}

impl<'a> Walk<'a> {
    /// Over `bytes`, at whose start a batch starts.
    ///
    /// # Panics
    /// If there are more of them than the segment has.
    #[must_use]
    pub fn new(bytes: &'a [u8], bounds: Bounds) -> Self {
        assert!(bytes.len() as u64 <= bounds.bytes_left, "the bytes lie within the segment");
        Self { bytes, at: 0, bounds, is_searching: false }
    }

    /// Over `bytes` that follow damage: nobody knows where in them the first batch starts.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn behind_damage(bytes: &'a [u8], bounds: Bounds) -> Self {
        Self { is_searching: true, ..Self::new(bytes, bounds) }
    }

    /// Where the next piece starts.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether damage lies right before that place: who goes on there with other bytes begins
    /// [behind damage](Self::behind_damage).
    #[must_use]
    pub fn is_behind_damage(&self) -> bool {
        self.is_searching
    }

    /// No offset of the next batch is smaller.
    #[must_use]
    pub fn offset_min(&self) -> i64 {
        self.bounds.offset_min
    }

    /// The next piece. After [`Piece::Cut`] and [`Piece::End`] the same one comes again.
    pub fn next_piece(&mut self) -> Piece<'a> {
        if self.at as u64 == self.bounds.bytes_left {
            return Piece::End;
        }
        if self.is_searching {
            let bytes = self.bytes_to_next(0);
            if bytes > 0 {
                self.at += bytes;
                return Piece::Skipped { bytes };
            }
        }
        match self.judge(self.at, self.bounds.offset_min) {
            Verdict::Intact(batch) => match self.contradiction(&batch) {
                Some(damage) => self.damaged(batch.size_in_bytes(), damage),
                None => {
                    self.is_searching = false;
                    self.at += batch.size_in_bytes();
                    self.bounds.offset_min = batch.next_offset();
                    Piece::Intact(batch)
                }
            },
            Verdict::Cut(needed) => Piece::Cut { needed },
            Verdict::Bad(damage) => self.damaged(self.bytes_of_damage(), damage),
        }
    }

    fn damaged(&mut self, bytes: usize, damage: Damage) -> Piece<'a> {
        self.at += bytes;
        self.is_searching = true;
        Piece::Damaged { bytes, damage }
    }

    fn judge(&self, at: usize, offset_min: i64) -> Verdict<'a> {
        let rest = &self.bytes[at..];
        let left = self.bounds.bytes_left - at as u64;
        let head = match Batch::head(rest) {
            Ok(head) => head,
            Err(Malformed::HeaderCut { .. }) if left >= HEADER_BYTES as u64 => return Verdict::Cut(HEADER_BYTES),
            Err(malformed) => return Verdict::Bad(Damage::Header(malformed)),
        };
        let (base_offset, last_offset) = (head.base_offset(), head.last_offset());
        let is_possible = base_offset >= offset_min && last_offset >= base_offset;
        if !is_possible || last_offset >= self.bounds.offset_end {
            return Verdict::Bad(Damage::Offsets { base_offset, last_offset });
        }
        let announced = head.announced_bytes();
        if announced as u64 > left || announced > BATCH_BYTES_MAX {
            return Verdict::Bad(Damage::Length { announced });
        }
        match Batch::first(rest) {
            Ok(batch) if batch.crc() == batch.computed_crc() => Verdict::Intact(batch),
            Ok(batch) => Verdict::Bad(Damage::Crc { stated: batch.crc(), computed: batch.computed_crc() }),
            Err(_) => Verdict::Cut(announced),
        }
    }

    /// A batch that leaves a gap before it, into which an intact batch behind it falls, has a wrong base offset: the one
    /// behind cannot have been appended after it.
    fn contradiction(&self, batch: &Batch<'_>) -> Option<Damage> {
        if batch.base_offset() == self.bounds.offset_min {
            return None;
        }
        let behind = self.at + batch.size_in_bytes();
        let Verdict::Intact(next) = self.judge(behind, self.bounds.offset_min) else { return None };
        let (base_offset, last_offset) = (batch.base_offset(), batch.last_offset());
        (next.base_offset() <= last_offset).then_some(Damage::Offsets { base_offset, last_offset })
    }

    /// Bytes from the damage at hand to where a batch may start again.
    fn bytes_of_damage(&self) -> usize {
        // Mostly the header is still good enough to say where the next batch is. That is surer than to look for one: a
        // record may hold bytes that look like a batch.
        if let Ok(head) = Batch::head(&self.bytes[self.at..]) {
            let behind = self.at.saturating_add(head.announced_bytes());
            if behind < self.bytes.len() && self.may_be_batch(behind) {
                return behind - self.at;
            }
        }
        self.bytes_to_next(1)
    }

    /// Bytes to the next place where a batch may start, `skip` bytes from here at the least.
    fn bytes_to_next(&self, skip: usize) -> usize {
        let left = self.bytes.len() - self.at;
        let found = (skip..left.saturating_sub(HEADER_BYTES - 1)).find(|&bytes| self.may_be_batch(self.at + bytes));
        if let Some(bytes) = found {
            return bytes;
        }
        let is_whole = self.bytes.len() as u64 == self.bounds.bytes_left;
        // A header may begin in the last bytes at hand.
        if is_whole { left } else { left.saturating_sub(HEADER_BYTES - 1).max(skip.min(left)) }
    }

    fn may_be_batch(&self, at: usize) -> bool {
        !matches!(self.judge(at, self.bounds.offset_min), Verdict::Bad(_))
    }
}

#[cfg(test)]
mod tests;
