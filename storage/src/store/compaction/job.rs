//! One pass over one log.
//!
//! ```text
//! Build ─► Filter ─► end
//! any ─► Discard: what was written of an unfinished file is removed ─► end
//! ```

use std::sync::Arc;

use super::filter::{Filter, Work};
use super::output::Request;
use super::reader::{Input, Next, Reader};
use super::schedule::Plan;
use super::{Settings, Store};
use crate::batch::Batch;
use crate::buffer::Slice;
use crate::compaction::judge::Terms;
use crate::compaction::map::{OffsetMap, Shape};
use crate::compaction::transactions::Transactions;
use crate::compaction::walk::Walk;
use crate::io::{Done, Failure, Op, OpenMode};
use crate::log::state::Log;
use crate::log::{LogId, Slot};
use crate::scan::Progress;
use crate::segment::compacted_path;
use crate::store::damage::Place;
use crate::store::files::{FileKey, FileOp};
use crate::store::purpose::Purpose;
use crate::verify::Damage;

/// What a batch costs of a turn's budget besides its bytes.
const BATCH_COST: usize = 64;

/// What a request of a job is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    Read,
    Write,
}

/// Whether a job can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    On,
    /// For the disk, or for the clock.
    Wait,
    End,
}

/// Why a pass did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The log was deleted, or segments that were read were removed; or the store stops.
    Gone,
    /// A stored batch is damaged.
    Damaged { base_offset: i64, position: u64, damage: Damage },
    /// The records of a batch that is intact cannot be read.
    Unreadable,
    /// The operating system refused something.
    Io(Failure),
    /// There is no memory for a file's index.
    Memory,
}

#[derive(Debug)]
pub(super) enum Phase {
    Build { walk: Option<Building> },
    Filter(Box<Filter>),
    Discard,
}

/// A batch whose keys go to the map.
pub(super) struct Building {
    walk: Walk,
    base_offset: i64,
    last_offset: i64,
}

impl std::fmt::Debug for Building {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Building").field("base_offset", &self.base_offset).finish_non_exhaustive()
    }
}

/// One pass.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) slot: Slot,
    pub(super) id: LogId,
    pub(super) directory: Arc<str>,
    pub(super) terms: Terms,
    pub(super) settings: Settings,
    pub(super) dirty_from: i64,
    /// The log is compacted up to here by this pass.
    pub(super) end: i64,
    pub(super) inputs: Vec<Input>,
    pub(super) reader: Reader,
    pub(super) map: OffsetMap,
    pub(super) transactions: Transactions,
    pub(super) phase: Phase,
    pub(super) is_reading: bool,
    /// Where the read in flight begins, and how long it is.
    pub(super) reading: (u64, usize),
    pub(super) writes_in_flight: usize,
    pub(super) trouble: Option<Trouble>,
    /// What was counted, for the log's line when it ends.
    pub(super) read_bytes: u64,
    pub(super) written_bytes: u64,
}

impl Job {
    pub(super) fn map_bytes(&self) -> usize {
        self.map.bytes()
    }

    /// The input that has what is not compacted yet.
    fn first_dirty_input(&self) -> usize {
        self.inputs.partition_point(|input| input.next_offset <= self.dirty_from)
    }

    fn is_idle(&self) -> bool {
        !self.is_reading && self.writes_in_flight == 0
    }

    /// Gives up, or begins to.
    pub(super) fn give_up(&mut self, trouble: Trouble) -> Turn {
        self.trouble.get_or_insert(trouble);
        Turn::On
    }
}

