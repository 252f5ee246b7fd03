//! The records of `__consumer_offsets`, in Kafka's own schemas: lag exporters, user interfaces and Kafka itself
//! read them, and a partition written by Kafka loads here.
//!
//! ```text
//! key     OffsetCommitKey    0 | 1   group:s topic:s partition:i
//!         GroupMetadataKey   2       group:s
//!         any other version belongs to another kind of group and is passed over
//! value   OffsetCommitValue  0-3     offset:l epoch:i(3) metadata:s commit_timestamp:l expire_timestamp:l(1)
//!                            4       the same, flexible: compact string, tag 0 = topic id (16 bytes)
//!         GroupMetadataValue 0-3     protocol_type:s generation:i protocol:s? leader:s? state_timestamp:l(2+)
//!                                    [ member:s instance:s?(3) client_id:s client_host:s rebalance_timeout:i(1+)
//!                                      session_timeout:i subscription:y assignment:y ]
//!                            4       the same, flexible
//!         absent                     a tombstone
//! ```
//! Types as in the protocol: big-endian integers, `s` a string with a 16-bit length (-1: null), `y` bytes with a
//! 32-bit length, `[]` an array with a 32-bit count; flexible versions use varint lengths plus one, and end each
//! structure in tagged fields. Versions are the leading 16 bits.
//!
//! Written as Apache Kafka 4.3.1 writes them: OffsetCommitKey 1, OffsetCommitValue 4 (1 if the commit brought its own
//! retention), GroupMetadataKey 2, GroupMetadataValue 3.

use std::fmt;

use bytes::Bytes;

use super::TopicId;

const OFFSET_KEY_VERSION: i16 = 1;
const OFFSET_VALUE_VERSION: i16 = 4;
const OFFSET_VALUE_VERSION_EXPIRING: i16 = 1;
const GROUP_KEY_VERSION: i16 = 2;
const GROUP_VALUE_VERSION: i16 = 3;
const FIRST_FLEXIBLE_VALUE_VERSION: i16 = 4;
/// The newest value version that is understood, of both kinds.
const VALUE_VERSION_MAX: i16 = 4;
const TOPIC_ID_TAG: u32 = 0;
/// The smallest encoding of a group member: bounds a count by the bytes left.
const MEMBER_BYTES_MIN: usize = 15;

/// The longest string that the records can hold, and that the protocol knows.
pub(super) const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// One record to append to the coordinator's partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Names the offset or group; the partition is compacted by it.
    pub key: Bytes,
    /// Absent: what the key names is gone.
    pub value: Option<Bytes>,
}

/// A record that is not in the schema it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged {
    /// The field that could not be read.
    pub field: &'static str,
    /// Where it starts, in bytes from the start of the key or value.
    pub at: usize,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {} is cut off or not valid", self.field, self.at)
    }
}

impl std::error::Error for Damaged {}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// A committed offset.
    Offset {
        /// The group.
        group: &'a str,
        /// The topic's name.
        topic: &'a str,
        /// The partition.
        partition: i32,
    },
    /// A group's members.
    Group {
        /// The group.
        group: &'a str,
    },
    /// Something else, which this coordinator passes over.
    Other {
        /// The key's version, which tells the kinds apart.
        version: i16,
    },
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetValue<'a> {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the record before it; -1 if unknown.
    pub leader_epoch: i32,
    /// Anything the member wants to find again.
    pub metadata: &'a str,
    /// When it was committed, by the wall.
    pub commit_timestamp_ms: i64,
    /// When it expires, if the commit brought its own retention.
    pub expire_timestamp_ms: Option<i64>,
    /// The topic's id; all zero if it was not known.
    pub topic_id: TopicId,
}

/// A member as the record holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberValue<'a> {
    /// Its id.
    pub member: &'a str,
    /// Set for static members.
    pub instance: Option<&'a str>,
    /// Whose connection it was.
    pub client_id: &'a str,
    /// Where it came from.
    pub client_host: &'a str,
    /// How long it may take to join again; -1 in version 0.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// Its metadata of the chosen protocol.
    pub subscription: &'a [u8],
    /// What it was told to do.
    pub assignment: &'a [u8],
}

/// A group's members in one generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupValue<'a> {
    /// Empty if the group never had a member.
    pub protocol_type: &'a str,
    /// The generation.
    pub generation: i32,
    /// The protocol that the group chose.
    pub protocol: Option<&'a str>,
    /// Who assigned.
    pub leader: Option<&'a str>,
    /// When the group came into its state, by the wall; -1 in old versions.
    pub state_timestamp_ms: i64,
    /// The members.
    pub members: Vec<MemberValue<'a>>,
}

/// The key of a committed offset.
#[must_use]
pub fn offset_key(group: &str, topic: &str, partition: i32) -> Bytes {
    let mut out = Writer::new(OFFSET_KEY_VERSION);
    out.string(group);
    out.string(topic);
    out.bytes.extend_from_slice(&partition.to_be_bytes());
    out.bytes.into()
}

