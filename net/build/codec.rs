//! `decode`, `encode`, `into_owned` and `errors`.

use crate::schema::{Api, Field, Kind, Scalar};
use crate::types::{Struct, default_value, fields_borrow, ident, inner_fields, is_null_by_default, put, snake};

/// Whether something holds for all versions of a struct, for none, or under a condition.
enum When {
    Always,
    Never,
    If(String),
}

impl Struct<'_> {
    fn when_from(&self, first: i16) -> When {
        if first <= self.min {
            When::Always
        } else if first > self.max {
            When::Never
        } else {
            When::If(format!("version >= {first}"))
        }
    }

    fn when_present(&self, field: &Field) -> When {
        match (field.min <= self.min, field.max >= self.max) {
            (true, true) => When::Always,
            (false, true) => When::If(format!("version >= {}", field.min)),
            (true, false) => When::If(format!("version <= {}", field.max)),
            (false, false) if field.min == field.max => When::If(format!("version == {}", field.min)),
            (false, false) => When::If(format!("({}..={}).contains(&version)", field.min, field.max)),
        }
    }

    fn when_flexible(&self) -> When {
        self.api.first_flexible.map_or(When::Never, |first| self.when_from(first))
    }

    /// The expression for "this version is flexible".
    fn flexible(&self) -> &'static str {
        match self.when_flexible() {
            When::Always => "true",
            When::Never => "false",
            When::If(_) => "flexible",
        }
    }

    fn let_flexible(&self, out: &mut String) {
        if let When::If(condition) = self.when_flexible() {
            put(out, &format!("            let flexible = {condition};"));
        }
    }

    fn untagged(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.tag.is_none())
    }

    /// The tagged fields by ascending tag.
    fn tagged(&self) -> Vec<&Field> {
        let mut tagged: Vec<_> = self.fields.iter().filter(|field| field.tag.is_some()).collect();
        tagged.sort_by_key(|field| field.tag);
        tagged
    }

    /// The name of the parameter `version`, underlined if the body has no use for it.
    fn version_param(&self, body: &str) -> &'static str {
        let mut words = body.split(|c: char| !c.is_alphanumeric() && c != '_');
        if words.any(|word| word == "version") { "version" } else { "_version" }
    }
}

/// `Message` of a request or a response.
pub(crate) fn message(out: &mut String, this: &Struct<'_>) {
    let (name, key) = (&this.name, &this.api.name);
    put(out, &format!("    impl<'a> Message<'a> for {name}{} {{", this.lifetime()));
    put(out, &format!("        const KEY: ApiKey = ApiKey::{key};\n"));
    put(out, "        fn decode(reader: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {");
    put(out, &format!("            {name}::decode(reader, version)\n        }}\n"));
    put(out, "        fn encode(&self, out: &mut Vec<u8>, version: i16) {");
    put(out, &format!("            {name}::encode(self, out, version);\n        }}\n"));
    put(out, "        fn errors(&self, each: &mut dyn FnMut(i16)) {");
    put(out, &format!("            {name}::errors(self, each);\n        }}\n    }}\n"));
}

/// The error codes that a struct tells: its own and those of the structs in it. Not for structs that have none, but for
/// messages always.
pub(crate) fn errors(out: &mut String, this: &Struct<'_>) {
    if !this.is_message() && !tells_errors(this.fields) {
        return;
    }
    let mut body = String::new();
    for field in this.fields {
        let (name, is_optional) = (ident(field), field.nullable_from.is_some());
        match &field.kind {
            Kind::Scalar(Scalar::Int16) if is_error(field) => {
                put(&mut body, &format!("            each(self.{name});"))
            }
            Kind::Struct(fields) if tells_errors(fields) && is_optional => {
                put(&mut body, &format!("            if let Some({name}) = &self.{name} {{ {name}.errors(each); }}"));
            }
            Kind::Struct(fields) if tells_errors(fields) => {
                put(&mut body, &format!("            self.{name}.errors(each);"));
            }
            Kind::Array(_) if inner_fields(&field.kind).is_some_and(tells_errors) => {
                let flatten = if is_optional { ".iter().flatten()" } else { "" };
                let items = if is_optional { "" } else { "&" };
                put(
                    &mut body,
                    &format!("            for item in {items}self.{name}{flatten} {{ item.errors(each); }}"),
                );
            }
            _ => {}
        }
    }
    let each = if body.is_empty() { "_each" } else { "each" };
    put(out, "        /// Calls `each` with every error code that it tells, 0 (none) included.");
    put(out, &format!("        pub fn errors(&self, {each}: &mut dyn FnMut(i16)) {{\n{body}        }}\n"));
}

