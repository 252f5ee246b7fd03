//! Requests to a coordinator and its replies, as owned plain data that may cross a mailbox.
//!
//! One request concerns groups of *one* coordinator: what names several groups on the wire is split before
//! (see [`super::api`]), and put together again from the replies.

use std::sync::Arc;

use bytes::Bytes;

use super::Outcome;

/// Names a request that waits for its reply. Chosen by the caller, unique among the requests that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// The two clocks of a call. Timers use the first; the second, which may jump, goes into records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic milliseconds.
    pub now_ms: u64,
    /// Milliseconds since the epoch, by the wall.
    pub wall_ms: i64,
}

/// A topic's id, as it stands on the wire; all zero stands for none.
pub type TopicId = [u8; 16];

/// One protocol that a member offers, with its metadata (a subscription, for consumers).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// The name, such as `range`.
    pub name: Arc<str>,
    /// Opaque to the coordinator, handed to the leader.
    pub metadata: Bytes,
}

/// A member wants to be in the group's next generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The group.
    pub group: Arc<str>,
    /// The member, empty if it has no id yet.
    pub member: Arc<str>,
    /// Set for static members (KIP-345).
    pub instance: Option<Arc<str>>,
    /// Whose connection it is.
    pub client_id: Arc<str>,
    /// Where it comes from, as Kafka writes it: `/127.0.0.1`.
    pub client_host: Arc<str>,
    /// How long the member may be silent.
    pub session_timeout_ms: i32,
    /// How long the member may take to join again.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, …
    pub protocol_type: Arc<str>,
    /// In the order of the member's preference.
    pub protocols: Vec<Protocol>,
    /// From version 4 on: a member without an id has to come back with the one it is given (KIP-394).
    pub needs_known_member: bool,
    /// From version 9 on: the leader can be told not to assign (KIP-814).
    pub may_skip_assignment: bool,
}

/// A member as the leader gets to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member: Arc<str>,
    /// Set for static members.
    pub instance: Option<Arc<str>>,
    /// Its metadata of the chosen protocol.
    pub metadata: Bytes,
}

/// The answer to [`JoinRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinReply {
    /// How it ended.
    pub outcome: Outcome,
    /// The generation joined; -1 if none was.
    pub generation: i32,
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that the group chose.
    pub protocol_name: Option<Arc<str>>,
    /// Who assigns; empty if nobody does.
    pub leader: Arc<str>,
    /// The leader shall not assign, for nothing changed (KIP-814).
    pub skip_assignment: bool,
    /// The id of the member that asked.
    pub member: Arc<str>,
    /// Everybody, for the leader; empty for all others.
    pub members: Vec<JoinedMember>,
}

impl JoinReply {
    /// The answer to a join that did not succeed.
    #[must_use]
    pub fn refused(outcome: Outcome, member: Arc<str>) -> JoinReply {
        JoinReply {
            outcome,
            generation: -1,
            protocol_type: None,
            protocol_name: None,
            leader: Arc::from(""),
            skip_assignment: false,
            member,
            members: Vec::new(),
        }
    }
}

/// What one member is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The member.
    pub member: Arc<str>,
    /// Opaque to the coordinator.
    pub assignment: Bytes,
}

/// A member asks for its assignment; the leader brings everybody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRequest {
    /// The group.
    pub group: Arc<str>,
    /// The generation the member joined.
    pub generation: i32,
    /// The member.
    pub member: Arc<str>,
    /// Set for static members.
    pub instance: Option<Arc<str>>,
    /// Checked where given (version 5).
    pub protocol_type: Option<Arc<str>>,
    /// Checked where given (version 5).
    pub protocol_name: Option<Arc<str>>,
    /// From version 5 on: both must be given (KIP-559).
    pub requires_protocol: bool,
    /// From the leader; empty from all others.
    pub assignments: Vec<Assignment>,
}

/// The answer to [`SyncRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncReply {
    /// How it ended.
    pub outcome: Outcome,
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that the group chose.
    pub protocol_name: Option<Arc<str>>,
    /// What the member is to do.
    pub assignment: Bytes,
}

impl SyncReply {
    /// The answer to a sync that did not succeed.
    #[must_use]
    pub fn refused(outcome: Outcome) -> SyncReply {
        SyncReply { outcome, protocol_type: None, protocol_name: None, assignment: Bytes::new() }
    }
}

