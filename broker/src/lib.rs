//! The shard and its turn, drivers, request handlers, coordinators, metadata.

pub mod driver;
pub mod error_code;
