//! The journal's bytes. All integers are little-endian; the record batches inside stay Kafka's.
//!
//! ```text
//! extent (a file, zero-filled, used again and again)
//! ┌──────────────┬─────────┬──────────────┬─────────┬── ─ ─
//! │ extent header│ group   │ group        │ group   │ zeros, or what an earlier use left
//! │ one block    │ n blocks│ n blocks     │ n blocks│
//! └──────────────┴─────────┴──────────────┴─────────┴── ─ ─
//! group:  header │ entry │ entry │ … │ zeros to the next block
//! entry:  frame  │ body
//!
//! extent header, 80 bytes                      group header, 64 bytes
//!  0 magic "SKNJRNL\0"                          0 magic "SKGR"
//!  8 version u16                                4 version u16, 6 zero u16
//! 10 durability u8 (0 durable, 1 cached)        8 incarnation u64
//! 11 zero u8                                   16 extent's ordinal u64
//! 12 shard u32                                 24 sequence of the first entry u64
//! 16 incarnation u64                           32 durable before: sequence u64
//! 24 ordinal u64: 0, 1, 2… in its journal      40 order u64
//! 32 sequence of the first entry u64           48 number of entries u32
//! 40 durable before: sequence u64              52 bytes of header and entries u32
//! 48 capacity in bytes u64                     56 seed: CRC of the entry before u32
//! 56 directory id, 16 bytes                    60 CRC-32C of bytes 0–59
//! 72 seed: CRC of the entry before u32
//! 76 CRC-32C of bytes 0–75
//!
//! entry frame, 32 bytes
//!  0 kind u8 │ 1 version u8 │ 2 zero u16 │ 4 length of the body u32 │ 8 sequence u64 │ 16 log id u64
//! 24 covered u32: how many bytes of the body the CRC covers
//! 28 CRC-32C of bytes 0–27 and the covered part of the body, seeded with the CRC of the entry before
//! ```
//!
//! *Sequence* counts a journal's entries without gaps. *Durable before* says that every entry with a smaller
//! sequence was durable when this was written: a break in the chain below it is damage, not a torn end. *Order*
//! counts the groups of a shard over both its journals, so that their entries can be put in order.
//!
//! Of an Append the CRC covers the body's head and the batch's header. That header holds the batch's own CRC-32C
//! of the rest, which replay checks too: so each byte is summed once when it is written.
//!
//! A Reference tells of batches that were written straight to their segment. It is written after they are durable
//! there up to a block's start, and holds what lies behind it:
//!
//! ```text
//! segment   … │ batch │ batch ····· │ batch ·······┆····· │      ┆ start of a block
//!             └ position            durable in the file ┘└ image ┘
//!
//! body, 32 bytes, the batches' heads, the image
//!  0 segment i64 │ 8 position u64 │ 16 durable u64 │ 24 number of batches u32 │ 28 zero u32
//! 32 of each batch: max timestamp delta u32 │ the batch's header, 61 bytes
//!  … the bytes from `durable` to the end of the last batch
//! ```
//!
//! A Truncate, version 2 (no program ever wrote version 1), or 3 where transactions are open; always in the durable journal:
//!
//! ```text
//!  0 segment i64 │ 8 position u64 │ 16 start offset i64 │ 24 end offset i64
//!    version 3: bytes of open transactions u32; the transactions, 16 bytes each: producer id i64 │ first offset i64
//!  … producers that lost all batches they were known by, and what the log has of them: [`producers::SnapshotV1`]
//! ```
//!
//! If the log is empty after it (start and end are the same), it goes on in that segment and has no other.

use crate::batch::{self, Batch};
use crate::io::BLOCK_BYTES;
use crate::log::{Durability, LogId};
use crate::segment::SEGMENT_BYTES_MAX;

