//! Aligned memory: the pool of one shard, and the three shapes its regions take.
//!
//! ```text
//! Pool ──allocate──► Buffer   unique, written by a read or a block builder
//!                      │ freeze
//!                      ▼
//!        Chunk ──slice──► Slice   shared and immutable; may cross threads
//! ```
//!
//! A [`Chunk`] is appended to while slices of what it already holds are being read elsewhere:
//!
//! ```text
//! 0 ............. filled ............. capacity
//! | shared, never | written only through    |
//! | written again | the one Chunk           |
//! ```
//!
//! A region returns to its pool when the last holder drops it, on whatever thread that happens.

mod mapping;

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::queue::ArrayQueue;

use crate::io::BLOCK_BYTES;

use mapping::{HUGE_PAGE_BYTES, Mapping};

/// The region sizes a pool hands out, in bytes; a request gets the smallest that holds it. The largest but one holds the
/// largest batch and a block before it.
pub const REGION_BYTES: [usize; 8] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 9 << 20, 16 << 20];

/// The part of its budget that a pool keeps as free regions of each size class for reuse, at the most: as much as a
/// round of segment writes releases at once. With less, up to a third of the CPU time of large appends goes into page
/// faults.
const FREE_SHARE_PER_CLASS: usize = 4;

/// Regions from this size on lie in huge pages: what is written from them directly is pinned 2 MiB at a time, and not 4 KiB.
const MAPPED_BYTES_MIN: usize = 1 << 20;

/// One shard's aligned memory, bounded by a budget. Cheap to clone; all clones are one pool.
#[derive(Debug, Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    budget_bytes: usize,
    used_bytes: AtomicUsize,
    /// Bytes of regions that are lent.
    lent_bytes: AtomicUsize,
    free: [ArrayQueue<Memory>; REGION_BYTES.len()],
}

/// Owned, zero-initialised memory of `REGION_BYTES[class]` bytes, aligned to a block.
#[derive(Debug)]
struct Memory {
    start: NonNull<u8>,
    class: u8,
    /// The mapping that it is a part of; none where it comes from the allocator.
    mapping: Option<Arc<Mapping>>,
    /// Whether the system was told that its contents are not needed, and it was not handed out since.
    is_trimmed: bool,
}

// SAFETY: a Memory is the only owner of its allocation and has no thread affinity.
unsafe impl Send for Memory {}
// SAFETY: a shared Memory gives no access to its bytes except through the raw pointer, whose uses below are
// each argued for.
unsafe impl Sync for Memory {}

impl Memory {
    fn layout(class: u8) -> Layout {
        Layout::from_size_align(REGION_BYTES[usize::from(class)], BLOCK_BYTES).expect("sizes are constants")
    }

    fn allocate(class: u8) -> Self {
        let layout = Self::layout(class);
        // SAFETY: the layout's size is one of REGION_BYTES, none of which is zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, class, mapping: None, is_trimmed: false }
    }

    /// The regions of a new mapping: one, or as many as share a huge page.
    fn map(class: u8) -> impl Iterator<Item = Self> {
        let bytes = REGION_BYTES[usize::from(class)];
        let mapping = Arc::new(Mapping::new(bytes.max(HUGE_PAGE_BYTES)));
        (0..mapping.bytes() / bytes).map(move |at| {
            let start = mapping.at(at * bytes);
            Self { start, class, mapping: Some(Arc::clone(&mapping)), is_trimmed: false }
        })
    }

    fn capacity(&self) -> usize {
        REGION_BYTES[usize::from(self.class)]
    }

    /// Gives its pages to the system: they read as zeros from now on, and come back when they are written.
    fn trim(&mut self) {
        // SAFETY: the pages are whole (regions are aligned to blocks, which are pages, and a multiple of them) and self is
        // their only owner, so nobody misses what they held. Zeros are initialised bytes.
        let trimmed = unsafe { libc::madvise(self.start.as_ptr().cast(), self.capacity(), libc::MADV_DONTNEED) };
        // Where pages are larger than blocks the system refuses, and the memory stays.
        self.is_trimmed = true;
        debug_assert!(trimmed == 0 || std::io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL));
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        match self.mapping.take() {
            // SAFETY: `start` came from alloc_zeroed with this very layout, and self is its only owner.
            None => unsafe { dealloc(self.start.as_ptr(), Self::layout(self.class)) },
            // SAFETY: the range is this region's, and self is its only owner.
            Some(mapping) => unsafe { mapping.give_back(self.start, self.capacity()) },
        }
    }
}

