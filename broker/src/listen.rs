//! Listening sockets.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait in the kernel before one is refused.
const BACKLOG: i32 = 1024;

/// Why an address cannot be served.
#[derive(Debug)]
pub struct Error {
    /// The address.
    pub address: SocketAddr,
    /// The system's reason.
    pub cause: io::Error,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, cause } = self;
        match cause.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "{address} is already served by another process: stop that one (`ss -ltnp 'sport = :{port}'` names \
                 it) or choose another address with --listen HOST:PORT",
                port = address.port()
            ),
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "{address} is no address of this machine: choose one of `ip address` with --listen HOST:PORT")
            }
            io::ErrorKind::PermissionDenied => {
                write!(f, "this user may not serve {address}: choose a port from 1024 on with --listen HOST:PORT")
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
    let listen = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    listen().map_err(|cause| Error { address, cause })
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
