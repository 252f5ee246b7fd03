//! The disk: one file system of directories and files, shared by all shards of a node.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Component, Path};

use super::Random;
use super::directory::{Directory, NodeId};
use super::file::File;
use crate::buffer::Slice;
use crate::io::{BLOCK_BYTES, Done, Durability, Failure, FileId, Op, OpenMode, Volume};

/// Whose file numbers are meant: every shard chooses its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner(pub u32);

/// What goes wrong, and how often (per million operations of the kind).
#[derive(Debug, Clone)]
pub struct Faults {
    /// Writes that fail with `EIO` after any part of their effect.
    pub write_errors_per_million: u32,
    /// Reads that fail with `EIO`.
    pub read_errors_per_million: u32,
    /// Syncs that fail with `EIO`.
    pub sync_errors_per_million: u32,
    /// Errors of these kinds that still come, at the most.
    pub errors_max: u32,
    /// What the device holds; a write beyond it fails with `ENOSPC`.
    pub capacity_bytes: u64,
    /// The file system has no `O_DIRECT`.
    pub refuses_direct: bool,
    /// Syncs complete and make nothing durable: to prove that such a disk is noticed.
    pub lies: bool,
    /// The device is gone: every operation fails with `EIO` and has no effect.
    pub is_gone: bool,
    /// The file system was made read-only: what would change it fails with `EROFS`.
    pub is_read_only: bool,
}

impl Faults {
    /// A disk without faults, and without bound.
    pub const NONE: Self = Self {
        write_errors_per_million: 0,
        read_errors_per_million: 0,
        sync_errors_per_million: 0,
        errors_max: u32::MAX,
        capacity_bytes: u64::MAX,
        refuses_direct: false,
        lies: false,
        is_gone: false,
        is_read_only: false,
    };
}

/// What has happened on a disk so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Writes done.
    pub writes: u64,
    /// Reads done.
    pub reads: u64,
    /// Syncs done, of any kind; synced writes too.
    pub syncs: u64,
    /// Reads failed with `EIO`.
    pub read_errors: u64,
    /// Writes failed with `EIO`.
    pub write_errors: u64,
    /// Syncs failed with `EIO`.
    pub sync_errors: u64,
    /// Operations failed with `ENOSPC`.
    pub refusals: u64,
    /// Power cuts.
    pub crashes: u64,
    /// Files and directories that had something to lose at a power cut.
    pub exposed: u64,
    /// Unsynced blocks that a power cut took back.
    pub lost_blocks: u64,
    /// Unsynced blocks that were on the device at a power cut.
    pub kept_blocks: u64,
    /// Unsynced blocks of which a power cut left a mixture of versions.
    pub torn_blocks: u64,
    /// Lengths of files that a power cut took back.
    pub lost_lengths: u64,
    /// Changes of names that a power cut took back.
    pub lost_names: u64,
    /// Operations in flight when a process or the power went.
    pub interrupted: u64,
}

impl Counts {
    /// Operations failed with `EIO`.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.read_errors + self.write_errors + self.sync_errors
    }
}

impl Counts {
    /// Adds what has happened on another disk.
    pub fn add(&mut self, other: &Self) {
        self.writes += other.writes;
        self.reads += other.reads;
        self.syncs += other.syncs;
        self.read_errors += other.read_errors;
        self.write_errors += other.write_errors;
        self.sync_errors += other.sync_errors;
        self.refusals += other.refusals;
        self.crashes += other.crashes;
        self.exposed += other.exposed;
        self.lost_blocks += other.lost_blocks;
        self.kept_blocks += other.kept_blocks;
        self.torn_blocks += other.torn_blocks;
        self.lost_lengths += other.lost_lengths;
        self.lost_names += other.lost_names;
        self.interrupted += other.interrupted;
    }
}

#[derive(Debug)]
enum Node {
    File(File),
    Directory(Directory),
}

/// An open file.
#[derive(Debug, Clone, Copy)]
struct Handle {
    node: NodeId,
    direct: bool,
    writable: bool,
}

const ROOT: NodeId = NodeId(0);

impl Handle {
    fn check_alignment(self, position: u64, memory: impl IntoIterator<Item = (usize, usize)>) {
        let aligned = |number: usize| number.is_multiple_of(BLOCK_BYTES);
        if self.direct {
            assert!(aligned(position as usize), "direct I/O at {position}");
            for (address, length) in memory {
                assert!(aligned(address) && aligned(length), "direct I/O of {length} bytes at address {address:#x}");
            }
        }
    }
}

