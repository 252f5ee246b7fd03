//! From a client's batch to bytes in the tail and an entry for the journal.

use std::sync::Arc;

use super::deferred::{Deferred, Stage};
use super::files::FileOp;
use super::journaling::IMAGE_HELD;
use super::outcome::{Append, AppendToken, Event, Full, Origin};
use super::purpose::Purpose;
use super::recompress::Recoded;
use super::{BATCH_BYTES_MAX, DECOMPRESSED_BYTES_MAX, DEFERRED_BYTES_MAX, Store, shared};
use crate::batch::{self, TimestampType};
use crate::compression::Codec;
use crate::index::{MaxTimestamp, Placed};
use crate::io::{BLOCK_BYTES, Done, Failure, OpenMode};
use crate::journal::format::{Body, Place};
use crate::log::state::{Log, SegmentTail};
use crate::log::{LogId, Now, Slot};
use crate::mutation::{self, Mutation};
use crate::producers::{Offsets, Outcome, SeenBatch};
use crate::scan::Progress;
use crate::segment::{SEGMENT_BYTES_MAX, Segment};
use crate::tail::Tail;
use crate::validate::{self, CompressedValidation, Rejection, Rules, Valid, Writer};

/// Compressed batches up to this size are tried at once, without a copy, as long as they decompress to little.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// What "little" is.
const INLINE_DECOMPRESSED_BYTES: usize = 64 << 10;

/// Reads of a log's last block that may fail one after another before its appends are refused.
const BLOCK_FAILURES_MAX: u8 = 2;

/// Free memory that counts as room: a region for a batch of usual size in each of a few logs.
const ROOM_BYTES: usize = 16 << 20;

/// What to do with a batch whose header and records are in order.
enum Next {
    Done(Append),
    /// The log's last block must come from disk first.
    NeedsLastBlock,
}

impl Store {
    /// Appends one batch. Nothing is durable until [`Event::Durable`] says so.
    pub fn append(&mut self, slot: Slot, records: &[u8], origin: Origin, leader_epoch: i32, now: Now) -> Append {
        self.now = now;
        let refusal = self.refusal();
        if let Some(Append::Failed) = refusal {
            return Append::Failed;
        }
        let rules = self.rules(slot, origin);
        let batch = match validate::validate_header(records, &rules) {
            Ok(batch) => batch,
            Err(rejection) => return Append::Rejected(rejection),
        };
        if let Some(refusal) = refusal {
            // What is there already needs no room: its producer must not be told that it was not appended.
            return duplicate(self.log(slot), &batch).unwrap_or(refusal);
        }
        if !self.log(slot).deferred.is_empty() || self.log(slot).is_held_up() {
            return self.defer(slot, records, origin, leader_epoch, Stage::New);
        }
        let verdict = if batch.attributes().codec() == Some(Codec::None) {
            validate::walk_records(&batch, &rules)
        } else {
            match validate_small(records, &rules) {
                Some(verdict) => verdict,
                None => return self.defer(slot, records, origin, leader_epoch, Stage::New),
            }
        };
        let valid = match verdict {
            Ok(valid) => valid,
            Err(rejection) => return Append::Rejected(rejection),
        };
        if self.recompression(slot, origin, &valid).is_some() {
            return self.defer(slot, records, origin, leader_epoch, Stage::Valid(valid));
        }
        match self.append_valid(slot, records, leader_epoch, &valid) {
            Next::Done(outcome) => outcome,
            Next::NeedsLastBlock => self.defer(slot, records, origin, leader_epoch, Stage::Valid(valid)),
        }
    }

    /// Why nothing at all can be appended now, if so.
    fn refusal(&self) -> Option<Append> {
        if self.is_failed || self.is_stopping {
            return Some(Append::Failed);
        }
        if self.is_disk_full {
            return Some(Append::Full(Full::Disk));
        }
        let is_full = self.durable_journal.is_full() || self.cached_journal.is_full();
        is_full.then_some(Append::Full(Full::Journal))
    }