fn is_error(field: &Field) -> bool {
    field.name == "error_code"
}

fn tells_errors(fields: &[Field]) -> bool {
    fields.iter().any(|field| is_error(field) || inner_fields(&field.kind).is_some_and(tells_errors))
}

/// The function that finds the error codes in the body of any response.
pub(crate) fn errors_of_response(out: &mut String, apis: &[Api]) {
    put(out, "/// Calls `each` with every error code in the body of a response, 0 (none) included.");
    put(out, "///\n/// # Errors\n/// If the bytes are not the body of such a response.");
    put(
        out,
        "pub fn errors_of_response(key: ApiKey, version: i16, body: &[u8], each: &mut dyn FnMut(i16)) -> Result<(), crate::DecodeError> {",
    );
    put(out, "    let mut reader = crate::Reader::new(body);\n    match key {");
    for Api { name, .. } in apis {
        let module = snake(name);
        put(out, &format!("        ApiKey::{name} => {module}::Response::decode(&mut reader, version)?.errors(each),"));
    }
    put(out, "    }\n    Ok(())\n}\n");
}

pub(crate) fn decode(out: &mut String, this: &Struct<'_>) {
    let mut body = String::new();
    if this.is_message() {
        put(&mut body, &format!("            if !ApiKey::{}.valid_versions().contains(&version) {{", this.api.name));
        put(&mut body, "                return Err(reader.error(Reason::UnsupportedVersion(version)));\n            }");
    }
    this.let_flexible(&mut body);
    for field in this.untagged() {
        let value = match this.when_present(field) {
            When::Always => read(this, field),
            When::Never => continue,
            When::If(condition) => {
                let default = default_value(field, &this.inner_name(field));
                format!("if {condition} {{ {} }} else {{ {default} }}", read(this, field))
            }
        };
        put(&mut body, &format!("            let {} = {value};", ident(field)));
    }
    decode_tagged(&mut body, this);
    let fields: Vec<_> = this.fields.iter().map(ident).collect();
    put(&mut body, &format!("            Ok(Self {{ {} }})", fields.join(", ")));

    put(
        out,
        "        /// Decodes a version; what the version lacks gets its default.\n        ///\n        /// # Errors",
    );
    put(out, "        /// If the bytes are not one.");
    let (lifetime, version) = (if this.borrows() { "<'a>" } else { "<'_>" }, this.version_param(&body));
    put(
        out,
        &format!(
            "        pub fn decode(reader: &mut Reader{lifetime}, {version}: i16) -> Result<Self, DecodeError> {{\n{body}        }}\n"
        ),
    );
}

fn decode_tagged(body: &mut String, this: &Struct<'_>) {
    let tagged = this.tagged();
    for field in &tagged {
        let default = default_value(field, &this.inner_name(field));
        put(body, &format!("            let mut {} = {default};", ident(field)));
    }
    let skip = tagged.is_empty();
    let mut section = String::new();
    if skip {
        put(&mut section, "            reader.skip_tagged_fields()?;");
    } else {
        put(&mut section, "            reader.tagged_fields(|tag, reader| {\n                match tag {");
        for field in tagged {
            let guard = match this.when_present(field) {
                When::If(condition) => format!(" if {condition}"),
                When::Always | When::Never => String::new(),
            };
            let (tag, name) = (field.tag.expect("it is tagged"), ident(field));
            put(&mut section, &format!("                    {tag}{guard} => {name} = {},", read(this, field)));
        }
        put(&mut section, "                    _ => return Ok(false),\n                }\n                Ok(true)");
        put(&mut section, "            })?;");
    }
    match this.flexible() {
        "true" => body.push_str(&section),
        "false" => {}
        _ => put(body, &format!("            if flexible {{\n{section}            }}")),
    }
}