/// Version of every structure here.
pub const VERSION: u16 = 1;
/// Bytes of an extent header in its block.
pub const EXTENT_HEADER_BYTES: usize = 80;
/// Bytes of a group header.
pub const GROUP_HEADER_BYTES: usize = 64;
/// Bytes of an entry's frame.
pub const FRAME_BYTES: usize = 32;
/// Bytes of an Append's body before the batch.
pub const APPEND_HEAD_BYTES: usize = 24;
/// Bytes of an Append's body that its CRC covers.
const APPEND_COVERED: usize = APPEND_HEAD_BYTES + batch::HEADER_BYTES;
/// Bytes of a TailImage's body before the image.
pub const IMAGE_HEAD_BYTES: usize = 24;
/// Bytes of a Truncate's body before the producers.
pub const TRUNCATE_HEAD_BYTES: usize = 32;
/// The version of a Truncate that tells of open transactions.
const TRUNCATE_OPEN_VERSION: u8 = 3;
/// Bytes of an open transaction in it.
pub(crate) const OPEN_BYTES: usize = 16;
/// Bytes of a Reference's body before the batches' heads.
pub const REFERENCE_HEAD_BYTES: usize = 32;
/// What a Reference says of each batch.
pub const REFERRED_BYTES: usize = 4 + batch::HEADER_BYTES;

const EXTENT_MAGIC: [u8; 8] = *b"SKNJRNL\0";
const GROUP_MAGIC: [u8; 4] = *b"SKGR";

const _: () = assert!(EXTENT_HEADER_BYTES <= BLOCK_BYTES && GROUP_HEADER_BYTES <= BLOCK_BYTES);

/// What an entry says. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A record batch was appended.
    Append = 1,
    /// Batches were written straight to the segment; the entry carries where, and the unaligned end.
    Reference = 2,
    /// Bytes of a segment from a block's start on; what was journaled of the bytes behind them still counts.
    TailImage = 3,
    /// The log was cut at its end.
    Truncate = 4,
    /// The log's start was raised.
    LogStart = 5,
    /// The log was deleted.
    Delete = 6,
    /// Nothing.
    Noop = 7,
    /// The name of the log's directory, before the first other entry of a log that no checkpoint knows.
    Directory = 8,
}

impl Kind {
    /// Whether this program reads bodies of that version.
    fn has_version(self, version: u8) -> bool {
        if self == Self::Truncate { matches!(version, 2 | TRUNCATE_OPEN_VERSION) } else { version == 1 }
    }

    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Append,
            2 => Self::Reference,
            3 => Self::TailImage,
            4 => Self::Truncate,
            5 => Self::LogStart,
            6 => Self::Delete,
            7 => Self::Noop,
            8 => Self::Directory,
            _ => return None,
        })
    }
}

/// A byte position in a log's segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Base offset of the segment.
    pub segment: i64,
    /// Byte position in its file.
    pub position: u64,
}

/// One entry. `B` is what holds the bytes: a slice of an extent, or of a tail's chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<B> {
    /// See [`Kind::Append`].
    Append {
        /// Where the batch lies; the first of a new segment has position 0.
        place: Place,
        /// Offset of the first record with the batch's largest timestamp, less the base offset.
        max_timestamp_delta: u32,
        /// One whole batch, stamped with base offset and leader epoch.
        batch: B,
    },
    /// See [`Kind::Reference`].
    Reference {
        /// Where the first of the batches lies.
        place: Place,
        /// The segment's file is durable up to here, a block's start.
        durable: u64,
        /// The batches' heads, one after another: see [`referred`] and [`push_referred`].
        batches: B,
        /// The segment's bytes from `durable` to the end of the last batch.
        image: B,
    },
    /// See [`Kind::TailImage`].
    TailImage {
        /// Start of the image: a block's start.
        place: Place,
        /// The log's end offset when it was taken: for people who read the journal.
        end_offset: i64,
        /// The bytes.
        bytes: B,
    },
    /// See [`Kind::Truncate`].
    Truncate {
        /// The log's new end.
        place: Place,
        /// Its start offset; the log is empty if that is the end offset too.
        start_offset: i64,
        /// Its new end offset.
        end_offset: i64,
        /// Transactions that are open there, 16 bytes each: producer id and first offset.
        open: B,
        /// The bytes of a [`crate::producers::SnapshotV1`]: producers whose known batches were all cut, as the rest of
        /// the log has them.
        producers: B,
    },
    /// See [`Kind::LogStart`].
    LogStart {
        /// The new start offset.
        start_offset: i64,
    },
    /// See [`Kind::Delete`].
    Delete,
    /// See [`Kind::Noop`].
    Noop,
    /// See [`Kind::Directory`].
    Directory {
        /// UTF-8.
        name: B,
    },
}

