//! The seam between a shard and the world: operations go out as data, completions come back as data.
//!
//! Two drivers stand behind it, the ring (io_uring) and the simulated one (seeded time, disk and network), and one
//! contract suite runs against both. The shard itself does no I/O and reads no clock.

#[cfg(test)]
pub(crate) mod contract;
pub mod ring;
pub mod simulated;

use storage::buffer::Slice;

/// What one turn of a shard asks of its driver. Reused from turn to turn.
#[derive(Debug, Default)]
pub struct Ops {
    /// Socket operations, in order.
    pub net: Vec<net::ops::Op<Slice>>,
    /// File operations; their order carries no meaning.
    pub disk: Vec<storage::io::Request>,
}

impl Ops {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.net.is_empty() && self.disk.is_empty()
    }
}

/// The end of an operation, or something that came in. Borrowed bytes are valid during the call only.
#[derive(Debug)]
pub enum Completion<'a> {
    /// Of a socket.
    Net(net::ops::Event<'a, Slice>),
    /// Of a file.
    Disk(storage::io::Completion),
}

/// Carries out a shard's operations.
pub trait Driver {
    /// Takes every operation out of `ops`. Never blocks; what the kernel cannot take yet waits inside.
    fn submit(&mut self, ops: &mut Ops);

    /// Hands over what has completed so far, each completion once, then returns. Never blocks.
    fn complete(&mut self, each: &mut dyn FnMut(Completion<'_>));
}