    /// Whether there is room for more appends: in memory, and in what gathers for the journal. Where there is not, it is
    /// better to leave requests with their clients for a while than to refuse them; room comes as writes complete and
    /// readers let go. What waiting does not cure, a full disk or a failure, counts as room: those appends are answered.
    pub fn has_room(&mut self) -> bool {
        if self.is_failed || self.is_stopping || self.is_disk_full {
            return true;
        }
        if self.durable_journal.is_full() || self.cached_journal.is_full() {
            return false;
        }
        let bytes = ROOM_BYTES.min(self.options.tail_bytes / 4);
        self.release_memory_for(bytes);
        if self.tails.used_bytes() + bytes <= self.tails.budget_bytes() {
            return true;
        }
        if !self.large.is_idle() {
            return false;
        }
        self.rounds.note_memory_spent();
        false
    }

    fn rules(&self, slot: Slot, origin: Origin) -> Rules {
        let config = &self.log(slot).config;
        let is_client = origin == Origin::Client;
        Rules {
            writer: if is_client { Writer::Client } else { Writer::Coordinator },
            batch_bytes_max: if is_client { config.batch_bytes_max.min(BATCH_BYTES_MAX) } else { BATCH_BYTES_MAX },
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
            is_compacted: config.keys_required,
            timestamp_type: if is_client { config.timestamp_type } else { TimestampType::CreateTime },
            timestamp_before_ms_max: if is_client { config.timestamp_before_max_ms } else { i64::MAX },
            timestamp_after_ms_max: if is_client { config.timestamp_after_max_ms } else { i64::MAX },
            now_ms: self.now.wall_ms,
        }
    }

    fn append_valid(&mut self, slot: Slot, records: &[u8], leader_epoch: i32, valid: &Valid) -> Next {
        let log = self.log(slot);
        if let Some(outcome) = check_producer(log, valid) {
            return Next::Done(outcome);
        }
        let needs_last_block = log.tails.back().is_some_and(|it| it.tail.needs_last_block());
        if needs_last_block && !must_roll(log, valid, self.now.wall_ms) {
            return Next::NeedsLastBlock;
        }
        let mut valid = *valid;
        if valid.producer.is_some() && valid.is_control {
            // An end marker has no sequence: it is no batch of the producer's.
            valid.producer = None;
        }
        Next::Done(match self.place(slot, records, leader_epoch, &valid) {
            Ok(appended) => appended,
            Err(refused) => refused,
        })
    }

    /// Copies the batch into the tail and makes it part of the log.
    fn place(&mut self, slot: Slot, records: &[u8], leader_epoch: i32, valid: &Valid) -> Result<Append, Append> {
        let now_ms = self.now.wall_ms;
        if must_roll(self.log(slot), valid, now_ms) {
            self.roll(slot);
        }
        self.reopen_last_block(slot);
        self.release_memory_for(records.len());
        let log = self.logs[slot.index()].as_deref_mut().expect("the slot is in use");
        let base_offset = log.end_offset;
        let last_offset = base_offset + i64::from(valid.record_count) - 1;
        let tail = log.active_tail().expect("rolled if there was no segment");
        let position = tail.end();
        let Some(room) = tail.reserve(records.len(), &self.tails) else {
            self.rounds.note_memory_spent();
            return Err(Append::Full(Full::Memory));
        };
        // One pass over memory copies and sums. Nothing is published before the sum is right.
        let crc = batch::copy_with_crc(room, records);
        let parsed = batch::Batch::first(records).expect("its header was validated");
        validate::compare_crc(&parsed, crc).map_err(Append::Rejected)?;
        batch::stamp(room, base_offset, leader_epoch);
        if let Some(timestamps) = valid.rewrite {
            batch::rewrite_timestamps(room, timestamps);
        }
        let bytes = tail.publish(base_offset, records.len());
        let max = MaxTimestamp {
            timestamp: valid.max_timestamp,
            offset: base_offset + i64::from(valid.max_timestamp_offset_delta),
        };
        let placed = Placed {
            position: u32::try_from(position).expect("a segment is smaller than 2 GiB"),
            size_in_bytes: u32::try_from(records.len()).expect("a batch is smaller than an extent"),
            base_offset,
            last_offset,
            max,
        };
        let segment = log.segments.back_mut().expect("rolled if there was none");
        segment.append(placed);
        let place = Place { segment: segment.base_offset, position };
        if valid.is_transactional {
            let transactions = log.transactions.get_or_insert_default();
            transactions.append(&parsed, place.segment, base_offset, log.durable_end);
        }
        log.epochs.append(leader_epoch, base_offset);
        if let Some(producer) = valid.producer {
            let offsets = Offsets { base: base_offset, last: last_offset };
            log.producers.append(producer, offsets, valid.max_timestamp, now_ms);
        }
        log.end_offset = last_offset + 1;
        log.is_carried = false;
        self.quiet.note(log, self.now.monotonic_ns);
        self.appended_bytes += records.len();
        let log_append_time_ms =
            (log.config.timestamp_type == TimestampType::LogAppendTime && valid.rewrite.is_some()).then_some(now_ms);
        let max_timestamp_delta = valid.max_timestamp_offset_delta;
        let has_producer = valid.producer.is_some() && log.expiry_due_ns.is_none();
        self.journal(slot, Body::Append { place, max_timestamp_delta, batch: shared(bytes) });
        if has_producer {
            self.schedule_expiry(slot);
        }
        if position == 0 {
            self.schedule_retention(slot);
        }
        Ok(Append::Appended { base_offset, last_offset, log_append_time_ms })
    }

