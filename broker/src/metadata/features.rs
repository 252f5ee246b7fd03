//! Features: what the nodes of a cluster agree on (KIP-584).
//!
//! A feature has the levels that this version of skein can work at, and the level that is in force. Clients see both, and
//! decide by them what they may use: so a feature stands here once it works, and not before.

use std::fmt;

use super::image::Image;

/// A feature and its levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Its name, as in Kafka.
    pub name: &'static str,
    /// The lowest level that works; at 0 the feature can be off.
    pub level_min: i16,
    /// The highest level that works.
    pub level_max: i16,
    /// The level in force where nobody has set one.
    pub level_initial: i16,
}

/// Kafka's name for the level of its metadata.
const METADATA_VERSION: &str = "metadata.version";

/// What works, with the levels of Kafka 4.3.
pub const FEATURES: &[Feature] = &[
    // On one node the replicas that may lead are those in sync, at either level.
    Feature { name: "eligible.leader.replicas.version", level_min: 0, level_max: 1, level_initial: 1 },
    // What clients may use of the metadata is all there; there is no going back to less.
    Feature { name: METADATA_VERSION, level_min: 7, level_max: 30, level_initial: 30 },
];

/// A feature by its name.
pub fn feature(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.name == name)
}

/// How far an update may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Only to a higher level.
    Upgrade,
    /// To a lower level too, if nothing is lost.
    SafeDowngrade,
    /// To a lower level too, whatever is lost.
    UnsafeDowngrade,
}

/// A level as a client asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewLevel<'a> {
    /// The feature.
    pub name: &'a str,
    /// The level it is to have; 0 switches it off.
    pub level: i16,
    /// How far the update may go; what the client says of itself may mean nothing.
    pub direction: Option<Direction>,
}

/// Why a level cannot be set. The text is for the client's user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUpdated {
    /// The feature.
    pub name: String,
    /// What is wrong.
    pub why: Why,
}

/// What is wrong with a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The client's kind of update does not exist.
    UnknownDirection,
    /// There is no such feature here.
    Unknown,
    /// It does not work at that level.
    Unsupported {
        /// The level asked for.
        asked: i16,
        /// The feature.
        feature: Feature,
    },
    /// It is at a higher level, and only an upgrade was asked for.
    Downgrade {
        /// The level asked for.
        asked: i16,
        /// The level in force.
        current: i16,
    },
    /// It never goes back.
    Irreversible {
        /// The level in force.
        current: i16,
    },
}

impl fmt::Display for NotUpdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "No feature was changed. Feature \"{}\": ", self.name)?;
        match &self.why {
            Why::UnknownDirection => {
                f.write_str("the kind of update is unknown; 1 upgrades, 2 downgrades safely, 3 downgrades in any case.")
            }
            Why::Unknown => {
                let known: Vec<_> = FEATURES.iter().map(|feature| feature.name).collect();
                write!(f, "there is none of that name; there are {}.", known.join(", "))
            }
            Why::Unsupported { asked, feature } => write!(
                f,
                "level {asked} does not exist here; levels {} to {} do.",
                feature.level_min, feature.level_max
            ),
            Why::Downgrade { asked, current } => write!(
                f,
                "level {asked} is lower than {current}, which is in force; ask for a downgrade if that is meant."
            ),
            Why::Irreversible { current } => {
                write!(f, "level {current} is in force, and it cannot be lowered: metadata could be lost.")
            }
        }
    }
}

impl NewLevel<'_> {
    /// Checks the level against those in force, by Kafka's rules.
    pub(super) fn check(&self, image: &Image) -> Result<(), NotUpdated> {
        let refused = |why| Err(NotUpdated { name: self.name.to_owned(), why });
        let Some(direction) = self.direction else { return refused(Why::UnknownDirection) };
        let Some(feature) = feature(self.name) else { return refused(Why::Unknown) };
        if !(feature.level_min..=feature.level_max).contains(&self.level) {
            return refused(Why::Unsupported { asked: self.level, feature: *feature });
        }
        let current = image.feature_level(feature);
        if self.level >= current {
            return Ok(());
        }
        match direction {
            Direction::Upgrade => refused(Why::Downgrade { asked: self.level, current }),
            _ if feature.name == METADATA_VERSION => refused(Why::Irreversible { current }),
            Direction::SafeDowngrade | Direction::UnsafeDowngrade => Ok(()),
        }
    }
}
