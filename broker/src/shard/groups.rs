//! The group coordinators of the `__consumer_offsets` partitions placed on a shard.
//!
//! ```text
//! partition attached ─► load its records ─► serve
//! request ─► split by coordinator ─► handle ─► replies ─► gathered ─► answer
//!                                       └────► appends ─► store ─► committed ─► the coordinator is told
//! ```

use std::collections::{BTreeMap, VecDeque};

use net::{ApiKey, DecodeError};
use storage::buffer::Slice;
use storage::builder::{BatchBuilder, NewRecord, Options};
use storage::{LogId, batch, compression, record};

use super::control::Origin;
use super::deadlines::Deadlines;
use super::lags::{LagDesk, Then};
use super::mail::{Client, ReadAnswer, ReadItem};
use super::partitions::{Appending, CommitWaiter, PartOf};
use super::timers::Timer;
use super::{Request, Shard};
use crate::config::NodeConfig;
use crate::error_code::ErrorCode;
use crate::group::{self, AppendFailure, AppendId, Coordinator, Effects, Reply, Token, api};
use crate::metadata::names::CONSUMER_OFFSETS;

/// Bytes read at a time while a coordinator loads.
const LOAD_BYTES: usize = 1 << 20;

/// The most bytes that one batch of `__consumer_offsets` may decompress to: the coordinators write them uncompressed.
const LOAD_BATCH_BYTES_MAX: u64 = 64 << 20;

/// Reads that may fail one after another while a coordinator loads. A disk that fails more often holds offsets that nobody can
/// get at; groups that began anew without them would read everything again, or skip it.
const FAILED_READS_MAX: u32 = 10;

/// Groups looked at in one step of the expiry of offsets.
const EXPIRED_GROUPS_PER_STEP: usize = 100;

/// A coordinator and the partition that it writes to.
#[derive(Debug)]
struct Hosted {
    coordinator: Coordinator,
    log: LogId,
    /// The next offset to load, until all is loaded.
    loading: Option<i64>,
    /// Reads that have failed one after another while it loads.
    failed_reads: u32,
}

/// A request that was split among coordinators, until all of them have replied.
#[derive(Debug)]
struct Gathering {
    origin: Origin,
    plan: api::Plan,
    missing: usize,
    replies: Vec<Option<Reply>>,
}

/// The coordinators of one shard.
#[derive(Debug)]
pub(crate) struct Groups {
    config: group::Config,
    expiry_interval_ns: u64,
    expiry_armed: bool,
    /// By partition of `__consumer_offsets`.
    hosted: BTreeMap<i32, Hosted>,
    /// Coordinators that have records left to load and nothing being read.
    to_load: VecDeque<i32>,
    /// Coordinators that have groups left to look at in this round of expiry.
    to_expire: VecDeque<i32>,
    gatherings: BTreeMap<u64, Gathering>,
    /// Which part of which gathering a token stands for.
    waiting: BTreeMap<Token, (u64, usize)>,
    next_gathering: u64,
    next_token: u64,
    /// When each coordinator has something due.
    deadlines: Deadlines,
    pub(super) lags: LagDesk,
}

impl Groups {
    pub(crate) fn new(config: &NodeConfig) -> Self {
        let groups = &config.groups;
        let to_int = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        Self {
            config: group::Config {
                initial_rebalance_delay_ms: groups.initial_rebalance_delay_ms.into(),
                session_timeout_ms_min: to_int(groups.session_timeout_ms_min),
                session_timeout_ms_max: to_int(groups.session_timeout_ms_max),
                group_size_max: groups.members_max as usize,
                offset_metadata_max: groups.offset_metadata_bytes_max as usize,
                offsets_retention_ms: i64::try_from(groups.offsets_retention_ms).unwrap_or(i64::MAX),
            },
            expiry_interval_ns: groups.offsets_retention_check_interval_ms.saturating_mul(1_000_000),
            expiry_armed: false,
            hosted: BTreeMap::new(),
            to_load: VecDeque::new(),
            to_expire: VecDeque::new(),
            gatherings: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_gathering: 0,
            next_token: 0,
            deadlines: Deadlines::default(),
            lags: LagDesk::default(),
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.to_load.is_empty() || !self.to_expire.is_empty() || self.lags.has_work()
    }

    /// When a coordinator has something due next, in monotonic nanoseconds.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.next_ms().map(|deadline_ms| deadline_ms.saturating_mul(1_000_000))
    }

