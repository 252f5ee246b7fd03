//! The pass that writes what stays.
//!
//! ```text
//! Next ─► Judge ─► (Rewrite) ─► Emit ─► Next … end of input ─► Next, or Finish ─► swap ─► Next
//! ```

use super::job::{Job, Phase, Trouble, Turn};
use super::output::{Bytes, Emitted, Finish, Output};
use super::reader::Input;
use crate::batch::{Batch, NO_TIMESTAMP, Remains};
use crate::buffer::Slice;
use crate::compaction::judge::{Judge, Rule, Tally};
use crate::compaction::rewrite::{Rewrite, emptied};
use crate::index::MaxTimestamp;
use crate::scan::Progress;
use crate::segment::SEGMENT_BYTES_MAX;
use crate::store::{BATCH_BYTES_MAX, Store};

/// Where the filter is with a batch.
pub(super) enum Work {
    Next,
    Judge {
        bytes: Slice,
        judge: Judge,
        keeps_empty: bool,
    },
    Rewrite {
        bytes: Slice,
        rewrite: Rewrite,
        max: MaxTimestamp,
        kept: u32,
        records: u32,
    },
    Emit(Emitted),
    /// The output has all it gets.
    Finish,
}

pub(super) struct Filter {
    /// The first input that no file has replaced yet: the next file takes its place, though nothing of it may be left.
    pub(super) first_input: usize,
    pub(super) output: Option<Output>,
    pub(super) work: Work,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("output", &self.output).finish_non_exhaustive()
    }
}

impl Filter {
    fn of(job: &mut Job) -> &mut Self {
        let Phase::Filter(filter) = &mut job.phase else { unreachable!("the pass filters") };
        filter
    }
}

impl Store {
    pub(super) fn filter(&mut self, job: &mut Job, left: &mut usize) -> Turn {
        match std::mem::replace(&mut Filter::of(job).work, Work::Next) {
            Work::Next => match self.next_batch(job, left) {
                Err(turn) => turn,
                Ok(Some(bytes)) => self.filter_batch(job, bytes),
                Ok(None) => self.end_of_input(job),
            },
            Work::Judge { bytes, judge, keeps_empty } => self.judge(job, bytes, judge, keeps_empty, left),
            Work::Rewrite { bytes, rewrite, max, kept, records } => {
                self.rewrite(job, bytes, rewrite, Rewritten { max, kept, records }, left)
            }
            Work::Emit(emitted) => self.emit(job, emitted, left),
            Work::Finish => self.finish_output(job),
        }
    }

    /// Decides what becomes of a batch, by Kafka's rules.
    fn filter_batch(&mut self, job: &mut Job, bytes: Slice) -> Turn {
        let batch = Batch::first(&bytes).expect("it was checked");
        let attributes = batch.attributes();
        let can_discard = job.transactions.can_discard(&batch);
        let needed = job.transactions.take_needed();
        let keeps_empty = self.keeps_empty(job, &batch);
        let goes = can_discard && (!attributes.is_control() || job.terms.is_past_horizon(&batch));
        let records = batch.record_count().max(0) as u32;
        if goes {
            self.count_records(records, 0);
            return if keeps_empty { self.emit_empty(job, &batch) } else { Turn::On };
        }
        if !attributes.is_control() {
            let judge = Judge::new(&bytes, &job.terms);
            Filter::of(job).work = Work::Judge { bytes, judge, keeps_empty };
            return Turn::On;
        }
        let max = MaxTimestamp { timestamp: batch.max_timestamp(), offset: batch.base_offset() };
        if can_discard && batch.delete_horizon().is_none() && records > 0 {
            // Nothing of its transaction is left: from now on its time runs.
            let horizon = Some(job.terms.new_horizon());
            let (record_count, max_timestamp) = (batch.record_count(), batch.max_timestamp());
            let remains = Remains { record_count, max_timestamp, delete_horizon: horizon };
            let rewrite = Rewrite::new(&bytes, None, remains);
            Filter::of(job).work = Work::Rewrite { bytes, rewrite, max, kept: records, records };
            return Turn::On;
        }
        self.count_records(records, records);
        let turn = self.begin_emit(job, Bytes::Stored(bytes), max);
        Filter::of(job).output.as_mut().expect("the mark is emitted to it").aborted.extend(needed);
        turn
    }

