//! The cluster, its features, configurations and quotas.

use crate::support::{Tests, done, failing, json, text, unique};

pub(crate) const TESTS: Tests = &[
    ("the_cluster_is_described", the_cluster_is_described),
    ("features_are_listed_and_set", features_are_listed_and_set),
    ("configurations_are_set_shown_and_unset", configurations_are_set_shown_and_unset),
    ("what_cannot_be_configured_is_said_in_a_sentence", what_cannot_be_configured_is_said_in_a_sentence),
    ("quotas_are_set_listed_and_removed", quotas_are_set_listed_and_removed),
];

fn features_are_listed_and_set() {
    let features = json(&["features", "list", "--output", "json"]);
    let features = features.as_array().expect("a list");
    let metadata = features.iter().find(|feature| feature["name"] == "metadata.version").expect("every node has it");
    let level = metadata["level"].as_i64().expect("a number");
    assert!(level > 0 && metadata["level_max"].as_i64() >= Some(level), "{metadata}");
    assert!(text(&["features", "list"]).contains("metadata.version"));
    let same = format!("metadata.version={level}");
    assert_eq!(
        text(&["features", "set", &same, "--dry-run"]),
        format!("feature metadata.version could be at level {level}\n")
    );
    let higher = failing(&["features", "set", "metadata.version=9999"]);
    assert!(higher.contains("INVALID_UPDATE_VERSION (95)"), "{higher}");
    let lower = failing(&["features", "set", &format!("metadata.version={}", level - 1)]);
    assert!(lower.contains("INVALID_UPDATE_VERSION (95)"), "{lower}");
}

fn configurations_are_set_shown_and_unset() {
    let topic = unique("configured");
    done(&["topic", "create", &topic]);
    assert!(!text(&["config", "get", "topic", &topic]).contains("retention.ms"));
    let said = text(&["config", "set", "topic", &topic, "retention.ms=60000", "cleanup.policy+=compact"]);
    assert!(said.contains("retention.ms=60000") && said.contains("cleanup.policy+=compact"), "{said}");
    let shown = text(&["config", "get", "topic", &topic]);
    assert!(shown.contains("retention.ms    60000") && shown.contains("delete,compact"), "{shown}");
    let one = json(&["config", "get", "topic", &topic, "retention.ms", "-o", "json"]);
    assert_eq!((one[0]["value"].as_str(), one[0]["from"].as_str()), (Some("60000"), Some("topic")));
    done(&["config", "set", "topic", &topic, "retention.ms=5", "--dry-run"]);
    let listed = json(&["config", "list", "topic", "-o", "json"]);
    let set: Vec<_> =
        listed.as_array().expect("a list").iter().filter(|row| row["resource"] == topic.as_str()).collect();
    assert_eq!(set.len(), 2, "{set:?}");
    assert!(set.iter().any(|row| row["name"] == "retention.ms" && row["value"] == "60000"), "{set:?}");
    done(&["config", "unset", "topic", &topic, "retention.ms", "cleanup.policy"]);
    let back = json(&["config", "get", "topic", &topic, "retention.ms", "-o", "json"]);
    assert_eq!(back[0]["own"], false);

    let group = unique("configured-group");
    done(&["config", "set", "group", &group, "consumer.session.timeout.ms=50000"]);
    let shown = text(&["config", "get", "group", &group]);
    assert!(shown.contains("consumer.session.timeout.ms") && shown.contains("50000"), "{shown}");
    assert!(text(&["config", "list", "group"]).contains(&group));
    done(&["config", "unset", "group", &group, "consumer.session.timeout.ms"]);
    assert!(!text(&["config", "list", "group"]).contains(&group));

    let metrics = unique("configured-metrics");
    done(&["config", "set", "client-metrics", &metrics, "interval.ms=60000", "match=client_id=nobody.*"]);
    assert!(text(&["config", "get", "client-metrics", &metrics]).contains("client_id=nobody.*"));
    done(&["config", "unset", "client-metrics", &metrics, "interval.ms", "match"]);

    done(&["config", "set", "broker-default", "log.cleaner.delete.retention.ms=86000000"]);
    assert!(text(&["config", "get", "broker-default"]).contains("log.cleaner.delete.retention.ms  86000000"));
    done(&["config", "unset", "broker-default", "log.cleaner.delete.retention.ms"]);
    done(&["topic", "delete", &topic]);
}

fn what_cannot_be_configured_is_said_in_a_sentence() {
    let topic = unique("misconfigured");
    done(&["topic", "create", &topic]);
    assert!(failing(&["config", "set", "topic", &topic, "retention.ms=many"]).contains("retention.ms"));
    assert!(failing(&["config", "set", "topic", &topic, "retention.msec=1"]).contains("retention.ms"));
    let said = failing(&["config", "get", "topic", &topic, "retension.ms"]);
    assert!(said.contains("did you mean") && said.contains("retention.ms"), "{said}");
    assert!(failing(&["config", "set", "topic", &unique("nowhere"), "retention.ms=1"]).contains("nowhere"));
    assert!(failing(&["config", "set", "broker-default", "num.partitions=2"]).contains("num.partitions"));
    done(&["topic", "delete", &topic]);
}

fn the_cluster_is_described() {
    let described = json(&["cluster", "--output", "json"]);
    assert_eq!(described["cluster_id"].as_str().map(str::len), Some(22));
    assert!(described["brokers"].as_array().is_some_and(|brokers| !brokers.is_empty()));
    assert_eq!(described["leaderless_partitions"], 0);
    assert!(text(&["cluster"]).contains("ADDRESS"));
}

fn quotas_are_set_listed_and_removed() {
    let client = unique("quota");
    let entity = ["--client-id", client.as_str()];
    let with = |words: &[&'static str]| [&["quota"], words, &entity].concat();
    text(&with(&["set", "producer_byte_rate=10M", "request_percentage=50.5"]));
    let listed = text(&with(&["list"]));
    assert!(listed.contains("producer_byte_rate") && listed.contains("10000000"), "{listed}");
    let limits = &json(&with(&["list", "--output", "json"]))[0]["limits"];
    assert_eq!(*limits, serde_json::json!({"producer_byte_rate": 1e7, "request_percentage": 50.5}));

    text(&with(&["unset", "producer_byte_rate"]));
    assert!(!text(&with(&["list"])).contains("producer_byte_rate"));
    text(&with(&["unset"]));
    assert_eq!(json(&with(&["list", "--output", "json"])), serde_json::json!([]));

    assert!(failing(&["quota", "set", "producer_byte_rate=1"]).contains("--client-id"));
    assert!(failing(&with(&["set", "producer_byte_rate=1.5"])).contains("fractional"));
    assert!(failing(&with(&["set", "connection_creation_rate=5"])).contains("connection_creation_rate"));
}
