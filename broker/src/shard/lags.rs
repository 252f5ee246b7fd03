//! How far behind the offsets that groups have committed are: in records, and in time.
//!
//! ```text
//! offsets ─► by owner ─┬─► here: work ──────────────► end offset, time of the oldest record not consumed ─┬─► told
//!                      └─► Ask::Lags ─► work there ─► Answer::Lags ───────────────────────────────────────┘
//! ```
//! It is found out when somebody asks, and costs nothing otherwise. An offset at the end of its partition needs no read; the
//! time of a record never changes, so it is read once and remembered.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use storage::LogId;
use storage::batch::{self, Batch, TimestampType};
use storage::buffer::Slice;
use storage::compression;
use storage::record;

use super::by_shard::ByShard;
use super::control::Origin;
use super::mail::{Answer, Ask, ReadAnswer, ReadItem};
use super::partitions::PartOf;
use super::pending::Key;
use super::{Request, Shard};
use crate::error_code::ErrorCode;
use crate::group::{GroupOffset, Lag, Reply, api};

/// Reads that one question may have under way.
const READS_MAX: usize = 16;

/// Offsets looked at in one turn: about a millisecond.
const OFFSETS_PER_TURN: usize = 4096;

/// Times of records that are remembered, of all partitions of a shard.
const TIMES_MAX: usize = 65_536;

/// The most that a batch is decompressed for the time of a record inside it. Beyond that its first record's stands for it,
/// which is somewhat older.
const DECOMPRESSED_BYTES_MAX: u64 = 1 << 20;

/// What the store knows this reader by. It goes from place to place, so that reading ahead would be of no use.
const READER: u64 = u64::MAX;

/// An offset of a partition whose lag is asked of its owner.
#[derive(Debug, Clone, Copy)]
pub struct LagItem {
    /// The part of the asking request.
    pub part: u32,
    /// The partition's log.
    pub log: LogId,
    /// The offset.
    pub offset: i64,
}

/// The answer to a [`LagItem`].
#[derive(Debug, Clone, Copy)]
pub struct LagAnswer {
    /// The part of the asking request.
    pub part: u32,
    /// The lag; absent if there is no such partition.
    pub lag: Option<Lag>,
}

/// How far behind a group is in one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLag {
    /// The group.
    pub group: Arc<str>,
    /// The topic.
    pub topic: Arc<str>,
    /// Partitions that the group has committed an offset of.
    pub partitions: u32,
    /// Records not yet consumed, of all of them.
    pub records: u64,
    /// The age of the oldest of these records, in milliseconds; 0 if there is none.
    pub age_ms: u64,
}

/// Who is told of the lags of a shard's groups: ordered by coordinator, group and topic.
pub struct Told(pub Tell);

/// What is called once with the lags, on the shard that found them.
pub type Tell = Box<dyn FnOnce(&mut Shard, Vec<GroupLag>) + Send>;

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

/// Offsets whose lags are being found.
#[derive(Debug)]
pub(crate) struct Lags {
    then: Then,
    /// Owners that have not answered.
    waiting: usize,
    found: Vec<Option<Lag>>,
}

/// What follows once the lags are found.
#[derive(Debug)]
pub(super) enum Then {
    /// An OffsetFetch is answered.
    Fetched { origin: Origin, plan: api::Plan, replies: Vec<Reply> },
    /// The sweep over all groups goes on.
    Swept(Vec<GroupOffset>),
}

/// An owner's share of a question.
#[derive(Debug)]
pub(crate) struct Work {
    asker: Asker,
    items: Vec<LagItem>,
    found: Vec<LagAnswer>,
    /// The next item to look at.
    next: usize,
    /// Reads under way.
    reading: usize,
}

#[derive(Debug, Clone, Copy)]
enum Asker {
    Own(Key),
    Peer { shard: usize, request: Key },
}

/// What a shard knows and does about lags.
#[derive(Debug, Default)]
pub(crate) struct LagDesk {
    /// Shares that have items left to look at and are not waiting for a read.
    to_work: VecDeque<Key>,
    /// When records were made, in milliseconds, by log and offset.
    times: FxHashMap<(LogId, i64), i64>,
    sweep: Option<Sweep>,
}

/// All groups of the shard, gone through a bounded piece at a time.
#[derive(Debug)]
struct Sweep {
    /// The coordinator and the group after which it goes on.
    partition: i32,
    after: Option<Arc<str>>,
    rows: Vec<GroupLag>,
    told: Vec<Told>,
    /// Whether the next piece may be begun.
    is_due: bool,
}

