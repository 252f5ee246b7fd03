//! A node of production shards in one thread, in virtual time. Nothing fails unless a test lets it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use net::api::{create_topics, fetch, incremental_alter_configs, produce};
use net::frame::put_request;
use net::ops::{ListenerId, Socket};
use net::{Message, Reader, ResponseHeader};
use storage::builder::{BatchBuilder, NewRecord, Options as BatchOptions};
use storage::simulated::{Blocking, Disk, Faults, Latency, Random};
use storage::store;

use crate::assemble::{Found, Plan, assemble};
use crate::config::{Endpoint, Flags, NodeConfig};
use crate::driver::simulated::{self, ClientRead, Clock, Network, Simulated, Weather};
use crate::driver::{Driver as _, Ops};
use crate::shard::Shard;
use crate::shard::connections::ListenerInfo;
use crate::shard::mail::Mail;
use crate::shard::report::{Inquiry, Report, Told};
use crate::turn::{Next, Now, Turn as _};

/// Virtual time in which something that is waited for happens, in nanoseconds.
const PATIENCE_NS: u64 = 600_000_000_000;
/// Mail is under way for so long, in nanoseconds.
const MAIL_NS: u64 = 10_000;
/// Between two turns of a busy shard, in nanoseconds.
const BUSY_NS: u64 = 5_000;
/// The wall clock at the start.
const START_MS: i64 = 1_700_000_000_000;

struct Running {
    shard: Shard,
    driver: Simulated,
    wake_at_ns: Option<u64>,
    has_stopped: bool,
}

/// A node and the machine it runs on.
pub(super) struct World {
    pub(super) machine: simulated::World,
    shards: Vec<Running>,
    /// By sender and receiver, with the time of arrival; the last receiver is the admin thread.
    mail: Vec<Vec<VecDeque<(u64, Mail)>>>,
    told: Vec<Mail>,
    /// The node has ended by itself.
    pub(super) has_halted: bool,
}

/// A client's connection.
pub(super) struct Client {
    socket: Socket,
    inbox: Vec<u8>,
    /// Correlation ids that are owed an answer.
    waiting: VecDeque<i32>,
    next_id: i32,
    pub(super) has_ended: bool,
    /// Of its fetches.
    pub(super) partition_max_bytes: i32,
}

impl World {
    /// Starts a node with these settings, and waits until it serves.
    pub(super) fn start(shards: usize, settings: &[&str], options: store::Options) -> Self {
        Self::start_on(Faults::NONE, shards, settings, options)
    }

    pub(super) fn start_on(faults: Faults, shards: usize, settings: &[&str], options: store::Options) -> Self {
        Self::start_with(&[faults], shards, settings, options)
    }

    /// Starts a node whose shards have so much memory for their connections.
    pub(super) fn start_within(memory_bytes: usize, shards: usize, settings: &[&str], options: store::Options) -> Self {
        let mut random = Random::new(1);
        let machine = simulated::World {
            clock: Rc::new(Clock::default()),
            disks: vec![Rc::new(RefCell::new(Disk::new(random.fork(), Faults::NONE)))],
            network: Rc::new(RefCell::new(Network::new(random.fork()))),
        };
        Self::boot_within(memory_bytes, machine, shards, settings, options)
    }

    /// Starts a node with a data directory on each of these disks.
    pub(super) fn start_with(disks: &[Faults], shards: usize, settings: &[&str], options: store::Options) -> Self {
        let mut random = Random::new(1);
        let disk = |faults: &Faults| Rc::new(RefCell::new(Disk::new(random.fork(), faults.clone())));
        let machine = simulated::World {
            clock: Rc::new(Clock::default()),
            disks: disks.iter().map(disk).collect(),
            network: Rc::new(RefCell::new(Network::new(random.fork()))),
        };
        Self::boot(machine, shards, settings, options)
    }

    /// Kills the node and starts it again, with that number of shards; disks that were gone come back if their faults
    /// were taken away.
    pub(super) fn restart(self, shards: usize, settings: &[&str], options: store::Options) -> Self {
        let machine = self.machine;
        for running in self.shards {
            running.driver.abandon();
        }
        machine.disks.iter().for_each(|disk| disk.borrow_mut().close_all());
        let now_ns = machine.clock.monotonic_ns();
        machine.network.borrow_mut().sever(now_ns);
        Self::boot(machine, shards, settings, options)
    }

