//! DescribeClientQuotas (key 48) and AlterClientQuotas (key 49), KIP-546.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use net::api::{alter_client_quotas as alter, describe_client_quotas as describe};

use crate::error_code::ErrorCode;
use crate::metadata::AlterQuota;
use crate::metadata::controller::{Change, Controller};
use crate::quota::{Entity, Key, Kind, Limits, Name, Quotas, address};

/// An error code with its message.
type Refused = (ErrorCode, String);

fn invalid(message: impl Into<String>) -> Refused {
    (ErrorCode::InvalidRequest, message.into())
}

/// Kafka's numbers of how a name is matched.
mod matching {
    pub(super) const EXACT: i8 = 0;
    pub(super) const DEFAULT: i8 = 1;
    pub(super) const SPECIFIED: i8 = 2;
}

/// Which entities a request asks about.
struct Filter<'a> {
    /// By type: the name, or any.
    parts: BTreeMap<Kind, Match<'a>>,
    /// Whether an entity may have no other types.
    strict: bool,
}

#[derive(PartialEq, Eq)]
enum Match<'a> {
    Exact(&'a str),
    Default,
    Any,
}

/// Answers a DescribeClientQuotas request, versions 0 and 1.
pub fn describe_client_quotas(request: &describe::Request<'_>, quotas: &Quotas) -> describe::Response<'static> {
    match filter(request) {
        Ok(filter) => {
            let entries = quotas.iter().filter(|(entity, _)| filter.takes(entity));
            describe::Response {
                // Kafka answers no error with an empty message, not with none.
                error_message: Some("".into()),
                entries: Some(entries.map(|(entity, limits)| entry(&entity, &limits)).collect()),
                ..describe::Response::default()
            }
        }
        Err((error, message)) => describe::Response {
            error_code: error.code(),
            error_message: Some(message.into()),
            entries: None,
            ..describe::Response::default()
        },
    }
}

fn filter<'a>(request: &'a describe::Request<'_>) -> Result<Filter<'a>, Refused> {
    let mut parts = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for component in &request.components {
        let name: &str = &component.entity_type;
        if name.is_empty() {
            return Err(invalid("Invalid empty entity type."));
        }
        if !seen.insert(name) {
            return Err(invalid(format!("Entity type {name} cannot appear more than once in the filter.")));
        }
        let Some(kind) = Kind::parse(name) else {
            return Err((ErrorCode::UnsupportedVersion, format!("Unsupported entity type {name}")));
        };
        let only = |kind: &str| invalid(format!("Request specified {kind}, but also specified a match string."));
        let matching = match (component.match_type, component.r#match.as_deref()) {
            (matching::EXACT, Some(name)) => Match::Exact(name),
            (matching::EXACT, None) => {
                return Err(invalid("Request specified MATCH_TYPE_EXACT, but set match string to null."));
            }
            (matching::DEFAULT, None) => Match::Default,
            (matching::DEFAULT, Some(_)) => return Err(only("MATCH_TYPE_DEFAULT")),
            (matching::SPECIFIED, None) => Match::Any,
            (matching::SPECIFIED, Some(_)) => return Err(only("MATCH_TYPE_SPECIFIED")),
            (other, _) => return Err(invalid(format!("Unknown match type {other}"))),
        };
        parts.insert(kind, matching);
    }
    if parts.contains_key(&Kind::Ip) && parts.len() > 1 {
        return Err(invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user or \
             clientId filter component.",
        ));
    }
    Ok(Filter { parts, strict: request.strict })
}

impl Filter<'_> {
    fn takes(&self, entity: &Entity) -> bool {
        let takes = |(kind, wanted): (&Kind, &Match<'_>)| {
            let name = entity.parts().find(|(part, _)| part == kind);
            name.is_some_and(|(_, name)| match wanted {
                Match::Any => true,
                Match::Default => *name == Name::Default,
                Match::Exact(exact) => name.as_deref() == Some(exact),
            })
        };
        (!self.strict || entity.parts().count() == self.parts.len()) && self.parts.iter().all(takes)
    }
}

fn entry(entity: &Entity, limits: &Limits) -> describe::ResponseEntries<'static> {
    let part = |(kind, name): (Kind, &Name)| describe::ResponseEntriesEntity {
        entity_type: kind.name().into(),
        entity_name: name.as_deref().map(|name| name.to_owned().into()),
    };
    let value = |key: &Key| Some(describe::ResponseEntriesValues { key: key.name().into(), value: limits.get(*key)? });
    describe::ResponseEntries {
        entity: entity.parts().map(part).collect(),
        values: entity.keys().iter().filter_map(value).collect(),
    }
}

