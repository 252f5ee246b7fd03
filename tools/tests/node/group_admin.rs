//! What an administrator does to groups: describes and lists them, removes members, offsets and whole groups.

use net::api::{delete_groups, describe_groups, join_group, leave_group, list_groups, offset_delete, offset_fetch};

use crate::groups::{
    JOIN, Joined, LEAVE, SYNC, beat, commit, commit_as_plain_consumer, committed, join, join_request, sync_request,
};
use crate::support::batch;
use crate::support::broker::{Broker, is_passing, only, unique};
use crate::support::client::Client;
use crate::support::wait::eventually;

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_GROUP: i16 = 24;
const UNKNOWN_MEMBER: i16 = 25;
const NON_EMPTY_GROUP: i16 = 68;
const GROUP_ID_NOT_FOUND: i16 = 69;
const FENCED_INSTANCE: i16 = 82;
const GROUP_SUBSCRIBED: i16 = 86;

const DELETE: i16 = 2;
const DESCRIBE: i16 = 6;
const LIST: i16 = 5;

/// A consumer's subscription to one topic, version 0 of the consumer protocol.
fn subscription(topic: &str) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    bytes.extend((topic.len() as u16).to_be_bytes());
    bytes.extend(topic.as_bytes());
    bytes.extend([0xff; 4]);
    bytes
}

/// Joins with a subscription to `topic`, alone, and synchronises.
fn member_reading(client: &mut Client, group: &str, protocol_type: &str, topic: &str) -> Joined {
    let subscription = subscription(topic);
    let request = |member: &str| join_group::Request {
        protocol_type: protocol_type.to_owned().into(),
        protocols: vec![join_group::RequestProtocols { name: "range".into(), metadata: subscription.clone().into() }],
        member_id: member.to_owned().into(),
        ..join_request(group, "", None)
    };
    let required = eventually("a coordinator", || {
        let answer = client.call(JOIN, &request(""));
        (!is_passing(answer.error_code)).then_some(answer)
    });
    let joined = client.call(JOIN, &request(&required.member_id));
    assert_eq!(joined.error_code, 0);
    let mut sync = sync_request(group, &joined, &[(&joined.member_id, "share")]);
    sync.protocol_type = Some(protocol_type.into());
    assert_eq!(client.call(SYNC, &sync).error_code, 0);
    joined
}

fn leave(client: &mut Client, group: &str, members: &[(&str, Option<&str>)]) -> (i16, Vec<(String, i16)>) {
    let members = members.iter().map(|&(member, instance)| leave_group::RequestMembers {
        member_id: member.into(),
        group_instance_id: instance.map(Into::into),
        reason: Some("removed by an administrator".into()),
    });
    let request = leave_group::Request { group_id: group.into(), members: members.collect(), ..Default::default() };
    let response = client.call(LEAVE, &request);
    let members = response.members.iter().map(|member| (member.member_id.to_string(), member.error_code));
    (response.error_code, members.collect())
}

fn delete(client: &mut Client, groups: &[&str]) -> Vec<(String, i16)> {
    let request = delete_groups::Request { groups_names: groups.iter().map(|&group| group.into()).collect() };
    let response = client.call(DELETE, &request);
    response.results.iter().map(|result| (result.group_id.to_string(), result.error_code)).collect()
}

/// The error of the whole, and those of the partitions.
fn delete_offsets(client: &mut Client, group: &str, topics: &[(&str, &[i32])]) -> (i16, Vec<(String, i32, i16)>) {
    let topics = topics.iter().map(|&(name, partitions)| offset_delete::RequestTopics {
        name: name.into(),
        partitions: partitions
            .iter()
            .map(|&partition_index| offset_delete::RequestTopicsPartitions { partition_index })
            .collect(),
    });
    let response = client.call(0, &offset_delete::Request { group_id: group.into(), topics: topics.collect() });
    let partitions = response.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|of| (topic.name.to_string(), of.partition_index, of.error_code))
    });
    (response.error_code, partitions.collect())
}

fn state(client: &mut Client, group: &str) -> (i16, String) {
    let request = describe_groups::Request { groups: vec![group.into()], ..Default::default() };
    let described = only(client.call(DESCRIBE, &request).groups);
    (described.error_code, described.group_state.into_owned())
}