impl LagDesk {
    pub(super) fn has_work(&self) -> bool {
        !self.to_work.is_empty() || self.sweep.as_ref().is_some_and(|sweep| sweep.is_due)
    }

    fn remember(&mut self, log: LogId, offset: i64, timestamp_ms: i64) {
        if self.times.len() >= TIMES_MAX {
            // Groups move on: most of them were of offsets that nobody has any more.
            self.times.clear();
        }
        self.times.insert((log, offset), timestamp_ms);
    }
}

impl Shard {
    /// Finds out how far behind every group is whose coordinator is on this shard, and then calls `told`, once, in a later
    /// turn. Who asks while it is under way is told with the others.
    pub fn group_lags(&mut self, told: Told) {
        match &mut self.groups.lags.sweep {
            Some(sweep) => sweep.told.push(told),
            None => {
                let sweep =
                    Sweep { partition: i32::MIN, after: None, rows: Vec::new(), told: vec![told], is_due: true };
                self.groups.lags.sweep = Some(sweep);
            }
        }
    }

    /// Finds the lags of these offsets.
    pub(super) fn find_lags(&mut self, offsets: &[GroupOffset], then: Then) {
        // One more than there are owners: they may answer while others are still being asked.
        let lags = Lags { then, waiting: 1, found: vec![None; offsets.len()] };
        let key = self.requests.insert(Request::Lags(Box::new(lags)));
        let mut by_owner = ByShard::default();
        for (part, wanted) in offsets.iter().enumerate() {
            let topic = self.image.topic(&wanted.topic);
            let Some(place) = topic.and_then(|topic| topic.partition(wanted.partition)) else { continue };
            let item = LagItem { part: part as u32, log: LogId(place.log_id), offset: wanted.offset };
            by_owner.push(usize::from(place.shard), item);
        }
        for (owner, items) in by_owner {
            if let Some(Request::Lags(lags)) = self.requests.get_mut(key) {
                lags.waiting += 1;
            }
            if owner == self.id {
                self.begin_lag_work(Asker::Own(key), items);
            } else {
                self.ask(owner, key, Ask::Lags(items));
            }
        }
        self.lags_answered(key, Vec::new());
    }

    /// Finds lags for another shard.
    pub(super) fn lags_for_peer(&mut self, shard: usize, request: Key, items: Vec<LagItem>) {
        self.begin_lag_work(Asker::Peer { shard, request }, items);
    }

    fn begin_lag_work(&mut self, asker: Asker, items: Vec<LagItem>) {
        let found = items.iter().map(|item| LagAnswer { part: item.part, lag: None }).collect();
        let work = Work { asker, items, found, next: 0, reading: 0 };
        let key = self.requests.insert(Request::LagWork(Box::new(work)));
        self.groups.lags.to_work.push_back(key);
    }

    /// Goes on with what was asked, a bounded piece a turn.
    pub(super) fn step_lags(&mut self) {
        if self.groups.lags.sweep.as_ref().is_some_and(|sweep| sweep.is_due) {
            self.sweep_on();
        }
        if let Some(key) = self.groups.lags.to_work.pop_front() {
            self.work_on_lags(key);
        }
    }

    fn work_on_lags(&mut self, key: Key) {
        let mut work = match self.requests.take(key) {
            Some(Request::LagWork(work)) => work,
            Some(other) => return self.requests.put_back(key, other),
            None => return,
        };
        let end = work.items.len().min(work.next + OFFSETS_PER_TURN);
        while work.next < end && work.reading < READS_MAX {
            let index = work.next;
            work.next += 1;
            match self.lag_of(work.items[index], PartOf { request: key, index: index as u32 }) {
                Some(lag) => work.found[index].lag = lag,
                None => work.reading += 1,
            }
        }
        let is_left = work.next < work.items.len();
        if is_left && work.reading < READS_MAX {
            self.groups.lags.to_work.push_back(key);
        }
        let is_done = !is_left && work.reading == 0;
        self.requests.put_back(key, Request::LagWork(work));
        if !is_done {
            return;
        }
        let Some(Request::LagWork(work)) = self.requests.remove(key) else { return };
        let Work { asker, found, .. } = *work;
        match asker {
            Asker::Own(request) => self.lags_answered(request, found),
            Asker::Peer { shard, request } => self.answer_peer(shard, request, Answer::Lags(found)),
        }
    }

