//! A shard's stores, one for each of the node's data directories.
//!
//! ```text
//!            ┌ directory 0 ─ Store ┐  logs, journals, memory and files of their own;
//!  Stores ───┼ directory 1 ─ Store ┤  what fails in one does not concern the others
//!            └ directory 2 ─   –   ┘  a directory that could not be opened has none
//! ```
//!
//! A log's [`Slot`] says which store has it: `stores[slot]`.

use std::ops::{Index, IndexMut};

use crate::io::{Completion, DataDirectory, Request};
use crate::log::{Now, Slot};
use crate::store::compaction::Settings;
use crate::store::metrics::{Memory, Snapshot};
use crate::store::{Event, Store};

/// See the module's head. Owned by the shard.
#[derive(Debug)]
pub struct Stores {
    /// By the directory's number.
    stores: Vec<Option<Store>>,
}

impl Stores {
    /// The stores by their directories' numbers; none where a directory could not be opened.
    ///
    /// # Panics
    /// If there is no directory, or there are too many.
    #[must_use]
    pub fn new(stores: Vec<Option<Store>>) -> Self {
        assert!(!stores.is_empty() && stores.len() <= DataDirectory::COUNT_MAX, "directories are counted in a byte");
        Self { stores }
    }

    /// How many data directories the node has.
    #[must_use]
    pub fn directories(&self) -> usize {
        self.stores.len()
    }

    /// The store of a directory, if it could be opened.
    #[must_use]
    pub fn at(&self, directory: DataDirectory) -> Option<&Store> {
        self.stores[directory.index()].as_ref()
    }

    /// As [`Self::at`].
    pub fn at_mut(&mut self, directory: DataDirectory) -> Option<&mut Store> {
        self.stores[directory.index()].as_mut()
    }

    /// The stores there are.
    pub fn iter(&self) -> impl Iterator<Item = &Store> {
        self.stores.iter().flatten()
    }

    /// The stores there are.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Store> {
        self.stores.iter_mut().flatten()
    }

    /// Takes the end of a request.
    ///
    /// # Panics
    /// If no store made the request.
    pub fn complete(&mut self, completion: Completion, now: Now) {
        let store = self.stores[completion.directory.index()].as_mut();
        store.expect("only a store makes requests").complete(completion, now);
    }

    /// One bounded piece of background work in each store.
    pub fn step(&mut self, now: Now, budget: usize) {
        self.iter_mut().for_each(|store| store.step(now, budget));
    }

    /// The next thing that happened, and in which directory.
    pub fn next_event(&mut self) -> Option<(DataDirectory, Event)> {
        let stores = self.stores.iter_mut().enumerate();
        stores.filter_map(|(number, store)| Some((DataDirectory(number as u8), store.as_mut()?.next_event()?))).next()
    }

    /// What is to be done to files now: call at the end of each turn.
    pub fn requests(&mut self, out: &mut Vec<Request>) {
        self.iter_mut().for_each(|store| store.requests(out));
    }

    /// As [`Store::has_work`], of any.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.iter().any(Store::has_work)
    }

    /// As [`Store::next_deadline`], of all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.iter().filter_map(Store::next_deadline).min()
    }

    /// Whether every store has room for more appends.
    pub fn has_room(&mut self) -> bool {
        self.iter_mut().all(Store::has_room)
    }

    /// As [`Store::take_shortage`], of any.
    pub fn take_shortage(&mut self) -> bool {
        self.iter_mut().fold(false, |is_short, store| store.take_shortage() | is_short)
    }

    /// As [`Store::set_scrub_rate`], for each.
    pub fn set_scrub_rate(&mut self, bytes_per_second: u64) {
        self.iter_mut().for_each(|store| store.set_scrub_rate(bytes_per_second));
    }

    /// Shares out what the shard's compaction may use among its stores.
    pub fn configure_compaction(&mut self, settings: Settings) {
        let count = self.iter().count().max(1);
        let settings = Settings {
            dedupe_bytes: settings.dedupe_bytes / count,
            io_bytes_per_second: settings.io_bytes_per_second.map(|rate| (rate / count as u64).max(1)),
            ..settings
        };
        self.iter_mut().for_each(|store| store.configure_compaction(settings));
    }

    /// Stops taking appends and makes everything durable.
    pub fn begin_stop(&mut self) {
        self.iter_mut().for_each(Store::begin_stop);
    }

    /// As [`Store::is_stopped`], of all.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.iter().all(Store::is_stopped)
    }

    /// What the stores have done and hold together, at monotonic time `now_ns`.
    #[must_use]
    pub fn metrics(&self, now_ns: u64) -> Snapshot {
        let mut all = Snapshot::default();
        self.iter().for_each(|store| all.add(&store.metrics(now_ns)));
        all
    }

    /// As [`Store::memories`], of all: a directory's number, what it is, how much is in use and may be.
    pub fn memories(&self) -> impl Iterator<Item = (usize, &'static str, Memory)> {
        let stores = self.stores.iter().enumerate().filter_map(|(number, store)| Some((number, store.as_ref()?)));
        stores.flat_map(|(number, store)| store.memories().map(|(name, memory)| (number, name, memory)))
    }

    /// Whether a store refuses appends for want of room on its disk.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.iter().any(Store::is_disk_full)
    }
}

impl Index<Slot> for Stores {
    type Output = Store;

    /// # Panics
    /// If the slot is of no store of this shard.
    fn index(&self, slot: Slot) -> &Store {
        self.stores[slot.directory().index()].as_ref().expect("a slot comes from a store")
    }
}

impl IndexMut<Slot> for Stores {
    fn index_mut(&mut self, slot: Slot) -> &mut Store {
        self.stores[slot.directory().index()].as_mut().expect("a slot comes from a store")
    }
}
