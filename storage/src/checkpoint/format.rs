//! The bytes of a checkpoint file. All integers are little-endian.
//!
//! ```text
//! file:    file header, one block │ group, n blocks │ group │ …
//! group:   header │ record │ record │ … │ zeros to the next block
//! record:  length u32 │ kind u8 │ version u8 │ zero u16 │ rkyv bytes (little-endian, unaligned)
//!
//! file header, 48 bytes               group header, 40 bytes
//!  0 magic "SKNCKPT\0"                 0 magic "SKCG"
//!  8 version u16, 10 zero u16          4 version u16
//! 12 shard u32                         6 flags u16: 1 part of a full copy, 2 the last such part
//! 16 incarnation u64                   8 incarnation u64
//! 24 generation u32                   16 generation u32
//! 28 directory id, 16 bytes           20 number u32: 0, 1, 2… in its file
//! 44 CRC-32C of bytes 0–43            24 number of records u32
//!                                     28 bytes of header and records u32
//!                                     32 zero u32
//!                                     36 CRC-32C of bytes 0–35 and the records
//! ```
//!
//! Groups are written one after another, each durable before the next: a broken group with an intact one of its
//! file behind it is damage, not a torn end.

use crate::io::BLOCK_BYTES;

/// Version of file and group.
pub const VERSION: u16 = 1;
/// Bytes of a file header in its block.
pub const FILE_HEADER_BYTES: usize = 48;
/// Bytes of a group header.
pub const GROUP_HEADER_BYTES: usize = 40;
/// Bytes before a record.
pub const RECORD_HEAD_BYTES: usize = 8;
/// A group is closed at this size, unless its first record alone is larger.
pub const GROUP_BYTES_MAX: usize = 3 << 20;

const FILE_MAGIC: [u8; 8] = *b"SKNCKPT\0";
const GROUP_MAGIC: [u8; 4] = *b"SKCG";
const RECORD_VERSION: u8 = 1;

const _: () = assert!(FILE_HEADER_BYTES <= BLOCK_BYTES && GROUP_HEADER_BYTES < BLOCK_BYTES);

/// What a record is about. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A log: [`super::record::LogV1`].
    Log = 1,
    /// A journal: [`super::record::JournalV1`].
    Journal = 2,
    /// What compaction did to the log of the record before: [`super::record::CompactionV1`].
    Compaction = 3,
    /// The transactions of the log of the record before: [`crate::transactions::TransactionsV1`].
    Transactions = 4,
}

/// Part of a full copy.
pub const FLAG_FULL: u16 = 1;
/// Its last part.
pub const FLAG_FULL_END: u16 = 2;

/// Whose checkpoint a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHeader {
    /// The shard; `u32::MAX` for the base.
    pub shard: u32,
    /// The start of the node that wrote it.
    pub incarnation: u64,
    /// Counts a shard's files.
    pub generation: u32,
    /// The data directory it belongs to.
    pub directory_id: [u8; 16],
}

impl FileHeader {
    /// Writes the header and zeros to the end of `block`.
    pub fn encode(&self, block: &mut [u8]) {
        block.fill(0);
        put(block, 0, FILE_MAGIC);
        put(block, 8, VERSION.to_le_bytes());
        put(block, 12, self.shard.to_le_bytes());
        put(block, 16, self.incarnation.to_le_bytes());
        put(block, 24, self.generation.to_le_bytes());
        put(block, 28, self.directory_id);
        let crc = crc32c::crc32c(&block[..44]);
        put(block, 44, crc.to_le_bytes());
    }

    /// Reads a header; none if there is no intact one.
    ///
    /// # Errors
    /// The version, if it is not this program's.
    pub fn decode(block: &[u8]) -> Result<Option<Self>, String> {
        let is_intact = block.len() >= FILE_HEADER_BYTES
            && block[..8] == FILE_MAGIC
            && crc32c::crc32c(&block[..44]) == get_u32(block, 44);
        if !is_intact {
            return Ok(None);
        }
        let version = u16::from_le_bytes(get(block, 8));
        if version != VERSION {
            return Err(format!("checkpoint of version {version}"));
        }
        Ok(Some(Self {
            shard: get_u32(block, 12),
            incarnation: u64::from_le_bytes(get(block, 16)),
            generation: get_u32(block, 24),
            directory_id: get(block, 28),
        }))
    }
}

/// The place of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupPlace {
    /// As its file's.
    pub incarnation: u64,
    /// As its file's.
    pub generation: u32,
    /// Its place in the file.
    pub number: u32,
}

/// An intact group as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group<'a> {
    /// Its place.
    pub place: GroupPlace,
    /// [`FLAG_FULL`], [`FLAG_FULL_END`].
    pub flags: u16,
    /// The records with their heads.
    pub records: &'a [u8],
    /// Bytes of the group on disk.
    pub padded_bytes: usize,
}

/// Appends a record with its head to a group's records.
pub fn push_record(records: &mut Vec<u8>, kind: RecordKind, encode: impl FnOnce(&mut Vec<u8>)) {
    let start = records.len();
    records.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
    encode(records);
    let length = u32::try_from(records.len() - start - RECORD_HEAD_BYTES).expect("a log's record is small");
    put(records, start, length.to_le_bytes());
    records[start + 4] = kind as u8;
    records[start + 5] = RECORD_VERSION;
}

