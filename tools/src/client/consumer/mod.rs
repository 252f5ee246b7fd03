//! A consumer of given partitions: one fetch on its way to each leader, the next one sent while the last is being read.
//!
//! ```text
//!  position ──fetch──► fetched, waiting in `ready` ─ next ─► the caller ──advance──► consumed
//!     ▲ of the next fetch                                                       ▲ what may be committed
//! ```
//! Fetches are without sessions (KIP-227, epoch -1), which every broker since 0.11 serves in the same way.

mod fetched;
mod start;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};
use net::api::fetch;

use super::admin::TopicPartition;
use super::cluster::Cluster;
use super::code::Code;
use super::connection::Answer;
use super::error::{Error, Result};
use super::link::{Event, Link, LinkId};
use super::settings::{ConsumerSettings, Reset};

pub use self::fetched::{Fetched, Message};
pub use self::start::{Start, resolve};

/// Bytes of fetched records that wait to be read before fetching pauses.
const READY_BYTES_MAX: usize = 64 << 20;

/// The longest time between two looks at deadlines.
const TICK: Duration = Duration::from_millis(100);

/// The pause before a partition or broker that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// A fetch from a consumer, in `replica_id`.
const CONSUMER_REPLICA: i32 = -1;

/// The epoch of a fetch without a session.
const SESSIONLESS: i32 = -1;

/// See the module.
#[derive(Debug)]
pub struct Consumer {
    settings: ConsumerSettings,
    partitions: BTreeMap<TopicPartition, Position>,
    links: BTreeMap<i32, Flight>,
    reconnect_at: BTreeMap<i32, Instant>,
    next_link: LinkId,
    /// Raised by every assignment, so that answers to earlier fetches are recognised.
    assignment: u64,
    /// At most one event for each fetch on its way and each link.
    events: (Sender<Event>, Receiver<Event>),
    ready: VecDeque<Fetched>,
    ready_bytes: usize,
    refresh_at: Option<Instant>,
    trouble: Option<String>,
    troubled_since: Option<Instant>,
}

#[derive(Debug)]
struct Position {
    /// Offset of the next fetch.
    offset: i64,
    /// Offset of the next record that the caller has not had.
    consumed: i64,
    retry_at: Option<Instant>,
    wants_reset: bool,
}

/// A link to a broker, and the fetch on its way.
#[derive(Debug)]
struct Flight {
    link: Link,
    fetch: Option<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    sent_at: Instant,
    assignment: u64,
    offsets: BTreeMap<TopicPartition, i64>,
}

