//! The cluster as one client sees it: its brokers, its topics and leaders, and a connection to each broker in use.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use net::api::{find_coordinator, metadata};
use net::{ApiKey, Request, Uuid};

use super::address::Address;
use super::code::Code;
use super::connection::{Answer, Connection};
use super::error::{Error, Result};
use super::nearest;
use super::settings::Settings;

/// How long to wait for a topic that a broker was asked to create.
const TOPIC_CREATION_WAIT: Duration = Duration::from_secs(5);

/// The longest pause between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A broker of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its node id.
    pub id: i32,
    /// Where it listens.
    pub address: Address,
    /// Its rack, if it has one.
    pub rack: Option<String>,
}

/// A topic and its partitions.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id; [`Uuid::ZERO`] from brokers that know none.
    pub id: Uuid,
    /// Whether the cluster uses it for itself.
    pub is_internal: bool,
    /// Its partitions, by number.
    pub partitions: Vec<Partition>,
}

/// One partition of a topic.
#[derive(Debug, Clone)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// The broker that leads it.
    pub leader: Option<i32>,
    /// The epoch of the leader, -1 if unknown.
    pub leader_epoch: i32,
    /// Brokers that have a replica, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those of them in sync.
    pub in_sync: Vec<i32>,
    /// Those of them that are not there.
    pub offline: Vec<i32>,
}

/// Whom a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// Any broker.
    Any,
    /// The controller, or any broker if there is none that is named.
    Controller,
    /// This one.
    Id(i32),
}

/// See the module.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    cluster_id: Option<String>,
    controller: Option<i32>,
    brokers: BTreeMap<i32, Broker>,
    topics: BTreeMap<String, Topic>,
    refreshed_at: Instant,
    connections: BTreeMap<i32, Connection>,
    /// The connection made first, before the brokers' ids were known.
    bootstrap: Option<Connection>,
}

/// Which topics to ask for.
#[derive(Debug, Clone, Copy)]
enum Wanted<'a> {
    All,
    Named { names: &'a [String], create: bool },
}

impl Cluster {
    /// Connects to the first bootstrap address that answers, and learns the brokers.
    ///
    /// # Errors
    /// If none answers.
    pub fn connect(settings: Settings) -> Result<Self> {
        let mut cluster = Self {
            settings,
            cluster_id: None,
            controller: None,
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            refreshed_at: Instant::now(),
            connections: BTreeMap::new(),
            bootstrap: None,
        };
        cluster.refresh(Wanted::Named { names: &[], create: false })?;
        Ok(cluster)
    }

    /// What the client was told.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The cluster's id.
    pub fn id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// The controller's node id, if a broker names one.
    pub fn controller(&self) -> Option<i32> {
        self.controller
    }

