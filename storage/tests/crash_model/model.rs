//! What one log has to be, as a list of batches.

use std::collections::{BTreeMap, BTreeSet};

use storage::Slot;
use storage::batch::{self, Batch, CRC_FROM};
use storage::builder::EndTransaction;
use storage::compression::decompress_all;
use storage::record;
use storage::store::Store;
use storage::transactions::Aborted;

/// Batches of one producer that a log remembers (KIP-98 as clients rely on it: five in flight).
pub(crate) const REMEMBERED: usize = 5;

/// A batch of an idempotent producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) producer: i64,
    pub(crate) base: i32,
}

/// A batch that was appended.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) base: i64,
    pub(crate) last: i64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) sequence: Option<Sequence>,
}

impl Entry {
    pub(crate) fn end(&self) -> i64 {
        self.last + 1
    }
}

/// How a crash came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// What was not synced may be lost.
    PowerCut,
    /// The page cache survives.
    Kill,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Without gaps, from offset 0 on.
    pub(crate) entries: Vec<Entry>,
    /// The highest offset that was called durable.
    pub(crate) promised_end: i64,
    /// The highest start that was called durable.
    pub(crate) promised_start: i64,
    /// The highest start that was asked for or seen.
    pub(crate) start: i64,
    /// Whether durable means no more than that the operating system has it.
    pub(crate) is_cached: bool,
    /// Whether records go whose key has a later one.
    pub(crate) compacted: Option<Compacted>,
    /// Where it goes on after everything was cut, if that is not 0.
    pub(crate) emptied_at: i64,
    /// Everything before was cut away from it: of that nothing is known.
    pub(crate) forgotten_before: i64,
    /// Its end is being cut to this offset, or the batch that holds it; appends wait meanwhile.
    pub(crate) cut: Option<i64>,
    /// Producers some of whose remembered batches were cut remember none before these offsets.
    pub(crate) remembered_from: BTreeMap<i64, i64>,
}

/// What a compacted log has to be, besides.
#[derive(Debug, Default)]
pub(crate) struct Compacted {
    /// Key and value of each record that was appended.
    records: BTreeMap<i64, (Vec<u8>, Vec<u8>)>,
    /// Offsets that were read since the last start from the beginning.
    seen: BTreeSet<i64>,
}

/// Key and value of the records of a batch, by offset.
fn records_of(bytes: &[u8], base_offset: i64) -> BTreeMap<i64, (Vec<u8>, Vec<u8>)> {
    let batch = Batch::first(bytes).expect("a whole batch");
    if batch.record_count() == 0 {
        return BTreeMap::new();
    }
    let codec = batch.attributes().codec().expect("a known codec");
    let body = decompress_all(codec, batch.body(), 1 << 26).expect("sound");
    let record = |it: Result<record::Record<'_>, _>| {
        let it = it.expect("sound");
        let (key, value) = (it.key.expect("keyed").to_vec(), it.value.expect("no tombstones here").to_vec());
        (base_offset + i64::from(it.head.offset_delta), (key, value))
    };
    record::records(&body).map(record).collect()
}

impl Compacted {
    /// Checks the bytes of a read as [`Log::check_read`].
    fn check_read(&mut self, offset: i64, limit: i64, bytes: &[u8], next_offset: i64) {
        let mut end = offset;
        for batch in batch::batches(bytes) {
            let batch = batch.expect("a read returns whole batches");
            assert!(batch.next_offset() > end && batch.last_offset() < limit, "offsets ascend up to {limit}");
            assert_eq!(batch.crc(), batch.computed_crc());
            for (offset, record) in records_of(batch.bytes(), batch.base_offset()) {
                assert!(self.records.get(&offset) == Some(&record), "the record at offset {offset} differs");
                self.seen.insert(offset);
            }
            end = batch.next_offset();
        }
        assert_eq!(end, next_offset);
    }

