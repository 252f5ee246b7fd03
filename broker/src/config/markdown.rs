//! `docs/configuration.md`, written from the tables.

use std::fmt::Write;

use super::broker_table::SUPPORTED;
use super::definition::{Class, Definition, Reason};
use super::known_table::{KNOWN, KNOWN_PREFIXES};
use super::topic_table::TOPIC;

const HEAD: &str = "\
# Configuration

This page is written from the tables in `broker/src/config`; `skein dev docs` writes it again.

`skein start` needs no configuration. What there is comes from three places, the later ones stronger: a file in the
syntax of Kafka's `server.properties` (`--config FILE`), single properties (`--set NAME=VALUE`), and the options
`--data`, `--listen`, `--advertise` and `--shards`.

Properties have Kafka's names where they mean what they mean in Kafka; our own begin with `skein.`. A property that
Kafka 4.3 knows and that has no meaning here is accepted, and one warning at the start names all of them; an unknown
name and an impossible value stop the start with the line and, where there is one, the nearest name.
";

/// The whole page.
pub fn configuration_markdown() -> String {
    let mut page = String::from(HEAD);
    section(
        &mut page,
        "Topics",
        "Set with `skein topic create --config NAME=VALUE` or by any client; the broker property gives the default of topics that do not set it.",
    );
    page.push_str(
        "| property | type | default | values | broker property | what it does |\n|---|---|---|---|---|---|\n",
    );
    for definition in TOPIC {
        topic_line(&mut page, definition);
    }
    section(
        &mut page,
        "Broker",
        "In the file or with `--set`. Those that clients may change while the broker runs in Kafka are read at the start here.",
    );
    page.push_str("| property | type | default | values | importance | what it does |\n|---|---|---|---|---|---|\n");
    for definition in SUPPORTED {
        broker_line(&mut page, definition);
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
        "| `{}` | {} | {} | {} | {} | {} |",
        definition.name,
        definition.kind.name(),
        default(definition),
        definition.check,
        definition.importance.name(),
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
