//! The coordinator of the groups of one partition of `__consumer_offsets`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::classic::{Group, State};
use super::effects::{AppendFailure, AppendId, Appends, Then, UnderWay};
use super::message::{DeleteOffsetsReply, Now, Request};
use super::offsets::Committed;
use super::rebalance::Turn;
use super::records::{self, GroupValue, Key, OffsetValue};
use super::timers::{Due, Timers};
use super::{Config, Effects, Outcome, Reply, Token};

/// The groups of one partition of `__consumer_offsets`: a state machine on that partition's shard, beside the
/// partition that holds its records.
///
/// It is loaded from the partition first, and answers nothing meanwhile. A request comes with a token; its reply
/// comes out of some later or the same call, exactly once. Records come out as appends; what depends on them is
/// decided when the caller says that they are durable. Nothing happens between calls: the caller calls
/// [`Coordinator::tick`] when [`Coordinator::next_deadline`] has come.
#[derive(Debug)]
pub struct Coordinator {
    pub(super) config: Config,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    pub(super) timers: Timers,
    pub(super) appends: Appends,
    /// Draws member ids.
    pub(super) random: Xoshiro256PlusPlus,
    pub(super) phase: Phase,
    /// The group after which [`Coordinator::expire`] goes on.
    pub(super) expire_after: Option<Arc<str>>,
    /// While loading: the names of topics met, so that each is held once. Commits bring the name that metadata holds.
    names: BTreeSet<Arc<str>>,
}

/// What a coordinator is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Loading,
    Serving,
    /// The partition went elsewhere.
    Resigned,
}

