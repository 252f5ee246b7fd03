//! The wire format of Protocol Buffers, read in place.
//!
//! ```text
//! message = field*     field = key (varint: number << 3 | wire type), value
//! ```
//!
//! A library that builds the messages allocates some thirty bytes for each that a client sends: two bytes are a data
//! point. Here nothing is built, so that a push costs what it says.
//!
//! <https://protobuf.dev/programming-guides/encoding/>

use std::fmt;

/// Why a document cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// It ends in the middle of a field.
    Cut,
    /// A number has more than 64 bits, or a field has the number 0.
    Number,
    /// A wire type that does not exist, or a group, which no message here has had.
    WireType,
    /// A field has another wire type than its message says.
    Kind,
    /// A text is not UTF-8.
    Text,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Broken::Cut => "it ends in the middle of a field",
            Broken::Number => "a number is out of range",
            Broken::WireType => "a field has an unknown wire type",
            Broken::Kind => "a field is of another kind than OpenTelemetry says",
            Broken::Text => "a text is not UTF-8",
        })
    }
}

/// The value of a field, as it lies in its message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    /// A text, a message, or packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(super) fn varint(self) -> Result<u64, Broken> {
        match self {
            Value::Varint(number) => Ok(number),
            _ => Err(Broken::Kind),
        }
    }

    pub(super) fn fixed64(self) -> Result<u64, Broken> {
        match self {
            Value::Fixed64(number) => Ok(number),
            _ => Err(Broken::Kind),
        }
    }

    pub(super) fn double(self) -> Result<f64, Broken> {
        self.fixed64().map(f64::from_bits)
    }

    pub(super) fn message(self) -> Result<Fields<'a>, Broken> {
        match self {
            Value::Bytes(bytes) => Ok(Fields { rest: bytes }),
            _ => Err(Broken::Kind),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, Broken> {
        match self {
            Value::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|_| Broken::Text),
            _ => Err(Broken::Kind),
        }
    }
}

/// The fields of a message in their order, each with its number. Nothing follows an error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Broken> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Broken::Cut)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Broken::WireType),
        };
        match key >> 3 {
            0 => Err(Broken::Number),
            number => Ok((number, value)),
        }
    }

    /// Seven bits a byte, the lowest first; the last byte has no top bit.
    fn varint(&mut self) -> Result<u64, Broken> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            if shift == 63 && byte > 1 {
                return Err(Broken::Number);
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Broken::Number)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Broken::Cut)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Broken::Cut)?;
        self.rest = rest;
        Ok(bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u64, Value<'_>)>, Broken> {
        Fields::of(bytes).collect()
    }

    #[test]
    fn fields_of_every_wire_type_are_read() {
        let bytes = [
            &[0x08, 0xac, 0x02][..],
            &[0x11, 1, 0, 0, 0, 0, 0, 0, 0],
            &[0x1a, 2, b'h', b'i'],
            &[0xa5, 0x01, 7, 0, 0, 0],
        ]
        .concat();
        let wanted =
            [(1, Value::Varint(300)), (2, Value::Fixed64(1)), (3, Value::Bytes(b"hi")), (20, Value::Fixed32(7))];
        assert_eq!(read(&bytes).expect("it is whole"), wanted);
        for cut in [1, 2, 4, 11, 13, 15, bytes.len() - 1] {
            assert_eq!(read(&bytes[..cut]), Err(Broken::Cut), "{cut}");
        }
    }

    #[test]
    fn what_no_message_can_be_is_told() {
        assert_eq!(read(&[0x0b]), Err(Broken::WireType), "a group");
        assert_eq!(read(&[0x0e, 0]), Err(Broken::WireType));
        assert_eq!(read(&[0x00, 0]), Err(Broken::Number), "field 0");
        assert_eq!(read(&[&[0x08][..], &[0xff; 9], &[2]].concat()), Err(Broken::Number), "65 bits");
        assert_eq!(read(&[&[0x08][..], &[0xff; 9], &[1]].concat()), Ok(vec![(1, Value::Varint(u64::MAX))]));
        assert_eq!(read(&[&[0x0a][..], &[0xff; 9], &[1]].concat()), Err(Broken::Cut), "a length beyond the end");
        let mut fields = Fields::of(&[0x0b, 0x08, 1]);
        assert!(fields.next().is_some_and(|field| field.is_err()) && fields.next().is_none());
        assert_eq!(Value::Bytes(&[0xff]).text(), Err(Broken::Text));
        assert_eq!(Value::Fixed32(1).varint(), Err(Broken::Kind));
    }
}
