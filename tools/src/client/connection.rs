//! One connection to one broker: frames, correlation, versions.
//!
//! ```text
//!            Connection ─────────────── split ──► Requester   encodes, writes
//!   call = send + receive                           │ what is on its way, in order
//!                                                   ▼
//!                                                 Responder   reads, matches, hands out answers
//! ```
//! A broker answers the requests of a connection in their order, so any number may be on its way. The halves may live
//! on different threads.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use net::api::api_versions;
use net::{ApiKey, Message, Reader, Request, RequestHeader, ResponseHeader};

use super::address::Address;
use super::code::Code;
use super::error::{Error, Result};
use super::interrupt::Interrupt;
use super::settings::Settings;

/// The largest answer that is read, in bytes. Kafka's own brokers answer a fetch with at most 55 MiB and one batch.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// How long a read sleeps at most before it looks at its deadline and its interrupt.
const READ_SLICE: Duration = Duration::from_millis(100);

/// What the client calls itself in ApiVersions (KIP-511).
const SOFTWARE_NAME: &str = "skein";

/// A connection whose versions are negotiated.
#[derive(Debug)]
pub struct Connection {
    requester: Requester,
    responder: Responder,
}

/// The half of a connection that sends.
#[derive(Debug)]
pub struct Requester {
    stream: TcpStream,
    address: Address,
    client_id: String,
    versions: Versions,
    next_correlation_id: i32,
    on_its_way: mpsc::Sender<OnItsWay>,
    buffer: Vec<u8>,
}

/// The half of a connection that receives.
#[derive(Debug)]
pub struct Responder {
    stream: TcpStream,
    address: Address,
    on_its_way: mpsc::Receiver<OnItsWay>,
}

/// A request that was sent and not yet answered.
#[derive(Debug, Clone, Copy)]
struct OnItsWay {
    correlation_id: i32,
    key: ApiKey,
    version: i16,
}

/// The answer to a request, not yet decoded.
#[derive(Debug)]
pub struct Answer {
    frame: Vec<u8>,
    body_at: usize,
    key: ApiKey,
    /// The version of request and answer.
    pub version: i16,
    /// The request's number on its connection.
    pub correlation_id: i32,
    address: Address,
}

impl Answer {
    /// Decodes the body.
    ///
    /// # Errors
    /// If the bytes are not what the protocol demands.
    ///
    /// # Panics
    /// If it is the answer to another API than that of `M`.
    pub fn read<'a, M: Message<'a>>(&'a self) -> Result<M> {
        assert_eq!(M::KEY, self.key, "an answer is read as what it is");
        M::from_bytes(&self.frame[self.body_at..], self.version).map_err(|source| Error::Malformed {
            address: self.address.clone(),
            api: self.key,
            version: self.version,
            source,
        })
    }
}

impl Connection {
    /// Connects and asks for the broker's versions.
    ///
    /// # Errors
    /// If no connection can be made, or what answers is no Kafka broker.
    pub fn open(address: &Address, settings: &Settings) -> Result<Self> {
        let deadline = Instant::now() + settings.connect_timeout;
        let stream = connect(address, deadline)?;
        let lost = |source| Error::Lost { address: address.clone(), api: None, source };
        stream.set_nodelay(true).map_err(lost)?;
        stream.set_write_timeout(Some(settings.request_timeout)).map_err(lost)?;
        stream.set_read_timeout(Some(READ_SLICE)).map_err(lost)?;
        let (sender, receiver) = mpsc::channel();
        let mut connection = Self {
            responder: Responder {
                stream: stream.try_clone().map_err(lost)?,
                address: address.clone(),
                on_its_way: receiver,
            },
            requester: Requester {
                stream,
                address: address.clone(),
                client_id: settings.client_id.clone(),
                versions: Versions::default(),
                next_correlation_id: 0,
                on_its_way: sender,
                buffer: Vec::new(),
            },
        };
        connection.negotiate(settings.request_timeout)?;
        Ok(connection)
    }

    /// Asks which versions the broker serves (KIP-35). A broker that does not know our version of the question
    /// answers with those of the question that it knows.
    fn negotiate(&mut self, timeout: Duration) -> Result<()> {
        let mut version = *ApiKey::ApiVersions.valid_versions().end();
        loop {
            let request = api_versions::Request {
                client_software_name: SOFTWARE_NAME.into(),
                client_software_version: env!("CARGO_PKG_VERSION").into(),
            };
            self.requester.send_version(&request, version)?;
            let mut answer = self.responder.receive(timeout, &Interrupt::never(), ApiKey::ApiVersions)?;
            let refused = Code(Reader::new(&answer.frame[answer.body_at..]).i16().unwrap_or_default())
                == Code::UNSUPPORTED_VERSION;
            if refused {
                // Such an answer has the body of version 0, whatever was asked.
                answer.version = 0;
            }
            let response: api_versions::Response<'_> = answer.read()?;
            let versions = Versions::of(&response);
            if !refused {
                self.requester.versions = versions;
                return Code(response.error_code).ok().map_err(|code| Error::Refused {
                    what: format!("ask {} for its versions", self.requester.address),
                    code,
                    message: None,
                });
            }
            let common = versions.common(ApiKey::ApiVersions).filter(|&lower| lower < version);
            version = common.unwrap_or(0).min(version - 1);
            if version < 0 {
                return Err(Error::NoCommonVersion {
                    address: self.requester.address.clone(),
                    api: ApiKey::ApiVersions,
                    broker: versions.range(ApiKey::ApiVersions),
                });
            }
        }
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// If there is none within `timeout`. The connection is of no more use then.
    pub fn call<'q>(&mut self, request: &impl Request<'q>, timeout: Duration) -> Result<Answer> {
        self.call_interruptible(request, timeout, &Interrupt::never())
    }

