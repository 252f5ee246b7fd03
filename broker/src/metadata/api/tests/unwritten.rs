//! Tests of the answers to changes that could not be written.

use super::*;

const WHY: &str = "The broker's disk is full.";

fn encoded<'a>(message: &impl Message<'a>, version: i16) -> Vec<u8> {
    let mut body = Vec::new();
    message.encode(&mut body, version);
    body
}

#[test]
fn what_would_have_succeeded_fails_with_a_retriable_error_and_the_rest_stays_refused() {
    let mut node = Node::new(&[]);
    let topic = |name: &'static str| create::RequestTopics {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = create::Request { topics: vec![topic("new"), topic("plain")], ..Default::default() };
    for version in all_versions(ApiKey::CreateTopics) {
        let published = Arc::clone(node.controller.newest());
        let (response, change) = create_topics(&request, version, &mut node.controller, NOW_MS);
        assert!(change.is_some());
        let body = unwritten(ApiKey::CreateTopics, version, &encoded(&response, version), WHY).expect("it is a change");
        let told = create::Response::from_bytes(&body, version).expect("it is encoded in the same version");
        let [new, plain] = &told.topics[..] else { panic!("{told:?}") };
        assert_eq!((&*new.name, new.error_code, new.topic_id), ("new", 56, Uuid::ZERO), "v{version}");
        assert!(new.error_message.as_deref().is_some_and(|message| message.ends_with(WHY)), "v{version}");
        assert_eq!((&*plain.name, plain.error_code), ("plain", 36), "v{version}");
        node.controller.roll_back(published);
    }
    let request = delete::Request { topic_names: vec!["plain".into(), "nowhere".into()], ..Default::default() };
    let answer = delete_topics(&request, 5, &mut node.controller);
    let body = unwritten(ApiKey::DeleteTopics, 5, &encoded(&answer.response, 5), WHY).expect("it is a change");
    let told = delete::Response::from_bytes(&body, 5).expect("it is encoded in the same version");
    let codes: Vec<_> = told.responses.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [56, 3]);
}

#[test]
fn a_producer_is_told_to_ask_again() {
    let response = no_producer_ids();
    assert_eq!((response.error_code, response.producer_id, response.producer_epoch), (14, -1, -1));
}
