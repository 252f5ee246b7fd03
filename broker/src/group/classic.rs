//! One group of the classic protocol: its members, its generation and its committed offsets, as plain state.
//! What changes it over time is in [`super::rebalance`] and beside it.
//!
//! ```text
//!           join                     all joined, or time is up             leader's assignment durable
//!  Empty ─────────► PreparingRebalance ─────────────► CompletingRebalance ─────────────► Stable
//!    ▲                │  ▲                                  │                              │
//!    └── nobody left ─┘  └── join, leave, silence ──────────┴──────────────────────────────┘
//!  Empty ──► Dead: being removed, until the tombstones are durable
//! ```
//! Invariants, checked by [`Group::check`] and, in tests, by `check_members`:
//! - `awaiting_join` counts the members with a parked JoinGroup; only members have one, in any state but Empty.
//! - A parked SyncGroup exists in CompletingRebalance only.
//! - `leader` is a member, unless there is none; every static member's instance id maps to it, and no other does.
//! - `support` counts, for each protocol's name, the members that offer it.
//! - A pending member (it was given an id and has not come back with it) is not a member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::message::{JoinReply, JoinedMember, Protocol};
use super::offsets::Offsets;
use super::records::{self, GroupValue, MemberValue, Record};
use super::timers::TimerId;
use super::{Outcome, Token};

/// The protocol type of consumers, whose metadata the coordinator understands.
pub(super) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// No member.
    Empty,
    /// Waiting for the members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
    /// Gone, or going.
    Dead,
}

impl State {
    /// The name that clients see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
            State::Dead => "Dead",
        }
    }
}

/// A member of a group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: Arc<str>,
    pub(super) instance: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// The parked JoinGroup.
    pub(super) join: Option<Token>,
    /// The parked SyncGroup.
    pub(super) sync: Option<Token>,
    /// It has not seen a generation yet: silence counts even while its JoinGroup is parked.
    pub(super) is_new: bool,
    /// When it will have been silent for too long. `timer` fires at this time or before it, and is then set anew.
    pub(super) deadline_ms: u64,
    pub(super) timer: Option<TimerId>,
}

impl Member {
    /// Its metadata of a protocol. Empty for a static member that stays in the group although it no longer offers
    /// the protocol that was chosen.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols.iter().find(|offered| &*offered.name == protocol).map_or_else(Bytes::new, |p| p.metadata.clone())
    }

    /// A member whose request is parked cannot speak, and so is not silent.
    pub(super) fn is_excused(&self) -> bool {
        !self.is_new && (self.join.is_some() || self.sync.is_some())
    }
}

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: Arc<str>,
    pub(super) state: State,
    pub(super) previous_state: State,
    /// By the wall; absent if an old record did not say.
    pub(super) state_timestamp_ms: Option<i64>,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol_name: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    pub(super) static_members: BTreeMap<Arc<str>, Arc<str>>,
    pub(super) pending: BTreeMap<Arc<str>, TimerId>,
    pub(super) pending_sync: BTreeSet<Arc<str>>,
    pub(super) awaiting_join: usize,
    support: BTreeMap<Arc<str>, usize>,
    /// The topics that consumers read, if their metadata tells.
    pub(super) subscribed: Option<BTreeSet<Box<str>>>,
    pub(super) join_timer: Option<TimerId>,
    /// While the initial rebalance is delayed.
    pub(super) initial: Option<InitialDelay>,
    pub(super) sync_timer: Option<TimerId>,
    pub(super) offsets: Offsets,
}

/// The first rebalance of a group waits for more members, and again for each that comes meanwhile.
#[derive(Debug, Clone, Copy)]
pub(super) struct InitialDelay {
    /// The delay that runs now.
    pub(super) delay_ms: u64,
    /// What is left of the rebalance timeout.
    pub(super) remaining_ms: u64,
    /// Somebody came while it ran.
    pub(super) member_added: bool,
}

