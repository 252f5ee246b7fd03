//! A connection of the load on its ring: what is to be sent, and answers cut out of what comes in.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::IntoRawFd as _;

use broker::driver::Ops;
use bytes::Bytes;
use net::ops::{ConnectionId, Op, Part, SEND_PARTS_MAX, Send, Socket as Descriptor};
use storage::buffer::Slice;

use crate::error::Error;

/// Bytes from which on something shared is sent from where it is instead of being copied.
const SHARED_BYTES_MIN: usize = 4096;

/// Bytes of a send from which on no more requests join it.
const SEND_BYTES_MAX: usize = 1 << 20;

/// The largest answer that is taken.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// How answers are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Each begins with its length.
    Length,
    /// All have as many bytes.
    Fixed(usize),
}

/// ```text
/// parts + out | what the next send takes          partial | the start of an answer …
/// ```
pub(super) struct Socket {
    id: ConnectionId,
    address: SocketAddr,
    framing: Framing,
    parts: Vec<Part<Slice>>,
    parts_bytes: usize,
    out: Vec<u8>,
    is_sending: bool,
    partial: Vec<u8>,
}

impl Socket {
    /// Connects, and gives the ring the connection.
    pub(super) fn open(address: SocketAddr, id: ConnectionId, framing: Framing, ops: &mut Ops) -> Result<Self, Error> {
        let connect = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream = connect().map_err(|cause| Error::Connection { address, cause })?;
        let socket = Descriptor(stream.into_raw_fd());
        ops.net.extend([Op::Adopt { connection: id, socket }, Op::Receive { connection: id }]);
        Ok(Self {
            id,
            address,
            framing,
            parts: Vec::new(),
            parts_bytes: 0,
            out: Vec::new(),
            is_sending: false,
            partial: Vec::new(),
        })
    }

    /// Whether another request may join what is to be sent.
    pub(super) fn has_room(&self) -> bool {
        self.parts.len() + 3 <= SEND_PARTS_MAX && self.parts_bytes + self.out.len() < SEND_BYTES_MAX
    }