    /// Why no node starts on these disks.
    pub(super) fn refusal(disks: &[&Rc<RefCell<Disk>>]) -> String {
        let (config, _) = NodeConfig::load(&Flags::default(), None, &[]).expect("defaults");
        let plan = Plan { config: Arc::new(config), shards: 1, listeners: Arc::new(Vec::new()), seed: 1, ready: None };
        let disks: Vec<Blocking> = disks.iter().map(|&disk| Blocking::new(Rc::clone(disk))).collect();
        let found = disks.iter().enumerate().map(|(number, disk)| Found {
            path: format!("/disk{number}").into(),
            disk: Ok(disk),
            options: store::Options::default(),
        });
        match assemble(found.collect(), plan) {
            Ok(_) => panic!("a node starts on these"),
            Err(error) => error.to_string(),
        }
    }

    fn boot(machine: simulated::World, shards: usize, settings: &[&str], options: store::Options) -> Self {
        Self::boot_within(128 << 20, machine, shards, settings, options)
    }

    fn boot_within(
        memory_bytes: usize,
        machine: simulated::World,
        shards: usize,
        settings: &[&str],
        options: store::Options,
    ) -> Self {
        // Another start, or a node with another number of disks, draws other numbers.
        let mut random = Random::new(machine.clock.monotonic_ns() + machine.disks.len() as u64);
        machine.network.borrow_mut().listen(ListenerId(0));
        let settings: Vec<String> =
            settings.iter().copied().chain(["offsets.topic.num.partitions=2"]).map(str::to_owned).collect();
        let flags = Flags { admin: Some("localhost:0".to_owned()), ..Flags::default() };
        let (mut config, _) = NodeConfig::load(&flags, None, &settings).expect("valid settings");
        config.network.memory_bytes = memory_bytes;
        let advertised = Some(Endpoint { host: "localhost".to_owned(), port: 9092 });
        let plan = Plan {
            config: Arc::new(config),
            shards,
            listeners: Arc::new(vec![ListenerInfo { name: "PLAINTEXT".to_owned(), advertised }]),
            seed: random.bits(),
            ready: None,
        };
        let disks: Vec<Blocking> = machine.disks.iter().map(|disk| Blocking::new(Rc::clone(disk))).collect();
        let found = disks.iter().enumerate().map(|(number, disk)| Found {
            path: format!("/disk{number}").into(),
            disk: Ok(disk),
            options: options.clone(),
        });
        let made = assemble(found.collect(), plan).expect("disks that a node can start on").shards;
        let latency = Latency { ns_min: 50_000, ns_max: 100_000, slow_per_million: 0, slow_ns_max: 0, sync_ns_min: 0 };
        let running = made.into_iter().enumerate().map(|(index, shard)| Running {
            shard,
            driver: Simulated::new(machine.clone(), index as u32, latency.clone(), Weather::CALM, random.fork()),
            wake_at_ns: Some(0),
            has_stopped: false,
        });
        let shards: Vec<Running> = running.collect();
        let queues = || (0..=shards.len()).map(|_| VecDeque::new()).collect();
        let mail = (0..=shards.len()).map(|_| queues()).collect();
        Self { machine, shards, mail, told: Vec::new(), has_halted: false }
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.machine.clock.monotonic_ns()
    }

    fn next_at_ns(&self) -> Option<u64> {
        let mail = self.mail.iter().flatten().filter_map(|queue| queue.front().map(|(at, _)| *at));
        let shards = self.shards.iter().flat_map(|it| [it.driver.next_at_ns(), it.wake_at_ns]).flatten();
        mail.chain(shards).min()
    }

    /// Lets the next thing happen; whether there is one until then.
    pub(super) fn step_until(&mut self, until_ns: u64) -> bool {
        let Some(at) = self.next_at_ns().filter(|&at| at <= until_ns && !self.has_halted) else {
            self.machine.clock.advance_to(until_ns);
            return false;
        };
        self.machine.clock.advance_to(at.max(self.now_ns()));
        let now_ns = self.now_ns();
        for index in 0..self.shards.len() {
            let running = &self.shards[index];
            let mail = self.mail.iter().any(|to| to[index].front().is_some_and(|(at, _)| *at <= now_ns));
            let due = [running.driver.next_at_ns(), running.wake_at_ns].into_iter().flatten().any(|at| at <= now_ns);
            if mail || due {
                self.turn(index);
            }
        }
        let admin = self.shards.len();
        for from in 0..admin {
            self.told.extend(self.mail[from][admin].drain(..).map(|(_, mail)| mail));
        }
        true
    }

