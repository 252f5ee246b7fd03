//! Random members over random disks and crashes, against what must hold whatever happens.
//!
//! Each client behaves as real ones do (join, bring the assignment if it leads, live, commit, leave, start anew) but
//! at random times, with requests given up and sent twice; appends become durable late, in order, or fail; the process
//! crashes and loads what was durable. Checked:
//! - every request is answered exactly once, unless the process dies (by [`World::call`], and at the end);
//! - a generation has one leader, one protocol that everybody in it offers, and one assignment per member;
//! - generations rise for as long as the process lives;
//! - an acknowledged commit is read back from then on, until a later one, over every crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::world::*;
use crate::group::*;

const CLIENTS: usize = 5;

/// What one client wants, or the world does to it.
#[derive(Debug, Clone, Copy)]
enum Step {
    Join {
        client: usize,
        offer: usize,
    },
    Sync {
        client: usize,
    },
    Heartbeat {
        client: usize,
    },
    Commit {
        client: usize,
    },
    Leave {
        client: usize,
    },
    /// The client's process starts anew and knows nothing.
    Restart {
        client: usize,
    },
    Pass {
        ms: u64,
    },
    Durable,
    Fail,
    Crash,
}

/// What protocols a client may offer.
const OFFERS: [&[&str]; 4] = [&["range"], &["range", "sticky"], &["sticky", "range"], &["sticky"]];

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    prop_oneof![
        8 => (client(), 0..OFFERS.len()).prop_map(|(client, offer)| Step::Join { client, offer }),
        8 => client().prop_map(|client| Step::Sync { client }),
        4 => client().prop_map(|client| Step::Heartbeat { client }),
        4 => client().prop_map(|client| Step::Commit { client }),
        1 => client().prop_map(|client| Step::Leave { client }),
        1 => client().prop_map(|client| Step::Restart { client }),
        4 => (0..3u32, 0..10_000u64).prop_map(|(scale, ms)| Step::Pass { ms: ms >> (scale * 6) }),
        10 => Just(Step::Durable),
        1 => Just(Step::Fail),
        1 => Just(Step::Crash),
    ]
}

/// What a client remembers.
#[derive(Debug, Clone, Default)]
struct Client {
    /// Static clients keep it for ever.
    instance: Option<Arc<str>>,
    member: Arc<str>,
    generation: i32,
    /// The members, if it leads.
    members: Vec<Arc<str>>,
    protocol: Option<Arc<str>>,
    offers: Vec<Protocol>,
}

/// A request that waits, with the client's offer at that time.
#[derive(Debug)]
enum Waiting {
    Join { client: usize, offers: Vec<Protocol>, life: u64 },
    Sync { client: usize, generation: i32, life: u64 },
    Commit { offset: i64 },
}

/// What is known of a generation, from those who were told.
#[derive(Debug, Default)]
struct Generation {
    leader: Option<Arc<str>>,
    protocol: Option<Arc<str>>,
    assignments: BTreeMap<Arc<str>, Vec<u8>>,
}

struct Model {
    world: World,
    clients: Vec<Client>,
    /// Counts a client's starts: answers to an earlier life are lost.
    lives: Vec<u64>,
    waiting: BTreeMap<Token, Waiting>,
    /// Of this run of the process.
    generations: BTreeMap<i32, Generation>,
    generation_max: i32,
    next_offset: i64,
    /// Acknowledged last.
    committed: i64,
}

impl Model {
    fn new() -> Model {
        let mut world = World::with(Config { group_size_max: 4, ..Config::default() });
        world.is_disk_quick = false;
        let client = |index: usize| Client {
            // Two of them are static.
            instance: (index < 2).then(|| Arc::from(format!("static-{index}"))),
            ..Client::default()
        };
        Model {
            world,
            clients: (0..CLIENTS).map(client).collect(),
            lives: vec![0; CLIENTS],
            waiting: BTreeMap::new(),
            generations: BTreeMap::new(),
            generation_max: 0,
            next_offset: 0,
            committed: -1,
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Join { client, offer } => self.join(client, offer),
            Step::Sync { client } => self.sync(client),
            Step::Heartbeat { client } => self.heartbeat(client),
            Step::Commit { client } => self.commit(client),
            Step::Leave { client } => {
                let Client { member, instance, .. } = self.clients[client].clone();
                self.world.leave(&[(&member, instance.as_deref())]);
            }
            Step::Restart { client } => {
                self.lives[client] += 1;
                self.clients[client] = Client { instance: self.clients[client].instance.clone(), ..Client::default() };
            }
            Step::Pass { ms } => self.world.pass(ms),
            Step::Durable if self.world.under_way.is_empty() => {}
            Step::Durable => self.world.durable(),
            Step::Fail if self.world.under_way.is_empty() => {}
            Step::Fail => self.fail(),
            Step::Crash => self.crash(),
        }
        self.take_replies();
        self.check();
    }

