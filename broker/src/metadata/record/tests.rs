//! Tests of the record format.

use proptest::prelude::*;

use super::*;
use crate::quota::{Key, Name};

fn overrides() -> impl Strategy<Value = Overrides> {
    prop::collection::btree_map("[a-z.]{1,12}", ".{0,12}", 0..4)
}

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<[u8; 16]>().prop_map(Uuid)
}

fn partitions() -> impl Strategy<Value = Vec<NewPartition>> {
    let one = (any::<u64>(), any::<i32>(), any::<i32>(), prop::collection::vec(any::<i32>(), 0..4));
    prop::collection::vec(
        one.prop_map(|(log_id, leader, leader_epoch, replicas)| NewPartition {
            log_id,
            leader,
            leader_epoch,
            replicas,
        }),
        0..4,
    )
}

fn entity() -> impl Strategy<Value = Entity> {
    let name = || any::<Option<String>>().prop_map(Name::from);
    prop_oneof![
        name().prop_map(Entity::User),
        (name(), name()).prop_map(|(user, client)| Entity::UserClient(user, client)),
        name().prop_map(Entity::Client),
        name().prop_map(Entity::Ip),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    any::<[Option<u16>; Key::ALL.len()]>().prop_map(|values| {
        let mut limits = Limits::default();
        for (key, value) in Key::ALL.into_iter().zip(values) {
            limits.set(key, value.map(|value| f64::from(value) + 1.0));
        }
        limits
    })
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        (uuid(), any::<i64>()).prop_map(|(cluster_id, created_ms)| Record::ClusterCreated { cluster_id, created_ms }),
        (any::<i32>(), any::<i64>())
            .prop_map(|(node_id, broker_epoch)| Record::BrokerRegistered { node_id, broker_epoch }),
        (".{0,20}", uuid(), overrides(), any::<i64>(), partitions()).prop_map(
            |(name, topic_id, configs, created_ms, partitions)| Record::TopicCreated {
                name,
                topic_id,
                configs,
                created_ms,
                partitions
            }
        ),
        uuid().prop_map(|topic_id| Record::TopicDeleted { topic_id }),
        (uuid(), overrides()).prop_map(|(topic_id, configs)| Record::TopicConfigChanged { topic_id, configs }),
        (uuid(), partitions()).prop_map(|(topic_id, partitions)| Record::PartitionsAdded { topic_id, partitions }),
        (any::<Option<i32>>(), overrides())
            .prop_map(|(node_id, configs)| Record::BrokerConfigChanged { node_id, configs }),
        (".{0,20}", overrides()).prop_map(|(group, configs)| Record::GroupConfigChanged { group, configs }),
        (".{0,20}", overrides()).prop_map(|(name, configs)| Record::ClientMetricsChanged { name, configs }),
        any::<i64>().prop_map(|next| Record::ProducerIdsAllocated { next }),
        (uuid(), prop::collection::vec((any::<i32>(), uuid()), 0..4))
            .prop_map(|(topic_id, directories)| Record::DirectoriesAssigned { topic_id, directories }),
        (".{0,20}", any::<i16>()).prop_map(|(name, level)| Record::FeatureLevelChanged { name, level }),
        (entity(), limits()).prop_map(|(entity, limits)| Record::ClientQuotaChanged { entity, limits }),
    ]
}

proptest! {
    #[test]
    fn every_record_is_read_back(record in record()) {
        prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn cut_and_foreign_bytes_are_refused_without_a_panic(record in record(), cut in any::<prop::sample::Index>()) {
        let value = record.encode();
        let cut = cut.index(value.len());
        let damaged = matches!(Record::decode(&value[..cut]), Err(Unreadable::Damaged { .. }));
        prop_assert!(damaged);
    }

    #[test]
    fn any_bytes_are_refused_or_read_without_a_panic(kind in 0_u8..14, payload: Vec<u8>) {
        let mut value = vec![kind, 1, 0, 0];
        value.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_le_bytes());
        value.extend_from_slice(&payload);
        let _ = Record::decode(&value);
    }
}

