//! Walks a segment file batch by batch.
//!
//! ```text
//!  ├ batch ┤├ batch ┤├ batch ┤│ zeros: space taken beforehand │
//!  0       position                                          length
//! ```

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use storage::batch::{Batch, HEADER_BYTES, LENGTH_PREFIX_BYTES, Malformed};
use storage::record;
use storage::store::BATCH_BYTES_MAX;
use storage::verify::{Bounds, Piece, Walk};

use crate::client::records;

/// Bytes that are read at once.
const READ_BYTES: usize = 1 << 20;
/// Bytes in which the end of damage is looked for at once: more than a batch has.
const WINDOW_BYTES: u64 = 2 * BATCH_BYTES_MAX as u64;

/// A file that is being walked.
pub(super) struct Scan {
    file: BufReader<File>,
    length: u64,
    position: u64,
    buffer: Vec<u8>,
}

/// What comes next in a file.
pub(super) enum Found<'a> {
    /// A whole batch, of which nothing but length and magic has been checked.
    Batch {
        /// Where it starts, in bytes.
        position: u64,
        /// The batch.
        batch: Batch<'a>,
    },
    /// Nothing but zeros to the end of the file: space that is not used yet.
    Unused {
        /// Where they start.
        position: u64,
        /// How many.
        bytes: u64,
    },
    /// The end.
    End,
}

/// Where and why a file is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    /// Start of the damaged batch, in bytes.
    pub(super) position: u64,
    /// What is wrong.
    pub(super) reason: String,
    /// Whether it is nothing but the file's end in the middle of a batch.
    pub(super) is_cut: bool,
}

impl Scan {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: BufReader::with_capacity(READ_BYTES, file), length, position: 0, buffer: Vec::new() })
    }

    /// The file's length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The next batch. After damage the same comes again, unless it is [passed over](Self::pass_over).
    pub(super) fn next(&mut self) -> io::Result<Result<Found<'_>, Damage>> {
        let position = self.position;
        let left = self.length - position;
        if left == 0 {
            return Ok(Ok(Found::End));
        }
        self.buffer.clear();
        self.fill(left.min(HEADER_BYTES as u64) as usize)?;
        if self.buffer.iter().all(|&byte| byte == 0) {
            return self.unused(position, left);
        }
        // The length field decides how much is read, and never more than the file has.
        let announced = self.buffer.first_chunk::<LENGTH_PREFIX_BYTES>().map_or(0, |prefix| {
            let [.., a, b, c, d] = *prefix;
            u64::try_from(i32::from_be_bytes([a, b, c, d])).unwrap_or(0) + LENGTH_PREFIX_BYTES as u64
        });
        let wanted = announced.min(left).max(self.buffer.len() as u64) as usize;
        self.fill(wanted)?;
        match Batch::first(&self.buffer) {
            Ok(batch) => {
                self.position += batch.size_in_bytes() as u64;
                Ok(Ok(Found::Batch { position, batch }))
            }
            Err(malformed) => {
                let is_cut = matches!(malformed, Malformed::HeaderCut { .. } | Malformed::BatchCut { .. });
                Ok(Err(Damage { position, reason: malformed.to_string(), is_cut }))
            }
        }
    }

    /// Looks behind damage for the next intact batch, of which no offset is below `offset_min`, and goes on there.
    /// Whether there is one.
    pub(super) fn pass_over(&mut self, damage: &Damage, offset_min: i64) -> io::Result<bool> {
        let mut from = damage.position;
        let mut is_first = true;
        while from < self.length {
            let bytes_left = self.length - from;
            let mut bytes = vec![0; bytes_left.min(WINDOW_BYTES) as usize];
            self.file.seek(SeekFrom::Start(from))?;
            self.file.read_exact(&mut bytes)?;
            let bounds = Bounds { offset_min, offset_end: i64::MAX, bytes_left };
            let mut walk = if is_first { Walk::new(&bytes, bounds) } else { Walk::behind_damage(&bytes, bounds) };
            loop {
                let at = walk.position();
                match walk.next_piece() {
                    Piece::Intact(_) => {
                        self.position = from + at as u64;
                        self.file.seek(SeekFrom::Start(self.position))?;
                        return Ok(true);
                    }
                    Piece::Damaged { .. } | Piece::Skipped { .. } => {}
                    Piece::Cut { .. } | Piece::End => break,
                }
            }
            if walk.position() == 0 {
                break;
            }
            (from, is_first) = (from + walk.position() as u64, false);
        }
        Ok(false)
    }

    /// Reads on until the buffer has `wanted` bytes of the current batch.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        let start = self.buffer.len();
        self.buffer.resize(wanted, 0);
        self.file.read_exact(&mut self.buffer[start..])
    }

    fn unused(&mut self, position: u64, left: u64) -> io::Result<Result<Found<'_>, Damage>> {
        let mut unread = left - self.buffer.len() as u64;
        let mut piece = vec![0; READ_BYTES];
        while unread > 0 {
            let length = unread.min(READ_BYTES as u64) as usize;
            self.file.read_exact(&mut piece[..length])?;
            if piece[..length].iter().any(|&byte| byte != 0) {
                let reason = "zeros where a batch should be, and data after them".to_owned();
                return Ok(Err(Damage { position, reason, is_cut: false }));
            }
            unread -= length as u64;
        }
        self.position = self.length;
        Ok(Ok(Found::Unused { position, bytes: left }))
    }
}

