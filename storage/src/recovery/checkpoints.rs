//! Reads the newest checkpoint: the base of the latest complete start, and what each shard added.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::checkpoint::format::{self, FLAG_FULL_END, FileHeader, RecordKind};
use crate::checkpoint::record::{self, Recorded};
use crate::checkpoint::{DIRECTORY, Named, parse_name};
use crate::disk::Disk;
use crate::io::BLOCK_BYTES;
use crate::journal::replay::{JournalId, Start};
use crate::log::LogId;
use crate::recovery::Branch;

/// What the checkpoint says.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    /// The start that it and the journals belong to; none if no start was ever complete.
    pub(super) incarnation: Option<u64>,
    pub(super) logs: BTreeMap<LogId, Recorded>,
    /// From where on a journal's extents are in use.
    pub(super) starts: BTreeMap<JournalId, Start>,
    /// All files there are.
    pub(super) files: Vec<PathBuf>,
}

/// One file's records, and whether they begin with a whole copy of everything.
struct File {
    logs: Vec<Recorded>,
    journals: Vec<(JournalId, Start)>,
    has_full_copy: bool,
}

pub(super) fn read(disk: &dyn Disk, directory_id: [u8; 16]) -> Result<Checkpoint, Error> {
    let directory = Path::new(DIRECTORY);
    let mut checkpoint = Checkpoint::default();
    let mut named = Vec::new();
    for entry in disk.list(directory).map_err(Error::io(directory, "list"))? {
        let path = directory.join(&entry.name);
        named.extend(parse_name(&entry.name).map(|name| (name, path.clone())));
        checkpoint.files.push(path);
    }
    let bases = named.iter().filter_map(|(name, path)| match name {
        Named::Base { incarnation } => Some((*incarnation, path)),
        Named::Shard { .. } => None,
    });
    let Some((latest, base)) = bases.max() else {
        Branch::NoCheckpoint.reach();
        return Ok(checkpoint);
    };
    checkpoint.incarnation = Some(latest);
    let file = read_file(disk, base, directory_id, latest)?;
    let file = file.filter(|file| file.has_full_copy);
    checkpoint.apply(file.ok_or_else(|| Error::corrupt(base, 0, "it was complete once and is not any more"))?);
    for (_, files) in shard_files(&named, latest) {
        // A file that was begun anew counts once its whole copy is there; until then the one before does.
        for (generation, path) in files.into_iter().rev() {
            let file = read_file(disk, &path, directory_id, latest)?;
            if let Some(file) = file.filter(|file| generation == 0 || file.has_full_copy) {
                checkpoint.apply(file);
                break;
            }
            Branch::IncompleteCopy.reach_if(generation > 0);
        }
    }
    Ok(checkpoint)
}

fn shard_files(named: &[(Named, PathBuf)], latest: u64) -> BTreeMap<u32, BTreeMap<u32, PathBuf>> {
    let mut shards: BTreeMap<u32, BTreeMap<u32, PathBuf>> = BTreeMap::new();
    for (name, path) in named {
        if let Named::Shard { incarnation, shard, generation } = *name
            && !Branch::LeftoverCheckpoint.reach_if(incarnation != latest)
        {
            shards.entry(shard).or_default().insert(generation, path.clone());
        }
    }
    shards
}

impl Checkpoint {
    fn apply(&mut self, file: File) {
        self.logs.extend(file.logs.into_iter().map(|log| (LogId(log.log.id), log)));
        self.starts.extend(file.journals);
    }
}

/// Reads a file up to its torn end; none if not even its header is there.
fn read_file(disk: &dyn Disk, path: &Path, directory_id: [u8; 16], incarnation: u64) -> Result<Option<File>, Error> {
    let length = disk.length(path).map_err(Error::io(path, "examine"))?.unwrap_or(0);
    let mut bytes = vec![0; usize::try_from(length).expect("a checkpoint fits memory")];
    let read = disk.read_at(path, 0, &mut bytes).map_err(Error::io(path, "read"))?;
    bytes.truncate(read);
    let newer = |what: String| Error::newer(path, what);
    let Some(header) = FileHeader::decode(&bytes).map_err(newer)? else { return Ok(None) };
    if header.incarnation != incarnation || header.directory_id != directory_id {
        return Err(Error::corrupt(path, 0, "it belongs to another data directory or start"));
    }
    let mut file = File { logs: Vec::new(), journals: Vec::new(), has_full_copy: false };
    let mut number = 0;
    let mut position = BLOCK_BYTES;
    while let Some(group) = format::decode_group(bytes.get(position..).unwrap_or_default()).map_err(newer)? {
        let place = group.place;
        if (place.incarnation, place.generation, place.number) != (incarnation, header.generation, number) {
            break;
        }
        format::for_each_record(group.records, |kind, record| {
            match kind {
                RecordKind::Log => {
                    file.logs.push(Recorded { log: record::decode(record)?, compaction: None, transactions: None });
                }
                RecordKind::Compaction => {
                    let log = file.logs.last_mut().ok_or("a record of compaction without its log's")?;
                    log.compaction = Some(record::decode_compaction(record)?);
                }
                RecordKind::Transactions => {
                    let log = file.logs.last_mut().ok_or("a record of transactions without its log's")?;
                    log.transactions = Some(record::decode_transactions(record)?);
                }
                RecordKind::Journal => {
                    let journal = record::decode_journal(record)?;
                    let id = JournalId { shard: journal.shard, is_cached: journal.is_cached };
                    let start = Start { ordinal: journal.first_ordinal, sequence: journal.first_sequence };
                    file.journals.push((id, start));
                }
            }
            Ok(())
        })
        .map_err(|what| Error::corrupt(path, position as u64, what))?;
        file.has_full_copy |= group.flags & FLAG_FULL_END != 0;
        number += 1;
        position += group.padded_bytes;
    }
    Branch::TornCheckpoint.reach_if(position < bytes.len());
    if has_group_behind(&bytes, position, header, number) {
        return Err(Error::corrupt(
            path,
            position as u64,
            format!("group {number} is damaged, and later ones are there"),
        ));
    }
    Ok(Some(file))
}

fn has_group_behind(bytes: &[u8], position: usize, header: FileHeader, number: u32) -> bool {
    let positions = (position..bytes.len()).step_by(BLOCK_BYTES);
    positions.filter_map(|at| format::decode_group(&bytes[at..]).ok().flatten()).any(|group| {
        let place = group.place;
        (place.incarnation, place.generation) == (header.incarnation, header.generation) && place.number > number
    })
}
