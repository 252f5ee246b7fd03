//! What a coordinator wants done, and the appends it waits for.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::message::{CommitReply, DeleteOffsetsReply, FetchRequest, Protocol};
use super::offsets::Committed;
use super::records::Record;
use super::{Reply, Token};

/// The most records in one append: what one removal of offsets may come to is split by it.
pub const APPEND_RECORDS_MAX: usize = 1_000;

/// The most appends of one coordinator under way. Above it, what would need another is answered with
/// [`super::Outcome::LoadInProgress`], which clients try again.
pub const APPENDS_MAX: usize = 4_096;

/// Names an append of one coordinator; rises by one with each. Where it starts is drawn from the coordinator's seed, so
/// that what is told about an earlier coordinator's appends is not taken for its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

/// Records that the coordinator wants to have in its partition, in one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// To be told about with [`super::Coordinator::appended`] or [`super::Coordinator::append_failed`].
    pub id: AppendId,
    /// At least one.
    pub records: Vec<Record>,
}

/// Why records could not be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendFailure {
    /// The partition takes no appends now: no room, or too few in-sync replicas.
    Unavailable,
    /// The partition is led elsewhere.
    NotLeader,
    /// The records are larger than the partition accepts.
    TooLarge,
}

/// What one call to a coordinator brought about. The caller empties it after each.
#[derive(Debug, Default)]
pub struct Effects {
    /// Replies, each to a request that waited; in the order in which they were decided.
    pub replies: Vec<(Token, Reply)>,
    /// Appends to the coordinator's partition, to be made in this order.
    pub appends: Vec<Append>,
}

/// What follows once an append is durable, or has failed.
#[derive(Debug)]
pub(super) enum Then {
    /// A group exists that did not before; without the record it does not.
    Created(Arc<str>),
    /// The group is stable, with these assignments, if this SyncGroup of its leader still waits.
    Assigned { group: Arc<str>, leader: Arc<str>, token: Token, assignments: BTreeMap<Arc<str>, Bytes> },
    /// The last generation ended; if the record is lost, the one before it comes back and times out.
    Emptied,
    /// A static member came back under another id, without a rebalance.
    Replaced(Box<Replacement>),
    /// The offsets are committed.
    Committed { token: Token, reply: CommitReply, group: Arc<str>, offsets: Vec<(Arc<str>, i32, Committed)> },
    /// These offsets are gone, and with the last of its records the group itself, if asked for.
    Removed {
        offsets: Vec<(Arc<str>, Arc<str>, i32)>,
        groups: Vec<Removal>,
        /// Who asked for the removal of offsets, if these were the last.
        reply: Option<(Token, DeleteOffsetsReply)>,
    },
}

/// A group that is gone once its tombstone is durable.
#[derive(Debug)]
pub(super) struct Removal {
    pub(super) group: Arc<str>,
    /// Who asked for it, unless it expired.
    pub(super) token: Option<Token>,
}

/// What a static member was, to take it back if the record of its new id is lost.
#[derive(Debug)]
pub(super) struct Replacement {
    pub(super) group: Arc<str>,
    pub(super) generation: i32,
    pub(super) token: Token,
    pub(super) old_id: Arc<str>,
    pub(super) new_id: Arc<str>,
    pub(super) old_protocols: Vec<Protocol>,
    pub(super) old_rebalance_timeout_ms: i32,
    pub(super) old_session_timeout_ms: i32,
    /// The leader when the member came back: what members are told that cannot skip the assignment.
    pub(super) leader: Arc<str>,
    pub(super) may_skip_assignment: bool,
}

/// One append under way.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) then: Then,
    /// Reads that wait for it, for they want no offset that may still change.
    pub(super) reads: Vec<(Token, FetchRequest)>,
}

/// The appends under way, oldest first.
#[derive(Debug)]
pub(super) struct Appends {
    pub(super) under_way: BTreeMap<AppendId, UnderWay>,
    next: u64,
    /// For each group whose offsets some of them change: how many, and the last.
    pub(super) commits: BTreeMap<Arc<str>, (usize, AppendId)>,
}

impl Appends {
    /// None under way; the first will have the number `first` or one a little above.
    pub(super) fn new(first: u64) -> Appends {
        Appends { under_way: BTreeMap::new(), next: first >> 1, commits: BTreeMap::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.under_way.len() >= APPENDS_MAX
    }

    /// Begins an append.
    pub(super) fn begin(&mut self, records: Vec<Record>, then: Then, effects: &mut Effects) {
        assert!(!records.is_empty(), "an append holds records");
        let id = AppendId(self.next);
        self.next += 1;
        if let Then::Committed { group, .. } = &then {
            let entry = self.commits.entry(group.clone()).or_insert((0, id));
            *entry = (entry.0 + 1, id);
        }
        self.under_way.insert(id, UnderWay { then, reads: Vec::new() });
        effects.appends.push(Append { id, records });
    }

    /// Ends an append, whichever way it went; `None` if it is none of those under way.
    pub(super) fn end(&mut self, id: AppendId) -> Option<UnderWay> {
        let ended = self.under_way.remove(&id)?;
        if let Then::Committed { group, .. } = &ended.then {
            let entry = self.commits.get_mut(group).expect("counted when it began");
            entry.0 -= 1;
            if entry.0 == 0 {
                self.commits.remove(group);
            }
        }
        Some(ended)
    }
}
