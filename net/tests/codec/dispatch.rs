//! The generated types by key: what a test does to every API.

use net::{ApiKey, DecodeError, Message};

use crate::schema::Api;

/// Which of an API's two messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

pub(crate) const SIDES: [Side; 2] = [Side::Request, Side::Response];

pub(crate) fn key(api: &Api) -> ApiKey {
    ApiKey::from_i16(api.key).expect("the schema's APIs are the generated ones")
}

/// Something to do with the type of a message.
pub(crate) trait Visitor {
    type Output;

    fn visit<'a, M: Message<'a> + PartialEq + std::fmt::Debug>(self, bytes: &'a [u8]) -> Self::Output;
}

macro_rules! dispatch {
    ($($module:ident $name:ident,)*) => {
        /// Calls the visitor with the type of the message.
        #[expect(elided_lifetimes_in_paths, reason = "some of the types have a lifetime and some have none")]
        pub(crate) fn visit<V: Visitor>(visitor: V, key: ApiKey, side: Side, bytes: &[u8]) -> V::Output {
            match (key, side) {
                $(
                    (ApiKey::$name, Side::Request) => visitor.visit::<net::api::$module::Request>(bytes),
                    (ApiKey::$name, Side::Response) => visitor.visit::<net::api::$module::Response>(bytes),
                )*
            }
        }
    };
}

net::for_each_api!(dispatch);

struct Recode {
    from: i16,
    to: i16,
}

impl Visitor for Recode {
    type Output = Result<Vec<u8>, DecodeError>;

    fn visit<'a, M: Message<'a> + PartialEq + std::fmt::Debug>(self, bytes: &'a [u8]) -> Self::Output {
        let message = M::from_bytes(bytes, self.from)?;
        let mut out = Vec::new();
        message.encode(&mut out, self.to);
        Ok(out)
    }
}

/// Decodes a version and encodes another, or the same.
pub(crate) fn recode(key: ApiKey, side: Side, from: i16, to: i16, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    visit(Recode { from, to }, key, side, bytes)
}
