//! Requests that are encoded before the clock runs.
//!
//! ```text
//! | length 4 | API key 2 | version 2 | correlation id 4 | client id … body |
//! └── head: made for each request ──────────────────────┘└ body: made once ┘
//! ```
//! Of an answer, what stands before and in its first error code is compared with what it must be; the rest is counted.

use std::borrow::Cow;

use net::api::{fetch, produce};
use net::{ApiKey, Request, RequestHeader, ResponseHeader};
use storage::builder::{BatchBuilder, NewRecord, Options};

/// The newest version that names topics by name: the load needs no ids then.
const VERSION: i16 = 12;

/// Bytes that the head of a request has.
pub(crate) const HEAD_BYTES: usize = 12;

/// How long a server may wait for the acknowledgement of others, in ms.
const ACK_WAIT_MS: i32 = 30_000;

/// How long a server may wait for records to fetch, in ms.
const FETCH_WAIT_MS: i32 = 500;

/// The longest topic name whose length takes one byte in an answer.
const TOPIC_BYTES_MAX: usize = 126;

/// What a record batch is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of each record's value.
    pub record_bytes: usize,
    /// Bytes that the batch may have; a batch has one record at least.
    pub batch_bytes: usize,
}

impl Shape {
    /// A batch of this shape and the number of its records, made at `wall_ms`.
    #[must_use]
    pub fn batch(self, wall_ms: i64) -> (Vec<u8>, u64) {
        let value = noise(self.record_bytes);
        let record = NewRecord { timestamp: wall_ms, key: None, value: Some(&value), headers: &[] };
        let mut batch = BatchBuilder::new(Options::default());
        loop {
            let before = batch.size_in_bytes();
            batch.append(&record).expect("the load's batches are far below the limit");
            let record_bytes = batch.size_in_bytes() - before;
            if batch.size_in_bytes() + record_bytes > self.batch_bytes {
                let records = batch.record_count() as u64;
                return (batch.finish(), records);
            }
        }
    }
}

/// Bytes without a pattern, always the same ones.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// One request without its head.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    /// What its answer begins with, after the correlation id, up to and with the first error code.
    pub(crate) answer_start: Vec<u8>,
}

/// Requests of one API to be sent in turn.
#[derive(Debug)]
pub struct Requests {
    pub(crate) key: ApiKey,
    pub(crate) bodies: Vec<Body>,
    /// Bytes of record batches in each.
    pub payload_bytes: u64,
    /// Records in each.
    pub records: u64,
    /// Bytes of an answer on the wire, if all of them have as many.
    answer_bytes: usize,
    /// Whether the answers are only counted, because they come from an echo server.
    pub(crate) is_echo: bool,
}

impl Requests {
    /// Produce requests with one batch each, to the partitions in turn, acknowledged by the whole in-sync set.
    ///
    /// # Panics
    /// If there is no partition, or the topic's name is longer than 126 bytes.
    #[must_use]
    pub fn produce(topic: &str, partitions: i32, shape: Shape, wall_ms: i64) -> Self {
        assert!(partitions > 0 && topic.len() <= TOPIC_BYTES_MAX, "a topic of a measurement");
        let (batch, records) = shape.batch(wall_ms);
        let request = |index| produce::Request {
            transactional_id: None,
            acks: -1,
            timeout_ms: ACK_WAIT_MS,
            topic_data: vec![produce::RequestTopicData {
                name: topic.into(),
                partition_data: vec![produce::RequestTopicDataPartitionData {
                    index,
                    records: Some(Cow::Borrowed(&batch)),
                }],
                ..Default::default()
            }],
        };
        let answer = |index| produce::Response {
            responses: vec![produce::ResponseResponses {
                name: topic.into(),
                partition_responses: vec![produce::ResponseResponsesPartitionResponses { index, ..Default::default() }],
                ..Default::default()
            }],
            ..Default::default()
        };
        // Tags of the header; counts of topics and partitions; name; index and error code.
        let answer_start = 1 + 1 + 1 + topic.len() + 1 + 4 + 2;
        let bodies = (0..partitions).map(|index| body(&request(index), &answer(index), answer_start)).collect();
        let mut encoded = Vec::new();
        ResponseHeader { correlation_id: 0 }.encode(&mut encoded, ApiKey::Produce, VERSION);
        answer(0).encode(&mut encoded, VERSION);
        Self {
            key: ApiKey::Produce,
            bodies,
            payload_bytes: batch.len() as u64,
            records,
            answer_bytes: 4 + encoded.len(),
            is_echo: false,
        }
    }

