use super::*;
use crate::builder::{BatchBuilder, NewRecord, Options};

fn batch(base_offset: i64, records: usize, bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Options { base_offset, ..Options::default() });
    for at in 0..records {
        let value: Vec<u8> = (0..bytes).map(|byte| (byte * 7 + at * 31) as u8).collect();
        let record = NewRecord { timestamp: 5, key: None, value: Some(&value), headers: &[] };
        builder.append(&record).expect("small");
    }
    builder.finish()
}

/// Five batches of two records, and where each starts; the last is the end.
fn segment() -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut starts) = (Vec::new(), Vec::new());
    for at in 0..5 {
        starts.push(bytes.len());
        bytes.extend(batch(100 + at * 2, 2, 40));
    }
    starts.push(bytes.len());
    (bytes, starts)
}

fn bounds(bytes: &[u8]) -> Bounds {
    Bounds { offset_min: 100, offset_end: 110, bytes_left: bytes.len() as u64 }
}

/// Base offsets of intact batches, and the ranges of damage.
fn walked(mut walk: Walk<'_>) -> (Vec<i64>, Vec<(usize, usize)>) {
    let (mut intact, mut damaged) = (Vec::new(), Vec::<(usize, usize)>::new());
    loop {
        let from = walk.position();
        match walk.next_piece() {
            Piece::Intact(batch) => intact.push(batch.base_offset()),
            Piece::Damaged { bytes, .. } => damaged.push((from, from + bytes)),
            Piece::Skipped { bytes } => match damaged.last_mut() {
                Some(last) => last.1 += bytes,
                None => damaged.push((from, from + bytes)),
            },
            Piece::Cut { .. } | Piece::End => return (intact, damaged),
        }
    }
}

#[test]
fn an_intact_segment_has_every_batch() {
    let (bytes, _) = segment();
    assert_eq!(walked(Walk::new(&bytes, bounds(&bytes))), (vec![100, 102, 104, 106, 108], vec![]));
}

#[test]
fn every_flipped_bit_of_a_batch_costs_that_batch_and_no_other() {
    let (sound, starts) = segment();
    for position in starts[2]..starts[3] {
        let is_epoch = (12..16).contains(&(position - starts[2]));
        for bit in 0..8 {
            let mut bytes = sound.clone();
            bytes[position] ^= 1 << bit;
            let (intact, damaged) = walked(Walk::new(&bytes, bounds(&bytes)));
            if is_epoch {
                assert_eq!(intact.len(), 5, "nothing tells of a wrong leader epoch");
                continue;
            }
            assert_eq!(intact, [100, 102, 106, 108], "bit {bit} of byte {}", position - starts[2]);
            assert_eq!(damaged, [(starts[2], starts[3])], "bit {bit} of byte {}", position - starts[2]);
        }
    }
}

#[test]
fn what_was_overwritten_anywhere_is_passed_over() {
    let (sound, starts) = segment();
    for (from, to, left) in [
        (starts[1] + 5, starts[3] + 70, vec![100, 108]),
        (0, starts[1], vec![102, 104, 106, 108]),
        (starts[4], starts[5], vec![100, 102, 104, 106]),
        (0, starts[5], vec![]),
    ] {
        for filling in [0, 0xff, 2] {
            let mut bytes = sound.clone();
            bytes[from..to].fill(filling);
            assert_eq!(walked(Walk::new(&bytes, bounds(&bytes))).0, left, "{from}..{to} of {filling}");
        }
    }
}

#[test]
fn a_batch_inside_a_record_of_a_damaged_batch_is_not_taken_for_one() {
    let inner = batch(101, 1, 10);
    let mut builder = BatchBuilder::new(Options { base_offset: 100, ..Options::default() });
    for _ in 0..4 {
        let record = NewRecord { timestamp: 5, key: None, value: Some(&inner), headers: &[] };
        builder.append(&record).expect("small");
    }
    let mut bytes = builder.finish();
    let size = bytes.len();
    bytes.extend(batch(104, 1, 10));
    bytes[size - 1] ^= 1;
    assert_eq!(walked(Walk::new(&bytes, bounds(&bytes))), (vec![104], vec![(0, size)]));
}

#[test]
fn gaps_that_compaction_leaves_are_no_damage() {
    let bytes = [batch(100, 1, 10), batch(105, 1, 10), batch(108, 2, 10)].concat();
    assert_eq!(walked(Walk::new(&bytes, bounds(&bytes))), (vec![100, 105, 108], vec![]));
}

#[test]
fn bytes_that_end_within_a_batch_ask_for_the_rest_of_it() {
    let (bytes, starts) = segment();
    for cut in starts[2] + 1..starts[3] {
        let mut walk = Walk::new(&bytes[..cut], bounds(&bytes));
        assert!(matches!(walk.next_piece(), Piece::Intact(_)));
        assert!(matches!(walk.next_piece(), Piece::Intact(_)));
        let needed = if cut - starts[2] < HEADER_BYTES { HEADER_BYTES } else { starts[3] - starts[2] };
        assert_eq!(walk.next_piece(), Piece::Cut { needed });
        assert_eq!((walk.position(), walk.offset_min()), (starts[2], 104));
    }
}

#[test]
fn a_search_goes_on_from_one_piece_of_memory_to_the_next() {
    let (mut bytes, starts) = segment();
    // The length as well: nothing tells where the next batch is.
    bytes[starts[1]..starts[2] - 1].fill(0xee);
    let whole = bounds(&bytes);
    for cut in starts[1] + HEADER_BYTES..starts[3] {
        let mut walk = Walk::new(&bytes[..cut], whole);
        assert!(matches!(walk.next_piece(), Piece::Intact(_)));
        let mut intact = Vec::new();
        loop {
            match walk.next_piece() {
                Piece::Intact(batch) => intact.push(batch.base_offset()),
                Piece::Damaged { .. } | Piece::Skipped { .. } => {}
                Piece::Cut { .. } => break,
                Piece::End => unreachable!("there is more"),
            }
        }
        let (at, offset_min) = (walk.position(), walk.offset_min());
        let rest = Bounds { offset_min, bytes_left: whole.bytes_left - at as u64, ..whole };
        let walk = if walk.is_behind_damage() {
            Walk::behind_damage(&bytes[at..], rest)
        } else {
            Walk::new(&bytes[at..], rest)
        };
        let (rest, _) = walked(walk);
        assert_eq!([intact, rest].concat(), [104, 106, 108], "cut at {cut}");
    }
}
