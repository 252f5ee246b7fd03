//! The auditor: reads everything there is, at the end of a life.

use std::collections::VecDeque;

use broker::driver::simulated::Network;
use net::api::fetch;
use storage::simulated::Random;

use super::consumer::check_partition;
use super::link::{Arrival, Link, decode};
use super::producer::is_retriable;
use super::{Client, Env};
use crate::sim::model::Place;

/// A version without sessions that names topics by their names.
const VERSION: i16 = 6;
/// Pause after an error, in nanoseconds.
const PAUSE_NS: u64 = 1_000_000;

/// Reads every partition from its start to the end that was promised, one after another.
pub(in crate::sim) struct Auditor {
    link: Link<()>,
    ahead: Option<VecDeque<Place>>,
    offset: i64,
    next_at_ns: u64,
}

impl Auditor {
    pub(in crate::sim) fn new(random: Random) -> Self {
        Self { link: Link::new("auditor".to_owned(), 0, random), ahead: None, offset: 0, next_at_ns: 0 }
    }

    fn ask(&mut self, env: &mut Env<'_>, place: Place) {
        self.offset = self.offset.max(env.model.perhaps_deleted_before(place));
        let partition = fetch::RequestTopicsPartitions {
            partition: place.index,
            fetch_offset: self.offset,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        };
        let name = env.model.topic(place.topic).name.clone();
        let topic = fetch::RequestTopics { topic: name.into(), partitions: vec![partition], ..Default::default() };
        let request = fetch::Request {
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: 1 << 20,
            topics: vec![topic],
            ..Default::default()
        };
        self.link.send(env, VERSION, &request, Some(()));
    }

    fn take(&mut self, env: &mut Env<'_>, body: &[u8], place: Place) {
        let response = decode::<fetch::Response<'_>>(body, VERSION);
        let partition = &response.responses[0].partitions[0];
        if partition.error_code != 0 {
            let name = env.model.describe(place);
            assert!(is_retriable(partition.error_code), "auditing {name}: error {}", partition.error_code);
            self.next_at_ns = env.now_ns + PAUSE_NS;
            return;
        }
        let promised = env.model.promised_end(place);
        self.offset = check_partition(env, place, self.offset, promised, partition);
        if self.offset >= partition.high_watermark {
            self.ahead.as_mut().expect("asked").pop_front();
            self.offset = 0;
        }
    }
}

impl Client for Auditor {
    fn poll(&mut self, env: &mut Env<'_>) {
        if self.ahead.is_none() {
            self.ahead = Some(env.model.places().into());
        }
        for arrival in self.link.receive(env) {
            let place = self.ahead.as_ref().and_then(|ahead| ahead.front().copied());
            if let (Arrival::Answer { body, .. }, Some(place)) = (arrival, place) {
                self.take(env, &body, place);
            }
        }
        let place = self.ahead.as_ref().and_then(|ahead| ahead.front().copied());
        let is_free = self.link.in_flight() == 0 && env.now_ns >= self.next_at_ns;
        if let Some(place) = place.filter(|_| is_free && self.link.is_up(env)) {
            self.ask(env, place);
        }
    }

    fn next_at_ns(&self, network: &Network) -> Option<u64> {
        let own = (self.link.in_flight() == 0 && !self.is_idle()).then_some(self.next_at_ns);
        self.link.next_at_ns(network, own)
    }

    fn is_idle(&self) -> bool {
        self.ahead.as_ref().is_some_and(VecDeque::is_empty) && self.link.in_flight() == 0
    }
}
