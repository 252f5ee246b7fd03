//! The frames of the load: what is the same in all requests is encoded once.
//!
//! ```text
//! produce: | length 4 | key 2, version 2 | correlation id 4 | start: client id … name | partition 4 | length of the
//!          batch, 1 to 5 | batch | end |
//! answer:  | length 4 | correlation id 4 | start: … name, count | partition 4 | error code 2 | base offset 8 | …
//! ```
//! Version 12 is the newest that names topics by name: the load needs no ids then.

use std::borrow::Cow;

use net::api::{fetch, produce};
use net::{ApiKey, Message as _, Reader, RequestHeader, ResponseHeader};

use crate::error::Error;
use crate::workload::Acks;

const VERSION: i16 = 12;

/// Bytes of a request before its client id.
const HEAD_BYTES: usize = 12;

/// How long a server may wait for the acknowledgement of others, in ms.
const ACK_WAIT_MS: i32 = 30_000;

/// The longest topic name whose length takes one byte in an answer.
pub(crate) const TOPIC_BYTES_MAX: usize = 126;

/// Kafka's retriable error of a server that cannot store records now.
const STORAGE_ERROR: i16 = 56;

const CLIENT_ID: &str = "bench";

/// An answer to a produce request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// The batch is stored.
    Stored,
    /// The server has no room for it now: a client would send it again.
    Refused,
}

/// Produce requests of one batch each to one topic.
#[derive(Debug)]
pub(crate) struct ProduceFrames {
    /// From the client id to the topic's name.
    start: Vec<u8>,
    /// What follows the batch.
    end: Vec<u8>,
    /// What every answer has between its correlation id and the partition.
    answer_start: Vec<u8>,
    /// Bytes of an answer that reports no error.
    answer_bytes: usize,
}

impl ProduceFrames {
    /// # Panics
    /// If the topic's name is longer than 126 bytes.
    pub(crate) fn new(topic: &str, acks: Acks) -> Self {
        assert!(topic.len() <= TOPIC_BYTES_MAX, "a topic of a workload");
        let mut start = Vec::new();
        header(ApiKey::Produce).encode(&mut start);
        start.drain(..HEAD_BYTES - 4);
        produce_request(topic, acks).encode(&mut start, VERSION);
        // An empty batch, whose length takes one byte, and the tags of partition, topic and request.
        let end = start.split_off(start.len() - 3);
        start.truncate(start.len() - 1 - 4);
        let mut answer = Vec::new();
        ResponseHeader { correlation_id: 0 }.encode(&mut answer, ApiKey::Produce, VERSION);
        produce_response(topic).encode(&mut answer, VERSION);
        // Tags of the header; counts of topics and partitions; name.
        let answer_start = answer[4..4 + 1 + 1 + 1 + topic.len() + 1].to_vec();
        Self { start, end, answer_start, answer_bytes: 4 + answer.len() }
    }

    /// Bytes of an answer on the wire.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    /// Bytes of a request on the wire.
    pub(crate) fn request_bytes(&self, batch_bytes: usize) -> usize {
        HEAD_BYTES + self.start.len() + 4 + uvarint_bytes(batch_bytes as u32 + 1) + batch_bytes + self.end.len()
    }

    /// Appends all of a request before its batch.
    pub(crate) fn put_start(&self, out: &mut Vec<u8>, correlation_id: i32, partition: i32, batch_bytes: usize) {
        let length = (self.request_bytes(batch_bytes) - 4) as i32;
        put_head(out, ApiKey::Produce, length, correlation_id);
        out.extend_from_slice(&self.start);
        out.extend_from_slice(&partition.to_be_bytes());
        put_uvarint(out, batch_bytes as u32 + 1);
    }