impl Group {
    pub(super) fn new(id: Arc<str>, state_timestamp_ms: Option<i64>) -> Group {
        Group {
            id,
            state: State::Empty,
            previous_state: State::Dead,
            state_timestamp_ms,
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            awaiting_join: 0,
            support: BTreeMap::new(),
            subscribed: None,
            join_timer: None,
            initial: None,
            sync_timer: None,
            offsets: Offsets::default(),
        }
    }

    /// The group that a record describes: stable with its members, or empty. Offsets and timers come separately.
    pub(super) fn from_record(id: Arc<str>, value: &GroupValue<'_>) -> Group {
        let mut group = Group::new(id, (value.state_timestamp_ms != -1).then_some(value.state_timestamp_ms));
        // Below 0 stands for "no generation" in requests.
        group.generation = value.generation.max(0);
        group.protocol_type = (!value.protocol_type.is_empty()).then(|| Arc::from(value.protocol_type));
        group.protocol_name = value.protocol.map(Arc::from);
        group.leader = value.leader.map(Arc::from);
        // A group with members has chosen a protocol; without one nothing could be said about them.
        let protocol: Option<Arc<str>> = value.protocol.map(Arc::from);
        for member in value.members.iter().filter(|_| protocol.is_some()) {
            let is_known = group.members.contains_key(member.member);
            if is_known || member.instance.is_some_and(|instance| group.static_members.contains_key(instance)) {
                continue;
            }
            let protocols = protocol
                .as_ref()
                .map(|name| Protocol { name: name.clone(), metadata: Bytes::copy_from_slice(member.subscription) });
            group.add(Member {
                id: Arc::from(member.member),
                instance: member.instance.map(Arc::from),
                client_id: Arc::from(member.client_id),
                client_host: Arc::from(member.client_host),
                rebalance_timeout_ms: match member.rebalance_timeout_ms {
                    -1 => member.session_timeout_ms,
                    given => given,
                },
                session_timeout_ms: member.session_timeout_ms,
                protocols: protocols.into_iter().collect(),
                assignment: Bytes::copy_from_slice(member.assignment),
                join: None,
                sync: None,
                is_new: false,
                deadline_ms: 0,
                timer: None,
            });
        }
        if !group.members.is_empty() {
            group.state = State::Stable;
        }
        if group.leader.as_ref().is_none_or(|leader| !group.members.contains_key(leader)) {
            group.leader = group.members.keys().next().cloned();
        }
        group.subscribed = group.subscribed_topics();
        group
    }

    /// Its record, with these assignments instead of the members' own where given.
    pub(super) fn record(&self, assignments: Option<&BTreeMap<Arc<str>, Bytes>>) -> Record {
        let protocol = self.protocol_name.as_deref().unwrap_or("");
        // Bytes that the borrowing value points into.
        let subscriptions: Vec<Bytes> = self.members.values().map(|member| member.metadata(protocol)).collect();
        let members = self.members.values().zip(&subscriptions).map(|(member, subscription)| MemberValue {
            member: &member.id,
            instance: member.instance.as_deref(),
            client_id: &member.client_id,
            client_host: &member.client_host,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription,
            assignment: match assignments {
                Some(assignments) => assignments.get(&member.id).map_or(&[], |assignment| &assignment[..]),
                None => &member.assignment,
            },
        });
        let value = GroupValue {
            protocol_type: self.protocol_type.as_deref().unwrap_or(""),
            generation: self.generation,
            protocol: self.protocol_name.as_deref(),
            leader: self.leader.as_deref(),
            state_timestamp_ms: self.state_timestamp_ms.unwrap_or(-1),
            members: members.collect(),
        };
        Record { key: records::group_key(&self.id), value: Some(records::group_value(&value)) }
    }

    /// The record that says only that the group exists, written before its first member has joined.
    pub(super) fn record_of_creation(&self) -> Record {
        let value = GroupValue {
            protocol_type: "",
            generation: 0,
            protocol: None,
            leader: None,
            state_timestamp_ms: self.state_timestamp_ms.unwrap_or(-1),
            members: Vec::new(),
        };
        Record { key: records::group_key(&self.id), value: Some(records::group_value(&value)) }
    }