#[test]
fn newer_kinds_and_versions_are_told_from_damage() {
    let value = Record::ProducerIdsAllocated { next: 1000 }.encode();
    let with = |index: usize, byte: u8| {
        let mut changed = value.clone();
        changed[index] = byte;
        Record::decode(&changed)
    };
    assert_eq!(with(1, 2), Err(Unreadable::Newer { kind: 8, version: 2 }));
    assert_eq!(with(0, 200), Err(Unreadable::Newer { kind: 200, version: 1 }));
    assert!(with(0, 200).expect_err("newer").to_string().contains("written by a newer version of skein"));
    assert_eq!(with(1, 0), Err(Unreadable::Damaged { kind: 8 }));
    assert_eq!(with(0, 0), Err(Unreadable::Damaged { kind: 0 }));
    assert_eq!(with(2, 1), Err(Unreadable::Damaged { kind: 8 }));
    assert_eq!(with(4, 7), Err(Unreadable::Damaged { kind: 8 }));
    assert_eq!(Record::decode(&[]), Err(Unreadable::Damaged { kind: 0 }));
}

/// The bytes that version 1 wrote stay readable for ever, and it must not begin to write others.
#[test]
fn version_1_is_these_bytes() {
    let records = [
        Record::ClusterCreated { cluster_id: Uuid([7; 16]), created_ms: 1 },
        Record::BrokerRegistered { node_id: 1, broker_epoch: 2 },
        Record::TopicCreated {
            name: "a topic with a name that is not inline".to_owned(),
            topic_id: Uuid([9; 16]),
            configs: [("retention.ms".to_owned(), "5".to_owned())].into(),
            created_ms: 3,
            partitions: vec![NewPartition { log_id: 4, leader: 1, leader_epoch: 5, replicas: vec![1] }],
        },
        Record::TopicDeleted { topic_id: Uuid([9; 16]) },
        Record::TopicConfigChanged { topic_id: Uuid([9; 16]), configs: Overrides::new() },
        Record::PartitionsAdded { topic_id: Uuid([9; 16]), partitions: Vec::new() },
        Record::BrokerConfigChanged { node_id: Some(1), configs: Overrides::new() },
        Record::ProducerIdsAllocated { next: 1000 },
        Record::ClientQuotaChanged {
            entity: Entity::UserClient(Name::Named("somebody".to_owned()), Name::Default),
            limits: {
                let mut limits = Limits::default();
                limits.set(Key::Producer, Some(1024.0));
                limits
            },
        },
        Record::GroupConfigChanged {
            group: "readers".to_owned(),
            configs: [("consumer.session.timeout.ms".to_owned(), "50000".to_owned())].into(),
        },
        Record::ClientMetricsChanged { name: "all of them".to_owned(), configs: Overrides::new() },
        Record::FeatureLevelChanged { name: "metadata.version".to_owned(), level: 30 },
        Record::DirectoriesAssigned { topic_id: Uuid([9; 16]), directories: vec![(2, Uuid([6; 16]))] },
    ];
    let written: Vec<String> =
        records.iter().map(|r| r.encode().iter().map(|b| format!("{b:02x}")).collect()).collect();
    let expected: Vec<&str> = include_str!("testdata/v1.hex").lines().collect();
    assert_eq!(written, expected);
}

#[test]
fn arbitrary_bytes_are_records_or_unreadable() {
    bolero::check!().for_each(|input: &[u8]| {
        let _ = Record::decode(input);
        if let [first, second, rest @ ..] = input {
            // Of a version and kind that there is.
            let _ = Record::decode(&[&[*first % 4, *second % 32], rest].concat());
            let _ = Record::decode(&[&[*first % 32, *second % 4], rest].concat());
        }
    });
}
