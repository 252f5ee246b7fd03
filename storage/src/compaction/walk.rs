//! A resumable walk over the whole records of one batch: what it holds of a compressed one is a slice of the output, and
//! the record that the slice's end cuts.

use crate::batch::Batch;
use crate::buffer::Slice;
use crate::compression::{Codec, Decompressor, Step};
use crate::record::{Malformed, Record, read_record};
use crate::scan::{Body, Fault, Progress};
use crate::store::DECOMPRESSED_BYTES_MAX;

/// Walks the records of a batch.
pub(crate) struct Walk {
    source: Source,
    /// Records so far.
    index: u32,
}

enum Source {
    Plain { body: Body<Slice>, at: usize },
    Compressed { decompressor: Box<Decompressor<Body<Slice>>>, pending: Vec<u8>, at: usize },
}

impl Walk {
    /// Starts on exactly one batch as it is stored.
    pub(crate) fn new(bytes: Slice) -> Self {
        let batch = Batch::first(&bytes).expect("only a stored batch is walked");
        let codec = batch.attributes().codec().expect("stored batches were validated");
        let source = if codec == Codec::None || batch.record_count() == 0 {
            Source::Plain { body: Body(bytes), at: 0 }
        } else {
            let decompressor = Box::new(Decompressor::new(codec, Body(bytes), DECOMPRESSED_BYTES_MAX));
            Source::Compressed { decompressor, pending: Vec::new(), at: 0 }
        };
        Self { source, index: 0 }
    }

    /// Shows records to `visit` until about `budget_bytes` of them went by.
    pub(crate) fn step(
        &mut self,
        budget_bytes: usize,
        mut visit: impl FnMut(&Record<'_>, &[u8]),
    ) -> Result<Progress<()>, Fault> {
        let mut walked = 0;
        while walked < budget_bytes {
            let before = walked;
            match &mut self.source {
                Source::Plain { body, at } => {
                    let rest = &body.as_ref()[*at..];
                    if rest.is_empty() {
                        return Ok(Progress::Done(()));
                    }
                    let (record, length) = read_record(rest).map_err(|malformed| fault(self.index, malformed))?;
                    visit(&record, &rest[..length]);
                    self.index += 1;
                    *at += length;
                    walked += length;
                }
                Source::Compressed { decompressor, pending, at } => {
                    match decompressor.step().map_err(Fault::Compression)? {
                        Step::Output(output) => {
                            pending.drain(..*at);
                            pending.extend_from_slice(output);
                            walked += output.len();
                            (*at, self.index) = visit_whole(pending, self.index, &mut visit)?;
                        }
                        Step::End if *at == pending.len() => return Ok(Progress::Done(())),
                        Step::End => return Err(fault(self.index, Malformed::Cut)),
                    }
                }
            }
            assert!(walked > before, "every step goes on");
        }
        Ok(Progress::More)
    }
}

/// Shows the whole records that `bytes` begins with; says where they end, and how many there were so far.
fn visit_whole(
    bytes: &[u8],
    mut index: u32,
    visit: &mut impl FnMut(&Record<'_>, &[u8]),
) -> Result<(usize, u32), Fault> {
    let mut at = 0;
    while at < bytes.len() {
        match read_record(&bytes[at..]) {
            Ok((record, length)) => {
                visit(&record, &bytes[at..at + length]);
                index += 1;
                at += length;
            }
            Err(Malformed::Cut) => break,
            Err(malformed) => return Err(fault(index, malformed)),
        }
    }
    Ok((at, index))
}

fn fault(index: u32, malformed: Malformed) -> Fault {
    Fault::Record { index, malformed }
}
