//! The other shards: asking them, answering them, and the credits that bound what is under way.

use std::collections::VecDeque;

use replication::mailbox::Credits;

use super::mail::{Answer, Ask, Mail, Notice, WATCHES_MAX};
use super::pending::Key;
use super::{Request, Shard};

/// What this shard has under way at another one.
#[derive(Debug)]
pub(crate) struct Peer {
    asks: Credits,
    /// Asks that wait for a credit. Bounded by the connections' budgets: each request has at most one here.
    waiting: VecDeque<(Key, Ask)>,
    watches: usize,
    /// Watches that wait for room; bounded likewise.
    waiting_watches: VecDeque<(Key, Ask)>,
}

impl Peer {
    pub(crate) fn new() -> Self {
        Self { asks: Credits::new(), waiting: VecDeque::new(), watches: 0, waiting_watches: VecDeque::new() }
    }
}

impl Shard {
    /// Asks another shard, as soon as there is a credit for it.
    pub(super) fn ask(&mut self, shard: usize, request: Key, ask: Ask) {
        assert_ne!(shard, self.id, "a shard does not ask itself");
        let peer = &mut self.peers[shard];
        let admitted = if matches!(ask, Ask::Watch(_)) {
            let room = peer.watches < WATCHES_MAX;
            peer.watches += usize::from(room);
            room
        } else {
            peer.asks.try_take()
        };
        if admitted {
            self.send(shard, Mail::Ask { request, ask });
        } else if matches!(ask, Ask::Watch(_)) {
            peer.waiting_watches.push_back((request, ask));
        } else {
            peer.waiting.push_back((request, ask));
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
                self.release_credit(from, &answer);
                self.answered(request, answer);
            }
            Mail::Notice(notice) => self.noticed(from, notice),
            Mail::Inquiry(inquiry) => self.inquired(inquiry),
            Mail::Told(_) => unreachable!("shards tell the admin thread only"),
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
            Notice::AutoCreate(names) => self.auto_create(names),
            Notice::Room(has_room) => self.peer_room(from, has_room),
            Notice::QuotaUse(report) => self.quotas_heard(&report),
            Notice::Stop => self.begin_stop(),
        }
    }

    /// An answer frees its slot for what waits.
    fn release_credit(&mut self, shard: usize, answer: &Answer) {
        let peer = &mut self.peers[shard];
        let next = if matches!(answer, Answer::Woken) {
            peer.watches -= 1;
            peer.waiting_watches.pop_front()
        } else {
            peer.asks.give_back();
            peer.waiting.pop_front()
        };
        if let Some((request, ask)) = next {
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
