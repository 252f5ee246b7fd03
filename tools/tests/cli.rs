//! The command line without a broker: help, wrong use, failures to connect, closed pipes, segment files.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use storage::builder::{BatchBuilder, NewHeader, NewRecord, Options};
use storage::compression::Codec;

const SKEIN: &str = env!("CARGO_BIN_EXE_skein");

/// The command, deaf to the environment's bootstrap.
fn skein(arguments: &[&str]) -> Command {
    let mut command = Command::new(SKEIN);
    command.args(arguments).env_remove("SKEIN_BOOTSTRAP").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    skein(arguments).output().expect("the command runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the output is text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("the messages are text")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the command ends by itself")
}

/// A port where nobody listens.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("a listener has an address").port()
}

/// A listener that answers its first connection with these bytes, whatever it is asked.
fn answering(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = listener.local_addr().expect("a listener has an address").port();
    thread::spawn(move || {
        if let Ok((mut stream, _)) = listener.accept() {
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked);
            let _ = stream.write_all(answer);
            // The client has read it when it hangs up; without an answer we do.
            if !answer.is_empty() {
                let _ = stream.read(&mut asked);
            }
        }
    });
    port
}

#[test]
fn every_command_has_help_with_examples() {
    for command in [
        "start",
        "topic create",
        "topic list",
        "topic describe",
        "topic delete",
        "topic alter",
        "topic delete-records",
        "features list",
        "features set",
        "produce",
        "consume",
        "group list",
        "group describe",
        "group reset",
        "group delete",
        "group delete-offsets",
        "cluster",
        "top",
        "log dump",
        "log verify",
        "log repair",
        "completion",
    ] {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let output = run(&arguments);
        assert_eq!(code(&output), 0, "{command}");
        assert!(stdout(&output).contains("Examples:\n  skein "), "{command}");
        assert!(stderr(&output).is_empty(), "{command}");
    }
    assert!(stdout(&run(&["--help"])).contains("Examples:"));
}

