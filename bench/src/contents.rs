//! Record batches that are encoded before the clock runs, and cut to what a request needs.
//!
//! ```text
//! template: | header 61 | record 0 | record 1 | … | record n-1 |      any first records of it are a batch
//! record:   | length, times, offset | key: decimal digits | value: | stamp 24 | … | |
//! stamp:    | magic 4 | producer 4 | sequence 8 | due, in ns 8 |
//! ```
//! Keys and stamps have places of a fixed size, so that a batch is a copy, a few stores and a checksum.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use rand_core::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use storage::batch::{Attributes, Batch, HEADER_BYTES, LENGTH_PREFIX_BYTES, Producer, TimestampType};
use storage::builder::{BatchBuilder, NewRecord, Options};
use storage::compression::{self, Codec};
use storage::varint::varint_len;

use crate::error::Error;
use crate::workload::{Keys, STAMP_BYTES, Size, Workload};

/// Bytes of all templates together, if values differ.
const VARIED_BYTES: usize = 16 << 20;

/// Templates, if values differ.
const TEMPLATES: std::ops::RangeInclusive<usize> = 8..=1024;

/// Bytes of a file whose lines become values.
const LINES_BYTES_MAX: u64 = 64 << 20;

/// Bytes of a key: decimal digits.
pub(crate) const KEY_BYTES: usize = 8;

const STAMP_MAGIC: [u8; 4] = *b"skst";

// Positions in a batch's header.
const LENGTH: usize = 8;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const PRODUCER_ID: usize = 43;
const PRODUCER_EPOCH: usize = 51;
const BASE_SEQUENCE: usize = 53;
const RECORD_COUNT: usize = 57;

/// What a checked record says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The producer that wrote it.
    pub(crate) producer: u32,
    /// How many records that producer wrote to this partition before.
    pub(crate) sequence: u64,
    /// When it was due, in ns since the run's origin.
    pub(crate) due_ns: u64,
}

impl Stamp {
    fn encode(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[..4].copy_from_slice(&STAMP_MAGIC);
        bytes[4..8].copy_from_slice(&self.producer.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[16..].copy_from_slice(&self.due_ns.to_be_bytes());
        bytes
    }

    /// The stamp at the start of a value, if it is one.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let (magic, rest) = value.split_first_chunk::<4>()?;
        let (producer, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (due_ns, _) = rest.split_first_chunk()?;
        (*magic == STAMP_MAGIC).then(|| Self {
            producer: u32::from_be_bytes(*producer),
            sequence: u64::from_be_bytes(*sequence),
            due_ns: u64::from_be_bytes(*due_ns),
        })
    }
}

/// Where one record of a template lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    key: usize,
    value: usize,
    end: usize,
}

#[derive(Debug)]
struct Template {
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// The whole of it as it is sent, where nothing in it differs from request to request.
    sealed: Option<Bytes>,
}

/// Stamps of a batch's records: sequences follow one another, and so do the times at which they were due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamps {
    pub(crate) first: Stamp,
    pub(crate) interval_ns: f64,
}

/// A batch to be cut from a template.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut<'a> {
    pub(crate) template: usize,
    /// Its first records, this many.
    pub(crate) records: usize,
    /// Their keys, if records have keys.
    pub(crate) keys: &'a [u32],
    pub(crate) stamps: Option<Stamps>,
    pub(crate) producer: Option<Producer>,
}

/// All values of a workload.
#[derive(Debug)]
pub(crate) struct Contents {
    templates: Vec<Template>,
    codec: Codec,
}

impl Contents {
    /// Encodes everything; records carry the time `wall_ms`.
    ///
    /// # Errors
    /// If values come from a file that cannot be read or has no lines.
    pub(crate) fn new(workload: &Workload, wall_ms: i64) -> Result<Self, Error> {
        let mut values = Values::new(workload)?;
        let keyed = workload.records.keys != Keys::None;
        let (batch_bytes, codec) = (workload.produce.batch_bytes, workload.produce.codec);
        let is_patched = keyed || workload.check || workload.produce.idempotent;
        let templates =
            (0..values.templates(batch_bytes)).map(|_| Template::new(&mut values, keyed, batch_bytes, wall_ms));
        let mut contents = Self { templates: templates.collect(), codec };
        if !is_patched {
            contents.seal();
        }
        Ok(contents)
    }

