//! Error codes as brokers answer them, as far as a client acts on them.

use std::fmt;

/// The number a broker answered, known or not; 0 is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub i16);

/// What Kafka calls the codes from -1 on, without gaps.
const NAMES: &[&str] = &[
    "UNKNOWN_SERVER_ERROR",
    "NONE",
    "OFFSET_OUT_OF_RANGE",
    "CORRUPT_MESSAGE",
    "UNKNOWN_TOPIC_OR_PARTITION",
    "INVALID_FETCH_SIZE",
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_OR_FOLLOWER",
    "REQUEST_TIMED_OUT",
    "BROKER_NOT_AVAILABLE",
    "REPLICA_NOT_AVAILABLE",
    "MESSAGE_TOO_LARGE",
    "STALE_CONTROLLER_EPOCH",
    "OFFSET_METADATA_TOO_LARGE",
    "NETWORK_EXCEPTION",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "COORDINATOR_NOT_AVAILABLE",
    "NOT_COORDINATOR",
    "INVALID_TOPIC_EXCEPTION",
    "RECORD_LIST_TOO_LARGE",
    "NOT_ENOUGH_REPLICAS",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    "INVALID_REQUIRED_ACKS",
    "ILLEGAL_GENERATION",
    "INCONSISTENT_GROUP_PROTOCOL",
    "INVALID_GROUP_ID",
    "UNKNOWN_MEMBER_ID",
    "INVALID_SESSION_TIMEOUT",
    "REBALANCE_IN_PROGRESS",
    "INVALID_COMMIT_OFFSET_SIZE",
    "TOPIC_AUTHORIZATION_FAILED",
    "GROUP_AUTHORIZATION_FAILED",
    "CLUSTER_AUTHORIZATION_FAILED",
    "INVALID_TIMESTAMP",
    "UNSUPPORTED_SASL_MECHANISM",
    "ILLEGAL_SASL_STATE",
    "UNSUPPORTED_VERSION",
    "TOPIC_ALREADY_EXISTS",
    "INVALID_PARTITIONS",
    "INVALID_REPLICATION_FACTOR",
    "INVALID_REPLICA_ASSIGNMENT",
    "INVALID_CONFIG",
    "NOT_CONTROLLER",
    "INVALID_REQUEST",
    "UNSUPPORTED_FOR_MESSAGE_FORMAT",
    "POLICY_VIOLATION",
    "OUT_OF_ORDER_SEQUENCE_NUMBER",
    "DUPLICATE_SEQUENCE_NUMBER",
    "INVALID_PRODUCER_EPOCH",
    "INVALID_TXN_STATE",
    "INVALID_PRODUCER_ID_MAPPING",
    "INVALID_TRANSACTION_TIMEOUT",
    "CONCURRENT_TRANSACTIONS",
    "TRANSACTION_COORDINATOR_FENCED",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    "SECURITY_DISABLED",
    "OPERATION_NOT_ATTEMPTED",
    "KAFKA_STORAGE_ERROR",
    "LOG_DIR_NOT_FOUND",
    "SASL_AUTHENTICATION_FAILED",
    "UNKNOWN_PRODUCER_ID",
    "REASSIGNMENT_IN_PROGRESS",
    "DELEGATION_TOKEN_AUTH_DISABLED",
    "DELEGATION_TOKEN_NOT_FOUND",
    "DELEGATION_TOKEN_OWNER_MISMATCH",
    "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED",
    "DELEGATION_TOKEN_AUTHORIZATION_FAILED",
    "DELEGATION_TOKEN_EXPIRED",
    "INVALID_PRINCIPAL_TYPE",
    "NON_EMPTY_GROUP",
    "GROUP_ID_NOT_FOUND",
    "FETCH_SESSION_ID_NOT_FOUND",
    "INVALID_FETCH_SESSION_EPOCH",
    "LISTENER_NOT_FOUND",
    "TOPIC_DELETION_DISABLED",
    "FENCED_LEADER_EPOCH",
    "UNKNOWN_LEADER_EPOCH",
    "UNSUPPORTED_COMPRESSION_TYPE",
    "STALE_BROKER_EPOCH",
    "OFFSET_NOT_AVAILABLE",
    "MEMBER_ID_REQUIRED",
    "PREFERRED_LEADER_NOT_AVAILABLE",
    "GROUP_MAX_SIZE_REACHED",
    "FENCED_INSTANCE_ID",
    "ELIGIBLE_LEADERS_NOT_AVAILABLE",
    "ELECTION_NOT_NEEDED",
    "NO_REASSIGNMENT_IN_PROGRESS",
    "GROUP_SUBSCRIBED_TO_TOPIC",
    "INVALID_RECORD",
    "UNSTABLE_OFFSET_COMMIT",
    "THROTTLING_QUOTA_EXCEEDED",
    "PRODUCER_FENCED",
    "RESOURCE_NOT_FOUND",
    "DUPLICATE_RESOURCE",
    "UNACCEPTABLE_CREDENTIAL",
    "INCONSISTENT_VOTER_SET",
    "INVALID_UPDATE_VERSION",
    "FEATURE_UPDATE_FAILED",
    "PRINCIPAL_DESERIALIZATION_FAILURE",
    "SNAPSHOT_NOT_FOUND",
    "POSITION_OUT_OF_RANGE",
    "UNKNOWN_TOPIC_ID",
    "DUPLICATE_BROKER_REGISTRATION",
    "BROKER_ID_NOT_REGISTERED",
    "INCONSISTENT_TOPIC_ID",
    "INCONSISTENT_CLUSTER_ID",
    "TRANSACTIONAL_ID_NOT_FOUND",
    "FETCH_SESSION_TOPIC_ID_ERROR",
    "INELIGIBLE_REPLICA",
    "NEW_LEADER_ELECTED",
    "OFFSET_MOVED_TO_TIERED_STORAGE",
    "FENCED_MEMBER_EPOCH",
    "UNRELEASED_INSTANCE_ID",
    "UNSUPPORTED_ASSIGNOR",
    "STALE_MEMBER_EPOCH",
    "MISMATCHED_ENDPOINT_TYPE",
    "UNSUPPORTED_ENDPOINT_TYPE",
    "UNKNOWN_CONTROLLER_ID",
    "UNKNOWN_SUBSCRIPTION_ID",
    "TELEMETRY_TOO_LARGE",
    "INVALID_REGISTRATION",
    "TRANSACTION_ABORTABLE",
    "INVALID_RECORD_STATE",
    "SHARE_SESSION_NOT_FOUND",
    "INVALID_SHARE_SESSION_EPOCH",
    "FENCED_STATE_EPOCH",
    "INVALID_VOTER_KEY",
    "DUPLICATE_VOTER",
    "VOTER_NOT_FOUND",
    "INVALID_REGULAR_EXPRESSION",
    "REBOOTSTRAP_REQUIRED",
    "STREAMS_INVALID_TOPOLOGY",
    "STREAMS_INVALID_TOPOLOGY_EPOCH",
    "STREAMS_TOPOLOGY_FENCED",
    "SHARE_SESSION_LIMIT_REACHED",
];