#[test]
fn the_version_is_told() {
    let output = run(&["--version"]);
    assert_eq!(stdout(&output), format!("skein {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(code(&output), 0);
}

#[test]
fn wrong_use_ends_with_2_and_says_what_is_wrong() {
    for (arguments, said) in [
        (vec![], "Usage"),
        (vec!["frobnicate"], "frobnicate"),
        (vec!["topic", "create"], "TOPIC"),
        (vec!["topic", "create", "t", "--partitions", "0"], "0"),
        (vec!["topic", "create", "t", "--config", "novalue"], "NAME=VALUE"),
        (vec!["topic", "alter", "t"], "--partitions"),
        (vec!["topic", "alter", "t", "--partitions", "0"], "0"),
        (vec!["topic", "delete-records", "t", "--before", "3"], "--partition"),
        (vec!["topic", "delete-records", "t", "--partition", "0"], "--before"),
        (vec!["topic", "delete-records", "t", "--partition", "0", "--before", "-1"], "--before"),
        (vec!["topic", "delete-records", "--partition", "0", "--before", "3"], "TOPIC"),
        (vec!["topic", "delete-records", "t", "--from-file", "f"], "cannot be used with"),
        (vec!["features", "set", "metadata.version"], "NAME=LEVEL"),
        (vec!["produce", "t", "--acks", "2"], "0, 1 or all"),
        (vec!["produce", "t", "--compression", "rar"], "zstd"),
        (vec!["produce", "t", "--key", "k", "--key-separator", ":"], "cannot be used with"),
        (vec!["consume", "t", "--from", "middle"], "beginning, end"),
        (vec!["consume", "t", "--since", "yesterday"], "15m"),
        (vec!["consume", "t", "--format", "%q"], "%q is unknown"),
        (vec!["consume", "t", "--group", "g", "--partition", "1"], "cannot be used with"),
        (vec!["group", "reset", "g", "--all-topics"], "--to-earliest"),
        (vec!["group", "reset", "g", "--to-latest", "--to-earliest"], "cannot be used with"),
        (vec!["group", "reset", "g", "--to-latest", "--topic", "t:x"], "TOPIC:PARTITION"),
        (vec!["group", "reset", "g", "--by-duration", "soon", "--all-topics"], "PT2H30M"),
        (vec!["group", "delete"], "GROUP"),
        (vec!["cluster", "--bootstrap", "host:port"], "not HOST:PORT"),
        (vec!["top", "--admin", "nowhere"], "HOST:PORT"),
        (vec!["top", "--admin", "https://localhost:9644"], "http"),
        (vec!["top", "--interval", "0"], "0.1"),
        (vec!["top", "--output", "json"], "--once"),
        (vec!["top"], "no terminal"),
        (vec!["start", "--admin", "nowhere"], "HOST:PORT"),
        (vec!["cluster", "--command-config", "/nowhere/client.properties"], "/nowhere/client.properties"),
    ] {
        let output = run(&arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
        assert!(stdout(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_refused_connection_is_explained() {
    let bootstrap = format!("127.0.0.1:{}", free_port());
    for command in [vec!["cluster"], vec!["topic", "list"], vec!["consume", "t"], vec!["produce", "t"]] {
        let output = skein(&command).args(["--bootstrap", &bootstrap]).output().expect("the command runs");
        assert_eq!(code(&output), 1, "{command:?}");
        let message = stderr(&output);
        assert!(message.contains(&format!("cannot connect to {bootstrap}: connection refused")), "{message}");
        assert!(message.contains("skein start"), "{message}");
    }
}

#[test]
fn the_environment_names_the_bootstrap_and_the_option_wins() {
    let (first, second) = (free_port(), free_port());
    let from_environment = format!("127.0.0.1:{first}");
    let mut command = skein(&["cluster"]);
    let output = command.env("SKEIN_BOOTSTRAP", &from_environment).output().expect("the command runs");
    assert!(stderr(&output).contains(&from_environment));
    let output = command.args(["--bootstrap", &format!("127.0.0.1:{second}")]).output().expect("the command runs");
    assert!(stderr(&output).contains(&second.to_string()) && !stderr(&output).contains(&from_environment));
}

#[test]
fn an_endpoint_that_is_none_is_explained() {
    for (port, said) in [
        (free_port(), "refused"),
        (answering(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "404"),
        (answering(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\n<html>"), "no sample"),
        (answering(b"\0\0\0\x04what"), "not HTTP"),
    ] {
        let output = run(&["top", "--once", "--admin", &format!("127.0.0.1:{port}")]);
        assert_eq!(code(&output), 1, "{said}");
        assert!(stderr(&output).contains(said), "{said}: {}", stderr(&output));
        assert!(stdout(&output).is_empty());
    }
}

#[test]
fn every_bootstrap_address_is_tried() {
    let (first, second) = (free_port(), free_port());
    let output = run(&["cluster", "--bootstrap", &format!("127.0.0.1:{first},127.0.0.1:{second}")]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains(&first.to_string()) && stderr(&output).contains(&second.to_string()));
}

#[test]
fn who_does_not_speak_kafka_is_recognised() {
    for (answer, said) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "it speaks HTTP"),
        (&[0x15, 3, 3, 0, 2, 2, 70][..], "it speaks TLS"),
        (&[0xff, 0xff, 0xff, 0xff][..], "impossible length"),
        (&[][..], "closed the connection"),
    ] {
        let output = run(&["cluster", "--bootstrap", &format!("127.0.0.1:{}", answering(answer))]);
        assert_eq!(code(&output), 1, "{said}");
        assert!(stderr(&output).contains(said), "{said}: {}", stderr(&output));
    }
}

#[test]
fn client_properties_are_read_and_strange_ones_warned_of() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("client.properties");
    let port = free_port();
    std::fs::write(&file, format!("# mine\nbootstrap.servers = 127.0.0.1:{port}\nretries=5\nno.such.thing=1\n"))
        .unwrap();
    let file = file.display().to_string();
    let output = run(&["cluster", "--command-config", &file]);
    assert_eq!(code(&output), 1);
    let message = stderr(&output);
    assert!(message.contains(&format!("cannot connect to 127.0.0.1:{port}")), "{message}");
    assert!(message.contains("warning: retries has no effect"), "{message}");
    assert!(message.contains("line 4: no.such.thing is unknown"), "{message}");

    std::fs::write(&file, "acks=maybe\n").unwrap();
    let output = run(&["produce", "t", "--command-config", &file]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("line 1: acks: it must be 0, 1 or all"), "{}", stderr(&output));
}

#[test]
fn messages_have_no_colours_where_there_is_no_terminal() {
    let output = run(&["cluster", "--bootstrap", &format!("127.0.0.1:{}", free_port())]);
    assert!(!stderr(&output).contains('\x1b'));
    assert!(!stdout(&run(&["--help"])).contains('\x1b'));
}

#[test]
fn completions_exist_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completion", shell]);
        assert_eq!(code(&output), 0);
        for word in ["skein", "until-end", "admin", "top"] {
            assert!(stdout(&output).contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let script = stdout(&run(&["completion", "bash"]));
    for (typed, wanted) in [("skein to", "top"), ("skein top --ad", "--admin"), ("skein topic cr", "create")] {
        let last = typed.split(' ').count() - 1;
        let complete = format!(
            "{script}\nCOMP_WORDS=({typed}); COMP_CWORD={last}; _skein skein \"${{COMP_WORDS[{last}]}}\" \
             \"${{COMP_WORDS[{last}-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["--norc", "-c", &complete]).output().expect("there is a bash");
        assert!(stdout(&output).split_whitespace().any(|word| word == wanted), "{typed}: {}", stdout(&output));
    }
}

/// Runs the command with a reader that hangs up at once.
fn with_closed_pipe(arguments: &[&str]) -> Output {
    let mut child = skein(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command runs");
    drop(child.stdout.take());
    child.wait_with_output().expect("the command ends")
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = segment(directory.path(), &[batch(0, Codec::None, 2000)]);
    for arguments in [vec!["completion", "bash"], vec!["log", "dump", "--records", &file], vec!["log", "verify", &file]]
    {
        let output = with_closed_pipe(&arguments);
        assert_eq!(code(&output), 0, "{arguments:?}");
        assert_eq!(stderr(&output), "", "{arguments:?}");
    }
}

fn batch(base_offset: i64, codec: Codec, records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Options { base_offset, codec, ..Options::default() });
    for number in 0..records {
        let value = format!("value {number}\r");
        let headers = [NewHeader { key: "source", value: Some(b"test") }];
        let record = NewRecord {
            timestamp: 1_000_000_000_000,
            key: Some(b"key"),
            value: Some(value.as_bytes()),
            headers: &headers,
        };
        builder.append(&record).expect("it fits");
    }
    builder.finish()
}

fn segment(directory: &Path, batches: &[Vec<u8>]) -> String {
    let path: PathBuf = directory.join("00000000000000000000.log");
    std::fs::write(&path, batches.concat()).expect("the file can be written");
    path.display().to_string()
}

#[test]
fn a_segment_is_dumped_batch_by_batch_with_its_records() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let (first, second) = (batch(0, Codec::Zstd, 3), batch(3, Codec::None, 1));
    let file = segment(directory.path(), &[first.clone(), second]);
    let output = run(&["log", "dump", &file]);
    assert_eq!(code(&output), 0);
    let lines: Vec<String> = stdout(&output).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("position 0  offsets 0..2  records 3  codec zstd  bytes "), "{}", lines[0]);
    assert!(
        lines[1].starts_with(&format!("position {}  offsets 3..3  records 1  codec none", first.len())),
        "{}",
        lines[1]
    );
    assert!(lines[1].contains("until 2001-09-09T01:46:40.000Z") && lines[1].ends_with(" ok"), "{}", lines[1]);

    let text = stdout(&run(&["log", "dump", "--records", &file]));
    assert!(text.contains("\n  2001-09-09T01:46:40.000Z\t2\tkey\tsource=test\tvalue 2\r\n"), "{text:?}");

    let text = stdout(&run(&["log", "dump", "--records", "--output", "json", &file]));
    let documents: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("every line is a document")).collect();
    assert_eq!(documents[0]["count"], 3);
    assert_eq!(documents[0]["records"][1]["value"], "value 1\r");
    assert_eq!(documents[1]["crc_ok"], true);
}

#[test]
fn a_sound_segment_is_verified_and_a_damaged_one_named_with_its_position() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    for codec in Codec::ALL {
        let (first, mut second) = (batch(0, codec, 3), batch(3, codec, 20));
        let file = segment(directory.path(), &[first.clone(), second.clone()]);
        let output = run(&["log", "verify", &file]);
        assert_eq!(code(&output), 0, "{codec}: {}", stderr(&output));
        assert!(stdout(&output).contains(": ok, 2 batches, 23 records, offsets 0..22, "), "{}", stdout(&output));
        let verified: serde_json::Value =
            serde_json::from_slice(&run(&["log", "verify", "--output", "json", &file]).stdout).expect("a document");
        assert_eq!((&verified[0]["ok"], &verified[0]["records"]), (&true.into(), &23.into()));

        let middle = second.len() / 2;
        second[middle] ^= 0x10;
        segment(directory.path(), &[first.clone(), second]);
        // A directory is searched.
        let output = run(&["log", "verify", &directory.path().display().to_string()]);
        assert_eq!(code(&output), 1, "{codec}");
        let documents = run(&["log", "verify", "--output", "json", &file]);
        assert_eq!(code(&documents), 1, "{codec}");
        let verified: serde_json::Value = serde_json::from_slice(&documents.stdout).expect("a document");
        assert_eq!((&verified[0]["ok"], &verified[0]["position"]), (&false.into(), &first.len().into()));
        let expected = format!("{file}: position {}: the CRC is ", first.len());
        assert!(stderr(&output).contains(&expected), "{codec}: {}", stderr(&output));
    }
}

#[test]
fn every_damage_in_a_segment_is_told_and_what_lies_between_is_checked() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let mut batches: Vec<Vec<u8>> = (0..5).map(|at| batch(at * 3, Codec::None, 3)).collect();
    // A record, the magic, and the length.
    batches[1][70] ^= 1;
    batches[2][16] = 9;
    batches[4][9] ^= 1;
    let positions: Vec<usize> = (0..5).map(|at| batches[..at].iter().map(Vec::len).sum()).collect();
    let file = segment(directory.path(), &batches);
    let output = run(&["log", "verify", &file]);
    assert_eq!(code(&output), 1);
    for at in [1, 4] {
        assert!(stderr(&output).contains(&format!("{file}: position {}: ", positions[at])), "{}", stderr(&output));
    }
    let documents = run(&["log", "verify", "--output", "json", &file]);
    let verified: serde_json::Value = serde_json::from_slice(&documents.stdout).expect("a document");
    let found: Vec<_> = verified[0]["damages"].as_array().expect("a list").iter().map(|it| &it["position"]).collect();
    assert!(found.contains(&&positions[1].into()) && found.contains(&&positions[4].into()), "{found:?}");
    assert_eq!((&verified[0]["ok"], &verified[0]["records"]), (&false.into(), &6.into()));
}

#[test]
fn only_a_data_directory_is_repaired() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().display().to_string();
    let output = run(&["log", "repair", "--yes", &path]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("is not a skein data directory"), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(&path).expect("readable").count(), 0, "nothing was made");
    assert_eq!(code(&run(&["log", "repair", "--yes", "--dry-run", &path])), 2);
}

#[test]
fn only_the_newest_segment_of_a_node_may_end_inside_a_batch() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let partition = directory.path().join("logs/orders-0");
    std::fs::create_dir_all(&partition).expect("a directory can be made");
    let whole = batch(0, Codec::None, 3);
    let cut = [whole.as_slice(), &batch(3, Codec::None, 3)[..70]].concat();
    let file = segment(&partition, &[cut]);
    let output = run(&["log", "verify", &file]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains(&format!("position {}: ", whole.len())), "{}", stderr(&output));

    std::fs::write(directory.path().join("skein.meta"), "").expect("the file can be written");
    let output = run(&["log", "verify", &file]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("still in the node's journal"), "{}", stdout(&output));
    assert_eq!(code(&run(&["log", "dump", &file])), 0);

    std::fs::write(partition.join("00000000000000000006.log"), "").expect("the file can be written");
    assert_eq!(code(&run(&["log", "verify", &file])), 1, "a newer segment exists");
}

#[test]
fn what_is_no_segment_is_told_so() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("some.log");
    std::fs::write(&file, "081109 203615 148 INFO dfs.DataNode: a line of text, and another one, and so on").unwrap();
    let output = run(&["log", "verify", &file.display().to_string()]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("position 0: "), "{}", stderr(&output));
    let output = run(&["log", "dump", "/nowhere/some.log"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("cannot read /nowhere/some.log"), "{}", stderr(&output));
}
