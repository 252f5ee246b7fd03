use crate::frame::patch_length;
use crate::wire::put;
use crate::{ApiKey, Message, ResponseHeader};

/// A whole response frame: bytes of our own, with record bytes that somebody else owns between them.
///
/// ```text
/// bytes     | length | header | body … records length | … body … | … |
/// payloads                                            ^          ^      each at its position in the bytes
/// ```
#[derive(Debug, Clone)]
pub struct Answer<P> {
    bytes: Vec<u8>,
    /// By ascending position; several at one position follow each other.
    payloads: Vec<Inserted<P>>,
    payload_bytes: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Inserted<P> {
    pub(crate) position: usize,
    pub(crate) payload: P,
}

impl<P: AsRef<[u8]>> Answer<P> {
    /// The response to a request of this version. `buffer` is cleared and becomes part of the answer, for the
    /// sake of its capacity.
    pub fn of<'a, M: Message<'a>>(buffer: Vec<u8>, version: i16, correlation_id: i32, message: &M) -> Self {
        let mut answer = Self::begin(buffer, M::KEY, version, correlation_id);
        message.encode(&mut answer.bytes, version);
        answer.finish();
        answer
    }

    /// A response whose body was encoded elsewhere.
    pub fn of_body(buffer: Vec<u8>, key: ApiKey, version: i16, correlation_id: i32, body: &[u8]) -> Self {
        let mut answer = Self::begin(buffer, key, version, correlation_id);
        answer.bytes.extend_from_slice(body);
        answer.finish();
        answer
    }

    /// Bytes on the wire, including the frame's length.
    #[expect(clippy::len_without_is_empty, reason = "an answer is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.payload_bytes
    }

    /// Size in bytes without the payloads.
    pub(crate) fn own_len(&self) -> usize {
        self.bytes.len()
    }

    /// The pieces in the order in which they are sent.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        let payloads = self.payloads.iter().flat_map(move |inserted| {
            let before = &self.bytes[start..inserted.position];
            start = inserted.position;
            [before, inserted.payload.as_ref()]
        });
        let end = self.payloads.last().map_or(0, |inserted| inserted.position);
        payloads.chain([&self.bytes[end..]]).filter(|piece| !piece.is_empty())
    }

    /// Starts a frame: room for its length, and the response header.
    pub(crate) fn begin(mut buffer: Vec<u8>, key: ApiKey, version: i16, correlation_id: i32) -> Self {
        buffer.clear();
        put::i32(&mut buffer, 0);
        ResponseHeader { correlation_id }.encode(&mut buffer, key, version);
        Self { bytes: buffer, payloads: Vec::new(), payload_bytes: 0 }
    }

    /// Ends the frame: its length is known now.
    pub(crate) fn finish(&mut self) {
        patch_length(&mut self.bytes, 0, self.payload_bytes);
    }

    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Appends record bytes with their length before them. Nothing is copied.
    pub(crate) fn put_records(&mut self, records: impl IntoIterator<Item = P>, flexible: bool) {
        let first = self.payloads.len();
        let payloads = records.into_iter().map(|payload| Inserted { position: 0, payload });
        self.payloads.extend(payloads);
        let added = &mut self.payloads[first..];
        let length = added.iter().map(|inserted| inserted.payload.as_ref().len()).sum();
        put::count(&mut self.bytes, length, flexible);
        for inserted in added {
            inserted.position = self.bytes.len();
        }
        self.payload_bytes += length;
    }

    /// Leaves room for a count that becomes known later, see [`Self::patch_count`].
    pub(crate) fn count_later(&mut self, flexible: bool) -> usize {
        let position = self.bytes.len();
        put::count(&mut self.bytes, 0, flexible);
        position
    }

    /// Writes the count at a position that [`Self::count_later`] left. A varint that needs more than the one byte
    /// left for it moves what follows.
    pub(crate) fn patch_count(&mut self, position: usize, count: usize, flexible: bool) {
        let end = self.bytes.len();
        put::count(&mut self.bytes, count, flexible);
        let length = self.bytes.len() - end;
        let room = if flexible { 1 } else { length };
        if length == room {
            self.bytes.copy_within(end.., position);
            self.bytes.truncate(end);
            return;
        }
        self.bytes[position..].rotate_right(length);
        self.bytes.drain(position + length..position + length + room);
        for inserted in self.payloads.iter_mut().filter(|inserted| inserted.position > position) {
            inserted.position += length - room;
        }
    }

    pub(crate) fn into_pieces(self) -> (Vec<u8>, Vec<Inserted<P>>) {
        (self.bytes, self.payloads)
    }
}

/// For the simplest transports and for tests: everything in a row.
impl<P: AsRef<[u8]>> From<Answer<P>> for Vec<u8> {
    fn from(answer: Answer<P>) -> Self {
        answer.pieces().collect::<Vec<_>>().concat()
    }
}