/// The codes that Kafka's own clients try again after, by the numbers of [`NAMES`].
const RETRYABLE: &[i16] =
    &[2, 3, 5, 6, 7, 8, 9, 13, 14, 15, 16, 19, 20, 41, 56, 70, 71, 74, 75, 78, 80, 89, 100, 103, 106];

/// Those of them that new metadata can mend.
const METADATA_IS_OLD: &[i16] = &[3, 5, 6, 56, 74, 75, 100, 103];

impl Code {
    /// The broker failed in a way it has no code for.
    pub const UNKNOWN_SERVER_ERROR: Self = Self(-1);
    /// Success.
    pub const NONE: Self = Self(0);
    /// The offset is not in the log.
    pub const OFFSET_OUT_OF_RANGE: Self = Self(1);
    /// The broker found a batch damaged.
    pub const CORRUPT_MESSAGE: Self = Self(2);
    /// No such topic or partition on that broker.
    pub const UNKNOWN_TOPIC_OR_PARTITION: Self = Self(3);
    /// No leader at the moment.
    pub const LEADER_NOT_AVAILABLE: Self = Self(5);
    /// The leader is another broker.
    pub const NOT_LEADER_OR_FOLLOWER: Self = Self(6);
    /// The broker gave up waiting.
    pub const REQUEST_TIMED_OUT: Self = Self(7);
    /// A batch is larger than the topic allows.
    pub const MESSAGE_TOO_LARGE: Self = Self(10);
    /// The coordinator reads its state.
    pub const COORDINATOR_LOAD_IN_PROGRESS: Self = Self(14);
    /// There is no coordinator yet.
    pub const COORDINATOR_NOT_AVAILABLE: Self = Self(15);
    /// The coordinator is another broker.
    pub const NOT_COORDINATOR: Self = Self(16);
    /// The topic's name is illegal.
    pub const INVALID_TOPIC: Self = Self(17);
    /// The member's generation is over.
    pub const ILLEGAL_GENERATION: Self = Self(22);
    /// The coordinator forgot this member.
    pub const UNKNOWN_MEMBER_ID: Self = Self(25);
    /// The group rebalances.
    pub const REBALANCE_IN_PROGRESS: Self = Self(27);
    /// The version is not served.
    pub const UNSUPPORTED_VERSION: Self = Self(35);
    /// The topic exists.
    pub const TOPIC_ALREADY_EXISTS: Self = Self(36);
    /// The controller is another broker.
    pub const NOT_CONTROLLER: Self = Self(41);
    /// Something that the broker or the topic does not allow.
    pub const POLICY_VIOLATION: Self = Self(44);
    /// Sequences are missing before this batch's.
    pub const OUT_OF_ORDER_SEQUENCE_NUMBER: Self = Self(45);
    /// The batch was appended before, too long ago to say where.
    pub const DUPLICATE_SEQUENCE_NUMBER: Self = Self(46);
    /// A newer epoch of this producer id is in use.
    pub const INVALID_PRODUCER_EPOCH: Self = Self(47);
    /// The broker forgot the producer id.
    pub const UNKNOWN_PRODUCER_ID: Self = Self(59);
    /// The group does not exist (DescribeGroups from version 6 on).
    pub const GROUP_ID_NOT_FOUND: Self = Self(69);
    /// The group has members.
    pub const NON_EMPTY_GROUP: Self = Self(68);
    /// A member of the group reads the topic.
    pub const GROUP_SUBSCRIBED_TO_TOPIC: Self = Self(86);
    /// The client's leader epoch is old.
    pub const FENCED_LEADER_EPOCH: Self = Self(74);
    /// The client's leader epoch is newer than the broker's.
    pub const UNKNOWN_LEADER_EPOCH: Self = Self(75);
    /// The leader waits for its followers after an election.
    pub const OFFSET_NOT_AVAILABLE: Self = Self(78);
    /// The member has to join again with the id it was given.
    pub const MEMBER_ID_REQUIRED: Self = Self(79);
    /// Another member took over this instance id.
    pub const FENCED_INSTANCE_ID: Self = Self(82);

