//! Committed offsets: OffsetCommit, OffsetFetch, and when offsets and whole groups go away.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use super::classic::{CONSUMER_PROTOCOL_TYPE, Group, State};
use super::coordinator::Phase;
use super::effects::{APPEND_RECORDS_MAX, AppendId, Appends, Removal, Then};
use super::message::{CommitPartition, CommitReply, CommitRequest, CommittedTopic, FetchReply, FetchRequest, Now};
use super::offsets::{Committed, Offsets};
use super::records::{self, Record, STRING_BYTES_MAX};
use super::{Coordinator, Effects, Outcome, Reply, Token};

/// An offset, by group, topic and partition.
type OffsetName = (Arc<str>, Arc<str>, i32);

impl Coordinator {
    pub(super) fn commit(&mut self, token: Token, request: CommitRequest, now: Now, effects: &mut Effects) {
        if let Err(outcome) = self.check_commit(&request, now, effects) {
            effects.replies.push((token, Reply::Commit(CommitReply::refused(&request, outcome))));
            return;
        }
        let expire_timestamp_ms =
            (request.retention_ms != -1).then(|| now.wall_ms.saturating_add(request.retention_ms));
        let mut records = Vec::new();
        let mut offsets = Vec::new();
        let mut reply = CommitReply { topics: Vec::with_capacity(request.topics.len()) };
        for topic in request.topics {
            let mut outcomes = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let outcome = self.check_commit_of(partition);
                outcomes.push((partition.partition, outcome));
                if outcome != Outcome::Done {
                    continue;
                }
                let committed = Committed {
                    offset: partition.offset,
                    leader_epoch: partition.leader_epoch,
                    metadata: partition.metadata.clone().unwrap_or_else(|| Arc::from("")),
                    commit_timestamp_ms: now.wall_ms,
                    expire_timestamp_ms,
                    topic_id: topic.id,
                };
                records.push(committed.record(&request.group, &topic.name, partition.partition));
                offsets.push((topic.name.clone(), partition.partition, committed));
            }
            reply.topics.push(CommittedTopic { name: topic.name, id: topic.id, partitions: outcomes });
        }
        if records.is_empty() {
            effects.replies.push((token, Reply::Commit(reply)));
            return;
        }
        let then = Then::Committed { token, reply, group: request.group, offsets };
        self.appends.begin(records, then, effects);
    }

    /// Whether this member may commit offsets of its group now; renews its session if so.
    fn check_commit(&mut self, request: &CommitRequest, now: Now, effects: &mut Effects) -> Result<(), Outcome> {
        let (groups, mut turn) = self.turn(now, effects);
        let Some(group) = groups.get_mut(&request.group) else {
            // Whoever brings no generation uses the group for its offsets only.
            return match (request.generation < 0, request.knows_group_not_found) {
                (true, _) => Ok(()),
                (false, true) => Err(Outcome::GroupNotFound),
                (false, false) => Err(Outcome::IllegalGeneration),
            };
        };
        group.check_commit(request)?;
        if matches!(group.state, State::Stable | State::PreparingRebalance) {
            group.renew_session(&request.member, &mut turn);
        }
        Ok(())
    }

    fn check_commit_of(&self, partition: &CommitPartition) -> Outcome {
        let metadata = partition.metadata.as_deref().unwrap_or("");
        // As Kafka counts it: in UTF-16 code units.
        let is_too_long = metadata.len() > self.config.offset_metadata_max
            && metadata.encode_utf16().count() > self.config.offset_metadata_max;
        match partition.known {
            Outcome::Done if is_too_long || metadata.len() > STRING_BYTES_MAX => Outcome::MetadataTooLarge,
            known => known,
        }
    }

    pub(super) fn fetch(&mut self, token: Token, request: FetchRequest, effects: &mut Effects) {
        if request.require_stable
            && let Some(under_way) = self.appends.last_commit(&request.group)
        {
            under_way.push((token, request));
            return;
        }
        effects.replies.push((token, Reply::Fetch(self.fetched(&request))));
    }

    /// Answers the reads that waited for an append that has ended.
    pub(super) fn answer_reads(&mut self, reads: Vec<(Token, FetchRequest)>, effects: &mut Effects) {
        for (token, request) in reads {
            let reply = match self.phase {
                Phase::Serving => self.fetched(&request),
                Phase::Loading | Phase::Resigned => FetchReply::refused(&request, Outcome::NotCoordinator),
            };
            effects.replies.push((token, Reply::Fetch(reply)));
        }
    }

    fn fetched(&self, request: &FetchRequest) -> FetchReply {
        let group = self.groups.get(&request.group);
        let topics = match (&request.topics, group) {
            (None, None) => Vec::new(),
            (None, Some(group)) => group.offsets.fetch_all(),
            (Some(topics), Some(group)) => group.offsets.fetch(topics),
            (Some(topics), None) => Offsets::default().fetch(topics),
        };
        FetchReply { group: request.group.clone(), outcome: Outcome::Done, topics }
    }

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
    fn check_commit(&self, request: &CommitRequest) -> Result<(), Outcome> {
        if self.state == State::Dead {
            return Err(Outcome::NotAvailable);
        }
        if request.generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if request.generation < 0 && request.member.is_empty() && request.instance.is_none() {
            // Nobody from outside changes offsets under the members' hands.
            return Err(Outcome::UnknownMember);
        }
        self.validate_member(&request.member, request.instance.as_deref())?;
        if request.generation != self.generation {
            return Err(Outcome::IllegalGeneration);
        }
        if self.state == State::CompletingRebalance {
            // The member is of this generation and has not got its assignment yet, so these are not its offsets.
            return Err(Outcome::RebalanceInProgress);
        }
        Ok(())
    }

    fn offset_names(&self) -> Vec<OffsetName> {
        self.offsets.iter().map(|(topic, partition, _)| (self.id.clone(), topic.clone(), partition)).collect()
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
        let is_expired = |topic: &str, committed: &Committed| {
            let since_ms = emptied_ms.unwrap_or(committed.commit_timestamp_ms);
            !self.reads(topic) && committed.is_expired(since_ms, retention_ms, wall_ms)
        };
        let expired = self.offsets.iter().filter(|(topic, _, committed)| is_expired(topic, committed));
        expired.map(|(topic, partition, _)| (topic.clone(), partition)).collect()
    }

    /// An empty group reads nothing, whatever it used to read.
    fn reads(&self, topic: &str) -> bool {
        self.state != State::Empty && self.is_subscribed(topic)
    }
}

