//! Makes requests wrong: one value or more replaced by one that is at a limit, out of place or not allowed.

use net::Uuid;

use crate::batches::{Batch, FAULTS};
use crate::codec::default_of;
use crate::random::Random;
use crate::schema::{Api, Field, Kind, Scalar};
use crate::side::{MADE_UP_IDS, Own};
use crate::value::{Fields, Value};
use crate::world::{TOPICS, World};

/// Of so many nulls where none is allowed, one is sent: it only closes the connection.
const FORBIDDEN_NULLS: usize = 8;

/// Fields of our own begin with this. Kafka passes over them.
pub(crate) const OURS: &str = "skein_";

/// Replaces one value of the request.
pub(crate) fn spoil(api: &'static Api, version: i16, request: &mut Value, world: &World, random: &mut Random) {
    let Value::Struct(values) = request else { panic!("a request is a struct") };
    complete(&api.request, values, version);
    let mut count = 0;
    each(&api.request, values, version, "", &mut |_| count += 1);
    if count == 0 {
        return;
    }
    let chosen = random.below(count);
    let mut at = 0;
    each(&api.request, values, version, "", &mut |place| {
        if at == chosen {
            *place.value = replacement(api, &place, world, random);
        }
        at += 1;
    });
}

/// A value that may be replaced.
struct Place<'a> {
    /// As `topics[].name`.
    path: &'a str,
    kind: &'a Kind,
    nullable: bool,
    /// An array's element.
    is_element: bool,
    value: &'a mut Value,
}

/// Writes out the fields that have their defaults.
fn complete(fields: &'static [Field], values: &mut Fields, version: i16) {
    for field in fields.iter().filter(|field| field.is_in(version)) {
        let value = values.entry(&field.name).or_insert_with(|| default_of(field, version));
        let inner = match &field.kind {
            Kind::Struct(fields) => fields,
            Kind::Array(element) => match &**element {
                Kind::Struct(fields) => fields,
                _ => continue,
            },
            Kind::Scalar(_) => continue,
        };
        match value {
            Value::Struct(values) => complete(inner, values, version),
            Value::List(elements) => {
                for element in elements {
                    if let Value::Struct(values) = element {
                        complete(inner, values, version);
                    }
                }
            }
            _ => {}
        }
    }
}

fn each(fields: &'static [Field], values: &mut Fields, version: i16, outer: &str, visit: &mut dyn FnMut(Place<'_>)) {
    for field in fields.iter().filter(|field| field.is_in(version) && !field.name.starts_with(OURS)) {
        let path = format!("{outer}{}", field.name);
        let Some(value) = values.get_mut(field.name.as_str()) else { continue };
        let nullable = field.is_nullable_in(version);
        visit(Place { path: &path, kind: &field.kind, nullable, is_element: false, value });
        match (&field.kind, value) {
            (Kind::Struct(fields), Value::Struct(values)) => {
                each(fields, values, version, &format!("{path}."), visit);
            }
            (Kind::Array(element), Value::List(elements)) => {
                let path = format!("{path}[]");
                for value in elements {
                    match (&**element, value) {
                        (Kind::Struct(fields), Value::Struct(values)) => {
                            each(fields, values, version, &format!("{path}."), visit);
                        }
                        (kind, value) => visit(Place { path: &path, kind, nullable: false, is_element: true, value }),
                    }
                }
            }
            _ => {}
        }
    }
}

