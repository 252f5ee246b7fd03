//! Both brokers, asked at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::codec;
use crate::differences::{Difference, differences};
use crate::link::{self, Link, Outcome};
use crate::normal::Context;
use crate::schema::Api;
use crate::side::Side;
use crate::value::{Fields, Value};
use crate::world::World;

/// What a broker answers while it is about to be able to: 3, 5, 6, 14, 15, 16.
const NOT_YET: [i64; 6] = [3, 5, 6, 14, 15, 16];

/// How long both may take to come to the same state.
const SETTLING: Duration = Duration::from_secs(15);

/// Between two looks at a state that is on its way. The brokers cannot be told to call.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;
const METADATA_VERSION: i16 = 12;
const LIST_OFFSETS: i16 = 2;
const LIST_OFFSETS_VERSION: i16 = 6;

/// The two brokers. The first is ours.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) links: [Link; 2],
    pub(crate) sides: [Side; 2],
}

/// Bytes that are changed after a request was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tampering {
    None,
    Cut,
    Trailing,
}

/// A request ready to be sent.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) api: &'static Api,
    /// Its body is written as the nearest version that the schema has.
    pub(crate) version: i16,
    pub(crate) request: &'a Value,
    pub(crate) tampering: Tampering,
}

impl Pair {
    pub(crate) fn new(skein: SocketAddr, kafka: SocketAddr) -> Self {
        Self { links: [Link::new(skein), Link::new(kafka)], sides: [Side::default(), Side::default()] }
    }

    /// New connections, and nothing known.
    pub(crate) fn forget(&mut self) {
        self.sides = [Side::default(), Side::default()];
        self.links.iter_mut().for_each(Link::close);
    }

    /// Names of the topics that one of them had when the state was last looked at.
    pub(crate) fn topics(&self) -> Vec<String> {
        let mut names: Vec<String> = self.sides.iter().flat_map(Side::topics).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Asks both.
    ///
    /// # Errors
    /// If one cannot be reached.
    fn ask(&mut self, asked: &Asked<'_>) -> std::io::Result<[(Value, Outcome); 2]> {
        let Self { links: [skein, kafka], sides: [ours, theirs] } = self;
        std::thread::scope(|scope| {
            let other = scope.spawn(|| ask(kafka, theirs, asked));
            let outcome = ask(skein, ours, asked)?;
            let other = other.join().expect("asking does not panic")?;
            Ok([outcome, other])
        })
    }

    /// Asks both and compares what comes of it.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn compare(&mut self, asked: &Asked<'_>, world: &World) -> std::io::Result<Compared> {
        let [(our_request, ours), (their_request, theirs)] = self.ask(asked)?;
        let difference = |path: &str, skein: &str, kafka: &str| Difference {
            api: asked.api.name.clone(),
            version: asked.version,
            path: path.to_owned(),
            skein: skein.to_owned(),
            kafka: kafka.to_owned(),
        };
        let (ours, theirs) = match (ours, theirs) {
            (Outcome::Answer(ours), Outcome::Answer(theirs)) => (ours, theirs),
            (ours, theirs) => {
                self.links.iter_mut().for_each(Link::close);
                self.sides.iter_mut().for_each(Side::disconnected);
                let differ = std::mem::discriminant(&ours) != std::mem::discriminant(&theirs);
                let found = if differ { vec![difference("(connection)", name(&ours), name(&theirs))] } else { vec![] };
                return Ok(Compared { found, answers: None });
            }
        };
        let is_known = (asked.api.min..=asked.api.max).contains(&asked.version);
        if !is_known {
            let found = if ours == theirs { vec![] } else { vec![difference("(bytes)", &hex(&ours), &hex(&theirs))] };
            return Ok(Compared { found, answers: None });
        }
        let (ours, theirs) = match (read(asked, &ours), read(asked, &theirs)) {
            (Ok(ours), Ok(theirs)) => (ours, theirs),
            (ours, theirs) => {
                let told = |read: Result<_, String>| read.map_or_else(|error| error, |_| "readable".to_owned());
                let found = vec![difference("(bytes)", &told(ours), &told(theirs))];
                return Ok(Compared { found, answers: None });
            }
        };
        let mut found: Vec<Difference> =
            silences("", &ours).into_iter().map(|path| difference(&path, "no words", "words are wanted")).collect();
        self.sides[0].learn(&asked.api.name, &our_request, &ours);
        self.sides[1].learn(&asked.api.name, &their_request, &theirs);
        let mentioned = texts(&our_request);
        let [ours_normal, theirs_normal] = [(0, &ours), (1, &theirs)].map(|(number, answer)| {
            self.sides[number].next_request();
            let mut context = Context {
                api: &asked.api.name,
                side: &mut self.sides[number],
                address: self.links[number].address,
                prefix: &world.prefix,
                now: world.now,
                mentioned: &mentioned,
                is_stamped: false,
            };
            context.normal(answer.clone())
        });
        let differing = differences(&ours_normal, &theirs_normal);
        found.extend(differing.into_iter().map(|(path, skein, kafka)| difference(&path, &skein, &kafka)));
        Ok(Compared { found, answers: Some([ours, theirs]) })
    }

