//! The rules of what stays, on batches made here.

use super::judge::{Judge, Rule, Terms};
use super::map::{OffsetMap, Shape};
use super::rewrite::{Rewrite, emptied};
use super::transactions::Transactions;
use crate::batch::{Attributes, Batch, Producer, TimestampType, stamp};
use crate::buffer::{Pool, Slice};
use crate::builder::{BatchBuilder, EndTransaction, NewHeader, NewRecord, Options};
use crate::compression::{Codec, decompress_all};
use crate::record;
use crate::scan::Progress;

const NOW_MS: i64 = 1_700_000_000_000;
const TERMS: Terms = Terms { now_ms: NOW_MS, delete_retention_ms: 1_000 };

fn slice(bytes: &[u8]) -> Slice {
    let mut buffer = Pool::new(16 << 20).allocate(bytes.len()).expect("there is room");
    buffer[..bytes.len()].copy_from_slice(bytes);
    buffer.freeze(bytes.len())
}

/// A batch at `base_offset` with a record for each key; those without a value are tombstones.
fn batch(base_offset: i64, options: Options, records: &[(&str, Option<&str>)]) -> Slice {
    let mut builder = BatchBuilder::new(Options { leader_epoch: 3, ..options });
    for (at, (key, value)) in records.iter().enumerate() {
        let headers = [NewHeader { key: "h", value: Some(b"1") }];
        let timestamp = NOW_MS - 5_000 + 700 * at as i64;
        let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
        builder.append(&NewRecord { timestamp, key, value, headers: &headers }).expect("small");
    }
    let mut bytes = builder.finish();
    stamp(&mut bytes, base_offset, 3);
    slice(&bytes)
}

fn map(last: &[(&str, i64)]) -> OffsetMap {
    let shape = Shape { base_offset: 0, keys_max: 100, bytes_max: 1 << 16, load_permille: 900, secret: [3, 4] };
    let mut map = OffsetMap::new(shape);
    last.iter().for_each(|(key, offset)| map.put(key.as_bytes(), *offset).expect("there is room"));
    map
}

fn judged(bytes: &Slice, map: &OffsetMap, terms: &Terms) -> super::judge::Tally {
    let mut judge = Judge::new(bytes, terms);
    loop {
        if let Progress::Done(tally) = judge.step(1, map).expect("sound") {
            return tally;
        }
    }
}

fn rewritten(bytes: &Slice, map: &OffsetMap, horizon: Option<i64>) -> Vec<u8> {
    let batch = Batch::first(bytes).expect("a batch");
    let tally = judged(bytes, map, &TERMS);
    let mut rewrite = Rewrite::new(bytes, Some(Rule::of(&batch, &TERMS)), tally.remains(&batch, horizon));
    loop {
        if let Progress::Done(bytes) = rewrite.step(1, map).expect("sound") {
            return bytes;
        }
    }
}

/// Offset, timestamp, key and value of each record.
fn shown(bytes: &[u8]) -> Vec<(i64, i64, String, Option<String>)> {
    let batch = Batch::first(bytes).expect("a batch");
    assert_eq!(batch.crc(), batch.computed_crc());
    assert_eq!(batch.size_in_bytes(), bytes.len());
    let body = decompress_all(batch.attributes().codec().expect("known"), batch.body(), 1 << 20).expect("sound");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let records: Vec<_> = record::records(&body)
        .map(|record| {
            let record = record.expect("sound");
            assert_eq!(record.headers.len(), 1);
            let located = batch.origin().locate(record.head);
            (located.offset, located.timestamp, text(record.key.expect("keyed")), record.value.map(text))
        })
        .collect();
    assert_eq!(records.len(), batch.record_count() as usize);
    records
}

#[test]
fn what_stays_keeps_its_offset_and_time_in_every_codec() {
    let producer = Some(Producer { id: 7, epoch: 2, base_sequence: 40 });
    for codec in Codec::ALL {
        let options = Options { codec, producer, is_transactional: true, ..Options::default() };
        let bytes = batch(100, options, &[("a", Some("1")), ("b", Some("2")), ("a", Some("3")), ("c", Some("4"))]);
        let before = shown(&bytes);
        let after = rewritten(&bytes, &map(&[("a", 102), ("b", 150), ("c", 103)]), None);
        assert_eq!(shown(&after), [before[2].clone(), before[3].clone()]);
        let (old, new) = (Batch::first(&bytes).expect("a batch"), Batch::first(&after).expect("a batch"));
        assert_eq!((new.base_offset(), new.last_offset()), (100, 103));
        assert_eq!((new.leader_epoch(), new.producer()), (3, producer));
        assert_eq!((new.attributes(), new.base_timestamp()), (old.attributes(), old.base_timestamp()));
        assert_eq!(new.max_timestamp(), before[3].1);
    }
}

#[test]
fn the_largest_timestamp_is_that_of_what_stays() {
    let bytes = batch(0, Options::default(), &[("a", Some("1")), ("b", Some("2"))]);
    let after = rewritten(&bytes, &map(&[("a", 0), ("b", 9)]), None);
    assert_eq!(Batch::first(&after).expect("a batch").max_timestamp(), NOW_MS - 5_000);
    let options = Options { timestamp_type: TimestampType::LogAppendTime, ..Options::default() };
    let bytes = batch(0, options, &[("a", Some("1")), ("b", Some("2"))]);
    let stated = Batch::first(&bytes).expect("a batch").max_timestamp();
    let after = rewritten(&bytes, &map(&[("a", 0), ("b", 9)]), None);
    assert_eq!(Batch::first(&after).expect("a batch").max_timestamp(), stated, "every record has the append's time");
}