impl<B: AsRef<[u8]>> Body<B> {
    fn kind(&self) -> Kind {
        match self {
            Self::Append { .. } => Kind::Append,
            Self::Reference { .. } => Kind::Reference,
            Self::TailImage { .. } => Kind::TailImage,
            Self::Truncate { .. } => Kind::Truncate,
            Self::LogStart { .. } => Kind::LogStart,
            Self::Delete => Kind::Delete,
            Self::Noop => Kind::Noop,
            Self::Directory { .. } => Kind::Directory,
        }
    }

    fn version(&self) -> u8 {
        match self {
            Self::Truncate { open, .. } if open.as_ref().is_empty() => 2,
            Self::Truncate { .. } => TRUNCATE_OPEN_VERSION,
            _ => 1,
        }
    }

    /// Bytes that the entry takes in a group, frame included.
    pub fn entry_bytes(&self) -> usize {
        FRAME_BYTES
            + match self {
                Self::Append { batch, .. } => APPEND_HEAD_BYTES + batch.as_ref().len(),
                Self::Reference { batches, image, .. } => {
                    REFERENCE_HEAD_BYTES + batches.as_ref().len() + image.as_ref().len()
                }
                Self::TailImage { bytes, .. } => IMAGE_HEAD_BYTES + bytes.as_ref().len(),
                Self::Truncate { open, producers, .. } => {
                    TRUNCATE_HEAD_BYTES + open_bytes(open.as_ref()) + producers.as_ref().len()
                }
                Self::LogStart { .. } => 8,
                Self::Delete | Self::Noop => 0,
                Self::Directory { name } => name.as_ref().len(),
            }
    }

    /// Writes the start of an Append, all but its batch, at the start of `out`; returns the entry's CRC. For writes that
    /// take the batch from where it lies.
    ///
    /// # Panics
    /// If it is no Append.
    pub(crate) fn encode_apart(&self, out: &mut [u8], log: LogId, sequence: u64, seed: u32) -> u32 {
        let Self::Append { place, max_timestamp_delta, batch } = self else {
            unreachable!("only an Append has a batch")
        };
        let batch = batch.as_ref();
        let (frame, head) = out[..FRAME_BYTES + APPEND_HEAD_BYTES].split_at_mut(FRAME_BYTES);
        put_append_head(head, *place, *max_timestamp_delta);
        put_frame(frame, self.kind(), APPEND_HEAD_BYTES + batch.len(), APPEND_COVERED, log, sequence);
        let crc = crc32c::crc32c_append(chained_crc(seed, &frame[..28], head), &batch[..batch::HEADER_BYTES]);
        put(frame, 28, crc.to_le_bytes());
        crc
    }

