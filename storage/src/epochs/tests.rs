//! The leader epochs against a list with the epoch of every record.

use proptest::prelude::*;
use rkyv::rancor;

use super::*;

fn epochs(starts: &[(i32, i64)]) -> Epochs {
    let mut epochs = Epochs::new();
    for &(epoch, offset) in starts {
        assert!(epochs.append(epoch, offset));
    }
    epochs
}

fn end(epoch: i32, end_offset: i64) -> EpochEnd {
    EpochEnd { epoch, end_offset }
}

#[test]
fn the_end_of_an_epoch_is_answered_as_the_protocol_wants() {
    let epochs = epochs(&[(3, 10), (5, 120), (6, 200)]);
    assert_eq!(epochs.end_offset_for(6, 250), end(6, 250));
    assert_eq!(epochs.end_offset_for(5, 250), end(5, 200));
    assert_eq!(epochs.end_offset_for(4, 250), end(3, 120), "KIP-279: the largest epoch not above");
    assert_eq!(epochs.end_offset_for(3, 250), end(3, 120));
    assert_eq!(epochs.end_offset_for(2, 250), end(2, 10), "older than anything kept");
    assert_eq!(epochs.end_offset_for(7, 250), EpochEnd::UNKNOWN);
    assert_eq!(epochs.end_offset_for(-1, 250), EpochEnd::UNKNOWN);
    assert_eq!(Epochs::new().end_offset_for(0, 0), EpochEnd::UNKNOWN);
}

#[test]
fn an_epoch_without_records_leaves_no_trace() {
    let mut epochs = epochs(&[(1, 0), (2, 10)]);
    epochs.truncate_from_start(20);
    assert_eq!(epochs.starts(), [EpochStart { epoch: 2, start_offset: 20 }]);
    assert!(epochs.append(4, 20));
    assert!(!epochs.append(4, 30));
    assert_eq!(epochs.starts(), [EpochStart { epoch: 4, start_offset: 20 }]);
}

#[test]
#[should_panic(expected = "leader epochs never go back")]
fn an_older_epoch_is_a_bug() {
    epochs(&[(3, 0)]).append(2, 10);
}

#[test]
fn the_number_of_epochs_is_bounded() {
    let mut epochs = Epochs::new();
    for epoch in 0..EPOCHS_PER_LOG_MAX as i32 + 1 {
        epochs.append(epoch, i64::from(epoch));
    }
    assert_eq!((epochs.starts().len(), epochs.starts()[0].epoch), (EPOCHS_PER_LOG_MAX, 1));
}

#[test]
fn a_snapshot_that_goes_back_is_refused() {
    let good = [(1, 0), (2, 5)];
    for (index, bad) in [(1, [(1, 0), (1, 5)]), (1, [(1, 5), (2, 5)]), (0, [(-1, 0), (2, 5)]), (0, [(1, -1), (2, 5)])] {
        for (starts, expected) in [(good, Ok(epochs(&good))), (bad, Err(InvalidSnapshot { index }))] {
            let starts = starts.map(|(epoch, start_offset)| EpochStart { epoch, start_offset }).to_vec();
            let bytes = rkyv::to_bytes::<rancor::Error>(&SnapshotV1 { starts }).unwrap();
            let archived = rkyv::access::<ArchivedSnapshotV1, rancor::Error>(&bytes).unwrap();
            assert_eq!(Epochs::from_snapshot(archived), expected);
        }
    }
}

#[derive(Debug, Clone)]
enum Change {
    Append { epochs_later: i32, records: usize },
    TruncateEnd(prop::sample::Index),
    TruncateStart(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0i32..3, 1usize..10).prop_map(|(epochs_later, records)| Change::Append { epochs_later, records }),
        1 => any::<prop::sample::Index>().prop_map(Change::TruncateEnd),
        1 => any::<prop::sample::Index>().prop_map(Change::TruncateStart),
    ]
}

proptest! {
    #[test]
    fn epochs_are_those_of_the_records(changes in prop::collection::vec(change(), 1..60)) {
        // The epoch of each record, from offset 0 on; `start` is the first that is kept.
        let (mut log, mut start, mut epochs): (Vec<i32>, usize, _) = (Vec::new(), 0, Epochs::new());
        for change in changes {
            match change {
                Change::Append { epochs_later, records } => {
                    let epoch = epochs.latest().map_or(0, |latest| latest.epoch) + epochs_later;
                    for _ in 0..records {
                        epochs.append(epoch, log.len() as i64);
                        log.push(epoch);
                    }
                }
                Change::TruncateEnd(at) if log.len() > start => {
                    let kept = start + at.index(log.len() - start) + 1;
                    log.truncate(kept);
                    epochs.truncate_from_end(kept as i64);
                }
                Change::TruncateStart(at) if log.len() > start => {
                    start += at.index(log.len() - start);
                    epochs.truncate_from_start(start as i64);
                }
                Change::TruncateEnd(_) | Change::TruncateStart(_) => {}
            }
            for (offset, &epoch) in log.iter().enumerate().skip(start) {
                prop_assert_eq!(epochs.epoch_of(offset as i64), Some(epoch));
            }
            let kept = &log[start..];
            for requested in 0..=kept.last().map_or(0, |epoch| epoch + 1) {
                let answer = epochs.end_offset_for(requested, log.len() as i64);
                let below = kept.iter().filter(|&&epoch| epoch <= requested).count();
                let expected = match kept.last() {
                    Some(&last) if requested <= last => {
                        let epoch = if below == 0 { requested } else { kept[below - 1] };
                        end(epoch, (start + below) as i64)
                    }
                    _ => EpochEnd::UNKNOWN,
                };
                prop_assert_eq!(answer, expected);
            }
            let bytes = rkyv::to_bytes::<rancor::Error>(&epochs.snapshot()).unwrap();
            let archived = rkyv::access::<ArchivedSnapshotV1, rancor::Error>(&bytes).unwrap();
            prop_assert_eq!(&Epochs::from_snapshot(archived).unwrap(), &epochs);
        }
    }
}