impl Appends {
    /// The reads that wait for the last commit of a group under way.
    fn last_commit(&mut self, group: &str) -> Option<&mut Vec<(Token, FetchRequest)>> {
        let (_, last): (usize, AppendId) = *self.commits.get(group)?;
        self.under_way.get_mut(&last).map(|append| &mut append.reads)
    }
}

/// Gathers tombstones into appends of a bounded number of records.
struct Removing<'a> {
    appends: &'a mut Appends,
    effects: &'a mut Effects,
    records: Vec<Record>,
    offsets: Vec<OffsetName>,
    groups: Vec<Removal>,
    /// Tombstones so far.
    count: usize,
}

impl<'a> Removing<'a> {
    fn new(appends: &'a mut Appends, effects: &'a mut Effects) -> Removing<'a> {
        Removing { appends, effects, records: Vec::new(), offsets: Vec::new(), groups: Vec::new(), count: 0 }
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
        let is_all = expired.len() == group.offsets.iter().count();
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
        let then =
            Then::Removed { offsets: std::mem::take(&mut self.offsets), groups: std::mem::take(&mut self.groups) };
        self.appends.begin(std::mem::take(&mut self.records), then, self.effects);
    }

    fn end(mut self) {
        if !self.records.is_empty() {
            self.begin();
        }
    }
}
