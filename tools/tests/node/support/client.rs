//! A connection that says exactly what a test wants it to say.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use net::{Message, Reader, Request, RequestHeader, ResponseHeader};

use super::oracle;
use super::wait::PATIENCE;

/// Correlation ids start somewhere, so that a zero stands out.
const FIRST_CORRELATION_ID: i32 = 1000;

/// One connection. A read that takes longer than [`PATIENCE`] fails the test.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    next: i32,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"));
        stream.set_nodelay(true).expect("a fresh socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a fresh socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a fresh socket");
        Self { stream, next: FIRST_CORRELATION_ID }
    }

    /// Asks, and waits for the answer, which both codecs have to read to its last byte.
    #[track_caller]
    pub(crate) fn call<'q, R: Request<'q>>(&mut self, version: i16, request: &R) -> R::Response<'static> {
        let id = self.send(version, request);
        let (answered, response) = self.receive::<R>(version);
        assert_eq!(answered, id, "answers come in the order of the requests");
        response
    }

    /// Sends a request and gives back its correlation id.
    #[track_caller]
    pub(crate) fn send<'q, R: Request<'q>>(&mut self, version: i16, request: &R) -> i32 {
        let id = self.next;
        self.next += 1;
        self.write(&framed(&request_bytes(version, id, request)));
        id
    }

    /// The next answer, to a request of type `R`.
    #[track_caller]
    pub(crate) fn receive<'q, R: Request<'q>>(&mut self, version: i16) -> (i32, R::Response<'static>) {
        let frame = self.frame().unwrap_or_else(|| panic!("closed instead of an answer to {} v{version}", R::KEY));
        read_response::<R>(version, frame)
    }

    /// As [`Self::frame`], but a peer that goes in the middle of a frame is as good as closed.
    pub(crate) fn try_frame(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).ok()?;
        Some(frame)
    }

    /// The next frame without its length; none if the peer has closed.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        if !self.read_exact(&mut length) {
            return None;
        }
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        assert!(self.read_exact(&mut frame), "closed in the middle of an answer");
        Some(frame)
    }

    #[track_caller]
    fn read_exact(&mut self, bytes: &mut [u8]) -> bool {
        match self.stream.read_exact(bytes) {
            Ok(()) => true,
            Err(error) if is_closed(error.kind()) => false,
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// Sends bytes as they are. A peer that closed meanwhile is noticed by the next read.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Ok(()) => {}
            Err(error) if is_closed(error.kind()) => {}
            Err(error) => panic!("write: {error}"),
        }
    }

    /// Waits until the peer closes, with no further answer.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self) {
        assert_eq!(self.frame(), None, "closed without an answer");
    }

    /// Ends the sending half.
    pub(crate) fn finish(&mut self) {
        // The peer may have closed already, which is as good.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

fn is_closed(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// Decodes a frame. Its bytes live as long as the process, so that a test can keep an answer as it likes.
#[track_caller]
pub(crate) fn read_response<'q, R: Request<'q>>(version: i16, frame: Vec<u8>) -> (i32, R::Response<'static>) {
    let frame: &'static [u8] = frame.leak();
    let mut reader = Reader::new(frame);
    let header = ResponseHeader::decode(&mut reader, R::KEY, version).expect("a response header");
    let body = &frame[reader.position()..];
    let response = <R::Response<'static> as Message<'static>>::from_bytes(body, version)
        .unwrap_or_else(|error| panic!("the answer to {} v{version}: {error}", R::KEY));
    oracle::check_response(R::KEY, version, body);
    (header.correlation_id, response)
}

/// A request without its length.
pub(crate) fn request_bytes<'q, R: Request<'q>>(version: i16, correlation_id: i32, request: &R) -> Vec<u8> {
    let mut bytes = Vec::new();
    RequestHeader { key: R::KEY, version, correlation_id, client_id: Some("test".into()) }.encode(&mut bytes);
    request.encode(&mut bytes, version);
    bytes
}

/// Bytes with their length before them.
pub(crate) fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = i32::try_from(bytes.len()).expect("tests send less than 2 GiB");
    [&length.to_be_bytes()[..], bytes].concat()
}
