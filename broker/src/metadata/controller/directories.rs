//! Which data directory a new partition gets.

use std::cmp::Reverse;

use net::Uuid;

use super::{Controller, apply};
use crate::metadata::image::Image;
use crate::metadata::record::Record;

/// A data directory that can have new partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its id; zero is the one that has the metadata.
    pub id: Uuid,
    /// The room on its file system, in bytes, as far as it is known.
    pub usable_bytes: Option<u64>,
}

impl Controller {
    /// The data directories that new partitions may be placed in, from now on. Without any, they go where the metadata is.
    pub fn set_directories(&mut self, candidates: Vec<Candidate>) {
        self.directories = candidates;
    }

    /// Places a topic's partitions from index `first` on, and applies that to the image. Nothing is recorded of those
    /// that lie where the metadata is.
    pub(super) fn place_in_directories(&self, image: &mut Image, topic_id: Uuid, first: usize) -> Option<Record> {
        if matches!(self.directories[..], [] | [Candidate { id: Uuid::ZERO, .. }]) {
            return None;
        }
        let count = image.topic_by_id(topic_id).expect("its partitions were just created").partitions.len();
        let mut loads: Vec<usize> = self.directories.iter().map(|it| image.directory_load(it.id)).collect();
        let first_load = self.directories.iter().position(|it| it.id == Uuid::ZERO);
        if let Some(first_load) = first_load {
            // They count as lying there until they are placed.
            loads[first_load] -= count - first;
        }
        let mut directories = Vec::new();
        for index in first..count {
            let at = choose(&self.directories, &loads);
            loads[at] += 1;
            if self.directories[at].id != Uuid::ZERO {
                let index = i32::try_from(index).expect("partitions are counted in 31 bits");
                directories.push((index, self.directories[at].id));
            }
        }
        if directories.is_empty() {
            return None;
        }
        let record = Record::DirectoriesAssigned { topic_id, directories };
        apply(image, &record);
        Some(record)
    }
}

/// The directory with the most room for each partition it would have; of equal ones that with the fewest partitions,
/// then the first. What was not measured is taken to have as much room as the roomiest.
fn choose(candidates: &[Candidate], loads: &[usize]) -> usize {
    let roomiest = candidates.iter().filter_map(|it| it.usable_bytes).max().unwrap_or(0);
    let rank = |at: &usize| {
        let room = candidates[*at].usable_bytes.unwrap_or(roomiest) / (loads[*at] as u64 + 1);
        (room, Reverse(loads[*at]), Reverse(*at))
    };
    (0..candidates.len()).max_by_key(rank).expect("there is a candidate")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::controller::{NewPartitions, Target};
    use crate::metadata::create::NewTopic;
    use crate::metadata::tests::started;

    fn spread(usable: &[Option<u64>], count: usize) -> Vec<usize> {
        let candidate =
            |(at, &usable_bytes): (usize, &Option<u64>)| Candidate { id: Uuid([at as u8; 16]), usable_bytes };
        let candidates: Vec<_> = usable.iter().enumerate().map(candidate).collect();
        let mut loads = vec![0; usable.len()];
        for _ in 0..count {
            let at = choose(&candidates, &loads);
            loads[at] += 1;
        }
        loads
    }

    #[test]
    fn new_partitions_are_recorded_with_their_directories_and_counted_there() {
        let other = Uuid([2; 16]);
        let mut controller = started(&[]);
        let candidate = |id| Candidate { id, usable_bytes: Some(1 << 30) };
        controller.set_directories(vec![candidate(Uuid::ZERO), candidate(other)]);
        let topic = NewTopic { partitions: 3, ..NewTopic::with_defaults("spread") };
        let created = controller.create_topics(&[topic], false, 0).change.expect("created");
        let more = NewPartitions { topic: "spread", count: 5, assignments: None };
        let grown = controller.create_partitions(&[more], false).change.expect("grown");
        let image = &grown.image;
        let directories: Vec<Uuid> =
            image.topic("spread").expect("there").partitions.iter().map(|partition| partition.directory).collect();
        assert_eq!(directories, [Uuid::ZERO, other, Uuid::ZERO, other, Uuid::ZERO]);
        assert_eq!((image.directory_load(Uuid::ZERO), image.directory_load(other)), (3, 2));

        let mut replayed = Image::clone(started(&[]).newest());
        for change in [&created, &grown] {
            assert_eq!(change.base_offset(), replayed.next_offset());
            change.encode().iter().for_each(|value| replayed.replay(value).expect("what was accepted"));
        }
        assert_eq!(replayed.directory_loads().collect::<Vec<_>>(), [(Uuid::ZERO, 3), (other, 2)]);
        let deleted = controller.delete_topics(&[Target::Name("spread")]).change.expect("deleted");
        assert_eq!(deleted.image.directory_loads().count(), 0);
    }

    #[test]
    fn with_one_directory_nothing_is_recorded() {
        let mut controller = started(&[]);
        controller.set_directories(vec![Candidate { id: Uuid::ZERO, usable_bytes: None }]);
        let change = controller.create_topics(&[NewTopic::with_defaults("plain")], false, 0).change.expect("created");
        assert_eq!(change.records.len(), 1);
    }

    #[test]
    fn partitions_are_spread_by_room_and_count() {
        assert_eq!(spread(&[Some(1 << 40), Some(1 << 40)], 10), [5, 5]);
        assert_eq!(spread(&[Some(1 << 40), Some(3 << 40)], 8), [2, 6]);
        assert_eq!(spread(&[Some(0), Some(1 << 40), Some(0)], 6), [0, 6, 0], "a full disk gets none");
        assert_eq!(spread(&[Some(0), Some(0)], 4), [2, 2], "all are full");
        assert_eq!(spread(&[None, None, None], 6), [2, 2, 2], "nothing is known");
        assert_eq!(spread(&[None, Some(1 << 40)], 6), [3, 3]);
    }
}