    fn seal(&mut self) {
        for template in 0..self.templates.len() {
            let cut = Cut { template, records: self.records(template), keys: &[], stamps: None, producer: None };
            let mut bytes = Vec::new();
            self.cut(&cut, &mut bytes);
            self.templates[template].sealed = Some(bytes.into());
        }
    }

    pub(crate) fn templates(&self) -> usize {
        self.templates.len()
    }

    /// Records of a full batch.
    pub(crate) fn records(&self, template: usize) -> usize {
        self.templates[template].places.len()
    }

    /// Bytes of a full batch, uncompressed.
    pub(crate) fn sealed_bytes(&self) -> usize {
        let template = &self.templates[0];
        template.sealed.as_ref().map_or_else(|| template.places[template.places.len() - 1].end, Bytes::len)
    }

    /// Whether a batch of so many records is full.
    pub(crate) fn is_full(&self, template: usize, records: usize) -> bool {
        records >= self.records(template)
    }

    /// The batch as it was encoded before, if nothing in it depends on the request.
    pub(crate) fn sealed(&self, cut: &Cut<'_>) -> Option<&Bytes> {
        let template = &self.templates[cut.template];
        template.sealed.as_ref().filter(|_| cut.records == template.places.len())
    }

    /// Appends the batch to `out`.
    ///
    /// # Panics
    /// If the template has fewer records.
    pub(crate) fn cut(&self, cut: &Cut<'_>, out: &mut Vec<u8>) {
        let template = &self.templates[cut.template];
        let places = &template.places[..cut.records];
        let end = places.last().expect("a batch has a record").end;
        let start = out.len();
        out.extend_from_slice(&template.bytes[..end]);
        for (&key, place) in cut.keys.iter().zip(places) {
            out[start + place.key..][..KEY_BYTES].copy_from_slice(&key_digits(key));
        }
        if let Some(stamps) = cut.stamps {
            for (index, place) in places.iter().enumerate() {
                let stamp = stamps.at(index);
                out[start + place.value..][..STAMP_BYTES].copy_from_slice(&stamp.encode());
            }
        }
        if self.codec != Codec::None {
            let body = out.split_off(start + HEADER_BYTES);
            compression::compress(self.codec, &body, out);
        }
        finish(&mut out[start..], cut, self.codec);
    }
}

impl Stamps {
    fn at(self, index: usize) -> Stamp {
        let sequence = self.first.sequence + index as u64;
        Stamp { sequence, due_ns: self.first.due_ns + (index as f64 * self.interval_ns) as u64, ..self.first }
    }
}

