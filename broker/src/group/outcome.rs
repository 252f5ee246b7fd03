//! How a request to a group ended, and which Kafka error code says so.

use crate::error_code::ErrorCode;

/// How a request to a group ended. Expected outcomes, not failures: each is an answer that clients act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It was done.
    Done,
    /// The coordinator is still reading its partition, or holds as much as it may; ask again.
    LoadInProgress,
    /// The coordinator cannot serve the group now: it is being removed, or its partition takes no appends.
    NotAvailable,
    /// Another node or shard coordinates this group.
    NotCoordinator,
    /// The group id is empty where it must not be.
    InvalidGroupId,
    /// The session timeout is outside the configured bounds.
    InvalidSessionTimeout,
    /// The member's protocol type or protocols do not fit the group's.
    InconsistentProtocol,
    /// The group has no such member.
    UnknownMember,
    /// The member speaks of another generation than the current one.
    IllegalGeneration,
    /// The group is rebalancing; the member has to join again.
    RebalanceInProgress,
    /// The member has to join again with the member id it was given (KIP-394).
    MemberIdRequired,
    /// The group has as many members as it may.
    GroupFull,
    /// Another process took over the member's instance id (KIP-345).
    FencedInstance,
    /// The request makes no sense.
    InvalidRequest,
    /// The metadata of a committed offset is longer than allowed.
    MetadataTooLarge,
    /// There is no such topic.
    UnknownTopic,
    /// There is no topic of that id.
    UnknownTopicId,
    /// There is no such group.
    GroupNotFound,
    /// The group has members.
    GroupNotEmpty,
    /// A member of the group reads the topic.
    Subscribed,
    /// The records of the request are larger than the partition accepts.
    TooLarge,
}

impl Outcome {
    /// The code that Kafka's clients know this outcome by.
    #[must_use]
    pub fn error_code(self) -> ErrorCode {
        match self {
            Outcome::Done => ErrorCode::None,
            Outcome::LoadInProgress => ErrorCode::CoordinatorLoadInProgress,
            Outcome::NotAvailable => ErrorCode::CoordinatorNotAvailable,
            Outcome::NotCoordinator => ErrorCode::NotCoordinator,
            Outcome::InvalidGroupId => ErrorCode::InvalidGroupId,
            Outcome::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
            Outcome::InconsistentProtocol => ErrorCode::InconsistentGroupProtocol,
            Outcome::UnknownMember => ErrorCode::UnknownMemberId,
            Outcome::IllegalGeneration => ErrorCode::IllegalGeneration,
            Outcome::RebalanceInProgress => ErrorCode::RebalanceInProgress,
            Outcome::MemberIdRequired => ErrorCode::MemberIdRequired,
            Outcome::GroupFull => ErrorCode::GroupMaxSizeReached,
            Outcome::FencedInstance => ErrorCode::FencedInstanceId,
            Outcome::InvalidRequest => ErrorCode::InvalidRequest,
            Outcome::MetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
            Outcome::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
            Outcome::UnknownTopicId => ErrorCode::UnknownTopicId,
            Outcome::GroupNotFound => ErrorCode::GroupIdNotFound,
            Outcome::GroupNotEmpty => ErrorCode::NonEmptyGroup,
            Outcome::Subscribed => ErrorCode::GroupSubscribedToTopic,
            Outcome::TooLarge => ErrorCode::InvalidCommitOffsetSize,
        }
    }
}
