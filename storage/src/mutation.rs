//! Faults made on purpose, to show that the simulations would find such a bug.
//!
//! A point in the code asks [`is`] for its fault, in one line beside the right way. In a build with the feature
//! `mutations` one fault can be chosen for a thread; in any other build the answer is a constant `no`, and nothing of
//! it is left. A node does not start when it was built with the feature.

#[cfg(feature = "mutations")]
use std::cell::Cell;

/// Whether this build can make faults.
pub const ARE_COMPILED_IN: bool = cfg!(feature = "mutations");

macro_rules! mutations {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// A fault that can be made.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Mutation {
            $($(#[doc = $doc])* $name,)*
        }

        impl Mutation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What it does, in one sentence.
            #[must_use]
            pub fn what(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc,)*).trim_ascii(),)*
                }
            }
        }
    };
}

mutations! {
    /// Write the durable journal and large appends without waiting for the device.
    SkipSync,
    /// Call a journal group durable when it is submitted.
    AcknowledgeEarly,
    /// Take groups of an earlier start, in an extent used again, for this start's.
    AcceptOldIncarnation,
    /// Start with the number of the start before.
    ForgetIncarnation,
    /// Drop the last entry of every group that is replayed.
    CutReplayShort,
    /// Cut one byte too many from a journaled batch that begins in the segment's file.
    CutOverlapLong,
    /// Begin a new chain with each extent.
    BreakChain,
    /// Ignore what later groups say was durable.
    IgnoreDurableBefore,
    /// Replay a shard's durable journal whole before the cached one.
    ReplayOutOfOrder,
    /// Free one extent more than the checkpoint makes unnecessary.
    FreeExtentEarly,
    /// Free extents when the round begins to write its records.
    FreeBeforeRecords,
    /// Use an extent before its name is durable.
    SkipExtentName,
    /// Do not copy partial blocks forward when extents are freed.
    SkipCarry,
    /// Write a padded block again without an image of it in the journal.
    SkipImage,
    /// Take a padded block that has grown for written.
    ForgetPaddedBlock,
    /// Write the checkpoint without syncing segments.
    SkipSegmentSync,
    /// Write the checkpoint without syncing directories.
    SkipDirectorySync,
    /// Take a write or sync of a round that failed for done.
    IgnoreFailure,
    /// Write records before the journal has what they tell of.
    RecordBeforeJournal,
    /// Write records before large appends they tell of are in the journal.
    ForgetPromises,
    /// Leave producers out of the checkpoint.
    DropProducers,
    /// Remove a deleted log's files before its end is durable.
    RemoveBeforeDelete,
    /// Tell of a new log start without journaling it.
    SkipLogStart,
    /// Journal the reference to a large append before its write has completed.
    ReferBeforeCompletion,
    /// Rely on a cached journal's extents although a sync of them failed.
    TrustFailedSync,
    /// At a start, do not sync what is written.
    SkipRecoverySync,
    /// At a start, rename the base checkpoint before it is synced.
    RenameBeforeSync,
    /// At a start, remove the checkpoint before the new one is there.
    RemoveBeforeBase,
}

#[cfg(feature = "mutations")]
thread_local! {
    static CHOSEN: Cell<Option<Mutation>> = const { Cell::new(None) };
}

/// Makes a fault on this thread from now on, or none.
#[cfg(feature = "mutations")]
pub fn choose(mutation: Option<Mutation>) {
    CHOSEN.set(mutation);
}

/// Whether a fault is to be made.
#[cfg(feature = "mutations")]
pub(crate) fn is(mutation: Mutation) -> bool {
    CHOSEN.get() == Some(mutation)
}

/// Whether a fault is to be made: never.
#[cfg(not(feature = "mutations"))]
pub(crate) const fn is(_: Mutation) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_makes_faults_only_with_the_feature() {
        assert_eq!(ARE_COMPILED_IN, cfg!(feature = "mutations"));
        assert!(ARE_COMPILED_IN || !Mutation::ALL.iter().copied().any(is));
    }

    #[test]
    fn every_mutation_says_what_it_does() {
        assert!(Mutation::ALL.len() >= 15);
        for mutation in Mutation::ALL {
            assert!(mutation.what().ends_with('.'), "{mutation:?}: {}", mutation.what());
        }
    }
}
