//! DescribeConfigs (key 32): topics and this broker.

use std::borrow::Cow;

use net::api::describe_configs::{
    Request, RequestResources, Response, ResponseResults, ResponseResultsConfigs, ResponseResultsConfigsSynonyms,
};

use super::Context;
use crate::config::{Row, Source, broker_definitions, broker_row, topic_definitions, topic_row};
use crate::error_code::ErrorCode;
use crate::metadata::create::Refusal;
use crate::metadata::names;

/// Kafka's numbers of resource types.
pub(super) mod resource {
    pub(in crate::metadata::api) const TOPIC: i8 = 2;
    pub(in crate::metadata::api) const BROKER: i8 = 4;
}

/// Answers a DescribeConfigs request, versions 1 to 4. Null or no keys are all; unknown keys are left out.
pub fn describe_configs<'a>(request: Request<'a>, context: &Context<'_>) -> Response<'a> {
    let include = Include { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let results = request.resources.into_iter().map(|resource| describe(resource, include, context)).collect();
    Response { throttle_time_ms: 0, results }
}

#[derive(Clone, Copy)]
struct Include {
    synonyms: bool,
    documentation: bool,
}

fn describe<'a>(resource: RequestResources<'a>, include: Include, context: &Context<'_>) -> ResponseResults<'a> {
    let keys = resource.configuration_keys.as_deref().filter(|keys| !keys.is_empty());
    let wanted = |name: &str| keys.is_none_or(|keys| keys.iter().any(|key| *key == name));
    let rows = match resource.resource_type {
        resource::TOPIC => topic_rows(&resource.resource_name, wanted, context),
        resource::BROKER => broker_rows(&resource.resource_name, wanted, context),
        other => Err((
            ErrorCode::InvalidRequest,
            format!("Resource type {other} has no configuration here; 2 is topics, 4 is brokers."),
        )),
    };
    let (code, message, rows) = match rows {
        Ok(rows) => (ErrorCode::None, String::new(), rows),
        Err((code, message)) => (code, message, Vec::new()),
    };
    ResponseResults {
        error_code: code.code(),
        error_message: Some(message.into()),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        configs: rows.into_iter().map(|row| config(row, include)).collect(),
    }
}

type Rows = Result<Vec<Row>, (ErrorCode, String)>;

fn topic_rows(name: &str, wanted: impl Fn(&str) -> bool, context: &Context<'_>) -> Rows {
    if let Err(why) = names::check(name) {
        let refusal = Refusal::illegal(name, why);
        return Err((ErrorCode::from(&refusal), refusal.to_string()));
    }
    let Some(topic) = context.image.topic(name) else {
        return Err((ErrorCode::UnknownTopicOrPartition, format!("There is no topic \"{name}\".")));
    };
    let rows = topic_definitions().filter(|d| wanted(d.name));
    Ok(rows.map(|d| topic_row(d, &topic.overrides, context.image.settings())).collect())
}

/// The empty name asks for what is set for all brokers while they run.
fn broker_rows(name: &str, wanted: impl Fn(&str) -> bool, context: &Context<'_>) -> Rows {
    let node_id = context.image.node_id();
    let rows = broker_definitions().filter(|d| wanted(d.name)).map(|d| broker_row(d, context.image.settings()));
    if name.is_empty() {
        return Ok(rows.filter(|row| row.source == Source::DynamicDefaultBroker).collect());
    }
    match name.parse::<i32>() {
        Ok(asked) if asked == node_id => Ok(rows.collect()),
        Ok(asked) => Err((
            ErrorCode::InvalidRequest,
            format!("This broker is {node_id}, and the request is for broker {asked}: ask that one."),
        )),
        Err(_) => Err((ErrorCode::InvalidRequest, format!("\"{name}\" is no broker id: it must be a number."))),
    }
}

fn config(row: Row, include: Include) -> ResponseResultsConfigs<'static> {
    let synonyms = if include.synonyms { row.synonyms } else { Vec::new() };
    ResponseResultsConfigs {
        name: row.name.into(),
        value: row.value.map(Cow::Owned),
        read_only: row.read_only,
        config_source: row.source.wire(),
        is_sensitive: row.sensitive,
        synonyms: synonyms
            .into_iter()
            .map(|s| ResponseResultsConfigsSynonyms {
                name: s.name.into(),
                value: s.value.map(Cow::Owned),
                source: s.source.wire(),
            })
            .collect(),
        config_type: row.kind.wire(),
        documentation: include.documentation.then(|| row.documentation.into()),
    }
}