    /// Writes the entry at the start of `out`; returns its CRC, the seed of the next one.
    pub fn encode(&self, out: &mut [u8], log: LogId, sequence: u64, seed: u32) -> u32 {
        let bytes = self.entry_bytes();
        let (frame, rest) = out[..bytes].split_at_mut(FRAME_BYTES);
        let mut covered = rest.len();
        match self {
            Self::Append { place, max_timestamp_delta, batch } => {
                put_append_head(rest, *place, *max_timestamp_delta);
                rest[APPEND_HEAD_BYTES..].copy_from_slice(batch.as_ref());
                covered = APPEND_COVERED;
            }
            Self::Reference { place, durable, batches, image } => {
                let batches = batches.as_ref();
                put_place(rest, *place);
                put(rest, 16, durable.to_le_bytes());
                let count = u32::try_from(batches.len() / REFERRED_BYTES).expect("an entry fits its extent");
                put(rest, 24, count.to_le_bytes());
                put(rest, 28, [0; 4]);
                let (heads, end) = rest[REFERENCE_HEAD_BYTES..].split_at_mut(batches.len());
                heads.copy_from_slice(batches);
                end.copy_from_slice(image.as_ref());
            }
            Self::TailImage { place, end_offset, bytes } => {
                put_place(rest, *place);
                put(rest, 16, end_offset.to_le_bytes());
                rest[IMAGE_HEAD_BYTES..].copy_from_slice(bytes.as_ref());
            }
            Self::Truncate { place, start_offset, end_offset, open, producers } => {
                put_place(rest, *place);
                put(rest, 16, start_offset.to_le_bytes());
                put(rest, 24, end_offset.to_le_bytes());
                let open = open.as_ref();
                let at = TRUNCATE_HEAD_BYTES + open_bytes(open);
                if !open.is_empty() {
                    put(rest, TRUNCATE_HEAD_BYTES, (open.len() as u32).to_le_bytes());
                    rest[TRUNCATE_HEAD_BYTES + 4..at].copy_from_slice(open);
                }
                rest[at..].copy_from_slice(producers.as_ref());
            }
            Self::LogStart { start_offset } => put(rest, 0, start_offset.to_le_bytes()),
            Self::Delete | Self::Noop => {}
            Self::Directory { name } => rest.copy_from_slice(name.as_ref()),
        }
        put_frame(frame, self.kind(), rest.len(), covered, log, sequence);
        frame[1] = self.version();
        let crc = chained_crc(seed, &frame[..28], &rest[..covered]);
        put(frame, 28, crc.to_le_bytes());
        crc
    }
}

/// An entry as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its place in the journal.
    pub sequence: u64,
    /// The log it is about.
    pub log: LogId,
    /// What it says.
    pub body: Body<&'a [u8]>,
    /// Its CRC: the seed of the next one.
    pub crc: u32,
    /// Its size.
    pub bytes: usize,
}

/// Why bytes are not the entry that was due there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undecodable {
    /// Not an entry, or not the one in turn: torn, or from an earlier use.
    Broken,
    /// An intact entry of a kind or version that this program does not know.
    Newer(String),
}

/// What an entry must be to continue its chain.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The sequence in turn.
    pub sequence: u64,
    /// CRC of the entry before.
    pub seed: u32,
}

/// Reads the entry at the start of `bytes`.
///
/// # Errors
/// See [`Undecodable`].
pub fn decode_entry<'a>(bytes: &'a [u8], expected: Expected) -> Result<Entry<'a>, Undecodable> {
    let frame = bytes.get(..FRAME_BYTES).ok_or(Undecodable::Broken)?;
    let length = get_u32(frame, 4) as usize;
    let covered = get_u32(frame, 24) as usize;
    let body = bytes.get(FRAME_BYTES..).and_then(|rest| rest.get(..length)).ok_or(Undecodable::Broken)?;
    let summed = body.get(..covered).ok_or(Undecodable::Broken)?;
    let crc = chained_crc(expected.seed, &frame[..28], summed);
    if crc != get_u32(frame, 28) || get_u64(frame, 8) != expected.sequence {
        return Err(Undecodable::Broken);
    }
    let kind = Kind::from_number(frame[0]).filter(|kind| kind.has_version(frame[1]));
    let newer = || Undecodable::Newer(format!("journal entry of kind {}, version {}", frame[0], frame[1]));
    let body = decode_body(kind.ok_or_else(newer)?, frame[1], body)?;
    let log = LogId(get_u64(frame, 16));
    Ok(Entry { sequence: expected.sequence, log, body, crc, bytes: FRAME_BYTES + length })
}

fn decode_body(kind: Kind, version: u8, body: &[u8]) -> Result<Body<&[u8]>, Undecodable> {
    let body = decode_any_body(kind, version, body)?;
    let place = match &body {
        Body::Append { place, .. }
        | Body::Reference { place, .. }
        | Body::TailImage { place, .. }
        | Body::Truncate { place, .. } => Some(place),
        Body::LogStart { .. } | Body::Delete | Body::Noop | Body::Directory { .. } => None,
    };
    // No segment is larger, whatever a sum says.
    if place.is_none_or(|place| place.position <= SEGMENT_BYTES_MAX) { Ok(body) } else { Err(Undecodable::Broken) }
}

