//! What a stopped node's segments hold that is damaged, and what can be done about it.
//!
//! ```text
//! examine ─► findings: file, position, offsets, what can be done ─► repair: bytes kept aside ─► a filler in their place
//! ```
//!
//! A repair loses nothing that could be read: it puts batches without contents ([`crate::filler`]) where damaged ones are,
//! of the same size and with the same offsets, so that consumers go on behind them. Index and checkpoint stay true.

use std::path::{Path, PathBuf};

use super::Recovered;
use super::found::{Found, FoundSegment};
use crate::Error;
use crate::disk::Disk;
use crate::filler::Filler;
use crate::index::{Index, Position};
use crate::io::BLOCK_BYTES;
use crate::log::LogId;
use crate::store::BATCH_BYTES_MAX;
use crate::verify::{Bounds, Damage, Piece, Walk};

/// Where damaged bytes are kept: a directory of its own within the data directory.
pub const DAMAGED_DIRECTORY: &str = "damaged";
/// Bytes of a file that are looked at together: more than a batch has.
const WINDOW_BYTES: usize = 2 * BATCH_BYTES_MAX;
/// The log that has the node's metadata.
const METADATA_LOG: LogId = LogId(0);

/// A damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The log.
    pub log: LogId,
    /// The segment's file, relative to the data directory.
    pub file: PathBuf,
    /// Where the damage starts.
    pub position: u64,
    /// Bytes of it.
    pub bytes: u64,
    /// The first offset that cannot be read, and the offset behind the last one.
    pub offsets: (i64, i64),
    /// What is wrong.
    pub damage: Damage,
    /// What can be done.
    pub remedy: Remedy,
}

/// The index of a closed segment that is missing or damaged. Reads go through the segment from its start instead; it can be
/// made anew. (Indexes of active segments, and of aborted transactions, are made anew by every start.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFinding {
    /// The log.
    pub log: LogId,
    /// The segment's base offset.
    pub base_offset: i64,
    /// The index's file, relative to the data directory.
    pub file: PathBuf,
    /// What is wrong.
    pub reason: String,
}

/// What can be done about damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Batches without contents take its place.
    Replace(Vec<(u64, Filler)>),
    /// Nothing but to restore the file from a copy; why.
    None(&'static str),
}

/// Damage whose end is not known yet.
struct Open {
    position: u64,
    offset: i64,
    damage: Damage,
}