    /// Fetch requests for up to `bytes_max` bytes each, from these offsets of these partitions in turn.
    ///
    /// # Panics
    /// If there is nothing to fetch, or the topic's name is longer than 126 bytes.
    #[must_use]
    pub fn fetch(topic: &str, from: &[(i32, i64)], bytes_max: i32) -> Self {
        assert!(!from.is_empty() && topic.len() <= TOPIC_BYTES_MAX, "a topic of a measurement");
        let request = |(partition, fetch_offset)| fetch::Request {
            replica_id: -1,
            max_wait_ms: FETCH_WAIT_MS,
            min_bytes: 1,
            max_bytes: bytes_max,
            session_epoch: -1,
            topics: vec![fetch::RequestTopics {
                topic: topic.into(),
                partitions: vec![fetch::RequestTopicsPartitions {
                    partition,
                    current_leader_epoch: -1,
                    fetch_offset,
                    last_fetched_epoch: -1,
                    log_start_offset: -1,
                    partition_max_bytes: bytes_max,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = |partition_index| fetch::Response {
            responses: vec![fetch::ResponseResponses {
                topic: topic.into(),
                partitions: vec![fetch::ResponseResponsesPartitions { partition_index, ..Default::default() }],
                ..Default::default()
            }],
            ..Default::default()
        };
        // Tags of the header; throttle time, error and session; counts of topics and partitions; name; index and error.
        let answer_start = 1 + 4 + 2 + 4 + 1 + 1 + topic.len() + 1 + 4 + 2;
        let bodies = from.iter().map(|&start| body(&request(start), &answer(start.0), answer_start)).collect();
        Self { key: ApiKey::Fetch, bodies, payload_bytes: 0, records: 0, answer_bytes: 0, is_echo: false }
    }

    /// The same requests for an echo server, which answers with as many bytes as a broker and another content.
    #[must_use]
    pub fn for_echo(self) -> Self {
        Self { is_echo: true, ..self }
    }

    /// Bytes of a request and of its answer on the wire.
    #[must_use]
    pub fn wire_bytes(&self) -> crate::echo::Sizes {
        crate::echo::Sizes { request: HEAD_BYTES + self.bodies[0].bytes.len(), response: self.answer_bytes }
    }

    /// The head of a request.
    pub(crate) fn head(&self, body: usize, correlation_id: i32) -> [u8; HEAD_BYTES] {
        let length = (HEAD_BYTES - 4 + self.bodies[body].bytes.len()) as i32;
        let mut head = [0; HEAD_BYTES];
        head[..4].copy_from_slice(&length.to_be_bytes());
        head[4..6].copy_from_slice(&(self.key as i16).to_be_bytes());
        head[6..8].copy_from_slice(&VERSION.to_be_bytes());
        head[8..].copy_from_slice(&correlation_id.to_be_bytes());
        head
    }
}

fn body<'a, R: Request<'a>>(request: &R, answer: &R::Response<'a>, answer_start: usize) -> Body {
    let mut bytes = Vec::new();
    RequestHeader { key: R::KEY, version: VERSION, correlation_id: 0, client_id: Some("bench".into()) }
        .encode(&mut bytes);
    bytes.drain(..HEAD_BYTES - 4);
    request.encode(&mut bytes, VERSION);
    let mut start = Vec::new();
    ResponseHeader { correlation_id: 0 }.encode(&mut start, R::KEY, VERSION);
    start.drain(..4);
    net::Message::encode(answer, &mut start, VERSION);
    start.truncate(answer_start);
    Body { bytes, answer_start: start }
}

#[cfg(test)]
mod tests {
    use net::{Message, Reader};

    use super::*;

    #[test]
    fn a_request_decodes_to_its_batch() {
        let shape = Shape { record_bytes: 1024, batch_bytes: 16 << 10 };
        let requests = Requests::produce("load", 3, shape, 1_000);
        let mut frame = requests.head(2, 77).to_vec();
        frame.extend_from_slice(&requests.bodies[2].bytes);
        assert_eq!(frame.len(), requests.wire_bytes().request);
        assert_eq!(frame[..4], (frame.len() as i32 - 4).to_be_bytes());
        let mut reader = Reader::new(&frame[4..]);
        let header = RequestHeader::decode(&mut reader).expect("a header");
        assert_eq!((header.key, header.version, header.correlation_id), (ApiKey::Produce, VERSION, 77));
        let request = produce::Request::decode(&mut reader, header.version).expect("a request");
        reader.finish().expect("nothing left over");
        let data = &request.topic_data[0].partition_data[0];
        assert_eq!((request.acks, data.index, requests.records), (-1, 2, 15));
        assert_eq!(data.records.as_ref().map(|records| records.len() as u64), Some(requests.payload_bytes));
        assert!(requests.payload_bytes <= 16 << 10);
    }

    #[test]
    fn a_batch_has_one_record_at_least() {
        assert_eq!(Shape { record_bytes: 100, batch_bytes: 0 }.batch(0).1, 1);
    }

    #[test]
    fn the_start_of_an_answer_ends_with_its_error_code() {
        let requests = Requests::produce("load", 1, Shape { record_bytes: 1, batch_bytes: 1 }, 0);
        let mut answer = vec![0; 4];
        answer.extend_from_slice(&requests.bodies[0].answer_start);
        answer.extend_from_slice(&[0; 40]);
        let error_code = 4 + requests.bodies[0].answer_start.len() - 2;
        answer[error_code..error_code + 2].copy_from_slice(&6_i16.to_be_bytes());
        // Three offsets and times follow, then the record errors: an empty array, where 0 would be none at all.
        answer[error_code + 2 + 24] = 1;
        let mut reader = Reader::new(&answer);
        ResponseHeader::decode(&mut reader, ApiKey::Produce, VERSION).expect("a header");
        let response = <produce::Response<'_> as Message<'_>>::decode(&mut reader, VERSION).expect("a response");
        assert_eq!(response.responses[0].partition_responses[0].error_code, 6);

        let requests = Requests::fetch("load", &[(3, 9)], 100);
        let start = &requests.bodies[0].answer_start;
        assert_eq!(start[start.len() - 6..], [0, 0, 0, 3, 0, 0]);
    }
}
