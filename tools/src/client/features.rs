//! Features: what the nodes of a cluster agree on (KIP-584).

use std::collections::BTreeMap;

use net::ApiKey;
use net::api::{api_versions, update_features};

use super::cluster::{Cluster, Node};
use super::code::Code;
use super::error::{Error, Result};

/// A feature, as the cluster tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Feature {
    /// The lowest and the highest level that the broker can work at; none if it only knows the level in force.
    pub supported: Option<(i16, i16)>,
    /// The level in force; 0 is off.
    pub level: i16,
}

/// All features by name.
///
/// # Errors
/// If no broker answers, or it is too old to have features.
pub fn features(cluster: &mut Cluster) -> Result<BTreeMap<String, Feature>> {
    let request = api_versions::Request {
        client_software_name: "skein".into(),
        client_software_version: env!("CARGO_PKG_VERSION").into(),
    };
    let answer = cluster.call(Node::Any, &request)?;
    let response: api_versions::Response<'_> = answer.read()?;
    Code(response.error_code).ok().map_err(|code| Error::Refused {
        what: "list the features".to_owned(),
        code,
        message: None,
    })?;
    let mut features: BTreeMap<String, Feature> = BTreeMap::new();
    for it in response.supported_features {
        features.entry(it.name.into_owned()).or_default().supported = Some((it.min_version, it.max_version));
    }
    for it in response.finalized_features {
        features.entry(it.name.into_owned()).or_default().level = it.max_version_level;
    }
    Ok(features)
}

/// How far an update may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Only to a higher level.
    Upgrade,
    /// To a lower level too, if nothing is lost.
    Downgrade,
    /// To a lower level too, whatever is lost.
    UnsafeDowngrade,
}

impl Direction {
    fn wire(self) -> i8 {
        match self {
            Self::Upgrade => 1,
            Self::Downgrade => 2,
            Self::UnsafeDowngrade => 3,
        }
    }
}

/// The first version of UpdateFeatures that can be tried without consequences.
const VALIDATE_SINCE: i16 = 1;

/// Sets the levels of features, all of them or none; or only looks whether that could be done.
///
/// # Errors
/// If the broker refuses, or cannot try without doing.
pub fn update_features(
    cluster: &mut Cluster,
    levels: &[(String, i16)],
    direction: Direction,
    validate_only: bool,
) -> Result<()> {
    let version = cluster.version(Node::Controller, ApiKey::UpdateFeatures)?;
    if validate_only && version.is_some_and(|version| version < VALIDATE_SINCE) {
        let message = "the broker cannot try a change of features without doing it: leave --dry-run out".to_owned();
        return Err(Error::Setting { message });
    }
    let update = |(feature, level): &(String, i16)| update_features::RequestFeatureUpdates {
        feature: feature.clone().into(),
        max_version_level: *level,
        allow_downgrade: direction != Direction::Upgrade,
        upgrade_type: direction.wire(),
    };
    let request = update_features::Request {
        timeout_ms: cluster.settings().request_timeout.as_millis() as i32,
        feature_updates: levels.iter().map(update).collect(),
        validate_only,
    };
    cluster.retry(|cluster| {
        let answer = cluster.call(Node::Controller, &request)?;
        let response: update_features::Response<'_> = answer.read()?;
        let of_one = response.results.into_iter().find(|result| result.error_code != 0);
        let (code, message) = match (response.error_code, of_one) {
            (0, Some(result)) => (result.error_code, result.error_message),
            (code, _) => (code, response.error_message),
        };
        Code(code).ok().map_err(|code| Error::Refused {
            what: "set the levels of features".to_owned(),
            code,
            message: message.map(|message| message.into_owned()),
        })
    })
}