impl Coordinator {
    /// A coordinator that is to be loaded. `seed` has to be another one at each start, for members of an earlier
    /// run may still be around with the ids they were given.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Coordinator {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        Coordinator {
            config,
            groups: BTreeMap::new(),
            timers: Timers::default(),
            appends: Appends::new(random.next_u64()),
            random,
            phase: Phase::Loading,
            expire_after: None,
            names: BTreeSet::new(),
        }
    }

    /// Takes in one record of the partition, in the order of offsets. Records of other kinds are passed over.
    ///
    /// # Errors
    /// [`records::Damaged`] if the record is not in its schema; nothing of it was taken in.
    ///
    /// # Panics
    /// If the coordinator has been loaded.
    pub fn load(&mut self, key: &[u8], value: Option<&[u8]>, wall_ms: i64) -> Result<(), records::Damaged> {
        assert_eq!(self.phase, Phase::Loading, "records are loaded before the coordinator serves");
        match Key::decode(key)? {
            Key::Offset { group, topic, partition } => {
                let value = value.map(OffsetValue::decode).transpose()?;
                self.load_offset(group, topic, partition, value.as_ref(), wall_ms);
            }
            Key::Group { group } => match value.map(GroupValue::decode).transpose()? {
                Some(value) => {
                    let id: Arc<str> = Arc::from(group);
                    let mut loaded = Group::from_record(id.clone(), &value);
                    if let Some(earlier) = self.groups.remove(&id) {
                        loaded.offsets = earlier.offsets;
                    }
                    self.groups.insert(id, loaded);
                }
                None => {
                    self.groups.remove(group);
                }
            },
            Key::Other { .. } => {}
        }
        Ok(())
    }

    fn load_offset(&mut self, group: &str, topic: &str, partition: i32, value: Option<&OffsetValue<'_>>, wall_ms: i64) {
        let Some(value) = value else {
            if let Some(group) = self.groups.get_mut(group) {
                group.offsets.remove(topic, partition);
            }
            return;
        };
        let topic = match self.names.get(topic) {
            Some(name) => name.clone(),
            None => {
                let name: Arc<str> = Arc::from(topic);
                self.names.insert(name.clone());
                name
            }
        };
        let group = match self.groups.contains_key(group) {
            true => self.groups.get_mut(group).expect("seen just now"),
            false => group_or_simple(&mut self.groups, &Arc::from(group), wall_ms),
        };
        group.offsets.put(&topic, partition, Committed::from_record(value));
    }

    /// All records are loaded: members have their session time, bounded as configured now, to speak up.
    pub fn loaded(&mut self, now: Now, effects: &mut Effects) {
        assert_eq!(self.phase, Phase::Loading, "a coordinator is loaded once");
        self.phase = Phase::Serving;
        self.names = BTreeSet::new();
        let (groups, mut turn) = self.turn(now, effects);
        for group in groups.values_mut() {
            let ids: Vec<Arc<str>> = group.members.keys().cloned().collect();
            for id in ids {
                if let Some(member) = group.members.get_mut(&id) {
                    member.session_timeout_ms = member.session_timeout_ms.min(turn.config.session_timeout_ms_max);
                }
                group.renew_session(&id, &mut turn);
            }
            if group.members.len() > turn.config.group_size_max {
                // The limit was lowered: the last to come back will find the group full.
                group.prepare_rebalance(&mut turn);
            }
        }
    }

    /// The partition went elsewhere: everything that waits is answered with [`Outcome::NotCoordinator`], as is every
    /// later request. Whether commits under way become durable is open; their clients commit again.
    pub fn resign(&mut self, now: Now, effects: &mut Effects) {
        self.phase = Phase::Resigned;
        let (groups, mut turn) = self.turn(now, effects);
        for group in groups.values_mut() {
            group.dissolve(Outcome::NotCoordinator, &mut turn);
        }
        groups.clear();
        let under_way: Vec<AppendId> = self.appends.under_way.keys().copied().collect();
        for id in under_way {
            self.append_failed(id, AppendFailure::NotLeader, now, effects);
        }
        assert!(self.timers.next_deadline().is_none(), "nothing is left to wait for");
    }

    /// Works on one request. The reply to `token` comes in `effects` now or with a later call.
    pub fn handle(&mut self, token: Token, request: Request, now: Now, effects: &mut Effects) {
        if let Some(outcome) = self.not_serving() {
            effects.replies.push((token, request.refused(outcome)));
            return;
        }
        if needs_append(&request) && self.appends.is_full() {
            effects.replies.push((token, request.refused(Outcome::LoadInProgress)));
            return;
        }
        match request {
            Request::Join(request) => self.join(token, request, now, effects),
            Request::Sync(request) => self.sync(token, request, now, effects),
            Request::Heartbeat(request) => {
                let outcome = self.heartbeat(&request, now, effects);
                effects.replies.push((token, Reply::Heartbeat(outcome)));
            }
            Request::Leave(request) => {
                let reply = self.leave(request, now, effects);
                effects.replies.push((token, Reply::Leave(reply)));
            }
            Request::Commit(request) => self.commit(token, request, now, effects),
            Request::Fetch(request) => self.fetch(token, request, effects),
            Request::Describe(group) => effects.replies.push((token, Reply::Describe(self.describe(group)))),
            Request::List(request) => effects.replies.push((token, Reply::List(self.list(&request)))),
            Request::Delete(group) => self.delete(token, group, now, effects),
            Request::DeleteOffsets(request) => self.delete_offsets(token, request, effects),
        }
    }

    fn not_serving(&self) -> Option<Outcome> {
        match self.phase {
            Phase::Loading => Some(Outcome::LoadInProgress),
            Phase::Serving => None,
            Phase::Resigned => Some(Outcome::NotCoordinator),
        }
    }

    /// When [`Coordinator::tick`] has something to do, in monotonic milliseconds.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.next_deadline()
    }

    /// Works on the deadlines that have come. What is not due costs nothing.
    pub fn tick(&mut self, now: Now, effects: &mut Effects) {
        while let Some((_, due)) = self.timers.pop_due(now.now_ms) {
            let id = match &due {
                Due::Member { group, .. } | Due::Join(group) | Due::Sync(group) => group.clone(),
            };
            let (groups, mut turn) = self.turn(now, effects);
            let group = groups.get_mut(&id).expect("a group's timers are cancelled with it");
            match due {
                Due::Member { member, .. } => group.member_timed_out(&member, &mut turn),
                Due::Join(_) => group.join_timed_out(&mut turn),
                Due::Sync(_) => group.sync_timed_out(&mut turn),
            }
            group.check();
        }
    }

    /// The append is durable, as are all that were begun before it and did not fail. What is not under way, such as an
    /// append of an earlier coordinator of the partition, is passed over.
    ///
    /// # Panics
    /// If an earlier append was not reported: a partition's records become durable in order.
    pub fn appended(&mut self, id: AppendId, now: Now, effects: &mut Effects) {
        let first = self.appends.under_way.first_key_value().map(|(first, _)| *first);
        let Some(UnderWay { then, reads }) = self.appends.end(id) else { return };
        assert_eq!(first, Some(id), "appends become durable in order");
        let (groups, mut turn) = self.turn(now, effects);
        match then {
            Then::Created(_) | Then::Emptied => {}
            Then::Assigned { group, leader, token, assignments } => {
                // Whoever waits for it was answered if the group went on to something else meanwhile.
                if let Some(group) = groups.get_mut(&group)
                    && group.awaits_sync(&leader, token)
                {
                    group.become_stable(assignments, &mut turn);
                    group.check();
                }
            }
            Then::Replaced(replacement) => {
                if let Some(group) = groups.get_mut(&replacement.group) {
                    group.replaced(&replacement, &mut turn);
                    group.check();
                }
            }
            Then::Committed { token, reply, group, offsets } => {
                turn.reply(token, Reply::Commit(reply));
                let group = group_or_simple(groups, &group, now.wall_ms);
                for (topic, partition, committed) in offsets {
                    group.offsets.put(&topic, partition, committed);
                }
            }
            Then::Removed { offsets, groups: gone, reply } => {
                for (group, topic, partition) in offsets {
                    if let Some(group) = groups.get_mut(&group) {
                        group.offsets.remove(&topic, partition);
                    }
                }
                for removal in gone {
                    if groups.get(&removal.group).is_some_and(|group| group.state == State::Dead) {
                        groups.remove(&removal.group);
                    }
                    if let Some(token) = removal.token {
                        turn.reply(token, Reply::Delete(Outcome::Done));
                    }
                }
                if let Some((token, reply)) = reply {
                    turn.reply(token, Reply::DeleteOffsets(reply));
                }
            }
        }
        self.answer_reads(reads, effects);
    }

    /// The append failed; nothing of it is in the partition. Others may still be under way. What is not under way is
    /// passed over.
    pub fn append_failed(&mut self, id: AppendId, failure: AppendFailure, now: Now, effects: &mut Effects) {
        let Some(UnderWay { then, reads }) = self.appends.end(id) else { return };
        let (groups, mut turn) = self.turn(now, effects);
        match then {
            Then::Created(id) => {
                if let Some(mut group) = groups.remove(&id) {
                    group.dissolve(group_outcome(failure), &mut turn);
                    if !group.offsets.is_empty() {
                        // Somebody has committed to it from outside meanwhile: that stays.
                        group_or_simple(groups, &id, now.wall_ms).offsets = group.offsets;
                    }
                }
            }
            Then::Emptied => {}
            Then::Assigned { group, leader, token, .. } => {
                if let Some(group) = groups.get_mut(&group)
                    && group.awaits_sync(&leader, token)
                {
                    group.refuse_syncs(group_outcome(failure), &mut turn);
                    group.prepare_rebalance(&mut turn);
                    group.check();
                }
            }
            Then::Replaced(replacement) => {
                if let Some(group) = groups.get_mut(&replacement.group) {
                    group.take_back(*replacement, group_outcome(failure), &mut turn);
                    group.check();
                }
            }
            Then::Committed { token, mut reply, .. } => {
                let outcome = match failure {
                    AppendFailure::TooLarge => Outcome::TooLarge,
                    AppendFailure::Unavailable | AppendFailure::NotLeader => group_outcome(failure),
                };
                let partitions = reply.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                for (_, partition) in partitions.filter(|(_, partition)| *partition == Outcome::Done) {
                    *partition = outcome;
                }
                turn.reply(token, Reply::Commit(reply));
            }
            Then::Removed { groups: gone, reply, .. } => {
                for removal in gone {
                    if let Some(group) = groups.get_mut(&removal.group)
                        && group.state == State::Dead
                    {
                        // As it was: the time since it emptied goes on.
                        group.state = State::Empty;
                    }
                    if let Some(token) = removal.token {
                        turn.reply(token, Reply::Delete(group_outcome(failure)));
                    }
                }
                if let Some((token, _)) = reply {
                    let refused = DeleteOffsetsReply::refused(group_outcome(failure));
                    turn.reply(token, Reply::DeleteOffsets(refused));
                }
            }
        }
        self.answer_reads(reads, effects);
    }

    /// The groups, and what they need of the coordinator.
    pub(super) fn turn<'a>(
        &'a mut self,
        now: Now,
        effects: &'a mut Effects,
    ) -> (&'a mut BTreeMap<Arc<str>, Group>, Turn<'a>) {
        let turn = Turn { config: &self.config, timers: &mut self.timers, appends: &mut self.appends, effects, now };
        (&mut self.groups, turn)
    }

    /// A member id that nobody has: the client's or the instance's name and a random UUID, as Kafka makes them.
    pub(super) fn new_member_id(&mut self, name: &str) -> Arc<str> {
        let mut id = u128::from(self.random.next_u64()) << 64 | u128::from(self.random.next_u64());
        id &= !(0xf << 76 | 0b11 << 62);
        id |= 4 << 76 | 0b10 << 62;
        let hex = format!("{id:032x}");
        Arc::from(format!("{name}-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
    }
}

/// The group, made here if it is not there: one that only holds offsets.
fn group_or_simple<'a>(groups: &'a mut BTreeMap<Arc<str>, Group>, id: &Arc<str>, wall_ms: i64) -> &'a mut Group {
    groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone(), Some(wall_ms)))
}

/// What members are told when a record of their group could not be written.
fn group_outcome(failure: AppendFailure) -> Outcome {
    match failure {
        AppendFailure::Unavailable => Outcome::NotAvailable,
        AppendFailure::NotLeader => Outcome::NotCoordinator,
        AppendFailure::TooLarge => Outcome::InvalidRequest,
    }
}

/// Reads and signs of life go on however many appends are under way.
fn needs_append(request: &Request) -> bool {
    match request {
        Request::Join(_)
        | Request::Sync(_)
        | Request::Leave(_)
        | Request::Commit(_)
        | Request::Delete(_)
        | Request::DeleteOffsets(_) => true,
        Request::Heartbeat(_) | Request::Fetch(_) | Request::Describe(_) | Request::List(_) => false,
    }
}
