//! The submission and completion queues of one io_uring, and the key that ties a completion to its operation.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{Builder, EnterFlags, IoUring, cqueue, squeue};

/// Submissions the kernel takes with one call; more are taken with several.
const SUBMISSIONS: u32 = 512;
/// Completions that fit before the kernel keeps the rest in a list of its own.
const COMPLETIONS: u32 = 4096;
/// Kernel workers of one ring, bounded and unbounded kind each: for opens and syncs, which always block.
const KERNEL_WORKERS_MAX: u32 = 2;

/// What an operation is about; the first byte of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A multishot accept; the index is the listener.
    Accept = 1,
    /// A multishot receive; the index is the connection.
    Receive = 2,
    /// A send; the index is the connection.
    Send = 3,
    /// A cancellation, whose own outcome says nothing: the operation it aims at completes either way.
    Cancel = 4,
    /// A file operation; the index is its slot.
    File = 5,
    /// The read of the eventfd that others wake this ring with.
    Wake = 6,
}

/// The name of an operation in flight, carried by the kernel as user data:
///
/// ```text
/// 63    56 55          32 31             0
/// | kind  | generation   | index          |
/// ```
///
/// The generation tells a slot's present user from its former ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) kind: Kind,
    pub(super) generation: u32,
    pub(super) index: u32,
}

/// Generations wrap here.
pub(super) const GENERATION_MASK: u32 = (1 << 24) - 1;

impl Key {
    pub(super) fn new(kind: Kind, generation: u32, index: u32) -> Self {
        debug_assert!(generation <= GENERATION_MASK, "a generation has 24 bits");
        Self { kind, generation, index }
    }

    fn encode(self) -> u64 {
        (self.kind as u64) << 56 | u64::from(self.generation) << 32 | u64::from(self.index)
    }

    fn decode(data: u64) -> Self {
        let kind = match data >> 56 {
            1 => Kind::Accept,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::Cancel,
            5 => Kind::File,
            6 => Kind::Wake,
            other => unreachable!("the kernel hands back the keys it was given, not kind {other}"),
        };
        Self { kind, generation: (data >> 32) as u32 & GENERATION_MASK, index: data as u32 }
    }
}

/// One completion, copied out of the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) key: Key,
    /// A count, a descriptor, or a negated error number.
    pub(super) result: i32,
    flags: u32,
}

impl Arrival {
    /// Whether the operation goes on.
    pub(super) fn more(self) -> bool {
        cqueue::more(self.flags)
    }

