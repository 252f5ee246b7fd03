//! What stands before every body: the header of a request and of a response.
//!
//! ```text
//! request   api_key int16 | api_version int16 | correlation_id int32 | client_id nullable string, int16 length
//!           flexible versions: | tagged fields
//! response  correlation_id int32
//!           flexible versions, but never ApiVersions: | tagged fields
//! ```
//! The client id keeps its int16 length in flexible versions, so that a server can read the header of a version that
//! it does not know (KIP-482). For the same reason the response header of ApiVersions has no tagged fields (KIP-511):
//! a client reads it before it knows what the server speaks.

use std::borrow::Cow;

use crate::wire::put;
use crate::{ApiKey, DecodeError, Reader, Reason};

/// The header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// The API.
    pub key: ApiKey,
    /// The version of the body; not checked against those that the API has.
    pub version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<Cow<'a, str>>,
}

impl<'a> RequestHeader<'a> {
    /// Decodes a header; the reader then stands at the body.
    ///
    /// # Errors
    /// If the bytes are not a header, or the API's key is unknown.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let key = reader.i16()?;
        let Some(key) = ApiKey::from_i16(key) else { return Err(reader.error(Reason::UnknownApiKey(key))) };
        let version = reader.i16()?;
        let correlation_id = reader.i32()?;
        let client_id = reader.nullable_string(false)?.map(Cow::from);
        if key.is_flexible(version) {
            reader.skip_tagged_fields()?;
        }
        Ok(Self { key, version, correlation_id, client_id })
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put::i16(out, self.key as i16);
        put::i16(out, self.version);
        put::i32(out, self.correlation_id);
        put::nullable_string(out, self.client_id.as_deref(), false);
        if self.key.is_flexible(self.version) {
            put::unsigned_varint(out, 0);
        }
    }
}

/// The header of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHeader {
    /// That of the request which it answers.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Decodes the header of a response to a request of this API and version.
    ///
    /// # Errors
    /// If the bytes are not a header.
    pub fn decode(reader: &mut Reader<'_>, key: ApiKey, version: i16) -> Result<Self, DecodeError> {
        let correlation_id = reader.i32()?;
        if Self::has_tagged_fields(key, version) {
            reader.skip_tagged_fields()?;
        }
        Ok(Self { correlation_id })
    }

    /// Appends the header of a response to a request of this API and version.
    pub fn encode(self, out: &mut Vec<u8>, key: ApiKey, version: i16) {
        put::i32(out, self.correlation_id);
        if Self::has_tagged_fields(key, version) {
            put::unsigned_varint(out, 0);
        }
    }

    fn has_tagged_fields(key: ApiKey, version: i16) -> bool {
        key != ApiKey::ApiVersions && key.is_flexible(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flexible_header_ends_in_tagged_fields_and_keeps_the_short_client_id() {
        let mut header =
            RequestHeader { key: ApiKey::Metadata, version: 9, correlation_id: 7, client_id: Some("me".into()) };
        let mut out = Vec::new();
        header.encode(&mut out);
        assert_eq!(out, [0, 3, 0, 9, 0, 0, 0, 7, 0, 2, b'm', b'e', 0]);
        assert_eq!(RequestHeader::decode(&mut Reader::new(&out)).unwrap(), header);
        header.version = 8;
        header.client_id = None;
        out.clear();
        header.encode(&mut out);
        assert_eq!(out, [0, 3, 0, 8, 0, 0, 0, 7, 0xff, 0xff]);
        assert_eq!(RequestHeader::decode(&mut Reader::new(&out)).unwrap(), header);
    }

    #[test]
    fn a_version_beyond_the_known_ones_is_read_as_flexible() {
        let bytes = [0, 18, 0, 77, 0, 0, 0, 1, 0xff, 0xff, 0, 9];
        let mut reader = Reader::new(&bytes);
        assert_eq!(RequestHeader::decode(&mut reader).unwrap().version, 77);
        assert_eq!(reader.remaining(), 1);
        assert!(RequestHeader::decode(&mut Reader::new(&bytes[..10])).is_err());
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = RequestHeader::decode(&mut Reader::new(&[0, 4, 0, 0, 0, 0, 0, 0])).unwrap_err();
        assert_eq!(error.reason, Reason::UnknownApiKey(4));
    }

    #[test]
    fn the_response_header_of_api_versions_never_has_tagged_fields() {
        let mut out = Vec::new();
        ResponseHeader { correlation_id: 1 }.encode(&mut out, ApiKey::ApiVersions, 4);
        ResponseHeader { correlation_id: 2 }.encode(&mut out, ApiKey::Produce, 9);
        ResponseHeader { correlation_id: 3 }.encode(&mut out, ApiKey::Produce, 8);
        assert_eq!(out, [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 3]);
    }
}