    /// Appends all of a request after its batch.
    pub(crate) fn put_end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.end);
    }

    /// Checks the answer to the request, without its length.
    ///
    /// # Errors
    /// If it answers something else, or with an error that a client would not try again.
    pub(crate) fn check(&self, answer: &[u8], correlation_id: i32, partition: i32) -> Result<Acknowledged, Error> {
        let wrong = |what: String| Err(Error::WrongAnswer { api: ApiKey::Produce, what });
        let Some((found, rest)) = answer.split_first_chunk() else { return wrong("it is empty".into()) };
        let found = i32::from_be_bytes(*found);
        if found != correlation_id {
            return wrong(format!("it is to {found} instead of {correlation_id}"));
        }
        let parts = rest.strip_prefix(&self.answer_start[..]).and_then(|rest| {
            let (index, rest) = rest.split_first_chunk()?;
            let (code, _) = rest.split_first_chunk()?;
            Some((i32::from_be_bytes(*index), i16::from_be_bytes(*code)))
        });
        match parts {
            Some((index, 0)) if index == partition => Ok(Acknowledged::Stored),
            Some((index, STORAGE_ERROR)) if index == partition => Ok(Acknowledged::Refused),
            Some((index, code)) if index == partition => Err(Error::Refused { api: ApiKey::Produce, code }),
            _ => wrong(format!("it begins with {:02x?}", &rest[..rest.len().min(64)])),
        }
    }
}

fn produce_request(topic: &str, acks: Acks) -> produce::Request<'_> {
    produce::Request {
        transactional_id: None,
        acks: acks.code(),
        timeout_ms: ACK_WAIT_MS,
        topic_data: vec![produce::RequestTopicData {
            name: topic.into(),
            partition_data: vec![produce::RequestTopicDataPartitionData {
                index: 0,
                records: Some(Cow::Borrowed(&[])),
            }],
            ..Default::default()
        }],
    }
}

