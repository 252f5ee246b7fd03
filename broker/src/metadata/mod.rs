//! Metadata: what topics, partitions and configurations there are.
//!
//! ```text
//!            client's wish                      metadata log (log id 0)
//!                 │                                     │ durable
//!                 ▼                                     ▼
//!   Controller (shard 0) ──► Change { records, image } ──► Arc<Image> on every shard
//!      checks against the               records are replayed into the same image
//!      newest image, durable or not     at the next start
//! ```
//!
//! Nothing here does I/O or reads a clock. The controller decides, the caller appends a change's records to the
//! metadata log and, once they are durable, swaps the image on every shard, in the order of the changes.
#![forbid(unsafe_code)]

pub mod api;
pub mod controller;
mod create;
pub mod features;
mod identity;
mod image;
pub mod names;
mod placement;
mod producer_ids;
mod quotas;
pub mod record;
mod shared_map;

#[cfg(test)]
mod tests;

pub use controller::{Change, Controller, Rules};
pub use create::{Assignment, Created, NewTopic, REQUEST_PARTITIONS_MAX, Refusal};
pub use identity::random_uuid;
pub use image::{Image, Inconsistent, Partition, Topic};
pub use placement::{METADATA_LOG_ID, METADATA_SHARD, shard_of};
pub use producer_ids::{PRODUCER_ID_BLOCK, ProducerIds};
pub use quotas::AlterQuota;
pub use record::Record;
