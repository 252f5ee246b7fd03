//! Record batches, valid ones and ones that have been tampered with.

use std::sync::LazyLock;
use std::time::SystemTime;

use storage::batch::{Batch, CRC_FROM, Producer, batches};
use storage::builder::{BatchBuilder, NewRecord, Options};
use storage::compression::{Codec, decompress_all};
use storage::record;

/// Where fields of a batch's header stand.
pub(crate) const BASE_OFFSET: usize = 0;
pub(crate) const LENGTH: usize = 8;
pub(crate) const MAGIC: usize = 16;
pub(crate) const CRC: usize = 17;
pub(crate) const ATTRIBUTES: usize = 21;
pub(crate) const LAST_OFFSET_DELTA: usize = 23;
pub(crate) const RECORD_COUNT: usize = 57;

/// More than any test's batch decompresses to.
const BODY_BYTES_MAX: u64 = 256 << 20;

/// A record as tests compare them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Vec<u8>,
}

/// The timestamp of the first record that tests produce: the present, since retention removes what is old.
pub(crate) fn first_timestamp() -> i64 {
    static FIRST: LazyLock<i64> = LazyLock::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is past 1970");
        i64::try_from(since.as_millis()).expect("it is before the year 292 million")
    });
    *FIRST
}

/// A batch of these values at [`first_timestamp`] and the milliseconds after it.
pub(crate) fn batch(values: &[&str]) -> Vec<u8> {
    with(Options::default(), &stamped(values))
}

/// As [`batch`], of an idempotent producer.
pub(crate) fn idempotent(producer: Producer, values: &[&str]) -> Vec<u8> {
    with(Options { producer: Some(producer), ..Options::default() }, &stamped(values))
}

/// A batch of these timestamps and values, without keys.
pub(crate) fn with(options: Options, records: &[(i64, &[u8])]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for &(timestamp, value) in records {
        let record = NewRecord { timestamp, key: None, value: Some(value), headers: &[] };
        builder.append(&record).expect("a test's batch is small");
    }
    builder.finish()
}

/// As [`with`], compressed.
pub(crate) fn compressed(codec: Codec, records: &[(i64, &[u8])]) -> Vec<u8> {
    with(Options { codec, ..Options::default() }, records)
}

/// A batch of one record with a key.
pub(crate) fn keyed(key: &str, value: &str) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Options::default());
    let record = NewRecord {
        timestamp: first_timestamp(),
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        headers: &[],
    };
    builder.append(&record).expect("a test's batch is small");
    builder.finish()
}

fn stamped<'a>(values: &[&'a str]) -> Vec<(i64, &'a [u8])> {
    (first_timestamp()..).zip(values.iter().map(|value| value.as_bytes())).collect()
}

/// The batch with bytes at a position replaced, under a CRC that fits again.
pub(crate) fn patched(mut batch: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    if at >= CRC_FROM {
        let crc = Batch::first(&batch).expect("its frame is whole").computed_crc();
        batch[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
    }
    batch
}

/// All records of fetched bytes; a batch cut at the end, as fetches may have it, is left out.
pub(crate) fn records(bytes: &[u8]) -> Vec<Record> {
    let mut all = Vec::new();
    for batch in batches(bytes).map_while(Result::ok) {
        assert_eq!(batch.crc(), batch.computed_crc(), "fetched at {}", batch.base_offset());
        let codec = batch.attributes().codec().expect("a codec that was produced");
        let body = decompress_all(codec, batch.body(), BODY_BYTES_MAX).expect("a body that was produced");
        for record in record::records(&body) {
            let record = record.expect("a record that was produced");
            let located = batch.origin().locate(record.head);
            all.push(Record {
                offset: located.offset,
                timestamp: located.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.unwrap_or_default().to_vec(),
            });
        }
    }
    all
}
