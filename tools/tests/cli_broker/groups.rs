//! Groups: consuming in one, resetting and deleting it, its lag.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::support::{PATIENCE, Tests, Topic, done, failing, json, numbers, produced, run, skein, text, unique};

pub(crate) const TESTS: Tests = &[
    ("a_group_goes_on_where_it_was", a_group_goes_on_where_it_was),
    (
        "two_members_share_the_partitions_and_the_last_one_gets_all",
        two_members_share_the_partitions_and_the_last_one_gets_all,
    ),
    ("a_group_is_reset_to_wherever_one_likes", a_group_is_reset_to_wherever_one_likes),
    ("an_active_group_is_neither_reset_nor_deleted", an_active_group_is_neither_reset_nor_deleted),
    ("a_group_and_its_offsets_are_deleted", a_group_and_its_offsets_are_deleted),
    ("lag_is_told_in_records_and_in_time", lag_is_told_in_records_and_in_time),
];

fn a_group_goes_on_where_it_was() {
    let (topic, group) = (Topic::new("resume", 1), unique("group"));
    produced(&[&topic.0], &numbers(0..100));
    let arguments = ["consume", &topic.0, "--group", &group, "--from", "beginning"];
    let first = text(&[&arguments[..], &["--count", "30"]].concat());
    let second = text(&[&arguments[..], &["--until-end"]].concat());
    assert_eq!((first + &second).into_bytes(), numbers(0..100));
    assert_eq!(text(&[&arguments[..], &["--until-end"]].concat()), "");
    let described = &json(&["group", "describe", &group, "--output", "json"])[0];
    assert_eq!(described["state"], "Empty");
    assert_eq!(described["partitions"][0]["committed"], 100);
    assert_eq!(described["partitions"][0]["lag"], 0);
    let listed = json(&["group", "list", "--output", "json"]);
    assert!(listed.as_array().is_some_and(|groups| groups.iter().any(|listed| listed["group"] == group)));
}

/// A member of a group in the background, stopped with Ctrl-C.
struct Background(Child);

