//! What the node has promised: the truth that every answer is held against.
//!
//! ```text
//!            promised: acknowledged, or seen by somebody
//! 0 ──────────────────────────────────────────────► promised_end        may or may not be there
//! | batch | batch | ?     | batch |                |  ?   ?   ?
//! ```
//!
//! A batch that a client sent may be in the log or not until somebody learns its place, from an acknowledgement or by
//! reading it. From then on it stays there, whatever happens to the node.

use std::collections::BTreeMap;

use net::Uuid;
use storage::batch::Batch;

/// A topic of the simulation. A name is never used for a second one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TopicNumber(pub(super) usize);

/// A partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) topic: TopicNumber,
    pub(super) index: i32,
}

/// A batch that was sent at least once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchNumber(usize);

/// What tells one batch from all others, whatever the broker writes into its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fingerprint {
    crc: u32,
    size: usize,
    base_timestamp: i64,
    producer_id: i64,
    base_sequence: i32,
}

impl Fingerprint {
    fn of(batch: &Batch<'_>) -> Self {
        Self {
            crc: batch.crc(),
            size: batch.size_in_bytes(),
            base_timestamp: batch.base_timestamp(),
            producer_id: batch.producer_id(),
            base_sequence: batch.base_sequence(),
        }
    }
}

#[derive(Debug)]
struct Sent {
    place: Place,
    /// Who sent it, and as which of its batches for the partition.
    producer: u32,
    order: u64,
    records: i64,
    base_offset: Option<i64>,
}

/// Whether a topic is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existence {
    /// Its creation was asked for and not answered.
    Asked,
    Exists,
    /// Its deletion was asked for and not answered.
    Doomed,
    Gone,
    /// A power cut may have taken any of its records: nothing is expected of it any more, and nobody uses it.
    Forgotten,
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) id: Uuid,
    pub(super) existence: Existence,
    pub(super) settings: Settings,
    pub(super) partitions: Vec<Partition>,
}

/// How a topic is configured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) retention_ms: i64,
    pub(super) segment_ms: i64,
    /// It was cached at some time: its records survive the end of the process, and no power cut.
    pub(super) is_cached: bool,
}

#[derive(Debug, Default)]
pub(super) struct Partition {
    /// Batches with a known place: base offset, end offset and which.
    placed: BTreeMap<i64, (i64, BatchNumber)>,
    /// Base offsets by producer and order.
    by_order: BTreeMap<(u32, u64), i64>,
    /// The highest offset that somebody was told is committed.
    promised_end: i64,
    /// Records before this offset were deleted, and may have been before that.
    deleted_before: i64,
    perhaps_deleted_before: i64,
}

impl Partition {
    fn check_first(&self, first: i64, description: &str) {
        let asked = self.perhaps_deleted_before;
        assert!(first <= asked, "{description} begins at {first}, and nobody deleted more than what is before {asked}");
    }
}

/// The last commit of a group for a partition.
#[derive(Debug, Default)]
struct Commit {
    acknowledged: Option<i64>,
    /// Asked for after that, and not answered.
    uncertain: Vec<i64>,
}

/// What is known of a consumer group with members.
#[derive(Debug, Default)]
struct Group {
    /// Who owns what, by generation, then member id.
    generations: BTreeMap<i32, BTreeMap<String, Vec<Place>>>,
    /// Members whose processes are gone, with the time of their last sign of life.
    silent: BTreeMap<String, u64>,
    last_offset: i64,
}

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Model {
    topics: Vec<Topic>,
    /// A compacted topic is its keeper's, who alone knows what is in it.
    kept: Option<String>,
    batches: Vec<Sent>,
    by_fingerprint: BTreeMap<Fingerprint, BatchNumber>,
    commits: BTreeMap<(String, Place), Commit>,
    groups: BTreeMap<String, Group>,
    producer_ids: BTreeMap<i64, u32>,
    cluster_id: Option<String>,
}

impl Model {
    // Topics.

    pub(super) fn ask_topic(&mut self, name: String, partitions: usize, settings: Settings) -> TopicNumber {
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        self.topics.push(Topic { name, id: Uuid::default(), existence: Existence::Asked, settings, partitions });
        TopicNumber(self.topics.len() - 1)
    }

    /// Somebody asks for a compacted topic, to use it alone.
    pub(super) fn note_kept(&mut self, name: &str) {
        self.kept = Some(name.to_owned());
    }

