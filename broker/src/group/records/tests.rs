use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).expect("a hex digit") as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

// Records of an Apache Kafka 4.3.1, read from its `__consumer_offsets`.
const OFFSET_KEY: &str = "00010008677270782d6f6e650006677270782d6100000003";
const OFFSET_VALUE: &str = "00040000000000000003ffffffff01000001a1fe478a6c010010ce9560dc690549acb04082534e049309";
const OFFSET_VALUE_METADATA: &str =
    "0004000000000000000500000002026d000001a1fe597e51010010ce9560dc690549acb04082534e049309";
const GROUP_KEY: &str = "00020008677270782d6f6e65";
const GROUP_VALUE_CREATED: &str = "0003000000000000ffffffff000001a1fe4789be00000000";
const GROUP_VALUE_STABLE: &str = concat!(
    "00030008636f6e73756d657200000001000572616e6765002a696e7374312d31653935663137662d386466642d343465652d39303035",
    "2d306164303466333738346235000001a1fe4789c800000001002a696e7374312d31653935663137662d386466642d343465652d3930",
    "30352d3061643034663337383462350005696e737431000772646b61666b61000a2f3132372e302e302e31000493e00000afc8000000",
    "160001000000010006677270782d610000000000000000000000260000000000010006677270782d6100000004000000000000000100",
    "0000020000000300000000"
);
const GROUP_VALUE_EMPTY: &str = "00030008636f6e73756d657200000002ffffffff000001a1fe483a3500000000";

const TOPIC_ID: TopicId =
    [0xce, 0x95, 0x60, 0xdc, 0x69, 0x05, 0x49, 0xac, 0xb0, 0x40, 0x82, 0x53, 0x4e, 0x04, 0x93, 0x09];

fn offset(offset: i64, leader_epoch: i32, metadata: &str, commit_timestamp_ms: i64) -> OffsetValue<'_> {
    OffsetValue { offset, leader_epoch, metadata, commit_timestamp_ms, expire_timestamp_ms: None, topic_id: TOPIC_ID }
}

#[test]
fn keys_are_kafkas_byte_for_byte() {
    assert_eq!(offset_key("grpx-one", "grpx-a", 3), hex(OFFSET_KEY));
    assert_eq!(group_key("grpx-one"), hex(GROUP_KEY));
    let offset = Key::Offset { group: "grpx-one", topic: "grpx-a", partition: 3 };
    assert_eq!(Key::decode(&hex(OFFSET_KEY)), Ok(offset));
    assert_eq!(Key::decode(&hex(GROUP_KEY)), Ok(Key::Group { group: "grpx-one" }));
    assert_eq!(Key::decode(&hex("0003000161")), Ok(Key::Other { version: 3 }), "a member of another protocol");
}

#[test]
fn offset_values_are_kafkas_byte_for_byte() {
    let plain = offset(3, -1, "", 0x1a1fe478a6c);
    assert_eq!(OffsetValue::decode(&hex(OFFSET_VALUE)).as_ref(), Ok(&plain));
    assert_eq!(offset_value(&plain), hex(OFFSET_VALUE));
    let with_metadata = offset(5, 2, "m", 0x1a1fe597e51);
    assert_eq!(OffsetValue::decode(&hex(OFFSET_VALUE_METADATA)).as_ref(), Ok(&with_metadata));
    assert_eq!(offset_value(&with_metadata), hex(OFFSET_VALUE_METADATA));
}

#[test]
fn group_values_are_kafkas_byte_for_byte() {
    for vector in [GROUP_VALUE_CREATED, GROUP_VALUE_STABLE, GROUP_VALUE_EMPTY] {
        let bytes = hex(vector);
        let value = GroupValue::decode(&bytes).expect("Kafka wrote it");
        assert_eq!(group_value(&value), bytes);
    }
    let bytes = hex(GROUP_VALUE_STABLE);
    let value = GroupValue::decode(&bytes).expect("Kafka wrote it");
    assert_eq!((value.generation, value.protocol, value.protocol_type), (1, Some("range"), "consumer"));
    let [member] = value.members.as_slice() else { panic!("one member") };
    assert_eq!((member.instance, member.client_id, member.client_host), (Some("inst1"), "rdkafka", "/127.0.0.1"));
    assert_eq!((member.rebalance_timeout_ms, member.session_timeout_ms), (300_000, 45_000));
    assert_eq!(value.leader, Some(member.member));
    assert_eq!((member.subscription.len(), member.assignment.len()), (22, 38));
}

