//! The shard and its turn, drivers, request handlers, coordinators, metadata.

pub mod config;
pub mod driver;
pub mod error_code;
pub mod group;
pub mod metadata;
pub mod turn;
mod outcome;
pub mod shard;
pub mod assemble;
