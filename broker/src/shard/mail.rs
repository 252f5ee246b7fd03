//! What shards say to each other.
//!
//! An [`Ask`] reserves the slot of its [`Answer`] (a credit of the asking shard), so that answers never block and the
//! mailbox between two shards has a bound. Everything else is a [`Notice`]: rare, and bounded by what causes it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use net::ApiKey;
use net::ops::{ListenerId, Socket};
use storage::LogId;
use storage::buffer::Slice;
use storage::io::DataDirectory;
use storage::transactions::Aborted;

use super::lags::{LagAnswer, LagItem};
use super::partition_admin;
use super::pending::Key;
use super::report::{Inquiry, Told};
use crate::error_code::ErrorCode;
use crate::metadata::Image;
use crate::quota::Used;
use crate::telemetry::Push;

/// Requests that one shard may have under way at another.
pub const ASKS_MAX: usize = 512;

/// Parked fetches that one shard may have watching at another.
pub const WATCHES_MAX: usize = 1024;

/// A message to another shard.
#[derive(Debug)]
pub enum Mail {
    /// Do something for a request of mine.
    Ask {
        /// The request at the asking shard.
        request: Key,
        /// What to do.
        ask: Ask,
    },
    /// What came of an ask.
    Answer {
        /// The request that asked.
        request: Key,
        /// The result.
        answer: Answer,
    },
    /// Something that is not answered.
    Notice(Notice),
    /// The admin thread asks.
    Inquiry(Inquiry),
    /// A shard answers the admin thread.
    Told(Told),
    /// A client has pushed its metrics: to the admin thread, to be read and shown.
    Push {
        /// The request of the shard.
        request: Key,
        /// What was pushed.
        push: Box<Push>,
    },
    /// What the admin thread says of a push.
    PushRead {
        /// The request that pushed.
        request: Key,
        /// Whether it is what it should be.
        is_readable: bool,
    },
}

/// What a shard may ask of the owner of a partition, or of the controller's shard.
#[derive(Debug)]
pub enum Ask {
    /// Append record batches.
    Append {
        /// One batch per partition.
        items: Vec<AppendItem>,
        /// Whether to answer once appended (0), or once committed.
        acks: i16,
    },
    /// Read records.
    Read(Vec<ReadItem>),
    /// Look offsets up.
    Query(Vec<QueryItem>),
    /// Say how far behind offsets are.
    Lags(Vec<LagItem>),
    /// Do or say something about partitions.
    Partitions(Vec<partition_admin::Item>),
    /// Handle a whole request whose state lies here.
    Handle(Forwarded),
    /// Say when the high watermark of one of these logs has moved beyond the offset.
    Watch(Vec<(LogId, i64)>),
}

/// The result of an [`Ask`], of the same name.
#[derive(Debug)]
pub enum Answer {
    /// One result per item.
    Append(Vec<AppendAnswer>),
    /// One result per item.
    Read(Vec<ReadAnswer>),
    /// One result per item.
    Query(Vec<QueryAnswer>),
    /// One result per item.
    Lags(Vec<LagAnswer>),
    /// One result per item.
    Partitions(Vec<partition_admin::Told>),
    /// The encoded body of the response.
    Handled(Vec<u8>),
    /// A watched log moved, or the watch was taken back.
    Woken,
}

/// What is not answered.
#[derive(Debug)]
pub enum Notice {
    /// Serve this connection.
    Connection(NewConnection),
    /// Metadata changed.
    Image(Arc<Image>),
    /// This shard serves the metadata of that version.
    ImageApplied {
        /// The image's version: the offset behind its last record.
        version: i64,
    },
    /// A parked fetch was answered otherwise: release its watch.
    Unwatch {
        /// The request that watches.
        request: Key,
    },
    /// Create these topics if they are missing (auto-creation).
    AutoCreate(AutoCreate),
    /// Whether the store here has room for more records: producers elsewhere wait while it has none.
    Room(bool),
    /// A connection from that address, which the accepting shard had handed over, has ended.
    ConnectionEnded(IpAddr),
    /// A data directory cannot be used any more.
    DirectoryFailed {
        /// Which.
        directory: DataDirectory,
        /// Why.
        reason: Arc<str>,
    },
    /// Somebody waits for memory: connections that hold some and do nothing are ended.
    MemoryWanted,
    /// What clients with quotas have used at this shard since its last report.
    QuotaUse(Arc<[Used]>),
    /// Stop cleanly.
    Stop,
}

/// Topics that somebody asked about and that are missing.
#[derive(Debug)]
pub struct AutoCreate {
    /// Their names.
    pub names: Vec<String>,
    /// The client whose quota they count against; none for topics of the broker's own.
    pub client_id: Option<String>,
}

/// A socket on its way to the shard that will serve it.
#[derive(Debug, Clone, Copy)]
pub struct NewConnection {
    /// The socket.
    pub socket: Socket,
    /// The listener it came in on.
    pub listener: ListenerId,
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
}

/// A request that another shard handles as a whole.
#[derive(Debug)]
pub struct Forwarded {
    /// Which API.
    pub key: ApiKey,
    /// Its version.
    pub version: i16,
    /// The request's body.
    pub body: Bytes,
    /// Who sent it.
    pub client: Client,
}

/// Who sent a request.
#[derive(Debug, Clone)]
pub struct Client {
    /// The client id of the request's header.
    pub id: String,
    /// The host at the other end.
    pub host: String,
    /// The port at the other end.
    pub port: u16,
    /// The name of its library, if it said so (KIP-511).
    pub software_name: String,
    /// The version of its library, if it said so.
    pub software_version: String,
}

