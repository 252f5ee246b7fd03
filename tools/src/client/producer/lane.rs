//! The records of one partition on their way, in order.
//!
//! ```text
//!  append ──► building ──close──► queue ──next──► in flight ──acknowledged──►
//!                                   ▲                │
//!                                   └───put back─────┘   (sorted by position; the lane recovers until nothing
//!                                                         is in flight, so that nothing overtakes)
//! ```
//! A batch gets its sequence when it is sent first and keeps it however often it is sent, so that the broker recognises
//! it. *Position* is the number of the batch's first record among all of the lane's.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use storage::batch::Producer as Stamp;
use storage::builder::{BatchBuilder, DoesNotFit, NewRecord, Options};

use crate::client::records::{self, Codec};

/// The producer id that a broker gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

/// A finished batch.
#[derive(Debug)]
pub(super) struct Batch {
    /// As it goes over the wire.
    pub(super) bytes: Vec<u8>,
    /// The caller's names of the records.
    pub(super) tags: Vec<u64>,
    /// What the records count towards the producer's limit, in bytes.
    pub(super) charge: usize,
    pub(super) created: Instant,
    position: u64,
    sequence: Option<i32>,
    /// Whether it was sent and no answer said that it was not stored.
    pub(super) may_be_stored: bool,
}

#[derive(Debug)]
struct Building {
    batch: BatchBuilder,
    tags: Vec<u64>,
    charge: usize,
    created: Instant,
    position: u64,
}

/// A record, as the caller names it, and what it counts towards the producer's limit in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct New<'a> {
    pub(super) record: NewRecord<'a>,
    pub(super) tag: u64,
    pub(super) charge: usize,
}

impl Batch {
    /// Whether it has a place in the producer's sequences, which would be a gap without it.
    pub(super) fn has_sequence(&self) -> bool {
        self.sequence.is_some()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lane {
    building: Option<Building>,
    /// Sorted by position.
    queue: VecDeque<Batch>,
    in_flight: BTreeSet<u64>,
    next_position: u64,
    next_sequence: i32,
    recovering: bool,
    retry_at: Option<Instant>,
}

/// Which batches may be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending {
    pub(super) now: Instant,
    /// The stamp of batches that are sent first now.
    pub(super) identity: Option<Identity>,
    pub(super) in_flight_max: usize,
    /// Only those whose fate is unknown, since the identity is about to change.
    pub(super) only_uncertain: bool,
}

impl Lane {
    /// Adds a record. Says whether it closed a batch, because that was full.
    pub(super) fn append(
        &mut self,
        new: &New<'_>,
        codec: Codec,
        batch_bytes: usize,
        now: Instant,
    ) -> Result<bool, DoesNotFit> {
        let is_full = |building: &Building| building.batch.size_in_bytes() + new.charge > batch_bytes;
        let closed = self.building.as_ref().is_some_and(is_full) && self.close();
        let position = self.next_position;
        let building = self.building.get_or_insert_with(|| Building {
            batch: BatchBuilder::new(Options { codec, ..Options::default() }),
            tags: Vec::new(),
            charge: 0,
            created: now,
            position,
        });
        building.batch.append(&new.record)?;
        building.tags.push(new.tag);
        building.charge += new.charge;
        self.next_position += 1;
        Ok(closed)
    }

    /// Closes the batch that is being built, if there is one. Says whether there was.
    pub(super) fn close(&mut self) -> bool {
        let Some(Building { batch, tags, charge, created, position }) = self.building.take_if(|b| !b.batch.is_empty())
        else {
            return false;
        };
        let bytes = batch.finish();
        self.queue.push_back(Batch { bytes, tags, charge, created, position, sequence: None, may_be_stored: false });
        true
    }

    /// When the batch that is being built has waited for `linger`.
    pub(super) fn due(&self, linger: Duration) -> Option<Instant> {
        self.building.as_ref().map(|building| building.created + linger)
    }

    /// When the lane may go on after a failure.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The size of the batch that would be sent next, if one may be.
    pub(super) fn sendable(&self, sending: &Sending) -> Option<usize> {
        self.next_index(sending).map(|index| self.queue[index].bytes.len())
    }

    fn next_index(&self, sending: &Sending) -> Option<usize> {
        let waits = self.retry_at.is_some_and(|at| at > sending.now);
        if waits || self.recovering || self.in_flight.len() >= sending.in_flight_max {
            return None;
        }
        if sending.only_uncertain {
            return self.queue.iter().position(|batch| batch.may_be_stored);
        }
        (!self.queue.is_empty()).then_some(0)
    }

