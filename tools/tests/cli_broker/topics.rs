//! Topics: made, listed, described, grown, deleted; and deleting their records.

use crate::support::{Tests, Topic, done, failing, json, numbers, produced, text, unique, until};

pub(crate) const TESTS: Tests = &[
    ("topics_are_made_listed_described_and_deleted", topics_are_made_listed_described_and_deleted),
    ("a_wrong_name_is_answered_with_the_nearest", a_wrong_name_is_answered_with_the_nearest),
    ("a_topic_grows_and_never_shrinks", a_topic_grows_and_never_shrinks),
    ("records_are_deleted_by_option_and_by_file", records_are_deleted_by_option_and_by_file),
    ("what_cannot_be_deleted_is_named", what_cannot_be_deleted_is_named),
];

fn topics_are_made_listed_described_and_deleted() {
    let topic = unique("life");
    let made = text(&["topic", "create", &topic, "-p", "3", "--config", "retention.ms=123456789"]);
    assert_eq!(made, format!("created topic {topic}: 3 partitions, 1 replica\n"));
    assert!(failing(&["topic", "create", &topic]).contains("TOPIC_ALREADY_EXISTS (36)"));
    let again = &json(&["topic", "create", &topic, "--if-not-exists", "--output", "json"])[0];
    assert_eq!((&again["name"], &again["created"]), (&topic.as_str().into(), &false.into()));
    assert!(text(&["topic", "list", "--names"]).lines().any(|line| line == topic));

    let described = &json(&["topic", "describe", &topic, "--output", "json"])[0];
    assert_eq!(described["partitions"].as_array().map(Vec::len), Some(3));
    assert_eq!(described["partitions"][2]["end"], 0);
    let shown = text(&["topic", "describe", &topic]);
    assert!(shown.contains("\n  retention.ms=123456789\n"), "{shown}");
    assert!(!shown.contains("segment.bytes="), "defaults are left out: {shown}");

    done(&["topic", "delete", &topic]);
    assert!(failing(&["topic", "delete", &topic]).contains("there is no topic"));
    let gone = &json(&["topic", "delete", &topic, "--if-exists", "--output", "json"])[0];
    assert_eq!((&gone["name"], &gone["deleted"]), (&topic.as_str().into(), &false.into()));
    let refused = failing(&["topic", "create", "no/slash"]);
    assert!(refused.contains("INVALID_TOPIC_EXCEPTION (17)"), "{refused}");
}

fn a_topic_grows_and_never_shrinks() {
    let topic = Topic::new("grow", 2);
    let tried = text(&["topic", "alter", &topic.0, "--partitions", "5", "--dry-run"]);
    assert_eq!(tried, format!("topic {} could have 5 partitions; it had 2\n", topic.0));
    let told = &json(&["topic", "alter", &topic.0, "--partitions", "5", "--output", "json"])[0];
    assert_eq!((&told["partitions_before"], &told["partitions"]), (&2.into(), &5.into()));
    until("the partitions are there", || {
        let described = &json(&["topic", "describe", &topic.0, "--output", "json"])[0];
        described["partitions"].as_array().map(Vec::len) == Some(5)
    });
    for count in ["5", "4"] {
        let refused = failing(&["topic", "alter", &topic.0, "--partitions", count]);
        assert!(refused.contains("INVALID_PARTITIONS (37)"), "{refused}");
    }
    assert!(failing(&["topic", "alter", &unique("none"), "-p", "2"]).contains("there is no topic"));
}

fn beginnings(topic: &str) -> Vec<i64> {
    let described = json(&["topic", "describe", topic, "--output", "json"]);
    let partitions = described[0]["partitions"].as_array().expect("it has partitions");
    partitions.iter().map(|partition| partition["beginning"].as_i64().expect("it has an offset")).collect()
}

fn records_are_deleted_by_option_and_by_file() {
    let topic = Topic::new("purge", 2);
    for partition in ["0", "1"] {
        produced(&[&topic.0, "--partition", partition], &numbers(0..10));
    }
    let plan = text(&["topic", "delete-records", &topic.0, "-p", "0", "--before", "4", "--dry-run"]);
    assert!(plan.contains("WOULD DELETE BEFORE"), "{plan}");
    assert_eq!(beginnings(&topic.0), [0, 0]);
    let told = text(&["topic", "delete-records", &topic.0, "-p", "0", "--before", "4"]);
    assert_eq!(told.split_whitespace().collect::<Vec<_>>(), ["TOPIC", "PARTITION", "BEGINNING", &topic.0, "0", "4"]);
    assert_eq!(beginnings(&topic.0), [4, 0]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("offsets.json");
    let partitions = [(0, 6), (1, -1)]
        .map(|(partition, offset)| serde_json::json!({"topic": topic.0, "partition": partition, "offset": offset}));
    std::fs::write(&file, serde_json::json!({"version": 1, "partitions": partitions}).to_string()).expect("written");
    let file = file.to_str().expect("a path of text");
    let told = json(&["topic", "delete-records", "--offset-json-file", file, "--output", "json"]);
    assert_eq!((&told[0]["beginning"], &told[1]["beginning"]), (&6.into(), &10.into()));
    assert_eq!(beginnings(&topic.0), [6, 10]);
    let left = text(&["consume", &topic.0, "--from", "beginning", "--until-end"]);
    assert_eq!(left.lines().collect::<Vec<_>>(), ["6", "7", "8", "9"]);
    done(&["topic", "delete-records", &topic.0, "--all-partitions", "--before", "end"]);
    assert_eq!(beginnings(&topic.0), [10, 10]);
}

fn what_cannot_be_deleted_is_named() {
    let topic = Topic::new("kept", 2);
    produced(&[&topic.0, "--partition", "0"], &numbers(0..3));
    let message = failing(&["topic", "delete-records", &topic.0, "--all-partitions", "--before", "2"]);
    assert!(message.contains(&format!("{}-1: the offset lies behind the last record", topic.0)), "{message}");
    assert!(message.contains("records of 1 partition are still there"), "{message}");
    assert_eq!(beginnings(&topic.0), [2, 0], "the other one is done");
    let message = failing(&["topic", "delete-records", &topic.0, "--partition", "7", "--before", "0"]);
    assert!(message.contains("has no partition 7: it has 2"), "{message}");
    let message = failing(&["topic", "delete-records", "--from-file", "/nowhere/offsets.json"]);
    assert!(message.contains("/nowhere/offsets.json") && message.contains("\"version\":1"), "{message}");
}

fn a_wrong_name_is_answered_with_the_nearest() {
    let topic = Topic::new("near", 1);
    let mut wrong = topic.0.clone();
    wrong.pop();
    let message = failing(&["consume", &wrong, "--until-end"]);
    assert!(message.contains(&format!("there is no topic {wrong:?}")), "{message}");
    assert!(message.contains(&topic.0), "{message}");
    let message = failing(&["consume", &topic.0, "--partition", "7"]);
    assert!(message.contains("has no partition 7: it has 1"), "{message}");
    assert!(failing(&["group", "describe", &unique("none")]).contains("there is no group"));
}
