//! Metadata on a shard: the image it serves, the partitions that come and go with it, and on shard 0 the controller.
//!
//! ```text
//! wish ─► controller ─► append to the metadata log ─► durable ─► image to every shard ─► applied by all ─► answer
//! ```
//!
//! So a client that was told of a topic finds it on whichever shard its next request lands.

use std::collections::VecDeque;
use std::sync::Arc;

use net::api::{
    alter_client_quotas, create_partitions, create_topics, delete_topics, init_producer_id, update_features,
};
use net::api::{alter_configs, incremental_alter_configs};
use net::{ApiKey, Message};
use replication::replica::Replica;
use storage::LogId;
use storage::builder::{BatchBuilder, NewRecord, Options};
use storage::io::DataDirectory;

use super::connections::Responder;
use super::mail::{Answer, AppendAnswer, AutoCreate, Client, Notice};
use super::partitions::{Appending, CommitWaiter, Partition, Watcher};
use super::pending::Key;
use super::quotas::is_mutation;
use super::{Ready, Request, Shard};
use crate::error_code::ErrorCode;
use crate::metadata::{Change, Controller, Image, METADATA_LOG_ID, ProducerIds, Topic, api};
use crate::outcome;
use crate::quota::Key as Quota;

/// Whom a request that is handled as a whole is answered to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin {
    /// A connection of this shard.
    Connection(Responder),
    /// Another shard, on behalf of one of its connections.
    Peer {
        /// The shard.
        shard: usize,
        /// Its request.
        request: Key,
    },
    /// A part of a request that several shards handle.
    Part(Key),
}

/// What follows once a change is published on every shard.
#[derive(Debug)]
enum Then {
    /// The node is registered: it may serve.
    Start,
    /// The answer that was decided with the change.
    Answer { origin: Origin, key: ApiKey, version: i16, body: Vec<u8> },
    /// A block of producer ids may be used.
    ProducerIds(ProducerIds),
    /// Nobody waits.
    Nothing,
}

/// A change on its way.
#[derive(Debug)]
struct InFlight {
    image: Arc<Image>,
    then: Then,
    /// Answers that were decided by the image and change nothing: they are true once it is.
    followers: Vec<(Origin, Vec<u8>)>,
}

impl InFlight {
    fn new(image: Arc<Image>, then: Then) -> Self {
        Self { image, then, followers: Vec::new() }
    }
}

/// Shard 0's part of metadata: the controller and the changes it has made.
#[derive(Debug)]
pub(crate) struct Control {
    pub(super) controller: Controller,
    /// Appended, not yet durable; in order.
    appended: VecDeque<InFlight>,
    /// Published, not yet applied by every shard; in order.
    published: VecDeque<InFlight>,
    /// The version that each shard serves.
    applied: Vec<i64>,
    producer_ids: ProducerIds,
    /// Whether a block of producer ids is on its way.
    allocating: bool,
    /// Who waits for a producer id: the request's version and body.
    wants_producer_id: VecDeque<(Origin, i16, Vec<u8>)>,
    started: bool,
}

impl Control {
    pub(crate) fn new(controller: Controller, shards: usize) -> Self {
        Self {
            controller,
            appended: VecDeque::new(),
            published: VecDeque::new(),
            applied: vec![-1; shards],
            producer_ids: ProducerIds::default(),
            allocating: false,
            wants_producer_id: VecDeque::new(),
            started: false,
        }
    }
}

impl Shard {
    /// Attaches the metadata log, on its shard.
    pub(super) fn open_metadata_log(&mut self) {
        if self.control.is_none() {
            return;
        }
        let log = LogId(METADATA_LOG_ID);
        let config = outcome::metadata_log_config();
        let store = self.stores.at_mut(DataDirectory::FIRST).expect("the first directory has the metadata");
        let slot = store.attach(log, crate::metadata::names::CLUSTER_METADATA, config, self.now.storage());
        let replica = Replica::new(self.config.node_id, 0, store.durable_end(slot));
        self.partitions.insert(log, Partition::new(log, slot, replica));
    }

