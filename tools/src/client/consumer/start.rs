use std::collections::BTreeMap;

use crate::client::admin::{self, TopicPartition};
use crate::client::cluster::Cluster;
use crate::client::error::{Error, Result};
use crate::client::settings::Isolation;

/// Where to start in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first record there is.
    Beginning,
    /// After the last record there is.
    End,
    /// At this offset.
    Offset(i64),
    /// So many records before the end.
    Last(i64),
    /// At the first record with this timestamp, in ms, or a later one.
    Timestamp(i64),
}

/// The offsets where partitions start.
///
/// # Errors
/// If an offset lies outside its partition, or the leaders cannot be asked.
pub fn resolve(
    cluster: &mut Cluster,
    partitions: &[TopicPartition],
    start: Start,
    isolation: Isolation,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let mut list = |timestamp| admin::list_offsets(cluster, partitions, timestamp, isolation);
    match start {
        Start::Beginning => list(admin::EARLIEST),
        Start::End => list(admin::LATEST),
        Start::Timestamp(timestamp) => {
            let (found, ends) = (list(timestamp)?, list(admin::LATEST)?);
            Ok(found
                .into_iter()
                .map(|(p, offset)| if offset < 0 { (p.clone(), ends[&p]) } else { (p, offset) })
                .collect())
        }
        Start::Last(count) => {
            let (beginnings, ends) = (list(admin::EARLIEST)?, list(admin::LATEST)?);
            Ok(ends.into_iter().map(|(p, end)| (p.clone(), (end - count).max(beginnings[&p]))).collect())
        }
        Start::Offset(offset) => {
            let (beginnings, ends) = (list(admin::EARLIEST)?, list(admin::LATEST)?);
            for partition in partitions {
                let (beginning, end) = (beginnings[partition], ends[partition]);
                if !(beginning..=end).contains(&offset) {
                    return Err(Error::Setting {
                        message: format!(
                            "{partition} has no offset {offset}: it begins at {beginning} and ends at {end}"
                        ),
                    });
                }
            }
            Ok(partitions.iter().map(|partition| (partition.clone(), offset)).collect())
        }
    }
}
