//! What may be set on a group.

use super::definition::Kind;
use super::group_table::bounds;
use super::settings::Settings;
use super::table;
use super::topic::{Overrides, Refused};

/// The group types whose session must be longer than the time between heartbeats.
const TYPES: [&str; 3] = ["consumer", "share", "streams"];

/// Checks what is to be set on a group, against the bounds that the broker's properties give, and returns it as it is
/// stored.
pub fn check_group(given: &Overrides, settings: &Settings) -> Result<Overrides, Refused> {
    let mut overrides = Overrides::new();
    for (name, value) in given {
        let definition = table::group(name)
            .ok_or_else(|| Refused::UnknownGroup { name: name.clone(), nearest: table::nearest_group(name) })?;
        overrides.insert(name.clone(), definition.check(value).map_err(Refused::Invalid)?);
    }
    for (name, value) in &overrides {
        let (min, max) = bounds(name);
        let Ok(value) = value.parse::<i64>() else { continue };
        if let Some(min) = min.filter(|min| value < settings.whole(min)) {
            return Err(Refused::Bound { name: name.clone(), rule: "greater than or equal to", broker: min });
        }
        if let Some(max) = max.filter(|max| value > settings.whole(max)) {
            return Err(Refused::Bound { name: name.clone(), rule: "less than or equal to", broker: max });
        }
    }
    for kind in TYPES {
        let session = whole(&overrides, &format!("{kind}.session.timeout.ms"), settings);
        let heartbeat = whole(&overrides, &format!("{kind}.heartbeat.interval.ms"), settings);
        if session <= heartbeat {
            return Err(Refused::Heartbeat { kind });
        }
    }
    Ok(overrides)
}

fn whole(overrides: &Overrides, name: &str, settings: &Settings) -> i64 {
    let definition = table::group(name).unwrap_or_else(|| panic!("{name} is in the table of group properties"));
    assert!(definition.kind == Kind::Int, "{name} is no number");
    let value = overrides.get(name).cloned().or_else(|| settings.default_of(definition));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} is a number with a default"))
}
