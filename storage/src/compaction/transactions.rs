//! Which records belong to aborted transactions, and which marks are still needed (KIP-98, KIP-534).
//!
//! ```text
//! survey:  data p1 │ data p2 │ abort p1 │ data p2 │ commit p2 │ data p3 (open) ┆ nothing from here on is compacted
//!          └───────── aborted: p1 from the first data to the mark ┘
//! filter:  data of aborted transactions goes; a mark stays while data of its transaction was met before it
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::batch::Batch;
use crate::builder::EndTransaction;
use crate::record;

/// Aborted transactions that one pass knows: 24 bytes each. Behind more of them the pass ends.
const ABORTED_MAX: usize = 1 << 16;
/// Transactions open at once in one log.
const OPEN_MAX: usize = 1 << 16;

/// An aborted transaction of one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Aborted {
    producer: i64,
    first_offset: i64,
    mark_offset: i64,
}

/// The kind of a control batch's mark.
fn mark(batch: &Batch<'_>) -> Option<EndTransaction> {
    let record = record::records(batch.body()).next()?.ok()?;
    EndTransaction::parse(record.key?, record.value.unwrap_or_default())
}

/// Finds transactions by reading a log from its start.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// First offsets of transactions without a mark so far, by producer.
    open: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
    /// Where it stopped, if there was too much to remember.
    stopped_at: Option<i64>,
}

impl Survey {
    /// Takes the next batch of the log.
    pub(crate) fn take(&mut self, batch: &Batch<'_>) {
        if self.stopped_at.is_some() || !batch.attributes().is_transactional() {
            return;
        }
        let producer = batch.producer_id();
        if !batch.attributes().is_control() {
            if self.open.len() < OPEN_MAX {
                self.open.entry(producer).or_insert(batch.base_offset());
            } else if !self.open.contains_key(&producer) {
                self.stopped_at = Some(batch.base_offset());
            }
            return;
        }
        let Some(first_offset) = self.open.remove(&producer) else { return };
        if mark(batch).is_some_and(|mark| !mark.is_commit) {
            if self.aborted.len() == ABORTED_MAX {
                self.open.insert(producer, first_offset);
                self.stopped_at = Some(batch.base_offset());
                return;
            }
            self.aborted.push(Aborted { producer, first_offset, mark_offset: batch.base_offset() });
        }
    }

    /// What it found, for a log up to `end`; and the offset below which every transaction has ended.
    pub(crate) fn finish(mut self, end: i64) -> (Transactions, i64) {
        let stable = self.open.values().copied().chain(self.stopped_at).min().map_or(end, |first| first.min(end));
        self.aborted.sort_unstable_by_key(|it| it.first_offset);
        (Transactions { aborted: self.aborted, ..Transactions::default() }, stable)
    }
}

/// Follows transactions while a log is read from its start once more.
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
}

impl Transactions {
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
            self.ongoing.entry(aborted.producer).or_default().push_back((*aborted, false));
            self.begun += 1;
        }
        if let Some(of_producer) = self.ongoing.get_mut(&batch.producer_id()) {
            of_producer.retain(|(aborted, _)| aborted.mark_offset >= batch.base_offset());
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
        let is_its = of_producer.front().is_some_and(|(aborted, _)| aborted.mark_offset == batch.base_offset());
        let ended = if is_its { of_producer.pop_front() } else { None };
        if of_producer.is_empty() {
            self.ongoing.remove(&producer);
        }
        ended.is_none_or(|(_, had_data)| !had_data)
    }
}
