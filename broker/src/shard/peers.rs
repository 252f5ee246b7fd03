//! The other shards: asking them, answering them, and the credits that bound what is under way.

use std::collections::VecDeque;

use net::ApiKey;
use replication::mailbox::Credits;
use rustc_hash::FxHashSet;

use super::mail::{Answer, Ask, Mail, Notice, WATCHES_MAX};
use super::pending::Key;
use super::{Request, Shard};

/// JoinGroup and SyncGroup requests that one shard may have under way at another. They may wait for the group's other
/// members as long as a rebalance takes, and nothing else may wait for them, least of all those members: so they take no
/// credit, and an answer that finds the mailbox full waits in the outbox.
const JOINS_MAX: usize = 65_536;

/// What this shard has under way at another one.
#[derive(Debug)]
pub(crate) struct Peer {
    asks: Credits,
    /// Asks that wait for a credit. Bounded by the connections' budgets: each request has at most one here.
    waiting: VecDeque<(Key, Ask)>,
    watches: usize,
    /// Watches that wait for room; bounded likewise.
    waiting_watches: VecDeque<(Key, Ask)>,
    /// JoinGroup and SyncGroup requests under way.
    joins: FxHashSet<Key>,
    /// Those that wait for room; bounded likewise.
    waiting_joins: VecDeque<(Key, Ask)>,
}

impl Peer {
    pub(crate) fn new() -> Self {
        Self {
            asks: Credits::new(),
            waiting: VecDeque::new(),
            watches: 0,
            waiting_watches: VecDeque::new(),
            joins: FxHashSet::default(),
            waiting_joins: VecDeque::new(),
        }
    }

    /// Whether this may be asked now; counts it if so.
    fn admits(&mut self, request: Key, lane: Lane) -> bool {
        match lane {
            Lane::Asks => self.asks.try_take(),
            Lane::Watches => {
                let has_room = self.watches < WATCHES_MAX;
                self.watches += usize::from(has_room);
                has_room
            }
            Lane::Joins => self.joins.len() < JOINS_MAX && self.joins.insert(request),
        }
    }

    /// What waits for others of its kind to be answered.
    fn waiting(&mut self, lane: Lane) -> &mut VecDeque<(Key, Ask)> {
        match lane {
            Lane::Asks => &mut self.waiting,
            Lane::Watches => &mut self.waiting_watches,
            Lane::Joins => &mut self.waiting_joins,
        }
    }

    /// Takes an answer off the count of its kind.
    fn answered(&mut self, request: Key, answer: &Answer) -> Lane {
        if matches!(answer, Answer::Woken) {
            self.watches -= 1;
            Lane::Watches
        } else if self.joins.remove(&request) {
            Lane::Joins
        } else {
            self.asks.give_back();
            Lane::Asks
        }
    }
}

/// What bounds an ask: what is answered at once is not to wait for what is answered at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Asks,
    Watches,
    Joins,
}

impl Lane {
    fn of(ask: &Ask) -> Self {
        match ask {
            Ask::Watch(_) => Self::Watches,
            Ask::Handle(forwarded) if matches!(forwarded.key, ApiKey::JoinGroup | ApiKey::SyncGroup) => Self::Joins,
            _ => Self::Asks,
        }
    }
}

impl Shard {
    /// Asks another shard, as soon as there is a credit for it.
    pub(super) fn ask(&mut self, shard: usize, request: Key, ask: Ask) {
        assert_ne!(shard, self.id, "a shard does not ask itself");
        let (peer, lane) = (&mut self.peers[shard], Lane::of(&ask));
        if peer.admits(request, lane) {
            self.send(shard, Mail::Ask { request, ask });
        } else {
            peer.waiting(lane).push_back((request, ask));
        }
    }

    /// Gives another shard the answer it has reserved a slot for.
    pub(super) fn answer_peer(&mut self, shard: usize, request: Key, answer: Answer) {
        self.send(shard, Mail::Answer { request, answer });
    }

    /// Puts mail in the outbox.
    pub(super) fn send(&mut self, shard: usize, mail: Mail) {
        self.outbox.push((shard, mail));
    }