    /// Begins a new segment.
    pub(super) fn roll(&mut self, slot: Slot) {
        let now_ms = self.now.wall_ms;
        let log = self.log_mut(slot);
        let (base_offset, interval) = (log.end_offset, log.config.index_interval_bytes);
        let is_first = log.segments.is_empty();
        log.segments.push_back(Segment::new(base_offset, interval, now_ms));
        log.tails.push_back(SegmentTail { base_offset, tail: Tail::new(0) });
        if let Some(transactions) = &mut log.transactions {
            transactions.begin_segment(base_offset);
        }
        if !is_first {
            self.rounds.note_rolled(slot);
        }
        self.schedule_retention(slot);
    }

    /// If the last block was written padded, journals its image: the write that comes may tear it.
    fn reopen_last_block(&mut self, slot: Slot) {
        let log = self.log_mut(slot);
        let end_offset = log.end_offset;
        let Some(active) = log.tails.back_mut() else { return };
        let segment = active.base_offset;
        if let Some((position, image)) = active.tail.reopen_last_block()
            && !mutation::is(Mutation::SkipImage)
        {
            let place = Place { segment, position };
            (log.image_of, log.image_before) = (segment, IMAGE_HELD);
            self.journal(slot, Body::TailImage { place, end_offset, bytes: shared(image) });
        }
    }

    fn defer(&mut self, slot: Slot, records: &[u8], origin: Origin, leader_epoch: i32, stage: Stage) -> Append {
        if self.deferred_bytes + records.len() > DEFERRED_BYTES_MAX {
            return Append::Full(Full::Memory);
        }
        self.deferred_bytes += records.len();
        let token = AppendToken(self.next_append);
        self.next_append += 1;
        let log = self.log_mut(slot);
        if log.deferred.is_empty() {
            self.deferred.push_back(slot);
        }
        let deferred = Deferred { token, bytes: records.into(), origin, leader_epoch, stage };
        self.log_mut(slot).deferred.push_back(deferred);
        Append::Validating(token)
    }

    /// Whether an append waits that could go on.
    pub(super) fn has_deferred_work(&self) -> bool {
        let is_held_up = |slot: &Slot| self.logs[slot.index()].as_ref().is_none_or(|log| log.is_held_up());
        !self.deferred.iter().all(is_held_up)
    }

    /// Goes on with appends that wait.
    pub(super) fn step_deferred(&mut self, budget: usize) {
        let mut left = budget;
        for _ in 0..self.deferred.len() {
            let Some(slot) = self.deferred.pop_front() else { break };
            if self.logs[slot.index()].as_ref().is_none_or(|log| log.deferred.is_empty()) {
                continue;
            }
            left = left.saturating_sub(self.step_log(slot, left));
            match self.log(slot).deferred.front().map(|deferred| &deferred.stage) {
                None => {}
                // It goes on before another one begins.
                Some(Stage::Recompressing(_)) => self.deferred.push_front(slot),
                Some(_) => self.deferred.push_back(slot),
            }
            if left == 0 {
                break;
            }
        }
    }

