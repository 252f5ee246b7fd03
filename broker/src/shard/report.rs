//! What a shard tells the admin thread when it asks.
//!
//! ```text
//! admin thread ── Inquiry ──► shard: Health at once; Report gathered a bounded piece a turn ── Told ──► admin thread
//! ```
//!
//! The shard hands over numbers and leaves their names, sums and text to the admin thread.

use std::path::PathBuf;
use std::sync::Arc;

use net::ApiKey;
use storage::LogId;
use storage::latency::Distribution;
use storage::store::metrics::{Memory, Snapshot};

use super::directories::Status;
use super::lags::{self, GroupLag};
use super::mail::Mail;
use super::metrics::Moved;
use super::{Shard, Stopping};
use crate::metadata::{Image, api};

/// Places of partitions looked at in one turn while a report is gathered: about a millisecond.
const PARTITIONS_PER_TURN: usize = 4096;

/// What the admin thread asks of a shard. It has at most one inquiry of each kind open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inquiry {
    /// Whether it is well; answered in the turn it comes in.
    Health,
    /// All it has counted.
    Report,
    /// How far behind its groups are. Other shards are asked for that; the answer waits for them.
    Lags,
}

/// The answer to an [`Inquiry`] of the same name.
#[derive(Debug)]
pub enum Told {
    /// Whether the shard is well.
    Health(Health),
    /// All it has counted.
    Report(Box<Report>),
    /// The lags of the groups whose coordinators are here.
    Lags(Vec<GroupLag>),
}

/// Whether a shard can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// It serves the node's metadata.
    pub is_serving: bool,
    /// A clean stop has begun.
    pub is_stopping: bool,
    /// It refuses appends for want of room on the disk.
    pub is_disk_full: bool,
    /// Data directories that are offline, and why.
    pub offline: Vec<(PathBuf, Arc<str>)>,
    /// The shard's partitions whose data directory is offline or missing.
    pub offline_partitions: usize,
}

/// A shard's counters since its start, and what it holds now.
#[derive(Debug, Clone)]
pub struct Report {
    /// The metadata that names the logs.
    pub image: Arc<Image>,
    /// APIs that were asked for.
    pub apis: Vec<Api>,
    /// Errors told to clients: the API, Kafka's code, how often.
    pub errors: Vec<(ApiKey, i16, u64)>,
    /// Its connections.
    pub connections: Connections,
    /// Its storage.
    pub store: Snapshot,
    /// The node's data directories.
    pub directories: Vec<Status>,
    /// Partitions whose data directory is offline.
    pub offline_partitions: usize,
    /// Its partitions' logs.
    pub logs: Vec<Log>,
    /// What fetches got through its connections, from logs of any shard.
    pub fetched: Vec<(LogId, Moved)>,
}

/// One API's counters.
#[derive(Debug, Clone)]
pub struct Api {
    /// The API.
    pub key: ApiKey,
    /// Requests that came.
    pub requests: u64,
    /// How long answered ones took.
    pub latency: Distribution,
}

/// A shard's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connections {
    /// Open now.
    pub open: usize,
    /// Taken over since the start.
    pub opened: u64,
    /// Closed because of what they sent.
    pub malformed: u64,
    /// Closed at once: their address, or the node, had too many.
    pub refused: u64,
    /// Accepted, and waiting for others to end.
    pub waiting: usize,
    /// How often connections were muted by a quota.
    pub throttles: u64,
    /// For how long together, in nanoseconds.
    pub throttled_ns: u64,
    /// Memory that they use.
    pub memory: Memory,
    /// Those that wait for some.
    pub memory_waiting: usize,
    /// Closed because others waited for memory that they held.
    pub memory_ended: u64,
    /// Bytes that came in.
    pub received_bytes: u64,
    /// Bytes that went out.
    pub sent_bytes: u64,
}

/// One partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Which.
    pub log: LogId,
    /// Its first offset.
    pub start_offset: i64,
    /// The offset after its last committed record.
    pub high_watermark: i64,
    /// Bytes of its batches.
    pub size_bytes: u64,
    /// What producers appended.
    pub produced: Moved,
}

/// A report in the making.
#[derive(Debug, Default)]
pub(super) struct Reporting {
    logs: Vec<Log>,
    /// The next place of a partition to look at.
    next: usize,
}

impl Shard {
    /// The admin thread's number among those who send mail: behind the shards.
    pub(super) fn admin(&self) -> usize {
        self.peers.len()
    }

    /// Answers the admin thread, or begins to gather the answer.
    pub(super) fn inquired(&mut self, inquiry: Inquiry) {
        match inquiry {
            Inquiry::Health => {
                let health = Health {
                    is_serving: self.served,
                    is_stopping: self.stopping != Stopping::Running,
                    is_disk_full: self.stores.is_disk_full(),
                    offline_partitions: self.partitions.offline_count(),
                    offline: self
                        .directories
                        .iter()
                        .filter_map(|(_, it)| Some((it.path.clone(), it.offline.clone()?)))
                        .collect(),
                };
                self.send(self.admin(), Mail::Told(Told::Health(health)));
            }
            Inquiry::Report => self.reporting = Some(Reporting::default()),
            Inquiry::Lags => self.group_lags(lags::Told(Box::new(|shard, lags| {
                shard.send(shard.admin(), Mail::Told(Told::Lags(lags)));
            }))),
        }
    }

    /// Goes on with a report that was asked for.
    pub(super) fn step_report(&mut self) {
        let Some(mut reporting) = self.reporting.take() else { return };
        let end = reporting.next + PARTITIONS_PER_TURN;
        for index in reporting.next..end.min(self.partitions.places()) {
            let Some(partition) = self.partitions.by_place(index) else { continue };
            reporting.logs.push(Log {
                log: partition.log,
                start_offset: self.stores[partition.slot].start_offset(partition.slot),
                high_watermark: partition.replica.high_watermark(),
                size_bytes: self.stores[partition.slot].size_bytes(partition.slot),
                produced: partition.produced,
            });
        }
        reporting.next = end;
        if end < self.partitions.places() {
            self.reporting = Some(reporting);
            return;
        }
        let report = self.report(reporting.logs);
        self.send(self.admin(), Mail::Told(Told::Report(Box::new(report))));
    }

    fn report(&self, logs: Vec<Log>) -> Report {
        let metrics = &self.metrics;
        let (waiting, refused) = self.admission.counted();
        let api = |&key: &ApiKey| {
            let api = metrics.api(key);
            (api.requests > 0).then(|| Api { key, requests: api.requests, latency: api.latency.distribution() })
        };
        Report {
            image: Arc::clone(&self.image),
            apis: api::SERVED.iter().filter_map(api).collect(),
            errors: metrics.errors.iter().map(|(&(key, code), &count)| (key, code, count)).collect(),
            connections: Connections {
                open: self.connections.len(),
                opened: metrics.connections_opened,
                malformed: metrics.connections_malformed,
                refused,
                waiting,
                throttles: metrics.throttles,
                throttled_ns: metrics.throttled_ns,
                memory: Memory { used_bytes: self.memory.used(), budget_bytes: self.memory.limit() },
                memory_waiting: self.memory.waiting(),
                memory_ended: self.memory.ended(),
                received_bytes: metrics.received_bytes,
                sent_bytes: metrics.sent_bytes,
            },
            store: self.stores.metrics(self.now.monotonic_ns),
            directories: self.directories.status(),
            offline_partitions: self.partitions.offline_count(),
            logs,
            fetched: metrics.fetched.iter().map(|(&log, &moved)| (log, moved)).collect(),
        }
    }
}