    /// Registers the node in the first turn.
    ///
    /// A stop that comes before that leaves nothing to register: the store takes no appends any more.
    pub(super) fn run_control(&mut self) {
        if !self.is_running() {
            return;
        }
        let Some(control) = &mut self.control else { return };
        if !control.started {
            control.started = true;
            self.measure_directories();
            let control = self.control.as_mut().expect("seen above");
            let change = control.controller.start(self.now.wall_ms);
            self.commit_change(change, Then::Start);
        }
    }

    /// Appends a change to the metadata log.
    fn commit_change(&mut self, change: Change, then: Then) {
        let mut batch = BatchBuilder::new(Options::default());
        for value in change.encode() {
            let record = NewRecord { timestamp: self.now.wall_ms, key: None, value: Some(&value), headers: &[] };
            batch.append(&record).expect("a change is bounded by its request");
        }
        let version = change.image.next_offset();
        let waiter = CommitWaiter::Controller(version);
        let appending = self.append(LogId(METADATA_LOG_ID), &batch.finish(), 0, waiter, -1);
        let control = self.control.as_mut().expect("only the controller makes changes");
        match appending {
            Appending::Waits(_) => control.appended.push_back(InFlight::new(change.image, then)),
            Appending::Done(answer) if answer.error == ErrorCode::None => {
                control.appended.push_back(InFlight::new(change.image, then));
                self.metadata_committed(version);
            }
            Appending::Done(answer) => {
                let why = answer.detail.as_ref().map_or(answer.error.message(), |detail| detail.message.as_str());
                self.change_refused(then, why);
            }
        }
    }

    /// The metadata log takes no appends (the disk is full): the change did not happen.
    fn change_refused(&mut self, then: Then, why: &str) {
        let control = self.control.as_mut().expect("only the controller makes changes");
        let last = control.appended.back().or(control.published.back()).map(|change| Arc::clone(&change.image));
        control.controller.roll_back(last.unwrap_or_else(|| Arc::clone(&self.image)));
        tracing::error!(why, "a change of metadata could not be written");
        match then {
            Then::Start => panic!("the node cannot register itself: {why}"),
            Then::Answer { origin, key, version, body } => {
                let body = api::unwritten(key, version, &body, why).expect("only changes are written");
                self.answer(origin, body);
            }
            Then::ProducerIds(_) => {
                control.allocating = false;
                for (origin, version, _) in std::mem::take(&mut control.wants_producer_id) {
                    self.answer(origin, encode(&api::no_producer_ids(), version));
                }
            }
            Then::Nothing => {}
        }
    }

    /// Changes up to `version` are durable: publish them.
    pub(super) fn metadata_committed(&mut self, version: i64) {
        loop {
            let Some(control) = &mut self.control else { return };
            match control.appended.front() {
                Some(change) if change.image.next_offset() <= version => {}
                _ => return,
            }
            let change = control.appended.pop_front().expect("seen above");
            let image = Arc::clone(&change.image);
            control.published.push_back(change);
            self.notify_peers(|| Notice::Image(Arc::clone(&image)));
            let applied = image.next_offset();
            self.apply_image(image);
            self.image_applied(self.id, applied);
        }
    }

    /// A shard serves the metadata of that version.
    pub(super) fn image_applied(&mut self, shard: usize, version: i64) {
        loop {
            let Some(control) = &mut self.control else { return };
            control.applied[shard] = control.applied[shard].max(version);
            let everywhere = control.applied.iter().copied().min().expect("there is a shard");
            match control.published.front() {
                Some(change) if change.image.next_offset() <= everywhere => {}
                _ => return,
            }
            let change = control.published.pop_front().expect("seen above");
            self.settled(change.then);
            change.followers.into_iter().for_each(|(origin, body)| self.answer(origin, body));
        }
    }

