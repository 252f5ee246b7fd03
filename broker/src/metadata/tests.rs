//! Tests of controller and image together.

use std::collections::BTreeSet;
use std::sync::Arc;

use net::Uuid;
use proptest::prelude::*;

use super::controller::{NotDeleted, Target};
use super::create::REQUEST_PARTITIONS_MAX;
use super::record::NewPartition;
use super::*;
use crate::config::{NodeConfig, Overrides, Settings};

const NODE: i32 = 1;
const NOW_MS: i64 = 1_700_000_000_000;

pub(super) fn node_config(sets: &[&str]) -> NodeConfig {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    NodeConfig::load(&Default::default(), None, &sets).expect("a good configuration").0
}

fn empty(shards: u16) -> Image {
    Image::empty(NODE, shards, Arc::new(Settings::default()))
}

/// A controller after its first start.
pub(super) fn started(sets: &[&str]) -> Controller {
    let config = node_config(sets);
    let image = Image::empty(NODE, 4, Arc::new(config.settings.clone()));
    let mut controller = Controller::new(Arc::new(image), Rules::of(&config), 42);
    controller.start(NOW_MS);
    controller
}

fn wish(name: &str, partitions: i32, replication_factor: i16) -> NewTopic<'_> {
    NewTopic { partitions, replication_factor, ..NewTopic::with_defaults(name) }
}

fn create_one(controller: &mut Controller, topic: NewTopic<'_>) -> Result<Created, Refusal> {
    let mut outcome = controller.create_topics(&[topic], false, NOW_MS);
    assert_eq!(outcome.results.len(), 1);
    outcome.results.remove(0).1
}

fn refusal(controller: &mut Controller, topic: NewTopic<'_>) -> Refusal {
    let before = Arc::clone(controller.newest());
    let refusal = create_one(controller, topic).expect_err("it is refused");
    assert_eq!(before, *controller.newest(), "a refused wish changes nothing");
    refusal
}

#[test]
fn the_first_start_makes_a_cluster_id_and_later_ones_keep_it() {
    let config = node_config(&[]);
    let mut controller = Controller::new(Arc::new(empty(2)), Rules::of(&config), 1);
    let first = controller.start(NOW_MS);
    assert_eq!(first.base_offset(), 0);
    assert_eq!(first.records.len(), 2);
    let cluster_id = first.image.cluster_id().expect("it was just made");
    assert_eq!(cluster_id.to_string().len(), 22);
    assert_eq!(first.image.broker_epoch(), 1);

    let mut again = Controller::new(Arc::clone(&first.image), Rules::of(&config), 2);
    let second = again.start(NOW_MS);
    assert_eq!(second.base_offset(), 2);
    assert_eq!(second.records, [Record::BrokerRegistered { node_id: NODE, broker_epoch: 2 }]);
    assert_eq!(second.image.cluster_id(), Some(cluster_id));
}

#[test]
fn a_start_raises_the_leader_epochs_of_what_is_there_and_new_topics_begin_at_0() {
    let mut controller = started(&[]);
    create_one(&mut controller, wish("old", 2, 1)).expect("created");
    let image = controller.start(NOW_MS).image;
    let epochs = |image: &Image, name: &str| -> Vec<i32> {
        image.topic(name).expect("there").partitions.iter().map(|p| p.leader_epoch).collect()
    };
    assert_eq!(epochs(&image, "old"), [1, 1]);
    create_one(&mut controller, wish("new", 1, 1)).expect("created");
    assert_eq!(epochs(controller.newest(), "new"), [0]);
    assert_eq!(epochs(controller.newest(), "old"), [1, 1]);
}