    fn join(&mut self, client: usize, offer: usize) {
        let Client { instance, member, .. } = self.clients[client].clone();
        let offers = protocols(OFFERS[offer]);
        let request = JoinRequest { instance, protocols: offers.clone(), ..join_request(&member) };
        let token = self.world.join(request);
        self.waiting.insert(token, Waiting::Join { client, offers, life: self.lives[client] });
    }

    fn sync(&mut self, client: usize) {
        let Client { instance, member, generation, members, protocol, .. } = self.clients[client].clone();
        let texts: Vec<String> = members.iter().map(|member| format!("{generation} {member}")).collect();
        let assignments: Vec<(&str, &str)> = members.iter().zip(&texts).map(|(id, text)| (&**id, &**text)).collect();
        let request = SyncRequest {
            instance,
            protocol_name: protocol,
            requires_protocol: false,
            ..sync_request(&member, generation, &assignments)
        };
        let token = self.world.ask(Request::Sync(request));
        self.waiting.insert(token, Waiting::Sync { client, generation, life: self.lives[client] });
    }

    fn heartbeat(&mut self, client: usize) {
        let Client { instance, member, generation, .. } = self.clients[client].clone();
        match self.world.heartbeat_as(&member, generation, instance.as_deref()) {
            Outcome::UnknownMember | Outcome::FencedInstance => self.forget(client),
            _ => {}
        }
    }

    fn commit(&mut self, client: usize) {
        let Client { instance, member, generation, .. } = self.clients[client].clone();
        let offset = self.next_offset;
        self.next_offset += 1;
        let generation = if member.is_empty() { -1 } else { generation };
        let request = CommitRequest { instance, member, generation, ..World::commit_request(offset) };
        let token = self.world.ask(Request::Commit(request));
        self.waiting.insert(token, Waiting::Commit { offset });
    }

    fn crash(&mut self) {
        self.world.crash();
        self.waiting.clear();
        self.generations.clear();
        self.generation_max = 0;
    }

    fn fail(&mut self) {
        let records = &self.world.under_way[0].records;
        let is_group = |record: &&Record| matches!(records::Key::decode(&record.key), Ok(records::Key::Group { .. }));
        let values = records.iter().filter(is_group).filter_map(|record| record.value.as_deref());
        if values.flat_map(records::GroupValue::decode).any(|group| group.generation == 0) {
            // The group has never been: another of its name begins anew.
            self.generations.clear();
            self.generation_max = 0;
        }
        self.world.fail(AppendFailure::Unavailable);
    }

    fn forget(&mut self, client: usize) {
        let instance = self.clients[client].instance.clone();
        self.clients[client] = Client { instance, ..Client::default() };
    }

    fn take_replies(&mut self) {
        let generation_before = self.generation_max;
        for (token, reply) in std::mem::take(&mut self.world.replies) {
            match (self.waiting.remove(&token), reply) {
                (Some(Waiting::Join { client, offers, life }), Reply::Join(reply)) => {
                    let is_older = reply.outcome == Outcome::Done && reply.generation < generation_before;
                    assert!(!is_older, "generations rise: {reply:?} after {generation_before}");
                    self.joined(client, offers, life == self.lives[client], reply);
                }
                (Some(Waiting::Sync { client, generation, life }), Reply::Sync(reply)) => {
                    self.synced(client, generation, life == self.lives[client], &reply);
                }
                (Some(Waiting::Commit { offset }), Reply::Commit(reply)) => {
                    if reply.topics[0].partitions[0].1 == Outcome::Done {
                        self.committed = offset;
                    }
                }
                (waiting, reply) => panic!("{waiting:?} is answered by {reply:?}"),
            }
        }
    }

