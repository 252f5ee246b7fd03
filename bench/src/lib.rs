//! Load, and what it costs.
//!
//! - [`workload`]: what to do to a broker, as data
//! - [`generator`]: does it, each thread on a ring of its own; [`rates`]: at one rate after another
//! - [`hlog`]: latencies as files of histograms
//! - [`echo`]: a server that only answers, on the broker's ring: the floor
//! - [`admin`]: topics for the load; [`node`]: servers as child processes
//! - [`process`], [`machine`], [`trace`]: what the kernel counts; [`metrics`]: what a node says of itself; [`disk`]: what the disk does by itself
//! - [`compare`]: brokers side by side; [`stats`]: medians, and how sure they are
//! - [`page`]: a comparison as HTML and Markdown; [`diff`]: beside an earlier one
#![forbid(unsafe_code)]

pub mod admin;
pub mod compare;
mod contents;
pub mod diff;
pub mod disk;
pub mod echo;
pub mod error;
pub mod generator;
pub mod hlog;
pub mod machine;
pub mod metrics;
pub mod node;
pub mod page;
pub mod process;
pub mod rates;
mod request;
pub mod stats;
pub mod trace;
pub mod workload;

pub use error::Error;
