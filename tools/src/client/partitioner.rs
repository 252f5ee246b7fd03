//! Which partition a record goes to, as Kafka's Java client chooses it.

/// The hash of Java's default partitioner: MurmurHash2 of 32 bits with a seed of Kafka's own, over little-endian words.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> R)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !tail.is_empty() {
        let mut last = [0; 4];
        last[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition of a record with a key, of `partitions` many: the same one as Java's, so that producers agree.
///
/// # Panics
/// If there are no partitions.
pub fn partition_of_key(key: &[u8], partitions: usize) -> usize {
    assert!(partitions > 0, "a topic has at least one partition");
    (murmur2(key) & 0x7fff_ffff) as usize % partitions
}

/// The partitions of records without a key (KIP-480): all go to one partition until its batch is done, then to the
/// next one, so that batches are large and partitions even.
#[derive(Debug, Clone)]
pub struct Sticky {
    current: usize,
}

impl Sticky {
    /// Starts at a partition that `seed` chooses.
    pub fn new(seed: u64) -> Self {
        Self { current: (seed >> 33) as usize }
    }

    /// The partition of the next record without a key, of those that have a leader. Where none has, of all of them.
    ///
    /// # Panics
    /// If there are no partitions.
    pub fn partition(&self, partitions: usize, has_leader: impl Fn(usize) -> bool) -> usize {
        assert!(partitions > 0, "a topic has at least one partition");
        (0..partitions)
            .map(|step| (self.current + step) % partitions)
            .find(|&p| has_leader(p))
            .unwrap_or(self.current % partitions)
    }

    /// Moves on from `partition`, whose batch is done.
    pub fn batch_done(&mut self, partition: usize) {
        self.current = partition + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that Kafka's own test of its hash expects.
    #[test]
    fn the_hash_is_javas() {
        let vectors: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (data, hash) in vectors {
            assert_eq!(murmur2(data) as i32, hash, "{}", String::from_utf8_lossy(data));
        }
    }

    #[test]
    fn a_negative_hash_gives_a_valid_partition() {
        assert_eq!(partition_of_key(b"21", 4), ((-973_932_308_i32) & i32::MAX) as usize % 4);
        assert_eq!(partition_of_key(b"anything", 1), 0);
    }

    #[test]
    fn sticky_stays_until_its_batch_is_done_and_skips_leaderless_partitions() {
        let mut sticky = Sticky::new(0);
        assert_eq!(sticky.partition(3, |_| true), 0);
        assert_eq!(sticky.partition(3, |_| true), 0);
        sticky.batch_done(0);
        assert_eq!(sticky.partition(3, |_| true), 1);
        assert_eq!(sticky.partition(3, |p| p != 1), 2);
        assert_eq!(sticky.partition(3, |_| false), 1);
        sticky.batch_done(2);
        assert_eq!(sticky.partition(3, |_| true), 0);
    }
}
