//! Client quotas: what users, client ids and addresses may use (KIP-546).

use std::fmt;

use net::api::{alter_client_quotas as alter, describe_client_quotas as describe};

use super::admin::refused;
use super::cluster::{Cluster, Node};
use super::error::Result;

/// DescribeClientQuotas' numbers of how a name is matched.
const MATCH_EXACT: i8 = 0;
const MATCH_DEFAULT: i8 = 1;

/// Whom a quota is for: types (`user`, `client-id`, `ip`) with names, `None` for everybody who is not named elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entity(pub Vec<(String, Option<String>)>);

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, name)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match name {
                Some(name) => write!(f, "{comma}{kind} {name:?}")?,
                None => write!(f, "{comma}any other {kind}")?,
            }
        }
        Ok(())
    }
}

/// What is limited for an entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Quota {
    /// Whose.
    pub entity: Entity,
    /// By key, as `producer_byte_rate`.
    pub limits: Vec<(String, f64)>,
}

/// The quotas of every entity that has all of these types and names; all quotas if there are none.
///
/// # Errors
/// If the broker refuses.
pub fn quotas(cluster: &mut Cluster, of: &Entity) -> Result<Vec<Quota>> {
    let component = |(kind, name): &(String, Option<String>)| describe::RequestComponents {
        entity_type: kind.clone().into(),
        match_type: if name.is_some() { MATCH_EXACT } else { MATCH_DEFAULT },
        r#match: name.clone().map(Into::into),
    };
    let request = describe::Request { components: of.0.iter().map(component).collect(), strict: false };
    let answer = cluster.call(Node::Any, &request)?;
    let response: describe::Response<'_> = answer.read()?;
    refused(response.error_code, response.error_message, || "describe quotas".to_owned())?;
    let part = |part: describe::ResponseEntriesEntity<'_>| {
        (part.entity_type.into_owned(), part.entity_name.map(std::borrow::Cow::into_owned))
    };
    let quota = |entry: describe::ResponseEntries<'_>| Quota {
        entity: Entity(entry.entity.into_iter().map(part).collect()),
        limits: entry.values.into_iter().map(|value| (value.key.into_owned(), value.value)).collect(),
    };
    let mut quotas: Vec<Quota> = response.entries.unwrap_or_default().into_iter().map(quota).collect();
    quotas.sort_by(|a, b| a.entity.cmp(&b.entity));
    Ok(quotas)
}

/// Sets limits of an entity, or removes them where there is no value.
///
/// # Errors
/// If the broker refuses; nothing is changed then.
pub fn alter_quota(cluster: &mut Cluster, entity: &Entity, limits: &[(String, Option<f64>)]) -> Result<()> {
    let part = |(kind, name): &(String, Option<String>)| alter::RequestEntriesEntity {
        entity_type: kind.clone().into(),
        entity_name: name.clone().map(Into::into),
    };
    let op = |(key, value): &(String, Option<f64>)| alter::RequestEntriesOps {
        key: key.clone().into(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    };
    let entry =
        alter::RequestEntries { entity: entity.0.iter().map(part).collect(), ops: limits.iter().map(op).collect() };
    let request = alter::Request { entries: vec![entry], validate_only: false };
    let answer = cluster.call(Node::Controller, &request)?;
    let response: alter::Response<'_> = answer.read()?;
    let row = response.entries.into_iter().next().unwrap_or_default();
    refused(row.error_code, row.error_message, || format!("change the quotas of {entity}"))
}
