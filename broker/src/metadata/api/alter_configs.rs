//! AlterConfigs (key 33) and IncrementalAlterConfigs (key 44).

use std::borrow::Cow;

use net::api::{alter_configs as alter, incremental_alter_configs as incremental};

use super::configs::resource;
use crate::config::Edit;
use crate::error_code::ErrorCode;
use crate::metadata::controller::{Alteration, Change, Controller, NotAltered, Resource, Unclear};

/// Kafka's numbers of the operations on one property (KIP-339).
mod operation {
    pub(super) const SET: i8 = 0;
    pub(super) const DELETE: i8 = 1;
    pub(super) const APPEND: i8 = 2;
    pub(super) const SUBTRACT: i8 = 3;
}

/// Answers an IncrementalAlterConfigs request, versions 0 and 1. The response is sent once the change, if there is one,
/// is durable.
pub fn incremental_alter_configs<'a>(
    request: incremental::Request<'a>,
    controller: &mut Controller,
) -> (incremental::Response<'a>, Option<Change>) {
    let wanted: Vec<_> = request.resources.iter().map(incremental_alteration).collect();
    let outcome = controller.alter_configs(&wanted, request.validate_only);
    let told = request.resources.into_iter().zip(outcome.results.into_iter().map(told));
    let responses = told.map(|(resource, (error_code, error_message))| incremental::ResponseResponses {
        error_code,
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
    });
    (incremental::Response { throttle_time_ms: 0, responses: responses.collect() }, outcome.change)
}

/// Answers an AlterConfigs request, versions 0 to 2: what it does not name is unset. The response is sent once the
/// change, if there is one, is durable.
pub fn alter_configs<'a>(
    request: alter::Request<'a>,
    controller: &mut Controller,
) -> (alter::Response<'a>, Option<Change>) {
    let wanted: Vec<_> = request.resources.iter().map(alteration).collect();
    let outcome = controller.alter_configs(&wanted, request.validate_only);
    let told = request.resources.into_iter().zip(outcome.results.into_iter().map(told));
    let responses = told.map(|(resource, (error_code, error_message))| alter::ResponseResponses {
        error_code,
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
    });
    (alter::Response { throttle_time_ms: 0, responses: responses.collect() }, outcome.change)
}

fn incremental_alteration<'a>(resource: &'a incremental::RequestResources<'_>) -> Alteration<'a> {
    let edit = |config: &'a incremental::RequestResourcesConfigs<'_>| {
        let value = config.value.as_deref().ok_or(Unclear::NoValue);
        let edit = match config.config_operation {
            operation::SET => value.map(Edit::Set),
            operation::DELETE => Ok(Edit::Delete),
            operation::APPEND => value.map(Edit::Append),
            operation::SUBTRACT => value.map(Edit::Subtract),
            other => Err(Unclear::Operation(other)),
        };
        (&*config.name, edit)
    };
    Alteration {
        resource: named(resource.resource_type, &resource.resource_name),
        replace: false,
        edits: resource.configs.iter().map(edit).collect(),
    }
}

fn alteration<'a>(resource: &'a alter::RequestResources<'_>) -> Alteration<'a> {
    let edit = |config: &'a alter::RequestResourcesConfigs<'_>| {
        (&*config.name, config.value.as_deref().map(Edit::Set).ok_or(Unclear::NoValue))
    };
    Alteration {
        resource: named(resource.resource_type, &resource.resource_name),
        replace: true,
        edits: resource.configs.iter().map(edit).collect(),
    }
}

fn named(resource_type: i8, name: &str) -> Resource<'_> {
    match resource_type {
        resource::TOPIC => Resource::Topic(name),
        resource::BROKER => Resource::Broker(name),
        resource::BROKER_LOGGER => Resource::BrokerLogger(name),
        resource::CLIENT_METRICS => Resource::ClientMetrics(name),
        resource::GROUP => Resource::Group(name),
        other => Resource::Other(other, name),
    }
}

/// The code and the message of a response.
fn told<'a>(result: Result<(), NotAltered>) -> (i16, Option<Cow<'a, str>>) {
    match result {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(refusal) => (ErrorCode::from(&refusal).code(), Some(refusal.to_string().into())),
    }
}