    /// The coordinators that serve, from a partition of `__consumer_offsets` on.
    pub(super) fn coordinators_from(&self, partition: i32) -> impl Iterator<Item = (i32, &Coordinator)> {
        let serving = self.hosted.range(partition..).filter(|(_, hosted)| hosted.loading.is_none());
        serving.map(|(partition, hosted)| (*partition, &hosted.coordinator))
    }
}

impl Shard {
    fn group_now(&self) -> group::Now {
        group::Now { now_ms: self.now.monotonic_ns / 1_000_000, wall_ms: self.now.wall_ms }
    }

    /// Takes over the coordinators of partitions that came here, gives up those of partitions that are gone.
    pub(super) fn groups_follow_image(&mut self) {
        let image = std::sync::Arc::clone(&self.image);
        let Some(topic) = image.topic(CONSUMER_OFFSETS) else {
            let gone: Vec<i32> = self.groups.hosted.keys().copied().collect();
            gone.into_iter().for_each(|partition| self.resign_groups(partition));
            return;
        };
        for (index, placed) in topic.partitions.iter().enumerate() {
            let partition = index as i32;
            let is_online = self.directories.find_online(placed.directory).is_some();
            let here = usize::from(placed.shard) == self.id && is_online;
            let log = LogId(placed.log_id);
            match self.groups.hosted.get(&partition) {
                Some(hosted) if hosted.log == log => continue,
                Some(_) => self.resign_groups(partition),
                None => {}
            }
            if here {
                let seed = self.random_seed();
                let coordinator = Coordinator::new(self.groups.config.clone(), seed);
                self.groups.hosted.insert(partition, Hosted { coordinator, log, loading: Some(0), failed_reads: 0 });
                self.groups.to_load.push_back(partition);
            }
        }
        if !self.groups.expiry_armed && !self.groups.hosted.is_empty() {
            self.groups.expiry_armed = true;
            self.timers.arm(self.now.monotonic_ns + self.groups.expiry_interval_ns, Timer::OffsetExpiry);
        }
    }

    pub(super) fn resign_groups(&mut self, partition: i32) {
        let now = self.group_now();
        let Some(mut hosted) = self.groups.hosted.remove(&partition) else { return };
        self.groups.deadlines.set(partition, None);
        let mut effects = Effects::default();
        hosted.coordinator.resign(now, &mut effects);
        for (token, reply) in effects.replies {
            self.group_replied(token, reply);
        }
    }

    /// A topic is gone: so are the offsets committed for it.
    pub(super) fn forget_offsets_of(&mut self, topic: &str) {
        let partitions: Vec<i32> = self.groups.hosted.keys().copied().collect();
        for partition in partitions {
            self.with_coordinator(partition, |coordinator, _, effects| coordinator.forget_topic(topic, effects));
        }
    }

    /// Goes on with loading and expiry, a bounded piece a turn.
    pub(super) fn step_groups(&mut self) {
        self.step_lags();
        if let Some(partition) = self.groups.to_load.pop_front() {
            self.load_more(partition);
        }
        if let Some(partition) = self.groups.to_expire.pop_front() {
            let more = self.with_coordinator(partition, |coordinator, now, effects| {
                coordinator.expire(EXPIRED_GROUPS_PER_STEP, now, effects)
            });
            if more == Some(true) {
                self.groups.to_expire.push_back(partition);
            }
        }
    }

    /// It is time to look for offsets that nobody has needed for long.
    pub(super) fn offsets_expire(&mut self) {
        self.groups.to_expire = self.groups.hosted.keys().copied().collect();
        self.timers.arm(self.now.monotonic_ns + self.groups.expiry_interval_ns, Timer::OffsetExpiry);
    }

    /// Calls a coordinator that serves, and carries out what came of it.
    fn with_coordinator<T>(
        &mut self,
        partition: i32,
        call: impl FnOnce(&mut Coordinator, group::Now, &mut Effects) -> T,
    ) -> Option<T> {
        let now = self.group_now();
        let hosted = self.groups.hosted.get_mut(&partition)?;
        let mut effects = Effects::default();
        let result = call(&mut hosted.coordinator, now, &mut effects);
        self.carry_out(partition, effects);
        Some(result)
    }

    /// Makes the appends, gives the replies, and notes the coordinator's next deadline.
    fn carry_out(&mut self, partition: i32, effects: Effects) {
        for (token, reply) in effects.replies {
            self.group_replied(token, reply);
        }
        for append in effects.appends {
            self.append_group_records(partition, &append);
        }
        if let Some(hosted) = self.groups.hosted.get(&partition) {
            self.groups.deadlines.set(partition, hosted.coordinator.next_deadline());
        }
    }

