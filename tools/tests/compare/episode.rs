//! One episode: a small world is prepared on both brokers, then requests are sent to both, one after another, each on
//! what the ones before have left.

use storage::compression::Codec;

use crate::batches::{Batch, Sequence};
use crate::codec;
use crate::differences::Difference;
use crate::pair::{Asked, Pair, Tampering, names_with_code};
use crate::random::Random;
use crate::requests::{Asker, request};
use crate::schema::Api;
use crate::side::Own;
use crate::spoil::spoil;
use crate::value::{Value, fields};
use crate::world::{TIMES_RECORDS, TOPICS, World};

/// Requests between two preparations.
pub(crate) const REQUESTS: usize = 50;

/// One of so many requests has bytes that do not fit its version, or a version that nobody has.
const TAMPERED_ONE_IN: usize = 40;

const PRODUCE: i16 = 12;
const CREATE_TOPICS: i16 = 7;
const DELETE_TOPICS: i16 = 5;
const INIT_PRODUCER_ID: i16 = 4;
const FIND_COORDINATOR: i16 = 2;
const OFFSET_COMMIT: i16 = 8;
const JOIN_GROUP: i16 = 5;
const SYNC_GROUP: i16 = 3;
const LEAVE_GROUP: i16 = 3;
const ALTER_CONFIGS: i16 = 2;

/// The resource type of brokers, and the names of the one and of all.
const BROKER_RESOURCE: i64 = 4;
const BROKERS: [&str; 2] = ["1", ""];

/// Before this version of Metadata, asking for a topic always may create it.
const METADATA_SAYS_SINCE: i16 = 4;

/// A request that was sent, and where the answers differ.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) request: String,
    pub(crate) found: Vec<Difference>,
}

