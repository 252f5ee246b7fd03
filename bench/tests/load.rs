//! The load against servers that answer well and badly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use bench::Error;
use bench::load::{self, Load, Pace};
use bench::request::{Requests, Shape};

/// Answers to produce requests on one connection: the error code for the n-th and the shift of its correlation id.
fn serve(mut stream: TcpStream, code_of: fn(u32) -> i16, shift_of: fn(u32) -> i32) {
    for number in 0.. {
        let mut length = [0; 4];
        if stream.read_exact(&mut length).is_err() {
            return;
        }
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request).expect("the rest of a request");
        let correlation_id = i32::from_be_bytes(request[4..8].try_into().expect("four bytes")) + shift_of(number);
        let mut answer = correlation_id.to_be_bytes().to_vec();
        answer.extend_from_slice(&[0, 2, 2, b't', 2, 0, 0, 0, 0]);
        answer.extend_from_slice(&code_of(number).to_be_bytes());
        // Offsets, record errors, message, tags of partition and topic, throttle time, tags.
        answer.extend_from_slice(&[0; 24 + 1 + 1 + 1 + 1 + 4 + 1]);
        let mut frame = (answer.len() as u32).to_be_bytes().to_vec();
        frame.append(&mut answer);
        if stream.write_all(&frame).is_err() {
            return;
        }
    }
}

fn server(code_of: fn(u32) -> i16, shift_of: fn(u32) -> i32) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            thread::spawn(move || serve(stream, code_of, shift_of));
        }
    });
    address
}

fn run(address: SocketAddr, pace: Pace) -> Result<load::Outcome, Error> {
    let shape = Shape { record_bytes: 100, batch_bytes: 0 };
    let load = Load {
        connections: 2,
        pace,
        warm_up: Duration::from_millis(20),
        measured: Duration::from_millis(200),
        bytes_max: u64::MAX,
        core: 0,
        server: Some(std::process::id()),
    };
    load::run(address, Requests::produce("t", 1, shape, 0), load)
}

#[test]
fn every_answer_is_counted_once() {
    let outcome = run(server(|_| 0, |_| 0), Pace::InFlight(5)).expect("good answers");
    assert!(outcome.requests > 0);
    assert_eq!(outcome.requests, outcome.records);
    assert_eq!(outcome.requests, outcome.latency.len());
    // Length and correlation id, the start up to the error code, and what follows it.
    assert_eq!(outcome.answer_bytes, outcome.requests * (8 + 11 + 33));
    assert!(outcome.elapsed >= Duration::from_millis(200));
}

#[test]
fn an_open_loop_is_never_ahead_of_its_rate() {
    let outcome = run(server(|_| 0, |_| 0), Pace::PerSecond(200.0)).expect("good answers");
    // Never ahead of its schedule; how far a busy machine falls behind it says nothing of the generator.
    let scheduled = outcome.elapsed.as_secs_f64() * 200.0 + 20.0;
    let requests = outcome.requests;
    assert!(requests > 0 && requests as f64 <= scheduled, "{requests} requests in {:?} at 200/s", outcome.elapsed);
}

#[test]
fn an_error_ends_the_run() {
    let error = run(server(|number| if number == 7 { 6 } else { 0 }, |_| 0), Pace::InFlight(5)).expect_err("an error");
    assert!(matches!(error, Error::Refused { code: 6, .. }), "{error}");
}

#[test]
fn an_answer_to_another_request_ends_the_run() {
    let error = run(server(|_| 0, |number| i32::from(number == 9)), Pace::InFlight(5)).expect_err("a wrong answer");
    assert!(matches!(error, Error::WrongAnswer { .. }), "{error}");
}
