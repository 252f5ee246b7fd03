use std::collections::VecDeque;

use super::{AnswerId, Buffers};
use crate::Answer;
use crate::answer::Inserted;
use crate::ops::{ConnectionId, Part, SEND_PARTS_MAX, Send};

/// Record bytes below this are copied between the header bytes: a copy is cheaper than one more slice.
pub const COPIED_BYTES_MAX: usize = 4096;

/// No further answer joins a send that has this many bytes.
pub const SEND_BYTES_MAX: usize = 1 << 20;

/// The answers that a connection owes, in the order of their requests.
///
/// ```text
///                first_slot                                next_slot
///   … sent …  │ [answer][answer][  —  ][answer][  —  ] │   … reserved later …
///   draining ─┘   ready: leave next    └ owed: everything behind it waits
/// ```
/// An answer moves from its slot to `draining`, from there piece by piece into sends. At most one send is in flight;
/// what a short one has left is `unfinished` and goes before everything else.
#[derive(Debug)]
pub(super) struct Outbox<P> {
    slots: VecDeque<Option<Answer<P>>>,
    first_slot: u64,
    /// Slots whose answer is not there yet.
    owed: usize,
    draining: Option<Draining<P>>,
    unfinished: Option<Send<P>>,
    is_sending: bool,
    /// Bytes of answers that are there, until they are sent.
    unsent_bytes: usize,
    /// Those of them that the outbox owns: all but payloads, and payloads that it copied.
    own_bytes: usize,
    /// The vector of an earlier send, to be used again.
    spare_parts: Vec<Part<P>>,
}

#[derive(Debug)]
struct Draining<P> {
    bytes: Vec<u8>,
    /// Bytes that have left.
    at: usize,
    payloads: std::vec::IntoIter<Inserted<P>>,
}

impl<P: AsRef<[u8]>> Outbox<P> {
    pub(super) fn new(first_answer: AnswerId) -> Self {
        Self {
            slots: VecDeque::new(),
            first_slot: first_answer.0,
            owed: 0,
            draining: None,
            unfinished: None,
            is_sending: false,
            unsent_bytes: 0,
            own_bytes: 0,
            spare_parts: Vec::new(),
        }
    }

    pub(super) fn owed(&self) -> usize {
        self.owed
    }

    /// Answers that have not begun to leave, there or owed.
    pub(super) fn waiting(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// Bytes of answers that are there and no payloads, until they are sent.
    pub(super) fn own_bytes(&self) -> usize {
        self.own_bytes
    }

    /// Drops every answer that is there, and takes none of those owed; a send in flight still comes back.
    pub(super) fn discard(&mut self) {
        self.first_slot += self.slots.len() as u64;
        self.slots = VecDeque::new();
        (self.owed, self.draining, self.unfinished) = (0, None, None);
    }

    /// Whether nothing is owed and everything is sent.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.unsent_bytes == 0 && !self.is_sending
    }

    /// The id that the next reservation gets.
    pub(super) fn next_answer(&self) -> AnswerId {
        AnswerId(self.first_slot + self.slots.len() as u64)
    }

    pub(super) fn reserve(&mut self) -> AnswerId {
        let id = self.next_answer();
        self.slots.push_back(None);
        self.owed += 1;
        id
    }

    /// Puts an answer in its slot; gives it back if there is no such slot.
    pub(super) fn fulfil(&mut self, id: AnswerId, answer: Answer<P>) -> Result<(), Answer<P>> {
        let index = id.0.checked_sub(self.first_slot).and_then(|index| usize::try_from(index).ok());
        let Some(slot) = index.and_then(|index| self.slots.get_mut(index)) else { return Err(answer) };
        assert!(slot.is_none(), "answer {} is given twice", id.0);
        self.unsent_bytes += answer.len();
        self.own_bytes += answer.own_len();
        self.owed -= 1;
        *slot = Some(answer);
        Ok(())
    }

    /// The next send of at most `parts_max` parts, if there is something to send and nothing is being sent.
    pub(super) fn next_send(
        &mut self,
        connection: ConnectionId,
        parts_max: usize,
        buffers: &mut Buffers,
    ) -> Option<Send<P>> {
        assert!(parts_max >= 2, "a piece of header and a payload are two parts");
        if self.is_sending {
            return None;
        }
        let send = match self.unfinished.take() {
            Some(send) => send,
            None => {
                let parts = self.gather(parts_max.min(SEND_PARTS_MAX), buffers);
                if parts.is_empty() {
                    self.spare_parts = parts;
                    return None;
                }
                Send { connection, parts, skip: 0 }
            }
        };
        self.is_sending = true;
        Some(send)
    }

