//! Modules, structs and `ApiKey`.

use std::fmt::Write;

use crate::codec;
use crate::schema::{Api, Field, Kind, Scalar};

/// One struct to generate.
pub(crate) struct Struct<'s> {
    pub(crate) api: &'s Api,
    /// Its name: `Request`, `Response`, or one of these followed by the names of the fields that lead to it.
    pub(crate) name: String,
    /// What it is, for its documentation.
    pub(crate) what: String,
    pub(crate) fields: &'s [Field],
    /// Versions in which it occurs.
    pub(crate) min: i16,
    pub(crate) max: i16,
}

impl Struct<'_> {
    pub(crate) fn borrows(&self) -> bool {
        fields_borrow(self.fields)
    }

    /// `<'a>` if the struct borrows.
    pub(crate) fn lifetime(&self) -> &'static str {
        if self.borrows() { "<'a>" } else { "" }
    }

    pub(crate) fn is_message(&self) -> bool {
        self.name == "Request" || self.name == "Response"
    }

    /// Name of the type of a struct in the field.
    pub(crate) fn inner_name(&self, field: &Field) -> String {
        format!("{}{}", self.name, pascal(&field.name))
    }
}

/// The whole of `api.rs`.
pub(crate) fn generate(apis: &[Api]) -> String {
    let mut out = String::from("use std::fmt;\nuse std::ops::RangeInclusive;\n\n");
    api_key(&mut out, apis);
    for_each_api(&mut out, apis);
    codec::errors_of_response(&mut out, apis);
    for api in apis {
        module(&mut out, api);
    }
    out
}

fn api_key(out: &mut String, apis: &[Api]) {
    put(out, "/// The APIs of the client protocol, by their keys.");
    put(out, "#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]");
    put(out, "#[repr(i16)]");
    put(out, "pub enum ApiKey {");
    for Api { key, name, .. } in apis {
        put(out, &format!("    /// See [`{}`].\n    {name} = {key},", snake(name)));
    }
    put(out, "}\n\nimpl ApiKey {");
    put(out, "    /// All of them, in ascending order.");
    put(out, &format!("    pub const ALL: [Self; {}] = [", apis.len()));
    for Api { name, .. } in apis {
        put(out, &format!("        Self::{name},"));
    }
    put(out, "    ];\n");

    put(out, "    /// The API with this key.\n    pub fn from_i16(key: i16) -> Option<Self> {\n        match key {");
    for Api { key, name, .. } in apis {
        put(out, &format!("            {key} => Some(Self::{name}),"));
    }
    put(out, "            _ => None,\n        }\n    }\n");

    put(out, "    /// Kafka's name of it.\n    pub fn name(self) -> &'static str {\n        match self {");
    for Api { name, .. } in apis {
        put(out, &format!("            Self::{name} => \"{name}\","));
    }
    put(out, "        }\n    }\n");

    put(out, "    /// The versions that can be encoded and decoded.");
    put(out, "    pub fn valid_versions(self) -> RangeInclusive<i16> {\n        match self {");
    for Api { name, min, max, .. } in apis {
        put(out, &format!("            Self::{name} => {min}..={max},"));
    }
    put(out, "        }\n    }\n");

    put(out, "    /// The first version with the flexible encoding (KIP-482), if there is one.");
    put(out, "    pub fn first_flexible(self) -> Option<i16> {\n        match self {");
    for Api { name, first_flexible, .. } in apis {
        put(out, &format!("            Self::{name} => {first_flexible:?},"));
    }
    put(out, "        }\n    }\n}\n");
}

fn for_each_api(out: &mut String, apis: &[Api]) {
    put(out, "/// Calls a macro with `module Name,` for every API, to write tables that cover them all.");
    put(out, "#[macro_export]\nmacro_rules! for_each_api {\n    ($callback:ident) => {\n        $callback! {");
    for Api { name, .. } in apis {
        put(out, &format!("            {} {name},", snake(name)));
    }
    put(out, "        }\n    };\n}\n");
}

