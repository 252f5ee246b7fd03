//! Tests of the whole configuration: against what a live Kafka 4.3.1 said of itself, and from text to typed values.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

/// Every property a live Apache Kafka 4.3.1 lists: scope, name, type, default, and whether it can be changed.
const KAFKA: &str = include_str!("testdata/kafka-4.3.1-configs.tsv");
const STOCK: &str = include_str!("testdata/server.properties");

/// Defaults that differ from Kafka's on purpose.
const OTHER_DEFAULTS: &[(&str, &str)] = &[
    ("group.initial.rebalance.delay.ms", "no waiting on a node for development"),
    ("listener.security.protocol.map", "the same pairs, in a readable order"),
    ("listeners", "a fresh node is for its own machine"),
    ("log.dir", "beside where the node was started"),
    ("node.id", "a node needs no configuration"),
];

fn kafka_rows() -> impl Iterator<Item = [&'static str; 5]> {
    KAFKA.lines().map(|line| {
        let fields: Vec<_> = line.split('\t').collect();
        fields.try_into().expect("five fields a line")
    })
}

#[test]
fn every_property_of_kafka_is_known_with_its_type_and_default() {
    for [scope, name, kind, default, change] in kafka_rows() {
        let definition = if scope == "topic" { topic_definition(name) } else { broker_definition(name) };
        let definition = definition.unwrap_or_else(|| panic!("{scope} {name} is missing"));
        assert_eq!(definition.kind.name(), kind, "{scope} {name}");
        assert!(scope == "topic" || definition.dynamic == (change == "dynamic"), "{scope} {name}");
        if !OTHER_DEFAULTS.iter().any(|(other, _)| *other == name) {
            assert_eq!(definition.default.unwrap_or("null"), default, "{scope} {name}");
        }
    }
}

#[test]
fn every_other_property_is_our_own_or_a_plug_ins() {
    let kafka: Vec<_> = kafka_rows().map(|[scope, name, ..]| (scope, name)).collect();
    let topics = topic_definitions().map(|d| ("topic", d.name));
    let brokers = broker_definitions().map(|d| ("broker", d.name));
    for (scope, name) in topics.chain(brokers) {
        let of_the_authorizer = matches!(name, "super.users" | "allow.everyone.if.no.acl.found");
        assert!(
            kafka.contains(&(scope, name)) || name.starts_with("skein.") || of_the_authorizer,
            "{scope} {name} is no property of Kafka"
        );
    }
}

fn load(text: &str, sets: &[&str], flags: &Flags) -> Result<(NodeConfig, Vec<Warning>), ConfigError> {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    NodeConfig::load(flags, Some(PropertiesFile { path: "my.properties", text }), &sets)
}

fn loaded(text: &str, sets: &[&str]) -> NodeConfig {
    load(text, sets, &Flags::default()).expect("a good configuration").0
}

fn refused(text: &str, sets: &[&str]) -> String {
    load(text, sets, &Flags::default()).expect_err("a bad configuration").to_string()
}

fn listening(flags: &[&str], advertise: &[&str]) -> Flags {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    Flags { listen: owned(flags), advertise: owned(advertise), ..Flags::default() }
}

fn bound(listener: &Listener) -> Vec<(String, bool)> {
    listener.bind.iter().map(|bind| (bind.endpoint.to_string(), bind.optional)).collect()
}

