//! A connection against a model: a list of requests and a list of answers.
//!
//! The client's bytes come in any split, answers are handed in in any order, sends are short; still every request is
//! seen once and whole, and the answers leave whole and in the order of the requests.

use bytes::BytesMut;
use net::connection::{AnswerId, Buffers, Limits, Origin};
use net::fetch::{ResponseHead, ResponseWriter};
use net::ops::{ConnectionId, ListenerId, Op, SEND_PARTS_MAX, Send};
use net::{Answer, Connection, Topic, api, frame};
use proptest::collection::vec;
use proptest::prelude::*;

type Payload = Vec<u8>;

const LIMITS: Limits = Limits {
    frame_bytes_max: 31_000,
    direct_bytes_min: 3_000,
    requests_max: 5,
    request_bytes_max: 20_000,
    unsent_bytes_max: 50_000,
};

/// Each round of the end brings one of at most 30 requests a step further.
const FINISH_ROUNDS_MAX: usize = 1000;

fn connection() -> Connection<Payload> {
    let address = ([127, 0, 0, 1], 9092).into();
    let origin = Origin { listener: ListenerId(0), peer: address, local: address };
    Connection::new(ConnectionId(3), origin, LIMITS, AnswerId(70), 0)
}

/// A heartbeat request; the group id makes it as large as wanted.
fn request(correlation_id: i32, bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let group_id = "g".repeat(bytes.min(30_000));
    let message = api::heartbeat::Request { group_id: group_id.into(), ..Default::default() };
    frame::put_request(&mut out, 4, correlation_id, Some("model"), &message);
    out
}

/// A fetch answer with records of these sizes; without records a short answer of another kind, with one size a text of
/// that size.
fn answer(correlation_id: i32, records: &[usize]) -> Answer<Payload> {
    match records {
        [] => return Answer::of(Vec::new(), 4, correlation_id, &api::heartbeat::Response::default()),
        &[bytes] => {
            let mechanisms = vec!["m".repeat(bytes).into()];
            let message = api::sasl_handshake::Response { mechanisms, ..Default::default() };
            return Answer::of(Vec::new(), 1, correlation_id, &message);
        }
        _ => {}
    }
    // Before version 12 nothing follows the last records: several slices stand at the very end.
    let version = if correlation_id % 2 == 0 { 12 } else { 11 };
    let mut writer = ResponseWriter::new(Vec::new(), version, correlation_id, ResponseHead::default());
    writer.topic(Topic::Name("t"));
    for &bytes in records {
        let slices = [vec![correlation_id as u8; bytes], vec![0xee; bytes / 2]];
        writer.partition(&api::fetch::ResponseResponsesPartitions::default(), slices);
    }
    writer.finish(&[])
}

#[derive(Debug, Clone)]
enum Step {
    /// Up to so many bytes come in, if they are wanted or the client pushes its luck.
    Receive { bytes: usize, unwanted: bool },
    /// One of the answers owed is handed in, with records of these sizes.
    Fulfil { which: usize, records: Vec<usize> },
    /// A send is started, of at most so many parts.
    Send { parts_max: usize },
    /// The send in flight ends after so many bytes.
    Sent { bytes: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let records = vec(prop_oneof![0..20_usize, 4090..4100_usize, 0..20_000_usize], 0..6);
    let parts_max = prop_oneof![2..6_usize, Just(SEND_PARTS_MAX)];
    vec(
        prop_oneof![
            3 => (0..5_000_usize, any::<bool>()).prop_map(|(bytes, unwanted)| Step::Receive { bytes, unwanted }),
            1 => (0..90_000_usize, Just(false)).prop_map(|(bytes, unwanted)| Step::Receive { bytes, unwanted }),
            3 => (any::<usize>(), records).prop_map(|(which, records)| Step::Fulfil { which, records }),
            3 => parts_max.prop_map(|parts_max| Step::Send { parts_max }),
            2 => (0..10_000_usize).prop_map(|bytes| Step::Sent { bytes }),
            1 => Just(Step::Sent { bytes: usize::MAX }),
        ],
        0..200,
    )
}

/// The connection, the model, and the wire between them.
struct World {
    connection: Connection<Payload>,
    requests: Vec<Vec<u8>>,
    incoming: Vec<u8>,
    received: usize,
    /// Requests seen.
    seen: usize,
    owed: Vec<(AnswerId, usize)>,
    /// Answers by the number of their request.
    answers: Vec<Option<Vec<u8>>>,
    in_flight: Option<Send<Payload>>,
    outgoing: Vec<u8>,
}

impl World {
    fn new(sizes: &[usize]) -> Self {
        let requests: Vec<_> = sizes.iter().enumerate().map(|(number, &bytes)| request(number as i32, bytes)).collect();
        Self {
            connection: connection(),
            incoming: requests.concat(),
            received: 0,
            seen: 0,
            owed: Vec::new(),
            answers: vec![None; requests.len()],
            requests,
            in_flight: None,
            outgoing: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Receive { bytes, unwanted } => {
                if !self.connection.wants_receive(0) {
                    if unwanted {
                        self.receive(bytes);
                    }
                } else if let Op::ReceiveInto { buffer, .. } = self.connection.next_receive() {
                    self.receive_into(buffer, bytes);
                } else {
                    self.receive(bytes);
                }
            }
            Step::Fulfil { which, records } if !self.owed.is_empty() => {
                self.fulfil(which % self.owed.len(), &records);
                self.take_requests(&[]);
            }
            Step::Send { parts_max } if self.in_flight.is_none() => {
                self.in_flight = self.connection.next_send(parts_max, &mut Buffers::default());
                let parts = self.in_flight.as_ref().map_or(1, |send| send.parts.len());
                assert!((1..=SEND_PARTS_MAX).contains(&parts));
            }
            Step::Sent { bytes } => self.sent(bytes),
            Step::Send { parts_max } => {
                assert!(self.connection.next_send(parts_max, &mut Buffers::default()).is_none(), "one is in flight")
            }
            Step::Fulfil { .. } => {}
        }
        assert_eq!(self.connection.owed(), self.owed.len());
        assert!(self.owed.len() <= LIMITS.requests_max);
        let carried_out: usize = self.owed.iter().map(|&(_, number)| self.requests[number].len()).sum();
        assert!(carried_out < LIMITS.request_bytes_max + LIMITS.frame_bytes_max);
        assert!(!(self.connection.wants_receive(0) && self.connection.has_request(0)));
    }

