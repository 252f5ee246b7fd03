//! Power cuts with real clients. SIGKILL proves no durability, since the page cache survives it; so the data lies on a
//! file system of the test's own, which forgets at a cut what was not synced.

mod disk;
mod fault;
mod faults;
mod mount;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use fuser::BackgroundSession;
use net::api::produce;

use crate::support::batch;
use crate::support::broker::{Broker, CREATE_TOPICS, PRODUCE, create_request, only, produce_request};
use crate::support::client::{Client, read_response};
use crate::support::node::{Launch, Node, binary, skip};
use crate::support::wait::eventually;

use self::disk::{Counts, Disk, Naming};
use self::mount::Shared;

/// The long mode has more.
const CUTS: usize = 4;
/// How many cuts there are instead of [`CUTS`].
const CUTS_VARIABLE: &str = "SKEIN_POWER_CUTS";
const PARTITIONS: i32 = 4;

/// Records that have to be acknowledged before the power goes, in each round.
const RECORDS_A_ROUND: usize = 200;

/// Lines that `skein produce` gets in each round.
const LINES_A_ROUND: usize = 300;

const RAW: &str = "raw";
const LINES: &str = "lines";

/// A machine: a disk, and a node that runs on it while there is power.
struct Machine {
    disk: Shared,
    session: Option<BackgroundSession>,
    at: tempfile::TempDir,
    address: Option<SocketAddr>,
}

