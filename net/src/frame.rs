//! Frames: every request and response is preceded by its length.
//!
//! ```text
//! | length int32 | header | body |      the length counts the header and the body
//! ```

use std::fmt;
use std::ops::Deref;

use bytes::{Bytes, BytesMut};

use crate::wire::put;
use crate::{Message, RequestHeader};

/// Bytes of a frame's length.
pub const LENGTH_BYTES: usize = 4;

/// Default of `socket.request.max.bytes`: 100 MiB.
pub const FRAME_BYTES_MAX_DEFAULT: usize = 100 * 1024 * 1024;

/// The buffer of an unfinished frame has at most this many times the bytes that have arrived.
const GROWTH: usize = 4;

/// The same of a frame up to [`USUAL_BYTES_MAX`]: it gets its whole buffer with the first receive, or nearly so. Growing
/// in small steps was a tenth of the CPU time of requests of 1 MiB.
const GROWTH_USUAL: usize = 32;

/// Frames up to here are usual: a producer's `max.request.size` is 1 MiB unless somebody changes it.
const USUAL_BYTES_MAX: usize = 2 << 20;

/// The buffer of an unfinished frame starts with this many bytes, or the frame's length.
const FIRST_RESERVATION_BYTES: usize = 4096;

/// An unfinished frame that misses at least so many bytes is received straight into its buffer: for less the copy out of
/// the receive buffer is cheaper than a receive of its own.
pub const DIRECT_BYTES_MIN_DEFAULT: usize = 64 << 10;

/// A complete frame without its length.
#[derive(Debug, Clone)]
pub enum Frame<'a> {
    /// It lies in the receive buffer, and ends with the turn.
    Received(&'a [u8]),
    /// It came in pieces.
    Assembled(Bytes),
}

impl Frame<'_> {
    /// The frame as a buffer that outlives the turn; a copy, unless it was assembled.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Received(bytes) => Bytes::copy_from_slice(bytes),
            Self::Assembled(bytes) => bytes,
        }
    }
}

impl Deref for Frame<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Received(bytes) => bytes,
            Self::Assembled(bytes) => bytes,
        }
    }
}

