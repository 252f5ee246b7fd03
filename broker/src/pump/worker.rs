//! One shard's loop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use replication::mailbox::{Mailboxes, SLOTS};

use super::Shared;
use super::spin::{self, Spin};
use crate::driver::ring::Ring;
use crate::driver::{Driver, Ops};
use crate::turn::{Next, Now, Turn};

/// Looks at the ring and the mailboxes between two looks at the clock while spinning.
const LOOKS_PER_CLOCK: usize = 16;

/// A shard with all it runs on. Lives on the shard's thread.
pub(super) struct Worker<T: Turn> {
    ring: Ring,
    turn: T,
    mailboxes: Mailboxes<T::Mail>,
    index: usize,
    shared: Arc<Shared>,
    ops: Ops,
    outbox: Vec<(usize, T::Mail)>,
    /// Mail that found its mailbox full, by receiver, oldest first. Requests take credits and replies have their
    /// slots, so this holds other mail only, and no more of it than turns have sent.
    undelivered: Vec<VecDeque<T::Mail>>,
    spin: Spin,
    told_to_stop: bool,
    has_stopped: bool,
}

impl<T: Turn> Worker<T> {
    pub(super) fn new(ring: Ring, turn: T, mailboxes: Mailboxes<T::Mail>, index: usize, shared: Arc<Shared>) -> Self {
        let undelivered = mailboxes.senders.iter().map(|_| VecDeque::new()).collect();
        Self {
            ring,
            turn,
            mailboxes,
            index,
            shared,
            ops: Ops::default(),
            outbox: Vec::new(),
            undelivered,
            spin: Spin::default(),
            told_to_stop: false,
            has_stopped: false,
        }
    }

    /// Gives the shard turns until every shard has stopped.
    pub(super) fn run(mut self) {
        loop {
            let now = self.now();
            self.turn.begin(now);
            let Self { ring, turn, .. } = &mut self;
            ring.complete(&mut |completion| turn.complete(completion));
            self.take_mail();
            if !self.told_to_stop && self.shared.stop.load(Ordering::Acquire) {
                self.told_to_stop = true;
                self.turn.stop();
            }
            let next = self.turn.turn(now, &mut self.ops, &mut self.outbox);
            self.ring.submit(&mut self.ops);
            self.post();
            if self.turn.wants_time_spent() {
                self.turn.spent(self.monotonic_ns() - now.monotonic_ns);
            }
            match next {
                Next::Busy => {}
                Next::Idle { deadline_ns } => self.rest(deadline_ns),
                Next::Halt => std::process::exit(super::HALTED),
                Next::Stop => {
                    self.note_stop();
                    if self.all_have_stopped() {
                        return;
                    }
                    self.rest(None);
                }
            }
        }
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { monotonic_ns: self.monotonic_ns(), wall_ms: wall.as_millis() as i64 }
    }

    fn monotonic_ns(&self) -> u64 {
        self.shared.origin.elapsed().as_nanos() as u64
    }

    /// Takes what lies in the mailboxes, at most a full one from each shard.
    fn take_mail(&mut self) {
        for (from, receiver) in self.mailboxes.receivers.iter_mut().enumerate() {
            let Some(receiver) = receiver else { continue };
            for _ in 0..SLOTS {
                let Some(mail) = receiver.pop() else { break };
                self.turn.mail(from, mail);
            }
        }
    }

    fn has_mail(&self) -> bool {
        self.mailboxes.receivers.iter().flatten().any(|receiver| !receiver.is_empty())
    }

    /// Sends what the turn has left in the outbox, behind what found no room before.
    fn post(&mut self) {
        for (to, mail) in self.outbox.drain(..) {
            assert_ne!(to, self.index, "a shard sends itself no mail");
            self.undelivered[to].push_back(mail);
        }
        self.deliver();
    }

    /// Sends what has not been delivered, as far as there is room; says whether anything was sent.
    fn deliver(&mut self) -> bool {
        let mut any = false;
        for (waiting, sender) in self.undelivered.iter_mut().zip(&mut self.mailboxes.senders) {
            let (false, Some(sender)) = (waiting.is_empty(), sender) else { continue };
            let before = waiting.len();
            while let Some(mail) = waiting.pop_front() {
                if let Err(mail) = sender.push(mail) {
                    waiting.push_front(mail);
                    break;
                }
            }
            if waiting.len() < before {
                any = true;
                sender.ring();
            }
        }
        any
    }

    fn note_stop(&mut self) {
        if !self.has_stopped {
            self.has_stopped = true;
            if self.shared.running.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.shared.ring_all();
            }
        }
    }

    fn all_have_stopped(&self) -> bool {
        self.has_stopped && self.shared.running.load(Ordering::Acquire) == 0
    }

    /// Waits until there is something to do or the deadline has come.
    fn rest(&mut self, deadline_ns: Option<u64>) {
        let now = deadline_ns.map_or(0, |_| self.monotonic_ns());
        if deadline_ns.is_some_and(|deadline| deadline <= now) {
            return;
        }
        if self.spin.is_due() {
            self.ring.flush();
            if self.spin_for_work() {
                self.spin.paid();
                return;
            }
            self.spin.was_in_vain();
        }
        self.shared.doorbells[self.index].drowsy();
        // Whatever came before the shard was drowsy rang no bell, room in a mailbox that was full included.
        let stops = self.shared.stop.load(Ordering::Acquire) && !self.told_to_stop;
        if !stops && !self.all_have_stopped() && !self.has_mail() && !self.deliver() {
            self.ring.wait(deadline_ns.map(|deadline| Duration::from_nanos(deadline - now)));
        }
        self.shared.doorbells[self.index].awake();
    }

    fn spin_for_work(&mut self) -> bool {
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS_PER_CLOCK {
                if self.ring.is_ready() || self.has_mail() {
                    return true;
                }
                std::hint::spin_loop();
            }
            if start.elapsed() >= Duration::from_nanos(spin::WINDOW_NS) {
                return false;
            }
        }
    }
}
