//! A member of a consumer group, by the classic protocol and the range assignor.
//!
//! ```text
//!            ┌────────────── join ◄──────────────────┐
//!            ▼                                       │ the coordinator says so, to a heartbeat
//!  JoinGroup ──► SyncGroup ──► member: Heartbeat ────┘ or a commit; or it forgot the member
//!  (the leader assigns)         every interval, on a thread of its own,
//!                               so that slow output does not cost the membership
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use net::api::{heartbeat, join_group, leave_group, offset_commit, sync_group};

use super::address::Address;
use super::admin::TopicPartition;
use super::assignor::{self, Candidate};
use super::cluster::Cluster;
use super::code::Code;
use super::connection::{Answer, Connection};
use super::consumer_protocol::{self, PROTOCOL_TYPE};
use super::error::{Error, Result};
use super::interrupt::Interrupt;
use super::settings::{ConsumerSettings, Settings};

/// What a JoinGroup may take beyond the time that others have to come back.
const JOIN_GRACE: Duration = Duration::from_secs(5);

/// The pause before the coordinator is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// A membership.
#[derive(Debug)]
pub struct Member {
    group: String,
    topics: Vec<String>,
    settings: ConsumerSettings,
    interrupt: Interrupt,
    identity: Identity,
    assignment: Vec<TopicPartition>,
    coordinator: Option<Connection>,
    heart: Option<Heart>,
    /// When the coordinator was last looked for because the heart did not reach it.
    searched_at: Option<Instant>,
}

/// What the coordinator knows a member by.
#[derive(Debug, Clone, Default)]
struct Identity {
    member_id: String,
    generation: i32,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// The offsets are committed.
    Done,
    /// The member has to join again first.
    Rejoin,
}

impl Member {
    /// Joins a group and waits for the first assignment.
    ///
    /// # Errors
    /// If the group refuses the member, the coordinator cannot be reached, or the person asks to stop.
    pub fn join(cluster: &mut Cluster, group: &str, topics: &[String], interrupt: Interrupt) -> Result<Self> {
        let mut member = Self {
            group: group.to_owned(),
            topics: topics.to_vec(),
            settings: cluster.settings().consumer.clone(),
            interrupt,
            identity: Identity { generation: -1, ..Identity::default() },
            assignment: Vec::new(),
            coordinator: None,
            heart: None,
            searched_at: None,
        };
        member.rejoin(cluster)?;
        Ok(member)
    }

    /// The partitions that this member has to read.
    pub fn assignment(&self) -> &[TopicPartition] {
        &self.assignment
    }

    /// Whether the member has to stop reading, commit and join again. To be asked regularly: it is also the sign that
    /// the member gets on with its records.
    ///
    /// # Errors
    /// If another member took over this one's instance id.
    pub fn must_rejoin(&mut self, cluster: &mut Cluster) -> Result<bool> {
        let Some(heart) = &self.heart else { return Ok(true) };
        let mut shared = heart.shared();
        shared.polled_at = Instant::now();
        let verdict = shared.verdict;
        drop(shared);
        match verdict {
            None => Ok(false),
            Some(Verdict::Rejoin) => Ok(true),
            Some(Verdict::Elsewhere) => {
                self.follow_coordinator(cluster);
                Ok(false)
            }
            Some(Verdict::Forgotten) => {
                self.identity = Identity { generation: -1, ..Identity::default() };
                self.heart = None;
                Ok(true)
            }
            Some(Verdict::Fenced) => Err(self.refused("stay in", Code::FENCED_INSTANCE_ID)),
        }
    }

    /// Goes on beating at the coordinator's new place, if there is one. The membership is not touched by the move.
    fn follow_coordinator(&mut self, cluster: &mut Cluster) {
        let due = self.searched_at.is_none_or(|at| at.elapsed() >= RETRY_PAUSE);
        if !due {
            return;
        }
        self.searched_at = Some(Instant::now());
        self.coordinator = None;
        // Without an answer the old heart goes on trying where the coordinator was.
        let found = cluster.coordinator(&self.group).ok().and_then(|id| cluster.broker(id));
        if let Some(address) = found.map(|broker| broker.address.clone()) {
            self.heart = Some(Heart::start(address, cluster.settings().clone(), self.pulse()));
        }
    }

