//! DeleteRecords, DescribeProducers and DescribeLogDirs: from the request to the partitions to ask, and from their facts
//! to the response.

use std::collections::{BTreeMap, BTreeSet};

use net::api::{delete_records, describe_log_dirs, describe_producers};
use net::{ApiKey, DecodeError, Message as _, Uuid};
use storage::LogId;
use storage::io::{DataDirectory, Volume};

use super::Shard;
use super::connections::Responder;
use super::partition_admin::{Deed, Fact, Wanted};
use crate::directory::Opened;
use crate::error_code::ErrorCode;
use crate::metadata::{Image, Topic, names};

/// The least time that a deletion gets to become durable. Kafka raises the offset while it handles the request, so
/// that clients' timeouts, 0 too, are enough for it.
const DELETE_WAIT_MS_MIN: u64 = 5_000;

/// How long a client waits for facts that need no change.
const FACTS_WAIT_MS: u64 = 30_000;

/// A client's request, with its response as far as it is known.
#[derive(Debug)]
pub(crate) enum Front {
    DeleteRecords {
        responder: Responder,
        version: i16,
        response: Box<delete_records::Response<'static>>,
    },
    Producers {
        responder: Responder,
        version: i16,
        response: Box<describe_producers::Response<'static>>,
    },
    /// Topics with their partitions, in the order in which they were asked.
    LogDirs {
        responder: Responder,
        version: i16,
        asked: Vec<(String, Vec<i32>)>,
    },
}

type Facts<'a> = &'a mut dyn Iterator<Item = Result<Fact, ErrorCode>>;

impl Shard {
    /// Handles a request that the owners of partitions answer. A decoding error closes the connection.
    pub(super) fn partition_owners_request(
        &mut self,
        responder: Responder,
        key: ApiKey,
        version: i16,
        body: &[u8],
    ) -> Result<(), DecodeError> {
        match key {
            ApiKey::DeleteRecords => {
                let request = delete_records::Request::from_prefix(body, version)?;
                self.delete_records(responder, version, &request);
            }
            ApiKey::DescribeProducers => {
                let request = describe_producers::Request::from_prefix(body, version)?;
                self.describe_producers(responder, version, &request);
            }
            ApiKey::DescribeLogDirs => {
                let request = describe_log_dirs::Request::from_prefix(body, version)?;
                self.describe_log_dirs(responder, version, &request);
            }
            other => unreachable!("{other} is not answered by the owners of partitions"),
        }
        Ok(())
    }

    /// Of a partition that is named twice, the last offset counts, as in Kafka.
    fn delete_records(&mut self, responder: Responder, version: i16, request: &delete_records::Request<'_>) {
        let mut offsets: BTreeMap<&str, BTreeMap<i32, i64>> = BTreeMap::new();
        for topic in &request.topics {
            for partition in &topic.partitions {
                offsets.entry(&topic.name).or_default().insert(partition.partition_index, partition.offset);
            }
        }
        let mut wanted = Vec::new();
        let topics = offsets.iter().map(|(&name, partitions)| {
            let partition = |(&partition_index, &offset): (&i32, &i64)| {
                wanted.push(deletion(&self.image, name, partition_index, offset));
                delete_records::ResponseTopicsPartitions { partition_index, ..Default::default() }
            };
            let partitions = partitions.iter().map(partition).collect();
            delete_records::ResponseTopics { name: name.to_owned().into(), partitions }
        });
        let response = delete_records::Response { topics: topics.collect(), ..Default::default() };
        let wait_ms = u64::try_from(request.timeout_ms).unwrap_or(0).max(DELETE_WAIT_MS_MIN);
        let front = Front::DeleteRecords { responder, version, response: Box::new(response) };
        self.ask_partitions(front, wanted, false, wait_ms);
    }

    fn describe_producers(&mut self, responder: Responder, version: i16, request: &describe_producers::Request<'_>) {
        let mut wanted = Vec::new();
        let topics = request.topics.iter().map(|topic| {
            let partition = |&partition_index: &i32| {
                wanted.push(place(&self.image, &topic.name, partition_index, Deed::Producers).map_err(|error| {
                    match names::check(&topic.name) {
                        Ok(()) => error,
                        Err(_) => ErrorCode::InvalidTopicException,
                    }
                }));
                describe_producers::ResponseTopicsPartitions { partition_index, ..Default::default() }
            };
            let partitions = topic.partition_indexes.iter().map(partition).collect();
            describe_producers::ResponseTopics { name: topic.name.clone().into_owned().into(), partitions }
        });
        let response = describe_producers::Response { topics: topics.collect(), ..Default::default() };
        let front = Front::Producers { responder, version, response: Box::new(response) };
        self.ask_partitions(front, wanted, false, FACTS_WAIT_MS);
    }

    /// What is unknown is left out, as in Kafka. Null topics are all topics.
    fn describe_log_dirs(&mut self, responder: Responder, version: i16, request: &describe_log_dirs::Request<'_>) {
        let asked: Vec<(String, Vec<i32>)> = match &request.topics {
            None => self.image.topics().map(|topic| (topic.name.to_string(), (0..count(topic)).collect())).collect(),
            Some(topics) => known(&self.image, topics),
        };
        let size = |name: &str, index: i32| place(&self.image, name, index, Deed::Size);
        let wanted = asked.iter().flat_map(|(name, indexes)| indexes.iter().map(|&index| size(name, index))).collect();
        self.ask_partitions(Front::LogDirs { responder, version, asked }, wanted, true, FACTS_WAIT_MS);
    }