#[test]
fn without_anything_a_node_serves_localhost() {
    let (config, warnings) = NodeConfig::load(&Flags::default(), None, &[]).expect("the defaults are good");
    assert_eq!(warnings, []);
    assert_eq!((config.node_id, config.shards, config.memory_bytes), (1, None, None));
    assert_eq!(config.data_dirs, [PathBuf::from("skein-data")]);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].name, "PLAINTEXT");
    assert_eq!(bound(&config.listeners[0]), [("127.0.0.1:9092".to_owned(), false), ("[::1]:9092".to_owned(), true)]);
    assert_eq!(config.listeners[0].advertised, None);
    assert_eq!(config.durability(), Durability::Durable);
    assert_eq!(config.groups.initial_rebalance_delay_ms, 0);
    assert_eq!(config.groups.offsets_partitions, 50);
    assert_eq!(config.groups.offsets_retention_ms, 7 * 24 * 3_600_000);
    assert_eq!(config.network.request_bytes_max, 100 << 20);
    assert_eq!(config.network.fetch_bytes_max, 55 << 20);
    assert_eq!(config.network.idle_ms_max, Some(600_000));
    assert_eq!(
        config.topics,
        Topics { auto_create: true, delete: true, partitions_default: 1, replication_factor_default: 1 }
    );
}

#[test]
fn the_properties_file_that_kafka_comes_with_starts_a_node() {
    let (config, warnings) = load(STOCK, &[], &Flags::default()).expect("it is accepted");
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(bound(&config.listeners[0]), [("0.0.0.0:9092".to_owned(), false), ("[::]:9092".to_owned(), true)]);
    assert_eq!(config.listeners[0].advertised, Some(Endpoint { host: "localhost".to_owned(), port: 9092 }));
    assert_eq!(config.data_dirs, [PathBuf::from("/tmp/kraft-combined-logs")]);
    let [Warning::WithoutMeaning(names), Warning::ControllerListener(listener)] = &warnings[..] else {
        panic!("two warnings: {warnings:?}");
    };
    assert_eq!(listener, "CONTROLLER://:9093");
    assert_eq!(names.len(), 12);
    let text = warnings[0].to_string();
    assert!(text.contains("num.network.threads, num.io.threads, num.recovery.threads.per.data.dir (one thread a core"));
    assert!(text.contains("process.roles, controller.quorum.bootstrap.servers, inter.broker.listener.name (the node"));
}