#[test]
fn a_tombstone_gets_a_horizon_and_goes_when_it_has_passed() {
    for codec in Codec::ALL {
        let bytes =
            batch(10, Options { codec, ..Options::default() }, &[("a", None), ("b", Some("2")), ("c", Some("3"))]);
        let map = map(&[("a", 10), ("b", 40), ("c", 12)]);
        let tally = judged(&bytes, &map, &TERMS);
        assert_eq!((tally.records, tally.kept, tally.has_tombstone), (3, 2, true));
        let before = shown(&bytes);
        let after = rewritten(&bytes, &map, Some(TERMS.new_horizon()));
        assert_eq!(shown(&after), [before[0].clone(), before[2].clone()], "timestamps mean the same");
        let marked = Batch::first(&after).expect("a batch");
        assert_eq!(marked.delete_horizon(), Some(NOW_MS + 1_000));
        let after = slice(&after);
        let at = |now_ms| judged(&after, &map, &Terms { now_ms, ..TERMS });
        assert_eq!((at(NOW_MS + 999).kept, at(NOW_MS + 999).has_tombstone), (2, true));
        assert_eq!((at(NOW_MS + 1_000).kept, at(NOW_MS + 1_000).has_tombstone), (1, false));
    }
}

#[test]
fn records_behind_the_map_stay_and_those_without_a_key_go() {
    let mut builder = BatchBuilder::new(Options::default());
    for key in [None, Some(b"a".as_slice()), None] {
        builder.append(&NewRecord { timestamp: 5, key, value: Some(b"v"), headers: &[] }).expect("small");
    }
    let bytes = slice(&builder.finish());
    assert_eq!(judged(&bytes, &map(&[("a", 1)]), &TERMS).kept, 2, "the record at offset 2 was not looked at");
    assert_eq!(judged(&bytes, &map(&[("z", 9)]), &TERMS).kept, 1);
}

#[test]
fn an_emptied_batch_says_what_it_said_of_its_producer() {
    let producer = Some(Producer { id: 7, epoch: 2, base_sequence: 40 });
    let bytes = batch(100, Options { codec: Codec::Zstd, producer, ..Options::default() }, &[("a", None), ("b", None)]);
    let empty = emptied(&Batch::first(&bytes).expect("a batch"));
    let batch = Batch::first(&empty).expect("a batch");
    assert_eq!(batch.crc(), batch.computed_crc());
    assert_eq!((batch.base_offset(), batch.last_offset(), batch.record_count()), (100, 101, 0));
    assert_eq!((batch.producer(), batch.leader_epoch()), (producer, 3));
    assert_eq!(batch.attributes(), Attributes(0), "no bytes are no stream of zstd");
}

/// A log of data and marks of two producers.
struct Log(Vec<Slice>);

impl Log {
    fn data(&mut self, producer: i64) -> &mut Self {
        let producer = Some(Producer { id: producer, epoch: 0, base_sequence: 0 });
        let options = Options { producer, is_transactional: true, ..Options::default() };
        self.0.push(batch(self.0.len() as i64, options, &[("k", Some("v"))]));
        self
    }

    fn mark(&mut self, producer: i64, is_commit: bool) -> &mut Self {
        let mark = EndTransaction { is_commit, coordinator_epoch: 0 };
        let producer = Some(Producer { id: producer, epoch: 0, base_sequence: -1 });
        let options = Options { producer, is_transactional: true, is_control: true, ..Options::default() };
        let mut builder = BatchBuilder::new(options);
        let (key, value) = (mark.key(), mark.value());
        let record = NewRecord { timestamp: NOW_MS, key: Some(&key), value: Some(&value), headers: &[] };
        builder.append(&record).expect("small");
        let mut bytes = builder.finish();
        stamp(&mut bytes, self.0.len() as i64, 3);
        self.0.push(slice(&bytes));
        self
    }

    fn transactions(&self) -> Transactions {
        let mut index = crate::transactions::Transactions::default();
        for (bytes, offset) in self.0.iter().zip(0..) {
            index.append(&Batch::first(bytes).expect("a batch"), 0, offset, offset);
        }
        Transactions::new(index.all_aborted())
    }

    /// What can be discarded, of the batches from `first` on without those at `gone`.
    fn discarded(&self, first: usize, gone: &[usize]) -> Vec<usize> {
        let mut transactions = self.transactions();
        let batches = self.0.iter().enumerate().skip(first).filter(|(at, _)| !gone.contains(at));
        let discarded = batches.filter(|(_, bytes)| transactions.can_discard(&Batch::first(bytes).expect("a batch")));
        discarded.map(|(at, _)| at).collect()
    }
}

#[test]
fn aborted_records_go_and_their_mark_goes_after_them() {
    let mut log = Log(Vec::new());
    log.data(1).data(2).mark(1, false).data(1).mark(2, true).mark(1, true);
    assert_eq!(log.discarded(0, &[]), [0], "the records of the aborted transaction alone");
    assert_eq!(log.discarded(0, &[0]), [2], "and its mark once they are gone");
    assert_eq!(log.discarded(0, &[0, 1, 3]), [2, 4, 5], "a commit is not needed without its records either");
    assert_eq!(log.discarded(3, &[]), [4], "a pass that begins later takes nothing for aborted that is not");
}
