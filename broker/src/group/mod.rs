//! Consumer groups of the classic protocol, and the offsets they commit.
//!
//! A group belongs to one partition of `__consumer_offsets` ([`partition_for`]); a [`Coordinator`] is the state
//! machine of all groups of one such partition. It does no I/O and asks no clock: requests, deadlines and the ends
//! of its appends come in as calls, replies and appends go out as [`Effects`].
//!
//! ```text
//!             load, loaded                    ┌───────────────┐  appends   partition of
//!  partition ─────────────►  ┌─────────────┐  │    Effects    │──────────► __consumer_offsets ──┐
//!                            │ Coordinator │─►│               │                                 │
//!  handle(token, request) ──►│  groups     │  │               │  replies                        │
//!  tick(now) ───────────────►│  timers     │  │               │──────────► token's connection   │
//!  appended, append_failed ─►└─────────────┘  └───────────────┘                                 │
//!         ▲                                                                                     │
//!         └──────────────────────────── durable, or failed ─────────────────────────────────────┘
//! ```
//! What is answered is durable: an assignment is given out, an offset is shown and its commit acknowledged only when
//! its record is. What a member is told of a rebalance that is not finished may be lost with the process, and the
//! member then joins again.
//!
//! - [`message`]: requests and replies; [`Outcome`] and its error codes
//! - `classic`, `rebalance`: a group's state, and how it changes
//! - `join`, `member_requests`, `commit`, `removal`, `describe`: what each request does
//! - `offsets`, [`records`]: committed offsets; the records of the partition
//! - `timers`, `effects`: deadlines; what goes out and what is under way

pub mod api;
mod classic;
mod commit;
mod coordinator;
mod describe;
mod effects;
mod join;
mod member_requests;
pub mod message;
mod offsets;
mod outcome;
mod partition;
mod rebalance;
pub mod records;
mod removal;
mod subscription;
mod timers;

pub use classic::State;
pub use coordinator::Coordinator;
pub use effects::{APPEND_RECORDS_MAX, APPENDS_MAX, Append, AppendFailure, AppendId, Effects};
pub use join::{MEMBER_METADATA_BYTES_MAX, NEW_MEMBER_JOIN_TIMEOUT_MS, PENDING_MEMBERS_MAX};
pub use message::*;
pub use outcome::Outcome;
pub use partition::partition_for;
pub use records::Record;

/// What a coordinator goes by; the names of the properties are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: u64,
    /// `group.min.session.timeout.ms`
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`
    pub session_timeout_ms_max: i32,
    /// `group.max.size`
    pub group_size_max: usize,
    /// `offset.metadata.max.bytes`, in UTF-16 code units, as Kafka counts
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`, in milliseconds
    pub offsets_retention_ms: i64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            initial_rebalance_delay_ms: 0,
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 30 * 60 * 1000,
            group_size_max: i32::MAX as usize,
            offset_metadata_max: 4096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1000,
        }
    }
}

#[cfg(test)]
mod tests;
