//! Reading journals back at a start: every extent of the last one, each journal's entries in their chain.
//!
//! A journal ends where its chain breaks. That is a torn end only if nobody ever relied on what is missing: a
//! later intact group (or extent) of the same journal that says the broken sequence was durable makes it damage,
//! and the start is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::DIRECTORY;
use super::format::{self, Entry, Expected, ExtentHeader, GROUP_HEADER_BYTES, GroupHeader, Undecodable};
use crate::Error;
use crate::disk::Disk;
use crate::io::BLOCK_BYTES;
use crate::log::Durability;
use crate::mutation::{self, Mutation};
use crate::recovery::Branch;

/// Which journal, over all shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JournalId {
    pub(crate) shard: u32,
    pub(crate) is_cached: bool,
}

/// An extent file, and its header if it has an intact one.
#[derive(Debug)]
pub(crate) struct ExtentFile {
    pub(crate) path: PathBuf,
    pub(crate) length: u64,
    pub(crate) header: Option<ExtentHeader>,
}

/// What is replayed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    pub(crate) incarnation: u64,
    pub(crate) directory_id: [u8; 16],
}

/// Finds all extent files.
pub(crate) fn list(disk: &dyn Disk) -> Result<Vec<ExtentFile>, Error> {
    let directory = Path::new(DIRECTORY);
    let mut files = Vec::new();
    for entry in disk.list(directory).map_err(Error::io(directory, "list"))? {
        let path = directory.join(&entry.name);
        let mut block = vec![0; BLOCK_BYTES];
        let read = disk.read_at(&path, 0, &mut block).map_err(Error::io(&path, "read"))?;
        let length = disk.length(&path).map_err(Error::io(&path, "examine"))?.unwrap_or(0);
        let header = ExtentHeader::decode(&block[..read]).map_err(|undecodable| refused(&path, 0, undecodable))?;
        files.push(ExtentFile { path, length, header });
    }
    Ok(files)
}

/// One journal's intact groups, in order, with the bytes they lie in.
#[derive(Debug)]
pub(crate) struct Replayed {
    extents: Vec<(PathBuf, Vec<u8>)>,
    groups: Vec<Group>,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    order: u64,
    extent: usize,
    position: usize,
    entries: u32,
    expected: Expected,
    next: Expected,
}

/// From where on a journal's extents are in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Start {
    /// Extents before this are free.
    pub(crate) ordinal: u64,
    /// The first entry in the others.
    pub(crate) sequence: u64,
}

/// Reads the journals of one start, each from its place in `starts` on, or from its beginning.
pub(crate) fn replay(
    disk: &dyn Disk,
    files: &[ExtentFile],
    scope: Scope,
    starts: &BTreeMap<JournalId, Start>,
) -> Result<BTreeMap<JournalId, Replayed>, Error> {
    let mut journals: BTreeMap<JournalId, Vec<(&ExtentFile, ExtentHeader)>> = BTreeMap::new();
    for file in files {
        let Some(header) = file.header else {
            Branch::UnusedExtent.reach();
            continue;
        };
        if header.incarnation != scope.incarnation || header.directory_id != scope.directory_id {
            Branch::ExtentOfEarlierStart.reach();
            continue;
        }
        let id = JournalId { shard: header.shard, is_cached: header.durability == Durability::Cached };
        let first = starts.get(&id).copied().unwrap_or_default().ordinal;
        if !Branch::FreedExtent.reach_if(header.ordinal < first) {
            journals.entry(id).or_default().push((file, header));
        }
    }
    let mut replayed = BTreeMap::new();
    for (id, mut extents) in journals {
        extents.sort_by_key(|(_, header)| header.ordinal);
        let start = starts.get(&id).copied().unwrap_or_default();
        replayed.insert(id, replay_journal(disk, &extents, scope, start)?);
    }
    Ok(replayed)
}

fn replay_journal(
    disk: &dyn Disk,
    extents: &[(&ExtentFile, ExtentHeader)],
    scope: Scope,
    first: Start,
) -> Result<Replayed, Error> {
    let mut replayed = Replayed { extents: Vec::new(), groups: Vec::new() };
    let mut expected = None;
    let mut claim = 0;
    let mut broken: Option<(PathBuf, u64)> = None;
    for (file, header) in extents {
        claim = claim.max(header.durable_before);
        if expected.is_none() && header.first_sequence != first.sequence {
            // What came before this extent is missing: nothing can be chained, and its absence may be damage.
            expected = Some(Expected { sequence: first.sequence, seed: 0 });
            broken = Some((file.path.clone(), 0));
        }
        let start = Expected { sequence: header.first_sequence, seed: header.seed };
        let continues = expected.is_none_or(|expected| replayed.rewind(start, expected));
        let mut bytes = vec![0; usize::try_from(file.length).expect("an extent fits memory")];
        let read = disk.read_at(&file.path, 0, &mut bytes).map_err(Error::io(&file.path, "read"))?;
        bytes.truncate(read);
        let mut position = BLOCK_BYTES;
        if continues {
            let mut next = start;
            let at = replayed.extents.len();
            while let Some(group) = read_group(&file.path, &bytes, at, position, header.ordinal, next, scope)? {
                claim = claim.max(group.durable_before);
                next = group.group.next;
                position += group.padded_bytes;
                replayed.groups.push(group.group);
            }
            expected = Some(next);
            broken = Some((file.path.clone(), position as u64));
        }
        claim = claim.max(claims_behind(&bytes, position, scope.incarnation, header.ordinal));
        replayed.extents.push((file.path.clone(), bytes));
    }
    let end = expected.map_or(0, |expected| expected.sequence);
    if let Some((path, position)) = broken.filter(|_| claim > end && !mutation::is(Mutation::IgnoreDurableBefore)) {
        let what = format!("journal entry {end} is damaged or missing, and entries up to {claim} were durable");
        return Err(Error::corrupt(path, position, what));
    }
    Ok(replayed)
}