/// A member says that it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatRequest {
    /// The group.
    pub group: Arc<str>,
    /// The generation the member is in.
    pub generation: i32,
    /// The member.
    pub member: Arc<str>,
    /// Set for static members.
    pub instance: Option<Arc<str>>,
}

/// A member that leaves, named by its id or (by an administrator) by its instance id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeavingMember {
    /// Its id, empty if it is named by its instance id.
    pub member: Arc<str>,
    /// Set for static members.
    pub instance: Option<Arc<str>>,
}

/// Members leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveRequest {
    /// The group.
    pub group: Arc<str>,
    /// Who leaves.
    pub members: Vec<LeavingMember>,
}

/// The answer to [`LeaveRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveReply {
    /// How it ended as a whole.
    pub outcome: Outcome,
    /// How it ended for each, in the request's order.
    pub members: Vec<(LeavingMember, Outcome)>,
}

/// One partition's offset to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitPartition {
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the record before it; -1 if unknown.
    pub leader_epoch: i32,
    /// Anything the member wants to find again.
    pub metadata: Option<Arc<str>>,
    /// Why nothing can be committed, as far as the caller knows: there is no such topic or partition.
    /// [`Outcome::Done`] if something can.
    pub known: Outcome,
}

/// One topic's offsets to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitTopic {
    /// The name; empty if an id was given that no topic has.
    pub name: Arc<str>,
    /// The id, also where the request goes by names; all zero if there is no such topic.
    pub id: TopicId,
    /// The partitions.
    pub partitions: Vec<CommitPartition>,
}

/// Offsets to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRequest {
    /// The group; may be empty, for old clients' sake.
    pub group: Arc<str>,
    /// The generation, or -1 from a consumer that uses the group for offsets only.
    pub generation: i32,
    /// The member, empty from a consumer that uses the group for offsets only.
    pub member: Arc<str>,
    /// Set for static members.
    pub instance: Option<Arc<str>>,
    /// How long to keep the offsets, in old versions; -1 means as configured.
    pub retention_ms: i64,
    /// From version 9 on a generation of an unknown group is answered with [`Outcome::GroupNotFound`].
    pub knows_group_not_found: bool,
    /// The offsets.
    pub topics: Vec<CommitTopic>,
}

/// How committing went for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedTopic {
    /// As in the request.
    pub name: Arc<str>,
    /// As in the request.
    pub id: TopicId,
    /// Each partition and how it ended, in the request's order.
    pub partitions: Vec<(i32, Outcome)>,
}

/// The answer to [`CommitRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitReply {
    /// In the request's order.
    pub topics: Vec<CommittedTopic>,
}

impl CommitReply {
    /// The answer to a commit of which nothing was committed. What is not known is said to be so all the same.
    pub(super) fn refused(request: &CommitRequest, outcome: Outcome) -> CommitReply {
        let refuse = |partition: &CommitPartition| match partition.known {
            Outcome::Done => (partition.partition, outcome),
            known => (partition.partition, known),
        };
        let topics = request.topics.iter().map(|topic| CommittedTopic {
            name: topic.name.clone(),
            id: topic.id,
            partitions: topic.partitions.iter().map(refuse).collect(),
        });
        CommitReply { topics: topics.collect() }
    }
}

/// One topic whose offsets are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchTopic {
    /// The name; empty if an id was given that no topic has.
    pub name: Arc<str>,
    /// The id, also where the request goes by names; all zero if there is no such topic.
    pub id: TopicId,
    /// [`Outcome::UnknownTopicId`] if the id names no topic.
    pub known: Outcome,
    /// The partitions.
    pub partitions: Vec<i32>,
}

/// Which committed offsets of one group are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// The group; may be empty, for old clients' sake.
    pub group: Arc<str>,
    /// Which offsets; all of the group where absent.
    pub topics: Option<Vec<FetchTopic>>,
    /// Wait for commits that are under way (KIP-447).
    pub require_stable: bool,
}

/// How far behind a committed offset is. Not the coordinator's business: who owns the partition knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// The partition's high watermark.
    pub end_offset: i64,
    /// The age of the oldest record not yet consumed, in milliseconds; 0 if there is none, absent if that record has no
    /// timestamp or cannot be read.
    pub age_ms: Option<i64>,
}

