//! What the generator of samples, which it shares with the tests of the codec, wants to know.

/// Which of an API's two messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    #[expect(dead_code, reason = "the codec's tests write responses too; this one only sends requests")]
    Response,
}
