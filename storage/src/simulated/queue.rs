//! Requests in flight: each takes effect and completes at a time drawn from the seed, in any order.

use std::collections::BTreeMap;

use super::{Disk, Owner, Random};
use crate::io::{Completion, Durability, FileId, Op, Request};

/// How long operations take.
#[derive(Debug, Clone)]
pub struct Latency {
    /// The shortest, in nanoseconds.
    pub ns_min: u64,
    /// The longest of the usual ones, in nanoseconds.
    pub ns_max: u64,
    /// How many take up to `slow_ns_max` instead, per million.
    pub slow_per_million: u32,
    /// The longest of all, in nanoseconds.
    pub slow_ns_max: u64,
    /// A sync, or a synced write, takes at least so long, in nanoseconds.
    pub sync_ns_min: u64,
}

impl Latency {
    fn draw(&self, op: &Op, random: &mut Random) -> u64 {
        let longest = if random.chance(self.slow_per_million) { self.slow_ns_max } else { self.ns_max };
        let drawn = random.between(self.ns_min, longest);
        if is_sync(op) { drawn.max(self.sync_ns_min) } else { drawn }
    }
}

fn is_sync(op: &Op) -> bool {
    match op {
        Op::Write { durability, .. } => *durability == Durability::Synced,
        Op::Sync { .. } | Op::SyncAll | Op::SyncDirectory { .. } => true,
        _ => false,
    }
}

/// One shard's requests to a [`Disk`], which is one data directory.
///
/// Also the keeper of `io`'s rule that storage never has two requests in flight whose order matters.
#[derive(Debug)]
pub struct Queue {
    owner: Owner,
    latency: Latency,
    random: Random,
    /// By completion time in nanoseconds, then by number, which makes the key unique.
    in_flight: BTreeMap<(u64, u64), Request>,
    next_number: u64,
}

impl Queue {
    /// An empty queue of the shard `owner`.
    #[must_use]
    pub fn new(owner: Owner, latency: Latency, random: Random) -> Self {
        Self { owner, latency, random, in_flight: BTreeMap::new(), next_number: 0 }
    }

    /// Takes a request at the time `now_ns`.
    ///
    /// # Panics
    /// If its order with a request in flight matters.
    pub fn submit(&mut self, now_ns: u64, request: Request) {
        for other in self.in_flight.values() {
            assert!(!conflict(&request.op, &other.op), "the order matters of {request:?} and {other:?}");
        }
        let at = now_ns + self.latency.draw(&request.op, &mut self.random);
        self.in_flight.insert((at, self.next_number), request);
        self.next_number += 1;
    }

    /// Changes how long operations take from now on.
    pub fn set_latency(&mut self, latency: Latency) {
        self.latency = latency;
    }

    /// When the next request completes.
    #[must_use]
    pub fn next_at_ns(&self) -> Option<u64> {
        self.in_flight.first_key_value().map(|((at, _), _)| *at)
    }

    /// How many requests have not completed.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Carries out the next request that is due at `now_ns`, if there is one.
    pub fn complete(&mut self, now_ns: u64, disk: &mut Disk) -> Option<Completion> {
        let entry = self.in_flight.first_entry().filter(|entry| entry.key().0 <= now_ns)?;
        let Request { directory, token, op } = entry.remove();
        Some(Completion { directory, token, result: disk.execute(self.owner, op) })
    }

    /// The power goes, or the process dies: what is in flight has any part of its effect, in any order, and never
    /// completes. The owner of the disk then calls [`Disk::crash`] or [`Disk::close_all`].
    pub fn abandon(&mut self, disk: &mut Disk) {
        let mut requests: Vec<Request> = std::mem::take(&mut self.in_flight).into_values().collect();
        self.random.shuffle(&mut requests);
        // Files are closed last, for what else is in flight may need them: nothing but an abrupt end does that.
        requests.sort_by_key(|request| matches!(request.op, Op::Close { .. }));
        for request in requests {
            disk.interrupt(self.owner, request.op);
        }
    }
}

/// Whether it matters which of the two takes effect first.
fn conflict(new: &Op, old: &Op) -> bool {
    let both = || file(new).is_some() && file(new) == file(old);
    match (new, old) {
        (Op::Close { .. } | Op::SetLength { .. } | Op::Open { .. }, _)
        | (_, Op::Close { .. } | Op::SetLength { .. } | Op::Open { .. }) => both(),
        (Op::Write { .. }, Op::Write { .. } | Op::Read { .. }) | (Op::Read { .. }, Op::Write { .. }) => {
            both() && extent(new).zip(extent(old)).is_some_and(|(a, b)| a.0 < b.1 && b.0 < a.1)
        }
        _ => false,
    }
}

fn file(op: &Op) -> Option<FileId> {
    match op {
        Op::Open { file, .. }
        | Op::Close { file }
        | Op::Write { file, .. }
        | Op::Read { file, .. }
        | Op::Sync { file }
        | Op::SetLength { file, .. } => Some(*file),
        Op::SyncAll
        | Op::SyncDirectory { .. }
        | Op::CreateDirectory { .. }
        | Op::RemoveFile { .. }
        | Op::RemoveDirectory { .. }
        | Op::Rename { .. }
        | Op::MeasureVolume => None,
    }
}

/// First byte and end of what a read or write touches.
fn extent(op: &Op) -> Option<(u64, u64)> {
    match op {
        Op::Write { position, data, .. } => {
            Some((*position, position + data.iter().map(|slice| slice.len() as u64).sum::<u64>()))
        }
        Op::Read { position, buffer, .. } => Some((*position, position + buffer.len() as u64)),
        _ => None,
    }
}
