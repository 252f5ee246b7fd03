//! rdkafka: produces idempotently, consumes in a group of two, commits, and resumes; then administers.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};

const RECORDS: usize = 4000;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let bootstrap = std::env::args().nth(1).expect("HOST:PORT");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970").as_nanos();
    let topic = format!("rdkafka-{now}");
    let group = format!("{topic}-group");
    println!("version 0.39.0 (librdkafka {})", rdkafka::util::get_rdkafka_version().1);
    let config = || {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &bootstrap);
        config
    };
    let admin: AdminClient<DefaultClientContext> = config().create().expect("an admin client");
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    let wanted = NewTopic::new(&topic, 4, TopicReplication::Fixed(1));
    admin.create_topics(&[wanted], &options).await.expect("create")[0].as_ref().expect("created");
    produce(&config(), &topic, 0, RECORDS / 2).await;
    println!("ok produce");
    let first = consume(&config(), &topic, &group, 2, RECORDS / 2).await;
    assert_eq!(first.len(), RECORDS / 2, "what the group of two read");
    println!("ok consume\nok group");
    produce(&config(), &topic, RECORDS / 2, RECORDS).await;
    let second = consume(&config(), &topic, &group, 1, RECORDS / 2).await;
    assert!(first.is_disjoint(&second), "records were read twice after the resume");
    assert_eq!(first.len() + second.len(), RECORDS, "where it resumed to");
    println!("ok resume");
    admin.create_partitions(&[NewPartitions::new(&topic, 6)], &options).await.expect("grow")[0].as_ref().expect("grown");
    let change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("retention.ms", "3600000");
    admin.alter_configs(&[change], &options).await.expect("alter")[0].as_ref().expect("altered");
    let described = admin.describe_configs(&[ResourceSpecifier::Topic(&topic)], &options).await.expect("describe");
    let described = described[0].as_ref().expect("described");
    assert!(described.entries.len() > 20, "configurations");
    admin.delete_groups(&[&group], &options).await.expect("delete group")[0].as_ref().expect("deleted");
    admin.delete_topics(&[&topic], &options).await.expect("delete topic")[0].as_ref().expect("deleted");
    println!("ok admin");
}

async fn produce(config: &ClientConfig, topic: &str, from: usize, to: usize) {
    let mut config = config.clone();
    config.set("enable.idempotence", "true").set("linger.ms", "5").set("compression.type", "gzip");
    let producer: FutureProducer = config.create().expect("a producer");
    let sent = (from..to).map(|i| {
        let producer = producer.clone();
        async move {
            let (key, value) = (format!("key-{i}"), format!("value-{i}"));
            let record = FutureRecord::to(topic).key(&key).payload(&value);
            producer.send(record, PATIENCE).await.map_err(|(error, _)| error).expect("produced");
        }
    });
    futures::future::join_all(sent).await;
}

async fn consume(config: &ClientConfig, topic: &str, group: &str, members: usize, wanted: usize) -> HashSet<String> {
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let end = Instant::now() + PATIENCE;
    let running = (0..members).map(|_| {
        let mut config = config.clone();
        config.set("group.id", group).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
        let (seen, topic) = (Arc::clone(&seen), topic.to_owned());
        tokio::spawn(async move {
            let consumer: StreamConsumer = config.create().expect("a consumer");
            consumer.subscribe(&[&topic]).expect("subscribed");
            let mut read_any = false;
            while seen.lock().expect("no panic").len() < wanted && Instant::now() < end {
                let Ok(message) = tokio::time::timeout(Duration::from_millis(200), consumer.recv()).await else { continue };
                let message = message.expect("a message");
                let key = String::from_utf8_lossy(message.key().expect("a key")).into_owned();
                assert_eq!(message.payload(), Some(format!("value-{}", &key[4..]).as_bytes()));
                seen.lock().expect("no panic").insert(key);
                consumer.commit_message(&message, CommitMode::Async).expect("committed");
                read_any = true;
            }
            if read_any {
                // Nothing left to commit is no failure.
                let _ = consumer.commit_consumer_state(CommitMode::Sync);
            }
        })
    });
    for member in futures::future::join_all(running).await {
        member.expect("a member ended well");
    }
    let seen = seen.lock().expect("no panic");
    seen.clone()
}
