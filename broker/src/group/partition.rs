//! Which partition of `__consumer_offsets` a group belongs to.

/// The partition of `__consumer_offsets` that a group's coordinator persists it in: the absolute value of Java's
/// `String.hashCode` (over UTF-16 code units) modulo the number of partitions, as every Kafka client and tool expects.
///
/// The absolute value of -2³¹ is 0, as Kafka's own helper has it.
///
/// # Panics
/// If `partitions` is not positive.
#[must_use]
pub fn partition_for(group: &str, partitions: i32) -> i32 {
    assert!(partitions > 0, "an internal topic has partitions");
    let hash = group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % partitions
}

#[cfg(test)]
mod tests {
    use super::partition_for;

    /// Hashes as Java computes them.
    #[test]
    fn is_the_java_hash() {
        let vectors = [
            ("", 0i64),
            ("a", 97),
            ("test", 3_556_498),
            ("my-group", -1_906_497_762),
            ("console-consumer-12345", 158_455_506),
            ("grüße", 98_768_023),
            ("組", 32_068),
            ("😀", 1_772_899),
            ("polygenelubricants", i64::from(i32::MIN)),
        ];
        for (group, hash) in vectors {
            let expected = if hash == i64::from(i32::MIN) { 0 } else { hash.abs() % 50 };
            assert_eq!(i64::from(partition_for(group, 50)), expected, "{group:?}");
        }
    }
}
