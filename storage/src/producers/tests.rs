//! The producer state against a model that remembers everything.

use proptest::prelude::*;
use rkyv::rancor;

use super::*;

fn producer(id: i64, epoch: i16, base_sequence: i32) -> Producer {
    Producer { id, epoch, base_sequence }
}

fn reopened(producers: &Producers) -> Producers {
    let bytes = rkyv::to_bytes::<rancor::Error>(&producers.snapshot()).unwrap();
    Producers::from_snapshot(rkyv::access::<ArchivedSnapshotV1, rancor::Error>(&bytes).unwrap()).unwrap()
}

/// Appends `count` records at `base`, which must be accepted.
fn accept(producers: &mut Producers, producer: Producer, base: i64, count: u32) {
    assert_eq!(producers.check(producer, count), Outcome::Accept);
    producers.append(producer, Offsets { base, last: base + i64::from(count) - 1 }, 0, 0);
}

#[test]
fn sequences_start_over_after_the_largest() {
    assert_eq!(sequence_after(i32::MAX, 1), 0);
    assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
    let mut producers = Producers::new();
    accept(&mut producers, producer(1, 0, i32::MAX - 1), 0, 4);
    accept(&mut producers, producer(1, 0, 2), 4, 1);
    let again = producers.check(producer(1, 0, i32::MAX - 1), 4);
    assert!(matches!(again, Outcome::Duplicate(SeenBatch { base_offset: 0, last_sequence: 1, .. })));
    assert_eq!(producers.check(producer(1, 0, i32::MAX), 3), Outcome::DuplicateTooOld { expected: 3, got: i32::MAX });
}

#[test]
fn the_last_five_batches_are_recognised_and_no_more() {
    let mut producers = Producers::new();
    for batch in 0..7 {
        accept(&mut producers, producer(1, 0, batch * 10), i64::from(batch) * 10, 10);
    }
    for batch in 0..7 {
        match producers.check(producer(1, 0, batch * 10), 10) {
            Outcome::Duplicate(seen) => assert!(batch >= 2 && seen.base_offset == i64::from(batch) * 10),
            Outcome::DuplicateTooOld { expected: 70, .. } => assert!(batch < 2),
            other => panic!("{other:?}"),
        }
    }
    // Known sequences, other borders: no duplicate of any batch.
    assert_eq!(producers.check(producer(1, 0, 60), 5), Outcome::DuplicateTooOld { expected: 70, got: 60 });
    assert_eq!(producers.check(producer(1, 0, 71), 1), Outcome::OutOfOrder { expected: 70, got: 71 });
}

#[test]
fn epochs_fence_and_start_at_sequence_zero() {
    let mut producers = Producers::new();
    accept(&mut producers, producer(1, 5, 33), 0, 1);
    assert_eq!(producers.check(producer(1, 4, 34), 1), Outcome::FencedEpoch { current: 5, got: 4 });
    assert_eq!(producers.check(producer(1, 6, 34), 1), Outcome::OutOfOrder { expected: 0, got: 34 });
    accept(&mut producers, producer(1, 6, 0), 1, 1);
    assert_eq!(producers.check(producer(1, 5, 34), 1), Outcome::FencedEpoch { current: 6, got: 5 });
    assert_eq!(producers.check(producer(1, 6, 33), 1), Outcome::OutOfOrder { expected: 1, got: 33 });
}

#[test]
fn truncation_takes_back_what_it_cuts() {
    let mut producers = Producers::new();
    accept(&mut producers, producer(1, 0, 0), 0, 5);
    accept(&mut producers, producer(2, 0, 0), 5, 5);
    accept(&mut producers, producer(1, 0, 5), 10, 5);
    producers.truncate(10);
    assert_eq!(producers.check(producer(1, 0, 5), 5), Outcome::Accept);
    assert!(matches!(producers.check(producer(1, 0, 0), 5), Outcome::Duplicate(_)));
    producers.truncate(5);
    assert_eq!(producers.len(), 1);
    // Nothing that is remembered is left: what was cut may begin earlier than what is remembered.
    for batch in 1..8 {
        accept(&mut producers, producer(1, 0, batch * 5), i64::from(batch) * 5, 5);
    }
    producers.truncate(10);
    assert!(producers.is_empty());
    accept(&mut producers, producer(1, 0, 10), 10, 5);
}

#[test]
fn idle_producers_expire_and_a_clock_set_back_keeps_them() {
    let mut producers = Producers::new();
    let offsets = Offsets { base: 0, last: 0 };
    producers.append(producer(1, 0, 0), offsets, 0, 1000);
    producers.append(producer(2, 0, 0), Offsets { base: 1, last: 1 }, 0, 1500);
    assert_eq!(producers.expire(500, 1000, |_| false), 0);
    assert_eq!(producers.expire(1999, 1000, |_| false), 0);
    assert_eq!(producers.expire(2000, 1000, |_| false), 1);
    assert_eq!(
        producers.check(producer(2, 0, 0), 1),
        Outcome::Duplicate(SeenBatch {
            first_sequence: 0,
            last_sequence: 0,
            base_offset: 1,
            last_offset: 1,
            timestamp: 0
        })
    );
}

