//! What the tests of a node share: the node as a process, a raw client, batches, conditions to wait on.

pub(crate) mod batch;
pub(crate) mod broker;
pub(crate) mod client;
pub(crate) mod node;
mod oracle;
pub(crate) mod wait;