    /// What is read from now on is everything from the log's start on.
    pub(crate) fn begin_reading(&mut self) {
        self.seen.clear();
    }

    /// Everything between these offsets was read: whether the last record of each key was among it.
    pub(crate) fn check_complete(&self, start: i64, limit: i64) {
        let last: BTreeMap<&[u8], i64> = self.records.iter().map(|(&at, (key, _))| (key.as_slice(), at)).collect();
        for offset in last.into_values().filter(|offset| (start..limit).contains(offset)) {
            assert!(self.seen.contains(&offset), "offset {offset} has the last record of its key, and is gone");
        }
    }
}

impl Log {
    pub(crate) fn end(&self) -> i64 {
        self.entries.last().map_or(0, Entry::end).max(self.emptied_at)
    }

    /// A new batch got these offsets.
    pub(crate) fn appended(&mut self, base: i64, last: i64, bytes: Vec<u8>, sequence: Option<Sequence>) {
        assert_eq!(base, self.end(), "offsets have no gaps");
        let count = Batch::first(&bytes).expect("built here").record_count();
        assert_eq!(last - base + 1, i64::from(count), "a batch has as many offsets as records");
        if let Some(compacted) = &mut self.compacted {
            compacted.records.append(&mut records_of(&bytes, base));
        }
        self.entries.push(Entry { base, last, bytes, sequence });
    }

    /// Everything before `end` is called durable.
    pub(crate) fn durable(&mut self, end: i64) {
        assert!(end <= self.end(), "only what was appended is durable: {end} of {}", self.end());
        assert!(end >= self.promised_end, "the durable end went back from {} to {end}", self.promised_end);
        self.promised_end = end;
    }

    /// Where the log ends when everything from `offset` on is cut, while its start is there.
    fn end_after_cut(&self, offset: i64, start: i64) -> i64 {
        let kept = self.entries.iter().take_while(|entry| entry.end() <= offset);
        kept.last().map_or(0, Entry::end).max(start)
    }

    /// The log was cut to end at `end`.
    pub(crate) fn truncated(&mut self, end: i64) {
        let offset = self.cut.take().expect("it was asked for");
        assert_eq!(end, self.end_after_cut(offset, self.start), "cut to {offset}, start {}", self.start);
        self.cut_entries(end);
        if end == self.start {
            self.forgotten_before = end;
        }
        self.promised_end = end;
    }

    fn cut_entries(&mut self, end: i64) {
        let remembered: Vec<(i64, Option<i64>)> = self
            .remembered()
            .into_iter()
            .filter(|(_, batches)| batches.iter().any(|entry| entry.end() > end))
            .map(|(producer, batches)| (producer, batches.first().filter(|first| first.end() <= end).map(|it| it.base)))
            .collect();
        self.entries.retain(|entry| entry.end() <= end);
        if self.end() < end {
            self.emptied_at = end;
        }
        for (producer, from) in remembered {
            match from {
                Some(from) => self.remembered_from.insert(producer, from),
                // What the rest of the log has of it was looked for.
                None => self.remembered_from.remove(&producer),
            };
        }
    }

