//! The model of the protocol and the parser of its notation (`schema/protocol.txt`, whose head is the legend).
//!
//! Nothing here is defensive: a mistake in the schema stops the build with the line and the column.

use std::iter::Peekable;
use std::str::Chars;

/// `FIRST_FLEXIBLE_VERSION` of an API that never became flexible.
const NEVER_FLEXIBLE: i16 = 99;

/// One API: a request and its response.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) key: i16,
    pub(crate) name: String,
    pub(crate) min: i16,
    pub(crate) max: i16,
    /// The first version with the flexible encoding, if there is one.
    pub(crate) first_flexible: Option<i16>,
    pub(crate) request: Vec<Field>,
    pub(crate) response: Vec<Field>,
}

/// One field of a message or of a struct in it.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// First version that carries the field, clipped to the API's range.
    pub(crate) min: i16,
    /// Last version that carries the field, clipped to the API's range.
    pub(crate) max: i16,
    /// First version in which the field may be null.
    pub(crate) nullable_from: Option<i16>,
    pub(crate) tag: Option<u32>,
    pub(crate) default: Option<String>,
}

/// What a field holds.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Scalar(Scalar),
    Struct(Vec<Field>),
    /// An array; its element is never an array itself.
    Array(Box<Kind>),
}

/// The types without parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    Int8,
    Int16,
    Int32,
    Int64,
    Uint16,
    Bool,
    Float64,
    String,
    Bytes,
    Records,
    Uuid,
}

impl Api {
    pub(crate) fn is_flexible(&self, version: i16) -> bool {
        self.first_flexible.is_some_and(|first| version >= first)
    }
}

impl Field {
    pub(crate) fn is_in(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    pub(crate) fn is_nullable_in(&self, version: i16) -> bool {
        self.nullable_from.is_some_and(|from| version >= from)
    }
}

/// Parses the whole schema.
pub(crate) fn parse(text: &str) -> Vec<Api> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty());
    let mut apis = Vec::new();
    while let Some((number, line)) = lines.next() {
        let mut api =
            parse_head(line).unwrap_or_else(|| panic!("schema line {}: KEY NAME MIN-MAX FLEXIBLE", number + 1));
        let mut body = |sign: char| {
            let (number, line) = lines.next().unwrap_or_else(|| panic!("{}: no line with {sign}", api.name));
            let fields = line.trim().strip_prefix(sign);
            let fields = fields.unwrap_or_else(|| panic!("schema line {}: expected {sign}", number + 1));
            Parser::new(fields, number + 1, &api).fields(None)
        };
        let (request, response) = (body('>'), body('<'));
        (api.request, api.response) = (request, response);
        apis.push(api);
    }
    apis
}

fn parse_head(line: &str) -> Option<Api> {
    let mut words = line.split(' ');
    let key = words.next()?.parse().ok()?;
    let name = words.next()?.to_owned();
    let (min, max) = words.next()?.split_once('-')?;
    let (min, max) = (min.parse().ok()?, max.parse().ok()?);
    let first_flexible = Some(words.next()?.parse().ok()?).filter(|&first| first != NEVER_FLEXIBLE);
    let (request, response) = (Vec::new(), Vec::new());
    Some(Api { key, name, min, max, first_flexible, request, response })
}

struct Parser<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
    column: usize,
    min: i16,
    max: i16,
    first_flexible: Option<i16>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, line: usize, api: &Api) -> Self {
        let chars = text.chars().peekable();
        Self { chars, line, column: 0, min: api.min, max: api.max, first_flexible: api.first_flexible }
    }

    fn fail(&self, what: &str) -> ! {
        panic!("schema line {}, column {}: {what}", self.line, self.column)
    }

    fn next(&mut self) -> Option<char> {
        self.column += 1;
        self.chars.next()
    }

    fn skip_spaces(&mut self) {
        while self.chars.peek() == Some(&' ') {
            self.next();
        }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(&c) = self.chars.peek()
            && wanted(c)
        {
            taken.push(c);
            self.next();
        }
        taken
    }

    fn number(&mut self) -> Option<i16> {
        self.take_while(|c| c.is_ascii_digit()).parse().ok()
    }

    /// Fields up to `end`, or to the end of the line.
    fn fields(&mut self, end: Option<char>) -> Vec<Field> {
        let mut fields = Vec::new();
        loop {
            self.skip_spaces();
            if self.chars.peek().copied() == end {
                self.next();
                return fields;
            }
            fields.push(self.field());
        }
    }

    fn field(&mut self) -> Field {
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() || self.next() != Some(':') {
            self.fail("expected NAME:TYPE");
        }
        let kind = self.kind();
        let (min, max) = (self.min, self.max);
        let mut field = Field { name, kind, min, max, nullable_from: None, tag: None, default: None };
        while let Some(&mark) = self.chars.peek().filter(|c| !c.is_ascii_whitespace()) {
            self.next();
            match mark {
                '@' => self.versions(&mut field),
                '?' => field.nullable_from = Some(self.number().unwrap_or(0)),
                '#' => field.tag = self.number().map(|tag| tag as u32),
                '=' => field.default = Some(self.take_while(|c| c != ' ')),
                _ => self.fail("expected one of @ ? # ="),
            }
        }
        if field.tag.is_some() && self.first_flexible.is_none_or(|first| field.min < first) {
            self.fail("a tagged field exists in flexible versions only");
        }
        field
    }

    fn versions(&mut self, field: &mut Field) {
        let Some(first) = self.number() else { self.fail("expected a version after @") };
        let last = match self.chars.peek() {
            Some('+') => {
                self.next();
                self.max
            }
            Some('-') => {
                self.next();
                self.number().unwrap_or_else(|| self.fail("expected a version after -"))
            }
            _ => first,
        };
        (field.min, field.max) = (first.max(self.min), last.min(self.max));
    }

    fn kind(&mut self) -> Kind {
        match self.chars.peek() {
            Some('{') => {
                self.next();
                Kind::Struct(self.fields(Some('}')))
            }
            Some('[') => {
                self.next();
                let element = match self.chars.peek() {
                    Some(' ') => Kind::Struct(self.fields(Some(']'))),
                    _ => {
                        let element = self.scalar();
                        if self.next() != Some(']') {
                            self.fail("expected ]");
                        }
                        Kind::Scalar(element)
                    }
                };
                Kind::Array(Box::new(element))
            }
            _ => Kind::Scalar(self.scalar()),
        }
    }

    fn scalar(&mut self) -> Scalar {
        match self.next() {
            Some('b') => Scalar::Int8,
            Some('h') => Scalar::Int16,
            Some('i') => Scalar::Int32,
            Some('l') => Scalar::Int64,
            Some('u') => Scalar::Uint16,
            Some('o') => Scalar::Bool,
            Some('d') => Scalar::Float64,
            Some('s') => Scalar::String,
            Some('y') => Scalar::Bytes,
            Some('r') => Scalar::Records,
            Some('U') => Scalar::Uuid,
            _ => self.fail("expected a type"),
        }
    }
}
