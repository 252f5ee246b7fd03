//! How often a node allocates for a request once it is warm. The bounds are what was measured, with some room: a change
//! that allocates for each record, partition or request is seen here on any machine, however busy.

mod support;

use std::alloc::System;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use bench::admin::Admin;
use net::api::{fetch, produce};
use net::{ApiKey, RequestHeader};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use storage::builder::{BatchBuilder, NewRecord, Options};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const VERSION: i16 = 12;
const TOPIC: &str = "allocations";

/// Requests before counting: buffers, pools and journals have their size then.
const WARM_UP: usize = 500;

/// Requests that are counted.
const COUNTED: usize = 2_000;

/// Allocations a request, at the most: 1 and 4 were measured, the fetch with 96 batches in its answer. That of a produce
/// request is the journal's group's, which many share under load.
const PRODUCE_MAX: f64 = 1.5;
const FETCH_MAX: f64 = 4.5;

fn framed(key: ApiKey, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = vec![0; 4];
    RequestHeader { key, version: VERSION, correlation_id: 1, client_id: Some("test".into()) }.encode(&mut frame);
    body(&mut frame);
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

fn produce_frame() -> Vec<u8> {
    let mut batch = BatchBuilder::new(Options::default());
    let record = NewRecord { timestamp: 1_700_000_000_000, key: None, value: Some(&[7; 100]), headers: &[] };
    batch.append(&record).expect("a small batch");
    let records = batch.finish();
    let request = produce::Request {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![produce::RequestTopicData {
            name: TOPIC.into(),
            partition_data: vec![produce::RequestTopicDataPartitionData { index: 0, records: Some(records.into()) }],
            ..Default::default()
        }],
        ..Default::default()
    };
    framed(ApiKey::Produce, |frame| request.encode(frame, VERSION))
}

fn fetch_frame() -> Vec<u8> {
    let partition = fetch::RequestTopicsPartitions {
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: 16 << 10,
        ..Default::default()
    };
    let topic = fetch::RequestTopics { topic: TOPIC.into(), partitions: vec![partition], ..Default::default() };
    let request = fetch::Request {
        replica_id: -1,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 16 << 10,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    framed(ApiKey::Fetch, |frame| request.encode(frame, VERSION))
}

/// One request at a time, allocating nothing. Gives back the bytes of the last answer.
fn exchange(stream: &mut TcpStream, frame: &[u8], answer: &mut [u8], count: usize) -> usize {
    let mut bytes = 0;
    for _ in 0..count {
        stream.write_all(frame).expect("connected");
        let mut length = [0; 4];
        stream.read_exact(&mut length).expect("an answer");
        bytes = u32::from_be_bytes(length) as usize;
        stream.read_exact(&mut answer[..bytes]).expect("all of it");
    }
    bytes
}

fn allocations_per_request(address: SocketAddr, frame: &[u8]) -> (f64, usize) {
    let mut stream = TcpStream::connect(address).expect("served");
    let mut answer = vec![0; 1 << 20];
    exchange(&mut stream, frame, &mut answer, WARM_UP);
    let region = Region::new(ALLOCATOR);
    let bytes = exchange(&mut stream, frame, &mut answer, COUNTED);
    let change = region.change();
    ((change.allocations + change.reallocations) as f64 / COUNTED as f64, bytes)
}

#[test]
fn a_warm_node_hardly_allocates() {
    let address = support::node();
    let mut admin = Admin::connect(address).expect("served");
    admin.create_topic(TOPIC, 1, &[]).expect("a topic");
    admin.produce(TOPIC, 0, 1_700_000_000_000).expect("a record");
    let (produce, _) = allocations_per_request(address, &produce_frame());
    let (fetch, bytes) = allocations_per_request(address, &fetch_frame());
    println!("allocations a request: produce {produce:.2}, fetch {fetch:.2}");
    assert!(bytes > 10_000, "the fetch brings records: {bytes} bytes");
    assert!(produce <= PRODUCE_MAX, "{produce:.2} allocations for a produce request, {PRODUCE_MAX} are allowed");
    assert!(fetch <= FETCH_MAX, "{fetch:.2} allocations for a fetch request, {FETCH_MAX} are allowed");
}
