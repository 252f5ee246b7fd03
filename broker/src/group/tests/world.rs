//! A coordinator with a partition of its own, for tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::group::*;

/// The group of most tests.
pub(super) const GROUP: &str = "g";
pub(super) const SESSION_MS: i32 = 10_000;
pub(super) const REBALANCE_MS: i32 = 30_000;
pub(super) const TOPIC_ID: TopicId = [7; 16];
const WALL_START_MS: i64 = 1_700_000_000_000;

/// A coordinator, what it has appended, and what it has replied.
pub(super) struct World {
    pub(super) coordinator: Coordinator,
    pub(super) config: Config,
    /// Durable records, in order.
    pub(super) log: Vec<Record>,
    /// Appends that are neither durable nor failed.
    pub(super) under_way: VecDeque<Append>,
    /// Replies that no test has taken yet.
    pub(super) replies: BTreeMap<Token, Reply>,
    /// Requests that are owed a reply.
    pub(super) owed: std::collections::BTreeSet<Token>,
    /// Appends are durable at once.
    pub(super) is_disk_quick: bool,
    pub(super) now_ms: u64,
    tokens: u64,
    starts: u64,
}

impl World {
    pub(super) fn new() -> World {
        World::with(Config::default())
    }

    pub(super) fn with(config: Config) -> World {
        let mut world = World {
            coordinator: Coordinator::new(config.clone(), 0),
            config,
            log: Vec::new(),
            under_way: VecDeque::new(),
            replies: BTreeMap::new(),
            owed: Default::default(),
            is_disk_quick: true,
            now_ms: 1_000,
            tokens: 0,
            starts: 0,
        };
        world.load();
        world
    }

    pub(super) fn now(&self) -> Now {
        Now { now_ms: self.now_ms, wall_ms: WALL_START_MS + self.now_ms as i64 }
    }

    pub(super) fn call<T>(&mut self, call: impl FnOnce(&mut Coordinator, Now, &mut Effects) -> T) -> T {
        let mut effects = Effects::default();
        let now = self.now();
        let result = call(&mut self.coordinator, now, &mut effects);
        self.coordinator.groups.values().for_each(|group| group.check_members());
        for (token, reply) in effects.replies {
            assert!(self.owed.remove(&token), "{token:?} is replied to once: {reply:?}");
            self.replies.insert(token, reply);
        }
        self.under_way.extend(effects.appends);
        while self.is_disk_quick && !self.under_way.is_empty() {
            self.durable();
        }
        result
    }

    /// The oldest append becomes durable.
    pub(super) fn durable(&mut self) {
        let append = self.under_way.pop_front().expect("an append is under way");
        self.log.extend(append.records);
        self.call(|coordinator, now, effects| coordinator.appended(append.id, now, effects));
    }

    /// The oldest append fails.
    pub(super) fn fail(&mut self, failure: AppendFailure) {
        let append = self.under_way.pop_front().expect("an append is under way");
        self.call(|coordinator, now, effects| coordinator.append_failed(append.id, failure, now, effects));
    }

    pub(super) fn ask(&mut self, request: Request) -> Token {
        let token = Token(self.tokens);
        self.tokens += 1;
        self.owed.insert(token);
        self.call(|coordinator, now, effects| coordinator.handle(token, request, now, effects));
        token
    }

    pub(super) fn is_parked(&self, token: Token) -> bool {
        self.owed.contains(&token)
    }

    pub(super) fn reply(&mut self, token: Token) -> Reply {
        self.replies.remove(&token).unwrap_or_else(|| panic!("{token:?} has no reply yet"))
    }

