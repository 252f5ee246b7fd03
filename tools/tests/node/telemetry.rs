//! The metrics of clients (KIP-714): wanted, pushed, shown.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use net::api::{api_versions, get_telemetry_subscriptions, push_telemetry};

use crate::configs::{DELETE, METRICS, SET, must_change};
use crate::support::broker::Broker;
use crate::support::client::Client;

const INVALID_REQUEST: i16 = 42;
const INVALID_RECORD: i16 = 87;
const THROTTLED: i16 = 89;
const UNKNOWN_SUBSCRIPTION: i16 = 117;

/// `MetricsData` with the gauge `a.b`, which is 2.5.
const DOCUMENT: &[u8] =
    &[0x0a, 22, 0x12, 20, 0x12, 18, 0x0a, 3, b'a', b'.', b'b', 0x2a, 11, 0x0a, 9, 0x21, 0, 0, 0, 0, 0, 0, 4, 0x40];

fn is_advertised(client: &mut Client) -> bool {
    let keys = client.call(0, &api_versions::Request::default()).api_keys;
    let both = [71, 72].map(|key| keys.iter().any(|range| range.api_key == key));
    assert_eq!(both[0], both[1]);
    both[0]
}

/// A port that was free a moment ago, below those that outgoing connections get.
fn free_port() -> u16 {
    (20_000..29_000)
        .step_by(7)
        .map(|port| port + (std::process::id() % 7) as u16)
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("a free port")
}

fn page(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the endpoint listens");
    write!(stream, "GET /metrics/clients HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn client_metrics_are_received_and_shown_once_somebody_wants_them() {
    let port = free_port();
    let Some(broker) = Broker::get_with("client_metrics_are_received", |launch| launch.admin(port)) else { return };
    if broker.is_kafka() {
        return;
    }
    let mut client = broker.client();
    assert!(!is_advertised(&mut client));
    let ask = get_telemetry_subscriptions::Request::default();
    let mut early = broker.client();
    early.send(0, &ask);
    early.assert_closed();

    must_change(&mut client, METRICS, "all", &[("interval.ms", SET, "60000"), ("metrics", SET, "a.")]);
    assert!(is_advertised(&mut client));
    let told = client.call(0, &ask);
    assert_eq!((told.error_code, told.push_interval_ms, told.delta_temporality), (0, 60_000, false));
    assert_eq!(told.requested_metrics, ["a."]);
    let push = |subscription_id, terminating, metrics: &'static [u8]| push_telemetry::Request {
        client_instance_id: told.client_instance_id,
        subscription_id,
        terminating,
        compression_type: 0,
        metrics: metrics.into(),
    };
    // Each on a connection of its own, which another shard may serve.
    let code = |request: push_telemetry::Request<'_>| broker.client().call(0, &request).error_code;
    assert_eq!(code(push(told.subscription_id ^ 1, false, DOCUMENT)), UNKNOWN_SUBSCRIPTION);
    let again = get_telemetry_subscriptions::Request { client_instance_id: told.client_instance_id };
    assert_eq!(broker.client().call(0, &again).error_code, 0);
    assert_eq!(code(push(told.subscription_id, false, DOCUMENT)), 0);
    let line = format!("a_b{{client_id=\"test\",client_instance_id=\"{}\"}} 2.5", told.client_instance_id);
    let shown = page(port);
    assert!(shown.lines().any(|other| other == line), "{line}\n{shown}");
    assert_eq!(code(push(told.subscription_id, false, DOCUMENT)), THROTTLED, "within its interval");
    assert_eq!(code(push(told.subscription_id, true, b"no document")), INVALID_RECORD, "the last one may come early");
    assert_eq!(code(push(told.subscription_id, true, DOCUMENT)), INVALID_REQUEST);
    assert!(page(port).contains("skein_client_metrics_pushes_total{result=\"broken\"} 1"));

    must_change(&mut client, METRICS, "all", &[("interval.ms", DELETE, ""), ("metrics", DELETE, "")]);
    assert!(!is_advertised(&mut client));
}

#[test]
fn client_metrics_that_nobody_could_see_are_not_asked_for() {
    let Some(broker) = Broker::get("client_metrics_that_nobody_could_see") else { return };
    if broker.is_kafka() {
        return;
    }
    let mut client = broker.client();
    must_change(&mut client, METRICS, "all", &[("metrics", SET, "*")]);
    assert!(!is_advertised(&mut client), "there is no endpoint to show them");
}
