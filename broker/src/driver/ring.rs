//! The driver for real: one io_uring of a shard, for its sockets and its files.
//!
//! ```text
//! submit ─► Sockets ─┐                      ┌─► Sockets ─┐
//!                    ├─► Queue ─ kernel ────┤            ├─► each(Completion)
//!        ─► Files ───┘                      └─► Files  ──┘
//!              └─► helper threads ─ eventfd ────► ┘
//! ```
//!
//! The ring belongs to the thread that made it. Whatever memory the kernel may touch lives in [`sockets`] or
//! [`files`] until the operation's last completion was taken; dropping the ring cancels and waits for what is left.

mod buffers;
mod files;
mod helper;
mod inline;
pub mod limits;
mod probe;
mod queue;
pub mod signals;
mod sockets;
#[cfg(test)]
mod tests;
mod wake;

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use storage::buffer::Slice;

use self::buffers::Buffers;
use self::files::Files;
use self::queue::{Arrival, Kind, Queue};
use self::sockets::Sockets;
use self::wake::Event;
use super::{Completion, Driver, Ops};

pub use self::probe::{StartupError, probe};
pub use self::wake::Waker;

/// How long a dropped ring waits for the kernel to let go of its memory; then the memory is leaked.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Receives completions.
type Each<'a> = &'a mut dyn FnMut(Completion<'_>);

/// Completions that needed no kernel, handed over with the next ones.
#[derive(Default)]
struct Ready {
    net: VecDeque<net::ops::Event<'static, Slice>>,
    disk: VecDeque<storage::io::Completion>,
}

/// What a ring works on.
#[derive(Debug)]
pub struct Config {
    /// The data directories by their numbers: file paths are relative to them. None for one that could not be opened, of
    /// which nothing is asked.
    pub directories: Vec<Option<PathBuf>>,
    /// Listening sockets, indexed by [`net::ops::ListenerId`].
    pub listeners: Vec<TcpListener>,
    /// Wakes the ring; no other ring has it.
    pub waker: Waker,
}

/// One io_uring and everything in flight on it. Used by the thread that made it.
pub struct Ring {
    /// None once drop has given the parts up to the kernel.
    parts: Option<Parts>,
    arrivals: Vec<Arrival>,
}

struct Parts {
    queue: Queue,
    sockets: Sockets,
    files: Files,
    event: Event,
    ready: Ready,
}

impl Ring {
    /// Sets the ring up.
    ///
    /// # Errors
    /// If the kernel refuses it, or a data directory cannot be opened.
    pub fn new(config: Config) -> io::Result<Self> {
        let mut queue = Queue::new()?;
        let buffers = Buffers::new(queue.ring())?;
        let files = Files::new(config.directories, &config.waker)?;
        let sockets = Sockets::new(config.listeners, buffers);
        let mut event = Event::new(config.waker);
        event.arm(&mut queue);
        let parts = Parts { queue, sockets, files, event, ready: Ready::default() };
        Ok(Self { parts: Some(parts), arrivals: Vec::new() })
    }

    fn parts(&mut self) -> &mut Parts {
        self.parts.as_mut().expect("taken only by drop")
    }

    /// Hands what was submitted to the kernel, and lets it finish what it can at once.
    pub fn flush(&mut self) {
        self.parts().queue.flush();
    }

    /// Whether [`Driver::complete`] would hand something over. Makes no system call.
    pub fn is_ready(&mut self) -> bool {
        let parts = self.parts();
        !parts.ready.net.is_empty() || !parts.ready.disk.is_empty() || parts.queue.is_ready()
    }

    /// Hands what was submitted to the kernel and sleeps until something has completed, the ring was woken, or
    /// `timeout` is over.
    pub fn wait(&mut self, timeout: Option<Duration>) {
        let parts = self.parts();
        if parts.ready.net.is_empty() && parts.ready.disk.is_empty() {
            parts.queue.wait(timeout);
        } else {
            parts.queue.flush();
        }
    }
}

impl Driver for Ring {
    fn submit(&mut self, ops: &mut Ops) {
        let Parts { queue, sockets, files, ready, .. } = self.parts();
        for op in ops.net.drain(..) {
            sockets.submit(op, queue, ready);
        }
        for request in ops.disk.drain(..) {
            files.submit(request, queue, ready);
        }
    }

    fn complete(&mut self, each: &mut dyn FnMut(Completion<'_>)) {
        let Self { parts, arrivals } = self;
        let parts = parts.as_mut().expect("taken only by drop");
        parts.queue.flush();
        parts.queue.take(arrivals);
        for arrival in arrivals.drain(..) {
            parts.complete(arrival, each);
        }
        while let Some(event) = parts.ready.net.pop_front() {
            each(Completion::Net(event));
        }
        while let Some(completion) = parts.ready.disk.pop_front() {
            each(Completion::Disk(completion));
        }
    }
}

impl Parts {
    fn complete(&mut self, arrival: Arrival, each: Each<'_>) {
        match arrival.key.kind {
            Kind::Accept => self.sockets.accepted(arrival, each),
            Kind::Receive => self.sockets.received(arrival, each),
            Kind::Send => self.sockets.sent(arrival, each),
            Kind::Cancel => {}
            Kind::File => self.files.finished(arrival, &mut self.queue, each),
            Kind::Wake => {
                self.event.arm(&mut self.queue);
                self.files.helped(each);
            }
        }
    }

    /// Ends everything in flight without telling anybody; false if the kernel does not let go in time.
    fn drain(&mut self) -> bool {
        let until = Instant::now() + DRAIN_MAX;
        let mut arrivals = Vec::new();
        self.queue.cancel_all();
        while self.queue.in_flight() > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.queue.wait(Some(left));
            self.queue.take(&mut arrivals);
            arrivals.clear();
        }
        true
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take() else { return };
        if !parts.drain() {
            // The kernel may still write into this memory: better lost than freed.
            std::mem::forget(parts);
        }
    }
}
