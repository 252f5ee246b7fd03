//! Load, and what it costs.
//!
//! - [`request`]: requests encoded before the clock runs; [`load`]: connections that keep them in flight
//! - [`echo`]: a server that only answers, on the broker's ring: the floor
//! - [`admin`]: topics for the load; [`node`]: servers as child processes
//! - [`process`], [`machine`]: what the kernel counts
//! - [`report`]: all figures of `docs/performance.md`
#![forbid(unsafe_code)]

pub mod admin;
mod connection;
pub mod echo;
pub mod error;
pub mod load;
pub mod machine;
pub mod node;
pub mod process;
pub mod report;
pub mod request;

pub use error::Error;
