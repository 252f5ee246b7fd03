//! The metrics of an OpenTelemetry document (`MetricsData`), one after another.
//!
//! ```text
//! MetricsData ─ ResourceMetrics ┬ Resource ─ attributes
//!                               └ ScopeMetrics ─ Metric ─ Gauge | Sum | Histogram | … ─ data points ─ attributes
//! ```
//!
//! The numbers of the fields are those of `opentelemetry/proto/metrics/v1/metrics.proto`.

#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Cow;

use super::protobuf::{Broken, Fields, Value};

/// Attributes of one data point, with those of its resource; a point with more is left out.
const ATTRIBUTES_MAX: usize = 16;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: a sum is counted from the client's start on.
const CUMULATIVE: u64 = 2;

/// The flag of a data point that says that nothing was recorded.
const NO_RECORDED_VALUE: u64 = 1;

mod field {
    pub(super) const RESOURCE_METRICS: u64 = 1;
    pub(super) const RESOURCE: u64 = 1;
    pub(super) const SCOPE_METRICS: u64 = 2;
    pub(super) const RESOURCE_ATTRIBUTES: u64 = 1;
    pub(super) const METRICS: u64 = 2;
    pub(super) const NAME: u64 = 1;
    pub(super) const GAUGE: u64 = 5;
    pub(super) const SUM: u64 = 7;
    pub(super) const HISTOGRAM: u64 = 9;
    pub(super) const EXPONENTIAL_HISTOGRAM: u64 = 10;
    pub(super) const SUMMARY: u64 = 11;
    /// One of these is a metric's data.
    pub(super) const DATA: [u64; 5] = [GAUGE, SUM, HISTOGRAM, EXPONENTIAL_HISTOGRAM, SUMMARY];
    pub(super) const DATA_POINTS: u64 = 1;
    pub(super) const TEMPORALITY: u64 = 2;
    pub(super) const IS_MONOTONIC: u64 = 3;
    pub(super) const KEY: u64 = 1;
    pub(super) const VALUE: u64 = 2;

    pub(super) mod number {
        pub(in super::super) const AS_DOUBLE: u64 = 4;
        pub(in super::super) const AS_INT: u64 = 6;
        pub(in super::super) const ATTRIBUTES: u64 = 7;
        pub(in super::super) const FLAGS: u64 = 8;
    }

    pub(super) mod histogram {
        pub(in super::super) const COUNT: u64 = 4;
        pub(in super::super) const SUM: u64 = 5;
        pub(in super::super) const ATTRIBUTES: u64 = 9;
        pub(in super::super) const FLAGS: u64 = 10;
    }
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value of this moment.
    Gauge,
    /// Only rises, from the client's start on.
    Counter,
    /// How many values a histogram has seen.
    Count,
    /// Their sum.
    Sum,
}

/// A name and its text.
pub type Attribute<'a> = (&'a str, Cow<'a, str>);

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub struct Point<'a> {
    /// The metric's name.
    pub name: &'a str,
    /// What the value is.
    pub kind: Kind,
    /// The attributes of the resource, then its own. Those that are no single value are not among them.
    pub attributes: &'a [Attribute<'a>],
    /// The value.
    pub value: f64,
}

