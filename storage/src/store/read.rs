//! Reads and lookups: answered from memory where they can be, handed to [`super::fetch`] where not.

use super::Store;
use super::fetch::{Goal, Kind};
use super::outcome::{Lookup, LookupToken, Read, ReadRequest, ReadToken};
use crate::batch;
use crate::buffer::Slice;
use crate::log::Slot;
use crate::tail::{Found, Wanted};

/// Readers hold this part of the memory for tails at the most.
pub(super) const LENT_PART: usize = 4;

impl Store {
    /// Reads whole batches from `offset` on; their bytes are pushed to `out`.
    pub fn read(&mut self, slot: Slot, request: ReadRequest, out: &mut Vec<Slice>) -> Read {
        let log = self.log(slot);
        let (start_offset, end_offset) = (log.start_offset, log.end_offset);
        if request.offset < start_offset || request.offset > end_offset {
            return Read::OutOfRange { start_offset, end_offset };
        }
        let limit_offset = request.limit_offset.min(end_offset);
        if request.offset >= limit_offset {
            return Read::Empty;
        }
        let wanted = Wanted {
            offset: request.offset,
            limit_offset,
            max_bytes: request.max_bytes,
            at_least_one: request.at_least_one,
        };
        let at = log.segment_at(request.offset).expect("an offset of the log is in a segment");
        let segment = &log.segments[at];
        if let Some(tail) = log.tail_of(segment.base_offset) {
            let indexed =
                || segment.index.as_ref().map(|index| u64::from(index.lookup_offset(request.offset).position));
            if let Some(position) = tail.locate(request.offset).or_else(indexed)
                && tail.has_batch_at(position)
            {
                let before = out.len();
                return match tail.read(position, wanted, out) {
                    Some(found) => self.lend(found, before, out),
                    None => Read::Empty,
                };
            }
        }
        let base_offset = segment.base_offset;
        if let Some(read) = self.read_ahead(slot, request.reader, wanted, out) {
            return read;
        }
        match self.start_fetch(slot, base_offset, Kind::Read { wanted, reader: request.reader }) {
            Some(task) => Read::Pending(ReadToken(task)),
            None => Read::Busy,
        }
    }

    /// Makes the slices of a tail from the `from`th on the reader's. Who does not take what it read keeps tails' regions from
    /// being used again, so all readers together hold a part of that memory only; more is copied into the memory for reads.
    fn lend(&mut self, found: Found, from: usize, out: &mut Vec<Slice>) -> Read {
        let limit_bytes = self.lent_bytes_max();
        for at in from..out.len() {
            let Some(slice) = out[at].lend(limit_bytes).or_else(|| self.copied(&out[at])) else {
                out.truncate(at);
                return ready(&out[from..]).unwrap_or(Read::Busy);
            };
            out[at] = slice;
        }
        Read::Ready { bytes: found.bytes, next_offset: found.next_offset }
    }

    fn copied(&mut self, slice: &Slice) -> Option<Slice> {
        let mut buffer = self.allocate_for_read(slice.len())?;
        buffer[..slice.len()].copy_from_slice(slice);
        Some(buffer.freeze(slice.len()))
    }

    /// What readers may hold of the memory for tails.
    pub(super) fn lent_bytes_max(&self) -> usize {
        self.options.tail_bytes / LENT_PART
    }

    /// The first record at or after `timestamp`.
    pub fn find_timestamp(&mut self, slot: Slot, timestamp: i64) -> Lookup {
        self.look_up(slot, timestamp)
    }

    /// The first record with the largest timestamp of all.
    pub fn max_timestamp(&mut self, slot: Slot) -> Lookup {
        let newest = self.log(slot).segments.iter().map(|segment| segment.max.timestamp).max();
        match newest {
            Some(timestamp) if timestamp >= 0 => self.look_up(slot, timestamp),
            _ => Lookup::NotFound,
        }
    }

    fn look_up(&mut self, slot: Slot, timestamp: i64) -> Lookup {
        let goal = Goal { timestamp };
        let Some(base_offset) = self.segment_for(slot, goal, i64::MIN) else { return Lookup::NotFound };
        match self.start_fetch(slot, base_offset, Kind::Lookup(goal)) {
            Some(task) => Lookup::Pending(LookupToken(task)),
            None => Lookup::Busy,
        }
    }

    /// The first segment from `base_offset_min` on that has a record of the goal.
    pub(super) fn segment_for(&self, slot: Slot, goal: Goal, base_offset_min: i64) -> Option<i64> {
        let log = self.log(slot);
        let mut segments = log.segments.iter();
        let found =
            segments.find(|it| it.base_offset >= base_offset_min && it.bytes > 0 && it.max.timestamp >= goal.timestamp);
        found.map(|segment| segment.base_offset)
    }
}

/// What slices of whole batches give; nothing if there are none.
fn ready(slices: &[Slice]) -> Option<Read> {
    let last = batch::batches(slices.last()?).filter_map(Result::ok).last()?;
    Some(Read::Ready { bytes: slices.iter().map(|slice| slice.len()).sum(), next_offset: last.next_offset() })
}
