//! Accepting when the process may open no more files, in a process of its own with a low limit.

use std::fs::File;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use broker::driver::ring::{Config, Ring, Waker};
use broker::driver::{Completion, Driver, Ops};
use net::ops::{Event, ListenerId, Op};

const LISTENER: ListenerId = ListenerId(0);
const INSIDE: &str = "SKEIN_TEST_OPEN_FILES";

#[test]
fn accepting_ends_at_the_limit_of_open_files_and_goes_on_below_it() {
    if std::env::var_os(INSIDE).is_some() {
        return accept_at_the_limit();
    }
    let script = r#"ulimit -n 64 && exec "$0" accepting_ends --nocapture"#;
    let status = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().expect("the test's own file"))
        .env(INSIDE, "1")
        .status();
    assert!(status.expect("a shell").success());
}

fn accept_at_the_limit() {
    let listener = broker::listen::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let waker = Waker::new().expect("an eventfd");
    let mut ring =
        Ring::new(Config { directories: vec![Some(std::env::temp_dir())], listeners: vec![listener], waker })
            .expect("a ring");
    let client = TcpStream::connect(address).expect("waits in the backlog");
    let hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();

    let mut ops = Ops::default();
    ops.net.push(Op::Accept { listener: LISTENER });
    ring.submit(&mut ops);
    let ended = next(&mut ring);
    assert_eq!(ended, Seen::AcceptEnded(libc::EMFILE));
    ring.wait(Some(Duration::from_millis(20)));
    ring.complete(&mut |completion| panic!("it is not tried again by itself: {completion:?}"));

    drop(hoard);
    ops.net.push(Op::Accept { listener: LISTENER });
    ring.submit(&mut ops);
    assert_eq!(next(&mut ring), Seen::Accepted, "the client has waited");
    drop(client);
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Accepted,
    AcceptEnded(i32),
}

fn next(ring: &mut Ring) -> Seen {
    loop {
        let mut seen = Vec::new();
        ring.complete(&mut |completion| match completion {
            Completion::Net(Event::Accepted { .. }) => seen.push(Seen::Accepted),
            Completion::Net(Event::AcceptEnded { errno, .. }) => seen.push(Seen::AcceptEnded(errno)),
            other => panic!("{other:?}"),
        });
        assert!(seen.len() <= 1, "{seen:?}");
        if let Some(seen) = seen.pop() {
            return seen;
        }
        ring.wait(Some(Duration::from_secs(5)));
    }
}