    fn settled(&mut self, then: Then) {
        match then {
            Then::Start if !self.is_running() => {}
            Then::Start => {
                self.start_accepting();
                if let Some(Ready(ready)) = self.ready.take() {
                    ready(&self.image);
                }
            }
            Then::Answer { origin, body, .. } => self.answer(origin, body),
            Then::ProducerIds(ids) => {
                let control = self.control.as_mut().expect("only the controller allocates");
                control.producer_ids = ids;
                control.allocating = false;
                self.hand_out_producer_ids().expect("the requests were decoded before they were queued");
            }
            Then::Nothing => {}
        }
    }

    /// Answers a request that was handled as a whole.
    pub(super) fn answer(&mut self, origin: Origin, body: Vec<u8>) {
        match origin {
            Origin::Connection(responder) => self.respond_body(responder, &body),
            Origin::Peer { shard, request } => self.answer_peer(shard, request, Answer::Handled(body)),
            Origin::Part(request) => self.part_handled(request, body),
        }
    }

    /// Handles a request that only the controller can decide.
    pub(super) fn control_request(
        &mut self,
        origin: Origin,
        key: ApiKey,
        version: i16,
        body: &[u8],
        client: &Client,
    ) -> Result<(), net::DecodeError> {
        if self.throttling.meter.limits(Quota::Mutation) && is_mutation(key) {
            return self.limited_mutation(origin, key, version, body, client);
        }
        if matches!(key, ApiKey::CreateTopics | ApiKey::CreatePartitions) {
            self.measure_directories();
        }
        let wall_ms = self.now.wall_ms;
        let control = self.control.as_mut().expect("such requests are forwarded to shard 0");
        let (response, change) = match key {
            ApiKey::CreateTopics => {
                let request = create_topics::Request::from_prefix(body, version)?;
                let (response, change) = api::create_topics(&request, version, &mut control.controller, wall_ms);
                (encode(&response, version), change)
            }
            ApiKey::DeleteTopics => {
                let request = delete_topics::Request::from_prefix(body, version)?;
                let answer = api::delete_topics(&request, version, &mut control.controller);
                (encode(&answer.response, version), answer.change)
            }
            ApiKey::AlterClientQuotas => {
                let request = alter_client_quotas::Request::from_prefix(body, version)?;
                let (response, change) = api::alter_client_quotas(&request, &mut control.controller);
                (encode(&response, version), change)
            }
            ApiKey::CreatePartitions => {
                let request = create_partitions::Request::from_prefix(body, version)?;
                let (response, change) = api::create_partitions(&request, &mut control.controller);
                (encode(&response, version), change)
            }
            ApiKey::AlterConfigs => {
                let request = alter_configs::Request::from_prefix(body, version)?;
                let (response, change) = api::alter_configs(request, &mut control.controller);
                (encode(&response, version), change)
            }
            ApiKey::IncrementalAlterConfigs => {
                let request = incremental_alter_configs::Request::from_prefix(body, version)?;
                let (response, change) = api::incremental_alter_configs(request, &mut control.controller);
                (encode(&response, version), change)
            }
            ApiKey::UpdateFeatures => {
                let request = update_features::Request::from_prefix(body, version)?;
                let (response, change) = api::update_features(&request, version, &mut control.controller);
                (encode(&response, version), change)
            }
            ApiKey::InitProducerId => {
                init_producer_id::Request::from_prefix(body, version)?;
                control.wants_producer_id.push_back((origin, version, body.to_vec()));
                self.hand_out_producer_ids()?;
                return Ok(());
            }
            other => unreachable!("{other} is not handled by the controller"),
        };
        self.conclude(origin, key, version, response, change);
        Ok(())
    }

    /// Answers a request once its change is published; without one, once those are that it was decided by. They could
    /// still be lost, as Kafka's controller (KIP-631) has it, too.
    pub(super) fn conclude(
        &mut self,
        origin: Origin,
        key: ApiKey,
        version: i16,
        response: Vec<u8>,
        change: Option<Change>,
    ) {
        match change {
            Some(change) => self.commit_change(change, Then::Answer { origin, key, version, body: response }),
            None => {
                let control = self.control.as_mut().expect("the controller decides");
                match control.appended.back_mut().or(control.published.back_mut()) {
                    Some(last) => last.followers.push((origin, response)),
                    None => self.answer(origin, response),
                }
            }
        }
    }

