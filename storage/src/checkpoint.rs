//! What a shard knows of its logs, made durable so that the journal before it is not needed any more.
//!
//! ```text
//! checkpoint/<incarnation>-base        every log as recovery left it; its rename makes the start count
//!           /<incarnation>-<shard>-0   what this shard's logs became since, record by record
//!           /<incarnation>-<shard>-1   the same, written anew from its logs when 0 became too large
//! ```
//!
//! The newest record of a log counts.

pub mod format;
pub mod record;

use std::path::PathBuf;

/// The directory of all checkpoint files.
pub(crate) const DIRECTORY: &str = "checkpoint";

/// The file that recovery writes.
pub(crate) fn base_path(incarnation: u64) -> PathBuf {
    format!("{DIRECTORY}/{incarnation:08}-base").into()
}

/// The file that a shard adds to.
pub(crate) fn shard_path(incarnation: u64, shard: u32, generation: u32) -> PathBuf {
    format!("{DIRECTORY}/{incarnation:08}-{shard:03}-{generation:06}").into()
}

/// What a name in the directory says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    Base { incarnation: u64 },
    Shard { incarnation: u64, shard: u32, generation: u32 },
}

/// Reads a file's name; none for a temporary file.
pub(crate) fn parse_name(name: &str) -> Option<Named> {
    let mut parts = name.split('-');
    let incarnation = parts.next()?.parse().ok()?;
    let named = match (parts.next()?, parts.next()) {
        ("base", None) => Named::Base { incarnation },
        (shard, Some(generation)) => {
            Named::Shard { incarnation, shard: shard.parse().ok()?, generation: generation.parse().ok()? }
        }
        _ => return None,
    };
    parts.next().is_none().then_some(named)
}
