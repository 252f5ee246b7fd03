//! What compaction keeps of a log, as Apache Kafka's log cleaner does it: the last record of each key.
//!
//! ```text
//! log      clean: each key once │ dirty: as appended       │ not yet: too young, or active
//!          0                    clean offset               end
//!          └──────────────── filter ───────────────────────┘
//!                                └ survey, build: map ─────┘
//! ```
//!
//! | pass | reads | for |
//! |---|---|---|
//! | survey, only of logs with transactions | headers of everything up to the end | [`transactions`]: which were aborted |
//! | build | the dirty part | [`map`]: the last offset of each key |
//! | filter | everything up to the end | [`judge`]: what of each batch stays; [`rewrite`]: the batch without the rest |
//!
//! Where not all keys fit the map, the pass ends where it was full, and the rest is left to the next one.
//! Who reads, writes and swaps files is `crate::store::compaction`.

pub(crate) mod judge;
pub(crate) mod map;
pub(crate) mod rewrite;
pub(crate) mod transactions;
pub(crate) mod walk;

#[cfg(test)]
mod tests;
