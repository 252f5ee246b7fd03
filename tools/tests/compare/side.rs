//! One of the two brokers: what it has chosen for itself, and the names that this gets in both.

use std::collections::BTreeMap;

use net::Uuid;

use crate::value::Value;

/// What a broker chose for itself, by a name that both share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Own {
    /// The id of a topic, zero if there is none of this name.
    TopicId(String),
    /// The newest member id that a group gave, empty if it gave none.
    Member(String),
    /// The newest generation of a group.
    Generation(String),
    /// The newest fetch session.
    Session,
    /// The newest producer's id, or the one that many before.
    Producer(usize),
    /// Its epoch.
    ProducerEpoch(usize),
}

/// Ids in requests that no broker has given.
pub(crate) const MADE_UP_IDS: [Uuid; 3] =
    [Uuid([9; 16]), Uuid([7; 16]), Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])];

/// What is known of one broker.
#[derive(Debug, Default)]
pub(crate) struct Side {
    topic_ids: BTreeMap<String, Uuid>,
    /// Names of ids, those of deleted topics among them.
    names: BTreeMap<Uuid, String>,
    members: BTreeMap<String, String>,
    generations: BTreeMap<String, i64>,
    session: i64,
    producers: Vec<(i64, i16)>,
    /// Names of texts and numbers that the broker made up.
    made_up: BTreeMap<(&'static str, String), String>,
    /// The number of the request whose answer is looked at, and how many made-up things it brought.
    request: usize,
    new: usize,
}

impl Side {
    pub(crate) fn producer(&self, own: &Own) -> (i64, i16) {
        let (Own::Producer(back) | Own::ProducerEpoch(back)) = own else { panic!("{own:?} is no producer") };
        self.producers.iter().rev().nth(*back).copied().unwrap_or((4_000_000, 0))
    }

    /// The value with everything in it that is this broker's own.
    pub(crate) fn resolve(&self, value: &Value) -> Value {
        match value {
            Value::Own(own) => self.own(own),
            Value::Batches(batches) => Value::Bytes(batches.iter().flat_map(|batch| batch.bytes(self)).collect()),
            Value::List(values) => Value::List(values.iter().map(|value| self.resolve(value)).collect()),
            Value::Struct(fields) => {
                Value::Struct(fields.iter().map(|(name, value)| (*name, self.resolve(value))).collect())
            }
            other => other.clone(),
        }
    }

    fn own(&self, own: &Own) -> Value {
        match own {
            Own::TopicId(name) => self.topic_ids.get(name).copied().unwrap_or(Uuid::ZERO).into(),
            Own::Member(group) => self.members.get(group).cloned().unwrap_or_default().into(),
            Own::Generation(group) => self.generations.get(group).copied().unwrap_or(-1).into(),
            Own::Session => self.session.into(),
            Own::Producer(_) => self.producer(own).0.into(),
            Own::ProducerEpoch(_) => self.producer(own).1.into(),
        }
    }

    pub(crate) fn know_topic(&mut self, name: &str, id: Uuid) {
        self.topic_ids.insert(name.to_owned(), id);
        self.names.insert(id, name.to_owned());
    }

    /// The connection ended, and with it what belongs to it. (Kafka's sessions would live on.)
    pub(crate) fn disconnected(&mut self) {
        self.session = 0;
    }

    /// Forgets which topics there are. Their ids keep their names.
    pub(crate) fn forget_topics(&mut self) {
        self.topic_ids.clear();
    }

    /// Names of the topics there are.
    pub(crate) fn topics(&self) -> Vec<String> {
        self.topic_ids.keys().cloned().collect()
    }

    pub(crate) fn knows_topic(&self, name: &str) -> bool {
        self.topic_ids.contains_key(name)
    }

    /// Keeps what later requests want to say again.
    pub(crate) fn learn(&mut self, api: &str, request: &Value, response: &Value) {
        match api {
            "JoinGroup" => {
                let Some(group) = request.text("group_id") else { return };
                match (response.text("member_id"), response.int("error_code")) {
                    (Some(member), Some(0 | 79)) if !member.is_empty() => {
                        self.members.insert(group.to_owned(), member.to_owned());
                    }
                    _ => return,
                }
                if let Some(generation) = response.int("generation_id").filter(|&generation| generation > 0) {
                    self.generations.insert(group.to_owned(), generation);
                }
            }
            "Fetch" => self.session = response.int("session_id").unwrap_or(0),
            "InitProducerId" if response.int("error_code") == Some(0) => {
                let id = response.int("producer_id").unwrap_or(-1);
                let epoch = response.int("producer_epoch").unwrap_or(-1);
                self.producers.push((id, epoch as i16));
            }
            _ => {}
        }
    }

    /// The name of a topic's id; the id itself if it was the request that made it up.
    pub(crate) fn name_of(&mut self, id: Uuid) -> Value {
        match self.names.get(&id) {
            Some(name) => format!("id of {name}").into(),
            None if MADE_UP_IDS.contains(&id) => id.into(),
            None => self.made_up("id", &id.to_string()),
        }
    }

    /// A further request was answered.
    pub(crate) fn next_request(&mut self) {
        self.request += 1;
        self.new = 0;
    }

    /// The name of something that the broker made up: the request that brought it, and which one of its answer.
    pub(crate) fn made_up(&mut self, kind: &'static str, text: &str) -> Value {
        let Self { made_up, request, new, .. } = self;
        let name = made_up.entry((kind, text.to_owned())).or_insert_with(|| {
            *new += 1;
            format!("{kind} {request}.{new}")
        });
        Value::Text(name.clone())
    }
}