#[test]
fn stronger_sources_win() {
    assert_eq!(loaded("num.partitions=2\nnum.partitions=3", &[]).topics.partitions_default, 3);
    assert_eq!(loaded("num.partitions=2", &["num.partitions=4"]).topics.partitions_default, 4);
    let flags = Flags { data: vec!["/a".into(), "/b".into()], shards: Some(3), ..Flags::default() };
    let (config, _) = load("log.dirs=/c\nskein.shards=2", &[], &flags).expect("good");
    assert_eq!(config.data_dirs, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert_eq!(config.shards, Some(3));
    assert_eq!(loaded("log.dirs=/c, /d", &[]).data_dirs, [PathBuf::from("/c"), PathBuf::from("/d")]);
    assert_eq!(loaded("log.dir=/e", &[]).data_dirs, [PathBuf::from("/e")]);
    assert_eq!(loaded("broker.id=7", &[]).node_id, 7);
}

#[test]
fn unknown_names_are_refused_with_their_place_and_the_nearest_name() {
    assert_eq!(
        refused("a.b=\\\n1\n\nlog.retention.hour=3", &[]),
        "my.properties:1: unknown property a.b; docs/configuration.md lists all of them"
    );
    assert_eq!(
        refused("# head\n\nlog.retention.hour=3", &[]),
        "my.properties:3: unknown property log.retention.hour; did you mean log.retention.hours?"
    );
    assert_eq!(refused("", &["skein.shard=3"]), "--set: unknown property skein.shard; did you mean skein.shards?");
    assert_eq!(
        refused("", &["retention.ms=3"]),
        "--set: retention.ms is a property of topics; their default on the broker is called log.retention.ms"
    );
    assert_eq!(refused("", &["num.partitions"]), "--set: \"num.partitions\": a property is set as NAME=VALUE");
}

#[test]
fn impossible_values_are_refused_with_a_sentence() {
    for (set, sentence) in [
        ("num.partitions=0", "Invalid value \"0\" for num.partitions: it must be at least 1 (the default is 1)"),
        (
            "delete.topic.enable=yes",
            "Invalid value \"yes\" for delete.topic.enable: it must be true or false (the default is true)",
        ),
        (
            "log.segment.bytes=1000",
            "Invalid value \"1000\" for log.segment.bytes: it must be at least 1048576 (the default is 1073741824)",
        ),
        (
            "socket.request.max.bytes=4294967296",
            "Invalid value \"4294967296\" for socket.request.max.bytes: numbers of type int lie between -2147483648 and 2147483647 (the default is 104857600)",
        ),
        (
            "skein.durability=maybe",
            "Invalid value \"maybe\" for skein.durability: it must be one of durable, cached (the default is durable)",
        ),
        ("skein.shards=0", "Invalid value \"0\" for skein.shards: it must be between 1 and 1024"),
        (
            "group.share.session.timeout.ms=x",
            "Invalid value \"x\" for group.share.session.timeout.ms: it must be a whole number (int) (the default is 45000)",
        ),
    ] {
        assert_eq!(refused("", &[set]), format!("--set: {sentence}"));
    }
    assert!(refused("process.roles=controller", &[]).starts_with("process.roles=controller: every node is a broker"));
    assert!(refused("node.id=1\nbroker.id=2", &[]).contains("remove broker.id"));
    assert!(
        refused("group.min.session.timeout.ms=7\ngroup.max.session.timeout.ms=6", &[]).contains("must not be larger")
    );
    assert_eq!(
        refused("\na=\\u00", &[]),
        "my.properties:2: \\u must be followed by four hexadecimal digits that make a character"
    );
}

#[test]
fn what_plug_ins_of_kafka_read_is_accepted_with_a_warning() {
    let (_, warnings) =
        load("rsm.config.bucket=x\nssl.keystore.password=secret", &[], &Flags::default()).expect("good");
    let text = warnings[0].to_string();
    assert!(text.contains("rsm.config.bucket (there is no tiered storage)"));
    assert!(text.contains("ssl.keystore.password (listeners with TLS are not served yet)"));
    assert!(!text.contains("secret"));
}

#[test]
fn listeners_of_the_command_line_pair_with_their_advertised_addresses() {
    let flags = listening(&["0.0.0.0:9092", "[::1]:0", "EXTRA://host:1"], &["broker.example:19092", "[fe80::1]:5"]);
    let sets = ["listener.security.protocol.map=EXTRA:PLAINTEXT"];
    let (config, _) = load("listeners=PLAINTEXT://ignored:1", &sets, &flags).expect("good");
    let names: Vec<_> = config.listeners.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["PLAINTEXT", "PLAINTEXT_2", "EXTRA"]);
    assert_eq!(bound(&config.listeners[1]), [("[::1]:0".to_owned(), false)]);
    let advertised: Vec<_> = config.listeners.iter().map(|l| l.advertised.as_ref().map(ToString::to_string)).collect();
    assert_eq!(advertised, [Some("broker.example:19092".to_owned()), Some("[fe80::1]:5".to_owned()), None]);
    assert_eq!(
        config.settings.explicit("listeners"),
        Some("PLAINTEXT://0.0.0.0:9092,PLAINTEXT_2://[::1]:0,EXTRA://host:1")
    );
}

#[test]
fn advertised_listeners_find_their_listener_by_name() {
    let text = "listeners=IN://10.0.0.1:9092,OUT://:9093\nadvertised.listeners=OUT://example.org:443\n\
                listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT";
    let config = loaded(text, &[]);
    assert_eq!(config.listeners[0].advertised, None);
    assert_eq!(config.listeners[1].advertised, Some(Endpoint { host: "example.org".to_owned(), port: 443 }));
}