    fn joined(&mut self, client: usize, offers: Vec<Protocol>, is_heard: bool, reply: JoinReply) {
        if reply.outcome == Outcome::Done {
            let generation = self.generations.entry(reply.generation).or_default();
            let is_stated = !reply.leader.is_empty();
            assert!(is_stated && reply.generation > 0, "{reply:?}");
            let is_leader = reply.leader == reply.member;
            assert_eq!(is_leader, !reply.members.is_empty(), "the leader alone gets the members");
            assert_eq!(*generation.protocol.get_or_insert_with(|| reply.protocol_name.clone().expect("chosen")), {
                reply.protocol_name.clone().expect("chosen")
            });
            assert!(offers.iter().any(|offer| Some(&offer.name) == reply.protocol_name.as_ref()), "it offers that");
            // A static member may take over from itself, under another id.
            let name = |id: &Arc<str>| id.rsplitn(6, '-').last().map(str::to_owned);
            let leader = generation.leader.get_or_insert_with(|| reply.leader.clone());
            assert!(*leader == reply.leader || name(leader) == name(&reply.leader), "one leader: {leader} {reply:?}");
            self.generation_max = self.generation_max.max(reply.generation);
        }
        if !is_heard {
            return;
        }
        match reply.outcome {
            Outcome::Done => {
                let state = &mut self.clients[client];
                state.member = reply.member;
                state.generation = reply.generation;
                state.members = reply.members.into_iter().map(|member| member.member).collect();
                state.protocol = reply.protocol_name;
                state.offers = offers;
            }
            Outcome::MemberIdRequired => self.clients[client].member = reply.member,
            Outcome::UnknownMember | Outcome::FencedInstance | Outcome::GroupFull => self.forget(client),
            _ => {}
        }
    }

    fn synced(&mut self, client: usize, generation: i32, is_heard: bool, reply: &SyncReply) {
        if reply.outcome != Outcome::Done || !is_heard {
            return;
        }
        let known = self.generations.entry(generation).or_default();
        let protocol = reply.protocol_name.clone().expect("chosen");
        assert_eq!(*known.protocol.get_or_insert_with(|| protocol.clone()), protocol, "one protocol in a generation");
        let member = self.clients[client].member.clone();
        let assignment = reply.assignment.to_vec();
        let first = known.assignments.entry(member).or_insert_with(|| assignment.clone());
        assert_eq!(*first, assignment, "one assignment in a generation");
    }

    fn check(&mut self) {
        let described = self.world.describe();
        let under_way = self.world.under_way.iter().any(|append| {
            append
                .records
                .iter()
                .any(|record| matches!(records::Key::decode(&record.key), Ok(records::Key::Offset { .. })))
        });
        let read = self.world.offset();
        assert!(read >= self.committed, "{read} is read although {} was acknowledged", self.committed);
        if !under_way && self.waiting.values().all(|waiting| !matches!(waiting, Waiting::Commit { .. })) {
            // What was durable but not acknowledged when the process died may be seen.
            self.committed = self.committed.max(read);
        }
        assert_eq!(self.world.owed.len(), self.waiting.len(), "each request waits or was answered");
        let instances: Vec<&Arc<str>> =
            described.members.iter().filter_map(|member| member.instance.as_ref()).collect();
        let distinct: std::collections::BTreeSet<_> = instances.iter().collect();
        assert_eq!(distinct.len(), instances.len(), "an instance is one member: {described:?}");
    }

    /// In the end everything is quiet, and everything answered.
    fn settle(&mut self) {
        while !self.world.under_way.is_empty() {
            self.world.durable();
        }
        self.world.is_disk_quick = true;
        self.world.pass(10 * 60 * 1000);
        self.take_replies();
        assert!(self.waiting.is_empty(), "left without an answer: {:?}", self.waiting);
        let described = self.world.describe();
        assert!(described.members.is_empty(), "nobody has lived on: {described:?}");
        assert_eq!(self.world.coordinator.next_deadline(), None);
        let read = self.world.offset();
        self.world.crash();
        assert_eq!(self.world.offset(), read);
        // Where the record of the group's end was lost, its last members are back, and silent.
        self.world.pass(10 * 60 * 1000);
        assert_eq!(self.world.describe().members.len(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_rules_hold(steps in proptest::collection::vec(step(), 1..400)) {
        let mut model = Model::new();
        for step in steps {
            model.run(step);
        }
        model.settle();
    }
}
