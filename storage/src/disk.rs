//! Blocking access to a data directory: for recovery, before a shard's first turn, and for offline tools.
//!
//! Everything that runs while a shard serves goes through [`crate::io`] instead. The rules about what a power
//! cut may take are the same ones: bytes and lengths until [`Disk::sync`] of the file, names until
//! [`Disk::sync_directory`] of the directory that holds them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// The name of the file whose lock says that a process uses the data directory.
pub const LOCK_FILE: &str = "skein.lock";

/// What a directory holds under one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The last component of its path.
    pub name: String,
    /// Whether it is itself a directory.
    pub is_directory: bool,
}

/// A data directory. All paths are relative to it.
pub trait Disk {
    /// What to call the data directory in messages.
    fn name(&self) -> PathBuf {
        PathBuf::from("the data directory")
    }

    /// The entries of a directory, ordered by name; none if there is no such directory. Names that are not
    /// UTF-8 are left out: skein writes none.
    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>>;

    /// The file's length in bytes, or none if there is no such file.
    fn length(&self, file: &Path) -> io::Result<Option<u64>>;

    /// Reads from `position` on until `buffer` is full or the file ends; says how many bytes were read.
    fn read_at(&self, file: &Path, position: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` from `position` on, creating the file if it is missing (its directory exists).
    fn write_at(&self, file: &Path, position: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts or extends the file to `length` bytes.
    fn set_length(&self, file: &Path, length: u64) -> io::Result<()>;

    /// Makes the file's contents and length durable.
    fn sync(&self, file: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable. The data directory itself is the empty path.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Creates a directory and its missing parents; one that exists is no error.
    fn create_directory(&self, directory: &Path) -> io::Result<()>;

    /// Gives a file another name in the same directory, replacing what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; a missing one is no error.
    fn remove_file(&self, file: &Path) -> io::Result<()>;

    /// Removes a directory with all it holds; a missing one is no error.
    fn remove_directory(&self, directory: &Path) -> io::Result<()>;
}

/// A data directory of the real file system, held exclusively (by [`Directory::open`]) until this is dropped.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    /// Keeps the lock; the operating system releases it however the process ends. None for a mere look.
    _lock: Option<File>,
}

impl Directory {
    /// Opens `root`, creating it if it is missing, and locks it for this process.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process holds it, [`Error::Io`] if it cannot be created or locked.
    pub fn open(root: &Path) -> Result<Self, Error> {
        create_durably(root)?;
        let root = root.canonicalize().map_err(Error::io(root, "open"))?;
        let path = root.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(Error::io(&path, "open"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
                return Err(Error::InUse { directory: root, process });
            }
            Err(TryLockError::Error(error)) => return Err(Error::io(&path, "lock")(error)),
        }
        // Only the message of a second process depends on it, so a full disk must not stop the first one.
        let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(Self { root, _lock: Some(lock) })
    }

    /// Opens an existing `root` to read it, perhaps while a node runs on it: nothing is created or locked.
    ///
    /// # Errors
    /// [`Error::Io`] if it is not there.
    pub fn inspect(root: &Path) -> Result<Self, Error> {
        let root = root.canonicalize().map_err(Error::io(root, "open"))?;
        Ok(Self { root, _lock: None })
    }

    /// The absolute path of the data directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Disk for Directory {
    fn name(&self) -> PathBuf {
        self.root.clone()
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        list(&self.root.join(directory))
    }

    fn length(&self, file: &Path) -> io::Result<Option<u64>> {
        length(&self.root.join(file))
    }

    fn read_at(&self, file: &Path, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        read_at(&self.root.join(file), position, buffer)
    }

    fn write_at(&self, file: &Path, position: u64, bytes: &[u8]) -> io::Result<()> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.root.join(file))?;
        file.write_all_at(bytes, position)
    }

    fn set_length(&self, file: &Path, length: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.root.join(file))?.set_len(length)
    }

    fn sync(&self, file: &Path) -> io::Result<()> {
        File::open(self.root.join(file))?.sync_all()
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(self.root.join(directory))?.sync_all()
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(self.root.join(directory))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove_file(&self, file: &Path) -> io::Result<()> {
        missing_is_fine(fs::remove_file(self.root.join(file)))
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        missing_is_fine(fs::remove_dir_all(self.root.join(directory)))
    }
}

fn list(directory: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let listing = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(entries),
        listing => listing?,
    };
    for entry in listing {
        let entry = entry?;
        let is_directory = entry.file_type()?.is_dir();
        if let Ok(name) = entry.file_name().into_string() {
            entries.push(Entry { name, is_directory });
        }
    }
    entries.sort();
    Ok(entries)
}

/// Makes a directory with those above it, and their names durable: what is synced inside of a directory is of no use if a
/// power cut takes the directory.
fn create_durably(root: &Path) -> Result<(), Error> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing = root.ancestors().take_while(is_missing).count();
    fs::create_dir_all(root).map_err(Error::io(root, "create"))?;
    let made = root.canonicalize().map_err(Error::io(root, "open"))?;
    // The name of the first one that was there is synced, too: the start that made it may have ended before that.
    for (number, parent) in made.ancestors().skip(1).take(missing + 1).enumerate() {
        match File::open(parent).and_then(|parent| parent.sync_all()) {
            Err(error) if number == missing && is_not_ours(&error) => {}
            result => result.map_err(Error::io(parent, "sync"))?,
        }
    }
    Ok(())
}

/// Somebody else makes directories there.
fn is_not_ours(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn length(file: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(file) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_at(file: &Path, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let file = File::open(file)?;
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], position + read as u64) {
            Ok(0) => break,
            Ok(bytes) => read += bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_has_one_user_at_a_time() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let first = Directory::open(temporary.path()).expect("free");
        let second = Directory::open(temporary.path());
        assert!(matches!(second, Err(Error::InUse { process: Some(process), .. }) if process == std::process::id()));
        drop(first);
        Directory::open(temporary.path()).expect("free again");
    }

    #[test]
    fn what_is_missing_is_empty_or_absent() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let disk = Directory::open(temporary.path()).expect("free");
        assert_eq!(disk.list(Path::new("nothing")).expect("no error"), []);
        assert_eq!(disk.length(Path::new("nothing")).expect("no error"), None);
        disk.remove_file(Path::new("nothing")).expect("no error");
        disk.remove_directory(Path::new("nothing")).expect("no error");
    }

    #[test]
    fn a_read_at_the_end_of_a_file_is_short() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let disk = Directory::open(temporary.path()).expect("free");
        disk.write_at(Path::new("file"), 3, b"abc").expect("written");
        let mut buffer = [9; 8];
        assert_eq!(disk.read_at(Path::new("file"), 1, &mut buffer).expect("read"), 5);
        assert_eq!(&buffer[..5], b"\0\0abc");
    }
}
