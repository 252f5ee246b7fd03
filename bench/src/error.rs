//! Why a measurement gives no figures.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use net::{ApiKey, DecodeError};

/// Why a measurement gives no figures. None of them is tried again: a run with errors measures something else.
#[derive(Debug)]
pub enum Error {
    /// A connection could not be made or broke.
    Connection {
        /// To where.
        address: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// A request was answered with an error.
    Refused {
        /// Which request.
        api: ApiKey,
        /// Kafka's error code.
        code: i16,
    },
    /// An answer is not the one that the request must have.
    WrongAnswer {
        /// Which request.
        api: ApiKey,
        /// What is wrong.
        what: String,
    },
    /// No answer came for too long.
    Stalled {
        /// How long nothing came.
        silent: Duration,
        /// Requests that wait for an answer.
        awaited: usize,
    },
    /// The server does not carry the rate that was asked for.
    Overload {
        /// Requests that wait for an answer.
        awaited: usize,
    },
    /// A workload cannot be carried out.
    Workload {
        /// Why.
        what: String,
    },
    /// What was read is not what was acknowledged.
    Integrity {
        /// What differs.
        what: String,
    },
    /// A file with results cannot be used.
    Results {
        /// Why.
        what: String,
    },
    /// A server process did not do what it must.
    Server {
        /// What it did, and the last of what it said.
        what: String,
    },
    /// The operating system refused something.
    System {
        /// What was wanted.
        what: String,
        /// Why not.
        cause: io::Error,
    },
}

impl Error {
    /// What makes a failure of the operating system one of ours.
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::System { what: what.into(), cause }
    }

    pub(crate) fn undecodable(api: ApiKey) -> impl FnOnce(DecodeError) -> Self {
        move |cause| Self::WrongAnswer { api, what: cause.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection { address, cause } => write!(f, "the connection to {address} failed: {cause}"),
            Self::Refused { api, code } => {
                write!(f, "{api} was answered with Kafka's error {code}; the server's log may say why")
            }
            Self::WrongAnswer { api, what } => write!(f, "the answer to {api} is not one: {what}"),
            Self::Stalled { silent, awaited } => {
                write!(f, "no answer for {} s, and {awaited} are awaited", silent.as_secs())
            }
            Self::Overload { awaited } => {
                write!(f, "the server does not carry this rate: {awaited} answers are awaited; try a lower --rate")
            }
            Self::Workload { what } => write!(f, "the workload cannot be carried out: {what}"),
            Self::Integrity { what } => write!(f, "the broker lost, repeated or reordered records: {what}"),
            Self::Results { what } => write!(f, "the results cannot be used: {what}"),
            Self::Server { what } => write!(f, "the server {what}"),
            Self::System { what, cause } => write!(f, "cannot {what}: {cause}"),
        }
    }
}

impl std::error::Error for Error {}