/// Runs an episode. `deck` says the API and the version of each request; `each` is told of every step, and says whether
/// the brokers still hold the same, without which what follows would only differ again.
///
/// # Errors
/// If a broker cannot be reached, or the world cannot be prepared.
pub(crate) fn run(
    pair: &mut Pair,
    world: &World,
    random: &mut Random,
    deck: &[(&'static Api, i16)],
    mut each: impl FnMut(Step) -> bool,
) -> Result<(), String> {
    pair.forget();
    prepare(pair, world)?;
    for &(api, version) in deck {
        let asker = &mut Asker { world, random };
        let Some(mut request) = request(api, asker) else { continue };
        // Half of the requests are as they should be.
        for _ in 0..[0, 0, 0, 1, 1, 2][random.below(6)] {
            spoil(api, version, &mut request, world, random);
        }
        let (version, tampering) = match random.below(3 * TAMPERED_ONE_IN) {
            0 => (version, Tampering::Cut),
            1 => (version, Tampering::Trailing),
            2 => (random.pick(&[api.max + 1, api.min - 1, 1000]), Tampering::None),
            _ => (version, Tampering::None),
        };
        let asked = Asked { api, version, request: &request, tampering };
        let compared = pair.compare(&asked, world).map_err(|error| error.to_string())?;
        let mut found = compared.found;
        let settled = match compared.answers {
            Some(answers) => settle(pair, world, &asked, &answers),
            None => Ok(()),
        };
        let is_apart = settled.is_err();
        if let Err(states) = settled {
            let (path, kafka) = ("(state)".to_owned(), "the same".to_owned());
            found.push(Difference { api: api.name.clone(), version, path, skein: states, kafka });
        }
        let is_together = each(Step { request: format!("{request} {tampering:?}"), found });
        if is_apart || !is_together {
            break;
        }
    }
    clean(pair, world)
}

/// Waits for what a request changes behind its answer.
fn settle(pair: &mut Pair, world: &World, asked: &Asked<'_>, answers: &[Value; 2]) -> Result<(), String> {
    let Asked { api, version, request, .. } = *asked;
    let of_both = |list: &str, codes: &[i64]| -> Vec<String> {
        let mut names = names_with_code(&answers[0], list, codes, world);
        names.retain(|name| names_with_code(&answers[1], list, codes, world).contains(name));
        names
    };
    match api.name.as_str() {
        "CreateTopics" if request.get("validate_only") == Some(&Value::Bool(true)) => Ok(()),
        "CreateTopics" => pair.settle(world, &of_both("topics", &[0]), &[]),
        "DeleteTopics" => pair.settle(world, &[], &of_both("responses", &[0])),
        "CreatePartitions" => pair.settle(world, &[], &[]),
        "Metadata" => {
            let may_create =
                version < METADATA_SAYS_SINCE || request.get("allow_auto_topic_creation") != Some(&Value::Bool(false));
            let being_made = if may_create { of_both("topics", &[3, 5]) } else { Vec::new() };
            if being_made.is_empty() { Ok(()) } else { pair.settle(world, &being_made, &[]) }
        }
        "AlterConfigs" | "IncrementalAlterConfigs" | "AlterClientQuotas" => barrier(pair, world),
        _ => Ok(()),
    }
}

/// Kafka answers when its controller knows of a change, which its broker learns later, but in order: once a topic that
/// was made afterwards is there, the change is too.
fn barrier(pair: &mut Pair, world: &World) -> Result<(), String> {
    let name = world.name("barrier");
    delete(pair, world, std::slice::from_ref(&name))?;
    create(pair, world, &[(name, 1, Vec::new())])
}

fn api(name: &str) -> &'static Api {
    codec::apis().iter().find(|api| api.name == name).unwrap_or_else(|| panic!("no {name} in the schema"))
}

fn create(pair: &mut Pair, world: &World, topics: &[(String, i32, Vec<Value>)]) -> Result<(), String> {
    let names: Vec<String> = topics.iter().map(|(name, ..)| name.clone()).collect();
    let topics: Vec<Value> = topics
        .iter()
        .map(|(name, count, configs)| {
            fields! { name: name, num_partitions: *count, replication_factor: 1, configs: configs.clone() }
        })
        .collect();
    pair.must(api("CreateTopics"), CREATE_TOPICS, &fields! { topics: topics, timeout_ms: 10_000 })?;
    pair.settle(world, &names, &[])
}

fn delete(pair: &mut Pair, world: &World, names: &[String]) -> Result<(), String> {
    // 3 says only that it is gone already.
    let request = fields! { topic_names: names.to_vec(), timeout_ms: 10_000 };
    let asked =
        Asked { api: api("DeleteTopics"), version: DELETE_TOPICS, request: &request, tampering: Tampering::None };
    pair.compare(&asked, world).map_err(|error| error.to_string())?;
    pair.settle(world, &[], names)
}

fn prepare(pair: &mut Pair, world: &World) -> Result<(), String> {
    let config = |name: &str, value: &str| vec![fields! { name: name, value: value }];
    let topics: Vec<_> = TOPICS
        .iter()
        .map(|&(short, count)| {
            let configs = match short {
                "stamped" => config("message.timestamp.type", "LogAppendTime"),
                "compacted" => config("cleanup.policy", "compact"),
                "small" => config("max.message.bytes", "1000"),
                "zipped" => config("compression.type", "gzip"),
                _ => Vec::new(),
            };
            (world.name(short), count, configs)
        })
        .collect();
    // What an earlier episode has set on the broker would show in this one.
    let unset =
        |name: &str| fields! { resource_type: BROKER_RESOURCE, resource_name: name, configs: Vec::<Value>::new() };
    let brokers: Vec<Value> = BROKERS.iter().map(|name| unset(name)).collect();
    pair.must(api("AlterConfigs"), ALTER_CONFIGS, &fields! { resources: brokers })?;
    create(pair, world, &topics)?;
    let request = fields! { transactional_id: Value::Null, transaction_timeout_ms: 60_000 };
    pair.must(api("InitProducerId"), INIT_PRODUCER_ID, &request)?;
    for (topic, partition, batch) in prepared_batches(world) {
        produce(pair, &world.name(topic), partition, batch)?;
    }
    // Asking for a coordinator makes the topic of offsets.
    pair.must(api("FindCoordinator"), FIND_COORDINATOR, &fields! { key: world.name("reader") })?;
    commit(pair, world)?;
    for group in ["member", "left"] {
        join(pair, &world.name(group))?;
    }
    let group = world.name("left");
    let member = fields! { member_id: Own::Member(group.clone()) };
    pair.must(api("LeaveGroup"), LEAVE_GROUP, &fields! { group_id: group, members: vec![member] })?;
    Ok(())
}

fn prepared_batches(world: &World) -> Vec<(&'static str, i32, Batch)> {
    let now = world.now;
    let plain = |codec, count| Batch { codec, ..Batch::plain(count, now) };
    let mut batches = vec![
        ("plain", 0, plain(Codec::None, 3)),
        ("plain", 0, plain(Codec::Gzip, 2)),
        ("plain", 0, plain(Codec::Lz4, 4)),
        ("plain", 0, plain(Codec::Zstd, 1)),
        ("stamped", 0, plain(Codec::None, 2)),
        ("stamped", 0, plain(Codec::Snappy, 2)),
        ("compacted", 0, plain(Codec::None, 3)),
        ("small", 0, plain(Codec::None, 1)),
        ("zipped", 0, plain(Codec::None, 2)),
    ];
    let single = |number: i64| ("times", 0, Batch::plain(1, now + number));
    batches.extend((0..TIMES_RECORDS / 2).map(single));
    let rest = (TIMES_RECORDS - TIMES_RECORDS / 2) as usize;
    let compressed = Batch { codec: Codec::Snappy, ..Batch::plain(rest, now + TIMES_RECORDS / 2) };
    batches.push(("times", 0, compressed));
    let sequence = Sequence { producer: Own::Producer(0), epoch_more: 0, first: 0 };
    batches.push(("plain", 2, Batch { producer: Some(sequence), ..Batch::plain(2, now) }));
    batches
}

fn produce(pair: &mut Pair, topic: &str, partition: i32, batch: Batch) -> Result<(), String> {
    let records = fields! { index: partition, records: Value::Batches(vec![batch]) };
    let request = fields! {
        transactional_id: Value::Null,
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![fields! { name: topic, partition_data: vec![records] }],
    };
    pair.must(api("Produce"), PRODUCE, &request).map(drop)
}

fn commit(pair: &mut Pair, world: &World) -> Result<(), String> {
    let partition = fields! { partition_index: 0, committed_offset: 3, committed_metadata: "note" };
    let request = fields! {
        group_id: world.name("reader"),
        topics: vec![fields! { name: world.name("plain"), partitions: vec![partition] }],
    };
    pair.must(api("OffsetCommit"), OFFSET_COMMIT, &request).map(drop)
}

fn join(pair: &mut Pair, group: &str) -> Result<(), String> {
    for member in ["".into(), Value::from(Own::Member(group.to_owned()))] {
        let protocol = fields! { name: "range", metadata: Value::Bytes(crate::requests::subscription()) };
        let request = fields! {
            group_id: group,
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 1000,
            member_id: member,
            protocol_type: "consumer",
            protocols: vec![protocol],
        };
        pair.must(api("JoinGroup"), JOIN_GROUP, &request)?;
    }
    let member = Own::Member(group.to_owned());
    let assignment = fields! { member_id: member.clone(), assignment: Value::Bytes(b"all".to_vec()) };
    let request = fields! {
        group_id: group,
        generation_id: Own::Generation(group.to_owned()),
        member_id: member,
        assignments: vec![assignment],
    };
    pair.must(api("SyncGroup"), SYNC_GROUP, &request).map(drop)
}

/// Deletes the episode's topics, so that brokers do not fill up.
fn clean(pair: &mut Pair, world: &World) -> Result<(), String> {
    let names = pair.topics();
    delete(pair, world, &names)
}
