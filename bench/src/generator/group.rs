//! Members of a consumer group: the broker's coordinator shares the partitions among them before the load, hears from
//! each of them every second while it lasts, and stores how far they have read.
//!
//! ```text
//! member thread:  join ─► sync ─► heartbeat, commit, heartbeat, commit …  ─► leave
//!                                        ▲
//! load thread:    fetch ─ position ──────┘
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::admin::{Admin, Membership};
use crate::error::Error;

/// Between two heartbeats, each with a commit.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// How long members may take until all of them are in one generation.
const JOIN_WAIT: Duration = Duration::from_secs(60);

/// How often a member that waits for the others looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How far each partition has been read: the next offset that is wanted.
pub(super) type Positions = Arc<Vec<AtomicI64>>;

/// A group whose members are all in one generation.
pub(super) struct Group {
    /// The partitions of each member.
    pub(super) shares: Vec<Vec<i32>>,
    stopping: Arc<AtomicBool>,
    members: Vec<JoinHandle<Result<(), Error>>>,
}

/// The generation that each member is in, and its partitions.
type Joined = Arc<Mutex<BTreeMap<u32, (i32, Vec<i32>)>>>;

/// What all members know.
#[derive(Clone)]
struct Plan {
    address: SocketAddr,
    group: String,
    topic: String,
    partitions: i32,
    members: u32,
    positions: Positions,
    joined: Joined,
    stopping: Arc<AtomicBool>,
}

impl Group {
    /// Lets so many members join, and waits until they share the topic's partitions.
    pub(super) fn join(
        address: SocketAddr,
        group: String,
        topic: &str,
        members: u32,
        positions: &Positions,
    ) -> Result<Self, Error> {
        let stopping = Arc::new(AtomicBool::new(false));
        let plan = Plan {
            address,
            group,
            topic: topic.to_owned(),
            partitions: positions.len() as i32,
            members,
            positions: Arc::clone(positions),
            joined: Joined::default(),
            stopping: Arc::clone(&stopping),
        };
        let threads = (0..members).map(|number| {
            let plan = plan.clone();
            std::thread::spawn(move || plan.member(number))
        });
        let mut group = Self { shares: Vec::new(), stopping, members: threads.collect() };
        group.shares = plan.wait_for_all(&group.members)?;
        Ok(group)
    }

    /// Lets all members leave.
    pub(super) fn leave(mut self) -> Result<(), Error> {
        self.stopping.store(true, Ordering::Release);
        self.members.drain(..).try_for_each(|member| member.join().expect("a member does not panic"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
    }
}

impl Plan {
    /// The shares of all members, once they are in one generation that has all partitions.
    fn wait_for_all(&self, members: &[JoinHandle<Result<(), Error>>]) -> Result<Vec<Vec<i32>>, Error> {
        let deadline = Instant::now() + JOIN_WAIT;
        while Instant::now() < deadline && !members.iter().any(JoinHandle::is_finished) {
            let joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
            let first = joined.values().next().map(|(generation, _)| *generation);
            let is_one = joined.values().all(|(generation, _)| Some(*generation) == first);
            let shared: usize = joined.values().map(|(_, partitions)| partitions.len()).sum();
            if joined.len() == self.members as usize && is_one && shared == self.partitions as usize {
                return Ok(joined.values().map(|(_, partitions)| partitions.clone()).collect());
            }
            drop(joined);
            std::thread::sleep(LOOK_EVERY);
        }
        Err(Error::Server { what: format!("did not share the partitions among {} members of a group", self.members) })
    }

    /// One member until it is told to leave.
    fn member(&self, number: u32) -> Result<(), Error> {
        let mut admin = Admin::connect(self.address)?;
        admin.find_coordinator(&self.group)?;
        let mut membership = self.join(&mut admin, number, "")?;
        let mut beat = Instant::now();
        while !self.stopping.load(Ordering::Acquire) {
            std::thread::sleep(LOOK_EVERY);
            let is_whole = self.is_whole(membership.generation);
            if is_whole && beat.elapsed() < BEAT_EVERY {
                continue;
            }
            beat = Instant::now();
            if admin.heartbeat(&self.group, &membership)? {
                membership = self.join(&mut admin, number, &membership.member_id)?;
            } else if is_whole {
                self.commit(&mut admin, &membership)?;
            }
        }
        self.commit(&mut admin, &membership)?;
        admin.leave_group(&self.group, &membership)
    }

    fn join(&self, admin: &mut Admin, number: u32, member_id: &str) -> Result<Membership, Error> {
        let membership = admin.join_group(&self.group, member_id, &self.topic, self.partitions)?;
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        joined.insert(number, (membership.generation, membership.partitions.clone()));
        Ok(membership)
    }

    /// Whether all members are in this generation.
    fn is_whole(&self, generation: i32) -> bool {
        let joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        joined.len() == self.members as usize && joined.values().all(|(theirs, _)| *theirs == generation)
    }

    fn commit(&self, admin: &mut Admin, membership: &Membership) -> Result<(), Error> {
        let position = |partition: i32| self.positions[partition as usize].load(Ordering::Relaxed);
        let offsets: Vec<_> = membership.partitions.iter().map(|&partition| (partition, position(partition))).collect();
        admin.commit_offsets(&self.group, membership, &self.topic, &offsets)
    }
}