    fn turn(&mut self, index: usize) {
        let now_ns = self.now_ns();
        let now = Now { monotonic_ns: now_ns, wall_ms: START_MS + (now_ns / 1_000_000) as i64 };
        let Running { shard, driver, wake_at_ns, has_stopped } = &mut self.shards[index];
        shard.begin(now);
        driver.complete(&mut |completion| shard.complete(completion));
        for (from, to) in self.mail.iter_mut().enumerate() {
            while let Some((_, mail)) = to[index].pop_front_if(|(at, _)| *at <= now_ns) {
                shard.mail(from, mail);
            }
        }
        let (mut ops, mut outbox) = (Ops::default(), Vec::new());
        *wake_at_ns = match shard.turn(now, &mut ops, &mut outbox) {
            Next::Halt => {
                self.has_halted = true;
                return;
            }
            Next::Busy => Some(now_ns + BUSY_NS),
            Next::Idle { deadline_ns } => deadline_ns.map(|at| at.max(now_ns + BUSY_NS)),
            Next::Stop => {
                *has_stopped = true;
                None
            }
        };
        driver.submit(&mut ops);
        for (to, mail) in outbox {
            self.mail[index][to].push_back((now_ns + MAIL_NS, mail));
        }
    }

    /// Lets so much time pass.
    pub(super) fn pass_ms(&mut self, ms: u64) {
        let until_ns = self.now_ns() + ms * 1_000_000;
        while self.step_until(until_ns) {}
    }

    /// Lets time pass until there is an answer.
    #[track_caller]
    pub(super) fn wait_for<T>(&mut self, mut found: impl FnMut(&mut Self) -> Option<T>) -> T {
        let until_ns = self.now_ns() + PATIENCE_NS;
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(self.now_ns() < until_ns, "what was waited for did not happen");
            self.step_until(self.now_ns() + 1_000_000);
        }
    }

    /// Stops the node cleanly, and waits until it has.
    #[track_caller]
    pub(super) fn stop(&mut self) {
        let now_ns = self.now_ns();
        for running in &mut self.shards {
            running.shard.stop();
            running.wake_at_ns = Some(now_ns);
        }
        self.wait_for(|world| world.shards.iter().all(|running| running.has_stopped).then_some(()));
    }

    pub(super) fn connect(&mut self) -> Client {
        let socket = self.machine.network.borrow_mut().connect(self.now_ns(), ListenerId(0)).expect("it listens");
        Client {
            socket,
            inbox: Vec::new(),
            waiting: VecDeque::new(),
            next_id: 0,
            has_ended: false,
            partition_max_bytes: 1 << 20,
        }
    }

    /// Appends a batch to a partition's log, as a coordinator would, and waits until it is committed.
    #[track_caller]
    pub(super) fn append(&mut self, topic: &str, partition: i32, batch: &[u8]) {
        let image = &self.shards[0].shard.image;
        let place = image.topic(topic).and_then(|topic| topic.partition(partition)).expect("it was created");
        let (shard, log) = (usize::from(place.shard), storage::LogId(place.log_id));
        let now = self.shards[shard].shard.now.storage();
        let shard_of = &mut self.shards[shard].shard;
        let slot = shard_of.partitions.get_mut(log).expect("it is there").slot;
        let appended = shard_of.stores[slot].append(slot, batch, store::Origin::Internal, 0, now);
        let store::Append::Appended { last_offset, .. } = appended else { panic!("{appended:?}") };
        // A turn takes note of what its store has to do.
        self.shards[shard].wake_at_ns = Some(self.now_ns());
        self.wait_for(|world| {
            let partition = world.shards[shard].shard.partitions.get_mut(log).expect("it is there");
            (partition.replica.high_watermark() > last_offset).then_some(())
        });
    }

    pub(super) fn report(&mut self, shard: usize) -> Report {
        let admin = self.shards.len();
        let at = self.now_ns() + MAIL_NS;
        self.mail[admin][shard].push_back((at, Mail::Inquiry(Inquiry::Report)));
        self.told.clear();
        self.wait_for(|world| match world.told.pop() {
            Some(Mail::Told(Told::Report(report))) => Some(*report),
            _ => None,
        })
    }

    /// Requests of a shard that wait for something.
    pub(super) fn waiting(&self, shard: usize) -> usize {
        self.shards[shard].shard.requests.len()
    }

    /// Watches that other shards hold at this one.
    pub(super) fn watches(&self, shard: usize) -> usize {
        self.shards[shard].shard.peer_watches.len()
    }
}