impl Store {
    pub(super) fn begin_job(&mut self, slot: Slot, plan: Plan) {
        let settings = self.compaction.settings;
        let log = self.log(slot);
        let config = log.config.compaction.expect("only a log that is to be compacted is planned");
        let inputs: Vec<Input> = (0..plan.segments)
            .map(|at| {
                let segment = &log.segments[at];
                Input {
                    base_offset: segment.base_offset,
                    generation: segment.generation,
                    bytes: segment.bytes,
                    next_offset: log.segments[at + 1].base_offset,
                    index_entries: segment.index_entries,
                    created_ms: segment.created_ms,
                }
            })
            .collect();
        let end = inputs.last().expect("there is something to compact").next_offset;
        let map = OffsetMap::new(Shape {
            base_offset: plan.dirty_from,
            keys_max: (end - plan.dirty_from).max(0) as u64,
            bytes_max: settings.dedupe_bytes,
            load_permille: settings.load_permille,
            secret: self.compaction.secret,
        });
        let delete_retention_ms = i64::try_from(config.delete_retention_ms).unwrap_or(i64::MAX);
        let aborted = log.transactions.iter().flat_map(|it| it.all_aborted());
        let transactions = Transactions::new(aborted.filter(|it| it.first_offset < end));
        let mut job = Job {
            slot,
            id: log.id,
            directory: Arc::clone(&log.directory),
            terms: Terms { now_ms: self.now.wall_ms, delete_retention_ms },
            settings,
            dirty_from: plan.dirty_from,
            end,
            inputs,
            reader: Reader::new(0, settings.io_bytes),
            map,
            transactions,
            phase: Phase::Build { walk: None },
            is_reading: false,
            reading: (0, 0),
            writes_in_flight: 0,
            trouble: None,
            read_bytes: 0,
            written_bytes: 0,
        };
        job.reader = Reader::new(job.first_dirty_input(), settings.io_bytes);
        self.compaction.job = Some(Box::new(job));
    }

    /// The next step of a pass.
    pub(super) fn advance_job(&mut self, job: &mut Job, left: &mut usize) -> Turn {
        if job.trouble.is_none() && !self.may_job_go_on(job) {
            job.trouble = Some(Trouble::Gone);
        }
        if job.trouble.is_some() {
            return self.discard_job(job);
        }
        if self.compaction.throttled_until_ns > self.now.monotonic_ns {
            return Turn::Wait;
        }
        match job.phase {
            Phase::Build { .. } => self.build(job, left),
            Phase::Filter(_) => self.filter(job, left),
            Phase::Discard => unreachable!("a pass is discarded because of some trouble"),
        }
    }

    fn may_job_go_on(&mut self, job: &Job) -> bool {
        let may = self.compaction.settings.is_enabled && !self.is_stopping && !self.is_failed;
        let is_wanted = |log: &mut Log| log.config.compaction.is_some() && log.truncation.is_none();
        may && self.log_if(job.slot, job.id).is_some_and(is_wanted)
    }

    /// The next batch of the pass, checked; or what there is to wait for.
    pub(super) fn next_batch(&mut self, job: &mut Job, left: &mut usize) -> Result<Option<Slice>, Turn> {
        if job.is_reading {
            return Err(Turn::Wait);
        }
        let Some(input) = job.inputs.get(job.reader.input).copied() else { return Ok(None) };
        match job.reader.next(&input) {
            Next::Batch(bytes) => {
                *left = left.saturating_sub(BATCH_COST + bytes.len() / 8);
                let batch = Batch::first(&bytes).expect("the reader saw it");
                let position = job.reader.position - bytes.len() as u64;
                match damage_of(&batch, job.reader.offset_min.max(input.base_offset), &input) {
                    Some(damage) => {
                        Err(job.give_up(Trouble::Damaged { base_offset: input.base_offset, position, damage }))
                    }
                    None => {
                        job.reader.offset_min = batch.next_offset();
                        Ok(Some(bytes))
                    }
                }
            }
            Next::InputEnd => Ok(None),
            Next::Damaged(position, damage) => {
                Err(job.give_up(Trouble::Damaged { base_offset: input.base_offset, position, damage }))
            }
            Next::Read { from, length } => Err(self.read_input(job, &input, from, length)),
        }
    }

    fn read_input(&mut self, job: &mut Job, input: &Input, from: u64, length: usize) -> Turn {
        if !self.has_input(job, input) {
            return job.give_up(Trouble::Gone);
        }
        job.reader.release();
        let Some(mut buffer) = self.compaction.buffers.allocate(length) else {
            return job.give_up(Trouble::Memory);
        };
        buffer.shorten(length);
        job.is_reading = true;
        job.reading = (from, length);
        self.compaction.throttle(self.now.monotonic_ns, length as u64);
        self.compaction.counted.read_bytes += length as u64;
        job.read_bytes += length as u64;
        self.files.request(
            FileKey::segment(job.id, input.base_offset, input.generation),
            || compacted_path(&job.directory, input.base_offset, input.generation),
            OpenMode { create: false, write: true, direct: self.options.direct },
            FileOp::Read { position: from, buffer },
            Purpose::Compaction(Piece::Read),
        );
        Turn::Wait
    }

