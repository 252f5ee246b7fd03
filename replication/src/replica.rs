//! One partition's replica as its leader sees it: the in-sync set, the high watermark, and who waits for it.
//!
//! ```text
//!  log start        high watermark            log end
//!      |  committed        |  appended, some durable |
//!      |  readable         |  invisible to consumers |
//!  ----+-------------------+-------------------------+--->
//! ```
//!
//! Invariants:
//! - the high watermark is the least durable end of all in-sync members, and never moves back;
//! - it never exceeds what this node itself has durable;
//! - a commit waiter is released exactly when the high watermark reaches the end offset it waits for;
//! - the in-sync set is never empty: the leader is always a member.
//!
//! On a single node the set has one member. Followers on other nodes are further members, told by
//! [`Replica::member_durable`] in the same way.

use std::collections::VecDeque;

use smallvec::SmallVec;

/// A node's number.
pub type NodeId = i32;

/// One member of the in-sync set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    node: NodeId,
    /// The offset after the last record that is on this member's device.
    durable_end: i64,
}

/// A waiter and the end offset that releases it.
#[derive(Debug)]
struct Commit<C> {
    end_offset: i64,
    waiter: C,
}

/// The leader's view of one partition. `C` waits for a commit (an acknowledgement that is owed), `W` for any
/// advance of the high watermark (a parked fetch). Owned by the shard that the partition is placed on.
#[derive(Debug)]
pub struct Replica<C, W> {
    leader_epoch: i32,
    high_watermark: i64,
    in_sync: SmallVec<[Member; 1]>,
    /// Ascending by end offset.
    commits: VecDeque<Commit<C>>,
    watchers: Vec<W>,
}

impl<C, W> Replica<C, W> {
    /// A leader alone in its in-sync set, whose log is durable up to `durable_end`.
    #[must_use]
    pub fn new(node: NodeId, leader_epoch: i32, durable_end: i64) -> Self {
        assert!(durable_end >= 0, "offsets count from 0");
        let in_sync = SmallVec::from([Member { node, durable_end }]);
        Self { leader_epoch, high_watermark: durable_end, in_sync, commits: VecDeque::new(), watchers: Vec::new() }
    }

    /// The epoch of this leadership; grows with every change of leader.
    #[must_use]
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// Leads from this epoch on.
    ///
    /// # Panics
    /// If the epoch is older than the one it leads in.
    pub fn lead(&mut self, leader_epoch: i32) {
        assert!(leader_epoch >= self.leader_epoch, "leader epochs only grow");
        self.leader_epoch = leader_epoch;
    }

    /// The offset after the last committed record.
    #[must_use]
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// How many members are in sync, the leader included.
    #[must_use]
    pub fn in_sync_count(&self) -> usize {
        self.in_sync.len()
    }

    /// Records that `node` has everything before `durable_end` on its device. Says whether the high watermark moved;
    /// then [`Replica::next_committed`] and [`Replica::take_watchers`] have to be emptied.
    ///
    /// # Panics
    /// If the node is not in the in-sync set, or its durable end moves back.
    pub fn member_durable(&mut self, node: NodeId, durable_end: i64) -> bool {
        let member = self.in_sync.iter_mut().find(|member| member.node == node);
        let member = member.expect("only members of the in-sync set report what is durable");
        assert!(durable_end >= member.durable_end, "what is durable stays durable");
        member.durable_end = durable_end;
        let committed = self.in_sync.iter().map(|member| member.durable_end).min().expect("never empty");
        assert!(committed >= self.high_watermark, "the high watermark never moves back");
        let advanced = committed > self.high_watermark;
        self.high_watermark = committed;
        advanced
    }

    /// Keeps `waiter` until everything before `end_offset` is committed; hands it back if that is so already.
    ///
    /// # Errors
    /// The waiter itself, when there is nothing to wait for.
    pub fn await_commit(&mut self, end_offset: i64, waiter: C) -> Result<(), C> {
        if end_offset <= self.high_watermark {
            return Err(waiter);
        }
        // Nearly always at the back; a duplicate of an older batch waits for that batch.
        let position = self.commits.partition_point(|commit| commit.end_offset <= end_offset);
        self.commits.insert(position, Commit { end_offset, waiter });
        Ok(())
    }

    /// The next waiter whose records are committed, in offset order.
    pub fn next_committed(&mut self) -> Option<C> {
        let front = self.commits.front()?;
        (front.end_offset <= self.high_watermark).then(|| self.commits.pop_front().expect("seen above").waiter)
    }

    /// Removes and returns every commit waiter: the leadership ended, or the partition is being deleted.
    pub fn abandon_commits(&mut self) -> impl Iterator<Item = C> + use<C, W> {
        std::mem::take(&mut self.commits).into_iter().map(|commit| commit.waiter)
    }

    /// Keeps `watcher` until the high watermark moves.
    pub fn watch(&mut self, watcher: W) {
        self.watchers.push(watcher);
    }

    /// Forgets the watchers for which `is_it` holds: a parked fetch was answered otherwise.
    pub fn unwatch(&mut self, mut is_it: impl FnMut(&W) -> bool) {
        self.watchers.retain(|watcher| !is_it(watcher));
    }

    /// Moves every watcher to `into`, keeping both allocations.
    pub fn take_watchers(&mut self, into: &mut Vec<W>) {
        into.append(&mut self.watchers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_waiter_is_released_when_its_records_are_durable_and_not_before() {
        let mut replica: Replica<&str, ()> = Replica::new(1, 0, 10);
        replica.await_commit(12, "second").expect("waits");
        replica.await_commit(11, "first").expect("waits");
        assert!(replica.member_durable(1, 11));
        assert_eq!(replica.next_committed(), Some("first"));
        assert_eq!(replica.next_committed(), None);
        assert!(replica.member_durable(1, 12));
        assert_eq!(replica.next_committed(), Some("second"));
    }

    #[test]
    fn what_is_committed_already_is_not_waited_for() {
        let mut replica: Replica<u8, ()> = Replica::new(1, 0, 10);
        assert_eq!(replica.await_commit(10, 7), Err(7));
    }

    #[test]
    fn watchers_are_handed_over_once() {
        let mut replica: Replica<(), u8> = Replica::new(1, 3, 0);
        replica.watch(1);
        replica.watch(2);
        replica.unwatch(|&watcher| watcher == 1);
        let mut woken = Vec::new();
        replica.take_watchers(&mut woken);
        assert_eq!(woken, [2]);
        replica.take_watchers(&mut woken);
        assert_eq!(woken, [2]);
    }

    #[test]
    #[should_panic(expected = "stays durable")]
    fn durability_never_moves_back() {
        let mut replica: Replica<(), ()> = Replica::new(1, 0, 10);
        replica.member_durable(1, 9);
    }

    #[test]
    fn abandoned_commits_come_back_in_order() {
        let mut replica: Replica<u8, ()> = Replica::new(1, 0, 0);
        replica.await_commit(2, 2).expect("waits");
        replica.await_commit(1, 1).expect("waits");
        assert_eq!(replica.abandon_commits().collect::<Vec<_>>(), [1, 2]);
    }
}
