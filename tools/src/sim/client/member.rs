//! A member of a consumer group: it joins, is assigned partitions, says that it lives, commits, leaves, or falls silent.
//!
//! ```text
//!        join            sync             heartbeat, commit, fetch
//!  Out ───────► Joining ───────► Syncing ───────► Member ──┐
//!   ▲              │                │               │  ▲   │
//!   └── refused ───┴────────────────┴── rebalance ──┘  └───┘     leave, or silence: Out
//! ```
//! The members of a group are clients of their own, with connections of their own. What they learn meets in the model:
//! that no partition has two owners in a generation, that a member whose signs of life are answered stays one, and that
//! one that is silent is missed.

use broker::driver::simulated::Network;
use broker::error_code::ErrorCode;
use net::ApiKey;
use net::api::{find_coordinator, heartbeat, join_group, leave_group, offset_commit, offset_fetch, sync_group};
use storage::simulated::Random;

use super::link::{Arrival, Link, any_version, decode};
use super::producer::is_retriable;
use super::{Client, Env};
use crate::sim::life::SPLIT_NS_MAX;
use crate::sim::model::{Place, TopicNumber};

/// How long a member may be silent, in milliseconds. Lives are short, so sessions are.
const SESSION_MS: i32 = 150;
/// How long a member may take to join again.
const REBALANCE_MS: i32 = 200;
/// Longest pause between two requests of a member, in nanoseconds.
const PAUSE_NS_MAX: u64 = 30_000_000;
/// Pause before committing again after a lost connection: see the committer.
const PAUSE_AFTER_LOSS_NS: u64 = 3_000_000_000;
/// Beyond the session, within which a silent member has to be missed, in nanoseconds: what answers, reads of a partition
/// of offsets that is loaded, and pauses between signs of life may take.
const MISSED_WITHIN_NS: u64 = SESSION_NS + 500_000_000 + SLOWNESS_NS_MAX;
/// What a slow disk and a split network may add to that: the last sign of life of the silent one comes late, too.
const SLOWNESS_NS_MAX: u64 = 1_000_000_000 + SPLIT_NS_MAX;
/// Longest time after a start in which groups may still be loaded, in nanoseconds.
const LOADING_NS_MAX: u64 = 1_000_000_000;
const SESSION_NS: u64 = SESSION_MS as u64 * 1_000_000;
/// Coordinators count whole milliseconds, so a session may end this much early, in nanoseconds.
const ROUNDING_NS: u64 = 1_000_000;
/// Longest silence, in nanoseconds.
const SILENCE_NS_MAX: u64 = 4 * SESSION_NS;
const PROTOCOL_TYPE: &str = "simulated";
const PROTOCOL: &str = "any";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Out,
    Joining,
    Syncing,
    Member,
}

enum Asked {
    Coordinator,
    Join,
    Sync { generation: i32 },
    Heartbeat,
    Leave,
    Commit(Vec<(Place, i64)>),
    Fetch(Vec<Place>),
}

/// See the module's head.
pub(in crate::sim) struct Member {
    link: Link<Asked>,
    random: Random,
    group: String,
    state: State,
    /// Empty until one was given.
    id: String,
    generation: i32,
    /// The members of the generation, if this one leads it.
    followers: Vec<String>,
    assignment: Vec<Place>,
    /// When the request was sent that was last answered as a member's.
    contact_ns: u64,
    sent_at_ns: u64,
    must_find_coordinator: bool,
    next_at_ns: u64,
    /// It begins nothing any more.
    is_done: bool,
    commits_from_ns: u64,
    /// Starts of the node that were noticed, and when the last was.
    starts: u64,
    started_ns: u64,
}

impl Member {
    pub(in crate::sim) fn new(group: u32, number: u32, cuts_per_million: u32, mut random: Random) -> Self {
        Self {
            link: Link::new(format!("member-{group}-{number}"), cuts_per_million, random.fork()),
            random,
            group: format!("members-{group}"),
            state: State::Out,
            id: String::new(),
            generation: -1,
            followers: Vec::new(),
            assignment: Vec::new(),
            contact_ns: 0,
            sent_at_ns: 0,
            must_find_coordinator: true,
            next_at_ns: 0,
            is_done: false,
            commits_from_ns: 0,
            starts: 0,
            started_ns: 0,
        }
    }