    /// Whether the log still has the segment as it was when the pass began.
    pub(super) fn has_input(&self, job: &Job, input: &Input) -> bool {
        let log = self.log(job.slot);
        log.segment_index(input.base_offset).is_some_and(|at| log.segments[at].generation == input.generation)
    }

    /// Hands a request of the pass to the disk.
    pub(super) fn request_for(&mut self, job: &mut Job, request: Request) {
        job.writes_in_flight += 1;
        let purpose = Purpose::Compaction(Piece::Write);
        match request {
            Request::File { key, path, mode, op } => {
                if let FileOp::Write { data, .. } = &op {
                    let bytes: u64 = data.iter().map(|slice| slice.len() as u64).sum();
                    self.compaction.throttle(self.now.monotonic_ns, bytes);
                    self.compaction.counted.written_bytes += bytes;
                    job.written_bytes += bytes;
                }
                self.files.request(key, || path, mode, op, purpose);
            }
            Request::Name(op) => self.files.request_name(op, purpose),
        }
    }

    /// A request of the pass ended.
    pub(in crate::store) fn compaction_ended(&mut self, piece: Piece, result: Result<Done, Failure>) {
        self.compaction.is_ready = true;
        let job = self.compaction.job.as_mut().expect("a pass waits for its requests");
        match piece {
            Piece::Read => job.is_reading = false,
            Piece::Write => job.writes_in_flight -= 1,
        }
        match result {
            Ok(Done::Read { buffer, length }) => {
                let input = job.inputs[job.reader.input];
                let (from, wanted) = job.reading;
                if !job.reader.fill(&input, from, buffer.freeze(length), wanted) {
                    let position = from + length as u64;
                    let base_offset = input.base_offset;
                    job.give_up(Trouble::Damaged { base_offset, position, damage: Damage::Missing });
                }
            }
            Ok(_) => {}
            Err(failure) => {
                job.give_up(Trouble::Io(failure));
            }
        }
    }

    fn build(&mut self, job: &mut Job, left: &mut usize) -> Turn {
        let Phase::Build { walk } = &mut job.phase else { unreachable!("the pass builds its map") };
        if let Some(mut building) = walk.take() {
            return self.build_batch(job, &mut building, left).map_or_else(
                |turn| turn,
                |is_done| {
                    if !is_done {
                        job.phase = Phase::Build { walk: Some(building) };
                    }
                    Turn::On
                },
            );
        }
        match self.next_batch(job, left) {
            Err(turn) => turn,
            Ok(Some(bytes)) => self.begin_batch(job, bytes),
            Ok(None) if job.reader.input + 1 < job.inputs.len() => {
                job.reader.next_input();
                Turn::On
            }
            Ok(None) => {
                let end = job.end;
                self.begin_filter(job, end)
            }
        }
    }

    fn begin_batch(&mut self, job: &mut Job, bytes: Slice) -> Turn {
        let batch = Batch::first(&bytes).expect("it was checked");
        let (base_offset, last_offset) = (batch.base_offset(), batch.last_offset());
        let is_aborted = job.transactions.can_discard(&batch);
        if last_offset < job.dirty_from {
            return Turn::On;
        }
        if is_aborted || batch.attributes().is_control() {
            job.map.pass(last_offset);
            return Turn::On;
        }
        job.phase = Phase::Build { walk: Some(Building { walk: Walk::new(bytes), base_offset, last_offset }) };
        Turn::On
    }

    /// A slice of a batch's keys; whether they were the last.
    fn build_batch(&mut self, job: &mut Job, building: &mut Building, left: &mut usize) -> Result<bool, Turn> {
        let Building { walk, base_offset, last_offset } = building;
        let (base_offset, last_offset, dirty_from) = (*base_offset, *last_offset, job.dirty_from);
        let map = &mut job.map;
        let mut is_full = false;
        let mut walked = 0;
        let progress = walk.step(*left, |record, bytes| {
            walked += bytes.len();
            let offset = base_offset + i64::from(record.head.offset_delta);
            if let Some(key) = record.key
                && offset >= dirty_from
                && !is_full
            {
                is_full = map.put(key, offset).is_err();
            }
        });
        *left = left.saturating_sub(walked);
        match progress {
            Err(fault) => Err(self.unreadable(job, fault)),
            Ok(_) if is_full => {
                let end = job.map.latest().map_or(job.dirty_from, |latest| latest + 1);
                Err(self.begin_filter(job, end))
            }
            Ok(Progress::More) => Ok(false),
            Ok(Progress::Done(())) => {
                job.map.pass(last_offset);
                Ok(true)
            }
        }
    }

