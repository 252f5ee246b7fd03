//! How a group comes from one generation to the next: who is waited for, for how long, and who is told what.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::classic::{Group, InitialDelay, Member, State};
use super::effects::{Appends, Then};
use super::message::{JoinReply, Now, SyncReply};
use super::timers::{Due, Timers};
use super::{Config, Effects, Outcome, Reply, Token};

/// How often a group looks whether one of its members has come back, at most: a client may ask for a rebalance timeout
/// of 0 together with a session of half an hour.
const NOBODY_JOINED_WAIT_MS_MIN: u64 = 1_000;

/// What a group needs of its coordinator while one request, timer or completed append is worked on.
pub(super) struct Turn<'a> {
    pub(super) config: &'a Config,
    pub(super) timers: &'a mut Timers,
    pub(super) appends: &'a mut Appends,
    pub(super) effects: &'a mut Effects,
    pub(super) now: Now,
}

impl Turn<'_> {
    pub(super) fn reply(&mut self, token: Token, reply: Reply) {
        self.effects.replies.push((token, reply));
    }

    /// A deadline that lies ahead, so that what sets itself anew at once cannot keep a tick from ending.
    fn after(&self, timeout_ms: u64) -> u64 {
        self.now.now_ms.saturating_add(timeout_ms.max(1))
    }

    pub(super) fn set_after(&mut self, timeout_ms: u64, due: Due) -> super::timers::TimerId {
        self.timers.set(self.after(timeout_ms), due)
    }
}

/// A timeout that came over the wire; below 0 counts as 0.
pub(super) fn timeout_ms(timeout_ms: i32) -> u64 {
    u64::try_from(timeout_ms).unwrap_or(0)
}

impl Group {
    /// Gives a member `timeout_ms` from now on. Setting a later deadline leaves the timer alone: it looks at the
    /// deadline when it fires, and a heartbeat costs no reordering.
    pub(super) fn set_deadline(&mut self, id: &str, timeout_ms: u64, turn: &mut Turn<'_>) {
        let group = self.id.clone();
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        member.deadline_ms = turn.after(timeout_ms);
        if let Some(timer) = member.timer {
            if timer.deadline_ms() <= member.deadline_ms {
                return;
            }
            turn.timers.cancel(timer);
        }
        let due = Due::Member { group, member: member.id.clone() };
        member.timer = Some(turn.timers.set(member.deadline_ms, due));
    }

    /// Begins a member's session anew.
    pub(super) fn renew_session(&mut self, id: &str, turn: &mut Turn<'_>) {
        if let Some(member) = self.members.get(id) {
            let session_ms = timeout_ms(member.session_timeout_ms);
            self.set_deadline(id, session_ms, turn);
        }
    }

    /// Takes a member out; what it has parked is answered.
    pub(super) fn drop_member(&mut self, id: &str, turn: &mut Turn<'_>) {
        let Some(member) = self.remove(id) else {
            return;
        };
        if let Some(timer) = member.timer {
            turn.timers.cancel(timer);
        }
        // It may still be there and retry: it then joins anew, without an id.
        let refused = JoinReply::refused(Outcome::UnknownMember, Arc::from(""));
        if let Some(token) = member.join {
            turn.reply(token, Reply::Join(refused));
        }
        if let Some(token) = member.sync {
            turn.reply(token, Reply::Sync(SyncReply::refused(Outcome::UnknownMember)));
        }
    }

    /// Takes out a pending member, which has nothing parked.
    pub(super) fn drop_pending(&mut self, id: &str, turn: &mut Turn<'_>) -> bool {
        let Some(timer) = self.pending.remove(id) else {
            return false;
        };
        turn.timers.cancel(timer);
        true
    }

