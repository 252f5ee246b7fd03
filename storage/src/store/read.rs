//! Reads and lookups: answered from memory where they can be, handed to [`super::fetch`] where not.

use super::Store;
use super::fetch::{Goal, Kind};
use super::outcome::{Lookup, LookupToken, Read, ReadRequest, ReadToken};
use crate::buffer::Slice;
use crate::log::Slot;
use crate::tail::Wanted;

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
                return match tail.read(position, wanted, out) {
                    Some(found) => Read::Ready { bytes: found.bytes, next_offset: found.next_offset },
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
