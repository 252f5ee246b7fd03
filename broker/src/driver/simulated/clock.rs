//! Virtual time.

use std::cell::Cell;

/// When a simulation starts on the wall clock: 2024-01-01, in milliseconds since 1970.
const WALL_START_MS: i64 = 1_704_067_200_000;

/// The clocks of one machine. Only the harness moves them.
#[derive(Debug, Default)]
pub struct Clock {
    monotonic_ns: Cell<u64>,
    wall_offset_ms: Cell<i64>,
}

impl Clock {
    /// Nanoseconds since the simulation began.
    #[must_use]
    pub fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.get()
    }

    /// Milliseconds since 1970, as the machine believes.
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        WALL_START_MS + (self.monotonic_ns.get() / 1_000_000) as i64 + self.wall_offset_ms.get()
    }

    /// Moves both clocks forward.
    ///
    /// # Panics
    /// If `monotonic_ns` lies in the past.
    pub fn advance_to(&self, monotonic_ns: u64) {
        assert!(monotonic_ns >= self.monotonic_ns.get(), "time does not go back");
        self.monotonic_ns.set(monotonic_ns);
    }

    /// Somebody sets the wall clock, forward or back.
    pub fn jump_wall(&self, by_ms: i64) {
        self.wall_offset_ms.set(self.wall_offset_ms.get() + by_ms);
    }
}