    /// Answers a client with the facts of its parts, in their order.
    pub(super) fn answer_front(
        &mut self,
        front: Front,
        mut facts: impl Iterator<Item = Result<Fact, ErrorCode>>,
        volumes: &[Option<Volume>],
    ) {
        match front {
            Front::DeleteRecords { responder, version, mut response } => {
                fill_low_watermarks(&mut response, &mut facts);
                self.respond_message(responder, version, response.as_ref());
            }
            Front::Producers { responder, version, mut response } => {
                fill_producers(&mut response, &mut facts);
                self.respond_message(responder, version, response.as_ref());
            }
            Front::LogDirs { responder, version, asked } => {
                let mut placed = sizes(&self.image, asked, &mut facts);
                let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
                let result = |(directory, it): (DataDirectory, &Opened)| {
                    let volume = volumes[directory.index()];
                    let (error, topics) = match &it.offline {
                        None => (ErrorCode::None, placed.remove(&it.id).unwrap_or_default()),
                        Some(_) => (ErrorCode::KafkaStorageError, Vec::new()),
                    };
                    describe_log_dirs::ResponseResults {
                        error_code: error.code(),
                        log_dir: it.path.to_string_lossy().into_owned().into(),
                        topics,
                        total_bytes: volume.map_or(-1, |volume| bytes(volume.total_bytes)),
                        usable_bytes: volume.map_or(-1, |volume| bytes(volume.usable_bytes)),
                        ..Default::default()
                    }
                };
                let results = self.directories.iter().map(result).collect();
                let response = describe_log_dirs::Response { results, ..Default::default() };
                self.respond_message(responder, version, &response);
            }
        }
    }
}

fn place(image: &Image, topic: &str, partition: i32, deed: Deed) -> Wanted {
    let placed = image.topic(topic).and_then(|topic| topic.partition(partition));
    let placed = placed.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    Ok((placed.shard.into(), LogId(placed.log_id), deed))
}

/// Records are not deleted from Kafka's own topics, nor where compaction alone decides what goes.
fn deletion(image: &Image, name: &str, partition: i32, offset: i64) -> Wanted {
    let wanted = place(image, name, partition, Deed::DeleteBefore(offset))?;
    let topic = image.topic(name).expect("it was just found");
    if topic.internal {
        return Err(ErrorCode::InvalidTopicException);
    }
    if topic.config.cleanup.compact && !topic.config.cleanup.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    Ok(wanted)
}

fn count(topic: &Topic) -> i32 {
    i32::try_from(topic.partitions.len()).expect("partitions are counted in 31 bits")
}

/// The partitions that are there of those that were asked for, each once.
fn known(image: &Image, topics: &[describe_log_dirs::RequestTopics<'_>]) -> Vec<(String, Vec<i32>)> {
    let mut asked: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for topic in topics {
        let Some(found) = image.topic(&topic.topic) else { continue };
        for &index in topic.partitions.iter().filter(|&&index| found.partition(index).is_some()) {
            asked.entry(&topic.topic).or_default().insert(index);
        }
    }
    asked.into_iter().map(|(name, indexes)| (name.to_owned(), indexes.into_iter().collect())).collect()
}

fn fill_low_watermarks(response: &mut delete_records::Response<'_>, facts: Facts<'_>) {
    for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        let (error, low_watermark) = match facts.next().expect("one for each partition") {
            Ok(Fact::LowWatermark(offset)) => (ErrorCode::None, offset),
            Ok(other) => unreachable!("a deletion is answered by a low watermark, not {other:?}"),
            Err(error) => (error, -1),
        };
        (partition.error_code, partition.low_watermark) = (error.code(), low_watermark);
    }
}

fn fill_producers(response: &mut describe_producers::Response<'_>, facts: Facts<'_>) {
    for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        match facts.next().expect("one for each partition") {
            Ok(Fact::Producers(producers)) => {
                let producer = |active: storage::producers::Active| {
                    describe_producers::ResponseTopicsPartitionsActiveProducers {
                        producer_id: active.id,
                        producer_epoch: active.epoch.into(),
                        last_sequence: active.last_sequence,
                        last_timestamp: active.last_timestamp,
                        // No coordinator of transactions has written a marker yet.
                        coordinator_epoch: -1,
                        current_txn_start_offset: active.transaction_start_offset.unwrap_or(-1),
                    }
                };
                partition.active_producers = producers.into_iter().map(producer).collect();
            }
            Ok(other) => unreachable!("who asks for producers is told of them, not {other:?}"),
            Err(error) => {
                partition.error_code = error.code();
                partition.error_message = Some(error.message().into());
            }
        }
    }
}

/// Topics with their partitions, by data directory.
type Placed = BTreeMap<Uuid, Vec<describe_log_dirs::ResponseResultsTopics<'static>>>;

/// What its owner did not tell is left out.
fn sizes(image: &Image, asked: Vec<(String, Vec<i32>)>, facts: Facts<'_>) -> Placed {
    let mut all = Placed::new();
    for (name, indexes) in asked {
        let mut directories: BTreeMap<Uuid, Vec<_>> = BTreeMap::new();
        for partition_index in indexes {
            let size = match facts.next().expect("one for each partition") {
                Ok(Fact::Size(bytes)) => i64::try_from(bytes).unwrap_or(i64::MAX),
                Ok(other) => unreachable!("who asks for a size is told one, not {other:?}"),
                Err(_) => continue,
            };
            let Some(partition) = image.topic(&name).and_then(|topic| topic.partition(partition_index)) else {
                continue;
            };
            directories.entry(partition.directory).or_default().push(
                describe_log_dirs::ResponseResultsTopicsPartitions {
                    partition_index,
                    partition_size: size,
                    offset_lag: 0,
                    is_future_key: false,
                },
            );
        }
        for (directory, partitions) in directories {
            let topic = describe_log_dirs::ResponseResultsTopics { name: name.clone().into(), partitions };
            all.entry(directory).or_default().push(topic);
        }
    }
    all
}
