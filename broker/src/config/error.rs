//! What can be wrong with a configuration, and what is worth saying about one that is right.

use std::fmt;

use super::definition::Reason;

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a properties file, counted from 1.
    File {
        /// The file as the user named it.
        path: String,
        /// The line on which the setting begins.
        line: usize,
    },
    /// An option of the command line, with its dashes.
    Flag(&'static str),
    /// Several settings that do not go together.
    Together,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "{path}:{line}: "),
            Origin::Flag(flag) => write!(f, "{flag}: "),
            Origin::Together => Ok(()),
        }
    }
}

/// A configuration the node cannot start with: where the setting stands, and a sentence for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where the setting stands.
    pub origin: Origin,
    /// What is wrong with it and what to do.
    pub message: String,
}

impl ConfigError {
    pub(super) fn new(origin: &Origin, message: impl Into<String>) -> Self {
        ConfigError { origin: origin.clone(), message: message.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Something to tell the user once, at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// Properties of Kafka were set that do nothing here: all of them, with the reason for each.
    WithoutMeaning(Vec<(String, Reason)>),
    /// A listener of Kafka's controller was left out.
    ControllerListener(String),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::WithoutMeaning(set) => {
                f.write_str("these properties are accepted and have no effect here: ")?;
                let mut reasons: Vec<Reason> = set.iter().map(|&(_, reason)| reason).collect();
                reasons.sort_unstable();
                reasons.dedup();
                for (nth, reason) in reasons.into_iter().enumerate() {
                    if nth > 0 {
                        f.write_str("; ")?;
                    }
                    let names: Vec<&str> =
                        set.iter().filter(|(_, r)| *r == reason).map(|(name, _)| name.as_str()).collect();
                    write!(f, "{} ({reason})", names.join(", "))?;
                }
                Ok(())
            }
            Warning::ControllerListener(name) => write!(
                f,
                "listener {name} belongs to Kafka's controller and is left out: the node keeps its metadata itself"
            ),
        }
    }
}
