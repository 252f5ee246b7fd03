/// A larger buffer is not kept: what a rare large answer needed would be held for good.
const KEPT_BYTES_MAX: usize = 4096;

/// Buffers kept for reuse, at the most.
const KEPT_MAX: usize = 1024;

/// First capacity of an answer's buffer in bytes: holds most answers without growing.
const FIRST_BYTES: usize = 256;

/// Buffers of answers that were sent, for the next ones: those of all connections of a shard.
#[derive(Debug, Default)]
pub struct Buffers {
    free: Vec<Vec<u8>>,
}

impl Buffers {
    /// An empty buffer.
    pub fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_else(|| Vec::with_capacity(FIRST_BYTES))
    }

    /// Takes back a buffer that nobody needs any more.
    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        let is_kept = (1..=KEPT_BYTES_MAX).contains(&buffer.capacity()) && self.free.len() < KEPT_MAX;
        if is_kept {
            buffer.clear();
            self.free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_a_large_one_does_not() {
        let mut buffers = Buffers::default();
        let mut first = buffers.take();
        first.extend_from_slice(&[7; 1000]);
        let capacity = first.capacity();
        buffers.give(first);
        let again = buffers.take();
        assert!(again.is_empty() && again.capacity() == capacity);
        buffers.give(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        buffers.give(Vec::new());
        assert!(buffers.free.is_empty());
        (0..2 * KEPT_MAX).for_each(|_| buffers.give(Vec::with_capacity(1)));
        assert_eq!(buffers.free.len(), KEPT_MAX);
    }
}
