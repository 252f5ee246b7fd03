//! A resumable walk over the records of one batch, compressed or not, that holds none of them whole.
//!
//! ```text
//! batch body ─► Decompressor ─► ≤ 64 KiB slices ─► Walker ─► Head of each record ─► validation, search
//! ```

use std::fmt;
use std::ops::ControlFlow;

use crate::batch::{Batch, HEADER_BYTES};
use crate::compression::{self, Decompressor, Step};
use crate::record::{Head, Located, Malformed, Origin, read_head};
use crate::varint::{VARINT_BYTES_MAX, VARLONG_BYTES_MAX, zigzag_32, zigzag_64};

/// Whether a resumable piece of work is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<T> {
    /// The budget is used up; step again.
    More,
    /// It is done, with this result. Stepping again is a bug.
    Done(T),
}

/// Why the records of a batch could not be walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The body could not be decompressed.
    Compression(compression::Error),
    /// What it decompresses to are no records.
    Record {
        /// How many good ones came before.
        index: u32,
        /// What is wrong with the next.
        malformed: Malformed,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compression(error) => error.fmt(f),
            Self::Record { index, malformed } => write!(f, "record {index} of the batch: {malformed}"),
        }
    }
}

impl std::error::Error for Fault {}

/// The part of a batch after its header.
pub(crate) struct Body<B>(pub(crate) B);

impl<B: AsRef<[u8]>> AsRef<[u8]> for Body<B> {
    fn as_ref(&self) -> &[u8] {
        &self.0.as_ref()[HEADER_BYTES..]
    }
}

/// Walks the records of the batch `B`.
pub(crate) struct Scan<B: AsRef<[u8]>> {
    decompressor: Decompressor<Body<B>>,
    walker: Walker,
}

impl<B: AsRef<[u8]>> Scan<B> {
    /// Starts on `bytes`, exactly one batch with a codec that exists.
    pub(crate) fn new(bytes: B, output_bytes_max: u64) -> Self {
        let batch = Batch::first(bytes.as_ref()).expect("only a parsed batch is scanned");
        assert_eq!(batch.size_in_bytes(), bytes.as_ref().len(), "exactly one batch is scanned");
        let codec = batch.attributes().codec().expect("only a batch with a known codec is scanned");
        Self { decompressor: Decompressor::new(codec, Body(bytes), output_bytes_max), walker: Walker::new() }
    }

    /// Walks on until at least `budget_bytes` of output went by, `visit` breaks, or the records end.
    pub(crate) fn step<T>(
        &mut self,
        budget_bytes: usize,
        mut visit: impl FnMut(Head) -> ControlFlow<T>,
    ) -> Result<Progress<Option<T>>, Fault> {
        let mut walked = 0;
        loop {
            match self.decompressor.step().map_err(Fault::Compression)? {
                Step::Output(output) => {
                    walked += output.len();
                    if let ControlFlow::Break(result) = self.walker.feed(output, &mut visit)? {
                        return Ok(Progress::Done(Some(result)));
                    }
                }
                Step::End => {
                    self.walker.finish()?;
                    return Ok(Progress::Done(None));
                }
            }
            if walked >= budget_bytes {
                return Ok(Progress::More);
            }
        }
    }
}

/// What comes next in the bytes of a record that is not seen whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Length,
    Attributes,
    TimestampDelta,
    OffsetDelta,
    KeyLength,
    Key,
    ValueLength,
    Value,
    HeaderCount,
    HeaderKeyLength,
    HeaderKey,
    HeaderValueLength,
    HeaderValue,
}

/// Reads records from consecutive slices; keeps a few integers of the record that a slice's end cuts.
struct Walker {
    field: Field,
    /// Records that were complete.
    index: u32,
    /// The part of a variable-length integer that was read, and its bytes.
    raw: u64,
    raw_len: usize,
    /// Bytes of a key or value still to come.
    skip: usize,
    /// Bytes of the record still to come.
    left: usize,
    headers_left: usize,
    head: Head,
}

impl Walker {
    fn new() -> Self {
        Self {
            field: Field::Length,
            index: 0,
            raw: 0,
            raw_len: 0,
            skip: 0,
            left: 0,
            headers_left: 0,
            head: Head { offset_delta: 0, timestamp_delta: 0, has_key: false },
        }
    }

