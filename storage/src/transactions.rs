//! The transactions of one log (KIP-98): which are open, and the index of those that were aborted.
//!
//! ```text
//! offsets   │ data p1 │ data p2 │ … │ abort p1 │ … │ data p2 │ …
//!           └ first offset of p1 ───┘          └ p2 is open: nothing from its first offset on is stable
//!                                   └ an entry in the index of the segment that has the mark
//! ```
//!
//! A segment's index file is Kafka's, byte for byte (`<base offset>.txnindex`): entries one after another, in the order
//! of their marks, all numbers big-endian.
//! ```text
//! entry:  version i16 = 0 │ producer id i64 │ first offset i64 │ last offset i64 │ last stable offset i64      34 bytes
//! ```
//! All entries of a log are in memory, 32 bytes each. The format has no checksum: the checkpoint's record has one, and
//! which transactions were open where the segment begins, so that the index can be made anew from its segment alone.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rkyv::{Archive, Deserialize, Serialize};

use crate::batch::Batch;
use crate::builder::EndTransaction;
use crate::record;

/// Size of an entry on disk.
pub const ENTRY_BYTES: usize = 34;
const VERSION: i16 = 0;

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    /// Its producer.
    pub producer_id: i64,
    /// Offset of its first record.
    pub first_offset: i64,
    /// Offset of the mark that ended it.
    pub last_offset: i64,
    /// The log's last stable offset behind that mark.
    pub last_stable_offset: i64,
}

impl Aborted {
    /// Appends the entry on disk to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&VERSION.to_be_bytes());
        for number in [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    /// Reads an entry; none if it is not one of this version.
    #[must_use]
    pub fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let number = |at: usize| i64::from_be_bytes(*bytes[at..].first_chunk().expect("an entry has 34 bytes"));
        (i16::from_be_bytes([bytes[0], bytes[1]]) == VERSION).then(|| Self {
            producer_id: number(2),
            first_offset: number(10),
            last_offset: number(18),
            last_stable_offset: number(26),
        })
    }
}

/// The bytes of an index file with these entries.
pub(crate) fn encode(entries: &[Aborted]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    entries.iter().for_each(|entry| entry.encode(&mut bytes));
    bytes
}

/// Reads entries that follow one another; none if the bytes are anything else.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Aborted>> {
    let (entries, rest) = bytes.as_chunks();
    let entries: Vec<Aborted> = entries.iter().map(Aborted::decode).collect::<Option<_>>()?;
    (rest.is_empty() && entries.is_sorted_by_key(|entry| entry.last_offset)).then_some(entries)
}

/// The mark of a control batch, if it ends a transaction.
pub(crate) fn mark(batch: &Batch<'_>) -> Option<EndTransaction> {
    let record = record::records(batch.body()).next()?.ok()?;
    EndTransaction::parse(record.key?, record.value.unwrap_or_default())
}

/// The transactions that are open at some offset of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Open {
    /// First offset by producer.
    by_producer: BTreeMap<i64, i64>,
    /// Producer by first offset.
    by_offset: BTreeMap<i64, i64>,
}

/// A transaction that a mark ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) first_offset: i64,
    pub(crate) mark_offset: i64,
    /// Its entry in the index, if it was aborted.
    pub(crate) aborted: Option<Aborted>,
}

impl Open {
    pub(crate) fn new(open: &[OpenV1]) -> Self {
        let by_producer: BTreeMap<i64, i64> = open.iter().map(|it| (it.producer_id, it.first_offset)).collect();
        let by_offset = by_producer.iter().map(|(&producer, &first)| (first, producer)).collect();
        Self { by_producer, by_offset }
    }

    pub(crate) fn snapshot(&self) -> Vec<OpenV1> {
        let entry = |(&producer_id, &first_offset)| OpenV1 { producer_id, first_offset };
        self.by_producer.iter().map(entry).collect()
    }

    /// The bytes that a Truncate has of it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let pairs = self.by_producer.iter();
        pairs.flat_map(|(producer, first)| [producer.to_le_bytes(), first.to_le_bytes()]).flatten().collect()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let number = |bytes: &[u8; 8]| i64::from_le_bytes(*bytes);
        let (numbers, _) = bytes.as_chunks();
        let pairs = numbers.chunks_exact(2);
        let open: Vec<OpenV1> =
            pairs.map(|it| OpenV1 { producer_id: number(&it[0]), first_offset: number(&it[1]) }).collect();
        Self::new(&open)
    }

    fn is_empty(&self) -> bool {
        self.by_producer.is_empty()
    }

    /// Follows the log over its next batch, which lies at `base_offset`; says which transaction it ends.
    pub(crate) fn take(&mut self, batch: &Batch<'_>, base_offset: i64) -> Option<Ended> {
        if !batch.attributes().is_transactional() {
            return None;
        }
        let producer_id = batch.producer_id();
        if !batch.attributes().is_control() {
            if let Entry::Vacant(begun) = self.by_producer.entry(producer_id) {
                begun.insert(base_offset);
                self.by_offset.insert(base_offset, producer_id);
            }
            return None;
        }
        let mark = mark(batch)?;
        let first_offset = self.by_producer.remove(&producer_id)?;
        self.by_offset.remove(&first_offset);
        let last_stable_offset = self.first().unwrap_or(base_offset + 1);
        let aborted = Aborted { producer_id, first_offset, last_offset: base_offset, last_stable_offset };
        Some(Ended { first_offset, mark_offset: base_offset, aborted: (!mark.is_commit).then_some(aborted) })
    }

    /// Where the oldest begins.
    fn first(&self) -> Option<i64> {
        self.by_offset.first_key_value().map(|(&first, _)| first)
    }
}

