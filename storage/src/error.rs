//! What can go wrong with a data directory and its files.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::io::Failure;

/// An operating failure of storage: the file, the position where there is one, the cause and the remedy.
#[derive(Debug)]
pub enum Error {
    /// Another process holds the data directory.
    InUse {
        /// The data directory.
        directory: PathBuf,
        /// The process that holds it, if it said so.
        process: Option<u32>,
    },
    /// The directory holds something, but no skein data.
    NotOurs {
        /// The data directory.
        directory: PathBuf,
    },
    /// A file was written by a newer version of skein than this one.
    NewerVersion {
        /// The file, relative to the data directory.
        file: PathBuf,
        /// What about it is newer than this version knows.
        what: String,
    },
    /// The file's contents contradict what was recorded as durable.
    Corrupt {
        /// The file, relative to the data directory.
        file: PathBuf,
        /// Byte position of the contradiction.
        position: u64,
        /// What was found there.
        what: String,
    },
    /// The operating system refused an operation.
    Io {
        /// The file, relative to the data directory.
        file: PathBuf,
        /// The operation, as a verb: "read", "write", "sync", …
        operation: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the same call may succeed later without anything being repaired.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::InUse { .. } => true,
            Self::NotOurs { .. } | Self::NewerVersion { .. } | Self::Corrupt { .. } => false,
            Self::Io { source, .. } => {
                matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::Interrupted)
            }
        }
    }

    pub(crate) fn corrupt(file: impl Into<PathBuf>, position: u64, what: impl Into<String>) -> Self {
        Self::Corrupt { file: file.into(), position, what: what.into() }
    }

    pub(crate) fn newer(file: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::NewerVersion { file: file.into(), what: what.into() }
    }

    /// Wraps an operating system's error with the file and operation it is about.
    pub(crate) fn io(file: &Path, operation: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let file = file.to_path_buf();
        move |source| Self::Io { file, operation, source }
    }

    pub(crate) fn failed(file: impl Into<PathBuf>, operation: &'static str, failure: Failure) -> Self {
        Self::Io { file: file.into(), operation, source: std::io::Error::from_raw_os_error(failure.errno) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { directory, process: Some(process) } => write!(
                f,
                "data directory {} is in use by process {process}: stop it, or start with another --data",
                directory.display()
            ),
            Self::InUse { directory, process: None } => write!(
                f,
                "data directory {} is in use by another process: stop it, or start with another --data",
                directory.display()
            ),
            Self::NotOurs { directory } => write!(
                f,
                "{} is not a skein data directory and not empty: nothing was changed; choose another --data, or an empty directory",
                directory.display()
            ),
            Self::NewerVersion { file, what } => write!(
                f,
                "{} was written by a newer version of skein ({what}): start that version, or a newer one",
                file.display()
            ),
            Self::Corrupt { file, position, what } => write!(
                f,
                "{} is corrupt at byte {position}: {what}. Nothing was changed; restore the file from a copy or a replica",
                file.display()
            ),
            Self::Io { file, operation, source } => write!(f, "cannot {operation} {}: {source}", file.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::InUse { .. } | Self::NotOurs { .. } | Self::NewerVersion { .. } | Self::Corrupt { .. } => None,
        }
    }
}