impl Client {
    /// Sends a request that is owed an answer.
    pub(super) fn send<'m, M: Message<'m>>(&mut self, world: &mut World, version: i16, message: &M) {
        let frame = self.frame(version, message);
        world.machine.network.borrow_mut().client_write(world.now_ns(), self.socket, &frame);
    }

    /// A request that is owed an answer once it is written.
    fn frame<'m, M: Message<'m>>(&mut self, version: i16, message: &M) -> Vec<u8> {
        self.next_id += 1;
        self.waiting.push_back(self.next_id);
        let mut frame = Vec::new();
        put_request(&mut frame, version, self.next_id, Some("test"), message);
        frame
    }

    /// Sends bytes as they are.
    pub(super) fn write(&mut self, world: &mut World, bytes: &[u8]) {
        world.machine.network.borrow_mut().client_write(world.now_ns(), self.socket, bytes);
    }

    /// The body of the next answer of an API, if it is there.
    pub(super) fn receive<'m, M: Message<'m>>(&mut self, world: &mut World, version: i16) -> Option<Vec<u8>> {
        let now_ns = world.now_ns();
        let state = world.machine.network.borrow_mut().client_read(now_ns, self.socket, usize::MAX, &mut self.inbox);
        self.has_ended |= state == ClientRead::Ended;
        let (length, rest) = self.inbox.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length) as usize;
        let frame = rest.get(..length)?;
        let mut reader = Reader::new(frame);
        let header = ResponseHeader::decode(&mut reader, M::KEY, version).expect("a header");
        assert_eq!(Some(header.correlation_id), self.waiting.pop_front(), "answers come in order");
        let body = frame[reader.position()..].to_vec();
        self.inbox.drain(..4 + length);
        Some(body)
    }

    #[track_caller]
    pub(super) fn call<'m, 'r, M: Message<'m>, R: Message<'r>>(
        &mut self,
        world: &mut World,
        version: i16,
        message: &M,
    ) -> Vec<u8> {
        self.send(world, version, message);
        world.wait_for(|world| {
            assert!(!self.has_ended, "the connection is still there");
            self.receive::<R>(world, version)
        })
    }

    /// Whether the node has closed the connection.
    pub(super) fn is_closed(&mut self, world: &mut World) -> bool {
        let now_ns = world.now_ns();
        let state = world.machine.network.borrow_mut().client_read(now_ns, self.socket, usize::MAX, &mut self.inbox);
        state == ClientRead::Ended
    }

    /// Ends the connection.
    pub(super) fn close(self, world: &mut World) {
        world.machine.network.borrow_mut().client_close(world.now_ns(), self.socket);
    }

    #[track_caller]
    pub(super) fn create_topic(&mut self, world: &mut World, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        self.send_create_topic(world, name, partitions, configs);
        let (error, message) = world.wait_for(|world| self.created_topic(world));
        assert_eq!(error, 0, "{message:?}");
    }

    pub(super) fn send_create_topic(
        &mut self,
        world: &mut World,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) {
        let configs = configs
            .iter()
            .map(|&(name, value)| create_topics::RequestTopicsConfigs { name: name.into(), value: Some(value.into()) });
        let topic = create_topics::RequestTopics {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: configs.collect(),
        };
        let request = create_topics::Request { topics: vec![topic], timeout_ms: 30_000, validate_only: false };
        self.send(world, CREATE_TOPICS, &request);
    }

    /// Kafka's error code for a topic, and its message.
    pub(super) fn created_topic(&mut self, world: &mut World) -> Option<(i16, Option<String>)> {
        let body = self.receive::<create_topics::Response<'_>>(world, CREATE_TOPICS)?;
        let response = create_topics::Response::from_bytes(&body, CREATE_TOPICS).expect("an answer");
        let topic = &response.topics[0];
        Some((topic.error_code, topic.error_message.as_deref().map(str::to_owned)))
    }

    /// Sets a property of the broker.
    #[track_caller]
    pub(super) fn configure(&mut self, world: &mut World, name: &str, value: &str) {
        const BROKER: i8 = 4;
        let config = incremental_alter_configs::RequestResourcesConfigs {
            name: name.into(),
            config_operation: 0,
            value: Some(value.into()),
        };
        let resource = incremental_alter_configs::RequestResources {
            resource_type: BROKER,
            resource_name: "1".into(),
            configs: vec![config],
        };
        let request = incremental_alter_configs::Request { resources: vec![resource], validate_only: false };
        let body = self.call::<_, incremental_alter_configs::Response<'_>>(world, 1, &request);
        let response = incremental_alter_configs::Response::from_bytes(&body, 1).expect("an answer");
        assert_eq!(response.responses[0].error_code, 0, "{:?}", response.responses[0].error_message);
    }

    /// Produces a batch of one record; Kafka's error code and the offset.
    #[track_caller]
    pub(super) fn produce(&mut self, world: &mut World, topic: &str, partition: i32, bytes: usize) -> (i16, i64) {
        self.send_produce(world, topic, partition, bytes);
        world.wait_for(|world| self.produced(world))
    }

    pub(super) fn send_produce(&mut self, world: &mut World, topic: &str, partition: i32, bytes: usize) {
        let frame = self.produce_frame(topic, partition, bytes);
        self.write(world, &frame);
    }

    /// A request that produces a batch of one record, to be written.
    pub(super) fn produce_frame(&mut self, topic: &str, partition: i32, bytes: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let value = vec![b'x'; bytes];
        builder
            .append(&NewRecord { timestamp: START_MS, key: None, value: Some(&value), headers: &[] })
            .expect("small");
        let batch = builder.finish();
        let data = produce::RequestTopicDataPartitionData { index: partition, records: Some(batch.as_slice().into()) };
        let topic = produce::RequestTopicData { name: topic.into(), partition_data: vec![data], ..Default::default() };
        let request =
            produce::Request { transactional_id: None, acks: -1, timeout_ms: 30_000, topic_data: vec![topic] };
        self.frame(PRODUCE, &request)
    }

    pub(super) fn produced(&mut self, world: &mut World) -> Option<(i16, i64)> {
        let body = self.receive::<produce::Response<'_>>(world, PRODUCE)?;
        let response = produce::Response::from_bytes(&body, PRODUCE).expect("an answer");
        let answer = &response.responses[0].partition_responses[0];
        Some((answer.error_code, answer.base_offset))
    }

    pub(super) fn send_fetch(&mut self, world: &mut World, topic: &str, partition: i32, offset: i64, wait_ms: i32) {
        let wanted = fetch::RequestTopicsPartitions {
            partition,
            current_leader_epoch: -1,
            fetch_offset: offset,
            partition_max_bytes: self.partition_max_bytes,
            ..Default::default()
        };
        let topic = fetch::RequestTopics { topic: topic.into(), partitions: vec![wanted], ..Default::default() };
        let request = fetch::Request {
            max_wait_ms: wait_ms,
            min_bytes: 1,
            max_bytes: 50 << 20,
            session_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        self.send(world, FETCH, &request);
    }

    /// What a fetch of one partition got: Kafka's error code and the bytes.
    pub(super) fn fetched(&mut self, world: &mut World) -> Option<(i16, Vec<u8>)> {
        let body = self.receive::<fetch::Response<'_>>(world, FETCH)?;
        let response = fetch::Response::from_bytes(&body, FETCH).expect("an answer");
        let Some(topic) = response.responses.first() else { return Some((response.error_code, Vec::new())) };
        let answer = &topic.partitions[0];
        Some((answer.error_code, answer.records.as_deref().unwrap_or_default().to_vec()))
    }
}

const CREATE_TOPICS: i16 = 5;
const PRODUCE: i16 = 9;
const FETCH: i16 = 11;
