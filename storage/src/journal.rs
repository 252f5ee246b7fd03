//! A shard's write-ahead log: small appends of all its logs, made durable together.
//!
//! ```text
//! Store::append ─► gathering ─► one group in flight ─► durable ─► Event::Durable
//!                  (the next group meanwhile)    │
//!                                                ▼ written whole again, same offsets, if it fails
//!                                            fresh extent
//! ```

pub mod format;
pub(crate) mod replay;
pub(crate) mod writer;

pub(crate) use writer::Journal;

/// Bytes of the first extent: small, so that a fresh node starts quickly.
pub(crate) const FIRST_EXTENT_BYTES: u64 = 1 << 20;
/// Bytes of every other extent, as long as nobody wants it otherwise.
pub(crate) const EXTENT_BYTES: u64 = 16 << 20;
/// The directory of all extents.
pub(crate) const DIRECTORY: &str = "journal";

/// The path of an extent: unique over all starts, because its creator's incarnation and shard are in it.
pub(crate) fn extent_path(incarnation: u64, shard: u32, number: u64) -> std::path::PathBuf {
    format!("{DIRECTORY}/{incarnation:08}-{shard:03}-{number:06}.extent").into()
}
