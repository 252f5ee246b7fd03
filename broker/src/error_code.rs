//! Kafka's error codes: the only place in the project that knows their numbers.
//! Storage, replication and the state machines answer with outcomes of their own; the handlers map those here.

/// An error code of the Kafka protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ErrorCode {
    /// The server met an error it did not expect.
    UnknownServerError = -1,
    /// No error.
    None = 0,
    /// The offset is outside the range the log holds.
    OffsetOutOfRange = 1,
    /// The record batch fails its CRC, or is otherwise damaged.
    CorruptMessage = 2,
    /// This node does not host that topic or partition.
    UnknownTopicOrPartition = 3,
    /// The requested fetch size is invalid.
    InvalidFetchSize = 4,
    /// There is no leader for that partition at the moment.
    LeaderNotAvailable = 5,
    /// This node is not the leader, or not a replica, of that partition.
    NotLeaderOrFollower = 6,
    /// The request timed out.
    RequestTimedOut = 7,
    /// The broker is not available.
    BrokerNotAvailable = 8,
    /// The replica is not available.
    ReplicaNotAvailable = 9,
    /// The record batch is larger than the topic allows.
    MessageTooLarge = 10,
    /// The controller moved to another broker.
    StaleControllerEpoch = 11,
    /// The metadata of the committed offset is too large.
    OffsetMetadataTooLarge = 12,
    /// The connection broke before a response came.
    NetworkException = 13,
    /// The coordinator is still loading its state.
    CoordinatorLoadInProgress = 14,
    /// The coordinator is not available.
    CoordinatorNotAvailable = 15,
    /// This node is not the coordinator.
    NotCoordinator = 16,
    /// The topic name is not valid for this operation.
    InvalidTopicException = 17,
    /// The request holds a batch larger than the segment size.
    RecordListTooLarge = 18,
    /// There are fewer in-sync replicas than required.
    NotEnoughReplicas = 19,
    /// The records were appended, but to fewer in-sync replicas than required.
    NotEnoughReplicasAfterAppend = 20,
    /// The acks value is not one of -1, 0 and 1.
    InvalidRequiredAcks = 21,
    /// The group's generation is another one.
    IllegalGeneration = 22,
    /// The member's protocols do not fit those of the group.
    InconsistentGroupProtocol = 23,
    /// The group id is not valid.
    InvalidGroupId = 24,
    /// The coordinator does not know this member.
    UnknownMemberId = 25,
    /// The session timeout is outside the allowed range.
    InvalidSessionTimeout = 26,
    /// The group is rebalancing.
    RebalanceInProgress = 27,
    /// The committed offset is too large to store.
    InvalidCommitOffsetSize = 28,
    /// Not authorized for the topic.
    TopicAuthorizationFailed = 29,
    /// Not authorized for the group.
    GroupAuthorizationFailed = 30,
    /// Not authorized for the cluster.
    ClusterAuthorizationFailed = 31,
    /// A record's timestamp is out of bounds.
    InvalidTimestamp = 32,
    /// The SASL mechanism is not supported.
    UnsupportedSaslMechanism = 33,
    /// The request is not valid in this SASL state.
    IllegalSaslState = 34,
    /// That version is not supported.
    UnsupportedVersion = 35,
    /// A topic of that name exists.
    TopicAlreadyExists = 36,
    /// The number of partitions is invalid.
    InvalidPartitions = 37,
    /// The replication factor is invalid.
    InvalidReplicationFactor = 38,
    /// The replica assignment is invalid.
    InvalidReplicaAssignment = 39,
    /// The configuration is invalid.
    InvalidConfig = 40,
    /// This node is not the controller.
    NotController = 41,
    /// The request does not make sense.
    InvalidRequest = 42,
    /// The message format does not support this.
    UnsupportedForMessageFormat = 43,
    /// The request breaks a policy.
    PolicyViolation = 44,
    /// The producer's sequence number is out of order.
    OutOfOrderSequenceNumber = 45,
    /// The producer's sequence number was seen before.
    DuplicateSequenceNumber = 46,
    /// The producer's epoch is old.
    InvalidProducerEpoch = 47,
    /// The transaction is in another state.
    InvalidTxnState = 48,
    /// The producer id does not belong to this transactional id.
    InvalidProducerIdMapping = 49,
    /// The transaction timeout is too large.
    InvalidTransactionTimeout = 50,
    /// Another transaction of this producer is still being completed.
    ConcurrentTransactions = 51,
    /// The transaction coordinator is an old one.
    TransactionCoordinatorFenced = 52,
    /// Not authorized for the transactional id.
    TransactionalIdAuthorizationFailed = 53,
    /// Security features are off.
    SecurityDisabled = 54,
    /// The operation was not attempted.
    OperationNotAttempted = 55,
    /// The disk failed under this partition.
    KafkaStorageError = 56,
    /// There is no such log directory.
    LogDirNotFound = 57,
    /// Authentication failed.
    SaslAuthenticationFailed = 58,
    /// The producer id is not known.
    UnknownProducerId = 59,
    /// A reassignment is in progress.
    ReassignmentInProgress = 60,
    /// Delegation tokens are off.
    DelegationTokenAuthDisabled = 61,
    /// There is no such delegation token.
    DelegationTokenNotFound = 62,
    /// The delegation token belongs to another principal.
    DelegationTokenOwnerMismatch = 63,
    /// Delegation tokens are not allowed on this connection.
    DelegationTokenRequestNotAllowed = 64,
    /// Not authorized for the delegation token.
    DelegationTokenAuthorizationFailed = 65,
    /// The delegation token has expired.
    DelegationTokenExpired = 66,
    /// The principal type is not supported.
    InvalidPrincipalType = 67,
    /// The group is not empty.
    NonEmptyGroup = 68,
    /// There is no such group.
    GroupIdNotFound = 69,
    /// There is no such fetch session.
    FetchSessionIdNotFound = 70,
    /// The fetch session's epoch is another one.
    InvalidFetchSessionEpoch = 71,
    /// There is no such listener on the leader.
    ListenerNotFound = 72,
    /// Topic deletion is off.
    TopicDeletionDisabled = 73,
    /// The request's leader epoch is older than the broker's.
    FencedLeaderEpoch = 74,
    /// The request's leader epoch is newer than the broker's.
    UnknownLeaderEpoch = 75,
    /// The compression type is not supported in this version.
    UnsupportedCompressionType = 76,
    /// The broker epoch is old.
    StaleBrokerEpoch = 77,
    /// The leader's high watermark has not caught up yet.
    OffsetNotAvailable = 78,
    /// The member must join again with the id it was given.
    MemberIdRequired = 79,
    /// The preferred leader is not available.
    PreferredLeaderNotAvailable = 80,
    /// The group is full.
    GroupMaxSizeReached = 81,
    /// Another member uses this instance id.
    FencedInstanceId = 82,
    /// No eligible leader is available.
    EligibleLeadersNotAvailable = 83,
    /// No election is needed.
    ElectionNotNeeded = 84,
    /// No reassignment is in progress.
    NoReassignmentInProgress = 85,
    /// The group is subscribed to the topic.
    GroupSubscribedToTopic = 86,
    /// A record is not valid.
    InvalidRecord = 87,
    /// There are offsets whose transaction is still open.
    UnstableOffsetCommit = 88,
    /// The quota is exceeded.
    ThrottlingQuotaExceeded = 89,
    /// A newer producer uses this transactional id.
    ProducerFenced = 90,
    /// There is no such resource.
    ResourceNotFound = 91,
    /// The resource is named twice.
    DuplicateResource = 92,
    /// The credential is not acceptable.
    UnacceptableCredential = 93,
    /// The voter set is inconsistent.
    InconsistentVoterSet = 94,
    /// The update version is invalid.
    InvalidUpdateVersion = 95,
    /// The feature could not be updated.
    FeatureUpdateFailed = 96,
    /// The principal could not be decoded.
    PrincipalDeserializationFailure = 97,
    /// There is no such snapshot.
    SnapshotNotFound = 98,
    /// The position is outside the snapshot.
    PositionOutOfRange = 99,
    /// There is no topic of that id.
    UnknownTopicId = 100,
    /// The broker id is registered already.
    DuplicateBrokerRegistration = 101,
    /// The broker id is not registered.
    BrokerIdNotRegistered = 102,
    /// The topic id does not fit the name.
    InconsistentTopicId = 103,
    /// The cluster id is another one.
    InconsistentClusterId = 104,
    /// There is no such transactional id.
    TransactionalIdNotFound = 105,
    /// The fetch session mixes topic ids and names.
    FetchSessionTopicIdError = 106,
    /// The replica is not eligible.
    IneligibleReplica = 107,
    /// A new leader was elected.
    NewLeaderElected = 108,
    /// The offset lies in remote storage.
    OffsetMovedToTieredStorage = 109,
    /// The member's epoch is an old one.
    FencedMemberEpoch = 110,
    /// The instance id is still in use.
    UnreleasedInstanceId = 111,
    /// The assignor is not supported.
    UnsupportedAssignor = 112,
    /// The member's epoch is stale.
    StaleMemberEpoch = 113,
    /// The endpoint is of another type.
    MismatchedEndpointType = 114,
    /// The endpoint type is not supported.
    UnsupportedEndpointType = 115,
    /// There is no such controller.
    UnknownControllerId = 116,
    /// There is no such telemetry subscription.
    UnknownSubscriptionId = 117,
    /// The telemetry is too large.
    TelemetryTooLarge = 118,
    /// The registration is invalid.
    InvalidRegistration = 119,
    /// The transaction can only be aborted.
    TransactionAbortable = 120,
    /// The record is in another state.
    InvalidRecordState = 121,
    /// There is no such share session.
    ShareSessionNotFound = 122,
    /// The share session's epoch is another one.
    InvalidShareSessionEpoch = 123,
    /// The share state's epoch is an old one.
    FencedStateEpoch = 124,
    /// The voter key is invalid.
    InvalidVoterKey = 125,
    /// The voter exists.
    DuplicateVoter = 126,
    /// There is no such voter.
    VoterNotFound = 127,
    /// The regular expression is invalid.
    InvalidRegularExpression = 128,
    /// The client has to bootstrap again.
    RebootstrapRequired = 129,
    /// The topology is invalid.
    StreamsInvalidTopology = 130,
    /// The topology epoch is invalid.
    StreamsInvalidTopologyEpoch = 131,
    /// The topology epoch is an old one.
    StreamsTopologyFenced = 132,
    /// There are too many share sessions.
    ShareSessionLimitReached = 133,
}

