//! Waiting on a condition, with a deadline.

use std::time::{Duration, Instant};

/// Far longer than anything takes, so that only a condition that never comes true meets it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long between two looks at a condition that nothing announces.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Asks until there is an answer.
///
/// # Panics
/// If none comes within [`PATIENCE`].
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(LOOK_AGAIN);
    }
}
