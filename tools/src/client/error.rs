use std::fmt;
use std::io;
use std::time::Duration;

use net::{ApiKey, DecodeError};

use super::{Address, Code};

/// The outcome of what a client does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something that a client wanted did not happen.
#[derive(Debug)]
pub enum Error {
    /// No connection to a broker could be made.
    Connect {
        /// The broker.
        address: Address,
        /// What the operating system says.
        source: io::Error,
    },
    /// None of the bootstrap addresses could be used.
    NoBootstrap {
        /// What went wrong with each, in the order they were tried.
        attempts: Vec<Error>,
    },
    /// A connection broke.
    Lost {
        /// The broker.
        address: Address,
        /// What was asked, if something was.
        api: Option<ApiKey>,
        /// What the operating system says; `UnexpectedEof` if the broker closed the connection.
        source: io::Error,
    },
    /// A broker did not answer in time.
    Timeout {
        /// The broker.
        address: Address,
        /// What was asked.
        api: ApiKey,
        /// How long was waited.
        after: Duration,
    },
    /// What answers is no Kafka broker, or speaks TLS.
    NotKafka {
        /// The address.
        address: Address,
        /// What came instead.
        found: &'static str,
    },
    /// A broker's answer cannot be read.
    Malformed {
        /// The broker.
        address: Address,
        /// What was asked.
        api: ApiKey,
        /// In which version.
        version: i16,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// Broker and client have no version of an API in common.
    NoCommonVersion {
        /// The broker.
        address: Address,
        /// The API.
        api: ApiKey,
        /// Lowest and highest version of the broker; `None` if it does not serve the API at all.
        broker: Option<(i16, i16)>,
    },
    /// A broker refused a request.
    Refused {
        /// What was wanted, as the object of "cannot": `create topic "orders"`.
        what: String,
        /// Its code.
        code: Code,
        /// What it said.
        message: Option<String>,
    },
    /// A topic does not exist.
    NoTopic {
        /// Its name.
        topic: String,
        /// Existing names that look like it, the likeliest first.
        similar: Vec<String>,
    },
    /// A topic has no such partition.
    NoPartition {
        /// The topic.
        topic: String,
        /// The number asked for.
        partition: i32,
        /// How many it has.
        partitions: usize,
    },
    /// A partition had no leader for too long.
    NoLeader {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// Records came back that cannot be read.
    Records {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Offset of the batch.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting has an impossible value, or two contradict each other.
    Setting {
        /// What is wrong, as a sentence.
        message: String,
    },
    /// The person asked to stop.
    Interrupted,
}

impl Error {
    /// Whether the same may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::NoBootstrap { .. } | Self::Lost { .. } | Self::Timeout { .. } => true,
            Self::Refused { code, .. } => code.is_retryable(),
            Self::NoLeader { .. } => true,
            Self::NotKafka { .. }
            | Self::Malformed { .. }
            | Self::NoCommonVersion { .. }
            | Self::NoTopic { .. }
            | Self::NoPartition { .. }
            | Self::Records { .. }
            | Self::Setting { .. }
            | Self::Interrupted => false,
        }
    }

    /// What a person can do about it.
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Connect { source, .. } => connect_remedy(source),
            Self::NoBootstrap { attempts } => return attempts.first().and_then(Self::remedy),
            Self::Lost { source, api, .. } if source.kind() == io::ErrorKind::UnexpectedEof => match api {
                Some(ApiKey::ApiVersions | ApiKey::Metadata) => {
                    "if that listener expects TLS or SASL: this client speaks plaintext only so far".to_owned()
                }
                _ => "the broker's log says why it closed the connection".to_owned(),
            },
            Self::Lost { .. } | Self::Timeout { .. } => {
                "look whether the broker still runs and is not overloaded (`skein cluster`)".to_owned()
            }
            Self::NotKafka { .. } => "give the address of a plaintext Kafka listener with --bootstrap".to_owned(),
            Self::Malformed { .. } => "this is a bug in one of the two: please report it".to_owned(),
            Self::NoCommonVersion { .. } => "use a broker that serves it".to_owned(),
            Self::Refused { code, .. } => return code.remedy().map(str::to_owned),
            Self::NoTopic { similar, .. } if similar.is_empty() => "`skein topic list` shows what there is".to_owned(),
            Self::NoTopic { similar, .. } => format!("did you mean {}?", similar.join(", ")),
            Self::NoPartition { partitions, .. } => {
                format!("partitions are numbered from 0 to {}", partitions.saturating_sub(1))
            }
            Self::NoLeader { .. } => {
                "`skein topic describe` and `skein cluster` show which broker is missing".to_owned()
            }
            Self::Records { .. } => {
                "the data is damaged on the broker or on the way; read on behind it with --from OFFSET".to_owned()
            }
            Self::Setting { .. } | Self::Interrupted => return None,
        })
    }
}

