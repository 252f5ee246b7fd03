//! Small writes into the page cache, made at once.
//!
//! A file system that cannot promise not to block (ext4, for one) has a worker of the kernel make each buffered write of a
//! ring: two context switches and a wake-up for what is a copy of a few kilobytes. So small ones are made by the shard
//! itself. They may block it, where much is dirty or the file system commits; so it watches the clock, and after a slow
//! one the workers have the next.
//!
//! ```text
//! quick ─── a write took SLOW or longer ──► patient: the next PATIENCE writes go to the ring ──► quick
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use storage::buffer::Slice;

/// Larger writes go to the ring: their copy would hold up the turn.
const BYTES_MAX: usize = 64 << 10;

/// A write of that size takes some 20 µs where nothing is in its way; other work on the CPU may hold it up for a slice of time.
const SLOW: Duration = Duration::from_millis(5);

/// Writes that go to the ring after a slow one.
const PATIENCE: u32 = 200;

/// Whether writes are made at once for now.
#[derive(Debug, Default)]
pub(super) struct Inline {
    /// Writes to come that go to the ring.
    patience: u32,
}

impl Inline {
    /// Writes all of `data`, or says that the ring has to: it is not small, the disk was slow lately, or the system refused,
    /// which the ring will find out as well.
    pub(super) fn write(&mut self, file: &File, position: u64, data: &[Slice]) -> bool {
        let [only] = data else { return false };
        if only.len() > BYTES_MAX {
            return false;
        }
        if self.patience > 0 {
            self.patience -= 1;
            return false;
        }
        let start = Instant::now();
        let written = file.write_at(only, position);
        self.note(start.elapsed());
        matches!(written, Ok(bytes) if bytes == only.len())
    }

    fn note(&mut self, took: Duration) {
        if took >= SLOW {
            self.patience = PATIENCE;
        }
    }
}

#[cfg(test)]
mod tests {
    use storage::buffer::Pool;

    use super::*;

    fn slice(bytes: usize) -> Slice {
        let mut buffer = Pool::new(1 << 20).allocate(bytes).expect("within the budget");
        buffer.fill(7);
        buffer.freeze(bytes)
    }

    #[test]
    fn small_writes_are_made_at_once_and_others_left_to_the_ring() {
        let file = tempfile::tempfile().expect("a file");
        let mut inline = Inline::default();
        assert!(inline.write(&file, 3, &[slice(100)]));
        let mut read = [0; 103];
        file.read_exact_at(&mut read, 0).expect("as long as that");
        assert!(read[..3] == [0; 3] && read[3..] == [7; 100]);
        inline.patience = 0;
        assert!(!inline.write(&file, 0, &[slice(BYTES_MAX + 1)]));
        assert!(!inline.write(&file, 0, &[slice(1), slice(1)]));
    }

    #[test]
    fn after_a_slow_write_the_ring_has_the_next_ones() {
        let file = tempfile::tempfile().expect("a file");
        let mut inline = Inline::default();
        inline.note(SLOW);
        for _ in 0..PATIENCE {
            assert!(!inline.write(&file, 0, &[slice(1)]));
        }
        assert!(inline.write(&file, 0, &[slice(1)]));
    }
}
