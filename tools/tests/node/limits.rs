//! What the machine allows and what it does not: start-up errors, limits, signals, crashes, a full disk.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use net::api::{create_partitions, create_topics};

use crate::support::batch;
use crate::support::broker::{Broker, CREATE_TOPICS, TIMEOUT_MS, create_request, only};
use crate::support::client::Client;
use crate::support::node::{Launch, Node, binary, skein, skip};
use crate::support::wait::eventually;

const FAILED: i32 = 1;
const WRONG_USE: i32 = 2;

/// Errors after which a client sends the same batch again: 5, 6, 7, 19, 56 (a storage error, KIP-112).
const RETRIABLE: [i16; 5] = [5, 6, 7, 19, 56];

const UNKNOWN_TOPIC: i16 = 3;
const EXISTS: i16 = 36;
const STORAGE: i16 = 56;

/// Whether these tests can run; says so if not.
fn ready(test: &str) -> bool {
    let ready = binary().is_some() && std::env::var_os("SKEIN_TEST_BROKER").is_none();
    if !ready {
        skip(test, "no release binary; run it by cargo test --release, or name one in SKEIN_BIN");
    }
    ready
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

/// The node does not start, and says why in one line that holds all of these words.
#[track_caller]
fn assert_refused(launch: &Launch, code: i32, words: &[&str]) {
    let Err(refused) = launch.try_start() else { panic!("it started, but should have said {words:?}") };
    assert_eq!(refused.status.code(), Some(code), "{}", refused.said);
    let is_error = |line: &&str| ![" INFO ", " WARN ", "try '--help'"].iter().any(|other| line.contains(other));
    let errors: Vec<&str> = refused.said.lines().filter(is_error).collect();
    let said = errors.iter().find(|line| words.iter().all(|word| line.contains(word)));
    assert!(said.is_some(), "no line with {words:?} in:\n{}", refused.said);
    assert_eq!(errors.iter().filter(|line| !line.trim().is_empty()).count(), 1, "one line:\n{}", refused.said);
}

#[test]
fn a_port_that_is_served_is_named_with_a_remedy() {
    if !ready("port in use") {
        return;
    }
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = other.local_addr().expect("it is bound").to_string();
    assert_refused(&Launch::new().listen(&taken), FAILED, &[&taken, "already served", "--listen"]);
    let node = Launch::new().start();
    let served = node.address.to_string();
    assert_refused(&Launch::new().listen(&served), FAILED, &[&served, "already served", "--listen"]);
    Client::connect(node.address).call(0, &net::api::api_versions::Request::default());
}

#[test]
fn a_data_directory_in_use_names_the_process() {
    if !ready("directory in use") {
        return;
    }
    let node = Launch::new().start();
    let pid = node.pid().to_string();
    assert_refused(&Launch::at(node.launch().data()), FAILED, &["in use by process", &pid, "--data"]);
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    if !ready("not ours") {
        return;
    }
    let launch = Launch::new();
    fs::create_dir_all(launch.data()).expect("a directory");
    fs::write(launch.data().join("letter.txt"), "dear").expect("a file");
    assert_refused(&launch, FAILED, &["not a skein data directory", "--data"]);
    assert_eq!(fs::read(launch.data().join("letter.txt")).expect("it is there"), b"dear");
}

#[test]
fn data_of_a_newer_version_is_left_alone() {
    if !ready("newer version") {
        return;
    }
    let launch = Launch::new();
    launch.start().terminate();
    let identity = launch.data().join("skein.meta");
    let mut bytes = fs::read(&identity).expect("a node leaves its identity");
    // The version stands behind eight bytes of magic.
    bytes[8] = 99;
    fs::write(&identity, &bytes).expect("it can be written");
    assert_refused(&launch, FAILED, &["newer version", "99", "start that version"]);
    assert_eq!(fs::read(&identity).expect("it is there"), bytes);
}

#[test]
fn too_little_locked_memory_is_named_with_a_remedy() {
    if !ready("locked memory") {
        return;
    }
    if is_root() && Command::new("setpriv").arg("--version").output().is_err() {
        skip("locked memory", "no setpriv, and the limit does not bind the superuser");
        return;
    }
    // A limit that rings cannot live with. Kernels from 5.12 on charge it to the memory cgroup instead, and start.
    let launch = ordinary_user(Launch::new(), "--memlock=16384:16384 --nofile=1024:1024");
    match launch.try_start() {
        Ok(_) => skip("locked memory", "this kernel does not count rings as locked memory"),
        Err(refused) => {
            assert_eq!(refused.status.code(), Some(FAILED), "{}", refused.said);
            for words in ["16 KiB", "RLIMIT_MEMLOCK", "ulimit -l 8192"] {
                assert!(refused.said.contains(words), "{}", refused.said);
            }
        }
    }
}

#[test]
fn wrong_properties_are_told_with_the_nearest_name_and_the_default() {
    if !ready("properties") {
        return;
    }
    let set = |property| Launch::new().set(property);
    assert_refused(&set("num.partitons=3"), WRONG_USE, &["num.partitons", "num.partitions"]);
    assert_refused(&set("num.partitions=many"), WRONG_USE, &["num.partitions", "many"]);
    assert_refused(&set("num.partitions=0"), WRONG_USE, &["num.partitions", "0"]);
    assert_refused(&set("skein.durability=perhaps"), WRONG_USE, &["skein.durability", "perhaps", "durable"]);
    let (status, _, said) = skein(&["start", "--no-such-flag"], b"");
    assert_eq!(status.code(), Some(WRONG_USE), "{said}");
}

/// As nobody, where the test runs as root, under these limits.
fn ordinary_user(launch: Launch, limits: &str) -> Launch {
    let mut prefix: Vec<&str> = vec!["prlimit"];
    prefix.extend(limits.split(' '));
    if is_root() {
        let parent = launch.data().parent().expect("it is in a temporary directory");
        make_accessible(parent);
        prefix.extend(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    launch.under(&prefix)
}

fn make_accessible(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("it is ours");
}

#[test]
fn two_nodes_run_side_by_side_as_an_ordinary_user() {
    if !ready("two nodes") {
        return;
    }
    let limits = "--memlock=8388608:8388608 --nofile=1024:4096";
    let readable = ordinary_user(Launch::new(), limits).try_start();
    let first = match readable {
        Ok(node) => node,
        Err(refused) if refused.said.contains("cannot execute") || refused.said.contains("failed to execute") => {
            skip("two nodes", "the binary lies where an ordinary user cannot run it");
            return;
        }
        Err(refused) => panic!("{}", refused.said),
    };
    let second = ordinary_user(Launch::new(), limits).start();
    for node in [&first, &second] {
        let mut client = Client::connect(node.address);
        assert_eq!(only(client.call(CREATE_TOPICS, &create_request("side", 1, &[])).topics).error_code, 0);
        client.must_produce("side", 0, &batch::batch(&["a"]));
        let limits = fs::read_to_string(format!("/proc/{}/limits", node.pid())).expect("it is running");
        let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("Linux says so");
        assert_eq!(files.split_whitespace().nth(3), Some("4096"), "the soft limit was raised: {files}");
    }
}

#[test]
fn a_clean_stop_is_quick_and_loses_nothing() {
    if !ready("clean stop") {
        return;
    }
    let launch = Launch::new();
    let node = launch.start();
    let mut client = Client::connect(node.address);
    client.call(CREATE_TOPICS, &create_request("kept", 1, &[]));
    client.must_produce("kept", 0, &batch::batch(&["a", "b"]));
    let (status, launch) = node.terminate();
    assert_eq!(status.code(), Some(0));
    let again = launch.start();
    println!("clean restart: ready after {:?}: {}", again.ready_after, again.ready_line);
    assert_eq!(Client::connect(again.address).values("kept", 0), ["a", "b"]);
}

/// What a client was told is stored, in a node that is killed again and again.
struct Acknowledged {
    topics: Vec<String>,
    /// By topic and partition: the values, in order.
    values: Vec<Vec<Vec<String>>>,
    group: String,
}

const PARTITIONS: i32 = 12;

impl Acknowledged {
    fn new(client: &mut Client) -> Self {
        let topics: Vec<String> = (0..3).map(|number| format!("kept-{number}")).collect();
        for topic in &topics {
            let response =
                client.call(CREATE_TOPICS, &create_request(topic, PARTITIONS, &[("retention.ms", "987654321")]));
            assert_eq!(only(response.topics).error_code, 0);
        }
        let values = vec![vec![Vec::new(); PARTITIONS as usize]; topics.len()];
        Self { topics, values, group: String::new() }
    }

    /// Produces a round to every partition, and commits offsets.
    fn more(&mut self, broker: &Broker, round: usize) {
        let mut client = broker.client();
        for (topic, partitions) in self.topics.iter().zip(&mut self.values) {
            for (partition, values) in partitions.iter_mut().enumerate() {
                let value = format!("{topic} {partition} {round}");
                let base = client.must_produce(topic, partition as i32, &batch::batch(&[&value]));
                assert_eq!(base, values.len() as i64, "offsets are dense across restarts");
                values.push(value);
            }
        }
        self.group = crate::groups::commit_as_plain_consumer(broker, &self.topics[0]);
    }

    fn check(&self, client: &mut Client) {
        for (topic, partitions) in self.topics.iter().zip(&self.values) {
            for (partition, values) in partitions.iter().enumerate() {
                assert_eq!(&client.values(topic, partition as i32), values, "{topic}-{partition}");
            }
        }
        assert_eq!(crate::groups::committed(client, &self.group, &self.topics[0]).0, 5);
        assert_eq!(client.topic_config(&self.topics[1], "retention.ms"), "987654321");
    }
}

#[test]
fn everything_acknowledged_is_there_after_a_kill_with_another_number_of_shards() {
    if !ready("kill and another shard count") {
        return;
    }
    let mut launch = Launch::new();
    let mut kept: Option<Acknowledged> = None;
    for (round, shards) in [4, 1, 3].into_iter().enumerate() {
        launch = launch.shards(shards);
        let node = launch.start();
        let broker = Broker::of(node);
        let mut client = broker.client();
        match &mut kept {
            None => kept = Some(Acknowledged::new(&mut client)),
            Some(kept) => kept.check(&mut client),
        }
        let kept = kept.as_mut().expect("it was made");
        kept.more(&broker, round);
        kept.check(&mut client);
        launch = broker.into_node().kill();
    }
    let node = launch.start();
    kept.expect("it was made").check(&mut Client::connect(node.address));
}

/// A file system of its own, unmounted when this is dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(size: &str) -> Option<Self> {
        let directory = tempfile::Builder::new().prefix("skein-tmpfs").tempdir().expect("a temporary directory");
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(directory))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // A mount that stays behind is the machine's to clean up; the test has its result.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    if !ready("full disk") {
        return;
    }
    let Some(tmpfs) = Tmpfs::mount("96m") else {
        skip("full disk", "mounting a small tmpfs is not permitted");
        return;
    };
    let launch = Launch::at(&tmpfs.0.path().join("data"));
    let mut node: Node = launch.start();
    let mut client = Client::connect(node.address);
    let created: create_topics::Response<'_> = client.call(CREATE_TOPICS, &create_request("full", 1, &[]));
    assert_eq!(only(created.topics).error_code, 0);
    let first = client.must_produce("full", 0, &batch::batch(&["before"]));
    let filler = tmpfs.0.path().join("filler");
    fill(&filler);
    let large = "x".repeat(900_000);
    let refused = eventually("the disk is full", || {
        let answer = client.produce("full", 0, &batch::batch(&[&large]));
        (answer.error_code != 0).then_some(answer)
    });
    node.assert_running();
    assert!(RETRIABLE.contains(&refused.error_code), "{} {:?}", refused.error_code, refused.error_message);
    assert_eq!(client.records("full", 0, first)[0].value, b"before", "reads go on");
    fs::remove_file(&filler).expect("the filler is ours");
    let end = eventually("writing resumes", || {
        let answer = client.produce("full", 0, &batch::batch(&["after"]));
        (answer.error_code == 0).then_some(answer.base_offset)
    });
    assert_eq!(client.records("full", 0, end)[0].value, b"after");
    // What was acknowledged survives the trouble.
    let node = node.kill().start();
    assert_eq!(Client::connect(node.address).records("full", 0, end)[0].value, b"after");
}

