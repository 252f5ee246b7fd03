//! What single steps of the hot path cost: `cargo bench -p bench`.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use net::Reader;
use net::api::{fetch, produce};
use replication::mailbox::mailbox;
use replication::wake::{Doorbell, Wake};
use storage::batch::{HEADER_BYTES, TimestampType, copy_with_crc};
use storage::builder::{BatchBuilder, NewRecord, Options};
use storage::compression::Codec;
use storage::index::{Index, MaxTimestamp, Placed};
use storage::io::{Completion, Request};
use storage::recovery::{Identity, recover};
use storage::simulated::{Blocking, Disk, Faults, Owner, Random};
use storage::store::{Append, Origin, Store};
use storage::validate::{Rules, Writer, validate};
use storage::{LogConfig, LogId, Now, Slot, compression, validate as validation};

/// Bytes of batches: one small record, a default producer's batch, a large one.
const BATCHES: [usize; 3] = [170, 16 << 10, 1 << 20];

const VERSION: i16 = 12;

fn main() {
    divan::main();
}

/// A batch of about so many bytes.
fn batch(bytes: usize, codec: Codec) -> Vec<u8> {
    let value = vec![b'x'; bytes.min(1024) - HEADER_BYTES.min(bytes) / 2];
    let record = NewRecord { timestamp: 1_000, key: None, value: Some(&value), headers: &[] };
    let mut batch = BatchBuilder::new(Options { codec, ..Options::default() });
    while batch.is_empty() || batch.size_in_bytes() + value.len() < bytes {
        batch.append(&record).expect("a small batch");
    }
    batch.finish()
}

fn rules() -> Rules {
    Rules {
        writer: Writer::Client,
        batch_bytes_max: 2 << 20,
        decompressed_bytes_max: 64 << 20,
        is_compacted: false,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_ms_max: i64::MAX,
        timestamp_after_ms_max: i64::MAX,
        now_ms: 2_000,
    }
}