    /// Whether it is such a topic.
    pub(super) fn is_kept(&self, name: &str) -> bool {
        self.kept.as_deref() == Some(name)
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = (TopicNumber, &Topic)> {
        self.topics.iter().enumerate().map(|(number, topic)| (TopicNumber(number), topic))
    }

    pub(super) fn topic(&self, number: TopicNumber) -> &Topic {
        &self.topics[number.0]
    }

    pub(super) fn topic_mut(&mut self, number: TopicNumber) -> &mut Topic {
        &mut self.topics[number.0]
    }

    pub(super) fn find(&self, name: &str) -> Option<TopicNumber> {
        self.topics.iter().position(|topic| topic.name == name).map(TopicNumber)
    }

    pub(super) fn find_id(&self, id: Uuid) -> Option<TopicNumber> {
        self.topics.iter().position(|topic| topic.id == id).map(TopicNumber)
    }

    /// The partitions of all topics that are there and stay.
    pub(super) fn places(&self) -> Vec<Place> {
        let exists = |(_, topic): &(TopicNumber, &Topic)| topic.existence == Existence::Exists;
        let places = |(number, topic): (TopicNumber, &Topic)| {
            (0..topic.partitions.len() as i32).map(move |index| Place { topic: number, index })
        };
        self.topics().filter(exists).flat_map(places).collect()
    }

    /// The power has gone.
    pub(super) fn forget_cached(&mut self) {
        for topic in self.topics.iter_mut().filter(|topic| topic.settings.is_cached) {
            if topic.existence == Existence::Exists {
                topic.existence = Existence::Forgotten;
            }
        }
    }

    pub(super) fn exists(&self, place: Place) -> bool {
        self.topic(place.topic).existence == Existence::Exists
    }

    /// The cluster's id, which never changes.
    pub(super) fn check_cluster_id(&mut self, id: &str) {
        let known = self.cluster_id.get_or_insert_with(|| id.to_owned());
        assert_eq!(known, id, "the cluster keeps its id");
    }

    // Records.

    /// A client is about to send this batch for the first time.
    pub(super) fn sent(&mut self, place: Place, producer: u32, order: u64, bytes: &[u8]) -> BatchNumber {
        let batch = Batch::first(bytes).expect("built by the client");
        let number = BatchNumber(self.batches.len());
        let records = i64::from(batch.record_count());
        self.batches.push(Sent { place, producer, order, records, base_offset: None });
        let previous = self.by_fingerprint.insert(Fingerprint::of(&batch), number);
        assert_eq!(previous, None, "the simulation makes no two equal batches");
        number
    }

    pub(super) fn records(&self, batch: BatchNumber) -> i64 {
        self.batches[batch.0].records
    }

    /// The node said that this batch has this offset and is committed.
    pub(super) fn acknowledged(&mut self, batch: BatchNumber, base_offset: i64) {
        self.place(batch, base_offset);
        let Sent { place, records, .. } = self.batches[batch.0];
        self.promise(place, base_offset + records);
    }

    /// The node showed the offset up to which records are committed.
    pub(super) fn promise(&mut self, place: Place, end: i64) {
        let partition = self.partition_mut(place);
        partition.promised_end = partition.promised_end.max(end);
    }

    /// The offset up to which somebody was told that records are committed.
    pub(super) fn promised_end(&self, place: Place) -> i64 {
        self.topics[place.topic.0].partitions[place.index as usize].promised_end
    }

    /// Somebody asks to delete the records before an offset.
    pub(super) fn ask_deletion(&mut self, place: Place, before: i64) {
        let partition = self.partition_mut(place);
        partition.perhaps_deleted_before = partition.perhaps_deleted_before.max(before);
    }

    /// The node said that the first offset is this one, after records before `asked` were to be deleted.
    pub(super) fn deleted(&mut self, place: Place, asked: i64, first: i64) {
        let description = self.describe(place);
        let partition = self.partition_mut(place);
        assert!(first >= asked, "{description}: records before {asked} were deleted, and the first offset is {first}");
        partition.check_first(first, &description);
        partition.deleted_before = partition.deleted_before.max(first);
    }

    /// The node said that the first offset is this one; when it was asked it had to be at least `at_least`.
    pub(super) fn check_first(&mut self, place: Place, at_least: i64, first: i64) {
        let description = self.describe(place);
        assert!(first >= at_least, "{description} begins at {first}, and at {at_least} before");
        self.partition_mut(place).check_first(first, &description);
    }

    /// Records before this offset are gone.
    pub(super) fn deleted_before(&self, place: Place) -> i64 {
        self.topics[place.topic.0].partitions[place.index as usize].deleted_before
    }

    /// Records before this offset may be gone.
    pub(super) fn perhaps_deleted_before(&self, place: Place) -> i64 {
        self.topics[place.topic.0].partitions[place.index as usize].perhaps_deleted_before
    }

    /// A consumer read this batch; says how many records it has.
    pub(super) fn read(&mut self, place: Place, batch: &Batch<'_>) -> i64 {
        assert_eq!(batch.crc(), batch.computed_crc(), "a batch at offset {} of {place:?}", batch.base_offset());
        let known = self.by_fingerprint.get(&Fingerprint::of(batch)).copied();
        let Some(number) = known else {
            panic!("nobody wrote what is at offset {} of {}", batch.base_offset(), self.describe(place))
        };
        assert_eq!(self.batches[number.0].place, place, "a batch stands in the partition it was sent to");
        self.place(number, batch.base_offset());
        self.records(number)
    }

    /// Learns, or checks, that a batch has this offset.
    fn place(&mut self, number: BatchNumber, base_offset: i64) {
        let Sent { place, producer, order, records, base_offset: known } = self.batches[number.0];
        if let Some(known) = known {
            assert_eq!(base_offset, known, "batch {order} of producer {producer} in {} moved", self.describe(place));
            return;
        }
        self.batches[number.0].base_offset = Some(base_offset);
        let description = self.describe(place);
        let partition = self.partition_mut(place);
        let end = base_offset + records;
        if let Some((base, (known_end, _))) = partition.placed.range(..end).next_back() {
            assert!(*known_end <= base_offset, "{base_offset}..{end} of {description} was {base}..{known_end} before");
        }
        partition.placed.insert(base_offset, (end, number));
        let before = partition.by_order.range(..(producer, order)).next_back();
        if let Some(((other, _), base)) = before.filter(|((other, _), _)| *other == producer) {
            assert!(*base < base_offset, "batch {order} of producer {other} comes before an earlier one");
        }
        let after = partition.by_order.range((producer, order)..).next();
        if let Some(((other, _), base)) = after.filter(|((other, _), _)| *other == producer) {
            assert!(*base > base_offset, "batch {order} of producer {other} comes after a later one");
        }
        partition.by_order.insert((producer, order), base_offset);
    }

    pub(super) fn describe(&self, place: Place) -> String {
        format!("{}-{}", self.topic(place.topic).name, place.index)
    }

    fn partition_mut(&mut self, place: Place) -> &mut Partition {
        &mut self.topics[place.topic.0].partitions[place.index as usize]
    }

    // Producer ids and committed offsets.

    /// A producer got an id that nobody had before.
    pub(super) fn producer_id(&mut self, id: i64, producer: u32) {
        let previous = self.producer_ids.insert(id, producer);
        assert_eq!(previous, None, "producer id {id} is given a second time");
    }

    pub(super) fn ask_commit(&mut self, group: &str, place: Place, offset: i64) {
        self.commits.entry((group.to_owned(), place)).or_default().uncertain.push(offset);
    }

    pub(super) fn committed(&mut self, group: &str, place: Place, offset: i64) {
        let commit = self.commits.entry((group.to_owned(), place)).or_default();
        // Each commits more than the one before, and acknowledgements of several members may overtake each other.
        commit.acknowledged = commit.acknowledged.max(Some(offset));
        commit.uncertain.retain(|&asked| asked > offset);
    }

    /// The node said what a group has committed; -1 for nothing.
    pub(super) fn check_commit(&mut self, group: &str, place: Place, offset: i64) {
        let description = self.describe(place);
        let commit = self.commits.entry((group.to_owned(), place)).or_default();
        let acknowledged = commit.acknowledged.unwrap_or(-1);
        let possible = offset == acknowledged || commit.uncertain.contains(&offset);
        assert!(
            possible,
            "group {group} committed {acknowledged} of {description}, perhaps {:?}, and {offset} is found",
            commit.uncertain
        );
        if offset >= 0 {
            self.committed(group, place, offset);
        }
    }

    // Members of groups.

    /// A member was told what it owns in a generation.
    pub(super) fn assigned(&mut self, group: &str, generation: i32, member: &str, places: &[Place]) {
        let owners = self.groups.entry(group.to_owned()).or_default().generations.entry(generation).or_default();
        for (other, owned) in owners.iter().filter(|(other, _)| *other != member) {
            let twice = places.iter().find(|place| owned.contains(place));
            assert_eq!(twice, None, "{other} and {member} own the same in generation {generation} of {group}");
        }
        let known = owners.entry(member.to_owned()).or_insert_with(|| places.to_vec());
        assert_eq!(known, places, "{member} is told two things in generation {generation} of {group}");
    }

    /// The newest generation in which somebody was assigned something.
    pub(super) fn generation(&self, group: &str) -> i32 {
        let generations = self.groups.get(group).map(|group| &group.generations);
        generations.and_then(|generations| generations.last_key_value()).map_or(-1, |(generation, _)| *generation)
    }

    /// A member's process is gone.
    pub(super) fn silent(&mut self, group: &str, member: &str, since_ns: u64) {
        self.groups.entry(group.to_owned()).or_default().silent.insert(member.to_owned(), since_ns);
    }

    /// The member of a generation whose process is gone for the longest time.
    pub(super) fn longest_silent(&self, group: &str, generation: i32) -> Option<(&str, u64)> {
        let group = self.groups.get(group)?;
        let members = group.generations.get(&generation)?;
        let silent = group.silent.iter().filter(|(member, _)| members.contains_key(*member));
        silent.map(|(member, since_ns)| (member.as_str(), *since_ns)).min_by_key(|(_, since_ns)| *since_ns)
    }

    /// A larger offset than any that a member of the group committed before.
    pub(super) fn next_offset(&mut self, group: &str) -> i64 {
        let group = self.groups.entry(group.to_owned()).or_default();
        group.last_offset += 1;
        group.last_offset
    }
}