    /// Asks both until neither is about to be able to, and gives back their answers.
    ///
    /// # Errors
    /// If one cannot be reached, or does not answer, or keeps being unable.
    pub(crate) fn must(&mut self, api: &'static Api, version: i16, request: &Value) -> Result<[Value; 2], String> {
        let asked = Asked { api, version, request, tampering: Tampering::None };
        let end = Instant::now() + SETTLING;
        loop {
            let answers = self.ask(&asked).map_err(|error| error.to_string())?;
            let mut read_answers = Vec::new();
            for (request, outcome) in answers {
                let Outcome::Answer(answer) = outcome else { return Err(format!("{}: {}", api.name, name(&outcome))) };
                read_answers.push((request, read(&asked, &answer)?));
            }
            let [(our_request, ours), (their_request, theirs)]: [_; 2] =
                read_answers.try_into().expect("two were asked");
            let is_passing = codes(&ours).iter().chain(&codes(&theirs)).any(|code| NOT_YET.contains(code));
            if !is_passing {
                self.sides[0].learn(&api.name, &our_request, &ours);
                self.sides[1].learn(&api.name, &their_request, &theirs);
                return Ok([ours, theirs]);
            }
            if Instant::now() > end {
                return Err(format!("{} {request}: still {:?} and {:?}", api.name, codes(&ours), codes(&theirs)));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until both have the same topics, `wanted` among them and `gone` not, all of them served. Then the ids are
    /// known. Gives back what differs in the end.
    ///
    /// # Errors
    /// If one cannot be reached.
    pub(crate) fn settle(&mut self, world: &World, wanted: &[String], gone: &[String]) -> Result<(), String> {
        let metadata = codec::api(METADATA).ok_or("no Metadata in the schema")?;
        let all = crate::value::fields! { topics: Value::Null, allow_auto_topic_creation: false };
        let asked = Asked { api: metadata, version: METADATA_VERSION, request: &all, tampering: Tampering::None };
        let end = Instant::now() + SETTLING;
        loop {
            let answers = self.ask(&asked).map_err(|error| error.to_string())?;
            let mut topics = Vec::new();
            for (_, outcome) in answers {
                let Outcome::Answer(answer) = outcome else { return Err(name(&outcome).to_owned()) };
                topics.push(of_episode(&read(&asked, &answer)?, world));
            }
            let names = |of: &[Value]| -> Vec<(String, usize)> {
                of.iter()
                    .map(|topic| (topic.text("name").unwrap_or("").to_owned(), topic.list("partitions").len()))
                    .collect()
            };
            let (ours, theirs) = (names(&topics[0]), names(&topics[1]));
            let has = |name: &String| ours.iter().any(|(ours, _)| ours == name);
            let is_settled = ours == theirs && wanted.iter().all(has) && !gone.iter().any(has);
            if is_settled && self.are_served(&ours)? {
                self.know(&topics);
                return Ok(());
            }
            if Instant::now() > end {
                self.know(&topics);
                return Err(format!("skein has {ours:?}, kafka has {theirs:?}; wanted {wanted:?}, gone {gone:?}"));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Whether both serve all partitions of topics that were not known before.
    fn are_served(&mut self, topics: &[(String, usize)]) -> Result<bool, String> {
        let new: Vec<Value> = topics
            .iter()
            .filter(|(name, _)| !self.sides.iter().all(|side| side.knows_topic(name)))
            .map(|(name, count)| {
                let partitions: Vec<Value> = (0..*count as i64)
                    .map(|index| crate::value::fields! { partition_index: index, current_leader_epoch: -1, timestamp: -1 })
                    .collect();
                crate::value::fields! { name: name, partitions: partitions }
            })
            .collect();
        if new.is_empty() {
            return Ok(true);
        }
        let api = codec::api(LIST_OFFSETS).ok_or("no ListOffsets in the schema")?;
        let request = crate::value::fields! { replica_id: -1, topics: new };
        let asked = Asked { api, version: LIST_OFFSETS_VERSION, request: &request, tampering: Tampering::None };
        for (_, outcome) in self.ask(&asked).map_err(|error| error.to_string())? {
            let Outcome::Answer(answer) = outcome else { return Err(name(&outcome).to_owned()) };
            if codes(&read(&asked, &answer)?).iter().any(|&code| code != 0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn know(&mut self, topics: &[Vec<Value>]) {
        for (side, topics) in self.sides.iter_mut().zip(topics) {
            side.forget_topics();
            for topic in topics {
                if let (Some(name), Some(Value::Uuid(id))) = (topic.text("name"), topic.get("topic_id")) {
                    side.know_topic(name, *id);
                }
            }
        }
    }
}

/// What came of a request to both.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) found: Vec<Difference>,
    /// As they came, if both came.
    pub(crate) answers: Option<[Value; 2]>,
}

fn ask(link: &mut Link, side: &Side, asked: &Asked<'_>) -> std::io::Result<(Value, Outcome)> {
    let request = side.resolve(asked.request);
    let api = asked.api;
    let written_as = asked.version.clamp(api.min, api.max);
    let mut body = Vec::new();
    codec::encode(api, written_as, &request, &mut body);
    match asked.tampering {
        Tampering::None => {}
        Tampering::Cut => body.truncate(body.len().saturating_sub(1)),
        Tampering::Trailing => body.extend([0, 1, 2]),
    }
    let frame = link::framed(api.key, asked.version, api.is_flexible(asked.version), &body);
    let is_unanswered = api.name == "Produce" && request.int("acks") == Some(0);
    let outcome = match is_unanswered {
        true => link.tell(&frame, &link::framed(API_VERSIONS, 0, false, &[]))?,
        false => link.ask(&frame)?,
    };
    Ok((request, outcome))
}

fn read(asked: &Asked<'_>, answer: &[u8]) -> Result<Value, String> {
    let body = link::body(asked.api, asked.version, answer).ok_or("the header of the answer has tagged fields")?;
    // ApiVersions answers what it does not know in version 0.
    let decoded = codec::decode(asked.api, asked.version, &body);
    decoded.map_err(|error| format!("unreadable: {error}: {}", hex(&body)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Answer(_) => "answered",
        Outcome::Closed => "closed",
        Outcome::Silent => "silent",
    }
}

/// All error codes of an answer.
fn codes(value: &Value) -> Vec<i64> {
    match value {
        Value::Struct(fields) => fields
            .iter()
            .flat_map(|(name, value)| match value {
                Value::Int(code) if *name == "error_code" => vec![*code],
                other => codes(other),
            })
            .collect(),
        Value::List(elements) => elements.iter().flat_map(codes).collect(),
        _ => Vec::new(),
    }
}

/// Where an answer of ours has an error code and a field for a message without one.
fn silences(path: &str, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match value {
        Value::Struct(fields) => {
            let failed = fields.get("error_code").is_some_and(|code| *code != Value::Int(0));
            let is_empty = |value: &Value| matches!(value, Value::Null) || *value == Value::Text(String::new());
            let dot = if path.is_empty() { "" } else { "." };
            if failed && fields.get("error_message").is_some_and(is_empty) {
                found.push(format!("{path}{dot}error_message"));
            }
            for (name, value) in fields {
                found.extend(silences(&format!("{path}{dot}{name}"), value));
            }
        }
        Value::List(elements) => {
            for element in elements {
                found.extend(silences(&format!("{path}[]"), element));
            }
        }
        _ => {}
    }
    found.dedup();
    found
}

/// All texts of a request.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Text(text) => vec![text.clone()],
        Value::Struct(fields) => fields.values().flat_map(texts).collect(),
        Value::List(elements) => elements.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// The topics of a Metadata answer that the episode made, sorted by name.
fn of_episode(metadata: &Value, world: &World) -> Vec<Value> {
    let is_ours = |topic: &&Value| topic.text("name").is_some_and(|name| name.starts_with(&world.prefix));
    let mut topics: Vec<Value> = metadata.list("topics").iter().filter(is_ours).cloned().collect();
    topics.sort_by_key(|topic| topic.get("name").map(ToString::to_string));
    topics
}

/// Names of the episode's topics that an answer says are being made, made or deleted.
pub(crate) fn names_with_code(answer: &Value, list: &str, code: &[i64], world: &World) -> Vec<String> {
    let is_meant =
        |fields: &Fields| matches!(fields.get("error_code"), Some(Value::Int(found)) if code.contains(found));
    answer
        .list(list)
        .iter()
        .filter(|element| matches!(element, Value::Struct(fields) if is_meant(fields)))
        .filter_map(|element| element.text("name"))
        .filter(|name| name.starts_with(&world.prefix))
        .map(str::to_owned)
        .collect()
}