    fn act(&mut self, env: &mut Env<'_>) {
        self.sent_at_ns = env.now_ns;
        if self.must_find_coordinator {
            let request = find_coordinator::Request { key: self.group.clone().into(), ..Default::default() };
            return self.link.send(env, 2, &request, Some(Asked::Coordinator));
        }
        match self.state {
            State::Out | State::Joining => self.join(env),
            State::Syncing => self.sync(env),
            State::Member => match self.random.index(40) {
                0 => self.leave(env),
                1 => self.fall_silent(env),
                2..=9 if env.now_ns >= self.commits_from_ns => self.commit(env),
                10..=15 if env.now_ns >= self.commits_from_ns => self.fetch(env),
                _ => self.heartbeat(env),
            },
        }
    }

    fn join(&mut self, env: &mut Env<'_>) {
        self.state = State::Joining;
        let protocol = join_group::RequestProtocols { name: PROTOCOL.into(), metadata: b"wish"[..].into() };
        let request = join_group::Request {
            group_id: self.group.clone().into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: self.id.clone().into(),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![protocol],
            ..Default::default()
        };
        let version = any_version(ApiKey::JoinGroup, 1, 9, &mut self.random);
        self.link.send(env, version, &request, Some(Asked::Join));
    }

    fn take_joined(&mut self, env: &mut Env<'_>, version: i16, body: &[u8]) {
        let response = decode::<join_group::Response<'_>>(body, version);
        if response.error_code == ErrorCode::MemberIdRequired.code() {
            self.id = response.member_id.into_owned();
            return;
        }
        if response.error_code != 0 {
            return self.take_error(env, "JoinGroup", response.error_code);
        }
        assert!(!response.member_id.is_empty(), "who joins has an id");
        self.id = response.member_id.into_owned();
        self.generation = response.generation_id;
        let leads = response.leader == self.id;
        assert_eq!(leads, !response.members.is_empty(), "the leader, and nobody else, is told the members");
        self.followers = response.members.into_iter().map(|member| member.member_id.into_owned()).collect();
        assert!(!leads || self.followers.contains(&self.id), "the leader is a member");
        self.state = State::Syncing;
        self.next_at_ns = env.now_ns;
    }

    /// The leader deals the partitions out in turn.
    fn sync(&mut self, env: &mut Env<'_>) {
        let mut shares = vec![Vec::new(); self.followers.len()];
        let count = shares.len().max(1);
        let places = env.model.places();
        for (at, place) in places.into_iter().enumerate().filter(|_| !self.followers.is_empty()) {
            shares[at % count].extend_from_slice(&encode(place));
        }
        let assignments = self.followers.iter().zip(shares).map(|(member, share)| sync_group::RequestAssignments {
            member_id: member.clone().into(),
            assignment: share.into(),
        });
        let request = sync_group::Request {
            group_id: self.group.clone().into(),
            generation_id: self.generation,
            member_id: self.id.clone().into(),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: Some(PROTOCOL.into()),
            assignments: assignments.collect(),
            ..Default::default()
        };
        let version = any_version(ApiKey::SyncGroup, 0, 5, &mut self.random);
        self.link.send(env, version, &request, Some(Asked::Sync { generation: self.generation }));
    }

    fn take_synced(&mut self, env: &mut Env<'_>, version: i16, body: &[u8], generation: i32) {
        let response = decode::<sync_group::Response<'_>>(body, version);
        if response.error_code != 0 {
            return self.take_error(env, "SyncGroup", response.error_code);
        }
        self.assignment = response.assignment.chunks_exact(PLACE_BYTES).map(decode_place).collect();
        env.model.assigned(&self.group, generation, &self.id, &self.assignment);
        env.totals.assignments += 1;
        self.state = State::Member;
        self.contact_ns = self.sent_at_ns;
        // What was under way on a lost connection is of an earlier generation, and refused.
        self.commits_from_ns = 0;
    }

