//! Load, and what it costs.
//!
//! - [`workload`]: what to do to a broker, as data
//! - [`generator`]: does it, each thread on a ring of its own; [`rates`]: at one rate after another
//! - [`hlog`]: latencies as files of histograms
//! - [`echo`]: a server that only answers, on the broker's ring: the floor
//! - [`admin`]: topics for the load; [`node`]: servers as child processes
//! - [`process`], [`machine`]: what the kernel counts
//! - [`compare`]: brokers side by side; [`stats`]: medians, and how sure they are
//! - [`page`]: a comparison as HTML and Markdown; [`diff`]: beside an earlier one
//! - [`report`]: all figures of `docs/performance.md`
#![forbid(unsafe_code)]

pub mod admin;
pub mod compare;
mod contents;
pub mod diff;
pub mod echo;
pub mod error;
pub mod generator;
pub mod hlog;
pub mod machine;
pub mod node;
pub mod page;
pub mod process;
pub mod rates;
pub mod report;
mod request;
pub mod stats;
pub mod workload;

pub use error::Error;
