//! A fetch's answer: what goes into it, what is counted of it, and how it is encoded.

use net::api::fetch::{
    ResponseResponsesPartitions, ResponseResponsesPartitionsAbortedTransactions,
    ResponseResponsesPartitionsCurrentLeader, ResponseResponsesPartitionsDivergingEpoch,
};
use net::fetch::{ResponseHead, ResponseWriter};
use net::{Answer as Frame, Topic};
use storage::buffer::Slice;
use storage::transactions::Aborted;

use super::{Fetch, Part};
use crate::error_code::ErrorCode;
use crate::shard::Shard;
use crate::shard::session::TopicKey;

impl Shard {
    /// Counts what an answer is about to tell. A client that has gone is told nothing.
    pub(super) fn count_fetched(&mut self, fetch: &Fetch) {
        if !self.connections.is_open(fetch.responder.connection) {
            return;
        }
        for part in fetch.parts.iter().filter(|part| part.told) {
            self.metrics.told(fetch.responder.key, part.answer.error);
            let bytes = part.answer.bytes();
            if let (Ok(place), true) = (part.place, bytes > 0) {
                self.metrics.fetched(place.log, part.answer.next_offset - part.wanted.fetch_offset, bytes);
            }
        }
    }
}

impl Fetch {
    /// Whether the answer need not wait: there are enough bytes, nothing to wait for, or something the consumer has to know.
    pub(super) fn is_enough(&self) -> bool {
        let told = |part: &Part| part.answer.error != ErrorCode::None || part.answer.diverging.is_some();
        let bytes: usize = self.parts.iter().map(|part| part.answer.bytes()).sum();
        self.parts.is_empty() || bytes >= self.min_bytes || self.parts.iter().any(told)
    }

    /// Shards read side by side, each within the whole budget: what is too much together is left for the next fetch.
    /// The first part with records stays whole (KIP-74).
    pub(super) fn cut_to_budget(&mut self) {
        let mut left = self.max_bytes;
        let mut found = false;
        for part in &mut self.parts {
            let bytes = part.answer.bytes();
            if bytes > left && found {
                part.answer.records.clear();
                part.answer.aborted.clear();
                continue;
            }
            found |= bytes > 0;
            left = left.saturating_sub(bytes);
        }
    }

    /// The answer; the records are moved into it.
    pub(super) fn encode(
        &mut self,
        buffer: Vec<u8>,
        version: i16,
        correlation_id: i32,
        throttle_time_ms: i32,
    ) -> Frame<Slice> {
        let head = ResponseHead { throttle_time_ms, session_id: self.session.id, ..ResponseHead::default() };
        let mut response = ResponseWriter::new(buffer, version, correlation_id, head);
        let mut last_topic = None;
        for part in self.parts.iter_mut().filter(|part| part.told) {
            if last_topic != Some(part.topic) {
                last_topic = Some(part.topic);
                response.topic(match &self.topics[part.topic as usize] {
                    TopicKey::Name(name) => Topic::Name(name),
                    TopicKey::Id(id) => Topic::Id(*id),
                });
            }
            let records = std::mem::take(&mut part.answer.records);
            response.partition(&part.wire(self.read_committed), records);
        }
        response.finish(&[])
    }
}

fn aborted(aborted: &Aborted) -> ResponseResponsesPartitionsAbortedTransactions {
    let Aborted { producer_id, first_offset, .. } = *aborted;
    ResponseResponsesPartitionsAbortedTransactions { producer_id, first_offset }
}

impl Part {
    fn wire(&self, read_committed: bool) -> ResponseResponsesPartitions<'static> {
        let answer = &self.answer;
        let diverging =
            answer.diverging.map(|(epoch, end_offset)| ResponseResponsesPartitionsDivergingEpoch { epoch, end_offset });
        // Who believes in an older leader is told of the newer one; who believes in a newer one knows more than this node.
        let tells_leader = answer.error == ErrorCode::FencedLeaderEpoch;
        let leader_epoch = if tells_leader { answer.leader_epoch } else { -1 };
        ResponseResponsesPartitions {
            partition_index: self.wanted.partition,
            error_code: answer.error.code(),
            high_watermark: answer.high_watermark,
            last_stable_offset: answer.last_stable_offset,
            log_start_offset: answer.log_start_offset,
            diverging_epoch: diverging.unwrap_or_default(),
            current_leader: ResponseResponsesPartitionsCurrentLeader { leader_epoch, ..Default::default() },
            aborted_transactions: read_committed.then(|| answer.aborted.iter().map(aborted).collect()),
            ..Default::default()
        }
    }
}
