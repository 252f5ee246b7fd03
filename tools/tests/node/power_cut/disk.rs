//! A disk in memory that forgets at a power cut what was not synced.
//!
//! ```text
//! file   durable bytes ── pending: write, write, length, … ──► live bytes      fsync, O_DSYNC: pending becomes durable
//! names  durable names ── pending: link, unlink, rename, … ──► live names      fsync of a directory, or see Naming
//! ```
//! A cut keeps of a file's pending changes any, each of them torn at a sector, and of the pending names any prefix, as
//! a file system with a journal does.

use std::collections::BTreeMap;

use super::fault::{Call, Faults, How};
use crate::sample::Random;

/// What a device writes whole or not at all, in bytes.
const SECTOR_BYTES: usize = 512;

pub(super) const ROOT: u64 = 1;

/// What makes a name durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// A sync of a file carries its name, and all changes of names before, as ext4's journal does.
    WithFile,
    /// Only a sync of its directory does, and of no other, as POSIX promises.
    WithDirectory,
}

/// The contents of a disk, and what of it would survive.
pub(super) struct Disk {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// Changes of names since the last sync of a directory.
    renamings: Vec<Renaming>,
    durable_names: Names,
    names: Names,
    naming: Naming,
    /// Says that everything is synced, and does nothing.
    pub(super) lies: bool,
    /// Without power every operation fails.
    pub(super) powered: bool,
    pub(super) counts: Counts,
    pub(super) faults: Faults,
    random: Random,
}

/// What has been asked of the disk.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) writes: usize,
    /// Those with O_DSYNC or O_SYNC.
    pub(super) synced_writes: usize,
    pub(super) syncs: usize,
    /// Pending changes that cuts have taken or torn.
    pub(super) forgotten: usize,
}

type Names = BTreeMap<(u64, String), u64>;

#[derive(Debug, Clone)]
enum Renaming {
    Link { directory: u64, name: String, node: u64 },
    Unlink { directory: u64, name: String },
    Rename { from: (u64, String), to: (u64, String) },
}

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) is_directory: bool,
    pub(super) live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

/// An error number of the operating system.
pub(super) type Errno = i32;