    /// As [`Self::call`], but ends early if the person asks to stop.
    ///
    /// # Errors
    /// As [`Self::call`], or [`Error::Interrupted`].
    pub fn call_interruptible<'q, R: Request<'q>>(
        &mut self,
        request: &R,
        timeout: Duration,
        interrupt: &Interrupt,
    ) -> Result<Answer> {
        let correlation_id = self.requester.send(request)?;
        let answer = self.responder.receive(timeout, interrupt, R::KEY)?;
        assert_eq!(answer.correlation_id, correlation_id, "calls do not mix with requests on their way");
        Ok(answer)
    }

    /// See [`Requester::version`].
    ///
    /// # Errors
    /// If broker and client have no version in common.
    pub fn version(&self, key: ApiKey) -> Result<i16> {
        self.requester.version(key)
    }

    /// The broker.
    pub fn address(&self) -> &Address {
        &self.requester.address
    }

    /// The halves, for requests in flight. None may be on its way.
    pub fn split(self) -> (Requester, Responder) {
        (self.requester, self.responder)
    }
}

fn connect(address: &Address, deadline: Instant) -> Result<TcpStream> {
    let failed = |source| Error::Connect { address: address.clone(), source };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for resolved in (address.host.as_str(), address.port).to_socket_addrs().map_err(failed)? {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&resolved, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

impl Requester {
    /// Sends a request in the highest version that both sides know, and gives back its number.
    ///
    /// # Errors
    /// If there is no such version, or the connection is broken.
    pub fn send<'q, R: Request<'q>>(&mut self, request: &R) -> Result<i32> {
        let version = self.version(R::KEY)?;
        self.send_version(request, version)
    }

    /// Sends a request that the broker does not answer: Produce with acks=0.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_unanswered<'q, R: Request<'q>>(&mut self, request: &R) -> Result<()> {
        let version = self.version(R::KEY)?;
        self.write(request, version).map(drop)
    }

    fn send_version<'q, R: Request<'q>>(&mut self, request: &R, version: i16) -> Result<i32> {
        let expected = OnItsWay { correlation_id: self.next_correlation_id, key: R::KEY, version };
        self.on_its_way.send(expected).map_err(|_| Error::Lost {
            address: self.address.clone(),
            api: Some(R::KEY),
            source: io::ErrorKind::UnexpectedEof.into(),
        })?;
        self.write(request, version)
    }

    fn write<'q, R: Request<'q>>(&mut self, request: &R, version: i16) -> Result<i32> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = correlation_id.wrapping_add(1);
        self.buffer.clear();
        self.buffer.extend_from_slice(&[0; 4]);
        RequestHeader { key: R::KEY, version, correlation_id, client_id: Some(self.client_id.as_str().into()) }
            .encode(&mut self.buffer);
        request.encode(&mut self.buffer, version);
        let length = i32::try_from(self.buffer.len() - 4).expect("requests are bounded far below 2 GiB");
        self.buffer[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&self.buffer).map_err(|source| Error::Lost {
            address: self.address.clone(),
            api: Some(R::KEY),
            source,
        })?;
        Ok(correlation_id)
    }

    /// The highest version of an API that both sides know.
    ///
    /// # Errors
    /// If there is none.
    pub fn version(&self, key: ApiKey) -> Result<i16> {
        self.versions.common(key).ok_or_else(|| Error::NoCommonVersion {
            address: self.address.clone(),
            api: key,
            broker: self.versions.range(key),
        })
    }

    /// Breaks the connection, which also ends a read that waits on it.
    pub fn shut_down(&self) {
        // It may be broken already, which is as good.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Responder {
    /// The next answer.
    ///
    /// # Errors
    /// If it does not come within `timeout`, or cannot be understood. The connection is of no more use then.
    fn receive(&mut self, timeout: Duration, interrupt: &Interrupt, api: ApiKey) -> Result<Answer> {
        let deadline = Instant::now() + timeout;
        self.read_answer(|waited_at| {
            if interrupt.is_set() {
                Err(Error::Interrupted)
            } else if waited_at >= deadline {
                Err(Error::Timeout { address: self.address.clone(), api, after: timeout })
            } else {
                Ok(())
            }
        })
    }

    /// The next answer, however long it takes. [`Requester::shut_down`] ends the waiting.
    ///
    /// # Errors
    /// If the connection is broken, or the answer cannot be understood.
    pub fn wait(&mut self) -> Result<Answer> {
        self.read_answer(|_| Ok(()))
    }

    fn read_answer(&self, go_on: impl Fn(Instant) -> Result<()>) -> Result<Answer> {
        let mut length = [0; 4];
        self.read_exact(&mut length, &go_on)?;
        let length = self.checked_length(length)?;
        let mut frame = Vec::new();
        // The frame grows with what really comes, not with what was announced.
        while frame.len() < length {
            let start = frame.len();
            frame.resize((start + (1 << 20)).min(length), 0);
            self.read_exact(&mut frame[start..], &go_on)?;
        }
        self.matched(frame)
    }

    fn checked_length(&self, bytes: [u8; 4]) -> Result<usize> {
        let not_kafka = |found| Err(Error::NotKafka { address: self.address.clone(), found });
        match usize::try_from(i32::from_be_bytes(bytes)) {
            Ok(length) if length <= ANSWER_BYTES_MAX => Ok(length),
            _ if bytes.starts_with(&[0x15, 0x03]) => not_kafka("it speaks TLS"),
            _ if bytes.starts_with(b"HTTP") => not_kafka("it speaks HTTP"),
            _ => not_kafka("its first answer has an impossible length"),
        }
    }

    /// Matches an answer with the oldest request on its way.
    fn matched(&self, frame: Vec<u8>) -> Result<Answer> {
        let not_kafka = |found| Error::NotKafka { address: self.address.clone(), found };
        let expected = self.on_its_way.try_recv().map_err(|_| not_kafka("it answers what nobody asked"))?;
        let mut reader = Reader::new(&frame);
        let header = ResponseHeader::decode(&mut reader, expected.key, expected.version).map_err(|source| {
            Error::Malformed { address: self.address.clone(), api: expected.key, version: expected.version, source }
        })?;
        if header.correlation_id != expected.correlation_id {
            return Err(not_kafka("it answers in another order than it was asked"));
        }
        let body_at = reader.position();
        let OnItsWay { correlation_id, key, version } = expected;
        Ok(Answer { frame, body_at, key, version, correlation_id, address: self.address.clone() })
    }

    fn read_exact(&self, mut bytes: &mut [u8], go_on: &impl Fn(Instant) -> Result<()>) -> Result<()> {
        let lost = |source| Error::Lost { address: self.address.clone(), api: None, source };
        while !bytes.is_empty() {
            match (&self.stream).read(bytes) {
                Ok(0) => {
                    let api = self.on_its_way.try_recv().ok().map(|expected| expected.key);
                    return Err(Error::Lost {
                        address: self.address.clone(),
                        api,
                        source: io::ErrorKind::UnexpectedEof.into(),
                    });
                }
                Ok(count) => bytes = &mut bytes[count..],
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => go_on(Instant::now())?,
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(lost(error)),
                },
            }
        }
        Ok(())
    }
}

