//! Record batches as a client needs them: named codecs, a producer's stamp, halves of a batch, and all records of one.

use storage::batch::{Batch, Producer};
use storage::builder::{BatchBuilder, NewHeader, NewRecord, Options};
use storage::compression::decompress_all;
use storage::record;

pub use storage::compression::Codec;

/// The most bytes that a batch may decompress to. A batch that a broker accepted is far smaller; one that is not must
/// not take the machine's memory.
pub const BATCH_BYTES_MAX: u64 = 1 << 30;

/// Where the producer's id, epoch and sequence lie in a batch, and the CRC that covers them.
const PRODUCER_AT: usize = 43;
const CRC_AT: usize = 17;

/// The codec with a name of `compression.type`.
pub fn codec_named(name: &str) -> Option<Codec> {
    Codec::ALL.into_iter().find(|codec| codec.name() == name)
}

/// Writes a producer's stamp into a finished batch, and the CRC that follows from it.
///
/// # Panics
/// If `batch` is not a whole batch.
pub fn stamp_producer(batch: &mut [u8], producer: Producer) {
    batch[PRODUCER_AT..][..8].copy_from_slice(&producer.id.to_be_bytes());
    batch[PRODUCER_AT + 8..][..2].copy_from_slice(&producer.epoch.to_be_bytes());
    batch[PRODUCER_AT + 10..][..4].copy_from_slice(&producer.base_sequence.to_be_bytes());
    let crc = Batch::first(batch).expect("only finished batches are stamped").computed_crc();
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
}

/// The bytes of a batch's records, decompressed.
///
/// # Errors
/// Why they cannot be decompressed.
pub fn body(batch: &Batch<'_>) -> Result<Vec<u8>, String> {
    let codec = batch.attributes().codec();
    let codec = codec.ok_or_else(|| format!("no codec has the number {}", batch.attributes().codec_id()))?;
    decompress_all(codec, batch.body(), BATCH_BYTES_MAX).map_err(|error| error.to_string())
}

/// Splits a batch, without a producer's stamp, after half of its records.
///
/// # Errors
/// Why it cannot be read.
pub fn halves(bytes: &[u8]) -> Result<[Vec<u8>; 2], String> {
    let batch = Batch::first(bytes).map_err(|error| error.to_string())?;
    let body = body(&batch)?;
    let records: Vec<_> = record::records(&body).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let codec = batch.attributes().codec().unwrap_or(Codec::None);
    let (first, second) = records.split_at(records.len() / 2);
    Ok([rebuilt(&batch, codec, first)?, rebuilt(&batch, codec, second)?])
}

fn rebuilt(batch: &Batch<'_>, codec: Codec, records: &[record::Record<'_>]) -> Result<Vec<u8>, String> {
    let mut builder = BatchBuilder::new(Options { codec, ..Options::default() });
    for record in records {
        let headers: Vec<_> = record.headers.clone().collect();
        let headers: Vec<NewHeader<'_>> = headers
            .iter()
            .map(|header| {
                let key = std::str::from_utf8(header.key).map_err(|_| "a header's key is not UTF-8".to_owned())?;
                Ok(NewHeader { key, value: header.value })
            })
            .collect::<Result<_, String>>()?;
        builder
            .append(&NewRecord {
                timestamp: batch.origin().locate(record.head).timestamp,
                key: record.key,
                value: record.value,
                headers: &headers,
            })
            .map_err(|error| error.to_string())?;
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(codec: Codec, values: &[&str]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Options { codec, ..Options::default() });
        for (index, value) in values.iter().enumerate() {
            let headers = [NewHeader { key: "n", value: Some(value.as_bytes()) }];
            let record = NewRecord {
                timestamp: 1000 + index as i64,
                key: Some(b"k"),
                value: Some(value.as_bytes()),
                headers: &headers,
            };
            builder.append(&record).unwrap();
        }
        builder.finish()
    }

    fn values(bytes: &[u8]) -> Vec<(i64, String)> {
        let batch = Batch::first(bytes).unwrap();
        let body = body(&batch).unwrap();
        record::records(&body)
            .map(|record| {
                let record = record.unwrap();
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                (batch.origin().locate(record.head).timestamp, value)
            })
            .collect()
    }

    #[test]
    fn a_stamped_batch_carries_its_producer_under_a_valid_crc() {
        let mut bytes = batch(Codec::None, &["a", "b"]);
        let producer = Producer { id: 7, epoch: 3, base_sequence: 42 };
        stamp_producer(&mut bytes, producer);
        let batch = Batch::first(&bytes).unwrap();
        assert_eq!(batch.producer(), Some(producer));
        assert_eq!(batch.crc(), batch.computed_crc());
    }

    #[test]
    fn halves_hold_all_records_in_order_in_every_codec() {
        for codec in Codec::ALL {
            let [first, second] = halves(&batch(codec, &["a", "b", "c"])).unwrap();
            assert_eq!(Batch::first(&first).unwrap().attributes().codec(), Some(codec));
            assert_eq!(values(&first), [(1000, "a".to_owned())]);
            assert_eq!(values(&second), [(1001, "b".to_owned()), (1002, "c".to_owned())]);
        }
    }

    #[test]
    fn codecs_have_their_kafka_names() {
        for codec in Codec::ALL {
            assert_eq!(codec_named(codec.name()), Some(codec));
        }
        assert_eq!(codec_named("rar"), None);
    }
}
