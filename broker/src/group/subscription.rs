//! The topics named in a consumer's metadata.
//!
//! ```text
//! version:h [ topic:s ] …   big-endian; every version of the consumer protocol begins so
//! ```

/// The topics that a subscription names; `None` if it cannot be read. Later versions' fields are passed over.
pub(super) fn topics(metadata: &[u8]) -> Option<Vec<&str>> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    // Each name takes at least its length.
    if count > rest.len() / 2 {
        return None;
    }
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, after) = after.split_at_checked(length)?;
        topics.push(std::str::from_utf8(name).ok()?);
        rest = after;
    }
    Some(topics)
}

/// Whether metadata begins like a subscription and then breaks it. What is shorter than a version and a count, or of a
/// negative version, is no subscription at all, and let pass, as Kafka does.
pub(super) fn is_broken(metadata: &[u8]) -> bool {
    metadata.len() >= 6 && metadata[0] < 0x80 && topics(metadata).is_none()
}

#[cfg(test)]
mod tests {
    use super::{is_broken, topics};

    #[test]
    fn reads_the_topics_of_any_version_and_passes_over_the_rest() {
        assert_eq!(topics(b"\0\0\0\0\0\x02\0\x01a\0\x02bc\0\0\0\0"), Some(vec!["a", "bc"]));
        assert_eq!(topics(b"\0\x03\0\0\0\x01\0\x01a\0\0\0\0\0\0\0\0\0\0\0\x01\0\0"), Some(vec!["a"]));
        assert_eq!(topics(b"\0\0\0\0\0\0"), Some(vec![]));
    }

    #[test]
    fn what_is_cut_off_or_claims_too_much_is_not_read() {
        for metadata in
            [&b""[..], b"\0", b"\0\0", b"\0\0\0\0\0\x01", b"\0\0\x7f\xff\xff\xff\0\x01a", b"\0\0\0\0\0\x01\0\x05ab"]
        {
            assert_eq!(topics(metadata), None, "{metadata:?}");
        }
        assert_eq!(topics(b"\xff\xff\0\0\0\0"), None);
        assert_eq!(topics(b"\0\0\0\0\0\x01\0\x01\xff"), None);
    }

    #[test]
    fn only_what_begins_like_a_subscription_can_be_broken() {
        assert!(is_broken(b"\0\x01\x7f\xff\xff\xff\0"));
        assert!(is_broken(b"garbage-garbage"));
        assert!(!is_broken(b""));
        assert!(!is_broken(b"\0\0"));
        assert!(!is_broken(b"\xff\xff\0\0\0\0"));
        assert!(!is_broken(b"\0\0\0\0\0\0"));
    }
}
