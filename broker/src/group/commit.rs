//! Committed offsets: OffsetCommit and OffsetFetch.

use super::classic::{Group, State};
use super::coordinator::Phase;
use super::effects::{AppendId, Appends, Then};
use super::message::{CommitPartition, CommitReply, CommitRequest, CommittedTopic, FetchReply, FetchRequest, Now};
use super::offsets::{Committed, Offsets};
use super::records::STRING_BYTES_MAX;
use super::{Coordinator, Effects, Outcome, Reply, Token};

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
                    metadata: partition.metadata.as_deref().unwrap_or_default().into(),
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
}

impl Appends {
    /// The reads that wait for the last commit of a group under way.
    fn last_commit(&mut self, group: &str) -> Option<&mut Vec<(Token, FetchRequest)>> {
        let (_, last): (usize, AppendId) = *self.commits.get(group)?;
        self.under_way.get_mut(&last).map(|append| &mut append.reads)
    }
}
