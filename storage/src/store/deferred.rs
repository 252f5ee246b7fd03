//! Appends that wait: for their batch to be decompressed, for a block from disk, or for an append before them.

use std::fmt;
use std::sync::Arc;

use super::recompress::Recompression;
use super::{AppendToken, Origin};
use crate::validate::{CompressedValidation, Valid};

/// How far a waiting append is.
pub(crate) enum Stage {
    /// Not looked at yet.
    New,
    /// Being decompressed.
    Validating(Box<CompressedValidation<Arc<[u8]>>>),
    /// May be appended, once it is in its topic's codec.
    Recompressing(Box<(Valid, Recompression)>),
    /// May be appended.
    Valid(Valid),
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "New",
            Self::Validating(_) => "Validating",
            Self::Recompressing(_) => "Recompressing",
            Self::Valid(_) => "Valid",
        })
    }
}

/// An append that waits.
#[derive(Debug)]
pub(crate) struct Deferred {
    pub(crate) token: AppendToken,
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) origin: Origin,
    pub(crate) leader_epoch: i32,
    pub(crate) stage: Stage,
}
