use crate::{ApiKey, DecodeError, Reader};

/// A request or a response of any API, for code that is generic over them.
///
/// The generated types carry `decode` and `encode` as inherent methods too, so that this trait need not be in scope.
pub trait Message<'a>: Sized + Default {
    /// The API it belongs to.
    const KEY: ApiKey;

    /// Decodes the body of a version. What the version lacks gets its default.
    ///
    /// # Errors
    /// If the version is not in [`ApiKey::valid_versions`], or the bytes are not a message of it. Bytes left over are
    /// no error here, see [`Self::from_bytes`].
    fn decode(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError>;

    /// Appends the body of a version. A field that the version lacks is left out, whatever its value.
    ///
    /// # Panics
    /// If the version is not in [`ApiKey::valid_versions`].
    fn encode(&self, out: &mut Vec<u8>, version: i16);

    /// Calls `each` with every error code that the message tells, 0 (none) included.
    fn errors(&self, each: &mut dyn FnMut(i16));

    /// Decodes a body that has to fill `bytes` exactly.
    ///
    /// # Errors
    /// Those of [`Self::decode`], and bytes left over.
    fn from_bytes(bytes: &'a [u8], version: i16) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let message = Self::decode(&mut reader, version)?;
        reader.finish()?;
        Ok(message)
    }

    /// Decodes the body that `bytes` start with. What follows is passed over, as Kafka does: some versions of
    /// librdkafka send Metadata requests with fields of later versions at the end.
    ///
    /// # Errors
    /// Those of [`Self::decode`].
    fn from_prefix(bytes: &'a [u8], version: i16) -> Result<Self, DecodeError> {
        Self::decode(&mut Reader::new(bytes), version)
    }
}

/// A request of any API, which names the type of its response.
pub trait Request<'a>: Message<'a> {
    /// What answers it.
    type Response<'b>: Message<'b>;
}

#[cfg(test)]
mod tests {
    use super::Message;
    use crate::ApiKey;
    use crate::api::{create_topics, errors_of_response, heartbeat, metadata};

    #[test]
    fn every_error_of_an_answer_is_found_wherever_it_stands() {
        let topic = |error_code| create_topics::ResponseTopics { error_code, ..Default::default() };
        let response = create_topics::Response { topics: vec![topic(36), topic(0)], ..Default::default() };
        let mut found = Vec::new();
        response.errors(&mut |code| found.push(code));
        assert_eq!(found, [36, 0]);

        let mut body = Vec::new();
        response.encode(&mut body, 7);
        found.clear();
        errors_of_response(ApiKey::CreateTopics, 7, &body, &mut |code| found.push(code)).expect("just encoded");
        assert_eq!(found, [36, 0]);
        assert!(errors_of_response(ApiKey::CreateTopics, 7, &body[..5], &mut |_| {}).is_err());

        let mut body = Vec::new();
        heartbeat::Response { error_code: 27, ..Default::default() }.encode(&mut body, 4);
        found.clear();
        errors_of_response(ApiKey::Heartbeat, 4, &body, &mut |code| found.push(code)).expect("just encoded");
        assert_eq!(found, [27]);
    }

    #[test]
    fn what_follows_a_message_is_passed_over_only_where_that_is_asked_for() {
        // Version 4 ends after the flag; librdkafka adds three flags of later versions.
        let body = [0, 0, 0, 0, 1, 0, 0, 0];
        let request = metadata::Request::from_prefix(&body, 4).expect("complete");
        assert!(request.allow_auto_topic_creation);
        assert!(metadata::Request::from_bytes(&body, 4).is_err());
    }
}
