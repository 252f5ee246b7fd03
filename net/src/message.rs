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
}

/// A request of any API, which names the type of its response.
pub trait Request<'a>: Message<'a> {
    /// What answers it.
    type Response<'b>: Message<'b>;
}
