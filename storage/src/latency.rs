//! Durations as a distribution, recorded on the hot path and summed up for whoever watches.

use hdrhistogram::Histogram;

/// Upper ends of the classes of a [`Distribution`], in microseconds, inclusive. One more class has everything above.
pub const BOUNDS_US: [u64; 16] = [
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
    5_000_000, 10_000_000,
];

/// The longest duration that is told apart from longer ones.
const LONGEST_US: u64 = 60_000_000;

/// Digits to which a duration is known: within a percent. With one more a histogram would be eight times as large.
const DIGITS: u8 = 2;

/// Durations since the start, of one kind, on one shard. About 20 KiB from the first one on, none before.
#[derive(Debug, Default)]
pub struct Latencies {
    histogram: Option<Histogram<u64>>,
    sum_ns: u64,
}

impl Latencies {
    /// Adds one duration. The first one allocates.
    pub fn record(&mut self, duration_ns: u64) {
        self.record_many(duration_ns, 1);
    }

    /// Adds one duration `count` times.
    pub fn record_many(&mut self, duration_ns: u64, count: u64) {
        let histogram = self.histogram.get_or_insert_with(|| {
            Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("the bounds are constants in order")
        });
        histogram.saturating_record_n(duration_ns / 1000, count);
        self.sum_ns = self.sum_ns.saturating_add(duration_ns.saturating_mul(count));
    }

    /// All durations so far.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let mut distribution = Distribution { sum_ns: self.sum_ns, ..Distribution::default() };
        let Some(histogram) = &self.histogram else { return distribution };
        for recorded in histogram.iter_recorded() {
            let value_us = histogram.lowest_equivalent(recorded.value_iterated_to());
            let class = BOUNDS_US.iter().position(|&bound| value_us <= bound).unwrap_or(BOUNDS_US.len());
            distribution.classes[class] += recorded.count_since_last_iteration();
        }
        distribution
    }
}

/// How many durations fell into each class of [`BOUNDS_US`]; distributions of several shards add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Distribution {
    /// Durations above the bound before, up to this one; the last class has those above all bounds.
    pub classes: [u64; BOUNDS_US.len() + 1],
    /// All durations together, in nanoseconds.
    pub sum_ns: u64,
}

impl Distribution {
    /// How many durations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// Adds those of another distribution.
    pub fn add(&mut self, other: &Self) {
        for (class, more) in self.classes.iter_mut().zip(other.classes) {
            *class += more;
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_class_that_ends_at_it_or_above() {
        for (us, class) in
            [(0, 0), (1, 0), (100, 0), (101, 1), (1_000, 3), (1_100, 4), (10_000_000, 15), (12_000_000, 16)]
        {
            let mut latencies = Latencies::default();
            latencies.record(us * 1000);
            let found = latencies.distribution();
            assert_eq!(found.classes.iter().position(|&count| count > 0), Some(class), "{us} µs");
            assert_eq!((found.count(), found.sum_ns), (1, us * 1000));
        }
    }

    #[test]
    fn what_is_longer_than_all_is_counted_and_its_time_is_exact() {
        let mut latencies = Latencies::default();
        latencies.record(3_600 * 1_000_000_000);
        let found = latencies.distribution();
        assert_eq!(found.classes[BOUNDS_US.len()], 1);
        assert_eq!(found.sum_ns, 3_600 * 1_000_000_000);
    }

    #[test]
    fn distributions_add_up() {
        let (mut a, mut b) = (Latencies::default(), Latencies::default());
        a.record(50_000);
        b.record(50_000);
        b.record(150_000);
        let mut sum = a.distribution();
        sum.add(&b.distribution());
        assert_eq!((sum.classes[0], sum.classes[1], sum.count(), sum.sum_ns), (2, 1, 3, 250_000));
    }
}
