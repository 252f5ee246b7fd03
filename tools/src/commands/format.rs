//! How a record is printed.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use storage::batch::TimestampType;
use storage::record::Header;

use super::text::unescape;
use super::time;
use crate::client::Message;

/// A part of a record that is printed before its value on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Part {
    /// When it was created, or appended
    Timestamp,
    /// Its topic
    Topic,
    /// Its partition
    Partition,
    /// Its offset
    Offset,
    /// Its key, `null` for none
    Key,
    /// Its headers as name=value, separated by commas
    Headers,
}

/// The form of records on standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    /// The parts in the order of [`Part`], the value, separated by tabs; a line end.
    Text(Vec<Part>),
    /// A JSON object a line.
    Json,
    /// Whatever the person wants.
    Template(Vec<Piece>),
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(Vec<u8>),
    Field(char),
}

/// The fields of a template, for help and errors.
pub(super) const FIELDS: &str = "%s value, %k key, %h headers, %t topic, %p partition, %o offset, %T timestamp in ms, \
%D timestamp as a date, %S and %K lengths of value and key, %% a percent sign; \\n \\t \\0 \\xHH as usual";

impl Format {
    /// Parses a template like `%p/%o %k=%s\n`.
    ///
    /// # Errors
    /// What in it is unknown.
    pub(super) fn template(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                literal.push(character);
                continue;
            }
            match characters.next() {
                Some('%') => literal.push('%'),
                Some(field) if "skhtpoTDSK".contains(field) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(unescape(&std::mem::take(&mut literal))?));
                    }
                    pieces.push(Piece::Field(field));
                }
                Some(other) => return Err(format!("%{other} is unknown: {FIELDS}")),
                None => return Err(format!("it ends in a lone %: {FIELDS}")),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(unescape(&literal)?));
        }
        Ok(Self::Template(pieces))
    }

    /// Prints one record.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(super) fn write(&self, out: &mut impl Write, message: &Message<'_>) -> io::Result<()> {
        match self {
            Self::Text(parts) => {
                for part in parts {
                    write_part(out, *part, message)?;
                    out.write_all(b"\t")?;
                }
                out.write_all(message.value.unwrap_or(b"null"))?;
                out.write_all(b"\n")
            }
            Self::Json => write_json(out, message),
            Self::Template(pieces) => pieces.iter().try_for_each(|piece| match piece {
                Piece::Literal(literal) => out.write_all(literal),
                Piece::Field(field) => write_field(out, *field, message),
            }),
        }
    }
}

fn write_part(out: &mut impl Write, part: Part, message: &Message<'_>) -> io::Result<()> {
    match part {
        Part::Timestamp => write!(out, "{}", time::format(message.timestamp)),
        Part::Topic => write!(out, "{}", message.partition.topic),
        Part::Partition => write!(out, "{}", message.partition.index),
        Part::Offset => write!(out, "{}", message.offset),
        Part::Key => out.write_all(message.key.unwrap_or(b"null")),
        Part::Headers => write_headers(out, message),
    }
}

fn write_headers(out: &mut impl Write, message: &Message<'_>) -> io::Result<()> {
    for (index, Header { key, value }) in message.headers.clone().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        out.write_all(key)?;
        out.write_all(b"=")?;
        out.write_all(value.unwrap_or(b"null"))?;
    }
    Ok(())
}

fn write_field(out: &mut impl Write, field: char, message: &Message<'_>) -> io::Result<()> {
    let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
    match field {
        's' => out.write_all(message.value.unwrap_or_default()),
        'k' => out.write_all(message.key.unwrap_or_default()),
        'h' => write_headers(out, message),
        't' => write!(out, "{}", message.partition.topic),
        'p' => write!(out, "{}", message.partition.index),
        'o' => write!(out, "{}", message.offset),
        'T' => write!(out, "{}", message.timestamp),
        'D' => write!(out, "{}", time::format(message.timestamp)),
        'S' => write!(out, "{}", length(message.value)),
        'K' => write!(out, "{}", length(message.key)),
        other => unreachable!("templates have no field {other}"),
    }
}