/// The expression that reads a field that is present.
fn read(this: &Struct<'_>, field: &Field) -> String {
    let Some(from) = field.nullable_from else { return read_plain(this, field) };
    match this.when_from(from) {
        When::Always => read_nullable(this, field),
        When::Never => format!("Some({})", read_plain(this, field)),
        When::If(condition) => {
            format!("if {condition} {{ {} }} else {{ Some({}) }}", read_nullable(this, field), read_plain(this, field))
        }
    }
}

fn read_plain(this: &Struct<'_>, field: &Field) -> String {
    let flexible = this.flexible();
    match &field.kind {
        Kind::Scalar(Scalar::String) => format!("Cow::from(reader.string({flexible})?)"),
        Kind::Scalar(Scalar::Bytes | Scalar::Records) => format!("Cow::from(reader.bytes({flexible})?)"),
        Kind::Scalar(scalar) => format!("reader.{}()?", primitive(*scalar)),
        Kind::Struct(_) => format!("{}::decode(reader, version)?", this.inner_name(field)),
        Kind::Array(_) => format!("reader.array({flexible}, {})?", read_element(this, field)),
    }
}

fn read_nullable(this: &Struct<'_>, field: &Field) -> String {
    let flexible = this.flexible();
    match &field.kind {
        Kind::Scalar(Scalar::String) => format!("reader.nullable_string({flexible})?.map(Cow::from)"),
        Kind::Scalar(Scalar::Bytes | Scalar::Records) => format!("reader.nullable_bytes({flexible})?.map(Cow::from)"),
        Kind::Scalar(_) => panic!("{}: only strings and bytes may be null", field.name),
        Kind::Struct(_) => {
            let name = this.inner_name(field);
            format!("if reader.is_present()? {{ Some({name}::decode(reader, version)?) }} else {{ None }}")
        }
        Kind::Array(_) => format!("reader.nullable_array({flexible}, {})?", read_element(this, field)),
    }
}

/// The smallest size and the function for the elements of an array.
fn read_element(this: &Struct<'_>, field: &Field) -> String {
    let Kind::Array(element) = &field.kind else { unreachable!("only arrays have elements") };
    let versions = field.min.max(this.min)..=field.max.min(this.max);
    let smallest = versions.map(|version| size_min(element, false, this.api, version)).min();
    let smallest = smallest.expect("every field is in some version");
    assert!(smallest > 0, "{}: elements without bytes cannot be counted", field.name);
    let flexible = this.flexible();
    let function = match &**element {
        Kind::Scalar(Scalar::String) => format!("|reader| reader.string({flexible}).map(Cow::from)"),
        Kind::Scalar(Scalar::Bytes | Scalar::Records) => format!("|reader| reader.bytes({flexible}).map(Cow::from)"),
        Kind::Scalar(scalar) => format!("Reader::{}", primitive(*scalar)),
        Kind::Struct(_) => format!("|reader| {}::decode(reader, version)", this.inner_name(field)),
        Kind::Array(_) => unreachable!("an array's element is never an array"),
    };
    format!("{smallest}, {function}")
}

/// The fewest bytes a value can take in a version.
fn size_min(kind: &Kind, nullable: bool, api: &Api, version: i16) -> usize {
    let flexible = api.is_flexible(version);
    match kind {
        Kind::Scalar(Scalar::Int8 | Scalar::Bool) => 1,
        Kind::Scalar(Scalar::Int16 | Scalar::Uint16) => 2,
        Kind::Scalar(Scalar::Int32) => 4,
        Kind::Scalar(Scalar::Int64 | Scalar::Float64) => 8,
        Kind::Scalar(Scalar::Uuid) => 16,
        Kind::Scalar(Scalar::String | Scalar::Bytes | Scalar::Records) | Kind::Array(_) if flexible => 1,
        Kind::Scalar(Scalar::String) => 2,
        Kind::Scalar(Scalar::Bytes | Scalar::Records) | Kind::Array(_) => 4,
        Kind::Struct(_) if nullable => 1,
        Kind::Struct(fields) => {
            let present = fields.iter().filter(|field| field.is_in(version) && field.tag.is_none());
            let sizes = present.map(|field| size_min(&field.kind, field.is_nullable_in(version), api, version));
            sizes.sum::<usize>() + usize::from(flexible)
        }
    }
}

