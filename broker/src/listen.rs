//! Listening sockets.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait in the kernel before one is refused.
const BACKLOG: i32 = 1024;

/// How long a taken address is tried again. The kernel takes a ring of a killed process apart in the background, and
/// until then its accept holds the listening socket: a node started at once after a kill would find its own port taken.
const LINGER_MAX: Duration = Duration::from_secs(3);

/// Time between two tries.
const LINGER_STEP: Duration = Duration::from_millis(20);

/// Why an address cannot be served.
#[derive(Debug)]
pub struct Error {
    /// The address.
    pub address: SocketAddr,
    /// The system's reason.
    pub cause: io::Error,
    /// The option that chooses another address.
    pub option: &'static str,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, cause, option } = self;
        match cause.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "{address} is already served by another process: stop that one (`ss -ltnp 'sport = :{port}'` names \
                 it) or choose another address with {option} HOST:PORT",
                port = address.port()
            ),
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "{address} is no address of this machine: choose one of `ip address` with {option} HOST:PORT")
            }
            io::ErrorKind::PermissionDenied => {
                write!(f, "this user may not serve {address}: choose a port from 1024 on with {option} HOST:PORT")
            }
            _ => write!(f, "{address} cannot be served: {cause}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// Listens on `address`; port 0 takes a free one.
///
/// Without `SO_REUSEPORT`, with which a second node would share the port unseen. An IPv6 socket is for IPv6 only,
/// so that both families can be listened on.
///
/// # Errors
/// If the address cannot be served.
pub fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let listen = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    let give_up = Instant::now() + LINGER_MAX;
    loop {
        match listen() {
            Err(cause) if cause.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up => {
                std::thread::sleep(LINGER_STEP);
            }
            result => return result.map_err(|cause| Error { address, cause, option: "--listen" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_served_once() {
        let first = bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = first.local_addr().expect("bound");
        let message = bind(address).expect_err("taken").to_string();
        assert!(message.starts_with(&format!("{address} is already served")), "{message}");
        drop(first);
        bind(address).expect("free again at once");
    }

    #[test]
    fn a_foreign_address_is_named() {
        let message = bind("192.0.2.1:0".parse().expect("an address")).expect_err("not ours").to_string();
        assert!(message.contains("192.0.2.1:0 is no address of this machine"), "{message}");
    }
}
