//! Adds records to the shard's checkpoint file, and begins a new file when the old one is mostly outdated.

use std::collections::VecDeque;

use super::Identity;
use super::files::{FileKey, FileOp, Files};
use super::purpose::Purpose;
use crate::buffer::Pool;
use crate::checkpoint::format::{self, FLAG_FULL, FLAG_FULL_END, FileHeader, GROUP_BYTES_MAX, GroupPlace, RecordKind};
use crate::checkpoint::record::{self, JournalV1, Recorded};
use crate::checkpoint::{DIRECTORY, shard_path};
use crate::io::{BLOCK_BYTES, Durability, Op, OpenMode};

/// A file is written anew when it has grown to so many times its last full copy.
const FILE_GROWTH: u64 = 4;
/// Memory for one group.
const STAGING_BYTES: usize = 32 << 20;

/// A group to be written.
#[derive(Debug)]
struct Group {
    flags: u16,
    count: u32,
    records: Vec<u8>,
}

/// The checkpoint file of one shard.
#[derive(Debug)]
pub(super) struct Writer {
    staging: Pool,
    file_bytes_min: u64,
    generation: u32,
    /// Where the next group goes; 0 before the file is there.
    position: u64,
    number: u32,
    full_bytes: u64,
    groups: VecDeque<Group>,
    is_named: bool,
    is_copying: bool,
    /// After a failure the file's end is unknown: the next records go to a new file, all of them.
    is_broken: bool,
    outdated: Vec<u32>,
}

impl Writer {
    /// A file is not written anew below `file_bytes_min`.
    pub(super) fn new(file_bytes_min: u64) -> Self {
        Self {
            staging: Pool::new(STAGING_BYTES),
            file_bytes_min,
            generation: 0,
            position: 0,
            number: 0,
            full_bytes: 0,
            groups: VecDeque::new(),
            is_named: false,
            is_copying: false,
            is_broken: false,
            outdated: Vec::new(),
        }
    }

    /// Whether the next records should be those of all logs.
    pub(super) fn wants_full_copy(&self) -> bool {
        self.is_broken || self.position > self.file_bytes_min.max(self.full_bytes * FILE_GROWTH)
    }

    /// Takes records to add to the file.
    pub(super) fn begin(&mut self, records: &[Recorded], journals: &[JournalV1]) {
        self.groups = group(records, journals, 0);
    }

    /// Takes the records of all logs, for a new file.
    pub(super) fn begin_full_copy(&mut self, records: &[Recorded], journals: &[JournalV1]) {
        self.groups = group(records, journals, FLAG_FULL);
        let last = self.groups.back_mut().expect("a full copy has a last group");
        last.flags |= FLAG_FULL_END;
        self.outdated.push(self.generation);
        self.generation += 1;
        self.position = 0;
        self.number = 0;
        self.is_named = false;
        self.is_copying = true;
        self.is_broken = false;
    }

    /// Writes the next group and says how many requests that took; none if all are written.
    pub(super) fn write_next(&mut self, identity: Identity, direct: bool, files: &mut Files<Purpose>) -> Option<usize> {
        let group = self.groups.pop_front()?;
        let header_bytes = if self.position == 0 { BLOCK_BYTES } else { 0 };
        let group_bytes = format::group_bytes(group.records.len());
        let mut buffer = self.staging.allocate(header_bytes + group_bytes).expect("one group at a time fits");
        let Identity { shard, incarnation, directory_id, .. } = identity;
        let generation = self.generation;
        if header_bytes > 0 {
            let header = FileHeader { shard, incarnation, generation, directory_id };
            header.encode(&mut buffer[..BLOCK_BYTES]);
        }
        let place = GroupPlace { incarnation, generation, number: self.number };
        let out = &mut buffer[header_bytes..header_bytes + group_bytes];
        format::encode_group(out, place, group.flags, group.count, &group.records);
        let bytes = header_bytes + group_bytes;
        let data = vec![buffer.freeze(bytes)];
        let mode = OpenMode { create: true, write: true, direct };
        let write = FileOp::Write { position: self.position, data, durability: Durability::Synced };
        let path = || shard_path(incarnation, shard, generation);
        files.request(FileKey::Checkpoint(generation), path, mode, write, Purpose::Round);
        self.position += bytes as u64;
        self.number += 1;
        Some(1)
    }

    /// Makes the file's name durable if it is new; says how many requests that took.
    pub(super) fn sync_name(&mut self, files: &mut Files<Purpose>) -> usize {
        if self.is_named || self.position == 0 {
            return 0;
        }
        files.request_name(Op::SyncDirectory { path: DIRECTORY.into() }, Purpose::Round);
        1
    }

    /// All records are durable: files that they replace are removed.
    pub(super) fn finished(&mut self, identity: Identity, files: &mut Files<Purpose>) {
        self.is_named = self.position > 0;
        if std::mem::take(&mut self.is_copying) {
            self.full_bytes = self.position;
        }
        for generation in self.outdated.drain(..) {
            files.close(FileKey::Checkpoint(generation));
            let path = shard_path(identity.incarnation, identity.shard, generation);
            files.request_name(Op::RemoveFile { path }, Purpose::Forgotten);
        }
    }

    /// The round was given up, perhaps in the middle of a group.
    pub(super) fn aborted(&mut self) {
        self.is_broken |= self.position > 0;
        self.is_copying = false;
        self.groups.clear();
    }
}

fn group(records: &[Recorded], journals: &[JournalV1], flags: u16) -> VecDeque<Group> {
    let mut groups = VecDeque::new();
    let mut current = Group { flags, count: 0, records: Vec::new() };
    for log in records {
        current.count += log.push(&mut current.records);
        if current.records.len() >= GROUP_BYTES_MAX {
            groups.push_back(std::mem::replace(&mut current, Group { flags, count: 0, records: Vec::new() }));
        }
    }
    // Last, because they set extents free that the records before make unnecessary.
    for journal in journals {
        format::push_record(&mut current.records, RecordKind::Journal, |out| record::encode_journal(journal, out));
        current.count += 1;
    }
    groups.push_back(current);
    groups
}
