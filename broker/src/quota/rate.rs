//! How much was used lately: sampled rates, and a bucket of tokens, both as Kafka counts them.

use std::collections::VecDeque;

const SECOND_NS: f64 = 1e9;

/// The time over which use is counted: a number of windows of one length each (`quota.window.num`,
/// `quota.window.size.seconds`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// How many are kept, the current one among them; at least 1.
    pub count: u32,
    /// The length of each, in nanoseconds; at least 1.
    pub length_ns: u64,
}

impl Windows {
    /// Windows of whole seconds.
    pub fn of_seconds(count: u32, seconds: u32) -> Self {
        Self { count: count.max(1), length_ns: u64::from(seconds.max(1)) * 1_000_000_000 }
    }

    /// All of them together, in nanoseconds.
    pub fn span_ns(self) -> u64 {
        u64::from(self.count) * self.length_ns
    }

    /// All but the current one, in seconds: a use of this many times the limit is never more than the limit.
    pub fn full_seconds(self) -> f64 {
        (u64::from(self.count - 1).max(1) * self.length_ns) as f64 / SECOND_NS
    }
}

/// A rate over the last windows.
///
/// ```text
///    │ sample │ sample │   (nothing used)   │ sample │ current ┆
///    └─ start of the oldest, at most `count` windows ago         └─ now
/// ```
///
/// A sample begins with the first use after the one before has lasted its length, so a quiet time costs nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rate {
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    start_ns: u64,
    amount: f64,
}

impl Rate {
    /// Counts a use; a negative amount takes one back.
    pub fn record(&mut self, amount: f64, windows: Windows, now_ns: u64) {
        match self.samples.back_mut() {
            Some(last) if now_ns < last.start_ns + windows.length_ns => last.amount += amount,
            _ => {
                self.forget_old(windows, now_ns);
                self.samples.push_back(Sample { start_ns: now_ns, amount });
                if self.samples.len() > windows.count as usize {
                    self.samples.pop_front();
                }
            }
        }
    }

    /// Use per second, and the time over which it was counted, in nanoseconds. Too short a time counts as all but one
    /// of the windows, lest a burst at the beginning look like a high rate.
    pub fn measure(&mut self, windows: Windows, now_ns: u64) -> (f64, u64) {
        self.forget_old(windows, now_ns);
        let oldest_ns = self.samples.front().map_or(now_ns, |sample| sample.start_ns);
        let mut elapsed_ns = now_ns - oldest_ns.min(now_ns);
        let (full, least) = (elapsed_ns / windows.length_ns, u64::from(windows.count - 1));
        elapsed_ns += least.saturating_sub(full) * windows.length_ns;
        // With a single window there is no time yet at its very beginning.
        let elapsed_ns = elapsed_ns.max(1_000_000);
        let amount: f64 = self.samples.iter().map(|sample| sample.amount).sum();
        (amount / (elapsed_ns as f64 / SECOND_NS), elapsed_ns)
    }

    /// How long to wait until the rate is down to the limit; 0 if it is within it.
    pub fn throttle_ns(&mut self, limit: f64, windows: Windows, now_ns: u64) -> u64 {
        let (rate, elapsed_ns) = self.measure(windows, now_ns);
        if rate <= limit {
            return 0;
        }
        // A conversion of what is too large to a number of nanoseconds saturates.
        ((rate - limit) / limit * elapsed_ns as f64) as u64
    }

    /// Whether nothing of it counts any more.
    pub fn is_idle(&self, windows: Windows, now_ns: u64) -> bool {
        self.samples.back().is_none_or(|last| last.start_ns + windows.span_ns() <= now_ns)
    }

    fn forget_old(&mut self, windows: Windows, now_ns: u64) {
        while self.samples.front().is_some_and(|oldest| oldest.start_ns + windows.span_ns() <= now_ns) {
            self.samples.pop_front();
        }
    }
}

/// Tokens that come back at a rate, up to a burst of as many as come in all windows (KIP-599). They may be owed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenBucket {
    tokens: f64,
    refilled_ns: u64,
}

impl TokenBucket {
    /// A full one.
    pub fn full(limit: f64, windows: Windows, now_ns: u64) -> Self {
        Self { tokens: burst(limit, windows), refilled_ns: now_ns }
    }

    /// Takes tokens, whether they are there or not; a negative amount gives some back.
    pub fn take(&mut self, amount: f64, limit: f64, windows: Windows, now_ns: u64) {
        self.refill(limit, windows, now_ns);
        self.tokens = (self.tokens - amount).min(burst(limit, windows));
    }

