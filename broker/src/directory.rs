//! The node's data directories, as they were found at its start and as they fare.

use std::path::PathBuf;
use std::sync::Arc;

use net::Uuid;

/// A data directory. Its place among all is its number (see [`storage::io::DataDirectory`]).
#[derive(Debug, Clone)]
pub struct Opened {
    /// Its id (KIP-858); zero is the one that has the metadata.
    pub id: Uuid,
    /// Where it lies, as clients are told.
    pub path: PathBuf,
    /// Why it is offline, if it is.
    pub offline: Option<Arc<str>>,
}

impl Opened {
    /// Whether it is in use.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.offline.is_none()
    }
}
