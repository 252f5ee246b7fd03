//! What a round changes once its syncs are done: tails' durable parts, images carried forward, and the records of
//! the checkpoint.

use std::collections::BTreeSet;

use super::Drained;
use crate::checkpoint::record::{JournalV1, Recorded};
use crate::io::BLOCK_BYTES;
use crate::journal::Journal;
use crate::journal::format::{Body, Place};
use crate::log::state::{Log, tombstone};
use crate::log::{LogId, Slot};
use crate::mutation::{self, Mutation};
use crate::store::{Store, shared};

impl Store {
    /// Takes note of what is durable now, copies partial blocks forward, and takes the records.
    pub(super) fn settle(&mut self) {
        let round = self.rounds.active.as_mut().expect("a round is under way");
        let drained = std::mem::take(&mut round.drained);
        let is_retiring = round.retire.iter().any(Option::is_some) || round.is_cache_distrusted;
        for piece in drained {
            self.settle_segment(&piece);
        }
        let slots = self.round_slots();
        if is_retiring && self.carries_too_much(slots.iter().copied()) {
            // They grew since the round began. The next one writes them whole.
            self.leave_extents();
        } else if is_retiring && !mutation::is(Mutation::SkipCarry) {
            for &slot in &slots {
                self.carry_forward(slot);
            }
        }
        self.take_records(&slots);
        self.record_obsolete(&slots);
        if mutation::is(Mutation::FreeBeforeRecords) {
            self.free_extents();
        }
        for slot in slots {
            let log = self.log_mut(slot);
            log.is_referred = false;
            log.is_unrecorded = true;
            if log.tails.len() > 1 {
                self.rounds.rolled.insert(slot);
            }
        }
        self.note_promises();
        let targets = [self.durable_journal.pushed(), self.cached_journal.pushed()];
        self.rounds.active.as_mut().expect("a round is under way").targets = targets;
    }

    /// Gives the checkpoint the records of this round: of its logs, or of all if the file is written anew.
    fn take_records(&mut self, slots: &[Slot]) {
        let order = self.order;
        self.order += 1;
        slots.iter().for_each(|&slot| self.expire_producers(slot));
        let is_full_copy = self.rounds.writer.wants_full_copy();
        if is_full_copy {
            self.forget_tombstones();
        }
        let deleted = self.records_of_deleted(order, is_full_copy);
        let round = self.rounds.active.as_ref().expect("a round is under way");
        let shard = self.identity.shard;
        let record = |is_cached, retire: Option<u64>, journal: &Journal| {
            let first_ordinal = retire.map_or(journal.oldest(), |last| last + 1);
            let first_sequence = journal.first_sequence_from(first_ordinal);
            JournalV1 { shard, is_cached, first_ordinal, first_sequence }
        };
        let journals = [
            record(false, round.retire[0], &self.durable_journal),
            record(true, round.retire[1], &self.cached_journal),
        ];
        if is_full_copy {
            let records: Vec<_> = self.logs.iter().flatten().map(|log| log.record(order)).chain(deleted).collect();
            self.rounds.writer.begin_full_copy(&records, &journals);
        } else {
            let records: Vec<_> = slots.iter().map(|&slot| self.log(slot).record(order)).chain(deleted).collect();
            self.rounds.writer.begin(&records, &journals);
        }
    }

    /// The records count only when everything they tell of is durable; what logs hold is not in a journal yet.
    fn note_promises(&mut self) {
        let owing = |log: &&Log| log.large.is_some() || !log.held.is_empty();
        let round = self.rounds.active.as_mut().expect("a round is under way");
        for (at, log) in self.logs.iter().enumerate() {
            if let Some(log) = log.as_deref().filter(owing) {
                round.promised.push((Slot::new(self.identity.directory, at), log.id, log.end_offset));
            }
        }
    }

    /// Records of the logs deleted since the last round and during this one: nothing else tells of them when the
    /// extents are freed. A file written anew says so again of those before.
    fn records_of_deleted(&mut self, order: u64, is_full_copy: bool) -> Vec<Recorded> {
        let round = self.rounds.active.as_mut().expect("a round is under way");
        round.deleted.append(&mut self.rounds.deleted);
        let before = self.rounds.tombstones.iter().filter(|_| is_full_copy);
        let all = round.deleted.iter().chain(before);
        all.map(|(id, deleted)| tombstone(*id, &deleted.directory, order)).collect()
    }

    /// Forgets deleted logs that neither the base nor an extent names.
    fn forget_tombstones(&mut self) {
        let touched: BTreeSet<LogId> =
            [&self.durable_journal, &self.cached_journal].into_iter().flat_map(Journal::touched).collect();
        self.rounds.tombstones.retain(|id, deleted| deleted.is_in_base || touched.contains(id));
    }

    fn settle_segment(&mut self, piece: &Drained) {
        let Some(log) = self.log_if(piece.slot, piece.id) else { return };
        log.is_directory_made = true;
        let Some(at) = log.segment_index(piece.base_offset) else { return };
        let segment = &mut log.segments[at];
        segment.is_named = true;
        if let Some((entries, bytes)) = piece.index {
            segment.index_entries = entries;
            segment.index_bytes = bytes;
            segment.is_index_named = true;
        }
        let is_index_written = segment.is_index_written();
        let transactions = log.transactions.as_mut().and_then(|it| it.of_mut(piece.base_offset));
        let are_transactions_written = transactions.is_none_or(|of| {
            if let Some(written) = piece.transactions {
                (of.written, of.has_file) = (written, true);
            }
            of.unwritten() == 0
        });
        let segment = &mut log.segments[at];
        segment.is_closed = piece.is_closed;
        let tail = log.tail_of_mut(piece.base_offset).expect("a round's segment keeps its tail");
        // What was written padded and has grown since is written again, from the block's start.
        let is_whole = piece.durable == tail.end() || mutation::is(Mutation::ForgetPaddedBlock);
        let durable = if is_whole { piece.durable } else { piece.durable / BLOCK_BYTES as u64 * BLOCK_BYTES as u64 };
        if durable > tail.durable() {
            tail.set_durable(durable);
        }
        if piece.is_closed {
            self.scrub.note_closed();
        }
        let log = self.log_mut(piece.slot);
        if piece.is_closed && is_index_written && are_transactions_written {
            log.tails.retain(|it| it.base_offset != piece.base_offset);
            log.segments[at].index = None;
        } else if !std::mem::replace(&mut log.is_cached, true) {
            self.cached_tails.push_back((piece.slot, piece.id));
        }
    }

    /// Journals the first block that is not durable anew, so that the extents before are not needed for it. What
    /// lies behind that block was appended after the round began.
    fn carry_forward(&mut self, slot: Slot) {
        let log = self.log_mut(slot);
        let end_offset = log.end_offset;
        let mut images = Vec::new();
        for it in &log.tails {
            if let Some((position, image)) = it.tail.first_undurable_block() {
                log.is_carried = position + image.len() as u64 == it.tail.end();
                images.push((Place { segment: it.base_offset, position }, image));
            }
        }
        for (place, image) in images {
            self.push_entry(slot, Body::TailImage { place, end_offset, bytes: shared(image) });
        }
    }
}