    /// Answers who waits for a producer id, as far as the block reaches; then a new block is due.
    fn hand_out_producer_ids(&mut self) -> Result<(), net::DecodeError> {
        loop {
            let control = self.control.as_mut().expect("producer ids come from the controller");
            let Some((origin, version, body)) = control.wants_producer_id.pop_front() else { return Ok(()) };
            let request = init_producer_id::Request::from_prefix(&body, version)?;
            match api::init_producer_id(&request, &mut control.producer_ids) {
                Some(response) => self.answer(origin, encode(&response, version)),
                None => {
                    control.wants_producer_id.push_front((origin, version, body));
                    break;
                }
            }
        }
        let control = self.control.as_mut().expect("as above");
        if !control.allocating {
            control.allocating = true;
            let (ids, change) = control.controller.allocate_producer_ids();
            self.commit_change(change, Then::ProducerIds(ids));
        }
        Ok(())
    }

    /// Creates topics that somebody asked about and that are missing.
    pub(super) fn auto_create(&mut self, wish: AutoCreate) {
        if self.control.is_none() {
            self.send(0, super::mail::Mail::Notice(Notice::AutoCreate(wish)));
            return;
        }
        let AutoCreate { names, client_id } = wish;
        let created = match client_id {
            Some(client_id) if self.throttling.meter.limits(Quota::Mutation) => {
                self.limited_auto_creation(names, &client_id)
            }
            _ => {
                let wall_ms = self.now.wall_ms;
                let control = self.control.as_mut().expect("checked above");
                control.controller.auto_create(&names, wall_ms)
            }
        };
        for (name, result) in &created.results {
            match result {
                Ok(created) => {
                    tracing::info!(topic = %name, partitions = created.topic.partitions.len(), "creating topic on first use");
                }
                Err(refusal) => tracing::debug!(topic = %name, %refusal, "not created"),
            }
        }
        if let Some(change) = created.change {
            self.commit_change(change, Then::Nothing);
        }
    }

    /// Serves another image: attaches what is new here, removes what is gone.
    pub(super) fn apply_image(&mut self, image: Arc<Image>) {
        let before = std::mem::replace(&mut self.image, image);
        let after = Arc::clone(&self.image);
        let all = self.follow_settings(&before);
        for topic in after.topics() {
            let known = before.topic_by_id(topic.id);
            if !all && known.is_some_and(|known| Arc::ptr_eq(known, topic)) {
                continue;
            }
            self.attach_topic(topic);
        }
        for topic in before.topics().filter(|topic| after.topic_by_id(topic.id).is_none()) {
            self.detach_topic(topic);
            self.forget_offsets_of(&topic.name);
        }
        self.throttling.meter.follow(after.quotas());
        if !self.served {
            self.served = true;
            self.discard_unknown_logs();
        }
        self.groups_follow_image();
    }

    /// Takes over what was set on the broker while it runs. Whether that concerns every log, also of topics that are as
    /// they were.
    fn follow_settings(&mut self, before: &Image) -> bool {
        if Arc::ptr_eq(before.settings(), self.image.settings()) {
            return false;
        }
        let expiration_ms = self.config.producer_id_expiration_ms;
        self.config = Arc::new(self.config.with_settings(self.image.settings()));
        self.limit_connections();
        self.stores.set_scrub_rate(self.config.scrub_bytes_per_second / self.peers.len() as u64);
        self.configure_compaction();
        self.config.producer_id_expiration_ms != expiration_ms
    }

    /// Tells the store what its compaction may use.
    pub(super) fn configure_compaction(&mut self) {
        self.stores.configure_compaction(outcome::compaction_settings(&self.config.cleaner, self.peers.len()));
    }