/// Answers an AlterClientQuotas request, versions 0 and 1: each entity on its own. The response is sent once the
/// change, if there is one, is durable.
pub fn alter_client_quotas(
    request: &alter::Request<'_>,
    controller: &mut Controller,
) -> (alter::Response<'static>, Option<Change>) {
    let mut wishes = Vec::new();
    let mut rows: Vec<(Given, Option<Refused>)> = Vec::new();
    let mut places: BTreeMap<Given, usize> = BTreeMap::new();
    for entry in &request.entries {
        let given = Given::of(entry);
        if let Some(&place) = places.get(&given) {
            // What the first entry wishes is done nevertheless, as Kafka does it.
            rows[place].1 = Some(duplicate(&given));
            continue;
        }
        let refused = match wanted(&given, &entry.ops) {
            Ok(wish) => {
                wishes.push(wish);
                None
            }
            Err(refused) => Some(refused),
        };
        places.insert(given.clone(), rows.len());
        rows.push((given, refused));
    }
    let change = if request.validate_only { None } else { controller.alter_quotas(&wishes) };
    let entries = rows.into_iter().map(|(given, refused)| answer(given, refused)).collect();
    (alter::Response { throttle_time_ms: 0, entries }, change)
}

fn duplicate(given: &Given) -> Refused {
    invalid(format!("Ignoring duplicate entity ClientQuotaEntity(entries={given})"))
}

fn answer(given: Given, refused: Option<Refused>) -> alter::ResponseEntries<'static> {
    let (error, message) = refused.map_or((ErrorCode::None, None), |(error, message)| (error, Some(message)));
    let part = |(kind, name): (String, Option<String>)| alter::ResponseEntriesEntity {
        entity_type: kind.into(),
        entity_name: name.map(Into::into),
    };
    alter::ResponseEntries {
        error_code: error.code(),
        error_message: message.map(Into::into),
        entity: given.0.into_iter().map(part).collect(),
    }
}

/// An entity as a client names it: types with names, each type once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Given(BTreeMap<String, Option<String>>);

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for (kind, name) in &self.0 {
            let comma = if text.is_empty() { "" } else { ", " };
            write!(text, "{comma}{kind}={}", name.as_deref().unwrap_or("null"))?;
        }
        write!(f, "{{{text}}}")
    }
}

impl Given {
    fn of(entry: &alter::RequestEntries<'_>) -> Self {
        let part = |part: &alter::RequestEntriesEntity<'_>| {
            (part.entity_type.to_string(), part.entity_name.as_deref().map(str::to_owned))
        };
        Given(entry.entity.iter().map(part).collect())
    }

    /// The entity, if it can have quotas.
    fn entity(&self) -> Result<Entity, Refused> {
        if self.0.is_empty() {
            return Err(invalid("Invalid empty client quota entity"));
        }
        let (mut user, mut client_id, mut ip) = (None, None, None);
        for (kind, name) in &self.0 {
            let place = match Kind::parse(kind) {
                Some(Kind::User) => &mut user,
                Some(Kind::ClientId) => &mut client_id,
                Some(Kind::Ip) => &mut ip,
                None => return Err(invalid(format!("Unhandled client quota entity type: {kind}"))),
            };
            if name.as_deref() == Some("") {
                return Err(invalid(format!("Empty {kind} not supported")));
            }
            *place = Some(Name::from(name.clone()));
        }
        let entity = Entity::of(user, client_id, ip).ok_or_else(|| {
            invalid("Invalid quota entity combination, IP entity should not be combined with User or ClientId")
        })?;
        match &entity {
            Entity::Ip(Name::Named(ip)) if address(ip).is_none() => {
                Err(invalid(format!("{ip} is not a valid IP; names of hosts are not resolved here, give the address.")))
            }
            _ => Ok(entity),
        }
    }
}

/// Checks what is wished for an entity, in the order in which Kafka checks.
fn wanted(given: &Given, ops: &[alter::RequestEntriesOps<'_>]) -> Result<AlterQuota, Refused> {
    let mut wanted: BTreeMap<&str, Option<f64>> = BTreeMap::new();
    for op in ops {
        if wanted.insert(&op.key, (!op.remove).then_some(op.value)).is_some() {
            return Err(duplicate(given));
        }
    }
    let entity = given.entity()?;
    let mut limits = Vec::with_capacity(wanted.len());
    for (name, value) in wanted {
        let key = Key::parse(name).filter(|key| entity.keys().contains(key));
        match (key, value) {
            // Nothing of that name can be set, so there is nothing to remove.
            (None, None) => {}
            (None, Some(_)) => return Err(invalid(format!("Invalid configuration key {name}"))),
            (Some(key), None) => limits.push((key, None)),
            (Some(key), Some(value)) => {
                key.check(value).map_err(|bad| invalid(bad.to_string()))?;
                limits.push((key, Some(value)));
            }
        }
    }
    Ok(AlterQuota { entity, limits })
}
