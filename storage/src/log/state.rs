//! The state of one log.
//!
//! ```text
//! offsets    start ........ durable end ........ end
//!            │ may be read   │ appended, in the journal's hands
//!
//! segments   closed │ closed │ closed │ active
//! tails                       (closed, until its file is durable) │ active
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use crate::checkpoint::record::{CompactionV1, GenerationV1, LogV1, Recorded};
use crate::epochs::Epochs;
use crate::index::Index;
use crate::journal::format::Body;
use crate::journal::writer::Bytes;
use crate::log::{Durability, LogConfig, LogId};
use crate::mutation::{self, Mutation};
use crate::producers::Producers;
use crate::segment::Segment;
use crate::store::deferred::Deferred;
use crate::store::truncate::Truncation;
use crate::tail::Tail;
use crate::transactions::{Open, Transactions};

/// A segment's end in memory, and which segment's.
#[derive(Debug)]
pub(crate) struct SegmentTail {
    pub(crate) base_offset: i64,
    pub(crate) tail: Tail,
}

/// Files of a segment that compaction replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Obsolete {
    pub(crate) files: GenerationV1,
    pub(crate) state: ObsoleteState,
}

/// How far the files of a replaced segment are on their way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObsoleteState {
    /// The checkpoint still has the segment: a start would look for them.
    Wanted,
    /// The round under way writes a record without the segment.
    Recording,
    /// They are to be removed when their time has come.
    Leaving,
}

/// What compaction did to a log.
#[derive(Debug, Default)]
pub(crate) struct Compacted {
    /// Records before this offset have been compared with one another.
    pub(crate) clean_offset: i64,
    pub(crate) obsolete: Vec<Obsolete>,
    /// When the log is due for compaction, if it is.
    pub(crate) due_ns: Option<u64>,
    /// The share of it that waits to be compacted, in millionths.
    pub(crate) dirty_millionths: u32,
    /// A stored batch was damaged: compaction leaves the log alone until the next start.
    pub(crate) is_uncleanable: bool,
}

impl Compacted {
    /// Files that the log has no use for any more.
    pub(crate) fn leave(&mut self, files: GenerationV1) {
        self.obsolete.push(Obsolete { files, state: ObsoleteState::Wanted });
    }

    fn record(&self, segments: &VecDeque<Segment>) -> Option<CompactionV1> {
        let compacted = segments.iter().filter(|segment| segment.generation > 0);
        let generations: Vec<_> = compacted
            .map(|segment| GenerationV1 { base_offset: segment.base_offset, generation: segment.generation })
            .collect();
        let obsolete: Vec<_> = self.obsolete.iter().map(|it| it.files).collect();
        let is_untouched = self.clean_offset == 0 && generations.is_empty() && obsolete.is_empty();
        (!is_untouched).then_some(CompactionV1 { clean_offset: self.clean_offset, generations, obsolete })
    }
}

/// An entry for the journal that waits, and since when.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) body: Body<Bytes>,
    pub(crate) since_ns: u64,
}

/// One log. Owned by the shard it is placed on.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) id: LogId,
    pub(crate) directory: Arc<str>,
    pub(crate) config: LogConfig,
    pub(crate) is_attached: bool,
    /// Whether the base checkpoint of this start has it.
    pub(crate) is_in_base: bool,
    pub(crate) start_offset: i64,
    pub(crate) end_offset: i64,
    pub(crate) durable_end: i64,
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) tails: VecDeque<SegmentTail>,
    pub(crate) epochs: Epochs,
    pub(crate) producers: Producers,
    /// None if it never had any.
    pub(crate) transactions: Option<Box<Transactions>>,
    /// Whether journal or checkpoint know the directory's name.
    pub(crate) is_directory_journaled: bool,
    /// Whether the directory is there, durably.
    pub(crate) is_directory_made: bool,
    /// Whether the partial last block was copied forward in the journal, and nothing was appended since.
    pub(crate) is_carried: bool,
    /// Journal entries before this order are superseded.
    pub(crate) since: u64,
    /// Entries that wait for the write of a large append, in order.
    pub(crate) held: VecDeque<Held>,
    /// The write of a large append in flight.
    pub(crate) large: Option<u64>,
    /// Whether References to it were journaled since its last record.
    pub(crate) is_referred: bool,
    /// Whether a round brought something of it to its segments since its last record that is durable.
    pub(crate) is_unrecorded: bool,
    /// `skein.durability`; its configuration has the one in force.
    pub(crate) wanted_durability: Durability,
    /// The segment whose last block was written padded, and grew since. It may be written again when the journal's
    /// entries before `image_before`, an image of it among them, are on the device.
    pub(crate) image_of: i64,
    pub(crate) image_before: u64,
    /// Appends that wait, in order.
    pub(crate) deferred: VecDeque<Deferred>,
    pub(crate) is_loading_block: bool,
    /// Reads of the last block that failed, one after another.
    pub(crate) block_failures: u8,
    pub(crate) has_durable_event: bool,
    /// Whether durable parts of its tails are kept for reads.
    pub(crate) is_cached: bool,
    /// When something was appended last, or it was attached.
    pub(crate) appended_ns: u64,
    /// Whether it is looked at when it may be quiet.
    pub(crate) is_watched: bool,
    /// Reads in flight that cover a partial block, which must not be written again meanwhile.
    pub(crate) partial_reads: u32,
    /// When the log is due for retention, if it is.
    pub(crate) due_ns: Option<u64>,
    /// When it is to be looked for producers that have expired, if it knows any.
    pub(crate) expiry_due_ns: Option<u64>,
    /// What compaction did to it, and when it is due for more.
    pub(crate) compacted: Compacted,
    /// Its end is being cut: appends wait.
    pub(crate) truncation: Option<Box<Truncation>>,
}