    /// The provided buffer that was used.
    pub(super) fn buffer(self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

/// The kind of ring that is used: one thread's, which runs the kernel's deferred work when it enters the kernel and
/// sees by a flag whether there is any. Measured to be worth a quarter of all requests per second.
pub(super) fn builder() -> Builder {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun().setup_taskrun_flag();
    builder
}

/// The queues.
pub(super) struct Queue {
    ring: IoUring,
    /// Submissions the kernel refused for the moment, in order. Bounded by the operations in flight: three for a
    /// connection, one for a listener or a file operation.
    backlog: VecDeque<squeue::Entry>,
    /// Operations the kernel holds or the backlog does; each ends with one completion without `more`.
    in_flight: usize,
}

impl Queue {
    pub(super) fn new() -> io::Result<Self> {
        let ring = builder().setup_cqsize(COMPLETIONS).build(SUBMISSIONS)?;
        ring.submitter().register_iowq_max_workers(&mut [KERNEL_WORKERS_MAX, KERNEL_WORKERS_MAX])?;
        Ok(Self { ring, backlog: VecDeque::new(), in_flight: 0 })
    }

    pub(super) fn ring(&self) -> &IoUring {
        &self.ring
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Queues an operation.
    ///
    /// # Safety
    /// All memory and descriptors that the entry names stay valid until its last completion was taken.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry, key: Key) {
        let entry = entry.user_data(key.encode());
        self.in_flight += 1;
        // SAFETY: the caller's promise.
        if self.backlog.is_empty() && unsafe { self.ring.submission().push(&entry) }.is_ok() {
            return;
        }
        self.backlog.push_back(entry);
        self.feed();
    }

    /// Queues the cancellation of an operation. That one completes as usual, cancelled or not.
    pub(super) fn cancel(&mut self, key: Key) {
        let entry = io_uring::opcode::AsyncCancel::new(key.encode()).build();
        // SAFETY: the entry names no memory.
        unsafe { self.push(entry, Key::new(Kind::Cancel, 0, 0)) }
    }

    /// Queues the cancellation of everything in flight.
    pub(super) fn cancel_all(&mut self) {
        let entry = io_uring::opcode::AsyncCancel2::new(io_uring::types::CancelBuilder::any()).build();
        // SAFETY: the entry names no memory.
        unsafe { self.push(entry, Key::new(Kind::Cancel, 0, 0)) }
    }

    /// Moves the backlog into the submission queue, handing full ones to the kernel, until it is empty or the
    /// kernel takes no more.
    fn feed(&mut self) {
        while !self.backlog.is_empty() {
            let mut submissions = self.ring.submission();
            while let Some(entry) = self.backlog.front() {
                // SAFETY: as promised when the entry was pushed.
                if unsafe { submissions.push(entry) }.is_err() {
                    break;
                }
                self.backlog.pop_front();
            }
            let full = submissions.is_full();
            drop(submissions);
            if full && check(self.ring.submit()) == 0 {
                return;
            }
        }
    }

    /// Hands everything queued to the kernel and lets it finish what it can. Makes no system call if there is
    /// nothing to do.
    pub(super) fn flush(&mut self) {
        self.feed();
        let submissions = self.ring.submission();
        if submissions.is_empty() && !submissions.taskrun() && !submissions.cq_overflow() {
            return;
        }
        drop(submissions);
        check(self.ring.submit());
    }

    /// Hands everything queued to the kernel and sleeps until something has completed or `timeout` is over.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) {
        self.feed();
        let queued = self.ring.submission().len() as u32;
        let mut flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        // Else the core of a node that sleeps over its armed receives would be shown as waiting for a disk.
        flags.set(EnterFlags::NO_IOWAIT, self.ring.params().is_feature_no_iowait());
        let timeout = timeout.map(Timespec::from);
        let arguments = match &timeout {
            Some(timeout) => SubmitArgs::new().timespec(timeout),
            None => SubmitArgs::new(),
        };
        // SAFETY: with EXT_ARG the argument is a SubmitArgs, and it and its timeout outlive the call; the queued
        // entries are as their pushers promised.
        check(unsafe { self.ring.submitter().enter(queued, 1, flags.bits(), Some(&arguments)) });
    }

    /// Whether something has completed or would with the next [`Queue::flush`]. Makes no system call.
    pub(super) fn is_ready(&mut self) -> bool {
        !self.ring.completion().is_empty() || self.ring.submission().taskrun()
    }

    /// Takes what has completed.
    pub(super) fn take(&mut self, arrivals: &mut Vec<Arrival>) {
        let before = arrivals.len();
        arrivals.extend(self.ring.completion().map(|entry| Arrival {
            key: Key::decode(entry.user_data()),
            result: entry.result(),
            flags: entry.flags(),
        }));
        self.in_flight -= arrivals[before..].iter().filter(|arrival| !arrival.more()).count();
    }
}

/// The outcome of entering the kernel: how many submissions it took.
fn check(entered: io::Result<usize>) -> usize {
    match entered {
        Ok(taken) => taken,
        Err(error) => match error.raw_os_error() {
            // The time was up, a signal came, or completions have to be taken first.
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => 0,
            _ => panic!("the kernel refuses this ring, which it had accepted: {error}"),
        },
    }
}