    fn receive(&mut self, bytes: usize) {
        let end = (self.received + bytes).min(self.incoming.len());
        let data = self.incoming[self.received..end].to_vec();
        self.received = end;
        self.take_requests(&data);
    }

    fn receive_into(&mut self, mut buffer: BytesMut, bytes: usize) {
        let room = buffer.capacity() - buffer.len();
        assert!(room > 0, "there is something to receive into");
        assert!(!self.connection.has_request(0) && self.connection.received_memory() >= buffer.len());
        let end = (self.received + bytes.min(room)).min(self.incoming.len());
        buffer.extend_from_slice(&self.incoming[self.received..end]);
        assert_eq!(self.connection.filled(buffer, 0), end - self.received);
        self.received = end;
        self.take_requests(&[]);
    }

    fn take_requests(&mut self, data: &[u8]) {
        let mut rest = data;
        while let Some(frame) = self.connection.next_frame(&mut rest, 0).expect("the client is honest") {
            assert_eq!(&*frame, &self.requests[self.seen][frame::LENGTH_BYTES..]);
            assert!(self.unsent_bytes() < LIMITS.unsent_bytes_max);
            self.connection.charge(frame.len());
            self.owed.push((self.connection.reserve(), self.seen));
            self.seen += 1;
        }
        assert!(rest.is_empty(), "without a request everything is taken");
    }

    fn unsent_bytes(&self) -> usize {
        self.answers.iter().flatten().map(Vec::len).sum::<usize>() - self.outgoing.len()
    }

    fn fulfil(&mut self, index: usize, records: &[usize]) {
        let (id, number) = self.owed.remove(index);
        let answer = answer(number as i32, records);
        self.answers[number] = Some(answer.clone().into());
        self.connection.release(self.requests[number].len() - frame::LENGTH_BYTES);
        assert!(self.connection.fulfil(id, answer).is_ok());
    }

    fn sent(&mut self, bytes: usize) {
        let Some(send) = self.in_flight.take() else { return };
        let all: Vec<u8> = send.parts.iter().flat_map(|part| part.as_ref()).copied().collect();
        let taken = bytes.min(all.len() - send.skip);
        self.outgoing.extend(&all[send.skip..send.skip + taken]);
        self.connection.sent(send, taken, 0, &mut Buffers::default());
        self.take_requests(&[]);
    }

