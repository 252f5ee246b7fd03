//! What storage wants done to files, as plain data.
//!
//! Storage performs no I/O: it fills a list of [`Request`]s and is told of each [`Completion`], in any
//! order. A driver (the ring, or the simulated disk) turns one into the other. Every request completes
//! exactly once, also when it fails.
//!
//! Rules every driver keeps, and storage relies on:
//! - Requests may complete in any order and take effect in any order, *except* that storage never issues
//!   two requests whose order matters without waiting for the first to complete.
//! - A write or a change of length, a creation, a removal or a rename may be lost, torn (any subset of its
//!   512-byte sectors) or reordered by a power cut until a later sync that covers it has completed: the
//!   write's own [`Durability::Synced`], [`Op::Sync`] of its file or [`Op::SyncAll`]; for names,
//!   [`Op::SyncDirectory`] or [`Op::SyncAll`].
//! - Positions, lengths and buffer addresses of direct I/O are multiples of [`BLOCK_BYTES`]. The last
//!   block of a file may be read short.

use std::path::PathBuf;

use crate::buffer::{Buffer, Slice};

/// The unit of direct I/O, in bytes: what every position, length and address is a multiple of.
pub const BLOCK_BYTES: usize = 4096;

/// One of the node's data directories, numbered from 0 at its start; number 0 has the metadata. A shard has a store
/// in each, and each store's file numbers and tokens are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DataDirectory(pub u8);

impl DataDirectory {
    /// How many data directories a node may have.
    pub const COUNT_MAX: usize = 1 << u8::BITS;
    /// The one that has the metadata.
    pub const FIRST: Self = Self(0);

    /// The number as an array index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The first number that the directory's store gives to whoever waits for an answer: no two stores of a shard give
    /// the same.
    pub(crate) fn first_token(self) -> u64 {
        u64::from(self.0) << (u64::BITS - u8::BITS)
    }
}

/// One open file of a store. Storage chooses the number; it stays taken from the
/// submission of its [`Op::Open`] until its [`Op::Close`] (or the failed open) has completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// Storage's own name of a request, handed back with its completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenMode {
    /// Create the file if it is missing. Its directory exists.
    pub create: bool,
    /// Open for writing too.
    pub write: bool,
    /// Bypass the page cache where the file system can (`O_DIRECT`); the completion says whether it could.
    pub direct: bool,
}

/// Whether a write must be on the device before it completes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Complete when the operating system has taken the bytes.
    Buffered,
    /// Complete when the bytes, and the length of the file if they extend it, are on the device (`RWF_DSYNC`).
    Synced,
}

/// One operation on files. Paths are relative to the data directory.
#[derive(Debug)]
pub enum Op {
    /// Open `path` under the number `file`.
    Open {
        /// The number the file gets.
        file: FileId,
        /// Where it lies, relative to the data directory.
        path: PathBuf,
        /// Creation, access and direct I/O.
        mode: OpenMode,
    },
    /// Close an open file. Nothing else is in flight on it.
    Close {
        /// The file.
        file: FileId,
    },
    /// Write all slices, one after another, from `position` on.
    Write {
        /// The file, opened for writing.
        file: FileId,
        /// Byte position of the first slice.
        position: u64,
        /// What is written: at least one slice; whole blocks if the file was opened direct.
        data: Vec<Slice>,
        /// When it completes.
        durability: Durability,
    },
    /// Read into `buffer` (its whole length) from `position` on.
    Read {
        /// The file.
        file: FileId,
        /// Byte position.
        position: u64,
        /// Where the bytes go; comes back with the completion.
        buffer: Buffer,
    },
    /// Make the file's contents and length durable (`fdatasync`).
    Sync {
        /// The file.
        file: FileId,
    },
    /// Make everything of the data directory's file system durable (`syncfs`).
    SyncAll,
    /// Make the names in a directory durable (`fsync` of the directory).
    SyncDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Cut or extend the file to `length` bytes (`ftruncate`).
    SetLength {
        /// The file.
        file: FileId,
        /// The new length in bytes.
        length: u64,
    },
    /// Create a directory and its missing parents; one that exists is no error.
    CreateDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Remove a file; a missing one is no error.
    RemoveFile {
        /// The file's path.
        path: PathBuf,
    },
    /// Remove a directory with all it holds; a missing one is no error.
    RemoveDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Give a file another name, replacing what has that name.
    Rename {
        /// The old path.
        from: PathBuf,
        /// The new path, in the same directory.
        to: PathBuf,
    },
    /// Say how large the data directory's file system is, and how full (`fstatvfs`).
    MeasureVolume,
}

/// The file system that holds the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    /// Its size in bytes.
    pub total_bytes: u64,
    /// Bytes that this process may still use.
    pub usable_bytes: u64,
}

/// An operation and the token it completes under.
#[derive(Debug)]
pub struct Request {
    /// Where: paths are relative to it.
    pub directory: DataDirectory,
    /// Comes back with the completion.
    pub token: Token,
    /// What to do.
    pub op: Op,
}

/// What a successful operation gives back.
#[derive(Debug)]
pub enum Done {
    /// The file is open.
    Opened {
        /// Its length in bytes.
        length: u64,
        /// Whether it bypasses the page cache.
        direct: bool,
    },
    /// All bytes were taken (and are durable where that was asked). The slices are given back.
    Written {
        /// The slices of the write.
        data: Vec<Slice>,
    },
    /// `length` bytes lie in the buffer; less than its capacity only at the end of the file.
    Read {
        /// The buffer of the request.
        buffer: Buffer,
        /// How many bytes were read.
        length: usize,
    },
    /// The file system was measured.
    Measured(Volume),
    /// Any other operation is done.
    Finished,
}

/// Why an operation failed. Nothing is known about what reached the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The operating system's error number (`ENOSPC`, `EIO`, …).
    pub errno: i32,
}

impl Failure {
    /// Whether it was for want of room: blocks, inodes or quota. What is refused so may succeed once there is room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.errno, libc::ENOSPC | libc::EDQUOT)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.errno))
    }
}

/// The end of a request.
#[derive(Debug)]
pub struct Completion {
    /// The request's directory.
    pub directory: DataDirectory,
    /// The request's token.
    pub token: Token,
    /// How it ended.
    pub result: Result<Done, Failure>,
}
