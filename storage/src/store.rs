//! One shard's logs and the journals that make them durable.

pub mod outcome;

use crate::buffer::{Pool, Slice};
use crate::io;
use crate::log::{LogConfig, LogId, Now, Slot};

pub use outcome::{
    Append, AppendToken, EpochEnd, Event, Full, Lookup, LookupToken, Origin, Read, ReadRequest, ReadToken, ReaderId,
};

/// The largest batch a log takes, whatever its configuration says: a batch fits a journal extent.
pub const BATCH_BYTES_MAX: usize = 8 << 20;

/// What a shard's store may use.
#[derive(Debug, Clone)]
pub struct Options {
    /// Memory for appended records that are not durable in their segments yet, in bytes.
    pub tail_bytes: usize,
    /// Memory for journal groups in the making and for reads from disk, in bytes.
    pub buffer_bytes: usize,
    /// Files open at once, at the most.
    pub open_files_max: usize,
    /// Whether files bypass the page cache (`O_DIRECT`).
    pub direct: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { tail_bytes: 128 << 20, buffer_bytes: 64 << 20, open_files_max: 256, direct: true }
    }
}

/// One shard's durable logs, as a state machine: no I/O, no clock.
#[derive(Debug)]
pub struct Store {
    tails: Pool,
}

impl Store {
    /// Opens the log `id` with what recovery found of it, else empty. Its files lie in `logs/<directory>`, made
    /// at the first block written.
    pub fn attach(&mut self, id: LogId, directory: &str, config: LogConfig, now: Now) -> Slot {
        let _ = (id, directory, config, now);
        Slot(0)
    }
    /// The slot of an attached log.
    pub fn slot_of(&self, id: LogId) -> Option<Slot> {
        let _ = id;
        None
    }
    /// Replaces the log's configuration.
    pub fn reconfigure(&mut self, slot: Slot, config: LogConfig, now: Now) {
        let _ = (slot, config, now);
    }
    /// Forgets the log; its files are removed in the background, also after a crash. The slot may be used again.
    pub fn delete(&mut self, slot: Slot, now: Now) {
        let _ = (slot, now);
    }
    /// Appends one batch. Nothing is durable until [`Event::Durable`] says so.
    pub fn append(&mut self, slot: Slot, records: &[u8], origin: Origin, leader_epoch: i32, now: Now) -> Append {
        let _ = (slot, records, origin, leader_epoch, now);
        Append::Failed
    }
    /// Reads whole batches; their bytes are pushed to `out`.
    pub fn read(&mut self, slot: Slot, request: ReadRequest, out: &mut Vec<Slice>) -> Read {
        let _ = (slot, request, out);
        Read::Failed
    }
    /// First offset of the log.
    pub fn start_offset(&self, slot: Slot) -> i64 {
        let _ = slot;
        0
    }
    /// Offset the next record will get: the end of what is appended.
    pub fn end_offset(&self, slot: Slot) -> i64 {
        let _ = slot;
        0
    }
    /// The offset after the last durable record.
    pub fn durable_end(&self, slot: Slot) -> i64 {
        let _ = slot;
        0
    }
    /// Bytes of the log's batches.
    pub fn size_bytes(&self, slot: Slot) -> u64 {
        let _ = slot;
        0
    }
    /// The leader epoch of the last batch, or of the last call of [`Store::append`] that assigned one.
    pub fn last_epoch(&self, slot: Slot) -> Option<i32> {
        let _ = slot;
        None
    }
    /// Where `epoch` ended, as OffsetForLeaderEpoch wants it.
    pub fn end_offset_for_epoch(&self, slot: Slot, epoch: i32) -> Option<EpochEnd> {
        let _ = (slot, epoch);
        None
    }
    /// The first record at or after `timestamp`.
    pub fn find_timestamp(&mut self, slot: Slot, timestamp: i64) -> Lookup {
        let _ = (slot, timestamp);
        Lookup::Failed
    }
    /// The record with the largest timestamp.
    pub fn max_timestamp(&mut self, slot: Slot) -> Lookup {
        let _ = slot;
        Lookup::Failed
    }
    /// Raises the log's start; [`Event::StartDurable`] follows. Lower than the start or beyond the end changes nothing.
    pub fn set_start(&mut self, slot: Slot, offset: i64, now: Now) {
        let _ = (slot, offset, now);
    }
    /// One bounded piece of background work; whether there is more.
    pub fn step(&mut self, now: Now, budget: usize) -> bool {
        let _ = (now, budget);
        false
    }
    /// What is to be done to files now: call at the end of each turn.
    pub fn requests(&mut self, out: &mut Vec<io::Request>) {
        let _ = out;
    }
    /// Takes the end of a request.
    pub fn complete(&mut self, completion: io::Completion, now: Now) {
        let _ = (completion, now);
    }
    /// The next thing that happened.
    pub fn next_event(&mut self) -> Option<Event> {
        None
    }
    /// When [`Store::step`] has something to do by the clock, in monotonic nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        None
    }
    /// Stops taking appends and makes everything durable, so that the next start is quick.
    pub fn begin_stop(&mut self) {}
    /// Whether the stop is complete and nothing is in flight.
    pub fn is_stopped(&self) -> bool {
        self.tails.used_bytes() == 0
    }
}