    /// Lets the time pass, with every deadline on the way.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(deadline) = self.coordinator.next_deadline().filter(|deadline| *deadline <= end) {
            self.now_ms = self.now_ms.max(deadline);
            self.call(|coordinator, now, effects| coordinator.tick(now, effects));
        }
        self.now_ms = end;
    }

    /// The process dies, with what was not durable, and starts again.
    pub(super) fn crash(&mut self) {
        self.owed.clear();
        self.replies.clear();
        self.under_way.clear();
        self.load();
    }

    fn load(&mut self) {
        self.starts += 1;
        self.coordinator = Coordinator::new(self.config.clone(), self.starts);
        let wall_ms = self.now().wall_ms;
        for record in &self.log {
            self.coordinator.load(&record.key, record.value.as_deref(), wall_ms).expect("its own records");
        }
        self.call(|coordinator, now, effects| coordinator.loaded(now, effects));
    }

    pub(super) fn join(&mut self, request: JoinRequest) -> Token {
        self.ask(Request::Join(request))
    }

    pub(super) fn joined(&mut self, token: Token) -> JoinReply {
        match self.reply(token) {
            Reply::Join(reply) => reply,
            other => panic!("no reply to a join: {other:?}"),
        }
    }

    pub(super) fn synced(&mut self, token: Token) -> SyncReply {
        match self.reply(token) {
            Reply::Sync(reply) => reply,
            other => panic!("no reply to a sync: {other:?}"),
        }
    }

    pub(super) fn sync(&mut self, member: &str, generation: i32, assignments: &[(&str, &str)]) -> Token {
        self.ask(Request::Sync(sync_request(member, generation, assignments)))
    }

    pub(super) fn heartbeat(&mut self, member: &str, generation: i32) -> Outcome {
        self.heartbeat_as(member, generation, None)
    }

    pub(super) fn heartbeat_as(&mut self, member: &str, generation: i32, instance: Option<&str>) -> Outcome {
        let request = HeartbeatRequest {
            group: GROUP.into(),
            generation,
            member: member.into(),
            instance: instance.map(Arc::from),
        };
        let token = self.ask(Request::Heartbeat(request));
        match self.reply(token) {
            Reply::Heartbeat(outcome) => outcome,
            other => panic!("no reply to a heartbeat: {other:?}"),
        }
    }

    pub(super) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> LeaveReply {
        let members = members
            .iter()
            .map(|(member, instance)| LeavingMember { member: Arc::from(*member), instance: instance.map(Arc::from) });
        let token = self.ask(Request::Leave(LeaveRequest { group: GROUP.into(), members: members.collect() }));
        match self.reply(token) {
            Reply::Leave(reply) => reply,
            other => panic!("no reply to a leave: {other:?}"),
        }
    }

    pub(super) fn describe(&mut self) -> DescribedGroup {
        let token = self.ask(Request::Describe(GROUP.into()));
        match self.reply(token) {
            Reply::Describe(group) => group,
            other => panic!("no description: {other:?}"),
        }
    }

    /// A member that has its id already, as clients from version 4 on get it.
    pub(super) fn new_id(&mut self) -> Arc<str> {
        let token = self.join(join_request(""));
        let reply = self.joined(token);
        assert_eq!(reply.outcome, Outcome::MemberIdRequired);
        reply.member
    }

    /// A stable group of so many dynamic members; their ids, the leader's first, in the generation that follows.
    pub(super) fn stable(&mut self, count: usize) -> (Vec<Arc<str>>, i32) {
        let ids: Vec<Arc<str>> = (0..count).map(|_| self.new_id()).collect();
        let joins: Vec<Token> = ids.iter().map(|id| self.join(join_request(id))).collect();
        self.pass(0);
        let replies: Vec<JoinReply> = joins.into_iter().map(|token| self.joined(token)).collect();
        let generation = replies[0].generation;
        let leader = replies[0].leader.clone();
        let mut ids: Vec<Arc<str>> = replies.iter().map(|reply| reply.member.clone()).collect();
        ids.sort_by_key(|id| *id != leader);
        let assignments: Vec<(&str, &str)> = ids.iter().map(|id| (&**id, &**id)).collect();
        let syncs: Vec<Token> = ids.iter().map(|id| self.sync(id, generation, &assignments)).collect();
        for (token, id) in syncs.into_iter().zip(&ids) {
            let synced = self.synced(token);
            assert_eq!((synced.outcome, &synced.assignment[..]), (Outcome::Done, id.as_bytes()));
        }
        assert_eq!(self.describe().state, "Stable");
        (ids, generation)
    }

    pub(super) fn commit_request(offset: i64) -> CommitRequest {
        CommitRequest {
            group: GROUP.into(),
            generation: -1,
            member: "".into(),
            instance: None,
            retention_ms: -1,
            knows_group_not_found: true,
            topics: vec![CommitTopic {
                name: "t".into(),
                id: TOPIC_ID,
                partitions: vec![CommitPartition {
                    partition: 0,
                    offset,
                    leader_epoch: 3,
                    metadata: Some("m".into()),
                    known: Outcome::Done,
                }],
            }],
        }
    }

    /// How committing this went, for its one partition.
    pub(super) fn commit(&mut self, request: CommitRequest) -> Outcome {
        let token = self.ask(Request::Commit(request));
        self.committed(token)
    }

    pub(super) fn committed(&mut self, token: Token) -> Outcome {
        match self.reply(token) {
            Reply::Commit(reply) => reply.topics[0].partitions[0].1,
            other => panic!("no reply to a commit: {other:?}"),
        }
    }

    /// The offset committed for the partition of [`World::commit_request`].
    pub(super) fn offset(&mut self) -> i64 {
        let token = self.ask(Request::Fetch(fetch_request()));
        self.fetched(token)
    }

    pub(super) fn fetched(&mut self, token: Token) -> i64 {
        match self.reply(token) {
            Reply::Fetch(reply) => reply.topics[0].partitions[0].offset,
            other => panic!("no reply to a fetch: {other:?}"),
        }
    }

    pub(super) fn delete(&mut self) -> Outcome {
        let token = self.ask(Request::Delete(GROUP.into()));
        match self.reply(token) {
            Reply::Delete(outcome) => outcome,
            other => panic!("no reply to a delete: {other:?}"),
        }
    }
}

