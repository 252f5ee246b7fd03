use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that is over before is not worth a line.
const SHOW_AFTER: Duration = Duration::from_millis(500);

/// A line on standard error, if that is a terminal, that shows how far long work has come.
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
    /// Whether there is somebody to see it, and nothing that it would disturb.
    wanted: bool,
}

impl Progress {
    /// `total` in bytes, if it is known.
    pub(super) fn new(total: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template = if total.is_some() { "{bar:24} {percent:>3}% {msg}" } else { "{spinner} {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, started: Instant::now(), wanted: io::stderr().is_terminal() }
    }

    /// One that never shows.
    pub(super) fn hidden() -> Self {
        Self { wanted: false, ..Self::new(None) }
    }

    /// Shows that so many bytes are done; `what` says what they are.
    pub(super) fn update(&self, bytes: u64, what: &str) {
        let elapsed = self.started.elapsed();
        if !self.wanted || elapsed < SHOW_AFTER {
            return;
        }
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        }
        let rate = bytes as f64 / elapsed.as_secs_f64();
        self.bar.set_position(bytes);
        self.bar.set_message(format!("{what}, {}/s", HumanBytes(rate as u64)));
    }

    /// Does something that prints without the line in between.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Removes the line.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
