//! A disk of memory that forgets, tears and reorders what was not synced: storage's side of the simulator.
//!
//! ```text
//!  Request ──► Queue ── at its seeded time ──► Disk ──► Completion
//!                                               │
//!                                    crash: what no sync covered is
//!                                    kept, lost or torn, by the seed
//! ```
//!
//! The fault model, after `io`'s rules:
//! - Contents: each 512-byte sector that was written and not synced since comes back as any of the versions it had
//!   since the last sync, the synced one included, torn between two of them, or holding anything, independently of its
//!   neighbours.
//!   A lost write thus shows the *old* bytes, so that what a recycled file held before can reappear.
//! - Lengths: any length the file had since the last sync.
//! - Names: any subset of a directory's unsynced creations, removals and renames. A rename is kept or lost whole.
//!   Syncing a file does not make its name durable; syncing a directory does not make the directory's own name so.
//! - Requests in flight at the power cut had any part of their effect.
//! - A failed write may have had any part of its effect. What a failed sync did not cover is covered by no later
//!   sync, until it is written again (as Linux does).
//!
//! Everything follows from the seed: same seed and same calls, same results.

mod blocking;
mod directory;
mod disk;
mod file;
mod queue;
mod random;

pub use blocking::Blocking;
pub use disk::{Counts, Disk, Faults, Owner};
pub use queue::{Latency, Queue};
pub use random::Random;