fn decode_any_body(kind: Kind, version: u8, body: &[u8]) -> Result<Body<&[u8]>, Undecodable> {
    Ok(match kind {
        Kind::Append => {
            let head = body.get(..APPEND_HEAD_BYTES).ok_or(Undecodable::Broken)?;
            let bytes = &body[APPEND_HEAD_BYTES..];
            let batch = Batch::first(bytes).map_err(|_| Undecodable::Broken)?;
            if batch.size_in_bytes() != bytes.len() || batch.crc() != batch.computed_crc() {
                return Err(Undecodable::Broken);
            }
            Body::Append { place: get_place(head), max_timestamp_delta: get_u32(head, 16), batch: bytes }
        }
        Kind::Reference => decode_reference(body).ok_or(Undecodable::Broken)?,
        Kind::TailImage => {
            let head = body.get(..IMAGE_HEAD_BYTES).ok_or(Undecodable::Broken)?;
            let end_offset = get_u64(head, 16) as i64;
            Body::TailImage { place: get_place(head), end_offset, bytes: &body[IMAGE_HEAD_BYTES..] }
        }
        Kind::Truncate => {
            let head = body.get(..TRUNCATE_HEAD_BYTES).ok_or(Undecodable::Broken)?;
            let (start_offset, end_offset) = (get_u64(head, 16) as i64, get_u64(head, 24) as i64);
            let rest = &body[TRUNCATE_HEAD_BYTES..];
            let parts = if version == TRUNCATE_OPEN_VERSION { split_open(rest) } else { Some((&rest[..0], rest)) };
            let (open, producers) = parts.ok_or(Undecodable::Broken)?;
            Body::Truncate { place: get_place(head), start_offset, end_offset, open, producers }
        }
        Kind::LogStart if body.len() == 8 => Body::LogStart { start_offset: get_u64(body, 0) as i64 },
        Kind::LogStart => return Err(Undecodable::Broken),
        Kind::Delete => Body::Delete,
        Kind::Noop => Body::Noop,
        Kind::Directory => Body::Directory { name: body },
    })
}

/// What the open transactions of a Truncate take in its body.
fn open_bytes(open: &[u8]) -> usize {
    if open.is_empty() { 0 } else { 4 + open.len() }
}

fn split_open(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    rest.split_at_checked(length).filter(|_| length > 0 && length.is_multiple_of(OPEN_BYTES))
}

fn decode_reference(body: &[u8]) -> Option<Body<&[u8]>> {
    let (head, rest) = body.split_at_checked(REFERENCE_HEAD_BYTES)?;
    let (place, durable) = (get_place(head), get_u64(head, 16));
    let (batches, image) = rest.split_at_checked((get_u32(head, 24) as usize).checked_mul(REFERRED_BYTES)?)?;
    let mut end = place.position;
    for head in batches.chunks_exact(REFERRED_BYTES) {
        end = end.checked_add(Batch::head(&head[4..]).ok()?.announced_bytes() as u64)?;
    }
    let is_consistent = !batches.is_empty()
        && durable.is_multiple_of(BLOCK_BYTES as u64)
        && image.len() < BLOCK_BYTES
        && durable.checked_add(image.len() as u64) == Some(end);
    is_consistent.then_some(Body::Reference { place, durable, batches, image })
}

/// Adds what a Reference says of a batch, which is whole or its header alone.
pub fn push_referred(out: &mut Vec<u8>, batch: &[u8], max_timestamp_delta: u32) {
    out.extend_from_slice(&max_timestamp_delta.to_le_bytes());
    out.extend_from_slice(&batch[..batch::HEADER_BYTES]);
}