/// Checks everything that a batch says about itself. Gives back the decompressed records.
pub(super) fn check(batch: &Batch<'_>, expected_offset: Option<i64>) -> Result<Vec<u8>, String> {
    if batch.crc() != batch.computed_crc() {
        return Err(format!("the CRC is {:#010x}, the header says {:#010x}", batch.computed_crc(), batch.crc()));
    }
    if let Some(expected) = expected_offset.filter(|&expected| batch.base_offset() < expected) {
        return Err(format!(
            "the base offset is {}, but the batch before ends at {}",
            batch.base_offset(),
            expected - 1
        ));
    }
    let body = records::body(batch)?;
    let mut count = 0;
    let mut last_delta = -1;
    for read in record::records(&body) {
        let read = read.map_err(|malformed| format!("record {count}: {malformed}"))?;
        if read.head.offset_delta <= last_delta || read.head.offset_delta > batch.last_offset_delta() {
            return Err(format!("record {count} has offset delta {} after {last_delta}", read.head.offset_delta));
        }
        last_delta = read.head.offset_delta;
        count += 1;
    }
    if count != batch.record_count() {
        return Err(format!("it holds {count} records, the header says {}", batch.record_count()));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::builder::{BatchBuilder, NewRecord, Options};

    fn batch(base_offset: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Options { base_offset, ..Options::default() });
        for value in ["some", "thing"] {
            let record = NewRecord { timestamp: 5, key: None, value: Some(value.as_bytes()), headers: &[] };
            builder.append(&record).unwrap();
        }
        builder.finish()
    }

    /// Positions of whole batches and of what ends the file.
    fn scanned(bytes: &[u8]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("00000000000000000000.log");
        std::fs::write(&path, bytes).unwrap();
        let mut scan = Scan::open(&path).unwrap();
        let mut seen = Vec::new();
        loop {
            match scan.next().unwrap() {
                Ok(Found::Batch { position, batch }) => seen.push(format!("{position}: {}", batch.base_offset())),
                Ok(Found::Unused { position, bytes }) => seen.push(format!("{position}: {bytes} unused")),
                Ok(Found::End) => return seen,
                Err(Damage { position, reason, .. }) => {
                    seen.push(format!("{position}: damage, {reason}"));
                    return seen;
                }
            }
        }
    }

    #[test]
    fn batches_follow_one_another_to_the_end_or_to_unused_space() {
        let (first, second) = (batch(0), batch(2));
        let next = first.len();
        assert_eq!(scanned(&[]), Vec::<String>::new());
        assert_eq!(scanned(&[first.clone(), second.clone()].concat()), ["0: 0".to_owned(), format!("{next}: 2")]);
        let padded = [first, vec![0; 5000]].concat();
        assert_eq!(scanned(&padded), ["0: 0".to_owned(), format!("{next}: 5000 unused")]);
    }

    #[test]
    fn damage_is_found_where_its_batch_starts() {
        let first = batch(0);
        let cut = &first[..first.len() - 1];
        let seen = scanned(&[first.as_slice(), cut].concat());
        assert!(seen[1].starts_with(&format!("{}: damage", first.len())), "{seen:?}");
        let mut late = [first.clone(), vec![0; 100], vec![1]].concat();
        assert!(scanned(&late)[1].contains("data after them"));
        late.truncate(first.len());
        late[16] = 9;
        assert!(scanned(&late)[0].starts_with("0: damage, the record batch has magic 9"));
        assert!(scanned(b"just text")[0].starts_with("0: damage"));
    }

    #[test]
    fn what_lies_behind_damage_is_found_again() {
        let batches: Vec<Vec<u8>> = (0..6).map(|at| batch(at * 2)).collect();
        let size = batches[0].len();
        let mut bytes = batches.concat();
        bytes[size + 16] = 7;
        bytes[3 * size + 70] ^= 1;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("00000000000000000000.log");
        std::fs::write(&path, &bytes).unwrap();
        let mut scan = Scan::open(&path).unwrap();
        let damage = |at: usize| Damage { position: (at * size) as u64, reason: String::new(), is_cut: false };
        assert!(scan.pass_over(&damage(1), 2).unwrap());
        assert!(matches!(scan.next().unwrap(), Ok(Found::Batch { batch, .. }) if batch.base_offset() == 4));
        assert!(scan.pass_over(&damage(3), 6).unwrap());
        assert!(matches!(scan.next().unwrap(), Ok(Found::Batch { batch, .. }) if batch.base_offset() == 8));
        assert!(!scan.pass_over(&Damage { position: (5 * size + 1) as u64, ..damage(0) }, 10).unwrap());
    }

    #[test]
    fn a_batch_is_held_to_what_its_header_says() {
        let bytes = batch(4);
        let whole = Batch::first(&bytes).unwrap();
        assert!(check(&whole, Some(4)).is_ok());
        assert!(check(&whole, Some(2)).is_ok(), "compaction leaves gaps");
        assert!(check(&whole, Some(5)).unwrap_err().contains("ends at 4"));
        let mut flipped = bytes.clone();
        let last = flipped.len() - 2;
        flipped[last] ^= 1;
        assert!(check(&Batch::first(&flipped).unwrap(), None).unwrap_err().contains("CRC"));
        let mut miscounted = bytes;
        miscounted[60] = 3;
        let crc = Batch::first(&miscounted).unwrap().computed_crc();
        miscounted[17..21].copy_from_slice(&crc.to_be_bytes());
        let reason = check(&Batch::first(&miscounted).unwrap(), None).unwrap_err();
        assert_eq!(reason, "it holds 2 records, the header says 3");
    }
}
