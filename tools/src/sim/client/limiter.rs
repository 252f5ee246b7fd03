//! Somebody who sets quotas for some of the clients and takes them back: what was told as set is there, whatever happened
//! to the node meanwhile. What the quotas do is seen by the clients that have them.

use broker::driver::simulated::Network;
use net::ApiKey;
use net::api::{alter_client_quotas as alter, describe_client_quotas as describe};
use storage::simulated::Random;

use super::link::{Arrival, Link, any_version, decode};
use super::producer::is_retriable;
use super::{Client, Env};

/// Longest pause between two requests, in nanoseconds.
const PAUSE_NS_MAX: u64 = 100_000_000;

/// Kafka's number of an exact match.
const EXACT: i8 = 0;

/// A quota: whose, of what, and its values.
struct Quota {
    client_id: &'static str,
    key: &'static str,
    min: u64,
    max: u64,
    state: State,
}

/// What is known of a quota.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Is(Option<f64>),
    /// The answer to a change did not come.
    IsOneOf(Option<f64>, Option<f64>),
}

/// What was asked.
enum Asked {
    Change { quota: usize, value: Option<f64> },
    Look(usize),
}

/// Does one thing at a time.
pub(in crate::sim) struct Limiter {
    link: Link<Asked>,
    random: Random,
    quotas: [Quota; 3],
    next_at_ns: u64,
}

impl Limiter {
    pub(in crate::sim) fn new(cuts_per_million: u32, mut random: Random) -> Self {
        let quota = |client_id, key, min, max| Quota { client_id, key, min, max, state: State::Is(None) };
        Self {
            link: Link::new("limiter".to_owned(), cuts_per_million, random.fork()),
            random,
            quotas: [
                quota("producer-0", "producer_byte_rate", 50_000, 500_000),
                quota("producer-1", "request_percentage", 1, 20),
                quota("consumer-0", "consumer_byte_rate", 50_000, 500_000),
            ],
            next_at_ns: 0,
        }
    }

    fn is_unlimited(&self) -> bool {
        self.quotas.iter().all(|quota| quota.state == State::Is(None))
    }

    fn act(&mut self, env: &mut Env<'_>) {
        // A change that was not answered may still come about, however late: until the same one is acknowledged.
        let uncertain = self.quotas.iter().enumerate().find_map(|(quota, it)| match it.state {
            State::IsOneOf(_, asked) => Some((quota, asked)),
            State::Is(_) => None,
        });
        let set = self.quotas.iter().position(|quota| quota.state != State::Is(None));
        let any = self.random.index(self.quotas.len());
        match (uncertain, set) {
            (Some((quota, _)), _) if self.random.index(3) == 0 => self.look(env, quota),
            (Some((quota, asked)), _) => self.change(env, quota, asked),
            // Nobody is held up while everybody comes to rest.
            (_, Some(quota)) if env.is_draining => self.change(env, quota, None),
            _ if env.is_draining => {}
            _ if self.random.index(2) == 0 => self.look(env, any),
            _ => {
                let Quota { min, max, .. } = self.quotas[any];
                let value = (self.random.index(3) > 0).then(|| self.random.between(min, max) as f64);
                self.change(env, any, value);
            }
        }
    }

    fn change(&mut self, env: &mut Env<'_>, quota: usize, value: Option<f64>) {
        let Quota { client_id, key, .. } = self.quotas[quota];
        let entity =
            alter::RequestEntriesEntity { entity_type: "client-id".into(), entity_name: Some(client_id.into()) };
        let op =
            alter::RequestEntriesOps { key: key.into(), value: value.unwrap_or_default(), remove: value.is_none() };
        let entry = alter::RequestEntries { entity: vec![entity], ops: vec![op] };
        let request = alter::Request { entries: vec![entry], validate_only: false };
        let version = any_version(ApiKey::AlterClientQuotas, 0, 1, &mut self.random);
        if let State::Is(before) = self.quotas[quota].state {
            self.quotas[quota].state = State::IsOneOf(before, value);
        }
        self.link.send(env, version, &request, Some(Asked::Change { quota, value }));
    }

    fn look(&mut self, env: &mut Env<'_>, quota: usize) {
        let component = describe::RequestComponents {
            entity_type: "client-id".into(),
            match_type: EXACT,
            r#match: Some(self.quotas[quota].client_id.into()),
        };
        let request = describe::Request { components: vec![component], strict: true };
        let version = any_version(ApiKey::DescribeClientQuotas, 0, 1, &mut self.random);
        self.link.send(env, version, &request, Some(Asked::Look(quota)));
    }

    fn take(&mut self, env: &mut Env<'_>, version: i16, body: &[u8], asked: &Asked) {
        match *asked {
            Asked::Change { quota, value } => {
                let response = decode::<alter::Response<'_>>(body, version);
                let [entry] = &response.entries[..] else { panic!("one entity is answered") };
                if entry.error_code == 0 {
                    self.quotas[quota].state = State::Is(value);
                    env.totals.quotas_set += 1;
                } else {
                    assert!(is_retriable(entry.error_code), "AlterClientQuotas: error {}", entry.error_code);
                    env.totals.retriable_errors += 1;
                }
            }
            Asked::Look(quota) => {
                let response = decode::<describe::Response<'_>>(body, version);
                assert_eq!(response.error_code, 0, "DescribeClientQuotas: {:?}", response.error_message);
                let entries = response.entries.unwrap_or_default();
                let values = entries.iter().flat_map(|entry| &entry.values);
                let Quota { client_id, key, state, .. } = &self.quotas[quota];
                let value = values.into_iter().find(|value| value.key == *key).map(|value| value.value);
                let is_known = match *state {
                    State::Is(known) => value == known,
                    State::IsOneOf(one, other) => value == one || value == other,
                };
                assert!(is_known, "{key} of {client_id} is {value:?} and should be {state:?}");
            }
        }
    }
}

impl Client for Limiter {
    fn poll(&mut self, env: &mut Env<'_>) {
        for arrival in self.link.receive(env) {
            if let Arrival::Answer { version, body, context } = arrival {
                self.take(env, version, &body, &context);
            }
        }
        if self.link.in_flight() > 0 || env.now_ns < self.next_at_ns || !self.link.is_up(env) {
            return;
        }
        self.next_at_ns = env.now_ns + 1 + self.random.below(PAUSE_NS_MAX);
        self.act(env);
    }

    fn next_at_ns(&self, network: &Network) -> Option<u64> {
        let own = (self.link.in_flight() == 0).then_some(self.next_at_ns);
        self.link.next_at_ns(network, own)
    }

    fn is_idle(&self) -> bool {
        self.link.in_flight() == 0 && self.is_unlimited()
    }
}
