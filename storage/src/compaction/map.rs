//! The last offset of each key, in a buffer of fixed size.
//!
//! ```text
//! slot, 16 bytes:  hash of the key, 96 bits │ offset from the map's base, plus one, 32 bits (0: the slot is free)
//! ```
//!
//! Keys are known by their hash alone. Two keys with the same 96 bits would be taken for one, and a value lost: with
//! 15 million keys in a map of 256 MiB the odds are about 1 in 10^15. The hash is keyed by the data directory, so nobody
//! can choose keys that collide.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// Bytes of one key.
pub(crate) const SLOT_BYTES: usize = 16;

/// The map took no more: as many keys as it may hold, or an offset too far from its base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// What a map is made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// The smallest offset it gets.
    pub(crate) base_offset: i64,
    /// How many keys there are at most.
    pub(crate) keys_max: u64,
    /// Its memory, at most.
    pub(crate) bytes_max: usize,
    /// How many of a thousand slots are used at most.
    pub(crate) load_permille: u32,
    /// What the hash is keyed with.
    pub(crate) secret: [u64; 2],
}

/// Keys and their last offsets.
#[derive(Debug)]
pub(crate) struct OffsetMap {
    slots: Box<[u128]>,
    used: usize,
    used_max: usize,
    base_offset: i64,
    /// The largest offset it was told of, also of records it did not take; none before the first.
    latest: Option<i64>,
    secret: [u64; 2],
}

impl OffsetMap {
    pub(crate) fn new(shape: Shape) -> Self {
        let load = u64::from(shape.load_permille.clamp(1, 990));
        let wanted = shape.keys_max.saturating_mul(1000) / load + 2;
        // A free slot ends a search, and one that is used is progress.
        let slots = usize::try_from(wanted).unwrap_or(usize::MAX).min(shape.bytes_max / SLOT_BYTES).max(2);
        let used_max = ((slots as u64 * load / 1000) as usize).clamp(1, slots - 1);
        Self {
            slots: vec![0; slots].into_boxed_slice(),
            used: 0,
            used_max,
            base_offset: shape.base_offset,
            latest: None,
            secret: shape.secret,
        }
    }

    /// Bytes of its buffer.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.len() * SLOT_BYTES
    }

    /// Keys that it takes.
    pub(crate) fn capacity(&self) -> usize {
        self.used_max
    }

    /// Keys in it.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// The largest offset it was told of.
    pub(crate) fn latest(&self) -> Option<i64> {
        self.latest
    }

    /// The record at `offset` counts as looked at, though its key does not.
    pub(crate) fn pass(&mut self, offset: i64) {
        self.latest = self.latest.max(Some(offset));
    }

    /// The record at `offset` is the last one so far of its key.
    pub(crate) fn put(&mut self, key: &[u8], offset: i64) -> Result<(), Full> {
        let relative = u32::try_from(offset - self.base_offset).ok().and_then(|relative| relative.checked_add(1));
        let relative = relative.ok_or(Full)?;
        let (at, tag) = self.find(key);
        if self.slots[at] == 0 {
            if self.used == self.used_max {
                return Err(Full);
            }
            self.used += 1;
        }
        self.slots[at] = tag | u128::from(relative);
        self.pass(offset);
        Ok(())
    }

    /// The last offset of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<i64> {
        let (at, _) = self.find(key);
        let relative = (self.slots[at] & u128::from(u32::MAX)) as i64;
        (relative > 0).then(|| self.base_offset + relative - 1)
    }

    /// The key's slot, or the free one where it would go; and its hash as slots have it.
    fn find(&self, key: &[u8]) -> (usize, u128) {
        let mut hasher = SipHasher13::new_with_keys(self.secret[0], self.secret[1]);
        hasher.write(key);
        let hash = hasher.finish128();
        let tag = (u128::from(hash.h1) << 64 | u128::from(hash.h2 as u32) << 32) & !u128::from(u32::MAX);
        let mut at = ((u128::from(hash.h2) * self.slots.len() as u128) >> 64) as usize;
        // At least one slot is free.
        while self.slots[at] != 0 && self.slots[at] & !u128::from(u32::MAX) != tag {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        (at, tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(keys_max: u64, bytes_max: usize) -> Shape {
        Shape { base_offset: 1_000, keys_max, bytes_max, load_permille: 900, secret: [1, 2] }
    }

    #[test]
    fn the_last_offset_of_each_key_is_found() {
        let mut map = OffsetMap::new(shape(500, 1 << 20));
        for offset in 1_000..2_000_i64 {
            map.put(&(offset % 500).to_le_bytes(), offset).expect("there is room");
        }
        assert_eq!((map.len(), map.latest()), (500, Some(1_999)));
        for key in 0..500_i64 {
            assert_eq!(map.get(&key.to_le_bytes()), Some(1_500 + key));
        }
        assert_eq!(map.get(b"another"), None);
    }

    #[test]
    fn a_full_map_takes_no_new_key_and_still_knows_the_old_ones() {
        let mut map = OffsetMap::new(shape(u64::MAX, 100 * SLOT_BYTES));
        let refused = (1_000..).find(|offset: &i64| map.put(&offset.to_le_bytes(), *offset).is_err());
        assert_eq!(refused, Some(1_090), "nine tenths of the slots are used");
        assert_eq!(map.latest(), Some(1_089));
        map.put(&1_000_i64.to_le_bytes(), 1_095).expect("a key it has needs no room");
        assert_eq!(map.get(&1_000_i64.to_le_bytes()), Some(1_095));
    }

    #[test]
    fn fifty_million_keys_take_four_passes_within_256_mib() {
        // The memory is zeroed by the system when it is touched, which it is not here.
        let map = OffsetMap::new(shape(50_000_000, 256 << 20));
        assert!(map.bytes() <= 256 << 20);
        assert_eq!(50_000_000_usize.div_ceil(map.capacity()), 4);
    }

    #[test]
    fn an_offset_too_far_from_the_base_ends_the_map() {
        let mut map = OffsetMap::new(shape(10, 1 << 20));
        assert_eq!(map.put(b"k", 1_000 + i64::from(u32::MAX)), Err(Full));
        assert_eq!(map.put(b"k", 1_000 + i64::from(u32::MAX) - 1), Ok(()));
        assert_eq!(map.get(b"k"), Some(1_000 + i64::from(u32::MAX) - 1));
    }
}
