//! The node's data directories, as a shard sees them, and what follows when one fails.
//!
//! ```text
//! a store cannot go on (Event::Fatal) ─► the directory has the metadata? ── yes ─► the node halts
//!                                              │ no
//!                                              ▼
//!        offline on this shard, then on all: its partitions answer KAFKA_STORAGE_ERROR and have no leader;
//!        everything else goes on. The directory is looked at again at the next start.
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use net::Uuid;
use storage::LogId;
use storage::io::{DataDirectory, Volume};

use super::mail::{AppendAnswer, Notice};
use super::partitions::CommitWaiter;
use super::{Shard, Stopping};
use crate::directory::Opened;
use crate::error_code::ErrorCode;
use crate::metadata::controller::Candidate;
use crate::metadata::names::CONSUMER_OFFSETS;

/// How old a measurement of a file system may be when partitions are placed by it, in nanoseconds.
const MEASURED_NS_MAX: u64 = 1_000_000_000;

/// What the admin thread is told of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Where it lies.
    pub path: PathBuf,
    /// Why it is offline, if it is.
    pub offline: Option<Arc<str>>,
    /// Its file system, as it was measured last.
    pub volume: Option<Volume>,
}

/// The node's data directories by their numbers.
#[derive(Debug)]
pub(crate) struct Directories {
    all: Arc<[Opened]>,
    volumes: Vec<Option<Volume>>,
    /// When the file systems were measured last.
    measured_ns: Option<u64>,
}

impl Directories {
    pub(crate) fn new(all: Vec<Opened>) -> Self {
        assert!(all.first().is_some_and(|first| first.id == Uuid::ZERO), "the first one has the metadata");
        Self { volumes: vec![None; all.len()], all: all.into(), measured_ns: None }
    }

    /// All of them, to be looked at later.
    pub(crate) fn all(&self) -> &Arc<[Opened]> {
        &self.all
    }

    /// Each with its number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (DataDirectory, &Opened)> {
        self.all.iter().enumerate().map(|(number, it)| (DataDirectory(number as u8), it))
    }

    /// The directory of that id if it is online.
    pub(crate) fn find_online(&self, id: Uuid) -> Option<DataDirectory> {
        self.iter().find(|(_, it)| it.id == id && it.is_online()).map(|(number, _)| number)
    }

    fn get(&self, directory: DataDirectory) -> &Opened {
        &self.all[directory.index()]
    }

    /// Takes note of a file system's size.
    pub(crate) fn measured(&mut self, directory: DataDirectory, volume: Option<Volume>) {
        self.volumes[directory.index()] = volume;
    }

    /// What the admin thread is told.
    pub(crate) fn status(&self) -> Vec<Status> {
        let status =
            |(it, &volume): (&Opened, _)| Status { path: it.path.clone(), offline: it.offline.clone(), volume };
        self.all.iter().zip(&self.volumes).map(status).collect()
    }

    fn candidates(&self) -> Vec<Candidate> {
        let online = self.all.iter().zip(&self.volumes).filter(|(it, _)| it.is_online());
        let candidate = |(it, volume): (&Opened, &Option<Volume>)| Candidate {
            id: it.id,
            usable_bytes: volume.map(|volume| volume.usable_bytes),
        };
        online.map(candidate).collect()
    }
}

impl Shard {
    /// On the controller's shard: measures the file systems anew for the partitions that are placed next.
    pub(super) fn measure_directories(&mut self) {
        let is_fresh = self.directories.measured_ns.is_some_and(|at| self.now.monotonic_ns < at + MEASURED_NS_MAX);
        if self.control.is_none() || self.directories.all.len() == 1 || is_fresh {
            return;
        }
        self.directories.measured_ns = Some(self.now.monotonic_ns);
        for (directory, it) in self.directories.iter() {
            if it.is_online() {
                self.stores.at_mut(directory).expect("a directory that is online has a store").measure_volume();
            }
        }
        self.follow_directories();
    }

    /// Tells the controller where new partitions can be placed.
    pub(super) fn follow_directories(&mut self) {
        if let Some(control) = &mut self.control {
            control.controller.set_directories(self.directories.candidates());
        }
    }

    /// A data directory cannot be used any more. Without the one that has the metadata, the node cannot go on.
    pub(super) fn directory_failed(&mut self, directory: DataDirectory, reason: &str) {
        let path = self.directories.get(directory).path.display().to_string();
        if directory == DataDirectory::FIRST {
            if self.stopping != Stopping::Halted {
                self.stopping = Stopping::Halted;
                tracing::error!(
                    shard = self.id,
                    directory = path,
                    "the node stops, because the data directory that has its metadata cannot be used any more: {reason}. \
                     All that was acknowledged is on disk. Repair or replace the disk, keeping the directory's contents, \
                     and start the node again"
                );
            }
            return;
        }
        if !self.directories.get(directory).is_online() {
            return;
        }
        tracing::error!(
            shard = self.id,
            directory = path,
            "a data directory is offline: {reason}. Its partitions are not served until it is repaired and the node started \
             again; all others are"
        );
        let reason: Arc<str> = reason.into();
        self.take_offline(directory, &reason);
        self.notify_peers(|| Notice::DirectoryFailed { directory, reason: Arc::clone(&reason) });
    }

    /// A data directory is offline, on every shard.
    pub(super) fn take_offline(&mut self, directory: DataDirectory, reason: &Arc<str>) {
        if !self.directories.get(directory).is_online() {
            return;
        }
        Arc::make_mut(&mut self.directories.all)[directory.index()].offline = Some(Arc::clone(reason));
        self.follow_directories();
        let logs = self.partitions.logs_in(directory);
        self.resign_groups_of(&logs);
        if let Some(store) = self.stores.at_mut(directory) {
            store.give_up();
        }
        self.volume_measured(directory, None);
        for log in logs {
            self.partition_lost(log, reason);
        }
    }

    /// A partition's data directory is offline: who waits for it is told.
    fn partition_lost(&mut self, log: LogId, reason: &str) {
        let Some(mut partition) = self.partitions.take_offline(log) else { return };
        self.abandon_start(partition.slot, ErrorCode::KafkaStorageError);
        let mut woken = Vec::new();
        partition.replica.take_watchers(&mut woken);
        let why =
            format!("The partition's data directory is offline ({reason}): whether the records are kept is unknown.");
        for waiter in partition.replica.abandon_commits() {
            let refused = AppendAnswer::refused(0, ErrorCode::KafkaStorageError, why.clone());
            match waiter {
                CommitWaiter::Produce(part_of) => self.produce_abandoned(part_of, refused),
                waiter => self.internal_append_failed(waiter, &refused),
            }
        }
        woken.into_iter().for_each(|watcher| self.wake(watcher));
    }

    /// The coordinators of partitions that are offline are given up.
    fn resign_groups_of(&mut self, logs: &[LogId]) {
        let Some(topic) = self.image.topic(CONSUMER_OFFSETS).cloned() else { return };
        for (index, placed) in (0..).zip(&topic.partitions) {
            if logs.contains(&LogId(placed.log_id)) {
                self.resign_groups(index);
            }
        }
    }

    /// What lies in a log's data directory cannot be used.
    pub(super) fn directory_of_log_failed(&mut self, log: LogId, reason: &str) {
        if let Some(partition) = self.partitions.get_mut(log) {
            let directory = partition.slot.directory();
            self.directory_failed(directory, reason);
        }
    }
}
