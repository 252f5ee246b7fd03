use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded, never};

/// A person's wish to stop, as every waiting loop of the client sees it: a channel that is disconnected by it, so that
/// it can be selected on together with others and stays set.
#[derive(Debug, Clone)]
pub struct Interrupt {
    wish: Receiver<()>,
}

/// What sets an [`Interrupt`]: by being dropped.
#[derive(Debug)]
pub struct Trigger {
    _wish: Sender<()>,
}

impl Interrupt {
    /// An interrupt and what sets it.
    pub fn new() -> (Trigger, Self) {
        let (sender, wish) = bounded(0);
        (Trigger { _wish: sender }, Self { wish })
    }

    /// One that nothing sets.
    pub fn never() -> Self {
        Self { wish: never() }
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.wish.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Ready to be received from, with a disconnection, as soon as it is set.
    pub fn channel(&self) -> &Receiver<()> {
        &self.wish
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_set_once_its_trigger_is_gone_and_stays_set() {
        let (trigger, interrupt) = Interrupt::new();
        assert!(!interrupt.is_set());
        drop(trigger);
        assert!(interrupt.is_set() && interrupt.clone().is_set());
        assert!(!Interrupt::never().is_set());
    }
}