#[divan::bench]
fn decode_produce_request(bencher: Bencher<'_, '_>) {
    let records = batch(170, Codec::None);
    let request = produce::Request {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![produce::RequestTopicData {
            name: "topic".into(),
            partition_data: vec![produce::RequestTopicDataPartitionData { index: 3, records: Some((&records).into()) }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut bytes = Vec::new();
    request.encode(&mut bytes, VERSION);
    bencher.bench_local(|| {
        let view = net::produce::RequestView::decode(&mut Reader::new(black_box(&bytes)), VERSION).expect("a request");
        view.topics.iter().flat_map(|topic| topic.partitions.iter()).map(|p| p.index).sum::<i32>()
    });
}

#[divan::bench(args = [1, 100, 10_000])]
fn decode_fetch_request(bencher: Bencher<'_, '_>, partitions: i32) {
    let partition = |partition| fetch::RequestTopicsPartitions { partition, ..Default::default() };
    let topic = fetch::RequestTopics {
        topic: "topic".into(),
        partitions: (0..partitions).map(partition).collect(),
        ..Default::default()
    };
    let mut bytes = Vec::new();
    fetch::Request { topics: vec![topic], ..Default::default() }.encode(&mut bytes, VERSION);
    bencher.bench_local(|| {
        let view = net::fetch::RequestView::decode(&mut Reader::new(black_box(&bytes)), VERSION).expect("a request");
        view.topics.iter().flat_map(|topic| topic.partitions.iter()).map(|p| p.fetch_offset).sum::<i64>()
    });
}

#[divan::bench]
fn encode_produce_response(bencher: Bencher<'_, '_>) {
    let answer = produce::Response {
        responses: vec![produce::ResponseResponses {
            name: "topic".into(),
            partition_responses: vec![produce::ResponseResponsesPartitionResponses::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut out = Vec::with_capacity(256);
    bencher.bench_local(|| {
        out.clear();
        black_box(&answer).encode(&mut out, VERSION);
        black_box(out.len())
    });
}

#[divan::bench(args = BATCHES)]
fn copy_and_crc(bencher: Bencher<'_, '_>, bytes: usize) {
    let source = batch(bytes, Codec::None);
    let mut target = vec![0; source.len()];
    bencher.counter(BytesCount::new(source.len())).bench_local(|| copy_with_crc(&mut target, black_box(&source)));
}

#[divan::bench(args = BATCHES)]
fn validate_batch(bencher: Bencher<'_, '_>, bytes: usize) {
    let batch = batch(bytes, Codec::None);
    bencher.counter(BytesCount::new(batch.len())).bench_local(|| validate(black_box(&batch), &rules()).expect("good"));
}

#[divan::bench(args = BATCHES)]
fn validate_header(bencher: Bencher<'_, '_>, bytes: usize) {
    let batch = batch(bytes, Codec::None);
    bencher.bench_local(|| validation::validate_header(black_box(&batch), &rules()).map(|b| b.crc()).expect("good"));
}

#[divan::bench(args = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd])]
fn decompress(bencher: Bencher<'_, '_>, codec: Codec) {
    let value: Vec<u8> =
        (0..64_u32 << 10).map(|n| b"0123456789abcdef"[(n.wrapping_mul(2_654_435_761) >> 28) as usize]).collect();
    let mut bytes = Vec::new();
    compression::compress(codec, &value, &mut bytes);
    bencher.counter(BytesCount::new(value.len())).bench_local(|| {
        compression::decompress_all(codec, black_box(&bytes), 1 << 20).expect("it was compressed here")
    });
}

#[divan::bench(args = [100, 10_000, 250_000])]
fn look_up_offset(bencher: Bencher<'_, '_>, entries: i64) {
    let mut index = Index::new(0, 4096);
    for number in 0..entries {
        let max = MaxTimestamp { timestamp: number, offset: number };
        let position = (number * 4096) as u32;
        index.append(Placed { position, size_in_bytes: 4096, base_offset: number, last_offset: number, max });
    }
    let mut offset = 0;
    bencher.bench_local(|| {
        offset = (offset + 7_919) % entries;
        index.lookup_offset(black_box(offset))
    });
}

/// A log on a disk of memory.
struct Appending {
    store: Store,
    slot: Slot,
    disk: Rc<RefCell<Disk>>,
    now: Now,
}

impl Appending {
    fn new() -> Self {
        let disk = Rc::new(RefCell::new(Disk::new(Random::new(1), Faults::NONE)));
        let identity = Identity { directory_id: [1; 16], node: [1; 16], cluster_id: b"bench".to_vec() };
        let blocking = Blocking::new(Rc::clone(&disk));
        let recovered = recover(&blocking, &identity).expect("an empty disk");
        let options = storage::store::Options { scrub_bytes_per_second: 0, ..Default::default() };
        let mut stores = recovered.into_stores(1, |_| 0, &options).expect("an empty disk");
        let mut store = stores.remove(0);
        let now = Now { monotonic_ns: 0, wall_ms: 2_000 };
        let slot = store.attach(LogId(1), "bench-0", LogConfig::default(), now);
        let mut appending = Self { store, slot, disk, now };
        appending.settle();
        appending
    }

    /// Does everything that the store wants of its disk.
    fn settle(&mut self) {
        let mut requests = Vec::new();
        loop {
            self.now.monotonic_ns += 1_000;
            self.store.step(self.now, 1 << 20);
            self.store.requests(&mut requests);
            if requests.is_empty() {
                break;
            }
            for Request { directory, token, op } in requests.drain(..) {
                let result = self.disk.borrow_mut().execute(Owner(0), op);
                self.store.complete(Completion { directory, token, result }, self.now);
            }
        }
        while self.store.next_event().is_some() {}
    }

    fn append(&mut self, batch: &[u8]) -> Append {
        self.store.append(self.slot, batch, Origin::Client, 0, self.now)
    }
}

/// Checking the header, CRC, offsets, the copy to the tail and the journal's entry; not the write.
#[divan::bench(args = [170, 16 << 10], sample_size = 16)]
fn append_batch(bencher: Bencher<'_, '_>, bytes: usize) {
    let batch = batch(bytes, Codec::None);
    let appending = RefCell::new(Appending::new());
    bencher
        .counter(BytesCount::new(batch.len()))
        .with_inputs(|| appending.borrow_mut().settle())
        .bench_local_values(|()| appending.borrow_mut().append(black_box(&batch)));
}

struct Silent;

impl Wake for Silent {
    fn wake(&self) {}
}

#[divan::bench]
fn mail_there_and_back(bencher: Bencher<'_, '_>) {
    let bell = || Arc::new(Doorbell::new(Box::new(Silent)));
    let (mut sender, mut receiver) = mailbox::<[u64; 8]>(bell(), bell());
    bencher.bench_local(|| {
        sender.push(black_box([1; 8])).expect("there is room");
        sender.ring();
        receiver.pop()
    });
}
