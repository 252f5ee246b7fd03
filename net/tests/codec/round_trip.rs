//! Every API and version, also those that the oracle does not know.

use net::{ApiKey, Message, Reason, Uuid};

use crate::dispatch::{SIDES, Visitor, key, recode, visit};
use crate::sample::{Filling, apis, sample};

const SEEDS: u64 = 16;

#[test]
fn what_was_written_from_the_schema_is_read_and_written_back_byte_for_byte() {
    for api in apis() {
        for (version, side) in (api.min..=api.max).flat_map(|version| SIDES.map(|side| (version, side))) {
            for seed in 0..SEEDS {
                let filling = if seed == 0 { Filling::Full } else { Filling::Mixed };
                let original = sample(api, side, version, seed, filling).bytes;
                let ours = recode(key(api), side, version, version, &original);
                assert_eq!(ours, Ok(original), "{side:?} of {} v{version}, seed {seed}", api.name);
            }
        }
    }
}

#[test]
fn a_message_of_the_newest_version_can_be_sent_in_every_older_one() {
    for api in apis() {
        for (version, side) in (api.min..=api.max).flat_map(|version| SIDES.map(|side| (version, side))) {
            let what = format!("{side:?} of {} v{version}", api.name);
            let newest = sample(api, side, api.max, 0, Filling::Full).bytes;
            let older = recode(key(api), side, api.max, version, &newest).expect(&what);
            assert_eq!(recode(key(api), side, version, version, &older), Ok(older), "{what}");
        }
    }
}

struct DefaultComesBack(i16);

impl Visitor for DefaultComesBack {
    type Output = ();

    fn visit<'a, M: Message<'a> + PartialEq + std::fmt::Debug>(self, _bytes: &'a [u8]) {
        let mut out = Vec::new();
        M::default().encode(&mut out, self.0);
        // The message borrows for as long as the trait's lifetime; a few bytes of a test may live on.
        let bytes: &'static [u8] = out.leak();
        assert_eq!(M::from_bytes(bytes, self.0), Ok(M::default()), "{} v{}", M::KEY, self.0);
    }
}

#[test]
fn defaults_come_back_in_every_version() {
    for api in apis() {
        for (version, side) in (api.min..=api.max).flat_map(|version| SIDES.map(|side| (version, side))) {
            visit(DefaultComesBack(version), key(api), side, &[]);
        }
    }
}

#[test]
fn keys_names_and_versions_are_those_of_the_schema() {
    let apis = apis();
    assert_eq!(apis.len(), ApiKey::ALL.len());
    for (api, key) in apis.iter().zip(ApiKey::ALL) {
        assert_eq!((api.key, api.name.as_str()), (key as i16, key.name()));
        assert_eq!(key.valid_versions(), api.min..=api.max);
        assert_eq!(key.first_flexible(), api.first_flexible);
    }
    assert_eq!(ApiKey::from_i16(4), None);
    assert_eq!(ApiKey::Produce.advertised_versions(), 0..=13);
    assert_eq!(ApiKey::InitProducerId.advertised_versions(), 0..=5);
    assert_eq!(ApiKey::Fetch.advertised_versions(), 4..=18);
}

#[test]
fn an_unknown_version_is_an_error() {
    let error = net::api::produce::Request::from_bytes(&[0; 100], 2).unwrap_err();
    assert_eq!(error.reason, Reason::UnsupportedVersion(2));
}

#[test]
fn unknown_tagged_fields_are_skipped_and_wrong_ones_refused() {
    use net::api::heartbeat::Response;
    let body = |tags: &[u8]| [&[0, 0, 0, 0, 0, 0], tags].concat();
    let reason = |tags: &[u8]| Response::from_bytes(&body(tags), 4).map_err(|error| error.reason);
    assert_eq!(reason(&[0]), Ok(Response::default()));
    assert_eq!(reason(&[2, 3, 1, 99, 7, 0]), Ok(Response::default()));
    assert_eq!(reason(&[2, 7, 0, 7, 0]), Err(Reason::TagOutOfOrder { tag: 7 }));
    assert_eq!(reason(&[2, 7, 0, 3, 0]), Err(Reason::TagOutOfOrder { tag: 3 }));
    assert_eq!(reason(&[1, 7, 2, 0]), Err(Reason::Truncated { needed: 2, left: 1 }));
    assert_eq!(reason(&[0, 0]), Err(Reason::TrailingBytes { left: 1 }));
}

#[test]
fn a_known_tagged_field_has_to_fill_its_size() {
    // finalized_features_epoch, tag 1, takes 8 bytes, not 9.
    let mut body = vec![0, 0, 1, 0, 0, 0, 0, 1, 1, 9];
    body.extend([0; 9]);
    let error = net::api::api_versions::Response::from_bytes(&body, 3).unwrap_err();
    assert_eq!(error.reason, Reason::TaggedFieldSize { tag: 1, unread: 1 });
}

#[test]
fn what_the_wire_cannot_carry_is_bent() {
    use net::api::metadata::{Response, ResponseTopics};
    let long = "ß".repeat(20_000);
    let topics =
        vec![ResponseTopics { name: Some(long.as_str().into()), topic_id: Uuid([7; 16]), ..Default::default() }];
    let mut response = Response { topics, ..Default::default() };
    for version in [1, 12] {
        let mut out = Vec::new();
        response.encode(&mut out, version);
        let read = Response::from_bytes(&out, version).unwrap();
        assert_eq!(read.topics[0].name.as_deref(), Some(&long[..32_766]), "cut at a character, v{version}");
    }
    response.topics[0].name = None;
    let mut out = Vec::new();
    response.encode(&mut out, 11);
    let read = Response::from_bytes(&out, 11).unwrap();
    assert_eq!(read.topics[0].name.as_deref(), Some(""), "null is allowed from version 12 on");
}

#[test]
fn an_owned_message_equals_the_borrowed_one() {
    for api in apis().iter().filter(|api| api.name == "StreamsGroupHeartbeat") {
        let bytes = sample(api, SIDES[0], 0, 5, Filling::Full).bytes;
        let borrowed = net::api::streams_group_heartbeat::Request::from_bytes(&bytes, 0).unwrap();
        assert_eq!(borrowed.clone().into_owned(), borrowed);
    }
}