#[test]
fn a_group_without_members_is_deleted_with_its_offsets() {
    let Some(broker) = Broker::get("group deletion") else { return };
    let topic = broker.topic("doomed").name;
    let group = commit_as_plain_consumer(&broker, &topic);
    let (nobody, living) = (unique("nobody"), broker.group("living"));
    let mut client = broker.client();
    let member = join(&mut client, &living, "", None);
    assert_eq!(client.call(SYNC, &sync_request(&living, &member, &[])).error_code, 0);
    let results = delete(&mut client, &[&group, &nobody, &living, ""]);
    let mut codes: Vec<(&str, i16)> = results.iter().map(|(group, code)| (group.as_str(), *code)).collect();
    codes.sort_unstable();
    let mut expected = vec![
        ("", GROUP_ID_NOT_FOUND),
        (group.as_str(), 0),
        (nobody.as_str(), GROUP_ID_NOT_FOUND),
        (living.as_str(), NON_EMPTY_GROUP),
    ];
    expected.sort_unstable();
    assert_eq!(codes, expected);
    assert_eq!(state(&mut client, &group), (GROUP_ID_NOT_FOUND, "Dead".to_owned()));
    assert_eq!(committed(&mut client, &group, &topic), (-1, String::new(), 0));
    assert_eq!(beat(&mut client, &living, &member.member_id, member.generation_id, None), 0);
}

#[test]
fn offsets_of_topics_that_no_member_reads_are_deleted() {
    let Some(broker) = Broker::get("offset deletion") else { return };
    let (read, other) = (broker.topic("read").name, broker.topic("other").name);
    let group = broker.group("offsets");
    let mut client = broker.client();
    let member = member_reading(&mut client, &group, "consumer", &read);
    for topic in [&read, &other] {
        assert_eq!(commit(&mut client, &group, (&member.member_id, member.generation_id), topic), 0);
    }
    let (nowhere, asked) = (unique("nowhere"), [0, 7]);
    let answer = delete_offsets(&mut client, &group, &[(&read, &[0]), (&other, &asked), (&nowhere, &[0])]);
    let mut expected = vec![
        (read.clone(), 0, GROUP_SUBSCRIBED),
        (other.clone(), 0, 0),
        (other.clone(), 7, UNKNOWN_TOPIC_OR_PARTITION),
        (nowhere.clone(), 0, UNKNOWN_TOPIC_OR_PARTITION),
    ];
    let (code, mut partitions) = answer;
    expected.sort();
    partitions.sort();
    assert_eq!((code, partitions), (0, expected));
    assert_eq!(committed(&mut client, &group, &other).0, -1);
    assert_eq!(committed(&mut client, &group, &read).0, 5);
    assert_eq!(leave(&mut client, &group, &[(&member.member_id, None)]).0, 0);
    eventually("the group is empty", || (state(&mut client, &group).1 == "Empty").then_some(()));
    assert_eq!(delete_offsets(&mut client, &group, &[(&read, &[0])]), (0, vec![(read.clone(), 0, 0)]));
    assert_eq!(committed(&mut client, &group, &read).0, -1);
    assert_eq!(delete_offsets(&mut client, &group, &[(&read, &[0])]).0, 0, "nothing is there any more");
}

#[test]
fn a_deletion_of_offsets_that_cannot_be_is_refused_as_a_whole() {
    let Some(broker) = Broker::get("refused offset deletion") else { return };
    let topic = broker.topic("kept").name;
    let group = broker.group("connect");
    let mut client = broker.client();
    member_reading(&mut client, &group, "connect", &topic);
    assert_eq!(delete_offsets(&mut client, &group, &[(&topic, &[0])]), (NON_EMPTY_GROUP, vec![]));
    let nobody = unique("nobody");
    assert_eq!(delete_offsets(&mut client, &nobody, &[(&topic, &[0])]), (GROUP_ID_NOT_FOUND, vec![]));
    assert_eq!(delete_offsets(&mut client, "", &[(&topic, &[0])]), (INVALID_GROUP, vec![]));
    let nowhere = unique("nowhere");
    assert_eq!(delete_offsets(&mut client, &nobody, &[(&nowhere, &[0])]), (GROUP_ID_NOT_FOUND, vec![]));
    assert_eq!(delete_offsets(&mut client, &nobody, &[]), (GROUP_ID_NOT_FOUND, vec![]));
}

#[test]
fn members_are_removed_by_their_instance_ids() {
    let Some(broker) = Broker::get("member removal") else { return };
    let group = broker.group("statics");
    let mut client = broker.client();
    let member = join(&mut client, &group, "", Some("one"));
    let mut request = sync_request(&group, &member, &[(&member.member_id, "share")]);
    request.group_instance_id = Some("one".into());
    assert_eq!(client.call(SYNC, &request).error_code, 0);
    let removal = [("", Some("two")), ("nobody", Some("one")), ("nobody", None), ("", None)];
    let (code, answers) = leave(&mut client, &group, &removal);
    let codes: Vec<i16> = answers.iter().map(|(_, code)| *code).collect();
    assert_eq!((code, codes), (0, vec![UNKNOWN_MEMBER, FENCED_INSTANCE, UNKNOWN_MEMBER, UNKNOWN_MEMBER]));
    assert_eq!(beat(&mut client, &group, &member.member_id, member.generation_id, Some("one")), 0);
    assert_eq!(leave(&mut client, &group, &[("", Some("one"))]), (0, vec![(String::new(), 0)]));
    assert_eq!(
        beat(&mut client, &group, &member.member_id, member.generation_id, Some("one")),
        UNKNOWN_MEMBER,
        "it is out"
    );
    assert_eq!(state(&mut client, &group), (0, "Empty".to_owned()));
    let nobody = unique("nobody");
    let (code, answers) = leave(&mut client, &nobody, &[("", Some("one")), ("m", None)]);
    let codes: Vec<i16> = answers.iter().map(|(_, code)| *code).collect();
    assert_eq!((code, codes), (0, vec![UNKNOWN_MEMBER, UNKNOWN_MEMBER]), "the group is not there");
    assert_eq!(leave(&mut client, "", &[("m", None)]), (INVALID_GROUP, vec![]));
}

