//! What only the owner of a partition knows, or does: its size, its producers, deleting records.
//!
//! ```text
//! request ─► an Item per partition ─► its owner, here or by mail ─► Facts ─► response
//! ```
//!
//! Records are deleted by raising the log start offset. That is durable before it is answered: until then the asker
//! waits in [`Unsettled`], released by the store's event.

use std::collections::BTreeMap;

use storage::io::{DataDirectory, Volume};
use storage::producers::Active;
use storage::{LogId, Slot};

use super::by_shard::ByShard;
use super::mail::{Answer, Ask};
use super::partition_requests::Front;
use super::partitions::PartOf;
use super::pending::Key;
use super::timers::Timer;
use super::{Request, Shard};
use crate::error_code::ErrorCode;

/// The offset that stands for the high watermark in DeleteRecords (KIP-107).
const HIGH_WATERMARK: i64 = -1;

/// What to do for one part of a request.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// The part of the asking request.
    pub part: u32,
    /// The partition's log.
    pub log: LogId,
    /// What to do.
    pub deed: Deed,
}

/// What the owner of a partition is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Delete the records before this offset; -1 is the high watermark.
    DeleteBefore(i64),
    /// List the idempotent producers.
    Producers,
    /// Say how many bytes its batches have.
    Size,
}

/// What the owner of a partition answers to a [`Deed`].
#[derive(Debug, Clone)]
pub enum Fact {
    /// The log start offset, durable.
    LowWatermark(i64),
    /// The producers by ascending id.
    Producers(Vec<Active>),
    /// Bytes of the partition's batches.
    Size(u64),
}

/// A part's answer.
#[derive(Debug, Clone)]
pub struct Told {
    /// The part of the asking request.
    pub part: u32,
    /// The fact, or why there is none.
    pub fact: Result<Fact, ErrorCode>,
}

/// A partition to ask, or why it cannot be asked.
pub(super) type Wanted = Result<(usize, LogId, Deed), ErrorCode>;

/// A request whose parts the owners of partitions answer: a client's own, or the share that another shard asked.
#[derive(Debug)]
pub(crate) struct PartitionRequest {
    asker: Asker,
    /// How many parts are missing, and one more until all were asked.
    waiting: usize,
    told: Vec<Told>,
    /// By data directory.
    volumes: Vec<Option<Volume>>,
}

#[derive(Debug)]
enum Asker {
    Client(Front),
    Shard { shard: usize, request: Key },
}

/// Log start offsets that were raised and are not durable yet, with who waits for that, and until which offset.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    starts: BTreeMap<Slot, Vec<(i64, PartOf)>>,
    /// Requests that wait for file systems to be measured, by data directory.
    volumes: BTreeMap<DataDirectory, Vec<Key>>,
}

impl Shard {
    /// Asks the owners of partitions for a client, and measures the file system if `measure` says so. What has not been
    /// answered after `wait_ms` has timed out.
    pub(super) fn ask_partitions(&mut self, front: Front, wanted: Vec<Wanted>, measure: bool, wait_ms: u64) {
        let key = self.begin_partition_request(Asker::Client(front), wanted.len());
        let mut remote = ByShard::default();
        for (part, wanted) in (0..).zip(wanted) {
            match wanted {
                Err(error) => self.partition_told(key, Told { part, fact: Err(error) }),
                Ok((shard, log, deed)) if shard == self.id => {
                    self.ask_own_partition(key, part, Item { part, log, deed })
                }
                Ok((shard, log, deed)) => remote.push(shard, Item { part, log, deed }),
            }
        }
        for (shard, items) in remote {
            self.ask(shard, key, Ask::Partitions(items));
        }
        if measure {
            self.measure_for(key);
        }
        self.partition_settled(key);
        if self.partition_request(key).is_some() {
            let deadline_ns = self.now.monotonic_ns.saturating_add(wait_ms.saturating_mul(1_000_000));
            self.timers.arm(deadline_ns, Timer::PartitionRequest(key));
        }
    }

    /// Answers another shard about partitions of this one.
    pub(super) fn partitions_for_peer(&mut self, shard: usize, request: Key, items: Vec<Item>) {
        let key = self.begin_partition_request(Asker::Shard { shard, request }, items.len());
        for (index, item) in (0..).zip(items) {
            self.ask_own_partition(key, index, item);
        }
        self.partition_settled(key);
    }

    /// Another shard has answered for its partitions.
    pub(super) fn peer_told(&mut self, key: Key, answers: Vec<Told>) {
        for told in answers {
            self.partition_told(key, told);
        }
    }

    fn begin_partition_request(&mut self, asker: Asker, parts: usize) -> Key {
        let told = (0..parts).map(|part| Told { part: part as u32, fact: Err(ErrorCode::RequestTimedOut) }).collect();
        let volumes = vec![None; self.stores.directories()];
        let request = PartitionRequest { asker, waiting: parts + 1, told, volumes };
        self.requests.insert(Request::Partitions(Box::new(request)))
    }

    fn partition_request(&mut self, key: Key) -> Option<&mut PartitionRequest> {
        match self.requests.get_mut(key)? {
            Request::Partitions(request) => Some(request),
            _ => None,
        }
    }

