//! When offsets and whole groups go away: DeleteGroups, OffsetDelete, expiry, the end of a topic.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use super::classic::{CONSUMER_PROTOCOL_TYPE, Group, State};
use super::coordinator::Phase;
use super::effects::{APPEND_RECORDS_MAX, Appends, Removal, Then};
use super::message::{DeleteOffsetsReply, DeleteOffsetsRequest, Now};
use super::offsets::Entry;
use super::records::{self, Record};
use super::{Coordinator, Effects, Outcome, Reply, Token};

/// An offset, by group, topic and partition.
type OffsetName = (Arc<str>, Arc<str>, i32);

impl Coordinator {
    /// Removes a group that has no members, with its offsets.
    pub(super) fn delete(&mut self, token: Token, id: Arc<str>, now: Now, effects: &mut Effects) {
        let has_commits = self.appends.commits.contains_key(&id);
        let (groups, mut turn) = self.turn(now, effects);
        let outcome = match groups.get_mut(&id) {
            None => Outcome::GroupNotFound,
            Some(group) if group.state == State::Dead => Outcome::NotAvailable,
            Some(group) if group.state != State::Empty => Outcome::GroupNotEmpty,
            // What is under way has to be in the group first, or it would outlive it.
            Some(_) if has_commits => Outcome::LoadInProgress,
            Some(group) => {
                group.dissolve(Outcome::UnknownMember, &mut turn);
                group.state = State::Dead;
                let offsets = group.offset_names();
                let mut removing = Removing::new(turn.appends, turn.effects);
                for offset in offsets {
                    removing.offset(offset);
                }
                removing.group(Removal { group: id, token: Some(token) });
                removing.end();
                return;
            }
        };
        turn.reply(token, Reply::Delete(outcome));
    }

    /// Removes committed offsets of topics that no member reads (KIP-496). What was not committed is no error.
    pub(super) fn delete_offsets(&mut self, token: Token, request: DeleteOffsetsRequest, effects: &mut Effects) {
        let refused = match self.groups.get(&request.group) {
            _ if request.group.is_empty() => Some(Outcome::InvalidGroupId),
            None => Some(Outcome::GroupNotFound),
            Some(group) => group.refuses_removal_of_offsets(),
        };
        let Some(group) = self.groups.get(&request.group).filter(|_| refused.is_none()) else {
            let outcome = refused.unwrap_or(Outcome::GroupNotFound);
            effects.replies.push((token, Reply::DeleteOffsets(DeleteOffsetsReply::refused(outcome))));
            return;
        };
        let has_commits = self.appends.commits.contains_key(&request.group);
        let mut removing = Removing::new(&mut self.appends, effects);
        let mut topics = Vec::with_capacity(request.topics.len());
        for (topic, partitions) in request.topics {
            let is_read = group.reads(&topic);
            let mut outcomes = Vec::with_capacity(partitions.len());
            for (partition, known) in partitions {
                let outcome = if known == Outcome::Done && is_read { Outcome::Subscribed } else { known };
                // What is under way is in the log before the tombstone.
                if outcome == Outcome::Done && (has_commits || group.offsets.contains(&topic, partition)) {
                    removing.offset((request.group.clone(), topic.clone(), partition));
                }
                outcomes.push((partition, outcome));
            }
            topics.push((topic, outcomes));
        }
        removing.reply(token, DeleteOffsetsReply { outcome: Outcome::Done, topics });
    }

    /// Looks through groups for offsets that have expired (`offsets.retention.minutes`, counted from when the group
    /// emptied: KIP-211) and for groups that hold nothing any more, and removes both. At most `group_count_max` groups
    /// a call, going on where the last call stopped; true if there are more.
    pub fn expire(&mut self, group_count_max: usize, now: Now, effects: &mut Effects) -> bool {
        if self.phase != Phase::Serving || self.appends.is_full() {
            return false;
        }
        let after = self.expire_after.take();
        let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut removing = Removing::new(&mut self.appends, effects);
        let mut groups = self.groups.range_mut::<str, _>((start, Bound::Unbounded));
        for (id, group) in groups.by_ref().take(group_count_max) {
            removing.expired(group, self.config.offsets_retention_ms, now.wall_ms);
            self.expire_after = Some(id.clone());
            if removing.count >= APPEND_RECORDS_MAX {
                break;
            }
        }
        let has_more = groups.next().is_some();
        removing.end();
        if !has_more {
            self.expire_after = None;
        }
        has_more
    }

    /// A topic is gone: every group's offsets of it go, too. Those whose commit is under way are covered as well.
    pub fn forget_topic(&mut self, topic: &str, effects: &mut Effects) {
        if self.phase != Phase::Serving {
            return;
        }
        let name: Arc<str> = Arc::from(topic);
        let committed = self.groups.values().flat_map(|group| {
            let partitions = group.offsets.partitions(topic);
            partitions.map(|partition| (group.id.clone(), name.clone(), partition))
        });
        let under_way = self.appends.under_way.values().filter_map(|append| match &append.then {
            Then::Committed { group, offsets, .. } => Some((group, offsets)),
            Then::Created(_) | Then::Assigned { .. } | Then::Emptied | Then::Replaced(_) | Then::Removed { .. } => None,
        });
        let committing = under_way.flat_map(|(group, offsets)| {
            let of_topic = offsets.iter().filter(|(committed, ..)| *committed == name);
            of_topic.map(|(_, partition, _)| (group.clone(), name.clone(), *partition))
        });
        let names: BTreeSet<OffsetName> = committed.chain(committing).collect();
        let mut removing = Removing::new(&mut self.appends, effects);
        for name in names {
            removing.offset(name);
        }
        removing.end();
    }
}