    /// Whether it is success.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Success, or the code.
    ///
    /// # Errors
    /// The code itself, unless it is [`Self::NONE`].
    pub fn ok(self) -> Result<(), Self> {
        if self.is_none() { Ok(()) } else { Err(self) }
    }

    /// Whether Kafka's name for the same request, sent again, possibly after new metadata, is "retriable".
    pub fn is_retryable(self) -> bool {
        RETRYABLE.contains(&self.0)
    }

    /// Whether it says that the client's view of topics and leaders is out of date.
    pub fn wants_metadata(self) -> bool {
        METADATA_IS_OLD.contains(&self.0)
    }

    /// Whether it says that the client has to look for the group's coordinator again, or wait for it.
    pub fn wants_coordinator(self) -> bool {
        matches!(self, Self::COORDINATOR_LOAD_IN_PROGRESS | Self::COORDINATOR_NOT_AVAILABLE | Self::NOT_COORDINATOR)
    }

    /// What a person can do about it, where that is known.
    pub fn remedy(self) -> Option<&'static str> {
        Some(match self.0 {
            10 | 18 => "raise the topic's max.message.bytes, or send smaller batches (batch.size) or records",
            17 => "use at most 249 letters, digits, '.', '_' and '-'; '.' and '_' collide with each other",
            19 | 20 => "bring the missing replicas back, or lower the topic's min.insync.replicas",
            29..=31 | 53 => "ask who runs the cluster for the permission (an ACL)",
            36 => "use another name, or --if-not-exists to accept the topic as it is",
            37 => "ask for at least one partition, and for more than the topic has",
            38 => "ask for at most as many replicas as there are brokers (`skein cluster` lists them), or for none",
            40 => "look the property's name and values up in the broker's documentation",
            56 => "look at the broker's log and disks",
            58 => "check user and password; SASL is not supported by this client yet",
            68 => "stop the group's members first",
            73 => "set delete.topic.enable=true on the brokers",
            81 => "stop some members, or raise group.max.size on the brokers",
            82 => "another client uses the same group.instance.id: give each its own",
            87 => "a compacted topic needs a key for every record (--key or --key-separator)",
            _ => return None,
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = usize::try_from(i32::from(self.0) + 1).ok().and_then(|index| NAMES.get(index));
        match name {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "error {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_new_metadata_mends_is_worth_another_try() {
        assert!(METADATA_IS_OLD.iter().all(|&code| Code(code).is_retryable() && Code(code).wants_metadata()));
        assert!(!Code::NONE.is_retryable() && !Code::MESSAGE_TOO_LARGE.is_retryable());
    }

    #[test]
    fn names_stand_at_their_numbers() {
        for (code, name) in [
            (-1, "UNKNOWN_SERVER_ERROR (-1)"),
            (0, "NONE (0)"),
            (36, "TOPIC_ALREADY_EXISTS (36)"),
            (69, "GROUP_ID_NOT_FOUND (69)"),
            (82, "FENCED_INSTANCE_ID (82)"),
            (89, "THROTTLING_QUOTA_EXCEEDED (89)"),
            (100, "UNKNOWN_TOPIC_ID (100)"),
            (133, "SHARE_SESSION_LIMIT_REACHED (133)"),
            (134, "error 134"),
            (i16::MIN, "error -32768"),
        ] {
            assert_eq!(Code(code).to_string(), name);
        }
    }
}
