//! Another implementation of the protocol, which has to understand every answer too.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as OracleKey, ResponseKind};
use net::ApiKey;

/// Checks an answer's body with the oracle, where it knows the API and the version.
///
/// # Panics
/// If it does not understand the body, leaves bytes over, or writes it otherwise.
#[track_caller]
pub(super) fn check_response(key: ApiKey, version: i16, body: &[u8]) {
    let Ok(oracle) = OracleKey::try_from(key as i16) else { return };
    let known = oracle.valid_versions();
    if !(known.min..=known.max).contains(&version) {
        return;
    }
    let what = format!("the answer to {key} v{version}");
    let mut input = Bytes::copy_from_slice(body);
    let response = ResponseKind::decode(oracle, &mut input, version)
        .unwrap_or_else(|error| panic!("{what}: the oracle says {error:#}"));
    assert!(input.is_empty(), "{what}: {} bytes are left over", input.len());
    let mut again = BytesMut::new();
    response.encode(&mut again, version).unwrap_or_else(|error| panic!("{what}: the oracle says {error:#}"));
    assert_eq!(again.len(), body.len(), "{what}: the oracle writes it otherwise");
}