impl Pool {
    /// A pool that never has more than `budget_bytes` in use.
    #[must_use]
    pub fn new(budget_bytes: usize) -> Self {
        let free = REGION_BYTES.map(|bytes| ArrayQueue::new((budget_bytes / FREE_SHARE_PER_CLASS / bytes).max(1)));
        Self {
            shared: Arc::new(Shared {
                budget_bytes,
                used_bytes: AtomicUsize::new(0),
                lent_bytes: AtomicUsize::new(0),
                free,
            }),
        }
    }

    /// A zeroed or formerly used buffer of at least `bytes`, or nothing while the budget is spent.
    ///
    /// # Panics
    /// If `bytes` is more than the largest region.
    #[must_use]
    pub fn allocate(&self, bytes: usize) -> Option<Buffer> {
        self.allocate_within(bytes, self.shared.budget_bytes)
    }

    /// As [`Self::allocate`], where what is in use then is at most `limit_bytes`: the rest of the budget is left to others.
    ///
    /// # Panics
    /// As [`Self::allocate`].
    #[must_use]
    pub fn allocate_within(&self, bytes: usize, limit_bytes: usize) -> Option<Buffer> {
        let limit_bytes = limit_bytes.min(self.shared.budget_bytes);
        let class = REGION_BYTES.iter().position(|&region| region >= bytes);
        let class = class.expect("callers ask for at most the largest region") as u8;
        let size = REGION_BYTES[usize::from(class)];
        let fits = |used: usize| used.checked_add(size).filter(|&after| after <= limit_bytes);
        self.shared.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        let mut memory = self.shared.free[usize::from(class)].pop().unwrap_or_else(|| self.shared.obtain(class));
        memory.is_trimmed = false;
        let region = Region { memory: Some(memory), pool: Arc::clone(&self.shared), lent: AtomicUsize::new(0) };
        Some(Buffer { region, length: size })
    }

    /// Gives the memory of regions that are kept for reuse to the system, of `max` at the most; says of how many. With fewer
    /// than `max` there is nothing left to give.
    pub fn trim(&self, max: usize) -> usize {
        let mut trimmed = 0;
        for free in &self.shared.free {
            for _ in 0..free.len() {
                if trimmed == max {
                    return trimmed;
                }
                let Some(mut memory) = free.pop() else { break };
                if !memory.is_trimmed {
                    memory.trim();
                    trimmed += 1;
                }
                // A list that was filled meanwhile hands it back, and it is freed here.
                let _ = free.push(memory);
            }
        }
        trimmed
    }

    /// Bytes handed out and not yet returned.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.shared.used_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the regions of which slices are lent.
    #[must_use]
    pub fn lent_bytes(&self) -> usize {
        self.shared.lent_bytes.load(Ordering::Relaxed)
    }

    /// The most bytes that may be in use.
    #[must_use]
    pub fn budget_bytes(&self) -> usize {
        self.shared.budget_bytes
    }
}

impl Shared {
    /// A region that is new.
    fn obtain(&self, class: u8) -> Memory {
        if REGION_BYTES[usize::from(class)] < MAPPED_BYTES_MIN {
            return Memory::allocate(class);
        }
        let mut regions = Memory::map(class);
        let first = regions.next().expect("a mapping has a region at least");
        for other in regions {
            // A full free list hands it back, and it is freed here.
            let _ = self.free[usize::from(class)].push(other);
        }
        first
    }
}

/// Memory on loan from a pool.
#[derive(Debug)]
struct Region {
    /// None only while being dropped.
    memory: Option<Memory>,
    pool: Arc<Shared>,
    /// Slices of it that are lent.
    lent: AtomicUsize,
}

impl Region {
    fn memory(&self) -> &Memory {
        self.memory.as_ref().expect("taken only by drop")
    }

    fn start(&self) -> *mut u8 {
        self.memory().start.as_ptr()
    }

    fn capacity(&self) -> usize {
        self.memory().capacity()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let memory = self.memory.take().expect("dropped once");
        self.pool.used_bytes.fetch_sub(memory.capacity(), Ordering::Relaxed);
        // A full free list hands the memory back, and it is freed here.
        let _ = self.pool.free[usize::from(memory.class)].push(memory);
    }
}

