//! The command line against a broker, any that speaks Kafka's protocol: `SKEIN_TEST_BOOTSTRAP=HOST:PORT` names it.
//! Without it every test is reported as ignored, which the usual harness cannot do while it runs; hence this one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, thread};

use tools::client::partitioner::partition_of_key;

const SKEIN: &str = env!("CARGO_BIN_EXE_skein");
const BOOTSTRAP: &str = "SKEIN_TEST_BOOTSTRAP";

/// How long a test waits for something that has to come.
const PATIENCE: Duration = Duration::from_secs(60);

const TESTS: &[(&str, fn())] = &[
    ("topics_are_made_listed_described_and_deleted", topics_are_made_listed_described_and_deleted),
    ("a_wrong_name_is_answered_with_the_nearest", a_wrong_name_is_answered_with_the_nearest),
    ("lines_come_back_byte_for_byte_in_every_codec", lines_come_back_byte_for_byte_in_every_codec),
    ("keys_choose_the_partition_that_java_chooses", keys_choose_the_partition_that_java_chooses),
    ("keys_headers_and_tombstones_are_kept", keys_headers_and_tombstones_are_kept),
    ("lines_of_one_partition_keep_their_order", lines_of_one_partition_keep_their_order),
    ("every_acks_is_served", every_acks_is_served),
    (
        "a_line_that_is_too_long_is_reported_and_the_rest_arrives",
        a_line_that_is_too_long_is_reported_and_the_rest_arrives,
    ),
    ("reading_starts_where_it_was_told", reading_starts_where_it_was_told),
    ("an_offset_outside_the_log_is_refused_with_its_range", an_offset_outside_the_log_is_refused_with_its_range),
    ("a_reader_that_hangs_up_is_no_failure", a_reader_that_hangs_up_is_no_failure),
    ("a_group_goes_on_where_it_was", a_group_goes_on_where_it_was),
    (
        "two_members_share_the_partitions_and_the_last_one_gets_all",
        two_members_share_the_partitions_and_the_last_one_gets_all,
    ),
    ("the_cluster_is_described", the_cluster_is_described),
    ("configurations_are_set_shown_and_unset", configurations_are_set_shown_and_unset),
    ("what_cannot_be_configured_is_said_in_a_sentence", what_cannot_be_configured_is_said_in_a_sentence),
    ("a_topic_grows_and_never_shrinks", a_topic_grows_and_never_shrinks),
    ("records_are_deleted_by_option_and_by_file", records_are_deleted_by_option_and_by_file),
    ("what_cannot_be_deleted_is_named", what_cannot_be_deleted_is_named),
    ("features_are_listed_and_set", features_are_listed_and_set),
    ("a_group_is_reset_to_wherever_one_likes", a_group_is_reset_to_wherever_one_likes),
    ("an_active_group_is_neither_reset_nor_deleted", an_active_group_is_neither_reset_nor_deleted),
    ("a_group_and_its_offsets_are_deleted", a_group_and_its_offsets_are_deleted),
    ("lag_is_told_in_records_and_in_time", lag_is_told_in_records_and_in_time),
    ("quotas_are_set_listed_and_removed", quotas_are_set_listed_and_removed),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let tests: Vec<_> = TESTS.iter().filter(|(name, _)| chosen(name)).collect();
    println!("\nrunning {} tests", tests.len());
    let is_there = env::var_os(BOOTSTRAP).is_some();
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for (name, test) in tests {
        let outcome = match is_there {
            false => {
                ignored += 1;
                "ignored, SKEIN_TEST_BOOTSTRAP=HOST:PORT names no broker"
            }
            true if panic::catch_unwind(AssertUnwindSafe(test)).is_ok() => {
                passed += 1;
                "ok"
            }
            true => {
                failed += 1;
                "FAILED"
            }
        };
        println!("test {name} ... {outcome}");
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out\n"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn skein(arguments: &[&str]) -> Command {
    let mut command = Command::new(SKEIN);
    let bootstrap = env::var_os(BOOTSTRAP).expect("only called where there is a broker");
    command.args(arguments).env("SKEIN_BOOTSTRAP", bootstrap).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    skein(arguments).output().expect("the command runs")
}

/// Runs a command that has to succeed, and gives back what it printed.
fn done(arguments: &[&str]) -> Vec<u8> {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn text(arguments: &[&str]) -> String {
    String::from_utf8(done(arguments)).expect("the output is text")
}

/// Runs a command that has to fail, and gives back its messages.
fn failing(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).expect("the messages are text")
}

fn json(arguments: &[&str]) -> serde_json::Value {
    serde_json::from_slice(&done(arguments)).expect("the output is JSON")
}

fn produce(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = skein(&[&["produce"], arguments].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command runs");
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    stdin.write_all(input).expect("it reads its input");
    drop(stdin);
    child.wait_with_output().expect("the command ends")
}

fn produced(arguments: &[&str], input: &[u8]) {
    let output = produce(arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A name that no other test, and no other run, uses.
fn unique(what: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos();
    format!("cli-{what}-{}-{now}", std::process::id())
}

/// A topic that is deleted when the test is over.
struct Topic(String);

impl Topic {
    fn new(what: &str, partitions: u32) -> Self {
        let name = unique(what);
        done(&["topic", "create", &name, "--partitions", &partitions.to_string()]);
        Self(name)
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        run(&["topic", "delete", "--if-exists", &self.0]);
    }
}

/// Waits for what brokers tell each other in their own time.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::yield_now();
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<u8> {
    range.map(|number| format!("{number}\n")).collect::<String>().into_bytes()
}

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

fn lines_come_back_byte_for_byte_in_every_codec() {
    let mut input = b"crlf\r\n\nsame\nsame\n\xff\xfe\x00binary\nlone\rreturn\n".to_vec();
    input.extend(numbers(0..5000));
    let expected = [&input[..], b"no newline at the end\n"].concat();
    input.extend(b"no newline at the end");
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = Topic::new(codec, 1);
        produced(&[&topic.0, "--compression", codec], &input);
        let read = done(&["consume", &topic.0, "--until-end"]);
        assert!(read == expected, "{codec}: {} bytes instead of {}", read.len(), expected.len());
    }
}

fn keys_choose_the_partition_that_java_chooses() {
    let topic = Topic::new("keys", 7);
    let input: String = (0..200).map(|number| format!("key-{number}:{number}\n")).collect();
    produced(&[&topic.0, "--key-separator", ":"], input.as_bytes());
    let read = text(&["consume", &topic.0, "--until-end", "--format", r"%p %k %s\n"]);
    assert_eq!(read.lines().count(), 200);
    for line in read.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        assert_eq!(fields[0], partition_of_key(fields[1].as_bytes(), 7).to_string(), "{line}");
        assert_eq!(fields[1], format!("key-{}", fields[2]));
    }
}

fn keys_headers_and_tombstones_are_kept() {
    let topic = Topic::new("json", 1);
    let arguments = [&topic.0, "-K", ":", "-H", "source=test", "-H", "empty=", "--null-value", "NULL"];
    produced(&arguments, b"a:1\nb:NULL\nc:x:y\n");
    let read = text(&["consume", &topic.0, "--until-end", "--output", "json"]);
    let records: Vec<serde_json::Value> =
        read.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    assert_eq!(records.len(), 3);
    assert_eq!((&records[0]["key"], &records[0]["value"]), (&"a".into(), &"1".into()));
    assert_eq!((&records[1]["key"], &records[1]["value"]), (&"b".into(), &serde_json::Value::Null));
    assert_eq!((&records[2]["value"], &records[2]["offset"]), (&"x:y".into(), &2.into()));
    let headers = serde_json::json!([{"name": "source", "value": "test"}, {"name": "empty", "value": ""}]);
    assert_eq!(records[0]["headers"], headers);
    let shown = text(&["consume", &topic.0, "-e", "--show", "offset,headers,key"]);
    assert_eq!(shown.lines().next(), Some("0\ta\tsource=test,empty=\t1"));
    let output = produce(&[&topic.0, "-K", ":"], b"d:1\nno separator\n");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("line 2 has no key separator"), "{message}");
}

fn lines_of_one_partition_keep_their_order() {
    let topic = Topic::new("order", 3);
    let small = tempfile::NamedTempFile::new().expect("a file can be made");
    std::fs::write(small.path(), "batch.size=500\nlinger.ms=0\n").expect("the file can be written");
    let config = small.path().display().to_string();
    produced(&[&topic.0, "--command-config", &config], &numbers(0..20_000));
    let read = text(&["consume", &topic.0, "--until-end", "--format", r"%p %s\n"]);
    let mut last: BTreeMap<&str, u32> = BTreeMap::new();
    let mut all = BTreeSet::new();
    for line in read.lines() {
        let (partition, number) = line.split_once(' ').expect("two fields");
        let number: u32 = number.parse().expect("a number");
        assert!(last.insert(partition, number).is_none_or(|before| before < number), "{line} is out of order");
        assert!(all.insert(number), "{number} came twice");
    }
    assert_eq!(all.len(), 20_000);
    assert_eq!(last.len(), 3, "records without a key go to all partitions");
}

fn every_acks_is_served() {
    let topic = Topic::new("acks", 1);
    for acks in ["0", "1", "all"] {
        produced(&[&topic.0, "--acks", acks], format!("acks {acks}\n").as_bytes());
    }
    produced(&[&topic.0, "--no-idempotence"], b"plain\n");
    // Nobody said that the record of acks=0 has arrived.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let read = text(&["consume", &topic.0, "--until-end"]);
        if read.lines().count() == 4 || Instant::now() > deadline {
            assert_eq!(
                read.lines().collect::<BTreeSet<_>>(),
                BTreeSet::from(["acks 0", "acks 1", "acks all", "plain"])
            );
            return;
        }
    }
}

