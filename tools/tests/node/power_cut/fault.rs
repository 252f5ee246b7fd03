//! Operations of the disk that fail: those of a kind, on files of a part of the data directory.

use super::disk::Errno;

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Write,
    /// Of a file or of a directory.
    Sync,
    Read,
}

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Error(Errno),
    /// Of a write only so many bytes are done, and said to be. One of no more bytes does not fail.
    Short(usize),
}

/// A thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) call: Call,
    /// Part of the paths of the files that it concerns.
    pub(super) path: &'static str,
    /// How many such operations succeed before.
    pub(super) skip: usize,
    /// How many fail.
    pub(super) count: usize,
    pub(super) how: How,
}

/// What is still to go wrong, and how often something did.
#[derive(Debug, Default)]
pub(super) struct Faults {
    ahead: Option<Fault>,
    pub(super) came: usize,
}

impl Faults {
    /// Instead of what was ahead.
    pub(super) fn set(&mut self, fault: Option<Fault>) {
        self.ahead = fault;
        self.came = 0;
    }

    /// How an operation of so many bytes fails, if it is to.
    pub(super) fn meet(&mut self, call: Call, path: &str, bytes: usize) -> Option<How> {
        let is_meant = |fault: &&mut Fault| {
            let is_cut = !matches!(fault.how, How::Short(left) if bytes <= left);
            fault.call == call && path.contains(fault.path) && is_cut
        };
        let fault = self.ahead.as_mut().filter(is_meant)?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        if fault.count == 0 {
            return None;
        }
        fault.count -= 1;
        self.came += 1;
        Some(fault.how)
    }
}