/// A region with one owner, who may write all of it. Contents start undefined but initialised.
#[derive(Debug)]
pub struct Buffer {
    region: Region,
    /// Bytes of the region that it shows: all of them, unless it was shortened.
    length: usize,
}

impl Buffer {
    /// Shows only the first `length` bytes from now on: a read into it is not longer.
    ///
    /// # Panics
    /// If it is shorter already.
    pub fn shorten(&mut self, length: usize) {
        assert!(length <= self.length, "a buffer is shortened, not extended");
        self.length = length;
    }

    /// Shows the whole region again.
    pub fn show_all(&mut self) {
        self.length = self.region.capacity();
    }

    /// Shares the first `length` bytes, immutable from now on.
    ///
    /// # Panics
    /// If the buffer is shorter than `length`.
    #[must_use]
    pub fn freeze(self, length: usize) -> Slice {
        assert!(length <= self.region.capacity(), "a slice lies inside its region");
        Slice { region: Arc::new(self.region), start: 0, length: length as u32, lent: None }
    }

    /// Makes the region a chunk that holds nothing yet.
    #[must_use]
    pub fn into_chunk(self) -> Chunk {
        Chunk { region: Arc::new(self.region), filled: 0 }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the memory is initialised for its whole capacity, which `length` never exceeds, and this Buffer is
        // its only holder.
        unsafe { std::slice::from_raw_parts(self.region.start(), self.length) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in deref, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.region.start(), self.length) }
    }
}

/// A region that grows in place: bytes before `filled` are shared and final, the rest is the chunk's own.
#[derive(Debug)]
pub struct Chunk {
    region: Arc<Region>,
    filled: usize,
}

impl Chunk {
    /// How many bytes it holds.
    #[must_use]
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// How many bytes it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.region.capacity()
    }

    /// How many bytes can still be added.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.capacity() - self.filled
    }

    /// The part not yet published, to be written before [`Chunk::publish`].
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let spare = self.spare();
        // SAFETY: slices only cover bytes before `filled` (see slice and publish), a Chunk is not Clone, and
        // `&mut self` excludes a second spare_mut, so nobody else can reach these initialised bytes.
        unsafe { std::slice::from_raw_parts_mut(self.region.start().add(self.filled), spare) }
    }

    /// Makes the first `bytes` of the spare part shared and final.
    ///
    /// # Panics
    /// If there is less spare room.
    pub fn publish(&mut self, bytes: usize) {
        assert!(bytes <= self.spare(), "only what fits the chunk can be published");
        self.filled += bytes;
    }

    /// Appends and publishes as much of `bytes` as fits; says how much that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.spare());
        self.spare_mut()[..taken].copy_from_slice(&bytes[..taken]);
        self.publish(taken);
        taken
    }

    /// A shared view of published bytes.
    ///
    /// # Panics
    /// If the range reaches beyond what is published.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Slice {
        assert!(range.start <= range.end && range.end <= self.filled, "only published bytes can be shared");
        let (start, length) = (range.start as u32, (range.end - range.start) as u32);
        Slice { region: Arc::clone(&self.region), start, length, lent: None }
    }
}

/// Immutable bytes that share ownership of their region. May be sent to, and dropped on, any thread.
#[derive(Debug, Clone)]
pub struct Slice {
    region: Arc<Region>,
    start: u32,
    length: u32,
    /// Counts the region among those that are lent.
    lent: Option<Lent>,
}

/// A region is lent as long as one of these lives.
#[derive(Debug)]
struct Lent(Arc<Region>);

impl Clone for Lent {
    fn clone(&self) -> Self {
        self.0.lent.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.0.lent.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.pool.lent_bytes.fetch_sub(self.0.capacity(), Ordering::Relaxed);
        }
    }
}