fn a_line_that_is_too_long_is_reported_and_the_rest_arrives() {
    let topic = Topic::new("long", 1);
    let input = [b"first\n".to_vec(), vec![b'x'; 2 << 20], b"\nlast\n".to_vec()].concat();
    let output = produce(&[&topic.0], &input);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("1 of 3 lines not acknowledged: line 2"), "{message}");
    assert!(message.contains("2,097,152 bytes"), "{message}");
    assert_eq!(done(&["consume", &topic.0, "--until-end"]), b"first\nlast\n");

    // Too long for the broker only.
    let file = tempfile::NamedTempFile::new().expect("a file can be made");
    std::fs::write(file.path(), "max.request.size=4194304\nbatch.size=4000000\n").expect("the file can be written");
    let input = [b"third\n".to_vec(), vec![b'x'; 2 << 20], b"\nfourth\n".to_vec()].concat();
    let output = produce(&[&topic.0, "--command-config", &file.path().display().to_string()], &input);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("1 of 3 lines not acknowledged: line 2"), "{message}");
    assert!(message.contains("MESSAGE_TOO_LARGE (10)"), "{message}");
    assert_eq!(done(&["consume", &topic.0, "--until-end"]), b"first\nlast\nthird\nfourth\n");
}

fn reading_starts_where_it_was_told() {
    let topic = Topic::new("start", 2);
    produced(&[&topic.0, "--partition", "0"], &numbers(0..10));
    produced(&[&topic.0, "--partition", "1"], &numbers(100..110));
    let read = |arguments: &[&str]| {
        let read = text(&[&["consume", topic.0.as_str()], arguments].concat());
        let mut lines: Vec<u32> = read.lines().map(|line| line.parse().expect("a number")).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(read(&["-e"]).len(), 20);
    assert_eq!(read(&["-e", "--from", "7"]), [7, 8, 9, 107, 108, 109]);
    assert_eq!(read(&["-e", "--from", "7", "--partition", "1"]), [107, 108, 109]);
    assert_eq!(read(&["--from", "-2", "-e"]), [8, 9, 108, 109]);
    assert_eq!(read(&["--from-beginning", "-n", "3", "-p", "0"]), [0, 1, 2]);
    assert_eq!(read(&["-e", "--from", "end"]), [0_u32; 0]);
    assert_eq!(read(&["-e", "--since", "1h"]).len(), 20);
    assert_eq!(read(&["-e", "--since", "4102444800000"]), [0_u32; 0], "nothing is of the year 2100");
    let time = text(&["consume", &topic.0, "-p", "1", "-n", "1", "--from", "beginning", "--format", "%T"]);
    assert_eq!(read(&["-e", "-p", "1", "--since", &time]).len(), 10);
}

fn an_offset_outside_the_log_is_refused_with_its_range() {
    let topic = Topic::new("range", 1);
    produced(&[&topic.0], &numbers(0..5));
    let message = failing(&["consume", &topic.0, "--from", "6", "-n", "1"]);
    assert!(message.contains("has no offset 6: it begins at 0 and ends at 5"), "{message}");
}

fn a_reader_that_hangs_up_is_no_failure() {
    let topic = Topic::new("pipe", 1);
    produced(&[&topic.0], &numbers(0..200_000));
    let mut child = skein(&["consume", &topic.0, "--from", "beginning"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut out = BufReader::new(child.stdout.take().expect("its output is a pipe"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line comes");
    assert_eq!(line, "0\n");
    drop(out);
    let output = child.wait_with_output().expect("the command ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

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
    let file = env::temp_dir().join(unique("offsets"));
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
