//! Turns of small state machines on real rings.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use replication::mailbox::SLOTS;
use replication::wake::{Doorbell, Wake};

use super::{Config, start, start_observed};
use crate::driver::{Completion, Ops};
use crate::turn::{Next, Now, Turn};

fn config() -> Config {
    Config { directories: vec![Some(std::env::temp_dir())], listeners: Vec::new(), cores: super::cores::available() }
}

/// What each method does, as closures over a state of the test.
struct Script<S, M> {
    state: S,
    on_mail: fn(&mut S, usize, M),
    on_turn: fn(&mut S, Now, &mut Vec<(usize, M)>) -> Next,
    stopping: bool,
}

impl<S, M: Send + 'static> Turn for Script<S, M> {
    type Mail = M;

    fn begin(&mut self, _now: Now) {}

    fn complete(&mut self, _completion: Completion<'_>) {}

    fn mail(&mut self, from: usize, mail: M) {
        (self.on_mail)(&mut self.state, from, mail);
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn turn(&mut self, now: Now, _ops: &mut Ops, outbox: &mut Vec<(usize, M)>) -> Next {
        let next = (self.on_turn)(&mut self.state, now, outbox);
        if self.stopping { Next::Stop } else { next }
    }
}

#[test]
fn two_shards_that_sleep_between_mails_pass_a_ball() {
    const PASSES: u32 = 20_000;
    /// A player's number, and the ball while it has it.
    type Player = (usize, Option<u32>);
    let player = |index: usize, ball: Option<u32>| {
        move || Script::<Player, u32> {
            state: (index, ball),
            on_mail: |state, from, ball| {
                assert_eq!(from, 1 - state.0);
                state.1 = Some(ball);
            },
            on_turn: |(index, ball), _, outbox| match *ball {
                Some(PASSES) => Next::Stop,
                Some(passes) => {
                    outbox.push((1 - *index, passes + 1));
                    // Whoever makes the last pass is done; everybody else waits for the ball.
                    *ball = (passes + 1 == PASSES).then_some(PASSES);
                    if ball.is_some() { Next::Stop } else { Next::Idle { deadline_ns: None } }
                }
                None => Next::Idle { deadline_ns: None },
            },
            stopping: false,
        }
    };
    // A wake-up that is lost would leave both asleep for ever.
    start(config(), vec![player(0, Some(0)), player(1, None)]).expect("rings").join();
}

#[test]
fn a_peer_behind_the_shards_exchanges_mail_with_each_of_them() {
    struct Bell(Mutex<Sender<()>>);
    impl Wake for Bell {
        fn wake(&self) {
            self.0.lock().expect("no holder panics").send(()).expect("the test waits for it");
        }
    }
    type Post = Vec<(usize, u32)>;
    let echo = || {
        || Script::<Post, u32> {
            state: Vec::new(),
            on_mail: |state, from, mail| state.push((from, mail)),
            on_turn: |state, _, outbox| {
                outbox.extend(state.drain(..).map(|(from, mail)| (from, mail + 1)));
                Next::Idle { deadline_ns: None }
            },
            stopping: false,
        }
    };
    let (ring, rung) = mpsc::channel();
    let doorbell = Arc::new(Doorbell::new(Box::new(Bell(Mutex::new(ring)))));
    let (node, mut mailboxes) = start_observed(config(), vec![echo(), echo()], Arc::clone(&doorbell)).expect("rings");
    for (sender, mail) in mailboxes.senders.iter_mut().flatten().zip([10, 20]) {
        sender.push(mail).expect("there is room");
        sender.ring();
    }
    let mut answers = [None, None];
    while answers.contains(&None) {
        doorbell.drowsy();
        let mut any = false;
        for (answer, receiver) in answers.iter_mut().zip(mailboxes.receivers.iter_mut().flatten()) {
            let mail = receiver.pop();
            any |= mail.is_some();
            *answer = answer.or(mail);
        }
        if !any {
            rung.recv_timeout(Duration::from_secs(60)).expect("a shard that leaves mail rings");
        }
        doorbell.awake();
    }
    assert_eq!(answers, [Some(11), Some(21)]);
    node.stopper().stop();
    node.join();
}

#[test]
fn a_deadline_wakes_a_sleeping_shard_in_time_and_not_before() {
    type Alarm = (Option<u64>, Sender<(u64, u64)>);
    let (report, reports) = mpsc::channel();
    let make = move || Script::<Alarm, ()> {
        state: (None, report),
        on_mail: |_, _, ()| {},
        on_turn: |(deadline, report), now, _| match *deadline {
            Some(deadline_ns) if now.monotonic_ns >= deadline_ns => {
                report.send((deadline_ns, now.monotonic_ns)).expect("the test waits");
                Next::Stop
            }
            Some(_) => Next::Stop,
            None => {
                *deadline = Some(now.monotonic_ns + 30_000_000);
                Next::Idle { deadline_ns: *deadline }
            }
        },
        stopping: false,
    };
    start(config(), vec![make]).expect("a ring").join();
    let (deadline, woken) = reports.recv().expect("the shard was not woken before the deadline");
    assert!(woken >= deadline, "{woken} is before {deadline}");
}

#[test]
fn a_node_that_sleeps_can_be_stopped() {
    let make = || Script::<(), ()> {
        state: (),
        on_mail: |(), _, ()| {},
        on_turn: |(), _, _| Next::Idle { deadline_ns: None },
        stopping: false,
    };
    let node = start(config(), vec![make, make, make]).expect("rings");
    let stopper = node.stopper();
    let asked = Instant::now();
    stopper.stop();
    node.join();
    assert!(asked.elapsed() < Duration::from_secs(5), "nobody waits for the drain's limit");
}

#[test]
fn more_mail_than_a_mailbox_holds_arrives_in_order() {
    const MAILS: usize = 10 * SLOTS;
    let make = |index: usize| {
        move || Script::<(usize, usize), usize> {
            state: (index, 0),
            on_mail: |state, _, mail| {
                assert_eq!(mail, state.1, "in order");
                state.1 += 1;
            },
            on_turn: |(index, count), _, outbox| {
                if *index == 0 && *count == 0 {
                    outbox.extend((0..MAILS).map(|mail| (1, mail)));
                    *count = MAILS;
                }
                if *count == MAILS { Next::Stop } else { Next::Idle { deadline_ns: None } }
            },
            stopping: false,
        }
    };
    start(config(), vec![make(0), make(1)]).expect("rings").join();
}

#[test]
fn a_node_without_its_directory_says_so() {
    let config = Config { directories: vec![Some("/nowhere/at/all".into())], ..config() };
    let make = || Script::<(), ()> {
        state: (),
        on_mail: |(), _, ()| {},
        on_turn: |(), _, _| Next::Idle { deadline_ns: None },
        stopping: false,
    };
    let error = start(config, vec![make]).expect_err("the directory is missing").to_string();
    assert!(error.starts_with("shard 0 cannot start") && error.contains("No such file"), "{error}");
}
