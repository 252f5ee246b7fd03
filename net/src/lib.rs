//! Frames, connections and the codec of the Kafka protocol.
//!
//! Nothing here performs I/O: bytes come in as slices, what shall be done to sockets goes out as [`ops`].
//!
//! - [`api`]: the types of every request and response, generated from the schema; [`wire`]: what they are made of.
//! - [`produce`], [`fetch`]: the two busiest of them without allocations.
//! - [`frame`]: requests cut out of received bytes; [`Answer`]: a response ready to be sent.
//! - [`connection`]: one client's requests and answers, in order and within budgets.
#![forbid(unsafe_code)]

mod answer;
pub mod api;
pub mod connection;
pub mod fetch;
pub mod frame;
mod header;
mod message;
pub mod ops;
pub mod produce;
mod topic;
mod uuid;
pub mod wire;

pub use answer::Answer;
pub use api::ApiKey;
pub use connection::Connection;
pub use frame::{Frame, FrameError};
pub use header::{RequestHeader, ResponseHeader};
pub use message::{Message, Request};
pub use topic::Topic;
pub use uuid::{InvalidUuid, Uuid};
pub use wire::{DecodeError, Reader, Reason};
