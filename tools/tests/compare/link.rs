//! A connection to one broker, and what comes of a request.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::schema::Api;

/// How long an answer may take. The longest that a generated request asks for is well below.
const PATIENCE: Duration = Duration::from_secs(8);

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

const CORRELATION_ID: i32 = 77;
const CLIENT_ID: &[u8] = b"compare";

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The frame after the correlation id.
    Answer(Vec<u8>),
    Closed,
    Silent,
}

/// A connection that is opened again whenever it was closed.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Link {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// Ends the connection; the next request opens another.
    pub(crate) fn close(&mut self) {
        self.stream = None;
    }

    /// Sends a request and waits for what comes of it.
    ///
    /// # Errors
    /// If the broker cannot be reached.
    pub(crate) fn ask(&mut self, frame: &[u8]) -> std::io::Result<Outcome> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(connect(self.address)?),
        };
        let outcome = exchange(stream, frame);
        if !matches!(outcome, Outcome::Answer(_)) {
            self.close();
        }
        Ok(outcome)
    }

    /// Sends a request that gets no answer, and sees by two others whether the connection lives. `Silent` if so. The
    /// first of them may still be answered while the one before it fails.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn tell(&mut self, frame: &[u8], probe: &[u8]) -> std::io::Result<Outcome> {
        match self.ask(&[frame, probe].concat())? {
            Outcome::Answer(_) => {}
            other => return Ok(other),
        }
        Ok(match self.ask(probe)? {
            Outcome::Answer(_) => Outcome::Silent,
            other => other,
        })
    }
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream, frame: &[u8]) -> Outcome {
    let mut read = || {
        stream.write_all(frame)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        assert!((4..=ANSWER_BYTES_MAX).contains(&length), "an answer of {length} bytes");
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    match read() {
        Ok(answer) => Outcome::Answer(answer[4..].to_vec()),
        Err(error) => match std::io::Error::kind(&error) {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Outcome::Silent,
            _ => Outcome::Closed,
        },
    }
}

/// The bytes of a request: length, header, body.
pub(crate) fn framed(key: i16, version: i16, flexible: bool, body: &[u8]) -> Vec<u8> {
    let mut request = Vec::with_capacity(body.len() + 32);
    request.extend(key.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(CORRELATION_ID.to_be_bytes());
    request.extend((CLIENT_ID.len() as i16).to_be_bytes());
    request.extend(CLIENT_ID);
    if flexible {
        request.push(0);
    }
    request.extend(body);
    let length = i32::try_from(request.len()).expect("generated requests are small");
    [&length.to_be_bytes()[..], &request].concat()
}

/// What stands before the body of an answer, after the correlation id: tagged fields in flexible versions, but never
/// in answers to ApiVersions.
pub(crate) fn body(api: &Api, version: i16, answer: &[u8]) -> Option<Vec<u8>> {
    const API_VERSIONS: i16 = 18;
    match api.is_flexible(version) && api.key != API_VERSIONS {
        true => answer.strip_prefix(&[0]).map(<[u8]>::to_vec),
        false => Some(answer.to_vec()),
    }
}