    /// Something changed that needs a rebalance: begins one, or lets the one that runs go on.
    pub(super) fn rebalance(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare_rebalance(turn),
            State::PreparingRebalance | State::Dead => self.complete_join_if_all_joined(turn),
        }
    }

    /// Begins a rebalance: everybody has to join again.
    pub(super) fn prepare_rebalance(&mut self, turn: &mut Turn<'_>) {
        if self.state == State::CompletingRebalance {
            self.refuse_syncs(Outcome::RebalanceInProgress, turn);
        }
        self.stop_waiting_for_syncs(turn);
        let is_initial = self.state == State::Empty;
        self.transition(State::PreparingRebalance, turn.now.wall_ms);
        if is_initial {
            // The group is new: more members are likely to come.
            let delay_ms = turn.config.initial_rebalance_delay_ms;
            let remaining_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms);
            self.initial = Some(InitialDelay { delay_ms, remaining_ms, member_added: false });
            self.wait_initially(delay_ms, turn);
        } else {
            self.wait_for_joins(self.rebalance_timeout_ms(), turn);
            if self.has_all_joined() {
                self.complete_join(turn);
            }
        }
    }

    /// Without a delay the members that come in the same turn are still waited for.
    fn wait_initially(&mut self, delay_ms: u64, turn: &mut Turn<'_>) {
        let deadline_ms = turn.now.now_ms.saturating_add(delay_ms);
        self.join_timer = Some(turn.timers.set(deadline_ms, Due::Join(self.id.clone())));
    }

    fn wait_for_joins(&mut self, timeout_ms: u64, turn: &mut Turn<'_>) {
        self.join_timer = Some(turn.set_after(timeout_ms, Due::Join(self.id.clone())));
    }

    /// Ends the wait early when there is nobody left to wait for. A group's first rebalance lasts its delay.
    pub(super) fn complete_join_if_all_joined(&mut self, turn: &mut Turn<'_>) {
        let is_initial = self.previous_state == State::Empty;
        if self.state == State::PreparingRebalance && !is_initial && self.has_all_joined() {
            self.complete_join(turn);
        }
    }

    /// The wait for joins has timed out.
    pub(super) fn join_timed_out(&mut self, turn: &mut Turn<'_>) {
        self.join_timer = None;
        if let Some(initial) = self.initial
            && initial.member_added
            && initial.remaining_ms != 0
        {
            let delay_ms = turn.config.initial_rebalance_delay_ms.min(initial.remaining_ms);
            let remaining_ms = initial.remaining_ms.saturating_sub(initial.delay_ms);
            self.initial = Some(InitialDelay { delay_ms, remaining_ms, member_added: false });
            self.wait_initially(delay_ms, turn);
            return;
        }
        self.complete_join(turn);
    }

    /// Begins the next generation with those who joined, and the static members, who may be away for a while.
    pub(super) fn complete_join(&mut self, turn: &mut Turn<'_>) {
        assert_eq!(self.state, State::PreparingRebalance, "only a rebalance that runs can complete");
        if let Some(timer) = self.join_timer.take() {
            turn.timers.cancel(timer);
        }
        self.initial = None;
        let is_missing = |member: &&Member| member.join.is_none() && member.instance.is_none();
        let missing: Vec<Arc<str>> = self.members.values().filter(is_missing).map(|member| member.id.clone()).collect();
        for id in missing {
            self.drop_member(&id, turn);
        }
        if self.members.is_empty() {
            self.end_last_generation(turn);
        } else if self.elect_joined_leader() {
            self.begin_generation(turn);
        } else {
            // Only static members, all of them away: their sessions end the wait.
            self.wait_for_joins(self.rebalance_timeout_ms().max(NOBODY_JOINED_WAIT_MS_MIN), turn);
        }
    }

    /// A leader who did not come is replaced by a member who did; false if nobody came.
    fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |id: &Arc<str>| self.members.get(id).is_some_and(|member| member.join.is_some());
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        let joined = self.members.values().find(|member| member.join.is_some());
        match joined.map(|member| member.id.clone()) {
            Some(id) => {
                self.leader = Some(id);
                true
            }
            None => false,
        }
    }

    fn end_last_generation(&mut self, turn: &mut Turn<'_>) {
        self.generation = next_generation(self.generation);
        self.protocol_name = None;
        self.subscribed = self.subscribed_topics();
        self.transition(State::Empty, turn.now.wall_ms);
        turn.appends.begin(vec![self.record(None)], Then::Emptied, turn.effects);
    }

    fn begin_generation(&mut self, turn: &mut Turn<'_>) {
        self.generation = next_generation(self.generation);
        let protocol = self.select_protocol();
        self.protocol_name = Some(protocol.expect("a member joins only with a protocol that all others offer"));
        self.subscribed = self.subscribed_topics();
        self.transition(State::CompletingRebalance, turn.now.wall_ms);
        self.pending_sync = self.members.keys().cloned().collect();
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            if let Some(token) = self.take_join(&id) {
                let reply = self.join_reply(id.clone());
                turn.reply(token, Reply::Join(reply));
            }
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
            self.renew_session(&id, turn);
        }
        let timeout_ms = self.rebalance_timeout_ms();
        self.sync_timer = Some(turn.set_after(timeout_ms, Due::Sync(self.id.clone())));
    }

    /// The members had time to ask for their assignment; those who did not are out.
    pub(super) fn sync_timed_out(&mut self, turn: &mut Turn<'_>) {
        self.sync_timer = None;
        let missing = std::mem::take(&mut self.pending_sync);
        assert!(!missing.is_empty(), "the timer is cancelled once everybody has asked");
        for id in missing {
            self.drop_member(&id, turn);
        }
        self.prepare_rebalance(turn);
    }

    /// Notes that a member asked for its assignment.
    pub(super) fn sync_received(&mut self, id: &str, turn: &mut Turn<'_>) {
        self.pending_sync.remove(id);
        if self.pending_sync.is_empty() {
            self.stop_waiting_for_syncs(turn);
        }
    }

    fn stop_waiting_for_syncs(&mut self, turn: &mut Turn<'_>) {
        self.pending_sync.clear();
        if let Some(timer) = self.sync_timer.take() {
            turn.timers.cancel(timer);
        }
    }

    /// A member was silent for its whole session.
    pub(super) fn member_timed_out(&mut self, id: &str, turn: &mut Turn<'_>) {
        if self.pending.remove(id).is_some() {
            if self.state == State::PreparingRebalance && self.has_all_joined() {
                self.complete_join(turn);
            }
            return;
        }
        let member = self.members.get_mut(id).expect("a member's timer is cancelled with it");
        member.timer = None;
        if member.deadline_ms > turn.now.now_ms {
            let due = Due::Member { group: self.id.clone(), member: member.id.clone() };
            member.timer = Some(turn.timers.set(member.deadline_ms, due));
            return;
        }
        if member.is_excused() {
            // Its session begins anew with the answer it waits for.
            return;
        }
        self.drop_member(id, turn);
        self.member_left(turn);
    }

    /// What a member's end means to the others.
    pub(super) fn member_left(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(turn),
            State::PreparingRebalance if self.has_all_joined() => self.complete_join(turn),
            State::PreparingRebalance | State::Empty | State::Dead => {}
        }
    }

    /// Whether this SyncGroup of a member is parked.
    pub(super) fn awaits_sync(&self, id: &str, token: Token) -> bool {
        self.members.get(id).is_some_and(|member| member.sync == Some(token))
    }

    /// The leader's assignment is durable: everybody gets theirs.
    pub(super) fn become_stable(&mut self, mut assignments: BTreeMap<Arc<str>, Bytes>, turn: &mut Turn<'_>) {
        assert_eq!(self.state, State::CompletingRebalance, "an assignment completes a rebalance");
        for member in self.members.values_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
        }
        let waiting: Vec<(Arc<str>, Token)> =
            self.members.values_mut().filter_map(|member| Some((member.id.clone(), member.sync.take()?))).collect();
        for (id, token) in waiting {
            let reply = self.sync_reply(&id);
            turn.reply(token, Reply::Sync(reply));
            self.renew_session(&id, turn);
        }
        self.transition(State::Stable, turn.now.wall_ms);
    }

    /// The answer to a member's SyncGroup in a stable group.
    pub(super) fn sync_reply(&self, id: &str) -> SyncReply {
        SyncReply {
            outcome: Outcome::Done,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: self.members.get(id).map_or_else(Bytes::new, |member| member.assignment.clone()),
        }
    }

    /// Nobody gets an assignment in this generation.
    pub(super) fn refuse_syncs(&mut self, outcome: Outcome, turn: &mut Turn<'_>) {
        let mut waiting = Vec::new();
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            waiting.extend(member.sync.take().map(|token| (member.id.clone(), token)));
        }
        for (id, token) in waiting {
            turn.reply(token, Reply::Sync(SyncReply::refused(outcome)));
            self.renew_session(&id, turn);
        }
    }

    /// Ends the group here: everything parked is answered, no timer is left.
    pub(super) fn dissolve(&mut self, outcome: Outcome, turn: &mut Turn<'_>) {
        for (_, member) in std::mem::take(&mut self.members) {
            if let Some(token) = member.join {
                turn.reply(token, Reply::Join(JoinReply::refused(outcome, member.id)));
            }
            if let Some(token) = member.sync {
                turn.reply(token, Reply::Sync(SyncReply::refused(outcome)));
            }
            if let Some(timer) = member.timer {
                turn.timers.cancel(timer);
            }
        }
        let pending = std::mem::take(&mut self.pending);
        let timers = pending.into_values().chain(self.join_timer.take()).chain(self.sync_timer.take());
        for timer in timers {
            turn.timers.cancel(timer);
        }
    }
}

fn next_generation(generation: i32) -> i32 {
    generation.checked_add(1).unwrap_or(1)
}
