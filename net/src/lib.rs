//! Frames, connections and the codec of the Kafka protocol.
pub mod ops;