    pub(super) fn transition(&mut self, state: State, wall_ms: i64) {
        self.previous_state = self.state;
        self.state = state;
        self.state_timestamp_ms = Some(wall_ms);
    }

    pub(super) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// Whether a member may speak for its group (KIP-345).
    ///
    /// # Errors
    /// [`Outcome::UnknownMember`], or [`Outcome::FencedInstance`] if another member has its instance id now.
    pub(super) fn validate_member(&self, member: &str, instance: Option<&str>) -> Result<(), Outcome> {
        if let Some(instance) = instance {
            match self.static_members.get(instance) {
                None => return Err(Outcome::UnknownMember),
                Some(current) if **current != *member => return Err(Outcome::FencedInstance),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(Outcome::UnknownMember) }
    }

    pub(super) fn add(&mut self, member: Member) {
        if let Some(instance) = &member.instance {
            let earlier = self.static_members.insert(instance.clone(), member.id.clone());
            assert!(earlier.is_none(), "a static member is replaced, not added twice");
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.count_support(&member.protocols, 1);
        self.awaiting_join += usize::from(member.join.is_some());
        let earlier = self.members.insert(member.id.clone(), member);
        assert!(earlier.is_none(), "member ids are unique");
    }

    /// Takes a member out; the caller answers what it has parked and cancels its timer.
    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        self.count_support(&member.protocols, -1);
        self.awaiting_join -= usize::from(member.join.is_some());
        if let Some(instance) = &member.instance {
            self.static_members.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_sync.remove(id);
        Some(member)
    }

    /// Sets what a member offers in its newest JoinGroup, and parks it. Gives back the one it had parked before.
    pub(super) fn update(&mut self, id: &str, protocols: Vec<Protocol>, join: Option<Token>) -> Option<Token> {
        let member = self.members.get_mut(id).expect("the caller has looked the member up");
        let before = std::mem::replace(&mut member.protocols, protocols);
        let after = member.protocols.clone();
        let parked = std::mem::replace(&mut member.join, join);
        self.awaiting_join -= usize::from(parked.is_some());
        self.awaiting_join += usize::from(join.is_some());
        self.count_support(&before, -1);
        self.count_support(&after, 1);
        parked
    }

    /// Takes the parked JoinGroup of a member.
    pub(super) fn take_join(&mut self, id: &str) -> Option<Token> {
        let token = self.members.get_mut(id)?.join.take()?;
        self.awaiting_join -= 1;
        Some(token)
    }

    /// Gives a static member another id. What it had parked is answered by the caller.
    pub(super) fn rename(&mut self, old: &str, new: Arc<str>) -> Option<Token> {
        let mut member = self.members.remove(old).expect("the instance id maps to a member");
        let parked = member.join.take();
        self.awaiting_join -= usize::from(parked.is_some());
        member.id = new.clone();
        let instance = member.instance.clone().expect("only static members are replaced");
        self.static_members.insert(instance, new.clone());
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        if self.pending_sync.remove(old) {
            self.pending_sync.insert(new.clone());
        }
        self.members.insert(new, member);
        parked
    }

    fn count_support(&mut self, protocols: &[Protocol], by: isize) {
        for protocol in protocols {
            let count = self.support.entry(protocol.name.clone()).or_insert(0);
            *count = count.checked_add_signed(by).expect("a protocol is counted once for each member that offers it");
            if *count == 0 {
                self.support.remove(&protocol.name);
            }
        }
    }

    /// Whether a member that offers these could be in the group.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| self.is_common(&protocol.name))
    }

    fn is_common(&self, protocol: &str) -> bool {
        self.support.get(protocol).copied().unwrap_or(0) == self.members.len()
    }

    /// The protocol with the most votes: each member votes for the first it offers that all others offer too. Among
    /// equals the leader's preference decides.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().find(|protocol| self.is_common(&protocol.name))?;
            *votes.entry(&vote.name).or_insert(0) += 1;
        }
        let most = votes.values().copied().max()?;
        let leader = self.members.get(self.leader.as_deref()?)?;
        let preferred = leader.protocols.iter().find(|protocol| votes.get(&protocol.name) == Some(&most));
        preferred
            .map(|protocol| protocol.name.clone())
            .or_else(|| votes.iter().find(|(_, count)| **count == most).map(|(name, _)| Arc::clone(name)))
    }

    pub(super) fn has_all_joined(&self) -> bool {
        self.awaiting_join == self.members.len() && self.pending.is_empty()
    }

    pub(super) fn rebalance_timeout_ms(&self) -> u64 {
        self.members.values().map(|member| u64::try_from(member.rebalance_timeout_ms).unwrap_or(0)).max().unwrap_or(0)
    }

    /// Everybody, as the leader gets to know them.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol_name.as_deref().unwrap_or("");
        let describe = |member: &Member| JoinedMember {
            member: member.id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.values().map(describe).collect()
    }

    /// The answer to a member's JoinGroup in the current generation.
    pub(super) fn join_reply(&self, member: Arc<str>) -> JoinReply {
        JoinReply {
            outcome: Outcome::Done,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_else(|| Arc::from("")),
            skip_assignment: false,
            members: if self.is_leader(&member) { self.joined_members() } else { Vec::new() },
            member,
        }
    }

    /// Whether a member reads this topic; where that is not known, every consumer may.
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE),
        }
    }

    /// The topics that the members' metadata names; absent if they are no consumers or it cannot be read.
    pub(super) fn subscribed_topics(&self) -> Option<BTreeSet<Box<str>>> {
        if self.protocol_type.as_deref() != Some(CONSUMER_PROTOCOL_TYPE) {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol_name.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(protocol);
            for topic in super::subscription::topics(&metadata)? {
                topics.insert(Box::from(topic));
            }
        }
        Some(topics)
    }

    /// Asserts what must hold between any two calls, as far as it can be said at a glance.
    pub(super) fn check(&self) {
        assert!(self.awaiting_join <= self.members.len(), "only members have a parked join");
        assert_eq!(self.leader.is_none(), self.members.is_empty(), "a group with members has a leader");
        match self.state {
            State::Empty | State::Dead => assert!(self.members.is_empty(), "no members"),
            State::PreparingRebalance => assert!(self.join_timer.is_some(), "a rebalance ends"),
            State::CompletingRebalance | State::Stable => assert!(self.join_timer.is_none(), "the rebalance has ended"),
        }
    }

    /// Asserts all of it, member by member.
    #[cfg(test)]
    pub(super) fn check_members(&self) {
        self.check();
        let parked = self.members.values().filter(|member| member.join.is_some()).count();
        assert_eq!(self.awaiting_join, parked, "the count of parked joins");
        assert!(self.leader.as_ref().is_none_or(|leader| self.members.contains_key(leader)), "the leader is a member");
        let syncs = self.members.values().filter(|member| member.sync.is_some()).count();
        assert!(syncs == 0 || self.state == State::CompletingRebalance, "a sync is parked in one state only");
        assert!(!self.members.keys().any(|member| self.pending.contains_key(member)), "a member is not pending");
        assert!(self.pending_sync.iter().all(|member| self.members.contains_key(member)), "only members are to sync");
        let statics: BTreeMap<Arc<str>, Arc<str>> =
            self.members.values().filter_map(|member| Some((member.instance.clone()?, member.id.clone()))).collect();
        assert_eq!(self.static_members, statics, "every instance id maps to its member");
        let mut support: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for protocol in self.members.values().flat_map(|member| &member.protocols) {
            *support.entry(protocol.name.clone()).or_insert(0) += 1;
        }
        assert_eq!(self.support, support, "the count of members that offer a protocol");
    }
}