/// The versions a broker serves, by API.
#[derive(Debug, Default)]
struct Versions {
    ranges: Vec<(i16, i16, i16)>,
}

impl Versions {
    fn of(response: &api_versions::Response<'_>) -> Self {
        Self { ranges: response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect() }
    }

    fn range(&self, key: ApiKey) -> Option<(i16, i16)> {
        self.ranges.iter().find(|range| range.0 == key as i16).map(|range| (range.1, range.2))
    }

    /// The highest version of both sides.
    fn common(&self, key: ApiKey) -> Option<i16> {
        let (min, max) = self.range(key)?;
        let ours = client_versions(key);
        let common = max.min(*ours.end());
        (common >= min && common >= *ours.start()).then_some(common)
    }
}

/// The versions this client speaks: those of the codec, but only as far as topics go by name. From these versions on
/// they go by id, which buys a client that names its topics nothing.
fn client_versions(key: ApiKey) -> std::ops::RangeInclusive<i16> {
    let known = key.valid_versions();
    let by_name = match key {
        ApiKey::Produce | ApiKey::Fetch => 12,
        ApiKey::OffsetCommit | ApiKey::OffsetFetch => 9,
        _ => *known.end(),
    };
    *known.start()..=by_name.min(*known.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_chosen() {
        let versions = Versions { ranges: vec![(3, 0, 4), (1, 0, 2), (0, 3, 99), (19, 50, 60)] };
        assert_eq!(versions.common(ApiKey::Metadata), Some(4));
        assert_eq!(versions.common(ApiKey::Fetch), None, "the broker is too old");
        assert_eq!(versions.common(ApiKey::Produce), Some(12), "topics go by name");
        assert_eq!(versions.common(ApiKey::CreateTopics), None, "the broker is too new");
        assert_eq!(versions.common(ApiKey::DeleteTopics), None, "the broker does not serve it");
    }
}