    fn append_group_records(&mut self, partition: i32, append: &group::Append) {
        let Some(hosted) = self.groups.hosted.get(&partition) else { return };
        let log = hosted.log;
        let mut batch = BatchBuilder::new(Options::default());
        let timestamp = self.now.wall_ms;
        let fits = append.records.iter().all(|record| {
            let (key, value) = (Some(&record.key[..]), record.value.as_deref());
            batch.append(&NewRecord { timestamp, key, value, headers: &[] }).is_ok()
        });
        let AppendId(token) = append.id;
        let failure = if fits {
            match self.append(log, &batch.finish(), 0, CommitWaiter::Coordinator { partition, token }, -1) {
                Appending::Waits(_) => return,
                Appending::Done(answer) => answer.error,
            }
        } else {
            ErrorCode::MessageTooLarge
        };
        match failure {
            ErrorCode::None => self.offsets_committed(partition, token),
            error => self.offsets_not_committed(partition, token, error),
        }
    }

    /// A coordinator's records are committed.
    pub(super) fn offsets_committed(&mut self, partition: i32, token: u64) {
        self.with_coordinator(partition, |coordinator, now, effects| {
            coordinator.appended(AppendId(token), now, effects);
        });
    }

    /// A coordinator's records were not appended.
    pub(super) fn offsets_not_committed(&mut self, partition: i32, token: u64, error: ErrorCode) {
        let failure = match error {
            ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => AppendFailure::TooLarge,
            ErrorCode::UnknownTopicOrPartition | ErrorCode::NotLeaderOrFollower => AppendFailure::NotLeader,
            _ => AppendFailure::Unavailable,
        };
        self.with_coordinator(partition, |coordinator, now, effects| {
            coordinator.append_failed(AppendId(token), failure, now, effects);
        });
    }

    /// Calls the coordinators that have something due.
    pub(super) fn groups_due(&mut self) {
        let now_ms = self.group_now().now_ms;
        if self.groups.deadlines.next_ms().is_none_or(|deadline_ms| deadline_ms > now_ms) {
            return;
        }
        let due: Vec<i32> = self.groups.deadlines.due_at(now_ms).collect();
        for partition in due {
            self.with_coordinator(partition, |coordinator, now, effects| coordinator.tick(now, effects));
        }
    }

    /// Handles a request to coordinators of this shard.
    pub(super) fn coordinate(
        &mut self,
        origin: Origin,
        key: ApiKey,
        version: i16,
        body: &[u8],
        client: &Client,
    ) -> Result<(), DecodeError> {
        let image = std::sync::Arc::clone(&self.image);
        let hosted: Vec<i32> = self.groups.hosted.keys().copied().collect();
        let context = api::Context { client_id: &client.id, client_host: &client.host, image: &image, hosted: &hosted };
        let (plan, parts) = api::split(key, version, body, &context)?;
        let id = self.groups.next_gathering;
        self.groups.next_gathering += 1;
        let replies = parts.iter().map(|_| None).collect();
        // One more than there are parts: replies may come while the parts are still being handed out.
        let gathering = Gathering { origin, plan, missing: parts.len() + 1, replies };
        self.groups.gatherings.insert(id, gathering);
        for (index, (partition, request)) in parts.into_iter().enumerate() {
            let token = Token(self.groups.next_token);
            self.groups.next_token += 1;
            self.groups.waiting.insert(token, (id, index));
            if self.groups.hosted.contains_key(&partition) {
                self.with_coordinator(partition, |coordinator, now, effects| {
                    coordinator.handle(token, request, now, effects);
                });
            } else {
                self.group_replied(token, api::refuse(&request, group::Outcome::NotCoordinator));
            }
        }
        self.part_gathered(id);
        Ok(())
    }

    fn group_replied(&mut self, token: Token, reply: Reply) {
        let Some((id, index)) = self.groups.waiting.remove(&token) else { return };
        let gathering = self.groups.gatherings.get_mut(&id).expect("it waits for this reply");
        gathering.replies[index] = Some(reply);
        self.part_gathered(id);
    }

