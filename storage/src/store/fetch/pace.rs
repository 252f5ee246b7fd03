//! How many bytes the device may have to read at once, so that the journal's next write does not wait long behind them.
//!
//! A device serves what it is given in about that order, so a write waits for the reads before it: 8 MiB under way
//! delay it by 8 ms and more on a device that reads 1 GiB/s, and bring hardly more bandwidth than 1 MiB does. How much
//! is too much differs by device; the journal's own writes tell, each time one ends. As in TCP's congestion avoidance,
//! one that took long halves what may be under way, and time adds to it slowly.

/// What one read may have, where so many bytes may be under way: two of them, or the smallest one. Sizes of regions.
const PIECES: [usize; 3] = [4 << 20, 1 << 20, PIECE_BYTES_MIN];
/// A read's bytes where as little as possible is to be under way.
pub(super) const PIECE_BYTES_MIN: usize = 256 << 10;
/// Bytes under way at the least, and at the most.
const BYTES_MIN: usize = PIECE_BYTES_MIN;
const BYTES_MAX: usize = 8 << 20;
/// A write took long if it took so many times what the quickest take, and this time more.
const LONG_FACTOR: u64 = 2;
const LONG_NS: u64 = 300_000;
/// The quickest write is forgotten slowly, so that a device that has become slower is not taken for a busy one: what it
/// took doubles in so many nanoseconds.
const FORGET_NS: u64 = 60_000_000_000;
/// What a write is taken to need before one was seen: those that come first may be behind reads.
const FIRST_NS: u64 = 500_000;
/// How fast more is allowed again: so many bytes for each such time, in nanoseconds.
const STEP_BYTES: u64 = 64 << 10;
const STEP_NS: u64 = 100_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes that might be under way when a write last took long, and when that was.
    bytes: usize,
    long_at: u64,
    /// What the quickest write took, forgotten slowly, and when that was last reckoned.
    quickest_ns: u64,
    reckoned_at: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { bytes: BYTES_MAX, long_at: 0, quickest_ns: FIRST_NS, reckoned_at: 0 }
    }
}

impl Pace {
    /// A write of the journal ended; `is_shared` says whether there were reads meanwhile.
    pub(super) fn written(&mut self, duration_ns: u64, is_shared: bool, now_ns: u64) {
        let passed_ns = now_ns.saturating_sub(self.reckoned_at).min(FORGET_NS);
        let forgotten = (u128::from(self.quickest_ns) * u128::from(passed_ns) / u128::from(FORGET_NS)) as u64;
        let quickest = duration_ns.min(self.quickest_ns.saturating_add(forgotten));
        (self.quickest_ns, self.reckoned_at) = (quickest, now_ns);
        let is_long = duration_ns > quickest.saturating_mul(LONG_FACTOR).saturating_add(LONG_NS);
        // Reads that were under way before the last change tell nothing about it.
        if is_long && is_shared && now_ns.saturating_sub(self.long_at) >= duration_ns {
            self.bytes = (self.bytes_max(now_ns) / 2).max(BYTES_MIN);
            self.long_at = now_ns;
        }
    }

    /// Bytes that may be under way now.
    pub(super) fn bytes_max(&self, now_ns: u64) -> usize {
        let steps = now_ns.saturating_sub(self.long_at) / STEP_NS;
        let grown = steps.saturating_mul(STEP_BYTES).min(BYTES_MAX as u64) as usize;
        (self.bytes + grown).min(BYTES_MAX)
    }

