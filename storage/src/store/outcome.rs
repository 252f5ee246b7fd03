//! What a store answers, at once or later as an [`Event`].

use crate::Error;
use crate::log::Slot;
use crate::validate::Rejection;

/// Who appends: what a client sends is held to its topic's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A produce request.
    Client,
    /// The broker itself: coordinators, the controller.
    Internal,
}

/// An append whose batch is still being validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendToken(pub u64);

/// A read that waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadToken(pub u64);

/// A lookup that waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupToken(pub u64);

/// One consumer's position in one partition, whoever it is: reads of one reader profit from read-ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(pub u64);

/// Why nothing can be appended now; the same append may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The disk has no room. [`Event::Writable`] tells when it has again.
    Disk,
    /// Memory for appended records is spent until segment writes catch up.
    Memory,
    /// Too much is waiting for the journal.
    Journal,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Append {
    /// It has its offsets; [`Event::Durable`] tells when they are durable.
    Appended {
        /// Offset of the first record.
        base_offset: i64,
        /// Offset of the last record.
        last_offset: i64,
        /// The time of the append if the topic's timestamp type is LogAppendTime.
        log_append_time_ms: Option<i64>,
    },
    /// The producer appended this batch before, with these offsets. It is durable when the log is up to there.
    Duplicate {
        /// Offset the first record got then.
        base_offset: i64,
        /// Offset of the last record.
        last_offset: i64,
        /// The timestamp it was appended with.
        timestamp: i64,
    },
    /// The producer's sequence neither follows its last batch nor repeats one of its last five.
    OutOfOrder {
        /// The sequence that was due.
        expected: i32,
        /// The sequence the batch has.
        found: i32,
    },
    /// The producer's epoch is older than one seen before.
    Fenced {
        /// The newest epoch seen.
        current: i16,
        /// The batch's epoch.
        found: i16,
    },
    /// The batch breaks a rule; nothing was appended.
    Rejected(Rejection),
    /// The batch must be decompressed first: [`Event::AppendFinished`] follows. Later appends of the log wait in order.
    Validating(AppendToken),
    /// No room now.
    Full(Full),
    /// The store stopped after [`Event::Fatal`], or is stopping.
    Failed,
}

/// What to read.
#[derive(Debug, Clone, Copy)]
pub struct ReadRequest {
    /// The batch that holds this offset comes first.
    pub offset: i64,
    /// Bytes wanted at most.
    pub max_bytes: usize,
    /// Return the first batch whole even if it is larger than `max_bytes` (KIP-74).
    pub at_least_one: bool,
    /// No batch with a record at or after this offset is returned: the high watermark, or the end offset.
    pub limit_offset: i64,
    /// Who reads.
    pub reader: ReaderId,
}

/// What a read found. The bytes are whole batches, in order, in the slices that were pushed to `out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Some batches.
    Ready {
        /// Their size.
        bytes: usize,
        /// The offset after the last of them.
        next_offset: i64,
    },
    /// Nothing below the limit, or nothing that fits.
    Empty,
    /// The offset is not in the log.
    OutOfRange {
        /// First offset of the log.
        start_offset: i64,
        /// Offset the next record will get.
        end_offset: i64,
    },
    /// The bytes come from disk: [`Event::ReadFinished`] follows.
    Pending(ReadToken),
    /// Too many reads wait for the disk, or memory for them is spent; try again after the next event.
    Busy,
    /// The records at this offset are damaged: their checksum does not hold. The event log says where; what lies before
    /// and behind them can be read.
    Damaged,
    /// The disk returned an error; the event log says where.
    Failed,
}

/// What a lookup by time found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The first record that answers.
    Found {
        /// Its offset.
        offset: i64,
        /// Its timestamp.
        timestamp: i64,
        /// The leader epoch of its batch.
        leader_epoch: i32,
    },
    /// No record does.
    NotFound,
    /// The answer is on disk: [`Event::LookupFinished`] follows.
    Pending(LookupToken),
    /// As [`Read::Busy`].
    Busy,
    /// As [`Read::Failed`]. Damaged records are passed over: no lookup can find them.
    Failed,
}

/// What becomes of a request to cut a log's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncate {
    /// The log ends at or before the offset: there is nothing to cut.
    Unchanged,
    /// [`Event::TruncationEnded`] follows. Appends of the log wait until then.
    Pending,
    /// The log's end is being cut already; try again when that is over.
    Busy,
    /// The store stopped after [`Event::Fatal`], or is stopping.
    Failed,
}

/// How a truncation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncated {
    /// The log ends there, durably: at the offset that was asked for, or where the batch that held it began; at the log's
    /// start offset if that is larger.
    Done {
        /// The log's end offset.
        end_offset: i64,
    },
    /// The disk returned an error, or bytes that are no batches: the log is as it was.
    Failed,
}

/// What happened since the last call of [`crate::Store::next_event`].
#[derive(Debug)]
pub enum Event {
    /// Everything before `end_offset` is durable.
    Durable {
        /// The log.
        slot: Slot,
        /// The offset after the last durable record.
        end_offset: i64,
    },
    /// A validated append ended: any outcome but `Validating`.
    AppendFinished {
        /// The append.
        token: AppendToken,
        /// The log.
        slot: Slot,
        /// How it ended.
        outcome: Append,
    },
    /// A read ended: any outcome but `Pending`.
    ReadFinished {
        /// The read.
        token: ReadToken,
        /// The log.
        slot: Slot,
        /// How it ended.
        outcome: Read,
        /// The bytes of `Ready`.
        slices: Vec<crate::buffer::Slice>,
    },
    /// A lookup ended: any outcome but `Pending`.
    LookupFinished {
        /// The lookup.
        token: LookupToken,
        /// The log.
        slot: Slot,
        /// How it ended.
        outcome: Lookup,
    },
    /// A start offset that was set is durable.
    StartDurable {
        /// The log.
        slot: Slot,
        /// The durable start offset.
        start_offset: i64,
    },
    /// The log's end was cut, durably, or could not be. Its end offset and durable end went back before this.
    TruncationEnded {
        /// The log.
        slot: Slot,
        /// How it ended.
        outcome: Truncated,
    },
    /// Retention moved the log's start.
    StartMoved {
        /// The log.
        slot: Slot,
        /// The new start offset.
        start_offset: i64,
    },
    /// What [`crate::Store::measure_volume`] asked for; none if the operating system does not say.
    VolumeMeasured(Option<crate::io::Volume>),
    /// The disk is full: appends are refused, reads go on.
    DiskFull,
    /// The disk has room again: refused appends may be tried.
    Writable,
    /// The shard must stop: what was appended can no longer be made durable.
    Fatal(Error),
}
