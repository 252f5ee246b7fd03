//! A fingerprint of everything that happens, to compare two runs of one seed.

/// A running hash of events, in order (FNV-1a over 64-bit words, with a final mix).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    state: u64,
}

impl Default for Trace {
    fn default() -> Self {
        Self { state: 0xcbf2_9ce4_8422_2325 }
    }
}

impl Trace {
    /// Adds an event: what it is, and what tells it from others of its kind.
    pub fn add(&mut self, event: Event, details: &[u64]) {
        tracing::trace!(?event, ?details);
        self.word(event as u64);
        for &detail in details {
            self.word(detail);
        }
    }

    fn word(&mut self, word: u64) {
        self.state = (self.state ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    /// The fingerprint so far.
    #[must_use]
    pub fn hash(self) -> u64 {
        self.state ^ (self.state >> 32)
    }
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A node starts.
    Start,
    /// A node ends.
    End,
    /// A shard's turn.
    Turn,
    /// A completion handed to a shard.
    Completion,
    /// Mail handed to a shard.
    Mail,
    /// A response that a client got.
    Response,
    /// A connection that a client lost.
    Lost,
}
