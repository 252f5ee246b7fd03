//! From the files of a data directory to the stores of its shards, blocking, before the first turn.
//!
//! ```text
//! skein.meta ─► checkpoint ─► journals of that start, all shards' ─► logs ─► stores of any number of shards
//!
//! into_stores, safe to interrupt anywhere:
//!   raise the incarnation ─► finish closed segments, write what is too much to carry
//!     ─► write the rest to new journals ─► write the base checkpoint ═► its rename makes the start count
//!     ─► recycle the old extents
//! ```
//!
//! Its time is bounded by the journals, not by the data: no segment is scanned.

mod branch;
mod carry;
mod checkpoints;
mod found;
mod identity;
mod repair;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::Error;
use crate::batch;
use crate::disk::Disk;
use crate::io::DataDirectory;
use crate::journal::format::Entry;
use crate::journal::replay::{self, ExtentFile, JournalId, Replayed, Scope};
use crate::log::LogId;
use crate::mutation::{self, Mutation};
use crate::store::{self, Store};

pub use branch::Branch;
pub use identity::{CLUSTER_ID_BYTES_MAX, FILE as IDENTITY_FILE, Identity};
pub use repair::{DAMAGED_DIRECTORY, Finding, IndexFinding, Remedy};

use found::{At, Found};

/// What recovery found in a data directory, before it is dealt out to shards.
pub struct Recovered<'a> {
    disk: &'a dyn Disk,
    identity: Identity,
    /// The number of the latest start that wrote anything.
    incarnation: u64,
    logs: BTreeMap<LogId, Found>,
    extents: Vec<ExtentFile>,
    checkpoints: Vec<PathBuf>,
}

impl std::fmt::Debug for Recovered<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovered").field("identity", &self.identity).field("logs", &self.logs.len()).finish()
    }
}

/// Who the data directory is; none for an empty one.
///
/// # Errors
/// See [`Error`]: not ours, newer, corrupt, or refused by the operating system.
pub fn identify(disk: &dyn Disk) -> Result<Option<Identity>, Error> {
    Ok(identity::read(disk)?.map(|(identity, _)| identity))
}

/// Reads the newest checkpoint and replays every journal. Changes nothing. An empty directory will become a new
/// one with the identity `fresh`.
///
/// # Errors
/// See [`Error`]: not ours, newer, corrupt, or refused by the operating system.
pub fn recover<'a>(disk: &'a dyn Disk, fresh: &Identity) -> Result<Recovered<'a>, Error> {
    let (identity, latest) = identity::read(disk)?.unwrap_or_else(|| {
        Branch::NewDirectory.reach();
        (fresh.clone(), 0)
    });
    let checkpoint = checkpoints::read(disk, identity.directory_id)?;
    let extents = replay::list(disk)?;
    let mut logs = BTreeMap::new();
    for (id, record) in checkpoint.logs {
        logs.insert(id, Found::from_record(record, disk)?);
    }
    if let Some(incarnation) = checkpoint.incarnation {
        let scope = Scope { incarnation, directory_id: identity.directory_id };
        let journals = replay::replay(disk, &extents, scope, &checkpoint.starts)?;
        apply(&journals, &mut logs)?;
    }
    for found in logs.values_mut().filter(|found| !found.is_deleted) {
        found.complete(disk)?;
    }
    let used = extents.iter().filter_map(|extent| extent.header).map(|header| header.incarnation);
    let incarnation = used.chain([latest]).max().unwrap_or(latest);
    Ok(Recovered { disk, identity, incarnation, logs, extents, checkpoints: checkpoint.files })
}

