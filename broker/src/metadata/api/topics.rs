//! CreateTopics (key 19) and DeleteTopics (key 20).

use net::Uuid;
use net::api::{create_topics as create, delete_topics as delete};

use crate::config::{Settings, topic_definitions, topic_row};
use crate::error_code::ErrorCode;
use crate::metadata::Topic;
use crate::metadata::controller::{Change, Controller, Deleted, Target};
use crate::metadata::create::{Assignment, Created, NewTopic, Refusal};

/// Answers a CreateTopics request, versions 2 to 7. The response is sent once the change, if there is one, is durable.
pub fn create_topics(
    request: &create::Request<'_>,
    version: i16,
    controller: &mut Controller,
    now_ms: i64,
) -> (create::Response<'static>, Option<Change>) {
    let wanted: Vec<_> = request.topics.iter().map(wanted).collect();
    let outcome = controller.create_topics(&wanted, request.validate_only, now_ms);
    let settings = std::sync::Arc::clone(controller.newest().settings());
    let result = |(name, result): (String, Result<Created, Refusal>)| match result {
        Ok(created) => created_topic(&created.topic, version, &settings),
        Err(refusal) => refused(name, &refusal),
    };
    let topics = outcome.results.into_iter().map(result).collect();
    (create::Response { throttle_time_ms: 0, topics }, outcome.change)
}

fn wanted<'a>(topic: &'a create::RequestTopics<'_>) -> NewTopic<'a> {
    NewTopic {
        name: &topic.name,
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|a| Assignment { partition: a.partition_index, replicas: &a.broker_ids })
            .collect(),
        configs: topic.configs.iter().map(|c| (&*c.name, c.value.as_deref())).collect(),
    }
}

/// Configs are answered from version 5 on, every one of them (KIP-525); tools fail on fewer.
const CONFIGS_SINCE: i16 = 5;

fn created_topic(topic: &Topic, version: i16, settings: &Settings) -> create::ResponseTopics<'static> {
    let configs = (version >= CONFIGS_SINCE).then(|| {
        topic_definitions()
            .map(|definition| topic_row(definition, &topic.overrides, settings))
            .map(|row| create::ResponseTopicsConfigs {
                name: row.name.into(),
                value: row.value.map(Into::into),
                read_only: row.read_only,
                config_source: row.source.wire(),
                is_sensitive: row.sensitive,
            })
            .collect()
    });
    create::ResponseTopics {
        name: topic.name.to_string().into(),
        topic_id: topic.id,
        error_code: ErrorCode::None.code(),
        error_message: None,
        topic_config_error_code: ErrorCode::None.code(),
        num_partitions: i32::try_from(topic.partitions.len()).expect("bounded by one request"),
        replication_factor: i16::try_from(topic.partitions[0].replicas.len()).expect("bounded by the brokers"),
        configs,
    }
}

fn refused(name: String, refusal: &Refusal) -> create::ResponseTopics<'static> {
    create::ResponseTopics {
        name: name.into(),
        error_code: ErrorCode::from(refusal).code(),
        error_message: Some(refusal.to_string().into()),
        num_partitions: -1,
        replication_factor: -1,
        configs: Some(Vec::new()),
        ..create::ResponseTopics::default()
    }
}

/// The answer to a DeleteTopics request.
#[derive(Debug)]
pub struct DeleteTopicsAnswer {
    /// The response, to be sent once the change is durable.
    pub response: delete::Response<'static>,
    /// What to append, if anything was deleted.
    pub change: Option<Change>,
    /// The topics whose logs are to be deleted once the change is durable.
    pub deleted: Vec<Deleted>,
}

/// The first version that names topics one by one, by name or id (KIP-516).
const BY_ID_SINCE: i16 = 6;

/// Answers a DeleteTopics request, versions 1 to 6; by id from version 6 on.
pub fn delete_topics(request: &delete::Request<'_>, version: i16, controller: &mut Controller) -> DeleteTopicsAnswer {
    let targets: Vec<_> = match version >= BY_ID_SINCE {
        true => request.topics.iter().map(target).collect(),
        false => request.topic_names.iter().map(|name| Target::Name(name)).collect(),
    };
    let outcome = controller.delete_topics(&targets);
    let mut answer =
        DeleteTopicsAnswer { response: delete::Response::default(), change: outcome.change, deleted: Vec::new() };
    for (target, result) in outcome.results {
        let (name, topic_id) = match target {
            Target::Name(name) => (Some(name), Uuid::ZERO),
            Target::Id(id) => (None, id),
            Target::Both(name, id) => (Some(name), id),
            Target::Neither => (None, Uuid::ZERO),
        };
        let mut row = delete::ResponseResponses {
            name: name.map(|name| name.to_owned().into()),
            topic_id,
            ..delete::ResponseResponses::default()
        };
        match result {
            Ok(deleted) => {
                row.name = Some(deleted.name.to_string().into());
                row.topic_id = deleted.id;
                answer.deleted.push(deleted);
            }
            Err(refusal) => {
                row.error_code = ErrorCode::from(&refusal).code();
                row.error_message = Some(refusal.to_string().into());
            }
        }
        answer.response.responses.push(row);
    }
    answer
}

fn target<'a>(topic: &'a delete::RequestTopics<'_>) -> Target<'a> {
    match (topic.name.as_deref(), topic.topic_id) {
        (Some(name), id) if id.is_zero() => Target::Name(name),
        (Some(name), id) => Target::Both(name, id),
        (None, id) if id.is_zero() => Target::Neither,
        (None, id) => Target::Id(id),
    }
}