/// Why a connection's bytes cannot be cut into frames; the connection has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// A frame's length is negative, or over the limit.
    Length {
        /// The length as the client sent it.
        length: i32,
        /// The limit in bytes.
        max: usize,
    },
    /// Bytes kept coming after the receive was cancelled.
    Overrun {
        /// Bytes that wait to be taken.
        waiting: usize,
        /// The limit in bytes.
        max: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { length, max } => {
                write!(f, "a request of {length} bytes is not within 0 and socket.request.max.bytes ({max})")?;
                match guess_protocol(*length) {
                    Some(protocol) => write!(f, "; the client seems to speak {protocol}, this listener does not"),
                    None => Ok(()),
                }
            }
            Self::Overrun { waiting, max } => {
                write!(f, "{waiting} bytes came in while none were wanted, the limit is {max}")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// Names the protocol whose first four bytes make this length.
fn guess_protocol(length: i32) -> Option<&'static str> {
    match &length.to_be_bytes() {
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" | b"PRI " => Some("HTTP"),
        // A TLS record of the type handshake, version 3.x.
        [0x16, 3, ..] => Some("TLS"),
        _ => None,
    }
}

/// Cuts frames out of bytes that come in any split.
///
/// ```text
/// kept: | length | first part of a frame |       or, while the connection takes no requests,
/// kept: | length | frame | length | frame | length | first part of a frame |
/// ```
/// A frame that lies in what was received is borrowed from there. What is left of a receive is kept, in a buffer that
/// grows with the bytes that really came. The buffer of a large unfinished frame may be lent, to be received into.
#[derive(Debug)]
pub struct Assembler {
    kept: BytesMut,
    frame_bytes_max: usize,
    direct_bytes_min: usize,
    /// What is known of the lent buffer, if one is lent; nothing else is kept then.
    lent: Option<Lent>,
    /// Whether the last frame was a large one.
    was_large: bool,
}

/// A buffer that somebody receives into.
#[derive(Debug, Clone, Copy)]
struct Lent {
    bytes: usize,
    capacity: usize,
    /// Where the frame in it ends.
    end: usize,
}

impl Assembler {
    /// An assembler that refuses frames over `frame_bytes_max` bytes, and lends the buffers of those that miss at least
    /// `direct_bytes_min`.
    pub fn new(frame_bytes_max: usize, direct_bytes_min: usize) -> Self {
        Self { kept: BytesMut::new(), frame_bytes_max, direct_bytes_min, lent: None, was_large: false }
    }

    /// Takes the next frame off what is kept and `data`, which follows it. With none, all of `data` is kept.
    ///
    /// # Errors
    /// If the frame's length is impossible; the bytes after it have no meaning then.
    pub fn next<'a>(&mut self, data: &mut &'a [u8]) -> Result<Option<Frame<'a>>, FrameError> {
        if self.kept.is_empty()
            && let Some(length) = self.frame_length(data)?
            && let Some(rest) = data.get(LENGTH_BYTES + length..)
        {
            let frame = &data[LENGTH_BYTES..LENGTH_BYTES + length];
            *data = rest;
            self.was_large = length >= self.direct_bytes_min;
            return Ok(Some(Frame::Received(frame)));
        }
        self.fill(LENGTH_BYTES, data);
        let Some(length) = self.frame_length(&self.kept)? else { return Ok(None) };
        let end = LENGTH_BYTES + length;
        self.fill(end, data);
        if self.kept.len() < end {
            return Ok(None);
        }
        self.was_large = length >= self.direct_bytes_min;
        // A buffer that holds nothing else leaves with the frame, so that a connection at rest has none.
        let whole = if self.kept.len() == end { std::mem::take(&mut self.kept) } else { self.kept.split_to(end) };
        Ok(Some(Frame::Assembled(whole.freeze().slice(LENGTH_BYTES..))))
    }

    /// Keeps all of `data` for later calls of [`Self::next`].
    pub fn keep(&mut self, data: &[u8]) {
        self.kept.extend_from_slice(data);
    }

    /// Bytes kept, those in a lent buffer among them.
    pub fn kept(&self) -> usize {
        self.lent.map_or(self.kept.len(), |lent| lent.bytes)
    }

    /// Memory for what is kept, a lent buffer's among it. Room behind the frame that comes in does not count: an allocation
    /// that grows may have some, and it is never touched.
    pub fn memory(&self) -> usize {
        if let Some(lent) = self.lent {
            return lent.capacity.min(lent.end);
        }
        match self.frame_length(&self.kept) {
            Ok(Some(length)) => self.kept.capacity().min(self.kept.len().max(LENGTH_BYTES + length)),
            _ => self.kept.capacity(),
        }
    }

    /// What the first frame that is kept will have in all if it is not whole, its length among it. None where nothing is
    /// kept, or not even a length.
    pub fn unfinished(&self) -> Option<usize> {
        if let Some(lent) = self.lent {
            return Some(lent.end);
        }
        let end = LENGTH_BYTES + self.frame_length(&self.kept).ok().flatten()?;
        (self.kept.len() < end).then_some(end)
    }

    /// Whether the last frame was a large one, as the next one is likely to be.
    pub fn was_large(&self) -> bool {
        self.was_large
    }

    /// The buffer of a large unfinished frame, with room for more of it, to be received into.
    pub fn lend(&mut self) -> Option<BytesMut> {
        let length = self.frame_length(&self.kept).ok().flatten()?;
        let end = LENGTH_BYTES + length;
        if end < self.kept.len() + self.direct_bytes_min {
            return None;
        }
        if self.kept.capacity() == self.kept.len() {
            self.reserve(self.kept.len(), end);
        }
        self.lent = Some(Lent { bytes: self.kept.len(), capacity: self.kept.capacity(), end });
        Some(std::mem::take(&mut self.kept))
    }

    /// Takes a lent buffer back; how many bytes came in meanwhile.
    ///
    /// # Panics
    /// If none was lent, or it lost bytes.
    pub fn take_back(&mut self, buffer: BytesMut) -> usize {
        let before = self.lent.take().expect("a buffer was lent").bytes;
        assert!(self.kept.is_empty(), "while a buffer is lent, bytes come into it alone");
        self.kept = buffer;
        self.kept.len().checked_sub(before).expect("what was received stays")
    }

    /// Whether [`Self::next`] would give a frame, or an error, without further bytes.
    pub fn has_frame(&self) -> bool {
        match self.frame_length(&self.kept) {
            Ok(Some(length)) => self.kept.len() >= LENGTH_BYTES + length,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// The API key of the next frame, if that much of it is kept.
    pub fn next_key(&self) -> Option<i16> {
        let key = self.kept.get(LENGTH_BYTES..)?.first_chunk()?;
        Some(i16::from_be_bytes(*key))
    }

    /// The length at the start of `bytes`, if it is all there.
    fn frame_length(&self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some(length) = bytes.first_chunk() else { return Ok(None) };
        let length = i32::from_be_bytes(*length);
        match usize::try_from(length) {
            Ok(bytes) if bytes <= self.frame_bytes_max => Ok(Some(bytes)),
            _ => Err(FrameError::Length { length, max: self.frame_bytes_max }),
        }
    }

    /// Moves bytes from `data` until `end` bytes are kept.
    fn fill(&mut self, end: usize, data: &mut &[u8]) {
        let wanted = end.saturating_sub(self.kept.len());
        let (taken, rest) = data.split_at(wanted.min(data.len()));
        let length = self.kept.len() + taken.len();
        if self.kept.capacity() < length {
            self.reserve(length, end);
        }
        self.kept.extend_from_slice(taken);
        *data = rest;
    }

    /// Makes room for a frame that ends at `end` and of which `length` bytes are there: a bounded multiple of those.
    fn reserve(&mut self, length: usize, end: usize) {
        let growth = if end <= USUAL_BYTES_MAX { GROWTH_USUAL } else { GROWTH };
        let capacity = (length * growth).max(FIRST_RESERVATION_BYTES).min(end).max(length);
        self.kept.reserve(capacity - self.kept.len());
    }
}

/// Appends a request frame.
pub fn put_request<'a, M: Message<'a>>(
    out: &mut Vec<u8>,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    message: &M,
) {
    let start = out.len();
    put::i32(out, 0);
    RequestHeader { key: M::KEY, version, correlation_id, client_id: client_id.map(Into::into) }.encode(out);
    message.encode(out, version);
    patch_length(out, start, 0);
}

/// Writes the length of the frame that starts at `start` and ends at the end of `out`, with `elsewhere` bytes more.
pub(crate) fn patch_length(out: &mut [u8], start: usize, elsewhere: usize) {
    let length = out.len() - start - LENGTH_BYTES + elsewhere;
    let length = i32::try_from(length).expect("a frame stays below 2 GiB");
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assembler(frame_bytes_max: usize) -> Assembler {
        Assembler::new(frame_bytes_max, DIRECT_BYTES_MIN_DEFAULT)
    }

    fn framed(body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as i32).to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn whole_frames_are_borrowed_and_the_rest_is_kept() {
        let bytes = [framed(b"one"), framed(b""), framed(b"three")].concat();
        let mut assembler = assembler(100);
        let mut data = &bytes[..bytes.len() - 2];
        assert!(matches!(assembler.next(&mut data), Ok(Some(Frame::Received(b"one")))));
        assert!(matches!(assembler.next(&mut data), Ok(Some(Frame::Received(b"")))));
        assert!(matches!(assembler.next(&mut data), Ok(None)));
        assert_eq!((data.len(), assembler.kept(), assembler.has_frame()), (0, 7, false));
        assert_eq!(assembler.unfinished(), Some(9));
        let more = [b"ee".to_vec(), framed(b"four")].concat();
        let mut data = &more[..];
        assert!(matches!(assembler.next(&mut data), Ok(Some(Frame::Assembled(frame))) if *frame == b"three"[..]));
        assert!(matches!(assembler.next(&mut data), Ok(Some(Frame::Received(b"four")))));
        assert_eq!((assembler.kept(), assembler.memory(), assembler.unfinished()), (0, 0, None));
    }

    #[test]
    fn several_kept_frames_come_out_in_order() {
        let mut assembler = assembler(100);
        assembler.keep(&[framed(b"one"), framed(b"two")].concat());
        let three = framed(b"three");
        let mut data = &three[..];
        for expected in [&b"one"[..], b"two", b"three"] {
            assert_eq!(&*assembler.next(&mut data).unwrap().unwrap(), expected);
        }
    }

    #[test]
    fn the_buffer_grows_with_what_arrives_not_with_what_is_claimed() {
        let mut assembler = assembler(FRAME_BYTES_MAX_DEFAULT);
        let claim = (FRAME_BYTES_MAX_DEFAULT as i32).to_be_bytes();
        assert!(assembler.next(&mut &claim[..]).unwrap().is_none());
        assert!(assembler.kept.capacity() <= FIRST_RESERVATION_BYTES);
        for _ in 0..100 {
            assert!(assembler.next(&mut &[0; 10_000][..]).unwrap().is_none());
            assert!(assembler.kept.capacity() <= GROWTH * assembler.kept());
        }
    }

    #[test]
    fn a_request_of_usual_size_gets_its_buffer_with_the_first_receive() {
        let bytes = framed(&vec![7; 1 << 20]);
        let mut assembler = assembler(FRAME_BYTES_MAX_DEFAULT);
        let mut pieces = bytes.chunks(64 << 10);
        assert!(assembler.next(&mut pieces.next().unwrap()).unwrap().is_none());
        let reserved = assembler.kept.as_ptr();
        let mut frame = None;
        for mut piece in pieces {
            frame = assembler.next(&mut piece).unwrap().map(Frame::into_bytes);
        }
        let frame = frame.expect("all of it came");
        assert_eq!(frame.len(), 1 << 20);
        assert_eq!(frame.as_ptr(), reserved.wrapping_add(LENGTH_BYTES), "it was moved nowhere");
    }

    #[test]
    fn a_large_frame_is_received_into_its_own_buffer() {
        let bytes = framed(&vec![7; 1 << 20]);
        let mut assembler = assembler(FRAME_BYTES_MAX_DEFAULT);
        assert!(assembler.lend().is_none(), "nothing is known of the frame yet");
        assert!(assembler.next(&mut &bytes[..100]).unwrap().is_none());
        let mut received = 100;
        while received < bytes.len() - DIRECT_BYTES_MIN_DEFAULT {
            assert_eq!(assembler.unfinished(), Some(bytes.len()));
            let mut buffer = assembler.lend().expect("much is missing");
            assert_eq!((assembler.unfinished(), assembler.memory()), (Some(bytes.len()), buffer.capacity()));
            assert!(buffer.capacity() > buffer.len(), "there is room");
            assert!(buffer.capacity() <= FIRST_RESERVATION_BYTES.max(GROWTH_USUAL * received));
            assert_eq!((assembler.kept(), assembler.has_frame()), (received, false));
            let more = (buffer.capacity() - buffer.len()).min(200_000);
            buffer.extend_from_slice(&bytes[received..received + more]);
            assert_eq!(assembler.take_back(buffer), more);
            received += more;
        }
        assert!(assembler.lend().is_none(), "the rest is small");
        let frame = assembler.next(&mut &bytes[received..]).unwrap().expect("all of it came");
        assert!(*frame == bytes[LENGTH_BYTES..] && assembler.was_large());
        assert!(assembler.next(&mut &framed(b"small")[..]).unwrap().is_some());
        assert!(!assembler.was_large());
    }

    #[test]
    fn impossible_lengths_name_the_size_and_the_limit() {
        let refuse = |length: i32| {
            let error = assembler(1000).next(&mut &length.to_be_bytes()[..]).unwrap_err();
            error.to_string()
        };
        assert!(refuse(-1).contains("-1 bytes"));
        assert!(refuse(1001).contains("1001 bytes") && refuse(1001).contains("(1000)"));
        assert!(refuse(i32::from_be_bytes(*b"GET ")).contains("HTTP"));
        assert!(refuse(i32::from_be_bytes([0x16, 3, 1, 2])).contains("TLS"));
        assert!(assembler(1000).next(&mut &1000_i32.to_be_bytes()[..]).unwrap().is_none());
    }
}
