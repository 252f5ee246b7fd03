//! The file that says what a data directory is.
//!
//! ```text
//! skein.meta, little-endian
//!  0 magic "SKNMETA\0"
//!  8 version u16, 10 length of the cluster id u16
//! 12 incarnation u64: the number of the latest start
//! 20 directory id, 16 bytes
//! 36 cluster id
//!  … version 2: node id, 16 bytes: the directory id of the directory that has the node's metadata
//!  … CRC-32C of everything before
//! ```
//!
//! A directory that has the metadata itself is written in version 1, every other one in version 2.
//!
//! It is replaced whole at every start, before anything else is written: an incarnation is never used twice.

use std::path::Path;

use crate::Error;
use crate::disk::{Disk, LOCK_FILE};
use crate::mutation::{self, Mutation};

/// The file's name.
pub const FILE: &str = "skein.meta";
const NEW_FILE: &str = "skein.meta.new";
/// Most bytes of a cluster id.
pub const CLUSTER_ID_BYTES_MAX: usize = 64;

const MAGIC: [u8; 8] = *b"SKNMETA\0";
const VERSION: u16 = 2;
const FIXED_BYTES: usize = 36;
const NODE_BYTES: usize = 16;

/// Who a data directory is. For an existing directory its own identity counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Distinguishes this directory from every other.
    pub directory_id: [u8; 16],
    /// The id of the directory that has the metadata of the node this one belongs to; its own id if that is this one.
    pub node: [u8; 16],
    /// The cluster it belongs to: opaque to storage, at most [`CLUSTER_ID_BYTES_MAX`] bytes.
    pub cluster_id: Vec<u8>,
}

/// Reads the identity and the latest incarnation; none for a directory that is new.
pub(super) fn read(disk: &dyn Disk) -> Result<Option<(Identity, u64)>, Error> {
    let file = Path::new(FILE);
    let Some(length) = disk.length(file).map_err(Error::io(file, "examine"))? else {
        return if is_empty(disk)? { Ok(None) } else { Err(Error::NotOurs { directory: disk.name() }) };
    };
    let mut bytes = vec![0; (length as usize).min(FIXED_BYTES + CLUSTER_ID_BYTES_MAX + NODE_BYTES + 4)];
    let read = disk.read_at(file, 0, &mut bytes).map_err(Error::io(file, "read"))?;
    decode(&bytes[..read]).map(Some)
}

fn is_empty(disk: &dyn Disk) -> Result<bool, Error> {
    let root = Path::new("");
    let entries = disk.list(root).map_err(Error::io(root, "list"))?;
    let may_be_there = [LOCK_FILE, NEW_FILE, "lost+found"];
    Ok(entries.iter().all(|entry| may_be_there.contains(&entry.name.as_str())))
}

fn decode(bytes: &[u8]) -> Result<(Identity, u64), Error> {
    let damaged = |what: &str| Error::corrupt(FILE, 0, what);
    if bytes.len() < FIXED_BYTES + 4 || bytes[..8] != MAGIC {
        return Err(damaged("it does not start as skein's do"));
    }
    let field = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let node_bytes = match field(8) {
        1 => 0,
        VERSION => NODE_BYTES,
        newer => return Err(Error::newer(FILE, format!("format version {newer}"))),
    };
    let cluster_end = FIXED_BYTES + usize::from(field(10));
    let end = cluster_end + node_bytes;
    let crc = bytes.get(end..end + 4).ok_or_else(|| damaged("it is cut"))?;
    if crc32c::crc32c(&bytes[..end]).to_le_bytes() != crc {
        return Err(damaged("its checksum is wrong"));
    }
    let incarnation = u64::from_le_bytes(*bytes[12..].first_chunk().expect("checked the length"));
    let directory_id = *bytes[20..].first_chunk().expect("checked the length");
    let node = bytes[cluster_end..end].first_chunk().copied().unwrap_or(directory_id);
    Ok((Identity { directory_id, node, cluster_id: bytes[FIXED_BYTES..cluster_end].to_vec() }, incarnation))
}

/// Makes identity and incarnation durable.
pub(super) fn write(disk: &dyn Disk, identity: &Identity, incarnation: u64) -> Result<(), Error> {
    assert!(identity.cluster_id.len() <= CLUSTER_ID_BYTES_MAX, "cluster ids are short");
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&MAGIC);
    let has_metadata = identity.node == identity.directory_id;
    bytes.extend_from_slice(&if has_metadata { 1 } else { VERSION }.to_le_bytes());
    bytes.extend_from_slice(&(identity.cluster_id.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&incarnation.to_le_bytes());
    bytes.extend_from_slice(&identity.directory_id);
    bytes.extend_from_slice(&identity.cluster_id);
    if !has_metadata {
        bytes.extend_from_slice(&identity.node);
    }
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    replace(disk, Path::new(NEW_FILE), Path::new(FILE), &bytes)
}

/// Writes a file under another name, and gives it its own when it is durable.
pub(super) fn replace(disk: &dyn Disk, new: &Path, file: &Path, bytes: &[u8]) -> Result<(), Error> {
    disk.remove_file(new).map_err(Error::io(new, "remove"))?;
    disk.write_at(new, 0, bytes).map_err(Error::io(new, "write"))?;
    if !mutation::is(Mutation::RenameBeforeSync) {
        disk.sync(new).map_err(Error::io(new, "sync"))?;
    }
    disk.rename(new, file).map_err(Error::io(file, "rename"))?;
    let directory = file.parent().expect("a file has a directory");
    disk.sync_directory(directory).map_err(Error::io(directory, "sync"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Directory;

    #[test]
    fn what_is_written_is_read_and_damage_or_a_newer_version_is_named() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let disk = Directory::open(temporary.path()).expect("free");
        assert_eq!(read(&disk).expect("new"), None);
        for (node, version) in [([3; 16], 1), ([4; 16], 2)] {
            let identity = Identity { directory_id: [3; 16], node, cluster_id: b"cluster".to_vec() };
            write(&disk, &identity, 7).expect("written");
            assert_eq!(read(&disk).expect("ours"), Some((identity, 7)));
            let mut field = [0; 2];
            disk.read_at(Path::new(FILE), 8, &mut field).expect("read");
            assert_eq!(u16::from_le_bytes(field), version, "a directory with metadata stays as older versions know it");
        }
        disk.write_at(Path::new(FILE), 13, &[1]).expect("written");
        assert!(matches!(read(&disk), Err(Error::Corrupt { .. })));
        disk.write_at(Path::new(FILE), 8, &[9]).expect("written");
        assert!(matches!(read(&disk), Err(Error::NewerVersion { .. })));
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let disk = Directory::open(temporary.path()).expect("free");
        disk.write_at(Path::new("letter.txt"), 0, b"dear").expect("written");
        assert!(matches!(read(&disk), Err(Error::NotOurs { .. })));
    }
}
