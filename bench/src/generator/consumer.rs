//! One consumer: one fetch in flight for its partitions, again and again.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use net::ApiKey;
use storage::batch::{Batch, batches};
use storage::compression;
use storage::record::records;

use super::group::Positions;
use super::ledger::Ledger;
use super::producer::Plan;
use super::socket::Socket;
use super::tally::Tally;
use crate::contents::Stamp;
use crate::error::Error;
use crate::request::{self, Fetch};
use crate::workload::Consumers;

/// Bytes that a checked batch may decompress to.
const BODY_BYTES_MAX: u64 = 256 << 20;

/// What a consumer reads of one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    pub(super) partition: i32,
    /// Where it began.
    pub(super) start: i64,
    /// The next record that it wants.
    pub(super) next: i64,
    /// The end of what was there before it began.
    pub(super) end: i64,
}

pub(super) struct Consumer {
    /// Which copy of everything it reads a share of.
    pub(super) copy: u32,
    plan: Arc<Plan>,
    cursors: Vec<Cursor>,
    /// The correlation id of the fetch in flight.
    asked: Option<i32>,
    next_correlation_id: i32,
    is_behind: bool,
    /// Where members of a group look how far they have read.
    positions: Option<Positions>,
    pub(super) read: Ledger,
}

/// What a fetch brought.
#[derive(Debug, Default)]
struct Brought {
    records: u64,
    bytes: u64,
}

impl Consumer {
    pub(super) fn new(copy: u32, plan: Arc<Plan>, cursors: Vec<Cursor>, positions: Option<Positions>) -> Self {
        Self {
            copy,
            plan,
            cursors,
            asked: None,
            next_correlation_id: 0,
            is_behind: true,
            positions,
            read: Ledger::default(),
        }
    }

    /// Whether it begins with the measurement: so does who begins with old records.
    pub(super) fn waits_for_window(&self) -> bool {
        self.plan.workload.consume.kind == Consumers::Cold
    }

    /// Asks for more, unless it has asked already.
    pub(super) fn ask(&mut self, socket: &mut Socket) {
        if self.asked.is_some() || self.cursors.is_empty() {
            return;
        }
        let consume = &self.plan.workload.consume;
        let fetch =
            Fetch { topic: &self.plan.workload.topic, bytes_max: consume.fetch_bytes, wait_ms: consume.fetch_wait_ms };
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = correlation_id.wrapping_add(1);
        self.asked = Some(correlation_id);
        fetch.put(socket.out(), correlation_id, self.cursors.iter().map(|cursor| (cursor.partition, cursor.next)));
        // The first partitions of a fetch fill it: each is the first in its turn.
        self.cursors.rotate_left(1);
    }

    /// Takes the answer. Gives back how many records it brought.
    pub(super) fn answered(
        &mut self,
        answer: &[u8],
        now_ns: u64,
        window: &Range<u64>,
        tally: &mut Tally,
    ) -> Result<u64, Error> {
        let unasked = || Error::WrongAnswer { api: ApiKey::Fetch, what: "nobody asked for it".into() };
        let response = request::fetched(answer, self.asked.take().ok_or_else(unasked)?)?;
        if response.error_code != 0 {
            return Err(Error::Refused { api: ApiKey::Fetch, code: response.error_code });
        }
        let mut brought = Brought::default();
        for partition in response.responses.iter().flat_map(|topic| &topic.partitions) {
            if partition.error_code != 0 {
                return Err(Error::Refused { api: ApiKey::Fetch, code: partition.error_code });
            }
            let bytes = partition.records.as_deref().unwrap_or_default();
            self.take(partition.partition_index, bytes, now_ns, tally, &mut brought)?;
        }
        tally.fetched(window, now_ns, brought.records, brought.bytes);
        self.note_end(now_ns, tally);
        Ok(brought.records)
    }

    fn take(
        &mut self,
        partition: i32,
        bytes: &[u8],
        now_ns: u64,
        tally: &mut Tally,
        brought: &mut Brought,
    ) -> Result<(), Error> {
        let wrong = |what: String| Error::WrongAnswer { api: ApiKey::Fetch, what };
        let found = self.cursors.iter().position(|cursor| cursor.partition == partition);
        let index = found.ok_or_else(|| wrong(format!("nobody asked for partition {partition}")))?;
        for batch in batches(bytes) {
            // The last batch of an answer may be cut off.
            let Ok(batch) = batch else { break };
            let next = self.cursors[index].next;
            if batch.last_offset() < next {
                continue;
            }
            if batch.base_offset() > next {
                return Err(wrong(format!("partition {partition} goes on at {} after {next}", batch.base_offset())));
            }
            brought.bytes += batch.size_in_bytes() as u64;
            brought.records += (batch.next_offset() - next) as u64;
            if self.plan.workload.check {
                self.check(partition, next, &batch, now_ns, tally)?;
            }
            self.cursors[index].next = batch.next_offset();
            if let Some(positions) = &self.positions {
                positions[partition as usize].store(batch.next_offset(), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn check(
        &mut self,
        partition: i32,
        from: i64,
        batch: &Batch<'_>,
        now_ns: u64,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let wrong = |what: String| Error::WrongAnswer { api: ApiKey::Fetch, what };
        if batch.crc() != batch.computed_crc() {
            return Err(wrong(format!("the batch at {} of partition {partition} is damaged", batch.base_offset())));
        }
        let codec = batch.attributes().codec().ok_or_else(|| wrong("an unknown codec".into()))?;
        let body;
        let bytes = if codec == compression::Codec::None {
            batch.body()
        } else {
            body = compression::decompress_all(codec, batch.body(), BODY_BYTES_MAX)
                .map_err(|error| wrong(error.to_string()))?;
            &body
        };
        for record in records(bytes) {
            let record = record.map_err(|malformed| wrong(format!("{malformed:?}")))?;
            if batch.base_offset() + i64::from(record.head.offset_delta) < from {
                continue;
            }
            let stamp = record.value.and_then(Stamp::decode);
            let stamp = stamp.ok_or_else(|| wrong("a record that this load has not written".into()))?;
            tally.end_to_end.saturating_record(now_ns.saturating_sub(stamp.due_ns));
            let in_order = self.read.read((stamp.producer, partition), stamp.sequence);
            in_order.map_err(|fault| Error::Integrity { what: fault.to_string() })?;
        }
        Ok(())
    }

    /// Notes that all that was there at the start has been read, or begins again.
    fn note_end(&mut self, now_ns: u64, tally: &mut Tally) {
        match self.plan.workload.consume.kind {
            Consumers::Replay => {
                for cursor in self.cursors.iter_mut().filter(|cursor| cursor.next >= cursor.end) {
                    cursor.next = cursor.start;
                }
            }
            _ if self.is_behind && self.cursors.iter().all(|cursor| cursor.next >= cursor.end) => {
                self.is_behind = false;
                tally.caught_up_ns = tally.caught_up_ns.max(Some(now_ns));
            }
            _ => {}
        }
    }
}