#[test]
fn defaults_are_taken_from_the_broker() {
    let mut controller = started(&["num.partitions=3", "log.retention.ms=77"]);
    let created = create_one(&mut controller, NewTopic::with_defaults("a")).expect("created");
    assert_eq!(created.topic.partitions.len(), 3);
    assert_eq!(created.topic.config.retention_ms, Some(77));
    assert_eq!(created.topic.partitions.iter().map(|p| p.log_id).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(created.topic.partitions.iter().map(|p| p.shard).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(*created.topic.partitions[0].isr, [NODE]);
    assert!(!created.topic.internal);
    let found = controller.newest().topic_by_id(created.topic.id).expect("there");
    assert_eq!(found, &created.topic);
}

#[test]
fn names_are_refused_by_kafkas_rules() {
    let mut controller = started(&[]);
    create_one(&mut controller, wish("a.b", 1, 1)).expect("created");
    let long = "x".repeat(250);
    for (name, message) in [
        ("", "Topic name \"\" is invalid: a topic name must not be empty."),
        (".", "Topic name \".\" is invalid: a topic must not be named \".\" or \"..\"."),
        ("a b", "Topic name \"a b\" is invalid: a topic name has only ASCII letters, digits, '.', '_' and '-'."),
        ("a_b", "Topic \"a_b\" collides with existing topic \"a.b\": names must not differ in '.' and '_' only."),
        ("a.b", "Topic \"a.b\" already exists."),
        ("__cluster_metadata", "Topic \"__cluster_metadata\" is reserved for the metadata log."),
    ] {
        assert_eq!(refusal(&mut controller, wish(name, 1, 1)).to_string(), message);
    }
    let message = refusal(&mut controller, wish(&long, 1, 1)).to_string();
    assert_eq!(
        message,
        format!("Topic name \"{}...\" is invalid: a topic name has at most 249 characters.", &long[..249])
    );
    let deleted = controller.delete_topics(&[Target::Name("a.b")]);
    assert!(deleted.results[0].1.is_ok());
    create_one(&mut controller, wish("a_b", 1, 1)).expect("nothing to collide with any more");
}

#[test]
fn counts_are_refused_by_kafkas_rules() {
    let mut controller = started(&[]);
    for partitions in [0, -2] {
        assert_eq!(refusal(&mut controller, wish("a", partitions, 1)), Refusal::Partitions { asked: partitions });
    }
    for (factor, message) in [
        (0, "A topic has at least 1 replica, not 0; -1 means the broker's default."),
        (-2, "A topic has at least 1 replica, not -2; -1 means the broker's default."),
        (3, "Replication factor 3 is impossible: there is only 1 broker; use 1 or -1."),
    ] {
        assert_eq!(refusal(&mut controller, wish("a", 1, factor)).to_string(), message);
    }
}

#[test]
fn one_request_creates_a_bounded_number_of_partitions() {
    let mut controller = started(&[]);
    let most = i32::try_from(REQUEST_PARTITIONS_MAX).expect("fits");
    let outcome = controller.create_topics(&[wish("a", most, 1), wish("b", 1, 1)], false, NOW_MS);
    assert!(outcome.change.is_none());
    let asked = REQUEST_PARTITIONS_MAX as u64 + 1;
    assert!(outcome.results.iter().all(|(_, result)| *result == Err(Refusal::TooManyPartitions { asked })));
    let outcome = controller.create_topics(&[wish("a", i32::MAX, 1), wish("b", i32::MAX, 1)], false, NOW_MS);
    assert!(outcome.change.is_none());
    create_one(&mut controller, wish("a", most, 1)).expect("as many as one request may");
    assert_eq!(controller.newest().partition_count(), REQUEST_PARTITIONS_MAX);
}

#[test]
fn configs_are_checked_and_the_last_of_a_name_counts() {
    let mut controller = started(&[]);
    let with = |configs| NewTopic { configs, ..NewTopic::with_defaults("a") };
    let unknown = refusal(&mut controller, with(vec![("nope", Some("1"))]));
    assert_eq!(unknown.to_string(), "Unknown topic config name: nope");
    let null = refusal(&mut controller, with(vec![("retention.ms", None)]));
    assert_eq!(null.to_string(), "Null value not supported for topic configs: retention.ms");
    let twice = with(vec![("retention.ms", Some("1")), ("retention.ms", Some("2"))]);
    let created = create_one(&mut controller, twice).expect("created");
    assert_eq!(created.topic.config.retention_ms, Some(2));
}

#[test]
fn assignments_are_checked_by_kafkas_rules() {
    let mut controller = started(&[]);
    let with = |pairs: &[(i32, &'static [i32])]| NewTopic {
        assignments: pairs.iter().map(|&(partition, replicas)| Assignment { partition, replicas }).collect(),
        ..NewTopic::with_defaults("a")
    };
    for (pairs, message) in [
        (&[(0, &[1][..]), (2, &[1])][..], "The assigned partitions must be numbered from 0 without gaps."),
        (&[(0, &[1]), (0, &[1])], "Partition 0 is assigned more than once."),
        (&[(0, &[9])], "Partition 0 is assigned to broker 9, which does not exist."),
        (&[(0, &[])], "Partition 0 is assigned no replica."),
        (&[(0, &[1, 1])], "Partition 0 is assigned to broker 1 more than once."),
        (&[(0, &[1]), (1, &[1, 2])], "Partition 1 is assigned 2 replicas, others 1."),
    ] {
        assert_eq!(refusal(&mut controller, with(pairs)), Refusal::Assignment(message.to_owned()));
    }
    for (partitions, replication_factor) in [(1, -1), (-1, 1)] {
        let both = NewTopic { partitions, replication_factor, ..with(&[(0, &[1])]) };
        assert_eq!(refusal(&mut controller, both), Refusal::AssignmentAndCount);
    }
    let created = create_one(&mut controller, with(&[(1, &[1]), (0, &[1])])).expect("created");
    assert_eq!(created.topic.partitions.len(), 2);
}

#[test]
fn a_name_that_comes_twice_is_refused_once_and_the_others_are_created() {
    let mut controller = started(&[]);
    let outcome = controller.create_topics(&[wish("a", 1, 1), wish("b", 1, 1), wish("b", 2, 1)], false, NOW_MS);
    let [(a, Ok(_)), (b, Err(Refusal::Duplicate { .. }))] = &outcome.results[..] else {
        panic!("one created, one refused: {:?}", outcome.results);
    };
    assert_eq!((a.as_str(), b.as_str()), ("a", "b"));
    assert_eq!(controller.newest().topic_count(), 1);
}

#[test]
fn validating_creates_nothing_and_answers_what_would_be() {
    let mut controller = started(&[]);
    let before = Arc::clone(controller.newest());
    let outcome = controller.create_topics(&[wish("a", 2, 1), wish("b", 0, 1)], true, NOW_MS);
    assert!(outcome.change.is_none());
    assert_eq!(before, *controller.newest());
    let created = outcome.results[0].1.as_ref().expect("it would be created");
    assert_eq!((created.stored, created.topic.partitions.len()), (false, 2));
    assert_eq!(outcome.results[1].1, Err(Refusal::Partitions { asked: 0 }));
}

#[test]
fn the_topic_of_committed_offsets_is_made_as_kafka_makes_it() {
    let mut controller = started(&["offsets.topic.num.partitions=5", "default.replication.factor=3"]);
    let outcome = controller.auto_create(&[names::CONSUMER_OFFSETS], NOW_MS);
    let topic = &outcome.results[0].1.as_ref().expect("created").topic;
    assert!(topic.internal && topic.config.cleanup.compact && !topic.config.cleanup.delete);
    assert_eq!((topic.partitions.len(), topic.config.segment_bytes), (5, 104_857_600));
    let again = controller.auto_create(&[names::CONSUMER_OFFSETS], NOW_MS);
    assert!(matches!(again.results[0].1, Err(Refusal::Exists { .. })));
}

#[test]
fn deleting_answers_each_target_by_its_own_state() {
    let mut controller = started(&[]);
    let id = create_one(&mut controller, wish("a", 2, 1)).expect("created").topic.id;
    create_one(&mut controller, wish("b", 1, 1)).expect("created");
    let other = Uuid([1; 16]);
    let targets = [
        Target::Id(id),
        Target::Name("none"),
        Target::Id(other),
        Target::Name("b"),
        Target::Name("b"),
        Target::Both("b", id),
        Target::Neither,
    ];
    let outcome = controller.delete_topics(&targets);
    let results: Vec<_> = outcome.results.iter().map(|(_, result)| result.clone()).collect();
    let deleted = results[0].as_ref().expect("deleted");
    assert_eq!((&*deleted.name, deleted.logs.as_slice()), ("a", &[(1, 0), (2, 1)][..]));
    assert_eq!(
        results[1..].iter().map(|r| r.clone().expect_err("refused")).collect::<Vec<_>>(),
        [
            NotDeleted::UnknownName,
            NotDeleted::UnknownId,
            NotDeleted::Duplicate,
            NotDeleted::Unclear,
            NotDeleted::Unclear
        ]
    );
    assert!(controller.newest().topic("a").is_none() && controller.newest().topic("b").is_some());

    let mut guarded = started(&["delete.topic.enable=false"]);
    create_one(&mut guarded, wish("a", 1, 1)).expect("created");
    let outcome = guarded.delete_topics(&[Target::Name("a")]);
    assert_eq!(outcome.results[0].1, Err(NotDeleted::Disabled));
    assert!(outcome.change.is_none());
}

#[test]
fn a_topic_created_again_has_another_id_and_other_logs() {
    let mut controller = started(&[]);
    let first = create_one(&mut controller, wish("a", 1, 1)).expect("created").topic;
    controller.delete_topics(&[Target::Name("a")]);
    let second = create_one(&mut controller, wish("a", 1, 1)).expect("created").topic;
    assert_ne!(first.id, second.id);
    assert_eq!((first.partitions[0].log_id, second.partitions[0].log_id), (1, 2));
}

#[test]
fn producer_ids_are_never_given_twice_across_starts() {
    let mut controller = started(&[]);
    let (mut first, change) = controller.allocate_producer_ids();
    assert_eq!(first.take(), Some(0));
    let mut again = Controller::new(change.image, Rules::of(&node_config(&[])), 3);
    again.start(NOW_MS);
    assert_eq!(again.allocate_producer_ids().0.take(), Some(PRODUCER_ID_BLOCK));
}

#[test]
fn a_roll_back_forgets_what_is_not_published() {
    let mut controller = started(&[]);
    let published = Arc::clone(controller.newest());
    create_one(&mut controller, wish("a", 1, 1)).expect("created");
    controller.roll_back(Arc::clone(&published));
    assert_eq!(**controller.newest(), *published);
    create_one(&mut controller, wish("a", 1, 1)).expect("the name is free again");
}

#[test]
fn records_that_contradict_each_other_are_refused() {
    let partition = |log_id| NewPartition { log_id, leader: NODE, leader_epoch: 0, replicas: vec![NODE] };
    let topic = |name: &str, id: u8, partitions| Record::TopicCreated {
        name: name.to_owned(),
        topic_id: Uuid([id; 16]),
        configs: Overrides::new(),
        created_ms: 0,
        partitions,
    };
    let mut image = empty(1);
    let cluster = Record::ClusterCreated { cluster_id: Uuid([5; 16]), created_ms: 0 };
    image.apply(&cluster).expect("the first");
    image.apply(&topic("a", 1, vec![partition(1)])).expect("the first");
    image.apply(&Record::ProducerIdsAllocated { next: 1000 }).expect("the first");
    let gone = Uuid([7; 16]);
    for (record, error) in [
        (cluster, Inconsistent::ClusterExists(Uuid([5; 16]))),
        (topic("a", 2, vec![partition(2)]), Inconsistent::TopicExists("a".to_owned())),
        (topic("b", 1, vec![partition(2)]), Inconsistent::TopicExists("b".to_owned())),
        (topic("b", 2, vec![partition(1)]), Inconsistent::LogIdReused(1)),
        (topic("b", 2, vec![partition(0)]), Inconsistent::LogIdReused(0)),
        (topic("b", 2, Vec::new()), Inconsistent::NoPartitions("b".to_owned())),
        (Record::TopicDeleted { topic_id: gone }, Inconsistent::UnknownTopic(gone)),
        (Record::TopicConfigChanged { topic_id: gone, configs: Overrides::new() }, Inconsistent::UnknownTopic(gone)),
        (Record::ProducerIdsAllocated { next: 999 }, Inconsistent::ProducerIdsReused(999)),
        (
            Record::DirectoriesAssigned { topic_id: Uuid([1; 16]), directories: vec![(1, gone)] },
            Inconsistent::UnknownPartition(Uuid([1; 16]), 1),
        ),
    ] {
        assert_eq!(image.clone().apply(&record), Err(error));
    }
    assert!(matches!(image.replay(&[1]), Err(Inconsistent::Unreadable(_))));
}

#[test]
fn records_that_nothing_writes_yet_are_applied() {
    let mut controller = started(&[]);
    let topic = create_one(&mut controller, wish("a", 1, 1)).expect("created").topic;
    let mut image = Image::clone(controller.newest());
    let configs: Overrides = [("retention.ms".to_owned(), "9".to_owned())].into();
    image.apply(&Record::TopicConfigChanged { topic_id: topic.id, configs: configs.clone() }).expect("fits");
    let partition = NewPartition { log_id: 2, leader: NODE, leader_epoch: 0, replicas: vec![NODE] };
    image.apply(&Record::PartitionsAdded { topic_id: topic.id, partitions: vec![partition] }).expect("fits");
    image.apply(&Record::BrokerConfigChanged { node_id: None, configs: configs.clone() }).expect("fits");
    let changed = image.topic("a").expect("there");
    assert_eq!((changed.config.retention_ms, changed.partitions.len()), (Some(9), 2));
    assert_eq!(image.topic_by_id(topic.id), Some(changed));
    assert_eq!(image.broker_overrides(None), Some(&configs));
    assert_eq!(image.partition_count(), 2);
}

/// What a client or the node may do in the property test.
#[derive(Debug, Clone)]
enum Step {
    Create(Vec<(u8, i32)>),
    Validate(u8),
    Delete(Vec<u8>),
    ProducerIds,
    Restart(u16),
    RollBack,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec((0_u8..12, -1_i32..5), 1..4).prop_map(Step::Create),
        1 => (0_u8..12).prop_map(Step::Validate),
        3 => prop::collection::vec(0_u8..12, 1..3).prop_map(Step::Delete),
        1 => Just(Step::ProducerIds),
        1 => (1_u16..5).prop_map(Step::Restart),
        1 => Just(Step::RollBack),
    ]
}

fn topic_name(number: u8) -> String {
    format!("t{}{}", ["-", ".", "_"][usize::from(number % 3)], number / 3)
}

/// A node with its metadata log: what was appended, how much of that is durable, and what was ever given out.
struct Node {
    controller: Controller,
    log: Vec<Vec<u8>>,
    published: Arc<Image>,
    in_flight: Vec<Change>,
    topic_ids: BTreeSet<Uuid>,
    starts: u64,
}

impl Node {
    fn start(log: Vec<Vec<u8>>, shards: u16, topic_ids: BTreeSet<Uuid>, starts: u64) -> Node {
        let replayed = Arc::new(replay(&log, shards));
        let controller = Controller::new(Arc::clone(&replayed), Rules::of(&node_config(&[])), starts);
        let mut node = Node { controller, log, published: replayed, in_flight: Vec::new(), topic_ids, starts };
        let change = node.controller.start(NOW_MS);
        node.append(Some(change));
        node.all_durable();
        node
    }

    fn append(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        let appended = self.log.len() + self.in_flight.iter().map(|c| c.records.len()).sum::<usize>();
        assert_eq!(change.base_offset(), appended as i64, "changes follow each other without a gap");
        self.in_flight.push(change);
    }

    fn all_durable(&mut self) {
        for change in self.in_flight.drain(..) {
            self.log.extend(change.encode());
            for topic in change.image.topics().filter(|t| self.published.topic_by_id(t.id).is_none()) {
                assert!(!topic.id.is_zero() && self.topic_ids.insert(topic.id), "topic ids are never reused");
            }
            self.published = change.image;
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Create(wanted) => {
                let names: Vec<_> = wanted.iter().map(|&(number, _)| topic_name(number)).collect();
                let wanted: Vec<_> = names.iter().zip(wanted).map(|(name, &(_, n))| wish(name, n, -1)).collect();
                let outcome = self.controller.create_topics(&wanted, false, NOW_MS);
                self.append(outcome.change);
            }
            Step::Validate(number) => {
                let name = topic_name(*number);
                assert!(self.controller.create_topics(&[wish(&name, 2, 1)], true, NOW_MS).change.is_none());
            }
            Step::Delete(numbers) => {
                let names: Vec<_> = numbers.iter().map(|&number| topic_name(number)).collect();
                let targets: Vec<_> = names.iter().map(|name| Target::Name(name)).collect();
                let change = self.controller.delete_topics(&targets).change;
                self.append(change);
            }
            Step::ProducerIds => {
                let (_, change) = self.controller.allocate_producer_ids();
                self.append(Some(change));
            }
            Step::RollBack => {
                self.in_flight.clear();
                self.controller.roll_back(Arc::clone(&self.published));
            }
            Step::Restart(shards) => {
                let (log, ids) = (std::mem::take(&mut self.log), std::mem::take(&mut self.topic_ids));
                *self = Node::start(log, *shards, ids, self.starts + 1);
            }
        }
    }
}

fn replay(log: &[Vec<u8>], shards: u16) -> Image {
    let mut image = empty(shards);
    for value in log {
        image.replay(value).expect("the controller's records fit each other");
    }
    image
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn replaying_what_was_appended_gives_the_published_image(
        steps in prop::collection::vec((step(), any::<bool>()), 1..60)
    ) {
        let mut node = Node::start(Vec::new(), 3, BTreeSet::new(), 1);
        for (step, durable) in &steps {
            node.run(step);
            if *durable {
                node.all_durable();
            }
            let image = &node.published;
            prop_assert_eq!(&replay(&node.log, image.shards()), &**image);
            let mut logs = BTreeSet::new();
            for partition in image.topics().flat_map(|topic| &topic.partitions) {
                prop_assert!(partition.log_id < image.next_log_id() && logs.insert(partition.log_id));
                prop_assert_eq!(partition.shard, shard_of(partition.log_id, image.shards()));
            }
            prop_assert_eq!(logs.len(), image.partition_count());
            prop_assert_eq!(image.topics().count(), image.topic_count());
        }
    }
}