fn module(out: &mut String, api: &Api) {
    let Api { key, name, min, max, .. } = api;
    put(out, &format!("/// {name}, key {key}, versions {min} to {max}."));
    put(out, &format!("pub mod {} {{", snake(name)));
    if fields_borrow(&api.request) || fields_borrow(&api.response) {
        put(out, "    use std::borrow::Cow;\n");
    }
    put(out, "    use crate::wire::put;\n    use crate::{ApiKey, DecodeError, Message, Reader, Reason};\n");
    for (message, fields) in [("Request", &api.request), ("Response", &api.response)] {
        let what = format!("The {} of {name}.", message.to_lowercase());
        let (min, max) = (api.min, api.max);
        let root = Struct { api, name: message.into(), what, fields, min, max };
        structs(out, &root);
        codec::message(out, &root);
    }
    let response = if fields_borrow(&api.response) { "Response<'b>" } else { "Response" };
    let (params, request) = if fields_borrow(&api.request) { ("<'a>", "Request<'a>") } else { ("<'a>", "Request") };
    put(out, &format!("    impl{params} crate::Request<'a> for {request} {{"));
    put(out, &format!("        type Response<'b> = {response};\n    }}\n}}\n"));
}

/// The struct and, after it, those in it.
fn structs(out: &mut String, this: &Struct<'_>) {
    declaration(out, this);
    default(out, this);
    put(out, &format!("    impl{0} {1}{0} {{", this.lifetime(), this.name));
    codec::decode(out, this);
    codec::encode(out, this);
    codec::into_owned(out, this);
    codec::errors(out, this);
    put(out, "    }\n");
    for field in this.fields {
        let Some(fields) = inner_fields(&field.kind) else { continue };
        let what = format!("`{}` in [`{}`].", field.name, this.name);
        let (min, max) = (field.min.max(this.min), field.max.min(this.max));
        structs(out, &Struct { api: this.api, name: this.inner_name(field), what, fields, min, max });
    }
}

fn declaration(out: &mut String, this: &Struct<'_>) {
    put(out, &format!("    /// {}", this.what));
    let default = if is_default_derivable(this.fields) { ", Default" } else { "" };
    put(out, &format!("    #[derive(Debug, Clone, PartialEq{default})]"));
    put(out, &format!("    pub struct {}{} {{", this.name, this.lifetime()));
    for field in this.fields {
        put(out, &format!("        /// {}", field_doc(field, this)));
        put(out, &format!("        pub {}: {},", ident(field), field_type(field, this)));
    }
    put(out, "    }\n");
}

fn default(out: &mut String, this: &Struct<'_>) {
    if is_default_derivable(this.fields) {
        return;
    }
    let anonymous = if this.borrows() { "<'_>" } else { "" };
    put(out, &format!("    impl Default for {}{anonymous} {{", this.name));
    put(out, "        fn default() -> Self {\n            Self {");
    for field in this.fields {
        put(out, &format!("                {}: {},", ident(field), default_value(field, &this.inner_name(field))));
    }
    put(out, "            }\n        }\n    }\n");
}

/// `Versions 3 to 5; tag 0; null allowed from version 2 on; by default -1.`, as far as it says anything.
fn field_doc(field: &Field, this: &Struct<'_>) -> String {
    let (min, max) = (field.min.max(this.min), field.max.min(this.max));
    let mut doc = match (min, max) {
        (min, max) if min == max => format!("In version {min}"),
        (min, max) => format!("In versions {min} to {max}"),
    };
    if let Some(tag) = field.tag {
        let _ = write!(doc, "; tag {tag}");
    }
    match field.nullable_from {
        Some(from) if from > min => {
            let _ = write!(doc, "; may be null from version {from} on");
        }
        Some(_) => doc.push_str("; may be null"),
        None => {}
    }
    if let Some(default) = &field.default {
        let _ = write!(doc, "; by default {default}");
    }
    doc + "."
}

