//! One shard's durable logs: journal, segments, indexes, recovery.



pub mod buffer;
pub mod disk;
pub mod error;
pub mod io;
pub mod simulated;

pub use error::Error;