    /// Takes the batch to send next.
    pub(super) fn next(&mut self, sending: &Sending) -> Option<Batch> {
        let index = self.next_index(sending)?;
        let mut batch = self.queue.remove(index)?;
        self.retry_at = None;
        if let Some(Identity { id, epoch }) = sending.identity
            && batch.sequence.is_none()
        {
            let base_sequence = self.next_sequence;
            self.next_sequence = sequence_after(base_sequence, batch.tags.len());
            batch.sequence = Some(base_sequence);
            records::stamp_producer(&mut batch.bytes, Stamp { id, epoch, base_sequence });
        }
        batch.may_be_stored = true;
        self.in_flight.insert(batch.position);
        Some(batch)
    }

    /// A batch in flight came to its end, good or bad.
    pub(super) fn settle(&mut self, batch: &Batch) {
        self.in_flight.remove(&batch.position);
        self.recovering &= !self.in_flight.is_empty();
    }

    /// A batch in flight shall be sent again, at its place, not before `retry_at`.
    pub(super) fn put_back(&mut self, batch: Batch, retry_at: Instant) {
        self.settle(&batch);
        self.recovering = !self.in_flight.is_empty();
        self.retry_at = Some(retry_at);
        let place = self.queue.partition_point(|queued| queued.position < batch.position);
        self.queue.insert(place, batch);
    }

    /// A batch in flight is too large: its halves shall be sent instead.
    pub(super) fn put_back_halves(
        &mut self,
        batch: &Batch,
        halves: [Vec<u8>; 2],
        identity: Option<Identity>,
        now: Instant,
    ) {
        self.settle(batch);
        self.recovering = !self.in_flight.is_empty();
        let middle = batch.tags.len() / 2;
        let place = self.queue.partition_point(|queued| queued.position < batch.position);
        for (nth, (mut bytes, tags)) in
            halves.into_iter().zip([&batch.tags[..middle], &batch.tags[middle..]]).enumerate()
        {
            let skipped = if nth == 0 { 0 } else { middle };
            let sequence = batch.sequence.map(|sequence| sequence_after(sequence, skipped));
            if let (Some(Identity { id, epoch }), Some(base_sequence)) = (identity, sequence) {
                records::stamp_producer(&mut bytes, Stamp { id, epoch, base_sequence });
            }
            let half = Batch {
                bytes,
                tags: tags.to_vec(),
                charge: batch.charge * tags.len() / batch.tags.len(),
                created: batch.created,
                position: batch.position + skipped as u64,
                sequence,
                may_be_stored: false,
            };
            self.queue.insert(place + nth, half);
        }
        self.retry_at = Some(now);
    }

    /// Whether no earlier batch of the lane is still without an answer.
    pub(super) fn is_first(&self, batch: &Batch) -> bool {
        let queued = self.queue.front().is_none_or(|first| first.position > batch.position);
        queued && self.in_flight.first().is_none_or(|&first| first >= batch.position)
    }

    /// Takes out what has waited in the queue since before `created_before`.
    pub(super) fn expire(&mut self, created_before: Instant) -> Vec<Batch> {
        let mut expired = Vec::new();
        while let Some(batch) = self.queue.pop_front_if(|batch| batch.created < created_before) {
            expired.push(batch);
        }
        expired
    }

    /// Whether the fate of a batch is unknown.
    pub(super) fn is_uncertain(&self) -> bool {
        !self.in_flight.is_empty() || self.queue.iter().any(|batch| batch.may_be_stored)
    }

    /// Starts over with sequences, for a new identity.
    ///
    /// # Panics
    /// If the fate of a batch is unknown: under a new identity the broker would not recognise it.
    pub(super) fn renumber(&mut self) {
        assert!(!self.is_uncertain(), "what may be stored keeps its identity");
        self.next_sequence = 0;
        self.queue.iter_mut().for_each(|batch| batch.sequence = None);
    }

    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.building.is_none() && self.queue.is_empty() && self.in_flight.is_empty()
    }

    /// Takes out everything that is not in flight.
    pub(super) fn abandon(&mut self) -> Vec<Batch> {
        self.close();
        self.queue.drain(..).collect()
    }
}

