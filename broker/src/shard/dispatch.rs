//! From a frame to the handler of its API.
//!
//! Rules (Kafka's): an ApiVersions request of an unknown version is answered with version 0 and the error 35; every
//! other unknown key or version, and every body that cannot be decoded, ends the connection without an answer.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use net::{ApiKey, DecodeError, Frame, Reader, RequestHeader};

use super::connections::{ConnectionKey, Forwarding, Responder};
use super::control::Origin;
use super::mail::{Ask, Client, Forwarded};
use super::pending::Key;
use super::{Request, Shard};
use crate::config::{Endpoint, NodeConfig};
use crate::directory::Opened;
use crate::metadata::{Image, METADATA_SHARD, api};

/// Why a request ends its connection.
#[derive(Debug)]
pub(crate) enum Malformed {
    /// The header or the body is not what its key and version say.
    Undecodable {
        /// The API, if that much could be read.
        key: Option<ApiKey>,
        /// What is wrong.
        error: DecodeError,
    },
    /// The node does not serve that version of the API.
    Unsupported {
        /// The API.
        key: ApiKey,
        /// The version.
        version: i16,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Undecodable { key: Some(key), error } => write!(f, "a {key} request cannot be decoded: {error}"),
            Malformed::Undecodable { key: None, error } => write!(f, "a request cannot be decoded: {error}"),
            Malformed::Unsupported { key, version } => {
                write!(f, "version {version} of {key} is not served; clients learn by ApiVersions what is")
            }
        }
    }
}

/// What a request about metadata is answered from.
pub(super) struct View {
    image: Arc<Image>,
    directories: Arc<[Opened]>,
    config: Arc<NodeConfig>,
    endpoint: Endpoint,
}

impl View {
    pub(super) fn context(&self, version: i16) -> api::Context<'_> {
        api::Context {
            image: &self.image,
            directories: &self.directories,
            config: &self.config,
            host: &self.endpoint.host,
            port: self.endpoint.port,
            version,
        }
    }
}

impl Shard {
    /// Handles one request. What is wrong with it ends the connection.
    pub(super) fn request(&mut self, connection: ConnectionKey, frame: &Frame<'_>) -> Result<(), Malformed> {
        let bytes: &[u8] = frame;
        if let Some(correlation_id) = unknown_api_versions(bytes) {
            let responder = self.reserve(connection, ApiKey::ApiVersions, 0, correlation_id, bytes.len());
            self.respond_message(responder, 0, &api::api_versions_unsupported());
            return Ok(());
        }
        let mut reader = Reader::new(bytes);
        let header = RequestHeader::decode(&mut reader).map_err(|error| Malformed::Undecodable { key: None, error })?;
        let RequestHeader { key, version, correlation_id, client_id } = header;
        let is_hidden = api::TELEMETRY.contains(&key) && !self.serves_telemetry();
        if is_hidden || !serves(key, version) {
            return Err(Malformed::Unsupported { key, version });
        }
        let body_start = reader.position();
        let body = &bytes[body_start..];
        let throttle_ms = if self.throttling.meter.is_active() {
            self.throttle_request(connection, key, client_id.as_deref(), bytes.len())
        } else {
            0
        };
        let handled = if key == ApiKey::Produce && produce_acks(body, version) == Some(0) {
            let responder = self.without_answer(connection, key, version, correlation_id);
            self.produce(responder, version, body)
        } else {
            let mut responder = self.reserve(connection, key, version, correlation_id, bytes.len());
            responder.throttle_ms = throttle_ms;
            match key {
                ApiKey::Produce => self.produce(responder, version, body),
                ApiKey::Fetch => self.fetch(responder, version, body),
                ApiKey::ListOffsets => self.list_offsets(responder, version, body),
                ApiKey::OffsetForLeaderEpoch => self.epoch_ends(responder, version, body),
                _ => self.dispatch_rare(responder, key, version, client_id.as_deref(), frame, body_start),
            }
        };
        handled.map_err(|error| Malformed::Undecodable { key: Some(key), error })
    }

