//! One partition's log: its name, its configuration and its state.

pub mod config;
pub(crate) mod state;

pub use config::{Durability, LogConfig};

/// The durable name of one partition's log: assigned by the controller, never used again. 0 is the metadata log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u64);

impl std::fmt::Display for LogId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The handle of an attached log within one shard's [`crate::Store`]: small, dense, used again after a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(crate) u32);

impl Slot {
    /// The slot as an array index: below the largest number of logs that were ever attached at once.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
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
