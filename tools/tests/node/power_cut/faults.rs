//! Operations of the disk that fail under the release binary, and what clients see of it: what docs/durability.md says of
//! the limits of the disk. After each, the power goes: what a failed sync covered is not taken for durable.

use net::api::produce;
use storage::batch::Producer;

use super::disk::Naming;
use super::fault::{Call, Fault, How};
use super::{Machine, create_with};
use crate::support::batch;
use crate::support::broker::{PRODUCE, only, produce_request};
use crate::support::client::{Client, read_response};
use crate::support::node::Node;
use crate::support::wait::eventually;

const EIO: How = How::Error(libc::EIO);
const ENOSPC: How = How::Error(libc::ENOSPC);

const FAILED: i32 = 1;
const STORAGE: i16 = 56;
const TIMED_OUT: i16 = 7;

const DURABLE: &str = "durable";
const CACHED: &str = "cached";
/// Few, so that segments are closed and written all the time.
const SEGMENT_BYTES: &str = "1048576";

/// Batches that go through the journal, and batches that go straight to their segment.
const SMALL: usize = 40_000;
const LARGE: usize = 300_000;

/// An idempotent producer's batches for one partition, of one record each.
struct Sender {
    client: Client,
    topic: &'static str,
    sent: Vec<String>,
}

impl Sender {
    fn new(node: &Node, topic: &'static str) -> Self {
        Self { client: Client::connect(node.address), topic, sent: Vec::new() }
    }

    /// The next value and its batch.
    fn next(&self, bytes: usize) -> (String, Vec<u8>) {
        let value = format!("{} {}", self.sent.len(), "x".repeat(bytes));
        let producer = Producer { id: 4711, epoch: 0, base_sequence: self.sent.len() as i32 };
        let batch = batch::idempotent(producer, &[&value]);
        (value, batch)
    }

    /// Sends the next batch until it is acknowledged. Only these errors may come before.
    fn send(&mut self, bytes: usize) {
        let (value, batch) = self.next(bytes);
        let offset = eventually("a batch is acknowledged", || {
            let answer = self.client.produce(self.topic, 0, &batch);
            assert!([0, STORAGE, TIMED_OUT].contains(&answer.error_code), "{answer:?}");
            (answer.error_code == 0).then_some(answer.base_offset)
        });
        assert_eq!(offset, self.sent.len() as i64);
        self.sent.push(value);
    }

    /// Everything is there, once, in order.
    #[track_caller]
    fn check(&mut self, node: &Node, when: &str) {
        self.client = Client::connect(node.address);
        let there = self.client.values(self.topic, 0);
        assert!(there == self.sent, "{when}, {}: {} of {} records", self.topic, there.len(), self.sent.len());
    }
}

fn start(test: &str) -> Option<(Machine, Node)> {
    let mut machine = Machine::new(test, Naming::WithDirectory, false)?;
    let node = machine.start();
    create_with(&node, DURABLE, 1, &[("segment.bytes", SEGMENT_BYTES)]);
    create_with(&node, CACHED, 1, &[("segment.bytes", SEGMENT_BYTES), ("skein.durability", "cached")]);
    Some((machine, node))
}

fn fault(call: Call, path: &'static str, skip: usize, how: How) -> Fault {
    Fault { call, path, skip, count: 1, how }
}

/// Everything from now on.
fn always(call: Call, path: &'static str, how: How) -> Fault {
    Fault { call, path, skip: 0, count: usize::MAX, how }
}

impl Machine {
    fn set_fault(&self, fault: Option<Fault>) {
        self.disk.lock().expect("no holder panics").faults.set(fault);
    }

    fn faults_came(&self) -> usize {
        self.disk.lock().expect("no holder panics").faults.came
    }
}

/// Produces with this fault ahead until it has come, and then some; everything is there now, after the end of the process
/// and after a power cut.
fn live_through(test: &str, fault: Fault, topic: &'static str, bytes: usize) {
    let Some((mut machine, mut node)) = start(test) else { return };
    let what = format!("{fault:?}, batches of {bytes} bytes");
    println!("{test}: {what}");
    let mut sender = Sender::new(&node, topic);
    sender.send(100);
    machine.set_fault(Some(fault));
    eventually("the fault comes", || {
        sender.send(bytes);
        (machine.faults_came() > 0).then_some(())
    });
    // More than a segment, so that what the fault met is done again meanwhile.
    (0..4_000_000 / bytes).for_each(|_| sender.send(bytes));
    node.assert_running();
    sender.check(&node, &what);
    node = node.kill().start();
    sender.check(&node, &format!("{what}, after kill -9"));
    sender.send(bytes);
    if topic == DURABLE {
        machine.cut(node);
        node = machine.start();
        sender.check(&node, &format!("{what}, after a power cut"));
    }
    // The node goes before its disk does.
    node.kill();
}

