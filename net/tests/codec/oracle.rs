//! Byte for byte against another implementation of the protocol, for every API and version that it knows.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as OracleKey, RequestHeader as OracleHeader, RequestKind, ResponseKind};
use kafka_protocol::protocol::Decodable;
use net::{Reader, RequestHeader, ResponseHeader};

use crate::dispatch::{SIDES, Side, key, recode};
use crate::sample::{Filling, apis, sample};
use crate::schema::Api;

const SEEDS: u64 = 16;

/// Requests that the oracle's table of versions promises, but its messages refuse.
const LACKING: [(i16, i16); 3] = [(8, 10), (9, 10), (22, 6)];

/// Messages (a request or a response of an API's version) that the oracle knows too.
const MESSAGES_COMPARED: usize = 497;

fn oracle_key(api: &Api, version: i16) -> Option<OracleKey> {
    let key = OracleKey::try_from(api.key).ok()?;
    let versions = key.valid_versions();
    (versions.min..=versions.max).contains(&version).then_some(key)
}

fn oracle_recode(key: OracleKey, side: Side, version: i16, bytes: &[u8]) -> Result<BytesMut, String> {
    let mut input = Bytes::copy_from_slice(bytes);
    let mut out = BytesMut::new();
    let fail = |error| format!("{error:#}");
    match side {
        Side::Request => RequestKind::decode(key, &mut input, version).map_err(fail)?.encode(&mut out, version),
        Side::Response => ResponseKind::decode(key, &mut input, version).map_err(fail)?.encode(&mut out, version),
    }
    .map_err(fail)?;
    if input.is_empty() { Ok(out) } else { Err(format!("{} bytes are left over", input.len())) }
}

#[test]
fn every_message_the_oracle_knows_is_read_and_written_alike() {
    let mut compared = 0;
    for api in apis() {
        for version in api.min..=api.max {
            let Some(oracle) = oracle_key(api, version) else { continue };
            for side in SIDES {
                if side == Side::Response || !LACKING.contains(&(api.key, version)) {
                    compare(api, side, version, oracle);
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, MESSAGES_COMPARED);
}

fn compare(api: &Api, side: Side, version: i16, oracle: OracleKey) {
    for seed in 0..SEEDS {
        let filling = if seed == 0 { Filling::Full } else { Filling::Mixed };
        let what = format!("{side:?} of {} v{version}, seed {seed}", api.name);
        let original = sample(api, side, version, seed, filling).bytes;
        let ours = recode(key(api), side, version, version, &original);
        let ours = ours.unwrap_or_else(|error| panic!("{what}: {error}"));
        let theirs = oracle_recode(oracle, side, version, &ours);
        let theirs = theirs.unwrap_or_else(|error| panic!("{what}: the oracle says {error}"));
        assert_eq!(ours, theirs, "{what}");
    }
}

#[test]
fn headers_have_the_versions_that_the_oracle_gives_them() {
    for api in apis() {
        for version in api.min..=api.max {
            let Some(oracle) = oracle_key(api, version) else { continue };
            let what = format!("{} v{version}", api.name);
            let header = RequestHeader { key: key(api), version, correlation_id: 77, client_id: Some("ä".into()) };
            let mut out = Vec::new();
            header.encode(&mut out);
            let mut input = Bytes::from(out);
            let theirs = OracleHeader::decode(&mut input, oracle.request_header_version(version)).expect(&what);
            assert!(input.is_empty(), "{what}");
            assert_eq!((theirs.correlation_id, theirs.client_id.as_deref()), (77, Some("ä")), "{what}");
            let mut out = Vec::new();
            ResponseHeader { correlation_id: 78 }.encode(&mut out, key(api), version);
            assert_eq!(out.len(), 4 + oracle.response_header_version(version) as usize, "{what}");
            let read = ResponseHeader::decode(&mut Reader::new(&out), key(api), version);
            assert_eq!(read, Ok(ResponseHeader { correlation_id: 78 }), "{what}");
        }
    }
}
