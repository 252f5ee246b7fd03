//! What a shard counts: plain fields, raised where things happen and read when somebody asks.
//!
//! Counting takes no lock and no atomic. The only allocations are a histogram at the first answer of an API, and an entry at
//! the first error of a kind and at the first fetch of a log.

use std::collections::BTreeMap;

use net::{ApiKey, Message};
use rustc_hash::FxHashMap;
use storage::LogId;
use storage::latency::Latencies;

use crate::error_code::ErrorCode;

/// Numbers of APIs that have a place: Kafka's keys are small and dense.
const API_KEYS: usize = 128;

/// Counters of one shard since its start. Owned by the shard.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// By API key.
    apis: Box<[Api; API_KEYS]>,
    /// Errors told to clients, by API and code.
    pub(super) errors: BTreeMap<(ApiKey, i16), u64>,
    /// Connections that were taken over.
    pub(super) connections_opened: u64,
    /// Connections that were closed because of what they sent.
    pub(super) connections_malformed: u64,
    /// How often connections were muted by a quota, and for how long together.
    pub(super) throttles: u64,
    pub(super) throttled_ns: u64,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    /// What fetches of this shard's connections got, by log.
    pub(super) fetched: FxHashMap<LogId, Moved>,
    /// Whether somebody can ask: answers that another state machine has encoded are looked through for errors.
    is_watched: bool,
}

/// One API's counters.
#[derive(Debug, Default)]
pub(super) struct Api {
    pub(super) requests: u64,
    /// From a request's arrival to its answer. A fetch's wait for records is not in it.
    pub(super) latency: Latencies,
}

/// Records on their way in or out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Record batches, or for fetches answers with records.
    pub batches: u64,
    /// Records; of a fetch, the offsets passed.
    pub records: u64,
    /// Bytes of the batches.
    pub bytes: u64,
}

impl Moved {
    /// Adds one batch or answer.
    pub(crate) fn count(&mut self, records: i64, bytes: usize) {
        self.batches += 1;
        self.records += u64::try_from(records).unwrap_or(0);
        self.bytes += bytes as u64;
    }

    /// Adds what others have counted.
    pub fn add(&mut self, other: Self) {
        self.batches += other.batches;
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

impl Metrics {
    /// All at 0. `is_watched` says whether there is an admin endpoint.
    pub(super) fn new(is_watched: bool) -> Self {
        Self {
            apis: Box::new(std::array::from_fn(|_| Api::default())),
            errors: BTreeMap::new(),
            connections_opened: 0,
            connections_malformed: 0,
            throttles: 0,
            throttled_ns: 0,
            received_bytes: 0,
            sent_bytes: 0,
            fetched: FxHashMap::default(),
            is_watched,
        }
    }

    fn api_mut(&mut self, key: ApiKey) -> &mut Api {
        &mut self.apis[key as usize]
    }

    /// The counters of an API.
    pub(super) fn api(&self, key: ApiKey) -> &Api {
        &self.apis[key as usize]
    }

    /// A request has come.
    pub(super) fn requested(&mut self, key: ApiKey) {
        self.api_mut(key).requests += 1;
    }

    /// A request was answered, so long after it came.
    pub(super) fn answered(&mut self, key: ApiKey, after_ns: u64) {
        self.api_mut(key).latency.record(after_ns);
    }

    /// A client is told of an error; no error counts for nothing.
    pub(super) fn told(&mut self, key: ApiKey, error: ErrorCode) {
        count_error(&mut self.errors, key, error.code());
    }

    /// A client is told what a message says.
    pub(super) fn told_by<'a, M: Message<'a>>(&mut self, message: &M) {
        if self.is_watched {
            message.errors(&mut |code| count_error(&mut self.errors, M::KEY, code));
        }
    }

    /// A client is told what an encoded body says.
    pub(super) fn told_in(&mut self, key: ApiKey, version: i16, body: &[u8]) {
        if self.is_watched {
            let count = &mut |code| count_error(&mut self.errors, key, code);
            let known = net::api::errors_of_response(key, version, body, count);
            debug_assert!(known.is_ok(), "an answer of {key} version {version} can be decoded: {known:?}");
        }
    }

    /// A connection was muted by a quota.
    pub(super) fn throttled(&mut self, wait_ns: u64) {
        self.throttles += 1;
        self.throttled_ns = self.throttled_ns.saturating_add(wait_ns);
    }

    /// A fetch has given away records.
    pub(super) fn fetched(&mut self, log: LogId, records: i64, bytes: usize) {
        self.fetched.entry(log).or_default().count(records, bytes);
    }

    /// A log is gone.
    pub(super) fn forget(&mut self, log: LogId) {
        self.fetched.remove(&log);
    }
}

fn count_error(errors: &mut BTreeMap<(ApiKey, i16), u64>, key: ApiKey, code: i16) {
    if code != ErrorCode::None.code() {
        *errors.entry((key, code)).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use net::api::heartbeat;

    use super::*;

    #[test]
    fn every_api_that_is_served_has_a_place() {
        let mut metrics = Metrics::new(false);
        for &key in crate::metadata::api::SERVED {
            metrics.requested(key);
            metrics.answered(key, 1_000_000);
            assert_eq!(metrics.api(key).requests, 1, "{key}");
            assert_eq!(metrics.api(key).latency.distribution().count(), 1, "{key}");
        }
    }

    #[test]
    fn the_absence_of_an_error_is_not_counted() {
        let mut metrics = Metrics::new(false);
        metrics.told(ApiKey::Fetch, ErrorCode::None);
        metrics.told(ApiKey::Fetch, ErrorCode::OffsetOutOfRange);
        metrics.told(ApiKey::Fetch, ErrorCode::OffsetOutOfRange);
        assert_eq!(metrics.errors.into_iter().collect::<Vec<_>>(), [((ApiKey::Fetch, 1), 2)]);
    }

    #[test]
    fn errors_in_answers_are_found_only_while_somebody_can_ask() {
        let refused = heartbeat::Response { error_code: ErrorCode::RebalanceInProgress.code(), ..Default::default() };
        let mut body = Vec::new();
        refused.encode(&mut body, 4);
        for (is_watched, count) in [(true, 2), (false, 0)] {
            let mut metrics = Metrics::new(is_watched);
            metrics.told_by(&refused);
            metrics.told_in(ApiKey::Heartbeat, 4, &body);
            assert_eq!(metrics.errors.values().sum::<u64>(), count);
        }
    }
}