#[test]
fn one_failed_write_or_sync_of_the_journal_loses_nothing() {
    for (skip, how) in [(0, EIO), (9, EIO), (0, ENOSPC), (4, ENOSPC)] {
        live_through("a failed write of the journal", fault(Call::Write, "/journal", skip, how), DURABLE, SMALL);
    }
    live_through("a failed sync of a cached journal", fault(Call::Sync, "/journal/", 0, EIO), CACHED, SMALL);
}

#[test]
fn one_failed_write_or_sync_of_a_segment_or_checkpoint_loses_nothing() {
    for (call, path, skip, how) in [
        (Call::Write, "/logs/", 0, EIO),
        (Call::Write, "/logs/", 3, ENOSPC),
        (Call::Sync, "/logs", 0, EIO),
        (Call::Sync, "/logs", 2, EIO),
        (Call::Write, "/checkpoint/", 0, EIO),
        (Call::Write, "/checkpoint/", 1, ENOSPC),
        (Call::Sync, "/checkpoint", 0, EIO),
    ] {
        live_through("a failed write of a segment", fault(call, path, skip, how), DURABLE, SMALL);
    }
}

#[test]
fn one_failed_large_write_loses_nothing() {
    for (call, skip, how) in [(Call::Write, 0, EIO), (Call::Write, 2, ENOSPC), (Call::Sync, 0, EIO)] {
        live_through("a failed large write", fault(call, "/logs", skip, how), DURABLE, LARGE);
    }
}

/// Whole blocks and a part of one; less than a block; nothing.
#[test]
fn short_writes_are_gone_on_with() {
    for bytes in [SMALL, LARGE] {
        live_through("short writes", always(Call::Write, "/", How::Short(2 * 4096 + 100)), DURABLE, bytes);
        for left in [100, 0] {
            live_through("a write of next to nothing", fault(Call::Write, "/", 5, How::Short(left)), DURABLE, bytes);
        }
    }
}

#[test]
fn a_journal_or_segments_that_cannot_be_written_end_the_node_with_a_message() {
    for (call, path) in [(Call::Write, "/journal/"), (Call::Write, "/logs/"), (Call::Sync, "/logs")] {
        let Some((mut machine, mut node)) = start("a disk that cannot be written") else { return };
        let mut sender = Sender::new(&node, DURABLE);
        sender.send(SMALL);
        machine.set_fault(Some(always(call, path, EIO)));
        // What it goes on to acknowledge is durable in its journal.
        let status = loop {
            let (value, batch) = sender.next(SMALL);
            sender.client.send(PRODUCE, &produce_request(DURABLE, 0, &batch));
            let Some(frame) = sender.client.try_frame() else { break node.ended() };
            let (_, response) = read_response::<produce::Request<'_>>(PRODUCE, frame);
            if only(only(response.responses).partition_responses).error_code == 0 {
                sender.sent.push(value);
            }
        };
        assert_eq!(status.code(), Some(FAILED), "{}", node.log());
        assert!(node.log().contains("ERROR"), "{}", node.log());
        machine.set_fault(None);
        machine.cut(node);
        let node = machine.start();
        let there = Client::connect(node.address).values(DURABLE, 0);
        assert!(there.len() >= sender.sent.len() && there[..sender.sent.len()] == sender.sent, "{path}");
        node.kill();
    }
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_room_and_reads_go_on() {
    let Some((mut machine, mut node)) = start("a full disk") else { return };
    let mut sender = Sender::new(&node, DURABLE);
    (0..5).for_each(|_| sender.send(SMALL));
    machine.set_fault(Some(always(Call::Write, "/", ENOSPC)));
    // What the full disk has taken by surprise waits for as long as its request says; what comes then is refused.
    let mut other = Client::connect(node.address);
    let records = batch::batch(&["other"]);
    let request = produce::Request { timeout_ms: 500, ..produce_request(CACHED, 0, &records) };
    eventually("appends are refused", || {
        let answer = only(only(other.call(PRODUCE, &request).responses).partition_responses);
        assert!([0, TIMED_OUT, STORAGE].contains(&answer.error_code), "{answer:?}");
        (answer.error_code == STORAGE).then_some(())
    });
    sender.check(&node, "while the disk is full");
    node.assert_running();
    machine.set_fault(None);
    sender.send(SMALL);
    machine.cut(node);
    node = machine.start();
    sender.check(&node, "after a power cut");
    node.kill();
}

#[test]
fn a_failed_read_is_answered_with_an_error_and_the_next_one_is_served() {
    let Some((mut machine, node)) = start("a failed read") else { return };
    let mut sender = Sender::new(&node, DURABLE);
    (0..60).for_each(|_| sender.send(SMALL));
    // A stop brings everything to its segments, and a start keeps none of it in memory.
    let (status, _) = node.terminate();
    assert!(status.success());
    let mut node = machine.start();
    // One alone could meet the scrubber instead.
    machine.set_fault(Some(always(Call::Read, "/logs/", EIO)));
    assert_eq!(Client::connect(node.address).fetch(DURABLE, 0, 0).error_code, STORAGE);
    machine.set_fault(None);
    sender.check(&node, "after a failed read");
    node.assert_running();
    sender.send(SMALL);
    sender.check(&node, "after more");
    node.kill();
}
