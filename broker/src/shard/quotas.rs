//! Quotas on a shard: what its connections use, who is told to wait, and who is not listened to meanwhile (KIP-219).
//!
//! ```text
//! request ─► request time, produced bytes ──┐                      ┌─► throttle_time_ms in the answer, which leaves at once
//! fetch's answer ─► bytes, or held back ────┼─► time to wait ──────┤
//! mutations (shard 0) ─► tokens ────────────┘                      └─► the connection is muted for that time
//! connection accepted (shard 0) ─► kept out for a moment, then closed
//! ```

use std::sync::Arc;

use net::ApiKey;
use net::ops::{Op, Socket};

use super::Shard;
use super::connections::{ConnectionKey, Responder};
use super::mail::{NewConnection, Notice};
use super::timers::Timer;
use crate::quota::{ANONYMOUS, Key, Meter, REPORT_NS, Settings, Used, Who};

/// Connections that are kept out at the same time; further ones are closed at once.
const KEPT_OUT_MAX: usize = 1024;

/// What each request weighs in bytes beside its own, when the time of a turn is shared out among its requests.
const REQUEST_BYTES: usize = 512;

const MS_NS: u64 = 1_000_000;

/// A shard's quotas and what follows from them.
#[derive(Debug)]
pub(crate) struct Throttling {
    pub(super) meter: Meter,
    /// Whether the timer of the next report is armed.
    report_armed: bool,
    /// Requests of this turn that have a limit of time, with their weights.
    timed: Vec<(Arc<str>, usize)>,
    /// The weight of all requests of this turn.
    weight: usize,
    /// Sockets that are closed later, and when.
    kept_out: Vec<(u64, Socket)>,
}

impl Throttling {
    pub(crate) fn new(settings: Settings, shards: usize) -> Self {
        let (timed, kept_out) = Default::default();
        Self { meter: Meter::new(settings, shards), report_armed: false, timed, weight: 0, kept_out }
    }
}

/// A wait in the protocol's unit: never 0 if there is one.
pub(super) fn throttle_ms(wait_ns: u64) -> i32 {
    i32::try_from(wait_ns.div_ceil(MS_NS)).unwrap_or(i32::MAX)
}

/// Whether the response of this version begins with `throttle_time_ms`.
fn begins_with_throttle_time(key: ApiKey, version: i16) -> bool {
    let since = match key {
        ApiKey::Produce | ApiKey::ApiVersions | ApiKey::OffsetDelete | ApiKey::DescribeQuorum => return false,
        ApiKey::SaslHandshake | ApiKey::SaslAuthenticate | ApiKey::WriteTxnMarkers => return false,
        ApiKey::Metadata | ApiKey::OffsetCommit | ApiKey::OffsetFetch => 3,
        ApiKey::ListOffsets | ApiKey::JoinGroup => 2,
        ApiKey::FindCoordinator | ApiKey::Heartbeat | ApiKey::LeaveGroup | ApiKey::SyncGroup => 1,
        ApiKey::DescribeGroups | ApiKey::ListGroups => 1,
        _ => 0,
    };
    version >= since
}

/// Whether the request changes topics or partitions, and so is limited by `controller_mutation_rate`.
pub(super) fn is_mutation(key: ApiKey) -> bool {
    matches!(key, ApiKey::CreateTopics | ApiKey::DeleteTopics | ApiKey::CreatePartitions)
}

impl Shard {
    /// Counts a request before it is carried out, mutes its connection if need be, and says for how many milliseconds.
    pub(super) fn throttle_request(
        &mut self,
        connection: ConnectionKey,
        key: ApiKey,
        client_id: Option<&str>,
        bytes: usize,
    ) -> i32 {
        let now_ns = self.now.monotonic_ns;
        let client_id = client_id.unwrap_or_default();
        self.connections.name_client(connection, client_id);
        let who = Who { user: ANONYMOUS, client_id };
        let meter = &mut self.throttling.meter;
        let mut wait_ns = 0;
        if meter.limits(Key::Request) {
            self.throttling.weight += bytes + REQUEST_BYTES;
            if let Some((name, request_wait_ns)) = meter.request(who, now_ns) {
                self.throttling.timed.push((name, bytes + REQUEST_BYTES));
                wait_ns = request_wait_ns;
            }
        }
        if key == ApiKey::Produce && meter.limits(Key::Producer) {
            wait_ns = wait_ns.max(meter.record(Key::Producer, who, bytes as f64, now_ns));
        }
        self.arm_quota_report();
        self.mute(connection, wait_ns);
        throttle_ms(wait_ns)
    }

    /// The most bytes a fetch may ask for without being more than its quota.
    pub(super) fn fetch_burst(&mut self, responder: Responder) -> usize {
        let client_id = self.connections.client_id(responder.connection);
        let burst = self.throttling.meter.burst(Key::Consumer, Who { user: ANONYMOUS, client_id });
        // What does not fit saturates.
        burst.map_or(usize::MAX, |bytes| bytes as usize)
    }

