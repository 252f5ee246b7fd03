//! Codes, messages and order are what a live Kafka 4.3.1 answered to the same requests, where a comment does not say
//! otherwise.

use net::Message as _;

use super::*;
use crate::metadata::record::Record;
use crate::metadata::tests::started;

type Parts<'a> = &'a [(&'a str, Option<&'a str>)];
type Ops<'a> = &'a [(&'a str, Option<f64>)];

fn request<'a>(entries: &[(Parts<'a>, Ops<'a>)]) -> alter::Request<'a> {
    let part = |&(kind, name): &(&'a str, Option<&'a str>)| alter::RequestEntriesEntity {
        entity_type: kind.into(),
        entity_name: name.map(Into::into),
    };
    let op = |&(key, value): &(&'a str, Option<f64>)| alter::RequestEntriesOps {
        key: key.into(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    };
    let entry = |(parts, ops): &(Parts<'a>, Ops<'a>)| alter::RequestEntries {
        entity: parts.iter().map(part).collect(),
        ops: ops.iter().map(op).collect(),
    };
    alter::Request { entries: entries.iter().map(entry).collect(), validate_only: false }
}

/// Codes and messages by entity.
fn alter_all(controller: &mut Controller, entries: &[(Parts<'_>, Ops<'_>)]) -> Vec<(i16, Option<String>)> {
    let (response, _) = alter_client_quotas(&request(entries), controller);
    for version in 0..=1 {
        let mut bytes = Vec::new();
        response.encode(&mut bytes, version);
        assert_eq!(alter::Response::from_bytes(&bytes, version).expect("what was encoded is decoded"), response);
    }
    response.entries.into_iter().map(|row| (row.error_code, row.error_message.map(Into::into))).collect()
}

fn refusal(entity: Parts<'_>, ops: Ops<'_>) -> String {
    let mut controller = started(&[]);
    let before = controller.newest().next_offset();
    let mut rows = alter_all(&mut controller, &[(entity, ops)]);
    let (code, message) = rows.pop().expect("a row for the entity");
    assert_eq!((code, rows.len()), (42, 0));
    assert_eq!(controller.newest().next_offset(), before, "what is refused is not stored");
    message.expect("a message")
}

const OK: (i16, Option<String>) = (0, None);
const RATE: Ops<'static> = &[("producer_byte_rate", Some(1000.0))];

#[test]
fn what_cannot_be_a_quota_is_refused_with_kafkas_words() {
    let user: Parts<'_> = &[("user", Some("u"))];
    assert_eq!(refusal(user, &[("nope", Some(1.0))]), "Invalid configuration key nope");
    assert_eq!(refusal(user, &[("producer_byte_rate", Some(0.0))]), "Quota producer_byte_rate must be greater than 0");
    assert_eq!(
        refusal(user, &[("connection_creation_rate", Some(1.0))]),
        "Invalid configuration key connection_creation_rate"
    );
    assert_eq!(refusal(&[("ip", Some("10.0.0.1"))], RATE), "Invalid configuration key producer_byte_rate");
    assert_eq!(refusal(&[("group", Some("g"))], RATE), "Unhandled client quota entity type: group");
    assert_eq!(refusal(&[], RATE), "Invalid empty client quota entity");
    assert_eq!(refusal(&[("user", Some(""))], RATE), "Empty user not supported");
    assert_eq!(
        refusal(user, &[("producer_byte_rate", Some(1.0)), ("producer_byte_rate", None)]),
        "Ignoring duplicate entity ClientQuotaEntity(entries={user=u})"
    );
    // Kafka resolves names, and stores a rate that is no number; neither can be enforced.
    assert!(refusal(&[("ip", Some("no address"))], &[("connection_creation_rate", Some(1.0))]).contains("no address"));
    assert_eq!(refusal(user, &[("request_percentage", Some(f64::NAN))]), "Quota request_percentage must be a number");
    // Kafka's message lacks a space.
    assert_eq!(
        refusal(&[("ip", Some("10.0.0.1")), ("user", Some("u"))], &[("connection_creation_rate", Some(1.0))]),
        "Invalid quota entity combination, IP entity should not be combined with User or ClientId"
    );
}

#[test]
fn each_entity_is_changed_on_its_own_and_only_changes_are_stored() {
    let mut controller = started(&[]);
    let entries: [(Parts<'_>, Ops<'_>); 3] = [
        (&[("user", Some("a"))], RATE),
        (&[("user", Some("b"))], &[("producer_byte_rate", Some(-1.0))]),
        (&[("user", Some("a"))], &[("producer_byte_rate", Some(2.0))]),
    ];
    let (response, change) = alter_client_quotas(&request(&entries), &mut controller);
    let codes: Vec<i16> = response.entries.iter().map(|row| row.error_code).collect();
    assert_eq!(codes, [42, 42], "a duplicate is told; what came first is done");
    let records = change.expect("one entity changed").records;
    let [Record::ClientQuotaChanged { limits, .. }] = records.as_slice() else { panic!("one record: {records:?}") };
    assert_eq!(limits.get(Key::Producer), Some(1000.0));

    let again = alter_client_quotas(&request(&[(&[("user", Some("a"))], RATE)]), &mut controller);
    assert!(again.1.is_none(), "it is so already");
    let gone = [("producer_byte_rate", None), ("nope", None)];
    assert_eq!(alter_all(&mut controller, &[(&[("user", Some("a"))], &gone)]), [OK]);
    assert!(controller.newest().quotas().is_empty());
    assert_eq!(alter_all(&mut controller, &[(&[("user", Some("a"))], &[])]), [OK]);
}

#[test]
fn validate_only_answers_and_stores_nothing() {
    let mut controller = started(&[]);
    let only = alter::Request { validate_only: true, ..request(&[(&[("user", None)], RATE)]) };
    let (response, change) = alter_client_quotas(&only, &mut controller);
    assert_eq!((response.entries[0].error_code, change.is_none()), (0, true));
    assert!(controller.newest().quotas().is_empty());
}

fn ask(components: &[(&str, i8, Option<&str>)], strict: bool) -> describe::Request<'static> {
    let component = |&(kind, match_type, name): &(&str, i8, Option<&str>)| describe::RequestComponents {
        entity_type: kind.to_owned().into(),
        match_type,
        r#match: name.map(|name| name.to_owned().into()),
    };
    describe::Request { components: components.iter().map(component).collect(), strict }
}

/// The entities found, each as `type=name` parts.
fn found(controller: &Controller, request: &describe::Request<'_>) -> Vec<String> {
    let response = describe_client_quotas(request, controller.newest().quotas());
    assert_eq!((response.error_code, response.error_message.as_deref()), (0, Some("")));
    let part = |part: &describe::ResponseEntriesEntity<'_>| {
        format!("{}={}", part.entity_type, part.entity_name.as_deref().unwrap_or("<default>"))
    };
    let text = |entry: &describe::ResponseEntries<'_>| entry.entity.iter().map(part).collect::<Vec<_>>().join(" ");
    response.entries.expect("entries").iter().map(text).collect()
}

#[test]
fn quotas_are_found_by_exact_default_and_any_names() {
    let mut controller = started(&[]);
    let ip: Ops<'_> = &[("connection_creation_rate", Some(3.0))];
    let rows = alter_all(
        &mut controller,
        &[
            (&[("user", Some("u"))], RATE),
            (&[("user", Some("u")), ("client-id", Some("c"))], RATE),
            (&[("user", Some("u")), ("client-id", None)], RATE),
            (&[("client-id", Some("c"))], RATE),
            (&[("ip", Some("::1"))], ip),
        ],
    );
    assert_eq!(rows, vec![OK; 5]);
    let of_u = ["user=u", "client-id=<default> user=u", "client-id=c user=u"];
    assert_eq!(found(&controller, &ask(&[("user", 2, None)], false)), of_u);
    assert_eq!(found(&controller, &ask(&[("user", 0, Some("u"))], false)), of_u);
    assert_eq!(found(&controller, &ask(&[("user", 0, Some("u"))], true)), of_u[..1]);
    assert_eq!(found(&controller, &ask(&[("client-id", 1, None)], false)), of_u[1..2]);
    assert_eq!(found(&controller, &ask(&[("client-id", 2, None)], true)), ["client-id=c"]);
    assert_eq!(found(&controller, &ask(&[("user", 0, Some("u")), ("client-id", 0, Some("c"))], true)), of_u[2..]);
    assert_eq!(found(&controller, &ask(&[("ip", 2, None)], false)), ["ip=::1"]);
    assert_eq!(found(&controller, &ask(&[], false)).len(), 5);
    assert_eq!(found(&controller, &ask(&[], true)).len(), 0);
}

#[test]
fn an_impossible_filter_is_refused_with_kafkas_words() {
    let quotas = Quotas::default();
    let refused = |components: &[(&str, i8, Option<&str>)]| {
        let response = describe_client_quotas(&ask(components, false), &quotas);
        assert!(response.entries.is_none());
        (response.error_code, response.error_message.expect("a message").into_owned())
    };
    assert_eq!(refused(&[("group", 2, None)]), (35, "Unsupported entity type group".to_owned()));
    assert_eq!(refused(&[("", 2, None)]), (42, "Invalid empty entity type.".to_owned()));
    let twice = "Entity type user cannot appear more than once in the filter.";
    assert_eq!(refused(&[("user", 2, None), ("user", 0, Some("a"))]), (42, twice.to_owned()));
    let null = "Request specified MATCH_TYPE_EXACT, but set match string to null.";
    assert_eq!(refused(&[("user", 0, None)]), (42, null.to_owned()));
    let both = "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.";
    assert_eq!(refused(&[("user", 1, Some("x"))]), (42, both.to_owned()));
    assert_eq!(refused(&[("user", 9, None)]), (42, "Unknown match type 9".to_owned()));
    assert!(refused(&[("ip", 2, None), ("user", 2, None)]).1.starts_with("Invalid entity filter component"));
}
