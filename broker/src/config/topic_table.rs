//! Every property a topic has: Apache Kafka 4.3's, and `skein.durability`.

use super::definition::{
    Check::{Any, AtLeast, Between, BetweenOr, Fraction, OneOf, ReplicaPairs, Subset},
    Definition,
    Importance::{High, Medium},
    Kind::{Boolean, Double, Int, List, Long, String},
    Reason, Synonym,
};

/// The smallest segment a topic may ask for: 1 MiB, as Kafka since 4.0.
pub const SEGMENT_BYTES_MIN: i64 = 1 << 20;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;

const fn same(name: &'static str) -> Synonym {
    Synonym { name, factor: 1 }
}

const fn minutes(name: &'static str) -> Synonym {
    Synonym { name, factor: MINUTE_MS }
}

const fn hours(name: &'static str) -> Synonym {
    Synonym { name, factor: HOUR_MS }
}

/// The topic properties, sorted by name.
pub(super) static TOPIC: &[Definition] = &[
    Definition::new("cleanup.policy", List, Some("delete"), Subset(&["compact", "delete"]), Medium)
        .from(&[same("log.cleanup.policy")])
        .doc(
            "What happens to old data: delete drops whole segments by age and size, compact keeps the last \
             record of each key, both do both, and an empty list keeps everything.",
        ),
    Definition::new("compression.gzip.level", Int, Some("-1"), BetweenOr(1, 9, -1), Medium)
        .from(&[same("compression.gzip.level")])
        .doc("Level used where the topic's compression.type is gzip; -1 is the codec's own default."),
    Definition::new("compression.lz4.level", Int, Some("9"), Between(1, 17), Medium)
        .from(&[same("compression.lz4.level")])
        .doc("Level where the topic's compression.type is lz4. The broker writes lz4 with one effort: it makes no difference."),
    Definition::new(
        "compression.type",
        String,
        Some("producer"),
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        Medium,
    )
    .from(&[same("compression.type")])
    .doc(
        "Codec the broker stores batches in: one that comes in another codec is recompressed before it is appended. \
             producer keeps each batch as its producer compressed it.",
    ),
    Definition::new("compression.zstd.level", Int, Some("3"), Between(-131_072, 22), Medium)
        .from(&[same("compression.zstd.level")])
        .doc("Level used where the topic's compression.type is zstd."),
    Definition::new("delete.retention.ms", Long, Some("86400000"), AtLeast(0), Medium)
        .from(&[same("log.cleaner.delete.retention.ms")])
        .doc(
            "How long compaction keeps the markers of deleted keys, which is how long a reader from the start \
             may take.",
        ),
    Definition::new("file.delete.delay.ms", Long, Some("60000"), AtLeast(0), Medium)
        .from(&[same("log.segment.delete.delay.ms")])
        .doc("How long the files of a removed segment stay on disk before they are deleted."),
    Definition::new("flush.messages", Long, Some("9223372036854775807"), AtLeast(1), Medium)
        .from(&[same("log.flush.interval.messages")])
        .doc(
            "Kafka's number of records between two syncs. Records are durable before they are acknowledged \
             whatever it says.",
        )
        .without_meaning(Reason::Durability),
    Definition::new("flush.ms", Long, Some("9223372036854775807"), AtLeast(0), Medium)
        .from(&[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")])
        .doc("Kafka's time between two syncs. Records are durable before they are acknowledged whatever it says.")
        .without_meaning(Reason::Durability),
    Definition::new("follower.replication.throttled.replicas", List, Some(""), ReplicaPairs, Medium)
        .doc("Replicas whose followers are slowed down while partitions move.")
        .without_meaning(Reason::Replication),
    Definition::new("index.interval.bytes", Int, Some("4096"), AtLeast(0), Medium)
        .from(&[same("log.index.interval.bytes")])
        .doc("Bytes of log between two entries of the offset and time indexes."),
    Definition::new("leader.replication.throttled.replicas", List, Some(""), ReplicaPairs, Medium)
        .doc("Replicas whose leaders are slowed down while partitions move.")
        .without_meaning(Reason::Replication),
    Definition::new("local.retention.bytes", Long, Some("-2"), AtLeast(-2), Medium)
        .from(&[same("log.local.retention.bytes")])
        .doc("Bytes of a tiered partition kept on local disks; -2 follows retention.bytes.")
        .without_meaning(Reason::Tiered),
    Definition::new("local.retention.ms", Long, Some("-2"), AtLeast(-2), Medium)
        .from(&[same("log.local.retention.ms")])
        .doc("Time a tiered partition's data stays on local disks; -2 follows retention.ms.")
        .without_meaning(Reason::Tiered),
    Definition::new("max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1), Medium)
        .from(&[same("log.cleaner.max.compaction.lag.ms")])
        .doc("Longest time a record may stay uncompacted."),
    Definition::new("max.message.bytes", Int, Some("1048588"), AtLeast(0), Medium)
        .from(&[same("message.max.bytes")])
        .doc("Largest record batch accepted, in bytes as it comes over the network; above 8 MiB none is, whatever this says."),
    Definition::new("message.timestamp.after.max.ms", Long, Some("3600000"), AtLeast(0), Medium)
        .from(&[same("log.message.timestamp.after.max.ms")])
        .doc(
            "How far a record's timestamp may lie after the broker's clock; further ones are refused. Only \
             with CreateTime.",
        ),
    Definition::new("message.timestamp.before.max.ms", Long, Some("9223372036854775807"), AtLeast(0), Medium)
        .from(&[same("log.message.timestamp.before.max.ms")])
        .doc(
            "How far a record's timestamp may lie before the broker's clock; older ones are refused. Only \
             with CreateTime.",
        ),
    Definition::new(
        "message.timestamp.type",
        String,
        Some("CreateTime"),
        OneOf(&["CreateTime", "LogAppendTime"]),
        Medium,
    )
    .from(&[same("log.message.timestamp.type")])
    .doc("Whose clock a record's timestamp shows: the producer's (CreateTime) or the broker's (LogAppendTime)."),
    Definition::new("min.cleanable.dirty.ratio", Double, Some("0.5"), Fraction(0.0, 1.0), Medium)
        .from(&[same("log.cleaner.min.cleanable.ratio")])
        .doc("Share of a log that must be uncompacted before compaction takes it up."),
    Definition::new("min.compaction.lag.ms", Long, Some("0"), AtLeast(0), Medium)
        .from(&[same("log.cleaner.min.compaction.lag.ms")])
        .doc("Shortest time a record stays uncompacted."),
    Definition::new("min.insync.replicas", Int, Some("1"), AtLeast(1), Medium)
        .from(&[same("min.insync.replicas")])
        .doc("In-sync replicas an acks=all produce needs; never more than the partition has replicas.")
        .without_meaning(Reason::Replication),
    Definition::new("preallocate", Boolean, Some("false"), Any, Medium)
        .from(&[same("log.preallocate")])
        .doc(
            "Whether Kafka reserves a new segment's file at once. Segment files are laid out by the storage \
             engine here.",
        )
        .without_meaning(Reason::Nothing),
    Definition::new("remote.log.copy.disable", Boolean, Some("false"), Any, Medium)
        .doc("Makes a tiered topic's remote part read-only.")
        .without_meaning(Reason::Tiered),
    Definition::new("remote.log.delete.on.disable", Boolean, Some("false"), Any, Medium)
        .doc("Whether switching tiered storage off deletes the remote part.")
        .without_meaning(Reason::Tiered),
    Definition::new("remote.storage.enable", Boolean, Some("false"), Any, Medium)
        .doc("Tiered storage for the topic. Only false is possible.")
        .without_meaning(Reason::Tiered),
    Definition::new("retention.bytes", Long, Some("-1"), Any, Medium).from(&[same("log.retention.bytes")]).doc(
        "Size of a partition above which its oldest segments are deleted; -1 sets no limit. Only with the \
             policy delete.",
    ),
    Definition::new("retention.ms", Long, Some("604800000"), AtLeast(-1), Medium)
        .from(&[same("log.retention.ms"), minutes("log.retention.minutes"), hours("log.retention.hours")])
        .doc("Age above which segments are deleted; -1 sets no limit. Only with the policy delete."),
    Definition::new("segment.bytes", Int, Some("1073741824"), AtLeast(SEGMENT_BYTES_MIN), Medium)
        .from(&[same("log.segment.bytes")])
        .doc("Size at which a segment is closed and a new one begins. Retention drops whole segments."),
    Definition::new("segment.index.bytes", Int, Some("10485760"), AtLeast(4), Medium)
        .from(&[same("log.index.size.max.bytes")])
        .doc("Largest size of a segment's offset index; a full index closes the segment."),
    Definition::new("segment.jitter.ms", Long, Some("0"), AtLeast(0), Medium)
        .from(&[same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")])
        .doc("Largest random time taken off segment.ms, so that many segments do not close at once."),
    Definition::new("segment.ms", Long, Some("604800000"), AtLeast(1), Medium)
        .from(&[same("log.roll.ms"), hours("log.roll.hours")])
        .doc("Age at which a segment is closed although it is not full, so that retention can reach it."),
    Definition::new("skein.durability", String, Some("durable"), OneOf(&["durable", "cached"]), High)
        .from(&[same("skein.durability")])
        .doc(
            "When a produce is acknowledged: durable, once the records are on the disk; cached, once they are \
             in the page cache, which survives a killed process but not a power cut.",
        ),
    Definition::new("unclean.leader.election.enable", Boolean, Some("false"), Any, Medium)
        .from(&[same("unclean.leader.election.enable")])
        .doc("Whether a replica that misses acknowledged records may become leader.")
        .without_meaning(Reason::Replication),
];
