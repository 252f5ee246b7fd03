//! What clients are told of a change that was decided and could not be written: the disk is full, or failing.

use std::borrow::Cow;

use net::api::{
    alter_client_quotas, alter_configs, create_partitions, create_topics, delete_topics, incremental_alter_configs,
    init_producer_id, update_features,
};
use net::{ApiKey, Message};

use crate::error_code::ErrorCode;

/// The error of all of them: clients may try again.
const ERROR: ErrorCode = ErrorCode::KafkaStorageError;

/// Turns the response of a change that was decided into the one of a change that was not written: what would have
/// succeeded failed because of `why`, and what was refused stays refused. None for APIs that change nothing.
pub fn unwritten(key: ApiKey, version: i16, response: &[u8], why: &str) -> Option<Vec<u8>> {
    let message = format!("Nothing was changed: the metadata log cannot be written. {why}");
    let changed = match key {
        ApiKey::CreateTopics => rewritten(version, response, |response: &mut create_topics::Response<'_>| {
            for topic in response.topics.iter_mut().filter(|topic| topic.error_code == 0) {
                *topic = create_topics::ResponseTopics {
                    name: std::mem::take(&mut topic.name),
                    error_code: ERROR.code(),
                    error_message: Some(message.clone().into()),
                    ..Default::default()
                };
            }
        }),
        ApiKey::DeleteTopics => rewritten(version, response, |response: &mut delete_topics::Response<'_>| {
            let topics = response.responses.iter_mut();
            topics.for_each(|topic| refuse(&mut topic.error_code, &mut topic.error_message, &message));
        }),
        ApiKey::CreatePartitions => rewritten(version, response, |response: &mut create_partitions::Response<'_>| {
            let topics = response.results.iter_mut();
            topics.for_each(|topic| refuse(&mut topic.error_code, &mut topic.error_message, &message));
        }),
        ApiKey::AlterConfigs => rewritten(version, response, |response: &mut alter_configs::Response<'_>| {
            let resources = response.responses.iter_mut();
            resources.for_each(|it| refuse(&mut it.error_code, &mut it.error_message, &message));
        }),
        ApiKey::IncrementalAlterConfigs => {
            rewritten(version, response, |response: &mut incremental_alter_configs::Response<'_>| {
                let resources = response.responses.iter_mut();
                resources.for_each(|it| refuse(&mut it.error_code, &mut it.error_message, &message));
            })
        }
        ApiKey::AlterClientQuotas => {
            rewritten(version, response, |response: &mut alter_client_quotas::Response<'_>| {
                let entries = response.entries.iter_mut();
                entries.for_each(|entry| refuse(&mut entry.error_code, &mut entry.error_message, &message));
            })
        }
        ApiKey::UpdateFeatures => rewritten(version, response, |response: &mut update_features::Response<'_>| {
            refuse(&mut response.error_code, &mut response.error_message, &message);
            response.results.clear();
        }),
        _ => return None,
    };
    Some(changed)
}

/// The answer to an InitProducerId request for which no ids can be taken. Of the codes that would fit, this one is
/// retriable for every client; Kafka answers it, too, while its controller gives it no ids.
pub fn no_producer_ids() -> init_producer_id::Response {
    init_producer_id::Response {
        error_code: ErrorCode::CoordinatorLoadInProgress.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    }
}

fn rewritten<'a, M: Message<'a>>(version: i16, response: &'a [u8], rewrite: impl FnOnce(&mut M)) -> Vec<u8> {
    let mut message = M::from_bytes(response, version).expect("it was encoded for this very request");
    rewrite(&mut message);
    let mut body = Vec::new();
    message.encode(&mut body, version);
    body
}

fn refuse(error_code: &mut i16, error_message: &mut Option<Cow<'_, str>>, message: &str) {
    if *error_code == ErrorCode::None.code() {
        *error_code = ERROR.code();
        *error_message = Some(message.to_owned().into());
    }
}