/// The batches of a Reference that was decoded: each one's header, and its max timestamp delta.
pub(crate) fn referred(batches: &[u8]) -> impl DoubleEndedIterator<Item = (Batch<'_>, u32)> {
    batches.chunks_exact(REFERRED_BYTES).map(|head| {
        let batch = Batch::head(&head[4..]).expect("a Reference has the headers of sound batches");
        (batch, get_u32(head, 0))
    })
}

fn chained_crc(seed: u32, frame: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, frame), body)
}

/// The head of an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtentHeader {
    /// Which of the shard's journals it belongs to.
    pub durability: Durability,
    /// The shard.
    pub shard: u32,
    /// The start of the node that uses it.
    pub incarnation: u64,
    /// Its place among the extents of its journal.
    pub ordinal: u64,
    /// Sequence of its first entry.
    pub first_sequence: u64,
    /// Every entry before this was durable.
    pub durable_before: u64,
    /// Bytes of the file.
    pub capacity: u64,
    /// The data directory it belongs to.
    pub directory_id: [u8; 16],
    /// CRC of the entry before its first one.
    pub seed: u32,
}

impl ExtentHeader {
    /// Writes the header and zeros to the end of `block`.
    pub fn encode(&self, block: &mut [u8]) {
        block.fill(0);
        put(block, 0, EXTENT_MAGIC);
        put(block, 8, VERSION.to_le_bytes());
        block[10] = match self.durability {
            Durability::Durable => 0,
            Durability::Cached => 1,
        };
        put(block, 12, self.shard.to_le_bytes());
        put(block, 16, self.incarnation.to_le_bytes());
        put(block, 24, self.ordinal.to_le_bytes());
        put(block, 32, self.first_sequence.to_le_bytes());
        put(block, 40, self.durable_before.to_le_bytes());
        put(block, 48, self.capacity.to_le_bytes());
        put(block, 56, self.directory_id);
        put(block, 72, self.seed.to_le_bytes());
        let crc = crc32c::crc32c(&block[..76]);
        put(block, 76, crc.to_le_bytes());
    }

    /// Reads a header; none if there is no intact one.
    ///
    /// # Errors
    /// [`Undecodable::Newer`] for an intact header of a later version.
    pub fn decode(block: &[u8]) -> Result<Option<Self>, Undecodable> {
        let is_intact = block.len() >= EXTENT_HEADER_BYTES
            && block[..8] == EXTENT_MAGIC
            && crc32c::crc32c(&block[..76]) == get_u32(block, 76);
        if !is_intact {
            return Ok(None);
        }
        let version = u16::from_le_bytes(get(block, 8));
        let durability = match (version, block[10]) {
            (VERSION, 0) => Durability::Durable,
            (VERSION, 1) => Durability::Cached,
            _ => return Err(Undecodable::Newer(format!("journal extent of version {version}"))),
        };
        Ok(Some(Self {
            durability,
            shard: get_u32(block, 12),
            incarnation: get_u64(block, 16),
            ordinal: get_u64(block, 24),
            first_sequence: get_u64(block, 32),
            durable_before: get_u64(block, 40),
            capacity: get_u64(block, 48),
            directory_id: get(block, 56),
            seed: get_u32(block, 72),
        }))
    }
}

/// The head of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupHeader {
    /// The start of the node that wrote it.
    pub incarnation: u64,
    /// The extent it was written for.
    pub ordinal: u64,
    /// Sequence of its first entry.
    pub first_sequence: u64,
    /// Every entry before this was durable.
    pub durable_before: u64,
    /// Its place among all groups of its shard.
    pub order: u64,
    /// How many entries follow.
    pub entries: u32,
    /// Bytes of header and entries.
    pub bytes: u32,
    /// CRC of the entry before.
    pub seed: u32,
}

impl GroupHeader {
    /// Writes the header.
    pub fn encode(&self, out: &mut [u8]) {
        put(out, 0, GROUP_MAGIC);
        put(out, 4, VERSION.to_le_bytes());
        put(out, 6, [0; 2]);
        put(out, 8, self.incarnation.to_le_bytes());
        put(out, 16, self.ordinal.to_le_bytes());
        put(out, 24, self.first_sequence.to_le_bytes());
        put(out, 32, self.durable_before.to_le_bytes());
        put(out, 40, self.order.to_le_bytes());
        put(out, 48, self.entries.to_le_bytes());
        put(out, 52, self.bytes.to_le_bytes());
        put(out, 56, self.seed.to_le_bytes());
        let crc = crc32c::crc32c(&out[..60]);
        put(out, 60, crc.to_le_bytes());
    }

