//! Frames, connections and the codec of the Kafka protocol.
//!
//! Nothing here performs I/O: bytes come in as slices, what shall be done to sockets goes out as [`ops`].
#![forbid(unsafe_code)]

pub mod api;
mod header;
mod message;
pub mod ops;
mod uuid;
pub mod wire;

pub use api::ApiKey;
pub use header::{RequestHeader, ResponseHeader};
pub use message::{Message, Request};
pub use uuid::{InvalidUuid, Uuid};
pub use wire::{DecodeError, Reader, Reason};
