//! A new segment takes the place of those it was made from, and their files go when nothing needs them.

use super::Store;
use super::job::{Job, Phase, Trouble, Turn};
use super::output::Output;
use crate::checkpoint::record::GenerationV1;
use crate::log::state::ObsoleteState;
use crate::log::{LogId, Slot};
use crate::transactions::OfSegment;

impl Store {
    /// Puts a finished file in the place of its inputs. From here on the log has it; a crash finds it when the next
    /// round's record is durable, and the old files until then.
    pub(super) fn swap(&mut self, job: &mut Job, output: Output) -> Turn {
        let Phase::Filter(filter) = &mut job.phase else { unreachable!("the pass filters") };
        let inputs = &job.inputs[filter.first_input..=job.reader.input];
        let first = inputs.first().expect("a file is made from something");
        let log = self.log(job.slot);
        let at = log.segment_index(first.base_offset);
        let are_there = at.is_some_and(|at| {
            let segments = log.segments.range(at..).map(|it| (it.base_offset, it.generation));
            let wanted = inputs.iter().map(|it| (it.base_offset, it.generation));
            log.segments.len() > at + inputs.len() && segments.take(inputs.len()).eq(wanted)
        });
        let Some(at) = at.filter(|_| are_there) else {
            // Retention was quicker; what was written is removed.
            filter.output = Some(output);
            return job.give_up(Trouble::Gone);
        };
        let is_last = job.reader.input + 1 == job.inputs.len();
        let (end, slot) = (job.end, job.slot);
        let count = inputs.len();
        self.compaction.counted.replaced_bytes += inputs.iter().map(|input| input.bytes).sum::<u64>();
        let (id, base_min, base_end) = (job.id, first.base_offset, inputs[count - 1].next_offset);
        self.damages.forget_segments(id, |base_offset| (base_min..base_end).contains(&base_offset));
        self.scrub.note_closed();
        let log = self.log_mut(slot);
        for (number, segment) in log.segments.drain(at..at + count).enumerate() {
            let (base_offset, generation) = (segment.base_offset, segment.generation);
            log.compacted.leave(GenerationV1 { base_offset, generation });
            if number > 0 {
                // What a crash may have left of a pass that was to replace this one alone.
                log.compacted.leave(GenerationV1 { base_offset, generation: generation + 1 });
            }
        }
        if let Some(transactions) = &mut log.transactions {
            let mut of = OfSegment::default();
            for input in inputs {
                let before = transactions.remove(input.base_offset).unwrap_or_default();
                if input.base_offset == base_min {
                    of.open = before.open;
                }
            }
            of.has_file = !output.aborted.is_empty();
            of.written = output.aborted.len() as u32;
            of.aborted = output.aborted.clone();
            transactions.insert(base_min, of);
        }
        log.segments.insert(at, output.into_segment());
        if is_last {
            log.compacted.clean_offset = log.compacted.clean_offset.max(end);
        }
        self.rounds.note_rolled(slot);
        self.schedule_retention(slot);
        filter.first_input += count;
        job.reader.next_input();
        if is_last { Turn::End } else { Turn::On }
    }

    /// The round takes these logs' records: the files that those do not name any more may go when the records are durable.
    pub(in crate::store) fn record_obsolete(&mut self, slots: &[Slot]) {
        for &slot in slots {
            let obsolete = self.log_mut(slot).compacted.obsolete.iter_mut();
            obsolete.filter(|it| it.state == ObsoleteState::Wanted).for_each(|it| it.state = ObsoleteState::Recording);
        }
    }

    /// The round that took a log's record is over.
    pub(in crate::store) fn obsolete_recorded(&mut self, slot: Slot, id: LogId, is_durable: bool) {
        let Some(log) = self.log_if(slot, id) else { return };
        let mut leaving = Vec::new();
        for it in log.compacted.obsolete.iter_mut().filter(|it| it.state == ObsoleteState::Recording) {
            it.state = if is_durable { ObsoleteState::Leaving } else { ObsoleteState::Wanted };
            leaving.extend(is_durable.then_some(it.files));
        }
        for files in leaving {
            self.remove_replaced(slot, files);
        }
    }

    /// A segment's files are being removed: a start has no need to look for them.
    pub(in crate::store) fn forget_obsolete(&mut self, id: LogId, files: GenerationV1) {
        let Some(slot) = self.by_id.get(&id).copied() else { return };
        if let Some(log) = self.log_if(slot, id) {
            log.compacted.obsolete.retain(|it| it.files != files);
        }
    }
}