    /// Works on a log's first waiting appends; says how much of the budget that took.
    fn step_log(&mut self, slot: Slot, budget: usize) -> usize {
        let mut spent = 0;
        while spent < budget && !self.log(slot).is_held_up() {
            let Some(mut deferred) = self.log_mut(slot).deferred.pop_front() else { break };
            let rules = self.rules(slot, deferred.origin);
            spent += deferred.bytes.len().max(1);
            let outcome = match self.advance(&mut deferred, &rules, budget) {
                None => {
                    spent = budget;
                    None
                }
                Some(Err(rejection)) => Some(Append::Rejected(rejection)),
                Some(Ok(valid)) => match self.recode(slot, &mut deferred, valid) {
                    Recoded::More => {
                        spent = budget;
                        None
                    }
                    Recoded::Done(outcome) => Some(outcome),
                    Recoded::Ready(valid) => self.append_waiting(slot, &mut deferred, valid),
                },
            };
            match outcome {
                None => self.log_mut(slot).deferred.push_front(deferred),
                Some(outcome) => self.finish_deferred(slot, &deferred, outcome),
            }
        }
        spent
    }

    /// Appends a batch that has waited; nothing if it has to wait for the log's last block.
    fn append_waiting(&mut self, slot: Slot, deferred: &mut Deferred, valid: Valid) -> Option<Append> {
        match self.append_valid(slot, &deferred.bytes, deferred.leader_epoch, &valid) {
            Next::Done(outcome) => Some(outcome),
            Next::NeedsLastBlock => {
                deferred.stage = Stage::Valid(valid);
                self.load_last_block(slot);
                None
            }
        }
    }

    /// One slice of validation; the verdict when there is one.
    fn advance(&self, deferred: &mut Deferred, rules: &Rules, budget: usize) -> Option<Result<Valid, Rejection>> {
        match &deferred.stage {
            Stage::Valid(valid) => return Some(Ok(*valid)),
            Stage::Recompressing(stage) => return Some(Ok(stage.0)),
            Stage::New | Stage::Validating(_) => {}
        }
        if matches!(deferred.stage, Stage::New) {
            let batch = match validate::validate_header(&deferred.bytes, rules) {
                Ok(batch) => batch,
                Err(rejection) => return Some(Err(rejection)),
            };
            if batch.attributes().codec() == Some(Codec::None) {
                return Some(validate::walk_records(&batch, rules));
            }
            // Before the work of decompressing what was damaged on its way.
            if let Err(rejection) = validate::check_crc(&batch) {
                return Some(Err(rejection));
            }
            match CompressedValidation::new(Arc::clone(&deferred.bytes), rules) {
                Ok(validation) => deferred.stage = Stage::Validating(Box::new(validation)),
                Err(rejection) => return Some(Err(rejection)),
            }
        }
        let Stage::Validating(validation) = &mut deferred.stage else { unreachable!("the other stages are handled") };
        match validation.step(budget) {
            Progress::More => None,
            Progress::Done(verdict) => Some(verdict),
        }
    }

    fn finish_deferred(&mut self, slot: Slot, deferred: &Deferred, outcome: Append) {
        self.deferred_bytes -= deferred.bytes.len();
        self.push(Event::AppendFinished { token: deferred.token, slot, outcome });
    }

    /// Ends all appends of a log that wait.
    pub(super) fn fail_deferred(&mut self, slot: Slot) {
        while let Some(deferred) = self.log_mut(slot).deferred.pop_front() {
            self.finish_deferred(slot, &deferred, Append::Failed);
        }
    }

    fn load_last_block(&mut self, slot: Slot) {
        // Not of the memory for reads, which slow readers may hold.
        let Some(buffer) = self.tails.allocate(BLOCK_BYTES) else { return };
        let direct = self.options.direct;
        let log = self.log_mut(slot);
        log.is_loading_block = true;
        let id = log.id;
        let end = log.tails.back().expect("a block is loaded for a tail").tail.end();
        let segment = log.segments.back().expect("a tail has a segment");
        let (key, path) = (segment.key(id), segment.path(&log.directory));
        let position = end / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        self.files.request(
            key,
            || path,
            OpenMode { create: true, write: true, direct },
            FileOp::Read { position, buffer },
            Purpose::LastBlock(slot, id),
        );
    }

