//! The buffers that the kernel receives into: a ring of them, shared with it, from which it takes one per receive.
//!
//! ```text
//! entries:  [ address, length, id ] × BUFFERS   one page, read by the kernel up to the published tail
//! memory:   BUFFERS × BUFFER_BYTES              each buffer is the kernel's, or ours during one callback
//! ```

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// Buffers of one shard; a power of two.
const BUFFERS: u16 = 128;
/// Bytes of each: several of the requests that producers send by default (16 KiB), so that most lie whole in one buffer and
/// need not be assembled.
const BUFFER_BYTES: usize = 64 << 10;
/// The group's number in its ring.
pub(super) const GROUP: u16 = 0;

const _: () = assert!(BUFFERS.is_power_of_two());
const _: () = assert!(size_of::<BufRingEntry>() == 16);

const PAGE_BYTES: usize = 4096;

/// Zeroed memory that starts at a page. It is mapped, not allocated: the system allocator writes the zeros of memory that
/// is to be aligned, and so makes all of it resident before anything is received.
struct Pages {
    start: NonNull<u8>,
    bytes: usize,
}

impl Pages {
    fn new(bytes: usize) -> io::Result<Self> {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new private mapping touches no memory there is.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("a mapping without a wish lies beyond page 0");
        Ok(Self { start, bytes })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: mapped with this length, and owned; whoever drops it has made sure that nothing is in flight.
        let unmapped = unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        assert_eq!(unmapped, 0, "a whole mapping can be taken back");
    }
}

/// The buffers and the ring of those the kernel may take.
pub(super) struct Buffers {
    entries: Pages,
    memory: Pages,
    tail: u16,
}

impl Buffers {
    /// Makes the buffers and registers them. They must outlive every receive of the ring.
    pub(super) fn new(ring: &IoUring) -> io::Result<Self> {
        let entries = Pages::new((usize::from(BUFFERS) * size_of::<BufRingEntry>()).next_multiple_of(PAGE_BYTES))?;
        let memory = Pages::new(usize::from(BUFFERS) * BUFFER_BYTES)?;
        // SAFETY: the memory is as large as BUFFERS entries, starts at a page, and the owner keeps it until nothing
        // is in flight on the ring.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(entries.start.as_ptr() as u64, BUFFERS, GROUP, 0)?;
        }
        let mut buffers = Self { entries, memory, tail: 0 };
        for id in 0..BUFFERS {
            buffers.give_back(id);
        }
        Ok(buffers)
    }

    fn address(&self, id: u16) -> *mut u8 {
        assert!(id < BUFFERS, "the kernel names a buffer it was given");
        // SAFETY: the offset is inside the allocation, by the assertion.
        unsafe { self.memory.start.as_ptr().add(usize::from(id) * BUFFER_BYTES) }
    }

    /// What the kernel has put into a buffer that a completion named. Valid until the buffer is given back.
    pub(super) fn received(&self, id: u16, length: usize) -> &[u8] {
        assert!(length <= BUFFER_BYTES, "a receive fills one buffer at most");
        // SAFETY: the memory is initialised, and a buffer named by a completion is ours until `give_back`, which
        // needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.address(id), length) }
    }

    /// Lets the kernel use a buffer (again).
    pub(super) fn give_back(&mut self, id: u16) {
        let address = self.address(id) as u64;
        let entries = self.entries.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the masked index is inside the ring; the kernel reads entries before the published tail only, and
        // this one is not before it: no more than BUFFERS are ever outside our hands.
        let entry = unsafe { &mut *entries.add(usize::from(self.tail & (BUFFERS - 1))) };
        entry.set_addr(address);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail's place in the ring is an aligned u16 that both sides access atomically.
        let published = unsafe { &*BufRingEntry::tail(entries).cast::<AtomicU16>() };
        published.store(self.tail, Ordering::Release);
    }
}
