//! Tests of features. Codes are what a live Kafka 4.3.1 answered to the same request.

use net::api::update_features as update;

use super::*;

const METADATA: &str = "metadata.version";
const REPLICAS: &str = "eligible.leader.replicas.version";

const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

fn ask(
    node: &mut Node,
    version: i16,
    wanted: &[(&'static str, i16, i8)],
    validate_only: bool,
) -> (update::Response<'static>, bool) {
    let wish = |&(feature, max_version_level, upgrade_type): &(&'static str, i16, i8)| update::RequestFeatureUpdates {
        feature: feature.into(),
        max_version_level,
        allow_downgrade: upgrade_type != UPGRADE,
        upgrade_type,
    };
    let feature_updates = wanted.iter().map(wish).collect();
    let request = update::Request { timeout_ms: 1000, feature_updates, validate_only };
    let (response, change) = update_features(&request, version, &mut node.controller);
    survives(&response, version, &mut Vec::new());
    assert_eq!(response.error_message.is_some(), response.error_code != 0);
    (response, change.is_some())
}

type Supported = Vec<(String, i16, i16)>;
type InForce = Vec<(String, i16)>;

/// Supported levels, and those in force.
fn told(node: &Node, version: i16) -> (Supported, InForce) {
    let request = versions::Request { client_software_name: "a".into(), client_software_version: "1".into() };
    let response = api_versions(&request, version, node.controller.newest(), false);
    assert_eq!(response.finalized_features_epoch, node.controller.newest().next_offset() - 1);
    let supported = response.supported_features.into_iter();
    let in_force = response.finalized_features.into_iter();
    (
        supported.map(|feature| (feature.name.into_owned(), feature.min_version, feature.max_version)).collect(),
        in_force.map(|feature| (feature.name.into_owned(), feature.max_version_level)).collect(),
    )
}

#[test]
fn a_feature_that_may_be_off_is_hidden_from_old_clients() {
    let node = Node::new(&[]);
    let metadata = (METADATA.to_owned(), 7, 30);
    assert_eq!(told(&node, 3).0, std::slice::from_ref(&metadata));
    assert_eq!(told(&node, 4).0, [(REPLICAS.to_owned(), 0, 1), metadata]);
    assert_eq!(told(&node, 4).1, [(REPLICAS.to_owned(), 1), (METADATA.to_owned(), 30)]);
}

#[test]
fn a_level_is_stored_and_told() {
    let mut node = Node::new(&[]);
    let off = [(REPLICAS, 0, SAFE_DOWNGRADE)];
    let (response, stored) = ask(&mut node, 2, &off, true);
    assert_eq!((response.error_code, stored), (0, false), "it was only tried");
    let (response, stored) = ask(&mut node, 1, &off, false);
    assert_eq!((response.error_code, stored, response.results.len()), (0, true, 1));
    assert_eq!(told(&node, 4).1, [(METADATA.to_owned(), 30)], "level 0 is off");
    assert!(!ask(&mut node, 2, &off, false).1, "it is so already");
    assert!(ask(&mut node, 2, &[(REPLICAS, 1, UPGRADE)], false).1);
    assert_eq!(told(&node, 4).1.len(), 2);
    assert_eq!(ask(&mut node, 2, &[], false).0.error_code, 0);
}

#[test]
fn levels_are_refused_by_kafkas_rules() {
    let mut node = Node::new(&[]);
    let refused = [
        (METADATA, 31, UPGRADE),
        (METADATA, 29, UPGRADE),
        (METADATA, 29, SAFE_DOWNGRADE),
        (METADATA, 29, UNSAFE_DOWNGRADE),
        (METADATA, 6, SAFE_DOWNGRADE),
        (METADATA, 0, SAFE_DOWNGRADE),
        (METADATA, -1, UPGRADE),
        (REPLICAS, 2, UPGRADE),
        (REPLICAS, 0, UPGRADE),
        (REPLICAS, 1, 0),
        (REPLICAS, 1, 4),
        ("nope", 1, UPGRADE),
        ("nope", 0, SAFE_DOWNGRADE),
        ("", 1, UPGRADE),
    ];
    for wish in refused {
        for version in [1, 2] {
            let (response, stored) = ask(&mut node, version, &[(REPLICAS, 0, SAFE_DOWNGRADE), wish], false);
            assert_eq!((response.error_code, stored), (95, false), "{wish:?}");
            assert!(response.results.is_empty(), "{wish:?}");
        }
    }
    for wish in [(METADATA, 30, UPGRADE), (METADATA, 30, SAFE_DOWNGRADE), (REPLICAS, 1, UNSAFE_DOWNGRADE)] {
        let (response, stored) = ask(&mut node, 2, &[wish], false);
        assert_eq!((response.error_code, stored), (0, false), "{wish:?}");
    }
    // Version 0 knows whether a downgrade is allowed, and no more.
    assert_eq!(ask(&mut node, 0, &[(REPLICAS, 0, UPGRADE)], false).0.error_code, 95);
    assert_eq!(ask(&mut node, 0, &[(REPLICAS, 0, SAFE_DOWNGRADE)], false).0.error_code, 0);
}