/// A simulated file system. See the module for its fault model.
#[derive(Debug)]
pub struct Disk {
    nodes: BTreeMap<NodeId, Node>,
    open: BTreeMap<(Owner, FileId), Handle>,
    next_node: u64,
    /// Whether nodes may have lost their last name since the last collection.
    has_garbage: bool,
    random: Random,
    faults: Faults,
    counts: Counts,
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new(random: Random, faults: Faults) -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::Directory(Directory::default()))]),
            open: BTreeMap::new(),
            next_node: 1,
            has_garbage: false,
            random,
            faults,
            counts: Counts::default(),
        }
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// What goes wrong at present.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes of the device that files and directories take.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let blocks: u64 = self.live_nodes().iter().map(|node| self.allocated_blocks(*node)).sum();
        blocks * BLOCK_BYTES as u64
    }

    /// Carries out one operation at this moment.
    ///
    /// # Errors
    /// A fault drawn from the seed, or what a real file system would answer.
    ///
    /// # Panics
    /// If the operation breaks `io`'s rules: a number that is not open or already taken, direct I/O not aligned.
    pub fn execute(&mut self, owner: Owner, op: Op) -> Result<Done, Failure> {
        // To close a file takes no device.
        if !matches!(op, Op::Close { .. }) {
            self.check_device()?;
        }
        if changes(&op) {
            self.check_writable()?;
        }
        match op {
            Op::Open { file, path, mode } => self.open(owner, file, &path, mode),
            Op::Close { file } => {
                let closed = self.open.remove(&(owner, file));
                assert!(closed.is_some(), "{file:?} of {owner:?} is closed but not open");
                self.collect_garbage();
                Ok(Done::Finished)
            }
            Op::Write { file, position, data, durability } => {
                let handle = self.opened(owner, file);
                assert!(handle.writable, "{file:?} of {owner:?} is written but open for reading only");
                let addresses = data.iter().map(|slice| (slice.as_ptr() as usize, slice.len()));
                handle.check_alignment(position, addresses);
                self.write(handle.node, position, data, durability)
            }
            Op::Read { file, position, mut buffer } => {
                let handle = self.opened(owner, file);
                handle.check_alignment(position, [(buffer.as_ptr() as usize, buffer.len())]);
                let length = self.read(handle.node, position, &mut buffer)?;
                Ok(Done::Read { buffer, length })
            }
            Op::Sync { file } => self.sync_node(self.opened(owner, file).node),
            Op::SyncAll => self.sync_all(),
            Op::SyncDirectory { path } => self.sync_directory(&path),
            Op::SetLength { file, length } => {
                self.file_mut(self.opened(owner, file).node).set_length(length);
                Ok(Done::Finished)
            }
            Op::CreateDirectory { path } => self.create_directory(&path),
            Op::RemoveFile { path } => self.remove_file(&path),
            Op::RemoveDirectory { path } => self.remove_directory(&path),
            Op::Rename { from, to } => self.rename(&from, &to),
            Op::MeasureVolume => Ok(Done::Measured(self.volume())),
        }
    }

    /// An operation that was in flight when the power went: any part of its effect happens.
    pub fn interrupt(&mut self, owner: Owner, op: Op) {
        let faults = self.faults.clone();
        self.faults = Faults { lies: faults.lies, ..Faults::NONE };
        self.counts.interrupted += 1;
        match op {
            Op::Write { file, position, data, .. } => {
                let handle = self.opened(owner, file);
                self.write_in_part(handle.node, position, &data);
            }
            Op::Read { .. } => {}
            // The interrupted operation has no one to report to.
            other if self.random.index(2) == 0 => drop(self.execute(owner, other)),
            _ => {}
        }
        self.faults = faults;
    }

    /// The power goes: what was not synced is kept, lost or torn; nothing is open any more.
    pub fn crash(&mut self) {
        self.counts.crashes += 1;
        self.open.clear();
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) if file.is_dirty() => {
                    self.counts.exposed += 1;
                    file.crash(&mut self.random, &mut self.counts);
                }
                Node::Directory(directory) if directory.is_dirty() => {
                    self.counts.exposed += 1;
                    self.counts.lost_names += directory.crash(&mut self.random);
                }
                Node::File(_) | Node::Directory(_) => {}
            }
        }
        self.has_garbage = true;
        self.collect_garbage();
    }

    /// The process dies (`kill -9`): nothing is open any more, and the page cache survives.
    pub fn close_all(&mut self) {
        self.open.clear();
        self.collect_garbage();
    }

    /// Flips one bit of a stored byte, as a decaying medium does. Nothing happens beyond the end of the file.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn corrupt(&mut self, path: &Path, position: u64) -> Result<(), Failure> {
        let node = self.find(path)?;
        self.file_mut(node).corrupt(position);
        Ok(())
    }

    // What follows also serves blocking access, which names files by their path.

    /// Whether the device is there.
    pub(super) fn check_device(&mut self) -> Result<(), Failure> {
        if self.faults.is_gone { self.fail() } else { Ok(()) }
    }

    /// Whether the file system takes changes.
    pub(super) fn check_writable(&mut self) -> Result<(), Failure> {
        if self.faults.is_read_only {
            self.counts.refusals += 1;
            return Err(Failure { errno: libc::EROFS });
        }
        Ok(())
    }

    pub(super) fn find(&self, path: &Path) -> Result<NodeId, Failure> {
        let mut at = ROOT;
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::Normal(name) => {
                    let Some(Node::Directory(directory)) = self.nodes.get(&at) else { return Err(NOT_A_DIRECTORY) };
                    at = directory.get(name).ok_or(NOT_FOUND)?;
                }
                Component::Prefix(_) | Component::RootDir | Component::ParentDir => {
                    panic!("{} leads out of the data directory", path.display())
                }
            }
        }
        Ok(at)
    }

    pub(super) fn length(&self, node: NodeId) -> u64 {
        self.file(node).length()
    }

    pub(super) fn is_directory(&self, node: NodeId) -> bool {
        matches!(self.nodes[&node], Node::Directory(_))
    }

    pub(super) fn names(&self, node: NodeId) -> impl Iterator<Item = (&OsStr, NodeId)> {
        let names = match &self.nodes[&node] {
            Node::Directory(directory) => Some(directory.names()),
            Node::File(_) => None,
        };
        names.into_iter().flatten().map(|(name, node)| (name.as_os_str(), *node))
    }

    pub(super) fn create_file(&mut self, path: &Path) -> Result<NodeId, Failure> {
        match self.find(path) {
            Err(NOT_FOUND) => {
                let (parent, name) = self.parent(path)?;
                if self.free_blocks() == 0 {
                    return self.refuse();
                }
                let node = self.add_node(Node::File(File::default()));
                self.directory_mut(parent).add(name, node);
                Ok(node)
            }
            found => found,
        }
    }

    pub(super) fn read(&mut self, node: NodeId, position: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        if self.strikes(self.faults.read_errors_per_million) {
            self.counts.read_errors += 1;
            return self.fail();
        }
        self.counts.reads += 1;
        Ok(self.file(node).read(position, buffer))
    }

    pub(super) fn write_bytes(&mut self, node: NodeId, position: u64, bytes: &[u8]) -> Result<(), Failure> {
        if self.file(node).blocks_needed(position, bytes.len()) > self.free_blocks() {
            return self.refuse();
        }
        self.counts.writes += 1;
        self.file_mut(node).write(position, bytes, Durability::Buffered);
        Ok(())
    }

    pub(super) fn set_length(&mut self, node: NodeId, length: u64) {
        self.file_mut(node).set_length(length);
    }

    pub(super) fn sync_node(&mut self, node: NodeId) -> Result<Done, Failure> {
        if self.strikes(self.faults.sync_errors_per_million) {
            if let Some(Node::File(file)) = self.nodes.get_mut(&node) {
                file.fail_sync();
            }
            self.counts.sync_errors += 1;
            return self.fail();
        }
        self.counts.syncs += 1;
        if !self.faults.lies {
            match self.nodes.get_mut(&node).expect("found before") {
                Node::File(file) => file.sync(),
                Node::Directory(directory) => directory.sync(),
            }
            self.collect_garbage();
        }
        Ok(Done::Finished)
    }

    pub(super) fn sync_directory(&mut self, path: &Path) -> Result<Done, Failure> {
        let node = self.find(path)?;
        assert!(self.is_directory(node), "{} is no directory", path.display());
        self.sync_node(node)
    }

    pub(super) fn create_directory(&mut self, path: &Path) -> Result<Done, Failure> {
        let mut at = ROOT;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            at = match self.directory_mut(at).get(name) {
                Some(node) => node,
                None if self.free_blocks() == 0 => return self.refuse(),
                None => {
                    let node = self.add_node(Node::Directory(Directory::default()));
                    self.directory_mut(at).add(name, node);
                    node
                }
            };
            if !self.is_directory(at) {
                return Err(NOT_A_DIRECTORY);
            }
        }
        Ok(Done::Finished)
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> Result<Done, Failure> {
        match self.find(path) {
            Err(NOT_FOUND) => Ok(Done::Finished),
            Err(failure) => Err(failure),
            Ok(node) if self.is_directory(node) => Err(Failure { errno: libc::EISDIR }),
            Ok(_) => self.unlink(path),
        }
    }

    pub(super) fn remove_directory(&mut self, path: &Path) -> Result<Done, Failure> {
        match self.find(path) {
            Err(NOT_FOUND) => Ok(Done::Finished),
            Err(failure) => Err(failure),
            Ok(node) if !self.is_directory(node) => Err(NOT_A_DIRECTORY),
            Ok(_) => self.unlink(path),
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<Done, Failure> {
        assert_eq!(from.parent(), to.parent(), "a rename stays in its directory");
        let node = self.find(from)?;
        let (parent, name) = self.parent(from)?;
        let (_, new_name) = self.parent(to)?;
        self.directory_mut(parent).rename(name, new_name, node);
        self.has_garbage = true;
        Ok(Done::Finished)
    }

    fn open(&mut self, owner: Owner, file: FileId, path: &Path, mode: OpenMode) -> Result<Done, Failure> {
        assert!(!self.open.contains_key(&(owner, file)), "{file:?} of {owner:?} is taken");
        let node = if mode.create { self.create_file(path)? } else { self.find(path)? };
        if self.is_directory(node) {
            return Err(Failure { errno: libc::EISDIR });
        }
        let direct = mode.direct && !self.faults.refuses_direct;
        self.open.insert((owner, file), Handle { node, direct, writable: mode.write });
        Ok(Done::Opened { length: self.length(node), direct })
    }

    fn write(
        &mut self,
        node: NodeId,
        position: u64,
        data: Vec<Slice>,
        durability: Durability,
    ) -> Result<Done, Failure> {
        let bytes: usize = data.iter().map(|slice| slice.len()).sum();
        if self.file(node).blocks_needed(position, bytes) > self.free_blocks() {
            return self.refuse();
        }
        if self.strikes(self.faults.write_errors_per_million) {
            self.counts.write_errors += 1;
            self.write_in_part(node, position, &data);
            return self.fail();
        }
        self.counts.writes += 1;
        self.counts.syncs += u64::from(durability == Durability::Synced);
        let durability = if self.faults.lies { Durability::Buffered } else { durability };
        let mut at = position;
        for slice in &data {
            self.file_mut(node).write(at, slice, durability);
            at += slice.len() as u64;
        }
        Ok(Done::Written { data })
    }

    /// Writes a random choice of the blocks, none of them durable.
    fn write_in_part(&mut self, node: NodeId, position: u64, data: &[Slice]) {
        let mut at = position;
        let whole = self.random.index(4) == 0;
        for piece in data.iter().flat_map(|slice| slice.chunks(BLOCK_BYTES)) {
            if whole || self.random.index(2) == 0 {
                self.file_mut(node).write(at, piece, Durability::Buffered);
            }
            at += piece.len() as u64;
        }
    }

    fn sync_all(&mut self) -> Result<Done, Failure> {
        if self.strikes(self.faults.sync_errors_per_million) {
            self.counts.sync_errors += 1;
            return self.fail();
        }
        self.counts.syncs += 1;
        if !self.faults.lies {
            for node in self.nodes.values_mut() {
                match node {
                    Node::File(file) => file.sync(),
                    Node::Directory(directory) => directory.sync(),
                }
            }
            self.collect_garbage();
        }
        Ok(Done::Finished)
    }

    fn unlink(&mut self, path: &Path) -> Result<Done, Failure> {
        let (parent, name) = self.parent(path)?;
        self.directory_mut(parent).remove(name);
        self.has_garbage = true;
        Ok(Done::Finished)
    }

    /// The directory that holds the last name of `path`, and that name.
    fn parent<'p>(&self, path: &'p Path) -> Result<(NodeId, &'p OsStr), Failure> {
        let name = path.file_name().expect("the data directory itself is not created, renamed or removed");
        let node = self.find(path.parent().unwrap_or(Path::new("")))?;
        if self.is_directory(node) { Ok((node, name)) } else { Err(NOT_A_DIRECTORY) }
    }

    fn opened(&self, owner: Owner, file: FileId) -> Handle {
        *self.open.get(&(owner, file)).unwrap_or_else(|| panic!("{file:?} of {owner:?} is used but not open"))
    }

    fn add_node(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.next_node);
        self.next_node += 1;
        self.nodes.insert(id, node);
        id
    }

    fn file(&self, node: NodeId) -> &File {
        match &self.nodes[&node] {
            Node::File(file) => file,
            Node::Directory(_) => panic!("a directory is used as a file"),
        }
    }

    fn file_mut(&mut self, node: NodeId) -> &mut File {
        match self.nodes.get_mut(&node) {
            Some(Node::File(file)) => file,
            Some(Node::Directory(_)) | None => panic!("no file has this node"),
        }
    }

    fn directory_mut(&mut self, node: NodeId) -> &mut Directory {
        match self.nodes.get_mut(&node) {
            Some(Node::Directory(directory)) => directory,
            Some(Node::File(_)) | None => panic!("no directory has this node"),
        }
    }

    fn free_blocks(&self) -> u64 {
        if self.faults.capacity_bytes == u64::MAX {
            return u64::MAX;
        }
        self.faults.capacity_bytes.saturating_sub(self.used_bytes()) / BLOCK_BYTES as u64
    }

    fn volume(&self) -> Volume {
        let total_bytes = self.faults.capacity_bytes;
        Volume { total_bytes, usable_bytes: total_bytes.saturating_sub(self.used_bytes()) }
    }

    fn allocated_blocks(&self, node: NodeId) -> u64 {
        match &self.nodes[&node] {
            Node::File(file) => file.allocated_blocks(),
            Node::Directory(_) => 1,
        }
    }

    /// Nodes that have a name, or are open.
    fn live_nodes(&self) -> BTreeSet<NodeId> {
        let named = |directory: &Directory| directory.names().values().copied().collect::<Vec<_>>();
        self.walk(named)
    }

    /// Every node found from the root and the open files along `edges`.
    fn walk(&self, edges: impl Fn(&Directory) -> Vec<NodeId>) -> BTreeSet<NodeId> {
        let mut found: BTreeSet<NodeId> = self.open.values().map(|handle| handle.node).collect();
        let mut ahead = vec![ROOT];
        while let Some(node) = ahead.pop() {
            found.insert(node);
            if let Some(Node::Directory(directory)) = self.nodes.get(&node) {
                ahead.extend(edges(directory));
            }
        }
        found
    }

    /// Forgets nodes that no power cut could bring back.
    fn collect_garbage(&mut self) {
        if std::mem::take(&mut self.has_garbage) {
            let reachable = self.walk(|directory| directory.reachable().collect());
            self.nodes.retain(|node, _| reachable.contains(node));
        }
    }

    /// Whether an operation fails that does so this often.
    fn strikes(&mut self, per_million: u32) -> bool {
        self.faults.errors_max > 0 && self.random.chance(per_million)
    }

    fn fail<T>(&mut self) -> Result<T, Failure> {
        self.faults.errors_max = self.faults.errors_max.saturating_sub(1);
        Err(Failure { errno: libc::EIO })
    }

    fn refuse<T>(&mut self) -> Result<T, Failure> {
        self.counts.refusals += 1;
        Err(Failure { errno: libc::ENOSPC })
    }
}

/// Whether an operation changes the file system. Syncs of what was written before go on as ever.
fn changes(op: &Op) -> bool {
    match op {
        Op::Open { mode, .. } => mode.write,
        Op::Write { .. }
        | Op::SetLength { .. }
        | Op::CreateDirectory { .. }
        | Op::RemoveFile { .. }
        | Op::RemoveDirectory { .. }
        | Op::Rename { .. } => true,
        Op::Close { .. }
        | Op::Read { .. }
        | Op::Sync { .. }
        | Op::SyncAll
        | Op::SyncDirectory { .. }
        | Op::MeasureVolume => false,
    }
}

const NOT_FOUND: Failure = Failure { errno: libc::ENOENT };
const NOT_A_DIRECTORY: Failure = Failure { errno: libc::ENOTDIR };