impl Recovered<'_> {
    /// Looks at every byte of all segments that a start would rely on. `looked_at` is told of each file.
    ///
    /// # Errors
    /// [`Error::Io`] if the operating system refuses more than to read a damaged place.
    pub fn examine(&self, mut looked_at: impl FnMut(&Path, u64)) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        for found in self.logs.values().filter(|found| !found.is_deleted) {
            for (&base_offset, segment) in &found.segments {
                let next = found.segments.range(base_offset + 1..).next().map(|(&base, _)| base);
                let offset_end = next.unwrap_or(found.end_offset);
                let examination = Examination { disk: self.disk, found, segment, offset_end };
                examination.run(&mut findings)?;
                looked_at(&segment.segment.path(&found.directory), segment.segment.bytes);
            }
        }
        Ok(findings)
    }

    /// Looks at the indexes of all closed segments.
    #[must_use]
    pub fn examine_indexes(&self) -> Vec<IndexFinding> {
        let mut findings = Vec::new();
        for found in self.logs.values().filter(|found| !found.is_deleted) {
            for (&base_offset, segment) in &found.segments {
                if let Some(reason) = found.index_fault(self.disk, base_offset) {
                    let file = segment.segment.index_path(&found.directory);
                    findings.push(IndexFinding { log: found.id, base_offset, file, reason });
                }
            }
        }
        findings
    }

    /// Makes an index anew from its segment. It lasts when the directory is [made ready for a start](Self::into_stores).
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the segment is damaged, too; [`Error::Io`].
    pub fn rebuild_index(&mut self, finding: &IndexFinding) -> Result<(), Error> {
        let found = self.logs.get_mut(&finding.log).expect("it was found there");
        found.rebuild_index(self.disk, finding.base_offset)
    }

    /// Does what a finding's remedy says. Where the damaged bytes are kept, relative to the data directory; none if
    /// there is no remedy.
    ///
    /// # Errors
    /// [`Error::Io`]. What was done until then is no harm: the same can be done again.
    pub fn repair(&self, finding: &Finding) -> Result<Option<PathBuf>, Error> {
        let Remedy::Replace(fillers) = &finding.remedy else { return Ok(None) };
        let file = &finding.file;
        let kept = self.keep_aside(finding)?;
        for (position, filler) in fillers {
            let bytes = filler.encode().expect("a remedy was found to fit");
            self.disk.write_at(file, *position, &bytes).map_err(Error::io(file, "write"))?;
        }
        self.disk.sync(file).map_err(Error::io(file, "sync"))?;
        Ok(Some(kept))
    }

    /// Copies the damaged bytes to a file of their own, durably.
    fn keep_aside(&self, finding: &Finding) -> Result<PathBuf, Error> {
        let directory = match finding.file.parent().and_then(Path::file_name) {
            Some(log) => Path::new(DAMAGED_DIRECTORY).join(log),
            None => DAMAGED_DIRECTORY.into(),
        };
        let failed = |what| move |cause| Error::io(&directory_of(finding), what)(cause);
        self.disk.create_directory(&directory).map_err(failed("create"))?;
        let name = finding.file.file_name().unwrap_or_default().display().to_string();
        let mut kept = directory.join(format!("{name}.{}", finding.position));
        for number in 1.. {
            if self.disk.length(&kept).map_err(Error::io(&kept, "look at"))?.is_none() {
                break;
            }
            kept = directory.join(format!("{name}.{}.{number}", finding.position));
        }
        let mut position = finding.position;
        let end = finding.position + finding.bytes;
        self.disk.write_at(&kept, 0, &[]).map_err(Error::io(&kept, "write"))?;
        while position < end {
            let bytes = read_window(self.disk, &finding.file, position, end);
            if bytes.is_empty() {
                break;
            }
            let at = position - finding.position;
            self.disk.write_at(&kept, at, &bytes).map_err(Error::io(&kept, "write"))?;
            position += bytes.len() as u64;
        }
        self.disk.sync(&kept).map_err(Error::io(&kept, "sync"))?;
        for directory in [directory.as_path(), Path::new(DAMAGED_DIRECTORY), Path::new("")] {
            self.disk.sync_directory(directory).map_err(Error::io(directory, "sync"))?;
        }
        Ok(kept)
    }
}

fn directory_of(finding: &Finding) -> PathBuf {
    finding.file.parent().unwrap_or(&finding.file).to_path_buf()
}

/// The file's next bytes, up to `end` at the most, and fewer where the file ends. What the device cannot read is zeros.
fn read_window(disk: &dyn Disk, file: &Path, position: u64, end: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(end - position).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES)];
    let length = match disk.read_at(file, position, &mut bytes) {
        Ok(length) => length,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(_) => {
            for (number, block) in bytes.chunks_mut(BLOCK_BYTES).enumerate() {
                if disk.read_at(file, position + (number * BLOCK_BYTES) as u64, block).is_err() {
                    block.fill(0);
                }
            }
            bytes.len()
        }
    };
    bytes.truncate(length);
    bytes
}

/// One segment being looked at.
struct Examination<'a> {
    disk: &'a dyn Disk,
    found: &'a Found,
    segment: &'a FoundSegment,
    offset_end: i64,
}

