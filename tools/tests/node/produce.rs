//! Produce: what is refused and how, what is stored, what an idempotent producer may repeat.

use net::api::{init_producer_id, produce};
use storage::batch::Producer;
use storage::builder::Options;
use storage::compression::Codec;

use crate::support::batch::{self, ATTRIBUTES, CRC, LAST_OFFSET_DELTA, LENGTH, MAGIC, RECORD_COUNT, patched};
use crate::support::broker::{Broker, PRODUCE, only, produce_request};
use crate::support::client::Client;

const CORRUPT: i16 = 2;
const TOO_LARGE: i16 = 10;
const INVALID_TOPIC: i16 = 17;
const INVALID_ACKS: i16 = 21;
const INVALID_TIMESTAMP: i16 = 32;
const OUT_OF_ORDER: i16 = 45;
const OLD_EPOCH: i16 = 47;
const UNSUPPORTED_CODEC: i16 = 76;
const INVALID_RECORD: i16 = 87;

/// The default of `max.message.bytes`.
const BATCH_BYTES_MAX: usize = 1_048_588;

#[test]
fn a_batch_that_is_wrong_gets_kafkas_code_and_appends_nothing() {
    let Some(broker) = Broker::get("wrong batches") else { return };
    let topic = broker.topic("wrong").name;
    let mut client = broker.client();
    client.must_produce(&topic, 0, &batch::batch(&["first"]));
    let good = batch::batch(&["a", "b", "c"]);
    let too_large = batch::batch(&[&"x".repeat(BATCH_BYTES_MAX)]);
    let two = [good.clone(), good.clone()].concat();
    let length = (good.len() as i32 - 12).to_be_bytes();
    let mut wrong_crc = good.clone();
    wrong_crc[CRC] ^= 1;
    let cases: Vec<(&str, Vec<u8>, &[i16])> = vec![
        ("a wrong CRC", wrong_crc, &[CORRUPT]),
        ("a flipped bit in a record", flipped(&good, good.len() - 2), &[CORRUPT]),
        ("too many records", patched(good.clone(), RECORD_COUNT, &4_i32.to_be_bytes()), &[INVALID_RECORD]),
        ("too few records", patched(good.clone(), RECORD_COUNT, &2_i32.to_be_bytes()), &[INVALID_RECORD]),
        ("a negative count", patched(good.clone(), RECORD_COUNT, &(-1_i32).to_be_bytes()), &[INVALID_RECORD]),
        ("a wrong last offset", patched(good.clone(), LAST_OFFSET_DELTA, &9_i32.to_be_bytes()), &[INVALID_RECORD]),
        ("magic 0", patched(good.clone(), MAGIC, &[0]), &[INVALID_RECORD]),
        ("magic 1", patched(good.clone(), MAGIC, &[1]), &[INVALID_RECORD]),
        ("magic 3", patched(good.clone(), MAGIC, &[3]), &[CORRUPT]),
        ("a batch that is cut", good[..good.len() - 5].to_vec(), &[INVALID_RECORD]),
        ("half a header", good[..30].to_vec(), &[INVALID_RECORD]),
        ("a length that is too short", patched(good.clone(), LENGTH, &[0, 0, 0, 10]), &[CORRUPT, INVALID_RECORD]),
        ("a negative length", patched(good.clone(), LENGTH, &[255; 4]), &[CORRUPT, INVALID_RECORD]),
        ("a base offset", patched(good.clone(), batch::BASE_OFFSET, &7_i64.to_be_bytes()), &[INVALID_RECORD]),
        ("a batch above max.message.bytes", too_large, &[TOO_LARGE]),
        ("two batches", two, &[INVALID_RECORD]),
        (
            "the length of another batch",
            patched(good.clone(), LENGTH, &(i32::from_be_bytes(length) - 1).to_be_bytes()),
            &[CORRUPT, INVALID_RECORD],
        ),
    ];
    for (what, records, codes) in cases {
        let answer = client.produce(&topic, 0, &records);
        assert!(codes.contains(&answer.error_code), "{what}: {} {:?}", answer.error_code, answer.error_message);
        assert_eq!(answer.base_offset, -1, "{what}");
        if !broker.is_kafka() {
            let message = answer.error_message.as_deref().unwrap_or_default();
            assert!(message.len() > 10, "{what}: the message is {message:?}");
        }
        assert_eq!(client.end(&topic, 0), 1, "{what}: nothing was appended");
    }
    assert_eq!(client.values(&topic, 0), ["first"]);
}

fn flipped(batch: &[u8], at: usize) -> Vec<u8> {
    let mut batch = batch.to_vec();
    batch[at] ^= 0x10;
    batch
}

