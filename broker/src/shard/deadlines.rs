//! When each of several state machines wants to be called next: one entry for each, however often it changes its mind.

use std::collections::{BTreeMap, BTreeSet};

/// The next deadline of each partition's coordinator, in order. Bounded by the coordinators of the shard.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    due: BTreeSet<(u64, i32)>,
    of: BTreeMap<i32, u64>,
}

impl Deadlines {
    /// Replaces a partition's deadline; without one nothing is due for it.
    pub(super) fn set(&mut self, partition: i32, deadline_ms: Option<u64>) {
        let before = match deadline_ms {
            Some(deadline_ms) => self.of.insert(partition, deadline_ms),
            None => self.of.remove(&partition),
        };
        if before == deadline_ms {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, partition));
        }
        if let Some(deadline_ms) = deadline_ms {
            self.due.insert((deadline_ms, partition));
        }
    }

    /// The earliest of all, in milliseconds.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|&(deadline_ms, _)| deadline_ms)
    }

    /// The partitions whose deadlines have come, by deadline. They stay due until they are set anew.
    pub(super) fn due_at(&self, now_ms: u64) -> impl Iterator<Item = i32> {
        self.due.range(..=(now_ms, i32::MAX)).map(|&(_, partition)| partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_order_until_it_is_set_anew() {
        let mut deadlines = Deadlines::default();
        deadlines.set(1, Some(30));
        deadlines.set(2, Some(10));
        deadlines.set(3, Some(20));
        assert_eq!(deadlines.next_ms(), Some(10));
        assert_eq!(deadlines.due_at(9).count(), 0);
        assert_eq!(deadlines.due_at(20).collect::<Vec<_>>(), [2, 3]);
        deadlines.set(2, Some(40));
        deadlines.set(3, None);
        assert_eq!(deadlines.due_at(30).collect::<Vec<_>>(), [1]);
        assert_eq!(deadlines.next_ms(), Some(30));
    }

    /// A shard that arms a further timer with every change ends up doing nothing else.
    #[test]
    fn deadlines_that_change_all_the_time_leave_one_entry_each() {
        let mut deadlines = Deadlines::default();
        for now_ms in 0..1000 {
            let due: Vec<i32> = deadlines.due_at(now_ms).collect();
            for partition in due.into_iter().chain(0..5) {
                deadlines.set(partition, Some(now_ms + 1 + (5 - partition) as u64));
            }
            assert_eq!(deadlines.due.len(), 5);
        }
        (0..5).for_each(|partition| deadlines.set(partition, None));
        assert_eq!(deadlines.next_ms(), None);
    }
}
