//! Waiting for records: fetches that are parked on watermarks, wherever these live, and who wakes them.
//!
//! ```text
//! park ─► watches own partitions, and others' through their shards ─► a watermark moves, or the time is over ─► read again
//!                                                                 └─► the connection ends ─► forgotten
//! ```

use smallvec::SmallVec;
use storage::LogId;

use super::{PeerWatch, Place, Stage};
use crate::shard::by_shard::ByShard;
use crate::shard::mail::{Answer, Ask, Mail, Notice};
use crate::shard::partitions::Watcher;
use crate::shard::pending::Key;
use crate::shard::timers::Timer;
use crate::shard::{Request, Shard};

/// A fetch for which the store was too busy is read again so much later, in nanoseconds.
const BUSY_NS: u64 = 10_000_000;

impl Shard {
    /// Waits for the watermarks. What moved since it was read is read again at once.
    pub(super) fn park(&mut self, key: Key) {
        let Some(Request::Fetch(mut fetch)) = self.requests.take(key) else { return };
        let mut moved = false;
        let mut remote = ByShard::default();
        for part in &fetch.parts {
            let Ok(Place { shard, log }) = part.place else { continue };
            let seen = part.answer.high_watermark;
            if shard != self.id {
                remote.push(shard, (log, seen));
            } else if let Some(partition) = self.partitions.get_mut(log) {
                moved |= partition.replica.high_watermark() > seen;
                partition.replica.watch(Watcher::Fetch(key));
            }
        }
        let mut watches = SmallVec::new();
        for (shard, logs) in remote {
            let watch = self.requests.insert(Request::PeerWatch(PeerWatch { fetch: key }));
            self.ask(shard, watch, Ask::Watch(logs));
            watches.push((shard, watch));
        }
        fetch.stage = Stage::Parked { watches };
        self.connections.note_parked(fetch.responder.connection, key);
        if !fetch.armed {
            fetch.armed = true;
            self.timers.arm(fetch.deadline_ns, Timer::Fetch(key));
        }
        if fetch.parts.iter().any(|part| part.answer.is_busy) {
            self.timers.arm(self.now.monotonic_ns + BUSY_NS, Timer::FetchAgain(key));
        }
        self.requests.put_back(key, Request::Fetch(fetch));
        if moved {
            self.wake(Watcher::Fetch(key));
        }
    }

    /// Somebody who watched a partition is told that its high watermark moved.
    pub(in crate::shard) fn wake(&mut self, watcher: Watcher) {
        match watcher {
            Watcher::Fetch(key) => {
                if self.unpark(key) {
                    self.read_round(key);
                }
            }
            Watcher::Peer { shard, request } => self.release_peer_watch(shard, request),
        }
    }

    /// Takes a fetch out of every queue it waits in. Says whether it was parked.
    fn unpark(&mut self, key: Key) -> bool {
        let Some(Request::Fetch(mut fetch)) = self.requests.take(key) else { return false };
        if !matches!(fetch.stage, Stage::Parked { .. }) {
            // Its reads are under way; they will see that it is due.
            self.requests.put_back(key, Request::Fetch(fetch));
            return false;
        }
        if let Stage::Parked { watches } = std::mem::replace(&mut fetch.stage, Stage::Reading { waiting: 0 }) {
            for part in &fetch.parts {
                let Ok(Place { shard, log }) = part.place else { continue };
                if shard == self.id
                    && let Some(partition) = self.partitions.get_mut(log)
                {
                    partition.replica.unwatch(|watcher| *watcher == Watcher::Fetch(key));
                }
            }
            for (shard, watch) in watches {
                if self.requests.remove(watch).is_some() {
                    self.send(shard, Mail::Notice(Notice::Unwatch { request: watch }));
                }
            }
        }
        self.connections.forget_parked(fetch.responder.connection, key);
        // Having waited for records is no delay.
        fetch.responder.began_ns = self.now.monotonic_ns;
        self.requests.put_back(key, Request::Fetch(fetch));
        true
    }

    /// The connection of a parked fetch has ended: nobody waits for the answer any more.
    pub(in crate::shard) fn abandon_fetch(&mut self, key: Key) {
        if self.unpark(key)
            && let Some(Request::Fetch(fetch)) = self.requests.remove(key)
        {
            self.spare(fetch);
        }
    }

    /// A parked fetch's time is over.
    pub(in crate::shard) fn fetch_due(&mut self, key: Key) {
        if let Some(Request::Fetch(fetch)) = self.requests.get_mut(key) {
            fetch.last_round = true;
            self.wake(Watcher::Fetch(key));
        }
    }

    /// Watches partitions for another shard's parked fetch.
    pub(in crate::shard) fn watch_for_peer(&mut self, shard: usize, request: Key, logs: Vec<(LogId, i64)>) {
        let watcher = Watcher::Peer { shard, request };
        let mut moved = false;
        for &(log, seen) in &logs {
            match self.partitions.get_mut(log) {
                Some(partition) => {
                    moved |= partition.replica.high_watermark() > seen;
                    partition.replica.watch(watcher);
                }
                None => moved = true,
            }
        }
        self.peer_watches.insert((shard, request), logs);
        if moved {
            self.release_peer_watch(shard, request);
        }
    }

    /// Ends another shard's watch, with the one answer it is owed.
    pub(in crate::shard) fn release_peer_watch(&mut self, shard: usize, request: Key) {
        let Some(logs) = self.peer_watches.remove(&(shard, request)) else { return };
        for (log, _) in logs {
            if let Some(partition) = self.partitions.get_mut(log) {
                partition.replica.unwatch(|watcher| *watcher == Watcher::Peer { shard, request });
            }
        }
        self.answer_peer(shard, request, Answer::Woken);
    }

    /// A watch held at another shard has ended.
    pub(in crate::shard) fn peer_woke(&mut self, watch: Key) {
        if let Some(Request::PeerWatch(PeerWatch { fetch })) = self.requests.remove(watch) {
            self.wake(Watcher::Fetch(fetch));
        }
    }
}