    /// Tells every other shard.
    pub(super) fn notify_peers(&mut self, notice: impl Fn() -> Notice) {
        for shard in (0..self.peers.len()).filter(|&shard| shard != self.id) {
            self.outbox.push((shard, Mail::Notice(notice())));
        }
    }

    /// Handles one message of another shard.
    pub(super) fn receive_mail(&mut self, from: usize, mail: Mail) {
        match mail {
            Mail::Ask { request, ask } => self.asked(from, request, ask),
            Mail::Answer { request, answer } => {
                self.release_credit(from, request, &answer);
                self.answered(request, answer);
            }
            Mail::Notice(notice) => self.noticed(from, notice),
            Mail::Inquiry(inquiry) => self.inquired(inquiry),
            Mail::PushRead { request, is_readable } => self.push_read(request, is_readable),
            Mail::Told(_) | Mail::Push { .. } => unreachable!("shards tell the admin thread only"),
        }
    }

    fn asked(&mut self, from: usize, request: Key, ask: Ask) {
        match ask {
            Ask::Append { items, acks } => self.append_for_peer(from, request, items, acks),
            Ask::Read(items) => self.read_for_peer(from, request, items),
            Ask::Query(items) => self.query_for_peer(from, request, items),
            Ask::Lags(items) => self.lags_for_peer(from, request, items),
            Ask::Partitions(items) => self.partitions_for_peer(from, request, items),
            Ask::Handle(forwarded) => self.handle_for_peer(from, request, forwarded),
            Ask::Watch(logs) => self.watch_for_peer(from, request, logs),
        }
    }

    fn answered(&mut self, request: Key, answer: Answer) {
        match answer {
            Answer::Append(answers) => self.peer_appended(request, answers),
            Answer::Read(answers) => self.peer_read(request, answers),
            Answer::Query(answers) => self.peer_queried(request, answers),
            Answer::Lags(answers) => self.lags_answered(request, answers),
            Answer::Partitions(answers) => self.peer_told(request, answers),
            Answer::Handled(body) => self.peer_handled(request, body),
            Answer::Woken => self.peer_woke(request),
        }
    }

    fn noticed(&mut self, from: usize, notice: Notice) {
        match notice {
            Notice::Connection(connection) => self.adopt(connection),
            Notice::Image(image) => {
                let version = image.next_offset();
                self.apply_image(image);
                self.send(from, Mail::Notice(Notice::ImageApplied { version }));
            }
            Notice::ImageApplied { version } => self.image_applied(from, version),
            Notice::Unwatch { request } => self.release_peer_watch(from, request),
            Notice::AutoCreate(wish) => self.auto_create(wish),
            Notice::Room(has_room) => self.peer_room(from, has_room),
            Notice::ConnectionEnded(ip) => self.connection_released(ip),
            Notice::MemoryWanted => self.end_idle_holders(),
            Notice::QuotaUse(report) => self.quotas_heard(&report),
            Notice::DirectoryFailed { directory, reason } => self.take_offline(directory, &reason),
            Notice::Stop => self.begin_stop(),
        }
    }

    /// An answer frees its slot for what waits.
    fn release_credit(&mut self, shard: usize, request: Key, answer: &Answer) {
        let peer = &mut self.peers[shard];
        let lane = peer.answered(request, answer);
        if let Some((request, ask)) = peer.waiting(lane).pop_front() {
            // Its fetch may have been answered while the watch waited for room.
            let wanted = !matches!(ask, Ask::Watch(_)) || self.requests.get_mut(request).is_some();
            if wanted {
                self.ask(shard, request, ask);
            } else {
                self.admit_next_watch(shard);
            }
        }
    }

    fn admit_next_watch(&mut self, shard: usize) {
        while let Some((request, ask)) = self.peers[shard].waiting_watches.pop_front() {
            if matches!(self.requests.get_mut(request), Some(Request::PeerWatch(_))) {
                self.ask(shard, request, ask);
                return;
            }
        }
    }
}