    /// The lag of one offset, or nothing while the record at it is read.
    fn lag_of(&mut self, item: LagItem, part_of: PartOf) -> Option<Option<Lag>> {
        let Some(partition) = self.partitions.get_mut(item.log) else { return Some(None) };
        let end_offset = partition.replica.high_watermark();
        // What retention has removed will not be consumed any more.
        let oldest = item.offset.max(self.stores[partition.slot].start_offset(partition.slot));
        if oldest >= end_offset {
            return Some(Some(Lag { end_offset, age_ms: Some(0) }));
        }
        if let Some(&timestamp_ms) = self.groups.lags.times.get(&(item.log, oldest)) {
            return Some(Some(self.lag(end_offset, timestamp_ms)));
        }
        let read = ReadItem {
            read_committed: false,
            part: item.part,
            log: item.log,
            offset: oldest,
            max_bytes: 1,
            at_least_one: true,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            reader: READER,
        };
        let answer = self.read(part_of, read)?;
        Some(Some(self.lag_read(item.log, oldest, &answer)))
    }

    fn lag(&self, end_offset: i64, timestamp_ms: i64) -> Lag {
        let age_ms = (timestamp_ms >= 0).then(|| self.now.wall_ms.saturating_sub(timestamp_ms).max(0));
        Lag { end_offset, age_ms }
    }

    fn lag_read(&mut self, log: LogId, oldest: i64, answer: &ReadAnswer) -> Lag {
        let end_offset = answer.high_watermark;
        if answer.error != ErrorCode::None {
            return Lag { end_offset, age_ms: None };
        }
        let timestamp_ms = timestamp_at(&answer.records, oldest).unwrap_or(-1);
        self.groups.lags.remember(log, oldest, timestamp_ms);
        self.lag(end_offset, timestamp_ms)
    }

    /// The batch at an offset came from the disk.
    pub(super) fn lag_record_read(&mut self, part_of: PartOf, answer: &ReadAnswer) {
        let Some(Request::LagWork(work)) = self.requests.get_mut(part_of.request) else { return };
        let index = part_of.index as usize;
        let item = work.items[index];
        let oldest = item.offset.max(answer.log_start_offset);
        let lag = self.lag_read(item.log, oldest, answer);
        let Some(Request::LagWork(work)) = self.requests.get_mut(part_of.request) else { return };
        work.found[index].lag = (answer.high_watermark >= 0).then_some(lag);
        // It is in the queue already if it was not full of reads and has items left.
        let is_queued = work.reading < READS_MAX && work.next < work.items.len();
        work.reading -= 1;
        if !is_queued {
            self.groups.lags.to_work.push_back(part_of.request);
        }
    }

    /// An owner has answered; with nothing, all of them are asked.
    pub(super) fn lags_answered(&mut self, key: Key, answers: Vec<LagAnswer>) {
        let Some(Request::Lags(lags)) = self.requests.get_mut(key) else { return };
        for answer in answers {
            lags.found[answer.part as usize] = answer.lag;
        }
        lags.waiting -= 1;
        if lags.waiting > 0 {
            return;
        }
        let Some(Request::Lags(lags)) = self.requests.remove(key) else { return };
        let Lags { then, found, .. } = *lags;
        match then {
            Then::Fetched { origin, plan, mut replies } => {
                api::set_lags(&mut replies, found);
                self.answer(origin, api::merge(plan, replies));
            }
            Then::Swept(offsets) => self.swept(&offsets, &found),
        }
    }

    /// Begins with the next groups, or tells what was found.
    fn sweep_on(&mut self) {
        let Some(mut sweep) = self.groups.lags.sweep.take() else { return };
        let next = self.groups.coordinators_from(sweep.partition).next().map(|(partition, coordinator)| {
            // A coordinator may have gone elsewhere meanwhile: the next is begun with its first group.
            let after = sweep.after.as_deref().filter(|_| partition == sweep.partition);
            (partition, coordinator.committed_after(after, OFFSETS_PER_TURN))
        });
        let Some((partition, (offsets, after))) = next else {
            for told in sweep.told {
                (told.0)(self, sweep.rows.clone());
            }
            return;
        };
        // The next coordinator's turn comes when this one has no group left.
        sweep.partition = if after.is_some() { partition } else { partition.saturating_add(1) };
        sweep.after = after;
        sweep.is_due = offsets.is_empty();
        self.groups.lags.sweep = Some(sweep);
        if !offsets.is_empty() {
            let wanted = offsets.clone();
            self.find_lags(&wanted, Then::Swept(offsets));
        }
    }