#[test]
fn changes_of_metadata_are_refused_with_an_answer_while_the_disk_is_full() {
    if !ready("full disk, metadata") {
        return;
    }
    let Some(tmpfs) = Tmpfs::mount("96m") else {
        skip("full disk, metadata", "mounting a small tmpfs is not permitted");
        return;
    };
    // One shard, so that the metadata log shares its journal with the topic.
    let launch = Launch::at(&tmpfs.0.path().join("data")).shards(1);
    let mut node: Node = launch.start();
    let mut client = Client::connect(node.address);
    assert_eq!(only(client.call(CREATE_TOPICS, &create_request("full", 1, &[])).topics).error_code, 0);
    let filler = tmpfs.0.path().join("filler");
    fill(&filler);
    let large = "x".repeat(900_000);
    eventually("the disk is full", || {
        (client.produce("full", 0, &batch::batch(&[&large])).error_code != 0).then_some(())
    });
    let more = create_partitions::Request {
        topics: vec![create_partitions::RequestTopics { name: "full".into(), count: 2, assignments: None }],
        timeout_ms: TIMEOUT_MS,
        validate_only: false,
    };
    let mut twice = create_request("other", 1, &[]);
    twice.topics.push(create_request("full", 1, &[]).topics.remove(0));
    let created = client.call(CREATE_TOPICS, &twice).topics;
    assert_eq!((created[0].error_code, created[1].error_code), (STORAGE, EXISTS), "the second was refused anyway");
    assert!(created[0].error_message.as_deref().is_some_and(|message| message.contains("disk is full")));
    let grown = only(client.call(3, &more).results);
    assert_eq!(grown.error_code, STORAGE, "{:?}", grown.error_message);
    node.assert_running();
    assert_eq!(client.metadata("other").error_code, UNKNOWN_TOPIC, "and it was not created");
    assert_eq!(client.metadata("full").partitions.len(), 1);
    fs::remove_file(&filler).expect("the filler is ours");
    eventually("changes are written again", || {
        let answer = only(client.call(CREATE_TOPICS, &create_request("other", 1, &[])).topics);
        assert!([0, STORAGE].contains(&answer.error_code), "{}", answer.error_code);
        (answer.error_code == 0).then_some(())
    });
    assert_eq!(only(client.call(3, &more).results).error_code, 0);
    assert_eq!(client.metadata("full").partitions.len(), 2);
}

/// Writes until the file system has no more room.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::create(path).expect("a file");
    let block = vec![0; 64 << 10];
    while file.write_all(&block).is_ok() {}
}