/// Hands every value of the document to `each`. Returns how many were left out: of kinds that stand for no single value,
/// counted since the last push only, or with too many attributes.
///
/// # Errors
/// If the bytes are no such document; what comes before the fault was handed over.
pub fn read(document: &[u8], mut each: impl FnMut(&Point<'_>)) -> Result<u64, Broken> {
    let mut left_out = 0;
    for resource_metrics in messages(Fields::of(document), field::RESOURCE_METRICS) {
        let resource_metrics = resource_metrics?;
        let mut attributes = Vec::new();
        for resource in messages(resource_metrics, field::RESOURCE) {
            for attribute in messages(resource?, field::RESOURCE_ATTRIBUTES) {
                keep(&mut attributes, attribute?)?;
            }
        }
        for scope in messages(resource_metrics, field::SCOPE_METRICS) {
            for metric in messages(scope?, field::METRICS) {
                left_out += read_metric(metric?, &attributes, &mut each)?;
            }
        }
    }
    Ok(left_out)
}

/// The fields of that number, which are messages. Others are passed over, and what is wrong among them is told.
fn messages(fields: Fields<'_>, number: u64) -> impl Iterator<Item = Result<Fields<'_>, Broken>> {
    fields.filter_map(move |field| match field {
        Ok((found, value)) if found == number => Some(value.message()),
        Ok(_) => None,
        Err(broken) => Some(Err(broken)),
    })
}

fn read_metric<'a>(
    metric: Fields<'a>,
    resource: &[Attribute<'a>],
    each: &mut impl FnMut(&Point<'_>),
) -> Result<u64, Broken> {
    let mut name = "";
    let mut data = None;
    for found in metric {
        match found? {
            (field::NAME, value) => name = value.text()?,
            // Of several the last one counts.
            (number, value) if field::DATA.contains(&number) => data = Some((number, value.message()?)),
            _ => {}
        }
    }
    let Some((number, data)) = data else { return Ok(0) };
    let (mut temporality, mut is_monotonic) = (0, false);
    for found in data {
        match found? {
            (field::TEMPORALITY, value) if number != field::GAUGE && number != field::SUMMARY => {
                temporality = value.varint()?;
            }
            (field::IS_MONOTONIC, value) if number == field::SUM => is_monotonic = value.varint()? != 0,
            _ => {}
        }
    }
    let wanted = match number {
        field::GAUGE => Some(Kind::Gauge),
        field::SUM if temporality == CUMULATIVE => Some(if is_monotonic { Kind::Counter } else { Kind::Gauge }),
        field::HISTOGRAM if temporality == CUMULATIVE => Some(Kind::Count),
        _ => None,
    };
    let mut left_out = 0;
    for point in messages(data, field::DATA_POINTS) {
        let point = point?;
        let is_read = match wanted {
            None => false,
            Some(Kind::Count) => read_histogram(name, point, resource, each)?,
            Some(kind) => read_number(name, kind, point, resource, each)?,
        };
        left_out += u64::from(!is_read);
    }
    Ok(left_out)
}

fn read_number<'a>(
    name: &'a str,
    kind: Kind,
    point: Fields<'a>,
    resource: &[Attribute<'a>],
    each: &mut impl FnMut(&Point<'_>),
) -> Result<bool, Broken> {
    let mut attributes = resource.to_vec();
    let (mut number, mut flags) = (None, 0);
    for found in point {
        match found? {
            (field::number::AS_DOUBLE, value) => number = Some(value.double()?),
            (field::number::AS_INT, value) => number = Some(value.fixed64()? as i64 as f64),
            (field::number::ATTRIBUTES, value) => keep(&mut attributes, value.message()?)?,
            (field::number::FLAGS, value) => flags = value.varint()?,
            _ => {}
        }
    }
    let Some(value) = number.filter(|_| flags & NO_RECORDED_VALUE == 0) else { return Ok(false) };
    if attributes.len() > ATTRIBUTES_MAX {
        return Ok(false);
    }
    each(&Point { name, kind, attributes: &attributes, value });
    Ok(true)
}

/// Of a histogram the count and the sum: its classes would be as many series.
fn read_histogram<'a>(
    name: &'a str,
    point: Fields<'a>,
    resource: &[Attribute<'a>],
    each: &mut impl FnMut(&Point<'_>),
) -> Result<bool, Broken> {
    let mut attributes = resource.to_vec();
    let (mut count, mut sum, mut flags) = (0, None, 0);
    for found in point {
        match found? {
            (field::histogram::COUNT, value) => count = value.fixed64()?,
            (field::histogram::SUM, value) => sum = Some(value.double()?),
            (field::histogram::ATTRIBUTES, value) => keep(&mut attributes, value.message()?)?,
            (field::histogram::FLAGS, value) => flags = value.varint()?,
            _ => {}
        }
    }
    if flags & NO_RECORDED_VALUE != 0 || attributes.len() > ATTRIBUTES_MAX {
        return Ok(false);
    }
    let attributes = &attributes;
    each(&Point { name, kind: Kind::Count, attributes, value: count as f64 });
    if let Some(value) = sum {
        each(&Point { name, kind: Kind::Sum, attributes, value });
    }
    Ok(true)
}

/// Adds an attribute (`KeyValue`) if it is a single value; one more than [`ATTRIBUTES_MAX`] at the most.
fn keep<'a>(attributes: &mut Vec<Attribute<'a>>, attribute: Fields<'a>) -> Result<(), Broken> {
    let (mut key, mut text) = ("", None);
    for found in attribute {
        match found? {
            (field::KEY, value) => key = value.text()?,
            (field::VALUE, value) => text = any_value(value.message()?)?,
            _ => {}
        }
    }
    if let Some(text) = text.filter(|_| attributes.len() <= ATTRIBUTES_MAX) {
        attributes.push((key, text));
    }
    Ok(())
}

/// The text of an `AnyValue`, unless it is a list, a map or bytes.
fn any_value(value: Fields<'_>) -> Result<Option<Cow<'_, str>>, Broken> {
    let mut text = None;
    for found in value {
        text = match found? {
            (1, value) => Some(Cow::Borrowed(value.text()?)),
            (2, value) => Some(Cow::Borrowed(if value.varint()? == 0 { "false" } else { "true" })),
            (3, value) => Some(Cow::Owned((value.varint()? as i64).to_string())),
            (4, value) => Some(Cow::Owned(value.double()?.to_string())),
            (5..=7, Value::Bytes(_)) => None,
            (5..=7, _) => return Err(Broken::Kind),
            _ => text,
        };
    }
    Ok(text)
}
