//! Which error code a refusal is.

use crate::config::{self, NotDynamic};
use crate::error_code::ErrorCode;
use crate::metadata::controller::{NotAltered, NotDeleted, NotGrown};
use crate::metadata::create::Refusal;

impl From<&Refusal> for ErrorCode {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::IllegalName { .. } | Refusal::CollidesWith { .. } => ErrorCode::InvalidTopicException,
            Refusal::Exists { .. } => ErrorCode::TopicAlreadyExists,
            Refusal::Reserved { .. } | Refusal::Duplicate { .. } | Refusal::AssignmentAndCount => {
                ErrorCode::InvalidRequest
            }
            Refusal::Partitions { .. } => ErrorCode::InvalidPartitions,
            Refusal::TooManyPartitions { .. } => ErrorCode::PolicyViolation,
            Refusal::ReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
            Refusal::Assignment(_) => ErrorCode::InvalidReplicaAssignment,
            Refusal::Config(_) => ErrorCode::InvalidConfig,
        }
    }
}

impl From<&NotAltered> for ErrorCode {
    fn from(refusal: &NotAltered) -> Self {
        match refusal {
            NotAltered::Duplicate
            | NotAltered::DuplicateNames { .. }
            | NotAltered::Unclear { .. }
            | NotAltered::ResourceType(_)
            | NotAltered::NoName { .. }
            | NotAltered::NoBrokerId { .. }
            | NotAltered::OtherBroker { .. }
            | NotAltered::Loggers
            | NotAltered::TooLarge { .. } => ErrorCode::InvalidRequest,
            NotAltered::TooMany { .. } => ErrorCode::PolicyViolation,
            NotAltered::IllegalName(_) => ErrorCode::InvalidTopicException,
            NotAltered::UnknownTopic { .. } => ErrorCode::UnknownTopicOrPartition,
            NotAltered::NoList(_) => ErrorCode::InvalidConfig,
            NotAltered::Refused(refused) => match refused {
                config::Refused::Interval { .. } | config::Refused::UnknownClientMetrics { .. } => {
                    ErrorCode::InvalidRequest
                }
                config::Refused::Unknown { .. }
                | config::Refused::Null { .. }
                | config::Refused::Invalid(_)
                | config::Refused::Conflict(_)
                | config::Refused::UnknownGroup { .. }
                | config::Refused::Bound { .. }
                | config::Refused::Heartbeat { .. }
                | config::Refused::Pattern { .. } => ErrorCode::InvalidConfig,
            },
            NotAltered::NotDynamic(refused) => match refused {
                NotDynamic::Unknown { .. } | NotDynamic::ClusterWide { .. } => ErrorCode::InvalidConfig,
                NotDynamic::ReadOnly { .. } | NotDynamic::Unserved { .. } | NotDynamic::Invalid(_) => {
                    ErrorCode::InvalidRequest
                }
            },
        }
    }
}

impl From<&NotDeleted> for ErrorCode {
    fn from(refusal: &NotDeleted) -> Self {
        match refusal {
            NotDeleted::Disabled => ErrorCode::TopicDeletionDisabled,
            NotDeleted::UnknownName => ErrorCode::UnknownTopicOrPartition,
            NotDeleted::UnknownId => ErrorCode::UnknownTopicId,
            NotDeleted::Duplicate | NotDeleted::Unclear => ErrorCode::InvalidRequest,
        }
    }
}

impl From<&NotGrown> for ErrorCode {
    fn from(refusal: &NotGrown) -> Self {
        match refusal {
            NotGrown::UnknownTopic { .. } => ErrorCode::UnknownTopicOrPartition,
            NotGrown::Duplicate { .. } | NotGrown::GroupsWouldMove => ErrorCode::InvalidRequest,
            NotGrown::NoIncrease { .. } => ErrorCode::InvalidPartitions,
            // Kafka answers -1; CreateTopics answers this, for the same limit.
            NotGrown::TooMany { .. } => ErrorCode::PolicyViolation,
            NotGrown::Assignment(_) => ErrorCode::InvalidReplicaAssignment,
        }
    }
}
