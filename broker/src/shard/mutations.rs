//! Creating and deleting partitions under a quota (KIP-599), on the controller's shard.
//!
//! From the versions on that know the error, a topic that comes when tokens are owed is refused with
//! THROTTLING_QUOTA_EXCEEDED, each topic on its own. Older clients get what they want, and have to wait afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use net::api::{create_partitions, create_topics, delete_topics};
use net::{ApiKey, DecodeError, Message as _, Uuid};

use super::Shard;
use super::control::{Origin, encode};
use super::mail::Client;
use super::quotas::throttle_ms;
use crate::error_code::ErrorCode;
use crate::metadata::{Topic, api};
use crate::quota::{ANONYMOUS, Meter, Who};

/// What a client is told of a topic that came too soon.
const REFUSED: &str = "The throttling quota has been exceeded; try again after the throttle time.";

/// Admits the topics of a request one after another.
struct Gate<'a> {
    meter: &'a mut Meter,
    who: Who<'a>,
    now_ns: u64,
    /// Whether topics are refused while tokens are owed.
    is_strict: bool,
    has_refused: bool,
}

impl<'a> Gate<'a> {
    fn new(meter: &'a mut Meter, client: &'a Client, is_strict: bool, now_ns: u64) -> Self {
        let who = Who { user: ANONYMOUS, client_id: &client.id };
        Self { meter, who, now_ns, is_strict, has_refused: false }
    }

    /// Takes tokens for the partitions of a topic, unless the client has to wait first.
    fn admits(&mut self, partitions: usize) -> bool {
        if self.is_strict && self.meter.mutation_wait(self.who, self.now_ns) > 0 {
            self.has_refused = true;
            return false;
        }
        self.meter.mutate(self.who, partitions as f64, self.now_ns);
        true
    }

    /// Gives tokens back for what was admitted and did not happen.
    fn give_back(&mut self, partitions: usize) {
        self.meter.mutate(self.who, -(partitions as f64), self.now_ns);
    }

    /// How long the client is told to wait.
    fn throttle_time_ms(&mut self) -> i32 {
        if self.is_strict && !self.has_refused {
            return 0;
        }
        throttle_ms(self.meter.mutation_wait(self.who, self.now_ns))
    }
}

impl Shard {
    /// Handles a request that creates or deletes partitions while somebody has a quota for that.
    pub(super) fn limited_mutation(
        &mut self,
        origin: Origin,
        key: ApiKey,
        version: i16,
        body: &[u8],
        client: &Client,
    ) -> Result<(), DecodeError> {
        match key {
            ApiKey::CreateTopics => self.limited_creation(origin, version, body, client),
            ApiKey::DeleteTopics => self.limited_deletion(origin, version, body, client),
            ApiKey::CreatePartitions => self.limited_growth(origin, version, body, client),
            other => unreachable!("{other} changes no partitions"),
        }
    }

    fn limited_creation(
        &mut self,
        origin: Origin,
        version: i16,
        body: &[u8],
        client: &Client,
    ) -> Result<(), DecodeError> {
        let mut request = create_topics::Request::from_prefix(body, version)?;
        let partitions_default = self.config.topics.partitions_default as usize;
        let now = self.now;
        let mut gate = Gate::new(&mut self.throttling.meter, client, version >= 6, now.monotonic_ns);
        let (mut refused, mut taken) = (Vec::new(), BTreeMap::new());
        request.topics.retain(|topic| {
            let partitions = match usize::try_from(topic.num_partitions) {
                _ if !topic.assignments.is_empty() => topic.assignments.len(),
                Ok(partitions) => partitions,
                Err(_) => partitions_default,
            };
            let admitted = gate.admits(partitions);
            if admitted {
                *taken.entry(topic.name.to_string()).or_default() += partitions;
            } else {
                refused.push(create_topics::ResponseTopics {
                    name: topic.name.to_string().into(),
                    error_code: ErrorCode::ThrottlingQuotaExceeded.code(),
                    error_message: Some(REFUSED.into()),
                    num_partitions: -1,
                    replication_factor: -1,
                    configs: Some(Vec::new()),
                    ..create_topics::ResponseTopics::default()
                });
            }
            admitted
        });
        let controller = &mut self.control.as_mut().expect("handled by the controller's shard").controller;
        let (mut response, change) = api::create_topics(&request, version, controller, now.wall_ms);
        for failed in response.topics.iter().filter(|topic| topic.error_code != ErrorCode::None.code()) {
            gate.give_back(taken.remove(&*failed.name).unwrap_or_default());
        }
        response.topics.append(&mut refused);
        response.throttle_time_ms = gate.throttle_time_ms();
        self.conclude(origin, ApiKey::CreateTopics, version, encode(&response, version), change);
        Ok(())
    }