impl Log {
    pub(crate) fn new(id: LogId, directory: &str) -> Self {
        Self {
            id,
            directory: directory.into(),
            config: LogConfig::default(),
            is_attached: false,
            is_in_base: false,
            start_offset: 0,
            end_offset: 0,
            durable_end: 0,
            segments: VecDeque::new(),
            tails: VecDeque::new(),
            epochs: Epochs::new(),
            producers: Producers::new(),
            transactions: None,
            is_directory_journaled: false,
            is_directory_made: false,
            is_carried: false,
            since: 0,
            held: VecDeque::new(),
            large: None,
            is_referred: false,
            is_unrecorded: false,
            wanted_durability: Durability::default(),
            image_of: 0,
            image_before: 0,
            deferred: VecDeque::new(),
            is_loading_block: false,
            block_failures: 0,
            has_durable_event: false,
            is_cached: false,
            appended_ns: 0,
            is_watched: false,
            partial_reads: 0,
            due_ns: None,
            expiry_due_ns: None,
            compacted: Compacted::default(),
            truncation: None,
        }
    }

    /// Whether appends must wait.
    pub(crate) fn is_held_up(&self) -> bool {
        self.is_loading_block || self.truncation.is_some()
    }

    /// Below it, it is known of every transaction how it ended: at most the high watermark.
    pub(crate) fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        let first = self.transactions.as_ref().and_then(|it| it.first_unstable(high_watermark));
        // Retention may have removed the beginning of a transaction that is still open.
        first.map_or(high_watermark, |first| first.max(self.start_offset).min(high_watermark))
    }

    /// Whether everything appended is durable, and nothing of the log waits for the disk but reads.
    pub(crate) fn is_quiet(&self) -> bool {
        self.durable_end == self.end_offset && self.held.is_empty() && self.large.is_none() && !self.is_loading_block
    }

    /// Starts the log anew, empty, at its start offset; says which files are to be removed.
    pub(crate) fn clear(&mut self, now_ms: i64) -> Vec<GenerationV1> {
        let base_offset = self.start_offset;
        let cut = self.cut_off(0, i64::MIN);
        self.tails.clear();
        self.segments.push_back(Segment::new(base_offset, self.config.index_interval_bytes, now_ms));
        self.tails.push_back(SegmentTail { base_offset, tail: Tail::new(0) });
        self.end_at(base_offset);
        if let Some(transactions) = &mut self.transactions {
            transactions.clear();
        }
        cut
    }

    /// Cuts the segment `base_offset` where `index` ends, and those after it off; says which files are to be removed.
    /// `open` are the transactions that are open there.
    pub(crate) fn truncate(
        &mut self,
        base_offset: i64,
        index: Box<Index>,
        is_index_kept: bool,
        end_offset: i64,
        open: Open,
    ) -> Vec<GenerationV1> {
        let end = index.end();
        assert!(end.offset <= end_offset, "the index ends with what is left");
        let at = self.segment_index(base_offset).expect("the log has the segment that is cut");
        let cut = self.cut_off(at + 1, base_offset + 1);
        self.segments[at].truncate(index, is_index_kept);
        self.tails.retain(|it| it.base_offset <= base_offset);
        match self.tail_of_mut(base_offset) {
            Some(tail) => tail.truncate(u64::from(end.position)),
            None => {
                let tail = Tail::new(u64::from(end.position));
                self.tails.push_back(SegmentTail { base_offset, tail });
            }
        }
        self.end_at(end_offset);
        if let Some(transactions) = &mut self.transactions {
            transactions.truncate(base_offset, end_offset, open);
        }
        cut
    }

    /// Drops segments from the `at`th on. Their files, and others of base offsets from `base_min` on that wait to be
    /// removed, have names that may be used again, so they go at once.
    fn cut_off(&mut self, at: usize, base_min: i64) -> Vec<GenerationV1> {
        let mut cut: Vec<GenerationV1> = self.segments.drain(at..).map(|segment| segment.files()).collect();
        let obsolete = &mut self.compacted.obsolete;
        cut.extend(obsolete.iter().map(|it| it.files).filter(|files| files.base_offset >= base_min));
        obsolete.retain(|it| it.files.base_offset < base_min);
        obsolete.extend(cut.iter().map(|&files| Obsolete { files, state: ObsoleteState::Leaving }));
        cut
    }

    fn end_at(&mut self, end_offset: i64) {
        self.end_offset = end_offset;
        self.durable_end = end_offset;
        self.epochs.truncate_from_end(end_offset);
        self.producers.truncate(end_offset);
        self.compacted.clean_offset = self.compacted.clean_offset.min(end_offset);
        self.is_carried = false;
    }

    /// Gives up the memory of what is durable, quiet as the log is.
    pub(crate) fn release_tails(&mut self) {
        self.is_watched = false;
        self.tails.iter_mut().for_each(|it| it.tail.release());
    }

    /// The tail of the active segment.
    pub(crate) fn active_tail(&mut self) -> Option<&mut Tail> {
        self.tails.back_mut().map(|it| &mut it.tail)
    }

    /// The tail of a segment, if it has one: the active, or one not durable yet.
    pub(crate) fn tail_of(&self, base_offset: i64) -> Option<&Tail> {
        self.tails.iter().find(|it| it.base_offset == base_offset).map(|it| &it.tail)
    }

    pub(crate) fn tail_of_mut(&mut self, base_offset: i64) -> Option<&mut Tail> {
        self.tails.iter_mut().find(|it| it.base_offset == base_offset).map(|it| &mut it.tail)
    }

    /// Where the first batch lies that is held, of those in a segment.
    pub(crate) fn first_held(&self, base_offset: i64) -> Option<u64> {
        self.held.iter().find_map(|held| match held.body {
            Body::Append { place, .. } if place.segment == base_offset => Some(place.position),
            _ => None,
        })
    }

    /// The segment that has `offset`, if any does: its place in the list.
    pub(crate) fn segment_at(&self, offset: i64) -> Option<usize> {
        self.segments.partition_point(|segment| segment.base_offset <= offset).checked_sub(1)
    }

    pub(crate) fn segment_index(&self, base_offset: i64) -> Option<usize> {
        self.segment_at(base_offset).filter(|&at| self.segments[at].base_offset == base_offset)
    }

    /// Bytes of all batches.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Up to where a segment's file is durable.
    pub(crate) fn durable_bytes(&self, segment: &Segment) -> u64 {
        self.tail_of(segment.base_offset).map_or(segment.bytes, Tail::durable)
    }

    /// What a checkpoint says about the log.
    pub(crate) fn record(&self, order: u64) -> Recorded {
        let active = self.segments.len().saturating_sub(1);
        let segments = self.segments.iter().enumerate();
        let log = LogV1 {
            id: self.id.0,
            order,
            since: self.since,
            is_deleted: false,
            directory: self.directory.to_string(),
            start_offset: self.start_offset,
            end_offset: self.end_offset,
            segments: segments.map(|(at, it)| it.record(self.durable_bytes(it), at == active)).collect(),
            epochs: self.epochs.snapshot(),
            producers: match mutation::is(Mutation::DropProducers) {
                true => Producers::new().snapshot(),
                false => self.producers.snapshot(),
            },
        };
        let transactions = self.transactions.as_ref().map(|it| it.record());
        Recorded { log, compaction: self.compacted.record(&self.segments), transactions }
    }
}

/// What a checkpoint says about a deleted log.
pub(crate) fn tombstone(id: LogId, directory: &str, order: u64) -> Recorded {
    let mut record = Log::new(id, directory).record(order);
    record.log.is_deleted = true;
    record
}
