//! The sparse index of one segment, by offset and by time.
//!
//! An entry stands at the start of a batch, at least `interval_bytes` after the entry before, and says what
//! came *before* that batch:
//! ```text
//! segment:  │ batch │ batch │ batch │ batch │ batch │ …            end
//!                           ▲ entry: relative base offset, position │
//!           └ max timestamp ┘        of this batch                  │
//!           └────────────── max timestamp of all ───────────────────┘
//! ```
//! So a search by timestamp starts at the last entry before which everything is older than the target.
//!
//! On disk: a header, then chunks, all little-endian. Each checkpoint appends a chunk with the entries since
//! the last. A chunk whose first entry is not the next one replaces those from there on: that is how an
//! index is truncated without being rewritten.
//! ```text
//! header:  magic "SKNINDEX" │ version u32 │ interval u32 │ base offset i64 │ crc u32                   28 bytes
//! chunk:   entry count u32 │ first entry u32 │ end position u32 │ end relative offset u32 │
//!          max timestamp i64 │ its relative offset u32 │ crc u32 │ entries                        32 + n × 20
//! entry:   relative offset u32 │ position u32 │ max timestamp i64 │ its relative offset u32
//! ```
//! A chunk's CRC-32C covers its other fields and its entries, seeded with the header's CRC, so that a chunk of
//! another segment's index is not taken for one of this.

use std::fmt;

use crate::batch::NO_TIMESTAMP;

/// Version of the format on disk.
pub const VERSION: u32 = 1;
/// Size of the header on disk.
pub const HEADER_BYTES: usize = 28;
/// Size of a chunk on disk without its entries.
pub const CHUNK_HEADER_BYTES: usize = 32;
/// Size of an entry on disk and in memory.
pub const ENTRY_BYTES: usize = 20;

/// The largest distance of an offset from its segment's base offset.
const RELATIVE_OFFSET_MAX: i64 = i32::MAX as i64;

const MAGIC: &[u8; 8] = b"SKNINDEX";
const HEADER_CRC: usize = 24;
const CHUNK_CRC: usize = 28;

const _: () = assert!(size_of::<Entry>() == ENTRY_BYTES);
const _: () = assert!(HEADER_CRC + 4 == HEADER_BYTES && CHUNK_CRC + 4 == CHUNK_HEADER_BYTES);

/// A largest timestamp, and the offset of the first record that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxTimestamp {
    /// In ms since 1970, [`NO_TIMESTAMP`] where nothing has one.
    pub timestamp: i64,
    /// Offset of the record; the segment's base offset where nothing has a timestamp.
    pub offset: i64,
}

/// A batch as it lies in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Where it starts in the file.
    pub position: u32,
    /// Its size.
    pub size_in_bytes: u32,
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Its largest timestamp, and a record that has it.
    pub max: MaxTimestamp,
}

/// A place in the segment where a batch starts (or where the segment ends).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// No offset before the place is as large as this.
    pub offset: i64,
    /// The place.
    pub position: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    relative_offset: u32,
    position: u32,
    /// An i64 in two halves, which keeps the entry at 20 bytes.
    max_timestamp: [u32; 2],
    max_relative_offset: u32,
}

impl Entry {
    fn max_timestamp(&self) -> i64 {
        (u64::from(self.max_timestamp[1]) << 32 | u64::from(self.max_timestamp[0])) as i64
    }
}

/// The index of one segment in memory. Owned by the shard that owns the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    base_offset: i64,
    interval_bytes: u32,
    entries: Vec<Entry>,
    /// Where the next batch comes, and the offset it has at least.
    end: Position,
    /// Of everything before `end`.
    max: MaxTimestamp,
}

impl Index {
    /// Of an empty segment whose first record will have `base_offset`; `interval_bytes` is `index.interval.bytes`.
    pub fn new(base_offset: i64, interval_bytes: u32) -> Self {
        Self {
            base_offset,
            interval_bytes,
            entries: Vec::new(),
            end: Position { offset: base_offset, position: 0 },
            max: MaxTimestamp { timestamp: NO_TIMESTAMP, offset: base_offset },
        }
    }

