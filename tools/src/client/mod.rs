//! A client of any Kafka-protocol broker, on threads and blocking sockets.
//!
//! ```text
//!   admin     what brokers can be asked and told: topics, configurations, offsets, groups
//!   producer  records ─► batches ─► requests in flight, acknowledged in order
//!   consumer  fetches in flight ─► batches ─► records
//!   group     a member of a consumer group: join, sync, heartbeat, commit, leave
//!   config_admin  what is set on topics, brokers, groups and client metrics
//!   topic_admin  topics from outside: more partitions, fewer records
//!   features  what the nodes agree on
//!   group_admin  groups from outside: lags, offsets, deletion
//!   quota     what clients may use
//!   ────────
//!   cluster     brokers, topics, leaders; one connection a broker
//!   link        a connection whose answers come as events
//!   connection  frames, correlation, versions
//! ```
//! Each layer uses those below it. Topics always go by name.

mod address;
pub mod admin;
mod assignor;
mod cluster;
mod code;
pub mod config_admin;
mod connection;
mod consumer;
mod consumer_protocol;
mod error;
pub mod features;
mod group;
pub mod group_admin;
mod interrupt;
mod link;
pub mod nearest;
pub mod partitioner;
mod producer;
pub mod quota;
pub mod records;
mod settings;
pub mod topic_admin;

pub use address::{Address, DEFAULT_PORT, InvalidAddress};
pub use cluster::{Broker, Cluster, Node, Partition, Topic};
pub use code::Code;
pub use connection::{Answer, Connection, Requester, Responder};
pub use consumer::{Consumer, Fetched, Message, Start, resolve};
pub use error::{Error, Result};
pub use group::{Commit, Member};
pub use interrupt::{Interrupt, Trigger};
pub use link::{Event, LinkId};
pub use producer::{Delivery, Failure, Producer, Record};
pub use settings::{Acks, ConsumerSettings, IN_FLIGHT_MAX, Isolation, ProducerSettings, Reset, Set, Settings};
