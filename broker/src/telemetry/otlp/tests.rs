//! Documents as a library writes them.

use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, MetricsData, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    Summary, SummaryDataPoint, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use prost::Message as _;

use super::*;

pub(crate) fn any_of(value: any_value::Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

pub(crate) fn attribute(key: &str, text: &str) -> KeyValue {
    let value = Some(any_of(any_value::Value::StringValue(text.to_owned())));
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

pub(crate) fn point(value: number_data_point::Value, attributes: Vec<KeyValue>) -> NumberDataPoint {
    NumberDataPoint { attributes, time_unix_nano: 7, value: Some(value), ..NumberDataPoint::default() }
}

fn metric(name: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), unit: "1".to_owned(), data: Some(data), ..Metric::default() }
}

pub(crate) fn gauge(name: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    metric(name, Data::Gauge(Gauge { data_points }))
}

pub(crate) fn sum(name: &str, is_monotonic: bool, temporality: i32, data_points: Vec<NumberDataPoint>) -> Metric {
    metric(name, Data::Sum(Sum { data_points, aggregation_temporality: temporality, is_monotonic }))
}

pub(crate) fn document(attributes: Vec<KeyValue>, metrics: Vec<Metric>) -> MetricsData {
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    MetricsData { resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }] }
}

/// A point with what it holds: name, kind, attributes, value.
type Read = (String, Kind, Vec<(String, String)>, f64);

fn all(document: &[u8]) -> Result<(Vec<Read>, u64), Broken> {
    let mut points = Vec::new();
    let left_out = read(document, |point| {
        let attributes = point.attributes.iter().map(|(key, text)| ((*key).to_owned(), text.to_string()));
        points.push((point.name.to_owned(), point.kind, attributes.collect(), point.value));
    })?;
    Ok((points, left_out))
}

fn double(value: f64) -> number_data_point::Value {
    number_data_point::Value::AsDouble(value)
}

#[test]
fn gauges_sums_and_histograms_are_read_as_they_were_written() {
    let mut others = vec![attribute("s", "t"), attribute("list", "")];
    others[1].value = Some(any_of(any_value::Value::ArrayValue(ArrayValue::default())));
    for (key, value) in [
        ("b", any_value::Value::BoolValue(true)),
        ("i", any_value::Value::IntValue(-3)),
        ("d", any_value::Value::DoubleValue(0.5)),
    ] {
        others.push(KeyValue { value: Some(any_of(value)), ..attribute(key, "") });
    }
    let histogram = HistogramDataPoint {
        count: 4,
        sum: Some(2.5),
        bucket_counts: vec![1, 3],
        explicit_bounds: vec![1.0],
        ..HistogramDataPoint::default()
    };
    let histogram = Histogram { data_points: vec![histogram], aggregation_temporality: 2 };
    let document = document(
        vec![attribute("r", "1")],
        vec![
            gauge("a.g", vec![point(double(1.25), others), point(number_data_point::Value::AsInt(-9), Vec::new())]),
            sum("a.up", true, 2, vec![point(double(3.0), Vec::new())]),
            sum("a.both", false, 2, vec![point(double(4.0), Vec::new())]),
            metric("a.h", Data::Histogram(histogram)),
        ],
    );
    let (points, left_out) = all(&document.encode_to_vec()).expect("it is whole");
    let texts = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|&(key, text)| (key.to_owned(), text.to_owned())).collect()
    };
    let r = texts(&[("r", "1")]);
    let wanted = [
        (
            "a.g".to_owned(),
            Kind::Gauge,
            texts(&[("r", "1"), ("s", "t"), ("b", "true"), ("i", "-3"), ("d", "0.5")]),
            1.25,
        ),
        ("a.g".to_owned(), Kind::Gauge, r.clone(), -9.0),
        ("a.up".to_owned(), Kind::Counter, r.clone(), 3.0),
        ("a.both".to_owned(), Kind::Gauge, r.clone(), 4.0),
        ("a.h".to_owned(), Kind::Count, r.clone(), 4.0),
        ("a.h".to_owned(), Kind::Sum, r, 2.5),
    ];
    assert_eq!((points.as_slice(), left_out), (&wanted[..], 0));
}

#[test]
fn what_stands_for_no_single_value_is_left_out_and_counted() {
    let many = (0..ATTRIBUTES_MAX + 1).map(|n| attribute(&n.to_string(), "")).collect();
    let nothing = NumberDataPoint { flags: 1, ..point(double(1.0), Vec::new()) };
    let summary = Summary { data_points: vec![SummaryDataPoint::default(); 2] };
    let document = document(
        Vec::new(),
        vec![
            gauge("a.many", vec![point(double(1.0), many)]),
            gauge("a.nothing", vec![nothing, NumberDataPoint::default()]),
            sum("a.delta", true, 1, vec![point(double(1.0), Vec::new())]),
            metric("a.s", Data::Summary(summary)),
        ],
    );
    assert_eq!(all(&document.encode_to_vec()), Ok((Vec::new(), 6)));
    assert_eq!(all(&[]), Ok((Vec::new(), 0)));
}

#[test]
fn the_parts_of_a_message_may_come_in_any_order_and_repeatedly() {
    // The resource behind the scopes, a metric's data before its name, its points before what they are.
    let data = [&[0x0a, 9, 0x31][..], &8_i64.to_le_bytes(), &[0x10, 2, 0x18, 1]].concat();
    let metric = [&[0x3a, data.len() as u8][..], &data, &[0x0a, 3], b"a.x"].concat();
    let scope = [&[0x12, metric.len() as u8][..], &metric].concat();
    let resource = [0x0a, 8, 0x0a, 1, b'k', 0x12, 3, 0x0a, 1, b'v'];
    let resource_metrics = [&[0x12, scope.len() as u8][..], &scope, &[0x0a, resource.len() as u8], &resource].concat();
    let document = [&[0x0a, resource_metrics.len() as u8][..], &resource_metrics].concat();
    MetricsData::decode(document.as_slice()).expect("the library reads it, too");
    let k = vec![("k".to_owned(), "v".to_owned())];
    assert_eq!(all(&document), Ok((vec![("a.x".to_owned(), Kind::Counter, k, 8.0)], 0)));
}

proptest! {
    /// Whatever the library takes for a document is one here; groups, which it skips, are none.
    #[test]
    fn broken_documents_are_told_from_whole_ones(
        seed in proptest::collection::vec(any::<u8>(), 0..40),
        at in 0_usize..200,
        byte in any::<u8>(),
    ) {
        let name = String::from_utf8_lossy(&seed).into_owned();
        let metrics = vec![
            gauge(&name, vec![point(double(1.0), vec![attribute("k", "v")])]),
            sum("a.b", true, 2, vec![point(double(1.0), Vec::new())]),
        ];
        let mut bytes = document(vec![attribute("r", "1")], metrics).encode_to_vec();
        let whole = all(&bytes).expect("it is whole");
        prop_assert_eq!(whole.0.len(), 2);
        let at = at % bytes.len();
        bytes[at] = byte;
        let told = all(&bytes);
        let library = MetricsData::decode(bytes.as_slice());
        if let (Err(broken), Ok(read)) = (&told, &library) {
            prop_assert_eq!(*broken, Broken::WireType, "{:?}", read);
        }
        }
}
