//! Waking a shard that sleeps, without waking one that does not and without losing a wake-up.
//!
//! ```text
//! sleeper                               waker
//! 1 sleeping := true                    a publish work
//! 2 full fence                          b full fence
//! 3 look for work: found → awake        c sleeping? swap to false → Wake::wake
//! 4 sleep until woken
//! 5 sleeping := false
//! ```
//!
//! The two fences are totally ordered. If the sleeper's comes first, the waker sees 1 at c and wakes it; if the
//! waker's comes first, the sleeper sees a at 3 and stays awake. In either case the work is seen. The swap lets one
//! of many wakers pay for the wake-up.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Ends the sleep of one shard, from any thread. A wake-up given to a shard that is about to sleep must end that
/// sleep too: it is remembered, as by an eventfd.
pub trait Wake: Send + Sync {
    /// Wakes it.
    fn wake(&self);
}

/// One shard's doorbell, shared by all who leave work for it.
pub struct Doorbell {
    sleeping: AtomicBool,
    wake: Box<dyn Wake>,
}

impl fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doorbell").field("sleeping", &self.sleeping).finish_non_exhaustive()
    }
}

impl Doorbell {
    /// A doorbell of a shard that is awake.
    #[must_use]
    pub fn new(wake: Box<dyn Wake>) -> Self {
        Self { sleeping: AtomicBool::new(false), wake }
    }

    /// Says that work was left; wakes the shard if it sleeps. Call it after the work was published.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed) {
            self.wake.wake();
        }
    }

    /// Announces that the shard is about to sleep. It must look for work once more before it does, and call
    /// [`Doorbell::awake`] afterwards in any case.
    pub fn drowsy(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Says that the shard is awake again and needs no wake-up.
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Arc<Count> {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_a_sleeping_shard_is_woken_and_only_once() {
        let count = Arc::new(Count::default());
        let bell = Doorbell::new(Box::new(Arc::clone(&count)));
        bell.ring();
        assert_eq!(count.0.load(Ordering::Relaxed), 0, "awake: nobody to wake");
        bell.drowsy();
        bell.ring();
        bell.ring();
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "the first ring wakes");
        bell.drowsy();
        bell.awake();
        bell.ring();
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "awake again");
    }
}
