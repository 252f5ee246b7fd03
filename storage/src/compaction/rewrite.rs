//! A batch without the records that go: same offsets, same producer, same codec.

use super::judge::Rule;
use super::map::OffsetMap;
use super::walk::Walk;
use crate::batch::{self, Batch, HEADER_BYTES, Remains};
use crate::buffer::Slice;
use crate::compression::Compressor;
use crate::record::Record;
use crate::scan::{Fault, Progress};
use crate::varint::{get_varint, get_varlong, put_varint, put_varlong, varlong_len};

/// Writes what stays of one batch, in slices.
pub(crate) struct Rewrite {
    walk: Walk,
    /// None if everything stays.
    rule: Option<Rule>,
    /// None once it has ended.
    compressor: Option<Compressor>,
    remains: Remains,
    /// What is added to the records' timestamp deltas, where they count from another time than before.
    shift_ms: i64,
    record: Vec<u8>,
}

impl Rewrite {
    /// Starts on exactly one batch as it is stored; `rule` says which records stay, `remains` what the header will say.
    pub(crate) fn new(bytes: &Slice, rule: Option<Rule>, remains: Remains) -> Self {
        let batch = Batch::first(bytes).expect("only a stored batch is rewritten");
        let codec = batch.attributes().codec().expect("stored batches were validated");
        let mut out = Vec::with_capacity(bytes.len());
        out.extend_from_slice(&bytes[..HEADER_BYTES]);
        Self {
            walk: Walk::new(bytes.clone()),
            rule,
            compressor: Some(Compressor::new(codec.setting(), out)),
            remains,
            shift_ms: remains.delete_horizon.map_or(0, |horizon| batch.base_timestamp().wrapping_sub(horizon)),
            record: Vec::new(),
        }
    }

    /// The next slice; the whole batch at the end.
    pub(crate) fn step(&mut self, budget_bytes: usize, map: &OffsetMap) -> Result<Progress<Vec<u8>>, Fault> {
        let Self { walk, rule, compressor, shift_ms, record: moved, .. } = self;
        let out = compressor.as_mut().expect("it has not ended");
        let progress = walk.step(budget_bytes, |record, bytes| {
            if rule.is_some_and(|rule| !rule.keeps(map, record)) {
                return;
            }
            if *shift_ms == 0 {
                out.feed(bytes);
            } else {
                shift(record, bytes, *shift_ms, moved);
                out.feed(moved);
            }
        })?;
        if progress == Progress::More {
            return Ok(Progress::More);
        }
        let mut bytes = self.compressor.take().expect("it ends once").finish();
        batch::rewrite_remains(&mut bytes, self.remains);
        Ok(Progress::Done(bytes))
    }
}

/// Writes the record with a timestamp delta that is `shift_ms` larger to `out`.
fn shift(record: &Record<'_>, bytes: &[u8], shift_ms: i64, out: &mut Vec<u8>) {
    out.clear();
    let (length, at) = get_varint(bytes).expect("the record was read");
    let fields = &bytes[at..];
    let (before, delta_bytes) = get_varlong(&fields[1..]).expect("the record was read");
    assert_eq!(before, record.head.timestamp_delta, "the delta follows the attributes");
    let delta = before.wrapping_add(shift_ms);
    put_varint(out, length + varlong_len(delta) as i32 - delta_bytes as i32);
    out.push(fields[0]);
    put_varlong(out, delta);
    out.extend_from_slice(&fields[1 + delta_bytes..]);
}

/// A batch's header alone, kept for what it says of its producer: no records, same offsets.
pub(crate) fn emptied(batch: &Batch<'_>) -> Vec<u8> {
    let mut bytes = batch.bytes()[..HEADER_BYTES].to_vec();
    let max_timestamp = batch.max_timestamp();
    batch::rewrite_remains(&mut bytes, Remains { record_count: 0, max_timestamp, delete_horizon: None });
    bytes
}
