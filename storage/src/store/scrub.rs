//! The scrubber: reads closed segments again, slowly, so that damage is found while a copy may still exist, and not
//! when a consumer comes.
//!
//! ```text
//! a segment is closed ─► pass: each log's closed segments, piece by piece, at the given rate ─► rest ─► next pass
//! ```
//!
//! Where there is no closed segment there is nothing to do, and no deadline. Progress is kept in memory alone: a start
//! begins anew.

use std::sync::Arc;

use super::Store;
use super::damage::Place;
use super::files::{FileKey, FileOp};
use super::purpose::Purpose;
use crate::io::{BLOCK_BYTES, Done, Failure, OpenMode};
use crate::log::{LogId, Slot};
use crate::segment::compacted_path;
use crate::verify::{Bounds, Damage, Piece, Walk};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Bytes of one read, unless a batch is larger.
const READ_BYTES: usize = 256 << 10;
/// From the begin of one pass to the begin of the next, in nanoseconds: a day.
const PASS_NS_MIN: u64 = 86_400_000_000_000;
/// How long the scrubber waits for memory, in nanoseconds.
const BUSY_NS: u64 = 1_000_000_000;
/// Places looked at in one step for the next segment.
const PLACES_PER_STEP: usize = 4096;

/// What the scrubber has done since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Bytes read again.
    pub bytes: u64,
    /// Passes over all closed segments that ended.
    pub passes: u64,
}

impl Counted {
    /// Adds those of another store.
    pub(super) fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.passes += other.passes;
    }
}

/// A segment that is being read.
#[derive(Debug, Clone, Copy)]
struct Reading {
    slot: Slot,
    log: LogId,
    base_offset: i64,
    /// Its generation and size when the pass came to it; with others it is another segment.
    generation: u32,
    bytes: u64,
    position: u64,
    offset_min: i64,
    is_behind_damage: bool,
    /// Bytes that the batch at `position` has, if it did not fit the last read.
    needed: usize,
}

/// The scrubber of one store.
#[derive(Debug)]
pub(super) struct Scrub {
    /// Bytes a second; 0 is off.
    rate: u64,
    /// Whether a closed segment may be there.
    has_segments: bool,
    /// Where the pass looks for the next segment: the log's place, and the least base offset.
    next: (usize, i64),
    reading: Option<Reading>,
    /// Where the read in flight starts, and how many bytes it asked for.
    in_flight: Option<(u64, usize)>,
    /// No read begins before.
    not_before_ns: u64,
    pass_began_ns: u64,
    /// Whether this pass has met a segment.
    has_met: bool,
    counted: Counted,
}

impl Scrub {
    pub(super) fn new(rate: u64) -> Self {
        Self {
            rate,
            has_segments: false,
            next: (0, i64::MIN),
            reading: None,
            in_flight: None,
            not_before_ns: 0,
            pass_began_ns: 0,
            has_met: false,
            counted: Counted::default(),
        }
    }

    pub(super) fn counted(&self) -> Counted {
        self.counted
    }

    /// A segment was closed, or found closed.
    pub(super) fn note_closed(&mut self) {
        self.has_segments = true;
    }

    fn wants_read(&self) -> bool {
        self.rate > 0 && self.has_segments && self.in_flight.is_none()
    }

    /// Spends the time that so many bytes take at the given rate.
    fn pace(&mut self, now_ns: u64, bytes: usize) {
        let takes_ns = (bytes as u64).saturating_mul(1_000_000_000) / self.rate.max(1);
        self.not_before_ns = now_ns.saturating_add(takes_ns);
    }

    /// Everything was read: nothing more until another day.
    fn end_pass(&mut self, now_ns: u64) {
        self.next = (0, i64::MIN);
        // A segment that is closed from now on asks for another pass.
        self.has_segments = std::mem::take(&mut self.has_met);
        if self.has_segments {
            self.counted.passes += 1;
            self.not_before_ns = now_ns.max(self.pass_began_ns.saturating_add(PASS_NS_MIN));
        }
    }
}

