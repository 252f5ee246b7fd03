//! UpdateFeatures (key 57).

use net::api::update_features::{Request, RequestFeatureUpdates, Response, ResponseResults};

use crate::error_code::ErrorCode;
use crate::metadata::controller::{Change, Controller};
use crate::metadata::features::{Direction, NewLevel};

/// The first version that tells kinds of downgrades apart (KIP-778).
const DIRECTIONS_SINCE: i16 = 1;

/// The last version with a result for each feature; since then there is one for all.
const RESULTS_UNTIL: i16 = 1;

/// Answers an UpdateFeatures request, versions 0 to 2: all levels are set, or none. The response is sent once the
/// change, if there is one, is durable.
pub fn update_features(
    request: &Request<'_>,
    version: i16,
    controller: &mut Controller,
) -> (Response<'static>, Option<Change>) {
    let wanted: Vec<_> = request.feature_updates.iter().map(|update| wanted(update, version)).collect();
    match controller.update_features(&wanted, request.validate_only) {
        Ok(change) => {
            let updated = |wish: &NewLevel<'_>| ResponseResults {
                feature: wish.name.to_owned().into(),
                error_code: ErrorCode::None.code(),
                // Kafka names success here.
                error_message: Some("NONE".into()),
            };
            let results = if version <= RESULTS_UNTIL { wanted.iter().map(updated).collect() } else { Vec::new() };
            (Response { error_message: None, results, ..Response::default() }, change)
        }
        Err(refusal) => {
            let error_code = ErrorCode::InvalidUpdateVersion.code();
            let error_message = Some(refusal.to_string().into());
            (Response { error_code, error_message, ..Response::default() }, None)
        }
    }
}

fn wanted<'a>(update: &'a RequestFeatureUpdates<'_>, version: i16) -> NewLevel<'a> {
    let direction = match (version < DIRECTIONS_SINCE, update.allow_downgrade, update.upgrade_type) {
        (true, false, _) | (false, _, 1) => Some(Direction::Upgrade),
        (true, true, _) | (false, _, 2) => Some(Direction::SafeDowngrade),
        (false, _, 3) => Some(Direction::UnsafeDowngrade),
        (false, _, _) => None,
    };
    NewLevel { name: &update.feature, level: update.max_version_level, direction }
}
