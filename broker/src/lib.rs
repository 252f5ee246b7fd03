//! The shard and its turn, drivers, request handlers, coordinators, metadata.

pub mod config;
pub mod driver;
pub mod error_code;
pub mod metadata;
pub mod turn;
