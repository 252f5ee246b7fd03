//! rskafka: produces, consumes from where it left off, deletes records. It has no groups.

use std::collections::{BTreeMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use rskafka::client::ClientBuilder;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::record::Record;

const RECORDS: usize = 1000;

#[tokio::main]
async fn main() {
    let bootstrap = std::env::args().nth(1).expect("HOST:PORT");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970").as_nanos();
    let topic = format!("rskafka-{now}");
    println!("version 0.6.0");
    let client = ClientBuilder::new(vec![bootstrap]).build().await.expect("connected");
    let controller = client.controller_client().expect("a controller");
    controller.create_topic(&topic, 2, 1, 5000).await.expect("created");
    let partition = client.partition_client(&topic, 0, UnknownTopicHandling::Retry).await.expect("a partition");
    produce(&partition, 0, RECORDS / 2).await;
    println!("ok produce");
    let (first, next) = consume(&partition, 0, RECORDS / 2).await;
    assert_eq!(first.len(), RECORDS / 2);
    println!("ok consume\nnone group\nnone resume");
    produce(&partition, RECORDS / 2, RECORDS).await;
    let (second, _) = consume(&partition, next, RECORDS / 2).await;
    assert!(first.is_disjoint(&second) && first.len() + second.len() == RECORDS, "what was read from {next}");
    partition.delete_records(5, 5000).await.expect("deleted");
    assert_eq!(partition.get_offset(OffsetAt::Earliest).await.expect("an offset"), 5);
    let listed = client.list_topics().await.expect("topics");
    assert!(listed.iter().any(|found| found.name == topic && found.partitions.len() == 2), "the topic is listed");
    controller.delete_topic(&topic, 5000).await.expect("deleted");
    println!("ok admin");
}

async fn produce(partition: &PartitionClient, from: usize, to: usize) {
    let records: Vec<Record> = (from..to)
        .map(|i| Record {
            key: Some(format!("key-{i}").into_bytes()),
            value: Some(format!("value-{i}").into_bytes()),
            headers: BTreeMap::new(),
            timestamp: chrono::Utc::now(),
        })
        .collect();
    for batch in records.chunks(100) {
        partition.produce(batch.to_vec(), Compression::Gzip).await.expect("produced");
    }
}

async fn consume(partition: &PartitionClient, from: i64, wanted: usize) -> (HashSet<Vec<u8>>, i64) {
    let (mut seen, mut next) = (HashSet::new(), from);
    while seen.len() < wanted {
        let (records, _) = partition.fetch_records(next, 1..1_000_000, 5000).await.expect("fetched");
        assert!(!records.is_empty(), "only {} records came", seen.len());
        for found in records {
            next = found.offset + 1;
            seen.insert(found.record.key.expect("a key"));
        }
    }
    (seen, next)
}