    /// Reads a header; none if there is no intact one.
    ///
    /// # Errors
    /// [`Undecodable::Newer`] for an intact header of a later version.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, Undecodable> {
        let is_intact = bytes.len() >= GROUP_HEADER_BYTES
            && bytes[..4] == GROUP_MAGIC
            && crc32c::crc32c(&bytes[..60]) == get_u32(bytes, 60);
        if !is_intact {
            return Ok(None);
        }
        let version = u16::from_le_bytes(get(bytes, 4));
        if version != VERSION {
            return Err(Undecodable::Newer(format!("journal group of version {version}")));
        }
        Ok(Some(Self {
            incarnation: get_u64(bytes, 8),
            ordinal: get_u64(bytes, 16),
            first_sequence: get_u64(bytes, 24),
            durable_before: get_u64(bytes, 32),
            order: get_u64(bytes, 40),
            entries: get_u32(bytes, 48),
            bytes: get_u32(bytes, 52),
            seed: get_u32(bytes, 56),
        }))
    }

    /// Bytes of the group on disk.
    #[must_use]
    pub fn padded_bytes(&self) -> usize {
        (self.bytes as usize).next_multiple_of(BLOCK_BYTES)
    }
}

/// The seed of a journal's first entry: different for every journal and start.
#[must_use]
pub fn first_seed(incarnation: u64, shard: u32, durability: Durability) -> u32 {
    let mut bytes = [0; 13];
    put(&mut bytes, 0, incarnation.to_le_bytes());
    put(&mut bytes, 8, shard.to_le_bytes());
    bytes[12] = u8::from(durability == Durability::Cached);
    crc32c::crc32c(&bytes)
}

/// Writes an entry's frame but for its CRC.
fn put_frame(frame: &mut [u8], kind: Kind, body_bytes: usize, covered: usize, log: LogId, sequence: u64) {
    frame[0] = kind as u8;
    frame[1] = 1;
    put(frame, 2, [0; 2]);
    put(frame, 4, u32::try_from(body_bytes).expect("an entry fits its extent").to_le_bytes());
    put(frame, 8, sequence.to_le_bytes());
    put(frame, 16, log.0.to_le_bytes());
    put(frame, 24, (covered as u32).to_le_bytes());
}

fn put_append_head(out: &mut [u8], place: Place, max_timestamp_delta: u32) {
    put_place(out, place);
    put(out, 16, max_timestamp_delta.to_le_bytes());
    put(out, 20, [0; 4]);
}

fn put_place(out: &mut [u8], place: Place) {
    put(out, 0, place.segment.to_le_bytes());
    put(out, 8, place.position.to_le_bytes());
}

fn get_place(bytes: &[u8]) -> Place {
    Place { segment: get_u64(bytes, 0) as i64, position: get_u64(bytes, 8) }
}

fn put<const N: usize>(out: &mut [u8], at: usize, value: [u8; N]) {
    out[at..at + N].copy_from_slice(&value);
}

fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("callers checked the length")
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(get(bytes, at))
}

fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(get(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::{BatchBuilder, NewRecord, Options};

    #[test]
    fn entries_come_back_and_any_flipped_bit_breaks_the_chain() {
        let place = Place { segment: 7, position: 4096 };
        let mut batch = BatchBuilder::new(Options::default());
        let record = NewRecord { timestamp: 1, key: None, value: Some(&[7; 5000]), headers: &[] };
        batch.append(&record).expect("small");
        let batch = batch.finish();
        let mut batches = Vec::new();
        push_referred(&mut batches, &batch, 0);
        let image = &batch[4096..];
        let bodies: [Body<&[u8]>; 9] = [
            Body::Append { place, max_timestamp_delta: 3, batch: &batch },
            Body::Reference { place, durable: 8192, batches: &batches, image },
            Body::TailImage { place, end_offset: 9, bytes: b"image" },
            Body::Truncate { place, start_offset: 2, end_offset: 8, open: b"", producers: b"producers" },
            Body::Truncate { place, start_offset: 2, end_offset: 8, open: &[7; 32], producers: b"producers" },
            Body::LogStart { start_offset: 3 },
            Body::Delete,
            Body::Noop,
            Body::Directory { name: b"topic-0.1" },
        ];
        for body in bodies {
            let mut out = vec![0; body.entry_bytes()];
            let crc = body.encode(&mut out, LogId(5), 11, 42);
            let expected = Expected { sequence: 11, seed: 42 };
            let entry = decode_entry(&out, expected).expect("intact");
            assert_eq!((entry.log, entry.crc, entry.bytes), (LogId(5), crc, out.len()));
            assert_eq!(entry.body, body);
            assert_eq!(decode_entry(&out, Expected { sequence: 12, ..expected }), Err(Undecodable::Broken));
            assert_eq!(decode_entry(&out, Expected { seed: 43, ..expected }), Err(Undecodable::Broken));
            for bit in 0..out.len() * 8 {
                out[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode_entry(&out, expected), Err(Undecodable::Broken), "bit {bit}");
                out[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn a_reference_whose_parts_do_not_meet_is_refused() {
        let mut batch = BatchBuilder::new(Options::default());
        batch.append(&NewRecord { timestamp: 1, key: None, value: None, headers: &[] }).expect("small");
        let batch = batch.finish();
        let mut batches = Vec::new();
        push_referred(&mut batches, &batch, 0);
        let size = batch.len() as u64;
        let decode = |position: u64, durable: u64, image: &[u8]| {
            let place = Place { segment: 0, position };
            let body = Body::Reference { place, durable, batches: batches.as_slice(), image };
            let mut out = vec![0; body.entry_bytes()];
            body.encode(&mut out, LogId(1), 1, 1);
            decode_entry(&out, Expected { sequence: 1, seed: 1 }).map(drop)
        };
        assert_eq!(decode(8192 - size, 8192, b""), Ok(()));
        assert_eq!(decode(8193 - size, 8192, b"i"), Ok(()));
        assert_eq!(decode(8192 - size, 8192, b"i"), Err(Undecodable::Broken));
        assert_eq!(decode(100, 100 + size, b""), Err(Undecodable::Broken), "no block starts there");
    }

    #[test]
    fn an_intact_entry_of_an_unknown_kind_is_refused_not_skipped() {
        let mut out = vec![0; FRAME_BYTES];
        Body::<&[u8]>::Noop.encode(&mut out, LogId(1), 1, 1);
        out[0] = 99;
        let crc = chained_crc(1, &out[..28], &[]);
        put(&mut out, 28, crc.to_le_bytes());
        let decoded = decode_entry(&out, Expected { sequence: 1, seed: 1 });
        assert!(matches!(decoded, Err(Undecodable::Newer(_))));
    }

    #[test]
    fn headers_come_back() {
        let extent = ExtentHeader {
            durability: Durability::Cached,
            shard: 3,
            incarnation: 9,
            ordinal: 2,
            first_sequence: 100,
            durable_before: 99,
            capacity: 1 << 20,
            directory_id: [7; 16],
            seed: 5,
        };
        let mut block = vec![1; BLOCK_BYTES];
        extent.encode(&mut block);
        assert_eq!(ExtentHeader::decode(&block), Ok(Some(extent)));
        block[30] ^= 1;
        assert_eq!(ExtentHeader::decode(&block), Ok(None));
        let group = GroupHeader {
            incarnation: 9,
            ordinal: 2,
            first_sequence: 100,
            durable_before: 99,
            order: 4,
            entries: 3,
            bytes: 5000,
            seed: 5,
        };
        group.encode(&mut block);
        assert_eq!(GroupHeader::decode(&block), Ok(Some(group)));
        assert_eq!(group.padded_bytes(), 2 * BLOCK_BYTES);
    }
}