impl Consumer {
    /// A consumer of nothing yet.
    pub fn new(settings: ConsumerSettings) -> Self {
        Self {
            settings,
            partitions: BTreeMap::new(),
            links: BTreeMap::new(),
            reconnect_at: BTreeMap::new(),
            next_link: 0,
            assignment: 0,
            events: unbounded(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            refresh_at: None,
            trouble: None,
            troubled_since: None,
        }
    }

    /// Reads these partitions from these offsets from now on, and nothing else.
    pub fn assign(&mut self, offsets: BTreeMap<TopicPartition, i64>) {
        self.assignment += 1;
        self.ready.clear();
        self.ready_bytes = 0;
        let position = |offset| Position { offset, consumed: offset, retry_at: None, wants_reset: false };
        self.partitions = offsets.into_iter().map(|(partition, offset)| (partition, position(offset))).collect();
    }

    /// Of each partition, the offset of the next record that the caller has not had.
    pub fn consumed(&self) -> BTreeMap<TopicPartition, i64> {
        self.partitions.iter().map(|(partition, position)| (partition.clone(), position.consumed)).collect()
    }

    /// The caller has had everything before this offset.
    pub fn advance(&mut self, partition: &TopicPartition, offset: i64) {
        if let Some(position) = self.partitions.get_mut(partition) {
            position.consumed = offset;
        }
    }

    /// Where answers arrive; hand them to [`Self::handle`].
    pub fn events(&self) -> &Receiver<Event> {
        &self.events.1
    }

    /// When [`Self::drive`] has something to do again without an event.
    pub fn next_wakeup(&self, now: Instant) -> Instant {
        now + TICK
    }

    /// The next records there are.
    pub fn next_fetched(&mut self) -> Option<Fetched> {
        let fetched = self.ready.pop_front()?;
        self.ready_bytes -= fetched.bytes.len();
        Some(fetched)
    }

    /// The last trouble that is being met by trying again, since it was last asked.
    pub fn take_trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    /// Since when nothing but trouble came.
    pub fn troubled_since(&self) -> Option<Instant> {
        self.troubled_since
    }

    /// Does what time asks for and sends the fetches that can be sent.
    ///
    /// # Errors
    /// If a partition cannot be read any more.
    pub fn drive(&mut self, cluster: &mut Cluster, now: Instant) -> Result<()> {
        self.time_out(cluster, now);
        self.refresh(cluster, now)?;
        self.reset(cluster, now)?;
        if self.ready_bytes < READY_BYTES_MAX {
            for (broker, offsets) in self.fetchable(cluster, now) {
                self.send_fetch(cluster, broker, offsets, now);
            }
        }
        Ok(())
    }

    fn time_out(&mut self, cluster: &Cluster, now: Instant) {
        let timeout = cluster.settings().request_timeout + self.settings.fetch_wait_max;
        let silent = |flight: &Flight| flight.fetch.as_ref().is_some_and(|fetch| fetch.sent_at + timeout <= now);
        let silent: Vec<i32> = self.links.iter().filter(|(_, f)| silent(f)).map(|(&broker, _)| broker).collect();
        for broker in silent {
            self.drop_link(broker, now, format!("broker {broker} did not answer within {} s", timeout.as_secs()));
        }
    }

    fn refresh(&mut self, cluster: &mut Cluster, now: Instant) -> Result<()> {
        if self.refresh_at.is_none() && cluster.is_stale() {
            self.refresh_at = Some(now);
        }
        if self.refresh_at.is_none_or(|at| now < at) {
            return Ok(());
        }
        let topics: BTreeSet<String> = self.partitions.keys().map(|p| p.topic.to_string()).collect();
        let topics: Vec<String> = topics.into_iter().collect();
        self.refresh_at = None;
        match cluster.require_topics(&topics) {
            Ok(()) => Ok(()),
            Err(error) if error.is_retryable() => {
                self.note_trouble(error.to_string(), now);
                self.refresh_at = Some(now + RETRY_PAUSE);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Finds new positions for partitions whose records are gone.
    fn reset(&mut self, cluster: &mut Cluster, now: Instant) -> Result<()> {
        let lost: Vec<TopicPartition> =
            self.partitions.iter().filter(|(_, p)| p.wants_reset).map(|(partition, _)| partition.clone()).collect();
        for partition in lost {
            let start = match self.settings.reset.unwrap_or(Reset::Latest) {
                Reset::Earliest => Start::Beginning,
                Reset::Latest => Start::End,
                Reset::Fail => {
                    let what = format!("read {partition} at offset {}", self.partitions[&partition].offset);
                    return Err(Error::Refused { what, code: Code::OFFSET_OUT_OF_RANGE, message: None });
                }
            };
            let offsets = resolve(cluster, std::slice::from_ref(&partition), start, self.settings.isolation)?;
            if let (Some(position), Some(&offset)) = (self.partitions.get_mut(&partition), offsets.get(&partition)) {
                let message =
                    format!("offset {} of {partition} does not exist any more: going on at {offset}", position.offset);
                *position = Position { offset, consumed: offset, retry_at: None, wants_reset: false };
                self.note_trouble(message, now);
            }
        }
        Ok(())
    }

    /// By broker, what to fetch of it now: everything it leads, if no fetch is on its way to it.
    fn fetchable(&mut self, cluster: &Cluster, now: Instant) -> BTreeMap<i32, BTreeMap<TopicPartition, i64>> {
        let mut by_broker: BTreeMap<i32, BTreeMap<TopicPartition, i64>> = BTreeMap::new();
        let mut leaderless = false;
        for (partition, position) in &self.partitions {
            if position.retry_at.is_some_and(|at| now < at) || position.wants_reset {
                continue;
            }
            match cluster.leader(&partition.topic, partition.index) {
                Some((leader, _)) => {
                    by_broker.entry(leader).or_default().insert(partition.clone(), position.offset);
                }
                None => leaderless = true,
            }
        }
        if leaderless {
            self.refresh_at.get_or_insert(now + RETRY_PAUSE);
        }
        by_broker.retain(|broker, _| {
            let busy = self.links.get(broker).is_some_and(|flight| flight.fetch.is_some());
            let waits = self.reconnect_at.get(broker).is_some_and(|&at| now < at);
            !busy && !waits
        });
        by_broker
    }

    fn send_fetch(&mut self, cluster: &Cluster, broker: i32, offsets: BTreeMap<TopicPartition, i64>, now: Instant) {
        let request = fetch_request(&self.settings, cluster, &offsets);
        let assignment = self.assignment;
        let sent = self.link(cluster, broker).and_then(|flight| {
            flight.link.send(&request)?;
            flight.fetch = Some(InFlight { sent_at: now, assignment, offsets: offsets.clone() });
            Ok(())
        });
        if let Err(error) = sent {
            self.drop_link(broker, now, error.to_string());
        }
    }

    fn link(&mut self, cluster: &Cluster, broker: i32) -> Result<&mut Flight> {
        let next = self.next_link;
        let events = &self.events.0;
        Ok(match self.links.entry(broker) {
            Entry::Occupied(occupied) => occupied.into_mut(),
            Entry::Vacant(vacant) => {
                let link = Link::open(cluster, broker, next, events.clone())?;
                self.next_link += 1;
                vacant.insert(Flight { link, fetch: None })
            }
        })
    }

    fn drop_link(&mut self, broker: i32, now: Instant, reason: String) {
        self.links.remove(&broker);
        self.reconnect_at.insert(broker, now + RETRY_PAUSE);
        self.refresh_at.get_or_insert(now + RETRY_PAUSE);
        self.note_trouble(reason, now);
    }

    fn note_trouble(&mut self, trouble: String, now: Instant) {
        self.trouble = Some(trouble);
        self.troubled_since.get_or_insert(now);
    }

    /// Takes an event of [`Self::events`].
    ///
    /// # Errors
    /// If a partition cannot be read.
    pub fn handle(&mut self, event: Event, now: Instant) -> Result<()> {
        let found = self.links.iter_mut().find(|(_, flight)| flight.link.id() == event.link);
        // A link that was given up has a last word that does not matter any more.
        let Some((&broker, flight)) = found else { return Ok(()) };
        let fetch = flight.fetch.take();
        match (event.answer, fetch) {
            (Ok(answer), Some(fetch)) if fetch.assignment == self.assignment => self.take(&answer, &fetch, now),
            (Ok(_), _) => Ok(()),
            (Err(error), _) => {
                self.drop_link(broker, now, error.to_string());
                Ok(())
            }
        }
    }

    fn take(&mut self, answer: &Answer, fetch: &InFlight, now: Instant) -> Result<()> {
        let response: fetch::Response<'_> = answer.read()?;
        Code(response.error_code).ok().map_err(|code| Error::Refused {
            what: "fetch records".to_owned(),
            code,
            message: None,
        })?;
        for topic in response.responses {
            for partition in topic.partitions {
                let name = TopicPartition { topic: topic.topic.as_ref().into(), index: partition.partition_index };
                if let Some(&from) = fetch.offsets.get(&name) {
                    self.take_partition(name, from, partition, now)?;
                }
            }
        }
        Ok(())
    }

    fn take_partition(
        &mut self,
        name: TopicPartition,
        from: i64,
        partition: fetch::ResponseResponsesPartitions<'_>,
        now: Instant,
    ) -> Result<()> {
        let Some(position) = self.partitions.get_mut(&name) else { return Ok(()) };
        let code = Code(partition.error_code);
        if !code.is_none() {
            position.retry_at = Some(now + RETRY_PAUSE);
            position.wants_reset = code == Code::OFFSET_OUT_OF_RANGE;
            if code.wants_metadata() {
                self.refresh_at.get_or_insert(now);
            }
            if !position.wants_reset && !code.is_retryable() {
                return Err(Error::Refused { what: format!("read {name}"), code, message: None });
            }
            self.note_trouble(format!("{name}: the broker says {code}"), now);
            return Ok(());
        }
        position.retry_at = None;
        self.troubled_since = None;
        let bytes = partition.records.unwrap_or_default().into_owned();
        if let Some(next_offset) = fetched::offset_after(&bytes, &name, from)? {
            position.offset = next_offset;
            let mut aborted: Vec<(i64, i64)> = partition
                .aborted_transactions
                .unwrap_or_default()
                .iter()
                .map(|t| (t.first_offset, t.producer_id))
                .collect();
            aborted.sort_unstable();
            self.ready_bytes += bytes.len();
            self.ready.push_back(Fetched { partition: name, next_offset, from, bytes, aborted });
        }
        Ok(())
    }
}

fn fetch_request<'a>(
    settings: &ConsumerSettings,
    cluster: &Cluster,
    offsets: &'a BTreeMap<TopicPartition, i64>,
) -> fetch::Request<'a> {
    let mut topics: Vec<fetch::RequestTopics<'a>> = Vec::new();
    for (partition, &fetch_offset) in offsets {
        let epoch = cluster.leader(&partition.topic, partition.index).map_or(-1, |(_, epoch)| epoch);
        let wanted = fetch::RequestTopicsPartitions {
            partition: partition.index,
            current_leader_epoch: epoch,
            fetch_offset,
            partition_max_bytes: settings.partition_bytes_max,
            ..Default::default()
        };
        match topics.last_mut() {
            Some(topic) if topic.topic == *partition.topic => topic.partitions.push(wanted),
            _ => topics.push(fetch::RequestTopics {
                topic: (&*partition.topic).into(),
                partitions: vec![wanted],
                ..Default::default()
            }),
        }
    }
    fetch::Request {
        replica_id: CONSUMER_REPLICA,
        max_wait_ms: settings.fetch_wait_max.as_millis() as i32,
        min_bytes: settings.fetch_bytes_min,
        max_bytes: settings.fetch_bytes_max,
        isolation_level: settings.isolation.wire(),
        session_epoch: SESSIONLESS,
        topics,
        ..Default::default()
    }
}
