//! One shard's durable logs: journal, segments, indexes, recovery.

pub mod batch;
pub mod buffer;
pub mod builder;
pub mod compression;
pub mod disk;
pub mod epochs;
pub mod error;
pub mod index;
pub mod io;
pub mod log;
pub mod producers;
pub mod record;
pub mod recovery;
pub mod scan;
pub mod simulated;
pub mod store;
pub mod validate;
pub mod varint;

pub use error::Error;
pub use log::{Durability, LogConfig, LogId, Now, Slot};
pub use store::Store;
