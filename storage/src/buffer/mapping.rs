//! Memory from the kernel that lies in huge pages, where it has them.
//!
//! It is mapped, not allocated: the system allocator writes the zeros of aligned memory itself, before the kernel could be told
//! to use huge pages.

use std::ptr::NonNull;

/// Bytes of a huge page, and the alignment of every mapping.
pub(super) const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Zeroed memory that starts at a huge page.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a Mapping is the only owner of its memory and has no thread affinity.
unsafe impl Send for Mapping {}
// SAFETY: a shared Mapping gives no access to its bytes except through raw pointers, whose users argue for themselves.
unsafe impl Sync for Mapping {}

#[cfg(not(miri))]
impl Mapping {
    /// A new mapping of `bytes`, a multiple of the page size.
    ///
    /// # Panics
    /// If there is no memory.
    pub(super) fn new(bytes: usize) -> Self {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // Of a larger mapping the part is kept that is aligned.
        let mapped = bytes + HUGE_PAGE_BYTES;
        // SAFETY: a new private mapping touches no memory there is.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), mapped, protection, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED, "no memory: {}", std::io::Error::last_os_error());
        let start = start.cast::<u8>();
        let before = start.align_offset(HUGE_PAGE_BYTES);
        // SAFETY: an alignment is reached within HUGE_PAGE_BYTES, so that the kept part and what is behind it lie in the mapping.
        let (kept, behind) = unsafe { (start.add(before), start.add(before + bytes)) };
        unmap(start, before);
        unmap(behind, mapped - before - bytes);
        // SAFETY: the range was mapped just now. Where the kernel has no huge pages to give, small ones do.
        unsafe { libc::madvise(kept.cast(), bytes, libc::MADV_HUGEPAGE) };
        Self { start: NonNull::new(kept).expect("a mapping without a wish lies beyond page 0"), bytes }
    }

    /// Lets the kernel have the memory of a part, while others of the mapping may be in use.
    ///
    /// # Safety
    /// The part lies in this mapping, and nobody uses it any more.
    pub(super) unsafe fn give_back(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: the range is mapped, and by the caller's promise nobody's; it reads as zeros if it is ever used again.
        let done = unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED) };
        assert_eq!(done, 0, "a part of a mapping can be given back");
    }
}

#[cfg(not(miri))]
impl Drop for Mapping {
    fn drop(&mut self) {
        unmap(self.start.as_ptr(), self.bytes);
    }
}

/// Takes a part of a mapping back, if it is not empty.
#[cfg(not(miri))]
fn unmap(start: *mut u8, bytes: usize) {
    if bytes > 0 {
        // SAFETY: callers pass pages of a mapping of their own that nobody uses.
        let unmapped = unsafe { libc::munmap(start.cast(), bytes) };
        assert_eq!(unmapped, 0, "a mapping can be taken back");
    }
}

/// Miri knows no advice about memory: it gets the same from the allocator.
#[cfg(miri)]
impl Mapping {
    fn layout(bytes: usize) -> std::alloc::Layout {
        std::alloc::Layout::from_size_align(bytes, HUGE_PAGE_BYTES).expect("sizes are constants")
    }

    pub(super) fn new(bytes: usize) -> Self {
        // SAFETY: callers ask for a region at least.
        let start = unsafe { std::alloc::alloc_zeroed(Self::layout(bytes)) };
        Self { start: NonNull::new(start).expect("there is memory"), bytes }
    }

    pub(super) unsafe fn give_back(&self, _: NonNull<u8>, _: usize) {}
}

#[cfg(miri)]
impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `start` came from alloc_zeroed with this very layout.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), Self::layout(self.bytes)) }
    }
}

impl Mapping {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The address of a byte.
    ///
    /// # Panics
    /// If it lies beyond.
    pub(super) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.bytes, "a byte lies inside the mapping");
        // SAFETY: the offset is inside the mapping, by the assertion.
        unsafe { self.start.add(offset) }
    }
}
