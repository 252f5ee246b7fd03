//! Fetch sessions (KIP-227): a consumer names its partitions once, later requests and answers carry what changed.
//!
//! ```text
//! request (id, epoch)   meaning
//! (0, 0)                open a session; the answer is full and carries its id
//! (0, -1)               no session
//! (id, -1)              close the session; the answer is full
//! (id, 0)               close the session and open another
//! (id, n)               the n-th increment; n wraps from the maximum to 1
//! ```
//!
//! Opening is cheap for clients that open a session with every fetch: a connection's session that was never used
//! again is replaced in its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use net::Uuid;

/// How many sessions one node keeps (`max.incremental.fetch.session.cache.slots`); shared out among its shards.
pub const SESSIONS_MAX: usize = 1000;

/// A session may be evicted for another only after this long without use.
pub const EVICTION_IDLE_NS: u64 = 120_000_000_000;

/// How a request names a topic: by name before version 13, by id from then on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicKey {
    /// By name.
    Name(Arc<str>),
    /// By id.
    Id(Uuid),
}

/// What a consumer wants of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The partition's index.
    pub partition: i32,
    /// The leader epoch the consumer believes in; -1 skips the check.
    pub current_leader_epoch: i32,
    /// The first offset it wants.
    pub fetch_offset: i64,
    /// The epoch of the last record it has; -1 if it does not say.
    pub last_fetched_epoch: i32,
    /// The most bytes it wants of this partition.
    pub max_bytes: i32,
}

/// A partition of a session and what its last answer said.
#[derive(Debug, Clone)]
pub struct SessionPartition {
    /// The topic as the consumer names it.
    pub topic: TopicKey,
    /// What it wants.
    pub wanted: Wanted,
    high_watermark: i64,
    log_start_offset: i64,
}

#[derive(Debug)]
struct Session {
    next_epoch: i32,
    by_ids: bool,
    connection: u64,
    used_at_ns: u64,
    used_again: bool,
    partitions: Vec<SessionPartition>,
    positions: BTreeMap<(TopicKey, i32), usize>,
    /// Where the next answer starts, so that no partition starves behind a busy one.
    first: usize,
}

/// How a fetch request relates to the sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Answer in full, with session id 0.
    Sessionless,
    /// Answer in full; the request's partitions make up this session.
    Opened(i32),
    /// Apply the request to this session and answer with what changed.
    Increment(i32),
    /// There is no session of that id.
    NotFound,
    /// The session expects another epoch.
    WrongEpoch,
    /// The session names its topics the other way.
    TopicIdMix,
}

/// A fetch request's session fields and where it came from.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The session id of the request.
    pub id: i32,
    /// The session epoch of the request.
    pub epoch: i32,
    /// Whether the request names topics by id.
    pub by_ids: bool,
    /// Identifies the connection.
    pub connection: u64,
    /// Now, monotonic.
    pub now_ns: u64,
}

/// The sessions of one shard.
#[derive(Debug)]
pub struct Sessions {
    slots: usize,
    sessions: BTreeMap<i32, Session>,
}

