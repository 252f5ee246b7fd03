//! ListOffsets and OffsetForLeaderEpoch.

use net::api::offset_for_leader_epoch;
use storage::compression::Codec;

use crate::support::batch;
use crate::support::broker::{Broker, EARLIEST, LATEST, list_request, only};

const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
const INVALID_REQUEST: i16 = 42;
const UNSUPPORTED_VERSION: i16 = 35;
const UNKNOWN_LEADER_EPOCH: i16 = 75;

#[test]
fn every_special_value_is_answered_from_the_version_that_brought_it() {
    let Some(broker) = Broker::get("special offsets") else { return };
    let topic = broker.topic("special").name;
    let mut client = broker.client();
    client.must_produce(&topic, 0, &batch::compressed(Codec::None, &[(500, b"a"), (900, b"b"), (700, b"c")]));
    // The value, the version that brought it, the offset and timestamp that answer it.
    let specials = [
        (LATEST, 1, (3, -1)),
        (EARLIEST, 1, (0, -1)),
        (MAX_TIMESTAMP, 7, (1, 900)),
        (EARLIEST_LOCAL, 8, (0, -1)),
        (LATEST_TIERED, 9, (-1, -1)),
        (EARLIEST_PENDING_UPLOAD, 11, (-1, -1)),
    ];
    for (value, first, expected) in specials {
        for version in 1..=11 {
            let response = client.call(version, &list_request(&topic, 0, value));
            let answer = only(only(response.topics).partitions);
            if version >= first {
                let found = (answer.offset, answer.timestamp);
                assert_eq!((answer.error_code, found), (0, expected), "{value} in v{version}");
            } else {
                assert_eq!(answer.error_code, UNSUPPORTED_VERSION, "{value} in v{version}");
            }
        }
    }
}

#[test]
fn a_value_that_no_version_has_is_refused_before_anything_is_looked_at() {
    let Some(broker) = Broker::get("values of no version") else { return };
    let topic = broker.topic("no-version").name;
    let mut client = broker.client();
    for value in [-7, -100, i64::MIN] {
        assert_eq!(client.try_offset(&topic, 0, value).0, UNSUPPORTED_VERSION, "{value}");
        assert_eq!(
            client.try_offset(&topic, 99, value).0,
            UNSUPPORTED_VERSION,
            "{value} of a partition that is not there"
        );
    }
}

#[test]
fn a_partition_named_twice_is_refused_twice() {
    let Some(broker) = Broker::get("a partition twice") else { return };
    let topic = broker.topic_with("twice", 2, &[]).name;
    let mut request = list_request(&topic, 0, LATEST);
    let partitions = &mut request.topics[0].partitions;
    partitions.extend([partitions[0].clone(), partitions[0].clone()]);
    partitions[2].partition_index = 1;
    let answers = only(broker.client().call(11, &request).topics).partitions;
    for answer in answers {
        let expected = if answer.partition_index == 0 { INVALID_REQUEST } else { 0 };
        assert_eq!(answer.error_code, expected, "partition {}", answer.partition_index);
    }
}

#[test]
fn a_timestamp_is_found_to_the_record_inside_every_codec() {
    let Some(broker) = Broker::get("timestamps in codecs") else { return };
    let topic = broker.topic("exact").name;
    let mut client = broker.client();
    // Ten batches of ten records, 10 ms apart, in all codecs in turn.
    for number in 0..10_i64 {
        let codec = Codec::ALL[number as usize % Codec::ALL.len()];
        let records: Vec<(i64, &[u8])> =
            (0..10).map(|index| (10_000 + number * 100 + index * 10, &b"value"[..])).collect();
        assert_eq!(client.must_produce(&topic, 0, &batch::compressed(codec, &records)), number * 10);
    }
    for offset in 0..100_i64 {
        let timestamp = 10_000 + offset * 10;
        assert_eq!(client.try_offset(&topic, 0, timestamp), (0, offset, timestamp));
        assert_eq!(client.try_offset(&topic, 0, timestamp - 5), (0, offset, timestamp), "between two records");
    }
    assert_eq!(client.try_offset(&topic, 0, 11_000), (0, -1, -1), "past the last record");
    assert_eq!(client.try_offset(&topic, 0, MAX_TIMESTAMP), (0, 99, 10_990));
}

#[test]
fn an_empty_partition_has_offsets_and_no_timestamps() {
    let Some(broker) = Broker::get("empty partition") else { return };
    let topic = broker.topic("empty").name;
    let mut client = broker.client();
    assert_eq!(client.try_offset(&topic, 0, LATEST), (0, 0, -1));
    assert_eq!(client.try_offset(&topic, 0, EARLIEST), (0, 0, -1));
    assert_eq!(client.try_offset(&topic, 0, 5), (0, -1, -1));
    assert_eq!(client.try_offset(&topic, 0, MAX_TIMESTAMP), (0, -1, -1));
    assert_eq!(client.try_offset("e2e-nowhere", 0, LATEST).0, 3);
    assert_eq!(client.try_offset(&topic, 5, LATEST).0, 3);
}

#[test]
fn epochs_end_where_the_log_does_and_unknown_ones_nowhere() {
    let Some(broker) = Broker::get("epoch ends") else { return };
    let topic = broker.topic("epoch-ends").name;
    let mut client = broker.client();
    client.must_produce(&topic, 0, &batch::batch(&["a", "b"]));
    let epoch = client.metadata(&topic).partitions[0].leader_epoch;
    let mut ends = |current_leader_epoch, leader_epoch| {
        let partition =
            offset_for_leader_epoch::RequestTopicsPartitions { partition: 0, current_leader_epoch, leader_epoch };
        let asked =
            offset_for_leader_epoch::RequestTopics { topic: topic.as_str().into(), partitions: vec![partition] };
        let request = offset_for_leader_epoch::Request { replica_id: -1, topics: vec![asked] };
        let answer = only(only(client.call(4, &request).topics).partitions);
        (answer.error_code, answer.leader_epoch, answer.end_offset)
    };
    assert_eq!(ends(epoch, epoch), (0, epoch, 2));
    assert_eq!(ends(-1, epoch), (0, epoch, 2));
    assert_eq!(ends(epoch, epoch + 5), (0, -1, -1), "an epoch that never was");
    assert_eq!(ends(epoch + 1, epoch), (UNKNOWN_LEADER_EPOCH, -1, -1));
}
