//! The model finds bugs: every mutation of the storage's code breaks a promise within a number of seeds.
//!
//! `cargo test --release -p storage --features mutations --test crash_model mutation -- --nocapture` prints the table.

use std::panic::{AssertUnwindSafe, catch_unwind};

use storage::mutation::{self, Mutation};

use crate::trial::{Plan, Trial};

/// Seeds within which a mutation has to show.
const FOUND_WITHIN_SEEDS: u64 = 200;

/// A life in which what a mutation breaks comes about.
fn plan(mutation: Mutation) -> Plan {
    match mutation {
        Mutation::AcceptOldIncarnation
        | Mutation::BreakChain
        | Mutation::FreeExtentEarly
        | Mutation::FreeBeforeRecords
        | Mutation::SkipExtentName
        | Mutation::SkipCarry
        | Mutation::SkipImage
        | Mutation::ForgetPaddedBlock
        | Mutation::SkipSegmentSync
        | Mutation::SkipDirectorySync
        | Mutation::RecordBeforeJournal => Plan::RECYCLING,
        Mutation::IgnoreDurableBefore => Plan::DECAY,
        Mutation::IgnoreFailure | Mutation::TrustFailedSync => Plan::LARGE_FAULTS,
        Mutation::CutOverlapLong
        | Mutation::ForgetPromises
        | Mutation::ReferBeforeCompletion
        | Mutation::RemoveBeforeDelete => Plan::LARGE,
        Mutation::SkipSync
        | Mutation::AcknowledgeEarly
        | Mutation::ForgetIncarnation
        | Mutation::CutReplayShort
        | Mutation::ReplayOutOfOrder
        | Mutation::DropProducers
        | Mutation::SkipLogStart
        | Mutation::SkipRecoverySync
        | Mutation::RenameBeforeSync
        | Mutation::RemoveBeforeBase => Plan::CALM,
    }
}

/// What a seed comes to: the actions it took to break a promise, and which.
fn broken(seed: u64, plan: Plan) -> Option<(u64, String)> {
    let mut trial = Trial::new(seed, plan);
    let panic = catch_unwind(AssertUnwindSafe(|| trial.live())).err()?;
    let message = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    Some((trial.actions(), message.unwrap_or("it panicked").lines().next().unwrap_or_default().to_owned()))
}

#[test]
fn every_mutation_is_found() {
    std::panic::set_hook(Box::new(|_| ()));
    let mut missed = Vec::new();
    for &mutation in Mutation::ALL {
        let plan = plan(mutation);
        mutation::choose(Some(mutation));
        let found = (0..FOUND_WITHIN_SEEDS).find_map(|seed| Some((seed, broken(seed, plan)?)));
        mutation::choose(None);
        match found {
            Some((seed, (actions, message))) => {
                eprintln!("mutation {mutation:?}: found by seed {seed} after {actions} actions: {message:.120}");
                assert_eq!(broken(seed, plan), None, "without the mutation the seed holds");
            }
            None => {
                eprintln!("mutation {mutation:?}: NOT FOUND by {FOUND_WITHIN_SEEDS} seeds");
                missed.push(mutation);
            }
        }
    }
    // The hook of before tells what is wrong, if anything is.
    drop(std::panic::take_hook());
    assert!(missed.is_empty(), "no seed finds {missed:?}");
    eprintln!("mutations: {} of {} found", Mutation::ALL.len(), Mutation::ALL.len());
}