impl Group {
    /// Why no offset of the group may be removed now. Consumers tell what they read, so that the others may go.
    fn refuses_removal_of_offsets(&self) -> Option<Outcome> {
        let is_consumer = self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE);
        match self.state {
            State::Dead => Some(Outcome::NotAvailable),
            State::Empty => None,
            State::PreparingRebalance | State::CompletingRebalance | State::Stable if is_consumer => None,
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => Some(Outcome::GroupNotEmpty),
        }
    }

    fn offset_names(&self) -> Vec<OffsetName> {
        self.offsets.iter().map(|(topic, entry)| (self.id.clone(), topic.clone(), entry.partition)).collect()
    }

    /// Offsets are kept as long as somebody may come back for them (KIP-211): of an empty group, since it emptied;
    /// of a group that only holds offsets, since their commit; of consumers, those of topics that none reads any more.
    fn expired_offsets(&self, retention_ms: i64, wall_ms: i64) -> Vec<(Arc<str>, i32)> {
        let emptied_ms = match (&self.protocol_type, self.state) {
            (None, _) => None,
            (Some(_), State::Empty) => self.state_timestamp_ms,
            (Some(kind), State::Stable) if **kind == *CONSUMER_PROTOCOL_TYPE && self.subscribed.is_some() => None,
            (Some(_), _) => return Vec::new(),
        };
        let is_expired = |topic: &str, committed: &Entry| {
            let since_ms = emptied_ms.unwrap_or(committed.commit_timestamp_ms);
            !self.reads(topic) && committed.is_expired(since_ms, retention_ms, wall_ms)
        };
        let expired = self.offsets.iter().filter(|(topic, committed)| is_expired(topic, committed));
        expired.map(|(topic, committed)| (topic.clone(), committed.partition)).collect()
    }

    /// An empty group reads nothing, whatever it used to read.
    fn reads(&self, topic: &str) -> bool {
        self.state != State::Empty && self.is_subscribed(topic)
    }
}

/// Gathers tombstones into appends of a bounded number of records.
struct Removing<'a> {
    appends: &'a mut Appends,
    effects: &'a mut Effects,
    records: Vec<Record>,
    offsets: Vec<OffsetName>,
    groups: Vec<Removal>,
    /// Whom the last append answers.
    reply: Option<(Token, DeleteOffsetsReply)>,
    /// Tombstones so far.
    count: usize,
}

impl<'a> Removing<'a> {
    fn new(appends: &'a mut Appends, effects: &'a mut Effects) -> Removing<'a> {
        Removing {
            appends,
            effects,
            records: Vec::new(),
            offsets: Vec::new(),
            groups: Vec::new(),
            reply: None,
            count: 0,
        }
    }

    fn offset(&mut self, (group, topic, partition): OffsetName) {
        self.push(Record { key: records::offset_key(&group, &topic, partition), value: None });
        self.offsets.push((group, topic, partition));
    }

    /// After the group's offsets, so that a group never comes back without having gone as a whole.
    fn group(&mut self, removal: Removal) {
        self.push(Record { key: records::group_key(&removal.group), value: None });
        self.groups.push(removal);
    }

    /// What has expired of a group, and the group itself if nothing of it is left.
    fn expired(&mut self, group: &mut Group, retention_ms: i64, wall_ms: i64) {
        // What is under way has to be in the group first.
        if self.appends.commits.contains_key(&group.id) || group.state == State::Dead {
            return;
        }
        let expired = group.expired_offsets(retention_ms, wall_ms);
        let is_all = expired.len() == group.offsets.len();
        for (topic, partition) in expired {
            self.offset((group.id.clone(), topic, partition));
        }
        if is_all && group.state == State::Empty && group.pending.is_empty() {
            group.state = State::Dead;
            self.group(Removal { group: group.id.clone(), token: None });
        }
    }

    fn push(&mut self, record: Record) {
        self.count += 1;
        if self.records.len() == APPEND_RECORDS_MAX {
            self.begin();
        }
        self.records.push(record);
    }

    fn begin(&mut self) {
        let then = Then::Removed {
            offsets: std::mem::take(&mut self.offsets),
            groups: std::mem::take(&mut self.groups),
            reply: self.reply.take(),
        };
        self.appends.begin(std::mem::take(&mut self.records), then, self.effects);
    }

    /// Ends with an answer, which waits for the last tombstone if there is any.
    fn reply(mut self, token: Token, reply: DeleteOffsetsReply) {
        if self.records.is_empty() {
            self.effects.replies.push((token, Reply::DeleteOffsets(reply)));
            return;
        }
        self.reply = Some((token, reply));
        self.begin();
    }

    fn end(mut self) {
        if !self.records.is_empty() {
            self.begin();
        }
    }
}