/// What a log knows of one of its segments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OfSegment {
    /// Open where it begins.
    pub(crate) open: Vec<OpenV1>,
    /// Those whose marks it has, in the order of these.
    pub(crate) aborted: Vec<Aborted>,
    /// How many of them its file has, durably.
    pub(crate) written: u32,
    /// Whether there is a file, which may be longer than that.
    pub(crate) has_file: bool,
    /// The file is damaged: `aborted` is to be made anew.
    pub(crate) is_damaged: bool,
}

impl OfSegment {
    pub(crate) fn unwritten(&self) -> usize {
        self.aborted.len() - self.written as usize
    }

    /// The bytes that the file lacks, and where they go.
    pub(crate) fn rest(&self) -> (u64, Vec<u8>) {
        let written = self.written as usize;
        ((written * ENTRY_BYTES) as u64, encode(&self.aborted[written..]))
    }

    fn is_of_use(&self) -> bool {
        !self.open.is_empty() || !self.aborted.is_empty() || self.has_file
    }

    /// Takes what the file has, durably, as far as the checkpoint recorded it.
    pub(crate) fn load(&mut self, file: &[u8], crc: u32) {
        match decode(file).filter(|_| crc32c::crc32c(file) == crc) {
            Some(mut entries) => {
                entries.append(&mut self.aborted);
                self.aborted = entries;
            }
            None => self.is_damaged = true,
        }
    }
}

/// The transactions of one log. Owned by the shard that owns the log; one that never had any has none of this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Transactions {
    open: Open,
    /// Ended, by a mark that may not be durable yet.
    undecided: VecDeque<Ended>,
    segments: BTreeMap<i64, OfSegment>,
}

impl Transactions {
    /// A segment begins.
    pub(crate) fn begin_segment(&mut self, base_offset: i64) {
        if !self.open.is_empty() {
            self.segments.insert(base_offset, OfSegment { open: self.open.snapshot(), ..OfSegment::default() });
        }
    }

    /// A batch was appended to `segment`, at `base_offset`; what lies before `durable_end` is durable.
    pub(crate) fn append(&mut self, batch: &Batch<'_>, segment: i64, base_offset: i64, durable_end: i64) {
        let Some(ended) = self.open.take(batch, base_offset) else { return };
        while self.undecided.front().is_some_and(|it| it.mark_offset < durable_end) {
            self.undecided.pop_front();
        }
        self.undecided.push_back(ended);
        if let Some(aborted) = ended.aborted {
            self.segments.entry(segment).or_default().aborted.push(aborted);
        }
    }

    /// The first offset below `high_watermark` of a transaction of which it is not known there how it ends.
    pub(crate) fn first_unstable(&self, high_watermark: i64) -> Option<i64> {
        let undecided = self.undecided.iter().filter(|it| it.mark_offset >= high_watermark);
        undecided.map(|it| it.first_offset).chain(self.open.first()).min().filter(|&first| first < high_watermark)
    }

    /// Where the producer's open transaction begins, if it has one.
    pub(crate) fn open_of(&self, producer_id: i64) -> Option<i64> {
        self.open.by_producer.get(&producer_id).copied()
    }

    /// Those aborted that have records from `from` on and before `to`, where `segment` has `from`.
    pub(crate) fn aborted(&self, segment: i64, from: i64, to: i64) -> Vec<Aborted> {
        let mut found = Vec::new();
        for of in self.segments.range(segment..).map(|(_, of)| of) {
            let first = of.aborted.partition_point(|it| it.last_offset < from);
            for it in &of.aborted[first..] {
                if it.first_offset < to {
                    found.push(*it);
                }
                if it.last_stable_offset >= to {
                    return found;
                }
            }
        }
        found
    }

    /// All those aborted.
    pub(crate) fn all_aborted(&self) -> impl Iterator<Item = Aborted> {
        self.segments.values().flat_map(|of| of.aborted.iter().copied())
    }

    /// What is known of a segment, if anything is.
    pub(crate) fn of(&self, segment: i64) -> Option<&OfSegment> {
        self.segments.get(&segment)
    }

