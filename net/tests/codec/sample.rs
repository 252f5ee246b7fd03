//! Valid messages of any API and version, written from the schema, with the places of their lengths.

use std::sync::LazyLock;

use crate::dispatch::Side;
use crate::schema::{Api, Field, Kind, Scalar};

/// A small generator of numbers (SplitMix64), so that a sample is a function of its seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

/// How a length stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Int16,
    Int32,
    Varint,
}

/// A length, a count or a size in a sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length {
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
    pub(crate) form: Form,
}

/// A message's bytes, and where its lengths stand.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    pub(crate) bytes: Vec<u8>,
    pub(crate) lengths: Vec<Length>,
}

/// How much a sample holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filling {
    /// Nulls, empty arrays and absent tagged fields among the rest.
    Mixed,
    /// Nothing is null, empty or absent, so that every length of the version is there.
    Full,
}

/// A message of the API in this version.
pub(crate) fn sample(api: &Api, side: Side, version: i16, seed: u64, filling: Filling) -> Sample {
    let fields = match side {
        Side::Request => &api.request,
        Side::Response => &api.response,
    };
    let flexible = api.is_flexible(version);
    let random = Random::new(seed ^ (api.key as u64) << 32 ^ (version as u64) << 16 ^ side as u64);
    let mut writer = Writer { random, version, flexible, filling, sample: Sample::default() };
    writer.fields(fields, false);
    writer.sample
}

struct Writer {
    random: Random,
    version: i16,
    flexible: bool,
    filling: Filling,
    sample: Sample,
}

impl Writer {
    /// The fields of a struct. In a tagged field nothing may have its default, or it would not have been written.
    fn fields(&mut self, fields: &[Field], in_tagged: bool) {
        let present = |field: &&Field| field.is_in(self.version);
        let (mut tagged, untagged): (Vec<_>, Vec<_>) = fields.iter().filter(present).partition(|f| f.tag.is_some());
        for field in untagged {
            self.field(field, in_tagged);
        }
        if self.flexible {
            tagged.retain(|_| self.filling == Filling::Full || self.random.chance(2));
            tagged.sort_by_key(|field| field.tag);
            self.length(Form::Varint, tagged.len() as i64);
            for field in tagged {
                self.tagged_field(field);
            }
        }
    }

    fn tagged_field(&mut self, field: &Field) {
        let tag = field.tag.unwrap_or_else(|| panic!("{} is not tagged", field.name));
        self.varint(tag);
        let outer = std::mem::take(&mut self.sample);
        self.field(field, true);
        let value = std::mem::replace(&mut self.sample, outer);
        self.length(Form::Varint, value.bytes.len() as i64);
        let start = self.sample.bytes.len();
        let moved = value.lengths.into_iter().map(|length| Length { offset: length.offset + start, ..length });
        self.sample.lengths.extend(moved);
        self.sample.bytes.extend(value.bytes);
    }

    fn field(&mut self, field: &Field, in_tagged: bool) {
        let nullable = field.is_nullable_in(self.version);
        let null = nullable && !in_tagged && self.filling == Filling::Mixed && self.random.chance(3);
        match &field.kind {
            Kind::Scalar(scalar) if null => self.null_scalar(*scalar),
            Kind::Scalar(scalar) => self.scalar(*scalar, field.default.as_deref(), in_tagged),
            Kind::Struct(fields) => {
                if nullable {
                    self.sample.bytes.push(if null { 0xff } else { 1 });
                }
                if !null {
                    self.fields(fields, in_tagged);
                }
            }
            Kind::Array(_) if null => self.count(None),
            Kind::Array(element) => self.array(element, in_tagged),
        }
    }

    fn array(&mut self, element: &Kind, in_tagged: bool) {
        let count = match self.filling {
            Filling::Full => 1 + self.random.below(2),
            Filling::Mixed => usize::from(in_tagged) + self.random.below(4),
        };
        self.count(Some(count));
        for _ in 0..count {
            match element {
                Kind::Scalar(scalar) => self.scalar(*scalar, None, false),
                Kind::Struct(fields) => self.fields(fields, false),
                Kind::Array(_) => unreachable!("an array's element is never an array"),
            }
        }
    }