/// The name of a primitive in `Reader` and `put`.
fn primitive(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Int8 => "i8",
        Scalar::Int16 => "i16",
        Scalar::Int32 => "i32",
        Scalar::Int64 => "i64",
        Scalar::Uint16 => "u16",
        Scalar::Bool => "bool",
        Scalar::Float64 => "f64",
        Scalar::Uuid => "uuid",
        Scalar::String => "string",
        Scalar::Bytes | Scalar::Records => "bytes",
    }
}

pub(crate) fn encode(out: &mut String, this: &Struct<'_>) {
    let mut body = String::new();
    if this.is_message() {
        let key = &this.api.name;
        put(&mut body, &format!("            let valid = ApiKey::{key}.valid_versions().contains(&version);"));
        put(&mut body, &format!("            assert!(valid, \"{key} has no version {{version}}\");"));
    }
    this.let_flexible(&mut body);
    for field in this.untagged() {
        match this.when_present(field) {
            When::Always => put(&mut body, &write(this, field)),
            When::Never => {}
            When::If(condition) => put(&mut body, &format!("            if {condition} {{ {} }}", write(this, field))),
        }
    }
    encode_tagged(&mut body, this);
    put(out, "        /// Appends a version; a field that the version lacks is left out, whatever its value.");
    let version = this.version_param(&body);
    put(out, &format!("        pub fn encode(&self, out: &mut Vec<u8>, {version}: i16) {{\n{body}        }}\n"));
}

fn encode_tagged(body: &mut String, this: &Struct<'_>) {
    let tagged = this.tagged();
    let mut section = String::new();
    for field in &tagged {
        let not_default = is_not_default(this, field);
        let condition = match this.when_present(field) {
            When::If(condition) => format!("{condition} && {not_default}"),
            When::Always | When::Never => not_default,
        };
        put(&mut section, &format!("            let has_{} = {condition};", field.name));
    }
    let counts: Vec<_> = tagged.iter().map(|field| format!("u32::from(has_{})", field.name)).collect();
    let count = if counts.is_empty() { "0".into() } else { counts.join(" + ") };
    put(&mut section, &format!("            put::unsigned_varint(out, {count});"));
    for field in tagged {
        let tag = field.tag.expect("it is tagged");
        put(&mut section, &format!("            if has_{} {{", field.name));
        put(
            &mut section,
            &format!("                put::tagged_field(out, {tag}, |out| {{ {} }});", write(this, field)),
        );
        put(&mut section, "            }");
    }
    match this.flexible() {
        "true" => body.push_str(&section),
        "false" => {}
        _ => put(body, &format!("            if flexible {{\n{section}            }}")),
    }
}

/// The condition under which a tagged field is written.
fn is_not_default(this: &Struct<'_>, field: &Field) -> String {
    let name = format!("self.{}", ident(field));
    if field.nullable_from.is_some() {
        assert!(is_null_by_default(field), "{}: a tagged field that may be null has to be so by default", field.name);
        return format!("{name}.is_some()");
    }
    let default = default_value(field, &this.inner_name(field));
    match &field.kind {
        Kind::Scalar(Scalar::Bool) if default == "false" => name,
        Kind::Scalar(Scalar::String | Scalar::Bytes | Scalar::Records) | Kind::Array(_) => {
            format!("!{name}.is_empty()")
        }
        Kind::Scalar(_) | Kind::Struct(_) => format!("{name} != {default}"),
    }
}

