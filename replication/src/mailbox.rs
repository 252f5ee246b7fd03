//! Mailboxes: one lock-free, bounded queue per ordered pair of shards.
//!
//! ```text
//! shard a ── Sender ──► [ slots ] ──► Receiver ── shard b        requests of a, replies of a
//! shard a ◄─ Receiver ◄─ [ slots ] ◄── Sender ─── shard b        requests of b, replies of b
//! ```
//!
//! A request reserves the slot of its reply with [`Credits`], so that a reply always finds room:
//! requests a may have open towards b, plus replies a may owe b, are at most the slots from a to b. A shard without
//! credit keeps the request where it came from, within its connection's budget.
//!
//! A queue is allocated by the first mail that goes through it. What is full hands its payload back, remembers that
//! its sender waits, and the receiver rings the sender's [`Doorbell`] once it has made room: the flag `starved` is
//! set before the second try and read after a pop, with a full fence between on both sides, so either the second
//! try finds room or the receiver sees the flag (the argument of [`crate::wake`]).

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, OnceLock};

use crossbeam::queue::ArrayQueue;

use crate::wake::Doorbell;

/// Requests that one shard may have open towards one other at a time.
pub const REQUESTS_MAX: usize = 128;

/// Slots of one queue: the open requests of its sender, and the replies its sender owes.
pub const SLOTS: usize = 2 * REQUESTS_MAX;

#[derive(Debug)]
struct Queue<T> {
    slots: OnceLock<ArrayQueue<T>>,
    /// The last push found no room, and nobody has told the sender of any since.
    starved: AtomicBool,
    sender: Arc<Doorbell>,
    receiver: Arc<Doorbell>,
}

/// The end of a mailbox that one shard writes to. Not cloneable: one producer.
#[derive(Debug)]
pub struct Sender<T> {
    queue: Arc<Queue<T>>,
}

impl<T> Sender<T> {
    /// Leaves `mail` for the receiver, or hands it back if there is no room; the sender's doorbell is rung when
    /// there is. A sender that sleeps over mail handed back tries once more after [`Doorbell::drowsy`], since a bell
    /// rung before that wakes nobody. [`Sender::ring`] after the last push makes sure that the receiver looks.
    ///
    /// # Errors
    /// The mail itself, if the queue is full.
    pub fn push(&mut self, mail: T) -> Result<(), T> {
        let slots = self.queue.slots.get_or_init(|| ArrayQueue::new(SLOTS));
        let Err(mail) = slots.push(mail) else { return Ok(()) };
        self.queue.starved.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        slots.push(mail)
    }

    /// Wakes the receiver if it sleeps.
    pub fn ring(&self) {
        self.queue.receiver.ring();
    }
}

/// The end of a mailbox that one shard reads. Not cloneable: one consumer.
#[derive(Debug)]
pub struct Receiver<T> {
    queue: Arc<Queue<T>>,
}

impl<T> Receiver<T> {
    /// The oldest mail, if there is any.
    pub fn pop(&mut self) -> Option<T> {
        let mail = self.queue.slots.get()?.pop()?;
        fence(Ordering::SeqCst);
        if self.queue.starved.load(Ordering::Relaxed) && self.queue.starved.swap(false, Ordering::Relaxed) {
            self.queue.sender.ring();
        }
        Some(mail)
    }

    /// Whether there is no mail just now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.slots.get().is_none_or(ArrayQueue::is_empty)
    }
}

/// The mailbox from the shard with doorbell `sender` to the one with doorbell `receiver`.
#[must_use]
pub fn mailbox<T>(sender: Arc<Doorbell>, receiver: Arc<Doorbell>) -> (Sender<T>, Receiver<T>) {
    let queue = Arc::new(Queue { slots: OnceLock::new(), starved: AtomicBool::new(false), sender, receiver });
    (Sender { queue: Arc::clone(&queue) }, Receiver { queue })
}

/// All the ends one shard holds, by the other shard's number; nothing at its own.
#[derive(Debug)]
pub struct Mailboxes<T> {
    /// Towards each shard.
    pub senders: Vec<Option<Sender<T>>>,
    /// From each shard.
    pub receivers: Vec<Option<Receiver<T>>>,
}

/// The mailboxes of shards that each know all others: one per doorbell, in the order of the doorbells.
#[must_use]
pub fn mesh<T>(doorbells: &[Arc<Doorbell>]) -> Vec<Mailboxes<T>> {
    let count = doorbells.len();
    let mut shards: Vec<Mailboxes<T>> = (0..count)
        .map(|_| Mailboxes {
            senders: (0..count).map(|_| None).collect(),
            receivers: (0..count).map(|_| None).collect(),
        })
        .collect();
    for from in 0..count {
        for to in (0..count).filter(|&to| to != from) {
            let (sender, receiver) = mailbox(Arc::clone(&doorbells[from]), Arc::clone(&doorbells[to]));
            shards[from].senders[to] = Some(sender);
            shards[to].receivers[from] = Some(receiver);
        }
    }
    shards
}

/// How many more requests a shard may open towards one peer. Plain counters: both the request and its reply are
/// seen by the shard that owns them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credits {
    taken: usize,
}

impl Default for Credits {
    fn default() -> Self {
        Self::new()
    }
}

impl Credits {
    /// All of [`REQUESTS_MAX`].
    #[must_use]
    pub fn new() -> Self {
        Self { taken: 0 }
    }

