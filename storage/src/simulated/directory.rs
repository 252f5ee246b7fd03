//! The names in one directory: as programs see them, and what a power cut may leave of them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::Random;
use super::file::Loss;

/// A file or directory, whatever its name. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) u64);

/// One change that becomes durable whole or not at all.
#[derive(Debug)]
struct Change {
    removed: Option<OsString>,
    added: Option<(OsString, NodeId)>,
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<OsString, NodeId>) {
        if let Some(name) = &self.removed {
            names.remove(name);
        }
        if let Some((name, node)) = &self.added {
            // A node has one name: where the rename is kept but not what came before it, the older name goes.
            names.retain(|_, other| other != node);
            names.insert(name.clone(), *node);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Directory {
    names: BTreeMap<OsString, NodeId>,
    durable: BTreeMap<OsString, NodeId>,
    pending: Vec<Change>,
}

impl Directory {
    pub(super) fn get(&self, name: &OsStr) -> Option<NodeId> {
        self.names.get(name).copied()
    }

    pub(super) fn names(&self) -> &BTreeMap<OsString, NodeId> {
        &self.names
    }

    /// Every node that has a name here, or could have one again after a power cut.
    pub(super) fn reachable(&self) -> impl Iterator<Item = NodeId> {
        let pending = self.pending.iter().filter_map(|change| change.added.as_ref().map(|(_, node)| *node));
        self.names.values().chain(self.durable.values()).copied().chain(pending)
    }

    pub(super) fn add(&mut self, name: &OsStr, node: NodeId) {
        self.change(Change { removed: None, added: Some((name.to_owned(), node)) });
    }

    pub(super) fn remove(&mut self, name: &OsStr) {
        self.change(Change { removed: Some(name.to_owned()), added: None });
    }

    pub(super) fn rename(&mut self, from: &OsStr, to: &OsStr, node: NodeId) {
        self.change(Change { removed: Some(from.to_owned()), added: Some((to.to_owned(), node)) });
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn sync(&mut self) {
        if self.is_dirty() {
            self.durable = self.names.clone();
            self.pending.clear();
        }
    }

    /// Says how many changes are lost.
    pub(super) fn crash(&mut self, random: &mut Random) -> u64 {
        let pending = std::mem::take(&mut self.pending);
        let loss = Loss::draw(random);
        // A journaling file system keeps a first part of the changes; POSIX allows any subset.
        let first_part = (random.index(2) == 0).then(|| random.index(pending.len() + 1));
        let mut lost = 0;
        for (index, change) in pending.iter().enumerate() {
            let kept = match loss {
                Loss::Nothing => true,
                Loss::Everything => false,
                Loss::Pieces => first_part.map_or_else(|| random.index(2) == 0, |count| index < count),
            };
            if kept {
                change.apply(&mut self.durable);
            } else {
                lost += 1;
            }
        }
        self.names = self.durable.clone();
        lost
    }
}