    /// The records of a batch with the right CRC cannot be read.
    pub(super) fn unreadable(&self, job: &mut Job, fault: crate::scan::Fault) -> Turn {
        let base_offset = job.inputs[job.reader.input].base_offset;
        tracing::error!(log = %job.id, segment = base_offset, %fault, "cannot read a stored batch");
        job.give_up(Trouble::Unreadable)
    }

    /// The keys below `end` are known: what of them stays is written now.
    fn begin_filter(&mut self, job: &mut Job, end: i64) -> Turn {
        job.end = end;
        let count = job.inputs.partition_point(|input| input.base_offset < end);
        job.inputs.truncate(count);
        job.transactions = std::mem::take(&mut job.transactions).rewound();
        job.reader = Reader::new(0, job.settings.io_bytes);
        job.phase = Phase::Filter(Box::new(Filter { first_input: 0, output: None, work: Work::Next }));
        Turn::On
    }

    /// Removes what was written of an unfinished file; the pass ends when that is done.
    fn discard_job(&mut self, job: &mut Job) -> Turn {
        if !job.is_idle() {
            return Turn::Wait;
        }
        let output = match std::mem::replace(&mut job.phase, Phase::Discard) {
            Phase::Filter(filter) => filter.output,
            Phase::Build { .. } | Phase::Discard => None,
        };
        // A deleted log goes with its directory.
        let output = output.filter(|_| self.log_if(job.slot, job.id).is_some());
        let Some(output) = output else { return Turn::End };
        for (key, path) in output.files() {
            self.files.close(key);
            self.request_for(job, Request::Name(Op::RemoveFile { path }));
        }
        Turn::Wait
    }

    /// The log is not compacted any more, until the next start: what is damaged must not get lost with what is not.
    fn leave_alone(&mut self, job: &Job) {
        tracing::error!(
            log = %job.id,
            "a log with damaged records is not compacted until they are repaired and the node is started again"
        );
        if let Some(log) = self.log_if(job.slot, job.id) {
            log.compacted.is_uncleanable = true;
            self.compaction.uncleanable += 1;
        }
    }

    pub(super) fn end_job(&mut self, job: Job) {
        let Some(trouble) = job.trouble else {
            self.compaction.counted.passes += 1;
            tracing::debug!(
                log = %job.id,
                up_to = job.end,
                keys = job.map.len(),
                keys_max = job.map.capacity(),
                read_bytes = job.read_bytes,
                written_bytes = job.written_bytes,
                "a log was compacted"
            );
            if self.log_if(job.slot, job.id).is_some() {
                self.schedule_compaction(job.slot);
            }
            return;
        };
        let rest_ns = self.compaction.settings.backoff_ms.saturating_mul(1_000_000);
        let log = job.id;
        let rest_ns = match trouble {
            Trouble::Gone => 0,
            Trouble::Damaged { base_offset, position, damage } => {
                let place = Place { log, base_offset, position };
                if self.log_if(job.slot, log).is_some() {
                    self.report_damage(job.slot, place, 0, base_offset, damage);
                }
                self.leave_alone(&job);
                rest_ns
            }
            Trouble::Unreadable => {
                self.leave_alone(&job);
                rest_ns
            }
            Trouble::Io(failure) => {
                tracing::warn!(%log, %failure, "compacting a log failed; trying again later");
                rest_ns
            }
            Trouble::Memory => {
                tracing::warn!(%log, "there is no memory to compact a log; trying again later");
                rest_ns
            }
        };
        self.compaction.counted.failed += u64::from(trouble != Trouble::Gone);
        if self.log_if(job.slot, job.id).is_some() {
            self.schedule_compaction_after(job.slot, rest_ns);
        }
    }
}

/// What is wrong with a batch whose length and magic are possible, if anything is.
fn damage_of(batch: &Batch<'_>, offset_min: i64, input: &Input) -> Option<Damage> {
    let (stated, computed) = (batch.crc(), batch.computed_crc());
    let (base_offset, last_offset) = (batch.base_offset(), batch.last_offset());
    let is_possible = base_offset >= offset_min && last_offset >= base_offset && last_offset < input.next_offset;
    if stated != computed || batch.attributes().codec().is_none() {
        return Some(Damage::Crc { stated, computed });
    }
    (!is_possible).then_some(Damage::Offsets { base_offset, last_offset })
}