    /// Lets everything come to its end.
    fn finish(&mut self) {
        for _ in 0..FINISH_ROUNDS_MAX {
            if self.seen == self.requests.len()
                && self.owed.is_empty()
                && self.connection.carried_memory() == 0
                && !self.connection.has_unsent()
            {
                return;
            }
            if self.connection.wants_receive(0) {
                self.receive(usize::MAX / 2);
            }
            if !self.owed.is_empty() {
                self.fulfil(self.owed.len() - 1, &[1, 5000]);
                self.take_requests(&[]);
            }
            self.in_flight =
                self.in_flight.take().or_else(|| self.connection.next_send(SEND_PARTS_MAX, &mut Buffers::default()));
            self.sent(usize::MAX);
        }
        panic!("nothing moves any more: {:?}", self.connection);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn answers_leave_whole_and_in_the_order_of_the_requests(
        sizes in vec(prop_oneof![0..100_usize, 0..30_000_usize], 0..30),
        steps in steps(),
    ) {
        let mut world = World::new(&sizes);
        for step in steps {
            world.step(step);
        }
        world.finish();
        let answers: Vec<_> = world.answers.into_iter().map(|answer| answer.expect("every request is answered")).collect();
        prop_assert!(world.outgoing == answers.concat());
        world.connection.close_after_answers();
        prop_assert!(world.connection.is_finished());
    }
}

#[test]
fn header_bytes_of_neighbouring_answers_share_a_part() {
    let mut connection = connection();
    let ids = [connection.reserve(), connection.reserve(), connection.reserve()];
    assert!(connection.fulfil(ids[2], answer(2, &[])).is_ok());
    assert!(connection.fulfil(ids[1], answer(1, &[8192, 0])).is_ok());
    assert!(connection.next_send(SEND_PARTS_MAX, &mut Buffers::default()).is_none(), "the first answer is not there");
    assert!(connection.fulfil(ids[0], answer(0, &[])).is_ok());
    let send = connection.next_send(SEND_PARTS_MAX, &mut Buffers::default()).unwrap();
    let sizes: Vec<_> = send.parts.iter().map(|part| part.as_ref().len()).collect();
    assert_eq!(sizes[1..3], [8192, 4096], "two payloads, each a part of its own");
    assert_eq!(sizes.len(), 4, "the header bytes before and after them are joined, across answers");
}

#[test]
fn a_long_answer_is_a_part_of_its_own_behind_a_short_one() {
    let mut connection = connection();
    let ids = [connection.reserve(), connection.reserve()];
    let answers = [answer(0, &[]), answer(1, &[5000])];
    let expected: Vec<Vec<u8>> = answers.iter().cloned().map(Vec::from).collect();
    for (id, answer) in ids.into_iter().zip(answers) {
        assert!(connection.fulfil(id, answer).is_ok());
    }
    let send = connection.next_send(SEND_PARTS_MAX, &mut Buffers::default()).unwrap();
    let parts: Vec<_> = send.parts.iter().map(|part| part.as_ref().to_vec()).collect();
    assert_eq!(parts, expected);
}

#[test]
fn an_answer_may_end_in_several_slices_of_records() {
    let mut connection = connection();
    let id = connection.reserve();
    let wanted = Vec::from(answer(1, &[9000, 9000]));
    assert!(connection.fulfil(id, answer(1, &[9000, 9000])).is_ok());
    let send = connection.next_send(SEND_PARTS_MAX, &mut Buffers::default()).expect("there is an answer");
    let sent: Vec<u8> = send.parts.iter().flat_map(|part| part.as_ref().to_vec()).collect();
    assert_eq!(sent, wanted);
}

#[test]
fn a_closing_connection_answers_what_it_owes_and_takes_nothing_more() {
    let mut connection = connection();
    let id = connection.reserve();
    connection.close_after_answers();
    let another = request(1, 10);
    assert!(connection.next_frame(&mut &another[..], 0).unwrap().is_none());
    assert!(!connection.wants_receive(0) && !connection.is_finished());
    assert!(connection.fulfil(id, answer(0, &[])).is_ok());
    let send = connection.next_send(SEND_PARTS_MAX, &mut Buffers::default()).unwrap();
    let bytes = send.parts.iter().map(|part| part.as_ref().len()).sum();
    assert!(!connection.is_finished());
    connection.sent(send, bytes, 0, &mut Buffers::default());
    assert!(connection.is_finished());
}

#[test]
fn a_late_answer_to_an_earlier_connection_comes_back() {
    let mut old = connection();
    let late = old.reserve();
    let mut new = Connection::new(old.id(), old.origin(), LIMITS, old.next_answer(), 0);
    let own = new.reserve();
    assert!(new.fulfil(late, answer(0, &[])).is_err());
    assert!(new.fulfil(own, answer(1, &[])).is_ok());
}

#[test]
fn a_muted_connection_takes_no_request_until_its_time() {
    let mut connection = connection();
    connection.mute_until(100);
    let bytes = request(1, 10);
    assert!(connection.next_frame(&mut &bytes[..], 99).unwrap().is_none());
    assert!(!connection.wants_receive(99) && !connection.has_request(99));
    assert!(connection.has_request(100));
    assert!(connection.next_frame(&mut &[][..], 100).unwrap().is_some());
    assert!(connection.wants_receive(100));
}

#[test]
fn a_connection_is_idle_when_nothing_is_owed_and_nothing_moves() {
    let mut connection = connection();
    assert!(!connection.is_idle(99, 100) && connection.is_idle(100, 100));
    assert!(connection.next_frame(&mut &request(1, 10)[..], 150).unwrap().is_some());
    assert!(!connection.is_idle(200, 100));
    let id = connection.reserve();
    assert!(!connection.is_idle(1000, 100), "an answer is owed");
    assert!(connection.fulfil(id, answer(1, &[])).is_ok());
    assert!(connection.is_idle(1000, 100), "the client does not take its answer");
}

#[test]
fn bytes_that_come_without_end_while_none_are_wanted_are_an_error() {
    let mut connection = connection();
    connection.mute_until(u64::MAX);
    let chunk = [0; 1 << 16];
    let taken = (0..100).take_while(|_| connection.next_frame(&mut &chunk[..], 0).is_ok()).count();
    assert!((8..10).contains(&taken), "{taken} × 64 KiB were taken");
}