/// Applies the entries of all journals, each shard's two in their common order.
fn apply(journals: &BTreeMap<JournalId, Replayed>, logs: &mut BTreeMap<LogId, Found>) -> Result<(), Error> {
    let shards: std::collections::BTreeSet<u32> = journals.keys().map(|id| id.shard).collect();
    for shard in shards {
        let of = |is_cached| journals.get(&JournalId { shard, is_cached }).into_iter().flat_map(Replayed::entries);
        let (mut durable, mut cached) = (of(false).peekable(), of(true).peekable());
        Branch::BothJournals.reach_if(durable.peek().is_some() && cached.peek().is_some());
        let mut latest = [0; 2];
        loop {
            let takes_durable = match (durable.peek(), cached.peek()) {
                (Some((order, ..)), Some((other, ..))) => order <= other || mutation::is(Mutation::ReplayOutOfOrder),
                (first, _) => first.is_some(),
            };
            let next = if takes_durable { durable.next() } else { cached.next() };
            let Some((order, path, position, entry)) = next else { break };
            let latest = &mut latest[usize::from(takes_durable)];
            if order < *latest {
                return Err(Error::corrupt(path, position, "the journal goes back in its order"));
            }
            *latest = order;
            let Entry { log, body, .. } = entry;
            let found = logs.entry(log).or_insert_with(|| Found::new(log));
            if !Branch::EntryOfDeletedLog.reach_if(found.is_deleted) {
                found.apply(At { path, position, order }, &body)?;
            }
        }
    }
    Ok(())
}

impl Recovered<'_> {
    /// Who the data directory is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The logs that were found, ordered by id.
    #[must_use]
    pub fn logs(&self) -> Vec<LogId> {
        self.logs.values().filter(|found| !found.is_deleted).map(|found| found.id).collect()
    }

    /// First and end offset of a log; none if there is no such log.
    #[must_use]
    pub fn offsets_of(&self, id: LogId) -> Option<(i64, i64)> {
        self.logs.get(&id).filter(|found| !found.is_deleted).map(|found| (found.start_offset, found.end_offset))
    }

    /// All batches of a log (the metadata log), checked: from the one that holds its start offset on. Empty if
    /// there is no such log.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Io`].
    pub fn records_of(&self, id: LogId) -> Result<Vec<u8>, Error> {
        let mut records = Vec::new();
        let Some(found) = self.logs.get(&id).filter(|found| !found.is_deleted) else { return Ok(records) };
        for (&base, segment) in &found.segments {
            let bytes = found.read(self.disk, base, 0, segment.segment.bytes)?;
            let mut batches = batch::batches(&bytes);
            loop {
                let at = batches.position();
                match batches.next() {
                    None => break,
                    Some(Ok(batch)) if batch.crc() == batch.computed_crc() => {
                        if batch.next_offset() > found.start_offset {
                            records.extend_from_slice(batch.bytes());
                        }
                    }
                    Some(_) => {
                        let path = segment.segment.path(&found.directory);
                        return Err(Error::corrupt(path, at as u64, "a record batch is damaged"));
                    }
                }
            }
        }
        Ok(records)
    }

    /// Makes the recovered state that of `shards` fresh stores; log `id` goes to the store `place(id)`. Safe to
    /// interrupt anywhere: the next [`recover`] finds the same.
    ///
    /// # Errors
    /// [`Error::Io`], among others where the disk is full.
    ///
    /// # Panics
    /// If `place` names a store that there is not.
    pub fn into_stores(
        self,
        shards: usize,
        place: impl Fn(LogId) -> usize,
        options: &store::Options,
    ) -> Result<Vec<Store>, Error> {
        self.into_stores_of(DataDirectory::FIRST, shards, place, options)
    }

    /// As [`Self::into_stores`], where the data directory is the node's `directory`.
    ///
    /// # Errors
    /// As [`Self::into_stores`].
    ///
    /// # Panics
    /// As [`Self::into_stores`].
    pub fn into_stores_of(
        self,
        directory: DataDirectory,
        shards: usize,
        place: impl Fn(LogId) -> usize,
        options: &store::Options,
    ) -> Result<Vec<Store>, Error> {
        carry::into_stores(self, directory, shards, &place, options)
    }
}
