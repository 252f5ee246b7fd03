//! JoinGroup: who gets into the next generation of a group.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::classic::{CONSUMER_PROTOCOL_TYPE, Group, Member, State};
use super::effects::{Replacement, Then};
use super::message::{JoinReply, JoinRequest, Now};
use super::rebalance::{Turn, timeout_ms};
use super::records::STRING_BYTES_MAX;
use super::timers::Due;
use super::{Coordinator, Effects, Outcome, Reply, SyncReply, Token, subscription};

/// The most a member's protocols may hold together, names and metadata: what the leader is sent, and the record
/// of the group, grow with it.
pub const MEMBER_METADATA_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The most members of one group that were given an id and have not come back with it. Clients above it are told
/// to try again; each of the others has its session time to come back.
pub const PENDING_MEMBERS_MAX: usize = 10_000;

/// How long a JoinGroup of a new member may be parked. Its client may be gone, and a session of a member that has
/// never seen a generation cannot be kept alive by heartbeats.
pub const NEW_MEMBER_JOIN_TIMEOUT_MS: u64 = 5 * 60 * 1000;

/// What a member id adds to the name it begins with.
const MEMBER_ID_SUFFIX_BYTES: usize = 37;

impl Coordinator {
    pub(super) fn join(&mut self, token: Token, mut request: JoinRequest, now: Now, effects: &mut Effects) {
        if let Err(outcome) = self.check_join(&mut request) {
            let refused = JoinReply::refused(outcome, request.member);
            effects.replies.push((token, Reply::Join(refused)));
            return;
        }
        let is_new_member = request.member.is_empty();
        let is_new_group = !self.groups.contains_key(&request.group);
        if is_new_group && !is_new_member {
            let refused = JoinReply::refused(Outcome::UnknownMember, request.member);
            effects.replies.push((token, Reply::Join(refused)));
            return;
        }
        let name = request.instance.as_ref().unwrap_or(&request.client_id).clone();
        let new_id = self.new_member_id(&name);
        let appends = effects.appends.len();
        let id = request.group.clone();
        let (groups, mut turn) = self.turn(now, effects);
        let group = groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone(), Some(now.wall_ms)));
        let member = request.member.clone();
        let joined = if group.accepts(&member, turn.config.group_size_max) {
            if is_new_member {
                group.join_new(token, request, new_id, &mut turn)
            } else {
                group.join_known(token, request, &mut turn)
            }
        } else {
            group.drop_pending(&member, &mut turn);
            group.drop_member(&member, &mut turn);
            Err((Outcome::GroupFull, Arc::from("")))
        };
        if let Err((outcome, member)) = joined {
            turn.reply(token, Reply::Join(JoinReply::refused(outcome, member)));
        }
        group.check();
        if !is_new_group || turn.effects.appends.len() > appends {
            return;
        }
        if group.members.is_empty() && group.pending.is_empty() {
            groups.remove(&id);
        } else {
            // The group is there from now on: say so, before anything depends on it.
            turn.appends.begin(vec![group.record_of_creation()], Then::Created(id), turn.effects);
        }
    }

    /// What can be said without looking at the group.
    fn check_join(&self, request: &mut JoinRequest) -> Result<(), Outcome> {
        if request.group.is_empty() {
            return Err(Outcome::InvalidGroupId);
        }
        let session_bounds = self.config.session_timeout_ms_min..=self.config.session_timeout_ms_max;
        if !session_bounds.contains(&request.session_timeout_ms) {
            return Err(Outcome::InvalidSessionTimeout);
        }
        // Of a protocol that is named twice the first counts.
        let mut names = BTreeSet::new();
        request.protocols.retain(|protocol| names.insert(protocol.name.clone()));
        let strings = [&request.group, &request.client_id, &request.client_host, &request.protocol_type];
        let mut strings = strings.into_iter().chain(&request.instance).chain(&names);
        let metadata_bytes: usize = request.protocols.iter().map(|p| p.name.len() + p.metadata.len()).sum();
        // The record of the group has to hold them, and the member id, which begins with one of them.
        if strings.any(|text| text.len() + MEMBER_ID_SUFFIX_BYTES > STRING_BYTES_MAX)
            || metadata_bytes > MEMBER_METADATA_BYTES_MAX
        {
            return Err(Outcome::InvalidRequest);
        }
        // The others would have to read it, too: the leader could not assign, and Kafka does not answer at all.
        let is_consumer = *request.protocol_type == *CONSUMER_PROTOCOL_TYPE;
        if is_consumer && request.protocols.iter().any(|protocol| subscription::is_broken(&protocol.metadata)) {
            return Err(Outcome::InvalidRequest);
        }
        Ok(())
    }
}

