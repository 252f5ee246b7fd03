//! From the shards' logs to one line a topic, for a bounded number of topics.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use storage::LogId;

use crate::metadata::{Image, Topic};
use crate::shard::metrics::Moved;
use crate::shard::report::Report;

/// Topics with samples of their own: a label's values are kept by the one who scrapes, each as a series. They are the
/// oldest ones, so that a new topic does not move another one into the rest.
pub(super) const TOPICS_MAX: usize = 200;

/// The label of all further topics together. A topic of this name is among them.
pub(super) const OTHER: &str = "other";

/// A topic, or several, summed up over partitions and shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    pub(super) partitions: usize,
    pub(super) produced: Moved,
    pub(super) fetched: Moved,
    pub(super) size_bytes: u64,
    pub(super) start_offsets: u64,
    pub(super) high_watermarks: u64,
}

/// The sums of the labelled topics, and of the others if there are any.
pub(super) fn sums(image: &Image, reports: &[&Report]) -> BTreeMap<Arc<str>, Sums> {
    let mut topics: Vec<&Arc<Topic>> = image.topics().filter(|topic| &*topic.name != OTHER).collect();
    topics.sort_by_key(|topic| (topic.created_ms, Arc::clone(&topic.name)));
    topics.truncate(TOPICS_MAX);
    let labelled: FxHashSet<&str> = topics.iter().map(|topic| &*topic.name).collect();
    let other: Arc<str> = OTHER.into();
    let mut labels: FxHashMap<LogId, &Arc<str>> = FxHashMap::default();
    for topic in image.topics() {
        let label = if labelled.contains(&*topic.name) { &topic.name } else { &other };
        labels.extend(topic.partitions.iter().map(|partition| (LogId(partition.log_id), label)));
    }
    let mut sums: BTreeMap<Arc<str>, Sums> = BTreeMap::new();
    for report in reports {
        for log in &report.logs {
            let Some(&label) = labels.get(&log.log) else { continue };
            let sum = sums.entry(Arc::clone(label)).or_default();
            sum.partitions += 1;
            sum.produced.add(log.produced);
            sum.size_bytes += log.size_bytes;
            sum.start_offsets += log.start_offset.unsigned_abs();
            sum.high_watermarks += log.high_watermark.unsigned_abs();
        }
        for (log, moved) in &report.fetched {
            let Some(&label) = labels.get(log) else { continue };
            sums.entry(Arc::clone(label)).or_default().fetched.add(*moved);
        }
    }
    sums
}
