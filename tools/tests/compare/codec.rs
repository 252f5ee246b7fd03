//! Messages on the wire, written and read by the schema alone, so that every API and version is covered by the same
//! few lines, and by others than the product's own.

use std::sync::LazyLock;

use net::wire::put;
use net::{DecodeError, Reader};

use crate::schema::{self, Api, Field, Kind, Scalar};
use crate::value::{Fields, Value};

/// All APIs.
pub(crate) fn apis() -> &'static [Api] {
    static APIS: LazyLock<Vec<Api>> = LazyLock::new(|| schema::parse(include_str!("../../../net/schema/protocol.txt")));
    &APIS
}

/// The API of a key, if the schema has it.
pub(crate) fn api(key: i16) -> Option<&'static Api> {
    apis().iter().find(|api| api.key == key)
}

/// Appends a request's body.
///
/// # Panics
/// If the value does not have the schema's shape. Null is written everywhere that has a length, allowed or not.
pub(crate) fn encode(api: &'static Api, version: i16, request: &Value, out: &mut Vec<u8>) {
    let Value::Struct(values) = request else { panic!("{}: a request is a struct", api.name) };
    let context = Context { version, flexible: api.is_flexible(version) };
    context.put_fields(&api.request, values, out);
}

/// Reads a response's body, which has to fill the bytes.
pub(crate) fn decode(api: &'static Api, version: i16, body: &[u8]) -> Result<Value, DecodeError> {
    let context = Context { version, flexible: api.is_flexible(version) };
    let mut reader = Reader::new(body);
    let value = context.read_fields(&api.response, &mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// The value of a field that nothing was said about.
pub(crate) fn default_of(field: &'static Field, version: i16) -> Value {
    let text = field.default.as_deref();
    match &field.kind {
        _ if text == Some("null") && field.is_nullable_in(version) => Value::Null,
        Kind::Struct(fields) => {
            let present = fields.iter().filter(|field| field.is_in(version));
            Value::Struct(present.map(|field| (field.name.as_str(), default_of(field, version))).collect())
        }
        Kind::Array(_) => Value::List(Vec::new()),
        Kind::Scalar(scalar) => match scalar {
            Scalar::Int8 | Scalar::Int16 | Scalar::Int32 | Scalar::Int64 | Scalar::Uint16 => {
                Value::Int(text.map_or(0, |text| parse_int(text, &field.name)))
            }
            Scalar::Bool => Value::Bool(text == Some("true")),
            Scalar::Float64 => Value::Float(0.0),
            Scalar::String => Value::Text(String::new()),
            Scalar::Bytes | Scalar::Records => Value::Bytes(Vec::new()),
            Scalar::Uuid => Value::Uuid(net::Uuid::ZERO),
        },
    }
}

fn parse_int(text: &str, name: &str) -> i64 {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|error| panic!("the default of {name}: {error}"))
}

#[derive(Clone, Copy)]
struct Context {
    version: i16,
    flexible: bool,
}

impl Context {
    fn put_fields(self, fields: &'static [Field], values: &Fields, out: &mut Vec<u8>) {
        for name in values.keys() {
            assert!(fields.iter().any(|field| field.name == *name), "no field is named {name}");
        }
        let value_of = |field: &'static Field| {
            values.get(field.name.as_str()).cloned().unwrap_or_else(|| default_of(field, self.version))
        };
        let present = || fields.iter().filter(|field| field.is_in(self.version));
        for field in present().filter(|field| field.tag.is_none()) {
            self.put(field, &value_of(field), out);
        }
        if self.flexible {
            // A tagged field that has its default is left out.
            let mut tagged: Vec<_> = present()
                .filter_map(|field| Some((field.tag?, field, value_of(field))))
                .filter(|(_, field, value)| *value != default_of(field, self.version))
                .collect();
            tagged.sort_by_key(|&(tag, ..)| tag);
            put::unsigned_varint(out, tagged.len() as u32);
            for (tag, field, value) in tagged {
                put::tagged_field(out, tag, |out| self.put(field, &value, out));
            }
        }
    }

    fn put(self, field: &'static Field, value: &Value, out: &mut Vec<u8>) {
        match (&field.kind, value) {
            (Kind::Struct(_), Value::Null) => put::presence(out, false),
            (Kind::Struct(fields), Value::Struct(values)) => {
                if field.is_nullable_in(self.version) {
                    put::presence(out, true);
                }
                self.put_fields(fields, values, out);
            }
            (Kind::Array(_), Value::Null) => put::null_count(out, self.flexible),
            (Kind::Array(element), Value::List(values)) => {
                put::count(out, values.len(), self.flexible);
                for value in values {
                    match (&**element, value) {
                        (Kind::Struct(fields), Value::Struct(values)) => self.put_fields(fields, values, out),
                        (Kind::Scalar(scalar), value) => self.put_scalar(*scalar, value, out),
                        (_, value) => panic!("{}: {value} is no element of it", field.name),
                    }
                }
            }
            (Kind::Scalar(scalar), value) => self.put_scalar(*scalar, value, out),
            (_, value) => panic!("{}: {value} is not of its type", field.name),
        }
    }

    /// Integers are cut to the width of their type.
    fn put_scalar(self, scalar: Scalar, value: &Value, out: &mut Vec<u8>) {
        match (scalar, value) {
            (Scalar::Int8, &Value::Int(value)) => put::i8(out, value as i8),
            (Scalar::Int16, &Value::Int(value)) => put::i16(out, value as i16),
            (Scalar::Uint16, &Value::Int(value)) => put::u16(out, value as u16),
            (Scalar::Int32, &Value::Int(value)) => put::i32(out, value as i32),
            (Scalar::Int64, &Value::Int(value)) => put::i64(out, value),
            (Scalar::Bool, &Value::Bool(value)) => put::bool(out, value),
            (Scalar::Float64, &Value::Float(value)) => put::f64(out, value),
            (Scalar::Uuid, &Value::Uuid(value)) => put::uuid(out, value),
            (Scalar::String, Value::Text(value)) => put::string(out, value, self.flexible),
            (Scalar::String, Value::Null) => put::nullable_string(out, None, self.flexible),
            (Scalar::Bytes | Scalar::Records, Value::Bytes(value)) => put::bytes(out, value, self.flexible),
            (Scalar::Bytes | Scalar::Records, Value::Null) => put::nullable_bytes(out, None, self.flexible),
            (scalar, value) => panic!("{value} is no {scalar:?}"),
        }
    }

    fn read_fields(self, fields: &'static [Field], reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
        let mut values = Fields::new();
        let present = || fields.iter().filter(|field| field.is_in(self.version));
        for field in present().filter(|field| field.tag.is_none()) {
            values.insert(&field.name, self.read(field, reader)?);
        }
        if self.flexible {
            for field in present().filter(|field| field.tag.is_some()) {
                values.insert(&field.name, default_of(field, self.version));
            }
            reader.tagged_fields(|tag, reader| {
                let Some(field) = present().find(|field| field.tag == Some(tag)) else { return Ok(false) };
                values.insert(&field.name, self.read(field, reader)?);
                Ok(true)
            })?;
        }
        Ok(Value::Struct(values))
    }

    fn read(self, field: &'static Field, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
        let nullable = field.is_nullable_in(self.version);
        match &field.kind {
            Kind::Struct(fields) => match !nullable || reader.is_present()? {
                true => self.read_fields(fields, reader),
                false => Ok(Value::Null),
            },
            Kind::Array(element) => {
                // Every element takes a byte at least.
                let count = match nullable {
                    true => reader.nullable_count(self.flexible, 1)?,
                    false => Some(reader.count(self.flexible, 1)?),
                };
                let Some(count) = count else { return Ok(Value::Null) };
                let elements = (0..count).map(|_| match &**element {
                    Kind::Struct(fields) => self.read_fields(fields, reader),
                    Kind::Scalar(scalar) => self.read_scalar(*scalar, false, reader),
                    Kind::Array(_) => unreachable!("an array's element is never an array"),
                });
                elements.collect::<Result<_, _>>().map(Value::List)
            }
            Kind::Scalar(scalar) => self.read_scalar(*scalar, nullable, reader),
        }
    }

    fn read_scalar(self, scalar: Scalar, nullable: bool, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
        Ok(match scalar {
            Scalar::Int8 => reader.i8()?.into(),
            Scalar::Int16 => reader.i16()?.into(),
            Scalar::Uint16 => i64::from(reader.u16()?).into(),
            Scalar::Int32 => reader.i32()?.into(),
            Scalar::Int64 => reader.i64()?.into(),
            Scalar::Bool => reader.bool()?.into(),
            Scalar::Float64 => reader.f64()?.into(),
            Scalar::Uuid => reader.uuid()?.into(),
            Scalar::String if nullable => reader.nullable_string(self.flexible)?.into(),
            Scalar::String => reader.string(self.flexible)?.into(),
            Scalar::Bytes | Scalar::Records => {
                let bytes = match nullable {
                    true => reader.nullable_bytes(self.flexible)?,
                    false => Some(reader.bytes(self.flexible)?),
                };
                bytes.map_or(Value::Null, |bytes| Value::Bytes(bytes.to_vec()))
            }
        })
    }
}