/// Bytes on disk of a group with so many bytes of records.
#[must_use]
pub fn group_bytes(records: usize) -> usize {
    (GROUP_HEADER_BYTES + records).next_multiple_of(BLOCK_BYTES)
}

/// Writes a group that fills `out`.
pub fn encode_group(out: &mut [u8], place: GroupPlace, flags: u16, count: u32, records: &[u8]) {
    let bytes = GROUP_HEADER_BYTES + records.len();
    put(out, 0, GROUP_MAGIC);
    put(out, 4, VERSION.to_le_bytes());
    put(out, 6, flags.to_le_bytes());
    put(out, 8, place.incarnation.to_le_bytes());
    put(out, 16, place.generation.to_le_bytes());
    put(out, 20, place.number.to_le_bytes());
    put(out, 24, count.to_le_bytes());
    put(out, 28, u32::try_from(bytes).expect("a group is small").to_le_bytes());
    put(out, 32, [0; 4]);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out[..36]), records);
    put(out, 36, crc.to_le_bytes());
    out[GROUP_HEADER_BYTES..bytes].copy_from_slice(records);
    out[bytes..].fill(0);
}

/// Reads the group at the start of `bytes`; none if there is no intact one.
///
/// # Errors
/// The version, if it is not this program's.
pub fn decode_group(bytes: &[u8]) -> Result<Option<Group<'_>>, String> {
    if bytes.len() < GROUP_HEADER_BYTES || bytes[..4] != GROUP_MAGIC {
        return Ok(None);
    }
    let length = get_u32(bytes, 28) as usize;
    let Some(records) = bytes.get(GROUP_HEADER_BYTES..length) else { return Ok(None) };
    if crc32c::crc32c_append(crc32c::crc32c(&bytes[..36]), records) != get_u32(bytes, 36) {
        return Ok(None);
    }
    let version = u16::from_le_bytes(get(bytes, 4));
    if version != VERSION {
        return Err(format!("checkpoint group of version {version}"));
    }
    let place = GroupPlace {
        incarnation: u64::from_le_bytes(get(bytes, 8)),
        generation: get_u32(bytes, 16),
        number: get_u32(bytes, 20),
    };
    let flags = u16::from_le_bytes(get(bytes, 6));
    Ok(Some(Group { place, flags, records, padded_bytes: length.next_multiple_of(BLOCK_BYTES) }))
}

/// Calls `each` with the bytes of every record of a group.
///
/// # Errors
/// What is newer than this program, or what `each` returns.
pub fn for_each_record(
    mut records: &[u8],
    mut each: impl FnMut(RecordKind, &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    while !records.is_empty() {
        let length = if records.len() < RECORD_HEAD_BYTES { usize::MAX } else { get_u32(records, 0) as usize };
        let rest = records.get(RECORD_HEAD_BYTES..).and_then(|rest| rest.split_at_checked(length));
        let (record, rest) = rest.ok_or("a record is cut")?;
        let kind = match (records[4], records[5]) {
            (1, RECORD_VERSION) => RecordKind::Log,
            (2, RECORD_VERSION) => RecordKind::Journal,
            (3, RECORD_VERSION) => RecordKind::Compaction,
            (4, RECORD_VERSION) => RecordKind::Transactions,
            (kind, version) => return Err(format!("checkpoint record of kind {kind}, version {version}")),
        };
        each(kind, record)?;
        records = rest;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_back_and_any_flipped_bit_shows() {
        let mut records = Vec::new();
        push_record(&mut records, RecordKind::Log, |out| out.extend_from_slice(b"one"));
        push_record(&mut records, RecordKind::Log, |out| out.extend_from_slice(b"another"));
        let place = GroupPlace { incarnation: 3, generation: 1, number: 2 };
        let mut out = vec![9; group_bytes(records.len())];
        encode_group(&mut out, place, FLAG_FULL, 2, &records);
        let group = decode_group(&out).expect("known version").expect("intact");
        assert_eq!((group.place, group.flags, group.padded_bytes), (place, FLAG_FULL, BLOCK_BYTES));
        let mut seen = Vec::new();
        for_each_record(group.records, |kind, record| {
            assert_eq!(kind, RecordKind::Log);
            seen.push(record.to_vec());
            Ok(())
        })
        .expect("whole records");
        assert_eq!(seen, [b"one".to_vec(), b"another".to_vec()]);
        for bit in 0..(GROUP_HEADER_BYTES + records.len()) * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_group(&out), Ok(None), "bit {bit}");
            out[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_file_header_comes_back() {
        let header = FileHeader { shard: 2, incarnation: 3, generation: 4, directory_id: [5; 16] };
        let mut block = vec![1; BLOCK_BYTES];
        header.encode(&mut block);
        assert_eq!(FileHeader::decode(&block), Ok(Some(header)));
        block[20] ^= 1;
        assert_eq!(FileHeader::decode(&block), Ok(None));
    }
}