    /// Where requests are written.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Adds bytes that others have too.
    pub(super) fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            self.out.extend_from_slice(bytes);
        } else {
            self.seal();
            self.parts_bytes += bytes.len();
            self.parts.push(Part::Header(bytes.clone()));
        }
    }

    fn seal(&mut self) {
        if !self.out.is_empty() {
            self.parts_bytes += self.out.len();
            self.parts.push(Part::Header(std::mem::take(&mut self.out).into()));
        }
    }

    /// Sends what was added, unless the former send is still under way. Says whether it did.
    pub(super) fn flush(&mut self, ops: &mut Ops) -> bool {
        if self.is_sending {
            return false;
        }
        self.seal();
        if self.parts.is_empty() {
            return false;
        }
        self.is_sending = true;
        self.parts_bytes = 0;
        ops.net.push(Op::Send(Send { connection: self.id, parts: std::mem::take(&mut self.parts), skip: 0 }));
        true
    }

    /// Takes back a send; says whether all of it was sent.
    pub(super) fn sent(
        &mut self,
        mut send: Send<Slice>,
        result: Result<usize, i32>,
        ops: &mut Ops,
    ) -> Result<bool, Error> {
        let bytes = result.map_err(|errno| self.broken(io::Error::from_raw_os_error(errno)))?;
        let all: usize = send.parts.iter().map(|part| part.as_ref().len()).sum();
        if send.skip + bytes < all {
            send.skip += bytes;
            ops.net.push(Op::Send(send));
            return Ok(false);
        }
        self.is_sending = false;
        self.reuse(send.parts);
        Ok(true)
    }

    /// Keeps the memory of a send for the next one.
    fn reuse(&mut self, mut parts: Vec<Part<Slice>>) {
        if let (true, Some(Part::Header(bytes))) = (self.out.capacity() == 0, parts.drain(..).next())
            && bytes.is_unique()
        {
            self.out = bytes.into();
            self.out.clear();
        }
        if self.parts.capacity() == 0 {
            self.parts = parts;
        }
    }

    /// The failure of this connection.
    pub(super) fn broken(&self, cause: io::Error) -> Error {
        Error::Connection { address: self.address, cause }
    }

    /// Cuts answers, without their lengths, out of what has come in.
    pub(super) fn received(
        &mut self,
        mut data: &[u8],
        each: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        while !data.is_empty() {
            if self.partial.is_empty()
                && let Some(frame) = self.frame(data)?
                && frame.end <= data.len()
            {
                each(&data[frame.start..frame.end])?;
                data = &data[frame.end..];
                continue;
            }
            let wanted = self.wanted_bytes()?;
            let taken = wanted.min(data.len());
            self.partial.extend_from_slice(&data[..taken]);
            data = &data[taken..];
            if let Some(frame) = self.frame(&self.partial)?
                && frame.end == self.partial.len()
            {
                each(&self.partial[frame.start..])?;
                self.partial.clear();
            }
        }
        Ok(())
    }

    /// Bytes that `partial` lacks until it can say more, or is whole.
    fn wanted_bytes(&mut self) -> Result<usize, Error> {
        Ok(match self.frame(&self.partial)? {
            Some(frame) => {
                self.partial.reserve_exact(frame.end - self.partial.len());
                frame.end - self.partial.len()
            }
            None => 4 - self.partial.len(),
        })
    }

    /// Where the first answer of `bytes` lies, once they say it; the end may lie beyond them.
    fn frame(&self, bytes: &[u8]) -> Result<Option<std::ops::Range<usize>>, Error> {
        let Framing::Length = self.framing else {
            let Framing::Fixed(bytes) = self.framing else { unreachable!("there are two framings") };
            return Ok(Some(0..bytes));
        };
        let Some(length) = bytes.first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > ANSWER_BYTES_MAX {
            let cause = io::Error::new(io::ErrorKind::InvalidData, format!("an answer of {length} bytes"));
            return Err(self.broken(cause));
        }
        Ok(Some(4..4 + length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(framing: Framing) -> Socket {
        Socket {
            id: ConnectionId(0),
            address: ([127, 0, 0, 1], 1).into(),
            framing,
            parts: Vec::new(),
            parts_bytes: 0,
            out: Vec::new(),
            is_sending: false,
            partial: Vec::new(),
        }
    }

    #[test]
    fn answers_are_found_however_they_are_cut() {
        let stream: Vec<u8> = [3, 0, 5, 1]
            .iter()
            .flat_map(|&length| [vec![0, 0, 0, length], vec![length; length as usize]].concat())
            .collect();
        for step in 1..=stream.len() {
            let mut socket = socket(Framing::Length);
            let mut found = Vec::new();
            for piece in stream.chunks(step) {
                let mut each = |answer: &[u8]| {
                    found.push(answer.to_vec());
                    Ok(())
                };
                socket.received(piece, &mut each).expect("a stream of answers");
            }
            assert_eq!(found, [vec![3; 3], vec![], vec![5; 5], vec![1; 1]]);
        }
        let mut count = 0;
        let mut echo = socket(Framing::Fixed(10));
        for piece in [7; 100].chunks(7) {
            echo.received(piece, &mut |answer| {
                count += 1;
                assert_eq!(answer.len(), 10);
                Ok(())
            })
            .expect("a stream of answers");
        }
        assert_eq!(count, 10);
    }

    #[test]
    fn a_short_send_goes_on_where_it_ended_and_its_memory_is_used_again() {
        let (mut socket, mut ops) = (socket(Framing::Length), Ops::default());
        let shared = Bytes::from(vec![1; SHARED_BYTES_MIN]);
        socket.out().extend_from_slice(b"head");
        socket.put_shared(&shared);
        socket.out().extend_from_slice(b"end");
        assert!(socket.flush(&mut ops) && !socket.flush(&mut ops));
        let Some(Op::Send(send)) = ops.net.pop() else { panic!("a send was asked for") };
        assert_eq!(send.parts.len(), 3);
        assert!(!socket.sent(send, Ok(5), &mut ops).expect("sent"));
        let Some(Op::Send(send)) = ops.net.pop() else { panic!("the rest was asked for") };
        assert_eq!(send.skip, 5);
        assert!(socket.sent(send, Ok(4 + SHARED_BYTES_MIN + 3 - 5), &mut ops).expect("sent"));
        assert!(socket.out.capacity() > 0 && socket.out.is_empty());
    }
}
