//! Which records belong to aborted transactions, and which marks are still needed (KIP-98, KIP-534).
//!
//! ```text
//! the log's index:  data p1 │ data p2 │ abort p1 │ data p2 │ commit p2 │ data p3 (open) ┆ nothing from here on is compacted
//!                   └ aborted: p1, from the first data to the mark ┘
//! a pass:           data of aborted transactions goes; a mark stays while data of its transaction was met before it
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::batch::Batch;
use crate::transactions::{Aborted, mark};

/// Follows transactions while a log is read.
#[derive(Debug, Default, Clone)]
pub(crate) struct Transactions {
    /// By first offset.
    aborted: Vec<Aborted>,
    /// How many of them began before where the pass is.
    begun: usize,
    /// Those under way: producer, and whether data of it was met.
    ongoing: BTreeMap<i64, VecDeque<(Aborted, bool)>>,
    /// Producers whose data of a committed transaction was met since its last mark.
    committed: BTreeSet<i64>,
    /// Of the mark that was looked at last: its entry in the index, if it is still needed.
    needed: Option<Aborted>,
}

impl Transactions {
    /// Of a log whose index has these.
    pub(crate) fn new(aborted: impl Iterator<Item = Aborted>) -> Self {
        let mut aborted: Vec<Aborted> = aborted.collect();
        aborted.sort_unstable_by_key(|it| it.first_offset);
        Self { aborted, ..Self::default() }
    }

    /// The entry that the index of what is written needs because of the batch that was taken last.
    pub(crate) fn take_needed(&mut self) -> Option<Aborted> {
        self.needed.take()
    }

    /// The same, at the log's start again.
    pub(crate) fn rewound(self) -> Self {
        Self { aborted: self.aborted, ..Self::default() }
    }

    /// Takes the next batch: whether nothing needs its records any more, but for the delete horizon of a mark.
    pub(crate) fn can_discard(&mut self, batch: &Batch<'_>) -> bool {
        if batch.attributes().is_control() { self.can_discard_mark(batch) } else { self.is_aborted(batch) }
    }

    /// Begins the aborted transactions up to the batch, and forgets those of its producer that ended before it: the
    /// pass may have begun behind their marks.
    fn begin_up_to(&mut self, batch: &Batch<'_>) {
        while let Some(aborted) = self.aborted.get(self.begun).filter(|it| it.first_offset <= batch.last_offset()) {
            self.ongoing.entry(aborted.producer_id).or_default().push_back((*aborted, false));
            self.begun += 1;
        }
        if let Some(of_producer) = self.ongoing.get_mut(&batch.producer_id()) {
            of_producer.retain(|(aborted, _)| aborted.last_offset >= batch.base_offset());
        }
    }

    fn is_aborted(&mut self, batch: &Batch<'_>) -> bool {
        if !batch.attributes().is_transactional() {
            return false;
        }
        self.begin_up_to(batch);
        let ongoing = self.ongoing.get_mut(&batch.producer_id()).and_then(VecDeque::front_mut);
        match ongoing.filter(|(aborted, _)| aborted.first_offset <= batch.base_offset()) {
            Some((_, has_data)) => {
                // Also if the batch is empty: without the mark it would look like the start of an open transaction.
                *has_data = true;
                true
            }
            None => {
                self.committed.insert(batch.producer_id());
                false
            }
        }
    }

    fn can_discard_mark(&mut self, batch: &Batch<'_>) -> bool {
        self.begin_up_to(batch);
        let Some(mark) = mark(batch) else {
            // One that was emptied is not needed; one of an unknown kind may be.
            return batch.record_count() == 0;
        };
        let producer = batch.producer_id();
        if mark.is_commit {
            return !self.committed.remove(&producer);
        }
        let Some(of_producer) = self.ongoing.get_mut(&producer) else { return true };
        let is_its = of_producer.front().is_some_and(|(aborted, _)| aborted.last_offset == batch.base_offset());
        let ended = if is_its { of_producer.pop_front() } else { None };
        if of_producer.is_empty() {
            self.ongoing.remove(&producer);
        }
        self.needed = ended.filter(|(_, had_data)| *had_data).map(|(aborted, _)| aborted);
        self.needed.is_none()
    }
}