    pub(crate) fn of_mut(&mut self, segment: i64) -> Option<&mut OfSegment> {
        self.segments.get_mut(&segment)
    }

    pub(crate) fn segments_mut(&mut self) -> impl Iterator<Item = (i64, &mut OfSegment)> {
        self.segments.iter_mut().map(|(&base_offset, of)| (base_offset, of))
    }

    /// A segment was removed.
    pub(crate) fn remove(&mut self, segment: i64) -> Option<OfSegment> {
        self.segments.remove(&segment)
    }

    /// A segment took the place of others that were removed.
    pub(crate) fn insert(&mut self, segment: i64, of: OfSegment) {
        if of.is_of_use() {
            self.segments.insert(segment, of);
        }
    }

    /// Everything was cut.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The log was cut within `segment`, so that it ends at `end_offset`, where these are open.
    pub(crate) fn truncate(&mut self, segment: i64, end_offset: i64, open: Open) {
        self.segments.retain(|&base_offset, _| base_offset <= segment);
        if let Some(of) = self.segments.get_mut(&segment) {
            of.aborted.truncate(of.aborted.partition_point(|it| it.last_offset < end_offset));
            of.written = of.written.min(of.aborted.len() as u32);
        }
        self.segments.retain(|_, of| of.is_of_use());
        self.undecided.clear();
        self.open = open;
    }

    /// What a checkpoint says of it.
    pub(crate) fn record(&self) -> TransactionsV1 {
        let segments = self.segments.iter().map(|(&base_offset, of)| SegmentTransactionsV1 {
            base_offset,
            open: of.open.clone(),
            written: of.written,
            crc: crc32c::crc32c(&encode(&of.aborted[..of.written as usize])),
            has_file: of.has_file,
            rest: of.rest().1,
        });
        TransactionsV1 { open: self.open.snapshot(), segments: segments.collect() }
    }

    /// What a checkpoint said of it, and for each segment how many entries its file has, and their checksum: those are
    /// still to be [loaded](OfSegment::load).
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn from_record(record: TransactionsV1) -> Result<(Self, Vec<(i64, u32)>), String> {
        let mut transactions = Self { open: Open::new(&record.open), ..Self::default() };
        let mut on_disk = Vec::new();
        for segment in record.segments {
            let SegmentTransactionsV1 { base_offset, open, written, crc, has_file, rest } = segment;
            let aborted = decode(&rest).ok_or_else(|| format!("segment {base_offset} has impossible transactions"))?;
            let of = OfSegment { open, aborted, written, has_file, is_damaged: false };
            if transactions.segments.insert(base_offset, of).is_some() {
                return Err(format!("segment {base_offset} has its transactions twice"));
            }
            on_disk.extend((written > 0).then_some((base_offset, crc)));
        }
        Ok((transactions, on_disk))
    }
}

/// A segment's index while it is made anew from the segment's batches.
#[derive(Debug)]
pub(crate) struct Rebuild {
    open: Open,
    /// Producers of whose open transaction there is a record: of others compaction has removed all.
    with_data: BTreeSet<i64>,
    is_compacted: bool,
    pub(crate) aborted: Vec<Aborted>,
}

impl Rebuild {
    pub(crate) fn new(open: &[OpenV1], is_compacted: bool) -> Self {
        Self { open: Open::new(open), with_data: BTreeSet::new(), is_compacted, aborted: Vec::new() }
    }

    /// Takes the segment's next batch.
    pub(crate) fn take(&mut self, batch: &Batch<'_>) {
        let is_data = batch.attributes().is_transactional() && !batch.attributes().is_control();
        if is_data {
            self.with_data.insert(batch.producer_id());
        }
        let Some(ended) = self.open.take(batch, batch.base_offset()) else { return };
        let has_data = self.with_data.remove(&batch.producer_id());
        self.aborted.extend(ended.aborted.filter(|_| has_data || !self.is_compacted));
    }
}

/// An open transaction, version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct OpenV1 {
    /// Its producer.
    pub producer_id: i64,
    /// Offset of its first record.
    pub first_offset: i64,
}

/// The transactions of a log, version 1. It follows the log's record in the same group; a log that never had any has
/// none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct TransactionsV1 {
    /// Those open at the log's end.
    pub open: Vec<OpenV1>,
    /// Segments that begin within transactions, or have marks of aborted ones.
    pub segments: Vec<SegmentTransactionsV1>,
}

/// The transactions of one segment, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SegmentTransactionsV1 {
    /// The segment.
    pub base_offset: i64,
    /// Open where it begins.
    pub open: Vec<OpenV1>,
    /// Entries that its index file has, durably.
    pub written: u32,
    /// Their checksum.
    pub crc: u32,
    /// Whether there is a file, which may be longer than that.
    pub has_file: bool,
    /// The entries that it lacks, as they will be there.
    pub rest: Vec<u8>,
}

#[cfg(test)]
mod tests;
