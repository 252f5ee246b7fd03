//! The views and writers of Produce and Fetch against the generated types.

use net::api::{fetch, produce};
use net::fetch::ResponseHead;
use net::{Answer, Message, Reader, Topic, Uuid};

use crate::dispatch::Side;
use crate::sample::{Filling, Random, apis, sample};

const SEEDS: u64 = 64;

fn topic<'a>(name: &'a str, id: Uuid, by_id: bool) -> Topic<'a> {
    if by_id { Topic::Id(id) } else { Topic::Name(name) }
}

#[test]
fn the_view_of_a_produce_request_shows_what_the_generated_type_holds() {
    for (version, seed) in (3..=13).flat_map(|version| (0..SEEDS).map(move |seed| (version, seed))) {
        let bytes = sample(&apis()[0], Side::Request, version, seed, Filling::Mixed).bytes;
        let expected = produce::Request::from_bytes(&bytes, version).unwrap();
        let mut reader = Reader::new(&bytes);
        let view = net::produce::RequestView::decode(&mut reader, version).unwrap();
        assert_eq!(reader.finish(), Ok(()));
        assert_eq!(view.transactional_id, expected.transactional_id.as_deref());
        assert_eq!((view.acks, view.timeout_ms), (expected.acks, expected.timeout_ms));
        assert_eq!(view.topics.len(), expected.topic_data.len());
        for (seen, expected) in view.topics.iter().zip(&expected.topic_data) {
            assert_eq!(seen.topic, topic(&expected.name, expected.topic_id, version >= 13));
            assert_eq!(seen.partitions.iter().collect::<Vec<_>>(), expected.partition_data);
            for partition in &seen.partitions {
                let records = partition.records.unwrap_or_default();
                assert!(records.is_empty() || bytes.as_ptr_range().contains(&records.as_ptr()), "records are borrowed");
            }
        }
    }
}

#[test]
fn the_view_of_a_fetch_request_shows_what_the_generated_type_holds() {
    for (version, seed) in (4..=18).flat_map(|version| (0..SEEDS).map(move |seed| (version, seed))) {
        let bytes = sample(&apis()[1], Side::Request, version, seed, Filling::Mixed).bytes;
        let expected = fetch::Request::from_bytes(&bytes, version).unwrap();
        let mut reader = Reader::new(&bytes);
        let view = net::fetch::RequestView::decode(&mut reader, version).unwrap();
        assert_eq!(reader.finish(), Ok(()));
        let by_id = version >= 13;
        assert_eq!(view.cluster_id, expected.cluster_id.as_deref());
        let replica_id = if version <= 14 { expected.replica_id } else { expected.replica_state.replica_id };
        assert_eq!(view.replica.replica_id, replica_id);
        assert_eq!(view.replica.replica_epoch, expected.replica_state.replica_epoch);
        assert_eq!((view.max_wait_ms, view.min_bytes), (expected.max_wait_ms, expected.min_bytes));
        assert_eq!((view.max_bytes, view.isolation_level), (expected.max_bytes, expected.isolation_level));
        assert_eq!((view.session_id, view.session_epoch), (expected.session_id, expected.session_epoch));
        assert_eq!(view.rack_id, expected.rack_id);
        assert_eq!(
            (view.topics.len(), view.forgotten.len()),
            (expected.topics.len(), expected.forgotten_topics_data.len())
        );
        for (seen, expected) in view.topics.iter().zip(&expected.topics) {
            assert_eq!(seen.topic, topic(&expected.topic, expected.topic_id, by_id));
            assert_eq!(seen.partitions.iter().collect::<Vec<_>>(), expected.partitions);
        }
        for (seen, expected) in view.forgotten.iter().zip(&expected.forgotten_topics_data) {
            assert_eq!(seen.topic, topic(&expected.topic, expected.topic_id, by_id));
            assert_eq!(seen.partitions.iter().collect::<Vec<_>>(), expected.partitions);
        }
    }
}