    fn part_gathered(&mut self, id: u64) {
        let gathering = self.groups.gatherings.get_mut(&id).expect("it waits for this part");
        gathering.missing -= 1;
        if gathering.missing == 0 {
            let Gathering { origin, plan, replies, .. } = self.groups.gatherings.remove(&id).expect("seen above");
            let replies: Vec<Reply> = replies.into_iter().map(|reply| reply.expect("none is missing")).collect();
            let wanted = api::wanted_lags(&plan, &replies);
            if wanted.is_empty() {
                self.answer(origin, api::merge(plan, replies));
            } else {
                self.find_lags(&wanted, Then::Fetched { origin, plan, replies });
            }
        }
    }

    fn load_more(&mut self, partition: i32) {
        let Some(hosted) = self.groups.hosted.get(&partition) else { return };
        let (Some(offset), log) = (hosted.loading, hosted.log) else { return };
        let request = self.requests.insert(Request::Loading(partition));
        let item = ReadItem {
            read_committed: false,
            part: 0,
            log,
            offset,
            max_bytes: LOAD_BYTES,
            at_least_one: true,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            reader: u64::MAX - log.0,
        };
        if let Some(answer) = self.read(PartOf { request, index: 0 }, item) {
            self.requests.remove(request);
            self.group_records_read(partition, answer);
        }
    }

    /// A piece of a coordinator's partition was read.
    pub(super) fn group_records_read(&mut self, partition: i32, answer: ReadAnswer) {
        let wall_ms = self.now.wall_ms;
        let Some(hosted) = self.groups.hosted.get_mut(&partition) else { return };
        let Some(offset) = hosted.loading else { return };
        match answer.error {
            ErrorCode::None => hosted.failed_reads = 0,
            ErrorCode::KafkaStorageError if hosted.failed_reads < FAILED_READS_MAX => {
                hosted.failed_reads += 1;
                tracing::warn!(partition, offset, "a read of {CONSUMER_OFFSETS} failed and is tried again");
                return self.groups.to_load.push_back(partition);
            }
            ErrorCode::OffsetOutOfRange => {
                hosted.loading = Some(answer.log_start_offset.max(offset + 1));
                return self.groups.to_load.push_back(partition);
            }
            // Its groups are told that it loads: to go on without some offsets would be to lose them silently.
            ErrorCode::CorruptMessage => {
                tracing::error!(
                    partition,
                    offset,
                    "a partition of {CONSUMER_OFFSETS} is damaged there, and its groups are not served: restore the segment \
                     from a copy, or stop the node and see `skein log repair`"
                );
                return;
            }
            error => {
                let why = format!("partition {partition} of {CONSUMER_OFFSETS} cannot be loaded: {}", error.message());
                let log = hosted.log;
                return self.directory_of_log_failed(log, &why);
            }
        }
        if answer.records.is_empty() && offset >= answer.high_watermark {
            hosted.loading = None;
            self.with_coordinator(partition, |coordinator, now, effects| coordinator.loaded(now, effects));
            return;
        }
        match load_batches(&mut hosted.coordinator, &answer.records, wall_ms) {
            Ok(next) => hosted.loading = Some(next.unwrap_or(offset)),
            Err(why) => {
                let why = format!("partition {partition} of {CONSUMER_OFFSETS} cannot be loaded at {offset}: {why}");
                let log = hosted.log;
                return self.directory_of_log_failed(log, &why);
            }
        }
        self.groups.to_load.push_back(partition);
    }
}

/// Loads whole batches into a coordinator; the offset after the last of them, if there was one.
fn load_batches(coordinator: &mut Coordinator, slices: &[Slice], wall_ms: i64) -> Result<Option<i64>, String> {
    let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
    let mut next = None;
    for batch in batch::batches(&bytes) {
        let batch = batch.map_err(|error| error.to_string())?;
        next = Some(batch.next_offset());
        if batch.attributes().is_control() {
            continue;
        }
        let codec = batch.attributes().codec().ok_or("unknown compression codec")?;
        let body = compression::decompress_all(codec, batch.body(), LOAD_BATCH_BYTES_MAX);
        let body = body.map_err(|error| error.to_string())?;
        for record in record::records(&body) {
            let record = record.map_err(|error| error.to_string())?;
            let Some(key) = record.key else { continue };
            if let Err(damaged) = coordinator.load(key, record.value, wall_ms) {
                // One record that cannot be understood is no reason to lose all others.
                tracing::warn!(offset = batch.base_offset(), ?damaged, "a record of {CONSUMER_OFFSETS} is passed over");
            }
        }
    }
    Ok(next)
}
