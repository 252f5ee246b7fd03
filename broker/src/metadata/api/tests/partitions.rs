//! Tests of the answers about partitions, replicas and the cluster. Where a comment does not say otherwise, codes and
//! flags are what a live Kafka 4.3.1 answered to the same request.

use std::borrow::Cow;

use net::api::{
    alter_partition_reassignments as reassign, alter_replica_log_dirs as log_dirs, create_partitions as grow,
    describe_quorum as quorum, describe_topic_partitions as describe, elect_leaders as elect,
    list_partition_reassignments as list, unregister_broker as unregister,
};

use super::*;

fn more<'a>(name: &'a str, count: i32, assignments: Option<&[&[i32]]>) -> grow::RequestTopics<'a> {
    let chosen = |replicas: &&[i32]| grow::RequestTopicsAssignments { broker_ids: replicas.to_vec() };
    let assignments = assignments.map(|partitions| partitions.iter().map(chosen).collect());
    grow::RequestTopics { name: name.into(), count, assignments }
}

fn ask_for_more(node: &mut Node, topics: Vec<grow::RequestTopics<'_>>, validate_only: bool) -> Vec<(String, i16)> {
    let request = grow::Request { topics, timeout_ms: 1000, validate_only };
    let (response, change) = create_partitions(&request, &mut node.controller);
    let created = response.results.iter().any(|result| result.error_code == 0);
    assert_eq!(change.is_some(), created && !validate_only, "what is answered is stored");
    for version in all_versions(ApiKey::CreatePartitions) {
        survives(&response, version, &mut Vec::new());
    }
    for result in &response.results {
        assert_eq!(result.error_message.is_some(), result.error_code != 0, "{}", result.name);
    }
    response.results.into_iter().map(|result| (result.name.into_owned(), result.error_code)).collect()
}

#[test]
fn a_topic_grows_behind_the_partitions_it_has() {
    let mut node = Node::new(&[]);
    let before = node.controller.newest().topic("plain").expect("there").partitions.clone();
    let assigned = more("compacted", 3, Some(&[&[1], &[1]]));
    let results = ask_for_more(&mut node, vec![more("plain", 5, None), assigned], false);
    assert_eq!(results, [("plain".to_owned(), 0), ("compacted".to_owned(), 0)]);
    let plain = node.controller.newest().topic("plain").expect("there");
    assert_eq!(plain.partitions[..2], before[..]);
    assert_eq!(plain.partitions.len(), 5);
    assert!(plain.partitions.windows(2).all(|two| two[0].log_id < two[1].log_id), "log ids are never reused");
    assert!(plain.partitions.iter().all(|partition| (partition.leader, &*partition.isr) == (1, &[1][..])));
    assert_eq!(node.controller.newest().topic("compacted").expect("there").partitions.len(), 3);
}

#[test]
fn partitions_that_are_only_tried_are_not_created() {
    let mut node = Node::new(&[]);
    let results = ask_for_more(&mut node, vec![more("plain", 5, None)], true);
    assert_eq!(results, [("plain".to_owned(), 0)]);
    assert_eq!(node.controller.newest().topic("plain").expect("there").partitions.len(), 2);
}

#[test]
fn partitions_are_refused_by_kafkas_rules() {
    let mut node = Node::new(&[]);
    let mut code = |topic: grow::RequestTopics<'static>| {
        let results = ask_for_more(&mut node, vec![topic], false);
        assert_eq!(results.len(), 1);
        results[0].1
    };
    for count in [2, 1, 0, -1, i32::MIN] {
        assert_eq!(code(more("plain", count, None)), 37, "{count}");
    }
    assert_eq!(code(more("plain", 2, Some(&[&[1]]))), 37, "the count is checked first");
    assert_eq!(code(more("nowhere", 3, None)), 3);
    assert_eq!(code(more("a b", 3, None)), 3);
    let impossible: [&[&[i32]]; 7] = [&[], &[&[1], &[1]], &[&[9]], &[&[]], &[&[1, 1]], &[&[1, 9]], &[&[-1]]];
    for assignments in impossible {
        assert_eq!(code(more("plain", 3, Some(assignments))), 39, "{assignments:?}");
    }
    // Kafka answers -1 to these two, and lets this topic grow.
    assert_eq!(code(more("plain", 10_003, None)), 44);
    assert_eq!(code(more("plain", i32::MAX, None)), 44);
    assert_eq!(code(more(names::CONSUMER_OFFSETS, 100, None)), 42);
    let twice = vec![more("plain", 3, None), more("compacted", 2, None), more("plain", 4, None)];
    assert_eq!(ask_for_more(&mut node, twice, false), [("plain".to_owned(), 42), ("compacted".to_owned(), 0)]);
    assert_eq!(node.controller.newest().topic("plain").expect("there").partitions.len(), 2);
}

