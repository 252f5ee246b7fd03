//! Producer ids, handed out from blocks that the metadata log remembers, so that none is used twice.

/// Ids in a block, as in Kafka (KIP-730). What a shard has not used of its block at a stop is never used.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// A shard's block of producer ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerIds {
    next: i64,
    end: i64,
}

impl ProducerIds {
    /// The block that begins at `first`.
    pub(super) fn block(first: i64) -> Self {
        assert!(first >= 0, "producer ids are not negative");
        ProducerIds { next: first, end: first + PRODUCER_ID_BLOCK }
    }

    /// The next id, or nothing when a new block is due.
    pub fn take(&mut self) -> Option<i64> {
        (self.next < self.end).then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    /// How many ids are left.
    pub fn left(&self) -> i64 {
        self.end - self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gives_each_of_its_ids_once() {
        let mut ids = ProducerIds::block(2000);
        let taken: Vec<_> = std::iter::from_fn(|| ids.take()).collect();
        assert_eq!(taken, (2000..3000).collect::<Vec<_>>());
        assert_eq!((ids.left(), ids.take()), (0, None));
        assert_eq!(ProducerIds::default().take(), None);
    }
}
