//! A consumer of given partitions: one fetch on its way to each leader, the next one sent while the last is being read.
//!
//! ```text
//!  position ──fetch──► fetched, waiting in `ready` ─ next ─► the caller ──advance──► consumed
//!     ▲ of the next fetch                                                       ▲ what may be committed
//! ```
//! Fetches are without sessions (KIP-227, epoch -1), which every broker since 0.11 serves in the same way.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};
use net::api::fetch;
use storage::batch::{self, Batch, TimestampType};
use storage::builder::EndTransaction;
use storage::record::{self, Headers};

use super::admin::{self, TopicPartition};
use super::cluster::Cluster;
use super::code::Code;
use super::connection::Answer;
use super::error::{Error, Result};
use super::link::{Event, Link, LinkId};
use super::records;
use super::settings::{ConsumerSettings, Isolation, Reset};

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

/// Where to start in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first record there is.
    Beginning,
    /// After the last record there is.
    End,
    /// At this offset.
    Offset(i64),
    /// So many records before the end.
    Last(i64),
    /// At the first record with this timestamp, in ms, or a later one.
    Timestamp(i64),
}

/// Records of one partition as they came.
#[derive(Debug)]
pub struct Fetched {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset after the last batch.
    pub next_offset: i64,
    /// Offset asked for; records before it are not meant.
    from: i64,
    bytes: Vec<u8>,
    /// Producer and first offset of the aborted transactions in here, by first offset; only for read_committed.
    aborted: Vec<(i64, i64)>,
}