#[test]
fn the_number_of_producers_is_bounded_and_the_idlest_go() {
    let mut producers = Producers::new();
    for id in 0..=PRODUCERS_PER_LOG_MAX as i64 {
        producers.append(producer(id, 0, 0), Offsets { base: id, last: id }, 0, id);
    }
    assert_eq!(producers.len(), PRODUCERS_PER_LOG_MAX - FORGOTTEN_AT_ONCE + 1);
    let oldest_kept = FORGOTTEN_AT_ONCE as i64;
    assert_eq!(producers.check(producer(oldest_kept - 1, 0, 7), 1), Outcome::Accept);
    assert!(matches!(producers.check(producer(oldest_kept, 0, 7), 1), Outcome::OutOfOrder { .. }));
}

#[test]
fn a_snapshot_that_breaks_an_invariant_is_refused() {
    let mut producers = Producers::new();
    accept(&mut producers, producer(1, 0, 0), 0, 5);
    accept(&mut producers, producer(1, 0, 5), 5, 5);
    let good = producers.snapshot();
    let refuse = |change: fn(&mut SnapshotV1)| {
        let mut snapshot = good.clone();
        change(&mut snapshot);
        let bytes = rkyv::to_bytes::<rancor::Error>(&snapshot).unwrap();
        Producers::from_snapshot(rkyv::access::<ArchivedSnapshotV1, rancor::Error>(&bytes).unwrap()).unwrap_err()
    };
    refuse(|snapshot| snapshot.producers[0].id = -1);
    refuse(|snapshot| snapshot.producers[0].epoch = -1);
    refuse(|snapshot| snapshot.producers[0].batches.clear());
    refuse(|snapshot| snapshot.producers[0].batches[1].first_sequence = 6);
    refuse(|snapshot| snapshot.producers[0].batches[1].base_offset = 4);
    refuse(|snapshot| snapshot.producers[0].batches[0].last_offset = i64::MAX);
    refuse(|snapshot| snapshot.producers[0].batches = vec![snapshot.producers[0].batches[0]; 6]);
    let twice = refuse(|snapshot| snapshot.producers = [&snapshot.producers[..], &snapshot.producers[..]].concat());
    assert_eq!(twice.producer_id, Some(1));
    assert_eq!(reopened(&producers), producers);
}

/// Every batch ever appended, and where each producer stands.
#[derive(Default)]
struct Model {
    log: Vec<(Producer, u32, i64)>,
}

impl Model {
    fn check(&self, producer: Producer, count: u32) -> Outcome {
        let own: Vec<_> = self.log.iter().filter(|(seen, _, _)| seen.id == producer.id).collect();
        let Some((newest, newest_count, _)) = own.last() else { return Outcome::Accept };
        let got = producer.base_sequence;
        if producer.epoch != newest.epoch {
            return match (producer.epoch < newest.epoch, got) {
                (true, _) => Outcome::FencedEpoch { current: newest.epoch, got: producer.epoch },
                (false, 0) => Outcome::Accept,
                (false, _) => Outcome::OutOfOrder { expected: 0, got },
            };
        }
        let epoch: Vec<_> = own.iter().filter(|(seen, _, _)| seen.epoch == newest.epoch).collect();
        for (seen, seen_count, base_offset) in epoch.iter().rev().take(BATCHES_PER_PRODUCER) {
            if (seen.base_sequence, *seen_count) == (got, count) {
                let last = i64::from(count) - 1;
                return Outcome::Duplicate(SeenBatch {
                    first_sequence: got,
                    last_sequence: got + last as i32,
                    base_offset: *base_offset,
                    last_offset: base_offset + last,
                    timestamp: 0,
                });
            }
        }
        let expected = newest.base_sequence + *newest_count as i32;
        match got {
            _ if got == expected => Outcome::Accept,
            _ if got < expected => Outcome::DuplicateTooOld { expected, got },
            _ => Outcome::OutOfOrder { expected, got },
        }
    }
}

proptest! {
    #[test]
    fn producers_are_judged_as_by_one_who_remembers_everything(
        batches in prop::collection::vec((0i64..3, 0i16..3, 0i32..24, 1u32..4, any::<bool>()), 1..120),
    ) {
        let (mut model, mut producers, mut end) = (Model::default(), Producers::new(), 0);
        for (id, epoch, sequence, count, wants_next) in batches {
            // Half of the batches are the next ones, so that the producers get somewhere.
            let next = producers.entries.get(&id).filter(|_| wants_next);
            let batch = match next {
                Some(entry) => producer(id, entry.epoch, entry.next_sequence),
                None => producer(id, epoch, sequence),
            };
            let outcome = producers.check(batch, count);
            prop_assert_eq!(outcome, model.check(batch, count));
            if outcome == Outcome::Accept {
                producers.append(batch, Offsets { base: end, last: end + i64::from(count) - 1 }, 0, 0);
                model.log.push((batch, count, end));
                end += i64::from(count);
            }
            prop_assert_eq!(&reopened(&producers), &producers);
        }
    }

    /// After a truncation every batch that was cut is accepted again, in order.
    #[test]
    fn what_was_cut_is_accepted_again(counts in prop::collection::vec((0i64..3, 1u32..4), 1..40), cut in any::<prop::sample::Index>()) {
        let (mut producers, mut log, mut end) = (Producers::new(), Vec::new(), 0);
        for (id, count) in counts {
            let next = producers.entries.get(&id).map_or(0, |entry| entry.next_sequence);
            let batch = producer(id, 0, next);
            accept(&mut producers, batch, end, count);
            log.push((batch, count, end));
            end += i64::from(count);
        }
        let cut = cut.index(log.len());
        producers.truncate(log[cut].2);
        for &(batch, count, base) in &log[cut..] {
            accept(&mut producers, batch, base, count);
        }
        prop_assert_eq!(&reopened(&producers), &producers);
    }
}
