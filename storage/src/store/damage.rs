//! Damage that was found in segments: told once for each place, counted, and never served.
//!
//! Nothing here changes a file. `skein log repair` finds the same places on a stopped node, and offers what can be done.

use std::collections::{BTreeMap, VecDeque};

use super::Store;
use crate::log::{LogId, Slot};
use crate::segment::compacted_path;
use crate::verify::Damage;

/// Places that are remembered; further ones are counted, and told again when they are met again.
const PLACES_MAX: usize = 4096;
/// Lines in the log within [`LINES_NS`]; further places are counted alone.
const LINES_MAX: usize = 32;
/// In nanoseconds.
const LINES_NS: u64 = 60_000_000_000;

/// Where damage starts, in which segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) log: LogId,
    pub(super) base_offset: i64,
    pub(super) position: u64,
}

/// Everything that was found since the start.
#[derive(Debug, Default)]
pub(super) struct Damages {
    /// Each with the size of what is damaged.
    places: BTreeMap<Place, u64>,
    /// When the last lines were written.
    lines: VecDeque<u64>,
    /// Places that were not told since the last line.
    untold: u64,
    found: u64,
    refused_reads: u64,
}

/// What was found of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Damaged places that are known now.
    pub places: usize,
    /// Damaged places found since the start.
    pub found: u64,
    /// Reads and lookups that were refused because of damage.
    pub refused_reads: u64,
}

impl Counted {
    /// Adds those of another store.
    pub(super) fn add(&mut self, other: Self) {
        self.places += other.places;
        self.found += other.found;
        self.refused_reads += other.refused_reads;
    }
}

impl Damages {
    pub(super) fn counted(&self) -> Counted {
        Counted { places: self.places.len(), found: self.found, refused_reads: self.refused_reads }
    }

    /// A read met nothing but damage.
    pub(super) fn refused(&mut self) {
        self.refused_reads += 1;
    }

    /// Notes a place; whether it is news.
    fn note(&mut self, place: Place, bytes: u64) -> bool {
        if self.places.contains_key(&place) {
            return false;
        }
        self.found += 1;
        if self.places.len() < PLACES_MAX {
            self.places.insert(place, bytes);
        }
        true
    }

    /// Whether a line may be written now, and how many places were left out before it.
    fn takes_line(&mut self, now_ns: u64) -> Option<u64> {
        while self.lines.front().is_some_and(|&at| at + LINES_NS <= now_ns) {
            self.lines.pop_front();
        }
        if self.lines.len() >= LINES_MAX {
            self.untold += 1;
            return None;
        }
        self.lines.push_back(now_ns);
        Some(std::mem::take(&mut self.untold))
    }

    /// Forgets the places in a log's segments that are gone.
    pub(super) fn forget_segments(&mut self, log: LogId, is_gone: impl Fn(i64) -> bool) {
        self.places.retain(|place, _| place.log != log || !is_gone(place.base_offset));
    }
}

impl Store {
    /// Reports damage: `bytes` of a segment from `position` on, after everything before `offset_min`.
    pub(super) fn report_damage(&mut self, slot: Slot, place: Place, bytes: u64, offset_min: i64, damage: Damage) {
        if !self.damages.note(place, bytes) {
            return;
        }
        let Some(left_out) = self.damages.takes_line(self.now.monotonic_ns) else { return };
        let log = self.log(slot);
        let generation = log.segment_index(place.base_offset).map_or(0, |at| log.segments[at].generation);
        tracing::error!(
            directory = slot.directory().index(),
            file = %compacted_path(&log.directory, place.base_offset, generation).display(),
            position = place.position,
            bytes,
            from_offset = offset_min,
            reason = %damage,
            left_out,
            "stored records are damaged and are not served: consumers get an error there, and can seek behind it. \
             restore the file from a copy; on the stopped node, `skein log repair` lists all such places and says what else \
             can be done"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(position: u64) -> Place {
        Place { log: LogId(1), base_offset: 0, position }
    }

    #[test]
    fn a_place_is_news_once() {
        let mut damages = Damages::default();
        assert!(damages.note(place(5), 100));
        assert!(!damages.note(place(5), 100));
        assert!(damages.note(place(6), 100));
        assert_eq!(damages.counted(), Counted { places: 2, found: 2, refused_reads: 0 });
        damages.forget_segments(LogId(1), |base_offset| base_offset == 0);
        assert_eq!(damages.counted(), Counted { places: 0, found: 2, refused_reads: 0 });
    }

    #[test]
    fn many_places_do_not_fill_the_log() {
        let mut damages = Damages::default();
        let lines = (0..1000).filter(|&at| damages.takes_line(at).is_some()).count();
        assert_eq!(lines, LINES_MAX);
        assert_eq!(damages.takes_line(LINES_NS + 1000), Some(1000 - LINES_MAX as u64));
        assert_eq!(damages.takes_line(LINES_NS + 1000), Some(0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut damages = Damages::default();
        assert!((0..2 * PLACES_MAX as u64).all(|position| damages.note(place(position), 1)));
        assert_eq!(damages.counted().places, PLACES_MAX);
        assert_eq!(damages.counted().found, 2 * PLACES_MAX as u64);
    }
}
