//! What readers of committed records and whoever describes producers are told of transactions.

use super::Store;
use crate::log::Slot;
use crate::producers::Active;
use crate::transactions::Aborted;

impl Store {
    /// Below it, it is known of every transaction how it ended (KIP-98): at most `high_watermark`, which everything in
    /// the log up to there is committed by.
    #[must_use]
    pub fn last_stable_offset(&self, slot: Slot, high_watermark: i64) -> i64 {
        self.log(slot).last_stable_offset(high_watermark)
    }

    /// The aborted transactions that have records from `from` on and before `to`, in the order of their marks.
    #[must_use]
    pub fn aborted_transactions(&self, slot: Slot, from: i64, to: i64) -> Vec<Aborted> {
        let log = self.log(slot);
        let Some(transactions) = log.transactions.as_ref().filter(|_| from < to) else { return Vec::new() };
        let segment = log.segment_at(from).map_or(i64::MIN, |at| log.segments[at].base_offset);
        transactions.aborted(segment, from, to)
    }

    /// The log's idempotent producers, by ascending id.
    pub fn active_producers(&self, slot: Slot) -> impl Iterator<Item = Active> {
        let log = self.log(slot);
        log.producers.active().map(|active| {
            let transaction_start_offset = log.transactions.as_ref().and_then(|it| it.open_of(active.id));
            Active { transaction_start_offset, ..active }
        })
    }
}
