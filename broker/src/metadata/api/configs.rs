//! DescribeConfigs (key 32) and ListConfigResources (key 74).

use std::borrow::Cow;

use net::api::describe_configs::{
    Request, RequestResources, Response, ResponseResults, ResponseResultsConfigs, ResponseResultsConfigsSynonyms,
};
use net::api::list_config_resources as list;
use tracing::level_filters::LevelFilter;

use super::Context;
use crate::config::{
    Overrides, Row, Source, broker_default_row, broker_definitions, broker_row, client_metrics_definitions,
    client_metrics_row, group_definitions, group_row, topic_definitions, topic_row, unlisted_broker_definitions,
};
use crate::error_code::ErrorCode;
use crate::metadata::create::Refusal;
use crate::metadata::names;

/// Kafka's numbers of resource types.
pub(super) mod resource {
    pub(in crate::metadata::api) const TOPIC: i8 = 2;
    pub(in crate::metadata::api) const BROKER: i8 = 4;
    pub(in crate::metadata::api) const BROKER_LOGGER: i8 = 8;
    pub(in crate::metadata::api) const CLIENT_METRICS: i8 = 16;
    pub(in crate::metadata::api) const GROUP: i8 = 32;

    /// All of them.
    pub(super) const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
}

/// The only logger: what the node writes to its log as a whole.
const ROOT_LOGGER: &str = "root";

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
    let name = &*resource.resource_name;
    let rows = match resource.resource_type {
        resource::TOPIC => topic_rows(name, wanted, context),
        resource::BROKER => broker_rows(name, wanted, context),
        resource::BROKER_LOGGER => return loggers(resource, context),
        resource::CLIENT_METRICS => client_metrics_rows(name, wanted, context),
        resource::GROUP => group_rows(name, wanted, context),
        other => Err((
            ErrorCode::InvalidRequest,
            format!(
                "Resource type {other} has no configuration; 2 is topics, 4 brokers, 8 a broker's loggers, 16 client \
                 metrics, 32 groups."
            ),
        )),
    };
    let configs = rows.map(|rows| rows.into_iter().map(|row| config(row, include)).collect());
    described(resource, configs)
}

/// What one resource is answered: its configurations, or why there are none.
fn described<'a>(
    resource: RequestResources<'a>,
    configs: Result<Vec<ResponseResultsConfigs<'static>>, (ErrorCode, String)>,
) -> ResponseResults<'a> {
    let (code, message, configs) = match configs {
        Ok(configs) => (ErrorCode::None, String::new(), configs),
        Err((code, message)) => (code, message, Vec::new()),
    };
    ResponseResults {
        error_code: code.code(),
        error_message: Some(message.into()),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        configs,
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
    let settings = context.image.settings();
    let wanted = |definition: &&'static crate::config::Definition| wanted(definition.name);
    let unlisted = unlisted_broker_definitions().filter(|d| settings.explicit(d.name).is_some());
    let all = broker_definitions().chain(unlisted).filter(wanted);
    if name.is_empty() {
        return Ok(all.filter_map(|d| broker_default_row(d, settings)).collect());
    }
    this_broker(name, context)?;
    Ok(all.map(|d| broker_row(d, settings)).collect())
}

/// Checks that a name is this broker's id.
fn this_broker(name: &str, context: &Context<'_>) -> Result<(), (ErrorCode, String)> {
    let node_id = context.image.node_id();
    match name.parse::<i32>() {
        Ok(asked) if asked == node_id => Ok(()),
        Ok(asked) => Err((
            ErrorCode::InvalidRequest,
            format!("This broker is {node_id}, and the request is for broker {asked}: ask that one."),
        )),
        Err(_) => Err((ErrorCode::InvalidRequest, format!("\"{name}\" is no broker id: it must be a number."))),
    }
}

/// A group has a configuration whether there is such a group or not.
fn group_rows(name: &str, wanted: impl Fn(&str) -> bool, context: &Context<'_>) -> Rows {
    if name.is_empty() {
        return Err((ErrorCode::InvalidRequest, "The name of the group is empty.".to_owned()));
    }
    let none = Overrides::new();
    let overrides = context.image.group_overrides(name).unwrap_or(&none);
    let rows = group_definitions().filter(|d| wanted(d.name));
    Ok(rows.map(|d| group_row(d, overrides, context.image.settings())).collect())
}

/// A subscription has a configuration whether there is such a subscription or not.
fn client_metrics_rows(name: &str, wanted: impl Fn(&str) -> bool, context: &Context<'_>) -> Rows {
    if name.is_empty() {
        return Err((ErrorCode::InvalidRequest, "The name of the subscription is empty.".to_owned()));
    }
    let none = Overrides::new();
    let overrides = context.image.client_metrics_overrides(name).unwrap_or(&none);
    let rows = client_metrics_definitions().filter(|d| wanted(d.name));
    Ok(rows.map(|d| client_metrics_row(d, overrides)).collect())
}

/// The levels of a broker's loggers, which are chosen when it starts: the most detailed one that is written at all.
fn loggers<'a>(resource: RequestResources<'a>, context: &Context<'_>) -> ResponseResults<'a> {
    if let Err(refused) = this_broker(&resource.resource_name, context) {
        return described(resource, Err(refused));
    }
    let keys = resource.configuration_keys.as_deref().filter(|keys| !keys.is_empty());
    let level = match LevelFilter::current() {
        LevelFilter::TRACE => "TRACE",
        LevelFilter::DEBUG => "DEBUG",
        LevelFilter::INFO => "INFO",
        LevelFilter::WARN => "WARN",
        LevelFilter::ERROR => "ERROR",
        _ => "OFF",
    };
    let wanted = keys.is_none_or(|keys| keys.iter().any(|key| *key == ROOT_LOGGER));
    let root = wanted.then(|| ResponseResultsConfigs {
        name: ROOT_LOGGER.into(),
        value: Some(level.into()),
        read_only: true,
        config_source: Source::BrokerLogger.wire(),
        is_sensitive: false,
        synonyms: Vec::new(),
        // Kafka gives levels no type and no text.
        config_type: 0,
        documentation: Some("".into()),
    });
    described(resource, Ok(root.into_iter().collect()))
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

/// The first version that asks for certain types, and for others than clients' metrics (KIP-1142).
const TYPES_SINCE: i16 = 1;

/// Answers a ListConfigResources request, versions 0 and 1: what has a configuration, or could have one.
pub fn list_config_resources(request: &list::Request, context: &Context<'_>) -> list::Response<'static> {
    let types: &[i8] = match &request.resource_types[..] {
        _ if context.version < TYPES_SINCE => &[resource::CLIENT_METRICS],
        [] => &resource::ALL,
        asked => asked,
    };
    if !types.iter().all(|asked| resource::ALL.contains(asked)) {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return list::Response { error_code, ..list::Response::default() };
    }
    let image = context.image;
    let mut config_resources = Vec::new();
    for resource_type in resource::ALL.into_iter().filter(|resource_type| types.contains(resource_type)) {
        let mut push = |name: String| {
            config_resources.push(list::ResponseConfigResources { resource_name: name.into(), resource_type });
        };
        match resource_type {
            resource::TOPIC => image.topics().for_each(|topic| push(topic.name.to_string())),
            resource::BROKER | resource::BROKER_LOGGER => push(image.node_id().to_string()),
            resource::CLIENT_METRICS => image.client_metrics().for_each(|(name, _)| push(name.to_owned())),
            _ => image.configured_groups().for_each(|group| push(group.to_owned())),
        }
    }
    list::Response { config_resources, ..list::Response::default() }
}