    fn swept(&mut self, offsets: &[GroupOffset], found: &[Option<Lag>]) {
        let Some(sweep) = &mut self.groups.lags.sweep else { return };
        sweep.is_due = true;
        for (of, lag) in offsets.iter().zip(found) {
            let Some(lag) = lag else { continue };
            let records = u64::try_from(lag.end_offset.saturating_sub(of.offset)).unwrap_or(0);
            let age_ms = lag.age_ms.and_then(|age_ms| u64::try_from(age_ms).ok()).unwrap_or(0);
            match sweep.rows.last_mut() {
                Some(row) if row.group == of.group && row.topic == of.topic => {
                    row.partitions += 1;
                    row.records += records;
                    row.age_ms = row.age_ms.max(age_ms);
                }
                _ => sweep.rows.push(GroupLag {
                    group: of.group.clone(),
                    topic: of.topic.clone(),
                    partitions: 1,
                    records,
                    age_ms,
                }),
            }
        }
    }
}

/// When the record at an offset was made, in milliseconds, by the batches that hold it; of a compressed batch that is too large
/// to be looked into, when its first record was.
fn timestamp_at(slices: &[Slice], offset: i64) -> Option<i64> {
    let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
    find_timestamp(&bytes, offset)
}

fn find_timestamp(bytes: &[u8], offset: i64) -> Option<i64> {
    let batch = batch::batches(bytes).filter_map(Result::ok).find(|batch| batch.last_offset() >= offset)?;
    if batch.attributes().timestamp_type() == TimestampType::LogAppendTime {
        return Some(batch.max_timestamp());
    }
    let base_timestamp = batch.base_timestamp();
    if batch.base_offset() >= offset {
        return Some(base_timestamp);
    }
    Some(timestamp_within(&batch, offset).unwrap_or(base_timestamp))
}

fn timestamp_within(batch: &Batch<'_>, offset: i64) -> Option<i64> {
    let codec = batch.attributes().codec()?;
    let body = compression::decompress_all(codec, batch.body(), DECOMPRESSED_BYTES_MAX).ok()?;
    let mut rest = &body[..];
    while !rest.is_empty() {
        let (head, length) = record::read_head(rest).ok()?;
        if batch.base_offset() + i64::from(head.offset_delta) >= offset {
            return batch.base_timestamp().checked_add(head.timestamp_delta);
        }
        rest = &rest[length..];
    }
    None
}

#[cfg(test)]
mod tests {
    use storage::builder::{BatchBuilder, NewRecord, Options};
    use storage::compression::Codec;

    use super::*;

    /// A batch from `base_offset` on, with a record for each timestamp.
    fn batch(base_offset: i64, codec: Codec, timestamps: &[i64]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Options { codec, ..Options::default() });
        for &timestamp in timestamps {
            let value = vec![b'x'; 100];
            let record = NewRecord { timestamp, key: None, value: Some(&value), headers: &[] };
            builder.append(&record).expect("a small batch");
        }
        let mut batch = builder.finish();
        batch::stamp(&mut batch, base_offset, 0);
        batch
    }

    #[test]
    fn the_time_of_a_record_is_its_own_also_inside_a_compressed_batch() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let bytes = [batch(10, codec, &[100, 90, 120]), batch(13, codec, &[130])].concat();
            let at = |offset| find_timestamp(&bytes, offset);
            assert_eq!([9, 10, 11, 12, 13].map(at), [100, 100, 90, 120, 130].map(Some), "{codec:?}");
            assert_eq!(at(14), None, "{codec:?}");
        }
    }

    #[test]
    fn a_batch_that_is_too_large_to_look_into_gives_the_time_of_its_first_record() {
        let count = DECOMPRESSED_BYTES_MAX as usize / 100 + 1;
        let timestamps: Vec<i64> = (0..count as i64).collect();
        let bytes = batch(0, Codec::Zstd, &timestamps);
        assert!(bytes.len() < 100_000, "it is compressed");
        assert_eq!(find_timestamp(&bytes, count as i64 - 1), Some(0));
    }

    #[test]
    fn what_is_no_batch_has_no_time() {
        assert_eq!(find_timestamp(b"", 0), None);
        assert_eq!(find_timestamp(&[0; 70], 0), None);
    }
}