    /// Joins again and waits for the next assignment.
    ///
    /// # Errors
    /// As [`Self::join`].
    pub fn rejoin(&mut self, cluster: &mut Cluster) -> Result<()> {
        let deadline = Instant::now() + cluster.settings().api_timeout;
        loop {
            let failure = match self.try_join(cluster) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            match &failure {
                Error::Refused { code: Code::MEMBER_ID_REQUIRED, .. } => continue,
                Error::Refused { code, .. } if self.may_join_again(*code) => {}
                error if error.is_retryable() => self.coordinator = None,
                _ => return Err(failure),
            }
            if Instant::now() >= deadline {
                return Err(failure);
            }
            if self.interrupt.channel().recv_timeout(RETRY_PAUSE) != Err(crossbeam::channel::RecvTimeoutError::Timeout)
            {
                return Err(Error::Interrupted);
            }
        }
    }

    /// Whether a refusal to join or sync is met by joining again, and prepares that.
    fn may_join_again(&mut self, code: Code) -> bool {
        match code {
            Code::UNKNOWN_MEMBER_ID | Code::ILLEGAL_GENERATION => {
                self.identity = Identity { generation: -1, ..Identity::default() };
                true
            }
            Code::REBALANCE_IN_PROGRESS => true,
            code if code.wants_coordinator() => {
                self.coordinator = None;
                true
            }
            _ => false,
        }
    }

    fn try_join(&mut self, cluster: &mut Cluster) -> Result<()> {
        self.heart = None;
        if self.coordinator.is_none() {
            let id = cluster.coordinator(&self.group)?;
            self.coordinator = Some(cluster.connect_to(id)?);
        }
        let timeout = self.settings.poll_interval_max + JOIN_GRACE;
        let answer =
            self.ask(&join_request(&self.group, &self.topics, &self.settings, &self.identity.member_id), timeout)?;
        let joined: join_group::Response<'_> = answer.read()?;
        if Code(joined.error_code) == Code::MEMBER_ID_REQUIRED {
            self.identity.member_id = joined.member_id.into_owned();
            return Err(self.refused("join", Code::MEMBER_ID_REQUIRED));
        }
        Code(joined.error_code).ok().map_err(|code| self.refused("join", code))?;
        self.identity = Identity { member_id: joined.member_id.clone().into_owned(), generation: joined.generation_id };
        let assignments = match joined.leader == joined.member_id && !joined.skip_assignment {
            true => assign(cluster, &joined.members)?,
            false => Vec::new(),
        };
        self.sync(cluster, assignments)
    }

    fn sync(&mut self, cluster: &Cluster, assignments: Vec<(String, Vec<u8>)>) -> Result<()> {
        let (group, identity) = (self.group.clone(), self.identity.clone());
        let instance_id = self.settings.group_instance.clone();
        let request = sync_group::Request {
            group_id: group.into(),
            generation_id: identity.generation,
            member_id: identity.member_id.into(),
            group_instance_id: instance_id.map(Cow::Owned),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: Some(assignor::NAME.into()),
            assignments: assignments
                .into_iter()
                .map(|(member, bytes)| sync_group::RequestAssignments {
                    member_id: member.into(),
                    assignment: bytes.into(),
                })
                .collect(),
        };
        let answer = self.ask(&request, self.settings.poll_interval_max + JOIN_GRACE)?;
        let synced: sync_group::Response<'_> = answer.read()?;
        Code(synced.error_code).ok().map_err(|code| self.refused("join", code))?;
        let assignment = consumer_protocol::decode_assignment(&synced.assignment).map_err(|error| Error::Setting {
            message: format!("the leader of group {:?} sent an assignment that cannot be read, {error}", self.group),
        })?;
        self.assignment = assignment
            .into_iter()
            .flat_map(|(topic, partitions)| {
                let topic: Arc<str> = topic.into();
                partitions.into_iter().map(move |index| TopicPartition { topic: Arc::clone(&topic), index })
            })
            .collect();
        let Some(connection) = &self.coordinator else { return Err(Error::Interrupted) };
        self.heart = Some(Heart::start(connection.address().clone(), cluster.settings().clone(), self.pulse()));
        Ok(())
    }