    /// What one read should have at the most.
    pub(super) fn piece_bytes(&self, now_ns: u64) -> usize {
        let bytes_max = self.bytes_max(now_ns);
        PIECES.into_iter().find(|&piece| 2 * piece <= bytes_max).unwrap_or(PIECE_BYTES_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE_NS: u64 = 150_000;
    /// Between two writes of the journal.
    const REST_NS: u64 = 2_000_000;

    /// A device that serves everything in the order it came, and reads one byte a nanosecond.
    #[derive(Default)]
    struct Device {
        pace: Pace,
        now_ns: u64,
        free_at: u64,
        /// When the reads under way end, and their bytes.
        reads: std::collections::VecDeque<(u64, usize)>,
        read_bytes: u64,
    }

    impl Device {
        /// Time passes; a reader that always wants more is served as the pace allows.
        fn read_until(&mut self, until_ns: u64) {
            loop {
                let under_way: usize = self.reads.iter().map(|(_, bytes)| bytes).sum();
                let piece = self.pace.piece_bytes(self.now_ns);
                if under_way == 0 || under_way + piece <= self.pace.bytes_max(self.now_ns) {
                    self.free_at = self.free_at.max(self.now_ns) + piece as u64;
                    self.reads.push_back((self.free_at, piece));
                    continue;
                }
                let (end_ns, bytes) = self.reads[0];
                if end_ns > until_ns {
                    self.now_ns = until_ns;
                    return;
                }
                self.now_ns = end_ns;
                self.reads.pop_front();
                self.read_bytes += bytes as u64;
            }
        }

        /// A write of the journal; what it took.
        fn write(&mut self) -> u64 {
            let began = self.now_ns;
            let is_shared = !self.reads.is_empty();
            let end = self.free_at.max(began) + WRITE_NS;
            self.free_at = end;
            self.read_until(end);
            self.pace.written(end - began, is_shared, end);
            end - began
        }
    }

    #[test]
    fn a_journal_beside_a_cold_reader_waits_little_and_the_reader_gets_most_of_the_device() {
        let mut device = Device::default();
        let mut took = Vec::new();
        for at in 0..2000 {
            // Not in step with the reads.
            device.read_until(device.now_ns + REST_NS + at % 7 * 100_000);
            took.push(device.write());
        }
        let begun = took.split_off(100);
        let mut settled = begun;
        settled.sort_unstable();
        let (median, worst) = (settled[settled.len() / 2], settled[settled.len() - 1]);
        assert!(median < 3 * WRITE_NS + LONG_NS, "the median write took {median} ns");
        assert!(worst < 2_000_000, "the longest write took {worst} ns");
        let share = device.read_bytes as f64 / device.now_ns as f64;
        assert!(share > 0.8, "the reader got {share:.2} of the device");
    }

    #[test]
    fn a_long_write_halves_what_may_be_under_way_and_time_brings_it_back() {
        let mut pace = Pace::default();
        pace.written(WRITE_NS, false, 0);
        pace.written(50 * WRITE_NS, true, 1_000_000_000);
        assert_eq!((pace.bytes_max(1_000_000_000), pace.piece_bytes(1_000_000_000)), (4 << 20, 1 << 20));
        for at in 2..10 {
            pace.written(50 * WRITE_NS, true, 1_000_000_000 + at * 50 * WRITE_NS);
        }
        let last_ns = 1_000_000_000 + 9 * 50 * WRITE_NS;
        assert_eq!((pace.bytes_max(last_ns), pace.piece_bytes(last_ns)), (BYTES_MIN, PIECE_BYTES_MIN));
        assert_eq!(pace.bytes_max(last_ns + 60_000_000_000), BYTES_MAX);
    }

    #[test]
    fn a_long_write_without_reads_changes_nothing() {
        let mut pace = Pace::default();
        pace.written(WRITE_NS, false, 0);
        pace.written(50 * WRITE_NS, false, 1_000_000_000);
        assert_eq!(pace.bytes_max(1_000_000_000), BYTES_MAX);
    }

    #[test]
    fn a_device_that_becomes_slower_for_good_is_not_taken_for_a_busy_one_for_ever() {
        let mut pace = Pace::default();
        pace.written(WRITE_NS, false, 0);
        for at in 1..10_000 {
            pace.written(10 * WRITE_NS, true, at * 10 * REST_NS);
        }
        assert!(pace.bytes_max(9_999 * 10 * REST_NS) > 4 << 20);
    }
}