    fn limited_deletion(
        &mut self,
        origin: Origin,
        version: i16,
        body: &[u8],
        client: &Client,
    ) -> Result<(), DecodeError> {
        let mut request = delete_topics::Request::from_prefix(body, version)?;
        let mut gate = Gate::new(&mut self.throttling.meter, client, version >= 5, self.now.monotonic_ns);
        let controller = &mut self.control.as_mut().expect("handled by the controller's shard").controller;
        let image = controller.newest();
        let mut refused = Vec::new();
        let mut admits = |topic: Option<&Arc<Topic>>, name: Option<&str>| {
            // What is not there costs nothing, and is told so.
            let Some(topic) = topic else { return true };
            let admitted = gate.admits(topic.partitions.len());
            if !admitted {
                refused.push(delete_topics::ResponseResponses {
                    name: name.map(|name| name.to_owned().into()),
                    topic_id: if name.is_none() || version >= 6 { topic.id } else { Uuid::ZERO },
                    error_code: ErrorCode::ThrottlingQuotaExceeded.code(),
                    error_message: Some(REFUSED.into()),
                });
            }
            admitted
        };
        request.topic_names.retain(|name| admits(image.topic(name), Some(name)));
        request.topics.retain(|topic| match topic.name.as_deref() {
            Some(name) => admits(image.topic(name), Some(name)),
            None => admits(image.topic_by_id(topic.topic_id), None),
        });
        let answer = api::delete_topics(&request, version, controller);
        let mut response = answer.response;
        response.responses.append(&mut refused);
        response.throttle_time_ms = gate.throttle_time_ms();
        self.conclude(origin, ApiKey::DeleteTopics, version, encode(&response, version), answer.change);
        Ok(())
    }

    fn limited_growth(
        &mut self,
        origin: Origin,
        version: i16,
        body: &[u8],
        client: &Client,
    ) -> Result<(), DecodeError> {
        let mut request = create_partitions::Request::from_prefix(body, version)?;
        let mut gate = Gate::new(&mut self.throttling.meter, client, version >= 3, self.now.monotonic_ns);
        let controller = &mut self.control.as_mut().expect("handled by the controller's shard").controller;
        let image = controller.newest();
        let (mut refused, mut taken) = (Vec::new(), BTreeMap::new());
        request.topics.retain(|topic| {
            let before = image.topic(&topic.name).map_or(usize::MAX, |topic| topic.partitions.len());
            let partitions = usize::try_from(topic.count).unwrap_or(0).saturating_sub(before);
            // A wish that adds nothing is refused for that.
            let admitted = partitions == 0 || gate.admits(partitions);
            if admitted {
                *taken.entry(topic.name.to_string()).or_default() += partitions;
            } else {
                refused.push(create_partitions::ResponseResults {
                    name: topic.name.to_string().into(),
                    error_code: ErrorCode::ThrottlingQuotaExceeded.code(),
                    error_message: Some(REFUSED.into()),
                });
            }
            admitted
        });
        let (mut response, change) = api::create_partitions(&request, controller);
        for failed in response.results.iter().filter(|topic| topic.error_code != ErrorCode::None.code()) {
            gate.give_back(taken.remove(&*failed.name).unwrap_or_default());
        }
        response.results.append(&mut refused);
        response.throttle_time_ms = gate.throttle_time_ms();
        self.conclude(origin, ApiKey::CreatePartitions, version, encode(&response, version), change);
        Ok(())
    }
}