    fn pulse(&self) -> heartbeat::Request<'static> {
        heartbeat::Request {
            group_id: self.group.clone().into(),
            generation_id: self.identity.generation,
            member_id: self.identity.member_id.clone().into(),
            group_instance_id: self.settings.group_instance.clone().map(Cow::Owned),
        }
    }

    /// Asks the coordinator; a connection that failed is not used again.
    fn ask<'q>(&mut self, request: &impl net::Request<'q>, timeout: Duration) -> Result<Answer> {
        let Some(mut connection) = self.coordinator.take() else { return Err(Error::Interrupted) };
        let answer = connection.call_interruptible(request, timeout, &self.interrupt)?;
        self.coordinator = Some(connection);
        Ok(answer)
    }

    fn refused(&self, what: &str, code: Code) -> Error {
        Error::Refused { what: format!("{what} group {:?}", self.group), code, message: None }
    }

    /// Commits offsets: of each partition, that of the next record to read.
    ///
    /// # Errors
    /// If the coordinator refuses, or cannot be reached.
    pub fn commit(&mut self, cluster: &mut Cluster, offsets: &BTreeMap<TopicPartition, i64>) -> Result<Commit> {
        if offsets.is_empty() {
            return Ok(Commit::Done);
        }
        let request = self.commit_request(offsets);
        // What was read is committed also when the person asks to stop.
        let group = self.group.clone();
        let code = cluster.retry(|cluster| {
            let coordinator = cluster.coordinator(&group)?;
            let answer = cluster.call(super::cluster::Node::Id(coordinator), &request)?;
            let response: offset_commit::Response<'_> = answer.read()?;
            let codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|p| Code(p.error_code));
            match codes.filter(|code| !code.is_none()).min() {
                Some(code) if code.wants_coordinator() || code == Code::REQUEST_TIMED_OUT => {
                    Err(Error::Refused { what: format!("commit offsets of group {group:?}"), code, message: None })
                }
                code => Ok(code),
            }
        })?;
        match code {
            None => Ok(Commit::Done),
            Some(Code::REBALANCE_IN_PROGRESS | Code::ILLEGAL_GENERATION | Code::UNKNOWN_MEMBER_ID) => {
                Ok(Commit::Rejoin)
            }
            Some(code) => Err(self.refused("commit offsets of", code)),
        }
    }

    fn commit_request(&self, offsets: &BTreeMap<TopicPartition, i64>) -> offset_commit::Request<'static> {
        let mut topics: BTreeMap<String, Vec<offset_commit::RequestTopicsPartitions<'static>>> = BTreeMap::new();
        for (partition, &committed_offset) in offsets {
            topics.entry(partition.topic.to_string()).or_default().push(offset_commit::RequestTopicsPartitions {
                partition_index: partition.index,
                committed_offset,
                committed_metadata: Some("".into()),
                ..Default::default()
            });
        }
        let topic = |(name, partitions): (String, _)| offset_commit::RequestTopics {
            name: name.into(),
            partitions,
            ..Default::default()
        };
        offset_commit::Request {
            group_id: self.group.clone().into(),
            generation_id_or_member_epoch: self.identity.generation,
            member_id: self.identity.member_id.clone().into(),
            group_instance_id: self.settings.group_instance.clone().map(Cow::Owned),
            topics: topics.into_iter().map(topic).collect(),
            ..Default::default()
        }
    }

    /// Leaves the group, so that the others take over at once. A static member stays (KIP-345).
    ///
    /// # Errors
    /// If the coordinator cannot be reached; it will find out after the session timeout.
    pub fn leave(mut self, cluster: &mut Cluster) -> Result<()> {
        self.heart = None;
        if self.settings.group_instance.is_some() || self.identity.member_id.is_empty() {
            return Ok(());
        }
        let coordinator = cluster.coordinator(&self.group)?;
        let request = leave_group::Request {
            group_id: self.group.as_str().into(),
            member_id: self.identity.member_id.as_str().into(),
            members: vec![leave_group::RequestMembers {
                member_id: self.identity.member_id.as_str().into(),
                group_instance_id: None,
                reason: Some("the consumer is being closed".into()),
            }],
        };
        cluster.call(super::cluster::Node::Id(coordinator), &request).map(drop)
    }
}

fn join_request<'a>(
    group: &'a str,
    topics: &[String],
    settings: &'a ConsumerSettings,
    member_id: &'a str,
) -> join_group::Request<'static> {
    join_group::Request {
        group_id: group.to_owned().into(),
        session_timeout_ms: settings.session_timeout.as_millis() as i32,
        rebalance_timeout_ms: settings.poll_interval_max.as_millis() as i32,
        member_id: member_id.to_owned().into(),
        group_instance_id: settings.group_instance.clone().map(Cow::Owned),
        protocol_type: PROTOCOL_TYPE.into(),
        protocols: vec![join_group::RequestProtocols {
            name: assignor::NAME.into(),
            metadata: consumer_protocol::encode_subscription(topics).into(),
        }],
        reason: None,
    }
}

