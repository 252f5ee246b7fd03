//! One partition's log: its name, its configuration and its state.

pub mod config;
pub(crate) mod state;

pub use config::{Compaction, Durability, LogConfig};

use crate::io::DataDirectory;

/// The durable name of one partition's log: assigned by the controller, never used again. 0 is the metadata log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u64);

impl std::fmt::Display for LogId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The handle of an attached log within one shard: its data directory (the upper 8 bits), and its place in the
/// [`crate::Store`] there, which is small, dense, and used again after a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// How many logs a store may have.
    const COUNT_MAX: usize = 1 << 24;

    /// # Panics
    /// If a store has more logs than there are slots.
    pub(crate) fn new(directory: DataDirectory, index: usize) -> Self {
        assert!(index < Self::COUNT_MAX, "logs of a store are counted in 24 bits");
        Self(u32::from(directory.0) << 24 | index as u32)
    }

    /// The data directory that has the log.
    #[must_use]
    pub fn directory(self) -> DataDirectory {
        DataDirectory((self.0 >> 24) as u8)
    }

    /// The log's place in its store: below the largest number of logs that were ever attached there at once.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize & (Self::COUNT_MAX - 1)
    }
}

/// The time of a turn, given by whoever drives the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds that only grow: for deadlines.
    pub monotonic_ns: u64,
    /// Milliseconds since 1970, which may jump either way: for timestamps and retention.
    pub wall_ms: i64,
}