#[test]
fn every_older_version_is_read() {
    let read = |text: &str| {
        let bytes = hex(text);
        let value = OffsetValue::decode(&bytes).expect("a good value");
        (
            value.offset,
            value.leader_epoch,
            value.metadata.to_owned(),
            value.commit_timestamp_ms,
            value.expire_timestamp_ms,
        )
    };
    let m = "m".to_owned();
    assert_eq!(read("0000000000000000000500016d0000000000000007"), (5, -1, m.clone(), 7, None));
    assert_eq!(read("0001000000000000000500016d00000000000000070000000000000009"), (5, -1, m.clone(), 7, Some(9)));
    assert_eq!(read("0001000000000000000500016d0000000000000007ffffffffffffffff"), (5, -1, m.clone(), 7, None));
    assert_eq!(read("0002000000000000000500016d0000000000000007"), (5, -1, m.clone(), 7, None));
    assert_eq!(read("000300000000000000050000000200016d0000000000000007"), (5, 2, m, 7, None));

    // One member "a" of client "b" at "c", protocol "r", in the versions 0, 1, 2 and 4.
    let member = "000161000162000163";
    let timeouts = ["00000004", "0000000300000004", "0000000300000004"];
    for (version, timeouts) in timeouts.iter().enumerate() {
        let timestamp = if version == 2 { "0000000000000009" } else { "" };
        let text = format!(
            "000{version}00017000000001000172000161{timestamp}00000001{member}{timeouts}0000000158000000{:02x}59",
            1
        );
        let bytes = hex(&text);
        let value = GroupValue::decode(&bytes).expect("a good value");
        assert_eq!((value.generation, value.leader, value.members[0].session_timeout_ms), (1, Some("a"), 4));
        assert_eq!(value.members[0].rebalance_timeout_ms, if version == 0 { -1 } else { 3 });
        assert_eq!(value.state_timestamp_ms, if version == 2 { 9 } else { -1 });
        assert_eq!((value.members[0].subscription, value.members[0].assignment), (&b"X"[..], &b"Y"[..]));
    }
    let flexible =
        hex("0004027000000001027202610000000000000009020261000262026300000003000000040258025900010507610000");
    assert!(GroupValue::decode(&flexible).is_err(), "a tag that is longer than the rest");
    let flexible = hex("00040270000000010272026100000000000000090202610002620263000000030000000402580259000105016100");
    let value = GroupValue::decode(&flexible[..flexible.len() - 4]);
    assert!(value.is_err(), "the tags of the whole are missing");
    let flexible = hex("000402700000000102720261000000000000000902026100026202630000000300000004025802590000");
    let value = GroupValue::decode(&flexible).expect("a good value");
    assert_eq!((value.members.len(), value.members[0].instance), (1, None));
}

#[test]
fn a_commit_with_its_own_retention_is_written_as_kafka_does() {
    let bytes = hex("0001000000000000000500016d000001a1fe597ed5000001a201ed05d5");
    let value = OffsetValue::decode(&bytes).expect("Kafka wrote it");
    assert_eq!(value.expire_timestamp_ms, Some(value.commit_timestamp_ms + 60_000_000));
    // That version has no room for a leader epoch and a topic id.
    assert_eq!(offset_value(&OffsetValue { leader_epoch: 2, topic_id: TOPIC_ID, ..value }), bytes);
}

#[test]
fn whatever_is_cut_off_is_damaged() {
    for length in 0..hex(GROUP_VALUE_STABLE).len() {
        assert!(GroupValue::decode(&hex(GROUP_VALUE_STABLE)[..length]).is_err(), "{length}");
    }
    for length in 0..hex(OFFSET_VALUE).len() {
        assert!(OffsetValue::decode(&hex(OFFSET_VALUE)[..length]).is_err(), "{length}");
    }
    for length in 2..hex(OFFSET_KEY).len() {
        assert!(Key::decode(&hex(OFFSET_KEY)[..length]).is_err(), "{length}");
    }
    assert!(OffsetValue::decode(&hex("00050000000000000000")).is_err(), "a version that is not known");
}

#[test]
fn a_count_beyond_the_bytes_allocates_nothing() {
    let bytes = hex("0003000000000000ffffffff000001a1fe4789be7fffffff");
    let damaged = GroupValue::decode(&bytes).expect_err("2³¹ − 1 members in no bytes");
    assert_eq!((damaged.field, damaged.at), ("member count", 20));
}

#[test]
fn arbitrary_bytes_are_records_or_damaged() {
    bolero::check!().for_each(|input: &[u8]| {
        let _ = Key::decode(input);
        let _ = OffsetValue::decode(input);
        if let Ok(value) = GroupValue::decode(input) {
            let bytes = group_value(&value);
            assert!(GroupValue::decode(&bytes).is_ok(), "what was read can be written and read again");
        }
        // Values of Kafka's, changed in some places.
        for vector in [GROUP_VALUE_STABLE, OFFSET_VALUE_METADATA] {
            let mut bytes = hex(vector);
            for edit in input.chunks_exact(2) {
                let at = usize::from(edit[0]) % bytes.len();
                bytes[at] = edit[1];
            }
            let _ = GroupValue::decode(&bytes);
            let _ = OffsetValue::decode(&bytes);
        }
    });
}
