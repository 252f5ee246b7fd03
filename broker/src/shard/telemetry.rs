//! Requests about the metrics of clients: which are wanted, and what they push (KIP-714).
//!
//! What is pushed goes to the admin thread, which says whether it could be read; the answer waits for that.

use net::api::{get_telemetry_subscriptions, push_telemetry};
use net::{ApiKey, DecodeError, Message as _};
use replication::mailbox::SLOTS;

use super::control::{Origin, encode};
use super::mail::{Client, Mail};
use super::pending::Key;
use super::{Request, Shard};
use crate::error_code::ErrorCode;
use crate::metadata::api;
use crate::telemetry::{About, Verdict};

/// Pushes that the admin thread has and has not told of; who comes then is to push again after its interval.
const PUSHES_MAX: usize = 64;

// What the admin thread says of each has its slot, beside its inquiries.
const _: () = assert!(PUSHES_MAX < SLOTS / 2);

/// A push whose document is being read.
#[derive(Debug)]
pub(crate) struct Pushed {
    origin: Origin,
    version: i16,
}

impl Shard {
    /// Whether the metrics of clients are received: somebody wants them, and there is somewhere to show them.
    pub(super) fn serves_telemetry(&self) -> bool {
        !self.config.admin.is_empty() && api::wants_telemetry(&self.image)
    }

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
        let now_ns = self.now.monotonic_ns;
        let bytes_max = self.config.network.telemetry_bytes_max;
        match key {
            ApiKey::GetTelemetrySubscriptions => {
                let request = get_telemetry_subscriptions::Request::from_prefix(body, version)?;
                let (receiver, image, random) = (&mut self.telemetry, &self.image, &mut self.random);
                let response = receiver.subscriptions(&request, &about, image, bytes_max, now_ns, random);
                self.answer(origin, encode(&response, version));
            }
            ApiKey::PushTelemetry => {
                let request = push_telemetry::Request::from_prefix(body, version)?;
                let verdict = self.telemetry.push(&request, &about, &self.image, bytes_max, now_ns);
                let (instance, bytes) = (request.client_instance_id, request.metrics.len());
                tracing::debug!(client = %client.id, %instance, bytes, "client metrics");
                match verdict {
                    Verdict::Told(code) => self.answer_push(origin, version, code),
                    Verdict::Taken(_) if self.pushes >= PUSHES_MAX => {
                        self.answer_push(origin, version, ErrorCode::ThrottlingQuotaExceeded);
                    }
                    Verdict::Taken(push) => {
                        self.pushes += 1;
                        let request = self.requests.insert(Request::Push(Box::new(Pushed { origin, version })));
                        self.send(self.admin(), Mail::Push { request, push: Box::new(push) });
                    }
                }
            }
            other => unreachable!("{other} is not about the metrics of clients"),
        }
        Ok(())
    }

    /// The admin thread has read a push, or could not.
    pub(super) fn push_read(&mut self, request: Key, is_readable: bool) {
        self.pushes -= 1;
        let Some(Request::Push(pushed)) = self.requests.remove(request) else { return };
        let code = if is_readable { ErrorCode::None } else { ErrorCode::InvalidRecord };
        self.answer_push(pushed.origin, pushed.version, code);
    }

    fn answer_push(&mut self, origin: Origin, version: i16, code: ErrorCode) {
        let response = push_telemetry::Response { error_code: code.code(), ..push_telemetry::Response::default() };
        self.answer(origin, encode(&response, version));
    }
}