#[test]
fn lists_are_filtered_by_state_and_type_without_regard_to_case() {
    let Some(broker) = Broker::get("group lists") else { return };
    let topic = broker.topic("listed").name;
    let empty = commit_as_plain_consumer(&broker, &topic);
    let stable = broker.group("stable");
    let mut client = broker.client();
    member_reading(&mut client, &stable, "consumer", &topic);
    let list = |client: &mut Client, version, states: &[&'static str], types: &[&'static str]| {
        let request = list_groups::Request {
            states_filter: states.iter().map(|&state| state.into()).collect(),
            types_filter: types.iter().map(|&kind| kind.into()).collect(),
        };
        let response = client.call(version, &request);
        assert_eq!(response.error_code, 0);
        let mine = response.groups.into_iter().filter(|group| [&*empty, &*stable].contains(&&*group.group_id));
        let mut mine: Vec<_> = mine
            .map(|group| {
                let texts = [group.group_id, group.protocol_type, group.group_state, group.group_type];
                texts.map(|text| text.into_owned())
            })
            .collect();
        mine.sort();
        mine
    };
    let owned = |texts: [&str; 4]| texts.map(str::to_owned);
    let (of_empty, of_stable) =
        (owned([&empty, "", "Empty", "classic"]), owned([&stable, "consumer", "Stable", "classic"]));
    let mut both = vec![of_empty.clone(), of_stable.clone()];
    both.sort();
    assert_eq!(list(&mut client, LIST, &[], &[]), both);
    assert_eq!(list(&mut client, LIST, &["stable"], &[]), std::slice::from_ref(&of_stable));
    assert_eq!(list(&mut client, LIST, &["EMPTY", "Dead"], &["Classic"]), [of_empty]);
    assert_eq!(list(&mut client, LIST, &["Empty", "Stable"], &["classic", "consumer"]), both);
    assert_eq!(list(&mut client, LIST, &["Nonsense"], &[]), [] as [[String; 4]; 0]);
    assert_eq!(list(&mut client, LIST, &[], &["consumer"]), [] as [[String; 4]; 0]);
    assert_eq!(list(&mut client, 4, &["Stable"], &[]), [owned([&stable, "consumer", "Stable", ""])]);
    assert_eq!(list(&mut client, 3, &[], &[])[0][2..], ["", ""]);
}

#[test]
fn who_asks_is_told_the_lag_in_records_and_in_time_and_nobody_else() {
    let Some(broker) = Broker::get("lags") else { return };
    if broker.is_kafka() {
        return;
    }
    let topic = broker.topic("lag").name;
    let mut client = broker.client();
    let records = batch::batch(&["one", "two", "three", "four", "five", "six", "seven"]);
    assert_eq!(client.must_produce(&topic, 0, &records), 0);
    // It commits 5.
    let group = commit_as_plain_consumer(&broker, &topic);
    let mut ask = |skein_lags: bool, version: i16| {
        let groups = vec![offset_fetch::RequestGroups {
            group_id: group.as_str().into(),
            member_epoch: -1,
            topics: None,
            ..Default::default()
        }];
        let response = client.call(version, &offset_fetch::Request { groups, skein_lags, ..Default::default() });
        let found = only(only(only(response.groups).topics).partitions);
        assert_eq!((found.committed_offset, found.error_code), (5, 0));
        (found.skein_end_offset, found.skein_lag_ms)
    };
    for version in [9, 10] {
        assert_eq!(ask(false, version), (-1, -1), "v{version}");
        let (end, lag_ms) = ask(true, version);
        assert_eq!(end, 7, "v{version}");
        let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
        let made_ms = batch::first_timestamp() + 5;
        let expected = (now_ms.as_millis() as i64 - made_ms).max(0);
        assert!((expected - 60_000..=expected).contains(&lag_ms), "v{version}: {lag_ms}, not {expected}");
    }
    assert_eq!(ask(false, 8), (-1, -1));
}
