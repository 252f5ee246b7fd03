use std::collections::BTreeSet;
use std::ops::ControlFlow;

use storage::batch::{self, Batch, TimestampType};
use storage::builder::EndTransaction;
use storage::record::{self, Headers};

use crate::client::admin::TopicPartition;
use crate::client::error::{Error, Result};
use crate::client::records;

/// Records of one partition as they came.
#[derive(Debug)]
pub struct Fetched {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset after the last batch.
    pub next_offset: i64,
    /// Offset asked for; records before it are not meant.
    pub(super) from: i64,
    pub(super) bytes: Vec<u8>,
    /// Producer and first offset of the aborted transactions in here, by first offset; only for read_committed.
    pub(super) aborted: Vec<(i64, i64)>,
}

/// A record as a consumer sees it.
#[derive(Debug)]
pub struct Message<'a> {
    /// Its partition.
    pub partition: &'a TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in ms, -1 for none.
    pub timestamp: i64,
    /// What the timestamp means.
    pub timestamp_type: TimestampType,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

/// The offset after the last whole batch, `None` without any bytes.
pub(super) fn offset_after(bytes: &[u8], partition: &TopicPartition, from: i64) -> Result<Option<i64>> {
    let mut next_offset = None;
    for batch in batch::batches(bytes) {
        match batch {
            Ok(batch) => next_offset = Some(batch.next_offset().max(from)),
            // The last batch of an answer may be cut (KIP-74: never the first).
            Err(_) if next_offset.is_some() => break,
            Err(malformed) => return Err(damaged(partition, from, malformed.to_string())),
        }
    }
    Ok(next_offset)
}

fn damaged(partition: &TopicPartition, offset: i64, reason: String) -> Error {
    Error::Records { topic: partition.topic.to_string(), partition: partition.index, offset, reason }
}

impl Fetched {
    /// Whole batches of a partition, of which every record is meant.
    pub fn of(partition: TopicPartition, bytes: Vec<u8>) -> Self {
        let next_offset = batch::batches(&bytes).map_while(Result::ok).last().map_or(0, |batch| batch.next_offset());
        Self { partition, next_offset, from: i64::MIN, bytes, aborted: Vec::new() }
    }

