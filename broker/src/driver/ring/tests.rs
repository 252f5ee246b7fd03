//! The contract, kept by the ring against the real kernel.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tempfile::TempDir;

use super::{Config, Ring, Waker};
use crate::driver::Driver;
use crate::driver::contract::{Client, World, contract_suite};

struct Kernel {
    ring: Ring,
    address: SocketAddr,
    clients: Vec<Option<TcpStream>>,
    _directory: TempDir,
}

impl Kernel {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let config = Config {
            directories: vec![Some(directory.path().to_owned())],
            listeners: vec![listener],
            waker: Waker::new().expect("an eventfd"),
        };
        let ring = Ring::new(config).expect("a ring");
        Self { ring, address, clients: Vec::new(), _directory: directory }
    }

    fn client(&mut self, client: Client) -> &mut TcpStream {
        self.clients[client].as_mut().expect("the client has not hung up")
    }
}

impl World for Kernel {
    fn driver(&mut self) -> &mut dyn Driver {
        &mut self.ring
    }

    fn advance(&mut self) {
        self.ring.wait(Some(Duration::from_millis(1)));
    }

    fn connect(&mut self) -> Client {
        let stream = TcpStream::connect(self.address).expect("the listener is bound");
        stream.set_nonblocking(true).expect("a socket");
        self.clients.push(Some(stream));
        self.clients.len() - 1
    }

    fn write(&mut self, client: Client, bytes: &[u8]) -> usize {
        match self.client(client).write(bytes) {
            Ok(taken) => taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("a client writes: {error}"),
        }
    }

    fn read(&mut self, client: Client, into: &mut Vec<u8>) -> bool {
        let mut buffer = [0; 64 << 10];
        match self.client(client).read(&mut buffer) {
            Ok(0) => false,
            Ok(taken) => {
                into.extend_from_slice(&buffer[..taken]);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("a client reads: {error}"),
        }
    }

    fn hang_up(&mut self, client: Client) {
        self.clients[client] = None;
    }
}

contract_suite!(Kernel::new());