    /// How long until no token is owed; 0 if none is.
    pub fn throttle_ns(&mut self, limit: f64, windows: Windows, now_ns: u64) -> u64 {
        self.refill(limit, windows, now_ns);
        if self.tokens >= 0.0 { 0 } else { (-self.tokens / limit * SECOND_NS) as u64 }
    }

    /// Whether it is as good as a new one.
    pub fn is_full(&mut self, limit: f64, windows: Windows, now_ns: u64) -> bool {
        self.refill(limit, windows, now_ns);
        self.tokens >= burst(limit, windows)
    }

    fn refill(&mut self, limit: f64, windows: Windows, now_ns: u64) {
        let seconds = now_ns.saturating_sub(self.refilled_ns) as f64 / SECOND_NS;
        self.tokens = (self.tokens + seconds * limit).min(burst(limit, windows));
        self.refilled_ns = self.refilled_ns.max(now_ns);
    }
}

fn burst(limit: f64, windows: Windows) -> f64 {
    limit * windows.span_ns() as f64 / SECOND_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const KAFKAS: Windows = Windows { count: 11, length_ns: S };

    #[test]
    fn a_burst_counts_as_if_spread_over_the_full_windows() {
        let mut rate = Rate::default();
        rate.record(1000.0, KAFKAS, 5 * S);
        let (per_second, elapsed_ns) = rate.measure(KAFKAS, 5 * S);
        assert_eq!((per_second, elapsed_ns), (100.0, 10 * S));
        assert_eq!(rate.throttle_ns(100.0, KAFKAS, 5 * S), 0);
        assert_eq!(rate.throttle_ns(50.0, KAFKAS, 5 * S), 10 * S, "twice the limit over 10 s: wait 10 s more");
    }

    #[test]
    fn waiting_brings_the_rate_down_to_the_limit() {
        let mut rate = Rate::default();
        for second in 0..8 {
            rate.record(1000.0, KAFKAS, second * S);
        }
        let (limit, mut now_ns) = (700.0, 8 * S);
        assert_eq!(rate.throttle_ns(limit, KAFKAS, now_ns), 1_428_571_428, "800 per second over 10 s");
        while rate.throttle_ns(limit, KAFKAS, now_ns) > 0 {
            now_ns += rate.throttle_ns(limit, KAFKAS, now_ns);
        }
        assert!(now_ns < 8 * S + KAFKAS.span_ns(), "{now_ns}");
    }

    #[test]
    fn what_is_older_than_all_windows_does_not_count() {
        let mut rate = Rate::default();
        rate.record(1000.0, KAFKAS, 0);
        assert!(!rate.is_idle(KAFKAS, 11 * S - 1));
        assert!(rate.is_idle(KAFKAS, 11 * S));
        assert_eq!(rate.measure(KAFKAS, 11 * S).0, 0.0);
    }

    #[test]
    fn samples_are_bounded_and_a_use_can_be_taken_back() {
        let mut rate = Rate::default();
        for step in 0..1000 {
            rate.record(1.0, KAFKAS, step * S / 4);
        }
        assert!(rate.samples.len() <= 11);
        let before = rate.measure(KAFKAS, 250 * S).0;
        rate.record(500.0, KAFKAS, 250 * S);
        rate.record(-500.0, KAFKAS, 250 * S);
        assert!((rate.measure(KAFKAS, 250 * S).0 - before).abs() < 1e-9);
    }

    #[test]
    fn a_bucket_allows_a_burst_then_the_rate() {
        let mut bucket = TokenBucket::full(2.0, KAFKAS, 0);
        bucket.take(22.0, 2.0, KAFKAS, 0);
        assert_eq!(bucket.throttle_ns(2.0, KAFKAS, 0), 0, "all tokens, none owed");
        bucket.take(4.0, 2.0, KAFKAS, 0);
        assert_eq!(bucket.throttle_ns(2.0, KAFKAS, 0), 2 * S);
        assert_eq!(bucket.throttle_ns(2.0, KAFKAS, S), S);
        assert_eq!(bucket.throttle_ns(2.0, KAFKAS, 2 * S), 0);
        assert!(!bucket.is_full(2.0, KAFKAS, 12 * S));
        assert!(bucket.is_full(2.0, KAFKAS, 13 * S));
    }
}