impl Examination<'_> {
    /// Up to where the file has to have the segment's bytes; the rest is in the journal.
    fn durable(&self) -> u64 {
        let segment = &self.segment.segment;
        if segment.is_closed { segment.bytes } else { self.segment.start.min(segment.bytes) }
    }

    fn run(&self, findings: &mut Vec<Finding>) -> Result<(), Error> {
        let segment = &self.segment.segment;
        let (file, durable) = (segment.path(&self.found.directory), self.durable());
        let (mut position, mut offset_min) = (0, segment.base_offset);
        let mut open: Option<Open> = None;
        while position < durable {
            let bytes = read_window(self.disk, &file, position, durable);
            let length = bytes.len();
            let bounds = Bounds { offset_min, offset_end: self.offset_end, bytes_left: segment.bytes - position };
            let mut walk = if open.is_some() { Walk::behind_damage(&bytes, bounds) } else { Walk::new(&bytes, bounds) };
            loop {
                let at = position + walk.position() as u64;
                let offset = walk.offset_min();
                match walk.next_piece() {
                    Piece::Intact(batch) => {
                        if let Some(open) = open.take() {
                            findings.push(self.finding(&file, open, at, batch.base_offset()));
                        }
                    }
                    Piece::Damaged { damage, .. } => {
                        open.get_or_insert(Open { position: at, offset, damage });
                    }
                    Piece::Skipped { .. } => {}
                    Piece::Cut { .. } | Piece::End => break,
                }
            }
            let reached = position + walk.position() as u64;
            offset_min = walk.offset_min();
            let is_file_over = position + (length as u64) < durable && length < WINDOW_BYTES;
            if is_file_over {
                open.get_or_insert(Open { position: reached, offset: offset_min, damage: Damage::Missing });
                position = durable;
            } else if reached == position {
                // The batch goes on in the journal.
                break;
            } else {
                position = reached;
            }
        }
        if let Some(open) = open {
            let end = self.offset_end;
            findings.push(self.finding(&file, open, durable, end));
        }
        Ok(())
    }

    fn finding(&self, file: &Path, open: Open, end: u64, offset_end: i64) -> Finding {
        let Open { position, offset, damage } = open;
        Finding {
            log: self.found.id,
            file: file.to_path_buf(),
            position,
            bytes: end - position,
            offsets: (offset, offset_end),
            damage,
            remedy: self.remedy(position, end, offset, offset_end),
        }
    }

    fn remedy(&self, position: u64, end: u64, offset: i64, offset_end: i64) -> Remedy {
        if self.found.id == METADATA_LOG {
            return Remedy::None("it is the node's metadata, of which nothing may be missing");
        }
        if end == self.durable() && end < self.segment.segment.bytes {
            return Remedy::None("a batch begins there whose end is in the journal: start and stop the node first");
        }
        if offset >= offset_end {
            return Remedy::None("the batches around leave no offset to what was there");
        }
        // The index's entries in between stay true where batches start at them.
        let places = self.index().map(|index| index.places_within(position, end)).unwrap_or_default();
        let inner = places.into_iter().filter(|place| (offset + 1..offset_end).contains(&place.offset));
        let starts: Vec<(u64, i64)> = std::iter::once((position, offset))
            .chain(inner.map(|place| (u64::from(place.position), place.offset)))
            .collect();
        let mut fillers = Vec::new();
        for (at, &(from, base_offset)) in starts.iter().enumerate() {
            let (to, next_offset) = starts.get(at + 1).copied().unwrap_or((end, offset_end));
            if to - from > BATCH_BYTES_MAX as u64 {
                return Remedy::None("too much is lost in one piece, and no index says what was in between");
            }
            let leader_epoch = self.found.epochs.epoch_of(base_offset).unwrap_or(-1);
            let size_in_bytes = (to - from) as usize;
            let filler = Filler { base_offset, last_offset: next_offset - 1, leader_epoch, size_in_bytes };
            if filler.encode().is_none() {
                return Remedy::None("the damaged batch is too small for another in its place");
            }
            fillers.push((from, filler));
        }
        Remedy::Replace(fillers)
    }

    /// The segment's index, if it can be used.
    fn index(&self) -> Option<Index> {
        let segment = &self.segment.segment;
        if let Some(index) = &segment.index {
            return Some(Index::clone(index));
        }
        let mut bytes = vec![0; usize::try_from(segment.index_bytes).ok().filter(|&bytes| bytes > 0)?];
        let length = self.disk.read_at(&segment.index_path(&self.found.directory), 0, &mut bytes).ok()?;
        Index::parse(bytes.get(..length)?, segment.base_offset).ok()
    }
}

impl Index {
    /// The places within some bytes of the segment where a batch starts, but for their first.
    fn places_within(&self, from: u64, to: u64) -> Vec<Position> {
        self.places().filter(|place| (from + 1..to).contains(&u64::from(place.position))).collect()
    }
}
