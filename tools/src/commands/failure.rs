use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::client;

/// How a command ends.
pub(super) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(super) enum Failure {
    /// It could not.
    Failed {
        /// What happened and why, as a sentence without a capital.
        message: String,
        /// What to do about it.
        remedy: Option<String>,
    },
    /// It was used in a wrong way.
    Usage(String),
    /// Whoever read the output has enough.
    ClosedPipe,
    /// It has said already what went wrong.
    Told,
}

impl Failure {
    /// A failure that has a sentence and no remedy.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), remedy: None }
    }

    /// A failure with what to do about it.
    pub(super) fn with_remedy(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), remedy: Some(remedy.into()) }
    }

    /// What happened, in one line.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Failed { message, .. } | Self::Usage(message) => message.clone(),
            Self::ClosedPipe | Self::Told => String::new(),
        }
    }

    /// Tells the person, and gives back the process's exit code.
    pub(super) fn report(self) -> ExitCode {
        match self {
            Self::Failed { message, remedy } => {
                eprintln!("{} {message}", label("error:", RED));
                if let Some(remedy) = remedy {
                    eprintln!("  {} {remedy}", label("help:", CYAN));
                }
                ExitCode::from(1)
            }
            Self::Usage(message) => {
                eprintln!("{} {message}\n\nFor more information, try '--help'.", label("error:", RED));
                ExitCode::from(2)
            }
            Self::ClosedPipe => ExitCode::SUCCESS,
            Self::Told => ExitCode::from(1),
        }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Self::Failed { message: error.to_string(), remedy: error.remedy() }
    }
}

/// A failure to write the output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::failed(format!("cannot write the output: {error}")),
        }
    }
}

/// How long the same warning is not repeated.
const WARN_AGAIN_AFTER: Duration = Duration::from_secs(10);

const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const CYAN: &str = "1;36";

/// Says something that a person should know although the command goes on.
pub(super) fn warn(message: impl AsRef<str>) {
    eprintln!("{} {}", label("warning:", YELLOW), message.as_ref());
}

/// Warns of the same trouble only once in a while.
#[derive(Debug, Default)]
pub(super) struct Warner {
    last: Option<(String, Instant)>,
}

impl Warner {
    /// As [`warn`], unless it was said a moment ago.
    pub(super) fn warn(&mut self, message: &str) {
        let said = |(last, at): &(String, Instant)| last == message && at.elapsed() < WARN_AGAIN_AFTER;
        if !self.last.as_ref().is_some_and(said) {
            warn(message);
            self.last = Some((message.to_owned(), Instant::now()));
        }
    }
}

/// Says something that is good to know.
pub(super) fn note(message: impl AsRef<str>) {
    eprintln!("{} {}", label("note:", CYAN), message.as_ref());
}

/// The word in colour, if standard error is a terminal that wants it (<https://no-color.org>).
fn label(word: &str, colour: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if plain || !io::stderr().is_terminal() { word.to_owned() } else { format!("\x1b[{colour}m{word}\x1b[0m") }
}
