//! Asking every shard on behalf of requests, and giving each the answers.
//!
//! A shard has at most one inquiry of a kind open, so a mailbox never fills, whoever scrapes how often. Requests that come
//! while a round is under way share it. A shard that is silent for [`ANSWER_MAX`] is left out of the round; its late
//! answer counts for the next one.
//!
//! What clients push of themselves comes here by itself, is read, and is shown by [`Clients`].

use std::sync::Arc;
use std::time::Duration;

use replication::mailbox::Mailboxes;
use replication::wake::Doorbell;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::clients::Clients;
use crate::shard::lags::GroupLag;
use crate::shard::mail::Mail;
use crate::shard::report::{Health, Inquiry, Report, Told};

/// How long a shard may take to answer: a turn takes milliseconds, and no turn waits for a disk.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(2);

/// By shard; nothing from those that were silent.
pub(super) type Answers<T> = Vec<Option<Arc<T>>>;

/// Somebody wants to know about every shard.
#[derive(Debug)]
pub(super) enum Asked {
    Health(oneshot::Sender<Answers<Health>>),
    Reports(oneshot::Sender<Answers<Report>>),
    Lags(oneshot::Sender<Answers<Vec<GroupLag>>>),
    /// The page of what clients push; no shard is asked for it.
    Clients(oneshot::Sender<String>),
}

/// One question to all shards and those who wait for the answers.
#[derive(Debug)]
struct Round<T> {
    inquiry: Inquiry,
    /// Whether the shard owes an answer, of this round or an earlier one.
    is_open: Vec<bool>,
    answers: Answers<T>,
    waiting: Vec<oneshot::Sender<Answers<T>>>,
    /// When it ends with what there is; none while nobody waits.
    deadline: Option<Instant>,
}

impl<T> Round<T> {
    fn new(inquiry: Inquiry) -> Self {
        Self { inquiry, is_open: Vec::new(), answers: Vec::new(), waiting: Vec::new(), deadline: None }
    }

    fn join(&mut self, waiter: oneshot::Sender<Answers<T>>, mailboxes: &mut Mailboxes<Mail>) {
        self.waiting.push(waiter);
        if self.deadline.is_some() {
            return;
        }
        self.deadline = Some(Instant::now() + ANSWER_MAX);
        let shards = mailboxes.senders.iter_mut().flatten();
        for (is_open, sender) in self.is_open.iter_mut().zip(shards).filter(|(is_open, _)| !**is_open) {
            *is_open = sender.push(Mail::Inquiry(self.inquiry)).is_ok();
            sender.ring();
        }
    }

    fn told(&mut self, shard: usize, answer: T) {
        self.is_open[shard] = false;
        if self.deadline.is_some() {
            self.answers[shard] = Some(Arc::new(answer));
        }
    }

    /// Ends the round if every shard has answered or the time is over.
    fn settle(&mut self, now: Instant) {
        let Some(deadline) = self.deadline else { return };
        if now < deadline && self.answers.iter().any(Option::is_none) {
            return;
        }
        self.deadline = None;
        let nothing = vec![None; self.answers.len()];
        let answers = std::mem::replace(&mut self.answers, nothing);
        for waiter in self.waiting.drain(..) {
            // Who has hung up needs no answer.
            let _ = waiter.send(answers.clone());
        }
    }

    fn resize(&mut self, shards: usize) {
        self.is_open.resize(shards, false);
        self.answers.resize_with(shards, || None);
    }
}

/// The end of the mailboxes that is the admin thread's.
#[derive(Debug)]
pub(super) struct Courier {
    doorbell: Arc<Doorbell>,
    bell: Arc<Notify>,
    requests: mpsc::Receiver<Asked>,
    health: Round<Health>,
    reports: Round<Report>,
    lags: Round<Vec<GroupLag>>,
    clients: Clients,
}