/// The value of a committed offset.
#[must_use]
pub fn offset_value(value: &OffsetValue<'_>) -> Bytes {
    if let Some(expire_timestamp_ms) = value.expire_timestamp_ms {
        let mut out = Writer::new(OFFSET_VALUE_VERSION_EXPIRING);
        out.bytes.extend_from_slice(&value.offset.to_be_bytes());
        out.string(value.metadata);
        out.bytes.extend_from_slice(&value.commit_timestamp_ms.to_be_bytes());
        out.bytes.extend_from_slice(&expire_timestamp_ms.to_be_bytes());
        return out.bytes.into();
    }
    let mut out = Writer::new(OFFSET_VALUE_VERSION);
    out.bytes.extend_from_slice(&value.offset.to_be_bytes());
    out.bytes.extend_from_slice(&value.leader_epoch.to_be_bytes());
    out.string(value.metadata);
    out.bytes.extend_from_slice(&value.commit_timestamp_ms.to_be_bytes());
    if value.topic_id == TopicId::default() {
        out.varint(0);
    } else {
        out.varint(1);
        out.varint(TOPIC_ID_TAG);
        out.varint(value.topic_id.len() as u32);
        out.bytes.extend_from_slice(&value.topic_id);
    }
    out.bytes.into()
}

/// The key of a group's members.
#[must_use]
pub fn group_key(group: &str) -> Bytes {
    let mut out = Writer::new(GROUP_KEY_VERSION);
    out.string(group);
    out.bytes.into()
}

/// The value of a group's members.
#[must_use]
pub fn group_value(value: &GroupValue<'_>) -> Bytes {
    let mut out = Writer::new(GROUP_VALUE_VERSION);
    out.string(value.protocol_type);
    out.bytes.extend_from_slice(&value.generation.to_be_bytes());
    out.nullable_string(value.protocol);
    out.nullable_string(value.leader);
    out.bytes.extend_from_slice(&value.state_timestamp_ms.to_be_bytes());
    out.length_i32(value.members.len());
    for member in &value.members {
        out.string(member.member);
        out.nullable_string(member.instance);
        out.string(member.client_id);
        out.string(member.client_host);
        out.bytes.extend_from_slice(&member.rebalance_timeout_ms.to_be_bytes());
        out.bytes.extend_from_slice(&member.session_timeout_ms.to_be_bytes());
        out.byte_array(member.subscription);
        out.byte_array(member.assignment);
    }
    out.bytes.into()
}

impl<'a> Key<'a> {
    /// Reads a record's key.
    ///
    /// # Errors
    /// [`Damaged`] if it is cut off; keys of other kinds are [`Key::Other`].
    pub fn decode(bytes: &'a [u8]) -> Result<Key<'a>, Damaged> {
        let mut input = Reader::new(bytes, FIRST_FLEXIBLE_VALUE_VERSION);
        input.flexible = false;
        match input.version {
            0 | OFFSET_KEY_VERSION => Ok(Key::Offset {
                group: input.string("group")?,
                topic: input.string("topic")?,
                partition: input.i32("partition")?,
            }),
            GROUP_KEY_VERSION => Ok(Key::Group { group: input.string("group")? }),
            version => Ok(Key::Other { version }),
        }
    }
}

impl<'a> OffsetValue<'a> {
    /// Reads the value of a committed offset, of any version from 0 to 4.
    ///
    /// # Errors
    /// [`Damaged`] if it is cut off or of a version that is not known.
    pub fn decode(bytes: &'a [u8]) -> Result<OffsetValue<'a>, Damaged> {
        let mut input = Reader::new(bytes, FIRST_FLEXIBLE_VALUE_VERSION);
        input.known_version()?;
        let version = input.version;
        let mut value = OffsetValue {
            offset: input.i64("offset")?,
            leader_epoch: if version >= 3 { input.i32("leader epoch")? } else { -1 },
            metadata: input.string("metadata")?,
            commit_timestamp_ms: input.i64("commit timestamp")?,
            expire_timestamp_ms: None,
            topic_id: TopicId::default(),
        };
        if version == OFFSET_VALUE_VERSION_EXPIRING {
            let expires = input.i64("expire timestamp")?;
            value.expire_timestamp_ms = (expires != -1).then_some(expires);
        }
        input.tags(|tag, field| {
            if tag == TOPIC_ID_TAG
                && let Ok(id) = TopicId::try_from(field)
            {
                value.topic_id = id;
            }
        })?;
        Ok(value)
    }
}

impl<'a> GroupValue<'a> {
    /// Reads the value of a group's members, of any version from 0 to 4.
    ///
    /// # Errors
    /// [`Damaged`] if it is cut off or of a version that is not known.
    pub fn decode(bytes: &'a [u8]) -> Result<GroupValue<'a>, Damaged> {
        let mut input = Reader::new(bytes, FIRST_FLEXIBLE_VALUE_VERSION);
        input.known_version()?;
        let version = input.version;
        let mut value = GroupValue {
            protocol_type: input.string("protocol type")?,
            generation: input.i32("generation")?,
            protocol: input.nullable_string("protocol")?,
            leader: input.nullable_string("leader")?,
            state_timestamp_ms: if version >= 2 { input.i64("state timestamp")? } else { -1 },
            members: Vec::new(),
        };
        let count = input.count("member count", MEMBER_BYTES_MIN)?;
        value.members.reserve_exact(count);
        for _ in 0..count {
            value.members.push(MemberValue {
                member: input.string("member id")?,
                instance: if version >= 3 { input.nullable_string("instance id")? } else { None },
                client_id: input.string("client id")?,
                client_host: input.string("client host")?,
                rebalance_timeout_ms: if version >= 1 { input.i32("rebalance timeout")? } else { -1 },
                session_timeout_ms: input.i32("session timeout")?,
                subscription: input.byte_array("subscription")?,
                assignment: input.byte_array("assignment")?,
            });
            input.tags(|_, _| {})?;
        }
        input.tags(|_, _| {})?;
        Ok(value)
    }
}

/// Writes the fields of one version.
struct Writer {
    bytes: Vec<u8>,
    flexible: bool,
}

impl Writer {
    fn new(version: i16) -> Writer {
        Writer { bytes: version.to_be_bytes().to_vec(), flexible: version >= FIRST_FLEXIBLE_VALUE_VERSION }
    }

