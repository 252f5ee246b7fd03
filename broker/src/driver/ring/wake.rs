//! Waking a ring from other threads: an eventfd that the ring always has a read of in flight.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::Arc;

use io_uring::{opcode, types};

use super::queue::{Key, Kind, Queue};

/// Ends the sleep of a ring from any thread. It exists before its ring, so that others can hold it when the ring
/// starts.
#[derive(Debug, Clone)]
pub struct Waker {
    event: Arc<File>,
}

impl Waker {
    /// A waker of no ring yet.
    ///
    /// # Errors
    /// If the process may open no more files.
    pub fn new() -> io::Result<Self> {
        // A blocking one: of a non-blocking file the ring would return EAGAIN instead of waiting.
        // SAFETY: no pointers are passed.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let event = unsafe { File::from_raw_fd(descriptor) };
        Ok(Self { event: Arc::new(event) })
    }
}

impl replication::wake::Wake for Waker {
    fn wake(&self) {
        // It fails only if the counter is full: then the ring has 2⁶⁴ wake-ups to come as it is.
        let _ = (&*self.event).write(&1u64.to_ne_bytes());
    }
}

/// The ring's end of the eventfd.
pub(super) struct Event {
    waker: Waker,
    /// Where the read in flight puts the counter.
    counter: Box<u64>,
}

impl Event {
    pub(super) fn new(waker: Waker) -> Self {
        Self { waker, counter: Box::new(0) }
    }

    /// Puts the read in flight: at the start, and each time it has completed.
    pub(super) fn arm(&mut self, queue: &mut Queue) {
        let counter: *mut u64 = &mut *self.counter;
        let entry = opcode::Read::new(types::Fd(self.waker.event.as_raw_fd()), counter.cast(), 8).build();
        // SAFETY: the counter is boxed and the descriptor held by self, which the ring keeps until nothing is in
        // flight.
        unsafe { queue.push(entry, Key::new(Kind::Wake, 0, 0)) }
    }
}