#[test]
fn impossible_listeners_are_refused_with_a_sentence() {
    for (text, part) in [
        ("listeners=SSL://:9093", "it asks for SSL, and only PLAINTEXT is served so far"),
        ("listeners=SASL_PLAINTEXT://:9093", "it asks for SASL_PLAINTEXT"),
        ("listeners=MINE://:9093", "add MINE:PLAINTEXT to it"),
        ("listeners=localhost:9092", "a listener is written NAME://HOST:PORT"),
        ("listeners=PLAINTEXT://localhost", "an address is written HOST:PORT"),
        ("listeners=PLAINTEXT://::1:9092", "an address is written HOST:PORT"),
        ("listeners=PLAINTEXT://h:65536", "\"65536\" is no port"),
        ("listeners=PLAINTEXT://a:1,PLAINTEXT://b:2", "two listeners have that name"),
        (
            "listeners=A://h:1,B://h:1\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT",
            "two listeners have that address",
        ),
        ("listeners=C://:1\ncontroller.listener.names=C", "no listener is left for clients"),
        ("advertised.listeners=OTHER://h:1", "there is no listener named OTHER"),
        ("advertised.listeners=PLAINTEXT://0.0.0.0:9092", "not every address"),
        ("advertised.listeners=PLAINTEXT://h:0", "a port other than 0"),
    ] {
        let message = refused(text, &[]);
        assert!(message.contains(part), "{text}: {message}");
    }
    let flags = listening(&["localhost:1"], &["a:1", "b:2"]);
    let message = load("", &[], &flags).expect_err("one too many").to_string();
    assert!(message.starts_with("--advertise: there are 2 of them and only 1 listeners"), "{message}");
    let message = load("", &[], &listening(&["9092"], &[])).expect_err("no host").to_string();
    assert!(message.starts_with("--listen: \"9092\": an address is written HOST:PORT"), "{message}");
}

fn overrides(pairs: &[(&str, &str)]) -> Result<Overrides, Refused> {
    check_overrides(pairs.iter().map(|&(name, value)| (name, Some(value))), &Settings::default())
}

#[test]
fn topic_configs_are_resolved_from_overrides_and_broker_defaults() {
    let node = loaded("log.retention.hours=2\nlog.segment.bytes=2097152\nskein.durability=cached", &[]);
    let defaults = node.topic_defaults();
    assert_eq!(defaults.retention_ms, Some(7_200_000));
    assert_eq!(defaults.segment_bytes, 2 << 20);
    assert_eq!(defaults.durability, Durability::Cached);
    assert_eq!(defaults.cleanup, Cleanup { delete: true, compact: false });
    assert_eq!(defaults.retention_bytes, None);
    assert_eq!(defaults.message_bytes_max, 1_048_588);
    assert_eq!(defaults.timestamp_before_ms_max, i64::MAX as u64);
    assert_eq!(defaults.compression, Compression::Producer);

    let set = overrides(&[
        ("retention.ms", "-1"),
        ("cleanup.policy", "compact, delete"),
        ("skein.durability", "durable"),
        ("compression.type", "zstd"),
        ("compression.zstd.level", "-5"),
        ("message.timestamp.type", "LogAppendTime"),
    ])
    .expect("possible values");
    let topic = TopicConfig::resolve(&set, &node.settings);
    assert_eq!(topic.retention_ms, None);
    assert_eq!(topic.cleanup, Cleanup { delete: true, compact: true });
    assert_eq!(topic.durability, Durability::Durable);
    assert_eq!(topic.compression, Compression::Zstd(-5));
    assert_eq!(topic.timestamp_type, TimestampType::LogAppendTime);

    let nothing = overrides(&[("cleanup.policy", "")]).expect("an empty policy keeps everything");
    let kept = TopicConfig::resolve(&nothing, &node.settings).cleanup;
    assert_eq!(kept, Cleanup { delete: false, compact: false });
}