impl Slice {
    /// A part of this slice.
    ///
    /// # Panics
    /// If the range reaches beyond it.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.length as usize, "a part lies inside the whole");
        Self {
            region: Arc::clone(&self.region),
            start: self.start + range.start as u32,
            length: (range.end - range.start) as u32,
            lent: self.lent.clone(),
        }
    }

    /// The slice, to be held by somebody who gives it back when it pleases him: its region counts as lent until then, once
    /// for all such slices. None if the regions lent of its pool would have more than `limit_bytes` together. Called by
    /// the pool's owner alone.
    #[must_use]
    pub fn lend(&self, limit_bytes: usize) -> Option<Self> {
        let (region, pool) = (&self.region, &self.region.pool);
        if region.lent.fetch_add(1, Ordering::Relaxed) == 0 {
            let fits = |lent: usize| lent.checked_add(region.capacity()).filter(|&after| after <= limit_bytes);
            if pool.lent_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
                region.lent.fetch_sub(1, Ordering::Relaxed);
                return None;
            }
        }
        let lent = Some(Lent(Arc::clone(region)));
        Some(Self { region: Arc::clone(region), start: self.start, length: self.length, lent })
    }

    /// The unique buffer again, if nobody else holds a part of its region.
    #[must_use]
    pub fn into_buffer(mut self) -> Option<Buffer> {
        self.lent = None;
        Arc::into_inner(self.region).map(|region| Buffer { length: region.capacity(), region })
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: start + length ≤ capacity (checked by freeze and slice), the bytes are initialised, and nobody
        // writes published bytes while a Slice holds the region: Buffer is unique, Chunk writes beyond `filled` only.
        unsafe { std::slice::from_raw_parts(self.region.start().add(self.start as usize), self.length as usize) }
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_hands_out_nothing_until_something_returns() {
        let pool = Pool::new(64 << 10);
        let first = pool.allocate(40 << 10).expect("fits");
        assert!(pool.allocate(1).is_none(), "64 KiB region uses the whole budget");
        drop(first);
        assert_eq!(pool.used_bytes(), 0);
        assert!(pool.allocate(1).is_some());
    }

    #[test]
    fn slices_of_a_chunk_stay_as_they_were_while_it_grows() {
        let pool = Pool::new(1 << 20);
        let mut chunk = pool.allocate(4096).expect("fits").into_chunk();
        assert_eq!(chunk.append(b"first"), 5);
        let first = chunk.slice(0..5);
        let reader = std::thread::spawn(move || first.to_vec());
        chunk.spare_mut()[..6].copy_from_slice(b"second");
        chunk.publish(6);
        assert_eq!(&chunk.slice(0..11)[..], b"firstsecond");
        assert_eq!(reader.join().expect("reads"), b"first");
    }

    #[test]
    fn a_region_returns_when_its_last_slice_is_dropped() {
        let pool = Pool::new(1 << 20);
        let slice = pool.allocate(10).expect("fits").freeze(10);
        let part = slice.slice(2..4);
        drop(slice);
        assert_eq!(pool.used_bytes(), 4096);
        drop(part);
        assert_eq!(pool.used_bytes(), 0);
    }

    #[test]
    fn a_region_is_lent_once_until_its_last_holder_lets_go() {
        let pool = Pool::new(1 << 20);
        let slices: Vec<Slice> = (0..3).map(|_| pool.allocate(4096).expect("fits").freeze(4096)).collect();
        let first = slices[0].lend(8192).expect("within the limit");
        let parts = [slices[0].slice(0..10).lend(8192), first.clone().lend(4096), Some(first.slice(3..4))];
        assert!(parts.iter().all(Option::is_some), "it is lent already");
        assert_eq!(pool.lent_bytes(), 4096);
        let second = slices[1].lend(8192).expect("within the limit");
        assert!(slices[2].lend(8192).is_none(), "two regions are lent");
        assert_eq!(pool.lent_bytes(), 8192);
        drop(second);
        assert_eq!(pool.lent_bytes(), 4096);
        drop((first, slices));
        assert_eq!(pool.lent_bytes(), 4096, "the parts hold it");
        drop(parts);
        assert_eq!((pool.lent_bytes(), pool.used_bytes()), (0, 0));
    }

    #[test]
    fn memory_is_aligned_to_blocks() {
        let pool = Pool::new(1 << 26);
        for bytes in REGION_BYTES {
            let buffer = pool.allocate(bytes).expect("fits");
            assert_eq!(buffer.as_ptr() as usize % BLOCK_BYTES, 0);
        }
    }

    #[test]
    #[should_panic(expected = "only published bytes")]
    fn what_is_not_published_cannot_be_shared() {
        let pool = Pool::new(1 << 20);
        let chunk = pool.allocate(10).expect("fits").into_chunk();
        let _ = chunk.slice(0..1);
    }
}