impl Courier {
    pub(super) fn new(doorbell: Arc<Doorbell>, bell: Arc<Notify>, requests: mpsc::Receiver<Asked>) -> Self {
        let health = Round::new(Inquiry::Health);
        let reports = Round::new(Inquiry::Report);
        let lags = Round::new(Inquiry::Lags);
        Self { doorbell, bell, requests, health, reports, lags, clients: Clients::default() }
    }

    /// Works as long as somebody may ask.
    pub(super) async fn run(mut self, delivered: oneshot::Receiver<Mailboxes<Mail>>) {
        let Some(mut mailboxes) = self.await_shards(delivered).await else { return };
        let shards = mailboxes.receivers.iter().flatten().count();
        self.health.resize(shards);
        self.reports.resize(shards);
        self.lags.resize(shards);
        loop {
            self.take_mail(&mut mailboxes);
            let now = Instant::now();
            self.health.settle(now);
            self.reports.settle(now);
            self.lags.settle(now);
            self.doorbell.drowsy();
            if mailboxes.receivers.iter().flatten().any(|receiver| !receiver.is_empty()) {
                self.doorbell.awake();
                continue;
            }
            let deadline =
                [self.health.deadline, self.reports.deadline, self.lags.deadline].into_iter().flatten().min();
            let asked = tokio::select! {
                () = self.bell.notified() => None,
                () = tokio::time::sleep_until(deadline.unwrap_or(now)), if deadline.is_some() => None,
                asked = self.requests.recv() => match asked {
                    Some(asked) => Some(asked),
                    None => return,
                },
            };
            self.doorbell.awake();
            match asked {
                Some(Asked::Health(waiter)) => self.health.join(waiter, &mut mailboxes),
                Some(Asked::Reports(waiter)) => self.reports.join(waiter, &mut mailboxes),
                Some(Asked::Lags(waiter)) => self.lags.join(waiter, &mut mailboxes),
                // Who has hung up needs no answer.
                Some(Asked::Clients(waiter)) => drop(waiter.send(self.clients.page(Instant::now()))),
                None => {}
            }
        }
    }

    /// Waits for the shards' mailboxes; who asks before is told that there are no shards.
    async fn await_shards(&mut self, mut delivered: oneshot::Receiver<Mailboxes<Mail>>) -> Option<Mailboxes<Mail>> {
        loop {
            let asked = tokio::select! {
                mailboxes = &mut delivered => return mailboxes.ok(),
                asked = self.requests.recv() => asked?,
            };
            // Who has hung up needs no answer.
            match asked {
                Asked::Health(waiter) => drop(waiter.send(Vec::new())),
                Asked::Reports(waiter) => drop(waiter.send(Vec::new())),
                Asked::Lags(waiter) => drop(waiter.send(Vec::new())),
                Asked::Clients(waiter) => drop(waiter.send(self.clients.page(Instant::now()))),
            }
        }
    }

    fn take_mail(&mut self, mailboxes: &mut Mailboxes<Mail>) {
        let ends = mailboxes.receivers.iter_mut().zip(&mut mailboxes.senders);
        let ends = ends.filter_map(|(receiver, sender)| Some((receiver.as_mut()?, sender.as_mut()?)));
        for (shard, (receiver, sender)) in ends.enumerate() {
            while let Some(mail) = receiver.pop() {
                match mail {
                    Mail::Told(Told::Health(health)) => self.health.told(shard, health),
                    Mail::Told(Told::Report(report)) => self.reports.told(shard, *report),
                    Mail::Told(Told::Lags(lags)) => self.lags.told(shard, lags),
                    Mail::Push { request, push } => {
                        let is_readable = self.clients.take(&push, Instant::now());
                        let told = sender.push(Mail::PushRead { request, is_readable });
                        assert!(told.is_ok(), "pushes under way are fewer than the mailbox's slots");
                        sender.ring();
                    }
                    other => unreachable!("shards tell the admin thread nothing else: {other:?}"),
                }
            }
        }
    }
}
