//! Writing the protocol's types at the end of a buffer.
//!
//! Writing cannot fail. Two values that the wire cannot carry are bent rather than refused, since a server's answer
//! is owed: a string over [`STRING_BYTES_MAX`] is cut at a character (no decoded string is that long, so this meets
//! our own messages only), and a null where a version allows none becomes empty.

use super::STRING_BYTES_MAX;
use crate::Uuid;

/// An int8.
pub fn i8(out: &mut Vec<u8>, value: i8) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// An int16.
pub fn i16(out: &mut Vec<u8>, value: i16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// An int32.
pub fn i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// An int64.
pub fn i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// A uint16.
pub fn u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// A float64.
pub fn f64(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// A bool, 0 or 1.
pub fn bool(out: &mut Vec<u8>, value: bool) {
    out.push(value.into());
}

/// A uuid.
pub fn uuid(out: &mut Vec<u8>, value: Uuid) {
    out.extend_from_slice(&value.0);
}

/// An unsigned varint.
pub fn unsigned_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A string.
pub fn string(out: &mut Vec<u8>, value: &str, flexible: bool) {
    let value = &value[..value.floor_char_boundary(STRING_BYTES_MAX)];
    if flexible {
        unsigned_varint(out, value.len() as u32 + 1);
    } else {
        i16(out, value.len() as i16);
    }
    out.extend_from_slice(value.as_bytes());
}

/// A string or null.
pub fn nullable_string(out: &mut Vec<u8>, value: Option<&str>, flexible: bool) {
    match value {
        Some(value) => string(out, value, flexible),
        None if flexible => out.push(0),
        None => i16(out, -1),
    }
}

/// Bytes, or records.
///
/// # Panics
/// If there are 2³¹ − 1 or more of them; a frame cannot be that large.
pub fn bytes(out: &mut Vec<u8>, value: &[u8], flexible: bool) {
    count(out, value.len(), flexible);
    out.extend_from_slice(value);
}

/// Bytes, or records, or null.
pub fn nullable_bytes(out: &mut Vec<u8>, value: Option<&[u8]>, flexible: bool) {
    match value {
        Some(value) => bytes(out, value, flexible),
        None => null_count(out, flexible),
    }
}

/// The count of an array, or the length of bytes.
///
/// # Panics
/// If it is 2³¹ − 1 or more; a frame cannot be that large.
pub fn count(out: &mut Vec<u8>, count: usize, flexible: bool) {
    assert!(count < i32::MAX as usize, "{count} elements or bytes do not fit a frame");
    if flexible {
        unsigned_varint(out, count as u32 + 1);
    } else {
        i32(out, count as i32);
    }
}

/// The count of a null array, or the length of null bytes.
pub fn null_count(out: &mut Vec<u8>, flexible: bool) {
    if flexible {
        out.push(0);
    } else {
        i32(out, -1);
    }
}

/// The byte before a nullable struct.
pub fn presence(out: &mut Vec<u8>, present: bool) {
    i8(out, if present { 1 } else { -1 });
}

/// A tagged field: the tag, the size of what `value` writes, and that.
pub fn tagged_field(out: &mut Vec<u8>, tag: u32, value: impl FnOnce(&mut Vec<u8>)) {
    unsigned_varint(out, tag);
    let start = out.len();
    value(out);
    let end = out.len();
    unsigned_varint(out, (end - start) as u32);
    // The size was written behind the value it belongs before.
    let size_length = out.len() - end;
    out[start..].rotate_right(size_length);
}
