//! One shard's durable logs: journal, segments, indexes, recovery.
//!
//! | what | where |
//! |---|---|
//! | the shard's side: append, read, events | [`store`], [`stores`] |
//! | one log | [`log`], [`segment`], `tail` |
//! | what makes appends durable | [`journal`] |
//! | what makes the journal short | [`checkpoint`] |
//! | from files to stores at a start | [`recovery`], [`disk`] |
//! | record batches | [`batch`], [`record`], [`builder`], [`compression`], [`validate`] |
//! | stored bytes that may be damaged | [`verify`], [`filler`] |
//! | what a log remembers | [`producers`], [`transactions`], [`epochs`], [`index`] |
//! | memory and I/O as data | [`buffer`], [`io`], [`simulated`] |
//! | the last record of each key | `compaction`, `store::compaction` |
//! | how long things take | [`latency`] |
//! | faults on purpose, for tests | [`mutation`] |

pub mod batch;
pub mod buffer;
pub mod builder;
pub mod checkpoint;
mod compaction;
pub mod compression;
pub mod disk;
pub mod epochs;
pub mod error;
pub mod filler;
pub mod index;
pub mod io;
pub mod journal;
pub mod latency;
pub mod log;
pub mod mutation;
pub mod producers;
pub mod record;
pub mod recovery;
pub mod scan;
pub mod segment;
pub mod simulated;
pub mod store;
pub mod stores;
mod tail;
pub mod transactions;
pub mod validate;
pub mod varint;
pub mod verify;

pub use error::Error;
pub use log::{Compaction, Durability, LogConfig, LogId, Now, Slot};
pub use store::Store;
pub use stores::Stores;