/// The sequence after `count` records from `sequence` on: they go around at 2³¹ − 1 (KIP-98).
fn sequence_after(sequence: i32, count: usize) -> i32 {
    ((sequence as u64 + count as u64) % (1 << 31)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::batch::Batch as View;

    const IDENTITY: Identity = Identity { id: 9, epoch: 0 };

    fn new(value: &[u8], tag: u64) -> New<'_> {
        let record = NewRecord { timestamp: 1, key: None, value: Some(value), headers: &[] };
        New { record, tag, charge: value.len() }
    }

    fn lane(now: Instant, batches: &[usize]) -> Lane {
        let mut lane = Lane::default();
        let mut tag = 0;
        for &records in batches {
            for _ in 0..records {
                lane.append(&new(b"v", tag), Codec::None, 1 << 20, now).unwrap();
                tag += 1;
            }
            assert!(lane.close());
        }
        lane
    }

    fn sending(now: Instant) -> Sending {
        Sending { now, identity: Some(IDENTITY), in_flight_max: 5, only_uncertain: false }
    }

    fn sequence(batch: &Batch) -> i32 {
        View::first(&batch.bytes).unwrap().base_sequence()
    }

    #[test]
    fn a_full_batch_is_closed_by_the_next_record() {
        let now = Instant::now();
        let mut lane = Lane::default();
        assert!(!lane.append(&new(&[0; 600], 0), Codec::None, 1000, now).unwrap());
        assert!(lane.append(&new(&[0; 600], 1), Codec::None, 1000, now).unwrap());
        assert_eq!(lane.next(&sending(now)).unwrap().tags, [0]);
        assert!(lane.next(&sending(now)).is_none(), "the second batch is not closed");
        assert_eq!(lane.due(Duration::from_secs(1)), Some(now + Duration::from_secs(1)));
    }

    #[test]
    fn what_is_put_back_is_sent_again_with_its_sequence_before_anything_new() {
        let now = Instant::now();
        let mut lane = lane(now, &[2, 3, 1]);
        let first = lane.next(&sending(now)).unwrap();
        let second = lane.next(&sending(now)).unwrap();
        assert_eq!((sequence(&first), sequence(&second)), (0, 2));
        let later = now + Duration::from_secs(1);
        assert!(lane.is_first(&first) && !lane.is_first(&second));
        lane.put_back(first, later);
        assert!(lane.next(&sending(later)).is_none(), "the second is still in flight");
        lane.put_back(second, later);
        assert!(lane.next(&sending(now)).is_none(), "the pause is not over");
        let order: Vec<i32> = (0..3).map(|_| sequence(&lane.next(&sending(later)).unwrap())).collect();
        assert_eq!(order, [0, 2, 5]);
    }

    #[test]
    fn a_lane_recovers_once_the_rest_of_its_flight_is_settled() {
        let now = Instant::now();
        let mut lane = lane(now, &[1, 1, 1]);
        let first = lane.next(&sending(now)).unwrap();
        let second = lane.next(&sending(now)).unwrap();
        lane.put_back(first, now);
        lane.settle(&second);
        assert_eq!(sequence(&lane.next(&sending(now)).unwrap()), 0);
    }

    #[test]
    fn halves_take_the_place_and_the_sequences_of_the_whole() {
        let now = Instant::now();
        let mut lane = lane(now, &[5, 1]);
        let whole = lane.next(&sending(now)).unwrap();
        let halves = records::halves(&whole.bytes).unwrap();
        lane.put_back_halves(&whole, halves, Some(IDENTITY), now);
        let sent: Vec<Batch> = (0..3).map(|_| lane.next(&sending(now)).unwrap()).collect();
        assert_eq!(sent.iter().map(sequence).collect::<Vec<_>>(), [0, 2, 5]);
        assert_eq!(sent.iter().map(|b| b.tags.clone()).collect::<Vec<_>>(), [vec![0, 1], vec![2, 3, 4], vec![5]]);
    }

    #[test]
    fn before_a_new_identity_only_what_may_be_stored_is_sent() {
        let now = Instant::now();
        let mut lane = lane(now, &[1, 1, 1]);
        let mut first = lane.next(&sending(now)).unwrap();
        let second = lane.next(&sending(now)).unwrap();
        first.may_be_stored = false;
        lane.put_back(first, now);
        lane.put_back(second, now);
        let only_uncertain = Sending { only_uncertain: true, ..sending(now) };
        let again = lane.next(&only_uncertain).unwrap();
        assert_eq!(sequence(&again), 1);
        assert!(lane.next(&only_uncertain).is_none());
        lane.settle(&again);
        assert!(!lane.is_uncertain());
        lane.renumber();
        assert_eq!(sequence(&lane.next(&sending(now)).unwrap()), 0);
    }

    #[test]
    fn what_waited_too_long_is_taken_out() {
        let now = Instant::now();
        let mut lane = lane(now, &[1, 2]);
        assert!(lane.expire(now).is_empty());
        let expired = lane.expire(now + Duration::from_secs(1));
        assert_eq!(expired.iter().map(|b| b.tags.len()).collect::<Vec<_>>(), [1, 2]);
        assert!(lane.is_empty());
    }

    #[test]
    fn sequences_go_around() {
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 5), 3);
        assert_eq!(sequence_after(10, 5), 15);
    }
}