/// Why a join was refused, and the member id to say with it.
type Refused = (Outcome, Arc<str>);

impl Group {
    /// Whether there is room for this member.
    ///
    /// While members join, those who have count, not those who may yet come: so a group that has become too large
    /// loses the last to join.
    fn accepts(&self, member: &str, size_max: usize) -> bool {
        match self.state {
            State::Empty | State::Dead => true,
            State::PreparingRebalance => {
                self.members.get(member).is_some_and(|member| member.join.is_some()) || self.awaiting_join < size_max
            }
            State::CompletingRebalance | State::Stable => {
                self.members.contains_key(member) || self.members.len() < size_max
            }
        }
    }

    fn join_new(
        &mut self,
        token: Token,
        request: JoinRequest,
        new_id: Arc<str>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Refused> {
        let nobody = || Arc::from("");
        if self.state == State::Dead {
            return Err((Outcome::NotAvailable, nobody()));
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err((Outcome::InconsistentProtocol, nobody()));
        }
        if let Some(instance) = &request.instance {
            return match self.static_members.get(instance).cloned() {
                Some(old_id) => self.replace(token, request, old_id, new_id, turn),
                None => {
                    self.admit(token, request, new_id, turn);
                    Ok(())
                }
            };
        }
        if !request.needs_known_member {
            self.admit(token, request, new_id, turn);
            return Ok(());
        }
        if self.pending.len() >= PENDING_MEMBERS_MAX {
            return Err((Outcome::LoadInProgress, nobody()));
        }
        // A client whose first JoinGroup's answer is lost comes again without an id (KIP-394): only the one that
        // it comes back with becomes a member.
        let due = Due::Member { group: self.id.clone(), member: new_id.clone() };
        let timer = turn.set_after(timeout_ms(request.session_timeout_ms), due);
        self.pending.insert(new_id.clone(), timer);
        Err((Outcome::MemberIdRequired, new_id))
    }

    fn join_known(&mut self, token: Token, request: JoinRequest, turn: &mut Turn<'_>) -> Result<(), Refused> {
        let id = request.member.clone();
        if self.state == State::Dead {
            return Err((Outcome::NotAvailable, id));
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err((Outcome::InconsistentProtocol, id));
        }
        if self.pending.contains_key(&id) && request.instance.is_none() {
            self.drop_pending(&id, turn);
            self.admit(token, request, id, turn);
            return Ok(());
        }
        if let Err(outcome) = self.validate_member(&id, request.instance.as_deref()) {
            return Err((outcome, id));
        }
        let is_unchanged = self.members[&id].protocols == request.protocols;
        let stays = match self.state {
            // The answer to its first JoinGroup may have been lost.
            State::CompletingRebalance => is_unchanged,
            // The leader may want a rebalance for what its metadata does not tell, such as new partitions.
            State::Stable => is_unchanged && !self.is_leader(&id),
            State::PreparingRebalance => false,
            State::Empty | State::Dead => return Err((Outcome::UnknownMember, id)),
        };
        if stays {
            let reply = self.join_reply(id);
            turn.reply(token, Reply::Join(reply));
        } else {
            self.rejoin(&id, token, request, turn);
            self.rebalance(turn);
        }
        Ok(())
    }

    /// Parks a member's JoinGroup, with what it offers now.
    fn rejoin(&mut self, id: &Arc<str>, token: Token, request: JoinRequest, turn: &mut Turn<'_>) {
        if let Some(member) = self.members.get_mut(id) {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
            member.session_timeout_ms = request.session_timeout_ms;
        }
        if let Some(earlier) = self.update(id, request.protocols, Some(token)) {
            // Its client has given it up and sent another.
            turn.reply(earlier, Reply::Join(JoinReply::refused(Outcome::RebalanceInProgress, id.clone())));
        }
    }

    /// Makes a member, and parks its JoinGroup.
    fn admit(&mut self, token: Token, request: JoinRequest, id: Arc<str>, turn: &mut Turn<'_>) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        self.add(Member {
            id: id.clone(),
            instance: request.instance,
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols,
            assignment: Bytes::new(),
            join: Some(token),
            sync: None,
            is_new: true,
            deadline_ms: 0,
            timer: None,
        });
        if let Some(initial) = &mut self.initial {
            initial.member_added = true;
        }
        self.set_deadline(&id, NEW_MEMBER_JOIN_TIMEOUT_MS, turn);
        self.rebalance(turn);
    }

    /// A static member's process started anew: it gets a new id, and the old one is fenced (KIP-345).
    fn replace(
        &mut self,
        token: Token,
        request: JoinRequest,
        old_id: Arc<str>,
        new_id: Arc<str>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Refused> {
        let leader = self.leader.clone().unwrap_or_else(|| Arc::from(""));
        let old = &self.members[&old_id];
        let replacement = Replacement {
            group: self.id.clone(),
            generation: self.generation,
            token,
            old_id: old_id.clone(),
            new_id: new_id.clone(),
            old_protocols: old.protocols.clone(),
            old_rebalance_timeout_ms: old.rebalance_timeout_ms,
            old_session_timeout_ms: old.session_timeout_ms,
            leader,
            may_skip_assignment: request.may_skip_assignment,
        };
        self.change_id(&old_id, &new_id, turn);
        self.renew_session(&new_id, turn);
        self.rejoin(&new_id, token, request, turn);
        match self.state {
            State::Stable if self.select_protocol() == self.protocol_name => {
                // Nothing changes for the others: the assignment holds for the new id.
                let record = self.record(None);
                turn.appends.begin(vec![record], Then::Replaced(Box::new(replacement)), turn.effects);
            }
            // The leader may already assign to the old id.
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(turn),
            State::PreparingRebalance => self.complete_join_if_all_joined(turn),
            State::Empty | State::Dead => unreachable!("a group with a static member has members"),
        }
        Ok(())
    }

    /// Gives a static member another id; what waits under the old one is fenced.
    fn change_id(&mut self, old_id: &Arc<str>, new_id: &Arc<str>, turn: &mut Turn<'_>) {
        let join = self.rename(old_id, new_id.clone());
        let member = self.members.get_mut(new_id).expect("renamed just now");
        let sync = member.sync.take();
        member.is_new = false;
        if let Some(timer) = member.timer.take() {
            turn.timers.cancel(timer);
        }
        if let Some(token) = join {
            turn.reply(token, Reply::Join(JoinReply::refused(Outcome::FencedInstance, old_id.clone())));
        }
        if let Some(token) = sync {
            turn.reply(token, Reply::Sync(SyncReply::refused(Outcome::FencedInstance)));
        }
    }

    /// The record of a static member's new id is durable. If a rebalance has begun meanwhile, its JoinGroup is part
    /// of that.
    pub(super) fn replaced(&mut self, replacement: &Replacement, turn: &mut Turn<'_>) {
        if !self.awaits_replacement(replacement) {
            return;
        }
        self.take_join(&replacement.new_id);
        let mut reply = self.join_reply(replacement.new_id.clone());
        if replacement.may_skip_assignment {
            reply.skip_assignment = self.is_leader(&replacement.new_id);
        } else {
            // It must not take itself for the leader, or it would assign anew without a rebalance.
            reply.leader = replacement.leader.clone();
            reply.members = Vec::new();
        }
        turn.reply(replacement.token, Reply::Join(reply));
    }

    /// The record of a static member's new id is lost: the old one stands.
    pub(super) fn take_back(&mut self, replacement: Replacement, outcome: Outcome, turn: &mut Turn<'_>) {
        if !self.awaits_replacement(&replacement) {
            return;
        }
        let Replacement { token, old_id, new_id, old_protocols, .. } = replacement;
        self.take_join(&new_id);
        self.update(&new_id, old_protocols, None);
        self.change_id(&new_id, &old_id, turn);
        if let Some(member) = self.members.get_mut(&old_id) {
            member.rebalance_timeout_ms = replacement.old_rebalance_timeout_ms;
            member.session_timeout_ms = replacement.old_session_timeout_ms;
        }
        self.renew_session(&old_id, turn);
        turn.reply(token, Reply::Join(JoinReply::refused(outcome, Arc::from(""))));
    }

    fn awaits_replacement(&self, replacement: &Replacement) -> bool {
        self.state == State::Stable
            && self.generation == replacement.generation
            && self.members.get(&replacement.new_id).is_some_and(|member| member.join == Some(replacement.token))
    }
}