    /// Counts a fetch's answer, and mutes its connection if need be: `Err` if the answer is to be held back, with the
    /// milliseconds to wait in either case.
    pub(super) fn throttle_fetch(&mut self, responder: Responder, bytes: usize) -> Result<i32, i32> {
        let now_ns = self.now.monotonic_ns;
        // Who has to wait for another reason gets nothing now either, and so it does not count.
        if responder.throttle_ms > 0 {
            return Err(responder.throttle_ms);
        }
        if bytes == 0 || !self.throttling.meter.limits(Key::Consumer) {
            return Ok(0);
        }
        let client_id = self.connections.client_id(responder.connection);
        let who = Who { user: ANONYMOUS, client_id };
        let admitted = self.throttling.meter.admit(Key::Consumer, who, bytes as f64, now_ns);
        self.arm_quota_report();
        let (Ok(wait_ns) | Err(wait_ns)) = admitted;
        self.mute(responder.connection, wait_ns);
        admitted.map(throttle_ms).map_err(throttle_ms)
    }

    /// Writes the time that the client is to wait into an encoded response, and mutes its connection for it.
    pub(super) fn throttle_answer(&mut self, responder: Responder, body: &mut [u8]) {
        let Responder { key, version, .. } = responder;
        if !begins_with_throttle_time(key, version) {
            return;
        }
        let Some(field) = body.first_chunk_mut::<4>() else { return };
        // The controller's shard says how long mutations have to wait.
        let told_ms = i32::from_be_bytes(*field).max(0);
        *field = told_ms.max(responder.throttle_ms).to_be_bytes();
        self.mute(responder.connection, u64::from(told_ms.unsigned_abs()) * MS_NS);
    }

    /// Whether answers may have to tell of a wait.
    pub(super) fn may_throttle(&self, responder: Responder) -> bool {
        responder.throttle_ms > 0 || (is_mutation(responder.key) && self.throttling.meter.limits(Key::Mutation))
    }

    fn mute(&mut self, connection: ConnectionKey, wait_ns: u64) {
        if wait_ns > 0 {
            self.metrics.throttled(wait_ns);
            let until_ns = self.now.monotonic_ns.saturating_add(wait_ns);
            if let Some(timer) = self.connections.mute(connection, until_ns) {
                self.timers.arm(until_ns, timer);
            }
        }
    }

    fn arm_quota_report(&mut self) {
        let throttling = &self.throttling;
        // The time of this turn's requests is known only when the turn is over and its deadline is told.
        let is_due = throttling.meter.has_report() || (throttling.meter.tells() && !throttling.timed.is_empty());
        if is_due && !throttling.report_armed {
            self.throttling.report_armed = true;
            self.timers.arm(self.now.monotonic_ns + REPORT_NS, Timer::QuotaReport);
        }
    }

    /// Tells the other shards what was used here since the last report.
    pub(super) fn report_quotas(&mut self) {
        self.throttling.report_armed = false;
        let report: Arc<[Used]> = self.throttling.meter.report().into();
        if !report.is_empty() {
            self.notify_peers(|| Notice::QuotaUse(Arc::clone(&report)));
        }
        self.arm_quota_report();
    }

    /// Another shard has reported.
    pub(super) fn quotas_heard(&mut self, report: &[Used]) {
        self.throttling.meter.heard(report, self.now.monotonic_ns);
    }

    /// Shares the time of the last turn out among its requests.
    pub(super) fn share_time(&mut self, spent_ns: u64) {
        let weight = std::mem::take(&mut self.throttling.weight);
        let mut timed = std::mem::take(&mut self.throttling.timed);
        for (name, share) in timed.drain(..) {
            let spent_ns = spent_ns as f64 * share as f64 / weight as f64;
            self.throttling.meter.took(&name, spent_ns, self.now.monotonic_ns);
        }
        self.throttling.timed = timed;
        let throttling = &self.throttling;
        assert!(throttling.report_armed || !throttling.meter.has_report(), "the turn has armed the report");
    }

    /// Keeps a connection out if its address makes too many: it is closed after a while, so that the client does not
    /// come back at once (KIP-612).
    pub(super) fn keep_out(&mut self, new: &NewConnection) -> bool {
        let now_ns = self.now.monotonic_ns;
        let wait_ns = self.throttling.meter.connect(new.peer.ip(), now_ns);
        if wait_ns == 0 {
            return false;
        }
        if self.throttling.kept_out.len() >= KEPT_OUT_MAX {
            self.ops.net.push(Op::Discard { socket: new.socket });
            return true;
        }
        self.throttling.kept_out.push((now_ns + wait_ns, new.socket));
        self.timers.arm(now_ns + wait_ns, Timer::KeptOut);
        true
    }

    /// Closes the connections that were kept out long enough.
    pub(super) fn close_kept_out(&mut self) {
        let now_ns = self.now.monotonic_ns;
        let due = self.throttling.kept_out.extract_if(.., |(until_ns, _)| *until_ns <= now_ns);
        self.ops.net.extend(due.map(|(_, socket)| Op::Discard { socket }));
    }
}
