//! The index against a scan of all batches.

use proptest::prelude::*;

use super::*;

const BASE: i64 = 1 << 40;

/// Batches one after another, from (size, records, offsets skipped before, timestamp).
fn placed(batches: &[(u32, i64, i64, i64)]) -> Vec<Placed> {
    let (mut position, mut offset) = (0, BASE);
    let place = |&(size_in_bytes, records, skipped, timestamp): &(u32, i64, i64, i64)| {
        let base_offset = offset + skipped;
        let last_offset = base_offset + records - 1;
        let max = MaxTimestamp { timestamp, offset: base_offset + records / 2 };
        let placed = Placed { position, size_in_bytes, base_offset, last_offset, max };
        (position, offset) = (position + size_in_bytes, last_offset + 1);
        placed
    };
    batches.iter().map(place).collect()
}

fn indexed(batches: &[Placed], interval_bytes: u32) -> Index {
    let mut index = Index::new(BASE, interval_bytes);
    batches.iter().for_each(|&batch| index.append(batch));
    index
}

fn file(index: &Index) -> Vec<u8> {
    let mut bytes = Vec::new();
    index.encode_header(&mut bytes);
    index.encode_chunk(0, &mut bytes);
    bytes
}

fn batches() -> impl Strategy<Value = Vec<Placed>> {
    prop::collection::vec((61u32..600, 1i64..20, 0i64..3, 0i64..1000), 1..80).prop_map(|batches| placed(&batches))
}

proptest! {
    #[test]
    fn lookups_start_before_what_they_look_for_and_not_far(batches in batches(), interval_bytes in 0u32..2000) {
        let index = indexed(&batches, interval_bytes);
        let end = index.end();
        for offset in BASE..end.offset {
            let start = index.lookup_offset(offset);
            let before: Vec<_> = batches.iter().filter(|batch| batch.position < start.position).collect();
            prop_assert!(before.iter().all(|batch| batch.last_offset < offset));
            // The batch that holds the offset, or the first after it, is near.
            let holder = batches.iter().find(|batch| batch.last_offset >= offset).unwrap();
            prop_assert!(holder.position - start.position < interval_bytes.max(1) + 600);
        }
        for timestamp in -1..1001 {
            let found = index.lookup_timestamp(timestamp);
            let first = batches.iter().find(|batch| batch.max.timestamp >= timestamp);
            prop_assert_eq!(found.is_some(), first.is_some());
            if let (Some(found), Some(first)) = (found, first) {
                prop_assert!(found.position <= first.position);
                prop_assert!(first.position - found.position < interval_bytes.max(1) + 600);
            }
        }
        let max = batches.iter().map(|batch| batch.max.timestamp).max().unwrap();
        let first = batches.iter().find(|batch| batch.max.timestamp == max).unwrap();
        prop_assert_eq!(index.max(), first.max);
    }

    #[test]
    fn an_index_is_read_back_from_its_chunks(batches in batches(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5)) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(batches.len())).collect();
        cuts.sort_unstable();
        let (mut index, mut bytes, mut written) = (Index::new(BASE, 500), Vec::new(), 0);
        index.encode_header(&mut bytes);
        for (at, &batch) in batches.iter().enumerate() {
            index.append(batch);
            if cuts.contains(&at) {
                index.encode_chunk(written, &mut bytes);
                written = index.len();
            }
        }
        index.encode_chunk(written, &mut bytes);
        prop_assert_eq!(Index::parse(&bytes, BASE), Ok(index));
    }

    #[test]
    fn truncation_is_as_if_the_rest_had_never_been(batches in batches(), cut in any::<prop::sample::Index>(), interval_bytes in 0u32..2000) {
        let mut index = indexed(&batches, interval_bytes);
        let mut bytes = file(&index);
        let cut = cut.index(batches.len());
        let end = index.truncate(batches[cut].position);
        prop_assert!(end.position <= batches[cut].position);
        prop_assert!(batches[cut].position - end.position < interval_bytes.max(1) + 600);
        // What lies between the index's end and the cut is appended again.
        batches[..cut].iter().filter(|batch| batch.position >= end.position).for_each(|&batch| index.append(batch));
        let kept = indexed(&batches[..cut], interval_bytes);
        for offset in BASE..kept.end().offset {
            prop_assert_eq!(index.lookup_offset(offset), kept.lookup_offset(offset));
        }
        prop_assert_eq!(index.max(), kept.max());
        prop_assert_eq!(index.len(), kept.len());
        // A chunk that starts earlier than the file ends truncates the file's index, too.
        index.encode_chunk(index.len().saturating_sub(1), &mut bytes);
        prop_assert_eq!(Index::parse(&bytes, BASE), Ok(index));
    }

    #[test]
    fn damage_is_found(batches in batches(), at in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let good = file(&indexed(&batches, 300));
        let mut bad = good.clone();
        let at = at.index(bad.len());
        bad[at] ^= flip;
        prop_assert!(Index::parse(&bad, BASE).is_err());
        // Cut anywhere but between chunks, it is an error, too.
        let cut = Index::parse(&good[..at], BASE);
        prop_assert_eq!(cut.is_ok(), at == HEADER_BYTES);
    }
}

#[test]
fn another_segments_index_is_refused() {
    let index = indexed(&placed(&[(100, 1, 0, 5), (100, 1, 0, 6)]), 50);
    let bytes = file(&index);
    let refused = Index::parse(&bytes, BASE + 1).unwrap_err();
    assert_eq!(refused, Error { position: 0, fault: Fault::BaseOffset { expected: BASE + 1, got: BASE } });
    // Nor is a chunk of another index taken for one of this.
    let mut mixed = Vec::new();
    Index::new(BASE + 1, 50).encode_header(&mut mixed);
    mixed.extend_from_slice(&bytes[HEADER_BYTES..]);
    assert_eq!(Index::parse(&mixed, BASE + 1), Err(Error { position: HEADER_BYTES, fault: Fault::Crc }));
    let mut newer = bytes.clone();
    newer[8] = 2;
    assert_eq!(Index::parse(&newer, BASE).unwrap_err().fault, Fault::Version { version: 2 });
    assert_eq!(Index::parse(b"no index, but long enough for one", BASE).unwrap_err().fault, Fault::NotAnIndex);
}

#[test]
fn a_gap_between_chunks_is_refused() {
    let index = indexed(&placed(&[(100, 1, 0, 5), (100, 1, 0, 6), (100, 1, 0, 7)]), 50);
    let mut bytes = Vec::new();
    index.encode_header(&mut bytes);
    index.encode_chunk(1, &mut bytes);
    assert_eq!(Index::parse(&bytes, BASE).unwrap_err().fault, Fault::Gap { expected: 0, got: 1 });
}

#[test]
fn a_segment_rolls_before_its_offsets_overflow() {
    let index = Index::new(BASE, 4096);
    assert!(index.fits(BASE) && index.fits(BASE + i64::from(i32::MAX)));
    assert!(!index.fits(BASE + i64::from(i32::MAX) + 1) && !index.fits(BASE - 1));
}
