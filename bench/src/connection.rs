//! One pipelined connection of the load, never blocking.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use crate::error::Error;
use crate::request::{HEAD_BYTES, Requests};

/// Requests that one write carries at most.
const REQUESTS_PER_WRITE: usize = 16;

/// Bytes that one read takes at most.
const READ_BYTES: usize = 256 << 10;

/// Kafka's retriable error of a server that cannot store records now.
const STORAGE_ERROR: i16 = 56;

/// A request that was asked for and not yet answered.
#[derive(Debug, Clone, Copy)]
struct Flight {
    correlation_id: i32,
    body: usize,
    /// From when its latency counts.
    since: Instant,
}

/// An answer that has come in whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    /// From when its latency counts.
    pub(crate) since: Instant,
    /// Its bytes on the wire.
    pub(crate) bytes: u64,
    /// Whether the server had no room for it: a client sends it again.
    pub(crate) is_refused: bool,
}

/// ```text
/// flights   answered next ─► | written … | partly written | to be written … | ◄─ asked last
///                             0          written           flights.len()
/// received  | start of a frame … |         skip: bytes of the former frame that are still to come
///                                filled
/// ```
pub(crate) struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    requests: Arc<Requests>,
    flights: VecDeque<Flight>,
    /// Flights that are written whole.
    written: usize,
    /// Bytes written of the flight after those.
    written_bytes: usize,
    next_correlation_id: i32,
    next_body: usize,
    received: Box<[u8]>,
    filled: usize,
    skip: usize,
    /// The answer whose rest is skipped.
    skipped: Option<Answered>,
}

impl Connection {
    /// `first_body` is the request that this connection begins with, so that connections do not walk in step.
    pub(crate) fn open(address: SocketAddr, requests: Arc<Requests>, first_body: usize) -> Result<Self, Error> {
        let open = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let next_body = first_body % requests.bodies.len();
        Ok(Self {
            stream: open().map_err(|cause| Error::Connection { address, cause })?,
            address,
            requests,
            flights: VecDeque::new(),
            written: 0,
            written_bytes: 0,
            next_correlation_id: 0,
            next_body,
            received: vec![0; READ_BYTES].into(),
            filled: 0,
            skip: 0,
            skipped: None,
        })
    }

    /// Requests without an answer.
    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Adds the next request to what is to be written.
    pub(crate) fn ask(&mut self, since: Instant) {
        self.flights.push_back(Flight { correlation_id: self.next_correlation_id, body: self.next_body, since });
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1);
        self.next_body = (self.next_body + 1) % self.requests.bodies.len();
    }

    /// Writes what the socket takes.
    pub(crate) fn write(&mut self) -> Result<(), Error> {
        while self.written < self.flights.len() {
            match self.write_some() {
                Ok(bytes) => self.note_written(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(Error::Connection { address: self.address, cause }),
            }
        }
        Ok(())
    }

    fn write_some(&mut self) -> io::Result<usize> {
        let mut heads = [[0; HEAD_BYTES]; REQUESTS_PER_WRITE];
        let mut slices = [IoSlice::new(&[]); 2 * REQUESTS_PER_WRITE];
        let waiting = self.flights.range(self.written..).take(REQUESTS_PER_WRITE);
        let count = waiting.len();
        for (head, flight) in heads.iter_mut().zip(waiting.clone()) {
            *head = self.requests.head(flight.body, flight.correlation_id);
        }
        for ((pair, head), flight) in slices.chunks_exact_mut(2).zip(&heads).zip(waiting) {
            pair[0] = IoSlice::new(head);
            pair[1] = IoSlice::new(&self.requests.bodies[flight.body].bytes);
        }
        let mut unwritten = &mut slices[..2 * count];
        IoSlice::advance_slices(&mut unwritten, self.written_bytes);
        (&self.stream).write_vectored(unwritten)
    }

    fn note_written(&mut self, bytes: usize) {
        self.written_bytes += bytes;
        while let Some(flight) = self.flights.get(self.written) {
            let whole = HEAD_BYTES + self.requests.bodies[flight.body].bytes.len();
            if self.written_bytes < whole {
                return;
            }
            self.written_bytes -= whole;
            self.written += 1;
        }
        assert_eq!(self.written_bytes, 0, "no more is written than was asked for");
    }

    /// Reads what has come, as much as one read takes, and tells each whole answer.
    pub(crate) fn read(&mut self, mut answered: impl FnMut(Answered)) -> Result<(), Error> {
        match (&self.stream).read(&mut self.received[self.filled..]) {
            Ok(0) => Err(Error::Connection { address: self.address, cause: io::ErrorKind::UnexpectedEof.into() }),
            Ok(bytes) => {
                self.filled += bytes;
                self.take_answers(&mut answered)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(()),
            Err(cause) => Err(Error::Connection { address: self.address, cause }),
        }
    }

    fn take_answers(&mut self, answered: &mut impl FnMut(Answered)) -> Result<(), Error> {
        let mut at = 0;
        loop {
            let skipped = self.skip.min(self.filled - at);
            at += skipped;
            self.skip -= skipped;
            if self.skip > 0 {
                break;
            }
            if let Some(answer) = self.skipped.take() {
                answered(answer);
            }
            let Some(answer) = self.begin_answer(at)? else { break };
            self.skip = answer.bytes as usize;
            self.skipped = Some(answer);
        }
        self.received.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }

    /// Checks the answer that starts there, as soon as enough of it has come. All of it is skipped then.
    fn begin_answer(&mut self, at: usize) -> Result<Option<Answered>, Error> {
        let bytes = &self.received[at..self.filled];
        let api = self.requests.key;
        let wrong = |what: String| Error::WrongAnswer { api, what };
        let (Some(flight), false) = (self.flights.front(), bytes.is_empty()) else {
            return if bytes.is_empty() { Ok(None) } else { Err(wrong("nobody asked for it".into())) };
        };
        let mut is_refused = false;
        let whole = if self.requests.is_echo {
            self.requests.wire_bytes().response
        } else {
            let start = &self.requests.bodies[flight.body].answer_start;
            if bytes.len() < 8 + start.len() {
                return Ok(None);
            }
            let (length, rest) = bytes.split_first_chunk().expect("the length was checked");
            let (correlation_id, rest) = rest.split_first_chunk().expect("the length was checked");
            let correlation_id = i32::from_be_bytes(*correlation_id);
            if correlation_id != flight.correlation_id {
                return Err(wrong(format!("it is to {correlation_id} instead of {}", flight.correlation_id)));
            }
            match check_start(start, &rest[..start.len()]) {
                Ok(()) => {}
                Err(Some(STORAGE_ERROR)) => is_refused = true,
                Err(Some(code)) => return Err(Error::Refused { api, code }),
                Err(None) => return Err(wrong(format!("it begins with {:02x?}", &rest[..start.len()]))),
            }
            4 + i32::from_be_bytes(*length).max(0) as usize
        };
        let answer = Answered { since: flight.since, bytes: whole as u64, is_refused };
        if self.written == 0 {
            return Err(wrong("it came before the request was sent".into()));
        }
        self.flights.pop_front();
        self.written -= 1;
        Ok(Some(answer))
    }
}

/// Whether an answer begins as it must; if it differs only in the error code, that code.
fn check_start(expected: &[u8], found: &[u8]) -> Result<(), Option<i16>> {
    if expected == found {
        return Ok(());
    }
    let (before, code) = found.split_last_chunk().expect("it ends with an error code");
    Err((expected.starts_with(before)).then(|| i16::from_be_bytes(*code)))
}