/// What the leader of a generation does: assigns all members' topics. Topics that do not exist go to nobody.
fn assign(cluster: &mut Cluster, members: &[join_group::ResponseMembers<'_>]) -> Result<Vec<(String, Vec<u8>)>> {
    let candidates: Vec<Candidate> = members
        .iter()
        .map(|member| Candidate {
            member_id: member.member_id.clone().into_owned(),
            instance_id: member.group_instance_id.as_deref().map(str::to_owned),
            // A member whose subscription cannot be read gets nothing, rather than stopping the group.
            topics: consumer_protocol::decode_subscription(&member.metadata).unwrap_or_default(),
        })
        .collect();
    let mut topics: Vec<String> = candidates.iter().flat_map(|candidate| candidate.topics.clone()).collect();
    topics.sort();
    topics.dedup();
    cluster.refresh_topics(&topics)?;
    let count = |topic: &String| Some((topic.clone(), i32::try_from(cluster.topic(topic)?.partitions.len()).ok()?));
    let partitions = topics.iter().filter_map(count).collect();
    let assignment = assignor::assign(candidates, &partitions);
    Ok(assignment.into_iter().map(|(member, topics)| (member, consumer_protocol::encode_assignment(&topics))).collect())
}

/// What the heartbeat learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The group rebalances.
    Rejoin,
    /// The coordinator is another broker, or cannot be reached.
    Elsewhere,
    /// The coordinator does not know the member any more.
    Forgotten,
    /// Another member took over the instance id.
    Fenced,
}

/// The thread that gives signs of life.
#[derive(Debug)]
struct Heart {
    state: Arc<(Mutex<Shared>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    verdict: Option<Verdict>,
    /// When the member last showed that it gets on.
    polled_at: Instant,
    stopped: bool,
}

impl Heart {
    fn start(coordinator: Address, settings: Settings, pulse: heartbeat::Request<'static>) -> Self {
        let shared = Shared { verdict: None, polled_at: Instant::now(), stopped: false };
        let state = Arc::new((Mutex::new(shared), Condvar::new()));
        let of_thread = Arc::clone(&state);
        let thread = thread::spawn(move || beat(&of_thread, &coordinator, &settings, &pulse));
        Self { state, thread: Some(thread) }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.state.0)
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.shared().stopped = true;
        self.state.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

/// The state is plain data that no panic leaves half changed.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn beat(
    state: &(Mutex<Shared>, Condvar),
    coordinator: &Address,
    settings: &Settings,
    pulse: &heartbeat::Request<'static>,
) {
    let mut connection: Option<Connection> = None;
    let interval = settings.consumer.heartbeat_interval;
    loop {
        let shared = lock(&state.0);
        let (shared, _) = state
            .1
            .wait_timeout_while(shared, interval, |shared| !shared.stopped)
            .unwrap_or_else(PoisonError::into_inner);
        let stuck = shared.polled_at.elapsed() > settings.consumer.poll_interval_max;
        if shared.stopped {
            return;
        }
        drop(shared);
        if stuck {
            // A member that does not get on must not keep its partitions (KIP-62).
            continue;
        }
        let verdict = match pulse_once(&mut connection, coordinator, settings, pulse) {
            Ok(code) => verdict(code),
            Err(_) => {
                connection = None;
                Some(Verdict::Elsewhere)
            }
        };
        let mut shared = lock(&state.0);
        // What the member has to do stays said until it does it; that the coordinator is out of reach may pass.
        if matches!(shared.verdict, None | Some(Verdict::Elsewhere)) {
            shared.verdict = verdict;
        }
    }
}

fn pulse_once(
    connection: &mut Option<Connection>,
    coordinator: &Address,
    settings: &Settings,
    pulse: &heartbeat::Request<'static>,
) -> Result<Code> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(coordinator, settings)?),
    };
    let answer = open.call(pulse, settings.request_timeout)?;
    let response: heartbeat::Response = answer.read()?;
    Ok(Code(response.error_code))
}

fn verdict(code: Code) -> Option<Verdict> {
    match code {
        Code::NONE => None,
        Code::UNKNOWN_MEMBER_ID | Code::ILLEGAL_GENERATION => Some(Verdict::Forgotten),
        Code::FENCED_INSTANCE_ID => Some(Verdict::Fenced),
        code if code.wants_coordinator() => Some(Verdict::Elsewhere),
        _ => Some(Verdict::Rejoin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeats_answer_decides_what_the_member_does() {
        for (code, expected) in [
            (Code::NONE, None),
            (Code::REBALANCE_IN_PROGRESS, Some(Verdict::Rejoin)),
            (Code::NOT_COORDINATOR, Some(Verdict::Elsewhere)),
            (Code::UNKNOWN_MEMBER_ID, Some(Verdict::Forgotten)),
            (Code::ILLEGAL_GENERATION, Some(Verdict::Forgotten)),
            (Code::FENCED_INSTANCE_ID, Some(Verdict::Fenced)),
        ] {
            assert_eq!(verdict(code), expected, "{code}");
        }
    }
}
