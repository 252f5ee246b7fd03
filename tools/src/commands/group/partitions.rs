//! Which partitions a command is about: `--topic T`, `--topic T:0,3`, `--all-topics`.

use std::collections::BTreeSet;

use crate::client::admin::TopicPartition;
use crate::client::{Cluster, Error, Result};
use crate::commands::failure::{Failure, Outcome};

/// A topic, or some of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    topic: String,
    /// All of them if empty.
    partitions: Vec<i32>,
}

/// The options `--topic` and `--all-topics`.
#[derive(Debug, clap::Args)]
pub(super) struct PartitionArgs {
    /// A topic, or some of its partitions; repeat for several
    #[arg(long, value_name = "TOPIC[:P,...]", value_parser = chosen)]
    topic: Vec<Chosen>,

    /// All partitions that the group has committed an offset of
    #[arg(long, conflicts_with = "topic")]
    all_topics: bool,
}

/// Reads `TOPIC` or `TOPIC:P,...`. No topic's name has a colon.
fn chosen(text: &str) -> std::result::Result<Chosen, String> {
    const FORM: &str = "expected TOPIC or TOPIC:PARTITION,..., such as orders:0,3";
    let (topic, partitions) = match text.split_once(':') {
        None => (text, Vec::new()),
        Some((topic, numbers)) => {
            let number = |text: &str| text.trim().parse::<i32>().ok().filter(|&number| number >= 0);
            let partitions: Option<Vec<i32>> = numbers.split(',').map(number).collect();
            (topic, partitions.ok_or(FORM)?)
        }
    };
    if topic.is_empty() {
        return Err(FORM.to_owned());
    }
    Ok(Chosen { topic: topic.to_owned(), partitions })
}

impl PartitionArgs {
    /// Whether nothing was chosen.
    pub(super) fn is_empty(&self) -> bool {
        self.topic.is_empty() && !self.all_topics
    }

    /// The partitions that were chosen, all of which exist; `committed` are those that the group has offsets of.
    pub(super) fn resolve(
        &self,
        cluster: &mut Cluster,
        committed: impl Iterator<Item = TopicPartition>,
    ) -> Outcome<BTreeSet<TopicPartition>> {
        if self.is_empty() {
            let message = "which partitions? Name some with --topic TOPIC[:P,...], or all with --all-topics";
            return Err(Failure::Usage(message.to_owned()));
        }
        if self.all_topics {
            return Ok(committed.collect());
        }
        let names: Vec<String> = self.topic.iter().map(|chosen| chosen.topic.clone()).collect();
        cluster.require_topics(&names)?;
        let mut all = BTreeSet::new();
        for chosen in &self.topic {
            all.extend(chosen.resolve(cluster)?);
        }
        Ok(all)
    }
}

impl Chosen {
    fn resolve(&self, cluster: &Cluster) -> Result<Vec<TopicPartition>> {
        let topic = cluster
            .topic(&self.topic)
            .ok_or_else(|| Error::NoTopic { topic: self.topic.clone(), similar: Vec::new() })?;
        for &wanted in &self.partitions {
            if topic.partition(wanted).is_none() {
                let partitions = topic.partitions.len();
                return Err(Error::NoPartition { topic: self.topic.clone(), partition: wanted, partitions });
            }
        }
        let existing = topic.partitions.iter().map(|partition| partition.index);
        let named = existing.filter(|index| self.partitions.is_empty() || self.partitions.contains(index));
        Ok(named.map(|index| TopicPartition { topic: self.topic.as_str().into(), index }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_with_or_without_partitions() {
        let of = |topic: &str, partitions: &[i32]| Chosen { topic: topic.to_owned(), partitions: partitions.to_vec() };
        assert_eq!(chosen("orders"), Ok(of("orders", &[])));
        assert_eq!(chosen("a.b_c:0,12"), Ok(of("a.b_c", &[0, 12])));
        for wrong in ["", ":1", "orders:", "orders:x", "orders:-1", "orders:1,", "orders:1:2"] {
            assert!(chosen(wrong).is_err(), "{wrong}");
        }
    }
}