impl Background {
    fn consume(topic: &str, group: &str) -> Self {
        let arguments = ["consume", topic, "--group", group, "--from", "beginning"];
        Self(skein(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command runs"))
    }

    /// Ctrl-C, and what it printed until then.
    fn interrupt(mut self) -> String {
        let reader = {
            let mut out = self.0.stdout.take().expect("its output is a pipe");
            thread::spawn(move || std::io::read_to_string(&mut out).expect("the output is text"))
        };
        let sent = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
        let status = self.0.wait().expect("the command ends");
        assert_eq!(status.code(), Some(0), "Ctrl-C is how following ends");
        reader.join().expect("the reader does not panic")
    }
}

/// Waits until the group has so many members that are all settled, and everything is read.
fn await_group(group: &str, members: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = run(&["group", "describe", group, "--output", "json"]);
        let described: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let described = &described[0];
        let count = described["members"].as_array().map_or(0, Vec::len);
        let read = described["partitions"].as_array().is_some_and(|all| all.iter().all(|one| one["lag"] == 0));
        if count == members && read && (members == 0 || described["state"] == "Stable") {
            return;
        }
        assert!(Instant::now() < deadline, "the group does not settle: {described}");
    }
}

fn two_members_share_the_partitions_and_the_last_one_gets_all() {
    let (topic, group) = (Topic::new("share", 4), unique("group"));
    for partition in ["0", "1", "2", "3"] {
        produced(&[&topic.0, "-p", partition], &numbers(0..50));
    }
    let first = Background::consume(&topic.0, &group);
    await_group(&group, 1);
    let second = Background::consume(&topic.0, &group);
    await_group(&group, 2);
    let described = &json(&["group", "describe", &group, "--output", "json"])[0];
    for member in described["members"].as_array().expect("members are a list") {
        assert_eq!(member["assignment"][&topic.0].as_array().map(Vec::len), Some(2), "{described}");
    }
    for partition in ["0", "1", "2", "3"] {
        produced(&[&topic.0, "-p", partition], &numbers(50..100));
    }
    await_group(&group, 2);
    let of_first = first.interrupt();
    await_group(&group, 1);
    for partition in ["0", "1", "2", "3"] {
        produced(&[&topic.0, "-p", partition], &numbers(100..110));
    }
    await_group(&group, 1);
    let of_second = second.interrupt();
    await_group(&group, 0);

    let mut read: Vec<u32> = (of_first + &of_second).lines().map(|line| line.parse().expect("a number")).collect();
    read.sort_unstable();
    let expected: Vec<u32> = (0..110).flat_map(|number| [number; 4]).collect();
    assert_eq!(read, expected, "every record once");
}

/// Committed offsets by topic and partition.
fn committed(group: &str) -> BTreeMap<(String, i64), i64> {
    let described = &json(&["group", "describe", group, "--output", "json"])[0];
    let partitions = described["partitions"].as_array().expect("partitions are a list");
    let one = |of: &serde_json::Value| {
        let committed = of["committed"].as_i64()?;
        Some(((of["topic"].as_str()?.to_owned(), of["partition"].as_i64()?), committed))
    };
    partitions.iter().filter_map(one).collect()
}

/// A topic with ten records in each of two partitions, and a group that has read four of the first.
fn read_topic(what: &str) -> (Topic, String) {
    let (topic, group) = (Topic::new(what, 2), unique("group"));
    for partition in ["0", "1"] {
        produced(&[&topic.0, "-p", partition], &numbers(0..10));
    }
    done(&["group", "reset", &group, "--to-offset", "4", "--topic", &format!("{}:0", topic.0)]);
    (topic, group)
}

fn a_group_is_reset_to_wherever_one_likes() {
    let (topic, group) = read_topic("reset");
    let at = |partition: i64| committed(&group).get(&(topic.0.clone(), partition)).copied();
    let first = format!("{}:0", topic.0);
    assert_eq!((at(0), at(1)), (Some(4), None));
    let reset = |options: &[&str]| done(&[&["group", "reset", &group][..], options].concat());
    let to = |options: &[&str], expected: i64| {
        reset(&[&["--topic", &first][..], options].concat());
        assert_eq!(at(0), Some(expected), "{options:?}");
    };
    to(&["--to-latest"], 10);
    to(&["--shift-by", "-3"], 7);
    to(&["--shift-by", "2"], 9);
    to(&["--shift-by", "1000"], 10);
    to(&["--to-earliest", "--dry-run"], 10);
    to(&["--to-earliest"], 0);
    to(&["--to-offset", "1000"], 10);
    to(&["--to-current"], 10);
    to(&["--to-datetime", "2020-01-01"], 0);
    to(&["--to-datetime", "4102444800000"], 10);
    to(&["--by-duration", "PT1H"], 0);
    reset(&["--to-offset", "3", "--topic", &topic.0]);
    assert_eq!((at(0), at(1)), (Some(3), Some(3)));
    reset(&["--to-offset", "5", "--all-topics"]);
    assert_eq!((at(0), at(1)), (Some(5), Some(5)));
    let document = json(&["group", "reset", &group, "--to-earliest", "--all-topics", "--dry-run", "--output", "json"]);
    assert_eq!((&document["partitions"][1]["before"], &document["partitions"][1]["after"]), (&5.into(), &0.into()));

    let exported = reset(&["--to-current", "--all-topics", "--dry-run", "--output", "csv"]);
    assert_eq!(String::from_utf8_lossy(&exported), format!("{0},0,5\n{0},1,5\n", topic.0));
    let file = std::env::temp_dir().join(unique("offsets"));
    std::fs::write(&file, exported).expect("the file is written");
    reset(&["--to-earliest", "--all-topics"]);
    reset(&["--from-file", file.to_str().expect("a name in UTF-8")]);
    assert_eq!((at(0), at(1)), (Some(5), Some(5)));
    std::fs::write(&file, "orders,0\n").expect("the file is written");
    let message = failing(&["group", "reset", &group, "--from-file", file.to_str().expect("a name in UTF-8")]);
    assert!(message.contains("line 1 of ") && message.contains("TOPIC,PARTITION,OFFSET"), "{message}");
    std::fs::remove_file(&file).expect("the file is removed");

    let message = failing(&["group", "reset", &unique("none"), "--to-latest", "--all-topics"]);
    assert!(message.contains("has committed no offsets"), "{message}");
    let message = failing(&["group", "reset", &unique("none"), "--shift-by", "1", "--topic", &first]);
    assert!(message.contains("cannot be shifted"), "{message}");
    let message = failing(&["group", "reset", &group, "--to-latest", "--topic", &format!("{}:7", topic.0)]);
    assert!(message.contains('7'), "{message}");
}

fn an_active_group_is_neither_reset_nor_deleted() {
    let (topic, group) = (Topic::new("active", 1), unique("group"));
    produced(&[&topic.0], &numbers(0..10));
    let member = Background::consume(&topic.0, &group);
    await_group(&group, 1);
    let message = failing(&["group", "reset", &group, "--to-earliest", "--all-topics"]);
    assert!(message.contains("is active: it is Stable and has 1 member"), "{message}");
    let message = failing(&["group", "delete", &group]);
    assert!(message.contains("has members") && message.contains("stop them first"), "{message}");
    let message = failing(&["group", "delete-offsets", &group, "--topic", &topic.0]);
    assert!(message.contains("1 of 1 offsets could not be deleted"), "{message}");
    assert!(!text(&["group", "list", "--state", "empty"]).contains(&group));
    assert!(text(&["group", "list", "--state", "stable"]).contains(&group));
    member.interrupt();
    await_group(&group, 0);
    assert_eq!(committed(&group).get(&(topic.0.clone(), 0)), Some(&10));
}

fn a_group_and_its_offsets_are_deleted() {
    let (topic, group) = read_topic("deletion");
    done(&["group", "reset", &group, "--to-offset", "2", "--topic", &topic.0]);
    let one = format!("{}:1", topic.0);
    let deleted = json(&["group", "delete-offsets", &group, "--topic", &one, "--output", "json"]);
    assert_eq!(deleted["partitions"][0]["deleted"], true);
    assert_eq!(committed(&group).into_values().collect::<Vec<_>>(), [2]);
    done(&["group", "delete", &group]);
    let message = failing(&["group", "delete", &group]);
    assert!(message.contains("there is no group"), "{message}");
    done(&["group", "delete", &group, "--if-exists"]);
    let message = failing(&["group", "delete-offsets", &group, "--topic", &one]);
    assert!(message.contains("there is no group"), "{message}");
}

fn lag_is_told_in_records_and_in_time() {
    let (topic, group) = read_topic("lag");
    let before = SystemTime::now();
    let described = &json(&["group", "describe", &group, "--output", "json"])[0];
    let partition = &described["partitions"][0];
    assert_eq!((&partition["lag"], &partition["end"]), (&6.into(), &10.into()));
    let lag_ms = partition["lag_ms"].as_i64().expect("the age of the oldest record");
    assert!((0..PATIENCE.as_millis() as i64).contains(&lag_ms), "{lag_ms}");
    thread::sleep(Duration::from_millis(20));
    let later = json(&["group", "describe", &group, "--output", "json"])[0]["lag_ms"].as_i64().expect("a total");
    assert!(later >= lag_ms + 20 && later <= lag_ms + before.elapsed().expect("time goes on").as_millis() as i64 + 1);
    done(&["group", "reset", &group, "--to-latest", "--topic", &topic.0]);
    let described = &json(&["group", "describe", &group, "--output", "json"])[0];
    assert_eq!((&described["lag"], &described["lag_ms"]), (&0.into(), &0.into()));
    assert!(text(&["group", "describe", &group]).contains("BEHIND"));
}