#[test]
fn compressed_records_that_are_wrong_are_refused() {
    let Some(broker) = Broker::get("wrong compression") else { return };
    let topic = broker.topic("codec").name;
    let mut client = broker.client();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let good = batch::compressed(codec, &[(1, b"aaaaaaaaaaaaaaaaaaaaaaaaa"), (2, b"b")]);
        let miscounted = patched(good.clone(), RECORD_COUNT, &5_i32.to_be_bytes());
        assert_eq!(client.produce(&topic, 0, &miscounted).error_code, INVALID_RECORD, "{codec:?} miscounted");
        let garbled = patched(good.clone(), good.len() - 6, &[0xaa; 6]);
        let garbled = patched(garbled, 61, &[0x55; 8]);
        let answer = client.produce(&topic, 0, &garbled);
        assert_ne!(answer.error_code, 0, "{codec:?} garbled");
        assert_eq!(client.end(&topic, 0), 0, "{codec:?}");
    }
    let unknown = patched(batch::batch(&["a"]), ATTRIBUTES, &[0, 7]);
    assert_ne!(client.produce(&topic, 0, &unknown).error_code, 0);
    assert_eq!(client.end(&topic, 0), 0);
}

#[test]
fn zstd_needs_version_7() {
    let Some(broker) = Broker::get("old zstd") else { return };
    let topic = broker.topic("zstd").name;
    let records = batch::compressed(Codec::Zstd, &[(1, b"a")]);
    let mut client = broker.client();
    let response = client.call(6, &produce_request(&topic, 0, &records));
    assert_eq!(response.responses[0].partition_responses[0].error_code, UNSUPPORTED_CODEC);
    let response = client.call(7, &produce_request(&topic, 0, &records));
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

#[test]
fn every_codec_is_stored_as_it_came() {
    let Some(broker) = Broker::get("codecs") else { return };
    let topic = broker.topic("codecs").name;
    let mut client = broker.client();
    let value = "abcdefgh".repeat(500);
    for (index, codec) in Codec::ALL.into_iter().enumerate() {
        let records = batch::compressed(codec, &[(5, value.as_bytes()), (6, b"end")]);
        let base = client.must_produce(&topic, 0, &records);
        assert_eq!(base, 2 * index as i64);
        let fetched = client.fetch(&topic, 0, base).records.expect("records");
        // The offset and the leader epoch are the broker's; the rest is under the producer's CRC.
        assert_eq!(fetched[MAGIC..], records[MAGIC..], "{codec:?}");
    }
}

#[test]
fn null_records_and_an_empty_request_are_answered_and_store_nothing() {
    let Some(broker) = Broker::get("null records") else { return };
    let topic = broker.topic("null").name;
    let mut client = broker.client();
    let mut request = produce_request(&topic, 0, &[]);
    request.topic_data[0].partition_data[0].records = None;
    if !broker.is_kafka() {
        // Kafka says the same with acks=1, and never answers with acks=all.
        let answer = client.call(PRODUCE, &request);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        assert_eq!(client.end(&topic, 0), 0);
    }
    let empty = produce::Request { acks: -1, timeout_ms: 1000, ..Default::default() };
    assert!(client.call(PRODUCE, &empty).responses.is_empty());
}

#[test]
fn impossible_acks_are_refused_for_each_partition() {
    let Some(broker) = Broker::get("acks") else { return };
    let topic = broker.topic("acks").name;
    let records = batch::batch(&["a"]);
    let mut client = broker.client();
    for acks in [5, -2, 2] {
        let request = produce::Request { acks, ..produce_request(&topic, 0, &records) };
        let response = client.call(PRODUCE, &request);
        assert_eq!(response.responses[0].partition_responses[0].error_code, INVALID_ACKS, "acks={acks}");
    }
    assert_eq!(client.end(&topic, 0), 0);
}

#[test]
fn a_record_without_a_key_is_refused_on_a_compacted_topic() {
    let Some(broker) = Broker::get("compacted") else { return };
    let topic = broker.topic_with("compacted", 1, &[("cleanup.policy", "compact")]).name;
    let mut client = broker.client();
    let answer = client.produce(&topic, 0, &batch::batch(&["a", "b"]));
    assert_eq!(answer.error_code, INVALID_RECORD);
    let blamed: Vec<i32> = answer.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!(blamed[0], 0, "{:?}", answer.record_errors);
    assert_eq!(client.end(&topic, 0), 0);
    client.must_produce(&topic, 0, &batch::keyed("k", "v"));
}

#[test]
fn timestamps_outside_the_bounds_are_refused() {
    let Some(broker) = Broker::get("timestamps") else { return };
    let configs = [("message.timestamp.before.max.ms", "1000"), ("message.timestamp.after.max.ms", "1000")];
    let topic = broker.topic_with("bounds", 1, &configs).name;
    let mut client = broker.client();
    let now = batch::first_timestamp();
    for timestamp in [now - 3_600_000, now + 3_600_000] {
        let answer = client.produce(&topic, 0, &batch::with(Options::default(), &[(timestamp, b"a")]));
        assert_eq!(answer.error_code, INVALID_TIMESTAMP);
        assert_eq!(answer.base_offset, -1);
    }
    assert_eq!(client.end(&topic, 0), 0);
}

#[test]
fn log_append_time_is_the_brokers_and_is_told() {
    let Some(broker) = Broker::get("log append time") else { return };
    let topic = broker.topic_with("append-time", 1, &[("message.timestamp.type", "LogAppendTime")]).name;
    let mut client = broker.client();
    for codec in [Codec::None, Codec::Lz4] {
        let records = batch::compressed(codec, &[(5, b"a"), (6, b"b")]);
        let answer = client.produce(&topic, 0, &records);
        assert_eq!(answer.error_code, 0);
        assert!(answer.log_append_time_ms > 1_600_000_000_000, "{answer:?}");
        let stored = client.records(&topic, 0, answer.base_offset);
        assert_eq!(stored.iter().map(|record| record.timestamp).collect::<Vec<_>>(), [answer.log_append_time_ms; 2]);
    }
}

#[test]
fn what_the_broker_keeps_for_itself_cannot_be_written() {
    let Some(broker) = Broker::get("internal topics") else { return };
    let mut client = broker.client();
    // A commit makes the topic be there.
    crate::groups::commit_as_plain_consumer(&broker, &broker.topic("internal").name);
    let answer = client.produce("__consumer_offsets", 0, &batch::keyed("k", "v"));
    assert_eq!(answer.error_code, INVALID_TOPIC);
}

#[test]
fn unknown_topics_and_partitions_are_refused_beside_good_ones() {
    let Some(broker) = Broker::get("unknown targets") else { return };
    let topic = broker.topic_with("known", 2, &[]).name;
    let records = batch::batch(&["a"]);
    let mut request = produce_request(&topic, 1, &records);
    request.topic_data.push(produce_request(&topic, 7, &records).topic_data.remove(0));
    request.topic_data.push(produce_request("e2e-nowhere", 0, &records).topic_data.remove(0));
    let response = broker.client().call(PRODUCE, &request);
    let codes: Vec<(String, i32, i16)> = response
        .responses
        .iter()
        .flat_map(|topic| topic.partition_responses.iter().map(|p| (topic.name.to_string(), p.index, p.error_code)))
        .collect();
    for expected in [(topic.clone(), 1, 0), (topic, 7, 3), ("e2e-nowhere".to_owned(), 0, 3)] {
        assert!(codes.contains(&expected), "{expected:?} in {codes:?}");
    }
}

fn producer_id(client: &mut Client) -> i64 {
    let request = init_producer_id::Request {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let response = client.call(4, &request);
    assert_eq!((response.error_code, response.producer_epoch), (0, 0));
    response.producer_id
}

#[test]
fn the_last_five_batches_of_a_producer_are_known_again() {
    let Some(broker) = Broker::get("duplicates") else { return };
    let topic = broker.topic("duplicates").name;
    let mut client = broker.client();
    let id = producer_id(&mut client);
    let numbered = |sequence: i32| {
        batch::idempotent(Producer { id, epoch: 0, base_sequence: sequence }, &[&format!("{sequence}"), "and"])
    };
    for number in 0..7 {
        assert_eq!(client.must_produce(&topic, 0, &numbered(2 * number)), i64::from(2 * number));
    }
    for number in 2..7 {
        let again = client.produce(&topic, 0, &numbered(2 * number));
        assert_eq!((again.error_code, again.base_offset), (0, i64::from(2 * number)), "batch {number}");
    }
    for number in 0..2 {
        // Kafka has a code for a duplicate that it has forgotten, and clients take both for one.
        let code = client.produce(&topic, 0, &numbered(2 * number)).error_code;
        assert!([OUT_OF_ORDER, 46].contains(&code), "batch {number}: {code}");
    }
    assert_eq!(client.produce(&topic, 0, &numbered(16)).error_code, OUT_OF_ORDER, "a gap");
    assert_eq!(client.end(&topic, 0), 14);
    assert_eq!(client.must_produce(&topic, 0, &numbered(14)), 14);
}

#[test]
fn a_producer_may_begin_anywhere_and_is_fenced_by_a_newer_epoch() {
    let Some(broker) = Broker::get("epochs of producers") else { return };
    let topic = broker.topic("fenced").name;
    let mut client = broker.client();
    let id = producer_id(&mut client);
    let from = |epoch: i16, base_sequence: i32| batch::idempotent(Producer { id, epoch, base_sequence }, &["a"]);
    assert_eq!(client.must_produce(&topic, 0, &from(0, 42)), 0, "an unknown producer begins where it likes");
    assert_eq!(client.must_produce(&topic, 0, &from(1, 0)), 1);
    assert_eq!(client.produce(&topic, 0, &from(0, 43)).error_code, OLD_EPOCH);
    assert_eq!(client.produce(&topic, 0, &from(2, 5)).error_code, OUT_OF_ORDER, "a new epoch begins at 0");
    assert_eq!(client.end(&topic, 0), 2);
}

#[test]
fn acks_0_is_never_answered_and_a_failure_closes() {
    let Some(broker) = Broker::get("acks=0") else { return };
    let topic = broker.topic("acks0").name;
    let records = batch::batch(&["a"]);
    let mut client = broker.client();
    let unanswered = |topic| produce::Request { acks: 0, ..produce_request(topic, 0, &records) };
    client.send(PRODUCE, &unanswered(&topic));
    // The next answer belongs to the next request, and the record is there by then or soon.
    crate::support::wait::eventually("the record arrives", || (client.end(&topic, 0) == 1).then_some(()));
    let mut doomed = broker.client();
    doomed.send(PRODUCE, &unanswered("e2e-nowhere"));
    doomed.assert_closed();
    assert_eq!(client.end(&topic, 0), 1, "others go on");
}

#[test]
fn transactional_batches_are_refused_by_version() {
    let Some(broker) = Broker::get("transactional produce") else { return };
    if broker.is_kafka() {
        // It serves transactions, and finds other faults with this one first.
        return;
    }
    let topic = broker.topic("transactional").name;
    let mut client = broker.client();
    let id = producer_id(&mut client);
    // The batches say whether they belong to a transaction, not the request.
    let mut request = produce_request(&topic, 0, &[]);
    let plain = batch::batch(&["a"]);
    request.transactional_id = Some("tx".into());
    request.topic_data[0].partition_data[0].records = Some(plain.as_slice().into());
    let response = client.call(PRODUCE, &request);
    assert_eq!(only(only(response.responses).partition_responses).error_code, 0);
    let producer = Some(Producer { id, epoch: 0, base_sequence: 0 });
    let options = Options { producer, is_transactional: true, ..Options::default() };
    let records = batch::with(options, &[(1, b"a")]);
    for (version, code, transactional_id) in [(9, 48, Some("tx")), (11, 120, Some("tx")), (11, 120, None)] {
        let mut request = produce_request(&topic, 0, &records);
        request.transactional_id = transactional_id.map(Into::into);
        let response = client.call(version, &request);
        assert_eq!(only(only(response.responses).partition_responses).error_code, code, "v{version}");
    }
    assert_eq!(client.end(&topic, 0), 1);
}

#[test]
fn answers_keep_the_order_of_the_requests_across_shards() {
    let Some(broker) = Broker::get("order") else { return };
    const PARTITIONS: i32 = 8;
    const REQUESTS: usize = 400;
    let topic = broker.topic_with("order", PARTITIONS, &[]).name;
    let mut client = broker.client();
    let mut sent = Vec::new();
    for number in 0..REQUESTS {
        let records = batch::batch(&[&number.to_string()]);
        let partition = (number as i32 * 5) % PARTITIONS;
        sent.push(client.send(PRODUCE, &produce_request(&topic, partition, &records)));
        if number % 7 == 0 {
            // A request that its own shard can answer at once must wait its turn.
            sent.push(-client.send(0, &net::api::api_versions::Request::default()));
        }
    }
    let mut offsets = [0; PARTITIONS as usize];
    for expected in sent {
        if expected < 0 {
            assert_eq!(client.receive::<net::api::api_versions::Request<'_>>(0).0, -expected);
            continue;
        }
        let (id, response) = client.receive::<produce::Request<'_>>(PRODUCE);
        assert_eq!(id, expected);
        let answer = only(only(response.responses).partition_responses);
        assert_eq!((answer.error_code, answer.base_offset), (0, offsets[answer.index as usize]));
        offsets[answer.index as usize] += 1;
    }
    for partition in 0..PARTITIONS {
        let numbers: Vec<usize> =
            client.values(&topic, partition).iter().map(|value| value.parse().expect("a number")).collect();
        assert!(numbers.is_sorted(), "{partition}: {numbers:?}");
        assert_eq!(numbers.len(), REQUESTS / PARTITIONS as usize);
    }
}
