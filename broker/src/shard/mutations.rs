//! Creating and deleting partitions under a quota (KIP-599), on the controller's shard.
//!
//! From the versions on that know the error, a topic that comes when tokens are owed is refused with
//! THROTTLING_QUOTA_EXCEEDED, each topic on its own. Older clients get what they want, and have to wait afterwards. A topic
//! that is created because a client asked about it counts for that client, and is not created while tokens are owed: the
//! client asks again.

use std::collections::BTreeMap;
use std::sync::Arc;

use net::api::{create_partitions, create_topics, delete_topics};
use net::{ApiKey, DecodeError, Message as _, Uuid};

use super::Shard;
use super::control::{Origin, encode};
use super::mail::Client;
use super::quotas::throttle_ms;
use crate::error_code::ErrorCode;
use crate::metadata::controller::CreateTopics;
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
    /// What was taken for each topic.
    taken: BTreeMap<String, usize>,
}

impl<'a> Gate<'a> {
    fn new(meter: &'a mut Meter, client_id: &'a str, is_strict: bool, now_ns: u64) -> Self {
        let who = Who { user: ANONYMOUS, client_id };
        Self { meter, who, now_ns, is_strict, has_refused: false, taken: BTreeMap::new() }
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

    /// Takes the topics out that come too soon, and makes refusals of them. `cost` names a topic and says how many
    /// partitions it changes; what changes none is refused or passed over for that.
    fn sift<T, R>(
        &mut self,
        topics: &mut Vec<T>,
        cost: impl for<'t> Fn(&'t T) -> (&'t str, usize),
        refusal: impl Fn(&T) -> R,
    ) -> Vec<R> {
        let mut refused = Vec::new();
        topics.retain(|topic| {
            let (name, partitions) = cost(topic);
            if partitions == 0 {
                return true;
            }
            let admitted = self.admits(partitions);
            if admitted {
                *self.taken.entry(name.to_owned()).or_default() += partitions;
            } else {
                refused.push(refusal(topic));
            }
            admitted
        });
        refused
    }

    /// Gives the tokens of these topics back: they were admitted, and nothing came of it.
    fn give_back<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        for name in names {
            let partitions = self.taken.remove(name).unwrap_or_default();
            self.meter.mutate(self.who, -(partitions as f64), self.now_ns);
        }
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
        let mut gate = Gate::new(&mut self.throttling.meter, &client.id, version >= 6, now.monotonic_ns);
        let partitions = |topic: &create_topics::RequestTopics<'_>| match usize::try_from(topic.num_partitions) {
            _ if !topic.assignments.is_empty() => topic.assignments.len(),
            Ok(partitions) => partitions,
            Err(_) => partitions_default,
        };
        let mut refused = gate.sift(
            &mut request.topics,
            |topic| (&topic.name, partitions(topic)),
            |topic| create_topics::ResponseTopics {
                name: topic.name.to_string().into(),
                error_code: ErrorCode::ThrottlingQuotaExceeded.code(),
                error_message: Some(REFUSED.into()),
                num_partitions: -1,
                replication_factor: -1,
                configs: Some(Vec::new()),
                ..create_topics::ResponseTopics::default()
            },
        );
        let controller = &mut self.control.as_mut().expect("handled by the controller's shard").controller;
        let (mut response, change) = api::create_topics(&request, version, controller, now.wall_ms);
        let failed = response.topics.iter().filter(|topic| topic.error_code != ErrorCode::None.code());
        gate.give_back(failed.map(|topic| &*topic.name));
        response.topics.append(&mut refused);
        response.throttle_time_ms = gate.throttle_time_ms();
        self.conclude(origin, ApiKey::CreateTopics, version, encode(&response, version), change);
        Ok(())
    }

    /// Creates topics that a client asked about, as far as its quota reaches.
    pub(super) fn limited_auto_creation(&mut self, mut names: Vec<String>, client_id: &str) -> CreateTopics {
        let partitions = self.config.topics.partitions_default as usize;
        let now = self.now;
        let mut gate = Gate::new(&mut self.throttling.meter, client_id, true, now.monotonic_ns);
        let controller = &mut self.control.as_mut().expect("handled by the controller's shard").controller;
        let image = controller.newest();
        let cost = |name: &str| if image.topic(name).is_some() { 0 } else { partitions };
        let too_soon = gate.sift(&mut names, |name| (name, cost(name)), String::clone);
        for topic in too_soon {
            tracing::debug!(%topic, client_id, "not created yet: {REFUSED}");
        }
        let created = controller.auto_create(&names, now.wall_ms);
        let failed = created.results.iter().filter(|(_, result)| result.is_err());
        gate.give_back(failed.map(|(name, _)| &**name));
        created
    }

    fn limited_deletion(
        &mut self,
        origin: Origin,
        version: i16,
        body: &[u8],
        client: &Client,
    ) -> Result<(), DecodeError> {
        let mut request = delete_topics::Request::from_prefix(body, version)?;
        let mut gate = Gate::new(&mut self.throttling.meter, &client.id, version >= 5, self.now.monotonic_ns);
        let controller = &mut self.control.as_mut().expect("handled by the controller's shard").controller;
        let image = controller.newest();
        // What is not there costs nothing, and is told so.
        let cost = |topic: Option<&Arc<Topic>>| topic.map_or(0, |topic| topic.partitions.len());
        let refusal = |name: Option<&str>, topic: Option<&Arc<Topic>>| {
            let is_told_by_id = name.is_none() || version >= 6;
            delete_topics::ResponseResponses {
                name: name.map(|name| name.to_owned().into()),
                topic_id: topic.filter(|_| is_told_by_id).map_or(Uuid::ZERO, |topic| topic.id),
                error_code: ErrorCode::ThrottlingQuotaExceeded.code(),
                error_message: Some(REFUSED.into()),
            }
        };
        let mut refused = gate.sift(
            &mut request.topic_names,
            |name| (name, cost(image.topic(name))),
            |name| refusal(Some(name), image.topic(name)),
        );
        let named = |topic: &delete_topics::RequestTopics<'_>| match topic.name.as_deref() {
            Some(name) => image.topic(name),
            None => image.topic_by_id(topic.topic_id),
        };
        refused.append(&mut gate.sift(
            &mut request.topics,
            |topic| (topic.name.as_deref().unwrap_or_default(), cost(named(topic))),
            |topic| refusal(topic.name.as_deref(), named(topic)),
        ));
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
        let mut gate = Gate::new(&mut self.throttling.meter, &client.id, version >= 3, self.now.monotonic_ns);
        let controller = &mut self.control.as_mut().expect("handled by the controller's shard").controller;
        let image = controller.newest();
        let added = |topic: &create_partitions::RequestTopics<'_>| {
            let before = image.topic(&topic.name).map_or(usize::MAX, |topic| topic.partitions.len());
            usize::try_from(topic.count).unwrap_or(0).saturating_sub(before)
        };
        let mut refused = gate.sift(
            &mut request.topics,
            |topic| (&topic.name, added(topic)),
            |topic| create_partitions::ResponseResults {
                name: topic.name.to_string().into(),
                error_code: ErrorCode::ThrottlingQuotaExceeded.code(),
                error_message: Some(REFUSED.into()),
            },
        );
        let (mut response, change) = api::create_partitions(&request, controller);
        let failed = response.results.iter().filter(|topic| topic.error_code != ErrorCode::None.code());
        gate.give_back(failed.map(|topic| &*topic.name));
        response.results.append(&mut refused);
        response.throttle_time_ms = gate.throttle_time_ms();
        self.conclude(origin, ApiKey::CreatePartitions, version, encode(&response, version), change);
        Ok(())
    }
}