impl Store {
    /// Reads closed segments again at this rate from now on, in bytes a second; with 0 not at all.
    pub fn set_scrub_rate(&mut self, bytes_per_second: u64) {
        if self.scrub.rate != bytes_per_second {
            self.scrub.rate = bytes_per_second;
            // What was spent at another rate does not count, but the rest between passes does.
            if self.scrub.reading.is_some() {
                self.scrub.not_before_ns = self.now.monotonic_ns;
            }
        }
    }

    /// When the scrubber goes on, if it has something to read.
    pub(super) fn scrub_at(&self) -> Option<u64> {
        (self.scrub.wants_read() && !self.is_stopping && !self.is_failed).then_some(self.scrub.not_before_ns)
    }

    /// Begins the next read if it is due.
    pub(super) fn step_scrub(&mut self) {
        let now_ns = self.now.monotonic_ns;
        if self.scrub_at().is_none_or(|at| at > now_ns) {
            return;
        }
        match self.scrub.reading.or_else(|| self.next_cold_segment()) {
            Some(reading) => self.scrub_on(reading),
            None if self.scrub.next.0 < self.logs.len() => {}
            None => self.scrub.end_pass(now_ns),
        }
    }

    /// The next closed segment of the pass; none if there is none among the places that one step looks at.
    fn next_cold_segment(&mut self) -> Option<Reading> {
        let (first, mut base_offset_min) = self.scrub.next;
        for at in first..self.logs.len().min(first + PLACES_PER_STEP) {
            self.scrub.next = (at, base_offset_min);
            if let Some(log) = self.logs[at].as_deref().filter(|log| log.is_attached) {
                let is_cold = |base_offset| log.tail_of(base_offset).is_none();
                let mut segments = log.segments.iter().filter(|it| it.is_closed && it.bytes > 0);
                let found = segments.find(|it| it.base_offset >= base_offset_min && is_cold(it.base_offset));
                if let Some(segment) = found {
                    self.scrub.next = (at, segment.base_offset + 1);
                    if !std::mem::replace(&mut self.scrub.has_met, true) {
                        self.scrub.pass_began_ns = self.now.monotonic_ns;
                    }
                    return Some(Reading {
                        slot: Slot::new(self.identity.directory, at),
                        log: log.id,
                        base_offset: segment.base_offset,
                        generation: segment.generation,
                        bytes: segment.bytes,
                        position: 0,
                        offset_min: segment.base_offset,
                        is_behind_damage: false,
                        needed: 0,
                    });
                }
            }
            base_offset_min = i64::MIN;
            self.scrub.next = (at + 1, base_offset_min);
        }
        None
    }

    /// Whether a segment is still the one that is being read.
    fn is_still_there(&mut self, reading: &Reading) -> bool {
        let Some(log) = self.log_if(reading.slot, reading.log) else { return false };
        let segment = log.segment_index(reading.base_offset).map(|at| &log.segments[at]);
        let is_same = segment.is_some_and(|segment| {
            segment.is_closed && (segment.generation, segment.bytes) == (reading.generation, reading.bytes)
        });
        is_same && log.truncation.is_none()
    }