/// Bytes that are no UTF-8 go under another name, in base64, so that no byte is ever lost.
fn write_json(out: &mut impl Write, message: &Message<'_>) -> io::Result<()> {
    let topic = serde_json::Value::from(&*message.partition.topic);
    let kind = match message.timestamp_type {
        TimestampType::CreateTime => "create",
        TimestampType::LogAppendTime => "append",
    };
    write!(out, "{{\"topic\":{topic},\"partition\":{},\"offset\":{}", message.partition.index, message.offset)?;
    write!(out, ",\"timestamp\":{},\"timestamp_type\":\"{kind}\",", message.timestamp)?;
    write_json_bytes(out, "key", message.key)?;
    out.write_all(b",\"headers\":[")?;
    for (index, Header { key, value }) in message.headers.clone().enumerate() {
        out.write_all(if index > 0 { b",{" } else { b"{" })?;
        write_json_bytes(out, "name", Some(key))?;
        out.write_all(b",")?;
        write_json_bytes(out, "value", value)?;
        out.write_all(b"}")?;
    }
    out.write_all(b"],")?;
    write_json_bytes(out, "value", message.value)?;
    out.write_all(b"}\n")
}

fn write_json_bytes(out: &mut impl Write, name: &str, bytes: Option<&[u8]>) -> io::Result<()> {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => write!(out, "\"{name}\":null"),
        Some((_, Ok(text))) => write!(out, "\"{name}\":{}", serde_json::Value::from(text)),
        Some((bytes, Err(_))) => write!(out, "\"{name}_base64\":\"{}\"", BASE64.encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::client::Fetched;
    use crate::client::admin::TopicPartition;
    use storage::builder::{BatchBuilder, NewHeader, NewRecord, Options};

    fn printed(format: &Format, record: &NewRecord<'_>) -> String {
        let mut builder = BatchBuilder::new(Options { base_offset: 41, ..Options::default() });
        builder.append(record).unwrap();
        let partition = TopicPartition { topic: "t".into(), index: 2 };
        let mut out = Vec::new();
        let shown = Fetched::of(partition, builder.finish()).visit(true, |message| {
            format.write(&mut out, &message).unwrap();
            ControlFlow::Continue(())
        });
        assert!(shown.unwrap().is_continue());
        String::from_utf8(out).unwrap()
    }

    const HEADERS: &[NewHeader<'_>] = &[NewHeader { key: "a", value: Some(b"1") }, NewHeader { key: "b", value: None }];

    fn record() -> NewRecord<'static> {
        NewRecord { timestamp: 1000, key: Some(b"k"), value: Some(b"line\r"), headers: HEADERS }
    }

    #[test]
    fn text_is_the_value_and_what_was_asked_for() {
        assert_eq!(printed(&Format::Text(Vec::new()), &record()), "line\r\n");
        let all = vec![Part::Timestamp, Part::Topic, Part::Partition, Part::Offset, Part::Key, Part::Headers];
        assert_eq!(
            printed(&Format::Text(all), &record()),
            "1970-01-01T00:00:01.000Z\tt\t2\t41\tk\ta=1,b=null\tline\r\n"
        );
    }

    #[test]
    fn templates_have_every_field_and_no_line_end_of_their_own() {
        let format = Format::template(r"%t-%p@%o %k=%s (%K,%S,%T,%D) %h 100%%\t\n").unwrap();
        assert_eq!(
            printed(&format, &record()),
            "t-2@41 k=line\r (1,5,1000,1970-01-01T00:00:01.000Z) a=1,b=null 100%\t\n"
        );
        let tombstone = NewRecord { key: None, value: None, ..record() };
        assert_eq!(printed(&Format::template("%K %S").unwrap(), &tombstone), "-1 -1");
        for wrong in ["%q", "%", r"\q"] {
            assert!(Format::template(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn json_keeps_every_byte() {
        let printed_record = printed(&Format::Json, &record());
        let json: serde_json::Value = serde_json::from_str(&printed_record).unwrap();
        assert_eq!(json["value"], "line\r");
        assert_eq!(json["offset"], 41);
        assert_eq!(json["headers"][0]["name"], "a");
        assert_eq!(json["headers"][1]["value"], serde_json::Value::Null);
        let binary = NewRecord { key: None, value: Some(&[0xff, 0]), ..record() };
        let json: serde_json::Value = serde_json::from_str(&printed(&Format::Json, &binary)).unwrap();
        assert_eq!(json["value_base64"], "/wA=");
        assert_eq!(json["key"], serde_json::Value::Null);
        assert!(json.get("value").is_none());
    }
}
