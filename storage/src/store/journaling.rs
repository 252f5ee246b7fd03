//! Entries into the journals, and what follows when they are durable.

use std::sync::Arc;

use super::{EntryBody, Event, Queued, Store, shared};
use crate::Error;
use crate::batch::Batch;
use crate::io::Failure;
use crate::journal::format::{self, Body, Place};
use crate::journal::writer::{Bytes, Pending, Written};
use crate::journal::{self};
use crate::log::{Durability, Now, Slot};
use crate::mutation::{self, Mutation};

/// How long to wait before a refusal by the disk is put to the test again.
pub(super) const RETRY_NS: u64 = 1_000_000_000;

/// The image of a block that is to be written again has not been given to the journal yet.
pub(super) const IMAGE_HELD: u64 = u64::MAX;

impl Store {
    /// Gives an entry of a log to its journal, behind what the log holds.
    pub(super) fn journal(&mut self, slot: Slot, body: EntryBody) {
        if self.is_to_be_held(slot, &body) {
            self.hold(slot, body);
        } else {
            self.push_entry(slot, body);
        }
    }

    /// Gives an entry of a log to its journal now.
    pub(super) fn push_entry(&mut self, slot: Slot, body: EntryBody) {
        self.push_entry_of(slot, body, self.now.monotonic_ns);
    }

    /// The same with an entry that was held since `pushed_ns`.
    pub(super) fn push_entry_of(&mut self, slot: Slot, body: EntryBody, pushed_ns: u64) {
        let order = self.order;
        let log = self.log_mut(slot);
        let (id, durability) = (log.id, log.config.durability);
        let is_named = std::mem::replace(&mut log.is_directory_journaled, true);
        let name = (!is_named).then(|| Arc::clone(&log.directory));
        let journal = self.journal_of(durability);
        if let Some(name) = name {
            let body = Body::Directory { name: Bytes::Name(name) };
            journal.push(Pending { slot, log: id, body, order, pushed_ns });
        }
        let imaged = if let Body::TailImage { place, .. } = &body { Some(place.segment) } else { None };
        journal.push(Pending { slot, log: id, body, order, pushed_ns });
        let pushed = journal.pushed();
        let log = self.log_mut(slot);
        if imaged == Some(log.image_of) && log.image_before == IMAGE_HELD {
            log.image_before = pushed;
        }
    }

    /// Raises the log's start; [`Event::StartDurable`] follows. An offset that is not above the start or beyond
    /// the end changes nothing.
    pub fn set_start(&mut self, slot: Slot, offset: i64, now: Now) {
        self.now = now;
        let log = self.log_mut(slot);
        if offset <= log.start_offset || offset > log.end_offset {
            return;
        }
        log.start_offset = offset;
        log.epochs.truncate_from_start(offset);
        if mutation::is(Mutation::SkipLogStart) {
            self.push(Event::StartDurable { slot, start_offset: offset });
        } else {
            self.journal(slot, Body::LogStart { start_offset: offset });
        }
        self.drop_segments_below_start(slot);
    }

    /// Moves logs to the journals that their configurations want, unless their segments have what no record tells of yet:
    /// that is not journaled again, and where the other journal loses it, what follows in the new one has no beginning.
    pub(super) fn move_to_wanted_journals(&mut self) {
        if self.rounds.is_active() {
            return;
        }
        for (slot, id) in std::mem::take(&mut self.moving) {
            let Some(log) = self.log_if(slot, id) else { continue };
            let wanted = log.wanted_durability;
            if log.config.durability == wanted {
                continue;
            }
            if log.is_unrecorded {
                self.moving.push((slot, id));
                continue;
            }
            log.config.durability = wanted;
            self.change_journal(slot);
        }
    }

    /// Moves a log to the other journal: what is not durable in its segments is journaled there again, so that
    /// the new journal alone is enough for all that follows.
    fn change_journal(&mut self, slot: Slot) {
        self.order += 1;
        let order = self.order;
        let log = self.log_mut(slot);
        log.since = order;
        // The other journal may lose the name.
        log.is_directory_journaled = false;
        // Its batches are journaled below, whether they are held, being written or in the journal before.
        let held = std::mem::take(&mut log.held);
        let large = log.large;
        self.journal_again(slot);
        for body in held.into_iter().map(|it| it.body).filter(|body| matches!(body, Body::LogStart { .. })) {
            self.push_entry(slot, body);
        }
        if let Some(number) = large {
            self.large.supersede(number);
        }
    }

    /// Journals what is not durable in the log's segments anew: entries before are not needed for it any more.
    pub(super) fn journal_again(&mut self, slot: Slot) {
        let log = self.log(slot);
        let mut entries = Vec::new();
        for it in &log.tails {
            let place = |position| Place { segment: it.base_offset, position };
            let (rest, batches) = it.tail.undurable();
            if let Some((position, bytes)) = rest {
                let end_offset = log.end_offset;
                entries.push(Body::TailImage { place: place(position), end_offset, bytes: shared(bytes) });
            }
            for (position, batch) in batches {
                // Which record has the largest timestamp is not known any more; the first is near enough.
                entries.push(Body::Append { place: place(position), max_timestamp_delta: 0, batch: shared(batch) });
            }
        }
        for body in entries {
            self.push_entry(slot, body);
        }
        let durability = self.log(slot).config.durability;
        self.log_mut(slot).image_before = self.journal_of(durability).pushed();
    }

