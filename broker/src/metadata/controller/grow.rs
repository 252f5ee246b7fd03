//! Giving a topic more partitions (KIP-195).

use std::collections::BTreeMap;
use std::fmt;

use net::Uuid;

use super::{Change, Controller, apply, new_partitions};
use crate::metadata::create::REQUEST_PARTITIONS_MAX;
use crate::metadata::image::{Image, Topic};
use crate::metadata::names;
use crate::metadata::record::Record;

/// A topic that is to have more partitions, as a client asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPartitions<'a> {
    /// The topic.
    pub topic: &'a str,
    /// How many partitions it is to have, those it has included.
    pub count: i32,
    /// The replicas of each new partition, where the client chooses them itself.
    pub assignments: Option<Vec<&'a [i32]>>,
}

/// Why a topic does not get more partitions. The text is for the client's user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotGrown {
    /// There is no topic of that name.
    UnknownTopic {
        /// The name.
        name: String,
    },
    /// The request names the topic more than once.
    Duplicate {
        /// The name.
        name: String,
    },
    /// It has as many already, or more: partitions are never taken away.
    NoIncrease {
        /// The topic.
        name: String,
        /// How many it has.
        has: usize,
        /// How many were asked for.
        asked: i32,
    },
    /// The request asks for more than [`REQUEST_PARTITIONS_MAX`] new partitions.
    TooMany {
        /// How many up to this topic.
        asked: u64,
    },
    /// The number of partitions says where the offsets of every group lie.
    GroupsWouldMove,
    /// The chosen replicas are impossible.
    Assignment(String),
}

impl fmt::Display for NotGrown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotGrown::UnknownTopic { name } => write!(f, "There is no topic \"{name}\"."),
            NotGrown::Duplicate { name } => write!(f, "Topic \"{name}\" is in the request more than once."),
            NotGrown::NoIncrease { name, has, asked } if i32::try_from(*has) == Ok(*asked) => {
                write!(f, "Topic \"{name}\" has {} already.", partitions(*has))
            }
            NotGrown::NoIncrease { name, has, asked } => write!(
                f,
                "Topic \"{name}\" has {}, and {asked} would be fewer: partitions cannot be taken away. \
                 Create a smaller topic and copy the records.",
                partitions(*has)
            ),
            NotGrown::TooMany { asked } => write!(
                f,
                "The request asks for {asked} new partitions; one request creates at most {REQUEST_PARTITIONS_MAX}. \
                 Split it."
            ),
            NotGrown::GroupsWouldMove => write!(
                f,
                "Topic \"{}\" keeps its number of partitions: with another one, the committed offsets of most groups \
                 would be looked for in the wrong partition.",
                names::CONSUMER_OFFSETS
            ),
            NotGrown::Assignment(why) => f.write_str(why),
        }
    }
}

/// `1 partition`, `2 partitions`.
fn partitions(count: usize) -> String {
    format!("{count} partition{}", if count == 1 { "" } else { "s" })
}

/// What became of a wish for more partitions: one result for each topic, in the order of the request.
#[derive(Debug, Clone)]
pub struct CreatePartitions {
    /// A result for each topic; one that came twice has one.
    pub results: Vec<(String, Result<(), NotGrown>)>,
    /// What to append, if anything was created.
    pub change: Option<Change>,
}

impl Controller {
    /// Gives topics more partitions, each on its own: one that is refused does not keep the others from growing.
    pub fn create_partitions(&mut self, wanted: &[NewPartitions<'_>], validate_only: bool) -> CreatePartitions {
        let mut times: BTreeMap<&str, u32> = BTreeMap::new();
        for topic in wanted {
            *times.entry(topic.topic).or_default() += 1;
        }
        let mut image = Image::clone(&self.newest);
        let (mut records, mut results) = (Vec::new(), Vec::with_capacity(times.len()));
        let mut created = 0;
        for topic in wanted {
            let result = match times.insert(topic.topic, 0) {
                Some(0) => continue,
                Some(1) => grow(&mut image, topic, created).map(|(record, topic_id, added)| {
                    records.push(record);
                    created += added as u64;
                    let count = image.topic_by_id(topic_id).expect("it has grown").partitions.len();
                    records.extend(self.place_in_directories(&mut image, topic_id, count - added));
                }),
                _ => Err(NotGrown::Duplicate { name: topic.topic.to_owned() }),
            };
            results.push((topic.topic.to_owned(), result));
        }
        let stored = !validate_only && !records.is_empty();
        CreatePartitions { results, change: stored.then(|| self.accept(records, image)) }
    }
}

/// Checks a wish and applies it to the image, in the order in which Kafka checks. `created` partitions are created by
/// what stands before it in the request.
fn grow(image: &mut Image, wanted: &NewPartitions<'_>, created: u64) -> Result<(Record, Uuid, usize), NotGrown> {
    let name = || wanted.topic.to_owned();
    let topic = image.topic(wanted.topic).ok_or_else(|| NotGrown::UnknownTopic { name: name() })?;
    let has = topic.partitions.len();
    let added = usize::try_from(wanted.count).ok().and_then(|count| count.checked_sub(has)).filter(|&added| added > 0);
    let added = added.ok_or_else(|| NotGrown::NoIncrease { name: name(), has, asked: wanted.count })?;
    if topic.internal && wanted.topic == names::CONSUMER_OFFSETS {
        return Err(NotGrown::GroupsWouldMove);
    }
    let asked = created + added as u64;
    let assigned =
        wanted.assignments.as_deref().map(|chosen| check_assignments(image, topic, chosen, added)).transpose()?;
    if asked > REQUEST_PARTITIONS_MAX as u64 {
        return Err(NotGrown::TooMany { asked });
    }
    let replicas = assigned.unwrap_or_else(|| vec![image.broker_ids().to_vec(); added]);
    let partitions = new_partitions(image.next_log_id(), replicas);
    let topic_id = topic.id;
    let record = Record::PartitionsAdded { topic_id, partitions };
    apply(image, &record);
    Ok((record, topic_id, added))
}

/// The replicas of each new partition, where the client chose them.
fn check_assignments(
    image: &Image,
    topic: &Topic,
    assignments: &[&[i32]],
    added: usize,
) -> Result<Vec<Vec<i32>>, NotGrown> {
    if assignments.len() != added {
        return Err(NotGrown::Assignment(format!(
            "The request adds {} and assigns replicas to {}.",
            partitions(added),
            partitions(assignments.len())
        )));
    }
    let size = topic.partitions[0].replicas.len();
    for (assigned, partition) in assignments.iter().zip((0..).skip(topic.partitions.len())) {
        image.check_replicas(partition, assigned, size).map_err(NotGrown::Assignment)?;
    }
    Ok(assignments.iter().map(|replicas| replicas.to_vec()).collect())
}