    pub(super) fn last_block_read(&mut self, slot: Slot, id: LogId, result: Result<Done, Failure>) {
        let tails = self.tails.clone();
        let Some(log) = self.log_if(slot, id) else { return };
        log.is_loading_block = false;
        let tail = &mut log.tails.back_mut().expect("a block is loaded for a tail").tail;
        let partial = (tail.end() % BLOCK_BYTES as u64) as usize;
        match result {
            Ok(Done::Read { buffer, length }) if length >= partial => {
                log.block_failures = 0;
                // Without room it is loaded again when the append is tried again.
                let _ = !tail.needs_last_block() || tail.load_last_block(&buffer[..partial], &tails);
            }
            result if log.block_failures < BLOCK_FAILURES_MAX => {
                log.block_failures += 1;
                tracing::warn!(log = %id, ?result, "cannot read the last block of a log: trying again");
            }
            result => {
                log.block_failures = 0;
                tracing::error!(log = %id, ?result, "cannot read the last block of a log: its appends are refused");
                self.fail_deferred(slot);
            }
        }
    }
}

/// The verdict on a compressed batch that is small in both forms; none if it must be taken in slices.
fn validate_small(records: &[u8], rules: &Rules) -> Option<Result<Valid, Rejection>> {
    if records.len() > INLINE_BYTES_MAX {
        return None;
    }
    let mut validation = match CompressedValidation::new(records, rules) {
        Ok(validation) => validation,
        Err(rejection) => return Some(Err(rejection)),
    };
    match validation.step(INLINE_DECOMPRESSED_BYTES) {
        Progress::More => None,
        Progress::Done(verdict) => Some(verdict),
    }
}

/// The answer to a batch that its producer's state does not accept.
pub(super) fn check_producer(log: &Log, valid: &Valid) -> Option<Append> {
    let producer = valid.producer.filter(|_| !valid.is_control)?;
    match log.producers.check(producer, valid.record_count) {
        Outcome::Accept => None,
        Outcome::Duplicate(seen) => Some(repeated(seen)),
        Outcome::DuplicateTooOld { expected, got } | Outcome::OutOfOrder { expected, got } => {
            Some(Append::OutOfOrder { expected, found: got })
        }
        Outcome::FencedEpoch { current, got } => Some(Append::Fenced { current, found: got }),
    }
}

fn repeated(seen: SeenBatch) -> Append {
    Append::Duplicate { base_offset: seen.base_offset, last_offset: seen.last_offset, timestamp: seen.timestamp }
}

/// The answer to a batch that the log has already.
fn duplicate(log: &Log, batch: &batch::Batch<'_>) -> Option<Append> {
    let producer = batch.producer().filter(|_| !batch.attributes().is_control())?;
    let record_count = u32::try_from(batch.record_count()).ok().filter(|&count| count > 0)?;
    match log.producers.check(producer, record_count) {
        Outcome::Duplicate(seen) => Some(repeated(seen)),
        Outcome::Accept
        | Outcome::DuplicateTooOld { .. }
        | Outcome::OutOfOrder { .. }
        | Outcome::FencedEpoch { .. } => None,
    }
}

/// Whether the batch begins a new segment, by Kafka's rules: size, time, index size, width of relative offsets.
fn must_roll(log: &Log, valid: &Valid, now_ms: i64) -> bool {
    let Some(segment) = log.segments.back() else { return true };
    if segment.bytes == 0 {
        return false;
    }
    let size = segment.bytes + valid.size_in_bytes as u64;
    let index = segment.index.as_ref().expect("the active segment's index is in memory");
    size > log.config.segment_bytes.min(SEGMENT_BYTES_MAX)
        || index.len() * crate::index::ENTRY_BYTES >= log.config.index_bytes_max as usize
        || !index.fits(log.end_offset + i64::from(valid.record_count) - 1)
        || is_old(log, segment, valid, now_ms)
}

/// Time passed is counted between the records' own timestamps where they have some, as Kafka does.
fn is_old(log: &Log, segment: &Segment, valid: &Valid, now_ms: i64) -> bool {
    let has_time = segment.first_timestamp >= 0 && valid.max_timestamp >= 0;
    let age = if has_time {
        valid.max_timestamp.saturating_sub(segment.first_timestamp)
    } else {
        now_ms.saturating_sub(segment.created_ms)
    };
    let jitter = jitter_ms(log.id, segment.base_offset, log.config.segment_jitter_ms);
    u64::try_from(age).is_ok_and(|age| age > log.config.roll_ms().saturating_sub(jitter))
}

/// Different for every segment and the same for one, so that segments begun together do not end together.
fn jitter_ms(id: LogId, base_offset: i64, jitter_max_ms: u64) -> u64 {
    if jitter_max_ms == 0 {
        return 0;
    }
    let mixed = (id.0 ^ (base_offset as u64).rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 20) % jitter_max_ms
}
