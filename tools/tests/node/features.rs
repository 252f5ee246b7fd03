//! Levels of features: stored, told, and kept.

use net::api::{api_versions, update_features};

use crate::support::broker::{Broker, TIMEOUT_MS};
use crate::support::client::Client;

const UPDATE: i16 = 1;
const API_VERSIONS: i16 = 4;

const FEATURE: &str = "eligible.leader.replicas.version";

/// Kafka's numbers of what is done with a level (KIP-584, KIP-778).
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;

/// The level that the feature has; none while it is off.
fn level(client: &mut Client) -> Option<i16> {
    let about = api_versions::Request { client_software_name: "test".into(), client_software_version: "1".into() };
    let response = client.call(API_VERSIONS, &about);
    assert_eq!(response.error_code, 0);
    response.finalized_features.iter().find(|feature| feature.name == FEATURE).map(|feature| feature.max_version_level)
}

#[track_caller]
fn set(client: &mut Client, level: i16, upgrade_type: i8) {
    let update = update_features::RequestFeatureUpdates {
        feature: FEATURE.into(),
        max_version_level: level,
        allow_downgrade: false,
        upgrade_type,
    };
    let request =
        update_features::Request { timeout_ms: TIMEOUT_MS, feature_updates: vec![update], validate_only: false };
    let response = client.call(UPDATE, &request);
    let codes: Vec<_> = response.results.iter().map(|result| result.error_code).collect();
    assert_eq!((response.error_code, codes), (0, vec![0]), "{:?}", response.error_message);
}

#[test]
fn the_level_of_a_feature_outlives_a_kill() {
    let Some(broker) = Broker::get("the_level_of_a_feature") else { return };
    if broker.is_kafka() {
        return;
    }
    let mut client = broker.client();
    let was = level(&mut client);
    if was.is_some() {
        set(&mut client, 0, SAFE_DOWNGRADE);
    } else {
        set(&mut client, 1, UPGRADE);
    }
    let is = level(&mut client);
    assert_eq!(is.is_some(), was.is_none(), "{was:?} and {is:?}");

    let broker = Broker::of(broker.into_node().kill().start());
    let mut client = broker.client();
    assert_eq!(level(&mut client), is);
    match was {
        Some(level) => set(&mut client, level, UPGRADE),
        None => set(&mut client, 0, SAFE_DOWNGRADE),
    }

    let broker = Broker::of(broker.into_node().kill().start());
    assert_eq!(level(&mut broker.client()), was);
}
