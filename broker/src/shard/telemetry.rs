//! Requests about the metrics of clients: which are wanted, and what they push (KIP-714).

use net::api::{get_telemetry_subscriptions, push_telemetry};
use net::{ApiKey, DecodeError, Message as _};

use super::Shard;
use super::control::{Origin, encode};
use super::mail::Client;
use crate::telemetry::{About, Now};

impl Shard {
    /// Answers a request about the metrics of clients, on the shard that receives them.
    pub(super) fn telemetry_request(
        &mut self,
        origin: Origin,
        key: ApiKey,
        version: i16,
        body: &[u8],
        client: &Client,
    ) -> Result<(), DecodeError> {
        let about = About {
            client_id: &client.id,
            software_name: &client.software_name,
            software_version: &client.software_version,
            address: &client.host,
            port: client.port,
        };
        let now = Now { monotonic_ns: self.now.monotonic_ns, wall_ms: self.now.wall_ms };
        let bytes_max = self.config.network.telemetry_bytes_max;
        let response = match key {
            ApiKey::GetTelemetrySubscriptions => {
                let request = get_telemetry_subscriptions::Request::from_prefix(body, version)?;
                let (receiver, image, random) = (&mut self.telemetry, &self.image, &mut self.random);
                encode(&receiver.subscriptions(&request, &about, image, bytes_max, now, random), version)
            }
            ApiKey::PushTelemetry => {
                let request = push_telemetry::Request::from_prefix(body, version)?;
                let response = self.telemetry.push(&request, &about, &self.image, bytes_max, now);
                let (code, bytes) = (response.error_code, request.metrics.len());
                tracing::debug!(client = %client.id, instance = %request.client_instance_id, bytes, code, "client metrics");
                encode(&response, version)
            }
            other => unreachable!("{other} is not about the metrics of clients"),
        };
        self.answer(origin, response);
        Ok(())
    }
}