#[test]
fn one_request_adds_a_bounded_number_of_partitions() {
    let mut node = Node::new(&[]);
    let both = vec![more("plain", 6_002, None), more("compacted", 4_002, None)];
    assert_eq!(ask_for_more(&mut node, both, true), [("plain".to_owned(), 0), ("compacted".to_owned(), 44)]);
    let both = vec![more("plain", 6_002, None), more("compacted", 4_001, None)];
    assert_eq!(ask_for_more(&mut node, both, false), [("plain".to_owned(), 0), ("compacted".to_owned(), 0)]);
}

/// Topics with their error and partitions, and where the next page begins.
type Page = (Vec<(String, i16, Vec<i32>)>, Option<(String, i32)>);

fn page(node: &Node, topics: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> Page {
    let request = describe::Request {
        topics: topics.iter().map(|&name| describe::RequestTopics { name: name.into() }).collect(),
        response_partition_limit: limit,
        cursor: cursor
            .map(|(topic, partition_index)| describe::RequestCursor { topic_name: topic.into(), partition_index }),
    };
    let response = describe_topic_partitions(&request, &node.context(0));
    survives(&response, 0, &mut Vec::new());
    let topics = response.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| partition.partition_index).collect();
        (topic.name.expect("by name").into_owned(), topic.error_code, partitions)
    });
    let next = response.next_cursor.map(|cursor| (cursor.topic_name.into_owned(), cursor.partition_index));
    (topics.collect(), next)
}

fn described(name: &str, code: i16, partitions: &[i32]) -> (String, i16, Vec<i32>) {
    (name.to_owned(), code, partitions.to_vec())
}

