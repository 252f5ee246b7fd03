//! What comes from the partition is not trusted: whatever the records are, the coordinator lives.

use proptest::prelude::*;

use super::world::*;
use crate::group::records::{GroupValue, Key, MemberValue, OffsetValue};
use crate::group::*;

/// A few names, so that they meet.
fn name() -> impl Strategy<Value = String> {
    "[ab]{0,2}"
}

fn timeout() -> impl Strategy<Value = i32> {
    prop_oneof![Just(i32::MIN), Just(-1), Just(0), Just(i32::MAX), 1..100_000i32]
}

/// Member id, instance id, rebalance and session timeout, metadata.
type LoadedMember = (String, Option<String>, i32, i32, Vec<u8>);

fn group_record() -> impl Strategy<Value = Record> {
    let member =
        (name(), proptest::option::of(name()), timeout(), timeout(), proptest::collection::vec(any::<u8>(), 0..9));
    let members = proptest::collection::vec(member, 0..4);
    let names = (name(), proptest::option::of(name()), proptest::option::of(name()));
    (names, timeout(), any::<i64>(), members).prop_map(
        |((protocol_type, protocol, leader), generation, timestamp, members)| {
            let describe = |(member, instance, rebalance, session, metadata): &'_ LoadedMember| {
                (member.clone(), instance.clone(), *rebalance, *session, metadata.clone())
            };
            let owned: Vec<LoadedMember> = members.iter().map(describe).collect();
            let members = owned.iter().map(|(member, instance, rebalance, session, metadata)| MemberValue {
                member,
                instance: instance.as_deref(),
                client_id: "client",
                client_host: "/host",
                rebalance_timeout_ms: *rebalance,
                session_timeout_ms: *session,
                subscription: metadata,
                assignment: b"",
            });
            let value = GroupValue {
                protocol_type: &protocol_type,
                generation,
                protocol: protocol.as_deref(),
                leader: leader.as_deref(),
                state_timestamp_ms: timestamp,
                members: members.collect(),
            };
            Record { key: records::group_key(GROUP), value: Some(records::group_value(&value)) }
        },
    )
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0..6u8) {
        let mut bytes = bytes;
        if let [high, low, ..] = bytes.as_mut_slice() {
            (*high, *low) = (0, version);
        }
        let _ = (Key::decode(&bytes), OffsetValue::decode(&bytes), GroupValue::decode(&bytes));
    }

    #[test]
    fn whatever_group_is_loaded_comes_to_rest_and_can_be_joined(record in group_record()) {
        let mut world = World::new();
        world.log.push(record);
        world.crash();
        let id = world.join(join_request(""));
        let outcome = world.joined(id).outcome;
        prop_assert!(matches!(outcome, Outcome::MemberIdRequired | Outcome::InconsistentProtocol), "{:?}", outcome);
        let expected = world.now_ms.saturating_add(i32::MAX as u64 * 2);
        world.pass(i32::MAX as u64 * 2);
        prop_assert_eq!(world.now_ms, expected);
        prop_assert_eq!(world.coordinator.next_deadline(), None);
        let (_, generation) = world.stable(1);
        prop_assert!(generation > 0);
    }
}