impl Sessions {
    /// Room for `slots` sessions.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self { slots, sessions: BTreeMap::new() }
    }

    /// Decides what a request is. `fresh_id` is a random positive number, used if a session is opened.
    pub fn begin(&mut self, asked: Asked, fresh_id: i32) -> Decision {
        match asked.epoch {
            -1 => {
                self.sessions.remove(&asked.id);
                Decision::Sessionless
            }
            0 => {
                self.sessions.remove(&asked.id);
                self.open(asked, fresh_id)
            }
            epoch => self.advance(asked, epoch),
        }
    }

    fn open(&mut self, asked: Asked, fresh_id: i32) -> Decision {
        assert!(fresh_id > 0, "session ids are positive");
        self.sessions.retain(|_, session| session.connection != asked.connection || session.used_again);
        let full = self.sessions.len() >= self.slots;
        if self.sessions.contains_key(&fresh_id) || (full && !self.evict(asked.now_ns)) {
            return Decision::Sessionless;
        }
        let session = Session {
            next_epoch: 1,
            by_ids: asked.by_ids,
            connection: asked.connection,
            used_at_ns: asked.now_ns,
            used_again: false,
            partitions: Vec::new(),
            positions: BTreeMap::new(),
            first: 0,
        };
        self.sessions.insert(fresh_id, session);
        Decision::Opened(fresh_id)
    }

    fn evict(&mut self, now_ns: u64) -> bool {
        let oldest = self.sessions.iter().min_by_key(|(_, session)| session.used_at_ns);
        match oldest {
            Some((&id, session)) if now_ns.saturating_sub(session.used_at_ns) >= EVICTION_IDLE_NS => {
                self.sessions.remove(&id);
                true
            }
            _ => false,
        }
    }

    fn advance(&mut self, asked: Asked, epoch: i32) -> Decision {
        let Some(session) = self.sessions.get_mut(&asked.id) else { return Decision::NotFound };
        if session.next_epoch != epoch {
            return Decision::WrongEpoch;
        }
        if session.by_ids != asked.by_ids {
            return Decision::TopicIdMix;
        }
        session.next_epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        session.used_at_ns = asked.now_ns;
        session.used_again = true;
        Decision::Increment(asked.id)
    }

    /// Adds a partition to a session, or changes what is wanted of it.
    pub fn want(&mut self, id: i32, topic: TopicKey, wanted: Wanted) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let key = (topic, wanted.partition);
        if let Some(&position) = session.positions.get(&key) {
            session.partitions[position].wanted = wanted;
            return;
        }
        let topic = key.0.clone();
        session.positions.insert(key, session.partitions.len());
        session.partitions.push(SessionPartition { topic, wanted, high_watermark: -1, log_start_offset: -1 });
    }

    /// Removes a partition from a session.
    pub fn forget(&mut self, id: i32, topic: TopicKey, partition: i32) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(position) = session.positions.remove(&(topic, partition)) else { return };
        session.partitions.swap_remove(position);
        if let Some(moved) = session.partitions.get(position) {
            session.positions.insert((moved.topic.clone(), moved.wanted.partition), position);
        }
    }

    /// The session's partitions, starting behind the one whose data ended the last answer.
    pub fn partitions(&self, id: i32) -> impl Iterator<Item = &SessionPartition> {
        let session = self.sessions.get(&id);
        let partitions: &[SessionPartition] = session.map_or(&[], |session| &session.partitions);
        let first = session.map_or(0, |session| session.first).min(partitions.len());
        partitions[first..].iter().chain(&partitions[..first])
    }

    /// Records what an answer says of a partition; `has_records` also says that it was served. Says whether that is
    /// news to the consumer.
    pub fn answered(&mut self, id: i32, topic: &TopicKey, partition: i32, state: Answered) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return true };
        let Some(&position) = session.positions.get(&(topic.clone(), partition)) else { return true };
        if state.has_records {
            session.first = position + 1;
        }
        let entry = &mut session.partitions[position];
        let moved = entry.high_watermark != state.high_watermark || entry.log_start_offset != state.log_start_offset;
        // An error is told again each time, as is what follows it.
        entry.high_watermark = if state.failed { -1 } else { state.high_watermark };
        entry.log_start_offset = state.log_start_offset;
        moved || state.has_records || state.failed
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

