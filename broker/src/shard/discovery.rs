//! What clients ask first, and again when something has moved: versions, topics, coordinators. Asking may create topics.

use net::api::{api_versions, find_coordinator, metadata};
use net::{ApiKey, DecodeError, Message as _};

use super::Shard;
use super::connections::Responder;
use super::mail::AutoCreate;
use crate::metadata::api;
use crate::metadata::names::CONSUMER_OFFSETS;

impl Shard {
    /// Answers a request by which clients find their way.
    pub(super) fn discovery_request(
        &mut self,
        responder: Responder,
        key: ApiKey,
        version: i16,
        body: &[u8],
        client_id: Option<&str>,
    ) -> Result<(), DecodeError> {
        match key {
            ApiKey::ApiVersions => {
                let request = api_versions::Request::from_prefix(body, version)?;
                self.note_software(responder.connection, &request);
                let response = api::api_versions(&request, version, &self.image, self.serves_telemetry());
                self.respond_message(responder, version, &response);
            }
            ApiKey::Metadata => {
                let request = metadata::Request::from_prefix(body, version)?;
                let view = self.view(responder);
                let api::MetadataAnswer { response, create } = api::metadata(request, &view.context(version));
                self.respond_message(responder, version, &response);
                if !create.is_empty() {
                    let client_id = Some(client_id.unwrap_or_default().to_owned());
                    self.auto_create(AutoCreate { names: create, client_id });
                }
            }
            ApiKey::FindCoordinator => {
                let request = find_coordinator::Request::from_prefix(body, version)?;
                let view = self.view(responder);
                let api::FindCoordinatorAnswer { response, create_offsets_topic } =
                    api::find_coordinator(request, &view.context(version));
                self.respond_message(responder, version, &response);
                if create_offsets_topic {
                    self.auto_create(AutoCreate { names: vec![CONSUMER_OFFSETS.to_owned()], client_id: None });
                }
            }
            other => unreachable!("{other} is not how clients find their way"),
        }
        Ok(())
    }
}