    fn attach_topic(&mut self, topic: &Arc<Topic>) {
        let config = outcome::log_config(topic, self.config.producer_id_expiration_ms);
        for (index, placed) in topic.partitions.iter().enumerate() {
            if usize::from(placed.shard) != self.id {
                continue;
            }
            let log = LogId(placed.log_id);
            let Some(data_directory) = self.directories.find_online(placed.directory) else {
                self.partitions.insert_offline(log);
                continue;
            };
            if let Some(partition) = self.partitions.get_mut(log) {
                partition.replica.lead(placed.leader_epoch);
                self.stores[partition.slot].reconfigure(partition.slot, config.clone(), self.now.storage());
                continue;
            }
            let directory = format!("{}-{index}", topic.name);
            let store = self.stores.at_mut(data_directory).expect("a directory that is online has a store");
            let slot = store.attach(log, &directory, config.clone(), self.now.storage());
            let replica = Replica::new(self.config.node_id, placed.leader_epoch, store.durable_end(slot));
            self.partitions.insert(log, Partition::new(log, slot, replica));
        }
    }

    fn detach_topic(&mut self, topic: &Topic) {
        let shard = self.id;
        topic.partitions.iter().for_each(|placed| self.metrics.forget(LogId(placed.log_id)));
        for placed in topic.partitions.iter().filter(|placed| usize::from(placed.shard) == shard) {
            let Some(mut partition) = self.partitions.remove(LogId(placed.log_id)) else { continue };
            self.stores[partition.slot].delete(partition.slot, self.now.storage());
            self.abandon_start(partition.slot, ErrorCode::UnknownTopicOrPartition);
            let mut woken = Vec::new();
            partition.replica.take_watchers(&mut woken);
            for waiter in partition.replica.abandon_commits() {
                let refused = AppendAnswer::refused(
                    0,
                    ErrorCode::UnknownTopicOrPartition,
                    format!("The topic '{}' was deleted while the request was under way.", topic.name),
                );
                match waiter {
                    CommitWaiter::Produce(part_of) => self.produce_abandoned(part_of, refused),
                    waiter => self.internal_append_failed(waiter, &refused),
                }
            }
            woken.into_iter().for_each(|watcher: Watcher| self.wake(watcher));
        }
    }

    /// Logs whose topic was deleted just before the last stop are still there: delete them now.
    fn discard_unknown_logs(&mut self) {
        let now = self.now.storage();
        let image = Arc::clone(&self.image);
        let partitions = || image.topics().flat_map(|topic| &topic.partitions);
        for store in self.stores.iter_mut() {
            for log in store.unattached() {
                let placed = partitions().find(|placed| placed.log_id == log.0);
                match placed.map(|placed| self.directories.find_online(placed.directory)) {
                    // What a move left behind is all there is while the directory it went to is offline.
                    Some(None) => continue,
                    Some(Some(_)) => tracing::info!(%log, "deleting what a move to another directory left behind"),
                    None => tracing::info!(%log, "deleting the log of a topic that is gone"),
                }
                store.discard(log, now);
            }
        }
    }

    /// An append of the broker's own failed.
    pub(super) fn internal_append_failed(&mut self, waiter: CommitWaiter, answer: &AppendAnswer) {
        match waiter {
            CommitWaiter::Coordinator { partition, token } => {
                self.offsets_not_committed(partition, token, answer.error)
            }
            CommitWaiter::Controller(version) => {
                let why = answer.detail.as_ref().map_or(answer.error.message(), |detail| &detail.message);
                panic!("the metadata log lost version {version}: {why}");
            }
            CommitWaiter::Produce(_) => unreachable!("clients' appends are answered to clients"),
        }
    }

    /// Another shard has handled a request of a connection here.
    pub(super) fn peer_handled(&mut self, key: Key, body: Vec<u8>) {
        if let Some(Request::Scatter(_)) = self.requests.get_mut(key) {
            return self.part_handled(key, body);
        }
        let Some(Request::Forwarding(forwarding)) = self.requests.remove(key) else { return };
        if body.is_empty() {
            self.close_for(forwarding.responder, "the request could not be handled");
        } else {
            self.respond_body(forwarding.responder, &body);
        }
    }
}

pub(super) fn encode<'a>(message: &impl Message<'a>, version: i16) -> Vec<u8> {
    let mut body = Vec::new();
    message.encode(&mut body, version);
    body
}
