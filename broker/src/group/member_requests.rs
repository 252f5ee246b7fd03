//! SyncGroup, Heartbeat and LeaveGroup: what a member does once it has joined.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::classic::{Group, State};
use super::effects::Then;
use super::message::{HeartbeatRequest, LeavingMember, Now, SyncRequest};
use super::rebalance::Turn;
use super::{Coordinator, Effects, LeaveReply, LeaveRequest, Outcome, Reply, SyncReply, Token};

impl Coordinator {
    pub(super) fn sync(&mut self, token: Token, request: SyncRequest, now: Now, effects: &mut Effects) {
        let (groups, mut turn) = self.turn(now, effects);
        let lacks_protocol = request.protocol_type.is_none() || request.protocol_name.is_none();
        let refused = if request.requires_protocol && lacks_protocol {
            Some(Outcome::InconsistentProtocol)
        } else if request.group.is_empty() {
            Some(Outcome::InvalidGroupId)
        } else if let Some(group) = groups.get_mut(&request.group) {
            let refused = group.sync(token, request, &mut turn).err();
            group.check();
            refused
        } else {
            Some(Outcome::UnknownMember)
        };
        if let Some(outcome) = refused {
            turn.reply(token, Reply::Sync(SyncReply::refused(outcome)));
        }
    }

    pub(super) fn heartbeat(&mut self, request: &HeartbeatRequest, now: Now, effects: &mut Effects) -> Outcome {
        if request.group.is_empty() {
            return Outcome::InvalidGroupId;
        }
        let (groups, mut turn) = self.turn(now, effects);
        let Some(group) = groups.get_mut(&request.group) else {
            return Outcome::UnknownMember;
        };
        group.heartbeat(request, &mut turn)
    }

    pub(super) fn leave(&mut self, request: LeaveRequest, now: Now, effects: &mut Effects) -> LeaveReply {
        if request.group.is_empty() {
            return LeaveReply { outcome: Outcome::InvalidGroupId, members: Vec::new() };
        }
        let (groups, mut turn) = self.turn(now, effects);
        let Some(group) = groups.get_mut(&request.group) else {
            let members = request.members.into_iter().map(|member| (member, Outcome::UnknownMember)).collect();
            return LeaveReply { outcome: Outcome::Done, members };
        };
        if group.state == State::Dead {
            return LeaveReply { outcome: Outcome::NotAvailable, members: Vec::new() };
        }
        let reply = group.leave(request.members, &mut turn);
        group.check();
        reply
    }
}

impl Group {
    fn sync(&mut self, token: Token, request: SyncRequest, turn: &mut Turn<'_>) -> Result<(), Outcome> {
        if self.state == State::Dead {
            return Err(Outcome::NotAvailable);
        }
        self.validate_member(&request.member, request.instance.as_deref())?;
        if request.generation != self.generation {
            return Err(Outcome::IllegalGeneration);
        }
        let differs =
            |given: &Option<Arc<str>>, own: &Option<Arc<str>>| given.is_some() && own.is_some() && given != own;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(Outcome::InconsistentProtocol);
        }
        match self.state {
            State::PreparingRebalance => Err(Outcome::RebalanceInProgress),
            State::CompletingRebalance => {
                self.park_sync(token, request, turn);
                Ok(())
            }
            State::Stable => {
                self.sync_received(&request.member, turn);
                let reply = self.sync_reply(&request.member);
                turn.reply(token, Reply::Sync(reply));
                Ok(())
            }
            State::Empty | State::Dead => unreachable!("a group with a member is neither empty nor dead"),
        }
    }

    /// A member waits for the leader's assignment; the leader's is stored, and then given out.
    fn park_sync(&mut self, token: Token, request: SyncRequest, turn: &mut Turn<'_>) {
        let id = request.member;
        let member = self.members.get_mut(&id).expect("the member was validated");
        if let Some(earlier) = member.sync.replace(token) {
            // Its client has given it up and sent another.
            turn.reply(earlier, Reply::Sync(SyncReply::refused(Outcome::RebalanceInProgress)));
        }
        self.sync_received(&id, turn);
        if !self.is_leader(&id) {
            return;
        }
        // Who is not assigned anything gets an empty assignment.
        let given = request.assignments.into_iter().map(|assignment| (assignment.member, assignment.assignment));
        let assignments: BTreeMap<Arc<str>, Bytes> = given.filter(|(id, _)| self.members.contains_key(id)).collect();
        let record = self.record(Some(&assignments));
        let then = Then::Assigned { group: self.id.clone(), leader: id, token, assignments };
        turn.appends.begin(vec![record], then, turn.effects);
    }

    fn heartbeat(&mut self, request: &HeartbeatRequest, turn: &mut Turn<'_>) -> Outcome {
        if self.state == State::Dead {
            return Outcome::NotAvailable;
        }
        if let Err(outcome) = self.validate_member(&request.member, request.instance.as_deref()) {
            return outcome;
        }
        if request.generation != self.generation {
            return Outcome::IllegalGeneration;
        }
        self.renew_session(&request.member, turn);
        match self.state {
            State::PreparingRebalance => Outcome::RebalanceInProgress,
            State::CompletingRebalance | State::Stable => Outcome::Done,
            State::Empty | State::Dead => unreachable!("a group with a member is neither empty nor dead"),
        }
    }

    fn leave(&mut self, members: Vec<LeavingMember>, turn: &mut Turn<'_>) -> LeaveReply {
        let mut replies = Vec::with_capacity(members.len());
        for member in members {
            let outcome = self.leave_one(&member, turn);
            replies.push((member, outcome));
        }
        if replies.iter().any(|(_, outcome)| *outcome == Outcome::Done) {
            match self.state {
                State::Stable | State::CompletingRebalance => self.prepare_rebalance(turn),
                State::PreparingRebalance => self.complete_join_if_all_joined(turn),
                State::Empty | State::Dead => {}
            }
        }
        LeaveReply { outcome: Outcome::Done, members: replies }
    }

    fn leave_one(&mut self, leaving: &LeavingMember, turn: &mut Turn<'_>) -> Outcome {
        let id = if leaving.member.is_empty() {
            // An administrator names static members by their instance id alone.
            let known = leaving.instance.as_ref().and_then(|instance| self.static_members.get(instance));
            match known {
                Some(id) => id.clone(),
                None => return Outcome::UnknownMember,
            }
        } else if self.drop_pending(&leaving.member, turn) {
            return Outcome::Done;
        } else if let Err(outcome) = self.validate_member(&leaving.member, leaving.instance.as_deref()) {
            return outcome;
        } else {
            leaving.member.clone()
        };
        self.drop_member(&id, turn);
        Outcome::Done
    }
}