/// A record as a consumer sees it.
#[derive(Debug)]
pub struct Message<'a> {
    /// Its partition.
    pub partition: &'a TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in ms, -1 for none.
    pub timestamp: i64,
    /// What the timestamp means.
    pub timestamp_type: TimestampType,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

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
        if let Some(next_offset) = offset_after(&bytes, &name, from)? {
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

/// The offset after the last whole batch, `None` without any bytes.
fn offset_after(bytes: &[u8], partition: &TopicPartition, from: i64) -> Result<Option<i64>> {
    let mut next_offset = None;
    for batch in batch::batches(bytes) {
        match batch {
            Ok(batch) => next_offset = Some(batch.next_offset().max(from)),
            // The last batch of an answer may be cut (KIP-74: never the first).
            Err(_) if next_offset.is_some() => break,
            Err(malformed) => return Err(damaged(partition, from, malformed.to_string())),
        }
    }
    Ok(next_offset)
}

fn damaged(partition: &TopicPartition, offset: i64, reason: String) -> Error {
    Error::Records { topic: partition.topic.to_string(), partition: partition.index, offset, reason }
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

impl Fetched {
    /// Whole batches of a partition, of which every record is meant.
    pub fn of(partition: TopicPartition, bytes: Vec<u8>) -> Self {
        let next_offset = batch::batches(&bytes).map_while(Result::ok).last().map_or(0, |batch| batch.next_offset());
        Self { partition, next_offset, from: i64::MIN, bytes, aborted: Vec::new() }
    }

    /// Shows every record that an application shall see, in order, until one is enough.
    ///
    /// # Errors
    /// If a batch is damaged; the records before it were shown.
    pub fn visit(
        &self,
        check_crcs: bool,
        mut show: impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut aborts = Aborts::new(&self.aborted);
        // The last batch may be cut.
        for batch in batch::batches(&self.bytes).map_while(Result::ok) {
            let damaged = |reason| damaged(&self.partition, batch.base_offset(), reason);
            if check_crcs && batch.crc() != batch.computed_crc() {
                return Err(damaged(format!("its CRC is {:#010x}, not {:#010x}", batch.computed_crc(), batch.crc())));
            }
            if batch.attributes().is_control() {
                aborts.see_control(&batch, &records::body(&batch).map_err(damaged)?);
                continue;
            }
            if aborts.hides(&batch) || batch.next_offset() <= self.from {
                continue;
            }
            let body = records::body(&batch).map_err(damaged)?;
            for record in record::records(&body) {
                let record = record.map_err(|malformed| damaged(malformed.to_string()))?;
                let located = batch.origin().locate(record.head);
                if located.offset < self.from {
                    continue;
                }
                let message = Message {
                    partition: &self.partition,
                    offset: located.offset,
                    timestamp: located.timestamp,
                    timestamp_type: batch.attributes().timestamp_type(),
                    key: record.key,
                    value: record.value,
                    headers: record.headers,
                };
                if show(message).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Which producers' transactional batches to leave out at the moment (KIP-98).
struct Aborts<'a> {
    /// By first offset.
    to_come: std::slice::Iter<'a, (i64, i64)>,
    producers: BTreeSet<i64>,
}

impl<'a> Aborts<'a> {
    fn new(aborted: &'a [(i64, i64)]) -> Self {
        Self { to_come: aborted.iter(), producers: BTreeSet::new() }
    }

    fn hides(&mut self, batch: &Batch<'_>) -> bool {
        while let Some(&(first_offset, producer)) = self.to_come.as_slice().first()
            && first_offset <= batch.last_offset()
        {
            self.producers.insert(producer);
            self.to_come.next();
        }
        batch.attributes().is_transactional() && self.producers.contains(&batch.producer_id())
    }

    fn see_control(&mut self, batch: &Batch<'_>, body: &[u8]) {
        for record in record::records(body).map_while(Result::ok) {
            let end = EndTransaction::parse(record.key.unwrap_or_default(), record.value.unwrap_or_default());
            if end.is_some_and(|end| !end.is_commit) {
                self.producers.remove(&batch.producer_id());
            }
        }
    }
}

/// The offsets where partitions start.
///
/// # Errors
/// If an offset lies outside its partition, or the leaders cannot be asked.
pub fn resolve(
    cluster: &mut Cluster,
    partitions: &[TopicPartition],
    start: Start,
    isolation: Isolation,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let mut list = |timestamp| admin::list_offsets(cluster, partitions, timestamp, isolation);
    match start {
        Start::Beginning => list(admin::EARLIEST),
        Start::End => list(admin::LATEST),
        Start::Timestamp(timestamp) => {
            let (found, ends) = (list(timestamp)?, list(admin::LATEST)?);
            Ok(found
                .into_iter()
                .map(|(p, offset)| if offset < 0 { (p.clone(), ends[&p]) } else { (p, offset) })
                .collect())
        }
        Start::Last(count) => {
            let (beginnings, ends) = (list(admin::EARLIEST)?, list(admin::LATEST)?);
            Ok(ends.into_iter().map(|(p, end)| (p.clone(), (end - count).max(beginnings[&p]))).collect())
        }
        Start::Offset(offset) => {
            let (beginnings, ends) = (list(admin::EARLIEST)?, list(admin::LATEST)?);
            for partition in partitions {
                let (beginning, end) = (beginnings[partition], ends[partition]);
                if !(beginning..=end).contains(&offset) {
                    return Err(Error::Setting {
                        message: format!(
                            "{partition} has no offset {offset}: it begins at {beginning} and ends at {end}"
                        ),
                    });
                }
            }
            Ok(partitions.iter().map(|partition| (partition.clone(), offset)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::batch::Producer as Stamp;
    use storage::builder::{BatchBuilder, NewRecord, Options};

    fn batch(base_offset: i64, producer: i64, control: Option<bool>, values: &[&str]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Options {
            base_offset,
            producer: Some(Stamp { id: producer, epoch: 0, base_sequence: 0 }),
            is_transactional: true,
            is_control: control.is_some(),
            ..Options::default()
        });
        if let Some(is_commit) = control {
            let end = EndTransaction { is_commit, coordinator_epoch: 0 };
            let record = NewRecord { timestamp: 0, key: Some(&end.key()), value: Some(&end.value()), headers: &[] };
            builder.append(&record).unwrap();
        }
        for value in values {
            let record = NewRecord { timestamp: 0, key: None, value: Some(value.as_bytes()), headers: &[] };
            builder.append(&record).unwrap();
        }
        builder.finish()
    }

    fn fetched(from: i64, aborted: &[(i64, i64)], batches: &[Vec<u8>]) -> Fetched {
        let partition = TopicPartition { topic: "t".into(), index: 0 };
        Fetched { partition, next_offset: 0, from, bytes: batches.concat(), aborted: aborted.to_vec() }
    }

    fn seen(fetched: &Fetched) -> Vec<(i64, String)> {
        let mut seen = Vec::new();
        let outcome = fetched.visit(true, |message| {
            seen.push((message.offset, String::from_utf8(message.value.unwrap().to_vec()).unwrap()));
            ControlFlow::Continue(())
        });
        assert!(outcome.unwrap().is_continue());
        seen
    }

    #[test]
    fn records_before_the_wanted_offset_and_control_records_are_left_out() {
        let fetched =
            fetched(1, &[], &[batch(0, 1, None, &["a", "b"]), batch(2, 1, Some(true), &[]), batch(3, 1, None, &["c"])]);
        assert_eq!(seen(&fetched), [(1, "b".to_owned()), (3, "c".to_owned())]);
    }

    #[test]
    fn aborted_transactions_are_left_out_until_their_mark() {
        let batches = [
            batch(0, 1, None, &["gone"]),
            batch(1, 2, None, &["kept"]),
            batch(2, 1, Some(false), &[]),
            batch(3, 1, None, &["later"]),
        ];
        assert_eq!(seen(&fetched(0, &[(0, 1)], &batches)), [(1, "kept".to_owned()), (3, "later".to_owned())]);
    }

    #[test]
    fn a_flipped_bit_is_reported_with_its_offset_and_a_cut_end_is_not() {
        let mut damaged = batch(7, 1, None, &["value"]);
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        let error = fetched(7, &[], &[damaged]).visit(true, |_| ControlFlow::Continue(())).unwrap_err();
        assert!(error.to_string().contains("offset 7"), "{error}");

        let whole = batch(0, 1, None, &["a"]);
        let cut = batch(1, 1, None, &["b"])[..30].to_vec();
        let partition = TopicPartition { topic: "t".into(), index: 0 };
        assert_eq!(offset_after(&[whole.clone(), cut.clone()].concat(), &partition, 0).unwrap(), Some(1));
        assert_eq!(seen(&fetched(0, &[], &[whole, cut.clone()])), [(0, "a".to_owned())]);
        assert!(offset_after(&cut, &partition, 0).is_err());
        assert_eq!(offset_after(&[], &partition, 0).unwrap(), None);
    }

    #[test]
    fn a_visit_ends_when_one_is_enough() {
        let fetched = fetched(0, &[], &[batch(0, 1, None, &["a", "b"])]);
        let mut count = 0;
        let outcome = fetched.visit(true, |_| {
            count += 1;
            ControlFlow::Break(())
        });
        assert!(outcome.unwrap().is_break());
        assert_eq!(count, 1);
    }
}
