use std::process;

use crate::client::Interrupt;

/// The exit code of a process that was stopped by a second Ctrl-C: 128 and the signal's number.
const KILLED_BY_INTERRUPT: i32 = 130;

/// Catches Ctrl-C and termination: the first sets the interrupt, so that the command ends in order; a second one ends
/// the process at once.
pub(super) fn interrupt() -> Interrupt {
    let (trigger, interrupt) = Interrupt::new();
    let mut trigger = Some(trigger);
    let handler = move || match trigger.take() {
        Some(trigger) => drop(trigger),
        None => process::exit(KILLED_BY_INTERRUPT),
    };
    match ctrlc::set_handler(handler) {
        Ok(()) => interrupt,
        // Without a handler the signal ends the process, which is what it asks for.
        Err(_) => Interrupt::never(),
    }
}