/// What an answer says of a partition.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// Its high watermark.
    pub high_watermark: i64,
    /// Its log start offset.
    pub log_start_offset: i64,
    /// Whether records come with it.
    pub has_records: bool,
    /// Whether it carries an error, or an epoch that diverges.
    pub failed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(id: i32, epoch: i32, now_ns: u64) -> Asked {
        Asked { id, epoch, by_ids: false, connection: now_ns, now_ns }
    }

    fn wanted(partition: i32) -> Wanted {
        Wanted { partition, current_leader_epoch: -1, fetch_offset: 0, last_fetched_epoch: -1, max_bytes: 1 }
    }

    fn topic() -> TopicKey {
        TopicKey::Name("orders".into())
    }

    const QUIET: Answered = Answered { high_watermark: 5, log_start_offset: 0, has_records: false, failed: false };

    #[test]
    fn increments_count_up_and_wrap_to_one() {
        let mut sessions = Sessions::new(1);
        assert_eq!(sessions.begin(asked(0, 0, 0), 7), Decision::Opened(7));
        assert_eq!(sessions.begin(asked(7, 2, 0), 8), Decision::WrongEpoch);
        assert_eq!(sessions.begin(asked(7, 1, 0), 8), Decision::Increment(7));
        sessions.sessions.get_mut(&7).expect("open").next_epoch = i32::MAX;
        assert_eq!(sessions.begin(asked(7, i32::MAX, 0), 8), Decision::Increment(7));
        assert_eq!(sessions.begin(asked(7, 1, 0), 8), Decision::Increment(7));
    }

    #[test]
    fn a_closed_session_is_not_found() {
        let mut sessions = Sessions::new(1);
        sessions.begin(asked(0, 0, 0), 7);
        assert_eq!(sessions.begin(asked(7, -1, 0), 8), Decision::Sessionless);
        assert_eq!(sessions.begin(asked(7, 1, 0), 8), Decision::NotFound);
    }

    #[test]
    fn a_full_table_serves_without_a_session_until_one_has_been_idle_for_long() {
        let mut sessions = Sessions::new(1);
        assert_eq!(sessions.begin(asked(0, 0, 1), 7), Decision::Opened(7));
        assert_eq!(sessions.begin(asked(0, 0, EVICTION_IDLE_NS), 8), Decision::Sessionless);
        assert_eq!(sessions.begin(asked(0, 0, EVICTION_IDLE_NS + 1), 8), Decision::Opened(8));
        assert_eq!(sessions.begin(asked(7, 1, 0), 9), Decision::NotFound);
    }

    #[test]
    fn a_connection_that_opens_again_and_again_keeps_one_session() {
        let mut sessions = Sessions::new(10);
        for id in 1..=10 {
            assert_eq!(sessions.begin(asked(0, 0, 3), id), Decision::Opened(id));
        }
        assert_eq!(sessions.len(), 1);
    }

    #[test]
    fn an_answer_is_news_only_when_something_changed() {
        let mut sessions = Sessions::new(1);
        sessions.begin(asked(0, 0, 0), 7);
        sessions.want(7, topic(), wanted(0));
        assert!(sessions.answered(7, &topic(), 0, QUIET));
        assert!(!sessions.answered(7, &topic(), 0, QUIET));
        assert!(sessions.answered(7, &topic(), 0, Answered { high_watermark: 6, ..QUIET }));
        assert!(sessions.answered(7, &topic(), 0, Answered { failed: true, ..QUIET }));
        assert!(sessions.answered(7, &topic(), 0, QUIET));
    }

    #[test]
    fn the_partition_after_the_one_served_last_comes_first() {
        let mut sessions = Sessions::new(1);
        sessions.begin(asked(0, 0, 0), 7);
        (0..3).for_each(|partition| sessions.want(7, topic(), wanted(partition)));
        sessions.answered(7, &topic(), 1, Answered { has_records: true, ..QUIET });
        let order: Vec<i32> = sessions.partitions(7).map(|partition| partition.wanted.partition).collect();
        assert_eq!(order, [2, 0, 1]);
    }

    #[test]
    fn a_forgotten_partition_is_gone_and_the_others_stay_reachable() {
        let mut sessions = Sessions::new(1);
        sessions.begin(asked(0, 0, 0), 7);
        (0..3).for_each(|partition| sessions.want(7, topic(), wanted(partition)));
        sessions.forget(7, topic(), 0);
        sessions.want(7, topic(), Wanted { fetch_offset: 9, ..wanted(2) });
        let order: Vec<_> = sessions.partitions(7).map(|p| (p.wanted.partition, p.wanted.fetch_offset)).collect();
        assert_eq!(order, [(2, 9), (1, 0)]);
    }

    #[test]
    fn names_and_ids_do_not_mix_in_one_session() {
        let mut sessions = Sessions::new(1);
        sessions.begin(asked(0, 0, 0), 7);
        assert_eq!(sessions.begin(Asked { by_ids: true, ..asked(7, 1, 0) }, 8), Decision::TopicIdMix);
    }
}
