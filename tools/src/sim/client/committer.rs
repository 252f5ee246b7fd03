//! A group's committed offsets: stored and asked for again.

use broker::driver::simulated::Network;
use broker::error_code::ErrorCode;
use net::ApiKey;
use net::api::{find_coordinator, offset_commit, offset_fetch};
use storage::simulated::Random;

use super::link::{Arrival, Link, any_version, decode};
use super::producer::is_retriable;
use super::{Client, Env};
use crate::sim::model::Place;

/// Longest pause between two requests, in nanoseconds.
const PAUSE_NS_MAX: u64 = 10_000_000;
/// Pause after a lost connection: what was under way on it may still come into effect meanwhile, and nothing orders it
/// against what comes by another connection.
const PAUSE_AFTER_LOSS_NS: u64 = 3_000_000_000;

enum Asked {
    Coordinator,
    Commit(Vec<(Place, i64)>),
    Fetch(Vec<Place>),
}

/// Commits as one consumer without group membership.
pub(in crate::sim) struct Committer {
    link: Link<Asked>,
    random: Random,
    group: String,
    next_offset: i64,
    must_find_coordinator: bool,
    next_at_ns: u64,
    /// It begins nothing any more.
    is_done: bool,
}

impl Committer {
    pub(in crate::sim) fn new(number: u32, cuts_per_million: u32, mut random: Random) -> Self {
        Self {
            link: Link::new(format!("committer-{number}"), cuts_per_million, random.fork()),
            random,
            group: format!("group-{number}"),
            next_offset: 0,
            must_find_coordinator: true,
            next_at_ns: 0,
            is_done: false,
        }
    }

    fn act(&mut self, env: &mut Env<'_>) {
        if self.must_find_coordinator {
            let group = self.group.clone();
            let request = find_coordinator::Request { key: group.into(), ..Default::default() };
            return self.link.send(env, 2, &request, Some(Asked::Coordinator));
        }
        let mut places = env.model.places();
        self.random.shuffle(&mut places);
        places.truncate(1 + self.random.index(4));
        places.sort_unstable();
        if places.is_empty() {
            return;
        }
        if self.random.index(3) == 0 { self.fetch(env, places) } else { self.commit(env, &places) }
    }

    fn commit(&mut self, env: &mut Env<'_>, places: &[Place]) {
        let mut asked = Vec::new();
        let mut topics: Vec<offset_commit::RequestTopics<'_>> = Vec::new();
        let mut last_topic = None;
        for &place in places {
            self.next_offset += 1;
            env.model.ask_commit(&self.group, place, self.next_offset);
            asked.push((place, self.next_offset));
            let partition = offset_commit::RequestTopicsPartitions {
                partition_index: place.index,
                committed_offset: self.next_offset,
                committed_leader_epoch: -1,
                committed_metadata: Some("".into()),
            };
            if last_topic.replace(place.topic) != Some(place.topic) {
                let name = env.model.topic(place.topic).name.clone();
                topics.push(offset_commit::RequestTopics { name: name.into(), ..Default::default() });
            }
            topics.last_mut().expect("pushed above").partitions.push(partition);
        }
        let request = offset_commit::Request {
            group_id: self.group.clone().into(),
            generation_id_or_member_epoch: -1,
            topics,
            ..Default::default()
        };
        let version = any_version(ApiKey::OffsetCommit, 2, 9, &mut self.random);
        self.link.send(env, version, &request, Some(Asked::Commit(asked)));
    }

    fn take_committed(&mut self, env: &mut Env<'_>, version: i16, body: &[u8], asked: &[(Place, i64)]) {
        let response = decode::<offset_commit::Response<'_>>(body, version);
        let partitions: Vec<_> = response.topics.iter().flat_map(|topic| &topic.partitions).collect();
        assert_eq!(partitions.len(), asked.len(), "every partition is answered");
        for (partition, &(place, offset)) in partitions.into_iter().zip(asked) {
            assert_eq!(partition.partition_index, place.index, "answers come in the order of the request");
            if partition.error_code == 0 {
                env.model.committed(&self.group, place, offset);
                env.totals.commits += 1;
            } else if env.model.exists(place) {
                self.take_error(env, "OffsetCommit", partition.error_code);
            }
        }
    }

