//! Finds out what the rest of a log has of producers whose known batches were all cut, so that what they send again is
//! recognised.
//!
//! ```text
//! segment   │ batch │ batch │ batch │ batch │ cut
//!                   └── window, from an index entry on ──┘
//!           └─ the next window ─┘                           … then the segment before
//! ```

use std::collections::{BTreeMap, VecDeque};

use super::{Behind, Cut, READ_BYTES_MAX, Stage, Truncation};
use crate::batch;
use crate::index::Index;
use crate::io::BLOCK_BYTES;
use crate::log::Slot;
use crate::log::state::Log;
use crate::producers::{BATCHES_PER_PRODUCER, ProducerV1, Producers, SeenBatch, SnapshotV1, sequence_after};
use crate::store::Store;

/// Bytes of a window, about.
const WINDOW_BYTES: u64 = 1 << 20;
/// Reads in a row that bring less than a window before the look back is given up.
const STALLS_MAX: u32 = 3;

/// A batch of a producer, with its epoch.
type Batch = (i16, SeenBatch);

/// What was found of producers, looking back from a log's new end.
#[derive(Debug)]
pub(super) struct Rebuild {
    /// By producer id: its last batches, oldest first, and whether more of them could matter.
    producers: BTreeMap<i64, Past>,
    /// How many could still gain from older batches.
    unfinished: usize,
}

#[derive(Debug, Default)]
struct Past {
    batches: VecDeque<Batch>,
    is_finished: bool,
}

impl Past {
    /// Adds the batch before those that are known, if it continues them.
    fn add(&mut self, (epoch, seen): Batch) {
        if let Some((of, oldest)) = self.batches.front()
            && (*of != epoch || sequence_after(seen.last_sequence, 1) != oldest.first_sequence)
        {
            self.is_finished = true;
            return;
        }
        self.batches.push_front((epoch, seen));
        self.is_finished = self.batches.len() == BATCHES_PER_PRODUCER || seen.first_sequence == 0;
    }
}

impl Rebuild {
    /// Of the producers of which the log would know nothing if it ended at `end_offset`; none if there is no such.
    pub(super) fn new(log: &Log, end_offset: i64) -> Option<Self> {
        let lost = log.producers.lost_at(end_offset);
        let producers: BTreeMap<i64, Past> = lost.map(|id| (id, Past::default())).collect();
        let unfinished = producers.len();
        (unfinished > 0).then_some(Self { producers, unfinished })
    }

    /// Whether older batches change nothing.
    pub(super) fn is_finished(&self) -> bool {
        self.unfinished == 0
    }

    /// Takes whole batches that lie before all that were taken. False if one is damaged.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        let mut of_interest = Vec::new();
        let mut batches = batch::batches(bytes);
        for batch in &mut batches {
            let Ok(batch) = batch else { return false };
            let Some(producer) = batch.producer().filter(|_| !batch.attributes().is_control()) else { continue };
            if self.producers.get(&producer.id).is_none_or(|past| past.is_finished) {
                continue;
            }
            if batch.crc() != batch.computed_crc() {
                return false;
            }
            let Ok(count) = u32::try_from(batch.last_offset() - batch.base_offset()) else { return false };
            let seen = SeenBatch {
                first_sequence: producer.base_sequence,
                last_sequence: sequence_after(producer.base_sequence, count),
                base_offset: batch.base_offset(),
                last_offset: batch.last_offset(),
                timestamp: batch.max_timestamp(),
            };
            of_interest.push((producer.id, (producer.epoch, seen)));
        }
        for (id, batch) in of_interest.into_iter().rev() {
            let past = self.producers.get_mut(&id).expect("looked at above");
            if !past.is_finished {
                past.add(batch);
                self.unfinished -= usize::from(past.is_finished);
            }
        }
        true
    }

    /// What is known of the producers now.
    fn producers(self) -> Producers {
        let found = self.producers.into_iter().filter_map(|(id, past)| {
            let &(epoch, newest) = past.batches.back()?;
            let batches = past.batches.into_iter().map(|(_, seen)| seen).collect();
            Some(ProducerV1 { id, epoch, last_active_ms: newest.timestamp, batches })
        });
        Producers::of_snapshot(&SnapshotV1 { producers: found.collect() })
    }
}

/// How far the look back is.
#[derive(Debug)]
pub(super) struct Rebuilding {
    cut: Behind,
    rebuild: Rebuild,
    segment: i64,
    /// The index of a segment before the one that is cut, once it is loaded.
    index: Option<Box<Index>>,
    /// What lies before is still to be looked at.
    end: u64,
    /// Where the window begins that is being read.
    from: u64,
    /// Reads in a row that did not bring the whole window: bytes may have left memory for the file meanwhile.
    stalls: u32,
}