    fn string(&mut self, text: &str) {
        if self.flexible {
            self.varint(u32::try_from(text.len() + 1).expect("a string that came in a frame is below 4 GiB"));
        } else {
            let length = i16::try_from(text.len()).expect("strings above 32,767 bytes are refused at the request");
            self.bytes.extend_from_slice(&length.to_be_bytes());
        }
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn nullable_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None => self.bytes.extend_from_slice(&(-1i16).to_be_bytes()),
        }
    }

    fn byte_array(&mut self, bytes: &[u8]) {
        self.length_i32(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    fn length_i32(&mut self, length: usize) {
        let length = i32::try_from(length).expect("what came in a frame is below 2 GiB");
        self.bytes.extend_from_slice(&length.to_be_bytes());
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

/// Reads the fields of one version, bounded by the bytes that are there.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    version: i16,
    flexible: bool,
}

impl<'a> Reader<'a> {
    /// Reads the version; -1 stands for one that is cut off.
    fn new(bytes: &'a [u8], first_flexible: i16) -> Reader<'a> {
        let version = match bytes {
            [high, low, ..] => i16::from_be_bytes([*high, *low]),
            _ => -1,
        };
        Reader { bytes, at: bytes.len().min(2), version, flexible: version >= first_flexible }
    }

    fn known_version(&self) -> Result<(), Damaged> {
        if (0..=VALUE_VERSION_MAX).contains(&self.version) { Ok(()) } else { Err(Damaged { field: "version", at: 0 }) }
    }

    fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], Damaged> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..length) else {
            return Err(Damaged { field, at: self.at });
        };
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Damaged> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    fn i32(&mut self, field: &'static str) -> Result<i32, Damaged> {
        Ok(i32::from_be_bytes(self.array(field)?))
    }

    fn i64(&mut self, field: &'static str) -> Result<i64, Damaged> {
        Ok(i64::from_be_bytes(self.array(field)?))
    }

    fn varint(&mut self, field: &'static str) -> Result<u32, Damaged> {
        let at = self.at;
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array(field)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| Damaged { field, at });
            }
        }
        Err(Damaged { field, at })
    }

    /// A length or count; `None` for null. `short` tells the two fixed widths apart.
    fn length(&mut self, short: bool, field: &'static str) -> Result<Option<usize>, Damaged> {
        let at = self.at;
        let length = if self.flexible {
            i64::from(self.varint(field)?) - 1
        } else if short {
            i64::from(i16::from_be_bytes(self.array(field)?))
        } else {
            i64::from(self.i32(field)?)
        };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| Damaged { field, at }),
        }
    }

    fn nullable_string(&mut self, field: &'static str) -> Result<Option<&'a str>, Damaged> {
        let at = self.at;
        let Some(length) = self.length(true, field)? else {
            return Ok(None);
        };
        std::str::from_utf8(self.take(length, field)?).map(Some).map_err(|_| Damaged { field, at })
    }

    fn string(&mut self, field: &'static str) -> Result<&'a str, Damaged> {
        let at = self.at;
        self.nullable_string(field)?.ok_or(Damaged { field, at })
    }

    fn byte_array(&mut self, field: &'static str) -> Result<&'a [u8], Damaged> {
        let at = self.at;
        let length = self.length(false, field)?.ok_or(Damaged { field, at })?;
        self.take(length, field)
    }

    /// A count of elements that take at least `bytes_min` each.
    fn count(&mut self, field: &'static str, bytes_min: usize) -> Result<usize, Damaged> {
        let at = self.at;
        let count = self.length(false, field)?.ok_or(Damaged { field, at })?;
        if count > (self.bytes.len() - self.at) / bytes_min { Err(Damaged { field, at }) } else { Ok(count) }
    }

    fn tags(&mut self, mut seen: impl FnMut(u32, &'a [u8])) -> Result<(), Damaged> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint("tag count")? {
            let tag = self.varint("tag")?;
            let length = self.varint("tag length")? as usize;
            seen(tag, self.take(length, "tagged field")?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
