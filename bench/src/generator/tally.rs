//! What is counted, by each thread and over all of them.

use std::ops::Range;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::process::Usage;

/// The longest time that a histogram tells from longer ones, in ns.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Length of an interval of the timeline, in ns.
const INTERVAL_NS: u64 = 1_000_000_000;

/// Times in ns, to three digits.
pub type Latency = Histogram<u64>;

/// A histogram without values.
pub(crate) fn latency() -> Latency {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("possible bounds")
}

/// What consumers did in the window.
#[derive(Debug, Clone)]
pub struct Reads {
    /// Fetches that were answered with records.
    pub fetches: u64,
    /// Records; counted where they are checked, else estimated from the batches' offsets.
    pub records: u64,
    /// Bytes of record batches.
    pub bytes: u64,
    /// From when a record was due until a consumer had it, in ns; of checked loads.
    pub end_to_end: Latency,
    /// How long cold consumers took to have everything that was there at their start.
    pub caught_up: Option<Duration>,
}

/// One second of a load.
#[derive(Debug, Clone)]
pub struct Interval {
    /// Requests acknowledged.
    pub requests: u64,
    /// Bytes of record batches acknowledged.
    pub bytes: u64,
    /// Bytes of record batches read.
    pub read_bytes: u64,
    /// Time to the acknowledgement, in ns, to two digits.
    pub latency: Latency,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Requests acknowledged in the window.
    pub requests: u64,
    /// Requests refused for want of room, which a client sends again; they are in no other figure.
    pub refused: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of record batches in them.
    pub payload_bytes: u64,
    /// Bytes of record batches acknowledged in the whole load, before and after the window too.
    pub all_payload_bytes: u64,
    /// Length of the window.
    pub elapsed: Duration,
    /// From when a request was due until it was acknowledged, in ns; of the requests that were due in the window.
    pub latency: Latency,
    /// What was read.
    pub reads: Reads,
    /// The window second by second.
    pub intervals: Vec<Interval>,
    /// What the server used in the window, if its process is known.
    pub server: Usage,
    /// What the load used in the window.
    pub load: Usage,
    /// What all processors were busy for in the window, in all processes and in the kernel.
    pub machine_busy: Duration,
    /// The share of the window in which processors were taken away from this machine.
    pub stolen: f64,
    /// Whether consumers began with the oldest record.
    pub is_cold: bool,
    /// Records that were acknowledged and all read back once, in order, if the load was checked.
    pub checked: Option<u64>,
}

impl Outcome {
    /// Requests a second.
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// Records a second.
    #[must_use]
    pub fn records_per_second(&self) -> f64 {
        self.records as f64 / self.elapsed.as_secs_f64()
    }

    /// MiB of record batches a second, written.
    #[must_use]
    pub fn mib_per_second(&self) -> f64 {
        self.payload_bytes as f64 / f64::from(1 << 20) / self.elapsed.as_secs_f64()
    }

    /// MiB of record batches a second, read.
    #[must_use]
    pub fn read_mib_per_second(&self) -> f64 {
        self.reads.bytes as f64 / f64::from(1 << 20) / self.elapsed.as_secs_f64()
    }

    /// The server's CPU time for a request, in µs.
    #[must_use]
    pub fn cpu_us_per_request(&self) -> f64 {
        self.server.cpu.as_secs_f64() * 1e6 / self.requests as f64
    }

    /// The server's CPU time for so many bytes, in seconds per GiB.
    #[must_use]
    pub fn cpu_s_per_gib(&self, bytes: u64) -> f64 {
        self.server.cpu.as_secs_f64() / (bytes as f64 / f64::from(1 << 30))
    }

    /// A quantile of the latency, in µs.
    #[must_use]
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }
}

/// One thread's share of an outcome.
#[derive(Debug)]
pub(super) struct Tally {
    /// Records acknowledged, in the window or not.
    pub(super) all_records: u64,
    /// Bytes of record batches acknowledged, in the window or not.
    pub(super) all_bytes: u64,
    pub(super) requests: u64,
    pub(super) refused: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) fetches: u64,
    pub(super) read_records: u64,
    pub(super) read_bytes: u64,
    pub(super) latency: Latency,
    pub(super) end_to_end: Latency,
    /// When the last of this thread's cold consumers had caught up, in ns since the origin.
    pub(super) caught_up_ns: Option<u64>,
    intervals: Vec<Interval>,
}