fn replacement(api: &Api, place: &Place<'_>, world: &World, random: &mut Random) -> Value {
    let name = place.path.trim_end_matches("[]").rsplit(['.', ']']).next().unwrap_or(place.path);
    match place.kind {
        Kind::Struct(_) => {
            if place.nullable {
                Value::Null
            } else {
                place.value.clone()
            }
        }
        Kind::Array(_) => array(place, random),
        Kind::Scalar(Scalar::String) => {
            // A quota for all of them would slow down whatever follows.
            let is_default = name == "entity_name" && api.name == "AlterClientQuotas";
            if place.nullable && !is_default && random.chance(4)
                || !place.nullable && !place.is_element && random.chance(FORBIDDEN_NULLS)
            {
                return Value::Null;
            }
            text(api, place.path, name, world, random)
        }
        Kind::Scalar(Scalar::Bool) => Value::Bool(random.chance(2)),
        Kind::Scalar(Scalar::Float64) => {
            Value::Float(random.pick(&[0.0, -1.0, 1e300, f64::NAN, f64::INFINITY, 0.1, 1e-300]))
        }
        Kind::Scalar(Scalar::Uuid) => match random.below(4) {
            0 => Value::Uuid(Uuid::ZERO),
            1 | 2 => Value::Uuid(random.pick(&MADE_UP_IDS)),
            _ => Own::TopicId(world.name(random.pick(&TOPICS).0)).into(),
        },
        Kind::Scalar(Scalar::Bytes) => {
            let bytes: &[u8] = random.pick(&[b"", b"\0", b"garbage", b"\xff\xff\xff\xff"]);
            Value::Bytes(bytes.to_vec())
        }
        Kind::Scalar(Scalar::Records) => {
            let mut batch = Batch::plain(2, world.now);
            batch.fault = Some(random.pick(FAULTS));
            Value::Batches(vec![batch])
        }
        Kind::Scalar(_) => Value::Int(integer(name, random)),
    }
}

fn array(place: &Place<'_>, random: &mut Random) -> Value {
    let Value::List(elements) = &*place.value else { return Value::List(Vec::new()) };
    match random.below(4) {
        0 if place.nullable || random.chance(FORBIDDEN_NULLS) => Value::Null,
        // A protocol that is there twice leaves a group of Kafka's broken.
        1 if !elements.is_empty() && place.path != "protocols" => {
            let mut elements = elements.clone();
            elements.push(elements[random.below(elements.len())].clone());
            Value::List(elements)
        }
        _ => Value::List(Vec::new()),
    }
}

/// A number at some limit. What a broker would wait for, or make many of, stays small.
fn integer(name: &str, random: &mut Random) -> i64 {
    let of: &[i64] = match name {
        "max_wait_ms" => &[0, 1, -1, 100, i32::MIN as i64],
        // What is over before it began depends on the clock.
        "timeout_ms" => &[5000, 60_000, i32::MAX as i64],
        "session_timeout_ms" => &[0, -1, 5999, 6000, 1_800_000, 1_800_001, i32::MAX as i64],
        "rebalance_timeout_ms" => &[1, 300],
        "num_partitions" | "count" => &[0, -1, -2, 1, 2, 6, 100_001, i32::MAX as i64],
        "replication_factor" => &[0, -1, -2, 2, 30, i16::MAX as i64],
        "acks" => &[2, -2, 0, 1, i16::MAX as i64],
        "replica_id" => &[-2, -1, 0, -3],
        "isolation_level" => &[2, -1],
        "timestamp" => &[-7, -8, -100, 1, i64::MAX, i64::MIN],
        "max_version_level" => &[0, -1, i16::MAX as i64],
        _ => &[0, 1, 2, -1, -2, 7, 99, i32::MAX as i64, i32::MIN as i64, i64::MAX, i64::MIN],
    };
    random.pick(of)
}

fn text(api: &Api, path: &str, name: &str, world: &World, random: &mut Random) -> Value {
    let is_topic = matches!(name, "topic" | "topic_name" | "topic_names")
        || name == "name"
            && (path.starts_with("topics[]") || path.starts_with("topic_data[]"))
            && !path.contains("configs");
    match name {
        _ if is_topic => match random.chance(3) {
            true => world.topic(random).into(),
            false => world.bad_topic(&api.name, random),
        },
        "group_id" | "groups" | "groups_names" | "coordinator_keys" => world.bad_group(&api.name, random),
        "key" if api.name == "FindCoordinator" => world.bad_group(&api.name, random),
        "member_id" | "group_instance_id" => (random.pick(&["", "nobody", "static"])).into(),
        "transactional_id" => (random.pick(&["", "a-transaction"])).into(),
        _ => match random.below(4) {
            0 => "".into(),
            1 => "x".repeat(300).into(),
            2 => "Ünsinn\n".into(),
            _ => "nonsense".into(),
        },
    }
}
