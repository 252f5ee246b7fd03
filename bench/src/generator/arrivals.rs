//! Which key the next record has, and to which partition it goes.

use rand_core::Rng as _;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::contents::key_digits;
use crate::workload::{Keys, Records};

/// All keys of a workload, shared by its producers.
#[derive(Debug)]
pub(super) struct KeySet {
    /// The partition of each key, as Kafka's own producer chooses it.
    partitions: Vec<i32>,
    /// The probability that a key is this one or an earlier one; empty if all keys are alike.
    cumulative: Vec<f64>,
}

impl KeySet {
    /// None if records have no keys.
    pub(super) fn new(records: &Records, partitions: i32) -> Option<Self> {
        let count = records.key_count();
        let cumulative = match records.keys {
            Keys::None => return None,
            Keys::Uniform => Vec::new(),
            Keys::Zipf => zipf(count),
        };
        let partition = |key| ((murmur2(&key_digits(key)) & 0x7FFF_FFFF) % partitions as u32) as i32;
        Some(Self { partitions: (0..count).map(partition).collect(), cumulative })
    }

    pub(super) fn draw(&self, random: &mut Xoshiro256PlusPlus) -> u32 {
        let draw = random.next_u64() >> 11;
        if self.cumulative.is_empty() {
            return (draw % self.partitions.len() as u64) as u32;
        }
        let point = draw as f64 / (1_u64 << 53) as f64;
        let index = self.cumulative.partition_point(|&upto| upto <= point);
        index.min(self.partitions.len() - 1) as u32
    }

    pub(super) fn partition(&self, key: u32) -> i32 {
        self.partitions[key as usize]
    }
}

fn zipf(count: u32) -> Vec<f64> {
    let all: f64 = (1..=count).map(|rank| 1.0 / f64::from(rank)).sum();
    let mut upto = 0.0;
    let add = |rank: u32| {
        upto += 1.0 / f64::from(rank) / all;
        upto
    };
    (1..=count).map(add).collect()
}

/// The hash of Kafka's default partitioner: MurmurHash2 with its seed.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k = (k ^ k >> 24).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |last: u32, &byte| last << 8 | u32::from(byte));
        hash = (hash ^ last).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn the_hash_is_kafkas() {
        // From the test of Kafka's own Utils.murmur2.
        let vectors: [(&[u8], i32); 4] =
            [(b"21", -973_932_308), (b"foobar", -790_332_482), (b"abc", 479_470_107), (b"", 275_646_681)];
        for (data, hash) in vectors {
            assert_eq!(murmur2(data) as i32, hash);
        }
    }

    #[test]
    fn few_keys_of_a_zipf_draw_make_most_of_it() {
        let draws = |keys| {
            let set = KeySet::new(&Records { keys, key_count: 1_000, ..Records::default() }, 4).expect("keys");
            let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
            (0..10_000).filter(|_| set.draw(&mut random) < 10).count()
        };
        assert!((50..200).contains(&draws(Keys::Uniform)));
        assert!((3_500..4_500).contains(&draws(Keys::Zipf)));
    }
}
