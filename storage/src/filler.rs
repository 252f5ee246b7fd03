//! Batches that stand where damaged ones were: they have their place and their offsets, and nothing in them.
//!
//! A filler is a control batch, which consumers never show to applications, with one record of a kind that nobody knows:
//! Kafka's clients pass over such a record, and go on behind the batch. So positions, offsets and index of a segment stay
//! as they were.
//!
//! ```text
//! batch header, 61 bytes: control │ record: key = version 0, kind 0x534b │ value: zeros to the size wanted
//! ```

use crate::batch::{self, Attributes, HEADER_BYTES, NO_TIMESTAMP, TimestampType};
use crate::compression::Codec;
use crate::varint::{VARINT_BYTES_MAX, put_varint, put_varlong, varint_len};

/// The control record's key: version 0 of a kind that Kafka does not have ("SK").
const KEY: [u8; 4] = [0, 0, 0x53, 0x4b];

/// What a batch says that stands for lost ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filler {
    /// Its first offset.
    pub base_offset: i64,
    /// Its last offset.
    pub last_offset: i64,
    /// The leader epoch of what was there, as far as it is known.
    pub leader_epoch: i32,
    /// Its size, exactly.
    pub size_in_bytes: usize,
}

impl Filler {
    /// The batch; none if the size is too small for one.
    ///
    /// # Panics
    /// If the offsets do not ascend.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        assert!(self.base_offset <= self.last_offset, "a batch has an offset at least");
        let last_offset_delta = i32::try_from(self.last_offset - self.base_offset).ok()?;
        let room = self.size_in_bytes.checked_sub(HEADER_BYTES)?;
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.extend(record(last_offset_delta, room)?);
        batch::write_header(
            &mut bytes,
            &batch::Header {
                base_offset: self.base_offset,
                leader_epoch: self.leader_epoch,
                attributes: Attributes::new(Codec::None, TimestampType::CreateTime, false, true),
                last_offset_delta,
                base_timestamp: NO_TIMESTAMP,
                max_timestamp: NO_TIMESTAMP,
                producer: None,
                record_count: 1,
            },
        );
        assert_eq!(bytes.len(), self.size_in_bytes, "a filler has the size of what it stands for");
        Some(bytes)
    }
}

/// A record of exactly so many bytes. Where the lengths of its lengths leave a size out, one of them is written longer than
/// it need be.
fn record(offset_delta: i32, bytes: usize) -> Option<Vec<u8>> {
    [(0, 0), (1, 0), (0, 1), (1, 1)].into_iter().find_map(|longer| record_with(offset_delta, bytes, longer))
}

/// With so many bytes more for the length of the record, and for that of its value.
fn record_with(offset_delta: i32, bytes: usize, longer: (usize, usize)) -> Option<Vec<u8>> {
    // Attributes, timestamp delta, offset delta, key, and the number of headers.
    let fixed = 1 + 1 + varint_len(offset_delta) + varint_len(KEY.len() as i32) + KEY.len() + 1;
    let room = bytes.checked_sub(fixed)?;
    let length = |value: usize| fixed + varint_len(value as i32) + longer.1 + value;
    let fits = |&value: &usize| varint_len(length(value) as i32) + longer.0 + length(value) == bytes;
    let value = (room.saturating_sub(2 * VARINT_BYTES_MAX)..=room).find(fits)?;
    let mut out = Vec::with_capacity(bytes);
    put_longer(&mut out, length(value), longer.0);
    out.push(0);
    put_varlong(&mut out, 0);
    put_varint(&mut out, offset_delta);
    put_varint(&mut out, KEY.len() as i32);
    out.extend_from_slice(&KEY);
    put_longer(&mut out, value, longer.1);
    out.resize(out.len() + value, 0);
    out.push(0);
    Some(out)
}

/// Writes a length, with zeros behind its significant bits.
fn put_longer(out: &mut Vec<u8>, length: usize, zeros: usize) {
    put_varint(out, length as i32);
    for _ in 0..zeros {
        *out.last_mut().expect("a length has a byte") |= 0x80;
        out.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::record::records;

    #[test]
    fn a_filler_has_any_size_that_a_batch_can_have() {
        for size_in_bytes in (72..1_000).chain(8_000..8_500).chain([1 << 20, (1 << 20) + 1, (8 << 20) - 1]) {
            for offsets in [1, 70, 100_000] {
                let filler = Filler { base_offset: 500, last_offset: 499 + offsets, leader_epoch: 3, size_in_bytes };
                let Some(bytes) = filler.encode() else {
                    assert!(size_in_bytes < 78 && offsets > 1, "{filler:?}");
                    continue;
                };
                let batch = Batch::first(&bytes).expect("a batch");
                assert_eq!((batch.size_in_bytes(), bytes.len()), (size_in_bytes, size_in_bytes));
                assert_eq!((batch.base_offset(), batch.next_offset()), (500, 500 + offsets));
                assert!(batch.crc() == batch.computed_crc() && batch.attributes().is_control());
                let found: Vec<_> = records(batch.body()).map(|record| record.expect("a record")).collect();
                assert_eq!(found.len(), 1);
                assert_eq!(i64::from(found[0].head.offset_delta), offsets - 1);
            }
        }
    }

    #[test]
    fn nothing_fits_where_no_batch_would() {
        for size_in_bytes in [0, 60, 61, 70] {
            let filler = Filler { base_offset: 5, last_offset: 5, leader_epoch: -1, size_in_bytes };
            assert_eq!(filler.encode(), None);
        }
    }
}