    /// Whether something of the batch stays although no record does: its producer's last sequence, or the end of what is
    /// compacted, so that no file gets empty.
    fn keeps_empty(&self, job: &Job, batch: &Batch<'_>) -> bool {
        let Phase::Filter(filter) = &job.phase else { unreachable!("the pass filters") };
        let (first, input) = (&job.inputs[filter.first_input], &job.inputs[job.reader.input]);
        let is_end = job.reader.position >= input.bytes;
        let next = job.inputs.get(job.reader.input + 1);
        // A file's offsets lie within 32 bits of its first one.
        let is_far = |next: &Input| next.next_offset - first.base_offset > i64::from(i32::MAX);
        let is_needed = is_end && next.is_none_or(|next| filter.output.is_none() && is_far(next));
        let producers = &self.log(job.slot).producers;
        is_needed || batch.producer().is_some_and(|it| producers.last_offset_of(it.id) == Some(batch.last_offset()))
    }

    fn count_records(&mut self, records: u32, kept: u32) {
        self.compaction.counted.records += u64::from(records);
        self.compaction.counted.dropped_records += u64::from(records.saturating_sub(kept));
    }

    fn judge(&mut self, job: &mut Job, bytes: Slice, mut judge: Judge, keeps_empty: bool, left: &mut usize) -> Turn {
        let progress = judge.step(*left, &job.map);
        *left = left.saturating_sub(bytes.len());
        let tally = match progress {
            Err(fault) => return self.unreadable(job, fault),
            Ok(Progress::More) => {
                *left = 0;
                Filter::of(job).work = Work::Judge { bytes, judge, keeps_empty };
                return Turn::On;
            }
            Ok(Progress::Done(tally)) => tally,
        };
        self.judged(job, bytes, &tally, keeps_empty)
    }

    fn judged(&mut self, job: &mut Job, bytes: Slice, tally: &Tally, keeps_empty: bool) -> Turn {
        let batch = Batch::first(&bytes).expect("it was checked");
        if tally.kept == 0 {
            self.count_records(tally.records, 0);
            return if keeps_empty { self.emit_empty(job, &batch) } else { Turn::On };
        }
        let horizon = (tally.has_tombstone && batch.delete_horizon().is_none()).then(|| job.terms.new_horizon());
        let is_whole = tally.kept == tally.records;
        if is_whole && horizon.is_none() {
            self.count_records(tally.records, tally.kept);
            return self.begin_emit(job, Bytes::Stored(bytes), tally.max);
        }
        let rule = (!is_whole).then(|| Rule::of(&batch, &job.terms));
        let rewrite = Rewrite::new(&bytes, rule, tally.remains(&batch, horizon));
        let (max, kept, records) = (tally.max, tally.kept, tally.records);
        Filter::of(job).work = Work::Rewrite { bytes, rewrite, max, kept, records };
        Turn::On
    }

    fn rewrite(
        &mut self,
        job: &mut Job,
        bytes: Slice,
        mut rewrite: Rewrite,
        what: Rewritten,
        left: &mut usize,
    ) -> Turn {
        let progress = rewrite.step(*left, &job.map);
        *left = left.saturating_sub(bytes.len());
        let Rewritten { max, kept, records } = what;
        match progress {
            Err(fault) => self.unreadable(job, fault),
            Ok(Progress::More) => {
                *left = 0;
                Filter::of(job).work = Work::Rewrite { bytes, rewrite, max, kept, records };
                Turn::On
            }
            Ok(Progress::Done(rewritten)) if is_too_large(job, &bytes, &rewritten) => {
                self.count_records(records, records);
                let batch = Batch::first(&bytes).expect("it was checked");
                // Its records may have timestamps that are larger than those that were to stay.
                let max = MaxTimestamp { timestamp: batch.max_timestamp(), offset: max.offset };
                self.begin_emit(job, Bytes::Stored(bytes), max)
            }
            Ok(Progress::Done(rewritten)) => {
                self.count_records(records, kept);
                self.begin_emit(job, Bytes::Rewritten(rewritten), max)
            }
        }
    }

    fn emit_empty(&mut self, job: &mut Job, batch: &Batch<'_>) -> Turn {
        let max = MaxTimestamp { timestamp: NO_TIMESTAMP, offset: batch.base_offset() };
        self.begin_emit(job, Bytes::Rewritten(emptied(batch)), max)
    }