pub(super) fn fetch_request() -> FetchRequest {
    FetchRequest {
        group: GROUP.into(),
        topics: Some(vec![FetchTopic { name: "t".into(), id: TOPIC_ID, known: Outcome::Done, partitions: vec![0] }]),
        require_stable: false,
    }
}

/// A consumer of topic `t` that offers `range`.
pub(super) fn join_request(member: &str) -> JoinRequest {
    JoinRequest {
        group: GROUP.into(),
        member: member.into(),
        instance: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        protocol_type: "consumer".into(),
        protocols: protocols(&["range"]),
        needs_known_member: true,
        may_skip_assignment: true,
    }
}

pub(super) fn static_join(instance: &str) -> JoinRequest {
    JoinRequest { instance: Some(instance.into()), ..join_request("") }
}

/// Protocols of these names, each with a subscription to topic `t`.
pub(super) fn protocols(names: &[&str]) -> Vec<Protocol> {
    let subscription = Bytes::from_static(b"\0\x01\0\0\0\x01\0\x01t\0\0\0\0\0\0\0\0");
    names.iter().map(|name| Protocol { name: Arc::from(*name), metadata: subscription.clone() }).collect()
}

pub(super) fn sync_request(member: &str, generation: i32, assignments: &[(&str, &str)]) -> SyncRequest {
    let assignments = assignments.iter().map(|(member, assignment)| Assignment {
        member: Arc::from(*member),
        assignment: Bytes::copy_from_slice(assignment.as_bytes()),
    });
    SyncRequest {
        group: GROUP.into(),
        generation,
        member: member.into(),
        instance: None,
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        requires_protocol: true,
        assignments: assignments.collect(),
    }
}
