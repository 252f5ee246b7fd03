//! The few requests around a load: topics, and the first record.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use net::api::{create_topics, produce};
use net::{ApiKey, Message, Reader, Request, RequestHeader, ResponseHeader};

use crate::error::Error;
use crate::request::Shape;

/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// How long a server may take until it accepts connections and a topic can be written.
const READY_WAIT: Duration = Duration::from_secs(30);

/// Time between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

const CREATE_TOPICS_VERSION: i16 = 7;
const PRODUCE_VERSION: i16 = 12;
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// A connection with one request at a time.
#[derive(Debug)]
pub struct Admin {
    stream: TcpStream,
    address: SocketAddr,
}

impl Admin {
    /// Connects as soon as the server accepts connections.
    ///
    /// # Errors
    /// If it does not within half a minute.
    pub fn connect(address: SocketAddr) -> Result<Self, Error> {
        let failed = |cause| Error::Connection { address, cause };
        let deadline = Instant::now() + READY_WAIT;
        let stream = loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && Instant::now() < deadline => {
                    std::thread::sleep(RETRY_PAUSE);
                }
                Err(cause) => return Err(failed(cause)),
            }
        };
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(ANSWER_WAIT)).map_err(failed)?;
        Ok(Self { stream, address })
    }

    /// Makes a topic, if it is not there.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<(), Error> {
        let config = |&(name, value): &(&str, &str)| create_topics::RequestTopicsConfigs {
            name: name.to_owned().into(),
            value: Some(value.to_owned().into()),
        };
        let request = create_topics::Request {
            topics: vec![create_topics::RequestTopics {
                name: name.to_owned().into(),
                num_partitions: partitions,
                replication_factor: 1,
                assignments: Vec::new(),
                configs: configs.iter().map(config).collect(),
            }],
            timeout_ms: ANSWER_WAIT.as_millis() as i32,
            validate_only: false,
        };
        let frame = self.call(&request, CREATE_TOPICS_VERSION)?;
        let response: create_topics::Response<'_> = decode(&frame, CREATE_TOPICS_VERSION)?;
        match response.topics.first().map_or(0, |topic| topic.error_code) {
            0 | TOPIC_ALREADY_EXISTS => Ok(()),
            code => Err(Error::Refused { api: ApiKey::CreateTopics, code }),
        }
    }

    /// Has one batch acknowledged, trying again while the topic is not yet served. Gives back its base offset.
    ///
    /// # Errors
    /// If the broker goes on refusing.
    pub fn produce(&mut self, topic: &str, partition: i32, shape: Shape, wall_ms: i64) -> Result<i64, Error> {
        let (batch, _) = shape.batch(wall_ms);
        let request = produce::Request {
            transactional_id: None,
            acks: -1,
            timeout_ms: ANSWER_WAIT.as_millis() as i32,
            topic_data: vec![produce::RequestTopicData {
                name: topic.to_owned().into(),
                partition_data: vec![produce::RequestTopicDataPartitionData {
                    index: partition,
                    records: Some(batch.into()),
                }],
                ..Default::default()
            }],
        };
        let deadline = Instant::now() + READY_WAIT;
        loop {
            let frame = self.call(&request, PRODUCE_VERSION)?;
            let response: produce::Response<'_> = decode(&frame, PRODUCE_VERSION)?;
            let answer = response.responses.first().and_then(|topic| topic.partition_responses.first());
            match answer {
                Some(answer) if answer.error_code == 0 => return Ok(answer.base_offset),
                Some(answer) if Instant::now() > deadline => {
                    return Err(Error::Refused { api: ApiKey::Produce, code: answer.error_code });
                }
                Some(_) => std::thread::sleep(RETRY_PAUSE),
                None => {
                    let what = "it lacks the partition".to_owned();
                    return Err(Error::WrongAnswer { api: ApiKey::Produce, what });
                }
            }
        }
    }

    fn call<'q, R: Request<'q>>(&mut self, request: &R, version: i16) -> Result<Vec<u8>, Error> {
        let mut frame = vec![0; 4];
        RequestHeader { key: R::KEY, version, correlation_id: 1, client_id: Some("bench".into()) }.encode(&mut frame);
        request.encode(&mut frame, version);
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        let mut exchange = || {
            self.stream.write_all(&frame)?;
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let length = u32::from_be_bytes(length) as usize;
            if length > ANSWER_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("an answer of {length} bytes")));
            }
            let mut answer = vec![0; length];
            self.stream.read_exact(&mut answer)?;
            Ok(answer)
        };
        let address = self.address;
        exchange().map_err(|cause| Error::Connection { address, cause })
    }
}

fn decode<'a, M: Message<'a>>(frame: &'a [u8], version: i16) -> Result<M, Error> {
    let mut reader = Reader::new(frame);
    ResponseHeader::decode(&mut reader, M::KEY, version).map_err(Error::undecodable(M::KEY))?;
    M::from_bytes(&frame[reader.position()..], version).map_err(Error::undecodable(M::KEY))
}
