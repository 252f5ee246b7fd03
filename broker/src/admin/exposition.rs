//! Prometheus' text format 0.0.4: families of samples, each with its help and type.
//!
//! ```text
//! # HELP name what it is
//! # TYPE name counter
//! name{label="value",…} 42
//! ```
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::{Display, Write as _};

use storage::latency::{BOUNDS_US, Distribution};

/// The content type of the format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the samples of a family are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only rises, from the node's start on.
    Counter,
    /// A value of this moment.
    Gauge,
    /// Classes of durations with their sum and count.
    Histogram,
}

impl Kind {
    /// As the format calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A metric: its name, what it is, and the labels its samples have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

/// A page of metrics.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// The page's text.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Begins a family; its samples follow.
    pub(super) fn family<'a>(&'a mut self, family: &'a Family) -> Samples<'a> {
        let Family { name, kind, help, .. } = family;
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name()).expect("text takes everything");
        Samples { page: self, family }
    }

    /// A family with one sample and no labels.
    pub(super) fn single(&mut self, family: &Family, value: impl Display) {
        self.family(family).sample(&[], value);
    }
}

/// The family being written.
#[derive(Debug)]
pub(super) struct Samples<'a> {
    page: &'a mut Page,
    family: &'a Family,
}

impl Samples<'_> {
    /// One sample, with a value for each of the family's labels.
    pub(super) fn sample(&mut self, labels: &[&str], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// All samples of a distribution of durations, in seconds.
    pub(super) fn distribution(&mut self, labels: &[&str], distribution: &Distribution) {
        let mut below = 0;
        for (bound_us, class) in BOUNDS_US.iter().zip(distribution.classes) {
            below += class;
            self.line("_bucket", labels, Some(&seconds(bound_us * 1000).to_string()), below);
        }
        let count = distribution.count();
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, seconds(distribution.sum_ns));
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, suffix: &str, labels: &[&str], bound: Option<&str>, value: impl Display) {
        assert_eq!(labels.len(), self.family.labels.len(), "{}: a value for each label", self.family.name);
        let text = &mut self.page.text;
        text.push_str(self.family.name);
        text.push_str(suffix);
        let named = self.family.labels.iter().copied().zip(labels.iter().copied());
        for (index, (name, value)) in named.chain(bound.map(|bound| ("le", bound))).enumerate() {
            text.push(if index == 0 { '{' } else { ',' });
            text.push_str(name);
            text.push_str("=\"");
            escape(value, text);
            text.push('"');
        }
        if !labels.is_empty() || bound.is_some() {
            text.push('}');
        }
        writeln!(text, " {value}").expect("text takes everything");
    }
}

/// Nanoseconds as the format's seconds.
pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Writes a label's value: backslash, quote and line end are escaped.
pub(super) fn escape(value: &str, text: &mut String) {
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            letter => text.push(letter),
        }
    }
}
