//! What recovery can meet, by name, and how often it has: so that a test can tell whether it came everywhere.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! branches {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Something that recovery meets in some data directories only.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Branch {
            $($(#[doc = $doc])* $name,)*
        }

        impl Branch {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What it is, in one sentence.
            #[must_use]
            pub fn what(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc,)*).trim_ascii(),)*
                }
            }
        }
    };
}

branches! {
    /// The data directory is new.
    NewDirectory,
    /// No start before was ever complete.
    NoCheckpoint,
    /// A checkpoint file of another start was left over.
    LeftoverCheckpoint,
    /// A shard's checkpoint file ends in a torn group.
    TornCheckpoint,
    /// A checkpoint file that was begun anew lacks a part of its full copy.
    IncompleteCopy,
    /// An extent has no header: it was never used.
    UnusedExtent,
    /// An extent belongs to an earlier start.
    ExtentOfEarlierStart,
    /// An extent was freed by a checkpoint.
    FreedExtent,
    /// The journal ends before what an earlier use of the extent left.
    StaleGroup,
    /// The journal ends with a torn group.
    TornGroup,
    /// A group was written again to the next extent.
    GroupWrittenAgain,
    /// A shard has entries in both of its journals.
    BothJournals,
    /// An entry is older than the log's change to this journal.
    EntryBeforeChange,
    /// An entry belongs to a log that was deleted before.
    EntryOfDeletedLog,
    /// A batch is new.
    NewBatch,
    /// The checkpoint knows a batch, and not all of its bytes are in the segment.
    KnownBatch,
    /// A batch was journaled twice.
    BatchTwice,
    /// A batch begins a segment.
    NewSegment,
    /// A Reference tells of new batches.
    NewReference,
    /// The checkpoint knows a Reference.
    KnownReference,
    /// A batch's bytes are all durable in the segment.
    DurableBytes,
    /// Bytes are missing until an image brings them.
    Hole,
    /// An image or a batch fills what was missing.
    HoleFilled,
    /// An image belongs to a block that may be torn on disk.
    ImageOfPaddedBlock,
    /// An entry belongs to a segment that retention removed.
    EntryOfRemovedSegment,
    /// A log start is new.
    NewLogStart,
    /// A log's end is told by the journal.
    Deleted,
    /// An index file is there, and sound.
    SoundIndex,
    /// An index is damaged or cut, and made anew.
    IndexMadeAnew,
    /// An index lacks batches, which are read from the segment.
    IndexCompleted,
    /// Batches of a Reference are read back.
    ReferenceChecked,
    /// A deleted log's directory is removed.
    DirectoryRemoved,
    /// A segment below the log's start is removed.
    SegmentRemoved,
    /// A closed segment is brought to its final form.
    SegmentFinished,
    /// A closed segment's index is brought to its final form.
    IndexFinished,
    /// A tail is too much to carry and goes to its segment.
    TailWritten,
    /// A tail is carried to a new journal.
    TailCarried,
    /// An extent is used again.
    ExtentRecycled,
    /// An extent is removed.
    ExtentRemoved,
}

/// Counts of all starts of the process, by [`Branch`].
static REACHED: [AtomicU64; Branch::ALL.len()] = [const { AtomicU64::new(0) }; Branch::ALL.len()];

impl Branch {
    /// Counts it. Nothing that recovery does depends on the counts.
    pub(crate) fn reach(self) {
        REACHED[self as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts it if `is_met`, which is given back.
    pub(crate) fn reach_if(self, is_met: bool) -> bool {
        if is_met {
            self.reach();
        }
        is_met
    }

    /// How often this process has met it.
    #[must_use]
    pub fn reached(self) -> u64 {
        REACHED[self as usize].load(Ordering::Relaxed)
    }
}
