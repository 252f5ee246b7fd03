//! `docs/configuration.md`, written from the tables.

use std::fmt::Write;

use super::broker_table::SUPPORTED;
use super::client_metrics::CLIENT_METRICS;
use super::definition::{Class, Definition, Reason};
use super::dynamic::READ_AT_START;
use super::group_table::GROUP;
use super::known_table::{KNOWN, KNOWN_PREFIXES};
use super::topic_table::TOPIC;

const HEAD: &str = "\
# Configuration

This page is written from the tables in `broker/src/config`; `skein dev docs > docs/configuration.md` writes it again.

`skein start` needs no configuration. What there is comes from three places, the later ones stronger: a file in the
syntax of Kafka's `server.properties` (`--config FILE`), single properties (`--set NAME=VALUE`), and the options
`--data`, `--listen`, `--advertise` and `--shards`.

Properties have Kafka's names where they mean what they mean in Kafka; our own begin with `skein.`. A property that
Kafka 4.3 knows and that has no meaning here is accepted, and one warning at the start names all of them; an unknown
name and an impossible value stop the start with the line and, where there is one, the nearest name.
";

/// The head of a table of properties with the broker's behind them.
const BEHIND: &str =
    "| property | type | default | values | broker property | what it does |\n|---|---|---|---|---|---|\n";

/// The whole page.
pub fn configuration_markdown() -> String {
    let mut page = String::from(HEAD);
    section(
        &mut page,
        "Topics",
        "Set with `skein topic create --config NAME=VALUE`, later with `skein config set topic NAME`, or by any client; a \
         change has its effect at once. The broker property gives the default of topics that do not set it.",
    );
    page.push_str(BEHIND);
    for definition in TOPIC {
        topic_line(&mut page, definition);
    }
    section(
        &mut page,
        "Broker",
        "In the file or with `--set`. Those that change while the node runs are set on one broker (`skein config set broker \
         ID`) or on all (`skein config set broker-default`), outlive its end, are stronger than the file, and have their \
         effect at once.",
    );
    page.push_str(
        "| property | type | default | values | importance | while it runs | what it does |\n|---|---|---|---|---|---|---|\n",
    );
    for definition in SUPPORTED {
        broker_line(&mut page, definition);
    }
    section(
        &mut page,
        "Groups",
        "Set with `skein config set group ID` or by any client. They are stored, checked against the broker's bounds and \
         described.",
    );
    page.push_str(BEHIND);
    for definition in GROUP {
        topic_line(&mut page, definition);
    }
    section(
        &mut page,
        "Client metrics",
        "A subscription to the metrics of clients (KIP-714); set with `skein config set client-metrics NAME` or \
         `kafka-client-metrics.sh`.",
    );
    page.push_str("| property | type | default | what it does |\n|---|---|---|---|\n");
    for definition in CLIENT_METRICS {
        let (name, kind) = (definition.name, definition.kind.name());
        let _ = writeln!(page, "| `{name}` | {kind} | {} | {} |", default(definition), definition.documentation);
    }
    section(
        &mut page,
        "Accepted without effect",
        "Broker properties of Kafka 4.3 that change nothing here, by reason.",
    );
    without_effect(&mut page);
    page
}

fn section(page: &mut String, title: &str, lead: &str) {
    let _ = write!(page, "\n## {title}\n\n{lead}\n\n");
}

fn topic_line(page: &mut String, definition: &Definition) {
    let synonyms: Vec<_> = definition.synonyms.iter().map(|s| format!("`{}`", s.name)).collect();
    let _ = writeln!(
        page,
        "| `{}` | {} | {} | {} | {} | {}{} |",
        definition.name,
        definition.kind.name(),
        default(definition),
        definition.check,
        synonyms.join(", "),
        definition.documentation,
        match definition.class {
            Class::Supported => String::new(),
            Class::WithoutMeaning(reason) => format!(" *Without effect: {reason}.*"),
        },
    );
}

fn broker_line(page: &mut String, definition: &Definition) {
    let _ = writeln!(
        page,
        "| `{}` | {} | {} | {} | {} | {} | {} |",
        definition.name,
        definition.kind.name(),
        default(definition),
        definition.check,
        definition.importance.name(),
        if definition.dynamic && !READ_AT_START.contains(&definition.name) { "yes" } else { "no" },
        definition.documentation,
    );
}

fn default(definition: &Definition) -> String {
    match definition.default {
        None => "not set".to_owned(),
        Some("") => "empty".to_owned(),
        Some(value) => format!("`{value}`"),
    }
}

fn without_effect(page: &mut String) {
    let reason_of = |definition: &Definition| match definition.class {
        Class::WithoutMeaning(reason) => Some(reason),
        Class::Supported => None,
    };
    let mut reasons: Vec<Reason> = KNOWN.iter().filter_map(reason_of).collect();
    reasons.sort_unstable();
    reasons.dedup();
    for reason in reasons {
        let plain = KNOWN.iter().filter(|d| reason_of(d) == Some(reason)).map(|d| format!("`{}`", d.name));
        let prefixes = KNOWN_PREFIXES.iter().filter(|(_, r)| *r == reason).map(|(prefix, _)| format!("`{prefix}*`"));
        let names: Vec<_> = plain.chain(prefixes).collect();
        let text = reason.to_string();
        let (first, rest) = text.split_at(1);
        let _ = write!(page, "**{}{rest}**: {}.\n\n", first.to_uppercase(), names.join(", "));
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
}
