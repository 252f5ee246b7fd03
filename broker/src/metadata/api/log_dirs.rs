//! AlterReplicaLogDirs (key 34).

use std::collections::BTreeMap;

use net::api::alter_replica_log_dirs::{Request, Response, ResponseResults, ResponseResultsPartitions};

use super::Context;
use crate::error_code::ErrorCode;

/// Answers an AlterReplicaLogDirs request, versions 1 and 2 (KIP-113). A partition stays in the data directory where it
/// was created: to move it to another one is refused with 42, since the response has no room for a message. Of a
/// partition that is named twice, the last directory counts.
pub fn alter_replica_log_dirs(request: &Request<'_>, context: &Context<'_>) -> Response<'static> {
    let mut results: BTreeMap<&str, BTreeMap<i32, ErrorCode>> = BTreeMap::new();
    for directory in &request.dirs {
        let wanted = context.directories.iter().find(|ours| ours.path.as_os_str() == &*directory.path);
        for topic in &directory.topics {
            for &partition in &topic.partitions {
                let found = context.image.topic(&topic.name).and_then(|topic| topic.partition(partition));
                let error = match (wanted, found) {
                    (None, _) => ErrorCode::LogDirNotFound,
                    (Some(_), None) => ErrorCode::UnknownTopicOrPartition,
                    (Some(wanted), Some(_)) if !wanted.is_online() => ErrorCode::KafkaStorageError,
                    (Some(wanted), Some(found)) if found.directory == wanted.id => ErrorCode::None,
                    (Some(_), Some(_)) => ErrorCode::InvalidRequest,
                };
                results.entry(&topic.name).or_default().insert(partition, error);
            }
        }
    }
    let results = results.into_iter().map(|(name, partitions)| ResponseResults {
        topic_name: name.to_owned().into(),
        partitions: partitions
            .into_iter()
            .map(|(partition_index, error)| ResponseResultsPartitions { partition_index, error_code: error.code() })
            .collect(),
    });
    Response { results: results.collect(), ..Response::default() }
}