#[test]
fn topics_are_described_in_pages_that_join_without_gaps() {
    let node = Node::new(&["offsets.topic.num.partitions=3"]);
    let compacted = || described("compacted", 0, &[0]);
    let asked = ["plain", "compacted", "plain"];
    assert_eq!(page(&node, &asked, 2000, None), (vec![compacted(), described("plain", 0, &[0, 1])], None));
    let after_one = Some(("plain".to_owned(), 0));
    assert_eq!(page(&node, &asked, 1, None), (vec![compacted()], after_one.clone()));
    for limit in [0, -1] {
        assert_eq!(page(&node, &asked, limit, None), (vec![compacted()], after_one.clone()), "1 is the least");
    }
    let after_two = Some(("plain".to_owned(), 1));
    assert_eq!(page(&node, &asked, 2, None), (vec![compacted(), described("plain", 0, &[0])], after_two));
    assert_eq!(page(&node, &asked, 2, Some(("plain", 1))), (vec![described("plain", 0, &[1])], None));
    assert_eq!(page(&node, &asked, 2, Some(("plain", 9))), (vec![described("plain", 0, &[])], None));
    // All topics, one partition a page.
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let at = cursor.as_ref().map(|(topic, index): &(String, i32)| (topic.as_str(), *index));
        let (topics, next) = page(&node, &[], 1, at);
        seen.extend(
            topics.into_iter().flat_map(|(name, _, indexes)| indexes.into_iter().map(move |i| (name.clone(), i))),
        );
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let offsets = (0..3).map(|index| (names::CONSUMER_OFFSETS.to_owned(), index));
    let others = [("compacted".to_owned(), 0), ("plain".to_owned(), 0), ("plain".to_owned(), 1)];
    assert_eq!(seen, offsets.chain(others).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_described_has_its_own_error() {
    let node = Node::new(&[]);
    // Kafka answers -1 to an illegal name, to every topic of the request.
    let asked = ["nowhere", "plain", "a b"];
    let expected = vec![described("a b", 17, &[]), described("nowhere", 3, &[]), described("plain", 0, &[0, 1])];
    assert_eq!(page(&node, &asked, 2000, None), (expected, None));
    let twice = ["plain", "compacted", "plain"];
    let refused = || (twice.map(|name| described(name, 42, &[])).to_vec(), None);
    assert_eq!(page(&node, &twice, 2000, Some(("other", 0))), refused());
    assert_eq!(page(&node, &twice, 2000, Some(("plain", -1))), refused());
    assert_eq!(page(&node, &[], 2000, Some(("zzz", 0))), (vec![], None), "nothing comes behind it");
}

fn election(
    node: &Node,
    election_type: i8,
    topics: Option<&[(&'static str, &[i32])]>,
) -> (i16, Vec<(String, i32, i16)>) {
    let asked = |&(topic, partitions): &(&'static str, &[i32])| elect::RequestTopicPartitions {
        topic: topic.into(),
        partitions: partitions.to_vec(),
    };
    let topic_partitions = topics.map(|topics| topics.iter().map(asked).collect());
    let request = elect::Request { election_type, topic_partitions, timeout_ms: 1000 };
    let response = elect_leaders(&request, &node.context(2));
    for version in all_versions(ApiKey::ElectLeaders) {
        survives(&response, version, &mut Vec::new());
    }
    let results = response.replica_election_results.iter().flat_map(|topic| {
        topic.partition_result.iter().map(|result| {
            assert!(result.error_message.as_deref().is_some_and(|message| message.ends_with('.')));
            (topic.topic.to_string(), result.partition_id, result.error_code)
        })
    });
    (response.error_code, results.collect())
}

#[test]
fn no_election_is_ever_needed() {
    let node = Node::new(&[]);
    let result = |topic: &str, index, code| (topic.to_owned(), index, code);
    for kind in [0, 1] {
        let asked: &[(&str, &[i32])] = &[("plain", &[0, 9]), ("nowhere", &[0])];
        let expected = vec![result("plain", 0, 84), result("plain", 9, 3), result("nowhere", 0, 3)];
        assert_eq!(election(&node, kind, Some(asked)), (0, expected));
        assert_eq!(election(&node, kind, None), (0, vec![]));
    }
    assert_eq!(election(&node, 2, None), (42, vec![]));
    assert_eq!(election(&node, 2, Some(&[])), (0, vec![]), "there is nothing to elect");
    assert_eq!(election(&node, 2, Some(&[("plain", &[0])])), (42, vec![result("plain", 0, 42)]));
}

#[test]
fn a_reassignment_to_the_only_broker_is_complete_at_once() {
    let node = Node::new(&[]);
    let code = |topic: &'static str, partition_index, replicas: Option<Vec<i32>>| {
        let partition = reassign::RequestTopicsPartitions { partition_index, replicas };
        let request = reassign::Request {
            topics: vec![reassign::RequestTopics { name: topic.into(), partitions: vec![partition] }],
            ..Default::default()
        };
        let response = alter_partition_reassignments(&request, &node.context(1));
        for version in all_versions(ApiKey::AlterPartitionReassignments) {
            survives(&response, version, &mut Vec::new());
        }
        assert_eq!((response.error_code, response.responses.len()), (0, 1));
        let result = &response.responses[0].partitions[0];
        assert_eq!(result.error_message.is_some(), result.error_code != 0);
        result.error_code
    };
    assert_eq!(code("plain", 0, Some(vec![1])), 0);
    for replicas in [vec![], vec![9], vec![1, 9], vec![1, 1], vec![-1]] {
        assert_eq!(code("plain", 0, Some(replicas.clone())), 39, "{replicas:?}");
    }
    assert_eq!(code("plain", 0, None), 85);
    for replicas in [None, Some(vec![1])] {
        assert_eq!(code("plain", 9, replicas.clone()), 3);
        assert_eq!(code("nowhere", 0, replicas), 3);
    }
    assert!(list_partition_reassignments(&list::Request::default()).topics.is_empty());
}

#[test]
fn replicas_stay_in_their_directory() {
    let mut node = Node::new(&[]);
    let gone = Opened { offline: Some("gone".into()), ..directory(Uuid([2; 16]), "/data3") };
    node.directories.extend([directory(Uuid([1; 16]), "/data2"), gone]);
    let results = |dirs: &[(&'static str, &'static str, i32)]| {
        let dir = |&(path, topic, partition): &(&'static str, &'static str, i32)| log_dirs::RequestDirs {
            path: path.into(),
            topics: vec![log_dirs::RequestDirsTopics { name: topic.into(), partitions: vec![partition] }],
        };
        let request = log_dirs::Request { dirs: dirs.iter().map(dir).collect() };
        let response = alter_replica_log_dirs(&request, &node.context(2));
        let topics = response.results.into_iter();
        topics.flat_map(|topic| topic.partitions).map(|p| (p.partition_index, p.error_code)).collect::<Vec<_>>()
    };
    assert_eq!(results(&[("/data", "plain", 1)]), [(1, 0)]);
    assert_eq!(results(&[("/data2", "plain", 1)]), [(1, 42)], "moves are not served");
    assert_eq!(results(&[("/data3", "plain", 1)]), [(1, 56)]);
    assert_eq!(results(&[("/elsewhere", "plain", 1)]), [(1, 57)]);
    assert_eq!(results(&[("data", "plain", 1)]), [(1, 57)]);
    assert_eq!(results(&[("/data", "plain", 9)]), [(9, 3)]);
    assert_eq!(results(&[("/data", "nowhere", 0)]), [(0, 3)]);
    assert_eq!(results(&[("/data", "plain", 0), ("/elsewhere", "plain", 0)]), [(0, 57)], "the last one counts");
}

#[test]
fn this_node_is_the_quorum_of_the_metadata_log() {
    let node = Node::new(&[]);
    let ask = |topics: &[(&'static str, &[i32])]| {
        let partition = |&partition_index: &i32| quorum::RequestTopicsPartitions { partition_index };
        let topic = |&(name, indexes): &(&'static str, &[i32])| quorum::RequestTopics {
            topic_name: name.into(),
            partitions: indexes.iter().map(partition).collect(),
        };
        let request = quorum::Request { topics: topics.iter().map(topic).collect() };
        let response = describe_quorum(&request, &node.context(2), "PLAINTEXT", NOW_MS);
        for version in all_versions(ApiKey::DescribeQuorum) {
            survives(&response, version, &mut Vec::new());
        }
        response
    };
    let response = ask(&[(names::CLUSTER_METADATA, &[0])]);
    let partition = &response.topics[0].partitions[0];
    let end = node.controller.newest().next_offset();
    assert_eq!((partition.error_code, partition.leader_id, partition.high_watermark), (0, 1, end));
    let voter = &partition.current_voters[0];
    assert_eq!((voter.replica_id, voter.log_end_offset, voter.last_caught_up_timestamp), (1, end, NOW_MS));
    let address = &response.nodes[0].listeners[0];
    assert_eq!((&*address.name, &*address.host, address.port), ("PLAINTEXT", "broker.example", 19092));
    for unknown in
        [&[(names::CLUSTER_METADATA, &[1][..])][..], &[("plain", &[0])], &[(names::CLUSTER_METADATA, &[0, 1])]]
    {
        let response = ask(unknown);
        assert!(response.nodes.is_empty() && response.error_code == 0);
        assert!(response.topics[0].partitions.iter().all(|partition| partition.error_code == 3), "{unknown:?}");
    }
    assert!(ask(&[]).topics.is_empty());
}

#[test]
fn the_only_broker_cannot_be_unregistered() {
    let node = Node::new(&[]);
    let ask = |broker_id| {
        let response = unregister_broker(&unregister::Request { broker_id }, &node.context(0));
        (response.error_code, response.error_message.map(Cow::into_owned))
    };
    assert_eq!(ask(99), (102, Some("There is no broker 99.".to_owned())));
    // Kafka would forget a broker that runs, too.
    assert_eq!(ask(1).0, 42);
}