/// One partition's committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedPartition {
    /// The partition.
    pub partition: i32,
    /// The next offset to read; -1 if none is committed.
    pub offset: i64,
    /// The leader epoch of the record before it; -1 if unknown.
    pub leader_epoch: i32,
    /// As committed.
    pub metadata: Box<str>,
    /// Whether the topic is known; an offset that was never committed is no error.
    pub outcome: Outcome,
    /// How far behind it is, where that was asked for and found.
    pub lag: Option<Lag>,
}

impl FetchedPartition {
    /// The answer where nothing is committed, which is no error.
    pub(super) fn nothing(partition: i32, outcome: Outcome) -> FetchedPartition {
        FetchedPartition { partition, offset: -1, leader_epoch: -1, metadata: Box::from(""), outcome, lag: None }
    }
}

/// A committed offset of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    /// The group.
    pub group: Arc<str>,
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
}

/// One topic's committed offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedTopic {
    /// The name; empty if an id was given that no topic has.
    pub name: Arc<str>,
    /// As in the request; where all offsets were asked for, the id that they were committed under, if it is known.
    pub id: TopicId,
    /// The offsets.
    pub partitions: Vec<FetchedPartition>,
}

/// The answer to [`FetchRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchReply {
    /// The group.
    pub group: Arc<str>,
    /// How it ended.
    pub outcome: Outcome,
    /// In the request's order.
    pub topics: Vec<FetchedTopic>,
}

impl FetchReply {
    /// The answer to a fetch of which nothing was read.
    pub(super) fn refused(request: &FetchRequest, outcome: Outcome) -> FetchReply {
        let topics = request.topics.iter().flatten().map(|topic| FetchedTopic {
            name: topic.name.clone(),
            id: topic.id,
            partitions: topic.partitions.iter().map(|&index| FetchedPartition::nothing(index, outcome)).collect(),
        });
        FetchReply { group: request.group.clone(), outcome, topics: topics.collect() }
    }
}

/// A member, described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member: Arc<str>,
    /// Set for static members.
    pub instance: Option<Arc<str>>,
    /// Whose connection it is.
    pub client_id: Arc<str>,
    /// Where it comes from.
    pub client_host: Arc<str>,
    /// Its metadata of the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// What it was told to do.
    pub assignment: Bytes,
}

/// A group, described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Whether it could be described; [`Outcome::GroupNotFound`] is shown as a dead group below version 6.
    pub outcome: Outcome,
    /// The group.
    pub group: Arc<str>,
    /// The state's name.
    pub state: &'static str,
    /// `consumer`, `connect`, …; empty for a group that only holds offsets.
    pub protocol_type: Arc<str>,
    /// The protocol that the group chose; empty unless it is stable.
    pub protocol_name: Arc<str>,
    /// The members.
    pub members: Vec<DescribedMember>,
}

impl DescribedGroup {
    /// A group of which nothing can be said.
    pub(super) fn refused(group: Arc<str>, outcome: Outcome) -> DescribedGroup {
        let nothing: Arc<str> = Arc::from("");
        DescribedGroup {
            outcome,
            group,
            state: "",
            protocol_type: nothing.clone(),
            protocol_name: nothing,
            members: Vec::new(),
        }
    }
}

/// Which groups to list; an empty filter lets all pass. Compared without regard to case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// States, such as `Stable`.
    pub states: Vec<Arc<str>>,
    /// Types, such as `classic`.
    pub types: Vec<Arc<str>>,
}

/// A group, listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// The group.
    pub group: Arc<str>,
    /// `consumer`, `connect`, …; empty for a group that only holds offsets.
    pub protocol_type: Arc<str>,
    /// The state's name.
    pub state: &'static str,
    /// The type's name.
    pub group_type: &'static str,
}

/// The answer to [`ListRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListReply {
    /// How it ended.
    pub outcome: Outcome,
    /// Ordered by group id.
    pub groups: Vec<ListedGroup>,
}

