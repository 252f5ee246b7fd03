//! One producer's batches for one partition, in order.
//!
//! ```text
//!  acked (the last few, to be repeated) | unacknowledged: in flight, or to be sent again | not made yet
//! ```
//!
//! The rules are those of a correct client (KIP-98): at most five batches without an acknowledgement, and after an error
//! nothing new until what was in flight is answered and the oldest is sent again.

use std::collections::VecDeque;

use crate::sim::model::BatchNumber;

/// Batches without an acknowledgement, at the most; also how far back a broker recognises a batch.
pub(super) const WINDOW: usize = 5;

/// A batch of this lane.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) number: BatchNumber,
    pub(super) order: u64,
    pub(super) bytes: Vec<u8>,
    is_in_flight: bool,
}

/// What the acknowledgement of a batch means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// An earlier batch failed, so this one had to.
    Consequence,
    /// The broker has lost track of a correct producer.
    Wrong,
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) next_sequence: i32,
    pub(super) next_order: u64,
    unacknowledged: VecDeque<Pending>,
    acknowledged: VecDeque<(Pending, i64)>,
    /// An error came: send again, from the oldest on, once nothing is in flight.
    must_resend: bool,
    /// The first batch was acknowledged. Before that one at a time: a broker takes any first sequence.
    is_known: bool,
}

impl Lane {
    pub(super) fn is_idle(&self) -> bool {
        self.unacknowledged.is_empty()
    }

    fn in_flight(&self) -> usize {
        self.unacknowledged.iter().filter(|batch| batch.is_in_flight).count()
    }

    /// Whether another new batch may be made.
    pub(super) fn has_room(&self) -> bool {
        let window = if self.is_known { WINDOW } else { 1 };
        self.unacknowledged.len() < window
            && self.unacknowledged.iter().all(|batch| batch.is_in_flight)
            && !self.must_resend
    }

    /// Adds a batch that is sent now.
    pub(super) fn push(&mut self, number: BatchNumber, bytes: Vec<u8>, records: i32) -> u64 {
        let order = self.next_order;
        self.next_order += 1;
        self.next_sequence += records;
        self.unacknowledged.push_back(Pending { number, order, bytes, is_in_flight: true });
        order
    }

    /// The next batch that has to be sent again now.
    pub(super) fn resend(&mut self) -> Option<&Pending> {
        if self.must_resend {
            if self.in_flight() > 0 {
                return None;
            }
            self.must_resend = false;
        }
        let batch = self.unacknowledged.iter_mut().find(|batch| !batch.is_in_flight)?;
        batch.is_in_flight = true;
        Some(batch)
    }

    /// One of the batches that a broker has to recognise, while nothing else is under way.
    pub(super) fn repeatable(&self, choose: impl FnOnce(usize) -> usize) -> Option<&(Pending, i64)> {
        let repeatable = self.is_idle() && !self.acknowledged.is_empty();
        repeatable.then(|| &self.acknowledged[choose(self.acknowledged.len())])
    }

    /// The connection is gone: everything unacknowledged has to be sent again.
    pub(super) fn lost(&mut self) {
        for batch in &mut self.unacknowledged {
            batch.is_in_flight = false;
        }
        self.must_resend = false;
    }

    /// A batch was acknowledged. Answers come in order, so it is the oldest.
    pub(super) fn acknowledge(&mut self, order: u64, base_offset: i64) -> BatchNumber {
        let batch = self.unacknowledged.pop_front().expect("acknowledged once");
        assert_eq!(batch.order, order, "a batch is appended although an earlier one was not");
        self.is_known = true;
        let number = batch.number;
        self.acknowledged.push_back((batch, base_offset));
        if self.acknowledged.len() > WINDOW {
            self.acknowledged.pop_front();
        }
        number
    }

    /// A batch was refused, and will be sent again.
    pub(super) fn refuse(&mut self, order: u64) -> Refusal {
        let is_oldest = self.unacknowledged.front().is_some_and(|batch| batch.order == order);
        if let Some(batch) = self.unacknowledged.iter_mut().find(|batch| batch.order == order) {
            batch.is_in_flight = false;
        }
        self.must_resend = true;
        if is_oldest { Refusal::Wrong } else { Refusal::Consequence }
    }

    /// A plain producer is done with a batch, whatever became of it.
    pub(super) fn forget(&mut self, order: u64) -> BatchNumber {
        let position = self.unacknowledged.iter().position(|batch| batch.order == order).expect("answered once");
        self.is_known = true;
        self.unacknowledged.remove(position).expect("found above").number
    }
}