    /// Part `index` of the request of this shard's table; its answer carries the part of whoever asked.
    fn ask_own_partition(&mut self, request: Key, index: u32, item: Item) {
        if let Some(fact) = self.do_deed(PartOf { request, index }, item.log, item.deed) {
            self.set_told(request, index, Told { part: item.part, fact });
        } else if let Some(waiting) = self.partition_request(request) {
            waiting.told[index as usize].part = item.part;
        }
    }

    fn partition_told(&mut self, key: Key, told: Told) {
        self.set_told(key, told.part, told);
    }

    fn set_told(&mut self, key: Key, index: u32, told: Told) {
        let Some(request) = self.partition_request(key) else { return };
        request.told[index as usize] = told;
        self.partition_settled(key);
    }

    /// One of the things that a request waits for has happened.
    fn partition_settled(&mut self, key: Key) {
        let Some(request) = self.partition_request(key) else { return };
        request.waiting -= 1;
        if request.waiting == 0 {
            self.finish_partition_request(key);
        }
    }

    fn finish_partition_request(&mut self, key: Key) {
        let Some(Request::Partitions(request)) = self.requests.remove(key) else { return };
        let PartitionRequest { asker, told, volumes, .. } = *request;
        match asker {
            Asker::Shard { shard, request } => self.answer_peer(shard, request, Answer::Partitions(told)),
            Asker::Client(front) => self.answer_front(front, told.into_iter().map(|told| told.fact), &volumes),
        }
    }

    /// A client has waited long enough; what is missing has timed out.
    pub(super) fn partition_request_due(&mut self, key: Key) {
        self.finish_partition_request(key);
    }

    /// Nothing comes back where the answer has to wait.
    fn do_deed(&mut self, part_of: PartOf, log: LogId, deed: Deed) -> Option<Result<Fact, ErrorCode>> {
        let Some(partition) = self.partitions.get_mut(log) else {
            return Some(Err(self.partitions.absence(log)));
        };
        let (slot, high_watermark) = (partition.slot, partition.replica.high_watermark());
        match deed {
            Deed::DeleteBefore(offset) => self.delete_before(part_of, slot, high_watermark, offset),
            Deed::Producers => Some(Ok(Fact::Producers(self.stores[slot].active_producers(slot).collect()))),
            Deed::Size => Some(Ok(Fact::Size(self.stores[slot].size_bytes(slot)))),
        }
    }

    fn delete_before(
        &mut self,
        part_of: PartOf,
        slot: Slot,
        high_watermark: i64,
        offset: i64,
    ) -> Option<Result<Fact, ErrorCode>> {
        let offset = if offset == HIGH_WATERMARK { high_watermark } else { offset };
        if !(0..=high_watermark).contains(&offset) {
            return Some(Err(ErrorCode::OffsetOutOfRange));
        }
        if offset > self.stores[slot].start_offset(slot) {
            self.stores[slot].set_start(slot, offset, self.now.storage());
            self.start_moved(slot);
        }
        let start = self.stores[slot].start_offset(slot);
        match self.unsettled.starts.get_mut(&slot) {
            Some(waiting) => {
                waiting.push((start, part_of));
                None
            }
            None => Some(Ok(Fact::LowWatermark(start))),
        }
    }

    /// A log start offset was raised; that it is durable will be told.
    pub(super) fn start_moved(&mut self, slot: Slot) {
        self.unsettled.starts.entry(slot).or_default();
    }

    /// A raised log start offset is durable.
    pub(super) fn start_durable(&mut self, slot: Slot, start_offset: i64) {
        let Some(waiting) = self.unsettled.starts.get_mut(&slot) else { return };
        let released: Vec<_> = waiting.extract_if(.., |(start, _)| *start <= start_offset).collect();
        if start_offset >= self.stores[slot].start_offset(slot) {
            self.unsettled.starts.remove(&slot);
        }
        for (start, part_of) in released {
            self.start_settled(part_of, Ok(Fact::LowWatermark(start)));
        }
    }

    /// The log in `slot` is deleted or lost, and nothing of it will be durable any more.
    pub(super) fn abandon_start(&mut self, slot: Slot, error: ErrorCode) {
        for (_, part_of) in self.unsettled.starts.remove(&slot).unwrap_or_default() {
            self.start_settled(part_of, Err(error));
        }
    }

    fn start_settled(&mut self, part_of: PartOf, fact: Result<Fact, ErrorCode>) {
        let PartOf { request, index } = part_of;
        let Some(waiting) = self.partition_request(request) else { return };
        let part = waiting.told[index as usize].part;
        self.set_told(request, index, Told { part, fact });
    }

    fn measure_for(&mut self, key: Key) {
        let online: Vec<DataDirectory> =
            self.directories.iter().filter(|(_, it)| it.is_online()).map(|(directory, _)| directory).collect();
        if let Some(request) = self.partition_request(key) {
            request.waiting += online.len();
        }
        for directory in online {
            let waiting = self.unsettled.volumes.entry(directory).or_default();
            if waiting.is_empty() {
                self.stores.at_mut(directory).expect("a directory that is online has a store").measure_volume();
            }
            waiting.push(key);
        }
    }

    /// A directory's file system was measured, or will not be.
    pub(super) fn volume_measured(&mut self, directory: DataDirectory, volume: Option<Volume>) {
        self.directories.measured(directory, volume);
        self.follow_directories();
        for key in self.unsettled.volumes.remove(&directory).unwrap_or_default() {
            if let Some(request) = self.partition_request(key) {
                request.volumes[directory.index()] = volume;
                self.partition_settled(key);
            }
        }
    }
}
