//! The `skein` command: a node, the clients' commands, and tools for what lies on disk.
#![forbid(unsafe_code)]

pub mod client;
pub mod commands;
pub mod sim;