    fn fetch(&mut self, env: &mut Env<'_>, places: Vec<Place>) {
        let mut topics: Vec<offset_fetch::RequestTopics<'_>> = Vec::new();
        let mut last_topic = None;
        for place in &places {
            if last_topic.replace(place.topic) != Some(place.topic) {
                let name = env.model.topic(place.topic).name.clone();
                topics.push(offset_fetch::RequestTopics { name: name.into(), ..Default::default() });
            }
            topics.last_mut().expect("pushed above").partition_indexes.push(place.index);
        }
        let group_id = self.group.clone();
        let request = offset_fetch::Request { group_id: group_id.into(), topics: Some(topics), ..Default::default() };
        let version = any_version(ApiKey::OffsetFetch, 1, 7, &mut self.random);
        self.link.send(env, version, &request, Some(Asked::Fetch(places)));
    }

    fn take_fetched(&mut self, env: &mut Env<'_>, version: i16, body: &[u8], places: &[Place]) {
        let response = decode::<offset_fetch::Response<'_>>(body, version);
        if response.error_code != 0 {
            return self.take_error(env, "OffsetFetch", response.error_code);
        }
        let partitions: Vec<_> = response.topics.iter().flat_map(|topic| &topic.partitions).collect();
        assert_eq!(partitions.len(), places.len(), "every partition is answered");
        for (partition, &place) in partitions.into_iter().zip(places) {
            assert_eq!(partition.partition_index, place.index, "answers come in the order of the request");
            if !env.model.exists(place) {
                continue;
            }
            if partition.error_code == 0 {
                env.model.check_commit(&self.group, place, partition.committed_offset);
            } else {
                self.take_error(env, "OffsetFetch", partition.error_code);
            }
        }
    }

    fn take_error(&mut self, env: &mut Env<'_>, what: &str, code: i16) {
        assert!(is_retriable(code), "{what}: error {code}");
        env.totals.retriable_errors += 1;
        let coordinator = [ErrorCode::CoordinatorNotAvailable, ErrorCode::NotCoordinator];
        self.must_find_coordinator |= coordinator.iter().any(|error| error.code() == code);
    }
}

impl Client for Committer {
    fn poll(&mut self, env: &mut Env<'_>) {
        for arrival in self.link.receive(env) {
            match arrival {
                Arrival::Answer { version, body, context: Asked::Coordinator } => {
                    let response = decode::<find_coordinator::Response<'_>>(&body, version);
                    self.must_find_coordinator = response.error_code != 0;
                    if self.must_find_coordinator {
                        self.take_error(env, "FindCoordinator", response.error_code);
                    }
                }
                Arrival::Answer { version, body, context: Asked::Commit(asked) } => {
                    self.take_committed(env, version, &body, &asked);
                }
                Arrival::Answer { version, body, context: Asked::Fetch(places) } => {
                    self.take_fetched(env, version, &body, &places);
                }
                Arrival::Lost => self.next_at_ns = env.now_ns + PAUSE_AFTER_LOSS_NS,
            }
        }
        self.is_done = env.is_draining;
        if self.is_done || self.link.in_flight() > 0 || env.now_ns < self.next_at_ns || !self.link.is_up(env) {
            return;
        }
        self.next_at_ns = env.now_ns + 1 + self.random.below(PAUSE_NS_MAX);
        self.act(env);
    }

    fn next_at_ns(&self, network: &Network) -> Option<u64> {
        let own = (self.link.in_flight() == 0 && !self.is_done).then_some(self.next_at_ns);
        self.link.next_at_ns(network, own)
    }

    fn is_idle(&self) -> bool {
        self.link.in_flight() == 0
    }
}