fn write_produce(response: &produce::Response<'_>, version: i16) -> Vec<u8> {
    let mut writer = net::produce::ResponseWriter::<Vec<u8>>::new(b"old".to_vec(), version, 5);
    for written in &response.responses {
        writer.topic(topic(&written.name, written.topic_id, version >= 13));
        written.partition_responses.iter().for_each(|partition| writer.partition(partition));
    }
    writer.finish(response.throttle_time_ms, &response.node_endpoints).into()
}

/// The frame as the generated type makes it.
fn frame<'a, M: Message<'a>>(message: &M, version: i16) -> Vec<u8> {
    Answer::<Vec<u8>>::of(Vec::new(), version, 5, message).into()
}

#[test]
fn the_writer_of_a_produce_response_writes_what_the_generated_type_writes() {
    for (version, seed) in (3..=13).flat_map(|version| (0..SEEDS).map(move |seed| (version, seed))) {
        let bytes = sample(&apis()[0], Side::Response, version, seed, Filling::Mixed).bytes;
        let response = produce::Response::from_bytes(&bytes, version).unwrap();
        assert_eq!(write_produce(&response, version), frame(&response, version), "v{version}, seed {seed}");
    }
}

#[test]
fn counts_that_need_longer_varints_are_written_in_their_place() {
    let partition = produce::ResponseResponsesPartitionResponses::default();
    for (topics, partitions) in [(126, 1), (127, 128), (300, 1), (1, 20_000)] {
        let topic = produce::ResponseResponses {
            partition_responses: vec![partition.clone(); partitions],
            ..Default::default()
        };
        let response = produce::Response { responses: vec![topic; topics], ..Default::default() };
        for version in [8, 9, 13] {
            assert!(
                write_produce(&response, version) == frame(&response, version),
                "{topics} × {partitions} v{version}"
            );
        }
    }
}

/// Splits records into slices, some of them empty.
fn split(records: &[u8], random: &mut Random) -> Vec<Vec<u8>> {
    let at = random.below(records.len() + 1);
    let (first, second) = records.split_at(at);
    if records.is_empty() && random.below(2) == 0 { Vec::new() } else { vec![first.to_vec(), second.to_vec()] }
}

fn write_fetch(response: &fetch::Response<'_>, version: i16, random: &mut Random) -> Answer<Vec<u8>> {
    let head = ResponseHead {
        throttle_time_ms: response.throttle_time_ms,
        error_code: response.error_code,
        session_id: response.session_id,
    };
    let mut writer = net::fetch::ResponseWriter::new(Vec::new(), version, 5, head);
    for written in &response.responses {
        writer.topic(topic(&written.topic, written.topic_id, version >= 13));
        for partition in &written.partitions {
            let records = split(partition.records.as_deref().unwrap_or_default(), random);
            writer.partition(&fetch::ResponseResponsesPartitions { records: None, ..partition.clone() }, records);
        }
    }
    writer.finish(&response.node_endpoints)
}

#[test]
fn the_writer_of_a_fetch_response_writes_what_the_generated_type_writes() {
    for (version, seed) in (4..=18).flat_map(|version| (0..SEEDS).map(move |seed| (version, seed))) {
        let bytes = sample(&apis()[1], Side::Response, version, seed, Filling::Mixed).bytes;
        let mut response = fetch::Response::from_bytes(&bytes, version).unwrap();
        for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.records.get_or_insert_default();
        }
        let answer = write_fetch(&response, version, &mut Random::new(seed));
        assert_eq!(answer.len(), answer.pieces().map(<[u8]>::len).sum::<usize>());
        assert_eq!(Vec::from(answer), frame(&response, version), "v{version}, seed {seed}");
    }
}

#[test]
fn records_keep_their_place_when_a_count_before_them_grows() {
    let partition = fetch::ResponseResponsesPartitions { records: Some(b"records".into()), ..Default::default() };
    let topic = fetch::ResponseResponses { partitions: vec![partition; 500], ..Default::default() };
    let response = fetch::Response { responses: vec![topic; 130], ..Default::default() };
    for version in [11, 12, 18] {
        let written = Vec::from(write_fetch(&response, version, &mut Random::new(1)));
        assert!(written == frame(&response, version), "v{version}");
    }
}