    /// The segment's base offset.
    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// Up to where the segment is indexed.
    pub fn end(&self) -> Position {
        self.end
    }

    /// The largest timestamp in the segment.
    pub fn max(&self) -> MaxTimestamp {
        self.max
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry; lookups then answer the segment's start.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a batch with this last offset may go to the segment; if not, the segment must roll. Kafka's indexes have
    /// 31 bits for an offset.
    pub fn fits(&self, last_offset: i64) -> bool {
        last_offset >= self.base_offset && last_offset - self.base_offset <= RELATIVE_OFFSET_MAX
    }

    /// Whether it can be indexed at all: earlier versions let segments grow so far.
    pub(crate) fn can_hold(&self, last_offset: i64) -> bool {
        last_offset >= self.base_offset && u32::try_from(last_offset - self.base_offset).is_ok_and(|it| it < u32::MAX)
    }

    /// A batch was appended to the segment.
    ///
    /// # Panics
    /// If it does not follow the one before, or its offsets are not within 32 bits of the base offset.
    pub fn append(&mut self, batch: Placed) {
        assert_eq!(batch.position, self.end.position, "batches lie one after another");
        assert!(batch.base_offset >= self.end.offset && batch.last_offset >= batch.base_offset, "offsets ascend");
        assert!(self.can_hold(batch.last_offset), "a segment rolls before its relative offsets overflow");
        let indexed_to = self.entries.last().map_or(0, |entry| entry.position);
        if batch.position - indexed_to >= self.interval_bytes.max(1) {
            self.entries.push(Entry {
                relative_offset: self.relative(batch.base_offset),
                position: batch.position,
                max_timestamp: [self.max.timestamp as u32, (self.max.timestamp as u64 >> 32) as u32],
                max_relative_offset: self.relative(self.max.offset),
            });
        }
        if batch.max.timestamp > self.max.timestamp {
            assert!((batch.base_offset..=batch.last_offset).contains(&batch.max.offset), "its record is in the batch");
            self.max = batch.max;
        }
        self.end = Position {
            offset: batch.last_offset + 1,
            position: batch.position.checked_add(batch.size_in_bytes).expect("a segment is smaller than 4 GiB"),
        };
    }

    /// Where to start looking for the batch that holds `offset`: the last place known before which all
    /// offsets are smaller.
    pub fn lookup_offset(&self, offset: i64) -> Position {
        let above = self.entries.partition_point(|entry| self.base_offset + i64::from(entry.relative_offset) <= offset);
        self.place(above)
    }

    /// The last place known that is not behind `position`.
    pub fn lookup_position(&self, position: u32) -> Position {
        self.place(self.entries.partition_point(|entry| entry.position <= position))
    }

    /// Where to start looking for the first record whose timestamp is at least `timestamp`: everything before
    /// that place is older. `None` if everything in the segment is.
    pub fn lookup_timestamp(&self, timestamp: i64) -> Option<Position> {
        if timestamp > self.max.timestamp {
            return None;
        }
        let above = self.entries.partition_point(|entry| entry.max_timestamp() < timestamp);
        Some(self.place(above))
    }

    /// The places where it says that a batch starts, in order.
    pub(crate) fn places(&self) -> impl Iterator<Item = Position> {
        (1..=self.entries.len()).map(|above| self.place(above))
    }

    /// The place of the entry before the `above`th, or the segment's start.
    fn place(&self, above: usize) -> Position {
        match above.checked_sub(1).map(|at| self.entries[at]) {
            Some(entry) => {
                Position { offset: self.base_offset + i64::from(entry.relative_offset), position: entry.position }
            }
            None => Position { offset: self.base_offset, position: 0 },
        }
    }

    /// The segment was truncated to `position`. The index then ends at its last entry not beyond; batches
    /// between there and `position`, if any, must be appended to it again. Returns its end.
    pub fn truncate(&mut self, position: u32) -> Position {
        if position < self.end.position {
            let kept = self.entries.partition_point(|entry| entry.position <= position);
            self.truncate_entries(kept);
        }
        self.end
    }

    /// The segment is to end at `offset`, or where the batch that holds it begins. The index then ends before that, where
    /// a batch starts; those between there and the segment's new end must be appended to it again. Returns its end.
    pub fn truncate_to_offset(&mut self, offset: i64) -> Position {
        let place = self.lookup_offset(offset);
        self.truncate(place.position)
    }

    /// Keeps the first `kept` entries; the last of them is then made anew by the batch that stands there.
    fn truncate_entries(&mut self, kept: usize) {
        self.end = self.place(kept);
        self.max = MaxTimestamp { timestamp: NO_TIMESTAMP, offset: self.base_offset };
        if let Some(last) = kept.checked_sub(1).map(|at| self.entries[at]) {
            self.max = MaxTimestamp {
                timestamp: last.max_timestamp(),
                offset: self.base_offset + i64::from(last.max_relative_offset),
            };
        }
        self.entries.truncate(kept.saturating_sub(1));
    }

    /// Appends the header on disk to `out`.
    pub fn encode_header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header());
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&self.interval_bytes.to_le_bytes());
        header[16..24].copy_from_slice(&self.base_offset.to_le_bytes());
        let crc = crc32c::crc32c(&header[..HEADER_CRC]);
        header[HEADER_CRC..].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// Appends a chunk on disk with the entries from the `first` on to `out`. The file already has those
    /// before, and perhaps others after that, which the chunk replaces. It brings the file up to
    /// [`Self::end`], also when there is no entry to write.
    ///
    /// # Panics
    /// If there are fewer than `first` entries.
    pub fn encode_chunk(&self, first: usize, out: &mut Vec<u8>) {
        let entries = &self.entries[first..];
        let count = |number: usize| u32::try_from(number).expect("a segment of 4 GiB has fewer entries");
        let start = out.len();
        for number in [count(entries.len()), count(first), self.end.position, self.relative(self.end.offset)] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.max.timestamp.to_le_bytes());
        out.extend_from_slice(&self.relative(self.max.offset).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for entry in entries {
            let [low, high] = entry.max_timestamp;
            for number in [entry.relative_offset, entry.position, low, high, entry.max_relative_offset] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        let crc = chunk_crc(&self.header(), &out[start..]);
        out[start + CHUNK_CRC..start + CHUNK_HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads an index file: exactly its durable bytes, as the checkpoint recorded them.
    ///
    /// # Errors
    /// What is wrong and where. The index can then be made anew from the segment.
    pub fn parse(bytes: &[u8], base_offset: i64) -> Result<Self, Error> {
        let (mut index, header) = parse_header(bytes, base_offset)?;
        let mut at = HEADER_BYTES;
        while at < bytes.len() {
            at += index.parse_chunk(&header, &bytes[at..]).map_err(|fault| Error { position: at, fault })?;
        }
        Ok(index)
    }

    fn parse_chunk(&mut self, header: &[u8; HEADER_BYTES], bytes: &[u8]) -> Result<usize, Fault> {
        let chunk: &[u8; CHUNK_HEADER_BYTES] = bytes.first_chunk().ok_or(Fault::Cut)?;
        let (count, first) = (get_u32(chunk, 0) as usize, get_u32(chunk, 4) as usize);
        let len = count
            .checked_mul(ENTRY_BYTES)
            .and_then(|len| len.checked_add(CHUNK_HEADER_BYTES))
            .filter(|&len| len <= bytes.len())
            .ok_or(Fault::Cut)?;
        let bytes = &bytes[..len];
        if chunk_crc(header, bytes) != get_u32(chunk, CHUNK_CRC) {
            return Err(Fault::Crc);
        }
        if first > self.entries.len() {
            return Err(Fault::Gap { expected: self.entries.len(), got: first });
        }
        self.entries.truncate(first);
        self.entries.reserve_exact(count);
        let mut previous = self.entries.last().copied();
        for bytes in bytes[CHUNK_HEADER_BYTES..].chunks_exact(ENTRY_BYTES) {
            let entry = Entry {
                relative_offset: get_u32(bytes, 0),
                position: get_u32(bytes, 4),
                max_timestamp: [get_u32(bytes, 8), get_u32(bytes, 12)],
                max_relative_offset: get_u32(bytes, 16),
            };
            let ascends = previous.is_none_or(|previous| {
                previous.position < entry.position
                    && previous.relative_offset < entry.relative_offset
                    && previous.max_timestamp() <= entry.max_timestamp()
            });
            if !ascends {
                return Err(Fault::Order);
            }
            self.entries.push(entry);
            previous = Some(entry);
        }
        let offset_at = |relative: u32| self.base_offset + i64::from(relative);
        self.end = Position { position: get_u32(chunk, 8), offset: offset_at(get_u32(chunk, 12)) };
        self.max = MaxTimestamp {
            timestamp: i64::from_le_bytes(*chunk[16..].first_chunk().expect("the chunk header has 32 bytes")),
            offset: offset_at(get_u32(chunk, 24)),
        };
        if previous.is_some_and(|last| {
            last.position >= self.end.position
                || offset_at(last.relative_offset) >= self.end.offset
                || last.max_timestamp() > self.max.timestamp
        }) {
            return Err(Fault::Order);
        }
        Ok(len)
    }

    fn relative(&self, offset: i64) -> u32 {
        u32::try_from(offset - self.base_offset).expect("offsets of a segment lie within 32 bits of its base")
    }
}

fn parse_header(bytes: &[u8], base_offset: i64) -> Result<(Index, [u8; HEADER_BYTES]), Error> {
    let at_start = |fault| Error { position: 0, fault };
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(at_start(Fault::Cut))?;
    if !header.starts_with(MAGIC) {
        return Err(at_start(Fault::NotAnIndex));
    }
    // The version comes first: a newer one may sum its header differently.
    let version = get_u32(header, 8);
    if version != VERSION {
        return Err(at_start(Fault::Version { version }));
    }
    if crc32c::crc32c(&header[..HEADER_CRC]) != get_u32(header, HEADER_CRC) {
        return Err(at_start(Fault::Crc));
    }
    let got = i64::from_le_bytes(*header[16..].first_chunk().expect("the header has 28 bytes"));
    if got != base_offset {
        return Err(at_start(Fault::BaseOffset { expected: base_offset, got }));
    }
    Ok((Index::new(base_offset, get_u32(header, 12)), *header))
}

fn chunk_crc(header: &[u8; HEADER_BYTES], chunk: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(get_u32(header, HEADER_CRC), &chunk[..CHUNK_CRC]);
    crc32c::crc32c_append(crc, &chunk[CHUNK_HEADER_BYTES..])
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("a field lies within its structure"))
}

/// Why an index file could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// Where in the file the bad structure starts.
    pub position: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with an index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It ends too early.
    Cut,
    /// It does not start as an index.
    NotAnIndex,
    /// It has a version that this program does not know.
    Version {
        /// The version.
        version: u32,
    },
    /// A checksum is wrong.
    Crc,
    /// It belongs to another segment.
    BaseOffset {
        /// The segment's base offset.
        expected: i64,
        /// The index's.
        got: i64,
    },
    /// A chunk starts beyond the next entry.
    Gap {
        /// The next entry.
        expected: usize,
        /// The chunk's first.
        got: usize,
    },
    /// Entries do not ascend.
    Order,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the index cannot be used, at byte {}: ", self.position)?;
        match self.fault {
            Fault::Cut => f.write_str("it ends too early"),
            Fault::NotAnIndex => f.write_str("it is not an index file"),
            Fault::Version { version } => write!(f, "it has version {version}, this program knows {VERSION}"),
            Fault::Crc => f.write_str("a checksum is wrong"),
            Fault::BaseOffset { expected, got } => {
                write!(f, "it belongs to the segment of base offset {got}, not {expected}")
            }
            Fault::Gap { expected, got } => write!(f, "entry {got} comes where {expected} is due"),
            Fault::Order => f.write_str("its entries do not ascend"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests;