/// Partitions of one topic whose committed offsets are to be removed, each with why it cannot be as far as the caller
/// knows: [`Outcome::Done`] if it can, [`Outcome::UnknownTopic`] if there is no such topic or partition. In the reply,
/// how it ended.
pub type DeletedOffsets = (Arc<str>, Vec<(i32, Outcome)>);

/// Committed offsets to remove (KIP-496).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteOffsetsRequest {
    /// The group.
    pub group: Arc<str>,
    /// The offsets.
    pub topics: Vec<DeletedOffsets>,
}

/// The answer to [`DeleteOffsetsRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteOffsetsReply {
    /// How it ended as a whole; unless it was done there are no topics.
    pub outcome: Outcome,
    /// In the request's order.
    pub topics: Vec<DeletedOffsets>,
}

impl DeleteOffsetsReply {
    /// The answer to a removal of which nothing was done.
    pub(super) fn refused(outcome: Outcome) -> DeleteOffsetsReply {
        DeleteOffsetsReply { outcome, topics: Vec::new() }
    }
}

/// Any request to a coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Join the next generation.
    Join(JoinRequest),
    /// Get the assignment.
    Sync(SyncRequest),
    /// Live on.
    Heartbeat(HeartbeatRequest),
    /// Leave.
    Leave(LeaveRequest),
    /// Commit offsets.
    Commit(CommitRequest),
    /// Read committed offsets.
    Fetch(FetchRequest),
    /// Describe this group.
    Describe(Arc<str>),
    /// List groups.
    List(ListRequest),
    /// Remove this group and its offsets.
    Delete(Arc<str>),
    /// Remove committed offsets.
    DeleteOffsets(DeleteOffsetsRequest),
}

impl Request {
    /// The group that the request is about; empty for [`Request::List`], which is about all.
    pub(super) fn group(&self) -> Arc<str> {
        match self {
            Request::Join(request) => request.group.clone(),
            Request::Sync(request) => request.group.clone(),
            Request::Heartbeat(request) => request.group.clone(),
            Request::Leave(request) => request.group.clone(),
            Request::Commit(request) => request.group.clone(),
            Request::Fetch(request) => request.group.clone(),
            Request::DeleteOffsets(request) => request.group.clone(),
            Request::Describe(group) | Request::Delete(group) => group.clone(),
            Request::List(_) => Arc::from(""),
        }
    }

    /// The reply to a request that is not worked on at all, such as [`Outcome::NotCoordinator`] where its group's
    /// coordinator is not.
    #[must_use]
    pub fn refused(&self, outcome: Outcome) -> Reply {
        match self {
            Request::Join(request) => Reply::Join(JoinReply::refused(outcome, request.member.clone())),
            Request::Sync(_) => Reply::Sync(SyncReply::refused(outcome)),
            // A member is not to take its group for lost while the group is read.
            Request::Heartbeat(_) if outcome == Outcome::LoadInProgress => Reply::Heartbeat(Outcome::Done),
            Request::Heartbeat(_) => Reply::Heartbeat(outcome),
            Request::Leave(_) => Reply::Leave(LeaveReply { outcome, members: Vec::new() }),
            Request::Commit(request) => Reply::Commit(CommitReply::refused(request, outcome)),
            Request::Fetch(request) => Reply::Fetch(FetchReply::refused(request, outcome)),
            Request::Describe(group) => Reply::Describe(DescribedGroup::refused(group.clone(), outcome)),
            Request::List(_) => Reply::List(ListReply { outcome, groups: Vec::new() }),
            Request::Delete(_) => Reply::Delete(outcome),
            Request::DeleteOffsets(_) => Reply::DeleteOffsets(DeleteOffsetsReply::refused(outcome)),
        }
    }
}

/// The answer to the [`Request`] of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Joined, or not.
    Join(JoinReply),
    /// The assignment.
    Sync(SyncReply),
    /// Whether the member still is in its generation.
    Heartbeat(Outcome),
    /// Who left.
    Leave(LeaveReply),
    /// What was committed.
    Commit(CommitReply),
    /// What had been committed.
    Fetch(FetchReply),
    /// The group.
    Describe(DescribedGroup),
    /// The groups.
    List(ListReply),
    /// Whether the group is gone.
    Delete(Outcome),
    /// Which offsets are gone.
    DeleteOffsets(DeleteOffsetsReply),
}