#[test]
fn impossible_topic_configs_are_refused_as_kafka_refuses_them() {
    for (name, value, message) in [
        ("nope", "1", "Unknown topic config name: nope"),
        ("retention.m", "1", "Unknown topic config name: retention.m; did you mean retention.ms?"),
        ("retention.ms", "abc", "Invalid value \"abc\" for retention.ms: it must be a whole number (long)"),
        ("retention.ms", "-2", "Invalid value \"-2\" for retention.ms: it must be at least -1"),
        ("segment.bytes", "1000", "Invalid value \"1000\" for segment.bytes: it must be at least 1048576"),
        ("cleanup.policy", "shrink", "Invalid value \"shrink\" for cleanup.policy: it must be any of compact, delete"),
        (
            "min.cleanable.dirty.ratio",
            "1.5",
            "Invalid value \"1.5\" for min.cleanable.dirty.ratio: it must be between 0 and 1",
        ),
        (
            "leader.replication.throttled.replicas",
            "1-2",
            "Invalid value \"1-2\" for leader.replication.throttled.replicas: it must be pairs of partition:broker, or *",
        ),
        (
            "compression.gzip.level",
            "0",
            "Invalid value \"0\" for compression.gzip.level: it must be between 1 and 9, or -1",
        ),
        ("remote.storage.enable", "true", "remote.storage.enable cannot be true: this node has no tiered storage"),
    ] {
        assert_eq!(overrides(&[(name, value)]).expect_err(name).to_string(), message);
    }
    let lags = overrides(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]);
    assert!(lags.expect_err("a conflict").to_string().starts_with("min.compaction.lag.ms must not be larger"));
    let null = check_overrides([("retention.ms", None)], &Settings::default()).expect_err("null");
    assert_eq!(null.to_string(), "Null value not supported for topic configs: retention.ms");
    assert!(overrides(&[("follower.replication.throttled.replicas", "0:1,1:1")]).is_ok());
    assert!(overrides(&[("follower.replication.throttled.replicas", "*")]).is_ok());
}

fn topic_synonyms(name: &str, set: &[(&str, &str)], text: &str) -> Vec<String> {
    let overrides = overrides(set).expect("possible values");
    let settings = loaded(text, &[]).settings;
    let row = topic_row(topic_definition(name).expect("a topic property"), &overrides, &settings);
    let head = format!("{}={}@{}", row.name, row.value.unwrap_or_default(), row.source.wire());
    let synonym = |s: SynonymRow| format!("{}={}@{}", s.name, s.value.unwrap_or_default(), s.source.wire());
    std::iter::once(head).chain(row.synonyms.into_iter().map(synonym)).collect()
}

/// The expectations are what a live Kafka 4.3.1 answered with the same settings.
#[test]
fn topics_are_described_with_kafkas_sources_and_synonyms() {
    assert_eq!(topic_synonyms("retention.ms", &[], ""), ["retention.ms=604800000@5"]);
    assert_eq!(
        topic_synonyms("retention.ms", &[("retention.ms", "1000")], ""),
        ["retention.ms=1000@1", "retention.ms=1000@1"]
    );
    assert_eq!(topic_synonyms("retention.ms", &[], "log.retention.hours=100"), ["retention.ms=360000000@5"]);
    assert_eq!(
        topic_synonyms("segment.ms", &[], "log.roll.ms=5000000\nlog.roll.hours=3"),
        ["segment.ms=5000000@4", "log.roll.ms=5000000@4", "log.roll.hours=3@4", "log.roll.hours=168@5"]
    );
    assert_eq!(topic_synonyms("flush.ms", &[], "log.flush.scheduler.interval.ms=7000"), ["flush.ms=7000@5"]);
    assert_eq!(
        topic_synonyms("segment.bytes", &[("segment.bytes", "2097152")], "log.segment.bytes=2000000"),
        [
            "segment.bytes=2097152@1",
            "segment.bytes=2097152@1",
            "log.segment.bytes=2000000@4",
            "log.segment.bytes=1073741824@5"
        ]
    );
    assert_eq!(
        topic_synonyms("min.insync.replicas", &[], ""),
        ["min.insync.replicas=1@3", "min.insync.replicas=1@3", "min.insync.replicas=1@5"]
    );
    assert_eq!(
        topic_synonyms("min.insync.replicas", &[], "min.insync.replicas=2"),
        ["min.insync.replicas=2@3", "min.insync.replicas=2@3", "min.insync.replicas=2@4", "min.insync.replicas=1@5"]
    );
}