impl Rebuilding {
    fn index(&self) -> Option<&Index> {
        if self.segment == self.cut.segment { Some(&self.cut.index) } else { self.index.as_deref() }
    }
}

impl Store {
    pub(super) fn begin_rebuild(&mut self, slot: Slot, cut: Behind, rebuild: Rebuild) {
        let (segment, end) = (cut.segment, u64::from(cut.index.end().position));
        let rebuilding = Rebuilding { cut, rebuild, segment, index: None, end, from: end, stalls: 0 };
        self.set_stage(slot, Stage::Rebuilding(Box::new(rebuilding)));
        self.look_back(slot);
    }

    fn rebuilding(&mut self, slot: Slot) -> &mut Rebuilding {
        match self.log_mut(slot).truncation.as_deref_mut() {
            Some(Truncation { stage: Stage::Rebuilding(rebuilding), .. }) => rebuilding,
            _ => unreachable!("only called while producers are looked for"),
        }
    }

    /// Reads the next window, in this segment or in the one before; ends if there is no more of use.
    pub(super) fn look_back(&mut self, slot: Slot) {
        let rebuilding = self.rebuilding(slot);
        if rebuilding.rebuild.is_finished() {
            return self.end_rebuild(slot);
        }
        let (segment, end) = (rebuilding.segment, rebuilding.end);
        if end == 0 {
            return self.look_into_segment_before(slot, segment);
        }
        let Some(index) = rebuilding.index() else { return self.read_index_for_truncation(slot, segment) };
        let from = u64::from(index.lookup_position(end.saturating_sub(WINDOW_BYTES) as u32).position);
        let bytes = end - from;
        if bytes > (READ_BYTES_MAX - 2 * BLOCK_BYTES) as u64 {
            // The index is too sparse to go back by it.
            return self.end_rebuild(slot);
        }
        rebuilding.from = from;
        self.read_part(slot, segment, from, bytes as usize);
    }

    fn look_into_segment_before(&mut self, slot: Slot, segment: i64) {
        let now_ms = self.now.wall_ms;
        let log = self.log(slot);
        let Some(at) = log.segment_index(segment) else { return self.end_rebuild(slot) };
        let Some(before) = at.checked_sub(1).map(|at| &log.segments[at]) else { return self.end_rebuild(slot) };
        let expiration_ms = i64::try_from(log.config.producer_id_expiration_ms).unwrap_or(i64::MAX);
        let is_expired = before.max.timestamp >= 0 && now_ms.saturating_sub(before.max.timestamp) > expiration_ms;
        let is_indexed = before.index.is_some() || (1..=READ_BYTES_MAX as u64).contains(&before.index_bytes);
        if is_expired || !is_indexed {
            return self.end_rebuild(slot);
        }
        let (segment, end, index) = (before.base_offset, before.bytes, before.index.clone());
        let rebuilding = self.rebuilding(slot);
        (rebuilding.segment, rebuilding.end, rebuilding.index) = (segment, end, index);
        self.look_back(slot);
    }

    /// The index of the segment that is gone back into; none if it cannot be used.
    pub(super) fn go_back_to(&mut self, slot: Slot, index: Option<Box<Index>>) {
        if index.is_none() {
            return self.end_rebuild(slot);
        }
        self.rebuilding(slot).index = index;
        self.look_back(slot);
    }

    /// Takes a window.
    pub(super) fn look_back_at(&mut self, slot: Slot, from: u64, bytes: &[u8]) {
        let rebuilding = self.rebuilding(slot);
        let window = (rebuilding.from - from) as usize..(rebuilding.end - from) as usize;
        let Some(batches) = bytes.get(window) else {
            rebuilding.stalls += 1;
            return if rebuilding.stalls <= STALLS_MAX { self.look_back(slot) } else { self.end_rebuild(slot) };
        };
        let is_sound = rebuilding.rebuild.take(batches);
        (rebuilding.end, rebuilding.stalls) = (rebuilding.from, 0);
        if is_sound {
            return self.look_back(slot);
        }
        let (segment, position) = (rebuilding.segment, rebuilding.from);
        tracing::error!(log = %self.log(slot).id, segment, position, "a stored batch is damaged near there");
        self.end_rebuild(slot);
    }

    /// Goes on with what was found. A producer of which nothing was is unknown, as one that has expired.
    pub(super) fn end_rebuild(&mut self, slot: Slot) {
        let truncation = self.log_mut(slot).truncation.as_mut().expect("a stage follows another");
        let Stage::Rebuilding(rebuilding) = std::mem::replace(&mut truncation.stage, Stage::Draining) else {
            unreachable!("only called while producers are looked for")
        };
        let Rebuilding { cut, rebuild, .. } = *rebuilding;
        truncation.stage = Stage::Ready(Cut::Behind(cut), rebuild.producers());
    }
}