/// Makes the header say what the batch is.
fn finish(batch: &mut [u8], cut: &Cut<'_>, codec: Codec) {
    let mut put = |at: usize, bytes: &[u8]| batch[at..at + bytes.len()].copy_from_slice(bytes);
    let attributes = Attributes::new(codec, TimestampType::CreateTime, false, false);
    put(ATTRIBUTES, &attributes.0.to_be_bytes());
    put(LAST_OFFSET_DELTA, &(cut.records as i32 - 1).to_be_bytes());
    put(RECORD_COUNT, &(cut.records as i32).to_be_bytes());
    if let Some(producer) = cut.producer {
        put(PRODUCER_ID, &producer.id.to_be_bytes());
        put(PRODUCER_EPOCH, &producer.epoch.to_be_bytes());
        put(BASE_SEQUENCE, &producer.base_sequence.to_be_bytes());
    }
    let length = (batch.len() - LENGTH_PREFIX_BYTES) as i32;
    batch[LENGTH..LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    let crc = Batch::first(batch).expect("it was encoded here").computed_crc();
    batch[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
}

impl Template {
    fn new(values: &mut Values, keyed: bool, batch_bytes: usize, wall_ms: i64) -> Self {
        let key = [b'0'; KEY_BYTES];
        let mut batch = BatchBuilder::new(Options::default());
        let mut places = Vec::new();
        while batch.size_in_bytes() < batch_bytes || places.is_empty() {
            let value = values.next();
            let value_bytes = value.len();
            let record =
                NewRecord { timestamp: wall_ms, key: keyed.then_some(&key[..]), value: Some(value), headers: &[] };
            batch.append(&record).expect("a workload's batches are far below the limit");
            let end = batch.size_in_bytes();
            if end > batch_bytes && !places.is_empty() {
                // Behind the last place: never sent.
                break;
            }
            // One byte after the value says that there are no headers.
            let value = end - 1 - value_bytes;
            let key = if keyed { value - varint_len(value_bytes as i32) - KEY_BYTES } else { value };
            places.push(Place { key, value, end });
        }
        Self { bytes: batch.finish(), places, sealed: None }
    }
}

/// A key's digits.
pub(crate) fn key_digits(mut key: u32) -> [u8; KEY_BYTES] {
    let mut digits = [b'0'; KEY_BYTES];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (key % 10) as u8;
        key /= 10;
    }
    digits
}

/// Values one after another, the same ones for the same workload.
struct Values {
    size: Size,
    random: Xoshiro256PlusPlus,
    /// What values of generated sizes are cut from.
    noise: Vec<u8>,
    lines: Vec<Vec<u8>>,
    next_line: usize,
    is_stamped: bool,
    value: Vec<u8>,
}

impl Values {
    fn new(workload: &Workload) -> Result<Self, Error> {
        let size = workload.records.bytes.clone();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(workload.seed);
        let largest = match &size {
            Size::Fixed(bytes) => *bytes,
            Size::Uniform { max, .. } => *max,
            Size::Weighted(sizes) => sizes.iter().map(|size| size.bytes).max().unwrap_or(0),
            Size::Lines { .. } => 0,
        };
        let mut noise = vec![0; largest];
        random.fill_bytes(&mut noise);
        if workload.produce.codec != Codec::None {
            // Random digits, of which half can be compressed away: bytes without any pattern would show no work.
            noise.iter_mut().for_each(|byte| *byte = b"0123456789abcdef"[usize::from(*byte & 15)]);
        }
        let lines = match &size {
            Size::Lines { lines } => read_lines(lines)?,
            _ => Vec::new(),
        };
        Ok(Self { size, random, noise, lines, next_line: 0, is_stamped: workload.check, value: Vec::new() })
    }

    /// How many templates show the variety of the values.
    fn templates(&self, batch_bytes: usize) -> usize {
        let mean = |bytes: usize| VARIED_BYTES / bytes.max(batch_bytes).max(1);
        let wanted = match &self.size {
            Size::Fixed(_) => return 1,
            Size::Uniform { max, .. } => mean(*max),
            Size::Weighted(sizes) => mean(sizes.iter().map(|size| size.bytes).max().unwrap_or(1)),
            Size::Lines { .. } => self.lines.iter().map(Vec::len).sum::<usize>() / batch_bytes.max(100),
        };
        wanted.clamp(*TEMPLATES.start(), *TEMPLATES.end())
    }

    fn next(&mut self) -> &[u8] {
        let draw = self.random.next_u64() >> 11;
        let bytes = match &self.size {
            Size::Fixed(bytes) => *bytes,
            Size::Uniform { min, max } => min + (draw % (max - min + 1) as u64) as usize,
            Size::Weighted(sizes) => {
                let all: u64 = sizes.iter().map(|size| u64::from(size.weight)).sum();
                let mut left = draw % all;
                let drawn = sizes.iter().find(|size| {
                    let is_it = left < u64::from(size.weight);
                    left = left.saturating_sub(u64::from(size.weight));
                    is_it
                });
                drawn.expect("a draw is below the sum of the weights").bytes
            }
            Size::Lines { .. } => return self.next_line(),
        };
        &self.noise[..bytes]
    }

    fn next_line(&mut self) -> &[u8] {
        let line = &self.lines[self.next_line];
        self.next_line = (self.next_line + 1) % self.lines.len();
        self.value.clear();
        if self.is_stamped {
            self.value.resize(STAMP_BYTES, 0);
        }
        self.value.extend_from_slice(line);
        &self.value
    }
}

fn read_lines(path: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let cannot = |cause| Error::System { what: format!("read {}", path.display()), cause };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LINES_BYTES_MAX).read_to_end(&mut bytes)).map_err(cannot)?;
    let lines: Vec<Vec<u8>> =
        bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(Vec::from).collect();
    if lines.is_empty() {
        return Err(Error::Workload { what: format!("{} has no lines", path.display()) });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use storage::batch::batches;
    use storage::record::records;

    use super::*;

    fn cut_of(workload: &str, records: impl Fn(usize) -> usize, keys: &[u32], codec: Codec) -> Vec<u8> {
        let mut workload = Workload::parse(workload).expect("a workload");
        workload.produce.codec = codec;
        let contents = Contents::new(&workload, 1_000).expect("possible contents");
        let first = Stamp { producer: 7, sequence: 40, due_ns: 1_000 };
        let cut = Cut {
            template: 0,
            records: records(contents.records(0)),
            keys,
            stamps: workload.check.then_some(Stamps { first, interval_ns: 10.0 }),
            producer: Some(Producer { id: 5, epoch: 1, base_sequence: 9 }),
        };
        let mut out = vec![1, 2, 3];
        contents.cut(&cut, &mut out);
        assert_eq!(out[..3], [1, 2, 3]);
        out.split_off(3)
    }

    #[test]
    fn any_first_records_of_a_template_are_a_batch_with_stamps_and_keys() {
        let text = "check = true\n[records]\nbytes = { min = 30, max = 400 }\nkeys = 'uniform'\n[produce]\nbatch_bytes = 16384\n[consume]\nkind = 'tail'";
        for codec in Codec::ALL {
            let keys = [3, 12_345_678, 0];
            let bytes = cut_of(text, |_| 3, &keys, codec);
            let batch = batches(&bytes).next().expect("a batch").expect("a good one");
            assert_eq!(batch.crc(), batch.computed_crc());
            assert_eq!((batch.record_count(), batch.last_offset_delta()), (3, 2));
            assert_eq!(batch.producer(), Some(Producer { id: 5, epoch: 1, base_sequence: 9 }));
            let body = compression::decompress_all(codec, batch.body(), 1 << 20).expect("it was compressed here");
            for (index, record) in records(&body).enumerate() {
                let record = record.expect("a record");
                assert_eq!(record.key, Some(&key_digits(keys[index])[..]));
                let stamp = Stamp::decode(record.value.expect("a value")).expect("a stamp");
                let expected = Stamp { producer: 7, sequence: 40 + index as u64, due_ns: 1_000 + 10 * index as u64 };
                assert_eq!(stamp, expected);
            }
        }
    }

    #[test]
    fn a_full_batch_is_not_larger_than_it_may_be() {
        let bytes = cut_of("[records]\nbytes = 1024\n[produce]\nbatch_bytes = 16384", |all| all, &[], Codec::None);
        assert!(bytes.len() <= 16384 && bytes.len() > 15 * 1024, "{}", bytes.len());
        let one = cut_of("[records]\nbytes = 1024", |all| all, &[], Codec::None);
        assert_eq!(batches(&one).next().expect("a batch").expect("a good one").record_count(), 1);
    }

    #[test]
    fn values_differ_in_size_as_they_are_told() {
        let text = "[records]\nbytes = [{ bytes = 10, weight = 3 }, { bytes = 50, weight = 1 }]";
        let mut values = Values::new(&Workload::parse(text).expect("a workload")).expect("values");
        let sizes: Vec<usize> = (0..4_000).map(|_| values.next().len()).collect();
        let large = sizes.iter().filter(|&&size| size == 50).count();
        assert!((900..1_100).contains(&large) && sizes.iter().all(|size| [10, 50].contains(size)), "{large}");
    }
}
