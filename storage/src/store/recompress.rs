//! Batches that are stored in another codec than they came in (`compression.type`).
//!
//! ```text
//! Valid ─► CRC right? ─► Decompressor ─► ≤ 64 KiB slices ─► Compressor ─► header: length, codec, CRC ─► append
//! ```
//!
//! Only the body's coding changes: the records with their timestamps and offset deltas, the producer's stamp and the
//! other attributes stay as they are. The batch waits among the deferred appends, so what comes after it for its log is
//! appended after it. One batch of a shard is recompressed at a time, which bounds what codecs hold in memory.

use std::sync::Arc;

use super::append::check_producer;
use super::deferred::{Deferred, Stage};
use super::outcome::{Append, Origin};
use super::{BATCH_BYTES_MAX, DECOMPRESSED_BYTES_MAX, Store};
use crate::batch::{self, Batch, HEADER_BYTES};
use crate::compression::{Compressor, Decompressor, Setting, Step};
use crate::log::Slot;
use crate::scan::{Body, Progress};
use crate::validate::{self, Rejection, Valid};

/// Bytes of records that one step takes from codec to codec, about: the slowest levels take some milliseconds for them.
const SLICE_BYTES: usize = 64 << 10;

/// A batch on its way from one codec to another.
pub(crate) struct Recompression {
    decompressor: Decompressor<Body<Arc<[u8]>>>,
    /// None once it has ended.
    compressor: Option<Compressor>,
    setting: Setting,
    bytes_max: usize,
}

impl Recompression {
    /// Starts on one whole batch that was validated.
    fn new(bytes: Arc<[u8]>, valid: &Valid, setting: Setting, bytes_max: usize) -> Self {
        let mut out = Vec::with_capacity(valid.size_in_bytes);
        out.extend_from_slice(&bytes[..HEADER_BYTES]);
        Self {
            decompressor: Decompressor::new(valid.codec, Body(bytes), DECOMPRESSED_BYTES_MAX),
            compressor: Some(Compressor::new(setting, out)),
            setting,
            bytes_max,
        }
    }

    /// The next slice; the whole batch at the end, or nothing if it is too large.
    fn step(&mut self) -> Progress<Option<Vec<u8>>> {
        let mut taken = 0;
        let compressor = self.compressor.as_mut().expect("it has not ended");
        while taken < SLICE_BYTES {
            match self.decompressor.step().expect("it was decompressed when it was validated") {
                Step::Output(output) => {
                    taken += output.len();
                    compressor.feed(output);
                    if compressor.output_bytes() > self.bytes_max {
                        return Progress::Done(None);
                    }
                }
                Step::End => return Progress::Done(self.finish()),
            }
        }
        Progress::More
    }

    fn finish(&mut self) -> Option<Vec<u8>> {
        let mut bytes = self.compressor.take().expect("it ends once").finish();
        if bytes.len() > self.bytes_max {
            return None;
        }
        batch::rewrite_codec(&mut bytes, self.setting.codec);
        Some(bytes)
    }
}

/// What came of bringing a batch into its topic's codec.
pub(super) enum Recoded {
    /// There is more to do.
    More,
    /// It is not appended.
    Done(Append),
    /// It may be appended.
    Ready(Valid),
}

impl Store {
    /// The codec that a batch has to be brought into, if it has another.
    pub(super) fn recompression(&self, slot: Slot, origin: Origin, valid: &Valid) -> Option<Setting> {
        let setting = self.log(slot).config.compression?;
        (origin == Origin::Client && setting.codec != valid.codec).then_some(setting)
    }

    /// One slice of bringing a waiting batch into its topic's codec.
    pub(super) fn recode(&mut self, slot: Slot, deferred: &mut Deferred, valid: Valid) -> Recoded {
        let Some(setting) = self.recompression(slot, deferred.origin, &valid) else { return Recoded::Ready(valid) };
        if !matches!(deferred.stage, Stage::Recompressing(_)) {
            // Neither what is there already nor what was damaged is worth the work.
            if let Some(outcome) = check_producer(self.log(slot), &valid) {
                return Recoded::Done(outcome);
            }
            let batch = Batch::first(&deferred.bytes).expect("its header was validated");
            if let Err(rejection) = validate::check_crc(&batch) {
                return Recoded::Done(Append::Rejected(rejection));
            }
            let bytes_max = self.log(slot).config.batch_bytes_max.min(BATCH_BYTES_MAX);
            let recompression = Recompression::new(Arc::clone(&deferred.bytes), &valid, setting, bytes_max);
            deferred.stage = Stage::Recompressing(Box::new((valid, recompression)));
        }
        let Stage::Recompressing(stage) = &mut deferred.stage else { unreachable!("it was just begun") };
        let (valid, recompression) = stage.as_mut();
        match recompression.step() {
            Progress::More => Recoded::More,
            Progress::Done(None) => {
                let (codec, bytes_max) = (recompression.setting.codec, recompression.bytes_max);
                Recoded::Done(Append::Rejected(Rejection::RecompressedTooLarge { codec, bytes_max }))
            }
            Progress::Done(Some(bytes)) => {
                let valid = Valid { size_in_bytes: bytes.len(), codec: recompression.setting.codec, ..*valid };
                self.deferred_bytes = self.deferred_bytes - deferred.bytes.len() + bytes.len();
                deferred.bytes = bytes.into();
                deferred.stage = Stage::Valid(valid);
                Recoded::Ready(valid)
            }
        }
    }
}