    /// Reserves the slots of one request and its reply; false if none are left.
    #[must_use]
    pub fn try_take(&mut self) -> bool {
        let granted = self.taken < REQUESTS_MAX;
        self.taken += usize::from(granted);
        granted
    }

    /// The reply has come: its request's slots are free.
    ///
    /// # Panics
    /// If more is given back than was taken.
    pub fn give_back(&mut self) {
        assert!(self.taken > 0, "a reply belongs to a request that took a credit");
        self.taken -= 1;
    }

    /// How many requests are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Condvar, Mutex};

    use super::*;
    use crate::wake::Wake;

    /// Remembers a wake-up until somebody sleeps on it, as an eventfd does.
    #[derive(Default)]
    struct Bell {
        rung: Mutex<bool>,
        changed: Condvar,
        wakes: AtomicUsize,
    }

    impl Wake for Arc<Bell> {
        fn wake(&self) {
            self.wakes.fetch_add(1, Ordering::Relaxed);
            *self.rung.lock().expect("no holder panics") = true;
            self.changed.notify_one();
        }
    }

    impl Bell {
        fn sleep(&self) {
            let mut rung = self.rung.lock().expect("no holder panics");
            while !*rung {
                rung = self.changed.wait(rung).expect("no holder panics");
            }
            *rung = false;
        }
    }

    fn doorbell() -> (Arc<Bell>, Arc<Doorbell>) {
        let bell = Arc::new(Bell::default());
        let doorbell = Arc::new(Doorbell::new(Box::new(Arc::clone(&bell))));
        (bell, doorbell)
    }

    #[test]
    fn mail_arrives_in_order_and_a_full_queue_hands_it_back() {
        let (sleeper, awake) = (doorbell(), doorbell());
        let (mut sender, mut receiver) = mailbox(sleeper.1.clone(), awake.1);
        assert!(receiver.is_empty());
        for mail in 0..SLOTS {
            assert_eq!(sender.push(mail), Ok(()));
        }
        assert_eq!(sender.push(SLOTS), Err(SLOTS));
        sleeper.1.drowsy();
        assert_eq!(receiver.pop(), Some(0));
        assert_eq!(sleeper.0.wakes.load(Ordering::Relaxed), 1, "the starved sender learns of the room");
        assert_eq!(sender.push(SLOTS), Ok(()));
        for mail in 1..=SLOTS {
            assert_eq!(receiver.pop(), Some(mail));
        }
        assert_eq!(receiver.pop(), None);
    }

    #[test]
    fn a_queue_is_made_by_its_first_mail() {
        let (mut sender, mut receiver) = mailbox(doorbell().1, doorbell().1);
        assert_eq!(receiver.pop(), None);
        assert!(sender.queue.slots.get().is_none());
        assert_eq!(sender.push(1), Ok(()));
        assert!(sender.queue.slots.get().is_some());
    }

    #[test]
    fn every_ordered_pair_of_a_mesh_has_its_own_mailbox() {
        let bells: Vec<_> = (0..3).map(|_| doorbell().1).collect();
        let mut shards = mesh::<(usize, usize)>(&bells);
        for (from, shard) in shards.iter_mut().enumerate() {
            for (to, sender) in shard.senders.iter_mut().enumerate() {
                assert_eq!(sender.is_none(), from == to);
                if let Some(sender) = sender {
                    assert_eq!(sender.push((from, to)), Ok(()));
                }
            }
        }
        for (to, shard) in shards.iter_mut().enumerate() {
            for (from, receiver) in shard.receivers.iter_mut().enumerate() {
                assert_eq!(receiver.as_mut().and_then(Receiver::pop), (from != to).then_some((from, to)));
            }
        }
    }

    #[test]
    fn credits_end_at_their_bound_and_come_back() {
        let mut credits = Credits::new();
        for _ in 0..REQUESTS_MAX {
            assert!(credits.try_take());
        }
        assert!(!credits.try_take());
        credits.give_back();
        assert!(credits.try_take());
        assert_eq!(credits.open(), REQUESTS_MAX);
    }

    #[test]
    #[should_panic(expected = "a reply belongs to a request")]
    fn a_credit_that_was_not_taken_cannot_come_back() {
        Credits::new().give_back();
    }

    /// Two threads that sleep whenever they have nothing to do: a lost wake-up, in either direction, hangs it.
    #[test]
    fn neither_side_sleeps_through_mail_or_room() {
        const MAILS: usize = if cfg!(miri) { 600 } else { 200_000 };
        let (sender_bell, sender_doorbell) = doorbell();
        let (receiver_bell, receiver_doorbell) = doorbell();
        let (mut sender, mut receiver) = mailbox(Arc::clone(&sender_doorbell), Arc::clone(&receiver_doorbell));
        let producer = std::thread::spawn(move || {
            for mail in 0..MAILS {
                let mut pending = mail;
                while let Err(back) = sender.push(pending) {
                    sender_doorbell.drowsy();
                    match sender.push(back) {
                        Ok(()) => {
                            sender_doorbell.awake();
                            break;
                        }
                        Err(back) => pending = back,
                    }
                    sender.ring();
                    sender_bell.sleep();
                    sender_doorbell.awake();
                }
                sender.ring();
            }
        });
        let mut expected = 0;
        while expected < MAILS {
            if let Some(mail) = receiver.pop() {
                assert_eq!(mail, expected);
                expected += 1;
                continue;
            }
            receiver_doorbell.drowsy();
            if receiver.is_empty() {
                receiver_bell.sleep();
            }
            receiver_doorbell.awake();
        }
        producer.join().expect("the producer ends");
    }
}
