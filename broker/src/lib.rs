//! The broker: shards that serve the Kafka protocol from their own storage, and what drives them.
//!
//! - [`shard`]: one pinned thread's share of the broker, as a state machine; start reading here
//! - [`turn`], [`pump`], [`driver`]: what a turn is, and what runs it on a core (or in the simulator)
//! - [`metadata`]: topics and partitions: controller, image, requests about them
//! - [`group`]: consumer groups and their committed offsets
//! - [`quota`]: what clients may use, and how their use is measured
//! - [`telemetry`]: what clients say of themselves
//! - [`config`]: every property, from the command line to what a log goes by
//! - [`admin`]: metrics and health over HTTP
//! - [`assemble`], [`node`], [`listen`]: from a data directory and a configuration to a running node
//! - [`directory`]: what is known of a data directory
//! - [`error_code`] and `outcome`: Kafka's error codes, and the one place where outcomes become codes

pub mod admin;
pub mod assemble;
pub mod config;
pub mod directory;
pub mod driver;
pub mod error_code;
pub mod group;
pub mod listen;
pub mod metadata;
pub mod node;
mod outcome;
pub mod pump;
pub mod quota;
pub mod shard;
pub mod telemetry;
pub mod turn;
