//! The few requests around a load: topics, and the first record.

mod group;

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use net::api::{create_topics, delete_topics, incremental_alter_configs, init_producer_id, list_offsets, metadata};
use net::{ApiKey, Message, Reader, Request, RequestHeader, ResponseHeader};
use storage::builder::{BatchBuilder, NewRecord, Options};

use crate::error::Error;
use crate::request::{Acknowledged, ProduceFrames};
use crate::workload::Acks;

pub(crate) use self::group::Membership;

/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// How long a server may take until it accepts connections and a topic can be written.
const READY_WAIT: Duration = Duration::from_secs(180);

/// Time between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

const CREATE_TOPICS_VERSION: i16 = 7;
const DELETE_TOPICS_VERSION: i16 = 5;
const ALTER_CONFIGS_VERSION: i16 = 1;
const METADATA_VERSION: i16 = 9;
const LIST_OFFSETS_VERSION: i16 = 7;
const INIT_PRODUCER_ID_VERSION: i16 = 4;

/// Kafka's numbers of a resource that is a topic, and of setting a configuration.
const TOPIC_RESOURCE: i8 = 2;
const SET: i8 = 0;

const UNKNOWN_TOPIC: i16 = 3;
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// Kafka's name for the end of a partition.
const LATEST: i64 = -1;

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
    /// If it does not within three minutes.
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

    /// Makes a topic, if it is not there; says whether it was not.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<bool, Error> {
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
            0 => Ok(true),
            TOPIC_ALREADY_EXISTS => Ok(false),
            code => Err(Error::Refused { api: ApiKey::CreateTopics, code }),
        }
    }

    /// Removes a topic, if it is there.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn delete_topic(&mut self, name: &str) -> Result<(), Error> {
        let request = delete_topics::Request {
            topics: Vec::new(),
            topic_names: vec![name.to_owned().into()],
            timeout_ms: ANSWER_WAIT.as_millis() as i32,
        };
        let frame = self.call(&request, DELETE_TOPICS_VERSION)?;
        let response: delete_topics::Response<'_> = decode(&frame, DELETE_TOPICS_VERSION)?;
        match response.responses.first().map_or(0, |topic| topic.error_code) {
            0 | UNKNOWN_TOPIC => Ok(()),
            code => Err(Error::Refused { api: ApiKey::DeleteTopics, code }),
        }
    }

    /// Sets configurations of a topic.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn alter_topic(&mut self, name: &str, configs: &[(&str, &str)]) -> Result<(), Error> {
        let config = |&(name, value): &(&str, &str)| incremental_alter_configs::RequestResourcesConfigs {
            name: name.to_owned().into(),
            config_operation: SET,
            value: Some(value.to_owned().into()),
        };
        let request = incremental_alter_configs::Request {
            resources: vec![incremental_alter_configs::RequestResources {
                resource_type: TOPIC_RESOURCE,
                resource_name: name.to_owned().into(),
                configs: configs.iter().map(config).collect(),
            }],
            validate_only: false,
        };
        let frame = self.call(&request, ALTER_CONFIGS_VERSION)?;
        let response: incremental_alter_configs::Response<'_> = decode(&frame, ALTER_CONFIGS_VERSION)?;
        match response.responses.first().map_or(0, |topic| topic.error_code) {
            0 => Ok(()),
            code => Err(Error::Refused { api: ApiKey::IncrementalAlterConfigs, code }),
        }
    }

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// If the broker does not say.
    pub fn partitions(&mut self, topic: &str) -> Result<i32, Error> {
        let request = metadata::Request {
            topics: Some(vec![metadata::RequestTopics { name: Some(topic.to_owned().into()), ..Default::default() }]),
            ..Default::default()
        };
        let frame = self.call(&request, METADATA_VERSION)?;
        let response: metadata::Response<'_> = decode(&frame, METADATA_VERSION)?;
        Ok(response.topics.first().map_or(0, |topic| topic.partitions.len() as i32))
    }

    /// Waits until every partition of the topic is served, and gives back where each ends.
    ///
    /// # Errors
    /// If the broker goes on refusing.
    pub fn end_offsets(&mut self, topic: &str, partitions: i32) -> Result<Vec<i64>, Error> {
        let partition = |partition_index| list_offsets::RequestTopicsPartitions {
            partition_index,
            current_leader_epoch: -1,
            timestamp: LATEST,
        };
        let request = list_offsets::Request {
            replica_id: -1,
            isolation_level: 0,
            topics: vec![list_offsets::RequestTopics {
                name: topic.to_owned().into(),
                partitions: (0..partitions).map(partition).collect(),
            }],
            timeout_ms: 0,
        };
        let deadline = Instant::now() + READY_WAIT;
        loop {
            let frame = self.call(&request, LIST_OFFSETS_VERSION)?;
            let response: list_offsets::Response<'_> = decode(&frame, LIST_OFFSETS_VERSION)?;
            let mut offsets = vec![0; partitions as usize];
            let mut code = 0;
            for answer in response.topics.iter().flat_map(|topic| &topic.partitions) {
                code = if code == 0 { answer.error_code } else { code };
                if let Some(offset) = offsets.get_mut(answer.partition_index as usize) {
                    *offset = answer.offset;
                }
            }
            if code == 0 {
                return Ok(offsets);
            }
            if Instant::now() > deadline {
                return Err(Error::Refused { api: ApiKey::ListOffsets, code });
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    /// The id and the epoch of a new idempotent producer.
    ///
    /// # Errors
    /// If the broker goes on refusing.
    pub fn producer_id(&mut self) -> Result<(i64, i16), Error> {
        let request = init_producer_id::Request {
            transactional_id: None,
            transaction_timeout_ms: ANSWER_WAIT.as_millis() as i32,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let deadline = Instant::now() + READY_WAIT;
        loop {
            let frame = self.call(&request, INIT_PRODUCER_ID_VERSION)?;
            let response: init_producer_id::Response = decode(&frame, INIT_PRODUCER_ID_VERSION)?;
            match response.error_code {
                0 => return Ok((response.producer_id, response.producer_epoch)),
                code if Instant::now() > deadline => {
                    return Err(Error::Refused { api: ApiKey::InitProducerId, code });
                }
                _ => std::thread::sleep(RETRY_PAUSE),
            }
        }
    }

    /// Has one record acknowledged, trying again while the topic is not yet served.
    ///
    /// # Errors
    /// If the broker goes on refusing.
    pub fn produce(&mut self, topic: &str, partition: i32, wall_ms: i64) -> Result<(), Error> {
        let mut batch = BatchBuilder::new(Options::default());
        let record = NewRecord { timestamp: wall_ms, key: None, value: Some(&[b'x'; 100]), headers: &[] };
        batch.append(&record).expect("one small record");
        let frames = ProduceFrames::new(topic, Acks::All);
        let batch = batch.finish();
        let mut frame = Vec::new();
        frames.put_start(&mut frame, 1, partition, batch.len());
        frame.extend_from_slice(&batch);
        frames.put_end(&mut frame);
        let deadline = Instant::now() + READY_WAIT;
        loop {
            let answer = self.exchange(&frame)?;
            match frames.check(&answer, 1, partition) {
                Ok(Acknowledged::Stored) => return Ok(()),
                Ok(Acknowledged::Refused) | Err(Error::Refused { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(RETRY_PAUSE);
                }
                Ok(Acknowledged::Refused) => return Err(Error::Refused { api: ApiKey::Produce, code: 56 }),
                Err(error) => return Err(error),
            }
        }
    }

    fn call<'q, R: Request<'q>>(&mut self, request: &R, version: i16) -> Result<Vec<u8>, Error> {
        let mut frame = vec![0; 4];
        RequestHeader { key: R::KEY, version, correlation_id: 1, client_id: Some("bench".into()) }.encode(&mut frame);
        request.encode(&mut frame, version);
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.exchange(&frame)
    }

    /// Sends a request and waits for its answer; both frames whole, the answer without its length.
    fn exchange(&mut self, frame: &[u8]) -> Result<Vec<u8>, Error> {
        let mut exchange = || {
            self.stream.write_all(frame)?;
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