    fn heartbeat(&mut self, env: &mut Env<'_>) {
        let request = heartbeat::Request {
            group_id: self.group.clone().into(),
            generation_id: self.generation,
            member_id: self.id.clone().into(),
            ..Default::default()
        };
        let version = any_version(ApiKey::Heartbeat, 0, 4, &mut self.random);
        self.link.send(env, version, &request, Some(Asked::Heartbeat));
    }

    fn take_heartbeat(&mut self, env: &mut Env<'_>, version: i16, body: &[u8]) {
        let response = decode::<heartbeat::Response>(body, version);
        if response.error_code != 0 {
            return self.take_error(env, "Heartbeat", response.error_code);
        }
        if self.sent_at_ns < self.started_ns + LOADING_NS_MAX {
            // Kafka's coordinator, too, says yes to every member while it loads its groups.
            return;
        }
        self.contact_ns = self.sent_at_ns;
        let Some((silent, since_ns)) = env.model.longest_silent(&self.group, self.generation) else { return };
        // Sessions begin anew with the node. The answer may have been under way for long.
        let silence_ns = self.sent_at_ns.saturating_sub(since_ns.max(self.started_ns));
        assert!(
            silence_ns < MISSED_WITHIN_NS,
            "{silent} is silent since {since_ns}, and at {} {} is told that all is well in generation {}",
            env.now_ns,
            self.id,
            self.generation
        );
    }

    fn leave(&mut self, env: &mut Env<'_>) {
        let member = leave_group::RequestMembers { member_id: self.id.clone().into(), ..Default::default() };
        let request = leave_group::Request {
            group_id: self.group.clone().into(),
            member_id: self.id.clone().into(),
            members: vec![member],
        };
        let version = any_version(ApiKey::LeaveGroup, 0, 5, &mut self.random);
        self.start_over();
        self.link.send(env, version, &request, Some(Asked::Leave));
    }

    /// Its process is gone; another one begins some time later.
    fn fall_silent(&mut self, env: &mut Env<'_>) {
        env.model.silent(&self.group, &self.id, self.contact_ns);
        env.totals.silences += 1;
        self.start_over();
        self.next_at_ns = env.now_ns + self.random.below(SILENCE_NS_MAX);
    }

    fn start_over(&mut self) {
        self.state = State::Out;
        self.id.clear();
        self.assignment.clear();
    }

    /// Some of the partitions that are its own and still there.
    fn own_places(&mut self, env: &Env<'_>) -> Vec<Place> {
        let mut places: Vec<Place> = self.assignment.iter().copied().filter(|&place| env.model.exists(place)).collect();
        self.random.shuffle(&mut places);
        places.truncate(1 + self.random.index(3));
        places.sort_unstable();
        places
    }