    fn scrub_on(&mut self, reading: Reading) {
        if !self.is_still_there(&reading) {
            self.scrub.reading = None;
            return;
        }
        self.scrub.reading = Some(reading);
        let from = reading.position / BLOCK * BLOCK;
        let wanted = READ_BYTES.max(reading.needed + (reading.position - from) as usize);
        let left = usize::try_from((reading.bytes - from).next_multiple_of(BLOCK)).unwrap_or(usize::MAX);
        let asked = wanted.next_multiple_of(BLOCK_BYTES).min(left);
        // Readers who wait come first.
        let is_waited_for = self.fetches.waiting() > 0;
        let buffer = if is_waited_for { None } else { self.buffers.allocate_within(asked, self.read_bytes_max()) };
        let Some(mut buffer) = buffer else {
            self.scrub.not_before_ns = self.now.monotonic_ns + BUSY_NS;
            return;
        };
        buffer.shorten(asked);
        self.scrub.in_flight = Some((from, asked));
        self.scrub.pace(self.now.monotonic_ns, asked);
        let directory = Arc::clone(&self.log(reading.slot).directory);
        let direct = self.options.direct;
        self.files.request(
            FileKey::segment(reading.log, reading.base_offset, reading.generation),
            || compacted_path(&directory, reading.base_offset, reading.generation),
            OpenMode { create: false, write: true, direct },
            FileOp::Read { position: from, buffer },
            Purpose::Scrub,
        );
    }

    /// A read of the scrubber ended.
    pub(super) fn scrubbed(&mut self, result: Result<Done, Failure>) {
        let (from, asked) = self.scrub.in_flight.take().expect("the scrubber has one read in flight");
        let Some(reading) = self.scrub.reading else { return };
        if !self.is_still_there(&reading) {
            self.scrub.reading = None;
            return;
        }
        let read = match result {
            Ok(Done::Read { buffer, length }) => {
                self.scrub.counted.bytes += length as u64;
                let end = reading.bytes.min(from + length as u64);
                let start = (reading.position - from) as usize;
                let is_short = end < reading.bytes && length < asked;
                let bytes = buffer.get(start..(end - from) as usize).unwrap_or_default();
                self.scrub_bytes(reading, bytes, is_short)
            }
            Ok(_) => unreachable!("a read completes as one"),
            Err(Failure { errno }) => {
                let position = (from + asked as u64).min(reading.bytes);
                self.report_scrubbed(&reading, from, position - from, Damage::Unreadable { errno });
                Reading { position, needed: 0, is_behind_damage: true, ..reading }
            }
        };
        if read.position >= read.bytes {
            self.scrub.reading = None;
            self.files.close(FileKey::segment(read.log, read.base_offset, read.generation));
        } else {
            self.scrub.reading = Some(read);
        }
    }

    /// Checks what was read; where the next read goes on.
    fn scrub_bytes(&mut self, reading: Reading, bytes: &[u8], is_short: bool) -> Reading {
        let log = self.log(reading.slot);
        let at = log.segment_index(reading.base_offset).expect("it is still there");
        let offset_end = log.segments.get(at + 1).map_or(log.end_offset, |next| next.base_offset);
        let bytes_left = reading.bytes - reading.position;
        let bounds = Bounds { offset_min: reading.offset_min, offset_end, bytes_left };
        let mut walk =
            if reading.is_behind_damage { Walk::behind_damage(bytes, bounds) } else { Walk::new(bytes, bounds) };
        loop {
            let position = reading.position + walk.position() as u64;
            let reached = Reading {
                position,
                offset_min: walk.offset_min(),
                is_behind_damage: walk.is_behind_damage(),
                ..reading
            };
            match walk.next_piece() {
                Piece::Intact(_) | Piece::Skipped { .. } => {}
                Piece::Damaged { bytes, damage } => self.report_scrubbed(&reached, position, bytes as u64, damage),
                Piece::End => return reached,
                Piece::Cut { .. } if is_short => {
                    self.report_scrubbed(&reached, position, reading.bytes - position, Damage::Missing);
                    return Reading { position: reading.bytes, ..reached };
                }
                Piece::Cut { needed } => return Reading { needed, ..reached },
            }
        }
    }

    fn report_scrubbed(&mut self, reading: &Reading, position: u64, bytes: u64, damage: Damage) {
        let place = Place { log: reading.log, base_offset: reading.base_offset, position };
        self.report_damage(reading.slot, place, bytes, reading.offset_min, damage);
    }
}