/// A record batch for a partition of another shard.
#[derive(Debug)]
pub struct AppendItem {
    /// The part of the asking request.
    pub part: u32,
    /// The partition's log.
    pub log: LogId,
    /// The batch, as the client sent it.
    pub records: Bytes,
}

/// What came of appending one batch.
#[derive(Debug, Clone)]
pub struct AppendAnswer {
    /// The part of the asking request.
    pub part: u32,
    /// What went wrong, if anything.
    pub error: ErrorCode,
    /// The offset of the batch's first record; -1 if it was not appended.
    pub base_offset: i64,
    /// The time the broker gave the records; -1 if they keep their own.
    pub log_append_time_ms: i64,
    /// The first offset of the log; -1 if unknown.
    pub log_start_offset: i64,
    /// What to tell the client about the error.
    pub detail: Option<Box<Detail>>,
}

/// An error explained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    /// What happened, why, what to do.
    pub message: String,
    /// The records that are to blame: index within the batch, and why.
    pub records: Vec<(i32, String)>,
}

impl AppendAnswer {
    /// A refusal with its explanation.
    #[must_use]
    pub fn refused(part: u32, error: ErrorCode, message: impl Into<String>) -> Self {
        let detail = Detail { message: message.into(), records: Vec::new() };
        Self { detail: Some(Box::new(detail)), ..Self::pending(part) }.with_error(error)
    }

    /// Nothing is known yet.
    #[must_use]
    pub fn pending(part: u32) -> Self {
        let error = ErrorCode::None;
        Self { part, error, base_offset: -1, log_append_time_ms: -1, log_start_offset: -1, detail: None }
    }

    fn with_error(mut self, error: ErrorCode) -> Self {
        self.error = error;
        self
    }
}

/// What to read of one partition.
#[derive(Debug, Clone, Copy)]
pub struct ReadItem {
    /// The part of the asking request.
    pub part: u32,
    /// The partition's log.
    pub log: LogId,
    /// The first offset wanted.
    pub offset: i64,
    /// The most bytes wanted; a first batch that is larger comes whole if `at_least_one`.
    pub max_bytes: usize,
    /// Whether a batch above the limit is better than none (KIP-74).
    pub at_least_one: bool,
    /// The leader epoch the consumer believes in; -1 skips the check.
    pub current_leader_epoch: i32,
    /// The epoch of the last record the consumer has; -1 if it does not say.
    pub last_fetched_epoch: i32,
    /// Whether records of open transactions are left out, and aborted ones told.
    pub read_committed: bool,
    /// Who reads: the same consumer of the same partition has the same number each time, and what follows is read ahead.
    pub reader: u64,
}

/// What came of reading one partition.
#[derive(Debug, Clone)]
pub struct ReadAnswer {
    /// The part of the asking request.
    pub part: u32,
    /// What went wrong, if anything.
    pub error: ErrorCode,
    /// The high watermark; -1 with most errors.
    pub high_watermark: i64,
    /// The last stable offset; -1 with most errors.
    pub last_stable_offset: i64,
    /// The first offset of the log; -1 with most errors.
    pub log_start_offset: i64,
    /// Where the consumer's log and this one part: the epoch and its end offset here (KIP-595's diverging epoch).
    pub diverging: Option<(i32, i64)>,
    /// The leader's epoch, told along with the epoch errors.
    pub leader_epoch: i32,
    /// Whole record batches, in order.
    pub records: Vec<Slice>,
    /// The offset after the last record; -1 without records.
    pub next_offset: i64,
    /// Aborted transactions with records among these, for a consumer of committed ones.
    pub aborted: Vec<Aborted>,
    /// Whether there are no records because the store was too busy: they may be read later.
    pub is_busy: bool,
}

impl ReadAnswer {
    /// No records, for this reason.
    #[must_use]
    pub fn refused(part: u32, error: ErrorCode) -> Self {
        Self {
            part,
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging: None,
            leader_epoch: -1,
            records: Vec::new(),
            next_offset: -1,
            aborted: Vec::new(),
            is_busy: false,
        }
    }

    /// How many bytes of records there are.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.records.iter().map(|slice| slice.len()).sum()
    }
}

/// A question about the offsets of one partition.
#[derive(Debug, Clone, Copy)]
pub struct QueryItem {
    /// The part of the asking request.
    pub part: u32,
    /// The partition's log.
    pub log: LogId,
    /// The leader epoch the client believes in; -1 skips the check.
    pub current_leader_epoch: i32,
    /// Whether only what is stable counts, not all that is committed.
    pub read_committed: bool,
    /// The question.
    pub query: Query,
}

/// Which offset is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// The high watermark, or the last stable offset.
    Latest,
    /// The log start offset.
    Earliest,
    /// The record with the largest timestamp.
    MaxTimestamp,
    /// The first record with this timestamp or a later one.
    Timestamp(i64),
    /// The offset after the last record of the epoch (KIP-101).
    EpochEnd(i32),
    /// That of something which no log here has, such as records in remote storage.
    Nothing,
}

/// The answer to a [`QueryItem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryAnswer {
    /// The part of the asking request.
    pub part: u32,
    /// What went wrong, if anything.
    pub error: ErrorCode,
    /// The offset; -1 if there is none.
    pub offset: i64,
    /// The record's timestamp; -1 if the question was not about one.
    pub timestamp_ms: i64,
    /// The record's leader epoch, or the epoch that was found; -1 if unknown.
    pub leader_epoch: i32,
}

impl QueryAnswer {
    /// No offset, for this reason (or none, if nothing matches).
    #[must_use]
    pub fn none(part: u32, error: ErrorCode) -> Self {
        Self { part, error, offset: -1, timestamp_ms: -1, leader_epoch: -1 }
    }
}