struct ReadGroup {
    group: Group,
    durable_before: u64,
    padded_bytes: usize,
}

/// The group at `position` if it is intact and the one in turn.
fn read_group(
    path: &Path,
    bytes: &[u8],
    extent: usize,
    position: usize,
    ordinal: u64,
    expected: Expected,
    scope: Scope,
) -> Result<Option<ReadGroup>, Error> {
    let Some(rest) = bytes.get(position..) else { return Ok(None) };
    let header = GroupHeader::decode(rest).map_err(|undecodable| refused(path, position as u64, undecodable))?;
    let Some(header) = header else { return Ok(None) };
    let is_in_turn = header.incarnation == scope.incarnation
        && header.ordinal == ordinal
        && header.first_sequence == expected.sequence
        && header.seed == expected.seed;
    if Branch::StaleGroup.reach_if(!is_in_turn) && !mutation::is(Mutation::AcceptOldIncarnation) {
        return Ok(None);
    }
    // Without entries it would be in turn again and again.
    let is_sized = header.entries > 0 && header.bytes as usize > GROUP_HEADER_BYTES;
    let Some(rest) = rest.get(..header.bytes as usize).filter(|_| is_sized) else { return Ok(None) };
    let expected = Expected { sequence: header.first_sequence, seed: header.seed };
    let mut next = expected;
    let mut at = GROUP_HEADER_BYTES;
    let entries = header.entries - u32::from(mutation::is(Mutation::CutReplayShort));
    for _ in 0..header.entries {
        match format::decode_entry(&rest[at.min(rest.len())..], next) {
            Ok(entry) => {
                at += entry.bytes;
                next = Expected { sequence: entry.sequence + 1, seed: entry.crc };
            }
            Err(Undecodable::Broken) => {
                Branch::TornGroup.reach();
                return Ok(None);
            }
            Err(newer) => return Err(refused(path, (position + at) as u64, newer)),
        }
    }
    let group = Group { order: header.order, extent, position, entries, expected, next };
    Ok(Some(ReadGroup { group, durable_before: header.durable_before, padded_bytes: header.padded_bytes() }))
}

/// The largest claim of any intact group header behind the end of the chain.
fn claims_behind(bytes: &[u8], position: usize, incarnation: u64, ordinal: u64) -> u64 {
    let blocks = bytes.get(position..).unwrap_or_default().chunks(BLOCK_BYTES);
    let headers = blocks.filter_map(|block| GroupHeader::decode(block).ok().flatten());
    let own = headers.filter(|header| header.incarnation == incarnation && header.ordinal == ordinal);
    own.map(|header| header.durable_before).max().unwrap_or(0)
}

fn refused(path: &Path, position: u64, undecodable: Undecodable) -> Error {
    match undecodable {
        Undecodable::Newer(what) => Error::newer(path, what),
        Undecodable::Broken => Error::corrupt(path, position, "a header is damaged"),
    }
}

impl Replayed {
    /// Goes back to where an extent starts, if the chain has that place: a group whose write failed was written
    /// again, whole, to the next extent. Whether the chain goes on there.
    fn rewind(&mut self, start: Expected, end: Expected) -> bool {
        let is_same = |expected: &Expected| expected.sequence == start.sequence && expected.seed == start.seed;
        if is_same(&end) {
            return true;
        }
        match self.groups.iter().position(|group| is_same(&group.expected)) {
            Some(at) => {
                Branch::GroupWrittenAgain.reach();
                self.groups.truncate(at);
                true
            }
            None => false,
        }
    }

    /// Calls `each` with the order and the entries of every group, in sequence.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, &Path, u64, Entry<'_>)> {
        self.groups.iter().flat_map(|group| {
            let (path, bytes) = &self.extents[group.extent];
            let mut at = group.position + GROUP_HEADER_BYTES;
            let mut next = group.expected;
            (0..group.entries).map(move |_| {
                let entry = format::decode_entry(&bytes[at..], next).expect("decoded once before");
                let position = at as u64;
                at += entry.bytes;
                next = Expected { sequence: entry.sequence + 1, seed: entry.crc };
                (group.order, path.as_path(), position, entry)
            })
        })
    }
}