    /// Shows every record that an application shall see, in order, until one is enough.
    ///
    /// # Errors
    /// If a batch is damaged; the records before it were shown.
    pub fn visit(
        &self,
        check_crcs: bool,
        mut show: impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut aborts = Aborts::new(&self.aborted);
        // The last batch may be cut.
        for batch in batch::batches(&self.bytes).map_while(Result::ok) {
            let damaged = |reason| damaged(&self.partition, batch.base_offset(), reason);
            if check_crcs && batch.crc() != batch.computed_crc() {
                return Err(damaged(format!("its CRC is {:#010x}, not {:#010x}", batch.computed_crc(), batch.crc())));
            }
            if batch.attributes().is_control() {
                aborts.see_control(&batch, &records::body(&batch).map_err(damaged)?);
                continue;
            }
            if aborts.hides(&batch) || batch.next_offset() <= self.from {
                continue;
            }
            let body = records::body(&batch).map_err(damaged)?;
            for record in record::records(&body) {
                let record = record.map_err(|malformed| damaged(malformed.to_string()))?;
                let located = batch.origin().locate(record.head);
                if located.offset < self.from {
                    continue;
                }
                let message = Message {
                    partition: &self.partition,
                    offset: located.offset,
                    timestamp: located.timestamp,
                    timestamp_type: batch.attributes().timestamp_type(),
                    key: record.key,
                    value: record.value,
                    headers: record.headers,
                };
                if show(message).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Which producers' transactional batches to leave out at the moment (KIP-98).
struct Aborts<'a> {
    /// By first offset.
    to_come: std::slice::Iter<'a, (i64, i64)>,
    producers: BTreeSet<i64>,
}

impl<'a> Aborts<'a> {
    fn new(aborted: &'a [(i64, i64)]) -> Self {
        Self { to_come: aborted.iter(), producers: BTreeSet::new() }
    }

    fn hides(&mut self, batch: &Batch<'_>) -> bool {
        while let Some(&(first_offset, producer)) = self.to_come.as_slice().first()
            && first_offset <= batch.last_offset()
        {
            self.producers.insert(producer);
            self.to_come.next();
        }
        batch.attributes().is_transactional() && self.producers.contains(&batch.producer_id())
    }

    fn see_control(&mut self, batch: &Batch<'_>, body: &[u8]) {
        for record in record::records(body).map_while(Result::ok) {
            let end = EndTransaction::parse(record.key.unwrap_or_default(), record.value.unwrap_or_default());
            if end.is_some_and(|end| !end.is_commit) {
                self.producers.remove(&batch.producer_id());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::batch::Producer as Stamp;
    use storage::builder::{BatchBuilder, NewRecord, Options};

    fn batch(base_offset: i64, producer: i64, control: Option<bool>, values: &[&str]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Options {
            base_offset,
            producer: Some(Stamp { id: producer, epoch: 0, base_sequence: 0 }),
            is_transactional: true,
            is_control: control.is_some(),
            ..Options::default()
        });
        if let Some(is_commit) = control {
            let end = EndTransaction { is_commit, coordinator_epoch: 0 };
            let record = NewRecord { timestamp: 0, key: Some(&end.key()), value: Some(&end.value()), headers: &[] };
            builder.append(&record).unwrap();
        }
        for value in values {
            let record = NewRecord { timestamp: 0, key: None, value: Some(value.as_bytes()), headers: &[] };
            builder.append(&record).unwrap();
        }
        builder.finish()
    }

    fn fetched(from: i64, aborted: &[(i64, i64)], batches: &[Vec<u8>]) -> Fetched {
        let partition = TopicPartition { topic: "t".into(), index: 0 };
        Fetched { partition, next_offset: 0, from, bytes: batches.concat(), aborted: aborted.to_vec() }
    }

    fn seen(fetched: &Fetched) -> Vec<(i64, String)> {
        let mut seen = Vec::new();
        let outcome = fetched.visit(true, |message| {
            seen.push((message.offset, String::from_utf8(message.value.unwrap().to_vec()).unwrap()));
            ControlFlow::Continue(())
        });
        assert!(outcome.unwrap().is_continue());
        seen
    }

    #[test]
    fn records_before_the_wanted_offset_and_control_records_are_left_out() {
        let fetched =
            fetched(1, &[], &[batch(0, 1, None, &["a", "b"]), batch(2, 1, Some(true), &[]), batch(3, 1, None, &["c"])]);
        assert_eq!(seen(&fetched), [(1, "b".to_owned()), (3, "c".to_owned())]);
    }

    #[test]
    fn aborted_transactions_are_left_out_until_their_mark() {
        let batches = [
            batch(0, 1, None, &["gone"]),
            batch(1, 2, None, &["kept"]),
            batch(2, 1, Some(false), &[]),
            batch(3, 1, None, &["later"]),
        ];
        assert_eq!(seen(&fetched(0, &[(0, 1)], &batches)), [(1, "kept".to_owned()), (3, "later".to_owned())]);
    }

    #[test]
    fn a_flipped_bit_is_reported_with_its_offset_and_a_cut_end_is_not() {
        let mut damaged = batch(7, 1, None, &["value"]);
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        let error = fetched(7, &[], &[damaged]).visit(true, |_| ControlFlow::Continue(())).unwrap_err();
        assert!(error.to_string().contains("offset 7"), "{error}");

        let whole = batch(0, 1, None, &["a"]);
        let cut = batch(1, 1, None, &["b"])[..30].to_vec();
        let partition = TopicPartition { topic: "t".into(), index: 0 };
        assert_eq!(offset_after(&[whole.clone(), cut.clone()].concat(), &partition, 0).unwrap(), Some(1));
        assert_eq!(seen(&fetched(0, &[], &[whole, cut.clone()])), [(0, "a".to_owned())]);
        assert!(offset_after(&cut, &partition, 0).is_err());
        assert_eq!(offset_after(&[], &partition, 0).unwrap(), None);
    }

    #[test]
    fn a_visit_ends_when_one_is_enough() {
        let fetched = fetched(0, &[], &[batch(0, 1, None, &["a", "b"])]);
        let mut count = 0;
        let outcome = fetched.visit(true, |_| {
            count += 1;
            ControlFlow::Break(())
        });
        assert!(outcome.unwrap().is_break());
        assert_eq!(count, 1);
    }
}