    fn feed<T>(
        &mut self,
        mut bytes: &[u8],
        visit: &mut impl FnMut(Head) -> ControlFlow<T>,
    ) -> Result<ControlFlow<T>, Fault> {
        while !bytes.is_empty() {
            let head = if self.is_between_records() {
                match read_head(bytes) {
                    Ok((head, len)) => {
                        bytes = &bytes[len..];
                        Some(head)
                    }
                    Err(Malformed::Cut) => self.field(&mut bytes)?,
                    Err(malformed) => return Err(self.fault(malformed)),
                }
            } else {
                self.field(&mut bytes)?
            };
            if let Some(head) = head {
                self.index += 1;
                if let ControlFlow::Break(result) = visit(head) {
                    return Ok(ControlFlow::Break(result));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// There is no more input.
    fn finish(&self) -> Result<(), Fault> {
        if self.is_between_records() { Ok(()) } else { Err(self.fault(Malformed::Cut)) }
    }

    fn is_between_records(&self) -> bool {
        self.field == Field::Length && self.raw_len == 0
    }

    fn fault(&self, malformed: Malformed) -> Fault {
        Fault::Record { index: self.index, malformed }
    }

    /// Takes one field, or what is there of it; the record's head when it was its last.
    fn field(&mut self, bytes: &mut &[u8]) -> Result<Option<Head>, Fault> {
        let is_complete = self.advance(bytes).map_err(|malformed| self.fault(malformed))?;
        Ok(is_complete.then_some(self.head))
    }

    fn advance(&mut self, bytes: &mut &[u8]) -> Result<bool, Malformed> {
        match self.field {
            Field::Length => {
                let Some(length) = self.varint(bytes)? else { return Ok(false) };
                self.left = usize::try_from(length).map_err(|_| Malformed::NegativeLength)?;
                self.field = Field::Attributes;
            }
            Field::Attributes => {
                self.take(bytes, 1)?;
                self.field = Field::TimestampDelta;
            }
            Field::TimestampDelta => {
                let Some(raw) = self.integer(bytes, VARLONG_BYTES_MAX)? else { return Ok(false) };
                self.head.timestamp_delta = zigzag_64(raw);
                self.field = Field::OffsetDelta;
            }
            Field::OffsetDelta => {
                let Some(offset_delta) = self.varint(bytes)? else { return Ok(false) };
                self.head.offset_delta = offset_delta;
                self.field = Field::KeyLength;
            }
            Field::KeyLength => {
                let Some(has_key) = self.nullable(bytes)? else { return Ok(false) };
                self.head.has_key = has_key;
                self.field = Field::Key;
            }
            Field::ValueLength => {
                if self.nullable(bytes)?.is_none() {
                    return Ok(false);
                }
                self.field = Field::Value;
            }
            Field::HeaderCount => {
                let Some(count) = self.varint(bytes)? else { return Ok(false) };
                self.headers_left = usize::try_from(count).map_err(|_| Malformed::NegativeLength)?;
                return self.next_header();
            }
            Field::HeaderKeyLength => {
                let Some(has_key) = self.nullable(bytes)? else { return Ok(false) };
                if !has_key {
                    return Err(Malformed::NullHeaderKey);
                }
                self.field = Field::HeaderKey;
            }
            Field::HeaderValueLength => {
                if self.nullable(bytes)?.is_none() {
                    return Ok(false);
                }
                self.field = Field::HeaderValue;
            }
            Field::Key | Field::Value | Field::HeaderKey | Field::HeaderValue => {
                let len = self.skip.min(bytes.len());
                self.take(bytes, len)?;
                self.skip -= len;
                if self.skip > 0 {
                    return Ok(false);
                }
            }
        }
        self.skip_done()
    }

    /// Moves on from a key or value of which nothing is left, so that an empty one needs no further byte.
    fn skip_done(&mut self) -> Result<bool, Malformed> {
        if self.skip > 0 {
            return Ok(false);
        }
        match self.field {
            Field::Key => self.field = Field::ValueLength,
            Field::Value => self.field = Field::HeaderCount,
            Field::HeaderKey => self.field = Field::HeaderValueLength,
            Field::HeaderValue => {
                self.headers_left -= 1;
                return self.next_header();
            }
            _ => {}
        }
        Ok(false)
    }

    /// Whether the record is complete; else a header comes next.
    fn next_header(&mut self) -> Result<bool, Malformed> {
        if self.headers_left > 0 {
            self.field = Field::HeaderKeyLength;
            return Ok(false);
        }
        if self.left > 0 {
            return Err(Malformed::LengthMismatch);
        }
        self.field = Field::Length;
        Ok(true)
    }

    /// Reads a length that may be null into `skip`; whether it was not null.
    fn nullable(&mut self, bytes: &mut &[u8]) -> Result<Option<bool>, Malformed> {
        match self.varint(bytes)? {
            None => Ok(None),
            Some(-1) => {
                self.skip = 0;
                Ok(Some(false))
            }
            Some(len) => {
                self.skip = usize::try_from(len).map_err(|_| Malformed::NegativeLength)?;
                if self.skip > self.left {
                    return Err(Malformed::LengthMismatch);
                }
                Ok(Some(true))
            }
        }
    }

    fn varint(&mut self, bytes: &mut &[u8]) -> Result<Option<i32>, Malformed> {
        match self.integer(bytes, VARINT_BYTES_MAX)? {
            None => Ok(None),
            Some(raw) => u32::try_from(raw).map(|raw| Some(zigzag_32(raw))).map_err(|_| Malformed::IntegerTooLong),
        }
    }

    fn integer(&mut self, bytes: &mut &[u8], len_max: usize) -> Result<Option<u64>, Malformed> {
        while let Some(&byte) = bytes.first() {
            self.take(bytes, 1)?;
            let bits = u64::from(byte & 0x7f);
            if self.raw_len == VARLONG_BYTES_MAX - 1 && bits > 1 {
                return Err(Malformed::IntegerTooLong);
            }
            self.raw |= bits << (7 * self.raw_len);
            self.raw_len += 1;
            if byte < 0x80 {
                self.raw_len = 0;
                return Ok(Some(std::mem::take(&mut self.raw)));
            }
            if self.raw_len == len_max {
                return Err(Malformed::IntegerTooLong);
            }
        }
        Ok(None)
    }

    fn take(&mut self, bytes: &mut &[u8], len: usize) -> Result<(), Malformed> {
        if self.field != Field::Length {
            self.left = self.left.checked_sub(len).ok_or(Malformed::LengthMismatch)?;
        }
        *bytes = &bytes[len..];
        Ok(())
    }
}

/// What a [`Search`] looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The first record whose timestamp and offset are at least these.
    AtOrAfter {
        /// In ms.
        timestamp: i64,
        /// What lies before it, such as before the log's start, is not there any more.
        offset_min: i64,
    },
    /// The first record of the largest timestamp.
    Maximum,
}

/// A resumable search for a record of one batch by timestamp.
pub struct Search<B: AsRef<[u8]>> {
    scan: Scan<B>,
    goal: Goal,
    origin: Origin,
    best: Option<Located>,
}

impl<B: AsRef<[u8]>> Search<B> {
    /// Starts on `batch`, exactly one batch as it is stored.
    ///
    /// # Panics
    /// If `batch` is not exactly one batch, or its codec does not exist: stored batches were validated.
    pub fn new(batch: B, goal: Goal, output_bytes_max: u64) -> Self {
        let origin = Batch::first(batch.as_ref()).expect("only a stored batch is searched").origin();
        Self { scan: Scan::new(batch, output_bytes_max), goal, origin, best: None }
    }

    /// Goes on until at least `budget_bytes` of decompressed records were seen, or the search is over.
    ///
    /// # Errors
    /// If the batch's records cannot be read.
    pub fn step(&mut self, budget_bytes: usize) -> Result<Progress<Option<Located>>, Fault> {
        let (goal, origin, best) = (self.goal, self.origin, &mut self.best);
        let progress = self.scan.step(budget_bytes, |head| {
            let located = origin.locate(head);
            match goal {
                Goal::AtOrAfter { timestamp, offset_min }
                    if located.timestamp >= timestamp && located.offset >= offset_min =>
                {
                    ControlFlow::Break(located)
                }
                Goal::Maximum if best.is_none_or(|best| located.timestamp > best.timestamp) => {
                    *best = Some(located);
                    ControlFlow::Continue(())
                }
                _ => ControlFlow::Continue(()),
            }
        })?;
        Ok(match progress {
            Progress::More => Progress::More,
            Progress::Done(found) => Progress::Done(found.or(self.best)),
        })
    }
}

/// Searches `batch` to the end, in one call: `None` if no record matches.
///
/// # Errors
/// If the batch's records cannot be read.
///
/// # Panics
/// As [`Search::new`].
pub fn search(batch: &Batch<'_>, goal: Goal, output_bytes_max: u64) -> Result<Option<Located>, Fault> {
    let mut search = Search::new(batch.bytes(), goal, output_bytes_max);
    loop {
        if let Progress::Done(found) = search.step(usize::MAX)? {
            return Ok(found);
        }
    }
}
