//! The terminal while `skein top` has it: another page without cursor, given back however the command ends.

use std::io::{self, Stdout, Write as _};
use std::panic;
use std::sync::Once;
use std::time::Instant;

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::{cursor, event, execute, queue, terminal};

use super::super::signal::interrupt;
use super::frame::Size;
use crate::client::Interrupt;

/// How often a signal is looked for while no key comes.
const SIGNAL_CHECK: std::time::Duration = std::time::Duration::from_millis(100);

/// What a person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// q, Escape or Ctrl-C; or the process was told to end.
    End,
    /// Stop, or go on.
    Stop,
    /// Anything else, a new size among it.
    Other,
}

/// The terminal, taken. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Screen {
    out: Stdout,
    interrupt: Interrupt,
    has_style: bool,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn enter() -> io::Result<Self> {
        give_back_on_panic();
        let interrupt = interrupt();
        let has_style = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        terminal::enable_raw_mode()?;
        // From here on it is given back, whatever fails.
        let mut screen = Self { out: io::stdout(), interrupt, has_style };
        execute!(screen.out, terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    /// The room there is; a usual one where the terminal does not say.
    pub(super) fn size(&self) -> Size {
        let (columns, lines) =
            terminal::size().ok().filter(|&(columns, lines)| columns.min(lines) > 0).unwrap_or((80, 24));
        Size { columns: columns.into(), lines: lines.into() }
    }

    /// Shows these lines in place of those before. Lines in capitals only are headings.
    pub(super) fn show(&mut self, lines: &[String]) -> io::Result<()> {
        queue!(self.out, cursor::MoveTo(0, 0))?;
        for (row, line) in (0u16..).zip(lines) {
            queue!(self.out, cursor::MoveTo(0, row))?;
            if self.has_style && (row == 0 || is_heading(line)) {
                queue!(self.out, SetAttribute(Attribute::Bold), Print(line), SetAttribute(Attribute::Reset))?;
            } else {
                queue!(self.out, Print(line))?;
            }
            queue!(self.out, terminal::Clear(terminal::ClearType::UntilNewLine))?;
        }
        queue!(self.out, terminal::Clear(terminal::ClearType::FromCursorDown))?;
        self.out.flush()
    }

    /// What is wanted before `due`, if anything.
    pub(super) fn key_before(&mut self, due: Instant) -> io::Result<Option<Key>> {
        loop {
            if self.interrupt.is_set() {
                return Ok(Some(Key::End));
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            if event::poll(left.min(SIGNAL_CHECK))? {
                return Ok(Some(key(&event::read()?)));
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn key(event: &Event) -> Key {
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Release => Key::Other,
        Event::Key(key) => match key.code {
            KeyCode::Char('q') | KeyCode::Esc => Key::End,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::End,
            KeyCode::Char(' ') => Key::Stop,
            _ => Key::Other,
        },
        _ => Key::Other,
    }
}

fn is_heading(line: &str) -> bool {
    line.chars().any(char::is_alphabetic) && line.chars().all(|c| c.is_uppercase() || " /0123456789".contains(c))
}

/// Makes the terminal what it was. There is nothing left to do if that fails.
fn give_back() {
    let _ = execute!(io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
    let _ = terminal::disable_raw_mode();
}

/// Lets the message of a panic stand on the usual page.
fn give_back_on_panic() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            report(panic);
        }));
    });
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn q_and_ctrl_c_end_and_space_stops() {
        let pressed = |code, modifiers| key(&Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(pressed(KeyCode::Char('q'), KeyModifiers::NONE), Key::End);
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL), Key::End);
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::NONE), Key::Other);
        assert_eq!(pressed(KeyCode::Char(' '), KeyModifiers::NONE), Key::Stop);
        assert_eq!(key(&Event::Resize(80, 24)), Key::Other);
    }

    #[test]
    fn headings_are_told_from_rows() {
        assert!(is_heading("TOPIC  PRODUCED/S  DURABLE P99"));
        assert!(!is_heading("orders  12") && !is_heading("") && !is_heading("12  34"));
    }
}