impl ErrorCode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// What it says, for messages where nothing more specific is known.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            ErrorCode::UnknownServerError => "The server met an error it did not expect.",
            ErrorCode::None => "No error.",
            ErrorCode::OffsetOutOfRange => "The offset is outside the range the log holds.",
            ErrorCode::CorruptMessage => "The record batch fails its CRC, or is otherwise damaged.",
            ErrorCode::UnknownTopicOrPartition => "This node does not host that topic or partition.",
            ErrorCode::InvalidFetchSize => "The requested fetch size is invalid.",
            ErrorCode::LeaderNotAvailable => "There is no leader for that partition at the moment.",
            ErrorCode::NotLeaderOrFollower => "This node is not the leader, or not a replica, of that partition.",
            ErrorCode::RequestTimedOut => "The request timed out.",
            ErrorCode::BrokerNotAvailable => "The broker is not available.",
            ErrorCode::ReplicaNotAvailable => "The replica is not available.",
            ErrorCode::MessageTooLarge => "The record batch is larger than the topic allows.",
            ErrorCode::StaleControllerEpoch => "The controller moved to another broker.",
            ErrorCode::OffsetMetadataTooLarge => "The metadata of the committed offset is too large.",
            ErrorCode::NetworkException => "The connection broke before a response came.",
            ErrorCode::CoordinatorLoadInProgress => "The coordinator is still loading its state.",
            ErrorCode::CoordinatorNotAvailable => "The coordinator is not available.",
            ErrorCode::NotCoordinator => "This node is not the coordinator.",
            ErrorCode::InvalidTopicException => "The topic name is not valid for this operation.",
            ErrorCode::RecordListTooLarge => "The request holds a batch larger than the segment size.",
            ErrorCode::NotEnoughReplicas => "There are fewer in-sync replicas than required.",
            ErrorCode::NotEnoughReplicasAfterAppend => {
                "The records were appended, but to fewer in-sync replicas than required."
            }
            ErrorCode::InvalidRequiredAcks => "The acks value is not one of -1, 0 and 1.",
            ErrorCode::IllegalGeneration => "The group's generation is another one.",
            ErrorCode::InconsistentGroupProtocol => "The member's protocols do not fit those of the group.",
            ErrorCode::InvalidGroupId => "The group id is not valid.",
            ErrorCode::UnknownMemberId => "The coordinator does not know this member.",
            ErrorCode::InvalidSessionTimeout => "The session timeout is outside the allowed range.",
            ErrorCode::RebalanceInProgress => "The group is rebalancing.",
            ErrorCode::InvalidCommitOffsetSize => "The committed offset is too large to store.",
            ErrorCode::TopicAuthorizationFailed => "Not authorized for the topic.",
            ErrorCode::GroupAuthorizationFailed => "Not authorized for the group.",
            ErrorCode::ClusterAuthorizationFailed => "Not authorized for the cluster.",
            ErrorCode::InvalidTimestamp => "A record's timestamp is out of bounds.",
            ErrorCode::UnsupportedSaslMechanism => "The SASL mechanism is not supported.",
            ErrorCode::IllegalSaslState => "The request is not valid in this SASL state.",
            ErrorCode::UnsupportedVersion => "That version is not supported.",
            ErrorCode::TopicAlreadyExists => "A topic of that name exists.",
            ErrorCode::InvalidPartitions => "The number of partitions is invalid.",
            ErrorCode::InvalidReplicationFactor => "The replication factor is invalid.",
            ErrorCode::InvalidReplicaAssignment => "The replica assignment is invalid.",
            ErrorCode::InvalidConfig => "The configuration is invalid.",
            ErrorCode::NotController => "This node is not the controller.",
            ErrorCode::InvalidRequest => "The request does not make sense.",
            ErrorCode::UnsupportedForMessageFormat => "The message format does not support this.",
            ErrorCode::PolicyViolation => "The request breaks a policy.",
            ErrorCode::OutOfOrderSequenceNumber => "The producer's sequence number is out of order.",
            ErrorCode::DuplicateSequenceNumber => "The producer's sequence number was seen before.",
            ErrorCode::InvalidProducerEpoch => "The producer's epoch is old.",
            ErrorCode::InvalidTxnState => "The transaction is in another state.",
            ErrorCode::InvalidProducerIdMapping => "The producer id does not belong to this transactional id.",
            ErrorCode::InvalidTransactionTimeout => "The transaction timeout is too large.",
            ErrorCode::ConcurrentTransactions => "Another transaction of this producer is still being completed.",
            ErrorCode::TransactionCoordinatorFenced => "The transaction coordinator is an old one.",
            ErrorCode::TransactionalIdAuthorizationFailed => "Not authorized for the transactional id.",
            ErrorCode::SecurityDisabled => "Security features are off.",
            ErrorCode::OperationNotAttempted => "The operation was not attempted.",
            ErrorCode::KafkaStorageError => "The disk failed under this partition.",
            ErrorCode::LogDirNotFound => "There is no such log directory.",
            ErrorCode::SaslAuthenticationFailed => "Authentication failed.",
            ErrorCode::UnknownProducerId => "The producer id is not known.",
            ErrorCode::ReassignmentInProgress => "A reassignment is in progress.",
            ErrorCode::DelegationTokenAuthDisabled => "Delegation tokens are off.",
            ErrorCode::DelegationTokenNotFound => "There is no such delegation token.",
            ErrorCode::DelegationTokenOwnerMismatch => "The delegation token belongs to another principal.",
            ErrorCode::DelegationTokenRequestNotAllowed => "Delegation tokens are not allowed on this connection.",
            ErrorCode::DelegationTokenAuthorizationFailed => "Not authorized for the delegation token.",
            ErrorCode::DelegationTokenExpired => "The delegation token has expired.",
            ErrorCode::InvalidPrincipalType => "The principal type is not supported.",
            ErrorCode::NonEmptyGroup => "The group is not empty.",
            ErrorCode::GroupIdNotFound => "There is no such group.",
            ErrorCode::FetchSessionIdNotFound => "There is no such fetch session.",
            ErrorCode::InvalidFetchSessionEpoch => "The fetch session's epoch is another one.",
            ErrorCode::ListenerNotFound => "There is no such listener on the leader.",
            ErrorCode::TopicDeletionDisabled => "Topic deletion is off.",
            ErrorCode::FencedLeaderEpoch => "The request's leader epoch is older than the broker's.",
            ErrorCode::UnknownLeaderEpoch => "The request's leader epoch is newer than the broker's.",
            ErrorCode::UnsupportedCompressionType => "The compression type is not supported in this version.",
            ErrorCode::StaleBrokerEpoch => "The broker epoch is old.",
            ErrorCode::OffsetNotAvailable => "The leader's high watermark has not caught up yet.",
            ErrorCode::MemberIdRequired => "The member must join again with the id it was given.",
            ErrorCode::PreferredLeaderNotAvailable => "The preferred leader is not available.",
            ErrorCode::GroupMaxSizeReached => "The group is full.",
            ErrorCode::FencedInstanceId => "Another member uses this instance id.",
            ErrorCode::EligibleLeadersNotAvailable => "No eligible leader is available.",
            ErrorCode::ElectionNotNeeded => "No election is needed.",
            ErrorCode::NoReassignmentInProgress => "No reassignment is in progress.",
            ErrorCode::GroupSubscribedToTopic => "The group is subscribed to the topic.",
            ErrorCode::InvalidRecord => "A record is not valid.",
            ErrorCode::UnstableOffsetCommit => "There are offsets whose transaction is still open.",
            ErrorCode::ThrottlingQuotaExceeded => "The quota is exceeded.",
            ErrorCode::ProducerFenced => "A newer producer uses this transactional id.",
            ErrorCode::ResourceNotFound => "There is no such resource.",
            ErrorCode::DuplicateResource => "The resource is named twice.",
            ErrorCode::UnacceptableCredential => "The credential is not acceptable.",
            ErrorCode::InconsistentVoterSet => "The voter set is inconsistent.",
            ErrorCode::InvalidUpdateVersion => "The update version is invalid.",
            ErrorCode::FeatureUpdateFailed => "The feature could not be updated.",
            ErrorCode::PrincipalDeserializationFailure => "The principal could not be decoded.",
            ErrorCode::SnapshotNotFound => "There is no such snapshot.",
            ErrorCode::PositionOutOfRange => "The position is outside the snapshot.",
            ErrorCode::UnknownTopicId => "There is no topic of that id.",
            ErrorCode::DuplicateBrokerRegistration => "The broker id is registered already.",
            ErrorCode::BrokerIdNotRegistered => "The broker id is not registered.",
            ErrorCode::InconsistentTopicId => "The topic id does not fit the name.",
            ErrorCode::InconsistentClusterId => "The cluster id is another one.",
            ErrorCode::TransactionalIdNotFound => "There is no such transactional id.",
            ErrorCode::FetchSessionTopicIdError => "The fetch session mixes topic ids and names.",
            ErrorCode::IneligibleReplica => "The replica is not eligible.",
            ErrorCode::NewLeaderElected => "A new leader was elected.",
            ErrorCode::OffsetMovedToTieredStorage => "The offset lies in remote storage.",
            ErrorCode::FencedMemberEpoch => "The member's epoch is an old one.",
            ErrorCode::UnreleasedInstanceId => "The instance id is still in use.",
            ErrorCode::UnsupportedAssignor => "The assignor is not supported.",
            ErrorCode::StaleMemberEpoch => "The member's epoch is stale.",
            ErrorCode::MismatchedEndpointType => "The endpoint is of another type.",
            ErrorCode::UnsupportedEndpointType => "The endpoint type is not supported.",
            ErrorCode::UnknownControllerId => "There is no such controller.",
            ErrorCode::UnknownSubscriptionId => "There is no such telemetry subscription.",
            ErrorCode::TelemetryTooLarge => "The telemetry is too large.",
            ErrorCode::InvalidRegistration => "The registration is invalid.",
            ErrorCode::TransactionAbortable => "The transaction can only be aborted.",
            ErrorCode::InvalidRecordState => "The record is in another state.",
            ErrorCode::ShareSessionNotFound => "There is no such share session.",
            ErrorCode::InvalidShareSessionEpoch => "The share session's epoch is another one.",
            ErrorCode::FencedStateEpoch => "The share state's epoch is an old one.",
            ErrorCode::InvalidVoterKey => "The voter key is invalid.",
            ErrorCode::DuplicateVoter => "The voter exists.",
            ErrorCode::VoterNotFound => "There is no such voter.",
            ErrorCode::InvalidRegularExpression => "The regular expression is invalid.",
            ErrorCode::RebootstrapRequired => "The client has to bootstrap again.",
            ErrorCode::StreamsInvalidTopology => "The topology is invalid.",
            ErrorCode::StreamsInvalidTopologyEpoch => "The topology epoch is invalid.",
            ErrorCode::StreamsTopologyFenced => "The topology epoch is an old one.",
            ErrorCode::ShareSessionLimitReached => "There are too many share sessions.",
        }
    }
}