    fn commit(&mut self, env: &mut Env<'_>) {
        let mut asked = Vec::new();
        let mut topics = Vec::new();
        for place in self.own_places(env) {
            let committed_offset = env.model.next_offset(&self.group);
            env.model.ask_commit(&self.group, place, committed_offset);
            asked.push((place, committed_offset));
            topics.push(offset_commit::RequestTopics {
                name: env.model.topic(place.topic).name.clone().into(),
                partitions: vec![offset_commit::RequestTopicsPartitions {
                    partition_index: place.index,
                    committed_offset,
                    committed_leader_epoch: -1,
                    committed_metadata: Some("".into()),
                }],
                ..Default::default()
            });
        }
        if topics.is_empty() {
            return self.heartbeat(env);
        }
        let request = offset_commit::Request {
            group_id: self.group.clone().into(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.clone().into(),
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
            if partition.error_code == 0 {
                env.model.committed(&self.group, place, offset);
                env.totals.commits += 1;
            } else if env.model.exists(place) && self.state == State::Member {
                self.take_error(env, "OffsetCommit", partition.error_code);
            }
        }
    }

    fn fetch(&mut self, env: &mut Env<'_>) {
        let places = self.own_places(env);
        let topics = places.iter().map(|place| offset_fetch::RequestTopics {
            name: env.model.topic(place.topic).name.clone().into(),
            partition_indexes: vec![place.index],
        });
        let request = offset_fetch::Request {
            group_id: self.group.clone().into(),
            topics: Some(topics.collect()),
            ..Default::default()
        };
        let version = any_version(ApiKey::OffsetFetch, 1, 7, &mut self.random);
        self.link.send(env, version, &request, Some(Asked::Fetch(places)));
    }

    fn take_fetched(&mut self, env: &mut Env<'_>, version: i16, body: &[u8], places: &[Place]) {
        let response = decode::<offset_fetch::Response<'_>>(body, version);
        if response.error_code != 0 {
            return self.take_error(env, "OffsetFetch", response.error_code);
        }
        if env.model.generation(&self.group) != self.generation {
            // The next owner may have committed meanwhile.
            return;
        }
        let partitions: Vec<_> = response.topics.iter().flat_map(|topic| &topic.partitions).collect();
        assert_eq!(partitions.len(), places.len(), "every partition is answered");
        for (partition, &place) in partitions.into_iter().zip(places) {
            if env.model.exists(place) && partition.error_code == 0 {
                env.model.check_commit(&self.group, place, partition.committed_offset);
            }
        }
    }

    fn take_error(&mut self, env: &mut Env<'_>, what: &str, code: i16) {
        env.totals.retriable_errors += 1;
        if code == ErrorCode::RebalanceInProgress.code() {
            if self.state == State::Member {
                self.contact_ns = self.sent_at_ns;
                env.totals.rebalances += 1;
            }
            self.state = State::Joining;
            return;
        }
        let is_out = code == ErrorCode::UnknownMemberId.code();
        if is_out || code == ErrorCode::IllegalGeneration.code() {
            let quiet_ns = env.now_ns.saturating_sub(self.contact_ns);
            assert!(
                self.state != State::Member || quiet_ns + ROUNDING_NS >= SESSION_NS,
                "{what} of {} in generation {}: error {code}, {quiet_ns} ns after its last sign of life",
                self.id,
                self.generation
            );
            self.state = State::Out;
            if is_out {
                self.start_over();
            }
            return;
        }
        assert!(is_retriable(code), "{what}: error {code}");
        if self.state == State::Syncing {
            self.state = State::Joining;
        }
        let coordinator = [ErrorCode::CoordinatorNotAvailable, ErrorCode::NotCoordinator];
        self.must_find_coordinator |= coordinator.iter().any(|error| error.code() == code);
    }

    fn lost(&mut self, env: &Env<'_>) {
        self.commits_from_ns = env.now_ns + PAUSE_AFTER_LOSS_NS;
        if self.state == State::Syncing {
            self.state = State::Joining;
        }
    }
}

impl Client for Member {
    fn poll(&mut self, env: &mut Env<'_>) {
        if env.totals.starts != self.starts {
            (self.starts, self.started_ns) = (env.totals.starts, env.now_ns);
        }
        for arrival in self.link.receive(env) {
            let Arrival::Answer { version, body, context } = arrival else {
                self.lost(env);
                continue;
            };
            match context {
                Asked::Coordinator => {
                    let response = decode::<find_coordinator::Response<'_>>(&body, version);
                    self.must_find_coordinator = response.error_code != 0;
                    if self.must_find_coordinator {
                        self.take_error(env, "FindCoordinator", response.error_code);
                    }
                }
                Asked::Join => self.take_joined(env, version, &body),
                Asked::Sync { generation } => self.take_synced(env, version, &body, generation),
                Asked::Heartbeat => self.take_heartbeat(env, version, &body),
                // Whether it was still a member is its own affair.
                Asked::Leave => drop(decode::<leave_group::Response<'_>>(&body, version)),
                Asked::Commit(asked) => self.take_committed(env, version, &body, &asked),
                Asked::Fetch(places) => self.take_fetched(env, version, &body, &places),
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

/// A place in an assignment: the topic's number and the partition's, 4 bytes each.
const PLACE_BYTES: usize = 8;

fn encode(place: Place) -> [u8; PLACE_BYTES] {
    let mut bytes = [0; PLACE_BYTES];
    bytes[..4].copy_from_slice(&(place.topic.0 as u32).to_be_bytes());
    bytes[4..].copy_from_slice(&place.index.to_be_bytes());
    bytes
}

fn decode_place(bytes: &[u8]) -> Place {
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    Place { topic: TopicNumber(number(0) as usize), index: number(4) as i32 }
}
