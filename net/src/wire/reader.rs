use super::{
    ARRAY_COUNT_MAX, DECODED_BYTES_BASE, DECODED_BYTES_PER_INPUT_BYTE, DecodeError, Reason, STRING_BYTES_MAX,
    TAGGED_FIELDS_MAX,
};
use crate::Uuid;

/// An array's first reservation, in bytes; more is reserved as elements are really read.
const FIRST_RESERVATION_BYTES: usize = 4096;

/// Reads a message's values from bytes that are not trusted.
///
/// Strings and bytes are borrowed from the input. Nothing is allocated on the input's word: a count is checked against
/// the bytes left, and the memory of all arrays together against what an input of this size may take.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    input: &'a [u8],
    /// Next byte to read; `at <= end <= input.len()`.
    at: usize,
    /// Where the current struct's bytes end: the input's end, or that of a tagged field within it.
    end: usize,
    /// Bytes that arrays may still reserve.
    memory_left: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `input`.
    pub fn new(input: &'a [u8]) -> Self {
        let memory_left = DECODED_BYTES_BASE.saturating_add(input.len().saturating_mul(DECODED_BYTES_PER_INPUT_BYTE));
        Self { input, at: 0, end: input.len(), memory_left }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    /// Checks that everything has been read.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error(Reason::TrailingBytes { left })),
        }
    }

    /// An error at the current position.
    #[cold]
    pub fn error(&self, reason: Reason) -> DecodeError {
        DecodeError { offset: self.at, reason }
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let left = self.remaining();
        if length > left {
            return Err(self.error(Reason::Truncated { needed: length, left }));
        }
        let taken = &self.input[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    #[inline]
    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// An int8.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.take_array().map(i8::from_be_bytes)
    }

    /// An int16.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.take_array().map(i16::from_be_bytes)
    }

    /// An int32.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.take_array().map(i32::from_be_bytes)
    }

    /// An int64.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.take_array().map(i64::from_be_bytes)
    }

    /// A uint16.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.take_array().map(u16::from_be_bytes)
    }

    /// A float64.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.take_array().map(f64::from_be_bytes)
    }

    /// A bool: any byte but 0 is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// A uuid.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.take_array().map(Uuid)
    }

    /// An unsigned varint of at most 32 bits.
    #[inline]
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take_array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error(Reason::VarintTooLong))
    }

    /// A length or count that is one more than its value, null as 0.
    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok((self.unsigned_varint()? as usize).checked_sub(1))
    }

    /// A length or count whose null is -1.
    fn fixed_length(&self, length: i32) -> Result<Option<usize>, DecodeError> {
        match length {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(self.error(Reason::NegativeLength(length))),
            },
        }
    }

    fn not_null<T>(&self, value: Option<T>) -> Result<T, DecodeError> {
        value.ok_or_else(|| self.error(Reason::UnexpectedNull))
    }

    /// A string.
    pub fn string(&mut self, flexible: bool) -> Result<&'a str, DecodeError> {
        let string = self.nullable_string(flexible)?;
        self.not_null(string)
    }

    /// A string or null.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<&'a str>, DecodeError> {
        let length = if flexible {
            self.compact_length()?
        } else {
            let length = self.i16()?;
            self.fixed_length(length.into())?
        };
        let Some(length) = length else { return Ok(None) };
        if length > STRING_BYTES_MAX {
            return Err(self.error(Reason::StringTooLong(length)));
        }
        match std::str::from_utf8(self.take(length)?) {
            Ok(string) => Ok(Some(string)),
            Err(_) => Err(self.error(Reason::NotUtf8)),
        }
    }

    /// Bytes, or records.
    pub fn bytes(&mut self, flexible: bool) -> Result<&'a [u8], DecodeError> {
        let bytes = self.nullable_bytes(flexible)?;
        self.not_null(bytes)
    }

    /// Bytes, or records, or null.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.length(flexible)? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }

    fn length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            self.compact_length()
        } else {
            let length = self.i32()?;
            self.fixed_length(length)
        }
    }

    /// The count of an array of elements that take at least `element_bytes_min` (not 0) bytes each, checked against
    /// the bytes left.
    pub fn count(&mut self, flexible: bool, element_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = self.nullable_count(flexible, element_bytes_min)?;
        self.not_null(count)
    }

    /// Like [`Self::count`]; none of a null array.
    pub fn nullable_count(&mut self, flexible: bool, element_bytes_min: usize) -> Result<Option<usize>, DecodeError> {
        let Some(count) = self.length(flexible)? else { return Ok(None) };
        let left = self.remaining();
        if count > ARRAY_COUNT_MAX || count > left / element_bytes_min {
            return Err(self.error(Reason::ArrayTooLong { count, left }));
        }
        Ok(Some(count))
    }

    /// An array of elements that take at least `element_bytes_min` (not 0) bytes each.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count(flexible, element_bytes_min)?;
        self.elements(count, element)
    }

    /// Like [`Self::array`]; none of a null array.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        match self.nullable_count(flexible, element_bytes_min)? {
            Some(count) => self.elements(count, element).map(Some),
            None => Ok(None),
        }
    }

    fn elements<T>(
        &mut self,
        count: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let mut elements = Vec::new();
        for _ in 0..count {
            if elements.len() == elements.capacity() {
                self.reserve(&mut elements, count)?;
            }
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// Makes room for more elements, at most `count` in all, and charges it to the input's memory.
    fn reserve<T>(&mut self, elements: &mut Vec<T>, count: usize) -> Result<(), DecodeError> {
        let first = (FIRST_RESERVATION_BYTES / size_of::<T>().max(1)).max(1);
        let room = elements.len().max(first).min(count - elements.len());
        let Some(memory_left) = self.memory_left.checked_sub(room * size_of::<T>()) else {
            return Err(self.error(Reason::TooMuchMemory));
        };
        self.memory_left = memory_left;
        elements.reserve_exact(room);
        Ok(())
    }

    /// Whether a nullable struct is there: a byte before it, negative for null.
    pub fn is_present(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? >= 0)
    }

    /// The tagged fields at the end of a struct. `field` reads the value of a tag that it knows and says so; the
    /// values of others are skipped.
    pub fn tagged_fields(
        &mut self,
        mut field: impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.unsigned_varint()? as usize;
        let left = self.remaining();
        // A tag and a size take a byte each at least.
        if count > TAGGED_FIELDS_MAX || count > left / 2 {
            return Err(self.error(Reason::TooManyTaggedFields { count, left }));
        }
        let mut previous = None;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            if previous.is_some_and(|previous| previous >= tag) {
                return Err(self.error(Reason::TagOutOfOrder { tag }));
            }
            previous = Some(tag);
            self.tagged_field(tag, &mut field)?;
        }
        Ok(())
    }

    /// Tagged fields of which none is known.
    pub fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        self.tagged_fields(|_, _| Ok(false))
    }

    fn tagged_field(
        &mut self,
        tag: u32,
        field: &mut impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let needed = self.unsigned_varint()? as usize;
        let left = self.remaining();
        if needed > left {
            return Err(self.error(Reason::Truncated { needed, left }));
        }
        let outer_end = std::mem::replace(&mut self.end, self.at + needed);
        let known = field(tag, self)?;
        let unread = self.remaining();
        if known && unread > 0 {
            return Err(self.error(Reason::TaggedFieldSize { tag, unread }));
        }
        self.at = self.end;
        self.end = outer_end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason<T>(result: Result<T, DecodeError>) -> Reason {
        match result {
            Ok(_) => panic!("the bytes are wrong"),
            Err(error) => error.reason,
        }
    }

    #[test]
    fn a_varint_has_at_most_32_bits() {
        let read = |bytes: &[u8]| Reader::new(bytes).unsigned_varint();
        assert_eq!(read(&[0x7f]), Ok(127));
        assert_eq!(read(&[0x80, 1]), Ok(128));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
        assert_eq!(reason(read(&[0xff, 0xff, 0xff, 0xff, 0x1f])), Reason::VarintTooLong);
        assert_eq!(reason(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0])), Reason::VarintTooLong);
        assert_eq!(reason(read(&[0x80])), Reason::Truncated { needed: 1, left: 0 });
    }

    #[test]
    fn an_array_fits_the_bytes_left_and_the_limit() {
        let array = |count: usize, left: usize, element_bytes_min| {
            let mut bytes = (count as i32).to_be_bytes().to_vec();
            bytes.resize(4 + left, 0);
            Reader::new(&bytes).array(false, element_bytes_min, Reader::i8).map(|elements| elements.len())
        };
        assert_eq!(array(10, 10, 1), Ok(10));
        assert_eq!(reason(array(11, 10, 1)), Reason::ArrayTooLong { count: 11, left: 10 });
        assert_eq!(reason(array(6, 10, 2)), Reason::ArrayTooLong { count: 6, left: 10 });
        let max = ARRAY_COUNT_MAX;
        assert_eq!(array(max, max + 1, 1), Ok(max));
        assert_eq!(reason(array(max + 1, max + 1, 1)), Reason::ArrayTooLong { count: max + 1, left: max + 1 });
    }

    #[test]
    fn a_struct_has_a_limited_number_of_tagged_fields() {
        let fields = |count: u32| {
            let mut bytes = Vec::new();
            crate::wire::put::unsigned_varint(&mut bytes, count);
            (0..count).for_each(|tag| crate::wire::put::tagged_field(&mut bytes, tag, |_| {}));
            let mut reader = Reader::new(&bytes);
            reader.skip_tagged_fields().and_then(|()| reader.finish())
        };
        assert_eq!(fields(TAGGED_FIELDS_MAX as u32), Ok(()));
        assert!(matches!(reason(fields(TAGGED_FIELDS_MAX as u32 + 1)), Reason::TooManyTaggedFields { .. }));
    }

    #[test]
    fn a_string_is_not_null_not_negative_not_too_long_and_utf8() {
        let fixed = |bytes: &[u8]| reason(Reader::new(bytes).string(false));
        assert_eq!(fixed(&[0xff, 0xff]), Reason::UnexpectedNull);
        assert_eq!(fixed(&[0xff, 0xfe]), Reason::NegativeLength(-2));
        assert_eq!(fixed(&[0, 1, 0xff]), Reason::NotUtf8);
        assert_eq!(fixed(&[0, 2, b'a']), Reason::Truncated { needed: 2, left: 1 });
        assert_eq!(Reader::new(&[0xff, 0xff]).nullable_string(false), Ok(None));
        assert_eq!(reason(Reader::new(&[0]).string(true)), Reason::UnexpectedNull);
        let mut long = vec![0x81, 0x80, 2];
        long.resize(3 + 32_768, b'a');
        assert_eq!(reason(Reader::new(&long).string(true)), Reason::StringTooLong(32_768));
        long[0] = 0x80;
        long[1] = 0x80;
        assert_eq!(Reader::new(&long).string(true).map(str::len), Ok(32_767));
    }

    #[test]
    fn the_error_says_where() {
        let mut reader = Reader::new(&[0, 0, 0, 1, 0, 5, b'a']);
        assert_eq!(reader.i32(), Ok(1));
        let error = reader.string(false).unwrap_err();
        assert_eq!(error.to_string(), "at byte 6: the value needs 5 bytes but 1 are left");
    }
}
