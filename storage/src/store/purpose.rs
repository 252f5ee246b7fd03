//! What the requests in flight are for.

use super::compaction::Piece;
use crate::log::{Durability, LogId, Slot};

/// What to do when a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A journal's group.
    Journal(Durability),
    /// A step of preparing a journal's extent.
    Fill(Durability),
    /// A step of the round that writes segments and checkpoint.
    Round,
    /// A step of a large append's write.
    Large(u64),
    /// Bytes for a read or a lookup.
    Fetch(u64),
    /// Bytes for the scrubber.
    Scrub,
    /// A log's last block, for an append.
    LastBlock(Slot, LogId),
    /// A piece of compaction.
    Compaction(Piece),
    /// Files of a deleted log or segment; failures are tried again at the next start.
    Removal,
    /// Bytes for the truncation of a log, or the removal of a file that it cut off.
    Truncation(Slot, LogId),
    /// The size of the file system.
    Volume,
    /// Nobody waits for it.
    Forgotten,
}
