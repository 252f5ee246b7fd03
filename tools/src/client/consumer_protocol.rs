//! What members of a consumer group tell each other inside the group protocol's opaque bytes (Kafka's
//! ConsumerProtocolSubscription and ConsumerProtocolAssignment), so that they share a group with any other client.
//!
//! ```text
//! subscription   version int16 | [topic string] | user data nullable bytes | later versions' fields
//! assignment     version int16 | [ topic string, [partition int32] ]       | user data nullable bytes
//! ```
//! Every version begins like version 0, which is what is written here.

use std::collections::BTreeMap;

use net::wire::put;
use net::{DecodeError, Reader};

/// The protocol type of consumer groups.
pub(super) const PROTOCOL_TYPE: &str = "consumer";

const VERSION: i16 = 0;

/// The least bytes of a string, and those of a partition's number.
const STRING_BYTES_MIN: usize = 2;
const PARTITION_BYTES: usize = 4;

/// The bytes that say which topics a member wants.
pub(super) fn encode_subscription(topics: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    put::i16(&mut out, VERSION);
    put::count(&mut out, topics.len(), false);
    for topic in topics {
        put::string(&mut out, topic, false);
    }
    put::nullable_bytes(&mut out, None, false);
    out
}

/// The topics a member wants.
///
/// # Errors
/// If the bytes are no subscription.
pub(super) fn decode_subscription(bytes: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut reader = Reader::new(bytes);
    reader.i16()?;
    let mut topics = Vec::new();
    for _ in 0..reader.count(false, STRING_BYTES_MIN)? {
        topics.push(reader.string(false)?.to_owned());
    }
    Ok(topics)
}

/// The bytes that say which partitions a member gets.
pub(super) fn encode_assignment(partitions: &BTreeMap<String, Vec<i32>>) -> Vec<u8> {
    let mut out = Vec::new();
    put::i16(&mut out, VERSION);
    put::count(&mut out, partitions.len(), false);
    for (topic, partitions) in partitions {
        put::string(&mut out, topic, false);
        put::count(&mut out, partitions.len(), false);
        for &partition in partitions {
            put::i32(&mut out, partition);
        }
    }
    put::nullable_bytes(&mut out, None, false);
    out
}

/// The partitions a member gets. No bytes at all are no partitions.
///
/// # Errors
/// If the bytes are no assignment.
pub(super) fn decode_assignment(bytes: &[u8]) -> Result<BTreeMap<String, Vec<i32>>, DecodeError> {
    let mut assignment: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    if bytes.is_empty() {
        return Ok(assignment);
    }
    let mut reader = Reader::new(bytes);
    reader.i16()?;
    for _ in 0..reader.count(false, STRING_BYTES_MIN + PARTITION_BYTES)? {
        let partitions = assignment.entry(reader.string(false)?.to_owned()).or_default();
        for _ in 0..reader.count(false, PARTITION_BYTES)? {
            partitions.push(reader.i32()?);
        }
    }
    Ok(assignment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_has_javas_bytes() {
        let bytes = encode_subscription(&["t".to_owned()]);
        assert_eq!(bytes, [0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decode_subscription(&bytes).unwrap(), ["t"]);
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        // Version 3: owned partitions, generation, rack.
        let mut bytes = vec![0, 3, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff];
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 7, 0, 1, b'r']);
        assert_eq!(decode_subscription(&bytes).unwrap(), ["t"]);
    }

    #[test]
    fn an_assignment_is_read_back_and_nothing_is_no_partition() {
        let assignment = BTreeMap::from([("a".to_owned(), vec![0, 2]), ("b".to_owned(), vec![1])]);
        assert_eq!(decode_assignment(&encode_assignment(&assignment)).unwrap(), assignment);
        assert_eq!(decode_assignment(&[]).unwrap(), BTreeMap::new());
    }

    #[test]
    fn counts_are_not_believed() {
        assert!(decode_assignment(&[0, 0, 0x7f, 0xff, 0xff, 0xff]).is_err());
        assert!(decode_subscription(&[0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0]).is_err());
    }
}