/// A request that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acknowledgement {
    pub(super) due_ns: u64,
    pub(super) now_ns: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            all_records: 0,
            all_bytes: 0,
            requests: 0,
            refused: 0,
            records: 0,
            bytes: 0,
            fetches: 0,
            read_records: 0,
            read_bytes: 0,
            latency: latency(),
            end_to_end: latency(),
            caught_up_ns: None,
            intervals: Vec::new(),
        }
    }

    /// Counts what was answered in the window; its latency counts if it was due in the window.
    pub(super) fn acknowledged(&mut self, window: &Range<u64>, answer: Acknowledgement) {
        self.all_records += answer.records;
        self.all_bytes += answer.bytes;
        let latency_ns = answer.now_ns.saturating_sub(answer.due_ns);
        if window.contains(&answer.due_ns) {
            self.latency.saturating_record(latency_ns);
        }
        if window.contains(&answer.now_ns) {
            self.requests += 1;
            self.records += answer.records;
            self.bytes += answer.bytes;
            let interval = self.interval(window, answer.now_ns);
            interval.requests += 1;
            interval.bytes += answer.bytes;
            interval.latency.saturating_record(latency_ns);
        }
    }

    /// Counts an answered fetch.
    pub(super) fn fetched(&mut self, window: &Range<u64>, now_ns: u64, records: u64, bytes: u64) {
        if window.contains(&now_ns) && bytes > 0 {
            self.fetches += 1;
            self.read_records += records;
            self.read_bytes += bytes;
            self.interval(window, now_ns).read_bytes += bytes;
        }
    }

    fn interval(&mut self, window: &Range<u64>, now_ns: u64) -> &mut Interval {
        let index = ((now_ns - window.start) / INTERVAL_NS) as usize;
        while self.intervals.len() <= index {
            let latency = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 2).expect("possible bounds");
            self.intervals.push(Interval { requests: 0, bytes: 0, read_bytes: 0, latency });
        }
        &mut self.intervals[index]
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.all_records += other.all_records;
        self.all_bytes += other.all_bytes;
        self.requests += other.requests;
        self.refused += other.refused;
        self.records += other.records;
        self.bytes += other.bytes;
        self.fetches += other.fetches;
        self.read_records += other.read_records;
        self.read_bytes += other.read_bytes;
        self.latency += other.latency;
        self.end_to_end += other.end_to_end;
        self.caught_up_ns = self.caught_up_ns.max(other.caught_up_ns);
        for (index, interval) in other.intervals.into_iter().enumerate() {
            match self.intervals.get_mut(index) {
                None => self.intervals.push(interval),
                Some(ours) => {
                    ours.requests += interval.requests;
                    ours.bytes += interval.bytes;
                    ours.read_bytes += interval.read_bytes;
                    ours.latency += interval.latency;
                }
            }
        }
    }

    pub(super) fn take_intervals(&mut self) -> Vec<Interval> {
        std::mem::take(&mut self.intervals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_belongs_to_when_a_request_was_due_and_throughput_to_when_it_was_answered() {
        let mut tally = Tally::new();
        let window = 1_000..2_000;
        let answer = |due_ns, now_ns| Acknowledgement { due_ns, now_ns, records: 2, bytes: 10 };
        tally.acknowledged(&window, answer(900, 1_100));
        tally.acknowledged(&window, answer(1_900, 2_500));
        tally.acknowledged(&window, answer(1_200, 1_400));
        assert_eq!((tally.requests, tally.records, tally.bytes), (2, 4, 20));
        assert_eq!((tally.latency.len(), tally.latency.max()), (2, 600));
        let mut other = Tally::new();
        other.acknowledged(&window, answer(1_200, 1_400));
        tally.merge(other);
        assert_eq!((tally.requests, tally.take_intervals()[0].requests), (3, 3));
    }
}