fn field_type(field: &Field, this: &Struct<'_>) -> String {
    let of = |kind: &Kind| match kind {
        Kind::Scalar(scalar) => scalar_type(*scalar).to_owned(),
        Kind::Struct(fields) => {
            let lifetime = if fields_borrow(fields) { "<'a>" } else { "" };
            this.inner_name(field) + lifetime
        }
        Kind::Array(_) => unreachable!("an array's element is never an array"),
    };
    let plain = match &field.kind {
        Kind::Array(element) => format!("Vec<{}>", of(element)),
        kind => of(kind),
    };
    if field.nullable_from.is_some() { format!("Option<{plain}>") } else { plain }
}

fn scalar_type(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Int8 => "i8",
        Scalar::Int16 => "i16",
        Scalar::Int32 => "i32",
        Scalar::Int64 => "i64",
        Scalar::Uint16 => "u16",
        Scalar::Bool => "bool",
        Scalar::Float64 => "f64",
        Scalar::String => "Cow<'a, str>",
        Scalar::Bytes | Scalar::Records => "Cow<'a, [u8]>",
        Scalar::Uuid => "crate::Uuid",
    }
}

/// The value of a field where it is absent.
pub(crate) fn default_value(field: &Field, inner_name: &str) -> String {
    let given = field.default.as_deref();
    if field.nullable_from.is_some() && is_null_by_default(field) {
        return "None".into();
    }
    let plain = match &field.kind {
        Kind::Scalar(Scalar::String) => {
            assert!(given.is_none(), "{}: a string's default can only be null", field.name);
            "Cow::Borrowed(\"\")".into()
        }
        Kind::Scalar(Scalar::Bytes | Scalar::Records) => "Cow::Borrowed(&[])".into(),
        Kind::Scalar(Scalar::Uuid) => "crate::Uuid::ZERO".into(),
        Kind::Scalar(Scalar::Bool) => given.unwrap_or("false").into(),
        Kind::Scalar(Scalar::Float64) => given.unwrap_or("0.0").into(),
        Kind::Scalar(_) => given.unwrap_or("0").into(),
        Kind::Struct(_) => format!("{inner_name}::default()"),
        Kind::Array(_) => "Vec::new()".into(),
    };
    if field.nullable_from.is_some() { format!("Some({plain})") } else { plain }
}

pub(crate) fn is_null_by_default(field: &Field) -> bool {
    field.default.as_deref() == Some("null") || matches!(field.kind, Kind::Scalar(Scalar::Records))
}

fn is_default_derivable(fields: &[Field]) -> bool {
    fields.iter().all(|field| match field.nullable_from {
        Some(_) => is_null_by_default(field),
        None => field.default.is_none(),
    })
}

pub(crate) fn inner_fields(kind: &Kind) -> Option<&[Field]> {
    match kind {
        Kind::Scalar(_) => None,
        Kind::Struct(fields) => Some(fields),
        Kind::Array(element) => inner_fields(element),
    }
}

pub(crate) fn fields_borrow(fields: &[Field]) -> bool {
    fn borrows(kind: &Kind) -> bool {
        match kind {
            Kind::Scalar(scalar) => matches!(scalar, Scalar::String | Scalar::Bytes | Scalar::Records),
            Kind::Struct(fields) => fields_borrow(fields),
            Kind::Array(element) => borrows(element),
        }
    }
    fields.iter().any(|field| borrows(&field.kind))
}

/// The field's name in Rust.
pub(crate) fn ident(field: &Field) -> &str {
    match field.name.as_str() {
        "match" => "r#match",
        name => name,
    }
}

pub(crate) fn put(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn pascal(name: &str) -> String {
    name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

pub(crate) fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (position, c) in name.char_indices() {
        if c.is_ascii_uppercase() && position > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
