//! Client quotas: stored, described, kept, and enforced.

use net::api::{alter_client_quotas, describe_client_quotas};

use crate::support::broker::{Broker, only, unique};

const DESCRIBE: i16 = 1;
const ALTER: i16 = 1;

const MATCH_EXACT: i8 = 0;

const PRODUCER: &str = "producer_byte_rate";
const CONSUMER: &str = "consumer_byte_rate";

/// A wish for one entity: its types with their names, and keys with values or none to remove them.
fn alter_request<'a>(
    entity: &[(&'a str, Option<&'a str>)],
    ops: &[(&'a str, Option<f64>)],
) -> alter_client_quotas::Request<'a> {
    let part = |&(kind, name): &(&'a str, Option<&'a str>)| alter_client_quotas::RequestEntriesEntity {
        entity_type: kind.into(),
        entity_name: name.map(Into::into),
    };
    let op = |&(key, value): &(&'a str, Option<f64>)| alter_client_quotas::RequestEntriesOps {
        key: key.into(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    };
    let entry = alter_client_quotas::RequestEntries {
        entity: entity.iter().map(part).collect(),
        ops: ops.iter().map(op).collect(),
    };
    alter_client_quotas::Request { entries: vec![entry], validate_only: false }
}

fn describe_request<'a>(kind: &'a str, name: &'a str) -> describe_client_quotas::Request<'a> {
    let component = describe_client_quotas::RequestComponents {
        entity_type: kind.into(),
        match_type: MATCH_EXACT,
        r#match: Some(name.into()),
    };
    describe_client_quotas::Request { components: vec![component], strict: true }
}

/// Sets or removes what is limited for an entity.
#[track_caller]
fn set(broker: &Broker, entity: &[(&str, Option<&str>)], ops: &[(&str, Option<f64>)]) {
    let response = broker.client().call(ALTER, &alter_request(entity, ops));
    let row = only(response.entries);
    assert_eq!(row.error_code, 0, "{:?}", row.error_message);
}

/// What is limited for a client id.
fn limits(broker: &Broker, client_id: &str) -> Vec<(String, f64)> {
    let response = broker.client().call(DESCRIBE, &describe_request("client-id", client_id));
    assert_eq!(response.error_code, 0, "{:?}", response.error_message);
    let values = response.entries.unwrap_or_default().into_iter().flat_map(|entry| entry.values);
    values.map(|value| (value.key.into_owned(), value.value)).collect()
}

/// Asks for quotas in that version.
pub(crate) fn describe(broker: &Broker, version: i16) {
    let response = broker.client().call(version, &describe_request("user", "nobody"));
    assert_eq!((response.error_code, response.entries.map(|entries| entries.len())), (0, Some(0)), "v{version}");
}

/// Changes quotas in that version.
pub(crate) fn alter(broker: &Broker, version: i16) {
    let name = unique("quota");
    let request = alter_request(&[("client-id", Some(&name))], &[(PRODUCER, Some(1e9))]);
    let row = only(broker.client().call(version, &request).entries);
    assert_eq!((row.error_code, only(row.entity).entity_name.as_deref()), (0, Some(name.as_str())), "v{version}");
    set(broker, &[("client-id", Some(&name))], &[(PRODUCER, None)]);
}

#[test]
fn quotas_outlive_a_kill_and_are_gone_when_removed() {
    let Some(broker) = Broker::get("quotas_outlive_a_kill") else { return };
    if broker.is_kafka() {
        return;
    }
    let entity = [("client-id", Some("kept"))];
    set(&broker, &entity, &[(PRODUCER, Some(1e9)), (CONSUMER, Some(2e9))]);
    let both = [(PRODUCER.to_owned(), 1e9), (CONSUMER.to_owned(), 2e9)];
    assert_eq!(limits(&broker, "kept"), both);

    let broker = Broker::of(broker.into_node().kill().start());
    assert_eq!(limits(&broker, "kept"), both);
    set(&broker, &entity, &[(PRODUCER, None)]);
    assert_eq!(limits(&broker, "kept"), both[1..]);

    let broker = Broker::of(broker.into_node().kill().start());
    set(&broker, &entity, &[(CONSUMER, None)]);
    assert_eq!(limits(&broker, "kept"), []);
}