impl Disk {
    pub(super) fn new(naming: Naming, lies: bool) -> Self {
        let root = Node { is_directory: true, ..Node::default() };
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            renamings: Vec::new(),
            durable_names: Names::new(),
            names: Names::new(),
            naming,
            lies,
            powered: true,
            counts: Counts::default(),
            faults: Faults::default(),
            random: Random::new(42),
        }
    }

    pub(super) fn node(&self, node: u64) -> Result<&Node, Errno> {
        if !self.powered {
            return Err(libc::EIO);
        }
        self.nodes.get(&node).ok_or(libc::ENOENT)
    }

    fn node_mut(&mut self, node: u64) -> Result<&mut Node, Errno> {
        self.node(node)?;
        self.nodes.get_mut(&node).ok_or(libc::ENOENT)
    }

    pub(super) fn lookup(&self, directory: u64, name: &str) -> Result<u64, Errno> {
        self.node(directory)?;
        self.names.get(&(directory, name.to_owned())).copied().ok_or(libc::ENOENT)
    }

    /// Names, nodes and whether they are directories.
    pub(super) fn list(&self, directory: u64) -> Result<Vec<(String, u64, bool)>, Errno> {
        self.node(directory)?;
        let inside = self.names.iter().filter(|((parent, _), _)| *parent == directory);
        Ok(inside.map(|((_, name), &node)| (name.clone(), node, self.nodes[&node].is_directory)).collect())
    }

    /// Whether a power cut leaves this path.
    pub(super) fn is_durable(&self, path: &str) -> bool {
        let mut at = ROOT;
        path.split('/').all(|name| match self.durable_names.get(&(at, name.to_owned())) {
            Some(&node) => {
                at = node;
                true
            }
            None => false,
        })
    }

    pub(super) fn create(&mut self, directory: u64, name: &str, is_directory: bool) -> Result<u64, Errno> {
        if self.lookup(directory, name).is_ok() {
            return Err(libc::EEXIST);
        }
        self.node(directory)?;
        let node = self.next;
        self.next += 1;
        self.nodes.insert(node, Node { is_directory, ..Node::default() });
        self.rename_by(Renaming::Link { directory, name: name.to_owned(), node });
        Ok(node)
    }

    pub(super) fn unlink(&mut self, directory: u64, name: &str) -> Result<(), Errno> {
        let node = self.lookup(directory, name)?;
        if self.nodes[&node].is_directory && !self.list(node)?.is_empty() {
            return Err(libc::ENOTEMPTY);
        }
        self.rename_by(Renaming::Unlink { directory, name: name.to_owned() });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: (u64, &str), to: (u64, &str)) -> Result<(), Errno> {
        self.lookup(from.0, from.1)?;
        self.rename_by(Renaming::Rename { from: (from.0, from.1.to_owned()), to: (to.0, to.1.to_owned()) });
        Ok(())
    }

    fn rename_by(&mut self, renaming: Renaming) {
        apply_name(&mut self.names, &renaming);
        self.renamings.push(renaming);
    }

    /// From the root to a file or directory; nothing if it has no name any more.
    fn path(&self, node: u64) -> String {
        let mut path = String::new();
        let mut at = node;
        while let Some(((directory, name), _)) = self.names.iter().find(|&(_, &named)| named == at) {
            path = format!("/{name}{path}");
            at = *directory;
        }
        path
    }

    fn meet_fault(&mut self, call: Call, node: u64, bytes: usize) -> Option<How> {
        let path = self.path(node);
        self.faults.meet(call, &path, bytes)
    }

    /// Reads up to `length` bytes, fewer at the end of the file.
    pub(super) fn read(&mut self, node: u64, at: usize, length: usize) -> Result<&[u8], Errno> {
        self.node(node)?;
        if let Some(How::Error(errno)) = self.meet_fault(Call::Read, node, length) {
            return Err(errno);
        }
        let live = &self.node(node)?.live;
        let start = at.min(live.len());
        Ok(&live[start..(start + length).min(live.len())])
    }

    /// Writes, and says how much; with `synced` the bytes are durable when this returns. Of a write that fails any part may
    /// have been done.
    pub(super) fn write(&mut self, node: u64, at: usize, bytes: &[u8], synced: bool) -> Result<usize, Errno> {
        self.node(node)?;
        let (written, failure) = match self.meet_fault(Call::Write, node, bytes.len()) {
            None => (bytes.len(), None),
            Some(How::Short(written)) => (written, None),
            Some(How::Error(errno)) => (self.random.below(bytes.len() + 1), Some(errno)),
        };
        self.put(node, at, &bytes[..written], synced && failure.is_none())?;
        failure.map_or(Ok(written), Err)
    }

    fn put(&mut self, node: u64, at: usize, bytes: &[u8], synced: bool) -> Result<(), Errno> {
        let lies = self.lies;
        self.counts.writes += 1;
        self.counts.synced_writes += usize::from(synced);
        if synced && !lies {
            self.settle_name_of(node);
        }
        let node = self.node_mut(node)?;
        put(&mut node.live, at, bytes);
        if synced && !lies {
            node.settle_lengths();
            node.forget_pending(at, at + bytes.len());
            put(&mut node.durable, at, bytes);
        } else {
            node.pending.push(Change::Write { at, bytes: bytes.to_vec() });
        }
        Ok(())
    }

    pub(super) fn set_length(&mut self, node: u64, length: usize) -> Result<(), Errno> {
        let node = self.node_mut(node)?;
        node.live.resize(length, 0);
        node.pending.push(Change::Length(length));
        Ok(())
    }

    pub(super) fn sync(&mut self, node: u64) -> Result<(), Errno> {
        self.node(node)?;
        self.counts.syncs += 1;
        if let Some(How::Error(errno)) = self.meet_fault(Call::Sync, node, 0) {
            self.forget_dirty(node);
            return Err(errno);
        }
        if self.lies {
            return Ok(());
        }
        if self.node(node)?.is_directory {
            self.settle_names_in(node);
            return Ok(());
        }
        self.settle_name_of(node);
        let node = self.node_mut(node)?;
        for change in std::mem::take(&mut node.pending) {
            apply(&mut node.durable, &change);
        }
        Ok(())
    }

    /// As Linux does after a failed sync: what could not be written counts as clean, and the next sync says nothing of it.
    fn forget_dirty(&mut self, node: u64) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.pending.clear();
        }
    }

    fn settle_names_in(&mut self, directory: u64) {
        let naming = self.naming;
        let is_meant = |it: &mut Renaming| naming == Naming::WithFile || it.directories().contains(&directory);
        for renaming in self.renamings.extract_if(.., is_meant) {
            apply_name(&mut self.durable_names, &renaming);
        }
    }

    /// A file is synced.
    fn settle_name_of(&mut self, file: u64) {
        let live = &self.names;
        let names_it = |it: &Renaming| match it {
            Renaming::Link { node, .. } => *node == file,
            Renaming::Rename { to, .. } => live.get(to) == Some(&file),
            Renaming::Unlink { .. } => false,
        };
        let last = self.renamings.iter().rposition(names_it).filter(|_| self.naming == Naming::WithFile);
        for renaming in self.renamings.drain(..last.map_or(0, |last| last + 1)) {
            apply_name(&mut self.durable_names, &renaming);
        }
    }

    /// What is left once the power comes back.
    pub(super) fn lose_what_was_not_synced(&mut self) {
        let kept = self.random.below(self.renamings.len() + 1);
        self.counts.forgotten += self.renamings.len() - kept;
        for renaming in self.renamings.drain(..).take(kept) {
            apply_name(&mut self.durable_names, &renaming);
        }
        self.names = self.durable_names.clone();
        for node in self.nodes.values_mut() {
            for change in std::mem::take(&mut node.pending) {
                let kept = match (&change, self.random.below(3)) {
                    (_, 0) => true,
                    (Change::Write { at, bytes }, 1) if bytes.len() > SECTOR_BYTES => {
                        let sectors = self.random.below(bytes.len() / SECTOR_BYTES);
                        put(&mut node.durable, *at, &bytes[..sectors * SECTOR_BYTES]);
                        false
                    }
                    _ => false,
                };
                if kept {
                    apply(&mut node.durable, &change);
                } else {
                    self.counts.forgotten += 1;
                }
            }
            node.live.clone_from(&node.durable);
        }
    }
}