fn connect_remedy(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::ConnectionRefused => {
            "is a node running there? `skein start` starts one; --bootstrap HOST:PORT or SKEIN_BOOTSTRAP names another"
        }
        io::ErrorKind::TimedOut => "nothing answers there: check address, network and firewall",
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => "check the network and the address",
        _ => "check the host name; a name that a broker advertises must be resolvable here too",
    }
    .to_owned()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { address, source } => write!(f, "cannot connect to {address}: {}", plain(source)),
            Self::NoBootstrap { attempts } => {
                for (index, attempt) in attempts.iter().enumerate() {
                    write!(f, "{}{attempt}", if index == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
            Self::Lost { address, api, source } => {
                match api {
                    Some(api) => write!(f, "{address} did not answer {api}: ")?,
                    None => write!(f, "lost the connection to {address}: ")?,
                }
                match source.kind() {
                    io::ErrorKind::UnexpectedEof => f.write_str("it closed the connection"),
                    _ => f.write_str(&plain(source)),
                }
            }
            Self::Timeout { address, api, after } => {
                write!(f, "{address} did not answer {api} within {:.0} s", after.as_secs_f64())
            }
            Self::NotKafka { address, found } => write!(f, "{address} is no plaintext Kafka broker: {found}"),
            Self::Malformed { address, api, version, source } => {
                write!(f, "the answer of {address} to {api} version {version} cannot be read, {source}")
            }
            Self::NoCommonVersion { address, api, broker: None } => write!(f, "{address} does not serve {api}"),
            Self::NoCommonVersion { address, api, broker: Some((min, max)) } => {
                let ours = api.valid_versions();
                write!(
                    f,
                    "{address} serves {api} versions {min} to {max}, this client {} to {}",
                    ours.start(),
                    ours.end()
                )
            }
            Self::Refused { what, code, message } => match message.as_deref().filter(|m| !m.is_empty()) {
                Some(message) => write!(f, "cannot {what}: {message} [{code}]"),
                None => write!(f, "cannot {what}: the broker says {code}"),
            },
            Self::NoTopic { topic, .. } => write!(f, "there is no topic {topic:?}"),
            Self::NoPartition { topic, partition, partitions } => {
                write!(f, "topic {topic:?} has no partition {partition}: it has {partitions}")
            }
            Self::NoLeader { topic, partition } => write!(f, "partition {partition} of topic {topic:?} has no leader"),
            Self::Records { topic, partition, offset, reason } => {
                write!(f, "the batch at offset {offset} of {topic}-{partition} cannot be read: {reason}")
            }
            Self::Setting { message } => f.write_str(message),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// The operating system's text without its number.
fn plain(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "timed out".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::BrokenPipe => "connection closed".to_owned(),
        _ => {
            let text = source.to_string();
            text.split(" (os error").next().unwrap_or(&text).to_owned()
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect { source, .. } | Self::Lost { source, .. } => Some(source),
            Self::Malformed { source, .. } => Some(source),
            _ => None,
        }
    }
}