    /// The brokers, by id.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values()
    }

    /// One broker.
    pub fn broker(&self, id: i32) -> Option<&Broker> {
        self.brokers.get(&id)
    }

    /// A topic as it was when it was last asked for.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// The partition's leader, and its epoch, as they were when last asked for.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<(i32, i32)> {
        let partition = self.topic(topic)?.partition(partition)?;
        Some((partition.leader?, partition.leader_epoch))
    }

    /// Whether the view of the topics is older than the settings allow.
    pub fn is_stale(&self) -> bool {
        self.refreshed_at.elapsed() >= self.settings.metadata_age_max
    }

    /// Asks for all topics.
    ///
    /// # Errors
    /// If no broker answers.
    pub fn all_topics(&mut self) -> Result<Vec<Topic>> {
        self.refresh(Wanted::All)?;
        Ok(self.topics.values().cloned().collect())
    }

    /// Asks for these topics again, whatever is known of them. Those that are gone are forgotten.
    ///
    /// # Errors
    /// If no broker answers.
    pub fn refresh_topics(&mut self, names: &[String]) -> Result<()> {
        self.refresh(Wanted::Named { names, create: false }).map(drop)
    }

    /// Makes sure that these topics exist.
    ///
    /// # Errors
    /// If one does not, or may not be seen.
    pub fn require_topics(&mut self, names: &[String]) -> Result<()> {
        let deadline = Instant::now() + self.settings.api_timeout;
        let mut backoff = self.settings.retry_backoff;
        loop {
            let failed = self.refresh(Wanted::Named { names, create: false })?;
            let Some((topic, code)) = failed.into_iter().next() else { return Ok(()) };
            if code == Code::UNKNOWN_TOPIC_OR_PARTITION {
                return Err(self.no_topic(&topic));
            }
            if !code.is_retryable() || Instant::now() >= deadline {
                return Err(Error::Refused { what: format!("use topic {topic:?}"), code, message: None });
            }
            pause(&mut backoff);
        }
    }

    /// Makes sure that a topic exists, by asking the broker to create it if need be. Says whether it did.
    ///
    /// # Errors
    /// If it does not exist and the broker does not create it.
    pub fn require_or_create_topic(&mut self, name: &str) -> Result<bool> {
        match self.require_topics(&[name.to_owned()]) {
            Ok(()) => return Ok(false),
            Err(Error::NoTopic { .. }) => {}
            Err(error) => return Err(error),
        }
        let deadline = Instant::now() + TOPIC_CREATION_WAIT;
        let mut backoff = self.settings.retry_backoff;
        while Instant::now() < deadline {
            let failed = self.refresh(Wanted::Named { names: &[name.to_owned()], create: true })?;
            match failed.first() {
                None if self.topic(name).is_some_and(Topic::has_all_leaders) => return Ok(true),
                Some((_, code)) if !code.is_retryable() => {
                    return Err(Error::Refused { what: format!("use topic {name:?}"), code: *code, message: None });
                }
                _ => pause(&mut backoff),
            }
        }
        Err(self.no_topic(name))
    }

    /// Waits until a topic that was just made is known to the brokers, for a little while: not all of them hear of it
    /// at once.
    ///
    /// # Errors
    /// If no broker answers.
    pub fn await_topic(&mut self, name: &str) -> Result<()> {
        let deadline = Instant::now() + TOPIC_CREATION_WAIT;
        let mut backoff = self.settings.retry_backoff;
        loop {
            self.refresh_topics(&[name.to_owned()])?;
            if self.topic(name).is_some_and(Topic::has_all_leaders) || Instant::now() >= deadline {
                return Ok(());
            }
            pause(&mut backoff);
        }
    }

    fn no_topic(&mut self, name: &str) -> Error {
        let existing = self.all_topics().unwrap_or_default();
        let similar = nearest::names(name, existing.iter().filter(|t| !t.is_internal).map(|t| t.name.as_str()));
        Error::NoTopic { topic: name.to_owned(), similar }
    }

    /// Asks a broker for the cluster and some topics; gives back the topics that have an error.
    fn refresh(&mut self, wanted: Wanted<'_>) -> Result<Vec<(String, Code)>> {
        let named = |names: &[String]| {
            let topic =
                |name: &String| metadata::RequestTopics { name: Some(name.clone().into()), ..Default::default() };
            names.iter().map(topic).collect::<Vec<_>>()
        };
        let request = metadata::Request {
            topics: match wanted {
                Wanted::All => None,
                Wanted::Named { names, .. } => Some(named(names)),
            },
            allow_auto_topic_creation: matches!(wanted, Wanted::Named { create: true, .. }),
            ..Default::default()
        };
        let answer = self.call(Node::Any, &request)?;
        let response: metadata::Response<'_> = answer.read()?;
        Code(response.error_code).ok().map_err(|code| Error::Refused {
            what: "ask for the cluster's metadata".to_owned(),
            code,
            message: None,
        })?;
        self.learn_brokers(&response);
        self.refreshed_at = Instant::now();
        match wanted {
            Wanted::All => self.topics.clear(),
            Wanted::Named { names, .. } => names.iter().for_each(|name| drop(self.topics.remove(name))),
        }
        Ok(self.learn_topics(response))
    }

    fn learn_brokers(&mut self, response: &metadata::Response<'_>) {
        if response.brokers.is_empty() {
            return;
        }
        self.cluster_id = response.cluster_id.as_deref().map(str::to_owned);
        self.controller = Some(response.controller_id).filter(|&id| id >= 0);
        let brokers: BTreeMap<i32, Broker> = response
            .brokers
            .iter()
            .map(|broker| {
                let address = Address { host: broker.host.clone().into_owned(), port: port(broker.port) };
                (
                    broker.node_id,
                    Broker { id: broker.node_id, address, rack: broker.rack.as_deref().map(str::to_owned) },
                )
            })
            .collect();
        let unchanged = |id: &i32| brokers.get(id).map(|b| &b.address) == self.brokers.get(id).map(|b| &b.address);
        self.connections.retain(|id, _| unchanged(id));
        self.brokers = brokers;
    }

    fn learn_topics(&mut self, response: metadata::Response<'_>) -> Vec<(String, Code)> {
        let mut failed = Vec::new();
        for topic in response.topics {
            let name = topic.name.unwrap_or_default().into_owned();
            let code = Code(topic.error_code);
            if !code.is_none() && topic.partitions.is_empty() {
                failed.push((name, code));
                continue;
            }
            let mut partitions: Vec<Partition> = topic
                .partitions
                .into_iter()
                .map(|partition| Partition {
                    index: partition.partition_index,
                    leader: Some(partition.leader_id).filter(|&id| id >= 0),
                    leader_epoch: partition.leader_epoch,
                    replicas: partition.replica_nodes,
                    in_sync: partition.isr_nodes,
                    offline: partition.offline_replicas,
                })
                .collect();
            partitions.sort_by_key(|partition| partition.index);
            let topic = Topic { name: name.clone(), id: topic.topic_id, is_internal: topic.is_internal, partitions };
            self.topics.insert(name, topic);
        }
        failed
    }

    /// Sends a request and waits for the answer. A kept connection that turns out to be broken is replaced once.
    ///
    /// # Errors
    /// If no answer comes.
    pub fn call<'q>(&mut self, node: Node, request: &impl Request<'q>) -> Result<Answer> {
        let timeout = self.settings.request_timeout;
        self.call_within(node, request, timeout)
    }

    /// As [`Self::call`], for requests that the broker may hold for long.
    ///
    /// # Errors
    /// If no answer comes within `timeout`.
    pub fn call_within<'q>(&mut self, node: Node, request: &impl Request<'q>, timeout: Duration) -> Result<Answer> {
        if let Some(mut kept) = self.take_kept(node) {
            match kept.1.call(request, timeout) {
                Err(Error::Lost { .. }) => {}
                outcome => {
                    if outcome.is_ok() {
                        self.keep(kept);
                    }
                    return outcome;
                }
            }
        }
        let mut fresh = self.open(node)?;
        let answer = fresh.1.call(request, timeout)?;
        self.keep(fresh);
        Ok(answer)
    }

    /// The highest version of an API that a broker and this client have in common; `None` if there is none.
    ///
    /// # Errors
    /// If the broker cannot be reached.
    pub fn version(&mut self, node: Node, key: ApiKey) -> Result<Option<i16>> {
        let connection = match self.take_kept(node) {
            Some(kept) => kept,
            None => self.open(node)?,
        };
        let version = connection.1.version(key).ok();
        self.keep(connection);
        Ok(version)
    }

    /// Makes a new connection to a broker, which belongs to the caller.
    ///
    /// # Errors
    /// If the broker is unknown or cannot be reached.
    pub fn connect_to(&self, id: i32) -> Result<Connection> {
        let broker = self.brokers.get(&id).ok_or_else(|| Error::Setting {
            message: format!("the cluster has no broker {id}: `skein cluster` lists those it has"),
        })?;
        Connection::open(&broker.address, &self.settings)
    }

    fn take_kept(&mut self, node: Node) -> Option<(Option<i32>, Connection)> {
        match self.target(node) {
            Some(id) => self.connections.remove(&id).map(|connection| (Some(id), connection)),
            None => {
                let bootstrap = self.bootstrap.take().map(|connection| (None, connection));
                bootstrap.or_else(|| self.connections.pop_first().map(|(id, connection)| (Some(id), connection)))
            }
        }
    }

    fn keep(&mut self, (id, connection): (Option<i32>, Connection)) {
        match id {
            Some(id) => drop(self.connections.insert(id, connection)),
            None => self.bootstrap = Some(connection),
        }
    }

    fn target(&self, node: Node) -> Option<i32> {
        match node {
            Node::Any => None,
            Node::Controller => self.controller.filter(|id| self.brokers.contains_key(id)),
            Node::Id(id) => Some(id),
        }
    }

    fn open(&self, node: Node) -> Result<(Option<i32>, Connection)> {
        if let Some(id) = self.target(node) {
            return Ok((Some(id), self.connect_to(id)?));
        }
        let mut attempts = Vec::new();
        for address in &self.settings.bootstrap {
            match Connection::open(address, &self.settings) {
                Ok(connection) => return Ok((None, connection)),
                Err(error) => attempts.push(error),
            }
        }
        // The bootstrap addresses may be gone from a cluster that lives on.
        for &id in self.brokers.keys() {
            if let Ok(connection) = self.connect_to(id) {
                return Ok((Some(id), connection));
            }
        }
        match attempts.len() {
            1 => Err(attempts.remove(0)),
            _ => Err(Error::NoBootstrap { attempts }),
        }
    }

    /// The broker that coordinates a group. Waits while the cluster is still making one.
    ///
    /// # Errors
    /// If there is none.
    pub fn coordinator(&mut self, group: &str) -> Result<i32> {
        let what = || format!("find the coordinator of group {group:?}");
        let request = find_coordinator::Request {
            key: group.to_owned().into(),
            coordinator_keys: vec![group.to_owned().into()],
            ..Default::default()
        };
        self.retry(|cluster| {
            let answer = cluster.call(Node::Any, &request)?;
            let response: find_coordinator::Response<'_> = answer.read()?;
            let found = response.coordinators.into_iter().next().unwrap_or(find_coordinator::ResponseCoordinators {
                key: Default::default(),
                node_id: response.node_id,
                host: response.host,
                port: response.port,
                error_code: response.error_code,
                error_message: response.error_message,
            });
            Code(found.error_code).ok().map_err(|code| Error::Refused {
                what: what(),
                code,
                message: found.error_message.as_deref().map(str::to_owned),
            })?;
            let address = Address { host: found.host.into_owned(), port: port(found.port) };
            let id = found.node_id;
            cluster.brokers.entry(id).or_insert(Broker { id, address, rack: None });
            Ok(id)
        })
    }

    /// Does something again until it succeeds, fails for good, or the time for one operation is over.
    ///
    /// # Errors
    /// The last failure.
    pub fn retry<T>(&mut self, mut attempt: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        let deadline = Instant::now() + self.settings.api_timeout;
        let mut backoff = self.settings.retry_backoff;
        loop {
            match attempt(self) {
                Err(Error::Refused { code, .. }) if code.is_retryable() && Instant::now() < deadline => {
                    pause(&mut backoff);
                }
                outcome => return outcome,
            }
        }
    }
}

impl Topic {
    /// One partition.
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        let at = self.partitions.binary_search_by_key(&index, |partition| partition.index).ok()?;
        self.partitions.get(at)
    }

    fn has_all_leaders(&self) -> bool {
        self.partitions.iter().all(|partition| partition.leader.is_some())
    }
}

/// Sleeps, and doubles the next sleep.
fn pause(backoff: &mut Duration) {
    thread::sleep(*backoff);
    *backoff = (*backoff * 2).min(BACKOFF_MAX);
}

/// A port as brokers send it. Port 0 leads to a failure to connect that names it.
fn port(port: i32) -> u16 {
    u16::try_from(port).unwrap_or(0)
}
