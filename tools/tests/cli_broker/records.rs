//! Producing and consuming.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

use tools::client::partitioner::partition_of_key;

use crate::support::{PATIENCE, Tests, Topic, done, failing, numbers, produce, produced, skein, text};

pub(crate) const TESTS: Tests = &[
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
];

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
