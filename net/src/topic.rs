use crate::wire::put;
use crate::{DecodeError, Reader, Uuid};

/// How a request or a response names a topic: by its name, or from some version on by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic<'a> {
    /// By its name.
    Name(&'a str),
    /// By its id.
    Id(Uuid),
}

impl<'a> Topic<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>, flexible: bool, by_id: bool) -> Result<Self, DecodeError> {
        if by_id { reader.uuid().map(Self::Id) } else { reader.string(flexible).map(Self::Name) }
    }

    /// # Panics
    /// If the topic is not named the way the version wants.
    pub(crate) fn encode(self, out: &mut Vec<u8>, flexible: bool, by_id: bool) {
        match self {
            Self::Name(name) if !by_id => put::string(out, name, flexible),
            Self::Id(id) if by_id => put::uuid(out, id),
            _ => panic!("a version names topics either by name or by id, not {self:?}"),
        }
    }
}
