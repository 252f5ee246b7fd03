//! ApiVersions (key 18): what this node serves.

use net::ApiKey;
use net::api::api_versions::{
    Request, Response, ResponseApiKeys, ResponseFinalizedFeatures, ResponseSupportedFeatures,
};

use crate::error_code::ErrorCode;
use crate::metadata::Image;
use crate::metadata::features::{FEATURES, Feature};

/// What is advertised: exactly what works. Clients choose their protocols by this list, so an API appears here on the
/// day it is served, not before.
pub const SERVED: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::DeleteGroups,
    ApiKey::OffsetDelete,
    ApiKey::DescribeClientQuotas,
    ApiKey::AlterClientQuotas,
    ApiKey::DescribeCluster,
    ApiKey::UpdateFeatures,
    ApiKey::CreatePartitions,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::DeleteRecords,
    ApiKey::DescribeLogDirs,
    ApiKey::AlterReplicaLogDirs,
    ApiKey::DescribeProducers,
    ApiKey::ElectLeaders,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::DescribeQuorum,
    ApiKey::UnregisterBroker,
    ApiKey::DescribeTopicPartitions,
    ApiKey::ListConfigResources,
];

/// What is advertised besides once somebody wants the metrics of clients (KIP-714): a client that finds these pushes.
pub const TELEMETRY: &[ApiKey] = &[ApiKey::GetTelemetrySubscriptions, ApiKey::PushTelemetry];

/// Whether somebody wants the metrics of clients.
pub fn wants_telemetry(image: &Image) -> bool {
    image.client_metrics_count() > 0
}

/// The first version in which a client says what software it is (KIP-511).
const SOFTWARE_SINCE: i16 = 3;

/// The first version in which a feature may be told whose minimum is 0; older clients take that for an error.
const FEATURES_FROM_ZERO_SINCE: i16 = 4;

/// Answers an ApiVersions request, versions 0 to 4. A client whose software name or version is malformed gets 42.
/// `serves_telemetry`: the node receives the metrics of clients.
pub fn api_versions(request: &Request<'_>, version: i16, image: &Image, serves_telemetry: bool) -> Response<'static> {
    let named = [&request.client_software_name, &request.client_software_version];
    if version >= SOFTWARE_SINCE && !named.into_iter().all(|text| is_software_text(text)) {
        return Response { error_code: ErrorCode::InvalidRequest.code(), ..Response::default() };
    }
    let telemetry: &[ApiKey] = if serves_telemetry { TELEMETRY } else { &[] };
    let is_told = |feature: &&Feature| version >= FEATURES_FROM_ZERO_SINCE || feature.level_min > 0;
    let supported = |feature: &Feature| ResponseSupportedFeatures {
        name: feature.name.into(),
        min_version: feature.level_min,
        max_version: feature.level_max,
    };
    let in_force = |feature: &Feature| {
        let level = image.feature_level(feature);
        let named = |name: &'static str| ResponseFinalizedFeatures {
            name: name.into(),
            max_version_level: level,
            min_version_level: level,
        };
        (level > 0).then(|| named(feature.name))
    };
    Response {
        api_keys: SERVED.iter().chain(telemetry).map(|&key| range(key)).collect(),
        supported_features: FEATURES.iter().filter(is_told).map(supported).collect(),
        // Grows with every change of the metadata, so that clients keep the newest.
        finalized_features_epoch: image.next_offset() - 1,
        finalized_features: FEATURES.iter().filter_map(in_force).collect(),
        ..Response::default()
    }
}

/// The answer to a version of ApiVersions that is not known, to be encoded as version 0: 35, and the versions of
/// ApiVersions itself, with which the client can ask again.
pub fn api_versions_unsupported() -> Response<'static> {
    Response {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: vec![range(ApiKey::ApiVersions)],
        ..Response::default()
    }
}

fn range(key: ApiKey) -> ResponseApiKeys {
    let versions = key.advertised_versions();
    ResponseApiKeys { api_key: key as i16, min_version: *versions.start(), max_version: *versions.end() }
}

/// Letters and digits, with dashes and dots between them.
fn is_software_text(text: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}