impl Node {
    /// A synced write carries the file's length, and so all changes of it before.
    fn settle_lengths(&mut self) {
        let mut writes = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { .. } => writes.push(change),
                Change::Length(length) => {
                    self.durable.resize(length, 0);
                    writes = writes.into_iter().flat_map(|write| write.without(length, usize::MAX)).collect();
                }
            }
        }
        self.pending = writes;
    }

    /// What was written there before is not to come over what is durable now.
    fn forget_pending(&mut self, from: usize, to: usize) {
        let pending = std::mem::take(&mut self.pending);
        self.pending = pending.into_iter().flat_map(|change| change.without(from, to)).collect();
    }
}

impl Change {
    /// What is left of a write outside of a range.
    fn without(self, from: usize, to: usize) -> Vec<Self> {
        let Self::Write { at, bytes } = self else { return vec![self] };
        let end = at + bytes.len();
        let piece = |from: usize, to: usize| {
            (from < to).then(|| Self::Write { at: from, bytes: bytes[from - at..to - at].to_vec() })
        };
        [piece(at, end.min(from)), piece(at.max(to), end)].into_iter().flatten().collect()
    }
}

impl Renaming {
    fn directories(&self) -> [u64; 2] {
        match self {
            Self::Link { directory, .. } | Self::Unlink { directory, .. } => [*directory; 2],
            Self::Rename { from, to } => [from.0, to.0],
        }
    }
}

fn put(target: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if target.len() < end {
        target.resize(end, 0);
    }
    target[at..end].copy_from_slice(bytes);
}

fn apply(target: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { at, bytes } => put(target, *at, bytes),
        Change::Length(length) => target.resize(*length, 0),
    }
}

fn apply_name(names: &mut Names, renaming: &Renaming) {
    match renaming {
        Renaming::Link { directory, name, node } => {
            names.insert((*directory, name.clone()), *node);
        }
        Renaming::Unlink { directory, name } => {
            names.remove(&(*directory, name.clone()));
        }
        Renaming::Rename { from, to } => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}