impl Machine {
    /// None, with a word about it, where no file system can be mounted.
    fn new(test: &str, naming: Naming, lies: bool) -> Option<Self> {
        if binary().is_none() || std::env::var_os("SKEIN_TEST_BROKER").is_some() {
            skip(test, "no release binary; run it by cargo test --release, or name one in SKEIN_BIN");
            return None;
        }
        let at = tempfile::Builder::new().prefix("skein-power").tempdir().expect("a temporary directory");
        let disk = Arc::new(Mutex::new(Disk::new(naming, lies)));
        match mount::mount(&disk, at.path()) {
            Ok(session) => Some(Self { disk, session: Some(session), at, address: None }),
            Err(error) => {
                skip(test, &format!("no FUSE file system can be mounted here: {error}"));
                None
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.at.path().join("data")
    }

    /// The same address after every start, as clients expect.
    fn launch(&self) -> Launch {
        let listen = self.address.map_or("127.0.0.1:0".to_owned(), |address| address.to_string());
        Launch::at(&self.data()).listen(&listen)
    }

    fn start(&mut self) -> Node {
        let node = self.launch().start();
        self.address = Some(node.address);
        node
    }

    /// The power goes and comes back. Nothing of the node is heard after the moment it goes.
    fn cut(&mut self, node: Node) -> Counts {
        self.disk.lock().expect("no holder panics").powered = false;
        node.kill();
        self.unmount();
        let mut disk = self.disk.lock().expect("no holder panics");
        disk.lose_what_was_not_synced();
        disk.powered = true;
        let counts = disk.counts;
        drop(disk);
        self.session = Some(mount::mount(&self.disk, self.at.path()).expect("it was mounted before"));
        counts
    }

    /// The ring of a process that was killed lets go of its files a moment after the process has gone.
    fn unmount(&mut self) {
        let at = self.at.path();
        let unmounts = |command: &str, args: &[&str]| {
            Command::new(command).args(args).arg(at).output().is_ok_and(|output| output.status.success())
        };
        eventually("the file system is free", || {
            (unmounts("umount", &[]) || unmounts("fusermount3", &["-u"])).then_some(())
        });
        if let Some(session) = self.session.take() {
            // It is unmounted already, which is all that is wanted.
            let _ = session.umount_and_join();
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            // The result of the test stands; the directory is removed with what is left in it.
            let _ = session.umount_and_join();
        }
    }
}

/// What raw producers were told is durable, by partition in the order of the acknowledgements.
#[derive(Debug, Default)]
struct Told {
    acknowledged: Mutex<BTreeMap<i32, Vec<(i64, String)>>>,
    count: AtomicUsize,
}

/// Produces to one partition, one record after another, until the node is gone. Only whole answers count.
fn produce_until_gone(address: SocketAddr, partition: i32, round: usize, told: &Told, stop: &AtomicBool) {
    let mut client = Client::connect(address);
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let value = format!("{partition} {round} {number}");
        client.send(PRODUCE, &produce_request(RAW, partition, &batch::batch(&[&value])));
        let Some(frame) = client.try_frame() else { return };
        let (_, response) = read_response::<produce::Request<'_>>(PRODUCE, frame);
        let answer = only(only(response.responses).partition_responses);
        if answer.error_code != 0 {
            // The disk has failed under the node already.
            return;
        }
        let mut acknowledged = told.acknowledged.lock().expect("no holder panics");
        acknowledged.entry(partition).or_default().push((answer.base_offset, value));
        told.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets producers run until enough is acknowledged, and cuts the power under them.
fn cut_under_producers(machine: &mut Machine, node: Node, round: usize, told: &Told) -> Counts {
    let stop = AtomicBool::new(false);
    let before = told.count.load(Ordering::Relaxed);
    let address = node.address;
    thread::scope(|scope| {
        for partition in 0..PARTITIONS {
            let stop = &stop;
            scope.spawn(move || produce_until_gone(address, partition, round, told, stop));
        }
        eventually("records are acknowledged", || {
            (told.count.load(Ordering::Relaxed) >= before + RECORDS_A_ROUND).then_some(())
        });
        let counts = machine.cut(node);
        stop.store(true, Ordering::Relaxed);
        counts
    })
}

fn create(node: &Node, topic: &str) {
    create_with(node, topic, PARTITIONS, &[]);
}

fn create_with(node: &Node, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
    let response = Client::connect(node.address).call(CREATE_TOPICS, &create_request(topic, partitions, configs));
    assert_eq!(only(response.topics).error_code, 0, "{topic}");
}

/// How many acknowledged records are not where they were said to be.
fn missing(address: SocketAddr, told: &Told) -> usize {
    let mut client = Client::connect(address);
    let acknowledged = told.acknowledged.lock().expect("no holder panics");
    let mut missing = 0;
    for (&partition, records) in acknowledged.iter() {
        let there: BTreeMap<i64, Vec<u8>> = match client.try_records(RAW, partition) {
            Some(records) => records.into_iter().map(|record| (record.offset, record.value)).collect(),
            None => BTreeMap::new(),
        };
        assert!(there.keys().copied().eq(0..there.len() as i64), "offsets of partition {partition} are dense");
        missing +=
            records.iter().filter(|(offset, value)| there.get(offset) != Some(&value.clone().into_bytes())).count();
    }
    missing
}

/// `skein produce`, fed line by line, through all cuts.
struct Feeder {
    child: Child,
    lines: usize,
}

impl Feeder {
    fn start(address: SocketAddr) -> Self {
        let child = Command::new(binary().expect("it was there before"))
            .args(["produce", LINES, "--partition", "0", "--bootstrap", &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be run");
        Self { child, lines: 0 }
    }

    fn feed(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        for _ in 0..LINES_A_ROUND {
            writeln!(stdin, "line {}", self.lines).expect("it reads its input");
            self.lines += 1;
        }
        stdin.flush().expect("it reads its input");
    }

    /// Ends the input. It has to have everything acknowledged.
    fn finish(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output().expect("it was started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (0..self.lines).map(|number| format!("line {number}")).collect()
    }
}

#[test]
fn everything_acknowledged_survives_power_cuts_where_a_sync_of_a_file_carries_its_name() {
    survive("power cuts, names with files", Naming::WithFile);
}

#[test]
fn everything_acknowledged_survives_power_cuts_where_only_a_sync_of_the_directory_carries_names() {
    survive("power cuts, names with directories", Naming::WithDirectory);
}

fn survive(test: &str, naming: Naming) {
    let Some(mut machine) = Machine::new(test, naming, false) else { return };
    let cuts = std::env::var(CUTS_VARIABLE).map_or(CUTS, |cuts| cuts.parse().expect("a number of power cuts"));
    let told = Told::default();
    let mut node = machine.start();
    create(&node, RAW);
    create(&node, LINES);
    let mut feeder = Feeder::start(node.address);
    let mut groups = Vec::new();
    for round in 0..cuts {
        create(&node, &format!("made-{round}"));
        let broker = Broker::of(node);
        groups.push(crate::groups::commit_as_plain_consumer(&broker, RAW));
        feeder.feed();
        let counts = cut_under_producers(&mut machine, broker.into_node(), round, &told);
        println!("{test}: cut {round}: {counts:?}");
        node = machine.start();
        assert_eq!(missing(node.address, &told), 0, "after cut {round}:\n{}", node.log());
        let mut client = Client::connect(node.address);
        for (earlier, group) in groups.iter().enumerate() {
            assert_eq!(client.metadata(&format!("made-{earlier}")).error_code, 0);
            assert_eq!(crate::groups::committed(&mut client, group, RAW).0, 5);
        }
    }
    let lines = feeder.finish();
    assert_eq!(Client::connect(node.address).values(LINES, 0), lines, "once each, in order");
    let counts = machine.disk.lock().expect("no holder panics").counts;
    assert!(counts.synced_writes > 100, "journal writes arrive with O_DSYNC: {counts:?}");
    println!("{test}: {cuts} cuts, {} records acknowledged, none lost", told.count.load(Ordering::Relaxed));
    // The node goes before its disk does.
    node.kill();
}

#[test]
fn a_new_data_directory_is_there_after_a_power_cut_with_all_above_it() {
    let Some(machine) = Machine::new("a new data directory", Naming::WithDirectory, false) else { return };
    let node = Launch::at(&machine.at.path().join("some/where/data")).start();
    let disk = machine.disk.lock().expect("no holder panics");
    assert!(disk.is_durable("some/where/data/skein.meta"));
    drop(disk);
    node.kill();
}

#[test]
fn a_disk_that_lies_is_found_out() {
    let Some(mut machine) = Machine::new("a lying disk", Naming::WithFile, true) else { return };
    let told = Told::default();
    let node = machine.start();
    create(&node, RAW);
    cut_under_producers(&mut machine, node, 0, &told);
    let lost = match machine.launch().try_start() {
        Ok(node) => {
            let lost = missing(node.address, &told);
            node.kill();
            lost
        }
        // So much is gone that what is left contradicts itself.
        Err(refused) => {
            println!("a lying disk: {}", refused.said.lines().last().unwrap_or_default());
            told.count.load(Ordering::Relaxed)
        }
    };
    println!("a lying disk: {lost} of {} acknowledged records lost", told.count.load(Ordering::Relaxed));
    assert!(lost > 0, "this test cannot notice a loss");
}

#[test]
fn cached_records_survive_the_end_of_the_process() {
    if binary().is_none() || std::env::var_os("SKEIN_TEST_BROKER").is_some() {
        skip("cached", "no release binary; run it by cargo test --release, or name one in SKEIN_BIN");
        return;
    }
    let mut node = Launch::new().set("skein.durability=cached").start();
    node.logged("cached: acknowledged records survive the end of the process, not a power cut");
    create(&node, RAW);
    let told = Told::default();
    for round in 0..3 {
        let before = told.count.load(Ordering::Relaxed);
        let address = node.address;
        let stop = AtomicBool::new(false);
        let launch = thread::scope(|scope| {
            for partition in 0..PARTITIONS {
                let (told, stop) = (&told, &stop);
                scope.spawn(move || produce_until_gone(address, partition, round, told, stop));
            }
            eventually("records are acknowledged", || {
                (told.count.load(Ordering::Relaxed) >= before + RECORDS_A_ROUND).then_some(())
            });
            node.kill()
        });
        node = launch.start();
        assert_eq!(missing(node.address, &told), 0, "after kill {round}");
    }
}