#[test]
fn brokers_are_described_with_kafkas_sources_and_synonyms() {
    let settings = loaded("num.partitions=4\nlog.roll.hours=3\nssl.key.password=secret", &[]).settings;
    let row = |name| broker_row(broker_definition(name).expect("a broker property"), &settings);
    let partitions = row("num.partitions");
    assert_eq!((partitions.value.as_deref(), partitions.source), (Some("4"), Source::StaticBroker));
    assert!(partitions.read_only && !partitions.is_default() && !partitions.sensitive);
    let listed: Vec<_> = partitions.synonyms.iter().map(|s| (s.value.as_deref(), s.source.wire())).collect();
    assert_eq!(listed, [(Some("4"), 4), (Some("1"), 5)]);
    let unset = row("log.retention.ms");
    assert_eq!((unset.value, unset.source, unset.synonyms.len()), (None, Source::Default, 0));
    assert!(!unset.read_only);
    let secret = row("ssl.key.password");
    assert!(secret.sensitive && secret.value.is_none() && secret.synonyms.iter().all(|s| s.value.is_none()));
    assert_eq!(secret.source, Source::StaticBroker);
    assert_eq!(
        row("num.io.threads").documentation,
        "Accepted without effect: one thread a core does network and disk work."
    );
}

#[test]
fn the_page_names_every_property() {
    let page = configuration_markdown();
    let others = group_definitions().chain(client_metrics_definitions());
    for definition in topic_definitions().chain(broker_definitions()).chain(others) {
        assert!(page.contains(&format!("`{}`", definition.name)), "{}", definition.name);
    }
    assert!(page.ends_with(".\n") && !page.contains("\n\n\n"));
}

#[test]
fn the_checked_in_page_is_the_generated_one() {
    assert_eq!(include_str!("../../../docs/configuration.md"), configuration_markdown());
}

/// Values that pass one check and might surprise what is computed from them.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<i32>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        prop::sample::select(vec!["-1", "0", "1", "true", "", "+5", "delete", "PLAINTEXT://h:1", "inf", " 7 "])
            .prop_map(str::to_owned),
        ".{0,20}",
    ]
}

proptest! {
    #[test]
    fn every_value_is_refused_or_becomes_a_whole_configuration(
        set in prop::collection::vec((any::<prop::sample::Index>(), value()), 1..4)
    ) {
        let names: Vec<_> = broker_definitions().map(|definition| definition.name).collect();
        let sets: Vec<_> = set.iter().map(|(index, value)| format!("{}={value}", index.get(&names))).collect();
        if let Ok((config, _)) = NodeConfig::load(&Flags::default(), None, &sets) {
            prop_assert!(!config.listeners.is_empty());
            prop_assert!(config.topic_defaults().segment_bytes >= 1 << 20);
            for definition in broker_definitions() {
                broker_row(definition, &config.settings);
            }
        }
    }

    #[test]
    fn every_topic_value_is_refused_or_becomes_a_whole_configuration(
        set in prop::collection::vec((any::<prop::sample::Index>(), value()), 1..4)
    ) {
        let names: Vec<_> = topic_definitions().map(|definition| definition.name).collect();
        let pairs: Vec<_> = set.iter().map(|(index, value)| (*index.get(&names), value.as_str())).collect();
        if let Ok(overrides) = overrides(&pairs) {
            let config = TopicConfig::resolve(&overrides, &Settings::default());
            prop_assert!(config.segment_bytes >= 1 << 20);
        }
    }
}