    /// The last batches of each producer, which have to be recognised.
    pub(crate) fn remembered(&self) -> BTreeMap<i64, Vec<&Entry>> {
        let mut producers: BTreeMap<i64, Vec<&Entry>> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.base >= self.start) {
            if let Some(sequence) = entry.sequence
                && self.remembered_from.get(&sequence.producer).is_none_or(|&from| entry.base >= from)
            {
                let batches = producers.entry(sequence.producer).or_default();
                batches.push(entry);
                if batches.len() > REMEMBERED {
                    batches.remove(0);
                }
            }
        }
        producers
    }

    /// The sequence that continues the producer's batches.
    pub(crate) fn next_sequence(&self, producer: i64) -> i32 {
        let of_producer = |entry: &&Entry| entry.sequence.is_some_and(|sequence| sequence.producer == producer);
        let last = self.entries.iter().rev().find(of_producer);
        last.map_or(0, |entry| {
            entry.sequence.expect("filtered").base + i32::try_from(entry.end() - entry.base).expect("small batches")
        })
    }

    /// Checks what the store knows of transactions, for a log that is durable to its end.
    pub(crate) fn check_transactions(&self, store: &Store, slot: Slot) {
        let (mut open, mut aborted) = (BTreeMap::new(), Vec::new());
        for entry in self.entries.iter().filter(|entry| entry.base >= self.forgotten_before) {
            let batch = Batch::first(&entry.bytes).expect("a whole batch");
            let producer_id = batch.producer_id();
            if !batch.attributes().is_transactional() {
                continue;
            }
            if !batch.attributes().is_control() {
                open.entry(producer_id).or_insert(entry.base);
                continue;
            }
            let Some(first_offset) = open.remove(&producer_id) else { continue };
            let record = record::records(batch.body()).next().expect("a mark").expect("sound");
            let mark = EndTransaction::parse(record.key.expect("its key"), record.value.expect("its value"));
            let last_stable_offset = open.values().copied().min().unwrap_or(entry.end());
            if !mark.expect("a mark").is_commit {
                aborted.push(Aborted { producer_id, first_offset, last_offset: entry.base, last_stable_offset });
            }
        }
        let (start, end) = (store.start_offset(slot), store.end_offset(slot));
        let stable = open.values().copied().min().map_or(end, |first| first.max(start));
        assert_eq!(store.last_stable_offset(slot, end), stable, "open: {open:?}");
        aborted.retain(|it| it.last_offset >= start);
        assert_eq!(store.aborted_transactions(slot, start, end), aborted);
    }

    /// The log was recovered with these offsets: what is gone was never promised.
    pub(crate) fn recovered(&mut self, crash: Crash, start: i64, end: i64) {
        if let Some(offset) = self.cut.take()
            && end == self.end_after_cut(offset, start)
        {
            self.cut_entries(end);
            if end == start {
                self.forgotten_before = end;
            }
            self.promised_end = end;
        }
        if crash == Crash::Kill || !self.is_cached {
            assert!(end >= self.promised_end, "{} was durable, {end} is left", self.promised_end);
            assert!(start >= self.promised_start, "the start went back from {} to {start}", self.promised_start);
        }
        assert!(start <= self.start, "the start moved from {} to {start} by itself", self.start);
        assert!(end <= self.end(), "{end} was never appended, only {}", self.end());
        self.entries.retain(|entry| entry.base < end);
        if let Some(compacted) = &mut self.compacted {
            compacted.records.split_off(&end);
        }
        assert_eq!(self.end(), end, "a batch is recovered whole");
        self.promised_end = end;
        self.start = start;
        self.promised_start = self.promised_start.min(start);
    }

    /// Checks the bytes of a read from `offset` that was not to go beyond `limit`.
    pub(crate) fn check_read(&mut self, offset: i64, limit: i64, bytes: &[u8], next_offset: i64) {
        if let Some(compacted) = &mut self.compacted {
            return compacted.check_read(offset, limit, bytes, next_offset);
        }
        let first = self.entries.partition_point(|entry| entry.end() <= offset);
        let mut expected = self.entries[first..].iter();
        let mut end = offset;
        for batch in batch::batches(bytes) {
            let batch = batch.expect("a read returns whole batches");
            let entry = expected.next().expect("a read returns what was appended");
            assert_eq!((batch.base_offset(), batch.last_offset()), (entry.base, entry.last));
            assert!(batch.last_offset() < limit, "a read ends at its limit {limit}");
            assert!(batch.bytes()[CRC_FROM..] == entry.bytes[CRC_FROM..], "the bytes of offset {} differ", entry.base);
            assert_eq!(batch.crc(), batch.computed_crc());
            end = batch.next_offset();
        }
        assert_eq!(end, next_offset);
    }
}
