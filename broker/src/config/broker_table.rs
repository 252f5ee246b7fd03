//! The broker properties that have an effect, and the ones of our own.

use super::definition::{
    Check::{AddressCounts, Any, AtLeast, Between, BetweenOr, Fraction, NotEmpty, OneOf, Subset},
    Definition,
    Importance::{High, Low, Medium},
    Kind::{Boolean, Double, Int, List, Long, Short, String},
};
use super::topic_table::SEGMENT_BYTES_MIN;

/// The most shards a node can have.
pub const SHARDS_MAX: u16 = 1024;

/// The broker properties with an effect, sorted by name.
pub(super) static SUPPORTED: &[Definition] = &[
    Definition::new("advertised.listeners", List, None, Any, High).doc(
        "Addresses given to clients, as NAME://HOST:PORT for each listener. A listener that is not named \
             answers with the address its client connected to.",
    ),
    Definition::new("auto.create.topics.enable", Boolean, Some("true"), Any, High)
        .doc("Whether asking for an unknown topic's metadata creates it, if the client wants that too."),
    Definition::new("broker.id", Int, Some("-1"), AtLeast(-1), High)
        .doc("Kafka's older name of node.id; -1 means node.id."),
    Definition::new("broker.rack", String, None, Any, Medium)
        .doc("Where this node stands; clients are told so that they can read from a replica close to them."),
    Definition::new("compression.gzip.level", Int, Some("-1"), BetweenOr(1, 9, -1), Medium)
        .dynamic()
        .doc("Default of the topics' compression.gzip.level."),
    Definition::new("compression.lz4.level", Int, Some("9"), Between(1, 17), Medium)
        .dynamic()
        .doc("Default of the topics' compression.lz4.level."),
    Definition::new(
        "compression.type",
        String,
        Some("producer"),
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        High,
    )
    .dynamic()
    .doc("Default of the topics' compression.type."),
    Definition::new("compression.zstd.level", Int, Some("3"), Between(-131_072, 22), Medium)
        .dynamic()
        .doc("Default of the topics' compression.zstd.level."),
    Definition::new("connections.max.idle.ms", Long, Some("600000"), AtLeast(-1), Medium)
        .doc("A connection on which nothing happens for this long is closed; a negative value keeps it."),
    Definition::new("controller.listener.names", List, None, Any, High).doc(
        "Listeners of Kafka's controller. They are left out with a warning: the node keeps its metadata \
             itself.",
    ),
    Definition::new("controller.quota.window.num", Int, Some("11"), AtLeast(1), Low)
        .doc("Windows over which partitions created and deleted are counted against a quota: so large is a burst."),
    Definition::new("controller.quota.window.size.seconds", Int, Some("1"), AtLeast(1), Low)
        .doc("Length of one window in which partitions created and deleted are counted."),
    Definition::new("default.replication.factor", Int, Some("1"), AtLeast(1), Medium)
        .doc("Replicas of a topic that does not say how many."),
    Definition::new("delete.topic.enable", Boolean, Some("true"), Any, High).doc("Whether clients may delete topics."),
    Definition::new("fetch.max.bytes", Int, Some("57671680"), AtLeast(1024), Medium).doc(
        "Most bytes one fetch returns, whatever the client asks for; a first batch that is larger comes \
             whole.",
    ),
    Definition::new("group.initial.rebalance.delay.ms", Int, Some("0"), AtLeast(0), Medium)
        .doc("How long a new group waits for more members before its first assignment. Kafka's default is 3000."),
    Definition::new("group.max.session.timeout.ms", Int, Some("1800000"), AtLeast(0), Medium)
        .doc("Longest session timeout a group member may ask for."),
    Definition::new("group.max.size", Int, Some("2147483647"), AtLeast(1), Medium).doc("Most members of one group."),
    Definition::new("group.min.session.timeout.ms", Int, Some("6000"), AtLeast(0), Medium)
        .doc("Shortest session timeout a group member may ask for."),
    Definition::new(
        "listener.security.protocol.map",
        String,
        Some("PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL"),
        Any,
        Low,
    )
    .dynamic()
    .doc("The security protocol of each listener name, as NAME:PROTOCOL. Only PLAINTEXT is served so far."),
    Definition::new("listeners", List, Some("PLAINTEXT://localhost:9092"), NotEmpty, High).dynamic().doc(
        "Addresses served, as NAME://HOST:PORT; an empty host is every address of the machine, port 0 any \
             free port.",
    ),
    Definition::new("log.cleaner.backoff.ms", Long, Some("15000"), AtLeast(0), Medium)
        .dynamic()
        .doc("How long a log rests that could not be compacted. One with nothing to compact is not looked at at all."),
    Definition::new("log.cleaner.dedupe.buffer.size", Long, Some("134217728"), Any, Medium).dynamic().doc(
        "Memory for the keys that compaction compares, 16 bytes each, over all shards; at least 1 MiB each. Where the \
             keys of a log do not fit, it is compacted in several passes. Taken only while something is compacted.",
    ),
    Definition::new("log.cleaner.delete.retention.ms", Long, Some("86400000"), AtLeast(0), Medium)
        .dynamic()
        .doc("Default of the topics' delete.retention.ms."),
    Definition::new("log.cleaner.enable", Boolean, Some("true"), Any, Medium)
        .doc("Whether topics are compacted whose cleanup.policy says so, the one of committed offsets among them."),
    Definition::new("log.cleaner.io.buffer.load.factor", Double, Some("0.9"), Any, Medium)
        .dynamic()
        .doc("How full log.cleaner.dedupe.buffer.size gets: more keys a pass, and more time for each."),
    Definition::new("log.cleaner.io.buffer.size", Int, Some("524288"), AtLeast(0), Medium)
        .dynamic()
        .doc("Bytes that compaction reads or writes at once, half of them each; from 64 KiB to 4 MiB count."),
    Definition::new("log.cleaner.io.max.bytes.per.second", Double, Some("1.7976931348623157E308"), Any, Medium)
        .dynamic()
        .doc("Bytes that compaction reads and writes in a second at most, over all shards."),
    Definition::new("log.cleaner.max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1), Medium)
        .dynamic()
        .doc("Default of the topics' max.compaction.lag.ms."),
    Definition::new("log.cleaner.min.cleanable.ratio", Double, Some("0.5"), Fraction(0.0, 1.0), Medium)
        .dynamic()
        .doc("Default of the topics' min.cleanable.dirty.ratio."),
    Definition::new("log.cleaner.min.compaction.lag.ms", Long, Some("0"), AtLeast(0), Medium)
        .dynamic()
        .doc("Default of the topics' min.compaction.lag.ms."),
    Definition::new("log.cleanup.policy", List, Some("delete"), Subset(&["compact", "delete"]), Medium)
        .dynamic()
        .doc("Default of the topics' cleanup.policy."),
    Definition::new("log.dir", List, Some("skein-data"), NotEmpty, High)
        .doc("The data directory, where log.dirs is not set."),
    Definition::new("log.dirs", List, None, NotEmpty, High).doc("The data directories, separated by commas."),
    Definition::new("log.index.interval.bytes", Int, Some("4096"), AtLeast(0), Medium)
        .dynamic()
        .doc("Default of the topics' index.interval.bytes."),
    Definition::new("log.index.size.max.bytes", Int, Some("10485760"), AtLeast(4), Medium)
        .dynamic()
        .doc("Default of the topics' segment.index.bytes."),
    Definition::new("log.message.timestamp.after.max.ms", Long, Some("3600000"), AtLeast(0), Medium)
        .dynamic()
        .doc("Default of the topics' message.timestamp.after.max.ms."),
    Definition::new("log.message.timestamp.before.max.ms", Long, Some("9223372036854775807"), AtLeast(0), Medium)
        .dynamic()
        .doc("Default of the topics' message.timestamp.before.max.ms."),
    Definition::new(
        "log.message.timestamp.type",
        String,
        Some("CreateTime"),
        OneOf(&["CreateTime", "LogAppendTime"]),
        Medium,
    )
    .dynamic()
    .doc("Default of the topics' message.timestamp.type."),
    Definition::new("log.retention.bytes", Long, Some("-1"), Any, High)
        .dynamic()
        .doc("Default of the topics' retention.bytes."),
    Definition::new("log.retention.check.interval.ms", Long, Some("300000"), AtLeast(1), Medium)
        .doc("How often expired records are looked for: so much later than retention.ms says they may go."),
    Definition::new("log.retention.hours", Int, Some("168"), AtLeast(-1), High).doc(
        "Default of the topics' retention.ms, in hours; log.retention.minutes and log.retention.ms are \
             stronger.",
    ),
    Definition::new("log.retention.minutes", Int, None, AtLeast(-1), High)
        .doc("Default of the topics' retention.ms, in minutes; log.retention.ms is stronger."),
    Definition::new("log.retention.ms", Long, None, AtLeast(-1), High)
        .dynamic()
        .doc("Default of the topics' retention.ms; -1 sets no limit."),
    Definition::new("log.roll.hours", Int, Some("168"), AtLeast(1), High)
        .doc("Default of the topics' segment.ms, in hours; log.roll.ms is stronger."),
    Definition::new("log.roll.jitter.hours", Int, Some("0"), AtLeast(0), High)
        .doc("Default of the topics' segment.jitter.ms, in hours; log.roll.jitter.ms is stronger."),
    Definition::new("log.roll.jitter.ms", Long, None, AtLeast(0), High)
        .dynamic()
        .doc("Default of the topics' segment.jitter.ms."),
    Definition::new("log.roll.ms", Long, None, AtLeast(1), High).dynamic().doc("Default of the topics' segment.ms."),
    Definition::new("log.segment.bytes", Int, Some("1073741824"), AtLeast(SEGMENT_BYTES_MIN), High)
        .dynamic()
        .doc("Default of the topics' segment.bytes."),
    Definition::new("log.segment.delete.delay.ms", Long, Some("60000"), AtLeast(0), High)
        .dynamic()
        .doc("Default of the topics' file.delete.delay.ms."),
    Definition::new("max.connections", Int, Some("2147483647"), AtLeast(0), Medium).dynamic().doc(
        "Most connections of the node. Further ones wait until others end.",
    ),
    Definition::new("max.connections.per.ip", Int, Some("2147483647"), AtLeast(0), Medium).dynamic().doc(
        "Most connections from one address. Further ones are closed at once.",
    ),
    Definition::new("max.connections.per.ip.overrides", String, Some(""), AddressCounts, Medium).dynamic().doc(
        "Other limits than max.connections.per.ip for some addresses, as ADDRESS:COUNT, separated by commas. Names are not \
             looked up, but for localhost.",
    ),
    Definition::new("max.incremental.fetch.session.cache.slots", Int, Some("1000"), AtLeast(0), Medium)
        .doc("Most fetch sessions kept by the node."),
    Definition::new("message.max.bytes", Int, Some("1048588"), AtLeast(0), High)
        .dynamic()
        .doc("Default of the topics' max.message.bytes."),
    Definition::new("node.id", Int, Some("1"), AtLeast(0), High).doc("The node's number in its cluster."),
    Definition::new("num.partitions", Int, Some("1"), AtLeast(1), Medium)
        .doc("Partitions of a topic that does not say how many."),
    Definition::new("offset.metadata.max.bytes", Int, Some("4096"), AtLeast(0), High)
        .doc("Most bytes of text a client may store with a committed offset."),
    Definition::new("offsets.retention.check.interval.ms", Long, Some("600000"), AtLeast(1), High)
        .doc("How often committed offsets are looked through for old ones."),
    Definition::new("offsets.retention.minutes", Int, Some("10080"), AtLeast(1), High)
        .doc("How long committed offsets are kept once their group is empty."),
    Definition::new("offsets.topic.num.partitions", Int, Some("50"), AtLeast(1), High)
        .doc("Partitions of the topic of committed offsets; it must not change once the topic is there."),
    Definition::new("offsets.topic.replication.factor", Short, Some("3"), AtLeast(1), High)
        .doc("Replicas of the topic of committed offsets; never more than there are nodes."),
    Definition::new("offsets.topic.segment.bytes", Int, Some("104857600"), AtLeast(SEGMENT_BYTES_MIN), High)
        .doc("segment.bytes of the topic of committed offsets."),
    Definition::new("producer.id.expiration.ms", Int, Some("86400000"), AtLeast(1), Low)
        .dynamic()
        .doc("How long a partition remembers an idempotent producer that has gone quiet."),
    Definition::new("quota.window.num", Int, Some("11"), AtLeast(1), Low)
        .doc("Windows over which the use of clients with quotas is measured."),
    Definition::new("quota.window.size.seconds", Int, Some("1"), AtLeast(1), Low)
        .doc("Length of one window in which the use of clients with quotas is measured."),
    Definition::new("skein.admin.listener", String, None, Any, Medium).doc(
        "Address of the admin endpoint, as HOST:PORT: metrics and health over HTTP, for anybody who can reach it. \
             Without one there is none.",
    ),
    Definition::new("skein.durability", String, Some("durable"), OneOf(&["durable", "cached"]), High)
        .doc("Default of the topics' skein.durability."),
    Definition::new("skein.memory", Long, None, AtLeast(64 << 20), High).doc(
        "Bytes of memory, shared evenly by the shards: two fifths for records on their way to segments and one for reads \
             from disk, in equal parts for each data directory, and two for requests and answers of connections. A request \
             larger than 7/8 of the last closes its connection. By default 320 MiB for each shard, and never more than a \
             quarter of the machine's memory or the container's.",
    ),
    Definition::new("skein.scrub.bytes.per.second", Long, Some("4194304"), AtLeast(0), Medium).dynamic().doc(
        "How fast closed segments are read again to find damage before a consumer does, in bytes a second of each data \
             directory; each segment once a day at the most. 0 turns it off.",
    ),
    Definition::new("skein.shards", Int, None, Between(1, SHARDS_MAX as i64), High).doc(
        "Shards, each one thread on one core; by default one for each core the process may use. It may \
             differ from start to start.",
    ),
    Definition::new("socket.request.max.bytes", Int, Some("104857600"), AtLeast(1), High)
        .doc("Largest request; a connection that announces a larger one is closed."),
    Definition::new("telemetry.max.bytes", Int, Some("1048576"), AtLeast(1), Low)
        .doc("Largest push of a client's metrics, as it comes over the network."),
];