fn produce_response(topic: &str) -> produce::Response<'_> {
    produce::Response {
        responses: vec![produce::ResponseResponses {
            name: topic.into(),
            partition_responses: vec![produce::ResponseResponsesPartitionResponses::default()],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// What a fetch asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetch<'a> {
    pub(crate) topic: &'a str,
    /// Bytes at most, of each partition and of all.
    pub(crate) bytes_max: i32,
    /// How long the server may wait for the first byte, in ms.
    pub(crate) wait_ms: i32,
}

impl Fetch<'_> {
    /// Appends a request for records of these partitions from these offsets.
    pub(crate) fn put(&self, out: &mut Vec<u8>, correlation_id: i32, from: impl Iterator<Item = (i32, i64)>) {
        let partition = |(partition, fetch_offset)| fetch::RequestTopicsPartitions {
            partition,
            current_leader_epoch: -1,
            fetch_offset,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: self.bytes_max,
            ..Default::default()
        };
        let request = fetch::Request {
            replica_id: -1,
            max_wait_ms: self.wait_ms,
            min_bytes: 1,
            max_bytes: self.bytes_max,
            session_epoch: -1,
            topics: vec![fetch::RequestTopics {
                topic: self.topic.into(),
                partitions: from.map(partition).collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        RequestHeader { correlation_id, ..header(ApiKey::Fetch) }.encode(out);
        request.encode(out, VERSION);
        let length = (out.len() - start - 4) as i32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// Decodes the answer to a fetch, without its length.
///
/// # Errors
/// If it answers another request or is not an answer.
pub(crate) fn fetched(answer: &[u8], correlation_id: i32) -> Result<fetch::Response<'_>, Error> {
    let undecodable = Error::undecodable;
    let mut reader = Reader::new(answer);
    let header = ResponseHeader::decode(&mut reader, ApiKey::Fetch, VERSION).map_err(undecodable(ApiKey::Fetch))?;
    if header.correlation_id != correlation_id {
        let what = format!("it is to {} instead of {correlation_id}", header.correlation_id);
        return Err(Error::WrongAnswer { api: ApiKey::Fetch, what });
    }
    fetch::Response::from_bytes(&answer[reader.position()..], VERSION).map_err(undecodable(ApiKey::Fetch))
}

fn header(key: ApiKey) -> RequestHeader<'static> {
    RequestHeader { key, version: VERSION, correlation_id: 0, client_id: Some(CLIENT_ID.into()) }
}

fn put_head(out: &mut Vec<u8>, key: ApiKey, length: i32, correlation_id: i32) {
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&length.to_be_bytes());
    head[4..6].copy_from_slice(&(key as i16).to_be_bytes());
    head[6..8].copy_from_slice(&VERSION.to_be_bytes());
    head[8..].copy_from_slice(&correlation_id.to_be_bytes());
    out.extend_from_slice(&head);
}

fn uvarint_bytes(value: u32) -> usize {
    (32 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

fn put_uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_decodes_to_its_batch() {
        let frames = ProduceFrames::new("load", Acks::Leader);
        for batch in [vec![9; 1], vec![9; 126], vec![9; 127], vec![9; 20_000]] {
            let mut frame = Vec::new();
            frames.put_start(&mut frame, 77, 2, batch.len());
            frame.extend_from_slice(&batch);
            frames.put_end(&mut frame);
            assert_eq!(frame.len(), frames.request_bytes(batch.len()));
            assert_eq!(frame[..4], (frame.len() as i32 - 4).to_be_bytes());
            let mut reader = Reader::new(&frame[4..]);
            let header = RequestHeader::decode(&mut reader).expect("a header");
            assert_eq!((header.key, header.version, header.correlation_id), (ApiKey::Produce, VERSION, 77));
            let request = produce::Request::decode(&mut reader, header.version).expect("a request");
            reader.finish().expect("nothing left over");
            let data = &request.topic_data[0].partition_data[0];
            assert_eq!((request.acks, data.index), (1, 2));
            assert_eq!(data.records.as_deref(), Some(&batch[..]));
        }
    }

    #[test]
    fn an_answer_is_compared_with_its_request() {
        let frames = ProduceFrames::new("load", Acks::All);
        let answer = |partition, code| {
            let mut response = produce_response("load");
            response.responses[0].partition_responses[0].index = partition;
            response.responses[0].partition_responses[0].error_code = code;
            let mut bytes = Vec::new();
            ResponseHeader { correlation_id: 5 }.encode(&mut bytes, ApiKey::Produce, VERSION);
            response.encode(&mut bytes, VERSION);
            bytes
        };
        assert_eq!(frames.answer_bytes(), 4 + answer(3, 0).len());
        assert!(matches!(frames.check(&answer(3, 0), 5, 3), Ok(Acknowledged::Stored)));
        assert!(matches!(frames.check(&answer(3, 56), 5, 3), Ok(Acknowledged::Refused)));
        assert!(matches!(frames.check(&answer(3, 6), 5, 3), Err(Error::Refused { code: 6, .. })));
        assert!(matches!(frames.check(&answer(2, 0), 5, 3), Err(Error::WrongAnswer { .. })));
        assert!(matches!(frames.check(&answer(3, 0), 6, 3), Err(Error::WrongAnswer { .. })));
        assert!(matches!(frames.check(&[1], 6, 3), Err(Error::WrongAnswer { .. })));
    }

    #[test]
    fn a_fetch_decodes_to_its_offsets() {
        let mut frame = Vec::new();
        let fetch = Fetch { topic: "load", bytes_max: 1 << 20, wait_ms: 100 };
        fetch.put(&mut frame, 3, [(0, 10), (2, 99)].into_iter());
        let mut reader = Reader::new(&frame[4..]);
        let header = RequestHeader::decode(&mut reader).expect("a header");
        let request = fetch::Request::decode(&mut reader, header.version).expect("a request");
        reader.finish().expect("nothing left over");
        let asked: Vec<_> = request.topics[0].partitions.iter().map(|p| (p.partition, p.fetch_offset)).collect();
        assert_eq!((header.correlation_id, asked), (3, vec![(0, 10), (2, 99)]));
    }
}