    fn begin_emit(&mut self, job: &mut Job, bytes: Bytes, max: MaxTimestamp) -> Turn {
        let batch = Batch::first(bytes.as_ref()).expect("a batch stays one");
        let (size, base_offset, last_offset) = (batch.size_in_bytes(), batch.base_offset(), batch.last_offset());
        let direct = self.options.direct;
        let log = self.logs[job.slot.index()].as_deref().expect("the pass goes on");
        let (id, directory) = (job.id, std::sync::Arc::clone(&job.directory));
        let Phase::Filter(filter) = &mut job.phase else { unreachable!("the pass filters") };
        let inputs = &job.inputs[filter.first_input..=job.reader.input];
        let new = || Output::new(id, &directory, inputs, &log.config, direct);
        let output = filter.output.get_or_insert_with(new);
        output.begin_batch(size, base_offset, last_offset, max);
        filter.work = Work::Emit(Emitted { bytes, at: 0 });
        Turn::On
    }

    fn emit(&mut self, job: &mut Job, mut emitted: Emitted, left: &mut usize) -> Turn {
        let io_bytes = job.settings.io_bytes;
        let writes_in_flight = job.writes_in_flight;
        let filter = Filter::of(job);
        let output = filter.output.as_mut().expect("something is emitted to it");
        let before = emitted.at;
        let has_memory = output.push(&mut emitted, io_bytes, &self.compaction.buffers);
        *left = left.saturating_sub((emitted.at - before) / 4);
        let is_done = emitted.at == emitted.bytes.as_ref().len();
        let is_full = output.is_buffer_full();
        let write = if is_full && writes_in_flight == 0 { output.write() } else { None };
        if !is_done {
            filter.work = Work::Emit(emitted);
        }
        if !has_memory {
            return job.give_up(Trouble::Memory);
        }
        match write {
            Some(request) => {
                self.request_for(job, request);
                Turn::On
            }
            // The write before is not done yet; what still fits the buffer may go on.
            None if is_full && !is_done => Turn::Wait,
            None => Turn::On,
        }
    }

    fn end_of_input(&mut self, job: &mut Job) -> Turn {
        let next = job.inputs.get(job.reader.input + 1).copied();
        let log = self.logs[job.slot.index()].as_deref().expect("the pass goes on");
        let filter = Filter::of(job);
        match (&mut filter.output, next) {
            (Some(output), Some(next)) if output.fits(&next, &log.config, SEGMENT_BYTES_MAX) => output.join(&next),
            (Some(_), _) => {
                filter.work = Work::Finish;
                return Turn::On;
            }
            (None, Some(_)) => {}
            (None, None) => unreachable!("the last batch stays, if only its header"),
        }
        job.reader.next_input();
        Turn::On
    }

    fn finish_output(&mut self, job: &mut Job) -> Turn {
        if job.writes_in_flight > 0 {
            Filter::of(job).work = Work::Finish;
            return Turn::Wait;
        }
        job.reader.release();
        let output = Filter::of(job).output.as_mut().expect("it is finished");
        match output.finish(&self.compaction.buffers) {
            Finish::Busy => job.give_up(Trouble::Memory),
            Finish::Request(request) => {
                Filter::of(job).work = Work::Finish;
                self.request_for(job, request);
                Turn::Wait
            }
            Finish::Done => {
                let output = Filter::of(job).output.take().expect("it is finished");
                self.swap(job, output)
            }
        }
    }
}

/// What a rewritten batch has.
struct Rewritten {
    max: MaxTimestamp,
    kept: u32,
    records: u32,
}

/// Whether a new delete horizon, which makes timestamps longer, made the batch, or the file with what is still to come of
/// its input, too large.
fn is_too_large(job: &Job, stored: &[u8], rewritten: &[u8]) -> bool {
    let Phase::Filter(filter) = &job.phase else { unreachable!("the pass filters") };
    let written = filter.output.as_ref().map_or(0, |output| output.bytes);
    let rest = job.inputs[job.reader.input].bytes - job.reader.position;
    rewritten.len() > stored.len()
        && (rewritten.len() > BATCH_BYTES_MAX || written + rewritten.len() as u64 + rest > SEGMENT_BYTES_MAX)
}
