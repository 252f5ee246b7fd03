use super::{DecodeError, Reader};

/// Something that a [`List`] holds: decodes itself without allocating.
pub trait Element<'a>: Clone {
    /// Reads one off the wire.
    ///
    /// # Errors
    /// If the bytes are not one.
    fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError>;
}

impl<'a> Element<'a> for i32 {
    fn read(reader: &mut Reader<'a>, _version: i16) -> Result<Self, DecodeError> {
        reader.i32()
    }
}

/// An array that stays on the wire: read through once to validate it, then decoded again element by element. A single element,
/// which is what most requests have, is kept instead of being decoded again.
#[derive(Debug, Clone)]
pub struct List<'a, T> {
    /// At the first element.
    reader: Reader<'a>,
    count: usize,
    version: i16,
    /// The element, where there is one alone.
    only: Option<T>,
}

impl<'a, T: Element<'a>> List<'a, T> {
    /// Validates an array; the reader then stands behind it.
    ///
    /// # Errors
    /// If the bytes are not an array of these elements.
    pub fn decode(reader: &mut Reader<'a>, flexible: bool, version: i16) -> Result<Self, DecodeError> {
        let count = reader.count(flexible, 1)?;
        let start = reader.clone();
        let only = if count == 1 { Some(T::read(reader, version)?) } else { None };
        if only.is_none() {
            for _ in 0..count {
                T::read(reader, version)?;
            }
        }
        Ok(Self { reader: start, count, version, only })
    }

    /// The array of a version that lacks the field.
    pub fn empty() -> Self {
        Self { reader: Reader::new(&[]), count: 0, version: 0, only: None }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The elements in order.
    pub fn iter(&self) -> ListIter<'a, T> {
        ListIter { reader: self.reader.clone(), left: self.count, version: self.version, only: self.only.clone() }
    }
}

impl<'a, T: Element<'a>> IntoIterator for &List<'a, T> {
    type Item = T;
    type IntoIter = ListIter<'a, T>;

    fn into_iter(self) -> ListIter<'a, T> {
        self.iter()
    }
}

/// Iterator over the elements of a [`List`].
#[derive(Debug, Clone)]
pub struct ListIter<'a, T> {
    reader: Reader<'a>,
    left: usize,
    version: i16,
    only: Option<T>,
}

impl<'a, T: Element<'a>> Iterator for ListIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        if let Some(only) = self.only.take() {
            return Some(only);
        }
        Some(T::read(&mut self.reader, self.version).expect("the list was validated when it was made"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a, T: Element<'a>> ExactSizeIterator for ListIter<'a, T> {}