    /// Takes back a send of which `taken` bytes beyond its skip were sent.
    pub(super) fn sent(&mut self, mut send: Send<P>, taken: usize, buffers: &mut Buffers) {
        assert!(self.is_sending, "a send comes back once");
        assert!(taken <= self.unsent_bytes, "{taken} bytes sent of {}", self.unsent_bytes);
        self.is_sending = false;
        self.unsent_bytes -= taken;
        let mut skip = send.skip + taken;
        let mut done = 0;
        for part in &send.parts {
            let length = part.as_ref().len();
            if skip < length {
                break;
            }
            skip -= length;
            done += 1;
            if let Part::Answers(bytes) = part {
                self.own_bytes -= bytes.len();
            }
        }
        for part in send.parts.drain(..done) {
            if let Part::Answers(bytes) = part {
                buffers.give(bytes);
            }
        }
        if send.parts.is_empty() {
            assert!(skip == 0, "{skip} bytes sent beyond the last part");
            self.spare_parts = send.parts;
        } else {
            send.skip = skip;
            self.unfinished = Some(send);
        }
    }

    /// Parts of as many ready answers as fit. Header bytes are staged until a payload or the end needs them to be a
    /// part; parts and a non-empty stage together never exceed `parts_max`.
    fn gather(&mut self, parts_max: usize, buffers: &mut Buffers) -> Vec<Part<P>> {
        let mut parts = std::mem::take(&mut self.spare_parts);
        let (mut staged, mut total) = (Vec::new(), 0);
        while parts.len() + 2 <= parts_max && total < SEND_BYTES_MAX {
            if self.draining.is_none() && !self.next_ready() {
                break;
            }
            let Some(draining) = &mut self.draining else { break };
            total += draining.stage_header(&mut staged, &mut parts, buffers);
            match draining.payloads.next() {
                Some(Inserted { payload, .. }) => {
                    total += payload.as_ref().len();
                    self.own_bytes += push_payload(payload, &mut staged, &mut parts, buffers);
                }
                None => {
                    if let Some(drained) = self.draining.take() {
                        buffers.give(drained.bytes);
                    }
                }
            }
        }
        flush(&mut staged, &mut parts);
        parts
    }

    /// Starts draining the first answer, if it is there.
    fn next_ready(&mut self) -> bool {
        let Some(answer) = self.slots.front_mut().and_then(Option::take) else { return false };
        self.slots.pop_front();
        self.first_slot += 1;
        let (bytes, payloads) = answer.into_pieces();
        self.draining = Some(Draining { bytes, at: 0, payloads: payloads.into_iter() });
        true
    }
}

impl<P> Draining<P> {
    /// Stages the bytes up to the next payload, or all that are left, and says how many.
    fn stage_header(&mut self, staged: &mut Vec<u8>, parts: &mut Vec<Part<P>>, buffers: &mut Buffers) -> usize {
        let end = self.payloads.as_slice().first().map_or(self.bytes.len(), |inserted| inserted.position);
        // Several payloads may stand at the end of the bytes, which left with the first of them.
        let end = end.min(self.bytes.len());
        let length = end - self.at;
        if length == self.bytes.len() && (staged.is_empty() || length >= COPIED_BYTES_MAX) {
            flush(staged, parts);
            *staged = std::mem::take(&mut self.bytes);
            self.at = 0;
        } else {
            stage(&self.bytes[self.at..end], staged, buffers);
            self.at = end;
        }
        length
    }
}

fn stage(bytes: &[u8], staged: &mut Vec<u8>, buffers: &mut Buffers) {
    if staged.capacity() == 0 && !bytes.is_empty() {
        *staged = buffers.take();
    }
    staged.extend_from_slice(bytes);
}

/// Says how many bytes were copied.
fn push_payload<P: AsRef<[u8]>>(
    payload: P,
    staged: &mut Vec<u8>,
    parts: &mut Vec<Part<P>>,
    buffers: &mut Buffers,
) -> usize {
    let length = payload.as_ref().len();
    if length < COPIED_BYTES_MAX {
        stage(payload.as_ref(), staged, buffers);
        length
    } else {
        flush(staged, parts);
        parts.push(Part::Payload(payload));
        0
    }
}

fn flush<P>(staged: &mut Vec<u8>, parts: &mut Vec<Part<P>>) {
    if !staged.is_empty() {
        parts.push(Part::Answers(std::mem::take(staged)));
    }
}