    fn dispatch_rare(
        &mut self,
        responder: Responder,
        key: ApiKey,
        version: i16,
        client_id: Option<&str>,
        frame: &Frame<'_>,
        body_start: usize,
    ) -> Result<(), DecodeError> {
        let body = &frame[body_start..];
        match key {
            ApiKey::ApiVersions | ApiKey::Metadata | ApiKey::FindCoordinator => {
                self.discovery_request(responder, key, version, body, client_id)
            }
            ApiKey::DescribeCluster
            | ApiKey::DescribeConfigs
            | ApiKey::ListConfigResources
            | ApiKey::DescribeClientQuotas
            | ApiKey::DescribeTopicPartitions
            | ApiKey::AlterReplicaLogDirs
            | ApiKey::ElectLeaders
            | ApiKey::AlterPartitionReassignments
            | ApiKey::ListPartitionReassignments
            | ApiKey::DescribeQuorum
            | ApiKey::UnregisterBroker => self.cluster_request(responder, key, version, body),
            ApiKey::DeleteRecords | ApiKey::DescribeProducers | ApiKey::DescribeLogDirs => {
                self.partition_owners_request(responder, key, version, body)
            }
            ApiKey::GetTelemetrySubscriptions
            | ApiKey::PushTelemetry
            | ApiKey::AlterConfigs
            | ApiKey::IncrementalAlterConfigs
            | ApiKey::CreateTopics
            | ApiKey::CreatePartitions
            | ApiKey::DeleteTopics
            | ApiKey::UpdateFeatures
            | ApiKey::InitProducerId
            | ApiKey::AlterClientQuotas => {
                self.handle_at(METADATA_SHARD.into(), responder, key, version, client_id, frame, body_start)
            }
            _ => self.group_request(responder, key, version, client_id, frame, body_start),
        }
    }

    /// What a request about metadata is answered from.
    pub(super) fn view(&mut self, responder: Responder) -> View {
        View {
            image: Arc::clone(&self.image),
            directories: Arc::clone(self.directories.all()),
            config: Arc::clone(&self.config),
            endpoint: self.endpoint(responder.connection),
        }
    }

    /// Handles a whole request here, or has the shard handle it that holds its state.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one request, taken apart once by its only caller chain"
    )]
    pub(super) fn handle_at(
        &mut self,
        shard: usize,
        responder: Responder,
        key: ApiKey,
        version: i16,
        client_id: Option<&str>,
        frame: &Frame<'_>,
        body_start: usize,
    ) -> Result<(), DecodeError> {
        if shard == self.id {
            let client = self.client(responder.connection, client_id);
            return self.handle_here(Origin::Connection(responder), key, version, &frame[body_start..], &client);
        }
        let client = self.client(responder.connection, client_id);
        let body: Bytes = frame.clone().into_bytes().slice(body_start..);
        let request = self.requests.insert(Request::Forwarding(Box::new(Forwarding { responder })));
        self.ask(shard, request, Ask::Handle(Forwarded { key, version, body, client }));
        Ok(())
    }

    /// Handles a request that another shard passed on. What cannot be decoded is answered with nothing, which closes its
    /// connection there.
    pub(super) fn handle_for_peer(&mut self, shard: usize, request: Key, forwarded: Forwarded) {
        let Forwarded { key, version, body, client } = forwarded;
        let origin = Origin::Peer { shard, request };
        if let Err(error) = self.handle_here(origin, key, version, &body, &client) {
            tracing::warn!(%key, version, %error, client = %client.id, host = %client.host, "undecodable request");
            self.answer(origin, Vec::new());
        }
    }

    fn handle_here(
        &mut self,
        origin: Origin,
        key: ApiKey,
        version: i16,
        body: &[u8],
        client: &Client,
    ) -> Result<(), DecodeError> {
        match key {
            ApiKey::AlterConfigs
            | ApiKey::IncrementalAlterConfigs
            | ApiKey::CreateTopics
            | ApiKey::CreatePartitions
            | ApiKey::DeleteTopics
            | ApiKey::UpdateFeatures
            | ApiKey::InitProducerId
            | ApiKey::AlterClientQuotas => self.control_request(origin, key, version, body, client),
            ApiKey::GetTelemetrySubscriptions | ApiKey::PushTelemetry => {
                self.telemetry_request(origin, key, version, body, client)
            }
            _ => self.coordinate(origin, key, version, body, client),
        }
    }
}

/// Whether the node serves this version of the API: what is advertised, less what has no schema.
fn serves(key: ApiKey, version: i16) -> bool {
    (api::SERVED.contains(&key) || api::TELEMETRY.contains(&key))
        && key.advertised_versions().contains(&version)
        && key.valid_versions().contains(&version)
}

/// The correlation id of an ApiVersions request whose version is not served. From version 3 on the header is flexible, and
/// has to hold at least its tag byte; anything shorter is no request.
fn unknown_api_versions(frame: &[u8]) -> Option<i32> {
    let mut reader = Reader::new(frame);
    let (key, version) = (reader.i16().ok()?, reader.i16().ok()?);
    if key != ApiKey::ApiVersions as i16 || serves(ApiKey::ApiVersions, version) {
        return None;
    }
    let correlation_id = reader.i32().ok()?;
    reader.nullable_string(false).ok()?;
    if version >= 3 {
        reader.skip_tagged_fields().ok()?;
    }
    Some(correlation_id)
}

/// The acks of a Produce request, read ahead of its handler: with 0 no answer is owed.
fn produce_acks(body: &[u8], version: i16) -> Option<i16> {
    let mut reader = Reader::new(body);
    reader.nullable_string(ApiKey::Produce.is_flexible(version)).ok()?;
    reader.i16().ok()
}
