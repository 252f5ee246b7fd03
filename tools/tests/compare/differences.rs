//! Where two answers differ, and which of that is intended.

use std::fmt;

use crate::normal::identity;
use crate::value::Value;

/// One place at which two answers differ.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    pub(crate) api: String,
    pub(crate) version: i16,
    /// As `topics[].partitions[].error_code`; `(connection)` if not both answered, `(state)` for what followed.
    pub(crate) path: String,
    pub(crate) skein: String,
    pub(crate) kafka: String,
}

/// Compares two answers. Where an error code differs, the rest of its struct follows from that and is not mentioned.
pub(crate) fn differences(skein: &Value, kafka: &Value) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    compare("", skein, kafka, &mut found);
    found
}

fn compare(path: &str, skein: &Value, kafka: &Value, found: &mut Vec<(String, String, String)>) {
    match (skein, kafka) {
        (Value::Struct(ours), Value::Struct(theirs)) => {
            let dot = if path.is_empty() { "" } else { "." };
            let errors = ["error_code", "partition_error_code"];
            let differing = errors.iter().find(|name| ours.get(**name) != theirs.get(**name));
            let names = match differing {
                Some(name) => vec![*name],
                None => ours.keys().copied().collect(),
            };
            for name in names {
                let path = format!("{path}{dot}{name}");
                match (ours.get(name), theirs.get(name)) {
                    (Some(ours), Some(theirs)) => compare(&path, ours, theirs, found),
                    (ours, theirs) => found.push((path, one(ours), one(theirs))),
                }
            }
        }
        (Value::List(ours), Value::List(theirs)) => elements(path, ours, theirs, found),
        (Value::Float(ours), Value::Float(theirs)) if ours.to_bits() == theirs.to_bits() => {}
        (ours, theirs) if ours == theirs => {}
        (ours, theirs) => found.push((path.to_owned(), ours.to_string(), theirs.to_string())),
    }
}

/// Elements are compared with those of the same identity; if some have one in common, with those in the same place.
fn elements(path: &str, ours: &[Value], theirs: &[Value], found: &mut Vec<(String, String, String)>) {
    let inner = format!("{path}[]");
    if !are_told_apart(ours) || !are_told_apart(theirs) {
        match ours.len() == theirs.len() {
            true => ours.iter().zip(theirs).for_each(|(ours, theirs)| compare(&inner, ours, theirs, found)),
            false => found.push((path.to_owned(), printed(ours), printed(theirs))),
        }
        return;
    }
    for element in ours {
        match theirs.iter().find(|other| identity(other) == identity(element)) {
            Some(other) => compare(&inner, element, other, found),
            None => found.push((inner.clone(), element.to_string(), ABSENT.to_owned())),
        }
    }
    for element in theirs.iter().filter(|element| !ours.iter().any(|other| identity(other) == identity(element))) {
        found.push((inner.clone(), ABSENT.to_owned(), element.to_string()));
    }
}

fn are_told_apart(elements: &[Value]) -> bool {
    // Both lists are sorted by it.
    elements.windows(2).all(|two| identity(&two[0]) != identity(&two[1]))
}

/// What a side is printed as that has no such field or element.
const ABSENT: &str = "absent";

fn one(value: Option<&Value>) -> String {
    value.map_or_else(|| ABSENT.to_owned(), ToString::to_string)
}

fn printed(values: &[Value]) -> String {
    Value::List(values.to_vec()).to_string()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api, version, path, skein, kafka } = self;
        write!(f, "{api} v{version} {path}\n    skein  {}\n    kafka  {}", short(skein), short(kafka))
    }
}

/// The most characters of a side that a report prints.
const PRINTED_MAX: usize = 1500;

fn short(text: &str) -> String {
    match text.char_indices().nth(PRINTED_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The checked-in list of differences that are meant.
#[derive(Debug)]
pub(crate) struct Intended {
    entries: Vec<Entry>,
}

/// Whether the list has a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Covered {
    No,
    Yes,
    /// It does, and what follows would differ as well: the episode ends.
    Parting,
}

#[derive(Debug)]
struct Entry {
    api: Vec<String>,
    versions: (i16, i16),
    path: Vec<String>,
    skein: Vec<String>,
    kafka: Vec<String>,
    request: Vec<String>,
    reason: String,
    /// Whether what the brokers hold differs from then on.
    parts: bool,
    met: u64,
}

impl Intended {
    /// Reads the list, see its head for what an entry has.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
        let list = match table.get("difference") {
            Some(toml::Value::Array(list)) => list.as_slice(),
            _ => &[],
        };
        Ok(Self { entries: list.iter().map(Entry::read).collect::<Result<_, _>>()? })
    }

    /// Whether the difference is meant.
    pub(crate) fn covers(&mut self, difference: &Difference, request: &str) -> Covered {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.covers(difference, request)) else {
            return Covered::No;
        };
        entry.met += 1;
        if entry.parts { Covered::Parting } else { Covered::Yes }
    }

    /// Each reason, and how often it was met.
    pub(crate) fn met(&self) -> impl Iterator<Item = (String, u64)> {
        self.entries
            .iter()
            .map(|entry| (format!("{} {}: {}", entry.api.join(" "), entry.path.join(" "), entry.reason), entry.met))
    }
}

impl Entry {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let table = value.as_table().ok_or("[[difference]] is a table")?;
        let known = ["api", "versions", "path", "skein", "kafka", "request", "parts", "reason"];
        if let Some(unknown) = table.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("{table:?}: {unknown} is none of {known:?}"));
        }
        let text = |key: &str| table.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        let patterns = |key: &str| match table.get(key) {
            None => Ok(vec!["*".to_owned()]),
            Some(toml::Value::Array(patterns)) => {
                let texts = patterns.iter().map(|pattern| pattern.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().ok_or_else(|| format!("{table:?}: {key} holds more than texts"))
            }
            Some(_) => text(key).map(|text| vec![text]).ok_or_else(|| format!("{table:?}: {key} is no text")),
        };
        if let Some(missing) = ["api", "path", "reason"].iter().find(|key| !table.contains_key(**key)) {
            return Err(format!("{table:?}: {missing} is missing"));
        }
        let versions = match text("versions") {
            None => (i16::MIN, i16::MAX),
            Some(range) => {
                let (first, last) = range.split_once('-').unwrap_or((&range, &range));
                match (first.parse(), last.parse()) {
                    (Ok(first), Ok(last)) => (first, last),
                    _ => return Err(format!("{table:?}: versions is MIN-MAX")),
                }
            }
        };
        Ok(Self {
            api: patterns("api")?,
            versions,
            path: patterns("path")?,
            skein: patterns("skein")?,
            kafka: patterns("kafka")?,
            request: patterns("request")?,
            reason: text("reason").unwrap_or_default(),
            parts: table.get("parts").and_then(toml::Value::as_bool).unwrap_or(false),
            met: 0,
        })
    }

    fn covers(&self, difference: &Difference, request: &str) -> bool {
        (self.versions.0..=self.versions.1).contains(&difference.version)
            && one_matches(&self.api, &difference.api)
            && one_matches(&self.path, &difference.path)
            && one_matches(&self.skein, &difference.skein)
            && one_matches(&self.kafka, &difference.kafka)
            && one_matches(&self.request, request)
    }
}

fn one_matches(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, text))
}

/// Whether a text is as the pattern says, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    (0..=text.len()).filter(|&at| text.is_char_boundary(at)).any(|at| matches(rest, &text[at..]))
}