    fn null_scalar(&mut self, scalar: Scalar) {
        match scalar {
            Scalar::String if !self.flexible => self.length(Form::Int16, -1),
            _ => self.count(None),
        }
    }

    fn scalar(&mut self, scalar: Scalar, default: Option<&str>, in_tagged: bool) {
        let default = default.and_then(|text| text.parse().ok()).unwrap_or(0);
        match scalar {
            Scalar::Int8 => self.integer(1, default),
            Scalar::Int16 | Scalar::Uint16 => self.integer(2, default),
            Scalar::Int32 => self.integer(4, default),
            Scalar::Int64 => self.integer(8, default),
            Scalar::Bool => {
                let value = in_tagged || self.random.chance(2);
                self.sample.bytes.push(value.into());
            }
            Scalar::Float64 => {
                let value = self.random.next() as f64 / 3.0 + 1.0;
                self.sample.bytes.extend(value.to_be_bytes());
            }
            Scalar::Uuid => {
                let value: [u8; 16] = std::array::from_fn(|_| 1 + self.random.below(255) as u8);
                self.sample.bytes.extend(value);
            }
            Scalar::String => {
                let value = self.text(in_tagged);
                match self.flexible {
                    true => self.count(Some(value.len())),
                    false => self.length(Form::Int16, value.len() as i64),
                }
                self.sample.bytes.extend(value.as_bytes());
            }
            Scalar::Bytes | Scalar::Records => {
                let value = self.text(in_tagged).into_bytes();
                self.count(Some(value.len()));
                self.sample.bytes.extend(value);
            }
        }
    }

    /// An integer of any size, extremes included, but not the default.
    fn integer(&mut self, bytes: usize, default: i64) {
        let shift = 64 - 8 * bytes as u32;
        let value = match self.random.below(8) {
            0 => i64::MIN >> shift,
            1 => i64::MAX >> shift,
            2 => -1,
            3 => self.random.below(100) as i64,
            _ => self.random.next() as i64 >> shift,
        };
        let value = if value == default { 42 } else { value };
        self.sample.bytes.extend(&value.to_be_bytes()[8 - bytes..]);
    }

    fn text(&mut self, in_tagged: bool) -> String {
        let length = match self.random.below(12) {
            0 if !in_tagged && self.filling == Filling::Mixed => 0,
            // Long enough for a length of two bytes as a varint.
            1 => 130 + self.random.below(200),
            _ => 1 + self.random.below(12),
        };
        let characters = ['a', 'Z', '0', '-', '.', 'ß', '線', '🧵'];
        (0..length).map(|_| characters[self.random.below(characters.len())]).collect()
    }

    /// The count of an array or the length of bytes.
    fn count(&mut self, count: Option<usize>) {
        let count = count.map_or(-1, |count| count as i64);
        match self.flexible {
            true => self.length(Form::Varint, count + 1),
            false => self.length(Form::Int32, count),
        }
    }

    fn length(&mut self, form: Form, value: i64) {
        let offset = self.sample.bytes.len();
        match form {
            Form::Int16 => self.sample.bytes.extend((value as i16).to_be_bytes()),
            Form::Int32 => self.sample.bytes.extend((value as i32).to_be_bytes()),
            Form::Varint => self.varint(value as u32),
        }
        let bytes = self.sample.bytes.len() - offset;
        self.sample.lengths.push(Length { offset, bytes, form });
    }

    fn varint(&mut self, value: u32) {
        self.sample.bytes.extend(varint(value));
    }
}

pub(crate) fn varint(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The schema that the build script reads too.
pub(crate) fn apis() -> &'static [Api] {
    static APIS: LazyLock<Vec<Api>> = LazyLock::new(|| crate::schema::parse(include_str!("../../schema/protocol.txt")));
    &APIS
}
