//! The protocol's primitive types on the wire: bounded reading, and writing.
//!
//! | type | below the first flexible version | flexible (KIP-482) |
//! |---|---|---|
//! | string | int16 length, -1 null | varint of length + 1, 0 null |
//! | bytes, records | int32 length, -1 null | varint of length + 1, 0 null |
//! | array | int32 count, -1 null | varint of count + 1, 0 null |
//! | struct | its fields | its fields, then tagged fields: varint count, of each varint tag, varint size, value |
//!
//! Integers are big-endian; a varint carries seven bits a byte, the lowest first.

mod error;
mod list;
pub mod put;
mod reader;

pub use error::{DecodeError, Reason};
pub use list::{Element, List, ListIter};
pub use reader::Reader;

/// The most elements an array may have; Kafka 4.4's own limit.
pub const ARRAY_COUNT_MAX: usize = 1_000_000;

/// The most tagged fields a struct may have; Kafka 4.4's own limit.
pub const TAGGED_FIELDS_MAX: usize = 10_000;

/// The most bytes a string may have: its length is an int16 below the flexible versions, and Kafka keeps the limit
/// in them.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// Memory that arrays decoded from one input may take, whatever the input's size.
pub const DECODED_BYTES_BASE: usize = 1 << 20;

/// Memory that arrays decoded from one input may take beyond [`DECODED_BYTES_BASE`], for each byte of input. An
/// empty struct of a few bytes can be a hundred bytes of memory; real requests stay below a factor of four.
pub const DECODED_BYTES_PER_INPUT_BYTE: usize = 8;
