//! One shard's durable logs: journal, segments, indexes, recovery.

pub mod buffer;
pub mod io;