/// The statements that write a field that is present.
fn write(this: &Struct<'_>, field: &Field) -> String {
    let (name, flexible) = (format!("self.{}", ident(field)), this.flexible());
    let Some(from) = field.nullable_from else { return write_plain(this, field, &name) };
    match &field.kind {
        Kind::Scalar(scalar) => {
            let primitive = primitive(*scalar);
            let nullable = format!("put::nullable_{primitive}(out, {name}.as_deref(), {flexible});");
            let plain = format!("put::{primitive}(out, {name}.as_deref().unwrap_or_default(), {flexible});");
            match this.when_from(from) {
                When::Always => nullable,
                When::Never => plain,
                When::If(condition) => format!("if {condition} {{ {nullable} }} else {{ {plain} }}"),
            }
        }
        Kind::Struct(_) => {
            assert!(matches!(this.when_from(from), When::Always), "{}: null in some versions only", field.name);
            format!(
                "put::presence(out, {name}.is_some()); if let Some(value) = &{name} {{ value.encode(out, version); }}"
            )
        }
        Kind::Array(element) => {
            let elements = write_elements(element, "elements", flexible);
            let null = match this.when_from(from) {
                When::Always => format!("None => put::null_count(out, {flexible}),"),
                When::Never => format!("None => put::count(out, 0, {flexible}),"),
                When::If(condition) => format!(
                    "None if {condition} => put::null_count(out, {flexible}), None => put::count(out, 0, {flexible}),"
                ),
            };
            format!("match &{name} {{ Some(elements) => {{ {elements} }} {null} }}")
        }
    }
}

fn write_plain(this: &Struct<'_>, field: &Field, name: &str) -> String {
    let flexible = this.flexible();
    match &field.kind {
        Kind::Scalar(scalar @ (Scalar::String | Scalar::Bytes | Scalar::Records)) => {
            format!("put::{}(out, &{name}, {flexible});", primitive(*scalar))
        }
        Kind::Scalar(scalar) => format!("put::{}(out, {name});", primitive(*scalar)),
        Kind::Struct(_) => format!("{name}.encode(out, version);"),
        Kind::Array(element) => write_elements(element, &format!("&{name}"), flexible),
    }
}

fn write_elements(element: &Kind, elements: &str, flexible: &str) -> String {
    let (pattern, statement) = match element {
        Kind::Scalar(scalar @ (Scalar::String | Scalar::Bytes | Scalar::Records)) => {
            ("element", format!("put::{}(out, element, {flexible});", primitive(*scalar)))
        }
        Kind::Scalar(scalar) => ("&element", format!("put::{}(out, element);", primitive(*scalar))),
        Kind::Struct(_) => ("element", "element.encode(out, version);".into()),
        Kind::Array(_) => unreachable!("an array's element is never an array"),
    };
    let list = elements.trim_start_matches('&');
    format!("put::count(out, {list}.len(), {flexible}); for {pattern} in {elements} {{ {statement} }}")
}

pub(crate) fn into_owned(out: &mut String, this: &Struct<'_>) {
    if !this.borrows() {
        return;
    }
    put(out, "        /// Copies what is borrowed, so that the value can outlive its input.");
    put(out, &format!("        pub fn into_owned(self) -> {}<'static> {{\n            {} {{", this.name, this.name));
    for field in this.fields {
        let name = ident(field);
        put(out, &format!("                {name}: {},", owned(field, this)));
    }
    put(out, "            }\n        }");
}

fn owned(field: &Field, this: &Struct<'_>) -> String {
    let name = format!("self.{}", ident(field));
    let inner = this.inner_name(field);
    let is_nullable = field.nullable_from.is_some();
    let function = |kind: &Kind| match kind {
        Kind::Struct(fields) if fields_borrow(fields) => Some(format!("{inner}::into_owned")),
        Kind::Scalar(Scalar::String | Scalar::Bytes | Scalar::Records) => {
            Some("|value| Cow::Owned(value.into_owned())".into())
        }
        _ => None,
    };
    match &field.kind {
        Kind::Array(element) => match function(element) {
            None => name,
            Some(function) if is_nullable => {
                format!("{name}.map(|elements| elements.into_iter().map({function}).collect())")
            }
            Some(function) => format!("{name}.into_iter().map({function}).collect()"),
        },
        kind => match (function(kind), kind) {
            (None, _) => name,
            (Some(function), _) if is_nullable => format!("{name}.map({function})"),
            (Some(_), Kind::Struct(_)) => format!("{name}.into_owned()"),
            (Some(_), _) => format!("Cow::Owned({name}.into_owned())"),
        },
    }
}