    /// Gives the durable journal an entry that ends something, whatever the log's durability: what follows in the other
    /// journal, or is done to its files, relies on it.
    pub(super) fn push_durably(&mut self, slot: Slot, body: EntryBody) {
        let (order, pushed_ns) = (self.order, self.now.monotonic_ns);
        let log = self.log(slot);
        let id = log.id;
        if log.config.durability == Durability::Cached || !log.is_directory_journaled {
            let body = Body::Directory { name: Bytes::Name(Arc::clone(&log.directory)) };
            self.durable_journal.push(Pending { slot, log: id, body, order, pushed_ns });
        }
        self.durable_journal.push(Pending { slot, log: id, body, order, pushed_ns });
    }

    pub(super) fn submit_journals(&mut self) {
        let now_ns = self.now.monotonic_ns;
        self.durable_journal.submit(&mut self.files, now_ns);
        self.cached_journal.submit(&mut self.files, now_ns);
        if mutation::is(Mutation::AcknowledgeEarly) {
            let early: Vec<_> =
                self.durable_journal.in_flight().map(|entry| (entry.slot, entry.log, end_of(&entry.body))).collect();
            for (slot, id, end) in early {
                self.set_durable(slot, id, end);
            }
        }
    }

    pub(super) fn group_written(&mut self, durability: Durability, result: Result<(), Failure>) {
        let now_ns = self.now.monotonic_ns;
        let journal = self.journal_of(durability);
        match journal.written(result, now_ns) {
            Written::Durable(entries, duration_ns) => {
                if durability == Durability::Durable {
                    self.fetches.journal_written(duration_ns, now_ns);
                }
                for entry in &entries {
                    if let Body::LogStart { start_offset } = entry.body
                        && self.log_if(entry.slot, entry.log).is_some()
                    {
                        self.push(Event::StartDurable { slot: entry.slot, start_offset });
                    }
                    if self.log_if(entry.slot, entry.log).is_some_and(|log| entry.order >= log.since) {
                        // Else the entry was journaled again, or cut off.
                        self.set_durable(entry.slot, entry.log, end_of(&entry.body));
                    }
                    if matches!(entry.body, Body::Truncate { .. }) {
                        self.truncation_journaled(entry.slot, entry.log);
                    }
                }
                self.journal_of(durability).reuse(entries);
                self.after_progress();
                self.step_round();
            }
            Written::Again => {
                tracing::warn!("writing the journal failed; the group is written again to another extent");
                self.retry_at.get_or_insert(self.now.monotonic_ns + RETRY_NS);
            }
            Written::Lost(failure) => {
                tracing::error!(%failure, "writing the journal failed twice: stopping, nothing more is acknowledged");
                self.fail(Error::failed(journal::DIRECTORY, "write", failure));
            }
        }
    }

    fn set_durable(&mut self, slot: Slot, id: crate::log::LogId, end: Option<i64>) {
        let (Some(log), Some(end)) = (self.log_if(slot, id), end) else { return };
        if end > log.durable_end {
            log.durable_end = end;
            if !std::mem::replace(&mut log.has_durable_event, true) {
                self.events.push_back(Queued::Durable(slot, id));
            }
        }
    }

    pub(super) fn extent_filled(&mut self, durability: Durability, result: Result<(), Failure>) {
        let journal = match durability {
            Durability::Durable => &mut self.durable_journal,
            Durability::Cached => &mut self.cached_journal,
        };
        match journal.filled(result, &mut self.files) {
            Ok(()) => self.after_progress(),
            Err(failure) if journal.cannot_be_filled() => {
                tracing::error!(%failure, "no journal extent can be prepared: stopping, nothing more is acknowledged");
                self.fail(Error::failed(journal::DIRECTORY, "write", failure));
            }
            Err(failure) => {
                tracing::warn!(%failure, "cannot prepare a journal extent; trying again in a second");
                self.retry_at = Some(self.now.monotonic_ns + RETRY_NS);
                if failure.is_full() {
                    self.set_disk_full();
                }
            }
        }
    }

    /// The disk has no room: no more appends until a write succeeds.
    pub(super) fn set_disk_full(&mut self) {
        self.retry_at.get_or_insert(self.now.monotonic_ns + RETRY_NS);
        if !std::mem::replace(&mut self.is_disk_full, true) {
            tracing::warn!("the disk is full: appends are refused until there is room again");
            self.push(Event::DiskFull);
        }
    }

    /// Something was written: what was refused may succeed now.
    pub(super) fn after_progress(&mut self) {
        if self.is_disk_full
            && !self.durable_journal.is_starved()
            && !self.cached_journal.is_starved()
            && !self.rounds.is_refused()
        {
            self.is_disk_full = false;
            self.push(Event::Writable);
        }
    }
}

/// Up to where an entry makes its log durable, if it does.
pub(super) fn end_of(body: &EntryBody) -> Option<i64> {
    match body {
        Body::Append { batch, .. } => {
            Some(Batch::first(batch.as_ref()).expect("an entry holds the batch it was made from").next_offset())
        }
        Body::Reference { batches, .. } => {
            format::referred(batches.as_ref()).next_back().map(|(batch, _)| batch.next_offset())
        }
        Body::TailImage { .. }
        | Body::Truncate { .. }
        | Body::LogStart { .. }
        | Body::Delete
        | Body::Noop
        | Body::Directory { .. } => None,
    }
}
